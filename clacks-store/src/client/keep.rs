//! Counting the pieces of a file, and publishing missing ones.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use clacks_proto::Instant;
use rand::RngExt;

use super::active::{Active, FORECAST_VISITS, Kind, limits, worst};
use super::collector::{Scope, Which};
use super::get::look;
use super::job::{Health, HealthState, JobError, JobEvent, Phase, Repair};
use super::publisher::{Publisher, Stuck};
use super::put::{MAX_HOURS, draw_places, jitter};
use super::requests::ContactId;
use super::survey::Survey;
use super::{Env, FirstHop};
use crate::chunk::OpenedChunk;
use crate::code::Group;
use crate::estimate::{self, AliveShare, SESSION, floor, seconds};
use crate::geometry::Geometry;
use crate::merkle::{Node, top_of};

/// A group is repaired when less than this share is alive (simulated: with a check each 12 minutes
/// files survive a day of sessions of an hour).
const REPAIR_BELOW: f64 = 0.85;
/// The groups that are repaired at a time: 3 MB each.
const BATCH: usize = 4;
/// The share of pieces that may be lost between two checks.
const LOSS_PER_CHECK: f64 = 0.1;
/// The shortest and the longest time between two checks. The first ones are close together: pieces
/// rest 10 minutes, and then move at almost the same time. If a third of the towers drops what it
/// gets, one file in ten was not repaired in time between its first moves (simulated).
const MIN_PERIOD: Duration = Duration::from_secs(120);
const MAX_PERIOD: Duration = Duration::from_secs(1_800);
/// The shortest life of a new piece, in hours. Full stores take no longer one.
const MIN_LIFE: u32 = 2;
/// The standard error with which a health job is content.
const MAX_ERROR: f64 = 0.05;

/// A group that is repaired.
#[derive(Debug)]
struct Repairing {
    group: u32,
    /// The places that will be published.
    places: Vec<u32>,
    pieces: Vec<OpenedChunk>,
    root: [u8; 32],
    /// The path of the group in the file.
    top: Vec<Node>,
}

#[derive(Debug, Default)]
pub(super) struct HealthCheck {
    /// The further counts after one that showed too few pieces.
    looks: usize,
    /// The other first hops that see too few pieces, too.
    agreed: u8,
    /// The last count, if it showed too few pieces.
    last: Option<Health>,
}

#[derive(Debug)]
pub(super) struct Keep {
    /// The rate at which pieces are lost, in shares a second.
    loss: f64,
    /// The time of the last check, and the share that was alive after its repairs.
    last: Option<(Instant, f64)>,
    /// The longest time to the next check. It grows with each check, because the first ones must
    /// show how fast pieces are lost in this network.
    longest: Duration,
    /// The life of the pieces that were published last, in hours.
    life: u32,
    /// The life of those that are published now or next.
    next_life: u32,
    todo: VecDeque<(u32, Vec<u32>)>,
    batch: Vec<Repairing>,
}

impl Default for Keep {
    fn default() -> Self {
        let loss = 1.0 / SESSION.as_secs_f64();
        let (todo, batch) = (VecDeque::new(), Vec::new());
        let (longest, life) = (MIN_PERIOD, MAX_HOURS);
        Self { loss, last: None, longest, life, next_life: life, todo, batch }
    }
}

impl Keep {
    /// Keeps a piece of a group that is repaired.
    pub(super) fn on_piece(&mut self, geometry: Geometry, piece: OpenedChunk, root: [u8; 32]) {
        let Some((group, _)) = geometry.locate(piece.index()) else { return };
        let repairing = self.batch.iter_mut().find(|it| it.group == group);
        if let Some(repairing) = repairing.filter(|it| it.pieces.len() < geometry.data() as usize) {
            repairing.root = root;
            repairing.top = top_of(geometry, piece.index(), &piece.path());
            repairing.pieces.push(piece);
        }
    }

    /// Learns from the share that is alive how fast pieces are lost.
    fn learn(&mut self, alive: f64, now: Instant) {
        if let Some((at, before)) = self.last {
            let passed = now.duration_since(at).as_secs_f64().max(1.0);
            let fall = if alive > 0.0 { before / alive } else { 10.0 };
            let measured = libm::log(fall.max(1.0)) / passed;
            self.loss = f64::midpoint(self.loss, measured);
        }
        self.last = Some((now, alive));
    }

    /// Returns the mean time between two checks.
    fn period(&self) -> Duration {
        seconds(LOSS_PER_CHECK / self.loss.max(1e-9)).clamp(MIN_PERIOD, self.longest)
    }
}

