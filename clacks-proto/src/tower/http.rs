//! Links that speak HTTP: which they are, requests that come in, requests that go out, and who takes what.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use bytes::BufMut;
use core::time::Duration;

use super::Tower;
use super::links::Unanswered;
use super::send::REDRAWS;
use super::standing::Source;
use crate::address::Address;
use crate::config::{Config, Window};
use crate::event::{CloseMode, Dialect, Notice, Status as PeerStatus};
use crate::http::{self, Heard, KeepAlive, Payload, Request, Response, Status};
use crate::ids::{Fingerprint, LinkId, MessageKey, PeerId};
use crate::link::{Asking, Cargo, Direction, Link, Outcome, State as LinkState, Talk, Transfer};
use crate::message::Nonce;
use crate::reason::{CloseReason, TlsFailure};
use crate::time::Instant;
use crate::wire::{Attempt, Farewell, MessageFrame, RefusedReason, WireError};

/// The most links to one peer that speaks HTTP: each has one message unconfirmed.
const LINKS_TO_ONE: usize = 4;
/// How many messages that peers would not take are remembered.
const MAX_REJECTED: usize = 64;
/// For how long a peer does not get a message again that it would not take.
const REJECTED_FOR: Duration = Duration::from_secs(60);
/// One message at a time, of any length.
const ONE: Window = Window { messages: 1, bytes: u32::MAX };

/// What a tower that speaks HTTP knows more than others.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Which messages which peers would not take, the oldest first. So that one that nobody understands can't keep them busy.
    rejected: VecDeque<(PeerId, MessageKey, Instant)>,
}

impl State {
    pub(super) fn new(config: &Config) -> Option<Box<Self>> {
        config.may_speak_http().then(Box::default)
    }

    fn reject(&mut self, peer: PeerId, key: MessageKey, now: Instant) {
        if self.rejected.len() == MAX_REJECTED {
            self.rejected.pop_front();
        }
        self.rejected.push_back((peer, key, now + REJECTED_FOR));
    }

    fn has_rejected(&self, peer: PeerId, key: MessageKey, now: Instant) -> bool {
        self.rejected.iter().any(|rejected| {
            let (by, what, until) = *rejected;
            (by, what) == (peer, key) && until > now
        })
    }
}

/// Which links speak HTTP.
impl Tower {
    /// Speaks the native dialect alone from now on. Only before there are links.
    #[cfg_attr(not(feature = "tls"), allow(dead_code, reason = "private networks are TLS's"))]
    pub(crate) fn refuse_http(&mut self) {
        self.http = None;
    }

    /// Whether HTTP is spoken with those who speak nothing else.
    #[cfg_attr(not(feature = "tls"), allow(dead_code, reason = "TLS offers it"))]
    pub(crate) fn offers_http(&self) -> bool {
        self.http.is_some()
    }

    pub(super) fn is_http(&self, id: LinkId) -> bool {
        self.links.get(id).is_some_and(|link| link.talk.is_some())
    }

    pub(super) fn speaks_http(&self, peer: PeerId) -> bool {
        self.peers.get(peer).is_some_and(|peer| peer.dialect == Some(Dialect::Http))
    }

    /// A link that stands begins without our hello: when the caller's first byte tells what to say, or when we know it.
    pub(super) fn greets_otherwise(&mut self, id: LinkId) -> bool {
        if self.http.is_none() {
            return false;
        }
        // With TLS the handshake tells.
        let is_clear = self.identity.is_none();
        let handshake = self.now + self.config.timeouts.handshake;
        let Some(link) = self.links.get_mut(id) else { return false };
        let peer = link.peer;
        match link.direction {
            Direction::Inbound => {
                link.hello_due = false;
                link.talk = Some(Box::new(Talk::Undecided));
                self.link_deadlines.set(id.index, handshake);
                true
            }
            Direction::Outbound => {
                let is_known = is_clear && peer.is_some_and(|peer| self.speaks_http(peer));
                if is_known {
                    self.ask(id);
                }
                is_known
            }
        }
    }

