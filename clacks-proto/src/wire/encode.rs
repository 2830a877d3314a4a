//! Frames -> bytes.

use bytes::BufMut;
use core::net::IpAddr;

use super::frame::Frame;
use super::{HEAD, HELLO_FIXED, MAX_BODY, MAX_HEAD, MAX_NETWORK, MESSAGE_FIXED};
use crate::address::{Address, Host, MAX_NAME};

/// Encoding never fails and checks little: a frame is as right as the values put into it. One that the format can't carry (a
/// body above [`MAX_BODY`], a network's name above [`MAX_NETWORK`]) is given a length that every decoder refuses.
impl Frame<'_> {
    /// Writes the whole frame.
    ///
    /// # Panics
    ///
    /// Like every `put` of [`BufMut`], when `out` has no room for [`encoded_len`](Self::encoded_len) bytes.
    pub fn encode(&self, out: &mut impl BufMut) {
        self.encode_head(out);
        out.put_slice(self.body());
    }

    /// Writes everything but a message's body, which is last on the wire: a link can then send the body in
    /// as many pieces as it likes.
    ///
    /// # Panics
    ///
    /// Like every `put` of [`BufMut`], when `out` has no room. [`MAX_HEAD`] bytes are always enough.
    pub fn encode_head(&self, out: &mut impl BufMut) {
        out.put_slice(Head::of(self).as_bytes());
    }

    /// How many bytes [`encode`](Self::encode) writes. [`encode_head`](Self::encode_head) writes as many less the body's.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        self.head_len() + self.body().len()
    }

    fn head_len(&self) -> usize {
        HEAD + match self {
            Self::Hello(hello) => {
                let network = text_len(hello.network, MAX_NETWORK);
                HELLO_FIXED + network + address_len(hello.address.as_ref())
            }
            Self::Message(message) => MESSAGE_FIXED + address_len(message.friend.as_ref()),
            Self::Announce(announce) => 8 + address_len(announce.friend.as_ref()),
            Self::Confirmed { .. } => 8,
            Self::Refused { .. } => 8 + 1,
            Self::Goodbye { .. } => 1,
        }
    }

    fn body(&self) -> &[u8] {
        match self {
            Self::Message(message) => message.body,
            _ => &[],
        }
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

/// A text that is too long is left out, and its frame is spoilt.
fn text_len(text: &str, max: usize) -> usize {
    if text.len() <= max { 1 + text.len() } else { 0 }
}

/// A frame without its body, built on the stack and copied out in one go.
struct Head {
    bytes: [u8; MAX_HEAD],
    len: usize,
    fits: bool,
}

impl Head {
    fn of(frame: &Frame<'_>) -> Self {
        let mut head = Self { bytes: [0; MAX_HEAD], len: 0, fits: true };
        head.put_u8(frame.kind().code());
        // Stays this way unless all of the frame fits.
        head.put(&u32::MAX.to_be_bytes());
        head.put_fields(frame);
        head.patch_length(frame.body().len());
        head
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn put_fields(&mut self, frame: &Frame<'_>) {
        match frame {
            Frame::Hello(hello) => {
                self.put_u8(hello.version);
                self.put(&hello.incarnation.to_be_bytes());
                self.put(&hello.max_message.to_be_bytes());
                self.put(&hello.window.messages.to_be_bytes());
                self.put(&hello.window.bytes.to_be_bytes());
                self.put_text(hello.network, MAX_NETWORK);
                self.put_address(hello.address.as_ref());
            }
            Frame::Message(message) => {
                self.put(&message.transfer.to_be_bytes());
                self.put_u8(message.attempt.code());
                self.put(&message.nonce.0.to_be_bytes());
                self.put_u8(message.kind.code());
                self.put_address(message.friend.as_ref());
            }
            Frame::Announce(announce) => {
                self.put(&announce.transfer.to_be_bytes());
                self.put_address(announce.friend.as_ref());
            }
            Frame::Confirmed { through } => self.put(&through.to_be_bytes()),
            Frame::Refused { transfer, reason } => {
                self.put(&transfer.to_be_bytes());
                self.put_u8(reason.code());
            }
            Frame::Goodbye { farewell } => self.put_u8(farewell.code()),
        }
    }

    fn put_address(&mut self, address: Option<&Address>) {
        let Some(address) = address else { return self.put_u8(0) };
        match address.host() {
            Host::Ip(IpAddr::V4(ip)) => {
                self.put_u8(4);
                self.put(&ip.octets());
            }
            Host::Ip(IpAddr::V6(ip)) => {
                self.put_u8(6);
                self.put(&ip.octets());
            }
            Host::Name(name) => {
                self.put_u8(1);
                self.put_text(name.as_str(), MAX_NAME);
            }
        }
        self.put(&address.port().get().to_be_bytes());
    }

    fn put_text(&mut self, text: &str, max: usize) {
        match u8::try_from(text.len()) {
            Ok(len) if text_len(text, max) > 0 => {
                self.put_u8(len);
                self.put(text.as_bytes());
            }
            _ => self.fits = false,
        }
    }

    fn put_u8(&mut self, byte: u8) {
        self.put(&[byte]);
    }

    fn put(&mut self, bytes: &[u8]) {
        match self.bytes.get_mut(self.len..).and_then(|room| room.get_mut(..bytes.len())) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.len += bytes.len();
            }
            None => self.fits = false,
        }
    }

    fn patch_length(&mut self, body: usize) {
        if !self.fits || body > MAX_BODY {
            return;
        }
        let payload = self.len.saturating_sub(HEAD).saturating_add(body);
        if let (Ok(payload), Some(length)) = (u32::try_from(payload), self.bytes.get_mut(1..HEAD)) {
            length.copy_from_slice(&payload.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::arbitrary::{address, longest_name};
    use super::super::{Decoder, Field, Hello, MessageFrame, WireError};
    use super::*;
    use crate::wire::Attempt;
    use crate::{Kind, Nonce, Window};
    use alloc::vec;
    use alloc::vec::Vec;

    fn hello(network: &str) -> Frame<'_> {
        Frame::Hello(Hello {
            version: 1,
            incarnation: u64::MAX,
            max_message: 1,
            window: Window { messages: 1, bytes: 0 },
            network,
            address: Some(longest_name()),
        })
    }

    fn message(body: &[u8]) -> Frame<'_> {
        Frame::Message(MessageFrame {
            transfer: 1,
            attempt: Attempt::First,
            nonce: Nonce(2),
            kind: Kind::Bytes,
            friend: Some(address("tower.example:1")),
            body,
        })
    }

    #[test]
    fn the_longest_hello_is_the_longest_head() {
        let network = "n".repeat(MAX_NETWORK);
        let mut bytes = Vec::new();
        hello(&network).encode(&mut bytes);
        assert_eq!(bytes.len(), MAX_HEAD);
        assert_eq!(Decoder::new(0).decode(&mut &*bytes), Ok(Some(hello(&network))));
    }

    #[test]
    fn what_the_format_cannot_carry_has_a_length_that_no_decoder_takes() {
        let network = "n".repeat(MAX_NETWORK + 1);
        let body = vec![0; MAX_BODY + 1];
        for frame in [hello(&network), hello(&"n".repeat(300)), message(&body)] {
            let mut head = Vec::new();
            frame.encode_head(&mut head);
            assert_eq!(head[1..HEAD], [0xff; 4]);
            assert_eq!(head.len() + frame.body().len(), frame.encoded_len());
            let error = WireError::Length { kind: frame.kind(), len: u32::MAX };
            assert_eq!(Decoder::new(usize::MAX).decode(&mut &*head), Err(error));
        }
    }

    #[test]
    fn the_head_is_everything_but_the_body() {
        let body = vec![7; 1000];
        let (mut whole, mut pieces) = (Vec::new(), Vec::new());
        message(&body).encode(&mut whole);
        message(&body).encode_head(&mut pieces);
        assert_eq!(pieces.len(), message(&body).encoded_len() - body.len());
        pieces.extend_from_slice(&body);
        assert_eq!(whole, pieces);
    }

    #[test]
    fn the_longest_body_is_carried() {
        let body = vec![7; MAX_BODY];
        let mut bytes = Vec::new();
        message(&body).encode(&mut bytes);
        assert_eq!(Decoder::new(MAX_BODY).decode(&mut &*bytes), Ok(Some(message(&body))));
        let refused = Decoder::new(MAX_BODY - 1).decode(&mut &*bytes).map(drop);
        assert_eq!(refused, Err(WireError::Range(Field::Body)));
    }
}
