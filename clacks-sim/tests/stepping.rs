//! A program that steps a run, reads the state of towers, calls towers, applies faults and observes
//! the run.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clacks_proto::{EnqueueError as Reason, Instant, Message, Status, Tower};
use clacks_sim::scenario::{Fault, PartitionShape, Shape, Towers};
use clacks_sim::{
    Checker, EnqueueError, Observation, Observed, Observer, Options, Scenario, Simulation, TowerId,
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
