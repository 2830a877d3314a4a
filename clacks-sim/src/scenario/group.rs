//! Groups of towers.

use std::collections::BTreeSet;

use rand::seq::index;
use serde::{Deserialize, Serialize};

use crate::plan::Group;
use crate::rng::RngStream;

/// A group of towers, by number or drawn at random.
///
/// In a file: `"all"`, `7`, `[1, 4, 9]`, `{ range = [3, 17] }`, `{ share = 0.1 }` or
/// `{ count = 5 }`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(
    rename_all = "kebab-case",
    expecting = "\"all\", a number, a list of numbers, { range = [first, last] }, \
                 { share = 0.1 } or { count = 5 }"
)]
#[non_exhaustive]
pub enum Towers {
    /// All towers.
    #[default]
    All,
    /// The towers from the first number to the last, which is included.
    Range(u32, u32),
    /// A random share of all towers, from 0 to 1. A share above 0 is at least one tower.
    Share(f64),
    /// A random group of this size.
    Count(u32),
    /// One tower.
    #[serde(untagged)]
    One(u32),
    /// A list of towers.
    #[serde(untagged)]
    List(Vec<u32>),
}

impl Towers {
    /// Returns the number of towers in the group.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a number of towers is not more than that number"
    )]
    pub(super) fn size(&self, towers: u32) -> u32 {
        match self {
            Self::All => towers,
            Self::One(_) => 1,
            Self::Range(first, last) => last.saturating_sub(*first).saturating_add(1),
            Self::List(list) => list.iter().collect::<BTreeSet<_>>().len() as u32,
            Self::Share(share) if *share > 0.0 => {
                ((f64::from(towers) * share).round() as u32).max(1).min(towers)
            }
            Self::Share(_) => 0,
            Self::Count(count) => (*count).min(towers),
        }
    }

    /// Returns the towers. Random groups are drawn.
    pub(super) fn group(&self, towers: u32, rng: &mut RngStream) -> Group {
        match self {
            Self::All => Group::All,
            Self::One(tower) => Group::Range(*tower, tower.saturating_add(1)),
            Self::Range(first, last) => Group::Range(*first, last.saturating_add(1)),
            Self::List(list) => {
                let sorted: BTreeSet<u32> = list.iter().copied().collect();
                Group::These(sorted.into_iter().collect())
            }
            Self::Share(_) | Self::Count(_) => {
                let size = self.size(towers) as usize;
                let drawn = index::sample(rng, towers as usize, size);
                let mut drawn: Vec<u32> =
                    drawn.iter().filter_map(|it| it.try_into().ok()).collect();
                drawn.sort_unstable();
                Group::These(drawn.into())
            }
        }
    }
}

/// Returns the numbers of a group's towers in ascending order.
pub(super) fn members(group: &Group, towers: u32) -> Box<dyn Iterator<Item = u32> + '_> {
    match group {
        Group::All => Box::new(0..towers),
        Group::Range(from, to) => Box::new(*from..*to),
        Group::These(these) => Box::new(these.iter().copied()),
    }
}
