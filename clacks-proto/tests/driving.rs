//! What a driver may do: poll late, fire timers at any time, take bytes a few at a time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::time::Duration;

use bytes::BufMut;
use clacks_proto::wire::{Decoder, Frame, MAX_BODY};
use clacks_proto::{Action, EnqueueError, Event, Instant, Message, StateMachine, WakeupReason};
use common::raw::{Raw, encode, message};
use common::{address, quick, seconds};

#[test]
fn the_next_wakeup_is_now_while_actions_wait() {
    let mut raw = Raw::new(&quick());
    assert_eq!(raw.tower.next_wakeup(), None);
    raw.now = raw.now + seconds(7);
    raw.tower.enqueue(Message::text("x"), raw.now).unwrap();
    raw.tower.expand(&address(1), raw.now).unwrap();
    let wakeup = raw.tower.next_wakeup().unwrap();
    assert_eq!((wakeup.at, wakeup.reason), (raw.now, WakeupReason::Actions));
    raw.tower.poll_action().unwrap();
    assert_eq!(raw.tower.next_wakeup().unwrap().reason, WakeupReason::Actions, "one is left");
    raw.settle();
    assert_eq!(raw.tower.next_wakeup().unwrap().reason, WakeupReason::Tick);
}

/// Some of everything that has a deadline, with further timers in between. Returns all that the
/// tower asked for, and when.
fn timed(mut disturb: impl FnMut(&mut Raw)) -> Vec<(Instant, Action)> {
    let mut config = quick();
    config.heartbeat = Some(seconds(7));
    let mut raw = Raw::new(&config);
    let mut trace = Vec::new();
    raw.call_alive(1);
    raw.call();
    raw.expand(2);
    raw.enqueue_many(5, "message");
    for _ in 0..2_000 {
        disturb(&mut raw);
        raw.run(Duration::from_millis(50));
        trace.extend(raw.actions.drain(..).map(|action| (raw.now, action)));
    }
    assert!(trace.len() > 50);
    trace
}

#[test]
fn early_and_spurious_timers_are_harmless() {
    let undisturbed = timed(|_| {});
    let disturbed = timed(|raw| (0..3).for_each(|_| raw.tell(Event::TimerFired)));
    assert_eq!(undisturbed, disturbed);
}

#[test]
fn time_that_goes_back_is_harmless() {
    let undisturbed = timed(|_| {});
    let disturbed = timed(|raw| {
        let now = raw.now;
        raw.now = Instant::from_nanos(now.as_nanos() / 2);
        raw.tell(Event::TimerFired);
        raw.now = now;
    });
    assert_eq!(undisturbed, disturbed);
}

#[test]
fn what_begins_at_a_moment_that_is_past_begins_now() {
    let mut raw = Raw::new(&quick());
    raw.run(seconds(100));
    raw.tell(Event::TimerFired);
    let past = Instant::ORIGIN + seconds(3);
    raw.with(|tower, _| tower.announce(&address(1), past)).unwrap();
    let (link, _) = raw.dialled[0];
    assert_eq!(raw.run_to_close(link, seconds(9)), None, "it has its ten seconds");
    assert!(raw.run_to_close(link, seconds(1)).is_some());
}

#[test]
fn frames_leave_through_the_smallest_of_buffers() {
    let run = |room: usize| {
        let mut raw = Raw::new(&quick());
        raw.room = room;
        let link = raw.call_as(1);
        raw.announce(link, 1);
        raw.hand(link, 2, "a message that is longer than some buffers");
        raw.hand(link, 3, "");
        raw.with(|tower, now| tower.announce(&address(1), now)).unwrap();
        raw.run(seconds(2));
        raw.leave(link);
        raw.heard(link)
    };
    let whole = run(1_000_000);
    assert!(whole.len() >= 8, "{whole:?}");
    for room in [1, 2, 5, 7, 30, 340, 350, 400] {
        assert_eq!(run(room), whole, "{room}");
    }
}

#[test]
fn a_frame_that_is_half_sent_stays_whole_whatever_happens_to_its_message() {
    let mut raw = Raw::new(&quick());
    let link = raw.call_alive(1);
    raw.deaf.insert(link);
    raw.enqueue("the body of a message that is cut in two");
    raw.run(seconds(1));
    let mut bytes = Vec::new();
    assert_eq!(raw.tower.transmit(link, &mut (&mut bytes).limit(45)), 45);
    // A peer that confirms what it can't have read yet: the message departs, the frame goes on.
    let transfer = u64::from_be_bytes(bytes[5..13].try_into().unwrap());
    raw.confirm(link, transfer);
    assert_eq!(
        common::held(&raw.tower),
        (0, 0),
        "it is not held any more, though its bytes are needed to the end of the frame"
    );
    raw.enqueue("the next");
    raw.run(seconds(1));
    while raw.tower.transmit(link, &mut (&mut bytes).limit(7)) > 0 {}
    assert_eq!(common::held(&raw.tower), (1, 8));
    let mut decoder = Decoder::new(MAX_BODY);
    let mut input = bytes.as_slice();
    let mut texts = Vec::new();
    while let Some(frame) = decoder.decode(&mut input).unwrap() {
        let Frame::Message(message) = frame else { continue };
        texts.push(String::from_utf8(message.body.to_vec()).unwrap());
    }
    assert_eq!(texts, ["the body of a message that is cut in two", "the next"]);
}

#[test]
fn a_body_that_only_unpolled_notices_hold_counts_towards_the_queue() {
    let mut config = quick();
    (config.max_message, config.max_queue_bytes, config.local_share) = (20, 30, 100);
    let mut raw = Raw::new(&config);
    let link = raw.call_alive(1);
    // Nothing is polled while a message comes in, is handed on, and is confirmed.
    let frame = encode(&Frame::Message(message(7, "well travelled")));
    raw.tower.handle(Event::BytesArrived { link, bytes: &frame }, raw.now);
    let id = raw.tower.peek().next().unwrap().id;
    raw.now = raw.now + seconds(1);
    raw.tower.handle(Event::TimerFired, raw.now);
    let mut sent = Vec::new();
    while raw.tower.transmit(link, &mut sent) > 0 {}
    let (mut decoder, mut input) = (Decoder::new(MAX_BODY), sent.as_slice());
    let mut transfers = Vec::new();
    while let Some(frame) = decoder.decode(&mut input).unwrap() {
        if let Frame::Message(message) = frame {
            transfers.push(message.transfer);
        }
    }
    let confirmed = encode(&Frame::Confirmed { through: transfers[0] });
    raw.tower.handle(Event::BytesArrived { link, bytes: &confirmed }, raw.now);
    assert_eq!(common::held(&raw.tower), (0, 0), "it has left");
    assert_eq!(raw.tower.message(id), None);

    let enqueue = |raw: &mut Raw| raw.tower.enqueue(Message::bytes(&[0; 20]), raw.now).map(drop);
    assert_eq!(enqueue(&mut raw).unwrap_err().reason, EnqueueError::Full);
    let mut texts = Vec::new();
    while let Some(action) = raw.tower.poll_action() {
        if let Action::Notify(notice) = action {
            texts.extend(notice.message().map(|it| it.as_text().unwrap().to_owned()));
        }
    }
    assert_eq!(texts, ["well travelled"; 2], "received and delivered");
    enqueue(&mut raw).unwrap();
}
