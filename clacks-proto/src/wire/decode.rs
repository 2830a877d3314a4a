//! Decodes frames from bytes in any chunking.

use alloc::vec::Vec;

use super::error::WireError;
use super::frame::{Frame, FrameKind};
use super::parse::parse;
use super::{
    ANNOUNCE_FIXED, HEAD, HELLO_FIXED, MAX_ADDRESS, MAX_BODY, MAX_DATAGRAM, MAX_FRIENDS,
    MAX_NETWORK, MAX_REST, MESSAGE_FIXED, RETRY,
};

/// Decodes the frames of one link.
///
/// A frame that is complete in the input is borrowed from the input and not copied. A frame that
/// arrives in several chunks is assembled in a buffer. The buffer grows with the bytes that arrive,
/// not with the length that the frame claims, and never holds more than one frame.
///
/// ```
/// use clacks_proto::wire::{Decoder, Frame};
///
/// let mut decoder = Decoder::new(64 * 1024);
/// let mut arrived: &[u8] = &[0xC4, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 3, 0xC6];
/// while let Some(frame) = decoder.decode(&mut arrived)? {
///     assert_eq!(frame, Frame::Confirmed { through: 3 });
/// }
/// assert!(arrived.is_empty() && decoder.is_mid_frame());
/// # Ok::<(), clacks_proto::wire::WireError>(())
/// ```
///
/// The default decoder accepts no bodies and allocates nothing. It is a placeholder for
/// [`core::mem::take`]. Frames borrow from the decoder, so a struct that owns both the decoder and
/// the state that frames change must move the decoder out while it handles a frame.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    limits: Limits,
    buffer: Buffer,
    failure: Option<WireError>,
}

impl Decoder {
    /// Returns a decoder that accepts any frame except datagrams, with bodies of at most `max_body`
    /// bytes. Values above [`MAX_BODY`] have the effect of `MAX_BODY`.
    #[must_use]
    pub fn new(max_body: usize) -> Self {
        let limits = Limits { max_body: max_body.min(MAX_BODY), ..Limits::default() };
        Self { limits, ..Self::default() }
    }

    /// Makes the decoder accept datagrams of at most `max` bytes. Values above [`MAX_DATAGRAM`]
    /// have the effect of `MAX_DATAGRAM`.
    #[must_use]
    pub fn accept_datagrams(mut self, max: u32) -> Self {
        self.limits.max_datagram = max.min(MAX_DATAGRAM);
        self
    }

    /// Makes the decoder refuse any first frame except a hello.
    ///
    /// A remote side that has sent no hello can then make the decoder buffer at most the bytes of a
    /// hello, and a different protocol is refused at its first byte. A second hello is decoded.
    #[must_use]
    pub fn expect_hello(mut self) -> Self {
        self.limits.awaits_hello = true;
        self
    }

    /// Returns the next frame and removes its bytes from the front of `input`. Returns `None` when
    /// the input is used up.
    ///
    /// The frame borrows from the input or from the decoder, so it must be dropped before the next
    /// call.
    ///
    /// # Errors
    ///
    /// Returns an error as soon as the bytes cannot be the beginning of a valid frame. Every later
    /// call consumes no input and returns the same error.
    #[inline(always)]
    pub fn decode<'s, 'i: 's>(
        &'s mut self,
        input: &mut &'i [u8],
    ) -> Result<Option<Frame<'s>>, WireError> {
        let Self { limits, buffer, failure } = self;
        if let Some(error) = *failure {
            return Err(error);
        }
        let (kind, payload) = match buffer.next_frame(input, limits) {
            Ok(Some(whole)) => whole,
            Ok(None) => return Ok(None),
            Err(error) => return Err(*failure.insert(error)),
        };
        // The frame is returned without an intermediate variable. It has many small fields, and
        // moving them right after they were written costs more than parsing them.
        match parse(kind, payload, limits.max_body) {
            Ok(frame) => {
                limits.awaits_hello = false;
                Ok(Some(frame))
            }
            Err(error) => Err(*failure.insert(error)),
        }
    }

    /// Returns the maximum length of a body that the decoder accepts, in bytes.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn max_body(&self) -> usize {
        self.limits.max_body
    }

    /// Returns the number of buffered bytes of an incomplete frame.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.buffer.buffered()
    }

    /// Returns whether a frame is incomplete. A link that ends in this state was cut.
    #[must_use]
    pub fn is_mid_frame(&self) -> bool {
        self.buffered() > 0
    }

    /// Returns the capacity of the buffer, in bytes. The capacity is at most the length of one
    /// frame, or 64 for shorter frames. It never exceeds the sum of [`MAX_HEAD`](super::MAX_HEAD)
    /// and the longest body.
    ///
    /// A buffer above 16 KiB is freed after 64 consecutive frames that did not need it. A stream of
    /// long messages therefore does not allocate for each message. A link that falls silent after a
    /// long message keeps the buffer until another frame arrives or the link is closed as idle.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.buffer.bytes.capacity()
    }
}

