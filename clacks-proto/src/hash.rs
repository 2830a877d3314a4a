//! Hashes for tables whose keys are chosen by peers.

use core::hash::Hash;

/// A keyed hasher.
///
/// Peers choose the nonces, addresses and keys that a tower looks up. The hash is keyed with words
/// of the tower's seed, so that a peer can't choose values that collide. No hash table is iterated,
/// so the hash affects only speed.
#[derive(Clone, Debug)]
pub(crate) struct Hasher(ahash::RandomState);

impl Hasher {
    /// Returns the hasher for a secret key.
    pub(crate) fn new(key: [u64; 4]) -> Self {
        Self(ahash::RandomState::with_seeds(key[0], key[1], key[2], key[3]))
    }

    #[inline]
    pub(crate) fn hash(&self, value: &impl Hash) -> u64 {
        self.0.hash_one(value)
    }
}

#[cfg(any(test, feature = "bench"))]
impl Default for Hasher {
    fn default() -> Self {
        Self::new([1, 2, 3, 4])
    }
}
