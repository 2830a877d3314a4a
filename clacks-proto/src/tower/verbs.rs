//! What an application tells a tower.

use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt;

use super::links::Unanswered;
use super::{Shutdown, Tower};
use crate::address::Address;
use crate::config::{DefaultVerdict, Screening};
use crate::event::{CloseMode, CloseReason, MessageKey, Notice, OfferId, Origin, PeerId, Status};
use crate::link::{Outcome, State};
use crate::message::{Message, Nonce};
use crate::queue::Place;
use crate::time::Instant;
use crate::wire::{Farewell, RefusedReason};

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
            Some(link) if self.state_of(link) == State::Open => self.announce_if_due(link, peer),
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
            None => {
                let (peer, forgotten) = self
                    .peers
                    .insert(address.clone(), Status::Ignored, self.now)
                    .map_err(|_| ExpandError::TableFull)?;
                if let Some(forgotten) = forgotten {
                    self.backoffs.clear(forgotten.index);
                    self.notify(Notice::TowerForgotten { peer: forgotten });
                }
                peer
            }
        };
        self.ignore_peer(peer);
        self.advance();
        Ok(peer)
    }

    /// Undoes [`ignore`](Self::ignore): the tower becomes new. False when it was not ignored.
    pub fn heed(&mut self, address: &Address, now: Instant) -> bool {
        self.set_now(now);
        let ignored = self
            .peers
            .find(address)
            .filter(|peer| self.peers.get(*peer).is_some_and(crate::peers::Peer::is_ignored));
        let Some(peer) = ignored else { return false };
        self.heed_peer(peer);
        self.advance();
        true
    }

    /// Says what becomes of a message under screening.
    ///
    /// # Errors
    ///
    /// [`DecideError::Gone`] when it is decided already or its link has ended: the sender still has it. The other
    /// errors leave it under screening, to be decided otherwise.
    pub fn decide(
        &mut self,
        offer: OfferId,
        verdict: Verdict,
        now: Instant,
    ) -> Result<(), DecideError> {
        self.set_now(now);
        self.judge(offer.0, verdict)?;
        self.advance();
        Ok(())
    }

    /// Leaves the network: takes nothing more, hands the queue to peers for as long as
    /// [`Timeouts::shutdown`](crate::Timeouts::shutdown) allows, says goodbye, and closes all links.
    /// [`Notice::ShutDown`] tells the end. Saying it again changes nothing.
    pub fn shutdown(&mut self, now: Instant) {
        self.set_now(now);
        if self.shutdown == Shutdown::Running {
            let until = self.now + self.config.timeouts.shutdown;
            self.shutdown = Shutdown::Draining { until };
            self.retry_at = None;
        }
        self.advance();
    }

    pub(super) fn advance_shutdown(&mut self) {
        if let Shutdown::Draining { until } = self.shutdown {
            let is_drained = self.queue.len() == self.open_offers;
            let nobody_left =
                self.links.len() == 0 && self.peers.iter().all(|(_, peer)| peer.is_ignored());
            if !is_drained && !nobody_left && until > self.now {
                return;
            }
            self.shutdown = Shutdown::Parting;
            self.retry_at = None;
            let all: Vec<_> = self.links.iter().map(|(id, _)| id).collect();
            for id in all {
                match self.state_of(id) {
                    State::Connecting | State::Greeting => {
                        let abort = Some(CloseMode::Abort);
                        self.end(id, CloseReason::Shutdown, Unanswered::NotTaken, abort);
                    }
                    _ => self.part(id, CloseReason::Shutdown, Farewell::Leaving),
                }
            }
        }
        if self.shutdown == Shutdown::Parting && self.links.iter().next().is_none() {
            self.shutdown = Shutdown::Done;
            self.notify(Notice::ShutDown { left: self.queue.len() });
        }
    }

    pub(super) fn on_offer_deadlines(&mut self) {
        while let Some((at, key)) = self.offers.front().copied() {
            let is_open = matches!(self.queue.place(key), Place::Offered { .. });
            if is_open && at > self.now {
                return;
            }
            self.offers.pop_front();
            if let Screening::On { default, .. } = self.config.screening
                && is_open
            {
                let verdict = match default {
                    DefaultVerdict::Accept => Verdict::Accept,
                    DefaultVerdict::Reject => Verdict::Reject,
                };
                // Neither of the two can fail on an open offer.
                let _ = self.judge(key, verdict);
            }
        }
    }

    fn judge(&mut self, key: MessageKey, verdict: Verdict) -> Result<(), DecideError> {
        let Place::Offered { link, transfer } = self.queue.place(key) else {
            return Err(DecideError::Gone);
        };
        let from = self.links.get(link).and_then(|link| link.peer);
        let outcome = match verdict {
            Verdict::Accept => {
                self.stats.received += 1;
                self.accept_offer(key, from);
                Outcome::Taken
            }
            Verdict::Replace(message) => {
                let old = self.queue.get(key).map_or(0, |(_, _, body)| body.len());
                let len = message.body().len();
                if len > self.config.max_message {
                    return Err(DecideError::TooLarge { max: self.config.max_message });
                }
                // The old one leaves first, but both stand for a moment: slots and bytes must have room for the difference.
                if !self.queue.has_room(len.saturating_sub(old), 100) {
                    return Err(DecideError::Full);
                }
                self.queue.let_go(key);
                self.stats.received += 1;
                self.store_local(&message);
                Outcome::Taken
            }
            Verdict::Swallow => {
                self.queue.let_go(key);
                self.stats.swallowed += 1;
                Outcome::Taken
            }
            Verdict::Reject => {
                self.queue.let_go(key);
                self.stats.refused += 1;
                Outcome::Refused(RefusedReason::Screened)
            }
        };
        self.open_offers -= 1;
        if outcome == Outcome::Taken {
            self.taken_from(link, transfer);
        }
        if let Some(link) = self.links.live_mut(link) {
            let decided = link.undecided.iter_mut().find(|incoming| incoming.offer == Some(key));
            if let Some(incoming) = decided {
                incoming.outcome = Some(outcome);
            }
        }
        self.settle_decided(link);
        self.forget_decided_offers();
        Ok(())
    }

    /// Queues a message that was under screening, unless a copy of it came in meanwhile by another way.
    fn accept_offer(&mut self, key: MessageKey, from: Option<PeerId>) {
        let Some((nonce, kind, body)) = self.queue.get(key) else { return };
        match self.queue.find(nonce, kind, body) {
            Some(copy) => {
                self.queue.coalesce(copy);
                self.stats.coalesced += 1;
                self.notify(Notice::MessageReceived { from, message: copy });
                self.queue.let_go(key);
            }
            None => {
                self.queue.give_back(key);
                self.notify(Notice::MessageReceived { from, message: key });
                self.notify(Notice::MessageQueued { message: key, origin: Origin::Peer });
            }
        }
    }

    /// Keeps the list of deadlines as short as the offers that are open, give or take their bound: offers end by a verdict or with their link.
    pub(super) fn forget_decided_offers(&mut self) {
        let queue = &self.queue;
        let is_open = |key: MessageKey| matches!(queue.place(key), Place::Offered { .. });
        while self.offers.front().is_some_and(|(_, key)| !is_open(*key)) {
            self.offers.pop_front();
        }
        if self.offers.len() >= 2 * self.max_offers() {
            let queue = &self.queue;
            self.offers.retain(|(_, key)| matches!(queue.place(*key), Place::Offered { .. }));
        }
    }

    fn store_local(&mut self, message: &Message) -> Nonce {
        let nonce = Nonce(self.nonce_stream.nonce());
        let body: Bytes = message.body().clone();
        let key = self.queue.store(nonce, message.kind(), body, Place::Waiting);
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
            Some(peer) if self.peers.get(peer).is_some_and(crate::peers::Peer::is_ignored) => {
                Err(ExpandError::Ignored)
            }
            Some(peer) => Ok(peer),
            None => self.add_peer(address, Status::New).map_err(|_| ExpandError::TableFull),
        }
    }
}

