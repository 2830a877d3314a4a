//! What the operating system says of this process. Linux only; elsewhere the figures are 0.

use std::time::{Duration, Instant};

/// Measures a stretch of time.
pub(crate) struct Stopwatch {
    wall: Instant,
    cpu: Duration,
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self { wall: Instant::now(), cpu: cpu_time() }
    }

    /// Seconds of CPU time in user mode, and by the clock on the wall.
    pub(crate) fn read(&self) -> (f64, f64) {
        let cpu = cpu_time().saturating_sub(self.cpu);
        (cpu.as_secs_f64(), self.wall.elapsed().as_secs_f64())
    }
}

/// In user mode. The kernel counts it in hundredths of a second.
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name in parentheses may contain anything; what follows has fixed places.
    let after = text.rsplit_once(')').map_or("", |(_, after)| after);
    let ticks = after.split_whitespace().nth(11).and_then(|word| word.parse().ok());
    Duration::from_millis(10 * ticks.unwrap_or(0u64))
}

/// Memory in use, in bytes.
pub(crate) fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    let kibibytes = line.trim().strip_suffix("kB").and_then(|number| number.trim().parse().ok());
    1_024 * kibibytes.unwrap_or(0u64)
}
