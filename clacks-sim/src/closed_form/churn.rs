//! Churn: the survival of messages while towers leave and return.

/// Returns the probability that a message is alive after a time.
///
/// `sessions` is the time in mean sessions of a tower. `graceful` is the share of sessions that end
/// with a shutdown, in which the tower hands over all its messages. The other sessions end with a
/// crash.
///
/// A message is in one tower at a time, and is lost when this tower crashes. The number of hops
/// does not matter, because each tower crashes with the same probability. Sessions have exponential
/// lengths, so the probability is `exp(-sessions (1 - graceful))`.
#[must_use]
pub fn message_survival(sessions: f64, graceful: f64) -> f64 {
    (-sessions * (1.0 - graceful)).exp()
}

/// Returns the probability that at least `k` of `n` messages are alive, if each is alive with
/// probability `alive` and independently of the others.
#[must_use]
pub fn group_survival(n: u32, k: u32, alive: f64) -> f64 {
    if k == 0 || alive >= 1.0 {
        return if k <= n { 1.0 } else { 0.0 };
    }
    if alive <= 0.0 {
        return 0.0;
    }
    // Logarithms, because the powers of a wide group underflow.
    let (ln_alive, ln_dead) = (alive.ln(), (-alive).ln_1p());
    let mut ln_ways = 0.0;
    let mut sum = 0.0;
    for dead in 0..=n.saturating_sub(k).min(n) {
        let living = n - dead;
        if living >= k {
            sum += (ln_ways + f64::from(living) * ln_alive + f64::from(dead) * ln_dead).exp();
        }
        ln_ways += (f64::from(living) / f64::from(dead + 1)).ln();
    }
    sum.min(1.0)
}

#[cfg(test)]
mod tests {
    use super::super::random::Random;
    use super::*;

    /// Returns the share of messages that are alive in a naive model after `tenths` tenths of a
    /// mean session. Each message hops once in a tenth, and a tower that crashes is replaced.
    fn model(tenths: u32, graceful: f64) -> f64 {
        const TOWERS: usize = 10_000;
        const MESSAGES: usize = 20_000;
        let mut random = Random(7);
        let mut ends: Vec<_> = (0..TOWERS).map(|_| random.exponential(1.0)).collect();
        let mut messages: Vec<_> = (0..MESSAGES).map(|_| random.below(TOWERS)).collect();
        for tenth in 1..=tenths {
            let now = f64::from(tenth) / 10.0;
            let mut crashed = [false; TOWERS];
            for (end, crashed) in ends.iter_mut().zip(&mut crashed) {
                while *end < now {
                    *end += random.exponential(1.0);
                    *crashed |= random.unit() >= graceful;
                }
            }
            messages.retain(|tower| !crashed[*tower]);
            for tower in &mut messages {
                *tower = random.other(*tower, TOWERS);
            }
        }
        messages.len() as f64 / MESSAGES as f64
    }

    #[test]
    fn the_survival_of_messages_is_as_computed() {
        for (tenths, graceful) in [(2, 0.0), (5, 0.0), (10, 0.0), (20, 0.9), (10, 0.5)] {
            let sessions = f64::from(tenths) / 10.0;
            let predicted = message_survival(sessions, graceful);
            let seen = model(tenths, graceful);
            assert!((predicted - seen).abs() < 0.02, "{sessions} {graceful}: {predicted}, {seen}");
        }
    }

    #[test]
    fn the_survival_of_groups_is_binomial() {
        // The formula for 2 of 3 is p^3 + 3 p^2 q.
        let by_hand = 0.7_f64.powi(3) + 3.0 * 0.7_f64.powi(2) * 0.3;
        assert!((group_survival(3, 2, 0.7) - by_hand).abs() < 1e-12);
        assert!((group_survival(1, 1, 0.25) - 0.25).abs() < 1e-12);
        // By symmetry, at least 129 of 257 are alive with probability one half.
        assert!((group_survival(257, 129, 0.5) - 0.5).abs() < 1e-9);
        assert!(group_survival(1_000, 999, 0.01) >= 0.0);
        for (n, k, alive, expected) in [
            (4, 0, 0.1, 1.0),
            (4, 5, 0.9, 0.0),
            (4, 5, 1.0, 0.0),
            (4, 4, 1.0, 1.0),
            (4, 1, 0.0, 0.0),
        ] {
            assert!((group_survival(n, k, alive) - expected).abs() < 1e-12, "{n} {k} {alive}");
        }
    }

    #[test]
    fn a_larger_group_survives_longer_with_the_same_redundancy() {
        let survival = |n, k| group_survival(n, k, message_survival(0.4, 0.0));
        assert!(survival(256, 128) > survival(32, 16));
    }
}
