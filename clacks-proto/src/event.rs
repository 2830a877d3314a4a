//! Inputs ([`Event`]) and outputs ([`Action`], [`Notice`]) of the state machine.

use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;
use core::time::Duration;

use crate::address::Address;
use crate::error::{CloseReason, IoCause, StatusReason};
use crate::ids::{Fingerprint, LinkId, MessageId, OfferId};
use crate::message::{Message, Nonce};
use crate::time::Instant;
use crate::wire::RefusedReason;

/// An input of the state machine, from its driver.
///
/// Each link has exactly one terminal event: `ConnectFailed`, `Lost` or `Closed`. An event for a
/// link that has ended changes nothing and is counted in
/// [`Stats::stale_events`](crate::Stats::stale_events).
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The connection requested with [`Action::Connect`] is established.
    Connected {
        /// The link.
        link: LinkId,
        /// The IP address at which the connection was established. If it is known and the host of
        /// the peer is a name, the tower tries the other addresses of the name if another tower
        /// answers at this one.
        at: Option<IpAddr>,
    },
    /// The connection requested with [`Action::Connect`] could not be established. Terminal.
    ConnectFailed {
        /// The link.
        link: LinkId,
        /// The error of the operating system.
        cause: IoCause,
    },
    /// Bytes arrived, in any chunking.
    BytesArrived {
        /// The link.
        link: LinkId,
        /// The bytes. The state machine keeps no reference to them.
        bytes: &'a [u8],
    },
    /// The other side sends no more (end of stream).
    Finished {
        /// The link.
        link: LinkId,
    },
    /// The connection broke. Terminal.
    Lost {
        /// The link.
        link: LinkId,
        /// The error of the operating system.
        cause: IoCause,
    },
    /// The connection is closed, as [`Action::Close`] requested. Terminal.
    Closed {
        /// The link.
        link: LinkId,
    },
    /// The operating system could not accept connections. The driver tries again by itself.
    AcceptFailed {
        /// The error of the operating system.
        cause: IoCause,
    },
    /// The timer fired. A timer that fires early or without need does no harm.
    TimerFired,
}

/// An output: what a driver must do, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Open a connection. Answer with [`Event::Connected`] or [`Event::ConnectFailed`].
    Connect {
        /// The link that the connection belongs to.
        link: LinkId,
        /// The address to dial.
        address: Address,
        /// The IP addresses of the host that must not be dialled, because another tower answered
        /// there. If the host has no other address, answer with [`IoCause::Resolve`].
        except: Vec<IpAddr>,
        /// Whether the host is known. If not, its look-up must not delay that of a known one.
        standing: Standing,
    },
    /// The link has bytes to send. Call [`StateMachine::transmit`](crate::StateMachine::transmit)
    /// whenever the connection takes bytes, until it returns 0.
    Send {
        /// The link.
        link: LinkId,
    },
    /// Close the connection. Answer with [`Event::Closed`], or with [`Event::Lost`] if it broke
    /// meanwhile, or with [`Event::ConnectFailed`] if it was never established. A second `Close`
    /// for the same link always is an [`Abort`](CloseMode::Abort).
    Close {
        /// The link.
        link: LinkId,
        /// Whether bytes that wait are sent before.
        how: CloseMode,
        /// Why, for logs.
        reason: CloseReason,
    },
    /// Show a message to the application, which answers with
    /// [`Tower::decide`](crate::Tower::decide).
    Screen {
        /// The id for the answer.
        offer: OfferId,
        /// The message.
        message: Message,
        /// The peer that handed the message over, if it claimed to be one and no pinned key
        /// disproves the claim.
        from: Option<Address>,
    },
    /// Tell the application.
    Notify(Notice),
}

/// How well the tower knows a peer that it dials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The peer was alive once, or the application named it.
    Known,
    /// Other towers named the peer, or it named itself.
    Stranger,
}

/// How to close a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseMode {
    /// Send all that `transmit` returns, then close the sending side, then the rest.
    Flush,
    /// Close at once. Bytes that were not sent are dropped.
    Abort,
}

