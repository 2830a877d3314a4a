//! The test scenario of the original JavaScript implementation, in memory.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use clacks_proto::{Notice, Status};
use common::{fast_config, network, seconds, tower};

fn are_alive(network: &common::Network, pairs: &[(usize, usize)]) -> bool {
    pairs.iter().all(|(a, b)| network.status(*a, *b) == Some(Status::Alive))
}

const PAIRS_OF_THREE: [(usize, usize); 6] = [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)];

#[test]
fn three_towers_meet_and_a_fourth_is_lost_and_returns() {
    let config = fast_config();
    let mut network = network(4, &config);
    network.towers[3] = None;

    // Step 1: two towers know each other, and a message circulates. A third tower announces itself
    // to the first one. All three become alive and receive the message.
    network.expand(0, 1);
    network.expand(1, 0);
    network.enqueue(0, "Hello Discworld!");
    network.announce(2, 0);
    assert!(network.run_until(seconds(30), |network| are_alive(network, &PAIRS_OF_THREE)));
    for n in 0..3 {
        assert!(network.run_until(seconds(30), |network| {
            network.has_notice(n, |notice| matches!(notice, Notice::MessageReceived { .. }))
        }));
    }

    // Step 2: a fourth tower announces itself to the first one, and all learn it. The fourth tower
    // crashes while it holds no message. The others detect the crash.
    network.towers[3] = Some(tower(3, &config));
    network.announce(3, 0);
    let all_are_alive = |network: &common::Network| {
        are_alive(network, &PAIRS_OF_THREE)
            && are_alive(network, &[(0, 3), (1, 3), (2, 3), (3, 0), (3, 1), (3, 2)])
    };
    assert!(network.run_until(seconds(60), all_are_alive));
    assert!(network.run_until(seconds(60), |network| {
        let in_flight =
            (0..3).any(|n| network.tower(n).peek().any(|held| common::is_in_flight(&held)));
        network.texts(3).is_empty() && !in_flight
    }));
    network.crash(3);
    let lost =
        |network: &common::Network| (0..3).all(|n| network.status(n, 3) == Some(Status::Lost));
    assert!(network.run_until(seconds(60), lost));

    // Step 3: the fourth tower restarts without an announce. The others find it again.
    network.towers[3] = Some(tower(3, &config));
    assert!(network.run_until(seconds(300), all_are_alive));
    let copies: usize = (0..4).map(|n| network.texts(n).len()).sum();
    assert_eq!(copies, 1, "one copy of the message is left");
}
