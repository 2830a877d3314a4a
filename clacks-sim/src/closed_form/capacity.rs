//! Capacity: the traffic of a network without faults.

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
/// with a standard deviation of at most `1 / √(8 N (N - 1))` periods, which is left out.
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
        let towers = f64::from(self.towers);
        let first = match self.ticks {
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

    /// Returns the number of messages that a tower sends in a second.
    #[must_use]
    pub fn sent(&self) -> f64 {
        self.send_rate * self.used_share()
    }

    /// Returns the mean number of messages on the wire.
    #[must_use]
    pub fn on_the_wire(&self) -> f64 {
        f64::from(self.towers) * self.sent() * self.latency
    }
}

#[cfg(test)]
#[path = "capacity_tests.rs"]
mod tests;
