//! TLS on one link: ciphertext on one side, plaintext on the other.

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
use crate::error::TlsFailure;
use crate::event::Dialect;
use crate::ids::{Fingerprint, PeerId};

/// The most plaintext that one record holds (RFC 8446 §5.1).
pub(super) const MAX_PLAINTEXT: usize = 16 * 1024;

/// What a record adds to its plaintext: a head of 5 bytes, the type of its content, and the
/// cipher's tag of 16.
pub(super) const RECORD_OVERHEAD: usize = 5 + 1 + 16;

/// The most bytes taken from the other side before the handshake is complete. A handshake with a
/// short chain takes 1 to 5 KiB; a stranger who sends more is cut off, so this bounds all that
/// rustls can hold for one.
const MAX_HANDSHAKE: usize = 32 * 1024;

/// One link's TLS. Events go in with `receive`, `establish` must be asked after each,
/// `next_plaintext` and `write` give out.
#[derive(Debug)]
pub(super) struct TlsSession {
    tls: Connection,
    stage: Stage,
    /// Bytes received before the handshake was complete.
    handshake_bytes: usize,
    /// The tower has asked for the close: our goodbye follows the last plaintext.
    closing: bool,
    close_notify_sent: bool,
    /// The other side has said that it sends no more.
    ended: bool,
    /// The tower knows that nothing more comes.
    end_reported: bool,
    /// Whether the other side may speak HTTP.
    offers_http: bool,
    /// Whether the head and the body of a request must each be a record.
    is_asking: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Handshaking,
    Established,
    /// Nothing is taken in any more; an alert may wait to be written.
    Failed,
}

/// A handshake that has just been completed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Established {
    /// The key that the other side has proved; always there with the native dialect.
    pub(super) identity: Option<Fingerprint>,
    /// The dialect that was agreed on.
    pub(super) dialect: Dialect,
    pub(super) resumed: bool,
}

impl TlsSession {
    /// The dialling side. The server name is only what tickets are kept under: keys are verified,
    /// not names, and no name is sent. It is one for each peer, so that two towers at one host
    /// never get each other's tickets.
    pub(super) fn dialled(
        config: &Arc<ClientConfig>,
        peer: Option<PeerId>,
    ) -> Result<Self, TlsFailure> {
        // Tickets of a peer that was forgotten meanwhile are kept under a name that no peer has.
        let name = peer.map_or_else(|| "none.peer".into(), PeerId::to_label);
        let name = ServerName::try_from(name).map_err(|_| TlsFailure::Other)?;
        ClientConnection::new(Arc::clone(config), name)
            .map(|tls| Self::new(tls.into()))
            .map_err(|_| TlsFailure::Other)
    }

    /// The accepting side.
    pub(super) fn accepted(config: &Arc<ServerConfig>) -> Result<Self, TlsFailure> {
        ServerConnection::new(Arc::clone(config))
            .map(|tls| Self::new(tls.into()))
            .map_err(|_| TlsFailure::Other)
    }

