//! Putting a file: estimate, forecast, publish, look through another first hop.

use alloc::vec::Vec;
use core::time::Duration;

use rand::seq::SliceRandom;

use super::Env;
use super::active::{Active, Kind, limits};
use super::collector::Scope;
use super::collector::Which;
use super::job::{JobError, JobEvent, Phase, PutReport};
use super::publisher::{Publisher, Stuck};
use super::requests::{ContactId, PUBLISH_RATE};
use super::survey::{Survey, TowerId, draw_other};
use crate::estimate::floor;

/// The share of the pieces of each group that must be seen. A keeper repairs below 0.85.
const DONE_SHARE: f64 = 0.9;
/// The stores that must answer for each tower without which a file must be readable. A tower that
/// took all pieces can drop them and list them, so its list shows nothing. There may be another such
/// tower each time that pieces are published.
const MIN_SPREAD: u32 = 3;
/// The pauses before further looks, in seconds. Stores list new chunks a little later: see
/// [`StoreConfig::list_every`](crate::StoreConfig::list_every).
const LOOKS: [u64; 6] = [1, 1, 2, 4, 8, 16];
/// How often all towers are asked again if none of them answers in time (guess).
const MAX_UNANSWERED: u8 = 2;
/// The visits after which the pieces seen are counted.
const LOOK_EACH: u32 = 8;
/// How often missing pieces are published again. Where a tenth of the towers drops what it gets,
/// about a tenth of the pieces is missing, which is the limit: one put in two needs another round
/// (simulated).
const MAX_ROUNDS: u8 = 5;
/// The verifiers that are tried before a put does without them.
const MAX_LOST_VERIFIERS: u8 = 8;
/// The most hours by which a piece ends before its file.
const MAX_JITTER: u32 = 2;
/// The most hours ahead that a store takes.
pub(super) const MAX_HOURS: u32 = 24;

/// Returns the most hours by which pieces end before their file, if the file ends in this number of
/// hours. A short life is not shortened much.
pub(super) fn jitter(hours: u32) -> u32 {
    MAX_JITTER.min(hours / 4)
}

/// Returns the hours after which a file must end so that its pieces last for the given number of
/// hours. Stores take at most 24, so the pieces of a longer one end earlier.
#[must_use]
pub fn hours_with_jitter(hours: u32) -> u32 {
    let lasts = |end: &u32| end - jitter(*end) >= hours;
    (hours..MAX_HOURS).find(lasts).unwrap_or(hours.max(MAX_HOURS))
}

#[derive(Debug, Default)]
pub(super) struct Put {
    verified: u8,
    /// The looks through the first hop in use that did not show enough.
    looks: usize,
    rounds: u8,
    republished: u32,
    lost_verifiers: u8,
    first_end: u32,
    last_seen: f64,
    last_towers: u32,
    /// The answers when the pieces were counted last.
    counted: u32,
}

impl Active {
    fn put(&mut self) -> Option<&mut Put> {
        match &mut self.kind {
            Kind::Put(put) => Some(put),
            _ => None,
        }
    }

    pub(super) fn step_put(&mut self, env: &mut Env) {
        match self.phase {
            Phase::Estimating => self.estimate_put(env),
            Phase::Publishing => self.publish_put(env),
            Phase::Verifying => self.look(env),
            _ => {}
        }
    }

    fn estimate_put(&mut self, env: &mut Env) {
        if !self.finish_estimate(env) {
            return;
        }
        if self.survey.as_ref().is_some_and(Survey::relays_nothing) {
            return self.fail(env, JobError::NoRelay);
        }
        let forecast = self.basis(env).of_put(PUBLISH_RATE.per_second, PUBLISH_RATE.burst);
        env.push(JobEvent::Forecast(forecast));
        self.phase = Phase::Agreeing;
        if let Some(refusal) = forecast.refusal.filter(|_| !env.config.patient) {
            self.fail(env, JobError::Refused(refusal));
        }
    }

    /// Returns whether the estimate is complete. Fails if there is no store.
    pub(super) fn finish_estimate(&mut self, env: &mut Env) -> bool {
        let Some(survey) = self.survey.as_ref().filter(|survey| survey.has_estimate()) else {
            return false;
        };
        self.network = survey.estimate();
        if self.network.visited > 0 {
            return true;
        }
        self.on_no_answer(env);
        false
    }

    /// Asks the towers again if they did not answer in time, or ends the job.
    pub(super) fn on_no_answer(&mut self, env: &mut Env) {
        let Some(survey) = &self.survey else { return };
        let (hop, limit, is_silent) = (survey.hop, survey.limit(), survey.silent() > 0);
        self.unanswered += 1;
        if is_silent && self.unanswered <= MAX_UNANSWERED {
            return self.begin_survey(env, hop, limit);
        }
        self.fail(env, if is_silent { JobError::Unreachable } else { JobError::NoStore });
    }

