//! What happens in a run, as small values: what every watcher sees, what a trace consists of, and what its hash is made of.

use core::fmt;

use clacks_proto::wire::Attempt;
use clacks_proto::{CloseReason, Instant, IoCause, Refusal, Status, StatusReason};

/// The number of a tower in a run. It stays the same through crashes and restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TowerId(pub u32);

/// The number of a message in a run, in the order in which messages were enqueued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub u32);

/// What put a message into a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The application enqueued the message.
    Local,
    /// A peer handed the message over.
    Peer,
    /// The peer for which the message was meant did not take it.
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

/// One thing that happened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observation {
    /// When, in the run's own time: a tower's clock may say something else.
    pub at: Instant,
    /// To which tower; `None` for what concerns the whole network.
    pub tower: Option<TowerId>,
    /// What.
    pub what: Observed,
}

/// What happened. A tower is `None` if an address belongs to no tower of this run. A message is
/// `None` if it is not one of this run.
///
/// A role may answer at several addresses. What is sent and delivered names the tower that answers.
/// [`Discovered`](Self::Discovered) and [`StatusChanged`](Self::StatusChanged) concern one address,
/// and name only the tower whose own address it is.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Observed {
    // A tower's life.
    /// It came up with an empty queue, for the `life`-th time (from 0).
    Started {
        /// How many lives it had before.
        life: u32,
    },
    /// It died: its queue is gone.
    Crashed,
    /// It was asked to leave, and hands its queue to others.
    Leaving,
    /// It has left.
    Left {
        /// Messages that nobody took in time: gone with it.
        undelivered: usize,
    },
    /// Its process was stopped.
    Paused,
    /// Its process goes on.
    Resumed,
    /// Its clock was changed.
    ClockChanged {
        /// By how much it jumped, in nanoseconds.
        step: i64,
        /// By how much it is fast from now on, in parts per million.
        drift_ppm: i32,
    },

    // What its application told it.
    /// The application enqueued a message.
    Enqueued {
        /// The message.
        message: MessageId,
    },
    /// The application's message was not taken: the queue was full, or the tower was leaving or did not run.
    EnqueueRefused,
    /// The application wants nothing to do with a peer any more.
    Ignored {
        /// The peer.
        peer: TowerId,
    },
    /// The application unignored a peer.
    Unignored {
        /// The peer.
        peer: TowerId,
    },

    // What goes over the network.
    /// It dialled.
    Dialled {
        /// Whom.
        to: Option<TowerId>,
    },
    /// It took an inbound connection.
    Accepted {
        /// Whose.
        from: TowerId,
    },
    /// It did not take an inbound connection.
    NotAccepted {
        /// Whose.
        from: TowerId,
        /// Why.
        reason: Refusal,
    },
    /// Its connection stands.
    Connected {
        /// To whom.
        to: TowerId,
    },
    /// Its connection could not be made.
    ConnectFailed {
        /// To whom.
        to: Option<TowerId>,
        /// Why.
        cause: IoCause,
    },
    /// It sent bytes.
    Sent {
        /// To whom.
        to: TowerId,
        /// How many.
        bytes: u32,
    },
    /// A message is among the bytes that it sends.
    HandedOver {
        /// To whom.
        to: TowerId,
        /// The message.
        message: Option<MessageId>,
        /// Whether it was tried before.
        attempt: Attempt,
        /// When it arrives, unless the connection breaks before.
        arrives: Instant,
    },
    /// Bytes arrived.
    Arrived {
        /// From whom.
        from: TowerId,
        /// How many.
        bytes: u32,
    },
    /// The other side will send no more.
    Finished {
        /// The other side.
        from: TowerId,
    },
    /// A connection broke.
    Broke {
        /// The other side.
        with: TowerId,
    },
    /// It closed a connection.
    Closed {
        /// The other side.
        with: Option<TowerId>,
    },
    /// Its timer fired.
    TimerFired,

    // What it told its application.
    /// It learned of a peer.
    Discovered {
        /// The peer.
        peer: Option<TowerId>,
    },
    /// It forgot a peer.
    Forgot,
    /// A peer's status changed.
    StatusChanged {
        /// The peer.
        peer: Option<TowerId>,
        /// What it was.
        from: Status,
        /// What it is.
        to: Status,
        /// Why.
        reason: StatusReason,
    },
    /// It took a message from a peer (or has it already).
    Received {
        /// From whom, as far as it knows.
        from: Option<TowerId>,
        /// Who sent it, whatever the tower knows; `None` when it came over no connection.
        sender: Option<TowerId>,
        /// The message.
        message: Option<MessageId>,
    },
    /// A message was put into its queue.
    Queued {
        /// The message.
        message: Option<MessageId>,
        /// What brought it there.
        origin: Origin,
    },
    /// A peer confirmed a message.
    Delivered {
        /// The peer.
        to: Option<TowerId>,
        /// The message.
        message: Option<MessageId>,
    },
    /// A peer confirmed its announcement.
    Announced {
        /// The peer.
        to: Option<TowerId>,
    },
    /// One of its links ended.
    LinkClosed {
        /// The peer at the other end, as far as it knows.
        peer: Option<TowerId>,
        /// Why.
        reason: CloseReason,
    },
    /// The tower keeps the message that it reports as delivered next: another copy came in before
    /// the confirmation.
    CopyKept {
        /// The message.
        message: MessageId,
    },
    /// The application had the message confirmed, and the message was not queued.
    Swallowed {
        /// The tower that handed the message over.
        sender: Option<TowerId>,
        /// The message.
        message: MessageId,
    },
    /// The tower held the message when it crashed or left. One for each copy, after `Crashed` or
    /// `Left`.
    Dropped {
        /// The message.
        message: MessageId,
    },
    /// It had more to tell than there was room for.
    Missed {
        /// How many notices.
        count: u64,
    },

    // What the network did to it, on purpose.
    /// A fault that the scenario asks for really happened.
    Fault(Fault),
}

/// The faults that a scenario can ask for. Each is counted when it really happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// A tower died with its queue.
    Crash,
    /// A tower that had died or left came back.
    Restart,
    /// A tower left gracefully.
    Leave,
    /// A tower's process was stopped.
    Pause,
    /// A tower's process went on.
    Resume,
    /// A tower's clock jumped.
    ClockStep,
    /// A tower's clock was made to drift.
    ClockDrift,
    /// The network was parted.
    Partition,
    /// A partition healed.
    Heal,
    /// The links' weather changed, or changed back.
    LinkConditions,
    /// Something was kept from passing a partition.
    Parted,
    /// A dial was refused by the network.
    Refused,
    /// A dial was never answered.
    Unanswered,
    /// A connection broke in the middle of a transfer.
    Broken,
    /// A byte was altered on its way.
    Corrupted,
    /// A connection fell silent, without an end.
    Silenced,
    /// A connection was cut by the scenario.
    Cut,
}

impl Fault {
    /// All of them.
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
        Self::Parted,
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

    /// Returns what one occurrence of the fault is, as a sentence.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        self.describe().1
    }

    /// Returns whether the scenario schedules the fault. Other faults happen by chance or follow from
    /// scheduled ones, and a lossy network has them all the time.
    #[must_use]
    pub fn is_scheduled(self) -> bool {
        !matches!(
            self,
            Self::Parted
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
            Self::Parted => ("blocked", "A dial or bytes did not pass a partition."),
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
