//! The lifetime of messages: each message ends at a tower when its time is over.
//!
//! A message carries its remaining lifetime from tower to tower. Each tower turns it into a
//! deadline on its own clock. A message in flight does not expire, because its receiver may have
//! taken it. It expires when it returns to the queue.

use core::time::Duration;

use super::Tower;
use crate::event::Notice;
use crate::ids::MessageId;
use crate::message::{Lifetime, Message, Nonce};
use crate::time::{Instant, nanos};

/// Expired messages are dropped at whole seconds, by one pass over the queue. A pass over a full
/// default queue (65 536 messages) takes about a millisecond. An ordered structure would cost each
/// message more than all passes.
const SWEEP: Duration = Duration::from_secs(1);

/// The least by which a hop shortens the lifetime of a message: a millisecond.
const LEAST_PER_HOP: u64 = 1_000_000;

impl Tower {
    /// Returns when a message that comes in with a lifetime ends. Longer lifetimes than the maximum
    /// are shortened to it.
    #[inline]
    pub(super) fn deadline(&self, lifetime: Lifetime) -> Instant {
        let max = self.local.config.max_lifetime.map_or(u64::MAX, nanos);
        self.now.plus_nanos(lifetime.nanos().min(max))
    }

    /// Returns when a message of the application ends. The time is drawn from half of the lifetime
    /// to all of it, so that it does not tell which tower made the message.
    pub(super) fn draw_deadline(&mut self) -> Instant {
        let Some(lifetime) = self.local.config.lifetime else { return Instant::FAR_FUTURE };
        let half = lifetime / 2;
        let millis = u32::try_from((lifetime - half).as_millis()).unwrap_or(u32::MAX - 1);
        let drawn = self.nonce_stream.below(self.selector.seed(), millis + 1);
        self.now + half + Duration::from_millis(drawn.into())
    }

    /// Returns when messages must be dropped. At the end of a shutdown none are dropped any more.
    #[inline]
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        let deadline = self.queue.earliest_deadline().filter(|_| self.phase.hands_over())?;
        let past = deadline.as_nanos() % nanos(SWEEP);
        let wait = if past == 0 { 0 } else { nanos(SWEEP) - past };
        Some(deadline + Duration::from_nanos(wait))
    }

    /// Drops the messages that wait and whose time is over.
    pub(super) fn on_expiry(&mut self) {
        if self.next_expiry().is_some_and(|at| at <= self.now) {
            // The others are dropped when the notices of these have been polled.
            for expired in self.queue.take_expired(self.now, self.actions.room()) {
                self.on_expired(expired);
            }
        }
    }

    /// Drops the messages at the head that would not survive a hop: none of them may be sent.
    /// Otherwise a message of the last millisecond would go on for ever between towers that hand it
    /// over at once.
    #[inline]
    pub(super) fn drop_expired_head(&mut self) {
        let end = self.now.plus_nanos(LEAST_PER_HOP);
        while let Some((_, head)) = self.queue.head()
            && head.deadline <= end
            && let Some(expired) = self.queue.take_head()
        {
            self.on_expired(expired);
        }
    }

    /// Returns whether the time of a message is over.
    pub(super) fn is_expired(&self, id: MessageId) -> bool {
        self.queue.get(id).is_some_and(|entry| entry.deadline <= self.now)
    }

    #[cold]
    fn on_expired(&mut self, (id, nonce, message): (MessageId, Nonce, Message)) {
        self.stats.expired += 1;
        self.notify(Notice::MessageExpired { id, nonce, message });
    }
}

/// Returns the lifetime of a message that is sent now on a link with a round trip of so many
/// nanoseconds.
#[inline]
pub(super) fn remaining(deadline: Instant, now: Instant, round_trip: u64) -> Lifetime {
    if deadline == Instant::FAR_FUTURE {
        return Lifetime::UNLIMITED;
    }
    let rest = deadline.as_nanos().saturating_sub(now.as_nanos());
    Lifetime::from_nanos(rest.saturating_sub((round_trip / 2).max(LEAST_PER_HOP)))
}
