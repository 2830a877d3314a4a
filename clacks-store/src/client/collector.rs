//! The pieces of a file that were seen and proved.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use crate::chunk::{Chunk, OpenedChunk, Tag};
use crate::estimate::AliveShare;
use crate::geometry::Geometry;
use crate::keys::ChunkKeys;
use crate::link::KeepLink;
use crate::merkle::{Root, prove};

use super::survey::TowerId;

/// The pieces that are asked for beyond those needed, so that a silent tower does not hold up the
/// last ones of a group.
const SPARE: u32 = 8;

/// The towers that are remembered as sources of a piece.
const SOURCES: usize = 2;
const NO_TOWER: TowerId = TowerId::MAX;

/// A set of indexes.
#[derive(Clone, Debug)]
pub(crate) struct Bits(Vec<u64>);

impl Bits {
    pub(crate) fn new(len: u32) -> Self {
        Self(vec![0; (len as usize).div_ceil(64)])
    }

    pub(crate) fn contains(&self, index: u32) -> bool {
        self.0.get(index as usize / 64).is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    /// Inserts an index. Returns whether it was not in the set.
    pub(crate) fn insert(&mut self, index: u32) -> bool {
        let Some(word) = self.0.get_mut(index as usize / 64) else { return false };
        let bit = 1 << (index % 64);
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    /// Removes an index. Returns whether it was in the set.
    pub(crate) fn remove(&mut self, index: u32) -> bool {
        let Some(word) = self.0.get_mut(index as usize / 64) else { return false };
        let bit = 1 << (index % 64);
        let was_in = *word & bit != 0;
        *word &= !bit;
        was_in
    }

    pub(crate) fn clear(&mut self) {
        self.0.fill(0);
    }
}

/// Which pieces are taken.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Scope {
    /// None. Only inventories are read.
    None,
    /// As many as each group needs.
    All,
    /// As many as these groups need.
    Groups(Vec<u32>),
    /// This share of those that are seen.
    Sample(f64),
}

/// Whether a piece is asked for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Now,
    /// Perhaps later: enough pieces of the group are asked for already.
    Later,
    Never,
}

/// The pieces of a file that were seen and proved.
#[derive(Debug)]
pub(crate) struct Collector {
    geometry: Geometry,
    root: Root,
    keys: ChunkKeys,
    pub(crate) scope: Scope,
    proved: Bits,
    asked: Bits,
    proved_in: Vec<u32>,
    asked_in: Vec<u32>,
    /// The towers that list a piece in this round.
    sources: Vec<[TowerId; SOURCES]>,
    /// The pieces whose hour is at least `fresh_from`, in this round.
    fresh: Bits,
    pub(crate) fresh_from: u32,
    last_end: u32,
    /// The pieces that were taken, and those of them that were proved, in this round.
    taken: u32,
    proved_of_taken: u32,
}

impl Collector {
    pub(crate) fn new(link: &KeepLink, scope: Scope) -> Self {
        let file = link.file();
        let (groups, chunks) = (file.geometry.groups(), file.geometry.chunks());
        Self {
            geometry: file.geometry,
            root: file.root,
            keys: link.chunk_keys(),
            scope,
            proved: Bits::new(chunks),
            asked: Bits::new(chunks),
            proved_in: vec![0; groups as usize],
            asked_in: vec![0; groups as usize],
            sources: vec![[NO_TOWER; SOURCES]; chunks as usize],
            fresh: Bits::new(chunks),
            fresh_from: 0,
            last_end: 0,
            taken: 0,
            proved_of_taken: 0,
        }
    }

    pub(crate) fn geometry(&self) -> Geometry {
        self.geometry
    }

    pub(crate) fn keys(&self) -> &ChunkKeys {
        &self.keys
    }

    /// Begins a round of visits. What was proved stays.
    pub(crate) fn begin_round(&mut self) {
        self.asked.clear();
        self.asked_in.fill(0);
        self.sources.fill([NO_TOWER; SOURCES]);
        self.fresh.clear();
        self.last_end = 0;
        (self.taken, self.proved_of_taken) = (0, 0);
    }

    /// Forgets what was proved.
    pub(crate) fn forget_proved(&mut self) {
        self.proved.clear();
        self.proved_in.fill(0);
    }

    /// Notes a piece as proved. Returns whether it was not.
    pub(crate) fn set_proved(&mut self, index: u32) -> bool {
        let Some((group, _)) = self.geometry.locate(index) else { return false };
        let is_new = self.proved.insert(index);
        if let Some(count) = self.proved_in.get_mut(group as usize).filter(|_| is_new) {
            *count += 1;
        }
        is_new
    }

