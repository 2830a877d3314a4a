//! The seeded draw: which peer gets the next message.

use crate::config::Odds;
use crate::event::Status;
use crate::rng::{Purpose, Seed, SparseStream, high, low};

/// How many peers of each status may be drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Eligible {
    /// New peers.
    pub new: u32,
    /// Alive peers.
    pub alive: u32,
    /// Lost peers.
    pub lost: u32,
    /// Dead peers.
    pub dead: u32,
}

impl Eligible {
    /// Returns whether no peer may be drawn.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.new | self.alive | self.lost | self.dead == 0
    }
}

/// Draws recipients: new peers first, then a status by its odds, then a peer of that status, each
/// equally likely.
///
/// A draw costs the same for any number of peers, and takes one 64-bit word of its own random
/// stream: the upper half chooses the status, the lower half the peer. Both draws are exactly
/// uniform: a half that would favour some is drawn again.
///
/// ```
/// use clacks_proto::{Odds, Seed, Status};
/// use clacks_proto::selector::{Eligible, Selector};
///
/// let mut selector = Selector::new(&Seed::from_u64(7), Odds::default());
/// let peers = Eligible { new: 1, alive: 10, ..Eligible::default() };
/// assert_eq!(selector.draw(peers), Some((Status::New, 0)));
/// assert_eq!(selector.draw(Eligible::default()), None);
/// ```
#[derive(Clone, Debug)]
pub struct Selector {
    seed: Seed,
    odds: Odds,
    stream: SparseStream,
}

impl Selector {
    /// Returns a selector with its own stream of the seed's words. The sum of the odds must fit 32
    /// bits, which [`Config::validate`](crate::Config::validate) checks; a larger sum saturates and
    /// skews the draw.
    #[must_use]
    pub fn new(seed: &Seed, odds: Odds) -> Self {
        let Odds { alive, lost, dead } = odds;
        let lost = lost.min(u32::MAX - alive);
        let odds = Odds { alive, lost, dead: dead.min(u32::MAX - alive - lost) };
        Self { seed: seed.clone(), odds, stream: SparseStream::new(Purpose::Recipient) }
    }

    pub(crate) fn seed(&self) -> &Seed {
        &self.seed
    }

    /// Frees the stream's memory until the next draw.
    pub(crate) fn free_memory(&mut self) {
        self.stream.free_memory();
    }

    #[cfg(feature = "simulation")]
    pub(crate) fn prefetch(&self) {
        self.stream.prefetch();
    }

    /// Returns whether [`draw`](Self::draw) returns a peer.
    #[must_use]
    pub fn can_draw(&self, eligible: Eligible) -> bool {
        let Odds { alive, lost, dead } = self.odds;
        let weighted = [(eligible.alive, alive), (eligible.lost, lost), (eligible.dead, dead)];
        eligible.new > 0 || weighted.iter().any(|(count, weight)| *count > 0 && *weight > 0)
    }

