//! What grows with a tower: the time that a message takes in long queues and among many links, and
//! the memory of each link, peer and message.
//!
//! ```sh
//! cargo bench --manifest-path benches/Cargo.toml --features tls --bench growth
//! cargo bench --manifest-path benches/Cargo.toml --features tls --bench growth -- --quick
//! ```
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_types,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a benchmark has a clock, and no better answer to a surprise than to stop"
)]

#[path = "common/mod.rs"]
mod common;
#[path = "common/relay.rs"]
mod relay;
#[path = "common/star.rs"]
mod star;

use std::collections::VecDeque;
use std::hint::black_box;

use bytes::Bytes;
use clacks_proto::{Instant, Message, Seed, SendRate, StateMachine, Tower};
use common::Comparison;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use relay::{Relay, batch_of, peer, roomy};
use star::{Caller, star};

const BODY: usize = 64;
const QUEUES: [usize; 5] = [100, 1_000, 10_000, 100_000, 1_000_000];
const CROWDS: [usize; 4] = [10, 100, 1_000, 4_000];

fn main() {
    let mut criterion = common::criterion();
    let batch = batch_of(BODY) as u64;

    let mut queues = QUEUES.map(|queue| {
        let relay = Relay::with_queue(queue, 8, BODY);
        assert!(relay.tower.queue_usage().messages >= queue);
        (queue, Shelf::new(queue), relay)
    });
    let mut comparison = Comparison::new("growth/queue");
    for (queue, shelf, relay) in &mut queues {
        comparison.floor(&format!("a list and a table of {queue} (floor)"), || shelf.turn());
        comparison.batch(&format!("{queue} messages wait"), batch, None, || relay.turn());
    }
    comparison.run(&mut criterion);
    drop(queues);

    let mut crowds = CROWDS.map(|links| (links, Cards::new(links), Relay::new(links, BODY)));
    let mut comparison = Comparison::new("growth/links");
    for (links, cards, relay) in &mut crowds {
        comparison.floor(&format!("a card of {links} (floor)"), || cards.turn());
        comparison.batch(&format!("{links} open links"), batch, None, || relay.turn());
    }
    comparison.run(&mut criterion);
    drop(crowds);

    memory();
    criterion.final_summary();
}

/// What whatever keeps many messages and knows them by name can't do without: a list of bodies, and
/// a table of names with a digest that takes one multiplication. What comes in is copied, put into
/// both, and the oldest leaves both.
struct Shelf {
    bodies: VecDeque<(Name, Bytes)>,
    names: HashTable<Name>,
    next: u64,
    out: [u8; BODY],
}

/// As long as a nonce, with its digest.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Name {
    number: u128,
    digest: u64,
}

impl Name {
    fn new(number: u64) -> Self {
        Self { number: number.into(), digest: number.wrapping_mul(0x9e37_79b9_7f4a_7c15) }
    }
}

impl Shelf {
    fn new(count: usize) -> Self {
        let (bodies, names) = (VecDeque::new(), HashTable::new());
        let mut shelf = Self { bodies, names, next: 0, out: [b'x'; BODY] };
        (0..count).for_each(|_| shelf.put());
        (0..100).for_each(|_| shelf.turn());
        shelf
    }

    fn put(&mut self) {
        self.next += 1;
        let name = Name::new(black_box(self.next));
        let entry = self.names.entry(name.digest, |other| *other == name, |other| other.digest);
        if let Entry::Vacant(entry) = entry {
            entry.insert(name);
            self.bodies.push_back((name, Bytes::copy_from_slice(black_box(&self.out))));
        }
    }

    fn turn(&mut self) {
        self.put();
        if let Some((name, body)) = self.bodies.pop_front() {
            self.out.copy_from_slice(&body);
            if let Ok(entry) = self.names.find_entry(name.digest, |other| *other == name) {
                entry.remove();
            }
        }
    }
}

