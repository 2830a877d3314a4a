//! What a pop and a push cost, beside the standard library's heap in the same run.
//!
//! The "hold" model: a fixed number of pending events. Each popped event is pushed again after a
//! random delay. Run it with `cargo bench --manifest-path benches/Cargo.toml --bench event queue`.
#![allow(missing_docs, reason = "made by criterion's macros")]

#[allow(dead_code, reason = "a part of the crate")]
#[path = "../src/event_queue.rs"]
mod event_queue;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use event_queue::EventQueue;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

criterion_group!(benches, hold);
criterion_main!(benches);

fn hold(criterion: &mut Criterion) {
    type Delay = fn(u64) -> u64;
    let delays: [(&str, Delay); 3] =
        [("uniform", uniform), ("clustered", clustered), ("timers", timers)];
    for (name, delay) in delays {
        let mut group = criterion.benchmark_group(name);
        group.sample_size(20).warm_up_time(Duration::from_secs(1));
        group.measurement_time(Duration::from_secs(2));
        for size in [1_000, 10_000, 100_000, 1_000_000] {
            // Outside of `bench_function`, which calls its closure many times.
            let mut queue = EventQueue::new();
            let mut words = Words(size);
            (0..size).for_each(|item| queue.push(delay(words.next()), item));
            let mut turn = || {
                if let Some((now, item)) = queue.pop() {
                    queue.push(now + delay(words.next()), item);
                }
            };
            (0..3 * size).for_each(|_| turn());
            group.bench_function(BenchmarkId::new("event_queue", size), |b| b.iter(&mut turn));

            let mut queue = BinaryHeap::new();
            let mut words = Words(size);
            (0..size).for_each(|item| queue.push(Reverse((delay(words.next()), item, item))));
            let mut pushed = size;
            let mut turn = || {
                if let Some(Reverse((now, _, item))) = queue.pop() {
                    pushed += 1;
                    queue.push(Reverse((now + delay(words.next()), pushed, item)));
                }
            };
            (0..3 * size).for_each(|_| turn());
            group.bench_function(BenchmarkId::new("heap", size), |b| b.iter(&mut turn));
        }
    }
}

const MILLISECOND: u64 = 1_000_000;

/// 0.1 to 60 s.
fn uniform(word: u64) -> u64 {
    100 * MILLISECOND + word % (59_900 * MILLISECOND)
}

/// Ticks of exactly a second, and deliveries within 100 ms.
fn clustered(word: u64) -> u64 {
    if word.is_multiple_of(2) { 1_000 * MILLISECOND } else { word % (100 * MILLISECOND) }
}

/// Most an hour ahead, as deadlines are that seldom come, and a few that do all the work.
fn timers(word: u64) -> u64 {
    if word.is_multiple_of(64) { 3_600_000 * MILLISECOND } else { word % (5_000 * MILLISECOND) }
}

/// `SplitMix64`: next to nothing beside what is measured.
struct Words(u64);

impl Words {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }
}
