//! Encodes frames.

use bytes::BufMut;
use core::net::IpAddr;

use super::frame::Frame;
use super::{
    ANNOUNCE_FIXED, Attempt, HEAD, HELLO_FIXED, MAX_BODY, MAX_DATAGRAM, MAX_FRIENDS, MAX_NETWORK,
    MAX_REST, MESSAGE_FIXED, RETRY,
};
use crate::address::{Address, Host, MAX_NAME};

/// Encoding never fails. A frame that the format can't carry gets a length that every decoder
/// refuses: one with a body above [`MAX_BODY`], a datagram above [`MAX_DATAGRAM`], a network name
/// above [`MAX_NETWORK`], more friends than [`MAX_FRIENDS`], or more bytes after the last field of
/// a hello than [`MAX_REST`]. Other fields are not checked.
impl Frame<'_> {
    /// Appends the whole frame to `out`.
    ///
    /// # Panics
    ///
    /// Panics if `out` has room for fewer than [`encoded_len`](Self::encoded_len) bytes.
    #[inline]
    pub fn encode(&self, out: &mut impl BufMut) {
        self.encode_head(out);
        out.put_slice(self.body());
    }

    /// Appends everything except the body of a message or of a datagram to `out`. The body is the
    /// last field, so a link can send it in pieces of any size.
    ///
    /// # Panics
    ///
    /// Panics if `out` has no room for these bytes. [`MAX_HEAD`](super::MAX_HEAD) bytes always
    /// suffice.
    #[inline]
    pub fn encode_head(&self, out: &mut impl BufMut) {
        match self {
            Self::Hello(hello) => {
                let mut head = self.head::<{ HEAD + HELLO_FIXED }>();
                head.put([hello.version]);
                head.put(hello.incarnation.to_be_bytes());
                head.put(hello.link.to_be_bytes());
                head.put(hello.max_message.to_be_bytes());
                head.put(hello.window.messages.to_be_bytes());
                head.put(hello.window.bytes.to_be_bytes());
                head.put(hello.datagram.to_be_bytes());
                out.put_slice(&head.bytes);
                put_text(hello.network, MAX_NETWORK, out);
                encode_address(hello.address.as_ref(), out);
                out.put_slice(rest(hello.rest));
            }
            Self::Message(message) => {
                let mut head = self.head::<{ HEAD + MESSAGE_FIXED }>();
                head.put(message.transfer.to_be_bytes());
                head.put([message.attempt().code()]);
                head.put(message.lifetime.wire_millis().to_be_bytes());
                head.put(message.nonce.0.to_be_bytes());
                head.put([message.kind.code()]);
                out.put_slice(&head.bytes);
                if let Some(first) = message.retry_of {
                    out.put_u64(first.link);
                    out.put_u64(first.number.get());
                }
                encode_address(message.friend.as_ref(), out);
            }
            Self::Announce(announce) => {
                let friends = friends(&announce.friends);
                let mut head = self.head::<{ HEAD + ANNOUNCE_FIXED }>();
                head.put(announce.transfer.to_be_bytes());
                head.put([u8::try_from(friends.len()).unwrap_or(u8::MAX)]);
                out.put_slice(&head.bytes);
                friends.iter().for_each(|friend| encode_address(Some(friend), out));
            }
            Self::Confirmed { through } => {
                let mut head = self.head::<{ HEAD + 8 }>();
                head.put(through.to_be_bytes());
                out.put_slice(&head.bytes);
            }
            Self::Refused { transfer, reason } => {
                let mut head = self.head::<{ HEAD + 8 + 1 }>();
                head.put(transfer.to_be_bytes());
                head.put([reason.code()]);
                out.put_slice(&head.bytes);
            }
            Self::Goodbye { farewell } => {
                let mut head = self.head::<{ HEAD + 1 }>();
                head.put([farewell.code()]);
                out.put_slice(&head.bytes);
            }
            Self::Datagram(_) => out.put_slice(&self.head::<HEAD>().bytes),
        }
    }

    /// Returns the number of bytes that [`encode`](Self::encode) writes.
    /// [`encode_head`](Self::encode_head) writes as many without those of the body.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        self.head_len() + self.body().len()
    }

    fn head_len(&self) -> usize {
        HEAD + match self {
            Self::Hello(hello) => {
                let network = text_len(hello.network, MAX_NETWORK);
                let address = address_len(hello.address.as_ref());
                HELLO_FIXED + network + address + rest(hello.rest).len()
            }
            Self::Message(message) => {
                let retry = if message.attempt() == Attempt::Retry { RETRY } else { 0 };
                MESSAGE_FIXED + retry + address_len(message.friend.as_ref())
            }
            Self::Announce(announce) => {
                let addresses = friends(&announce.friends).iter();
                ANNOUNCE_FIXED + addresses.map(|it| address_len(Some(it))).sum::<usize>()
            }
            Self::Confirmed { .. } => 8,
            Self::Refused { .. } => 8 + 1,
            Self::Goodbye { .. } => 1,
            Self::Datagram(_) => 0,
        }
    }

    fn body(&self) -> &[u8] {
        match self {
            Self::Message(message) => message.body,
            Self::Datagram(bytes) => bytes,
            _ => &[],
        }
    }

    /// Returns the frame's kind and length, with room for further fields of fixed size.
    fn head<const N: usize>(&self) -> Fields<N> {
        let mut head = Fields { bytes: [0; N], len: 0 };
        head.put([self.kind().code()]);
        head.put(self.length().to_be_bytes());
        head
    }

    /// Returns the length of the payload, or `u32::MAX` if the format can't carry the frame.
    fn length(&self) -> u32 {
        let fits = match self {
            Self::Hello(hello) => {
                hello.network.len() <= MAX_NETWORK && hello.rest.len() <= MAX_REST
            }
            Self::Message(message) => message.body.len() <= MAX_BODY,
            Self::Announce(announce) => announce.friends.len() <= MAX_FRIENDS,
            Self::Datagram(bytes) => {
                (1..=MAX_DATAGRAM).contains(&u32::try_from(bytes.len()).unwrap_or(u32::MAX))
            }
            _ => true,
        };
        u32::try_from(self.encoded_len() - HEAD).ok().filter(|_| fits).unwrap_or(u32::MAX)
    }
}

