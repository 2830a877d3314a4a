//! A linked list of indexes: O(1) at both ends and in the middle.

use alloc::vec::Vec;

/// A doubly linked list of slots of a table. A slot is in the list at most once.
#[derive(Debug)]
pub(crate) struct IndexList {
    nodes: Vec<Node>,
    first: u32,
    last: u32,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    previous: u32,
    /// The next index; [`ABSENT`] if the index is not in the list.
    next: u32,
}

/// No neighbour.
const END: u32 = u32::MAX;
/// Not in the list.
const ABSENT: u32 = u32::MAX - 1;

impl Default for IndexList {
    fn default() -> Self {
        Self { nodes: Vec::new(), first: END, last: END }
    }
}

impl IndexList {
    #[inline]
    pub(crate) fn front(&self) -> Option<u32> {
        (self.first != END).then_some(self.first)
    }

    /// Adds an index at the end. The index must not be in the list.
    #[inline]
    pub(crate) fn push_back(&mut self, index: u32) {
        if self.nodes.len() <= index as usize {
            self.nodes.resize(index as usize + 1, Node { previous: END, next: ABSENT });
        }
        debug_assert!(!self.contains(index));
        self.nodes[index as usize] = Node { previous: self.last, next: END };
        match self.nodes.get_mut(self.last as usize) {
            Some(last) => last.next = index,
            None => self.first = index,
        }
        self.last = index;
    }

    /// Removes an index. Returns whether the index was in the list.
    #[inline]
    pub(crate) fn remove(&mut self, index: u32) -> bool {
        if !self.contains(index) {
            return false;
        }
        let absent = Node { previous: END, next: ABSENT };
        let node = core::mem::replace(&mut self.nodes[index as usize], absent);
        match self.nodes.get_mut(node.previous as usize) {
            Some(previous) => previous.next = node.next,
            None => self.first = node.next,
        }
        match self.nodes.get_mut(node.next as usize) {
            Some(next) => next.previous = node.previous,
            None => self.last = node.previous,
        }
        true
    }

    pub(crate) fn contains(&self, index: u32) -> bool {
        self.nodes.get(index as usize).is_some_and(|node| node.next != ABSENT)
    }

    /// Returns the indexes in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> {
        core::iter::successors(self.front(), |index| {
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
        fn a_list_keeps_the_order_of_a_vector(
            steps in proptest::collection::vec((0u8..4, 0u32..8), 0..100),
        ) {
            let mut list = IndexList::default();
            let mut model: Vec<u32> = Vec::new();
            for (step, index) in steps {
                match step {
                    0 | 1 if !model.contains(&index) => {
                        list.push_back(index);
                        model.push(index);
                    }
                    2 | 3 => {
                        prop_assert_eq!(list.remove(index), model.contains(&index));
                        model.retain(|other| *other != index);
                    }
                    _ => {}
                }
                prop_assert_eq!(list.iter().collect::<Vec<_>>(), &model[..]);
                prop_assert_eq!(list.front(), model.first().copied());
                (0..9).for_each(|index| assert_eq!(list.contains(index), model.contains(&index)));
            }
        }
    }
}
