//! Newcomers: how they get into the table, what is believed of a caller, and which addresses are
//! learned from which links.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::net::IpAddr;
use std::time::Duration;

use clacks_proto::wire::{AnnounceFrame, Frame, MessageFrame, RefusedReason};
use clacks_proto::{
    Address, Allowance, Claims, Config, LinkId, LocalAddresses, Newcomers, Nonce, Notice,
    StateMachine, Status,
};
use common::harness::{self, Harness, SentFrame, message};
use common::{address, fast_config, network, seconds};

// Room in the table.

fn small_table() -> Config {
    let mut config = fast_config();
    config.max_peers = 3;
    config
}

/// Makes the tower learn `n`, which a guest names.
fn learn(harness: &mut Harness, n: usize) {
    let link = harness.accept();
    harness.send_hello(link, None);
    name_friend(harness, link, address(n));
    harness.send_goodbye(link);
}

/// Sends a message that names a friend.
fn name_friend(harness: &mut Harness, link: LinkId, friend: Address) {
    let nonce = Nonce(u128::from(harness.tower.stats().received) + 1_000);
    let frame = MessageFrame { nonce, friend: Some(friend), ..message(1, "x") };
    harness.send_frame(link, &Frame::Message(frame));
}

fn known(harness: &Harness) -> Vec<usize> {
    (1..20).filter(|n| harness.status(*n).is_some()).collect()
}

#[test]
fn rule_7_a_peer_that_was_never_alive_makes_room_first_and_the_oldest_of_them() {
    let mut harness = Harness::new(&small_table());
    let link = harness.accept_alive(1);
    harness.send_goodbye(link);
    (2..6).for_each(|n| learn(&mut harness, n));
    assert_eq!(known(&harness), [1, 4, 5]);
    let forgotten = |n| Notice::TowerForgotten { peer: address(n) };
    assert!([2, 3].iter().all(|n| harness.notices.contains(&forgotten(*n))));
}

#[test]
fn rule_7_the_alive_peer_without_a_link_for_the_longest_time_makes_room_last() {
    let mut harness = Harness::new(&small_table());
    let links: Vec<_> = (1..=3).map(|n| harness.accept_alive(n)).collect();
    // Peers with a link stay.
    learn(&mut harness, 4);
    assert_eq!(known(&harness), [1, 2, 3]);
    harness.send_goodbye(links[1]);
    harness.send_goodbye(links[0]);
    learn(&mut harness, 5);
    assert_eq!(known(&harness), [1, 3, 5]);
    learn(&mut harness, 6);
    assert_eq!(known(&harness), [1, 3, 6], "the newcomer that was not alive goes first");
}

#[test]
fn rule_7_a_lost_peer_makes_room_before_an_alive_one_and_after_a_dead_one() {
    let mut config = small_table();
    (config.kill_timeout, config.odds.dead, config.contact_rate) = (seconds(60), 0, 0);
    let mut harness = Harness::new(&config);
    harness.enqueue("probe");
    let fail = |harness: &mut Harness, n: usize, status| {
        while harness.status(n) != Some(status) {
            assert!(harness.run_until_dial(seconds(200)));
            harness.refuse_dial();
        }
    };
    for n in 1..=3 {
        let link = harness.accept_alive(n);
        harness.send_goodbye(link);
    }
    fail(&mut harness, 1, Status::Lost);
    fail(&mut harness, 1, Status::Dead);
    // The other two are lost by now. One answers again.
    fail(&mut harness, 2, Status::Lost);
    let link = harness.accept_alive(3);
    harness.send_goodbye(link);
    while !harness.dialled.is_empty() {
        harness.refuse_dial();
    }
    learn(&mut harness, 4);
    assert_eq!(known(&harness), [2, 3, 4]);
    let link = harness.accept_alive(4);
    harness.send_goodbye(link);
    learn(&mut harness, 5);
    assert_eq!(known(&harness), [3, 4, 5]);
}

#[test]
fn rule_7_peers_that_the_application_named_or_ignored_stay() {
    let mut harness = Harness::new(&small_table());
    harness.with(|tower, now| tower.expand(&address(1), now)).unwrap();
    harness.with(|tower, now| tower.ignore(&address(2), now)).unwrap();
    (3..8).for_each(|n| learn(&mut harness, n));
    assert_eq!(known(&harness), [1, 2, 7]);
}

