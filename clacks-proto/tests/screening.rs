//! Screening: the application decides about each message of a peer before it is queued.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::time::Duration;

use clacks_proto::wire::{Farewell, Frame, MessageFrame, RefusedReason};
use clacks_proto::{
    Action, Config, DecideError, DefaultVerdict, Event, Instant, IoCause, Kind, LinkId, Message,
    MessageState, Nonce, Notice, OfferId, Screening, StateMachine, Status, Verdict, WakeupReason,
};
use common::harness::{Harness, SentFrame, encode, hello, message, retry};
use common::{LOCAL, address, fast_config, network, seconds, tower};

const TIMEOUT: Duration = Duration::from_secs(5);

fn screening_config(default: DefaultVerdict) -> Config {
    let mut config = fast_config();
    // A new peer is not announced to.
    config.contact_rate = 0;
    config.screening = Screening::On { max_offers: 3, timeout: TIMEOUT, default };
    config
}

/// Creates a tower with screening and connects peer 1.
fn harness_with_screening() -> (Harness, LinkId) {
    let mut harness = Harness::new(&screening_config(DefaultVerdict::Accept));
    let link = harness.accept_from(1);
    harness.take_frames(link);
    (harness, link)
}

fn decide(harness: &mut Harness, offer: OfferId, verdict: Verdict) -> Result<(), DecideError> {
    harness.with(|tower, now| tower.decide(offer, verdict, now))
}

fn next_offer(harness: &mut Harness) -> OfferId {
    harness.offers.pop_front().expect("an offer is pending").0
}

#[test]
fn a_message_under_screening_waits_for_the_verdict() {
    let (mut harness, link) = harness_with_screening();
    harness.send_message(link, 1, "look");
    let (offer, from) = harness.offers[0].clone();
    assert_eq!(from, Some(address(1)));
    let held = harness.tower.offer(offer).unwrap();
    assert_eq!((held.nonce, held.message), (Nonce(1), Message::text("look")));
    assert!(harness.take_frames(link).is_empty(), "the tower sends no answer");
    assert_eq!(harness.status(1), Some(Status::New));
    assert_eq!(common::queue_usage(&harness.tower), (1, 4), "the message counts towards the queue");
    assert_eq!((harness.tower.queue_usage().waiting, harness.tower.pending_screenings()), (0, 1));
    assert!(harness.tower.peek().all(|held| held.state == MessageState::Offered { offer }));
    assert_eq!(harness.tower.stats().received, 0);
    harness.advance(seconds(4));
    assert!(harness.take_frames(link).is_empty(), "the message is not sent");
}

#[test]
fn a_local_message_is_not_screened() {
    let (mut harness, _) = harness_with_screening();
    harness.enqueue("our own");
    assert!(harness.offers.is_empty());
}

#[test]
fn an_accepted_message_is_queued_and_confirmed() {
    let (mut harness, link) = harness_with_screening();
    harness.send_message(link, 1, "good");
    let offer = next_offer(&mut harness);
    decide(&mut harness, offer, Verdict::ACCEPT).unwrap();
    assert_eq!(harness.take_frames(link), [SentFrame::Confirmed(1)]);
    assert_eq!(harness.texts(), ["good"]);
    let held = harness.tower.peek().next().unwrap();
    assert_eq!((held.nonce, held.state), (Nonce(1), MessageState::Waiting));
    assert_eq!(harness.tower.pending_screenings(), 0);
    assert_eq!(harness.status(1), Some(Status::Alive));
    assert_eq!(harness.tower.stats().received, 1);
    assert!(harness.notices.iter().any(|notice| matches!(notice, Notice::MessageReceived { .. })));
    assert_eq!(
        decide(&mut harness, offer, Verdict::Reject),
        Err(DecideError::Gone),
        "a verdict is final"
    );
    assert_eq!(harness.texts(), ["good"]);
}

