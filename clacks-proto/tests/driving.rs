//! The freedom of drivers: they may poll late, fire the timer at any time, and transmit a few bytes
//! at a time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::time::Duration;

use bytes::BufMut;
use clacks_proto::wire::{Decoder, Frame, MAX_BODY};
use clacks_proto::{Action, EnqueueError, Event, Instant, Message, StateMachine, WakeupReason};
use common::harness::{Harness, encode, message};
use common::{address, fast_config, seconds};

#[test]
fn the_next_wakeup_is_now_while_actions_are_pending() {
    let mut harness = Harness::new(&fast_config());
    assert_eq!(harness.tower.next_wakeup(), None);
    harness.now = harness.now + seconds(7);
    harness.tower.enqueue(Message::text("x"), harness.now).unwrap();
    harness.tower.expand(&address(1), harness.now).unwrap();
    let wakeup = harness.tower.next_wakeup().unwrap();
    assert_eq!((wakeup.at, wakeup.reason), (harness.now, WakeupReason::Actions));
    harness.tower.poll_action().unwrap();
    assert_eq!(
        harness.tower.next_wakeup().unwrap().reason,
        WakeupReason::Actions,
        "one action is pending"
    );
    harness.drive();
    assert_eq!(harness.tower.next_wakeup().unwrap().reason, WakeupReason::Tick);
}

/// Runs a tower that has deadlines of several kinds. Calls `disturb` every 50 ms. Returns every
/// action and the time of its poll.
fn run_with_deadlines(mut disturb: impl FnMut(&mut Harness)) -> Vec<(Instant, Action)> {
    let mut config = fast_config();
    config.heartbeat = Some(seconds(7));
    config.max_probe_backoff = Duration::ZERO;
    let mut harness = Harness::new(&config);
    let mut trace = Vec::new();
    harness.accept_alive(1);
    harness.accept();
    harness.expand(2);
    harness.enqueue_many(5, "message");
    for _ in 0..2_000 {
        disturb(&mut harness);
        harness.advance(Duration::from_millis(50));
        trace.extend(harness.actions.drain(..).map(|action| (harness.now, action)));
    }
    assert!(trace.len() > 50);
    trace
}

#[test]
fn spurious_timer_events_change_no_action() {
    let undisturbed = run_with_deadlines(|_| {});
    let disturbed =
        run_with_deadlines(|harness| (0..3).for_each(|_| harness.handle(Event::TimerFired)));
    assert_eq!(undisturbed, disturbed);
}

#[test]
fn a_timer_event_with_an_earlier_time_changes_no_action() {
    let undisturbed = run_with_deadlines(|_| {});
    let disturbed = run_with_deadlines(|harness| {
        let now = harness.now;
        harness.now = Instant::from_nanos(now.as_nanos() / 2);
        harness.handle(Event::TimerFired);
        harness.now = now;
    });
    assert_eq!(undisturbed, disturbed);
}

#[test]
fn the_connect_timeout_starts_at_the_latest_time_that_the_tower_has_seen() {
    let mut harness = Harness::new(&fast_config());
    harness.advance(seconds(100));
    harness.handle(Event::TimerFired);
    let past = Instant::ORIGIN + seconds(3);
    harness.with(|tower, _| tower.announce(&address(1), past)).unwrap();
    let (link, _) = harness.dialled[0];
    assert_eq!(
        harness.run_until_close(link, seconds(9)),
        None,
        "the dial times out after ten seconds"
    );
    assert!(harness.run_until_close(link, seconds(1)).is_some());
}

#[test]
fn the_size_of_the_send_buffer_does_not_change_the_frames() {
    let run = |size: usize| {
        let mut harness = Harness::new(&fast_config());
        harness.transmit_limit = size;
        let link = harness.accept_from(1);
        harness.send_announce(link, 1);
        harness.send_message(link, 2, "a message that is longer than some buffers");
        harness.send_message(link, 3, "");
        harness.with(|tower, now| tower.announce(&address(1), now)).unwrap();
        harness.advance(seconds(2));
        harness.send_goodbye(link);
        harness.take_frames(link)
    };
    let whole = run(1_000_000);
    assert!(whole.len() >= 8, "{whole:?}");
    for size in [1, 2, 5, 7, 30, 340, 350, 400] {
        assert_eq!(run(size), whole, "a buffer of {size} bytes");
    }
}

#[test]
fn a_partly_sent_frame_is_completed_after_its_message_is_confirmed() {
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept_alive(1);
    harness.blocked.insert(link);
    harness.enqueue("the body of a message that is cut in two");
    harness.advance(seconds(1));
    let mut bytes = Vec::new();
    assert_eq!(harness.tower.transmit(link, &mut (&mut bytes).limit(45)), 45);
    // The peer confirms a message before it can have read the whole frame.
    let transfer = u64::from_be_bytes(bytes[5..13].try_into().unwrap());
    harness.confirm(link, transfer);
    assert_eq!(
        common::queue_usage(&harness.tower),
        (0, 0),
        "the queue no longer holds the confirmed message"
    );
    harness.enqueue("the next");
    harness.advance(seconds(1));
    while harness.tower.transmit(link, &mut (&mut bytes).limit(7)) > 0 {}
    assert_eq!(common::queue_usage(&harness.tower), (1, 8));
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
fn a_body_in_unpolled_notices_counts_towards_the_queue_limit() {
    let mut config = fast_config();
    (config.max_message, config.max_queue_bytes, config.local_share) = (20, 30, 100);
    let mut harness = Harness::new(&config);
    let link = harness.accept_alive(1);
    // Poll no action while the message is received, sent, and confirmed.
    let frame = encode(&Frame::Message(message(2, "well travelled")));
    harness.tower.handle(Event::BytesArrived { link, bytes: &frame }, harness.now);
    let id = harness.tower.peek().next().unwrap().id;
    harness.now = harness.now + seconds(1);
    harness.tower.handle(Event::TimerFired, harness.now);
    let mut sent = Vec::new();
    while harness.tower.transmit(link, &mut sent) > 0 {}
    let (mut decoder, mut input) = (Decoder::new(MAX_BODY), sent.as_slice());
    let mut transfers = Vec::new();
    while let Some(frame) = decoder.decode(&mut input).unwrap() {
        if let Frame::Message(message) = frame {
            transfers.push(message.transfer);
        }
    }
    let confirmed = encode(&Frame::Confirmed { through: transfers[0] });
    harness.tower.handle(Event::BytesArrived { link, bytes: &confirmed }, harness.now);
    assert_eq!(common::queue_usage(&harness.tower), (0, 0), "the message has left the queue");
    assert_eq!(harness.tower.message(id), None);

    let enqueue = |harness: &mut Harness| {
        harness.tower.enqueue(Message::bytes(&[0; 20]), harness.now).map(drop)
    };
    assert_eq!(enqueue(&mut harness).unwrap_err().reason, EnqueueError::Full);
    let mut texts = Vec::new();
    while let Some(action) = harness.tower.poll_action() {
        if let Action::Notify(notice) = action {
            texts.extend(notice.message().map(|message| message.as_text().unwrap().to_owned()));
        }
    }
    assert_eq!(texts, ["well travelled"; 2], "received and delivered");
    enqueue(&mut harness).unwrap();
}
