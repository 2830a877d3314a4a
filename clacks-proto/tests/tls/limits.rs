//! Limits of the bytes that a peer may send before the handshake is complete, and of the time that
//! it may take.

use bytes::BufMut;
use clacks_proto::{CloseReason, Event, Message, StateMachine, TlsFailure};

use crate::pair::{ALICE, BOB, Pair};
use crate::rustls_client::{Harness, client, drive};

/// Sends a record again and again until the tower closes the link. Returns the number of bytes
/// sent, at most 1 MiB.
fn bytes_until_close(record: &[u8], chunk_size: usize) -> usize {
    let mut harness = Harness::new();
    let mut sent = 0;
    while harness.closed.is_none() && sent < 1024 * 1024 {
        for bytes in record.chunks(chunk_size) {
            harness.receive(bytes);
            sent += bytes.len();
        }
    }
    sent
}

/// Returns a TLS record with a part of a handshake message.
fn handshake_record(body: &[u8]) -> Vec<u8> {
    let mut record = vec![0x16, 3, 1];
    record.put_u16(u16::try_from(body.len()).unwrap());
    record.extend(body);
    record
}

#[test]
fn a_handshake_that_never_ends_is_closed() {
    // A client hello with a length of 60 000 bytes, followed by more and more of its bytes.
    let mut first =
        handshake_record(&[1, 0, 60_000u16.to_be_bytes()[0], 60_000u16.to_be_bytes()[1]]);
    first.extend(handshake_record(&[0; 1000]));
    let mut harness = Harness::new();
    harness.receive(&first);
    assert_eq!(harness.closed, None, "the tower waits for a long hello");
    let more = handshake_record(&[0; 1000]);
    let mut sent = first.len();
    while harness.closed.is_none() {
        harness.receive(&more);
        sent += more.len();
        assert!(sent < 64 * 1024, "the tower has accepted {sent} bytes");
    }
    assert_eq!(harness.closed, Some(CloseReason::Tls(TlsFailure::Other)));
    assert!((32 * 1024..40 * 1024).contains(&sent), "{sent}");
    let misbehaved = harness.tower.tower().stats().links_misbehaved;
    harness.receive(&more);
    assert_eq!(harness.tower.tower().stats().links_misbehaved, misbehaved);
}

#[test]
fn records_that_do_not_advance_the_handshake_close_the_link() {
    let change_cipher_spec = [0x14, 3, 3, 0, 1, 1];
    let empty_handshake = [0x16, 3, 3, 0, 0];
    let warning = [0x15, 3, 3, 0, 2, 1, 90];
    for record in [&change_cipher_spec[..], &empty_handshake, &warning] {
        for chunk_size in [1, 1000] {
            let sent = bytes_until_close(record, chunk_size);
            assert!(sent < 40 * 1024, "{sent} bytes of {record:?}");
        }
    }
}

#[test]
fn an_incomplete_handshake_is_closed_after_the_handshake_timeout() {
    let mut harness = Harness::new();
    let mut client = client(&[b"clacks/2"], None);
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    harness.receive(&hello[..hello.len() - 1]);
    let limit = harness.tower.tower().config().timeouts.handshake;
    let wakeup = harness.tower.next_wakeup().unwrap();
    assert_eq!(wakeup.at, clacks_proto::Instant::ORIGIN + limit);
    harness.tower.handle(Event::TimerFired, wakeup.at);
    harness.handle_actions();
    assert_eq!(harness.closed, Some(CloseReason::HandshakeTimeout));
    let link = harness.link;
    harness.tower.handle(Event::Closed { link }, wakeup.at);
    assert_eq!(harness.tower.tower().links().count(), 0);
}

#[test]
fn a_peer_that_requests_too_many_key_updates_is_closed() {
    let identity = clacks_proto::tls::Identity::generate().unwrap();
    let (mut client, mut harness) = (client(&[b"clacks/2"], Some(&identity)), Harness::new());
    drive(&mut client, &mut harness).unwrap();
    for _ in 0..1000 {
        client.refresh_traffic_keys().unwrap();
        if drive(&mut client, &mut harness).is_err() || harness.closed.is_some() {
            break;
        }
    }
    assert_eq!(harness.closed, Some(CloseReason::Tls(TlsFailure::Other)));
}

#[test]
fn a_long_message_starts_with_a_full_record() {
    let mut pair = Pair::open();
    pair.establish_link();
    let link = pair.connections[0].endpoints[ALICE].link;
    let body = vec![7; 1024 * 1024];
    pair.enqueue(ALICE, &Message::bytes(&body));
    let mut byte = Vec::new().limit(1);
    assert_eq!(pair.towers[ALICE].transmit(link, &mut byte), 1);
    // Read byte by byte until the first record is complete.
    let mut first = byte.into_inner();
    while pair.towers[ALICE].transmit(link, &mut (&mut first).limit(1)) > 0 {
        if first.len() == 16 * 1024 + 22 {
            break;
        }
    }
    assert_eq!(
        first.get(3..5).map(|len| u16::from_be_bytes([len[0], len[1]])),
        Some(16 * 1024 + 17)
    );
    assert_eq!(pair.queued(BOB), 1);
}
