//! The status of peers: each transition of the table.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::time::Duration;

use clacks_proto::wire::{AnnounceFrame, Farewell, Frame, Hello, MessageFrame, RefusedReason};
use clacks_proto::{
    Address, CloseReason, Config, Event, ExpandError, Notice, SendRate, StateMachine, Status,
};
use common::harness::{Harness, SentFrame, hello, message};
use common::{address, fast_config, network, seconds};

const KILL_TIMEOUT: Duration = Duration::from_secs(20);

fn config() -> Config {
    let mut config = fast_config();
    config.kill_timeout = KILL_TIMEOUT;
    config.max_probe_backoff = Duration::ZERO;
    config
}

/// Creates a tower that knows peer 1 with this status and has no link to it. If the peer is lost or
/// dead, one message waits in the queue.
fn with_peer(status: Status) -> Harness {
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
                assert!(harness.run_until_dial(KILL_TIMEOUT + KILL_TIMEOUT));
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

fn status_changes(harness: &Harness) -> Vec<(Status, Status)> {
    let change = |notice: &Notice| match notice {
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
    assert_eq!(harness.notices.len(), 1, "the tower is known already");
    assert!(harness.dialled.is_empty(), "the tower has nothing to send");
}

#[test]
fn status_counts_and_queue_usage_follow_peers_and_messages() {
    let mut harness = Harness::new(&config());
    harness.accept_alive(1);
    let link = harness.accept_alive(2);
    harness.blocked.insert(link);
    (3..6).for_each(|peer| harness.expand(peer));
    harness.with(|tower, now| tower.ignore(&address(6), now)).unwrap();
    let counts = harness.tower.status_counts();
    let by_status = [counts.new, counts.alive, counts.lost, counts.dead, counts.ignored];
    assert_eq!(by_status, [3, 2, 0, 0, 1]);
    assert_eq!((harness.tower.survey().count(), harness.tower.queue_usage().waiting), (6, 0));
    let nonces = [harness.enqueue("one"), harness.enqueue("two")];
    assert_eq!(harness.tower.queue_usage().waiting, 2);
    assert!(harness.tower.peek().map(|held| held.nonce).eq(nonces));
    assert!(harness.run_until_dial(seconds(1)), "the first message is in flight to a new peer");
    assert_eq!((harness.tower.queue_usage().waiting, harness.tower.queue_usage().messages), (1, 2));
    let id = harness.tower.peek().find(common::is_in_flight).unwrap().id;
    harness.connect_dial_with_hello();
    harness.advance(seconds(1));
    let counts = harness.tower.status_counts();
    assert_eq!((counts.new + counts.alive + counts.lost, harness.tower.survey().count()), (5, 6));
    let held = harness.tower.message(id).unwrap();
    assert_eq!(held.nonce, nonces[0], "the message is still in flight");
}

#[test]
fn announce_makes_an_unknown_tower_new_and_its_confirmation_makes_it_alive() {
    let mut harness = Harness::new(&fast_config());
    harness.with(|tower, now| tower.announce(&address(1), now)).unwrap();
    assert_eq!(harness.status(1), Some(Status::New));
    let link = harness.connect_dial_with_hello();
    assert_eq!(harness.status(1), Some(Status::New), "a hello is not enough");
    let Some(SentFrame::Announce { transfer, .. }) = harness.take_frames(link).pop() else {
        panic!("expected an announce")
    };
    harness.confirm(link, transfer);
    assert_eq!(harness.status(1), Some(Status::Alive));
    assert!(harness.notices.contains(&Notice::Announced { to: address(1) }));
}

#[test]
fn an_announce_whose_dial_fails_is_sent_on_the_next_link() {
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
fn the_hello_of_an_unknown_tower_makes_it_new() {
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept();
    assert_eq!(harness.tower.survey().count(), 0);
    harness.send_hello(link, Some(address(1)));
    assert_eq!(harness.status(1), Some(Status::New));
    assert_eq!(harness.notices, [Notice::TowerDiscovered { peer: address(1) }]);
}

#[test]
fn a_caller_without_an_address_is_not_learned_and_its_messages_are_accepted() {
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept();
    harness.send_hello(link, None);
    harness.send_message(link, 1, "from an unknown peer");
    assert_eq!(harness.tower.survey().count(), 0);
    assert_eq!(harness.texts(), ["from an unknown peer"]);
    assert_eq!(harness.take_frames(link).last(), Some(&SentFrame::Confirmed(1)));
}

#[test]
fn a_known_peer_that_is_named_as_a_friend_keeps_its_status() {
    for status in [Status::Alive, Status::Lost, Status::Dead, Status::Ignored] {
        let mut harness = with_peer(status);
        let link = harness.accept_from(2);
        let friend = Some(address(1));
        harness.send_frame(
            link,
            &Frame::Announce(AnnounceFrame { transfer: 1, friends: Vec::from_iter(friend) }),
        );
        assert_eq!(harness.status(1), Some(status));
    }
}

// New, lost, dead -> alive.

#[test]
fn a_confirmed_announce_makes_a_new_lost_or_dead_peer_alive() {
    for status in [Status::New, Status::Lost, Status::Dead] {
        let mut harness = with_peer(status);
        if status == Status::New {
            harness.enqueue("probe");
        }
        assert!(harness.run_until_dial(seconds(5)), "{status}");
        let link = harness.connect_dial_with_hello();
        let transfer = harness.take_announce(link);
        assert_eq!(harness.status(1), Some(status), "an unconfirmed announce changes nothing");
        harness.confirm(link, transfer);
        assert_eq!(harness.status(1), Some(Status::Alive));
        assert_eq!(status_changes(&harness).last(), Some(&(status, Status::Alive)));
        assert_eq!(
            harness.tower.peer(harness.tower.find(&address(1)).unwrap().id).unwrap().since,
            harness.now
        );
    }
}

#[test]
fn a_message_or_announce_from_a_new_lost_or_dead_peer_makes_it_alive() {
    for status in [Status::New, Status::Lost, Status::Dead] {
        for is_message in [true, false] {
            let mut harness = with_peer(status);
            let link = harness.accept_from(1);
            assert_eq!(harness.status(1), Some(status), "a hello alone changes nothing");
            if is_message {
                harness.send_message(link, 9, "x");
            } else {
                harness.send_announce(link, 9);
            }
            assert_eq!(harness.status(1), Some(Status::Alive));
            assert_eq!(status_changes(&harness).last(), Some(&(status, Status::Alive)));
        }
    }
}

// New, alive -> lost.

/// The ways in which an attempt to send a message fails.
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

/// Waits for a dial and makes the attempt fail.
fn fail_attempt(harness: &mut Harness, failure: Failure) {
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
            harness.take_announce(link);
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
            let mut harness = with_peer(status);
            harness.enqueue("stays");
            fail_attempt(&mut harness, failure);
            assert_eq!(harness.status(1), Some(Status::Lost), "{failure:?}");
            assert_eq!(
                status_changes(&harness).last(),
                Some(&(status, Status::Lost)),
                "{failure:?}"
            );
            assert_eq!(harness.texts(), ["stays"], "{failure:?}");
        }
    }
}

#[test]
fn a_link_that_breaks_without_an_unconfirmed_transfer_changes_no_status() {
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
fn a_lost_peer_becomes_dead_only_on_a_failed_attempt_after_the_kill_timeout() {
    let mut harness = with_peer(Status::Lost);
    let since = harness.tower.find(&address(1)).unwrap().since;
    // A failure before the kill timeout neither changes the status nor restarts the timeout.
    while harness.now < since + KILL_TIMEOUT {
        harness.run_until_dial(seconds(2));
        if harness.now <= since + KILL_TIMEOUT && !harness.dialled.is_empty() {
            harness.refuse_dial();
            assert_eq!(harness.status(1), Some(Status::Lost), "{}", harness.now);
        }
    }
    assert_eq!(harness.tower.find(&address(1)).unwrap().since, since);
    // The kill timeout alone does not change the status. A hanging dial has not failed yet.
    let now = harness.now;
    assert!(harness.run_until_dial(seconds(2)));
    harness.advance(seconds(5));
    assert!(harness.now > now && harness.status(1) == Some(Status::Lost));
    harness.refuse_dial();
    assert_eq!(harness.status(1), Some(Status::Dead));
    assert_eq!(status_changes(&harness).last(), Some(&(Status::Lost, Status::Dead)));
}

#[test]
fn a_failure_exactly_at_the_kill_timeout_leaves_the_peer_lost() {
    let mut harness = with_peer(Status::Lost);
    let since = harness.tower.find(&address(1)).unwrap().since;
    assert!(harness.run_until_dial(seconds(2)));
    let (link, _) = harness.dialled.pop_front().unwrap();
    let cause = clacks_proto::IoCause::Refused;
    harness.now = since + KILL_TIMEOUT;
    harness.handle(Event::ConnectFailed { link, cause });
    assert_eq!(harness.status(1), Some(Status::Lost));
}

#[test]
fn a_dead_peer_stays_dead_after_every_failure() {
    for failure in FAILURES {
        let mut harness = with_peer(Status::Dead);
        let before = status_changes(&harness).len();
        fail_attempt(&mut harness, failure);
        assert_eq!(harness.status(1), Some(Status::Dead), "{failure:?}");
        assert_eq!(status_changes(&harness).len(), before);
    }
}

// Ignored.

#[test]
fn messages_and_announces_of_an_ignored_peer_are_refused() {
    for is_message in [true, false] {
        let mut harness = with_peer(Status::Ignored);
        let link = harness.accept_from(1);
        let friend = Some(address(7));
        if is_message {
            harness.send_frame(link, &Frame::Message(MessageFrame { friend, ..message(1, "x") }));
        } else {
            harness.send_frame(
                link,
                &Frame::Announce(AnnounceFrame { transfer: 1, friends: Vec::from_iter(friend) }),
            );
        }
        let sent = harness.take_frames(link);
        let answer =
            [SentFrame::Refused(1, RefusedReason::Ignored), SentFrame::Goodbye(Farewell::Ignored)];
        assert_eq!(sent[1..], answer);
        assert_eq!(harness.close_reason(link), Some(CloseReason::Ignored));
        assert_eq!(harness.status(1), Some(Status::Ignored));
        assert_eq!(harness.status(7), None, "the friend of an ignored peer is not learned");
        assert!(harness.texts().is_empty());
    }
}

#[test]
fn an_ignored_peer_is_never_contacted() {
    let mut config = config();
    config.heartbeat = Some(seconds(1));
    let mut harness = Harness::new(&config);
    harness.with(|tower, now| tower.ignore(&address(1), now)).unwrap();
    harness.enqueue("waits");
    let link = harness.accept_from(1);
    harness.advance(seconds(120));
    assert!(harness.dialled.is_empty() && harness.take_messages(link).is_empty());
    assert_eq!(harness.tower.stats().links_dialled, 0);
    let expanded = harness.with(|tower, now| tower.expand(&address(1), now));
    assert_eq!(expanded, Err(ExpandError::Ignored));
    let announced = harness.with(|tower, now| tower.announce(&address(1), now));
    assert_eq!(announced, Err(ExpandError::Ignored));
    assert_eq!(harness.texts(), ["waits"]);
}

#[test]
fn ignoring_a_peer_closes_its_links_and_returns_its_messages_in_flight() {
    let mut harness = with_peer(Status::Alive);
    let link = harness.accept_from(1);
    harness.enqueue("returns");
    harness.advance(seconds(1));
    assert_eq!(harness.take_messages(link).len(), 1);
    harness.with(|tower, now| tower.ignore(&address(1), now)).unwrap();
    assert_eq!(harness.take_frames(link), [SentFrame::Goodbye(Farewell::Ignored)]);
    assert_eq!(harness.close_reason(link), Some(CloseReason::Ignored));
    assert!(!harness.tower.peek().any(|held| common::is_in_flight(&held)));
    assert_eq!(harness.texts(), ["returns"]);
    assert!(harness.dialled.is_empty(), "the message is not retried");
}

#[test]
fn unignore_makes_an_ignored_peer_new() {
    let mut harness = with_peer(Status::Ignored);
    assert!(harness.with(|tower, now| tower.unignore(&address(1), now)));
    assert_eq!(harness.status(1), Some(Status::New));
    assert!(
        !harness.with(|tower, now| tower.unignore(&address(1), now)),
        "the peer is no longer ignored"
    );
    assert!(!harness.with(|tower, now| tower.unignore(&address(2), now)), "the peer is unknown");
    harness.enqueue("for the unignored peer");
    assert!(harness.run_until_dial(seconds(1)));
}

#[test]
fn unignore_applies_to_an_open_link() {
    let mut harness = with_peer(Status::Ignored);
    let link = harness.accept_from(1);
    harness.with(|tower, now| tower.unignore(&address(1), now));
    harness.send_message(link, 1, "accepted");
    assert_eq!(harness.texts(), ["accepted"]);
    assert_eq!(harness.status(1), Some(Status::Alive));
}

// Links to the tower itself, back-offs, and incompatible peers.

#[test]
fn a_tower_ignores_another_address_of_itself() {
    let mut network = network(2, &fast_config());
    let alias = Address::new("localhost", 9_000).unwrap();
    network.aliases.insert(alias.clone(), 0);
    network.with(0, |tower, now| tower.expand(&alias, now)).unwrap();
    network.enqueue(0, "for the other tower");
    network.advance(seconds(60));
    assert_eq!(network.tower(0).find(&alias).unwrap().status, Status::Ignored);
    assert_eq!(network.texts(0), ["for the other tower"]);
    assert_eq!(network.tower(0).links().count(), 0);
    assert_eq!(network.tower(0).stats().links_dialled, 1, "the address is dialled once");
    assert_eq!(network.tower(0).find(&address(0)), None);
    // Another peer gets the message.
    network.expand(0, 1);
    assert!(network.run_until(seconds(5), |network| network.texts(1) == ["for the other tower"]));
}

#[test]
fn a_new_peer_that_answers_with_a_goodbye_becomes_lost_and_the_message_goes_to_another_peer() {
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept_alive(2);
    harness.expand(1);
    harness.enqueue("for the alive peer");
    let mut dials = 0;
    for _ in 0..100 {
        harness.advance(Duration::from_millis(50));
        while !harness.dialled.is_empty() {
            let dialled = harness.connect_dial_with_hello();
            harness.send_goodbye(dialled);
            dials += 1;
        }
    }
    assert_eq!(harness.status(1), Some(Status::Lost));
    assert!(
        (1..=5).contains(&dials),
        "{dials} dials in five seconds, with a back-off of one second"
    );
    assert_eq!(harness.take_messages(link).len(), 1);
}

#[test]
fn an_alive_peer_that_sends_a_goodbye_stays_alive_and_backs_off() {
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
fn a_peer_is_not_drawn_before_its_back_off_ends() {
    let mut harness = Harness::new(&config());
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
    // An announce of the peer ends the back-off.
    let link = harness.accept_from(1);
    harness.send_announce(link, 1);
    harness.advance(Duration::from_millis(60));
    assert_eq!(harness.take_messages(link).len(), 1);
}

#[test]
fn a_hello_of_another_network_is_refused_with_a_goodbye() {
    check_refused_hello(
        Hello { network: "other", ..hello(Some(address(1))) },
        CloseReason::WrongNetwork,
        Farewell::WrongNetwork,
    );
}

#[test]
fn a_hello_of_version_1_is_refused_with_a_goodbye() {
    check_refused_hello(
        Hello { version: 1, ..hello(Some(address(1))) },
        CloseReason::WrongVersion(1),
        Farewell::WrongVersion,
    );
}

fn check_refused_hello(hello: Hello<'_>, reason: CloseReason, farewell: Farewell) {
    // The hello arrives on an inbound link.
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept();
    harness.send_frame(link, &Frame::Hello(hello.clone()));
    assert_eq!(harness.close_reason(link), Some(reason));
    assert_eq!(harness.take_frames(link).last(), Some(&SentFrame::Goodbye(farewell)));
    assert_eq!(harness.tower.survey().count(), 0, "the peer is not learned");
    // The hello arrives on a dialled link.
    harness.expand(1);
    harness.enqueue("stays");
    assert!(harness.run_until_dial(seconds(1)));
    let link = harness.connect_dial();
    harness.send_frame(link, &Frame::Hello(hello));
    assert_eq!(harness.close_reason(link), Some(reason));
    let sent = harness.take_frames(link);
    assert!(matches!(sent[0], SentFrame::Hello { .. }), "the tower sends its own hello first");
    assert_eq!(sent[1..], [SentFrame::Goodbye(farewell)]);
    assert_eq!(harness.status(1), Some(Status::Lost));
    assert_eq!(harness.texts(), ["stays"]);
    assert_eq!(harness.tower.next_wakeup().map(|wakeup| wakeup.at > harness.now), Some(true));
}
