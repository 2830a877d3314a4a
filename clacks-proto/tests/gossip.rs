//! Gossip: who is named as a friend, who is learned and how fast, and who makes room in a full
//! table.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::time::Duration;

use clacks_proto::wire::{AnnounceFrame, Frame, MessageFrame};
use clacks_proto::{
    Action, Address, Allowance, Config, Event, ExpandError, IoCause, Notice, Status,
};
use common::raw::{Raw, Said, message};
use common::{address, quick, seconds};

// Friends.

#[test]
fn a_friend_in_a_message_or_announce_becomes_new() {
    let mut raw = Raw::new(&quick());
    let link = raw.call_as(1);
    let friend = Some(address(2));
    raw.say(link, &Frame::Message(MessageFrame { friend, ..message(1, "x") }));
    assert_eq!(raw.status(2), Some(Status::New));
    raw.say(link, &Frame::Announce(AnnounceFrame { transfer: 2, friend: Some(address(3)) }));
    assert_eq!(raw.status(3), Some(Status::New));
    let own = Some(address(0));
    raw.say(link, &Frame::Announce(AnnounceFrame { transfer: 3, friend: own }));
    assert_eq!(raw.status(0), None, "a tower is not its own peer");
}

#[test]
fn a_friend_is_alive_and_never_ourselves_nor_the_recipient_nor_ignored() {
    let mut config = quick();
    config.odds.lost = 0;
    let mut raw = Raw::new(&config);
    // 3 is lost, 4 ignored, 5 new (its dial hangs); 1 and 2 are alive.
    raw.enqueue("probe");
    raw.expand(3);
    assert!(raw.run_to_dial(seconds(1)));
    raw.refuse();
    raw.with(|tower, now| tower.ignore(&address(4), now)).unwrap();
    raw.expand(5);
    assert!(raw.run_to_dial(seconds(2)));
    let links = [1, 2].map(|n| {
        let link = raw.call_as(n);
        raw.announce(link, 1);
        link
    });
    let mut friends = [Vec::new(), Vec::new()];
    let exchange = |raw: &mut Raw, friends: &mut [Vec<Option<Address>>; 2]| {
        for n in 0..60 {
            raw.enqueue(&format!("message {n}"));
        }
        for _ in 0..80 {
            raw.run(Duration::from_millis(50));
            for (link, friends) in links.into_iter().zip(&mut *friends) {
                for said in raw.heard(link) {
                    if let Said::Message { transfer, friend, .. } = said {
                        friends.push(friend);
                        raw.confirm(link, transfer);
                    }
                }
            }
        }
    };
    exchange(&mut raw, &mut friends);
    assert!(friends.iter().all(|friends| friends.len() > 10));
    assert!(friends[0].iter().all(|friend| *friend == Some(address(2))), "{friends:?}");
    assert!(friends[1].iter().all(|friend| *friend == Some(address(1))), "{friends:?}");
    // Alone with the recipient, there is nobody to name.
    raw.with(|tower, now| tower.ignore(&address(2), now)).unwrap();
    let before = friends[0].len();
    exchange(&mut raw, &mut friends);
    assert!(friends[0].len() > before + 10);
    assert!(friends[0][before..].iter().all(Option::is_none));
}

#[test]
fn every_alive_tower_but_the_recipient_is_named_alike() {
    let mut raw = Raw::new(&quick());
    let links: Vec<_> = (1..6).map(|n| (n, raw.call_as(n))).collect();
    links.iter().for_each(|(_, link)| raw.announce(*link, 1));
    let mut named = [[0u32; 6]; 6];
    for n in 0..1_000 {
        raw.enqueue(&format!("message {n}"));
        raw.run(Duration::from_millis(50));
        for (n, link) in &links {
            for said in raw.heard(*link) {
                if let Said::Message { transfer, friend, .. } = said {
                    let friend = (1..6).find(|n| friend == Some(address(*n))).expect("a friend");
                    named[*n][friend] += 1;
                    raw.confirm(*link, transfer);
                }
            }
        }
    }
    for (recipient, named) in named.iter().enumerate().skip(1) {
        assert_eq!(named[recipient], 0);
        // Some 200 messages over four friends.
        let others = (1..6).filter(|n| *n != recipient);
        assert!(others.into_iter().all(|n| named[n] > 20), "{named:?}");
    }
}

