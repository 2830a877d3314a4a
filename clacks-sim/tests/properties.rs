//! Whatever is done to a network, it keeps its rules, and heals.
//!
//! `CLACKS_SIM_TOWERS` says how large the networks may be, `CLACKS_SIM_CASES` how many are tried.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::path::Path;

use clacks_sim::{Options, Scenario, Simulation};
use common::{finish, from_environment, judge, regressions};
use proptest::test_runner::{Config, FileFailurePersistence, TestRunner};

#[test]
fn a_network_keeps_its_rules_whatever_is_done_to_it() {
    let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/regressions/properties.txt");
    let mut runner = TestRunner::new(Config {
        cases: from_environment("CLACKS_SIM_CASES", 8),
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(seeds))),
        max_shrink_iters: 400,
        ..Config::default()
    });
    let networks = common::scenario(from_environment("CLACKS_SIM_TOWERS", 8));
    let result = runner.run(&networks, |scenario| {
        let simulation = Simulation::new(&scenario, common::folder(), Options::default()).unwrap();
        judge(&scenario, &finish(simulation), "failed")
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn what_once_failed_holds_now() {
    for file in regressions() {
        let scenario = Scenario::load(&file).unwrap();
        let folder = file.parent().unwrap();
        let simulation = Simulation::new(&scenario, folder, Options::default()).unwrap();
        let outcome = finish(simulation);
        assert!(outcome.holds(), "{}: {:?}", file.display(), outcome.violations);
    }
}

#[test]
fn every_bundled_scenario_that_takes_seconds_holds() {
    for name in ["original-1", "original-2", "original-3"] {
        let scenario = Scenario::named(name).unwrap();
        let simulation = Simulation::new(&scenario, Path::new("."), Options::default()).unwrap();
        let outcome = finish(simulation);
        assert!(outcome.holds(), "{name}: {:?}", outcome.violations);
    }
}

#[test]
fn the_same_scenario_gives_the_same_trace_and_another_seed_another() {
    let hash = |seed| {
        let scenario = Scenario::named("original-1").unwrap().seed(seed);
        finish(Simulation::new(&scenario, Path::new("."), Options::default()).unwrap()).hash
    };
    assert_eq!(hash(1), hash(1));
    assert_ne!(hash(1), hash(2));
}
