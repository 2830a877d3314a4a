//! How peers stand with a tower: each line of the table of statuses.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::time::Duration;

use clacks_proto::wire::{
    AnnounceFrame, Farewell, Frame, Hello, MessageFrame, RefusedReason, VERSION,
};
use clacks_proto::{
    Address, CloseReason, Config, Event, ExpandError, Notice, SendRate, StateMachine, Status,
};
use common::harness::{Harness, SentFrame, hello, message};
use common::{address, fast_config, network, seconds};

const KILL: Duration = Duration::from_secs(20);

fn config() -> Config {
    let mut config = fast_config();
    config.kill_timeout = KILL;
    config
}

/// A tower that knows the tower number 1 with a status and has no link to it. A lost or dead one is
/// so because of a message that still waits.
fn standing(status: Status) -> Harness {
    let mut harness = Harness::new(&config());
    harness.expand(1);
    match status {
        Status::New => {}
        Status::Alive => {
            let link = harness.accept_from(1);
            harness.send_announce(link, 1);
            harness.send_goodbye(link);
        }
        Status::Lost | Status::Dead => {
            harness.enqueue("probe");
            while harness.status(1) != Some(status) {
                assert!(harness.run_until_dial(KILL + KILL));
                harness.refuse_dial();
            }
        }
        Status::Ignored => {
            harness.with(|tower, now| tower.ignore(&address(1), now)).unwrap();
        }
    }
    assert_eq!(harness.status(1), Some(status));
    assert_eq!(harness.tower.links().count(), 0);
    harness
}

fn changes(harness: &Harness) -> Vec<(Status, Status)> {
    let change = |report: &Notice| match report {
        Notice::StatusChanged { from, to, .. } => Some((*from, *to)),
        _ => None,
    };
    harness.notices.iter().filter_map(change).collect()
}

// Unknown -> new.

#[test]
fn expand_makes_an_unknown_tower_new() {
    let mut harness = Harness::new(&fast_config());
    assert_eq!(harness.status(1), None);
    harness.expand(1);
    assert_eq!(harness.status(1), Some(Status::New));
    assert_eq!(harness.notices, [Notice::TowerDiscovered { peer: address(1) }]);
    harness.expand(1);
    assert_eq!(harness.notices.len(), 1, "it is known already");
    assert!(harness.dialled.is_empty(), "nothing to say to it");
}

#[test]
fn a_tower_can_say_at_any_time_how_its_peers_stand_and_what_waits() {
    let mut harness = Harness::new(&config());
    harness.accept_alive(1);
    let link = harness.accept_alive(2);
    harness.blocked.insert(link);
    (3..6).for_each(|peer| harness.expand(peer));
    harness.with(|tower, now| tower.ignore(&address(6), now)).unwrap();
    let standing = harness.tower.status_counts();
    let counts = [standing.new, standing.alive, standing.lost, standing.dead, standing.ignored];
    assert_eq!(counts, [3, 2, 0, 0, 1]);
    assert_eq!((harness.tower.survey().count(), harness.tower.queue_usage().waiting), (6, 0));
    let nonces = [harness.enqueue("one"), harness.enqueue("two")];
    assert_eq!(harness.tower.queue_usage().waiting, 2);
    assert!(harness.tower.peek().map(|held| held.nonce).eq(nonces));
    assert!(harness.run_until_dial(seconds(1)), "the first is on its way to a new peer");
    assert_eq!((harness.tower.queue_usage().waiting, harness.tower.queue_usage().messages), (1, 2));
    let id = harness.tower.peek().find(common::is_in_flight).unwrap().id;
    harness.connect_dial_with_hello();
    harness.advance(seconds(1));
    let standing = harness.tower.status_counts();
    assert_eq!(
        (standing.new + standing.alive + standing.lost, harness.tower.survey().count()),
        (5, 6)
    );
    let held = harness.tower.message(id).unwrap();
    assert_eq!(held.nonce, nonces[0], "in flight all the same");
}

