//! How many events a second, and how many bytes a tower, from a hundred towers to a million; and what a walk without any protocol costs beside it.
//!
//! ```sh
//! # Up to 100 000 towers, about two minutes.
//! cargo bench --manifest-path benches/Cargo.toml --bench scale
//! # And a million: 16 GB.
//! cargo bench --manifest-path benches/Cargo.toml --bench scale -- --full
//! # One workload, so many towers, so many events.
//! cargo bench --manifest-path benches/Cargo.toml --bench scale -- busy 10000 5000000
//! ```
//!
//! Every measurement has a process of its own, so that none finds memory that another has left. Speed is given by CPU time (user mode) and by the clock on
//! the wall: on a machine with other work only the first means something.
//!
//! Towers in random places of memory miss the processor's caches of addresses; with large pages they miss less. On Linux with glibc this shows how much:
//! `GLIBC_TUNABLES=glibc.malloc.hugetlb=1 cargo bench --manifest-path benches/Cargo.toml --bench scale`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark that can't run should say why, and stop"
)]

mod floor;
mod machine;
mod workload;

use std::io::Write;
use std::process::Command;

use clacks_sim::TraceHash;
use workload::Workload;

/// How many towers, and how many events are counted.
const SIZES: [(u32, u64); 5] = [
    (100, 4_000_000),
    (1_000, 4_000_000),
    (10_000, 4_000_000),
    (100_000, 4_000_000),
    (1_000_000, 6_000_000),
];

fn main() {
    // Cargo adds a word of its own.
    let words: Vec<_> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [what, towers, events] => {
            let towers = towers.parse().expect("a number of towers");
            measure(what, towers, events.parse().expect("a number of events"));
        }
        [] => all(&SIZES[..4]),
        ["--full"] => all(&SIZES),
        _ => eprintln!(
            "[--full] or <busy|quiet|idle|stocked|walk|a bundled scenario> <towers> <events>"
        ),
    }
}

fn all(sizes: &[(u32, u64)]) {
    println!("{}", Figures::HEADINGS);
    for what in ["walk", "busy", "quiet", "idle", "stocked"] {
        for (towers, events) in sizes {
            // What a tower takes is all that counts there, and needs no run at every size.
            if matches!(what, "idle" | "stocked") && *towers < 10_000 {
                continue;
            }
            let own = std::env::current_exe().expect("the path of this program");
            let arguments = [what.to_owned(), towers.to_string(), events.to_string()];
            let status = Command::new(own).args(arguments).status().expect("a process");
            assert!(status.success(), "{what} with {towers} towers ended with {status}");
        }
    }
}

fn measure(what: &str, towers: u32, events: u64) {
    let figures = match what {
        "walk" => floor::measure(towers, events),
        _ => match Workload::named(what) {
            Some(workload) => workload.measure(towers, events),
            None => workload::bundled(what, towers, events),
        },
    };
    println!("{}", figures.line(what, towers));
    std::io::stdout().flush().expect("standard output");
}

/// What was measured.
#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    events: u64,
    cpu_seconds: f64,
    wall_seconds: f64,
    /// All memory of the process, besides what it had before there were towers.
    bytes: u64,
    links: f64,
    messages: f64,
    peers: f64,
    /// Of all that happened: a change that only makes it faster leaves this as it was.
    hash: Option<TraceHash>,
}

impl Figures {
    const HEADINGS: &str = "workload     towers     events  M events/s (CPU)  (wall)  bytes/tower  links/tower  peers/tower  messages/tower  trace";

    #[allow(clippy::cast_precision_loss, reason = "for people")]
    fn line(&self, what: &str, towers: u32) -> String {
        let rate = |seconds: f64| self.events as f64 / seconds.max(1e-9) / 1e6;
        let bytes = self.bytes / u64::from(towers);
        let each = |count: f64| count / f64::from(towers);
        format!(
            "{what:8} {towers:>10} {:>10} {:>17.2} {:>7.2} {bytes:>12} {:>12.2} {:>12.2} {:>15.2}  {}",
            self.events,
            rate(self.cpu_seconds),
            rate(self.wall_seconds),
            each(self.links),
            each(self.peers),
            each(self.messages),
            self.hash.map_or_else(String::new, |hash| hash.to_string()),
        )
    }
}
