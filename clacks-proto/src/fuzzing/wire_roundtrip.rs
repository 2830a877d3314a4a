//! Frames that are encoded and decoded.

use alloc::vec::Vec;

use super::wire_decode::{LONG_DATAGRAM, MAX_GENERATED, cut};
use crate::wire::Decoder;
use crate::wire::arbitrary::Supply;

/// Checks that every frame that can be built is decoded to an equal frame.
///
/// The input is a number of sizes (0 to 7), the sizes of the pieces (a byte each), and the choices
/// that make a frame.
pub fn wire_roundtrip(input: &[u8]) {
    let mut supply = Supply(input);
    let sizes: Vec<usize> = (0..supply.below(8)).map(|_| supply.byte().into()).collect();
    let rest = &supply.0[..supply.0.len().min(MAX_GENERATED)];
    a_frame_survives(rest, &[usize::MAX]);
    a_frame_survives(rest, &sizes);
}

/// Checks that an encoded frame, cut in any way, is decoded to an equal frame and leaves no bytes.
pub(crate) fn a_frame_survives(supply: &[u8], sizes: &[usize]) {
    let frame = Supply(supply).frame();
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    assert_eq!(bytes.len(), frame.encoded_len());
    let mut head = Vec::new();
    frame.encode_head(&mut head);
    assert!(bytes.starts_with(&head), "the frame does not begin with its head");
    let mut decoder = Decoder::new(MAX_GENERATED).accept_datagrams(LONG_DATAGRAM);
    let pieces = cut(&bytes, sizes);
    for (index, piece) in pieces.iter().enumerate() {
        let decoded = decoder.decode(&mut &**piece);
        assert_eq!(decoded, Ok((index + 1 == pieces.len()).then(|| frame.clone())));
    }
    assert!(!decoder.is_mid_frame());
}
