//! The result of a run.

use std::io;
use std::time::Duration;

use clacks_proto::{Instant, SendRate};

use crate::checkers::{Groups, Totals, Violation};
use crate::closed_form::{Average, CalmNetwork, Ticks};
use crate::distribution::Distribution;
use crate::metrics::{MessageTrace, Metric, Sample, Series};
use crate::network::Snapshot;
use crate::observation::Fault;
use crate::plan::Plan;
use crate::scenario::Scenario;
use crate::targets::TargetResult;
use crate::trace::TraceHash;

/// The result of a run.
#[derive(Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// The scenario.
    pub scenario: Scenario,
    /// The hash of all observations.
    pub hash: TraceHash,
    /// The virtual time at the end of the run.
    pub simulated: Duration,
    /// Whether the run came to the end of the scenario.
    pub is_over: bool,
    /// The number of events: timers that fired, dials, answers to dials, arrivals of bytes and ends
    /// of connections, and steps of the scenario.
    pub events: u64,
    /// The number of observations, each of which is a line of the trace.
    pub observations: u64,
    /// The number of towers that run at the end.
    pub running: u32,
    /// The balance of the messages.
    pub totals: Totals,
    /// The faults of the scenario, and those that happened.
    pub faults: Vec<FaultCount>,
    /// The checks that ran.
    pub checks: Vec<Check>,
    /// The groups of messages that survived, if the scenario has a goal for them.
    pub groups: Option<Groups>,
    /// The first violations of each checker.
    pub violations: Vec<Violation>,
    /// The number of all violations.
    pub violated: u64,
    /// The measurements beside their predictions, if the scenario has an oracle.
    pub predictions: Vec<Prediction>,
    /// The targets of the scenario, and the numbers that were reached.
    pub targets: Vec<TargetResult>,
    /// The metrics over time.
    pub series: Series,
    /// The paths of messages, if they were recorded.
    pub message_trace: Option<MessageTrace>,
    /// The error that ended the writing of the trace.
    pub trace_failure: Option<io::Error>,
}

/// A check that ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check {
    /// The name, as in [`Violation`].
    pub name: &'static str,
    /// The rule that was checked, as a sentence.
    pub rule: &'static str,
    /// Number of violations.
    pub violations: u64,
}

/// How often a fault is planned, and how often it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultCount {
    /// The fault.
    pub fault: Fault,
    /// How often the scenario schedules the fault. `None` if the scenario does not contain the
    /// fault; `Some(None)` if the fault has a probability.
    pub planned: Option<Option<u64>>,
    /// How often the fault happened.
    pub happened: u64,
}

/// A measurement beside the value of a closed form.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// The quantity.
    pub name: &'static str,
    /// The unit; empty for a plain number.
    pub unit: &'static str,
    /// The value of the closed form, if there is one.
    pub predicted: Option<f64>,
    /// The measured value.
    pub measured: f64,
    /// The standard error of the measurement.
    pub standard_error: Option<f64>,
    /// Whether the measurement is within the tolerance.
    pub passed: bool,
}

impl Prediction {
    /// Returns (measured - predicted) / predicted.
    #[must_use]
    pub fn relative_error(&self) -> Option<f64> {
        self.error_divided_by(self.predicted)
    }

    /// Returns (measured - predicted) / standard error.
    #[must_use]
    pub fn z_score(&self) -> Option<f64> {
        self.error_divided_by(self.standard_error)
    }

    fn error_divided_by(&self, divisor: Option<f64>) -> Option<f64> {
        Some((self.measured - self.predicted?) / divisor.filter(|divisor| *divisor != 0.0)?)
    }
}

impl Outcome {
    /// Returns whether there were no violations, and all measurements agree with their predictions.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.violated == 0 && self.predictions.iter().all(|prediction| prediction.passed)
    }
}

/// The counters of the network at one sample, for predictions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub(crate) snapshot: Snapshot,
    /// The number of hops so far.
    pub(crate) hops: u64,
}

