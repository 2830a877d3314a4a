//! `[[fault]]` and `[churn]`: faults of towers and of the network, and their times.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::group::Towers;
use super::link::LinkOverrides;
use super::tagged;
use crate::distribution::Distribution;

/// An action on towers, on the network or on applications at a given time.
///
/// In a file, each fault is a `[[fault]]` table. `kind` selects the [`FaultKind`], and the keys are
/// the fields of this struct and of the kind:
///
/// ```toml
/// name = "crashes"
/// towers = 50
/// time = "1h"
///
/// [[fault]]
/// kind = "crash"
/// at = "10m"
/// lasts = "2m"                               # then the towers restart
/// towers = { count = 5 }                     # drawn anew for each repetition
/// mode = "machine"
/// repeat = { every = "10m", times = 4 }
///
/// [[fault]]
/// kind = "partition"
/// at = "30m"
/// lasts = "5m"
/// shape = { random = 0.3 }
/// effect = "reset"
/// ```
///
/// The random draws of a fault depend on its kind, its time and its groups. They do not depend on
/// other faults.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Fault {
    /// When the fault begins.
    pub at: Duration,
    /// How long the fault lasts. `None` for faults without an end.
    pub lasts: Option<Duration>,
    /// Further repetitions.
    pub repeat: Option<Repeat>,
    /// What is done.
    pub kind: FaultKind,
}

/// What a [`Fault`] does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum FaultKind {
    /// Bytes between two groups of towers are stopped. Must last.
    Partition {
        /// The groups.
        shape: PartitionShape,
        /// The direction in which bytes are stopped. Default: both.
        #[serde(default)]
        direction: Direction,
        /// What towers notice of the partition. Default: nothing.
        #[serde(default)]
        effect: PartitionEffect,
    },
    /// Towers stop at once and lose their messages. If the fault lasts, they restart at its end
    /// with the same address and an empty memory.
    Crash {
        /// The towers.
        towers: Towers,
        /// What other towers notice. Default: the process stopped.
        #[serde(default)]
        mode: CrashKind,
        /// Whether a restarted tower gets its contacts again. Default: true.
        #[serde(default = "yes")]
        contacts: bool,
    },
    /// Towers shut down gracefully: they hand their messages to peers first. If the fault lasts,
    /// they restart at its end.
    Leave {
        /// The towers.
        towers: Towers,
        /// Whether a restarted tower gets its contacts again. Default: true.
        #[serde(default = "yes")]
        contacts: bool,
    },
    /// The processes of towers are suspended. Their connections stay open. Must last.
    Pause {
        /// The towers.
        towers: Towers,
    },
    /// The clocks of towers jump, and drift for as long as the fault lasts.
    Clock {
        /// The towers.
        towers: Towers,
        /// How far the clocks jump forward. Default: 0s.
        #[serde(default, with = "crate::duration")]
        forward: Duration,
        /// How far the clocks are set back. A clock that is set back stands still until it is right
        /// again. Default: 0s.
        #[serde(default, with = "crate::duration")]
        back: Duration,
        /// How much faster the clocks run, in parts per million: -500 000 to 1 000 000. Default: 0.
        #[serde(default)]
        drift_ppm: i32,
    },
    /// The conditions of links change on all paths that have no `[[path]]` of their own. Must last.
    Conditions {
        /// The changed conditions.
        link: LinkOverrides,
    },
    /// All connections of towers are reset.
    Cut {
        /// The towers.
        towers: Towers,
    },
    /// Applications enqueue messages.
    Enqueue {
        /// The towers of the applications.
        towers: Towers,
        /// The number of messages for each tower, 1 to 1 000 000. Default: 1.
        #[serde(default = "one")]
        count: u32,
    },
    /// Applications add peers to their towers.
    Expand {
        /// The towers of the applications.
        towers: Towers,
        /// The peers. A tower never adds itself.
        peers: Towers,
    },
    /// Applications let their towers announce themselves to peers.
    Announce {
        /// The towers of the applications.
        towers: Towers,
        /// The peers.
        peers: Towers,
    },
    /// Applications let their towers ignore peers.
    Ignore {
        /// The towers of the applications.
        towers: Towers,
        /// The peers.
        peers: Towers,
    },
    /// Applications end the ignoring of peers.
    Unignore {
        /// The towers of the applications.
        towers: Towers,
        /// The peers.
        peers: Towers,
    },
}

