//! Files in simulated networks: clients put, keep and get them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::time::Duration;

use clacks_proto::Instant;
use clacks_sim::metrics::Metric;
use clacks_sim::scenario::{
    AddressLayout, ContactVerb, Fault, Guess, JobFailure, JobKind, Lists, Measure, Role, RoleKind,
    Shape, Target, Towers,
};
use clacks_sim::{Outcome, Scenario};
use common::{run, seconds};

/// Five towers, one file of 100 KiB, and one reader.
fn scenario() -> Scenario {
    let mut scenario = Scenario::new("files", 5, seconds(240))
        .contacts(|contacts| {
            contacts.shape = Shape::Full;
            contacts.verb = ContactVerb::Expand;
        })
        .files(|files| {
            files.size = 100 << 10;
            files.at = seconds(30);
            files.readers = 1;
            files.read_at = seconds(120);
        })
        .target(done(JobKind::Put))
        .target(done(JobKind::Get))
        .checks(|checks| checks.convergence = false);
    scenario.addresses = AddressLayout::Spread;
    scenario
}

fn done(job: JobKind) -> Target {
    Target::new(format!("{job:?}"), Measure::JobsDone { job }).at_least(1.0)
}

/// Returns the shares of files that were put and got.
fn shares(outcome: &Outcome) -> [f64; 2] {
    assert!(outcome.passed(), "{:?}", outcome.violations);
    [0, 1].map(|target| outcome.targets[target].measured.unwrap())
}

fn at(outcome: &Outcome, metric: Metric, time: Duration) -> Option<f64> {
    let mut samples = outcome.series.samples().iter();
    samples.find(|sample| sample.at >= Instant::ORIGIN + time)?.value(metric)
}

#[test]
fn a_file_that_was_put_is_got() {
    for direct in [false, true] {
        let outcome = run(&scenario().files(|files| files.direct = direct));
        assert_eq!(shares(&outcome), [1.0, 1.0]);
        assert_eq!(at(&outcome, Metric::FilesReadable, seconds(20)), None, "before the put");
        assert_eq!(at(&outcome, Metric::FilesReadable, seconds(200)), Some(1.0));
        assert_eq!(at(&outcome, Metric::PiecesAlive, seconds(200)), Some(1.0));
    }
}

#[test]
fn a_file_is_gone_with_too_many_towers() {
    let crash = |last| scenario().fault(Fault::crash(seconds(110), Towers::Range(0, last)));
    // Any of five towers has at most a third of the pieces, and 10 of 41 are enough.
    assert_eq!(shares(&run(&crash(1))), [1.0, 1.0]);
    let outcome = run(&crash(4));
    assert_eq!(shares(&outcome), [1.0, 0.0]);
    assert_eq!(at(&outcome, Metric::FilesReadable, seconds(200)), Some(0.0));
}

#[test]
fn the_hash_of_a_run_with_files_depends_on_its_seed() {
    let hash = |seed| run(&scenario().seed(seed)).hash;
    assert_eq!(hash(1), hash(1));
    assert_ne!(hash(1), hash(2));
}

/// Twelve towers, of which some are hostile hops. The client that puts asks one of them first.
fn scenario_with_hops(last: u32, lists: Lists, verify: u8) -> Scenario {
    let kind = RoleKind::Hop { lists, colludes: true };
    let mut scenario = scenario().role(Role::new(kind, Towers::Range(0, last))).files(|files| {
        files.first = Some(0);
        files.verify = verify;
    });
    scenario.towers = 12;
    let why = JobFailure::Gone;
    scenario
        .target(Target::new("gone", Measure::JobsFailed { job: JobKind::Get, why }).at_most(0.0))
}

#[test]
fn a_second_first_hop_shows_that_the_first_one_dropped_the_pieces() {
    for lists in [Lists::Nothing, Lists::Dropped] {
        let outcome = run(&scenario_with_hops(0, lists, 1));
        assert_eq!(shares(&outcome), [1.0, 1.0], "{lists:?}");
        assert_eq!(at(&outcome, Metric::FilesReadable, seconds(200)), Some(1.0));
    }
    // Without that look, the client believes the first hop.
    let outcome = run(&scenario_with_hops(0, Lists::Nothing, 0));
    assert_eq!(at(&outcome, Metric::FilesReadable, seconds(200)), Some(0.0));
    assert_eq!(shares(&outcome), [1.0, 0.0]);
    assert_eq!(outcome.targets[2].measured, Some(1.0));
}

#[test]
fn a_put_is_not_deceived_by_hops_that_forge_inventories_of_pieces_they_dropped() {
    let readable = |lists| {
        let outcome = run(&scenario_with_hops(10, lists, 1));
        (shares(&outcome)[0], at(&outcome, Metric::FilesReadable, seconds(200)))
    };
    // Twelve towers seem to list the pieces, and none of them can give one.
    assert_eq!(readable(Lists::Forged), (0.0, None));
    // Each of 200 towers seems to list one of the 186 pieces of a larger file, so that few of them
    // are asked for one.
    let mut scenario =
        scenario_with_hops(198, Lists::Forged, 1).files(|files| files.size = 1 << 20);
    scenario.towers = 200;
    assert_eq!(shares(&run(&scenario))[0], 0.0);
    assert_eq!(readable(Lists::Nothing), (0.0, None));
}

#[test]
fn a_run_says_why_a_file_was_not_got() {
    let outcome = run(&scenario().fault(Fault::crash(seconds(110), Towers::Range(0, 4))));
    let [put, get] = &outcome.jobs[..] else { panic!("{:?}", outcome.jobs) };
    assert!((put.kind, put.is_done, put.count) == (JobKind::Put, true, 1), "{put:?}");
    assert!((get.kind, get.is_done, get.count) == (JobKind::Get, false, 1), "{get:?}");
    assert!(get.result.contains("no tower answers"), "{get:?}");
}

/// Returns the shares of putters and readers that four spies among twenty towers name.
fn named(change: impl Fn(&mut clacks_sim::scenario::Files)) -> [f64; 2] {
    let named = |job| {
        let by = Guess::Hops;
        Target::new(format!("{job:?} named"), Measure::Named { job, by }).at_most(1.0)
    };
    let mut scenario = scenario().files(|files| {
        files.count = 10;
        files.over = seconds(60);
        change(files);
    });
    scenario.towers = 20;
    scenario.roles = vec![Role::new(RoleKind::Spy {}, Towers::Count(4))];
    scenario.targets.extend([JobKind::Put, JobKind::Get].map(named));
    let outcome = run(&scenario);
    assert_eq!(shares(&outcome), [1.0, 1.0]);
    [2, 3].map(|target| outcome.targets[target].measured.unwrap())
}

#[test]
fn spies_name_clients_that_ask_directly() {
    let [put, get] = named(|files| files.direct = true);
    // A reader that is done after half of the towers may have met no spy.
    assert!(put >= 1.0 && get >= 0.8, "{put} {get}");
}

#[test]
fn spies_name_few_clients_that_ask_through_other_towers() {
    for own in [false, true] {
        let [put, get] = named(|files| files.own = own);
        assert!(put <= 0.5 && get <= 0.5, "{own}: {put} {get}");
    }
}
