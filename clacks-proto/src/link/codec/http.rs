//! A link that speaks HTTP: requests and responses to frames and back.
//!
//! The first byte of an inbound connection shows whether the caller speaks HTTP. On such a link the
//! caller sends requests and this tower sends responses. On a dialled link this tower sends
//! requests and the peer sends responses.

use alloc::vec::Vec;
use bytes::BufMut;
use core::time::Duration;

use crate::address::Address;
use crate::error::CloseReason;
use crate::event::{CloseMode, Dialect};
use crate::http::{
    KeepAlive, Payload, Request, RequestEvent, RequestReader, Response, ResponseReader, StatusCode,
    write_continue, write_payload, write_request_head, write_response,
};
use crate::ids::LinkId;
use crate::link::timer::LinkTimer;
use crate::link::window::{Answer, Outcome};
use crate::link::{
    Content, Direction, Doubt, LinkEvent, Local, Payload as Carried, Router, Sender, Session, State,
};
use crate::message::{Lifetime, Message, Nonce};
use crate::time::Instant;
use crate::wire::{AnnounceFrame, Farewell, MessageFrame, RefusedReason};

/// How long to wait for the rest of a body that is longer than its head says. The sender sends both
/// parts together.
const REST_OF_BODY: Duration = Duration::from_secs(1);

/// How long an unused link to a server stays open. Node closes it after five seconds, and a request
/// that crosses with the close is lost.
const MAX_IDLE: Duration = Duration::from_secs(4);

/// The codec of a link that may not speak the native dialect.
#[derive(Debug)]
pub(in crate::link) enum HttpCodec {
    /// The caller has not sent the byte that shows its dialect.
    Undecided,
    Server(Server),
    Client(Client),
}

/// Requests that come in.
#[derive(Debug)]
pub(in crate::link) struct Server {
    reader: RequestReader,
    out: Outbox,
    /// The sender of a request waits for `100 Continue` before it sends the body.
    continue_due: bool,
    /// The last response, after all answers.
    failure: Option<StatusCode>,
    /// When the incomplete request began.
    began: Option<Instant>,
    /// Since when the rest of a body that is longer than its head says is awaited.
    short_since: Option<Instant>,
}

/// Requests that go out.
#[derive(Debug, Default)]
pub(in crate::link) struct Client {
    reader: ResponseReader,
    out: Outbox,
}

impl HttpCodec {
    /// Returns the codec for a connection on which the native dialect is not certain.
    pub(super) fn for_connection(session: &mut Session, local: &Local) -> Option<Self> {
        match session.direction {
            _ if !local.speaks_http => None,
            Direction::Inbound => Some(Self::Undecided),
            // With TLS the handshake agrees on the dialect.
            Direction::Outbound if local.identity.is_some() => None,
            Direction::Outbound if session.dialect == Dialect::Http => Some(Self::client(session)),
            Direction::Outbound => None,
        }
    }

    /// Returns the codec of a dialled link whose other side speaks HTTP.
    pub(super) fn client(session: &mut Session) -> Self {
        session.dialect = Dialect::Http;
        session.outgoing.granted = super::window(Dialect::Http, session.outgoing.granted);
        session.outgoing.hello_due = false;
        session.idle = session.idle.min(MAX_IDLE);
        Self::Client(Client::default())
    }

    pub(super) fn is_client(&self) -> bool {
        matches!(self, Self::Client(_))
    }

    /// Returns whether the first byte of a caller belongs to the native dialect, whose frames never
    /// begin with ASCII.
    pub(super) fn turns_native(&mut self, input: &[u8]) -> bool {
        matches!(self, Self::Undecided) && input.first().is_some_and(|byte| !byte.is_ascii())
    }

    pub(super) fn handle_bytes(
        &mut self,
        input: &[u8],
        id: LinkId,
        session: &mut Session,
        router: &mut impl Router,
    ) {
        if matches!(self, Self::Undecided) && !input.is_empty() {
            session.dialect = Dialect::Http;
            *self = Self::Server(Server::new(router.local().config.max_message));
        }
        match self {
            Self::Undecided => {}
            Self::Server(server) => server.handle_bytes(input, id, session, router),
            Self::Client(client) => client.handle_bytes(input, id, session, router),
        }
        self.note_output(session);
    }

