//! Inbound links whose other side is no proved peer, shared among the networks that they come from.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use core::cmp::Reverse;
use core::num::NonZeroU64;

use crate::prefix::Prefix;

/// The number of an unproved link. Later links have higher numbers.
pub(crate) type Number = NonZeroU64;

/// The unproved links of a tower. All operations are O(log n).
#[derive(Debug, Default)]
pub(super) struct Unproved {
    /// `None` if there are none, which is usual.
    links: Option<Box<Links>>,
    last: u64,
}

/// Closing links come before others, and older links before later ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Closing(Number),
    Live(Number),
}

#[derive(Debug, Default)]
struct Links {
    by_rank: BTreeMap<(Prefix, Rank), u32>,
    counts: BTreeMap<Prefix, u32>,
    /// The networks by the number of their links; among equals, the one with the first rank last.
    greediest: BTreeSet<(u32, Reverse<Rank>, Prefix)>,
}

impl Unproved {
    pub(super) fn len(&self) -> usize {
        self.links.as_ref().map_or(0, |links| links.by_rank.len())
    }

    /// Adds the link in a slot, and returns its number.
    pub(super) fn insert(&mut self, from: Prefix, index: u32) -> Number {
        self.last += 1;
        let number = Number::new(self.last).unwrap_or(Number::MIN);
        self.links.get_or_insert_default().recount(from, |links| {
            links.by_rank.insert((from, Rank::Live(number)), index);
            *links.counts.entry(from).or_default() += 1;
        });
        number
    }

    /// Removes a link.
    pub(super) fn remove(&mut self, from: Prefix, number: Number) {
        let Some(links) = &mut self.links else { return };
        links.recount(from, |links| {
            let ranks = [Rank::Live(number), Rank::Closing(number)];
            let is_removed =
                ranks.iter().any(|rank| links.by_rank.remove(&(from, *rank)).is_some());
            if is_removed && let Some(count) = links.counts.get_mut(&from) {
                *count -= 1;
            }
        });
        if links.by_rank.is_empty() {
            self.links = None;
        }
    }

    /// Notes that a link is closing.
    pub(super) fn note_closing(&mut self, from: Prefix, number: Number) {
        let Some(links) = &mut self.links else { return };
        links.recount(from, |links| {
            if let Some(index) = links.by_rank.remove(&(from, Rank::Live(number))) {
                links.by_rank.insert((from, Rank::Closing(number)), index);
            }
        });
    }

    /// Returns the slot of a link of the greediest network: the oldest one that is closing, or else
    /// the oldest one.
    pub(super) fn displaceable(&self) -> Option<u32> {
        let links = self.links.as_ref()?;
        let (_, Reverse(first), from) = links.greediest.last()?;
        links.by_rank.get(&(*from, *first)).copied()
    }
}

impl Links {
    /// Changes the links of a network, and puts the network into its place.
    fn recount(&mut self, from: Prefix, change: impl FnOnce(&mut Self)) {
        if let Some(entry) = self.rank(from) {
            self.greediest.remove(&entry);
        }
        change(self);
        match self.rank(from) {
            Some(entry) => _ = self.greediest.insert(entry),
            None => _ = self.counts.remove(&from),
        }
    }

    fn rank(&self, from: Prefix) -> Option<(u32, Reverse<Rank>, Prefix)> {
        let (first, last) = (Rank::Closing(Number::MIN), Rank::Live(Number::MAX));
        let ((_, first), _) = self.by_rank.range((from, first)..=(from, last)).next()?;
        Some((*self.counts.get(&from)?, Reverse(*first), from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use core::net::Ipv4Addr;
    use proptest::prelude::*;

    fn network(number: u8) -> Prefix {
        Prefix::of(Ipv4Addr::new(198, 51, 100, number).into())
    }

    proptest! {
        #[test]
        #[cfg_attr(miri, ignore = "draws many cases")]
        fn the_oldest_link_of_the_greediest_network_is_found(
            steps in proptest::collection::vec((0u8..4, 0usize..20), 0..100),
        ) {
            let mut unproved = Unproved::default();
            // The oldest link first.
            let mut model: Vec<(Prefix, Number, u32)> = Vec::new();
            for ((from, position), index) in steps.into_iter().zip(0..) {
                if let Some((from, number, _)) = model.get(position).copied() {
                    unproved.remove(from, number);
                    unproved.remove(from, number);
                    model.remove(position);
                } else {
                    let from = network(from);
                    model.push((from, unproved.insert(from, index), index));
                }
                let count = |from| model.iter().filter(|(other, ..)| *other == from).count();
                let most = (0..4).map(|from| count(network(from))).max().unwrap_or(0);
                let expected = model.iter().find(|(from, ..)| count(*from) == most);
                prop_assert_eq!(unproved.displaceable(), expected.map(|(.., index)| *index));
                prop_assert_eq!(unproved.len(), model.len());
                let networks = unproved.links.as_ref().map_or(0, |links| links.counts.len());
                prop_assert!(networks <= model.len());
            }
        }
    }
}
