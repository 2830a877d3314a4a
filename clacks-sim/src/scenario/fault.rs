//! The `[[fault]]` list: what is done to the network and to towers, and when.

mod written;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::link::LinkChange;
use super::messages::Repeat;
use super::towers::Towers;
use written::Written;

/// Something that is done to the network or to towers.
///
/// In a file each is a `[[fault]]` table: `what` says what is done, `at` when, `lasts` for how long, `repeat = { every, times }` how often;
/// the other keys belong to what is done. A drawn group is drawn anew in each repetition. The draws of a fault depend on what, at and whom,
/// and on nothing else in the scenario: the others' are the same without it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
#[non_exhaustive]
pub struct Fault {
    /// When it begins.
    pub at: Duration,
    /// How long it lasts; `None` for what has no end.
    pub lasts: Option<Duration>,
    /// How often it is done.
    pub repeat: Option<Repeat>,
    /// What is done.
    pub what: Deed,
}

/// What is done.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Deed {
    /// The network is parted, for as long as the fault lasts.
    Partition {
        /// Who is parted from whom.
        kind: Parts,
        /// In which direction nothing comes through.
        direction: OneWay,
        /// How that looks.
        how: Look,
    },
    /// Towers die with their queues. Those of a fault that lasts come back after it, with the same address and nothing in their memory.
    Crash {
        /// Which.
        towers: Towers,
        /// How the others notice.
        how: CrashKind,
        /// Whether those who come back are told their contacts.
        contacts: bool,
    },
    /// Towers leave gracefully: they hand their queue to others first. Those of a fault that lasts come back after it.
    Leave {
        /// Which.
        towers: Towers,
        /// Whether those who come back are told their contacts.
        contacts: bool,
    },
    /// Towers' processes are stopped for as long as the fault lasts; their connections stand.
    Pause {
        /// Which.
        towers: Towers,
    },
    /// Towers' clocks jump, and drift for as long as the fault lasts.
    Clock {
        /// Which.
        towers: Towers,
        /// By how many nanoseconds they jump. A clock that jumps back stands still until then.
        step: i64,
        /// By how many parts per million they are fast, -500 000 to 1 000 000.
        drift: i32,
    },
    /// The weather is otherwise for as long as the fault lasts, everywhere that no path says something else.
    LinkConditions {
        /// What is otherwise.
        link: LinkChange,
    },
    /// All connections of towers break.
    Cut {
        /// Whose.
        towers: Towers,
    },
    /// Applications enqueue messages.
    Enqueue {
        /// Whose.
        towers: Towers,
        /// How many each, 1 to 1 000 000.
        count: u32,
    },
    /// Applications add peers.
    Expand {
        /// Whose.
        towers: Towers,
        /// Whom; nobody adds itself.
        peers: Towers,
    },
    /// Applications announce their towers to peers.
    Announce {
        /// Whose.
        towers: Towers,
        /// To whom.
        peers: Towers,
    },
    /// Applications want nothing to do with peers any more.
    Ignore {
        /// Whose.
        towers: Towers,
        /// With whom.
        peers: Towers,
    },
    /// Applications unignore peers. In files: `heed`.
    Unignore {
        /// Whose.
        towers: Towers,
        /// Whom.
        peers: Towers,
    },
}

/// Who is parted from whom. In a file: `"halves"`, `{ random = 0.3 }`, `{ group = … }` or `{ isolate = … }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Parts {
    /// The lower half of the numbers from the upper half.
    Halves,
    /// A drawn share of the towers, from 0 to 1, from the others.
    Random(f64),
    /// These together from the others.
    Group(Towers),
    /// Each of these from everybody, at most 1 000.
    Isolate(Towers),
}

/// In which direction a partition stops bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OneWay {
    /// In both.
    #[default]
    Both,
    /// Nothing comes out of the group (the lower half, the drawn share).
    Out,
    /// Nothing comes into it.
    In,
}

/// How a partition looks from a tower.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Look {
    /// Nothing comes through, and nobody is told.
    #[default]
    Silent,
    /// Connections break, and dials fail at once.
    Reset,
}

/// How the others notice that a tower has died.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CrashKind {
    /// Its process is gone: its connections are reset, and dials are refused.
    #[default]
    Process,
    /// Its machine is gone: its connections fall silent, and dials are never answered.
    Machine,
}

impl Fault {
    /// Something is done at a time. [`lasts`](Self::lasts) and [`repeat`](Self::repeat) say more.
    #[must_use]
    pub fn new(at: Duration, what: Deed) -> Self {
        Self { at, lasts: None, repeat: None, what }
    }