    /// Returns a uniformly distributed number in `0..bound`, or 0 if the bound is 0.
    #[inline]
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        self.stream.below(&self.seed, bound)
    }

    /// Returns the status of the next recipient and its index among the eligible peers of that
    /// status, or `None` if no peer is eligible.
    #[inline]
    pub fn draw(&mut self, eligible: Eligible) -> Option<(Status, u32)> {
        let Self { seed, odds, stream } = self;
        let Eligible { new, alive, lost, dead } = eligible;
        if new > 0 {
            return Some((Status::New, stream.below(seed, new)));
        }
        let weigh = |count: u32, weight: u32| if count > 0 { weight } else { 0 };
        let alive_share = weigh(alive, odds.alive);
        let lost_share = weigh(lost, odds.lost);
        let dead_share = weigh(dead, odds.dead);
        // No sum overflows: see `new`.
        let not_dead = alive_share.wrapping_add(lost_share);
        let sum = not_dead.wrapping_add(dead_share);
        if sum == 0 {
            return None;
        }
        let word = stream.word(seed);
        let ticket = stream.bounded(seed, high(word), sum);
        // Compiles without a branch: it would be mispredicted.
        let (status, count) = if ticket < alive_share {
            (Status::Alive, alive)
        } else if ticket < not_dead {
            (Status::Lost, lost)
        } else {
            (Status::Dead, dead)
        };
        Some((status, stream.bounded(seed, low(word), count)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 99.9th percentile of chi-square with `n` degrees of freedom (Wilson and Hilferty's
    /// approximation).
    fn limit(n: f64) -> f64 {
        let spread = 2.0 / (9.0 * n);
        n * (1.0 - spread + 3.09 * spread.sqrt()).powi(3)
    }

    fn chi_square(seen: &[u64], expected: &[f64]) -> f64 {
        seen.iter().zip(expected).map(|(seen, e)| (*seen as f64 - e).powi(2) / e).sum()
    }

    #[test]
    #[cfg_attr(miri, ignore = "millions of draws")]
    fn new_peers_come_first_and_alike() {
        let mut selector = Selector::new(&Seed::from_u64(1), Odds::ORIGINAL);
        let mut seen = [0u64; 5];
        for _ in 0..1_000_000 {
            let pick = selector.draw(Eligible { new: 5, alive: 9, lost: 9, dead: 9 });
            let Some((Status::New, index)) = pick else { panic!("{pick:?}") };
            seen[index as usize] += 1;
        }
        assert!(chi_square(&seen, &[200_000.0; 5]) < limit(4.0));
    }

    #[test]
    #[cfg_attr(miri, ignore = "millions of draws")]
    fn the_odds_are_the_originals_over_ten_million_draws() {
        let mut selector = Selector::new(&Seed::from_u64(2), Odds::ORIGINAL);
        let mut statuses = [0u64; 3];
        let mut alive = [0u64; 17];
        for _ in 0..10_000_000 {
            match selector.draw(Eligible { new: 0, alive: 17, lost: 3, dead: 2 }) {
                Some((Status::Alive, index)) => {
                    statuses[0] += 1;
                    alive[index as usize] += 1;
                }
                Some((Status::Lost, 0..3)) => statuses[1] += 1,
                Some((Status::Dead, 0..2)) => statuses[2] += 1,
                other => panic!("{other:?}"),
            }
        }
        assert!(
            chi_square(&statuses, &[9_500_000.0, 499_900.0, 100.0]) < limit(2.0),
            "{statuses:?}"
        );
        let each = statuses[0] as f64 / 17.0;
        assert!(chi_square(&alive, &[each; 17]) < limit(16.0), "{alive:?}");
    }

    #[test]
    #[cfg_attr(miri, ignore = "millions of draws")]
    fn odds_are_shared_among_the_statuses_that_have_a_peer() {
        let mut selector = Selector::new(&Seed::from_u64(3), Odds::ORIGINAL);
        let mut dead = 0u64;
        for _ in 0..5_000_000 {
            match selector.draw(Eligible { lost: 4, dead: 4, ..Eligible::default() }) {
                Some((Status::Lost, _)) => {}
                Some((Status::Dead, _)) => dead += 1,
                other => panic!("{other:?}"),
            }
        }
        assert!(
            chi_square(&[dead, 5_000_000 - dead], &[1_000.0, 4_999_000.0]) < limit(1.0),
            "{dead}"
        );
        for _ in 0..1_000 {
            let only_dead = Eligible { dead: 1, ..Eligible::default() };
            assert_eq!(selector.draw(only_dead), Some((Status::Dead, 0)));
        }
    }

    #[test]
    fn a_status_of_weight_zero_is_never_drawn() {
        let odds = Odds { alive: 1, lost: 0, dead: 0 };
        let mut selector = Selector::new(&Seed::from_u64(4), odds);
        assert_eq!(selector.draw(Eligible { lost: 3, dead: 3, ..Eligible::default() }), None);
        for _ in 0..1_000 {
            let pick =
                selector.draw(Eligible { alive: 1, lost: 3, dead: 3, ..Eligible::default() });
            assert_eq!(pick, Some((Status::Alive, 0)));
        }
    }

    #[test]
    fn law_2_the_draws_of_a_seed_never_change() {
        let mut selector = Selector::new(&Seed::from_u64(5), Odds::ORIGINAL);
        let draws: [_; 6] = core::array::from_fn(|_| {
            selector.draw(Eligible { alive: 1000, lost: 1000, ..Eligible::default() }).unwrap().1
        });
        assert_eq!(draws, [625, 694, 933, 403, 871, 279]);
        let mut rested = Selector::new(&Seed::from_u64(5), Odds::ORIGINAL);
        for expected in draws {
            let pick = rested.draw(Eligible { alive: 1000, lost: 1000, ..Eligible::default() });
            assert_eq!(pick.unwrap().1, expected);
            rested.free_memory();
        }
    }
}
