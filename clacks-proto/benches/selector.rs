//! Drawing a recipient, and moving a peer from one status to another, in small and in large tables.
//!
//! Measured is a tower's own draw on its own table of peers, which ends with the drawn peer's place
//! in it. The floor is what no draw can do without: a word of the same generator, the choice of the
//! status, a place in its list, and reading that.
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
    reason = "a benchmark has a clock, and no better answer to a surprise than to stop"
)]

mod common;

use std::hint::black_box;

use clacks_proto::bench::Table;
use clacks_proto::{Odds, Seed};
use common::{Comparison, Wanted};
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
        turn_over(&mut criterion, count);
    }
    criterion.final_summary();
}

fn draw(criterion: &mut Criterion, count: u32) {
    let classes = Classes::new(count);
    let mut table = Table::new(count, &Seed::from_u64(1));
    let mut words = [(); 6].map(|()| ChaCha8Rng::from_seed([1; 32]));
    let [floor, exact_words, alias_words, index_words, tree_words, filter_words] = &mut words;
    let weights = classes.weights();
    let alias = WeightedAliasIndex::new(weights.clone()).unwrap();
    let index = WeightedIndex::new(&weights).unwrap();
    let tree = WeightedTreeIndex::new(&weights).unwrap();
    let statuses = classes.statuses();

    // Peers come and go between two draws: what a draw has to look up must not be taken out of the
    // loop.
    let mut comparison = Comparison::new(format!("selector/draw/{count}"));
    comparison.row("a word, a list, a place in it (floor)", None, || {
        black_box(black_box(&classes).draw(floor, |word, bound, _| below(word, bound)));
    });
    comparison.row("the same, each peer exactly as likely", None, || {
        black_box(black_box(&classes).draw(exact_words, below_exactly));
    });
    comparison.row("a tower's draw", Some(Wanted::Times(1.3)), || {
        black_box(black_box(&mut table).draw());
    });
    let slower = Some(Wanted::SlowerThan("a tower's draw"));
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
        let wanted = classes.draw_status(filter_words.next_u64()) as u8;
        let those = statuses.iter().enumerate().filter(|(_, status)| **status == wanted);
        black_box(those.choose(filter_words));
    });
    comparison.run(criterion);
}

fn turn_over(criterion: &mut Criterion, count: u32) {
    let mut table = Table::new(count, &Seed::from_u64(1));
    let classes = Classes::new(count);
    let mut tree = WeightedTreeIndex::new(classes.weights()).unwrap();
    let mut words = [(); 3].map(|()| ChaCha8Rng::from_seed([2; 32]));
    let [floor, own, tree_words] = &mut words;
    let mut lists = Lists::new(count);

    let mut comparison = Comparison::new(format!("selector/status move/{count}"));
    comparison.row("between two lists with places (floor)", None, || {
        lists.turn_over(below(floor.next_u64(), count));
    });
    comparison.row("a tower's move", None, || {
        table.turn_over(below(own.next_u64(), count) as usize);
    });
    comparison.row(
        "WeightedTreeIndex, one weight",
        Some(Wanted::SlowerThan("a tower's move")),
        || {
            let place = below(tree_words.next_u64(), count) as usize;
            let weight = if tree.get(place) < 1.0 { 2.0 } else { 0.5 };
            tree.update(place, weight).unwrap();
        },
    );
    comparison.run(criterion);
}

/// A plain list for each status.
struct Classes {
    /// The upper ends of the statuses' shares of the draw.
    ends: [u32; 2],
    sum: u32,
    /// Alive, lost, dead.
    lists: [Vec<u32>; 3],
}

impl Classes {
    fn new(count: u32) -> Self {
        let Odds { alive, lost, dead } = Odds::default();
        let sum = alive + lost + dead;
        let rare = (u64::from(count) * u64::from(lost) / u64::from(sum)).max(2) as u32;
        let mut numbers: Vec<u32> = (0..count).collect();
        // In no order, as in a table whose peers have moved about.
        let mut words = ChaCha8Rng::from_seed([3; 32]);
        for place in (1..count).rev() {
            numbers.swap(place as usize, below(words.next_u64(), place + 1) as usize);
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

    /// The chance of each peer, for those who draw without lists.
    fn weights(&self) -> Vec<f64> {
        let shares = [self.ends[0], self.ends[1] - self.ends[0], self.sum - self.ends[1]];
        let chance = |status: u8| {
            let status = usize::from(status);
            f64::from(shares[status]) / self.lists[status].len() as f64
        };
        self.statuses().into_iter().map(chance).collect()
    }
}

/// Two lists whose entries know their places.
struct Lists {
    lists: [Vec<u32>; 2],
    places: Vec<(bool, u32)>,
}

impl Lists {
    fn new(count: u32) -> Self {
        let places = (0..count).map(|number| (false, number)).collect();
        Self { lists: [(0..count).collect(), Vec::new()], places }
    }

    fn turn_over(&mut self, number: u32) {
        let (list, place) = self.places[number as usize];
        let from = &mut self.lists[usize::from(list)];
        from.swap_remove(place as usize);
        if let Some(moved) = from.get(place as usize) {
            self.places[*moved as usize].1 = place;
        }
        let to = &mut self.lists[usize::from(!list)];
        to.push(number);
        self.places[number as usize] = (!list, to.len() as u32 - 1);
    }
}

/// A number below a bound, by the upper half of a word.
fn below(word: u64, bound: u32) -> u32 {
    (((word >> 32) * u64::from(bound)) >> 32) as u32
}

/// The same, and no number is favoured: words that would are passed over.
fn below_exactly(mut word: u64, bound: u32, words: &mut ChaCha8Rng) -> u32 {
    loop {
        let product = (word >> 32) * u64::from(bound);
        if (product as u32) >= bound || (product as u32) >= bound.wrapping_neg() % bound {
            return (product >> 32) as u32;
        }
        word = words.next_u64();
    }
}
