//! The native wire format: its specification and its codec.
//!
//! A [`Frame`] is one unit of the protocol. [`Frame::encode`] writes a frame. A [`Decoder`] reads
//! frames from bytes in any chunking. This page is the complete specification: an implementation in
//! another language needs no other document.
//!
//! Frames are sent inside TLS 1.3 (ALPN `clacks/1`), or in clear text on trusted networks and in
//! tests. The first byte of a link is `C1`, the kind of a hello. It distinguishes this format from
//! other protocols: `C1` is neither an ASCII character, nor the first byte of a TLS record, nor a
//! byte that can occur in UTF-8.
//!
//! # Layout
//!
//! Numbers are big-endian. There is no padding. Each value has exactly one encoding, and a decoder
//! refuses all others. Frames can therefore be compared by their bytes.
//!
//! Every frame starts with a head of five bytes:
//!
//! | field | size | |
//! |---|---|---|
//! | kind | 1 | see below |
//! | length | 4 | bytes of the payload that follows, without this head |
//!
//! | kind | frame | maximum payload, bytes |
//! |---|---|---|
//! | `C1` | [hello](#hello) | 341 |
//! | `C2` | [message](#message) | 283 + the longest body that the receiver accepts |
//! | `C3` | [announce](#announce) | 265 |
//! | `C4` | [confirmed](#confirmed) | 8 |
//! | `C5` | [refused](#refused) | 9 |
//! | `C6` | [goodbye](#goodbye) | 1 |
//!
//! A decoder refuses an unknown kind as soon as it has the kind, and a length above the maximum of
//! its kind as soon as it has the head. An encoder writes the length `FFFFFFFF` for a frame that
//! exceeds the limits of the format. Every decoder refuses that length.
//!
//! ## Hello
//!
//! | field | size | |
//! |---|---|---|
//! | version | 1 | 1; the layout of the hello itself is the same in every version |
//! | incarnation | 8 | drawn when the sending tower was created, see [transfers](#transfers) |
//! | longest body | 4 | the longest body that the sender accepts, in bytes: 1 to 16 777 216 |
//! | window, messages | 2 | messages and announces that may await an answer: 1 to 4096 |
//! | window, bytes | 4 | bytes of bodies that may await an answer; one message may exceed it |
//! | network | 1 + n | length (at most 64) and UTF-8 of the network's name |
//! | address | 1 to 257 | the sender's [address](#address), at which it claims to accept links |
//!
//! ## Message
//!
//! | field | size | |
//! |---|---|---|
//! | transfer | 8 | see [transfers](#transfers) |
//! | attempt | 1 | 0: first, 1: retry |
//! | nonce | 16 | identifies the message |
//! | kind | 1 | 0: bytes, 1: text, 2: JSON; the body of text and JSON is UTF-8 |
//! | friend | 1 to 257 | the [address](#address) of a tower that the sender knows to be alive |
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
//! | through | 8 | the last transfer that is confirmed |
//!
//! ## Refused
//!
//! | field | size | |
//! |---|---|---|
//! | transfer | 8 | the transfer that is refused |
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
//! | tag | content |
//! |---|---|
//! | 0 | none: there is no address |
//! | 1 | length (1) and ASCII of a DNS name, port (2) |
//! | 4 | IPv4 address (4), port (2) |
//! | 6 | IPv6 address (16), port (2) |
//!
//! The port is not 0. The IP address is neither unspecified nor multicast. An IPv4 address is never
//! encoded as an IPv4-mapped IPv6 address (`::ffff:0:0/96`). A DNS name follows the rules of
//! [`Name`](crate::Name): at most 253 bytes, in lower case, without a trailing dot, and not a name
//! that a resolver may parse as an IP address.
//!
//! # Order
//!
//! The first frame of each side is its hello. Neither side waits for the other's hello before it
//! sends its own. Each side sends exactly one hello, and then any other frames in any order. A side
//! sends no message and no announce before it has received the other side's hello, because that
//! hello limits what may be sent.
//!
//! ## Transfers
//!
//! Every message and every announce is a transfer and has a number. The number comes from one
//! counter of the sending tower. The counter serves all links and only increases, so no two
//! transfers of a tower share a number. A retry keeps the number of its transfer. The order of the
//! frames on a link is therefore not always the order of their numbers. On this page, *earlier*
//! refers to the order of the frames.
//!
//! A transfer is in doubt if it was sent and its link broke before the answer arrived: the receiver
//! may have taken it. The sender sends a message in doubt to the same peer again, on another link,
//! with the attempt set to *retry*. The receiver remembers the numbers of the transfers that it
//! recently took from this peer, and looks a retry up in this memory. If the number is there, the
//! receiver confirms the transfer without taking it again. First attempts are not looked up. If the
//! receiver's hello shows another incarnation, its memory is lost, and a retry has the effect of a
//! first attempt. An announce has no attempt. It may be sent again with a new number.
//!
//! ## Answers
//!
//! - *Confirmed* answers the named transfer and all earlier unanswered transfers of this link. All
//!   of them are taken.
//! - *Refused* answers one transfer, which is not taken. It also confirms all earlier unanswered
//!   transfers of this link.
//! - An answer that names a transfer that is not unanswered on this link violates the protocol.
//! - A receiver may delay answers to send several at once. It must not delay answers that would
//!   open a full window.
//!
//! ## The end
//!
//! A *goodbye* is the last frame of its side. Before a side sends it, that side answers every
//! transfer that it took. It takes no transfer that arrives later. A transfer that is unanswered
//! when the goodbye arrives was not taken. It is not in doubt and may be sent to any peer. The
//! other side sends no further transfers, answers those that it took, and closes the link. All
//! unanswered transfers are in doubt if a link ends without a goodbye. If a peer violates this
//! specification, a tower sends a goodbye if it still can, and closes the link.
//!
//! # Golden bytes
//!
//! A hello of version 1 with incarnation `0102030405060708`, a longest body of 65 536 bytes, a
//! window of 32 messages and 262 144 bytes, the network `clacks`, and the address
//! `tower.example:8001`:
//!
//! ```text
//! c1 0000002b 01 0102030405060708 00010000 0020 00040000 06636c61636b73 010d746f7765722e6578616d706c651f41
//! ```
//!
//! Transfer 7, first attempt: the text `Hello Discworld!` with the nonce
//! `00112233445566778899aabbccddeeff` and the friend `127.0.0.1:8002`:
//!
//! ```text
//! c2 00000031 0000000000000007 00 00112233445566778899aabbccddeeff 01 047f0000011f42 48656c6c6f2044697363776f726c6421
//! ```
//!
//! A retry of transfer 7 with a body of kind bytes and no friend:
//!
//! ```text
//! c2 0000002b 0000000000000007 01 00112233445566778899aabbccddeeff 00 00 48656c6c6f2044697363776f726c6421
//! ```
//!
//! Transfer 8, an announce with the friend `[2001:db8::1]:8003`:
//!
//! ```text
//! c3 0000001b 0000000000000008 0620010db80000000000000000000000011f43
//! ```
//!
//! All transfers up to and including 8 are confirmed. Transfer 9 is refused as busy. The sender
//! says goodbye because it is leaving:
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
mod properties;

