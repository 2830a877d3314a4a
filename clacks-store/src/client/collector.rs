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

/// The towers that are remembered as sources of a piece. Most pieces have one or two, and liars may
/// take the other places.
const SOURCES: usize = 4;
const NO_TOWER: TowerId = TowerId::MAX;

/// The least pieces of a sample of each group, and the least share of its pieces.
const SAMPLE: f64 = 8.0;
const SAMPLE_SHARE: f64 = 0.05;
/// The fewest pieces of a sample that make a tower a liar if it proves less than half of them. A
/// single piece may have moved on. It counts for its group.
const ENOUGH_TRIALS: u32 = 2;
/// A tower that lists more than this share of a group must give two pieces of it.
pub(crate) const LARGE: u32 = 16;

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
    /// A random share of those that are seen, and some of each tower that lists many.
    Sample,
}

/// A piece that a tower lists, and that is taken from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) tag: Tag,
    pub(crate) index: u32,
    /// The hour at whose end the piece ends, as the tower says.
    pub(crate) until: u32,
    /// The piece was drawn for the random sample.
    pub(crate) is_drawn: bool,
}

/// A tower that lists a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Source {
    tower: TowerId,
    /// The piece ends late enough, as the tower says.
    is_fresh: bool,
}

const NO_SOURCE: Source = Source { tower: NO_TOWER, is_fresh: false };

/// What came of a piece that was taken as a sample.
#[derive(Clone, Copy, Debug)]
struct Trial {
    tower: TowerId,
    group: u32,
    is_drawn: bool,
    is_fresh: bool,
    is_proved: bool,
}

/// What a round of visits showed of a tower.
#[derive(Clone, Copy, Debug, Default)]
struct Listing {
    /// The pieces that the tower lists.
    listed: u32,
    last_end: u32,
    taken: u32,
    proved: u32,
}

