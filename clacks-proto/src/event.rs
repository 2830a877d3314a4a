//! The closed alphabet between a state machine and whoever drives it.

use core::fmt;

use crate::address::Address;
use crate::message::{Message, Nonce};
use crate::time::Instant;
use crate::wire::{Farewell, WireError};

/// A link: one connection, inbound or outbound. An id is never used again: once its link has ended, it means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId {
    pub(crate) index: u32,
    pub(crate) epoch: u32,
}

impl LinkId {
    /// The place of the link in a table: less than `max_links`, and taken by one live link at a time. For drivers that
    /// keep their own state in a `Vec`.
    #[must_use]
    pub fn index(self) -> usize {
        self.index as usize
    }
}

/// A peer in a tower's table. Once the peer is forgotten, the id means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId {
    pub(crate) index: u32,
    pub(crate) epoch: u32,
}

/// A message held by a tower. Once the message has left, the key means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageKey {
    pub(crate) index: u32,
    pub(crate) epoch: u32,
}

/// A message that waits for the application's verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OfferId(pub(crate) MessageKey);

/// Who a tower is: the SHA-256 of its certificate's public key (the DER of its `SubjectPublicKeyInfo`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a driver tells the state machine.
///
/// Each link has exactly one terminal event: `ConnectFailed`, `Lost` or `Closed`. Events that name a link that has ended
/// change nothing and are counted.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The connection asked for with [`Action::Connect`] stands.
    Connected {
        /// The link.
        link: LinkId,
    },
    /// The connection asked for with [`Action::Connect`] could not be made. Terminal.
    ConnectFailed {
        /// The link.
        link: LinkId,
        /// What the operating system said.
        cause: IoCause,
    },
    /// Bytes came in, in any chunking.
    BytesArrived {
        /// The link.
        link: LinkId,
        /// The bytes. Nothing keeps a reference to them.
        bytes: &'a [u8],
    },
    /// The other side will send no more (end of stream).
    Finished {
        /// The link.
        link: LinkId,
    },
    /// The connection broke. Terminal.
    Lost {
        /// The link.
        link: LinkId,
        /// What the operating system said.
        cause: IoCause,
    },
    /// What [`Action::Close`] asked for is done. Terminal.
    Closed {
        /// The link.
        link: LinkId,
    },
    /// The timer fired. Early or needless firings are harmless.
    TimerFired,
}

/// Why the operating system could not do something with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IoCause {
    /// Nobody listens there.
    Refused,
    /// The name has no address.
    Resolve,
    /// There is no way there.
    Unreachable,
    /// The other side reset the connection.
    Reset,
    /// The operating system gave up waiting.
    TimedOut,
    /// This machine has no descriptors or memory left.
    Exhausted,
    /// Anything else.
    Other,
}

/// What a state machine asks its driver to do, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Open a connection to the peer's address. Answer with `Connected` or `ConnectFailed`.
    Connect {
        /// The link that the connection will be.
        link: LinkId,
        /// Whom to dial; [`Tower::peer`](crate::Tower::peer) has the address.
        peer: PeerId,
    },
    /// There are bytes to send: call [`transmit`](crate::StateMachine::transmit) whenever the connection takes bytes,
    /// until it returns 0.
    Send {
        /// The link.
        link: LinkId,
    },
    /// Close the connection and answer with `Closed` (or with `Lost`, or with `ConnectFailed` if it was never up). May be
    /// said twice, the second time more urgently.
    Close {
        /// The link.
        link: LinkId,
        /// With what care.
        how: CloseMode,
        /// Why, for logs.
        why: CloseReason,
    },
    /// Show the application a message and come back with [`Tower::decide`](crate::Tower::decide).
    Screen {
        /// The message: [`Tower::offer`](crate::Tower::offer) shows it.
        offer: OfferId,
        /// Who handed it over, when that is known.
        from: Option<PeerId>,
    },
    /// Tell the application.
    Notify(Notice),
}

/// How to close a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseMode {
    /// First send all that `transmit` has, then close the sending side, then the rest.
    Flush,
    /// At once; unsent bytes are dropped.
    Abort,
}

/// Why a link was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// Nobody used it.
    Idle,
    /// The other side said goodbye.
    Goodbye(Farewell),
    /// This tower shuts down.
    Shutdown,
    /// To make room for another link.
    Evicted,
    /// The connection did not come to stand in time.
    ConnectTimeout,
    /// TLS or the hello took too long.
    HandshakeTimeout,
    /// A message was not confirmed in time.
    ConfirmTimeout,
    /// The stream ended without a goodbye.
    Truncated,
    /// The bytes are not the protocol.
    Wire(WireError),
    /// The frames are right, their order or number is not.
    Protocol(ProtocolError),
    /// The TLS layer refused the other side.
    Tls(TlsFailure),
    /// The dialled address has another key than the one pinned for it.
    KeyChanged,
    /// It is this tower itself.
    OwnAddress,
    /// The other side belongs to another network.
    WrongNetwork,
    /// The other side speaks another version of the protocol.
    WrongVersion(u8),
    /// The peer is ignored.
    Ignored,
    /// The operating system ended it.
    Io(IoCause),
}

