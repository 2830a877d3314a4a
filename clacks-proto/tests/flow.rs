//! How much goes out, and when: ticks, windows, probes, limits of length, and the room in the
//! queue.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::time::Duration;

use clacks_proto::wire::{Farewell, Frame, Hello, MessageFrame, RefusedReason};
use clacks_proto::{
    CloseReason, Config, EnqueueError, Event, LinkId, Message, MessageState, Nonce, ProtocolError,
    SendRate, Status, Window,
};
use common::raw::{Raw, Said, encode, hello, message};
use common::{address, net, quick, seconds, tower};

/// An alive peer with limits of its own.
fn alive_with(raw: &mut Raw, n: usize, window: Window, max_message: u32) -> LinkId {
    let link = raw.call();
    let hello = Hello { window, max_message, ..hello(Some(address(n))) };
    raw.say(link, &Frame::Hello(hello));
    raw.announce(link, 1_000);
    raw.heard(link);
    link
}

const WIDE: Window = Window { messages: 32, bytes: 256 * 1024 };

fn unlimited() -> Config {
    let mut config = quick();
    config.send_rate = SendRate::Unlimited;
    config
}

fn texts(raw: &mut Raw, link: LinkId) -> Vec<String> {
    raw.heard_messages(link).into_iter().map(|(.., text)| text).collect()
}

// The rate.

fn every_100_ms() -> Config {
    let mut config = quick();
    config.send_rate = SendRate::Every(Duration::from_millis(100));
    config.burst = 4;
    config
}

#[test]
fn one_message_leaves_on_each_tick_of_a_grid() {
    let mut raw = Raw::new(&every_100_ms());
    let link = raw.call_alive(1);
    raw.enqueue_many(10, "message");
    let mut times = Vec::new();
    let mut listen = |raw: &mut Raw, count: usize| {
        while times.len() < count {
            raw.run(Duration::from_millis(1));
            times.extend(raw.heard_messages(link).iter().map(|_| raw.now.as_nanos()));
            assert!(raw.now.as_nanos() < 60_000_000_000);
        }
        times.clone()
    };
    let ten = listen(&mut raw, 10);
    let apart: Vec<_> = ten.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(apart, [100_000_000; 9], "ten messages take ten ticks");
    // One that comes between two ticks leaves on the next of the same grid, and no tick was saved
    // up.
    raw.run(Duration::from_millis(1_234));
    raw.enqueue("late");
    raw.enqueue("later");
    let twelve = listen(&mut raw, 12);
    assert_eq!((twelve[10] - twelve[9]) % 100_000_000, 0);
    assert_eq!(twelve[11] - twelve[10], 100_000_000);
}

#[test]
fn a_late_timer_makes_up_for_at_most_a_burst() {
    let mut raw = Raw::new(&every_100_ms());
    let link = raw.call_alive(1);
    raw.enqueue_many(10, "message");
    raw.run(Duration::from_millis(100));
    let before = raw.heard_messages(link).len();
    raw.now = raw.now + Duration::from_millis(210);
    raw.tell(Event::TimerFired);
    assert_eq!(raw.heard_messages(link).len(), 2, "what was due");
    raw.now = raw.now + seconds(10);
    raw.tell(Event::TimerFired);
    assert_eq!(raw.heard_messages(link).len(), 4, "not a hundred");
    raw.run(Duration::from_millis(100));
    assert_eq!(raw.heard_messages(link).len() + before + 2 + 4, 8);
}

#[test]
fn at_an_unlimited_rate_messages_leave_at_once_as_far_as_the_window_goes() {
    let mut raw = Raw::new(&unlimited());
    let link = alive_with(&mut raw, 1, Window { messages: 5, bytes: 1_000 }, 1_000);
    raw.enqueue_many(12, "message");
    let transfers = raw.heard_messages(link);
    assert_eq!(transfers.len(), 5);
    raw.confirm(link, transfers[2].0);
    assert_eq!(raw.heard_messages(link).len(), 3);
    assert_eq!(raw.now.as_nanos(), 0, "all that took no time");
}

