//! Ten thousand messages at an unlimited rate, while a tower dies and comes back: each is counted.

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
    handle: Handle,
    address: Address,
    task: Task<io::Result<()>>,
}

/// All towers and the test itself share one thread: between two awaits that are ready at once no tower moves.
fn start(executor: &Executor<'_>, identity: &Identity, listener: TcpListener) -> Secure {
    let mut config = Config::default();
    config.send_rate = SendRate::Unlimited;
    config.probe_backoff = Duration::from_millis(50);
    let address = Address::try_from(listener.local_addr().unwrap()).unwrap();
    let machine = SecureTower::new(tower(config, &listener), identity, Trust::Open).unwrap();
    let (handle, driver) = Driver::new(machine, listener).unwrap();
    Secure { handle, address, task: executor.spawn(driver.run()) }
}

async fn texts(handle: &Handle) -> BTreeSet<String> {
    let held = handle.peek().await;
    held.iter().filter_map(|held| held.message.as_text().map(str::to_owned)).collect()
}

/// Waits until every tower holds every other one alive.
async fn all_alive(towers: &[Secure]) {
    loop {
        let mut alive = 0;
        for tower in towers {
            let peers = tower.handle.survey().await;
            alive += peers.iter().filter(|peer| peer.status == Status::Alive).count();
        }
        if alive == TOWERS * (TOWERS - 1) {
            return;
        }
        Timer::after(Duration::from_millis(20)).await;
    }
}

#[test]
fn of_ten_thousand_messages_only_those_that_a_killed_tower_held_are_lost() {
    let executor = Executor::new();
    smol::block_on(executor.run(within(async {
        let identities: Vec<_> = (0..TOWERS).map(|_| Identity::generate().unwrap()).collect();
        let mut towers: Vec<_> =
            identities.iter().map(|identity| start(&executor, identity, port())).collect();
        for n in 1..TOWERS {
            towers[n].handle.announce(&towers[0].address).await.unwrap();
        }
        for n in 0..MESSAGES {
            let message = Message::text(&format!("message {n}"));
            towers[n % TOWERS].handle.enqueue(message).await.unwrap();
        }
        all_alive(&towers).await;

        // What it holds at this very moment dies with it, and nothing else does.
        let victim = towers.pop().unwrap();
        let socket = victim.handle.local_addr();
        let held = texts(&victim.handle).await;
        victim.task.cancel().await;
        assert!(held.len() > 100, "the storm has reached the victim: {}", held.len());
        for survivor in &towers {
            while survivor.handle.survey().await.iter().all(|peer| peer.status != Status::Lost) {
                Timer::after(Duration::from_millis(5)).await;
            }
        }
        towers.push(start(&executor, &identities[TOWERS - 1], port_again(socket)));
        all_alive(&towers).await;
        while towers[TOWERS - 1].handle.stats().await.delivered < 100 {
            Timer::after(Duration::from_millis(5)).await;
        }

        let mut found = BTreeSet::new();
        let mut copies = 0;
        for tower in &towers {
            let here = texts(&tower.handle).await;
            copies += here.len();
            found.extend(here);
        }
        let all = (0..MESSAGES).map(|n| format!("message {n}"));
        let missing: BTreeSet<_> = all.filter(|text| !found.contains(text)).collect();
        let unexplained: Vec<_> = missing.difference(&held).collect();
        println!(
            "{} held by the killed tower, {} of them lost, {copies} copies of {} messages",
            held.len(),
            missing.len(),
            found.len()
        );
        assert!(
            unexplained.is_empty(),
            "lost although the killed tower did not hold them: {unexplained:?}"
        );
    })));
}
