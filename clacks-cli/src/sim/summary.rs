//! What a run came to: a table for people, an object for programs.

use std::io::{self, Write};
use std::time::Duration;

use clacks_sim::{DuplicationCause, LossCause, Measured, Outcome, Scenario};
use serde_json::{Map, Value, json};

use crate::plain::{BAD, GOOD, QUIET, STRONG};

/// The first line: what is run.
pub(super) fn first_line(scenario: &Scenario) -> io::Result<()> {
    let mut out = anstream::stdout();
    let (name, seed, towers) = (&scenario.name, scenario.seed, grouped(scenario.towers.into()));
    let time = humantime::format_duration(scenario.time);
    writeln!(
        out,
        "{STRONG}{name}{STRONG:#}  seed {seed}, {towers} towers, {time} of virtual time"
    )?;
    if !scenario.about.is_empty() {
        writeln!(out, "{QUIET}{}{QUIET:#}", scenario.about)?;
    }
    out.flush()
}

/// The same for programs.
pub(super) fn started(scenario: &Scenario) -> Value {
    json!({
        "event": "started",
        "scenario": scenario.name,
        "seed": scenario.seed,
        "towers": scenario.towers,
        "time_s": scenario.time.as_secs_f64(),
    })
}

/// Everything that came out, the seed and the hash last.
pub(super) fn tell(outcome: &Outcome, wall: Duration, replay: &str) -> io::Result<()> {
    let mut out = anstream::stdout();
    let totals = &outcome.totals;
    let simulated = humantime::format_duration(Duration::from_millis(millis(outcome.simulated)));
    let all = humantime::format_duration(outcome.scenario.time);
    let share = match outcome.is_over {
        true => String::new(),
        false => format!(
            "of {all}: {:.1} %",
            100.0 * outcome.simulated.as_secs_f64() / outcome.scenario.time.as_secs_f64()
        ),
    };
    let mut row = |name: &str, value: &str, note: &str| {
        writeln!(out, "  {name:<22} {value:>16}  {QUIET}{note}{QUIET:#}")
    };
    row("simulated", &simulated.to_string(), &share)?;
    row("took", &format!("{:.1} s", wall.as_secs_f64()), "")?;
    row("events", &grouped(outcome.events), &format!("{} a second", rate(outcome.events, wall)))?;
    row("towers running", &grouped(outcome.running.into()), "in the end")?;
    row("messages enqueued", &grouped(totals.enqueued), &refused(totals.refused))?;
    row("messages alive", &grouped(totals.alive), &doubtful(totals.in_doubt))?;
    row("copies", &grouped(totals.copies), "")?;
    row("in flight", &grouped(totals.in_flight), "sent and not yet confirmed")?;
    row("hops", &grouped(totals.hops), "times that a tower took a message")?;
    row("coalesced", &grouped(totals.coalesced), "copies that met another copy")?;
    for cause in LossCause::ALL {
        let count = totals.lost(cause);
        if count > 0 {
            row("messages lost", &grouped(count), &format!("cause: {cause}"))?;
        }
    }
    for cause in DuplicationCause::ALL {
        let count = totals.duplicated(cause);
        if count > 0 {
            row("copies made", &grouped(count), &format!("cause: {cause}"))?;
        }
    }
    for asked in &outcome.faults {
        let note = match asked.asked {
            Some(Some(count)) => format!("asked for {}", grouped(count)),
            Some(None) => "asked for by chance".to_owned(),
            None => "what follows from others".to_owned(),
        };
        row(&format!("fault: {}", asked.fault.as_str()), &grouped(asked.happened), &note)?;
    }
    if !outcome.measures.is_empty() {
        let heads = ["", "measured", "predicted", "error", "sigma"];
        let [name, measured, predicted, error, sigma] = heads;
        writeln!(out, "\n  {name:<36} {measured:>12} {predicted:>12} {error:>9} {sigma:>9}")?;
        for measured in &outcome.measures {
            writeln!(out, "  {}", measure(measured))?;
        }
    }
    writeln!(out)?;
    if outcome.violated == 0 {
        writeln!(out, "{GOOD}every rule held{GOOD:#}")?;
    } else {
        writeln!(
            out,
            "{BAD}{} violations{BAD:#}; the first of each rule:",
            grouped(outcome.violated)
        )?;
        for violation in &outcome.violations {
            writeln!(out, "  {violation}")?;
        }
    }
    writeln!(out, "{QUIET}again: {replay}{QUIET:#}")?;
    let seed = outcome.scenario.seed;
    writeln!(out, "seed {seed}  trace {STRONG}{}{STRONG:#}", outcome.hash)?;
    out.flush()
}