#[test]
fn a_replaced_message_is_confirmed_and_the_replacement_is_queued() {
    let (mut harness, link) = harness_with_screening();
    harness.send_message(link, 1, "bad words");
    let offer = next_offer(&mut harness);
    decide(&mut harness, offer, Verdict::Replace(Message::text("good words"))).unwrap();
    assert_eq!(harness.take_frames(link), [SentFrame::Confirmed(1)]);
    assert_eq!(harness.texts(), ["good words"]);
    assert_ne!(
        harness.tower.peek().next().unwrap().nonce,
        Nonce(1),
        "the replacement has its own nonce"
    );
    assert_eq!(common::queue_usage(&harness.tower), (1, 10));
}

#[test]
fn a_replacement_that_does_not_fit_leaves_the_message_under_screening() {
    let mut config = screening_config(DefaultVerdict::Accept);
    config.max_message = 20;
    config.max_queue_bytes = 20;
    let mut harness = Harness::new(&config);
    let link = harness.accept_from(1);
    harness.take_frames(link);
    harness.send_message(link, 1, "ten bytes.");
    harness.send_message(link, 2, "six by");
    let offer = next_offer(&mut harness);
    let long = Verdict::Replace(Message::text(&"x".repeat(21)));
    assert_eq!(decide(&mut harness, offer, long), Err(DecideError::TooLarge { max: 20 }));
    let big = Verdict::Replace(Message::text(&"x".repeat(15)));
    assert_eq!(decide(&mut harness, offer, big), Err(DecideError::Full));
    assert!(harness.tower.offer(offer).is_some() && harness.take_frames(link).is_empty());
    decide(&mut harness, offer, Verdict::Replace(Message::text(&"x".repeat(14)))).unwrap();
    assert_eq!(common::queue_usage(&harness.tower), (2, 20));
}

#[test]
fn a_swallowed_message_is_confirmed_and_not_queued() {
    let (mut harness, link) = harness_with_screening();
    harness.send_message(link, 1, "for us alone");
    let offer = next_offer(&mut harness);
    decide(&mut harness, offer, Verdict::Swallow).unwrap();
    assert_eq!(harness.take_frames(link), [SentFrame::Confirmed(1)]);
    assert_eq!(common::queue_usage(&harness.tower), (0, 0));
    assert_eq!(harness.tower.stats().swallowed, 1);
    assert_eq!(harness.status(1), Some(Status::Alive));
}

#[test]
fn a_rejected_message_is_refused_and_dropped() {
    let (mut harness, link) = harness_with_screening();
    harness.send_message(link, 1, "not here");
    let offer = next_offer(&mut harness);
    decide(&mut harness, offer, Verdict::Reject).unwrap();
    assert_eq!(harness.take_frames(link), [SentFrame::Refused(1, RefusedReason::Screened)]);
    assert_eq!(common::queue_usage(&harness.tower), (0, 0));
    assert_eq!(harness.tower.stats().refused, 1);
    assert_eq!(harness.close_reason(link), None);
    assert_eq!(
        harness.status(1),
        Some(Status::New),
        "a rejected message does not make the peer alive"
    );
}

#[test]
fn a_tower_that_rejects_every_message_receives_none_and_stays_alive() {
    let mut screening = screening_config(DefaultVerdict::Reject);
    screening.screening =
        Screening::On { max_offers: 3, timeout: seconds(1), default: DefaultVerdict::Reject };
    let mut network = network(3, &fast_config());
    network.towers[1] = Some(tower(1, &screening));
    network.announce(0, 1);
    network.announce(0, 2);
    network.enqueue(0, "kept");
    network.advance(seconds(30));
    assert!(network.tower(1).stats().refused > 0);
    assert_eq!(network.tower(1).stats().received, 0);
    assert_eq!(network.status(0, 1), Some(Status::Alive));
    let held: usize = (0..3)
        .map(|n| network.tower(n).peek().filter(|m| n != 1 || common::is_in_flight(m)).count())
        .sum();
    assert_eq!(held, 1);
}

