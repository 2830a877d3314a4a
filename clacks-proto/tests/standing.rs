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
use common::raw::{Raw, Said, hello, message};
use common::{address, net, quick, seconds};

const KILL: Duration = Duration::from_secs(20);

fn config() -> Config {
    let mut config = quick();
    config.kill_timeout = KILL;
    config
}

/// A tower that knows the tower number 1 with a status and has no link to it. A lost or dead one is
/// so because of a message that still waits.
fn standing(status: Status) -> Raw {
    let mut raw = Raw::new(&config());
    raw.expand(1);
    match status {
        Status::New => {}
        Status::Alive => {
            let link = raw.call_as(1);
            raw.announce(link, 1);
            raw.leave(link);
        }
        Status::Lost | Status::Dead => {
            raw.enqueue("probe");
            while raw.status(1) != Some(status) {
                assert!(raw.run_to_dial(KILL + KILL));
                raw.refuse();
            }
        }
        Status::Ignored => {
            raw.with(|tower, now| tower.ignore(&address(1), now)).unwrap();
        }
    }
    assert_eq!(raw.status(1), Some(status));
    assert_eq!(raw.tower.links().count(), 0);
    raw
}

fn changes(raw: &Raw) -> Vec<(Status, Status)> {
    let change = |report: &Notice| match report {
        Notice::StatusChanged { from, to, .. } => Some((*from, *to)),
        _ => None,
    };
    raw.notices.iter().filter_map(change).collect()
}

// Unknown -> new.

#[test]
fn expand_makes_an_unknown_tower_new() {
    let mut raw = Raw::new(&quick());
    assert_eq!(raw.status(1), None);
    raw.expand(1);
    assert_eq!(raw.status(1), Some(Status::New));
    assert_eq!(raw.notices, [Notice::TowerDiscovered { peer: address(1) }]);
    raw.expand(1);
    assert_eq!(raw.notices.len(), 1, "it is known already");
    assert!(raw.dialled.is_empty(), "nothing to say to it");
}

#[test]
fn a_tower_can_say_at_any_time_how_its_peers_stand_and_what_waits() {
    let mut raw = Raw::new(&config());
    raw.call_alive(1);
    let link = raw.call_alive(2);
    raw.deaf.insert(link);
    (3..6).for_each(|peer| raw.expand(peer));
    raw.with(|tower, now| tower.ignore(&address(6), now)).unwrap();
    let standing = raw.tower.status_counts();
    let counts = [standing.new, standing.alive, standing.lost, standing.dead, standing.ignored];
    assert_eq!(counts, [3, 2, 0, 0, 1]);
    assert_eq!((raw.tower.survey().count(), raw.tower.queue_usage().waiting), (6, 0));
    let nonces = [raw.enqueue("one"), raw.enqueue("two")];
    assert_eq!(raw.tower.queue_usage().waiting, 2);
    assert!(raw.tower.peek().map(|held| held.nonce).eq(nonces));
    assert!(raw.run_to_dial(seconds(1)), "the first is on its way to a new peer");
    assert_eq!((raw.tower.queue_usage().waiting, raw.tower.queue_usage().messages), (1, 2));
    let id = raw.tower.peek().find(common::is_in_flight).unwrap().id;
    raw.answer();
    raw.run(seconds(1));
    let standing = raw.tower.status_counts();
    assert_eq!((standing.new + standing.alive + standing.lost, raw.tower.survey().count()), (5, 6));
    let held = raw.tower.message(id).unwrap();
    assert_eq!(held.nonce, nonces[0], "in flight all the same");
}

#[test]
fn announce_makes_an_unknown_tower_new_and_its_confirmation_makes_it_alive() {
    let mut raw = Raw::new(&quick());
    raw.with(|tower, now| tower.announce(&address(1), now)).unwrap();
    assert_eq!(raw.status(1), Some(Status::New));
    let link = raw.answer();
    assert_eq!(raw.status(1), Some(Status::New), "a hello is no transaction");
    let Some(Said::Announce { transfer, .. }) = raw.heard(link).pop() else { panic!("silence") };
    raw.confirm(link, transfer);
    assert_eq!(raw.status(1), Some(Status::Alive));
    assert!(raw.notices.contains(&Notice::Announced { to: address(1) }));
}

