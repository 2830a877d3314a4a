//! The truth about a run: a ledger of every copy of every message, and the rules that the run is held to.
//!
//! Whoever drives the towers tells it all that happens, in order: [`Truth::see`] for each observation, [`Truth::after`] when a tower has done all that followed from an
//! event (and all that it had to tell has been seen), [`Truth::audit`] now and then and at least once in the end, and [`Truth::finish`].
//!
//! Two things about the order of observations matter. What one tower tells in its notices is seen in that order, with nothing in between
//! that is another tower's. And a message is `HandedOver` when its tower writes it into a link, not when a full path lets it go: else a message
//! could come back before it was sent.

mod bounds;
mod clocks;
mod faults;
mod ignored;
mod ledger;
mod liveness;
mod oracle;
mod pairs;
mod spinning;
mod statuses;
#[cfg(test)]
mod tests;
mod totals;
mod violation;
#[cfg(test)]
mod whole;

use std::collections::BTreeSet;
use std::time::Duration;

use clacks_proto::{HeldMessage, Instant, MessageState, Screening, Status, Tower};

use crate::observation::{Fault, MessageId, Observation, Observed, TowerId};
use crate::plan::Plan;
use bounds::Bounds;
use faults::Faults;
use ignored::Ignored;
use ledger::Ledger;
use spinning::Spinning;
use statuses::Statuses;
use violation::{Scene, Violations};

pub(crate) use ledger::{Body, Holding, Place};
pub use oracle::{Average, CalmNetwork, Capacity, Ticks};
pub use totals::{DuplicationCause, LossCause, Totals};
pub use violation::{Checker, Violation};

/// What a run is held to, besides what always holds.
#[derive(Clone, Debug)]
pub(crate) struct Checks {
    /// Whether all towers have to know each other in the end.
    pub(crate) liveness: Liveness,
    /// Which faults have to happen.
    pub(crate) faults: Vec<Fault>,
    /// How many events of a tower in one instant are too many. Default: 100 000 (guess: what arrived during a long pause comes at once).
    pub(crate) events_in_an_instant: u32,
    /// Of how many towers every standing is followed. Default: 1 024 (with the default table of peers, some 200 MB at the worst).
    pub(crate) tracked_towers: u32,
}

/// Whether all towers have to know each other in the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Liveness {
    /// They have to; [`Truth::judge_liveness`] must be called.
    Promised,
    /// They need not.
    #[default]
    NotPromised,
}

impl Default for Checks {
    fn default() -> Self {
        Self {
            liveness: Liveness::default(),
            faults: Vec::new(),
            events_in_an_instant: 100_000,
            tracked_towers: 1_024,
        }
    }
}

/// Watches a run and judges it.
#[derive(Debug)]
pub(crate) struct Truth {
    checks: Checks,
    ledger: Ledger,
    statuses: Statuses,
    ignored: Ignored,
    bounds: Bounds,
    spinning: Spinning,
    faults: Faults,
    /// The towers of which a byte was altered on its way.
    altered: BTreeSet<TowerId>,
    found: Violations,
    /// How many towers have come up.
    starts: u64,
    /// How many of them run.
    running: u64,
    /// Pairs of towers that were looked at for liveness; `None` when nobody looked.
    pairs: Option<u64>,
}

/// What became of a run.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    /// The first violations of each checker.
    pub(crate) violations: Vec<Violation>,
    /// How many there were of each checker, these included.
    pub(crate) counts: Vec<(Checker, u64)>,
    /// The balance in the end.
    pub(crate) totals: Totals,
}

impl Truth {
    /// The truth about a run that has not begun.
    pub(crate) fn new(plan: &Plan, checks: Checks) -> Self {
        let config = &plan.config;
        // A link without traffic is closed after that, and before that it may take as long to say hello or to be answered.
        let times = &config.timeouts;
        let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
        let dialled = times.connect.saturating_add(times.handshake);
        let idle = times.idle.saturating_add(times.confirm).saturating_add(dialled);
        // What came on a link that its sender alone has given up is taken when it has waited for a verdict.
        let screened = match config.screening {
            Screening::On { timeout, .. } => timeout,
            Screening::Off => Duration::ZERO,
        };
        let idle = seconds(idle.saturating_add(screened)).saturating_add(1);
        // A receiver has to recognise a transfer for as long as its sender, with the same times, may ask about it.
        let memory = seconds(times.confirm.saturating_add(times.confirm.max(dialled)));
        Self {
            ledger: Ledger::new(plan.towers, config.window.messages, idle, memory),
            statuses: Statuses::new(config.kill_timeout, plan.towers, checks.tracked_towers),
            ignored: Ignored::new(plan.towers),
            bounds: Bounds::new(plan.towers, config),
            spinning: Spinning::new(plan.towers, checks.events_in_an_instant),
            faults: Faults::default(),
            altered: BTreeSet::new(),
            found: Violations::default(),
            starts: 0,
            running: 0,
            pairs: None,
            checks,
        }
    }

