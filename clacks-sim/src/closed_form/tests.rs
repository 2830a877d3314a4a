//! The formulas against a naive simulation: queues, ticks and a wire, and nothing else.

use std::collections::VecDeque;

use super::*;

/// Words that look random enough for queues.
struct Words(u64);

impl Words {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }
}

/// What a simulated network came to, period by period.
struct Run {
    used: Vec<f64>,
    wire: Vec<f64>,
}

/// Every tower ticks once in each period. One in `skips` ticks is lost, which a right network never does.
fn simulate(network: CalmNetwork, periods: usize, seed: u64, skips: Option<u64>) -> Run {
    let mut words = Words(seed);
    let towers = network.towers as usize;
    let mut phases: Vec<_> = (0..towers).map(|_| words.unit()).collect();
    phases.sort_by(f64::total_cmp);
    let mut queues = vec![0u32; towers];
    (0..network.messages).for_each(|_| queues[words.below(towers)] += 1);
    let latency = network.latency * network.send_rate;
    let mut wire: VecDeque<(f64, usize)> = VecDeque::new();
    let mut run = Run { used: Vec::new(), wire: Vec::new() };
    let (mut used, mut flown, mut last, mut random) = (0u32, 0.0, 0.0, 0.0);
    for period in 0..periods {
        for (place, phase) in phases.iter().enumerate() {
            let (at, tower) = match network.ticks {
                Ticks::Grid => (period as f64 + phase, place),
                Ticks::Random => {
                    random -= (1.0 - words.unit()).ln() / towers as f64;
                    (random, words.below(towers))
                }
            };
            while let Some((arrives, to)) = wire.front().copied().filter(|(due, _)| *due <= at) {
                flown += (arrives - last) * wire.len() as f64;
                last = arrives;
                wire.pop_front();
                queues[to] += 1;
            }
            flown += (at - last) * wire.len() as f64;
            last = at;
            let is_skipped = skips.is_some_and(|one_in| words.next().is_multiple_of(one_in));
            if queues[tower] > 0 && !is_skipped {
                queues[tower] -= 1;
                used += 1;
                let other = words.below(towers - 1);
                wire.push_back((at + latency, other + usize::from(other >= tower)));
            }
        }
        run.used.push(f64::from(std::mem::take(&mut used)) / towers as f64);
        run.wire.push(std::mem::take(&mut flown));
    }
    // What comes before the balance.
    run.used.drain(..periods / 5);
    run.wire.drain(..periods / 5);
    run
}

fn mean(samples: &[f64]) -> f64 {
    samples.iter().sum::<f64>() / samples.len() as f64
}

fn network(towers: u32, messages: u32, latency: f64, ticks: Ticks) -> CalmNetwork {
    // Two ticks a second: half a second is a period.
    CalmNetwork { towers, messages, send_rate: 2.0, latency, ticks }
}

#[test]
fn the_predictions_are_right_to_one_per_cent() {
    for ticks in [Ticks::Grid, Ticks::Random] {
        for (towers, messages) in [(20, 60), (100, 20), (100, 100), (100, 300)] {
            for latency in [0.0, 0.065, 0.5, 1.3] {
                let network = network(towers, messages, latency, ticks);
                let run = simulate(network, 300_000 / towers as usize, 1, None);
                let error = network.used_share() / mean(&run.used) - 1.0;
                assert!(error.abs() < 0.01, "{network:?}: {error}");
                if latency > 0.0 {
                    let error = network.on_the_wire() / mean(&run.wire) - 1.0;
                    assert!(error.abs() < 0.01, "{network:?}: wire {error}");
                }
                let heard = mean(&run.used) * 2.0 / f64::from(messages);
                assert!((network.heard() / heard - 1.0).abs() < 0.01, "{network:?}: heard");
            }
        }
    }
}

