//! The chunks that a tower holds.

use alloc::collections::BTreeMap;
use alloc::collections::btree_map;
use core::ops::Bound;

use clacks_proto::{Instant, MessageId};

use crate::address_group::AddressGroup;
use crate::chunk::Tag;

/// The chunks that a tower holds, by tag.
///
/// The maps are ordered: pages are in the order of tags. Strangers choose the keys, and a tree does
/// not degrade.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    entries: BTreeMap<Tag, Entry>,
    /// The number of chunks from each source.
    sources: BTreeMap<Source, usize>,
}

/// Where a chunk came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    /// A tower of this group handed it over as a message.
    Message(AddressGroup),
    /// It was published through a link to this group.
    Published(AddressGroup),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) id: MessageId,
    /// The Unix hour at whose end the chunk is over.
    pub(super) until: u32,
    pub(super) source: Source,
    /// The chunk is not on pages before.
    pub(super) listed_at: Instant,
}

impl Inventory {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn get(&self, tag: Tag) -> Option<&Entry> {
        self.entries.get(&tag)
    }

    /// Returns the number of chunks that came from a source.
    pub(super) fn of_source(&self, source: Source) -> usize {
        self.sources.get(&source).copied().unwrap_or(0)
    }

    pub(super) fn insert(&mut self, tag: Tag, entry: Entry) {
        self.remove(tag);
        self.entries.insert(tag, entry);
        *self.sources.entry(entry.source).or_default() += 1;
    }

    pub(super) fn remove(&mut self, tag: Tag) {
        let Some(entry) = self.entries.remove(&tag) else { return };
        if let btree_map::Entry::Occupied(mut count) = self.sources.entry(entry.source) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }

    /// Returns the chunks after a tag, in order.
    pub(super) fn after(&self, tag: Tag) -> impl Iterator<Item = (Tag, &Entry)> {
        let range = self.entries.range((Bound::Excluded(tag), Bound::Unbounded));
        range.map(|(tag, entry)| (*tag, entry))
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn assert_consistent(&self) {
        for (source, count) in &self.sources {
            let of_source = self.entries.values().filter(|entry| entry.source == *source);
            assert_eq!(of_source.count(), *count, "chunks of {source:?}");
        }
        assert_eq!(self.sources.values().sum::<usize>(), self.entries.len());
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Tag, &Entry)> {
        self.entries.iter().map(|(tag, entry)| (*tag, entry))
    }
}
