//! Linked lists of indexes: O(1) at both ends and in the middle.

use alloc::vec::Vec;

/// `N` doubly linked lists of slots of a table. A slot is in at most one of them, and at most once.
#[derive(Debug)]
pub(crate) struct IndexLists<const N: usize> {
    nodes: Vec<Node>,
    ends: [Ends; N],
}

#[derive(Clone, Copy, Debug)]
struct Ends {
    first: u32,
    last: u32,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    previous: u32,
    /// The next index; [`ABSENT`] if the index is in no list.
    next: u32,
}

/// No neighbour.
const END: u32 = u32::MAX;
/// Not in a list.
const ABSENT: u32 = u32::MAX - 1;

impl<const N: usize> Default for IndexLists<N> {
    fn default() -> Self {
        Self { nodes: Vec::new(), ends: [Ends { first: END, last: END }; N] }
    }
}

impl<const N: usize> IndexLists<N> {
    #[inline]
    pub(crate) fn front(&self, list: usize) -> Option<u32> {
        let Ends { first, .. } = self.ends[list];
        (first != END).then_some(first)
    }

    /// Starts to load the entry of an index into the cache.
    #[cfg(feature = "simulation")]
    pub(crate) fn prefetch(&self, index: u32) {
        prefetch_index::prefetch_index(&self.nodes, index as usize);
    }

    /// Frees the memory if all lists are empty.
    pub(crate) fn free_memory(&mut self) {
        if self.ends.iter().all(|ends| ends.first == END) {
            self.nodes = Vec::new();
        }
    }

    /// Adds an index at the end of a list. The index must be in no list.
    #[inline]
    pub(crate) fn push_back(&mut self, list: usize, index: u32) {
        if self.nodes.len() <= index as usize {
            self.nodes.resize(index as usize + 1, Node { previous: END, next: ABSENT });
        }
        debug_assert!(!self.contains(index));
        let ends = &mut self.ends[list];
        self.nodes[index as usize] = Node { previous: ends.last, next: END };
        match self.nodes.get_mut(ends.last as usize) {
            Some(last) => last.next = index,
            None => ends.first = index,
        }
        ends.last = index;
    }

    /// Removes an index from a list. Does nothing if the index is in no list. It must not be in
    /// another list.
    #[inline]
    pub(crate) fn remove(&mut self, list: usize, index: u32) {
        if !self.contains(index) {
            return;
        }
        let absent = Node { previous: END, next: ABSENT };
        let node = core::mem::replace(&mut self.nodes[index as usize], absent);
        let ends = &mut self.ends[list];
        match self.nodes.get_mut(node.previous as usize) {
            Some(previous) => previous.next = node.next,
            None => ends.first = node.next,
        }
        match self.nodes.get_mut(node.next as usize) {
            Some(next) => next.previous = node.previous,
            None => ends.last = node.previous,
        }
    }

    /// Returns whether an index is in one of the lists.
    pub(crate) fn contains(&self, index: u32) -> bool {
        self.nodes.get(index as usize).is_some_and(|node| node.next != ABSENT)
    }

    /// Returns the indexes of a list in order.
    pub(crate) fn iter(&self, list: usize) -> impl Iterator<Item = u32> {
        core::iter::successors(self.front(list), |index| {
            Some(self.nodes[*index as usize].next).filter(|next| *next != END)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        #[cfg_attr(miri, ignore = "draws many cases")]
        fn lists_keep_the_order_of_vectors(
            steps in proptest::collection::vec((0u8..4, 0usize..2, 0u32..8), 0..100),
        ) {
            let mut lists = IndexLists::<2>::default();
            let mut models: [Vec<u32>; 2] = Default::default();
            for (step, list, index) in steps {
                let is_listed = models.iter().any(|model| model.contains(&index));
                match step {
                    0 | 1 if !is_listed => {
                        lists.push_back(list, index);
                        models[list].push(index);
                    }
                    2 | 3 if !is_listed || models[list].contains(&index) => {
                        lists.remove(list, index);
                        models[list].retain(|other| *other != index);
                    }
                    _ => {}
                }
                for (list, model) in models.iter().enumerate() {
                    prop_assert_eq!(lists.iter(list).collect::<Vec<_>>(), &model[..]);
                    prop_assert_eq!(lists.front(list), model.first().copied());
                }
                for index in 0..9 {
                    let is_listed = models.iter().any(|model| model.contains(&index));
                    prop_assert_eq!(lists.contains(index), is_listed);
                }
            }
        }
    }
}