/// Whether a piece is taken from a tower that lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Take {
    Yes,
    /// If the tower lists a large part of the group.
    IfLarge,
    No,
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
    sources: Vec<[Source; SOURCES]>,
    /// By tower.
    listings: Vec<Listing>,
    pub(crate) fresh_from: u32,
    /// The last hour that a store takes. A later one is a lie.
    pub(crate) latest: u32,
    /// The sample of this round.
    trials: Vec<Trial>,
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
            sources: vec![[NO_SOURCE; SOURCES]; chunks as usize],
            listings: Vec::new(),
            fresh_from: 0,
            latest: u32::MAX,
            trials: Vec::new(),
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
        self.sources.fill([NO_SOURCE; SOURCES]);
        self.listings.clear();
        self.trials.clear();
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

    /// Takes an entry of an inventory. Returns the group and the piece if the entry is one of the
    /// file. The piece is to be taken from this tower if that is said, too.
    pub(crate) fn see(
        &mut self,
        tag: Tag,
        until: u32,
        tower: TowerId,
        draw: impl FnOnce() -> f64,
    ) -> Option<(u32, Wanted, Take)> {
        let index = tag.recognise(&self.keys)?;
        let (group, _) = self.geometry.locate(index)?;
        let sources = self.sources.get_mut(index as usize)?;
        if self.listings.len() <= usize::from(tower) {
            self.listings.resize_with(usize::from(tower) + 1, Listing::default);
        }
        let listing = self.listings.get_mut(usize::from(tower))?;
        listing.listed += 1;
        listing.last_end = listing.last_end.max(until.min(self.latest));
        let is_fresh = until >= self.fresh_from;
        let listed = listing.listed;
        let of = |source: &Source| {
            self.listings.get(usize::from(source.tower)).map_or(u32::MAX, |it| it.listed)
        };
        if let Some(source) = sources.iter_mut().find(|source| source.tower == tower) {
            source.is_fresh |= is_fresh;
        } else if let Some(place) = sources.iter_mut().max_by_key(|source| of(source))
            // A tower that lists more than others is the more likely to lie. Free places are
            // taken first.
            && of(place) >= listed
        {
            *place = Source { tower, is_fresh };
        }
        let is_wanted = match &self.scope {
            Scope::None => false,
            Scope::Sample => draw() < self.sample_share(),
            Scope::All => self.needs(index),
            Scope::Groups(groups) => groups.contains(&group) && self.needs(index),
        };
        let take = match (&self.scope, is_wanted) {
            (_, true) => Take::Yes,
            (Scope::Sample, false) => Take::IfLarge,
            _ => Take::No,
        };
        let is_drawn = take == Take::Yes;
        Some((group, Wanted { tag, index, until, is_drawn }, take))
    }

    /// Returns the share of the pieces that is drawn as a sample.
    fn sample_share(&self) -> f64 {
        (SAMPLE / f64::from(self.geometry.total())).max(SAMPLE_SHARE)
    }

    /// Returns whether a piece is one of the file, is not proved, and its group needs more pieces.
    pub(crate) fn needs(&self, index: u32) -> bool {
        let group = self.geometry.locate(index).map(|(group, _)| group);
        group.is_some_and(|group| self.is_open(group)) && !self.proved.contains(index)
    }

    /// Returns how many pieces are proved of the group that has the fewest.
    pub(crate) fn least_proved(&self) -> u32 {
        self.proved_in.iter().copied().min().unwrap_or(0)
    }

    /// Returns whether a group needs more pieces.
    fn is_open(&self, group: u32) -> bool {
        self.proved_in.get(group as usize).is_some_and(|count| *count < self.geometry.data())
    }

    /// Returns whether a piece is asked for.
    pub(crate) fn wish(&self, index: u32) -> Wish {
        let Some((group, _)) = self.geometry.locate(index) else { return Wish::Never };
        if self.scope == Scope::Sample {
            // Each tower must prove what it lists, even if another one has proved the same.
            return Wish::Now;
        }
        if self.proved.contains(index) {
            return Wish::Never;
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
        let piece = Chunk::parse(bytes)?.open(&self.keys)?;
        if piece.index() != index {
            return None;
        }
        let group_root = prove(self.geometry, &self.root, index, piece.shard(), &piece.path())?;
        Some((piece, group_root))
    }

    /// Notes what came of a piece that was taken as a sample.
    pub(crate) fn on_trial(&mut self, tower: TowerId, wanted: &Wanted, is_proved: bool) {
        let Some((group, _)) = self.geometry.locate(wanted.index) else { return };
        let Some(listing) = self.listings.get_mut(usize::from(tower)) else { return };
        if self.scope != Scope::Sample {
            return;
        }
        listing.taken += 1;
        listing.proved += u32::from(is_proved);
        self.trials.push(Trial {
            tower,
            group,
            is_drawn: wanted.is_drawn,
            is_fresh: wanted.until >= self.fresh_from,
            is_proved,
        });
    }

    /// Returns whether a tower did not prove half of what was taken from it as a sample.
    pub(crate) fn is_liar(&self, tower: TowerId) -> bool {
        let is_liar = |it: &Listing| it.taken >= ENOUGH_TRIALS && it.proved * 2 < it.taken;
        self.listings.get(usize::from(tower)).is_some_and(is_liar)
    }

    /// Returns whether all groups in the scope have as many pieces as they need.
    pub(crate) fn is_complete(&self) -> bool {
        match &self.scope {
            Scope::None | Scope::Sample => false,
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
        self.sources_of(index).any(|source| !is_bad(source.tower))
    }

    fn sources_of(&self, index: u32) -> impl Iterator<Item = Source> {
        let sources = self.sources.get(index as usize).into_iter().flatten().copied();
        sources.filter(|source| source.tower != NO_TOWER)
    }

    /// Returns how many pieces of each group are seen at towers that are not bad and end late
    /// enough.
    pub(crate) fn fresh_in_groups(&self, is_bad: impl Fn(TowerId) -> bool) -> Vec<u32> {
        self.count(|index| self.is_fresh(index, &is_bad))
    }

    fn is_fresh(&self, index: u32, is_bad: impl Fn(TowerId) -> bool) -> bool {
        self.sources_of(index).any(|source| source.is_fresh && !is_bad(source.tower))
    }

    fn count(&self, counts: impl Fn(u32) -> bool) -> Vec<u32> {
        let total = self.geometry.total();
        let of_group = |group: u32| {
            let places = (0..total).map(|place| self.geometry.index(group, place));
            u32::try_from(places.filter(|index| counts(*index)).count()).unwrap_or(u32::MAX)
        };
        (0..self.geometry.groups()).map(of_group).collect()
    }

    /// Returns the places of a group that are not seen at towers that are not bad.
    pub(crate) fn unseen(&self, group: u32, is_bad: impl Fn(TowerId) -> bool) -> Vec<u32> {
        self.places(group, |index| !self.is_seen(index, &is_bad))
    }

    /// Returns how many different pieces of each group are seen without the `count` towers that list
    /// the most pieces of the group.
    pub(crate) fn seen_without_largest(
        &self,
        count: usize,
        is_bad: impl Fn(TowerId) -> bool,
    ) -> Vec<u32> {
        let total = self.geometry.total();
        let of_group = |group| {
            let scarce = self.scarce(group, count, &is_bad).len();
            total - u32::try_from(scarce).unwrap_or(total)
        };
        (0..self.geometry.groups()).map(of_group).collect()
    }

    /// Returns the places of a group that are not seen, or only at the `count` towers that list the
    /// most pieces of the group.
    pub(crate) fn scarce(
        &self,
        group: u32,
        count: usize,
        is_bad: impl Fn(TowerId) -> bool,
    ) -> Vec<u32> {
        let mut listed: BTreeMap<TowerId, u32> = BTreeMap::new();
        for place in 0..self.geometry.total() {
            let index = self.geometry.index(group, place);
            for source in self.sources_of(index).filter(|source| !is_bad(source.tower)) {
                *listed.entry(source.tower).or_default() += 1;
            }
        }
        let mut by_count: Vec<_> =
            listed.into_iter().map(|(tower, count)| (count, tower)).collect();
        by_count.sort_unstable_by(|one, other| other.cmp(one));
        let largest: Vec<_> = by_count.into_iter().take(count).map(|(_, tower)| tower).collect();
        let is_out = |tower| is_bad(tower) || largest.contains(&tower);
        self.places(group, |index| !self.is_seen(index, is_out))
    }

    /// Returns the places of a group that are not seen, or end too early.
    pub(crate) fn stale(&self, group: u32, is_bad: impl Fn(TowerId) -> bool) -> Vec<u32> {
        self.places(group, |index| !self.is_fresh(index, &is_bad))
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

    /// Returns the number of towers that list a piece and are not bad.
    pub(crate) fn towers(&self, is_bad: impl Fn(TowerId) -> bool) -> u32 {
        let counted = (0..).zip(&self.listings).filter(|(tower, _)| !is_bad(*tower));
        let count = counted.filter(|(_, listing)| listing.listed > 0).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Returns the hour at whose end the last piece ends, as towers that are not bad say.
    pub(crate) fn last_end(&self, is_bad: impl Fn(TowerId) -> bool) -> u32 {
        let counted = (0..).zip(&self.listings).filter(|(tower, _)| !is_bad(*tower));
        counted.map(|(_, listing)| listing.last_end).max().unwrap_or(0)
    }

    /// Returns the pieces that were taken as a sample, and those of them that were proved.
    pub(crate) fn sample(&self) -> (u32, u32) {
        let sum = |of: fn(&Listing) -> u32| self.listings.iter().map(of).sum();
        (sum(|it| it.taken), sum(|it| it.proved))
    }

    /// Returns the pieces of each group that were drawn as a sample at towers that are not bad, and
    /// those of them that were proved. Other samples of a group count if none was drawn.
    pub(crate) fn sample_of_groups(
        &self,
        which: Which,
        is_bad: impl Fn(TowerId) -> bool,
    ) -> Vec<(u32, u32)> {
        let mut drawn = vec![(0, 0); self.geometry.groups() as usize];
        let mut all = drawn.clone();
        for trial in self.trials.iter().filter(|trial| !is_bad(trial.tower)) {
            if which == Which::Fresh && !trial.is_fresh {
                continue;
            }
            for (counts, of_groups) in [(trial.is_drawn, &mut drawn), (true, &mut all)] {
                if let Some(of_group) = of_groups.get_mut(trial.group as usize).filter(|_| counts) {
                    of_group.0 += 1;
                    of_group.1 += u32::from(trial.is_proved);
                }
            }
        }
        let groups = drawn.into_iter().zip(all);
        groups.map(|(drawn, all)| if drawn.0 > 0 { drawn } else { all }).collect()
    }
}

/// The pieces that are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    All,
    /// Those that end late enough.
    Fresh,
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
            let seen = collector.see(tag(&link, index, nonce), until, tower, || 0.0);
            assert!(matches!(seen, Some((0, _, Take::No))), "{seen:?}");
        }
        let foreign = Tag::new([9; Tag::LEN]);
        assert_eq!(collector.see(foreign, 498_000, 5, || 0.0), None);
        assert_eq!(collector.seen_in_groups(|_| false), [3]);
        assert_eq!(collector.seen_in_groups(|tower| tower == 2), [2]);
        assert_eq!(collector.seen_in_groups(|tower| tower != 1), [1]);
        assert_eq!((collector.towers(|_| false), collector.last_end(|_| false)), (3, 498_002));
        assert_eq!(collector.last_end(|tower| tower == 1), 498_001);
        // Towers 0 and 2 list two pieces each, and one of them is at both.
        assert_eq!(collector.seen_without_largest(1, |_| false), [2]);
        assert_eq!(collector.seen_without_largest(1, |tower| tower == 1), [2]);
        // Without both of them, only the piece at tower 1 is left.
        assert_eq!(collector.seen_without_largest(2, |_| false), [1]);
        assert_eq!(collector.seen_without_largest(0, |_| false), [3]);
        assert_eq!(collector.unseen(0, |_| false).len(), 37);
        collector.fresh_from = 498_002;
        collector.begin_round();
        assert_eq!(collector.seen_in_groups(|_| false), [0]);
        collector.see(tag(&link, 1, 1), 498_001, 0, || 0.0);
        collector.see(tag(&link, 2, 1), 498_002, 0, || 0.0);
        assert_eq!(collector.fresh_in_groups(|_| false), [1]);
        assert_eq!(collector.fresh_in_groups(|tower| tower == 0), [0]);
        let stale = collector.stale(0, |_| false);
        assert!(stale.contains(&1) && !stale.contains(&2));
        assert!(collector.stale(0, |tower| tower == 0).contains(&2));
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
        let keep = Collector::new(&link, Scope::Sample);
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
    }

    #[test]
    fn a_tower_that_proves_less_than_half_does_not_count() {
        let link = link(9);
        let mut collector = Collector::new(&link, Scope::Sample);
        collector.fresh_from = 498_001;
        for (index, tower, until, draw, is_proved) in [
            (1, 0, 498_001, 0.0, true),
            (2, 0, 498_000, 1.0, false),
            (3, 1, 498_001, 0.0, true),
            (4, 1, 498_001, 0.0, false),
            (5, 1, 498_001, 1.0, false),
        ] {
            let seen = collector.see(tag(&link, index, 1), until, tower, || draw);
            let (group, wanted, take) = seen.unwrap();
            assert_eq!((group, take == Take::Yes), (0, draw < 0.1));
            collector.on_trial(tower, &wanted, is_proved);
        }
        assert_eq!([0, 1, 2].map(|tower| collector.is_liar(tower)), [false, true, false]);
        assert_eq!(collector.sample(), (5, 2));
        assert_eq!(collector.sample_of_groups(Which::All, |_| false), [(3, 2)]);
        assert_eq!(collector.sample_of_groups(Which::Fresh, |tower| tower == 1), [(1, 1)]);
        // No piece of tower 0 was drawn for the random sample, if the first one is left out.
        collector.trials.remove(0);
        assert_eq!(collector.sample_of_groups(Which::All, |tower| tower == 1), [(1, 0)]);
        collector.begin_round();
        assert_eq!((collector.sample(), collector.is_liar(1)), ((0, 0), false));
    }

    #[test]
    fn towers_that_list_everything_do_not_hide_those_that_hold_pieces() {
        let link = link(9);
        let mut collector = Collector::new(&link, Scope::Sample);
        for liar in 0..6 {
            for index in 0..40 {
                collector.see(tag(&link, index, 1), 498_000, liar, || 1.0);
            }
        }
        collector.see(tag(&link, 7, 1), 498_000, 9, || 1.0);
        assert_eq!(collector.seen_in_groups(|tower| tower < 6), [1]);
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
