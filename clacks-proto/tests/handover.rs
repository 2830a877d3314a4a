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
use common::raw::{Raw, Said, encode, message};
use common::{address, net, quick, seconds, tower};

fn is_in_flight(raw: &Raw) -> bool {
    raw.tower.peek().any(|held| common::is_in_flight(&held))
}

#[test]
fn a_message_stays_when_there_is_no_peer() {
    let mut raw = Raw::new(&quick());
    raw.enqueue("alone");
    raw.run(seconds(3_600));
    assert_eq!(raw.texts(), ["alone"]);
    assert_eq!(raw.tower.next_wakeup(), None, "there is nothing to wake up for");
}

#[test]
fn a_refused_dial_returns_the_message() {
    let mut raw = Raw::new(&quick());
    raw.expand(1);
    let nonce = raw.enqueue("returns");
    assert!(raw.run_to_dial(seconds(1)));
    let to = Some(address(1));
    assert_eq!(raw.tower.peek().next().unwrap().state, MessageState::InFlight { to });
    raw.refuse();
    assert!(!is_in_flight(&raw));
    assert_eq!(raw.texts(), ["returns"]);
    assert_eq!((raw.tower.stats().returned, raw.tower.stats().doubt_unresolved), (1, 0));
    let id = raw.tower.peek().next().unwrap().id;
    let origin = Origin::Returned;
    assert!(raw.notices.contains(&Notice::MessageQueued { id, nonce, origin }));
}

#[test]
fn a_confirmed_message_is_forgotten_by_the_sender_and_held_once_by_the_receiver() {
    let mut net = net(2, &quick());
    net.expand(0, 1);
    net.enqueue(0, "once");
    let mut moves = 0;
    for _ in 0..200 {
        let before = net.texts(1).len();
        net.run(Duration::from_millis(10));
        let copies = net.texts(0).len() + net.texts(1).len();
        assert_eq!(copies, 1);
        moves += usize::from(net.texts(1).len() != before);
    }
    assert!(moves > 10, "it is in flight all the time");
    let (here, there) = (net.tower(0).stats(), net.tower(1).stats());
    assert_eq!((here.delivered, there.delivered), (there.received, here.received));
    assert!(net.has_notice(0, |notice| matches!(notice, Notice::MessageDelivered { .. })));
}

// Doubt.

#[test]
fn after_a_lost_confirmation_the_same_peer_is_asked_again_and_recognises_the_message() {
    let config = quick();
    let mut slow = quick();
    slow.send_rate = SendRate::Every(seconds(3_600));
    let mut net = net(2, &config);
    net.towers[1] = Some(tower(1, &slow));
    net.announce(0, 1);
    // The confirmation is on its way to a tower that stands still, and then it is gone.
    net.enqueue(0, "once");
    net.frozen.insert(0);
    assert!(net.run_until(seconds(5), |net| !net.texts(1).is_empty()));
    assert_eq!(net.texts(0), ["once"], "it is in flight");
    net.frozen.clear();
    net.transmit();
    net.drop_bytes_to(0);
    assert_eq!(net.cut(0, 1), 1);
    net.settle();
    assert!(net.texts(0).is_empty());
    assert_eq!(net.texts(1), ["once"]);
    let (here, there) = (net.tower(0).stats(), net.tower(1).stats());
    assert_eq!((here.in_doubt, here.doubt_unresolved, here.delivered), (1, 0, 1));
    assert_eq!((there.received, there.recognised_retries), (1, 1));
    assert_eq!(net.status(0, 1), Some(Status::Alive));
}

