//! `[[target]]`: numbers that a run should reach.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::error::ScenarioError;
use super::validate::{Checked, times, within};
use super::{FaultKind, Guess, JobFailure, JobKind, RoleKind, Scenario, Towers, tagged};
use crate::closed_form;
use crate::metrics::{Aggregate, Metric};
use crate::plan::Group;
use crate::rng::{Purpose, RngStreams};

/// The most targets of a scenario.
const MAX_TARGETS: usize = 100;
/// The most messages of a group.
const MAX_GROUP: u32 = 65_536;

/// A number that a run should reach. A target that is missed is no violation.
///
/// ```toml
/// [[target]]
/// name = "hops after an hour"
/// kind = "rate"
/// metric = "honest_hops"
/// from = "50m"
/// until = "60m"
/// of_calm = true                # divided by the rate of the calm twin
/// at_least = 0.95
/// ```
///
/// The *calm twin* is the same scenario with the same seed, without roles, churn and faults.
/// `clacks sim` runs the twin if a target needs it.
///
/// A number with a *prediction* is compared with a closed form:
///
/// ```toml
/// [[target]]
/// name = "time until a tower has heard 16 of 32 messages"
/// kind = "heard-after"
/// n = 32
/// k = 16
/// from = "1m"                   # the network is in equilibrium
/// prediction = "ratio"
/// at_least = 0.95
/// at_most = 1.05
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Target {
    /// The number in words, unique in the scenario.
    pub name: String,
    /// What is measured.
    pub measure: Measure,
    /// Whether the number is divided by the same number of the calm twin. Default: false.
    pub of_calm: bool,
    /// How the number is compared with its [closed form](crate::closed_form). Default: not at all.
    pub prediction: Option<Compared>,
    /// The smallest number that meets the target. A target has at least one bound.
    pub at_least: Option<f64>,
    /// The largest number that meets the target.
    pub at_most: Option<f64>,
}

/// How a number is compared with its prediction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Compared {
    /// The number is divided by the prediction.
    Ratio,
    /// The prediction is subtracted from the number.
    Difference,
}

