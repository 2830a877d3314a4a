//! Fill: the share of hand-overs that succeed in a nearly full network.

use super::Ticks;

/// Returns the share of ticks in which a hand-over succeeds, if a tower offers its message to at
/// most `tries` peers in each tick.
///
/// `capacity` is the maximum number of messages in a queue. `fill` is the mean length of a queue as
/// a share of the capacity, from 0 to 1. A hand-over fails if the queue of the receiver is full.
/// The receiver is a random tower, and the network is large.
///
/// # Ticks at random times
///
/// Hand-overs move messages between queues at the same rate in both directions, so the number of
/// messages in a queue is distributed geometrically between 0 and the capacity. The ratio of the
/// distribution follows from its mean, which is `fill` times `capacity`.
///
/// # Periodic ticks
///
/// Between two ticks of a tower, the number of messages that others offer has a Poisson
/// distribution with the mean `α`. The queue takes them until it is full. In each tick the queue
/// loses one message with probability `s`. So the queue is a Markov chain from tick to tick, and it
/// loses one message at a time: the flow down over each length equals the flow up, which gives all
/// probabilities one after the other. `α` and `s` follow from two conditions. A tower offers a
/// message in each tick in which its queue is not empty, and the mean length of a queue over the
/// time is `fill` times `capacity`. O(capacity), and at most some milliseconds for a thousand
/// messages.
///
/// Periodic ticks make queues more even, so more hand-overs succeed than with ticks at random
/// times.
#[must_use]
pub fn success_share(capacity: u32, fill: f64, tries: u32, ticks: Ticks) -> f64 {
    if fill >= 1.0 || capacity == 0 || tries == 0 {
        return 0.0;
    }
    if fill <= 0.0 {
        return 1.0;
    }
    let mean = fill * f64::from(capacity);
    match ticks {
        Ticks::Random => {
            // The mean grows with the logarithm of the ratio.
            let ratio = solve(-64.0, 64.0, |ln_ratio| geometric(capacity, ln_ratio).0 > mean);
            let (_, full) = geometric(capacity, ratio);
            1.0 - full.powi(i32::try_from(tries).unwrap_or(i32::MAX))
        }
        Ticks::Periodic => {
            // The fuller the network, the smaller the probability that a queue is empty.
            let queue = |ln_empty| PeriodicQueue::with_empty(capacity, tries, ln_empty);
            let ln_empty = solve(-LEAST, 0.0, |ln_empty| queue(ln_empty).mean() <= mean);
            queue(ln_empty).success
        }
    }
}

/// The logarithm of the least probability of an empty queue that is looked at. A float has room for
/// it.
const LEAST: f64 = 600.0;

/// Returns where a condition that is false for small arguments becomes true.
fn solve(mut low: f64, mut high: f64, is_above: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if is_above(middle) { high = middle } else { low = middle }
    }
    f64::midpoint(low, high)
}

/// Returns the mean of a geometric distribution from 0 to `capacity`, and the probability of
/// `capacity`.
fn geometric(capacity: u32, ln_ratio: f64) -> (f64, f64) {
    let capacity = f64::from(capacity);
    // Weights are relative to the largest weight, so no weight overflows.
    let largest = (capacity * ln_ratio).max(0.0);
    let (mut sum, mut mean, mut length) = (0.0, 0.0, 0.0);
    while length <= capacity {
        let weight = (length * ln_ratio - largest).exp();
        sum += weight;
        mean += length * weight;
        length += 1.0;
    }
    (mean / sum, (capacity * ln_ratio - largest).exp() / sum)
}

/// The queue of a tower with periodic ticks.
struct PeriodicQueue {
    /// The probability that a tick moves a message, if the queue is not empty.
    success: f64,
    /// The probability of each length after a tick.
    lengths: Vec<f64>,
    /// `excess[i]` is the mean number of offers between two ticks beyond `i`, divided by the mean
    /// number of offers. This is the share of the time in which at least `i` messages were offered
    /// since the last tick.
    excess: Vec<f64>,
}

impl PeriodicQueue {
    /// Returns the queue that is empty at a tick with a probability.
    fn with_empty(capacity: u32, tries: u32, ln_empty: f64) -> Self {
        let queue = |success| Self::new(capacity, tries, ln_empty, success);
        // A tower that succeeds more often has a shorter queue.
        let success = solve(0.0, 1.0, |success| queue(success).1 >= ln_empty);
        queue(success).0
    }

