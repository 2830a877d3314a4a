//! Holds: a message rests at a tower before it joins the tail of the queue.
//!
//! The application asks for it: when it enqueues a message, or when it accepts one under screening.
//! A message that rests counts in all bounds. Towers that drop messages take a share of each hop,
//! so messages that move seldom live longer.

use core::time::Duration;

use super::Tower;
use crate::ids::MessageId;

/// Above this share of the queue, in per cent, holds end early, because messages that rest take the
/// room of those in transit. The value is a guess.
const END_ABOVE: u8 = 90;

impl Tower {
    /// Makes a message that was just stored or accepted rest for a time, at most for its lifetime.
    /// Does nothing if the queue is too full for holds.
    pub(super) fn hold(&mut self, id: MessageId, time: Duration) {
        let limit = self.local.config.hold_below;
        let is_off = time.is_zero() || limit == 0 || !self.phase.is_running();
        if is_off || self.is_fuller_than(limit) {
            return;
        }
        let Some(entry) = self.queue.get(id) else { return };
        let until = (self.now + time).min(entry.deadline);
        self.queue.hold(id, until);
    }

    /// Ends the holds whose time is over.
    pub(super) fn on_holds(&mut self) {
        while self.queue.first_hold().is_some_and(|until| until <= self.now) {
            self.queue.end_first_hold();
        }
    }

    /// Ends the hold that would end next if the queue is nearly full.
    #[inline]
    pub(super) fn shorten_holds(&mut self) {
        if self.queue.first_hold().is_some() && self.is_fuller_than(END_ABOVE) {
            self.queue.end_first_hold();
        }
    }

    /// Ends all holds, because the tower leaves.
    pub(super) fn end_all_holds(&mut self) {
        while self.queue.first_hold().is_some() {
            self.queue.end_first_hold();
        }
    }

    fn is_fuller_than(&self, percent: u8) -> bool {
        self.queue.is_fuller_than(percent, self.actions.notice_bytes())
    }
}
