//! The speed and the memory of the simulator, for networks of a hundred to a million towers.
//!
//! The workload `walk` simulates messages without a protocol, and is a lower bound for the cost of
//! an event.
//!
//! ```sh
//! # Up to 100 000 towers, about two minutes.
//! cargo bench --manifest-path benches/Cargo.toml --bench scale
//! # Up to 1 000 000 towers, which needs 16 GB of memory.
//! cargo bench --manifest-path benches/Cargo.toml --bench scale -- --full
//! # One workload with 10 000 towers and 5 000 000 events.
//! cargo bench --manifest-path benches/Cargo.toml --bench scale -- busy 10000 5000000
//! ```
//!
//! Each measurement runs in its own process, so a measurement never reuses the memory of an earlier
//! one. The speed is given in CPU time (user mode) and in wall-clock time. The wall-clock time is
//! meaningful only on an idle machine.
//!
//! The state of towers is spread over the memory, so the simulator has many TLB misses. Huge pages
//! reduce the number of misses. To measure with huge pages on Linux with glibc, set
//! `GLIBC_TUNABLES=glibc.malloc.hugetlb=1` in the environment.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark that fails must stop with an error message"
)]

mod floor;
mod machine;
mod workload;

use std::io::Write;
use std::process::Command;

use clacks_sim::TraceHash;
use workload::Workload;

/// The number of towers and the number of measured events of each measurement.
const SIZES: [(u32, u64); 5] = [
    (100, 4_000_000),
    (1_000, 4_000_000),
    (10_000, 4_000_000),
    (100_000, 4_000_000),
    (1_000_000, 6_000_000),
];

fn main() {
    // Cargo adds the argument `--bench`.
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

/// Runs all workloads with all sizes.
fn all(sizes: &[(u32, u64)]) {
    println!("{}", Figures::HEADINGS);
    for what in ["walk", "busy", "quiet", "idle", "stocked"] {
        for (towers, events) in sizes {
            // These workloads measure the memory of a tower, which hardly depends on the size.
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

/// Runs one workload, and prints a row of the table.
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

/// The results of a measurement.
#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    /// The number of measured events.
    events: u64,
    /// The CPU time of the measured events in user mode.
    cpu_seconds: f64,
    /// The wall-clock time of the measured events.
    wall_seconds: f64,
    /// The increase of the resident memory of the process, in bytes.
    bytes: u64,
    /// The number of open links of all towers at the end.
    links: f64,
    /// The number of messages of all towers at the end.
    messages: f64,
    /// The number of peers of all towers at the end.
    peers: f64,
    /// The trace hash of the run. An optimization must not change the trace hash.
    hash: Option<TraceHash>,
}

impl Figures {
    /// The headings of the table.
    const HEADINGS: &str = "workload     towers     events  M events/s (CPU)  (wall)  \
        bytes/tower  links/tower  peers/tower  messages/tower  trace";

    /// Returns a row of the table.
    #[allow(clippy::cast_precision_loss, reason = "the figures are rounded for display")]
    fn line(&self, what: &str, towers: u32) -> String {
        let rate = |seconds: f64| self.events as f64 / seconds.max(1e-9) / 1e6;
        let bytes = self.bytes / u64::from(towers);
        let each = |count: f64| count / f64::from(towers);
        format!(
            "{what:8} {towers:>10} {:>10} {:>17.2} {:>7.2} {bytes:>12} {:>12.2} {:>12.2} {:>15.2}  \
             {}",
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
