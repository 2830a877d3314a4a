//! The memory of recent messages.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

/// The hashes of at least the last `capacity` different messages, and of at most twice
/// as many.
///
/// Hashes are added to one table. When it is full, it takes the place of the table before it.
/// Memory is allocated as it is used.
///
/// Two messages with the same 64-bit hash count as one. The hash is keyed, so that happens by
/// chance alone.
#[derive(Debug)]
pub(crate) struct RecentMessages {
    current: HashTable<u64>,
    previous: HashTable<u64>,
    capacity: usize,
}

impl RecentMessages {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { current: HashTable::new(), previous: HashTable::new(), capacity }
    }

    /// Remembers a message that came in or was enqueued. Returns whether it was remembered already.
    #[inline]
    pub(crate) fn insert(&mut self, hash: u64) -> bool {
        if self.capacity == 0 {
            return false;
        }
        let Entry::Vacant(slot) = self.current.entry(hash, |other| *other == hash, |hash| *hash)
        else {
            return true;
        };
        let again = self.previous.find(hash, |other| *other == hash).is_some();
        slot.insert(hash);
        if self.current.len() == self.capacity {
            core::mem::swap(&mut self.current, &mut self.previous);
            self.current.clear();
        }
        again
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        #[cfg_attr(miri, ignore = "draws many cases")]
        fn the_messages_that_came_in_last_are_remembered(
            hashes in proptest::collection::vec(0u64..50, 0..300),
            capacity in 0usize..60,
        ) {
            let mut recent = RecentMessages::new(capacity);
            // Different messages, the last one last.
            let mut model = Vec::new();
            for hash in hashes {
                let age = model.iter().rev().position(|other| *other == hash);
                let again = recent.insert(hash);
                match age {
                    Some(age) if age < capacity => prop_assert!(again, "the last ones are known"),
                    Some(age) if age < 2 * capacity => {}
                    _ => prop_assert!(!again, "it is new, or too long ago"),
                }
                model.retain(|other| *other != hash);
                model.push(hash);
                prop_assert!(recent.current.len() + recent.previous.len() <= 2 * capacity);
            }
        }
    }
}
