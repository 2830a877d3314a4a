//! Real towers in a faulty network, watched from the first event to the last.
//!
//! `CLACKS_SEED` and `CLACKS_RUNS` choose other runs and more of them.

use std::sync::Arc;
use std::time::Duration;

use clacks_proto::{Config, HeldMessage, Instant, SendRate, Tower};

use super::{
    Average, Body, CalmNetwork, Checks, DuplicationCause, Holding, Liveness, LossCause, Place,
    Ticks, Truth, Verdict,
};
use crate::distribution::Distribution;
use crate::message_numbers;
use crate::metrics::{Flight, Flights};
use crate::network::{Network, NetworkView, Observer, Snapshot};
use crate::observation::{Fault, MessageId, Observation, Observed, TowerId};
use crate::plan::{
    Churn, ContactVerb, Contacts, CrashKind, Direction, Group, LinkConditions, Partition, Plan,
    Severance, Step, WithContacts,
};

const TOWERS: u32 = 12;
const MESSAGES: u32 = 60;

/// The truth, asked at every sample, and what is kept for a map.
struct Judge {
    truth: Truth,
    standings: Vec<Snapshot>,
    /// How often a message had been taken, at the same samples.
    hops: Vec<u64>,
    flights: Flights,
    /// Who took which message from whom, and when.
    taken: Vec<(TowerId, TowerId, MessageId, Instant)>,
}

impl Judge {
    /// Whether a message was taken where it went to, when it arrived or so much later.
    fn took(&self, flight: &Flight, later: Duration) -> bool {
        let Some(message) = flight.message else { return false };
        let of = |at| (flight.from, flight.to, message, at);
        let from = self.taken.partition_point(|taken| *taken < of(flight.arrives));
        self.taken.get(from).is_some_and(|taken| *taken <= of(flight.arrives + later))
    }
}

impl Observer<Tower> for Judge {
    fn see(&mut self, observation: &Observation) {
        self.truth.see(observation);
        self.flights.see(observation);
        if let Observation { at, tower: Some(tower), what } = *observation
            && let Observed::Received { sender: Some(from), message: Some(message), .. } = what
        {
            self.taken.push((from, tower, message, at));
        }
    }

    fn after(&mut self, at: Instant, tower: TowerId, machine: &Tower) {
        self.truth.after(at, tower, machine);
    }

    fn sample(&mut self, snapshot: &Snapshot, world: &NetworkView<'_, Tower>) {
        self.standings.push(*snapshot);
        self.hops.push(self.truth.totals().hops);
        for (number, tower) in world.running() {
            let memory = tower.peek().map(|held| holding(&held, world));
            self.truth.audit(snapshot.at, number, memory);
        }
    }
}

fn holding(held: &HeldMessage, world: &NetworkView<'_, Tower>) -> Holding {
    let message = world.names().number_of(held.nonce);
    let size = held.message.body().len();
    let is_intact =
        message.is_some_and(|message| message_numbers::message(message, size) == held.message);
    let place = Place::of(&held.state, |address| world.tower_at(address)).unwrap();
    Holding { message, place, body: if is_intact { Body::Intact } else { Body::Altered } }
}

