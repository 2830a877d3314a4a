//! Leaving the network: the queue is handed over, links say goodbye and are closed.

use core::time::Duration;

use super::Tower;
use crate::error::CloseReason;
use crate::event::{CloseMode, HandOverEnd, Notice};
use crate::link::{Doubt, Link, Session};
use crate::time::Instant;
use crate::wire::Farewell;

/// How many back-offs of busy peers pass without progress before a shutdown gives up. The value is
/// a guess.
const BUSY_ROUNDS: u32 = 3;

/// How long a shutdown waits for the other side of a link to close it, if nothing is unanswered.
/// The other side has no reason to answer, and may be an HTTP client that keeps its connection. The
/// value is a guess: long enough for a round trip.
const IDLE_CLOSE: Duration = Duration::from_millis(500);

/// The phase of a tower: running, or a step of its shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Running,
    /// The queue is handed to peers until `until`. `progress` is when a peer last took a message,
    /// and `end` is when all links are aborted.
    Draining {
        until: Instant,
        progress: Instant,
        end: Instant,
    },
    /// Links are being closed. At `end` the remaining ones are aborted.
    Closing {
        end: Option<Instant>,
    },
    Done,
}

impl Phase {
    pub(super) fn is_running(self) -> bool {
        matches!(self, Self::Running)
    }

    /// Returns whether messages are handed over.
    pub(super) fn hands_over(self) -> bool {
        matches!(self, Self::Running | Self::Draining { .. })
    }

    pub(super) fn deadline(self) -> Option<Instant> {
        match self {
            Self::Draining { until, .. } => Some(until),
            Self::Closing { end } => end,
            Self::Running | Self::Done => None,
        }
    }
}

impl Tower {
    /// Leaves the network: takes nothing more, hands the queue to peers, says goodbye, and closes
    /// all links. [`Notice::ShutDown`] is the last notice. Calling it again changes nothing.
    ///
    /// That takes at most [`Timeouts::shutdown`](crate::Timeouts::shutdown). Handing over ends at
    /// once when the queue is empty or no peer can take anything, and in time to leave
    /// [`Timeouts::close`](crate::Timeouts::close), or half of the limit if that is less, for
    /// goodbyes and late answers. Links on which nothing is unanswered are aborted half a second
    /// after the goodbye, and all links at the limit.
    pub fn shutdown(&mut self, now: Instant) {
        self.shutdown_within(self.local.config.timeouts.shutdown, now);
    }

    /// Like [`shutdown`](Self::shutdown), with another limit. Zero hands over nothing and aborts
    /// all links. During a shutdown it can only bring the end forward.
    pub fn shutdown_within(&mut self, limit: Duration, now: Instant) {
        self.set_now(now);
        let closing = self.local.config.timeouts.close.min(limit / 2);
        let (until, end) = (self.now + (limit - closing), self.now + limit);
        match &mut self.phase {
            Phase::Running => {
                self.phase = Phase::Draining { until, progress: self.now, end };
                self.retry_at = None;
                self.end_all_holds();
            }
            Phase::Draining { until: earlier, end: earlier_end, .. } => {
                (*earlier, *earlier_end) = (until.min(*earlier), end.min(*earlier_end));
            }
            Phase::Closing { end: Some(earlier) } => *earlier = end.min(*earlier),
            // Links are aborted already.
            Phase::Closing { end: None } | Phase::Done => {}
        }
        self.on_shutdown_deadline();
        self.advance();
    }

    pub(super) fn advance_shutdown(&mut self) {
        if let Phase::Draining { progress, end, .. } = self.phase
            && !self.can_hand_over(progress)
        {
            self.close_all(end, HandOverEnd::NoRecipient);
        }
        if matches!(self.phase, Phase::Closing { .. }) && self.links.len() == 0 {
            self.phase = Phase::Done;
            self.actions.notify_last(Notice::ShutDown { left: self.queue.len() });
        }
    }

    /// Returns whether there is a message that a peer may still take.
    fn can_hand_over(&self, progress: Instant) -> bool {
        let config = &self.local.config;
        let in_flight = self.queue.len() - self.queue.waiting() - self.screenings.open();
        if self.queue.waiting() + in_flight == 0 {
            return false;
        }
        // A resting peer has just failed, unless it is alive or new: then the peer was busy, or
        // this machine lacked a resource. That may pass in a moment.
        let may_have_room = self.now < progress + config.busy_backoff.saturating_mul(BUSY_ROUNDS);
        // The same goes for peers that the messages do not suit: the next message may suit them.
        let is_stuck = self.retry_at.is_some();
        let counts = self.peers.counts();
        let has_recipient = self.selector.can_draw(self.drawable());
        // A peer that is being reached may take messages when it has answered.
        in_flight > 0
            || self.peers.probes() > 0
            || self.links.iter().any(|(_, link)| link.is_dialling())
            || has_recipient && !is_stuck
            || (has_recipient || counts.alive > 0 || counts.new > 0) && may_have_room
    }

    /// Notes that a peer took a message.
    pub(super) fn on_drained(&mut self) {
        if let Phase::Draining { progress, .. } = &mut self.phase {
            *progress = self.now;
        }
    }

    pub(super) fn on_shutdown_deadline(&mut self) {
        if let Phase::Draining { until, end, .. } = self.phase
            && until <= self.now
        {
            self.close_all(end, HandOverEnd::TimeOut);
        }
        if let Phase::Closing { end: Some(end) } = self.phase
            && end <= self.now
        {
            self.phase = Phase::Closing { end: None };
            for id in self.links.matching(|_| true) {
                self.with_link(id, Link::abort_close);
            }
        }
    }

    fn close_all(&mut self, end: Instant, reason: HandOverEnd) {
        let left = self.queue.len() - self.screenings.open();
        if left > 0 {
            self.notify(Notice::HandOverEnded { left, reason });
        }
        self.phase = Phase::Closing { end: Some(end) };
        self.retry_at = None;
        for id in self.links.matching(|_| true) {
            if self.links.get(id).is_some_and(Session::is_open) {
                self.close_gracefully(id, CloseReason::Shutdown, Farewell::Leaving);
            } else if self.links.get(id).is_some_and(Session::is_usable) {
                self.close(id, CloseReason::Shutdown, Doubt::NotTaken, CloseMode::Abort);
            }
            self.with_link(id, |link, _, now| link.session_mut().hasten_close(now + IDLE_CLOSE));
        }
    }

    /// Returns how far a shutdown has come.
    #[must_use]
    pub fn shutdown_progress(&self) -> ShutdownProgress {
        match self.phase {
            Phase::Running => ShutdownProgress::Running,
            Phase::Draining { .. } | Phase::Closing { .. } => ShutdownProgress::Draining,
            // A driver that stops here must have polled the last notices.
            Phase::Done if !self.actions.is_empty() => ShutdownProgress::Draining,
            Phase::Done => ShutdownProgress::Done,
        }
    }
}

/// How far a shutdown has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ShutdownProgress {
    /// No shutdown was requested.
    Running,
    /// The queue is handed to peers, or links are being closed, or actions wait to be polled.
    Draining,
    /// All links are closed and all actions are polled. The tower may be dropped.
    Done,
}