/// The groups of a partition. In a file: `"halves"`, `{ random = 0.3 }`, `{ group = [0, 1] }` or
/// `{ isolate = [0, 1] }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum PartitionShape {
    /// The lower half of the tower numbers, and the upper half.
    Halves,
    /// A random share of the towers, from 0 to 1, and the other towers.
    Random(f64),
    /// These towers, and the other towers.
    Group(Towers),
    /// Each of these towers, at most 1 000, and all other towers.
    Isolate(Towers),
}

/// The direction in which a partition stops bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// Both directions.
    #[default]
    Both,
    /// From the first group (the lower half, the random share) to the second.
    Out,
    /// From the second group to the first.
    In,
}

/// What towers notice of a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartitionEffect {
    /// Bytes and dials are lost silently.
    #[default]
    Silent,
    /// Connections are reset, and dials fail at once.
    Reset,
}

/// What other towers notice of a crash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CrashKind {
    /// The process stopped: connections are reset, and dials are refused.
    #[default]
    Process,
    /// The machine stopped: connections fall silent, and dials are not answered.
    Machine,
}

/// Repetitions of a fault or of `[messages]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repeat {
    /// The time from one beginning to the next, more than zero.
    #[serde(with = "crate::duration")]
    pub every: Duration,
    /// The number of repetitions with the first one, 1 to 1 000 000.
    pub times: u32,
}

/// Towers that leave and return at random.
///
/// A tower runs for a session, is absent, and returns with the same address and an empty memory. At
/// `until` all absent towers return.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Churn {
    /// The towers that leave and return. Default: all.
    #[serde(default)]
    pub towers: Towers,
    /// The length of a session.
    pub session: Distribution,
    /// The length of an absence.
    pub absence: Distribution,
    /// The share of sessions that end with a graceful shutdown, from 0 to 1. The other sessions end
    /// with a crash. Default: 0.5.
    #[serde(default = "half")]
    pub graceful: f64,
    /// Whether a tower that returns gets its contacts again. Default: true.
    #[serde(default = "yes")]
    pub contacts: bool,
    /// When the churn begins. Default: 0s.
    #[serde(default, with = "crate::duration")]
    pub from: Duration,
    /// When the churn ends.
    #[serde(with = "crate::duration")]
    pub until: Duration,
}

fn yes() -> bool {
    true
}

fn one() -> u32 {
    1
}

fn half() -> f64 {
    0.5
}

impl Fault {
    /// Returns a fault that happens once and has no end.
    #[must_use]
    pub fn new(at: Duration, kind: FaultKind) -> Self {
        Self { at, lasts: None, repeat: None, kind }
    }

    /// Returns a silent partition in both directions.
    #[must_use]
    pub fn partition(at: Duration, lasts: Duration, shape: PartitionShape) -> Self {
        let (direction, effect) = (Direction::Both, PartitionEffect::Silent);
        Self::new(at, FaultKind::Partition { shape, direction, effect }).lasts(lasts)
    }

    /// Returns a crash of processes. The towers restart if the fault [`lasts`](Self::lasts).
    #[must_use]
    pub fn crash(at: Duration, towers: Towers) -> Self {
        Self::new(at, FaultKind::Crash { towers, mode: CrashKind::Process, contacts: true })
    }

    /// Returns a graceful shutdown. The towers restart if the fault [`lasts`](Self::lasts).
    #[must_use]
    pub fn leave(at: Duration, towers: Towers) -> Self {
        Self::new(at, FaultKind::Leave { towers, contacts: true })
    }

    /// Returns a suspension of processes.
    #[must_use]
    pub fn pause(at: Duration, lasts: Duration, towers: Towers) -> Self {
        Self::new(at, FaultKind::Pause { towers }).lasts(lasts)
    }

    /// Returns changed conditions of links.
    #[must_use]
    pub fn conditions(
        at: Duration,
        lasts: Duration,
        change: impl FnOnce(&mut LinkOverrides),
    ) -> Self {
        Self::new(at, FaultKind::Conditions { link: LinkOverrides::with(change) }).lasts(lasts)
    }

    /// Sets the duration of the fault.
    #[must_use]
    pub fn lasts(mut self, time: Duration) -> Self {
        self.lasts = Some(time);
        self
    }

