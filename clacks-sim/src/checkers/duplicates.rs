//! Duplicates: each copy of a message in addition to the first has a cause.

use clacks_proto::Tower;
use clacks_proto::wire::Attempt;
use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use super::copies::{Copies, CopyState};
use super::totals::DuplicationCause;
use super::violation::{Checker, Violations};
use crate::observation::{MessageId, Observation, Observed, Origin, TowerId};

/// Counts copies that arise in addition to the first.
///
/// A copy arises when a tower requeues a message that the receiver has taken, and when a tower
/// takes a message that the sender does not hand over to it now. Both need a hand-over in doubt: a
/// link that ended before the confirmation, or a sender that crashed. A tower knows about each of
/// its doubts ([`Stats::doubt_unresolved`](clacks_proto::Stats::doubt_unresolved)).
#[derive(Debug)]
pub(super) struct Duplicates {
    counts: [u64; DuplicationCause::ALL.len()],
    /// The number of doubts that each tower has had before the current event.
    unresolved: Vec<u32>,
    /// The number of hand-overs in doubt by sender, receiver and message. The receiver may still
    /// take the message once for each of them. Nothing iterates over the map.
    in_doubt: HashMap<(TowerId, TowerId, MessageId), u32, FxBuildHasher>,
    /// The messages that a tower has requeued in the current event.
    requeued: Vec<Requeued>,
    /// What a copy is that the tower queues now.
    taken: Option<DuplicationCause>,
}

#[derive(Clone, Copy, Debug)]
struct Requeued {
    message: MessageId,
    receiver: TowerId,
    was_taken: bool,
}

impl Duplicates {
    pub(super) fn new(towers: u32) -> Self {
        Self {
            counts: [0; DuplicationCause::ALL.len()],
            unresolved: vec![0; towers as usize],
            in_doubt: HashMap::default(),
            requeued: Vec::new(),
            taken: None,
        }
    }

    /// Must be called before the table of copies changes.
    #[inline(always)]
    pub(super) fn observe(
        &mut self,
        observation: &Observation,
        copies: &Copies,
        found: &mut Violations,
    ) {
        let Some(tower) = observation.tower else { return };
        match observation.what {
            Observed::Received { from, sender, message: Some(message) } => {
                // A role may hold bytes back. Then only the name of the sender is known.
                let sender = sender.or(from);
                let state = sender.and_then(|sender| copies.state(sender, message));
                self.taken = match state {
                    Some(CopyState::Sent(to)) if to == tower => None,
                    _ => Some(self.cause_of_take(sender, state, tower, message, found)),
                };
            }
            Observed::Queued { message: Some(message), origin: Origin::Peer } => {
                // The only copy of a message may arrive after the crash of the sender.
                if let Some(cause) = self.taken.take().filter(|_| copies.is_alive(message)) {
                    self.count(cause, tower, message, found);
                }
            }
            Observed::Queued { message: Some(message), origin: Origin::Returned } => {
                if let Some((receiver, was_taken)) = receiver(copies, tower, message) {
                    self.requeued.push(Requeued { message, receiver, was_taken });
                }
            }
            Observed::Dropped { message } => {
                if let Some((receiver, _)) = receiver(copies, tower, message) {
                    self.doubt(tower, receiver, message);
                }
            }
            Observed::HandedOver {
                to, message: Some(message), attempt: Attempt::Retry, ..
            } => {
                self.doubt(tower, to, message);
            }
            Observed::Started { .. } => {
                if let Some(unresolved) = self.unresolved.get_mut(tower.0 as usize) {
                    *unresolved = 0;
                }
            }
            _ => {}
        }
    }

    /// Compares the messages requeued in an event with the doubts that the tower had.
    #[inline]
    pub(super) fn after(&mut self, tower: TowerId, machine: &Tower, found: &mut Violations) {
        if !self.requeued.is_empty() {
            let unresolved = u32::try_from(machine.stats().doubt_unresolved).unwrap_or(u32::MAX);
            self.on_requeued(tower, unresolved, found);
        }
    }

