//! Ten thousand messages at an unlimited rate, while a tower is killed and returns. Each message is
//! accounted for.

use clacks_proto::tls::{Identity, SecureTower, Trust};
use clacks_proto::{Address, Config, Message, SendRate, Status};
use clacks_smol::{Driver, Handle};
use smol::{Executor, Task, Timer};
use std::collections::BTreeSet;
use std::io;
use std::net::TcpListener;
use std::time::Duration;

use crate::support::{port, port_again, tower, within};

const TOWERS: usize = 5;
const MESSAGES: usize = 10_000;

struct Secure {
    handle: Handle<SecureTower>,
    address: Address,
    task: Task<io::Result<()>>,
}

/// All towers and the test share one thread: no tower does anything while the test does not wait.
fn start(executor: &Executor<'_>, identity: &Identity, listener: TcpListener) -> Secure {
    let mut config = Config::default();
    config.send_rate = SendRate::Unlimited;
    config.probe_backoff = Duration::from_millis(50);
    let machine = SecureTower::new(tower(config, &listener), identity, Trust::Open).unwrap();
    let (handle, driver) = Driver::new(machine, listener).unwrap();
    let address = handle.address().clone();
    Secure { handle, address, task: executor.spawn(driver.run()) }
}

fn texts(handle: &Handle<SecureTower>) -> BTreeSet<String> {
    let held = handle.peek();
    held.iter().filter_map(|held| held.message.as_text().map(str::to_owned)).collect()
}

/// Waits until a condition holds.
async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        Timer::after(Duration::from_millis(5)).await;
    }
}

/// Waits until each tower knows that each other one is alive.
async fn all_alive(towers: &[Secure]) {
    until(|| towers.iter().all(|tower| tower.handle.status_counts().alive as usize == TOWERS - 1))
        .await;
}

#[test]
fn only_messages_that_a_killed_tower_held_are_lost() {
    let executor = Executor::new();
    smol::block_on(executor.run(within(async {
        let identities: Vec<_> = (0..TOWERS).map(|_| Identity::generate().unwrap()).collect();
        let mut towers: Vec<_> =
            identities.iter().map(|identity| start(&executor, identity, port())).collect();
        for tower in &towers[1..] {
            tower.handle.announce(&towers[0].address).unwrap();
        }
        for n in 0..MESSAGES {
            let message = Message::text(&format!("message {n}"));
            towers[n % TOWERS].handle.enqueue(message).unwrap();
        }
        all_alive(&towers).await;

        // The messages that the tower holds at this moment are lost with it.
        let victim = towers.pop().unwrap();
        let socket = victim.handle.local_addr();
        let held = texts(&victim.handle);
        victim.task.cancel().await;
        assert!(held.len() > 100, "the killed tower held {} messages", held.len());
        let has_lost_peer =
            |tower: &Secure| tower.handle.survey().iter().any(|peer| peer.status == Status::Lost);
        until(|| towers.iter().all(has_lost_peer)).await;
        towers.push(start(&executor, &identities[TOWERS - 1], port_again(socket)));
        all_alive(&towers).await;
        until(|| towers[TOWERS - 1].handle.stats().delivered >= 100).await;

        let found: BTreeSet<_> = towers.iter().flat_map(|tower| texts(&tower.handle)).collect();
        let all = (0..MESSAGES).map(|n| format!("message {n}"));
        let lost: BTreeSet<_> = all.filter(|text| !found.contains(text)).collect();
        let unexplained: Vec<_> = lost.difference(&held).collect();
        assert!(unexplained.is_empty(), "lost, but not held by the killed tower: {unexplained:?}");
    })));
}
