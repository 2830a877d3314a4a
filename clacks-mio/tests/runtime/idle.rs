//! A tower with nothing to do does nothing.

use clacks_mio::Reactor;
use clacks_proto::{Address, Config, ShutdownProgress, StateMachine};
use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::{FOR_EVER, quiet, reactor, run, start};

/// How long a tower is watched. What it does in this time it does in any.
const WHILE: Duration = Duration::from_millis(500);

/// A tower without any deadline that is near.
fn patient() -> Config {
    let mut config = quiet();
    config.timeouts.handshake = FOR_EVER;
    config.timeouts.idle = FOR_EVER;
    config
}

/// How often a reactor comes back while nobody calls it.
fn wakings<M: StateMachine + Send>(reactor: &mut Reactor<M>) -> usize {
    let begun = Instant::now();
    let mut count = 0;
    while let Some(left) = WHILE.checked_sub(begun.elapsed()) {
        reactor.turn(Some(left)).unwrap();
        count += 1;
    }
    count
}

/// Nanoseconds for which this thread has been running; Linux tells.
fn busy() -> Option<u64> {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    statistics.split(' ').next()?.parse().ok()
}

#[test]
fn a_tower_with_nothing_to_do_uses_no_processor() {
    run(|| {
        let friend = start(patient());
        let (handle, mut reactor) = reactor(patient());
        handle.announce(&friend.address()).unwrap();
        // Links that stand, one that is silent, and one whose other side has gone.
        let mut silent = TcpStream::connect(handle.local_addr()).unwrap();
        silent.set_nonblocking(true).unwrap();
        drop(TcpStream::connect(handle.local_addr()).unwrap());
        let ours = Address::try_from(handle.local_addr()).unwrap();
        let is_known = || friend.handle.survey().iter().any(|peer| peer.address == ours);
        while !is_known() || silent.read(&mut [0; 1]).is_err() {
            reactor.turn(Some(Duration::from_millis(1))).unwrap();
        }
        // What still comes of it ends. A reactor that wakes for nothing never gets out of here.
        let (before, after) = loop {
            let before = busy();
            if wakings(&mut reactor) <= 1 {
                break (before, busy());
            }
        };
        match before.zip(after) {
            Some((before, after)) => {
                let busy = Duration::from_nanos(after - before);
                assert!(busy < WHILE / 10, "busy for {busy:?} of {WHILE:?}");
            }
            None => println!("skipped: this system does not tell a thread's processor time"),
        }
        // And it is not asleep for ever.
        handle.wake();
        assert_eq!(reactor.turn(None).unwrap(), ShutdownProgress::Running);
    });
}

#[test]
fn a_tower_without_peers_asks_for_no_timer() {
    let (_handle, mut reactor) = reactor(patient());
    // The door may have somebody waiting from before it was watched.
    assert_eq!(reactor.next_timeout(), Some(Duration::ZERO));
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(reactor.next_timeout(), None);
}
