//! The trace of a run: every observation as a line of text, a rolling hash of them all, and the first difference of two.

mod diff;
mod line;

use crate::observation::Observation;

pub use diff::{Difference, first_difference};
pub use line::Line;

/// The rolling hash of a trace. Two runs with the same hash are, for all purposes, the same run.
///
/// Each observation is folded in as three words, so that its moment, its tower and all that it says count. Not made against
/// somebody who looks for collisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceHash(u64);

/// Odd constants with half of their bits set: the fractional parts of the golden ratio and of the square root of 3.
const FOLD: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xbb67_ae85_84ca_a73b];

impl Default for TraceHash {
    fn default() -> Self {
        Self(FOLD[1])
    }
}

impl TraceHash {
    /// Folds an observation in.
    pub fn see(&mut self, observation: &Observation) {
        let tower = observation.tower.map_or(u64::from(u32::MAX), |tower| u64::from(tower.0));
        let (code, first, second) = line::words(&observation.what);
        self.fold(observation.at.as_nanos() ^ FOLD[0], tower << 32 | u64::from(code));
        self.fold(first, second);
    }

    fn fold(&mut self, first: u64, second: u64) {
        // The product's halves together depend on every bit of both factors.
        let product = u128::from(self.0 ^ first) * u128::from(second.rotate_left(17) ^ FOLD[0]);
        let folded = halves(product);
        self.0 = folded.rotate_left(23).wrapping_add(first).wrapping_mul(FOLD[0]) ^ second;
    }

    /// The hash as a number.
    #[must_use]
    pub fn value(self) -> u64 {
        self.0
    }
}

#[allow(clippy::cast_possible_truncation, reason = "both halves are used")]
fn halves(product: u128) -> u64 {
    (product >> 64) as u64 ^ product as u64
}

impl std::fmt::Display for TraceHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::{MessageId, Observed, TowerId};
    use clacks_proto::Instant;

    fn seen(at: u64, tower: u32, what: Observed) -> TraceHash {
        let mut hash = TraceHash::default();
        let at = Instant::from_nanos(at);
        hash.see(&Observation { at, tower: Some(TowerId(tower)), what });
        hash
    }

    #[test]
    fn everything_that_an_occurrence_says_counts() {
        let what = |message| Observed::Enqueued { message: MessageId(message) };
        let hashes = [
            seen(1, 2, what(3)),
            seen(2, 2, what(3)),
            seen(1, 3, what(3)),
            seen(1, 2, what(4)),
            seen(1, 2, Observed::EnqueueRefused),
            seen(1, 2, Observed::Delivered { to: None, message: Some(MessageId(3)) }),
            seen(1, 2, Observed::Delivered { to: Some(TowerId(0)), message: Some(MessageId(3)) }),
            seen(1, 2, Observed::Delivered { to: Some(TowerId(3)), message: None }),
        ];
        for (n, hash) in hashes.iter().enumerate() {
            assert!(!hashes[..n].contains(hash), "{n}");
        }
    }

    #[test]
    fn the_order_counts() {
        let observation = |tower| Observation {
            at: Instant::ORIGIN,
            tower: Some(TowerId(tower)),
            what: Observed::TimerFired,
        };
        let mut hashes = [TraceHash::default(); 2];
        hashes[0].see(&observation(1));
        hashes[0].see(&observation(2));
        hashes[1].see(&observation(2));
        hashes[1].see(&observation(1));
        assert_ne!(hashes[0], hashes[1]);
    }

    #[test]
    fn the_hash_of_a_trace_never_changes() {
        let hash = seen(7, 5, Observed::Arrived { from: TowerId(9), bytes: 100 });
        assert_eq!(hash.to_string(), "2ed96fe97695f2fd");
    }
}
