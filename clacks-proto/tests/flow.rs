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
use common::harness::{Harness, SentFrame, encode, hello, message};
use common::{address, fast_config, network, seconds, tower};

/// An alive peer with limits of its own.
fn alive_with(harness: &mut Harness, n: usize, window: Window, max_message: u32) -> LinkId {
    let link = harness.accept();
    let hello = Hello { window, max_message, ..hello(Some(address(n))) };
    harness.send_frame(link, &Frame::Hello(hello));
    harness.send_announce(link, 1_000);
    harness.take_frames(link);
    link
}

const WIDE: Window = Window { messages: 32, bytes: 256 * 1024 };

fn unlimited() -> Config {
    let mut config = fast_config();
    config.send_rate = SendRate::Unlimited;
    config
}

fn texts(harness: &mut Harness, link: LinkId) -> Vec<String> {
    harness.take_messages(link).into_iter().map(|(.., text)| text).collect()
}

// The rate.

fn every_100_ms() -> Config {
    let mut config = fast_config();
    config.send_rate = SendRate::Every(Duration::from_millis(100));
    config.burst = 4;
    config
}

#[test]
fn one_message_leaves_on_each_tick_of_a_grid() {
    let mut harness = Harness::new(&every_100_ms());
    let link = harness.accept_alive(1);
    harness.enqueue_many(10, "message");
    let mut times = Vec::new();
    let mut listen = |harness: &mut Harness, count: usize| {
        while times.len() < count {
            harness.advance(Duration::from_millis(1));
            times.extend(harness.take_messages(link).iter().map(|_| harness.now.as_nanos()));
            assert!(harness.now.as_nanos() < 60_000_000_000);
        }
        times.clone()
    };
    let ten = listen(&mut harness, 10);
    let apart: Vec<_> = ten.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(apart, [100_000_000; 9], "ten messages take ten ticks");
    // One that comes between two ticks leaves on the next of the same grid, and no tick was saved
    // up.
    harness.advance(Duration::from_millis(1_234));
    harness.enqueue("late");
    harness.enqueue("later");
    let twelve = listen(&mut harness, 12);
    assert_eq!((twelve[10] - twelve[9]) % 100_000_000, 0);
    assert_eq!(twelve[11] - twelve[10], 100_000_000);
}

#[test]
fn a_late_timer_makes_up_for_at_most_a_burst() {
    let mut harness = Harness::new(&every_100_ms());
    let link = harness.accept_alive(1);
    harness.enqueue_many(10, "message");
    harness.advance(Duration::from_millis(100));
    let before = harness.take_messages(link).len();
    harness.now = harness.now + Duration::from_millis(210);
    harness.handle(Event::TimerFired);
    assert_eq!(harness.take_messages(link).len(), 2, "what was due");
    harness.now = harness.now + seconds(10);
    harness.handle(Event::TimerFired);
    assert_eq!(harness.take_messages(link).len(), 4, "not a hundred");
    harness.advance(Duration::from_millis(100));
    assert_eq!(harness.take_messages(link).len() + before + 2 + 4, 8);
}

#[test]
fn at_an_unlimited_rate_messages_leave_at_once_as_far_as_the_window_goes() {
    let mut harness = Harness::new(&unlimited());
    let link = alive_with(&mut harness, 1, Window { messages: 5, bytes: 1_000 }, 1_000);
    harness.enqueue_many(12, "message");
    let transfers = harness.take_messages(link);
    assert_eq!(transfers.len(), 5);
    harness.confirm(link, transfers[2].0);
    assert_eq!(harness.take_messages(link).len(), 3);
    assert_eq!(harness.now.as_nanos(), 0, "all that took no time");
}

#[test]
fn an_unlimited_sender_that_finds_no_taker_does_not_keep_the_timer_busy() {
    for backoff in [Duration::ZERO, Duration::from_millis(100)] {
        let mut config = unlimited();
        config.busy_backoff = backoff;
        let mut harness = Harness::new(&config);
        alive_with(&mut harness, 1, WIDE, 10);
        harness.enqueue("longer than ten bytes");
        harness.advance(seconds(1));
        let wide = harness.accept_alive(2);
        harness.advance(seconds(1));
        assert_eq!(texts(&mut harness, wide), ["longer than ten bytes"]);
    }
}

