//! Checkers: the invariants that every run must keep.
//!
//! Each checker is a small struct in a file of its own. A checker observes what happens
//! (`observe`), looks at a tower after each of its events (`after`), and looks at the whole network
//! at the end (`finish`). [`Checkers`] owns all of them.
//!
//! Two properties of the observations matter. Between two notices of a tower there is no notice of
//! another tower. And a message is `HandedOver` when its tower writes it into a link, so a message
//! is handed over before it is received.

mod bounds;
mod busy_loop;
mod conservation;
mod convergence;
mod copies;
mod duplicates;
mod faults_fired;
mod ignored;
mod status;
mod survival;
mod totals;
mod violation;

use clacks_proto::{Instant, StateMachine, Tower};

use crate::network::NetworkView;
use crate::observation::{Fault, MessageId, Observation, Observed, Origin, TowerId};
use crate::plan::Plan;
use crate::scenario;
use bounds::Bounds;
use busy_loop::BusyLoop;
use conservation::Conservation;
use copies::Copies;
use duplicates::Duplicates;
use faults_fired::FaultsFired;
use ignored::Ignored;
use status::StatusChanges;
use violation::Violations;

pub use survival::{Groups, Survival};
pub use totals::{DuplicationCause, LossCause, Totals};
pub use violation::{Checker, Violation};

/// The number of towers in networks up to which all messages are compared at each sample. In larger
/// networks they are compared at the end of the run only.
const COMPARED_AT_SAMPLES: u32 = 1_000;

/// All checkers of a run, and the totals of the run.
///
/// If all checkers are switched off, observations are counted and nothing is checked.
#[derive(Debug)]
pub(crate) struct Checkers {
    is_on: bool,
    towers: u32,
    /// The totals that observations alone tell. The others come from the checkers.
    counted: Totals,
    copies: Copies,
    conservation: Conservation,
    duplicates: Duplicates,
    status: StatusChanges,
    ignored: Ignored,
    bounds: Bounds,
    busy_loop: BusyLoop,
    faults_fired: FaultsFired,
    /// The faults that must happen.
    planned: Vec<Fault>,
    survival: Option<Survival>,
    found: Violations,
}

/// The result of all checkers.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    /// The first violations of each checker, in the order of time.
    pub(crate) violations: Vec<Violation>,
    /// The checkers that ran, each with the number of violations, including those not kept.
    pub(crate) counts: Vec<(Checker, u64)>,
    /// The groups of messages that survived, if the scenario has a goal for them.
    pub(crate) groups: Option<Groups>,
}

impl Checkers {
    /// Returns the checkers that a scenario asks for. What a tower in `roles` does is no violation.
    pub(crate) fn new(plan: &Plan, checks: &scenario::Checks, roles: &[TowerId]) -> Self {
        let found = Violations::new(roles, |checker| checks.watches(checker));
        let is_on = Checker::ALL.into_iter().any(|checker| found.is_enabled(checker));
        let towers = if is_on { plan.towers } else { 0 };
        Self {
            is_on,
            towers: plan.towers,
            counted: Totals::default(),
            copies: Copies::new(towers),
            conservation: Conservation::default(),
            duplicates: Duplicates::new(towers),
            status: StatusChanges::new(plan.config.kill_timeout, towers),
            ignored: Ignored::new(towers),
            bounds: Bounds::new(towers),
            busy_loop: BusyLoop::new(towers),
            faults_fired: FaultsFired::default(),
            planned: plan.planned_faults().into_iter().map(|(fault, _)| fault).collect(),
            survival: checks.survival,
            found,
        }
    }

    /// Passes an observation to the checkers that it concerns.
    #[inline]
    pub(crate) fn observe(&mut self, observation: &Observation) {
        let totals = &mut self.counted;
        match observation.what {
            // More than half of all observations. No checker needs them.
            Observed::Sent { .. } | Observed::Arrived { .. } | Observed::TimerFired => return,
            Observed::Enqueued { .. } => totals.enqueued += 1,
            Observed::EnqueueRefused => totals.refused += 1,
            // A message that a tower received and did not hold yet is queued next.
            Observed::Received { .. } => {
                totals.hops += 1;
                totals.coalesced += 1;
            }
            Observed::Queued { origin: Origin::Peer, .. } | Observed::CopyKept { .. } => {
                totals.coalesced = totals.coalesced.saturating_sub(1);
            }
            Observed::Fault(_) => self.faults_fired.observe(observation),
            _ => {}
        }
        if self.is_on {
            self.check(observation);
        }
    }

