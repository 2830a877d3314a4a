//! Draws towers in turn, so that each of them gets as many chunks as the others.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use clacks_proto::Address;
use rand::Rng;
use rand::seq::SliceRandom;

use crate::address_group::AddressGroup;

/// Draws towers like cards of a shuffled deck: each address group has its turn once before any has
/// it again, and so has each tower of a group.
///
/// Of `q * N + r` chunks for `N` towers in groups of their own, each `V` towers have `q * V` and a
/// hypergeometric number of the `r` others. Independent draws would give a binomial number of all,
/// which varies much more: a file of 93 of 186 pieces at 10 towers survives the loss of 5 with a
/// probability of 0.74 instead of 0.53, and always that of 4.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deck {
    /// The groups that have their turn still.
    groups: Vec<AddressGroup>,
    /// The towers that have their turn still, of each group with several.
    towers: BTreeMap<AddressGroup, Vec<Address>>,
}

impl Deck {
    /// Draws a tower that suits from a sorted list. A tower that does not suit keeps its turn until
    /// no other one is left.
    pub(crate) fn draw(
        &mut self,
        towers: &[(AddressGroup, Address)],
        mut suits: impl FnMut(&Address) -> bool,
        rng: &mut impl Rng,
    ) -> Option<Address> {
        self.draw_of_rest(towers, &mut suits, rng).or_else(|| {
            let groups = towers.chunk_by(|one, other| one.0 == other.0);
            self.groups = groups.filter_map(|group| Some(group.first()?.0)).collect();
            self.groups.shuffle(rng);
            self.towers.retain(|group, _| !towers_of(towers, *group).is_empty());
            self.draw_of_rest(towers, &mut suits, rng)
        })
    }

    fn draw_of_rest(
        &mut self,
        towers: &[(AddressGroup, Address)],
        suits: &mut impl FnMut(&Address) -> bool,
        rng: &mut impl Rng,
    ) -> Option<Address> {
        for at in (0..self.groups.len()).rev() {
            let group = *self.groups.get(at)?;
            let drawn = match towers_of(towers, group) {
                [] => None,
                [(_, alone)] => suits(alone).then(|| alone.clone()),
                several => self.draw_of_group(several, suits, rng),
            };
            if drawn.is_some() {
                self.groups.remove(at);
                return drawn;
            }
        }
        None
    }

    fn draw_of_group(
        &mut self,
        towers: &[(AddressGroup, Address)],
        suits: &mut impl FnMut(&Address) -> bool,
        rng: &mut impl Rng,
    ) -> Option<Address> {
        let rest = self.towers.entry(towers.first()?.0).or_default();
        for is_new in [false, true] {
            if is_new {
                rest.clear();
                rest.extend(towers.iter().map(|(_, address)| address.clone()));
                rest.shuffle(rng);
            }
            // A tower may have left since.
            let is_there = |it: &Address| towers.binary_search_by(|(_, at)| at.cmp(it)).is_ok();
            if let Some(at) = rest.iter().rposition(|it| is_there(it) && suits(it)) {
                return Some(rest.remove(at));
            }
        }
        None
    }
}

