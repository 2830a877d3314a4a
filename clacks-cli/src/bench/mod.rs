//! How fast towers are here, end to end, beside what they are made of.
//!
//! [`streams`] moves messages and [`dials`] makes connections: each lists its contenders, of which [`bare`] has those that are no towers and [`towers`]
//! the others. They take turns, and [`table`] says what came of it.

mod bare;
mod dials;
mod streams;
mod table;
mod towers;

use std::error::Error;
use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use crate::args::BenchArgs;
use crate::error::Failure;
use crate::output::json;
use table::Table;

/// What can go wrong: the operating system has no socket or thread to spare, or a tower does not answer.
type Trouble = Box<dyn Error + Send + Sync>;

/// How a contender's turn went: so many a second.
type Rate = Result<f64, Trouble>;

/// Something that is done as often as possible for some time.
struct Contender {
    what: &'static str,
    /// At least this share of the rate of the first one of its kind should be reached.
    wanted: Option<f64>,
    turn: Box<dyn FnMut(Duration) -> Rate>,
}

impl Contender {
    fn new(
        what: &'static str,
        wanted: Option<f64>,
        turn: impl FnMut(Duration) -> Rate + 'static,
    ) -> Self {
        Self { what, wanted, turn: Box::new(turn) }
    }
}

/// Contenders that do the same. The first is what the others are measured by.
struct Contest {
    bench: &'static str,
    /// The bytes of a message.
    size: usize,
    contenders: Vec<Contender>,
}

impl Contest {
    fn title(&self) -> String {
        format!("{}, messages of {} bytes", self.bench, self.size)
    }
}

/// How long it all takes.
#[derive(Clone, Copy)]
struct Patience {
    turns: u32,
    turn: Duration,
}

impl Patience {
    const FULL: Self = Self { turns: 5, turn: Duration::from_millis(700) };
    const QUICK: Self = Self { turns: 1, turn: Duration::from_millis(300) };
}

/// Measures everything.
pub(crate) fn run(args: &BenchArgs) -> Result<(), Failure> {
    let patience = if args.quick { Patience::QUICK } else { Patience::FULL };
    let contests = streams::contests().chain(dials::contests());
    let contests: Vec<_> = contests.collect::<Result<_, _>>().map_err(failed)?;
    let (contests, others): (Vec<_>, Vec<_>) = contests.into_iter().partition(|contest| {
        args.title.as_ref().is_none_or(|title| contest.title().contains(title.as_str()))
    });
    if contests.is_empty() {
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
            "turns": patience.turns,
            "turn_ms": u64::try_from(patience.turn.as_millis()).unwrap_or(u64::MAX),
        }))?;
    }
    let turns: usize = contests.iter().map(|contest| contest.contenders.len()).sum();
    let bar = bar(turns as u64 * u64::from(patience.turns));
    for mut contest in contests {
        let rates = measure(&mut contest, patience, &bar).map_err(failed)?;
        bar.suspend(|| table.tell(&contest, &rates))?;
    }
    bar.finish_and_clear();
    table.end()?;
    Ok(())
}

/// The rates of all contenders, turn by turn.
fn measure(
    contest: &mut Contest,
    patience: Patience,
    bar: &ProgressBar,
) -> Result<Vec<Vec<f64>>, Trouble> {
    let mut rates = vec![Vec::new(); contest.contenders.len()];
    for _ in 0..patience.turns {
        for (contender, rates) in contest.contenders.iter_mut().zip(&mut rates) {
            bar.set_message(format!("{} {}", contest.bench, contender.what));
            rates.push((contender.turn)(patience.turn)?);
            bar.inc(1);
        }
    }
    Ok(rates)
}

/// Turns that are over; on a terminal only.
fn bar(turns: u64) -> ProgressBar {
    let bar = ProgressBar::new(turns);
    if !io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    match ProgressStyle::with_template("[{bar:32}] {percent:>3} %  {msg}  {eta} left") {
        Ok(style) => bar.with_style(style.progress_chars("=> ")),
        Err(_) => bar,
    }
}

#[allow(clippy::needless_pass_by_value, reason = "as `map_err` wants it")]
fn failed(trouble: Trouble) -> Failure {
    Failure::failed(format_args!(
        "The benchmark broke down ({trouble}): it needs some sockets and threads, and a processor that is not too busy."
    ))
}
