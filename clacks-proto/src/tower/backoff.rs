//! Back-off: how long a peer is left alone after a failure or a refusal.
//!
//! The back-off is proportional to the time since the peer last took a message. It does not depend
//! on the send rate, and needs no counter.

use core::time::Duration;

use super::Tower;
use crate::ids::PeerId;
use crate::time::Instant;

/// How many times as long as a peer has taken no message it is left alone after a refusal. A peer
/// that stores a message and refuses it makes a copy with each refusal. Measured in the scenario
/// `liars` after ten minutes: 1.4 copies of each message at 16, and 1.6 at 8. The first refusal of
/// each peer at each tower alone makes 1.2.
const REFUSAL_FACTOR: u32 = 16;

impl Tower {
    /// Leaves a peer alone that could not be reached: as long as it has been lost.
    pub(super) fn back_off_after_failure(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get(id) else { return };
        let config = &self.local.config;
        let lost_for = if peer.is_alive() { Duration::ZERO } else { self.since(peer.since) };
        let time = lost_for.min(config.max_probe_backoff).max(config.probe_backoff);
        self.back_off(id, time);
    }

    /// Leaves a peer alone that refused a message: some times as long as it has taken none.
    ///
    /// At most half of the alive peers are left alone for long. If more of them refuse, the network
    /// is full rather than these peers. A shutdown has no time to wait.
    pub(super) fn back_off_after_refusal(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get(id) else { return };
        let config = &self.local.config;
        let alive = self.peers.counts().alive;
        let drawable = self.peers.eligible(0).alive;
        let left_alone = alive.saturating_sub(drawable) + 1;
        let time = if left_alone > alive / 2 || !self.phase.is_running() {
            config.busy_backoff
        } else {
            let refused_for = self.since(peer.last_taken).saturating_mul(REFUSAL_FACTOR);
            refused_for.min(config.max_busy_backoff).max(config.busy_backoff)
        };
        self.back_off(id, time);
    }

    fn since(&self, earlier: Instant) -> Duration {
        self.now.duration_since(earlier)
    }

    /// Keeps a peer out of the draw for a while.
    pub(super) fn back_off(&mut self, id: PeerId, time: Duration) {
        if !time.is_zero() && self.peers.update(id, |peer| peer.is_resting = true).is_some() {
            self.backoffs.set(id.index, self.now + time);
        }
    }

    /// Returns when a peer that failed may be tried again: when its back-off ends, or when an
    /// announce that the application asked for is repeated.
    pub(super) fn retry_at(&self, id: PeerId) -> Option<Instant> {
        let peer = self.peers.get(id).filter(|peer| !peer.is_ignored())?;
        let backoff = self.backoffs.get(id.index).filter(|_| peer.is_resting);
        let is_announced = peer.announce_due && peer.announce_wanted && peer.link.is_none();
        let announce = self.announces.get(id.index).filter(|_| is_announced);
        backoff.into_iter().chain(announce).min()
    }

    /// Returns the time until a peer that failed may be tried again.
    pub(super) fn retry_in(&self, id: PeerId) -> Option<Duration> {
        self.retry_at(id).map(|at| at.duration_since(self.now))
    }

    pub(super) fn end_backoff(&mut self, id: PeerId) {
        self.backoffs.clear(id.index);
        self.peers.update(id, |peer| peer.is_resting = false);
    }
}
