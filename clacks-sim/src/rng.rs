//! Streams of random numbers that are keyed by purpose and subject.
//!
//! Word number `n` of a stream is a keyed hash of the seed, the purpose, the subject (a tower, a
//! link, a fault) and `n`. No two streams share state. If a tower or a fault is removed from a
//! scenario, all other draws stay the same.
//!
//! [`RngStream`] implements the traits of [`rand`]. `Cargo.toml` pins `rand` and `rand_distr`,
//! because another version may draw other numbers from the same words.

use std::convert::Infallible;

use clacks_proto::Seed;
use rand::rand_core::utils::fill_bytes_via_next_word;
use rand::{RngExt, TryRng};
use siphasher::sip::SipHasher13;

/// All random numbers of a simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RngStreams {
    seed: u64,
}

/// The purpose of a random number.
///
/// The discriminants are hashed. Changing one changes the runs of every seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u64)]
#[non_exhaustive]
pub enum Purpose {
    /// The seeds of towers.
    Tower = 1,
    /// The latency between two towers.
    Latency = 2,
    /// The jitter of a segment.
    Jitter = 3,
    /// Whether a dial is refused.
    Refused = 4,
    /// Whether a connection breaks.
    Broken = 5,
    /// Whether a byte is altered.
    Corrupted = 6,
    /// Whether a dial is not answered.
    Unanswered = 7,
    /// The contacts of towers.
    Topology = 8,
    /// The groups of towers in faults, paths and messages.
    Partition = 9,
    /// The times at which towers leave and return.
    Churn = 10,
    /// The offsets of clocks.
    Clock = 11,
    /// The towers and times at which messages are enqueued.
    Message = 12,
    /// The choices of simulated applications and roles.
    Application = 13,
    /// Whether a connection falls silent.
    Silenced = 14,
    /// The number of bytes that arrive of a segment in which a connection breaks.
    Cut = 15,
    /// The position and the value of an altered byte.
    Altered = 16,
    /// The choices of [`Scenario::swarm`](crate::Scenario::swarm).
    Swarm = 17,
}

/// The second half of the hash key. Separates these words from other uses of the seed.
const DOMAIN: u64 = u64::from_be_bytes(*b"clacksim");

impl RngStreams {
    /// Returns the streams of a seed. They are the same on every platform.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// Returns a word of a stream.
    #[must_use]
    pub fn word(&self, purpose: Purpose, subject: u64, position: u64) -> u64 {
        let mut input = [0; 24];
        input[..8].copy_from_slice(&(purpose as u64).to_le_bytes());
        input[8..16].copy_from_slice(&subject.to_le_bytes());
        input[16..].copy_from_slice(&position.to_le_bytes());
        SipHasher13::new_with_keys(self.seed, DOMAIN).hash(&input)
    }

    /// Returns a stream at its first word.
    #[must_use]
    pub const fn stream(&self, purpose: Purpose, subject: u64) -> RngStream {
        self.stream_at(purpose, subject, 0)
    }

    /// Returns a stream at a position that [`RngStream::position`] returned.
    #[must_use]
    pub const fn stream_at(&self, purpose: Purpose, subject: u64, position: u64) -> RngStream {
        RngStream { streams: *self, purpose, subject, position }
    }

    /// Returns the seed of a tower. Each of its lives has another seed.
    #[must_use]
    pub fn tower_seed(&self, tower: u32, life: u32) -> Seed {
        let mut seed = [0; 32];
        self.stream_at(Purpose::Tower, tower.into(), 4 * u64::from(life)).fill(&mut seed);
        Seed(seed)
    }
}

/// One stream of random numbers. Use it with the methods of [`rand::RngExt`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RngStream {
    streams: RngStreams,
    purpose: Purpose,
    subject: u64,
    position: u64,
}

impl RngStream {
    /// Returns the number of words that were drawn since the beginning of the stream.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// Returns a number in `0..bound`, or 0 if the bound is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // `random_range` panics if the range is empty.
        if bound == 0 { 0 } else { self.random_range(0..bound) }
    }

    /// Returns true with a probability. Draws one word for every probability, so that another
    /// probability does not change later draws.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.random::<f64>() < probability
    }
}

impl TryRng for RngStream {
    type Error = Infallible;

