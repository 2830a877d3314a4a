//! The names of things: small, `Copy`, and never used again once what they name is gone.

use core::fmt;

/// A link: one connection, inbound or outbound. An id is never used again: once its link has ended, it means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId {
    pub(crate) index: u32,
    pub(crate) epoch: u32,
}

impl LinkId {
    /// The place of the link in a table: less than `max_links`, and taken by one live link at a time. For drivers that
    /// keep their own state in a `Vec`.
    #[must_use]
    pub fn index(self) -> usize {
        self.index as usize
    }
}

/// A peer in a tower's table. Once the peer is forgotten, the id means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId {
    pub(crate) index: u32,
    pub(crate) epoch: u32,
}

/// A message held by a tower. Once the message has left, the key means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageKey {
    pub(crate) index: u32,
    pub(crate) epoch: u32,
}

/// A message that waits for the application's verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OfferId(pub(crate) MessageKey);

/// Who a tower is: the SHA-256 of its certificate's public key (the DER of its `SubjectPublicKeyInfo`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
