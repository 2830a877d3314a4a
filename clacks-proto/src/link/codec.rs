//! Bytes of a link to frames and back, in the dialect of the link.
//!
//! Both codecs turn bytes into frames. What a dialect can do is in the methods of [`Dialect`], so
//! that the rest of the crate asks for a capability and not for a dialect.

#![cfg_attr(not(feature = "http"), allow(unused_variables, reason = "only HTTP needs them"))]

use bytes::BufMut;

use super::{Content, Doubt, LinkEvent, Local, Router, Session, State};
use crate::address::Address;
use crate::error::CloseReason;
use crate::event::{CloseMode, Dialect};
use crate::ids::LinkId;
use crate::message::Message;
use crate::time::Instant;
use crate::wire::{Decoder, Farewell, Window, WireError};

#[cfg(feature = "http")]
mod http;
#[cfg(feature = "http")]
use http::HttpCodec;

/// Whether HTTP is compiled in.
pub(crate) const HAS_HTTP: bool = cfg!(feature = "http");

/// The most links to one peer that speaks HTTP: each carries one message at a time. The value is a
/// guess.
const HTTP_LINKS: usize = 4;

/// Returns the window of a link before the peer's hello has named one.
pub(super) fn window(dialect: Dialect, configured: Window) -> Window {
    match dialect {
        Dialect::Native => configured,
        Dialect::Http => Window { messages: 1, bytes: u32::MAX },
    }
}

/// What a dialect can do.
impl Dialect {
    /// Returns whether links begin with hellos. Otherwise each transfer names its sender.
    pub(crate) fn has_hello(self) -> bool {
        self == Self::Native
    }

    /// Returns whether messages keep their nonces.
    #[inline]
    pub(crate) fn has_nonces(self) -> bool {
        self == Self::Native
    }

    /// Returns whether a peer recognises a transfer that is sent again.
    #[inline]
    pub(crate) fn can_retry(self) -> bool {
        self == Self::Native
    }

    /// Returns the maximum number of links to one peer.
    #[inline]
    pub(crate) fn max_links(self) -> usize {
        match self {
            Self::Native => 1,
            Self::Http => HTTP_LINKS,
        }
    }

    /// Returns whether every message arrives unchanged, and no peer rejects one for good.
    #[inline]
    pub(crate) fn carries_all(self) -> bool {
        self == Self::Native
    }

    /// Returns whether a message from the tower at `sender` arrives unchanged.
    #[inline]
    pub(crate) fn carries(self, message: &Message, sender: &Address) -> bool {
        match self {
            Self::Native => true,
            #[cfg(feature = "http")]
            Self::Http => crate::http::suits(message.kind(), message.body(), sender),
            #[cfg(not(feature = "http"))]
            Self::Http => false,
        }
    }
}

/// Reads and writes the bytes of one link.
#[derive(Debug)]
pub(super) enum Codec {
    Native(Decoder),
    #[cfg(feature = "http")]
    Http(alloc::boxed::Box<HttpCodec>),
}

impl Default for Codec {
    fn default() -> Self {
        Self::Native(Decoder::default())
    }
}

impl Codec {
    /// Begins the handshake on a connection. Returns whether the link is open without a hello.
    pub(super) fn begin(&mut self, session: &mut Session, local: &Local) -> bool {
        #[cfg(feature = "http")]
        if let Some(codec) = HttpCodec::for_connection(session, local) {
            let is_open = codec.is_client();
            *self = Self::Http(alloc::boxed::Box::new(codec));
            return is_open;
        }
        self.begin_native(session, local);
        false
    }

    /// Begins the native dialect: queues our hello.
    pub(super) fn begin_native(&mut self, session: &mut Session, local: &Local) {
        let decoder = Decoder::new(local.config.max_message);
        let decoder = decoder.accept_datagrams(local.config.datagrams.max_len());
        *self = Self::Native(decoder.expect_hello());
        session.dialect = Dialect::Native;
        session.outgoing.hello_due = true;
    }

    /// Switches to the dialect on which TLS has agreed. Returns whether the link is open without a
    /// hello.
    pub(super) fn agree(&mut self, dialect: Dialect, session: &mut Session, local: &Local) -> bool {
        match dialect {
            Dialect::Native => {
                self.begin_native(session, local);
                false
            }
            #[cfg(feature = "http")]
            Dialect::Http if session.dialled().is_some() => {
                *self = Self::Http(alloc::boxed::Box::new(HttpCodec::client(session)));
                true
            }
            Dialect::Http => false,
        }
    }

