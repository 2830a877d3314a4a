//! Randomness: a seed in, one independent stream of words for each purpose.

use alloc::boxed::Box;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// The seed of every random choice that a tower makes.
///
/// Two towers with the same configuration, seed and inputs do the same. Whoever knows the seed
/// knows every nonce and every draw: use [`Seed::generate`], or 32 bytes of the operating system's
/// randomness, for a tower on a real network. Use a seed twice only to repeat a run.
#[derive(Clone, PartialEq, Eq)]
pub struct Seed(pub [u8; 32]);

impl core::fmt::Debug for Seed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Seed(..)")
    }
}

impl Seed {
    /// Returns a fresh seed from the operating system's randomness.
    ///
    /// # Panics
    ///
    /// If the operating system has no randomness. No supported system fails once it has booted.
    #[cfg(feature = "std")]
    #[must_use]
    #[expect(clippy::expect_used, reason = "documented, and no caller could do better")]
    pub fn generate() -> Self {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).expect("the operating system has no randomness");
        Self(bytes)
    }

    /// Returns a seed made from a small number, for tests and simulations. It is easily guessed.
    #[must_use]
    pub fn from_u64(number: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        Self(bytes)
    }
}

/// What a stream of random words is for. Each purpose has a stream of its own, so that a new draw
/// in one place leaves all others as they were.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    /// The recipient of the next message.
    Recipient = 1,
    /// The friend that a message or an announce names.
    Friend = 2,
    /// Nonces of messages enqueued here.
    Nonce = 3,
    /// What is drawn once at the start: hash keys, the phase of the ticks, the incarnation.
    Start = 4,
}

/// One stream of random words. The generator is ChaCha8: fast, portable, and its words never change
/// with an update.
#[derive(Clone, Debug)]
pub(crate) struct Stream(ChaCha8Rng);

impl Stream {
    pub(crate) fn new(seed: &Seed, purpose: Purpose) -> Self {
        let mut generator = ChaCha8Rng::from_seed(seed.0);
        generator.set_stream(purpose as u64);
        Self(generator)
    }

    /// Returns the stream as it is after `drawn` words.
    pub(crate) fn resume(seed: &Seed, purpose: Purpose, drawn: u64) -> Self {
        let mut stream = Self::new(seed, purpose);
        stream.0.set_word_pos(2 * u128::from(drawn));
        stream
    }

    #[inline]
    pub(crate) fn word(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Returns a number in `0..bound`, each equally likely; 0 for a bound of 0.
    #[inline]
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        let word = self.word();
        self.bounded(high(word), bound)
    }

    /// Like [`below`](Self::below), with a word that was drawn before.
    #[inline]
    pub(crate) fn bounded(&mut self, word: u32, bound: u32) -> u32 {
        bounded(word, bound, || self.word())
    }

    /// Returns how many words were drawn.
    pub(crate) fn drawn(&self) -> u64 {
        u64::try_from(self.0.get_word_pos() / 2).unwrap_or(u64::MAX)
    }
}

/// The words that a [`SparseStream`] keeps: as many as the generator makes at once, four blocks of
/// ChaCha.
const BLOCK: usize = 32;

/// A [`Stream`] that takes no memory before its first draw and after [`rest`](Self::rest). It has
/// the same words.
#[derive(Debug)]
pub(crate) struct SparseStream {
    purpose: Purpose,
    /// How many words were drawn.
    drawn: u64,
    block: Option<Box<[u64; BLOCK]>>,
}

impl SparseStream {
    pub(crate) fn new(purpose: Purpose) -> Self {
        Self { purpose, drawn: 0, block: None }
    }

    /// Returns the next word. The seed must be the same each time.
    #[inline]
    pub(crate) fn word(&mut self, seed: &Seed) -> u64 {
        let place = usize::try_from(self.drawn % BLOCK as u64).unwrap_or(0);
        if place == 0 || self.block.is_none() {
            self.refill(seed, place);
        }
        self.drawn += 1;
        self.block.as_ref().map_or(0, |block| block[place])
    }

    #[cold]
    #[inline(never)]
    fn refill(&mut self, seed: &Seed, place: usize) {
        let mut stream = Stream::resume(seed, self.purpose, self.drawn - place as u64);
        let mut bytes = [0; 8 * BLOCK];
        stream.0.fill_bytes(&mut bytes);
        let block = self.block.get_or_insert_default();
        for (word, bytes) in block.iter_mut().zip(bytes.as_chunks().0) {
            *word = u64::from_le_bytes(*bytes);
        }
    }

    pub(crate) fn nonce(&mut self, seed: &Seed) -> u128 {
        u128::from(self.word(seed)) << 64 | u128::from(self.word(seed))
    }

    /// Returns a number in `0..bound`, each equally likely; 0 for a bound of 0.
    #[inline]
    pub(crate) fn below(&mut self, seed: &Seed, bound: u32) -> u32 {
        let word = self.word(seed);
        bounded(high(word), bound, || self.word(seed))
    }

    /// Frees the memory until the next draw.
    pub(crate) fn rest(&mut self) {
        self.block = None;
    }
}

/// Lemire's bounded draw (ACM TOMACS 29:1, 2019): the upper half of the product is the number. The
/// few lower halves that would favour some numbers are drawn again.
#[inline]
fn bounded(word: u32, bound: u32, next: impl FnMut() -> u64) -> u32 {
    let product = u64::from(word) * u64::from(bound);
    if low(product) < bound { drawn_again(product, bound, next) } else { high(product) }
}

/// The rare case of [`bounded`]: the first word may favour a number.
#[cold]
#[inline(never)]
fn drawn_again(mut product: u64, bound: u32, mut next: impl FnMut() -> u64) -> u32 {
    let threshold = bound.wrapping_neg().checked_rem(bound).unwrap_or(0);
    while low(product) < threshold {
        product = u64::from(high(next())) * u64::from(bound);
    }
    high(product)
}

/// Returns the upper half of a word.
#[allow(clippy::cast_possible_truncation, reason = "the shift leaves 32 bits")]
pub(crate) const fn high(word: u64) -> u32 {
    (word >> 32) as u32
}

/// Returns the lower half of a word.
#[allow(clippy::cast_possible_truncation, reason = "the lower half is wanted")]
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
