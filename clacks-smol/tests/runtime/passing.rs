//! Messages go from tower to tower, whatever runs them.

use clacks_proto::{Address, Message, Report, Status};
use smol::{Executor, channel, future};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::support::{delivers, driver, find, quick, quiet, receives, run, start, turns};

#[test]
fn two_towers_pass_a_message() {
    run(async {
        let (one, two) = (start(quick()), start(quiet()));
        let (mut sent, mut taken) = (one.handle.notices(), two.handle.notices());
        one.handle.expand(&two.address()).await.unwrap();
        let nonce = one.handle.enqueue(Message::text("GNU Terry Pratchett")).await.unwrap();
        let from = find(&mut taken, |report| match report {
            Report::MessageReceived { from, nonce: name, message } => {
                assert_eq!((name, message.as_text()), (nonce, Some("GNU Terry Pratchett")));
                Some(from)
            }
            _ => None,
        })
        .await;
        assert_eq!(from, Some(one.address()));
        delivers(&mut sent, 1).await;
        assert_eq!(one.handle.held().await.0, 0);
        assert_eq!(two.handle.held().await, (1, 19));
        assert_eq!(two.handle.peek().await[0].nonce, nonce);
        assert_eq!(one.handle.stats().await.delivered, 1);
        let peers = one.handle.survey().await;
        assert_eq!(peers.len(), 1);
        assert_eq!((&peers[0].address, peers[0].status), (&two.address(), Status::Alive));
    });
}

#[test]
fn bodies_of_any_size_arrive_whole() {
    run(async {
        let mut config = quick();
        config.max_message = 4 << 20;
        let (one, two) = (
            start(config.clone()),
            start({
                config.send_rate = quiet().send_rate;
                config
            }),
        );
        let mut taken = two.handle.notices();
        one.handle.expand(&two.address()).await.unwrap();
        for len in [0, 1, 65_535, 65_536, 65_537, 4 << 20] {
            let body: Vec<u8> = (0..len).map(|at| u8::try_from(at * 31 % 251).unwrap()).collect();
            one.handle.enqueue(Message::bytes(&body)).await.unwrap();
            find(&mut taken, |report| match report {
                Report::MessageReceived { message, .. } => {
                    assert!(message.body()[..] == body[..], "{len} bytes were altered");
                    Some(())
                }
                _ => None,
            })
            .await;
        }
    });
}

#[test]
fn names_are_resolved_and_their_addresses_tried() {
    run(async {
        // `localhost` may also be ::1, where nobody listens.
        let (one, two) = (start(quick()), start(quiet()));
        let mut taken = two.handle.notices();
        let name = Address::new("localhost", two.handle.local_addr().port()).unwrap();
        one.handle.expand(&name).await.unwrap();
        one.handle.enqueue(Message::text("by name")).await.unwrap();
        receives(&mut taken, "by name").await;
    });
}

#[test]
fn an_announce_is_confirmed_and_makes_both_known() {
    run(async {
        let (one, two) = (start(quick()), start(quick()));
        let mut notices = one.handle.notices();
        let mut theirs = two.handle.notices();
        one.handle.announce(&two.address()).await.unwrap();
        find(&mut notices, |report| matches!(report, Report::Announced { .. }).then_some(())).await;
        turns(&mut theirs, &one.address(), Status::Alive).await;
    });
}

#[test]
fn an_ignored_tower_is_not_heard_until_it_is_heeded() {
    run(async {
        let (one, two) = (start(quick()), start(quiet()));
        two.handle.ignore(&one.address()).await.unwrap();
        assert!(!two.handle.heed(&two.address()).await);
        let (mut ours, mut taken) = (one.handle.notices(), two.handle.notices());
        one.handle.expand(&two.address()).await.unwrap();
        one.handle.enqueue(Message::text("listen!")).await.unwrap();
        turns(&mut ours, &two.address(), Status::Lost).await;
        assert_eq!(two.handle.held().await.0, 0);
        assert!(two.handle.heed(&one.address()).await);
        receives(&mut taken, "listen!").await;
    });
}

#[test]
fn any_executor_will_do() {
    // Two towers that leave at the same time can't take each other's messages.
    let mut config = quick();
    config.timeouts.shutdown = Duration::from_millis(50);
    // A bare `block_on` on a thread of its own.
    let (one, first) = driver(config.clone());
    let alone = thread::spawn(move || smol::block_on(first.run()));
    // Two threads that share an executor: the tower moves between them.
    let (two, second) = driver(config);
    let (stop, stopped) = channel::bounded::<()>(1);
    let shared = Arc::new(Executor::new());
    let task = shared.spawn(second.run());
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let (shared, stopped) = (shared.clone(), stopped.clone());
            thread::spawn(move || smol::block_on(shared.run(stopped.recv())))
        })
        .collect();

    run(async {
        let address = Address::try_from(two.local_addr()).unwrap();
        let (mut ours, mut theirs) = (one.notices(), two.notices());
        one.expand(&address).await.unwrap();
        for _ in 0..20 {
            one.enqueue(Message::text("anywhere")).await.unwrap();
        }
        delivers(&mut ours, 50).await;
        delivers(&mut theirs, 50).await;
        future::zip(one.shutdown(), two.shutdown()).await;
        task.await.unwrap();
    });
    drop(stop);
    alone.join().unwrap().unwrap();
    for thread in threads {
        assert!(thread.join().unwrap().is_err());
    }
}

#[test]
fn fifty_towers_in_one_process_all_hear_of_a_newcomer() {
    run(async {
        let towers: Vec<_> = (0..50).map(|_| start(quick())).collect();
        let hub = towers[0].address();
        let mut discoveries = towers[0].handle.notices();
        for tower in &towers[1..] {
            tower.handle.expand(&hub).await.unwrap();
            tower.handle.enqueue(Message::text("hello")).await.unwrap();
        }
        // The reports are too many to count on each of them.
        while towers[0].handle.survey().await.len() < 49 {
            discoveries.next().await.expect("the tower is gone");
        }
        // No message is lost on the way; one in doubt may exist twice.
        for tower in &towers {
            assert_eq!(tower.handle.stats().await.links_misbehaved, 0);
        }
    });
}
