//! What comes in.

use super::links::{Doubt, admits};
use super::standing::Teller;
use super::{Cargo, Key, Model, Number, Phase, Place, Told, Undecided};
use crate::config::{DefaultVerdict, Screening};
use crate::ids::LinkId;
use crate::link::{Outcome, State};
use crate::reason::{CloseReason, ProtocolError};
use crate::time::Instant;
use crate::wire::{
    AnnounceFrame, Attempt, Farewell, Frame, Hello, MessageFrame, RefusedReason, VERSION,
};
use crate::{Address, CloseMode, Origin, Status, Verdict};

impl Model {
    pub(in super::super) fn bytes_arrived(&mut self, id: LinkId, mut bytes: &[u8]) {
        let now = self.now;
        match self.link_mut(id) {
            None => self.stats.stale_events += 1,
            Some(link) => {
                link.used = now;
                let mut decoder = core::mem::take(&mut link.decoder);
                while self.live(id).is_some_and(|link| link.state != State::Connecting) {
                    match decoder.decode(&mut bytes) {
                        Ok(Some(frame)) => self.on_frame(id, &frame),
                        Ok(None) => break,
                        Err(error) => self.offended(id, CloseReason::Wire(error)),
                    }
                }
                if let Some(link) = self.live(id) {
                    link.decoder = decoder;
                }
            }
        }
        self.advance();
    }

    fn offended(&mut self, id: LinkId, why: CloseReason) {
        let speaks = |link: &&mut super::Link| !matches!(link.state, State::Parting(_));
        if let Some(link) = self.live(id).filter(speaks) {
            link.farewell_due = Some(Farewell::Misbehaved);
        }
        self.end(id, why, Doubt::Doubtful, Some(CloseMode::Flush));
    }

    fn violated(&mut self, id: LinkId, error: ProtocolError) {
        self.offended(id, CloseReason::Protocol(error));
    }

    fn on_frame(&mut self, id: LinkId, frame: &Frame<'_>) {
        let is_open = self.link(id).is_some_and(|link| link.state == State::Open);
        let is_greeting = self.link(id).is_some_and(|link| link.state == State::Greeting);
        match frame {
            Frame::Hello(hello) if is_greeting => self.on_hello(id, hello),
            Frame::Hello(_) => self.violated(id, ProtocolError::HelloTwice),
            Frame::Message(message) if is_open => self.on_message(id, message),
            Frame::Announce(announce) if is_open => self.on_announce(id, announce),
            Frame::Message(_) | Frame::Announce(_) => {}
            Frame::Confirmed { through } => self.on_answer(id, *through, Outcome::Taken),
            Frame::Refused { transfer, reason } => {
                self.on_answer(id, *transfer, Outcome::Refused(*reason));
            }
            Frame::Goodbye { farewell } => {
                if let Some(link) = self.live(id).filter(|link| link.state == State::Open) {
                    link.farewell_due = Some(*farewell);
                }
                self.end(
                    id,
                    CloseReason::Goodbye(*farewell),
                    Doubt::NotTaken,
                    Some(CloseMode::Flush),
                );
            }
        }
    }

