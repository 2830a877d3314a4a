//! Datagrams: bytes for the application at the other end of a link, one hop, unconfirmed.

use alloc::collections::VecDeque;
use core::fmt;

use bytes::Bytes;

use super::{Tower, peers};
use crate::address::Address;
use crate::config::Datagrams;
use crate::error::CloseReason;
use crate::event::{DatagramLoss, Dialect, Notice};
use crate::ids::{LinkId, PeerId};
use crate::link::{DatagramRefusal, Link, Session};
use crate::time::Instant;
use crate::wire::Farewell;

/// One link may use this part of the inbox.
pub(crate) const LINKS_PER_INBOX: usize = 8;

/// What a datagram costs besides its bytes, in bytes. It bounds the number of short ones.
const OVERHEAD: usize = 128;

/// A datagram that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Datagram {
    /// The link that brought the datagram. An answer to [`To::Link`] goes back on it.
    pub link: LinkId,
    /// The peer at the other end, if the link is known to lead to one.
    pub from: Option<Address>,
    /// The bytes.
    pub body: Bytes,
}

/// Where a datagram goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// To a peer, on the link that carries messages to it. The peer is dialled if there is none.
    Peer(PeerId),
    /// To the other end of an open link, whatever it is: an answer to a guest too.
    Link(LinkId),
}

/// A peer that takes datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DatagramPeer<'a> {
    /// The peer's id.
    pub id: PeerId,
    /// Where the peer can be reached.
    pub address: &'a Address,
    /// The link that carries messages to the peer, open or being opened. Without one, a datagram
    /// needs a dial.
    pub link: Option<LinkId>,
}

/// Datagrams that came in and were not taken by the application.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    datagrams: VecDeque<Datagram>,
    /// The cost of all of them.
    cost: usize,
}

fn datagram_peer(id: PeerId, peer: &peers::Peer, len: u32) -> Option<DatagramPeer<'_>> {
    let takes = peer.is_alive() && peer.datagram_max >= len;
    takes.then_some(DatagramPeer { id, address: &peer.address, link: peer.link })
}

fn cost(body: &[u8]) -> usize {
    body.len() + OVERHEAD
}

impl Tower {
    /// Sends a datagram, and returns the link that it takes. It is not confirmed, and may be lost:
    /// if the link ends before it is sent, [`Notice::DatagramsDropped`] reports it, and the other
    /// side drops it if its application takes too few.
    ///
    /// # Errors
    ///
    /// Returns the reason. Nothing is sent. After [`DatagramError::Full`],
    /// [`Notice::DatagramRoom`] follows when the link has room again.
    pub fn datagram(
        &mut self,
        to: To,
        body: impl Into<Bytes>,
        now: Instant,
    ) -> Result<LinkId, DatagramError> {
        self.set_now(now);
        let sent = self.send_datagram(to, body.into());
        self.advance();
        sent
    }

    fn send_datagram(&mut self, to: To, body: Bytes) -> Result<LinkId, DatagramError> {
        let Datagrams::On { outbox, .. } = self.local.config.datagrams else {
            return Err(DatagramError::Off);
        };
        if !self.phase.is_running() {
            return Err(DatagramError::ShuttingDown);
        }
        let link = match to {
            To::Link(link) => link,
            To::Peer(peer) => self.link_for_datagram(peer)?,
        };
        let session = self.links.get_link_mut(link).ok_or(DatagramError::Gone)?.session_mut();
        session.send_datagram(body, outbox).map_err(DatagramError::from)?;
        if let Some(mut link_state) = self.links.take(link) {
            self.attend(link, link_state.session_mut());
            self.links.put_back(link, link_state);
        }
        Ok(link)
    }

