//! The trace of a run: each observation as a line of text, a hash of all of them, and the
//! comparison of two traces.

mod diff;
mod line;

use crate::observation::Observation;

pub use diff::{Difference, first_difference};
pub use line::Line;

/// A rolling hash of all observations of a run. Equal hashes mean that two runs were the same.
///
/// Each observation adds its moment, its tower and its content. The hash is fast and not meant to
/// resist an attacker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceHash(u64);

/// Odd constants in which about half of the bits are set: fractional parts of the golden ratio and
/// of the square root of 3.
const FOLD: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xbb67_ae85_84ca_a73b];

impl Default for TraceHash {
    fn default() -> Self {
        Self(FOLD[1])
    }
}

impl TraceHash {
    /// Adds an observation.
    pub fn observe(&mut self, observation: &Observation) {
        let tower = observation.tower.map_or(u64::from(u32::MAX), |tower| u64::from(tower.0));
        let (code, first, second) = line::words(&observation.what);
        self.fold(observation.at.as_nanos() ^ FOLD[0], tower << 32 | u64::from(code));
        self.fold(first, second);
    }

    fn fold(&mut self, first: u64, second: u64) {
        // The two halves of the product together depend on every bit of both factors.
        let product = u128::from(self.0 ^ first) * u128::from(second.rotate_left(17) ^ FOLD[0]);
        let folded = halves(product);
        self.0 = folded.rotate_left(23).wrapping_add(first).wrapping_mul(FOLD[0]) ^ second;
    }

    /// Returns the hash as a number.
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
        hash.observe(&Observation { at, tower: Some(TowerId(tower)), what });
        hash
    }

    #[test]
    fn each_field_of_an_observation_changes_the_hash() {
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
    fn the_order_of_observations_changes_the_hash() {
        let observation = |tower| Observation {
            at: Instant::ORIGIN,
            tower: Some(TowerId(tower)),
            what: Observed::TimerFired,
        };
        let mut hashes = [TraceHash::default(); 2];
        hashes[0].observe(&observation(1));
        hashes[0].observe(&observation(2));
        hashes[1].observe(&observation(2));
        hashes[1].observe(&observation(1));
        assert_ne!(hashes[0], hashes[1]);
    }

    #[test]
    fn the_hash_of_a_trace_never_changes() {
        let hash = seen(7, 5, Observed::Arrived { from: TowerId(9), bytes: 100 });
        assert_eq!(hash.to_string(), "2ed96fe97695f2fd");
    }
}
