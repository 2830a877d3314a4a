//! A tower with encrypted links.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

use bytes::BufMut;

use super::error::TlsError;
use super::handshake::Handshakes;
use super::identity::Identity;
use super::links::{Layer, Links};
use super::session::{Established, MAX_PLAINTEXT, RECORD_OVERHEAD, Sink, TlsSession};
use super::trust::{Roots, Trust};
use crate::error::{Refusal, TlsFailure};
use crate::event::{Action, CloseMode, Event, Wakeup};
use crate::ids::LinkId;
use crate::state_machine::StateMachine;
use crate::time::Instant;
use crate::tower::{TlsHandshake, Tower};

/// The maximum memory that TLS takes for one link, in bytes. It is part of
/// [`SecureTower::max_memory`] and does not include the memory of the inner tower.
///
/// Measured with a counting allocator (rustls 0.23.46): a silent accepted link takes 3 KiB. A link
/// with the longest incomplete handshake takes 36 KiB. An established link takes 8 KiB, or 38 KiB
/// until a large record is replaced by a smaller one.
///
/// The bound covers the worst case for an authenticated peer: 32 KiB of certificates, stored with
/// the link and with its session; a ticket of 64 KiB, stored for resumption, and 64 KiB of another
/// incomplete ticket; and one record of 16 KiB in each direction.
pub const TLS_LINK_MEMORY: usize = 256 * 1024;

/// The maximum number of peers whose sessions are stored for resumption.
const MAX_TICKETS: usize = 1024;

/// The minimum size of a record that fills the remaining space of the driver's buffer, in bytes.
/// A smaller space is left empty.
const MIN_FILL: usize = 4096;

/// A [`Tower`] whose links are encrypted with TLS. Implements [`StateMachine`] with ciphertext.
///
/// The deadlines of the tower cover TLS and the hello together. The tower sends its hello as soon
/// as the handshake is complete. It knows the key of the other side before it handles the first
/// plaintext.
pub struct SecureTower {
    tower: Tower,
    links: Links,
    handshakes: Handshakes,
    /// Collects the frames of one record. Shared by all links, because it is empty between calls.
    scratch: Box<[u8]>,
}

impl SecureTower {
    /// Returns a tower with TLS. The given tower must not have links.
    ///
    /// # Errors
    ///
    /// [`TlsError::NoRandomness`] if the operating system provides no random bytes, and the errors
    /// of [`Trust::check`] if peers would refuse the certificate. The tower is dropped.
    pub fn new(mut tower: Tower, identity: &Identity, trust: Trust) -> Result<Self, TlsError> {
        trust.check(identity)?;
        let tickets = tower.config().max_links.min(MAX_TICKETS);
        let offers_http = tower.config().speaks_http();
        let handshakes = Handshakes::offering(identity, trust, tickets, offers_http)?;
        // Peers of a private network do not speak HTTP.
        tower.set_tls(identity.fingerprint(), handshakes.offers_http);
        Ok(Self {
            tower,
            links: Links::default(),
            handshakes,
            scratch: vec![0; MAX_PLAINTEXT].into_boxed_slice(),
        })
    }

    /// Replaces the certificate of this tower and the roots of its private network. New links use
    /// them. Links to peers that the new roots refuse are closed, and so are links whose handshake
    /// is not complete. Returns the number of closed links.
    ///
    /// Call this when the certificate was renewed, or when a member was revoked. Stored sessions
    /// are dropped, so that a revoked peer cannot resume one. Each link costs the verification of a
    /// certificate.
    ///
    /// # Errors
    ///
    /// [`TlsError::KeyMismatch`] if the identity has another key than this tower, and the errors of
    /// [`new`](Self::new). The tower has not changed.
    pub fn renew(
        &mut self,
        identity: &Identity,
        roots: &Roots,
        now: Instant,
    ) -> Result<usize, TlsError> {
        if self.tower.identity() != Some(identity.fingerprint()) {
            return Err(TlsError::KeyMismatch);
        }
        let trust = Trust::Private(roots.clone());
        trust.check(identity)?;
        let tickets = self.tower.config().max_links.min(MAX_TICKETS);
        self.handshakes = Handshakes::offering(identity, trust, tickets, false)?;
        self.tower.set_now(now);
        let mut refused = Vec::new();
        for (link, session) in self.links.sessions() {
            if let Err(failure) = session.verify(roots) {
                session.fail();
                refused.push((link, failure));
            }
        }
        for (link, failure) in &refused {
            self.tower.handle_tls_failure(*link, *failure);
        }
        Ok(refused.len())
    }

