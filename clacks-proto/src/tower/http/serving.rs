//! Requests that come in, and what they are answered.

use crate::address::Address;
use crate::event::{CloseMode, Dialect};
use crate::http::{self, KeepAlive, Payload, Request, RequestEvent, StatusCode};
use crate::ids::{LinkId, PeerId};
use crate::link::{Link, Outcome, State};
use crate::message::Nonce;
use crate::reason::CloseReason;
use crate::tower::Tower;
use crate::tower::links::Unanswered;
use crate::tower::standing::Source;
use crate::wire::{Attempt, Farewell, MessageFrame, RefusedReason};

impl Tower {
    pub(super) fn on_requests(&mut self, id: LinkId, mut input: &[u8]) {
        let now = self.now;
        // What is heard changes the link, so the reader leaves it for the while.
        let Some(serving) = self.links.live_mut(id).and_then(Link::serving) else { return };
        let mut reader = core::mem::take(&mut serving.reader);
        while let Some(event) = reader.read(&mut input) {
            self.open_if_greeting(id);
            let Some(serving) = self.links.live_mut(id).and_then(Link::serving) else { return };
            match event {
                RequestEvent::ContinueExpected => {
                    serving.continue_due = true;
                    self.request_send(id);
                }
                RequestEvent::Request(request) => {
                    (serving.began, serving.short_since) = (None, None);
                    // Who has sent the body no longer waits for a word.
                    serving.continue_due = false;
                    serving.closes = request.closes;
                    self.on_request(id, request);
                }
                RequestEvent::Failure(status) => {
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
        if self.state_of(id) == Some(State::Greeting) {
            self.links.set_state(id, State::Open, self.now);
        }
    }

    /// Closes a link on which no more requests are read, once the last one is decided.
    pub(in crate::tower) fn end_if_served(&mut self, id: LinkId) {
        let Some(link) = self.links.live_mut(id) else { return };
        let is_served = link.undecided.is_empty();
        if link.serving().is_some_and(|serving| serving.closes) && is_served {
            let why = CloseReason::Goodbye(Farewell::Idle);
            self.end(id, why, Unanswered::NotTaken, Some(CloseMode::Flush));
        }
    }

    /// A request took too long.
    pub(in crate::tower) fn on_late_request(&mut self, id: LinkId) {
        if let Some(serving) = self.links.live_mut(id).and_then(Link::serving) {
            let is_short = serving.short_since.is_some();
            serving.failure =
                Some(if is_short { StatusCode::BadRequest } else { StatusCode::RequestTimeout });
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
                serving.failure = Some(StatusCode::ServiceUnavailable);
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

    /// Writes the next answer into the link's outbox, if there is one.
    pub(super) fn write_answer(&mut self, id: LinkId) -> bool {
        // Half of what the link is kept for, so that no request crosses with our close.
        let seconds = (self.config.timeouts.idle / 2).as_secs();
        let Some(link) = self.links.get_mut(id) else { return false };
        let is_open = link.state == State::Open && seconds > 0;
        let answer = link.pop_answer();
        let is_last = link.unanswered == 0;
        let Some(serving) = link.serving() else { return false };
        let is_last = is_last && serving.failure.is_none();
        if let Some(answer) = answer {
            let status = match answer.outcome {
                Outcome::Taken => StatusCode::Ok,
                Outcome::Malformed => StatusCode::BadRequest,
                Outcome::Refused(RefusedReason::Ignored) => StatusCode::Forbidden,
                Outcome::Refused(RefusedReason::TooLarge) => StatusCode::ContentTooLarge,
                Outcome::Refused(RefusedReason::Busy | RefusedReason::Screened) => {
                    StatusCode::ServiceUnavailable
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

/// What the sender of a request says it is.
#[derive(Clone, Copy, Debug)]
enum Claim {
    /// Nobody whom we knew and could believe it.
    Nobody,
    Known(PeerId),
    Ignored,
}