/// What a peer did that no peer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A frame came before the hello.
    HelloMissing,
    /// A second hello.
    HelloTwice,
    /// More unconfirmed messages or bytes than this tower grants.
    WindowExceeded,
    /// A confirmation or refusal of something that was not sent.
    UnknownTransfer,
}

/// What went wrong in TLS, in the words of a person who runs a tower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsFailure {
    /// These bytes are not TLS: another protocol on this port.
    NotTls,
    /// The certificate was refused, by us or by the other side.
    Certificate,
    /// The two sides have no protocol or version in common.
    NoCommonProtocol,
    /// The other side sent an alert, by its number in RFC 8446 §6.
    Alert(u8),
    /// Anything else that rustls refuses.
    Other,
}

/// What an application may want to know. Small and `Copy`; [`Tower::report`](crate::Tower::report) spells one out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// A peer that was not known.
    TowerDiscovered {
        /// The peer.
        peer: PeerId,
    },
    /// A peer's status changed.
    StatusChanged {
        /// The peer.
        peer: PeerId,
        /// What it was.
        from: Status,
        /// What it is.
        to: Status,
    },
    /// A peer was forgotten: an older dead one made room, or it was another name of a known tower.
    TowerForgotten {
        /// The peer. Its id means nothing any more.
        peer: PeerId,
    },
    /// A peer handed a message over and it was taken.
    MessageReceived {
        /// The peer, when the sender claimed to be one.
        from: Option<PeerId>,
        /// The message, which can be looked up until the next call of `poll_action`.
        message: MessageKey,
    },
    /// A message was put into the queue.
    MessageQueued {
        /// The message.
        message: MessageKey,
        /// What brought it there.
        origin: Origin,
    },
    /// A peer confirmed a message, and this tower forgot it.
    MessageDelivered {
        /// The peer.
        to: PeerId,
        /// The message, which can be looked up until the next call of `poll_action`.
        message: MessageKey,
    },
    /// A peer confirmed our announcement.
    Announced {
        /// The peer.
        to: PeerId,
    },
    /// The key at a peer's address is not the one pinned for it.
    KeyChanged {
        /// The peer.
        peer: PeerId,
        /// The key that was seen.
        seen: Option<Fingerprint>,
    },
    /// A link ended or is about to.
    LinkClosed {
        /// The link.
        link: LinkId,
        /// The peer at its other end, when known.
        peer: Option<PeerId>,
        /// Why.
        why: CloseReason,
    },
    /// Notices that did not fit and were dropped.
    Missed {
        /// How many.
        count: u64,
    },
    /// The shutdown is complete: all links are closed.
    ShutDown {
        /// How many messages no peer took in time. They are lost with this tower.
        left: usize,
    },
}

/// What brought a message into the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// The application enqueued it.
    Local,
    /// A peer handed it over.
    Peer,
    /// It came back: the peer it was meant for did not take it.
    Returned,
}

/// A [`Notice`] with everything spelled out, so that it outlives the moment and the tower.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Report {
    /// See [`Notice::TowerDiscovered`].
    TowerDiscovered {
        /// The peer's address.
        tower: Address,
    },
    /// See [`Notice::StatusChanged`].
    StatusChanged {
        /// The peer's address.
        tower: Address,
        /// What it was.
        from: Status,
        /// What it is.
        to: Status,
    },
    /// See [`Notice::MessageReceived`].
    MessageReceived {
        /// The sender's address, when it claimed one.
        from: Option<Address>,
        /// The message's name.
        nonce: Nonce,
        /// The message.
        message: Message,
    },
    /// See [`Notice::MessageQueued`].
    MessageQueued {
        /// The message's name.
        nonce: Nonce,
        /// What brought it there.
        origin: Origin,
    },
    /// See [`Notice::MessageDelivered`].
    MessageDelivered {
        /// The receiver's address.
        to: Address,
        /// The message's name.
        nonce: Nonce,
    },
    /// See [`Notice::Announced`].
    Announced {
        /// The peer's address.
        to: Address,
    },
    /// See [`Notice::KeyChanged`].
    KeyChanged {
        /// The peer's address.
        tower: Address,
        /// The key that was seen.
        seen: Option<Fingerprint>,
    },
    /// See [`Notice::LinkClosed`].
    LinkClosed {
        /// The peer's address, when known.
        tower: Option<Address>,
        /// Why.
        why: CloseReason,
    },
    /// See [`Notice::Missed`].
    Missed {
        /// How many.
        count: u64,
    },
    /// See [`Notice::ShutDown`].
    ShutDown {
        /// How many messages no peer took in time.
        left: usize,
    },
}

/// What a tower thinks of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// Known, and not yet tried. First in the draw.
    New,
    /// The last transaction with it succeeded.
    Alive,
    /// The last attempt to reach it failed.
    Lost,
    /// Lost for longer than the kill timer.
    Dead,
    /// The application wants nothing to do with it (or it turned out to be this tower itself).
    Ignored,
}

