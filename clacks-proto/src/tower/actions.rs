//! The queue of actions for the driver.

use alloc::collections::VecDeque;

use crate::event::{Action, Notice};
use crate::message::Message;

/// Actions in order. The number of notices is bounded; the number of links and offers bounds the
/// other actions.
#[derive(Debug)]
pub(crate) struct ActionQueue {
    queue: VecDeque<Action>,
    notices: usize,
    /// The bytes of bodies that only these notices and the offers may hold.
    notice_bytes: usize,
    screens: usize,
    max_notices: usize,
    max_link_actions: usize,
    missed: Missed,
}

/// Notices that were dropped.
#[derive(Debug, Default)]
struct Missed {
    /// Since the last [`Notice::Missed`].
    count: u64,
    /// The bytes of bodies of notices that were dropped since the queue was empty. Earlier notices
    /// may still hold these bodies.
    bytes: usize,
}

/// The most actions of one link that wait: a connect, a send and two closes.
const ACTIONS_PER_LINK: usize = 4;

impl ActionQueue {
    pub(crate) fn new(max_notices: usize, max_links: usize) -> Self {
        Self {
            queue: VecDeque::new(),
            notices: 0,
            notice_bytes: 0,
            screens: 0,
            max_notices,
            max_link_actions: max_links.saturating_mul(ACTIONS_PER_LINK),
            missed: Missed::default(),
        }
    }

    /// Starts to load the memory of the next actions into the cache.
    #[cfg(feature = "simulation")]
    pub(crate) fn prefetch(&self) {
        for index in 0..3 {
            prefetch_index::prefetch_index(self.queue.as_slices().0, index);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.missed.count == 0
    }

    /// Returns whether `count` more notices fit, with the count of missed ones that comes before
    /// them.
    #[inline]
    pub(crate) fn has_room(&self, count: usize) -> bool {
        self.notices + count + usize::from(self.missed.count > 0) <= self.max_notices
    }

    /// Returns how many more notices fit.
    pub(crate) fn room(&self) -> usize {
        let used = self.notices + usize::from(self.missed.count > 0);
        self.max_notices.saturating_sub(used)
    }

    /// Returns whether all actions of one more link fit. Links may end before their actions are
    /// polled.
    pub(crate) fn has_room_for_link(&self) -> bool {
        let link_actions = self.queue.len() - self.notices - self.screens;
        link_actions + ACTIONS_PER_LINK <= self.max_link_actions
    }

    /// Returns the bytes of message bodies that only actions may hold.
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
        if let Action::Screen { message, .. } = &action {
            self.screens += 1;
            // The offer may be decided before it is polled. Then no other place counts its body.
            self.notice_bytes += message.len();
        }
        self.queue.push_back(action);
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
        if !self.has_room(1) {
            let len = held_by(&notice);
            self.missed.count += 1;
            self.missed.bytes += len;
            self.notice_bytes += len;
            return false;
        }
        let count = core::mem::take(&mut self.missed.count);
        if count > 0 {
            self.enqueue(Notice::Missed { count });
        }
        self.enqueue(notice);
        true
    }

    /// Queues the last notice of a tower, whether there is room or not. The count of missed notices
    /// comes before it.
    pub(crate) fn notify_last(&mut self, notice: Notice) {
        let count = core::mem::take(&mut self.missed.count);
        if count > 0 {
            self.enqueue(Notice::Missed { count });
        }
        self.enqueue(notice);
    }

    /// Takes the next notice, or the next other action for which `is_wanted` returns `true`. Drops
    /// those before it. Frees the memory of an empty queue if `is_idle`.
    #[inline]
    pub(crate) fn pop(
        &mut self,
        is_idle: bool,
        mut is_wanted: impl FnMut(&Action) -> bool,
    ) -> Option<Action> {
        loop {
            let Some(action) = self.queue.front() else { return self.pop_missed(is_idle) };
            let is_wanted = match action {
                Action::Notify(notice) => {
                    self.notices -= 1;
                    self.notice_bytes -= held_by(notice);
                    true
                }
                Action::Screen { message, .. } => {
                    self.screens -= 1;
                    self.notice_bytes -= message.len();
                    is_wanted(action)
                }
                other => is_wanted(other),
            };
            if is_wanted {
                return self.queue.pop_front();
            }
            self.queue.pop_front();
        }
    }

    /// Frees the memory of an empty queue.
    pub(crate) fn free_memory(&mut self) {
        if self.is_empty() {
            self.queue = VecDeque::new();
        }
    }

    #[inline(never)]
    fn pop_missed(&mut self, is_idle: bool) -> Option<Action> {
        // Makes the queue start at the beginning of its memory again, which is still in the cache.
        self.queue.clear();
        if is_idle {
            self.queue = VecDeque::new();
        }
        // No notice is left that could hold a body of a dropped one.
        self.notice_bytes -= core::mem::take(&mut self.missed.bytes);
        match core::mem::take(&mut self.missed.count) {
            0 => None,
            count => Some(Action::Notify(Notice::Missed { count })),
        }
    }

    #[inline(always)]
    fn enqueue(&mut self, notice: Notice) {
        self.notices += 1;
        self.notice_bytes += held_by(&notice);
        self.queue.push_back(Action::Notify(notice));
    }
}