    pub(super) fn begin_put(&mut self, env: &mut Env) {
        let until = self.link.file().until;
        // No hour may be over.
        let jitter = jitter(until.saturating_sub(env.hour()));
        let mut publisher = Publisher::new(self.collector.geometry(), until, jitter);
        publisher.order_all();
        let first_end = publisher.first_end();
        self.set_targets(&mut env.rng);
        self.publisher = Some(publisher);
        self.phase = Phase::Publishing;
        if let Some(put) = self.put() {
            put.first_end = first_end;
        }
    }

    fn publish_put(&mut self, env: &mut Env) {
        let Some(publisher) = &mut self.publisher else { return };
        if publisher.is_done() {
            return self.verify_put(env);
        }
        if let Some(group) = publisher.next_needed() {
            env.push(JobEvent::NeedGroup(group));
        }
        match publisher.stuck() {
            None => {}
            Some(Stuck::Full) => self.fail(env, JobError::Full),
            Some(Stuck::TooLong) => self.fail(env, JobError::TooLong),
            Some(Stuck::BadHour) => {
                let error = self.clock_error(env);
                self.fail(env, error);
            }
        }
    }

    /// Begins to look what arrived, or ends the job if enough first hops have seen it.
    fn verify_put(&mut self, env: &mut Env) {
        let wanted = env.config.verify;
        let Some(put) = self.put() else { return };
        let is_enough = put.verified >= wanted;
        put.looks = 0;
        if is_enough {
            return self.end_put(env);
        }
        match self.put_verifier(env) {
            Some(verifier) => self.begin_look(env, verifier),
            // There is no other tower: look through the same one, and say so.
            None => self.begin_look(env, self.hop),
        }
    }

    fn begin_look(&mut self, env: &mut Env, verifier: ContactId) {
        self.phase = Phase::Verifying;
        // Towers must give some of the pieces that they list.
        self.collector.scope = Scope::Sample;
        if let Some(put) = self.put() {
            put.counted = 0;
        }
        self.begin_survey(env, verifier, u32::MAX);
    }

    /// Another verifier instead of one that does not answer.
    pub(super) fn verify_put_elsewhere(&mut self, env: &mut Env) {
        let Some(put) = self.put() else { return };
        put.lost_verifiers += 1;
        put.looks = 0;
        let may_try = put.lost_verifiers < MAX_LOST_VERIFIERS;
        match self.put_verifier(env).filter(|_| may_try) {
            Some(verifier) => self.begin_look(env, verifier),
            None => self.begin_look(env, self.hop),
        }
    }

    /// Returns a first hop that is not the one in use: one that was not used yet if there is one.
    fn put_verifier(&mut self, env: &mut Env) -> Option<ContactId> {
        self.draw_verifier(env).or_else(|| {
            let looking = self.survey.as_ref().map_or(self.hop, |survey| survey.hop);
            let others = self.used.iter().map(|address| env.requests.contact(address));
            let verifier = others.filter(|it| *it != self.hop && *it != looking).last()?;
            env.requests.forgive(verifier);
            Some(verifier)
        })
    }

    /// Draws a first hop that was not used yet: a configured one, or one that the first hop knows.
    /// The end of a stem could name only towers of its own, and would see this client there.
    pub(super) fn draw_verifier(&mut self, env: &mut Env) -> Option<ContactId> {
        self.note_table();
        let (table, used) = (&self.table, &self.used);
        let configured = env.config.first.iter().find(|address| !used.contains(*address));
        let drawn = || draw_other(table, used, &env.order);
        let address = configured.cloned().or_else(drawn)?;
        self.used.insert(address.clone());
        let verifier = env.requests.contact(&address);
        env.requests.forgive(verifier);
        Some(verifier)
    }

    fn look(&mut self, env: &mut Env) {
        if let Some(at) = self.wake_at {
            if at <= env.now {
                let Some(hop) = self.survey.as_ref().map(|survey| survey.hop) else { return };
                self.begin_look(env, hop);
            }
            return;
        }
        let Some(survey) = &self.survey else { return };
        let (is_over, hop) = (survey.is_over(), survey.hop);
        let answered = survey.answered();
        // Now and then, because it counts all pieces.
        let counted = self.put().map_or(0, |put| put.counted);
        if !is_over && answered < counted + LOOK_EACH {
            return;
        }
        let seen = self.seen();
        let share = seen.iter().map(|it| it.share).fold(1.0, f64::min);
        let is_done = seen.iter().all(Seen::is_done);
        let towers = self.collector.towers(|tower| self.is_unproved(tower));
        let is_other = hop != self.hop;
        let Some(put) = self.put() else { return };
        (put.last_seen, put.last_towers, put.counted) = (share, towers, answered);
        if is_done {
            if is_other {
                put.verified += 1;
                return self.verify_put(env);
            }
            return self.end_put(env);
        }
        if !is_over {
            return;
        }
        if answered == 0 && is_other {
            return self.verify_put_elsewhere(env);
        }
        if let Some(pause) = LOOKS.get(put.looks) {
            put.looks += 1;
            self.wake_at = Some(env.now + Duration::from_secs(*pause));
            return;
        }
        put.rounds += 1;
        if put.rounds > MAX_ROUNDS {
            return self.fail(env, JobError::NotSeen);
        }
        self.republish(env, hop);
    }

