//! Links that speak HTTP, and which they are.

mod asking;
mod recipients;
mod serving;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use bytes::BufMut;
use core::time::Duration;

use super::Tower;
use super::links::Unanswered;
use crate::config::{Config, Window};
use crate::event::{CloseMode, Dialect, Notice};
use crate::http::StatusCode;
use crate::ids::{Fingerprint, LinkId, MessageKey, PeerId};
use crate::link::{Asking, Direction, State as LinkState, Talk};
use crate::reason::{CloseReason, TlsFailure};
use crate::time::Instant;
use crate::wire::{Farewell, WireError};

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
            serving.failure = Some(StatusCode::BadRequest);
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
}