#[test]
fn the_default_verdict_applies_after_the_screening_timeout() {
    for default in [DefaultVerdict::Accept, DefaultVerdict::Reject] {
        let mut harness = Harness::new(&screening_config(default));
        let link = harness.accept_from(1);
        harness.take_frames(link);
        harness.send_message(link, 1, "undecided");
        let offer = next_offer(&mut harness);
        harness.advance(TIMEOUT - Duration::from_nanos(1));
        assert!(harness.take_frames(link).is_empty());
        assert_eq!(harness.tower.next_wakeup().unwrap().reason, WakeupReason::Screening);
        harness.advance(Duration::from_nanos(1));
        let (answer, held) = match default {
            DefaultVerdict::Accept => (SentFrame::Confirmed(1), 1),
            DefaultVerdict::Reject => (SentFrame::Refused(1, RefusedReason::Screened), 0),
        };
        assert_eq!(harness.take_frames(link), [answer]);
        assert_eq!(harness.tower.queue_usage().messages, held);
        assert_eq!(decide(&mut harness, offer, Verdict::Swallow), Err(DecideError::Gone));
    }
}

#[test]
fn messages_above_max_offers_are_refused_as_busy() {
    let (mut harness, link) = harness_with_screening();
    let other = harness.accept_from(2);
    harness.take_frames(other);
    for transfer in 1..4 {
        harness.send_message(link, transfer, "x");
    }
    harness.send_message(other, 9, "y");
    assert_eq!(harness.offers.len(), 3);
    assert_eq!(harness.take_frames(other), [SentFrame::Refused(9, RefusedReason::Busy)]);
    // A verdict makes room for another offer.
    let offer = next_offer(&mut harness);
    decide(&mut harness, offer, Verdict::Swallow).unwrap();
    harness.send_message(other, 10, "y");
    assert_eq!(harness.offers.len(), 3);
    harness.send_message(other, 11, "y");
    assert!(
        harness.take_frames(other).is_empty(),
        "the answer waits for the verdict on transfer 10"
    );
}

#[test]
fn expired_offers_that_were_not_polled_are_dropped() {
    let mut tower = tower(0, &screening_config(DefaultVerdict::Reject));
    let mut now = Instant::ORIGIN;
    let link = tower.accept(LOCAL, now).unwrap();
    let hello = encode(&Frame::Hello(hello(None)));
    tower.handle(Event::BytesArrived { link, bytes: &hello }, now);
    // The screening timeout decides each offer before the driver polls it.
    let grown = allocation_counter::measure(|| {
        for transfer in 1..=10_000 {
            let bytes = encode(&Frame::Message(message(transfer, "x")));
            tower.handle(Event::BytesArrived { link, bytes: &bytes }, now);
            now = now + TIMEOUT;
            tower.handle(Event::TimerFired, now);
            tower.transmit(link, &mut Vec::new());
        }
    });
    assert_eq!(tower.stats().refused, 10_000);
    assert!(grown.bytes_current < 10_000, "{} bytes", grown.bytes_current);
    let is_screen = |action: &Action| matches!(action, Action::Screen { .. });
    let polled = std::iter::from_fn(|| tower.poll_action()).filter(is_screen).count();
    assert_eq!(polled, 0, "expired offers are not polled");
    let bytes = encode(&Frame::Message(message(10_001, "x")));
    tower.handle(Event::BytesArrived { link, bytes: &bytes }, now);
    assert_eq!(std::iter::from_fn(|| tower.poll_action()).filter(is_screen).count(), 1);
}

#[test]
fn a_link_that_ends_withdraws_its_offers() {
    let (mut harness, link) = harness_with_screening();
    harness.send_message(link, 1, "withdrawn");
    let offer = next_offer(&mut harness);
    harness.reset(link);
    assert_eq!(harness.tower.offer(offer), None);
    assert_eq!(decide(&mut harness, offer, Verdict::ACCEPT), Err(DecideError::Gone));
    assert_eq!(common::queue_usage(&harness.tower), (0, 0));
    assert_eq!(harness.tower.stats().received, 0);
    // Only open offers count towards `max_offers`.
    let link = harness.accept_from(1);
    (2..5).for_each(|transfer| harness.send_message(link, transfer, "x"));
    assert_eq!(harness.offers.len(), 3);
}

#[test]
fn a_withdrawn_offer_leaves_no_wakeup() {
    let (mut harness, link) = harness_with_screening();
    harness.send_message(link, 1, "withdrawn");
    harness.reset(link);
    assert_eq!(harness.tower.next_wakeup(), None);
}

