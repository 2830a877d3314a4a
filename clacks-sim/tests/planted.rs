//! A tower that loses one message in a thousand is found, and the network in which that shows shrinks to a small one.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::net::IpAddr;
use std::time::Duration;

use bytes::BufMut;
use clacks_proto::{
    Action, DefaultVerdict, Event, Instant, LinkId, Refusal, Screening, StateMachine, Tower,
    Verdict, Wakeup,
};
use clacks_sim::{Checker, Options, Outcome, Scenario, Simulation};
use common::finish;

/// A tower that confirms every so many-th message that it gets, and forgets it.
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
        self.tower.transmit(link, out)
    }

    fn poll_action(&mut self) -> Option<Action> {
        loop {
            let action = self.tower.poll_action()?;
            let Action::Screen { offer, .. } = action else { return Some(action) };
            self.seen += 1;
            let loses = self.seen.is_multiple_of(self.loses_one_in);
            let verdict = if loses { Verdict::Swallow } else { Verdict::Accept };
            // It may have been decided by its deadline.
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

/// Runs a scenario with towers all of which lose one message in so many; none at all for `u64::MAX`.
fn run(scenario: &Scenario, loses_one_in: u64) -> Outcome {
    let simulation = Simulation::with_machines(
        scenario,
        ".".as_ref(),
        Options::default(),
        move |config, address, seed| {
            let tower = Tower::new(config, address, seed).ok()?;
            Some(Forgetful { tower, now: Instant::ORIGIN, seen: 0, loses_one_in })
        },
    );
    finish(simulation.unwrap())
}

fn screened(mut scenario: Scenario) -> Scenario {
    let timeout = Duration::from_secs(5);
    let default = DefaultVerdict::Accept;
    scenario.tower.screening = Screening::On { max_offers: 64, timeout, default };
    scenario
}

#[test]
fn a_tower_that_loses_one_message_in_a_thousand_is_caught() {
    let first = (0..50).find_map(|seed| {
        let outcome = run(&screened(Scenario::swarm(seed)), 1_000);
        (!outcome.holds()).then_some(outcome)
    });
    let outcome = first.expect("no seed finds the bug");
    assert!(outcome.violations.iter().all(|found| found.checker == Checker::Conservation));
}

#[test]
fn the_same_towers_without_the_bug_pass() {
    let scenario = screened(Scenario::named("original-1").unwrap());
    assert!(scenario.time > Duration::from_secs(1_000));
    let outcome = run(&scenario, u64::MAX);
    assert!(outcome.holds() && outcome.totals.hops > 1_000, "{:?}", outcome.violations);
    assert!(!run(&scenario, 1_000).holds());
}