#[test]
fn announce_makes_an_unknown_tower_new_and_its_confirmation_makes_it_alive() {
    let mut harness = Harness::new(&fast_config());
    harness.with(|tower, now| tower.announce(&address(1), now)).unwrap();
    assert_eq!(harness.status(1), Some(Status::New));
    let link = harness.connect_dial_with_hello();
    assert_eq!(harness.status(1), Some(Status::New), "a hello is no transaction");
    let Some(SentFrame::Announce { transfer, .. }) = harness.take_frames(link).pop() else {
        panic!("silence")
    };
    harness.confirm(link, transfer);
    assert_eq!(harness.status(1), Some(Status::Alive));
    assert!(harness.notices.contains(&Notice::Announced { to: address(1) }));
}

#[test]
fn an_announce_that_can_not_be_made_now_goes_with_the_next_attempt() {
    let mut harness = Harness::new(&fast_config());
    harness.with(|tower, now| tower.announce(&address(1), now)).unwrap();
    harness.refuse_dial();
    assert_eq!(harness.status(1), Some(Status::Lost));
    harness.enqueue("a reason to dial");
    assert!(harness.run_until_dial(seconds(5)));
    let link = harness.connect_dial_with_hello();
    assert!(
        harness.take_frames(link).iter().any(|frame| matches!(frame, SentFrame::Announce { .. }))
    );
}

#[test]
fn first_contact_from_an_unknown_tower_makes_it_new() {
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept();
    assert_eq!(harness.tower.survey().count(), 0);
    harness.send_hello(link, Some(address(1)));
    assert_eq!(harness.status(1), Some(Status::New));
    assert_eq!(harness.notices, [Notice::TowerDiscovered { peer: address(1) }]);
}

#[test]
fn a_caller_without_an_address_is_nobody_and_its_messages_are_taken() {
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept();
    harness.send_hello(link, None);
    harness.send_message(link, 1, "from nobody");
    assert_eq!(harness.tower.survey().count(), 0);
    assert_eq!(harness.texts(), ["from nobody"]);
    assert_eq!(harness.take_frames(link).last(), Some(&SentFrame::Confirmed(1)));
}

#[test]
fn a_friend_that_is_known_keeps_its_status() {
    for status in [Status::Alive, Status::Lost, Status::Dead, Status::Ignored] {
        let mut harness = standing(status);
        let link = harness.accept_from(2);
        let friend = Some(address(1));
        harness.send_frame(link, &Frame::Announce(AnnounceFrame { transfer: 1, friend }));
        assert_eq!(harness.status(1), Some(status));
    }
}

// New, lost, dead -> alive.

#[test]
fn success_as_sender_makes_new_lost_and_dead_alive() {
    for status in [Status::New, Status::Lost, Status::Dead] {
        let mut harness = standing(status);
        if status == Status::New {
            harness.enqueue("probe");
        }
        assert!(harness.run_until_dial(seconds(5)), "{status}");
        let link = harness.connect_dial_with_hello();
        let [(transfer, ..)] = harness.take_messages(link)[..] else {
            panic!("expected one message")
        };
        assert_eq!(harness.status(1), Some(status), "not yet");
        harness.confirm(link, transfer);
        assert_eq!(harness.status(1), Some(Status::Alive));
        assert_eq!(changes(&harness).last(), Some(&(status, Status::Alive)));
        assert_eq!(
            harness.tower.peer(harness.tower.find(&address(1)).unwrap().id).unwrap().since,
            harness.now
        );
    }
}

#[test]
fn success_as_receiver_makes_new_lost_and_dead_alive() {
    for status in [Status::New, Status::Lost, Status::Dead] {
        for is_message in [true, false] {
            let mut harness = standing(status);
            let link = harness.accept_from(1);
            assert_eq!(harness.status(1), Some(status), "a hello alone changes nothing");
            if is_message {
                harness.send_message(link, 9, "x");
            } else {
                harness.send_announce(link, 9);
            }
            assert_eq!(harness.status(1), Some(Status::Alive));
            assert_eq!(changes(&harness).last(), Some(&(status, Status::Alive)));
        }
    }
}

// New, alive -> lost.

/// Ways to fail, each with what the link is closed for (nothing when the connection is gone
/// anyway).
#[derive(Clone, Copy, Debug, PartialEq)]
enum Failure {
    Refused,
    ConnectTimeout,
    HandshakeTimeout,
    ConfirmTimeout,
    Broken,
    Truncated,
    BrokenInHandshake,
}

const FAILURES: [Failure; 7] = [
    Failure::Refused,
    Failure::ConnectTimeout,
    Failure::HandshakeTimeout,
    Failure::ConfirmTimeout,
    Failure::Broken,
    Failure::Truncated,
    Failure::BrokenInHandshake,
];