    /// Writes what fits. The head of a request and its body are never written together: each is a
    /// TLS record of its own.
    pub(super) fn transmit(
        &mut self,
        session: &mut Session,
        out: &mut impl BufMut,
        local: &Local,
        content: &mut impl Content,
        now: Instant,
    ) {
        // HTTP has no goodbye.
        session.outgoing.goodbye_due = None;
        match self {
            Self::Undecided => {}
            Self::Server(server) => {
                server.out.flush(out);
                while out.has_remaining_mut() && server.write_response(session, local) {
                    server.out.flush(out);
                }
            }
            Self::Client(client) => {
                if client.out.is_empty() {
                    client.write_request(session, local, content, now);
                }
                client.out.flush(out);
            }
        }
        self.note_output(session);
    }

    /// Handles the end of the stream. Between two requests that is a goodbye.
    pub(super) fn handle_finished(&mut self, session: &mut Session) -> CloseReason {
        let mut is_cut = false;
        if let Self::Server(server) = self
            && server.began.is_some()
        {
            is_cut = true;
            server.failure = Some(StatusCode::BadRequest);
        }
        self.note_output(session);
        if is_cut || session.is_busy() || !session.is_open() {
            CloseReason::Truncated
        } else {
            CloseReason::Goodbye(Farewell::Idle)
        }
    }

    /// Handles the time-out of a request, or of a handshake that turned out to be a request.
    pub(super) fn handle_request_timeout(
        &mut self,
        session: &mut Session,
        local: &Local,
        now: Instant,
    ) -> Option<LinkEvent<'static>> {
        let Self::Server(server) = self else { return None };
        server.began?;
        let is_short = server.short_since.is_some();
        let status = if is_short { StatusCode::BadRequest } else { StatusCode::RequestTimeout };
        server.failure = Some(status);
        self.note_output(session);
        let flush = Some(CloseMode::Flush);
        Some(session.close(CloseReason::RequestTimeout, Doubt::InDoubt, flush, local, now))
    }

    /// Notes whether there are bytes to send of which the session does not know.
    fn note_output(&self, session: &mut Session) {
        session.has_output = match self {
            Self::Undecided => false,
            Self::Server(server) => {
                !server.out.is_empty() || server.failure.is_some() || server.continue_due
            }
            Self::Client(client) => !client.out.is_empty(),
        };
    }
}

impl Server {
    fn new(max_message: usize) -> Self {
        Self {
            reader: RequestReader::new(max_body(max_message)),
            out: Outbox::default(),
            continue_due: false,
            failure: None,
            began: None,
            short_since: None,
        }
    }

    fn handle_bytes(
        &mut self,
        mut input: &[u8],
        id: LinkId,
        session: &mut Session,
        router: &mut impl Router,
    ) {
        while session.reads()
            && let Some(event) = self.reader.read(&mut input)
        {
            Self::open(session, router);
            match event {
                RequestEvent::ContinueExpected => self.continue_due = true,
                RequestEvent::Request(request) => {
                    (self.began, self.short_since) = (None, None);
                    // A sender that has sent the body no longer waits for `100 Continue`.
                    self.continue_due = false;
                    session.closes_when_answered |= request.closes;
                    self.handle_request(request, id, session, router);
                }
                RequestEvent::Failure(status) => self.fail(status, id, session, router),
            }
            session.settle(id, router);
        }
        if !session.reads() {
            return;
        }
        let now = router.now();
        if self.reader.is_mid_body() {
            Self::open(session, router);
        }
        if self.reader.is_mid_request() {
            self.began.get_or_insert(now);
        }
        if self.reader.is_short() {
            self.short_since.get_or_insert(now);
        }
        let rest = self.short_since.map(|since| since + REST_OF_BODY);
        let confirm = router.local().config.timeouts.confirm;
        let deadline = rest.or_else(|| Some(self.began? + confirm));
        // Before that, the handshake has a deadline.
        if session.is_open() {
            session.timers.set(LinkTimer::Request, deadline.unwrap_or(Instant::FAR_FUTURE));
        }
    }

    /// A caller that has sent a whole head is no longer half open.
    fn open(session: &mut Session, router: &impl Router) {
        if session.state == State::Handshake {
            session.open(router.local(), router.now());
        }
    }

