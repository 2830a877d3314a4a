//! `[link]` and `[[path]]`: conditions of links.

use std::path::Path as FilePath;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::ScenarioError;
use super::group::Towers;
use crate::distribution::Distribution;

/// The conditions of all links without a [`Path`].
///
/// The last five fields are random faults. Each is the probability, from 0 to 1, that a dial or a
/// segment is affected. Random faults stop at the end of the scenario's time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Link {
    /// The latency, drawn once for each pair of towers and direction. Default: 50ms (guess).
    pub latency: Distribution,
    /// An additional latency, drawn for each segment. The order of bytes is kept. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Distribution>,
    /// Bytes a second on one connection in one direction, at least 1. Default: unlimited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<u64>,
    /// The maximum number of bytes in transit on one connection in one direction, at least 1.
    /// Default: unlimited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<u32>,
    /// Dials that are refused.
    pub refused: f64,
    /// Dials that are not answered.
    pub unanswered: f64,
    /// Segments in which the connection breaks.
    pub broken: f64,
    /// Segments in which one byte is altered.
    pub corrupted: f64,
    /// Segments from which on the direction is silent until the connection closes.
    pub silenced: f64,
}

/// Overrides for [`Link`]. `None` keeps the value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are those of `Link`")]
pub struct LinkOverrides {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<Distribution>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Distribution>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unanswered: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broken: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corrupted: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silenced: Option<f64>,
}

/// Other conditions on the links from some towers to others, a `[[path]]` table. If several paths
/// fit, the first one counts.
///
/// ```toml
/// name = "far away"
/// towers = 20
/// time = "1h"
///
/// [[path]]
/// from = { range = [0, 9] }
/// to = "all"
/// link = { latency = "200ms", broken = 0.01 }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Path {
    /// The towers that send. A random group is drawn once.
    pub from: Towers,
    /// The towers that receive. The opposite direction needs a path of its own.
    pub to: Towers,
    /// The changed conditions.
    pub link: LinkOverrides,
}

impl Path {
    /// Returns a path with changed conditions.
    #[must_use]
    pub fn new(from: Towers, to: Towers, change: impl FnOnce(&mut LinkOverrides)) -> Self {
        Self { from, to, link: LinkOverrides::with(change) }
    }
}

impl LinkOverrides {
    /// Returns overrides for the fields that `change` sets.
    #[must_use]
    pub fn with(change: impl FnOnce(&mut Self)) -> Self {
        let mut overrides = Self::default();
        change(&mut overrides);
        overrides
    }

    /// Reads the files of its distributions.
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
            bandwidth: None,
            capacity: None,
            refused: 0.0,
            unanswered: 0.0,
            broken: 0.0,
            corrupted: 0.0,
            silenced: 0.0,
        }
    }
}

impl Link {
    /// Returns the probabilities of random faults, with their names.
    pub(super) fn random_faults(&self) -> [(&'static str, f64); 5] {
        [
            ("refused", self.refused),
            ("unanswered", self.unanswered),
            ("broken", self.broken),
            ("corrupted", self.corrupted),
            ("silenced", self.silenced),
        ]
    }

    pub(crate) fn has_random_faults(&self) -> bool {
        self.random_faults().iter().any(|(_, share)| *share > 0.0)
    }

    pub(crate) fn without_random_faults(&self) -> Self {
        let Self { latency, jitter, bandwidth, capacity, .. } = self.clone();
        Self { latency, jitter, bandwidth, capacity, ..Self::default() }
    }

    /// Returns the conditions with overrides.
    pub(crate) fn with(&self, overrides: &LinkOverrides) -> Self {
        let change = overrides.clone();
        Self {
            latency: change.latency.unwrap_or_else(|| self.latency.clone()),
            jitter: change.jitter.or_else(|| self.jitter.clone()),
            bandwidth: change.bandwidth.or(self.bandwidth),
            capacity: change.capacity.or(self.capacity),
            refused: change.refused.unwrap_or(self.refused),
            unanswered: change.unanswered.unwrap_or(self.unanswered),
            broken: change.broken.unwrap_or(self.broken),
            corrupted: change.corrupted.unwrap_or(self.corrupted),
            silenced: change.silenced.unwrap_or(self.silenced),
        }
    }

    /// Reads the files of its distributions.
    pub(super) fn load(&mut self, field: &str, base: &FilePath) -> Result<(), ScenarioError> {
        load(&format!("{field}.latency"), Some(&mut self.latency), base)?;
        load(&format!("{field}.jitter"), self.jitter.as_mut(), base)
    }

    /// Returns whether a frame arrives at the moment at which it is sent. (With a gigabyte a second
    /// every frame takes more than a nanosecond.)
    pub(super) fn takes_no_time(&self) -> bool {
        let takes_none = |times: &Distribution| times.is_loaded() && times.mean().is_zero();
        self.bandwidth.is_none_or(|bandwidth| bandwidth > 1_000_000_000)
            && takes_none(&self.latency)
            && self.jitter.as_ref().is_none_or(takes_none)
    }
}

/// Reads the file of a distribution, if it has one.
pub(super) fn load(
    field: &str,
    times: Option<&mut Distribution>,
    base: &FilePath,
) -> Result<(), ScenarioError> {
    times
        .map_or(Ok(()), |times| times.load(base))
        .map_err(|error| ScenarioError::field(field, error.to_string()))
}
