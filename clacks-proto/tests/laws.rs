//! The laws of the core, a test each (8 and 9 measure memory and stand in `memory.rs`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::BufMut;
use clacks_proto::{
    Action, Config, Event, Instant, IoCause, LinkId, Message, Notice, Screening, Seed, SendRate,
    StateMachine, Status, Tower, Verdict, WakeupReason,
};
use common::{LOCAL, Net, address, net, quick, seconds, tower};
use proptest::prelude::*;

/// FNV-1a, so that the golden value depends on nothing but this file.
struct Trace(u64);

impl Trace {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// A run in which much happens: gossip, a death and a return, screening off, broken links, a
/// shutdown.
fn eventful_run(seed: u64) -> u64 {
    let mut config = quick();
    config.heartbeat = Some(seconds(2));
    let build = |n: usize| {
        Tower::new(config.clone(), address(n), &Seed::from_u64(seed + n as u64)).unwrap()
    };
    let mut net = Net::new((0..5).map(build));
    for n in 1..5 {
        net.announce(n, 0);
    }
    for n in 0..20 {
        net.enqueue(n % 5, &format!("message {n}"));
    }
    net.run(seconds(5));
    net.kill(4);
    net.run(seconds(5));
    net.towers[4] = Some(build(4));
    net.cut(0, 1);
    net.with(2, |tower, now| tower.ignore(&address(3), now)).unwrap();
    net.run(seconds(20));
    net.with(1, Tower::shutdown);
    net.run(seconds(20));
    let mut trace = Trace(0xcbf2_9ce4_8422_2325);
    for (n, action) in &net.actions {
        trace.add(format!("{n} {action:?}\n").as_bytes());
    }
    for n in 0..5 {
        trace.add(format!("{:?}{:?}", net.tower(n).stats(), net.texts(n)).as_bytes());
        net.tower(n).survey().for_each(|peer| trace.add(format!("{peer:?}").as_bytes()));
    }
    trace.0
}

#[test]
fn law_1_determinism() {
    assert_eq!(eventful_run(1), eventful_run(1), "same seed, same trace");
    assert_ne!(eventful_run(1), eventful_run(2), "the seed matters");
    // A change here is a change of behaviour (or of an action's Debug form): look before you take
    // the new value over.
    assert_eq!(
        eventful_run(1),
        4135061802473950345,
        "the trace of a seed never changes by accident"
    );
}

#[test]
fn law_2_a_new_draw_in_one_place_shifts_no_other() {
    // Enqueueing draws nonces. The recipients of the first messages must not depend on how many are
    // drawn.
    let recipients = |messages: usize| {
        let mut config = quick();
        config.send_rate = SendRate::per_second(1);
        let mut net = net(6, &config);
        (1..6).for_each(|other| net.expand(0, other));
        (0..messages).for_each(|n| net.enqueue(0, &format!("{n}")));
        net.run(seconds(20));
        let dialled = net.actions.iter().filter_map(|(n, action)| match action {
            Action::Connect { address, .. } if *n == 0 => Some(address.clone()),
            _ => None,
        });
        dialled.take(5).collect::<Vec<_>>()
    };
    assert_eq!(recipients(10).len(), 5);
    assert_eq!(recipients(10), recipients(50));
}

/// Something that a driver may say, sensible or not.
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
        2 => (link.clone(), proptest::collection::vec(any::<u8>(), 0..40)).prop_map(|(l, b)| Step::Bytes(l, b)),
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

/// Frames that a peer may say at any moment.
fn frame(number: usize) -> Vec<u8> {
    use clacks_proto::wire::{
        AnnounceFrame, Attempt, Farewell, Frame, Hello, MessageFrame, RefusedReason, VERSION,
    };
    let hello = |incarnation: u64, n: usize| {
        Frame::Hello(Hello {
            version: VERSION,
            incarnation,
            max_message: 1000,
            window: clacks_proto::Window { messages: 2, bytes: 1000 },
            network: "clacks",
            address: Some(address(n)),
        })
    };
    let message = |transfer, attempt, nonce| {
        Frame::Message(MessageFrame {
            transfer,
            attempt,
            nonce: clacks_proto::Nonce(nonce),
            kind: clacks_proto::Kind::Text,
            friend: Some(address(5)),
            body: b"a message",
        })
    };
    let frame = match number {
        0 | 1 => hello(7, 1),
        2 => hello(8, 2),
        3 => message(0, Attempt::First, 1),
        4 => message(1, Attempt::Retry, 1),
        5 => message(2, Attempt::First, 2),
        6 => Frame::Announce(AnnounceFrame { transfer: 3, friend: Some(address(6)) }),
        7 => Frame::Confirmed { through: 0 },
        8 => Frame::Confirmed { through: 1 },
        9 => Frame::Refused { transfer: 0, reason: RefusedReason::Busy },
        10 => Frame::Refused { transfer: 2, reason: RefusedReason::Ignored },
        _ => Frame::Goodbye { farewell: Farewell::Idle },
    };
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    bytes
}

fn tell(tower: &mut Tower, event: Event<'_>, now: Instant) {
    tower.handle(event, now);
}

/// Does what the steps say, with the driver's part of the contract kept only as far as the steps
/// happen to keep it.
fn misuse(steps: &[Step], each: &mut dyn FnMut(&Tower)) -> Tower {
    let mut config = quick();
    config.max_links = 6;
    config.max_half_open = 4;
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
                    let bytes = frame(*number);
                    tower.handle(Event::BytesArrived { link, bytes: &bytes }, now);
                }
            }
            Step::Connected(n) => link(n)
                .into_iter()
                .for_each(|link| tell(&mut tower, Event::Connected { link }, now)),
            Step::ConnectFailed(n) => link(n).into_iter().for_each(|link| {
                tower.handle(Event::ConnectFailed { link, cause: IoCause::Refused }, now);
            }),
            Step::Finished(n) => {
                link(n)
                    .into_iter()
                    .for_each(|link| tell(&mut tower, Event::Finished { link }, now));
            }
            Step::Lost(n) => link(n).into_iter().for_each(|link| {
                tower.handle(Event::Lost { link, cause: IoCause::Reset }, now);
            }),
            Step::Closed(n) => {
                link(n).into_iter().for_each(|link| tell(&mut tower, Event::Closed { link }, now));
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
                    0 => Verdict::Accept,
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
        each(&tower);
    }
    tower
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(
        std::env::var("CLACKS_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(300)
    ))]

    #[test]
    fn law_3_and_10_handle_never_fails_and_never_panics(steps in steps()) {
        misuse(&steps, &mut |tower| {
            let (messages, bytes) = common::held(tower);
            assert!(messages <= 8 && bytes <= 1_000, "law 8: the queue is bounded");
            assert!(tower.links().count() <= 6 && tower.survey().count() <= 4, "law 8: links and peers are bounded");
        });
    }

    #[test]
    fn law_7_nothing_is_lost_inside_a_living_tower(steps in steps()) {
        misuse(&steps, &mut |tower| {
            let stats = tower.stats();
            let held = tower.queue_usage().messages as u64;
            // Every message that was stored and not confirmed by a peer is still held. Those beyond
            // are copies that came in while one was in flight, and up to two under screening.
            let stored = stats.enqueued + stats.received - stats.coalesced;
            assert!(held + stats.delivered >= stored, "{stats:?} {held}");
            assert!(held + stats.delivered <= stored + stats.coalesced + 2, "{stats:?} {held}");
        });
    }
}

