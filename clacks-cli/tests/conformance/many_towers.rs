//! Many towers, and many connections, in one process.

use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

use clacks_proto::{Config, Notice, SendRate};

use crate::network::{
    FOREVER, Network, RunningTower, Runtimes, connect, quick, quiet, without_timeouts,
};

pub(crate) fn each_of_two_hundred_towers_receives_a_message(runtimes: Runtimes) {
    const TOWERS: usize = 200;

    let mut config = Config::default();
    config.send_rate = SendRate::Every(Duration::from_millis(20));
    config.probe_backoff = Duration::from_millis(20);
    config.heartbeat = None;
    config.max_peers = 16;
    // With the descriptors of the runtimes, all towers need less than 1 024 descriptors.
    config.max_links = 2;
    config.max_unproved = 1;
    let mut network = Network::exclusive(runtimes);
    let mut towers: Vec<RunningTower> =
        (0..TOWERS).map(|_| network.start(config.clone())).collect();
    // At first each tower knows one other tower, in a ring.
    for (n, tower) in towers.iter().enumerate() {
        tower.expand(&towers[(n + 1) % TOWERS].address).unwrap();
    }
    // Most towers receive a message only if other towers hand it on.
    for tower in towers.iter().step_by(10) {
        for _ in 0..10 {
            tower.enqueue_text("Hello Discworld!");
        }
    }
    for tower in &mut towers {
        tower.wait_for("a message", |notice| {
            matches!(notice, Notice::MessageReceived { .. }).then_some(())
        });
    }
}

pub(crate) fn a_tower_discovers_fifty_towers_that_hand_it_messages(runtimes: Runtimes) {
    let mut network = Network::exclusive(runtimes);
    let mut towers: Vec<_> = (0..50).map(|_| network.start_clear(quick())).collect();
    let hub = towers[0].address.clone();
    for tower in &towers[1..] {
        tower.expand(&hub).unwrap();
        tower.enqueue_text("hello");
    }
    towers[0].wait_until("49 peers", |hub| hub.survey().len() == 49);
    assert!(towers.iter().all(|tower| tower.stats().links_misbehaved == 0));
}

pub(crate) fn silent_connections_do_not_delay_messages(runtimes: Runtimes) {
    /// Both ends of each connection are in this process, which may have 1 024 descriptors.
    const SILENT: usize = 400;
    /// Fits into the queue of a listener.
    const BATCH: usize = 100;

    let mut network = Network::exclusive(runtimes);
    let mut config = quick();
    config.max_links = 2 * SILENT;
    config.max_unproved = 2 * SILENT - 1;
    config.timeouts.handshake = FOREVER;
    let mut tower = network.start_clear(config);
    let peer = network.start_clear(quiet());
    let mut silent = Vec::new();
    while silent.len() < SILENT {
        let mut batch: Vec<TcpStream> = (0..BATCH).map(|_| connect(tower.socket)).collect();
        // The tower has accepted a connection when it has sent a hello.
        batch.iter_mut().for_each(|caller| caller.read_exact(&mut [0; 1]).unwrap());
        silent.append(&mut batch);
    }
    tower.expand(&peer.address).unwrap();
    for _ in 0..100 {
        tower.enqueue_text("busy");
    }
    tower.wait_for_deliveries(100);
    assert_eq!(tower.stats().links_accepted, u64::try_from(SILENT).unwrap());
}

pub(crate) fn connections_over_the_limit_are_dropped(runtimes: Runtimes) {
    let mut network = Network::new(runtimes);
    let mut config = without_timeouts();
    config.max_unproved = 4;
    let mut tower = network.start_clear(config);
    let mut first = connect(tower.socket);
    first.read_exact(&mut [0; 1]).unwrap();
    let mut callers: Vec<TcpStream> = (0..4).map(|_| connect(tower.socket)).collect();
    callers.iter_mut().for_each(|caller| caller.read_exact(&mut [0; 1]).unwrap());
    // The oldest connection is aborted.
    while first.read(&mut [0; 64]).is_ok_and(|count| count > 0) {}
    tower.wait_until("four links", |tower| tower.links().len() == 4);
    assert_eq!(tower.stats().links_accepted, 5);
}