#[test]
fn a_message_in_doubt_goes_to_the_same_peer_with_its_number_at_once() {
    let (mut raw, link, transfer) = Raw::handed(&quick(), "in doubt");
    let other = raw.call_alive(2);
    raw.lose(link);
    assert_eq!(raw.dialled.front().map(|(_, to)| to.clone()), Some(address(1)));
    assert!(is_in_flight(&raw), "nobody else gets it meanwhile");
    let link = raw.answer();
    assert_eq!(raw.heard_messages(link), [(transfer, Attempt::Retry, "in doubt".to_string())]);
    raw.run(seconds(5));
    assert!(raw.heard_messages(other).is_empty());
    raw.confirm(link, transfer);
    assert!(raw.texts().is_empty());
    assert_eq!((raw.tower.stats().in_doubt, raw.tower.stats().doubt_unresolved), (1, 0));
}

#[test]
fn a_message_whose_receiver_died_returns() {
    let (mut raw, link, _) = Raw::handed(&quick(), "in doubt");
    raw.lose(link);
    raw.refuse();
    assert!(!is_in_flight(&raw));
    assert_eq!(raw.texts(), ["in doubt"]);
    let stats = raw.tower.stats();
    assert_eq!((stats.in_doubt, stats.doubt_unresolved, stats.returned), (1, 1, 1));
}

#[test]
fn a_peer_is_asked_about_a_message_in_doubt_once() {
    let (mut raw, link, _) = Raw::handed(&quick(), "in doubt");
    raw.lose(link);
    let link = raw.answer();
    assert_eq!(raw.heard_messages(link).len(), 1);
    raw.lose(link);
    assert!(raw.dialled.is_empty());
    assert!(!is_in_flight(&raw));
    assert_eq!((raw.tower.stats().in_doubt, raw.tower.stats().doubt_unresolved), (1, 1));
}

#[test]
fn a_message_not_confirmed_in_time_is_in_doubt() {
    let (mut raw, link, transfer) = Raw::handed(&quick(), "in doubt");
    assert_eq!(raw.run_to_close(link, seconds(31)), Some(CloseReason::ConfirmTimeout));
    let link = raw.answer();
    assert_eq!(raw.heard_messages(link), [(transfer, Attempt::Retry, "in doubt".to_string())]);
}

#[test]
fn a_message_that_never_left_is_not_in_doubt() {
    let mut raw = Raw::new(&quick());
    let link = raw.call_alive(1);
    raw.deaf.insert(link);
    raw.enqueue("never left");
    raw.run(seconds(1));
    assert!(is_in_flight(&raw));
    raw.lose(link);
    assert_eq!(raw.texts(), ["never left"]);
    assert!(!is_in_flight(&raw) && raw.dialled.is_empty());
    assert_eq!((raw.tower.stats().in_doubt, raw.tower.stats().doubt_unresolved), (0, 0));
}

#[test]
fn a_goodbye_without_an_answer_leaves_no_doubt() {
    let (mut raw, link, _) = Raw::handed(&quick(), "not taken");
    raw.leave(link);
    assert_eq!(raw.heard(link), [Said::Goodbye(Farewell::Idle)], "it is answered");
    assert_eq!(raw.texts(), ["not taken"]);
    assert!(!is_in_flight(&raw));
    let stats = raw.tower.stats();
    assert_eq!((stats.in_doubt, stats.doubt_unresolved, stats.returned), (0, 0, 1));
    assert_eq!(raw.status(1), Some(Status::Lost), "yet it was tried, and proved nothing");
}

fn retry<'a>(transfer: u64, text: &'a str) -> Frame<'a> {
    Frame::Message(MessageFrame { attempt: Attempt::Retry, ..message(transfer, text) })
}

#[test]
fn a_retry_is_recognised_even_when_the_message_has_left_meanwhile() {
    let mut raw = Raw::new(&quick());
    let link = raw.call_as(1);
    raw.hand(link, 1, "taken");
    let other = raw.call_alive(2);
    // It goes on to somebody.
    for _ in 0..20 {
        raw.run(seconds(1));
        for link in [link, other] {
            for (transfer, ..) in raw.heard_messages(link) {
                raw.confirm(link, transfer);
            }
        }
    }
    assert!(raw.texts().is_empty());
    raw.lose(link);
    let link = raw.call_as(1);
    raw.say(link, &retry(1, "taken"));
    assert_eq!(raw.heard(link).last(), Some(&Said::Confirmed(1)));
    assert!(raw.texts().is_empty());
    assert_eq!(raw.tower.stats().recognised_retries, 1);
    assert_eq!(raw.tower.stats().received, 1);
    // The same number for the first time is another transfer, that of a peer that does not count
    // well.
    raw.hand(link, 1, "taken");
    assert_eq!(raw.texts(), ["taken"]);
}

