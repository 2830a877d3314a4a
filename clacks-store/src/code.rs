//! The erasure code: any `data` of the `total` shards of a group restore it.

use alloc::vec::Vec;
use core::fmt;

use crate::geometry::{Geometry, SHARD};
use crate::merkle::{self, Node, Tree};

/// The error of a group that cannot be restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RestoreError {
    /// There are fewer different shards than the group has data shards.
    TooFew,
    /// The shards are proved, but are no code word. The client that put the file made it
    /// unreadable.
    Inconsistent,
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooFew => "too few pieces",
            Self::Inconsistent => "the file was damaged when it was put",
        })
    }
}

impl core::error::Error for RestoreError {}

/// A group with all its shards: data first, then parity.
#[derive(Clone)]
pub struct Group {
    number: u32,
    shards: Vec<Vec<u8>>,
    tree: Tree,
}

impl Group {
    /// Computes the parity of a group from its data shards. `data` yields their bytes in order; the
    /// last ones of a file are zeros, encrypted like all others.
    ///
    /// Returns `None` if the number or the length of the shards is wrong.
    #[must_use]
    pub fn encode(geometry: Geometry, number: u32, data: Vec<Vec<u8>>) -> Option<Self> {
        let is_valid = data.len() == geometry.data() as usize
            && number < geometry.groups()
            && data.iter().all(|shard| shard.len() == SHARD);
        if !is_valid {
            return None;
        }
        let parity = (geometry.total() - geometry.data()) as usize;
        let parity = reed_solomon_simd::encode(data.len(), parity, &data).ok()?;
        let mut shards = data;
        shards.extend(parity);
        let leaves = shards.iter().zip(geometry.index(number, 0)..);
        let leaves = leaves.map(|(shard, index)| merkle::leaf(geometry, index, shard)).collect();
        Some(Self { number, shards, tree: Tree::new(leaves) })
    }

    /// Restores a group from proved shards, given with their places. `root` is that of the group.
    ///
    /// # Errors
    ///
    /// If there are too few shards, or if they are no code word.
    pub fn restore<'a>(
        geometry: Geometry,
        number: u32,
        root: &[u8; 32],
        shards: impl IntoIterator<Item = (u32, &'a [u8])>,
    ) -> Result<Self, RestoreError> {
        let (data, total) = (geometry.data() as usize, geometry.total() as usize);
        let mut known: Vec<Option<&[u8]>> = alloc::vec![None; total];
        for (place, shard) in shards {
            if let Some(known) = known.get_mut(place as usize)
                && shard.len() == SHARD
            {
                *known = Some(shard);
            }
        }
        if known.iter().flatten().count() < data {
            return Err(RestoreError::TooFew);
        }
        let (original, parity) = known.split_at(data);
        let with_places = |shards: &[Option<&'a [u8]>]| -> Vec<(usize, &'a [u8])> {
            let shards = shards.iter().enumerate();
            shards.filter_map(|(place, shard)| Some((place, (*shard)?))).collect()
        };
        // The code takes no more parity than is missing.
        let missing = data - original.iter().flatten().count();
        let parity = with_places(parity).into_iter().take(missing);
        let mut restored =
            reed_solomon_simd::decode(data, total - data, with_places(original), parity)
                .map_err(|_| RestoreError::TooFew)?;
        let data: Option<Vec<Vec<u8>>> = original
            .iter()
            .enumerate()
            .map(|(place, shard)| shard.map(<[u8]>::to_vec).or_else(|| restored.remove(&place)))
            .collect();
        // A root over shards that are no code word would give two readers two files.
        data.and_then(|data| Self::encode(geometry, number, data))
            .filter(|group| group.tree.root() == *root)
            .ok_or(RestoreError::Inconsistent)
    }

    /// Returns the number of the group.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Returns all shards.
    #[must_use]
    pub fn shards(&self) -> &[Vec<u8>] {
        &self.shards
    }

    /// Returns the root of the group's Merkle tree.
    #[must_use]
    pub fn root(&self) -> [u8; 32] {
        self.tree.root()
    }

    /// Returns the Merkle path of a shard, if `top` is the path of this group in the file.
    pub(crate) fn path_below(&self, top: &[Node], shard: u32) -> merkle::Path {
        merkle::path_below(&self.tree, shard, top)
    }