    /// Takes in that TLS has not agreed on the native dialect, and the key that was proved, if one was.
    #[cfg_attr(not(feature = "tls"), allow(dead_code, reason = "only TLS agrees on dialects"))]
    pub(crate) fn meet_without_native(&mut self, id: LinkId, identity: Option<Fingerprint>) {
        let Some(link) = self.links.live_mut(id) else { return };
        if let Some(identity) = identity {
            link.set_identity(identity);
        }
        let dialled = link.peer.filter(|_| link.direction == Direction::Outbound);
        if identity.is_some() && self.identity() == identity {
            self.on_own_address(id);
        } else if let Some(peer) = dialled {
            if self.peers.pin(peer).is_none_or(|pin| Some(pin) == identity) {
                self.ask(id);
            } else {
                if let Some(identity) = identity {
                    self.peers.set_other_key(peer, identity);
                }
                self.notify(Notice::KeyChanged { peer });
                self.end(id, CloseReason::KeyChanged, Unanswered::NotTaken, Some(CloseMode::Flush));
            }
        }
        self.advance();
    }

    /// A dialled link speaks HTTP: it is open, and whatever waits may go out, one at a time.
    fn ask(&mut self, id: LinkId) {
        let Some(link) = self.links.live_mut(id) else { return };
        link.hello_due = false;
        link.granted = ONE;
        link.talk = Some(Box::new(Talk::Asking(Asking::default())));
        let peer = link.peer;
        self.links.set_state(id, LinkState::Open, self.now);
        if let Some(link) = self.links.get_mut(id) {
            link.used = self.now;
        }
        if let Some(peer) = peer {
            self.peers.change(peer, |peer| {
                peer.dialect = Some(Dialect::Http);
                peer.link = peer.link.or(Some(id));
            });
            self.return_unsuitable(id, peer);
            self.announce_if_due(id, peer);
            self.refresh_window(peer);
        }
        self.reset_link_deadline(id);
        self.request_send(id);
    }

    /// Bytes on a link that is not known to be native.
    pub(super) fn on_other_bytes(&mut self, id: LinkId, bytes: &[u8]) {
        if self.turns_native(id, bytes) {
            return self.on_bytes(id, bytes);
        }
        match self.links.live(id).and_then(|link| link.talk.as_deref()) {
            Some(Talk::Serving(_)) => self.on_requests(id, bytes),
            Some(Talk::Asking(_)) => self.on_responses(id, bytes),
            _ => {}
        }
    }

    /// The other side says no more. Between two requests that is as good as a goodbye.
    pub(super) fn on_http_finished(&mut self, id: LinkId) {
        let Some(link) = self.links.live_mut(id) else { return };
        let is_cut = link.is_mid_request();
        let (is_quiet, is_open) = (link.transfers.is_empty(), link.state == LinkState::Open);
        if let Some(serving) = link.serving().filter(|_| is_cut) {
            serving.failure = Some(Status::BadRequest);
        }
        let why = if is_cut || !is_quiet || !is_open {
            CloseReason::Truncated
        } else {
            CloseReason::Goodbye(Farewell::Idle)
        };
        self.end(id, why, Unanswered::InDoubt, Some(CloseMode::Flush));
    }

    /// Whether a link on which nothing was said turns out to be native, by its first byte: that is never ASCII.
    fn turns_native(&mut self, id: LinkId, bytes: &[u8]) -> bool {
        let needs_identity = self.identity.is_some();
        let max_message = self.config.max_message;
        let Some(link) = self.links.get_mut(id) else { return false };
        let (Some(Talk::Undecided), Some(first)) = (link.talk.as_deref(), bytes.first()) else {
            return false;
        };
        if first.is_ascii() {
            link.talk = Some(Box::new(Talk::serving(max_message)));
            return false;
        }
        link.talk = None;
        if needs_identity && link.identity().is_none() {
            let why = CloseReason::Tls(TlsFailure::Certificate);
            self.end(id, why, Unanswered::NotTaken, Some(CloseMode::Flush));
        } else {
            link.hello_due = true;
            self.request_send(id);
        }
        true
    }

