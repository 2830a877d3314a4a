//! The CPU time and the memory of this process, read from `/proc`. On systems other than Linux both
//! are 0.

use std::time::{Duration, Instant};

/// Measures CPU time and wall-clock time.
pub(crate) struct Stopwatch {
    wall: Instant,
    cpu: Duration,
}

impl Stopwatch {
    /// Returns a running stopwatch.
    pub(crate) fn start() -> Self {
        Self { wall: Instant::now(), cpu: cpu_time() }
    }

    /// Returns the CPU time in user mode and the wall-clock time since the start, in seconds.
    pub(crate) fn read(&self) -> (f64, f64) {
        let cpu = cpu_time().saturating_sub(self.cpu);
        (cpu.as_secs_f64(), self.wall.elapsed().as_secs_f64())
    }
}

/// Returns the CPU time of the process in user mode. The kernel counts in units of 10 ms.
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The process name in parentheses can contain spaces. All later fields have fixed positions.
    let after = text.rsplit_once(')').map_or("", |(_, after)| after);
    let ticks = after.split_whitespace().nth(11).and_then(|word| word.parse().ok());
    Duration::from_millis(10 * ticks.unwrap_or(0u64))
}

/// Returns the resident memory of the process in bytes.
pub(crate) fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    let kibibytes = line.trim().strip_suffix("kB").and_then(|number| number.trim().parse().ok());
    1_024 * kibibytes.unwrap_or(0u64)
}