#[test]
fn withdrawn_offers_leave_no_memory_allocated() {
    let mut config = screening_config(DefaultVerdict::Accept);
    config.screening =
        Screening::On { max_offers: 3, timeout: seconds(3_600), default: DefaultVerdict::Accept };
    let mut tower = tower(0, &config);
    let mut offer = |nonce: u64| {
        let link = tower.accept(LOCAL, Instant::ORIGIN).unwrap();
        for frame in [Frame::Hello(hello(None)), Frame::Message(message(nonce, "x"))] {
            let bytes = encode(&frame);
            tower.handle(Event::BytesArrived { link, bytes: &bytes }, Instant::ORIGIN);
        }
        while tower.poll_action().is_some() {}
        tower.transmit(link, &mut Vec::new());
        if nonce > 0 {
            tower.handle(Event::Lost { link, cause: IoCause::Reset }, Instant::ORIGIN);
            while tower.poll_action().is_some() {}
        }
    };
    // The first offer stays open. All later ones are withdrawn.
    (0..100).for_each(&mut offer);
    let grown = allocation_counter::measure(|| (100..10_000).for_each(&mut offer));
    assert!(grown.bytes_current < 1_000, "{} bytes", grown.bytes_current);
}

#[test]
fn answers_wait_for_the_verdict_on_an_earlier_message() {
    let (mut harness, link) = harness_with_screening();
    (1..4)
        .for_each(|transfer| harness.send_message(link, transfer, &format!("message {transfer}")));
    let [first, second, third] =
        [next_offer(&mut harness), next_offer(&mut harness), next_offer(&mut harness)];
    decide(&mut harness, third, Verdict::Reject).unwrap();
    decide(&mut harness, second, Verdict::ACCEPT).unwrap();
    harness.send_announce(link, 4);
    assert!(harness.take_frames(link).is_empty(), "the first message is undecided");
    assert_eq!(harness.texts(), ["message 2", "message 1"], "the second message is queued");
    decide(&mut harness, first, Verdict::ACCEPT).unwrap();
    let answers = [
        SentFrame::Confirmed(2),
        SentFrame::Refused(3, RefusedReason::Screened),
        SentFrame::Confirmed(4),
    ];
    let sent = harness.take_frames(link);
    assert_eq!(sent[..3], answers, "{sent:?}");
}

#[test]
fn a_copy_of_a_queued_message_is_not_screened_and_is_confirmed_in_order() {
    let (mut harness, link) = harness_with_screening();
    harness.send_message(link, 1, "known");
    let offer = next_offer(&mut harness);
    decide(&mut harness, offer, Verdict::ACCEPT).unwrap();
    harness.take_frames(link);
    harness.send_message(link, 2, "unknown");
    harness
        .send_frame(link, &Frame::Message(MessageFrame { nonce: Nonce(1), ..message(3, "known") }));
    assert_eq!(harness.offers.len(), 1);
    assert!(!harness.take_frames(link).contains(&SentFrame::Confirmed(3)));
    let offer = next_offer(&mut harness);
    decide(&mut harness, offer, Verdict::Swallow).unwrap();
    assert!(harness.take_frames(link).contains(&SentFrame::Confirmed(3)));
    assert_eq!(harness.texts(), ["known"]);
}

#[test]
fn two_accepted_copies_under_screening_become_one_message() {
    let (mut harness, link) = harness_with_screening();
    let other = harness.accept_from(2);
    harness.take_frames(other);
    harness.send_message(link, 1, "same");
    harness
        .send_frame(other, &Frame::Message(MessageFrame { nonce: Nonce(1), ..message(2, "same") }));
    let [first, second] = [next_offer(&mut harness), next_offer(&mut harness)];
    decide(&mut harness, first, Verdict::ACCEPT).unwrap();
    decide(&mut harness, second, Verdict::ACCEPT).unwrap();
    assert_eq!(harness.texts(), ["same"]);
    assert!(harness.take_frames(other).contains(&SentFrame::Confirmed(2)));
    assert_eq!((harness.tower.stats().received, harness.tower.stats().coalesced), (2, 1));
    assert_eq!(harness.received(), [false, true], "the second one is coalesced");
}

