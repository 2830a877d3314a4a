//! Flow control: ticks, windows, probes, limits of the message length, limits of the queue, and the
//! heartbeat.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::time::Duration;

use clacks_proto::wire::{Farewell, Frame, Hello, MessageFrame, RefusedReason};
use clacks_proto::{
    CloseReason, Config, EnqueueError, Event, LinkId, Message, MessageState, Nonce, ProtocolError,
    SendRate, Status, Window,
};
use common::harness::{Harness, SentFrame, encode, hello, message};
use common::{address, config_with_messages_on_dials, fast_config, network, seconds, tower};

/// Connects peer `n` with these limits in its hello. An announce makes the peer alive.
fn accept_alive_with_limits(
    harness: &mut Harness,
    n: usize,
    window: Window,
    max_message: u32,
) -> LinkId {
    let link = harness.accept();
    let hello = Hello { window, max_message, ..hello(Some(address(n))) };
    harness.send_frame(link, &Frame::Hello(hello));
    harness.send_announce(link, 1_000);
    harness.take_frames(link);
    link
}

const WIDE_WINDOW: Window = Window { messages: 32, bytes: 256 * 1024 };

fn unlimited_config() -> Config {
    let mut config = fast_config();
    config.send_rate = SendRate::Unlimited;
    config
}

fn take_texts(harness: &mut Harness, link: LinkId) -> Vec<String> {
    harness.take_messages(link).into_iter().map(|(.., text)| text).collect()
}

// The send rate.

fn config_with_100_ms_tick() -> Config {
    let mut config = fast_config();
    config.send_rate = SendRate::Every(Duration::from_millis(100));
    config.burst = 4;
    config
}

#[test]
fn one_message_is_sent_on_each_tick() {
    let mut harness = Harness::new(&config_with_100_ms_tick());
    let link = harness.accept_alive(1);
    harness.enqueue_many(10, "message");
    let mut times = Vec::new();
    let mut send_times = |harness: &mut Harness, count: usize| {
        while times.len() < count {
            harness.advance(Duration::from_millis(1));
            times.extend(harness.take_messages(link).iter().map(|_| harness.now.as_nanos()));
            assert!(harness.now.as_nanos() < 60_000_000_000);
        }
        times.clone()
    };
    let ten = send_times(&mut harness, 10);
    let apart: Vec<_> = ten.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(apart, [100_000_000; 9], "ten messages are sent on ten ticks");
    // A message that is enqueued between two ticks is sent on the next one. Ticks without a message
    // are not saved up.
    harness.advance(Duration::from_millis(1_234));
    harness.enqueue("late");
    harness.enqueue("later");
    let twelve = send_times(&mut harness, 12);
    assert_eq!((twelve[10] - twelve[9]) % 100_000_000, 0);
    assert_eq!(twelve[11] - twelve[10], 100_000_000);
}

#[test]
fn a_late_timer_sends_at_most_one_burst() {
    let mut harness = Harness::new(&config_with_100_ms_tick());
    let link = harness.accept_alive(1);
    harness.enqueue_many(10, "message");
    harness.advance(Duration::from_millis(100));
    let before = harness.take_messages(link).len();
    harness.now = harness.now + Duration::from_millis(210);
    harness.handle(Event::TimerFired);
    assert_eq!(harness.take_messages(link).len(), 2, "two ticks were due");
    harness.now = harness.now + seconds(10);
    harness.handle(Event::TimerFired);
    assert_eq!(harness.take_messages(link).len(), 4, "the burst is four messages");
    harness.advance(Duration::from_millis(100));
    assert_eq!(harness.take_messages(link).len() + before + 2 + 4, 8);
}

#[test]
fn at_an_unlimited_rate_messages_are_sent_at_once_up_to_the_window() {
    let mut harness = Harness::new(&unlimited_config());
    let link =
        accept_alive_with_limits(&mut harness, 1, Window { messages: 5, bytes: 1_000 }, 1_000);
    harness.enqueue_many(12, "message");
    let transfers = harness.take_messages(link);
    assert_eq!(transfers.len(), 5);
    harness.confirm(link, transfers[2].0);
    assert_eq!(harness.take_messages(link).len(), 3);
    assert_eq!(harness.now.as_nanos(), 0, "no time has passed");
}

