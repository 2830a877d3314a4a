//! Measurements for the targets of a scenario, and their comparison with the targets.

use clacks_proto::{Instant, StateMachine, Status};

use crate::checkers::Checkers;
use crate::metrics::{Metric, Sample, Series};
use crate::network::NetworkView;
use crate::observation::MessageId;
use crate::outcome::Outcome;
use crate::plan::Group;
use crate::scenario::{Measure, Scenario, Target};

/// A target, and the number that a run reached.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TargetResult {
    /// The target.
    pub target: Target,
    /// The number of the run. `None` if the run ended too early, there was nothing to count, or the
    /// share was not reached.
    pub measured: Option<f64>,
    /// The number of the calm twin, if the target needs the twin and the twin was run.
    pub calm: Option<f64>,
}

impl TargetResult {
    /// Returns the number that is compared with the bounds.
    #[must_use]
    pub fn number(&self) -> Option<f64> {
        if !self.target.of_calm {
            return self.measured;
        }
        let calm = self.calm.filter(|calm| *calm > 0.0)?;
        Some(self.measured? / calm)
    }

    /// Returns the number for people.
    #[must_use]
    pub fn text(&self) -> String {
        self.number().map_or_else(|| "unknown".to_owned(), |number| self.target.text(number))
    }

    /// Returns whether the number is within the bounds. An unknown number is not.
    #[must_use]
    pub fn is_met(&self) -> bool {
        self.number().is_some_and(|number| self.target.allows(number, number))
    }
}

impl Target {
    /// Returns whether an interval lies within the bounds.
    fn allows(&self, low: f64, high: f64) -> bool {
        self.at_least.is_none_or(|bound| low >= bound)
            && self.at_most.is_none_or(|bound| high <= bound)
    }

    /// Returns a number of the target for people, with its unit.
    #[must_use]
    pub fn text(&self, number: f64) -> String {
        let is_share = matches!(
            self.measure,
            Measure::Share { .. } | Measure::Alive { .. } | Measure::Known { .. }
        );
        if self.of_calm || is_share {
            return format!("{} %", short(100.0 * number));
        }
        let number = short(number);
        match self.measure {
            Measure::Rate { .. } => format!("{number}/s"),
            Measure::KnownAfter { .. } => format!("{number} s"),
            _ => number,
        }
    }

    /// Returns the bounds for people.
    #[must_use]
    pub fn bounds(&self) -> String {
        let bounds = [(">=", self.at_least), ("<=", self.at_most)];
        let texts = bounds.iter().filter_map(|(sign, bound)| Some((sign, (*bound)?)));
        let texts: Vec<_> =
            texts.map(|(sign, bound)| format!("{sign} {}", self.text(bound))).collect();
        texts.join(", ")
    }
}

