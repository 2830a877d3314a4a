//! Randomness: bytes in, one independent stream of words for each purpose.

use alloc::boxed::Box;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// The seed of every random choice that a tower makes.
///
/// Two towers with the same configuration, seed and inputs do the same. Take fresh bytes from the operating
/// system for a tower that goes on a real network: whoever knows the seed knows every nonce and every draw.
/// Give the same seed again only to replay a run.
#[derive(Clone, PartialEq, Eq)]
pub struct Seed(pub [u8; 32]);

impl core::fmt::Debug for Seed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Seed(..)")
    }
}

impl Seed {
    /// A seed from a small number, for tests and simulations.
    #[must_use]
    pub fn from_u64(number: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        Self(bytes)
    }
}

/// What a stream of random words is for. Each has a stream of its own, so that one more draw in one place
/// leaves all the others as they were.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    /// Who gets the next message.
    Recipient = 1,
    /// Whom a message or an announce names.
    Friend = 2,
    /// Nonces of messages enqueued here.
    Nonce = 3,
    /// Things drawn once at the start: hash keys, the phase of the ticks, the incarnation.
    Start = 4,
}

/// One stream of random words. The generator is ChaCha8: fast, portable, and with words that no update changes.
#[derive(Clone, Debug)]
pub(crate) struct Stream(ChaCha8Rng);

impl Stream {
    pub(crate) fn new(seed: &Seed, purpose: Purpose) -> Self {
        let mut generator = ChaCha8Rng::from_seed(seed.0);
        generator.set_stream(purpose as u64);
        Self(generator)
    }

    #[inline]
    pub(crate) fn word(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number in `0..bound`, every one equally likely; 0 for a bound of 0.
    #[inline]
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        let word = self.word();
        self.bounded(high(word), bound)
    }

    /// The same from a word that was drawn already.
    #[inline]
    pub(crate) fn bounded(&mut self, word: u32, bound: u32) -> u32 {
        bounded(word, bound, || self.word())
    }

    /// The same stream after `drawn` words.
    pub(crate) fn resume(seed: &Seed, purpose: Purpose, drawn: u64) -> Self {
        let mut stream = Self::new(seed, purpose);
        stream.0.set_word_pos(2 * u128::from(drawn));
        stream
    }

    /// How many words were drawn.
    pub(crate) fn drawn(&self) -> u64 {
        u64::try_from(self.0.get_word_pos() / 2).unwrap_or(u64::MAX)
    }
}

/// How many words a [`SparseStream`] keeps: as many as the generator makes at once, four blocks of ChaCha.
const BLOCK: usize = 32;

/// The same words as those of a [`Stream`], for a tower that may never draw, or may rest. It holds next to nothing before its first draw, and the words of
/// one go of the generator after it.
#[derive(Debug)]
pub(crate) struct SparseStream {
    purpose: Purpose,
    /// How many words were drawn.
    drawn: u64,
    block: Option<Box<[u64; BLOCK]>>,
}

impl SparseStream {
    /// What it takes at most, in bytes, besides its own size.
    pub(crate) const MEMORY: usize = size_of::<[u64; BLOCK]>();

    pub(crate) fn new(purpose: Purpose) -> Self {
        Self { purpose, drawn: 0, block: None }
    }

    pub(crate) fn is_resting(&self) -> bool {
        self.block.is_none()
    }

    /// Reads what the next draw will.
    pub(crate) fn look_ahead(&self) -> u64 {
        self.block.as_ref().map_or(0, |block| block[0] ^ block[BLOCK - 1])
    }

    /// The next word. The caller keeps the seed, and gives the same each time.
    pub(crate) fn word(&mut self, seed: &Seed) -> u64 {
        let place = self.drawn % BLOCK as u64;
        let is_spent = place == 0 || self.block.is_none();
        let block = self.block.get_or_insert_default();
        if is_spent {
            let mut stream = Stream::resume(seed, self.purpose, self.drawn - place);
            block.fill_with(|| stream.word());
        }
        self.drawn += 1;
        usize::try_from(place).ok().and_then(|place| block.get(place)).copied().unwrap_or(0)
    }

    pub(crate) fn nonce(&mut self, seed: &Seed) -> u128 {
        u128::from(self.word(seed)) << 64 | u128::from(self.word(seed))
    }

    /// A number in `0..bound`, every one equally likely; 0 for a bound of 0.
    pub(crate) fn below(&mut self, seed: &Seed, bound: u32) -> u32 {
        let word = self.word(seed);
        bounded(high(word), bound, || self.word(seed))
    }

