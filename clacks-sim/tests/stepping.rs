//! A program that steps a run, reads the state of towers, calls towers, applies faults and observes
//! the run.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clacks_proto::{EnqueueError as Reason, Instant, Message, SendRate, Status, Tower};
use clacks_sim::scenario::{Fault, FaultKind, PartitionShape, Shape, Towers};
use clacks_sim::{
    Checker, Distribution, EnqueueError, Observation, Observed, Observer, Options, Scenario,
    Simulation, TowerId,
};

const SECOND: Duration = Duration::from_secs(1);

fn simulation() -> Simulation {
    let mut scenario = Scenario::new("stepped", 6, 1_000 * SECOND)
        .contacts(|contacts| contacts.shape = Shape::Full)
        .messages(|messages| messages.count = 0)
        .checks(|checks| checks.convergence = false);
    scenario.tower.heartbeat = Some(SECOND);
    Simulation::new(&scenario, Path::new("."), Options::default()).unwrap()
}

fn statuses(simulation: &Simulation, tower: u32) -> Vec<Status> {
    let tower = simulation.tower(TowerId(tower)).unwrap();
    tower.survey().map(|peer| peer.status).collect()
}

#[test]
fn a_stepped_run_has_the_same_hash_as_a_whole_run() {
    let mut whole = simulation();
    while !whole.advance(1_000).is_over {}
    let mut stepped = simulation();
    for second in (7..=1_000).step_by(7) {
        let progress = stepped.advance_until(second * SECOND);
        assert_eq!((progress.at, progress.is_over), (second * SECOND, false));
    }
    assert!(stepped.advance_until(Duration::MAX).is_over);
    assert_eq!(stepped.finish().hash, whole.finish().hash);
}

#[test]
fn a_message_of_the_program_travels_through_the_network() {
    let mut simulation = simulation();
    simulation.advance_until(10 * SECOND);
    let message = simulation.enqueue(TowerId(2), Message::text("Hello Discworld!")).unwrap();
    assert_eq!(message.0, 0);
    assert_eq!(simulation.tower(TowerId(2)).unwrap().queue_usage().messages, 1);
    let large = Message::bytes(&vec![0; 1 << 20]);
    let max = simulation.tower(TowerId(2)).unwrap().config().max_message;
    let refused = simulation.enqueue(TowerId(2), large);
    assert_eq!(refused, Err(EnqueueError::Refused(Reason::TooLarge { max })));
    assert_eq!(
        simulation.enqueue(TowerId(6), Message::text("no tower")),
        Err(EnqueueError::NotRunning)
    );
    simulation.advance_until(100 * SECOND);
    let outcome = simulation.finish();
    assert!(outcome.violations.is_empty(), "{:?}", outcome.violations);
    assert!(outcome.totals.hops > 50 && outcome.totals.alive == 1, "{:?}", outcome.totals);
}

#[test]
fn a_fault_can_be_applied_during_a_run_at_a_time_relative_to_now() {
    let mut simulation = simulation();
    simulation.advance_until(100 * SECOND);
    assert_eq!(statuses(&simulation, 0), [Status::Alive; 5]);
    simulation.apply(&Fault::crash(10 * SECOND, Towers::One(5))).unwrap();
    simulation.advance_until(109 * SECOND);
    assert!(simulation.tower(TowerId(5)).is_some());
    simulation.advance_until(111 * SECOND);
    assert!(simulation.tower(TowerId(5)).is_none());
    let halves = PartitionShape::Halves;
    simulation.apply(&Fault::partition(SECOND, 100 * SECOND, halves)).unwrap();
    simulation.advance_until(200 * SECOND);
    let lost = statuses(&simulation, 0).iter().filter(|status| **status == Status::Lost).count();
    assert_eq!(lost, 3, "the other half is lost");
    simulation.advance_until(400 * SECOND);
    let alive = statuses(&simulation, 0).iter().filter(|status| **status == Status::Alive).count();
    assert_eq!(alive, 4, "only the crashed tower is lost");
    let error = simulation.apply(&Fault::crash(SECOND, Towers::One(6))).unwrap_err();
    assert!(error.to_string().contains("it must be from 0 to 5"), "{error}");
    assert!(simulation.finish().violations.is_empty());
}

#[test]
fn a_fault_that_ends_last_prolongs_the_run() {
    let run = |fault: Option<&Fault>| {
        let mut scenario = Scenario::new("stepped", 6, 100 * SECOND)
            .contacts(|contacts| contacts.shape = Shape::Full)
            .checks(|checks| checks.settle_within = 300 * SECOND);
        scenario.tower.heartbeat = Some(SECOND);
        let mut simulation =
            Simulation::new(&scenario, Path::new("."), Options::default()).unwrap();
        simulation.advance_until(50 * SECOND);
        if let Some(fault) = fault {
            simulation.apply(fault).unwrap();
        }
        while !simulation.advance(1_000).is_over {}
        simulation.finish()
    };
    assert!(run(None).simulated < 200 * SECOND);
    // It ends at 460 s.
    let outcome = run(Some(&Fault::partition(10 * SECOND, 400 * SECOND, PartitionShape::Halves)));
    assert!(outcome.violations.is_empty(), "{:?}", outcome.violations);
    assert!(outcome.simulated >= 460 * SECOND, "{:?}", outcome.simulated);
    assert_eq!(outcome.series.faults_end(), Some(Instant::ORIGIN + 460 * SECOND));
}

/// Collects how long hand-overs take, in milliseconds, by the second in which they begin.
struct Latencies(Arc<Mutex<BTreeMap<u64, BTreeSet<u128>>>>);

