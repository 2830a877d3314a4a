//! How many messages and copies there are, what became of the others, and why.

use std::fmt;

/// Why a message is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum LossCause {
    /// The last tower that held it died.
    Crash,
    /// The last tower that held it left, and nobody took it in time.
    Left,
    /// An altered byte made its sender believe that it was taken.
    Altered,
    /// None that the ledger accepts. Each of these is a violation, too.
    Unexplained,
}

impl LossCause {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Crash, Self::Left, Self::Altered, Self::Unexplained];

    /// The cause in one lower-case word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::Left => "left",
            Self::Altered => "altered",
            Self::Unexplained => "unexplained",
        }
    }

    pub(super) fn place(self) -> usize {
        self as usize
    }
}

/// Why there is one more copy of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DuplicationCause {
    /// Its sender got it back although the receiver had taken it: the confirmation was lost.
    ConfirmationLost,
    /// The receiver took it after its sender had got it back or asked again: the bytes were slow.
    TakenLate,
    /// The receiver was asked again whether it had taken it, and took it once more: it could not know the sender, or had forgotten it.
    TakenTwice,
    /// An altered byte gave it another body under the same name, and a tower held both; or another altered byte made it again what it was.
    Altered,
    /// None that the ledger accepts. Each of these is a violation, too.
    Unexplained,
}

impl DuplicationCause {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::ConfirmationLost,
        Self::TakenLate,
        Self::TakenTwice,
        Self::Altered,
        Self::Unexplained,
    ];

    /// The cause in a few lower-case words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConfirmationLost => "confirmation lost",
            Self::TakenLate => "taken late",
            Self::TakenTwice => "taken twice",
            Self::Altered => "altered",
            Self::Unexplained => "unexplained",
        }
    }

    pub(super) fn place(self) -> usize {
        self as usize
    }
}

/// The balance of a run.
///
/// Two equations always hold. Messages: `enqueued = alive + in_doubt + lost`. Copies: `enqueued + duplicated = copies + unknown + copies_lost +
/// coalesced`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Totals {
    /// Messages that applications enqueued.
    pub enqueued: u64,
    /// Messages that applications could not enqueue.
    pub refused: u64,
    /// Messages of which some tower holds a copy.
    pub alive: u64,
    /// Messages of which there is a copy only if bytes that are under way arrive, or if a confirmation does not.
    pub in_doubt: u64,
    /// Copies that towers hold. One that was taken counts where it was taken, though its sender does not know it yet.
    pub copies: u64,
    /// Copies that were sent by a tower that is gone, and of which nobody knows whether they are taken.
    pub unknown: u64,
    /// Copies that towers have sent and keep until they are confirmed, those taken already included.
    pub in_flight: u64,
    /// How often a message was taken by a tower.
    pub hops: u64,
    /// Copies that met another copy of the same message and became one with it.
    pub coalesced: u64,
    /// Copies that are no more, whatever the cause.
    pub copies_lost: u64,
    /// How often a tower's memory was compared with the ledger.
    pub audits: u64,
    pub(super) lost: [u64; LossCause::ALL.len()],
    pub(super) duplicated: [u64; DuplicationCause::ALL.len()],
}

impl Totals {
    /// Messages of which no copy is left, by the cause that took the last one.
    #[must_use]
    pub fn lost(&self, cause: LossCause) -> u64 {
        self.lost[cause.place()]
    }

    /// Copies that came to be besides the first, by their cause.
    #[must_use]
    pub fn duplicated(&self, cause: DuplicationCause) -> u64 {
        self.duplicated[cause.place()]
    }

    /// Whether both equations hold.
    pub(super) fn balance(&self) -> bool {
        let lost: u64 = self.lost.iter().sum();
        let duplicated: u64 = self.duplicated.iter().sum();
        self.enqueued == self.alive + self.in_doubt + lost
            && self.enqueued + duplicated
                == self.copies + self.unknown + self.copies_lost + self.coalesced
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
