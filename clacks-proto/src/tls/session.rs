//! The TLS session of one link.

use alloc::sync::Arc;

use std::io::{self, BufRead, IoSlice, Write};

use bytes::BufMut;
use rustls::pki_types::ServerName;
use rustls::{
    ClientConfig, ClientConnection, Connection, HandshakeKind, ServerConfig, ServerConnection,
};

use super::ALPN;
use super::error::classify;
use super::identity::fingerprint_of;
use super::trust::Roots;
use crate::error::TlsFailure;
use crate::event::Dialect;
use crate::ids::{Fingerprint, PeerId};

/// The maximum plaintext of one record, in bytes (RFC 8446 §5.1).
pub(super) const MAX_PLAINTEXT: usize = 16 * 1024;

/// The overhead of a record, in bytes: a header of 5 bytes, the content type, and an authentication
/// tag of 16 bytes (RFC 8446 §5.2).
pub(super) const RECORD_OVERHEAD: usize = 5 + 1 + 16;

/// The maximum number of bytes that are accepted before the handshake is complete. It bounds what
/// rustls stores for an unauthenticated side. A handshake with a short chain takes 1 to 5 KiB.
const MAX_HANDSHAKE: usize = 32 * 1024;

/// The TLS session of one link.
///
/// After each call of `receive`, call `establish` and then `next_plaintext`. `write` returns the
/// ciphertext.
#[derive(Debug)]
pub(super) struct TlsSession {
    tls: Connection,
    stage: Stage,
    /// The number of bytes received before the handshake was complete.
    handshake_bytes: usize,
    /// The tower has requested the close. The close notification follows the last plaintext.
    closing: bool,
    close_notify_sent: bool,
    /// The other side has sent its close notification.
    ended: bool,
    /// The tower knows that no more bytes arrive.
    end_reported: bool,
    /// Whether the other side may speak HTTP.
    offers_http: bool,
    /// Whether this side is an HTTP client, which sends the head and the body of a request in
    /// separate records.
    is_http_client: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Handshaking,
    Established,
    /// Received bytes are ignored. An alert may wait to be written.
    Failed,
}

/// The result of a completed handshake.
#[derive(Clone, Copy, Debug)]
pub(super) struct Established {
    /// The key that the other side has proved. The native dialect requires one.
    pub(super) identity: Option<Fingerprint>,
    /// The negotiated dialect.
    pub(super) dialect: Dialect,
    pub(super) resumed: bool,
}

impl TlsSession {
    /// Returns the session of an outbound link.
    ///
    /// The server name is used only as the key of stored tickets. It is neither verified nor sent.
    /// Each peer has its own name, so two towers at one host never share tickets.
    pub(super) fn dialled(
        config: &Arc<ClientConfig>,
        peer: Option<PeerId>,
    ) -> Result<Self, TlsFailure> {
        // The peer was forgotten meanwhile. No peer has this name.
        let name = peer.map_or_else(|| "none.peer".into(), PeerId::to_label);
        let name = ServerName::try_from(name).map_err(|_| TlsFailure::Other)?;
        ClientConnection::new(Arc::clone(config), name)
            .map(|tls| Self::new(tls.into()))
            .map_err(|_| TlsFailure::Other)
    }

    /// Returns the session of an inbound link.
    pub(super) fn accepted(config: &Arc<ServerConfig>) -> Result<Self, TlsFailure> {
        ServerConnection::new(Arc::clone(config))
            .map(|tls| Self::new(tls.into()))
            .map_err(|_| TlsFailure::Other)
    }

    fn new(mut tls: Connection) -> Self {
        // One record is written at a time, and only into an empty buffer. The buffer must hold this
        // record and a key update.
        tls.set_buffer_limit(Some(MAX_PLAINTEXT + 1024));
        Self {
            tls,
            stage: Stage::Handshaking,
            handshake_bytes: 0,
            closing: false,
            close_notify_sent: false,
            ended: false,
            end_reported: false,
            offers_http: false,
            is_http_client: false,
        }
    }

    /// Sets whether the other side may speak HTTP.
    pub(super) fn offering_http(mut self, offers_http: bool) -> Self {
        self.offers_http = offers_http;
        self
    }

    /// Returns whether each chunk that the tower transmits must be a record of its own.
    pub(super) fn is_http_client(&self) -> bool {
        self.is_http_client
    }

    /// Returns whether bytes from the other side are still read.
    ///
    /// They are not read after this side's close notification. The tower has closed the link by
    /// then, and a `debug_assert` of rustls fails if a later record is invalid.
    pub(super) fn takes_bytes(&self) -> bool {
        self.stage != Stage::Failed && !self.close_notify_sent && !self.end_reported
    }

