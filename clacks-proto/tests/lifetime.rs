//! The lifetime of messages: it shrinks with each hop, and a message whose time is over ends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::time::Duration;

use clacks_proto::wire::{Attempt, Frame, MessageFrame, RefusedReason};
use clacks_proto::{Config, Lifetime, LinkId, Nonce, Notice, SendRate};
use common::harness::{Harness, SentFrame, message};
use common::{fast_config, seconds};

/// Sends a message with a lifetime. The nonce is the number of the transfer.
fn send(harness: &mut Harness, link: LinkId, transfer: u64, text: &str, lifetime: Lifetime) {
    let frame = MessageFrame { lifetime, ..message(transfer, text) };
    harness.send_frame(link, &Frame::Message(frame));
}

fn lifetime(seconds: u64) -> Lifetime {
    Lifetime::new(Duration::from_secs(seconds))
}

/// Returns the lifetimes in the messages that the tower sent on a link since the last call.
fn sent_lifetimes(harness: &mut Harness, link: LinkId) -> Vec<(u64, Option<Duration>)> {
    let frames = harness.take_frames(link).into_iter();
    let lifetime = |frame| match frame {
        SentFrame::Message { transfer, lifetime, .. } => Some((transfer, lifetime.duration())),
        _ => None,
    };
    frames.filter_map(lifetime).collect()
}

/// Returns how many messages have ended, by the notices and by the counter.
fn expired(harness: &Harness) -> (usize, u64) {
    let is_end = |notice: &&Notice| matches!(notice, Notice::MessageExpired { .. });
    (harness.notices.iter().filter(is_end).count(), harness.tower.stats().expired)
}

#[test]
fn rule_5_a_message_ends_within_a_second_of_its_lifetime() {
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept();
    harness.send_hello(link, None);
    for (transfer, rest) in [(1, 20), (2, 10), (3, 30)] {
        send(&mut harness, link, transfer, &format!("lives {rest} s"), lifetime(rest));
    }
    harness.advance(Duration::from_millis(9_999));
    assert_eq!((harness.texts().len(), expired(&harness)), (3, (0, 0)));
    harness.advance(Duration::from_millis(1_001));
    assert_eq!(
        (harness.texts(), expired(&harness)),
        (vec!["lives 20 s".into(), "lives 30 s".into()], (1, 1))
    );
    let ended = harness.notices.iter().find_map(|notice| match notice {
        Notice::MessageExpired { nonce, message, .. } => Some((*nonce, message.clone())),
        _ => None,
    });
    let (nonce, message) = ended.unwrap();
    assert_eq!((nonce, message.as_text()), (Nonce(2), Some("lives 10 s")));
    harness.advance(seconds(20));
    assert_eq!((harness.texts().len(), expired(&harness)), (0, (3, 3)));
    assert_eq!(harness.tower.queue_usage().bytes, 0);
}

#[test]
fn a_hop_shortens_the_lifetime_by_the_time_held_and_half_a_round_trip() {
    let mut harness = Harness::new(&fast_config());
    let from = harness.accept();
    harness.send_hello(from, None);
    let to = harness.accept_alive(2);
    // The first message measures a round trip of two seconds.
    send(&mut harness, from, 1, "first", lifetime(100));
    let mut sent = Vec::new();
    while sent.is_empty() {
        harness.advance(Duration::from_millis(10));
        sent = sent_lifetimes(&mut harness, to);
    }
    let (transfer, rest) = sent[0];
    let held = harness.now.duration_since(clacks_proto::Instant::ORIGIN);
    let slack = Duration::from_millis(12);
    let expected = seconds(100) - held - Duration::from_millis(1);
    assert!(rest.unwrap() >= expected && rest.unwrap() <= expected + slack, "{rest:?}");
    harness.advance(seconds(2));
    harness.confirm(to, transfer);
    let began = harness.now;
    send(&mut harness, from, 2, "second", lifetime(100));
    let mut sent = Vec::new();
    while sent.is_empty() {
        harness.advance(Duration::from_millis(10));
        sent = sent_lifetimes(&mut harness, to);
    }
    let expected = seconds(100) - harness.now.duration_since(began) - seconds(1);
    let rest = sent[0].1.unwrap();
    assert!(rest + slack >= expected && rest <= expected + 2 * slack, "{rest:?} {expected:?}");
}

#[test]
fn a_message_in_flight_ends_when_it_comes_back() {
    for is_refused in [true, false] {
        let mut harness = Harness::new(&fast_config());
        let from = harness.accept();
        harness.send_hello(from, None);
        let to = harness.accept_alive(2);
        send(&mut harness, from, 1, "in flight", lifetime(5));
        harness.advance(seconds(1));
        let [(transfer, Attempt::First, _)] = harness.take_messages(to)[..] else { panic!() };
        harness.advance(seconds(10));
        assert_eq!((harness.texts().len(), expired(&harness)), (1, (0, 0)), "the peer may have it");
        if is_refused {
            harness.refuse(to, transfer, RefusedReason::Busy);
        } else {
            harness.reset(to);
            assert!(harness.dialled.is_empty(), "it is not retried");
        }
        harness.advance(seconds(1));
        assert_eq!((harness.texts().len(), expired(&harness)), (0, (1, 1)));
        assert_eq!(harness.tower.stats().delivered, 0);
    }
}

