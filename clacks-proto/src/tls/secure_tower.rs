//! The tower with ciphertext on the outside.

use alloc::boxed::Box;
use alloc::vec;
use core::fmt;
use core::net::IpAddr;

use bytes::BufMut;

use super::error::TlsError;
use super::handshake::Handshakes;
use super::identity::Identity;
use super::links::{Layer, Links};
use super::session::{Established, MAX_PLAINTEXT, RECORD_OVERHEAD, Sink, TlsSession};
use super::trust::Trust;
use crate::error::{Refusal, TlsFailure};
use crate::event::{Action, CloseMode, Event, Wakeup};
use crate::ids::LinkId;
use crate::state_machine::StateMachine;
use crate::time::Instant;
use crate::tower::{TlsHandshake, Tower};

/// The most memory that TLS takes for one link, in bytes, on top of what the tower inside takes for
/// it; see [`SecureTower::max_memory`].
///
/// Measured with a counting allocator (rustls 0.23.46): a link that was accepted and is silent
/// takes 3 KiB, one that sent the longest half handshake that is waited for 36 KiB, an established
/// one 8 KiB, and 38 KiB while its last large record is not yet replaced by a smaller one.
///
/// The bound is for the worst that an authenticated peer can do: 32 KiB of certificates, kept with
/// the link and once more with its session; a ticket of 64 KiB, kept for resumption, and 64 KiB of
/// another half received; and a record of 16 KiB in either direction.
pub const TLS_LINK_MEMORY: usize = 256 * 1024;

/// The most peers whose sessions are kept for resumption, whatever the number of links.
const MAX_TICKETS: usize = 1024;

/// No record smaller than this is made just because the driver's buffer is nearly full.
const SMALLEST_FILL: usize = 4096;

/// A [`Tower`] whose links are TLS. The same [`StateMachine`] for a driver, with ciphertext on the
/// outside.
///
/// The tower inside has its deadlines run over TLS and hello together, says its hello as soon as
/// the handshake is complete, and is told who the other side is before it sees the first byte from
/// it.
pub struct SecureTower {
    tower: Tower,
    links: Links,
    handshakes: Handshakes,
    /// Where frames are gathered into one record; not kept for each link, because it is empty
    /// between calls.
    scratch: Box<[u8]>,
}

impl SecureTower {
    /// Puts TLS around a tower that has no links yet.
    ///
    /// # Errors
    ///
    /// [`TlsError::NoRandomness`] when the operating system gives no random bytes.
    pub fn new(mut tower: Tower, identity: &Identity, trust: Trust) -> Result<Self, TlsError> {
        let tickets = tower.config().max_links.min(MAX_TICKETS);
        let offers_http = tower.config().speaks_http();
        let handshakes = Handshakes::offering(identity, trust, tickets, offers_http)?;
        // In a private network no peer speaks HTTP.
        tower.set_tls(identity.fingerprint(), handshakes.offers_http);
        Ok(Self {
            tower,
            links: Links::default(),
            handshakes,
            scratch: vec![0; MAX_PLAINTEXT].into_boxed_slice(),
        })
    }

    /// The most memory that the tower and its TLS take, in bytes:
    /// [`Config::max_memory`](crate::Config::max_memory), and [`TLS_LINK_MEMORY`] for each link
    /// that there may be. Sessions kept for resumption are counted with the links: there are never
    /// more of them.
    #[must_use]
    pub fn max_memory(&self) -> usize {
        let config = self.tower.config();
        let links = config.max_links.saturating_mul(TLS_LINK_MEMORY);
        config.max_memory().saturating_add(links).saturating_add(MAX_PLAINTEXT)
    }

    fn on_connected(&mut self, link: LinkId, now: Instant) {
        let Self { tower, links, handshakes, .. } = self;
        tower.handle(Event::Connected { link }, now);
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
            // Stale: the tower counts it.
            return tower.handle(Event::BytesArrived { link, bytes }, now);
        };
        let Layer::Open(session) = layer else { return };
        // What the handshake proves or refuses happens now, not when the tower last heard the time.
        tower.set_now(now);
        while !bytes.is_empty() && session.takes_bytes() {
            let received = session.receive(&mut bytes);
            let established = received.and_then(|()| session.establish());
            if let Ok(Some(established)) = established {
                let Established { dialect, identity, resumed } = established;
                tower.handle_tls_handshake(link, TlsHandshake { dialect, identity, resumed });
                // What the tower has waiting could not be sent before.
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
            Event::Connected { link } => self.on_connected(link, now),
            Event::BytesArrived { link, bytes } => self.on_bytes(link, bytes, now),
            Event::Finished { link } => self.on_finished(link, now),
            Event::ConnectFailed { link, .. }
            | Event::Lost { link, .. }
            | Event::Closed { link } => {
                self.links.remove(link);
                self.tower.handle(event, now);
            }
            Event::TimerFired => self.tower.handle(event, now),
        }
    }

    /// Ciphertext that waits goes first; then frames of the tower are gathered into records as
    /// large as they can be. No more plaintext than one record's is ever taken from the tower
    /// before the buffer has room for it.
    fn transmit(&mut self, link: LinkId, out: &mut impl BufMut) -> usize {
        let Self { tower, links, scratch, .. } = self;
        let Some(session) = links.session(link) else { return 0 };
        let mut sink = Sink::new(out);
        loop {
            session.write(&mut sink);
            let whole = Some(MAX_PLAINTEXT).filter(|_| session.is_asking() && sink.room() > 0);
            let size = whole.or_else(|| next_record(sink.room(), sink.written()));
            let Some(size) = size else { break };
            if session.wants_write() {
                break;
            }
            let record = scratch.get_mut(..size).unwrap_or_default();
            let len = match session.takes_plaintext() {
                true if session.is_asking() => tower.transmit(link, &mut &mut *record),
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

/// How much plaintext the next record should hold, given the room left in the driver's buffer and
/// what was written into it; `None` when the rest is better left to the next buffer.
fn next_record(room: usize, written: usize) -> Option<usize> {
    let fits = room.saturating_sub(RECORD_OVERHEAD).min(MAX_PLAINTEXT);
    if fits >= SMALLEST_FILL {
        Some(fits)
    } else if written == 0 && room > 0 {
        // A tiny buffer: one full record is kept in rustls and goes out in pieces.
        Some(MAX_PLAINTEXT)
    } else {
        None
    }
}

/// Takes as many frames from the tower as `record` holds.
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
