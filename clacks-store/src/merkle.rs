//! Merkle trees: proofs that a shard belongs to a file.
//!
//! Each group has a tree over all its shards, and the file has a tree over the roots of the groups.
//! A node that has no neighbour rises to the next level unchanged. All hashes are BLAKE3. A leaf
//! hashes a zero byte, the redundancy, the number of data shards of the file, the index and the
//! shard. A node hashes a byte of one and its two children.

use alloc::vec::Vec;

use crate::geometry::{Geometry, SHARD};

/// The nodes of a path: at most 9 levels for 512 shards and 9 for 512 groups.
pub(crate) const PATH: usize = 18;

/// A hash of the tree.
pub(crate) type Node = [u8; 32];

/// The root of a file's tree. It names the content of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Root(pub(crate) Node);

impl Root {
    /// Returns the root of these bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The neighbours on the way from a leaf to the root, and zeros.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path(pub(crate) [Node; PATH]);

/// The tree of a group, or of the groups of a file.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    /// The levels, from the leaves to the root.
    levels: Vec<Vec<Node>>,
}

impl Tree {
    /// Returns the tree of these leaves, of which there is at least one.
    pub(crate) fn new(leaves: Vec<Node>) -> Self {
        let mut levels = Vec::new();
        let mut level = leaves;
        while level.len() > 1 {
            let next = level.chunks(2).map(|pair| match pair {
                [left, right] => node(left, right),
                rest => rest.first().copied().unwrap_or_default(),
            });
            let next = next.collect();
            levels.push(core::mem::replace(&mut level, next));
        }
        levels.push(level);
        Self { levels }
    }

    pub(crate) fn root(&self) -> Node {
        self.levels.last().and_then(|level| level.first()).copied().unwrap_or_default()
    }

    /// Returns the neighbours on the way from a leaf to the root.
    fn neighbours(&self, leaf: usize) -> impl Iterator<Item = Node> + '_ {
        let levels = self.levels.iter().enumerate();
        levels.filter_map(move |(height, level)| level.get((leaf >> height) ^ 1).copied())
    }
}

/// Returns the hash of a shard.
pub(crate) fn leaf(geometry: Geometry, index: u32, shard: &[u8]) -> Node {
    debug_assert_eq!(shard.len(), SHARD);
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[0, geometry.redundancy()]);
    hasher.update(&geometry.shards().to_be_bytes()[1..]);
    hasher.update(&index.to_be_bytes());
    hasher.update(shard);
    *hasher.finalize().as_bytes()
}

fn node(left: &Node, right: &Node) -> Node {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[1]);
    hasher.update(left);
    hasher.update(right);
    *hasher.finalize().as_bytes()
}

/// Returns the path of a shard of a group.
pub(crate) fn path(group: &Tree, shard: u32, groups: &Tree, number: u32) -> Path {
    let mut path = Path::default();
    let neighbours = group.neighbours(shard as usize).chain(groups.neighbours(number as usize));
    path.0.iter_mut().zip(neighbours).for_each(|(place, node)| *place = node);
    path
}

/// Returns the path of a shard of a group, if `top` is the path of the group in the file.
pub(crate) fn path_below(group: &Tree, shard: u32, top: &[Node]) -> Path {
    let mut path = Path::default();
    let neighbours = group.neighbours(shard as usize).chain(top.iter().copied());
    path.0.iter_mut().zip(neighbours).for_each(|(place, node)| *place = node);
    path
}

/// Returns the path of a group in the file.
pub(crate) fn top(groups: &Tree, number: u32) -> Vec<Node> {
    groups.neighbours(number as usize).collect()
}

/// Returns the path of a group in the file, which is the upper part of the path of a proved shard.
pub(crate) fn top_of(geometry: Geometry, index: u32, path: &Path) -> Vec<Node> {
    let Some((group, place)) = geometry.locate(index) else { return Vec::new() };
    let below = neighbours(place, geometry.total());
    let above = neighbours(group, geometry.groups());
    path.0.iter().skip(below).take(above).copied().collect()
}

/// Returns the number of neighbours on the way from a leaf to the root of a tree.
fn neighbours(mut place: u32, mut count: u32) -> usize {
    let mut neighbours = 0;
    while count > 1 {
        neighbours += usize::from(place ^ 1 < count);
        (place, count) = (place / 2, count.div_ceil(2));
    }
    neighbours
}

