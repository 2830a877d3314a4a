//! The closed alphabet between a state machine and whoever drives it.

use core::fmt;

use crate::address::Address;
use crate::ids::{Fingerprint, LinkId, MessageKey, OfferId, PeerId};
use crate::message::{Message, Nonce};
use crate::reason::{CloseReason, IoCause};
use crate::time::Instant;

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

/// What a state machine asks its driver to do, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Open a connection to the peer's address. Answer with `Connected` or `ConnectFailed`.
    Connect {
        /// The link that the connection will be.
        link: LinkId,
        /// Whom to dial; [`Tower::peer`](crate::Tower::peer) has the address. When it has none, the peer was forgotten before this was polled, and
        /// the link is to be closed: a `Close` follows.
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
        /// The peer, when the sender claimed to be one and no pinned key disproves that.
        from: Option<PeerId>,
        /// The message, which can be looked up until the next call that changes the tower.
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
        /// The message, which can be looked up until the next call that changes the tower.
        message: MessageKey,
    },
    /// A peer confirmed our announcement.
    Announced {
        /// The peer.
        to: PeerId,
    },
    /// The key at a peer's address is not the one pinned for it. [`Tower::report`](crate::Tower::report) tells which one was seen.
    KeyChanged {
        /// The peer.
        peer: PeerId,
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
        /// The other key that was seen there last.
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
    /// The application wants nothing to do with it; or it turned out to be another name of this tower or of an ignored one, which is
    /// forgotten when the table is full.
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

/// The language that is spoken on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Dialect {
    /// The frames of [`wire`](crate::wire).
    Native,
    /// HTTP/1.1 with JSON, as the towers of the original's JavaScript package speak it (feature `http`).
    Http,
}

impl Dialect {
    /// The dialect in one lower-case word.
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

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local => "local",
            Self::Peer => "peer",
            Self::Returned => "returned",
        })
    }
}
