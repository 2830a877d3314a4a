//! Room in lists, made sparingly: most lists of most towers are short.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// The capacity of a list is at most so many times the most that was ever in it.
pub(crate) const MOST_SPARE: usize = 2;

/// Makes room for one more entry: for one at first, then for an eighth more than there are. In the long run that copies each entry some eight times
/// while a list grows, where the doubling of the standard library copies it once and leaves half of the room unused.
#[inline]
pub(crate) fn for_one_more(list: &mut impl List) {
    let (len, capacity) = list.extent();
    if len == capacity {
        grow(list, len);
    }
}

/// Apart, since it is rare and would make everything that adds to a list longer.
#[cold]
#[inline(never)]
fn grow(list: &mut impl List, len: usize) {
    list.reserve_exact((len / 8).max(1));
}

/// A queue that most of its owners never use: it takes the room of a pointer until its first entry.
#[allow(clippy::box_collection, reason = "an empty queue is four words, and a pointer is one")]
#[derive(Debug)]
pub(crate) struct RareQueue<T>(Option<Box<VecDeque<T>>>);

impl<T> Default for RareQueue<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> RareQueue<T> {
    /// What a queue of `count` entries takes at most, in bytes.
    pub(crate) const fn memory(count: usize) -> usize {
        size_of::<VecDeque<T>>() + MOST_SPARE * count * size_of::<T>()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |queue| queue.len())
    }

    pub(crate) fn front(&self) -> Option<&T> {
        self.0.as_ref()?.front()
    }

    pub(crate) fn pop_front(&mut self) -> Option<T> {
        self.0.as_mut()?.pop_front()
    }

    pub(crate) fn push_back(&mut self, entry: T) {
        let queue = self.0.get_or_insert_default();
        for_one_more(&mut **queue);
        queue.push_back(entry);
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().flat_map(|queue| queue.iter())
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.0.iter_mut().flat_map(|queue| queue.iter_mut())
    }

    pub(crate) fn retain(&mut self, keep: impl FnMut(&T) -> bool) {
        if let Some(queue) = &mut self.0 {
            queue.retain(keep);
        }
    }
}

/// A list that can be made larger by an exact number of entries.
pub(crate) trait List {
    /// Its length and its capacity.
    fn extent(&self) -> (usize, usize);
    fn reserve_exact(&mut self, additional: usize);
}

impl<T> List for Vec<T> {
    fn extent(&self) -> (usize, usize) {
        (self.len(), self.capacity())
    }

    fn reserve_exact(&mut self, additional: usize) {
        self.reserve_exact(additional);
    }
}

impl<T> List for VecDeque<T> {
    fn extent(&self) -> (usize, usize) {
        (self.len(), self.capacity())
    }

    fn reserve_exact(&mut self, additional: usize) {
        self.reserve_exact(additional);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_grow_by_an_eighth_and_never_hold_twice_what_was_in_them() {
        let (mut list, mut deque) = (Vec::new(), VecDeque::new());
        let mut capacities = Vec::new();
        for n in 1..=1_000_usize {
            for_one_more(&mut list);
            list.push(0u8);
            for_one_more(&mut deque);
            deque.push_back(0u8);
            assert_eq!(list.capacity(), deque.capacity());
            assert!(list.capacity() <= MOST_SPARE * n, "{} for {n}", list.capacity());
            capacities.push(list.capacity());
        }
        capacities.dedup();
        assert_eq!(capacities[..3], [1, 2, 3]);
        assert_eq!(capacities[15..18], [16, 18, 20]);
        assert!(capacities.len() < 60, "they grow in proportion: {capacities:?}");
    }
}
