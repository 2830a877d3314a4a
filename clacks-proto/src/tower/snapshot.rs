//! Keeping peers across a restart.

use super::Tower;
use super::api::ExpandError;
use crate::address::Address;
use crate::error::StatusReason;
use crate::event::{Dialect, Status};
use crate::ids::{Fingerprint, PeerId};
use crate::time::Instant;

/// What is worth keeping of a peer: it can be stored (feature `serde`) and given to the next tower.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct PeerRecord {
    /// Where the peer can be reached.
    pub address: Address,
    /// The status.
    pub status: Status,
    /// The key pinned for the address.
    #[cfg_attr(feature = "serde", serde(default))]
    pub fingerprint: Option<Fingerprint>,
    /// What the peer spoke last, if it has spoken.
    #[cfg_attr(feature = "serde", serde(default))]
    pub dialect: Option<Dialect>,
}

impl PeerRecord {
    /// Returns a record without a key and a dialect.
    #[must_use]
    pub fn new(address: Address, status: Status) -> Self {
        Self { address, status, fingerprint: None, dialect: None }
    }
}

impl Tower {
    /// Returns the peers to be kept for the next start. Other addresses of this tower and of
    /// ignored peers are left out.
    pub fn snapshot(&self) -> impl Iterator<Item = PeerRecord> + '_ {
        self.peers.iter().filter(|(_, peer)| !peer.is_alias).map(|(id, peer)| PeerRecord {
            address: peer.address.clone(),
            status: peer.status,
            fingerprint: self.peers.pin(id).copied(),
            dialect: peer.dialect,
        })
    }

    /// Restores a peer of an earlier start, with its pin. A peer that was alive then becomes new:
    /// it is dialled first, and alive when it answers. A peer that is known already keeps its
    /// status, and its pin if it has one. A full table may forget it later, as a peer that was
    /// alive once.
    ///
    /// # Errors
    ///
    /// If the address can't be a peer, or the key is pinned to another address. Nothing has
    /// changed.
    pub fn restore(&mut self, record: &PeerRecord, now: Instant) -> Result<PeerId, ExpandError> {
        self.set_now(now);
        let known = self.peers.find(&record.address);
        let holder = record.fingerprint.and_then(|key| self.peers.find_pin(&key));
        if holder.is_some() && holder != known {
            return Err(ExpandError::KeyInUse);
        }
        let peer = match known {
            Some(peer) => peer,
            None => self.introduce(&record.address)?,
        };
        if record.fingerprint.is_some() && self.peers.pin(peer).is_none() {
            self.peers.set_pin(peer, record.fingerprint);
        }
        self.peers.update(peer, |peer| peer.dialect = peer.dialect.or(record.dialect));
        if known.is_none() {
            let status = match record.status {
                Status::Alive => Status::New,
                status => status,
            };
            // A restored peer counts as one that answered, and makes room after those that did not.
            self.peers.update(peer, |peer| {
                (peer.is_named, peer.was_alive) = (false, record.status != Status::New);
            });
            self.set_status(peer, status, StatusReason::Application);
        }
        self.advance();
        Ok(peer)
    }
}