    fn on_requeued(&mut self, tower: TowerId, unresolved: u32, found: &mut Violations) {
        let mut requeued = std::mem::take(&mut self.requeued);
        let Some(before) = self.unresolved.get_mut(tower.0 as usize) else { return };
        let doubts = unresolved.saturating_sub(std::mem::replace(before, unresolved));
        let mut excused = doubts;
        for Requeued { message, receiver, was_taken } in requeued.drain(..) {
            if doubts > 0 {
                self.doubt(tower, receiver, message);
            }
            if !was_taken {
                continue;
            }
            let cause = if found.is_role(receiver) || found.is_role(tower) {
                DuplicationCause::Role
            } else if excused > 0 {
                excused -= 1;
                DuplicationCause::ConfirmationLost
            } else {
                DuplicationCause::Unexplained
            };
            self.count(cause, receiver, message, found);
        }
        self.requeued = requeued;
    }

    fn doubt(&mut self, sender: TowerId, receiver: TowerId, message: MessageId) {
        *self.in_doubt.entry((sender, receiver, message)).or_default() += 1;
    }

    /// Returns why a tower took a message that the sender does not hand over to it now.
    fn cause_of_take(
        &mut self,
        sender: Option<TowerId>,
        state: Option<CopyState>,
        tower: TowerId,
        message: MessageId,
        found: &Violations,
    ) -> DuplicationCause {
        if found.is_role(tower) || sender.is_some_and(|sender| found.is_role(sender)) {
            return DuplicationCause::Role;
        }
        let doubt = sender.map(|sender| (sender, tower, message));
        let Some((doubt, count)) = doubt.and_then(|key| Some((key, self.in_doubt.get_mut(&key)?)))
        else {
            return DuplicationCause::Unexplained;
        };
        *count -= 1;
        if *count == 0 {
            self.in_doubt.remove(&doubt);
        }
        if state == Some(CopyState::Taken(tower)) {
            DuplicationCause::RetryTaken
        } else {
            DuplicationCause::TakenLate
        }
    }

    fn count(
        &mut self,
        cause: DuplicationCause,
        tower: TowerId,
        message: MessageId,
        found: &mut Violations,
    ) {
        self.counts[cause as usize] += 1;
        if cause == DuplicationCause::Unexplained {
            found.report(Checker::Duplicates, tower, message, || {
                let (tower, message) = (tower.0, message.0);
                format!("tower {tower} made a second copy of message {message} without a cause")
            });
        }
    }

    /// Returns the number of copies in addition to the first, by cause.
    pub(super) fn counts(&self) -> &[u64; DuplicationCause::ALL.len()] {
        &self.counts
    }
}