// Windows.

#[test]
fn the_window_that_a_peer_grants_is_never_exceeded() {
    let window = Window { messages: 4, bytes: 10 };
    for config in [fast_config(), unlimited()] {
        let mut harness = Harness::new(&config);
        let link = alive_with(&mut harness, 1, window, 1_000);
        // 1 to 12 bytes: some fill the window with bytes, some with messages, some only alone.
        for n in 0..60 {
            harness.enqueue(&"x".repeat(1 + n % 12));
        }
        let mut open: Vec<(u64, usize)> = Vec::new();
        let (mut most, mut most_bytes, mut alone, mut count) = (0, 0, false, 0);
        for step in 0..600 {
            harness.advance(Duration::from_millis(50));
            let sent = harness.take_messages(link);
            count += sent.len();
            open.extend(sent.iter().map(|(transfer, _, text)| (*transfer, text.len())));
            let bytes: usize = open.iter().map(|(_, len)| len).sum();
            assert!(open.len() <= 4, "{open:?}");
            assert!(bytes <= 10 || open.len() == 1, "{open:?}");
            (most, most_bytes) = (most.max(open.len()), most_bytes.max(bytes));
            alone |= bytes > 10;
            if step > 20 && step % 3 == 0 && !open.is_empty() {
                harness.confirm(link, open.remove(0).0);
            }
            if step > 20 && step % 7 == 0 && !open.is_empty() {
                let through = open[open.len() / 2].0;
                open.drain(..=open.len() / 2);
                harness.confirm(link, through);
            }
        }
        assert_eq!(count, 60);
        assert!(most == 4 && most_bytes >= 10 && alone, "the window was of use");
    }
}

#[test]
fn a_peer_that_grants_more_than_our_window_is_sent_no_more_than_that() {
    let mut harness = Harness::new(&unlimited());
    let window = Window { messages: 4096, bytes: u32::MAX };
    let link = alive_with(&mut harness, 1, window, 1_000);
    harness.enqueue_many(100, "message");
    assert_eq!(harness.take_messages(link).len(), usize::from(Config::default().window.messages));
}

#[test]
fn announces_count_towards_the_window() {
    let mut harness = Harness::new(&unlimited());
    let link = alive_with(&mut harness, 1, Window { messages: 2, bytes: 1_000 }, 1_000);
    harness.with(|tower, now| tower.announce(&address(1), now)).unwrap();
    harness.enqueue_many(3, "message");
    let sent = harness.take_frames(link);
    assert!(
        matches!(sent[..], [SentFrame::Announce { .. }, SentFrame::Message { .. }]),
        "{sent:?}"
    );
}

#[test]
fn a_peer_that_exceeds_our_window_is_closed() {
    let mut config = fast_config();
    config.window = Window { messages: 3, bytes: 100 };
    for by_bytes in [true, false] {
        let mut harness = Harness::new(&config);
        let link = harness.accept_from(1);
        // It can't know of any answer: the connection takes none.
        harness.blocked.insert(link);
        let text = if by_bytes { "x".repeat(60) } else { "x".to_string() };
        let granted = if by_bytes { 1 } else { 3 };
        for transfer in 0..granted {
            harness.send_message(link, transfer, &text);
        }
        assert_eq!(harness.close_reason(link), None);
        harness.send_message(link, granted, &text);
        let why = CloseReason::Protocol(ProtocolError::WindowExceeded);
        assert_eq!(harness.close_reason(link), Some(why));
        harness.blocked.clear();
        assert_eq!(harness.tower.queue_usage().messages, usize::try_from(granted).unwrap());
        assert_eq!(harness.tower.stats().links_misbehaved, 1);
    }
}

#[test]
fn a_peer_within_our_window_may_go_on_for_ever() {
    let mut config = fast_config();
    config.window = Window { messages: 1, bytes: 1 };
    config.max_queue_messages = 5;
    let mut harness = Harness::new(&config);
    let link = harness.accept_from(1);
    for transfer in 0..100 {
        harness.send_message(link, transfer, "longer than the window, but alone");
    }
    assert_eq!(harness.close_reason(link), None);
    assert_eq!(harness.tower.queue_usage().messages, 5);
    // The same with bytes: what is answered makes room.
    config.window = Window { messages: 3, bytes: 100 };
    let mut harness = Harness::new(&config);
    let link = harness.accept_from(1);
    for transfer in 0..100 {
        let body = "forty bytes of text, and not a byte more";
        let two = [2 * transfer, 2 * transfer + 1];
        let bytes = two.map(|transfer| encode(&Frame::Message(message(transfer, body)))).concat();
        harness.send_bytes(link, &bytes);
    }
    assert_eq!(harness.close_reason(link), None);
}