#[test]
fn an_unlimited_sender_that_finds_no_taker_does_not_keep_the_timer_busy() {
    for backoff in [Duration::ZERO, Duration::from_millis(100)] {
        let mut config = unlimited();
        config.busy_backoff = backoff;
        let mut raw = Raw::new(&config);
        alive_with(&mut raw, 1, WIDE, 10);
        raw.enqueue("longer than ten bytes");
        raw.run(seconds(1));
        let wide = raw.call_alive(2);
        raw.run(seconds(1));
        assert_eq!(texts(&mut raw, wide), ["longer than ten bytes"]);
    }
}

// Windows.

#[test]
fn the_window_that_a_peer_grants_is_never_exceeded() {
    let window = Window { messages: 4, bytes: 10 };
    for config in [quick(), unlimited()] {
        let mut raw = Raw::new(&config);
        let link = alive_with(&mut raw, 1, window, 1_000);
        // 1 to 12 bytes: some fill the window with bytes, some with messages, some only alone.
        for n in 0..60 {
            raw.enqueue(&"x".repeat(1 + n % 12));
        }
        let mut open: Vec<(u64, usize)> = Vec::new();
        let (mut most, mut most_bytes, mut alone, mut count) = (0, 0, false, 0);
        for step in 0..600 {
            raw.run(Duration::from_millis(50));
            let heard = raw.heard_messages(link);
            count += heard.len();
            open.extend(heard.iter().map(|(transfer, _, text)| (*transfer, text.len())));
            let bytes: usize = open.iter().map(|(_, len)| len).sum();
            assert!(open.len() <= 4, "{open:?}");
            assert!(bytes <= 10 || open.len() == 1, "{open:?}");
            (most, most_bytes) = (most.max(open.len()), most_bytes.max(bytes));
            alone |= bytes > 10;
            if step > 20 && step % 3 == 0 && !open.is_empty() {
                raw.confirm(link, open.remove(0).0);
            }
            if step > 20 && step % 7 == 0 && !open.is_empty() {
                let through = open[open.len() / 2].0;
                open.drain(..=open.len() / 2);
                raw.confirm(link, through);
            }
        }
        assert_eq!(count, 60);
        assert!(most == 4 && most_bytes >= 10 && alone, "the window was of use");
    }
}

#[test]
fn a_peer_that_grants_more_than_our_window_is_sent_no_more_than_that() {
    let mut raw = Raw::new(&unlimited());
    let window = Window { messages: 4096, bytes: u32::MAX };
    let link = alive_with(&mut raw, 1, window, 1_000);
    raw.enqueue_many(100, "message");
    assert_eq!(raw.heard_messages(link).len(), usize::from(Config::default().window.messages));
}

#[test]
fn announces_count_towards_the_window() {
    let mut raw = Raw::new(&unlimited());
    let link = alive_with(&mut raw, 1, Window { messages: 2, bytes: 1_000 }, 1_000);
    raw.with(|tower, now| tower.announce(&address(1), now)).unwrap();
    raw.enqueue_many(3, "message");
    let heard = raw.heard(link);
    assert!(matches!(heard[..], [Said::Announce { .. }, Said::Message { .. }]), "{heard:?}");
}

#[test]
fn a_peer_that_exceeds_our_window_is_closed() {
    let mut config = quick();
    config.window = Window { messages: 3, bytes: 100 };
    for by_bytes in [true, false] {
        let mut raw = Raw::new(&config);
        let link = raw.call_as(1);
        // It can't know of any answer: the connection takes none.
        raw.deaf.insert(link);
        let text = if by_bytes { "x".repeat(60) } else { "x".to_string() };
        let granted = if by_bytes { 1 } else { 3 };
        for transfer in 0..granted {
            raw.hand(link, transfer, &text);
        }
        assert_eq!(raw.close_reason(link), None);
        raw.hand(link, granted, &text);
        let why = CloseReason::Protocol(ProtocolError::WindowExceeded);
        assert_eq!(raw.close_reason(link), Some(why));
        raw.deaf.clear();
        assert_eq!(raw.tower.queue_usage().messages, usize::try_from(granted).unwrap());
        assert_eq!(raw.tower.stats().links_misbehaved, 1);
    }
}

