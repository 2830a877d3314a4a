//! Capacity: the traffic of a network without faults.

use super::statistics::{Average, Comparison};

/// A network without faults: all towers run and know each other as alive, no message is lost or
/// duplicated, and no link is ever full.
///
/// # Derivation
///
/// `N` towers hold `M` messages. Each tower has `r` ticks a second and uses the share `ρ` of them.
/// The latency is `L` seconds. By Little's law, `F = N r ρ L` messages are on the wire, and
/// `m = (M - F) / N` messages wait at each tower. The copy that a sender keeps until the
/// acknowledgement is not a waiting message.
///
/// When a message arrives at a tower, `q` other messages are in the queue. The tower sends these
/// messages first, one in each tick. Ticks are periodic, and the message arrives between two ticks.
/// So the mean time until the first tick is half a period, and the message waits `(½ + q) / r`
/// seconds. By Little's law, `m = ρ (½ + q)`. In a large network the queue of an arriving message
/// is the average queue, `q = m`, so
///
/// ```text
/// ρ = 2m / (1 + 2m)
/// ```
///
/// Ticks at random times have no memory. The mean time until the first tick is a whole period, so
/// `ρ = m / (1 + m)`.
///
/// # Corrections
///
/// In a small network, the queue of an arriving message is the average queue of a network with `M -
/// 1` messages. So `m` is computed for one message, then for two, and so on up to `M`. For random
/// ticks the result is exact.
///
/// The phases of the ticks are fixed for the whole run. With a latency, the wait for the first
/// tick depends on the phases of both towers. Over all pairs of towers its mean is half a period,
/// with a standard deviation of at most `1 / √(8 N (N - 1))` periods. This deviation is part of
/// [`Comparison::sigma`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CalmNetwork {
    /// The number of towers, at least 2.
    pub towers: u32,
    /// The number of messages.
    pub messages: u32,
    /// The number of ticks of a tower in a second.
    pub send_rate: f64,
    /// The mean latency in seconds.
    pub latency: f64,
    /// The times of the ticks.
    pub ticks: Ticks,
}

/// The times of the ticks of a tower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ticks {
    /// At equal intervals, as in a tower.
    Periodic,
    /// At random times, with the same mean rate.
    Random,
}

impl CalmNetwork {
    /// Returns the share of its ticks that a tower uses.
    #[must_use]
    pub fn used_share(&self) -> f64 {
        self.share(0.0)
    }

    /// Returns the mean number of messages on the wire.
    #[must_use]
    pub fn on_the_wire(&self) -> f64 {
        self.wire(self.used_share())
    }

    /// Returns how many times in a second a tower receives one given message.
    #[must_use]
    pub fn heard(&self) -> f64 {
        self.rate(self.used_share())
    }

    /// Compares the share of used ticks. The measured share is the number of first hand-overs,
    /// divided by the number of towers, the send rate and the time.
    #[must_use]
    pub fn compare_used_share(&self, measured: Average) -> Comparison {
        self.compare(|share| share, measured)
    }

    /// Compares the time average of the number of messages on the wire.
    #[must_use]
    pub fn compare_wire(&self, measured: Average) -> Comparison {
        self.compare(|share| self.wire(share), measured)
    }

    /// Compares the rate at which a tower receives one given message. The measured rate is the
    /// number of received messages, divided by the number of towers, the number of messages and the
    /// time.
    #[must_use]
    pub fn compare_heard(&self, measured: Average) -> Comparison {
        self.compare(|share| self.rate(share), measured)
    }

    fn compare(&self, of: impl Fn(f64) -> f64, measured: Average) -> Comparison {
        let spread = self.phase_spread();
        let model = (of(self.share(spread)) - of(self.share(-spread))) / 2.0;
        let sigma = measured.sigma.hypot(model);
        Comparison { predicted: of(self.used_share()), measured: measured.mean, sigma }
    }

    fn wire(&self, share: f64) -> f64 {
        f64::from(self.towers) * self.send_rate * share * self.latency
    }

    fn rate(&self, share: f64) -> f64 {
        self.send_rate * share / f64::from(self.messages.max(1))
    }

    /// Returns the share of used ticks. The wait of a message for its first tick is `longer`
    /// periods above the mean.
    fn share(&self, longer: f64) -> f64 {
        let towers = f64::from(self.towers);
        let first = longer
            + match self.ticks {
                Ticks::Periodic => 0.5,
                Ticks::Random => 1.0,
            };
        // All times are in periods.
        let under_way = self.latency * self.send_rate;
        let (mut share, mut waiting) = (0.0, 0.0);
        for messages in 1..=self.messages {
            let wait = first + waiting;
            share = f64::from(messages) / (wait + under_way) / towers;
            waiting = share * wait;
        }
        share
    }

    /// Returns the standard deviation of the wait for the first tick over all phases, in periods.
    fn phase_spread(&self) -> f64 {
        let towers = f64::from(self.towers);
        match self.ticks {
            Ticks::Periodic if self.latency > 0.0 => 1.0 / (8.0 * towers * (towers - 1.0)).sqrt(),
            Ticks::Periodic | Ticks::Random => 0.0,
        }
    }
}

#[cfg(test)]
#[path = "capacity_tests.rs"]
mod tests;
