//! Screening: an application looks at messages before they are queued.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::time::Duration;

use clacks_proto::wire::{Attempt, Farewell, Frame, MessageFrame, RefusedReason};
use clacks_proto::{
    Action, Config, DecideError, DefaultVerdict, Event, Instant, IoCause, LinkId, Message,
    MessageState, Nonce, Notice, OfferId, Screening, StateMachine, Status, Verdict, WakeupReason,
};
use common::raw::{Raw, Said, encode, hello, message};
use common::{LOCAL, address, net, quick, seconds, tower};

const TIMEOUT: Duration = Duration::from_secs(5);

fn config(default: DefaultVerdict) -> Config {
    let mut config = quick();
    config.screening = Screening::On { max_offers: 3, timeout: TIMEOUT, default };
    config
}

/// A tower that screens, and a caller that is the tower number 1.
fn screener() -> (Raw, LinkId) {
    let mut raw = Raw::new(&config(DefaultVerdict::Accept));
    let link = raw.call_as(1);
    raw.heard(link);
    (raw, link)
}

fn decide(raw: &mut Raw, offer: OfferId, verdict: Verdict) -> Result<(), DecideError> {
    raw.with(|tower, now| tower.decide(offer, verdict, now))
}

fn next(raw: &mut Raw) -> OfferId {
    raw.offers.pop_front().expect("an offer").0
}

#[test]
fn a_message_waits_for_the_word_of_the_application() {
    let (mut raw, link) = screener();
    raw.hand(link, 1, "look");
    let (offer, from) = raw.offers[0].clone();
    assert_eq!(from, Some(address(1)));
    let held = raw.tower.offer(offer).unwrap();
    assert_eq!((held.nonce, held.message), (Nonce(1), Message::text("look")));
    assert!(raw.heard(link).is_empty(), "no answer yet");
    assert_eq!(raw.status(1), Some(Status::New));
    assert_eq!(common::held(&raw.tower), (1, 4), "it takes its room");
    assert_eq!((raw.tower.queue_usage().waiting, raw.tower.pending_screenings()), (0, 1));
    assert!(raw.tower.peek().all(|held| held.state == MessageState::Offered { offer }));
    assert_eq!(raw.tower.stats().received, 0);
    raw.run(seconds(4));
    assert!(raw.heard(link).is_empty(), "and goes nowhere");
}

#[test]
fn a_local_message_is_not_screened() {
    let (mut raw, _) = screener();
    raw.enqueue("our own");
    assert!(raw.offers.is_empty());
}

#[test]
fn an_accepted_message_is_queued_and_confirmed() {
    let (mut raw, link) = screener();
    raw.hand(link, 1, "good");
    let offer = next(&mut raw);
    decide(&mut raw, offer, Verdict::Accept).unwrap();
    assert_eq!(raw.heard(link), [Said::Confirmed(1)]);
    assert_eq!(raw.texts(), ["good"]);
    let held = raw.tower.peek().next().unwrap();
    assert_eq!((held.nonce, held.state), (Nonce(1), MessageState::Waiting));
    assert_eq!(raw.tower.pending_screenings(), 0);
    assert_eq!(raw.status(1), Some(Status::Alive));
    assert_eq!(raw.tower.stats().received, 1);
    assert!(raw.notices.iter().any(|notice| matches!(notice, Notice::MessageReceived { .. })));
    assert_eq!(decide(&mut raw, offer, Verdict::Reject), Err(DecideError::Gone), "said is said");
    assert_eq!(raw.texts(), ["good"]);
}

#[test]
fn a_replaced_message_is_confirmed_and_another_is_queued() {
    let (mut raw, link) = screener();
    raw.hand(link, 1, "bad words");
    let offer = next(&mut raw);
    decide(&mut raw, offer, Verdict::Replace(Message::text("good words"))).unwrap();
    assert_eq!(raw.heard(link), [Said::Confirmed(1)]);
    assert_eq!(raw.texts(), ["good words"]);
    assert_ne!(raw.tower.peek().next().unwrap().nonce, Nonce(1), "it has a name of its own");
    assert_eq!(common::held(&raw.tower), (1, 10));
}