impl Active {
    fn keep(&mut self) -> Option<&mut Keep> {
        match &mut self.kind {
            Kind::Keep(keep) => Some(keep),
            _ => None,
        }
    }

    pub(super) fn step_health(&mut self, env: &mut Env) {
        let Some(survey) = &self.survey else { return };
        let (is_over, answered) = (survey.is_over(), survey.answered());
        if let Some(at) = self.wake_at {
            if at <= env.now {
                let hop = survey.hop;
                self.begin_check(env, hop);
            }
            return;
        }
        if is_over && answered == 0 {
            return self.on_no_answer(env);
        }
        if is_over && survey.relays_nothing() {
            return self.fail(env, JobError::NoRelay);
        }
        if is_over {
            return self.on_counted(env);
        }
        let is_time = answered >= FORECAST_VISITS && answered.is_multiple_of(FORECAST_VISITS);
        let is_sure = is_time && self.alive_shares().iter().all(|it| it.error <= MAX_ERROR);
        if let Some(survey) = self.survey.as_mut().filter(|_| is_sure) {
            survey.stop();
        }
    }

    /// Ends the job, unless the file seems to be lost and another first hop must agree.
    fn on_counted(&mut self, env: &mut Env) {
        let health = self.health(1.0 / SESSION.as_secs_f64());
        let is_other = self.survey.as_ref().is_some_and(|survey| survey.hop != self.hop);
        let is_own_alone = env.config.first_hop == FirstHop::Own && health.known <= 1;
        let Kind::Health(check) = &mut self.kind else { return };
        if health.state == HealthState::Lost
            && health.seen > 0
            && let Some(pause) = look(check.looks, false)
        {
            check.looks += 1;
            self.wake_at = Some(env.now + pause);
            return;
        }
        check.agreed += u8::from(is_other);
        let is_confirmed = check.agreed >= env.config.verify || is_own_alone;
        if health.state != HealthState::Lost || is_confirmed {
            return self.end(env, JobEvent::Checked(health));
        }
        check.last = Some(health);
        self.verify_health(env);
    }

    /// Counts through another first hop. One hop may hide the pieces.
    pub(super) fn verify_health(&mut self, env: &mut Env) {
        if let Some(verifier) = self.draw_verifier(env) {
            return self.begin_check(env, verifier);
        }
        let Kind::Health(check) = &self.kind else { return };
        match check.last {
            Some(health) if check.agreed > 0 => self.end(env, JobEvent::Checked(health)),
            _ => {
                let needed = self.collector.geometry().data();
                let seen = check.last.map_or(0, |health| health.seen);
                self.fail(env, JobError::NotConfirmed { seen, needed });
            }
        }
    }

    fn health(&self, loss: f64) -> Health {
        let geometry = self.collector.geometry();
        let visited = self.survey.as_ref().map_or(0.0, Survey::visited_share);
        let shares = self.shares(Which::All, visited).into_iter();
        let shares: Vec<_> = shares.map(|(_, proved)| proved).collect();
        let worst = worst(&shares);
        let (alive, error) = worst.map_or((0.0, 0.0), |it| (it.share, it.error));
        let (safe, needed) = limits(&self.link);
        let (sampled, proved) = self.collector.sample();
        // Towers that a hop can't reach may hold pieces.
        let is_lost = self.most_alive().is_some_and(|most| most < needed);
        let state = if alive - 2.0 * error > safe && proved > 0 {
            HealthState::Safe
        } else if is_lost {
            HealthState::Lost
        } else {
            HealthState::Thin
        };
        let network = self.survey.as_ref().map(Survey::estimate).unwrap_or_default();
        let is_out = |tower| self.is_out(tower);
        Health {
            alive,
            error,
            needed,
            safe,
            state,
            seen: self.collector.seen_in_groups(is_out).into_iter().sum(),
            sampled,
            proved,
            visited: network.visited,
            known: network.towers,
            fill: network.fill(),
            last_end: self.collector.last_end(is_out),
            life: estimate::life(geometry, alive, loss),
        }
    }

    /// Returns the largest share of the worst group that may be alive, by the towers that a hop
    /// could reach.
    fn most_alive(&self) -> Option<f64> {
        let shares = self.shares(Which::All, self.survey.as_ref()?.known_share());
        let most = |it: AliveShare| it.share + 2.0 * it.error;
        // A sample shows no more pieces than are listed.
        let groups = shares.into_iter().map(|(listed, proved)| most(listed).min(most(proved)));
        groups.min_by(f64::total_cmp)
    }

