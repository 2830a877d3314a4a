//! One run: its progress, its files, its end.

use std::fs::{self, File};
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use clacks_sim::{Options, Scenario, Simulation};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use smol::channel;

use super::{command, page, summary};
use crate::args::SimArgs;
use crate::error::Failure;
use crate::{json, signals};

/// So many events between two looks at the clock: some tens of milliseconds.
const STRETCH: u64 = 20_000;

pub(super) fn run(args: &SimArgs, scenario: &Scenario, base: &Path) -> Result<(), Failure> {
    let trace = args.trace.as_deref().map(create).transpose()?;
    if let Some(report) = &args.report {
        // Not after an hour.
        create(report)?;
    }
    let options = Options {
        trace: trace.map(|file| Box::new(file) as Box<dyn Write + Send>),
        flights: args.report.is_some() || args.csv.is_some(),
    };
    let mut simulation = Simulation::new(scenario, base, options).map_err(Failure::usage)?;
    if args.json {
        json::write(&summary::started(scenario))?;
    } else {
        summary::first_line(scenario)?;
    }

    let (stops, stopped) = channel::bounded(1);
    signals::listen(stops)
        .map_err(|error| Failure::failed(format_args!("signals can't be heard ({error}).")))?;
    let began = Instant::now();
    let bar = bar(scenario.time);
    loop {
        let progress = simulation.advance(STRETCH);
        let wall = began.elapsed();
        bar.set_position(millis(progress.at));
        bar.set_message(format!("{} events/s", summary::rate(progress.events, wall)));
        let is_late = args.wall.is_some_and(|limit| wall >= limit);
        if progress.is_over || is_late || stopped.try_recv().is_ok() {
            break;
        }
    }
    bar.finish_and_clear();
    let outcome = simulation.finish();
    let wall = began.elapsed();
    let replay = command(args, scenario.seed);

    if let Some(folder) = &args.csv {
        let written =
            fs::create_dir_all(folder).and_then(|()| page::write_tables(&outcome, folder));
        written.map_err(|error| cant_write(folder, &error))?;
    }
    if let Some(file) = &args.report {
        let page = page::html(&outcome, wall, &replay);
        fs::write(file, page).map_err(|error| cant_write(file, &error))?;
    }
    if args.json {
        json::write(&summary::result(&outcome, wall, &replay))?;
    } else {
        summary::tell(&outcome, wall, &replay)?;
    }
    if let (Some(file), Some(error)) = (&args.trace, &outcome.trace_failure) {
        return Err(cant_write(file, error));
    }
    if outcome.holds() { Ok(()) } else { Err(Failure::Told) }
}

fn create(path: &Path) -> Result<File, Failure> {
    File::create(path).map_err(|error| cant_write(path, &error))
}

fn cant_write(path: &Path, error: &io::Error) -> Failure {
    Failure::failed(format_args!("{} can't be written ({error}).", path.display()))
}

/// Simulated time of all; on a terminal only.
fn bar(time: Duration) -> ProgressBar {
    let style =
        ProgressStyle::with_template("{prefix} [{bar:32}] {percent:>3} %  {msg}  {eta} left");
    let bar = ProgressBar::new(millis(time)).with_prefix("simulating");
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
