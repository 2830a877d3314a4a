//! Reasons for closed links, failed connections and refusals. All implement `Display`.

use core::fmt;

use crate::wire::{Farewell, RefusedReason, WireError};

/// Why a link was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum CloseReason {
    /// The link was not used for [`Timeouts::idle`](crate::Timeouts::idle).
    Idle,
    /// The peer sent a goodbye.
    Goodbye(Farewell),
    /// This tower shuts down.
    Shutdown,
    /// The link was closed to make room for another one.
    Evicted,
    /// The connection was not established within [`Timeouts::connect`](crate::Timeouts::connect).
    ConnectTimeout,
    /// TLS and the hello were not complete within
    /// [`Timeouts::handshake`](crate::Timeouts::handshake).
    HandshakeTimeout,
    /// A message was not confirmed within [`Timeouts::confirm`](crate::Timeouts::confirm).
    ConfirmTimeout,
    /// The stream ended without a goodbye.
    Truncated,
    /// The dialled side ended the connection before the handshake was complete. A tower does so if
    /// all its links are in use or if it shuts down.
    HungUp,
    /// The peer sent bytes that are not a valid frame.
    Wire(WireError),
    /// The peer sent a valid frame that is not allowed at this point.
    Protocol(ProtocolError),
    /// TLS failed.
    Tls(TlsFailure),
    /// The key of the dialled tower differs from the key pinned for its address.
    KeyChanged,
    /// The link connects this tower to itself.
    OwnAddress,
    /// The peer belongs to another network.
    WrongNetwork,
    /// The peer speaks another version of the protocol.
    WrongVersion(u8),
    /// The peer is ignored.
    Ignored,
    /// The peer sent an HTTP request or response that is not valid in this dialect.
    BadHttp,
    /// An HTTP request was not complete in time.
    RequestTimeout,
    /// The peer answered an HTTP request with a status that refuses the message for good.
    HttpStatus(u16),
    /// The operating system ended the connection.
    Io(IoCause),
}

/// A frame that is not allowed at this point of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum ProtocolError {
    /// A second hello.
    HelloTwice,
    /// More unconfirmed messages or bytes than this tower grants.
    WindowExceeded,
    /// A confirmation or refusal of a transfer that was not sent.
    UnknownTransfer,
    /// A transfer whose number is not the next one of the link.
    WrongNumber,
}

/// Why TLS failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum TlsFailure {
    /// The bytes are not TLS: the port speaks another protocol.
    NotTls,
    /// This tower or the peer refused the other's certificate, for a reason that no other variant
    /// names.
    Certificate,
    /// This tower or the peer refused the other's certificate because it has expired.
    CertificateExpired,
    /// This tower or the peer refused the other's certificate because it is on a list of revoked
    /// certificates.
    CertificateRevoked,
    /// This tower or the peer refused the other's certificate because none of the roots of its
    /// private network has signed it.
    UnknownIssuer,
    /// The two sides have no protocol or version in common.
    NoCommonProtocol,
    /// The peer sent an alert, by its number in RFC 8446 §6.
    Alert(u8),
    /// Any other error of rustls.
    Other,
}

/// Why the operating system ended a connection or could not establish it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum IoCause {
    /// No process listens at the address.
    Refused,
    /// The name has no address.
    Resolve,
    /// There is no route to the address. This is a failure of the peer, although this machine may
    /// be offline: an address that this machine can never reach, such as one of IPv6, looks alike,
    /// and must not be tried first for ever.
    Unreachable,
    /// The peer reset the connection.
    Reset,
    /// The connection timed out.
    TimedOut,
    /// This machine has no file descriptors, local ports, threads or memory left. The status of the
    /// peer does not change.
    Exhausted,
    /// The network of this machine is down. The status of the peer does not change.
    NetworkDown,
    /// A firewall or another policy of this machine does not permit the connection. Like
    /// [`Unreachable`](Self::Unreachable), this is a failure of the peer.
    Denied,
    /// Any other error.
    Other,
}