/// Returns the bytes of the body that only notices hold once this one is queued.
///
/// The notice of a delivery or of an end keeps the body of a message that has left the queue. The
/// notice that the message was received comes before it, so its body is also held by the queue or
/// by the later notice.
#[inline]
fn held_by(notice: &Notice) -> usize {
    match notice {
        Notice::MessageDelivered { message, .. } | Notice::MessageExpired { message, .. } => {
            Message::len(message)
        }
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
            kept: false,
        }
    }

    fn send(number: u32) -> Action {
        Action::Send { link: LinkId { index: number, epoch: Epoch::FIRST } }
    }

    fn drain(actions: &mut ActionQueue) -> Vec<Action> {
        core::iter::from_fn(|| actions.pop(false, |_| true)).collect()
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
        assert_eq!(actions.pop(false, |_| true), None, "the count comes once");
    }

    #[test]
    fn the_count_of_missed_notices_comes_before_the_next_notice_that_fits() {
        let mut actions = ActionQueue::new(2, 9);
        (0..3).for_each(|n| _ = actions.notify(notice(n)));
        assert_eq!(actions.pop(false, |_| true), Some(Action::Notify(notice(0))));
        assert_eq!(actions.pop(false, |_| true), Some(Action::Notify(notice(1))));
        assert!(actions.notify(notice(3)));
        let missed = Action::Notify(Notice::Missed { count: 1 });
        assert_eq!(drain(&mut actions), [missed, Action::Notify(notice(3))]);
    }

    #[test]
    fn the_last_notice_comes_after_the_count_of_missed_ones() {
        let mut actions = ActionQueue::new(1, 9);
        (0..3).for_each(|n| _ = actions.notify(notice(n)));
        actions.notify_last(Notice::ShutDown { left: 0 });
        let missed = Action::Notify(Notice::Missed { count: 2 });
        let last = Action::Notify(Notice::ShutDown { left: 0 });
        assert_eq!(drain(&mut actions), [Action::Notify(notice(0)), missed, last]);
        assert_eq!(actions.notice_bytes(), 0);
    }

    #[test]
    fn other_actions_are_never_dropped() {
        let mut actions = ActionQueue::new(1, 9);
        (0..2).for_each(|n| _ = actions.notify(notice(n)));
        (0..3).for_each(|n| actions.push(send(n)));
        let missed = Action::Notify(Notice::Missed { count: 1 });
        let expected = [Action::Notify(notice(0)), send(0), send(1), send(2), missed];
        assert_eq!(drain(&mut actions), expected);
    }

    #[test]
    fn there_is_room_for_a_link_only_if_all_its_actions_fit() {
        let mut actions = ActionQueue::new(1, 2);
        (0..4).for_each(|n| actions.push(send(n)));
        assert!(actions.has_room_for_link());
        actions.push(send(4));
        assert!(!actions.has_room_for_link());
        actions.pop(false, |_| true);
        assert!(actions.has_room_for_link());
    }

    #[test]
    fn a_notice_that_would_come_before_the_count_of_missed_ones_is_missed_too() {
        let mut actions = ActionQueue::new(2, 9);
        (0..3).for_each(|n| _ = actions.notify(notice(n)));
        assert_eq!(actions.pop(false, |_| true), Some(Action::Notify(notice(0))));
        assert!(!actions.notify(notice(3)), "there is room for one notice, and not for the count");
        let missed = Action::Notify(Notice::Missed { count: 2 });
        assert_eq!(drain(&mut actions), [Action::Notify(notice(1)), missed]);
    }

    proptest! {
        #[test]
        #[cfg_attr(miri, ignore = "draws many cases")]
        fn every_notice_comes_after_those_before_it_were_delivered_or_counted(
            steps in proptest::collection::vec(0u8..4, 0..200),
            max in 1usize..6,
        ) {
            let mut actions = ActionQueue::new(max, 9);
            let (mut kept, mut sent, mut polled, mut serial) = (0, Vec::new(), Vec::new(), 0);
            for (step, number) in steps.iter().zip(0..) {
                match step {
                    0 | 1 => {
                        kept += usize::from(actions.notify(notice(serial)));
                        serial += 1;
                    }
                    2 => {
                        actions.push(send(number));
                        sent.push(send(number));
                    }
                    _ => polled.extend(actions.pop(false, |_| true)),
                }
                let waiting = actions.queue.iter().filter_map(|action| match action {
                    Action::Notify(notice) => Some(held_by(notice)),
                    _ => None,
                });
                let (count, bytes) = waiting.fold((0, 0), |sum, len| (sum.0 + 1, sum.1 + len));
                prop_assert_eq!(count, actions.notices);
                prop_assert!(count <= max);
                prop_assert_eq!(actions.notice_bytes(), bytes + actions.missed.bytes);
            }
            polled.extend(drain(&mut actions));
            let (mut next, mut delivered, mut seen) = (0, 0, Vec::new());
            for action in polled {
                match action {
                    Action::Notify(Notice::Missed { count }) => next += u32::try_from(count).unwrap(),
                    Action::Notify(other) => {
                        prop_assert_eq!(other, notice(next));
                        (next, delivered) = (next + 1, delivered + 1);
                    }
                    other => seen.push(other),
                }
            }
            prop_assert_eq!((next, delivered, seen), (serial, kept, sent));
            prop_assert!(actions.is_empty());
            prop_assert_eq!(actions.notice_bytes(), 0);
        }
    }
}
