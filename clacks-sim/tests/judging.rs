//! Runs that the checkers must accept: screening, stopped towers, and applications that act.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use bytes::BufMut;
use clacks_proto::{
    Action, DefaultVerdict, Event, Instant, LinkId, Message, OfferId, Refusal, Screening, Seed,
    SendRate, StateMachine, Tower, Verdict, Wakeup,
};
use clacks_sim::scenario::{Checks, Fault, Repeat, Shape, Towers};
use clacks_sim::{
    Checker, Distribution, LossCause, NewNode, Options, Outcome, Scenario, Simulation, Survival,
    TowerId,
};
use common::{finish, seconds};

fn run(scenario: &Scenario) -> Outcome {
    finish(Simulation::new(scenario, Path::new("."), Options::default()).unwrap())
}

fn network(towers: u32, time: u64) -> Scenario {
    Scenario::new("some", towers, seconds(time))
        .contacts(|contacts| contacts.shape = Shape::Full)
        .messages(|messages| messages.count = 20)
        .tower(|tower| tower.send_rate = SendRate::per_second(5))
        .checks(|checks| checks.convergence = false)
}

fn screening(scenario: Scenario, default: DefaultVerdict) -> Scenario {
    let timeout = seconds(2);
    scenario.tower(|tower| {
        tower.screening = Screening::On { max_offers: 8, timeout, default };
    })
}

#[test]
fn a_message_under_screening_belongs_to_its_sender() {
    for default in [DefaultVerdict::Accept, DefaultVerdict::Reject] {
        // No application decides, so each message is under screening for 2 s.
        let outcome = run(&screening(network(6, 600), default));
        assert!(outcome.passed(), "{default:?}: {:?}", outcome.violations);
        assert_eq!(outcome.totals.enqueued, 20);
        assert_eq!(outcome.totals.hops > 100, default == DefaultVerdict::Accept);
    }
}

#[test]
fn a_copy_that_is_kept_and_expires_at_once_is_no_violation() {
    // Copies come in while confirmations are on their way, and these arrive after the lifetime. At
    // an unlimited rate, a copy whose time is over is dropped at once.
    for seed in 0..4 {
        let mut scenario = network(3, 600).seed(seed);
        scenario.messages.repeat = Some(Repeat { every: seconds(5), times: 100 });
        let from = Duration::from_millis(20);
        scenario.link.latency = Distribution::Uniform { from, to: seconds(2) };
        scenario.link.broken = 0.1;
        scenario.tower.send_rate = SendRate::Unlimited;
        scenario.tower.lifetime = Some(seconds(4));
        let outcome = run(&scenario);
        assert!(outcome.passed(), "seed {seed}: {:?}", outcome.violations);
        assert!(outcome.totals.lost(LossCause::Expired) > 1_000, "{:?}", outcome.totals);
    }
}

#[test]
fn a_network_of_stopped_towers_has_no_violation() {
    // With more than a thousand towers, the checkers compare messages only at the end.
    for (towers, left) in [(3, 0), (3, 1), (1_001, 0)] {
        let crash = Fault::crash(seconds(1), Towers::Range(left, towers - 1));
        let mut scenario = network(towers, 10).fault(crash);
        scenario.contacts.shape = Shape::Ring;
        scenario.checks.convergence = true;
        let outcome = run(&scenario);
        assert_eq!(outcome.running, left);
        assert!(outcome.passed(), "{:?}", outcome.violations);
    }
}

#[test]
fn towers_that_do_not_know_each_other_at_the_end_are_a_violation() {
    // The partition lasts until the end, and the run is too short for a quiet phase.
    let mut scenario = network(4, 60).checks(|checks| {
        (checks.convergence, checks.settle_within) = (true, seconds(1));
    });
    scenario.contacts.shape = Shape::Ring;
    scenario.tower.send_rate = SendRate::Every(seconds(3_600));
    let outcome = run(&scenario);
    let checkers: Vec<_> = outcome.violations.iter().map(|found| found.checker).collect();
    assert_eq!(checkers, [Checker::Convergence]);
}

#[test]
fn messages_are_compared_once_at_the_end() {
    let scenario = network(1, 10);
    let options = Options { keep_going: true, ..Options::default() };
    let mut simulation = Simulation::new(&scenario, Path::new("."), options).unwrap();
    while !simulation.advance(1_000).is_over {}
    let address = simulation.address(TowerId(0)).unwrap();
    // The tower forgets its messages. This is a violation after the event and at the end.
    let forget = |tower: &mut Tower, _| {
        let config = std::sync::Arc::new(tower.config().clone());
        *tower = Tower::new(config, address, &Seed::from_u64(1)).unwrap();
    };
    simulation.with(TowerId(0), forget).unwrap();
    let outcome = simulation.finish();
    assert_eq!(outcome.violated, 2, "{:?}", outcome.violations);
}

