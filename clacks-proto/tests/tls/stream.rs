//! Bytes on an established link: cut anywhere, closed in every way, and altered.

use std::io::Write;

use bytes::BufMut;
use clacks_proto::tls::Identity;
use clacks_proto::wire::Farewell;
use clacks_proto::{
    Action, CloseMode, CloseReason, Event, Instant, Message, StateMachine, TlsFailure,
};
use rustls::ClientConnection;

use crate::stranger::{Host, client, talk};
use crate::world::{ALICE, BOB, World};

/// The content types and lengths of the records in a stream of whole ones.
fn records(mut stream: &[u8]) -> Vec<(u8, usize)> {
    let mut records = Vec::new();
    while let [kind, _, _, high, low, rest @ ..] = stream {
        let len = usize::from(*high) << 8 | usize::from(*low);
        records.push((*kind, len));
        stream = rest.get(len..).expect("a whole record");
    }
    assert!(stream.is_empty(), "half a record");
    records
}

/// Whether the ciphertext of a side ends with an alert, as its length tells: two bytes, their type
/// and the tag.
fn ends_with_alert(stream: &[u8]) -> bool {
    records(stream).last() == Some(&(0x17, 2 + 1 + 16))
}

fn exchange(chunk: usize, buffer: usize) {
    let mut world = World::open();
    (world.chunk, world.buffer) = (chunk, buffer);
    world.meet();
    let body: Vec<u8> = (0..20_000u32).flat_map(u32::to_be_bytes).collect();
    world.enqueue(ALICE, &Message::bytes(&body));
    for number in 0..20 {
        world.enqueue(ALICE, &Message::text(&format!("number {number}")));
    }
    world.settle();
    assert_eq!(world.held(BOB), 22, "chunk {chunk}, buffer {buffer}");
    let mut messages = world.towers[BOB].tower().peek();
    assert!(messages.any(|held| held.message.body()[..] == body[..]), "the body was altered");
    drop(messages);
    world.towers[ALICE].tower_mut().shutdown(world.now);
    world.settle();
    assert_eq!(world.closed(ALICE), [CloseReason::Shutdown]);
    assert_eq!(world.closed(BOB), [CloseReason::Goodbye(Farewell::Leaving)]);
}

#[test]
fn bytes_may_come_one_by_one() {
    exchange(1, 64 * 1024);
}

#[test]
fn bytes_may_leave_one_by_one() {
    exchange(usize::MAX, 1);
}

#[test]
fn bytes_may_come_and_leave_in_pieces_of_every_size() {
    for size in 2..64 {
        exchange(size, 65 - size);
    }
}

#[test]
fn a_clean_close_is_announced_in_tls_by_both_sides() {
    let mut world = World::open();
    world.meet();
    world.towers[ALICE].tower_mut().shutdown(world.now);
    world.settle();
    assert_eq!(world.closed(ALICE), [CloseReason::Shutdown]);
    assert_eq!(world.closed(BOB), [CloseReason::Goodbye(Farewell::Leaving)]);
    assert!(ends_with_alert(&world.sent[ALICE]));
    assert!(ends_with_alert(&world.sent[BOB]));
    assert!(world.towers.iter().all(|tower| tower.tower().stats().links_broken == 0));
}

/// A tower to which a client has completed the handshake.
fn established() -> (ClientConnection, Host) {
    let identity = Identity::generate().unwrap();
    let (mut client, mut host) = (client(&[b"clacks/1"], Some(&identity)), Host::new());
    talk(&mut client, &mut host).unwrap();
    assert_eq!(host.closed, None);
    (client, host)
}

#[test]
fn the_end_said_in_tls_is_the_end_even_while_the_connection_stands() {
    let (mut client, mut host) = established();
    client.send_close_notify();
    talk(&mut client, &mut host).unwrap();
    assert_eq!(host.closed, Some(CloseReason::Truncated), "no goodbye came before it");
    assert!(client.process_new_packets().unwrap().peer_has_closed(), "no answer came");
    let (link, stats) = (host.link, *host.tower.tower().stats());
    host.tower.handle(Event::Finished { link }, Instant::ORIGIN);
    assert_eq!(*host.tower.tower().stats(), stats, "it ended twice");
}

