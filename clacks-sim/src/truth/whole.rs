//! Real towers in a faulty network, watched from the first event to the last.

use std::sync::Arc;
use std::time::Duration;

use clacks_proto::{Config, Instant, SendRate, StateMachine, Tower};

use super::{Body, Checks, Holding, Liveness, LossCause, Place, Truth, Verdict};
use crate::distribution::Distribution;
use crate::names;
use crate::occurrence::{Fault, Occurrence, TowerId};
use crate::plan::{
    Churn, ContactVerb, Contacts, Death, Direction, Group, Partition, Plan, Severance, Step,
    Weather, WithContacts,
};
use crate::world::{Census, Standing, Watch, World};

struct Judge(Truth);

impl Judge {
    fn audit(&mut self, at: Instant, world: &Census<'_, Tower>) {
        for (number, tower) in world.running() {
            let memory: Vec<_> = tower.peek().map(|held| holding(tower, &held, world)).collect();
            self.0.audit(at, number, memory);
        }
    }
}

fn holding(tower: &Tower, held: &clacks_proto::Held, world: &Census<'_, Tower>) -> Holding {
    let message = world.names().number_of(held.nonce);
    let size = held.message.body().len();
    let is_intact = message.is_some_and(|message| names::message(message, size) == held.message);
    let place = match held.in_flight {
        Some(peer) => {
            let peer = tower.peer(peer);
            Place::InFlight(peer.and_then(|peer| world.tower_at(peer.address)))
        }
        None => Place::Waiting,
    };
    Holding { message, place, body: if is_intact { Body::Intact } else { Body::Altered } }
}

impl Watch<Tower> for Judge {
    fn see(&mut self, occurrence: &Occurrence) {
        if let Some((m, t)) = std::env::var("TRACE")
            .ok()
            .as_deref()
            .and_then(|s| s.split_once(':'))
            .map(|(m, t)| (m.to_owned(), t.to_owned()))
        {
            let text = format!("{:?}", occurrence.what);
            if text.contains(&format!("message: Some(MessageId({m}))"))
                || occurrence.tower == t.parse().ok().map(TowerId)
                    && (text.starts_with("LinkCl")
                        || text.starts_with("Start")
                        || text.starts_with("Crash")
                        || text.starts_with("Left")
                        || text.starts_with("Forgot"))
            {
                println!(
                    "T {} {:?} {}",
                    occurrence.at,
                    occurrence.tower.map(|t| t.0),
                    text.replace("MessageId", "").replace("TowerId", "")
                );
            }
        }
        let before = self.0.violations();
        self.0.see(occurrence);
        if std::env::var("TRACE").is_ok() && self.0.violations() > before {
            println!("   ^^^");
        }
    }

    fn after(&mut self, at: Instant, tower: TowerId, machine: &Tower) {
        self.0.after(at, tower, machine.tower());
    }

    fn sample(&mut self, standing: &Standing, world: &Census<'_, Tower>) {
        self.audit(standing.at, world);
    }
}