    fn new(mut tls: Connection) -> Self {
        // One record is written at a time, and only into an empty buffer: room for it and a key
        // update is enough.
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
            is_asking: false,
        }
    }

    /// Lets the other side speak HTTP.
    pub(super) fn offering_http(mut self, offers_http: bool) -> Self {
        self.offers_http = offers_http;
        self
    }

    /// Whether each piece that the tower gives is a record of its own: those who ask in HTTP need
    /// it.
    pub(super) fn is_asking(&self) -> bool {
        self.is_asking
    }

    /// Whether bytes from the other side still mean anything.
    ///
    /// Not after our own close notification: the tower has ended the link by then, and rustls takes
    /// it for a bug (`debug_assert`) when a record after it is broken.
    pub(super) fn takes_bytes(&self) -> bool {
        self.stage != Stage::Failed && !self.close_notify_sent && !self.end_reported
    }

    /// Takes some of `bytes` off the front; call again while any are left. Ask
    /// [`establish`](Self::establish) and [`next_plaintext`](Self::next_plaintext) after each call,
    /// also after a failure: what came before it is authentic, and what a tower gets must not
    /// depend on how the bytes were chunked.
    pub(super) fn receive(&mut self, bytes: &mut &[u8]) -> Result<(), TlsFailure> {
        let read = self.tls.read_tls(bytes).map_err(|_| TlsFailure::Other)?;
        if read == 0 {
            // RFC 8446 §6.1: what follows the other side's close notification is ignored.
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

    /// Says once that the handshake is complete, and who is on the other side.
    pub(super) fn establish(&mut self) -> Result<Option<Established>, TlsFailure> {
        if self.stage != Stage::Handshaking || self.tls.is_handshaking() {
            return Ok(None);
        }
        // rustls refuses a wrong protocol name, but lets a side pass that names none.
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
        self.is_asking = !is_native && matches!(self.tls, Connection::Client(_));
        self.stage = Stage::Established;
        let resumed = self.tls.handshake_kind() == Some(HandshakeKind::Resumed);
        let dialect = if is_native { Dialect::Native } else { Dialect::Http };
        Ok(Some(Established { dialect, identity, resumed }))
    }

    /// Hands the next piece of plaintext to `take`, in place. False when there is none.
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

    /// Whether the other side has just said that it sends no more; true once.
    pub(super) fn take_end(&mut self) -> bool {
        self.ended && self.stage == Stage::Established && self.take_disconnect()
    }

    /// Whether the end of the connection is news to the tower; true once.
    pub(super) fn take_disconnect(&mut self) -> bool {
        !core::mem::replace(&mut self.end_reported, true)
    }

    /// Nothing goes through this session any more, except the alert that may wait to be written.
    pub(super) fn fail(&mut self) {
        self.stage = Stage::Failed;
    }

    /// From now on, when the tower has nothing left to send, the close notification follows.
    pub(super) fn close_when_flushed(&mut self) {
        self.closing = true;
    }

    /// Whether the tower may be asked for plaintext: it would be sent at once.
    pub(super) fn takes_plaintext(&self) -> bool {
        self.stage == Stage::Established && !self.close_notify_sent
    }

    /// Whether there is ciphertext to write.
    pub(super) fn wants_write(&self) -> bool {
        self.tls.wants_write()
    }

    /// Makes a record of `plaintext`, at most [`MAX_PLAINTEXT`] bytes. Only when nothing else waits
    /// to be written.
    pub(super) fn encrypt(&mut self, plaintext: &[u8]) -> Result<(), TlsFailure> {
        debug_assert!(!self.wants_write() && plaintext.len() <= MAX_PLAINTEXT);
        self.tls.writer().write_all(plaintext).map_err(|_| TlsFailure::Other)
    }

    /// Called when the tower has nothing left to send. Whether that made something to write.
    pub(super) fn on_flushed(&mut self) -> bool {
        if self.closing && self.stage == Stage::Established {
            self.notify_close();
        }
        self.wants_write()
    }

    /// Only a completed handshake can be closed with a notification; before, it would be one more
    /// thing that the other side must not expect.
    fn notify_close(&mut self) {
        if !self.close_notify_sent && !self.tls.is_handshaking() {
            self.close_notify_sent = true;
            self.tls.send_close_notify();
        }
    }

    /// Writes ciphertext until there is none or the sink is full.
    pub(super) fn write(&mut self, sink: &mut Sink<'_, impl BufMut>) {
        while self.tls.wants_write() {
            match self.tls.write_tls(sink) {
                Ok(written) if written > 0 => {}
                _ => return,
            }
        }
    }
}

/// The driver's buffer as something that rustls can write to.
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

    const SOME: PeerId = PeerId { index: 0, epoch: Epoch::FIRST };
    const OTHER: PeerId = PeerId { index: 1, epoch: Epoch::FIRST };

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

    /// Lets a tower dial a peer. Whether the session was resumed; both must have found the other's
    /// key.
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
        assert!(!dial(&dialler, SOME, &listener));
        assert!(dial(&dialler, SOME, &listener));
        assert!(dial(&dialler, SOME, &listener), "the resumed session left no ticket");
    }

    #[test]
    fn a_ticket_is_kept_for_one_peer_and_worth_nothing_to_another_tower() {
        let (dialler, listener) = (Side::new(4), Side::new(4));
        assert!(!dial(&dialler, SOME, &listener));
        assert!(!dial(&dialler, OTHER, &listener), "the peers shared a ticket");
        // Another tower has taken the place of the first: it proves its own key.
        assert!(!dial(&dialler, SOME, &Side::new(4)));
    }

    #[test]
    fn only_as_many_sessions_are_kept_as_there_is_room_for() {
        let (dialler, listener) = (Side::new(1), Side::new(1));
        assert!(!dial(&dialler, SOME, &listener));
        assert!(!dial(&dialler, OTHER, &listener));
        assert!(!dial(&dialler, SOME, &listener), "its ticket should have made room");
        assert!(dial(&dialler, SOME, &listener));
    }

    #[test]
    fn a_sink_takes_no_more_than_its_buffer_has_room_for() {
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
