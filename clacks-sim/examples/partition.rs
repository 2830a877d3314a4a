//! Six towers are split into two halves for five minutes. Prints what the network did meanwhile.
//!
//! `cargo run --release --package clacks-sim --example partition -- 7` uses the seed 7.

use std::time::Duration;

use clacks_sim::scenario::{Fault, PartitionShape};
use clacks_sim::{Options, Scenario, Simulation};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let minutes = |count: u64| Duration::from_secs(60 * count);
    let mut scenario = Scenario::new("two halves", 6, minutes(20))
        .messages(|messages| messages.count = 10)
        .fault(Fault::partition(minutes(5), minutes(5), PartitionShape::Halves));
    if let Some(seed) = std::env::args().nth(1) {
        scenario.seed = seed.parse()?;
    }

    let mut simulation = Simulation::new(&scenario, ".".as_ref(), Options::default())?;
    while !simulation.advance(10_000).is_over {}
    let outcome = simulation.finish();
    for violation in &outcome.violations {
        println!("broken rule: {violation:?}");
    }
    println!("{} hops in {:?}, trace {}", outcome.totals.hops, scenario.time, outcome.hash);
    if outcome.passed() { Ok(()) } else { Err("a rule of the protocol was broken".into()) }
}