    fn check(&mut self, observation: &Observation) {
        self.found.now = observation.at;
        let concerns_messages = matches!(
            observation.what,
            Observed::HandedOver { .. }
                | Observed::Received { .. }
                | Observed::Queued { .. }
                | Observed::Delivered { .. }
                | Observed::Enqueued { .. }
                | Observed::CopyKept { .. }
                | Observed::Swallowed { .. }
                | Observed::Dropped { .. }
                | Observed::Expired { .. }
                | Observed::Started { .. }
                | Observed::Crashed
                | Observed::Left { .. }
                | Observed::Missed { .. }
        );
        if concerns_messages {
            self.conservation.before(observation, &mut self.copies, &mut self.found);
            self.duplicates.observe(observation, &self.copies, &mut self.found);
            self.conservation.observe(observation, &mut self.copies, &mut self.found);
        }
        let concerns_peers = matches!(
            observation.what,
            Observed::StatusChanged { .. }
                | Observed::Discovered { .. }
                | Observed::Forgot
                | Observed::ClockChanged { .. }
                | Observed::Started { .. }
                | Observed::Dialled { .. }
                | Observed::Accepted { .. }
                | Observed::Ignored { .. }
                | Observed::Unignored { .. }
        );
        if concerns_peers {
            self.status.observe(observation, &mut self.found);
            self.bounds.observe(observation);
        }
        if concerns_peers || self.ignored.is_needed() {
            self.ignored.observe(observation, &mut self.found);
        }
    }

    /// Looks at a tower after an event of the tower. O(1).
    #[inline]
    pub(crate) fn after(&mut self, at: Instant, tower: TowerId, machine: &Tower) {
        if !self.is_on {
            return;
        }
        self.found.now = at;
        self.conservation.after(tower, machine, &mut self.copies, &mut self.found);
        self.duplicates.after(tower, machine, &mut self.found);
        self.bounds.after(tower, machine, &mut self.found);
        self.busy_loop.after(at, tower, &mut self.found);
    }

    /// Looks at the network at a sample. O(messages) if the network is small or nothing is checked.
    pub(crate) fn sample<M: StateMachine>(&mut self, at: Instant, view: &NetworkView<'_, M>) {
        self.found.now = at;
        if !self.is_on {
            (self.counted.alive, self.counted.copies) = view.count_messages();
        } else if self.towers <= COMPARED_AT_SAMPLES {
            Conservation::compare_all(view, &self.copies, &mut self.found);
        }
    }

    /// Looks at the network at the end of the run, after a last sample. A run that was stopped
    /// earlier is checked for what has happened so far.
    pub(crate) fn finish<M: StateMachine>(
        &mut self,
        at: Instant,
        view: &NetworkView<'_, M>,
        is_complete: bool,
    ) -> Verdict {
        self.found.now = at;
        // Of small networks, the last sample has compared all messages.
        if self.is_on && self.towers > COMPARED_AT_SAMPLES {
            Conservation::compare_all(view, &self.copies, &mut self.found);
        }
        if self.is_on && is_complete {
            if self.found.is_enabled(Checker::Convergence) && !self.has_converged(view) {
                convergence::finish(view, &mut self.found);
            }
            self.faults_fired.finish(&self.planned, &mut self.found);
            if let Some(goal) = &self.survival {
                goal.finish(&self.copies, &mut self.found);
            }
        }
        Verdict {
            violations: self.found.kept().to_vec(),
            counts: self.found.counts(),
            groups: self.survival.map(|goal| goal.groups(&self.copies)),
        }
    }

    /// Returns whether every running tower knows every other running tower as alive. Roles do not
    /// count. Of networks with more than 1 000 towers, all towers are asked how many alive peers
    /// they have, and 1 000 towers are asked which.
    pub(crate) fn has_converged<M: StateMachine>(&self, view: &NetworkView<'_, M>) -> bool {
        convergence::first_missing(view, &self.found).is_none()
    }

    /// Reports the error of an observer.
    #[cold]
    pub(crate) fn report_error(&mut self, at: Instant, tower: Option<TowerId>, error: String) {
        self.found.now = at;
        self.found.enable(Checker::Observer);
        // What a role does is no violation, but an observer may say otherwise.
        let tower = tower.filter(|tower| !self.found.is_role(*tower));
        self.found.report(Checker::Observer, tower, None, || error);
    }

    /// Notes that there is an observer.
    pub(crate) fn add_observer(&mut self) {
        self.found.enable(Checker::Observer);
    }

    /// Returns whether a checker has found a violation.
    #[inline]
    pub(crate) fn has_found(&self) -> bool {
        !self.found.kept().is_empty()
    }

    /// Returns how often a fault happened.
    pub(crate) fn faults(&self, fault: Fault) -> u64 {
        self.faults_fired.count(fault)
    }

    /// Returns whether a tower holds a message. False if all checkers are switched off.
    pub(crate) fn is_alive(&self, message: MessageId) -> bool {
        self.copies.is_alive(message)
    }

    /// Returns how many messages there have been. 0 if all checkers are switched off.
    pub(crate) fn messages(&self) -> u32 {
        self.copies.messages()
    }

    /// Returns the totals so far.
    pub(crate) fn totals(&self) -> Totals {
        let mut totals = self.counted;
        if self.is_on {
            (totals.alive, totals.copies) = (self.copies.alive(), self.copies.count());
            (totals.lost, totals.duplicated) = (*self.copies.lost(), *self.duplicates.counts());
        } else {
            let lost = totals.enqueued.saturating_sub(totals.alive);
            totals.lost[LossCause::Unexplained as usize] = lost;
        }
        totals
    }
}
