//! The time series of a run agree with the totals of the run.
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
    // Each hop carries a body and an acknowledgement. Headers, hellos and announces are extra
    // bytes.
    let least = 200 * outcome.totals.hops;
    assert!(outcome.totals.hops > 1_000 && sent > least && sent < 3 * least, "{sent} of {least}");
}