#[test]
fn without_rule_7_a_full_table_learns_no_peer() {
    let mut config = small_table();
    config.newcomers = Newcomers::ReplaceDead;
    let mut harness = Harness::new(&config);
    (1..8).for_each(|n| learn(&mut harness, n));
    assert_eq!(known(&harness), [1, 2, 3]);
    let link = harness.accept_from(9);
    harness.take_frames(link);
    harness.send_announce(link, 1);
    assert_eq!(harness.take_frames(link), [SentFrame::Confirmed(1)]);
}

#[test]
fn rule_7_an_announcement_that_is_not_taken_in_is_refused_as_busy() {
    let mut config = fast_config();
    config.strangers = Allowance { burst: 1, every: seconds(1) };
    let mut harness = Harness::new(&config);
    let [first, second] = [1, 2].map(|n| harness.accept_from(n));
    let _ = [first, second].map(|link| harness.take_frames(link));
    for (link, answer) in
        [(first, SentFrame::Confirmed(1)), (second, SentFrame::Refused(1, RefusedReason::Busy))]
    {
        harness.send_announce(link, 1);
        assert_eq!(harness.take_frames(link), [answer]);
    }
    assert_eq!(known(&harness), [1]);
    // Each further transfer tries again.
    harness.advance(seconds(1));
    harness.send_message(second, 2, "x");
    assert_eq!(known(&harness), [1, 2]);
    harness.send_announce(second, 3);
    assert_eq!(harness.take_frames(second).last(), Some(&SentFrame::Confirmed(3)));
    assert_eq!(harness.status(2), Some(Status::Alive));
}

#[test]
fn rule_7_an_announcement_refused_as_busy_is_repeated() {
    let mut harness = Harness::new(&fast_config());
    harness.with(|tower, now| tower.announce(&address(1), now)).unwrap();
    let link = harness.connect_dial_with_hello();
    let mut transfers = Vec::new();
    for _ in 0..3 {
        for frame in harness.take_frames(link) {
            if let SentFrame::Announce { transfer, .. } = frame {
                transfers.push(transfer);
                harness.refuse(link, transfer, RefusedReason::Busy);
            }
        }
        harness.advance(seconds(1));
    }
    assert_eq!(transfers.len(), 3, "once a second");
    // Without a link, the peer is dialled.
    harness.send_goodbye(link);
    assert_eq!(harness.status(1), Some(Status::Alive));
    assert!(harness.run_until_dial(seconds(2)));
    let link = harness.connect_dial_with_hello();
    let announced = harness.take_frames(link).into_iter().find_map(|frame| match frame {
        SentFrame::Announce { transfer, .. } => Some(transfer),
        _ => None,
    });
    harness.confirm(link, announced.unwrap());
    harness.advance(seconds(10));
    assert_eq!(harness.take_frames(link), [], "it is confirmed");
}

#[test]
fn rule_7_an_announcement_of_the_application_is_repeated_until_the_peer_is_reached() {
    let mut config = fast_config();
    config.contact_rate = 0;
    let mut harness = Harness::new(&config);
    harness.with(|tower, now| tower.announce(&address(1), now)).unwrap();
    let mut dials = 0;
    let end = harness.now + seconds(300);
    while harness.now < end {
        if harness.run_until_dial(seconds(10)) {
            harness.refuse_dial();
            dials += 1;
        }
    }
    assert!((8..16).contains(&dials), "{dials} dials, ever more seldom");
}

#[test]
fn rule_7_a_crowd_that_is_larger_than_the_allowance_is_learned_in_time() {
    let mut config = fast_config();
    config.strangers = Allowance { burst: 4, every: Duration::from_millis(125) };
    let mut network = network(40, &config);
    network.latency = Duration::from_millis(10);
    (1..40).for_each(|n| network.announce(n, 0));
    assert!(network.run_until(seconds(10), |network| network.tower(0).survey().count() == 39));
}

// Claims without a key.

fn dialling_back() -> Config {
    let mut config = fast_config();
    config.claims = Claims::DialBack;
    config
}

#[test]
fn rule_8_a_claim_without_a_key_makes_no_peer_alive_and_gets_no_message() {
    let mut harness = Harness::new(&dialling_back());
    let link = harness.accept_from(1);
    harness.send_announce(link, 1);
    harness.send_message(link, 2, "from the caller");
    assert_eq!(harness.status(1), Some(Status::New));
    assert_eq!(harness.texts(), ["from the caller"], "callers may hand over messages");
    // The address is dialled. Only that link gets messages.
    assert!(harness.run_until_dial(seconds(1)));
    assert_eq!(harness.dialled[0].1, address(1));
    assert_eq!(harness.take_messages(link), []);
    let dialled = harness.connect_dial_alive();
    assert_eq!(harness.status(1), Some(Status::Alive));
    harness.enqueue_many(20, "message");
    harness.send_announce(link, 3);
    harness.advance(seconds(2));
    assert_eq!(harness.take_messages(link), []);
    assert!(!harness.take_messages(dialled).is_empty());
}

