//! Runs of many seeds on all cores. The number of jobs does not change the output.

use std::io::{self, Write};
use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

use clacks_sim::scenario::Target;
use clacks_sim::{Interval, JobCount, Options, Scenario, Simulation, TargetResult};
use serde_json::{Value, json};

use super::run::{self, STRETCH, stops};
use super::scenario::Chosen;
use super::seeds::{self, Ran};
use super::summary::TargetRow;
use super::{command, huge_pages, note_removed, summary};
use crate::args::SimArgs;
use crate::error::Failure;
use crate::output::text::{BAD, GOOD, QUIET, STRONG, WARN};
use crate::output::{json, progress, wrap};

/// The result of a run.
struct RunResult {
    hash: String,
    events: u64,
    violated: u64,
    passed: bool,
    /// The first violation.
    why: Option<String>,
    targets: Vec<TargetResult>,
    jobs: Vec<JobCount>,
}

pub(super) fn run(args: &SimArgs, chosen: &Chosen<'_>, seeds: Range<u64>) -> Result<(), Failure> {
    let count = seeds.end - seeds.start;
    let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let jobs = args.jobs.map_or(cores, usize::from);
    let jobs = usize::try_from(count).map_or(jobs, |count| jobs.min(count)).max(1);
    // Nearly all mistakes in a scenario show in the first seed.
    let (first, removed) = chosen.scenario(Some(seeds.start))?;
    drop(Simulation::new(&first, chosen.base(), Options::default()).map_err(Failure::usage)?);

    huge_pages::enable(first.towers, chosen);
    note_removed(&removed);
    let stops = stops()?;
    if args.json {
        json::write(&summary::sweep_started(&first, &seeds))?;
    } else if !args.markdown {
        summary::first_line(&first, format_args!("seeds {}..{}", seeds.start, seeds.end))?;
    }
    let is_stopped = || !stops.is_empty();
    seeds::keep_panics();
    let began = Instant::now();
    let bar = progress::bar(count, "{pos} of {len} seeds");
    // Show the bar before the first run ends.
    bar.tick();
    let mut narrator = Narrator::new(args, &first);
    let reported = seeds::each(
        seeds,
        jobs,
        is_stopped,
        |seed| one(chosen, seed, args.keep_going, is_stopped),
        |seed, ran| {
            bar.inc(1);
            let left = humantime::format_duration(Duration::from_secs(bar.eta().as_secs()));
            bar.set_message(format!("{left} left"));
            bar.suspend(|| narrator.run(seed, &ran))
        },
    );
    bar.finish_and_clear();
    reported?;
    narrator.finish(count, began.elapsed())
}

/// Runs one seed to its end.
fn one(
    chosen: &Chosen<'_>,
    seed: u64,
    keep_going: bool,
    is_stopped: impl Fn() -> bool,
) -> Ran<RunResult> {
    let scenario = match chosen.scenario(Some(seed)) {
        Ok((scenario, _)) => scenario,
        Err(failure) => return Ran::Broke(failure.sentence().unwrap_or_default().to_owned()),
    };
    let options = Options { keep_going, ..Options::default() };
    let mut simulation = match Simulation::new(&scenario, chosen.base(), options) {
        Ok(simulation) => simulation,
        Err(error) => return Ran::Broke(format!("the run can't start: {error}")),
    };
    while !simulation.advance(STRETCH).is_over {
        if is_stopped() {
            return Ran::Stopped;
        }
    }
    let mut outcome = simulation.finish();
    if outcome.is_over && outcome.needs_calm_twin() {
        match run::calm_twin(&scenario, chosen.base(), is_stopped) {
            Ok(Some(twin)) => outcome.compare_with_calm(&twin),
            Ok(None) => return Ran::Stopped,
            Err(failure) => return Ran::Broke(failure.sentence().unwrap_or_default().to_owned()),
        }
    }
    Ran::Ended(RunResult {
        hash: outcome.hash.to_string(),
        events: outcome.events,
        violated: outcome.violated,
        passed: outcome.passed(),
        why: outcome.violations.first().map(ToString::to_string),
        targets: outcome.targets,
        jobs: outcome.jobs,
    })
}

