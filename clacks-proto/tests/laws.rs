//! The laws of the core. Each test names its law. Laws 8 and 9 limit memory; most of their tests
//! are in `memory.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::BufMut;
use clacks_proto::{
    Action, Config, Event, Instant, IoCause, LinkId, Message, Notice, Screening, Seed, SendRate,
    StateMachine, Status, Tower, Verdict, WakeupReason,
};
use common::{LOCAL, Network, address, fast_config, network, seconds, tower};
use proptest::prelude::*;

/// An FNV-1a hash of a trace. It is written out here so that the golden value depends on this file
/// only.
struct Trace(u64);

impl Trace {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// Runs five towers through gossip, a crash and a restart, reset links, an ignored peer and a
/// shutdown. Returns the hash of all actions and of the final state.
fn eventful_run(seed: u64) -> u64 {
    let mut config = fast_config();
    config.heartbeat = Some(seconds(2));
    let build = |n: usize| {
        Tower::new(config.clone(), address(n), &Seed::from_u64(seed + n as u64)).unwrap()
    };
    let mut network = Network::new((0..5).map(build));
    for n in 1..5 {
        network.announce(n, 0);
    }
    for n in 0..20 {
        network.enqueue(n % 5, &format!("message {n}"));
    }
    network.advance(seconds(5));
    network.crash(4);
    network.advance(seconds(5));
    network.towers[4] = Some(build(4));
    network.reset_connections(0, 1);
    network.with(2, |tower, now| tower.ignore(&address(3), now)).unwrap();
    network.advance(seconds(20));
    network.with(1, Tower::shutdown);
    network.advance(seconds(20));
    let mut trace = Trace(0xcbf2_9ce4_8422_2325);
    for (n, action) in &network.actions {
        trace.add(format!("{n} {action:?}\n").as_bytes());
    }
    for n in 0..5 {
        trace.add(format!("{:?}{:?}", network.tower(n).stats(), network.texts(n)).as_bytes());
        network.tower(n).survey().for_each(|peer| trace.add(format!("{peer:?}").as_bytes()));
    }
    trace.0
}

#[test]
fn law_1_the_same_seed_gives_the_same_trace() {
    assert_eq!(eventful_run(1), eventful_run(1), "the same seed gives the same trace");
    assert_ne!(eventful_run(1), eventful_run(2), "another seed gives another trace");
    // This value changes with the behaviour and with the Debug form of actions. Find the cause
    // before you update it.
    assert_eq!(
        eventful_run(1),
        4024233795256082467,
        "the behaviour or the Debug form of an action has changed"
    );
}

#[test]
fn law_2_draws_of_nonces_do_not_change_the_draws_of_recipients() {
    // Every enqueued message draws a nonce. The first recipients must not depend on the number of
    // these draws.
    let recipients = |messages: usize| {
        let mut config = fast_config();
        config.send_rate = SendRate::per_second(1);
        let mut network = network(6, &config);
        (1..6).for_each(|other| network.expand(0, other));
        (0..messages).for_each(|n| network.enqueue(0, &format!("{n}")));
        network.advance(seconds(20));
        let dialled = network.actions.iter().filter_map(|(n, action)| match action {
            Action::Connect { address, .. } if *n == 0 => Some(address.clone()),
            _ => None,
        });
        dialled.take(5).collect::<Vec<_>>()
    };
    assert_eq!(recipients(10).len(), 5);
    assert_eq!(recipients(10), recipients(50));
}

/// One call of the driver or the application, valid or not. Links are numbered from the newest one.
#[derive(Clone, Debug)]
enum Step {
    Bytes(usize, Vec<u8>),
    Frame(usize, usize),
    Connected(usize),
    ConnectFailed(usize),
    Finished(usize),
    Lost(usize),
    Closed(usize),
    Timer(u64),
    Accept,
    Enqueue(usize),
    Expand(usize),
    Ignore(usize),
    Transmit(usize, usize),
    Poll(usize),
    Decide(usize),
    Shutdown,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let link = 0usize..12;
    let step = prop_oneof![
        2 => (link.clone(), proptest::collection::vec(any::<u8>(), 0..40))
            .prop_map(|(l, b)| Step::Bytes(l, b)),
        12 => (link.clone(), 0usize..12).prop_map(|(l, f)| Step::Frame(l, f)),
        4 => link.clone().prop_map(Step::Connected),
        1 => link.clone().prop_map(Step::ConnectFailed),
        1 => link.clone().prop_map(Step::Finished),
        1 => link.clone().prop_map(Step::Lost),
        2 => link.clone().prop_map(Step::Closed),
        4 => (0u64..20_000).prop_map(Step::Timer),
        4 => Just(Step::Accept),
        4 => (0usize..200).prop_map(Step::Enqueue),
        3 => (0usize..8).prop_map(Step::Expand),
        1 => (0usize..8).prop_map(Step::Ignore),
        4 => (link, 0usize..300).prop_map(|(l, n)| Step::Transmit(l, n)),
        3 => (0usize..10).prop_map(Step::Poll),
        2 => (0usize..5).prop_map(Step::Decide),
        1 => Just(Step::Shutdown),
    ];
    proptest::collection::vec(step, 0..300)
}

/// Returns one of 12 frames that a peer may send.
fn encoded_frame(number: usize) -> Vec<u8> {
    use clacks_proto::wire::{
        AnnounceFrame, Farewell, Frame, Hello, MessageFrame, RefusedReason, TransferId, VERSION,
    };
    let hello = |incarnation: u64, n: usize| {
        Frame::Hello(Hello {
            version: VERSION,
            incarnation,
            link: 9,
            max_message: 1000,
            window: clacks_proto::Window { messages: 2, bytes: 1000 },
            datagram: 0,
            network: "clacks",
            address: Some(address(n)),
            rest: &[],
        })
    };
    let first = TransferId { link: 9, number: std::num::NonZeroU64::MIN };
    let message = |transfer, retry_of, nonce| {
        Frame::Message(MessageFrame {
            transfer,
            retry_of,
            lifetime: clacks_proto::Lifetime::UNLIMITED,
            nonce: clacks_proto::Nonce(nonce),
            kind: clacks_proto::Kind::Text,
            friend: Some(address(5)),
            body: b"a message",
        })
    };
    let frame = match number {
        0 | 1 => hello(7, 1),
        2 => hello(8, 2),
        3 => message(1, None, 1),
        4 => message(2, Some(first), 1),
        5 => message(3, None, 2),
        6 => Frame::Announce(AnnounceFrame { transfer: 1, friends: vec![address(6)] }),
        7 => Frame::Confirmed { through: 1 },
        8 => Frame::Confirmed { through: 2 },
        9 => Frame::Refused { transfer: 1, reason: RefusedReason::Busy },
        10 => Frame::Refused { transfer: 2, reason: RefusedReason::Ignored },
        _ => Frame::Goodbye { farewell: Farewell::Idle },
    };
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    bytes
}

fn handle(tower: &mut Tower, event: Event<'_>, now: Instant) {
    tower.handle(event, now);
}

/// Applies the steps to a new tower and calls `check` after each step. The steps keep the contract
/// of the driver only by chance.
fn apply_steps(steps: &[Step], check: &mut dyn FnMut(&Tower)) -> Tower {
    let mut config = fast_config();
    config.max_links = 6;
    config.max_unproved = 4;
    config.max_peers = 4;
    config.max_queue_messages = 8;
    config.max_queue_bytes = 1_000;
    config.max_message = 500;
    config.max_pending_notices = 16;
    config.screening = Screening::On {
        max_offers: 2,
        timeout: seconds(1),
        default: clacks_proto::DefaultVerdict::Accept,
    };
    let mut tower = tower(0, &config);
    let mut links: Vec<LinkId> = Vec::new();
    let mut offers = Vec::new();
    let mut now = Instant::ORIGIN;
    for step in steps {
        let link = |n: &usize| links.get(links.len().saturating_sub(1 + n)).copied();
        match step {
            Step::Bytes(n, bytes) => {
                if let Some(link) = link(n) {
                    tower.handle(Event::BytesArrived { link, bytes }, now);
                }
            }
            Step::Frame(n, number) => {
                if let Some(link) = link(n) {
                    let bytes = encoded_frame(*number);
                    tower.handle(Event::BytesArrived { link, bytes: &bytes }, now);
                }
            }
            Step::Connected(n) => link(n)
                .into_iter()
                .for_each(|link| handle(&mut tower, Event::Connected { link, at: None }, now)),
            Step::ConnectFailed(n) => link(n).into_iter().for_each(|link| {
                tower.handle(Event::ConnectFailed { link, cause: IoCause::Refused }, now);
            }),
            Step::Finished(n) => {
                link(n)
                    .into_iter()
                    .for_each(|link| handle(&mut tower, Event::Finished { link }, now));
            }
            Step::Lost(n) => link(n).into_iter().for_each(|link| {
                tower.handle(Event::Lost { link, cause: IoCause::Reset }, now);
            }),
            Step::Closed(n) => {
                link(n)
                    .into_iter()
                    .for_each(|link| handle(&mut tower, Event::Closed { link }, now));
            }
            Step::Timer(millis) => {
                now = now + Duration::from_millis(*millis);
                tower.handle(Event::TimerFired, now);
            }
            Step::Accept => links.extend(tower.accept(LOCAL, now)),
            Step::Enqueue(len) => drop(tower.enqueue(Message::bytes(&vec![7; *len]), now)),
            Step::Expand(n) => drop(tower.announce(&address(*n), now)),
            Step::Ignore(n) => {
                let _ = tower.ignore(&address(*n), now);
                tower.unignore(&address(n + 1), now);
            }
            Step::Transmit(n, room) => {
                if let Some(link) = link(n) {
                    let mut out = Vec::new();
                    assert!(tower.transmit(link, &mut (&mut out).limit(*room)) <= *room);
                }
            }
            Step::Poll(count) => {
                for _ in 0..*count {
                    match tower.poll_action() {
                        Some(Action::Connect { link, .. }) => links.push(link),
                        Some(Action::Screen { offer, .. }) => offers.push(offer),
                        _ => {}
                    }
                }
            }
            Step::Decide(n) => {
                let verdict = match n {
                    0 => Verdict::ACCEPT,
                    1 => Verdict::Replace(Message::text("another")),
                    2 => Verdict::Swallow,
                    _ => Verdict::Reject,
                };
                if let Some(offer) = offers.pop() {
                    let _ = tower.decide(offer, verdict, now);
                }
            }
            Step::Shutdown => tower.shutdown(now),
        }
        check(&tower);
    }
    tower
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(
        std::env::var("CLACKS_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(300)
    ))]