    /// Takes an entry of an inventory. Returns the index if the piece may be taken from this tower.
    pub(crate) fn see(
        &mut self,
        tag: Tag,
        until: u32,
        tower: TowerId,
        draw: impl FnOnce() -> f64,
    ) -> Option<u32> {
        let index = tag.recognise(&self.keys)?;
        let (group, _) = self.geometry.locate(index)?;
        let sources = self.sources.get_mut(index as usize)?;
        let is_first = sources.iter().all(|source| *source == NO_TOWER);
        if !sources.contains(&tower)
            && let Some(place) = sources.iter_mut().find(|source| **source == NO_TOWER)
        {
            *place = tower;
        }
        if until >= self.fresh_from {
            self.fresh.insert(index);
        }
        self.last_end = self.last_end.max(until);
        let may_be_taken = match &self.scope {
            Scope::None => false,
            Scope::Sample(share) => is_first && draw() < *share,
            Scope::All => self.is_open(group),
            Scope::Groups(groups) => groups.contains(&group) && self.is_open(group),
        };
        (may_be_taken && !self.proved.contains(index)).then_some(index)
    }

    /// Returns whether a group needs more pieces.
    fn is_open(&self, group: u32) -> bool {
        self.proved_in.get(group as usize).is_some_and(|count| *count < self.geometry.data())
    }

    /// Returns whether a piece is asked for.
    pub(crate) fn wish(&self, index: u32) -> Wish {
        let Some((group, _)) = self.geometry.locate(index) else { return Wish::Never };
        if self.proved.contains(index) {
            return Wish::Never;
        }
        if matches!(self.scope, Scope::Sample(_)) {
            return if self.asked.contains(index) { Wish::Never } else { Wish::Now };
        }
        let count = |of: &[u32]| of.get(group as usize).copied().unwrap_or(0);
        let (proved, asked) = (count(&self.proved_in), count(&self.asked_in));
        if proved >= self.geometry.data() {
            Wish::Never
        } else if self.asked.contains(index) || proved + asked >= self.geometry.data() + SPARE {
            Wish::Later
        } else {
            Wish::Now
        }
    }

    pub(crate) fn on_asked(&mut self, index: u32) {
        if self.asked.insert(index)
            && let Some((group, _)) = self.geometry.locate(index)
            && let Some(count) = self.asked_in.get_mut(group as usize)
        {
            *count += 1;
        }
    }

    pub(crate) fn on_not_asked(&mut self, index: u32) {
        if self.asked.remove(index)
            && let Some((group, _)) = self.geometry.locate(index)
            && let Some(count) = self.asked_in.get_mut(group as usize)
        {
            *count -= 1;
        }
    }

    /// Opens and proves a chunk that was asked for as `index`. Returns the piece with the root of
    /// its group.
    pub(crate) fn open(&mut self, bytes: &[u8], index: u32) -> Option<(OpenedChunk, [u8; 32])> {
        self.taken += 1;
        let piece = Chunk::parse(bytes)?.open(&self.keys)?;
        if piece.index() != index {
            return None;
        }
        let group_root = prove(self.geometry, &self.root, index, piece.shard(), &piece.path())?;
        self.proved_of_taken += 1;
        Some((piece, group_root))
    }

    /// Returns whether all groups in the scope have as many pieces as they need.
    pub(crate) fn is_complete(&self) -> bool {
        match &self.scope {
            Scope::None | Scope::Sample(_) => false,
            Scope::All => (0..self.geometry.groups()).all(|group| !self.is_open(group)),
            Scope::Groups(groups) => groups.iter().all(|group| !self.is_open(*group)),
        }
    }

    /// Returns the pieces that are proved and needed, and the groups that are full.
    pub(crate) fn progress(&self) -> (u32, u32) {
        let data = self.geometry.data();
        let proved = self.proved_in.iter().map(|count| (*count).min(data)).sum();
        let full = self.proved_in.iter().filter(|count| **count >= data).count();
        (proved, u32::try_from(full).unwrap_or(u32::MAX))
    }

    /// Returns how many different pieces of each group are seen at towers that are not bad.
    pub(crate) fn seen_in_groups(&self, is_bad: impl Fn(TowerId) -> bool) -> Vec<u32> {
        self.count(|index| self.is_seen(index, &is_bad))
    }