    /// Repeats the fault.
    #[must_use]
    pub fn repeat(mut self, every: Duration, times: u32) -> Self {
        self.repeat = Some(Repeat { every, times });
        self
    }

    /// Returns when the last repetition is over. A clock that is set back stands still until then.
    pub(super) fn end(&self) -> Duration {
        let still = match self.kind {
            FaultKind::Clock { back, .. } => back,
            _ => Duration::ZERO,
        };
        let lasts = self.lasts.unwrap_or_default().max(still);
        self.at.saturating_add(Repeat::last(self.repeat)).saturating_add(lasts)
    }
}

/// Whether a fault can last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lasting {
    Never,
    Optional,
    Required,
}

impl FaultKind {
    /// Returns the name of the kind in files.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Partition { .. } => "partition",
            Self::Crash { .. } => "crash",
            Self::Leave { .. } => "leave",
            Self::Pause { .. } => "pause",
            Self::Clock { .. } => "clock",
            Self::Conditions { .. } => "conditions",
            Self::Cut { .. } => "cut",
            Self::Enqueue { .. } => "enqueue",
            Self::Expand { .. } => "expand",
            Self::Announce { .. } => "announce",
            Self::Ignore { .. } => "ignore",
            Self::Unignore { .. } => "unignore",
        }
    }

    pub(super) fn lasting(&self) -> Lasting {
        match self {
            Self::Partition { .. } | Self::Pause { .. } | Self::Conditions { .. } => {
                Lasting::Required
            }
            Self::Clock { drift_ppm, .. } if *drift_ppm != 0 => Lasting::Required,
            Self::Crash { .. } | Self::Leave { .. } | Self::Clock { .. } => Lasting::Optional,
            _ => Lasting::Never,
        }
    }

    pub(super) fn can_last(&self) -> bool {
        self.lasting() != Lasting::Never
    }

    pub(super) fn must_last(&self) -> bool {
        self.lasting() == Lasting::Required
    }

    /// Returns the groups of towers by the names of their keys.
    pub(super) fn groups(&self) -> Vec<(&'static str, &Towers)> {
        match self {
            Self::Partition { shape: PartitionShape::Group(towers), .. } => {
                vec![("shape.group", towers)]
            }
            Self::Partition { shape: PartitionShape::Isolate(towers), .. } => {
                vec![("shape.isolate", towers)]
            }
            Self::Partition { .. } | Self::Conditions { .. } => Vec::new(),
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
}

impl Repeat {
    /// Returns the number of each repetition, and its beginning counted from the first.
    pub(super) fn starts(repeat: Option<Self>) -> impl Iterator<Item = (u32, Duration)> {
        let (every, times) = repeat.map_or((Duration::ZERO, 1), |it| (it.every, it.times));
        (0..times).map(move |number| (number, every.saturating_mul(number)))
    }

    pub(super) fn times(repeat: Option<Self>) -> u32 {
        repeat.map_or(1, |repeat| repeat.times)
    }

    /// Returns the beginning of the last repetition, counted from the first.
    pub(super) fn last(repeat: Option<Self>) -> Duration {
        repeat.map_or(Duration::ZERO, |it| it.every.saturating_mul(it.times.saturating_sub(1)))
    }
}

impl Churn {
    /// Returns a churn of all towers from the beginning. Half of the sessions end gracefully.
    #[must_use]
    pub fn new(session: Distribution, absence: Distribution, until: Duration) -> Self {
        Self {
            towers: Towers::All,
            session,
            absence,
            graceful: half(),
            contacts: yes(),
            from: Duration::ZERO,
            until,
        }
    }
}

/// The keys that all faults have.
#[derive(Serialize, Deserialize)]
struct Timing {
    #[serde(with = "crate::duration")]
    at: Duration,
    #[serde(default, with = "crate::duration", skip_serializing_if = "Option::is_none")]
    lasts: Option<Duration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    repeat: Option<Repeat>,
}

impl<'de> Deserialize<'de> for Fault {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let (Timing { at, lasts, repeat }, kind) =
            tagged::deserialize(from, &["at", "lasts", "repeat"])?;
        Ok(Self { at, lasts, repeat, kind })
    }
}

impl Serialize for Fault {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self { at, lasts, repeat, ref kind } = *self;
        tagged::serialize(&Timing { at, lasts, repeat }, kind, to)
    }
}