    /// In clear text, a dialled peer that answers our hello in HTTP is called again in HTTP.
    pub(super) fn redials_in_http(&mut self, id: LinkId, error: WireError) -> bool {
        if self.http.is_none() || self.identity.is_some() || error != WireError::Kind(b'H') {
            return false;
        }
        let Some(link) = self.links.live_mut(id).filter(|link| link.is_dialling()) else {
            return false;
        };
        let Some(peer) = link.peer.take() else { return false };
        let transfers = link.transfers.take_unsent();
        self.end(id, CloseReason::BadHttp, Unanswered::NotTaken, Some(CloseMode::Abort));
        self.peers.change(peer, |peer| {
            peer.dialect = Some(Dialect::Http);
            peer.link = peer.link.filter(|link| *link != id);
        });
        let again = self.link_for_doubts(peer);
        for transfer in transfers {
            match again.and_then(|again| self.links.get_mut(again)) {
                Some(link) => link.transfers.push(transfer),
                None => self.take_back(Some(peer), transfer, false),
            }
        }
        self.refresh_window(peer);
        true
    }
}

/// Requests that come in.
impl Tower {
    fn on_requests(&mut self, id: LinkId, mut input: &[u8]) {
        let now = self.now;
        // What is heard changes the link, so the reader leaves it for the while.
        let Some(serving) = self.links.live_mut(id).and_then(Link::serving) else { return };
        let mut reader = core::mem::take(&mut serving.reader);
        while let Some(heard) = reader.read(&mut input) {
            self.open_if_greeting(id);
            let Some(serving) = self.links.live_mut(id).and_then(Link::serving) else { return };
            match heard {
                Heard::Expectation => {
                    serving.continue_due = true;
                    self.request_send(id);
                }
                Heard::Request(request) => {
                    (serving.began, serving.short_since) = (None, None);
                    // Who has sent the body no longer waits for a word.
                    serving.continue_due = false;
                    serving.closes = request.closes;
                    self.on_request(id, request);
                }
                Heard::Failure(status) => {
                    serving.failure = Some(status);
                    let flush = Some(CloseMode::Flush);
                    return self.end(id, CloseReason::BadHttp, Unanswered::InDoubt, flush);
                }
            }
        }
        if reader.is_mid_body() {
            self.open_if_greeting(id);
        }
        let Some(serving) = self.links.live_mut(id).and_then(Link::serving) else { return };
        if reader.is_mid_request() {
            serving.began.get_or_insert(now);
        }
        if reader.is_short() {
            serving.short_since.get_or_insert(now);
        }
        serving.reader = reader;
        self.reset_link_deadline(id);
        self.end_if_served(id);
    }

    /// A caller that has sent a whole head is no longer half open.
    fn open_if_greeting(&mut self, id: LinkId) {
        if self.state_of(id) == Some(LinkState::Greeting) {
            self.links.set_state(id, LinkState::Open, self.now);
        }
    }

    /// Closes a link on which no more requests are read, once the last one is decided.
    pub(super) fn end_if_served(&mut self, id: LinkId) {
        let Some(link) = self.links.live_mut(id) else { return };
        let is_served = link.undecided.is_empty();
        if link.serving().is_some_and(|serving| serving.closes) && is_served {
            let why = CloseReason::Goodbye(Farewell::Idle);
            self.end(id, why, Unanswered::NotTaken, Some(CloseMode::Flush));
        }
    }