impl Status {
    /// The status in one lower-case word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Alive => "alive",
            Self::Lost => "lost",
            Self::Dead => "dead",
            Self::Ignored => "ignored",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// When the driver's timer must fire, and what for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wakeup {
    /// When. In the past means now.
    pub at: Instant,
    /// What for.
    pub why: WakeupReason,
}

/// What a wake-up is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WakeupReason {
    /// Actions wait to be polled.
    Actions,
    /// The next message is due.
    Tick,
    /// The next heartbeat is due.
    Heartbeat,
    /// A link waits for something: connection, hello, confirmation, use, or its close.
    Link,
    /// A peer has rested after a failure.
    Backoff,
    /// A message under screening has waited for its verdict.
    Screening,
    /// The shutdown has taken as long as it may.
    Shutdown,
}

/// Why an inbound connection is not taken. Drop it; no link exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// All links are in use. An idle one was asked to make room.
    TooManyLinks,
    /// Too many inbound links have yet to say hello.
    TooManyHalfOpen,
    /// The tower shuts down.
    ShuttingDown,
}

impl core::error::Error for Refusal {}

macro_rules! plain_words {
    ($type:ty { $($variant:pat => $words:expr,)+ }) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self { $($variant => f.write_str($words),)+ }
            }
        }
    };
}

plain_words!(IoCause {
    Self::Refused => "connection refused",
    Self::Resolve => "the name has no address",
    Self::Unreachable => "unreachable",
    Self::Reset => "connection reset",
    Self::TimedOut => "timed out",
    Self::Exhausted => "out of file descriptors or memory",
    Self::Other => "input/output error",
});

plain_words!(ProtocolError {
    Self::HelloMissing => "a frame before the hello",
    Self::HelloTwice => "a second hello",
    Self::WindowExceeded => "more unconfirmed messages than granted",
    Self::UnknownTransfer => "an answer to something that was not sent",
});

plain_words!(Refusal {
    Self::TooManyLinks => "too many links",
    Self::TooManyHalfOpen => "too many links without a hello",
    Self::ShuttingDown => "shutting down",
});

plain_words!(Origin {
    Self::Local => "local",
    Self::Peer => "peer",
    Self::Returned => "returned",
});

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotTls => f.write_str("not TLS"),
            Self::Certificate => f.write_str("certificate refused"),
            Self::NoCommonProtocol => f.write_str("no TLS version or protocol in common"),
            Self::Alert(number) => write!(f, "TLS alert {number}"),
            Self::Other => f.write_str("TLS error"),
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Idle => "unused",
            Self::Goodbye(farewell) => return write!(f, "the peer said goodbye: {farewell}"),
            Self::Shutdown => "this tower shuts down",
            Self::Evicted => "made room for another link",
            Self::ConnectTimeout => "no connection in time",
            Self::HandshakeTimeout => "no handshake in time",
            Self::ConfirmTimeout => "no confirmation in time",
            Self::Truncated => "the stream ended without a goodbye",
            Self::Wire(error) => return write!(f, "not the protocol: {error}"),
            Self::Protocol(error) => return write!(f, "protocol violated: {error}"),
            Self::Tls(failure) => return write!(f, "{failure}"),
            Self::KeyChanged => "another key than the one pinned for this address",
            Self::OwnAddress => "it is this tower itself",
            Self::WrongNetwork => "another network",
            Self::WrongVersion(version) => return write!(f, "protocol version {version}"),
            Self::Ignored => "the peer is ignored",
            Self::Io(cause) => return write!(f, "{cause}"),
        })
    }
}

#[cfg(feature = "std")]
impl From<std::io::ErrorKind> for IoCause {
    fn from(kind: std::io::ErrorKind) -> Self {
        use std::io::ErrorKind as Kind;
        match kind {
            Kind::ConnectionRefused => Self::Refused,
            Kind::HostUnreachable | Kind::NetworkUnreachable | Kind::AddrNotAvailable => {
                Self::Unreachable
            }
            Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe => Self::Reset,
            Kind::TimedOut => Self::TimedOut,
            Kind::OutOfMemory | Kind::QuotaExceeded => Self::Exhausted,
            _ => Self::Other,
        }
    }
}

#[cfg(feature = "std")]
impl From<&std::io::Error> for IoCause {
    fn from(error: &std::io::Error) -> Self {
        // ENFILE and EMFILE have no `ErrorKind`; the numbers are the same on all unixes.
        match error.raw_os_error() {
            Some(23 | 24) if cfg!(unix) => Self::Exhausted,
            _ => error.kind().into(),
        }
    }
}

#[cfg(all(test, feature = "std", unix))]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_of_descriptors_has_a_cause_of_its_own() {
        let cause = |number| IoCause::from(&std::io::Error::from_raw_os_error(number));
        assert_eq!((cause(23), cause(24)), (IoCause::Exhausted, IoCause::Exhausted));
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        assert_eq!(IoCause::from(&refused), IoCause::Refused);
    }
}
