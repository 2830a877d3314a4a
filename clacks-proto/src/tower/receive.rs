//! What comes in: bytes, frames, hellos and the claims in them, messages, and answers to ours.

use bytes::Bytes;

use super::links::Unanswered;
use super::standing::Source;
use super::{Shutdown, Tower};
use crate::address::Address;
use crate::config::Screening;
use crate::event::{Action, CloseMode, Dialect, Notice, Origin};
use crate::ids::{LinkId, OfferId, PeerId};
use crate::link::{Cargo, Direction, Incoming, Link, Outcome, State, Transfer};
use crate::queue::Place;
use crate::reason::{CloseReason, ProtocolError};
use crate::wire::{
    AnnounceFrame, Attempt, Farewell, Frame, Hello, MessageFrame, RefusedReason, VERSION,
};

/// The most notices that one message brings: received, queued, its sender alive, its friend discovered, and a dead peer forgotten for that.
const NOTICES_OF_A_MESSAGE: usize = 5;

impl Tower {
    pub(super) fn on_bytes(&mut self, id: LinkId, bytes: &[u8]) {
        let mut input = bytes;
        let Some(link) = self.links.get_mut(id) else {
            self.stats.stale_events += 1;
            return;
        };
        // A long message may come in slowly: any byte of it is use.
        link.used = self.now;
        #[cfg(feature = "http")]
        if link.talk.is_some() {
            return self.on_other_bytes(id, input);
        }
        // The frames borrow from the decoder, so it leaves the link while they are handled.
        let mut decoder = core::mem::take(&mut link.decoder);
        while let Some(link) = self.links.live(id)
            && link.state != State::Connecting
        {
            let state = link.state;
            match decoder.decode(&mut input) {
                Ok(Some(frame)) => self.on_frame(id, state, frame),
                Ok(None) => break,
                #[cfg(feature = "http")]
                Err(error) if self.redials_in_http(id, error) => {}
                Err(error) => self.misbehaved(id, CloseReason::Wire(error)),
            }
        }
        if let Some(link) = self.links.live_mut(id) {
            link.decoder = decoder;
        }
    }

    fn on_frame(&mut self, id: LinkId, state: State, frame: Frame<'_>) {
        match (state, frame) {
            // The decoder of a fresh link lets nothing but a hello through.
            (State::Greeting, Frame::Hello(hello)) => self.on_hello(id, &hello),
            (_, Frame::Hello(_)) => self.violated(id, ProtocolError::HelloTwice),
            (State::Open, Frame::Message(message)) => self.on_message(id, &message),
            (State::Open, Frame::Announce(announce)) => self.on_announce(id, &announce),
            // After our goodbye nothing more is taken, and the other side knows that.
            (_, Frame::Message(_) | Frame::Announce(_)) => {}
            (_, Frame::Confirmed { through }) => self.on_answer(id, through, Outcome::Taken),
            (_, Frame::Refused { transfer, reason }) => {
                self.on_answer(id, transfer, Outcome::Refused(reason));
            }
            (_, Frame::Goodbye { farewell }) => self.on_goodbye(id, farewell),
        }
    }

    fn violated(&mut self, id: LinkId, error: ProtocolError) {
        self.misbehaved(id, CloseReason::Protocol(error));
    }

    fn on_goodbye(&mut self, id: LinkId, farewell: Farewell) {
        let Some(link) = self.links.live_mut(id) else { return };
        // The answer tells the other side that what we did not answer was not taken.
        if link.state == State::Open {
            link.farewell_due = Some(farewell);
        }
        let why = CloseReason::Goodbye(farewell);
        self.end(id, why, Unanswered::NotTaken, Some(CloseMode::Flush));
    }