    /// A request took too long.
    pub(super) fn on_late_request(&mut self, id: LinkId) {
        if let Some(serving) = self.links.live_mut(id).and_then(Link::serving) {
            let is_short = serving.short_since.is_some();
            serving.failure =
                Some(if is_short { Status::BadRequest } else { Status::RequestTimeout });
            let flush = Some(CloseMode::Flush);
            self.end(id, CloseReason::RequestTimeout, Unanswered::InDoubt, flush);
        }
    }

    fn on_request(&mut self, id: LinkId, request: Request) {
        let payload = request.body.map(|body| Payload::parse(&body));
        let message = match &payload {
            Ok(Some(Payload { message, .. })) => message.as_ref(),
            _ => None,
        };
        let len = message.map_or(0, |message| message.body().len());
        if !self.open_transfer(id, len) {
            // So many at a time that no more answers are kept for it.
            if let Some(serving) = self.links.live_mut(id).and_then(Link::serving) {
                serving.failure = Some(Status::Unavailable);
            }
            return self.end(id, CloseReason::BadHttp, Unanswered::InDoubt, Some(CloseMode::Flush));
        }
        let outcome = match &payload {
            Err(_) => Some(Outcome::Refused(RefusedReason::TooLarge)),
            Ok(None) => Some(Outcome::Malformed),
            Ok(Some(_)) if len > self.config.max_message => {
                Some(Outcome::Refused(RefusedReason::TooLarge))
            }
            Ok(Some(payload)) => self.on_payload(id, payload),
        };
        self.settle(id, 0, len, outcome);
    }

    fn on_payload(&mut self, id: LinkId, payload: &Payload) -> Option<Outcome> {
        let claim = self.claim(id, payload.sender.as_ref());
        let refusal = match claim {
            Claim::Ignored => Some(RefusedReason::Ignored),
            _ => self.refusal(id),
        };
        let outcome = match (refusal, &payload.message) {
            (Some(reason), message) => {
                self.stats.refused += u64::from(message.is_some());
                Some(Outcome::Refused(reason))
            }
            (None, None) => Some(Outcome::Taken),
            (None, Some(message)) => {
                let nonce = Nonce(self.nonce_stream.nonce(self.selector.seed()));
                let (kind, body) = (message.kind(), message.body());
                let attempt = Attempt::First;
                let frame = MessageFrame { transfer: 0, attempt, nonce, kind, friend: None, body };
                self.take_in(id, &frame)
            }
        };
        if outcome.is_none_or(|outcome| outcome == Outcome::Taken) {
            self.learn_friend(payload.friend.as_ref());
            if let Claim::Known(peer) = claim {
                self.on_success(peer);
            }
        }
        outcome
    }

    /// Who a request says it comes from. Nothing proves it, so it changes nothing about an address whose key we know.
    fn claim(&mut self, id: LinkId, sender: Option<&Address>) -> Claim {
        let known = sender.and_then(|sender| self.peers.find(sender));
        let (peer, claim) = match (known, sender) {
            (Some(peer), _) if self.peers.is_ignored(peer) => (None, Claim::Ignored),
            (Some(peer), _) if self.peers.pin(peer).is_some() => {
                self.stats.claims_disproved += 1;
                (None, Claim::Nobody)
            }
            (Some(peer), _) => (Some(peer), Claim::Known(peer)),
            (None, Some(sender)) => (self.learn(sender, Source::Stranger), Claim::Nobody),
            (None, None) => (None, Claim::Nobody),
        };
        if let Some(peer) = peer {
            self.peers.change(peer, |peer| {
                peer.dialect = peer.dialect.or(Some(Dialect::Http));
            });
        }
        if let Some(link) = self.links.get_mut(id) {
            link.peer = peer;
        }
        claim
    }
}

/// What the sender of a request says it is.
#[derive(Clone, Copy, Debug)]
enum Claim {
    /// Nobody whom we knew and could believe it.
    Nobody,
    Known(PeerId),
    Ignored,
}

