//! The same scenario with many seeds, on all cores. What comes out does not depend on how many.

use std::io::{self, IsTerminal, Write};
use std::ops::Range;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use clacks_sim::{Options, Scenario, Simulation};
use indicatif::{BinaryBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use super::run::{STRETCH, stops};
use super::seeds::{self, Ran};
use super::{command, summary};
use crate::args::SimArgs;
use crate::error::Failure;
use crate::output::json;
use crate::output::text::{BAD, GOOD, QUIET, STRONG, WARN};

/// What stays of a run.
struct Held {
    hash: String,
    events: u64,
    violated: u64,
    holds: bool,
    /// The first thing that did not hold.
    why: Option<String>,
}

pub(super) fn run(
    args: &SimArgs,
    scenario: &Scenario,
    base: &Path,
    seeds: Range<u64>,
) -> Result<(), Failure> {
    let count = seeds.end - seeds.start;
    let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let room = Room { needed: scenario.memory_estimate(), limit: scenario.memory_limit() };
    scenario.check_memory(room.limit).map_err(Failure::usage)?;
    let jobs = room.jobs(args.jobs.map(u64::from), cores as u64, count)?;
    // All runs plan alike: what else is wrong shows at once.
    let first = scenario.clone().seed(seeds.start);
    drop(Simulation::new(&first, base, Options::default()).map_err(Failure::usage)?);

    let stops = stops()?;
    if args.json {
        json::write(&summary::sweep_started(scenario, &seeds))?;
    } else {
        summary::first_line(scenario, format_args!("seeds {}..{}", seeds.start, seeds.end))?;
    }
    let is_stopped = || !stops.is_empty();
    seeds::keep_panics();
    let began = Instant::now();
    let bar = bar(count);
    let mut narrator = Narrator::new(args);
    let told = seeds::each(
        seeds,
        jobs,
        is_stopped,
        |seed| one(&scenario.clone().seed(seed), base, args.keep_going, is_stopped),
        |seed, ran| {
            bar.inc(1);
            let left = humantime::format_duration(Duration::from_secs(bar.eta().as_secs()));
            bar.set_message(format!("{left} left"));
            bar.suspend(|| narrator.run(seed, &ran))
        },
    );
    bar.finish_and_clear();
    told?;
    narrator.finish(count, began.elapsed())
}

/// What each run may take of the memory, and all of them together, in bytes.
struct Room {
    needed: u64,
    limit: u64,
}

impl Room {
    /// How many runs go on at a time: as many as are asked for, or else as there are cores and room
    /// for. One run fits.
    fn jobs(&self, asked: Option<u64>, cores: u64, count: u64) -> Result<usize, Failure> {
        let fit = (self.limit / self.needed.max(1)).max(1);
        let jobs = asked.unwrap_or(cores.min(fit)).min(count).max(1);
        if jobs > fit {
            return Err(Failure::usage(format_args!(
                "a run of this scenario may take {} of memory, and each of {jobs} jobs has {}, an \
                 equal share of the limit of {}: take --jobs {}, or fewer towers, peers or \
                 messages",
                BinaryBytes(self.needed),
                BinaryBytes(self.limit / jobs),
                BinaryBytes(self.limit),
                if fit == 1 { "1".to_owned() } else { format!("{fit} or less") },
            )));
        }
        Ok(usize::try_from(jobs).unwrap_or(usize::MAX))
    }
}

/// Runs one seed to its end.
fn one(
    scenario: &Scenario,
    base: &Path,
    keep_going: bool,
    is_stopped: impl Fn() -> bool,
) -> Ran<Held> {
    let options = Options { keep_going, ..Options::default() };
    let mut simulation = match Simulation::new(scenario, base, options) {
        Ok(simulation) => simulation,
        Err(error) => return Ran::Broke(format!("it can't begin: {error}")),
    };
    while !simulation.advance(STRETCH).is_over {
        if is_stopped() {
            return Ran::Stopped;
        }
    }
    let outcome = simulation.finish();
    Ran::Ended(Held {
        hash: outcome.hash.to_string(),
        events: outcome.events,
        violated: outcome.violated,
        holds: outcome.holds(),
        why: outcome
            .violations
            .first()
            .map(ToString::to_string)
            .or_else(|| summary::missed(&outcome)),
    })
}

/// Seeds that are done, of all; on a terminal only.
fn bar(count: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("[{bar:32}] {pos} of {len} seeds  {msg}");
    let bar = ProgressBar::new(count);
    if !io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    let bar = match style {
        Ok(style) => bar.with_style(style.progress_chars("=> ")),
        Err(_) => bar,
    };
    // The first run may take long.
    bar.tick();
    bar
}

/// Writes the result of each run, and counts them.
struct Narrator<'a> {
    args: &'a SimArgs,
    told: u64,
    held: u64,
    first_failed: Option<u64>,
    combined: u64,
}