    /// Returns the number of towers whose lists show nothing, as far as the network is large enough.
    fn suspects(&self) -> usize {
        let stores = self.survey.as_ref().map_or(0, Survey::reachable);
        let rounds = match &self.kind {
            Kind::Put(put) => put.rounds.min(MAX_ROUNDS),
            _ => 0,
        };
        (usize::from(rounds) + 1).min((stores / MIN_SPREAD) as usize)
    }

    /// Returns whether the pieces that a tower lists do not count, or not yet: it must give some of
    /// them first.
    fn is_unproved(&self, tower: TowerId) -> bool {
        let visits = self.survey.as_ref().map(|survey| &survey.visits);
        visits.is_some_and(|visits| visits.contains_key(&tower)) || self.is_out(tower)
    }

    /// Returns what is seen of each group. Before the end of the round, only what was seen counts.
    fn seen(&self) -> Vec<Seen> {
        let Some(survey) = &self.survey else { return Vec::new() };
        let visited = if survey.is_over() { survey.visited_share() } else { 1.0 };
        let is_bad = |tower| self.is_unproved(tower);
        let counts = self.collector.seen_in_groups(is_bad);
        let shares = self.collector.alive(&counts, visited);
        let samples = self.collector.sample_of_groups(Which::All, is_bad);
        let others = self.collector.seen_without_largest(self.suspects(), is_bad);
        let others = self.collector.alive(&others, visited);
        let (_, needed) = limits(&self.link);
        let suspects = self.suspects();
        let groups = shares.into_iter().zip(others).zip(counts).zip(samples);
        let seen = groups.map(|(((all, others), seen), sample)| Seen {
            share: all.proved(seen, sample).share,
            others: others.share,
            is_spread: suspects == 0 || others.share + 1e-9 >= needed,
        });
        seen.collect()
    }

    /// Publishes what is missing again, through the first hop that misses it.
    fn republish(&mut self, env: &mut Env, hop: ContactId) {
        let geometry = self.collector.geometry();
        let first_end = self.put().map_or(0, |put| put.first_end);
        let is_bad = |tower| self.is_unproved(tower);
        let until = self.link.file().until;
        let mut publisher = Publisher::new(geometry, until, until.saturating_sub(first_end));
        let (mut pieces, suspects) = (0, self.suspects());
        for (group, seen) in (0..).zip(self.seen()) {
            if seen.is_done() {
                continue;
            }
            let (share, missing) = match seen.is_spread {
                true => (seen.share, self.collector.unseen(group, is_bad)),
                false => (seen.others, self.collector.scarce(group, suspects, is_bad)),
            };
            let count = geometry.total() - floor(share * f64::from(geometry.total()));
            let missing = draw_places(missing, geometry.total(), count, env);
            pieces += u32::try_from(missing.len()).unwrap_or(u32::MAX);
            publisher.order(group, missing);
        }
        self.set_targets(&mut env.rng);
        env.requests.clear();
        self.hop = hop;
        self.note_table();
        self.publisher = Some(publisher);
        self.phase = Phase::Publishing;
        if let Some(put) = self.put() {
            put.republished += pieces;
            put.verified = 0;
        }
        env.push(JobEvent::Republishing { pieces });
        env.has_changed = true;
    }

    fn end_put(&mut self, env: &mut Env) {
        let pieces = self.collector.geometry().chunks();
        let Some(put) = self.put() else { return };
        let report = PutReport {
            pieces,
            towers: put.last_towers,
            seen: put.last_seen,
            verified: put.verified,
            republished: put.republished,
            first_end: put.first_end,
        };
        self.end(env, JobEvent::Put(report));
    }
}

/// What is seen of a group.
struct Seen {
    /// The share of its pieces that is seen.
    share: f64,
    /// The share that is seen without the towers whose lists show nothing.
    others: f64,
    /// The group can be restored without these towers, or the network is too small for that.
    is_spread: bool,
}

impl Seen {
    fn is_done(&self) -> bool {
        self.share >= DONE_SHARE && self.is_spread
    }
}

/// Draws places of a group that are published again: `missing` ones first, and then others, because
/// towers may list pieces that they do not have.
pub(super) fn draw_places(missing: Vec<u32>, total: u32, count: u32, env: &mut Env) -> Vec<u32> {
    let others: Vec<_> = (0..total).filter(|place| !missing.contains(place)).collect();
    let more = count.saturating_sub(u32::try_from(missing.len()).unwrap_or(u32::MAX));
    let mut places = draw(missing, count, env);
    places.extend(draw(others, more, env));
    places
}

/// Draws some of the places.
fn draw(mut places: Vec<u32>, count: u32, env: &mut Env) -> Vec<u32> {
    places.shuffle(&mut env.rng);
    places.truncate(count as usize);
    places
}
