//! The native wire: frames <-> bytes, with nothing else around them.
//!
//! [`Frame`] is what two towers say to each other, [`Frame::encode`] writes it, [`Decoder`] reads
//! it from bytes cut into any pieces. This page is the whole specification: a tower in another
//! language can be written from it.
//!
//! The wire is spoken inside TLS 1.3 (ALPN `clacks/1`), or in the clear on trusted networks and in
//! tests. The first byte of a link tells a native tower from everything else that might call: it is
//! neither an ASCII character, nor the first byte of a TLS record, nor a byte that can occur in
//! UTF-8.
//!
//! # Layout
//!
//! Numbers are big-endian. Nothing is padded. There is exactly one encoding for each value, and a
//! decoder refuses every other one, so that the bytes of a frame can be compared instead of its
//! meaning.
//!
//! Every frame starts with a head of five bytes:
//!
//! | field | size | |
//! |---|---|---|
//! | kind | 1 | see below |
//! | length | 4 | of the payload that follows, without this head |
//!
//! | kind | frame | longest payload |
//! |---|---|---|
//! | `C1` | [hello](#hello) | 341 |
//! | `C2` | [message](#message) | 283 + the longest body that the receiver takes |
//! | `C3` | [announce](#announce) | 265 |
//! | `C4` | [confirmed](#confirmed) | 8 |
//! | `C5` | [refused](#refused) | 9 |
//! | `C6` | [goodbye](#goodbye) | 1 |
//!
//! A length above the longest payload of its kind is refused as soon as the head is there, and an
//! unknown kind as soon as its one byte is. `FFFFFFFF` is what an encoder writes for a frame that
//! the format can't carry: no decoder takes it.
//!
//! ## Hello
//!
//! | field | size | |
//! |---|---|---|
//! | version | 1 | 1; the layout of the hello itself is the same in every version |
//! | incarnation | 8 | drawn when the sending tower was made; another number means that it has forgotten what it took |
//! | longest body | 4 | that the sender takes: 1 to 16 777 216 |
//! | window, messages | 2 | how many messages and announces may wait for the sender's answer: 1 to 4096 |
//! | window, bytes | 4 | how many bytes of bodies may, unless it is a single message |
//! | network | 1 + n | length (at most 64) and UTF-8 of the network's name |
//! | address | 1 to 257 | where the sender says that it can be dialled, as an [address](#address) |
//!
//! ## Message
//!
//! | field | size | |
//! |---|---|---|
//! | transfer | 8 | see [transfers](#transfers) |
//! | attempt | 1 | 0: first, 1: retry |
//! | nonce | 16 | the name of the message |
//! | kind | 1 | 0: bytes, 1: text, 2: JSON; the body of the last two is UTF-8 |
//! | friend | 1 to 257 | a tower that the sender knows to be alive, as an [address](#address) |
//! | body | the rest | at most what the receiver's hello allows |
//!
//! ## Announce
//!
//! | field | size | |
//! |---|---|---|
//! | transfer | 8 | see [transfers](#transfers) |
//! | friend | 1 to 257 | as in a message |
//!
//! ## Confirmed
//!
//! | field | size | |
//! |---|---|---|
//! | through | 8 | the last transfer that is taken |
//!
//! ## Refused
//!
//! | field | size | |
//! |---|---|---|
//! | transfer | 8 | the one that is not taken |
//! | reason | 1 | 0: busy, 1: ignored, 2: too large, 3: screened |
//!
//! ## Goodbye
//!
//! | field | size | |
//! |---|---|---|
//! | farewell | 1 | 0: idle, 1: leaving, 2: ignored, 3: wrong network, 4: own address, 5: misbehaved, 6: wrong version |
//!
//! ## Address
//!
//! A tag of one byte, then:
//!
//! | tag | what follows |
//! |---|---|
//! | 0 | nothing: there is no address |
//! | 1 | length (1) and ASCII of a DNS name, port (2) |
//! | 4 | IPv4 address (4), port (2) |
//! | 6 | IPv6 address (16), port (2) |
//!
//! The port is not 0. The IP address is neither unspecified nor multicast, and an IPv4 address is
//! never dressed as IPv6 (`::ffff:0:0/96`). The name follows the rules of [`Name`](crate::Name): at
//! most 253 bytes, in lower case, without a last dot, and not one that a resolver reads as an IP
//! address.
//!
//! # Order
//!
//! The first frame from each side is its hello; neither waits for the other's. There is one hello
//! from each side, and then any frames in any order. Nothing may be sent beyond the limits in the
//! other side's hello, so whoever has something to hand over waits for that.
//!
//! ## Transfers
//!
//! Every message and announce is a transfer. Its number comes from one counter of the sending
//! tower, which serves all links and never goes back, so that no two transfers of a tower share a
//! number. Only a retry keeps the number that the transfer had: on a link, the order of the frames
//! is therefore not always the order of the numbers, and where this page says *earlier* it means
//! the order of the frames.
//!
//! A transfer that was sent and not answered when its link broke is in doubt: perhaps it was taken.
//! The sender asks the same peer again, on another link, with the attempt set to *retry*. Only then
//! does the receiver look into its memory of the transfers that it lately took from this peer, and
//! what it finds there it confirms without taking it twice. When the hello shows another
//! incarnation that memory is gone, and a retry is as good as a first attempt.
//!
//! ## Answers
//!
//! - *Confirmed* answers every transfer on this link that has no answer yet, up to and with the one
//!   that it names: all of them are taken.
//! - *Refused* answers one transfer, which is not taken, and confirms the earlier ones that have no
//!   answer yet.
//! - To name a transfer that isn't waiting for an answer on this link is a violation of the
//!   protocol.
//! - The receiver of a transfer may wait a little to answer several at once. It must not keep back
//!   answers that would open a closed window.
//!
//! ## The end
//!
//! A *goodbye* is the last frame of its side, and before it that side has answered everything that
//! it took. It takes nothing that comes later: whatever it hasn't answered by then was not taken,
//! so it isn't in doubt and may go to anybody. The other side hands over nothing more, answers what
//! it took, and ends the link. A link that ends without a goodbye leaves everything without an
//! answer in doubt. Whoever violates this page is told so by a goodbye, if that can still be said,
//! and the link is ended.
//!
//! # Golden bytes
//!
//! A hello of version 1 from incarnation `0102030405060708`, which takes bodies of 65 536 bytes, 32
//! messages and 262 144 bytes unconfirmed, of the network `clacks`, reached at
//! `tower.example:8001`:
//!
//! ```text
//! c1 0000002b 01 0102030405060708 00010000 0020 00040000 06636c61636b73 010d746f7765722e6578616d706c651f41
//! ```
//!
//! Transfer 7, for the first time: the text `Hello Discworld!` with the nonce
//! `00112233445566778899aabbccddeeff` and the friend `127.0.0.1:8002`:
//!
//! ```text
//! c2 00000031 0000000000000007 00 00112233445566778899aabbccddeeff 01 047f0000011f42 48656c6c6f2044697363776f726c6421
//! ```
//!
//! The same again after its link broke, as bytes and without a friend:
//!
//! ```text
//! c2 0000002b 0000000000000007 01 00112233445566778899aabbccddeeff 00 00 48656c6c6f2044697363776f726c6421
//! ```
//!
//! Transfer 8 announces the sender, with the friend `[2001:db8::1]:8003`:
//!
//! ```text
//! c3 0000001b 0000000000000008 0620010db80000000000000000000000011f43
//! ```
//!
//! All is taken up to and with transfer 8. Transfer 9 isn't: busy. The sender leaves:
//!
//! ```text
//! c4 00000008 0000000000000008
//! c5 00000009 0000000000000009 00
//! c6 00000001 01
//! ```

