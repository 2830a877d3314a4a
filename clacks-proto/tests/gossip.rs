//! Gossip: which peer is named as a friend, how many peers are learned in which time, and which
//! peer is forgotten if the table is full.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use clacks_proto::wire::{AnnounceFrame, Frame, MessageFrame};
use clacks_proto::{
    Action, Address, Allowance, Claims, Config, Event, ExpandError, IoCause, Newcomers, Notice,
    Status,
};
use common::harness::{Harness, SentFrame, message};
use common::{address, fast_config, seconds};

// Friends.

#[test]
fn an_unknown_friend_in_a_message_or_an_announce_becomes_a_new_peer() {
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept_from(1);
    let friend = Some(address(2));
    harness.send_frame(link, &Frame::Message(MessageFrame { friend, ..message(1, "x") }));
    assert_eq!(harness.status(2), Some(Status::New));
    harness.send_frame(
        link,
        &Frame::Announce(AnnounceFrame { transfer: 2, friends: vec![address(3)] }),
    );
    assert_eq!(harness.status(3), Some(Status::New));
    let own = Some(address(0));
    harness.send_frame(
        link,
        &Frame::Announce(AnnounceFrame { transfer: 3, friends: Vec::from_iter(own) }),
    );
    assert_eq!(harness.status(0), None, "a tower is not its own peer");
}

#[test]
fn rule_12_both_sides_announce_when_a_link_opens_and_name_several_friends_once_each() {
    let mut config = fast_config();
    config.announced_friends = 8;
    let mut harness = Harness::new(&config);
    for n in 1..=20 {
        harness.accept_alive(n);
    }
    let mut named = BTreeSet::new();
    for n in 1..=20 {
        let link = harness.accept_from(n);
        // The new link is not the one that carries transfers as long as the first one is open.
        assert_eq!(harness.take_frames(link).len(), 1, "only the hello");
        let old = harness.tower.links().find(|link| link.peer == Some(address(n))).unwrap().id;
        harness.reset(old);
        let link = harness.accept_from(n);
        let frames = harness.take_frames(link);
        let [SentFrame::Hello { .. }, SentFrame::Announce { friends, .. }] = &frames[..] else {
            panic!("unexpected frames: {frames:?}")
        };
        let unique: BTreeSet<_> = friends.iter().cloned().collect();
        assert_eq!((friends.len(), unique.len()), (8, 8));
        assert!(!unique.contains(&address(n)), "the recipient is not named");
        named.extend(unique);
        // The peer is alive again.
        harness.send_announce(link, 2_000);
    }
    assert_eq!(named.len(), 20, "every alive peer is drawn");
    // A dialled link too. The friends of a peer's announce are learned.
    harness.expand(30);
    harness.enqueue("probe");
    assert!(harness.run_until_dial(seconds(20)));
    let link = harness.connect_dial_with_hello();
    let is_announce = |frame: &SentFrame| matches!(frame, SentFrame::Announce { .. });
    assert!(harness.take_frames(link).iter().any(is_announce));
    let friends = (40..48).map(address).collect();
    harness.send_frame(link, &Frame::Announce(AnnounceFrame { transfer: 9, friends }));
    assert!((40..48).all(|n| harness.status(n).is_some()));
}

#[test]
fn without_rule_12_a_link_opens_without_an_announce() {
    for count in [0, 1] {
        let mut config = fast_config();
        config.announced_friends = count;
        let mut harness = Harness::new(&config);
        harness.accept_alive(1);
        let link = harness.accept_from(2);
        assert!(matches!(harness.take_frames(link)[..], [SentFrame::Hello { .. }]));
        harness.with(|tower, now| tower.announce(&address(2), now)).unwrap();
        let link =
            if harness.dialled.is_empty() { link } else { harness.connect_dial_with_hello() };
        let frames = harness.take_frames(link);
        let friends = frames.iter().find_map(|frame| match frame {
            SentFrame::Announce { friends, .. } => Some(friends.len()),
            _ => None,
        });
        assert_eq!(friends, Some(count.into()));
    }
}

