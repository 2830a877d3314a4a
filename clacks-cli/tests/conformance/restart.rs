//! Towers at an unlimited send rate, one of which is killed and started again.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::time::Duration;

use clacks_proto::tls::{Identity, SecureTower};
use clacks_proto::{Config, SendRate, Status};

use crate::network::{Network, RunningTower, Runtimes, TowerOptions, listen, listen_again};
use crate::recorder::{Recorder, Records};

const TOWERS: usize = 5;
const MESSAGES: usize = 10_000;

struct RecordedTower {
    tower: RunningTower<Recorder<SecureTower>>,
    records: Records,
}

impl RecordedTower {
    fn start(network: &mut Network, identity: &Identity, listener: TcpListener) -> Self {
        let mut config = Config::default();
        config.send_rate = SendRate::Unlimited;
        config.probe_backoff = Duration::from_millis(50);
        let (identity, listener) = (identity.clone(), Some(listener));
        let options = TowerOptions { identity, listener, ..config.into() };
        let records = Records::default();
        let tower = network.start_secure_machine(options, |tower| Recorder::new(tower, &records));
        Self { tower, records }
    }

    /// Returns the texts that the tower held when it was killed.
    fn kill(self) -> BTreeSet<String> {
        self.tower.kill();
        let queue = self.records.last_queue();
        queue.iter().map(|held| held.message.as_text().unwrap().to_owned()).collect()
    }
}

fn wait_until_all_alive(towers: &mut [RecordedTower]) {
    for RecordedTower { tower, .. } in towers {
        tower.wait_until("live peers", |tower| tower.status_counts().alive as usize == TOWERS - 1);
    }
}

pub(crate) fn only_messages_that_a_killed_tower_held_are_lost(runtimes: Runtimes) {
    let identities: Vec<_> = (0..TOWERS).map(|_| Identity::generate().unwrap()).collect();
    let mut network = Network::new(runtimes);
    let mut towers: Vec<_> = identities
        .iter()
        .map(|identity| RecordedTower::start(&mut network, identity, listen()))
        .collect();
    let first = towers[0].tower.address.clone();
    for RecordedTower { tower, .. } in &towers[1..] {
        tower.announce(&first).unwrap();
    }
    for n in 0..MESSAGES {
        towers[n % TOWERS].tower.enqueue_text(&format!("message {n}"));
    }

    let mut lost = BTreeSet::new();
    // The first kills may come at a moment when the tower holds few messages.
    while lost.len() <= 100 {
        wait_until_all_alive(&mut towers);
        let victim = towers.pop().unwrap();
        let (address, socket) = (victim.tower.address.clone(), victim.tower.socket);
        lost.append(&mut victim.kill());
        for RecordedTower { tower, .. } in &mut towers {
            tower.wait_for_status(Status::Lost, &address);
        }
        let (identity, listener) = (&identities[TOWERS - 1], listen_again(socket));
        towers.push(RecordedTower::start(&mut network, identity, listener));
    }
    wait_until_all_alive(&mut towers);
    let last = &mut towers[TOWERS - 1].tower;
    last.wait_until("100 deliveries", |tower| tower.stats().delivered >= 100);

    // A tower that is still alive holds the messages that a killed tower has handed over.
    let found: BTreeSet<String> = towers.into_iter().flat_map(RecordedTower::kill).collect();
    let missing: Vec<String> = (0..MESSAGES)
        .map(|n| format!("message {n}"))
        .filter(|text| !found.contains(text) && !lost.contains(text))
        .collect();
    assert!(missing.is_empty(), "not held by a killed tower, but lost: {missing:?}");
}