#[test]
fn rule_8_a_claim_without_a_key_does_not_revive_a_lost_peer() {
    let mut harness = Harness::new(&dialling_back());
    harness.expand(1);
    harness.enqueue("probe");
    assert!(harness.run_until_dial(seconds(1)));
    harness.refuse_dial();
    let link = harness.accept_from(1);
    harness.send_announce(link, 1);
    harness.send_message(link, 2, "x");
    assert_eq!(harness.status(1), Some(Status::Lost));
}

#[test]
fn rule_8_a_retry_of_a_caller_that_was_not_dialled_is_recognised() {
    let mut harness = Harness::new(&dialling_back());
    let link = harness.accept_from(1);
    harness.send_message(link, 1, "once");
    harness.reset(link);
    let link = harness.accept_from(1);
    harness.send_frame(link, &Frame::Message(harness::retry(1, "once")));
    assert_eq!(harness.tower.stats().recognised_retries, 1);
}

#[test]
fn without_rule_8_a_caller_takes_the_messages_for_the_address_that_it_claims() {
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept_from(1);
    harness.send_announce(link, 1);
    harness.enqueue("message");
    harness.advance(seconds(1));
    assert_eq!(harness.take_messages(link).len(), 1);
}

// Local addresses.

/// Sends an announce from a host that names an address. Returns whether the address is known then.
fn is_learned(config: &Config, from: &str, named: &str) -> bool {
    let mut harness = Harness::new(config);
    let from: IpAddr = from.parse().unwrap();
    let link = harness.tower.accept(from, harness.now).unwrap();
    let named: Address = Address::new(named, 1).unwrap();
    harness.send_hello(link, None);
    name_friend(&mut harness, link, named.clone());
    let as_friend = harness.tower.find(&named).is_some();
    let mut harness = Harness::new(config);
    let link = harness.tower.accept(from, harness.now).unwrap();
    harness.send_hello(link, Some(named.clone()));
    assert_eq!(harness.tower.find(&named).is_some(), as_friend, "a friend or a claim");
    harness.take_frames(link);
    harness.send_announce(link, 1);
    assert_eq!(harness.take_frames(link), [SentFrame::Confirmed(1)]);
    as_friend
}

#[test]
fn rule_13_local_addresses_are_learned_only_from_local_links() {
    let config = fast_config();
    let (public, private, loopback) = ("198.51.100.1", "192.168.7.7", "127.0.0.1");
    for (from, named, expected) in [
        (public, "203.0.113.1", true),
        (public, "a.example", true),
        (public, "10.0.0.1", false),
        (public, "169.254.169.254", false),
        (public, "127.0.0.1", false),
        (public, "localhost", false),
        (private, "203.0.113.1", true),
        (private, "10.0.0.1", true),
        (private, "fe80::1", true),
        (private, "127.0.0.1", false),
        (loopback, "127.0.0.1", true),
        (loopback, "10.0.0.1", true),
        ("2001:db8::1", "fd00::1", false),
        ("::1", "::1", true),
    ] {
        assert_eq!(is_learned(&config, from, named), expected, "{named} from {from}");
    }
}

#[test]
fn rule_13_a_dialled_peer_is_as_far_as_its_address() {
    for (dialled, expected) in [("localhost", true), ("127.0.0.1", true), ("a.example", false)] {
        let mut harness = Harness::new(&fast_config());
        let peer = Address::new(dialled, 1).unwrap();
        harness.with(|tower, now| tower.announce(&peer, now)).unwrap();
        let link = harness.connect_dial_with_hello();
        let named = Address::new("localhost", 2).unwrap();
        let frame = AnnounceFrame { transfer: 1, friends: vec![named.clone()] };
        harness.send_frame(link, &Frame::Announce(frame));
        assert_eq!(harness.tower.find(&named).is_some(), expected, "{dialled}");
    }
}

#[test]
fn without_rule_13_a_public_peer_makes_a_tower_dial_its_own_network() {
    let mut config = fast_config();
    config.local_addresses = LocalAddresses::FromAllLinks;
    assert!(is_learned(&config, "198.51.100.1", "169.254.169.254"));
}