/// A report to the application. A notice owns its content: it can be kept, sent to another thread,
/// and serialized (feature `serde`).
///
/// Addresses and message bodies are reference-counted, so a notice is cheap to make and to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(tag = "event", rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Notice {
    /// A new peer is known.
    TowerDiscovered {
        /// The peer.
        peer: Address,
    },
    /// The status of a peer changed. Serialized as `tower_updated`, the name of the original.
    #[cfg_attr(feature = "serde", serde(rename = "tower_updated"))]
    StatusChanged {
        /// The peer.
        peer: Address,
        /// The status before.
        from: Status,
        /// The status now.
        to: Status,
        /// Why.
        reason: StatusReason,
        /// The time until the tower may try the peer again, if an attempt has failed. In JSON:
        /// `retry_in_ms`, in milliseconds.
        #[cfg_attr(feature = "serde", serde(default, rename = "retry_in_ms"))]
        #[cfg_attr(feature = "serde", serde(with = "crate::serialization::optional_millis"))]
        retry_in: Option<Duration>,
    },
    /// A peer was forgotten: at the application's request, to make room in a full table, or because
    /// the address turned out to be another address of a known tower.
    TowerForgotten {
        /// The peer.
        peer: Address,
    },
    /// A peer handed over a message, and this tower took it.
    MessageReceived {
        /// The id of the message.
        id: MessageId,
        /// The name of the message.
        nonce: Nonce,
        /// The message.
        message: Message,
        /// The peer, if the sender claimed to be one and no pinned key disproves the claim.
        from: Option<Address>,
        /// Whether this tower has had a message of this name recently: among the last
        /// [`Config::recent`](crate::Config::recent) that came in or were enqueued, and perhaps
        /// among as many before them. Bodies are not compared. Always `false` for a message that
        /// came in over HTTP, which gets a new name.
        again: bool,
        /// Whether this tower already held the message. The queue keeps one of the two copies. If
        /// `false`, the message is now at the tail of the queue, or rests before it joins it.
        coalesced: bool,
    },
    /// A message was put into the queue, other than by a peer. A message from a peer has the notice
    /// [`MessageReceived`](Self::MessageReceived) only.
    MessageQueued {
        /// The id of the message.
        id: MessageId,
        /// The name of the message.
        nonce: Nonce,
        /// What put the message into the queue.
        origin: Origin,
    },
    /// A peer confirmed a message.
    MessageDelivered {
        /// The id that the message had.
        id: MessageId,
        /// The name of the message.
        nonce: Nonce,
        /// The message.
        message: Message,
        /// The peer.
        to: Address,
        /// Whether this tower keeps the message, because a copy came in while it was in flight. The
        /// copy has the same id. Its lifetime may be over: then
        /// [`MessageExpired`](Self::MessageExpired) follows.
        kept: bool,
    },
    /// The lifetime of a message was over, and this tower dropped it.
    MessageExpired {
        /// The id that the message had.
        id: MessageId,
        /// The name of the message.
        nonce: Nonce,
        /// The message.
        message: Message,
    },
    /// A peer confirmed an announcement of this tower.
    Announced {
        /// The peer.
        to: Address,
    },
    /// A peer's address shows another key than the one pinned for it. The link is closed.
    KeyChanged {
        /// The peer.
        peer: Address,
        /// The key that was seen.
        seen: Option<Fingerprint>,
    },
    /// A link was closed, or is about to be.
    LinkClosed {
        /// The link.
        link: LinkId,
        /// The peer at the other end, if it is known.
        peer: Option<Address>,
        /// Why.
        reason: CloseReason,
        /// The time until the tower may try the peer again, if the link was an attempt that failed.
        /// In JSON: `retry_in_ms`, in milliseconds.
        #[cfg_attr(feature = "serde", serde(default, rename = "retry_in_ms"))]
        #[cfg_attr(feature = "serde", serde(with = "crate::serialization::optional_millis"))]
        retry_in: Option<Duration>,
    },
    /// A peer refused a message or an announce of this tower for another reason than the last time.
    /// The peer is alive, unless it ignores this tower.
    Refused {
        /// The peer.
        by: Address,
        /// Why.
        reason: RefusedReason,
        /// The time until the tower may try the peer again. In JSON: `retry_in_ms`, in
        /// milliseconds.
        #[cfg_attr(feature = "serde", serde(default, rename = "retry_in_ms"))]
        #[cfg_attr(feature = "serde", serde(with = "crate::serialization::optional_millis"))]
        retry_in: Option<Duration>,
    },
    /// This machine lacks something that the tower needs for its connections. The tower tries
    /// again. The status of peers does not change. At most one such notice comes in a minute.
    LocalTrouble {
        /// What this machine lacks.
        cause: IoCause,
    },
    /// A link has room for datagrams again, after one did not fit.
    DatagramRoom {
        /// The link.
        link: LinkId,
    },
    /// Datagrams were dropped before they were sent.
    DatagramsDropped {
        /// The link that had to send them.
        link: LinkId,
        /// The peer at the other end, if it is known.
        to: Option<Address>,
        /// The number of datagrams.
        count: u32,
        /// Why.
        why: DatagramLoss,
    },
    /// Notices were dropped because too many waited. This notice comes in their place: after the
    /// notices before them, and before those after them.
    Missed {
        /// The number of dropped notices.
        count: u64,
    },
    /// A shutdown hands over no more messages, although the tower holds some. Links are closed
    /// next. An answer that is under way may still confirm a message.
    HandOverEnded {
        /// The number of messages held.
        left: usize,
        /// Why.
        reason: HandOverEnd,
    },
    /// The shutdown is complete: all links are closed.
    ShutDown {
        /// The number of messages that no peer took. They are lost with this tower.
        left: usize,
    },
}

