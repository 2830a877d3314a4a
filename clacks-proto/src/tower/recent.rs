//! The memory of recent messages.

use alloc::boxed::Box;

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
    capacity: usize,
    tables: Option<Box<Tables>>,
}

/// The hashes of [`RecentMessages`].
#[derive(Debug, Default)]
struct Tables {
    current: HashTable<u64>,
    previous: HashTable<u64>,
}

impl RecentMessages {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, tables: None }
    }

    /// Remembers a message that came in or was enqueued. Returns whether it was remembered already.
    #[inline]
    pub(crate) fn insert(&mut self, hash: u64) -> bool {
        if self.capacity == 0 {
            return false;
        }
        let Tables { current, previous } = &mut **self.tables.get_or_insert_default();
        let Entry::Vacant(slot) = current.entry(hash, |other| *other == hash, |hash| *hash) else {
            return true;
        };
        let again = previous.find(hash, |other| *other == hash).is_some();
        slot.insert(hash);
        if current.len() == self.capacity {
            core::mem::swap(current, previous);
            current.clear();
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
                let tables = recent.tables.iter();
                let count = tables.map(|it| it.current.len() + it.previous.len()).sum::<usize>();
                prop_assert!(count <= 2 * capacity);
            }
        }
    }
}