#[test]
fn a_message_in_flight_that_is_confirmed_late_is_delivered() {
    let mut harness = Harness::new(&fast_config());
    let from = harness.accept();
    harness.send_hello(from, None);
    let to = harness.accept_alive(2);
    send(&mut harness, from, 1, "in flight", lifetime(5));
    harness.advance(seconds(1));
    let [(transfer, ..)] = harness.take_messages(to)[..] else { panic!() };
    harness.advance(seconds(10));
    harness.confirm(to, transfer);
    assert_eq!((harness.tower.stats().delivered, expired(&harness)), (1, (0, 0)));
}

#[test]
fn coalesced_copies_keep_the_longer_lifetime() {
    for lifetimes in [[10, 30], [30, 10]] {
        let mut harness = Harness::new(&fast_config());
        let link = harness.accept();
        harness.send_hello(link, None);
        for (transfer, rest) in (1..).zip(lifetimes) {
            let frame = message(transfer, "copy");
            let frame = MessageFrame { lifetime: lifetime(rest), nonce: Nonce(1), ..frame };
            harness.send_frame(link, &Frame::Message(frame));
        }
        assert_eq!(harness.tower.stats().coalesced, 1);
        harness.advance(seconds(29));
        assert_eq!(harness.texts(), ["copy"]);
        harness.advance(seconds(2));
        assert!(harness.texts().is_empty());
    }
}

#[test]
fn a_longer_lifetime_is_shortened_to_the_maximum() {
    let mut config = fast_config();
    (config.lifetime, config.max_lifetime) = (Some(seconds(10)), Some(seconds(20)));
    let mut harness = Harness::new(&config);
    let link = harness.accept();
    harness.send_hello(link, None);
    send(&mut harness, link, 1, "long", lifetime(1_000));
    send(&mut harness, link, 2, "unlimited", Lifetime::UNLIMITED);
    harness.advance(seconds(19));
    assert_eq!(harness.texts().len(), 2);
    harness.advance(seconds(2));
    assert!(harness.texts().is_empty());
}

#[test]
fn an_enqueued_message_lives_from_half_of_the_lifetime_to_all_of_it() {
    let mut config = Config::default();
    (config.lifetime, config.max_lifetime) = (Some(seconds(1_000)), Some(seconds(1_000)));
    let mut harness = Harness::new(&config);
    harness.enqueue_many(400, "drawn");
    let ends = harness.tower.peek().map(|held| held.expires_at.unwrap().as_nanos() / 1_000_000);
    let ends: Vec<_> = ends.collect();
    assert!(ends.iter().all(|end| (500_000..=1_000_000).contains(end)));
    // Each tenth of the range is drawn: with 400 draws, all but surely.
    for tenth in 0..10 {
        let range = 500_000 + tenth * 50_000..500_000 + (tenth + 1) * 50_000;
        assert!(ends.iter().any(|end| range.contains(end)), "{range:?}");
    }
}

#[test]
fn without_rule_5_messages_travel_for_ever() {
    let mut config = fast_config();
    (config.lifetime, config.max_lifetime) = (None, None);
    let mut harness = Harness::new(&config);
    let link = harness.accept_alive(1);
    harness.enqueue("for ever");
    assert_eq!(harness.tower.peek().next().unwrap().expires_at, None);
    harness.advance(seconds(1));
    assert_eq!(sent_lifetimes(&mut harness, link), [(1, None)]);
    // A limited lifetime of a message that comes in is kept.
    let mut harness = Harness::new(&config);
    let link = harness.accept();
    harness.send_hello(link, None);
    send(&mut harness, link, 1, "limited", lifetime(5));
    harness.advance(seconds(10));
    assert_eq!(expired(&harness), (1, 1));
}

#[test]
fn a_message_that_would_not_survive_the_hop_is_dropped_at_every_rate() {
    for rate in [SendRate::Unlimited, SendRate::per_second(1_000)] {
        let mut config = fast_config();
        config.send_rate = rate;
        let mut harness = Harness::new(&config);
        let from = harness.accept();
        harness.send_hello(from, None);
        let to = harness.accept_alive(2);
        // Each hop takes a millisecond, even if it takes no time.
        send(&mut harness, from, 1, "last hop", Lifetime::new(Duration::from_millis(1)));
        send(&mut harness, from, 2, "one more", Lifetime::new(Duration::from_millis(3)));
        harness.advance(Duration::from_millis(1));
        let sent = sent_lifetimes(&mut harness, to);
        assert_eq!(sent.len(), 1, "{rate:?}");
        assert!(sent[0].1.unwrap() <= Duration::from_millis(2));
        harness.advance(seconds(1));
        assert_eq!(expired(&harness).1, 1);
    }
}