// Probes.

#[test]
fn an_unproved_peer_carries_one_message_at_a_time_while_others_flow() {
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept_alive(2);
    harness.expand(1);
    harness.enqueue_many(20, "message");
    harness.advance(seconds(2));
    let with_silent = MessageState::InFlight { to: Some(address(1)) };
    let with_silent = harness.tower.peek().filter(|held| held.state == with_silent).count();
    assert_eq!(with_silent, 1);
    assert_eq!(harness.take_messages(link).len(), 19, "the others took no notice");
    // The same when it has said hello, until it confirms.
    let probe = harness.connect_dial_with_hello();
    harness.enqueue_many(5, "more");
    harness.advance(seconds(2));
    assert_eq!(harness.take_messages(probe).len(), 1);
    assert_eq!(harness.take_messages(link).len(), 5);
}

#[test]
fn at_most_max_probes_peers_are_tried_at_once() {
    let mut config = fast_config();
    config.max_probes = 3;
    let mut harness = Harness::new(&config);
    (1..9).for_each(|n| harness.expand(n));
    harness.enqueue_many(20, "message");
    harness.advance(seconds(3));
    assert_eq!(harness.dialled.len(), 3);
    harness.refuse_dial();
    harness.advance(Duration::from_millis(100));
    assert_eq!(harness.dialled.len(), 3, "there is room for the next");
    // Alive ones are no probes.
    let link = harness.accept_alive(10);
    harness.advance(seconds(1));
    assert_eq!(harness.take_messages(link).len(), 17);
}

// Lengths.

#[test]
fn a_message_too_long_for_a_peer_goes_to_others_and_blocks_nobody() {
    for config in [fast_config(), unlimited()] {
        let mut harness = Harness::new(&config);
        let small = alive_with(&mut harness, 1, WIDE, 10);
        harness.enqueue("longer than ten bytes");
        harness.enqueue_many(5, "short");
        harness.advance(seconds(5));
        assert_eq!(texts(&mut harness, small).len(), 5, "those behind it are not blocked");
        let wide = harness.accept_alive(2);
        harness.advance(seconds(5));
        assert_eq!(texts(&mut harness, wide), ["longer than ten bytes"]);
        assert!(texts(&mut harness, small).is_empty());
    }
}

#[test]
fn a_limit_that_is_learned_in_the_hello_counts_for_what_waits_for_it() {
    let mut harness = Harness::new(&fast_config());
    harness.expand(1);
    harness.enqueue("longer than ten bytes");
    assert!(harness.run_until_dial(seconds(1)));
    let link = harness.connect_dial();
    harness.send_frame(link, &Frame::Hello(Hello { max_message: 10, ..hello(None) }));
    assert!(harness.take_messages(link).is_empty(), "it may not be sent");
    assert_eq!(harness.tower.peek().next().unwrap().state, MessageState::Waiting);
    assert_eq!((harness.tower.stats().returned, harness.tower.stats().doubt_unresolved), (1, 0));
    assert_eq!(harness.close_reason(link), None, "shorter ones may follow");
}

#[test]
fn a_new_peer_that_takes_only_short_messages_does_not_hold_up_a_long_one() {
    for config in [fast_config(), unlimited()] {
        let mut harness = Harness::new(&config);
        let wide = harness.accept_alive(2);
        let small = harness.accept();
        harness
            .send_frame(small, &Frame::Hello(Hello { max_message: 10, ..hello(Some(address(1))) }));
        harness.enqueue("longer than ten bytes");
        // The new one comes first: it is tried without the message.
        for _ in 0..50 {
            harness.advance(Duration::from_millis(100));
            for frame in harness.take_frames(small) {
                let SentFrame::Announce { transfer, .. } = frame else { continue };
                harness.confirm(small, transfer);
            }
        }
        assert_eq!(texts(&mut harness, wide), ["longer than ten bytes"]);
        assert_eq!(harness.status(1), Some(Status::Alive));
    }
}

