//! Listening: the time until a listener receives messages that walk through the network.

/// Listeners in a network in equilibrium, as [`CalmNetwork`](super::CalmNetwork) describes it.
///
/// A message makes `h = N r ρ / M` hops a second. In a complete network each hop goes to one of
/// `N - 1` towers. So the mean time until a listener receives the message is `(N - 1) / h` seconds.
/// This time does not depend on the length of the queues. The times of different messages are
/// nearly independent and exponential. So the mean time until a listener has received `k` of `n`
/// messages is
///
/// ```text
/// (N - 1) / (c h) · (H(n) - H(n - k))
/// ```
///
/// seconds with `c` listeners, where `H` is a harmonic number. In a random network in which each
/// tower has `d` peers, a walk returns to a tower more often. All times are multiplied by
/// `(d - 1) / (d - 2)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Listening {
    /// The number of towers, at least 2.
    pub towers: u32,
    /// The number of messages, at least 1.
    pub messages: u32,
    /// The number of messages that a tower sends in a second:
    /// [`CalmNetwork::sent`](super::CalmNetwork::sent).
    pub sent: f64,
    /// The number of towers that listen, at least 1.
    pub listeners: u32,
    /// The number of peers of each tower, at least 3. `None` if all towers know each other.
    pub degree: Option<u32>,
}

impl Listening {
    /// Returns the mean time in seconds until a listener receives one given message.
    #[must_use]
    pub fn mean_time(&self) -> f64 {
        let towers = f64::from(self.towers);
        let hops = towers * self.sent / f64::from(self.messages);
        let graph = self.degree.map_or(1.0, |degree| {
            let degree = f64::from(degree);
            (degree - 1.0) / (degree - 2.0)
        });
        graph * (towers - 1.0) / (hops * f64::from(self.listeners))
    }

    /// Returns the mean time in seconds until listeners have received `k` of `n` given messages.
    #[must_use]
    pub fn mean_time_of_group(&self, n: u32, k: u32) -> f64 {
        self.mean_time() * reciprocals(n, k, 1)
    }

    /// Returns the standard deviation of the time until listeners have received `k` of `n` given
    /// messages.
    #[must_use]
    pub fn deviation_of_group(&self, n: u32, k: u32) -> f64 {
        self.mean_time() * reciprocals(n, k, 2).sqrt()
    }
}

/// Returns the sum of `1 / i^power` for the `k` largest `i` up to `n`.
fn reciprocals(n: u32, k: u32, power: i32) -> f64 {
    (n.saturating_sub(k) + 1..=n).map(|i| f64::from(i).powi(-power)).sum()
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::super::random::Random;
    use super::super::{CalmNetwork, Ticks};
    use super::*;

    /// Returns the mean and the standard deviation of the time until tower 0 has received `k` of
    /// the first `n` messages, in periods. The naive model has periodic ticks. `peer` returns the
    /// receiver of a message.
    fn model(
        (towers, messages): (usize, usize),
        (n, k): (usize, usize),
        mut peer: impl FnMut(&mut Random, usize) -> usize,
    ) -> (f64, f64) {
        const RUNS: usize = 400;
        let mut random = Random(5);
        let mut queues = vec![VecDeque::new(); towers];
        (0..messages).for_each(|message| queues[random.below(towers)].push_back(message));
        let mut times = Vec::new();
        let mut last = 0;
        let mut heard = vec![false; n];
        for period in 0.. {
            for tower in 0..towers {
                let Some(message) = queues[tower].pop_front() else { continue };
                let to = peer(&mut random, tower);
                queues[to].push_back(message);
                if to == 0 && message < n {
                    heard[message] = true;
                }
            }
            if heard.iter().filter(|is_heard| **is_heard).count() >= k {
                times.push(f64::from(period + 1 - last));
                // The messages continue to walk, so the next run begins in another state.
                (last, heard) = (period + 1, vec![false; n]);
            }
            if times.len() == RUNS {
                break;
            }
        }
        let mean = times.iter().sum::<f64>() / RUNS as f64;
        let squares: f64 = times.iter().map(|time| (time - mean).powi(2)).sum();
        (mean, (squares / (RUNS - 1) as f64).sqrt())
    }

    /// Returns the listening network with one tick a second.
    fn listening(towers: u32, messages: u32, degree: Option<u32>) -> Listening {
        let ticks = Ticks::Periodic;
        let network = CalmNetwork { towers, messages, send_rate: 1.0, latency: 0.0, ticks };
        Listening { towers, messages, sent: network.sent(), listeners: 1, degree }
    }

    #[test]
    fn the_time_until_k_of_n_messages_are_heard_is_right_to_five_per_cent() {
        for (n, k) in [(8, 1), (16, 8), (32, 16), (32, 31)] {
            let listening = listening(100, 200, None);
            let (mean, deviation) = model((100, 200), (n, k), |random, own| random.other(own, 100));
            let (n, k) = (u32::try_from(n).unwrap(), u32::try_from(k).unwrap());
            let ratio = mean / listening.mean_time_of_group(n, k);
            assert!((0.95..1.05).contains(&ratio), "{k} of {n}: {ratio}");
            let ratio = deviation / listening.deviation_of_group(n, k);
            assert!((0.85..1.15).contains(&ratio), "deviation of {k} of {n}: {ratio}");
        }
    }

    #[test]
    fn the_time_of_a_group_of_one_message_is_the_time_of_the_message() {
        let listening = listening(50, 20, None);
        assert!((listening.mean_time_of_group(1, 1) - listening.mean_time()).abs() < 1e-9);
        assert!((listening.deviation_of_group(1, 1) - listening.mean_time()).abs() < 1e-9);
        assert!(listening.mean_time_of_group(4, 0).abs() < 1e-12);
    }

    #[test]
    fn more_listeners_and_fewer_peers_change_the_time() {
        let one = listening(50, 20, None);
        let two = Listening { listeners: 2, ..one };
        assert!((one.mean_time() / two.mean_time() - 2.0).abs() < 1e-9);
        let sparse = Listening { degree: Some(4), ..one };
        assert!((sparse.mean_time() / one.mean_time() - 1.5).abs() < 1e-9);
    }
}