/// Returns a number with three or four digits.
fn short(number: f64) -> String {
    let places = match number.abs() {
        0.0 | 100.0.. => 0,
        10.0.. => 1,
        _ => 3,
    };
    let text = format!("{number:.places$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

impl Outcome {
    /// Returns whether a target needs the calm twin of the scenario.
    #[must_use]
    pub fn needs_calm_twin(&self) -> bool {
        self.targets.iter().any(|result| result.target.of_calm && result.calm.is_none())
    }

    /// Adds the numbers of the calm twin to the targets that need them.
    pub fn compare_with_calm(&mut self, twin: &Self) {
        for (mine, calm) in self.targets.iter_mut().zip(&twin.targets) {
            if mine.target.of_calm {
                mine.calm = calm.measured;
            }
        }
    }
}

/// The mean of a target's numbers over several seeds, with its 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Interval {
    /// The number of seeds with a number.
    pub count: usize,
    /// The number of seeds without a number.
    pub unknown: usize,
    /// The mean.
    pub mean: f64,
    /// Half of the width of the interval. `None` for a single seed.
    pub half_width: Option<f64>,
}

impl Interval {
    /// Returns the mean of the numbers, or `None` if no number is known.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "counts of seeds are exact in a float")]
    pub fn of(numbers: &[Option<f64>]) -> Option<Self> {
        let known: Vec<f64> = numbers.iter().copied().flatten().collect();
        let count = known.len();
        let mean = known.iter().sum::<f64>() / count as f64;
        let half_width = (count > 1).then(|| {
            let squares: f64 = known.iter().map(|number| (number - mean).powi(2)).sum();
            let freedom = count as f64 - 1.0;
            student_t(count - 1) * (squares / freedom / count as f64).sqrt()
        });
        (count > 0).then_some(Self { count, unknown: numbers.len() - count, mean, half_width })
    }

    /// Returns whether the whole interval is within the bounds of a target, and each seed has a
    /// number.
    #[must_use]
    pub fn meets(&self, target: &Target) -> bool {
        let half = self.half_width.unwrap_or(0.0);
        self.unknown == 0 && target.allows(self.mean - half, self.mean + half)
    }

    /// Returns the interval for people.
    #[must_use]
    pub fn text(&self, target: &Target) -> String {
        let mut text = target.text(self.mean);
        if let Some(half) = self.half_width {
            text += &format!(" ± {}", target.text(half));
        }
        if self.unknown > 0 {
            text +=
                &format!(", unknown in {} of {} seeds", self.unknown, self.unknown + self.count);
        }
        text
    }
}

/// The 0.975 quantile of Student's t distribution.
fn student_t(freedom: usize) -> f64 {
    const TABLE: [f64; 30] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
        2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
        2.052, 2.048, 2.045, 2.042,
    ];
    // Above the table, the quantile is between 1.96 and the last entry.
    *TABLE.get(freedom.wrapping_sub(1)).unwrap_or(&TABLE[TABLE.len() - 1])
}

/// The measurements of a run that its metrics do not contain.
#[derive(Debug)]
pub(crate) struct Measurements(Vec<Measurement>);

#[derive(Debug)]
struct Measurement {
    measure: Measure,
    /// The towers that others should know, and the towers that should know them.
    groups: [Group; 2],
    value: Option<f64>,
    is_over: bool,
}

impl Measurements {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let measurement = |target: &Target| Measurement {
            measure: target.measure.clone(),
            groups: target.measure.groups(scenario),
            value: None,
            is_over: false,
        };
        Self(scenario.targets.iter().map(measurement).collect())
    }

    /// Makes the measurements that are due. O(towers * peers) for each of the kind `known`.
    pub(crate) fn sample<M: StateMachine>(
        &mut self,
        at: Instant,
        view: &NetworkView<'_, M>,
        checkers: &Checkers,
        series: &Series,
    ) {
        for Measurement { measure, groups, value, is_over } in &mut self.0 {
            let due = Instant::ORIGIN + measure.end();
            if *is_over || at < due {
                continue;
            }
            *is_over = true;
            *value = match measure {
                Measure::Alive { n, k, .. } => alive(checkers, series, *n, *k),
                Measure::Copies { .. } => {
                    let totals = checkers.totals();
                    ratio(totals.copies, totals.alive)
                }
                Measure::Known { .. } => known(view, series, groups),
                Measure::KnownAfter { share, .. } => {
                    *is_over = known(view, series, groups).is_some_and(|known| known >= *share);
                    is_over.then(|| at.duration_since(due).as_secs_f64())
                }
                Measure::Rate { .. } | Measure::Share { .. } | Measure::Value { .. } => None,
            };
        }
    }

    /// Returns the results of all targets.
    pub(crate) fn finish(&self, targets: &[Target], series: &Series) -> Vec<TargetResult> {
        let results = targets.iter().zip(&self.0).map(|(target, measurement)| {
            let measured = measured(&target.measure, series).or(measurement.value);
            TargetResult { target: target.clone(), measured, calm: None }
        });
        results.collect()
    }
}

