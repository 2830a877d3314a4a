//! Tests that compare the formulas with a naive model of queues, ticks and a wire.

use std::collections::VecDeque;

use super::super::random::Random;
use super::*;

/// The result of the naive model, with one value for each period.
struct Run {
    /// The share of used ticks.
    used: Vec<f64>,
    /// The mean number of messages on the wire.
    wire: Vec<f64>,
}

/// Simulates towers that tick once in each period.
fn simulate(network: CalmNetwork, periods: usize, seed: u64) -> Run {
    let mut random = Random(seed);
    let towers = network.towers as usize;
    let mut phases: Vec<_> = (0..towers).map(|_| random.unit()).collect();
    phases.sort_by(f64::total_cmp);
    let mut queues = vec![0u32; towers];
    (0..network.messages).for_each(|_| queues[random.below(towers)] += 1);
    let latency = network.latency * network.send_rate;
    let mut wire: VecDeque<(f64, usize)> = VecDeque::new();
    let mut run = Run { used: Vec::new(), wire: Vec::new() };
    let (mut used, mut flown, mut last, mut now) = (0u32, 0.0, 0.0, 0.0);
    for period in 0..periods {
        for (place, phase) in phases.iter().enumerate() {
            let (at, tower) = match network.ticks {
                Ticks::Periodic => (period as f64 + phase, place),
                Ticks::Random => {
                    now += random.exponential(1.0 / towers as f64);
                    (now, random.below(towers))
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
            if queues[tower] > 0 {
                queues[tower] -= 1;
                used += 1;
                wire.push_back((at + latency, random.other(tower, towers)));
            }
        }
        run.used.push(f64::from(std::mem::take(&mut used)) / towers as f64);
        run.wire.push(std::mem::take(&mut flown));
    }
    // The network is not in equilibrium in the first fifth of the run.
    run.used.drain(..periods / 5);
    run.wire.drain(..periods / 5);
    run
}

fn mean(samples: &[f64]) -> f64 {
    samples.iter().sum::<f64>() / samples.len() as f64
}

fn network(towers: u32, messages: u32, latency: f64, ticks: Ticks) -> CalmNetwork {
    // With two ticks in a second, a period is half a second.
    CalmNetwork { towers, messages, send_rate: 2.0, latency, ticks }
}

#[test]
fn the_predictions_are_right_to_one_per_cent() {
    for ticks in [Ticks::Periodic, Ticks::Random] {
        for (towers, messages) in [(20, 60), (100, 20), (100, 100), (100, 300)] {
            for latency in [0.0, 0.065, 0.5, 1.3] {
                let network = network(towers, messages, latency, ticks);
                let run = simulate(network, 300_000 / towers as usize, 1);
                let error = network.used_share() / mean(&run.used) - 1.0;
                assert!(error.abs() < 0.01, "{network:?}: {error}");
                if latency > 0.0 {
                    let error = network.on_the_wire() / mean(&run.wire) - 1.0;
                    assert!(error.abs() < 0.01, "{network:?}: wire {error}");
                }
            }
        }
    }
}

#[test]
fn large_networks_follow_the_simple_formula() {
    for waiting in [0.1, 1.0, 5.0] {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a small number"
        )]
        let messages = (waiting * 100_000.0) as u32;
        let grid = network(100_000, messages, 0.0, Ticks::Periodic).used_share();
        let random = network(100_000, messages, 0.0, Ticks::Random).used_share();
        assert!((grid - 2.0 * waiting / (1.0 + 2.0 * waiting)).abs() < 1e-4);
        assert!((random - waiting / (1.0 + waiting)).abs() < 1e-4);
        let far = network(100_000, messages, 0.3, Ticks::Periodic);
        let waits = waiting - far.on_the_wire() / 100_000.0;
        assert!((far.used_share() - 2.0 * waits / (1.0 + 2.0 * waits)).abs() < 1e-4);
    }
}

#[test]
fn small_networks_without_latency_follow_the_closed_forms() {
    for (towers, messages) in [(2, 1), (2, 6), (5, 5), (30, 90)] {
        let (n, m) = (f64::from(towers), f64::from(messages));
        let grid = network(towers, messages, 0.0, Ticks::Periodic).used_share();
        let random = network(towers, messages, 0.0, Ticks::Random).used_share();
        assert!((grid - m / (n / 2.0 + m - 1.0)).abs() < 1e-12);
        assert!((random - m / (n + m - 1.0)).abs() < 1e-12);
    }
}