#[test]
fn an_unlimited_sender_does_not_spin_the_timer_if_no_peer_accepts_the_message() {
    for backoff in [Duration::ZERO, Duration::from_millis(100)] {
        let mut config = unlimited_config();
        config.busy_backoff = backoff;
        let mut harness = Harness::new(&config);
        accept_alive_with_limits(&mut harness, 1, WIDE_WINDOW, 10);
        harness.enqueue("longer than ten bytes");
        harness.advance(seconds(1));
        let wide = harness.accept_alive(2);
        harness.advance(seconds(1));
        assert_eq!(take_texts(&mut harness, wide), ["longer than ten bytes"]);
    }
}

// Windows.

#[test]
fn a_tower_never_exceeds_the_window_of_its_peer() {
    let window = Window { messages: 4, bytes: 10 };
    for config in [fast_config(), unlimited_config()] {
        let mut harness = Harness::new(&config);
        let link = accept_alive_with_limits(&mut harness, 1, window, 1_000);
        // The bodies have 1 to 12 bytes. Some fill the window by bytes, others by messages. Bodies
        // above 10 bytes are sent only into an empty window.
        for n in 0..60 {
            harness.enqueue(&"x".repeat(1 + n % 12));
        }
        let mut in_flight: Vec<(u64, usize)> = Vec::new();
        let (mut most, mut most_bytes, mut has_oversized, mut count) = (0, 0, false, 0);
        for step in 0..600 {
            harness.advance(Duration::from_millis(50));
            let sent = harness.take_messages(link);
            count += sent.len();
            in_flight.extend(sent.iter().map(|(transfer, _, text)| (*transfer, text.len())));
            let bytes: usize = in_flight.iter().map(|(_, len)| len).sum();
            assert!(in_flight.len() <= 4, "{in_flight:?}");
            assert!(bytes <= 10 || in_flight.len() == 1, "{in_flight:?}");
            (most, most_bytes) = (most.max(in_flight.len()), most_bytes.max(bytes));
            has_oversized |= bytes > 10;
            if step > 20 && step % 3 == 0 && !in_flight.is_empty() {
                harness.confirm(link, in_flight.remove(0).0);
            }
            if step > 20 && step % 7 == 0 && !in_flight.is_empty() {
                let through = in_flight[in_flight.len() / 2].0;
                in_flight.drain(..=in_flight.len() / 2);
                harness.confirm(link, through);
            }
        }
        assert_eq!(count, 60);
        assert!(
            most == 4 && most_bytes >= 10 && has_oversized,
            "each limit of the window was reached"
        );
    }
}

#[test]
fn a_tower_sends_no_more_than_its_own_window_to_a_peer_with_a_larger_one() {
    let mut config = unlimited_config();
    config.window = Window { messages: 32, bytes: 1_000_000 };
    let mut harness = Harness::new(&config);
    let window = Window { messages: 4096, bytes: u32::MAX };
    let link = accept_alive_with_limits(&mut harness, 1, window, 1_000);
    harness.enqueue_many(100, "message");
    assert_eq!(harness.take_messages(link).len(), 32);
}

#[test]
fn announces_count_towards_the_window() {
    let mut harness = Harness::new(&unlimited_config());
    let link =
        accept_alive_with_limits(&mut harness, 1, Window { messages: 2, bytes: 1_000 }, 1_000);
    harness.with(|tower, now| tower.announce(&address(1), now)).unwrap();
    harness.enqueue_many(3, "message");
    let sent = harness.take_frames(link);
    assert!(
        matches!(sent[..], [SentFrame::Announce { .. }, SentFrame::Message { .. }]),
        "{sent:?}"
    );
}

#[test]
fn the_link_of_a_peer_that_exceeds_our_window_is_closed() {
    let mut config = fast_config();
    config.window = Window { messages: 3, bytes: 100 };
    for by_bytes in [true, false] {
        let mut harness = Harness::new(&config);
        let link = harness.accept_from(1);
        // No confirmation reaches the peer, because the link transmits nothing.
        harness.blocked.insert(link);
        let text = if by_bytes { "x".repeat(60) } else { "x".to_string() };
        let granted = if by_bytes { 1 } else { 3 };
        for transfer in 0..granted {
            harness.send_message(link, transfer, &text);
        }
        assert_eq!(harness.close_reason(link), None);
        harness.send_message(link, granted, &text);
        let reason = CloseReason::Protocol(ProtocolError::WindowExceeded);
        assert_eq!(harness.close_reason(link), Some(reason));
        harness.blocked.clear();
        assert_eq!(harness.tower.queue_usage().messages, usize::try_from(granted).unwrap());
        assert_eq!(harness.tower.stats().links_misbehaved, 1);
    }
}