/// A target with the numbers of all runs.
struct Numbers {
    target: Target,
    numbers: Vec<Option<f64>>,
    measured: Vec<Option<f64>>,
    predicted: Vec<Option<f64>>,
}

impl Numbers {
    fn new(target: &Target) -> Self {
        let target = target.clone();
        Self { target, numbers: Vec::new(), measured: Vec::new(), predicted: Vec::new() }
    }

    fn push(&mut self, result: Option<&TargetResult>) {
        self.numbers.push(result.and_then(TargetResult::number));
        self.measured.push(result.and_then(|result| result.measured));
        self.predicted.push(result.and_then(|result| result.predicted));
    }

    /// Returns the mean of the measured or predicted numbers, if the target has a prediction.
    fn mean(&self, numbers: &[Option<f64>]) -> Option<f64> {
        self.target.prediction.and_then(|_| Interval::of(numbers)).map(|it| it.mean)
    }

    fn mean_text(&self, numbers: &[Option<f64>]) -> String {
        self.mean(numbers).map(|mean| self.target.measured_text(mean)).unwrap_or_default()
    }
}

/// Writes the result of each run.
struct Narrator<'a> {
    args: &'a SimArgs,
    reported: u64,
    passed: u64,
    first_failed: Option<u64>,
    combined: u64,
    /// Each target with the numbers of all runs.
    targets: Vec<Numbers>,
}

impl<'a> Narrator<'a> {
    fn new(args: &'a SimArgs, scenario: &Scenario) -> Self {
        let targets = scenario.targets.iter().map(Numbers::new).collect();
        Self { args, reported: 0, passed: 0, first_failed: None, combined: 0, targets }
    }

    fn run(&mut self, seed: u64, ran: &Ran<RunResult>) -> Result<(), Failure> {
        let (result, why) = match ran {
            Ran::Ended(result) => (Some(result), result.why.as_deref()),
            Ran::Broke(why) => (None, Some(why.as_str())),
            Ran::Stopped => return Ok(()),
        };
        let passed = result.is_some_and(|result| result.passed);
        let hash = result.map(|result| result.hash.as_str());
        self.reported += 1;
        self.passed += u64::from(passed);
        let results = result.map_or(&[][..], |result| &result.targets);
        for (number, target) in self.targets.iter_mut().enumerate() {
            target.push(results.get(number));
        }
        if !passed {
            self.first_failed = self.first_failed.or(Some(seed));
        }
        let number = hash.and_then(|hash| u64::from_str_radix(hash, 16).ok()).unwrap_or(0);
        self.combined = (self.combined.rotate_left(7) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);

        let replay = command(self.args, seed);
        if self.args.json {
            json::write(&json!({
                "event": "run",
                "seed": seed,
                "hash": hash,
                "passed": passed,
                "events": result.map(|result| result.events),
                "violated": result.map(|result| result.violated),
                "why": why,
                "targets": self.targets.iter().map(|one| json!({
                    "name": one.target.name,
                    "number": one.numbers.last(),
                    "measured": one.measured.last(),
                    "predicted": one.predicted.last(),
                })).collect::<Vec<_>>(),
                "replay": replay,
            }))?;
            return Ok(());
        }
        if self.args.markdown {
            if !passed {
                let why = why.unwrap_or_default();
                // The reader of the table misses no row if this can't be written.
                let _ = writeln!(
                    wrap::stderr(),
                    "seed {seed} {BAD}failed{BAD:#}: {why}\n  repeat with: {replay}"
                );
            }
            return Ok(());
        }
        let mut out = wrap::stdout();
        let hash = hash.map(|hash| format!("  {QUIET}{hash}{QUIET:#}")).unwrap_or_default();
        if passed {
            writeln!(out, "seed {seed:<6} {GOOD}passed{GOOD:#}  {hash}")?;
        } else {
            writeln!(out, "seed {seed:<6} {BAD}failed{BAD:#}{hash}")?;
            writeln!(out, "  {}", why.unwrap_or_default())?;
            out.write_unbroken(format_args!("  repeat with: {replay}"))?;
        }
        let jobs = result.map_or(&[][..], |result| &result.jobs);
        summary::write_jobs(&mut out, jobs.iter().filter(|jobs| !jobs.is_done))?;
        Ok(())
    }

