//! Full queues: the share of each peer, and the exchange between full towers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::time::Duration;

use clacks_proto::wire::{Attempt, RefusedReason};
use clacks_proto::{Config, EnqueueOptions, Message, Notice, SendRate};
use common::harness::{Harness, SentFrame};
use common::{Network, fast_config, network, seconds};
use proptest::prelude::*;

/// A tower with room for eight messages, all of which the application may use.
fn small_queue() -> Config {
    let mut config = fast_config();
    (config.max_queue_messages, config.local_share) = (8, 100);
    (config.max_message, config.max_queue_bytes) = (4_096, 32 * 1_024);
    config.heartbeat = None;
    config
}

/// Returns towers that know each other and whose applications enqueue bodies of these lengths, in
/// turn, until their queues are full.
fn full_network(count: usize, config: &Config, lengths: &[usize]) -> Network {
    let mut network = network(count, config);
    network.latency = Duration::from_millis(5);
    for (n, other) in (0..count).flat_map(|n| (0..count).map(move |other| (n, other))) {
        if n != other {
            network.announce(n, other);
        }
    }
    network.advance(seconds(5));
    for n in 0..count {
        let bodies = lengths.iter().cycle().map(|len| Message::bytes(&vec![7; *len]));
        for message in bodies.take(1_000) {
            if network.with(n, |tower, now| tower.enqueue(message, now)).is_err() {
                break;
            }
        }
    }
    network
}

fn delivered(network: &Network) -> u64 {
    network.towers.iter().flatten().map(|tower| tower.stats().delivered).sum()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]
    #[test]
    #[cfg_attr(miri, ignore = "draws many cases")]
    fn rule_3_two_full_towers_go_on_exchanging(
        lengths in proptest::collection::vec(0usize..4_096, 1..6),
        credit in 1u16..40,
        unlimited in any::<bool>(),
    ) {
        let mut config = small_queue();
        config.exchange_credit = credit;
        if unlimited {
            config.send_rate = SendRate::Unlimited;
        }
        let mut network = full_network(2, &config, &lengths);
        for _ in 0..10 {
            let before = delivered(&network);
            network.advance(seconds(10));
            prop_assert!(delivered(&network) > before, "nothing moves");
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "draws many cases")]
    fn rule_3_three_full_towers_go_on_exchanging(
        lengths in proptest::collection::vec(0usize..4_096, 1..6),
        credit in 1u16..40,
        unlimited in any::<bool>(),
    ) {
        let mut config = small_queue();
        config.exchange_credit = credit;
        if unlimited {
            config.send_rate = SendRate::Unlimited;
        }
        let mut network = full_network(3, &config, &lengths);
        for _ in 0..3 {
            let before: Vec<_> = (0..3).map(|n| network.tower(n).stats().delivered).collect();
            network.actions.clear();
            network.notices.iter_mut().for_each(Vec::clear);
            network.advance(seconds(10));
            for (n, before) in before.into_iter().enumerate() {
                prop_assert!(network.tower(n).stats().delivered > before, "tower {} is stuck", n);
            }
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "draws many cases")]
    fn rule_3_two_full_towers_go_on_after_a_third_one_has_left(
        lengths in proptest::collection::vec(0usize..4_096, 1..6),
        credit in 1u16..40,
    ) {
        let mut config = small_queue();
        config.exchange_credit = credit;
        let mut network = full_network(3, &config, &lengths);
        network.advance(seconds(10));
        network.with(2, clacks_proto::Tower::shutdown);
        let has_left = network.run_until(seconds(30), |network| {
            network.has_notice(2, |notice| matches!(notice, Notice::ShutDown { .. }))
        });
        prop_assert!(has_left);
        // The leaving tower hands over what the others have room for, and the credit of a peer.
        for n in 0..2 {
            let held = network.tower(n).queue_usage().messages;
            prop_assert!(held <= 8 + 2 * usize::from(credit), "{} messages", held);
        }
        network.towers[2] = None;
        network.advance(seconds(60));
        for _ in 0..10 {
            let before = delivered(&network);
            network.advance(seconds(10));
            prop_assert!(delivered(&network) > before, "nothing moves");
        }
    }
}

#[test]
fn without_rule_3_two_full_towers_never_exchange_a_message_again() {
    let mut config = small_queue();
    config.exchange_credit = 0;
    let mut network = full_network(2, &config, &[100]);
    network.advance(seconds(60));
    let before = delivered(&network);
    network.advance(seconds(60));
    assert_eq!(delivered(&network), before);
}

/// Returns a tower that is full, with a link to an alive peer that has taken nothing.
fn full_harness(config: &Config) -> (Harness, clacks_proto::LinkId) {
    let mut harness = Harness::new(config);
    let link = harness.accept_alive(1);
    harness.enqueue_many(8, "local");
    harness.take_frames(link);
    (harness, link)
}