#[test]
fn a_replacement_that_does_not_fit_leaves_the_message_under_screening() {
    let mut config = config(DefaultVerdict::Accept);
    config.max_message = 20;
    config.max_queue_bytes = 20;
    let mut raw = Raw::new(&config);
    let link = raw.call_as(1);
    raw.heard(link);
    raw.hand(link, 1, "ten bytes.");
    raw.hand(link, 2, "six by");
    let offer = next(&mut raw);
    let long = Verdict::Replace(Message::text(&"x".repeat(21)));
    assert_eq!(decide(&mut raw, offer, long), Err(DecideError::TooLarge { max: 20 }));
    let big = Verdict::Replace(Message::text(&"x".repeat(15)));
    assert_eq!(decide(&mut raw, offer, big), Err(DecideError::Full));
    assert!(raw.tower.offer(offer).is_some() && raw.heard(link).is_empty());
    decide(&mut raw, offer, Verdict::Replace(Message::text(&"x".repeat(14)))).unwrap();
    assert_eq!(common::held(&raw.tower), (2, 20));
}

#[test]
fn a_swallowed_message_is_confirmed_and_not_queued() {
    let (mut raw, link) = screener();
    raw.hand(link, 1, "for us alone");
    let offer = next(&mut raw);
    decide(&mut raw, offer, Verdict::Swallow).unwrap();
    assert_eq!(raw.heard(link), [Said::Confirmed(1)]);
    assert_eq!(common::held(&raw.tower), (0, 0));
    assert_eq!(raw.tower.stats().swallowed, 1);
    assert_eq!(raw.status(1), Some(Status::Alive));
}

#[test]
fn a_rejected_message_stays_with_its_sender() {
    let (mut raw, link) = screener();
    raw.hand(link, 1, "not here");
    let offer = next(&mut raw);
    decide(&mut raw, offer, Verdict::Reject).unwrap();
    assert_eq!(raw.heard(link), [Said::Refused(1, RefusedReason::Screened)]);
    assert_eq!(common::held(&raw.tower), (0, 0));
    assert_eq!(raw.tower.stats().refused, 1);
    assert_eq!(raw.close_reason(link), None);
    assert_eq!(raw.status(1), Some(Status::New), "nothing was taken from it");
}

#[test]
fn a_tower_that_rejects_everything_takes_nothing_and_is_alive() {
    let mut screening = config(DefaultVerdict::Reject);
    screening.screening =
        Screening::On { max_offers: 3, timeout: seconds(1), default: DefaultVerdict::Reject };
    let mut net = net(3, &quick());
    net.towers[1] = Some(tower(1, &screening));
    net.announce(0, 1);
    net.announce(0, 2);
    net.enqueue(0, "kept");
    net.run(seconds(30));
    assert!(net.tower(1).stats().refused > 0);
    assert_eq!(net.tower(1).stats().received, 0);
    assert_eq!(net.status(0, 1), Some(Status::Alive));
    let held: usize = (0..3)
        .map(|n| net.tower(n).peek().filter(|m| n != 1 || common::is_in_flight(m)).count())
        .sum();
    assert_eq!(held, 1);
}

#[test]
fn the_default_is_said_when_the_application_has_not_decided_in_time() {
    for default in [DefaultVerdict::Accept, DefaultVerdict::Reject] {
        let mut raw = Raw::new(&config(default));
        let link = raw.call_as(1);
        raw.heard(link);
        raw.hand(link, 1, "undecided");
        let offer = next(&mut raw);
        raw.run(TIMEOUT - Duration::from_nanos(1));
        assert!(raw.heard(link).is_empty());
        assert_eq!(raw.tower.next_wakeup().unwrap().reason, WakeupReason::Screening);
        raw.run(Duration::from_nanos(1));
        let (answer, held) = match default {
            DefaultVerdict::Accept => (Said::Confirmed(1), 1),
            DefaultVerdict::Reject => (Said::Refused(1, RefusedReason::Screened), 0),
        };
        assert_eq!(raw.heard(link), [answer]);
        assert_eq!(raw.tower.queue_usage().messages, held);
        assert_eq!(decide(&mut raw, offer, Verdict::Swallow), Err(DecideError::Gone));
    }
}

