//! The native wire format: its specification and its codec.
//!
//! A [`Frame`] is one unit of the protocol. [`Frame::encode`] writes a frame. A [`Decoder`] reads
//! frames from bytes in any chunking. This page is the complete specification: an implementation in
//! another language needs no other document.
//!
//! Times on this page are the defaults of [`Config`](crate::Config). Each tower uses its own.
//!
//! # Connection
//!
//! Two towers exchange frames on a TCP connection. The side that made the connection is the
//! *caller*. Both sides have the same rights on it. Either side may dial the other, so there may be
//! two links between two towers.
//!
//! Frames are sent inside TLS 1.3, with the protocol name `clacks/2` (ALPN). No host name is sent
//! (SNI).
//!
//! - Both sides show a certificate. The caller is asked for one, and its handshake fails without
//!   one.
//! - A certificate is X.509 version 3. It may be self-signed. Its key is ECDSA on P-256 or P-384,
//!   Ed25519, or RSA with 2 048 to 8 192 bits, and it signs the handshake (RFC 8446 §4.4.3).
//! - In an open network names, dates, issuers and extensions are not checked. In a private network
//!   the certificate must chain to a root of the network and be within its dates, and its extended
//!   key usage, if it has one, must allow both the client and the server. A certificate that is
//!   marked as that of an authority (`CA:TRUE`) is accepted only if it is itself one of the roots,
//!   is within its dates, and has no extended key usage.
//! - The identity of a tower is the SHA-256 of the DER of its certificate's `SubjectPublicKeyInfo`.
//!   A tower keeps its key, because other towers pin the key of each address that they dial. A
//!   tower that shows another key at a pinned address is refused.
//! - Sessions may be resumed. A resumed session proves the same key.
//!
//! On trusted networks and in tests frames are sent in clear text. Nothing is then proved.
//!
//! The first byte of a link is `C1`, the kind of a hello. It distinguishes this format from other
//! protocols: `C1` is neither an ASCII character, nor the first byte of a TLS record, nor a byte
//! that can occur in UTF-8.
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
//! | `C1` | [hello](#hello) | 417 |
//! | `C2` | [message](#message) | 303 + the longest body that the receiver accepts |
//! | `C3` | [announce](#announce) | 2 065 |
//! | `C4` | [confirmed](#confirmed) | 8 |
//! | `C5` | [refused](#refused) | 9 |
//! | `C6` | [goodbye](#goodbye) | 1 |
//! | `C7` | [datagram](#datagram) | the longest datagram that the receiver accepts |
//!
//! A decoder refuses an unknown kind as soon as it has the kind, and a length above the maximum of
//! its kind as soon as it has the head. An encoder writes the length `FFFFFFFF` for a frame that
//! exceeds the limits of the format. Every decoder refuses that length.
//!
//! ## Hello
//!
//! | field | size | |
//! |---|---|---|
//! | version | 1 | the highest version that the sender speaks, see [versions](#versions) |
//! | incarnation | 8 | drawn when the sending tower was created |
//! | link | 8 | drawn by the sender for this link; retries name the link by it |
//! | longest body | 4 | the longest body that the sender accepts, in bytes: 1 to 16 777 216 |
//! | window, messages | 2 | see [windows](#windows): 1 to 4096 |
//! | window, bytes | 4 | see [windows](#windows) |
//! | longest datagram | 4 | the longest datagram that the sender accepts, in bytes: 0 to 65 536; 0: none |
//! | network | 1 + n | length (at most 64) and UTF-8 of the network's name |
//! | address | 1 to 257 | the sender's [address](#address), at which it claims to accept links; absent for a [guest](#guests) |
//! | rest | 0 to 64 | fields of later versions; the receiver skips them |
//!
//! ## Message
//!
//! | field | size | |
//! |---|---|---|
//! | transfer | 8 | the number of the [transfer](#transfers) on this link |
//! | attempt | 1 | 0: first, 1: retry |
//! | lifetime | 4 | the remaining [lifetime](#lifetime) in milliseconds; `FFFFFFFF`: unlimited; not 0 |
//! | nonce | 16 | identifies the message |
//! | kind | 1 | 0: bytes, 1: text, 2: JSON; the body of text and JSON is UTF-8 |
//! | first link | 8 | only for a retry: the sender's number of the link on which the transfer was sent first |
//! | first transfer | 8 | only for a retry: the number of the transfer on that link, not 0 |
//! | friend | 1 to 257 | the [address](#address) of a tower that the sender knows to be alive, or absent |
//! | body | the rest | at most what the receiver's hello allows |
//!
//! ## Announce
//!
//! | field | size | |
//! |---|---|---|
//! | transfer | 8 | the number of the [transfer](#transfers) on this link |
//! | count | 1 | the number of friends: 0 to 8 |
//! | friends | 7 to 257 each | [addresses](#address) of different towers that the sender knows to be alive; none is absent |
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
//! | reason | 1 | 0: busy, 1: ignored, 2: too large, 3: screened, 4: other key |
//!
//! ## Goodbye
//!
//! | field | size | |
//! |---|---|---|
//! | farewell | 1 | 0: idle, 1: leaving, 2: ignored, 3: wrong network, 4: own address, 5: misbehaved, 6: wrong version, 7: other key |
//!
//! ## Datagram
//!
//! | field | size | |
//! |---|---|---|
//! | bytes | the rest | 1 byte to what the receiver's hello allows; opaque |
//!
//! ## Address
//!
//! A tag of one byte, then:
//!
//! | tag | content |
//! |---|---|
//! | 0 | none: the address is absent |
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
//! The first frame of each side is its hello. Each side sends exactly one hello, and then any other
//! frames in any order, until its goodbye. A side sends no other frame before it has received the
//! other side's hello, because that hello limits what may be sent. A hello that is refused is
//! answered with a goodbye, after the refusing side's own hello. A caller that finds another key
//! than the one that it remembers for the address sends its hello and a goodbye at once.
//!
//! The caller sends its hello as soon as it can: after the TLS handshake, or in clear text when the
//! connection is established. It does not wait for the other side. A tower that was called in clear
//! text may wait for the caller's first byte before it sends its hello, because that byte shows
//! whether the caller speaks this format or HTTP. Inside TLS it does not wait.
//!
//! ## Versions
//!
//! This page specifies version 2. The layout of a hello is that of this page in version 2 and in
//! all later ones, which may add fields at the end. Both sides speak the lower of the two versions
//! in their hellos. Version 1 is no longer spoken. Its hello has another layout. A hello whose
//! first byte is 0 or 1 is answered with the farewell *wrong version*.
//!
//! ## Addresses are claims
//!
//! The address in a hello says where the sender can be dialled. It proves nothing. A tower that
//! receives an unknown address dials it some time later. Only the tower that answers there counts
//! as the peer at that address, and gets messages: the caller itself only if it proves the key that
//! answered at the address. A side that can't be reached at its address gets announces at most, on
//! links that it opened itself.
//!
//! The friends in messages and announces are learned and dialled in the same way.
//!
//! A tower takes messages on every open link, whatever the other side claims.
//!
//! ## Guests
//!
//! A caller whose hello has no address is a guest. It may hand over messages and exchange
//! datagrams. It is neither learned nor dialled, no transfer is sent to it, and its announces are
//! refused as busy. It refuses all transfers as busy, too. A dialled side whose hello has no
//! address is no guest: the caller knows where it dialled.
//!
//! # Transfers
//!
//! Every message and every announce is a transfer. Each side numbers its transfers on each link:
//! the first is 1, and each further one is the last plus one. A retry gets a new number too. A
//! number that is not the next one violates the protocol, so no number is used twice.
//!
//! ## Windows
//!
//! A hello grants the other side a window. A transfer is *unanswered* from when it is sent until
//! its sender receives an answer. At most the granted number of transfers may be unanswered, and
//! their bodies together may have at most the granted number of bytes. If no other transfer is
//! unanswered, one body may be longer than that. An announce counts as a transfer without a body. A
//! transfer that exceeds the window violates the protocol.
//!
//! ## Answers
//!
//! - *Confirmed* answers the named transfer and all earlier unanswered transfers of this link. All
//!   of them are taken.
//! - *Refused* answers one transfer, which is not taken. It also confirms all earlier unanswered
//!   transfers of this link.
//! - An answer that names a transfer that is not unanswered on this link violates the protocol.
//! - A receiver may delay answers to send several at once. It must not delay answers that would
//!   open a full window. The sender closes a link on which a transfer has been unanswered for 30 s.
//!
//! ## Refusals
//!
//! The sender of a refused transfer keeps the message.
//!
//! | reason | the receiver | the sender |
//! |---|---|---|
//! | busy | has no room now, or shuts down | may offer the message to another peer at once; leaves this peer alone for at least 100 ms, and for 16 times as long as it has taken no message, at most 1 h |
//! | ignored | takes nothing from this peer, and says goodbye | treats the peer as lost |
//! | too large | takes no body of this length | sends this peer no body of this length again |
//! | screened | its application wants no copy of this message now | as for busy |
//! | other key | remembers another key for the address in the sender's hello, so it does not dial that address for the sender's sake; only announces are refused so | keeps handing over messages, does not repeat the announce, and reports the reason to its operator |
//!
//! An announce carries friends. Either side may send announces at any time. No announce is
//! necessary: the address in a hello is learned without one.
//!
//! An announce that is refused as busy was not taken: the receiver has not learned the sender, or
//! is a guest. The sender repeats the announce later, with a new number. An announce that is
//! confirmed does not prove that the receiver knows the sender. A receiver also confirms the
//! announce of a sender that it will not learn, because a repetition would change nothing: its
//! address is local and the link is public, a dial has shown that its address belongs to another
//! tower, or the receiver lets newcomers replace dead peers only.
//!
//! ## Retries
//!
//! A transfer is in doubt if it was sent and its link ended before the answer arrived, without a
//! goodbye or with the goodbye *misbehaved* of its sender: the receiver may have taken it. The
//! sender sends a message in doubt to the same peer again on another link, with the attempt set to
//! *retry* and the name of its first sending. It does so at most three times, within 60 s after the
//! first sending. If the last retry is not confirmed, the message is treated as not taken: it may
//! go to any peer, as a first attempt.
//!
//! The receiver remembers what it took on each link that has ended: the number of the last
//! transfer, and which ones it refused. Transfers that arrived after its goodbye do not count. It
//! also remembers the transfers of a link that the other side ended with *misbehaved*. The name of
//! a link is the incarnation and the link in the sender's hello. If the named transfer was taken,
//! the receiver confirms the retry without taking it again. It remembers this for at least 60 s
//! after the link has ended, for a bounded number of links. If it does not know the link, a retry
//! has the effect of a first attempt. An announce is not retried.
//!
//! ## Lifetime
//!
//! The lifetime is the time for which the message may still travel, as of when its head is encoded.
//! A tower drops a message whose lifetime is over. It reduces the lifetime by the time for which it
//! held the message and by an estimate of the time on the link, at least by 1 ms. It drops a
//! message of whose lifetime nothing would be left, and never raises a lifetime. A receiver may
//! shorten the lifetime to what it allows (24 h), also an unlimited one. A transfer that is
//! unanswered is not dropped.
//!
//! ## Equal messages
//!
//! Messages are equal if they have the same nonce, kind and body. Messages with the same nonce and
//! other bodies are different messages. A receiver that holds an equal message confirms the
//! transfer and keeps one of the two, with the longer lifetime.
//!
//! If the held message is in an unanswered transfer or in doubt at that time, the receiver must
//! keep it also when that transfer or its retry is confirmed. Otherwise two towers that send each
//! other the same message at the same time would both confirm it and both drop it. A message in
//! doubt that came back would be dropped in the same way.
//!
//! A tower does not remember messages that it no longer holds. It takes such a message again.
//!
//! # Datagrams
//!
//! A datagram is for the application at the other end of the link. It has no number, is not
//! answered and not retried. The datagrams of a link arrive in order, except for those that the
//! receiver drops because it has no room. While both wait, datagrams and transfers are sent in
//! turn. A side sends no datagram that is longer than the other side's hello allows. A longer one
//! violates the protocol.
//!
//! # The end
//!
//! A *goodbye* is the last frame of its side. Before a side sends it, that side answers every
//! transfer that it took. It takes no transfer that arrives later. A transfer that is unanswered
//! when the goodbye arrives was not taken. It is not in doubt and may be sent to any peer. The
//! other side sends no further transfers, answers those that it took, sends a goodbye of its own
//! with the same farewell, and closes the link. That second farewell says nothing about its sender.
//! All unanswered transfers are in doubt if a link ends without a goodbye. The transfers of a side
//! that says *misbehaved* are in doubt, because that side reads no further answers.
//!
//! | farewell | said when |
//! |---|---|
//! | idle | the link was unused, or makes room for another one |
//! | leaving | the tower shuts down |
//! | ignored | the tower takes nothing from the other side |
//! | wrong network | the other side's hello names another network |
//! | own address | the other side has the tower's own incarnation in its hello, or its own key and is no guest: the link leads back to itself |
//! | misbehaved | the other side violated this specification |
//! | wrong version | the other side's hello has a version that is no longer spoken |
//! | other key | the called side has proved another key than the one that the caller remembers for its address |
//!
//! If a peer violates this specification, a tower sends a goodbye if it still can, and closes the
//! link.
//!
//! | time-out | |
//! |---|---|
//! | 10 s | for a dialled tower to accept the connection |
//! | 10 s | for TLS and the other side's hello, from then on |
//! | 30 s | for the answer to the oldest unanswered transfer |
//! | 60 s | for any byte on an open link, before it is closed as idle |
//! | 5 s | for the rest, after a goodbye |
//!
//! # Golden bytes
//!
//! A hello of version 2 with incarnation `0102030405060708`, link `1112131415161718`, a longest
//! body of 65 536 bytes, a window of 32 messages and 262 144 bytes, a longest datagram of 12 288
//! bytes, the network `clacks`, and the address `tower.example:8001`:
//!
//! ```text
//! c1 00000037 02 0102030405060708 1112131415161718 00010000 0020 00040000 00003000 06636c61636b73 010d746f7765722e6578616d706c651f41
//! ```
//!
//! The same of a guest that speaks version 3 and takes no datagrams. Its hello has three more
//! bytes:
//!
//! ```text
//! c1 0000002a 03 0102030405060708 1112131415161718 00010000 0020 00040000 00000000 06636c61636b73 00 aabbcc
//! ```
//!
//! Transfer 7, first attempt, with a lifetime of 24 h: the text `Hello Discworld!` with the nonce
//! `00112233445566778899aabbccddeeff` and the friend `127.0.0.1:8002`:
//!
//! ```text
//! c2 00000035 0000000000000007 00 05265c00 00112233445566778899aabbccddeeff 01 047f0000011f42 48656c6c6f2044697363776f726c6421
//! ```
//!
//! Transfer 1 of another link: a retry of that transfer with a body of kind bytes, no friend, and
//! an unlimited lifetime:
//!
//! ```text
//! c2 0000003f 0000000000000001 01 ffffffff 00112233445566778899aabbccddeeff 00 1112131415161718 0000000000000007 00 48656c6c6f2044697363776f726c6421
//! ```
//!
//! Transfer 8, an announce with the friends `[2001:db8::1]:8003` and `127.0.0.1:8004`, and transfer
//! 9, an announce without friends:
//!
//! ```text
//! c3 00000023 0000000000000008 02 0620010db80000000000000000000000011f43 047f0000011f44
//! c3 00000009 0000000000000009 00
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
//!
//! Transfer 10 is refused because of another key, and the same as a goodbye:
//!
//! ```text
//! c5 00000009 000000000000000a 04
//! c6 00000001 07
//! ```
//!
//! A datagram, the bytes of `Hello`:
//!
//! ```text
//! c7 00000005 48656c6c6f
//! ```
//!
//! A hello of version 1, which is refused:
//!
//! ```text
//! c1 0000002b 01 0102030405060708 00010000 0020 00040000 06636c61636b73 010d746f7765722e6578616d706c651f41
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
pub use encode::encode_address;
pub use error::{Field, WireError};
pub use frame::{
    AnnounceFrame, Attempt, Farewell, Frame, FrameKind, Hello, MessageFrame, RefusedReason,
    TransferId, Window,
};
pub use parse::decode_address;

