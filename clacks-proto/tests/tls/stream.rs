//! The byte stream of an established link: chunk sizes, ways to close, and altered bytes.

use std::io::Write;

use bytes::BufMut;
use clacks_proto::tls::Identity;
use clacks_proto::wire::Farewell;
use clacks_proto::{
    Action, CloseMode, CloseReason, Event, Instant, Message, StateMachine, TlsFailure,
};
use rustls::ClientConnection;

use crate::pair::{ALICE, BOB, Pair};
use crate::rustls_client::{Harness, client, drive};

/// Returns the content type and the length of each record in a stream of complete records.
fn records(mut stream: &[u8]) -> Vec<(u8, usize)> {
    let mut records = Vec::new();
    while let [kind, _, _, high, low, rest @ ..] = stream {
        let len = usize::from(*high) << 8 | usize::from(*low);
        records.push((*kind, len));
        stream = rest.get(len..).expect("the record is complete");
    }
    assert!(stream.is_empty(), "the last record is complete");
    records
}

/// Returns whether a ciphertext ends with an alert. The record of an alert holds two bytes, their
/// type and the tag.
fn ends_with_alert(stream: &[u8]) -> bool {
    records(stream).last() == Some(&(0x17, 2 + 1 + 16))
}

fn check_exchange(chunk_size: usize, transmit_limit: usize) {
    let mut pair = Pair::open();
    (pair.chunk_size, pair.transmit_limit) = (chunk_size, transmit_limit);
    pair.establish_link();
    let body: Vec<u8> = (0..20_000u32).flat_map(u32::to_be_bytes).collect();
    pair.enqueue(ALICE, &Message::bytes(&body));
    for number in 0..20 {
        pair.enqueue(ALICE, &Message::text(&format!("number {number}")));
    }
    pair.drive();
    assert_eq!(pair.queued(BOB), 22, "chunk size {chunk_size}, transmit limit {transmit_limit}");
    let mut messages = pair.towers[BOB].tower().peek();
    assert!(messages.any(|held| held.message.body()[..] == body[..]), "the body is unchanged");
    drop(messages);
    pair.towers[ALICE].tower_mut().shutdown(pair.now);
    pair.drive();
    assert_eq!(pair.close_reasons(ALICE), [CloseReason::Shutdown]);
    assert_eq!(pair.close_reasons(BOB), [CloseReason::Goodbye(Farewell::Leaving)]);
}

#[test]
fn bytes_may_arrive_one_by_one() {
    check_exchange(1, 64 * 1024);
}

#[test]
fn bytes_may_be_transmitted_one_by_one() {
    check_exchange(usize::MAX, 1);
}

#[test]
fn bytes_may_arrive_and_be_transmitted_in_chunks_of_every_size() {
    for size in 2..64 {
        check_exchange(size, 65 - size);
    }
}

#[test]
fn both_sides_end_a_clean_close_with_an_alert() {
    let mut pair = Pair::open();
    pair.establish_link();
    pair.towers[ALICE].tower_mut().shutdown(pair.now);
    pair.drive();
    assert_eq!(pair.close_reasons(ALICE), [CloseReason::Shutdown]);
    assert_eq!(pair.close_reasons(BOB), [CloseReason::Goodbye(Farewell::Leaving)]);
    assert!(ends_with_alert(&pair.sent[ALICE]));
    assert!(ends_with_alert(&pair.sent[BOB]));
    assert!(pair.towers.iter().all(|tower| tower.tower().stats().links_broken == 0));
}

/// Returns a client and a tower that have completed the handshake.
fn established() -> (ClientConnection, Harness) {
    let identity = Identity::generate().unwrap();
    let (mut client, mut harness) = (client(&[b"clacks/2"], Some(&identity)), Harness::new());
    drive(&mut client, &mut harness).unwrap();
    assert_eq!(harness.closed, None);
    (client, harness)
}

#[test]
fn a_close_notify_ends_the_link_of_an_open_connection() {
    let (mut client, mut harness) = established();
    client.send_close_notify();
    drive(&mut client, &mut harness).unwrap();
    assert_eq!(harness.closed, Some(CloseReason::Truncated), "no goodbye preceded the alert");
    assert!(
        client.process_new_packets().unwrap().peer_has_closed(),
        "the tower answers with an alert"
    );
    let (link, stats) = (harness.link, *harness.tower.tower().stats());
    harness.tower.handle(Event::Finished { link }, Instant::ORIGIN);
    assert_eq!(*harness.tower.tower().stats(), stats, "the end of the connection changes nothing");
}

