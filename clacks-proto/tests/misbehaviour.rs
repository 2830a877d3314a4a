//! Protocol violations: the tower closes the link with a reason and keeps its messages.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::time::Duration;

use clacks_proto::wire::{Farewell, Frame, FrameKind, RefusedReason, WireError};
use clacks_proto::{CloseMode, CloseReason, Event, ProtocolError, Status};
use common::fast_config;
use common::harness::{Harness, SentFrame, encode, hello, message};

/// Sends bytes that violate the protocol on a dialled link with one unconfirmed message. Checks
/// that the link is closed for this reason and that the message is in doubt.
fn check_violation(bytes: &[u8], reason: CloseReason) {
    let (mut harness, link, _) = Harness::with_unconfirmed_message(&fast_config(), "in doubt");
    harness.send_bytes(link, bytes);
    assert_eq!(harness.closed.get(&link), Some(&(CloseMode::Flush, reason)));
    assert_eq!(harness.take_frames(link), [SentFrame::Goodbye(Farewell::Misbehaved)]);
    assert_eq!(harness.tower.stats().links_misbehaved, 1);
    assert_eq!(harness.texts(), ["in doubt"]);
    assert_eq!(harness.status(1), Some(Status::Lost));
    assert_eq!(harness.dialled.len(), 1, "the tower dials again to retry the message");
}

#[test]
fn a_second_hello_is_a_violation() {
    let again = encode(&Frame::Hello(hello(None)));
    check_violation(&again, CloseReason::Protocol(ProtocolError::HelloTwice));
}

#[test]
fn an_answer_to_an_unknown_transfer_is_a_violation() {
    let reason = CloseReason::Protocol(ProtocolError::UnknownTransfer);
    check_violation(&encode(&Frame::Confirmed { through: 999 }), reason);
    check_violation(
        &encode(&Frame::Refused { transfer: 999, reason: RefusedReason::Busy }),
        reason,
    );
}

#[test]
fn a_second_answer_to_a_transfer_is_a_violation() {
    let (mut harness, link, transfer) = Harness::with_unconfirmed_message(&fast_config(), "once");
    harness.confirm(link, transfer);
    assert_eq!(harness.close_reason(link), None);
    harness.confirm(link, transfer);
    let reason = CloseReason::Protocol(ProtocolError::UnknownTransfer);
    assert_eq!(harness.close_reason(link), Some(reason));
    assert_eq!(harness.tower.stats().delivered, 1);
    // A confirmation is a violation too if the tower has sent nothing on the link.
    let link = harness.accept();
    harness.send_hello(link, None);
    harness.confirm(link, transfer);
    assert_eq!(harness.close_reason(link), Some(reason));
}

#[test]
fn a_transfer_without_the_next_number_of_the_link_is_a_violation() {
    let reason = CloseReason::Protocol(ProtocolError::WrongNumber);
    for number in [0, 2, u64::MAX] {
        check_violation(&encode(&Frame::Message(message(number, "x"))), reason);
    }
    // A number is not used twice.
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept_from(1);
    let first = encode(&Frame::Message(message(1, "first")));
    let second = encode(&Frame::Message(message(1, "second")));
    harness.send_bytes(link, &first);
    harness.send_bytes(link, &second);
    assert_eq!(harness.close_reason(link), Some(reason));
    assert_eq!(harness.texts(), ["first"]);
}

#[test]
fn bytes_that_are_no_frame_are_a_violation() {
    check_violation(b"GET / HTTP/1.1\r\n\r\n", CloseReason::Wire(WireError::Kind(b'G')));
    check_violation(&[0xC4, 0, 0, 0, 9], {
        CloseReason::Wire(WireError::Length { kind: FrameKind::Confirmed, len: 9 })
    });
}

#[test]
fn a_frame_before_the_hello_is_a_violation() {
    for frame in [Frame::Message(message(1, "x")), Frame::Confirmed { through: 1 }] {
        let mut harness = Harness::new(&fast_config());
        let link = harness.accept();
        harness.send_frame(link, &frame);
        let reason = CloseReason::Wire(WireError::BeforeHello(frame.kind()));
        assert_eq!(harness.close_reason(link), Some(reason));
        assert_eq!(harness.tower.stats().links_misbehaved, 1);
        assert_eq!(harness.tower.queue_usage().messages, 0);
    }
}

#[test]
fn frames_after_a_violation_are_ignored() {
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept_from(1);
    let mut bytes = encode(&Frame::Message(message(1, "before")));
    bytes.extend(encode(&Frame::Hello(hello(None))));
    bytes.extend(encode(&Frame::Message(message(2, "after"))));
    harness.send_bytes(link, &bytes);
    assert_eq!(harness.texts(), ["before"]);
    let sent = harness.take_frames(link);
    assert_eq!(sent[1..], [SentFrame::Confirmed(1), SentFrame::Goodbye(Farewell::Misbehaved)]);
}

#[test]
fn a_stream_that_ends_without_a_goodbye_is_truncated() {
    let frame = encode(&Frame::Message(message(1, "incomplete")));
    for bytes in [&frame[..frame.len() - 1], &frame[..3], &[][..]] {
        let (mut harness, link, _) = Harness::with_unconfirmed_message(&fast_config(), "in doubt");
        harness.send_bytes(link, bytes);
        harness.handle(Event::Finished { link });
        assert_eq!(harness.closed.get(&link), Some(&(CloseMode::Flush, CloseReason::Truncated)));
        assert_eq!(harness.tower.stats().links_broken, 1);
        assert_eq!(harness.texts(), ["in doubt"]);
        assert_eq!(harness.tower.stats().in_doubt, 1);
    }
}

#[test]
fn a_stream_that_ends_after_a_goodbye_is_not_truncated() {
    let mut harness = Harness::new(&fast_config());
    harness.ignores_close = true;
    let link = harness.accept_from(1);
    harness.send_goodbye(link);
    harness.handle(Event::Finished { link });
    assert_eq!(harness.close_reason(link), Some(CloseReason::Goodbye(Farewell::Idle)));
    assert_eq!(harness.tower.stats().links_broken, 0);
}

#[test]
fn a_violation_after_the_goodbye_of_the_tower_sends_no_second_goodbye() {
    let (mut harness, link, _) = Harness::with_unconfirmed_message(&fast_config(), "in doubt");
    harness.tower.shutdown(harness.now);
    harness.advance(fast_config().timeouts.shutdown - Duration::from_secs(1));
    assert_eq!(harness.take_frames(link), [SentFrame::Goodbye(Farewell::Leaving)]);
    harness.confirm(link, 999);
    let reason = CloseReason::Protocol(ProtocolError::UnknownTransfer);
    assert_eq!(harness.close_reason(link), Some(reason));
    assert_eq!(harness.take_frames(link), []);
}