    /// Returns the share of each group that towers list, and that share times what they prove of
    /// the sample.
    fn shares(&self, which: Which, visited: f64) -> Vec<(AliveShare, AliveShare)> {
        let is_out = |tower| self.is_out(tower);
        let seen = match which {
            Which::All => self.collector.seen_in_groups(is_out),
            Which::Fresh => self.collector.fresh_in_groups(is_out),
        };
        let listed = self.collector.alive(&seen, visited);
        let samples = self.collector.sample_of_groups(which, is_out);
        let groups = listed.into_iter().zip(seen).zip(samples);
        groups.map(|((listed, seen), sample)| (listed, listed.proved(seen, sample))).collect()
    }

    pub(super) fn step_keep(&mut self, env: &mut Env) {
        match self.phase {
            Phase::Waiting if self.wake_at.is_some_and(|at| at <= env.now) => {
                let hop = self.hop;
                self.begin_check(env, hop);
            }
            Phase::Visiting => {
                let is_over = self.survey.as_ref().is_some_and(Survey::is_over);
                let is_check = self.keep().is_some_and(|keep| keep.batch.is_empty());
                if is_check && is_over {
                    self.on_check(env);
                } else if !is_check && (is_over || self.collector.is_complete()) {
                    self.begin_release(env);
                }
            }
            Phase::Publishing => self.release(env),
            _ => {}
        }
    }

    /// Begins to count pieces, of which a sample is taken and proved.
    pub(super) fn begin_check(&mut self, env: &mut Env, hop: ContactId) {
        let life = self.keep().map_or(MAX_HOURS, |keep| keep.life);
        // Pieces that end within this hour may be gone before the next check.
        let rest = (life / 4).max(1);
        self.phase = Phase::Visiting;
        self.collector.scope = Scope::Sample;
        self.collector.forget_proved();
        self.collector.fresh_from = env.hour().saturating_add(rest);
        self.begin_survey(env, hop, u32::MAX);
    }

    fn on_check(&mut self, env: &mut Env) {
        let Some(survey) = &self.survey else { return };
        if survey.answered() == 0 {
            return self.on_keep_trouble(env, JobError::NoStore);
        }
        if survey.relays_nothing() {
            return self.on_keep_trouble(env, JobError::NoRelay);
        }
        let visited = survey.visited_share();
        self.network = survey.estimate();
        let (now, geometry) = (env.now, self.collector.geometry());
        let shares = self.alive_shares();
        let count = f64::from(geometry.groups());
        let mean = shares.iter().map(|it| it.share).sum::<f64>() / count;
        let total = f64::from(geometry.total());
        let mut todo = VecDeque::new();
        for (group, (listed, proved)) in (0..).zip(self.shares(Which::Fresh, visited)) {
            // A piece or two of a small sample may have moved on.
            let share = listed.share.min(proved.share + proved.error);
            if share < REPAIR_BELOW {
                let missing = geometry.total() - floor(share * total);
                todo.push_back((group, self.places_to_repair(env, group, missing)));
            }
        }
        let Some(keep) = self.keep() else { return };
        keep.learn(mean, now);
        keep.todo = todo;
        // The stores may have become emptier.
        keep.next_life = MAX_HOURS.min(keep.life * 2);
        let loss = keep.loss;
        let health = self.health(loss);
        env.push(JobEvent::Checked(health));
        self.next_batch(env);
    }

    /// Draws the places of a group that are published again: those that no tower lists with a late
    /// hour, and then others, of which the towers proved too few.
    fn places_to_repair(&self, env: &mut Env, group: u32, count: u32) -> Vec<u32> {
        let is_out = |tower| self.is_out(tower);
        let stale = self.collector.stale(group, is_out);
        draw_places(stale, self.collector.geometry().total(), count, env)
    }

    /// Takes the pieces of the next groups that are repaired, or waits for the next check.
    fn next_batch(&mut self, env: &mut Env) {
        let Some(keep) = self.keep() else { return };
        let count = keep.todo.len().min(BATCH);
        let repairing = |(group, places)| {
            let (pieces, root, top) = (Vec::new(), [0; 32], Vec::new());
            Repairing { group, places, pieces, root, top }
        };
        keep.batch = keep.todo.drain(..count).map(repairing).collect();
        if keep.batch.is_empty() {
            return self.wait(env);
        }
        let groups = keep.batch.iter().map(|it| it.group).collect();
        self.phase = Phase::Visiting;
        self.publisher = None;
        self.collector.scope = Scope::Groups(groups);
        self.collector.forget_proved();
        self.begin_survey(env, self.hop, u32::MAX);
    }

