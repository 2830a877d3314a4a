//! The frames of the protocol, and the codes of their enumerated fields.

use alloc::vec::Vec;
use core::fmt;
use core::num::NonZeroU64;

use crate::address::Address;
use crate::message::{Kind, Lifetime, Nonce};

/// A frame. Borrows from the bytes that it was decoded from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Frame<'a> {
    /// The first frame of each side.
    Hello(Hello<'a>),
    /// Hands over a message.
    Message(MessageFrame<'a>),
    /// Announces the sender to the receiver.
    Announce(AnnounceFrame),
    /// Confirms the named transfer and all earlier unanswered transfers of this link.
    Confirmed {
        /// The number of the last confirmed transfer.
        through: u64,
    },
    /// Refuses one transfer, and confirms all earlier unanswered transfers of this link.
    Refused {
        /// The number of the refused transfer.
        transfer: u64,
        /// Why the transfer is refused.
        reason: RefusedReason,
    },
    /// The last frame of each side. Transfers that the sender has not answered were not taken.
    Goodbye {
        /// Why the sender closes the link.
        farewell: Farewell,
    },
    /// Bytes for the application at the other end of the link: 1 to the length that the receiver's
    /// hello allows.
    Datagram(&'a [u8]),
}

/// How much may be unconfirmed: at most `messages`, and at most `bytes` of bodies. A single message
/// may exceed `bytes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Window {
    /// The maximum number of messages and announces, 1 to [`MAX_WINDOW`](super::MAX_WINDOW).
    pub messages: u16,
    /// The maximum number of bytes of bodies.
    pub bytes: u32,
}

impl Window {
    /// Returns a window with the smaller of both limits for messages and for bytes.
    pub(crate) fn min(self, other: Self) -> Self {
        Self { messages: self.messages.min(other.messages), bytes: self.bytes.min(other.bytes) }
    }

    /// Returns whether a body of `len` bytes may be sent while `messages` messages with `bytes`
    /// bytes of bodies are unconfirmed.
    #[must_use]
    #[inline]
    pub fn admits(self, messages: usize, bytes: usize, len: usize) -> bool {
        messages == 0
            || messages < usize::from(self.messages)
                && bytes.saturating_add(len) <= usize::try_from(self.bytes).unwrap_or(usize::MAX)
    }
}

/// The first frame of each side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello<'a> {
    /// The highest version of the protocol that the sender speaks, at least 2.
    pub version: u8,
    /// A number drawn when the sending tower was created.
    pub incarnation: u64,
    /// A number that the sender drew for this link. Retries name the sender's transfers on this
    /// link by it.
    pub link: u64,
    /// The maximum length of a body that the sender accepts, in bytes: 1 to
    /// [`MAX_BODY`](super::MAX_BODY).
    pub max_message: u32,
    /// How much the sender allows to be unconfirmed.
    pub window: Window,
    /// The maximum length of a datagram that the sender accepts, in bytes: at most
    /// [`MAX_DATAGRAM`](super::MAX_DATAGRAM). 0 if it accepts none.
    pub datagram: u32,
    /// The network's name, at most [`MAX_NETWORK`](super::MAX_NETWORK) bytes long.
    pub network: &'a str,
    /// The address at which the sender claims to accept connections; `None` for a guest.
    pub address: Option<Address>,
    /// Fields that a later version adds, at most [`MAX_REST`](super::MAX_REST) bytes.
    pub rest: &'a [u8],
}

/// Hands over a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageFrame<'a> {
    /// The number of the transfer on this link.
    pub transfer: u64,
    /// The transfer that is sent again, for a retry.
    pub retry_of: Option<TransferId>,
    /// For how long the message may still travel.
    pub lifetime: Lifetime,
    /// The nonce, which identifies the message.
    pub nonce: Nonce,
    /// How the body is interpreted.
    pub kind: Kind,
    /// The address of a tower that the sender knows to be alive.
    pub friend: Option<Address>,
    /// The body. A decoder checks that a body of text or JSON is UTF-8.
    pub body: &'a [u8],
}

impl MessageFrame<'_> {
    /// Returns whether the transfer is sent for the first time.
    #[must_use]
    #[inline]
    pub fn attempt(&self) -> Attempt {
        match self.retry_of {
            None => Attempt::First,
            Some(_) => Attempt::Retry,
        }
    }
}

/// The name of a transfer on a link that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransferId {
    /// The number of the link, from the hello of the transfer's sender.
    pub link: u64,
    /// The number of the transfer on that link.
    pub number: NonZeroU64,
}

