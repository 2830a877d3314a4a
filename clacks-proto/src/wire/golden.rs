//! Tests of the golden bytes in the documentation of the module, and of each decoding error.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use super::arbitrary::address;
use super::*;
use crate::{Kind, Lifetime, Nonce, Window};
use core::num::NonZeroU64;
use core::time::Duration;

const HELLO: &str = "c1 00000037 02 0102030405060708 1112131415161718 00010000 0020 00040000 00003000 06636c61636b73 010d746f7765722e6578616d706c651f41";
const GUEST: &str = "c1 0000002a 03 0102030405060708 1112131415161718 00010000 0020 00040000 00000000 06636c61636b73 00 aabbcc";
const FIRST: &str = "c2 00000035 0000000000000007 00 05265c00 00112233445566778899aabbccddeeff 01 047f0000011f42 48656c6c6f2044697363776f726c6421";
const RETRY: &str = "c2 0000003f 0000000000000001 01 ffffffff 00112233445566778899aabbccddeeff 00 1112131415161718 0000000000000007 00 48656c6c6f2044697363776f726c6421";
const ANNOUNCE: &str =
    "c3 00000023 0000000000000008 02 0620010db80000000000000000000000011f43 047f0000011f44";
const NO_FRIEND: &str = "c3 00000009 0000000000000009 00";
const CONFIRMED: &str = "c4 00000008 0000000000000008";
const REFUSED: &str = "c5 00000009 0000000000000009 00";
const GOODBYE: &str = "c6 00000001 01";
const REFUSED_KEY: &str = "c5 00000009 000000000000000a 04";
const GOODBYE_KEY: &str = "c6 00000001 07";
const DATAGRAM: &str = "c7 00000005 48656c6c6f";
/// A hello of version 1.
const OBSOLETE: &str = "c1 0000002b 01 0102030405060708 00010000 0020 00040000 06636c61636b73 010d746f7765722e6578616d706c651f41";

fn frames() -> [(&'static str, Frame<'static>); 12] {
    let hello = Hello {
        version: VERSION,
        incarnation: 0x0102_0304_0506_0708,
        link: 0x1112_1314_1516_1718,
        max_message: 65_536,
        window: Window { messages: 32, bytes: 262_144 },
        datagram: 12_288,
        network: "clacks",
        address: Some(address("tower.example:8001")),
        rest: &[],
    };
    let guest = Hello {
        version: 3,
        datagram: 0,
        address: None,
        rest: &[0xaa, 0xbb, 0xcc],
        ..hello.clone()
    };
    let first = MessageFrame {
        transfer: 7,
        retry_of: None,
        lifetime: Lifetime::new(Duration::from_secs(24 * 60 * 60)),
        nonce: Nonce(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff),
        kind: Kind::Text,
        friend: Some(address("127.0.0.1:8002")),
        body: b"Hello Discworld!",
    };
    let number = NonZeroU64::new(7).unwrap();
    let retry = MessageFrame {
        transfer: 1,
        retry_of: Some(TransferId { link: hello.link, number }),
        lifetime: Lifetime::UNLIMITED,
        kind: Kind::Bytes,
        friend: None,
        ..first.clone()
    };
    let friends = vec![address("[2001:db8::1]:8003"), address("127.0.0.1:8004")];
    let no_friend = AnnounceFrame { transfer: 9, friends: Vec::new() };
    [
        (HELLO, Frame::Hello(hello)),
        (GUEST, Frame::Hello(guest)),
        (FIRST, Frame::Message(first)),
        (RETRY, Frame::Message(retry)),
        (ANNOUNCE, Frame::Announce(AnnounceFrame { transfer: 8, friends })),
        (NO_FRIEND, Frame::Announce(no_friend)),
        (CONFIRMED, Frame::Confirmed { through: 8 }),
        (REFUSED, Frame::Refused { transfer: 9, reason: RefusedReason::Busy }),
        (GOODBYE, Frame::Goodbye { farewell: Farewell::Leaving }),
        (DATAGRAM, Frame::Datagram(b"Hello")),
        (REFUSED_KEY, Frame::Refused { transfer: 10, reason: RefusedReason::OtherKey }),
        (GOODBYE_KEY, Frame::Goodbye { farewell: Farewell::OtherKey }),
    ]
}

#[test]
fn golden_bytes_are_encoded_decoded_and_documented() {
    for (hex, frame) in frames() {
        let bytes = unhex(hex);
        let mut written = Vec::new();
        frame.encode(&mut written);
        assert_eq!(written, bytes, "{frame:?}");
        assert_eq!(frame.encoded_len(), bytes.len());
        let mut decoder = Decoder::new(65_536).accept_datagrams(12_288);
        assert_eq!(decoder.decode(&mut &*bytes), Ok(Some(frame)));
        assert!(include_str!("mod.rs").contains(&format!("\n//! {hex}\n")), "{hex}");
    }
}

#[test]
fn a_hello_of_version_1_is_refused_and_documented() {
    assert_eq!(decode_error(&unhex(OBSOLETE)), Some(WireError::Version(1)));
    assert!(include_str!("mod.rs").contains(&format!("\n//! {OBSOLETE}\n")));
}

