//! Any bytes, in any chunking.

use alloc::vec::Vec;

use crate::wire::arbitrary::Supply;
use crate::wire::{Decoder, Frame, MAX_HEAD, WireError};

/// The longest body that is decoded; longer than any that the generators make.
pub(crate) const MAX_GENERATED: usize = 4096;
/// A body that is often longer than this.
const FEW: usize = 16;

/// A decoder never panics, never holds more than its limit, and gives the same frames for every
/// chunking; and what it gives is encoded to the bytes that it was decoded from.
///
/// The input is a number of sizes (0 to 7), the sizes of the pieces (a byte each), and the bytes to
/// be cut and decoded.
pub fn wire_decode(input: &[u8]) {
    let mut supply = Supply(input);
    let sizes: Vec<usize> = (0..supply.below(8)).map(|_| supply.byte().into()).collect();
    bytes_survive(supply.0, &sizes);
    bytes_survive(supply.0, &[1]);
}

/// Encoding what was decoded gives the bytes that it was decoded from, and cuts change nothing.
pub(crate) fn bytes_survive(bytes: &[u8], sizes: &[usize]) {
    let decoder = Decoder::new(MAX_GENERATED);
    for decoder in [decoder.clone(), decoder.expect_hello(), Decoder::new(FEW)] {
        let whole = reencode(decoder.clone(), &[bytes]);
        assert!(bytes.starts_with(&whole.0), "another encoding of the same value was taken");
        assert_eq!(reencode(decoder, &cut(bytes, sizes)), whole);
    }
}

/// Cuts `bytes` into pieces of the given sizes, over and over.
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

/// Everything that a decoder reads from the pieces, written again, with the number of frames, and
/// how it ended.
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
                    assert!(written.len() <= arrived, "a frame out of nothing");
                }
                Ok(None) => break assert!(input.is_empty(), "input was left without a reason"),
                Err(error) => {
                    let left = input;
                    assert_eq!(decoder.decode(&mut input), Err(error), "the error must stay");
                    assert_eq!(input, left, "a failed decoder must take nothing");
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
