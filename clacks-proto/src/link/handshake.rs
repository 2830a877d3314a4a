//! From a connection to an open link: the dialect, the hello, and what TLS proves.

use alloc::boxed::Box;

use super::timer::LinkTimer;
use super::{CloseReason, Direction, Doubt, Link, LinkEvent, LinkName, Local, Session, State};
use crate::event::{CloseMode, Dialect};
use crate::ids::Fingerprint;
use crate::time::Instant;
use crate::wire::{Farewell, Hello};

#[cfg_attr(
    not(any(feature = "tls", feature = "simulation")),
    allow(dead_code, reason = "only TLS agrees on dialects")
)]
impl Link {
    /// Begins the handshake on a connection.
    pub(super) fn begin_handshake(&mut self, local: &Local, now: Instant) -> LinkEvent<'static> {
        let Self { codec, session } = self;
        session.timers.set(LinkTimer::Handshake, now + local.config.timeouts.handshake);
        if codec.begin(session, local) {
            session.open(local, now);
            return LinkEvent::Opened(None);
        }
        LinkEvent::Handled
    }

    /// Handles what a TLS handshake has agreed on and proved, before the first plaintext. The
    /// caller has compared the key with the pinned one.
    pub(crate) fn handle_tls_handshake(
        &mut self,
        dialect: Dialect,
        identity: Option<Fingerprint>,
        local: &Local,
        now: Instant,
    ) -> LinkEvent<'static> {
        let Self { codec, session } = self;
        session.identity = identity.map(Box::new);
        // A guest may have the key of the tower: the hello of a caller shows whether it is one.
        let may_be_guest = match session.direction {
            Direction::Outbound => local.config.is_guest,
            Direction::Inbound => dialect == Dialect::Native,
        };
        if session.has_own_key(local) && !may_be_guest {
            return session.close_own_address(local, now);
        }
        if codec.agree(dialect, session, local) {
            session.open(local, now);
            return LinkEvent::Opened(None);
        }
        LinkEvent::Handled
    }
}

impl Session {
    /// Handles the other side's hello.
    pub(super) fn handle_hello<'a>(
        &mut self,
        hello: &'a Hello<'a>,
        local: &Local,
        now: Instant,
    ) -> LinkEvent<'a> {
        // A higher version is accepted: its speaker speaks ours, which is the lower one.
        if hello.network != local.config.network {
            return self.refuse(CloseReason::WrongNetwork, Farewell::WrongNetwork, local, now);
        }
        self.datagram_max = hello.datagram;
        self.is_guest = self.direction == Direction::Inbound && hello.address.is_none();
        self.name = LinkName { incarnation: hello.incarnation, number: hello.link };
        // Our own window bounds what we have to remember, however much the other side would take.
        self.outgoing.granted = hello.window.min(local.config.window);
        self.open(local, now);
        let is_guest = self.is_guest || local.config.is_guest;
        if hello.incarnation == local.incarnation || self.has_own_key(local) && !is_guest {
            return self.close_own_address(local, now);
        }
        LinkEvent::Opened(Some(hello))
    }

    /// Refuses the other side's hello.
    pub(super) fn refuse(
        &mut self,
        reason: CloseReason,
        farewell: Farewell,
        local: &Local,
        now: Instant,
    ) -> LinkEvent<'static> {
        self.outgoing.goodbye_due = Some(farewell);
        self.close(reason, Doubt::NotTaken, Some(CloseMode::Flush), local, now)
    }

    /// The handshake is complete.
    pub(super) fn open(&mut self, local: &Local, now: Instant) {
        self.state = State::Open;
        self.timers.stop(LinkTimer::Handshake);
        self.touch(now);
        // The deadline of the handshake would wake the tower for nothing.
        self.timers.refresh();
        self.scheduled = Instant::FAR_FUTURE;
        if let Some(at) = self.confirm_deadline(local) {
            self.timers.set(LinkTimer::Confirm, at);
        }
    }

    /// Returns whether the other side has proved the key of this tower.
    fn has_own_key(&self, local: &Local) -> bool {
        self.identity.is_some() && self.identity == local.identity
    }

    /// The link leads back to this tower.
    fn close_own_address(&mut self, local: &Local, now: Instant) -> LinkEvent<'static> {
        self.say_goodbye(Farewell::OwnAddress);
        let flush = Some(CloseMode::Flush);
        self.close(CloseReason::OwnAddress, Doubt::NotTaken, flush, local, now)
    }
}