#[test]
fn beyond_the_bound_messages_are_answered_busy() {
    let (mut raw, link) = screener();
    let other = raw.call_as(2);
    raw.heard(other);
    for transfer in 1..4 {
        raw.hand(link, transfer, "x");
    }
    raw.hand(other, 9, "y");
    assert_eq!(raw.offers.len(), 3);
    assert_eq!(raw.heard(other), [Said::Refused(9, RefusedReason::Busy)]);
    // Whatever is decided makes room.
    let offer = next(&mut raw);
    decide(&mut raw, offer, Verdict::Swallow).unwrap();
    raw.hand(other, 10, "y");
    assert_eq!(raw.offers.len(), 3);
    raw.hand(other, 11, "y");
    assert!(raw.heard(other).is_empty(), "its turn comes after the tenth");
}

#[test]
fn a_driver_that_does_not_poll_is_left_no_more_offers_than_the_bound() {
    let mut tower = tower(0, &config(DefaultVerdict::Reject));
    let mut now = Instant::ORIGIN;
    let link = tower.accept(LOCAL, now).unwrap();
    let hello = encode(&Frame::Hello(hello(None)));
    tower.handle(Event::BytesArrived { link, bytes: &hello }, now);
    // All are decided by their deadline, before the driver has heard of them.
    let grown = allocation_counter::measure(|| {
        for transfer in 0..10_000 {
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
    let told = std::iter::from_fn(|| tower.poll_action()).filter(is_screen).count();
    assert_eq!(told, 0, "nor need it hear of them now");
    let bytes = encode(&Frame::Message(message(10_000, "x")));
    tower.handle(Event::BytesArrived { link, bytes: &bytes }, now);
    assert_eq!(std::iter::from_fn(|| tower.poll_action()).filter(is_screen).count(), 1);
}

#[test]
fn a_link_that_ends_withdraws_its_offers() {
    let (mut raw, link) = screener();
    raw.hand(link, 1, "withdrawn");
    let offer = next(&mut raw);
    raw.lose(link);
    assert_eq!(raw.tower.offer(offer), None);
    assert_eq!(decide(&mut raw, offer, Verdict::Accept), Err(DecideError::Gone));
    assert_eq!(common::held(&raw.tower), (0, 0));
    assert_eq!(raw.tower.stats().received, 0);
    // The bound is for those that are open.
    let link = raw.call_as(1);
    (2..5).for_each(|transfer| raw.hand(link, transfer, "x"));
    assert_eq!(raw.offers.len(), 3);
}

#[test]
fn an_offer_that_was_withdrawn_wakes_nobody() {
    let (mut raw, link) = screener();
    raw.hand(link, 1, "withdrawn");
    raw.lose(link);
    assert_eq!(raw.tower.next_wakeup(), None);
}

#[test]
fn offers_that_were_withdrawn_leave_nothing_behind() {
    let mut config = config(DefaultVerdict::Accept);
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
    // The first stays open, and those behind it come and go.
    (0..100).for_each(&mut offer);
    let grown = allocation_counter::measure(|| (100..10_000).for_each(&mut offer));
    assert!(grown.bytes_current < 1_000, "{} bytes", grown.bytes_current);
}

#[test]
fn answers_keep_their_order_behind_an_undecided_message() {
    let (mut raw, link) = screener();
    (1..4).for_each(|transfer| raw.hand(link, transfer, &format!("message {transfer}")));
    let [first, second, third] = [next(&mut raw), next(&mut raw), next(&mut raw)];
    decide(&mut raw, third, Verdict::Reject).unwrap();
    decide(&mut raw, second, Verdict::Accept).unwrap();
    raw.announce(link, 4);
    assert!(raw.heard(link).is_empty(), "the first is undecided");
    assert_eq!(raw.texts(), ["message 2", "message 1"], "yet the second is queued");
    decide(&mut raw, first, Verdict::Accept).unwrap();
    let answers =
        [Said::Confirmed(2), Said::Refused(3, RefusedReason::Screened), Said::Confirmed(4)];
    let heard = raw.heard(link);
    assert_eq!(heard[..3], answers, "{heard:?}");
}

#[test]
fn a_copy_of_a_held_message_is_not_screened_but_waits_its_turn() {
    let (mut raw, link) = screener();
    raw.hand(link, 1, "known");
    let offer = next(&mut raw);
    decide(&mut raw, offer, Verdict::Accept).unwrap();
    raw.heard(link);
    raw.hand(link, 2, "unknown");
    raw.say(link, &Frame::Message(MessageFrame { nonce: Nonce(1), ..message(3, "known") }));
    assert_eq!(raw.offers.len(), 1);
    assert!(!raw.heard(link).contains(&Said::Confirmed(3)));
    let offer = next(&mut raw);
    decide(&mut raw, offer, Verdict::Swallow).unwrap();
    assert!(raw.heard(link).contains(&Said::Confirmed(3)));
    assert_eq!(raw.texts(), ["known"]);
}

#[test]
fn two_copies_under_screening_are_one_message_when_both_are_accepted() {
    let (mut raw, link) = screener();
    let other = raw.call_as(2);
    raw.heard(other);
    raw.hand(link, 1, "same");
    raw.say(other, &Frame::Message(MessageFrame { nonce: Nonce(1), ..message(2, "same") }));
    let [first, second] = [next(&mut raw), next(&mut raw)];
    decide(&mut raw, first, Verdict::Accept).unwrap();
    decide(&mut raw, second, Verdict::Accept).unwrap();
    assert_eq!(raw.texts(), ["same"]);
    assert!(raw.heard(other).contains(&Said::Confirmed(2)));
    assert_eq!((raw.tower.stats().received, raw.tower.stats().coalesced), (2, 1));
}

#[test]
fn a_retry_of_a_decided_message_is_recognised() {
    for verdict in [Verdict::Accept, Verdict::Swallow, Verdict::Replace(Message::text("other"))] {
        let (mut raw, link) = screener();
        raw.hand(link, 1, "asked twice");
        let offer = next(&mut raw);
        decide(&mut raw, offer, verdict).unwrap();
        let held = raw.tower.queue_usage().messages;
        raw.lose(link);
        let link = raw.call_as(1);
        let retry = MessageFrame { attempt: Attempt::Retry, ..message(1, "asked twice") };
        raw.say(link, &Frame::Message(retry));
        assert!(raw.offers.is_empty());
        assert_eq!(raw.heard(link).last(), Some(&Said::Confirmed(1)));
        assert_eq!(raw.tower.queue_usage().messages, held);
    }
}

#[test]
fn a_side_that_says_goodbye_is_told_what_was_taken_behind_an_undecided_message() {
    let (mut raw, link) = screener();
    raw.hand(link, 1, "undecided");
    raw.hand(link, 2, "taken");
    raw.hand(link, 3, "rejected");
    let [_, second, third] = [next(&mut raw), next(&mut raw), next(&mut raw)];
    decide(&mut raw, second, Verdict::Accept).unwrap();
    decide(&mut raw, third, Verdict::Reject).unwrap();
    raw.leave(link);
    // What is not answered before our goodbye was not taken: so the second must be answered, or
    // there are two of it.
    let heard = raw.heard(link);
    let answers = [
        Said::Refused(1, RefusedReason::Busy),
        Said::Confirmed(2),
        Said::Refused(3, RefusedReason::Screened),
        Said::Goodbye(Farewell::Idle),
    ];
    assert_eq!(heard, answers);
    assert_eq!(raw.texts(), ["taken"]);
}

#[test]
fn what_is_under_screening_is_told_apart_from_what_waits() {
    let (mut raw, link) = screener();
    raw.hand(link, 1, "undecided");
    let offer = next(&mut raw);
    let states = |raw: &Raw| raw.tower.peek().map(|held| held.state).collect::<Vec<_>>();
    let offered = MessageState::Offered { offer };
    assert_eq!((states(&raw), raw.tower.pending_screenings()), (vec![offered], 1));
    decide(&mut raw, offer, Verdict::Accept).unwrap();
    let waiting = MessageState::Waiting;
    assert_eq!((states(&raw), raw.tower.pending_screenings()), (vec![waiting], 0));
}
