//! Encoding and decoding of frames, compared with a copy of the same bytes and with postcard.
//!
//! ```sh
//! cargo bench --manifest-path benches/Cargo.toml --bench wire
//! cargo bench --manifest-path benches/Cargo.toml --bench wire -- --quick
//! ```
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_types,
    clippy::cast_precision_loss,
    reason = "a benchmark has a clock, and panics on errors"
)]

mod common;

use std::hint::black_box;

use clacks_proto::wire::{Decoder, Frame, MessageFrame};
use clacks_proto::{Kind, Lifetime, Nonce};
use common::{Comparison, Target};
use criterion::Criterion;
use serde::{Deserialize, Serialize, Serializer};

fn main() {
    let mut criterion = common::criterion();
    for size in [64, 1024, 65_536] {
        encode(&mut criterion, size);
        decode(&mut criterion, size);
    }
    criterion.final_summary();
}

fn encode(criterion: &mut Criterion, size: usize) {
    let body = vec![b'x'; size];
    let frame = message(Kind::Bytes, &body);
    let whole = frame.encoded_len();
    let source = vec![b'x'; whole];
    let mut buffers: [Vec<u8>; 3] = [(); 3].map(|()| Vec::with_capacity(2 * whole));
    let [copied, encoded, packed] = &mut buffers;

    let mut comparison = Comparison::new(format!("wire/encode/{size}")).bytes(whole);
    comparison.row("copy (floor)", None, || {
        copied.clear();
        copied.extend_from_slice(black_box(&source));
        black_box(&*copied);
    });
    comparison.row("encode", Some(Target::TimesAnd(1.5, 30.0)), || {
        encoded.clear();
        black_box(&frame).encode(encoded);
        black_box(&*encoded);
    });
    packed.resize(2 * whole, 0);
    let other = Packed::of(&body);
    comparison.row("postcard", Some(Target::SlowerThan("encode")), || {
        black_box(postcard::to_slice(black_box(&other), packed).unwrap());
    });
    comparison.run(criterion);
}

fn decode(criterion: &mut Criterion, size: usize) {
    let body = vec![b'x'; size];
    let bytes = |kind| {
        let mut bytes = Vec::new();
        message(kind, &body).encode(&mut bytes);
        bytes
    };
    let (binary, text) = (bytes(Kind::Bytes), bytes(Kind::Text));
    let packed = postcard::to_stdvec(&Packed::of(&body)).unwrap();
    let mut copied = Vec::with_capacity(binary.len());
    let [mut decoder, mut text_decoder] = [(); 2].map(|()| Decoder::new(size));

    let mut comparison = Comparison::new(format!("wire/decode/{size}")).bytes(binary.len());
    comparison.row("copy", None, || {
        copied.clear();
        copied.extend_from_slice(black_box(&binary));
        black_box(&copied);
    });
    comparison.row("decode", Some(Target::Nanos(70.0)), || {
        let frame = decoder.decode(&mut black_box(&*binary)).unwrap();
        black_box(&frame);
    });
    comparison.row("decode text, with UTF-8 check", None, || {
        let frame = text_decoder.decode(&mut black_box(&*text)).unwrap();
        black_box(&frame);
    });
    comparison.row("postcard", Some(Target::SlowerThan("decode")), || {
        let frame: Packed<'_> = postcard::from_bytes(black_box(&packed)).unwrap();
        black_box(&frame);
    });
    comparison.run(criterion);
}

fn message(kind: Kind, body: &[u8]) -> Frame<'_> {
    Frame::Message(MessageFrame {
        transfer: 1_000_000,
        retry_of: None,
        lifetime: Lifetime::UNLIMITED,
        nonce: Nonce(u128::MAX / 3),
        kind,
        friend: Some("192.0.2.1:8001".parse().unwrap()),
        body,
    })
}

/// The fields of a message frame for postcard.
#[derive(Serialize, Deserialize)]
struct Packed<'a> {
    transfer: u64,
    attempt: u8,
    lifetime: u32,
    nonce: [u8; 16],
    kind: u8,
    friend: Option<([u8; 4], u16)>,
    #[serde(borrow, serialize_with = "as_bytes")]
    body: &'a [u8],
}

impl<'a> Packed<'a> {
    fn of(body: &'a [u8]) -> Self {
        let nonce = (u128::MAX / 3).to_be_bytes();
        let friend = Some(([192, 0, 2, 1], 8001));
        Self { transfer: 1_000_000, attempt: 0, lifetime: u32::MAX, nonce, kind: 0, friend, body }
    }
}

/// Serializes a slice as a whole. The default of serde serializes each byte.
fn as_bytes<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}
