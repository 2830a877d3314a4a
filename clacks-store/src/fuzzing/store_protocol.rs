//! Datagrams of stores.

use alloc::vec::Vec;

use clacks_proto::Address;

use super::Choices;
use crate::chunk::{CHUNK, Tag};
use crate::protocol::{Body, Datagram, MAX_LEN, Outcome, Page, Tags};

/// Checks that bytes that are decoded are encoded to the same bytes, and that a datagram which is
/// built from the input is decoded to an equal one and is not too long.
pub fn store_protocol(input: &[u8]) {
    if let Ok(datagram) = Datagram::decode(input) {
        assert_eq!(datagram.encode(), input);
        if let Body::Relay { inner, .. } = datagram.body {
            let request = Body::decode_inner(inner).expect("a relay carries a request");
            assert_eq!(request.encode_inner(), inner);
        }
    }
    let mut choices = Choices(input);
    let number = u32::from_be_bytes([0; 4].map(|_| choices.byte()));
    let tags: Vec<_> = (0..=choices.below(32)).map(|_| tag(&mut choices)).collect();
    let chunk = [choices.byte(); CHUNK];
    let mut page = Page::default();
    for _ in 0..u16::from(choices.byte()) * 2 {
        let until = choices.byte().into();
        if !page.push(Tag::new(tag(&mut choices)), until) {
            break;
        }
    }
    let after = Tag::new(tag(&mut choices));
    let addresses = (0..choices.below(41)).map(|_| address(&mut choices)).collect();
    let tags = Tags::new(&tags).expect("1 to 32 tags");
    let inner = match choices.below(4) {
        0 => Body::List { after },
        1 => Body::Fetch(tags),
        2 => Body::Publish(&chunk),
        _ => Body::Peers { cursor: number },
    };
    let inner = inner.encode_inner();
    let target = (choices.byte() > 127).then(|| address(&mut choices));
    let body = match choices.below(12) {
        0 => Body::List { after },
        1 => Body::Fetch(tags),
        2 => Body::Publish(&chunk),
        3 => Body::Peers { cursor: number },
        4 => Body::Inventory {
            has_more: true,
            minute: 2,
            held: 1,
            room: number,
            entries: page.entries(),
        },
        5 => Body::Chunk(&chunk),
        6 => Body::Gone(tags),
        7 => Body::Published(Outcome::TooLong),
        8 => Body::Towers { next: number, known: 9, addresses },
        9 => Body::Lost,
        _ => Body::Relay { hops: choices.byte().max(1), target, inner: &inner },
    };
    let datagram = Datagram { number, body };
    let bytes = datagram.encode();
    assert!(bytes.len() <= MAX_LEN, "{} bytes", bytes.len());
    assert_eq!(Datagram::decode(&bytes), Ok(datagram));
}

fn tag(choices: &mut Choices<'_>) -> [u8; Tag::LEN] {
    let first = choices.byte();
    core::array::from_fn(|_| first)
}

fn address(choices: &mut Choices<'_>) -> Address {
    let port = u16::from(choices.byte()) + 1;
    let host = match choices.byte() {
        byte @ 0..128 => alloc::format!("192.0.2.{byte}"),
        byte @ 128..192 => alloc::format!("2001:db8::{byte}"),
        byte => alloc::format!("{}.example", "x".repeat(usize::from(byte - 191) % 60 + 1)),
    };
    Address::new(&host, port).expect("a valid address")
}