/// Requests that go out.
impl Tower {
    fn on_responses(&mut self, id: LinkId, mut input: &[u8]) {
        while !input.is_empty() {
            let Some(asking) = self.links.live_mut(id).and_then(Link::asking) else { return };
            let begins_native = !asking.reader.is_mid_response()
                && input.first().is_some_and(|byte| !byte.is_ascii());
            match asking.reader.read(&mut input) {
                Ok(Some(response)) => self.on_response(id, response),
                Ok(None) => {}
                Err(_) => {
                    self.learn_native(id, begins_native);
                    return self.misbehaved(id, CloseReason::BadHttp);
                }
            }
        }
    }

    /// In clear text, a peer that answers a request with what may be a hello is greeted with one the next time. With TLS the handshake tells.
    fn learn_native(&mut self, id: LinkId, begins_native: bool) {
        let peer = self.links.get(id).and_then(|link| link.peer);
        if let Some(peer) = peer.filter(|_| begins_native && self.identity.is_none()) {
            self.peers.change(peer, |peer| peer.dialect = Some(Dialect::Native));
        }
    }

    fn on_response(&mut self, id: LinkId, response: Response) {
        let Some(link) = self.links.live_mut(id) else { return };
        let (Some(peer), Some(transfer)) = (link.peer, link.transfers.pop_sent()) else {
            return self.misbehaved(id, CloseReason::BadHttp);
        };
        if let Some(asking) = link.asking() {
            // Not to the very end: a request must not cross with the close.
            let seconds = response.keep_alive.map(|seconds| seconds.saturating_sub(1));
            asking.keep_alive = seconds.map(Duration::from_secs);
        }
        self.on_status(peer, transfer, response.status);
        let Some(link) = self.links.live(id) else { return };
        match link.state {
            LinkState::Parting(why) => {
                self.end(id, why, Unanswered::NotTaken, Some(CloseMode::Flush));
            }
            _ if response.closes => {
                let why = CloseReason::Goodbye(Farewell::Idle);
                self.end(id, why, Unanswered::NotTaken, Some(CloseMode::Flush));
            }
            _ => {
                self.peers.change(peer, |peer| peer.link = Some(id));
                self.reset_link_deadline(id);
                self.request_send_if_wanted(id);
            }
        }
        self.refresh_window(peer);
    }

    fn on_status(&mut self, peer: PeerId, transfer: Transfer, status: u16) {
        // What a peer finds too long or does not understand it will not take a moment later either.
        if !matches!(status, 200 | 403 | 503)
            && let (Some(http), Some(key)) = (&mut self.http, transfer.message())
        {
            http.reject(peer, key, self.now);
        }
        match status {
            200 => self.on_confirmed(peer, transfer),
            403 => self.on_refused(peer, transfer, RefusedReason::Ignored),
            413 | 503 => self.on_refused(peer, transfer, RefusedReason::Busy),
            _ => {
                self.stats.refused_by_peers += 1;
                self.on_failure(peer);
                self.take_back(Some(peer), transfer, false);
            }
        }
    }

    /// A link ends. If the head of a response was there, what it says of the message stands, whatever became of the rest.
    pub(super) fn conclude(&mut self, id: LinkId) {
        let Some(link) = self.links.live_mut(id) else { return };
        let Some(status) = link.asking().and_then(|asking| asking.reader.status()) else { return };
        if let (Some(peer), Some(transfer)) = (link.peer, link.transfers.pop_sent()) {
            self.on_status(peer, transfer, status);
        }
    }

