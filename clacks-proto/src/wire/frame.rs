//! What two towers say to each other, and the number of each thing that is one of a few.

use core::fmt;

use crate::address::Address;
use crate::message::{Kind, Nonce};

/// A frame; borrows from the bytes it was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Frame<'a> {
    /// The first frame of each side.
    Hello(Hello<'a>),
    /// A message handed over.
    Message(MessageFrame<'a>),
    /// The sender makes itself known.
    Announce(AnnounceFrame),
    /// All transfers on this link that have no answer yet, up to and with this one, are taken.
    Confirmed {
        /// The last transfer confirmed.
        through: u64,
    },
    /// One transfer is not taken; earlier ones that have no answer yet are.
    Refused {
        /// The transfer.
        transfer: u64,
        /// Why.
        reason: RefusedReason,
    },
    /// Nothing that comes after this is taken; what is not answered by now was not taken.
    Goodbye {
        /// Why.
        farewell: Farewell,
    },
}

/// What may be sent without having been confirmed: at most `messages`, and at most `bytes` of
/// bodies unless it is a single message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Messages and announces, at least 1, at most [`MAX_WINDOW`](super::MAX_WINDOW).
    pub messages: u16,
    /// Bytes of bodies.
    pub bytes: u32,
}

impl Window {
    /// Returns the smaller of two windows.
    pub(crate) fn min(self, other: Self) -> Self {
        Self { messages: self.messages.min(other.messages), bytes: self.bytes.min(other.bytes) }
    }

    /// Returns whether a body of `len` bytes may be sent while `messages` and `bytes` are
    /// unconfirmed.
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
    /// The version of the protocol that the sender speaks. Any number is decoded: whether it can be
    /// spoken with is the tower's question.
    pub version: u8,
    /// A number drawn when the sending tower was made.
    pub incarnation: u64,
    /// The longest body that the sender takes, 1 to [`MAX_BODY`](super::MAX_BODY).
    pub max_message: u32,
    /// What the sender lets be unconfirmed.
    pub window: Window,
    /// The network's name, at most [`MAX_NETWORK`](super::MAX_NETWORK) bytes.
    pub network: &'a str,
    /// Where the sender says that it can be dialled.
    pub address: Option<Address>,
}

/// A message handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageFrame<'a> {
    /// The number of the transfer, from the one counter of the sending tower. A retry keeps it.
    pub transfer: u64,
    /// Whether the sender asked before.
    pub attempt: Attempt,
    /// The name of the message.
    pub nonce: Nonce,
    /// What the body is.
    pub kind: Kind,
    /// An alive tower.
    pub friend: Option<Address>,
    /// The body. When it is text or JSON, a decoder has checked that it is UTF-8.
    pub body: &'a [u8],
}

/// The sender makes itself known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnnounceFrame {
    /// The number of the transfer.
    pub transfer: u64,
    /// An alive tower.
    pub friend: Option<Address>,
}

impl Frame<'_> {
    /// Which of the frames it is.
    #[must_use]
    pub fn kind(&self) -> FrameKind {
        match self {
            Self::Hello(_) => FrameKind::Hello,
            Self::Message(_) => FrameKind::Message,
            Self::Announce(_) => FrameKind::Announce,
            Self::Confirmed { .. } => FrameKind::Confirmed,
            Self::Refused { .. } => FrameKind::Refused,
            Self::Goodbye { .. } => FrameKind::Goodbye,
        }
    }
}

/// The kinds of frames: the first byte of each.
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
}

/// Whether a transfer is tried for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Attempt {
    /// For the first time.
    First,
    /// Its link broke before the answer came.
    Retry,
}

/// Why a transfer is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum RefusedReason {
    /// No room now.
    Busy,
    /// The receiver ignores the sender.
    Ignored,
    /// The body is longer than the receiver can ever hold.
    TooLarge,
    /// The receiver's application does not want it.
    Screened,
}

/// Why a link ends.
///
/// Whoever says goodbye for any reason but [`Misbehaved`](Self::Misbehaved) will not ask again
/// about what it handed over on that link, and the receiver need not remember it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Farewell {
    /// Nobody used it.
    Idle,
    /// The sender shuts down.
    Leaving,
    /// The sender ignores the receiver.
    Ignored,
    /// The sender belongs to another network.
    WrongNetwork,
    /// The link leads back to its own tower.
    OwnAddress,
    /// The receiver broke the protocol.
    Misbehaved,
    /// The sender speaks another version of the protocol.
    WrongVersion,
}

/// The byte of each value, in one table for both directions, so that they can't disagree.
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
});
codes!(Attempt { First = 0, Retry = 1 });
codes!(Kind { Bytes = 0, Text = 1, Json = 2 });
codes!(RefusedReason { Busy = 0, Ignored = 1, TooLarge = 2, Screened = 3 });
codes!(Farewell {
    Idle = 0,
    Leaving = 1,
    Ignored = 2,
    WrongNetwork = 3,
    OwnAddress = 4,
    Misbehaved = 5,
    WrongVersion = 6,
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
        })
    }
}