    /// Returns the maximum memory of the tower and its TLS, in bytes:
    /// [`Config::max_memory`](crate::Config::max_memory), [`TLS_LINK_MEMORY`] for each possible
    /// link, and one record. Stored sessions are included in the memory of the links, because there
    /// are never more sessions than links.
    #[must_use]
    pub fn max_memory(&self) -> usize {
        let config = self.tower.config();
        let links = config.max_links.saturating_mul(TLS_LINK_MEMORY);
        config.max_memory().saturating_add(links).saturating_add(MAX_PLAINTEXT)
    }

    fn on_connected(&mut self, link: LinkId, at: Option<IpAddr>, now: Instant) {
        let Self { tower, links, handshakes, .. } = self;
        tower.handle(Event::Connected { link, at }, now);
        let Some(layer) = links.get_mut(link) else { return };
        if !matches!(layer, Layer::Dialling) {
            return;
        }
        match TlsSession::dialled(&handshakes.client, tower.dialled_peer(link)) {
            Ok(session) => {
                let session = session.offering_http(handshakes.offers_http);
                *layer = Layer::Open(Box::new(session));
                tower.request_send(link);
            }
            Err(failure) => {
                *layer = Layer::Cut;
                tower.handle_tls_failure(link, failure);
            }
        }
    }

    fn on_bytes(&mut self, link: LinkId, mut bytes: &[u8], now: Instant) {
        let Self { tower, links, .. } = self;
        let Some(layer) = links.get_mut(link) else {
            // The link has ended. The tower counts the stale event.
            return tower.handle(Event::BytesArrived { link, bytes }, now);
        };
        let Layer::Open(session) = layer else { return };
        // The tower must know the current time before it handles the result of the handshake.
        tower.set_now(now);
        while !bytes.is_empty() && session.takes_bytes() {
            let received = session.receive(&mut bytes);
            let established = received.and_then(|()| session.establish());
            if let Ok(Some(established)) = established {
                let Established { dialect, identity, resumed } = established;
                tower.handle_tls_handshake(link, TlsHandshake { dialect, identity, resumed });
                // Frames that the tower has queued could not be sent before.
                tower.request_send(link);
            }
            while session.next_plaintext(|bytes| {
                tower.handle(Event::BytesArrived { link, bytes }, now);
            }) {}
            if let Err(failure) = established {
                session.fail();
                tower.handle_tls_failure(link, failure);
            }
        }
        if session.take_end() {
            tower.handle(Event::Finished { link }, now);
        }
        if session.wants_write() {
            tower.request_send(link);
        }
    }

    fn on_finished(&mut self, link: LinkId, now: Instant) {
        if self.links.session(link).is_none_or(TlsSession::take_disconnect) {
            self.tower.handle(Event::Finished { link }, now);
        }
    }

    fn on_action(&mut self, action: &Action) {
        match action {
            Action::Connect { link, .. } => self.links.insert(*link, Layer::Dialling),
            Action::Close { link, how, .. } => self.on_close(*link, *how),
            _ => {}
        }
    }

    fn on_close(&mut self, link: LinkId, how: CloseMode) {
        let Some(layer) = self.links.get_mut(link) else { return };
        match (how, &mut *layer) {
            (CloseMode::Flush, Layer::Open(session)) => session.close_when_flushed(),
            _ => *layer = Layer::Cut,
        }
    }
}

