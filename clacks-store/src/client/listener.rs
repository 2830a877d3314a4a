//! Listening: the pieces of a file among the messages that a tower receives.

use core::fmt;
use core::time::Duration;

use clacks_proto::Message;

use super::collector::{Collector, Scope};
use super::job::{Phase, Progress};
use crate::chunk::OpenedChunk;
use crate::estimate::ListeningForecast;
use crate::link::KeepLink;
use crate::store::likely_tag;

/// Collects the pieces of a file from the messages of a tower, and sends nothing.
///
/// A listener asks no tower, so no other tower learns of it. It waits until the pieces come by
/// themselves. That takes much longer than a [`Client`](crate::Client):
/// [`forecast`](Self::forecast) says how long.
///
/// Give it each message that the tower holds at the beginning (`Tower::peek`), and then each one
/// that the tower receives ([`Notice::MessageReceived`](clacks_proto::Notice::MessageReceived)). A
/// message that it misses comes again later.
pub struct Listener {
    collector: Collector,
}

impl Listener {
    /// Returns a listener for a file. The pieces with the indexes `proved` are known already.
    #[must_use]
    pub fn new(link: &KeepLink, proved: impl IntoIterator<Item = u32>) -> Self {
        let mut collector = Collector::new(link, Scope::All);
        proved.into_iter().for_each(|index| _ = collector.set_proved(index));
        Self { collector }
    }

    /// Returns the piece in a message with the root of its group. `None` if the message is no piece
    /// of the file, or the piece is known or not needed. Costs one hash for a foreign message as
    /// long as a chunk.
    pub fn take(&mut self, message: &Message) -> Option<(OpenedChunk, [u8; 32])> {
        let index = likely_tag(message)?.recognise(self.collector.keys())?;
        if !self.collector.needs(index) {
            return None;
        }
        let opened = self.collector.open(message.body(), index)?;
        self.collector.set_proved(index);
        Some(opened)
    }

    /// Returns whether all groups can be restored.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.collector.is_complete()
    }

    /// Returns how far the listener is. It knows no towers and no time.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let geometry = self.collector.geometry();
        let (pieces, groups_full) = self.collector.progress();
        Progress {
            phase: Phase::Listening,
            pieces,
            needed: geometry.groups() * geometry.data(),
            groups_full,
            groups: geometry.groups(),
            ..Progress::default()
        }
    }

    /// Returns what the rest will take. `interval` is the mean time between two arrivals of the
    /// same message at this tower: the number of its peers, times the messages that it holds,
    /// divided by the messages that it receives each second. `left` is the time until the file
    /// ends.
    ///
    /// The arrivals of different pieces are taken to be independent, and no piece to be lost. The
    /// group with the fewest pieces stands for all groups. So the expected time for one group is
    /// the interval times H(n) - H(n - k), where H is a harmonic number.
    #[must_use]
    pub fn forecast(&self, interval: Duration, left: Duration) -> ListeningForecast {
        let progress = self.progress();
        let missing = progress.needed.saturating_sub(progress.pieces);
        let least = self.collector.least_proved();
        ListeningForecast::new(self.collector.geometry(), least, missing, interval, left)
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("progress", &self.progress()).finish_non_exhaustive()
    }
}
