//! The workload `walk`: messages on a random walk, without a protocol.
//!
//! The cost of `walk` is a lower bound for a sequential simulation. Each event is popped from the
//! event queue, reads state at a random place in memory, and pushes the next event.

#[allow(dead_code, reason = "the benchmark does not use all functions of the crate's module")]
#[path = "../../src/event_queue.rs"]
mod event_queue;

use event_queue::EventQueue;

use crate::Figures;
use crate::machine::{Stopwatch, resident};

/// The nanoseconds in a second.
const SECOND: u64 = 1_000_000_000;

/// The number of peers of a tower, as in the workload `busy`.
const PEERS: usize = 8;

/// A tower of the random walk.
#[derive(Clone, Copy)]
struct Stop {
    /// The state of the random numbers of the tower.
    words: u64,
    /// The number of messages that the tower received.
    visits: u64,
    /// The peers of the tower.
    peers: [u32; PEERS],
}

/// Measures a random walk of `towers` messages over `towers` towers.
pub(crate) fn measure(towers: u32, events: u64) -> Figures {
    let before = resident();
    let mut words = u64::from(towers);
    let mut stops: Vec<_> = (0..towers)
        .map(|_| Stop {
            words: next(&mut words),
            visits: 0,
            peers: std::array::from_fn(|_| below(next(&mut words), towers)),
        })
        .collect();
    let mut event_queue = EventQueue::new();
    (0..towers).for_each(|stop| event_queue.push(next(&mut words) % SECOND, stop));
    let mut walk = |events| {
        for _ in 0..events {
            let Some((now, stop)) = event_queue.pop() else { return };
            let stop = &mut stops[stop as usize];
            stop.visits += 1;
            let word = next(&mut stop.words);
            let peer = stop.peers[below(word, 8) as usize];
            event_queue.push(now + SECOND + word % SECOND, peer);
        }
    };
    walk(3 * u64::from(towers));
    let stopwatch = Stopwatch::start();
    walk(events);
    let (cpu_seconds, wall_seconds) = stopwatch.read();
    let bytes = resident().saturating_sub(before);
    assert!(stops.iter().map(|stop| stop.visits).sum::<u64>() >= events);
    Figures {
        events,
        cpu_seconds,
        wall_seconds,
        bytes,
        messages: f64::from(towers),
        ..Figures::default()
    }
}

/// Returns the next random number of `SplitMix64`.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Returns a number below `bound` from the upper half of a random number.
#[allow(clippy::cast_possible_truncation, reason = "the result is less than the bound")]
fn below(word: u64, bound: u32) -> u32 {
    (((word >> 32) * u64::from(bound)) >> 32) as u32
}
