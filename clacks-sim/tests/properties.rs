//! Whatever is done to a network, it keeps its rules, and heals.
//!
//! `CLACKS_SIM_TOWERS` says how large the networks may be, `CLACKS_SIM_CASES` how many are tried.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use clacks_sim::scenario::Calm;
use clacks_sim::{Asked, Fault, Options, Outcome, Scenario, Simulation};
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
    let campaign = RefCell::new(Campaign::default());
    let result = runner.run(&networks, |scenario| {
        let simulation = Simulation::new(&scenario, common::folder(), Options::default()).unwrap();
        let outcome = finish(simulation);
        campaign.borrow_mut().add(&outcome);
        judge(&scenario, &outcome, "failed")
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(campaign.into_inner().idle(), []);
}

/// What was done in all the networks together. One alone may be too short for a fault that is left to chance, or crash a tower that is down.
#[derive(Default)]
struct Campaign {
    faults: BTreeMap<Fault, Count>,
}

/// In how many networks a fault was asked for, once or more often or by chance, and how often it happened.
#[derive(Default)]
struct Count {
    steps: u32,
    chances: u32,
    happened: u64,
}

impl Campaign {
    fn add(&mut self, outcome: &Outcome) {
        for Asked { fault, asked, happened } in &outcome.faults {
            let count = self.faults.entry(*fault).or_default();
            count.steps += u32::from(matches!(asked, Some(Some(_))));
            count.chances += u32::from(matches!(asked, Some(None)));
            count.happened += happened;
        }
    }

    /// The faults that were asked for again and again and never happened.
    fn idle(&self) -> Vec<Fault> {
        let is_idle = |(_, count): &(&Fault, &Count)| {
            count.happened == 0 && (count.steps >= 5 || count.chances >= 20)
        };
        self.faults.iter().filter(is_idle).map(|(fault, _)| *fault).collect()
    }
}

#[test]
fn a_campaign_whose_faults_never_happen_is_found() {
    let campaign = |asked, happened, networks| {
        let mut scenario = Scenario::new("nothing", 1, Duration::from_secs(1));
        scenario.checks.calm = Calm::Off;
        let simulation = Simulation::new(&scenario, Path::new("."), Options::default()).unwrap();
        let mut outcome = finish(simulation);
        outcome.faults = vec![Asked { fault: Fault::Crash, asked, happened }];
        let mut campaign = Campaign::default();
        (0..networks).for_each(|_| campaign.add(&outcome));
        campaign.idle()
    };
    assert_eq!(campaign(Some(Some(1)), 0, 5), [Fault::Crash]);
    assert_eq!(campaign(Some(None), 0, 20), [Fault::Crash]);
    assert_eq!(campaign(Some(None), 0, 19), []);
    assert_eq!(campaign(Some(Some(1)), 1, 5), []);
    assert_eq!(campaign(None, 0, 50), []);
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
