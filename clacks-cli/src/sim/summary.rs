//! What a run came to: a table for people, an object for programs.

use std::fmt::Display;
use std::io::{self, Write};
use std::ops::Range;
use std::time::Duration;

use clacks_sim::{DuplicationCause, LossCause, Measured, Outcome, Scenario};
use serde_json::{Map, Value, json};

use crate::output::text::{BAD, GOOD, QUIET, STRONG, WARN, grouped};

/// How a run ended.
pub(super) struct Ended<'a> {
    /// The real time that it took.
    pub(super) wall: Duration,
    /// What stopped it, if it did not come to its end.
    pub(super) stop: Option<Stop>,
    /// The command that runs it again.
    pub(super) replay: &'a str,
}

/// What stops a run before its end.
#[derive(Clone, Copy)]
pub(super) enum Stop {
    /// Ctrl-C and the like.
    Signal,
    /// The real time that it may take is over.
    Wall,
    /// A checker found a violation.
    Violation,
}

impl Stop {
    fn as_str(self) -> &'static str {
        match self {
            Self::Signal => "signal",
            Self::Wall => "wall",
            Self::Violation => "violation",
        }
    }

    fn sentence(self) -> &'static str {
        match self {
            Self::Signal => "stopped by a signal",
            Self::Wall => "stopped by --wall",
            Self::Violation => "stopped by a violation (--keep-going continues)",
        }
    }
}

/// The first line: what is run.
pub(super) fn first_line(scenario: &Scenario, seed: impl Display) -> io::Result<()> {
    let mut out = anstream::stdout();
    let (name, towers) = (&scenario.name, counted(scenario.towers.into(), "tower"));
    let time = humantime::format_duration(scenario.time);
    writeln!(out, "{STRONG}{name}{STRONG:#}  {seed}, {towers}, {time} of virtual time")?;
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

/// The same of many runs.
pub(super) fn sweep_started(scenario: &Scenario, seeds: &Range<u64>) -> Value {
    json!({
        "event": "started",
        "scenario": scenario.name,
        "first_seed": seeds.start,
        "end_seed": seeds.end,
        "towers": scenario.towers,
        "time_s": scenario.time.as_secs_f64(),
    })
}

/// Everything that came out, the seed and the hash last.
pub(super) fn tell(outcome: &Outcome, ended: &Ended<'_>) -> io::Result<()> {
    let mut out = anstream::stdout();
    let (totals, wall) = (&outcome.totals, ended.wall);
    let simulated = humantime::format_duration(Duration::from_millis(millis(outcome.simulated)));
    let all = humantime::format_duration(outcome.scenario.time);
    let share = ended.stop.map(|stop| {
        let share = outcome.simulated.as_secs_f64() / outcome.scenario.time.as_secs_f64();
        format!("of {all}: {:.1} %, {}", 100.0 * share, stop.sentence())
    });
    let mut row = |name: &str, value: &str, note: &str| {
        let note =
            if note.is_empty() { String::new() } else { format!("  {QUIET}{note}{QUIET:#}") };
        writeln!(out, "  {name:<22} {value:>16}{note}")
    };
    row("simulated", &simulated.to_string(), &share.unwrap_or_default())?;
    row("took", &took(wall), "")?;
    row("events", &grouped(outcome.events), &format!("{} events/s", rate(outcome.events, wall)))?;
    row("towers running", &grouped(outcome.running.into()), "in the end")?;
    row("messages enqueued", &grouped(totals.enqueued), &refused(totals.refused))?;
    row("messages alive", &grouped(totals.alive), "")?;
    row("copies", &grouped(totals.copies), "")?;
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
    if let Some(groups) = outcome.groups {
        row("groups alive", &grouped(groups.alive), &format!("of {}", grouped(groups.count)))?;
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
        writeln!(out, "\n  {name:<40} {measured:>12} {predicted:>12} {error:>9} {sigma:>9}")?;
        for measured in &outcome.measures {
            writeln!(out, "  {}", measure(measured))?;
        }
    }
    writeln!(out)?;
    // A run that was stopped has not been asked yet what must hold in the end, nor how it compares
    // with a prediction.
    let so_far = if ended.stop.is_some() { " so far" } else { "" };
    if outcome.violated == 0 {
        writeln!(out, "{GOOD}every rule held{so_far}{GOOD:#}")?;
    } else {
        let violations = counted(outcome.violated, "violation");
        writeln!(out, "{BAD}{violations}{so_far}{BAD:#}; the first of each rule:")?;
        for violation in &outcome.violations {
            writeln!(out, "  {violation}")?;
        }
    }
    if ended.stop.is_some() {
        writeln!(out, "{WARN}not judged{WARN:#}: what must hold at the end of the whole run")?;
    }
    if outcome.measures.iter().any(|measured| !measured.holds) {
        writeln!(out, "{BAD}a prediction did not hold{BAD:#}")?;
    }
    writeln!(out, "{QUIET}again: {}{QUIET:#}", ended.replay)?;
    let (seed, hash) = (outcome.scenario.seed, outcome.hash);
    writeln!(out, "seed {seed}  trace{so_far} {STRONG}{hash}{STRONG:#}")?;
    out.flush()
}

fn refused(count: u64) -> String {
    if count == 0 { String::new() } else { format!("{} more were refused", grouped(count)) }
}

fn measure(measured: &Measured) -> String {
    let name = match measured.unit {
        "" => measured.name.to_owned(),
        unit => format!("{} ({unit})", measured.name),
    };
    let (error, sigma) = (relative_error(measured), measured.sigma);
    let style = if measured.holds { GOOD } else { BAD };
    format!(
        "{name:<40} {style}{:>12}{style:#} {:>12} {:>9} {:>9}",
        number(measured.measured),
        measured.predicted.map(number).unwrap_or_default(),
        error.map(|error| format!("{:+.3} %", 100.0 * error)).unwrap_or_default(),
        sigma.map(|sigma| format!("{sigma:.2e}")).unwrap_or_default(),
    )
}

/// The first prediction that did not hold, in words.
pub(super) fn missed(outcome: &Outcome) -> Option<String> {
    let missed = outcome.measures.iter().find(|measured| !measured.holds)?;
    let predicted = missed.predicted.map(|value| format!(", predicted {}", number(value)));
    let (name, value) = (missed.name, number(missed.measured));
    Some(format!("{name}: measured {value}{}", predicted.unwrap_or_default()))
}

fn relative_error(measured: &Measured) -> Option<f64> {
    measured.predicted.map(|predicted| measured.measured / predicted - 1.0)
}

/// A number with the six digits that say something.
fn number(value: f64) -> String {
    let magnitude = if value == 0.0 { 0.0 } else { value.abs().log10().floor() };
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 12")]
    let places = (5.0 - magnitude).clamp(0.0, 12.0) as usize;
    format!("{value:.places$}")
}

/// The same for programs.
pub(super) fn result(outcome: &Outcome, ended: &Ended<'_>) -> Value {
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
        .map(|fault| {
            json!({
                "fault": fault.fault.as_str(),
                "asked": fault.asked.flatten(),
                "happened": fault.happened,
            })
        })
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
        "complete": ended.stop.is_none(),
        "stopped_by": ended.stop.map(Stop::as_str),
        "simulated_s": outcome.simulated.as_secs_f64(),
        "wall_s": ended.wall.as_secs_f64(),
        "events": outcome.events,
        "observations": outcome.observations,
        "running": outcome.running,
        "enqueued": totals.enqueued,
        "refused": totals.refused,
        "alive": totals.alive,
        "groups": outcome.groups.map(|groups| groups.count),
        "groups_alive": outcome.groups.map(|groups| groups.alive),
        "copies": totals.copies,
        "hops": totals.hops,
        "coalesced": totals.coalesced,
        "lost": lost,
        "duplicated": duplicated,
        "faults": faults,
        "measures": measures,
        "violated": outcome.violated,
        "violations": violations,
        "replay": ended.replay,
    })
}

