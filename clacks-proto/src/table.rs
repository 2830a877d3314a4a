//! A table whose entries have ids that are never reused.

use alloc::vec::Vec;
use core::marker::PhantomData;

use crate::ids::Epoch;

/// The id of an entry: the index of its slot, and the slot's epoch.
pub(crate) trait Key: Copy {
    fn new(index: u32, epoch: Epoch) -> Self;
    fn parts(self) -> (u32, Epoch);
}

/// A generational table. Insertion, removal and lookup are O(1). The slot that was freed last is
/// reused first.
#[derive(Debug)]
pub(crate) struct Table<K, T> {
    slots: Vec<Slot<T>>,
    /// The first slot of the free list, or [`NONE`].
    free: u32,
    len: u32,
    /// The epoch of new slots. No slot that was freed with its memory had this epoch.
    first: Epoch,
    key: PhantomData<K>,
}

#[derive(Debug)]
struct Slot<T> {
    epoch: Epoch,
    entry: Entry<T>,
}

#[derive(Debug)]
enum Entry<T> {
    Occupied(T),
    /// The next slot of the free list, or [`NONE`].
    Free(u32),
}

/// No slot.
const NONE: u32 = u32::MAX;

impl<K, T> Default for Table<K, T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: NONE, len: 0, first: Epoch::FIRST, key: PhantomData }
    }
}

impl<K: Key, T> Table<K, T> {
    pub(crate) fn len(&self) -> usize {
        self.len as usize
    }

    #[inline(always)]
    pub(crate) fn insert(&mut self, entry: T) -> K {
        let entry = Entry::Occupied(entry);
        self.len += 1;
        if let Some(slot) = self.slots.get_mut(self.free as usize) {
            let index = self.free;
            if let Entry::Free(next) = core::mem::replace(&mut slot.entry, entry) {
                self.free = next;
            }
            return K::new(index, slot.epoch);
        }
        let index = u32::try_from(self.slots.len()).unwrap_or(NONE);
        debug_assert!(index < NONE, "Config::validate keeps tables below 2^32 entries");
        self.slots.push(Slot { epoch: self.first, entry });
        K::new(index, self.first)
    }

    pub(crate) fn remove(&mut self, key: K) -> Option<T> {
        let (index, epoch) = key.parts();
        let slot = self.slots.get_mut(index as usize).filter(|slot| slot.epoch == epoch)?;
        match core::mem::replace(&mut slot.entry, Entry::Free(self.free)) {
            Entry::Occupied(entry) => {
                slot.epoch = epoch.next();
                self.free = index;
                self.len -= 1;
                Some(entry)
            }
            free @ Entry::Free(_) => {
                slot.entry = free;
                None
            }
        }
    }

    /// Frees the memory if the table is empty. Later ids have later epochs.
    pub(crate) fn free_memory(&mut self) {
        if self.len == 0
            && let Some(latest) = self.slots.iter().map(|slot| slot.epoch).max()
        {
            (self.slots, self.free, self.first) = (Vec::new(), NONE, latest);
        }
    }

    #[inline]
    pub(crate) fn get(&self, key: K) -> Option<&T> {
        let (index, epoch) = key.parts();
        match self.slots.get(index as usize)? {
            Slot { epoch: current, entry: Entry::Occupied(entry) } if *current == epoch => {
                Some(entry)
            }
            _ => None,
        }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, key: K) -> Option<&mut T> {
        let (index, epoch) = key.parts();
        match self.slots.get_mut(index as usize)? {
            Slot { epoch: current, entry: Entry::Occupied(entry) } if *current == epoch => {
                Some(entry)
            }
            _ => None,
        }
    }

    /// Returns the entry in a slot and its key.
    #[inline]
    pub(crate) fn at(&self, index: u32) -> Option<(K, &T)> {
        match self.slots.get(index as usize)? {
            Slot { epoch, entry: Entry::Occupied(entry) } => Some((K::new(index, *epoch), entry)),
            _ => None,
        }
    }

    /// Returns the entry in a slot.
    #[inline]
    pub(crate) fn at_mut(&mut self, index: u32) -> Option<&mut T> {
        match self.slots.get_mut(index as usize)? {
            Slot { entry: Entry::Occupied(entry), .. } => Some(entry),
            _ => None,
        }
    }

    /// Starts to load the slot with an index into the cache.
    #[cfg(feature = "simulation")]
    #[inline]
    pub(crate) fn prefetch(&self, index: u32) {
        prefetch_index::prefetch_index(&self.slots, index as usize);
    }

    /// Returns all entries in the order of their slots.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, &T)> {
        self.slots.iter().zip(0..).filter_map(|(slot, index)| match &slot.entry {
            Entry::Occupied(entry) => Some((K::new(index, slot.epoch), entry)),
            Entry::Free(_) => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::PeerId;
    use alloc::collections::BTreeMap;
    use proptest::prelude::*;

    proptest! {
        #[test]
        #[cfg_attr(miri, ignore = "draws many cases")]
        fn a_table_is_a_map_whose_keys_are_never_reused(
            steps in proptest::collection::vec((0u8..7, 0usize..6), 0..200),
        ) {
            let mut table = Table::<PeerId, usize>::default();
            let mut model = BTreeMap::new();
            let mut removed = Vec::new();
            for (step, (kind, number)) in steps.into_iter().enumerate() {
                if kind == 0 {
                    table.free_memory();
                    prop_assert!(!model.is_empty() || table.slots.capacity() == 0);
                } else if kind < 4 {
                    let key = table.insert(step);
                    prop_assert!(!removed.contains(&key));
                    prop_assert_eq!(model.insert(key, step), None);
                } else if let Some(key) = model.keys().nth(number).copied() {
                    prop_assert_eq!(table.remove(key), model.remove(&key));
                    removed.push(key);
                }
                prop_assert_eq!(table.len(), model.len());
                let all: BTreeMap<_, _> = table.iter().map(|(key, entry)| (key, *entry)).collect();
                prop_assert_eq!(&all, &model);
                for (key, entry) in &model {
                    prop_assert_eq!(table.get(*key), Some(entry));
                    prop_assert_eq!(table.at(key.index), Some((*key, entry)));
                }
                for key in &removed {
                    prop_assert!(table.get(*key).is_none() && table.get_mut(*key).is_none());
                    prop_assert!(table.remove(*key).is_none());
                }
            }
        }
    }
}