#[test]
fn answered_transfers_no_longer_count_towards_our_window() {
    let mut config = fast_config();
    config.window = Window { messages: 1, bytes: 1 };
    (config.max_queue_messages, config.exchange_credit) = (5, 0);
    let mut harness = Harness::new(&config);
    let link = harness.accept_from(1);
    for transfer in 0..100 {
        harness.send_message(link, transfer, "longer than the whole window");
    }
    assert_eq!(harness.close_reason(link), None);
    assert_eq!(harness.tower.queue_usage().messages, 5);
    // The same for the bytes of the window.
    config.window = Window { messages: 3, bytes: 100 };
    let mut harness = Harness::new(&config);
    let link = harness.accept_from(1);
    for transfer in 0..100 {
        let body = "forty bytes of text, and not a byte more";
        let two = [2 * transfer + 1, 2 * transfer + 2];
        let bytes = two.map(|transfer| encode(&Frame::Message(message(transfer, body)))).concat();
        harness.send_bytes(link, &bytes);
    }
    assert_eq!(harness.close_reason(link), None);
}

// Probes.

#[test]
fn a_peer_that_is_not_alive_gets_one_message_at_a_time() {
    let mut harness = Harness::new(&config_with_messages_on_dials());
    let link = harness.accept_alive(2);
    harness.expand(1);
    harness.enqueue_many(20, "message");
    harness.advance(seconds(2));
    let to_new_peer = MessageState::InFlight { to: Some(address(1)) };
    let to_new_peer = harness.tower.peek().filter(|held| held.state == to_new_peer).count();
    assert_eq!(to_new_peer, 1);
    assert_eq!(harness.take_messages(link).len(), 19, "the alive peer gets the other messages");
    // A hello does not make the peer alive, so the limit stays.
    let probe = harness.connect_dial_with_hello();
    harness.enqueue_many(5, "more");
    harness.advance(seconds(2));
    assert_eq!(harness.take_messages(probe).len(), 1);
    assert_eq!(harness.take_messages(link).len(), 5);
}

#[test]
fn at_most_max_probes_peers_that_are_not_alive_are_tried_at_once() {
    let mut config = fast_config();
    config.max_probes = 3;
    let mut harness = Harness::new(&config);
    (1..9).for_each(|n| harness.expand(n));
    harness.enqueue_many(20, "message");
    harness.advance(seconds(3));
    assert_eq!(harness.dialled.len(), 3);
    harness.refuse_dial();
    harness.advance(Duration::from_millis(100));
    assert_eq!(harness.dialled.len(), 3, "the refused dial makes room for another one");
    // The limit does not count alive peers. The first message leaves when the peer is alive.
    let link = harness.accept_alive(10);
    harness.advance(seconds(1));
    assert_eq!(harness.take_messages(link).len(), 19);
}

// Message lengths.

#[test]
fn a_message_too_long_for_a_peer_goes_to_another_peer_and_blocks_no_other_message() {
    for config in [fast_config(), unlimited_config()] {
        let mut harness = Harness::new(&config);
        let small = accept_alive_with_limits(&mut harness, 1, WIDE_WINDOW, 10);
        harness.enqueue("longer than ten bytes");
        harness.enqueue_many(5, "short");
        harness.advance(seconds(5));
        assert_eq!(
            take_texts(&mut harness, small).len(),
            5,
            "the messages behind the long one are sent"
        );
        let wide = harness.accept_alive(2);
        harness.advance(seconds(5));
        assert_eq!(take_texts(&mut harness, wide), ["longer than ten bytes"]);
        assert!(take_texts(&mut harness, small).is_empty());
    }
}

#[test]
fn a_message_that_waits_for_the_hello_returns_if_it_exceeds_the_limit_in_the_hello() {
    let mut harness = Harness::new(&config_with_messages_on_dials());
    harness.expand(1);
    harness.enqueue("longer than ten bytes");
    assert!(harness.run_until_dial(seconds(1)));
    let link = harness.connect_dial();
    harness.send_frame(link, &Frame::Hello(Hello { max_message: 10, ..hello(None) }));
    assert!(harness.take_messages(link).is_empty(), "the message is too long for the peer");
    assert_eq!(harness.tower.peek().next().unwrap().state, MessageState::Waiting);
    assert_eq!((harness.tower.stats().returned, harness.tower.stats().doubt_unresolved), (1, 0));
    assert_eq!(harness.close_reason(link), None, "the link stays open for shorter messages");
}

