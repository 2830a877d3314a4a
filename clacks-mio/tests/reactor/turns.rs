//! Turns of a reactor on the thread of a test.

use clacks_mio::{Message, Notice, ShutdownProgress};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use crate::support::{listen, quick, reactor, run, without_timers};

#[test]
fn a_wake_ends_one_turn() {
    run(|| {
        let (handle, mut reactor) = reactor(without_timers());
        for _ in 0..3 {
            handle.wake();
            handle.wake();
            assert_eq!(reactor.turn(None).unwrap(), ShutdownProgress::Running);
        }
    });
}

#[test]
fn a_shutdown_completes_in_turns_on_one_thread() {
    run(|| {
        let (handle, mut reactor) = reactor(without_timers());
        handle.enqueue(Message::text("not delivered")).unwrap();
        let mut shutdown = handle.shutdown();
        assert_eq!(shutdown.now(), None);
        let mut notices = handle.notices();
        while reactor.turn(None).unwrap() != ShutdownProgress::Done {}
        assert_eq!(shutdown.now(), Some(1));
        assert_eq!(notices.iter().last(), Some(Notice::ShutDown { left: 1 }));
        // The reactor still exists. Its port is closed, and further turns do nothing. Another
        // process may use the port for a moment.
        while TcpStream::connect(handle.local_addr()).is_ok() {
            thread::yield_now();
        }
        assert_eq!(reactor.turn(None).unwrap(), ShutdownProgress::Done);
    });
}

#[test]
fn a_shutdown_that_waits_for_a_timeout_needs_few_turns() {
    run(|| {
        // Connections are established, but nothing is sent.
        let (_silent, address) = listen();
        let mut config = quick();
        config.timeouts.shutdown = Duration::from_millis(500);
        let (handle, mut reactor) = reactor(config);
        handle.enqueue(Message::text("not delivered")).unwrap();
        handle.expand(&address).unwrap();
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
fn run_returns_after_a_shutdown() {
    run(|| {
        let (handle, reactor) = reactor(quick());
        let thread = thread::spawn(|| reactor.run());
        assert_eq!(handle.shutdown().wait(), 0);
        thread.join().unwrap().unwrap();
    });
}