/// The tower dials, and the attempt fails.
fn fail(harness: &mut Harness, failure: Failure) {
    assert!(harness.run_until_dial(seconds(5)));
    let link = harness.dialled[0].0;
    let minute = seconds(60);
    match failure {
        Failure::Refused => harness.refuse_dial(),
        Failure::ConnectTimeout => {
            assert_eq!(harness.run_until_close(link, minute), Some(CloseReason::ConnectTimeout));
        }
        Failure::HandshakeTimeout => {
            harness.connect_dial();
            assert_eq!(harness.run_until_close(link, minute), Some(CloseReason::HandshakeTimeout));
        }
        Failure::ConfirmTimeout => {
            harness.connect_dial_with_hello();
            assert_eq!(harness.run_until_close(link, minute), Some(CloseReason::ConfirmTimeout));
        }
        Failure::Broken => {
            harness.connect_dial_with_hello();
            assert_eq!(harness.take_messages(link).len(), 1);
            harness.reset(link);
        }
        Failure::Truncated => {
            harness.connect_dial_with_hello();
            harness.handle(Event::Finished { link });
            assert_eq!(harness.close_reason(link), Some(CloseReason::Truncated));
        }
        Failure::BrokenInHandshake => {
            harness.connect_dial();
            harness.reset(link);
        }
    }
}

#[test]
fn every_failed_attempt_makes_a_new_or_alive_peer_lost() {
    for failure in FAILURES {
        for status in [Status::New, Status::Alive] {
            let mut harness = standing(status);
            harness.enqueue("stays");
            fail(&mut harness, failure);
            assert_eq!(harness.status(1), Some(Status::Lost), "{failure:?}");
            assert_eq!(changes(&harness).last(), Some(&(status, Status::Lost)), "{failure:?}");
            assert_eq!(harness.texts(), ["stays"], "{failure:?}");
        }
    }
}

#[test]
fn a_link_that_breaks_with_nothing_unconfirmed_makes_nobody_lost() {
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept_from(1);
    harness.send_announce(link, 1);
    harness.reset(link);
    assert_eq!(harness.status(1), Some(Status::Alive));
    let link = harness.accept_from(2);
    harness.handle(Event::Finished { link });
    assert_eq!(harness.status(2), Some(Status::New));
}

// Lost -> dead.

#[test]
fn a_lost_peer_dies_only_on_a_failed_attempt_after_the_kill_timer() {
    let mut harness = standing(Status::Lost);
    let since = harness.tower.find(&address(1)).unwrap().since;
    // Attempts before the timer leave it lost, since the first failure.
    while harness.now < since + KILL {
        harness.run_until_dial(seconds(2));
        if harness.now <= since + KILL && !harness.dialled.is_empty() {
            harness.refuse_dial();
            assert_eq!(harness.status(1), Some(Status::Lost), "{}", harness.now);
        }
    }
    assert_eq!(harness.tower.find(&address(1)).unwrap().since, since);
    // The timer alone kills nobody: a dial that hangs is no failure yet.
    let now = harness.now;
    assert!(harness.run_until_dial(seconds(2)));
    harness.advance(seconds(5));
    assert!(harness.now > now && harness.status(1) == Some(Status::Lost));
    harness.refuse_dial();
    assert_eq!(harness.status(1), Some(Status::Dead));
    assert_eq!(changes(&harness).last(), Some(&(Status::Lost, Status::Dead)));
}

#[test]
fn a_failure_at_the_kill_timer_is_not_later_than_it() {
    let mut harness = standing(Status::Lost);
    let since = harness.tower.find(&address(1)).unwrap().since;
    assert!(harness.run_until_dial(seconds(2)));
    let (link, _) = harness.dialled.pop_front().unwrap();
    let cause = clacks_proto::IoCause::Refused;
    harness.now = since + KILL;
    harness.handle(Event::ConnectFailed { link, cause });
    assert_eq!(harness.status(1), Some(Status::Lost));
}

#[test]
fn a_dead_peer_stays_dead_whatever_fails() {
    for failure in FAILURES {
        let mut harness = standing(Status::Dead);
        let before = changes(&harness).len();
        fail(&mut harness, failure);
        assert_eq!(harness.status(1), Some(Status::Dead), "{failure:?}");
        assert_eq!(changes(&harness).len(), before);
    }
}

