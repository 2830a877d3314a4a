//! How a file is divided into groups and shards.

use core::fmt;

/// The bytes of a file in a chunk. Even, because the code works on words of 16 bits.
pub const SHARD: usize = 11_372;

/// The most shards of a group. One more doubles the time and memory of the code.
pub const MAX_GROUP: u32 = 512;

/// The most groups of a file.
pub const MAX_GROUPS: u32 = 512;

/// The least parity shards of a group, so that a short file survives the loss of most towers.
const MIN_PARITY: u32 = 31;

/// How a file is divided: into groups of `total` shards, of which any `data` restore the group.
///
/// The geometry follows from the redundancy and the number of data shards of the file, which are
/// both in the link.
///
/// ```
/// use clacks_store::Geometry;
///
/// // A file of 1 MiB.
/// let geometry = Geometry::new(2, 93)?;
/// assert_eq!((geometry.groups(), geometry.data(), geometry.total()), (1, 93, 186));
/// # Ok::<(), clacks_store::GeometryError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    redundancy: u8,
    shards: u32,
}

/// The error of a geometry that no file can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GeometryError {
    /// The redundancy is not from 2 to 8.
    Redundancy,
    /// The file has no shard.
    Empty,
    /// The file has more shards than `max`.
    TooLarge {
        /// The most data shards with this redundancy.
        max: u32,
    },
}

impl fmt::Display for GeometryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Redundancy => f.write_str("the redundancy must be from 2 to 8"),
            Self::Empty => f.write_str("a file has at least one shard"),
            Self::TooLarge { max } => {
                let bytes = u64::from(*max) * SHARD as u64;
                write!(f, "the file is too large: split it into parts of at most {bytes} bytes")
            }
        }
    }
}

impl core::error::Error for GeometryError {}

impl Geometry {
    /// Returns the geometry of a file of `shards` data shards.
    ///
    /// # Errors
    ///
    /// If the redundancy is not from 2 to 8, or if the file has no shard or too many.
    pub fn new(redundancy: u8, shards: u32) -> Result<Self, GeometryError> {
        if !(2..=8).contains(&redundancy) {
            return Err(GeometryError::Redundancy);
        }
        let max = MAX_GROUPS * (MAX_GROUP / u32::from(redundancy));
        match shards {
            0 => Err(GeometryError::Empty),
            _ if shards > max => Err(GeometryError::TooLarge { max }),
            _ => Ok(Self { redundancy, shards }),
        }
    }

    /// Returns how many times as many shards as data shards a large group has.
    #[must_use]
    pub fn redundancy(&self) -> u8 {
        self.redundancy
    }

    /// Returns the number of data shards of the file, without those that fill up the last group.
    #[must_use]
    pub fn shards(&self) -> u32 {
        self.shards
    }

    /// Returns the number of groups.
    #[must_use]
    pub fn groups(&self) -> u32 {
        self.shards.div_ceil(MAX_GROUP / u32::from(self.redundancy))
    }

    /// Returns the number of data shards of a group.
    #[must_use]
    pub fn data(&self) -> u32 {
        self.shards.div_ceil(self.groups())
    }

    /// Returns the number of shards of a group. Any [`data`](Self::data) of them restore it.
    #[must_use]
    pub fn total(&self) -> u32 {
        let data = self.data();
        (data * u32::from(self.redundancy)).max(data + MIN_PARITY)
    }

    /// Returns the number of chunks of the file.
    #[must_use]
    pub fn chunks(&self) -> u32 {
        self.groups() * self.total()
    }

    /// Returns the index of a shard of a group.
    #[must_use]
    pub fn index(&self, group: u32, shard: u32) -> u32 {
        group * self.total() + shard
    }

    /// Returns the group of an index, and the place in it. `None` if the file has no such index.
    #[must_use]
    pub fn locate(&self, index: u32) -> Option<(u32, u32)> {
        (index < self.chunks()).then(|| (index / self.total(), index % self.total()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_geometry_of_common_sizes() {
        let of = |bytes: u32| {
            let geometry = Geometry::new(2, bytes.div_ceil(SHARD as u32)).unwrap();
            (geometry.groups(), geometry.data(), geometry.total(), geometry.chunks())
        };
        assert_eq!(of(1024), (1, 1, 32, 32));
        assert_eq!(of(100 << 10), (1, 10, 41, 41));
        assert_eq!(of(1 << 20), (1, 93, 186, 186));
        assert_eq!(of(10 << 20), (4, 231, 462, 1_848));
        assert_eq!(of(1 << 30), (369, 256, 512, 188_928));
    }

    #[test]
    fn a_redundancy_and_a_size_beyond_the_limits_are_refused() {
        assert_eq!(Geometry::new(1, 1), Err(GeometryError::Redundancy));
        assert_eq!(Geometry::new(9, 1), Err(GeometryError::Redundancy));
        assert_eq!(Geometry::new(2, 0), Err(GeometryError::Empty));
        assert!(Geometry::new(2, 512 * 256).is_ok());
        assert_eq!(Geometry::new(2, 512 * 256 + 1), Err(GeometryError::TooLarge { max: 131_072 }));
        assert_eq!(Geometry::new(8, 512 * 64 + 1), Err(GeometryError::TooLarge { max: 32_768 }));
    }

    proptest! {
        #[test]
        fn all_shards_have_a_place_and_every_group_is_within_the_bounds(
            redundancy in 2u8..=8,
            shards in 1u32..=131_072,
            index: u32,
        ) {
            let Ok(geometry) = Geometry::new(redundancy, shards) else { return Ok(()) };
            prop_assert!(geometry.groups() <= MAX_GROUPS);
            prop_assert!(geometry.total() <= MAX_GROUP);
            prop_assert!(geometry.total() >= geometry.data() * u32::from(redundancy));
            prop_assert!(geometry.total() - geometry.data() >= MIN_PARITY);
            prop_assert!(geometry.groups() * geometry.data() >= shards);
            prop_assert!(geometry.groups() * geometry.data() - shards < geometry.groups());
            let index = index % geometry.chunks();
            let (group, shard) = geometry.locate(index).unwrap();
            prop_assert_eq!(geometry.index(group, shard), index);
            prop_assert_eq!(geometry.locate(geometry.chunks()), None);
        }
    }
}
