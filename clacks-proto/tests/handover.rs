//! Hand-over: a message stays with its sender until somebody has surely taken it, whatever happens
//! on the way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::time::Duration;

use bytes::BufMut;
use clacks_proto::wire::{Attempt, Farewell, Frame, MessageFrame, RefusedReason};
use clacks_proto::{
    CloseReason, Event, Kind, LinkId, Message, MessageState, Nonce, Notice, Origin, SendRate,
    StateMachine, Status, Tower,
};
use common::harness::{Harness, SentFrame, encode, message};
use common::{address, fast_config, network, seconds, tower};

fn is_in_flight(harness: &Harness) -> bool {
    harness.tower.peek().any(|held| common::is_in_flight(&held))
}

#[test]
fn a_message_stays_when_there_is_no_peer() {
    let mut harness = Harness::new(&fast_config());
    harness.enqueue("alone");
    harness.advance(seconds(3_600));
    assert_eq!(harness.texts(), ["alone"]);
    assert_eq!(harness.tower.next_wakeup(), None, "there is nothing to wake up for");
}

#[test]
fn a_refused_dial_returns_the_message() {
    let mut harness = Harness::new(&fast_config());
    harness.expand(1);
    let nonce = harness.enqueue("returns");
    assert!(harness.run_until_dial(seconds(1)));
    let to = Some(address(1));
    assert_eq!(harness.tower.peek().next().unwrap().state, MessageState::InFlight { to });
    harness.refuse_dial();
    assert!(!is_in_flight(&harness));
    assert_eq!(harness.texts(), ["returns"]);
    assert_eq!((harness.tower.stats().returned, harness.tower.stats().doubt_unresolved), (1, 0));
    let id = harness.tower.peek().next().unwrap().id;
    let origin = Origin::Returned;
    assert!(harness.notices.contains(&Notice::MessageQueued { id, nonce, origin }));
}

#[test]
fn a_confirmed_message_is_forgotten_by_the_sender_and_held_once_by_the_receiver() {
    let mut network = network(2, &fast_config());
    network.expand(0, 1);
    network.enqueue(0, "once");
    let mut moves = 0;
    for _ in 0..200 {
        let before = network.texts(1).len();
        network.advance(Duration::from_millis(10));
        let copies = network.texts(0).len() + network.texts(1).len();
        assert_eq!(copies, 1);
        moves += usize::from(network.texts(1).len() != before);
    }
    assert!(moves > 10, "it is in flight all the time");
    let (here, there) = (network.tower(0).stats(), network.tower(1).stats());
    assert_eq!((here.delivered, there.delivered), (there.received, here.received));
    assert!(network.has_notice(0, |notice| matches!(notice, Notice::MessageDelivered { .. })));
}

// Doubt.

#[test]
fn after_a_lost_confirmation_the_same_peer_is_asked_again_and_recognises_the_message() {
    let config = fast_config();
    let mut slow = fast_config();
    slow.send_rate = SendRate::Every(seconds(3_600));
    let mut network = network(2, &config);
    network.towers[1] = Some(tower(1, &slow));
    network.announce(0, 1);
    // The confirmation is on its way to a tower that stands still, and then it is gone.
    network.enqueue(0, "once");
    network.frozen.insert(0);
    assert!(network.run_until(seconds(5), |network| !network.texts(1).is_empty()));
    assert_eq!(network.texts(0), ["once"], "it is in flight");
    network.frozen.clear();
    network.transmit();
    network.drop_bytes_to(0);
    assert_eq!(network.reset_connections(0, 1), 1);
    network.drive();
    assert!(network.texts(0).is_empty());
    assert_eq!(network.texts(1), ["once"]);
    let (here, there) = (network.tower(0).stats(), network.tower(1).stats());
    assert_eq!((here.in_doubt, here.doubt_unresolved, here.delivered), (1, 0, 1));
    assert_eq!((there.received, there.recognised_retries), (1, 1));
    assert_eq!(network.status(0, 1), Some(Status::Alive));
}

