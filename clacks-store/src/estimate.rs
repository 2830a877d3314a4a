//! Estimates of a network, and what a job will take in it.
//!
//! Pieces are at independent random towers. After visits to a share `x` of the towers, each piece
//! that is alive was found with probability `x`. So the number of pieces found of a group is
//! binomial, and the same law gives the share of towers that must be visited and the share of
//! pieces that must be alive.

use core::fmt;
use core::time::Duration;

use crate::chunk::CHUNK;
use crate::geometry::Geometry;

/// The most chunks that an inventory is believed to hold if few towers answered: a queue of 64 MiB,
/// the default.
const MAX_HELD: u32 = 5_592;
/// The most chunks for which such an inventory is believed to have room: 60 % of such a queue.
const MAX_ROOM: u32 = MAX_HELD / 10 * 6;
/// The inventories from which on the median is believed as it is. One liar can't move it.
const ENOUGH: usize = 3;
/// The bytes of a visit without its inventory: connection, hello and request (derived).
const VISIT_BYTES: u64 = 4_096;
/// The bytes of a tag in an inventory.
const ENTRY_BYTES: u64 = 24;

/// The visits started each second (guess: spares routers and handshakes).
pub(crate) const VISITS_PER_SECOND: u32 = 64;
/// The visits at a time.
pub(crate) const MAX_VISITS: u32 = 32;
/// The chunks that are taken or published at a time: 1.5 MB, or 5 MB/s over a stem of 300 ms.
pub(crate) const WINDOW: u32 = 128;

/// The mean time that a tower stays (published for IPFS: half of the new peers leave within 2 h).
pub(crate) const SESSION: Duration = Duration::from_secs(10_440);
/// A get that takes longer is refused (guess: the patience of a person).
const MAX_TIME: Duration = Duration::from_secs(600);
/// A get may always take so many bytes (guess).
const MIN_BYTES: u64 = 64 << 20;
/// A get may take so many times the bytes of the file (guess).
const MAX_TRAFFIC: u64 = 16;
/// A put may take this share of the room, in per cent (guess: a file must not fill a network).
const MAX_SHARE: u64 = 60;
/// The probability of "safe".
const SAFE: f64 = 0.999;

/// What visits have shown of a network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NetworkEstimate {
    /// The towers known. A first hop tells at most 4 096, so there may be more.
    pub towers: u32,
    /// The towers that answered with an inventory.
    pub visited: u32,
    /// The towers that did not answer.
    pub failed: u32,
    /// The chunks that a tower holds: the lower median of what the towers claim. Of less than three
    /// towers, it is at most that of a default queue.
    pub held: u32,
    /// The chunks that a tower has room for, in the same way.
    pub room: u32,
}

impl NetworkEstimate {
    /// Returns the fill of the stores, from 0 to 1.
    #[must_use]
    pub fn fill(&self) -> f64 {
        let all = f64::from(self.held) + f64::from(self.room);
        if all > 0.0 { f64::from(self.held) / all } else { 0.0 }
    }

    /// Returns the number of towers with a store.
    #[must_use]
    pub fn stores(&self) -> u32 {
        let asked = (self.visited + self.failed).max(1);
        let stores = u64::from(self.towers) * u64::from(self.visited) / u64::from(asked);
        u32::try_from(stores).unwrap_or(u32::MAX)
    }

    /// Returns the number of chunks for which the network has room.
    #[must_use]
    pub fn room(&self) -> u64 {
        u64::from(self.stores()) * u64::from(self.room)
    }
}

/// Collects what inventories claim.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples {
    held: alloc::vec::Vec<u32>,
    room: alloc::vec::Vec<u32>,
}

impl Samples {
    /// The most samples kept. More would not change the median.
    const MAX: usize = 256;

    pub(crate) fn push(&mut self, held: u32, room: u32) {
        if self.held.len() < Self::MAX {
            self.held.push(held);
            self.room.push(room);
        }
    }

    pub(crate) fn medians(&self) -> (u32, u32) {
        let median = |values: &[u32], most: u32| {
            let mut values = values.to_vec();
            values.sort_unstable();
            let lower = values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(0);
            if values.len() < ENOUGH { lower.min(most) } else { lower }
        };
        (median(&self.held, MAX_HELD), median(&self.room, MAX_ROOM))
    }
}