#[test]
fn a_friend_that_is_alive_no_more_when_the_message_leaves_is_not_named() {
    let mut raw = Raw::new(&quick());
    let [first, second] = [1, 2].map(|n| {
        let link = raw.call_as(n);
        raw.announce(link, 1);
        link
    });
    let _ = (raw.heard(first), raw.deaf.insert(first), raw.deaf.insert(second));
    for n in 0..8 {
        raw.enqueue(&format!("message {n}"));
    }
    raw.run(seconds(1));
    raw.with(|tower, now| tower.ignore(&address(2), now)).unwrap();
    raw.deaf.clear();
    raw.read(first);
    let heard = raw.heard(first);
    let friend = |said: &Said| match said {
        Said::Message { friend, .. } => Some(friend.clone()),
        _ => None,
    };
    let friends: Vec<_> = heard.iter().filter_map(friend).collect();
    assert!(!friends.is_empty() && friends.iter().all(Option::is_none), "{friends:?}");
}

// Learning.

#[test]
fn learning_is_bounded_for_friends_and_strangers_apart() {
    let mut config = quick();
    config.friends = Allowance { burst: 3, every: Duration::from_millis(500) };
    config.strangers = Allowance { burst: 2, every: seconds(1) };
    let mut raw = Raw::new(&config);
    let link = raw.call_as(1);
    for n in 0..10 {
        let friend = Some(address(10 + n));
        let transfer = 1 + u64::try_from(n).unwrap();
        raw.say(link, &Frame::Announce(AnnounceFrame { transfer, friend }));
    }
    assert_eq!(raw.tower.survey().count(), 1 + 3);
    assert_eq!(raw.tower.stats().towers_not_learned, 7);
    // Friends have not used up what there is for strangers: one of two was the first caller.
    for n in 0..3 {
        raw.call_as(30 + n);
    }
    assert_eq!(raw.tower.survey().count(), 1 + 3 + 1);
    assert_eq!(raw.tower.stats().towers_not_learned, 9);
    // Nor do known ones cost anything, and time brings more.
    raw.run(seconds(1));
    for n in 0..5 {
        let friend = Some(address(1 + n));
        let transfer = 20 + u64::try_from(n).unwrap();
        raw.say(link, &Frame::Announce(AnnounceFrame { transfer, friend }));
    }
    assert_eq!(raw.tower.survey().count(), 1 + 3 + 1 + 2, "two a second");
    raw.call_as(40);
    raw.call_as(41);
    assert_eq!(raw.tower.survey().count(), 1 + 3 + 1 + 2 + 1, "one a second");
    assert_eq!(raw.tower.stats().towers_discovered, 8);
}

// The table's end.

fn forgotten(raw: &Raw) -> usize {
    let is_forgotten =
        |action: &&Action| matches!(action, Action::Notify(Notice::TowerForgotten { .. }));
    raw.actions.iter().filter(is_forgotten).count()
}

