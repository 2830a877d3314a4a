//! Hashes of what peers choose, with keys that they don't know.

use core::hash::{Hash, Hasher};
use siphasher::sip::SipHasher13;

use crate::address::Address;
use crate::ids::Fingerprint;
use crate::seed::{high, low};

/// How a table finds numbers that peers choose.
///
/// A secret word, and two products of the number's four parts, each with a secret word added (pair-multiply-shift: Thorup, *High Speed Hashing for Integers and
/// Strings*); then the result is stirred. Before the words are known, the digests of any two numbers are independent, and each of all pairs of 32-bit numbers is as
/// likely as the next; stirring changes nothing about that. So two numbers fall into the same of `n` places with a chance of `1 / n`, in a table of any size.
///
/// That is all that a table needs, and less than a hash gives that nobody can learn anything of: whoever could tell from the time that a tower takes which of his
/// numbers meet could find others that do. He would have to see some nanoseconds through a network, and a table holds no more than its bound.
#[derive(Debug)]
pub(crate) struct NumberDigest {
    pairs: [(u64, u64); 2],
    last: u64,
}

impl NumberDigest {
    /// With so many secret words.
    pub(crate) fn new(mut word: impl FnMut() -> u64) -> Self {
        let pairs = [(word(), word()), (word(), word())];
        Self { pairs, last: word() }
    }

    /// With words that everybody knows.
    #[cfg(test)]
    pub(crate) fn for_tests() -> Self {
        Self::new(known_words())
    }

    #[allow(clippy::cast_possible_truncation, reason = "half at a time is what it takes")]
    #[inline]
    pub(crate) fn of(&self, number: u128) -> u32 {
        let [first, second] = self.pairs;
        let sum = pair(first, number as u64).wrapping_add(pair(second, (number >> 64) as u64));
        stir(high(sum.wrapping_add(self.last)))
    }
}

/// The product of both parts of a number, each with a secret word added.
fn pair((a, b): (u64, u64), number: u64) -> u64 {
    a.wrapping_add(low(number).into()).wrapping_mul(b.wrapping_add(high(number).into()))
}

/// For tests and benchmarks: as random as those of a tower.
#[cfg(any(test, feature = "bench"))]
fn known_words() -> impl FnMut() -> u64 {
    use crate::seed::{Purpose, Seed, Stream};
    let mut stream = Stream::new(&Seed::from_u64(1), Purpose::Start);
    move || stream.word()
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

/// How a table finds peers: by their addresses, most of which are numbers and are digested as such, and by their keys.
#[derive(Debug)]
pub(crate) struct PeerDigest {
    keys: (u64, u64),
    last: u64,
}

impl PeerDigest {
    /// With so many secret words.
    pub(crate) fn new(keys: (u64, u64), last: u64) -> Self {
        Self { keys, last }
    }

    /// With words that everybody knows.
    #[cfg(any(test, feature = "bench"))]
    pub(crate) fn for_tests() -> Self {
        let mut word = known_words();
        Self::new((word(), word()), word())
    }

    #[inline]
    pub(crate) fn of_address(&self, address: &Address) -> u64 {
        match address.as_number() {
            Some(number) => spread(stir(high(pair(self.keys, number).wrapping_add(self.last)))),
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
    use alloc::format;
    use alloc::vec;
    use alloc::vec::Vec;

    const PLACES: u32 = 1 << 10;

    /// How often two of a thousand digests fall into one of about as many places. By chance it is 488 times or so.
    fn meetings(digests: impl Iterator<Item = u64>) -> u32 {
        let mut places = vec![0u32; PLACES as usize];
        digests.for_each(|digest| places[low(digest % u64::from(PLACES)) as usize] += 1);
        places.iter().map(|count| count * count.saturating_sub(1) / 2).sum()
    }

    /// Numbers as somebody would choose them who hopes that they meet.
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
    #[cfg_attr(miri, ignore = "hundreds of thousands of digests")]
    fn numbers_of_any_pattern_fall_into_places_as_if_by_chance() {
        for seed in 0..50 {
            let mut stream = Stream::new(&Seed::from_u64(seed), Purpose::Start);
            let digest = NumberDigest::new(|| stream.word());
            for row in rows() {
                let met = meetings(row.iter().map(|number| spread(digest.of(*number))));
                assert!((300..700).contains(&met), "{met} with seed {seed}: {:?}", &row[..9]);
            }
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "a hundred thousand digests")]
    fn stirring_keeps_digests_apart_and_carries_each_bit_to_all_others() {
        let mut stirred: Vec<u32> = (0..1 << 17).map(stir).collect();
        stirred.sort_unstable();
        stirred.dedup();
        assert_eq!(stirred.len(), 1 << 17);
        let mut stream = Stream::new(&Seed::from_u64(1), Purpose::Start);
        let digests: Vec<u32> = (0..1_000).map(|_| low(stream.word())).collect();
        for bit in 0..32 {
            let mut turned = [0u32; 32];
            for digest in &digests {
                let change = stir(*digest) ^ stir(digest ^ 1 << bit);
                (0..32).for_each(|other| turned[other] += change >> other & 1);
            }
            let is_even = turned.iter().all(|count| (400..600).contains(count));
            assert!(is_even, "bit {bit} turns the others so often: {turned:?}");
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "hundreds of thousands of digests")]
    fn addresses_of_any_pattern_fall_into_places_as_if_by_chance() {
        let hosts: [fn(u16) -> (alloc::string::String, u16); 4] = [
            |n| (format!("10.0.{}.{}", n >> 8, n & 255), 8001),
            |n| ("10.0.0.1".into(), n + 1),
            |n| (format!("10.{}.{}.1", n >> 8, n & 255), n + 1),
            |n| (format!("tower-{n}.example"), 8001),
        ];
        for seed in 0..50 {
            let mut stream = Stream::new(&Seed::from_u64(seed), Purpose::Start);
            let keys = (stream.word(), stream.word());
            let digest = PeerDigest::new(keys, stream.word());
            for host in hosts {
                let addresses = (0..1_000).map(|n| {
                    let (host, port) = host(n);
                    Address::new(&host, port).unwrap()
                });
                let met = meetings(addresses.map(|address| digest.of_address(&address)));
                assert!((300..700).contains(&met), "{met} with seed {seed}: {:?}", host(0));
            }
        }
    }

    #[test]
    fn keys_fall_into_places_as_if_by_chance_and_into_others_with_other_words() {
        let digest = PeerDigest::for_tests();
        let key = |n: u16| {
            let mut key = Fingerprint([0; 32]);
            key.0[..2].copy_from_slice(&n.to_be_bytes());
            key
        };
        let met = meetings((0..1_000).map(|n| digest.of_key(&key(n))));
        assert!((300..700).contains(&met), "{met}");
        let other = PeerDigest::new((1, 2), 3);
        assert!((0..1_000).all(|n| digest.of_key(&key(n)) != other.of_key(&key(n))));
    }

    #[test]
    fn a_digest_is_there_at_both_ends_of_what_a_table_looks_at() {
        assert_eq!(spread(0x89ab_cdef), 0x89ab_cdef_89ab_cdef);
    }

    #[test]
    fn each_bit_of_a_number_counts() {
        let digest = NumberDigest::for_tests();
        let number = 0x0123_4567_89ab_cdef_1122_3344_5566_7788;
        for bit in 0..128 {
            assert_ne!(digest.of(number), digest.of(number ^ 1 << bit), "bit {bit}");
        }
    }
}
