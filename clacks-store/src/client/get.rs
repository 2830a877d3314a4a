//! Getting a file: estimate, forecast, visits until each group has enough pieces.

use core::time::Duration;

use clacks_proto::Instant;

use super::active::{Active, FORECAST_VISITS, Kind, worst};
use super::job::{JobError, JobEvent, Phase};
use super::requests::ContactId;
use super::survey::Survey;
use super::{Env, FirstHop};

/// The time between the beginnings of two rounds of visits.
const ROUND: Duration = Duration::from_secs(30);
/// The pauses before further rounds when the towers show too few pieces, in seconds. A store lists
/// the pieces that came in the last seconds a little later: see
/// [`StoreConfig::list_every`](crate::StoreConfig::list_every). A busy tower may answer the next
/// time.
const LOOKS: [u64; 4] = [3, 6, 15, 30];
/// The first ones, if less than half of the pieces needed are known.
const FEW_LOOKS: usize = 2;
/// The most further rounds of this kind, if each shows more pieces than those before (guess).
const MAX_LOOKS: u32 = 20;
/// The rounds without a new piece after which a file is gone (guess: a minute and a half).
const MAX_VAIN_ROUNDS: u32 = 4;

#[derive(Debug, Default)]
pub(super) struct Get {
    /// Pieces that came in this round.
    pieces: u32,
    /// The rounds in a row without a piece.
    vain_rounds: u32,
    /// The most pieces that a round showed, and the further rounds that showed no more.
    most_known: u32,
    looks: usize,
    /// All further rounds.
    all_looks: u32,
    /// The other first hops that see too few pieces, too.
    agreed: u8,
    began: Instant,
    lost_verifiers: u8,
}

impl Get {
    pub(super) fn on_piece(&mut self) {
        self.pieces += 1;
    }

    /// Returns the pause before the next round if the towers show too few pieces, of which `known`
    /// are known. Returns `None` if further rounds would show no more.
    fn next_look(&mut self, known: u32, has_half: bool) -> Option<Duration> {
        if known > self.most_known {
            (self.most_known, self.looks) = (known, 0);
        }
        let pause = look(self.looks, has_half).filter(|_| self.all_looks < MAX_LOOKS)?;
        self.looks += 1;
        self.all_looks += 1;
        Some(pause)
    }
}

/// Returns the pause before a further round. `has_half` says whether half of the pieces needed are
/// known.
pub(super) fn look(number: usize, has_half: bool) -> Option<Duration> {
    let looks = LOOKS.get(..if has_half { LOOKS.len() } else { FEW_LOOKS })?;
    looks.get(number).copied().map(Duration::from_secs)
}

impl Active {
    fn get(&mut self) -> Option<&mut Get> {
        match &mut self.kind {
            Kind::Get(get) => Some(get),
            _ => None,
        }
    }

    pub(super) fn step_get(&mut self, env: &mut Env) {
        if self.collector.is_complete() {
            return self.end(env, JobEvent::Got);
        }
        match self.phase {
            Phase::Estimating => self.estimate_get(env),
            Phase::Visiting => self.visit(env),
            _ => {}
        }
    }

    fn estimate_get(&mut self, env: &mut Env) {
        if !self.finish_estimate(env) {
            return;
        }
        let geometry = self.collector.geometry();
        let (proved, _) = self.collector.progress();
        let missing = geometry.groups() * geometry.data() - proved;
        let alive = worst(&self.alive_shares()).map_or(0.0, |it| it.share);
        let forecast = self.basis(env).of_get(alive, missing);
        env.push(JobEvent::Forecast(forecast));
        self.phase = Phase::Agreeing;
        if let Some(refusal) = forecast.refusal.filter(|_| !env.config.patient) {
            self.fail(env, JobError::Refused(refusal));
        }
    }

    pub(super) fn begin_get(&mut self, env: &mut Env) {
        self.phase = Phase::Visiting;
        if let Some(get) = self.get() {
            get.began = env.now;
        }
        if let Some(survey) = &mut self.survey {
            survey.set_limit(u32::MAX);
        }
    }

