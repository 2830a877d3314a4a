//! The `[link]` section and its exceptions: what the network does to bytes.

use std::path::Path as FilePath;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::ScenarioError;
use super::towers::Towers;
use super::words::Limit;
use crate::distribution::{Distribution, DistributionError};
use crate::plan::LinkConditions;

/// How the network is, everywhere that no path says something else. The shares are probabilities from 0 to 1: what happens to that
/// share of dials or segments. They are *mishaps*: in the calm phase there are none, on paths neither.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Link {
    /// How long bytes are on their way, drawn once for each directed pair of towers. Default: 50 ms (ours).
    pub latency: Distribution,
    /// What comes on top, drawn for each segment. Default: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Distribution>,
    /// Bytes a second, at least 1. Default: unlimited.
    pub bandwidth: Limit,
    /// The most bytes on their way on one connection in one direction, 1 to 4 294 967 295. Default: unlimited.
    pub capacity: Limit,
    /// The share of dials that are refused.
    pub refused: f64,
    /// The share of dials that are never answered.
    pub unanswered: f64,
    /// The share of segments in the middle of which the connection breaks.
    pub broken: f64,
    /// The share of segments of which one byte is altered.
    pub corrupted: f64,
    /// The share of segments with which the direction falls silent for ever.
    pub silenced: f64,
}

/// What is otherwise than in [`Link`], on some paths or for a while. What is not given stays.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct LinkChange {
    /// Instead of [`Link::latency`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<Distribution>,
    /// Instead of [`Link::jitter`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Distribution>,
    /// Instead of [`Link::bandwidth`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<Limit>,
    /// Instead of [`Link::capacity`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Limit>,
    /// Instead of [`Link::refused`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<f64>,
    /// Instead of [`Link::unanswered`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unanswered: Option<f64>,
    /// Instead of [`Link::broken`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broken: Option<f64>,
    /// Instead of [`Link::corrupted`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corrupted: Option<f64>,
    /// Instead of [`Link::silenced`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silenced: Option<f64>,
}

/// One `[[path]]`: another weather from some towers to others. The first path that fits counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Path {
    /// From whom. A drawn group is drawn once.
    pub from: Towers,
    /// To whom. The way back needs a path of its own.
    pub to: Towers,
    /// What is otherwise there.
    pub link: LinkChange,
}

impl Path {
    /// From some towers to others, the network is otherwise.
    #[must_use]
    pub fn new(from: Towers, to: Towers, change: impl FnOnce(&mut LinkChange)) -> Self {
        Self { from, to, link: LinkChange::with(change) }
    }
}

impl Link {
    pub(super) fn check(&self, field: &str) -> Result<(), ScenarioError> {
        check_times(&format!("{field}.latency"), &self.latency)?;
        if let Some(jitter) = &self.jitter {
            check_times(&format!("{field}.jitter"), jitter)?;
        }
        if self.bandwidth == Limit::Bytes(0) {
            let range = "1 or more bytes a second, or \"unlimited\"";
            return Err(ScenarioError::range(format!("{field}.bandwidth"), 0, range));
        }
        if let Limit::Bytes(bytes) = self.capacity
            && !(1..=u64::from(u32::MAX)).contains(&bytes)
        {
            let range = "from 1 to 4294967295 bytes, or \"unlimited\"";
            return Err(ScenarioError::range(format!("{field}.capacity"), bytes, range));
        }
        let shares = self.shares();
        for (name, share) in shares {
            if !(0.0..=1.0).contains(&share) {
                return Err(ScenarioError::range(format!("{field}.{name}"), share, "from 0 to 1"));
            }
        }
        for (one, other) in [(0, 1), (2, 4)] {
            let ((one, first), (other, second)) = (shares[one], shares[other]);
            if first + second > 1.0 {
                let sum = first + second;
                return Err(ScenarioError::field(
                    format!("{field}.{one}"),
                    format!("and {field}.{other} are {sum} together; they must be at most 1"),
                ));
            }
        }
        Ok(())
    }

