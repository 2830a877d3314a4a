//! Hashes of what peers choose, with keys that they don't know.

use core::hash::{Hash, Hasher};
use siphasher::sip::SipHasher13;

use crate::address::Address;
use crate::ids::Fingerprint;
use crate::seed::high;

/// How a table finds numbers that peers choose: nonces, and the addresses that are numbers.
///
/// The sum of two products of the number's four parts, each with a secret word added (multiply-shift over pairs; Thorup, *High Speed Hashing for Integers and
/// Strings*, §3.4), then stirred. Any two numbers that were chosen without knowing the words have the same digest once in 2^32 times, whatever they are; and no
/// peer ever sees a digest. That is all that a table needs, for a tenth of what a hash takes that must hold against those who see what comes of it.
#[derive(Clone, Debug)]
pub(crate) struct NumberDigest([u64; 5]);

impl NumberDigest {
    /// With so many secret words.
    pub(crate) fn new(mut word: impl FnMut() -> u64) -> Self {
        Self(core::array::from_fn(|_| word()))
    }

    /// With words that everybody knows.
    #[cfg(any(test, feature = "bench"))]
    pub(crate) fn for_tests() -> Self {
        let mut stream =
            crate::seed::Stream::new(&crate::Seed::from_u64(1), crate::seed::Purpose::Start);
        Self::new(|| stream.word())
    }

    #[allow(clippy::cast_possible_truncation, reason = "a part at a time is what it takes")]
    #[inline]
    pub(crate) fn of(&self, number: u128) -> u32 {
        let Self([a, b, c, d, last]) = self;
        let part = |place: u32| u64::from((number >> (32 * place)) as u32);
        let low = a.wrapping_add(part(0)).wrapping_mul(b.wrapping_add(part(1)));
        let high_part = c.wrapping_add(part(2)).wrapping_mul(d.wrapping_add(part(3)));
        stir(high(low.wrapping_add(high_part).wrapping_add(*last)))
    }
}

/// Takes numbers apart that stood in a row: sums and products keep them in step, and in a table whose size that meets they would crowd together. Different
/// ones stay different. (The last steps of `MurmurHash3`.)
fn stir(mut digest: u32) -> u32 {
    digest ^= digest >> 16;
    digest = digest.wrapping_mul(0x85eb_ca6b);
    digest ^= digest >> 13;
    digest = digest.wrapping_mul(0xc2b2_ae35);
    digest ^ digest >> 16
}

/// How a table finds peers: by their addresses, most of which are numbers, and by their keys.
#[derive(Debug)]
pub(crate) struct PeerDigest {
    keys: (u64, u64),
    numbers: NumberDigest,
}

impl PeerDigest {
    pub(crate) fn new(keys: (u64, u64), numbers: NumberDigest) -> Self {
        Self { keys, numbers }
    }

    /// With words that everybody knows.
    #[cfg(any(test, feature = "bench"))]
    pub(crate) fn for_tests() -> Self {
        Self::new((1, 2), NumberDigest::for_tests())
    }

    #[inline]
    pub(crate) fn of_address(&self, address: &Address) -> u64 {
        match address.as_number() {
            Some(number) => spread(self.numbers.of(number.into())),
            None => self.of_any(address),
        }
    }

    pub(crate) fn of_key(&self, key: &Fingerprint) -> u64 {
        self.of_any(key)
    }

    #[inline(never)]
    fn of_any(&self, value: &impl Hash) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(self.keys.0, self.keys.1);
        value.hash(&mut hasher);
        hasher.finish()
    }
}

/// A digest as a hash table wants it: it looks at the first bits for one thing and at the last for another.
#[inline]
pub(crate) fn spread(digest: u32) -> u64 {
    u64::from(digest) << 32 | u64::from(digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::{Purpose, Seed, Stream};
    use alloc::vec;
    use alloc::vec::Vec;

    fn digest(seed: u64) -> NumberDigest {
        let mut stream = Stream::new(&Seed::from_u64(seed), Purpose::Start);
        NumberDigest::new(|| stream.word())
    }

    /// Numbers that differ in one part alone, as somebody would choose them who hopes that they meet.
    fn rows() -> Vec<Vec<u128>> {
        let part = |place: u32| (0..1_000).map(|n: u128| n << (32 * place)).collect();
        let stride = |stride: u128| (0..1_000).map(|n| n * stride).collect();
        let mut rows: Vec<_> = (0..4).map(part).collect();
        rows.extend([
            stride((1 << 32) + 1),
            stride((1 << 96) + (1 << 31)),
            stride(u128::MAX / 999),
        ]);
        rows
    }

    #[test]
    fn numbers_of_any_pattern_fall_into_places_as_if_by_chance() {
        const PLACES: u32 = 1 << 10;
        for seed in 0..50 {
            let digest = digest(seed);
            for row in rows() {
                let mut places = vec![0u32; PLACES as usize];
                row.iter().for_each(|number| places[(digest.of(*number) % PLACES) as usize] += 1);
                let pairs: u32 =
                    places.iter().map(|count| count * count.saturating_sub(1) / 2).sum();
                // By chance 488 or so, and hardly ever half as many again.
                assert!((300..700).contains(&pairs), "{pairs} with seed {seed}: {:?}", &row[..9]);
            }
        }
    }

    #[test]
    fn each_bit_of_a_number_counts() {
        let digest = digest(1);
        let number = 0x0123_4567_89ab_cdef_1122_3344_5566_7788;
        for bit in 0..128 {
            assert_ne!(digest.of(number), digest.of(number ^ 1 << bit), "bit {bit}");
        }
    }
}