fn refused(count: u64) -> String {
    if count == 0 { String::new() } else { format!("{} more were refused", grouped(count)) }
}

fn doubtful(count: u64) -> String {
    if count == 0 { String::new() } else { format!("{} more are in doubt", grouped(count)) }
}

fn measure(measured: &Measured) -> String {
    let name = match measured.unit {
        "" => measured.name.to_owned(),
        unit => format!("{} ({unit})", measured.name),
    };
    let (error, sigma) = (relative_error(measured), measured.sigma);
    let style = if measured.holds { GOOD } else { BAD };
    let number = |value: f64| format!("{value:.5}");
    format!(
        "{name:<36} {style}{:>12}{style:#} {:>12} {:>9} {:>9}",
        number(measured.measured),
        measured.predicted.map(number).unwrap_or_default(),
        error.map(|error| format!("{:+.3} %", 100.0 * error)).unwrap_or_default(),
        sigma.map(|sigma| format!("{sigma:.2e}")).unwrap_or_default(),
    )
}

fn relative_error(measured: &Measured) -> Option<f64> {
    measured.predicted.map(|predicted| measured.measured / predicted - 1.0)
}

/// The same for programs.
pub(super) fn result(outcome: &Outcome, wall: Duration, replay: &str) -> Value {
    let totals = &outcome.totals;
    let lost: Map<_, _> = LossCause::ALL
        .iter()
        .map(|cause| (cause.as_str().to_owned(), totals.lost(*cause).into()))
        .collect();
    let duplicated: Map<_, _> = DuplicationCause::ALL
        .iter()
        .map(|cause| (cause.as_str().to_owned(), totals.duplicated(*cause).into()))
        .collect();
    let faults: Vec<_> = outcome
        .faults
        .iter()
        .map(|fault| json!({"fault": fault.fault.as_str(), "asked": fault.asked.flatten(), "happened": fault.happened}))
        .collect();
    let measures: Vec<_> = outcome
        .measures
        .iter()
        .map(|measured| {
            json!({
                "name": measured.name,
                "unit": measured.unit,
                "measured": measured.measured,
                "predicted": measured.predicted,
                "relative_error": relative_error(measured),
                "sigma": measured.sigma,
                "holds": measured.holds,
            })
        })
        .collect();
    let violations: Vec<_> = outcome
        .violations
        .iter()
        .map(|found| {
            json!({
                "rule": found.checker.as_str(),
                "at_s": found.at.as_nanos() as f64 / 1e9,
                "tower": found.tower.map(|tower| tower.0),
                "message": found.message.map(|message| message.0),
                "text": found.text,
            })
        })
        .collect();
    json!({
        "event": "result",
        "scenario": outcome.scenario.name,
        "seed": outcome.scenario.seed,
        "hash": outcome.hash.to_string(),
        "held": outcome.holds(),
        "complete": outcome.is_over,
        "simulated_s": outcome.simulated.as_secs_f64(),
        "wall_s": wall.as_secs_f64(),
        "events": outcome.events,
        "occurrences": outcome.occurrences,
        "running": outcome.running,
        "enqueued": totals.enqueued,
        "refused": totals.refused,
        "alive": totals.alive,
        "in_doubt": totals.in_doubt,
        "copies": totals.copies,
        "in_flight": totals.in_flight,
        "hops": totals.hops,
        "coalesced": totals.coalesced,
        "lost": lost,
        "duplicated": duplicated,
        "faults": faults,
        "measures": measures,
        "violated": outcome.violated,
        "violations": violations,
        "replay": replay,
    })
}

/// Events a second, in words.
pub(super) fn rate(events: u64, wall: Duration) -> String {
    let rate = events as f64 / wall.as_secs_f64().max(1e-9);
    if rate >= 1e6 { format!("{:.2} M", rate / 1e6) } else { format!("{:.0} k", rate / 1e3) }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A number with its digits in groups of three.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_stand_in_groups_of_three() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1 000"), (12_345_678, "12 345 678")]
        {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn rates_are_short() {
        assert_eq!(rate(3_000_000, Duration::from_secs(2)), "1.50 M");
        assert_eq!(rate(5_000, Duration::from_secs(1)), "5 k");
    }
}
