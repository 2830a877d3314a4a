//! Drawing a recipient, and changing the status of a peer, with small and large tables.
//!
//! The rows of the tower are the draw of a recipient from the table of peers, including the lookup
//! of the peer's index in the table. A share of the peers is suitable and has open links. A draw of
//! another peer is followed by a draw among those. The floor is the necessary work of any draw: a
//! word of the same generator, the choice of the status, and reading an entry of its list.
//!
//! ```sh
//! cargo bench --manifest-path benches/Cargo.toml --features bench --bench selector
//! cargo bench --manifest-path benches/Cargo.toml --features bench --bench selector -- --quick
//! ```
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_types,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a benchmark has a clock, and panics on errors"
)]

mod common;

use std::hint::black_box;

use clacks_proto::bench::Table;
use clacks_proto::{Odds, Seed};
use common::{Comparison, Target};
use criterion::Criterion;
use rand::distr::Distribution;
use rand::distr::weighted::WeightedIndex;
use rand::seq::IteratorRandom;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use rand_distr::weighted::{WeightedAliasIndex, WeightedTreeIndex};

fn main() {
    let mut criterion = common::criterion();
    for count in [100, 10_000, 1_000_000] {
        draw(&mut criterion, count);
        move_status(&mut criterion, count);
    }
    criterion.final_summary();
}

/// The target of a draw if all peers are suitable and have open links: 1.5 times the draw of
/// version 1, which took 1.28 times as long as the floor.
const DRAW: Target = Target::Times(1.9);

fn draw(criterion: &mut Criterion, count: u32) {
    let lists = StatusLists::new(count);
    let mut tables = [100, 10, 1].map(|linked| Table::new(count, linked, &Seed::from_u64(1)));
    let [table, table_10, table_1] = &mut tables;
    let mut words = [(); 6].map(|()| ChaCha8Rng::from_seed([1; 32]));
    let [floor, exact_words, alias_words, index_words, tree_words, filter_words] = &mut words;
    let weights = lists.weights();
    let alias = WeightedAliasIndex::new(weights.clone()).unwrap();
    let index = WeightedIndex::new(&weights).unwrap();
    let tree = WeightedTreeIndex::new(&weights).unwrap();
    let statuses = lists.statuses();

    // The table may change between two draws, so the compiler must not move its reads out of the
    // loop.
    let mut comparison = Comparison::new(format!("selector/draw/{count}"));
    comparison.row("a word, a list, an entry (floor)", None, || {
        black_box(black_box(&lists).draw(floor, |word, bound, _| below(word, bound)));
    });
    comparison.row("the same, unbiased", None, || {
        black_box(black_box(&lists).draw(exact_words, below_exactly));
    });
    comparison.row("a tower's draw", Some(DRAW), || {
        black_box(black_box(&mut *table).draw());
    });
    comparison.row("a tower's draw, 10 % with links", None, || {
        black_box(black_box(&mut *table_10).draw());
    });
    comparison.row("a tower's draw, 1 % with links", None, || {
        black_box(black_box(&mut *table_1).draw());
    });
    let slower = Some(Target::SlowerThan("a tower's draw"));
    comparison.row("WeightedAliasIndex", slower, || {
        black_box(black_box(&alias).sample(alias_words));
    });
    comparison.row("WeightedIndex", slower, || {
        black_box(black_box(&index).sample(index_words));
    });
    comparison.row("WeightedTreeIndex", slower, || {
        black_box(black_box(&tree).sample(tree_words));
    });
    comparison.row("IteratorRandom over a filtered table", slower, || {
        let wanted = lists.draw_status(filter_words.next_u64()) as u8;
        let candidates = statuses.iter().enumerate().filter(|(_, status)| **status == wanted);
        black_box(candidates.choose(filter_words));
    });
    comparison.run(criterion);
}

fn move_status(criterion: &mut Criterion, count: u32) {
    let mut table = Table::new(count, 100, &Seed::from_u64(1));
    let lists = StatusLists::new(count);
    let mut tree = WeightedTreeIndex::new(lists.weights()).unwrap();
    let mut words = [(); 3].map(|()| ChaCha8Rng::from_seed([2; 32]));
    let [floor, own, tree_words] = &mut words;
    let mut indexed = IndexedLists::new(count);

    let mut comparison = Comparison::new(format!("selector/status move/{count}"));
    comparison.row("between two indexed lists (floor)", None, || {
        indexed.move_entry(below(floor.next_u64(), count));
    });
    comparison.row("a tower's move", None, || {
        table.turn_over(below(own.next_u64(), count) as usize);
    });
    comparison.row(
        "WeightedTreeIndex, one weight",
        Some(Target::SlowerThan("a tower's move")),
        || {
            let position = below(tree_words.next_u64(), count) as usize;
            let weight = if tree.get(position) < 1.0 { 2.0 } else { 0.5 };
            tree.update(position, weight).unwrap();
        },
    );
    comparison.run(criterion);
}