#[test]
fn a_peer_that_says_too_large_is_not_asked_again_with_that_length() {
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept_alive(1);
    harness.enqueue("twenty bytes of text");
    harness.advance(seconds(1));
    let [(transfer, ..)] = harness.take_messages(link)[..] else { panic!("one") };
    harness.refuse(link, transfer, RefusedReason::TooLarge);
    assert_eq!(harness.status(1), Some(Status::Alive));
    harness.enqueue("nineteen are enough");
    harness.advance(seconds(5));
    assert_eq!(texts(&mut harness, link), ["nineteen are enough"]);
    assert_eq!(harness.tower.queue_usage().messages, 2);
}

#[test]
fn a_body_above_our_own_limit_is_not_the_protocol() {
    let mut config = fast_config();
    config.max_message = 100;
    let mut harness = Harness::new(&config);
    let link = harness.accept_from(1);
    harness.send_message(link, 1, &"x".repeat(100));
    assert_eq!(harness.close_reason(link), None);
    harness.send_message(link, 2, &"x".repeat(1_000));
    assert!(matches!(harness.close_reason(link), Some(CloseReason::Wire(_))));
    assert_eq!(harness.take_frames(link).last(), Some(&SentFrame::Goodbye(Farewell::Misbehaved)));
    assert_eq!(harness.tower.queue_usage().messages, 1);
}

#[test]
fn two_towers_with_different_limits_get_along() {
    let mut small = fast_config();
    small.max_message = 10;
    let mut network = network(3, &fast_config());
    network.towers[1] = Some(tower(1, &small));
    network.announce(0, 1);
    network.announce(0, 2);
    network.enqueue(0, "longer than ten bytes");
    network.enqueue(0, "short");
    network.advance(seconds(30));
    assert!(!network.texts(1).contains(&"longer than ten bytes".to_string()));
    let all: Vec<_> = (0..3).flat_map(|n| network.texts(n)).collect();
    assert_eq!(all.len(), 2, "{all:?}");
    let stats = |n: usize| *network.tower(n).stats();
    assert!(stats(2).received > 0 && stats(1).received > 0);
    assert!((0..3).all(|n| stats(n).links_misbehaved == 0));
}

// Room.

#[test]
fn enqueue_stops_at_the_local_share_and_transit_goes_on() {
    let mut config = fast_config();
    config.max_queue_messages = 10;
    let mut harness = Harness::new(&config);
    harness.enqueue_many(8, "local");
    let message = Message::text("unharmed");
    let refused = harness.with(|tower, now| tower.enqueue(message.clone(), now)).unwrap_err();
    assert_eq!((refused.message, refused.reason), (message, EnqueueError::Full));
    assert_eq!(harness.tower.queue_usage().messages, 8);
    assert_eq!(harness.tower.stats().enqueued, 8);
    let link = harness.accept_from(1);
    harness.blocked.insert(link);
    for transfer in 0..3 {
        harness.send_message(link, transfer, "transit");
    }
    assert_eq!(harness.tower.queue_usage().messages, 10);
    assert_eq!((harness.tower.stats().received, harness.tower.stats().refused), (2, 1));
}

#[test]
fn the_local_share_counts_bytes_too() {
    let mut config = fast_config();
    config.max_message = 50;
    config.max_queue_bytes = 100;
    let mut harness = Harness::new(&config);
    harness.enqueue(&"x".repeat(50));
    harness.enqueue(&"x".repeat(30));
    let refused = harness.with(|tower, now| tower.enqueue(Message::text("x"), now)).unwrap_err();
    assert_eq!(refused.reason, EnqueueError::Full);
    let link = harness.accept_from(1);
    harness.send_message(link, 1, &"x".repeat(20));
    assert_eq!(common::queue_usage(&harness.tower), (3, 100));
}

