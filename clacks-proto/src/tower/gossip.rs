//! Gossip: learning addresses from claims and friends.

use super::Tower;
use super::sender::SenderInfo;
use super::status::Source;
use crate::address::Address;
use crate::event::Status;
use crate::ids::PeerId;

impl Tower {
    /// Returns the peer with an address that was named; a new peer if one may be learned now.
    pub(super) fn learn(&mut self, address: &Address, source: Source) -> Option<PeerId> {
        if let Some(known) = self.peers.find(address) {
            return Some(known);
        }
        if *address == self.local.address {
            return None;
        }
        let config = &self.local.config;
        let is_allowed = match source {
            Source::Friend => self.friends.take(config.friends, self.now),
            Source::Stranger => self.strangers.take(config.strangers, self.now),
        };
        let learned = is_allowed.then(|| self.add_peer(address, Status::New));
        if let Some(Ok(peer)) = learned {
            return Some(peer);
        }
        self.stats.towers_not_learned += 1;
        None
    }

    #[inline]
    pub(super) fn learn_friend(&mut self, friend: Option<&Address>, by: SenderInfo) {
        if let Some(address) = friend
            && let Some(peer) = self.learn(address, Source::Friend)
        {
            self.on_named(peer, by);
        }
    }
}