/// What a job will take.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Forecast {
    /// The network.
    pub network: NetworkEstimate,
    /// The number of pieces that are published or taken.
    pub pieces: u32,
    /// The visits that suffice with a probability of one half. 0 for a put.
    pub visits: u32,
    /// The expected time.
    pub time: Duration,
    /// The time that suffices with a probability of 99 %.
    pub time_p99: Duration,
    /// The bytes that are sent and received.
    pub bytes: u64,
    /// The number of towers that may leave at once, and the file remains readable with a
    /// probability of 99.9 %.
    pub survives: u32,
    /// How long the file remains readable without a keeper, if towers stay as long as those of
    /// other networks: 2.9 hours on average.
    pub life: Duration,
    /// Why the job is refused.
    pub refusal: Option<Refusal>,
}

/// Why a forecast does not allow a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The file would take more than 60 % of the room.
    NoRoom {
        /// The chunks of the file.
        chunks: u32,
        /// The chunks for which the network has room.
        room: u64,
    },
    /// With a probability of more than 1 % it takes longer than 10 minutes.
    TooSlow {
        /// The time that suffices with a probability of 99 %.
        time: Duration,
    },
    /// Listening takes longer than the file lasts, with a probability of more than 1 %.
    EndsFirst {
        /// The time that suffices with a probability of 99 %.
        time: Duration,
        /// The time until the file ends.
        left: Duration,
    },
    /// It takes more than 64 MiB and more than 16 times the bytes of the file.
    TooMuchTraffic {
        /// The bytes.
        bytes: u64,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoom { chunks, room } => write!(
                f,
                "the file has {chunks} pieces, more than {MAX_SHARE} % of the room for {room} in \
                 the network: put a smaller file, or one with less redundancy"
            ),
            Self::TooSlow { time } => write!(
                f,
                "it may take {} minutes: say that you are patient to do it anyway",
                time.as_secs().div_ceil(60)
            ),
            Self::EndsFirst { time, left } => write!(
                f,
                "it may take {} minutes, and the file ends in {}: say that you are patient to do \
                 it anyway",
                time.as_secs().div_ceil(60),
                left.as_secs() / 60
            ),
            Self::TooMuchTraffic { bytes } => write!(
                f,
                "it may take {} MB of traffic: say that you are patient to do it anyway",
                bytes.div_ceil(1_000_000)
            ),
        }
    }
}

/// What it will take to listen until a file is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListeningForecast {
    /// The number of pieces that are missing.
    pub pieces: u32,
    /// The time that suffices with a probability of one half.
    pub time: Duration,
    /// The time that suffices with a probability of 99 %.
    pub time_p99: Duration,
    /// Why listening is refused.
    pub refusal: Option<Refusal>,
}

impl ListeningForecast {
    /// Returns the forecast if each group has `proved` pieces, each other piece arrives once each
    /// `interval` on average, and the file ends after `left`.
    pub(crate) fn new(
        geometry: Geometry,
        proved: u32,
        missing: u32,
        interval: Duration,
        left: Duration,
    ) -> Self {
        let (total, data) = (geometry.total(), geometry.data());
        let (total, data) = (total.saturating_sub(proved), data.saturating_sub(proved));
        let within = |probability: f64| {
            // After a time t, each piece has arrived with the probability 1 - e^(-t / interval).
            let share = share_of_groups(geometry.groups(), total, data, probability);
            seconds(interval.as_secs_f64() * -libm::log1p(-share))
        };
        let (time, time_p99) =
            if data == 0 { (Duration::ZERO, Duration::ZERO) } else { (within(0.5), within(0.99)) };
        let refusal = (time_p99 > left).then_some(Refusal::EndsFirst { time: time_p99, left });
        Self { pieces: missing, time, time_p99, refusal }
    }
}

/// What a forecast starts from.
pub(crate) struct Basis {
    pub(crate) geometry: Geometry,
    pub(crate) network: NetworkEstimate,
    /// The mean time of a visit.
    pub(crate) visit_time: Duration,
    /// The mean time of an answer.
    pub(crate) round_trip: Duration,
}

impl Basis {
    /// Returns the forecast of a put.
    pub(crate) fn of_put(&self, publish_rate: u32, publish_burst: u32) -> Forecast {
        let chunks = self.geometry.chunks();
        let room = self.network.room();
        let is_too_large = u64::from(chunks) * 100 > room * MAX_SHARE;
        let paced = f64::from(chunks.saturating_sub(publish_burst)) / f64::from(publish_rate);
        let time = seconds(paced).max(self.time_of(chunks));
        Forecast {
            pieces: chunks,
            visits: 0,
            time,
            time_p99: time * 2,
            bytes: u64::from(chunks) * CHUNK as u64,
            refusal: is_too_large.then_some(Refusal::NoRoom { chunks, room }),
            ..self.common(1.0)
        }
    }

