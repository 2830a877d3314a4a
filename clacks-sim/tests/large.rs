//! A property test of large networks with random faults. An observer of the test checks an
//! invariant.
//!
//! `CLACKS_SIM_TOWERS=2000 CLACKS_SIM_CASES=3 cargo test --release -p clacks-sim --test large`
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::HashMap;
use std::path::Path;

use clacks_proto::{Instant, Tower};
use clacks_sim::scenario::{Fault, PartitionShape, Shape, Towers};
use clacks_sim::{Observation, Observed, Observer, Options, Scenario, Simulation, TowerId};
use common::{finish, seconds, violations};
use proptest::prelude::*;

/// Checks that no tower sends a message to itself, and that no tower has more open links than its
/// limit.
#[derive(Default)]
struct Sane {
    /// The number of messages that each tower has sent.
    handed_over: HashMap<TowerId, u64>,
}

impl Observer for Sane {
    fn observe(&mut self, observation: &Observation) -> Result<(), String> {
        let (Observed::HandedOver { to, .. }, Some(tower)) = (observation.what, observation.tower)
        else {
            return Ok(());
        };
        *self.handed_over.entry(tower).or_default() += 1;
        if to == tower { Err(format!("tower {} sends to itself", tower.0)) } else { Ok(()) }
    }

    fn after(&mut self, _: Instant, tower: TowerId, machine: &Tower) -> Result<(), String> {
        let links = machine.links().count();
        let max = machine.config().max_links;
        let is_within = links <= max;
        is_within.then_some(()).ok_or_else(|| format!("tower {} has {links} links", tower.0))
    }
}

fn variable(name: &str, default: u32) -> u32 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: variable("CLACKS_SIM_CASES", 3),
        max_shrink_iters: 20,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_large_network_keeps_its_rules_under_faults(
        seed in any::<u32>(),
        crashed in 0.0..0.3,
        broken in 0.001..0.01,
        is_split in any::<bool>(),
    ) {
        let towers = variable("CLACKS_SIM_TOWERS", 150);
        let mut scenario = Scenario::new("large", towers, seconds(60))
            .seed(seed.into())
            .contacts(|contacts| (contacts.shape, contacts.degree) = (Shape::Regular, 8))
            .messages(|messages| messages.count = towers)
            .fault(Fault::crash(seconds(20), Towers::Share(crashed)))
            .checks(|checks| checks.convergence = false);
        scenario.link.broken = broken;
        if is_split {
            let split = Fault::partition(seconds(30), seconds(20), PartitionShape::Halves);
            scenario = scenario.fault(split);
        }
        let folder = Path::new(".");
        let mut simulation = Simulation::new(&scenario, folder, Options::default()).unwrap();
        simulation.observer(Box::new(Sane::default()));
        let outcome = finish(simulation);
        prop_assert_eq!(violations(&outcome), None, "{}", scenario.to_toml());
        prop_assert!(outcome.totals.hops > u64::from(towers), "{:?}", outcome.totals);
    }
}