    fn finish(&self, count: u64, wall: Duration) -> Result<(), Failure> {
        let Self { reported, passed, .. } = *self;
        // The hash of a part depends on which runs had ended.
        let combined = (reported == count).then(|| format!("{:016x}", self.combined));
        let replay = self.first_failed.map(|seed| command(self.args, seed));
        if self.args.markdown {
            self.write_markdown()?;
        } else if self.args.json {
            json::write(&json!({
                "event": "result",
                "runs": reported,
                "asked": count,
                "complete": reported == count,
                "passed": passed,
                "first_failed": self.first_failed,
                "hash": combined,
                "targets": self.targets_json(),
                "wall_s": wall.as_secs_f64(),
                "replay": replay,
            }))?;
        } else {
            let mut out = wrap::stdout();
            let (style, took) = (if passed == reported { GOOD } else { BAD }, summary::took(wall));
            if reported > 0 && !self.targets.is_empty() {
                writeln!(out)?;
                summary::write_targets(&mut out, &self.target_rows())?;
                writeln!(out)?;
            }
            if reported < count {
                writeln!(out, "{WARN}stopped{WARN:#} after {reported} of {count} seeds in {took}")?;
            }
            match reported {
                0 => {}
                _ if reported < count => {
                    writeln!(out, "{style}{passed} of {reported} passed so far{style:#}")?;
                }
                _ => writeln!(out, "{style}{passed} of {reported} passed{style:#} in {took}")?,
            }
            if let Some(replay) = replay {
                out.write_unbroken(format_args!(
                    "{QUIET}the first that failed: {replay}{QUIET:#}"
                ))?;
            }
            if let Some(combined) = combined {
                writeln!(out, "hash of all  {STRONG}{combined}{STRONG:#}")?;
            }
        }
        let misses = self.args.check && self.target_rows().iter().any(|row| !row.is_met);
        if passed == reported && !misses { Ok(()) } else { Err(Failure::Reported) }
    }

    fn target_rows(&self) -> Vec<TargetRow> {
        let row = |one: &Numbers| {
            let target = &one.target;
            let interval = Interval::of(&one.numbers);
            TargetRow {
                name: target.name.clone(),
                measured: one.mean_text(&one.measured),
                predicted: one.mean_text(&one.predicted),
                number: interval.map_or_else(|| "unknown".to_owned(), |it| it.text(target)),
                bounds: target.bounds(),
                is_met: interval.is_some_and(|it| it.meets(target)),
            }
        };
        self.targets.iter().map(row).collect()
    }

    fn targets_json(&self) -> Vec<Value> {
        let row = |one: &Numbers| {
            let target = &one.target;
            let interval = Interval::of(&one.numbers);
            json!({
                "name": target.name,
                "measured": one.mean(&one.measured),
                "predicted": one.mean(&one.predicted),
                "mean": interval.map(|it| it.mean),
                "half_width": interval.and_then(|it| it.half_width),
                "unknown": interval.map_or(one.numbers.len(), |it| it.unknown),
                "at_least": target.at_least,
                "at_most": target.at_most,
                "met": interval.is_some_and(|it| it.meets(target)),
            })
        };
        self.targets.iter().map(row).collect()
    }

    /// Writes rows of the table in `RESILIENCE.md`.
    fn write_markdown(&self) -> io::Result<()> {
        let mut out = anstream::stdout();
        for row in self.target_rows() {
            let TargetRow { name, number, bounds, .. } = &row;
            let (reported, result) = (self.reported, row.result());
            writeln!(out, "| {name} | {reported} | {number} | {bounds} | {result} |")?;
        }
        out.flush()
    }
}
