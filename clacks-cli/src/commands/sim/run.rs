//! A single run: progress, files and result.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use clacks_sim::report::Report;
use clacks_sim::{Options, Outcome, Scenario, Simulation};
use indicatif::{BinaryBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use smol::channel::{self, Receiver};

use super::trace::TraceFile;
use super::{command, summary};
use crate::args::SimArgs;
use crate::error::Failure;
use crate::output::json;
use crate::output::text::WARN;
use crate::signals::{self, HangUp};

/// Events between two looks at the clock and at signals: some tens of milliseconds.
pub(super) const STRETCH: u64 = 20_000;

/// The real time after which the size of the trace is estimated.
const ESTIMATE_AFTER: Duration = Duration::from_secs(1);

pub(super) fn run(args: &SimArgs, scenario: &Scenario, base: &Path) -> Result<(), Failure> {
    // Files that can't be written are found before the run.
    try_results(args)?;
    let trace = args.trace.as_deref().map(create).transpose()?;
    let trace = trace.map(|file| TraceFile::new(file, args.trace_limit as u64));
    let trace_size = trace.as_ref().map(TraceFile::size);
    let options = Options {
        trace: trace.map(|file| Box::new(file) as Box<dyn Write + Send>),
        message_trace: args.report.is_some() || args.csv.is_some(),
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
    let mut not_estimated = trace_size.as_ref();
    let stopped_by = loop {
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
        if let Some(size) = not_estimated.filter(|size| wall >= ESTIMATE_AFTER && !size.is_cut()) {
            let estimate = size.estimate(progress.at, scenario.time, args.trace_limit as u64);
            bar.suspend(|| anstream::eprintln!("{WARN}note{WARN:#}: {estimate}"));
            not_estimated = None;
        }
        if !stops.is_empty() {
            break Some("a signal");
        }
        if args.wall.is_some_and(|limit| wall >= limit) {
            break Some("--wall");
        }
    };
    let mut outcome = simulation.finish();
    let wall = began.elapsed();
    if stopped_by.is_none() && outcome.needs_calm_twin() {
        bar.set_message("the calm twin");
        let is_late = || args.wall.is_some_and(|limit| began.elapsed() >= limit);
        if let Some(twin) = calm_twin(scenario, base, || !stops.is_empty() || is_late())? {
            outcome.compare_with_calm(&twin);
        }
    }
    bar.finish_and_clear();
    let stopped_by =
        stopped_by.or((!outcome.is_over).then_some("a violation (--keep-going continues)"));
    let replay = command(args, scenario.seed);
    let report = Report { outcome: &outcome, wall, stopped_by, replay: &replay };

    if let Some(folder) = &args.csv {
        report.write_csv(folder).map_err(|error| Failure::failed(cant_write(folder, &error)))?;
    }
    if let Some(file) = &args.report {
        fs::write(file, report.html())
            .map_err(|error| Failure::failed(cant_write(file, &error)))?;
    }
    if args.json {
        json::write(&summary::result(&report, trace_size.as_ref()))?;
    } else {
        summary::write(&report, trace_size.as_ref())?;
    }
    let is_cut = trace_size.is_some_and(|size| size.is_cut());
    if let (Some(file), Some(error)) = (&args.trace, &outcome.trace_failure) {
        if !is_cut {
            return Err(Failure::failed(cant_write(file, error)));
        }
        let limit = BinaryBytes(args.trace_limit as u64);
        anstream::eprintln!("{WARN}note{WARN:#}: the trace was cut at {limit} (--trace-limit).");
    }
    let misses = args.check && outcome.targets.iter().any(|target| !target.is_met());
    if outcome.passed() && !misses { Ok(()) } else { Err(Failure::Reported) }
}

/// Runs the calm twin of a scenario. Returns `None` if the run was stopped.
pub(super) fn calm_twin(
    scenario: &Scenario,
    base: &Path,
    is_stopped: impl Fn() -> bool,
) -> Result<Option<Outcome>, Failure> {
    let twin = scenario.calm_twin();
    let mut simulation =
        Simulation::new(&twin, base, Options::default()).map_err(Failure::usage)?;
    while !simulation.advance(STRETCH).is_over {
        if is_stopped() {
            return Ok(None);
        }
    }
    let outcome = simulation.finish();
    match outcome.violations.first() {
        Some(violation) => {
            Err(Failure::failed(format_args!("the calm twin has a violation: {violation}.")))
        }
        None => Ok(Some(outcome)),
    }
}

/// Returns a channel that receives the first signal to stop. The second one ends the process.
pub(super) fn stops() -> Result<Receiver<()>, Failure> {
    let (sender, stops) = channel::bounded(1);
    // Fails if the first signal has not been received yet.
    let stop = move |_| {
        let _ = sender.try_send(());
    };
    signals::listen(HangUp::Stops, stop)
        .map_err(|error| Failure::failed(format_args!("signals can't be received ({error}).")))?;
    Ok(stops)
}

/// Checks that the report and the tables can be written. Existing files keep their content.
fn try_results(args: &SimArgs) -> Result<(), Failure> {
    let open = |path: &Path| {
        OpenOptions::new().write(true).create(true).truncate(false).open(path).map(drop)
    };
    if let Some(folder) = &args.csv {
        fs::create_dir_all(folder)
            .and_then(|()| open(&folder.join(Report::CSV_FILES[0])))
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

/// Returns a bar of the simulated time. It is drawn on a terminal only.
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