    /// Like [`seen_in_groups`](Self::seen_in_groups), but counts pieces that are proved as well.
    pub(crate) fn known_in_groups(&self, is_bad: impl Fn(TowerId) -> bool) -> Vec<u32> {
        self.count(|index| self.proved.contains(index) || self.is_seen(index, &is_bad))
    }

    fn is_seen(&self, index: u32, is_bad: impl Fn(TowerId) -> bool) -> bool {
        let sources = self.sources.get(index as usize).into_iter().flatten();
        sources.into_iter().any(|tower| *tower != NO_TOWER && !is_bad(*tower))
    }

    /// Returns how many pieces of each group are seen at towers that are not bad and end late
    /// enough.
    pub(crate) fn fresh_in_groups(&self, is_bad: impl Fn(TowerId) -> bool) -> Vec<u32> {
        self.count(|index| self.fresh.contains(index) && self.is_seen(index, &is_bad))
    }

    fn count(&self, counts: impl Fn(u32) -> bool) -> Vec<u32> {
        let total = self.geometry.total();
        let of_group = |group: u32| {
            let places = (0..total).map(|place| self.geometry.index(group, place));
            u32::try_from(places.filter(|index| counts(*index)).count()).unwrap_or(u32::MAX)
        };
        (0..self.geometry.groups()).map(of_group).collect()
    }

    /// Returns the places of a group that are not seen.
    pub(crate) fn unseen(&self, group: u32) -> Vec<u32> {
        self.places(group, |index| {
            self.sources.get(index as usize).is_some_and(|sources| sources[0] == NO_TOWER)
        })
    }

    /// Returns how many different pieces of each group are seen without the tower that lists the
    /// most pieces of the group.
    pub(crate) fn seen_without_largest(&self, is_bad: impl Fn(TowerId) -> bool) -> Vec<u32> {
        let total = self.geometry.total();
        let of_group = |group| {
            let scarce = self.scarce(group, &is_bad).len();
            total - u32::try_from(scarce).unwrap_or(total)
        };
        (0..self.geometry.groups()).map(of_group).collect()
    }

    /// Returns the places of a group that are not seen, or only at the tower that lists the most
    /// pieces of the group.
    pub(crate) fn scarce(&self, group: u32, is_bad: impl Fn(TowerId) -> bool) -> Vec<u32> {
        let mut listed: BTreeMap<TowerId, u32> = BTreeMap::new();
        for place in 0..self.geometry.total() {
            let index = self.geometry.index(group, place);
            let sources = self.sources.get(index as usize).into_iter().flatten();
            for tower in sources.filter(|tower| **tower != NO_TOWER && !is_bad(**tower)) {
                *listed.entry(*tower).or_default() += 1;
            }
        }
        let largest = listed.iter().max_by_key(|(_, count)| **count).map(|(tower, _)| *tower);
        let is_out = |tower| is_bad(tower) || Some(tower) == largest;
        self.places(group, |index| !self.is_seen(index, is_out))
    }

    /// Returns the places of a group that are not seen, or end too early.
    pub(crate) fn stale(&self, group: u32) -> Vec<u32> {
        self.places(group, |index| !self.fresh.contains(index))
    }

    fn places(&self, group: u32, is_wanted: impl Fn(u32) -> bool) -> Vec<u32> {
        let places = 0..self.geometry.total();
        places.filter(|place| is_wanted(self.geometry.index(group, *place))).collect()
    }

    /// Returns the share that is alive of each group.
    pub(crate) fn alive(&self, counts: &[u32], visited: f64) -> Vec<AliveShare> {
        let total = self.geometry.total();
        counts.iter().map(|seen| AliveShare::new(*seen, total, visited)).collect()
    }