    /// Returns the forecast of a get, if a share of the pieces is `alive` and `missing` pieces must
    /// be taken.
    pub(crate) fn of_get(&self, alive: f64, missing: u32) -> Forecast {
        let towers = f64::from(self.network.towers);
        let visits = |probability: f64| {
            let share = share_needed(self.geometry, probability) / alive.max(0.01);
            floor(share.min(1.0) * towers).max(1)
        };
        let (median, most) = (visits(0.5), visits(0.99));
        let visits_in = |visits: u32| {
            let rate = f64::from(MAX_VISITS) / self.visit_time.as_secs_f64().max(0.001);
            seconds(f64::from(visits) / rate.min(f64::from(VISITS_PER_SECOND)))
        };
        let taking = self.time_of(missing);
        let inventory = VISIT_BYTES + ENTRY_BYTES * u64::from(self.network.held);
        let bytes = u64::from(most) * inventory + u64::from(missing) * CHUNK as u64;
        let time_p99 = visits_in(most).max(taking);
        let file = u64::from(self.geometry.shards()) * CHUNK as u64;
        let refusal = if time_p99 > MAX_TIME {
            Some(Refusal::TooSlow { time: time_p99 })
        } else if bytes > MIN_BYTES.max(MAX_TRAFFIC * file) {
            Some(Refusal::TooMuchTraffic { bytes })
        } else {
            None
        };
        Forecast {
            pieces: missing,
            visits: median,
            time: visits_in(median).max(taking),
            time_p99,
            bytes,
            refusal,
            ..self.common(alive)
        }
    }

    fn common(&self, alive: f64) -> Forecast {
        let needed = share_needed(self.geometry, SAFE);
        let stores = f64::from(self.network.stores());
        let lost = if alive > needed { 1.0 - needed / alive } else { 0.0 };
        Forecast {
            network: self.network,
            pieces: 0,
            visits: 0,
            time: Duration::ZERO,
            time_p99: Duration::ZERO,
            bytes: 0,
            survives: floor(stores * lost),
            life: life(self.geometry, alive, 1.0 / SESSION.as_secs_f64()),
            refusal: None,
        }
    }

    /// Returns the time in which chunks are taken or published, a window for each round trip.
    fn time_of(&self, chunks: u32) -> Duration {
        seconds(f64::from(chunks) / f64::from(WINDOW) * self.round_trip.as_secs_f64())
    }
}

/// Returns how long a file remains readable with a probability of 99.9 % if its pieces are lost at
/// `rate`, in shares a second.
pub(crate) fn life(geometry: Geometry, alive: f64, rate: f64) -> Duration {
    let ratio = alive / share_needed(geometry, SAFE);
    if ratio <= 1.0 { Duration::ZERO } else { seconds(libm::log(ratio) / rate.max(1e-9)) }
}

/// Returns the share of the pieces of each group with which all groups can be restored with a
/// probability of 99.9 %.
pub(crate) fn safe_share(geometry: Geometry) -> f64 {
    share_needed(geometry, SAFE)
}

/// Returns the share of the pieces of each group with which all groups can be restored with this
/// probability.
pub(crate) fn share_needed(geometry: Geometry, probability: f64) -> f64 {
    share_of_groups(geometry.groups(), geometry.total(), geometry.data(), probability)
}