#[test]
fn an_announce_that_can_not_be_made_now_goes_with_the_next_attempt() {
    let mut raw = Raw::new(&quick());
    raw.with(|tower, now| tower.announce(&address(1), now)).unwrap();
    raw.refuse();
    assert_eq!(raw.status(1), Some(Status::Lost));
    raw.enqueue("a reason to dial");
    assert!(raw.run_to_dial(seconds(5)));
    let link = raw.answer();
    assert!(raw.heard(link).iter().any(|said| matches!(said, Said::Announce { .. })));
}

#[test]
fn first_contact_from_an_unknown_tower_makes_it_new() {
    let mut raw = Raw::new(&quick());
    let link = raw.call();
    assert_eq!(raw.tower.survey().count(), 0);
    raw.greet(link, Some(address(1)));
    assert_eq!(raw.status(1), Some(Status::New));
    assert_eq!(raw.notices, [Notice::TowerDiscovered { peer: address(1) }]);
}

#[test]
fn a_caller_without_an_address_is_nobody_and_its_messages_are_taken() {
    let mut raw = Raw::new(&quick());
    let link = raw.call();
    raw.greet(link, None);
    raw.hand(link, 1, "from nobody");
    assert_eq!(raw.tower.survey().count(), 0);
    assert_eq!(raw.texts(), ["from nobody"]);
    assert_eq!(raw.heard(link).last(), Some(&Said::Confirmed(1)));
}

#[test]
fn a_friend_that_is_known_keeps_its_status() {
    for status in [Status::Alive, Status::Lost, Status::Dead, Status::Ignored] {
        let mut raw = standing(status);
        let link = raw.call_as(2);
        let friend = Some(address(1));
        raw.say(link, &Frame::Announce(AnnounceFrame { transfer: 1, friend }));
        assert_eq!(raw.status(1), Some(status));
    }
}

// New, lost, dead -> alive.

#[test]
fn success_as_sender_makes_new_lost_and_dead_alive() {
    for status in [Status::New, Status::Lost, Status::Dead] {
        let mut raw = standing(status);
        if status == Status::New {
            raw.enqueue("probe");
        }
        assert!(raw.run_to_dial(seconds(5)), "{status}");
        let link = raw.answer();
        let [(transfer, ..)] = raw.heard_messages(link)[..] else { panic!("one message") };
        assert_eq!(raw.status(1), Some(status), "not yet");
        raw.confirm(link, transfer);
        assert_eq!(raw.status(1), Some(Status::Alive));
        assert_eq!(changes(&raw).last(), Some(&(status, Status::Alive)));
        assert_eq!(raw.tower.peer(raw.tower.find(&address(1)).unwrap().id).unwrap().since, raw.now);
    }
}

