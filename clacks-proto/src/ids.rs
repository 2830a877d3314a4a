//! Small ids that implement `Copy` and are never reused.

use core::fmt;
use core::num::NonZeroU32;

use crate::table::Key;

/// The number of entries that a slot of a table held before, plus one. It is never zero, so that
/// `Option` of an id is as small as the id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Epoch(NonZeroU32);

impl Epoch {
    pub(crate) const FIRST: Self = Self(NonZeroU32::MIN);

    /// Returns the next epoch. The last epoch is followed by the first.
    pub(crate) const fn next(self) -> Self {
        match self.0.checked_add(1) {
            Some(next) => Self(next),
            None => Self::FIRST,
        }
    }
}

#[cfg(feature = "simulation")]
impl From<NonZeroU32> for Epoch {
    fn from(number: NonZeroU32) -> Self {
        Self(number)
    }
}

/// Defines an id of an entry in a [`Table`](crate::table::Table).
macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name {
            pub(crate) index: u32,
            pub(crate) epoch: Epoch,
        }

        impl Key for $name {
            fn new(index: u32, epoch: Epoch) -> Self {
                Self { index, epoch }
            }

            fn parts(self) -> (u32, Epoch) {
                (self.index, self.epoch)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({}.{})", stringify!($name), self.index, self.epoch.0.get() - 1)
            }
        }

        #[cfg(feature = "serde")]
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                (self.index, self.epoch.0).serialize(serializer)
            }
        }

        #[cfg(feature = "serde")]
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
                let (index, epoch) = serde::Deserialize::deserialize(input)?;
                Ok(Self { index, epoch: Epoch(epoch) })
            }
        }
    };
}

id! {
    /// The id of a link: one connection, inbound or outbound. It is invalid after the link has
    /// ended.
    LinkId
}
id! {
    /// The id of a peer in a tower's table. It is invalid after the peer is forgotten.
    PeerId
}
id! {
    /// The id of a message that a tower holds. It is invalid after the message has left. See
    /// [`Tower::message`](crate::Tower::message).
    MessageId
}

impl LinkId {
    /// Returns the index of the link. It is less than
    /// [`Config::max_links`](crate::Config::max_links). Only one link has it at a time, so drivers
    /// can store their own state in a `Vec`.
    #[must_use]
    pub fn index(self) -> usize {
        self.index as usize
    }
}

#[cfg(feature = "tls")]
impl PeerId {
    /// Returns a DNS name that no other peer has.
    pub(crate) fn to_label(self) -> alloc::string::String {
        alloc::format!("p{}e{}.peer", self.index, self.epoch.0)
    }
}

/// The id of a message that waits for the application's verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct OfferId(pub(crate) MessageId);

/// The identity of a tower: the SHA-256 of its certificate's public key (the DER of its
/// `SubjectPublicKeyInfo`).
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

/// A text is not a [`Fingerprint`], because it does not consist of 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FingerprintError;

impl fmt::Display for FingerprintError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a fingerprint consists of 64 hexadecimal digits")
    }
}

impl core::error::Error for FingerprintError {}

impl core::str::FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(FingerprintError);
        }
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let digits = core::str::from_utf8(digits).map_err(|_| FingerprintError)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| FingerprintError)?;
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::ToString;

    #[test]
    fn an_optional_id_is_as_small_as_the_id() {
        assert_eq!(size_of::<Option<LinkId>>(), 8);
    }

    #[test]
    fn epochs_wrap_around_to_the_first() {
        assert_eq!(Epoch(NonZeroU32::MAX).next(), Epoch::FIRST);
        let id = LinkId { index: 3, epoch: Epoch::FIRST.next() };
        assert_eq!(format!("{id:?}"), "LinkId(3.1)");
    }

    #[test]
    fn a_displayed_fingerprint_can_be_parsed() {
        let fingerprint = Fingerprint(core::array::from_fn(|n| u8::try_from(n * 8).unwrap()));
        assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
        for text in ["", "0", &"0".repeat(63), &"g".repeat(64), &"é".repeat(32)] {
            assert_eq!(text.parse::<Fingerprint>(), Err(FingerprintError));
        }
    }
}