fn address_len(address: Option<&Address>) -> usize {
    match address.map(Address::host) {
        None => 1,
        Some(Host::Ip(IpAddr::V4(_))) => 1 + 4 + 2,
        Some(Host::Ip(IpAddr::V6(_))) => 1 + 16 + 2,
        Some(Host::Name(name)) => 1 + text_len(name.as_str(), MAX_NAME) + 2,
    }
}

/// Returns no friends if there are too many: they are omitted, and the frame's length is invalid.
fn friends(friends: &[Address]) -> &[Address] {
    if friends.len() <= MAX_FRIENDS { friends } else { &[] }
}

/// Returns no bytes if there are too many: they are omitted, and the frame's length is invalid.
fn rest(bytes: &[u8]) -> &[u8] {
    if bytes.len() <= MAX_REST { bytes } else { &[] }
}

/// Returns 0 for a text that is too long: the text is omitted, and the frame's length is invalid.
fn text_len(text: &str, max: usize) -> usize {
    if text.len() <= max { 1 + text.len() } else { 0 }
}

/// Encodes an address as it is in frames. [`decode_address`](super::decode_address) reads it.
pub fn encode_address(address: Option<&Address>, out: &mut impl BufMut) {
    let Some(address) = address else { return out.put_u8(0) };
    let port = address.port().get().to_be_bytes();
    match address.host() {
        Host::Ip(IpAddr::V4(ip)) => {
            let mut fields = Fields::<7> { bytes: [0; 7], len: 0 };
            fields.put([4]);
            fields.put(ip.octets());
            fields.put(port);
            out.put_slice(&fields.bytes);
        }
        Host::Ip(IpAddr::V6(ip)) => {
            let mut fields = Fields::<19> { bytes: [0; 19], len: 0 };
            fields.put([6]);
            fields.put(ip.octets());
            fields.put(port);
            out.put_slice(&fields.bytes);
        }
        Host::Name(name) => {
            out.put_u8(1);
            put_text(name.as_str(), MAX_NAME, out);
            out.put_slice(&port);
        }
    }
}

fn put_text(text: &str, max: usize, out: &mut impl BufMut) {
    if let (Ok(len), true) = (u8::try_from(text.len()), text.len() <= max) {
        out.put_u8(len);
        out.put_slice(text.as_bytes());
    }
}

/// Fields of fixed size, which are written in one piece. All offsets are known at compile time, so
/// the bounds checks cost nothing.
struct Fields<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Fields<N> {
    #[inline(always)]
    fn put<const M: usize>(&mut self, field: [u8; M]) {
        if let Some(slot) = self.bytes.get_mut(self.len..self.len + M) {
            slot.copy_from_slice(&field);
        }
        self.len += M;
    }
}