    fn visit(&mut self, env: &mut Env) {
        if let Some(at) = self.wake_at {
            if at <= env.now {
                let hop = self.survey.as_ref().map_or(self.hop, |survey| survey.hop);
                self.begin_get_round(env, hop);
            }
            return;
        }
        if self.survey.as_ref().is_some_and(Survey::is_over) {
            self.on_round_over(env);
        }
    }

    fn begin_get_round(&mut self, env: &mut Env, hop: ContactId) {
        self.begin_survey(env, hop, u32::MAX);
        let now = env.now;
        if let Some(get) = self.get() {
            get.began = now;
        }
    }

    /// All towers were visited, and some group has too few pieces.
    fn on_round_over(&mut self, env: &mut Env) {
        let Some(survey) = &self.survey else { return };
        let (hop, is_answered) = (survey.hop, survey.answered() > 0);
        let geometry = self.collector.geometry();
        let known = self.collector.known_in_groups(|tower| survey.is_bad(tower));
        let needed = f64::from(geometry.data()) / f64::from(geometry.total());
        let shares = self.collector.alive(&known, survey.answered_share());
        let is_lost = |share: f64, error: f64| share + 2.0 * error < needed;
        let is_gone = shares.iter().any(|it| is_lost(it.share, it.error)) || !is_answered;
        let is_other = hop != self.hop;
        // Of a file that was never put, no tower shows a piece.
        let least = known.iter().min().copied().unwrap_or(0);
        let has_half = least >= geometry.data().div_ceil(2);
        let known: u32 = known.into_iter().sum();
        let may_show_more = known > 0 || survey.may_hide();
        let now = env.now;
        let Some(get) = self.get() else { return };
        let has_gained = core::mem::take(&mut get.pieces) > 0;
        get.vain_rounds = if has_gained { 0 } else { get.vain_rounds + 1 };
        let is_vain = get.vain_rounds >= MAX_VAIN_ROUNDS;
        if is_gone
            && may_show_more
            && let Some(pause) = get.next_look(known, has_half)
        {
            self.wake_at = Some(now + pause);
            return;
        }
        if is_gone || is_vain {
            if is_other && is_answered {
                get.agreed += 1;
            }
            return self.ask_another(env);
        }
        get.agreed = 0;
        // Pieces move, and towers come back.
        self.wake_at = Some((get.began + ROUND).max(env.now + Duration::from_secs(1)));
    }

    /// Asks another first hop whether the file is gone, or ends the job if enough of them agree.
    fn ask_another(&mut self, env: &mut Env) {
        let wanted = env.config.verify;
        let Some(get) = self.get() else { return };
        if get.agreed >= wanted {
            return self.end_gone(env);
        }
        match self.draw_verifier(env) {
            Some(verifier) => self.begin_get_round(env, verifier),
            None => self.end_gone(env),
        }
    }

    pub(super) fn on_get_verifier_lost(&mut self, env: &mut Env) {
        let Some(get) = self.get() else { return };
        get.lost_verifiers += 1;
        if u32::from(get.lost_verifiers) > FORECAST_VISITS {
            return self.end_gone(env);
        }
        self.ask_another(env);
    }

    fn end_gone(&mut self, env: &mut Env) {
        let Some(survey) = &self.survey else { return };
        let known_pieces = self.collector.known_in_groups(|tower| survey.is_bad(tower));
        let seen = known_pieces.into_iter().min().unwrap_or(0);
        let (visited, known) = (survey.answered(), survey.known());
        let needed = self.collector.geometry().data();
        let agreed = self.get().map_or(0, |get| get.agreed);
        // One hop may hide the pieces, and say that it is alone.
        let is_own_alone = env.config.first_hop == FirstHop::Own && known <= 1 && visited > 0;
        let is_confirmed = agreed > 0 || env.config.verify == 0 || is_own_alone;
        let error = if is_confirmed {
            JobError::Gone { seen, needed, visited, known, agreed }
        } else {
            JobError::NotConfirmed { seen, needed }
        };
        self.fail(env, error);
    }
}
