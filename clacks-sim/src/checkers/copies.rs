//! The copies of each message: which towers hold it, and how far their hand-overs are.

use smallvec::SmallVec;

use super::totals::LossCause;
use crate::observation::{MessageId, TowerId};

/// How far a tower's copy of a message is on its way to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CopyState {
    /// The copy is in the queue.
    Waiting,
    /// The copy was handed over to the tower, which has not taken it yet.
    Sent(TowerId),
    /// The tower has taken the message. The confirmation is under way.
    Taken(TowerId),
    /// The application of the tower has swallowed the message. The confirmation is under way.
    Swallowed(TowerId),
}

/// A copy of a message.
#[derive(Clone, Copy, Debug)]
struct Copy {
    tower: TowerId,
    state: CopyState,
}

/// Everything known about one message.
#[derive(Clone, Debug, Default)]
struct Message {
    /// One for each tower that holds the message. Most messages are at one tower, or at two while
    /// the confirmation is under way.
    copies: SmallVec<[Copy; 2]>,
    /// The cause of the last loss of a copy.
    loss: Option<LossCause>,
    /// The cause under which the message is counted as lost. `None` if a tower holds the message.
    counted_loss: Option<LossCause>,
}

/// All copies of all messages, by message.
///
/// An operation costs O(copies of the message), and allocates only when a message has more than two
/// copies.
#[derive(Debug)]
pub(super) struct Copies {
    messages: Vec<Message>,
    /// The number of messages that each tower holds.
    held: Vec<u32>,
    /// The number of copies. A message that was taken counts once until it is confirmed.
    count: u64,
    /// The number of messages that a tower holds.
    alive: u64,
    lost: [u64; LossCause::ALL.len()],
}

impl Copies {
    pub(super) fn new(towers: u32) -> Self {
        Self {
            messages: Vec::new(),
            held: vec![0; towers as usize],
            count: 0,
            alive: 0,
            lost: [0; LossCause::ALL.len()],
        }
    }

    /// Registers the next message. Returns whether the number is new.
    pub(super) fn register(&mut self, message: MessageId) -> bool {
        let is_new = message.0 as usize >= self.messages.len();
        if is_new {
            self.messages.resize(message.0 as usize + 1, Message::default());
        }
        is_new
    }

    /// Returns the state of a tower's copy of a message, if the tower holds one.
    #[inline(always)]
    pub(super) fn state(&self, tower: TowerId, message: MessageId) -> Option<CopyState> {
        let copies = &self.messages.get(message.0 as usize)?.copies;
        copies.iter().find(|copy| copy.tower == tower).map(|copy| copy.state)
    }

    /// Adds a waiting copy. Returns whether the tower had none.
    #[inline(always)]
    pub(super) fn insert(&mut self, tower: TowerId, message: MessageId) -> bool {
        if self.set(tower, message, CopyState::Waiting).is_some() {
            return false;
        }
        self.register(message);
        let record = &mut self.messages[message.0 as usize];
        record.copies.push(Copy { tower, state: CopyState::Waiting });
        if record.copies.len() == 1 {
            self.alive += 1;
            if let Some(cause) = record.counted_loss.take() {
                self.lost[cause as usize] -= 1;
            }
        }
        self.count += 1;
        if let Some(held) = self.held.get_mut(tower.0 as usize) {
            *held += 1;
        }
        true
    }

    /// Changes the state of a copy. Returns the state before, or `None` if the tower has no copy.
    #[inline(always)]
    pub(super) fn set(
        &mut self,
        tower: TowerId,
        message: MessageId,
        state: CopyState,
    ) -> Option<CopyState> {
        let copies = &mut self.messages.get_mut(message.0 as usize)?.copies;
        let copy = copies.iter_mut().find(|copy| copy.tower == tower)?;
        let before = std::mem::replace(&mut copy.state, state);
        self.count += u64::from(is_taken(before));
        self.count -= u64::from(is_taken(state));
        Some(before)
    }