#[test]
fn a_message_in_doubt_goes_to_the_same_peer_with_its_number_at_once() {
    let (mut harness, link, transfer) =
        Harness::with_unconfirmed_message(&fast_config(), "in doubt");
    let other = harness.accept_alive(2);
    harness.reset(link);
    assert_eq!(harness.dialled.front().map(|(_, to)| to.clone()), Some(address(1)));
    assert!(is_in_flight(&harness), "nobody else gets it meanwhile");
    let link = harness.connect_dial_with_hello();
    assert_eq!(harness.take_messages(link), [(transfer, Attempt::Retry, "in doubt".to_string())]);
    harness.advance(seconds(5));
    assert!(harness.take_messages(other).is_empty());
    harness.confirm(link, transfer);
    assert!(harness.texts().is_empty());
    assert_eq!((harness.tower.stats().in_doubt, harness.tower.stats().doubt_unresolved), (1, 0));
}

#[test]
fn a_message_whose_receiver_died_returns() {
    let (mut harness, link, _) = Harness::with_unconfirmed_message(&fast_config(), "in doubt");
    harness.reset(link);
    harness.refuse_dial();
    assert!(!is_in_flight(&harness));
    assert_eq!(harness.texts(), ["in doubt"]);
    let stats = harness.tower.stats();
    assert_eq!((stats.in_doubt, stats.doubt_unresolved, stats.returned), (1, 1, 1));
}

#[test]
fn a_peer_is_asked_about_a_message_in_doubt_once() {
    let (mut harness, link, _) = Harness::with_unconfirmed_message(&fast_config(), "in doubt");
    harness.reset(link);
    let link = harness.connect_dial_with_hello();
    assert_eq!(harness.take_messages(link).len(), 1);
    harness.reset(link);
    assert!(harness.dialled.is_empty());
    assert!(!is_in_flight(&harness));
    assert_eq!((harness.tower.stats().in_doubt, harness.tower.stats().doubt_unresolved), (1, 1));
}

#[test]
fn a_message_not_confirmed_in_time_is_in_doubt() {
    let (mut harness, link, transfer) =
        Harness::with_unconfirmed_message(&fast_config(), "in doubt");
    assert_eq!(harness.run_until_close(link, seconds(31)), Some(CloseReason::ConfirmTimeout));
    let link = harness.connect_dial_with_hello();
    assert_eq!(harness.take_messages(link), [(transfer, Attempt::Retry, "in doubt".to_string())]);
}

#[test]
fn a_message_that_never_left_is_not_in_doubt() {
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept_alive(1);
    harness.blocked.insert(link);
    harness.enqueue("never left");
    harness.advance(seconds(1));
    assert!(is_in_flight(&harness));
    harness.reset(link);
    assert_eq!(harness.texts(), ["never left"]);
    assert!(!is_in_flight(&harness) && harness.dialled.is_empty());
    assert_eq!((harness.tower.stats().in_doubt, harness.tower.stats().doubt_unresolved), (0, 0));
}

#[test]
fn a_goodbye_without_an_answer_leaves_no_doubt() {
    let (mut harness, link, _) = Harness::with_unconfirmed_message(&fast_config(), "not taken");
    harness.send_goodbye(link);
    assert_eq!(harness.take_frames(link), [SentFrame::Goodbye(Farewell::Idle)], "it is answered");
    assert_eq!(harness.texts(), ["not taken"]);
    assert!(!is_in_flight(&harness));
    let stats = harness.tower.stats();
    assert_eq!((stats.in_doubt, stats.doubt_unresolved, stats.returned), (0, 0, 1));
    assert_eq!(harness.status(1), Some(Status::Lost), "yet it was tried, and proved nothing");
}

fn retry<'a>(transfer: u64, text: &'a str) -> Frame<'a> {
    Frame::Message(MessageFrame { attempt: Attempt::Retry, ..message(transfer, text) })
}

