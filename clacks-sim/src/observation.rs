//! Observations: the events of a run as small values.
//!
//! The checkers, the metrics and the trace read the same observations. The trace hash covers all of
//! them.

use core::fmt;

use clacks_proto::wire::Attempt;
use clacks_proto::{CloseReason, Instant, IoCause, Refusal, Status, StatusReason};

/// The number of a tower in a run. A tower keeps its number when it restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TowerId(pub u32);

/// The number of a message in a run, in the order in which messages were enqueued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub u32);

/// The way in which a message entered a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The application enqueued the message.
    Local,
    /// A peer sent the message.
    Peer,
    /// The selected peer did not take the message.
    Returned,
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

/// An event of a run, with its time and its tower.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observation {
    /// The time of the event on the clock of the run. The clock of a tower can differ.
    pub at: Instant,
    /// The tower of the event. `None` for an event of the whole network.
    pub tower: Option<TowerId>,
    /// The event.
    pub what: Observed,
}

/// The kinds of events.
///
/// A tower is `None` if the address belongs to no tower of the run. A message is `None` if the
/// message is not one of the run.
///
/// A role can answer at several addresses. The events of connections and deliveries name the tower
/// that answers. [`Discovered`](Self::Discovered) and [`StatusChanged`](Self::StatusChanged)
/// concern one address. They name a tower only if the address is the tower's own address.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Observed {
    // The lifecycle of a tower.
    /// The tower started with an empty queue.
    Started {
        /// The number of earlier starts of the tower.
        life: u32,
    },
    /// The tower crashed and lost its queue.
    Crashed,
    /// The tower began to shut down, and sends its queue to its peers.
    Leaving,
    /// The tower finished its shutdown.
    Left {
        /// The number of messages that no peer took in time. They are lost.
        undelivered: usize,
    },
    /// The process of the tower was suspended.
    Paused,
    /// The process of the tower was resumed.
    Resumed,
    /// The clock of the tower was changed.
    ClockChanged {
        /// The jump of the clock in nanoseconds.
        step: i64,
        /// The drift of the clock from now on, in parts per million. A positive drift makes the
        /// clock fast.
        drift_ppm: i32,
    },

    // Calls of the application.
    /// The application enqueued a message.
    Enqueued {
        /// The message.
        message: MessageId,
    },
    /// The tower refused a message of the application. The queue was full, or the tower was leaving
    /// or not running.
    EnqueueRefused,
    /// The application ignored a peer.
    Ignored {
        /// The peer.
        peer: TowerId,
    },
    /// The application unignored a peer.
    Unignored {
        /// The peer.
        peer: TowerId,
    },

    // Connections.
    /// The tower dialled a peer.
    Dialled {
        /// The peer that was dialled.
        to: Option<TowerId>,
    },
    /// The tower accepted an inbound connection.
    Accepted {
        /// The peer that dialled.
        from: TowerId,
    },
    /// The tower refused an inbound connection.
    NotAccepted {
        /// The peer that dialled.
        from: TowerId,
        /// The reason of the tower.
        reason: Refusal,
    },
    /// A connection that the tower dialled was established.
    Connected {
        /// The peer that was dialled.
        to: TowerId,
    },
    /// A dial of the tower failed.
    ConnectFailed {
        /// The peer that was dialled.
        to: Option<TowerId>,
        /// The cause of the failure.
        cause: IoCause,
    },
    /// The tower sent bytes.
    Sent {
        /// The peer at the other end of the connection.
        to: TowerId,
        /// The number of bytes.
        bytes: u32,
    },
    /// The tower sent a message. The message is part of the bytes that the tower sends.
    HandedOver {
        /// The peer at the other end of the connection.
        to: TowerId,
        /// The message.
        message: Option<MessageId>,
        /// Whether the tower sent the message before.
        attempt: Attempt,
        /// The time at which the message arrives, unless the connection breaks earlier.
        arrives: Instant,
    },
    /// Bytes arrived at the tower.
    Arrived {
        /// The peer at the other end of the connection.
        from: TowerId,
        /// The number of bytes.
        bytes: u32,
    },
    /// The tower read the end of the stream.
    Finished {
        /// The peer at the other end of the connection.
        from: TowerId,
    },
    /// A connection of the tower broke.
    Broke {
        /// The peer at the other end of the connection.
        with: TowerId,
    },
    /// The tower closed a connection.
    Closed {
        /// The peer at the other end of the connection.
        with: Option<TowerId>,
    },
    /// The timer of the tower fired.
    TimerFired,

    // Notices to the application.
    /// The tower discovered a peer.
    Discovered {
        /// The peer.
        peer: Option<TowerId>,
    },
    /// The tower forgot a peer.
    Forgot,
    /// The tower changed the status of a peer.
    StatusChanged {
        /// The peer.
        peer: Option<TowerId>,
        /// The old status.
        from: Status,
        /// The new status.
        to: Status,
        /// The reason of the change.
        reason: StatusReason,
    },
    /// The tower received a message from a peer. The message can be a duplicate.
    Received {
        /// The sender that the tower assumes.
        from: Option<TowerId>,
        /// The real sender. `None` if the message came over no connection.
        sender: Option<TowerId>,
        /// The message.
        message: Option<MessageId>,
    },
    /// The tower put a message into its queue.
    Queued {
        /// The message.
        message: Option<MessageId>,
        /// The way in which the message entered the queue.
        origin: Origin,
    },
    /// A peer acknowledged a message of the tower.
    Delivered {
        /// The peer.
        to: Option<TowerId>,
        /// The message.
        message: Option<MessageId>,
    },
    /// A peer acknowledged the announcement of the tower.
    Announced {
        /// The peer.
        to: Option<TowerId>,
    },
    /// A link of the tower closed.
    LinkClosed {
        /// The peer that the tower assumes at the other end of the link.
        peer: Option<TowerId>,
        /// The reason of the close.
        reason: CloseReason,
    },
    /// The tower keeps the message that the next observation reports as delivered. The tower
    /// received another copy before the acknowledgement.
    CopyKept {
        /// The message.
        message: MessageId,
    },
    /// The application acknowledged the message without a place in the queue.
    Swallowed {
        /// The tower that sent the message.
        sender: Option<TowerId>,
        /// The message.
        message: MessageId,
    },
    /// The lifetime of a message was over, and the tower dropped it.
    Expired {
        /// The message.
        message: MessageId,
    },
    /// The tower held a copy of the message when it crashed or left. Each copy has its own
    /// observation, after `Crashed` or `Left`.
    Dropped {
        /// The message.
        message: MessageId,
    },
    /// The tower dropped notices because the buffer of notices was full.
    Missed {
        /// The number of dropped notices.
        count: u64,
    },

    // Faults.
    /// A fault of the scenario happened.
    Fault(Fault),
}