    fn begin_release(&mut self, env: &mut Env) {
        let geometry = self.collector.geometry();
        let hour = env.hour();
        self.set_targets(&mut env.rng);
        self.note_clock(env);
        env.requests.clear();
        let Some(keep) = self.keep() else { return };
        // A group with too few pieces can't be restored. Its health says so.
        keep.batch.retain(|it| it.pieces.len() >= geometry.data() as usize);
        if keep.batch.is_empty() {
            return self.next_batch(env);
        }
        let until = hour.saturating_add(keep.next_life);
        let mut publisher = Publisher::new(geometry, until, jitter(keep.next_life));
        keep.batch.iter().for_each(|it| publisher.order(it.group, it.places.clone()));
        self.publisher = Some(publisher);
        self.survey = None;
        self.phase = Phase::Publishing;
        env.has_changed = true;
    }

    fn release(&mut self, env: &mut Env) {
        let (geometry, hour) = (self.collector.geometry(), env.hour());
        let (Kind::Keep(keep), Some(publisher)) = (&mut self.kind, &mut self.publisher) else {
            return;
        };
        if let Some(number) = publisher.next_needed() {
            env.has_changed = true;
            let restored = keep.batch.iter_mut().find(|it| it.group == number).and_then(|it| {
                let places = it
                    .pieces
                    .iter()
                    .filter_map(|piece| Some((geometry.locate(piece.index())?.1, piece.shard())));
                let group = Group::restore(geometry, number, &it.root, places).ok()?;
                Some((group, core::mem::take(&mut it.top)))
            });
            match restored {
                Some((group, top)) => publisher.supply(group, top, &mut env.rng),
                // The file was damaged when it was put.
                None => publisher.skip_needed(),
            }
        }
        if publisher.is_done() {
            return self.on_released(env);
        }
        match publisher.stuck() {
            None => {}
            Some(Stuck::BadHour) => {
                let error = self.clock_error(env);
                self.on_keep_trouble(env, error);
            }
            // Stores that become full take only pieces that end soon.
            Some(Stuck::TooLong | Stuck::Full)
                if publisher.may_shorten() && keep.next_life > MIN_LIFE =>
            {
                keep.next_life = (keep.next_life / 2).max(MIN_LIFE);
                keep.life = keep.next_life;
                publisher.shorten(hour.saturating_add(keep.next_life), jitter(keep.next_life));
                env.has_changed = true;
            }
            Some(Stuck::TooLong) => self.on_keep_trouble(env, JobError::TooLong),
            Some(Stuck::Full) => self.on_keep_trouble(env, JobError::Full),
        }
    }

    fn on_released(&mut self, env: &mut Env) {
        let until = self.publisher.as_ref().map_or(0, Publisher::until);
        let chunks = f64::from(self.collector.geometry().chunks());
        let Some(keep) = self.keep() else { return };
        keep.life = keep.next_life;
        let batch = core::mem::take(&mut keep.batch);
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let released = batch.iter().map(|it| count(it.places.len())).sum::<u32>();
        if let Some((_, alive)) = &mut keep.last {
            *alive = (*alive + f64::from(released) / chunks).min(1.0);
        }
        for repaired in batch {
            env.push(JobEvent::Repaired(Repair {
                group: repaired.group,
                taken: count(repaired.pieces.len()),
                released: count(repaired.places.len()),
                until,
            }));
        }
        self.next_batch(env);
    }

    /// Reports a failure, and waits for the next check.
    pub(super) fn on_keep_trouble(&mut self, env: &mut Env, error: JobError) {
        env.push(JobEvent::Trouble(error));
        self.wait(env);
    }

    fn wait(&mut self, env: &mut Env) {
        self.note_clock(env);
        env.requests.clear();
        self.survey = None;
        self.publisher = None;
        self.phase = Phase::Waiting;
        let Some(keep) = self.keep() else { return };
        keep.todo.clear();
        keep.batch.clear();
        // Several keepers of a file must not repair it at the same time.
        let pause = keep.period().mul_f64(env.rng.random_range(0.5..1.5));
        keep.longest = MAX_PERIOD.min(keep.longest * 5 / 4);
        self.wake_at = Some(env.now + pause);
    }
}
