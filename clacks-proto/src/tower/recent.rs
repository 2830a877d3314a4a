//! The messages that came in lately.

use alloc::vec::Vec;
use hashbrown::HashTable;

/// The hashes of the messages that came in last, up to a capacity. Memory is allocated as it is used.
///
/// Two messages with the same 64-bit hash count as one: the hash is keyed, so that happens by chance alone.
#[derive(Debug)]
pub(crate) struct RecentMessages {
    /// A ring of hashes.
    ring: Vec<u64>,
    /// The position in the ring that is written next.
    next: usize,
    /// The last position of each hash.
    positions: HashTable<u32>,
    capacity: usize,
}

impl RecentMessages {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { ring: Vec::new(), next: 0, positions: HashTable::new(), capacity }
    }

    /// Remembers that a message came in. Returns whether it was remembered already.
    #[allow(clippy::cast_possible_truncation, reason = "Config::validate keeps it within u32")]
    #[inline]
    pub(crate) fn insert(&mut self, hash: u64) -> bool {
        if self.capacity == 0 {
            return false;
        }
        let Self { ring, next, positions, capacity } = self;
        let position = *next;
        *next = if position + 1 == *capacity { 0 } else { position + 1 };
        let forgotten = ring.get(position).copied();
        if let Some(forgotten) = forgotten.filter(|forgotten| *forgotten != hash)
            && let Ok(slot) = positions.find_entry(forgotten, |other| *other as usize == position)
        {
            slot.remove();
        }
        let known = positions.find_mut(hash, |other| ring[*other as usize] == hash);
        let again = known.is_some();
        match known {
            Some(known) => *known = position as u32,
            None => {
                positions.insert_unique(hash, position as u32, |other| {
                    ring.get(*other as usize).copied().unwrap_or(hash)
                });
            }
        }
        match ring.get_mut(position) {
            Some(slot) => *slot = hash,
            None => ring.push(hash),
        }
        again
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::VecDeque;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_messages_that_came_in_last_are_remembered(
            hashes in proptest::collection::vec(0u64..12, 0..100),
            capacity in 0usize..6,
        ) {
            let mut recent = RecentMessages::new(capacity);
            let mut model = VecDeque::new();
            for hash in hashes {
                prop_assert_eq!(recent.insert(hash), model.contains(&hash));
                model.push_back(hash);
                if model.len() > capacity {
                    model.pop_front();
                }
            }
        }
    }
}
