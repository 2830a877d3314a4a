//! The application's methods of a tower.

use core::fmt;
use core::time::Duration;

use super::Tower;
use super::peers::{self, StatusCounts};
use super::queue::{Entry, Place};
use crate::address::Address;
use crate::config::Config;
use crate::error::{CloseReason, StatusReason};
use crate::event::{CloseMode, Dialect, Status};
use crate::ids::{Fingerprint, LinkId, MessageId, OfferId, PeerId};
use crate::link::{Direction, Doubt, Session, State};
use crate::message::{Lifetime, Message, Nonce};
use crate::stats::Stats;
use crate::time::Instant;
use crate::wire::Farewell;

/// A message that a tower holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct HeldMessage {
    /// The id, for [`Tower::message`].
    pub id: MessageId,
    /// The name of the message in the network.
    pub nonce: Nonce,
    /// The message. Its body is shared, not copied.
    pub message: Message,
    /// Where the message is.
    pub state: MessageState,
    /// When the lifetime of the message is over, on the tower's clock; `None` if it is unlimited.
    pub expires_at: Option<Instant>,
}

/// How a message is enqueued.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EnqueueOptions {
    /// For how long the message travels, at most for [`Config::max_lifetime`]. If that is
    /// unlimited, a lifetime of 4 294 967 295 ms or more (some 49 days) is unlimited too. `None`
    /// draws a time from half of [`Config::lifetime`] to all of it.
    pub lifetime: Option<Duration>,
    /// How long the message rests at this tower before it joins the tail of the queue, at most for
    /// its lifetime. It counts in all bounds, and [`Tower::peek`] shows it. If the queue is fuller
    /// than [`Config::hold_below`], the message does not rest. Holds end early when the queue is
    /// nearly full, and when the tower shuts down.
    pub hold: Duration,
}

/// Where a message is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum MessageState {
    /// In the queue.
    Waiting,
    /// At rest, until it joins the tail of the queue.
    Held,
    /// Handed to a peer that has not confirmed it.
    InFlight {
        /// The peer, unless it was forgotten meanwhile.
        to: Option<Address>,
    },
    /// Under screening. Its sender keeps it until there is a verdict.
    Offered {
        /// The id for the verdict.
        offer: OfferId,
    },
}

/// What a tower knows of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Peer {
    /// The peer's id.
    pub id: PeerId,
    /// Where the peer can be reached.
    pub address: Address,
    /// The status.
    pub status: Status,
    /// When the status last changed, on the tower's clock.
    pub since: Instant,
    /// The key pinned for the address.
    pub fingerprint: Option<Fingerprint>,
    /// What the peer spoke last, if it has spoken.
    pub dialect: Option<Dialect>,
    /// Why the last attempt to reach the peer failed, or why the peer refused the last message or
    /// announce. `None` if the last attempt succeeded.
    pub failure: Option<StatusReason>,
    /// When the tower may try the peer again, on the tower's clock, if an attempt has failed.
    pub retry_at: Option<Instant>,
}

/// What a tower knows of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkInfo {
    /// The link.
    pub id: LinkId,
    /// The peer at the other end, if the link was dialled or the caller claimed to be one.
    pub peer: Option<Address>,
    /// Whether the other side made the connection.
    pub is_inbound: bool,
    /// Whether the handshake is complete and messages can pass.
    pub is_open: bool,
    /// Whether the link is being closed.
    pub is_closing: bool,
    /// The dialect that is spoken.
    pub dialect: Dialect,
    /// The key that the other side has proved.
    pub identity: Option<Fingerprint>,
}

/// How much of its queue a tower uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct QueueUsage {
    /// The messages held: waiting, at rest, in flight or under screening.
    pub messages: usize,
    /// The bytes of their bodies.
    pub bytes: usize,
    /// The messages that wait in the queue.
    pub waiting: usize,
    /// The messages that rest before they join the queue.
    pub at_rest: usize,
}