use crate::address::MAX_NAME;

/// The version of the protocol that this page specifies.
pub const VERSION: u8 = 2;
/// The lowest version whose hello has the layout of this page. Lower ones are refused.
pub const MIN_VERSION: u8 = 2;
/// The maximum length of a message's body, in bytes.
pub const MAX_BODY: usize = 16 * 1024 * 1024;
/// The maximum length of a network's name, in bytes.
pub const MAX_NETWORK: usize = 64;
/// The maximum window that a hello may grant, in messages.
pub const MAX_WINDOW: u16 = 4096;
/// The maximum length of a datagram, in bytes.
pub const MAX_DATAGRAM: u32 = 64 * 1024;
/// The maximum number of friends in an announce.
pub const MAX_FRIENDS: usize = 8;
/// The maximum number of bytes after the last field of a hello.
pub const MAX_REST: usize = 64;

/// The maximum length of a frame without its body, in bytes: that of the longest announce.
/// [`Frame::encode_head`] never writes more.
pub const MAX_HEAD: usize = HEAD + ANNOUNCE_FIXED + MAX_FRIENDS * MAX_ADDRESS;

/// The length of a frame's head: kind, length.
const HEAD: usize = 5;
/// The maximum length of an address: tag, length, name, port.
const MAX_ADDRESS: usize = 1 + 1 + MAX_NAME + 2;
/// The length of a hello's fields of fixed size: version, incarnation, link, longest body, window,
/// longest datagram.
const HELLO_FIXED: usize = 1 + 8 + 8 + 4 + 2 + 4 + 4;
/// The length of a message's fields of fixed size: transfer, attempt, lifetime, nonce, kind.
const MESSAGE_FIXED: usize = 8 + 1 + 4 + 16 + 1;
/// The length of the fields of a retry: link, transfer.
const RETRY: usize = 8 + 8;
/// The length of an announce's fields of fixed size: transfer, number of friends.
const ANNOUNCE_FIXED: usize = 8 + 1;