/// What whatever talks with many others can't do without: a record of each, in an allocation of its
/// own, as large as what a tower keeps of an alive peer with a link. For a message somebody is
/// drawn who gets it, of whose record two lines of the cache are changed in one part and two in
/// another, and somebody else is named, of whom one line is read. Nothing of the next message is
/// looked at before that of the last one is there: between two messages a tower has a thousand
/// instructions and more to do, and no processor looks so far ahead.
#[allow(clippy::vec_box, reason = "links are in allocations of their own, too")]
struct Cards {
    cards: Vec<Box<Card>>,
    draws: u64,
}

struct Card {
    parts: [[u64; 8]; CARD_LINES],
}

/// Of 64 bytes each: 2 KiB for each link, as `memory` says.
const CARD_LINES: usize = 32;

impl Cards {
    fn new(count: usize) -> Self {
        let card = || Box::new(Card { parts: [[0; 8]; CARD_LINES] });
        Self { cards: (0..count).map(|_| card()).collect(), draws: 1 }
    }

    /// Drawn as cheaply as can be, and different from turn to turn.
    fn draw(&mut self) -> usize {
        self.draws = self.draws.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.draws >> 33) as usize % self.cards.len()
    }

    fn turn(&mut self) {
        let (recipient, friend) = (self.draw(), self.draw());
        let mut read = self.cards[friend].parts[1][1];
        let card = &mut self.cards[recipient].parts;
        for part in [0, CARD_LINES / 2] {
            for line in &mut card[part..part + 2] {
                read |= line[1];
                line[0] += 1;
            }
        }
        // It is nothing, but the processor has to wait for it.
        self.draws ^= black_box(read);
    }
}

/// What stays allocated, for each of the things that a tower holds many of.
fn memory() {
    println!(
        "\ngrowth/memory: bytes for each (the record of a tower itself: {})",
        size_of::<Tower>()
    );
    let tell = |what: &str, bytes: i64, count: usize| {
        println!("{what:<64} {:>8.0}", bytes as f64 / count as f64);
    };

    let count = 100_000;
    let (bytes, _tower) = held(|| {
        let mut tower = tower(2);
        let body = [b'x'; BODY];
        for _ in 0..count {
            tower.enqueue(Message::bytes(&body), Instant::ORIGIN).unwrap();
            while tower.poll_action().is_some() {}
        }
        tower
    });
    tell("a message that waits, besides its body", bytes - (count * BODY) as i64, count);

    let (bytes, _tower) = held(|| {
        let mut tower = tower(count);
        for n in 0..count {
            tower.expand(&peer(n + 1), Instant::ORIGIN).unwrap();
            while tower.poll_action().is_some() {}
        }
        tower
    });
    tell("a peer that was only heard of", bytes, count);

    // What a thousand links take more than a hundred.
    let crowd = |links| held(|| Relay::new(links, BODY).tower).0;
    let peers = crowd(1_100) - crowd(100);
    tell("an alive peer with an open link and what was lately taken", peers, 1_000);

    let quiet = |links| held(|| quiet_links(links)).0;
    let (bytes, extra) = (quiet(100), quiet(1_100));
    tell("an open link that nothing was handed over on, with its peer", extra - bytes, 1_000);

    let lonely = held(|| star(0, Caller::Others)).0;
    tell("a tower behind TLS without a link, besides its record", lonely, 1);
    let extra = |caller| held(|| star(110, caller)).0 - held(|| star(10, caller)).0;
    tell("an idle link behind TLS that was accepted, with its peer", extra(Caller::Others), 100);
    tell("    and one that was dialled, with its session's ticket", extra(Caller::Centre), 100);
}

fn held<T>(make: impl FnOnce() -> T) -> (i64, T) {
    let mut made = None;
    let used = allocation_counter::measure(|| made = Some(make()));
    (used.bytes_current, made.unwrap())
}

fn tower(peers: usize) -> Tower {
    let mut config = roomy();
    config.max_peers = peers;
    // Nothing leaves.
    config.send_rate = SendRate::per_second(1);
    Tower::new(config, peer(0), &Seed::from_u64(1)).unwrap()
}

fn quiet_links(count: usize) -> Tower {
    Relay::greeted(count, BODY).tower
}