#[test]
fn large_networks_follow_the_simple_law() {
    for waiting in [0.1, 1.0, 5.0] {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a small number"
        )]
        let messages = (waiting * 100_000.0) as u32;
        let grid = network(100_000, messages, 0.0, Ticks::Grid).used_share();
        let random = network(100_000, messages, 0.0, Ticks::Random).used_share();
        assert!((grid - 2.0 * waiting / (1.0 + 2.0 * waiting)).abs() < 1e-4);
        assert!((random - waiting / (1.0 + waiting)).abs() < 1e-4);
        let far = network(100_000, messages, 0.3, Ticks::Grid);
        let waits = waiting - far.on_the_wire() / 100_000.0;
        assert!((far.used_share() - 2.0 * waits / (1.0 + 2.0 * waits)).abs() < 1e-4);
    }
}

#[test]
fn small_networks_without_latency_follow_the_closed_forms() {
    for (towers, messages) in [(2, 1), (2, 6), (5, 5), (30, 90)] {
        let (n, m) = (f64::from(towers), f64::from(messages));
        let grid = network(towers, messages, 0.0, Ticks::Grid).used_share();
        let random = network(towers, messages, 0.0, Ticks::Random).used_share();
        assert!((grid - m / (n / 2.0 + m - 1.0)).abs() < 1e-12);
        assert!((random - m / (n + m - 1.0)).abs() < 1e-12);
    }
}

#[test]
fn right_runs_agree_and_runs_that_lose_ticks_do_not() {
    let network = network(60, 60, 0.065, Ticks::Grid);
    let judge = |seed, skips| {
        let run = simulate(network, 4_000, seed, skips);
        let share = network.judge_used_share(Average::of(&run.used).unwrap());
        let wire = network.judge_wire(Average::of(&run.wire).unwrap());
        assert!(share.sigma / share.predicted < 0.02, "{share:?}");
        (share.agrees(), wire.agrees())
    };
    for seed in 0..20 {
        assert_eq!(judge(seed, None), (true, true), "seed {seed}");
        assert_eq!(judge(seed, Some(5)), (false, false), "seed {seed}");
    }
}

#[test]
fn the_phases_of_a_run_spread_as_computed() {
    let network = network(10, 2, 0.125, Ticks::Grid);
    // A quarter of a period is where they spread most.
    let shares: Vec<_> =
        (0..60).map(|seed| mean(&simulate(network, 20_000, seed, None).used)).collect();
    let squares: f64 = shares.iter().map(|share| (share - network.used_share()).powi(2)).sum();
    let seen = (squares / 60.0).sqrt();
    let none = Average { mean: 0.0, sigma: 0.0 };
    let computed = network.judge_used_share(none).sigma.abs();
    assert!((0.7..1.4).contains(&(seen / computed)), "{seen} against {computed}");
}

#[test]
fn batches_see_that_samples_are_alike() {
    // Each sample keeps nine tenths of the one before: the mean of n has (1 + 0.9) / (1 - 0.9) = 19 times the variance of single ones divided by n.
    let (mut words, mut value) = (Words(3), 0.0);
    let samples: Vec<_> = (0..20_000)
        .map(|_| {
            value = 0.9 * value + words.unit() - 0.5;
            value
        })
        .collect();
    let average = Average::of(&samples).unwrap();
    let single = (1.0 / 12.0 / (1.0 - 0.81) / 20_000.0_f64).sqrt();
    let expected = single * 19.0_f64.sqrt();
    assert!((0.6..1.5).contains(&(average.sigma / expected)), "{average:?} against {expected}");
    assert!(average.mean.abs() < 4.0 * expected);
    assert_eq!(Average::of(&samples[..39]), None);
}

#[test]
fn three_sigma_is_the_limit() {
    let capacity = |measured, sigma| Capacity { predicted: 2.0, measured, sigma };
    assert!(capacity(2.29, 0.1).agrees());
    assert!(!capacity(2.31, 0.1).agrees());
    assert!(!capacity(1.69, 0.1).agrees());
    assert!(!capacity(f64::NAN, 0.1).agrees());
    assert!(!capacity(2.0, f64::NAN).agrees());
    assert!((capacity(2.5, 0.1).relative_error() - 0.25).abs() < 1e-12);
}