/// Returns the share of `total` pieces with which `groups` groups all have `data` of them with this
/// probability.
fn share_of_groups(groups: u32, total: u32, data: u32, probability: f64) -> f64 {
    let of_each = libm::pow(probability, 1.0 / f64::from(groups));
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..40 {
        let middle = f64::midpoint(low, high);
        if at_least(total, data, middle) < of_each {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// Returns the probability that at least `least` of `total` things happen, each with probability
/// `chance`.
pub(crate) fn at_least(total: u32, least: u32, chance: f64) -> f64 {
    if least == 0 || chance >= 1.0 {
        return 1.0;
    }
    if chance <= 0.0 {
        return 0.0;
    }
    let (yes, no) = (libm::log(chance), libm::log1p(-chance));
    // The logarithm of the term for 0.
    let mut term = f64::from(total) * no;
    let mut below = 0.0;
    for count in 0..least {
        below += libm::exp(term);
        term += libm::log(f64::from(total - count)) - libm::log(f64::from(count + 1)) + yes - no;
    }
    (1.0 - below).clamp(0.0, 1.0)
}

/// The share of the pieces of a group that is alive, by what visits to a share of the towers saw.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct AliveShare {
    pub(crate) share: f64,
    /// The standard error. It is zero when all towers were visited.
    pub(crate) error: f64,
}

impl AliveShare {
    /// Estimates the share of `total` pieces from `seen` ones after visits to the share `visited`
    /// of the towers.
    pub(crate) fn new(seen: u32, total: u32, visited: f64) -> Self {
        let (seen, total) = (f64::from(seen), f64::from(total.max(1)));
        let visited = visited.clamp(1e-6, 1.0);
        let share = (seen / (total * visited)).min(1.0);
        // As if one more had been seen: to see none is no certainty.
        let floor = ((seen + 1.0) / (total * visited)).min(1.0);
        let error = libm::sqrt(floor * (1.0 - visited) / (total * visited));
        Self { share, error }
    }

    /// Returns the share if only a part of the `seen` pieces exists: as large a part as was proved
    /// of the pieces of a sample that were `(taken, proved)`. Without a sample nothing is believed.
    pub(crate) fn proved(self, seen: u32, (taken, proved): (u32, u32)) -> Self {
        let (seen, taken, proved) = (f64::from(seen), f64::from(taken), f64::from(proved));
        let part = if taken > 0.0 { proved / taken } else { 0.0 };
        // As if one more had been proved and one more had not: a few pieces are no certainty.
        let chance = (proved + 1.0) / (taken + 2.0);
        let unknown = if seen > 0.0 { (1.0 - taken / seen).max(0.0) } else { 0.0 };
        let of_part = libm::sqrt(chance * (1.0 - chance) / (taken + 2.0) * unknown);
        let error = libm::hypot(self.error * part, self.share * of_part);
        Self { share: self.share * part, error }
    }
}

/// Returns a time. Infinite and negative ones are cut.
pub(crate) fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.clamp(0.0, 1e9)).unwrap_or_default()
}