#[test]
fn a_peer_within_our_window_may_go_on_for_ever() {
    let mut config = quick();
    config.window = Window { messages: 1, bytes: 1 };
    config.max_queue_messages = 5;
    let mut raw = Raw::new(&config);
    let link = raw.call_as(1);
    for transfer in 0..100 {
        raw.hand(link, transfer, "longer than the window, but alone");
    }
    assert_eq!(raw.close_reason(link), None);
    assert_eq!(raw.tower.queue_usage().messages, 5);
    // The same with bytes: what is answered makes room.
    config.window = Window { messages: 3, bytes: 100 };
    let mut raw = Raw::new(&config);
    let link = raw.call_as(1);
    for transfer in 0..100 {
        let body = "forty bytes of text, and not a byte more";
        let two = [2 * transfer, 2 * transfer + 1];
        let bytes = two.map(|transfer| encode(&Frame::Message(message(transfer, body)))).concat();
        raw.bytes(link, &bytes);
    }
    assert_eq!(raw.close_reason(link), None);
}

// Probes.

#[test]
fn an_unproved_peer_carries_one_message_at_a_time_while_others_flow() {
    let mut raw = Raw::new(&quick());
    let link = raw.call_alive(2);
    raw.expand(1);
    raw.enqueue_many(20, "message");
    raw.run(seconds(2));
    let with_silent = MessageState::InFlight { to: Some(address(1)) };
    let with_silent = raw.tower.peek().filter(|held| held.state == with_silent).count();
    assert_eq!(with_silent, 1);
    assert_eq!(raw.heard_messages(link).len(), 19, "the others took no notice");
    // The same when it has said hello, until it confirms.
    let probe = raw.answer();
    raw.enqueue_many(5, "more");
    raw.run(seconds(2));
    assert_eq!(raw.heard_messages(probe).len(), 1);
    assert_eq!(raw.heard_messages(link).len(), 5);
}

#[test]
fn at_most_max_probes_peers_are_tried_at_once() {
    let mut config = quick();
    config.max_probes = 3;
    let mut raw = Raw::new(&config);
    (1..9).for_each(|n| raw.expand(n));
    raw.enqueue_many(20, "message");
    raw.run(seconds(3));
    assert_eq!(raw.dialled.len(), 3);
    raw.refuse();
    raw.run(Duration::from_millis(100));
    assert_eq!(raw.dialled.len(), 3, "there is room for the next");
    // Alive ones are no probes.
    let link = raw.call_alive(10);
    raw.run(seconds(1));
    assert_eq!(raw.heard_messages(link).len(), 17);
}

// Lengths.

#[test]
fn a_message_too_long_for_a_peer_goes_to_others_and_blocks_nobody() {
    for config in [quick(), unlimited()] {
        let mut raw = Raw::new(&config);
        let small = alive_with(&mut raw, 1, WIDE, 10);
        raw.enqueue("longer than ten bytes");
        raw.enqueue_many(5, "short");
        raw.run(seconds(5));
        assert_eq!(texts(&mut raw, small).len(), 5, "those behind it are not blocked");
        let wide = raw.call_alive(2);
        raw.run(seconds(5));
        assert_eq!(texts(&mut raw, wide), ["longer than ten bytes"]);
        assert!(texts(&mut raw, small).is_empty());
    }
}

#[test]
fn a_limit_that_is_learned_in_the_hello_counts_for_what_waits_for_it() {
    let mut raw = Raw::new(&quick());
    raw.expand(1);
    raw.enqueue("longer than ten bytes");
    assert!(raw.run_to_dial(seconds(1)));
    let link = raw.pick_up();
    raw.say(link, &Frame::Hello(Hello { max_message: 10, ..hello(None) }));
    assert!(raw.heard_messages(link).is_empty(), "it may not be sent");
    assert_eq!(raw.tower.peek().next().unwrap().state, MessageState::Waiting);
    assert_eq!((raw.tower.stats().returned, raw.tower.stats().doubt_unresolved), (1, 0));
    assert_eq!(raw.close_reason(link), None, "shorter ones may follow");
}

#[test]
fn a_new_peer_that_takes_only_short_messages_does_not_hold_up_a_long_one() {
    for config in [quick(), unlimited()] {
        let mut raw = Raw::new(&config);
        let wide = raw.call_alive(2);
        let small = raw.call();
        raw.say(small, &Frame::Hello(Hello { max_message: 10, ..hello(Some(address(1))) }));
        raw.enqueue("longer than ten bytes");
        // The new one comes first: it is tried without the message.
        for _ in 0..50 {
            raw.run(Duration::from_millis(100));
            for said in raw.heard(small) {
                let Said::Announce { transfer, .. } = said else { continue };
                raw.confirm(small, transfer);
            }
        }
        assert_eq!(texts(&mut raw, wide), ["longer than ten bytes"]);
        assert_eq!(raw.status(1), Some(Status::Alive));
    }
}

