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
        .tower(|config| (config.heartbeat, config.contact_rate) = (None, 0))
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

/// A network without faults that carries what theory says. Each tower has ten ticks a second.
fn calm(count: u32) -> Scenario {
    Scenario::new("calm", 20, secs(120))
        .contacts(|contacts| contacts.shape = crate::scenario::Shape::Full)
        .messages(|messages| messages.count = count)
        .tower(|config| config.send_rate = clacks_proto::SendRate::per_second(10))
        .checks(|checks| checks.convergence = false)
}

#[test]
fn a_run_is_compared_with_its_closed_form() {
    let hops = Measure::Rate { metric: Metric::Hops, from: secs(30), until: secs(120) };
    let heard = Measure::HeardAfter { towers: Towers::All, n: 4, k: 2, from: secs(30) };
    let scenario = calm(40)
        .target(Target::new("ratio", hops.clone()).prediction(Compared::Ratio).at_least(0.95))
        .target(Target::new("difference", hops).prediction(Compared::Difference).at_most(0.5))
        .target(Target::new("heard", heard).prediction(Compared::Ratio).at_most(1.2));
    let outcome = ran(&scenario);
    let [ratio, difference, heard] = &outcome.targets[..] else { unreachable!() };
    let (measured, predicted) = (ratio.measured.unwrap(), ratio.predicted.unwrap());
    assert_eq!(ratio.number(), Some(measured / predicted));
    assert_eq!(difference.number(), Some(measured - predicted));
    assert!((0.95..1.05).contains(&ratio.number().unwrap()), "{ratio:?}");
    assert!((0.8..1.2).contains(&heard.number().unwrap()), "{heard:?}");
    assert!(outcome.targets.iter().all(TargetResult::is_met));
    assert_eq!(ratio.target.text(0.987_65), "0.988");
    assert_eq!(ratio.target.measured_text(9.5), "9.5/s");
    // Without messages there is nothing to compare with.
    let targets = ran(&Scenario { targets: scenario.targets, ..calm(0) }).targets;
    assert!(targets.iter().all(|target| !target.is_met()), "{targets:?}");
}

#[test]
fn a_prediction_needs_a_closed_form_for_the_scenario() {
    let alive = Measure::Alive { at: secs(60), n: 1, k: 1 };
    let hops = Measure::Rate { metric: Metric::Hops, from: secs(0), until: secs(60) };
    let predicted = |measure: &Measure| {
        Target::new("x", measure.clone()).prediction(Compared::Ratio).at_least(0.9)
    };
    let error = |scenario: Scenario| scenario.check().map_err(|error| error.to_string());
    assert_eq!(error(calm(9).target(predicted(&hops)).target(predicted(&alive).of_calm())), {
        let problem = "target.1.name is \"x\"; it must be a name of its own";
        Err(problem.to_owned())
    });
    let crash = Fault::crash(secs(5), Towers::One(1));
    for (scenario, problem) in [
        (calm(9).target(predicted(&Measure::Copies { at: secs(9) })), "needs a number with a"),
        (calm(9).target(predicted(&hops)).fault(crash.clone()), "needs a network without"),
        (calm(9).target(predicted(&alive)).fault(crash), "needs a network without"),
        (calm(9).target(predicted(&hops).of_calm()), "is set, and so is of_calm"),
        (Scenario::new("x", 5, secs(99)).target(predicted(&hops)), "needs contacts.shape"),
    ] {
        let error = error(scenario).unwrap_err();
        assert!(error.starts_with(&format!("target.0.prediction {problem}")), "{error}");
    }
}

#[test]
fn the_mean_time_until_towers_have_received_groups_of_messages() {
    let start = Instant::ORIGIN + secs(100);
    let at = |seconds| start + secs(seconds);
    let messages: Vec<_> = [0, 1, 3, 4, 5].map(MessageId).into();
    // Towers 1 and 2 listen to the groups of messages 0 and 1, and of 3 and 4.
    let mut heard = Heard::new(start, |tower| tower.0 > 0, 3, &messages, (2, 1)).unwrap();
    for (seconds, tower, message) in
        [(1, 0, 0), (2, 1, 0), (3, 1, 1), (4, 1, 2), (5, 1, 5), (6, 2, 4), (7, 2, 4), (8, 1, 3)]
    {
        heard.note(at(seconds), TowerId(tower), MessageId(message));
        assert_eq!(heard.mean(), None);
    }
    heard.note(at(12), TowerId(2), MessageId(1));
    assert_eq!(heard.mean(), Some((2.0 + 6.0 + 8.0 + 12.0) / 4.0));
    let listens = |_| true;
    assert!(Heard::new(start, listens, 3, &[], (1, 1)).is_none());
    assert!(Heard::new(start, listens, 3, &messages, (6, 1)).is_none(), "no group is complete");
}
