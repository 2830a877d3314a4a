//! Functions that run scenarios, for all tests of this folder.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clacks_proto::StateMachine;
use clacks_sim::{Options, Outcome, Scenario, Simulation};

/// Returns the seeds of the environment variable `CLACKS_SIM_SEEDS`, such as `0..300`, or the
/// default.
pub fn seeds(default: Range<u64>) -> Range<u64> {
    let Ok(text) = std::env::var("CLACKS_SIM_SEEDS") else { return default };
    let range =
        text.split_once("..").and_then(|(start, end)| Some(start.parse().ok()?..end.parse().ok()?));
    range.unwrap_or_else(|| {
        panic!("CLACKS_SIM_SEEDS is {text:?}; it must be a range such as 0..300")
    })
}

pub const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Runs a simulation to its end.
pub fn finish<M: StateMachine>(mut simulation: Simulation<M>) -> Outcome {
    while !simulation.advance(1_000_000).is_over {}
    simulation.finish()
}

/// Runs a scenario to its end.
pub fn run(scenario: &Scenario) -> Outcome {
    let simulation = Simulation::new(scenario, Path::new("."), Options::default());
    finish(simulation.unwrap_or_else(|error| panic!("{}: {error}", scenario.name)))
}

/// Returns the violations of a run, or `None` if there are none.
pub fn violations(outcome: &Outcome) -> Option<String> {
    let all: Vec<_> = outcome.violations.iter().map(ToString::to_string).collect();
    (!outcome.passed()).then(|| all.join("\n"))
}

/// Returns the scenarios of the folder `regressions`.
pub fn regressions() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/regressions");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    files
}
