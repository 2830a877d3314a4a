//! The same scenario with many seeds, on all cores. What comes out does not depend on how many.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use clacks_sim::scenario::ScenarioError;
use clacks_sim::{Options, Outcome, Scenario, Simulation};
use indicatif::{ProgressBar, ProgressDrawTarget};
use serde_json::json;

use super::{command, summary};
use crate::args::SimArgs;
use crate::error::Failure;
use crate::json;
use crate::plain::{BAD, GOOD, QUIET, STRONG};

/// What stays of a run.
struct Held {
    hash: String,
    events: u64,
    violated: u64,
    holds: bool,
    first: Option<String>,
}

pub(super) fn run(
    args: &SimArgs,
    scenario: &Scenario,
    base: &Path,
    seeds: Range<u64>,
) -> Result<(), Failure> {
    // All runs plan alike: what is wrong shows at once.
    drop(Simulation::new(scenario, base, Options::default()).map_err(Failure::usage)?);
    let cores = || thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let jobs = args.jobs.map_or_else(cores, usize::from);
    let count = seeds.end - seeds.start;
    if args.json {
        json::write(&summary::started(scenario))?;
    } else {
        summary::first_line(scenario)?;
    }
    let bar = ProgressBar::new(count);
    if !io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    let began = Instant::now();
    let next = AtomicU64::new(seeds.start);
    let mut teller = Teller::new(args, seeds.start);
    let (sender, results) = mpsc::channel();
    let told = thread::scope(|scope| {
        for _ in 0..jobs {
            let (sender, next, end) = (sender.clone(), &next, seeds.end);
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    // Nobody listens any more when the output is closed.
                    if seed >= end || sender.send((seed, one(scenario, base, seed))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for (seed, held) in &results {
            bar.inc(1);
            bar.suspend(|| teller.take(seed, held))?;
        }
        Ok::<(), Failure>(())
    });
    bar.finish_and_clear();
    drop(results);
    told?;
    teller.finish(count, began.elapsed())
}

/// Runs one seed to its end.
fn one(scenario: &Scenario, base: &Path, seed: u64) -> Result<Held, ScenarioError> {
    let mut simulation = Simulation::new(&scenario.clone().seed(seed), base, Options::default())?;
    while !simulation.advance(u64::MAX).is_over {}
    let outcome: Outcome = simulation.finish();
    Ok(Held {
        hash: outcome.hash.to_string(),
        events: outcome.events,
        violated: outcome.violated,
        holds: outcome.holds(),
        first: outcome.violations.first().map(ToString::to_string),
    })
}

/// Tells of runs in the order of their seeds, whatever the order in which they end.
struct Teller<'a> {
    args: &'a SimArgs,
    next: u64,
    early: BTreeMap<u64, Held>,
    held: u64,
    first_failed: Option<u64>,
    combined: u64,
}

impl<'a> Teller<'a> {
    fn new(args: &'a SimArgs, next: u64) -> Self {
        Self { args, next, early: BTreeMap::new(), held: 0, first_failed: None, combined: 0 }
    }

    fn take(&mut self, seed: u64, held: Result<Held, ScenarioError>) -> Result<(), Failure> {
        self.early.insert(seed, held.map_err(Failure::usage)?);
        while let Some(held) = self.early.remove(&self.next) {
            self.tell(self.next, &held)?;
            self.next += 1;
        }
        Ok(())
    }

    fn tell(&mut self, seed: u64, held: &Held) -> Result<(), Failure> {
        self.held += u64::from(held.holds);
        let hash = u64::from_str_radix(&held.hash, 16).unwrap_or(0);
        self.combined = (self.combined.rotate_left(7) ^ hash).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        if !held.holds {
            self.first_failed = self.first_failed.or(Some(seed));
        }
        let replay = command(self.args, seed);
        if self.args.json {
            json::write(&json!({
                "event": "run",
                "seed": seed,
                "hash": held.hash,
                "held": held.holds,
                "events": held.events,
                "violated": held.violated,
                "first_violation": held.first,
                "replay": replay,
            }))?;
            return Ok(());
        }
        let mut out = anstream::stdout();
        if held.holds {
            writeln!(out, "seed {seed:<6} {GOOD}held{GOOD:#}  {QUIET}{}{QUIET:#}", held.hash)?;
        } else {
            let first = held.first.as_deref().unwrap_or("a prediction did not hold");
            writeln!(out, "seed {seed:<6} {BAD}failed{BAD:#}  {QUIET}{}{QUIET:#}", held.hash)?;
            writeln!(out, "  {first}\n  to see it again: {replay}")?;
        }
        Ok(())
    }

    fn finish(&self, count: u64, wall: std::time::Duration) -> Result<(), Failure> {
        let (held, combined) = (self.held, format!("{:016x}", self.combined));
        if self.args.json {
            json::write(&json!({
                "event": "result",
                "runs": count,
                "held": held,
                "first_failed": self.first_failed,
                "hash": combined,
                "wall_s": wall.as_secs_f64(),
            }))?;
        } else {
            let mut out = anstream::stdout();
            let style = if held == count { GOOD } else { BAD };
            writeln!(out, "{style}{held} of {count} held{style:#} in {:.1} s", wall.as_secs_f64())?;
            writeln!(out, "hash of all  {STRONG}{combined}{STRONG:#}")?;
        }
        if held == count { Ok(()) } else { Err(Failure::Told) }
    }
}