#[test]
fn an_over_long_message_is_given_back() {
    let mut config = fast_config();
    config.max_message = 50;
    let mut harness = Harness::new(&config);
    harness.enqueue(&"x".repeat(50));
    let message = Message::text(&"x".repeat(51));
    let refused = harness.with(|tower, now| tower.enqueue(message.clone(), now)).unwrap_err();
    assert_eq!((refused.message, refused.reason), (message, EnqueueError::TooLarge { max: 50 }));
    assert_eq!(harness.tower.queue_usage().messages, 1);
}

#[test]
fn messages_of_a_mebibyte_pass_through_small_buffers_and_single_bytes() {
    let mut config = fast_config();
    config.max_message = 2 << 20;
    let mut network = network(2, &config);
    network.transmit_limit = 100;
    network.chunk_size = 1;
    network.announce(0, 1);
    let body: Vec<u8> = (0u32..1 << 20).map(|n| n.to_le_bytes()[n as usize % 3]).collect();
    let sent = Message::bytes(&body);
    network.with(0, |tower, now| tower.enqueue(sent.clone(), now)).unwrap();
    network.enqueue(0, "behind it");
    assert!(network.run_until(seconds(10), |network| network.tower(1).stats().received >= 2));
    let held: Vec<_> = (0..2).flat_map(|n| network.tower(n).peek().collect::<Vec<_>>()).collect();
    assert_eq!(held.len(), 2);
    assert!(held.iter().any(|held| held.message == sent), "not a bit has changed");
}

// Heartbeat.

#[test]
fn a_heartbeat_finds_a_death_and_a_return_in_a_quiet_network() {
    for heartbeat in [Some(seconds(5)), None] {
        let mut config = fast_config();
        config.heartbeat = heartbeat;
        let mut network = network(2, &config);
        network.announce(0, 1);
        assert_eq!(network.status(0, 1), Some(Status::Alive));
        network.advance(seconds(90));
        network.crash(1);
        assert_eq!(network.status(0, 1), Some(Status::Alive), "nobody knows yet");
        network.advance(seconds(15));
        let noticed = if heartbeat.is_some() { Status::Lost } else { Status::Alive };
        assert_eq!(network.status(0, 1), Some(noticed));
        network.towers[1] = Some(tower(1, &config));
        network.advance(seconds(15));
        assert_eq!(network.status(0, 1), Some(Status::Alive));
        let known = network.status(1, 0);
        assert_eq!(known, heartbeat.map(|_| Status::Alive), "the returned one hears of the other");
    }
}

#[test]
fn a_tower_that_sends_messages_needs_no_heartbeat() {
    let mut config = fast_config();
    config.heartbeat = Some(seconds(5));
    let mut harness = Harness::new(&config);
    let link = harness.accept_alive(1);
    let mut announces = 0;
    let mut listen = |harness: &mut Harness, talks: bool| {
        if talks {
            harness.enqueue("x");
        }
        harness.advance(seconds(1));
        let mut last = None;
        for frame in harness.take_frames(link) {
            match frame {
                SentFrame::Announce { transfer, .. } => {
                    announces += 1;
                    last = Some(transfer);
                }
                SentFrame::Message { transfer, .. } => last = Some(transfer),
                _ => {}
            }
        }
        last.into_iter().for_each(|last| harness.confirm(link, last));
        announces
    };
    harness.advance(Duration::from_millis(1));
    let busy = (0..20).map(|_| listen(&mut harness, true)).max().unwrap();
    assert!(busy <= 1, "{busy}: at most before the first message");
    let quiet = (0..20).map(|_| listen(&mut harness, false)).max().unwrap() - busy;
    assert!((3..=5).contains(&quiet), "{quiet}: every five seconds");
}

#[test]
fn the_same_message_waits_its_turn() {
    // First in, first out, over one link.
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept_from(1);
    for transfer in 0..10 {
        let frame = MessageFrame { nonce: Nonce(100), ..message(transfer, "one") };
        let frame = if transfer == 4 { frame } else { message(transfer, "x") };
        harness.send_frame(link, &Frame::Message(frame));
    }
    harness.advance(seconds(3));
    let sent = harness.take_frames(link);
    let nonces: Vec<_> = sent
        .iter()
        .filter_map(|frame| match frame {
            SentFrame::Message { nonce, .. } => Some(nonce.0),
            _ => None,
        })
        .collect();
    assert_eq!(nonces, [0, 1, 2, 3, 100, 5, 6, 7, 8, 9]);
}