    fn on_hello(&mut self, id: LinkId, hello: &Hello<'_>) {
        let (own_incarnation, window) = (self.after.incarnation, self.config.window);
        let refused = if hello.version != VERSION {
            Some((CloseReason::WrongVersion(hello.version), Farewell::WrongVersion))
        } else if hello.network != self.config.network {
            Some((CloseReason::WrongNetwork, Farewell::WrongNetwork))
        } else {
            None
        };
        let link = self.link_mut(id).unwrap();
        if let Some((why, farewell)) = refused {
            link.farewell_due = Some(farewell);
            return self.end(id, why, Doubt::NotTaken, Some(CloseMode::Flush));
        }
        link.incarnation = hello.incarnation;
        link.granted.messages = window.messages.min(hello.window.messages);
        link.granted.bytes = window.bytes.min(hello.window.bytes);
        let (is_inbound, dialled) = (link.is_inbound, link.peer);
        self.set_state(id, State::Open);
        if hello.incarnation == own_incarnation {
            self.link_mut(id).unwrap().farewell_due = Some(Farewell::OwnAddress);
            self.end(id, CloseReason::OwnAddress, Doubt::NotTaken, Some(CloseMode::Flush));
            if let Some(key) = dialled.filter(|_| !is_inbound) {
                self.ignore_peer(key);
                self.peer_mut(key).unwrap().is_alias = true;
            }
            return;
        }
        if is_inbound {
            let claimed = hello.address.as_ref().filter(|address| **address != self.own);
            let peer = claimed.and_then(|address| self.learn(address, Teller::Stranger));
            self.link_mut(id).unwrap().peer = peer;
        }
        let peer = self.link(id).unwrap().peer.filter(|key| !self.is_ignored(*key));
        if let Some(key) = peer {
            let peer = self.peer_mut(key).unwrap();
            peer.max_message = hello.max_message;
            peer.link = peer.link.or(Some(id));
            self.take_back_unsent(id, hello.max_message, 1);
            self.announce_if_due(id, key);
        }
    }

    fn is_unwelcome(&self, id: LinkId) -> bool {
        self.link(id).and_then(|link| link.peer).is_some_and(|key| self.is_ignored(key))
    }

    /// Whether one more transfer may be unanswered.
    fn is_granted(&self, id: LinkId, len: usize) -> bool {
        let link = self.link(id).unwrap();
        let undecided: usize = link.undecided.iter().map(|it| it.len).sum();
        let unsent: usize = link.answers.iter().map(|answer| answer.bytes).sum();
        let answers: usize = link.answers.iter().map(|answer| answer.count).sum();
        admits(self.config.window, link.undecided.len() + answers, undecided + unsent, len)
    }

    fn refusal(&self, id: LinkId) -> Option<RefusedReason> {
        if self.is_unwelcome(id) {
            Some(RefusedReason::Ignored)
        } else if self.phase != Phase::Running {
            Some(RefusedReason::Busy)
        } else {
            None
        }
    }

    fn on_announce(&mut self, id: LinkId, frame: &AnnounceFrame) {
        if !self.is_granted(id, 0) {
            return self.violated(id, ProtocolError::WindowExceeded);
        }
        let refusal = self.refusal(id);
        if refusal.is_none() {
            self.learn_friend(frame.friend.as_ref());
            if let Some(key) = self.link(id).unwrap().peer {
                self.succeeded(key);
            }
        }
        let outcome = refusal.map_or(Outcome::Taken, Outcome::Refused);
        self.settle(id, frame.transfer, 0, outcome);
    }

    fn learn_friend(&mut self, friend: Option<&Address>) {
        if let Some(address) = friend {
            self.learn(address, Teller::Friend);
        }
    }

    fn on_message(&mut self, id: LinkId, frame: &MessageFrame<'_>) {
        let (len, transfer) = (frame.body.len(), frame.transfer);
        assert!(len <= self.config.max_message, "a decoder let it through");
        if !self.is_granted(id, len) {
            return self.violated(id, ProtocolError::WindowExceeded);
        }
        let outcome = self.take_in(id, frame);
        if outcome.is_none_or(|outcome| outcome == Outcome::Taken) {
            self.learn_friend(frame.friend.as_ref());
        }
        if let Some(outcome) = outcome {
            self.settle(id, transfer, len, outcome);
        }
    }

