//! Transfers that came in on a link, and the answers to them.

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use super::dedup::RefusedTransfers;
use crate::ids::MessageId;
use crate::wire::{RefusedReason, Window};

/// What became of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The transfer was taken.
    Taken,
    /// The transfer was not taken, and may be tried again.
    Refused(RefusedReason),
    /// The transfer is not what its receiver understands. Only HTTP has this answer; the number is
    /// its status.
    #[allow(dead_code, reason = "only HTTP needs it")]
    Invalid(u16),
}

/// An answer that waits to be sent: to one transfer, and if that was taken, to the taken ones right
/// before it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) transfer: u64,
    pub(crate) outcome: Outcome,
    /// The number of transfers that are answered.
    pub(crate) count: u32,
    bytes: usize,
}

/// A transfer that came in and can't be answered yet: it waits for the application's verdict, or
/// for a verdict on a transfer before it.
#[derive(Clone, Copy, Debug)]
struct PendingAnswer {
    len: usize,
    decision: Decision,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    /// The application decides about this message.
    Awaited(MessageId),
    Made(Outcome),
}

/// The transfers that came in on a link. They are numbered from 1 in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct ReceiveWindow {
    /// The number of the last transfer.
    last: u64,
    /// The number of unanswered transfers, and the bytes of their bodies.
    open: u32,
    open_bytes: usize,
    /// Allocated when a message is put under screening.
    #[expect(clippy::box_collection, reason = "most links have none, which then takes 8 bytes")]
    pending: Option<Box<VecDeque<PendingAnswer>>>,
    /// The answers before the last one. Mostly one answer waits, so this takes no memory.
    answers: VecDeque<Answer>,
    last_answer: Option<Answer>,
    refused: RefusedTransfers,
}

impl ReceiveWindow {
    /// Returns the number of the next transfer.
    #[inline]
    pub(crate) fn next(&self) -> u64 {
        self.last + 1
    }

    /// Counts a transfer that came in, if the window that this tower grants admits it. Returns
    /// whether it does.
    #[inline]
    pub(crate) fn open(&mut self, len: usize, granted: Window) -> bool {
        let is_granted = granted.admits(self.open as usize, self.open_bytes, len);
        if is_granted {
            self.last += 1;
            self.open += 1;
            self.open_bytes += len;
        }
        is_granted
    }

    /// Answers the last transfer, after all those before it.
    #[inline(always)]
    pub(crate) fn answer(&mut self, len: usize, outcome: Outcome) {
        match &mut self.pending {
            Some(pending) if !pending.is_empty() => {
                let decision = Decision::Made(outcome);
                pending.push_back(PendingAnswer { len, decision });
            }
            _ => self.push(self.last, len, outcome),
        }
    }

    /// Leaves the last transfer unanswered until [`decide`](Self::decide) is called for its
    /// message.
    pub(crate) fn defer(&mut self, len: usize, message: MessageId) {
        let decision = Decision::Awaited(message);
        self.pending.get_or_insert_default().push_back(PendingAnswer { len, decision });
    }

    /// Decides the transfer of a message. Returns whether it was undecided.
    pub(crate) fn decide(&mut self, message: MessageId, outcome: Outcome) -> bool {
        let awaited = Decision::Awaited(message);
        let pending = self
            .pending
            .as_mut()
            .and_then(|pending| pending.iter_mut().find(|pending| pending.decision == awaited));
        let Some(pending) = pending else { return false };
        pending.decision = Decision::Made(outcome);
        while let Some((number, len, outcome)) = self.next_made() {
            self.push(number, len, outcome);
        }
        true
    }

    /// Takes the oldest pending transfer, if it has a verdict.
    fn next_made(&mut self) -> Option<(u64, usize, Outcome)> {
        let number = self.first_pending();
        let pending = self.pending.as_mut()?;
        let PendingAnswer { len, decision: Decision::Made(outcome) } = *pending.front()? else {
            return None;
        };
        pending.pop_front();
        Some((number, len, outcome))
    }

    /// Returns the number of the oldest pending transfer, or else of the next one.
    fn first_pending(&self) -> u64 {
        self.last + 1 - self.pending.as_ref().map_or(0, |pending| pending.len() as u64)
    }

