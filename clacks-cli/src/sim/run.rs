//! One run: its progress, its files, its end.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use clacks_sim::report::SERIES_FILE;
use clacks_sim::{Options, Scenario, Simulation};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use smol::channel::{self, Receiver};

use super::summary::{Ended, Stop};
use super::{command, page, summary};
use crate::args::SimArgs;
use crate::error::Failure;
use crate::output::json;
use crate::signals;

/// So many events between two looks at the clock and at what people want: some tens of
/// milliseconds.
pub(super) const STRETCH: u64 = 20_000;

pub(super) fn run(args: &SimArgs, scenario: &Scenario, base: &Path) -> Result<(), Failure> {
    // Files that can't be written are found before the run.
    try_results(args)?;
    let trace = args.trace.as_deref().map(create).transpose()?;
    let options = Options {
        trace: trace.map(|file| Box::new(file) as Box<dyn Write + Send>),
        flights: args.report.is_some() || args.csv.is_some(),
        keep_going: args.keep_going,
    };
    let mut simulation = Simulation::new(scenario, base, options).map_err(Failure::usage)?;
    let stops = stops()?;
    if args.json {
        json::write(&summary::started(scenario))?;
    } else {
        summary::first_line(scenario, format_args!("seed {}", scenario.seed))?;
    }

    let began = Instant::now();
    let bar = bar(scenario.time);
    let stop = loop {
        let progress = simulation.advance(STRETCH);
        let wall = began.elapsed();
        bar.set_position(millis(progress.at));
        let (at, all) = (rough(progress.at), rough(scenario.time));
        bar.set_message(format!(
            "{at} of {all}  {} events/s",
            summary::rate(progress.events, wall)
        ));
        if progress.is_over {
            break None;
        }
        if !stops.is_empty() {
            break Some(Stop::Signal);
        }
        if args.wall.is_some_and(|limit| wall >= limit) {
            break Some(Stop::Wall);
        }
    };
    bar.finish_and_clear();
    let outcome = simulation.finish();
    let stop = stop.or((!outcome.is_over).then_some(Stop::Violation));
    let (wall, replay) = (began.elapsed(), command(args, scenario.seed));
    let ended = Ended { wall, stop, replay: &replay };

    if let Some(folder) = &args.csv {
        page::write_tables(&outcome, folder)
            .map_err(|error| Failure::failed(cant_write(folder, &error)))?;
    }
    if let Some(file) = &args.report {
        fs::write(file, page::html(&outcome, wall, &replay))
            .map_err(|error| Failure::failed(cant_write(file, &error)))?;
    }
    if args.json {
        json::write(&summary::result(&outcome, &ended))?;
    } else {
        summary::tell(&outcome, &ended)?;
    }
    if let (Some(file), Some(error)) = (&args.trace, &outcome.trace_failure) {
        return Err(Failure::failed(cant_write(file, error)));
    }
    if outcome.holds() { Ok(()) } else { Err(Failure::Reported) }
}

/// Hears of the wish to stop. The second wish ends the process.
pub(super) fn stops() -> Result<Receiver<()>, Failure> {
    let (sender, stops) = channel::bounded(1);
    signals::listen(sender)
        .map_err(|error| Failure::failed(format_args!("signals can't be heard ({error}).")))?;
    Ok(stops)
}

/// Whether the report and the tables can be written in the end. What is there stays until then.
fn try_results(args: &SimArgs) -> Result<(), Failure> {
    let open = |path: &Path| {
        OpenOptions::new().write(true).create(true).truncate(false).open(path).map(drop)
    };
    if let Some(folder) = &args.csv {
        fs::create_dir_all(folder)
            .and_then(|()| open(&folder.join(SERIES_FILE)))
            .map_err(|error| Failure::usage(cant_write(folder, &error)))?;
    }
    match &args.report {
        Some(file) => open(file).map_err(|error| Failure::usage(cant_write(file, &error))),
        None => Ok(()),
    }
}

fn create(path: &Path) -> Result<File, Failure> {
    File::create(path).map_err(|error| Failure::usage(cant_write(path, &error)))
}

fn cant_write(path: &Path, error: &io::Error) -> String {
    format!("{} can't be written ({error}).", path.display())
}

/// Simulated time of all; on a terminal only.
fn bar(time: Duration) -> ProgressBar {
    let style = ProgressStyle::with_template("[{bar:32}] {percent:>3} %  {msg}  {eta} left");
    let bar = ProgressBar::new(millis(time));
    if !io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    match style {
        Ok(style) => bar.with_style(style.progress_chars("=> ")),
        Err(_) => bar,
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Rounds a time for display: to milliseconds below 10 s, otherwise to seconds.
fn rough(time: Duration) -> humantime::FormattedDuration {
    let time = match time.as_secs() {
        0..10 => Duration::from_millis(millis(time)),
        seconds => Duration::from_secs(seconds),
    };
    humantime::format_duration(time)
}
