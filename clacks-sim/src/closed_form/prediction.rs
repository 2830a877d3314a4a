//! Predictions for the targets of a scenario.

use std::time::Duration;

use clacks_proto::{Instant, SendRate};

use super::{CalmNetwork, Listening, Ticks, group_survival, message_survival, success_share};
use crate::distribution::Distribution;
use crate::metrics::{Metric, Series};
use crate::plan::Plan;
use crate::scenario::{FaultKind, Measure, Scenario, Shape};

/// The longest queue for which the share of hand-overs that succeed is computed. It takes some
/// milliseconds.
const LONGEST_QUEUE: usize = 1_000;

/// Checks that a closed form describes a measure in a scenario. If not, returns what the closed
/// form needs.
pub(crate) fn check(scenario: &Scenario, measure: &Measure) -> Result<(), &'static str> {
    match measure {
        Measure::Rate { metric: Metric::HandOvers | Metric::Hops, .. }
        | Measure::Mean { metric: Metric::OnTheWire, .. }
        | Measure::HeardAfter { .. } => check_calm(scenario),
        Measure::Share {
            metric: Metric::HonestDeliveries, of: Metric::HonestHandOvers, ..
        } => {
            check_calm(scenario)?;
            match scenario.tower.max_queue_messages <= LONGEST_QUEUE {
                true => Ok(()),
                false => Err("tower.max_queue_messages of at most 1 000"),
            }
        }
        Measure::Alive { .. } => check_churn(scenario),
        Measure::Value { metric: Metric::PiecesAlive, .. } => {
            check_churn(scenario)?;
            match &scenario.files {
                Some(files) if !files.keep => Ok(()),
                _ => Err("files without keepers"),
            }
        }
        _ => Err("a number with a closed form: a rate of hand_overs or hops, a mean of \
                  on_the_wire, a share of honest_deliveries of honest_hand_overs, alive, \
                  heard-after, or a value of pieces_alive"),
    }
}

/// Checks that all towers know each other, and that nothing disturbs the network.
fn check_calm(scenario: &Scenario) -> Result<(), &'static str> {
    if scenario.tower.send_rate == SendRate::Unlimited {
        return Err("a tower.send_rate that is a number");
    }
    if scenario.contacts.shape != Shape::Full || scenario.towers < 2 {
        return Err("contacts.shape = \"full\", and at least 2 towers");
    }
    if scenario.files.as_ref().is_some_and(|files| !files.hold.is_zero()) {
        return Err("files.hold of 0s");
    }
    let is_calm = scenario.roles.is_empty()
        && scenario.churn.is_none()
        && scenario.paths.is_empty()
        && scenario.faults.iter().all(|fault| matches!(fault.kind, FaultKind::Enqueue { .. }))
        && !scenario.link.has_random_faults();
    if is_calm { Ok(()) } else { Err("a network without roles, paths, churn and faults") }
}

/// Checks that only churn ends messages, and that a session has no memory.
fn check_churn(scenario: &Scenario) -> Result<(), &'static str> {
    let is_memoryless = scenario.churn.as_ref().is_none_or(|churn| {
        matches!(churn.session, Distribution::Exponential { .. })
            && churn.towers == crate::scenario::Towers::All
    });
    if !is_memoryless {
        return Err("churn of all towers with an exponential session");
    }
    if scenario.roles.is_empty() && scenario.faults.is_empty() {
        Ok(())
    } else {
        Err("a network without roles and faults")
    }
}

/// Returns the prediction for a measure that [`check`] allows, or `None` if the run was too short.
pub(crate) fn predict(
    scenario: &Scenario,
    plan: &Plan,
    measure: &Measure,
    series: &Series,
) -> Option<f64> {
    check(scenario, measure).ok()?;
    match *measure {
        Measure::Rate { .. } => Some(calm(plan, series)?.sent()),
        Measure::Mean { .. } => Some(calm(plan, series)?.on_the_wire()),
        Measure::HeardAfter { n, k, .. } => {
            let network = calm(plan, series)?;
            let CalmNetwork { towers, messages, .. } = network;
            let sent = network.sent();
            let listening = Listening { towers, messages, sent, listeners: 1, degree: None };
            Some(listening.mean_time_of_group(n, k))
        }
        Measure::Share { from, until, .. } => {
            let capacity = u32::try_from(scenario.tower.max_queue_messages).ok()?;
            let length = mean(series, Metric::Copies, from, until)? / f64::from(plan.towers);
            Some(success_share(capacity, length / f64::from(capacity), 1, Ticks::Periodic))
        }
        Measure::Alive { at, n, k } => {
            let alive = scenario.churn.as_ref().map_or(1.0, |churn| {
                let time = at.min(churn.until).saturating_sub(churn.from).as_secs_f64();
                message_survival(time / churn.session.mean().as_secs_f64(), churn.graceful)
            });
            Some(group_survival(n, k, alive))
        }
        Measure::Value { at, .. } => {
            let mut samples = series.samples().iter();
            samples.find(|row| row.at >= Instant::ORIGIN + at)?.value(Metric::PiecesLaw)
        }
        _ => None,
    }
}

/// Returns the network of a plan as the closed forms describe it. All messages count that were
/// enqueued in the run.
fn calm(plan: &Plan, series: &Series) -> Option<CalmNetwork> {
    let SendRate::Every(period) = plan.config.send_rate else { return None };
    let jitter = plan.conditions.jitter.as_ref().map_or(Duration::ZERO, Distribution::mean);
    Some(CalmNetwork {
        towers: plan.members,
        messages: u32::try_from(series.total(Metric::Enqueued)).ok().filter(|count| *count > 0)?,
        send_rate: 1.0 / period.as_secs_f64(),
        latency: (plan.conditions.latency.mean() + jitter).as_secs_f64(),
        ticks: Ticks::Periodic,
    })
}

/// Returns the mean of a gauge over the samples of a window, or `None` without samples.
pub(crate) fn mean(
    series: &Series,
    metric: Metric,
    from: Duration,
    until: Duration,
) -> Option<f64> {
    let (from, until) = (Instant::ORIGIN + from, Instant::ORIGIN + until);
    let rows = series.samples().iter().filter(|row| row.at > from && row.at <= until);
    let (mut time, mut sum) = (0.0, 0.0);
    for row in rows {
        let interval = row.interval.as_secs_f64();
        time += interval;
        sum += interval * row.value(metric)?;
    }
    (time > 0.0).then(|| sum / time)
}
