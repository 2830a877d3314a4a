//! The fill of the queue and the rates over the last hour.

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime};

use clacks_proto::{QueueUsage, Stats};
use serde::{Deserialize, Serialize};

use crate::output::rfc3339;

/// The time between two points.
const INTERVAL: Duration = Duration::from_secs(10);

/// The number of points that are kept: an hour.
const CAPACITY: usize = 360;

/// The state of a tower at one moment of the last hour.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct HistoryPoint {
    #[serde(with = "rfc3339")]
    pub(crate) time: SystemTime,
    /// The messages held.
    pub(crate) messages: usize,
    /// The bytes of their bodies.
    pub(crate) bytes: usize,
    /// Messages taken from peers a second, since the point before.
    pub(crate) received_per_s: f64,
    /// Messages confirmed by peers a second, since the point before.
    pub(crate) delivered_per_s: f64,
}

/// The points of the last hour.
#[derive(Debug)]
pub(crate) struct History {
    points: VecDeque<HistoryPoint>,
    /// The time of the last point, and the counters at that time.
    last: (Instant, u64, u64),
}

impl History {
    /// Returns the history of a tower that has just started.
    pub(crate) fn new(now: Instant) -> Self {
        Self { points: VecDeque::new(), last: (now, 0, 0) }
    }

    /// Adds a point, unless the last one is more recent than the interval.
    #[allow(clippy::cast_precision_loss, reason = "a rate has few digits")]
    pub(crate) fn add(&mut self, now: Instant, usage: QueueUsage, stats: &Stats) {
        let (since, received, delivered) = self.last;
        let elapsed = now.saturating_duration_since(since);
        if elapsed < INTERVAL {
            return;
        }
        let rate =
            |count: u64, before: u64| count.saturating_sub(before) as f64 / elapsed.as_secs_f64();
        if self.points.len() == CAPACITY {
            self.points.pop_front();
        }
        self.points.push_back(HistoryPoint {
            time: SystemTime::now(),
            messages: usage.messages,
            bytes: usage.bytes,
            received_per_s: rate(stats.received, received),
            delivered_per_s: rate(stats.delivered, delivered),
        });
        self.last = (now, stats.received, stats.delivered);
    }

    /// Returns the points, the oldest first.
    pub(crate) fn points(&self) -> Vec<HistoryPoint> {
        self.points.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_of_points_is_kept_with_the_rates_between_them() {
        let start = Instant::now();
        let mut history = History::new(start);
        let mut stats = Stats::default();
        for second in 1..=4_000 {
            stats.received += 2;
            stats.delivered += if second <= 3_990 { 0 } else { 7 };
            history.add(start + Duration::from_secs(second), QueueUsage::default(), &stats);
        }
        let points = history.points();
        assert_eq!(points.len(), CAPACITY);
        assert!(points.iter().all(|point| point.received_per_s == 2.0));
        let delivered: Vec<_> = points.iter().map(|point| point.delivered_per_s).collect();
        assert_eq!(delivered[CAPACITY - 2..], [0.0, 7.0]);
    }
}