impl Tower {
    /// Returns where peers reach this tower.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.local.address
    }

    /// Returns the configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.local.config
    }

    /// Returns the key that this tower proves to peers, if it does.
    #[must_use]
    pub fn identity(&self) -> Option<Fingerprint> {
        self.local.identity.as_deref().copied()
    }

    /// Returns the counters.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Returns how much of the queue is used.
    #[must_use]
    pub fn queue_usage(&self) -> QueueUsage {
        let queue = &self.queue;
        let (messages, bytes) = (queue.len(), queue.bytes());
        QueueUsage { messages, bytes, waiting: queue.waiting(), at_rest: queue.at_rest() }
    }

    /// Returns how many messages are under screening.
    #[must_use]
    pub fn pending_screenings(&self) -> usize {
        self.screenings.open()
    }

    /// Returns how many peers have each status. O(1).
    #[must_use]
    pub fn status_counts(&self) -> StatusCounts {
        self.peers.counts()
    }

    /// Returns the messages held: those that wait, head first, then those at rest, in flight and
    /// under screening.
    pub fn peek(&self) -> impl Iterator<Item = HeldMessage> + '_ {
        self.queue.iter().map(|(id, entry)| self.held(id, entry))
    }

    /// Returns a message that is held.
    #[must_use]
    pub fn message(&self, id: MessageId) -> Option<HeldMessage> {
        self.queue.get(id).map(|entry| self.held(id, entry))
    }

    /// Returns the id of a message with a name, unless it is not held or still under screening.
    #[must_use]
    pub fn find_message(&self, nonce: Nonce, message: &Message) -> Option<MessageId> {
        self.queue.find(nonce, message)
    }

    /// Returns a message that waits for a verdict.
    #[must_use]
    pub fn offer(&self, offer: OfferId) -> Option<HeldMessage> {
        self.queue.offered_on(offer.0)?;
        self.message(offer.0)
    }

    fn held(&self, id: MessageId, entry: &Entry) -> HeldMessage {
        let to = |peer: PeerId| self.peers.get(peer).map(|peer| peer.address.clone());
        let state = match entry.place {
            Place::Offered(_) => MessageState::Offered { offer: OfferId(id) },
            Place::InFlight(peer) => MessageState::InFlight { to: to(peer) },
            Place::Waiting => MessageState::Waiting,
            Place::Held => MessageState::Held,
        };
        let (nonce, message) = (entry.nonce, entry.message.clone());
        let expires_at = Some(entry.deadline).filter(|at| *at < Instant::FAR_FUTURE);
        HeldMessage { id, nonce, message, state, expires_at }
    }

    /// Returns the peers known, ignored ones included.
    pub fn survey(&self) -> impl Iterator<Item = Peer> + '_ {
        self.peers.iter().map(|(id, peer)| self.describe(id, peer))
    }

    /// Returns a peer, unless it was forgotten.
    #[must_use]
    pub fn peer(&self, id: PeerId) -> Option<Peer> {
        self.peers.get(id).map(|peer| self.describe(id, peer))
    }

    fn describe(&self, id: PeerId, peer: &peers::Peer) -> Peer {
        let peers::Peer { address, status, since, dialect, failure, .. } = peer;
        let failure = *failure;
        let retry_at = failure.and_then(|_| self.retry_at(id));
        let (address, status, since) = (address.clone(), *status, *since);
        let fingerprint = self.peers.pin(id).copied();
        Peer { id, address, status, since, fingerprint, dialect: *dialect, failure, retry_at }
    }

    /// Returns the peer with an address.
    #[must_use]
    pub fn find(&self, address: &Address) -> Option<Peer> {
        self.peer(self.peers.find(address)?)
    }

    /// Returns all links that have not ended.
    pub fn links(&self) -> impl Iterator<Item = LinkInfo> + '_ {
        self.links.iter().map(|(id, link)| self.link_info(id, link))
    }

    /// Returns a link, unless it has ended.
    #[must_use]
    pub fn link(&self, id: LinkId) -> Option<LinkInfo> {
        self.links.get(id).map(|link| self.link_info(id, link))
    }

    fn link_info(&self, id: LinkId, link: &Session) -> LinkInfo {
        let peer = link.peer.and_then(|peer| self.peers.get(peer));
        LinkInfo {
            id,
            peer: peer.map(|peer| peer.address.clone()),
            is_inbound: link.direction() == Direction::Inbound,
            is_open: link.is_open(),
            is_closing: matches!(link.state(), State::Leaving(_) | State::Closed),
            dialect: link.dialect(),
            identity: link.identity().copied(),
        }
    }

    /// Puts a message into the queue, and returns its name.
    ///
    /// # Errors
    ///
    /// Returns the message, with the reason. Nothing has changed.
    pub fn enqueue(&mut self, message: Message, now: Instant) -> Result<Nonce, RefusedMessage> {
        self.enqueue_with(message, EnqueueOptions::default(), now)
    }

    /// Puts a message with options into the queue, and returns its name.
    ///
    /// # Errors
    ///
    /// Returns the message, with the reason. Nothing has changed.
    pub fn enqueue_with(
        &mut self,
        message: Message,
        options: EnqueueOptions,
        now: Instant,
    ) -> Result<Nonce, RefusedMessage> {
        self.set_now(now);
        let len = message.len();
        let config = &self.local.config;
        let max = config.max_message;
        let others = self.actions.notice_bytes();
        let reason = if !self.phase.is_running() {
            EnqueueError::ShuttingDown
        } else if len > max {
            EnqueueError::TooLarge { max }
        } else if !self.queue.has_room(len, config.local_share, others) {
            EnqueueError::Full
        } else {
            let deadline = match options.lifetime {
                Some(lifetime) => self.deadline(Lifetime::new(lifetime)),
                None => self.draw_deadline(),
            };
            let nonce = self.store_local(message, deadline, options.hold);
            self.stats.enqueued += 1;
            self.advance();
            return Ok(nonce);
        };
        Err(RefusedMessage { message, reason })
    }

    /// Adds a peer by its address, as new. A known peer stays as it is.
    ///
    /// # Errors
    ///
    /// If the address can't be a peer. Nothing has changed.
    pub fn expand(&mut self, address: &Address, now: Instant) -> Result<PeerId, ExpandError> {
        self.set_now(now);
        let peer = self.introduce(address)?;
        self.advance();
        Ok(peer)
    }

    /// Adds a peer by its address and dials it at once, to make this tower known to it.
    /// [`Notice::Announced`](crate::Notice::Announced) follows when the peer has confirmed it. If
    /// the peer can't be reached or is busy, it is tried again: after
    /// [`probe_backoff`](crate::Config::probe_backoff), and then more and more seldom.
    ///
    /// # Errors
    ///
    /// If the address can't be a peer. Nothing has changed.
    pub fn announce(&mut self, address: &Address, now: Instant) -> Result<PeerId, ExpandError> {
        self.set_now(now);
        let peer = self.introduce(address)?;
        self.peers.update(peer, |peer| (peer.announce_due, peer.announce_wanted) = (true, true));
        match self.peers.get(peer).and_then(|peer| peer.link) {
            // A link that is not open yet is announced on when it opens.
            Some(id) => {
                if let Some(mut link) = self.links.take(id) {
                    self.announce_if_due(id, link.session_mut(), peer);
                    self.put_back(id, link);
                }
            }
            None => {
                self.dial(peer);
            }
        }
        self.advance();
        Ok(peer)
    }

    /// Ignores the tower at an address: its messages and announces are refused, and it is never
    /// contacted. Its links are closed, and messages in flight to it go back to the queue.
    ///
    /// # Errors
    ///
    /// [`ExpandError::OwnAddress`] and [`ExpandError::TableFull`]. Nothing has changed.
    pub fn ignore(&mut self, address: &Address, now: Instant) -> Result<PeerId, ExpandError> {
        self.set_now(now);
        if *address == self.local.address {
            return Err(ExpandError::OwnAddress);
        }
        let peer = match self.peers.find(address) {
            Some(peer) => peer,
            None => self.add_peer(address, Status::New).map_err(|_| ExpandError::TableFull)?,
        };
        self.peers.update(peer, |peer| peer.is_named = true);
        self.ignore_peer(peer, StatusReason::Application);
        self.advance();
        Ok(peer)
    }

    /// Undoes [`ignore`](Self::ignore): the peer becomes new. Returns whether the peer was ignored.
    pub fn unignore(&mut self, address: &Address, now: Instant) -> bool {
        self.set_now(now);
        let ignored = self.peers.find(address).filter(|peer| self.peers.is_ignored(*peer));
        if let Some(peer) = ignored {
            self.peers.update(peer, |peer| peer.is_alias = false);
            self.set_status(peer, Status::New, StatusReason::Application);
            self.advance();
        }
        ignored.is_some()
    }

    /// Forgets the peer at an address, with its pin, and closes its links. Messages in flight to it
    /// go back to the queue. Returns whether the peer was known. Gossip may make it known again.
    pub fn forget(&mut self, address: &Address, now: Instant) -> bool {
        self.set_now(now);
        let known = self.peers.find(address);
        if let Some(peer) = known {
            self.forget_peer(peer);
            self.advance();
        }
        known.is_some()
    }

    /// Pins a key to an address, as if the address had shown it at the first dial. An unknown
    /// address becomes a new peer. Links to the address that have proved another key are closed.
    ///
    /// # Errors
    ///
    /// If the address can't be a peer, or the key is pinned to another address. Nothing has
    /// changed.
    pub fn pin(
        &mut self,
        address: &Address,
        key: Fingerprint,
        now: Instant,
    ) -> Result<PeerId, ExpandError> {
        self.set_now(now);
        let holder = self.peers.find_pin(&key);
        if holder.is_some() && holder != self.peers.find(address) {
            return Err(ExpandError::KeyInUse);
        }
        let peer = self.introduce(address)?;
        self.peers.set_pin(peer, Some(key));
        let is_other = |link: &Session| {
            let has_other_key = match link.direction() {
                Direction::Outbound => link.identity().is_some_and(|identity| *identity != key),
                // The claim of a caller that has not proved this key is disproved. Without hellos,
                // each request makes its own claim.
                Direction::Inbound => link.identity() != Some(&key) && link.dialect().has_hello(),
            };
            link.peer == Some(peer) && link.is_live() && has_other_key
        };
        for id in self.links.matching(is_other) {
            if let Some(link) = self.links.get_link_mut(id) {
                link.session_mut().say_goodbye(Farewell::OtherKey);
            }
            self.close(id, CloseReason::KeyChanged, Doubt::InDoubt, CloseMode::Flush);
        }
        self.advance();
        Ok(peer)
    }

    pub(super) fn introduce(&mut self, address: &Address) -> Result<PeerId, ExpandError> {
        if *address == self.local.address {
            return Err(ExpandError::OwnAddress);
        }
        if !self.phase.is_running() {
            return Err(ExpandError::ShuttingDown);
        }
        let peer = match self.peers.find(address) {
            Some(peer) if self.peers.is_ignored(peer) => return Err(ExpandError::Ignored),
            Some(peer) => peer,
            None => self.add_peer(address, Status::New).map_err(|_| ExpandError::TableFull)?,
        };
        self.peers.update(peer, |peer| peer.is_named = true);
        Ok(peer)
    }
}