#[test]
fn a_retry_that_was_not_taken_the_first_time_is_taken() {
    let mut raw = Raw::new(&quick());
    let link = raw.call_as(1);
    raw.say(link, &retry(1, "late"));
    assert_eq!(raw.heard(link).last(), Some(&Said::Confirmed(1)));
    assert_eq!(raw.texts(), ["late"]);
    assert_eq!(raw.tower.stats().recognised_retries, 0);
}

#[test]
fn numbers_mean_something_within_one_incarnation_of_one_peer() {
    let mut raw = Raw::new(&quick());
    let link = raw.call_as(1);
    raw.hand(link, 1, "one");
    // Another peer with the same numbers.
    let other = raw.call_as(2);
    let frame = MessageFrame { nonce: Nonce(2), attempt: Attempt::Retry, ..message(1, "two") };
    raw.say(other, &Frame::Message(frame));
    // The same peer, started anew.
    raw.restart_peer();
    let link = raw.call_as(1);
    let frame = MessageFrame { nonce: Nonce(3), attempt: Attempt::Retry, ..message(1, "three") };
    raw.say(link, &Frame::Message(frame));
    let mut texts = raw.texts();
    texts.sort();
    assert_eq!(texts, ["one", "three", "two"]);
    assert_eq!(raw.tower.stats().recognised_retries, 0);
}

#[test]
fn a_receiver_recalls_a_window_of_transfers_of_each_link() {
    let mut config = quick();
    config.window.messages = 3;
    let mut raw = Raw::new(&config);
    let link = raw.call_as(1);
    for transfer in 0..7 {
        raw.hand(link, transfer, &format!("message {transfer}"));
    }
    // Gone from here, so that nothing is recognised by its body.
    for _ in 0..30 {
        raw.run(seconds(1));
        for (transfer, ..) in raw.heard_messages(link) {
            raw.confirm(link, transfer);
        }
    }
    assert!(raw.texts().is_empty());
    for transfer in [4, 5, 6, 3] {
        raw.say(link, &retry(transfer, &format!("message {transfer}")));
    }
    assert_eq!(raw.texts(), ["message 3"]);
    assert_eq!(raw.tower.stats().recognised_retries, 3);
}

/// Hands a message over that the tower then hands on, so that nothing of it is left here but the
/// memory of its transfer.
fn taken_and_gone(raw: &mut Raw, link: LinkId, transfer: u64) {
    raw.hand(link, transfer, "taken");
    raw.run(seconds(1));
    for (transfer, ..) in raw.heard_messages(link) {
        raw.confirm(link, transfer);
    }
    assert!(raw.texts().is_empty());
}

#[test]
fn a_transfer_is_recalled_until_its_sender_says_a_goodbye_that_leaves_no_doubt() {
    for (farewell, recognised) in [
        (Farewell::Idle, 0),
        (Farewell::Leaving, 0),
        (Farewell::Ignored, 0),
        (Farewell::Misbehaved, 1),
    ] {
        let mut raw = Raw::new(&quick());
        let link = raw.call_as(1);
        taken_and_gone(&mut raw, link, 1);
        raw.say(link, &Frame::Goodbye { farewell });
        let link = raw.call_as(1);
        raw.say(link, &retry(1, "taken"));
        assert_eq!(raw.tower.stats().recognised_retries, recognised, "{farewell:?}");
    }
}