    /// Reads frames from bytes that arrived, and passes what follows from them to the router.
    #[inline(always)]
    pub(super) fn handle_bytes(
        &mut self,
        mut input: &[u8],
        id: LinkId,
        session: &mut Session,
        router: &mut impl Router,
    ) {
        if !session.reads() {
            return;
        }
        #[cfg(feature = "http")]
        if let Self::Http(codec) = self
            && codec.turns_native(input)
        {
            if router.local().identity.is_some() && session.identity.is_none() {
                let reason = CloseReason::Tls(crate::error::TlsFailure::Certificate);
                let event = session.close_for_misbehaviour(reason, router.local(), router.now());
                return router.on_link_event(id, session, event);
            }
            self.begin_native(session, router.local());
        }
        let decoder = match self {
            Self::Native(decoder) => decoder,
            #[cfg(feature = "http")]
            Self::Http(codec) => return codec.handle_bytes(input, id, session, router),
        };
        while session.reads() {
            let decoded = decoder.decode(&mut input);
            let event = match &decoded {
                Ok(Some(frame)) => session.handle_frame(frame, router.local(), router.now()),
                Ok(None) => break,
                Err(error) => session.handle_wire_error(*error, router.local(), router.now()),
            };
            router.on_link_event(id, session, event);
            session.settle(id, router);
        }
    }

    /// Writes what the link has to send, as much as fits.
    #[inline]
    pub(super) fn transmit(
        &mut self,
        session: &mut Session,
        out: &mut impl BufMut,
        local: &Local,
        content: &mut impl Content,
        now: Instant,
    ) {
        match self {
            Self::Native(_) => {
                // Nothing is sent before the connection is established.
                let is_connected = session.state != State::Connecting;
                let may_send = session.is_open();
                let Session { outgoing, incoming, number, .. } = session;
                // A frame isn't begun for a full buffer, since no byte of it would be sent.
                while outgoing.transmit_partial(out)
                    && is_connected
                    && out.has_remaining_mut()
                    && let Some(next) = outgoing.next_frame(incoming, may_send, now)
                {
                    outgoing.transmit(&next, out, *number, local, content);
                }
            }
            #[cfg(feature = "http")]
            Self::Http(codec) => codec.transmit(session, out, local, content, now),
        }
    }

    /// Handles the end of the stream. Returns the reason for which the link is closed.
    pub(super) fn handle_finished(&mut self, session: &mut Session) -> CloseReason {
        match self {
            Self::Native(_) => CloseReason::Truncated,
            #[cfg(feature = "http")]
            Self::Http(codec) => codec.handle_finished(session),
        }
    }

    /// Handles the time-out of a request.
    pub(super) fn handle_request_timeout(
        &mut self,
        session: &mut Session,
        local: &Local,
        now: Instant,
    ) -> Option<LinkEvent<'static>> {
        match self {
            Self::Native(_) => None,
            #[cfg(feature = "http")]
            Self::Http(codec) => codec.handle_request_timeout(session, local, now),
        }
    }
}

impl Session {
    /// Closes the link because its bytes are not frames.
    #[cold]
    fn handle_wire_error(
        &mut self,
        error: WireError,
        local: &Local,
        now: Instant,
    ) -> LinkEvent<'static> {
        // In clear text, a dialled peer that answers our hello in HTTP is dialled again in HTTP.
        let may_redial = local.speaks_http && local.identity.is_none() && self.is_dialling();
        if may_redial && error == WireError::Kind(b'H') {
            let abort = Some(CloseMode::Abort);
            let event = self.close(CloseReason::BadHttp, Doubt::NotTaken, abort, local, now);
            return event.in_dialect(Dialect::Http);
        }
        match error {
            WireError::Version(version) if self.state == State::Handshake => {
                let reason = CloseReason::WrongVersion(version);
                self.refuse(reason, Farewell::WrongVersion, local, now)
            }
            error => self.close_for_misbehaviour(CloseReason::Wire(error), local, now),
        }
    }
}

impl LinkEvent<'static> {
    /// Notes in the end of a link which dialect the peer speaks.
    pub(crate) fn in_dialect(mut self, speaks: Dialect) -> Self {
        if let Self::Closed(closed) = &mut self {
            closed.speaks = Some(speaks);
        }
        self
    }
}