#[test]
fn a_retry_is_recognised_even_when_the_message_has_left_meanwhile() {
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept_from(1);
    harness.send_message(link, 1, "taken");
    let other = harness.accept_alive(2);
    // It goes on to somebody.
    for _ in 0..20 {
        harness.advance(seconds(1));
        for link in [link, other] {
            for (transfer, ..) in harness.take_messages(link) {
                harness.confirm(link, transfer);
            }
        }
    }
    assert!(harness.texts().is_empty());
    harness.reset(link);
    let link = harness.accept_from(1);
    harness.send_frame(link, &retry(1, "taken"));
    assert_eq!(harness.take_frames(link).last(), Some(&SentFrame::Confirmed(1)));
    assert!(harness.texts().is_empty());
    assert_eq!(harness.tower.stats().recognised_retries, 1);
    assert_eq!(harness.tower.stats().received, 1);
    // The same number for the first time is another transfer, that of a peer that does not count
    // well.
    harness.send_message(link, 1, "taken");
    assert_eq!(harness.texts(), ["taken"]);
}

#[test]
fn a_retry_that_was_not_taken_the_first_time_is_taken() {
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept_from(1);
    harness.send_frame(link, &retry(1, "late"));
    assert_eq!(harness.take_frames(link).last(), Some(&SentFrame::Confirmed(1)));
    assert_eq!(harness.texts(), ["late"]);
    assert_eq!(harness.tower.stats().recognised_retries, 0);
}

#[test]
fn numbers_mean_something_within_one_incarnation_of_one_peer() {
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept_from(1);
    harness.send_message(link, 1, "one");
    // Another peer with the same numbers.
    let other = harness.accept_from(2);
    let frame = MessageFrame { nonce: Nonce(2), attempt: Attempt::Retry, ..message(1, "two") };
    harness.send_frame(other, &Frame::Message(frame));
    // The same peer, started anew.
    harness.restart_peer();
    let link = harness.accept_from(1);
    let frame = MessageFrame { nonce: Nonce(3), attempt: Attempt::Retry, ..message(1, "three") };
    harness.send_frame(link, &Frame::Message(frame));
    let mut texts = harness.texts();
    texts.sort();
    assert_eq!(texts, ["one", "three", "two"]);
    assert_eq!(harness.tower.stats().recognised_retries, 0);
}

#[test]
fn a_receiver_recalls_a_window_of_transfers_of_each_link() {
    let mut config = fast_config();
    config.window.messages = 3;
    let mut harness = Harness::new(&config);
    let link = harness.accept_from(1);
    for transfer in 0..7 {
        harness.send_message(link, transfer, &format!("message {transfer}"));
    }
    // Gone from here, so that nothing is recognised by its body.
    for _ in 0..30 {
        harness.advance(seconds(1));
        for (transfer, ..) in harness.take_messages(link) {
            harness.confirm(link, transfer);
        }
    }
    assert!(harness.texts().is_empty());
    for transfer in [4, 5, 6, 3] {
        harness.send_frame(link, &retry(transfer, &format!("message {transfer}")));
    }
    assert_eq!(harness.texts(), ["message 3"]);
    assert_eq!(harness.tower.stats().recognised_retries, 3);
}

/// Hands a message over that the tower then hands on, so that nothing of it is left here but the
/// memory of its transfer.
fn taken_and_gone(harness: &mut Harness, link: LinkId, transfer: u64) {
    harness.send_message(link, transfer, "taken");
    harness.advance(seconds(1));
    for (transfer, ..) in harness.take_messages(link) {
        harness.confirm(link, transfer);
    }
    assert!(harness.texts().is_empty());
}

#[test]
fn a_transfer_is_recalled_until_its_sender_says_a_goodbye_that_leaves_no_doubt() {
    for (farewell, recognised) in [
        (Farewell::Idle, 0),
        (Farewell::Leaving, 0),
        (Farewell::Ignored, 0),
        (Farewell::Misbehaved, 1),
    ] {
        let mut harness = Harness::new(&fast_config());
        let link = harness.accept_from(1);
        taken_and_gone(&mut harness, link, 1);
        harness.send_frame(link, &Frame::Goodbye { farewell });
        let link = harness.accept_from(1);
        harness.send_frame(link, &retry(1, "taken"));
        assert_eq!(harness.tower.stats().recognised_retries, recognised, "{farewell:?}");
    }
}

