//! Frames <-> bytes.

use crate::address::Address;
use crate::config::Window;
use crate::message::{Kind, Nonce};
use bytes::BufMut;
use core::fmt;

/// The longest body that the format can carry, in bytes.
pub const MAX_BODY: usize = 16 * 1024 * 1024;
/// The longest network name, in bytes.
pub const MAX_NETWORK: usize = 64;
/// The largest window of messages that a hello may grant.
pub const MAX_WINDOW: u16 = 4096;

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
    /// All of the receiver's transfers on this link up to and with this one are taken.
    Confirmed {
        /// The last transfer confirmed.
        through: u64,
    },
    /// One transfer is not taken; earlier ones not yet answered are.
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

/// The first frame of each side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello<'a> {
    /// The version of the protocol that the sender speaks.
    pub version: u8,
    /// A number drawn when the sending tower was made.
    pub incarnation: u64,
    /// The longest body that the sender takes.
    pub max_message: u32,
    /// What the sender lets be unconfirmed.
    pub window: Window,
    /// The network's name.
    pub network: &'a str,
    /// Where the sender says that it can be dialled.
    pub address: Option<Address>,
}

/// A message handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageFrame<'a> {
    /// The number of the transfer, one for each message and peer.
    pub transfer: u64,
    /// Whether the sender asked before.
    pub attempt: Attempt,
    /// The name of the message.
    pub nonce: Nonce,
    /// What the body is.
    pub kind: Kind,
    /// An alive tower.
    pub friend: Option<Address>,
    /// The body.
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

/// Whether a transfer is tried for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// For the first time.
    First,
    /// Its link broke before the answer came.
    Retry,
}

/// Why a transfer is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// A deadline passed.
    TimedOut,
}

impl fmt::Display for Farewell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("x")
    }
}

/// Why bytes are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WireError {
    /// An unknown kind.
    Kind(u8),
}
impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("x")
    }
}
impl core::error::Error for WireError {}