/// Returns the tower that a copy was handed over to, and whether the tower has taken it.
fn receiver(copies: &Copies, tower: TowerId, message: MessageId) -> Option<(TowerId, bool)> {
    match copies.state(tower, message)? {
        CopyState::Sent(to) => Some((to, false)),
        CopyState::Taken(by) => Some((by, true)),
        CopyState::Waiting | CopyState::Swallowed(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clacks_proto::Instant;

    const MESSAGE: MessageId = MessageId(0);
    const A: TowerId = TowerId(0);
    const B: TowerId = TowerId(1);
    const QUEUED: Observed = Observed::Queued { message: Some(MESSAGE), origin: Origin::Peer };
    const RETURNED: Observed =
        Observed::Queued { message: Some(MESSAGE), origin: Origin::Returned };
    const RECEIVED: Observed =
        Observed::Received { from: None, sender: Some(A), message: Some(MESSAGE) };

    /// Checks the takes of tower B while tower A has a copy in this state and so many doubts.
    fn causes(
        roles: &[TowerId],
        state: CopyState,
        doubts: u32,
        seen: &[(TowerId, Observed)],
    ) -> (Vec<DuplicationCause>, u64) {
        let mut found = Violations::new(roles, |_| true);
        let (mut duplicates, mut copies) = (Duplicates::new(2), Copies::new(2));
        copies.insert(A, MESSAGE);
        copies.set(A, MESSAGE, state);
        for (tower, what) in seen {
            let observation = Observation { at: Instant::ORIGIN, tower: Some(*tower), what: *what };
            duplicates.observe(&observation, &copies, &mut found);
            if *what == RETURNED {
                duplicates.on_requeued(*tower, doubts, &mut found);
                copies.set(A, MESSAGE, CopyState::Waiting);
            }
        }
        let has_cause = |cause: &DuplicationCause| duplicates.counts[*cause as usize] > 0;
        (DuplicationCause::ALL.into_iter().filter(has_cause).collect(), found.count())
    }

    #[test]
    fn a_hop_makes_no_copy() {
        let hop = [(B, RECEIVED), (B, QUEUED)];
        assert_eq!(causes(&[], CopyState::Sent(B), 0, &hop), (vec![], 0));
        let refused = [(A, RETURNED)];
        assert_eq!(causes(&[], CopyState::Sent(B), 0, &refused), (vec![], 0));
    }

    #[test]
    fn a_requeued_message_that_was_taken_bites_unless_its_hand_over_was_in_doubt() {
        let taken = CopyState::Taken(B);
        let returned = [(A, RETURNED)];
        let unexplained = vec![DuplicationCause::Unexplained];
        assert_eq!(causes(&[], taken, 0, &returned), (unexplained, 1));
        let lost = vec![DuplicationCause::ConfirmationLost];
        assert_eq!(causes(&[], taken, 1, &returned), (lost, 0));
        assert_eq!(causes(&[B], taken, 0, &returned), (vec![DuplicationCause::Role], 0));
    }

    #[test]
    fn a_message_taken_from_a_tower_that_does_not_hand_it_over_bites() {
        let hop = [(B, RECEIVED), (B, QUEUED)];
        let unexplained = vec![DuplicationCause::Unexplained];
        assert_eq!(causes(&[], CopyState::Waiting, 0, &hop), (unexplained, 1));
        let late = [(A, RETURNED), (B, RECEIVED), (B, QUEUED)];
        let taken_late = vec![DuplicationCause::TakenLate];
        assert_eq!(causes(&[], CopyState::Sent(B), 1, &late), (taken_late, 0));
        let unexplained = vec![DuplicationCause::Unexplained];
        assert_eq!(causes(&[], CopyState::Taken(B), 0, &hop), (unexplained, 1));
        let (message, attempt, arrives) = (Some(MESSAGE), Attempt::Retry, Instant::ORIGIN);
        let retried = (A, Observed::HandedOver { to: B, message, attempt, arrives });
        let retry = vec![DuplicationCause::RetryTaken];
        assert_eq!(causes(&[], CopyState::Taken(B), 0, &[retried, hop[0], hop[1]]), (retry, 0));
        let role = vec![DuplicationCause::Role];
        assert_eq!(causes(&[A], CopyState::Waiting, 0, &hop), (role, 0));
    }

    #[test]
    fn a_doubt_excuses_one_take_of_one_message_by_one_tower() {
        let late = [(A, RETURNED), (B, RECEIVED), (B, QUEUED)];
        let both = vec![DuplicationCause::TakenLate, DuplicationCause::Unexplained];
        let twice = [late[0], late[1], late[2], late[1], late[2]];
        assert_eq!(causes(&[], CopyState::Sent(B), 1, &twice), (both, 1));
        // The doubt is about a hand-over to another tower.
        let unexplained = vec![DuplicationCause::Unexplained];
        assert_eq!(causes(&[], CopyState::Sent(TowerId(2)), 1, &late), (unexplained, 1));
    }
}
