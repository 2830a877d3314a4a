//! Leaving the network: drain, say goodbye, close.

use alloc::vec::Vec;

use super::links::Unanswered;
use super::{Shutdown, Tower};
use crate::event::{CloseMode, Notice};
use crate::link::State;
use crate::reason::CloseReason;
use crate::time::Instant;
use crate::wire::Farewell;

impl Tower {
    /// Leaves the network: takes nothing more, hands the queue to peers for as long as
    /// [`Timeouts::shutdown`](crate::Timeouts::shutdown) allows, says goodbye, and closes all links.
    /// [`Notice::ShutDown`] tells the end. Saying it again changes nothing.
    pub fn shutdown(&mut self, now: Instant) {
        self.set_now(now);
        if self.shutdown == Shutdown::Running {
            let until = self.now + self.config.timeouts.shutdown;
            self.shutdown = Shutdown::Draining { until };
            self.retry_at = None;
        }
        self.advance();
    }

    pub(super) fn advance_shutdown(&mut self) {
        if matches!(self.shutdown, Shutdown::Draining { .. }) {
            let is_drained = self.queue.len() == self.offers();
            let nobody_left =
                self.links.len() == 0 && self.peers.iter().all(|(_, peer)| peer.is_ignored());
            if is_drained || nobody_left {
                self.part_from_all();
            }
        }
        if self.shutdown == Shutdown::Parting && self.links.iter().next().is_none() {
            self.shutdown = Shutdown::Done;
            self.actions.notify_end(Notice::ShutDown { left: self.queue.len() });
        }
    }

    /// The queue has been drained for as long as it may.
    pub(super) fn on_shutdown_deadline(&mut self) {
        if let Shutdown::Draining { until } = self.shutdown
            && until <= self.now
        {
            self.part_from_all();
        }
    }

    fn part_from_all(&mut self) {
        self.shutdown = Shutdown::Parting;
        self.retry_at = None;
        let all: Vec<_> = self.links.iter().map(|(id, _)| id).collect();
        for id in all {
            match self.state_of(id) {
                Some(State::Connecting | State::Greeting) => {
                    let abort = Some(CloseMode::Abort);
                    self.end(id, CloseReason::Shutdown, Unanswered::NotTaken, abort);
                }
                _ => self.part(id, CloseReason::Shutdown, Farewell::Leaving),
            }
        }
    }
}

/// How far a shutdown has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ShutdownProgress {
    /// Nobody asked for one.
    Running,
    /// The queue is handed to peers, or links are being closed, or actions wait to be polled.
    Draining,
    /// All links are closed and all actions are polled; the tower may be dropped.
    Done,
}