pub use decode::Decoder;
pub use error::{Field, WireError};
pub use frame::{
    AnnounceFrame, Attempt, Farewell, Frame, FrameKind, Hello, MessageFrame, RefusedReason, Window,
};

use crate::address::MAX_NAME;

/// The version of the protocol that this page specifies.
pub const VERSION: u8 = 1;
/// The maximum length of a message's body, in bytes.
pub const MAX_BODY: usize = 16 * 1024 * 1024;
/// The maximum length of a network's name, in bytes.
pub const MAX_NETWORK: usize = 64;
/// The maximum window that a hello may grant, in messages.
pub const MAX_WINDOW: u16 = 4096;

/// The maximum length of a frame without a message's body, in bytes: that of the longest hello.
/// [`Frame::encode_head`] never writes more.
pub const MAX_HEAD: usize = HEAD + HELLO_FIXED + 1 + MAX_NETWORK + MAX_ADDRESS;

/// The length of a frame's head: kind, length.
const HEAD: usize = 5;
/// The maximum length of an address: tag, length, name, port.
const MAX_ADDRESS: usize = 1 + 1 + MAX_NAME + 2;
/// The length of a hello's fields of fixed size: version, incarnation, longest body, window.
const HELLO_FIXED: usize = 1 + 8 + 4 + 2 + 4;
/// The length of a message's fields of fixed size: transfer, attempt, nonce, kind.
const MESSAGE_FIXED: usize = 8 + 1 + 16 + 1;
