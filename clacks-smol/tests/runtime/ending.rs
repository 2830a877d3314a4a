//! How a tower's life ends, and what is left of it.

use clacks_proto::{Address, EnqueueError, ExpandError, Message, Report, Status};
use smol::future;
use smol::stream::StreamExt;

use crate::support::{FOR_EVER, driver, nobody_listens, quick, quiet, receives, run, start, turns};

#[test]
fn a_shutdown_hands_the_queue_to_peers_and_closes_all() {
    run(async {
        // No timer is near: the end must be noticed for itself.
        let mut config = quiet();
        config.timeouts.shutdown = FOR_EVER;
        config.timeouts.confirm = FOR_EVER;
        config.timeouts.close = FOR_EVER;
        config.timeouts.handshake = FOR_EVER;
        config.timeouts.connect = FOR_EVER;
        config.timeouts.idle = FOR_EVER;
        let (one, two) = (start(config.clone()), start(config));
        let mut theirs = two.handle.notices();
        let notices = one.handle.notices();
        one.handle.expand(&two.address()).await.unwrap();
        for number in 0..20 {
            one.handle.enqueue(Message::text(&number.to_string())).await.unwrap();
        }
        assert_eq!(one.handle.shutdown().await, 0);
        assert_eq!(two.handle.held().await.0, 20);
        receives(&mut theirs, "19").await;
        let left = notices.fold(None, |_, report| Some(report)).await;
        assert_eq!(left, Some(Report::ShutDown { left: 0 }), "and then the stream ends");
        // Whoever asks late has the same answer.
        assert_eq!(one.handle.shutdown().await, 0);
        let socket = one.handle.local_addr();
        one.end().await.unwrap();
        nobody_listens(socket);
    });
}

#[test]
fn a_shutdown_tells_how_many_messages_are_lost() {
    run(async {
        let tower = start(quiet());
        let handle = tower.handle.clone();
        for _ in 0..3 {
            handle.enqueue(Message::text("for nobody")).await.unwrap();
        }
        let (first, second) = future::zip(handle.shutdown(), handle.shutdown()).await;
        assert_eq!((first, second), (3, 3));
        assert_eq!(handle.stats().await.enqueued, 3, "the counters stay");
    });
}

#[test]
fn what_a_tower_that_is_gone_answers() {
    run(async {
        let tower = start(quick());
        let handle = tower.handle.clone();
        let peer: Address = "127.0.0.1:9".parse().unwrap();
        handle.ignore(&peer).await.unwrap();
        handle.enqueue(Message::text("abc")).await.unwrap();
        tower.kill().await;

        let message = Message::text("too late");
        let refused = handle.enqueue(message.clone()).await.unwrap_err();
        assert_eq!((refused.message, refused.why), (message, EnqueueError::ShuttingDown));
        assert_eq!(handle.expand(&peer).await, Err(ExpandError::ShuttingDown));
        assert_eq!(handle.announce(&peer).await, Err(ExpandError::ShuttingDown));
        assert_eq!(handle.ignore(&peer).await, Err(ExpandError::ShuttingDown));
        assert!(!handle.heed(&peer).await);
        assert!(handle.peek().await.is_empty() && handle.survey().await.is_empty());
        assert_eq!(handle.held().await, (1, 3));
        assert_eq!(handle.shutdown().await, 1);
        assert_eq!(handle.notices().next().await, None);
    });
}

#[test]
fn a_driver_that_never_ran_is_gone_too_when_it_is_dropped() {
    run(async {
        let (handle, driver) = driver(quick());
        handle.enqueue(Message::text("abc")).await.unwrap();
        let ended = future::zip(handle.shutdown(), async { drop(driver) }).await;
        assert_eq!(ended.0, 1);
    });
}

#[test]
fn a_tower_needs_no_handle() {
    run(async {
        let (one, two) = (start(quick()), start(quick()));
        let mut notices = two.handle.notices();
        let address = one.address();
        let (handle, driver) = driver(quick());
        handle.expand(&two.address()).await.unwrap();
        let orphan = Address::try_from(handle.local_addr()).unwrap();
        drop(handle);
        let task = smol::spawn(driver.run());
        turns(&mut notices, &orphan, Status::Alive).await;
        assert!(!task.is_finished());
        drop((address, task));
    });
}