    /// Something happened.
    pub(crate) fn see(&mut self, observation: &Observation) {
        self.ledger.see(observation, &mut self.found);
        self.bounds.see(observation);
        match observation.what {
            Observed::Fault(fault) => {
                if let (Fault::Corrupted, Some(tower)) = (fault, observation.tower) {
                    self.altered.insert(tower);
                }
                self.faults.see(observation);
                self.ignored.see(observation, &mut self.found);
            }
            Observed::StatusChanged { .. }
            | Observed::Discovered { .. }
            | Observed::Forgot
            | Observed::ClockChanged { .. } => self.statuses.see(observation, &mut self.found),
            Observed::Started { .. }
            | Observed::Crashed
            | Observed::Left { .. }
            | Observed::Missed { .. } => {
                match observation.what {
                    Observed::Started { .. } => {
                        self.starts += 1;
                        self.running += 1;
                    }
                    Observed::Missed { .. } => {}
                    _ => self.running = self.running.saturating_sub(1),
                }
                self.statuses.see(observation, &mut self.found);
                self.ignored.see(observation, &mut self.found);
            }
            Observed::Ignored { .. }
            | Observed::Unignored { .. }
            | Observed::Dialled { .. }
            | Observed::HandedOver { .. }
            | Observed::Received { .. }
            | Observed::Delivered { .. }
            | Observed::Announced { .. } => self.ignored.see(observation, &mut self.found),
            _ => {}
        }
    }

    /// A tower has done all that followed from an event, and all that it told has been seen.
    pub(crate) fn after(&mut self, at: Instant, tower: TowerId, machine: &Tower) {
        self.bounds.look(at, tower, machine, &mut self.found);
        self.spinning.look(at, tower, &mut self.found);
        // What is under screening is still its sender's.
        let is_kept = |held: &HeldMessage| !matches!(held.state, MessageState::Offered { .. });
        let kept = || machine.peek().filter(is_kept);
        let look = || kept().filter_map(|held| number_in(held.message.body())).collect();
        let held = machine.queue_usage().messages - machine.pending_screenings();
        self.ledger.count(at, tower, held, look, &mut self.found);
    }

    /// Compares all that a running tower holds with the ledger. Not in the middle of an event.
    pub(crate) fn audit(
        &mut self,
        at: Instant,
        tower: TowerId,
        memory: impl IntoIterator<Item = Holding>,
    ) {
        self.ledger.audit(at, tower, memory, &mut self.found);
    }

    /// Whether every running tower knows every other one as alive.
    pub(crate) fn judge_liveness<P>(
        &mut self,
        at: Instant,
        running: &[TowerId],
        peers_of: impl FnMut(TowerId) -> P,
    ) where
        P: IntoIterator<Item = (Option<TowerId>, Status)>,
    {
        let was_altered = |tower| self.altered.contains(&tower);
        let judged = liveness::judge(at, running, was_altered, peers_of, &mut self.found);
        self.pairs = Some(judged);
    }

    /// The run ends before its time: nothing is said about what should have come later.
    pub(crate) fn excuse(&mut self) {
        self.checks.liveness = Liveness::NotPromised;
        self.checks.faults.clear();
    }

    /// The balance up to now.
    pub(crate) fn totals(&self) -> &Totals {
        self.ledger.totals()
    }

    /// How often a fault has happened.
    pub(crate) fn faults(&self, fault: Fault) -> u64 {
        self.faults.count(fault)
    }

    /// The run is over. Rules that nobody could have broken because nobody looked are violations as well.
    pub(crate) fn finish(&mut self, at: Instant) -> Verdict {
        self.ledger.finish(&mut self.found);
        self.faults.judge(at, &self.checks.faults, &mut self.found);
        let everywhere = Scene::of_all(at);
        let totals = *self.ledger.totals();
        let mut unseen = |checker, text: &str| {
            self.found.add(checker, everywhere, || text.to_owned());
        };
        // Of those who are down there is nothing to be seen.
        if self.running > 0 && totals.audits == 0 {
            unseen(Checker::Conservation, "nobody looked at what the towers hold");
        }
        if self.starts > 0 && self.bounds.looks() == 0 {
            unseen(Checker::Bounds, "nobody looked at how much the towers hold");
        }
        let is_pair = self.running > 1;
        if self.checks.liveness == Liveness::Promised && is_pair && self.pairs.unwrap_or(0) == 0 {
            unseen(Checker::Liveness, "nobody looked at two towers that run");
        }
        if !totals.balance() {
            unseen(Checker::Conservation, "the ledger's own balance is wrong");
        }
        let counts = Checker::ALL.map(|checker| (checker, self.found.count_of(checker)));
        Verdict { violations: self.found.kept().to_vec(), counts: counts.to_vec(), totals }
    }
}

/// Which message a body says that it is.
fn number_in(body: &[u8]) -> Option<MessageId> {
    let number = u64::from_be_bytes(*body.first_chunk()?);
    u32::try_from(number).ok().map(MessageId)
}
