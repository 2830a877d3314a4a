//! Rates, and the token buckets that keep them.

use clacks_proto::Instant;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// A number of events at once, and then each second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many at once.
    pub burst: u32,
    /// How many each second.
    pub per_second: u32,
}

impl Rate {
    pub(crate) fn times(self, factor: u32) -> Self {
        let Self { burst, per_second } = self;
        let (burst, per_second) = (burst.saturating_mul(factor), per_second.saturating_mul(factor));
        Self { burst, per_second }
    }
}

/// A token bucket. It begins full.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bucket {
    /// When the bucket will be full, in nanoseconds.
    full_at: u64,
}

impl Bucket {
    /// Takes a token if there is one.
    pub(crate) fn take(&mut self, rate: Rate, now: Instant) -> bool {
        let is_taken = self.ready_at(1, rate) <= now;
        if is_taken {
            self.spend(1, rate, now);
        }
        is_taken
    }

    /// Returns when the bucket has this number of tokens.
    pub(crate) fn ready_at(self, tokens: u32, rate: Rate) -> Instant {
        let missing = u64::from(rate.burst.saturating_sub(tokens));
        let spare = missing.saturating_mul(NANOS_PER_SECOND) / per_second(rate);
        Instant::from_nanos(self.full_at.saturating_sub(spare))
    }

    /// Takes tokens, even if there are fewer.
    pub(crate) fn spend(&mut self, tokens: u32, rate: Rate, now: Instant) {
        let cost = u64::from(tokens).saturating_mul(NANOS_PER_SECOND) / per_second(rate);
        self.full_at = self.full_at.max(now.as_nanos()).saturating_add(cost);
    }
}

fn per_second(rate: Rate) -> u64 {
    u64::from(rate.per_second.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let rate = Rate { burst: 3, per_second: 2 };
        let mut bucket = Bucket::default();
        let start = Instant::ORIGIN + Duration::from_secs(100);
        let taken = |bucket: &mut Bucket, now| (0..10).filter(|_| bucket.take(rate, now)).count();
        assert_eq!(taken(&mut bucket, start), 3);
        assert_eq!(taken(&mut bucket, start + Duration::from_secs(1)), 2);
        assert_eq!(taken(&mut bucket, start + Duration::from_secs(100)), 3);
        let now = start + Duration::from_secs(100);
        assert_eq!(bucket.ready_at(1, rate), now + Duration::from_millis(500));
        assert_eq!(bucket.ready_at(3, rate), now + Duration::from_millis(1_500));
    }
}