/// What a [`Target`] measures. Times count from the start of the run and are rounded up to the next
/// sample.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Measure {
    /// The count of a metric per running tower and second. For the metrics `honest_*` and
    /// `deliveries_to_roles`, only towers without a role count.
    Rate {
        /// A metric that counts.
        metric: Metric,
        /// The start of the window.
        #[serde(default, with = "crate::duration")]
        from: Duration,
        /// The end of the window.
        #[serde(with = "crate::duration")]
        until: Duration,
    },
    /// The count of a metric, divided by the count of another one.
    Share {
        /// A metric that counts.
        metric: Metric,
        /// A metric that counts.
        of: Metric,
        /// The start of the window.
        #[serde(default, with = "crate::duration")]
        from: Duration,
        /// The end of the window.
        #[serde(with = "crate::duration")]
        until: Duration,
    },
    /// The value of a metric that does not count.
    Value {
        /// The metric.
        metric: Metric,
        /// The time.
        #[serde(with = "crate::duration")]
        at: Duration,
    },
    /// The mean of a metric that does not count, over the samples of a window.
    Mean {
        /// The metric.
        metric: Metric,
        /// The start of the window.
        #[serde(default, with = "crate::duration")]
        from: Duration,
        /// The end of the window.
        #[serde(with = "crate::duration")]
        until: Duration,
    },
    /// The share of messages that a tower holds, or of groups of `n` messages of which at least `k`
    /// are held. Messages from towers with a role are left out. Unknown with `checks = "off"`.
    Alive {
        /// The time.
        #[serde(with = "crate::duration")]
        at: Duration,
        /// The number of messages in a group. Default: 1.
        #[serde(default = "one")]
        n: u32,
        /// The number of messages that must be held. Default: 1.
        #[serde(default = "one")]
        k: u32,
    },
    /// The mean number of copies of a message that is held.
    Copies {
        /// The time.
        #[serde(with = "crate::duration")]
        at: Duration,
    },
    /// The share of pairs of running towers without a role of which the first knows the second: has
    /// the second in its table as new or alive.
    Known {
        /// The towers that others should know. Default: all.
        #[serde(default)]
        towers: Towers,
        /// The towers that should know them. Default: all.
        #[serde(default)]
        by: Towers,
        /// The time.
        #[serde(with = "crate::duration")]
        at: Duration,
    },
    /// The seconds until a share of the pairs of [`Known`](Self::Known) is reached.
    KnownAfter {
        /// The towers that others should know. Default: all.
        #[serde(default)]
        towers: Towers,
        /// The towers that should know them. Default: all.
        #[serde(default)]
        by: Towers,
        /// The share, from 0 to 1. Default: 1.
        #[serde(default = "all")]
        share: f64,
        /// The time from which the seconds count.
        #[serde(default, with = "crate::duration")]
        from: Duration,
    },
    /// The seconds until a tower has received `k` of `n` messages: the mean over the towers and the
    /// groups of messages. Messages from towers with a role are left out. Unknown until each tower
    /// has received `k` messages of each group, and with `checks = "off"`.
    HeardAfter {
        /// The towers that listen, each on its own. Default: all.
        #[serde(default)]
        towers: Towers,
        /// The number of messages in a group. Default: 1.
        #[serde(default = "one")]
        n: u32,
        /// The number of messages that the tower must receive. Default: 1.
        #[serde(default = "one")]
        k: u32,
        /// The time from which the seconds count. Messages that are enqueued later are left out.
        #[serde(with = "crate::duration")]
        from: Duration,
    },
    /// The share of the clients that put, or get, a file and were done with the right bytes at the
    /// end of the run.
    JobsDone {
        /// What the clients do.
        job: JobKind,
    },
    /// The share of the clients that put, or get, a file and failed.
    JobsFailed {
        /// What the clients do.
        job: JobKind,
        /// Why they failed.
        why: JobFailure,
    },
    /// The seconds that the clients took that were done. Unknown if none was.
    JobTime {
        /// What the clients do.
        job: JobKind,
        /// The quantile over the clients, from 0 to 1. Default: the mean.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        quantile: Option<f64>,
    },
    /// The share of the towers that a reader visited until it had its file.
    Visited {
        /// The quantile over the readers, from 0 to 1. Default: the mean.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        quantile: Option<f64>,
    },
    /// The share of the clients that were done with their file and that spies name. A client is
    /// named if the guess is the client, or the tower on its machine.
    Named {
        /// What the clients do.
        job: JobKind,
        /// How the spies guess.
        by: Guess,
    },
}

fn one() -> u32 {
    1
}

fn all() -> f64 {
    1.0
}

impl Measure {
    /// Returns the time at which the measurement can be made.
    pub(crate) fn end(&self) -> Duration {
        match *self {
            Self::Rate { until, .. } | Self::Share { until, .. } | Self::Mean { until, .. } => {
                until
            }
            Self::Value { at, .. }
            | Self::Alive { at, .. }
            | Self::Copies { at }
            | Self::Known { at, .. } => at,
            Self::KnownAfter { from, .. } | Self::HeardAfter { from, .. } => from,
            Self::JobsDone { .. }
            | Self::JobsFailed { .. }
            | Self::JobTime { .. }
            | Self::Visited { .. }
            | Self::Named { .. } => Duration::ZERO,
        }
    }

    /// Divides all times.
    #[cfg(test)]
    pub(super) fn shorten(&mut self, divisor: u32) {
        match self {
            Self::Rate { from, until, .. }
            | Self::Share { from, until, .. }
            | Self::Mean { from, until, .. } => {
                *from /= divisor;
                *until /= divisor;
            }
            Self::Value { at, .. }
            | Self::Alive { at, .. }
            | Self::Copies { at }
            | Self::Known { at, .. }
            | Self::KnownAfter { from: at, .. }
            | Self::HeardAfter { from: at, .. } => *at /= divisor,
            Self::JobsDone { .. }
            | Self::JobsFailed { .. }
            | Self::JobTime { .. }
            | Self::Visited { .. }
            | Self::Named { .. } => {}
        }
    }