/// Events a second, in words.
pub(super) fn rate(events: u64, wall: Duration) -> String {
    let rate = events as f64 / wall.as_secs_f64().max(1e-9);
    if rate >= 1e6 { format!("{:.2} M", rate / 1e6) } else { format!("{:.0} k", rate / 1e3) }
}

/// A real time.
pub(super) fn took(wall: Duration) -> String {
    match wall.as_millis() {
        millis @ 0..1_000 => format!("{millis} ms"),
        _ => format!("{:.1} s", wall.as_secs_f64()),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn counted(number: u64, what: &str) -> String {
    format!("{} {what}{}", grouped(number), if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_have_six_digits_that_say_something() {
        for (value, text) in [
            (376.848_91, "376.849"),
            (0.188_434_4, "0.188434"),
            (0.009_421_738, "0.00942174"),
            (0.0, "0.00000"),
            (1e9, "1000000000"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn short_runs_took_some_milliseconds() {
        assert_eq!(took(Duration::from_micros(31_900)), "31 ms");
        assert_eq!(took(Duration::from_millis(61_250)), "61.2 s");
    }

    #[test]
    fn one_is_not_counted_as_many() {
        assert_eq!(counted(1, "tower"), "1 tower");
        assert_eq!(counted(1_000, "tower"), "1 000 towers");
    }

    #[test]
    fn rates_are_short() {
        assert_eq!(rate(3_000_000, Duration::from_secs(2)), "1.50 M");
        assert_eq!(rate(5_000, Duration::from_secs(1)), "5 k");
    }
}
