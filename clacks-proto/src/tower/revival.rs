//! Revival: a lost or dead peer that an alive peer names is contacted again.
//!
//! Without it, the halves of a network that was split for longer than `kill_timeout` never meet
//! again: dead peers are drawn too rarely.

use alloc::collections::VecDeque;

use super::Tower;
use super::pacer::TokenBucket;
use super::sender::SenderInfo;
use crate::event::Status;
use crate::ids::PeerId;

/// The most named peers that wait for their contact. Others are named again. The value is a guess.
const MAX_NAMED: usize = 64;

/// Lost and dead peers that alive peers have named.
#[derive(Debug, Default)]
pub(super) struct Revivals {
    named: VecDeque<PeerId>,
    allowance: TokenBucket,
    /// The last contact was that of a named peer. The next one is drawn.
    is_drawn_next: bool,
}

impl Tower {
    /// Queues a peer that was named as a friend for a contact, if it is lost or dead and was alive
    /// once. Its status stays until it answers. Only alive peers are believed.
    pub(super) fn on_named(&mut self, id: PeerId, by: SenderInfo) {
        let Some(peer) = self.peers.get(id) else { return };
        if !is_revivable(peer.status) || !peer.was_alive {
            return;
        }
        if !by.proved.is_some_and(|by| self.peers.is_alive(by)) {
            return;
        }
        let (config, revivals) = (&self.local.config, &mut self.revivals);
        if revivals.named.len() < MAX_NAMED
            && !revivals.named.contains(&id)
            && revivals.allowance.take(config.revivals, self.now)
        {
            revivals.named.push_back(id);
        }
    }

    /// Returns the peer that was named first, on every second call. Peers that are left alone or
    /// being reached are skipped.
    #[inline]
    pub(super) fn next_revival(&mut self) -> Option<PeerId> {
        if self.revivals.named.is_empty() {
            return None;
        }
        self.pop_revival()
    }

    #[cold]
    fn pop_revival(&mut self) -> Option<PeerId> {
        let is_turn = !core::mem::replace(&mut self.revivals.is_drawn_next, true);
        let has_room = (self.peers.probes() as usize) < self.local.config.max_probes;
        if !is_turn || !has_room || !self.phase.is_running() {
            self.revivals.is_drawn_next = false;
            return None;
        }
        while let Some(id) = self.revivals.named.pop_front() {
            let is_wanted = self.peers.get(id).is_some_and(|peer| {
                is_revivable(peer.status) && !peer.is_resting && peer.busy_links == 0
            });
            if is_wanted {
                return Some(id);
            }
        }
        None
    }
}

fn is_revivable(status: Status) -> bool {
    matches!(status, Status::Lost | Status::Dead)
}