/// A message that was not enqueued, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RefusedMessage {
    /// The message.
    pub message: Message,
    /// Why it was not enqueued.
    pub reason: EnqueueError,
}

/// Why a message was not enqueued. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum EnqueueError {
    /// The share of the queue that is for local messages is full.
    Full,
    /// The message is longer than this tower takes.
    TooLarge {
        /// The longest body, in bytes.
        max: usize,
    },
    /// The tower shuts down.
    ShuttingDown,
}

/// Why an address can't be a peer. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum ExpandError {
    /// The address is this tower's own.
    OwnAddress,
    /// The peer is ignored. [`Tower::unignore`] undoes that.
    Ignored,
    /// The table of peers is full, and no peer in it may be forgotten.
    TableFull,
    /// The key is pinned to another address.
    KeyInUse,
    /// The tower shuts down.
    ShuttingDown,
}

impl fmt::Display for RefusedMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

impl fmt::Display for EnqueueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("the queue is full: try again when messages have left"),
            Self::TooLarge { max } => {
                write!(f, "the message is too long: this tower takes at most {max} bytes")
            }
            Self::ShuttingDown => f.write_str("the tower is shutting down"),
        }
    }
}

impl fmt::Display for ExpandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OwnAddress => "the address is this tower's own",
            Self::Ignored => "the tower is ignored: unignore it first",
            Self::TableFull => "the table of peers is full, and no peer in it may be forgotten",
            Self::KeyInUse => "the key is pinned to another address: forget that one first",
            Self::ShuttingDown => "the tower is shutting down",
        })
    }
}

impl core::error::Error for RefusedMessage {}
impl core::error::Error for EnqueueError {}
impl core::error::Error for ExpandError {}