    /// Returns the towers that others should know, and the towers that should know them; or the
    /// towers that listen, and all.
    pub(crate) fn groups(&self, scenario: &Scenario) -> [Group; 2] {
        let (towers, by) = match self {
            Self::Known { towers, by, .. } | Self::KnownAfter { towers, by, .. } => (towers, by),
            Self::HeardAfter { towers, .. } => (towers, &Towers::All),
            _ => return [Group::All, Group::All],
        };
        let mut draws = RngStreams::new(scenario.seed).stream(Purpose::Partition, u64::MAX);
        [towers, by].map(|group| group.group(scenario.towers, &mut draws))
    }
}

impl Target {
    /// Returns a target without a bound.
    #[must_use]
    pub fn new(name: impl Into<String>, measure: Measure) -> Self {
        let name = name.into();
        Self { name, measure, of_calm: false, prediction: None, at_least: None, at_most: None }
    }

    /// Compares the number with its closed form.
    #[must_use]
    pub fn prediction(mut self, compared: Compared) -> Self {
        self.prediction = Some(compared);
        self
    }

    /// Divides the number by that of the calm twin.
    #[must_use]
    pub fn of_calm(mut self) -> Self {
        self.of_calm = true;
        self
    }

    /// Sets the smallest number that meets the target.
    #[must_use]
    pub fn at_least(mut self, number: f64) -> Self {
        self.at_least = Some(number);
        self
    }

    /// Sets the largest number that meets the target.
    #[must_use]
    pub fn at_most(mut self, number: f64) -> Self {
        self.at_most = Some(number);
        self
    }
}

/// The keys of all kinds.
#[derive(Serialize, Deserialize)]
struct Common {
    name: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    of_calm: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prediction: Option<Compared>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at_least: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at_most: Option<f64>,
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let keys = &["name", "of_calm", "prediction", "at_least", "at_most"];
        let (common, measure) = tagged::deserialize(input, keys)?;
        let Common { name, of_calm, prediction, at_least, at_most } = common;
        Ok(Self { name, measure, of_calm, prediction, at_least, at_most })
    }
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        let Self { name, measure, of_calm, prediction, at_least, at_most } = self.clone();
        let common = Common { name, of_calm, prediction, at_least, at_most };
        tagged::serialize(&common, &measure, output)
    }
}

impl Scenario {
    /// Adds a target.
    #[must_use]
    pub fn target(mut self, target: Target) -> Self {
        self.targets.push(target);
        self
    }

    /// Returns the calm twin: the same scenario and seed without roles, churn and faults. Messages
    /// and names that applications give to their towers stay. No target has a prediction.
    #[must_use]
    pub fn calm_twin(&self) -> Self {
        let mut twin = self.clone();
        twin.targets.iter_mut().for_each(|target| target.prediction = None);
        twin.roles.clear();
        twin.churn = None;
        twin.faults.retain(|fault| {
            matches!(
                fault.kind,
                FaultKind::Enqueue { .. } | FaultKind::Expand { .. } | FaultKind::Announce { .. }
            )
        });
        twin.link = twin.link.without_random_faults();
        for path in &mut twin.paths {
            let link = &mut path.link;
            for fault in [
                &mut link.refused,
                &mut link.unanswered,
                &mut link.broken,
                &mut link.corrupted,
                &mut link.silenced,
            ] {
                *fault = None;
            }
        }
        twin
    }

