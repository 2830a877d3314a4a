//! The end of a tower, and what its handles answer afterwards.

use clacks_proto::{Address, EnqueueError, ExpandError, Message, Notice, Status};
use smol::future;
use smol::stream::StreamExt;

use crate::support::{
    becomes, driver, nobody_listens, quick, quiet, receives, run, start, without_timeouts,
};

#[test]
fn a_shutdown_hands_over_the_queue_and_closes_everything() {
    run(async {
        // Without timers: the driver must notice the end by itself.
        let (one, two) = (start(without_timeouts()), start(without_timeouts()));
        let mut theirs = two.handle.notices();
        let notices = one.handle.notices();
        one.handle.expand(&two.address()).unwrap();
        for number in 0..20 {
            one.handle.enqueue(Message::text(&number.to_string())).unwrap();
        }
        assert_eq!(one.handle.shutdown().await, 0);
        assert_eq!(two.handle.queue_usage().messages, 20);
        receives(&mut theirs, "19").await;
        let last = notices.fold(None, |_, notice| Some(notice)).await;
        assert_eq!(last, Some(Notice::ShutDown { left: 0 }));
        // A later shutdown returns the same.
        assert_eq!(one.handle.shutdown().await, 0);
        let socket = one.handle.local_addr();
        one.join().await.unwrap();
        nobody_listens(socket);
    });
}

#[test]
fn a_shutdown_returns_the_number_of_lost_messages() {
    run(async {
        let tower = start(quiet());
        let handle = tower.handle.clone();
        for _ in 0..3 {
            handle.enqueue(Message::text("nobody takes this")).unwrap();
        }
        let both = future::zip(handle.shutdown(), handle.shutdown()).await;
        assert_eq!(both, (3, 3));
        assert_eq!(handle.stats().enqueued, 3, "the counters stay");
    });
}

#[test]
fn handles_answer_after_the_end() {
    run(async {
        let tower = start(quick());
        let handle = tower.handle.clone();
        let peer: Address = "127.0.0.1:9".parse().unwrap();
        handle.ignore(&peer).unwrap();
        handle.enqueue(Message::text("abc")).unwrap();
        tower.kill().await;

        let message = Message::text("too late");
        let refused = handle.enqueue(message.clone()).unwrap_err();
        assert_eq!((refused.message, refused.reason), (message, EnqueueError::ShuttingDown));
        assert_eq!(handle.expand(&peer), Err(ExpandError::ShuttingDown));
        assert_eq!(handle.announce(&peer), Err(ExpandError::ShuttingDown));
        assert_eq!(handle.ignore(&peer), Err(ExpandError::ShuttingDown));
        assert!(!handle.unignore(&peer));
        assert!(handle.peek().is_empty() && handle.survey().is_empty());
        let usage = handle.queue_usage();
        assert_eq!((usage.messages, usage.bytes), (1, 3));
        assert_eq!(handle.shutdown().await, 1);
        assert_eq!(handle.notices().recv().await, None);
    });
}

#[test]
fn dropping_a_driver_that_never_ran_ends_the_tower() {
    run(async {
        let (handle, driver) = driver(quick());
        handle.enqueue(Message::text("abc")).unwrap();
        let ended = future::zip(handle.shutdown(), async { drop(driver) }).await;
        assert_eq!(ended.0, 1);
    });
}

#[test]
fn a_tower_runs_on_without_a_handle() {
    run(async {
        let two = start(quick());
        let mut notices = two.handle.notices();
        let (handle, driver) = driver(quick());
        handle.expand(&two.address()).unwrap();
        let address = handle.address().clone();
        drop(handle);
        let task = smol::spawn(driver.run());
        becomes(&mut notices, &address, Status::Alive).await;
        assert!(!task.is_finished());
    });
}
