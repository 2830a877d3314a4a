//! Scenarios drawn at random, and how one is run.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use clacks_proto::StateMachine;
use clacks_sim::scenario::{
    Churn, Death, Deed, Fault, Heartbeat, Look, OneWay, Parts, Rate, Scenario, Shape, Towers, Verb,
};
use clacks_sim::{Distribution, Outcome, Simulation};
use proptest::prelude::*;

/// A number from the environment, for larger campaigns than a plain `cargo test`.
pub fn from_environment(name: &str, default: u32) -> u32 {
    std::env::var(name).map_or(default, |value| {
        value.parse().unwrap_or_else(|_| panic!("{name} must be a number, and is {value:?}"))
    })
}

pub const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Runs a scenario to its end.
pub fn finish<M: StateMachine>(mut simulation: Simulation<M>) -> Outcome {
    while !simulation.advance(1_000_000).is_over {}
    simulation.finish()
}

/// Writes a scenario to a file, and gives the command that runs it again.
pub fn replay(scenario: &Scenario, name: &str) -> String {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.toml"));
    std::fs::write(&file, scenario.to_toml()).unwrap();
    format!("clacks sim {}", file.display())
}

/// All rules, or what was broken and how to see it again.
pub fn judge(scenario: &Scenario, outcome: &Outcome, name: &str) -> Result<(), TestCaseError> {
    if outcome.holds() {
        return Ok(());
    }
    let found: Vec<_> = outcome.violations.iter().map(ToString::to_string).collect();
    let command = replay(scenario, name);
    Err(TestCaseError::fail(format!("{}\nto see it again: {command}", found.join("\n"))))
}

/// The scenarios that once failed.
pub fn regressions() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/regressions");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    files
}

/// A network of at most so many towers, a few faults of every kind, and then peace for as long as it takes to heal.
///
/// It shrinks to few towers, few faults, small numbers and a short time.
pub fn scenario(max_towers: u32) -> impl Strategy<Value = Scenario> {
    let faults = move |towers| proptest::collection::vec(fault(towers), 0..6);
    (2..=max_towers)
        .prop_flat_map(move |towers| {
            (
                Just(towers),
                any::<u16>(),
                faults(towers),
                messages(towers),
                link(),
                contacts(),
                churn(),
            )
        })
        .prop_map(|(towers, seed, faults, messages, link, contacts, churn)| {
            let mut scenario = Scenario::new("drawn", towers, seconds(60)).seed(seed.into());
            scenario.faults = faults;
            scenario.faults.sort_by_key(|fault| fault.at);
            (scenario.messages.count, scenario.messages.size) = messages;
            scenario.link = link;
            (scenario.contacts.shape, scenario.contacts.verb) = contacts;
            scenario.contacts.spread = seconds(5);
            scenario.churn = churn;
            // Whether a fault with a small chance happens in a short run is left open; in all runs together it must.
            scenario.checks.faults = false;
            scenario.tower.heartbeat = Heartbeat::Every(seconds(5));
            scenario.tower.send_rate = Rate::PerSecond(2.0);
            scenario.tower.friends.every = seconds(1);
            scenario.time = scenario.shortest_time().expect("a bounded calm");
            scenario
        })
}

fn contacts() -> impl Strategy<Value = (Shape, Verb)> {
    let shape = prop_oneof![Just(Shape::WellKnown), Just(Shape::Ring), Just(Shape::Full)];
    (shape, prop_oneof![Just(Verb::Announce), Just(Verb::Expand)])
}

fn messages(towers: u32) -> impl Strategy<Value = (u32, usize)> {
    (0..=3 * towers, 8usize..2_000)
}

fn link() -> impl Strategy<Value = clacks_sim::scenario::Link> {
    let latency = prop_oneof![
        (0u64..200).prop_map(|millis| Distribution::Constant(Duration::from_millis(millis))),
        (1u64..200)
            .prop_map(|millis| Distribution::Exponential { mean: Duration::from_millis(millis) }),
    ];
    let jitter = proptest::option::of(
        (1u64..100)
            .prop_map(|millis| Distribution::Exponential { mean: Duration::from_millis(millis) }),
    );
    (latency, jitter, share(), share(), share(), share()).prop_map(
        |(latency, jitter, refused, unanswered, broken, silenced)| {
            let mut link = clacks_sim::scenario::Link::default();
            (link.latency, link.jitter) = (latency, jitter);
            (link.refused, link.unanswered) = (refused, unanswered);
            (link.broken, link.silenced) = (broken, silenced);
            link
        },
    )
}

/// Mostly none.
fn share() -> impl Strategy<Value = f64> {
    prop_oneof![3 => Just(0.0), 1 => (1u32..100).prop_map(|thousandths| f64::from(thousandths) / 1_000.0)]
}

fn churn() -> impl Strategy<Value = Option<Churn>> {
    let churn = (20u64..200, 5u64..50, 0u32..=10, 60u64..300).prop_map(
        |(session, absence, graceful, until)| {
            let law = |mean| Distribution::Exponential { mean: seconds(mean) };
            let mut churn = Churn::new(law(session), law(absence), seconds(until));
            churn.graceful = f64::from(graceful) / 10.0;
            churn
        },
    );
    proptest::option::weighted(0.25, churn)
}

fn fault(towers: u32) -> impl Strategy<Value = Fault> {
    let group = move || {
        prop_oneof![
            (0..towers).prop_map(Towers::One),
            (1..=towers.div_ceil(2)).prop_map(Towers::Count),
        ]
    };
    let look = prop_oneof![Just(Look::Silent), Just(Look::Reset)];
    let direction = prop_oneof![Just(OneWay::Both), Just(OneWay::Out), Just(OneWay::In)];
    let parts = prop_oneof![Just(Parts::Halves), group().prop_map(Parts::Isolate)];
    let death = prop_oneof![Just(Death::Process), Just(Death::Machine)];
    // Whoever comes back is told its contacts: one that had not been heard of yet could not be found otherwise.
    let deed = prop_oneof![
        (parts, direction, look).prop_map(|(kind, direction, how)| Deed::Partition {
            kind,
            direction,
            how
        }),
        (group(), death).prop_map(|(towers, how)| Deed::Crash { towers, how, contacts: true }),
        group().prop_map(|towers| Deed::Leave { towers, contacts: true }),
        group().prop_map(|towers| Deed::Pause { towers }),
        (group(), -5i64..10, -100_000..200_000i32).prop_map(|(towers, step, drift)| {
            Deed::Clock { towers, step: step * 1_000_000_000, drift }
        }),
        group().prop_map(|towers| Deed::Cut { towers }),
        (group(), 1u32..20).prop_map(|(towers, count)| Deed::Enqueue { towers, count }),
    ];
    (0u64..200, 1u64..100, deed).prop_map(|(at, lasts, what)| {
        let fault = Fault::new(seconds(at), what);
        match fault.what {
            Deed::Cut { .. } | Deed::Enqueue { .. } => fault,
            _ => fault.lasts(seconds(lasts)),
        }
    })
}