    /// Closes the link with a response after all answers.
    fn fail(
        &mut self,
        status: StatusCode,
        id: LinkId,
        session: &mut Session,
        router: &mut impl Router,
    ) {
        self.failure = Some(status);
        let flush = Some(CloseMode::Flush);
        let (local, now) = (router.local(), router.now());
        let event = session.close(CloseReason::BadHttp, Doubt::InDoubt, flush, local, now);
        router.on_link_event(id, session, event);
    }

    fn handle_request(
        &mut self,
        request: Request,
        id: LinkId,
        session: &mut Session,
        router: &mut impl Router,
    ) {
        let payload = request.body.map(|body| Payload::parse(&body));
        let message = match &payload {
            Ok(Some(payload)) => payload.message.as_ref(),
            _ => None,
        };
        let len = message.map_or(0, Message::len);
        let config = &router.local().config;
        if !session.incoming.open(len, config.window) {
            // The answers to requests that were sent without waiting are bounded.
            return self.fail(StatusCode::ServiceUnavailable, id, session, router);
        }
        let too_large = Outcome::Refused(RefusedReason::TooLarge);
        match &payload {
            Err(_) => session.answer(len, too_large),
            Ok(None) => {
                session.answer(len, Outcome::Invalid(StatusCode::BadRequest.as_u16()));
            }
            Ok(Some(_)) if len > config.max_message => session.answer(len, too_large),
            Ok(Some(Payload { message, sender, friend })) => {
                let (sender, friend) = (Sender::Claimed(sender.as_ref()), friend.clone());
                let Some(message) = message else {
                    let frame = AnnounceFrame { transfer: 0, friends: Vec::from_iter(friend) };
                    let event = LinkEvent::Announce(&frame, sender);
                    return router.on_link_event(id, session, event);
                };
                let frame = MessageFrame {
                    transfer: 0,
                    retry_of: None,
                    lifetime: Lifetime::UNLIMITED,
                    // The receiver draws a nonce.
                    nonce: Nonce(0),
                    kind: message.kind(),
                    friend,
                    body: message.body(),
                };
                router.on_link_event(id, session, LinkEvent::Message(&frame, sender));
            }
        }
    }

    /// Writes the next response, if there is one.
    fn write_response(&mut self, session: &mut Session, local: &Local) -> bool {
        // Half of the time for which the link is kept, so that no request crosses with the close.
        let seconds = (local.config.timeouts.idle / 2).as_secs();
        let is_open = session.is_open() && seconds > 0;
        let answer = session.incoming.pop_answer();
        let out = &mut self.out.bytes;
        if let Some(Answer { outcome, count, .. }) = answer {
            let is_last = session.incoming.is_answered() && self.failure.is_none();
            for left in (0..count).rev() {
                let closes = !is_open && is_last && left == 0;
                let keep_alive =
                    if closes { KeepAlive::Close } else { KeepAlive::Seconds(seconds) };
                write_response(status_of(outcome), keep_alive, out);
            }
            true
        } else if let Some(status) = self.failure.take() {
            write_response(status, KeepAlive::Close, out);
            true
        } else if core::mem::take(&mut self.continue_due) && is_open {
            write_continue(out);
            true
        } else {
            false
        }
    }
}

impl Client {
    fn handle_bytes(
        &mut self,
        mut input: &[u8],
        id: LinkId,
        session: &mut Session,
        router: &mut impl Router,
    ) {
        while session.reads() && !input.is_empty() {
            let is_native = !self.reader.is_mid_response()
                && input.first().is_some_and(|byte| !byte.is_ascii());
            let read = self.reader.read(&mut input);
            // The status in a complete head decides about the message, even if the body never
            // arrives.
            session.early_outcome = self.reader.status().map(outcome_of);
            match read {
                Ok(Some(response)) => handle_response(response, id, session, router),
                Ok(None) => {}
                Err(_) => {
                    let (local, now) = (router.local(), router.now());
                    let event = session.close_for_misbehaviour(CloseReason::BadHttp, local, now);
                    // In clear text, a peer that answers with what may be a hello gets one the next
                    // time.
                    let is_native = is_native && local.identity.is_none();
                    let event = if is_native { event.in_dialect(Dialect::Native) } else { event };
                    router.on_link_event(id, session, event);
                }
            }
        }
    }