    /// Gives the driver what a link has to send. The head of one of our requests comes by itself.
    pub(super) fn transmit_http(&mut self, id: LinkId, out: &mut impl BufMut) -> usize {
        let mut written = 0;
        loop {
            let Some(link) = self.links.get_mut(id) else { return written };
            link.farewell_due = None;
            let is_asking = link.asking().is_some();
            let outbox = match link.talk.as_deref_mut() {
                Some(Talk::Serving(serving)) => serving.out(),
                Some(Talk::Asking(asking)) => asking.out(),
                _ => return 0,
            };
            if !outbox.is_empty() {
                written += outbox.flush(out);
                link.used = self.now;
                if is_asking {
                    return written;
                }
            }
            if !out.has_remaining_mut() {
                return written;
            }
            let has_more = if is_asking { self.write_request(id) } else { self.write_answer(id) };
            if !has_more {
                return written;
            }
        }
    }

    /// Writes the next request into the link's outbox, if there is one.
    fn write_request(&mut self, id: LinkId) -> bool {
        let Some(link) = self.links.get_mut(id).filter(|link| link.may_send()) else {
            return false;
        };
        let Some(transfer) = link.transfers.send_next(self.now) else { return false };
        let Some(to) = link.peer.and_then(|peer| self.peers.get(peer)) else { return false };
        let friend = transfer.friend.and_then(|friend| self.peers.get(friend));
        let friend = friend.filter(|friend| friend.status == PeerStatus::Alive);
        let friend = friend.map(|friend| &friend.address).filter(|friend| **friend != to.address);
        let outgoing = match transfer.cargo {
            Cargo::Announce => http::Outgoing::Announce,
            Cargo::Message { key, .. } => {
                let Some((_, kind, body)) = self.queue.get(key) else { return false };
                http::Outgoing::Message(kind, body)
            }
        };
        let mut body = Vec::new();
        http::write_payload(outgoing, &self.address, friend, &mut body);
        let Some(asking) = link.asking() else { return false };
        let outbox = asking.out();
        http::write_head(&to.address, body.len(), outbox.bytes());
        let head = outbox.bytes().len();
        outbox.bytes().extend_from_slice(&body);
        outbox.set_head(head);
        true
    }

    /// Writes the next answer into the link's outbox, if there is one.
    fn write_answer(&mut self, id: LinkId) -> bool {
        // Half of what the link is kept for, so that no request crosses with our close.
        let seconds = (self.config.timeouts.idle / 2).as_secs();
        let Some(link) = self.links.get_mut(id) else { return false };
        let is_open = link.state == LinkState::Open && seconds > 0;
        let answer = link.pop_answer();
        let is_last = link.unanswered == 0;
        let Some(serving) = link.serving() else { return false };
        let is_last = is_last && serving.failure.is_none();
        if let Some(answer) = answer {
            let status = match answer.outcome {
                Outcome::Taken => Status::Ok,
                Outcome::Malformed => Status::BadRequest,
                Outcome::Refused(RefusedReason::Ignored) => Status::Forbidden,
                Outcome::Refused(RefusedReason::TooLarge) => Status::PayloadTooLarge,
                Outcome::Refused(RefusedReason::Busy | RefusedReason::Screened) => {
                    Status::Unavailable
                }
            };
            for left in (0..answer.count).rev() {
                let ends = !is_open && is_last && left == 0;
                let keep = if ends { KeepAlive::Close } else { KeepAlive::Seconds(seconds) };
                http::write_response(status, keep, serving.out().bytes());
            }
            true
        } else if let Some(status) = serving.failure.take() {
            http::write_response(status, KeepAlive::Close, serving.out().bytes());
            true
        } else if core::mem::take(&mut serving.continue_due) && is_open {
            http::write_continue(serving.out().bytes());
            true
        } else {
            false
        }
    }
}

/// Who takes what.
impl Tower {
    /// Whether a peer may get a message: not when it speaks HTTP and would garble it, or has lately refused to understand it.
    fn is_suitable(&self, peer: PeerId, key: MessageKey) -> bool {
        let (Some(state), true) = (&self.http, self.speaks_http(peer)) else { return true };
        let fits = self
            .queue
            .get(key)
            .is_some_and(|(_, kind, body)| http::suits(kind, body, &self.address));
        fits && !state.has_rejected(peer, key, self.now)
    }

