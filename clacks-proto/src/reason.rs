//! Why things end or are refused, each with the words for a person.

use core::fmt;

use crate::wire::{Farewell, WireError};

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
    /// It began in HTTP, and is not HTTP as towers speak it.
    BadHttp,
    /// A request did not come to its end in time.
    RequestTimeout,
    /// The operating system ended it.
    Io(IoCause),
}

/// What a peer did that no peer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProtocolError {
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
    Self::HelloTwice => "a second hello",
    Self::WindowExceeded => "more unconfirmed messages than granted",
    Self::UnknownTransfer => "an answer to something that was not sent",
});

plain_words!(Refusal {
    Self::TooManyLinks => "too many links",
    Self::TooManyHalfOpen => "too many links without a hello",
    Self::ShuttingDown => "shutting down",
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
            Self::BadHttp => "not HTTP as towers speak it",
            Self::RequestTimeout => "no whole request in time",
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