    pub(crate) fn tree(&self) -> &Tree {
        &self.tree
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shards = self.shards.len();
        f.debug_struct("Group").field("number", &self.number).field("shards", &shards).finish()
    }
}

/// The roots of all groups of a file.
#[derive(Clone, Debug)]
pub struct GroupRoots(Tree, Vec<Node>);

impl GroupRoots {
    /// Returns the roots of the groups in order, of which there is at least one.
    #[must_use]
    pub fn new(roots: Vec<[u8; 32]>) -> Self {
        Self(Tree::new(roots.clone()), roots)
    }

    /// Returns the root of the file.
    #[must_use]
    pub fn file_root(&self) -> merkle::Root {
        merkle::Root(self.0.root())
    }

    /// Returns the root of a group.
    #[must_use]
    pub fn group_root(&self, number: u32) -> Option<&[u8; 32]> {
        self.1.get(number as usize)
    }

    /// Returns the path of a group in the file.
    pub(crate) fn top(&self, group: u32) -> Vec<Node> {
        merkle::top(&self.0, group)
    }

    /// Returns the Merkle path of a shard of a group.
    #[must_use]
    pub fn path(&self, group: &Group, shard: u32) -> merkle::Path {
        merkle::path(group.tree(), shard, &self.0, group.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn group(geometry: Geometry, number: u32) -> Group {
        let shard = |place: u32| {
            let byte = |at: usize| (at as u32 * 31 + place * 7 + number) as u8;
            (0..SHARD).map(byte).collect()
        };
        Group::encode(geometry, number, (0..geometry.data()).map(shard).collect()).unwrap()
    }

    #[test]
    fn the_parity_of_a_group_never_changes() {
        let mut hasher = blake3::Hasher::new();
        for (redundancy, shards) in [(2, 1), (2, 93), (2, 256), (3, 170), (8, 64), (2, 922)] {
            let geometry = Geometry::new(redundancy, shards).unwrap();
            group(geometry, 0).shards().iter().for_each(|shard| _ = hasher.update(shard));
        }
        let hash = hasher.finalize();
        assert_eq!(hash.to_hex().as_str(), include_str!("golden/parity").trim());
    }

    #[test]
    fn shards_that_are_no_code_word_are_inconsistent() {
        let geometry = Geometry::new(2, 9).unwrap();
        let mut group = group(geometry, 0);
        group.shards[20][5] ^= 1;
        // The one who puts the file computes a root over the wrong shards.
        let leaves = group.shards.iter().zip(0..);
        let leaves = leaves.map(|(shard, index)| merkle::leaf(geometry, index, shard)).collect();
        let root = Tree::new(leaves).root();
        let shards = group.shards.iter().enumerate().skip(15);
        let shards = shards.map(|(place, shard)| (place as u32, &shard[..]));
        let result = Group::restore(geometry, 0, &root, shards);
        assert_eq!(result.unwrap_err(), RestoreError::Inconsistent);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn any_k_shards_restore_the_group_and_fewer_do_not(
            redundancy in 2u8..=8,
            shards in 1u32..=200,
            order in any::<u64>(),
        ) {
            let geometry = Geometry::new(redundancy, shards).unwrap();
            let group = group(geometry, geometry.groups() - 1);
            let mut places: Vec<u32> = (0..geometry.total()).collect();
            // A random order.
            places.sort_by_key(|place| {
                (u64::from(*place) ^ order).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29)
            });
            let taken = |count: u32| {
                let taken = places.iter().take(count as usize);
                taken.map(|place| (*place, &group.shards()[*place as usize][..]))
            };
            let number = group.number();
            let root = group.root();
            let restored =
                Group::restore(geometry, number, &root, taken(geometry.data())).unwrap();
            prop_assert_eq!(restored.shards(), group.shards());
            let restored = Group::restore(geometry, number, &root, taken(geometry.total()));
            prop_assert_eq!(restored.unwrap().root(), root);
            let result = Group::restore(geometry, number, &root, taken(geometry.data() - 1));
            prop_assert_eq!(result.unwrap_err(), RestoreError::TooFew);
        }
    }
}