/// Sends messages of `len` bytes, and returns how many are confirmed before the first refusal.
fn taken(harness: &mut Harness, link: clacks_proto::LinkId, first: u64, len: usize) -> u64 {
    let body = "x".repeat(len);
    for transfer in first..first + 1_000 {
        harness.send_message(link, transfer, &body);
        if harness.take_frames(link).contains(&SentFrame::Refused(transfer, RefusedReason::Busy)) {
            return transfer - first;
        }
    }
    1_000
}

#[test]
fn rule_3_a_full_tower_takes_as_much_from_a_peer_as_its_credit_and_no_more() {
    for (len, expected) in [(10, 16), (256, 16), (1_024, 4), (4_096, 1)] {
        let (mut harness, link) = full_harness(&small_queue());
        assert_eq!(taken(&mut harness, link, 2_000, len), expected, "messages of {len} bytes");
        // What the peer takes is credit again.
        harness.advance(Duration::from_millis(100));
        let messages = harness.take_messages(link);
        assert!(!messages.is_empty());
        for (transfer, attempt, _) in &messages {
            assert_eq!(*attempt, Attempt::First);
            harness.confirm(link, *transfer);
        }
    }
}

#[test]
fn rule_3_a_full_tower_takes_nothing_beyond_its_bounds_from_an_unknown_caller() {
    let (mut harness, _) = full_harness(&small_queue());
    let stranger = harness.accept();
    harness.send_hello(stranger, None);
    assert_eq!(taken(&mut harness, stranger, 1, 10), 0);
}

#[test]
fn rule_3_all_peers_together_have_the_credit_of_max_links_peers() {
    let mut config = small_queue();
    (config.max_links, config.max_unproved, config.exchange_credit) = (2, 1, 4);
    let (mut harness, mut link) = full_harness(&config);
    let mut taken_of_all = 0;
    for n in 2..20 {
        let first = 10_000 * u64::try_from(n).unwrap();
        taken_of_all += taken(&mut harness, link, first, 10);
        harness.send_goodbye(link);
        link = harness.accept_alive(n);
    }
    assert_eq!(taken_of_all, 8, "two links and four messages");
}

#[test]
fn rule_3_a_message_refused_as_busy_is_replaced_at_once_three_times_a_tick() {
    let mut config = fast_config();
    config.send_rate = SendRate::per_second(1);
    config.busy_backoff = seconds(1_000);
    let mut harness = Harness::new(&config);
    let links: Vec<_> = (1..=9).map(|n| harness.accept_alive(n)).collect();
    harness.enqueue_many(9, "message");
    let mut sent_in_tick = Vec::new();
    for _ in 0..2 {
        harness.advance(seconds(1));
        let mut sent = 0;
        loop {
            let refused = links.iter().flat_map(|link| {
                let messages = harness.take_messages(*link);
                messages.into_iter().map(|(transfer, ..)| (*link, transfer)).collect::<Vec<_>>()
            });
            let refused: Vec<_> = refused.collect();
            if refused.is_empty() {
                break;
            }
            sent += refused.len();
            for (link, transfer) in refused {
                harness.refuse(link, transfer, RefusedReason::Busy);
            }
        }
        sent_in_tick.push(sent);
    }
    assert_eq!(sent_in_tick, [4, 4]);
}

#[test]
fn rules_3_and_6_a_message_that_is_exchanged_ends_the_back_off_of_its_sender() {
    let mut config = small_queue();
    (config.busy_backoff, config.max_busy_backoff) = (seconds(1_000), seconds(1_000));
    let (mut harness, link) = full_harness(&config);
    harness.advance(seconds(1));
    let messages = harness.take_messages(link);
    for (transfer, ..) in &messages {
        harness.refuse(link, *transfer, RefusedReason::Busy);
    }
    harness.advance(seconds(1));
    assert_eq!(harness.take_messages(link), [], "the peer is left alone");
    harness.send_message(link, 1, "exchanged");
    harness.advance(seconds(1));
    assert!(!harness.take_messages(link).is_empty());
}

#[test]
fn rules_3_and_11_full_towers_whose_messages_rest_go_on_exchanging() {
    let mut config = small_queue();
    config.hold_below = 100;
    let mut network = full_network(2, &config, &[]);
    for n in 0..2 {
        let options = EnqueueOptions { hold: seconds(100_000), ..EnqueueOptions::default() };
        for len in 0..8 {
            let message = Message::bytes(&vec![7; len]);
            network.with(n, |tower, now| tower.enqueue_with(message, options, now)).unwrap();
        }
        let usage = network.tower(n).queue_usage();
        assert!(usage.at_rest >= 6, "{usage:?}");
    }
    for _ in 0..10 {
        let before = delivered(&network);
        network.advance(seconds(10));
        assert!(delivered(&network) > before, "nothing moves");
    }
}

