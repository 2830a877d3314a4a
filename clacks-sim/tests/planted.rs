//! A tower that loses one message in a thousand is found, and the network shrinks to a small one.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::cell::RefCell;
use std::net::IpAddr;
use std::time::Duration;

use bytes::BufMut;
use clacks_proto::wire::{Decoder, Frame, MAX_BODY, RefusedReason};
use clacks_proto::{Action, Event, Instant, LinkId, Refusal, StateMachine, Tower, Verdict, Wakeup};
use clacks_sim::scenario::{Scenario, ScreeningKnob};
use clacks_sim::{Checker, NewNode, Options, Outcome, Simulation};
use common::{finish, judge};
use proptest::test_runner::{Config, TestError, TestRng, TestRunner};

/// A tower that rejects one message in a number, and confirms these messages all the same.
struct Forgetful {
    tower: Tower,
    now: Instant,
    seen: u64,
    loses_one_in: u64,
}

impl StateMachine for Forgetful {
    fn accept(&mut self, from: IpAddr, now: Instant) -> Result<LinkId, Refusal> {
        self.tower.accept(from, now)
    }

    fn handle(&mut self, event: Event<'_>, now: Instant) {
        self.now = self.now.max(now);
        self.tower.handle(event, now);
    }

    fn transmit(&mut self, link: LinkId, out: &mut impl BufMut) -> usize {
        let mut bytes = Vec::new();
        let count = self.tower.transmit(link, &mut bytes);
        let (mut decoder, mut rest) = (Decoder::new(MAX_BODY), &bytes[..]);
        // A tower writes whole frames.
        while let Some(frame) = decoder.decode(&mut rest).unwrap() {
            let reason = RefusedReason::Screened;
            match frame {
                Frame::Refused { transfer, reason: r } if r == reason => {
                    Frame::Confirmed { through: transfer }.encode(out);
                }
                frame => frame.encode(out),
            }
        }
        count
    }

    fn poll_action(&mut self) -> Option<Action> {
        loop {
            let action = self.tower.poll_action()?;
            let Action::Screen { offer, .. } = action else { return Some(action) };
            self.seen += 1;
            let loses = self.seen.is_multiple_of(self.loses_one_in);
            let verdict = if loses { Verdict::Reject } else { Verdict::Accept };
            // The offer may have ended already.
            let _ = self.tower.decide(offer, verdict, self.now);
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

/// Runs a scenario with towers that lose one message in a number; none for `u64::MAX`.
fn run(scenario: &Scenario, loses_one_in: u64, options: Options) -> Outcome {
    let make = move |new: NewNode| {
        let tower = Tower::new(new.config, new.address, &new.seed).ok()?;
        Some(Forgetful { tower, now: Instant::ORIGIN, seen: 0, loses_one_in })
    };
    finish(Simulation::with_machines(scenario, common::folder(), options, make).unwrap())
}

fn screened(mut scenario: Scenario) -> Scenario {
    let timeout = Duration::from_secs(5);
    let default = clacks_sim::scenario::Verdict::Accept;
    scenario.tower.screening = Some(ScreeningKnob { max_offers: 64, timeout, default });
    scenario
}

#[test]
fn a_tower_that_loses_one_message_in_a_thousand_is_found_and_the_network_shrinks() {
    let config =
        Config { cases: 50, failure_persistence: None, max_shrink_iters: 300, ..Config::default() };
    let algorithm = config.rng_algorithm;
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(algorithm));
    let last = RefCell::new(None);
    let result = runner.run(&common::scenario(6), |scenario| {
        let scenario = screened(scenario);
        let outcome = run(&scenario, 1_000, Options::default());
        let verdict = judge(&scenario, &outcome, "planted");
        if verdict.is_err() {
            last.replace(Some(outcome));
        }
        verdict
    });
    let Err(TestError::Fail(reason, smallest)) = result else {
        panic!("the bug was not found: {result:?}");
    };
    let outcome = last.into_inner().unwrap();
    assert!(
        outcome.violations.iter().all(|found| found.checker == Checker::Conservation),
        "{reason}"
    );
    assert!(reason.message().contains("clacks sim "), "{reason}");
    assert!(smallest.towers <= 3, "{smallest:?}");
    assert!(smallest.messages.count <= 6, "{smallest:?}");
}

#[test]
fn the_same_towers_without_the_bug_pass() {
    let scenario = screened(Scenario::named("original-1").unwrap());
    assert!(scenario.time > Duration::from_secs(1_000));
    let outcome = run(&scenario, u64::MAX, Options::default());
    assert!(outcome.holds() && outcome.totals.hops > 1_000, "{:?}", outcome.violations);
}

#[test]
fn a_run_ends_at_the_first_violation_unless_it_keeps_going() {
    let mut scenario = screened(Scenario::named("original-1").unwrap());
    scenario.messages.count = 5;
    let outcome = run(&scenario, 1_000, Options::default());
    assert!(!outcome.is_over && outcome.violated == 1, "{:?}", outcome.violations);
    assert!(outcome.simulated < scenario.time);
    let options = Options { keep_going: true, ..Options::default() };
    let outcome = run(&scenario, 1_000, options);
    assert!(outcome.is_over && outcome.violated > 1, "{:?}", outcome.violations);
}
