//! Links that have ended leave no descriptors and no memory behind.

use std::io::Read;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use clacks_proto::{Address, Config, Notice, Tower};

use crate::network::{Network, RunningTower, Runtimes, connect, poll_until, quiet};
use crate::own_process::run_in_own_process;

/// Links that a caller opens, and closes after the first byte of the hello.
const CALLS: usize = 8_000;

/// Links that a tower dials, announces itself on, and closes.
const DIALS: usize = 2_000;

/// Links of each kind before the measurement. Pools, tables and the allocator then have their full
/// size.
const WARM_UP: usize = 1_000;

/// The maximum growth of the process: less than 500 bytes for each link.
const MAX_GROWTH: usize = 4 << 20;

pub(crate) fn ten_thousand_links_leave_no_descriptors_and_no_memory(runtimes: Runtimes) {
    let name = "ten_thousand_links_leave_no_descriptors_and_no_memory";
    run_in_own_process(name, runtimes, 1_024, || {
        let mut network = Network::new(runtimes);
        let mut tower = network.start_clear(closing_at_once());
        let mut peer = network.start_clear(closing_at_once());
        // After the first link the runtime has all its own descriptors. Both ends are closed.
        dial(&mut tower, &peer.address);
        wait_for_closed_link(&mut peer, None);
        let idle = descriptors();
        call(tower.socket, WARM_UP);
        (0..WARM_UP).for_each(|_| dial(&mut tower, &peer.address));
        wait_for_descriptors(idle);
        let before = resident_bytes();

        call(tower.socket, CALLS);
        (0..DIALS).for_each(|_| dial(&mut tower, &peer.address));
        wait_for_descriptors(idle);
        let after = resident_bytes();
        println!("{idle} descriptors; {before} bytes before, {after} after");
        assert!(after < before + MAX_GROWTH, "{before} bytes before, {after} after");
    });
}

/// Returns the configuration of a tower that closes unused links at once.
fn closing_at_once() -> Config {
    let mut config = quiet();
    config.timeouts.idle = Duration::from_millis(1);
    config
}

/// Makes the tower dial a peer. Returns when the link is closed.
fn dial(tower: &mut RunningTower<Tower>, peer: &Address) {
    tower.announce(peer).unwrap();
    wait_for_closed_link(tower, Some(peer));
}

/// Waits until a link with the peer, or any link, is closed.
fn wait_for_closed_link(tower: &mut RunningTower<Tower>, wanted: Option<&Address>) {
    tower.wait_for("a closed link", |notice| match notice {
        Notice::LinkClosed { peer, .. } => {
            (wanted.is_none() || peer.as_ref() == wanted).then_some(())
        }
        _ => None,
    });
}

/// Opens links to the tower one by one.
fn call(socket: SocketAddr, count: usize) {
    let mut greeted = 0;
    while greeted < count {
        // A tower whose half-open links are all in use drops the connection.
        greeted += connect(socket).read(&mut [0; 1]).unwrap_or(0);
    }
}

/// Waits until the process has as few descriptors as before the links.
fn wait_for_descriptors(idle: usize) {
    poll_until(&format!("{idle} descriptors"), || {
        thread::sleep(Duration::from_millis(5));
        descriptors() <= idle
    });
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Returns the number of bytes of this process that are in memory.
fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kibibytes: usize = line.trim().strip_suffix(" kB").unwrap().parse().unwrap();
    kibibytes * 1_024
}
