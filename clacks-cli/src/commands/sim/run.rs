//! A single run: progress, files and result.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clacks_sim::report::Report;
use clacks_sim::{Options, Outcome, Scenario, Simulation};
use indicatif::BinaryBytes;
use smol::channel::{self, Receiver};

use super::outputs::{OutputFile, Outputs, cant_write};
use super::trace::TraceFile;
use super::{command, summary};
use crate::args::SimArgs;
use crate::error::Failure;
use crate::output::{json, progress, wrap};
use crate::signals::{self, HangUp};

/// Events between two looks at the clock and at signals: some tens of milliseconds.
pub(super) const STRETCH: u64 = 20_000;

/// The real time after which the size of the trace is estimated.
const ESTIMATE_AFTER: Duration = Duration::from_secs(1);

pub(super) fn run(
    args: &SimArgs,
    scenario: &Scenario,
    base: &Path,
    inputs: &[PathBuf],
) -> Result<(), Failure> {
    // Files that can't be written are found before the run.
    let outputs = Outputs::open(args, inputs)?;
    let trace = outputs.trace.map(OutputFile::emptied).transpose()?;
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
    let bar = progress::bar(millis(scenario.time), "{percent:>3} %  {eta} left");
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
            bar.suspend(|| wrap::note(&estimate));
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
    if let Some(file) = outputs.report {
        file.write(report.html().as_bytes())?;
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
        wrap::note(format_args!("the trace was cut at {limit} (--trace-limit)."));
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
