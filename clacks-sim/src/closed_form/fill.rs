//! Fill: the share of hand-overs that succeed in a nearly full network.

/// Returns the share of hand-overs that succeed if a tower offers a message to at most `tries`
/// peers.
///
/// `capacity` is the maximum number of messages in a queue. `fill` is the mean length of a queue as
/// a share of the capacity, from 0 to 1. A hand-over fails if the queue of the receiver is full.
///
/// Hand-overs move messages between queues at the same rate in both directions, so the number of
/// messages in a queue is distributed geometrically between 0 and the capacity. The ratio of the
/// distribution follows from its mean, which is `fill` times `capacity`. The share is the
/// probability that the queue of a random receiver is not full. In the model, ticks are at random
/// times, and the receiver is a random tower.
#[must_use]
pub fn success_share(capacity: u32, fill: f64, tries: u32) -> f64 {
    let tries = i32::try_from(tries).unwrap_or(i32::MAX);
    1.0 - (1.0 - has_room(capacity, fill)).powi(tries)
}

/// Returns the probability that a queue is not full.
fn has_room(capacity: u32, fill: f64) -> f64 {
    if fill >= 1.0 || capacity == 0 {
        return 0.0;
    }
    if fill <= 0.0 {
        return 1.0;
    }
    // The mean grows with the ratio, so bisection finds the ratio. The variables are logarithms of
    // the ratio.
    let (mut low, mut high) = (-64.0_f64, 64.0_f64);
    for _ in 0..100 {
        let middle = (low + high) / 2.0;
        let (mean, _) = queue(capacity, middle);
        if mean < fill * f64::from(capacity) { low = middle } else { high = middle }
    }
    let (_, full) = queue(capacity, low);
    1.0 - full
}

/// Returns the mean of a geometric distribution from 0 to `capacity`, and the probability of
/// `capacity`.
fn queue(capacity: u32, ln_ratio: f64) -> (f64, f64) {
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

#[cfg(test)]
mod tests {
    use super::super::statistics::tests::Random;
    use super::*;

    /// Returns the share of hand-overs that succeed in a naive model with random ticks.
    fn model(capacity: u32, fill: f64, tries: u32) -> f64 {
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
            let tower = random.below(TOWERS);
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
        for (capacity, fill, tries) in
            [(8, 0.5, 1), (32, 0.8, 1), (32, 0.95, 1), (32, 0.99, 1), (32, 0.95, 3), (8, 0.9, 2)]
        {
            let (predicted, seen) =
                (success_share(capacity, fill, tries), model(capacity, fill, tries));
            assert!((predicted / seen - 1.0).abs() < 0.01, "{capacity} {fill}: {predicted} {seen}");
        }
    }

    #[test]
    fn all_hand_overs_succeed_in_an_empty_network_and_none_in_a_full_one() {
        assert_eq!((success_share(32, 0.0, 1), success_share(32, 1.0, 4)), (1.0, 0.0));
        let shares = [0.2, 0.5, 0.8, 0.9, 0.99].map(|fill| success_share(32, fill, 1));
        assert!(shares.is_sorted_by(|more, less| more > less), "{shares:?}");
    }
}