impl<'a> Narrator<'a> {
    fn new(args: &'a SimArgs) -> Self {
        Self { args, told: 0, held: 0, first_failed: None, combined: 0 }
    }

    fn run(&mut self, seed: u64, ran: &Ran<Held>) -> Result<(), Failure> {
        let (held, why) = match ran {
            Ran::Ended(held) => (Some(held), held.why.as_deref()),
            Ran::Broke(why) => (None, Some(why.as_str())),
            Ran::Stopped => return Ok(()),
        };
        let holds = held.is_some_and(|held| held.holds);
        let hash = held.map(|held| held.hash.as_str());
        self.told += 1;
        self.held += u64::from(holds);
        if !holds {
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
                "held": holds,
                "events": held.map(|held| held.events),
                "violated": held.map(|held| held.violated),
                "why": why,
                "replay": replay,
            }))?;
            return Ok(());
        }
        let mut out = anstream::stdout();
        let hash = hash.map(|hash| format!("  {QUIET}{hash}{QUIET:#}")).unwrap_or_default();
        if holds {
            writeln!(out, "seed {seed:<6} {GOOD}held{GOOD:#}  {hash}")?;
        } else {
            writeln!(out, "seed {seed:<6} {BAD}failed{BAD:#}{hash}")?;
            writeln!(out, "  {}\n  to see it again: {replay}", why.unwrap_or_default())?;
        }
        Ok(())
    }

    fn finish(&self, count: u64, wall: Duration) -> Result<(), Failure> {
        let Self { told, held, .. } = *self;
        // The hash of a part depends on how far each run had come.
        let combined = (told == count).then(|| format!("{:016x}", self.combined));
        let replay = self.first_failed.map(|seed| command(self.args, seed));
        if self.args.json {
            json::write(&json!({
                "event": "result",
                "runs": told,
                "asked": count,
                "complete": told == count,
                "held": held,
                "first_failed": self.first_failed,
                "hash": combined,
                "wall_s": wall.as_secs_f64(),
                "replay": replay,
            }))?;
        } else {
            let mut out = anstream::stdout();
            let (style, took) = (if held == told { GOOD } else { BAD }, summary::took(wall));
            if told < count {
                writeln!(out, "{WARN}stopped{WARN:#} after {told} of {count} seeds in {took}")?;
            }
            match told {
                0 => {}
                _ if told < count => {
                    writeln!(out, "{style}{held} of {told} held so far{style:#}")?;
                }
                _ => writeln!(out, "{style}{held} of {told} held{style:#} in {took}")?,
            }
            if let Some(replay) = replay {
                writeln!(out, "{QUIET}the first that failed: {replay}{QUIET:#}")?;
            }
            if let Some(combined) = combined {
                writeln!(out, "hash of all  {STRONG}{combined}{STRONG:#}")?;
            }
        }
        if held == told { Ok(()) } else { Err(Failure::Reported) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentence(jobs: Result<usize, Failure>) -> String {
        jobs.unwrap_err().sentence().unwrap_or_default().to_owned()
    }

    #[test]
    fn all_jobs_together_take_no_more_than_one_run_may() {
        let room = Room { needed: 3 << 30, limit: 10 << 30 };
        assert_eq!(room.jobs(Some(3), 8, 100).unwrap(), 3);
        let said = sentence(room.jobs(Some(4), 8, 100));
        for words in
            ["may take 3.00 GiB", "each of 4 jobs has 2.50 GiB", "limit of 10.00 GiB", "3 or less"]
        {
            assert!(said.contains(words), "{said}");
        }
        let exact = Room { needed: 5 << 30, limit: 10 << 30 };
        assert_eq!(exact.jobs(Some(2), 8, 100).unwrap(), 2);
        let scarce = Room { needed: 6 << 30, limit: 10 << 30 };
        assert!(sentence(scarce.jobs(Some(2), 8, 100)).contains("take --jobs 1, or"));
    }

    #[test]
    fn without_a_number_there_are_as_many_jobs_as_cores_room_and_seeds() {
        let room = Room { needed: 3 << 30, limit: 10 << 30 };
        assert_eq!(room.jobs(None, 2, 100).unwrap(), 2);
        assert_eq!(room.jobs(None, 8, 100).unwrap(), 3);
        assert_eq!(room.jobs(None, 8, 1).unwrap(), 1);
        assert_eq!(room.jobs(Some(1_000), 8, 2).unwrap(), 2, "no more jobs than seeds");
    }
}
