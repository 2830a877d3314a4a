//! Looking at a tower: its queue, its peers, and what its notices speak of.

use core::time::Duration;

use super::{Shutdown, ShutdownProgress, Tower};
use crate::address::Address;
use crate::event::{Dialect, Notice, Report, Status};
use crate::ids::{Fingerprint, MessageKey, OfferId, PeerId};
use crate::message::{Message, Nonce};
use crate::peers;
use crate::queue::Place;
use crate::time::Instant;

/// A message held by a tower.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Held {
    /// The key to look it up again.
    pub key: MessageKey,
    /// Its name.
    pub nonce: Nonce,
    /// The message; its body is shared, not copied.
    pub message: Message,
    /// The peer that it was handed to and that has not confirmed it.
    pub in_flight: Option<PeerId>,
    /// It is under screening: its sender has it as well, until there is a verdict.
    pub offer: Option<OfferId>,
}

/// What a tower knows of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerView<'a> {
    /// The peer.
    pub id: PeerId,
    /// Where it can be reached.
    pub address: &'a Address,
    /// How it stands.
    pub status: Status,
    /// Since when.
    pub since: Instant,
    /// The key pinned for its address.
    pub fingerprint: Option<Fingerprint>,
    /// What it spoke the last time, when it has spoken at all.
    pub dialect: Option<Dialect>,
}

impl<'a> PeerView<'a> {
    fn new(id: PeerId, peer: &'a peers::Peer, fingerprint: Option<Fingerprint>) -> Self {
        let peers::Peer { address, status, since, dialect, .. } = peer;
        Self { id, address, status: *status, since: *since, fingerprint, dialect: *dialect }
    }

    /// The same, made to last, as it is at a moment.
    #[must_use]
    pub fn to_peer(self, now: Instant) -> Peer {
        let Self { address, status, since, fingerprint, dialect, .. } = self;
        let since = now.duration_since(since);
        Peer { address: address.clone(), status, since, fingerprint, dialect }
    }
}

/// What a tower knew of a peer at some moment: a [`PeerView`] that outlives it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Peer {
    /// Where it is reached.
    pub address: Address,
    /// How it stood.
    pub status: Status,
    /// For how long.
    pub since: Duration,
    /// The key pinned for its address.
    pub fingerprint: Option<Fingerprint>,
    /// What it spoke the last time, when it had spoken at all.
    pub dialect: Option<Dialect>,
}

impl Tower {
    /// The messages held: the queue, head first, then what is in flight or under screening.
    pub fn peek(&self) -> impl Iterator<Item = Held> + '_ {
        self.queue.iter().filter_map(|key| {
            let (nonce, message) = self.queue.message(key)?;
            let (in_flight, offer) = match self.queue.place(key) {
                Place::InFlight(peer) => (Some(peer), None),
                Place::Offered { .. } => (None, Some(OfferId(key))),
                _ => (None, None),
            };
            Some(Held { key, nonce, message, in_flight, offer })
        })
    }

    /// The peers known, ignored ones included.
    pub fn survey(&self) -> impl Iterator<Item = PeerView<'_>> + '_ {
        self.peers.iter().map(|(id, peer)| PeerView::new(id, peer, self.peers.pin(id)))
    }

    /// A peer, unless it was forgotten.
    #[must_use]
    pub fn peer(&self, peer: PeerId) -> Option<PeerView<'_>> {
        self.peers.get(peer).map(|record| PeerView::new(peer, record, self.peers.pin(peer)))
    }

    /// The peer with an address.
    #[must_use]
    pub fn find(&self, address: &Address) -> Option<PeerView<'_>> {
        self.peers.find(address).and_then(|peer| self.peer(peer))
    }

    /// A message that is held, or that the notice polled last speaks of, until the next call that changes the tower.
    #[must_use]
    pub fn message(&self, key: MessageKey) -> Option<(Nonce, Message)> {
        self.queue.message(key)
    }

    /// The name of a message that [`message`](Self::message) finds.
    #[must_use]
    pub fn nonce_of(&self, key: MessageKey) -> Option<Nonce> {
        self.queue.get(key).map(|(nonce, _, _)| nonce)
    }

    /// A message that waits for a verdict.
    #[must_use]
    pub fn offer(&self, offer: OfferId) -> Option<(Nonce, Message)> {
        let is_open = matches!(self.queue.place(offer.0), Place::Offered { .. });
        self.queue.message(offer.0).filter(|_| is_open)
    }

    /// Spells a notice out. Call it before the next `poll_action`; `None` when its peer was forgotten meanwhile.
    #[must_use]
    pub fn report(&self, notice: Notice) -> Option<Report> {
        let address = |peer: PeerId| self.peers.get(peer).map(|peer| peer.address.clone());
        Some(match notice {
            Notice::TowerDiscovered { peer } => Report::TowerDiscovered { tower: address(peer)? },
            Notice::StatusChanged { peer, from, to } => {
                Report::StatusChanged { tower: address(peer)?, from, to }
            }
            Notice::TowerForgotten { .. } => return None,
            Notice::MessageReceived { from, message } => {
                let (nonce, message) = self.queue.message(message)?;
                Report::MessageReceived { from: from.and_then(address), nonce, message }
            }
            Notice::MessageQueued { message, origin } => {
                Report::MessageQueued { nonce: self.queue.get(message)?.0, origin }
            }
            Notice::MessageDelivered { to, message } => {
                Report::MessageDelivered { to: address(to)?, nonce: self.queue.get(message)?.0 }
            }
            Notice::Announced { to } => Report::Announced { to: address(to)? },
            Notice::KeyChanged { peer } => {
                Report::KeyChanged { tower: address(peer)?, seen: self.peers.other_key(peer) }
            }
            Notice::LinkClosed { peer, why, .. } => {
                Report::LinkClosed { tower: peer.and_then(address), why }
            }
            Notice::Missed { count } => Report::Missed { count },
            Notice::ShutDown { left } => Report::ShutDown { left },
        })
    }

    /// How far a shutdown has come.
    #[must_use]
    pub fn shutdown_progress(&self) -> ShutdownProgress {
        match self.shutdown {
            Shutdown::Running => ShutdownProgress::Running,
            Shutdown::Draining { .. } | Shutdown::Parting => ShutdownProgress::Draining,
            // Whoever stops here must not leave the last notices unheard.
            Shutdown::Done if !self.actions.is_empty() => ShutdownProgress::Draining,
            Shutdown::Done => ShutdownProgress::Done,
        }
    }
}
