//! The end of a tower, and what its handles answer afterwards.

use clacks_proto::{Address, EnqueueError, ExpandError, Message, Notice, ShutdownProgress, Status};
use std::thread;
use std::time::Duration;

use crate::support::{
    address, becomes, nobody_listens, port, quick, quiet, reactor, receives, run, start,
    without_timeouts,
};

#[test]
fn a_shutdown_hands_over_the_queue_and_closes_everything() {
    run(|| {
        // Without timers: the reactor must notice the end by itself.
        let (one, two) = (start(without_timeouts()), start(without_timeouts()));
        let mut theirs = two.handle.notices();
        let mut notices = one.handle.notices();
        one.handle.expand(&two.address()).unwrap();
        for number in 0..20 {
            one.handle.enqueue(Message::text(&number.to_string())).unwrap();
        }
        assert_eq!(one.handle.shutdown().wait(), 0);
        assert_eq!(two.handle.queue_usage().messages, 20);
        receives(&mut theirs, "19");
        assert_eq!(notices.iter().last(), Some(Notice::ShutDown { left: 0 }));
        // A later shutdown returns the same.
        assert_eq!(one.handle.shutdown().wait(), 0);
        let socket = one.handle.local_addr();
        one.join().unwrap();
        nobody_listens(socket);
    });
}

#[test]
fn a_shutdown_returns_the_number_of_lost_messages() {
    run(|| {
        let tower = start(quiet());
        let handle = tower.handle.clone();
        for _ in 0..3 {
            handle.enqueue(Message::text("nobody takes this")).unwrap();
        }
        let second = handle.shutdown();
        assert_eq!((handle.shutdown().wait(), second.wait()), (3, 3));
        assert_eq!(handle.stats().enqueued, 3, "the counters stay");
    });
}

#[test]
fn waiting_for_a_shutdown_by_turns_does_not_spin() {
    run(|| {
        // Takes connections and never sends anything, so that the shutdown lasts as long as it may.
        let silent = port();
        let mut config = quick();
        config.timeouts.shutdown = Duration::from_millis(500);
        let (handle, mut reactor) = reactor(config);
        handle.enqueue(Message::text("stuck")).unwrap();
        handle.expand(&address(&silent)).unwrap();
        let mut shutdown = handle.shutdown();
        let mut turns = 0;
        while shutdown.now().is_none() {
            reactor.turn(None).unwrap();
            turns += 1;
        }
        assert!(turns < 200, "{turns} turns");
    });
}

#[test]
fn a_shutdown_needs_no_other_thread() {
    run(|| {
        let (handle, mut reactor) = reactor(quiet());
        handle.enqueue(Message::text("nobody takes this")).unwrap();
        let mut shutdown = handle.shutdown();
        assert_eq!(shutdown.now(), None);
        let mut notices = handle.notices();
        while reactor.turn(None).unwrap() != ShutdownProgress::Done {}
        assert_eq!(shutdown.now(), Some(1));
        assert_eq!(notices.iter().last(), Some(Notice::ShutDown { left: 1 }));
        // The port is free although the reactor is not dropped, and more turns do nothing.
        nobody_listens(handle.local_addr());
        assert_eq!(reactor.turn(None).unwrap(), ShutdownProgress::Done);
    });
}

#[test]
fn handles_answer_after_the_end() {
    run(|| {
        let tower = start(quick());
        let handle = tower.handle.clone();
        let peer: Address = "127.0.0.1:9".parse().unwrap();
        handle.ignore(&peer).unwrap();
        handle.enqueue(Message::text("abc")).unwrap();
        tower.kill();

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
        assert_eq!(handle.shutdown().wait(), 1);
        assert_eq!(handle.notices().recv_blocking(), None);
    });
}

#[test]
fn dropping_a_reactor_that_never_ran_ends_the_tower() {
    run(|| {
        let (handle, reactor) = reactor(quick());
        handle.enqueue(Message::text("abc")).unwrap();
        let waiting = thread::spawn(move || handle.shutdown().wait());
        drop(reactor);
        assert_eq!(waiting.join().unwrap(), 1);
    });
}

#[test]
fn a_tower_runs_on_without_a_handle() {
    run(|| {
        let two = start(quick());
        let mut notices = two.handle.notices();
        let (handle, reactor) = reactor(quick());
        handle.expand(&two.address()).unwrap();
        let address = handle.address().clone();
        drop(handle);
        thread::spawn(|| reactor.run());
        becomes(&mut notices, &address, Status::Alive);
    });
}

#[test]
fn a_reactor_runs_to_the_end_of_its_tower() {
    run(|| {
        let (handle, reactor) = reactor(quick());
        let thread = thread::spawn(|| reactor.run());
        assert_eq!(handle.shutdown().wait(), 0);
        thread.join().unwrap().unwrap();
    });
}

#[test]
fn each_wake_ends_a_turn() {
    run(|| {
        let (handle, mut reactor) = reactor(without_timeouts());
        for _ in 0..3 {
            handle.wake();
            handle.wake();
            assert_eq!(reactor.turn(None).unwrap(), ShutdownProgress::Running);
        }
    });
}