#[test]
fn a_new_peer_with_a_low_length_limit_does_not_block_a_long_message() {
    for config in [fast_config(), unlimited_config()] {
        let mut harness = Harness::new(&config);
        let wide = harness.accept_alive(2);
        let small = harness.accept();
        harness
            .send_frame(small, &Frame::Hello(Hello { max_message: 10, ..hello(Some(address(1))) }));
        harness.enqueue("longer than ten bytes");
        // New peers are drawn first. The tower tries this one with an announce instead of the
        // message.
        for _ in 0..50 {
            harness.advance(Duration::from_millis(100));
            for frame in harness.take_frames(small) {
                let SentFrame::Announce { transfer, .. } = frame else { continue };
                harness.confirm(small, transfer);
            }
        }
        assert_eq!(take_texts(&mut harness, wide), ["longer than ten bytes"]);
        assert_eq!(harness.status(1), Some(Status::Alive));
    }
}

#[test]
fn after_a_too_large_refusal_a_peer_gets_only_shorter_messages() {
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept_alive(1);
    harness.enqueue("twenty bytes of text");
    harness.advance(seconds(1));
    let [(transfer, ..)] = harness.take_messages(link)[..] else { panic!("expected one message") };
    harness.refuse(link, transfer, RefusedReason::TooLarge);
    assert_eq!(harness.status(1), Some(Status::Alive));
    harness.enqueue("nineteen are enough");
    harness.advance(seconds(5));
    assert_eq!(take_texts(&mut harness, link), ["nineteen are enough"]);
    assert_eq!(harness.tower.queue_usage().messages, 2);
}

#[test]
fn the_link_of_a_peer_that_sends_a_body_above_our_limit_is_closed() {
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
fn towers_with_different_length_limits_exchange_the_messages_that_fit() {
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

// Limits of the queue.

#[test]
fn enqueue_fails_at_the_local_share_and_messages_of_peers_are_still_accepted() {
    let mut config = fast_config();
    (config.max_queue_messages, config.exchange_credit) = (10, 0);
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
fn the_local_share_limits_bytes_too() {
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
fn enqueue_returns_a_message_that_is_too_long() {
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
fn a_message_of_a_mebibyte_survives_small_send_buffers_and_single_byte_reads() {
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
    assert!(held.iter().any(|held| held.message == sent), "the body is unchanged");
}

// Heartbeat.

#[test]
fn a_heartbeat_detects_that_an_idle_peer_crashes_and_restarts() {
    for heartbeat in [Some(seconds(5)), None] {
        let mut config = fast_config();
        config.heartbeat = heartbeat;
        let mut network = network(2, &config);
        network.announce(0, 1);
        assert_eq!(network.status(0, 1), Some(Status::Alive));
        network.advance(seconds(90));
        network.crash(1);
        assert_eq!(network.status(0, 1), Some(Status::Alive), "the crash is not detected at once");
        network.advance(seconds(15));
        let detected = if heartbeat.is_some() { Status::Lost } else { Status::Alive };
        assert_eq!(network.status(0, 1), Some(detected));
        network.towers[1] = Some(tower(1, &config));
        network.advance(seconds(15));
        assert_eq!(network.status(0, 1), Some(Status::Alive));
        let known = network.status(1, 0);
        assert_eq!(
            known,
            heartbeat.map(|_| Status::Alive),
            "the restarted tower learns the other one by its heartbeat"
        );
    }
}

#[test]
fn a_heartbeat_is_sent_only_to_a_peer_that_gets_no_messages() {
    let mut config = fast_config();
    config.heartbeat = Some(seconds(5));
    let mut harness = Harness::new(&config);
    let link = harness.accept_alive(1);
    let mut announces = 0;
    let mut count_announces = |harness: &mut Harness, enqueues: bool| {
        if enqueues {
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
    let busy = (0..20).map(|_| count_announces(&mut harness, true)).max().unwrap();
    assert!(busy <= 1, "{busy} announces: at most one, before the first message");
    let quiet = (0..20).map(|_| count_announces(&mut harness, false)).max().unwrap() - busy;
    assert!((3..=5).contains(&quiet), "{quiet} announces: one every five seconds");
}

#[test]
fn messages_leave_in_the_order_of_their_arrival() {
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