    fn on_hello(&mut self, id: LinkId, hello: &Hello<'_>) {
        let Some(link) = self.links.live_mut(id) else { return };
        let refused = if hello.version != VERSION {
            Some((CloseReason::WrongVersion(hello.version), Farewell::WrongVersion))
        } else if hello.network != self.config.network {
            Some((CloseReason::WrongNetwork, Farewell::WrongNetwork))
        } else {
            None
        };
        if let Some((why, farewell)) = refused {
            link.farewell_due = Some(farewell);
            return self.end(id, why, Unanswered::NotTaken, Some(CloseMode::Flush));
        }
        link.incarnation = hello.incarnation;
        // However much it would take, ours bounds what we have to remember.
        link.granted = hello.window.within(self.config.window);
        let (direction, dialled) = (link.direction, link.peer);
        self.links.set_state(id, State::Open, self.now);
        if hello.incarnation == self.incarnation {
            return self.on_own_address(id);
        }
        let peer = match (direction, dialled) {
            (Direction::Outbound, Some(peer)) => self.on_dialled_hello(id, peer, hello),
            _ => self.on_claim(id, hello),
        };
        let Some(peer) = peer else { return self.reset_link_deadline(id) };
        if self.proved(id) == Some(peer) {
            self.peers.change(peer, |peer| {
                peer.max_message = hello.max_message;
                peer.dialect = Some(Dialect::Native);
                peer.link = peer.link.or(Some(id));
            });
            self.return_over_long(id, hello.max_message);
            self.announce_if_due(id, peer);
            self.refresh_window(peer);
        }
        self.reset_link_deadline(id);
        self.request_send(id);
    }

    /// The address that we dialled answered: its key is pinned. Returns whose link this is now, if it stays.
    fn on_dialled_hello(&mut self, id: LinkId, peer: PeerId, hello: &Hello<'_>) -> Option<PeerId> {
        let Some(identity) = self.links.get(id).and_then(Link::identity) else {
            return Some(peer);
        };
        let Some(other) = self.peers.find_pin(&identity).filter(|other| *other != peer) else {
            if self.peers.pin(peer).is_none() {
                self.peers.set_pin(peer, Some(identity));
            }
            return Some(peer);
        };
        // One key is one tower: two addresses of it are one peer, under the one that it claims, or else the one known longer.
        let claims_dialled =
            self.peers.get(peer).is_some_and(|peer| hello.address.as_ref() == Some(&peer.address));
        if self.peers.is_ignored(other) {
            self.ignore_alias(peer);
            return None;
        }
        if claims_dialled {
            self.merge(other, peer);
            self.peers.set_pin(peer, Some(identity));
            Some(peer)
        } else {
            self.merge(peer, other);
            Some(other)
        }
    }

    /// A caller says who it is. That is only a claim, unless its key is the one pinned for that address (or nobody has keys).
    fn on_claim(&mut self, id: LinkId, hello: &Hello<'_>) -> Option<PeerId> {
        let identity = self.links.get(id)?.identity();
        let claimed = hello.address.as_ref().filter(|address| **address != self.address);
        // Whom an ignored tower pretends to be is nothing to learn from it.
        let claimed = claimed.filter(|_| !self.is_unwelcome(id));
        let mut peer = claimed.and_then(|address| self.learn(address, Source::Stranger));
        let pin = peer.and_then(|peer| self.peers.pin(peer));
        if pin.is_some() && pin != identity {
            self.stats.claims_disproved += 1;
            peer = None;
        }
        self.links.get_mut(id)?.peer = peer;
        if let Some(peer) = peer {
            // Not more than a claim either, until it is dialled.
            self.peers.change(peer, |peer| {
                peer.dialect = peer.dialect.or(Some(Dialect::Native));
            });
        }
        peer.filter(|_| !self.is_unwelcome(id))
    }

