//! `clacks bench`: how fast towers are on this machine, compared with rustls and sockets alone.
//!
//! [`streams`] measures messages and [`dials`] connections. Each lists its candidates: [`towers`],
//! and connections without towers in [`bare`]. The candidates take turns. [`table`] writes the
//! results.

mod bare;
mod dials;
mod streams;
mod table;
mod towers;

use std::error::Error;
use std::time::Duration;

use indicatif::ProgressBar;
use serde_json::json;

use crate::args::BenchArgs;
use crate::error::Failure;
use crate::limits;
use crate::output::{json, progress};
use table::Table;

/// Why a measurement failed: no socket or thread is left, or a tower does not answer.
type BenchError = Box<dyn Error + Send + Sync>;

/// The result of a turn: how many a second.
type Rate = Result<f64, BenchError>;

/// Something that is done as often as possible during a turn.
struct Candidate {
    what: &'static str,
    turn: Box<dyn FnMut(Duration) -> Rate>,
}

impl Candidate {
    fn new(what: &'static str, turn: impl FnMut(Duration) -> Rate + 'static) -> Self {
        Self { what, turn: Box::new(turn) }
    }
}

/// Candidates that do the same. Their rates are compared with that of the first one.
struct Comparison {
    bench: &'static str,
    /// The bytes of a message.
    size: usize,
    candidates: Vec<Candidate>,
}

impl Comparison {
    fn title(&self) -> String {
        format!("{}, messages of {} bytes", self.bench, self.size)
    }
}

/// The number and duration of turns.
#[derive(Clone, Copy)]
struct Schedule {
    turns: u32,
    turn: Duration,
}

impl Schedule {
    const FULL: Self = Self { turns: 5, turn: Duration::from_millis(700) };
    const QUICK: Self = Self { turns: 1, turn: Duration::from_millis(300) };
}

/// Runs all comparisons, or those whose title contains a text.
pub(crate) fn run(args: &BenchArgs) -> Result<(), Failure> {
    limits::check(4 * limits::TOWER_DESCRIPTORS)?;
    let schedule = if args.quick { Schedule::QUICK } else { Schedule::FULL };
    let comparisons = streams::comparisons().chain(dials::comparisons());
    let comparisons: Vec<_> = comparisons.collect::<Result<_, _>>().map_err(failed)?;
    let (comparisons, others): (Vec<_>, Vec<_>) = comparisons.into_iter().partition(|comparison| {
        args.title.as_ref().is_none_or(|title| comparison.title().contains(title.as_str()))
    });
    if comparisons.is_empty() {
        let titles: Vec<_> = others.iter().map(|it| format!("\"{}\"", it.title())).collect();
        return Err(Failure::usage(format_args!(
            "No table has that in its title. There are {}.",
            titles.join(", ")
        )));
    }
    let mut table = Table::new(args.json);
    if args.json {
        json::write(&json!({
            "event": "started",
            "cores": std::thread::available_parallelism().map_or(1, usize::from),
            "turns": schedule.turns,
            "turn_ms": u64::try_from(schedule.turn.as_millis()).unwrap_or(u64::MAX),
        }))?;
    }
    let turns: usize = comparisons.iter().map(|comparison| comparison.candidates.len()).sum();
    let bar = progress::bar(turns as u64 * u64::from(schedule.turns), "{percent:>3} %  {eta} left");
    for mut comparison in comparisons {
        let rates = measure(&mut comparison, schedule, &bar).map_err(failed)?;
        bar.suspend(|| table.write(&comparison, &rates))?;
    }
    bar.finish_and_clear();
    table.finish()?;
    Ok(())
}

/// Returns the rates of all candidates, turn by turn.
fn measure(
    comparison: &mut Comparison,
    schedule: Schedule,
    bar: &ProgressBar,
) -> Result<Vec<Vec<f64>>, BenchError> {
    let mut rates = vec![Vec::new(); comparison.candidates.len()];
    for _ in 0..schedule.turns {
        for (candidate, rates) in comparison.candidates.iter_mut().zip(&mut rates) {
            bar.set_message(format!("{} {}", comparison.bench, candidate.what));
            rates.push((candidate.turn)(schedule.turn)?);
            bar.inc(1);
        }
    }
    Ok(rates)
}

#[allow(clippy::needless_pass_by_value, reason = "as `map_err` wants it")]
fn failed(trouble: BenchError) -> Failure {
    Failure::failed(format_args!(
        "The benchmark broke down ({trouble}): it needs some sockets and threads, and a processor \
         that is not too busy."
    ))
}