// Ignored.

#[test]
fn messages_and_announces_of_an_ignored_peer_are_refused() {
    for is_message in [true, false] {
        let mut harness = standing(Status::Ignored);
        let link = harness.accept_from(1);
        let friend = Some(address(7));
        if is_message {
            harness.send_frame(link, &Frame::Message(MessageFrame { friend, ..message(1, "x") }));
        } else {
            harness.send_frame(link, &Frame::Announce(AnnounceFrame { transfer: 1, friend }));
        }
        let sent = harness.take_frames(link);
        let answer =
            [SentFrame::Refused(1, RefusedReason::Ignored), SentFrame::Goodbye(Farewell::Ignored)];
        assert_eq!(sent[1..], answer);
        assert_eq!(harness.close_reason(link), Some(CloseReason::Ignored));
        assert_eq!(harness.status(1), Some(Status::Ignored));
        assert_eq!(harness.status(7), None, "its friend is none of ours");
        assert!(harness.texts().is_empty());
    }
}

#[test]
fn an_ignored_peer_is_never_contacted() {
    let mut config = config();
    config.heartbeat = Some(seconds(1));
    let mut harness = Harness::new(&config);
    harness.with(|tower, now| tower.ignore(&address(1), now)).unwrap();
    harness.enqueue("for nobody");
    let link = harness.accept_from(1);
    harness.advance(seconds(120));
    assert!(harness.dialled.is_empty() && harness.take_messages(link).is_empty());
    assert_eq!(harness.tower.stats().links_dialled, 0);
    let expanded = harness.with(|tower, now| tower.expand(&address(1), now));
    assert_eq!(expanded, Err(ExpandError::Ignored));
    let announced = harness.with(|tower, now| tower.announce(&address(1), now));
    assert_eq!(announced, Err(ExpandError::Ignored));
    assert_eq!(harness.texts(), ["for nobody"]);
}

#[test]
fn ignoring_closes_links_and_brings_messages_in_flight_back() {
    let mut harness = standing(Status::Alive);
    let link = harness.accept_from(1);
    harness.enqueue("comes back");
    harness.advance(seconds(1));
    assert_eq!(harness.take_messages(link).len(), 1);
    harness.with(|tower, now| tower.ignore(&address(1), now)).unwrap();
    assert_eq!(harness.take_frames(link), [SentFrame::Goodbye(Farewell::Ignored)]);
    assert_eq!(harness.close_reason(link), Some(CloseReason::Ignored));
    assert!(!harness.tower.peek().any(|held| common::is_in_flight(&held)));
    assert_eq!(harness.texts(), ["comes back"]);
    assert!(harness.dialled.is_empty(), "it is not asked again either");
}

#[test]
fn heed_makes_an_ignored_peer_new() {
    let mut harness = standing(Status::Ignored);
    assert!(harness.with(|tower, now| tower.unignore(&address(1), now)));
    assert_eq!(harness.status(1), Some(Status::New));
    assert!(
        !harness.with(|tower, now| tower.unignore(&address(1), now)),
        "it is not ignored any more"
    );
    assert!(!harness.with(|tower, now| tower.unignore(&address(2), now)), "nobody knows it");
    harness.enqueue("for the forgiven");
    assert!(harness.run_until_dial(seconds(1)));
}

#[test]
fn heed_counts_for_the_link_that_stands() {
    let mut harness = standing(Status::Ignored);
    let link = harness.accept_from(1);
    harness.with(|tower, now| tower.unignore(&address(1), now));
    harness.send_message(link, 1, "forgiven");
    assert_eq!(harness.texts(), ["forgiven"]);
    assert_eq!(harness.status(1), Some(Status::Alive));
}

// Ourselves under another name, resting, and those that can't be talked with.

#[test]
fn a_tower_that_reaches_itself_under_another_address_ignores_that() {
    let mut network = network(2, &fast_config());
    let alias = Address::new("localhost", 9_000).unwrap();
    network.aliases.insert(alias.clone(), 0);
    network.with(0, |tower, now| tower.expand(&alias, now)).unwrap();
    network.enqueue(0, "not for myself");
    network.advance(seconds(60));
    assert_eq!(network.tower(0).find(&alias).unwrap().status, Status::Ignored);
    assert_eq!(network.texts(0), ["not for myself"]);
    assert_eq!(network.tower(0).links().count(), 0);
    assert_eq!(network.tower(0).stats().links_dialled, 1, "once was enough");
    assert_eq!(network.tower(0).find(&address(0)), None);
    // It goes to others as ever.
    network.expand(0, 1);
    assert!(network.run_until(seconds(5), |network| network.texts(1) == ["not for myself"]));
}

