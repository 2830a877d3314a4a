//! A heap of deadlines, with at most one deadline for each index.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::time::Instant;

/// The position of an index that has no deadline.
const ABSENT: u32 = u32::MAX;

/// A binary heap of deadlines that knows the position of each index, so that a deadline can be
/// moved or removed.
///
/// Setting, moving and removing a deadline is O(log n). The owner of a deadline that is often
/// postponed (an idle link) leaves the early deadline in the heap, and sets the true one when it
/// fires. Activity on a link then costs nothing here.
#[derive(Debug)]
pub(crate) struct DeadlineHeap {
    /// The earliest deadline, which every event reads, or `FAR_FUTURE`.
    earliest: Instant,
    /// `None` before the first deadline: many heaps of an idle tower are empty.
    entries: Option<Box<Entries>>,
}

#[derive(Debug, Default)]
struct Entries {
    heap: Vec<(Instant, u32)>,
    /// The position of each index in the heap, or `ABSENT`.
    positions: Vec<u32>,
}

impl Default for DeadlineHeap {
    fn default() -> Self {
        Self { earliest: Instant::FAR_FUTURE, entries: None }
    }
}

impl DeadlineHeap {
    /// Returns the earliest deadline.
    #[inline]
    pub(crate) fn next(&self) -> Option<Instant> {
        (self.earliest < Instant::FAR_FUTURE).then_some(self.earliest)
    }

    /// Returns the deadline of `index`.
    pub(crate) fn get(&self, index: u32) -> Option<Instant> {
        let Entries { heap, positions } = &**self.entries.as_ref()?;
        let position = *positions.get(index as usize)?;
        heap.get(position as usize).map(|(at, _)| *at)
    }

    /// Returns the number of deadlines.
    pub(crate) fn len(&self) -> usize {
        self.entries.as_ref().map_or(0, |entries| entries.heap.len())
    }

    /// Returns all deadlines in unspecified order.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Instant, u32)> {
        self.entries.iter().flat_map(|entries| entries.heap.iter().copied())
    }

    /// Removes the earliest deadline if it is due, and returns its index.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<u32> {
        if self.earliest > now { None } else { self.pop() }
    }

    /// Removes the earliest deadline, and returns its index.
    pub(crate) fn pop(&mut self) -> Option<u32> {
        let (_, index) = *self.entries.as_ref()?.heap.first()?;
        self.clear(index);
        Some(index)
    }

    /// Sets or moves the deadline of `index`.
    pub(crate) fn set(&mut self, index: u32, at: Instant) {
        let entries = self.entries.get_or_insert_default();
        entries.set(index, at);
        self.earliest = entries.earliest();
    }

    /// Removes the deadline of `index`, if it has one.
    pub(crate) fn clear(&mut self, index: u32) {
        if let Some(entries) = &mut self.entries {
            entries.clear(index);
            self.earliest = entries.earliest();
        }
    }

    /// Frees the memory if there are no deadlines.
    pub(crate) fn free_memory(&mut self) {
        self.entries.take_if(|entries| entries.heap.is_empty());
    }
}

impl Entries {
    fn earliest(&self) -> Instant {
        self.heap.first().map_or(Instant::FAR_FUTURE, |(at, _)| *at)
    }

    fn set(&mut self, index: u32, at: Instant) {
        let wanted = index as usize + 1;
        if self.positions.len() < wanted {
            self.positions.resize(wanted, ABSENT);
        }
        let position = match self.positions[index as usize] {
            ABSENT => {
                self.heap.push((at, index));
                self.heap.len() - 1
            }
            position => {
                self.heap[position as usize].0 = at;
                position as usize
            }
        };
        self.restore_order(position);
    }

    fn clear(&mut self, index: u32) {
        let Some(&position) = self.positions.get(index as usize) else { return };
        if position == ABSENT {
            return;
        }
        self.positions[index as usize] = ABSENT;
        self.heap.swap_remove(position as usize);
        if (position as usize) < self.heap.len() {
            self.restore_order(position as usize);
        }
    }

    /// Restores the order of the heap around the one entry that may violate it.
    #[allow(clippy::cast_possible_truncation, reason = "there are fewer entries than u32 indexes")]
    fn restore_order(&mut self, mut position: usize) {
        while position > 0 && self.heap[position] < self.heap[(position - 1) / 2] {
            let parent = (position - 1) / 2;
            self.heap.swap(position, parent);
            self.positions[self.heap[position].1 as usize] = position as u32;
            position = parent;
        }
        loop {
            let children = 2 * position + 1..(2 * position + 3).min(self.heap.len());
            let least = children.min_by_key(|child| self.heap[*child]);
            let Some(child) = least.filter(|child| self.heap[*child] < self.heap[position]) else {
                break;
            };
            self.heap.swap(position, child);
            self.positions[self.heap[position].1 as usize] = position as u32;
            position = child;
        }
        self.positions[self.heap[position].1 as usize] = position as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use proptest::prelude::*;

    proptest! {
        #[test]
        #[cfg_attr(miri, ignore = "draws many cases")]
        fn the_earliest_deadline_is_first(
            steps in proptest::collection::vec((0u32..20, proptest::option::of(0u64..50)), 0..200),
        ) {
            let mut deadlines = DeadlineHeap::default();
            let mut model = BTreeMap::new();
            for (index, at) in steps {
                match at {
                    Some(at) => {
                        deadlines.set(index, Instant::from_nanos(at));
                        model.insert(index, Instant::from_nanos(at));
                    }
                    None => {
                        deadlines.clear(index);
                        deadlines.free_memory();
                        model.remove(&index);
                    }
                }
                let first = model.iter().map(|(index, at)| (*at, *index)).min();
                prop_assert_eq!(deadlines.iter().next(), first);
                prop_assert_eq!(deadlines.next(), first.map(|(at, _)| at));
            }
            let mut drained = Vec::new();
            while let Some(at) = deadlines.next() {
                drained.extend(deadlines.pop_due(at).map(|index| (at, index)));
            }
            deadlines.free_memory();
            prop_assert!(deadlines.entries.is_none() && deadlines.next().is_none());
            let mut expected: Vec<_> = model.into_iter().map(|(index, at)| (at, index)).collect();
            expected.sort_unstable();
            prop_assert_eq!(drained, expected);
        }
    }
}