#[test]
fn bytes_after_the_tower_has_closed_a_link_are_ignored() {
    let (mut client, mut harness) = established();
    client.writer().write_all(b"no frame").unwrap();
    drive(&mut client, &mut harness).unwrap();
    assert!(matches!(harness.closed, Some(CloseReason::Wire(_))), "{:?}", harness.closed);
    assert!(client.process_new_packets().unwrap().peer_has_closed());
    let stats = *harness.tower.tower().stats();
    harness.receive(b"\x17\x03\x03\x00\x20 a record that is not encrypted...");
    assert_eq!(*harness.tower.tower().stats(), stats);
    assert!(harness.sent.is_empty(), "no alert follows the close: {:?}", harness.sent);
}

#[test]
fn a_tower_answers_a_goodbye_after_the_close_notify_of_its_peer() {
    let mut pair = Pair::open();
    pair.establish_link();
    let len = pair.sent[BOB].len();
    // Alice shuts down. Bob receives her goodbye and her alert before he transmits.
    pair.towers[ALICE].tower_mut().shutdown(pair.now);
    pair.drive();
    let answer = records(&pair.sent[BOB][len..]);
    assert_eq!(answer.len(), 2, "expected a goodbye and an alert: {answer:?}");
}

#[test]
fn a_connection_that_ends_without_a_goodbye_is_truncated() {
    let mut pair = Pair::open();
    pair.establish_link();
    pair.close_connection(0);
    pair.drive();
    for side in [ALICE, BOB] {
        assert_eq!(pair.close_reasons(side), [CloseReason::Truncated]);
        assert_eq!(pair.towers[side].tower().stats().links_broken, 1);
    }
}

#[test]
fn a_stream_truncated_at_any_byte_loses_no_message() {
    let mut pair = Pair::open();
    pair.establish_link();
    let before = pair.sent[ALICE].len();
    pair.enqueue(ALICE, &Message::text("a message"));
    pair.drive();
    let len = pair.sent[ALICE].len() - before;

    for offset in 0..len {
        let mut pair = Pair::open();
        pair.establish_link();
        let mut remaining = offset;
        pair.tamper = Some(Box::new(move |side, bytes| {
            if side == ALICE {
                bytes.truncate(remaining);
                remaining -= bytes.len();
            }
        }));
        pair.enqueue(ALICE, &Message::text("a message"));
        pair.drive();
        assert_eq!(pair.queued(BOB), 1, "an incomplete message is not accepted");
        pair.tamper = None;
        pair.close_connection(0);
        pair.drive();
        assert_eq!(pair.close_reasons(BOB).first(), Some(&CloseReason::Truncated));
        assert_eq!((pair.queued(ALICE), pair.queued(BOB)), (0, 2), "the message is sent again");
    }
}

#[test]
fn a_flipped_bit_closes_the_link_and_its_message_is_not_accepted() {
    let mut pair = Pair::open();
    pair.establish_link();
    let before = pair.sent[ALICE].len();
    pair.enqueue(ALICE, &Message::text("a message"));
    pair.drive();
    let len = pair.sent[ALICE].len() - before;

    // Flip a bit in every byte after the header of the record. The type and the version in the
    // header have no meaning, and a longer length makes the receiver wait for more bytes.
    for position in 5..len {
        let mut pair = Pair::open();
        pair.establish_link();
        let mut has_flipped = false;
        pair.tamper = Some(Box::new(move |side, bytes| {
            if side == ALICE && !has_flipped {
                bytes[position] ^= 1;
                has_flipped = true;
            }
        }));
        pair.enqueue(ALICE, &Message::text("a message"));
        pair.drive();
        let refused = CloseReason::Tls(TlsFailure::Other);
        assert_eq!(pair.close_reasons(BOB), [refused], "byte {position}");
        let bad_record_mac = CloseReason::Tls(TlsFailure::Alert(20));
        assert_eq!(pair.close_reasons(ALICE), [bad_record_mac], "byte {position}");
        // The message arrives unaltered on a second link. The first link has left no trace of it.
        assert_eq!(pair.queued(BOB), 2);
        let stats = pair.towers[BOB].tower().stats();
        assert_eq!((stats.received, stats.coalesced, stats.recognised_retries), (2, 0, 0));
    }
}

