//! The result of a run, as text and as JSON. [`Report`] provides the figures.

use std::fmt::Display;
use std::io::{self, Write};
use std::ops::Range;
use std::time::Duration;

use clacks_sim::report::{Figure, Report};
use clacks_sim::{JobCount, Scenario, TargetResult};
use serde_json::{Value, json};

use super::trace::TraceSize;
use crate::output::text::{BAD, GOOD, QUIET, STRONG, WARN, grouped};
use crate::output::wrap;

/// The width of a line. It fits a terminal of 40 columns.
const WIDTH: usize = 40;

/// Writes the first line: the scenario that is run.
pub(super) fn first_line(scenario: &Scenario, seed: impl Display) -> io::Result<()> {
    let mut out = wrap::stdout();
    let (name, towers) = (&scenario.name, counted(scenario.towers.into(), "tower"));
    let time = humantime::format_duration(scenario.time);
    writeln!(out, "{STRONG}{name}{STRONG:#}  {seed}, {towers}, {time} of virtual time")?;
    if !scenario.about.is_empty() {
        writeln!(out, "{QUIET}{}{QUIET:#}", scenario.about)?;
    }
    out.flush()
}

/// Returns the first JSON object of a run.
pub(super) fn started(scenario: &Scenario) -> Value {
    json!({
        "event": "started",
        "scenario": scenario.name,
        "seed": scenario.seed,
        "towers": scenario.towers,
        "time_s": scenario.time.as_secs_f64(),
    })
}

/// Returns the first JSON object of a sweep.
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

/// Returns the last JSON object of a run.
pub(super) fn result(report: &Report<'_>, trace: Option<&TraceSize>) -> Value {
    let mut result = json!({ "event": "result" });
    if let (Value::Object(result), Value::Object(figures)) = (&mut result, report.to_json()) {
        result.extend(figures);
        if let Some(trace) = trace {
            let trace = json!({ "bytes": trace.bytes(), "complete": !trace.is_cut() });
            result.insert("trace".to_owned(), trace);
        }
    }
    result
}

/// Writes the result as text. The last line has the seed and the hash.
pub(super) fn write(report: &Report<'_>, trace: Option<&TraceSize>) -> io::Result<()> {
    let mut out = wrap::stdout();
    let outcome = report.outcome;
    let seconds = Duration::from_millis(millis(outcome.simulated));
    row(&mut out, "simulated", humantime::format_duration(seconds), "")?;
    if let Some(stop) = report.stopped_by {
        // The time to settle is not known before.
        let share = outcome.simulated.as_secs_f64() / outcome.scenario.time.as_secs_f64();
        let percent = 100.0 * share.min(1.0);
        row(&mut out, "of the whole run", format_args!("{percent:.1} %"), "")?;
        row(&mut out, "stopped by", stop, "")?;
    }
    row(&mut out, "took", took(report.wall), "")?;
    row(&mut out, "events/s", rate(outcome.events, report.wall), "")?;
    if let Some(trace) = trace {
        row(&mut out, "trace, bytes", grouped(trace.bytes()), "")?;
    }
    for figure in report.figures().iter().filter(|figure| figure.is_headline) {
        row(&mut out, &figure.name, text(figure), "")?;
    }
    if !outcome.faults.is_empty() {
        writeln!(out)?;
        row(&mut out, &format!("{STRONG}faults{STRONG:#}"), "happened", "")?;
        for fault in &outcome.faults {
            let scheduled = fault.planned.flatten().map(|count| format!(" of {}", grouped(count)));
            let happened = grouped(fault.happened) + &scheduled.unwrap_or_default();
            row(&mut out, fault.fault.as_str(), happened, "")?;
        }
    }
    writeln!(out)?;
    row(&mut out, &format!("{STRONG}checks{STRONG:#}"), "violations", "")?;
    for check in &outcome.checks {
        let style = if check.violations == 0 { GOOD } else { BAD };
        row(&mut out, check.name, grouped(check.violations), style)?;
    }
    if !outcome.violations.is_empty() {
        writeln!(out, "\n  {STRONG}first violations of each check{STRONG:#}")?;
        for violation in &outcome.violations {
            writeln!(out, "  {violation}")?;
        }
    }
    if !outcome.jobs.is_empty() {
        writeln!(out, "\n  {STRONG}jobs{STRONG:#}")?;
        write_jobs(&mut out, outcome.jobs.iter())?;
    }
    if !outcome.targets.is_empty() {
        let row = |result: &TargetResult| TargetRow {
            name: result.target.name.clone(),
            measured: shown(result, result.measured),
            predicted: shown(result, result.predicted),
            number: result.text(),
            bounds: result.target.bounds(),
            is_met: result.is_met(),
        };
        writeln!(out)?;
        write_targets(&mut out, &outcome.targets.iter().map(row).collect::<Vec<_>>())?;
    }
    let style = match (outcome.passed(), outcome.is_over) {
        (true, true) => GOOD,
        (true, false) => WARN,
        (false, _) => BAD,
    };
    writeln!(out, "\n{style}{}{style:#}", report.verdict())?;
    out.write_unbroken(format_args!("{QUIET}repeat with: {}{QUIET:#}", report.replay))?;
    let so_far = if outcome.is_over { "" } else { " so far" };
    let (seed, hash) = (outcome.scenario.seed, outcome.hash);
    writeln!(out, "seed {seed}  trace{so_far} {STRONG}{hash}{STRONG:#}")?;
    out.flush()
}