#[test]
fn nothing_is_taken_in_after_our_own_end() {
    let (mut client, mut host) = established();
    client.writer().write_all(b"no frame").unwrap();
    talk(&mut client, &mut host).unwrap();
    assert!(matches!(host.closed, Some(CloseReason::Wire(_))), "{:?}", host.closed);
    assert!(client.process_new_packets().unwrap().peer_has_closed());
    let stats = *host.tower.tower().stats();
    host.hear(b"\x17\x03\x03\x00\x20 a record that nobody encrypted...");
    assert_eq!(*host.tower.tower().stats(), stats);
    assert!(host.said.is_empty(), "an alert after the end: {:?}", host.said);
}

#[test]
fn a_tower_that_has_been_told_the_end_still_answers() {
    let mut world = World::open();
    world.meet();
    let len = world.sent[BOB].len();
    // Alice falls silent for good; Bob hears her goodbye, her end in TLS and the end of the
    // connection before he acts.
    world.towers[ALICE].tower_mut().shutdown(world.now);
    world.settle();
    let answer = records(&world.sent[BOB][len..]);
    assert_eq!(answer.len(), 2, "a goodbye and an alert: {answer:?}");
}

#[test]
fn the_end_of_a_connection_without_a_goodbye_is_a_truncation() {
    let mut world = World::open();
    world.meet();
    world.cut(0);
    world.settle();
    for side in [ALICE, BOB] {
        assert_eq!(world.closed(side), [CloseReason::Truncated]);
        assert_eq!(world.towers[side].tower().stats().links_broken, 1);
    }
}

#[test]
fn a_stream_cut_at_any_byte_is_a_truncation_and_loses_nothing() {
    let mut world = World::open();
    world.meet();
    let before = world.sent[ALICE].len();
    world.enqueue(ALICE, &Message::text("a message"));
    world.settle();
    let len = world.sent[ALICE].len() - before;

    for keep in 0..len {
        let mut world = World::open();
        world.meet();
        let mut left = keep;
        world.tamper = Some(Box::new(move |side, bytes| {
            if side == ALICE {
                bytes.truncate(left);
                left -= bytes.len();
            }
        }));
        world.enqueue(ALICE, &Message::text("a message"));
        world.settle();
        assert_eq!(world.held(BOB), 1, "half a message was taken");
        world.tamper = None;
        world.cut(0);
        world.settle();
        assert_eq!(world.closed(BOB).first(), Some(&CloseReason::Truncated));
        assert_eq!((world.held(ALICE), world.held(BOB)), (0, 2), "it was lost or not sent again");
    }
}

#[test]
fn a_flipped_bit_closes_the_link_and_nothing_is_accepted() {
    let mut world = World::open();
    world.meet();
    let before = world.sent[ALICE].len();
    world.enqueue(ALICE, &Message::text("a message"));
    world.settle();
    let len = world.sent[ALICE].len() - before;

    // Every byte but the head of the record: its type and version mean nothing, and a longer length
    // makes the receiver wait for the rest.
    for position in 5..len {
        let mut world = World::open();
        world.meet();
        let mut has_flipped = false;
        world.tamper = Some(Box::new(move |side, bytes| {
            if side == ALICE && !has_flipped {
                bytes[position] ^= 1;
                has_flipped = true;
            }
        }));
        world.enqueue(ALICE, &Message::text("a message"));
        world.settle();
        let refused = CloseReason::Tls(TlsFailure::Other);
        assert_eq!(world.closed(BOB), [refused], "byte {position}");
        let bad_record_mac = CloseReason::Tls(TlsFailure::Alert(20));
        assert_eq!(world.closed(ALICE), [bad_record_mac], "byte {position}");
        // The message came again, on a second link that nobody altered: nothing of it was known
        // from the first.
        assert_eq!(world.held(BOB), 2);
        let stats = world.towers[BOB].tower().stats();
        assert_eq!((stats.received, stats.coalesced, stats.recognised_retries), (2, 0, 0));
    }
}

