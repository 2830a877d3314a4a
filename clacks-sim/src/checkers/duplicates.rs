//! Duplicates: each copy of a message in addition to the first has a cause.

use clacks_proto::Tower;
use clacks_proto::wire::Attempt;

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
    towers: Vec<Doubts>,
    /// Messages that a tower has requeued in the current event although the receiver took them.
    requeued: Vec<(MessageId, TowerId)>,
    /// Whether a tower has requeued any message in the current event.
    has_requeued: bool,
    /// What a copy is that the tower queues now.
    taken: Option<DuplicationCause>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Doubts {
    /// The number of doubts that the tower has had before the current event.
    unresolved: u32,
    /// Whether any hand-over of the tower was ever in doubt. Then a peer may take a message late.
    has_doubted: bool,
}

impl Duplicates {
    pub(super) fn new(towers: u32) -> Self {
        Self {
            counts: [0; DuplicationCause::ALL.len()],
            towers: vec![Doubts::default(); towers as usize],
            requeued: Vec::new(),
            has_requeued: false,
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
                    _ => Some(self.cause_of_take(sender, state, tower, found)),
                };
            }
            Observed::Queued { message: Some(message), origin: Origin::Peer } => {
                // The only copy of a message may arrive after the crash of the sender.
                if let Some(cause) = self.taken.take().filter(|_| copies.is_alive(message)) {
                    self.count(cause, tower, message, found);
                }
            }
            Observed::Queued { message: Some(message), origin: Origin::Returned } => {
                self.has_requeued = true;
                if let Some(CopyState::Taken(by)) = copies.state(tower, message) {
                    self.requeued.push((message, by));
                }
            }
            Observed::Dropped { .. } | Observed::HandedOver { attempt: Attempt::Retry, .. } => {
                if let Some(doubts) = self.towers.get_mut(tower.0 as usize) {
                    doubts.has_doubted = true;
                }
            }
            Observed::Started { .. } => {
                if let Some(doubts) = self.towers.get_mut(tower.0 as usize) {
                    doubts.unresolved = 0;
                }
            }
            _ => {}
        }
    }

    /// Compares the messages requeued in an event with the doubts that the tower had.
    #[inline]
    pub(super) fn after(&mut self, tower: TowerId, machine: &Tower, found: &mut Violations) {
        if self.has_requeued {
            let unresolved = u32::try_from(machine.stats().doubt_unresolved).unwrap_or(u32::MAX);
            self.on_requeued(tower, unresolved, found);
        }
    }

    fn on_requeued(&mut self, tower: TowerId, unresolved: u32, found: &mut Violations) {
        self.has_requeued = false;
        let Some(doubts) = self.towers.get_mut(tower.0 as usize) else { return };
        let mut excused = unresolved.saturating_sub(doubts.unresolved);
        doubts.unresolved = unresolved;
        doubts.has_doubted |= excused > 0;
        for (message, by) in std::mem::take(&mut self.requeued) {
            let cause = if found.is_role(by) {
                DuplicationCause::Role
            } else if excused > 0 {
                excused -= 1;
                DuplicationCause::ConfirmationLost
            } else {
                DuplicationCause::Unexplained
            };
            self.count(cause, by, message, found);
        }
    }

    /// Returns why a tower took a message that the sender does not hand over to it now.
    fn cause_of_take(
        &self,
        sender: Option<TowerId>,
        state: Option<CopyState>,
        tower: TowerId,
        found: &Violations,
    ) -> DuplicationCause {
        if found.is_role(tower) || sender.is_some_and(|sender| found.is_role(sender)) {
            return DuplicationCause::Role;
        }
        let doubts = sender.and_then(|sender| self.towers.get(sender.0 as usize));
        if !doubts.is_some_and(|doubts| doubts.has_doubted) {
            DuplicationCause::Unexplained
        } else if state == Some(CopyState::Taken(tower)) {
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
            if duplicates.has_requeued {
                duplicates.on_requeued(*tower, doubts, &mut found);
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
        assert_eq!(causes(&[], CopyState::Waiting, 1, &late), (taken_late, 0));
        let unexplained = vec![DuplicationCause::Unexplained];
        assert_eq!(causes(&[], CopyState::Taken(B), 0, &hop), (unexplained, 1));
        let (message, attempt, arrives) = (Some(MESSAGE), Attempt::Retry, Instant::ORIGIN);
        let retried = (A, Observed::HandedOver { to: B, message, attempt, arrives });
        let retry = vec![DuplicationCause::RetryTaken];
        assert_eq!(causes(&[], CopyState::Taken(B), 0, &[retried, hop[0], hop[1]]), (retry, 0));
        let role = vec![DuplicationCause::Role];
        assert_eq!(causes(&[A], CopyState::Waiting, 0, &hop), (role, 0));
    }
}