#[test]
fn inbound_bytes_that_are_not_tls_are_reported_as_such() {
    let random: Vec<u8> = (0..=255u8).map(|n| n.wrapping_mul(7).wrapping_add(200)).collect();
    for bytes in [
        b"GET / HTTP/1.1\r\nHost: bob.example\r\n\r\n".as_slice(),
        b"SSH-2.0-OpenSSH_9.7\r\n",
        b"\xC1\x00\x00\x00\x1e\x01 a native hello in clear text",
        b"\x16\x03\x01\x00\x05hello",
        b"\x17\x03\x03\x00\x05hello",
        &random,
        &[0; 64],
    ] {
        for chunk_size in [1, bytes.len()] {
            let mut harness = Harness::new();
            for part in bytes.chunks(chunk_size) {
                harness.receive(part);
            }
            let not_tls = Some(CloseReason::Tls(TlsFailure::NotTls));
            assert_eq!(harness.closed, not_tls, "{}", bytes.escape_ascii());
            assert_eq!(harness.tower.tower().stats().links_misbehaved, 1);
        }
    }
}

#[test]
fn a_dialled_peer_that_does_not_speak_tls_is_reported_as_such() {
    let mut pair = Pair::open();
    pair.tamper = Some(Box::new(|side, bytes| {
        if side == BOB {
            *bytes = b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec();
        }
    }));
    pair.expand(ALICE);
    pair.enqueue(ALICE, &Message::text("not delivered"));
    pair.drive();
    assert_eq!(pair.close_reasons(ALICE).first(), Some(&CloseReason::Tls(TlsFailure::NotTls)));
    assert_eq!(pair.queued(ALICE), 1);
}

#[test]
fn many_small_frames_share_few_records() {
    let mut pair = Pair::open();
    pair.establish_link();
    let before = pair.sent[ALICE].len();
    for number in 0..1000u32 {
        let mut body = [0; 64];
        body[..4].copy_from_slice(&number.to_be_bytes());
        pair.enqueue(ALICE, &Message::bytes(&body));
    }
    pair.drive();
    assert_eq!(pair.queued(BOB), 1001);
    let records = records(&pair.sent[ALICE][before..]);
    let bytes: usize = records.iter().map(|(_, len)| len).sum();
    let fewest = bytes.div_ceil(16 * 1024);
    // The last record in each send buffer (64 KiB) may be partly filled.
    let buffers = bytes.div_ceil(pair.transmit_limit);
    assert!(records.len() <= fewest + buffers, "{records:?}");
    assert!(records.iter().all(|(kind, _)| *kind == 0x17));
}

#[test]
fn a_full_send_buffer_holds_only_complete_records() {
    let mut pair = Pair::open();
    pair.establish_link();
    let link = pair.connections[0].endpoints[ALICE].link;
    pair.enqueue(ALICE, &Message::bytes(&[7; 1024 * 1024]));
    for _ in 0..10 {
        let mut buffer = Vec::new().limit(64 * 1024);
        assert_eq!(pair.towers[ALICE].transmit(link, &mut buffer), 64 * 1024);
        assert_eq!(records(buffer.get_ref()).len(), 4);
    }
}

#[test]
fn events_for_an_ended_link_are_counted_and_change_nothing() {
    let mut pair = Pair::open();
    pair.establish_link();
    let link = pair.connections[0].endpoints[BOB].link;
    pair.close_connection(0);
    pair.drive();
    let bob = &mut pair.towers[BOB];
    let before = bob.tower().stats().stale_events;
    bob.handle(Event::BytesArrived { link, bytes: b"late" }, pair.now);
    bob.handle(Event::Finished { link }, pair.now);
    bob.handle(Event::Closed { link }, pair.now);
    assert_eq!(bob.tower().stats().stale_events, before + 3);
    assert_eq!(bob.transmit(link, &mut Vec::new()), 0);
    assert_eq!(pair.queued(BOB), 1);
    pair.enqueue(ALICE, &Message::text("second"));
    pair.drive();
    assert_eq!(pair.queued(BOB), 2);
}

#[test]
fn an_aborted_link_transmits_nothing() {
    let mut harness = Harness::new();
    let deadline = harness.tower.next_wakeup().unwrap().at;
    harness.tower.handle(Event::TimerFired, deadline);
    let mut how = None;
    while let Some(action) = harness.tower.poll_action() {
        if let Action::Close { how: mode, reason, .. } = action {
            assert_eq!(reason, CloseReason::HandshakeTimeout);
            how = Some(mode);
        }
    }
    assert_eq!(how, Some(CloseMode::Abort));
    harness.tower.handle(Event::BytesArrived { link: harness.link, bytes: b"late" }, deadline);
    assert_eq!(harness.tower.transmit(harness.link, &mut Vec::new()), 0);
    assert_eq!(harness.tower.tower().stats().stale_events, 0);
}