impl fmt::Debug for SecureTower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecureTower").field("tower", &self.tower).finish_non_exhaustive()
    }
}

impl StateMachine for SecureTower {
    fn accept(&mut self, from: IpAddr, now: Instant) -> Result<LinkId, Refusal> {
        let link = self.tower.accept(from, now)?;
        match TlsSession::accepted(&self.handshakes.server) {
            Ok(session) => {
                let session = session.offering_http(self.handshakes.offers_http);
                self.links.insert(link, Layer::Open(Box::new(session)));
            }
            Err(failure) => {
                self.links.insert(link, Layer::Cut);
                self.tower.handle_tls_failure(link, failure);
            }
        }
        Ok(link)
    }

    fn handle(&mut self, event: Event<'_>, now: Instant) {
        match event {
            Event::Connected { link, at } => self.on_connected(link, at, now),
            Event::BytesArrived { link, bytes } => self.on_bytes(link, bytes, now),
            Event::Finished { link } => self.on_finished(link, now),
            Event::ConnectFailed { link, .. }
            | Event::Lost { link, .. }
            | Event::Closed { link } => {
                self.links.remove(link);
                self.tower.handle(event, now);
            }
            Event::AcceptFailed { .. } | Event::TimerFired => self.tower.handle(event, now),
        }
    }

    /// Waiting ciphertext is written first. Then frames of the tower are collected into records
    /// that are as large as possible. At most one record of plaintext is taken from the tower
    /// before the buffer has room for it.
    fn transmit(&mut self, link: LinkId, out: &mut impl BufMut) -> usize {
        let Self { tower, links, scratch, .. } = self;
        let Some(session) = links.session(link) else { return 0 };
        let mut sink = Sink::new(out);
        loop {
            session.write(&mut sink);
            let whole = Some(MAX_PLAINTEXT).filter(|_| session.is_http_client() && sink.room() > 0);
            let size = whole.or_else(|| next_record(sink.room(), sink.written()));
            let Some(size) = size else { break };
            if session.wants_write() {
                break;
            }
            let record = scratch.get_mut(..size).unwrap_or_default();
            let len = match session.takes_plaintext() {
                true if session.is_http_client() => tower.transmit(link, &mut &mut *record),
                true => gather(tower, link, record),
                false => 0,
            };
            if len == 0 {
                if session.on_flushed() {
                    continue;
                }
                break;
            }
            if session.encrypt(record.get(..len).unwrap_or_default()).is_err() {
                session.fail();
                tower.handle_tls_failure(link, TlsFailure::Other);
            }
        }
        sink.written()
    }

    fn poll_action(&mut self) -> Option<Action> {
        let action = self.tower.poll_action()?;
        self.on_action(&action);
        Some(action)
    }

    fn next_wakeup(&self) -> Option<Wakeup> {
        self.tower.next_wakeup()
    }

    fn tower(&self) -> &Tower {
        &self.tower
    }

    fn tower_mut(&mut self) -> &mut Tower {
        &mut self.tower
    }
}

/// Returns the size of the next record's plaintext, given the space left in the driver's buffer and
/// the number of bytes written to it. Returns `None` if the rest of the buffer stays empty.
fn next_record(room: usize, written: usize) -> Option<usize> {
    let fits = room.saturating_sub(RECORD_OVERHEAD).min(MAX_PLAINTEXT);
    if fits >= MIN_FILL {
        Some(fits)
    } else if written == 0 && room > 0 {
        // The buffer is tiny. rustls stores one full record, which is written in pieces.
        Some(MAX_PLAINTEXT)
    } else {
        None
    }
}

/// Fills `record` with frames of the tower. Returns their length in bytes.
fn gather(tower: &mut Tower, link: LinkId, record: &mut [u8]) -> usize {
    let mut len = 0;
    loop {
        let mut rest = record.get_mut(len..).unwrap_or_default();
        match tower.transmit(link, &mut rest) {
            0 => return len,
            more => len += more,
        }
    }
}