/// Proves that a shard has this index in the file with this root. Returns the root of its group, or
/// `None` if the proof fails.
#[must_use]
pub fn prove(
    geometry: Geometry,
    root: &Root,
    index: u32,
    shard: &[u8],
    path: &Path,
) -> Option<[u8; 32]> {
    let (group, place) = geometry.locate(index)?;
    if shard.len() != SHARD {
        return None;
    }
    let mut nodes = path.0.iter();
    let start = leaf(geometry, index, shard);
    let group_root = climb(start, place, geometry.total(), &mut nodes)?;
    let top = climb(group_root, group, geometry.groups(), &mut nodes)?;
    // Another filling of the unused nodes would be another chunk of the same shard.
    let is_canonical = nodes.all(|node| *node == Node::default());
    (top == root.0 && is_canonical).then_some(group_root)
}

/// Returns the root of a tree of `count` leaves, of which the one at `place` is given.
fn climb<'a>(
    start: Node,
    mut place: u32,
    mut count: u32,
    nodes: &mut impl Iterator<Item = &'a Node>,
) -> Option<Node> {
    let mut hash = start;
    while count > 1 {
        if place ^ 1 < count {
            let neighbour = nodes.next()?;
            hash = if place & 1 == 0 { node(&hash, neighbour) } else { node(neighbour, &hash) };
        }
        (place, count) = (place / 2, count.div_ceil(2));
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    fn shard(index: u32) -> Vec<u8> {
        let mut shard = vec![0; SHARD];
        shard[..4].copy_from_slice(&index.to_be_bytes());
        shard
    }

    /// Returns the trees of a file whose shards are their indices.
    fn trees(geometry: Geometry) -> (Vec<Tree>, Tree) {
        let group = |group: u32| {
            let indices = (0..geometry.total()).map(|place| geometry.index(group, place));
            Tree::new(indices.map(|index| leaf(geometry, index, &shard(index))).collect())
        };
        let groups: Vec<_> = (0..geometry.groups()).map(group).collect();
        let top = Tree::new(groups.iter().map(Tree::root).collect());
        (groups, top)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn only_the_shard_at_its_index_with_its_path_and_geometry_is_proved(
            redundancy in 2u8..=8,
            shards in 1u32..=1_200,
            pick: u32,
            bit in 0usize..256,
        ) {
            let Ok(geometry) = Geometry::new(redundancy, shards) else { return Ok(()) };
            let (groups, top) = trees(geometry);
            let root = Root(top.root());
            let index = pick % geometry.chunks();
            let (group, place) = geometry.locate(index).unwrap();
            let path = path(&groups[group as usize], place, &top, group);
            let shard = shard(index);
            let group_root = prove(geometry, &root, index, &shard, &path);
            prop_assert_eq!(group_root, Some(groups[group as usize].root()));
            let is_proved = |geometry, root: &Root, index, shard: &[u8], path: &Path| {
                prove(geometry, root, index, shard, path).is_some()
            };
            // A keeper builds the paths of a group from that of one of its shards.
            let upper = top_of(geometry, index, &path);
            prop_assert_eq!(&upper, &super::top(&top, group));
            prop_assert_eq!(&path_below(&groups[group as usize], place, &upper), &path);
            // Another index, shard, root, geometry or path.
            let other = (index + 1) % geometry.chunks();
            prop_assert!(!is_proved(geometry, &root, other, &shard, &path));
            prop_assert!(!is_proved(geometry, &root, geometry.chunks(), &shard, &path));
            prop_assert!(!is_proved(geometry, &root, index, &shard[1..], &path));
            let mut changed = shard.clone();
            changed[bit] ^= 1;
            prop_assert!(!is_proved(geometry, &root, index, &changed, &path));
            let mut changed = root;
            changed.0[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(!is_proved(geometry, &changed, index, &shard, &path));
            if let Ok(changed) = Geometry::new(redundancy, shards + 1) {
                prop_assert!(!is_proved(changed, &root, index, &shard, &path));
            }
            for level in 0..PATH {
                let mut changed = path.clone();
                changed.0[level][bit / 8] ^= 1 << (bit % 8);
                prop_assert!(!is_proved(geometry, &root, index, &shard, &changed));
            }
        }
    }

    #[test]
    fn the_longest_path_fits() {
        let geometry = Geometry::new(2, 131_072).unwrap();
        let leaves = |count: u32| Tree::new((0..count).map(|n| [n as u8; 32]).collect());
        let (group, top) = (leaves(geometry.total()), leaves(geometry.groups()));
        assert_eq!(group.neighbours(0).count() + top.neighbours(0).count(), PATH);
    }
}
