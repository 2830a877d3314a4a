//! Property tests over arbitrary frames, arbitrary bytes and arbitrary chunkings.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::num::NonZeroU64;
use core::ops::Range;
use proptest::prelude::*;

use super::arbitrary::{Supply, longest_name};
use super::*;
use crate::fuzzing::{MAX_GENERATED, a_frame_survives, bytes_survive, cut, reencode};

fn supply() -> impl Strategy<Value = Vec<u8>> {
    let choices = prop::collection::vec(any::<u8>(), 0..80);
    let body = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        prop::collection::vec(any::<u8>(), 0..MAX_GENERATED - 80),
        ".{0,100}".prop_map(String::into_bytes),
    ];
    (choices, body).prop_map(|(choices, body)| [choices, body].concat())
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![1..8usize, 1..600usize], 1..6)
}

proptest! {
    #[test]
    #[cfg_attr(miri, ignore = "draws many cases")]
    fn a_frame_round_trips_in_any_chunking(supply in supply(), sizes in sizes()) {
        a_frame_survives(&supply, &sizes);
    }

    #[test]
    #[cfg_attr(miri, ignore = "draws many cases")]
    fn arbitrary_bytes_decode_alike_in_any_chunking(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        sizes in sizes(),
    ) {
        bytes_survive(&bytes, &sizes);
    }

    /// Slightly altered frames reach code that random bytes never reach.
    #[test]
    #[cfg_attr(miri, ignore = "draws many cases")]
    fn altered_frames_decode_alike_in_any_chunking(
        supplies in prop::collection::vec(supply(), 1..4),
        alterations in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        sizes in sizes(),
    ) {
        let mut bytes = Vec::new();
        for supply in &supplies {
            Supply(supply).frame().encode(&mut bytes);
        }
        for (index, byte) in alterations {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        bytes_survive(&bytes, &sizes);
    }
}

/// Returns the bytes of one frame of each kind and of a long message, and the number of frames.
fn stream() -> (Vec<u8>, usize) {
    let mut bytes = Vec::new();
    let body = "The overhead is where it lives. ".repeat(100);
    let frames = [
        Frame::Hello(Hello {
            version: VERSION,
            incarnation: 1,
            link: 2,
            max_message: 1 << 16,
            window: Window { messages: 1, bytes: 1 },
            datagram: 9,
            network: "",
            address: Some(longest_name()),
            rest: &[7; MAX_REST],
        }),
        message(body.as_bytes()),
        Frame::Announce(AnnounceFrame { transfer: 2, friends: vec![longest_name(); 2] }),
        Frame::Confirmed { through: 2 },
        message(b""),
        Frame::Datagram(b"datagram"),
        Frame::Refused { transfer: 3, reason: RefusedReason::Screened },
        Frame::Goodbye { farewell: Farewell::WrongVersion },
    ];
    for frame in &frames {
        frame.encode(&mut bytes);
    }
    (bytes, frames.len())
}

fn message(body: &[u8]) -> Frame<'_> {
    Frame::Message(MessageFrame {
        transfer: 1,
        retry_of: Some(TransferId { link: 9, number: NonZeroU64::MAX }),
        lifetime: crate::Lifetime::UNLIMITED,
        nonce: crate::Nonce(u128::MAX),
        kind: crate::Kind::Json,
        friend: Some(longest_name()),
        body,
    })
}

fn encoded(frame: &Frame<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    bytes
}

#[test]
#[cfg_attr(miri, ignore = "slow: reads a stream hundreds of times")]
fn every_chunk_size_gives_the_same_frames() {
    let (bytes, frames) = stream();
    for size in 1..=bytes.len() {
        let decoder = Decoder::new(MAX_GENERATED).accept_datagrams(100).expect_hello();
        assert_eq!(reencode(decoder, &cut(&bytes, &[size])), (bytes.clone(), frames, Ok(())));
    }
}

#[test]
fn a_whole_frame_is_borrowed_and_a_split_one_copied() {
    let bytes = encoded(&message(b"\"body\""));
    let within = |range: Range<*const u8>, body: &[u8]| range.contains(&body.as_ptr());
    let mut decoder = Decoder::new(100);
    let Ok(Some(Frame::Message(whole))) = decoder.decode(&mut &*bytes) else { panic!() };
    assert!(within(bytes.as_ptr_range(), whole.body));
    assert_eq!(decoder.capacity(), 0);

    let (start, end) = bytes.split_at(bytes.len() - 1);
    assert_eq!(decoder.decode(&mut &*start), Ok(None));
    assert_eq!((decoder.buffered(), decoder.is_mid_frame()), (start.len(), true));
    let Ok(Some(Frame::Message(split))) = decoder.decode(&mut &*end) else { panic!() };
    assert!(!within(bytes.as_ptr_range(), split.body));
    assert_eq!((decoder.buffered(), decoder.is_mid_frame()), (0, false));
}

