//! Many towers in one process.

use std::time::Duration;

use clacks_proto::{Config, Notice, SendRate};

use crate::network::{Network, RunningTower, Runtimes};

const TOWERS: usize = 200;

/// Small enough that all of them, with what their runtimes need, stay within 1 024 descriptors.
const MAX_LINKS: usize = 2;

pub(crate) fn two_hundred_towers_in_one_process_all_hear_something(runtimes: Runtimes) {
    let mut network = Network::alone(runtimes);
    let mut towers: Vec<RunningTower> = (0..TOWERS).map(|_| network.raise_with(config())).collect();
    // A ring, which is all that most of them know at first.
    for (n, tower) in towers.iter().enumerate() {
        tower.expand(&towers[(n + 1) % TOWERS].address).unwrap();
    }
    // Few enough that a tower hears something only because others hand it on.
    for tower in towers.iter().step_by(10) {
        for _ in 0..10 {
            tower.enqueue_text("Hello Discworld!");
        }
    }
    for tower in &mut towers {
        tower.hears("anything", |notice| {
            matches!(notice, Notice::MessageReceived { .. }).then_some(())
        });
    }
}

fn config() -> Config {
    let mut config = Config::default();
    config.send_rate = SendRate::Every(Duration::from_millis(20));
    config.probe_backoff = Duration::from_millis(20);
    config.heartbeat = None;
    config.max_peers = 16;
    config.max_links = MAX_LINKS;
    config.max_half_open = 1;
    config
}