impl Notice {
    /// Returns the message that the notice carries, if it carries one.
    #[must_use]
    pub fn message(&self) -> Option<&Message> {
        match self {
            Self::MessageReceived { message, .. }
            | Self::MessageDelivered { message, .. }
            | Self::MessageExpired { message, .. } => Some(message),
            _ => None,
        }
    }
}

/// Why datagrams were not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum DatagramLoss {
    /// The link ended.
    LinkEnded,
    /// The other side takes none, or none of this length.
    NotTaken,
}

/// Why a shutdown hands over no more messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum HandOverEnd {
    /// No peer can take them: there is none, or none is reached or has room.
    NoRecipient,
    /// The time for it is over.
    TimeOut,
}

/// What put a message into the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Origin {
    /// The application enqueued the message.
    Local,
    /// The peer for which the message was meant did not take it.
    Returned,
}

/// The status of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Status {
    /// Known, and not yet tried. New peers come first in the draw.
    New,
    /// The last transaction with the peer succeeded.
    Alive,
    /// The last attempt to reach the peer failed.
    Lost,
    /// The peer was lost for longer than [`Config::kill_timeout`](crate::Config::kill_timeout).
    Dead,
    /// The application ignores the peer; or the address is another one of this tower or of an
    /// ignored peer. The latter are forgotten when the table is full.
    Ignored,
}

impl Status {
    /// Returns the status as one lower-case word.
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

/// The protocol that is spoken on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Dialect {
    /// The frames of [`wire`](crate::wire).
    Native,
    /// HTTP/1.1 with JSON, as the towers of the original's JavaScript package speak it (feature
    /// `http`).
    Http,
}

impl Dialect {
    /// Returns the dialect as one lower-case word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Http => "http",
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// When the driver's timer must fire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wakeup {
    /// The time. A time in the past means now.
    pub at: Instant,
    /// What the state machine will do then.
    pub reason: WakeupReason,
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
    /// A link times out: connection, handshake, confirmation, use or close.
    Link,
    /// The back-off of a peer ends.
    Backoff,
    /// The time for the verdict on a message ends.
    Screening,
    /// The lifetime of a message ends.
    Lifetime,
    /// A message has rested, and joins the tail of the queue.
    Hold,
    /// The time for the shutdown ends.
    Shutdown,
    /// A state machine around the tower has something to do.
    Application,
}

impl fmt::Display for HandOverEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoRecipient => "no peer can take them",
            Self::TimeOut => "the time for it is over",
        })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local => "local",
            Self::Returned => "returned",
        })
    }
}