#[test]
fn a_new_peer_that_answers_with_a_goodbye_is_lost_and_others_get_their_messages() {
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept_alive(2);
    harness.expand(1);
    harness.enqueue("for somebody who listens");
    let mut calls = 0;
    for _ in 0..100 {
        harness.advance(Duration::from_millis(50));
        while !harness.dialled.is_empty() {
            let answered = harness.connect_dial_with_hello();
            harness.send_goodbye(answered);
            calls += 1;
        }
    }
    assert_eq!(harness.status(1), Some(Status::Lost));
    assert!((1..=5).contains(&calls), "{calls} in five seconds, with a back-off of one");
    assert_eq!(harness.take_messages(link).len(), 1);
}

#[test]
fn an_alive_peer_that_answers_with_a_goodbye_stays_alive_and_rests() {
    let mut config = fast_config();
    config.send_rate = SendRate::Unlimited;
    let mut harness = Harness::new(&config);
    let link = harness.accept_alive(1);
    harness.enqueue("kept");
    harness.send_goodbye(link);
    assert_eq!((harness.status(1), harness.dialled.len()), (Some(Status::Alive), 0));
    harness.advance(config.busy_backoff);
    assert_eq!(harness.dialled.len(), 1);
    assert_eq!(harness.texts(), ["kept"]);
}

#[test]
fn a_resting_peer_is_not_drawn_before_its_back_off() {
    let mut harness = Harness::new(&fast_config());
    harness.expand(1);
    harness.enqueue("probe");
    let mut dials = Vec::new();
    for _ in 0..5 {
        assert!(harness.run_until_dial(seconds(5)));
        dials.push(harness.now);
        harness.refuse_dial();
    }
    for pair in dials.windows(2) {
        let apart = pair[1].duration_since(pair[0]);
        assert!(apart >= seconds(1) && apart <= Duration::from_millis(1_100), "{apart:?}");
    }
    // Its own success ends its rest.
    let link = harness.accept_from(1);
    harness.send_announce(link, 1);
    harness.advance(Duration::from_millis(60));
    assert_eq!(harness.take_messages(link).len(), 1);
}

#[test]
fn another_network_is_refused_with_a_goodbye() {
    refused_with_a_goodbye(
        Hello { network: "other", ..hello(Some(address(1))) },
        CloseReason::WrongNetwork,
        Farewell::WrongNetwork,
    );
}

#[test]
fn another_version_is_refused_with_a_goodbye() {
    refused_with_a_goodbye(
        Hello { version: VERSION + 1, ..hello(Some(address(1))) },
        CloseReason::WrongVersion(VERSION + 1),
        Farewell::WrongVersion,
    );
}

fn refused_with_a_goodbye(hello: Hello<'_>, why: CloseReason, farewell: Farewell) {
    // One that calls.
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept();
    harness.send_frame(link, &Frame::Hello(hello.clone()));
    assert_eq!(harness.close_reason(link), Some(why));
    assert_eq!(harness.take_frames(link).last(), Some(&SentFrame::Goodbye(farewell)));
    assert_eq!(harness.tower.survey().count(), 0, "not learned");
    // One that is dialled.
    harness.expand(1);
    harness.enqueue("stays");
    assert!(harness.run_until_dial(seconds(1)));
    let link = harness.connect_dial();
    harness.send_frame(link, &Frame::Hello(hello));
    assert_eq!(harness.close_reason(link), Some(why));
    let sent = harness.take_frames(link);
    assert!(matches!(sent[0], SentFrame::Hello { .. }), "the other side learns whom it called");
    assert_eq!(sent[1..], [SentFrame::Goodbye(farewell)]);
    assert_eq!(harness.status(1), Some(Status::Lost));
    assert_eq!(harness.texts(), ["stays"]);
    assert_eq!(harness.tower.next_wakeup().map(|wakeup| wakeup.at > harness.now), Some(true));
}