/// Compares what a network without faults carries with the prediction. Fewer than 41 readings, or
/// towers that send without a rate, do not agree with it.
#[allow(clippy::cast_precision_loss, reason = "counts of one interval")]
pub(crate) fn capacity(readings: &[Reading], plan: &Plan, scenario: &Scenario) -> Vec<Prediction> {
    let SendRate::Every(interval) = scenario.tower.send_rate else {
        return vec![unjudged("samples at a send rate", 0)];
    };
    let send_rate = 1.0 / interval.as_secs_f64();
    let messages = readings.last().map_or(0, Reading::enqueued);
    let jitter = plan.conditions.jitter.as_ref().map_or(Duration::ZERO, Distribution::mean);
    let network = CalmNetwork {
        towers: plan.towers,
        messages,
        send_rate,
        latency: (plan.conditions.latency.mean() + jitter).as_secs_f64(),
        ticks: Ticks::Periodic,
    };
    let intervals = || {
        readings.windows(2).filter_map(|pair| match pair {
            [from, to] => {
                let time = to.snapshot.at.duration_since(from.snapshot.at).as_secs_f64();
                (time > 0.0).then_some((from, to, time))
            }
            _ => None,
        })
    };
    let towers = f64::from(plan.towers);
    let used: Vec<_> = intervals()
        .map(|(from, to, time)| {
            (to.snapshot.handed_over - from.snapshot.handed_over) as f64
                / (towers * send_rate * time)
        })
        .collect();
    let wire: Vec<_> = intervals()
        .map(|(from, to, time)| {
            (to.snapshot.wire_time - from.snapshot.wire_time) as f64 / 1e9 / time
        })
        .collect();
    let heard: Vec<_> = intervals()
        .map(|(from, to, time)| {
            (to.hops - from.hops) as f64 / (towers * f64::from(messages) * time)
        })
        .collect();
    let judged = [
        (
            "used share of the ticks",
            "",
            Average::of(&used).map(|it| network.compare_used_share(it)),
        ),
        ("messages on the wire", "messages", Average::of(&wire).map(|it| network.compare_wire(it))),
        (
            "how often a tower hears a message",
            "1/s",
            Average::of(&heard).map(|it| network.compare_heard(it)),
        ),
    ];
    let measured = judged.into_iter().map(|(name, unit, judged)| {
        let Some(judged) = judged else {
            return unjudged(name, readings.len());
        };
        Prediction {
            name,
            unit,
            predicted: Some(judged.predicted),
            measured: judged.measured,
            standard_error: Some(judged.sigma),
            passed: judged.agrees(),
        }
    });
    measured.collect()
}

/// Returns a measurement that does not agree, because there are too few samples.
#[allow(clippy::cast_precision_loss, reason = "a small count")]
fn unjudged(name: &'static str, readings: usize) -> Prediction {
    let (measured, unit) = (readings as f64, "samples of 41 or more");
    Prediction { name, unit, predicted: None, measured, standard_error: None, passed: false }
}

impl Reading {
    fn enqueued(&self) -> u32 {
        u32::try_from(self.snapshot.messages).unwrap_or(u32::MAX)
    }
}

/// Returns the time of the first sample at which every tower knows every other tower.
pub(crate) fn discovery(series: &Series) -> Vec<Prediction> {
    let all = |sample: &&Sample| sample.value(Metric::Discovery).is_some_and(|share| share >= 1.0);
    let first = series.samples().iter().find(all).map(|sample| sample.at);
    let after = first.map_or(f64::INFINITY, |at| at.duration_since(Instant::ORIGIN).as_secs_f64());
    vec![Prediction {
        name: "every tower knows every other tower after",
        unit: "s",
        predicted: None,
        measured: after,
        standard_error: None,
        passed: first.is_some(),
    }]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_oracle_that_cannot_judge_does_not_hold() {
        let mut scenario = Scenario::named("capacity").unwrap();
        let plan = scenario.plan(".".as_ref()).unwrap();
        for rate in [scenario.tower.send_rate, SendRate::Unlimited] {
            scenario.tower.send_rate = rate;
            let predictions = capacity(&[], &plan, &scenario);
            assert!(!predictions.is_empty() && predictions.iter().all(|one| !one.passed));
        }
    }
}