#[test]
fn a_friend_is_an_alive_peer_other_than_the_recipient() {
    let mut config = fast_config();
    config.odds.lost = 0;
    let mut harness = Harness::new(&config);
    // Peer 3 is lost, peer 4 ignored, and peer 5 new with a dial that hangs. Peers 1 and 2 are
    // alive.
    harness.enqueue("probe");
    harness.expand(3);
    assert!(harness.run_until_dial(seconds(1)));
    harness.refuse_dial();
    harness.with(|tower, now| tower.ignore(&address(4), now)).unwrap();
    harness.expand(5);
    assert!(harness.run_until_dial(seconds(2)));
    let links = [1, 2].map(|n| {
        let link = harness.accept_from(n);
        harness.send_announce(link, 1);
        link
    });
    for (transfer, ..) in harness.take_messages(links[0]) {
        harness.confirm(links[0], transfer);
    }
    let mut friends = [Vec::new(), Vec::new()];
    let exchange = |harness: &mut Harness, friends: &mut [Vec<Option<Address>>; 2]| {
        for n in 0..60 {
            harness.enqueue(&format!("message {n}"));
        }
        for _ in 0..80 {
            harness.advance(Duration::from_millis(50));
            for (link, friends) in links.into_iter().zip(&mut *friends) {
                for frame in harness.take_frames(link) {
                    if let SentFrame::Message { transfer, friend, .. } = frame {
                        friends.push(friend);
                        harness.confirm(link, transfer);
                    }
                }
            }
        }
    };
    exchange(&mut harness, &mut friends);
    assert!(friends.iter().all(|friends| friends.len() > 10));
    assert!(friends[0].iter().all(|friend| *friend == Some(address(2))), "{friends:?}");
    assert!(friends[1].iter().all(|friend| *friend == Some(address(1))), "{friends:?}");
    // No friend is named if the recipient is the only alive peer.
    harness.with(|tower, now| tower.ignore(&address(2), now)).unwrap();
    let before = friends[0].len();
    exchange(&mut harness, &mut friends);
    assert!(friends[0].len() > before + 10);
    assert!(friends[0][before..].iter().all(Option::is_none));
}

#[test]
fn every_alive_peer_but_the_recipient_is_named_as_a_friend() {
    let mut harness = Harness::new(&fast_config());
    let links: Vec<_> = (1..6).map(|n| (n, harness.accept_from(n))).collect();
    links.iter().for_each(|(_, link)| harness.send_announce(*link, 1));
    let mut friend_counts = [[0u32; 6]; 6];
    for n in 0..1_000 {
        harness.enqueue(&format!("message {n}"));
        harness.advance(Duration::from_millis(50));
        for (n, link) in &links {
            for frame in harness.take_frames(*link) {
                if let SentFrame::Message { transfer, friend, .. } = frame {
                    let friend = (1..6)
                        .find(|n| friend == Some(address(*n)))
                        .expect("the message names a friend");
                    friend_counts[*n][friend] += 1;
                    harness.confirm(*link, transfer);
                }
            }
        }
    }
    for (recipient, counts) in friend_counts.iter().enumerate().skip(1) {
        assert_eq!(counts[recipient], 0);
        // About 200 messages name four friends.
        let others = (1..6).filter(|n| *n != recipient);
        assert!(others.into_iter().all(|n| counts[n] > 20), "{counts:?}");
    }
}

#[test]
fn a_peer_that_is_ignored_before_the_message_is_transmitted_is_not_named_as_a_friend() {
    let mut harness = Harness::new(&fast_config());
    let [first, second] = [1, 2].map(|n| {
        let link = harness.accept_from(n);
        harness.send_announce(link, 1);
        link
    });
    let _ =
        (harness.take_frames(first), harness.blocked.insert(first), harness.blocked.insert(second));
    for n in 0..8 {
        harness.enqueue(&format!("message {n}"));
    }
    harness.advance(seconds(1));
    harness.with(|tower, now| tower.ignore(&address(2), now)).unwrap();
    harness.blocked.clear();
    harness.read(first);
    let sent = harness.take_frames(first);
    let friend = |frame: &SentFrame| match frame {
        SentFrame::Message { friend, .. } => Some(friend.clone()),
        _ => None,
    };
    let friends: Vec<_> = sent.iter().filter_map(friend).collect();
    assert!(!friends.is_empty() && friends.iter().all(Option::is_none), "{friends:?}");
}

