//! Arbitrary bytes for the decoder of frames, cut in any way.

use alloc::vec::Vec;

use crate::wire::arbitrary::Supply;
use crate::wire::{Decoder, Frame, MAX_HEAD, WireError};

/// The longest body that is decoded, in bytes. The generators make shorter ones.
pub(crate) const MAX_GENERATED: usize = 4096;
/// The longest datagram that is decoded, in bytes. The generators make shorter ones.
pub(crate) const LONG_DATAGRAM: u32 = 4096;
/// A limit that many bodies exceed, in bytes.
const SHORT_BODY: usize = 16;

/// Checks that a decoder never panics, never holds more than its limit, and returns the same frames
/// for every chunking. Checks that a decoded frame is encoded to the bytes that it was decoded
/// from.
///
/// The input is a number of sizes (0 to 7), the sizes of the pieces (a byte each), and the bytes to
/// be cut and decoded.
pub fn wire_decode(input: &[u8]) {
    let mut supply = Supply(input);
    let sizes: Vec<usize> = (0..supply.below(8)).map(|_| supply.byte().into()).collect();
    bytes_survive(supply.0, &sizes);
    bytes_survive(supply.0, &[1]);
}

/// Checks that decoded frames are encoded to the same bytes, and that the chunking changes nothing.
pub(crate) fn bytes_survive(bytes: &[u8], sizes: &[usize]) {
    let decoder = Decoder::new(MAX_GENERATED).accept_datagrams(LONG_DATAGRAM);
    let short = Decoder::new(SHORT_BODY).accept_datagrams(1);
    for decoder in [decoder.clone(), decoder.expect_hello(), short] {
        let whole = reencode(decoder.clone(), &[bytes]);
        assert!(bytes.starts_with(&whole.0), "a second encoding of one frame was decoded");
        assert_eq!(reencode(decoder, &cut(bytes, sizes)), whole);
    }
}

/// Cuts `bytes` into pieces. The sizes repeat.
pub(crate) fn cut<'a>(bytes: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    let mut rest = bytes;
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, after) = rest.split_at((*size).clamp(1, rest.len()));
        pieces.push(piece);
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(rest);
    }
    pieces
}

/// Decodes the pieces and encodes each frame. Returns the bytes, the number of frames, and the
/// result.
pub(crate) fn reencode(
    mut decoder: Decoder,
    pieces: &[&[u8]],
) -> (Vec<u8>, usize, Result<(), WireError>) {
    let (mut written, mut frames) = (Vec::new(), 0);
    let max_body = decoder.max_body();
    let arrived: usize = pieces.iter().map(|piece| piece.len()).sum();
    for piece in pieces {
        let mut input = *piece;
        loop {
            match decoder.decode(&mut input) {
                Ok(Some(frame)) => {
                    let before = written.len();
                    frame.encode(&mut written);
                    assert_eq!(written.len() - before, frame.encoded_len());
                    frames += 1;
                    if let Frame::Message(message) = &frame {
                        assert!(message.body.len() <= max_body, "a body longer than the limit");
                    }
                    assert!(written.len() <= arrived, "a frame is longer than its bytes");
                }
                Ok(None) => break assert!(input.is_empty(), "input is left over"),
                Err(error) => {
                    let left = input;
                    assert_eq!(decoder.decode(&mut input), Err(error), "the error is gone");
                    assert_eq!(input, left, "a failed decoder takes bytes");
                    return (written, frames, Err(error));
                }
            }
        }
        assert_eq!(decoder.is_mid_frame(), decoder.buffered() > 0);
        assert!(decoder.buffered() <= decoder.capacity());
        assert!(decoder.capacity() <= MAX_HEAD + max_body, "{}", decoder.capacity());
    }
    (written, frames, Ok(()))
}
