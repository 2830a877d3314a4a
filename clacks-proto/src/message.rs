//! What travels: a nonce, a kind and a body.

use bytes::Bytes;
use core::fmt;

/// What a message's body is. The network carries all of them alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Any bytes.
    Bytes,
    /// Text in UTF-8, checked on arrival.
    Text,
    /// A JSON value in UTF-8. The core checks the UTF-8, not the JSON: whoever reads it parses it.
    Json,
}

/// A message that an application hands in or takes out.
///
/// The body is copied into an allocation of exactly its size, so that a stored message never keeps a
/// larger buffer alive. Clones share it.
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
    body: Bytes,
}

impl Message {
    /// A message of raw bytes.
    #[must_use]
    pub fn bytes(body: &[u8]) -> Self {
        Self { kind: Kind::Bytes, body: Bytes::copy_from_slice(body) }
    }

    /// A message of text.
    #[must_use]
    pub fn text(body: &str) -> Self {
        Self { kind: Kind::Text, body: Bytes::copy_from_slice(body.as_bytes()) }
    }

    /// A message that is a JSON value, already written out.
    #[must_use]
    pub fn json(body: &str) -> Self {
        Self { kind: Kind::Json, body: Bytes::copy_from_slice(body.as_bytes()) }
    }

    pub(crate) fn from_parts(kind: Kind, body: Bytes) -> Self {
        Self { kind, body }
    }

    /// What the body is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The body. Cloning it is cheap.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The body as text, when it is text or JSON.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self.kind {
            Kind::Bytes => None,
            Kind::Text | Kind::Json => core::str::from_utf8(&self.body).ok(),
        }
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

/// The name of a message: 128 bits drawn by the tower where it was enqueued.
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
