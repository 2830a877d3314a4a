//! Random numbers: one seed, and an independent stream for each purpose.

use alloc::boxed::Box;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// The seed of every random choice that a tower makes.
///
/// Two towers with the same configuration, seed and inputs behave identically. All nonces and draws
/// can be computed from the seed, so a tower in a real network needs a secret one: use
/// [`Seed::generate`], or 32 random bytes of the operating system. Reuse a seed only to repeat a
/// run.
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
    /// Panics if the operating system provides no random bytes. Supported systems always provide
    /// them after booting.
    #[cfg(feature = "std")]
    #[must_use]
    #[expect(clippy::expect_used, reason = "documented, and callers cannot recover")]
    pub fn generate() -> Self {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).expect("the operating system provided no random bytes");
        Self(bytes)
    }

    /// Returns a seed for tests and simulations. Such a seed is easily guessed.
    #[must_use]
    pub fn from_u64(number: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        Self(bytes)
    }
}

/// The purpose of a stream of random words. Each purpose has its own stream, so that an additional
/// draw for one purpose does not change the others.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    /// The recipient of the next message.
    Recipient = 1,
    /// The friend that a message or an announce names.
    Friend = 2,
    /// Nonces and lifetimes of messages that the application enqueues.
    Nonce = 3,
    /// Values drawn once when the tower is created: hash keys, the phases of ticks and heartbeats,
    /// the incarnation.
    Start = 4,
    /// Numbers of links.
    Link = 5,
}

/// One stream of random words. The generator is ChaCha8, which is fast and portable. Its words do
/// not change with a new version of the crate.
#[derive(Clone, Debug)]
pub(crate) struct Stream(ChaCha8Rng);

impl Stream {
    pub(crate) fn new(seed: &Seed, purpose: Purpose) -> Self {
        let mut generator = ChaCha8Rng::from_seed(seed.0);
        generator.set_stream(purpose as u64);
        Self(generator)
    }

    /// Returns the stream after `drawn` words.
    pub(crate) fn resume(seed: &Seed, purpose: Purpose, drawn: u64) -> Self {
        let mut stream = Self::new(seed, purpose);
        stream.0.set_word_pos(2 * u128::from(drawn));
        stream
    }

    #[inline]
    pub(crate) fn word(&mut self) -> u64 {
        self.0.next_u64()
    }
}

/// The number of words that a [`SparseStream`] stores: four blocks of ChaCha, which the generator
/// computes at once.
const BLOCK: usize = 32;

/// A [`Stream`] that allocates its buffer at the first draw, and frees it in
/// [`free_memory`](Self::free_memory). It returns the same words as a [`Stream`].
#[derive(Clone, Debug)]
pub(crate) struct SparseStream {
    purpose: Purpose,
    /// The number of words that were drawn.
    drawn: u64,
    block: Option<Box<[u64; BLOCK]>>,
}

impl SparseStream {
    pub(crate) fn new(purpose: Purpose) -> Self {
        Self { purpose, drawn: 0, block: None }
    }

    /// Returns the next word. The seed must be the same in each call.
    #[inline]
    pub(crate) fn word(&mut self, seed: &Seed) -> u64 {
        let offset = usize::try_from(self.drawn % BLOCK as u64).unwrap_or(0);
        if offset == 0 || self.block.is_none() {
            self.refill(seed, offset);
        }
        self.drawn += 1;
        self.block.as_ref().map_or(0, |block| block[offset])
    }

    #[cold]
    #[inline(never)]
    fn refill(&mut self, seed: &Seed, offset: usize) {
        let mut stream = Stream::resume(seed, self.purpose, self.drawn - offset as u64);
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

    /// Returns a uniformly distributed number in `0..bound`, or 0 if the bound is 0.
    #[inline]
    pub(crate) fn below(&mut self, seed: &Seed, bound: u32) -> u32 {
        let word = self.word(seed);
        self.bounded(seed, high(word), bound)
    }

    /// Like [`below`](Self::below), but starts with a word that was drawn before.
    #[inline]
    pub(crate) fn bounded(&mut self, seed: &Seed, word: u32, bound: u32) -> u32 {
        bounded(word, bound, || self.word(seed))
    }

    /// Starts to load the next word into the cache.
    #[cfg(feature = "simulation")]
    pub(crate) fn prefetch(&self) {
        if let Some(block) = &self.block {
            let offset = usize::try_from(self.drawn % BLOCK as u64).unwrap_or(0);
            prefetch_index::prefetch_index(block.as_slice(), offset);
        }
    }

    /// Frees the buffer until the next draw.
    pub(crate) fn free_memory(&mut self) {
        self.block = None;
    }
}

/// Lemire's bounded draw (ACM TOMACS 29:1, 2019). The result is the upper half of the product. A
/// few values of the lower half are rejected, because they would favour some numbers.
#[inline]
fn bounded(word: u32, bound: u32, next: impl FnMut() -> u64) -> u32 {
    let product = u64::from(word) * u64::from(bound);
    if low(product) < bound { draw_again(product, bound, next) } else { high(product) }
}

/// The rare case of [`bounded`], in which words may be rejected.
#[cold]
#[inline(never)]
fn draw_again(mut product: u64, bound: u32, mut next: impl FnMut() -> u64) -> u32 {
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

    impl Stream {
        fn below(&mut self, bound: u32) -> u32 {
            let word = self.word();
            self.bounded(high(word), bound)
        }

        fn bounded(&mut self, word: u32, bound: u32) -> u32 {
            bounded(word, bound, || self.word())
        }
    }

    #[test]
    fn law_2_the_words_of_the_generator_never_change() {
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
    #[cfg_attr(miri, ignore = "many draws")]
    fn law_2_a_sparse_stream_returns_the_words_of_the_full_stream() {
        let seed = Seed::from_u64(1);
        for purpose in [Purpose::Friend, Purpose::Nonce] {
            let mut full = Stream::new(&seed, purpose);
            let mut sparse = SparseStream::new(purpose);
            for n in 0..100 {
                assert_eq!(sparse.word(&seed), full.word(), "word {n}");
                if n % 3 == 0 {
                    sparse.free_memory();
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
    #[cfg_attr(miri, ignore = "many draws")]
    fn law_2_a_resumed_stream_continues_at_its_position() {
        let seed = Seed::from_u64(1);
        let mut stream = Stream::new(&seed, Purpose::Recipient);
        for drawn in 0..100 {
            let mut resumed = Stream::resume(&seed, Purpose::Recipient, drawn);
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
    fn biased_words_are_rejected() {
        // 2^32 = 1 mod 3, so exactly one word (0) must be rejected for bound 3.
        let mut stream = Stream::new(&Seed::from_u64(3), Purpose::Friend);
        let before = stream.clone().word();
        assert_eq!(stream.bounded(1, 3), 0);
        assert_eq!(stream.clone().word(), before, "word 1 was rejected");
        let _ = stream.bounded(0, 3);
        assert_ne!(stream.word(), before, "word 0 was not rejected");
    }
}
