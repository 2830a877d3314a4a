//! Measurements for the targets of a scenario, and their comparison with the targets.

use clacks_proto::{Instant, StateMachine, Status};

use crate::checkers::Checkers;
use crate::closed_form;
use crate::files::{Files, JobRecord};
use crate::metrics::{Metric, Sample, Series};
use crate::network::NetworkView;
use crate::observation::{MessageId, Observation, Observed, TowerId};
use crate::outcome::Outcome;
use crate::plan::{Group, Plan};
use crate::scenario::{Compared, JobKind, Measure, Scenario, Target};

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
    /// The closed form, if the target has a prediction and the run did not end too early.
    pub predicted: Option<f64>,
}

impl TargetResult {
    /// Returns the number that is compared with the bounds.
    #[must_use]
    pub fn number(&self) -> Option<f64> {
        let quotient = |by: Option<f64>| Some(self.measured? / by.filter(|by| *by > 0.0)?);
        match self.target.prediction {
            _ if self.target.of_calm => quotient(self.calm),
            Some(Compared::Ratio) => quotient(self.predicted),
            Some(Compared::Difference) => Some(self.measured? - self.predicted?),
            None => self.measured,
        }
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

    /// Returns the number that is compared with the bounds for people, with its unit. A ratio and a
    /// difference have none.
    #[must_use]
    pub fn text(&self, number: f64) -> String {
        match self.prediction {
            Some(_) => short(number),
            None if self.of_calm => format!("{} %", short(100.0 * number)),
            None => self.measured_text(number),
        }
    }

    /// Returns a measured or predicted number for people, with its unit.
    #[must_use]
    pub fn measured_text(&self, number: f64) -> String {
        match self.measure {
            Measure::Share { .. }
            | Measure::Alive { .. }
            | Measure::Known { .. }
            | Measure::JobsDone { .. }
            | Measure::JobsFailed { .. }
            | Measure::Named { .. }
            | Measure::Visited { .. } => format!("{} %", short(100.0 * number)),
            Measure::Value { metric, .. } | Measure::Mean { metric, .. }
                if metric.unit() == "share" =>
            {
                format!("{} %", short(100.0 * number))
            }
            Measure::Rate { .. } => format!("{}/s", short(number)),
            Measure::KnownAfter { .. } | Measure::HeardAfter { .. } | Measure::JobTime { .. } => {
                format!("{} s", short(number))
            }
            Measure::Value { .. } | Measure::Mean { .. } | Measure::Copies { .. } => short(number),
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
pub(crate) struct Measurements {
    all: Vec<Measurement>,
    /// The number of towers.
    towers: u32,
    /// Whether a measurement listens at the moment.
    listens: bool,
}

#[derive(Debug)]
struct Measurement {
    measure: Measure,
    /// The towers that others should know, and the towers that should know them.
    groups: [Group; 2],
    /// What the towers of the first group have received, from the start of the measurement on.
    heard: Option<Heard>,
    value: Option<f64>,
    is_over: bool,
}

/// The messages that some towers have received since a moment.
#[derive(Debug)]
struct Heard {
    start: Instant,
    /// The row of each tower in the two tables. `None` for towers that do not listen.
    rows: Vec<Option<u32>>,
    /// The group of each message. Messages without a group do not count.
    groups: Vec<Option<u32>>,
    /// The number of groups.
    columns: usize,
    /// The number of messages that complete a group.
    k: u32,
    /// Whether the tower of a row has received each message.
    received: Vec<bool>,
    /// The number of messages of each group that the tower of a row has received.
    counts: Vec<u32>,
    /// The number of groups that are not complete, over all rows.
    open: usize,
    /// The sum of the seconds until each complete group was complete.
    seconds: f64,
}

impl Heard {
    /// The most messages, summed over the towers that listen. They take 128 MiB.
    const MOST: usize = 1 << 27;

    /// Starts to listen. Returns `None` if nothing can be heard, or too much.
    fn new(
        start: Instant,
        listens: impl Fn(TowerId) -> bool,
        towers: u32,
        honest: &[MessageId],
        (n, k): (u32, u32),
    ) -> Option<Self> {
        let mut row = 0..;
        let rows: Vec<_> =
            (0..towers).map(|tower| listens(TowerId(tower)).then(|| row.next())?).collect();
        let messages = honest.last()?.0 as usize + 1;
        let mut groups = vec![None; messages];
        let columns = honest.len() / n.max(1) as usize;
        for (group, members) in (0..).zip(honest.chunks_exact(n.max(1) as usize)) {
            members.iter().for_each(|message| groups[message.0 as usize] = Some(group));
        }
        let count = rows.iter().flatten().count();
        let size = count.checked_mul(messages).filter(|size| *size <= Self::MOST)?;
        let open = count * columns;
        let (received, counts) = (vec![false; size], vec![0; open]);
        let heard = Self { start, rows, groups, columns, k, received, counts, open, seconds: 0.0 };
        (open > 0).then_some(heard)
    }

    /// Notes that a tower has received a message. O(1).
    fn note(&mut self, at: Instant, tower: TowerId, message: MessageId) {
        let Some(row) = self.rows.get(tower.0 as usize).copied().flatten() else { return };
        let message = message.0 as usize;
        let Some(group) = self.groups.get(message).copied().flatten() else { return };
        let received = &mut self.received[row as usize * self.groups.len() + message];
        if std::mem::replace(received, true) {
            return;
        }
        let count = &mut self.counts[row as usize * self.columns + group as usize];
        *count += 1;
        if *count == self.k {
            self.open -= 1;
            self.seconds += at.duration_since(self.start).as_secs_f64();
        }
    }

    /// Returns the mean time in seconds, if all groups are complete.
    #[allow(clippy::cast_precision_loss, reason = "a count of groups")]
    fn mean(&self) -> Option<f64> {
        (self.open == 0).then(|| self.seconds / self.counts.len() as f64)
    }
}

impl Measurements {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let measurement = |target: &Target| Measurement {
            measure: target.measure.clone(),
            groups: target.measure.groups(scenario),
            heard: None,
            value: None,
            is_over: false,
        };
        let all = scenario.targets.iter().map(measurement).collect();
        Self { all, towers: scenario.towers, listens: false }
    }

    /// Notes a message that a tower received. O(measurements that listen).
    #[inline]
    pub(crate) fn observe(&mut self, observation: &Observation) {
        if !self.listens {
            return;
        }
        let (Observed::Received { message: Some(message), .. }, Some(tower)) =
            (&observation.what, observation.tower)
        else {
            return;
        };
        for heard in self.all.iter_mut().filter_map(|one| one.heard.as_mut()) {
            heard.note(observation.at, tower, *message);
        }
    }

    /// Makes the measurements that are due. O(towers * peers) for each of the kind `known`.
    pub(crate) fn sample<M: StateMachine>(
        &mut self,
        at: Instant,
        view: &NetworkView<'_, M>,
        checkers: &Checkers,
        series: &Series,
    ) {
        for Measurement { measure, groups, heard, value, is_over } in &mut self.all {
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
                Measure::HeardAfter { n, k, .. } => {
                    if heard.is_none() {
                        let honest = honest_messages(checkers, series);
                        let listens = |tower| groups[0].has(tower) && series.is_honest(Some(tower));
                        *heard = Heard::new(at, listens, self.towers, &honest, (*n, *k));
                    }
                    let mean = heard.as_ref().and_then(Heard::mean);
                    *is_over = heard.is_none() || mean.is_some();
                    mean
                }
                Measure::Rate { .. }
                | Measure::Share { .. }
                | Measure::Value { .. }
                | Measure::Mean { .. }
                | Measure::JobsDone { .. }
                | Measure::JobsFailed { .. }
                | Measure::JobTime { .. }
                | Measure::Visited { .. }
                | Measure::Named { .. } => None,
            };
            if *is_over {
                *heard = None;
            }
        }
        self.listens = self.all.iter().any(|one| one.heard.is_some());
    }

    /// Returns the results of all targets.
    pub(crate) fn finish(
        &self,
        scenario: &Scenario,
        plan: &Plan,
        series: &Series,
    ) -> Vec<TargetResult> {
        let results = scenario.targets.iter().zip(&self.all).map(|(target, measurement)| {
            let of_jobs = plan.files.as_ref().and_then(|it| of_jobs(&target.measure, it));
            let measured = measured(&target.measure, series).or(measurement.value).or(of_jobs);
            let is_predicted = target.prediction.is_some() && measured.is_some();
            let predicted = is_predicted
                .then(|| closed_form::predict(scenario, plan, &target.measure, series))
                .flatten();
            TargetResult { target: target.clone(), measured, calm: None, predicted }
        });
        results.collect()
    }
}

/// Returns the number of a measure of the jobs of clients.
fn of_jobs(measure: &Measure, files: &Files) -> Option<f64> {
    let jobs = files.jobs();
    let of_kind = |kind: JobKind| jobs.iter().filter(move |record| record.kind == kind);
    match *measure {
        Measure::JobsDone { job } => {
            let done = of_kind(job).filter(|record| record.is_done).count() as u64;
            ratio(done, of_kind(job).count() as u64)
        }
        Measure::JobsFailed { job, why } => {
            let failed = of_kind(job).filter(|record| record.is_failed(why)).count() as u64;
            ratio(failed, of_kind(job).count() as u64)
        }
        Measure::JobTime { job, quantile } => {
            summary(of_kind(job).filter_map(JobRecord::seconds).collect(), quantile)
        }
        Measure::Visited { quantile } => {
            summary(jobs.iter().filter_map(JobRecord::visited).collect(), quantile)
        }
        Measure::Named { job, by } => {
            let (done, named) = files.named(job, by);
            ratio(named, done)
        }
        _ => None,
    }
}

/// Returns a quantile of numbers, or their mean.
#[allow(clippy::cast_precision_loss, reason = "counts are exact in a float")]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a length")]
fn summary(mut numbers: Vec<f64>, quantile: Option<f64>) -> Option<f64> {
    numbers.sort_by(f64::total_cmp);
    let last = numbers.len().checked_sub(1)?;
    Some(match quantile {
        Some(quantile) => numbers[((last as f64 * quantile).ceil() as usize).min(last)],
        None => numbers.iter().sum::<f64>() / numbers.len() as f64,
    })
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
        Measure::Mean { metric, from, until } => closed_form::mean(series, metric, from, until),
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
    let honest = honest_messages(checkers, series);
    let groups = || honest.chunks_exact(n.max(1) as usize);
    let is_alive = |message: &&MessageId| checkers.is_alive(**message);
    let survives = |group: &&[MessageId]| group.iter().filter(is_alive).count() >= k as usize;
    ratio(groups().filter(survives).count() as u64, groups().count() as u64)
}

/// Returns the messages that towers without a role enqueued.
fn honest_messages(checkers: &Checkers, series: &Series) -> Vec<MessageId> {
    let messages = (0..checkers.messages()).map(MessageId);
    messages.filter(|message| series.is_honest_message(*message)).collect()
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
