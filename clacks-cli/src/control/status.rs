//! The state of a tower at one moment.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use clacks_proto::{Address, Fingerprint, Stats, StatusCounts};
use clacks_store::StoreStats;
use serde::{Deserialize, Serialize};

use super::troubles::Trouble;

/// The answer to `status`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TowerStatus {
    pub(crate) address: Address,
    pub(crate) fingerprint: Option<Fingerprint>,
    pub(crate) network: String,
    /// The version of the command.
    pub(crate) version: String,
    pub(crate) uptime_ms: u64,
    pub(crate) queue: QueueStatus,
    /// The number of peers with each status.
    pub(crate) peers: StatusCounts,
    /// The links that are open.
    pub(crate) links: usize,
    pub(crate) max_links: usize,
    pub(crate) rates: Rates,
    /// What the store of the tower has done, if the tower has one.
    #[serde(default)]
    pub(crate) store: Option<StoreStats>,
    /// Troubles of this tower, then those of peers, then those of towers that were never alive. In
    /// each of these the oldest come first.
    pub(crate) troubles: Vec<Trouble>,
    pub(crate) stats: Stats,
}

/// The queue with its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct QueueStatus {
    pub(crate) messages: usize,
    pub(crate) max_messages: usize,
    pub(crate) bytes: usize,
    pub(crate) max_bytes: usize,
}

/// Messages a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rates {
    /// The time over which the rates are measured: a minute, or less after the start.
    pub(crate) over_ms: u64,
    /// Messages taken from peers.
    pub(crate) received_per_s: f64,
    /// Messages confirmed by peers.
    pub(crate) delivered_per_s: f64,
}

/// The time between two samples of the counters.
pub(crate) const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// The number of samples that are kept, for rates over a minute.
const SAMPLES: usize = 60;

/// Recent samples of the counters.
#[derive(Debug)]
pub(crate) struct Samples(VecDeque<(Instant, u64, u64)>);

impl Samples {
    /// Returns the samples of a tower that has just started.
    pub(crate) fn new(now: Instant) -> Self {
        Self(VecDeque::from([(now, 0, 0)]))
    }

    /// Adds a sample.
    pub(crate) fn add(&mut self, now: Instant, stats: &Stats) {
        if self.0.len() == SAMPLES {
            self.0.pop_front();
        }
        self.0.push_back((now, stats.received, stats.delivered));
    }

    /// Returns the rates from the oldest sample until now.
    #[allow(clippy::cast_precision_loss, reason = "a rate has few digits")]
    pub(crate) fn rates(&self, now: Instant, stats: &Stats) -> Rates {
        let Some((since, received, delivered)) = self.0.front() else { return Rates::default() };
        let over = now.saturating_duration_since(*since);
        let rate = |count: u64, before: u64| match over {
            Duration::ZERO => 0.0,
            over => count.saturating_sub(before) as f64 / over.as_secs_f64(),
        };
        Rates {
            over_ms: millis(over),
            received_per_s: rate(stats.received, *received),
            delivered_per_s: rate(stats.delivered, *delivered),
        }
    }
}

/// Returns a duration in milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_of_the_last_minute() {
        let start = Instant::now();
        let mut samples = Samples::new(start);
        let mut stats = Stats::default();
        for second in 1..=200 {
            stats.received += if second <= 100 { 1_000 } else { 3 };
            samples.add(start + Duration::from_secs(second), &stats);
        }
        let rates = samples.rates(start + Duration::from_secs(200), &stats);
        assert_eq!((rates.over_ms, rates.received_per_s), (59_000, 3.0));
        assert_eq!(rates.delivered_per_s, 0.0);
        assert_eq!(Samples::new(start).rates(start, &stats), Rates::default());
    }
}
