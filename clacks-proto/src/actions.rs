//! The one queue of what a tower asks its driver to do.

use alloc::collections::VecDeque;

use crate::event::{Action, MessageKey, Notice};

/// Actions in order. Notices are bounded by number, all others by how many links and offers there can be.
#[derive(Debug)]
pub(crate) struct Actions {
    queue: VecDeque<Action>,
    notices: usize,
    max_notices: usize,
    missed: u64,
}

impl Actions {
    pub(crate) fn new(max_notices: usize) -> Self {
        Self { queue: VecDeque::new(), notices: 0, max_notices, missed: 0 }
    }

    /// Each link has at most a connect, a send and two closes waiting.
    pub(crate) const PER_LINK: usize = 4;

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.missed == 0
    }

    /// Whether `count` more notices fit.
    pub(crate) fn has_room(&self, count: usize) -> bool {
        self.notices + count <= self.max_notices
    }

    pub(crate) fn push(&mut self, action: Action) {
        debug_assert!(!matches!(action, Action::Notify(_)), "notices are counted");
        self.queue.push_back(action);
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

    pub(crate) fn pop(&mut self) -> Option<Action> {
        let action = self.queue.pop_front();
        match action {
            Some(Action::Notify(_)) => self.notices -= 1,
            None if self.missed > 0 => {
                return Some(Action::Notify(Notice::Missed {
                    count: core::mem::take(&mut self.missed),
                }));
            }
            _ => {}
        }
        action
    }

    fn enqueue(&mut self, notice: Notice) {
        self.notices += 1;
        self.queue.push_back(Action::Notify(notice));
    }
}

/// The message that a notice speaks of.
pub(crate) fn message_of(action: Action) -> Option<MessageKey> {
    match action {
        Action::Notify(
            Notice::MessageReceived { message, .. }
            | Notice::MessageQueued { message, .. }
            | Notice::MessageDelivered { message, .. },
        ) => Some(message),
        _ => None,
    }
}
