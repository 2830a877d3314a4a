//! The one queue of what a tower asks its driver to do.

use alloc::collections::VecDeque;

use crate::event::{Action, Notice};
#[cfg(any(test, feature = "fuzzing"))]
use crate::ids::MessageKey;
use crate::room;

/// Actions in order. Notices are bounded by number, all others by how many links and offers there can be.
#[derive(Debug)]
pub(crate) struct Actions {
    queue: VecDeque<Action>,
    /// The numbers of the notices queued last and polled last: they are numbered in order, and the numbers wrap around.
    queued_notice: u32,
    polled_notice: u32,
    max_notices: u32,
    missed: u64,
    screens: u32,
    /// The most actions that waited since all were polled the last time.
    peak: u32,
    /// How often in a row all were polled and few had waited.
    calm: u8,
}

/// As many actions as a quiet event brings; room for them is always kept.
const FEW: usize = 2;
/// So many times in a row must most of the room have been in vain before it is given back: a tower that needs it now and then allocates nothing.
const PATIENCE: u8 = 8;

impl Actions {
    pub(crate) fn new(max_notices: usize) -> Self {
        Self {
            queue: VecDeque::new(),
            queued_notice: 0,
            polled_notice: 0,
            max_notices: u32::try_from(max_notices).unwrap_or(u32::MAX),
            missed: 0,
            screens: 0,
            peak: 0,
            calm: 0,
        }
    }

    /// Each link has at most a connect, a send and two closes waiting.
    pub(crate) const PER_LINK: usize = 4;

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.missed == 0
    }

    /// Whether `count` more notices fit.
    pub(crate) fn has_room(&self, count: usize) -> bool {
        self.notices() + count <= self.max_notices as usize
    }

    pub(crate) fn push(&mut self, action: Action) {
        debug_assert!(!matches!(action, Action::Notify(_)), "notices are counted");
        self.screens += u32::from(matches!(action, Action::Screen { .. }));
        self.append(action);
    }

    /// Offers that the driver has not been told of, decided ones included.
    pub(crate) fn screens(&self) -> usize {
        self.screens as usize
    }

    /// Notices that wait.
    pub(crate) fn notices(&self) -> usize {
        self.queued_notice.wrapping_sub(self.polled_notice) as usize
    }

    /// The notices that wait, first the one that is polled next.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn waiting_notices(&self) -> impl Iterator<Item = &Notice> {
        self.queue.iter().filter_map(|action| match action {
            Action::Notify(notice) => Some(notice),
            _ => None,
        })
    }

    /// The number of the notice that was queued last.
    pub(crate) fn queued_notice(&self) -> u32 {
        self.queued_notice
    }

    /// The number of the notice that was polled last.
    pub(crate) fn polled_notice(&self) -> u32 {
        self.polled_notice
    }

    /// Queues a notice, or counts it when there is no room. Returns whether it was queued.
    pub(crate) fn notify(&mut self, notice: Notice) -> bool {
        if self.missed > 0 && self.has_room(2) {
            let count = core::mem::take(&mut self.missed);
            self.enqueue(Notice::Missed { count });
        }
        if !self.has_room(1) {
            self.missed += 1;
            return false;
        }
        self.enqueue(notice);
        true
    }

    /// Queues the notice that is told once in a tower's life, whether there is room or not.
    pub(crate) fn notify_end(&mut self, notice: Notice) {
        self.enqueue(notice);
    }

    #[inline]
    pub(crate) fn pop(&mut self) -> Option<Action> {
        let Some(action) = self.queue.pop_front() else { return self.pop_missed() };
        match action {
            Action::Notify(_) => self.polled_notice = self.polled_notice.wrapping_add(1),
            Action::Screen { .. } => self.screens -= 1,
            _ => {}
        }
        Some(action)
    }

    /// All are polled, but perhaps some notices did not fit.
    #[inline(never)]
    fn pop_missed(&mut self) -> Option<Action> {
        if self.missed == 0 {
            self.settle();
            return None;
        }
        let count = core::mem::take(&mut self.missed);
        Some(Action::Notify(Notice::Missed { count }))
    }

    fn enqueue(&mut self, notice: Notice) {
        self.queued_notice = self.queued_notice.wrapping_add(1);
        self.append(Action::Notify(notice));
    }

    #[inline]
    fn append(&mut self, action: Action) {
        room::for_one_more(&mut self.queue);
        self.queue.push_back(action);
        self.peak = self.peak.max(u32::try_from(self.queue.len()).unwrap_or(u32::MAX));
    }

    /// All are polled: a burst of them may have left more room than is needed.
    fn settle(&mut self) {
        let peak = core::mem::take(&mut self.peak) as usize;
        let is_roomy = self.queue.capacity() > FEW.max(2 * peak);
        self.calm = if is_roomy { self.calm + 1 } else { 0 };
        if self.calm >= PATIENCE {
            self.calm = 0;
            self.queue.shrink_to(FEW.max(peak));
        }
    }
}