    /// The network is parted, silently and in both directions.
    #[must_use]
    pub fn partition(at: Duration, lasts: Duration, kind: Parts) -> Self {
        let (direction, how) = (OneWay::Both, Look::Silent);
        Self::new(at, Deed::Partition { kind, direction, how }).lasts(lasts)
    }

    /// Processes die for good, unless it [`lasts`](Self::lasts): then they come back and are told their contacts.
    #[must_use]
    pub fn crash(at: Duration, towers: Towers) -> Self {
        Self::new(at, Deed::Crash { towers, how: CrashKind::Process, contacts: true })
    }

    /// Towers leave for good, unless it [`lasts`](Self::lasts): then they come back and are told their contacts.
    #[must_use]
    pub fn leave(at: Duration, towers: Towers) -> Self {
        Self::new(at, Deed::Leave { towers, contacts: true })
    }

    /// Processes are stopped for a while.
    #[must_use]
    pub fn pause(at: Duration, lasts: Duration, towers: Towers) -> Self {
        Self::new(at, Deed::Pause { towers }).lasts(lasts)
    }

    /// The weather is otherwise for a while.
    #[must_use]
    pub fn conditions(at: Duration, lasts: Duration, change: impl FnOnce(&mut LinkChange)) -> Self {
        Self::new(at, Deed::LinkConditions { link: LinkChange::with(change) }).lasts(lasts)
    }

    /// It ends after a time.
    #[must_use]
    pub fn lasts(mut self, time: Duration) -> Self {
        self.lasts = Some(time);
        self
    }

    /// It is done so many times in all, each so long after the one before.
    #[must_use]
    pub fn repeat(mut self, every: Duration, times: u32) -> Self {
        self.repeat = Some(Repeat { every, times });
        self
    }

    /// When the last of it is over, a clock that stands still included.
    pub(super) fn end(&self) -> Duration {
        let snapshot = match self.what {
            Deed::Clock { step, .. } => Duration::from_nanos(step.min(0).unsigned_abs()),
            _ => Duration::ZERO,
        };
        let lasts = self.lasts.unwrap_or_default().max(snapshot);
        self.at.saturating_add(Repeat::last(self.repeat)).saturating_add(lasts)
    }
}

/// Whether a deed has an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// It has none.
    Never,
    /// It may have one.
    Maybe,
    /// It must have one.
    Always,
}

impl Deed {
    /// How it is called in a file.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Partition { .. } => "partition",
            Self::Crash { .. } => "crash",
            Self::Leave { .. } => "leave",
            Self::Pause { .. } => "pause",
            Self::Clock { .. } => "clock",
            Self::LinkConditions { .. } => "conditions",
            Self::Cut { .. } => "cut",
            Self::Enqueue { .. } => "enqueue",
            Self::Expand { .. } => "expand",
            Self::Announce { .. } => "announce",
            Self::Ignore { .. } => "ignore",
            Self::Unignore { .. } => "heed",
        }
    }

    pub(super) fn ending(&self) -> Ending {
        match self {
            Self::Partition { .. } | Self::Pause { .. } | Self::LinkConditions { .. } => {
                Ending::Always
            }
            Self::Clock { drift, .. } if *drift != 0 => Ending::Always,
            Self::Crash { .. } | Self::Leave { .. } | Self::Clock { .. } => Ending::Maybe,
            _ => Ending::Never,
        }
    }

    /// The groups in it, by the names of their keys.
    pub(super) fn groups(&self) -> Vec<(&'static str, &Towers)> {
        match self {
            Self::Partition { kind: Parts::Group(towers), .. } => vec![("kind.group", towers)],
            Self::Partition { kind: Parts::Isolate(towers), .. } => vec![("kind.isolate", towers)],
            Self::Partition { .. } | Self::LinkConditions { .. } => Vec::new(),
            Self::Crash { towers, .. }
            | Self::Leave { towers, .. }
            | Self::Pause { towers }
            | Self::Clock { towers, .. }
            | Self::Cut { towers }
            | Self::Enqueue { towers, .. } => vec![("towers", towers)],
            Self::Expand { towers, peers }
            | Self::Announce { towers, peers }
            | Self::Ignore { towers, peers }
            | Self::Unignore { towers, peers } => vec![("towers", towers), ("peers", peers)],
        }
    }

    /// Whether it leaves the network as it is.
    pub(super) fn is_harmless(&self) -> bool {
        matches!(self, Self::Enqueue { .. })
    }
}
