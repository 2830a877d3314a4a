//! Growth of a tower: the time for a message with long queues and many links, and the memory for
//! each link, peer and message.
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
    reason = "a benchmark has a clock, and panics on errors"
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
use relay::{Relay, batch_len, peer, unlimited_config};
use star::{Dialler, star};

const BODY: usize = 64;
const QUEUE_LENGTHS: [usize; 5] = [100, 1_000, 10_000, 100_000, 1_000_000];
const LINK_COUNTS: [usize; 4] = [10, 100, 1_000, 4_000];

fn main() {
    let mut criterion = common::criterion();
    let batch = batch_len(BODY) as u64;

    let mut queues = QUEUE_LENGTHS.map(|queue| {
        let relay = Relay::with_queue(queue, 8, BODY);
        assert!(relay.tower.queue_usage().messages >= queue);
        (queue, QueueFloor::new(queue), relay)
    });
    let mut comparison = Comparison::new("growth/queue");
    for (queue, floor, relay) in &mut queues {
        comparison.floor(&format!("a list and a table of {queue} (floor)"), || floor.turn());
        comparison.batch(&format!("{queue} queued messages"), batch, None, || relay.turn());
    }
    comparison.run(&mut criterion);
    drop(queues);

    let mut links =
        LINK_COUNTS.map(|links| (links, LinkFloor::new(links), Relay::new(links, BODY)));
    let mut comparison = Comparison::new("growth/links");
    for (links, floor, relay) in &mut links {
        comparison.floor(&format!("a record of {links} (floor)"), || floor.turn());
        comparison.batch(&format!("{links} open links"), batch, None, || relay.turn());
    }
    comparison.run(&mut criterion);
    drop(links);

    memory();
    criterion.final_summary();
}

/// A lower bound for a queue of messages that are found by name. It consists of a list of bodies
/// and a hash table of names, with a hash of one multiplication. A new message is copied and added
/// to both, and the oldest is removed from both.
struct QueueFloor {
    bodies: VecDeque<(Name, Bytes)>,
    names: HashTable<Name>,
    next: u64,
    out: [u8; BODY],
}

/// A name as long as a nonce, with its hash.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Name {
    number: u128,
    hash: u64,
}

impl Name {
    fn new(number: u64) -> Self {
        Self { number: number.into(), hash: number.wrapping_mul(0x9e37_79b9_7f4a_7c15) }
    }
}

impl QueueFloor {
    fn new(count: usize) -> Self {
        let (bodies, names) = (VecDeque::new(), HashTable::new());
        let mut floor = Self { bodies, names, next: 0, out: [b'x'; BODY] };
        (0..count).for_each(|_| floor.put());
        (0..100).for_each(|_| floor.turn());
        floor
    }

    fn put(&mut self) {
        self.next += 1;
        let name = Name::new(black_box(self.next));
        let entry = self.names.entry(name.hash, |other| *other == name, |other| other.hash);
        if let Entry::Vacant(entry) = entry {
            entry.insert(name);
            self.bodies.push_back((name, Bytes::copy_from_slice(black_box(&self.out))));
        }
    }

    fn turn(&mut self) {
        self.put();
        if let Some((name, body)) = self.bodies.pop_front() {
            self.out.copy_from_slice(&body);
            if let Ok(entry) = self.names.find_entry(name.hash, |other| *other == name) {
                entry.remove();
            }
        }
    }
}

/// A lower bound for a tower with many links. It keeps a record of each peer in a separate
/// allocation, which is as large as the memory of a tower for an alive peer with a link. For each
/// message a recipient and a friend are drawn. Two pairs of cache lines of the recipient's record
/// are changed, and one line of the friend's record is read. Each draw depends on the result of the
/// previous message, so that the processor can't overlap the messages. A tower executes more than a
/// thousand instructions between two messages, so the processor can't overlap them there either.
#[allow(clippy::vec_box, reason = "links are in allocations of their own, too")]
struct LinkFloor {
    records: Vec<Box<Record>>,
    draws: u64,
}

struct Record {
    parts: [[u64; 8]; RECORD_LINES],
}

/// Lines of 64 bytes. The record has 2 KiB, which is the size of a link that `memory` measures.
const RECORD_LINES: usize = 32;

impl LinkFloor {
    fn new(count: usize) -> Self {
        let record = || Box::new(Record { parts: [[0; 8]; RECORD_LINES] });
        Self { records: (0..count).map(|_| record()).collect(), draws: 1 }
    }

    /// Draws an index with a cheap generator.
    fn draw(&mut self) -> usize {
        self.draws = self.draws.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.draws >> 33) as usize % self.records.len()
    }

    fn turn(&mut self) {
        let (recipient, friend) = (self.draw(), self.draw());
        let mut read = self.records[friend].parts[1][1];
        let record = &mut self.records[recipient].parts;
        for part in [0, RECORD_LINES / 2] {
            for line in &mut record[part..part + 2] {
                read |= line[1];
                line[0] += 1;
            }
        }
        // The value is zero, but the processor must wait for it.
        self.draws ^= black_box(read);
    }
}

/// Prints the memory for each message, peer and link of a tower.
fn memory() {
    println!("\ngrowth/memory: bytes for each (the record of a tower: {})", size_of::<Tower>());
    let print = |what: &str, bytes: i64, count: usize| {
        println!("{what:<64} {:>8.0}", bytes as f64 / count as f64);
    };

    let count = 100_000;
    let (bytes, _tower) = allocated(|| {
        let mut tower = tower(2);
        let body = [b'x'; BODY];
        for _ in 0..count {
            tower.enqueue(Message::bytes(&body), Instant::ORIGIN).unwrap();
            while tower.poll_action().is_some() {}
        }
        tower
    });
    print("a queued message, beyond its body", bytes - (count * BODY) as i64, count);

    let (bytes, _tower) = allocated(|| {
        let mut tower = tower(count);
        for n in 0..count {
            tower.expand(&peer(n + 1), Instant::ORIGIN).unwrap();
            while tower.poll_action().is_some() {}
        }
        tower
    });
    print("a known peer without a link", bytes, count);

    // The difference between 1 100 and 100 links.
    let busy = |links| allocated(|| Relay::new(links, BODY).tower).0;
    let peers = busy(1_100) - busy(100);
    print("an alive peer with an open link", peers, 1_000);

    let idle = |links| allocated(|| idle_links(links)).0;
    let (bytes, extra) = (idle(100), idle(1_100));
    print("an open link without transfers, with its peer", extra - bytes, 1_000);

    let single = allocated(|| star(0, Dialler::Others)).0;
    print("a tower with TLS and no links, beyond its record", single, 1);
    let extra = |dialler| allocated(|| star(110, dialler)).0 - allocated(|| star(10, dialler)).0;
    print("an idle inbound link with TLS, with its peer", extra(Dialler::Others), 100);
    print(
        "an idle outbound link with TLS, with its peer and its ticket",
        extra(Dialler::Centre),
        100,
    );
}

fn allocated<T>(make: impl FnOnce() -> T) -> (i64, T) {
    let mut made = None;
    let used = allocation_counter::measure(|| made = Some(make()));
    (used.bytes_current, made.unwrap())
}

fn tower(peers: usize) -> Tower {
    let mut config = unlimited_config();
    config.max_peers = peers;
    // No message leaves during the measurement.
    config.send_rate = SendRate::per_second(1);
    Tower::new(config, peer(0), &Seed::from_u64(1)).unwrap()
}

fn idle_links(count: usize) -> Tower {
    Relay::with_hello_only(count, BODY).tower
}
