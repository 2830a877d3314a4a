//! Arbitrary bytes as requests, as responses and as a payload.

use alloc::vec::Vec;

use super::http_tower;
use super::wire_decode::cut;
use crate::http::{
    BadResponse, MAX_HEAD, Payload, RequestEvent, RequestReader, Response, ResponseReader,
    write_payload,
};
use crate::wire::arbitrary::Supply;

/// The longest body that is kept. Many inputs have longer ones.
const MAX_BODY: usize = 256;

/// Checks that the readers return the same for every chunking of arbitrary bytes, and never hold
/// more than their limit; that a payload survives being written and read again; and that a
/// tower survives the bytes.
///
/// The input is a number of sizes (0 to 7), the sizes of the pieces (a byte each), a number of
/// choices (0 to 7), the choices of what happens to the tower between the pieces (a byte each), and
/// the bytes.
pub fn http_bytes(input: &[u8]) {
    let mut supply = Supply(input);
    let mut sizes: Vec<usize> = (0..supply.below(8)).map(|_| supply.byte().into()).collect();
    sizes.push(1);
    let choices: Vec<u8> = (0..supply.below(8)).map(|_| supply.byte()).collect();
    let bytes = supply.0;
    assert_eq!(requests(&cut(bytes, &sizes)), requests(&[bytes]));
    assert_eq!(responses(&cut(bytes, &sizes)), responses(&[bytes]));
    http_tower::survive(&cut(bytes, &sizes), &choices);
    if let Some(payload) = Payload::parse(bytes) {
        check_roundtrip(&payload);
    }
}

/// Returns the events of a request reader, except `ContinueExpected`: a client that has sent the
/// body does not wait for it.
fn requests(pieces: &[&[u8]]) -> Vec<RequestEvent> {
    let mut reader = RequestReader::new(MAX_BODY);
    let (mut all, mut arrived) = (Vec::new(), 0);
    for piece in pieces {
        let mut rest = *piece;
        while let Some(event) = reader.read(&mut rest) {
            all.push(event);
        }
        assert!(rest.is_empty() && reader.buffered() <= MAX_HEAD + MAX_BODY);
        arrived += piece.len();
        assert!(reader.capacity() <= max_capacity(arrived).min(MAX_HEAD + 2 * MAX_BODY));
    }
    all.retain(|event| *event != RequestEvent::ContinueExpected);
    all
}

/// Returns the most memory for so many bytes: buffers double, and begin with a few bytes.
fn max_capacity(arrived: usize) -> usize {
    2 * arrived.max(4)
}

fn responses(pieces: &[&[u8]]) -> (Vec<Response>, Result<Option<u16>, BadResponse>) {
    let mut reader = ResponseReader::default();
    let (mut all, mut arrived) = (Vec::new(), 0);
    for piece in pieces {
        let mut rest = *piece;
        loop {
            match reader.read(&mut rest) {
                Ok(Some(response)) => all.push(response),
                Ok(None) => break assert!(rest.is_empty(), "input is left over"),
                Err(error) => return (all, Err(error)),
            }
        }
        arrived += piece.len();
        assert!(reader.capacity() <= max_capacity(arrived).min(MAX_HEAD));
    }
    (all, Ok(reader.status()))
}

fn check_roundtrip(payload: &Payload) {
    let (Some(message), Some(sender)) = (&payload.message, &payload.sender) else { return };
    let parts = Some((message.kind(), message.body()));
    let written = write_payload(parts, sender, payload.friend.as_ref());
    let mut again = Payload::parse(&written).expect("a payload is read again");
    if again.friend.is_none() {
        // There may have been no room for the friend.
        again.friend.clone_from(&payload.friend);
    }
    assert_eq!(again, *payload);
}