#[test]
fn a_goodbye_forgets_nothing_that_came_on_another_link() {
    let mut harness = Harness::new(&fast_config());
    let (broken, standing, leaving) =
        (harness.accept_from(1), harness.accept_from(1), harness.accept_from(1));
    for (link, transfer) in [(broken, 1), (standing, 2), (leaving, 3)] {
        harness.send_frame(link, &retry(transfer, "none"));
        harness.send_message(link, transfer, "taken");
    }
    harness.reset(broken);
    // Its slot is taken by the next link, whose goodbye speaks of itself alone.
    let next = harness.accept_from(1);
    harness.send_goodbye(next);
    harness.send_goodbye(leaving);
    let link = harness.accept_from(1);
    let before = harness.tower.stats().recognised_retries;
    for transfer in [1, 2, 3] {
        harness.send_frame(link, &retry(transfer, "taken"));
    }
    assert_eq!(harness.tower.stats().recognised_retries - before, 2, "not the third");
}

#[test]
fn a_tower_that_says_a_goodbye_without_doubt_asks_nothing_again() {
    type End = fn(&mut Harness, LinkId);
    let ends: [(End, Farewell, bool); 3] = [
        (|harness, _| harness.with(Tower::shutdown), Farewell::Leaving, false),
        (
            |harness, _| _ = harness.with(|tower, now| tower.ignore(&address(1), now)).unwrap(),
            Farewell::Ignored,
            false,
        ),
        (|harness, link| harness.confirm(link, 9_999), Farewell::Misbehaved, true),
    ];
    for (end, farewell, asks_again) in ends {
        let (mut harness, link, transfer) =
            Harness::with_unconfirmed_message(&fast_config(), "in doubt");
        end(&mut harness, link);
        // A shutdown first waits for its messages to arrive.
        harness.run_until_sent(link, seconds(15), &SentFrame::Goodbye(farewell));
        harness.reset(link);
        assert_eq!(!harness.dialled.is_empty(), asks_again, "{farewell:?}");
        if asks_again {
            let link = harness.connect_dial_with_hello();
            assert_eq!(harness.take_messages(link)[0].0, transfer);
        }
    }
    // And it does not say that it is idle while it waits for an answer.
    let (mut harness, link, _) = Harness::with_unconfirmed_message(&fast_config(), "in doubt");
    assert_eq!(harness.run_until_close(link, seconds(100)), Some(CloseReason::ConfirmTimeout));
    assert!(!harness.take_frames(link).iter().any(|frame| matches!(frame, SentFrame::Goodbye(_))));
}

/// How long a sender with the default time-outs may ask: 30 s until it gives the link up, and 30 s
/// until it gives up asking.
const LIFETIME: u64 = 60;

#[test]
fn a_tower_asks_again_within_the_lifetime_or_not_at_all() {
    // The slowest that a dial and a hello may be: the question leaves just before the time to
    // confirm has passed again.
    let (mut harness, link, transfer) =
        Harness::with_unconfirmed_message(&fast_config(), "in doubt");
    let handed = harness.now;
    assert_eq!(harness.run_until_close(link, seconds(31)), Some(CloseReason::ConfirmTimeout));
    harness.advance(Duration::from_millis(9_999));
    let link = harness.connect_dial();
    harness.advance(Duration::from_millis(9_999));
    harness.blocked.insert(link);
    harness.send_hello(link, None);
    harness.advance(Duration::from_millis(9_999));
    harness.blocked.clear();
    harness.read(link);
    assert_eq!(harness.take_messages(link)[0].0, transfer);
    assert!(harness.now < handed + seconds(LIFETIME));
    // On a connection that takes no bytes it is given up by then.
    let (mut harness, link, _) = Harness::with_unconfirmed_message(&fast_config(), "in doubt");
    let handed = harness.now;
    harness.run_until_close(link, seconds(31));
    let link = harness.connect_dial();
    harness.blocked.insert(link);
    harness.send_hello(link, None);
    assert_eq!(harness.run_until_close(link, seconds(60)), Some(CloseReason::ConfirmTimeout));
    assert!(harness.now <= handed + seconds(LIFETIME));
    assert_eq!(harness.tower.stats().doubt_unresolved, 1);
    assert!(harness.dialled.is_empty());
}