/// An application's word on a message under screening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is queued.
    Accept,
    /// Another one is queued in its place, under a name of its own; the sender's is confirmed.
    Replace(Message),
    /// It is confirmed to its sender and not queued.
    Swallow,
    /// It is refused; its sender keeps it.
    Reject,
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

/// Why a verdict has no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecideError {
    /// The message is decided already, or its sender is gone (and still has it).
    Gone,
    /// The replacement is longer than this tower takes. The message is still under screening.
    TooLarge {
        /// The longest body, in bytes.
        max: usize,
    },
    /// The queue has no room for the replacement. The message is still under screening.
    Full,
}

/// How far a shutdown has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ShutdownProgress {
    /// Nobody asked for one.
    Running,
    /// The queue is handed to peers, or links are being closed, or actions wait to be polled.
    Draining,
    /// All links are closed and all actions are polled; the tower may be dropped.
    Done,
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

impl fmt::Display for DecideError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("the message is decided already, or its sender is gone"),
            Self::TooLarge { max } => write!(f, "the message may have up to {max} bytes"),
            Self::Full => f.write_str("the queue has no room for the message"),
        }
    }
}

impl core::error::Error for RefusedMessage {}
impl core::error::Error for EnqueueError {}
impl core::error::Error for ExpandError {}
impl core::error::Error for DecideError {}