#[test]
fn a_goodbye_forgets_nothing_that_came_on_another_link() {
    let mut raw = Raw::new(&quick());
    let (broken, standing, leaving) = (raw.call_as(1), raw.call_as(1), raw.call_as(1));
    for (link, transfer) in [(broken, 1), (standing, 2), (leaving, 3)] {
        raw.say(link, &retry(transfer, "none"));
        raw.hand(link, transfer, "taken");
    }
    raw.lose(broken);
    // Its slot is taken by the next link, whose goodbye speaks of itself alone.
    let next = raw.call_as(1);
    raw.leave(next);
    raw.leave(leaving);
    let link = raw.call_as(1);
    let before = raw.tower.stats().recognised_retries;
    for transfer in [1, 2, 3] {
        raw.say(link, &retry(transfer, "taken"));
    }
    assert_eq!(raw.tower.stats().recognised_retries - before, 2, "not the third");
}

#[test]
fn a_tower_that_says_a_goodbye_without_doubt_asks_nothing_again() {
    type End = fn(&mut Raw, LinkId);
    let ends: [(End, Farewell, bool); 3] = [
        (|raw, _| raw.with(Tower::shutdown), Farewell::Leaving, false),
        (
            |raw, _| _ = raw.with(|tower, now| tower.ignore(&address(1), now)).unwrap(),
            Farewell::Ignored,
            false,
        ),
        (|raw, link| raw.confirm(link, 9_999), Farewell::Misbehaved, true),
    ];
    for (end, farewell, asks_again) in ends {
        let (mut raw, link, transfer) = Raw::handed(&quick(), "in doubt");
        end(&mut raw, link);
        // A shutdown first waits for its messages to arrive.
        raw.run_until_said(link, seconds(15), &Said::Goodbye(farewell));
        raw.lose(link);
        assert_eq!(!raw.dialled.is_empty(), asks_again, "{farewell:?}");
        if asks_again {
            let link = raw.answer();
            assert_eq!(raw.heard_messages(link)[0].0, transfer);
        }
    }
    // And it does not say that it is idle while it waits for an answer.
    let (mut raw, link, _) = Raw::handed(&quick(), "in doubt");
    assert_eq!(raw.run_to_close(link, seconds(100)), Some(CloseReason::ConfirmTimeout));
    assert!(!raw.heard(link).iter().any(|said| matches!(said, Said::Goodbye(_))));
}

/// How long a sender with the default time-outs may ask: 30 s until it gives the link up, and 30 s
/// until it gives up asking.
const LIFETIME: u64 = 60;

#[test]
fn a_tower_asks_again_within_the_lifetime_or_not_at_all() {
    // The slowest that a dial and a hello may be: the question leaves just before the time to
    // confirm has passed again.
    let (mut raw, link, transfer) = Raw::handed(&quick(), "in doubt");
    let handed = raw.now;
    assert_eq!(raw.run_to_close(link, seconds(31)), Some(CloseReason::ConfirmTimeout));
    raw.run(Duration::from_millis(9_999));
    let link = raw.pick_up();
    raw.run(Duration::from_millis(9_999));
    raw.deaf.insert(link);
    raw.greet(link, None);
    raw.run(Duration::from_millis(9_999));
    raw.deaf.clear();
    raw.read(link);
    assert_eq!(raw.heard_messages(link)[0].0, transfer);
    assert!(raw.now < handed + seconds(LIFETIME));
    // On a connection that takes no bytes it is given up by then.
    let (mut raw, link, _) = Raw::handed(&quick(), "in doubt");
    let handed = raw.now;
    raw.run_to_close(link, seconds(31));
    let link = raw.pick_up();
    raw.deaf.insert(link);
    raw.greet(link, None);
    assert_eq!(raw.run_to_close(link, seconds(60)), Some(CloseReason::ConfirmTimeout));
    assert!(raw.now <= handed + seconds(LIFETIME));
    assert_eq!(raw.tower.stats().doubt_unresolved, 1);
    assert!(raw.dialled.is_empty());
}