// Learned addresses.

#[test]
fn rule_14_friends_and_strangers_have_separate_allowances() {
    let mut config = fast_config();
    config.friends = Allowance { burst: 3, every: Duration::from_millis(500) };
    config.strangers = Allowance { burst: 2, every: seconds(1) };
    let mut harness = Harness::new(&config);
    let link = harness.accept_from(1);
    for n in 0..10 {
        let friend = Some(address(10 + n));
        let transfer = 1 + u64::try_from(n).unwrap();
        harness.send_frame(
            link,
            &Frame::Announce(AnnounceFrame { transfer, friends: Vec::from_iter(friend) }),
        );
    }
    assert_eq!(harness.tower.survey().count(), 1 + 3);
    assert_eq!(harness.tower.stats().towers_not_learned, 7);
    // Friends do not use up the allowance of strangers. The first caller has used one of its two.
    for n in 0..3 {
        harness.accept_from(30 + n);
    }
    assert_eq!(harness.tower.survey().count(), 1 + 3 + 1);
    assert_eq!(harness.tower.stats().towers_not_learned, 9);
    // Known addresses cost nothing. The allowance grows with time.
    harness.advance(seconds(1));
    for n in 0..5 {
        let friend = Some(address(1 + n));
        let transfer = 20 + u64::try_from(n).unwrap();
        harness.send_frame(
            link,
            &Frame::Announce(AnnounceFrame { transfer, friends: Vec::from_iter(friend) }),
        );
    }
    assert_eq!(harness.tower.survey().count(), 1 + 3 + 1 + 2, "two friends per second");
    harness.accept_from(40);
    harness.accept_from(41);
    assert_eq!(harness.tower.survey().count(), 1 + 3 + 1 + 2 + 1, "one stranger per second");
    assert_eq!(harness.tower.stats().towers_discovered, 8);
}

#[test]
fn without_rule_14_all_addresses_are_learned_at_once() {
    let mut config = fast_config();
    let unlimited = Allowance { burst: 1, every: Duration::ZERO };
    (config.friends, config.strangers) = (unlimited, unlimited);
    let mut harness = Harness::new(&config);
    for n in 0..10 {
        let link = harness.accept_from(1 + n);
        let friends = (0..8).map(|friend| address(20 + 8 * n + friend)).collect();
        harness.send_frame(link, &Frame::Announce(AnnounceFrame { transfer: 1, friends }));
    }
    assert_eq!(harness.tower.survey().count(), 10 + 80);
    assert_eq!(harness.tower.stats().towers_not_learned, 0);
}

// A full table.

fn count_forgotten(harness: &Harness) -> usize {
    let is_forgotten =
        |action: &&Action| matches!(action, Action::Notify(Notice::TowerForgotten { .. }));
    harness.actions.iter().filter(is_forgotten).count()
}

#[test]
fn a_full_table_forgets_the_peer_that_has_been_dead_for_the_longest_time() {
    let mut config = fast_config();
    config.kill_timeout = seconds(20);
    (config.max_peers, config.newcomers) = (4, Newcomers::ReplaceDead);
    config.max_probe_backoff = Duration::ZERO;
    let mut harness = Harness::new(&config);
    harness.enqueue("probe");
    // Peer 2 dies before peer 1.
    for n in [3, 1, 2] {
        harness.expand(n);
    }
    let refuse = |harness: &mut Harness, victim: usize| {
        assert!(harness.run_until_dial(seconds(5)));
        let index = harness.dialled.iter().position(|(_, dialled)| *dialled == address(victim));
        let (link, _) = harness.dialled.remove(index.unwrap_or(0)).unwrap();
        let cause = IoCause::Refused;
        harness.handle(Event::ConnectFailed { link, cause });
    };
    while harness.status(2) != Some(Status::Dead) {
        refuse(&mut harness, 2);
    }
    while harness.status(1) != Some(Status::Dead) {
        refuse(&mut harness, 1);
    }
    let status_since =
        |n: usize| harness.tower.find(&address(n)).map(|peer| (peer.status, peer.since));
    let mut dead: Vec<_> = (1..4)
        .filter_map(|n| {
            status_since(n).filter(|(status, _)| *status == Status::Dead).map(|d| (d.1, n))
        })
        .collect();
    dead.sort();
    assert!(dead.len() >= 2);
    harness.expand(4);
    assert_eq!(count_forgotten(&harness), 0, "the table has room for a fourth peer");
    for (n, (_, victim)) in dead.iter().enumerate() {
        // A peer with a pending dial is not forgotten, so refuse all dials first.
        while let Some((link, _)) = harness.dialled.pop_front() {
            harness.handle(Event::ConnectFailed { link, cause: IoCause::Refused });
        }
        harness.expand(10 + n);
        assert_eq!(harness.status(*victim), None, "{dead:?}");
        assert_eq!(count_forgotten(&harness), n + 1);
        assert!(dead[n + 1..].iter().all(|(_, later)| harness.status(*later).is_some()));
    }
    let more = harness.with(|tower, now| tower.expand(&address(20), now));
    assert_eq!(more, Err(ExpandError::TableFull));
}

