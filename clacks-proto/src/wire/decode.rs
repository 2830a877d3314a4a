//! Bytes, cut into any pieces -> frames.

use alloc::vec::Vec;

use super::error::WireError;
use super::frame::{Frame, FrameKind};
use super::parse::parse;
use super::{HEAD, HELLO_FIXED, MAX_ADDRESS, MAX_BODY, MAX_NETWORK, MESSAGE_FIXED};

/// Reads frames from the bytes of one link.
///
/// A frame that is whole in the input is borrowed from it and never copied. Only one that is split
/// is put together in a buffer, which grows with the bytes that really arrive, never by the length
/// that somebody claims, and never beyond one frame.
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
/// The default takes no bodies. It is a cheap stand-in for [`core::mem::take`]: frames borrow from
/// the decoder, so whoever owns both it and what the frames change takes it out for the while.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    limits: Limits,
    buffer: Buffer,
    failure: Option<WireError>,
}

impl Decoder {
    /// A decoder that takes any frame, with bodies of at most `max_body` bytes. More than
    /// [`MAX_BODY`] is as good as that: no frame can carry it.
    #[must_use]
    pub fn new(max_body: usize) -> Self {
        let limits = Limits { max_body: max_body.min(MAX_BODY), awaits_hello: false };
        Self { limits, ..Self::default() }
    }

    /// The same decoder, but the first frame must be a hello. A stranger can then make it hold no
    /// more than the bytes of a hello, and one that speaks something else is recognised by its
    /// first byte. A second hello is the tower's business: it is decoded.
    #[must_use]
    pub fn expect_hello(mut self) -> Self {
        self.limits.awaits_hello = true;
        self
    }

    /// The next frame. Takes its bytes from the front of `input`; `None` when the input is used up.
    ///
    /// The frame borrows from the input or from the decoder: it must be gone before the next call.
    ///
    /// # Errors
    ///
    /// When the bytes are not a frame, as soon as that shows. Nothing can be read after it: every
    /// later call takes no input and says the same.
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
        // Straight into the caller's hands: a frame has many small fields, and moving them right
        // after they were written costs more than reading them.
        match parse(kind, payload, limits.max_body) {
            Ok(frame) => {
                limits.awaits_hello = false;
                Ok(Some(frame))
            }
            Err(error) => Err(*failure.insert(error)),
        }
    }

    /// The longest body that it takes.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn max_body(&self) -> usize {
        self.limits.max_body
    }

    /// How many bytes of an unfinished frame are held.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.buffer.held()
    }

    /// Whether a frame has begun and not ended. A link that ends here was cut, not closed.
    #[must_use]
    pub fn is_mid_frame(&self) -> bool {
        self.buffered() > 0
    }

    /// How much memory the buffer takes, in bytes: at most one frame's length, or 64 for shorter
    /// frames. That is never more than [`MAX_HEAD`](super::MAX_HEAD) and the longest body together.
    ///
    /// A buffer above 16 KiB is kept as long as split frames need it now and then, so that a stream
    /// of long messages allocates nothing, and given back after 64 frames in a row that did without
    /// it. A link that falls silent right after a long message keeps it until a frame arrives or
    /// the link is closed as idle.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.buffer.bytes.capacity()
    }
}

/// What the head of a frame may say.
#[derive(Clone, Copy, Debug, Default)]
struct Limits {
    max_body: usize,
    awaits_hello: bool,
}

impl Limits {
    /// The kind and the whole length of the frame that starts with `bytes`, or `None` while its
    /// head isn't there.
    fn measure(self, bytes: &[u8]) -> Result<Option<(FrameKind, usize)>, WireError> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        let kind = FrameKind::from_code(first).ok_or(WireError::Kind(first))?;
        if self.awaits_hello && kind != FrameKind::Hello {
            return Err(WireError::BeforeHello(kind));
        }
        let Some(&[_, a, b, c, d]) = bytes.first_chunk::<HEAD>() else { return Ok(None) };
        let len = u32::from_be_bytes([a, b, c, d]);
        match usize::try_from(len) {
            Ok(payload) if payload <= self.longest(kind) => Ok(Some((kind, HEAD + payload))),
            _ => Err(WireError::Length { kind, len }),
        }
    }

    fn longest(self, kind: FrameKind) -> usize {
        match kind {
            FrameKind::Hello => HELLO_FIXED + 1 + MAX_NETWORK + MAX_ADDRESS,
            FrameKind::Message => MESSAGE_FIXED + MAX_ADDRESS + self.max_body,
            FrameKind::Announce => 8 + MAX_ADDRESS,
            FrameKind::Confirmed => 8,
            FrameKind::Refused => 8 + 1,
            FrameKind::Goodbye => 1,
        }
    }
}

/// The bytes of a frame that did not arrive in one piece.
#[derive(Clone, Debug, Default)]
struct Buffer {
    bytes: Vec<u8>,
    /// The frame in `bytes` is whole and was handed out: it only waits to be dropped.
    handed_out: bool,
    /// How many frames in a row did without a large buffer.
    small: u8,
}

/// The first allocation: any frame but a long message or hello fits.
const SMALLEST: usize = 64;
/// What is no burden even for an idle link.
const LARGE: usize = 16 * 1024;
/// So many small frames show that long messages have ceased; twice the default window, because
/// confirmations of messages going the other way are small frames, too.
const PATIENCE: u8 = 64;

impl Buffer {
    /// The kind and the payload of the next frame.
    fn next_frame<'s, 'i: 's>(
        &'s mut self,
        input: &mut &'i [u8],
        limits: &Limits,
    ) -> Result<Option<(FrameKind, &'s [u8])>, WireError> {
        self.settle();
        if self.bytes.is_empty()
            && let Some((kind, whole)) = limits.measure(input)?
            && let Some((frame, rest)) = input.split_at_checked(whole)
        {
            *input = rest;
            self.small = self.small.saturating_add(1);
            return Ok(Some((kind, payload(frame))));
        }
        loop {
            let frame = limits.measure(&self.bytes)?;
            let wanted = frame.map_or(HEAD, |(_, whole)| whole);
            let missing = wanted.saturating_sub(self.bytes.len());
            if let (Some((kind, _)), 0) = (frame, missing) {
                self.handed_out = true;
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

    /// Forgets the frame that was handed out, and a large buffer that nobody needs any more.
    fn settle(&mut self) {
        if self.handed_out {
            self.handed_out = false;
            self.small = if self.bytes.len() > LARGE { 0 } else { self.small.saturating_add(1) };
            self.bytes.clear();
        }
        if self.small >= PATIENCE && self.bytes.is_empty() && self.bytes.capacity() > LARGE {
            self.bytes = Vec::new();
        }
    }

    /// Grows to twice the size, so that tiny pieces are not copied over and over, but not beyond
    /// the frame.
    fn append(&mut self, piece: &[u8], whole: usize) {
        let needed = self.bytes.len() + piece.len();
        if needed > self.bytes.capacity() {
            let roomy = needed.max(self.bytes.capacity() * 2).min(whole).max(SMALLEST);
            self.bytes.reserve_exact(roomy - self.bytes.len());
        }
        self.bytes.extend_from_slice(piece);
    }

    fn held(&self) -> usize {
        if self.handed_out { 0 } else { self.bytes.len() }
    }
}

fn payload(frame: &[u8]) -> &[u8] {
    frame.get(HEAD..).unwrap_or_default()
}