    /// Returns the number of towers that list a piece.
    pub(crate) fn towers(&self) -> u32 {
        let mut towers = Bits::new(u32::from(TowerId::MAX));
        let sources = self.sources.iter().flatten().filter(|tower| **tower != NO_TOWER);
        let count = sources.filter(|tower| towers.insert(u32::from(**tower))).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    pub(crate) fn last_end(&self) -> u32 {
        self.last_end
    }

    /// Returns the pieces that were taken as a sample, and those of them that were proved.
    pub(crate) fn sample(&self) -> (u32, u32) {
        (self.taken, self.proved_of_taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::SHARD;
    use crate::link::{FileId, ReadLink};
    use crate::merkle::Path;
    use crate::{Secret, seal};
    use proptest::prelude::*;

    fn link(shards: u32) -> KeepLink {
        let geometry = Geometry::new(2, shards).unwrap();
        let file = FileId { geometry, until: 498_000, root: Root::new([3; 32]) };
        ReadLink::new(Secret::new([7; 16]), file).keep()
    }

    fn tag(link: &KeepLink, index: u32, nonce: u8) -> Tag {
        let keys = link.chunk_keys();
        let chunk = seal(&keys, index, &[1; SHARD], &Path::default(), 498_000, [nonce; 12]);
        Chunk::parse(&chunk[..]).unwrap().tag()
    }

    #[test]
    fn a_piece_counts_once_and_not_at_bad_towers() {
        let link = link(9);
        let mut collector = Collector::new(&link, Scope::None);
        collector.fresh_from = 498_001;
        for (index, nonce, tower) in [(1, 1, 0), (1, 2, 1), (2, 1, 2), (3, 1, 2), (3, 1, 0)] {
            let until = 498_000 + u32::from(nonce);
            assert_eq!(collector.see(tag(&link, index, nonce), until, tower, || 0.0), None);
        }
        let foreign = Tag::new([9; Tag::LEN]);
        assert_eq!(collector.see(foreign, 498_000, 5, || 0.0), None);
        assert_eq!(collector.seen_in_groups(|_| false), [3]);
        assert_eq!(collector.seen_in_groups(|tower| tower == 2), [2]);
        assert_eq!(collector.seen_in_groups(|tower| tower != 1), [1]);
        assert_eq!((collector.towers(), collector.last_end()), (3, 498_002));
        // Towers 0 and 2 list two pieces each, and one of them is at both.
        assert_eq!(collector.seen_without_largest(|_| false), [2]);
        assert_eq!(collector.seen_without_largest(|tower| tower == 1), [2]);
        assert_eq!(collector.unseen(0).len(), 37);
        collector.fresh_from = 498_002;
        collector.begin_round();
        assert_eq!(collector.seen_in_groups(|_| false), [0]);
        collector.see(tag(&link, 1, 1), 498_001, 0, || 0.0);
        collector.see(tag(&link, 2, 1), 498_002, 0, || 0.0);
        assert_eq!(collector.fresh_in_groups(|_| false), [1]);
        assert!(collector.stale(0).contains(&1) && !collector.stale(0).contains(&2));
    }

    #[test]
    fn no_more_pieces_are_asked_for_than_a_group_needs_and_a_few() {
        let link = link(60);
        let mut collector = Collector::new(&link, Scope::All);
        let asked: Vec<_> = (0..120)
            .filter(|index| {
                let is_wanted = collector.wish(*index) == Wish::Now;
                if is_wanted {
                    collector.on_asked(*index);
                }
                is_wanted
            })
            .collect();
        assert_eq!(asked.len(), 60 + SPARE as usize);
        assert_eq!((collector.wish(5), collector.wish(119)), (Wish::Later, Wish::Later));
        // One that did not come makes room for another.
        collector.on_not_asked(5);
        assert_eq!((collector.wish(5), collector.wish(119)), (Wish::Now, Wish::Now));
        (0..60).for_each(|index| assert!(collector.set_proved(index)));
        assert!(!collector.set_proved(1));
        assert!(collector.is_complete());
        assert_eq!((collector.wish(119), collector.progress()), (Wish::Never, (60, 1)));
        let keep = Collector::new(&link, Scope::Sample(0.5));
        assert!(!keep.is_complete());
    }

    #[test]
    fn a_piece_that_is_not_proved_is_refused() {
        let link = link(9);
        let keys = link.chunk_keys();
        let mut collector = Collector::new(&link, Scope::All);
        let chunk = seal(&keys, 4, &[1; SHARD], &Path::default(), 498_000, [1; 12]);
        assert!(collector.open(&chunk[..], 4).is_none(), "another root");
        assert!(collector.open(&chunk[..100], 4).is_none());
        assert_eq!(collector.sample(), (2, 0));
    }

    proptest! {
        #[test]
        fn bits_are_a_set(indexes in prop::collection::vec(0u32..300, 0..200)) {
            let mut bits = Bits::new(300);
            let mut set = alloc::collections::BTreeSet::new();
            for (at, index) in indexes.into_iter().enumerate() {
                match at % 3 {
                    0 | 1 => prop_assert_eq!(bits.insert(index), set.insert(index)),
                    _ => prop_assert_eq!(bits.remove(index), set.remove(&index)),
                }
            }
            prop_assert!((0..300).all(|index| bits.contains(index) == set.contains(&index)));
            prop_assert!(!bits.insert(320) && !bits.contains(1_000));
        }
    }
}
