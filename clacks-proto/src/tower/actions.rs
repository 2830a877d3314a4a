//! The queue of what a tower asks its driver to do.

use alloc::collections::VecDeque;

use crate::event::{Action, Notice};
use crate::message::Message;

/// What a driver polls: first what it has to do for links, then what the application is told. The number of notices is
/// bounded; the number of links and offers bounds the rest.
#[derive(Debug)]
pub(crate) struct ActionQueue {
    /// All but the notices.
    tasks: VecDeque<Action>,
    /// How many of the tasks are offers.
    screens: usize,
    /// All are `Action::Notify`. In this form, none is moved to be polled.
    notices: VecDeque<Action>,
    /// The bytes of bodies that only these notices hold.
    notice_bytes: usize,
    max_notices: usize,
    max_link_actions: usize,
    missed: Missed,
}

/// Notices that were dropped.
#[derive(Debug, Default)]
struct Missed {
    /// Since the last [`Notice::Missed`].
    count: u64,
    /// The bytes of bodies of notices that were dropped since the queue was empty. Earlier notices may still hold these
    /// bodies.
    bytes: usize,
}

/// The most actions of one link that wait: a connect, a send and two closes.
const ACTIONS_PER_LINK: usize = 4;

impl ActionQueue {
    pub(crate) fn new(max_notices: usize, max_links: usize) -> Self {
        Self {
            tasks: VecDeque::new(),
            screens: 0,
            notices: VecDeque::new(),
            notice_bytes: 0,
            max_notices,
            max_link_actions: max_links.saturating_mul(ACTIONS_PER_LINK),
            missed: Missed::default(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tasks.is_empty() && self.notices.is_empty() && self.missed.count == 0
    }

    /// Returns whether `count` more notices fit.
    #[inline]
    pub(crate) fn has_room(&self, count: usize) -> bool {
        self.notices.len() + count <= self.max_notices
    }

    /// Returns whether all actions of one more link fit. Links may end before their actions are polled.
    pub(crate) fn has_room_for_link(&self) -> bool {
        self.tasks.len() - self.screens + ACTIONS_PER_LINK <= self.max_link_actions
    }

    /// Returns the bytes of message bodies that only notices hold.
    #[inline]
    pub(crate) fn notice_bytes(&self) -> usize {
        self.notice_bytes
    }

    /// Returns the number of offers that wait to be polled, decided ones included.
    pub(crate) fn screens(&self) -> usize {
        self.screens
    }

    #[inline]
    pub(crate) fn push(&mut self, action: Action) {
        debug_assert!(!matches!(action, Action::Notify(_)), "notices are counted");
        self.screens += usize::from(matches!(action, Action::Screen { .. }));
        self.tasks.push_back(action);
    }

    /// Queues a notice, or counts it if there is no room. Returns whether the notice was queued.
    #[inline(always)]
    pub(crate) fn notify(&mut self, notice: Notice) -> bool {
        if self.missed.count == 0 && self.has_room(1) {
            self.enqueue(notice);
            return true;
        }
        self.notify_after_missed(notice)
    }

    #[cold]
    fn notify_after_missed(&mut self, notice: Notice) -> bool {
        if self.missed.count > 0 && self.has_room(2) {
            let count = core::mem::take(&mut self.missed.count);
            self.enqueue(Notice::Missed { count });
        }
        if !self.has_room(1) {
            let len = held_by(&Action::Notify(notice));
            self.missed.count += 1;
            self.missed.bytes += len;
            self.notice_bytes += len;
            return false;
        }
        self.enqueue(notice);
        true
    }

    /// Queues the last notice of a tower, whether there is room or not.
    pub(crate) fn notify_last(&mut self, notice: Notice) {
        self.enqueue(notice);
    }

    #[cfg(test)]
    fn pop(&mut self) -> Option<Action> {
        self.pop_task().or_else(|| self.pop_notice())
    }

    #[inline]
    pub(crate) fn pop_task(&mut self) -> Option<Action> {
        let task = self.tasks.pop_front()?;
        self.screens -= usize::from(matches!(task, Action::Screen { .. }));
        Some(task)
    }

    #[inline]
    pub(crate) fn pop_notice(&mut self) -> Option<Action> {
        let Some(notice) = self.notices.pop_front() else { return self.pop_missed() };
        self.notice_bytes -= held_by(&notice);
        Some(notice)
    }

    /// Frees the memory of an empty queue.
    pub(crate) fn rest(&mut self) {
        if self.is_empty() {
            (self.tasks, self.notices) = (VecDeque::new(), VecDeque::new());
        }
    }

    #[inline(never)]
    fn pop_missed(&mut self) -> Option<Action> {
        // Makes the queue start at the beginning of its memory again, which is still in the cache.
        self.notices.clear();
        // No notice is left that could hold a body of a dropped one.
        self.notice_bytes -= core::mem::take(&mut self.missed.bytes);
        match core::mem::take(&mut self.missed.count) {
            0 => None,
            count => Some(Action::Notify(Notice::Missed { count })),
        }
    }

    #[inline(always)]
    fn enqueue(&mut self, notice: Notice) {
        let notice = Action::Notify(notice);
        self.notice_bytes += held_by(&notice);
        self.notices.push_back(notice);
    }
}

/// Returns the bytes of the body that only notices hold once this one is queued.
///
/// The notice of a delivery takes the body of a message with it. The notice that the message was received comes before
/// that one, so whatever it holds is held by the queue or by the later notice too.
#[inline]
fn held_by(notice: &Action) -> usize {
    match notice {
        Action::Notify(Notice::MessageDelivered { message, .. }) => Message::len(message),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Address;
    use crate::ids::{Epoch, LinkId, MessageId};
    use crate::message::Nonce;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn address() -> Address {
        Address::new("127.0.0.1", 8001).unwrap()
    }

    /// A notice with a number, which holds as many bytes.
    fn notice(number: u32) -> Notice {
        Notice::MessageDelivered {
            id: MessageId { index: number, epoch: Epoch::FIRST },
            nonce: Nonce(0),
            message: Message::bytes(&alloc::vec![0; number as usize]),
            to: address(),
        }
    }

    fn send(number: u32) -> Action {
        Action::Send { link: LinkId { index: number, epoch: Epoch::FIRST } }
    }

    fn drain(actions: &mut ActionQueue) -> Vec<Action> {
        core::iter::from_fn(|| actions.pop()).collect()
    }

    #[test]
    fn notices_that_do_not_fit_are_counted_and_the_count_comes_last() {
        let mut actions = ActionQueue::new(2, 9);
        let kept: Vec<_> = (0..5).map(|n| actions.notify(notice(n))).collect();
        assert_eq!(kept, [true, true, false, false, false]);
        let missed = Action::Notify(Notice::Missed { count: 3 });
        let expected = [Action::Notify(notice(0)), Action::Notify(notice(1)), missed];
        assert!(!actions.is_empty());
        assert_eq!(drain(&mut actions), expected);
        assert!(actions.is_empty());
        assert_eq!(actions.pop(), None, "the count comes once");
    }

    #[test]
    fn the_count_of_missed_notices_comes_before_the_next_notice_that_fits() {
        let mut actions = ActionQueue::new(2, 9);
        (0..3).for_each(|n| _ = actions.notify(notice(n)));
        assert_eq!(actions.pop(), Some(Action::Notify(notice(0))));
        assert_eq!(actions.pop(), Some(Action::Notify(notice(1))));
        assert!(actions.notify(notice(3)));
        let missed = Action::Notify(Notice::Missed { count: 1 });
        assert_eq!(drain(&mut actions), [missed, Action::Notify(notice(3))]);
    }

    #[test]
    fn other_actions_are_never_dropped() {
        let mut actions = ActionQueue::new(1, 9);
        (0..2).for_each(|n| _ = actions.notify(notice(n)));
        (0..3).for_each(|n| actions.push(send(n)));
        let missed = Action::Notify(Notice::Missed { count: 1 });
        let expected = [send(0), send(1), send(2), Action::Notify(notice(0)), missed];
        assert_eq!(drain(&mut actions), expected);
    }

    #[test]
    fn there_is_room_for_a_link_only_if_all_its_actions_fit() {
        let mut actions = ActionQueue::new(1, 2);
        (0..4).for_each(|n| actions.push(send(n)));
        assert!(actions.has_room_for_link());
        actions.push(send(4));
        assert!(!actions.has_room_for_link());
        actions.pop();
        assert!(actions.has_room_for_link());
    }

    proptest! {
        #[test]
        fn every_notice_is_delivered_or_counted_and_all_keep_their_order(
            steps in proptest::collection::vec(0u8..4, 0..200),
            max in 1usize..6,
        ) {
            let mut actions = ActionQueue::new(max, 9);
            let (mut kept, mut sent, mut dropped) = (Vec::new(), Vec::new(), 0);
            let (mut delivered, mut seen, mut missed) = (Vec::new(), Vec::new(), 0);
            let mut poll = |action: Option<Action>| match action {
                Some(Action::Notify(Notice::Missed { count })) => missed += count,
                Some(Action::Notify(notice)) => delivered.push(notice),
                Some(action) => seen.push(action),
                None => {}
            };
            for (step, number) in steps.iter().zip(0..) {
                match step {
                    0 | 1 => match actions.notify(notice(number)) {
                        true => kept.push(notice(number)),
                        false => dropped += 1,
                    },
                    2 => {
                        actions.push(send(number));
                        sent.push(send(number));
                    }
                    _ => poll(actions.pop()),
                }
                let bytes: usize = actions.notices.iter().map(held_by).sum();
                prop_assert!(actions.notices.len() <= max);
                prop_assert_eq!(actions.notice_bytes(), bytes + actions.missed.bytes);
            }
            while !actions.is_empty() {
                poll(actions.pop());
            }
            prop_assert_eq!((delivered, seen, missed), (kept, sent, dropped));
            prop_assert_eq!(actions.pop(), None);
            prop_assert_eq!(actions.notice_bytes(), 0);
        }
    }
}