/// The limits that the head of a frame is checked against.
#[derive(Clone, Copy, Debug, Default)]
struct Limits {
    max_body: usize,
    max_datagram: u32,
    awaits_hello: bool,
}

impl Limits {
    /// Returns the kind and the total length of the frame that starts with `bytes`, or `None` if
    /// the head is incomplete.
    fn parse_head(self, bytes: &[u8]) -> Result<Option<(FrameKind, usize)>, WireError> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        let kind = FrameKind::from_code(first).ok_or(WireError::Kind(first))?;
        if self.awaits_hello && kind != FrameKind::Hello {
            return Err(WireError::BeforeHello(kind));
        }
        let Some(&[_, a, b, c, d]) = bytes.first_chunk::<HEAD>() else { return Ok(None) };
        let len = u32::from_be_bytes([a, b, c, d]);
        match usize::try_from(len) {
            Ok(payload) if payload <= self.max_payload(kind) => Ok(Some((kind, HEAD + payload))),
            _ => Err(WireError::Length { kind, len }),
        }
    }

    fn max_payload(self, kind: FrameKind) -> usize {
        match kind {
            FrameKind::Hello => HELLO_FIXED + 1 + MAX_NETWORK + MAX_ADDRESS + MAX_REST,
            FrameKind::Message => MESSAGE_FIXED + RETRY + MAX_ADDRESS + self.max_body,
            FrameKind::Announce => ANNOUNCE_FIXED + MAX_FRIENDS * MAX_ADDRESS,
            FrameKind::Confirmed => 8,
            FrameKind::Refused => 8 + 1,
            FrameKind::Goodbye => 1,
            FrameKind::Datagram => usize::try_from(self.max_datagram).unwrap_or(usize::MAX),
        }
    }
}

/// Assembles frames that arrive in several chunks.
#[derive(Clone, Debug, Default)]
struct Buffer {
    bytes: Vec<u8>,
    /// The frame in `bytes` is complete and was returned. It is dropped at the next call.
    is_returned: bool,
    /// The number of consecutive frames that needed no large buffer.
    small_frames: u8,
}

/// The first allocation, in bytes. All frames except long messages and long hellos fit.
const MIN_CAPACITY: usize = 64;
/// The largest buffer that an idle link keeps, in bytes.
const MAX_IDLE_CAPACITY: usize = 16 * 1024;
/// A large buffer is freed after this many consecutive small frames. The value is a guess.
/// Confirmations of messages in the other direction are small frames, too.
const SMALL_FRAMES_BEFORE_FREE: u8 = 64;

impl Buffer {
    /// Returns the kind and the payload of the next frame.
    fn next_frame<'s, 'i: 's>(
        &'s mut self,
        input: &mut &'i [u8],
        limits: &Limits,
    ) -> Result<Option<(FrameKind, &'s [u8])>, WireError> {
        self.release_frame();
        if self.bytes.is_empty()
            && let Some((kind, whole)) = limits.parse_head(input)?
            && let Some((frame, rest)) = input.split_at_checked(whole)
        {
            *input = rest;
            self.small_frames = self.small_frames.saturating_add(1);
            return Ok(Some((kind, payload(frame))));
        }
        loop {
            let frame = limits.parse_head(&self.bytes)?;
            let wanted = frame.map_or(HEAD, |(_, whole)| whole);
            let missing = wanted.saturating_sub(self.bytes.len());
            if let (Some((kind, _)), 0) = (frame, missing) {
                self.is_returned = true;
                return Ok(Some((kind, payload(&self.bytes))));
            }
            if input.is_empty() {
                return Ok(None);
            }
            let (piece, rest) = input.split_at(missing.min(input.len()));
            *input = rest;
            self.append(piece, wanted);
        }
    }

    /// Drops the frame that was returned, and frees a large buffer that is no longer needed.
    fn release_frame(&mut self) {
        if self.is_returned {
            self.is_returned = false;
            self.small_frames = if self.bytes.len() > MAX_IDLE_CAPACITY {
                0
            } else {
                self.small_frames.saturating_add(1)
            };
            self.bytes.clear();
        }
        if self.small_frames >= SMALL_FRAMES_BEFORE_FREE
            && self.bytes.is_empty()
            && self.bytes.capacity() > MAX_IDLE_CAPACITY
        {
            self.bytes = Vec::new();
        }
    }

    /// Appends bytes of a frame of `whole` bytes. The capacity doubles, so that small chunks are
    /// not copied repeatedly, but does not exceed the frame.
    fn append(&mut self, piece: &[u8], whole: usize) {
        let needed = self.bytes.len() + piece.len();
        if needed > self.bytes.capacity() {
            let capacity = needed.max(self.bytes.capacity() * 2).min(whole).max(MIN_CAPACITY);
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        self.bytes.extend_from_slice(piece);
    }

    fn buffered(&self) -> usize {
        if self.is_returned { 0 } else { self.bytes.len() }
    }
}

fn payload(frame: &[u8]) -> &[u8] {
    frame.get(HEAD..).unwrap_or_default()
}