    #[allow(clippy::cast_possible_truncation, reason = "the shift leaves 32 bits")]
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.try_next_u64().map(|word| (word >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let word = self.streams.word(self.purpose, self.subject, self.position);
        self.position = self.position.wrapping_add(1);
        Ok(word)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        fill_bytes_via_next_word(bytes, || self.try_next_u64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    use rand::seq::{SliceRandom, index};
    use rand_distr::{Exp1, StandardNormal};

    const STREAMS: RngStreams = RngStreams::new(1);

    fn stream(subject: u64) -> RngStream {
        STREAMS.stream(Purpose::Message, subject)
    }

    #[test]
    fn the_words_of_a_seed_never_change() {
        let word = |seed, purpose, subject, position| {
            RngStreams::new(seed).word(purpose, subject, position)
        };
        assert_eq!(
            [
                word(0, Purpose::Tower, 0, 0),
                word(1, Purpose::Tower, 0, 0),
                word(1, Purpose::Application, 0, 0),
                word(1, Purpose::Tower, 1, 0),
                word(1, Purpose::Tower, 0, 1),
                word(u64::MAX, Purpose::Latency, u64::MAX, u64::MAX),
            ],
            [
                7_285_327_411_747_318_052,
                17_275_664_206_877_672_872,
                15_708_916_980_915_675_146,
                14_373_110_022_621_656_666,
                6_802_844_508_624_425_539,
                10_422_622_603_727_001_425
            ]
        );
        assert_eq!(STREAMS.tower_seed(7, 0).0[..8], 16_004_770_642_790_514_423u64.to_le_bytes());
    }

    #[test]
    fn the_draws_of_a_stream_never_change() {
        let mut rng = stream(1);
        let bounded: Vec<_> = (0..8).map(|_| rng.below(1_000)).collect();
        let sampled = index::sample(&mut rng, 1_000, 5).into_vec();
        let mut shuffled = [0, 1, 2, 3, 4, 5, 6, 7];
        shuffled.shuffle(&mut rng);
        // The tails of both laws are drawn as well: a thousandth of the draws needs a logarithm.
        let sum = |draw: &mut dyn FnMut() -> f64| {
            (0..100_000).map(|_| draw().to_bits()).fold(0, u64::wrapping_add)
        };
        let exponential = sum(&mut || rng.sample(Exp1));
        let normal = sum(&mut || rng.sample(StandardNormal));
        assert_eq!(bounded, [698, 888, 777, 170, 524, 370, 631, 0]);
        assert_eq!(sampled, [793, 691, 790, 263, 250]);
        assert_eq!(shuffled, [3, 0, 2, 5, 6, 1, 4, 7]);
        assert_eq!(exponential, 17_509_764_202_246_602_762);
        assert_eq!((normal, rng.position()), (5_776_543_275_163_396_482, 205_648));
    }

    #[test]
    fn a_stream_depends_on_no_other() {
        let run = |left_out: Option<u64>| {
            let mut streams: Vec<_> = (0..4).map(|subject| (subject, stream(subject))).collect();
            streams.retain(|(subject, _)| Some(*subject) != left_out);
            let mut drawn = [const { Vec::<u64>::new() }; 4];
            for turn in 0..100 {
                for (subject, stream) in &mut streams {
                    let words = turn % (*subject + 2);
                    drawn[usize::try_from(*subject).unwrap()]
                        .extend((0..words).map(|_| stream.random::<u64>()));
                }
            }
            drawn
        };
        let (all, without) = (run(None), run(Some(1)));
        assert!(without[1].is_empty() && !all[1].is_empty());
        for subject in [0, 2, 3] {
            assert_eq!(all[subject], without[subject]);
        }
        let words: BTreeSet<_> = all.iter().flatten().collect();
        assert_eq!(words.len(), all.iter().map(Vec::len).sum::<usize>(), "no word occurs twice");
    }

    #[test]
    fn a_stream_continues_at_its_position() {
        let mut first = stream(5);
        first.chance(0.5);
        first.below(7);
        let mut second = STREAMS.stream_at(Purpose::Message, 5, first.position());
        assert_eq!(first.random::<u64>(), second.random::<u64>());
    }

    #[test]
    fn a_chance_is_as_large_as_its_probability_and_draws_one_word() {
        let mut rng = stream(4);
        let happened = (0..100_000).filter(|_| rng.chance(0.3)).count();
        assert!((29_500..30_500).contains(&happened), "3 standard deviations are 435: {happened}");
        for never in [0.0, -1.0, f64::NAN] {
            assert!((0..1_000).all(|_| !rng.chance(never)));
        }
        assert!((0..1_000).all(|_| rng.chance(1.0)));
        assert_eq!((rng.position(), rng.below(0)), (104_000, 0));
    }

    #[test]
    fn each_life_of_a_tower_has_another_seed() {
        let mut words = BTreeSet::new();
        for (tower, life) in (0..10).flat_map(|tower| (0..10).map(move |life| (tower, life))) {
            let seed = STREAMS.tower_seed(tower, life).0;
            words.extend(seed.chunks(8).map(<[u8]>::to_vec));
        }
        assert_eq!(words.len(), 400, "no two seeds share a word");
    }
}
