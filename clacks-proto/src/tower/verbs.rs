//! What an application tells a tower.

use bytes::Bytes;
use core::fmt;

use super::{Shutdown, Tower};
use crate::address::Address;
use crate::event::{Notice, Origin, Status};
use crate::ids::PeerId;
use crate::link::State;
use crate::message::{Message, Nonce};
use crate::queue::Place;
use crate::time::Instant;

impl Tower {
    /// Puts a message into the queue, from where it goes out into the network. Returns its name.
    ///
    /// # Errors
    ///
    /// Gives the message back, with the reason. Nothing has changed.
    pub fn enqueue(&mut self, message: Message, now: Instant) -> Result<Nonce, RefusedMessage> {
        self.set_now(now);
        let len = message.body().len();
        let max = self.config.max_message;
        let refused = if self.shutdown != Shutdown::Running {
            Some(EnqueueError::ShuttingDown)
        } else if len > max {
            Some(EnqueueError::TooLarge { max })
        } else if !self.queue.has_room(len, self.config.local_share) {
            Some(EnqueueError::Full)
        } else {
            None
        };
        if let Some(why) = refused {
            return Err(RefusedMessage { message, why });
        }
        let nonce = self.store_local(&message);
        self.stats.enqueued += 1;
        self.advance();
        Ok(nonce)
    }

    /// Adds a peer by its address, as new. A known one stays as it is.
    ///
    /// # Errors
    ///
    /// When it can't be a peer. Nothing has changed.
    pub fn expand(&mut self, address: &Address, now: Instant) -> Result<PeerId, ExpandError> {
        self.set_now(now);
        let peer = self.introduce(address)?;
        self.advance();
        Ok(peer)
    }

    /// Adds a peer by its address and calls it at once, to make this tower known to it. Its confirmation comes as
    /// [`Notice::Announced`]. If it can't be reached now, the announcement goes with the next attempt that succeeds.
    ///
    /// # Errors
    ///
    /// When it can't be a peer. Nothing has changed.
    pub fn announce(&mut self, address: &Address, now: Instant) -> Result<PeerId, ExpandError> {
        self.set_now(now);
        let peer = self.introduce(address)?;
        self.peers.change(peer, |peer| peer.announce_due = true);
        match self.peers.get(peer).and_then(|peer| peer.link) {
            Some(link) if self.state_of(link) == Some(State::Open) => {
                self.announce_if_due(link, peer);
            }
            // Its hello will be answered with the announce.
            Some(_) => {}
            None => {
                self.dial(peer);
            }
        }
        self.advance();
        Ok(peer)
    }

    /// Wants nothing to do with the tower at an address: its messages and announces are refused, and it is never contacted.
    /// Its links are closed; messages in flight to it come back.
    ///
    /// # Errors
    ///
    /// [`ExpandError::OwnAddress`] and [`ExpandError::TableFull`]. Nothing has changed.
    pub fn ignore(&mut self, address: &Address, now: Instant) -> Result<PeerId, ExpandError> {
        self.set_now(now);
        if *address == self.address {
            return Err(ExpandError::OwnAddress);
        }
        let peer = match self.peers.find(address) {
            Some(peer) => peer,
            None => self.add_peer(address, Status::New).map_err(|_| ExpandError::TableFull)?,
        };
        self.ignore_peer(peer);
        self.advance();
        Ok(peer)
    }

    /// Undoes [`ignore`](Self::ignore): the tower becomes new. False when it was not ignored.
    pub fn heed(&mut self, address: &Address, now: Instant) -> bool {
        self.set_now(now);
        let ignored = self.peers.find(address).filter(|peer| self.peers.is_ignored(*peer));
        let Some(peer) = ignored else { return false };
        self.set_status(peer, Status::New);
        self.advance();
        true
    }

    pub(super) fn store_local(&mut self, message: &Message) -> Nonce {
        let nonce = Nonce(self.nonce_stream.nonce(self.selector.seed()));
        let body: Bytes = message.body().clone();
        let key = self.queue.store(self.queue.name(nonce), message.kind(), body, Place::Waiting);
        self.notify(Notice::MessageQueued { message: key, origin: Origin::Local });
        nonce
    }

    fn introduce(&mut self, address: &Address) -> Result<PeerId, ExpandError> {
        if *address == self.address {
            return Err(ExpandError::OwnAddress);
        }
        if self.shutdown != Shutdown::Running {
            return Err(ExpandError::ShuttingDown);
        }
        match self.peers.find(address) {
            Some(peer) if self.peers.is_ignored(peer) => Err(ExpandError::Ignored),
            Some(peer) => Ok(peer),
            None => self.add_peer(address, Status::New).map_err(|_| ExpandError::TableFull),
        }
    }
}

/// A message that was not enqueued, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedMessage {
    /// The message, unharmed.
    pub message: Message,
    /// Why.
    pub why: EnqueueError,
}

/// Why a message can't be enqueued. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EnqueueError {
    /// The share of the queue that is for local messages is full. Try again later.
    Full,
    /// It is longer than this tower takes.
    TooLarge {
        /// The longest body, in bytes.
        max: usize,
    },
    /// The tower shuts down.
    ShuttingDown,
}

/// Why an address can't be a peer. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExpandError {
    /// It is this tower's own.
    OwnAddress,
    /// It is ignored. [`Tower::heed`] undoes that.
    Ignored,
    /// The table of peers is full, and none of them is dead.
    TableFull,
    /// The tower shuts down.
    ShuttingDown,
}

impl fmt::Display for RefusedMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.why.fmt(f)
    }
}

impl fmt::Display for EnqueueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("the queue is full: try again when messages have left"),
            Self::TooLarge { max } => {
                write!(f, "the message is too long: this tower takes up to {max} bytes")
            }
            Self::ShuttingDown => f.write_str("the tower is shutting down"),
        }
    }
}

impl fmt::Display for ExpandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OwnAddress => "that is this tower's own address",
            Self::Ignored => "that tower is ignored: heed it first",
            Self::TableFull => "no room for another tower, and none of the known ones is dead",
            Self::ShuttingDown => "the tower is shutting down",
        })
    }
}

impl core::error::Error for RefusedMessage {}
impl core::error::Error for EnqueueError {}
impl core::error::Error for ExpandError {}
