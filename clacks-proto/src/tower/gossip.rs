//! Gossip: learning addresses from claims and friends.

use super::Tower;
use super::status::Source;
use crate::address::Address;
use crate::config::{LocalAddresses, Newcomers};
use crate::event::Status;
use crate::ids::PeerId;
use crate::prefix::Prefix;

impl Tower {
    /// Returns the peer with an address that was named on a link from `caller`; a new peer if one
    /// may be learned now.
    pub(super) fn learn(
        &mut self,
        address: &Address,
        source: Source,
        caller: Prefix,
    ) -> Option<PeerId> {
        if let Some(known) = self.peers.find(address) {
            return Some(known);
        }
        if *address == self.local.address {
            return None;
        }
        let learned =
            self.is_allowed(address, source, caller).then(|| self.add_peer(address, Status::New));
        if let Some(Ok(peer)) = learned {
            return Some(peer);
        }
        self.stats.towers_not_learned += 1;
        None
    }

    fn is_allowed(&mut self, address: &Address, source: Source, caller: Prefix) -> bool {
        if !self.may_lead_to(address, caller) {
            return false;
        }
        let (config, now) = (&self.local.config, self.now);
        match source {
            Source::Friend => self.friends.take(config.friends, now),
            Source::Stranger => match config.newcomers {
                Newcomers::MakeRoom => self.strangers.take(caller, config.strangers, now),
                Newcomers::ReplaceDead => self.strangers.take_of_all(config.strangers, now),
            },
        }
    }

    /// Returns whether an address that a caller claims and that was not learned may be learned
    /// later.
    pub(super) fn is_learned_later(&self, address: &Address, caller: Prefix) -> bool {
        self.local.config.newcomers == Newcomers::MakeRoom
            && *address != self.local.address
            && self.may_lead_to(address, caller)
    }

    /// Returns whether a caller may make this tower dial an address: not one that means another
    /// host at the caller than here.
    pub(super) fn may_lead_to(&self, address: &Address, caller: Prefix) -> bool {
        match self.local.config.local_addresses {
            LocalAddresses::FromLocalLinks => address.scope() <= caller.scope(),
            LocalAddresses::FromAllLinks => true,
        }
    }

    #[inline]
    pub(super) fn learn_friend(&mut self, friend: &Address, caller: Prefix) {
        self.learn(friend, Source::Friend, caller);
    }
}
