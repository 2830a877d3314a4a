//! How many messages a second are handed over in a stream.

use std::time::{Duration, Instant};

use clacks_proto::{Message, Window};

use super::towers::{BackgroundTower, Placement, sending};
use super::{BenchError, Candidate, Comparison, Rate, bare};
use crate::args::Runtime;

/// The time from the first messages until the rate is steady.
const WARM_UP: Duration = Duration::from_millis(100);

/// The name of these comparisons.
pub(super) const BENCH: &str = "end to end";

/// How long the towers may take for their first messages, on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The time between two looks at the counters.
const CHECK_INTERVAL: Duration = Duration::from_millis(2);

pub(super) fn comparisons() -> impl Iterator<Item = Result<Comparison, BenchError>> {
    [64, 1024, 16_384].into_iter().map(comparison)
}

fn comparison(size: usize) -> Result<Comparison, BenchError> {
    let keys = bare::Keys::new()?;
    let default = sending().window;
    let turn_keys = bare::Keys::new()?;
    let turn = at_once(default, size);
    let towers = |runtime| move |time| circulate(runtime, size, time);
    let candidates = vec![
        Candidate::new("bare rustls, blocking sockets, full records", move |time| {
            bare::stream(Some(&keys), size, time)
        }),
        Candidate::new("the same, a default window at a time, in turns", move |time| {
            bare::take_turns(&turn_keys, size, turn, time)
        }),
        Candidate::new("towers on mio", towers(Runtime::Mio)),
        Candidate::new("towers on smol", towers(Runtime::Smol)),
        Candidate::new("blocking sockets without TLS", move |time| bare::stream(None, size, time)),
    ];
    Ok(Comparison { bench: BENCH, size, candidates })
}

/// Returns how many messages of a size fit into a window.
fn at_once(window: Window, size: usize) -> usize {
    usize::from(window.messages).min(window.bytes as usize / size)
}

/// Two towers hand messages to each other. There are twice as many as both windows hold, so that
/// neither tower ever has none.
fn circulate(runtime: Runtime, size: usize, time: Duration) -> Rate {
    let config = sending();
    let window = at_once(config.window, size);
    let start = || BackgroundTower::start(runtime, Placement::OwnThread, config.clone());
    let towers = [start()?, start()?];
    let [one, two] = towers.each_ref().map(|tower| &tower.handle);
    one.expand(two.address())?;
    two.expand(one.address())?;
    let message = Message::bytes(&vec![b'x'; size]);
    for tower in [one, two] {
        for _ in 0..2 * window {
            tower.enqueue(message.clone())?;
        }
    }
    let delivered = || [one, two].map(|tower| tower.stats().delivered);
    let began = Instant::now();
    while delivered().iter().any(|count| *count < window as u64) {
        if began.elapsed() > TIMEOUT {
            return Err("two towers do not find each other".into());
        }
        std::thread::sleep(CHECK_INTERVAL);
    }
    std::thread::sleep(WARM_UP);
    let (began, before) = (Instant::now(), delivered());
    std::thread::sleep(time);
    // At least one: a rate of zero would have no ratio.
    loop {
        let (elapsed, after) = (began.elapsed(), delivered());
        let count: u64 = after.iter().zip(before).map(|(after, before)| after - before).sum();
        if count > 0 {
            return Ok(count as f64 / elapsed.as_secs_f64());
        }
        if elapsed > TIMEOUT {
            return Err("two towers have stopped".into());
        }
        std::thread::sleep(CHECK_INTERVAL);
    }
}