    /// The mishaps by name.
    pub(super) fn shares(&self) -> [(&'static str, f64); 5] {
        [
            ("refused", self.refused),
            ("unanswered", self.unanswered),
            ("broken", self.broken),
            ("corrupted", self.corrupted),
            ("silenced", self.silenced),
        ]
    }

    pub(super) fn has_mishaps(&self) -> bool {
        self.shares().iter().any(|(_, share)| *share > 0.0)
    }

    /// The same without mishaps.
    pub(super) fn without_mishaps(&self) -> Self {
        let none = 0.0;
        Self {
            refused: none,
            unanswered: none,
            broken: none,
            corrupted: none,
            silenced: none,
            ..self.clone()
        }
    }

    /// The same with what is otherwise.
    pub(super) fn changed(&self, change: &LinkChange) -> Self {
        let LinkChange { latency, jitter, bandwidth, capacity, .. } = change.clone();
        Self {
            latency: latency.unwrap_or_else(|| self.latency.clone()),
            jitter: jitter.or_else(|| self.jitter.clone()),
            bandwidth: bandwidth.unwrap_or(self.bandwidth),
            capacity: capacity.unwrap_or(self.capacity),
            refused: change.refused.unwrap_or(self.refused),
            unanswered: change.unanswered.unwrap_or(self.unanswered),
            broken: change.broken.unwrap_or(self.broken),
            corrupted: change.corrupted.unwrap_or(self.corrupted),
            silenced: change.silenced.unwrap_or(self.silenced),
        }
    }

    /// Reads the files that its distributions name.
    pub(super) fn load(&mut self, field: &str, base: &FilePath) -> Result<(), ScenarioError> {
        load(&format!("{field}.latency"), Some(&mut self.latency), base)?;
        load(&format!("{field}.jitter"), self.jitter.as_mut(), base)
    }

    /// For how long bytes are on their way on average.
    pub(super) fn mean_latency(&self) -> Duration {
        let jitter = self.jitter.as_ref().map_or(Duration::ZERO, Distribution::mean);
        self.latency.mean().saturating_add(jitter)
    }

    /// Whether bytes arrive in the instant in which they leave. (A gigabyte a second lets no frame through in less than a nanosecond.)
    pub(super) fn takes_no_time(&self) -> bool {
        let jitter_is_known = self.jitter.as_ref().is_none_or(is_known);
        let is_fast = self.bandwidth.bytes().is_none_or(|bandwidth| bandwidth > 1_000_000_000);
        is_fast && is_known(&self.latency) && jitter_is_known && self.mean_latency().is_zero()
    }

    pub(super) fn conditions(&self) -> LinkConditions {
        LinkConditions {
            latency: self.latency.clone(),
            jitter: self.jitter.clone(),
            bandwidth: self.bandwidth.bytes(),
            capacity: self.capacity.bytes().and_then(|bytes| u32::try_from(bytes).ok()),
            refused: self.refused,
            unanswered: self.unanswered,
            broken: self.broken,
            corrupted: self.corrupted,
            silenced: self.silenced,
        }
    }
}

impl LinkChange {
    /// What `change` sets is otherwise.
    #[must_use]
    pub fn with(change: impl FnOnce(&mut Self)) -> Self {
        let mut changed = Self::default();
        change(&mut changed);
        changed
    }

    /// Reads the files that its distributions name.
    pub(super) fn load(&mut self, field: &str, base: &FilePath) -> Result<(), ScenarioError> {
        load(&format!("{field}.latency"), self.latency.as_mut(), base)?;
        load(&format!("{field}.jitter"), self.jitter.as_mut(), base)
    }
}

impl Default for Link {
    fn default() -> Self {
        Self {
            latency: Distribution::Constant(Duration::from_millis(50)),
            jitter: None,
            bandwidth: Limit::Unlimited,
            capacity: Limit::Unlimited,
            refused: 0.0,
            unanswered: 0.0,
            broken: 0.0,
            corrupted: 0.0,
            silenced: 0.0,
        }
    }
}

/// Whether a distribution has all that it needs: its file is read, if it has one.
pub(super) fn is_known(times: &Distribution) -> bool {
    times.check() != Err(DistributionError::NotLoaded)
}

/// Checks a distribution; its file may still have to be read.
pub(super) fn check_times(field: &str, times: &Distribution) -> Result<(), ScenarioError> {
    match times.check() {
        Ok(()) | Err(DistributionError::NotLoaded) => Ok(()),
        Err(problem) => Err(ScenarioError::field(field, format!("is wrong: {problem}"))),
    }
}

/// Reads the file of a distribution, if it has one.
pub(super) fn load(
    field: &str,
    times: Option<&mut Distribution>,
    base: &FilePath,
) -> Result<(), ScenarioError> {
    times.map_or(Ok(()), |times| times.load(base)).map_err(|problem| {
        ScenarioError::field(field, format!("names samples that can't be read: {problem}"))
    })
}