// The share of each peer.

/// A queue of a hundred messages, and no exchange.
fn shared_queue() -> Config {
    let mut config = fast_config();
    (config.max_queue_messages, config.max_queue_bytes) = (100, 100 * config.max_message);
    (config.exchange_credit, config.send_rate) = (0, SendRate::per_second(1));
    config
}

/// Returns how many messages each of `peers` gets into the queue, one after the other.
fn taken_of_each(config: &Config, peers: usize) -> Vec<u64> {
    let mut harness = Harness::new(config);
    let links: Vec<_> = (1..=peers).map(|n| harness.accept_alive(n)).collect();
    let firsts = (1..).map(|n| n * 10_000);
    links
        .into_iter()
        .zip(firsts)
        .map(|(link, first)| taken(&mut harness, link, first, 10))
        .collect()
}

#[test]
fn rule_4_a_peer_holds_at_most_its_share_of_a_queue_that_is_nearly_full() {
    // Twice an equal share among two peers and this tower is two thirds, and so on.
    assert_eq!(taken_of_each(&shared_queue(), 2), [80, 20]);
    assert_eq!(taken_of_each(&shared_queue(), 3), [80, 20, 0]);
    // With many peers the share is an eighth.
    assert_eq!(taken_of_each(&shared_queue(), 40)[..4], [80, 12, 8, 0]);
}

#[test]
fn rule_4_the_only_alive_peer_may_fill_the_queue() {
    assert_eq!(taken_of_each(&shared_queue(), 1), [100]);
}

#[test]
fn without_rule_4_one_peer_fills_the_queue() {
    let mut config = shared_queue();
    config.fair_share_from = 100;
    assert_eq!(taken_of_each(&config, 3), [100, 0, 0]);
}

#[test]
fn rule_4_all_unproved_callers_share_an_eighth() {
    let mut harness = Harness::new(&shared_queue());
    let links = [1, 2].map(|n| harness.accept_alive(n));
    assert_eq!(taken(&mut harness, links[0], 10_000, 10), 80);
    let strangers = [(); 2].map(|()| {
        let link = harness.accept();
        harness.send_hello(link, None);
        link
    });
    let counts = [0, 1].map(|n| taken(&mut harness, strangers[n], 20_000 + 1_000 * n as u64, 10));
    assert_eq!(counts, [12, 0]);
}

#[test]
fn rules_3_and_4_a_peer_beyond_its_share_exchanges_messages() {
    let mut config = shared_queue();
    config.exchange_credit = 4;
    let mut harness = Harness::new(&config);
    let links = [1, 2].map(|n| harness.accept_alive(n));
    assert_eq!(taken(&mut harness, links[0], 10_000, 10), 84, "the fill and the credit");
    // The peer takes one message, and may hand over one.
    let messages = loop {
        harness.advance(seconds(1));
        let messages = harness.take_messages(links[0]);
        if !messages.is_empty() {
            break messages;
        }
    };
    harness.confirm(links[0], messages[0].0);
    assert_eq!(taken(&mut harness, links[0], 20_000, 10), messages.len() as u64);
}

/// Every queue holds messages of one peer alone, which is more than its share.
#[test]
fn rules_3_and_4_full_towers_go_on_though_one_peer_holds_more_than_its_share() {
    let mut config = small_queue();
    config.max_queue_messages = 40;
    let mut network = network(4, &config);
    network.latency = Duration::from_millis(5);
    for (n, other) in [(0, 1), (1, 0), (0, 2), (0, 3)] {
        network.announce(n, other);
    }
    network.advance(seconds(1));
    for n in [1, 1, 1, 0] {
        let message = || Message::bytes(&[7; 100]);
        while network.with(n, |tower, now| tower.enqueue(message(), now)).is_ok() {}
        network.advance(seconds(10));
    }
    (2..4).for_each(|n| network.crash(n));
    for _ in 0..10 {
        let before = delivered(&network);
        network.advance(seconds(10));
        assert!(delivered(&network) > before, "nothing moves");
    }
}

/// In clear text a peer is alive only when it was dialled, and its calls are not proved.
#[test]
fn rules_3_and_8_full_towers_without_keys_go_on_exchanging() {
    let mut config = small_queue();
    config.claims = clacks_proto::Claims::DialBack;
    let mut network = full_network(2, &config, &[100]);
    for _ in 0..10 {
        let before = delivered(&network);
        network.advance(seconds(10));
        assert!(delivered(&network) > before, "nothing moves");
    }
}
