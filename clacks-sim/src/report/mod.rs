//! Reports of a run: figures for people and programs, tables, and a page for a browser.
//!
//! [`Report`] computes each figure once. Its methods return or write the figures as JSON, as CSV
//! files and as a page.

mod csv;
mod page;
#[cfg(test)]
mod tests;
#[doc(hidden)] // For the dashboard of the command.
pub mod uplot;

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::checkers::{DuplicationCause, LossCause};
use crate::metrics::Metric;
use crate::outcome::Outcome;
use crate::targets::TargetResult;

/// The outcome of a run, with the facts that only the caller of the run knows.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// The outcome.
    pub outcome: &'a Outcome,
    /// The real time that the run took.
    pub wall: Duration,
    /// What stopped the run before its end.
    pub stopped_by: Option<&'a str>,
    /// The command that repeats the run.
    pub replay: &'a str,
}

/// A number about a whole run.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// The name for programs.
    pub key: String,
    /// The name for people.
    pub name: String,
    /// The unit. `share` is a number from 0 to 1.
    pub unit: &'static str,
    /// The definition, as a sentence.
    pub meaning: String,
    /// The number. `None` is unknown.
    pub value: Option<f64>,
    /// Whether a short report contains the figure.
    pub is_headline: bool,
}

/// Metrics in a short report. Zeros are left out.
const HEADLINES: [Metric; 19] = [
    Metric::Running,
    Metric::Enqueued,
    Metric::EnqueueRefused,
    Metric::Messages,
    Metric::Lost,
    Metric::Copies,
    Metric::Waiting,
    Metric::InFlight,
    Metric::OnTheWire,
    Metric::HandOvers,
    Metric::Hops,
    Metric::Coalesced,
    Metric::Swallowed,
    Metric::Returned,
    Metric::Retries,
    Metric::CrossingShare,
    Metric::BytesSent,
    Metric::Connections,
    Metric::Events,
];