    /// Whether the other side of a link is ignored: as the peer that it is or claims to be, or as the one whose key it has.
    fn is_unwelcome(&self, id: LinkId) -> bool {
        // Asked for each message, and most towers ignore nobody.
        if self.peers.standing().ignored == 0 {
            return false;
        }
        let Some(link) = self.links.get(id) else { return false };
        let keyed = link.identity().and_then(|identity| self.peers.find_pin(&identity));
        let mut both = [link.peer, keyed].into_iter().flatten();
        both.any(|peer| self.peers.is_ignored(peer))
    }

    /// The peer that a link's other end has been shown to be.
    ///
    /// A dialled peer is who it is. A caller is who it claims to be when its key is the pinned one; without keys (clear text) claims are believed.
    pub(super) fn proved(&self, id: LinkId) -> Option<PeerId> {
        let link = self.links.get(id)?;
        let peer = link.peer?;
        let pin = self.peers.pin(peer);
        match link.direction {
            Direction::Outbound => Some(peer),
            Direction::Inbound => (pin == link.identity()).then_some(peer),
        }
    }

    /// The peer that a link's other end is or says it is, unless the key pinned for that peer meanwhile disproves it.
    pub(super) fn claimed(&self, id: LinkId) -> Option<PeerId> {
        let peer = self.links.get(id)?.peer?;
        let is_open_question = self.peers.get(peer).is_some() && self.peers.pin(peer).is_none();
        if is_open_question { Some(peer) } else { self.proved(id) }
    }

    fn on_message(&mut self, id: LinkId, frame: &MessageFrame<'_>) {
        let len = frame.body.len();
        if !self.open_transfer(id, len) {
            return self.violated(id, ProtocolError::WindowExceeded);
        }
        let outcome = self.take_in(id, frame);
        if outcome.is_none_or(|outcome| outcome == Outcome::Taken) {
            self.learn_friend(frame.friend.as_ref());
        }
        self.settle(id, frame.transfer, len, outcome);
    }

    fn on_announce(&mut self, id: LinkId, frame: &AnnounceFrame) {
        if !self.open_transfer(id, 0) {
            return self.violated(id, ProtocolError::WindowExceeded);
        }
        let outcome = self.refusal(id).map_or(Outcome::Taken, Outcome::Refused);
        if outcome == Outcome::Taken {
            self.learn_friend(frame.friend.as_ref());
            if let Some(peer) = self.proved(id) {
                self.on_success(peer);
            }
        }
        self.settle(id, frame.transfer, 0, Some(outcome));
    }

    /// Counts a transfer that came in. False when the other side was not allowed that many.
    pub(super) fn open_transfer(&mut self, id: LinkId, len: usize) -> bool {
        let window = self.config.window;
        let Some(link) = self.links.live_mut(id) else { return true };
        let is_granted = window.admits(link.unanswered as usize, link.unanswered_bytes, len);
        link.unanswered += 1;
        link.unanswered_bytes += len;
        is_granted
    }

    /// Why nothing is taken on this link now.
    pub(super) fn refusal(&self, id: LinkId) -> Option<RefusedReason> {
        if self.is_unwelcome(id) {
            Some(RefusedReason::Ignored)
        } else if self.shutdown != Shutdown::Running {
            Some(RefusedReason::Busy)
        } else {
            None
        }
    }

