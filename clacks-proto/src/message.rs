//! Messages: a kind, a body, and the nonce that identifies a message in the network.

use alloc::sync::Arc;
use core::fmt;
use core::num::NonZeroU32;
use core::str::FromStr;
use core::time::Duration;

use bytes::Bytes;

use crate::time::nanos;

/// The type of a message's body. Towers handle all kinds alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
#[non_exhaustive]
pub enum Kind {
    /// Arbitrary bytes.
    Bytes,
    /// Text in UTF-8, checked on arrival.
    Text,
    /// A JSON value in UTF-8. A tower checks the UTF-8, not the JSON.
    Json,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Bytes => "bytes",
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

const NANOS_PER_MILLI: u64 = 1_000_000;

/// For how long a message may still travel: milliseconds, or unlimited.
///
/// A message whose lifetime is over is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lifetime(NonZeroU32);

impl Lifetime {
    /// The message travels until the last tower that holds it drops it.
    pub const UNLIMITED: Self = Self(NonZeroU32::MAX);

    /// Returns a lifetime of `duration`, rounded down to milliseconds: at least 1 ms, and unlimited
    /// from 4 294 967 295 ms on, which are some 49 days.
    #[must_use]
    pub fn new(duration: Duration) -> Self {
        Self::from_nanos(nanos(duration))
    }

    /// Returns the time, or `None` if it is unlimited.
    #[must_use]
    pub fn duration(self) -> Option<Duration> {
        (self != Self::UNLIMITED).then(|| Duration::from_millis(self.0.get().into()))
    }

    /// As [`new`](Self::new), without the arithmetic of a `Duration`.
    pub(crate) fn from_nanos(nanos: u64) -> Self {
        let millis = u32::try_from(nanos / NANOS_PER_MILLI).unwrap_or(u32::MAX);
        Self(NonZeroU32::new(millis).unwrap_or(NonZeroU32::MIN))
    }

    /// Returns the time in nanoseconds, or `u64::MAX` if it is unlimited.
    pub(crate) fn nanos(self) -> u64 {
        if self == Self::UNLIMITED { u64::MAX } else { u64::from(self.0.get()) * NANOS_PER_MILLI }
    }

    /// Returns the lifetime of an encoded number. 0 is invalid.
    pub(crate) fn from_wire(millis: u32) -> Option<Self> {
        NonZeroU32::new(millis).map(Self)
    }

    /// Returns the encoded number.
    pub(crate) fn wire_millis(self) -> u32 {
        self.0.get()
    }
}

/// A message: a kind and a body.
///
/// The body is stored in an allocation of exactly its size, so that a stored message never keeps a
/// larger buffer alive. Clones share the body and allocate nothing.
///
/// ```
/// use clacks_proto::{Kind, Message};
///
/// let message = Message::text("Hello Discworld!");
/// assert_eq!(message.kind(), Kind::Text);
/// assert_eq!(message.as_text(), Some("Hello Discworld!"));
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Message {
    kind: Kind,
    body: Arc<[u8]>,
}

impl Message {
    /// Returns a message of raw bytes. Copies the body.
    #[must_use]
    pub fn bytes(body: &[u8]) -> Self {
        Self::copied(Kind::Bytes, body)
    }

    /// Returns a message of text. Copies the body.
    #[must_use]
    pub fn text(body: &str) -> Self {
        Self::copied(Kind::Text, body.as_bytes())
    }

    /// Returns a message whose body is a JSON value in text form. Copies the body, and does not
    /// check the JSON.
    #[must_use]
    pub fn json(body: &str) -> Self {
        Self::copied(Kind::Json, body.as_bytes())
    }

    /// Returns a message with a copy of `body`, which must be UTF-8 unless the kind is
    /// [`Kind::Bytes`].
    #[inline]
    pub(crate) fn copied(kind: Kind, body: &[u8]) -> Self {
        Self { kind, body: Arc::from(body) }
    }

    /// Returns the type of the body.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns the body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Returns the length of the body, in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.body.len()
    }

    /// Returns whether the body is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    /// Returns the body as text if the message is text or JSON.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self.kind {
            Kind::Bytes => None,
            Kind::Text | Kind::Json => core::str::from_utf8(&self.body).ok(),
        }
    }
}

/// Shares the body of the message without copying it.
impl From<Message> for Bytes {
    fn from(message: Message) -> Self {
        Self::from_owner(message.body)
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_text() {
            Some(text) => write!(f, "{:?}({text:?})", self.kind),
            None => write!(f, "Bytes({})", self.body.escape_ascii()),
        }
    }
}

/// The nonce of a message, which identifies it in the network: 128 bits drawn by the tower at which
/// the message was enqueued.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nonce(pub u128);

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A text is not a [`Nonce`], because it does not consist of 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NonceError;

impl fmt::Display for NonceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a nonce consists of 32 hexadecimal digits")
    }
}

impl core::error::Error for NonceError {}

impl FromStr for Nonce {
    type Err = NonceError;

    fn from_str(text: &str) -> Result<Self, NonceError> {
        let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u128::from_str_radix(text, 16).map_err(|_| NonceError)?;
        if is_hex { Ok(Self(number)) } else { Err(NonceError) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn clones_and_bytes_share_the_body() {
        let message = Message::bytes(b"body");
        let clone = message.clone();
        assert_eq!(clone.body().as_ptr(), message.body().as_ptr());
        let bytes = Bytes::from(clone);
        assert_eq!(bytes.as_ptr(), message.body().as_ptr());
        assert_eq!(size_of::<Message>(), 24);
    }

    #[test]
    fn a_displayed_nonce_can_be_parsed() {
        let nonce = Nonce(0x0123_4567_89ab_cdef);
        assert_eq!(nonce.to_string().parse(), Ok(nonce));
        for text in ["", "+0123456789abcdef0123456789abcde", "0", &"0".repeat(33)] {
            assert_eq!(text.parse::<Nonce>(), Err(NonceError), "{text}");
        }
    }
}
