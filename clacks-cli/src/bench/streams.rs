//! Messages in a stream: how many are handed over a second.

use std::time::{Duration, Instant};

use clacks_proto::Message;

use super::towers::{Host, giving};
use super::{Contender, Contest, Rate, Trouble, bare};
use crate::args::Runtime;

/// From the first message on until things are as they stay.
const WARM_UP: Duration = Duration::from_millis(100);

/// How often an eager tower is asked whether it is ready.
const GLANCE: Duration = Duration::from_millis(2);

pub(super) fn contests() -> impl Iterator<Item = Result<Contest, Trouble>> {
    [64, 1024, 16_384].into_iter().map(contest)
}

fn contest(size: usize) -> Result<Contest, Trouble> {
    let keys = bare::Keys::new()?;
    let towers = |runtime| move |time| circulate(runtime, size, time);
    let (on_mio, on_smol) = if size == 1024 { (Some(0.5), Some(0.4)) } else { (None, None) };
    let contenders = vec![
        Contender::new("bare rustls, blocking sockets, full records", None, move |time| {
            bare::stream(Some(&keys), size, time)
        }),
        Contender::new("towers on mio", on_mio, towers(Runtime::Mio)),
        Contender::new("towers on smol", on_smol, towers(Runtime::Smol)),
        Contender::new("blocking sockets without TLS", None, move |time| {
            bare::stream(None, size, time)
        }),
    ];
    Ok(Contest { bench: "end to end", size, contenders })
}

/// Two towers hand messages to each other. As many are on the way as both windows hold, twice: no tower ever has none.
fn circulate(runtime: Runtime, size: usize, time: Duration) -> Rate {
    let config = giving();
    let window = usize::from(config.window.messages).min(config.window.bytes as usize / size);
    let towers = [Host::start(runtime, config.clone())?, Host::start(runtime, config)?];
    let [one, two] = &towers;
    one.expand(two)?;
    two.expand(one)?;
    let message = Message::bytes(&vec![b'x'; size]);
    for tower in &towers {
        for _ in 0..2 * window {
            smol::block_on(tower.handle().enqueue(message.clone()))?;
        }
    }
    let delivered = || towers.each_ref().map(|tower| tower.stats().delivered);
    let began = Instant::now();
    while delivered().iter().any(|count| *count < window as u64) {
        if began.elapsed() > 10 * time + Duration::from_secs(10) {
            return Err("two towers do not find each other".into());
        }
        std::thread::sleep(GLANCE);
    }
    std::thread::sleep(WARM_UP);
    let (began, before) = (Instant::now(), delivered());
    std::thread::sleep(time);
    let (elapsed, after) = (began.elapsed(), delivered());
    let count: u64 = after.iter().zip(before).map(|(after, before)| after - before).sum();
    Ok(count as f64 / elapsed.as_secs_f64())
}