    /// Writes the next request, if there is one.
    fn write_request(
        &mut self,
        session: &mut Session,
        local: &Local,
        content: &mut impl Content,
        now: Instant,
    ) {
        if !session.is_open() || !session.outgoing.may_send() {
            return;
        }
        let Some(transfer) = session.outgoing.send_next(now) else { return };
        let friend = content.friend();
        let message = match transfer.payload {
            Carried::Announce => None,
            Carried::Message { id, .. } => {
                let message = content.message(id).map(|held| held.message);
                debug_assert!(message.is_some(), "a message in flight is held");
                message
            }
        };
        let message = message.map(|message| (message.kind(), message.body()));
        let body = write_payload(message, &local.address, friend.as_ref());
        let to: &Address = content.recipient().unwrap_or(&local.address);
        write_request_head(to, body.len(), &mut self.out.bytes);
        self.out.head = self.out.bytes.len();
        self.out.bytes.extend_from_slice(&body);
    }
}

fn handle_response(
    response: Response,
    id: LinkId,
    session: &mut Session,
    router: &mut impl Router,
) {
    let now = router.now();
    let Some(transfer) = session.outgoing.pop_sent(now) else {
        let event = session.close_for_misbehaviour(CloseReason::BadHttp, router.local(), now);
        return router.on_link_event(id, session, event);
    };
    // Stop a little earlier than the server does: a request must not cross with the close.
    let kept = response.keep_alive.map(|seconds| Duration::from_secs(seconds.saturating_sub(1)));
    let idle = router.local().config.timeouts.idle;
    session.idle = kept.unwrap_or(idle).min(MAX_IDLE).min(idle);
    session.touch(now);
    let confirm = session.confirm_deadline(router.local()).unwrap_or(Instant::FAR_FUTURE);
    session.timers.set(LinkTimer::Confirm, confirm);
    let event = LinkEvent::Settled(transfer, outcome_of(response.status));
    router.on_link_event(id, session, event);
    session.settle(id, router);
    if response.closes && session.is_live() {
        let (reason, flush) = (CloseReason::Goodbye(Farewell::Idle), Some(CloseMode::Flush));
        let event = session.close(reason, Doubt::NotTaken, flush, router.local(), now);
        router.on_link_event(id, session, event);
    }
}

/// Returns the outcome of a transfer that was answered with a status.
fn outcome_of(status: u16) -> Outcome {
    match status {
        200 => Outcome::Taken,
        403 => Outcome::Refused(RefusedReason::Ignored),
        413 => Outcome::Refused(RefusedReason::TooLarge),
        503 => Outcome::Refused(RefusedReason::Busy),
        status => Outcome::Invalid(status),
    }
}

/// Returns the status of the response to a request.
fn status_of(outcome: Outcome) -> StatusCode {
    match outcome {
        Outcome::Taken => StatusCode::Ok,
        Outcome::Invalid(_) => StatusCode::BadRequest,
        Outcome::Refused(RefusedReason::Ignored) => StatusCode::Forbidden,
        Outcome::Refused(RefusedReason::TooLarge) => StatusCode::ContentTooLarge,
        Outcome::Refused(
            RefusedReason::Busy | RefusedReason::Screened | RefusedReason::OtherKey,
        ) => StatusCode::ServiceUnavailable,
    }
}

/// Returns the maximum length of a body that is kept: a message of the maximum length of which
/// every other character is escaped, and what is around it.
fn max_body(max_message: usize) -> usize {
    max_message.saturating_mul(2).saturating_add(4096)
}

/// Bytes on their way to the driver.
#[derive(Debug, Default)]
struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
    /// The length of a request's head, which is written by itself.
    head: usize,
}

impl Outbox {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Writes as much as fits, but not head and body together.
    fn flush(&mut self, out: &mut impl BufMut) {
        let end = if self.sent < self.head { self.head } else { self.bytes.len() };
        let rest = self.bytes.get(self.sent..end).unwrap_or_default();
        let part = rest.get(..rest.len().min(out.remaining_mut())).unwrap_or_default();
        out.put_slice(part);
        self.sent += part.len();
        if self.sent == self.bytes.len() {
            *self = Self::default();
        }
    }
}
