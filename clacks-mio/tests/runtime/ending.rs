//! How a tower's life ends, and what is left of it.

use clacks_proto::{Address, EnqueueError, ExpandError, Message, Report, ShutdownProgress, Status};
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use crate::support::{
    FOR_EVER, nobody_listens, quick, quiet, reactor, receives, run, start, turns,
};

#[test]
fn a_shutdown_hands_the_queue_to_peers_and_closes_all() {
    run(|| {
        // No timer is near: the end must be noticed for itself.
        let mut config = quiet();
        config.timeouts.shutdown = FOR_EVER;
        config.timeouts.confirm = FOR_EVER;
        config.timeouts.close = FOR_EVER;
        config.timeouts.handshake = FOR_EVER;
        config.timeouts.connect = FOR_EVER;
        config.timeouts.idle = FOR_EVER;
        let (one, two) = (start(config.clone()), start(config));
        let theirs = two.handle.notices();
        let notices = one.handle.notices();
        one.handle.expand(&two.address()).unwrap();
        for number in 0..20 {
            one.handle.enqueue(Message::text(&number.to_string())).unwrap();
        }
        assert_eq!(one.handle.shutdown(), 0);
        assert_eq!(two.handle.held().0, 20);
        receives(&theirs, "19");
        assert_eq!(notices.last(), Some(Report::ShutDown { left: 0 }), "and then there is no more");
        // Whoever asks late has the same answer.
        assert_eq!((one.handle.shutdown(), one.handle.try_shutdown()), (0, Some(0)));
        let socket = one.handle.local_addr();
        one.end().unwrap();
        nobody_listens(socket);
    });
}

#[test]
fn a_shutdown_tells_how_many_messages_are_lost() {
    run(|| {
        let tower = start(quiet());
        let handle = tower.handle.clone();
        for _ in 0..3 {
            handle.enqueue(Message::text("for nobody")).unwrap();
        }
        let second = handle.clone();
        let second = thread::spawn(move || second.shutdown());
        assert_eq!((handle.shutdown(), second.join().unwrap()), (3, 3));
        assert_eq!(handle.stats().enqueued, 3, "the counters stay");
    });
}

#[test]
fn asking_for_a_shutdown_after_each_turn_keeps_no_loop_busy() {
    run(|| {
        // Takes connections and never says a word, so that the shutdown lasts as long as it may.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut config = quick();
        config.timeouts.shutdown = Duration::from_millis(500);
        let (handle, mut reactor) = reactor(config);
        handle.enqueue(Message::text("stuck")).unwrap();
        handle.expand(&Address::try_from(silent.local_addr().unwrap()).unwrap()).unwrap();
        let mut turns = 0;
        while handle.try_shutdown().is_none() {
            reactor.turn(None).unwrap();
            turns += 1;
        }
        assert!(turns < 200, "{turns} turns");
    });
}

#[test]
fn on_its_own_thread_a_shutdown_is_asked_for_and_not_waited_for() {
    run(|| {
        let (handle, mut reactor) = reactor(quiet());
        handle.enqueue(Message::text("for nobody")).unwrap();
        assert_eq!(handle.try_shutdown(), None);
        let notices = handle.notices();
        while reactor.turn(None).unwrap() != ShutdownProgress::Done {}
        assert_eq!(handle.try_shutdown(), Some(1));
        assert_eq!(notices.last(), Some(Report::ShutDown { left: 1 }));
        // Once it is done it stays so, and the port is free although the reactor is still there.
        nobody_listens(handle.local_addr());
        assert_eq!(reactor.turn(None).unwrap(), ShutdownProgress::Done);
    });
}

#[test]
fn what_a_tower_that_is_gone_answers() {
    run(|| {
        let tower = start(quick());
        let handle = tower.handle.clone();
        let peer: Address = "127.0.0.1:9".parse().unwrap();
        handle.ignore(&peer).unwrap();
        handle.enqueue(Message::text("abc")).unwrap();
        tower.kill();

        let message = Message::text("too late");
        let refused = handle.enqueue(message.clone()).unwrap_err();
        assert_eq!((refused.message, refused.why), (message, EnqueueError::ShuttingDown));
        assert_eq!(handle.expand(&peer), Err(ExpandError::ShuttingDown));
        assert_eq!(handle.announce(&peer), Err(ExpandError::ShuttingDown));
        assert_eq!(handle.ignore(&peer), Err(ExpandError::ShuttingDown));
        assert!(!handle.heed(&peer));
        assert!(handle.peek().is_empty() && handle.survey().is_empty());
        assert_eq!((handle.held(), handle.shutdown()), ((1, 3), 1));
        assert_eq!(handle.notices().recv(), None);
    });
}

#[test]
fn a_reactor_that_never_ran_is_gone_too_when_it_is_dropped() {
    run(|| {
        let (handle, reactor) = reactor(quick());
        handle.enqueue(Message::text("abc")).unwrap();
        let waiting = handle.clone();
        let waiting = thread::spawn(move || waiting.shutdown());
        drop(reactor);
        assert_eq!(waiting.join().unwrap(), 1);
    });
}

#[test]
fn a_tower_needs_no_handle() {
    run(|| {
        let two = start(quick());
        let notices = two.handle.notices();
        let (handle, reactor) = reactor(quick());
        handle.expand(&two.address()).unwrap();
        let orphan = Address::try_from(handle.local_addr()).unwrap();
        drop(handle);
        thread::spawn(|| reactor.run());
        turns(&notices, &orphan, Status::Alive);
    });
}

#[test]
fn a_tower_runs_to_its_end() {
    run(|| {
        let (handle, reactor) = reactor(quick());
        let thread = thread::spawn(|| reactor.run());
        assert_eq!(handle.shutdown(), 0);
        thread.join().unwrap().unwrap();
    });
}

#[test]
fn whoever_waits_for_the_reactor_is_called_back_each_time() {
    run(|| {
        let (handle, mut reactor) = reactor(quiet());
        for _ in 0..3 {
            handle.wake();
            handle.wake();
            assert_eq!(reactor.turn(None).unwrap(), ShutdownProgress::Running);
        }
    });
}