/// Announces the sender to the receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnnounceFrame {
    /// The number of the transfer on this link.
    pub transfer: u64,
    /// Addresses of towers that the sender knows to be alive, at most
    /// [`MAX_FRIENDS`](super::MAX_FRIENDS).
    pub friends: Vec<Address>,
}

impl Frame<'_> {
    /// Returns the kind of the frame.
    #[must_use]
    pub fn kind(&self) -> FrameKind {
        match self {
            Self::Hello(_) => FrameKind::Hello,
            Self::Message(_) => FrameKind::Message,
            Self::Announce(_) => FrameKind::Announce,
            Self::Confirmed { .. } => FrameKind::Confirmed,
            Self::Refused { .. } => FrameKind::Refused,
            Self::Goodbye { .. } => FrameKind::Goodbye,
            Self::Datagram(_) => FrameKind::Datagram,
        }
    }
}

/// The kind of a frame, which is its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum FrameKind {
    /// [`Frame::Hello`]
    Hello,
    /// [`Frame::Message`]
    Message,
    /// [`Frame::Announce`]
    Announce,
    /// [`Frame::Confirmed`]
    Confirmed,
    /// [`Frame::Refused`]
    Refused,
    /// [`Frame::Goodbye`]
    Goodbye,
    /// [`Frame::Datagram`]
    Datagram,
}

/// Whether a transfer is sent for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Attempt {
    /// The transfer was not sent before.
    First,
    /// The transfer was sent before, and its link broke before the answer arrived.
    Retry,
}

/// Why a transfer is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum RefusedReason {
    /// The receiver has no room now.
    Busy,
    /// The receiver ignores the sender.
    Ignored,
    /// The body is longer than the receiver accepts.
    TooLarge,
    /// The receiver's application rejected the message.
    Screened,
    /// The receiver remembers another key for the sender's address.
    OtherKey,
}

/// Why a link is closed.
///
/// The sender of a goodbye does not retry the transfers that it sent on that link, so the receiver
/// need not remember them. The exception is [`Misbehaved`](Self::Misbehaved).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Farewell {
    /// The link was not used.
    Idle,
    /// The sender shuts down.
    Leaving,
    /// The sender ignores the receiver.
    Ignored,
    /// The sender belongs to another network.
    WrongNetwork,
    /// The link connects the tower to itself.
    OwnAddress,
    /// The receiver violated the protocol.
    Misbehaved,
    /// The sender speaks another version of the protocol.
    WrongVersion,
    /// The sender remembers another key for the receiver's address.
    OtherKey,
}

/// Defines the codes of an enum in one table for both directions, so that they agree.
macro_rules! codes {
    ($type:ident { $($value:ident = $code:literal),* $(,)? }) => {
        impl $type {
            pub(super) const fn code(self) -> u8 {
                match self { $(Self::$value => $code),* }
            }

            pub(super) const fn from_code(code: u8) -> Option<Self> {
                match code { $($code => Some(Self::$value),)* _ => None }
            }
        }
    };
}

codes!(FrameKind {
    Hello = 0xC1,
    Message = 0xC2,
    Announce = 0xC3,
    Confirmed = 0xC4,
    Refused = 0xC5,
    Goodbye = 0xC6,
    Datagram = 0xC7,
});
codes!(Attempt { First = 0, Retry = 1 });
codes!(Kind { Bytes = 0, Text = 1, Json = 2 });
codes!(RefusedReason { Busy = 0, Ignored = 1, TooLarge = 2, Screened = 3, OtherKey = 4 });
codes!(Farewell {
    Idle = 0,
    Leaving = 1,
    Ignored = 2,
    WrongNetwork = 3,
    OwnAddress = 4,
    Misbehaved = 5,
    WrongVersion = 6,
    OtherKey = 7,
});

impl fmt::Display for FrameKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hello => "hello",
            Self::Message => "message",
            Self::Announce => "announce",
            Self::Confirmed => "confirmed",
            Self::Refused => "refused",
            Self::Goodbye => "goodbye",
            Self::Datagram => "datagram",
        })
    }
}

impl fmt::Display for RefusedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy => "busy",
            Self::Ignored => "ignored",
            Self::TooLarge => "too large",
            Self::Screened => "screened",
            Self::OtherKey => "other key",
        })
    }
}

impl fmt::Display for Farewell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Idle => "idle",
            Self::Leaving => "leaving",
            Self::Ignored => "ignored",
            Self::WrongNetwork => "wrong network",
            Self::OwnAddress => "own address",
            Self::Misbehaved => "misbehaved",
            Self::WrongVersion => "wrong version",
            Self::OtherKey => "other key",
        })
    }
}