#[test]
fn a_taken_transfer_is_remembered_for_its_lifetime() {
    for (wait, recognised) in [(LIFETIME, 1), (LIFETIME + 2, 0)] {
        let mut raw = Raw::new(&quick());
        let link = raw.call_as(1);
        taken_and_gone(&mut raw, link, 1);
        raw.lose(link);
        raw.run(seconds(wait - 1));
        // Whatever fires the timer, it looks after one peer.
        raw.tower.handle(Event::TimerFired, raw.now);
        raw.tower.handle(Event::TimerFired, raw.now);
        let link = raw.call_as(1);
        raw.say(link, &retry(1, "taken"));
        assert_eq!(raw.tower.stats().recognised_retries, recognised, "after {wait} s");
    }
}

// Refusals.

#[test]
fn a_busy_peer_stays_alive_and_rests_and_the_message_returns() {
    let mut config = quick();
    config.busy_backoff = seconds(3);
    let mut raw = Raw::new(&config);
    let link = raw.call_alive(1);
    raw.enqueue("later");
    raw.run(seconds(1));
    let [(transfer, ..)] = raw.heard_messages(link)[..] else { panic!("one") };
    raw.turn_down(link, transfer, RefusedReason::Busy);
    assert_eq!(raw.status(1), Some(Status::Alive));
    assert!(!is_in_flight(&raw));
    assert_eq!((raw.tower.stats().returned, raw.tower.stats().refused_by_peers), (1, 1));
    assert_eq!(raw.close_reason(link), None);
    raw.run(seconds(2));
    assert!(raw.heard_messages(link).is_empty(), "it rests");
    raw.run(seconds(2));
    let [(again, Attempt::First, _)] = raw.heard_messages(link)[..] else { panic!("one") };
    assert!(again > transfer, "a transfer of its own");
}

#[test]
fn a_busy_peer_rests_even_when_it_hands_something_over() {
    let mut config = quick();
    config.send_rate = SendRate::Unlimited;
    let mut raw = Raw::new(&config);
    let link = raw.call_alive(1);
    raw.enqueue("too much");
    let [(transfer, ..)] = raw.heard_messages(link)[..] else { panic!("one") };
    raw.turn_down(link, transfer, RefusedReason::Busy);
    raw.announce(link, 1_001);
    assert_eq!(raw.heard_messages(link).len(), 0, "it rests");
    raw.run(config.busy_backoff);
    assert_eq!(raw.heard_messages(link).len(), 1);
}

#[test]
fn a_new_peer_that_is_busy_is_alive() {
    let (mut raw, link, transfer) = Raw::handed(&quick(), "later");
    raw.turn_down(link, transfer, RefusedReason::Busy);
    assert_eq!(raw.status(1), Some(Status::Alive));
}

#[test]
fn a_refusal_confirms_what_came_before_it() {
    let mut raw = Raw::new(&quick());
    let link = raw.call_alive(1);
    raw.enqueue_many(3, "message");
    raw.run(seconds(1));
    let transfers = raw.heard_messages(link);
    raw.turn_down(link, transfers[1].0, RefusedReason::Screened);
    assert_eq!(raw.texts(), ["message 1", "message 2"]);
    assert_eq!((raw.tower.stats().delivered, raw.tower.stats().returned), (1, 1));
}

#[test]
fn a_full_tower_answers_busy() {
    let mut config = quick();
    config.max_queue_messages = 2;
    let mut raw = Raw::new(&config);
    let link = raw.call_as(1);
    for transfer in 1..4 {
        raw.say(link, &Frame::Message(message(transfer, "x")));
    }
    assert_eq!(raw.tower.queue_usage().messages, 2);
    let heard = raw.heard(link);
    assert!(heard.contains(&Said::Refused(3, RefusedReason::Busy)), "{heard:?}");
    assert_eq!((raw.tower.stats().received, raw.tower.stats().refused), (2, 1));
    assert_eq!(raw.close_reason(link), None);
}