fn at(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

pub(super) fn calm() -> LinkConditions {
    let (from, to) = (Duration::from_millis(5), Duration::from_millis(90));
    LinkConditions {
        latency: Distribution::Uniform { from, to },
        jitter: None,
        bandwidth: None,
        capacity: None,
        refused: 0.0,
        unanswered: 0.0,
        broken: 0.0,
        corrupted: 0.0,
        silenced: 0.0,
    }
}

/// A minute of towers that know the first one, with some messages each.
pub(super) fn plan(seed: u64, conditions: LinkConditions) -> Plan {
    let mut config = Config::default();
    config.send_rate = SendRate::per_second(10);
    config.heartbeat = Some(Duration::from_secs(1));
    config.timeouts.confirm = Duration::from_secs(3);
    config.timeouts.idle = Duration::from_secs(5);
    let contacts = WithContacts::Told;
    let starts = (0..TOWERS).map(|tower| (at(0), Step::Start { tower: TowerId(tower), contacts }));
    let count = MESSAGES / TOWERS;
    let messages =
        (0..TOWERS).map(|tower| (at(1_000), Step::Enqueue { tower: TowerId(tower), count }));
    Plan {
        seed,
        towers: TOWERS,
        config: Arc::new(config),
        time: Duration::from_secs(60),
        faults_end: Instant::ORIGIN,
        conditions,
        paths: Vec::new(),
        message_size: 64,
        contacts: Contacts {
            first: [0].into_iter().chain(0..TOWERS).collect(),
            all: vec![TowerId(0); TOWERS as usize - 1],
            verb: ContactVerb::Announce,
        },
        steps: starts.chain(messages).collect(),
        churn: None,
        sample_every: Duration::from_secs(1),
    }
}

/// Everything that can be done to towers from outside, and some that come and go by themselves.
fn with_turmoil(mut plan: Plan) -> Plan {
    let seed = plan.seed;
    let pick = |number: u64| TowerId(u32::try_from((seed + number) % u64::from(TOWERS)).unwrap());
    let contacts = WithContacts::Told;
    let mut steps = Vec::new();
    for round in 0..4 {
        let [tower, peer, far, next] = [0, 3, 6, 7].map(|number| pick(round * 5 + number));
        let how = if round % 2 == 0 { CrashKind::Process } else { CrashKind::Machine };
        let step = i64::try_from(round).unwrap() * 1_500_000_000 - 3_000_000_000;
        let drift_ppm = i32::try_from(round).unwrap() * 100_000 - 100_000;
        steps.extend(
            [
                (5_000, Step::Pause { tower }),
                (6_000, Step::Cut { tower: peer }),
                (7_000, Step::Crash { tower: peer, how }),
                (8_000, Step::Ignore { tower: far, peer: next }),
                (8_500, Step::Clock { tower: far, step, drift_ppm }),
                (9_000, Step::Start { tower: peer, contacts }),
                (11_000, Step::Resume { tower }),
                (14_000, Step::Unignore { tower: far, peer: next }),
            ]
            .map(|(millis, step)| (at(millis + 7_000 * round), step)),
        );
    }
    let direction = if seed.is_multiple_of(2) { Direction::Both } else { Direction::Out };
    let how = if seed.is_multiple_of(3) { Severance::Silent } else { Severance::Reset };
    let partition = Partition { inside: Group::Range(0, 4), direction, how };
    steps.push((at(20_000), Step::Part { id: 1, partition }));
    steps.push((at(30_000), Step::Heal { id: 1 }));
    plan.steps.extend(steps);
    plan.steps.sort_by_key(|(at, _)| *at);
    plan.churn = Some(Churn {
        towers: Group::Range(5, 11),
        from: at(2_000),
        until: at(45_000),
        session: Distribution::Exponential { mean: Duration::from_secs(8) },
        absence: Distribution::Exponential { mean: Duration::from_secs(4) },
        graceful: 0.5,
        contacts,
    });
    plan
}

fn at_an_unlimited_rate(mut plan: Plan) -> Plan {
    Arc::make_mut(&mut plan.config).send_rate = SendRate::Unlimited;
    plan.time = Duration::from_secs(4);
    plan
}

/// Runs a plan, and sees to it that no message which was taken is shown as if it had not arrived.
fn watch(plan: Plan, checks: &Checks) -> (Verdict, Judge) {
    let make = |config: Arc<Config>, address, seed: &_| Tower::new(config, address, seed).ok();
    let end = at(u64::try_from(plan.time.as_millis()).unwrap());
    let judge = Judge {
        truth: Truth::new(&plan, checks.clone()),
        standings: Vec::new(),
        hops: Vec::new(),
        flights: Flights::new(plan.towers, Flights::DEFAULT_CAPACITY).unwrap(),
        taken: Vec::new(),
    };
    let mut world = Network::new(Arc::new(plan), Box::new(make), judge);
    while world.step() {}
    world.sample();
    let (census, _) = world.last_look();
    let (numbers, peers): (Vec<_>, Vec<Vec<_>>) =
        census.running().map(|(number, tower)| (number, census.peers(tower).collect())).unzip();
    if checks.liveness == Liveness::Promised {
        let place = |one| numbers.iter().position(|other| *other == one).unwrap();
        world.watch.truth.judge_liveness(end, &numbers, |one| peers[place(one)].clone());
    }
    let mut judge = world.watch;
    judge.taken.sort_unstable();
    for flight in judge.flights.flights().iter().filter(|flight| flight.broke.is_some()) {
        assert!(!judge.took(flight, Duration::ZERO), "{flight:?}");
    }
    (judge.truth.finish(end), judge)
}

/// The runs that the environment asks for, each of which must be right.
fn all_right(make: impl Fn(u64) -> Plan, faults: &[Fault]) -> Verdict {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let (first, runs) = (number("CLACKS_SEED").unwrap_or(1), number("CLACKS_RUNS").unwrap_or(1u64));
    let mut last = None;
    for seed in first..first + runs {
        let checks = Checks { faults: faults.to_vec(), ..Checks::default() };
        let verdict = watch(make(seed), &checks).0;
        let texts: Vec<_> = verdict.violations.iter().map(ToString::to_string).collect();
        assert!(texts.is_empty(), "CLACKS_SEED={seed}: {texts:#?}");
        assert!(verdict.totals.balance() && verdict.totals.hops > 500, "{:?}", verdict.totals);
        last = Some(verdict);
    }
    last.unwrap()
}

const TURMOIL: [Fault; 9] = [
    Fault::Crash,
    Fault::Restart,
    Fault::Leave,
    Fault::Pause,
    Fault::Resume,
    Fault::ClockStep,
    Fault::Partition,
    Fault::Parted,
    Fault::Cut,
];

#[test]
fn a_calm_network_loses_nothing_makes_nothing_twice_and_all_know_all() {
    let checks = Checks { liveness: Liveness::Promised, ..Checks::default() };
    let verdict = watch(plan(1, calm()), &checks).0;
    assert_eq!(verdict.violations, []);
    let totals = verdict.totals;
    assert_eq!((totals.enqueued, totals.alive, totals.copies), (60, 60, 60));
    assert_eq!(DuplicationCause::ALL.map(|cause| totals.duplicated(cause)), [0; 5]);
    all_right(|seed| at_an_unlimited_rate(plan(seed, calm())), &[]);
}

#[test]
fn turmoil_loses_only_with_towers() {
    let totals = all_right(|seed| with_turmoil(plan(seed, calm())), &TURMOIL).totals;
    assert!(totals.lost(LossCause::Crash) > 0);
}

#[test]
fn broken_connections_make_messages_twice_and_lose_none() {
    let broken = || LinkConditions { broken: 0.02, ..calm() };
    let totals = all_right(|seed| plan(seed, broken()), &[Fault::Broken]).totals;
    assert!(totals.duplicated(DuplicationCause::ConfirmationLost) > 0 && totals.coalesced > 0);
    assert_eq!(LossCause::ALL.map(|cause| totals.lost(cause)), [0; 4]);
    all_right(|seed| at_an_unlimited_rate(plan(seed, broken())), &[Fault::Broken]);
    all_right(|seed| with_turmoil(plan(seed, broken())), &TURMOIL);
}

#[test]
fn messages_stop_where_their_connections_end() {
    let (verdict, judge) = watch(with_turmoil(plan(1, calm())), &Checks::default());
    assert_eq!(verdict.violations, []);
    let flights = judge.flights.flights();
    assert_eq!(flights.len() as u64, judge.flights.seen(), "each is kept");
    let is_between = |flight: &&Flight| {
        flight.broke.is_some_and(|at| at > flight.departs && at < flight.arrives)
    };
    assert!(flights.iter().filter(is_between).count() > 5);
    // What was neither taken, at the latest when its tower went on, nor broke was refused, and that is rare.
    let is_open = |flight: &&Flight| {
        let is_taken = judge.took(flight, Duration::from_secs(8));
        flight.broke.is_none() && !is_taken && flight.arrives < at(55_000)
    };
    let open = flights.iter().filter(is_open).count();
    assert!(open * 50 < flights.len(), "{open} of {}", flights.len());
}

#[test]
fn silenced_and_full_connections_are_no_harm() {
    let conditions = || LinkConditions { silenced: 0.005, capacity: Some(300), ..calm() };
    all_right(|seed| plan(seed, conditions()), &[Fault::Silenced]);
    all_right(|seed| at_an_unlimited_rate(plan(seed, conditions())), &[]);
    all_right(|seed| with_turmoil(plan(seed, conditions())), &TURMOIL);
}

#[test]
fn altered_bytes_are_the_only_other_cause() {
    let jitter = Some(Distribution::Exponential { mean: Duration::from_millis(50) });
    let conditions = || LinkConditions {
        corrupted: 0.01,
        broken: 0.01,
        refused: 0.05,
        unanswered: 0.02,
        jitter: jitter.clone(),
        ..calm()
    };
    let totals = all_right(|seed| plan(seed, conditions()), &[Fault::Corrupted]).totals;
    assert!(totals.lost(LossCause::Altered) > 0);
    all_right(|seed| at_an_unlimited_rate(plan(seed, conditions())), &[Fault::Corrupted]);
    all_right(|seed| with_turmoil(plan(seed, conditions())), &TURMOIL);
}

#[test]
fn a_calm_network_comes_to_what_is_computed() {
    let conditions =
        LinkConditions { latency: Distribution::Constant(Duration::from_millis(20)), ..calm() };
    let mut plan = plan(1, conditions);
    Arc::make_mut(&mut plan.config).send_rate = SendRate::per_second(20);
    plan.time = Duration::from_secs(200);
    plan.sample_every = Duration::from_secs(4);
    let judge = watch(plan, &Checks::default()).1;
    // Without the beginning, in which towers get to know each other.
    let readings: Vec<_> = judge.standings.iter().zip(&judge.hops).collect();
    let is_late = |pair: &&[(&Snapshot, &u64)]| pair[0].0.at >= at(20_000);
    let pairs: Vec<_> =
        readings.windows(2).filter(is_late).filter(|pair| pair[1].0.at > pair[0].0.at).collect();
    let network = CalmNetwork {
        towers: TOWERS,
        messages: MESSAGES,
        send_rate: 20.0,
        latency: 0.02,
        ticks: Ticks::Grid,
    };
    let average = |of: fn(&Snapshot, u64) -> f64, whole: f64| {
        let samples = pairs.iter().map(|pair| {
            let [(from, hops_from), (to, hops_to)] = **pair else { panic!("two") };
            let seconds = to.at.duration_since(from.at).as_secs_f64();
            (of(to, *hops_to) - of(from, *hops_from)) / seconds / whole
        });
        Average::of(&samples.collect::<Vec<_>>()).unwrap()
    };
    let ticks = f64::from(TOWERS) * 20.0;
    let pairs_heard = f64::from(TOWERS) * f64::from(MESSAGES);
    let used = network.judge_used_share(average(|now, _| now.handed_over as f64, ticks));
    let wire = network.judge_wire(average(|now, _| now.wire_time as f64 / 1e9, 1.0));
    let heard = network.judge_heard(average(|_, hops| hops as f64, pairs_heard));
    for capacity in [used, wire, heard] {
        assert!(capacity.agrees(), "{capacity:?}");
        assert!(capacity.relative_error().abs() < 0.01, "{capacity:?}");
    }
    // Each message is heard as often as any other: the spread is at most that of chance.
    let of = |number| f64::from(judge.truth.ledger.message(MessageId(number)).1);
    let mean = (0..MESSAGES).map(of).sum::<f64>() / f64::from(MESSAGES);
    let squares: f64 = (0..MESSAGES).map(|number| (of(number) - mean).powi(2)).sum();
    let others = f64::from(MESSAGES - 1);
    let spread = squares / others / mean;
    assert!(spread < 1.0 + 3.0 * (2.0 / others).sqrt(), "{spread}");
}