impl Report<'_> {
    /// Returns the figures of the run. A count is the total of the run, a gauge is its last value.
    #[must_use]
    pub fn figures(&self) -> Vec<Figure> {
        let (series, totals) = (&self.outcome.series, &self.outcome.totals);
        let metrics = Metric::ALL.iter().map(|metric| Figure {
            key: metric.key().to_owned(),
            name: metric.name().to_owned(),
            unit: metric.unit(),
            meaning: metric.meaning().to_owned(),
            value: series.value(*metric),
            is_headline: HEADLINES.contains(metric)
                && series.value(*metric).is_some_and(|value| value != 0.0),
        });
        let lost = LossCause::ALL.map(|cause| {
            let meaning = format!("Messages whose last copy was lost. Cause: {cause}.");
            ("lost", "messages lost", "messages", cause.as_str(), meaning, totals.lost(cause))
        });
        let made = DuplicationCause::ALL.map(|cause| {
            let meaning = format!("Additional copies that were made. Cause: {cause}.");
            (
                "copies_made",
                "copies made",
                "copies",
                cause.as_str(),
                meaning,
                totals.duplicated(cause),
            )
        });
        let by_cause =
            lost.into_iter().chain(made).map(|(key, name, unit, cause, meaning, count)| Figure {
                key: format!("{key}_{}", cause.replace(' ', "_")),
                name: format!("{name}: {cause}"),
                unit,
                meaning,
                value: Some(count_as_f64(count)),
                is_headline: count > 0,
            });
        let groups = self.outcome.groups.map(|groups| {
            [
                ("groups", "groups", "Groups of messages of the survival goal.", groups.count),
                ("groups_alive", "groups alive", "Groups that survived.", groups.alive),
            ]
        });
        let groups = groups.into_iter().flatten().map(|(key, name, meaning, count)| Figure {
            key: key.to_owned(),
            name: name.to_owned(),
            unit: "groups",
            meaning: meaning.to_owned(),
            value: Some(count_as_f64(count)),
            is_headline: true,
        });
        metrics.chain(by_cause).chain(groups).collect()
    }

    /// Returns everything but the series as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let outcome = self.outcome;
        let figures: Map<_, _> =
            self.figures().into_iter().map(|figure| (figure.key, number(figure.value))).collect();
        let checks = outcome.checks.iter().map(|check| {
            json!({"check": check.name, "rule": check.rule, "violations": check.violations})
        });
        let faults = outcome.faults.iter().map(|fault| {
            json!({
                "fault": fault.fault.as_str(),
                "meaning": fault.fault.meaning(),
                "scheduled": fault.planned.flatten(),
                "happened": fault.happened,
            })
        });
        let jobs = outcome.jobs.iter().map(|jobs| {
            let kind = jobs.kind.as_str();
            json!({"job": kind, "done": jobs.is_done, "result": jobs.result, "count": jobs.count})
        });
        let violations = outcome.violations.iter().map(|violation| {
            json!({
                "check": violation.checker.as_str(),
                "at_s": seconds(violation.at.duration_since(clacks_proto::Instant::ORIGIN)),
                "tower": violation.tower.map(|tower| tower.0),
                "message": violation.message.map(|message| message.0),
                "text": violation.text,
            })
        });
        json!({
            "scenario": outcome.scenario.name,
            "about": outcome.scenario.about,
            "seed": outcome.scenario.seed,
            "hash": outcome.hash.to_string(),
            "passed": outcome.passed(),
            "verdict": self.verdict(),
            "complete": outcome.is_over,
            "stopped_by": self.stopped_by,
            "towers": outcome.scenario.towers,
            "time_s": seconds(outcome.scenario.time),
            "simulated_s": seconds(outcome.simulated),
            "wall_s": seconds(self.wall),
            "observations": outcome.observations,
            "figures": figures,
            "roles": self.roles(),
            "checks": checks.collect::<Vec<_>>(),
            "targets": self.outcome.targets.iter().map(target).collect::<Vec<_>>(),
            "jobs": jobs.collect::<Vec<_>>(),
            "faults": faults.collect::<Vec<_>>(),
            "violated": outcome.violated,
            "violations": violations.collect::<Vec<_>>(),
            "replay": self.replay,
        })
    }

    /// Returns the result of the run in one sentence.
    #[must_use]
    pub fn verdict(&self) -> String {
        let counted = |count: u64, one: &str, many: &str| {
            format!("{count} {}", if count == 1 { one } else { many })
        };
        let outcome = self.outcome;
        let result = if outcome.passed() { "passed" } else { "failed" };
        let checks = counted(outcome.checks.len() as u64, "check", "checks");
        let violations = counted(outcome.violated, "violation", "violations");
        let mut text = format!("{result}: {checks}, {violations}");
        if !outcome.is_over {
            text += "; stopped before the end, so the checks of the end did not run";
        }
        text
    }

    fn roles(&self) -> Value {
        let series = &self.outcome.series;
        let total = |(index, role): (usize, &String)| {
            let counts = || series.samples().iter().filter_map(|sample| sample.roles.get(index));
            json!({
                "role": role,
                "hops": counts().map(|counts| counts.hops).sum::<u64>(),
                "returned": counts().map(|counts| counts.returned).sum::<u64>(),
            })
        };
        series.roles().iter().enumerate().map(total).collect()
    }
}

fn target(result: &TargetResult) -> Value {
    let target = &result.target;
    json!({
        "name": target.name,
        "number": number(result.number()),
        "text": result.text(),
        "bounds": target.bounds(),
        "measured": number(result.measured),
        "calm": number(result.calm),
        "predicted": number(result.predicted),
        "measured_text": result.measured.map(|number| target.measured_text(number)),
        "predicted_text": result.predicted.map(|number| target.measured_text(number)),
        "at_least": target.at_least,
        "at_most": target.at_most,
        "met": result.is_met(),
    })
}

/// Returns a number with five digits. Whole numbers keep all digits.
fn number(value: Option<f64>) -> Value {
    match value.filter(|value| value.is_finite()) {
        Some(whole) if whole.fract() == 0.0 => without_point(whole),
        Some(value) => format!("{value:.4e}").parse().map_or(Value::Null, without_point),
        None => Value::Null,
    }
}

/// Returns seconds to the microsecond.
fn seconds(time: Duration) -> Value {
    without_point((time.as_secs_f64() * 1e6).round() / 1e6)
}

/// Returns a number without `.0` at the end, which would be half of all numbers of a page.
#[allow(clippy::cast_possible_truncation, reason = "a whole number within the range of i64")]
fn without_point(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 1e15 { json!(value as i64) } else { json!(value) }
}

#[allow(clippy::cast_precision_loss, reason = "exact up to 2^53")]
fn count_as_f64(count: u64) -> f64 {
    count as f64
}