/// Rounds down.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast of a float saturates"
)]
pub(crate) fn floor(value: f64) -> u32 {
    value as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn geometry(shards: u32) -> Geometry {
        Geometry::new(2, shards).unwrap()
    }

    fn network(towers: u32, room: u32) -> NetworkEstimate {
        NetworkEstimate { towers, visited: towers.min(16), failed: 0, held: 100, room }
    }

    fn basis(shards: u32, network: NetworkEstimate) -> Basis {
        let round_trip = Duration::from_millis(100);
        Basis { geometry: geometry(shards), network, visit_time: round_trip * 3, round_trip }
    }

    fn close(value: f64, expected: f64) -> bool {
        (value - expected).abs() < 0.006
    }

    #[test]
    fn the_share_needed_follows_the_binomial_law() {
        // By hand: 1 of 32 survives with 1 - (1 - v)^32.
        let exact = 1.0 - libm::pow(0.001, 1.0 / 32.0);
        assert!(close(share_needed(geometry(1), 0.999), exact));
        for (shards, half, safe) in [(1, 0.02, 0.19), (93, 0.50, 0.61), (922, 0.52, 0.58)] {
            let (a, b) = (share_needed(geometry(shards), 0.5), safe_share(geometry(shards)));
            assert!(close(a, half) && close(b, safe), "{shards}: {a} {b}");
        }
        assert!(close(safe_share(geometry(94_321)), 0.60));
    }

    #[test]
    fn ten_towers_survive_the_loss_of_four() {
        let forecast = basis(922, network(10, 3_000)).of_put(240, 4_000);
        assert_eq!((forecast.pieces, forecast.survives, forecast.refusal), (1_848, 4, None));
        assert!(forecast.life > Duration::from_secs(80 * 60));
        assert!(forecast.life < Duration::from_secs(100 * 60));
    }

    #[test]
    fn a_put_takes_at_most_sixty_per_cent_of_the_room() {
        let refusal = |room: u32| basis(922, network(10, room)).of_put(240, 4_000).refusal;
        assert_eq!(refusal(308), None);
        assert_eq!(refusal(307), Some(Refusal::NoRoom { chunks: 1_848, room: 3_070 }));
        assert_eq!(refusal(0), Some(Refusal::NoRoom { chunks: 1_848, room: 0 }));
    }

    #[test]
    fn a_get_in_a_huge_network_is_refused() {
        let small = basis(93, network(1_000, 3_000)).of_get(1.0, 93);
        assert_eq!(small.refusal, None);
        assert!((480..=520).contains(&small.visits), "{}", small.visits);
        let huge = basis(93, network(1_000_000, 3_000)).of_get(1.0, 93);
        assert!(matches!(huge.refusal, Some(Refusal::TooSlow { .. })), "{huge:?}");
        let mut wide = network(30_000, 3_000);
        wide.held = MAX_HELD;
        let wide = basis(1, wide).of_get(0.05, 1);
        assert!(matches!(wide.refusal, Some(Refusal::TooMuchTraffic { .. })), "{wide:?}");
    }

    #[test]
    fn listening_obeys_the_law_of_the_coupon_collector() {
        let harmonic = |n: u32| (1..=n).map(|i| 1.0 / f64::from(i)).sum::<f64>();
        let (day, minute) = (Duration::from_secs(86_400), Duration::from_secs(60));
        let forecast = |shards, proved| {
            let geometry = geometry(shards);
            let forecast = ListeningForecast::new(geometry, proved, 1, minute, day);
            assert!(forecast.time <= forecast.time_p99 && forecast.refusal.is_none());
            (geometry.total(), geometry.data(), forecast.time.as_secs_f64() / 60.0)
        };
        for (shards, proved) in [(20, 0), (93, 0), (93, 50), (256, 200)] {
            let (n, k, time) = forecast(shards, proved);
            let mean = harmonic(n - proved) - harmonic(n - k);
            assert!((time / mean - 1.0).abs() < 0.03, "{shards} {proved}: {time} {mean}");
        }
        assert_eq!(forecast(93, 93).2, 0.0);
        // More groups take longer, because all must be full.
        assert!(forecast(1_024, 0).2 > forecast(256, 0).2);
        let slow = ListeningForecast::new(geometry(93), 0, 93, 2 * day, day);
        assert!(matches!(slow.refusal, Some(Refusal::EndsFirst { left, .. }) if left == day));
    }

    #[test]
    fn claims_of_a_few_towers_do_not_move_the_medians() {
        let mut samples = Samples::default();
        (0..2).for_each(|_| samples.push(u32::MAX, u32::MAX));
        assert_eq!(samples.medians(), (MAX_HELD, MAX_ROOM), "two may both lie");
        (0..2).for_each(|_| samples.push(100_000, 60_000));
        assert_eq!(samples.medians(), (100_000, 60_000), "a queue larger than the default");
        (0..8).for_each(|_| samples.push(10, 20));
        (0..6).for_each(|_| samples.push(u32::MAX, u32::MAX));
        assert_eq!(samples.medians(), (100_000, 60_000));
        (0..3).for_each(|_| samples.push(10, 20));
        assert_eq!(samples.medians(), (10, 20));
    }

    #[test]
    fn all_towers_visited_is_no_error() {
        let all = AliveShare::new(93, 186, 1.0);
        assert_eq!((all.share, all.error), (0.5, 0.0));
        let none = AliveShare::new(0, 186, 0.1);
        assert!(none.error > 0.0);
        assert_eq!(all.proved(93, (93, 93)), all);
        let half = all.proved(93, (20, 10));
        assert!(half.share == 0.25 && (0.04..0.06).contains(&half.error), "{half:?}");
        let unknown = all.proved(93, (0, 0));
        assert!(unknown.share == 0.0 && unknown.error > 0.15, "{unknown:?}");
    }

    #[test]
    fn the_estimate_is_within_three_errors_of_the_truth_but_for_one_in_a_hundred() {
        let mut word = 1u64;
        let mut draw = |below: u64| {
            word = word
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (word >> 33) % below
        };
        let (runs, mut far) = (10_000, 0);
        for _ in 0..runs {
            // Each piece alive is at one of 100 towers, of which the first are visited.
            let (alive, visited) = (draw(187), 10 + draw(91));
            let seen: u32 = (0..alive).map(|_| u32::from(draw(100) < visited)).sum();
            let estimate = AliveShare::new(seen, 186, visited as f64 / 100.0);
            let truth = alive as f64 / 186.0;
            far += u32::from((estimate.share - truth).abs() > 3.0 * estimate.error + 1e-9);
        }
        assert!(far < runs / 100, "{far} of {runs}");
    }

    proptest! {
        #[test]
        fn a_larger_chance_is_never_worse(total in 1u32..=512, least: u32, chance in 0.0f64..1.0) {
            let least = least % (total + 1);
            let (one, other) = (at_least(total, least, chance), at_least(total, least, chance + 0.01));
            prop_assert!((0.0..=1.0).contains(&one) && one <= other + 1e-9);
        }
    }
}
