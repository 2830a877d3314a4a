//! Misbehaviour: what no tower says closes the link with a reason, and nothing is lost by it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use clacks_proto::wire::{Farewell, Frame, FrameKind, RefusedReason, WireError};
use clacks_proto::{CloseMode, CloseReason, Event, ProtocolError, Status};
use common::quick;
use common::raw::{Raw, Said, encode, hello, message};

/// Says something wrong on an open link to the tower number 1 with one message unconfirmed, and
/// checks what becomes of it.
fn misbehave(bytes: &[u8], why: CloseReason) {
    let (mut raw, link, _) = Raw::handed(&quick(), "in doubt");
    raw.bytes(link, bytes);
    assert_eq!(raw.closed.get(&link), Some(&(CloseMode::Flush, why)));
    assert_eq!(raw.heard(link), [Said::Goodbye(Farewell::Misbehaved)]);
    assert_eq!(raw.tower.stats().links_misbehaved, 1);
    assert_eq!(raw.texts(), ["in doubt"]);
    assert_eq!(raw.status(1), Some(Status::Lost));
    assert_eq!(raw.dialled.len(), 1, "whether it took the message is still to be asked");
}

#[test]
fn a_second_hello_is_a_violation() {
    let again = encode(&Frame::Hello(hello(None)));
    misbehave(&again, CloseReason::Protocol(ProtocolError::HelloTwice));
}

#[test]
fn an_answer_to_something_that_was_not_sent_is_a_violation() {
    let why = CloseReason::Protocol(ProtocolError::UnknownTransfer);
    misbehave(&encode(&Frame::Confirmed { through: 999 }), why);
    misbehave(&encode(&Frame::Refused { transfer: 999, reason: RefusedReason::Busy }), why);
}

#[test]
fn an_answer_given_twice_is_a_violation() {
    let (mut raw, link, transfer) = Raw::handed(&quick(), "once");
    raw.confirm(link, transfer);
    assert_eq!(raw.close_reason(link), None);
    raw.confirm(link, transfer);
    let why = CloseReason::Protocol(ProtocolError::UnknownTransfer);
    assert_eq!(raw.close_reason(link), Some(why));
    assert_eq!(raw.tower.stats().delivered, 1);
    // A caller to whom nothing was ever handed has nothing to answer, whoever it is.
    let link = raw.call();
    raw.greet(link, None);
    raw.confirm(link, transfer);
    assert_eq!(raw.close_reason(link), Some(why));
}

#[test]
fn garbage_is_a_violation() {
    misbehave(b"GET / HTTP/1.1\r\n\r\n", CloseReason::Wire(WireError::Kind(b'G')));
    misbehave(&[0xC4, 0, 0, 0, 9], {
        CloseReason::Wire(WireError::Length { kind: FrameKind::Confirmed, len: 9 })
    });
}

#[test]
fn a_frame_before_the_hello_is_a_violation() {
    for frame in [Frame::Message(message(1, "x")), Frame::Confirmed { through: 1 }] {
        let mut raw = Raw::new(&quick());
        let link = raw.call();
        raw.say(link, &frame);
        let why = CloseReason::Wire(WireError::BeforeHello(frame.kind()));
        assert_eq!(raw.close_reason(link), Some(why));
        assert_eq!(raw.tower.stats().links_misbehaved, 1);
        assert_eq!(raw.tower.queue_usage().messages, 0);
    }
}

#[test]
fn what_follows_a_violation_is_not_taken() {
    let mut raw = Raw::new(&quick());
    let link = raw.call_as(1);
    let mut bytes = encode(&Frame::Message(message(1, "before")));
    bytes.extend(encode(&Frame::Hello(hello(None))));
    bytes.extend(encode(&Frame::Message(message(2, "after"))));
    raw.bytes(link, &bytes);
    assert_eq!(raw.texts(), ["before"]);
    let heard = raw.heard(link);
    assert_eq!(heard[1..], [Said::Confirmed(1), Said::Goodbye(Farewell::Misbehaved)]);
}

#[test]
fn a_stream_that_ends_without_a_goodbye_is_truncated() {
    let frame = encode(&Frame::Message(message(1, "never whole")));
    for bytes in [&frame[..frame.len() - 1], &frame[..3], &[][..]] {
        let (mut raw, link, _) = Raw::handed(&quick(), "in doubt");
        raw.bytes(link, bytes);
        raw.tell(Event::Finished { link });
        assert_eq!(raw.closed.get(&link), Some(&(CloseMode::Flush, CloseReason::Truncated)));
        assert_eq!(raw.tower.stats().links_broken, 1);
        assert_eq!(raw.texts(), ["in doubt"]);
        assert_eq!(raw.tower.stats().in_doubt, 1);
    }
}

#[test]
fn a_stream_that_ends_after_a_goodbye_is_not_truncated() {
    let mut raw = Raw::new(&quick());
    raw.never_closes = true;
    let link = raw.call_as(1);
    raw.leave(link);
    raw.tell(Event::Finished { link });
    assert_eq!(raw.close_reason(link), Some(CloseReason::Goodbye(Farewell::Idle)));
    assert_eq!(raw.tower.stats().links_broken, 0);
}

#[test]
fn a_goodbye_is_the_last_frame_even_when_a_violation_follows_it() {
    let (mut raw, link, _) = Raw::handed(&quick(), "in doubt");
    raw.tower.shutdown(raw.now);
    raw.run(quick().timeouts.shutdown);
    assert_eq!(raw.heard(link), [Said::Goodbye(Farewell::Leaving)]);
    raw.confirm(link, 999);
    let why = CloseReason::Protocol(ProtocolError::UnknownTransfer);
    assert_eq!(raw.close_reason(link), Some(why));
    assert_eq!(raw.heard(link), []);
}