impl IoCause {
    /// Returns whether this machine lacks something. Such a failure tells nothing about a peer.
    #[must_use]
    pub fn is_local(self) -> bool {
        matches!(self, Self::Exhausted | Self::NetworkDown)
    }
}

/// Why the status of a peer changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum StatusReason {
    /// A transaction with the peer succeeded.
    Success,
    /// A link to the peer was closed for this reason before a transaction succeeded.
    LinkClosed(CloseReason),
    /// The peer ignores this tower.
    IgnoredByPeer,
    /// The peer refused a message or an announce.
    Refused(RefusedReason),
    /// The application ignored, unignored or restored the peer.
    Application,
    /// The address turned out to be another address of this tower or of an ignored peer.
    Alias,
}

/// Why an inbound connection is refused. No link was created. The driver must drop the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Refusal {
    /// All links are in use. If one of them is idle, the tower has started to close it.
    TooManyLinks,
    /// The tower shuts down.
    ShuttingDown,
}

impl core::error::Error for Refusal {}

/// Implements `Display` for an enum whose variants have fixed texts.
macro_rules! display {
    ($type:ty { $($variant:pat => $text:expr,)+ }) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self { $($variant => f.write_str($text),)+ }
            }
        }
    };
}

display!(IoCause {
    Self::Refused => "connection refused",
    Self::Resolve => "the name could not be resolved",
    Self::Unreachable => "no route to the address",
    Self::Reset => "connection reset",
    Self::TimedOut => "connection timed out",
    Self::Exhausted => "this machine is out of file descriptors, local ports, threads or memory",
    Self::NetworkDown => "the network of this machine is down",
    Self::Denied => "a firewall or policy of this machine does not permit the connection",
    Self::Other => "input/output error",
});

display!(ProtocolError {
    Self::HelloTwice => "the peer sent a second hello",
    Self::WindowExceeded => "the peer sent more unconfirmed messages than the window allows",
    Self::UnknownTransfer => "the peer answered a transfer that was not sent",
    Self::WrongNumber => "the number of a transfer was not the next one of the link",
});

display!(Refusal {
    Self::TooManyLinks => "all links are in use",
    Self::ShuttingDown => "this tower shuts down",
});

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotTls => f.write_str("the peer does not speak TLS"),
            Self::Certificate => f.write_str("the certificate was refused"),
            Self::CertificateExpired => f.write_str("the certificate was refused as expired"),
            Self::CertificateRevoked => f.write_str("the certificate was refused as revoked"),
            Self::UnknownIssuer => {
                f.write_str("the certificate was refused as not from the roots of the network")
            }
            Self::NoCommonProtocol => f.write_str("no TLS version or protocol in common"),
            Self::Alert(number) => write!(f, "TLS alert {number}"),
            Self::Other => f.write_str("TLS error"),
        }
    }
}

const REMEMBERS_OTHER_KEY: &str = "the peer remembers another key for this tower's address";

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Idle => "the link was not used for a while",
            Self::Goodbye(Farewell::OtherKey) => REMEMBERS_OTHER_KEY,
            Self::Goodbye(farewell) => return write!(f, "goodbye from the peer: {farewell}"),
            Self::Shutdown => "this tower shuts down",
            Self::Evicted => "the link made room for another one",
            Self::ConnectTimeout => "the connection was not established in time",
            Self::HandshakeTimeout => "the handshake was not completed in time",
            Self::ConfirmTimeout => "the peer did not answer a transfer in time",
            Self::Truncated => "the stream ended without a goodbye",
            Self::HungUp => {
                "the peer hung up before the handshake: it may be full, shut down, or not a tower"
            }
            Self::Wire(error) => return write!(f, "invalid frame: {error}"),
            Self::Protocol(error) => return write!(f, "protocol violation: {error}"),
            Self::Tls(failure) => return write!(f, "{failure}"),
            Self::KeyChanged => "the key differs from the one pinned for this address",
            Self::OwnAddress => "the address is this tower's own",
            Self::WrongNetwork => "the peer belongs to another network",
            Self::WrongVersion(version) => {
                return write!(f, "the peer speaks protocol version {version}");
            }
            Self::Ignored => "this tower ignores the peer",
            Self::BadHttp => "the peer sent an invalid HTTP request or response",
            Self::RequestTimeout => "the peer did not complete a request in time",
            Self::HttpStatus(status) => return write!(f, "the peer answered HTTP status {status}"),
            Self::Io(cause) => return write!(f, "{cause}"),
        })
    }
}