fn towers_of(
    towers: &[(AddressGroup, Address)],
    group: AddressGroup,
) -> &[(AddressGroup, Address)] {
    let from = towers.partition_point(|(other, _)| *other < group);
    let len = towers[from..].partition_point(|(other, _)| *other == group);
    &towers[from..from + len]
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use clacks_proto::Seed;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;

    fn towers(groups: u32, hosts: u32) -> Vec<(AddressGroup, Address)> {
        let host = |group, host| Address::new(&format!("10.{group}.0.{}", host + 1), 8001).unwrap();
        let all = (0..groups).flat_map(|group| (0..hosts).map(move |it| host(group, it)));
        let mut all: Vec<_> = all.map(|address| (AddressGroup::of(&address), address)).collect();
        all.sort_unstable();
        all
    }

    fn rng(seed: u64) -> ChaCha8Rng {
        ChaCha8Rng::from_seed(Seed::from_u64(seed).0)
    }

    fn counts(
        deck: &mut Deck,
        towers: &[(AddressGroup, Address)],
        draws: u32,
        rng: &mut ChaCha8Rng,
    ) -> Vec<u32> {
        let mut counts = alloc::vec![0; towers.len()];
        for _ in 0..draws {
            let drawn = deck.draw(towers, |_| true, rng).unwrap();
            counts[towers.iter().position(|(_, it)| *it == drawn).unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn each_tower_is_drawn_as_often_as_the_others() {
        for (groups, hosts) in [(1, 10), (10, 1), (3, 4)] {
            let towers = towers(groups, hosts);
            let mut deck = Deck::default();
            for draws in [60, 120] {
                let counts = counts(&mut deck, &towers, draws, &mut rng(1));
                assert!(counts.iter().all(|it| *it == draws / groups / hosts), "{counts:?}");
            }
        }
        // A group of many towers has the turns of one.
        let mut uneven = towers(1, 9);
        uneven.extend(towers(2, 1).pop());
        assert_eq!(counts(&mut Deck::default(), &uneven, 18, &mut rng(1))[9], 9);
        assert_eq!(Deck::default().draw(&[], |_| true, &mut rng(1)), None);
    }

    #[test]
    fn the_chunks_at_some_towers_follow_the_hypergeometric_law() {
        // 186 chunks at 10 towers: 18 at each, and 6 more. Five towers have 90 of the 180, and each
        // number of the 6 with the hypergeometric probability.
        let (towers, trials) = (towers(10, 1), 4_000);
        let mut rng = rng(2);
        let mut seen = [0u32; 7];
        for _ in 0..trials {
            let mut deck = Deck::default();
            let counts = counts(&mut deck, &towers, 186, &mut rng);
            seen[counts[..5].iter().sum::<u32>() as usize - 90] += 1;
        }
        let choose =
            |n: u32, k: u32| (0..k).fold(1.0, |it, i| it * f64::from(n - i) / f64::from(i + 1));
        let expected = |more: u32| {
            if !(1..=5).contains(&more) {
                return 0.0;
            }
            choose(6, more) * choose(4, 5 - more) / choose(10, 5) * f64::from(trials)
        };
        let square = |more: u32| {
            let (seen, expected) = (f64::from(seen[more as usize]), expected(more));
            (seen - expected) * (seen - expected) / expected.max(1.0)
        };
        // Five possible numbers: a value above 23 has a probability of 10^-4.
        assert!((0..=6).map(square).sum::<f64>() < 23.0, "{seen:?}");
    }

    #[test]
    fn a_tower_that_does_not_suit_keeps_its_turn() {
        for towers in [towers(4, 1), towers(1, 4)] {
            let (mut deck, mut rng) = (Deck::default(), rng(3));
            let (one, others) = towers.split_first().unwrap();
            for _ in 0..3 {
                assert_ne!(deck.draw(&towers, |it| *it != one.1, &mut rng).as_ref(), Some(&one.1));
            }
            assert_eq!(deck.draw(&towers, |_| true, &mut rng).as_ref(), Some(&one.1));
            // The others may be drawn again and again, and towers that left are not drawn.
            for _ in 0..20 {
                let drawn = deck.draw(others, |it| *it != others[0].1, &mut rng).unwrap();
                assert!(drawn != one.1 && drawn != others[0].1);
            }
            assert_eq!(deck.draw(&towers, |_| false, &mut rng), None);
        }
    }

    #[test]
    fn the_order_is_not_the_same_in_each_round() {
        let (towers, mut rng) = (towers(20, 1), rng(4));
        let (mut deck, mut firsts) = (Deck::default(), alloc::collections::BTreeSet::new());
        for _ in 0..20 {
            firsts.insert(deck.draw(&towers, |_| true, &mut rng));
            (0..19).for_each(|_| _ = deck.draw(&towers, |_| true, &mut rng));
        }
        assert!(firsts.len() > 8, "{firsts:?}");
    }
}