/// Writes what has become of the jobs of clients.
pub(super) fn write_jobs<'a>(
    out: &mut impl Write,
    jobs: impl Iterator<Item = &'a JobCount>,
) -> io::Result<()> {
    for JobCount { kind, is_done, result, count, .. } in jobs {
        let style = if *is_done { GOOD } else { BAD };
        writeln!(out, "  {:>6} {}: {style}{result}{style:#}", grouped(*count), kind.as_str())?;
    }
    Ok(())
}

/// A row of the table of targets.
pub(super) struct TargetRow {
    pub(super) name: String,
    /// What was measured, if the target has a prediction.
    pub(super) measured: String,
    /// The prediction.
    pub(super) predicted: String,
    /// The number that is compared with the bounds.
    pub(super) number: String,
    pub(super) bounds: String,
    pub(super) is_met: bool,
}

impl TargetRow {
    /// Returns the result in a word.
    pub(super) fn result(&self) -> &'static str {
        if self.is_met { "met" } else { "missed" }
    }
}

/// Returns a measured or predicted number of a target with a prediction.
fn shown(result: &TargetResult, number: Option<f64>) -> String {
    let target = &result.target;
    let number = number.filter(|_| target.prediction.is_some());
    number.map(|number| target.measured_text(number)).unwrap_or_default()
}

/// Writes the table of targets. Columns without an entry are left out.
pub(super) fn write_targets(out: &mut impl Write, rows: &[TargetRow]) -> io::Result<()> {
    type Column = (&'static str, fn(&TargetRow) -> &str);
    const COLUMNS: [Column; 5] = [
        ("target", |row| &row.name),
        ("measured", |row| &row.measured),
        ("predicted", |row| &row.predicted),
        ("number", |row| &row.number),
        ("bounds", |row| &row.bounds),
    ];
    let width = |(title, text): Column| {
        let widths = || rows.iter().map(|row| text(row).chars().count());
        let longest = widths().max().filter(|longest| *longest > 0)?;
        Some((title, text, longest.max(title.len())))
    };
    let columns: Vec<_> = COLUMNS.into_iter().filter_map(width).collect();
    for (title, _, width) in &columns {
        match *title {
            "target" => write!(out, "  {STRONG}{title:<width$}{STRONG:#}")?,
            _ => write!(out, "  {title:>width$}")?,
        }
    }
    writeln!(out, "  result")?;
    for row in rows {
        for (title, text, width) in &columns {
            match *title {
                "target" => write!(out, "  {:<width$}", text(row))?,
                _ => write!(out, "  {:>width$}", text(row))?,
            }
        }
        let style = if row.is_met { GOOD } else { BAD };
        writeln!(out, "  {style}{}{style:#}", row.result())?;
    }
    Ok(())
}

/// Writes a name at the left and a value at the right.
fn row(
    out: &mut impl Write,
    name: &str,
    value: impl Display,
    style: impl Display,
) -> io::Result<()> {
    let value = value.to_string();
    let visible = anstream::adapter::strip_str(name).to_string().chars().count();
    let width = (WIDTH - 3).saturating_sub(visible);
    writeln!(out, "  {name} {style}{value:>width$}{QUIET:#}")
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole count")]
fn text(figure: &Figure) -> String {
    match figure.value {
        None => "unknown".to_owned(),
        Some(value) if figure.unit == "share" => format!("{:.2} %", 100.0 * value),
        Some(value) if value.fract() == 0.0 => grouped(value as u64),
        Some(value) => number(value),
    }
}

/// Returns a number with six significant digits.
fn number(value: f64) -> String {
    let magnitude = if value == 0.0 { 0.0 } else { value.abs().log10().floor() };
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 12")]
    let places = (5.0 - magnitude).clamp(0.0, 12.0) as usize;
    format!("{value:.places$}")
}

/// Returns events per second in thousands or millions.
pub(super) fn rate(events: u64, wall: Duration) -> String {
    let rate = events as f64 / wall.as_secs_f64().max(1e-9);
    if rate >= 1e6 { format!("{:.2} M", rate / 1e6) } else { format!("{:.0} k", rate / 1e3) }
}

/// Returns a real time in milliseconds or seconds.
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
    fn numbers_have_six_significant_digits() {
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
    fn times_and_rates_are_short() {
        assert_eq!(took(Duration::from_micros(31_900)), "31 ms");
        assert_eq!(took(Duration::from_millis(61_250)), "61.2 s");
        assert_eq!(rate(3_000_000, Duration::from_secs(2)), "1.50 M");
        assert_eq!(rate(5_000, Duration::from_secs(1)), "5 k");
    }

    #[test]
    fn a_row_is_as_wide_as_a_small_terminal() {
        let line = |name: &str, value: &str| {
            let mut out = Vec::new();
            row(&mut out, name, value, GOOD).unwrap();
            anstream::adapter::strip_str(&String::from_utf8(out).unwrap()).to_string()
        };
        for name in ["hops", &format!("{STRONG}hops{STRONG:#}")] {
            let line = line(name, "17");
            assert!(line.len() == WIDTH + 1 && line.ends_with(" 17\n"), "{line:?}");
        }
        let long = "a name that is longer than a line of forty";
        assert_eq!(line(long, "17"), format!("  {long} 17\n"));
    }
}