#[test]
fn the_dead_are_forgotten_first_and_the_longest_dead_before_others() {
    let mut config = quick();
    config.kill_timeout = seconds(20);
    config.max_peers = 4;
    let mut raw = Raw::new(&config);
    raw.enqueue("probe");
    // 2 dies before 1; 3 is older than both and lost.
    for n in [3, 1, 2] {
        raw.expand(n);
    }
    let refuse = |raw: &mut Raw, victim: usize| {
        assert!(raw.run_to_dial(seconds(5)));
        let place = raw.dialled.iter().position(|(_, dialled)| *dialled == address(victim));
        let (link, _) = raw.dialled.remove(place.unwrap_or(0)).unwrap();
        let cause = IoCause::Refused;
        raw.tell(Event::ConnectFailed { link, cause });
    };
    while raw.status(2) != Some(Status::Dead) {
        refuse(&mut raw, 2);
    }
    while raw.status(1) != Some(Status::Dead) {
        refuse(&mut raw, 1);
    }
    let died = |n: usize| raw.tower.find(&address(n)).map(|peer| (peer.status, peer.since));
    let mut dead: Vec<_> = (1..4)
        .filter_map(|n| died(n).filter(|(status, _)| *status == Status::Dead).map(|d| (d.1, n)))
        .collect();
    dead.sort();
    assert!(dead.len() >= 2);
    raw.expand(4);
    assert_eq!(forgotten(&raw), 0, "there is room");
    for (n, (_, victim)) in dead.iter().enumerate() {
        // One that is being tried at this moment stays: let its dial fail first.
        while let Some((link, _)) = raw.dialled.pop_front() {
            raw.tell(Event::ConnectFailed { link, cause: IoCause::Refused });
        }
        raw.expand(10 + n);
        assert_eq!(raw.status(*victim), None, "{dead:?}");
        assert_eq!(forgotten(&raw), n + 1);
        assert!(dead[n + 1..].iter().all(|(_, later)| raw.status(*later).is_some()));
    }
    let more = raw.with(|tower, now| tower.expand(&address(20), now));
    assert_eq!(more, Err(ExpandError::TableFull));
}

#[test]
fn a_full_table_without_dead_learns_nobody() {
    let mut config = quick();
    config.max_peers = 2;
    let mut raw = Raw::new(&config);
    raw.expand(1);
    raw.expand(2);
    let full = Err(ExpandError::TableFull);
    assert_eq!(raw.with(|tower, now| tower.expand(&address(3), now)), full);
    assert_eq!(raw.with(|tower, now| tower.announce(&address(3), now)), full);
    assert_eq!(raw.with(|tower, now| tower.ignore(&address(3), now)), full);
    assert_eq!(raw.tower.stats().towers_not_learned, 0, "an error is enough");
    let link = raw.call_as(3);
    assert_eq!(raw.tower.stats().towers_not_learned, 1, "a stranger");
    let friend = Some(address(4));
    raw.say(link, &Frame::Message(MessageFrame { friend, ..message(1, "x") }));
    assert_eq!(raw.tower.stats().towers_not_learned, 2, "a friend");
    assert_eq!(raw.texts(), ["x"], "the message is taken all the same");
    assert_eq!(raw.tower.survey().count(), 2);
    let known = raw.with(|tower, now| tower.expand(&address(1), now));
    assert!(known.is_ok(), "a known one needs no room");
}

#[test]
fn a_tower_is_not_its_own_peer() {
    let mut raw = Raw::new(&quick());
    let own = Err(ExpandError::OwnAddress);
    assert_eq!(raw.with(|tower, now| tower.expand(&address(0), now)), own);
    assert_eq!(raw.with(|tower, now| tower.announce(&address(0), now)), own);
    assert_eq!(raw.with(|tower, now| tower.ignore(&address(0), now)), own);
    let link = raw.call_as(0);
    raw.announce(link, 1);
    assert_eq!(raw.tower.survey().count(), 0, "not even when a caller claims its address");
}

#[test]
fn fresh_addresses_do_not_take_every_tick() {
    let mut config = Config::default();
    config.heartbeat = None;
    let mut raw = Raw::new(&config);
    let link = raw.call_alive(1);
    raw.enqueue_many(300, "m");
    let mut got = 0;
    for n in 0..1200u32 {
        let friend = Some(Address::new(&format!("t{n}.example"), 8001).unwrap());
        raw.say(link, &Frame::Announce(AnnounceFrame { transfer: 10 + u64::from(n), friend }));
        raw.run(Duration::from_millis(250));
        while !raw.dialled.is_empty() {
            raw.refuse();
        }
        for (t, ..) in raw.heard_messages(link) {
            got += 1;
            raw.confirm(link, t);
        }
    }
    assert!(got > 50, "in 300 ticks the alive peer got {got}");
}