    pub(super) fn check_targets(&self) -> Checked {
        if self.targets.len() > MAX_TARGETS {
            let problem = format!("has more than {MAX_TARGETS} entries");
            return Err(ScenarioError::field("target", problem));
        }
        for (number, target) in self.targets.iter().enumerate() {
            let field = |key: &str| format!("target.{number}.{key}");
            let is_taken = self.targets[..number].iter().any(|other| other.name == target.name);
            if is_taken || target.name.trim().is_empty() {
                let name = format!("{:?}", target.name);
                return Err(ScenarioError::range(field("name"), name, "a name of its own"));
            }
            if target.at_least.is_none() && target.at_most.is_none() {
                let problem = "is missing, and so is at_most; a target has at least one bound";
                return Err(ScenarioError::field(field("at_least"), problem));
            }
            self.check_measure(field, &target.measure)?;
            if target.prediction.is_some() {
                if target.of_calm {
                    let problem = "is set, and so is of_calm; a number is compared once";
                    return Err(ScenarioError::field(field("prediction"), problem));
                }
                closed_form::check(self, &target.measure).map_err(|needs| {
                    ScenarioError::field(field("prediction"), format!("needs {needs}"))
                })?;
            }
        }
        Ok(())
    }

    fn check_measure(&self, field: impl Fn(&str) -> String, measure: &Measure) -> Checked {
        let time = |key, at| times(&field(key), at, Duration::ZERO..=self.time);
        let window = |from: Duration, until: Duration| {
            time("until", until)?;
            if from < until {
                return Ok(());
            }
            let from = humantime::format_duration(from);
            Err(ScenarioError::range(field("from"), from, "earlier than until"))
        };
        let counts = |key: &str, metric: Metric| match metric.aggregate() {
            Aggregate::Sum => Ok(()),
            _ => Err(ScenarioError::range(field(key), metric.key(), "a metric that counts")),
        };
        let does_not_count = |metric: Metric| match metric.aggregate() {
            Aggregate::Sum => {
                let range = "a metric that does not count";
                Err(ScenarioError::range(field("metric"), metric.key(), range))
            }
            _ => Ok(()),
        };
        match measure {
            Measure::Rate { metric, from, until } => {
                counts("metric", *metric)?;
                window(*from, *until)
            }
            Measure::Share { metric, of, from, until } => {
                counts("metric", *metric)?;
                counts("of", *of)?;
                window(*from, *until)
            }
            Measure::Value { metric, at } => {
                does_not_count(*metric)?;
                time("at", *at)
            }
            Measure::Mean { metric, from, until } => {
                does_not_count(*metric)?;
                window(*from, *until)
            }
            Measure::Alive { at, n, k } => {
                within(&field("n"), *n, &(1..=MAX_GROUP))?;
                within(&field("k"), *k, &(1..=*n))?;
                time("at", *at)
            }
            Measure::Copies { at } => time("at", *at),
            Measure::Known { towers, by, at } => {
                self.check_group(&field("towers"), towers)?;
                self.check_group(&field("by"), by)?;
                time("at", *at)
            }
            Measure::KnownAfter { towers, by, share, from } => {
                self.check_group(&field("towers"), towers)?;
                self.check_group(&field("by"), by)?;
                within(&field("share"), *share, &(0.0..=1.0))?;
                time("from", *from)
            }
            Measure::HeardAfter { towers, n, k, from } => {
                self.check_group(&field("towers"), towers)?;
                within(&field("n"), *n, &(1..=MAX_GROUP))?;
                within(&field("k"), *k, &(1..=*n))?;
                time("from", *from)
            }
            _ if self.files.is_none() => {
                let problem = "needs a section [files]";
                Err(ScenarioError::field(field("kind"), problem))
            }
            Measure::JobTime { quantile: Some(quantile), .. }
            | Measure::Visited { quantile: Some(quantile) } => {
                within(&field("quantile"), *quantile, &(0.0..=1.0))
            }
            Measure::Named { .. }
                if !self.roles.iter().any(|role| matches!(role.kind, RoleKind::Spy {})) =>
            {
                let problem = "needs a role with the kind \"spy\"";
                Err(ScenarioError::field(field("kind"), problem))
            }
            Measure::JobsDone { .. }
            | Measure::JobsFailed { .. }
            | Measure::JobTime { .. }
            | Measure::Visited { .. }
            | Measure::Named { .. } => Ok(()),
        }
    }
}