    /// Reads some bytes from the front of `bytes`. Call it again while any are left.
    ///
    /// Call [`establish`](Self::establish) and [`next_plaintext`](Self::next_plaintext) after each
    /// call, even after an error. Plaintext before the error is authentic, and what the tower
    /// receives must not depend on the chunking.
    pub(super) fn receive(&mut self, bytes: &mut &[u8]) -> Result<(), TlsFailure> {
        let read = self.tls.read_tls(bytes).map_err(|_| TlsFailure::Other)?;
        if read == 0 {
            // RFC 8446 §6.1: data after the other side's close notification is ignored.
            *bytes = &[];
        }
        let agreed = self.tls.protocol_version();
        let state = self.tls.process_new_packets().map_err(|error| classify(&error, agreed))?;
        self.ended = state.peer_has_closed();
        if self.tls.is_handshaking() {
            self.handshake_bytes += read;
            if self.handshake_bytes > MAX_HANDSHAKE {
                return Err(TlsFailure::Other);
            }
        }
        Ok(())
    }

    /// Returns the result of the handshake once, on the first call after the handshake is complete.
    pub(super) fn establish(&mut self) -> Result<Option<Established>, TlsFailure> {
        if self.stage != Stage::Handshaking || self.tls.is_handshaking() {
            return Ok(None);
        }
        // rustls refuses a wrong protocol name, but not a missing one.
        let is_native = self.tls.alpn_protocol() == Some(ALPN);
        if !is_native && !self.offers_http {
            self.notify_close();
            return Err(TlsFailure::NoCommonProtocol);
        }
        let certificate = self.tls.peer_certificates().and_then(<[_]>::first);
        let identity = certificate.and_then(fingerprint_of);
        if is_native && identity.is_none() {
            self.notify_close();
            return Err(TlsFailure::Certificate);
        }
        self.is_http_client = !is_native && matches!(self.tls, Connection::Client(_));
        self.stage = Stage::Established;
        let resumed = self.tls.handshake_kind() == Some(HandshakeKind::Resumed);
        let dialect = if is_native { Dialect::Native } else { Dialect::Http };
        Ok(Some(Established { dialect, identity, resumed }))
    }

    /// Passes the next chunk of plaintext to `take` without copying it. Returns false if there is
    /// none.
    pub(super) fn next_plaintext(&mut self, take: impl FnOnce(&[u8])) -> bool {
        if self.stage != Stage::Established {
            return false;
        }
        let mut reader = self.tls.reader();
        let len = match reader.fill_buf() {
            Ok(plaintext) if !plaintext.is_empty() => {
                take(plaintext);
                plaintext.len()
            }
            _ => return false,
        };
        reader.consume(len);
        true
    }

    /// Returns whether the other side has sent its close notification. Returns true at most once,
    /// and only if the tower does not yet know that no more bytes arrive.
    pub(super) fn take_end(&mut self) -> bool {
        self.ended && self.stage == Stage::Established && self.take_disconnect()
    }

    /// Notes that no more bytes arrive. Returns true on the first call.
    pub(super) fn take_disconnect(&mut self) -> bool {
        !core::mem::replace(&mut self.end_reported, true)
    }

    /// Verifies the certificate of the other side again, by other roots. Fails before the end of
    /// the handshake, because the earlier rules apply to it.
    pub(super) fn verify(&self, roots: &Roots) -> Result<(), TlsFailure> {
        match self.stage {
            Stage::Handshaking => Err(TlsFailure::Other),
            Stage::Established => match self.tls.peer_certificates() {
                Some([certificate, intermediates @ ..]) => roots
                    .verify_peer(certificate, intermediates)
                    .map_err(|error| classify(&error, self.tls.protocol_version())),
                _ => Err(TlsFailure::Certificate),
            },
            Stage::Failed => Ok(()),
        }
    }

    /// Stops the session. Only an alert may still be written.
    pub(super) fn fail(&mut self) {
        self.stage = Stage::Failed;
    }

    /// Sends the close notification as soon as the tower has nothing left to send.
    pub(super) fn close_when_flushed(&mut self) {
        self.closing = true;
    }

    /// Returns whether plaintext of the tower would be encrypted now.
    pub(super) fn takes_plaintext(&self) -> bool {
        self.stage == Stage::Established && !self.close_notify_sent
    }

    /// Returns whether there is ciphertext to write.
    pub(super) fn wants_write(&self) -> bool {
        self.tls.wants_write()
    }

    /// Encrypts one record of at most [`MAX_PLAINTEXT`] bytes. Call only if no ciphertext waits.
    pub(super) fn encrypt(&mut self, plaintext: &[u8]) -> Result<(), TlsFailure> {
        debug_assert!(!self.wants_write() && plaintext.len() <= MAX_PLAINTEXT);
        self.tls.writer().write_all(plaintext).map_err(|_| TlsFailure::Other)
    }

    /// Handles that the tower has nothing left to send. Returns whether there is new ciphertext.
    pub(super) fn on_flushed(&mut self) -> bool {
        if self.closing && self.stage == Stage::Established {
            self.notify_close();
        }
        self.wants_write()
    }

    /// Sends the close notification. During a handshake it is not sent, because the other side does
    /// not expect it there.
    fn notify_close(&mut self) {
        if !self.close_notify_sent && !self.tls.is_handshaking() {
            self.close_notify_sent = true;
            self.tls.send_close_notify();
        }
    }

