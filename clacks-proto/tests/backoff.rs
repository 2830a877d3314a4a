//! Back-off: a peer that fails or refuses is left alone, the longer the longer it takes nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::time::Duration;

use clacks_proto::wire::RefusedReason;
use clacks_proto::{Config, LinkId, Status};
use common::harness::Harness;
use common::{fast_config, seconds};

/// Refuses all dials for `time`. Returns the seconds between the dials.
fn dials_within(harness: &mut Harness, time: Duration) -> Vec<u64> {
    let end = harness.now + time;
    let mut dials = Vec::new();
    while harness.now < end {
        if harness.run_until_dial(end.duration_since(harness.now)) {
            dials.push(harness.now);
            harness.refuse_dial();
        }
    }
    dials.windows(2).map(|pair| pair[1].duration_since(pair[0]).as_secs()).collect()
}

#[test]
fn rule_6_a_lost_peer_is_left_alone_as_long_as_it_has_been_lost() {
    let mut config = fast_config();
    config.max_probe_backoff = seconds(60);
    let mut harness = Harness::new(&config);
    harness.expand(1);
    harness.enqueue("probe");
    let apart = dials_within(&mut harness, seconds(400));
    assert_eq!(apart[..6], [1, 1, 2, 4, 8, 16], "{apart:?}");
    assert!(apart[7..].iter().all(|apart| *apart == 60), "{apart:?}");
}

#[test]
fn without_rule_6_a_lost_peer_is_dialled_each_second() {
    let mut config = fast_config();
    config.max_probe_backoff = Duration::ZERO;
    let mut harness = Harness::new(&config);
    harness.expand(1);
    harness.enqueue("probe");
    assert!(dials_within(&mut harness, seconds(100)).len() > 90);
}

/// Exchanges messages for `time`: peer `n` of `links` refuses them if `n` is in `liars`, and
/// confirms them otherwise. Returns how many messages each peer was handed.
fn exchange(harness: &mut Harness, links: &[LinkId], liars: &[usize], time: Duration) -> Vec<u32> {
    let mut handed = vec![0; links.len()];
    let end = harness.now + time;
    while harness.now < end {
        harness.enqueue("message");
        harness.advance(Duration::from_millis(50));
        for (n, link) in links.iter().enumerate() {
            for (transfer, ..) in harness.take_messages(*link) {
                handed[n] += 1;
                match liars.contains(&n) {
                    true => harness.refuse(*link, transfer, RefusedReason::Busy),
                    false => harness.confirm(*link, transfer),
                }
            }
        }
    }
    handed
}

fn with_alive_peers(config: &Config, count: usize) -> (Harness, Vec<LinkId>) {
    let mut config = config.clone();
    config.timeouts.idle = seconds(100_000);
    let mut harness = Harness::new(&config);
    let links = (1..=count).map(|n| harness.accept_alive(n)).collect();
    (harness, links)
}

/// Returns how many messages a peer is handed that refuses all of them for five minutes.
fn handed_to_a_liar(config: &Config) -> u32 {
    let (mut harness, links) = with_alive_peers(config, 8);
    exchange(&mut harness, &links, &[], seconds(10));
    let counts = exchange(&mut harness, &links, &[3], seconds(300));
    assert_eq!(harness.status(4), Some(Status::Alive));
    counts[3]
}

#[test]
fn rule_6_a_peer_that_refuses_is_left_alone_the_longer_the_longer_it_takes_nothing() {
    let handed = handed_to_a_liar(&fast_config());
    assert!(handed <= 10, "{handed}");
}

#[test]
fn without_rule_6_a_peer_that_refuses_is_handed_messages_again_and_again() {
    let mut config = fast_config();
    config.max_busy_backoff = Duration::ZERO;
    let handed = handed_to_a_liar(&config);
    assert!((400..=3_000).contains(&handed), "{handed}");
}

#[test]
fn a_confirmed_message_shortens_the_next_back_off() {
    let (mut harness, links) = with_alive_peers(&fast_config(), 8);
    exchange(&mut harness, &links, &[3], seconds(60));
    // The back-off ends at last, and the peer takes a message.
    let mut waited = 0;
    while exchange(&mut harness, &links, &[], seconds(10))[3] == 0 {
        waited += 1;
        assert!(waited < 400, "an hour has passed");
    }
    let counts = exchange(&mut harness, &links, &[3], seconds(10));
    assert!(counts[3] >= 1);
    let counts = exchange(&mut harness, &links, &[], seconds(200));
    assert!(counts[3] > 10, "the next back-off is short: {counts:?}");
}

#[test]
fn at_most_half_of_the_alive_peers_are_left_alone_for_long() {
    let (mut harness, links) = with_alive_peers(&fast_config(), 8);
    let all: Vec<_> = (0..8).collect();
    exchange(&mut harness, &links, &all, seconds(100));
    let counts = exchange(&mut harness, &links, &all, seconds(100));
    let drawn = counts.iter().filter(|count| **count > 20).count();
    assert!((4..=5).contains(&drawn), "{counts:?}");
    // The only peer is never left alone for long.
    let (mut harness, links) = with_alive_peers(&fast_config(), 1);
    let counts = exchange(&mut harness, &links, &[0], seconds(100));
    assert!(counts[0] > 500, "{counts:?}");
}