#[test]
fn bytes_that_are_not_tls_are_called_that() {
    let garbage: Vec<u8> = (0..=255u8).map(|n| n.wrapping_mul(7).wrapping_add(200)).collect();
    for bytes in [
        b"GET / HTTP/1.1\r\nHost: bob.example\r\n\r\n".as_slice(),
        b"SSH-2.0-OpenSSH_9.7\r\n",
        b"\xC1\x00\x00\x00\x1e\x01 a native hello in clear text",
        b"\x16\x03\x01\x00\x05hello",
        b"\x17\x03\x03\x00\x05hello",
        &garbage,
        &[0; 64],
    ] {
        for chunk in [1, bytes.len()] {
            let mut host = Host::new();
            for piece in bytes.chunks(chunk) {
                host.hear(piece);
            }
            let not_tls = Some(CloseReason::Tls(TlsFailure::NotTls));
            assert_eq!(host.closed, not_tls, "{}", bytes.escape_ascii());
            assert_eq!(host.tower.tower().stats().links_misbehaved, 1);
        }
    }
}

#[test]
fn a_dialled_address_that_does_not_speak_tls_is_called_that() {
    let mut world = World::open();
    world.tamper = Some(Box::new(|side, bytes| {
        if side == BOB {
            *bytes = b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec();
        }
    }));
    world.expand(ALICE);
    world.enqueue(ALICE, &Message::text("hello?"));
    world.settle();
    assert_eq!(world.closed(ALICE).first(), Some(&CloseReason::Tls(TlsFailure::NotTls)));
    assert_eq!(world.held(ALICE), 1);
}

#[test]
fn many_small_frames_share_few_records() {
    let mut world = World::open();
    world.meet();
    let before = world.sent[ALICE].len();
    for number in 0..1000u32 {
        let mut body = [0; 64];
        body[..4].copy_from_slice(&number.to_be_bytes());
        world.enqueue(ALICE, &Message::bytes(&body));
    }
    world.settle();
    assert_eq!(world.held(BOB), 1001);
    let records = records(&world.sent[ALICE][before..]);
    let bytes: usize = records.iter().map(|(_, len)| len).sum();
    let fewest = bytes.div_ceil(16 * 1024);
    // Each buffer of the driver's (64 KiB) may end with a record that is not full.
    let buffers = bytes.div_ceil(world.buffer);
    assert!(records.len() <= fewest + buffers, "{records:?}");
    assert!(records.iter().all(|(kind, _)| *kind == 0x17));
}

#[test]
fn a_buffer_ends_with_a_whole_record_that_fills_it() {
    let mut world = World::open();
    world.meet();
    let link = world.connections[0].ends[ALICE].link;
    world.enqueue(ALICE, &Message::bytes(&[7; 1024 * 1024]));
    for _ in 0..10 {
        let mut buffer = Vec::new().limit(64 * 1024);
        assert_eq!(world.towers[ALICE].transmit(link, &mut buffer), 64 * 1024);
        assert_eq!(records(buffer.get_ref()).len(), 4);
    }
}

#[test]
fn events_of_a_link_that_has_ended_are_counted_and_change_nothing() {
    let mut world = World::open();
    world.meet();
    let link = world.connections[0].ends[BOB].link;
    world.cut(0);
    world.settle();
    let bob = &mut world.towers[BOB];
    let before = bob.tower().stats().stale_events;
    bob.handle(Event::BytesArrived { link, bytes: b"late" }, world.now);
    bob.handle(Event::Finished { link }, world.now);
    bob.handle(Event::Closed { link }, world.now);
    assert_eq!(bob.tower().stats().stale_events, before + 3);
    assert_eq!(bob.transmit(link, &mut Vec::new()), 0);
    assert_eq!(world.held(BOB), 1);
    world.enqueue(ALICE, &Message::text("second"));
    world.settle();
    assert_eq!(world.held(BOB), 2);
}

#[test]
fn nothing_is_sent_on_a_link_that_was_aborted() {
    let mut host = Host::new();
    let deadline = host.tower.next_wakeup().unwrap().at;
    host.tower.handle(Event::TimerFired, deadline);
    let mut how = None;
    while let Some(action) = host.tower.poll_action() {
        if let Action::Close { how: mode, reason, .. } = action {
            assert_eq!(reason, CloseReason::HandshakeTimeout);
            how = Some(mode);
        }
    }
    assert_eq!(how, Some(CloseMode::Abort));
    host.tower.handle(Event::BytesArrived { link: host.link, bytes: b"late" }, deadline);
    assert_eq!(host.tower.transmit(host.link, &mut Vec::new()), 0);
    assert_eq!(host.tower.tower().stats().stale_events, 0);
}