/// The kinds of faults of a scenario. The simulator counts a fault when the fault happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// A tower crashed and lost its queue.
    Crash,
    /// A tower that had crashed or left started again.
    Restart,
    /// A tower began to shut down gracefully.
    Leave,
    /// The process of a tower was suspended.
    Pause,
    /// The process of a tower was resumed.
    Resume,
    /// The clock of a tower jumped.
    ClockStep,
    /// The clock of a tower began to drift.
    ClockDrift,
    /// A partition of the network began.
    Partition,
    /// A partition of the network ended.
    Heal,
    /// The conditions of links changed, or changed back.
    LinkConditions,
    /// A partition blocked a dial or bytes.
    Blocked,
    /// The network refused a dial.
    Refused,
    /// The network never answered a dial.
    Unanswered,
    /// A connection broke while it carried bytes.
    Broken,
    /// The network altered a byte.
    Corrupted,
    /// A connection lost all bytes from some moment on, without an end of the stream.
    Silenced,
    /// The scenario cut a connection.
    Cut,
}

impl Fault {
    /// All kinds of faults.
    pub const ALL: [Self; 17] = [
        Self::Crash,
        Self::Restart,
        Self::Leave,
        Self::Pause,
        Self::Resume,
        Self::ClockStep,
        Self::ClockDrift,
        Self::Partition,
        Self::Heal,
        Self::LinkConditions,
        Self::Blocked,
        Self::Refused,
        Self::Unanswered,
        Self::Broken,
        Self::Corrupted,
        Self::Silenced,
        Self::Cut,
    ];

    /// Returns the fault in one to three lower-case words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.describe().0
    }

    /// Returns the fault as a name for programs: lower-case words joined by underscores.
    #[must_use]
    pub fn key(self) -> String {
        self.as_str().replace(' ', "_")
    }

    /// Returns a sentence that describes one occurrence of the fault.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        self.describe().1
    }

    /// Returns whether the scenario schedules the fault. All other faults happen at random, or are
    /// consequences of a scheduled fault.
    #[must_use]
    pub fn is_scheduled(self) -> bool {
        !matches!(
            self,
            Self::Blocked
                | Self::Refused
                | Self::Unanswered
                | Self::Broken
                | Self::Corrupted
                | Self::Silenced
        )
    }

    fn describe(self) -> (&'static str, &'static str) {
        match self {
            Self::Crash => ("crash", "A tower stopped and lost its queue."),
            Self::Restart => ("restart", "A tower that was down started again."),
            Self::Leave => ("leave", "A tower began to shut down gracefully."),
            Self::Pause => ("pause", "The process of a tower was stopped."),
            Self::Resume => ("resume", "The process of a tower went on."),
            Self::ClockStep => ("clock step", "The clock of a tower jumped."),
            Self::ClockDrift => ("clock drift", "The clock of a tower began to drift."),
            Self::Partition => ("partition", "A partition of the network began."),
            Self::Heal => ("heal", "A partition of the network ended."),
            Self::LinkConditions => ("conditions", "The conditions of links changed."),
            Self::Blocked => ("blocked", "A dial or bytes did not pass a partition."),
            Self::Refused => ("dial refused", "The network refused a dial."),
            Self::Unanswered => ("dial unanswered", "The network never answered a dial."),
            Self::Broken => ("connection broken", "A connection broke while it carried bytes."),
            Self::Corrupted => ("byte altered", "A byte was altered on its way."),
            Self::Silenced => {
                ("connection silenced", "A connection lost all bytes from some moment on.")
            }
            Self::Cut => ("connection cut", "The scenario cut a connection."),
        }
    }
}