#[test]
fn a_retry_of_a_decided_message_is_recognised() {
    for verdict in [Verdict::ACCEPT, Verdict::Swallow, Verdict::Replace(Message::text("other"))] {
        let (mut harness, link) = harness_with_screening();
        harness.send_message(link, 1, "retried");
        let offer = next_offer(&mut harness);
        decide(&mut harness, offer, verdict).unwrap();
        let held = harness.tower.queue_usage().messages;
        harness.reset(link);
        let link = harness.accept_from(1);
        harness.send_frame(link, &Frame::Message(retry(1, "retried")));
        assert!(harness.offers.is_empty());
        assert_eq!(harness.take_frames(link).last(), Some(&SentFrame::Confirmed(1)));
        assert_eq!(harness.tower.queue_usage().messages, held);
    }
}

#[test]
fn a_tower_answers_all_transfers_before_its_goodbye() {
    let (mut harness, link) = harness_with_screening();
    harness.send_message(link, 1, "undecided");
    harness.send_message(link, 2, "accepted");
    harness.send_message(link, 3, "rejected");
    let [_, second, third] =
        [next_offer(&mut harness), next_offer(&mut harness), next_offer(&mut harness)];
    decide(&mut harness, second, Verdict::ACCEPT).unwrap();
    decide(&mut harness, third, Verdict::Reject).unwrap();
    harness.send_goodbye(link);
    // The peer keeps a message that is not answered before the goodbye. If the second one were not
    // answered, two copies of it would exist.
    let sent = harness.take_frames(link);
    let answers = [
        SentFrame::Refused(1, RefusedReason::Busy),
        SentFrame::Confirmed(2),
        SentFrame::Refused(3, RefusedReason::Screened),
        SentFrame::Goodbye(Farewell::Idle),
    ];
    assert_eq!(sent, answers);
    assert_eq!(harness.texts(), ["accepted"]);
}

#[test]
fn messages_under_screening_and_waiting_messages_have_different_states() {
    let (mut harness, link) = harness_with_screening();
    harness.send_message(link, 1, "undecided");
    let offer = next_offer(&mut harness);
    let states =
        |harness: &Harness| harness.tower.peek().map(|held| held.state).collect::<Vec<_>>();
    let offered = MessageState::Offered { offer };
    assert_eq!((states(&harness), harness.tower.pending_screenings()), (vec![offered], 1));
    decide(&mut harness, offer, Verdict::ACCEPT).unwrap();
    let waiting = MessageState::Waiting;
    assert_eq!((states(&harness), harness.tower.pending_screenings()), (vec![waiting], 0));
}

#[test]
fn only_messages_of_the_screened_length_are_screened() {
    let body = [7; 100];
    for (screened_len, expected) in [(None, 3), (Some(100), 1), (Some(99), 0)] {
        let mut config = screening_config(DefaultVerdict::Accept);
        config.screened_len = screened_len;
        let mut harness = Harness::new(&config);
        let link = harness.accept_from(1);
        let bytes = MessageFrame { kind: Kind::Bytes, body: &body, ..message(1, "") };
        let text = "x".repeat(100);
        harness.send_frame(link, &Frame::Message(bytes));
        harness.send_frame(link, &Frame::Message(message(2, &text)));
        harness.send_message(link, 3, "short");
        assert_eq!(harness.offers.len(), expected, "{screened_len:?}");
        let waiting = harness.tower.queue_usage().waiting;
        assert_eq!(waiting, 3 - expected, "the others are queued at once");
    }
}

#[test]
fn the_link_of_an_offer_and_the_id_of_a_message_are_known() {
    let (mut harness, link) = harness_with_screening();
    harness.send_message(link, 1, "look");
    let offer = next_offer(&mut harness);
    assert_eq!(harness.tower.link_of_offer(offer), Some(link));
    let message = Message::text("look");
    assert_eq!(harness.tower.find_message(Nonce(1), &message), None, "under screening");
    decide(&mut harness, offer, Verdict::ACCEPT).unwrap();
    assert_eq!(harness.tower.link_of_offer(offer), None);
    let held = harness.tower.peek().next().unwrap();
    assert_eq!(harness.tower.find_message(Nonce(1), &message), Some(held.id));
    assert_eq!(harness.tower.find_message(Nonce(2), &message), None);
}
