//! Jobs of a client, and what they report.

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::chunk::OpenedChunk;
use crate::estimate::{Forecast, Refusal};
use crate::link::KeepLink;

/// What a client does with a file. Only the keys of a keep link are needed: a client never sees the
/// secret with which the content is read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Job {
    /// Publishes all pieces of a file, and looks whether they arrived.
    ///
    /// Events: [`JobEvent::Forecast`], then [`JobEvent::NeedGroup`] for each group, perhaps
    /// [`JobEvent::Republishing`] and groups again, then [`JobEvent::Put`].
    ///
    /// Pieces end 0 to 2 hours before the hour in the link, so that the pieces of a file don't
    /// share it, but at most a quarter of the remaining hours before it. The file is readable until
    /// the first of these hours is over: see [`PutReport::first_end`].
    ///
    /// The job is done when whole inventories show nine tenths of the pieces of each group, read
    /// through [`verify`](crate::ClientConfig::verify) other first hops than the one that took the
    /// pieces. Each tower must give some of the pieces that it lists, and those that are listed count
    /// in proportion to what was given. If three stores or more answer, each group must also be readable without the tower
    /// that lists the most of its pieces: the tower that took the pieces can drop them and list
    /// them. What is missing or only at that one tower is published again, through the hop that
    /// misses it. Then there may be another such tower, so one more is left out each time, up to a
    /// third of the stores.
    Put(KeepLink),
    /// Collects proved pieces until each group can be restored.
    ///
    /// Events: [`JobEvent::Forecast`], then [`JobEvent::Piece`] for each piece, then
    /// [`JobEvent::Got`].
    Get {
        /// The file.
        link: KeepLink,
        /// The indexes of pieces that are known already. They are not taken again.
        proved: Vec<u32>,
    },
    /// Counts the pieces of a file in the network.
    ///
    /// Events: [`JobEvent::Checked`], and then no more.
    Health(KeepLink),
    /// Counts the pieces again and again, and publishes missing ones. Never ends by itself.
    ///
    /// Events: [`JobEvent::Checked`] for each check, and [`JobEvent::Repaired`] for each group that
    /// was published again.
    Keep(KeepLink),
}

/// What a job reports.
#[derive(Debug)]
#[non_exhaustive]
pub enum JobEvent {
    /// What the job will take. It waits for [`Client::proceed`](crate::Client::proceed), unless the
    /// forecast is a refusal: then [`Failed`](Self::Failed) follows.
    Forecast(Forecast),
    /// The job needs the group with this number: see [`Client::supply`](crate::Client::supply). A
    /// group may be needed more than once.
    NeedGroup(u32),
    /// A piece that is proved and was not known before.
    Piece {
        /// The piece.
        piece: OpenedChunk,
        /// The root of its group, with which [`Group::restore`](crate::Group::restore) restores it.
        group_root: [u8; 32],
    },
    /// Pieces that were published are not seen through another first hop. They are published again
    /// there, which shows this client to one more tower.
    Republishing {
        /// The number of pieces.
        pieces: u32,
    },
    /// The file was put. The job is done.
    Put(PutReport),
    /// All groups can be restored. The job is done.
    Got,
    /// The pieces in the network were counted. A health job is done.
    Checked(Health),
    /// A group was restored, and some of its pieces were published.
    Repaired(Repair),
    /// The clock of this machine differs by more than 5 minutes from those of most towers, and
    /// towers behind two first hops agree. Comes at most once. The job goes on.
    ClockDiffers {
        /// By how many minutes the towers are ahead of this machine, or behind it if negative.
        minutes: i32,
    },
    /// A check or a repair failed. The job goes on with the next check.
    Trouble(JobError),
    /// The job failed. It is over.
    Failed(JobError),
}

/// A file that was put.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct PutReport {
    /// The number of pieces.
    pub pieces: u32,
    /// The number of towers that list at least one of them and gave what was taken as a sample. 0 if
    /// nothing was checked.
    pub towers: u32,
    /// The share of the pieces of the worst group that was seen. 0 if nothing was checked.
    pub seen: f64,
    /// The number of other first hops through which the pieces were seen. It is less than
    /// [`verify`](crate::ClientConfig::verify) if no further tower can be reached.
    pub verified: u8,
    /// The number of pieces that were published again.
    pub republished: u32,
    /// The Unix hour at whose end the first pieces end.
    pub first_end: u32,
}

/// A group that was published again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Repair {
    /// The number of the group.
    pub group: u32,
    /// The pieces that were taken to restore it.
    pub taken: u32,
    /// The pieces that were published.
    pub released: u32,
    /// The last Unix hour of the new pieces.
    pub until: u32,
}