#[cfg(test)]
mod tests {
    use super::super::arbitrary::{address, longest_name};
    use super::super::{AnnounceFrame, Decoder, Field, Hello, MAX_HEAD, MessageFrame, WireError};
    use super::*;
    use crate::{Kind, Lifetime, Nonce, Window};
    use alloc::vec;
    use alloc::vec::Vec;

    fn hello(network: &str) -> Frame<'_> {
        Frame::Hello(Hello {
            version: 2,
            incarnation: u64::MAX,
            link: 3,
            max_message: 1,
            window: Window { messages: 1, bytes: 0 },
            datagram: 0,
            network,
            address: Some(longest_name()),
            rest: &[7; MAX_REST],
        })
    }

    fn announce(friends: usize) -> Frame<'static> {
        Frame::Announce(AnnounceFrame { transfer: 1, friends: vec![longest_name(); friends] })
    }

    fn message(body: &[u8]) -> Frame<'_> {
        Frame::Message(MessageFrame {
            transfer: 1,
            retry_of: None,
            lifetime: Lifetime::UNLIMITED,
            nonce: Nonce(2),
            kind: Kind::Bytes,
            friend: Some(address("tower.example:1")),
            body,
        })
    }

    #[test]
    fn the_longest_announce_takes_max_head_bytes_and_no_hello_takes_more() {
        let network = "n".repeat(MAX_NETWORK);
        for (frame, is_longest) in [(announce(MAX_FRIENDS), true), (hello(&network), false)] {
            let mut bytes = Vec::new();
            frame.encode(&mut bytes);
            assert!(bytes.len() <= MAX_HEAD && is_longest == (bytes.len() == MAX_HEAD));
            assert_eq!(Decoder::new(0).decode(&mut &*bytes), Ok(Some(frame)));
        }
    }

    #[test]
    fn a_frame_beyond_the_limits_gets_an_invalid_length() {
        let network = "n".repeat(MAX_NETWORK + 1);
        let body = vec![0; MAX_BODY + 1];
        let Frame::Hello(long_rest) = hello("") else { panic!() };
        for frame in [
            hello(&network),
            hello(&"n".repeat(300)),
            Frame::Hello(Hello { rest: &[7; MAX_REST + 1], ..long_rest }),
            message(&body),
            announce(MAX_FRIENDS + 1),
            announce(300),
            Frame::Datagram(&body[..=MAX_DATAGRAM as usize]),
            Frame::Datagram(&[]),
        ] {
            let mut head = Vec::new();
            frame.encode_head(&mut head);
            assert_eq!(head[1..HEAD], [0xff; 4]);
            assert_eq!(head.len() + frame.body().len(), frame.encoded_len());
            let error = WireError::Length { kind: frame.kind(), len: u32::MAX };
            let mut decoder = Decoder::new(usize::MAX).accept_datagrams(u32::MAX);
            assert_eq!(decoder.decode(&mut &*head), Err(error));
        }
    }

    #[test]
    fn encode_head_writes_everything_except_the_body() {
        let body = vec![7; 1000];
        let (mut whole, mut pieces) = (Vec::new(), Vec::new());
        message(&body).encode(&mut whole);
        message(&body).encode_head(&mut pieces);
        assert_eq!(pieces.len(), message(&body).encoded_len() - body.len());
        pieces.extend_from_slice(&body);
        assert_eq!(whole, pieces);
    }

    #[test]
    fn a_datagram_is_decoded_up_to_the_accepted_length() {
        let mut bytes = Vec::new();
        Frame::Datagram(&[7; 100]).encode(&mut bytes);
        let decode = |max| Decoder::new(0).accept_datagrams(max).decode(&mut &*bytes).map(drop);
        let error = WireError::Length { kind: crate::wire::FrameKind::Datagram, len: 100 };
        assert_eq!((decode(100), decode(99)), (Ok(()), Err(error)));
        assert_eq!(Decoder::new(1_000).decode(&mut &*bytes).map(drop), Err(error), "by default");
    }

    #[test]
    #[cfg_attr(miri, ignore = "slow: a long message")]
    fn a_body_of_maximum_length_is_decoded() {
        let body = vec![7; MAX_BODY];
        let mut bytes = Vec::new();
        message(&body).encode(&mut bytes);
        assert_eq!(Decoder::new(MAX_BODY).decode(&mut &*bytes), Ok(Some(message(&body))));
        let refused = Decoder::new(MAX_BODY - 1).decode(&mut &*bytes).map(drop);
        assert_eq!(refused, Err(WireError::Range(Field::Body)));
    }
}