    /// Lets go of its memory until the next draw.
    pub(crate) fn rest(&mut self) {
        self.block = None;
    }
}

/// Lemire's bounded draw (ACM TOMACS 29:1, 2019): the product's upper half is the number, and the few
/// lower halves that would favour some numbers are drawn again.
#[inline]
fn bounded(word: u32, bound: u32, next: impl FnMut() -> u64) -> u32 {
    let product = u64::from(word) * u64::from(bound);
    if low(product) < bound { drawn_again(product, bound, next) } else { high(product) }
}

/// The rest of it, when the first word may favour a number: rare for any bound that is far below 2^32.
#[cold]
#[inline(never)]
fn drawn_again(mut product: u64, bound: u32, mut next: impl FnMut() -> u64) -> u32 {
    let threshold = bound.wrapping_neg().checked_rem(bound).unwrap_or(0);
    while low(product) < threshold {
        product = u64::from(high(next())) * u64::from(bound);
    }
    high(product)
}

/// The upper half of a word.
#[allow(clippy::cast_possible_truncation, reason = "the shift leaves 32 bits")]
pub(crate) const fn high(word: u64) -> u32 {
    (word >> 32) as u32
}

/// The lower half of a word.
#[allow(clippy::cast_possible_truncation, reason = "taking the lower half is the point")]
pub(crate) const fn low(word: u64) -> u32 {
    word as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn law_2_the_raw_words_of_the_generator_never_change() {
        let words = |purpose| {
            let mut stream = Stream::new(&Seed::from_u64(1), purpose);
            [stream.word(), stream.word()]
        };
        assert_eq!(words(Purpose::Recipient), [6837433020198897686, 7170492158312976085]);
        assert_eq!(words(Purpose::Friend), [6277450823586822444, 5049095089794355449]);
        assert_eq!(words(Purpose::Nonce), [18007174398377366870, 5445646653885017488]);
        assert_eq!(words(Purpose::Start), [2418506762030312873, 2953734540472232760]);
    }

    #[test]
    fn law_2_a_sparse_stream_has_the_words_of_the_full_one() {
        let seed = Seed::from_u64(1);
        for purpose in [Purpose::Friend, Purpose::Nonce] {
            let mut full = Stream::new(&seed, purpose);
            let mut sparse = SparseStream::new(purpose);
            for n in 0..100 {
                assert_eq!(sparse.word(&seed), full.word(), "word {n}");
                if n % 3 == 0 {
                    sparse.rest();
                }
            }
            let halves = [full.word(), full.word()].map(u128::from);
            assert_eq!(sparse.nonce(&seed), halves[0] << 64 | halves[1]);
            for bound in 1..100 {
                assert_eq!(sparse.below(&seed, bound << 24), full.below(bound << 24));
            }
        }
    }

    #[test]
    fn law_2_a_stream_goes_on_where_it_stood() {
        let seed = Seed::from_u64(1);
        let mut stream = Stream::new(&seed, Purpose::Recipient);
        for drawn in 0..100 {
            assert_eq!(stream.drawn(), drawn);
            let mut resumed = Stream::resume(&seed, Purpose::Recipient, drawn);
            assert_eq!(resumed.drawn(), drawn);
            assert_eq!(resumed.word(), stream.word(), "word {drawn}");
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "many draws")]
    fn a_bounded_draw_is_uniform() {
        let mut stream = Stream::new(&Seed::from_u64(2), Purpose::Recipient);
        let mut seen = [0u32; 7];
        for _ in 0..700_000 {
            seen[stream.below(7) as usize] += 1;
        }
        let chi_square: f64 =
            seen.iter().map(|n| (f64::from(*n) - 100_000.0).powi(2) / 100_000.0).sum();
        assert!(chi_square < 22.46, "6 degrees of freedom, p = 0.001: {chi_square}");
        assert_eq!(stream.below(0), 0);
        assert_eq!(stream.below(1), 0);
    }

    #[test]
    fn words_that_would_favour_a_number_are_drawn_again() {
        // 2^32 = 1 mod 3, so exactly one word (0) must be rejected for bound 3.
        let mut stream = Stream::new(&Seed::from_u64(3), Purpose::Friend);
        let before = stream.clone().word();
        assert_eq!(stream.bounded(1, 3), 0);
        assert_eq!(stream.clone().word(), before, "word 1 is fair");
        let _ = stream.bounded(0, 3);
        assert_ne!(stream.word(), before, "word 0 is not");
    }
}