/// How much of a file is in the network.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Health {
    /// The share of the pieces of the worst group that is alive.
    pub alive: f64,
    /// The standard error of `alive`.
    pub error: f64,
    /// The share below which the file can't be read.
    pub needed: f64,
    /// The share with which the file is readable with a probability of 99.9 %.
    pub safe: f64,
    /// The verdict.
    pub state: HealthState,
    /// The number of different pieces seen.
    pub seen: u32,
    /// The number of pieces that were taken as a sample.
    pub sampled: u32,
    /// The number of those that were proved. Towers that gave a wrong piece are not counted.
    pub proved: u32,
    /// The number of towers that answered.
    pub visited: u32,
    /// The number of towers known.
    pub known: u32,
    /// The fill of the stores, from 0 to 1.
    pub fill: f64,
    /// The Unix hour at whose end the last piece seen ends, or 0.
    pub last_end: u32,
    /// How long the file remains readable without a keeper, at the rate at which towers leave.
    pub life: Duration,
}

/// The verdict on a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HealthState {
    /// More pieces are alive than a reader needs with a probability of 99.9 %.
    Safe,
    /// The file may be readable.
    Thin,
    /// Too few pieces are alive.
    Lost,
}

impl HealthState {
    /// Returns the state as one lower-case word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Safe => "safe",
            Self::Thin => "thin",
            Self::Lost => "lost",
        }
    }
}

impl fmt::Display for HealthState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a job does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// There is no job.
    #[default]
    Idle,
    /// The network is estimated.
    Estimating,
    /// The job waits for [`Client::proceed`](crate::Client::proceed).
    Agreeing,
    /// Pieces are published.
    Publishing,
    /// Towers are visited, and pieces are taken.
    Visiting,
    /// Another first hop is asked what the network holds, and a sample of it is taken.
    Verifying,
    /// Pieces are taken from the messages of a tower: see [`Listener`](crate::Listener).
    Listening,
    /// The job waits for its next check.
    Waiting,
}

/// How far a job is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// What the job does.
    pub phase: Phase,
    /// The pieces proved or published.
    pub pieces: u32,
    /// The pieces needed or to be published.
    pub needed: u32,
    /// The groups that are complete.
    pub groups_full: u32,
    /// The groups of the file.
    pub groups: u32,
    /// The towers that answered in this round of visits.
    pub visited: u32,
    /// The towers known.
    pub known: u32,
    /// The expected time to the end of this phase. `None` while it is unknown.
    pub remaining: Option<Duration>,
}

/// Why a job failed. The job is over.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum JobError {
    /// No first hop answers.
    Unreachable,
    /// None of the towers has a store.
    NoStore,
    /// The first hop passes no requests on.
    NoRelay,
    /// The forecast does not allow the job.
    Refused(Refusal),
    /// The stores are full.
    Full,
    /// The stores are nearly full, and take only pieces that end sooner.
    TooLong,
    /// The towers take no hour of a piece: the clock of this machine is wrong.
    Clock {
        /// By how many minutes the clocks of most towers are ahead of that of this machine, or
        /// behind it if negative. `None` if too few towers are known.
        minutes: Option<i32>,
    },
    /// A group that was supplied is not the one in the link: the file changed meanwhile.
    Changed,
    /// Too few pieces are in the network, as the first hop and at least one other say, or an own
    /// tower that is alone.
    Gone {
        /// The pieces seen of the worst group.
        seen: u32,
        /// The pieces that a group needs.
        needed: u32,
        /// The number of towers that answered.
        visited: u32,
        /// The number of towers known.
        known: u32,
        /// The number of other first hops that agree.
        agreed: u8,
    },
    /// The first hop shows too few pieces, and no other one answers that could agree.
    NotConfirmed {
        /// The pieces seen of the worst group.
        seen: u32,
        /// The pieces that a group needs.
        needed: u32,
    },
    /// The pieces were published, and other first hops don't see them.
    NotSeen,
    /// The towers answer, and the job made no progress for ten minutes.
    Stalled,
    /// The job was cancelled.
    Cancelled,
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable => {
                f.write_str("no tower answers: start one here, or name one that can be reached")
            }
            Self::NoStore => f.write_str(
                "no tower here has a store: connect to a tower of a network that stores files",
            ),
            Self::NoRelay => f.write_str(
                "the first tower passes no requests on: use another one, or ask towers directly",
            ),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Full => {
                f.write_str("the network is full: put a smaller file, or try again in an hour")
            }
            Self::TooLong => f.write_str(
                "the network is nearly full and takes only files that end soon: put the file for 2 \
                 hours",
            ),
            Self::Clock { .. } => {
                f.write_str("the clock of this machine differs from that of the towers: set it")
            }
            Self::Changed => f.write_str("the file changed while it was put: put it again"),
            Self::Gone { seen, needed, visited, known, .. } => write!(
                f,
                "the file is gone: {visited} of {known} towers have {seen} of {needed} needed \
                 pieces of a group"
            ),
            Self::NotConfirmed { .. } => f.write_str(
                "only the first tower says that the file is gone: use another first tower",
            ),
            Self::NotSeen => f.write_str(
                "other towers do not see the pieces that were published: use another first tower",
            ),
            Self::Stalled => f.write_str(
                "the towers answer, but nothing has come of it for 10 minutes: use another first \
                 tower",
            ),
            Self::Cancelled => f.write_str("cancelled"),
        }
    }
}

impl core::error::Error for JobError {}