    /// What becomes of a message that came in; `None` while the application decides.
    pub(super) fn take_in(&mut self, id: LinkId, frame: &MessageFrame<'_>) -> Option<Outcome> {
        if let Some(reason) = self.refusal(id) {
            self.stats.refused += 1;
            return Some(Outcome::Refused(reason));
        }
        let sender = self.proved(id);
        let from = sender.or_else(|| self.claimed(id));
        let recalled = frame.attempt == Attempt::Retry
            && sender.is_some_and(|peer| self.recalls(id, peer, frame.transfer));
        if recalled {
            self.stats.recognised_retries += 1;
            self.taken_from(id, sender, frame.transfer);
            return Some(Outcome::Taken);
        }
        let name = self.queue.name(frame.nonce);
        let copy = self.queue.find(name, frame.kind, frame.body);
        let has_room = self.actions.has_room(NOTICES_OF_A_MESSAGE)
            && (copy.is_some() || self.queue.has_room(frame.body.len(), 100));
        if !has_room {
            self.stats.refused += 1;
            return Some(Outcome::Refused(RefusedReason::Busy));
        }
        if let Some(message) = copy {
            self.queue.coalesce(message);
            self.stats.coalesced += 1;
            self.stats.received += 1;
            self.notify(Notice::MessageReceived { from, message });
            self.taken_from(id, sender, frame.transfer);
            return Some(Outcome::Taken);
        }
        if let Screening::On { max_offers, timeout, .. } = self.config.screening {
            // A driver that does not poll gets no more of them, though they may be decided by their deadline.
            if self.offers().max(self.actions.screens()) >= max_offers {
                self.stats.refused += 1;
                return Some(Outcome::Refused(RefusedReason::Busy));
            }
            let place = Place::Offered { link: id };
            let body = Bytes::copy_from_slice(frame.body);
            let key = self.queue.store(name, frame.kind, body, place);
            self.open_offers += 1;
            self.offers.push_back((self.now + timeout, key));
            self.actions.push(Action::Screen { offer: OfferId(key), from });
            let (transfer, len) = (frame.transfer, frame.body.len());
            if let Some(link) = self.links.get_mut(id) {
                let offer = Some(key);
                link.undecided.push_back(Incoming { transfer, len, offer, outcome: None });
            }
            return None;
        }
        let body = Bytes::copy_from_slice(frame.body);
        let message = self.queue.store(name, frame.kind, body, Place::Waiting);
        self.stats.received += 1;
        self.notify(Notice::MessageReceived { from, message });
        self.notify(Notice::MessageQueued { message, origin: Origin::Peer });
        self.taken_from(id, sender, frame.transfer);
        Some(Outcome::Taken)
    }

    /// Whether a transfer that is asked about again was taken the first time.
    fn recalls(&self, id: LinkId, peer: PeerId, transfer: u64) -> bool {
        let incarnation = self.links.get(id).map(|link| link.incarnation);
        self.peers.get(peer).and_then(|peer| peer.taken.as_ref()).is_some_and(|taken| {
            incarnation.is_some_and(|incarnation| taken.belongs_to(incarnation))
                && taken.recalls(transfer)
        })
    }

    /// A transfer was taken: a success for its sender if that is proved, to be remembered in case the answer is lost.
    pub(super) fn taken_from(&mut self, id: LinkId, sender: Option<PeerId>, transfer: u64) {
        // What came in a request is never asked about again, and what was claimed there has been dealt with.
        #[cfg(feature = "http")]
        if self.is_http(id) {
            return;
        }
        let Some(sender) = sender else { return };
        let incarnation = self.links.get(id).map_or(0, |link| link.incarnation);
        let (now, times) = (self.now, &self.config.timeouts);
        let capacity = 2 * usize::from(self.config.window.messages);
        self.peers.with_taken(sender, incarnation, |taken| {
            taken.forget_older(times, now);
            taken.remember(transfer, id, now, capacity);
        });
        // The first success on a link that was unproved when it opened makes it of use for our messages too.
        if self.peers.get(sender).is_some_and(|peer| peer.link.is_none()) {
            self.peers.change(sender, |peer| peer.link = Some(id));
        }
        self.on_success(sender);
    }

    /// Answers a transfer, after all those before it.
    pub(super) fn settle(
        &mut self,
        id: LinkId,
        transfer: u64,
        len: usize,
        outcome: Option<Outcome>,
    ) {
        let Some(outcome) = outcome else { return };
        let Some(link) = self.links.live_mut(id) else { return };
        if link.undecided.is_empty() {
            link.answer(transfer, outcome, len);
        } else {
            let outcome = Some(outcome);
            link.undecided.push_back(Incoming { transfer, len, offer: None, outcome });
        }
        self.request_send(id);
        if outcome == Outcome::Refused(RefusedReason::Ignored) {
            self.part(id, CloseReason::Ignored, Farewell::Ignored);
        }
    }