    /// What becomes of a message; `None` when it is under screening.
    fn take_in(&mut self, id: LinkId, frame: &MessageFrame<'_>) -> Option<Outcome> {
        let busy = Some(Outcome::Refused(RefusedReason::Busy));
        if let Some(reason) = self.refusal(id) {
            self.stats.refused += 1;
            return Some(Outcome::Refused(reason));
        }
        if frame.attempt == Attempt::Retry && self.recalls(id, frame.transfer) {
            self.stats.recognised_retries += 1;
            self.taken_from(id, frame.transfer);
            return Some(Outcome::Taken);
        }
        let from = self.link(id).unwrap().peer;
        let copy = self.find_copy(frame.nonce, frame.kind, frame.body);
        let fits = copy.is_some() || self.has_room(frame.body.len(), 100);
        // One message may bring five notices.
        if !fits || !self.has_room_to_tell(5) {
            self.stats.refused += 1;
            return busy;
        }
        if let Some(copy) = copy {
            self.coalesce(copy);
            self.stats.coalesced += 1;
            self.stats.received += 1;
            self.tell(Told::Received(from, copy));
            self.taken_from(id, frame.transfer);
            return Some(Outcome::Taken);
        }
        let (nonce, kind, body) = (Some(frame.nonce), frame.kind, frame.body);
        if let Screening::On { max_offers, timeout, .. } = self.config.screening {
            if self.open_offers() >= max_offers || self.screens.len() >= max_offers {
                self.stats.refused += 1;
                return busy;
            }
            let place = Place::Offered { link: id, until: self.now + timeout };
            let number = self.store(nonce, kind, body, place);
            self.screens.push_back((number, from));
            let (transfer, len) = (frame.transfer, frame.body.len());
            let incoming = Undecided { transfer, offer: Some(number), outcome: None, len };
            self.link_mut(id).unwrap().undecided.push_back(incoming);
            return None;
        }
        let number = self.store(nonce, kind, body, Place::Waiting);
        self.stats.received += 1;
        self.tell(Told::Received(from, number));
        self.tell(Told::Queued(number, Origin::Peer));
        self.taken_from(id, frame.transfer);
        Some(Outcome::Taken)
    }

    fn recalls(&self, id: LinkId, transfer: u64) -> bool {
        let link = self.link(id).unwrap();
        let peer = link.peer.and_then(|key| self.peer(key));
        let taken = peer.and_then(|peer| peer.taken.as_ref());
        taken.is_some_and(|(incarnation, entries)| {
            *incarnation == link.incarnation && entries.iter().any(|entry| entry.0 == transfer)
        })
    }

    /// Answers a transfer, after all those before it.
    fn settle(&mut self, id: LinkId, transfer: u64, len: usize, outcome: Outcome) {
        let Some(link) = self.live(id) else { return };
        if link.undecided.is_empty() {
            link.answer(transfer, outcome, len);
        } else {
            let outcome = Some(outcome);
            link.undecided.push_back(Undecided { transfer, offer: None, outcome, len });
        }
        if outcome == Outcome::Refused(RefusedReason::Ignored) {
            self.part(id, CloseReason::Ignored, Farewell::Ignored);
        }
    }

    /// One of ours is answered; those before it are confirmed by that.
    fn on_answer(&mut self, id: LinkId, number: u64, outcome: Outcome) {
        let Some(link) = self.live(id) else { return };
        let place = link.transfers.iter().position(|it| it.is_sent && it.number == number);
        let (Some(place), Some(key)) = (place, link.peer) else {
            return self.violated(id, ProtocolError::UnknownTransfer);
        };
        for n in 0..=place {
            let transfer = self.link_mut(id).unwrap().transfers.remove(0);
            match outcome {
                Outcome::Refused(reason) if n == place => self.on_refused(key, transfer, reason),
                _ => self.on_confirmed(key, transfer.cargo),
            }
        }
        let now = self.now;
        let link = self.link_mut(id).unwrap();
        if let Some(next) = link.transfers.first_mut().filter(|next| !next.is_sent) {
            next.at = now;
        }
        if let State::Parting(why) = link.state
            && !link.transfers.iter().any(|transfer| transfer.is_sent)
        {
            self.end(id, why, Doubt::NotTaken, Some(CloseMode::Flush));
        }
    }

