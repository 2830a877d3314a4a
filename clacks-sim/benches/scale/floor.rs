//! The floor: messages on a random walk with nothing of a protocol. Whatever simulates one tower after the other in the order of time can't be
//! faster: an event is taken off the event queue, some state is looked up somewhere in memory, and the next event is put down.

#[allow(dead_code, reason = "a part of the crate")]
#[path = "../../src/event_queue.rs"]
mod event_queue;

use event_queue::EventQueue;

use crate::Figures;
use crate::machine::{Stopwatch, resident};

const SECOND: u64 = 1_000_000_000;
const PEERS: usize = 8;

/// A place that messages come by.
#[derive(Clone, Copy)]
struct Stop {
    words: u64,
    visits: u64,
    peers: [u32; PEERS],
}

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

/// `SplitMix64`.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// By the upper half of a word.
#[allow(clippy::cast_possible_truncation, reason = "less than the bound")]
fn below(word: u64, bound: u32) -> u32 {
    (((word >> 32) * u64::from(bound)) >> 32) as u32
}