/// Returns the number of a measure of metrics.
fn measured(measure: &Measure, series: &Series) -> Option<f64> {
    let samples = series.samples();
    let is_over = |end| samples.last().is_some_and(|last| last.at >= Instant::ORIGIN + end);
    if !is_over(measure.end()) {
        return None;
    }
    // The samples after the one at the start of the window, up to the one at its end.
    let next = |time| samples.partition_point(|row| row.at < Instant::ORIGIN + time) + 1;
    let rows = |from, until| samples.get(next(from)..next(until)).unwrap_or_default();
    let count = |metric: Metric, from, until| -> f64 {
        rows(from, until).iter().filter_map(|row| row.value(metric)).sum()
    };
    let quotient = |top: f64, bottom: f64| (bottom > 0.0).then(|| top / bottom);
    match *measure {
        Measure::Rate { metric, from, until } => {
            let towers =
                if is_of_honest_towers(metric) { Metric::HonestRunning } else { Metric::Running };
            let tower_seconds =
                |row: &Sample| row.value(towers).unwrap_or(0.0) * row.interval.as_secs_f64();
            let tower_seconds: f64 = rows(from, until).iter().map(tower_seconds).sum();
            quotient(count(metric, from, until), tower_seconds)
        }
        Measure::Share { metric, of, from, until } => {
            quotient(count(metric, from, until), count(of, from, until))
        }
        Measure::Value { metric, at } => {
            samples.iter().find(|row| row.at >= Instant::ORIGIN + at)?.value(metric)
        }
        _ => None,
    }
}

fn is_of_honest_towers(metric: Metric) -> bool {
    matches!(
        metric,
        Metric::HonestHops
            | Metric::HonestHandOvers
            | Metric::HonestDeliveries
            | Metric::HonestEnqueues
            | Metric::EnqueueRefused
            | Metric::DeliveriesToRoles
    )
}

/// Returns the share of groups of messages without a role of which `k` of `n` are alive.
fn alive(checkers: &Checkers, series: &Series, n: u32, k: u32) -> Option<f64> {
    let honest: Vec<_> = (0..checkers.messages())
        .map(MessageId)
        .filter(|message| series.is_honest_message(*message))
        .collect();
    let groups = || honest.chunks_exact(n.max(1) as usize);
    let is_alive = |message: &&MessageId| checkers.is_alive(**message);
    let survives = |group: &&[MessageId]| group.iter().filter(is_alive).count() >= k as usize;
    ratio(groups().filter(survives).count() as u64, groups().count() as u64)
}

/// Returns the share of pairs of running towers without a role of which the first, a tower of the
/// second group, knows the second, a tower of the first group.
fn known<M: StateMachine>(
    view: &NetworkView<'_, M>,
    series: &Series,
    [towers, by]: &[Group; 2],
) -> Option<f64> {
    let honest = || view.running().filter(|(tower, _)| series.is_honest(Some(*tower)));
    let counts = |tower| towers.has(tower) && view.runs(tower) && series.is_honest(Some(tower));
    let to_know = honest().filter(|(tower, _)| towers.has(*tower)).count() as u64;
    let (mut pairs, mut all) = (0, 0);
    for (tower, machine) in honest().filter(|(tower, _)| by.has(*tower)) {
        all += to_know - u64::from(towers.has(tower));
        let peers = view.peers(machine).filter(|(peer, status)| {
            matches!(status, Status::New | Status::Alive)
                && peer.is_some_and(|peer| peer != tower && counts(peer))
        });
        pairs += peers.count() as u64;
    }
    ratio(pairs, all)
}

#[allow(clippy::cast_precision_loss, reason = "exact up to 2^53")]
fn ratio(top: u64, bottom: u64) -> Option<f64> {
    (bottom > 0).then(|| top as f64 / bottom as f64)
}

#[cfg(test)]
mod tests;