    /// Returns the queue, and the logarithm of the probability that the queue is empty at a tick.
    fn new(capacity: u32, tries: u32, ln_empty: f64, success: f64) -> (Self, f64) {
        let capacity = capacity as usize;
        // With a success in each of `tries` offers, a tick moves a message with `success`.
        let each = 1.0 - (1.0 - success).powf(1.0 / f64::from(tries));
        let offers = -ln_empty.exp_m1() * success / each.max(f64::MIN_POSITIVE);
        let none = (-offers).exp();
        // The probability of exactly `i` offers between two ticks, and then of at least `i`.
        let mut at_least = [0.0; MOST_OFFERS + 1];
        let mut exactly = none;
        for (number, entry) in (1..).zip(&mut at_least) {
            *entry = exactly;
            exactly *= offers / f64::from(number);
        }
        for count in (0..MOST_OFFERS).rev() {
            at_least[count] += at_least[count + 1];
        }
        let mut lengths = vec![1.0];
        let mut scale = 0.0;
        for length in 0..capacity {
            let up = |(share, offered): (&f64, usize)| {
                let more = if length + 2 > capacity { 0.0 } else { at_least[offered + 1] };
                share * (more * success + at_least[offered] * (1.0 - success))
            };
            let up: f64 = lengths.iter().rev().zip(1..MOST_OFFERS).map(up).sum();
            // A full queue takes no offers, so it gets shorter with every success.
            let no_offer = if length + 1 == capacity { 1.0 } else { none };
            lengths.push(up / (success * no_offer).max(f64::MIN_POSITIVE));
            let longest = lengths[length + 1];
            if longest > 1e100 {
                lengths.iter_mut().for_each(|share| *share /= longest);
                scale += longest.ln();
            }
        }
        let sum: f64 = lengths.iter().sum();
        let ln_empty_now = -offers - scale - sum.ln();
        lengths.iter_mut().for_each(|share| *share /= sum);
        let mut excess = vec![0.0; MOST_OFFERS];
        let mut beyond = 0.0;
        for count in (0..MOST_OFFERS).rev() {
            beyond += at_least[count + 1];
            excess[count] = beyond / offers.max(f64::MIN_POSITIVE);
        }
        (Self { success, lengths, excess }, ln_empty_now)
    }

    /// Returns the mean length over the time.
    fn mean(&self) -> f64 {
        let capacity = self.lengths.len() - 1;
        let grows =
            |length: usize| -> f64 { self.excess.iter().skip(1).take(capacity - length).sum() };
        let lengths = self.lengths.iter().zip(0..).zip((0..).map(f64::from));
        lengths.map(|((share, length), number)| share * (number + grows(length))).sum()
    }
}

/// The most offers between two ticks that are looked at. The mean is at most the number of tries.
const MOST_OFFERS: usize = 40;

#[cfg(test)]
mod tests {
    use super::super::random::Random;
    use super::*;

    /// Returns the share of ticks that move a message in a naive model.
    fn model(capacity: u32, fill: f64, tries: u32, ticks: Ticks) -> f64 {
        const TOWERS: usize = 500;
        let mut random = Random(9);
        let mut queues = vec![0; TOWERS];
        let messages = (f64::from(capacity) * fill * TOWERS as f64).round();
        let mut left = messages;
        while left > 0.0 {
            let tower = random.below(TOWERS);
            if queues[tower] < capacity {
                queues[tower] += 1;
                left -= 1.0;
            }
        }
        let (mut tried, mut succeeded) = (0, 0);
        for tick in 0..800_000 {
            let tower = match ticks {
                Ticks::Random => random.below(TOWERS),
                Ticks::Periodic => tick % TOWERS,
            };
            if queues[tower] == 0 {
                continue;
            }
            let receiver = (0..tries)
                .map(|_| random.other(tower, TOWERS))
                .find(|receiver| queues[*receiver] < capacity);
            if let Some(receiver) = receiver {
                queues[tower] -= 1;
                queues[receiver] += 1;
            }
            // The first half brings the network into equilibrium.
            if tick >= 400_000 {
                tried += 1;
                succeeded += i32::from(receiver.is_some());
            }
        }
        f64::from(succeeded) / f64::from(tried)
    }

    #[test]
    fn hand_overs_succeed_as_computed() {
        for ticks in [Ticks::Random, Ticks::Periodic] {
            for (capacity, fill, tries) in [
                (8, 0.5, 1),
                (32, 0.2, 1),
                (32, 0.8, 1),
                (32, 0.95, 1),
                (32, 0.99, 1),
                (32, 0.95, 3),
                (8, 0.9, 2),
            ] {
                let computed = success_share(capacity, fill, tries, ticks);
                let seen = model(capacity, fill, tries, ticks);
                assert!(
                    (computed / seen - 1.0).abs() < 0.01,
                    "{ticks:?} {capacity} {fill} {tries}: {computed} {seen}"
                );
            }
        }
    }

    #[test]
    fn all_hand_overs_succeed_in_an_empty_network_and_none_in_a_full_one() {
        for ticks in [Ticks::Random, Ticks::Periodic] {
            let share = |fill| success_share(32, fill, 1, ticks);
            assert_eq!((share(0.0), share(1.0)), (1.0, 0.0));
            let shares = [0.2, 0.5, 0.8, 0.9, 0.99, 0.999].map(share);
            assert!(shares.is_sorted_by(|more, less| more > less), "{ticks:?} {shares:?}");
        }
    }

    #[test]
    fn long_queues_are_computed_as_well() {
        let share = success_share(1_000, 0.95, 1, Ticks::Periodic);
        // The queue has 50 free places on average, so it is seldom full.
        assert!((0.97..0.995).contains(&share), "{share}");
    }
}