#[test]
fn success_as_receiver_makes_new_lost_and_dead_alive() {
    for status in [Status::New, Status::Lost, Status::Dead] {
        for is_message in [true, false] {
            let mut raw = standing(status);
            let link = raw.call_as(1);
            assert_eq!(raw.status(1), Some(status), "a hello alone changes nothing");
            if is_message {
                raw.hand(link, 9, "x");
            } else {
                raw.announce(link, 9);
            }
            assert_eq!(raw.status(1), Some(Status::Alive));
            assert_eq!(changes(&raw).last(), Some(&(status, Status::Alive)));
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
fn fail(raw: &mut Raw, failure: Failure) {
    assert!(raw.run_to_dial(seconds(5)));
    let link = raw.dialled[0].0;
    let minute = seconds(60);
    match failure {
        Failure::Refused => raw.refuse(),
        Failure::ConnectTimeout => {
            assert_eq!(raw.run_to_close(link, minute), Some(CloseReason::ConnectTimeout));
        }
        Failure::HandshakeTimeout => {
            raw.pick_up();
            assert_eq!(raw.run_to_close(link, minute), Some(CloseReason::HandshakeTimeout));
        }
        Failure::ConfirmTimeout => {
            raw.answer();
            assert_eq!(raw.run_to_close(link, minute), Some(CloseReason::ConfirmTimeout));
        }
        Failure::Broken => {
            raw.answer();
            assert_eq!(raw.heard_messages(link).len(), 1);
            raw.lose(link);
        }
        Failure::Truncated => {
            raw.answer();
            raw.tell(Event::Finished { link });
            assert_eq!(raw.close_reason(link), Some(CloseReason::Truncated));
        }
        Failure::BrokenInHandshake => {
            raw.pick_up();
            raw.lose(link);
        }
    }
}

#[test]
fn every_failed_attempt_makes_a_new_or_alive_peer_lost() {
    for failure in FAILURES {
        for status in [Status::New, Status::Alive] {
            let mut raw = standing(status);
            raw.enqueue("stays");
            fail(&mut raw, failure);
            assert_eq!(raw.status(1), Some(Status::Lost), "{failure:?}");
            assert_eq!(changes(&raw).last(), Some(&(status, Status::Lost)), "{failure:?}");
            assert_eq!(raw.texts(), ["stays"], "{failure:?}");
        }
    }
}

#[test]
fn a_link_that_breaks_with_nothing_unconfirmed_makes_nobody_lost() {
    let mut raw = Raw::new(&quick());
    let link = raw.call_as(1);
    raw.announce(link, 1);
    raw.lose(link);
    assert_eq!(raw.status(1), Some(Status::Alive));
    let link = raw.call_as(2);
    raw.tell(Event::Finished { link });
    assert_eq!(raw.status(2), Some(Status::New));
}

// Lost -> dead.

#[test]
fn a_lost_peer_dies_only_on_a_failed_attempt_after_the_kill_timer() {
    let mut raw = standing(Status::Lost);
    let since = raw.tower.find(&address(1)).unwrap().since;
    // Attempts before the timer leave it lost, since the first failure.
    while raw.now < since + KILL {
        raw.run_to_dial(seconds(2));
        if raw.now <= since + KILL && !raw.dialled.is_empty() {
            raw.refuse();
            assert_eq!(raw.status(1), Some(Status::Lost), "{}", raw.now);
        }
    }
    assert_eq!(raw.tower.find(&address(1)).unwrap().since, since);
    // The timer alone kills nobody: a dial that hangs is no failure yet.
    let now = raw.now;
    assert!(raw.run_to_dial(seconds(2)));
    raw.run(seconds(5));
    assert!(raw.now > now && raw.status(1) == Some(Status::Lost));
    raw.refuse();
    assert_eq!(raw.status(1), Some(Status::Dead));
    assert_eq!(changes(&raw).last(), Some(&(Status::Lost, Status::Dead)));
}

#[test]
fn a_failure_at_the_kill_timer_is_not_later_than_it() {
    let mut raw = standing(Status::Lost);
    let since = raw.tower.find(&address(1)).unwrap().since;
    assert!(raw.run_to_dial(seconds(2)));
    let (link, _) = raw.dialled.pop_front().unwrap();
    let cause = clacks_proto::IoCause::Refused;
    raw.now = since + KILL;
    raw.tell(Event::ConnectFailed { link, cause });
    assert_eq!(raw.status(1), Some(Status::Lost));
}

#[test]
fn a_dead_peer_stays_dead_whatever_fails() {
    for failure in FAILURES {
        let mut raw = standing(Status::Dead);
        let before = changes(&raw).len();
        fail(&mut raw, failure);
        assert_eq!(raw.status(1), Some(Status::Dead), "{failure:?}");
        assert_eq!(changes(&raw).len(), before);
    }
}

// Ignored.

#[test]
fn messages_and_announces_of_an_ignored_peer_are_refused() {
    for is_message in [true, false] {
        let mut raw = standing(Status::Ignored);
        let link = raw.call_as(1);
        let friend = Some(address(7));
        if is_message {
            raw.say(link, &Frame::Message(MessageFrame { friend, ..message(1, "x") }));
        } else {
            raw.say(link, &Frame::Announce(AnnounceFrame { transfer: 1, friend }));
        }
        let heard = raw.heard(link);
        let answer = [Said::Refused(1, RefusedReason::Ignored), Said::Goodbye(Farewell::Ignored)];
        assert_eq!(heard[1..], answer);
        assert_eq!(raw.close_reason(link), Some(CloseReason::Ignored));
        assert_eq!(raw.status(1), Some(Status::Ignored));
        assert_eq!(raw.status(7), None, "its friend is none of ours");
        assert!(raw.texts().is_empty());
    }
}

#[test]
fn an_ignored_peer_is_never_contacted() {
    let mut config = config();
    config.heartbeat = Some(seconds(1));
    let mut raw = Raw::new(&config);
    raw.with(|tower, now| tower.ignore(&address(1), now)).unwrap();
    raw.enqueue("for nobody");
    let link = raw.call_as(1);
    raw.run(seconds(120));
    assert!(raw.dialled.is_empty() && raw.heard_messages(link).is_empty());
    assert_eq!(raw.tower.stats().links_dialled, 0);
    let expanded = raw.with(|tower, now| tower.expand(&address(1), now));
    assert_eq!(expanded, Err(ExpandError::Ignored));
    let announced = raw.with(|tower, now| tower.announce(&address(1), now));
    assert_eq!(announced, Err(ExpandError::Ignored));
    assert_eq!(raw.texts(), ["for nobody"]);
}

#[test]
fn ignoring_closes_links_and_brings_messages_in_flight_back() {
    let mut raw = standing(Status::Alive);
    let link = raw.call_as(1);
    raw.enqueue("comes back");
    raw.run(seconds(1));
    assert_eq!(raw.heard_messages(link).len(), 1);
    raw.with(|tower, now| tower.ignore(&address(1), now)).unwrap();
    assert_eq!(raw.heard(link), [Said::Goodbye(Farewell::Ignored)]);
    assert_eq!(raw.close_reason(link), Some(CloseReason::Ignored));
    assert!(!raw.tower.peek().any(|held| common::is_in_flight(&held)));
    assert_eq!(raw.texts(), ["comes back"]);
    assert!(raw.dialled.is_empty(), "it is not asked again either");
}

#[test]
fn heed_makes_an_ignored_peer_new() {
    let mut raw = standing(Status::Ignored);
    assert!(raw.with(|tower, now| tower.unignore(&address(1), now)));
    assert_eq!(raw.status(1), Some(Status::New));
    assert!(!raw.with(|tower, now| tower.unignore(&address(1), now)), "it is not ignored any more");
    assert!(!raw.with(|tower, now| tower.unignore(&address(2), now)), "nobody knows it");
    raw.enqueue("for the forgiven");
    assert!(raw.run_to_dial(seconds(1)));
}

#[test]
fn heed_counts_for_the_link_that_stands() {
    let mut raw = standing(Status::Ignored);
    let link = raw.call_as(1);
    raw.with(|tower, now| tower.unignore(&address(1), now));
    raw.hand(link, 1, "forgiven");
    assert_eq!(raw.texts(), ["forgiven"]);
    assert_eq!(raw.status(1), Some(Status::Alive));
}

// Ourselves under another name, resting, and those that can't be talked with.

#[test]
fn a_tower_that_reaches_itself_under_another_address_ignores_that() {
    let mut net = net(2, &quick());
    let alias = Address::new("localhost", 9_000).unwrap();
    net.aliases.insert(alias.clone(), 0);
    net.with(0, |tower, now| tower.expand(&alias, now)).unwrap();
    net.enqueue(0, "not for myself");
    net.run(seconds(60));
    assert_eq!(net.tower(0).find(&alias).unwrap().status, Status::Ignored);
    assert_eq!(net.texts(0), ["not for myself"]);
    assert_eq!(net.tower(0).links().count(), 0);
    assert_eq!(net.tower(0).stats().links_dialled, 1, "once was enough");
    assert_eq!(net.tower(0).find(&address(0)), None);
    // It goes to others as ever.
    net.expand(0, 1);
    assert!(net.run_until(seconds(5), |net| net.texts(1) == ["not for myself"]));
}

#[test]
fn a_new_peer_that_answers_with_a_goodbye_is_lost_and_others_get_their_messages() {
    let mut raw = Raw::new(&quick());
    let link = raw.call_alive(2);
    raw.expand(1);
    raw.enqueue("for somebody who listens");
    let mut calls = 0;
    for _ in 0..100 {
        raw.run(Duration::from_millis(50));
        while !raw.dialled.is_empty() {
            let answered = raw.answer();
            raw.leave(answered);
            calls += 1;
        }
    }
    assert_eq!(raw.status(1), Some(Status::Lost));
    assert!((1..=5).contains(&calls), "{calls} in five seconds, with a back-off of one");
    assert_eq!(raw.heard_messages(link).len(), 1);
}

#[test]
fn an_alive_peer_that_answers_with_a_goodbye_stays_alive_and_rests() {
    let mut config = quick();
    config.send_rate = SendRate::Unlimited;
    let mut raw = Raw::new(&config);
    let link = raw.call_alive(1);
    raw.enqueue("kept");
    raw.leave(link);
    assert_eq!((raw.status(1), raw.dialled.len()), (Some(Status::Alive), 0));
    raw.run(config.busy_backoff);
    assert_eq!(raw.dialled.len(), 1);
    assert_eq!(raw.texts(), ["kept"]);
}

#[test]
fn a_resting_peer_is_not_drawn_before_its_back_off() {
    let mut raw = Raw::new(&quick());
    raw.expand(1);
    raw.enqueue("probe");
    let mut dials = Vec::new();
    for _ in 0..5 {
        assert!(raw.run_to_dial(seconds(5)));
        dials.push(raw.now);
        raw.refuse();
    }
    for pair in dials.windows(2) {
        let apart = pair[1].duration_since(pair[0]);
        assert!(apart >= seconds(1) && apart <= Duration::from_millis(1_100), "{apart:?}");
    }
    // Its own success ends its rest.
    let link = raw.call_as(1);
    raw.announce(link, 1);
    raw.run(Duration::from_millis(60));
    assert_eq!(raw.heard_messages(link).len(), 1);
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
    let mut raw = Raw::new(&quick());
    let link = raw.call();
    raw.say(link, &Frame::Hello(hello.clone()));
    assert_eq!(raw.close_reason(link), Some(why));
    assert_eq!(raw.heard(link).last(), Some(&Said::Goodbye(farewell)));
    assert_eq!(raw.tower.survey().count(), 0, "not learned");
    // One that is dialled.
    raw.expand(1);
    raw.enqueue("stays");
    assert!(raw.run_to_dial(seconds(1)));
    let link = raw.pick_up();
    raw.say(link, &Frame::Hello(hello));
    assert_eq!(raw.close_reason(link), Some(why));
    let heard = raw.heard(link);
    assert!(matches!(heard[0], Said::Hello { .. }), "the other side learns whom it called");
    assert_eq!(heard[1..], [Said::Goodbye(farewell)]);
    assert_eq!(raw.status(1), Some(Status::Lost));
    assert_eq!(raw.texts(), ["stays"]);
    assert_eq!(raw.tower.next_wakeup().map(|wakeup| wakeup.at > raw.now), Some(true));
}
