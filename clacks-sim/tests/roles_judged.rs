//! The actions of a role are not violations. The reactions of honest towers are checked.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::path::Path;

use clacks_sim::{DuplicationCause, LossCause, Options, Outcome, Scenario, Simulation};
use common::finish;

/// Runs ten towers that know each other. The last two towers have a role.
fn run(keys: &str, link: &str) -> Outcome {
    let text = format!(
        "name = \"roles\"\ntowers = 10\ntime = \"10m\"\n
        [[role]]\ntowers = {{ range = [8, 9] }}\n{keys}
        [contacts]\nshape = \"full\"
        [messages]\ncount = 16\nat = \"1s\"\ntowers = {{ range = [0, 7] }}
        [link]\n{link}
        [checks]\nconvergence = false\nfaults_fired = false\n"
    );
    let scenario = Scenario::from_toml(&text).unwrap();
    let options = Options { keep_going: true, ..Options::default() };
    finish(Simulation::new(&scenario, Path::new("."), options).unwrap())
}

#[test]
fn honest_towers_keep_all_invariants_with_each_role() {
    for keys in [
        "kind = \"hole\"",
        "kind = \"colluder\"",
        "kind = \"liar\"",
        "kind = \"flood\"\nrate = 5.0",
        "kind = \"forge\"\nnames = \"silent\"\nrate = 0.5",
        "kind = \"forge\"\nnames = { tower = 0 }\nrate = 0.5",
        "kind = \"sybil\"\nrate = 0.25",
        "kind = \"spy\"",
        "kind = \"framer\"\nframes = \"malformed\"\nrate = 0.2",
        "kind = \"framer\"\nframes = \"unexpected\"\nrate = 0.2",
        "kind = \"deaf\"",
        "kind = \"slow\"\ndelay = \"5s\"",
        "kind = \"slowloris\"\nconnections = 40",
    ] {
        for link in ["", "broken = 0.01\nsilenced = 0.002\ncorrupted = 0.005"] {
            let outcome = run(keys, link);
            assert!(outcome.passed(), "{keys} {link}: {:#?}", outcome.violations);
            let totals = outcome.totals;
            let lost: u64 = LossCause::ALL.map(|cause| totals.lost(cause)).iter().sum();
            assert_eq!(totals.enqueued, totals.alive + lost, "{keys} {totals:?}");
        }
    }
}

#[test]
fn messages_that_roles_swallow_and_multiply_are_counted() {
    assert!(run("kind = \"hole\"", "").totals.lost(LossCause::Role) > 0);
    assert!(run("kind = \"liar\"", "").totals.duplicated(DuplicationCause::Role) > 0);
    assert!(run("kind = \"sybil\"\nrate = 0.25", "").totals.lost(LossCause::Role) > 0);
}