#[test]
fn a_taken_transfer_is_remembered_for_its_lifetime() {
    for (wait, recognised) in [(LIFETIME, 1), (LIFETIME + 2, 0)] {
        let mut harness = Harness::new(&fast_config());
        let link = harness.accept_from(1);
        taken_and_gone(&mut harness, link, 1);
        harness.reset(link);
        harness.advance(seconds(wait - 1));
        // Whatever fires the timer, it looks after one peer.
        harness.tower.handle(Event::TimerFired, harness.now);
        harness.tower.handle(Event::TimerFired, harness.now);
        let link = harness.accept_from(1);
        harness.send_frame(link, &retry(1, "taken"));
        assert_eq!(harness.tower.stats().recognised_retries, recognised, "after {wait} s");
    }
}

// Refusals.

#[test]
fn a_busy_peer_stays_alive_and_rests_and_the_message_returns() {
    let mut config = fast_config();
    config.busy_backoff = seconds(3);
    let mut harness = Harness::new(&config);
    let link = harness.accept_alive(1);
    harness.enqueue("later");
    harness.advance(seconds(1));
    let [(transfer, ..)] = harness.take_messages(link)[..] else { panic!("one") };
    harness.refuse(link, transfer, RefusedReason::Busy);
    assert_eq!(harness.status(1), Some(Status::Alive));
    assert!(!is_in_flight(&harness));
    assert_eq!((harness.tower.stats().returned, harness.tower.stats().refused_by_peers), (1, 1));
    assert_eq!(harness.close_reason(link), None);
    harness.advance(seconds(2));
    assert!(harness.take_messages(link).is_empty(), "it rests");
    harness.advance(seconds(2));
    let [(again, Attempt::First, _)] = harness.take_messages(link)[..] else { panic!("one") };
    assert!(again > transfer, "a transfer of its own");
}

#[test]
fn a_busy_peer_rests_even_when_it_hands_something_over() {
    let mut config = fast_config();
    config.send_rate = SendRate::Unlimited;
    let mut harness = Harness::new(&config);
    let link = harness.accept_alive(1);
    harness.enqueue("too much");
    let [(transfer, ..)] = harness.take_messages(link)[..] else { panic!("one") };
    harness.refuse(link, transfer, RefusedReason::Busy);
    harness.send_announce(link, 1_001);
    assert_eq!(harness.take_messages(link).len(), 0, "it rests");
    harness.advance(config.busy_backoff);
    assert_eq!(harness.take_messages(link).len(), 1);
}

#[test]
fn a_new_peer_that_is_busy_is_alive() {
    let (mut harness, link, transfer) = Harness::with_unconfirmed_message(&fast_config(), "later");
    harness.refuse(link, transfer, RefusedReason::Busy);
    assert_eq!(harness.status(1), Some(Status::Alive));
}

#[test]
fn a_refusal_confirms_what_came_before_it() {
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept_alive(1);
    harness.enqueue_many(3, "message");
    harness.advance(seconds(1));
    let transfers = harness.take_messages(link);
    harness.refuse(link, transfers[1].0, RefusedReason::Screened);
    assert_eq!(harness.texts(), ["message 1", "message 2"]);
    assert_eq!((harness.tower.stats().delivered, harness.tower.stats().returned), (1, 1));
}

#[test]
fn a_full_tower_answers_busy() {
    let mut config = fast_config();
    config.max_queue_messages = 2;
    let mut harness = Harness::new(&config);
    let link = harness.accept_from(1);
    for transfer in 1..4 {
        harness.send_frame(link, &Frame::Message(message(transfer, "x")));
    }
    assert_eq!(harness.tower.queue_usage().messages, 2);
    let sent = harness.take_frames(link);
    assert!(sent.contains(&SentFrame::Refused(3, RefusedReason::Busy)), "{sent:?}");
    assert_eq!((harness.tower.stats().received, harness.tower.stats().refused), (2, 1));
    assert_eq!(harness.close_reason(link), None);
}

