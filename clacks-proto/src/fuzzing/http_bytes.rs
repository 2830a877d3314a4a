//! Any bytes as requests, as responses and as a payload.

use alloc::vec::Vec;

use super::http_tower;
use super::wire_decode::cut;
use crate::http::{
    BadResponse, MAX_HEAD, Payload, RequestEvent, RequestReader, Response, ResponseReader,
    write_payload,
};
use crate::wire::arbitrary::Supply;

/// The longest body that is kept; many inputs have longer ones.
const MAX_BODY: usize = 256;

/// Readers never panic, never hold more than their limit, and hear the same in every chunking; a payload that was read and is written again
/// is read as the same. A tower that gets the pieces survives them.
///
/// The input is a number of sizes (0 to 7), the sizes of the pieces (a byte each), a number of things that happen to the tower between them (0 to 7), these
/// things (a byte each), and the bytes to be cut and read.
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
        survives(&payload);
    }
}

/// What is heard, but for the words that somebody waits for: who has sent the body already waits for none.
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
        assert!(reader.capacity() <= most(arrived).min(MAX_HEAD + 2 * MAX_BODY));
    }
    all.retain(|event| *event != RequestEvent::ContinueExpected);
    all
}

/// The most memory for so many bytes: what grows is doubled, and begins with a few.
fn most(arrived: usize) -> usize {
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
                Ok(None) => break assert!(rest.is_empty(), "input was left without a reason"),
                Err(error) => return (all, Err(error)),
            }
        }
        arrived += piece.len();
        assert!(reader.capacity() <= most(arrived).min(MAX_HEAD));
    }
    (all, Ok(reader.status()))
}

fn survives(payload: &Payload) {
    let (Some(message), Some(sender)) = (&payload.message, &payload.sender) else { return };
    let parts = Some((message.kind(), &message.body()[..]));
    let written = write_payload(parts, sender, payload.friend.as_ref());
    let mut again = Payload::parse(&written).expect("what is written is read");
    if again.friend.is_none() {
        // There may have been no room for it.
        again.friend.clone_from(&payload.friend);
    }
    assert_eq!(again, *payload);
}