#[test]
fn a_peer_that_says_too_large_is_not_asked_again_with_that_length() {
    let mut raw = Raw::new(&quick());
    let link = raw.call_alive(1);
    raw.enqueue("twenty bytes of text");
    raw.run(seconds(1));
    let [(transfer, ..)] = raw.heard_messages(link)[..] else { panic!("one") };
    raw.turn_down(link, transfer, RefusedReason::TooLarge);
    assert_eq!(raw.status(1), Some(Status::Alive));
    raw.enqueue("nineteen are enough");
    raw.run(seconds(5));
    assert_eq!(texts(&mut raw, link), ["nineteen are enough"]);
    assert_eq!(raw.tower.queue_usage().messages, 2);
}

#[test]
fn a_body_above_our_own_limit_is_not_the_protocol() {
    let mut config = quick();
    config.max_message = 100;
    let mut raw = Raw::new(&config);
    let link = raw.call_as(1);
    raw.hand(link, 1, &"x".repeat(100));
    assert_eq!(raw.close_reason(link), None);
    raw.hand(link, 2, &"x".repeat(1_000));
    assert!(matches!(raw.close_reason(link), Some(CloseReason::Wire(_))));
    assert_eq!(raw.heard(link).last(), Some(&Said::Goodbye(Farewell::Misbehaved)));
    assert_eq!(raw.tower.queue_usage().messages, 1);
}

#[test]
fn two_towers_with_different_limits_get_along() {
    let mut small = quick();
    small.max_message = 10;
    let mut net = net(3, &quick());
    net.towers[1] = Some(tower(1, &small));
    net.announce(0, 1);
    net.announce(0, 2);
    net.enqueue(0, "longer than ten bytes");
    net.enqueue(0, "short");
    net.run(seconds(30));
    assert!(!net.texts(1).contains(&"longer than ten bytes".to_string()));
    let all: Vec<_> = (0..3).flat_map(|n| net.texts(n)).collect();
    assert_eq!(all.len(), 2, "{all:?}");
    let stats = |n: usize| *net.tower(n).stats();
    assert!(stats(2).received > 0 && stats(1).received > 0);
    assert!((0..3).all(|n| stats(n).links_misbehaved == 0));
}

// Room.

#[test]
fn enqueue_stops_at_the_local_share_and_transit_goes_on() {
    let mut config = quick();
    config.max_queue_messages = 10;
    let mut raw = Raw::new(&config);
    raw.enqueue_many(8, "local");
    let message = Message::text("unharmed");
    let refused = raw.with(|tower, now| tower.enqueue(message.clone(), now)).unwrap_err();
    assert_eq!((refused.message, refused.reason), (message, EnqueueError::Full));
    assert_eq!(raw.tower.queue_usage().messages, 8);
    assert_eq!(raw.tower.stats().enqueued, 8);
    let link = raw.call_as(1);
    raw.deaf.insert(link);
    for transfer in 0..3 {
        raw.hand(link, transfer, "transit");
    }
    assert_eq!(raw.tower.queue_usage().messages, 10);
    assert_eq!((raw.tower.stats().received, raw.tower.stats().refused), (2, 1));
}

#[test]
fn the_local_share_counts_bytes_too() {
    let mut config = quick();
    config.max_message = 50;
    config.max_queue_bytes = 100;
    let mut raw = Raw::new(&config);
    raw.enqueue(&"x".repeat(50));
    raw.enqueue(&"x".repeat(30));
    let refused = raw.with(|tower, now| tower.enqueue(Message::text("x"), now)).unwrap_err();
    assert_eq!(refused.reason, EnqueueError::Full);
    let link = raw.call_as(1);
    raw.hand(link, 1, &"x".repeat(20));
    assert_eq!(common::held(&raw.tower), (3, 100));
}

