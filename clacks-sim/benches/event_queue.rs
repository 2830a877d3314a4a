//! The cost of a pop and a push, compared with the binary heap of the standard library.
//!
//! The benchmark uses the hold model: the number of pending events is fixed, and each popped event
//! is pushed again after a random delay.
//!
//! ```sh
//! cargo bench --manifest-path benches/Cargo.toml --bench event_queue
//! ```
#![allow(missing_docs, reason = "the macros of criterion generate public items")]

#[allow(dead_code, reason = "the benchmark does not use all functions of the crate's module")]
#[path = "../src/event_queue.rs"]
mod event_queue;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use event_queue::EventQueue;

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
            // The queue is filled outside of `bench_function`, which calls its closure many times.
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

/// The nanoseconds in a millisecond.
const MILLISECOND: u64 = 1_000_000;

/// Returns a delay between 0.1 s and 60 s, in nanoseconds.
fn uniform(word: u64) -> u64 {
    100 * MILLISECOND + word % (59_900 * MILLISECOND)
}

/// Returns the delay of a tick or of a delivery, in nanoseconds. A tick is after exactly 1 s, and a
/// delivery is within 100 ms.
fn clustered(word: u64) -> u64 {
    if word.is_multiple_of(2) { 1_000 * MILLISECOND } else { word % (100 * MILLISECOND) }
}

/// Returns a delay of 1 h or of less than 5 s, in nanoseconds. One delay in 64 is 1 h, so most of
/// the pending events are far in the future, and nearly all popped events are near.
fn timers(word: u64) -> u64 {
    if word.is_multiple_of(64) { 3_600_000 * MILLISECOND } else { word % (5_000 * MILLISECOND) }
}

/// A `SplitMix64` generator. Its cost is negligible in the measurement.
struct Words(u64);

impl Words {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }
}