#[test]
fn law_3_a_stale_link_is_a_counted_no_op() {
    let mut tower = tower(0, &quick());
    let now = Instant::ORIGIN;
    let link = tower.accept(LOCAL, now).unwrap();
    tower.handle(Event::Closed { link }, now);
    while tower.poll_action().is_some() {}
    let before = *tower.stats();
    let events = [
        Event::Connected { link },
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
fn law_4_a_driver_that_stops_polling_loses_nothing() {
    // Two drivers of the same tower: one drains after every event, one only now and then.
    let run = |drain_every: usize| {
        let mut tower = tower(0, &quick());
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
    let prompt = run(1);
    assert!(prompt.len() >= 30, "{}", prompt.len());
    assert_eq!(prompt, run(5));
    assert_eq!(prompt, run(29));
}

#[test]
fn law_5_one_terminal_event_frees_a_slot_and_ids_are_never_used_again() {
    let mut config = quick();
    config.max_links = 2;
    config.max_half_open = 1;
    let mut tower = tower(0, &config);
    let mut now = Instant::ORIGIN;
    let mut seen = BTreeSet::new();
    for round in 0..50 {
        now = now + seconds(1);
        let link = tower.accept(LOCAL, now).unwrap();
        assert!(seen.insert(link), "round {round}: {link:?} again");
        tower.handle(Event::BytesArrived { link, bytes: b"GET / HTTP/1.1\r\n\r\n" }, now);
        let closes = std::iter::from_fn(|| tower.poll_action()).filter(
            |action| matches!(action, Action::Close { link: closed, .. } if *closed == link),
        );
        assert_eq!(closes.count(), 1);
        // The slot is taken until the driver says that the connection is gone.
        assert_eq!(tower.links().count(), 1);
        tower.handle(Event::Closed { link }, now);
        assert_eq!(tower.links().count(), 0);
        let stale = tower.stats().stale_events;
        tower.handle(Event::Lost { link, cause: IoCause::Reset }, now);
        assert_eq!(tower.stats().stale_events, stale + 1, "a second terminal event is stale");
    }
}

#[test]
fn law_5_an_action_for_a_link_that_has_ended_is_not_given_out() {
    let mut config = quick();
    config.max_links = 2;
    config.max_half_open = 1;
    let mut tower = tower(0, &config);
    let now = Instant::ORIGIN;
    let first = tower.accept(LOCAL, now).unwrap();
    tower.handle(Event::Lost { link: first, cause: IoCause::Reset }, now);
    let second = tower.accept(LOCAL, now).unwrap();
    assert_eq!(first.index(), second.index(), "the slot is used again, the id is not");
    let named: Vec<_> = std::iter::from_fn(|| tower.poll_action())
        .filter_map(|action| match action {
            Action::Send { link } => Some(link),
            _ => None,
        })
        .collect();
    assert_eq!(named, [second], "the Send of the first link waited to be polled");
}

#[test]
fn law_6_only_the_timer_fires_deadlines_and_time_never_goes_back() {
    let mut tower = tower(0, &quick());
    let late = Instant::ORIGIN + seconds(3600);
    let link = tower.accept(LOCAL, Instant::ORIGIN).unwrap();
    while tower.poll_action().is_some() {}
    // Whatever else happens an hour later, the handshake's deadline waits for the timer.
    tower.enqueue(Message::text("x"), late).unwrap();
    tower.handle(Event::BytesArrived { link, bytes: &[] }, late);
    assert!(!std::iter::from_fn(|| tower.poll_action()).any(|a| matches!(a, Action::Close { .. })));
    // Early, needless and backward timers do no harm, and don't turn the clock back.
    let fresh = tower.accept(LOCAL, late).unwrap();
    tower.handle(Event::TimerFired, Instant::ORIGIN);
    let closed: Vec<_> = std::iter::from_fn(|| tower.poll_action())
        .filter_map(|action| match action {
            Action::Close { link, .. } => Some(link),
            _ => None,
        })
        .collect();
    assert_eq!(
        closed,
        [link],
        "it is late, whatever the timer says; the fresh link has its ten seconds"
    );
    for nanos in [1, 5_000_000_000, 9_999_999_999] {
        tower.handle(Event::TimerFired, late + Duration::from_nanos(nanos));
    }
    assert!(
        !std::iter::from_fn(|| tower.poll_action())
            .any(|a| matches!(a, Action::Close { link, .. } if link == fresh))
    );
    tower.handle(Event::TimerFired, late + seconds(10));
    assert!(
        std::iter::from_fn(|| tower.poll_action())
            .any(|a| matches!(a, Action::Close { link, .. } if link == fresh))
    );
    tower.handle(Event::TimerFired, Instant::FAR_FUTURE);
    tower.handle(Event::TimerFired, Instant::FAR_FUTURE);
}

#[test]
fn law_6_only_the_timer_ends_the_draining_of_a_shutdown() {
    let mut tower = tower(0, &quick());
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
fn law_7_nothing_is_lost_while_links_break_and_peers_are_busy_refuse_and_hang() {
    for seed in 0..8 {
        let mut config = quick();
        config.send_rate =
            if seed % 2 == 0 { SendRate::Unlimited } else { SendRate::per_second(50) };
        config.max_queue_messages = 40;
        config.timeouts.confirm = seconds(2);
        let build = |n: usize| {
            Tower::new(config.clone(), address(n), &Seed::from_u64(seed * 10 + n as u64)).unwrap()
        };
        let mut net = Net::new((0..4).map(build));
        net.latency = Duration::from_millis(50);
        for n in 1..4 {
            net.announce(n, 0);
        }
        net.run(seconds(2));
        let mut expected = BTreeMap::new();
        for n in 0..80 {
            let text = format!("message {n}");
            let sent = net.with(n % 4, |tower, now| tower.enqueue(Message::text(&text), now));
            if sent.is_ok() {
                expected.insert(text, ());
            }
            // Breaks, with bytes and confirmations on their way, and a tower that stops for a
            // while.
            let (a, b) = (n % 4, (n / 4) % 4);
            if n % 5 == 0 {
                net.cut(a, b);
                net.settle();
            }
            if n % 17 == 0 {
                net.frozen.insert(b);
            }
            if n % 17 == 11 {
                net.frozen.clear();
            }
            net.run(Duration::from_millis(100));
        }
        net.frozen.clear();
        net.run(seconds(15));
        let mut found = BTreeMap::new();
        for n in 0..4 {
            found.extend(net.texts(n).into_iter().map(|text| (text, ())));
        }
        let missing: Vec<_> = expected.keys().filter(|text| !found.contains_key(*text)).collect();
        assert!(missing.is_empty(), "seed {seed}: {missing:?} of {} are lost", expected.len());
        assert!(expected.len() > 60, "the run is of use");
        let doubts: u64 = (0..4).map(|n| net.tower(n).stats().in_doubt).sum();
        assert!(doubts > 0, "seed {seed}: links broke with messages unconfirmed");
    }
}

#[test]
fn law_7_a_message_without_a_peer_stays() {
    let mut net = net(2, &quick());
    net.enqueue(0, "alone");
    net.run(seconds(60));
    assert_eq!(net.texts(0), ["alone"]);
    net.towers[1] = None;
    net.expand(0, 1);
    net.run(seconds(60));
    assert_eq!(net.texts(0), ["alone"], "refused dials bring it back");
    assert_eq!(net.status(0, 1), Some(Status::Lost));
}

#[test]
fn law_8_notices_that_nobody_polls_are_bounded_and_their_loss_is_told() {
    let mut config = quick();
    config.max_pending_notices = 16;
    let mut tower = tower(0, &config);
    for _ in 0..100 {
        tower.enqueue(Message::text("x"), Instant::ORIGIN).unwrap();
    }
    let notices: Vec<_> = std::iter::from_fn(|| tower.poll_action()).collect();
    assert_eq!(notices.len(), 17);
    assert_eq!(notices.last(), Some(&Action::Notify(Notice::Missed { count: 84 })));
    assert_eq!(tower.queue_usage().messages, 100, "the messages are all there");
}

#[test]
fn law_10_the_sizes_of_hot_types_are_pinned() {
    assert_eq!(size_of::<LinkId>(), 8);
    assert_eq!(size_of::<clacks_proto::Address>(), 24);
    assert!(size_of::<Action>() <= 80, "{}", size_of::<Action>());
    assert!(size_of::<Event<'_>>() <= 32, "{}", size_of::<Event<'_>>());
    let config = Config::default();
    assert!(size_of_val(&tower(0, &config)) <= 1_408, "{}", size_of::<Tower>());
}
