//! Each fault and each property of the network, with a few towers.

use super::*;
use crate::distribution::Distribution;
use crate::node::NewNode;
use crate::observation::Origin;
use crate::plan::{
    ContactVerb, Contacts, CrashKind, Direction, Group, LinkConditions, Partition, PartitionEffect,
    Path, Step, WithContacts,
};
use crate::roles::Roles;
use clacks_proto::{CloseReason, Config, HeldMessage, IoCause, MessageState, SendRate};

#[derive(Default)]
pub(crate) struct Witness {
    pub(crate) seen: Vec<Observation>,
}

impl NetworkObserver<Tower> for Witness {
    fn observe(&mut self, observation: &Observation) {
        self.seen.push(*observation);
    }
    fn after(&mut self, _: Instant, _: TowerId, _: &Tower, _: Option<&Tower>) {}
    fn sample(&mut self, _: &Snapshot, _: &NetworkView<'_, Tower>) {}
}

fn millis(count: u64) -> Instant {
    Instant::from_nanos(count * 1_000_000)
}

pub(super) fn reliable() -> LinkConditions {
    LinkConditions {
        latency: Distribution::Constant(Duration::from_millis(20)),
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

/// Returns a plan in which each tower knows the next one. The first tower enqueues a message after
/// a second.
pub(super) fn plan(towers: u32, conditions: LinkConditions, faults: Vec<(u64, Step)>) -> Plan {
    let mut config = Config::default();
    config.send_rate = SendRate::per_second(20);
    config.heartbeat = Some(Duration::from_secs(1));
    let start = |tower| Step::Start { tower: TowerId(tower), contacts: WithContacts::Added };
    let mut steps: Vec<_> = (0..towers).map(|tower| (millis(0), start(tower))).collect();
    steps.push((millis(1_000), Step::Enqueue { tower: TowerId(0), count: 1 }));
    steps.extend(faults.into_iter().map(|(at, step)| (millis(at), step)));
    steps.sort_by_key(|(at, _)| *at);
    Plan {
        hold: None,
        members: towers,
        files: None,
        seed: 1,
        // In clear text one link serves both directions, so less happens at once.
        keys: false,
        addresses: AddressBook::new(towers, AddressLayout::Dense, Arc::default()),
        roles: Roles::default(),
        towers,
        config: Arc::new(config),
        time: Duration::from_secs(20),
        faults_end: Instant::FAR_FUTURE,
        conditions,
        paths: Vec::new(),
        message_size: 64,
        contacts: Contacts {
            first: (0..towers).chain([towers - 1]).collect(),
            all: (1..towers).map(TowerId).collect(),
            verb: ContactVerb::Announce,
        },
        steps,
        churn: None,
        sample_every: Duration::from_secs(1),
    }
}

fn network(plan: Plan) -> Network<Tower, Witness> {
    let make = |new: NewNode| Tower::new(new.config, new.address, &new.seed).ok();
    Network::new(Arc::new(plan), Box::new(make), Witness::default())
}

/// Runs a network to its end.
pub(crate) fn run(plan: Plan) -> Network<Tower, Witness> {
    let mut network = network(plan);
    while network.step() {}
    network
}

impl Network<Tower, Witness> {
    fn count(&self, test: impl Fn(&Observed) -> bool) -> usize {
        self.observer.seen.iter().filter(|seen| test(&seen.what)).count()
    }

    fn happened(&self, fault: Fault) -> usize {
        self.count(|what| *what == Observed::Fault(fault))
    }

    /// Returns the number of different messages. Each message waits in one tower at most. Other
    /// towers that hold it have handed it over and await the confirmation.
    fn messages(&self) -> usize {
        let held = || self.nodes.iter().filter_map(Node::tower).flat_map(Tower::peek);
        let waiting: Vec<_> =
            held().filter(|held| !is_in_flight(held)).map(|held| held.nonce).collect();
        let different =
            |nonces: &[_]| nonces.iter().collect::<std::collections::BTreeSet<_>>().len();
        assert_eq!(different(&waiting), waiting.len(), "a message waits twice");
        different(&held().map(|held| held.nonce).collect::<Vec<_>>())
    }

    /// Returns what all towers hold together, each message once.
    fn contents(&self) -> Contents {
        let mut contents = Contents::default();
        let mut others = std::collections::BTreeSet::new();
        for held in self.nodes.iter().filter_map(Node::tower).flat_map(Tower::peek) {
            let number = self.numbers.number_of(held.nonce);
            let is_intact = |number: &_| {
                crate::message_numbers::message(*number, self.plan.message_size) == held.message
            };
            match number.filter(is_intact) {
                Some(number) => _ = contents.intact.insert(number),
                None => _ = others.insert((held.nonce, held.message.body().to_vec())),
            }
        }
        contents.altered = others.len();
        contents
    }

    fn status(&self, tower: usize, peer: u32) -> Option<Status> {
        let address = self.plan.addresses.address_of(TowerId(peer))?;
        self.nodes[tower].tower()?.find(&address).map(|peer| peer.status)
    }
}

/// The messages that towers hold.
#[derive(Default)]
struct Contents {
    /// The messages with the body that was enqueued.
    intact: std::collections::BTreeSet<MessageId>,
    /// The number of different other messages.
    altered: usize,
}

fn is_in_flight(held: &HeldMessage) -> bool {
    matches!(held.state, MessageState::InFlight { .. })
}

fn is_hand_over(what: &Observed) -> bool {
    matches!(what, Observed::HandedOver { .. })
}

#[test]
fn a_message_circulates_in_one_copy() {
    let network = run(plan(3, reliable(), vec![]));
    assert!(network.count(is_hand_over) > 100);
    assert_eq!(network.messages(), 1);
    for (tower, peer) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
        assert_eq!(network.status(tower, peer), Some(Status::Alive), "{tower} of {peer}");
    }
}

#[test]
fn bytes_take_the_latency_of_their_path() {
    let network = run(plan(2, reliable(), vec![]));
    let of =
        |test: fn(&Observed) -> bool| network.observer.seen.iter().find(|seen| test(&seen.what));
    let dialled = of(|what| matches!(what, Observed::Dialled { .. })).unwrap().at;
    assert_eq!(
        of(|what| matches!(what, Observed::Accepted { .. })).unwrap().at,
        dialled + Duration::from_millis(20)
    );
    assert_eq!(
        of(|what| matches!(what, Observed::Connected { .. })).unwrap().at,
        dialled + Duration::from_millis(40)
    );
}

#[test]
fn jitter_keeps_the_order_within_a_connection() {
    let jitter =
        Some(Distribution::Uniform { from: Duration::ZERO, to: Duration::from_millis(500) });
    let mut plan = plan(2, LinkConditions { jitter, ..reliable() }, vec![]);
    plan.steps.push((millis(1_001), Step::Enqueue { tower: TowerId(0), count: 30 }));
    let network = run(plan);
    let arrivals: Vec<_> = network
        .observer
        .seen
        .iter()
        .filter_map(|seen| match seen.what {
            Observed::HandedOver { arrives, .. } if seen.tower == Some(TowerId(0)) => Some(arrives),
            _ => None,
        })
        .collect();
    assert!(arrivals.len() > 30 && arrivals.is_sorted());
    // A frame out of order would violate the protocol.
    assert_eq!(network.count(|what| matches!(what, Observed::Broke { .. })), 0);
}

#[test]
fn a_bandwidth_delays_long_messages() {
    let mut plan = plan(2, LinkConditions { bandwidth: Some(1_000), ..reliable() }, vec![]);
    plan.message_size = 2_000;
    let network = run(plan);
    let (at, arrives) = network
        .observer
        .seen
        .iter()
        .find_map(|seen| match seen.what {
            Observed::HandedOver { arrives, .. } => Some((seen.at, arrives)),
            _ => None,
        })
        .unwrap();
    assert!(
        arrives.duration_since(at) >= Duration::from_millis(2_020),
        "{:?}",
        arrives.duration_since(at)
    );
}

#[test]
fn a_full_path_keeps_bytes_back_and_loses_none() {
    let mut plan = plan(2, LinkConditions { capacity: Some(100), ..reliable() }, vec![]);
    Arc::make_mut(&mut plan.config).send_rate = SendRate::per_second(1_000);
    plan.steps.push((millis(1_000), Step::Enqueue { tower: TowerId(0), count: 50 }));
    let network = run(plan);
    assert_eq!(network.messages(), 51);
    // Two messages do not fit. The next one leaves when the sender knows that the one before has
    // arrived: after 40 ms.
    let arrivals: Vec<_> = network
        .observer
        .seen
        .iter()
        .filter(|seen| seen.tower == Some(TowerId(1)))
        .filter_map(|seen| {
            matches!(seen.what, Observed::Arrived { bytes: 90.., .. }).then_some(seen.at)
        })
        .collect();
    assert!(arrivals.len() > 100);
    let gaps = arrivals.windows(2).map(|pair| pair[1].duration_since(pair[0]));
    assert!(gaps.min() >= Some(Duration::from_millis(40)), "{arrivals:?}");
}

#[test]
fn refused_dials_fail_at_once_and_unanswered_dials_time_out() {
    let network = run(plan(2, LinkConditions { refused: 1.0, ..reliable() }, vec![]));
    assert!(network.happened(Fault::Refused) > 0);
    assert!(
        network
            .count(|what| matches!(what, Observed::ConnectFailed { cause: IoCause::Refused, .. }))
            > 0
    );
    assert_eq!(network.status(0, 1), Some(Status::Lost));

    let network = run(plan(2, LinkConditions { unanswered: 1.0, ..reliable() }, vec![]));
    assert!(network.happened(Fault::Unanswered) > 0);
    assert_eq!(
        network.count(|what| matches!(
            what,
            Observed::ConnectFailed { .. } | Observed::Connected { .. }
        )),
        0
    );
    assert_eq!(network.status(0, 1), Some(Status::Lost), "the tower's own time-out");
}

#[test]
fn a_broken_connection_loses_confirmations_and_no_message() {
    let mut plan = plan(4, LinkConditions { broken: 0.2, ..reliable() }, vec![]);
    plan.steps.push((millis(1_500), Step::Enqueue { tower: TowerId(2), count: 30 }));
    let network = run(plan);
    assert!(network.happened(Fault::Broken) > 5);
    let asked_again = |what: &Observed| {
        matches!(what, Observed::HandedOver { attempt: clacks_proto::wire::Attempt::Retry, .. })
    };
    assert!(network.count(asked_again) > 0);
    let Contents { intact, altered } = network.contents();
    assert_eq!((intact.len(), altered), (31, 0), "nothing is lost or altered");
}

#[test]
fn an_altered_byte_breaks_the_connection_and_changes_no_message() {
    let mut plan = plan(3, LinkConditions { corrupted: 0.01, ..reliable() }, vec![]);
    plan.message_size = 500;
    plan.steps.push((millis(1_500), Step::Enqueue { tower: TowerId(2), count: 30 }));
    let network = run(plan);
    let alterations = network.happened(Fault::Corrupted);
    assert!(alterations > 5);
    // Both ends learn of it. The last alterations may be on their way, or hit a link that ends.
    let broken = network.count(|what| matches!(what, Observed::Broke { .. }));
    assert!(broken <= 2 * alterations && broken >= alterations, "{broken} {alterations}");
    let Contents { intact, altered } = network.contents();
    assert_eq!((intact.len(), altered), (31, 0));
}

#[test]
fn the_receiver_of_an_altered_byte_resets_the_connection() {
    let mut plan = plan(2, LinkConditions { corrupted: 0.05, ..reliable() }, vec![]);
    plan.steps.push((millis(1_500), Step::Enqueue { tower: TowerId(1), count: 5 }));
    let network = run(plan);
    let seen = &network.observer.seen;
    let corrupted = seen.iter().find(|seen| seen.what == Observed::Fault(Fault::Corrupted));
    let corrupted = corrupted.unwrap();
    let (sender, receiver) = match corrupted.tower.unwrap() {
        TowerId(0) => (TowerId(0), TowerId(1)),
        sender => (sender, TowerId(0)),
    };
    let broke = |tower, with| {
        let broke = |seen: &&Observation| {
            seen.tower == Some(tower)
                && seen.at > corrupted.at
                && seen.what == Observed::Broke { with }
        };
        seen.iter().find(broke).map(|seen| seen.at)
    };
    let latency = Duration::from_millis(20);
    assert_eq!(broke(receiver, sender), Some(corrupted.at + latency));
    assert_eq!(broke(sender, receiver), Some(corrupted.at + latency + latency));
}

#[test]
fn a_silenced_connection_times_out() {
    let mut plan = plan(2, LinkConditions { silenced: 1.0, ..reliable() }, vec![]);
    Arc::make_mut(&mut plan.config).timeouts.handshake = Duration::from_secs(2);
    let network = run(plan);
    assert!(network.happened(Fault::Silenced) > 0);
    assert_eq!(
        network.count(|what| matches!(what, Observed::Arrived { .. } | Observed::Broke { .. })),
        0
    );
    assert_eq!(network.status(0, 1), Some(Status::Lost));
}

#[test]
fn a_crashed_process_resets_its_connections_and_a_lost_machine_does_not() {
    for (how, resets) in [(CrashKind::Process, true), (CrashKind::Machine, false)] {
        let crash = Step::Crash { tower: TowerId(1), how };
        let network = run(plan(2, reliable(), vec![(900, crash)]));
        assert_eq!(network.happened(Fault::Crash), 1);
        assert_eq!(
            network.count(|what| matches!(what, Observed::Broke { .. })) > 0,
            resets,
            "{how:?}"
        );
        let refused = network.count(|what| matches!(what, Observed::ConnectFailed { .. })) > 0;
        assert_eq!(refused, resets, "{how:?}");
        assert_eq!(network.messages(), 1, "the first tower keeps its message");
    }
}

#[test]
fn a_tower_that_restarts_without_contacts_is_found_again() {
    let steps = vec![
        (3_000, Step::Crash { tower: TowerId(1), how: CrashKind::Process }),
        (6_000, Step::Start { tower: TowerId(1), contacts: WithContacts::NotAdded }),
    ];
    let mut plan = plan(3, reliable(), steps);
    plan.time = Duration::from_secs(60);
    let network = run(plan);
    assert_eq!(network.happened(Fault::Restart), 1);
    assert!(
        network.count(|what| matches!(
            what,
            Observed::StatusChanged { from: Status::Alive, to: Status::Lost, .. }
        )) > 0
    );
    assert_eq!(network.status(0, 1), Some(Status::Alive));
    assert_eq!(network.status(1, 0), Some(Status::Alive));
}

#[test]
fn a_tower_that_leaves_hands_its_queue_to_others() {
    let network = run(plan(3, reliable(), vec![(1_010, Step::Leave { tower: TowerId(0) })]));
    assert_eq!(network.count(|what| *what == Observed::Left { undelivered: 0 }), 1);
    assert_eq!(network.messages(), 1);
}

#[test]
fn a_paused_tower_does_nothing_and_then_catches_up() {
    let steps = vec![
        (5_000, Step::Pause { tower: TowerId(1) }),
        (8_000, Step::Resume { tower: TowerId(1) }),
    ];
    let network = run(plan(3, reliable(), steps));
    let meanwhile = network.observer.seen.iter().filter(|seen| {
        seen.tower == Some(TowerId(1)) && seen.at > millis(5_000) && seen.at < millis(8_000)
    });
    assert_eq!(meanwhile.count(), 0);
    assert_eq!(network.messages(), 1);
    let later = network
        .observer
        .seen
        .iter()
        .filter(|seen| seen.tower == Some(TowerId(1)) && seen.at > millis(8_000));
    assert!(later.count() > 20);
}

#[test]
fn the_application_of_a_paused_tower_acts_when_the_tower_resumes() {
    let (tower, peer) = (TowerId(0), TowerId(1));
    let steps = vec![
        (2_000, Step::Ignore { tower, peer }),
        (3_000, Step::Pause { tower }),
        (4_000, Step::Unignore { tower, peer }),
        (5_000, Step::Resume { tower }),
    ];
    let network = run(plan(2, reliable(), steps));
    let unignored = |seen: &&Observation| seen.what == Observed::Unignored { peer };
    let unignored = network.observer.seen.iter().find(unignored).map(|seen| seen.at);
    assert_eq!(unignored, Some(millis(5_000)));
    assert_eq!(network.status(0, 1), Some(Status::Alive));
}

fn change(id: u32, change: impl FnOnce(&mut LinkOverrides)) -> Step {
    Step::ChangeConditions { id, link: Box::new(LinkOverrides::with(change)) }
}

#[test]
fn overlapping_changes_of_conditions_are_combined_until_they_end() {
    let steps = vec![
        (2_000, change(3, |link| (link.refused, link.broken) = (Some(0.25), Some(0.25)))),
        (3_000, change(1, |link| link.broken = Some(0.5))),
        (4_000, Step::RestoreConditions { id: 3 }),
        (5_000, Step::RestoreConditions { id: 1 }),
    ];
    let mut plan = plan(2, reliable(), steps);
    plan.faults_end = millis(10_000);
    let mut network = network(plan);
    let mut seen = Vec::new();
    while network.step() {
        let LinkConditions { refused, broken, .. } = *network.conditions(TowerId(0), TowerId(1));
        seen.push((refused, broken));
    }
    seen.dedup();
    // The change with the higher id applies to the same field.
    assert_eq!(seen, [(0.0, 0.0), (0.25, 0.25), (0.0, 0.5), (0.0, 0.0)]);
    assert_eq!(network.happened(Fault::LinkConditions), 4);
}

#[test]
fn random_faults_stop_at_the_end_of_the_faults() {
    let mut plan = plan(4, LinkConditions { broken: 0.2, ..reliable() }, vec![]);
    plan.faults_end = millis(5_000);
    let network = run(plan);
    let broken = |seen: &&Observation| seen.what == Observed::Fault(Fault::Broken);
    let last = network.observer.seen.iter().rfind(broken).unwrap().at;
    assert!(last > millis(2_000) && last < millis(5_000), "{last}");
}

#[test]
fn overlapping_pauses_are_joined() {
    let tower = TowerId(1);
    let steps = vec![
        (2_000, Step::Pause { tower }),
        (3_000, Step::Pause { tower }),
        (4_000, Step::Resume { tower }),
        (9_000, Step::Resume { tower }),
        (10_000, Step::Resume { tower }),
    ];
    let network = run(plan(2, reliable(), steps));
    let changes = network.observer.seen.iter().filter_map(|seen| match seen.what {
        Observed::Paused | Observed::Resumed => Some((seen.at, seen.what)),
        _ => None,
    });
    assert!(changes.eq([(millis(2_000), Observed::Paused), (millis(9_000), Observed::Resumed)]));
}

#[test]
fn added_steps_are_freed() {
    let tower = TowerId(1);
    let mut network = network(plan(2, reliable(), vec![(2_000, Step::Pause { tower })]));
    let peer = TowerId(0);
    network.add_steps(vec![
        (millis(1_000), Step::Enqueue { tower, count: 1 }),
        // It waits for the end of the pause, which a crash ends.
        (millis(3_000), Step::Announce { tower, peer }),
        (millis(4_000), Step::Crash { tower, how: CrashKind::Process }),
    ]);
    assert_eq!(network.added_steps.len(), 3);
    while network.step() {}
    assert_eq!((network.happened(Fault::Crash), network.added_steps.len()), (1, 0));
}

#[test]
fn a_changed_latency_holds_for_open_connections() {
    let latency = Duration::from_millis(300);
    let steps = vec![
        (5_000, change(0, |link| link.latency = Some(Distribution::Constant(latency)))),
        (10_000, Step::RestoreConditions { id: 0 }),
    ];
    let mut plan = plan(2, reliable(), steps);
    // Only one of the towers dials.
    let config = Arc::make_mut(&mut plan.config);
    (config.contact_rate, config.claims) = (0, clacks_proto::Claims::Believe);
    let network = run(plan);
    assert_eq!(
        network.count(|what| matches!(what, Observed::Dialled { .. })),
        1,
        "one connection stays open"
    );
    let takes = |from, to| {
        let between = |seen: &&Observation| seen.at > millis(from) && seen.at < millis(to);
        let seen = network.observer.seen.iter().filter(between);
        let times = seen.filter_map(|seen| match seen.what {
            Observed::HandedOver { arrives, .. } => {
                Some(arrives.duration_since(seen.at).as_millis())
            }
            _ => None,
        });
        times.collect::<std::collections::BTreeSet<_>>().into_iter().collect::<Vec<_>>()
    };
    assert_eq!(takes(1_000, 5_000), [20]);
    assert_eq!(takes(5_000, 10_000), [300]);
    // Segments do not overtake each other.
    assert_eq!(takes(10_300, 20_000), [20]);
}

#[test]
fn a_tower_that_is_still_leaving_at_its_restart_crashes_first() {
    // The only peer is gone, so no peer takes the message.
    let steps = vec![
        (900, Step::Crash { tower: TowerId(1), how: CrashKind::Machine }),
        (2_000, Step::Leave { tower: TowerId(0) }),
        (3_000, Step::Start { tower: TowerId(0), contacts: WithContacts::Added }),
    ];
    let network = run(plan(2, reliable(), steps));
    assert_eq!((network.happened(Fault::Leave), network.happened(Fault::Restart)), (1, 1));
    assert_eq!(
        network.count(|what| matches!(what, Observed::Left { .. })),
        0,
        "the shutdown did not complete"
    );
    assert!(network.nodes[0].machine.is_some() && network.snapshot.running == 1);
}

#[test]
fn a_paused_tower_learns_of_a_flushed_close_when_it_resumes() {
    let mut plan = plan(2, LinkConditions { capacity: Some(100), ..reliable() }, vec![]);
    let config = Arc::make_mut(&mut plan.config);
    config.send_rate = SendRate::per_second(1_000);
    // Only one of the towers dials.
    (config.contact_rate, config.claims) = (0, clacks_proto::Claims::Believe);
    plan.message_size = 2_000;
    let (tower, peer) = (TowerId(0), TowerId(1));
    let steps = [
        (1_000, Step::Enqueue { tower, count: 3 }),
        // It closes a link while bytes wait for room on the path.
        (1_012, Step::Ignore { tower, peer }),
        (1_013, Step::Pause { tower }),
        (5_000, Step::Resume { tower }),
    ];
    plan.steps.extend(steps.map(|(at, step)| (millis(at), step)));
    plan.steps.sort_by_key(|(at, _)| *at);
    let network = run(plan);
    let meanwhile = network.observer.seen.iter().filter(|seen| {
        seen.tower == Some(tower) && seen.at > millis(1_013) && seen.at < millis(5_000)
    });
    assert_eq!(meanwhile.map(|seen| seen.what).collect::<Vec<_>>(), []);
    let closed = |seen: &&Observation| matches!(seen.what, Observed::Closed { .. });
    let closed = network.observer.seen.iter().find(closed).map(|seen| (seen.tower, seen.at));
    assert_eq!(closed, Some((Some(tower), millis(5_000))));
    // All that was written before the pause has left.
    let arrived = network.observer.seen.iter().filter(|seen| {
        seen.tower == Some(peer) && matches!(seen.what, Observed::Arrived { bytes: 2_000.., .. })
    });
    let arrived: Vec<_> = arrived.map(|seen| seen.at).collect();
    assert!(arrived.len() == 4 && arrived[3] < millis(5_000), "{arrived:?}");
}

#[test]
fn a_restarted_machine_resets_unknown_connections() {
    let steps = vec![
        (3_000, Step::Crash { tower: TowerId(1), how: CrashKind::Machine }),
        (3_500, Step::Start { tower: TowerId(1), contacts: WithContacts::NotAdded }),
        (4_000, Step::Enqueue { tower: TowerId(0), count: 1 }),
    ];
    let mut plan = plan(2, reliable(), steps);
    plan.time = Duration::from_secs(10);
    // Nothing is sent until then.
    Arc::make_mut(&mut plan.config).heartbeat = None;
    plan.steps.retain(|(at, step)| !(*at == millis(1_000) && matches!(step, Step::Enqueue { .. })));
    let network = run(plan);
    let broke =
        network.observer.seen.iter().find(|seen| matches!(seen.what, Observed::Broke { .. }));
    let broke = broke.map(|seen| (seen.tower, seen.at));
    let sent = network.observer.seen.iter().find(|seen| is_hand_over(&seen.what)).unwrap().at;
    assert_eq!(broke, Some((Some(TowerId(0)), sent + Duration::from_millis(40))), "at once");
    assert_eq!(network.status(1, 0), Some(Status::Alive), "the restarted tower is found again");
}

#[test]
fn a_dialler_of_a_paused_tower_learns_of_its_crash() {
    let steps = vec![
        (100, Step::Pause { tower: TowerId(1) }),
        (300, Step::Start { tower: TowerId(0), contacts: WithContacts::Added }),
        (1_000, Step::Crash { tower: TowerId(1), how: CrashKind::Process }),
    ];
    let mut plan = plan(2, reliable(), steps);
    plan.time = Duration::from_secs(2);
    plan.steps.retain(|(at, step)| {
        !(*at == millis(0) && matches!(step, Step::Start { tower: TowerId(0), .. }))
    });
    let network = run(plan);
    let broke =
        network.observer.seen.iter().find(|seen| matches!(seen.what, Observed::Broke { .. }));
    assert_eq!(broke.map(|seen| (seen.tower, seen.at)), Some((Some(TowerId(0)), millis(1_020))));
}

#[test]
fn partitions_stop_what_crosses_them_until_they_heal() {
    for how in [PartitionEffect::Silent, PartitionEffect::Reset] {
        let inside = Group::Range(0, 2);
        let partition = Partition { inside, direction: Direction::Both, how };
        let steps =
            vec![(5_000, Step::Partition { id: 7, partition }), (40_000, Step::Heal { id: 7 })];
        let mut plan = plan(4, reliable(), steps);
        plan.time = Duration::from_secs(200);
        let network = run(plan);
        assert!(network.happened(Fault::Blocked) > 0);
        let crossed = network.observer.seen.iter().filter(|seen| match (seen.tower, seen.what) {
            (Some(tower), Observed::Arrived { from, .. }) => {
                seen.at > millis(5_020) && seen.at < millis(40_000) && (tower.0 < 2) != (from.0 < 2)
            }
            _ => false,
        });
        assert_eq!(crossed.count(), 0, "{how:?}");
        for (tower, peer) in [(0, 2), (1, 3), (2, 0), (3, 1)] {
            assert_eq!(
                network.status(tower, peer),
                Some(Status::Alive),
                "{how:?}: {tower} of {peer}"
            );
        }
    }
}

#[test]
fn a_one_way_partition_stops_one_way() {
    let partition = Partition {
        inside: Group::Range(0, 1),
        direction: Direction::Out,
        how: PartitionEffect::Silent,
    };
    let network = run(plan(2, reliable(), vec![(500, Step::Partition { id: 1, partition })]));
    let from = |sender| {
        network
            .observer
            .seen
            .iter()
            .filter(|seen| {
                let Observed::Arrived { from, .. } = seen.what else { return false };
                seen.at > millis(600) && from == TowerId(sender)
            })
            .count()
    };
    assert_eq!(from(0), 0);
    assert!(from(1) > 0, "heartbeats of the other one still come");
}

#[test]
fn a_cut_breaks_every_connection_of_a_tower() {
    let network = run(plan(2, reliable(), vec![(3_000, Step::Cut { tower: TowerId(0) })]));
    assert!(network.happened(Fault::Cut) > 0);
    assert_eq!(
        network.count(|what| matches!(what, Observed::Broke { .. })),
        2 * network.happened(Fault::Cut)
    );
    assert_eq!(network.messages(), 1);
}

#[test]
fn a_path_has_its_own_conditions() {
    let mut plan = plan(2, reliable(), vec![]);
    let conditions = LinkConditions {
        latency: Distribution::Constant(Duration::from_millis(300)),
        ..reliable()
    };
    let (from, to) = (Group::These(Arc::from([0])), Group::All);
    plan.paths.push(Path { from, to, conditions: conditions.into() });
    let network = run(plan);
    let takes = |tower| {
        network.observer.seen.iter().find_map(|seen| match seen.what {
            Observed::HandedOver { arrives, .. } if seen.tower == Some(TowerId(tower)) => {
                Some(arrives.duration_since(seen.at))
            }
            _ => None,
        })
    };
    assert_eq!(takes(0), Some(Duration::from_millis(300)));
    assert_eq!(takes(1), Some(Duration::from_millis(20)));
}

#[test]
fn towers_prove_their_keys_and_keep_them_in_the_next_life() {
    for keys in [true, false] {
        let steps = vec![
            (3_000, Step::Crash { tower: TowerId(1), how: CrashKind::Process }),
            (4_000, Step::Start { tower: TowerId(1), contacts: WithContacts::Added }),
        ];
        let mut plan = plan(3, reliable(), steps);
        plan.keys = keys;
        let network = run(plan);
        let identities: Vec<_> =
            network.nodes.iter().map(|node| node.tower().unwrap().identity()).collect();
        for (number, node) in (0..).zip(&network.nodes) {
            let tower = node.tower().unwrap();
            assert_eq!(tower.identity().is_some(), keys);
            for peer in tower.survey() {
                let peer_number = network.plan.addresses.tower_at(&peer.address).unwrap().0;
                assert_eq!(peer.fingerprint, identities[peer_number as usize], "{number}");
                assert_eq!(peer.status, Status::Alive);
            }
        }
    }
}

#[test]
fn dials_to_addresses_without_a_tower_fail_as_the_address_book_says() {
    let mut plan = plan(2, reliable(), vec![]);
    plan.time = Duration::from_secs(15);
    plan.steps.truncate(2);
    let make = |new: NewNode| {
        let mut tower = Tower::new(new.config, new.address, &new.seed).ok()?;
        for kind in [NameKind::Silent, NameKind::Refusing, NameKind::Sybil] {
            let address = address(made_up(kind, 0, 1, 7))?;
            tower.announce(&address, Instant::ORIGIN).ok()?;
        }
        tower.announce(&"12.0.0.1:8001".parse().ok()?, Instant::ORIGIN).ok()?;
        Some(tower)
    };
    let mut network = Network::new(Arc::new(plan), Box::new(make), Witness::default());
    while network.step() {}
    let failed = |cause| {
        let first = network.observer.seen.iter().find(|seen| {
            seen.tower == Some(TowerId(0))
                && seen.what == Observed::ConnectFailed { to: None, cause }
        });
        first.map(|seen| seen.at)
    };
    assert_eq!(failed(IoCause::Unreachable), Some(millis(0)));
    assert_eq!(failed(IoCause::Refused), Some(millis(20)));
    let timed_out = network.count(|what| match what {
        Observed::LinkClosed { reason, .. } => *reason == CloseReason::ConnectTimeout,
        _ => false,
    });
    assert!(timed_out >= 2, "one for each tower: {timed_out}");
}

#[test]
fn messages_that_a_node_enqueues_by_itself_have_numbers() {
    let mut plan = plan(2, reliable(), vec![]);
    plan.steps.truncate(2);
    let make = |new: NewNode| {
        let mut tower = Tower::new(new.config, new.address, &new.seed).ok()?;
        for _ in 0..5 {
            tower.enqueue(clacks_proto::Message::bytes(b"own"), Instant::ORIGIN).ok()?;
        }
        Some(tower)
    };
    let mut network = Network::new(Arc::new(plan), Box::new(make), Witness::default());
    while network.step() {}
    assert_eq!(network.count(|what| matches!(what, Observed::Enqueued { .. })), 10);
    assert!(network.count(is_hand_over) > 10);
    assert_eq!(network.count(|what| matches!(what, Observed::HandedOver { message: None, .. })), 0);
}

#[test]
fn an_ignored_tower_is_left_alone_until_it_is_unignored() {
    let (tower, peer) = (TowerId(0), TowerId(1));
    let steps =
        vec![(3_000, Step::Ignore { tower, peer }), (9_000, Step::Unignore { tower, peer })];
    let network = run(plan(2, reliable(), steps));
    let between = network.observer.seen.iter().filter(|seen| {
        let is_meanwhile = seen.at > millis(3_200) && seen.at < millis(9_000);
        is_meanwhile
            && seen.tower == Some(tower)
            && matches!(seen.what, Observed::Dialled { .. } | Observed::HandedOver { .. })
    });
    assert_eq!(between.count(), 0);
    assert_eq!(network.status(0, 1), Some(Status::Alive));
}

#[test]
fn clocks_that_jump_or_drift_lose_no_message() {
    let clock = |tower, step, drift_ppm| Step::Clock { tower: TowerId(tower), step, drift_ppm };
    let steps = vec![
        (4_000, clock(0, 5_000_000_000, 0)),
        (6_000, clock(1, -2_000_000_000, 0)),
        (7_000, clock(2, 0, 200_000)),
    ];
    let network = run(plan(3, reliable(), steps));
    assert_eq!((network.happened(Fault::ClockStep), network.happened(Fault::ClockDrift)), (2, 1));
    assert_eq!(network.messages(), 1);
    // The tower with the fast clock ticks faster.
    let heartbeats = network.count(is_hand_over);
    assert!(heartbeats > 50, "{heartbeats}");
}

#[test]
fn churn_stops_and_restarts_towers_until_it_ends() {
    let mut plan = plan(8, reliable(), vec![]);
    plan.time = Duration::from_secs(120);
    plan.churn = Some(crate::plan::Churn {
        towers: Group::Range(2, 8),
        from: millis(2_000),
        until: millis(60_000),
        session: Distribution::Exponential { mean: Duration::from_secs(8) },
        absence: Distribution::Exponential { mean: Duration::from_secs(4) },
        graceful: 0.5,
        contacts: WithContacts::Added,
    });
    let network = run(plan);
    assert!(network.happened(Fault::Crash) > 3 && network.happened(Fault::Leave) > 3);
    assert!(network.happened(Fault::Restart) > 6);
    assert_eq!(network.snapshot.running, 8, "all towers are back");
}

#[test]
fn a_run_follows_from_its_plan_and_its_seed() {
    let seen = |seed| {
        let mut plan =
            plan(4, LinkConditions { broken: 0.1, corrupted: 0.02, ..reliable() }, vec![]);
        plan.seed = seed;
        run(plan).observer.seen
    };
    assert!(seen(1) == seen(1));
    assert!(seen(1) != seen(2));
}

#[test]
fn messages_on_the_wire_are_counted_until_they_arrive() {
    let mut network = run(plan(3, reliable(), vec![]));
    let snapshot = network.snapshot();
    let flights: u128 = network.count(is_hand_over) as u128;
    // Each takes 20 ms. The last one may be on its way.
    let expected = flights * 20_000_000;
    assert!(snapshot.wire_time <= expected && snapshot.wire_time + 20_000_000 >= expected);
    assert!(
        network.count(|what| matches!(what, Observed::Queued { origin: Origin::Peer, .. })) > 0
    );
}