#[test]
fn an_over_long_message_is_given_back() {
    let mut config = quick();
    config.max_message = 50;
    let mut raw = Raw::new(&config);
    raw.enqueue(&"x".repeat(50));
    let message = Message::text(&"x".repeat(51));
    let refused = raw.with(|tower, now| tower.enqueue(message.clone(), now)).unwrap_err();
    assert_eq!((refused.message, refused.reason), (message, EnqueueError::TooLarge { max: 50 }));
    assert_eq!(raw.tower.queue_usage().messages, 1);
}

#[test]
fn messages_of_a_mebibyte_pass_through_small_buffers_and_single_bytes() {
    let mut config = quick();
    config.max_message = 2 << 20;
    let mut net = net(2, &config);
    net.room = 100;
    net.chunk = 1;
    net.announce(0, 1);
    let body: Vec<u8> = (0u32..1 << 20).map(|n| n.to_le_bytes()[n as usize % 3]).collect();
    let sent = Message::bytes(&body);
    net.with(0, |tower, now| tower.enqueue(sent.clone(), now)).unwrap();
    net.enqueue(0, "behind it");
    assert!(net.run_until(seconds(10), |net| net.tower(1).stats().received >= 2));
    let held: Vec<_> = (0..2).flat_map(|n| net.tower(n).peek().collect::<Vec<_>>()).collect();
    assert_eq!(held.len(), 2);
    assert!(held.iter().any(|held| held.message == sent), "not a bit has changed");
}

// Heartbeat.

#[test]
fn a_heartbeat_finds_a_death_and_a_return_in_a_quiet_network() {
    for heartbeat in [Some(seconds(5)), None] {
        let mut config = quick();
        config.heartbeat = heartbeat;
        let mut net = net(2, &config);
        net.announce(0, 1);
        assert_eq!(net.status(0, 1), Some(Status::Alive));
        net.run(seconds(90));
        net.kill(1);
        assert_eq!(net.status(0, 1), Some(Status::Alive), "nobody knows yet");
        net.run(seconds(15));
        let noticed = if heartbeat.is_some() { Status::Lost } else { Status::Alive };
        assert_eq!(net.status(0, 1), Some(noticed));
        net.towers[1] = Some(tower(1, &config));
        net.run(seconds(15));
        assert_eq!(net.status(0, 1), Some(Status::Alive));
        let known = net.status(1, 0);
        assert_eq!(known, heartbeat.map(|_| Status::Alive), "the returned one hears of the other");
    }
}

#[test]
fn a_tower_that_sends_messages_needs_no_heartbeat() {
    let mut config = quick();
    config.heartbeat = Some(seconds(5));
    let mut raw = Raw::new(&config);
    let link = raw.call_alive(1);
    let mut announces = 0;
    let mut listen = |raw: &mut Raw, talks: bool| {
        if talks {
            raw.enqueue("x");
        }
        raw.run(seconds(1));
        let mut last = None;
        for said in raw.heard(link) {
            match said {
                Said::Announce { transfer, .. } => {
                    announces += 1;
                    last = Some(transfer);
                }
                Said::Message { transfer, .. } => last = Some(transfer),
                _ => {}
            }
        }
        last.into_iter().for_each(|last| raw.confirm(link, last));
        announces
    };
    raw.run(Duration::from_millis(1));
    let busy = (0..20).map(|_| listen(&mut raw, true)).max().unwrap();
    assert!(busy <= 1, "{busy}: at most before the first message");
    let quiet = (0..20).map(|_| listen(&mut raw, false)).max().unwrap() - busy;
    assert!((3..=5).contains(&quiet), "{quiet}: every five seconds");
}

#[test]
fn the_same_message_waits_its_turn() {
    // First in, first out, over one link.
    let mut raw = Raw::new(&quick());
    let link = raw.call_as(1);
    for transfer in 0..10 {
        let frame = MessageFrame { nonce: Nonce(100), ..message(transfer, "one") };
        let frame = if transfer == 4 { frame } else { message(transfer, "x") };
        raw.say(link, &Frame::Message(frame));
    }
    raw.run(seconds(3));
    let heard = raw.heard(link);
    let nonces: Vec<_> = heard
        .iter()
        .filter_map(|said| match said {
            Said::Message { nonce, .. } => Some(nonce.0),
            _ => None,
        })
        .collect();
    assert_eq!(nonces, [0, 1, 2, 3, 100, 5, 6, 7, 8, 9]);
}