#[test]
fn an_invalid_length_is_refused_without_buffering() {
    for (kind, longest) in [
        (FrameKind::Hello, 417),
        (FrameKind::Message, 303 + 1000),
        (FrameKind::Announce, 2065),
        (FrameKind::Confirmed, 8),
        (FrameKind::Refused, 9),
        (FrameKind::Goodbye, 1),
    ] {
        let head = |len: u32| {
            let mut head = vec![kind.code()];
            head.extend(len.to_be_bytes());
            head
        };
        let mut decoder = Decoder::new(1000);
        assert_eq!(decoder.decode(&mut &*head(longest)), Ok(None), "{kind}");
        assert_eq!(decoder.buffered(), HEAD);
        for len in [longest + 1, u32::MAX] {
            let mut decoder = Decoder::new(1000);
            let error = WireError::Length { kind, len };
            assert_eq!(decoder.decode(&mut &*[head(len), vec![0; 5000]].concat()), Err(error));
            assert_eq!((decoder.buffered(), decoder.capacity()), (0, 0));
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "slow: a long message, byte by byte")]
fn the_buffer_grows_with_arriving_bytes_up_to_the_frame_length() {
    let body = vec![b'1'; 50_000];
    let bytes = encoded(&message(&body));
    let mut decoder = Decoder::new(MAX_BODY);
    let mut capacities = Vec::new();
    for (index, byte) in bytes[..bytes.len() - 1].iter().enumerate() {
        assert_eq!(decoder.decode(&mut &[*byte][..]), Ok(None));
        let most = (2 * (index + 1)).clamp(64, bytes.len());
        assert!(decoder.capacity() <= most, "{} after {index} bytes", decoder.capacity());
        capacities.push(decoder.capacity());
    }
    capacities.dedup();
    assert_eq!(capacities.len(), 11, "the capacity doubles: {capacities:?}");
}

#[test]
fn a_buffer_above_16_kib_is_freed_and_a_smaller_one_is_kept() {
    let head = encoded(&message(&[])).len();
    for (len, kept) in [(16 * 1024, 16 * 1024), (16 * 1024 + 1, 0)] {
        let bytes = encoded(&message(&vec![b'1'; len - head]));
        assert_eq!(bytes.len(), len);
        let mut decoder = Decoder::new(MAX_BODY);
        for mut piece in [&bytes[..10], &bytes[10..]] {
            while decoder.decode(&mut piece).unwrap().is_some() {}
        }
        let short = encoded(&Frame::Confirmed { through: 1 });
        for _ in 0..70 {
            assert!(decoder.decode(&mut &*short).unwrap().is_some());
        }
        assert_eq!(decoder.capacity(), kept);
    }
}

#[test]
fn the_buffer_is_kept_while_long_messages_arrive() {
    let body = vec![b'1'; 60_000];
    let (long, short) = (encoded(&message(&body)), encoded(&Frame::Confirmed { through: 1 }));
    let mut decoder = Decoder::new(MAX_BODY);
    let mut decode = |bytes: &[u8], split: usize| {
        for mut piece in cut(bytes, &[split]) {
            while decoder.decode(&mut piece).unwrap().is_some() {}
        }
        decoder.capacity()
    };
    let kept = decode(&long, 40_000);
    assert!((60_000..=long.len()).contains(&kept));
    for _ in 0..5 {
        // Short frames, both whole and split, and then a long frame.
        for round in 0..60 {
            assert_eq!(decode(&short, if round % 2 == 0 { 99 } else { 2 }), kept);
        }
        assert_eq!(decode(&long, 40_000), kept);
    }
    for _ in 0..70 {
        decode(&long, 40_000);
    }
    assert_eq!(decode(&long[..10], 5), kept, "the buffer is kept for the next frame");
    decode(&long[10..], 40_000);
    for _ in 0..70 {
        decode(&short, 99);
    }
    assert_eq!(decode(&short, 99), 0, "the buffer is freed after short frames");
}

#[test]
fn another_protocol_is_refused_at_its_first_byte() {
    let first_error = |first: &[u8]| {
        let mut decoder = Decoder::new(1000).expect_hello();
        let refused = decoder.decode(&mut &*first).map(drop);
        assert_eq!(decoder.capacity(), 0);
        refused
    };
    assert_eq!(first_error(b"GET / HTTP/1.1\r\n"), Err(WireError::Kind(b'G')));
    assert_eq!(first_error(&[22]), Err(WireError::Kind(22)));
    assert_eq!(first_error(&[0xc2]), Err(WireError::BeforeHello(FrameKind::Message)));
    assert_eq!(first_error(&[0xc6]), Err(WireError::BeforeHello(FrameKind::Goodbye)));
}

#[test]
fn only_a_hello_is_accepted_first_and_every_frame_after_it() {
    let (bytes, frames) = stream();
    let twice = [&bytes[..], &bytes].concat();
    let decoder = Decoder::new(MAX_GENERATED).accept_datagrams(100).expect_hello();
    assert_eq!(reencode(decoder, &[&twice]), (twice.clone(), 2 * frames, Ok(())));

    // An invalid hello does not count as a hello.
    let mut wrong = bytes;
    wrong[26..28].fill(0);
    let mut decoder = Decoder::new(MAX_GENERATED).accept_datagrams(100).expect_hello();
    let mut input = &*wrong;
    let error = Err(WireError::Range(Field::WindowMessages));
    assert_eq!(decoder.decode(&mut input), error);
    assert_eq!(decoder.decode(&mut input), error);
}
