use std::path::Path;
use std::time::Duration;

use super::*;
use crate::scenario::{Fault, FaultKind, Link, Role, RoleKind, Towers};
use crate::{Options, Simulation};

fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn ran(scenario: &Scenario) -> Outcome {
    let mut simulation = Simulation::new(scenario, Path::new("."), Options::default()).unwrap();
    while !simulation.advance(100_000).is_over {}
    simulation.finish()
}

/// Twelve towers with two messages each. Two towers drop what they get from the first minute on.
fn droppers() -> Scenario {
    let until = secs(300);
    let hops = Measure::Rate { metric: Metric::HonestHops, from: secs(240), until };
    Scenario::new("droppers", 12, until)
        .messages(|messages| messages.count = 24)
        .role(Role::new(RoleKind::Hole { share: 1.0 }, Towers::List(vec![10, 11])).from(secs(60)))
        .checks(|checks| checks.convergence = false)
        .target(Target::new("alive", Measure::Alive { at: until, n: 1, k: 1 }).at_least(0.9))
        .target(Target::new("hops", hops).of_calm().at_least(0.9))
}

#[test]
fn a_target_is_missed_under_attack_and_met_in_the_calm_twin() {
    let scenario = droppers();
    let mut outcome = ran(&scenario);
    assert!(outcome.passed() && outcome.needs_calm_twin(), "{:?}", outcome.violations);
    assert_eq!(outcome.targets[1].number(), None, "the twin was not run");
    let twin = ran(&scenario.calm_twin());
    assert!(twin.targets[0].is_met(), "{:?}", twin.targets[0]);
    outcome.compare_with_calm(&twin);
    assert!(!outcome.needs_calm_twin());
    for result in &outcome.targets {
        assert!(result.number().is_some_and(|number| number < 0.5), "{result:?}");
        assert!(!result.is_met(), "{result:?}");
    }
}

#[test]
fn a_calm_twin_has_no_roles_and_no_faults() {
    let enqueue = FaultKind::Enqueue { towers: Towers::All, count: 1 };
    let applications = Scenario::new("x", 12, secs(300)).fault(Fault::new(secs(9), enqueue));
    let attacked = applications
        .clone()
        .role(Role::new(RoleKind::Spy {}, Towers::One(3)))
        .fault(Fault::crash(secs(5), Towers::One(4)))
        .link(|link| (link.broken, link.silenced) = (0.1, 0.1));
    let twin = attacked.calm_twin();
    assert_eq!(twin, applications);
    assert_eq!(twin.link, Link::default());
}

#[test]
fn a_measurement_after_the_end_of_a_run_is_unknown() {
    let scenario = droppers();
    let mut simulation = Simulation::new(&scenario, Path::new("."), Options::default()).unwrap();
    simulation.advance_until(secs(250));
    assert_eq!(simulation.finish().targets.map_measured(), [None; 2]);
}

#[test]
fn windows_are_rounded_up_to_samples() {
    let enqueued = |from, until| {
        let measure =
            Measure::Rate { metric: Metric::Enqueued, from: secs(from), until: secs(until) };
        Target::new(format!("{from} {until}"), measure).at_least(0.0)
    };
    let mut scenario = Scenario::new("x", 1, secs(10))
        .messages(|messages| (messages.count, messages.at) = (1, Some(secs(5))))
        .target(enqueued(4, 6))
        .target(enqueued(3, 5))
        .target(enqueued(5, 8));
    scenario.sample = Some(secs(2));
    assert_eq!(ran(&scenario).targets.map_measured(), [Some(0.5), Some(0.5), Some(0.0)]);
}

trait Measured {
    fn map_measured(&self) -> Vec<Option<f64>>;
}

impl Measured for Vec<TargetResult> {
    fn map_measured(&self) -> Vec<Option<f64>> {
        self.iter().map(|result| result.measured).collect()
    }
}

#[test]
fn known_counts_pairs_of_the_two_groups() {
    let towers = Towers::List(vec![0, 1]);
    let by = Towers::Range(2, 5);
    let at = secs(1);
    let known = |towers: &Towers, by: &Towers| {
        let measure = Measure::Known { towers: towers.clone(), by: by.clone(), at };
        Target::new(format!("{towers:?} {by:?}"), measure).at_least(1.0)
    };
    let scenario = Scenario::new("x", 6, secs(2))
        .contacts(|contacts| {
            contacts.known = 2;
            contacts.verb = crate::scenario::ContactVerb::Expand;
        })
        .tower(|config| config.heartbeat = None)
        .target(known(&towers, &by))
        .target(known(&by, &Towers::All))
        .target(known(&Towers::All, &Towers::All))
        .checks(|checks| checks.convergence = false);
    // Towers 0 and 1 know each other, and the others know both.
    let expected = [Some(1.0), Some(0.0), Some(10.0 / 30.0)];
    assert_eq!(ran(&scenario).targets.map_measured(), expected);
}

#[test]
fn the_confidence_interval_is_that_of_student() {
    let interval = Interval::of(&[Some(1.0), Some(2.0), Some(3.0)]).unwrap();
    assert!((interval.mean - 2.0).abs() < 1e-12);
    // 4.303 * 1 / sqrt(3)
    assert!((interval.half_width.unwrap() - 2.484_34).abs() < 1e-3);
    assert_eq!(Interval::of(&[None, None]), None);
    assert_eq!(Interval::of(&[Some(5.0)]).unwrap().half_width, None);
}

#[test]
fn the_worse_end_of_an_interval_must_meet_the_bound() {
    let target = Target::new("x", Measure::Copies { at: secs(1) }).at_least(1.0).at_most(3.0);
    let meets = |numbers: &[f64]| {
        let numbers: Vec<_> = numbers.iter().copied().map(Some).collect();
        Interval::of(&numbers).unwrap().meets(&target)
    };
    assert!(meets(&[2.0, 2.1, 1.9]));
    assert!(!meets(&[1.0, 1.1, 0.9]));
    assert!(!meets(&[3.0, 3.1, 2.9]));
    let unknown = Interval::of(&[Some(2.0), Some(2.0), None]).unwrap();
    assert!(!unknown.meets(&target), "a seed without a number misses");
}

#[test]
fn numbers_have_few_digits_and_a_unit() {
    let share = Target::new("x", Measure::Alive { at: secs(1), n: 1, k: 1 }).at_least(0.999);
    assert_eq!((share.text(0.015_28), share.bounds()), ("1.528 %".into(), ">= 99.9 %".into()));
    let copies = Target::new("x", Measure::Copies { at: secs(1) }).at_least(1.0).at_most(1.5);
    assert_eq!((copies.text(6.5), copies.bounds()), ("6.5".into(), ">= 1, <= 1.5".into()));
}