    /// Writes ciphertext until there is none left or the sink is full.
    pub(super) fn write(&mut self, sink: &mut Sink<'_, impl BufMut>) {
        while self.tls.wants_write() {
            match self.tls.write_tls(sink) {
                Ok(written) if written > 0 => {}
                _ => return,
            }
        }
    }
}

/// Writes to the buffer of the driver for rustls.
pub(super) struct Sink<'a, B> {
    out: &'a mut B,
    written: usize,
}

impl<'a, B: BufMut> Sink<'a, B> {
    pub(super) fn new(out: &'a mut B) -> Self {
        Self { out, written: 0 }
    }

    pub(super) fn room(&self) -> usize {
        self.out.remaining_mut()
    }

    pub(super) fn written(&self) -> usize {
        self.written
    }
}

impl<B: BufMut> Write for Sink<'_, B> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = bytes.len().min(self.room());
        self.out.put_slice(bytes.get(..len).unwrap_or_default());
        self.written += len;
        Ok(len)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let before = self.written;
        for slice in slices {
            if self.write(slice)? < slice.len() {
                break;
            }
        }
        Ok(self.written - before)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::handshake::Handshakes;
    use super::super::identity::Identity;
    use super::super::trust::Trust;
    use super::*;
    use crate::ids::Epoch;
    use alloc::vec::Vec;

    const PEER: PeerId = PeerId { index: 0, epoch: Epoch::FIRST };
    const OTHER_PEER: PeerId = PeerId { index: 1, epoch: Epoch::FIRST };

    struct Side {
        identity: Identity,
        handshakes: Handshakes,
    }

    impl Side {
        fn new(tickets: usize) -> Self {
            let identity = Identity::generate().unwrap();
            let handshakes = Handshakes::new(&identity, Trust::Open, tickets).unwrap();
            Self { identity, handshakes }
        }
    }

    /// Dials a peer. Checks that both sides received the other's key. Returns whether the session
    /// was resumed.
    fn dial(dialler: &Side, peer: PeerId, listener: &Side) -> bool {
        let mut sessions = [
            TlsSession::dialled(&dialler.handshakes.client, Some(peer)).unwrap(),
            TlsSession::accepted(&listener.handshakes.server).unwrap(),
        ];
        let mut found = [None, None];
        while sessions.iter().any(TlsSession::wants_write) {
            for (from, to) in [(0, 1), (1, 0)] {
                let mut bytes = Vec::new();
                sessions[from].write(&mut Sink::new(&mut bytes));
                let mut rest = bytes.as_slice();
                while !rest.is_empty() {
                    sessions[to].receive(&mut rest).unwrap();
                    found[to] = found[to].or(sessions[to].establish().unwrap());
                }
            }
        }
        let [dialled, accepted] = found.map(Option::unwrap);
        assert_eq!(dialled.identity, Some(listener.identity.fingerprint()));
        assert_eq!(accepted.identity, Some(dialler.identity.fingerprint()));
        assert_eq!(dialled.resumed, accepted.resumed);
        dialled.resumed
    }

    #[test]
    fn a_resumed_session_proves_the_same_keys_on_both_sides() {
        let (dialler, listener) = (Side::new(4), Side::new(4));
        assert!(!dial(&dialler, PEER, &listener));
        assert!(dial(&dialler, PEER, &listener));
        assert!(dial(&dialler, PEER, &listener), "the resumed session left no ticket");
    }

    #[test]
    fn a_ticket_is_stored_for_one_peer_and_not_accepted_by_another_tower() {
        let (dialler, listener) = (Side::new(4), Side::new(4));
        assert!(!dial(&dialler, PEER, &listener));
        assert!(!dial(&dialler, OTHER_PEER, &listener), "the peers shared a ticket");
        // Another tower at the same address proves its own key.
        assert!(!dial(&dialler, PEER, &Side::new(4)));
    }

    #[test]
    fn the_oldest_session_is_dropped_at_capacity() {
        let (dialler, listener) = (Side::new(1), Side::new(1));
        assert!(!dial(&dialler, PEER, &listener));
        assert!(!dial(&dialler, OTHER_PEER, &listener));
        assert!(!dial(&dialler, PEER, &listener), "the oldest ticket was not dropped");
        assert!(dial(&dialler, PEER, &listener));
    }

    #[test]
    fn a_sink_writes_no_more_than_its_buffer_holds() {
        let mut buffer = [0; 5];
        let mut out = &mut buffer[..];
        let mut sink = Sink::new(&mut out);
        let slices = [IoSlice::new(b"abc"), IoSlice::new(b"def"), IoSlice::new(b"ghi")];
        assert_eq!(sink.write_vectored(&slices).unwrap(), 5);
        assert_eq!((sink.written(), sink.room()), (5, 0));
        assert_eq!(sink.write(b"more").unwrap(), 0);
        assert_eq!(&buffer, b"abcde");
    }
}
