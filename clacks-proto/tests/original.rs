//! The three steps by which the original is tested, in memory.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use clacks_proto::{Notice, Status};
use common::{net, quick, seconds, tower};

fn is_alive(net: &common::Net, pairs: &[(usize, usize)]) -> bool {
    pairs.iter().all(|(a, b)| net.status(*a, *b) == Some(Status::Alive))
}

const THREE: [(usize, usize); 6] = [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)];

#[test]
fn three_steps() {
    let config = quick();
    let mut net = net(4, &config);
    net.towers[3] = None;

    // Step 1: two towers know each other, a message circulates, a third announces itself to the
    // first.
    net.expand(0, 1);
    net.expand(1, 0);
    net.enqueue(0, "Hello Discworld!");
    net.announce(2, 0);
    assert!(net.run_until(seconds(30), |net| is_alive(net, &THREE)));
    for n in 0..3 {
        assert!(net.run_until(seconds(30), |net| {
            net.has_notice(n, |notice| matches!(notice, Notice::MessageReceived { .. }))
        }));
    }

    // Step 2: a fourth announces itself to the first, all learn of it, it dies holding nothing, and
    // is lost.
    net.towers[3] = Some(tower(3, &config));
    net.announce(3, 0);
    let all = |net: &common::Net| {
        is_alive(net, &THREE) && is_alive(net, &[(0, 3), (1, 3), (2, 3), (3, 0), (3, 1), (3, 2)])
    };
    assert!(net.run_until(seconds(60), all));
    assert!(net.run_until(seconds(60), |net| {
        let in_flight = (0..3).any(|n| net.tower(n).peek().any(|held| common::is_in_flight(&held)));
        net.texts(3).is_empty() && !in_flight
    }));
    net.kill(3);
    let lost = |net: &common::Net| (0..3).all(|n| net.status(n, 3) == Some(Status::Lost));
    assert!(net.run_until(seconds(60), lost));

    // Step 3: it comes back without announcing itself, and the others remember it.
    net.towers[3] = Some(tower(3, &config));
    assert!(net.run_until(seconds(300), all));
    let copies: usize = (0..4).map(|n| net.texts(n).len()).sum();
    assert_eq!(copies, 1, "the message is still there, once");
}
