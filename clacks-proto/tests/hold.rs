//! Holds: a message rests before it joins the tail of the queue.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::time::Duration;

use clacks_proto::{
    Config, DefaultVerdict, EnqueueOptions, Message, MessageState, Nonce, Screening, Tower, Verdict,
};
use common::harness::Harness;
use common::{fast_config, seconds};

fn enqueue(harness: &mut Harness, text: &str, options: EnqueueOptions) -> Nonce {
    let message = Message::text(text);
    harness.with(|tower, now| tower.enqueue_with(message, options, now)).unwrap()
}

fn held_for(hold: u64) -> EnqueueOptions {
    EnqueueOptions { hold: seconds(hold), ..EnqueueOptions::default() }
}

/// Returns how many messages wait, and how many rest.
fn places(harness: &Harness) -> (usize, usize) {
    let rest = harness.tower.peek().filter(|held| held.state == MessageState::Held).count();
    let usage = harness.tower.queue_usage();
    assert_eq!(usage.at_rest, rest);
    (usage.waiting, rest)
}

fn small_config() -> Config {
    let mut config = fast_config();
    (config.max_queue_messages, config.local_share) = (10, 100);
    config
}

#[test]
fn rule_11_a_message_at_rest_is_not_sent_before_its_hold_ends() {
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept_alive(1);
    enqueue(&mut harness, "rests", held_for(10));
    harness.enqueue("moves");
    harness.advance(Duration::from_millis(9_999));
    let texts = |harness: &mut Harness| {
        let sent = harness.take_messages(link).into_iter();
        sent.map(|(_, _, text)| text).collect::<Vec<_>>()
    };
    assert_eq!(texts(&mut harness), ["moves"]);
    assert_eq!(places(&harness), (0, 1));
    assert_eq!(harness.texts().len(), 2, "a message at rest is held");
    harness.advance(seconds(1));
    assert_eq!(texts(&mut harness), ["rests"]);
}

#[test]
fn a_message_rests_at_most_for_its_lifetime() {
    let mut harness = Harness::new(&fast_config());
    let lifetime = Some(seconds(5));
    enqueue(&mut harness, "short", EnqueueOptions { lifetime, hold: seconds(100) });
    harness.advance(seconds(4));
    assert_eq!(places(&harness), (0, 1));
    harness.advance(seconds(2));
    assert_eq!((places(&harness), harness.tower.stats().expired), ((0, 0), 1));
}

#[test]
fn rule_11_an_accepted_message_rests() {
    let mut config = fast_config();
    let (timeout, default) = (seconds(10), DefaultVerdict::Accept);
    config.screening = Screening::On { max_offers: 9, timeout, default };
    let mut harness = Harness::new(&config);
    let link = harness.accept_from(1);
    harness.send_message(link, 1, "screened");
    let (offer, _) = harness.offers.pop_front().unwrap();
    let verdict = Verdict::Accept { hold: seconds(10) };
    harness.with(|tower, now| tower.decide(offer, verdict, now)).unwrap();
    assert_eq!(places(&harness), (0, 1));
    // A copy coalesces with a message at rest.
    harness.send_message(link, 1, "screened");
    assert_eq!((places(&harness), harness.tower.stats().coalesced), ((0, 1), 1));
    harness.advance(seconds(11));
    assert_eq!(places(&harness).1, 0);
}

#[test]
fn a_queue_above_the_limit_takes_no_new_holds() {
    for (limit, expected) in [(60, (3, 6)), (80, (1, 8))] {
        let mut config = small_config();
        (config.hold_below, config.local_share) = (limit, 100);
        let mut harness = Harness::new(&config);
        for n in 0..9 {
            enqueue(&mut harness, &format!("message {n}"), held_for(1_000));
        }
        assert_eq!(places(&harness), expected, "{limit} % of 10 messages may rest");
    }
}

#[test]
fn holds_end_one_by_one_above_nine_tenths_and_all_at_a_shutdown() {
    let mut harness = Harness::new(&small_config());
    for n in 0..6 {
        enqueue(&mut harness, &format!("message {n}"), held_for(1_000 - n));
    }
    harness.enqueue_many(3, "fills");
    assert_eq!(places(&harness), (3, 6));
    harness.enqueue("above");
    assert!(places(&harness).1 < 6 && places(&harness).1 > 0);
    let rest = |harness: &Harness| {
        let held = harness.tower.peek().filter(|held| held.state == MessageState::Held);
        held.map(|held| held.message.as_text().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert!(!rest(&harness).contains(&"message 5".into()), "the hold that ends next ends first");
    harness.accept_alive(1);
    harness.with(Tower::shutdown);
    assert_eq!(places(&harness).1, 0);
}

#[test]
fn without_rule_11_no_message_rests() {
    let mut config = fast_config();
    config.hold_below = 0;
    let mut harness = Harness::new(&config);
    enqueue(&mut harness, "moves", held_for(10));
    assert_eq!(places(&harness), (1, 0));
}
