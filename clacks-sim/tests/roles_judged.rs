//! What a role does is no violation. What it makes honest towers do is judged.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::path::Path;

use clacks_sim::{DuplicationCause, LossCause, Options, Outcome, Scenario, Simulation};
use common::finish;

/// Runs ten towers that know each other, of which the last two have a role.
fn run(keys: &str, link: &str) -> Outcome {
    let text = format!(
        "name = \"roles\"\ntowers = 10\ntime = \"10m\"\n[[role]]\ntowers = {{ range = [8, 9] }}\n{keys}
        [contacts]\nshape = \"full\"
        [messages]\ncount = 16\nat = \"1s\"\ntowers = {{ range = [0, 7] }}
        [link]\n{link}
        [checks]\nliveness = false\nfaults = false\n"
    );
    let scenario = Scenario::from_toml(&text).unwrap();
    let options = Options { keep_going: true, ..Options::default() };
    finish(Simulation::new(&scenario, Path::new("."), options).unwrap())
}

#[test]
fn no_role_makes_an_honest_tower_break_an_invariant() {
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
            assert!(outcome.holds(), "{keys} {link}: {:#?}", outcome.violations);
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