    fn on_confirmed(&mut self, key: Key, cargo: Cargo) {
        self.succeeded(key);
        match cargo {
            Cargo::Message(number) => {
                self.stats.delivered += 1;
                self.tell(Told::Delivered(key, number));
                self.let_go(number);
            }
            Cargo::Announce => {
                self.peer_mut(key).unwrap().announce_due = false;
                self.tell(Told::Announced(key));
            }
        }
    }

    fn on_refused(&mut self, key: Key, transfer: super::Transfer, reason: RefusedReason) {
        self.stats.refused_by_peers += 1;
        if reason == RefusedReason::Ignored {
            self.failed(key);
        } else {
            self.succeeded(key);
            self.rest(key, self.config.busy_backoff);
        }
        if reason == RefusedReason::TooLarge {
            let len = u32::try_from(self.cargo_len(transfer.cargo)).unwrap();
            let peer = self.peer_mut(key).unwrap();
            peer.max_message = peer.max_message.min(len.saturating_sub(1));
        }
        self.take_back(Some(key), transfer, transfer.is_retry);
    }

    /// A verdict. Whether it could be carried out.
    pub(super) fn decide(&mut self, number: Number, verdict: &Verdict) {
        let Some(Place::Offered { link, .. }) = self.message(number).map(|it| it.place) else {
            panic!("there is nothing to decide");
        };
        let from = self.link(link).unwrap().peer;
        let outcome = match verdict {
            Verdict::Accept => {
                self.stats.received += 1;
                let known = self.known[number].clone();
                match self.find_copy(known.nonce.unwrap(), known.kind, &known.body) {
                    Some(copy) => {
                        self.coalesce(copy);
                        self.stats.coalesced += 1;
                        self.tell(Told::Received(from, copy));
                        self.discard(number);
                    }
                    None => {
                        self.give_back(number);
                        self.tell(Told::Received(from, number));
                        self.tell(Told::Queued(number, Origin::Peer));
                    }
                }
                Outcome::Taken
            }
            Verdict::Replace(message) => {
                self.discard(number);
                self.stats.received += 1;
                let (kind, body) = (message.kind(), message.body());
                let number = self.store(None, kind, body, Place::Waiting);
                self.known[number].is_own = true;
                self.tell(Told::Queued(number, Origin::Local));
                Outcome::Taken
            }
            Verdict::Swallow => {
                self.discard(number);
                self.stats.swallowed += 1;
                Outcome::Taken
            }
            Verdict::Reject => {
                self.discard(number);
                self.stats.refused += 1;
                Outcome::Refused(RefusedReason::Screened)
            }
        };
        let now = self.now;
        let mut incoming = self.link_mut(link).unwrap().undecided.iter_mut();
        let incoming = incoming.find(|incoming| incoming.offer == Some(number)).unwrap();
        incoming.outcome = Some(outcome);
        let transfer = incoming.transfer;
        if outcome == Outcome::Taken {
            self.taken_from(link, transfer);
        }
        let link = self.link_mut(link).unwrap();
        while let Some(outcome) = link.undecided.front().and_then(|incoming| incoming.outcome) {
            let Undecided { transfer, len, .. } = link.undecided.pop_front().unwrap();
            link.answer(transfer, outcome, len);
        }
        link.used = now;
    }

    /// Decides on what nobody decided on in time.
    pub(super) fn end_late_offers(&mut self) {
        let Screening::On { default, .. } = self.config.screening else { return };
        let verdict = match default {
            DefaultVerdict::Accept => Verdict::Accept,
            DefaultVerdict::Reject => Verdict::Reject,
        };
        let late = |until: Instant| until <= self.now;
        let is_late = |place: Place| matches!(place, Place::Offered { until, .. } if late(until));
        let due = self.messages.iter().filter(|message| is_late(message.place));
        let due: alloc::vec::Vec<_> = due.map(|message| message.number).collect();
        for number in due {
            self.decide(number, &verdict);
        }
    }

    pub(super) fn is_alive(&self, key: Key) -> bool {
        self.status(key) == Some(Status::Alive)
    }
}
