//! Handing messages over: confirmations, retries, refusals, and copies.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::num::NonZeroU64;
use std::time::Duration;

use bytes::BufMut;
use clacks_proto::wire::{Attempt, Farewell, Frame, MessageFrame, RefusedReason, TransferId};
use clacks_proto::{
    CloseReason, Event, Kind, LinkId, Message, MessageState, Nonce, Notice, Origin, SendRate,
    StateMachine, Status, Tower,
};
use common::harness::{self, Harness, SentFrame, encode, message};
use common::{address, config_with_messages_on_dials, fast_config, network, seconds, tower};

fn is_in_flight(harness: &Harness) -> bool {
    harness.tower.peek().any(|held| common::is_in_flight(&held))
}

#[test]
fn a_message_stays_in_the_queue_if_there_is_no_peer() {
    let mut config = fast_config();
    (config.lifetime, config.max_lifetime) = (None, None);
    let mut harness = Harness::new(&config);
    harness.enqueue("alone");
    harness.advance(seconds(3_600));
    assert_eq!(harness.texts(), ["alone"]);
    assert_eq!(harness.tower.next_wakeup(), None, "the tower has no deadline");
}

#[test]
fn a_message_returns_to_the_queue_if_the_dial_is_refused() {
    let mut harness = Harness::new(&config_with_messages_on_dials());
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
fn a_confirmed_message_moves_from_the_sender_to_the_receiver() {
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
    assert!(moves > 10, "{moves} moves in two seconds");
    let (here, there) = (network.tower(0).stats(), network.tower(1).stats());
    assert_eq!((here.delivered, there.delivered), (there.received, here.received));
    assert!(network.has_notice(0, |notice| matches!(notice, Notice::MessageDelivered { .. })));
}

// Messages in doubt.

#[test]
fn a_receiver_recognises_the_retry_after_its_confirmation_was_lost() {
    let config = fast_config();
    let mut slow = fast_config();
    slow.send_rate = SendRate::Every(seconds(3_600));
    let mut network = network(2, &config);
    network.towers[1] = Some(tower(1, &slow));
    network.announce(0, 1);
    // The sender is suspended while the confirmation is in transit. Then the connection breaks and
    // the confirmation is lost.
    network.enqueue(0, "once");
    network.suspended.insert(0);
    assert!(network.run_until(seconds(5), |network| !network.texts(1).is_empty()));
    assert_eq!(network.texts(0), ["once"], "the message is unconfirmed");
    network.suspended.clear();
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
fn a_message_in_doubt_is_retried_at_once_at_the_same_peer() {
    let (mut harness, link, _) = Harness::with_unconfirmed_message(&fast_config(), "in doubt");
    let other = harness.accept_alive(2);
    harness.reset(link);
    assert_eq!(harness.dialled.front().map(|(_, to)| to.clone()), Some(address(1)));
    assert!(is_in_flight(&harness), "no other peer gets the message");
    let link = harness.connect_dial_with_hello();
    assert_eq!(harness.take_messages(link), [(1, Attempt::Retry, "in doubt".to_string())]);
    harness.advance(seconds(5));
    assert!(harness.take_messages(other).is_empty());
    harness.confirm(link, 1);
    assert!(harness.texts().is_empty());
    assert_eq!((harness.tower.stats().in_doubt, harness.tower.stats().doubt_unresolved), (1, 0));
}

#[test]
fn a_message_in_doubt_returns_to_the_queue_if_the_redial_is_refused() {
    let (mut harness, link, _) = Harness::with_unconfirmed_message(&fast_config(), "in doubt");
    harness.reset(link);
    harness.refuse_dial();
    assert!(!is_in_flight(&harness));
    assert_eq!(harness.texts(), ["in doubt"]);
    let stats = harness.tower.stats();
    assert_eq!((stats.in_doubt, stats.doubt_unresolved, stats.returned), (1, 1, 1));
}

#[test]
fn a_message_in_doubt_is_retried_at_most_three_times() {
    let (mut harness, mut link, _) = Harness::with_unconfirmed_message(&fast_config(), "in doubt");
    for _ in 0..3 {
        harness.reset(link);
        link = harness.connect_dial_with_hello();
        assert_eq!(harness.take_messages(link).len(), 1);
    }
    harness.reset(link);
    assert!(harness.dialled.is_empty());
    assert!(!is_in_flight(&harness));
    assert_eq!((harness.tower.stats().in_doubt, harness.tower.stats().doubt_unresolved), (1, 1));
}

#[test]
fn a_message_is_retried_after_the_confirm_timeout() {
    let (mut harness, link, _) = Harness::with_unconfirmed_message(&fast_config(), "in doubt");
    assert_eq!(harness.run_until_close(link, seconds(31)), Some(CloseReason::ConfirmTimeout));
    let link = harness.connect_dial_with_hello();
    assert_eq!(harness.take_messages(link), [(1, Attempt::Retry, "in doubt".to_string())]);
}

#[test]
fn a_message_that_was_not_transmitted_returns_to_the_queue_if_its_link_breaks() {
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept_alive(1);
    harness.blocked.insert(link);
    harness.enqueue("not transmitted");
    harness.advance(seconds(1));
    assert!(is_in_flight(&harness));
    harness.reset(link);
    assert_eq!(harness.texts(), ["not transmitted"]);
    assert!(!is_in_flight(&harness) && harness.dialled.is_empty());
    assert_eq!((harness.tower.stats().in_doubt, harness.tower.stats().doubt_unresolved), (0, 0));
}

#[test]
fn an_unanswered_message_returns_to_the_queue_if_its_peer_sends_a_goodbye() {
    let (mut harness, link, _) = Harness::with_unconfirmed_message(&fast_config(), "returns");
    harness.send_goodbye(link);
    assert_eq!(
        harness.take_frames(link),
        [SentFrame::Goodbye(Farewell::Idle)],
        "the goodbye is answered"
    );
    assert_eq!(harness.texts(), ["returns"]);
    assert!(!is_in_flight(&harness));
    let stats = harness.tower.stats();
    assert_eq!((stats.in_doubt, stats.doubt_unresolved, stats.returned), (0, 0, 1));
    assert_eq!(harness.status(1), Some(Status::Alive), "a goodbye is no failure");
}

fn retry(transfer: u64, text: &str) -> Frame<'_> {
    Frame::Message(harness::retry(transfer, text))
}

#[test]
fn a_retry_is_recognised_after_the_message_has_left_the_queue() {
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept_from(1);
    harness.send_message(link, 1, "taken");
    let other = harness.accept_alive(2);
    // The tower sends the message to one of the two peers.
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
    // A first attempt with the same number is a new transfer.
    harness.send_message(link, 1, "taken");
    assert_eq!(harness.texts(), ["taken"]);
}

#[test]
fn a_retry_of_an_unknown_transfer_is_accepted() {
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept_from(1);
    harness.send_frame(link, &retry(1, "late"));
    assert_eq!(harness.take_frames(link).last(), Some(&SentFrame::Confirmed(1)));
    assert_eq!(harness.texts(), ["late"]);
    assert_eq!(harness.tower.stats().recognised_retries, 0);
}

#[test]
fn a_retry_is_not_recognised_across_incarnations() {
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept_from(1);
    harness.send_message(link, 1, "one");
    // The peer restarts, and another peer has another incarnation anyway.
    for (n, nonce, text) in [(1, 2, "two"), (2, 3, "three")] {
        harness.restart_peer();
        let link = harness.accept_from(n);
        let frame = MessageFrame { nonce: Nonce(nonce), ..harness::retry(1, text) };
        harness.send_frame(link, &Frame::Message(frame));
    }
    assert_eq!(harness.texts(), ["one", "two", "three"]);
    assert_eq!(harness.tower.stats().recognised_retries, 0);
}

#[test]
fn a_retry_that_was_taken_is_recognised_if_it_is_retried_again() {
    let mut harness = Harness::new(&fast_config());
    // The first sending is lost with its link. Two retries arrive, and their confirmations are
    // lost.
    let lost = encode(&Frame::Message(message(1, "once")));
    let link = harness.accept_from(1);
    harness.send_bytes(link, &lost[..lost.len() - 1]);
    harness.reset(link);
    for _ in 0..2 {
        let link = harness.accept_from(1);
        let number = NonZeroU64::MIN;
        let retry_of = Some(TransferId { link: 99, number });
        let frame = MessageFrame { retry_of, ..message(1, "once") };
        harness.send_bytes(link, &encode(&Frame::Message(frame)));
        // The message leaves the queue, so that a copy would not be merged.
        harness.advance(seconds(2));
        for (transfer, ..) in harness.take_messages(link) {
            harness.confirm(link, transfer);
        }
        harness.reset(link);
    }
    assert!(harness.texts().is_empty());
    assert_eq!(harness.tower.stats().received, 1);
    assert_eq!(harness.tower.stats().recognised_retries, 1);
}

#[test]
fn a_receiver_remembers_all_transfers_of_a_link_except_the_refused_ones() {
    let mut config = fast_config();
    (config.max_queue_messages, config.exchange_credit) = (5, 0);
    let mut harness = Harness::new(&config);
    let link = harness.accept_from(1);
    for transfer in 1..=7 {
        harness.send_message(link, transfer, &format!("message {transfer}"));
    }
    assert_eq!(harness.tower.stats().refused, 2, "the queue holds five");
    // Empty the queue, so that no message is recognised as a copy of a queued one.
    for _ in 0..30 {
        harness.advance(seconds(1));
        for (transfer, ..) in harness.take_messages(link) {
            harness.confirm(link, transfer);
        }
    }
    assert!(harness.texts().is_empty());
    harness.reset(link);
    let link = harness.accept_from(1);
    for transfer in 1..=7 {
        harness.send_frame(link, &retry(transfer, &format!("message {transfer}")));
    }
    assert_eq!(harness.texts(), ["message 6", "message 7"]);
    assert_eq!(harness.tower.stats().recognised_retries, 5);
}

#[test]
fn a_retry_is_recognised_while_the_tower_has_not_noticed_the_end_of_the_first_link() {
    let mut harness = Harness::new(&fast_config());
    let first = harness.accept_from(1);
    receive_and_forward(&mut harness, first, 1);
    let second = harness.accept_from(1);
    harness.send_frame(second, &retry(1, "taken"));
    assert_eq!(harness.take_frames(second).last(), Some(&SentFrame::Confirmed(1)));
    assert_eq!(harness.tower.stats().recognised_retries, 1);
    assert!(harness.texts().is_empty());
}

#[test]
fn a_guest_is_remembered_by_incarnation_and_link() {
    let mut harness = Harness::new(&fast_config());
    let guest = harness.accept();
    harness.send_hello(guest, None);
    harness.send_message(guest, 1, "taken");
    harness.reset(guest);
    let again = harness.accept();
    harness.send_hello(again, None);
    harness.send_frame(again, &retry(1, "taken"));
    assert_eq!(harness.tower.stats().recognised_retries, 1);
}

#[test]
fn a_retry_names_the_link_and_the_number_of_its_first_sending() {
    let (mut harness, link, transfer) =
        Harness::with_unconfirmed_message(&fast_config(), "in doubt");
    let first_link = harness.link_numbers[&link];
    harness.reset(link);
    let link = harness.connect_dial_with_hello();
    let frames = harness.take_frames(link);
    let [SentFrame::Hello { link: second_link, .. }, SentFrame::Message { retry_of, .. }] =
        &frames[..]
    else {
        panic!("unexpected frames: {frames:?}")
    };
    let number = NonZeroU64::new(transfer).unwrap();
    assert_eq!(*retry_of, Some(TransferId { link: first_link, number }));
    assert_ne!(*second_link, first_link);
}

/// Sends a message to the tower and lets the tower send it back, so that only the retry memory
/// remembers the transfer.
fn receive_and_forward(harness: &mut Harness, link: LinkId, transfer: u64) {
    harness.send_message(link, transfer, "taken");
    harness.advance(seconds(1));
    for (transfer, ..) in harness.take_messages(link) {
        harness.confirm(link, transfer);
    }
    assert!(harness.texts().is_empty());
}

#[test]
fn a_goodbye_other_than_misbehaved_forgets_the_transfers_of_its_link() {
    for (farewell, recognised) in [
        (Farewell::Idle, 0),
        (Farewell::Leaving, 0),
        (Farewell::Ignored, 0),
        (Farewell::Misbehaved, 1),
    ] {
        let mut harness = Harness::new(&fast_config());
        let link = harness.accept_from(1);
        receive_and_forward(&mut harness, link, 1);
        harness.send_frame(link, &Frame::Goodbye { farewell });
        let link = harness.accept_from(1);
        harness.send_frame(link, &retry(1, "taken"));
        assert_eq!(harness.tower.stats().recognised_retries, recognised, "{farewell:?}");
    }
}

#[test]
fn a_goodbye_does_not_forget_the_transfers_of_other_links() {
    let mut harness = Harness::new(&fast_config());
    let (broken, open, leaving) =
        (harness.accept_from(1), harness.accept_from(1), harness.accept_from(1));
    for (link, transfer) in [(broken, 1), (open, 2), (leaving, 3)] {
        harness.send_frame(link, &retry(transfer, "none"));
        harness.send_message(link, transfer, "taken");
    }
    harness.reset(broken);
    // The next link gets the slot of the broken one. Its goodbye applies only to its own transfers.
    let next = harness.accept_from(1);
    harness.send_goodbye(next);
    harness.send_goodbye(leaving);
    let link = harness.accept_from(1);
    let before = harness.tower.stats().recognised_retries;
    for transfer in [1, 2, 3] {
        harness.send_frame(link, &retry(transfer, "taken"));
    }
    assert_eq!(
        harness.tower.stats().recognised_retries - before,
        2,
        "only the third transfer is forgotten"
    );
}

#[test]
fn a_tower_retries_nothing_after_it_has_sent_a_goodbye_other_than_misbehaved() {
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
    for (end, farewell, retries) in ends {
        let (mut harness, link, _) = Harness::with_unconfirmed_message(&fast_config(), "in doubt");
        end(&mut harness, link);
        // A shutdown waits for its messages before it sends the goodbye.
        harness.run_until_sent(link, seconds(15), &SentFrame::Goodbye(farewell));
        harness.reset(link);
        assert_eq!(!harness.dialled.is_empty(), retries, "{farewell:?}");
        if retries {
            let link = harness.connect_dial_with_hello();
            assert_eq!(harness.take_messages(link)[0].0, 1);
        }
    }
    // A tower sends no idle goodbye while a message is unconfirmed.
    let (mut harness, link, _) = Harness::with_unconfirmed_message(&fast_config(), "in doubt");
    assert_eq!(harness.run_until_close(link, seconds(100)), Some(CloseReason::ConfirmTimeout));
    assert!(!harness.take_frames(link).iter().any(|frame| matches!(frame, SentFrame::Goodbye(_))));
}

/// The time in seconds in which a sender with the default timeouts may retry: 30 s until the
/// confirm timeout closes the link, and 30 s until the confirm timeout of the retry.
const LIFETIME_SECONDS: u64 = 60;

#[test]
fn a_retry_is_transmitted_within_the_lifetime_of_its_transfer_or_not_at_all() {
    // The slowest case: dial and hello take as long as they may, and the retry is transmitted just
    // before its confirm timeout.
    let (mut harness, link, _) = Harness::with_unconfirmed_message(&fast_config(), "in doubt");
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
    assert_eq!(harness.take_messages(link)[0].0, 1);
    assert!(harness.now < handed + seconds(LIFETIME_SECONDS));
    // If the connection takes no bytes, the retry times out within the lifetime.
    let (mut harness, link, _) = Harness::with_unconfirmed_message(&fast_config(), "in doubt");
    let handed = harness.now;
    harness.run_until_close(link, seconds(31));
    let link = harness.connect_dial();
    harness.blocked.insert(link);
    harness.send_hello(link, None);
    assert_eq!(harness.run_until_close(link, seconds(60)), Some(CloseReason::ConfirmTimeout));
    assert!(harness.now <= handed + seconds(LIFETIME_SECONDS));
    assert_eq!(harness.tower.stats().doubt_unresolved, 1);
    assert!(harness.dialled.is_empty());
}

#[test]
fn a_receiver_remembers_a_transfer_for_its_lifetime() {
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept_from(1);
    receive_and_forward(&mut harness, link, 1);
    harness.reset(link);
    harness.advance(seconds(LIFETIME_SECONDS - 1));
    // Spurious timer events forget no transfer.
    harness.tower.handle(Event::TimerFired, harness.now);
    harness.tower.handle(Event::TimerFired, harness.now);
    let link = harness.accept_from(1);
    harness.send_frame(link, &retry(1, "taken"));
    assert_eq!(harness.tower.stats().recognised_retries, 1);
}

// Refusals.

#[test]
fn a_busy_refusal_returns_the_message_and_backs_off_the_peer() {
    let mut config = fast_config();
    config.busy_backoff = seconds(3);
    let mut harness = Harness::new(&config);
    let link = harness.accept_alive(1);
    harness.enqueue("later");
    harness.advance(seconds(1));
    let [(transfer, ..)] = harness.take_messages(link)[..] else { panic!("expected one message") };
    harness.refuse(link, transfer, RefusedReason::Busy);
    assert_eq!(harness.status(1), Some(Status::Alive));
    assert!(!is_in_flight(&harness));
    assert_eq!((harness.tower.stats().returned, harness.tower.stats().refused_by_peers), (1, 1));
    assert_eq!(harness.close_reason(link), None);
    harness.advance(seconds(2));
    assert!(harness.take_messages(link).is_empty(), "the peer backs off");
    harness.advance(seconds(2));
    let [(second, Attempt::First, _)] = harness.take_messages(link)[..] else {
        panic!("expected one message")
    };
    assert!(second > transfer, "the message is sent as a new transfer");
}

#[test]
fn the_busy_back_off_does_not_end_if_the_peer_sends_an_announce() {
    let mut config = fast_config();
    config.send_rate = SendRate::Unlimited;
    let mut harness = Harness::new(&config);
    let link = harness.accept_alive(1);
    harness.enqueue("too much");
    let [(transfer, ..)] = harness.take_messages(link)[..] else { panic!("expected one message") };
    harness.refuse(link, transfer, RefusedReason::Busy);
    harness.send_announce(link, 1_001);
    assert_eq!(harness.take_messages(link).len(), 0, "the peer backs off");
    harness.advance(config.busy_backoff);
    assert_eq!(harness.take_messages(link).len(), 1);
}

#[test]
fn a_busy_refusal_makes_a_new_peer_alive() {
    let mut harness = Harness::new(&fast_config());
    harness.expand(1);
    harness.enqueue("later");
    assert!(harness.run_until_dial(seconds(1)));
    let link = harness.connect_dial_with_hello();
    let transfer = harness.take_announce(link);
    assert_eq!(harness.status(1), Some(Status::New));
    harness.refuse(link, transfer, RefusedReason::Busy);
    assert_eq!(harness.status(1), Some(Status::Alive));
}

#[test]
fn a_refusal_confirms_all_earlier_transfers() {
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
fn a_message_above_the_message_limit_of_the_queue_is_refused_as_busy() {
    let mut config = fast_config();
    (config.max_queue_messages, config.exchange_credit) = (2, 0);
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
fn a_message_above_the_byte_limit_of_the_queue_is_refused_as_busy() {
    let mut config = fast_config();
    (config.max_message, config.exchange_credit) = (10, 0);
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
fn a_peer_that_ignores_this_tower_becomes_lost_and_the_message_returns() {
    for says_goodbye in [true, false] {
        let (mut harness, link, transfer) =
            Harness::with_unconfirmed_message(&fast_config(), "ignored");
        if says_goodbye {
            harness.send_frame(link, &Frame::Goodbye { farewell: Farewell::Ignored });
        } else {
            harness.refuse(link, transfer, RefusedReason::Ignored);
        }
        assert_eq!(harness.status(1), Some(Status::Lost));
        assert!(!is_in_flight(&harness));
        assert_eq!(harness.texts(), ["ignored"]);
        assert_eq!(harness.tower.stats().doubt_unresolved, 0);
    }
}

#[test]
fn an_ignored_tower_delivers_no_message_until_it_is_unignored() {
    let mut network = network(2, &fast_config());
    network.announce(0, 1);
    assert_eq!(network.status(1, 0), Some(Status::Alive));
    network.with(1, |tower, now| tower.ignore(&address(0), now)).unwrap();
    assert_eq!(network.status(0, 1), Some(Status::Lost));
    network.enqueue(0, "not delivered");
    network.advance(seconds(60));
    assert_eq!(network.texts(0), ["not delivered"]);
    assert!(network.texts(1).is_empty());
    assert_eq!(network.status(0, 1), Some(Status::Lost));
    assert!(network.tower(0).stats().refused_by_peers > 0, "the ignored tower has tried");
    network.with(1, |tower, now| tower.unignore(&address(0), now));
    assert!(network.run_until(seconds(60), |network| network.status(0, 1) == Some(Status::Alive)));
}

#[test]
fn a_message_is_refused_as_busy_unless_all_its_notices_fit() {
    for (pending, answer) in
        [(13, SentFrame::Refused(1, RefusedReason::Busy)), (12, SentFrame::Confirmed(1))]
    {
        let mut config = fast_config();
        config.max_pending_notices = 16;
        (config.max_peers, config.newcomers) = (2, clacks_proto::Newcomers::ReplaceDead);
        config.kill_timeout = seconds(1);
        let mut harness = Harness::new(&config);
        // The message causes the largest possible number of notices: its sender becomes alive, and
        // a dead peer is forgotten for its friend.
        harness.expand(1);
        harness.enqueue("probe");
        while harness.status(1) != Some(Status::Dead) {
            assert!(harness.run_until_dial(seconds(5)));
            harness.refuse_dial();
        }
        let link = harness.accept_from(2);
        for n in 0..pending {
            harness.tower.enqueue(Message::text(&format!("{n}")), harness.now).unwrap();
        }
        let frame = MessageFrame { friend: Some(address(3)), ..message(1, "x") };
        let bytes = encode(&Frame::Message(frame));
        harness.tower.handle(Event::BytesArrived { link, bytes: &bytes }, harness.now);
        harness.drive();
        assert_eq!(harness.tower.stats().notices_missed, 0);
        assert!(harness.take_frames(link).contains(&answer));
        let is_accepted = pending == 12;
        assert_eq!(
            (harness.status(1).is_none(), harness.status(3).is_some()),
            (is_accepted, is_accepted)
        );
    }
}

// Copies.

#[test]
fn a_copy_of_a_queued_message_is_confirmed_and_not_stored() {
    let mut harness = Harness::new(&fast_config());
    let first = harness.accept_from(1);
    let second = harness.accept_from(2);
    // Both links are blocked, so the message stays in the queue.
    harness.blocked.extend([first, second]);
    harness.send_message(first, 1, "same");
    let frame = MessageFrame { nonce: Nonce(1), ..message(9, "same") };
    harness.send_frame(second, &Frame::Message(frame));
    assert_eq!(harness.texts(), ["same"]);
    harness.blocked.clear();
    harness.read(second);
    assert!(harness.take_frames(second).contains(&SentFrame::Confirmed(9)));
    assert_eq!((harness.tower.stats().received, harness.tower.stats().coalesced), (2, 1));
    assert_eq!(harness.received(), [false, true], "the second one is coalesced");
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
fn a_delivered_message_can_be_received_again() {
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept_alive(1);
    let nonce = harness.enqueue("round trip");
    harness.advance(seconds(1));
    let [(transfer, ..)] = harness.take_messages(link)[..] else { panic!("expected one message") };
    harness.confirm(link, transfer);
    assert!(harness.texts().is_empty());
    harness.send_frame(link, &Frame::Message(MessageFrame { nonce, ..message(1, "round trip") }));
    assert_eq!(harness.texts(), ["round trip"]);
    assert_eq!(harness.tower.stats().coalesced, 0);
    harness.advance(seconds(1));
    assert_eq!(harness.take_messages(link).len(), 1, "the message is sent again");
}

#[test]
fn one_copy_remains_if_copies_of_a_message_cross_in_flight() {
    // The tower's copy is in flight to the peer when the peer's copy arrives. One copy stays here,
    // whether the peer confirms or refuses the tower's copy.
    for is_confirmed in [true, false] {
        let mut harness = Harness::new(&fast_config());
        let link = harness.accept_alive(1);
        let nonce = harness.enqueue("crossing");
        harness.advance(seconds(1));
        let [(transfer, ..)] = harness.take_messages(link)[..] else {
            panic!("expected one message")
        };
        harness.send_frame(link, &Frame::Message(MessageFrame { nonce, ..message(1, "crossing") }));
        assert_eq!(
            harness.take_frames(link),
            [SentFrame::Confirmed(1)],
            "the peer's copy is confirmed"
        );
        if is_confirmed {
            harness.confirm(link, transfer);
        } else {
            harness.refuse(link, transfer, RefusedReason::Busy);
        }
        assert_eq!(harness.texts(), ["crossing"]);
        // The peer confirms the remaining copy and sends no further one, so the message leaves the
        // queue.
        harness.advance(seconds(1));
        let [(transfer, ..)] = harness.take_messages(link)[..] else {
            panic!("expected one message")
        };
        harness.confirm(link, transfer);
        assert!(harness.texts().is_empty());
    }
}

#[test]
fn only_a_message_of_which_bytes_were_transmitted_is_in_doubt() {
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept_alive(1);
    harness.blocked.insert(link);
    harness.enqueue("one");
    harness.enqueue("two");
    harness.advance(seconds(1));
    // The send buffer of the driver ends where the frame of the first message ends.
    let len = encode(&Frame::Message(message(0, "one"))).len();
    let mut out = Vec::new();
    assert_eq!(harness.tower.transmit(link, &mut (&mut out).limit(len)), len);
    harness.reset(link);
    assert_eq!(harness.tower.stats().in_doubt, 1);
    assert_eq!(harness.tower.stats().returned, 1, "the second message returns to the queue");
}
