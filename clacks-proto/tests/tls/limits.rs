//! What a stranger can make a tower hold, and for how long.

use bytes::BufMut;
use clacks_proto::{CloseReason, Event, Message, StateMachine, TlsFailure};

use crate::pair::{ALICE, BOB, Pair};
use crate::rustls_client::{Harness, client, drive};

/// How many bytes a tower takes in before it gives up on who sends them; 1 MiB if it never does.
fn bytes_until_close(record: &[u8], chunk: usize) -> usize {
    let mut harness = Harness::new();
    let mut taken = 0;
    while harness.closed.is_none() && taken < 1024 * 1024 {
        for piece in record.chunks(chunk) {
            harness.receive(piece);
            taken += piece.len();
        }
    }
    taken
}

/// A record that holds a part of a handshake message.
fn handshake_record(body: &[u8]) -> Vec<u8> {
    let mut record = vec![0x16, 3, 1];
    record.put_u16(u16::try_from(body.len()).unwrap());
    record.extend(body);
    record
}

#[test]
fn a_handshake_without_end_is_cut_off() {
    // A client hello that says it is 60 000 bytes long; then more of it, and more.
    let mut first =
        handshake_record(&[1, 0, 60_000u16.to_be_bytes()[0], 60_000u16.to_be_bytes()[1]]);
    first.extend(handshake_record(&[0; 1000]));
    let mut harness = Harness::new();
    harness.receive(&first);
    assert_eq!(harness.closed, None, "a long hello is none too long to wait for");
    let more = handshake_record(&[0; 1000]);
    let mut taken = first.len();
    while harness.closed.is_none() {
        harness.receive(&more);
        taken += more.len();
        assert!(taken < 64 * 1024, "{taken} bytes and no end");
    }
    assert_eq!(harness.closed, Some(CloseReason::Tls(TlsFailure::Other)));
    assert!((32 * 1024..40 * 1024).contains(&taken), "{taken}");
    let counted = harness.tower.tower().stats().links_misbehaved;
    harness.receive(&more);
    assert_eq!(harness.tower.tower().stats().links_misbehaved, counted);
}

#[test]
fn fruitless_records_are_cut_off() {
    let change_cipher_spec = [0x14, 3, 3, 0, 1, 1];
    let empty_handshake = [0x16, 3, 3, 0, 0];
    let warning = [0x15, 3, 3, 0, 2, 1, 90];
    for record in [&change_cipher_spec[..], &empty_handshake, &warning] {
        for chunk in [1, 1000] {
            let taken = bytes_until_close(record, chunk);
            assert!(taken < 40 * 1024, "{taken} bytes of {record:?}");
        }
    }
}

#[test]
fn a_stranger_who_does_not_finish_is_dropped_when_the_time_for_the_handshake_is_over() {
    let mut harness = Harness::new();
    let mut client = client(&[b"clacks/1"], None);
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
fn a_peer_that_asks_for_new_keys_without_end_is_cut_off() {
    let identity = clacks_proto::tls::Identity::generate().unwrap();
    let (mut client, mut harness) = (client(&[b"clacks/1"], Some(&identity)), Harness::new());
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
fn no_more_than_one_record_is_taken_from_the_tower_before_it_can_leave() {
    let mut pair = Pair::open();
    pair.establish_link();
    let link = pair.connections[0].endpoints[ALICE].link;
    let body = vec![7; 1024 * 1024];
    pair.enqueue(ALICE, &Message::bytes(&body));
    let mut byte = Vec::new().limit(1);
    assert_eq!(pair.towers[ALICE].transmit(link, &mut byte), 1);
    // What the tower says now comes after what has left it: all but one record is still inside.
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
