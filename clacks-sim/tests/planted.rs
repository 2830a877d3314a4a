//! The checkers detect towers that lose one message in a thousand.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::net::IpAddr;
use std::time::Duration;

use bytes::BufMut;
use clacks_proto::wire::{Decoder, Frame, MAX_BODY, RefusedReason};
use clacks_proto::{
    Action, DefaultVerdict, Event, Instant, LinkId, Refusal, Screening, StateMachine, Tower,
    Verdict, Wakeup,
};
use clacks_sim::{Checker, NewNode, Options, Outcome, Scenario, Simulation};
use common::finish;

/// A tower with a planted bug: the tower rejects one message in `loses_one_in`, but acknowledges
/// the rejected messages.
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
            let verdict = if loses { Verdict::Reject } else { Verdict::ACCEPT };
            // The offer can be over already.
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

/// Runs a scenario with towers that lose one message in `loses_one_in`. The towers lose no message
/// if `loses_one_in` is `u64::MAX`.
fn run(scenario: &Scenario, loses_one_in: u64, options: Options) -> Outcome {
    let make = move |new: NewNode| {
        let tower = Tower::new(new.config, new.address, &new.seed).ok()?;
        Some(Forgetful { tower, now: Instant::ORIGIN, seen: 0, loses_one_in })
    };
    finish(Simulation::with_machines(scenario, ".".as_ref(), options, make).unwrap())
}

fn screened(mut scenario: Scenario) -> Scenario {
    let timeout = Duration::from_secs(5);
    let default = DefaultVerdict::Accept;
    scenario.tower.screening = Screening::On { max_offers: 64, timeout, default };
    scenario
}

#[test]
fn towers_that_lose_one_message_in_a_thousand_are_a_violation() {
    let first = (0..50).find_map(|seed| {
        let outcome = run(&screened(Scenario::swarm(seed)), 1_000, Options::default());
        (!outcome.passed()).then_some(outcome)
    });
    let outcome = first.expect("no seed finds the bug");
    assert!(outcome.violations.iter().all(|found| found.checker == Checker::Conservation));
}

#[test]
fn the_same_towers_without_the_bug_pass() {
    let scenario = screened(Scenario::named("original-1").unwrap());
    assert!(scenario.time > Duration::from_secs(1_000));
    let outcome = run(&scenario, u64::MAX, Options::default());
    assert!(outcome.passed() && outcome.totals.hops > 1_000, "{:?}", outcome.violations);
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
