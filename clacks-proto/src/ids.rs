//! The names of things: small, `Copy`, and never used again once what they name is gone.

use core::fmt;
use core::num::NonZeroU32;

/// A link: one connection, inbound or outbound. An id is never used again: once its link has ended, it means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId {
    pub(crate) index: u32,
    pub(crate) epoch: Epoch,
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
    pub(crate) epoch: Epoch,
}

/// A message held by a tower. Once the message has left, the key means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageKey {
    pub(crate) index: u32,
    pub(crate) epoch: Epoch,
}

/// A message that waits for the application's verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OfferId(pub(crate) MessageKey);

/// How often a place in a table has been taken before. Never zero inside, so that an id that may be missing takes no more room.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Epoch(NonZeroU32);

impl Epoch {
    pub(crate) const FIRST: Self = Self(NonZeroU32::MIN);

    /// The one after it; after the last comes the first.
    pub(crate) const fn next(self) -> Self {
        match self.0.checked_add(1) {
            Some(next) => Self(next),
            None => Self::FIRST,
        }
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (self.0.get() - 1).fmt(f)
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn an_id_that_may_be_missing_takes_no_more_room() {
        assert_eq!(size_of::<Option<LinkId>>(), 8);
        let epochs = [Epoch::FIRST, Epoch::FIRST.next(), Epoch(NonZeroU32::MAX).next()];
        assert_eq!(format!("{epochs:?}"), "[0, 1, 0]");
    }
}
