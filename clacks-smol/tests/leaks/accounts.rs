//! What is left of ten thousand short links. Shared by the tests of all runtimes.
//!
//! In a process of its own, because the descriptors and the memory of other tests would count as
//! well.

use clacks_proto::{Address, Config, Notice, Seed, SendRate, Tower};
use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// Links that a caller opens, and drops after the first byte of the hello.
const CALLS: usize = 8_000;

/// Links that a tower dials, announces itself on, and closes.
const DIALS: usize = 2_000;

/// Links before the count, so that pools, tables and the allocator have their full size.
const WARM_UP: usize = 1_000;

/// How long the test may take. It needs far less: if it takes this long, it has failed.
const TEST_TIMEOUT: Duration = Duration::from_secs(300);

/// How long sockets that are no longer used may stay open.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(60);

/// How much the process may grow: less than 500 bytes for each link.
const GROWTH: usize = 4 << 20;

const FOREVER: Duration = Duration::from_secs(3_600);

/// A tower in clear text that closes unused links at once, and its listener.
pub(crate) fn tower(seed: u64) -> (Tower, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = Config::default();
    config.send_rate = SendRate::Every(FOREVER);
    config.heartbeat = None;
    config.timeouts.idle = Duration::from_millis(1);
    let address = Address::try_from(listener.local_addr().unwrap()).unwrap();
    (Tower::new(config, address, &Seed::from_u64(seed)).unwrap(), listener)
}

/// Opens links to the tower at `socket`, makes it dial with `dial`, which returns when the link is
/// closed, and compares the descriptors and the memory before and after.
pub(crate) fn count(socket: SocketAddr, mut dial: impl FnMut()) {
    if !cfg!(target_os = "linux") {
        println!("skipped: only Linux has /proc/self");
        return;
    }
    thread::spawn(|| {
        thread::sleep(TEST_TIMEOUT);
        eprintln!("the test takes too long");
        std::process::abort();
    });
    let idle = descriptors();
    call(socket, WARM_UP);
    (0..WARM_UP).for_each(|_| dial());
    settle(idle);
    let before = resident();

    call(socket, CALLS);
    (0..DIALS).for_each(|_| dial());
    settle(idle);
    let after = resident();
    println!("{idle} descriptors; {before} bytes before, {after} after");
    assert!(after < before + GROWTH, "{before} bytes before, {after} after");
}

/// Returns whether a notice says that the link with a peer is closed.
pub(crate) fn is_end(notice: &Notice, of: &Address) -> bool {
    matches!(notice, Notice::LinkClosed { peer, .. } if peer.as_ref() == Some(of))
}

fn call(socket: SocketAddr, count: usize) {
    let mut greeted = 0;
    while greeted < count {
        // A tower whose half-open links are all in use drops the connection.
        let mut caller = TcpStream::connect(socket).unwrap();
        greeted += caller.read(&mut [0; 1]).unwrap_or(0);
    }
}

/// Waits until the process has as few descriptors as when it had no links.
fn settle(idle: usize) {
    let deadline = Instant::now() + CLOSE_TIMEOUT;
    while descriptors() > idle {
        assert!(Instant::now() < deadline, "{} descriptors instead of {idle}", descriptors());
        thread::sleep(Duration::from_millis(5));
    }
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Returns the bytes of this process that are in memory.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kibibytes: usize = line.trim().strip_suffix(" kB").unwrap().parse().unwrap();
    kibibytes * 1_024
}