#[test]
fn messages_and_groups_that_do_not_survive_are_a_violation() {
    let survivors = |share| {
        let crash = Fault::crash(seconds(1), Towers::Range(0, 2));
        let mut scenario = network(6, 10).fault(crash);
        scenario.checks.survival = Some(Survival { n: 5, k: 5, share });
        run(&scenario)
    };
    let outcome = survivors(0.0);
    assert!(outcome.passed(), "{:?}", outcome.violations);
    let groups = outcome.groups.unwrap();
    assert!(groups.count == 4 && groups.alive < 4, "{groups:?}");
    assert_eq!(survivors(1.0).violations[0].checker, Checker::Survival);
}

#[test]
fn a_run_without_checks_has_the_same_trace_and_totals() {
    let scenario = network(6, 600);
    let checked = run(&scenario);
    let unchecked = run(&scenario.checks(|checks| *checks = Checks::off()));
    assert_eq!(checked.hash, unchecked.hash);
    let (with, without) = (&checked.totals, &unchecked.totals);
    assert_eq!(
        (with.hops, with.enqueued, with.alive),
        (without.hops, without.enqueued, without.alive)
    );
}

/// An application that enqueues a message every minute, and swallows or replaces messages.
struct Application {
    tower: Tower,
    now: Instant,
    next: Instant,
    offers: Vec<OfferId>,
    seen: u64,
}

impl Application {
    fn act(&mut self, now: Instant) {
        self.now = self.now.max(now);
        // The application decides one event later.
        for offer in std::mem::take(&mut self.offers) {
            self.seen += 1;
            let verdict = match self.seen {
                seen if seen.is_multiple_of(50) => Verdict::Swallow,
                seen if seen.is_multiple_of(31) => Verdict::Replace(Message::text("another")),
                seen if seen.is_multiple_of(7) => Verdict::Reject,
                _ => Verdict::ACCEPT,
            };
            let _ = self.tower.decide(offer, verdict, self.now);
        }
    }
}

impl StateMachine for Application {
    fn accept(&mut self, from: IpAddr, now: Instant) -> Result<LinkId, Refusal> {
        self.tower.accept(from, now)
    }

    fn handle(&mut self, event: Event<'_>, now: Instant) {
        self.tower.handle(event, now);
        self.act(now);
    }

    fn transmit(&mut self, link: LinkId, out: &mut impl BufMut) -> usize {
        self.tower.transmit(link, out)
    }

    fn poll_action(&mut self) -> Option<Action> {
        loop {
            match self.tower.poll_action()? {
                Action::Screen { offer, .. } => self.offers.push(offer),
                action => {
                    // The call is between two actions, so a link can send the message before its
                    // notice.
                    if self.now >= self.next {
                        self.next = self.now + seconds(60);
                        let _ = self.tower.enqueue(Message::text("own"), self.now);
                    }
                    return Some(action);
                }
            }
        }
    }

    fn next_wakeup(&self) -> Option<Wakeup> {
        self.tower.next_wakeup()
    }

    fn tower(&self) -> &Tower {
        &self.tower
    }

    fn tower_mut(&mut self) -> &mut Tower {
        &mut self.tower
    }
}

#[test]
fn an_application_can_enqueue_reject_replace_and_swallow_messages() {
    let mut scenario = screening(network(6, 600), DefaultVerdict::Accept);
    scenario.link.broken = 0.01;
    let make = |new: NewNode| {
        let tower = Tower::new(new.config, new.address, &new.seed).ok()?;
        let (now, next) = (Instant::ORIGIN, Instant::ORIGIN + seconds(30));
        Some(Application { tower, now, next, offers: Vec::new(), seen: 0 })
    };
    let options = Options { keep_going: true, ..Options::default() };
    let simulation = Simulation::with_machines(&scenario, Path::new("."), options, make).unwrap();
    let outcome = finish(simulation);
    assert!(outcome.passed(), "{:?}", outcome.violations);
    let totals = &outcome.totals;
    assert!(totals.enqueued > 20 + 6 * 9, "{totals:?}");
    assert!(totals.lost(LossCause::Swallowed) > 10, "{totals:?}");
    assert_eq!(totals.enqueued, totals.alive + totals.lost(LossCause::Swallowed), "{totals:?}");
}