/// The peers of each status in a plain list.
struct StatusLists {
    /// The ends of the ranges of alive and lost in the draw.
    ends: [u32; 2],
    sum: u32,
    /// The peers that are alive, lost and dead.
    lists: [Vec<u32>; 3],
}

impl StatusLists {
    fn new(count: u32) -> Self {
        let Odds { alive, lost, dead } = Odds::default();
        let sum = alive + lost + dead;
        let rare = (u64::from(count) * u64::from(lost) / u64::from(sum)).max(2) as u32;
        let mut numbers: Vec<u32> = (0..count).collect();
        // Shuffled, as in a table after many changes of status.
        let mut words = ChaCha8Rng::from_seed([3; 32]);
        for position in (1..count).rev() {
            numbers.swap(position as usize, below(words.next_u64(), position + 1) as usize);
        }
        let common = numbers.split_off(rare as usize);
        let lost_ones = numbers.split_off(1);
        Self { ends: [alive, alive + lost], sum, lists: [common, lost_ones, numbers] }
    }

    fn draw_status(&self, word: u64) -> usize {
        self.status_of(below(word, self.sum))
    }

    fn status_of(&self, ticket: u32) -> usize {
        usize::from(ticket >= self.ends[0]) + usize::from(ticket >= self.ends[1])
    }

    fn draw<Below>(&self, words: &mut ChaCha8Rng, below: Below) -> u32
    where
        Below: Fn(u64, u32, &mut ChaCha8Rng) -> u32,
    {
        let word = words.next_u64();
        let list = &self.lists[self.status_of(below(word, self.sum, words))];
        list[below(word << 32, list.len() as u32, words) as usize]
    }

    fn statuses(&self) -> Vec<u8> {
        let mut statuses = vec![0; self.lists.iter().map(Vec::len).sum()];
        for (list, status) in self.lists.iter().zip(0..) {
            list.iter().for_each(|number| statuses[*number as usize] = status);
        }
        statuses
    }

    /// Returns the probability of each peer, for draws without lists.
    fn weights(&self) -> Vec<f64> {
        let shares = [self.ends[0], self.ends[1] - self.ends[0], self.sum - self.ends[1]];
        let chance = |status: u8| {
            let status = usize::from(status);
            f64::from(shares[status]) / self.lists[status].len() as f64
        };
        self.statuses().into_iter().map(chance).collect()
    }
}

/// Two lists with the position of each entry.
struct IndexedLists {
    lists: [Vec<u32>; 2],
    positions: Vec<(bool, u32)>,
}

impl IndexedLists {
    fn new(count: u32) -> Self {
        let positions = (0..count).map(|number| (false, number)).collect();
        Self { lists: [(0..count).collect(), Vec::new()], positions }
    }

    fn move_entry(&mut self, number: u32) {
        let (list, position) = self.positions[number as usize];
        let from = &mut self.lists[usize::from(list)];
        from.swap_remove(position as usize);
        if let Some(moved) = from.get(position as usize) {
            self.positions[*moved as usize].1 = position;
        }
        let to = &mut self.lists[usize::from(!list)];
        to.push(number);
        self.positions[number as usize] = (!list, to.len() as u32 - 1);
    }
}

/// Returns a number below a bound, from the upper half of a word. The result is slightly biased.
fn below(word: u64, bound: u32) -> u32 {
    (((word >> 32) * u64::from(bound)) >> 32) as u32
}

/// Like [`below`], but unbiased: words that would favour a number are rejected.
fn below_exactly(mut word: u64, bound: u32, words: &mut ChaCha8Rng) -> u32 {
    loop {
        let product = (word >> 32) * u64::from(bound);
        if (product as u32) >= bound || (product as u32) >= bound.wrapping_neg() % bound {
            return (product >> 32) as u32;
        }
        word = words.next_u64();
    }
}
