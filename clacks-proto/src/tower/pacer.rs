//! The ticks on which messages leave, and the token bucket for learned addresses.

use core::time::Duration;

use crate::config::{Allowance, SendRate};
use crate::time::{Instant, nanos};

/// The ticks of a tower: a fixed grid with a random phase, like that of a timer started at some
/// moment.
///
/// While there is nothing to send, ticks pass unused: a message that comes then leaves on the next
/// tick. While there is something to send, ticks that the driver missed are made up for, up to a
/// burst.
#[derive(Debug)]
pub(crate) struct Pacer {
    /// Nanoseconds between ticks; 0 for an unlimited rate.
    period: u64,
    burst: u32,
    next: Instant,
    is_armed: bool,
}

impl Pacer {
    /// `phase` is a random word.
    pub(crate) fn new(rate: SendRate, burst: u32, phase: u64) -> Self {
        let period = match rate {
            SendRate::Every(period) => nanos(period),
            SendRate::Unlimited => 0,
        };
        let next = Instant::from_nanos(phase.checked_rem(period).unwrap_or(0));
        Self { period, burst, next, is_armed: false }
    }

    pub(crate) fn is_unlimited(&self) -> bool {
        self.period == 0
    }

    /// Starts or stops the ticks. Ticks that pass while stopped are not made up for.
    pub(crate) fn arm(&mut self, wanted: bool, now: Instant) {
        if wanted && !self.is_armed && self.next < now {
            let late = now.duration_since(self.next);
            let ticks = nanos(late).checked_next_multiple_of(self.period).unwrap_or(0);
            self.next = self.next + Duration::from_nanos(ticks);
        }
        self.is_armed = wanted;
    }

    /// Returns when the next tick is due, or `None` while stopped.
    pub(crate) fn next(&self) -> Option<Instant> {
        (self.is_armed && !self.is_unlimited()).then_some(self.next)
    }

    /// Takes the ticks that are due, and returns how many messages may leave now.
    pub(crate) fn take_due(&mut self, now: Instant) -> u32 {
        if !self.is_armed || self.is_unlimited() || self.next > now {
            return 0;
        }
        let late = nanos(now.duration_since(self.next));
        let due = late.checked_div(self.period).unwrap_or(0).saturating_add(1);
        self.next = self.next + Duration::from_nanos(due.saturating_mul(self.period));
        u32::try_from(due).unwrap_or(u32::MAX).min(self.burst)
    }
}

/// The state of an [`Allowance`]: a token bucket that time fills. It counts in nanoseconds, so that
/// nothing is lost to rounding.
#[derive(Debug, Default)]
pub(crate) struct TokenBucket {
    /// How much is missing to be full.
    spent: u64,
    filled: Instant,
}

impl TokenBucket {
    /// Returns how much is missing to be full, in nanoseconds.
    pub(crate) fn spent_at(&self, now: Instant) -> u64 {
        self.spent.saturating_sub(nanos(now.duration_since(self.filled)))
    }

    /// Takes a token if there is one.
    pub(crate) fn take(&mut self, allowance: Allowance, now: Instant) -> bool {
        let price = nanos(allowance.every);
        let full = price.saturating_mul(allowance.burst.into());
        self.spent = self.spent_at(now);
        self.filled = self.filled.max(now);
        let is_there = full.saturating_sub(self.spent) >= price;
        if is_there {
            self.spent = self.spent.saturating_add(price);
        }
        is_there
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::ORIGIN + Duration::from_millis(millis)
    }

    fn pacer(phase: u64) -> Pacer {
        Pacer::new(SendRate::Every(Duration::from_millis(100)), 3, phase * 1_000_000)
    }

    #[test]
    fn ticks_stand_on_a_grid_with_the_given_phase() {
        let mut pacer = pacer(130);
        assert_eq!(pacer.next(), None, "nothing to send");
        pacer.arm(true, at(10));
        assert_eq!(pacer.next(), Some(at(30)));
        assert_eq!(pacer.take_due(at(29)), 0, "an early timer is harmless");
        assert_eq!(pacer.take_due(at(30)), 1);
        assert_eq!(pacer.take_due(at(30)), 0);
        assert_eq!(pacer.next(), Some(at(130)));
    }

    #[test]
    fn unused_ticks_are_gone() {
        let mut pacer = pacer(30);
        pacer.arm(true, at(0));
        assert_eq!(pacer.take_due(at(30)), 1);
        pacer.arm(false, at(30));
        assert_eq!(pacer.take_due(at(1_000)), 0);
        pacer.arm(true, at(1_001));
        assert_eq!(pacer.next(), Some(at(1_030)));
    }

    #[test]
    fn a_late_timer_makes_up_for_at_most_a_burst() {
        let mut pacer = pacer(0);
        pacer.arm(true, at(0));
        assert_eq!(pacer.take_due(at(150)), 2);
        assert_eq!(pacer.take_due(at(10_000)), 3, "not 98");
        assert_eq!(pacer.next(), Some(at(10_100)));
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let allowance = Allowance { burst: 2, every: Duration::from_millis(250) };
        let mut bucket = TokenBucket::default();
        assert_eq!(
            [
                bucket.take(allowance, at(0)),
                bucket.take(allowance, at(0)),
                bucket.take(allowance, at(0))
            ],
            [true, true, false]
        );
        assert!(!bucket.take(allowance, at(249)));
        assert!(bucket.take(allowance, at(250)));
        assert!(!bucket.take(allowance, at(250)));
        assert!(bucket.take(allowance, at(60_000)));
        assert!(bucket.take(allowance, at(60_000)));
        assert!(!bucket.take(allowance, at(60_000)), "it holds no more than its burst");
    }
}
