//! The three steps by which the original is tested, in memory.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use clacks_proto::{Notice, Status};
use common::{fast_config, network, seconds, tower};

fn is_alive(network: &common::Network, pairs: &[(usize, usize)]) -> bool {
    pairs.iter().all(|(a, b)| network.status(*a, *b) == Some(Status::Alive))
}

const THREE: [(usize, usize); 6] = [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)];

#[test]
fn three_steps() {
    let config = fast_config();
    let mut network = network(4, &config);
    network.towers[3] = None;

    // Step 1: two towers know each other, a message circulates, a third announces itself to the
    // first.
    network.expand(0, 1);
    network.expand(1, 0);
    network.enqueue(0, "Hello Discworld!");
    network.announce(2, 0);
    assert!(network.run_until(seconds(30), |network| is_alive(network, &THREE)));
    for n in 0..3 {
        assert!(network.run_until(seconds(30), |network| {
            network.has_notice(n, |notice| matches!(notice, Notice::MessageReceived { .. }))
        }));
    }

    // Step 2: a fourth announces itself to the first, all learn of it, it dies holding nothing, and
    // is lost.
    network.towers[3] = Some(tower(3, &config));
    network.announce(3, 0);
    let all = |network: &common::Network| {
        is_alive(network, &THREE)
            && is_alive(network, &[(0, 3), (1, 3), (2, 3), (3, 0), (3, 1), (3, 2)])
    };
    assert!(network.run_until(seconds(60), all));
    assert!(network.run_until(seconds(60), |network| {
        let in_flight =
            (0..3).any(|n| network.tower(n).peek().any(|held| common::is_in_flight(&held)));
        network.texts(3).is_empty() && !in_flight
    }));
    network.crash(3);
    let lost =
        |network: &common::Network| (0..3).all(|n| network.status(n, 3) == Some(Status::Lost));
    assert!(network.run_until(seconds(60), lost));

    // Step 3: it comes back without announcing itself, and the others remember it.
    network.towers[3] = Some(tower(3, &config));
    assert!(network.run_until(seconds(300), all));
    let copies: usize = (0..4).map(|n| network.texts(n).len()).sum();
    assert_eq!(copies, 1, "the message is still there, once");
}
