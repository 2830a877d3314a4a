//! Repeating announcements that peers did not take.

use core::time::Duration;

use super::Tower;
use crate::ids::PeerId;

/// The longest time until an announcement is repeated. The value is a guess.
const MAX_PAUSE: Duration = Duration::from_secs(60);

impl Tower {
    /// Repeats an announcement to a peer later, if the peer did not take it. A peer that is not
    /// reached is left alone for as long as it has been lost, at most for a minute.
    pub(super) fn schedule_announce(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get(id).filter(|peer| peer.announce_due) else { return };
        let lost_for =
            if peer.is_alive() { Duration::ZERO } else { self.now.duration_since(peer.since) };
        let pause = lost_for.min(MAX_PAUSE).max(self.local.config.probe_backoff);
        self.announces.set(id.index, self.now + pause);
    }

    /// Gives the announcement to the link of the peer in a slot. Without a link, the peer is
    /// dialled if the application asked for the announcement.
    pub(super) fn repeat_announce(&mut self, index: u32) {
        let Some(id) = self.peers.id(index) else { return };
        let Some(peer) = self.peers.get(id) else { return };
        if !peer.announce_due || peer.is_ignored() || !self.phase.is_running() {
            return;
        }
        let may_dial = peer.announce_wanted;
        if let Some(link) = peer.link {
            if let Some(mut acting) = self.links.take(link) {
                self.announce_if_due(link, acting.session_mut(), id);
                self.put_back(link, acting);
            }
        } else if may_dial && self.dial(id).is_none() {
            self.schedule_announce(id);
        }
    }
}