    #[test]
    fn law_3_and_10_no_sequence_of_calls_panics_or_exceeds_a_limit(steps in steps()) {
        apply_steps(&steps, &mut |tower| {
            let (messages, bytes) = common::queue_usage(tower);
            assert!(messages <= 8 && bytes <= 1_000, "law 8: the queue is bounded");
            assert!(
                tower.links().count() <= 6 && tower.survey().count() <= 4,
                "law 8: links and peers are bounded"
            );
        });
    }

    #[test]
    fn law_7_a_tower_holds_every_message_until_a_peer_confirms_it(steps in steps()) {
        apply_steps(&steps, &mut |tower| {
            let stats = tower.stats();
            let held = tower.queue_usage().messages as u64;
            // A stored message that no peer has confirmed is still held. The surplus consists of
            // copies that arrived while the message was in flight, and of at most two messages
            // under screening.
            let stored = stats.enqueued + stats.received - stats.coalesced;
            assert!(held + stats.delivered >= stored, "{stats:?} {held}");
            assert!(held + stats.delivered <= stored + stats.coalesced + 2, "{stats:?} {held}");
        });
    }
}

#[test]
fn law_3_an_event_for_an_ended_link_is_only_counted() {
    let mut tower = tower(0, &fast_config());
    let now = Instant::ORIGIN;
    let link = tower.accept(LOCAL, now).unwrap();
    tower.handle(Event::Closed { link }, now);
    while tower.poll_action().is_some() {}
    let before = *tower.stats();
    let events = [
        Event::Connected { link, at: None },
        Event::ConnectFailed { link, cause: IoCause::Other },
        Event::BytesArrived { link, bytes: b"x" },
        Event::Finished { link },
        Event::Lost { link, cause: IoCause::Other },
        Event::Closed { link },
    ];
    for (event, count) in events.into_iter().zip(1..) {
        tower.handle(event, now);
        assert_eq!(tower.stats().stale_events, before.stale_events + count, "{event:?}");
    }
    assert_eq!(tower.poll_action(), None);
    assert_eq!(tower.transmit(link, &mut Vec::new()), 0);
}