    /// A peer that may get a message: the one drawn first, or another one. One that is not proved yet is tried without a message, else a
    /// new one would come first for ever.
    pub(super) fn draw_suitable(&mut self, first: PeerId, key: MessageKey) -> Option<PeerId> {
        if self.http.is_none() {
            return Some(first);
        }
        let mut peer = first;
        for _ in 0..REDRAWS {
            if self.is_suitable(peer, key) {
                return Some(peer);
            }
            if !self.peers.is_alive(peer) {
                self.assign(peer, Cargo::Announce);
            }
            peer = self.draw()?;
        }
        self.is_suitable(peer, key).then_some(peer)
    }

    /// Takes back what was meant for a link before it was known to speak HTTP, and would be garbled there.
    fn return_unsuitable(&mut self, id: LinkId, peer: PeerId) {
        let Some(link) = self.links.get_mut(id) else { return };
        for transfer in link.transfers.take_unsent() {
            let fits = transfer.message().is_none_or(|key| self.is_suitable(peer, key));
            match self.links.get_mut(id).filter(|_| fits) {
                Some(link) => link.transfers.push(transfer),
                None => self.take_back(Some(peer), transfer, transfer.attempt == Attempt::Retry),
            }
        }
    }

    /// Before it is known otherwise, a link to a peer that spoke HTTP gets one message.
    pub(super) fn narrow_window(&mut self, id: LinkId, peer: PeerId) {
        if self.speaks_http(peer)
            && let Some(link) = self.links.get_mut(id)
        {
            link.granted = ONE;
        }
    }

    /// A link to a peer that speaks HTTP which has nothing unconfirmed; a new one as long as there are not too many.
    pub(super) fn http_link_to(&mut self, peer: PeerId) -> Option<LinkId> {
        let standing = self.peers.get(peer)?.link;
        let standing = standing.filter(|link| self.links.live(*link).is_some());
        if let Some(id) = standing
            && self.links.get(id).is_some_and(|link| !link.is_full())
        {
            return Some(id);
        }
        let (count, vacant) = self.links_of(peer);
        if let Some(id) = vacant {
            self.peers.change(peer, |peer| peer.link = Some(id));
            return Some(id);
        }
        let more = if count < LINKS_TO_ONE { self.dial(peer) } else { None };
        more.or(standing)
    }

    /// Whether a peer whose present link is full has another one, or may get one.
    pub(super) fn has_other_links(&self, peer: PeerId) -> bool {
        self.speaks_http(peer) && {
            let (count, vacant) = self.links_of(peer);
            vacant.is_some() || count < LINKS_TO_ONE && self.links.free() > 0
        }
    }

    /// Whether a link to a peer that speaks HTTP has all that it may have. Messages that wait on it could be handed to somebody else meanwhile.
    pub(super) fn is_taken_up(&self, id: LinkId, peer: PeerId) -> bool {
        self.speaks_http(peer) && self.links.get(id).is_some_and(Link::is_full)
    }

    /// How many dialled links a peer has, and one of them that is not full. A walk over all links: there are a few hundred, and it happens only where
    /// HTTP is spoken faster than it is answered.
    fn links_of(&self, peer: PeerId) -> (usize, Option<LinkId>) {
        let is_its = |link: &Link| {
            let is_in_use = !matches!(link.state, LinkState::Closing | LinkState::Parting(_));
            link.peer == Some(peer) && link.direction == Direction::Outbound && is_in_use
        };
        let mut all = self.links.iter().filter(|(_, link)| is_its(link));
        let mut count = 0;
        let vacant = all.by_ref().inspect(|_| count += 1).find(|(_, link)| !link.is_full());
        let vacant = vacant.map(|(id, _)| id);
        (count + all.count(), vacant)
    }
}