    /// Returns whether a transfer was taken.
    pub(crate) fn has_taken(&self, number: u64) -> bool {
        if number > self.last {
            return false;
        }
        match number.checked_sub(self.first_pending()) {
            None => !self.refused.contains(number),
            Some(position) => {
                let position = usize::try_from(position).unwrap_or(usize::MAX);
                let taken = Decision::Made(Outcome::Taken);
                let pending = self.pending.as_ref().and_then(|pending| pending.get(position));
                pending.is_some_and(|pending| pending.decision == taken)
            }
        }
    }

    /// Returns the number of the last transfer, and the refused ones. Only for a link that ends:
    /// the window forgets them, and nothing is pending.
    pub(crate) fn take_taken(&mut self) -> (u64, RefusedTransfers) {
        let pending = self.pending.as_ref().map_or(0, |pending| pending.len());
        debug_assert_eq!(pending, 0, "a link that ends answers all transfers");
        (self.last, core::mem::take(&mut self.refused))
    }

    /// Answers all pending transfers. Those without a verdict are refused as busy; their messages
    /// are returned.
    pub(crate) fn withdraw(&mut self) -> impl Iterator<Item = MessageId> + use<> {
        let first = self.first_pending();
        let pending = self.pending.take().map(|pending| *pending).unwrap_or_default();
        for (number, PendingAnswer { len, decision }) in (first..).zip(&pending) {
            let outcome = match decision {
                Decision::Awaited(_) => Outcome::Refused(RefusedReason::Busy),
                Decision::Made(outcome) => *outcome,
            };
            self.push(number, *len, outcome);
        }
        pending.into_iter().filter_map(|pending| match pending.decision {
            Decision::Awaited(message) => Some(message),
            Decision::Made(_) => None,
        })
    }

    /// Returns whether the application has yet to decide about a transfer.
    pub(crate) fn is_pending(&self) -> bool {
        self.pending.as_ref().is_some_and(|pending| !pending.is_empty())
    }

    pub(crate) fn has_answers(&self) -> bool {
        self.last_answer.is_some()
    }

    /// Returns whether all transfers are answered.
    #[allow(dead_code, reason = "only HTTP needs it")]
    pub(crate) fn is_answered(&self) -> bool {
        self.open == 0
    }

    /// Takes the answer that is sent next.
    #[inline]
    pub(crate) fn pop_answer(&mut self) -> Option<Answer> {
        let answer = self.answers.pop_front().or_else(|| self.last_answer.take())?;
        self.open -= answer.count;
        self.open_bytes -= answer.bytes;
        Some(answer)
    }

    /// Queues an answer to a transfer. One frame confirms any number of consecutive transfers.
    #[inline(always)]
    fn push(&mut self, transfer: u64, bytes: usize, outcome: Outcome) {
        if outcome != Outcome::Taken {
            self.refused.insert(transfer);
        } else if let Some(last) = &mut self.last_answer
            && last.outcome == Outcome::Taken
        {
            last.transfer = transfer;
            last.count += 1;
            last.bytes += bytes;
            return;
        }
        let answer = Answer { transfer, outcome, count: 1, bytes };
        self.answers.extend(self.last_answer.replace(answer));
    }
}

#[cfg(any(test, feature = "fuzzing"))]
impl ReceiveWindow {
    fn pending(&self) -> impl Iterator<Item = &PendingAnswer> {
        self.pending.iter().flat_map(|pending| pending.iter())
    }

