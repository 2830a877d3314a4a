//! Random numbers that depend on nothing but what they are for.
//!
//! A word is a keyed hash of its purpose, its subject (a tower, a link, a fault) and a counter. There is no generator whose state everybody
//! shares: taking one tower or one fault out of a simulation leaves every other draw as it was.

use std::collections::BTreeSet;

use clacks_proto::Seed;
use siphasher::sip::SipHasher13;

/// Where all random numbers of a simulation come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Randomness {
    seed: u64,
}

/// What a random number is for.
///
/// The numbers go into the hash: one that changes, or is given again, changes runs that are on record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u64)]
#[non_exhaustive]
pub enum Purpose {
    /// The seeds of towers.
    Tower = 1,
    /// How long bytes are on their way between two towers.
    Latency = 2,
    /// How far a single delivery departs from that.
    Jitter = 3,
    /// Connections that are refused.
    Refused = 4,
    /// Connections that break.
    Broken = 5,
    /// Bytes that arrive altered.
    Corrupted = 6,
    /// Connections that are never answered.
    Unanswered = 7,
    /// Who knows whom at the start.
    Topology = 8,
    /// Who is cut off from whom.
    Partition = 9,
    /// Who leaves, who returns, and when.
    Churn = 10,
    /// How far a tower's clock is off.
    Clock = 11,
    /// Which messages are sent, where and when.
    Message = 12,
    /// What the simulated applications do.
    Application = 13,
    /// Connections that fall silent.
    Silenced = 14,
    /// How much arrives of a segment in which its connection breaks.
    Cut = 15,
    /// Which byte is altered, and into what.
    Altered = 16,
}

impl Randomness {
    /// The randomness of a seed: the same on every platform, for ever.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The word with this number in the stream of a purpose and subject.
    #[must_use]
    pub fn word(&self, purpose: Purpose, subject: u64, counter: u64) -> u64 {
        let mut place = [0; 24];
        place[..8].copy_from_slice(&(purpose as u64).to_le_bytes());
        place[8..16].copy_from_slice(&subject.to_le_bytes());
        place[16..].copy_from_slice(&counter.to_le_bytes());
        SipHasher13::new_with_keys(self.seed, DOMAIN).hash(&place)
    }

    /// The stream of a purpose and subject, from its first word.
    #[must_use]
    pub const fn draws(&self, purpose: Purpose, subject: u64) -> Draws {
        self.draws_from(purpose, subject, 0)
    }

    /// The stream of a purpose and subject, from where [`Draws::counter`] said that one stood.
    #[must_use]
    pub const fn draws_from(&self, purpose: Purpose, subject: u64, counter: u64) -> Draws {
        Draws { randomness: *self, purpose, subject, counter }
    }

    /// The seed of a tower, another one each time that it comes back to life.
    #[must_use]
    pub fn tower_seed(&self, tower: u32, life: u32) -> Seed {
        let mut draws = self.draws_from(Purpose::Tower, tower.into(), 4 * u64::from(life));
        let mut seed = [0; 32];
        for bytes in seed.chunks_exact_mut(8) {
            bytes.copy_from_slice(&draws.word().to_le_bytes());
        }
        Seed(seed)
    }
}

/// The other half of the hash's key, so that these words are no other program's.
const DOMAIN: u64 = u64::from_be_bytes(*b"clacksim");

/// A place in one stream, that moves on with each draw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draws {
    randomness: Randomness,
    purpose: Purpose,
    subject: u64,
    counter: u64,
}

impl Draws {
    /// How many words were drawn since the stream's beginning.
    #[must_use]
    pub const fn counter(&self) -> u64 {
        self.counter
    }

    /// The next word.
    pub fn word(&mut self) -> u64 {
        let word = self.randomness.word(self.purpose, self.subject, self.counter);
        self.counter = self.counter.wrapping_add(1);
        word
    }

    /// A number in `0..bound`, every one equally likely; 0 for a bound of 0. It may take more than one word, but hardly ever does for a small bound.
    pub fn below(&mut self, bound: u64) -> u64 {
        let word = self.word();
        self.bounded(word, bound)
    }

    /// Lemire's bounded draw: the product's upper half is the number, and the few lower halves that would favour some numbers are drawn again.
    fn bounded(&mut self, word: u64, bound: u64) -> u64 {
        let mut product = u128::from(word) * u128::from(bound);
        if low(product) < bound {
            let threshold = bound.wrapping_neg().checked_rem(bound).unwrap_or(0);
            while low(product) < threshold {
                product = u128::from(self.word()) * u128::from(bound);
            }
        }
        high(product)
    }

