//! Room in lists, made sparingly: most lists of most towers are short.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// The capacity of a list is at most so many times the most that was ever in it.
pub(crate) const MOST_SPARE: usize = 2;

/// Makes room for one more entry: for two at first, then for half as many again. That is as cheap in the long run as the doubling of the
/// standard library, which begins with four.
pub(crate) fn for_one_more(list: &mut impl List) {
    let (len, capacity) = list.extent();
    if len == capacity {
        list.reserve_exact((len / 2).max(if len == 0 { 2 } else { 1 }));
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
    fn lists_grow_by_half_and_never_hold_twice_what_was_in_them() {
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
        assert_eq!(capacities[..6], [2, 3, 4, 6, 9, 13]);
        assert!(capacities.len() < 20, "each is half as much again: {capacities:?}");
    }
}
