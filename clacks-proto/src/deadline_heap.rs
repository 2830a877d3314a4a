//! The earliest of many deadlines, one for each index.

use alloc::vec::Vec;

use crate::time::Instant;

const ABSENT: u32 = u32::MAX;

/// A binary heap of deadlines that knows the position of each index, so that a deadline can be
/// moved or removed.
///
/// Setting, moving and removing cost O(log n). The owner of a deadline that is often put off (an
/// idle link) leaves the early deadline in the heap and sets the true one when it fires. Then
/// activity costs nothing here.
#[derive(Debug, Default)]
pub(crate) struct DeadlineHeap {
    heap: Vec<(Instant, u32)>,
    /// The position of each index in the heap, or `ABSENT`.
    place: Vec<u32>,
}

impl DeadlineHeap {
    /// Returns the earliest deadline and its index.
    pub(crate) fn first(&self) -> Option<(Instant, u32)> {
        self.heap.first().copied()
    }

    /// Returns all deadlines in no order.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Instant, u32)> {
        self.heap.iter().copied()
    }

    /// Removes the earliest deadline if it has come, and returns its index.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<u32> {
        let (at, index) = self.first()?;
        if at > now {
            return None;
        }
        self.clear(index);
        Some(index)
    }

    /// Sets or moves the deadline of `index`.
    pub(crate) fn set(&mut self, index: u32, at: Instant) {
        let wanted = index as usize + 1;
        if self.place.len() < wanted {
            self.place.resize(wanted, ABSENT);
        }
        let place = match self.place[index as usize] {
            ABSENT => {
                self.heap.push((at, index));
                self.heap.len() - 1
            }
            place => {
                self.heap[place as usize].0 = at;
                place as usize
            }
        };
        self.settle(place);
    }

    /// Removes the deadline of `index`, if it has one.
    pub(crate) fn clear(&mut self, index: u32) {
        let Some(&place) = self.place.get(index as usize) else { return };
        if place == ABSENT {
            return;
        }
        self.place[index as usize] = ABSENT;
        self.heap.swap_remove(place as usize);
        if (place as usize) < self.heap.len() {
            self.settle(place as usize);
        }
    }

    /// Restores the heap's order around the one entry that may break it.
    #[allow(clippy::cast_possible_truncation, reason = "there are fewer entries than u32 indexes")]
    fn settle(&mut self, mut place: usize) {
        while place > 0 && self.heap[place] < self.heap[(place - 1) / 2] {
            let parent = (place - 1) / 2;
            self.heap.swap(place, parent);
            self.place[self.heap[place].1 as usize] = place as u32;
            place = parent;
        }
        loop {
            let children = 2 * place + 1..(2 * place + 3).min(self.heap.len());
            let least = children.min_by_key(|child| self.heap[*child]);
            let Some(child) = least.filter(|child| self.heap[*child] < self.heap[place]) else {
                break;
            };
            self.heap.swap(place, child);
            self.place[self.heap[place].1 as usize] = place as u32;
            place = child;
        }
        self.place[self.heap[place].1 as usize] = place as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_earliest_is_always_first(steps in proptest::collection::vec((0u32..20, proptest::option::of(0u64..50)), 0..200)) {
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
                        model.remove(&index);
                    }
                }
                let first = model.iter().map(|(index, at)| (*at, *index)).min();
                prop_assert_eq!(deadlines.first(), first);
            }
            let mut drained = Vec::new();
            while let Some((at, index)) = deadlines.first() {
                drained.push((at, index));
                prop_assert_eq!(deadlines.pop_due(at), Some(index));
            }
            let mut expected: Vec<_> = model.into_iter().map(|(index, at)| (at, index)).collect();
            expected.sort_unstable();
            prop_assert_eq!(drained, expected);
        }
    }
}