impl Observer for Latencies {
    fn observe(&mut self, observation: &Observation) -> Result<(), String> {
        if let Observed::HandedOver { arrives, .. } = observation.what {
            let took = arrives.duration_since(observation.at).as_millis();
            let second = observation.at.as_nanos() / 1_000_000_000;
            self.0.lock().unwrap().entry(second).or_default().insert(took);
        }
        Ok(())
    }
}

#[test]
fn applied_conditions_are_added_to_those_of_other_faults() {
    let constant = |millis| Some(Distribution::Constant(Duration::from_millis(millis)));
    let mut scenario = Scenario::new("stepped", 4, 400 * SECOND)
        .messages(|messages| messages.count = 4)
        .fault(Fault::conditions(SECOND, 299 * SECOND, |link| link.latency = constant(300)))
        .checks(|checks| checks.convergence = false);
    scenario.tower.send_rate = SendRate::per_second(10);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("samples.csv"), "1s\n1s\n").unwrap();
    let mut simulation = Simulation::new(&scenario, folder.path(), Options::default()).unwrap();
    let latencies = Arc::default();
    simulation.observer(Box::new(Latencies(Arc::clone(&latencies))));
    simulation.advance_until(50 * SECOND);
    let text = "kind = \"conditions\"\nat = \"50s\"\nlasts = \"100s\"\n\
        link = { jitter = { samples = \"samples.csv\" } }";
    simulation.apply(&toml::from_str(text).unwrap()).unwrap();
    let missing = text.replace("samples.csv", "missing.csv");
    let error = simulation.apply(&toml::from_str(&missing).unwrap()).unwrap_err();
    assert!(error.to_string().contains("missing.csv"), "{error}");
    while !simulation.advance(1_000).is_over {}
    let latencies = latencies.lock().unwrap();
    let between = |from, until| {
        let seconds = latencies.range(from..until).flat_map(|(_, taken)| taken.iter().copied());
        seconds.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>()
    };
    assert_eq!(between(10, 100), [300]);
    assert_eq!(between(110, 190), [1_300]);
    assert_eq!(between(210, 300), [300]);
    assert_eq!(between(310, 400), [50]);
}

#[test]
fn an_applied_pause_does_not_end_a_longer_one() {
    let pause = |at: u32, lasts: u32| Fault::pause(at * SECOND, lasts * SECOND, Towers::One(1));
    let scenario = Scenario::new("stepped", 3, 400 * SECOND).fault(pause(10, 90));
    let mut simulation = Simulation::new(&scenario, Path::new("."), Options::default()).unwrap();
    simulation.apply(&pause(20, 10)).unwrap();
    let mut is_paused = |second| {
        simulation.advance_until(second * SECOND);
        simulation.with(TowerId(1), |_, _| ()).is_none()
    };
    assert_eq!(
        [5, 15, 25, 50, 99, 101].map(&mut is_paused),
        [false, true, true, true, true, false]
    );
}

#[test]
fn the_steps_of_applied_faults_are_bounded() {
    let mut simulation = simulation();
    let (towers, peers) = (Towers::All, Towers::All);
    let fault = Fault::new(SECOND, FaultKind::Expand { towers, peers });
    let error = simulation.apply(&fault.repeat(SECOND / 10_000, 1_000_000)).unwrap_err();
    assert!(error.to_string().starts_with("fault has 72000000 steps"), "{error}");
}

#[test]
fn a_program_can_call_its_own_nodes() {
    let mut simulation = simulation();
    simulation.advance_until(20 * SECOND);
    let peer = simulation.address(TowerId(1)).unwrap();
    let ignored = simulation.with(TowerId(0), |tower, now| tower.ignore(&peer, now).is_ok());
    assert_eq!(ignored, Some(true));
    assert!(statuses(&simulation, 0).contains(&Status::Ignored));
    assert_eq!(simulation.with(TowerId(9), |_, _| ()), None);
}

/// Counts hops, and reports a violation if a tower holds more messages than a limit.
struct AtMost {
    messages: usize,
    hops: Arc<AtomicU64>,
}

impl Observer for AtMost {
    fn observe(&mut self, observation: &Observation) -> Result<(), String> {
        if let Observed::Received { .. } = observation.what {
            self.hops.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn after(&mut self, _: Instant, tower: TowerId, machine: &Tower) -> Result<(), String> {
        let held = machine.queue_usage().messages;
        if held > self.messages {
            return Err(format!("tower {} holds {held} messages", tower.0));
        }
        Ok(())
    }
}

#[test]
fn the_error_of_an_observer_is_a_violation_and_ends_the_run() {
    let hops = Arc::new(AtomicU64::new(0));
    let mut simulation = simulation();
    simulation.observer(Box::new(AtMost { messages: 2, hops: Arc::clone(&hops) }));
    simulation.advance_until(10 * SECOND);
    let enqueue = |simulation: &mut Simulation, count| {
        for _ in 0..count {
            simulation.enqueue(TowerId(0), Message::text("x")).unwrap();
        }
    };
    enqueue(&mut simulation, 2);
    assert!(!simulation.advance_until(60 * SECOND).is_over);
    let seen = hops.load(Ordering::Relaxed);
    assert!(seen > 10);
    enqueue(&mut simulation, 3);
    assert!(simulation.advance_until(61 * SECOND).is_over);
    let outcome = simulation.finish();
    let [violation, ..] = &outcome.violations[..] else { panic!("no violation") };
    assert_eq!((violation.checker, violation.tower), (Checker::Observer, Some(TowerId(0))));
    assert_eq!(violation.text, "tower 0 holds 3 messages");
    let check = outcome.checks.iter().find(|check| check.name == "observer").unwrap();
    assert!(check.violations >= 1);
}