#[test]
fn a_tower_without_room_for_bytes_answers_busy() {
    let mut config = fast_config();
    config.max_message = 10;
    config.max_queue_bytes = 25;
    let mut harness = Harness::new(&config);
    let link = harness.accept_from(1);
    for transfer in 1..4 {
        harness.send_message(link, transfer, "ten bytes.");
    }
    harness.send_message(link, 4, "five.");
    assert_eq!(common::queue_usage(&harness.tower), (3, 25));
    let sent = harness.take_frames(link);
    assert!(sent.contains(&SentFrame::Refused(3, RefusedReason::Busy)), "{sent:?}");
    assert!(sent.contains(&SentFrame::Confirmed(4)), "{sent:?}");
}

#[test]
fn a_peer_that_ignores_us_is_lost_and_the_message_returns() {
    for says_goodbye in [true, false] {
        let (mut harness, link, transfer) =
            Harness::with_unconfirmed_message(&fast_config(), "shunned");
        if says_goodbye {
            harness.send_frame(link, &Frame::Goodbye { farewell: Farewell::Ignored });
        } else {
            harness.refuse(link, transfer, RefusedReason::Ignored);
        }
        assert_eq!(harness.status(1), Some(Status::Lost));
        assert!(!is_in_flight(&harness));
        assert_eq!(harness.texts(), ["shunned"]);
        assert_eq!(harness.tower.stats().doubt_unresolved, 0);
    }
}

#[test]
fn two_towers_of_which_one_ignores_the_other() {
    let mut network = network(2, &fast_config());
    network.announce(0, 1);
    assert_eq!(network.status(1, 0), Some(Status::Alive));
    network.with(1, |tower, now| tower.ignore(&address(0), now)).unwrap();
    assert_eq!(network.status(0, 1), Some(Status::Lost));
    network.enqueue(0, "unheard");
    network.advance(seconds(60));
    assert_eq!(network.texts(0), ["unheard"]);
    assert!(network.texts(1).is_empty());
    assert_eq!(network.status(0, 1), Some(Status::Lost));
    assert!(network.tower(1).stats().refused > 0, "it was asked now and then");
    network.with(1, |tower, now| tower.unignore(&address(0), now));
    assert!(network.run_until(seconds(60), |network| network.status(0, 1) == Some(Status::Alive)));
}

#[test]
fn a_message_is_answered_busy_unless_all_its_notices_fit() {
    for (waiting, answer) in
        [(12, SentFrame::Refused(1, RefusedReason::Busy)), (11, SentFrame::Confirmed(1))]
    {
        let mut config = fast_config();
        config.max_pending_notices = 16;
        config.max_peers = 2;
        config.kill_timeout = seconds(1);
        let mut harness = Harness::new(&config);
        // A message that costs all that one can: its sender comes alive, and a dead peer makes room
        // for its friend.
        harness.expand(1);
        harness.enqueue("probe");
        while harness.status(1) != Some(Status::Dead) {
            assert!(harness.run_until_dial(seconds(5)));
            harness.refuse_dial();
        }
        let link = harness.accept_from(2);
        for n in 0..waiting {
            harness.tower.enqueue(Message::text(&format!("{n}")), harness.now).unwrap();
        }
        let frame = MessageFrame { friend: Some(address(3)), ..message(1, "x") };
        let bytes = encode(&Frame::Message(frame));
        harness.tower.handle(Event::BytesArrived { link, bytes: &bytes }, harness.now);
        harness.drive();
        assert_eq!(harness.tower.stats().notices_missed, 0);
        assert_eq!(harness.take_frames(link).last(), Some(&answer));
        let is_taken = waiting == 11;
        assert_eq!(
            (harness.status(1).is_none(), harness.status(3).is_some()),
            (is_taken, is_taken)
        );
    }
}