#[test]
fn law_4_late_polling_loses_no_action() {
    // Run the same calls with different intervals between polls.
    let run = |drain_every: usize| {
        let mut tower = tower(0, &fast_config());
        let mut actions = Vec::new();
        for n in 0..30 {
            let now = Instant::ORIGIN + Duration::from_millis(n as u64);
            match n % 3 {
                0 => drop(tower.enqueue(Message::text("x"), now)),
                1 => drop(tower.expand(&address(1 + n), now)),
                _ => drop(tower.accept(LOCAL, now)),
            }
            assert_eq!(
                tower.next_wakeup().map(|w| (w.at <= now, w.reason)),
                Some((true, WakeupReason::Actions))
            );
            if n % drain_every == 0 {
                actions.extend(tower.poll_action());
            }
            if n % (2 * drain_every) == 0 {
                actions.extend(std::iter::from_fn(|| tower.poll_action()));
            }
        }
        actions.extend(std::iter::from_fn(|| tower.poll_action()));
        assert!(tower.next_wakeup().is_none_or(|wakeup| wakeup.reason != WakeupReason::Actions));
        actions
    };
    let polled_often = run(1);
    assert!(polled_often.len() >= 30, "{}", polled_often.len());
    assert_eq!(polled_often, run(5));
    assert_eq!(polled_often, run(29));
}