fn calm() -> Weather {
    Weather {
        latency: Distribution::Uniform {
            from: Duration::from_millis(5),
            to: Duration::from_millis(90),
        },
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

fn at(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

/// Twelve towers that know the first one, and sixty messages.
fn plan(seed: u64, weather: Weather, steps: Vec<(u64, Step)>) -> Plan {
    let towers = 12;
    let mut config = Config::default();
    config.send_rate = SendRate::per_second(20);
    config.heartbeat = Some(Duration::from_secs(1));
    config.timeouts.confirm = Duration::from_secs(3);
    config.timeouts.idle = Duration::from_secs(5);
    let contacts = WithContacts::Told;
    let starts = (0..towers).map(|tower| (0, Step::Start { tower: TowerId(tower), contacts }));
    let messages =
        (0..towers).map(|tower| (1_000, Step::Enqueue { tower: TowerId(tower), count: 5 }));
    let mut steps: Vec<_> =
        starts.chain(messages).chain(steps).map(|(millis, step)| (at(millis), step)).collect();
    steps.sort_by_key(|(at, _)| *at);
    Plan {
        seed,
        towers,
        config: Arc::new(config),
        time: Duration::from_secs(60),
        calm_from: Instant::ORIGIN,
        weather,
        paths: Vec::new(),
        message_size: 64,
        contacts: Contacts {
            first: [0].into_iter().chain(0..towers).collect(),
            all: vec![TowerId(0); towers as usize - 1],
            verb: ContactVerb::Announce,
        },
        steps,
        churn: None,
        sample_every: Duration::from_secs(1),
    }
}

fn judge(plan: Plan, checks: Checks) -> Verdict {
    let make = |config: Arc<Config>, address, seed: &_| Tower::new(config, address, seed).ok();
    let truth = Truth::new(&plan, checks);
    let end = at(u64::try_from(plan.time.as_millis()).unwrap());
    let mut world = World::new(Arc::new(plan), Box::new(make), Judge(truth));
    while world.step() {}
    world.sample();
    let census = world.census();
    let running: Vec<_> = census.running().collect();
    let numbers: Vec<_> = running.iter().map(|(number, _)| *number).collect();
    let of = |number| running.iter().find(|(other, _)| *other == number).unwrap().1;
    let peers: Vec<Vec<_>> = numbers.iter().map(|one| census.peers(of(*one)).collect()).collect();
    let truth = &mut world.watch.0;
    if truth.checks.liveness == Liveness::Promised {
        let of = |one| peers[numbers.iter().position(|other| *other == one).unwrap()].clone();
        truth.judge_liveness(end, &numbers, of);
    }
    truth.finish(end)
}

fn right(seed: u64, plan: Plan, faults: &[Fault]) -> Verdict {
    let checks = Checks { faults: faults.to_vec(), ..Checks::default() };
    let verdict = judge(plan, checks);
    assert!(verdict.violations.is_empty(), "seed {seed}: {:#?}", verdict.violations);
    assert!(verdict.totals.hops > 1_000 && verdict.totals.audits > 100, "{:?}", verdict.totals);
    verdict
}

#[test]
fn fuzz() {
    let n: u64 = std::env::var("FUZZ").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    let mut kinds = std::collections::BTreeMap::new();
    let from: u64 = std::env::var("FROM").ok().and_then(|n| n.parse().ok()).unwrap_or(0);
    let only = std::env::var("ONLY").ok();
    for seed in from..from + n {
        for (name, weather, fault) in [
            ("calm", calm(), None),
            ("broken", Weather { broken: 0.02, ..calm() }, Some(Fault::Broken)),
            ("silenced", Weather { silenced: 0.005, ..calm() }, Some(Fault::Silenced)),
            ("corrupted", Weather { corrupted: 0.01, ..calm() }, Some(Fault::Corrupted)),
            (
                "capacity",
                Weather { capacity: Some(300), broken: 0.02, silenced: 0.003, ..calm() },
                None,
            ),
            (
                "all",
                Weather {
                    broken: 0.01,
                    silenced: 0.003,
                    refused: 0.05,
                    unanswered: 0.02,
                    corrupted: 0.005,
                    jitter: Some(Distribution::Exponential { mean: Duration::from_millis(50) }),
                    ..calm()
                },
                None,
            ),
        ] {
            for churn in [false, true] {
                for unlimited in [false, true] {
                    if only.as_ref().is_some_and(|o| *o != format!("{name},{churn},{unlimited}")) {
                        continue;
                    }
                    let mut steps = vec![];
                    if churn {
                        for k in 0..4u64 {
                            let tower = TowerId(((seed + k * 5) % 12) as u32);
                            let peer = TowerId(((seed + k * 5 + 3) % 12) as u32);
                            steps.push((5_000 + 7_000 * k, Step::Pause { tower }));
                            steps.push((11_000 + 7_000 * k, Step::Resume { tower }));
                            steps.push((6_000 + 7_000 * k, Step::Cut { tower: peer }));
                            steps.push((
                                7_000 + 7_000 * k,
                                Step::Crash {
                                    tower: peer,
                                    how: if k % 2 == 0 { Death::Process } else { Death::Machine },
                                },
                            ));
                            steps.push((
                                9_000 + 7_000 * k,
                                Step::Start { tower: peer, contacts: WithContacts::Told },
                            ));
                            let far = TowerId(((seed + k * 5 + 6) % 12) as u32);
                            steps.push((
                                8_000 + 7_000 * k,
                                Step::Ignore { tower: far, peer: TowerId((far.0 + 1) % 12) },
                            ));
                            steps.push((
                                14_000 + 7_000 * k,
                                Step::Heed { tower: far, peer: TowerId((far.0 + 1) % 12) },
                            ));
                            steps.push((
                                8_500 + 7_000 * k,
                                Step::Clock {
                                    tower: far,
                                    step: (k as i64 - 2) * 1_500_000_000,
                                    drift_ppm: (k as i32 - 1) * 100_000,
                                },
                            ));
                        }
                        let partition = Partition {
                            inside: Group::Range(0, 4),
                            direction: if seed % 2 == 0 { Direction::Both } else { Direction::Out },
                            how: if seed % 3 == 0 { Severance::Silent } else { Severance::Reset },
                        };
                        steps.push((20_000, Step::Part { id: 1, partition }));
                        steps.push((30_000, Step::Heal { id: 1 }));
                    }
                    let mut plan = plan(seed, weather.clone(), steps);
                    if unlimited {
                        let c = Arc::make_mut(&mut plan.config);
                        c.send_rate = SendRate::Unlimited;
                        plan.time = Duration::from_secs(8);
                        if churn {
                            continue;
                        }
                    }
                    if churn {
                        plan.churn = Some(Churn {
                            towers: Group::Range(5, 11),
                            from: at(2_000),
                            until: at(45_000),
                            session: Distribution::Exponential { mean: Duration::from_secs(8) },
                            absence: Distribution::Exponential { mean: Duration::from_secs(4) },
                            graceful: 0.5,
                            contacts: WithContacts::Told,
                        });
                    }
                    let checks =
                        Checks { faults: fault.into_iter().collect(), ..Checks::default() };
                    let verdict = judge(plan, checks);
                    let t = verdict.totals;
                    println!(
                        "{seed} {name} churn={churn} unlimited={unlimited} hops {} alive {} lost {:?} dup {:?} coal {} copies {} audits {}",
                        t.hops,
                        t.alive,
                        LossCause::ALL.map(|c| t.lost(c)),
                        super::DuplicationCause::ALL.map(|c| t.duplicated(c)),
                        t.coalesced,
                        t.copies,
                        t.audits
                    );
                    for v in verdict.violations.iter().take(4) {
                        println!("   !! {v}");
                    }
                    *kinds.entry((name, churn, unlimited)).or_insert(0) +=
                        verdict.counts.iter().map(|c| c.1).sum::<u64>();
                }
            }
        }
    }
    println!("{kinds:#?}");
}