#[test]
fn a_full_table_without_dead_peers_learns_no_peer() {
    let mut config = fast_config();
    (config.max_peers, config.newcomers) = (2, Newcomers::ReplaceDead);
    let mut harness = Harness::new(&config);
    harness.expand(1);
    harness.expand(2);
    let full = Err(ExpandError::TableFull);
    assert_eq!(harness.with(|tower, now| tower.expand(&address(3), now)), full);
    assert_eq!(harness.with(|tower, now| tower.announce(&address(3), now)), full);
    assert_eq!(harness.with(|tower, now| tower.ignore(&address(3), now)), full);
    assert_eq!(
        harness.tower.stats().towers_not_learned,
        0,
        "an address that the application adds is not counted"
    );
    let link = harness.accept_from(3);
    assert_eq!(harness.tower.stats().towers_not_learned, 1, "the stranger is counted");
    let friend = Some(address(4));
    harness.send_frame(link, &Frame::Message(MessageFrame { friend, ..message(1, "x") }));
    assert_eq!(harness.tower.stats().towers_not_learned, 2, "the friend is counted");
    assert_eq!(harness.texts(), ["x"], "the message is accepted");
    assert_eq!(harness.tower.survey().count(), 2);
    let known = harness.with(|tower, now| tower.expand(&address(1), now));
    assert!(known.is_ok(), "a known peer needs no room");
}

#[test]
fn a_tower_is_not_its_own_peer() {
    let mut harness = Harness::new(&fast_config());
    let own = Err(ExpandError::OwnAddress);
    assert_eq!(harness.with(|tower, now| tower.expand(&address(0), now)), own);
    assert_eq!(harness.with(|tower, now| tower.announce(&address(0), now)), own);
    assert_eq!(harness.with(|tower, now| tower.ignore(&address(0), now)), own);
    let link = harness.accept_from(0);
    harness.send_announce(link, 1);
    assert_eq!(
        harness.tower.survey().count(),
        0,
        "a caller with the tower's address is not learned"
    );
}

#[test]
fn new_peers_do_not_take_every_tick_from_alive_peers() {
    let mut config = Config::original();
    (config.heartbeat, config.claims) = (None, Claims::Believe);
    let mut harness = Harness::new(&config);
    let link = harness.accept_alive(1);
    harness.enqueue_many(300, "m");
    let mut received = 0;
    for n in 0..1200u32 {
        let friend = Some(Address::new(&format!("t{n}.example"), 8001).unwrap());
        harness.send_frame(
            link,
            &Frame::Announce(AnnounceFrame {
                transfer: 10 + u64::from(n),
                friends: Vec::from_iter(friend),
            }),
        );
        harness.advance(Duration::from_millis(250));
        while !harness.dialled.is_empty() {
            harness.refuse_dial();
        }
        for (t, ..) in harness.take_messages(link) {
            received += 1;
            harness.confirm(link, t);
        }
    }
    assert!(received > 50, "the alive peer received {received} messages in 300 ticks");
}