#[test]
fn law_5_one_terminal_event_frees_the_slot_and_no_link_id_is_reused() {
    let mut config = fast_config();
    config.max_links = 2;
    config.max_unproved = 1;
    let mut tower = tower(0, &config);
    let mut now = Instant::ORIGIN;
    let mut seen = BTreeSet::new();
    for round in 0..50 {
        now = now + seconds(1);
        let link = tower.accept(LOCAL, now).unwrap();
        assert!(seen.insert(link), "round {round} reuses {link:?}");
        tower.handle(Event::BytesArrived { link, bytes: b"GET / HTTP/1.1\r\n\r\n" }, now);
        let closes = std::iter::from_fn(|| tower.poll_action()).filter(
            |action| matches!(action, Action::Close { link: closed, .. } if *closed == link),
        );
        assert_eq!(closes.count(), 1);
        // The slot is occupied until the terminal event.
        assert_eq!(tower.links().count(), 1);
        tower.handle(Event::Closed { link }, now);
        assert_eq!(tower.links().count(), 0);
        let stale = tower.stats().stale_events;
        tower.handle(Event::Lost { link, cause: IoCause::Reset }, now);
        assert_eq!(tower.stats().stale_events, stale + 1, "a second terminal event is stale");
    }
}

#[test]
fn law_5_pending_actions_of_an_ended_link_are_dropped() {
    let mut config = fast_config();
    config.max_links = 2;
    config.max_unproved = 1;
    let mut tower = tower(0, &config);
    let now = Instant::ORIGIN;
    let first = tower.accept(LOCAL, now).unwrap();
    tower.handle(Event::Lost { link: first, cause: IoCause::Reset }, now);
    let second = tower.accept(LOCAL, now).unwrap();
    assert_eq!(first.index(), second.index(), "the second link reuses the slot");
    let named: Vec<_> = std::iter::from_fn(|| tower.poll_action())
        .filter_map(|action| match action {
            Action::Send { link } => Some(link),
            _ => None,
        })
        .collect();
    assert_eq!(named, [second], "the pending Send of the first link is dropped");
}

#[test]
fn law_6_deadlines_fire_only_on_timer_events_and_time_never_goes_back() {
    let mut tower = tower(0, &fast_config());
    let late = Instant::ORIGIN + seconds(3600);
    let link = tower.accept(LOCAL, Instant::ORIGIN).unwrap();
    while tower.poll_action().is_some() {}
    // Other calls an hour later do not fire the handshake timeout.
    tower.enqueue(Message::text("x"), late).unwrap();
    tower.handle(Event::BytesArrived { link, bytes: &[] }, late);
    assert!(!std::iter::from_fn(|| tower.poll_action()).any(|a| matches!(a, Action::Close { .. })));
    // A timer event with an earlier time does not set the clock back.
    let second = tower.accept(LOCAL, late).unwrap();
    tower.handle(Event::TimerFired, Instant::ORIGIN);
    let closed: Vec<_> = std::iter::from_fn(|| tower.poll_action())
        .filter_map(|action| match action {
            Action::Close { link, .. } => Some(link),
            _ => None,
        })
        .collect();
    assert_eq!(closed, [link], "only the first link has reached its handshake timeout");
    for nanos in [1, 5_000_000_000, 9_999_999_999] {
        tower.handle(Event::TimerFired, late + Duration::from_nanos(nanos));
    }
    assert!(
        !std::iter::from_fn(|| tower.poll_action())
            .any(|a| matches!(a, Action::Close { link, .. } if link == second))
    );
    tower.handle(Event::TimerFired, late + seconds(10));
    assert!(
        std::iter::from_fn(|| tower.poll_action())
            .any(|a| matches!(a, Action::Close { link, .. } if link == second))
    );
    tower.handle(Event::TimerFired, Instant::FAR_FUTURE);
    tower.handle(Event::TimerFired, Instant::FAR_FUTURE);
}