// Copies.

#[test]
fn a_message_that_waits_here_is_confirmed_and_not_stored_twice() {
    let mut harness = Harness::new(&fast_config());
    let first = harness.accept_from(1);
    let second = harness.accept_from(2);
    // The peers are alive, and rest: the message waits.
    harness.blocked.extend([first, second]);
    harness.send_message(first, 1, "same");
    let frame = MessageFrame { nonce: Nonce(1), ..message(9, "same") };
    harness.send_frame(second, &Frame::Message(frame));
    assert_eq!(harness.texts(), ["same"]);
    harness.blocked.clear();
    harness.read(second);
    assert!(harness.take_frames(second).contains(&SentFrame::Confirmed(9)));
    assert_eq!((harness.tower.stats().received, harness.tower.stats().coalesced), (2, 1));
}

#[test]
fn the_same_nonce_with_another_body_or_kind_is_another_message() {
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept_from(1);
    let frames = [
        message(1, "body"),
        MessageFrame { nonce: Nonce(1), ..message(2, "another") },
        MessageFrame { nonce: Nonce(1), kind: Kind::Bytes, ..message(3, "body") },
    ];
    frames.into_iter().for_each(|frame| harness.send_frame(link, &Frame::Message(frame)));
    assert_eq!(harness.tower.queue_usage().messages, 3);
    assert_eq!(harness.tower.stats().coalesced, 0);
}

#[test]
fn a_message_that_left_may_come_back() {
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept_alive(1);
    let nonce = harness.enqueue("round trip");
    harness.advance(seconds(1));
    let [(transfer, ..)] = harness.take_messages(link)[..] else { panic!("one") };
    harness.confirm(link, transfer);
    assert!(harness.texts().is_empty());
    harness.send_frame(link, &Frame::Message(MessageFrame { nonce, ..message(1, "round trip") }));
    assert_eq!(harness.texts(), ["round trip"]);
    assert_eq!(harness.tower.stats().coalesced, 0);
    harness.advance(seconds(1));
    assert_eq!(harness.take_messages(link).len(), 1, "and goes out again");
}

#[test]
fn copies_that_cross_never_vanish_on_both_sides() {
    // This tower's copy is in flight to the peer when the peer's copy comes in. Whatever the peer
    // makes of ours, one stays here.
    for is_confirmed in [true, false] {
        let mut harness = Harness::new(&fast_config());
        let link = harness.accept_alive(1);
        let nonce = harness.enqueue("crossing");
        harness.advance(seconds(1));
        let [(transfer, ..)] = harness.take_messages(link)[..] else { panic!("one") };
        harness.send_frame(link, &Frame::Message(MessageFrame { nonce, ..message(1, "crossing") }));
        assert_eq!(
            harness.take_frames(link),
            [SentFrame::Confirmed(1)],
            "so the peer lets go of its own"
        );
        if is_confirmed {
            harness.confirm(link, transfer);
        } else {
            harness.refuse(link, transfer, RefusedReason::Busy);
        }
        assert_eq!(harness.texts(), ["crossing"]);
        // It is of use only once: confirmed without a further copy, it is gone.
        harness.advance(seconds(1));
        let [(transfer, ..)] = harness.take_messages(link)[..] else { panic!("one") };
        harness.confirm(link, transfer);
        assert!(harness.texts().is_empty());
    }
}

#[test]
fn a_message_of_which_no_byte_has_gone_is_not_in_doubt() {
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept_alive(1);
    harness.blocked.insert(link);
    harness.enqueue("one");
    harness.enqueue("two");
    harness.advance(seconds(1));
    // The driver's buffer ends where the first one does.
    let len = encode(&Frame::Message(message(0, "one"))).len();
    let mut out = Vec::new();
    assert_eq!(harness.tower.transmit(link, &mut (&mut out).limit(len)), len);
    harness.reset(link);
    assert_eq!(harness.tower.stats().in_doubt, 1);
    assert_eq!(harness.tower.stats().returned, 1, "the second one waits again");
}
