//! What must not be taken for a violation, and what must.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::path::Path;

use clacks_proto::{DefaultVerdict, Screening, SendRate};
use clacks_sim::scenario::{Fault, Towers};
use clacks_sim::{Options, Outcome, Scenario, Simulation};
use common::{finish, seconds};

fn run(scenario: &Scenario) -> Outcome {
    finish(Simulation::new(scenario, Path::new("."), Options::default()).unwrap())
}

fn network(towers: u32, time: u64) -> Scenario {
    Scenario::new("some", towers, seconds(time))
        .contacts(|contacts| contacts.shape = clacks_sim::scenario::Shape::Full)
        .messages(|messages| messages.count = 20)
        .tower(|tower| tower.send_rate = SendRate::per_second(5))
        .checks(|checks| checks.liveness = false)
}

#[test]
fn what_is_under_screening_is_its_senders_still() {
    for default in [DefaultVerdict::Accept, DefaultVerdict::Reject] {
        let scenario = network(6, 600).tower(|tower| {
            // Nobody decides: each message is under screening for two of its ticks in five.
            let timeout = seconds(2);
            tower.screening = Screening::On { max_offers: 3, timeout, default };
        });
        let outcome = run(&scenario);
        assert!(outcome.holds(), "{default:?}: {:?}", outcome.violations);
        assert_eq!(outcome.totals.enqueued, 20);
        assert_eq!(outcome.totals.hops > 100, default == DefaultVerdict::Accept);
    }
}

#[test]
fn nobody_has_to_look_at_towers_that_are_all_down() {
    // What more than a thousand hold is looked at in the end only.
    for (towers, left) in [(3, 0), (3, 1), (1_001, 0)] {
        let crash = Fault::crash(seconds(1), Towers::Range(left, towers - 1));
        let mut scenario = network(towers, 10).fault(crash);
        scenario.contacts.shape = clacks_sim::scenario::Shape::Ring;
        scenario.checks.liveness = true;
        let outcome = run(&scenario);
        assert_eq!(outcome.running, left);
        assert!(outcome.holds(), "{:?}", outcome.violations);
    }
}