/// The message that a notice speaks of.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn message_of(notice: &Notice) -> Option<MessageKey> {
    match notice {
        Notice::MessageReceived { message, .. }
        | Notice::MessageQueued { message, .. }
        | Notice::MessageDelivered { message, .. } => Some(*message),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Epoch, LinkId, PeerId};
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn told(number: u32) -> Notice {
        Notice::Announced { to: PeerId { index: number, epoch: Epoch::FIRST } }
    }

    fn send(number: u32) -> Action {
        Action::Send { link: LinkId { index: number, epoch: Epoch::FIRST } }
    }

    fn drain(actions: &mut Actions) -> Vec<Action> {
        core::iter::from_fn(|| actions.pop()).collect()
    }

    #[test]
    fn notices_that_do_not_fit_are_counted_and_their_number_is_told_last() {
        let mut actions = Actions::new(2);
        let kept: Vec<_> = (0..5).map(|n| actions.notify(told(n))).collect();
        assert_eq!(kept, [true, true, false, false, false]);
        let missed = Action::Notify(Notice::Missed { count: 3 });
        let expected = [Action::Notify(told(0)), Action::Notify(told(1)), missed];
        assert!(!actions.is_empty());
        assert_eq!(drain(&mut actions), expected);
        assert!(actions.is_empty());
        assert_eq!(actions.pop(), None, "it is told once");
    }

    #[test]
    fn what_was_missed_is_told_before_the_next_notice_that_fits_beside_it() {
        let mut actions = Actions::new(2);
        (0..3).for_each(|n| _ = actions.notify(told(n)));
        assert_eq!(actions.pop(), Some(Action::Notify(told(0))));
        assert_eq!(actions.pop(), Some(Action::Notify(told(1))));
        assert!(actions.notify(told(3)));
        let missed = Action::Notify(Notice::Missed { count: 1 });
        assert_eq!(drain(&mut actions), [missed, Action::Notify(told(3))]);
    }

    #[test]
    fn other_actions_are_never_missed() {
        let mut actions = Actions::new(1);
        (0..2).for_each(|n| _ = actions.notify(told(n)));
        (0..3).for_each(|n| actions.push(send(n)));
        let missed = Action::Notify(Notice::Missed { count: 1 });
        let expected = [Action::Notify(told(0)), send(0), send(1), send(2), missed];
        assert_eq!(drain(&mut actions), expected);
    }

    #[test]
    fn the_room_of_a_burst_is_given_back_when_it_stays_in_vain() {
        let mut actions = Actions::new(1_000);
        let burst = |actions: &mut Actions, count| {
            (0..count).for_each(|n| actions.push(send(n)));
            drain(actions);
        };
        burst(&mut actions, 100);
        for _ in 0..10 {
            (0..PATIENCE - 1).for_each(|_| burst(&mut actions, 1));
            burst(&mut actions, 100);
        }
        assert!(actions.queue.capacity() >= 100, "bursts come now and then");
        (0..PATIENCE).for_each(|_| burst(&mut actions, 1));
        assert_eq!(actions.queue.capacity(), FEW);
        (0..100).for_each(|_| burst(&mut actions, 0));
        assert_eq!(actions.queue.capacity(), FEW);
    }

    proptest! {
        #[test]
        fn every_notice_is_told_or_counted_and_all_keep_their_order(
            steps in proptest::collection::vec(0u8..4, 0..200),
            max in 1usize..6,
        ) {
            let mut actions = Actions::new(max);
            // Close to where the numbers wrap around.
            (actions.queued_notice, actions.polled_notice) = (u32::MAX - 2, u32::MAX - 2);
            let (mut kept, mut sent, mut dropped) = (Vec::new(), Vec::new(), 0);
            let (mut heard, mut seen, mut missed) = (Vec::new(), Vec::new(), 0);
            let mut listen = |action: Option<Action>| match action {
                Some(Action::Notify(Notice::Missed { count })) => missed += count,
                Some(Action::Notify(notice)) => heard.push(notice),
                Some(action) => seen.push(action),
                None => {}
            };
            for (step, number) in steps.iter().zip(0..) {
                match step {
                    0 | 1 => match actions.notify(told(number)) {
                        true => kept.push(told(number)),
                        false => dropped += 1,
                    },
                    2 => {
                        actions.push(send(number));
                        sent.push(send(number));
                    }
                    _ => listen(actions.pop()),
                }
                let waiting = actions.queue.iter().filter(|a| matches!(a, Action::Notify(_))).count();
                prop_assert_eq!(waiting, actions.notices());
                prop_assert!(waiting <= max);
            }
            while !actions.is_empty() {
                listen(actions.pop());
            }
            prop_assert_eq!((heard, seen, missed), (kept, sent, dropped));
        }
    }
}
