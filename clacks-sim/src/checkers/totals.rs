//! The balance of a run: how many messages and copies there are, and what became of the others.

use std::fmt;

/// Why no tower holds a message any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum LossCause {
    /// The last tower that held the message crashed.
    Crash,
    /// The last tower that held the message left before a peer took the message.
    Left,
    /// An application swallowed the message.
    Swallowed,
    /// A role took the message and did not keep it.
    Role,
    /// The lifetime of the message was over.
    Expired,
    /// None of the above. Each of these messages is a violation too.
    Unexplained,
}

impl LossCause {
    /// All causes.
    pub const ALL: [Self; 6] =
        [Self::Crash, Self::Left, Self::Swallowed, Self::Role, Self::Expired, Self::Unexplained];

    /// Returns the cause as one lower-case word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::Left => "left",
            Self::Swallowed => "swallowed",
            Self::Role => "role",
            Self::Expired => "expired",
            Self::Unexplained => "unexplained",
        }
    }
}

/// Why there is one more copy of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DuplicationCause {
    /// The connection broke or timed out before the confirmation arrived. The sender requeued a
    /// message that the receiver has taken.
    ConfirmationLost,
    /// The bytes were slow. The receiver took a message that the sender had requeued, or that the
    /// sender had lost in a crash while another tower had a copy.
    TakenLate,
    /// The receiver did not recognise a retry of a message that it had taken.
    RetryTaken,
    /// A role refused a message that it had taken, or handed a message over again.
    Role,
    /// None of the above. Each of these copies is a violation too.
    Unexplained,
}

impl DuplicationCause {
    /// All causes.
    pub const ALL: [Self; 5] =
        [Self::ConfirmationLost, Self::TakenLate, Self::RetryTaken, Self::Role, Self::Unexplained];

    /// Returns the cause in a few lower-case words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConfirmationLost => "confirmation lost",
            Self::TakenLate => "taken late",
            Self::RetryTaken => "retry taken",
            Self::Role => "role",
            Self::Unexplained => "unexplained",
        }
    }
}

/// The balance of a run. `enqueued = alive + lost` holds at any time.
///
/// With `checks = "off"` no causes are known: all losses are `Unexplained`, and no duplicates are
/// counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Totals {
    /// Messages that applications and roles made.
    pub enqueued: u64,
    /// Messages that towers did not accept from their applications. A full network refuses.
    pub refused: u64,
    /// Messages that at least one tower holds.
    pub alive: u64,
    /// Copies that towers hold. A message that was taken counts once, even if the sender still
    /// waits for the confirmation. More copies than messages alive are the price of lost
    /// confirmations: they take room and bandwidth.
    pub copies: u64,
    /// How often a tower took a message from a peer: the work that the network has done.
    pub hops: u64,
    /// Copies that met another copy at a tower and became one with it.
    pub coalesced: u64,
    pub(super) lost: [u64; LossCause::ALL.len()],
    pub(super) duplicated: [u64; DuplicationCause::ALL.len()],
}

impl Totals {
    /// Returns the number of messages that no tower holds, by the cause of the last loss.
    #[must_use]
    pub fn lost(&self, cause: LossCause) -> u64 {
        self.lost[cause as usize]
    }

    /// Returns the number of copies that arose in addition to the first, by cause.
    #[must_use]
    pub fn duplicated(&self, cause: DuplicationCause) -> u64 {
        self.duplicated[cause as usize]
    }
}

impl fmt::Display for LossCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for DuplicationCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