mod decode;
mod encode;
mod error;
mod frame;
mod parse;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod arbitrary;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod laws;

pub use decode::Decoder;
pub use error::{Field, WireError};
pub use frame::{
    AnnounceFrame, Attempt, Farewell, Frame, FrameKind, Hello, MessageFrame, RefusedReason, Window,
};

use crate::address::MAX_NAME;

/// The version of the protocol that this page describes.
pub const VERSION: u8 = 1;
/// The longest body that the format can carry, in bytes.
pub const MAX_BODY: usize = 16 * 1024 * 1024;
/// The longest network name, in bytes.
pub const MAX_NETWORK: usize = 64;
/// The largest window of messages that a hello may grant.
pub const MAX_WINDOW: u16 = 4096;

/// The most bytes that a frame takes without a message's body: those of the longest hello. What
/// [`Frame::encode_head`] writes always fits.
pub const MAX_HEAD: usize = HEAD + HELLO_FIXED + 1 + MAX_NETWORK + MAX_ADDRESS;

/// Kind and length.
const HEAD: usize = 5;
/// Tag, length, name, port.
const MAX_ADDRESS: usize = 1 + 1 + MAX_NAME + 2;
/// Version, incarnation, longest body, window.
const HELLO_FIXED: usize = 1 + 8 + 4 + 2 + 4;
/// Transfer, attempt, nonce, kind.
const MESSAGE_FIXED: usize = 8 + 1 + 16 + 1;