#[test]
fn every_code_is_documented() {
    let documentation = include_str!("mod.rs");
    let decoder = Decoder::new(0);
    let (mut reasons, mut farewells) = (Vec::new(), Vec::new());
    for code in 0..=255 {
        let mut refused = &*unhex(&format!("c5 00000009 0000000000000009 {code:02x}"));
        match decoder.clone().decode(&mut refused) {
            Ok(Some(Frame::Refused { reason, .. })) => reasons.push(format!("{code}: {reason}")),
            other => {
                assert_eq!(other, Err(WireError::Unknown { field: Field::Reason, byte: code }));
            }
        }
        match decoder.clone().decode(&mut &[0xc6, 0, 0, 0, 1, code][..]) {
            Ok(Some(Frame::Goodbye { farewell })) => farewells.push(format!("{code}: {farewell}")),
            other => {
                assert_eq!(other, Err(WireError::Unknown { field: Field::Farewell, byte: code }));
            }
        }
    }
    assert_eq!((reasons.len(), farewells.len()), (5, 8));
    for list in [reasons, farewells] {
        assert!(documentation.contains(&list.join(", ")), "{list:?}");
    }
}

#[test]
fn an_error_names_the_invalid_field() {
    let unknown = |field, byte| WireError::Unknown { field, byte };
    // The frame, the hex digits to replace, their replacement, and the expected error.
    let cases = [
        (HELLO, "00010000 0020", "00000000 0020", WireError::Range(Field::MaxMessage)),
        (HELLO, "00010000 0020", "01000001 0020", WireError::Range(Field::MaxMessage)),
        (HELLO, "00003000", "00010001", WireError::Range(Field::Datagram)),
        (HELLO, "37 02", "37 01", WireError::Version(1)),
        (HELLO, "37 02", "37 00", WireError::Version(0)),
        (GUEST, "aabbcc", &"aa".repeat(65), WireError::Range(Field::Rest)),
        (HELLO, "0020", "0000", WireError::Range(Field::WindowMessages)),
        (HELLO, "0020", "1001", WireError::Range(Field::WindowMessages)),
        (HELLO, "06636c61", "41636c61", WireError::Range(Field::Network)),
        (HELLO, "06636c61", "40636c61", WireError::Truncated(Field::Network)),
        (HELLO, "06636c61", "06ff6c61", WireError::Utf8(Field::Network)),
        (HELLO, "010d746f", "020d746f", unknown(Field::AddressTag, 2)),
        (HELLO, "010d746f", "010e746f", WireError::Truncated(Field::Port)),
        (HELLO, "010d746f", "0110746f", WireError::Truncated(Field::Host)),
        (HELLO, "010d746f", "010d546f", WireError::HostSpelling),
        (HELLO, "010d746f", "010dff6f", WireError::Host),
        (HELLO, "010d746f", "010d2d6f", WireError::Host),
        // A resolver may parse the last label of "tower.1xample" as a number, and "1.2.3.4" is an
        // IP address.
        (HELLO, "2e6578", "2e3178", WireError::Host),
        (HELLO, "010d746f7765722e6578616d706c65", "0107312e322e332e34", WireError::Host),
        (HELLO, "010d746f7765722e6578616d706c65", "0100", WireError::Host),
        (HELLO, "1f41", "0000", WireError::Range(Field::Port)),
        (FIRST, " 00 0526", " 02 0526", unknown(Field::Attempt, 2)),
        (FIRST, "05265c00", "00000000", WireError::Range(Field::Lifetime)),
        (RETRY, "0000000000000007", "0000000000000000", WireError::Range(Field::Transfer)),
        (FIRST, "eeff 01", "eeff 03", unknown(Field::MessageKind, 3)),
        (FIRST, "047f0000011f42", "07", unknown(Field::AddressTag, 7)),
        (FIRST, "7f000001", "00000000", WireError::Host),
        (FIRST, "7f000001", "e0000001", WireError::Host),
        (FIRST, "1f42", "0000", WireError::Range(Field::Port)),
        (FIRST, " 4865", " c065", WireError::Utf8(Field::Body)),
        (FIRST, "01 047f0000011f42 48", "02 047f0000011f42 ff", WireError::Utf8(Field::Body)),
        (ANNOUNCE, "20010db8000000000000000000000001", &"0".repeat(32), WireError::Host),
        (ANNOUNCE, "20010db8", "ff020db8", WireError::Host),
        (
            ANNOUNCE,
            "20010db8000000000000000000000001",
            "00000000000000000000ffff7f000001",
            WireError::HostSpelling,
        ),
        (ANNOUNCE, "1f44", "1f4400", WireError::Trailing(FrameKind::Announce)),
        (ANNOUNCE, " 02 06", " 01 06", WireError::Trailing(FrameKind::Announce)),
        (ANNOUNCE, " 02 06", " 09 06", WireError::Range(Field::Friends)),
        (ANNOUNCE, "047f0000011f44", "00", unknown(Field::AddressTag, 0)),
        (CONFIRMED, " 0000000000000008", "", WireError::Truncated(Field::Transfer)),
        (GOODBYE, " 01", "", WireError::Truncated(Field::Farewell)),
        (DATAGRAM, " 48656c6c6f", "", WireError::Truncated(Field::Datagram)),
    ];
    for (hex, from, to, error) in cases {
        assert_eq!(hex.matches(from).count(), 1, "{from} in {hex}");
        let mut bytes = unhex(&hex.replace(from, to));
        patch_length(&mut bytes);
        assert_eq!(decode_error(&bytes), Some(error), "{hex}: {from} -> {to}");
    }
}