    /// A number in [0, 1), a multiple of 2^-53. Takes one word.
    #[allow(clippy::cast_precision_loss, reason = "53 bits are what the number holds")]
    pub fn unit(&mut self) -> f64 {
        (self.word() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Whether something of this probability happens: never at 0 or less (or not a number), always at 1 or more. Takes one word in any case, so that
    /// a changed probability leaves the draws behind it as they were.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Puts things in a random order, each equally likely.
    pub fn shuffle<T>(&mut self, things: &mut [T]) {
        for end in (1..things.len()).rev() {
            things.swap(end, self.index(end + 1));
        }
    }

    /// `count` different numbers in `0..bound` (all of them, if there are not more), each set equally likely. Their order is no random one.
    pub fn choose_distinct(&mut self, bound: u32, count: u32) -> Vec<u32> {
        // Floyd's sample: a number that is taken already stands for the newest one, which can't be.
        let count = count.min(bound);
        let mut chosen = Vec::with_capacity(count as usize);
        let mut many = BTreeSet::new();
        for newest in bound - count..bound {
            let number = u32::try_from(self.below(u64::from(newest) + 1)).unwrap_or(newest);
            let taken =
                if count > SCANNED { many.contains(&number) } else { chosen.contains(&number) };
            let number = if taken { newest } else { number };
            chosen.push(number);
            if count > SCANNED {
                many.insert(number);
            }
        }
        chosen
    }

    #[allow(clippy::cast_possible_truncation, reason = "less than a length")]
    fn index(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }
}

/// So few numbers are looked through faster than a tree.
const SCANNED: u32 = 32;

#[allow(clippy::cast_possible_truncation, reason = "the shift leaves 64 bits")]
const fn high(product: u128) -> u64 {
    (product >> 64) as u64
}

#[allow(clippy::cast_possible_truncation, reason = "taking the lower half is the point")]
const fn low(product: u128) -> u64 {
    product as u64
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small numbers")]
mod tests {
    use super::*;

    const RANDOMNESS: Randomness = Randomness::new(1);

    fn draws(subject: u64) -> Draws {
        RANDOMNESS.draws(Purpose::Message, subject)
    }

    /// How far counts are from all being equal.
    fn chi_square(counts: &[u32]) -> f64 {
        let total: u32 = counts.iter().sum();
        let expected = f64::from(total) / counts.len() as f64;
        counts.iter().map(|n| (f64::from(*n) - expected).powi(2) / expected).sum()
    }

    #[test]
    fn the_words_of_a_seed_never_change() {
        let word =
            |seed, purpose, subject, counter| Randomness::new(seed).word(purpose, subject, counter);
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
        assert_eq!(RANDOMNESS.tower_seed(7, 0).0[..8], 16_004_770_642_790_514_423u64.to_le_bytes());
    }

    #[test]
    fn the_numbers_of_purposes_never_change() {
        use Purpose::*;
        let all = [
            Tower,
            Latency,
            Jitter,
            Refused,
            Broken,
            Corrupted,
            Unanswered,
            Topology,
            Partition,
            Churn,
            Clock,
            Message,
            Application,
            Silenced,
            Cut,
            Altered,
        ];
        assert!(all.iter().zip(1..).all(|(purpose, number)| *purpose as u64 == number));
    }

    #[test]
    fn a_stream_depends_on_no_other() {
        let run = |left_out: Option<u64>| {
            let mut streams: Vec<_> = (0..4).map(|subject| (subject, draws(subject))).collect();
            streams.retain(|(subject, _)| Some(*subject) != left_out);
            let mut drawn = vec![Vec::new(); 4];
            for turn in 0..100 {
                for (subject, stream) in &mut streams {
                    for _ in 0..turn % (*subject + 2) {
                        drawn[*subject as usize].push(stream.word());
                    }
                }
            }
            drawn
        };
        let all = run(None);
        let without = run(Some(1));
        assert!(without[1].is_empty() && !all[1].is_empty());
        for subject in [0, 2, 3] {
            assert_eq!(all[subject], without[subject]);
        }
        let words: BTreeSet<_> = all.iter().flatten().collect();
        assert_eq!(words.len(), all.iter().map(Vec::len).sum::<usize>(), "and is like no other");
    }

    #[test]
    fn a_stream_goes_on_where_it_stood() {
        let mut first = draws(5);
        first.word();
        first.chance(0.5);
        let mut second = RANDOMNESS.draws_from(Purpose::Message, 5, first.counter());
        assert_eq!(first.word(), second.word());
    }

    #[test]
    fn a_bounded_draw_is_uniform() {
        let mut draws = draws(1);
        let mut counts = [0u32; 7];
        (0..700_000).for_each(|_| counts[draws.below(7) as usize] += 1);
        let chi_square = chi_square(&counts);
        assert!(chi_square < 22.46, "6 degrees of freedom, p = 0.001: {chi_square}");
        assert_eq!((draws.below(0), draws.below(1)), (0, 0));
    }

    #[test]
    fn words_that_would_favour_a_number_are_drawn_again() {
        // 2^64 = 1 mod 3, so exactly one word (0) must be rejected for bound 3.
        let mut draws = draws(2);
        assert_eq!((draws.bounded(1, 3), draws.counter()), (0, 0), "word 1 is fair");
        let _ = draws.bounded(0, 3);
        assert_eq!(draws.counter(), 1, "word 0 is not");
    }

    #[test]
    fn a_unit_fills_its_interval() {
        let mut draws = draws(3);
        let units: Vec<_> = (0..100_000).map(|_| draws.unit()).collect();
        assert!(units.iter().all(|unit| (0.0..1.0).contains(unit)));
        let mut counts = [0u32; 20];
        units.iter().for_each(|unit| counts[(unit * 20.0) as usize] += 1);
        let chi_square = chi_square(&counts);
        assert!(chi_square < 43.82, "19 degrees of freedom, p = 0.001: {chi_square}");
    }

    #[test]
    fn a_chance_is_as_large_as_it_says() {
        let mut draws = draws(4);
        let happened = (0..100_000).filter(|_| draws.chance(0.3)).count();
        assert!((29_500..30_500).contains(&happened), "3 standard deviations are 435: {happened}");
        for never in [0.0, -1.0, f64::NAN] {
            assert!((0..1000).all(|_| !draws.chance(never)));
        }
        assert!((0..1000).all(|_| draws.chance(1.0)));
        assert_eq!(draws.counter(), 104_000);
    }

    #[test]
    fn a_shuffle_makes_every_order_equally_often() {
        let mut draws = draws(6);
        let mut counts = std::collections::BTreeMap::new();
        for _ in 0..24_000 {
            let mut things = [0, 1, 2, 3];
            draws.shuffle(&mut things);
            *counts.entry(things).or_insert(0u32) += 1;
        }
        let counts: Vec<_> = counts.into_values().collect();
        assert_eq!(counts.len(), 24);
        let chi_square = chi_square(&counts);
        assert!(chi_square < 49.73, "23 degrees of freedom, p = 0.001: {chi_square}");
    }

    #[test]
    fn chosen_numbers_differ_and_every_set_is_equally_likely() {
        let mut draws = draws(7);
        let mut counts = std::collections::BTreeMap::new();
        for _ in 0..20_000 {
            let mut chosen = draws.choose_distinct(6, 3);
            chosen.sort_unstable();
            *counts.entry(chosen).or_insert(0u32) += 1;
        }
        let counts: Vec<_> = counts.into_values().collect();
        assert_eq!(counts.len(), 20, "6 over 3");
        let chi_square = chi_square(&counts);
        assert!(chi_square < 43.82, "19 degrees of freedom, p = 0.001: {chi_square}");
    }

    #[test]
    fn any_count_can_be_chosen() {
        for (bound, count) in [(0, 3), (3, 0), (3, 5), (32, 32), (33, 33), (1000, 40), (9, 8)] {
            let chosen = draws(8).choose_distinct(bound, count);
            let different: BTreeSet<_> = chosen.iter().copied().collect();
            assert_eq!(different.len(), count.min(bound) as usize);
            assert!(different.iter().all(|number| *number < bound));
        }
    }

    #[test]
    fn a_tower_has_a_seed_for_each_life() {
        let mut words = BTreeSet::new();
        for (tower, life) in (0..10).flat_map(|tower| (0..10).map(move |life| (tower, life))) {
            let seed = RANDOMNESS.tower_seed(tower, life).0;
            words.extend(seed.chunks(8).map(<[u8]>::to_vec));
        }
        assert_eq!(words.len(), 400, "no word is in two of them");
    }
}