#[test]
fn a_tower_without_room_for_bytes_answers_busy() {
    let mut config = quick();
    config.max_message = 10;
    config.max_queue_bytes = 25;
    let mut raw = Raw::new(&config);
    let link = raw.call_as(1);
    for transfer in 1..4 {
        raw.hand(link, transfer, "ten bytes.");
    }
    raw.hand(link, 4, "five.");
    assert_eq!(common::held(&raw.tower), (3, 25));
    let heard = raw.heard(link);
    assert!(heard.contains(&Said::Refused(3, RefusedReason::Busy)), "{heard:?}");
    assert!(heard.contains(&Said::Confirmed(4)), "{heard:?}");
}

#[test]
fn a_peer_that_ignores_us_is_lost_and_the_message_returns() {
    for says_goodbye in [true, false] {
        let (mut raw, link, transfer) = Raw::handed(&quick(), "shunned");
        if says_goodbye {
            raw.say(link, &Frame::Goodbye { farewell: Farewell::Ignored });
        } else {
            raw.turn_down(link, transfer, RefusedReason::Ignored);
        }
        assert_eq!(raw.status(1), Some(Status::Lost));
        assert!(!is_in_flight(&raw));
        assert_eq!(raw.texts(), ["shunned"]);
        assert_eq!(raw.tower.stats().doubt_unresolved, 0);
    }
}

#[test]
fn two_towers_of_which_one_ignores_the_other() {
    let mut net = net(2, &quick());
    net.announce(0, 1);
    assert_eq!(net.status(1, 0), Some(Status::Alive));
    net.with(1, |tower, now| tower.ignore(&address(0), now)).unwrap();
    assert_eq!(net.status(0, 1), Some(Status::Lost));
    net.enqueue(0, "unheard");
    net.run(seconds(60));
    assert_eq!(net.texts(0), ["unheard"]);
    assert!(net.texts(1).is_empty());
    assert_eq!(net.status(0, 1), Some(Status::Lost));
    assert!(net.tower(1).stats().refused > 0, "it was asked now and then");
    net.with(1, |tower, now| tower.unignore(&address(0), now));
    assert!(net.run_until(seconds(60), |net| net.status(0, 1) == Some(Status::Alive)));
}

#[test]
fn a_message_is_answered_busy_unless_all_its_notices_fit() {
    for (waiting, answer) in [(12, Said::Refused(1, RefusedReason::Busy)), (11, Said::Confirmed(1))]
    {
        let mut config = quick();
        config.max_pending_notices = 16;
        config.max_peers = 2;
        config.kill_timeout = seconds(1);
        let mut raw = Raw::new(&config);
        // A message that costs all that one can: its sender comes alive, and a dead peer makes room
        // for its friend.
        raw.expand(1);
        raw.enqueue("probe");
        while raw.status(1) != Some(Status::Dead) {
            assert!(raw.run_to_dial(seconds(5)));
            raw.refuse();
        }
        let link = raw.call_as(2);
        for n in 0..waiting {
            raw.tower.enqueue(Message::text(&format!("{n}")), raw.now).unwrap();
        }
        let frame = MessageFrame { friend: Some(address(3)), ..message(1, "x") };
        let bytes = encode(&Frame::Message(frame));
        raw.tower.handle(Event::BytesArrived { link, bytes: &bytes }, raw.now);
        raw.settle();
        assert_eq!(raw.tower.stats().notices_missed, 0);
        assert_eq!(raw.heard(link).last(), Some(&answer));
        let is_taken = waiting == 11;
        assert_eq!((raw.status(1).is_none(), raw.status(3).is_some()), (is_taken, is_taken));
    }
}

// Copies.

