//! Scenarios drawn at random, and how one is run.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use clacks_proto::StateMachine;
use clacks_sim::scenario::{
    Churn, Contacts, CrashKind, Deed, Fault, Heartbeat, Limit, Link, LinkChange, Look, OneWay,
    Parts, Path as Way, Rate, Scenario, Shape, Towers, Verb,
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

/// Where drawn scenarios are, and the files that they name.
pub fn folder() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// Writes a scenario to a file, and gives the command that runs it again.
pub fn replay(scenario: &Scenario, name: &str) -> String {
    let file = folder().join(format!("{name}.toml"));
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

/// Larger networks need days of their time to heal for certain, and hours of ours: they are held to all rules but that.
const WAITED_FOR: u32 = 60;

/// A network of at most so many towers, a few faults of every kind, and then peace for as long as it takes to heal.
///
/// It shrinks to few towers, few faults, small numbers and a short time.
pub fn scenario(max_towers: u32) -> impl Strategy<Value = Scenario> {
    (2..=max_towers)
        .prop_flat_map(move |towers| {
            (
                Just(towers),
                any::<u16>(),
                proptest::collection::vec(faults(towers), 0..6),
                messages(towers),
                (link(), proptest::collection::vec(way(towers), 0..3)),
                contacts(towers),
                churn(),
            )
        })
        .prop_map(|(towers, seed, faults, messages, (link, paths), contacts, churn)| {
            let mut scenario = Scenario::new("drawn", towers, seconds(60)).seed(seed.into());
            scenario.faults = faults.concat();
            scenario.faults.sort_by_key(|fault| fault.at);
            (scenario.messages.count, scenario.messages.size) = messages;
            (scenario.link, scenario.paths) = (link, paths);
            scenario.contacts = contacts;
            scenario.churn = churn;
            scenario.tower.heartbeat = Heartbeat::Every(seconds(5));
            scenario.tower.send_rate = Rate::PerSecond(2.0);
            scenario.tower.friends.every = seconds(1);
            scenario.checks.faults = surely_happens(&scenario);
            // Nobody has to find who comes back untold, or wants nothing to do with others.
            scenario.checks.liveness = towers <= WAITED_FOR && !is_anybody_untold(&scenario);
            let time = scenario.shortest_time().or_else(|| {
                scenario.checks.liveness = false;
                scenario.shortest_time()
            });
            let last = scenario.faults.last().map_or(seconds(0), |fault| fault.at);
            scenario.time = time.expect("a last fault").max(last + seconds(60));
            scenario
        })
}

/// Whether all that is asked for must happen. Whether something with a small chance does in a short run is left open, and so is what
/// happens to towers that some other fault has hit.
fn surely_happens(scenario: &Scenario) -> bool {
    let is_sure = |fault: &Fault| {
        let may_miss = matches!(fault.what, Deed::Cut { .. } | Deed::LinkConditions { .. });
        !may_miss && fault.at > scenario.contacts.spread
    };
    let link = &scenario.link;
    let shares = [link.refused, link.unanswered, link.broken, link.corrupted, link.silenced];
    scenario.faults.len() < 2
        && scenario.faults.iter().all(is_sure)
        && scenario.churn.is_none()
        && scenario.paths.is_empty()
        && shares.iter().all(|share| *share <= 0.0)
}

fn is_anybody_untold(scenario: &Scenario) -> bool {
    let is_untold = |fault: &Fault| match fault.what {
        Deed::Crash { contacts, .. } | Deed::Leave { contacts, .. } => !contacts,
        _ => false,
    };
    scenario.faults.iter().any(is_untold)
        || scenario.churn.as_ref().is_some_and(|churn| !churn.contacts)
}

fn contacts(towers: u32) -> impl Strategy<Value = Contacts> {
    let shape = prop_oneof![
        Just(Shape::WellKnown),
        Just(Shape::Ring),
        Just(Shape::Full),
        Just(Shape::Regular),
        Just(Shape::File),
    ];
    let verb = prop_oneof![Just(Verb::Announce), Just(Verb::Expand)];
    (shape, verb, 1..=towers.min(3), 1..=4u32, any::<u16>()).prop_map(
        move |(shape, verb, known, half, tree)| {
            let mut contacts = Contacts::default();
            (contacts.shape, contacts.verb, contacts.known) = (shape, verb, known);
            contacts.spread = seconds(5);
            // An even degree fits every number of towers that is large enough.
            contacts.degree = 2 * half.min((towers - 1) / 2);
            match shape {
                Shape::Regular if towers < 3 => contacts.shape = Shape::Ring,
                Shape::File => contacts.file = Some(write_tree(towers, tree)),
                _ => {}
            }
            contacts
        },
    )
}

/// Writes a file in which everybody but the first tower knows one with a smaller number.
fn write_tree(towers: u32, tree: u16) -> PathBuf {
    let mut text = String::from("from,to\n");
    let mut state = u64::from(tree);
    for tower in 1..towers {
        // Knuth's MMIX constants; any sequence would do.
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text.push_str(&format!("{tower},{}\n", (state >> 33) % u64::from(tower)));
    }
    let name = PathBuf::from(format!("tree-{towers}-{tree}.csv"));
    std::fs::write(folder().join(&name), text).unwrap();
    name
}

fn messages(towers: u32) -> impl Strategy<Value = (u32, usize)> {
    (0..=3 * towers, 8usize..2_000)
}

fn times(most: u64) -> impl Strategy<Value = Distribution> {
    prop_oneof![
        (0..most).prop_map(|millis| Distribution::Constant(Duration::from_millis(millis))),
        (1..most)
            .prop_map(|millis| Distribution::Exponential { mean: Duration::from_millis(millis) }),
    ]
}

/// None, or so many bytes at least.
fn limit(least: u64) -> impl Strategy<Value = Limit> {
    prop_oneof![
        5 => Just(Limit::Unlimited),
        1 => (least..100 * least).prop_map(Limit::Bytes),
    ]
}

fn link() -> impl Strategy<Value = Link> {
    let jitter = proptest::option::of(times(100));
    let shares = (share(), share(), share(), share(), share());
    // What never gets better must leave room for all that goes on.
    (times(200), jitter, limit(50_000), limit(20_000), shares).prop_map(
        |(latency, jitter, bandwidth, capacity, shares)| {
            let mut link = Link::default();
            (link.latency, link.jitter) = (latency, jitter);
            (link.bandwidth, link.capacity) = (bandwidth, capacity);
            (link.refused, link.unanswered, link.broken, link.silenced, link.corrupted) = shares;
            link
        },
    )
}

/// Another weather, with bandwidths and capacities from such ones on.
fn change(bandwidth: u64, capacity: u64) -> impl Strategy<Value = LinkChange> {
    let shares = proptest::option::of((share(), share(), share(), share(), share()));
    let latency = proptest::option::of(times(400));
    let limits = (limit(bandwidth), limit(capacity));
    (latency, proptest::option::of(limits), shares).prop_map(|(latency, limits, shares)| {
        LinkChange::with(|change| {
            change.latency = latency;
            (change.bandwidth, change.capacity) = limits.unzip();
            if let Some((refused, unanswered, broken, silenced, corrupted)) = shares {
                (change.refused, change.unanswered) = (Some(refused), Some(unanswered));
                (change.broken, change.silenced) = (Some(broken), Some(silenced));
                change.corrupted = Some(corrupted);
            }
        })
    })
}

fn way(towers: u32) -> impl Strategy<Value = Way> {
    (group(towers), group(towers), change(50_000, 20_000))
        .prop_map(|(from, to, change)| Way::new(from, to, |link| *link = change))
}

/// Mostly none.
fn share() -> impl Strategy<Value = f64> {
    prop_oneof![3 => Just(0.0), 1 => (1u32..100).prop_map(|thousandths| f64::from(thousandths) / 1_000.0)]
}

fn churn() -> impl Strategy<Value = Option<Churn>> {
    let churn = (20u64..200, 5u64..50, 0u32..=10, 60u64..300, told()).prop_map(
        |(session, absence, graceful, until, contacts)| {
            let law = |mean| Distribution::Exponential { mean: seconds(mean) };
            let mut churn = Churn::new(law(session), law(absence), seconds(until));
            churn.graceful = f64::from(graceful) / 10.0;
            churn.contacts = contacts;
            churn
        },
    );
    proptest::option::weighted(0.25, churn)
}

/// Whether those who come back are told their contacts. Mostly they are: without it nobody promises that all find each other.
fn told() -> impl Strategy<Value = bool> {
    prop_oneof![7 => Just(true), 1 => Just(false)]
}

fn group(towers: u32) -> impl Strategy<Value = Towers> {
    prop_oneof![
        (0..towers).prop_map(Towers::One),
        (1..=towers.div_ceil(2)).prop_map(Towers::Count),
        (0..towers).prop_map(|last| Towers::Range(last / 2, last)),
    ]
}

/// One fault, or two that belong together.
fn faults(towers: u32) -> impl Strategy<Value = Vec<Fault>> {
    prop_oneof![
        12 => fault(towers).prop_map(|fault| vec![fault]),
        1 => ignored(towers),
    ]
}

/// Some towers ignore others, and most of these unignore them later.
fn ignored(towers: u32) -> impl Strategy<Value = Vec<Fault>> {
    let some = move || (0..towers).prop_map(|last| Towers::Range(last / 2, last));
    let lasts = proptest::option::weighted(0.8, 1u64..100);
    (some(), some(), 0u64..200, lasts).prop_map(|(towers, peers, at, lasts)| {
        let ignore = Deed::Ignore { towers: towers.clone(), peers: peers.clone() };
        let unignore = lasts.map(|lasts| (at + lasts, Deed::Unignore { towers, peers }));
        let both = std::iter::once((at, ignore)).chain(unignore);
        both.map(|(at, deed)| Fault::new(seconds(at), deed)).collect()
    })
}

fn fault(towers: u32) -> impl Strategy<Value = Fault> {
    let group = move || group(towers);
    let look = prop_oneof![Just(Look::Silent), Just(Look::Reset)];
    let direction = prop_oneof![Just(OneWay::Both), Just(OneWay::Out), Just(OneWay::In)];
    let parts = prop_oneof![
        Just(Parts::Halves),
        group().prop_map(Parts::Isolate),
        // Somebody has to be on the other side, of two towers too.
        (1..=towers / 2).prop_map(|count| Parts::Group(Towers::Count(count))),
        (1u32..=5).prop_map(|tenths| Parts::Random(f64::from(tenths) / 10.0)),
    ];
    let death = prop_oneof![Just(CrashKind::Process), Just(CrashKind::Machine)];
    let deed = prop_oneof![
        (parts, direction, look).prop_map(|(kind, direction, how)| Deed::Partition {
            kind,
            direction,
            how
        }),
        (group(), death, told()).prop_map(|(towers, how, contacts)| Deed::Crash {
            towers,
            how,
            contacts
        }),
        (group(), told()).prop_map(|(towers, contacts)| Deed::Leave { towers, contacts }),
        group().prop_map(|towers| Deed::Pause { towers }),
        (group(), -5i64..10, -100_000..200_000i32).prop_map(|(towers, step, drift)| {
            Deed::Clock { towers, step: step * 1_000_000_000, drift }
        }),
        group().prop_map(|towers| Deed::Cut { towers }),
        (group(), 1u32..20).prop_map(|(towers, count)| Deed::Enqueue { towers, count }),
        change(1_000, 100).prop_map(|link| Deed::LinkConditions { link }),
        (group(), group()).prop_map(|(towers, peers)| Deed::Expand { towers, peers }),
        (group(), group()).prop_map(|(towers, peers)| Deed::Announce { towers, peers }),
    ];
    (0u64..200, 1u64..100, deed).prop_map(|(at, lasts, what)| {
        let fault = Fault::new(seconds(at), what);
        match fault.what {
            Deed::Cut { .. }
            | Deed::Enqueue { .. }
            | Deed::Expand { .. }
            | Deed::Announce { .. } => fault,
            _ => fault.lasts(seconds(lasts)),
        }
    })
}
