//! What ten thousand short links leave behind: nothing. The same for every runtime.
//!
//! In a process of its own, because other tests' descriptors and memory would count as well.

use clacks_proto::{Address, Config, Report, Seed, SendRate, Tower};
use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// Links that somebody opens and drops when he has been greeted.
const CALLS: usize = 8_000;

/// Links that a tower dials, says hello on, announces itself on, and parts from.
const DIALS: usize = 2_000;

/// What goes before, so that everything has its full size: pools, tables, the allocator's own stock.
const WARM_UP: usize = 1_000;

/// How long the whole test may take. Far more than it needs: reaching it is a failure.
const LIMIT: Duration = Duration::from_secs(300);

/// How long sockets may take to be gone when nobody needs them any more.
const PATIENCE: Duration = Duration::from_secs(60);

/// How much the process may have grown: less than 500 bytes for each link.
const GROWTH: usize = 4 << 20;

const FOR_EVER: Duration = Duration::from_secs(3_600);

/// A tower in clear text whose links are short, and its port.
pub(crate) fn tower(seed: u64) -> (Tower, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = Config::default();
    config.send_rate = SendRate::Every(FOR_EVER);
    config.heartbeat = None;
    config.timeouts.idle = Duration::from_millis(1);
    let address = Address::try_from(listener.local_addr().unwrap()).unwrap();
    (Tower::new(config, address, &Seed::from_u64(seed)).unwrap(), listener)
}

/// Opens links from outside to the tower at `socket` and has it dial another one with `dial`, which comes back when the
/// link is closed; and looks what is left of them.
pub(crate) fn count(socket: SocketAddr, mut dial: impl FnMut()) {
    if !cfg!(target_os = "linux") {
        println!("skipped: only Linux tells a process's descriptors and memory in /proc/self");
        return;
    }
    thread::spawn(|| {
        thread::sleep(LIMIT);
        eprintln!("waited too long");
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

/// Whether a report tells that the link with a tower is closed.
pub(crate) fn is_end(report: &Report, with: &Address) -> bool {
    matches!(report, Report::LinkClosed { tower, .. } if tower.as_ref() == Some(with))
}

fn call(socket: SocketAddr, count: usize) {
    let mut greeted = 0;
    while greeted < count {
        // A tower whose half-open links are all taken hangs up: not every call makes a link.
        let mut caller = TcpStream::connect(socket).unwrap();
        greeted += caller.read(&mut [0; 1]).unwrap_or(0);
    }
}

/// Waits until the process has as few descriptors as when it had no links.
fn settle(idle: usize) {
    let deadline = Instant::now() + PATIENCE;
    while descriptors() > idle {
        assert!(Instant::now() < deadline, "{} descriptors instead of {idle}", descriptors());
        thread::sleep(Duration::from_millis(5));
    }
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// The bytes of this process that are in memory.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kibibytes: usize = line.trim().strip_suffix(" kB").unwrap().parse().unwrap();
    kibibytes * 1_024
}
