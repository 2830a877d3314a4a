//! What a run writes down over time agrees with what happened.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::time::Duration;

use clacks_sim::metrics::Metric;
use clacks_sim::{Options, Scenario, Simulation};

#[test]
fn bytes_that_towers_send_are_counted() {
    let mut scenario = Scenario::new("a few", 5, Duration::from_secs(2 * 60 * 60))
        .messages(|messages| (messages.count, messages.size) = (20, 200));
    scenario.seed = 3;
    let mut simulation = Simulation::new(&scenario, Path::new("."), Options::default()).unwrap();
    while !simulation.advance(10_000).is_over {}
    let outcome = simulation.finish();
    let sent = outcome.series.total(Metric::BytesSent);
    // Every hop carries a body and is confirmed; heads, hellos and announces come on top.
    let least = 200 * outcome.totals.hops;
    assert!(outcome.totals.hops > 1_000 && sent > least && sent < 3 * least, "{sent} of {least}");
}