    pub(crate) fn offers(&self) -> impl Iterator<Item = MessageId> + '_ {
        self.pending().filter_map(|pending| match pending.decision {
            Decision::Awaited(message) => Some(message),
            Decision::Made(_) => None,
        })
    }

    pub(crate) fn assert_consistent(&self) {
        let answers = || self.answers.iter().chain(&self.last_answer);
        let answered: u32 = answers().map(|answer| answer.count).sum();
        let bytes: usize = answers().map(|answer| answer.bytes).sum();
        let pending: usize = self.pending().map(|pending| pending.len).sum();
        assert!(answered as usize + self.pending().count() <= self.open as usize);
        assert!(bytes + pending <= self.open_bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Epoch;
    use alloc::vec::Vec;

    const BUSY: Outcome = Outcome::Refused(RefusedReason::Busy);
    const WINDOW: Window = Window { messages: 4, bytes: 100 };

    fn message(index: u32) -> MessageId {
        MessageId { index, epoch: Epoch::FIRST }
    }

    fn answers(window: &mut ReceiveWindow) -> Vec<(u64, Outcome, u32)> {
        let next = || window.pop_answer().map(|it| (it.transfer, it.outcome, it.count));
        core::iter::from_fn(next).collect()
    }

    /// Counts and answers a transfer of `len` bytes.
    fn take(window: &mut ReceiveWindow, len: usize, outcome: Outcome) {
        assert!(window.open(len, WINDOW));
        window.answer(len, outcome);
    }

    /// Counts a transfer of one byte that waits for a verdict on a message.
    fn offer(window: &mut ReceiveWindow, index: u32) {
        assert!(window.open(1, WINDOW));
        window.defer(1, message(index));
    }

    #[test]
    fn transfers_count_until_their_answer_is_sent() {
        let mut window = ReceiveWindow::default();
        (0..4).for_each(|_| take(&mut window, 10, Outcome::Taken));
        assert!(!window.open(0, WINDOW), "a fifth message");
        assert!(window.has_answers() && !window.is_answered());
        assert_eq!(answers(&mut window), [(4, Outcome::Taken, 4)]);
        assert!(window.open(1_000, WINDOW), "a single message may be longer than the window");
        assert!(!window.open(1, WINDOW));
    }

    #[test]
    fn more_bytes_than_the_window_are_not_granted() {
        let mut window = ReceiveWindow::default();
        take(&mut window, 60, Outcome::Taken);
        assert!(!window.open(41, WINDOW));
        let mut window = ReceiveWindow::default();
        take(&mut window, 60, Outcome::Taken);
        assert!(window.open(40, WINDOW));
    }

    #[test]
    fn a_refusal_is_answered_by_itself() {
        let mut window = ReceiveWindow::default();
        for outcome in [Outcome::Taken, BUSY, Outcome::Taken] {
            take(&mut window, 1, outcome);
        }
        let expected = [(1, Outcome::Taken, 1), (2, BUSY, 1), (3, Outcome::Taken, 1)];
        assert_eq!(answers(&mut window), expected);
        assert!(window.is_answered());
    }

    #[test]
    fn answers_keep_the_order_of_the_transfers_whatever_is_decided_first() {
        let mut window = ReceiveWindow::default();
        offer(&mut window, 1);
        take(&mut window, 1, Outcome::Taken);
        offer(&mut window, 3);
        assert!(window.decide(message(3), BUSY));
        assert!(window.is_pending() && !window.has_answers());
        assert!(!window.decide(message(3), BUSY), "it is decided");
        assert!(window.decide(message(1), Outcome::Taken));
        assert!(!window.is_pending());
        assert_eq!(answers(&mut window), [(2, Outcome::Taken, 2), (3, BUSY, 1)]);
    }

    #[test]
    fn what_is_withdrawn_is_refused_as_busy_unless_it_was_decided() {
        let mut window = ReceiveWindow::default();
        offer(&mut window, 1);
        take(&mut window, 1, Outcome::Taken);
        offer(&mut window, 3);
        assert_eq!(window.withdraw().collect::<Vec<_>>(), [message(1), message(3)]);
        let expected = [(1, BUSY, 1), (2, Outcome::Taken, 1), (3, BUSY, 1)];
        assert_eq!(answers(&mut window), expected);
    }

    #[test]
    fn a_transfer_counts_as_taken_once_it_is_taken() {
        let mut window = ReceiveWindow::default();
        let taken = |window: &ReceiveWindow| {
            (1..9).filter(|number| window.has_taken(*number)).collect::<Vec<_>>()
        };
        take(&mut window, 1, Outcome::Taken);
        offer(&mut window, 2);
        take(&mut window, 1, Outcome::Taken);
        offer(&mut window, 4);
        assert_eq!(taken(&window), [1, 3]);
        window.decide(message(2), BUSY);
        assert_eq!(taken(&window), [1, 3]);
        window.decide(message(4), Outcome::Taken);
        assert_eq!(taken(&window), [1, 3, 4]);
        let (last, refused) = window.take_taken();
        assert!(last == 4 && refused.contains(2) && !refused.contains(3));
    }
}