#[test]
fn law_6_the_shutdown_timeout_fires_only_on_a_timer_event() {
    let mut tower = tower(0, &fast_config());
    let late = Instant::ORIGIN + seconds(3600);
    tower.announce(&address(1), Instant::ORIGIN).unwrap();
    tower.enqueue(Message::text("x"), Instant::ORIGIN).unwrap();
    tower.shutdown(Instant::ORIGIN);
    let closes = |tower: &mut Tower| {
        std::iter::from_fn(|| tower.poll_action())
            .filter(|action| matches!(action, Action::Close { .. }))
            .count()
    };
    tower.accept(LOCAL, late).unwrap_err();
    assert_eq!(closes(&mut tower), 0);
    tower.handle(Event::TimerFired, late);
    assert!(closes(&mut tower) > 0);
}

#[test]
fn law_7_no_message_is_lost_while_links_break_and_towers_hang() {
    for seed in 0..8 {
        let mut config = fast_config();
        config.send_rate =
            if seed % 2 == 0 { SendRate::Unlimited } else { SendRate::per_second(50) };
        config.max_queue_messages = 40;
        config.timeouts.confirm = seconds(2);
        let build = |n: usize| {
            Tower::new(config.clone(), address(n), &Seed::from_u64(seed * 10 + n as u64)).unwrap()
        };
        let mut network = Network::new((0..4).map(build));
        network.latency = Duration::from_millis(50);
        for n in 1..4 {
            network.announce(n, 0);
        }
        network.advance(seconds(2));
        let mut expected = BTreeMap::new();
        for n in 0..80 {
            let text = format!("message {n}");
            let sent = network.with(n % 4, |tower, now| tower.enqueue(Message::text(&text), now));
            if sent.is_ok() {
                expected.insert(text, ());
            }
            // Reset links while messages and confirmations are in transit, and suspend a tower now
            // and then.
            let (a, b) = (n % 4, (n / 4) % 4);
            if n % 5 == 0 {
                network.reset_connections(a, b);
                network.drive();
            }
            if n % 17 == 0 {
                network.suspended.insert(b);
            }
            if n % 17 == 11 {
                network.suspended.clear();
            }
            network.advance(Duration::from_millis(100));
        }
        network.suspended.clear();
        network.advance(seconds(15));
        let mut found = BTreeMap::new();
        for n in 0..4 {
            found.extend(network.texts(n).into_iter().map(|text| (text, ())));
        }
        let missing: Vec<_> = expected.keys().filter(|text| !found.contains_key(*text)).collect();
        assert!(
            missing.is_empty(),
            "seed {seed}: {missing:?} of {} messages are lost",
            expected.len()
        );
        assert!(expected.len() > 60, "most messages were enqueued");
        let doubts: u64 = (0..4).map(|n| network.tower(n).stats().in_doubt).sum();
        assert!(doubts > 0, "seed {seed}: no link broke with an unconfirmed message");
    }
}

#[test]
fn law_7_a_message_stays_in_the_queue_without_a_reachable_peer() {
    let mut network = network(2, &fast_config());
    network.enqueue(0, "alone");
    network.advance(seconds(60));
    assert_eq!(network.texts(0), ["alone"]);
    network.towers[1] = None;
    network.expand(0, 1);
    network.advance(seconds(60));
    assert_eq!(network.texts(0), ["alone"], "the message returns after each refused dial");
    assert_eq!(network.status(0, 1), Some(Status::Lost));
}

#[test]
fn law_8_pending_notices_are_bounded_and_dropped_ones_are_counted() {
    let mut config = fast_config();
    config.max_pending_notices = 16;
    let mut tower = tower(0, &config);
    for _ in 0..100 {
        tower.enqueue(Message::text("x"), Instant::ORIGIN).unwrap();
    }
    let notices: Vec<_> = std::iter::from_fn(|| tower.poll_action()).collect();
    assert_eq!(notices.len(), 17);
    assert_eq!(notices.last(), Some(&Action::Notify(Notice::Missed { count: 84 })));
    assert_eq!(tower.queue_usage().messages, 100, "the queue keeps all messages");
}

#[test]
fn law_10_the_sizes_of_hot_types_are_pinned() {
    assert_eq!(size_of::<LinkId>(), 8);
    assert_eq!(size_of::<clacks_proto::Address>(), 24);
    assert!(size_of::<Action>() <= 80, "{}", size_of::<Action>());
    assert!(size_of::<Event<'_>>() <= 32, "{}", size_of::<Event<'_>>());
    let config = Config::default();
    assert!(size_of_val(&tower(0, &config)) <= 1_712, "{}", size_of::<Tower>());
}