#[test]
fn a_truncated_payload_names_the_missing_field() {
    // The offset of each field in the payload, and its name.
    let hello = [
        (0, Field::Version),
        (1, Field::Incarnation),
        (9, Field::Link),
        (17, Field::MaxMessage),
        (21, Field::WindowMessages),
        (23, Field::WindowBytes),
        (27, Field::Datagram),
        (31, Field::Network),
        (38, Field::AddressTag),
        (39, Field::Host),
        (53, Field::Port),
        (55, Field::Version),
    ];
    let message = [
        (0, Field::Transfer),
        (8, Field::Attempt),
        (9, Field::Lifetime),
        (13, Field::Nonce),
        (29, Field::MessageKind),
        (30, Field::AddressTag),
        (31, Field::Host),
        (35, Field::Port),
        (37, Field::Body),
    ];
    let retry =
        [(30, Field::Link), (38, Field::Transfer), (46, Field::AddressTag), (47, Field::Body)];
    let announce = [
        (0, Field::Transfer),
        (8, Field::Friends),
        (9, Field::AddressTag),
        (10, Field::Host),
        (26, Field::Port),
        (28, Field::AddressTag),
        (29, Field::Host),
        (33, Field::Port),
        (35, Field::Transfer),
    ];
    let refused = [(0, Field::Transfer), (8, Field::Reason), (9, Field::Reason)];
    let fields: [(&str, &[(usize, Field)]); 5] = [
        (HELLO, &hello),
        (FIRST, &message),
        (RETRY, &retry),
        (ANNOUNCE, &announce),
        (REFUSED, &refused),
    ];
    for (hex, fields) in fields {
        let bytes = unhex(hex);
        for field in fields.windows(2) {
            for end in field[0].0..field[1].0 {
                let mut short = bytes[..HEAD + end].to_vec();
                patch_length(&mut short);
                assert_eq!(
                    decode_error(&short),
                    Some(WireError::Truncated(field[0].1)),
                    "{hex} to {end}"
                );
            }
        }
    }
}

#[test]
fn an_empty_body_is_valid() {
    let mut bytes = unhex(FIRST);
    bytes.truncate(HEAD + 37);
    patch_length(&mut bytes);
    assert_eq!(decode_error(&bytes), None);
}

#[test]
fn no_frame_starts_like_ascii_text_or_tls() {
    for kind in 0..=255u8 {
        match (Decoder::new(0).decode(&mut &[kind][..]), FrameKind::from_code(kind)) {
            (Ok(None), Some(_)) => {
                let tls_record = (20..=24).contains(&kind);
                assert!(!kind.is_ascii() && !tls_record, "{kind:#x}");
            }
            (result, None) => assert_eq!(result, Err(WireError::Kind(kind))),
            (result, Some(_)) => panic!("{kind:#x}: {result:?}"),
        }
    }
}

#[test]
fn frames_and_decoders_stay_small() {
    assert!(size_of::<Decoder>() <= 64, "{}", size_of::<Decoder>());
    assert!(size_of::<Frame<'_>>() <= 112, "{}", size_of::<Frame<'_>>());
}

/// Returns the error that a decoder reports for the bytes of one whole frame.
fn decode_error(bytes: &[u8]) -> Option<WireError> {
    let mut decoder = Decoder::new(65_536).accept_datagrams(12_288);
    match decoder.decode(&mut &*bytes) {
        Ok(frame) => {
            assert!(frame.is_some(), "not a whole frame");
            None
        }
        Err(error) => Some(error),
    }
}

fn patch_length(bytes: &mut [u8]) {
    let len = u32::try_from(bytes.len() - HEAD).unwrap();
    bytes[1..HEAD].copy_from_slice(&len.to_be_bytes());
}

fn unhex(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().filter_map(|digit| digit.to_digit(16)).collect();
    let mut bytes = vec![0; digits.len() / 2];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        *byte = u8::try_from(pair[0] << 4 | pair[1]).unwrap();
    }
    bytes
}

#[test]
fn the_limits_of_the_format_never_change() {
    assert_eq!((VERSION, MIN_VERSION, MAX_WINDOW), (2, 2, 4_096));
    assert_eq!((MAX_BODY, MAX_DATAGRAM), (16_777_216, 65_536));
    assert_eq!((MAX_NETWORK, MAX_FRIENDS, MAX_REST), (64, 8, 64));
}