#[test]
fn a_message_that_waits_here_is_confirmed_and_not_stored_twice() {
    let mut raw = Raw::new(&quick());
    let first = raw.call_as(1);
    let second = raw.call_as(2);
    // The peers are alive, and rest: the message waits.
    raw.deaf.extend([first, second]);
    raw.hand(first, 1, "same");
    let frame = MessageFrame { nonce: Nonce(1), ..message(9, "same") };
    raw.say(second, &Frame::Message(frame));
    assert_eq!(raw.texts(), ["same"]);
    raw.deaf.clear();
    raw.read(second);
    assert!(raw.heard(second).contains(&Said::Confirmed(9)));
    assert_eq!((raw.tower.stats().received, raw.tower.stats().coalesced), (2, 1));
}

#[test]
fn the_same_nonce_with_another_body_or_kind_is_another_message() {
    let mut raw = Raw::new(&quick());
    let link = raw.call_as(1);
    let frames = [
        message(1, "body"),
        MessageFrame { nonce: Nonce(1), ..message(2, "another") },
        MessageFrame { nonce: Nonce(1), kind: Kind::Bytes, ..message(3, "body") },
    ];
    frames.into_iter().for_each(|frame| raw.say(link, &Frame::Message(frame)));
    assert_eq!(raw.tower.queue_usage().messages, 3);
    assert_eq!(raw.tower.stats().coalesced, 0);
}

#[test]
fn a_message_that_left_may_come_back() {
    let mut raw = Raw::new(&quick());
    let link = raw.call_alive(1);
    let nonce = raw.enqueue("round trip");
    raw.run(seconds(1));
    let [(transfer, ..)] = raw.heard_messages(link)[..] else { panic!("one") };
    raw.confirm(link, transfer);
    assert!(raw.texts().is_empty());
    raw.say(link, &Frame::Message(MessageFrame { nonce, ..message(1, "round trip") }));
    assert_eq!(raw.texts(), ["round trip"]);
    assert_eq!(raw.tower.stats().coalesced, 0);
    raw.run(seconds(1));
    assert_eq!(raw.heard_messages(link).len(), 1, "and goes out again");
}

#[test]
fn copies_that_cross_never_vanish_on_both_sides() {
    // This tower's copy is in flight to the peer when the peer's copy comes in. Whatever the peer
    // makes of ours, one stays here.
    for is_confirmed in [true, false] {
        let mut raw = Raw::new(&quick());
        let link = raw.call_alive(1);
        let nonce = raw.enqueue("crossing");
        raw.run(seconds(1));
        let [(transfer, ..)] = raw.heard_messages(link)[..] else { panic!("one") };
        raw.say(link, &Frame::Message(MessageFrame { nonce, ..message(1, "crossing") }));
        assert_eq!(raw.heard(link), [Said::Confirmed(1)], "so the peer lets go of its own");
        if is_confirmed {
            raw.confirm(link, transfer);
        } else {
            raw.turn_down(link, transfer, RefusedReason::Busy);
        }
        assert_eq!(raw.texts(), ["crossing"]);
        // It is of use only once: confirmed without a further copy, it is gone.
        raw.run(seconds(1));
        let [(transfer, ..)] = raw.heard_messages(link)[..] else { panic!("one") };
        raw.confirm(link, transfer);
        assert!(raw.texts().is_empty());
    }
}

#[test]
fn a_message_of_which_no_byte_has_gone_is_not_in_doubt() {
    let mut raw = Raw::new(&quick());
    let link = raw.call_alive(1);
    raw.deaf.insert(link);
    raw.enqueue("one");
    raw.enqueue("two");
    raw.run(seconds(1));
    // The driver's buffer ends where the first one does.
    let len = encode(&Frame::Message(message(0, "one"))).len();
    let mut out = Vec::new();
    assert_eq!(raw.tower.transmit(link, &mut (&mut out).limit(len)), len);
    raw.lose(link);
    assert_eq!(raw.tower.stats().in_doubt, 1);
    assert_eq!(raw.tower.stats().returned, 1, "the second one waits again");
}
