//! A tower with nothing to do does nothing.

use clacks_mio::Reactor;
use clacks_proto::{ShutdownProgress, StateMachine};
use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::{reactor, run, start, without_timeouts};

/// How long a tower is watched.
const WATCH: Duration = Duration::from_millis(500);

/// Returns how many turns a reactor takes while nothing happens.
fn turns<M: StateMachine + Send>(reactor: &mut Reactor<M>) -> usize {
    let begun = Instant::now();
    let mut count = 0;
    while let Some(left) = WATCH.checked_sub(begun.elapsed()) {
        reactor.turn(Some(left)).unwrap();
        count += 1;
    }
    count
}

/// Returns the time for which this thread has been running. Linux only.
fn processor_time() -> Option<Duration> {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    statistics.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

#[test]
fn a_tower_with_nothing_to_do_uses_no_processor_time() {
    run(|| {
        let friend = start(without_timeouts());
        let (handle, mut reactor) = reactor(without_timeouts());
        handle.announce(&friend.address()).unwrap();
        // An open link, a silent caller, and one that has left.
        let mut silent = TcpStream::connect(handle.local_addr()).unwrap();
        silent.set_nonblocking(true).unwrap();
        drop(TcpStream::connect(handle.local_addr()).unwrap());
        while friend.handle.find(handle.address()).is_none() || silent.read(&mut [0; 1]).is_err() {
            reactor.turn(Some(Duration::from_millis(1))).unwrap();
        }
        // Until nothing is left to do. A reactor that wakes for nothing never ends this loop.
        let (before, after) = loop {
            let before = processor_time();
            if turns(&mut reactor) <= 1 {
                break (before, processor_time());
            }
        };
        match before.zip(after) {
            Some((before, after)) => {
                let used = after - before;
                assert!(used < WATCH / 10, "{used:?} of {WATCH:?}");
            }
            None => println!("skipped: this system does not report a thread's processor time"),
        }
        handle.wake();
        assert_eq!(reactor.turn(None).unwrap(), ShutdownProgress::Running);
    });
}

#[test]
fn a_tower_without_peers_has_no_timer() {
    let (_handle, mut reactor) = reactor(without_timeouts());
    // A connection may wait from before the listener was watched.
    assert_eq!(reactor.next_timeout(), Some(Duration::ZERO));
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(reactor.next_timeout(), None);
}