    /// Answers all that is decided, up to the first that is not.
    pub(super) fn settle_decided(&mut self, id: LinkId) {
        let Some(link) = self.links.live_mut(id) else { return };
        while let Some(outcome) = link.undecided.front().and_then(|incoming| incoming.outcome) {
            if let Some(incoming) = link.undecided.pop_front() {
                link.answer(incoming.transfer, outcome, incoming.len);
            }
        }
        link.used = self.now;
        self.request_send(id);
        #[cfg(feature = "http")]
        self.end_if_served(id);
    }

    /// The other side answers one of ours; those before it that it has not answered are confirmed by that.
    fn on_answer(&mut self, id: LinkId, number: u64, outcome: Outcome) {
        let Some(link) = self.links.live_mut(id) else { return };
        let Some(peer) = link.peer else {
            return self.violated(id, ProtocolError::UnknownTransfer);
        };
        if !link.transfers.awaits(number) {
            return self.violated(id, ProtocolError::UnknownTransfer);
        }
        while let Some(link) = self.links.live_mut(id)
            && let Some(transfer) = link.transfers.pop_sent()
        {
            let is_last = transfer.number == number;
            match outcome {
                Outcome::Refused(reason) if is_last => self.on_refused(peer, transfer, reason),
                _ => self.on_confirmed(peer, transfer),
            }
            if is_last {
                break;
            }
        }
        self.refresh_window(peer);
        self.request_send_if_wanted(id);
        let now = self.now;
        let Some(link) = self.links.live_mut(id) else { return };
        link.transfers.answered(now);
        let Some(link) = self.links.live(id) else { return };
        if link.transfers.is_empty() {
            // The time to confirm may be longer than a link may be idle.
            self.link_deadlines.set_if_earlier(id.index, self.deadline_of(link));
        }
        if let State::Parting(why) = link.state
            && link.transfers.sent() == 0
        {
            self.end(id, why, Unanswered::NotTaken, Some(CloseMode::Flush));
        }
    }

    pub(super) fn on_confirmed(&mut self, peer: PeerId, transfer: Transfer) {
        self.peers.change(peer, |peer| peer.load = peer.load.saturating_sub(1));
        self.on_success(peer);
        match transfer.cargo {
            Cargo::Message { key, .. } => {
                self.stats.delivered += 1;
                self.notify(Notice::MessageDelivered { to: peer, message: key });
                self.queue.let_go(key, self.actions.queued_notice());
            }
            Cargo::Announce => {
                self.peers.change(peer, |peer| peer.announce_due = false);
                self.notify(Notice::Announced { to: peer });
            }
        }
    }

    /// A refusal is an answer all the same, and proves the peer alive; only one that ignores us is as good as gone.
    pub(super) fn on_refused(&mut self, peer: PeerId, transfer: Transfer, reason: RefusedReason) {
        self.stats.refused_by_peers += 1;
        let is_doubtful = transfer.attempt == Attempt::Retry;
        if reason == RefusedReason::Ignored {
            self.on_failure(peer);
        } else {
            self.on_success(peer);
            self.rest(peer, self.config.busy_backoff);
        }
        if reason == RefusedReason::TooLarge {
            let len = u32::try_from(transfer.len()).unwrap_or(u32::MAX);
            self.peers.change(peer, |peer| {
                peer.max_message = peer.max_message.min(len.saturating_sub(1));
            });
        }
        self.take_back(Some(peer), transfer, is_doubtful);
    }

    pub(super) fn learn_friend(&mut self, friend: Option<&Address>) {
        if let Some(address) = friend {
            self.learn(address, Source::Friend);
        }
    }
}