    /// Returns the alive peers that take datagrams of `len` bytes, as they said in their last
    /// hello.
    pub fn datagram_peers(&self, len: u32) -> impl Iterator<Item = DatagramPeer<'_>> {
        self.peers.iter().filter_map(move |(id, peer)| datagram_peer(id, peer, len))
    }

    /// Returns the peer with an address, if it is alive and takes datagrams of `len` bytes.
    #[must_use]
    pub fn datagram_peer(&self, address: &Address, len: u32) -> Option<DatagramPeer<'_>> {
        let id = self.peers.find(address)?;
        datagram_peer(id, self.peers.get(id)?, len)
    }

    fn link_for_datagram(&mut self, peer: PeerId) -> Result<LinkId, DatagramError> {
        let record = self.peers.get(peer).ok_or(DatagramError::Gone)?;
        if record.is_ignored() || record.dialect == Some(Dialect::Http) {
            return Err(DatagramError::NotTaken);
        }
        self.link_for(peer).ok_or(DatagramError::NoLink)
    }

    /// Takes the oldest datagram that came in. The driver need not be woken.
    pub fn take_datagram(&mut self) -> Option<Datagram> {
        let inbox = self.inbox.as_mut()?;
        let datagram = inbox.datagrams.pop_front()?;
        let freed = cost(&datagram.body);
        inbox.cost -= freed;
        if inbox.datagrams.is_empty() {
            self.inbox = None;
        }
        if let Some(link) = self.links.get_link_mut(datagram.link) {
            link.session_mut().inbox_cost -= u32::try_from(freed).unwrap_or(0);
        }
        Some(datagram)
    }

    /// Closes an open link on which nothing is under way, to make room for others. Returns whether
    /// it is being closed.
    pub fn close_idle(&mut self, link: LinkId, now: Instant) -> bool {
        self.set_now(now);
        let is_idle = self.links.get(link).is_some_and(Session::is_evictable);
        if is_idle {
            self.close_gracefully(link, CloseReason::Evicted, Farewell::Idle);
            self.advance();
        }
        is_idle
    }

    /// Puts a datagram that came in into the inbox, or drops it if there is no room.
    pub(super) fn on_datagram(&mut self, id: LinkId, link: &mut Session, body: &[u8]) {
        let Datagrams::On { inbox: bound, .. } = self.local.config.datagrams else { return };
        let cost = cost(body);
        let used = self.inbox.as_ref().map_or(0, |inbox| inbox.cost);
        let of_link = link.inbox_cost as usize;
        let is_full = used + cost > bound || of_link + cost > bound / LINKS_PER_INBOX;
        if is_full || self.is_from_ignored(link) {
            self.stats.datagrams_dropped += 1;
            return;
        }
        let from = self.peer_of(link).claimed.and_then(|peer| self.peers.get(peer));
        let from = from.map(|peer| peer.address.clone());
        let body = Bytes::copy_from_slice(body);
        link.inbox_cost += u32::try_from(cost).unwrap_or(u32::MAX);
        let inbox = self.inbox.get_or_insert_default();
        inbox.cost += cost;
        inbox.datagrams.push_back(Datagram { link: id, from, body });
    }

    /// Reports that datagrams were not sent.
    pub(super) fn on_datagrams_dropped(
        &mut self,
        link: LinkId,
        peer: Option<PeerId>,
        count: u32,
        why: DatagramLoss,
    ) {
        if count > 0 {
            let to = peer.and_then(|peer| self.peers.get(peer)).map(|peer| peer.address.clone());
            self.notify(Notice::DatagramsDropped { link, to, count, why });
        }
    }

    /// Reports that a link has room for datagrams again, if one did not fit before.
    #[inline]
    pub(super) fn on_datagrams_sent(&mut self, link: LinkId) {
        let Datagrams::On { outbox, .. } = self.local.config.datagrams else { return };
        let session = self.links.get_link_mut(link).map(Link::session_mut);
        if session.is_some_and(|session| session.has_datagram_room_again(outbox)) {
            self.notify(Notice::DatagramRoom { link });
        }
    }

    /// Checks the costs of datagrams.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn assert_datagrams_are_bounded(&self) {
        let Some(inbox) = &self.inbox else { return };
        let costs = inbox.datagrams.iter().map(|datagram| cost(&datagram.body));
        assert_eq!(costs.sum::<usize>(), inbox.cost, "the cost of datagrams");
        let bound = match self.local.config.datagrams {
            Datagrams::Off => 0,
            Datagrams::On { inbox, .. } => inbox,
        };
        assert!(inbox.cost <= bound, "too many datagrams");
    }
}

/// Why a datagram is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DatagramError {
    /// [`Config::datagrams`](crate::Config::datagrams) is off.
    Off,
    /// The tower shuts down.
    ShuttingDown,
    /// The peer is not known, or the link is not open.
    Gone,
    /// All links are in use.
    NoLink,
    /// The other side takes no datagrams.
    NotTaken,
    /// The datagram is empty, or longer than the other side takes.
    Length {
        /// The longest datagram that the other side takes, in bytes.
        max: u32,
    },
    /// The link has too many datagrams to send.
    Full,
}

impl From<DatagramRefusal> for DatagramError {
    fn from(refusal: DatagramRefusal) -> Self {
        match refusal {
            DatagramRefusal::Gone => Self::Gone,
            DatagramRefusal::NotTaken => Self::NotTaken,
            DatagramRefusal::Length { max } => Self::Length { max },
            DatagramRefusal::Full => Self::Full,
        }
    }
}

impl fmt::Display for DatagramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("datagrams are off"),
            Self::ShuttingDown => f.write_str("the tower shuts down"),
            Self::Gone => f.write_str("the peer is not known, or the link is not open"),
            Self::NoLink => f.write_str("all links are in use"),
            Self::NotTaken => f.write_str("the other side takes no datagrams"),
            Self::Length { max } => write!(f, "the datagram must have 1 to {max} bytes"),
            Self::Full => f.write_str("the link has too many datagrams to send"),
        }
    }
}

impl core::error::Error for DatagramError {}
