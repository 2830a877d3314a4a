//! A driver runs on any executor.
//!
//! The tests that all runtimes have in common are in `clacks-cli/tests/conformance`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use clacks_smol::{
    Address, Config, Driver, Handle, Message, Notice, Notices, Seed, SendRate, Tower,
};
use smol::{Executor, channel, future};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

fn driver(seed: u64) -> (Handle<Tower>, Driver<Tower>) {
    let mut config = Config::default();
    config.send_rate = SendRate::Every(Duration::from_millis(2));
    // Two towers that shut down at the same time cannot take each other's messages.
    config.timeouts.shutdown = Duration::from_millis(50);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::try_from(listener.local_addr().unwrap()).unwrap();
    let tower = Tower::new(config, address, &Seed::from_u64(seed)).unwrap();
    Driver::new(tower, listener).unwrap()
}

/// Waits until peers have confirmed a number of messages.
fn wait_for_deliveries(notices: &mut Notices, count: usize) {
    let mut left = count;
    while left > 0 {
        let notice = notices.recv_timeout(Duration::from_secs(120)).unwrap();
        left -= usize::from(matches!(notice, Notice::MessageDelivered { .. }));
    }
}

#[test]
fn a_driver_runs_on_one_thread_and_moves_between_threads() {
    // A thread that runs only the first driver.
    let (one, first) = driver(1);
    let single = thread::spawn(move || smol::block_on(first.run()));
    // Two threads with one executor. The second driver moves between them.
    let (two, second) = driver(2);
    let (stop, stopped) = channel::bounded::<()>(1);
    let executor = Arc::new(Executor::new());
    let task = executor.spawn(second.run());
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let (executor, stopped) = (executor.clone(), stopped.clone());
            thread::spawn(move || smol::block_on(executor.run(stopped.recv())))
        })
        .collect();

    let mut notices = [one.notices(), two.notices()];
    one.expand(two.address()).unwrap();
    for _ in 0..20 {
        one.enqueue(Message::text("hello")).unwrap();
    }
    for notices in &mut notices {
        wait_for_deliveries(notices, 50);
    }
    smol::block_on(async {
        future::zip(one.shutdown(), two.shutdown()).await;
        task.await.unwrap();
    });
    drop(stop);
    single.join().unwrap().unwrap();
    for thread in threads {
        assert!(thread.join().unwrap().is_err());
    }
}
