//! A table by pairs of towers.

use std::hash::{BuildHasher, Hasher};

use hashbrown::HashMap;

use crate::observation::TowerId;

/// A table by (tower, peer). Nothing iterates over it, so its order can't matter.
#[derive(Debug)]
pub(super) struct Pairs<T> {
    entries: HashMap<u64, T, Mixing>,
}

impl<T> Pairs<T> {
    pub(super) fn get(&self, tower: TowerId, peer: TowerId) -> Option<&T> {
        self.entries.get(&key(tower, peer))
    }

    pub(super) fn insert(&mut self, tower: TowerId, peer: TowerId, value: T) -> Option<T> {
        self.entries.insert(key(tower, peer), value)
    }

    pub(super) fn remove(&mut self, tower: TowerId, peer: TowerId) -> Option<T> {
        self.entries.remove(&key(tower, peer))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl<T> Default for Pairs<T> {
    fn default() -> Self {
        Self { entries: HashMap::with_hasher(Mixing) }
    }
}

fn key(tower: TowerId, peer: TowerId) -> u64 {
    u64::from(tower.0) << 32 | u64::from(peer.0)
}

/// Mixes the bits of small numbers. Nobody chooses them, so it needs no secret, and a run is the same on every machine.
#[derive(Clone, Copy, Debug, Default)]
struct Mixing;

impl BuildHasher for Mixing {
    type Hasher = Mixer;

    fn build_hasher(&self) -> Mixer {
        Mixer(0)
    }
}

#[derive(Debug)]
struct Mixer(u64);

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, value: u64) {
        // An odd constant spreads every bit upwards, and the shift brings it down to the ones that choose the bucket.
        let spread = (self.0 ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = spread ^ spread >> 32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pair_has_its_own_entry() {
        let mut pairs = Pairs::default();
        for (n, (tower, peer)) in [(0, 1), (1, 0), (7, 7), (u32::MAX, 0)].into_iter().enumerate() {
            assert_eq!(pairs.insert(TowerId(tower), TowerId(peer), n), None);
        }
        assert_eq!(pairs.remove(TowerId(1), TowerId(0)), Some(1));
        assert_eq!(pairs.get(TowerId(1), TowerId(0)), None);
        assert_eq!(pairs.get(TowerId(u32::MAX), TowerId(0)), Some(&3));
    }

    #[test]
    fn neighbours_land_in_different_buckets() {
        let mut seen = vec![0u32; 1 << 12];
        for tower in 0..64 {
            for peer in 0..64 {
                let hash = Mixing.hash_one(key(TowerId(tower), TowerId(peer)));
                seen[usize::try_from(hash % (1 << 12)).unwrap()] += 1;
            }
        }
        assert!(seen.iter().all(|count| *count < 16), "{:?}", seen.iter().max());
    }
}
