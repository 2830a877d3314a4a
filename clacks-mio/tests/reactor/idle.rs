//! A tower without work waits in the operating system's selector.

use clacks_mio::{Reactor, ShutdownProgress, StateMachine};
use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::{RunningTower, reactor, run, without_timers};

/// How long a reactor is observed.
const OBSERVATION: Duration = Duration::from_millis(500);

/// Returns the number of turns during the observation.
fn count_turns<M: StateMachine + Send>(reactor: &mut Reactor<M>) -> usize {
    let start = Instant::now();
    let mut count = 0;
    while let Some(left) = OBSERVATION.checked_sub(start.elapsed()) {
        reactor.turn(Some(left)).unwrap();
        count += 1;
    }
    count
}

/// Returns the processor time of this thread. `None` if the system does not report it.
fn processor_time() -> Option<Duration> {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    statistics.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

#[test]
fn a_tower_without_work_uses_no_processor_time() {
    run(|| {
        let peer = RunningTower::start(without_timers());
        let (handle, mut reactor) = reactor(without_timers());
        handle.announce(peer.handle.address()).unwrap();
        // An open link, a silent caller, and a caller that has closed its connection.
        let mut silent = TcpStream::connect(handle.local_addr()).unwrap();
        silent.set_nonblocking(true).unwrap();
        drop(TcpStream::connect(handle.local_addr()).unwrap());
        while peer.handle.find(handle.address()).is_none() || silent.read(&mut [0; 1]).is_err() {
            reactor.turn(Some(Duration::from_millis(1))).unwrap();
        }
        // The first observations may include work that is left. A reactor that wakes up without
        // work never ends this loop.
        let (before, after) = loop {
            let before = processor_time();
            if count_turns(&mut reactor) <= 1 {
                break (before, processor_time());
            }
        };
        match before.zip(after) {
            Some((before, after)) => {
                let used = after - before;
                assert!(used < OBSERVATION / 10, "{used:?} of {OBSERVATION:?}");
            }
            None => println!("skipped: this system does not report the time of a thread"),
        }
        handle.wake();
        assert_eq!(reactor.turn(None).unwrap(), ShutdownProgress::Running);
    });
}

#[test]
fn a_tower_without_peers_has_no_timer() {
    let (_handle, mut reactor) = reactor(without_timers());
    // A connection may have arrived before the listener was registered.
    assert_eq!(reactor.next_timeout(), Some(Duration::ZERO));
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(reactor.next_timeout(), None);
}