impl fmt::Display for StatusReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Success => "a transaction succeeded",
            Self::LinkClosed(reason) => return write!(f, "{reason}"),
            Self::IgnoredByPeer => "the peer ignores this tower",
            Self::Refused(RefusedReason::OtherKey) => REMEMBERS_OTHER_KEY,
            Self::Refused(reason) => return write!(f, "the peer refused: {reason}"),
            Self::Application => "the application ignored, unignored or restored the peer",
            Self::Alias => "the address is another one of this tower or of an ignored peer",
        })
    }
}

#[cfg(feature = "std")]
impl From<std::io::ErrorKind> for IoCause {
    fn from(kind: std::io::ErrorKind) -> Self {
        use std::io::ErrorKind as Kind;
        match kind {
            Kind::ConnectionRefused => Self::Refused,
            Kind::HostUnreachable | Kind::NetworkUnreachable => Self::Unreachable,
            Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe => Self::Reset,
            Kind::TimedOut => Self::TimedOut,
            // A connect without an address: all local ports are in use.
            Kind::AddrNotAvailable | Kind::OutOfMemory | Kind::QuotaExceeded => Self::Exhausted,
            // A socket that can't be registered: all watches of epoll are in use.
            Kind::StorageFull => Self::Exhausted,
            Kind::PermissionDenied => Self::Denied,
            Kind::NetworkDown => Self::NetworkDown,
            _ => Self::Other,
        }
    }
}

#[cfg(feature = "std")]
impl From<&std::io::Error> for IoCause {
    fn from(error: &std::io::Error) -> Self {
        // ENFILE, EMFILE and ENOBUFS have no `ErrorKind`. The numbers of the first two are the same
        // on all unixes.
        let enobufs = if cfg!(any(target_os = "linux", target_os = "android")) { 105 } else { 55 };
        match error.raw_os_error() {
            Some(23 | 24) if cfg!(unix) => Self::Exhausted,
            Some(number) if cfg!(unix) && number == enobufs => Self::Exhausted,
            _ => error.kind().into(),
        }
    }
}

#[cfg(all(test, feature = "std", unix))]
mod tests {
    use super::*;

    /// The numbers of errors on Linux: ENOMEM, ENFILE, EMFILE, ENOSPC, EADDRNOTAVAIL, ENOBUFS,
    /// EDQUOT.
    #[cfg(target_os = "linux")]
    #[test]
    fn what_this_machine_lacks_is_told_from_failures_of_a_peer() {
        let cause = |number| IoCause::from(&std::io::Error::from_raw_os_error(number));
        for number in [12, 23, 24, 28, 99, 105, 122] {
            assert_eq!(cause(number), IoCause::Exhausted, "{number}");
            assert!(cause(number).is_local());
        }
        // ENETDOWN.
        assert_eq!(cause(100), IoCause::NetworkDown);
        assert!(cause(100).is_local());
        // ENETUNREACH, EHOSTUNREACH, ETIMEDOUT, ECONNREFUSED, ECONNRESET, EPERM, EACCES.
        for number in [101, 113, 110, 111, 104, 1, 13] {
            assert!(!cause(number).is_local(), "{number}");
        }
        assert_eq!((cause(1), cause(13)), (IoCause::Denied, IoCause::Denied));
    }
}