    /// Removes a copy. `loss` is the cause if the copy was lost, and `None` if the message is at
    /// another tower now. Returns whether the message is gone although no copy was ever lost.
    #[inline(always)]
    pub(super) fn remove(
        &mut self,
        tower: TowerId,
        message: MessageId,
        loss: Option<LossCause>,
    ) -> bool {
        let Some(record) = self.messages.get_mut(message.0 as usize) else { return false };
        let Some(place) = record.copies.iter().position(|copy| copy.tower == tower) else {
            return false;
        };
        let last = record.copies.len() - 1;
        record.copies.swap(place, last);
        let copy = record.copies.pop();
        self.count -= u64::from(copy.is_some_and(|copy| !is_taken(copy.state)));
        if let Some(held) = self.held.get_mut(tower.0 as usize) {
            *held -= 1;
        }
        record.loss = loss.or(record.loss);
        if !record.copies.is_empty() {
            return false;
        }
        let cause = record.loss.unwrap_or(LossCause::Unexplained);
        record.counted_loss = Some(cause);
        self.alive -= 1;
        self.lost[cause as usize] += 1;
        record.loss.is_none()
    }

    /// Returns whether any tower holds a message.
    #[inline(always)]
    pub(super) fn is_alive(&self, message: MessageId) -> bool {
        self.messages.get(message.0 as usize).is_some_and(|record| !record.copies.is_empty())
    }

    /// Returns how many messages a tower holds.
    #[inline(always)]
    pub(super) fn held(&self, tower: TowerId) -> usize {
        self.held.get(tower.0 as usize).map_or(0, |held| *held as usize)
    }

    /// Returns how many messages there have been.
    pub(super) fn messages(&self) -> u32 {
        u32::try_from(self.messages.len()).unwrap_or(u32::MAX)
    }

    /// Returns the number of copies. A message that was taken counts once until it is confirmed.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Returns the number of messages that a tower holds.
    pub(super) fn alive(&self) -> u64 {
        self.alive
    }

    /// Returns the number of messages that no tower holds, by the cause of the last loss.
    pub(super) fn lost(&self) -> &[u64; LossCause::ALL.len()] {
        &self.lost
    }
}

fn is_taken(state: CopyState) -> bool {
    matches!(state, CopyState::Taken(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: MessageId = MessageId(7);
    const A: TowerId = TowerId(0);
    const B: TowerId = TowerId(1);

    fn figures(copies: &Copies) -> (u64, u64, usize, usize) {
        (copies.count(), copies.alive(), copies.held(A), copies.held(B))
    }

    #[test]
    fn a_message_counts_once_while_its_confirmation_is_under_way() {
        let mut copies = Copies::new(2);
        assert!(copies.insert(A, MESSAGE) && !copies.insert(A, MESSAGE));
        copies.set(A, MESSAGE, CopyState::Sent(B));
        assert_eq!(figures(&copies), (1, 1, 1, 0));
        copies.set(A, MESSAGE, CopyState::Taken(B));
        copies.insert(B, MESSAGE);
        assert_eq!(figures(&copies), (1, 1, 1, 1));
        assert!(!copies.remove(A, MESSAGE, None));
        assert_eq!(figures(&copies), (1, 1, 0, 1));
        assert_eq!(copies.set(A, MESSAGE, CopyState::Waiting), None);
    }

    #[test]
    fn a_lost_message_that_a_tower_takes_late_is_alive_again() {
        let mut copies = Copies::new(2);
        copies.insert(A, MESSAGE);
        assert!(!copies.remove(A, MESSAGE, Some(LossCause::Crash)));
        assert_eq!(copies.lost()[LossCause::Crash as usize], 1);
        copies.insert(B, MESSAGE);
        assert!(copies.is_alive(MESSAGE) && copies.lost().iter().all(|count| *count == 0));
    }

    #[test]
    fn a_message_without_a_holder_and_without_a_loss_is_reported() {
        let mut copies = Copies::new(2);
        copies.insert(A, MESSAGE);
        assert!(copies.remove(A, MESSAGE, None));
        assert_eq!(copies.lost()[LossCause::Unexplained as usize], 1);
    }
}
