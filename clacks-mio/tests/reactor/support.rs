//! Towers on the loopback interface, and a time limit for tests.

use clacks_mio::{Address, Config, Handle, Reactor, Seed, SendRate, Tower};
use std::net::TcpListener;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// The time limit of a test. Only failures reach it.
const TEST_TIMEOUT: Duration = Duration::from_secs(300);

/// Longer than any test, even if the first tick is drawn from the whole interval.
const FOREVER: Duration = Duration::from_secs(3_000_000_000);

/// Runs a test. Fails if it takes too long.
pub(crate) fn run(test: impl FnOnce() + Send + 'static) {
    let (done, ended) = mpsc::channel::<()>();
    let thread = thread::spawn(move || {
        let _done = done;
        test();
    });
    match ended.recv_timeout(TEST_TIMEOUT) {
        Err(RecvTimeoutError::Timeout) => panic!("the test takes too long"),
        _ => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
    }
}

/// Returns a configuration with short intervals.
pub(crate) fn quick() -> Config {
    let mut config = Config::default();
    config.send_rate = SendRate::Every(Duration::from_millis(2));
    config.probe_backoff = Duration::from_millis(10);
    config.heartbeat = Some(Duration::from_millis(20));
    config
}

/// Returns the configuration of a tower that does nothing on its own. No timeout expires during a
/// test.
pub(crate) fn without_timers() -> Config {
    let mut config = quick();
    config.send_rate = SendRate::Every(FOREVER);
    config.heartbeat = None;
    config.timeouts.connect = FOREVER;
    config.timeouts.handshake = FOREVER;
    config.timeouts.confirm = FOREVER;
    config.timeouts.idle = FOREVER;
    config.timeouts.close = FOREVER;
    config.timeouts.shutdown = FOREVER;
    config
}

/// Listens at a free port.
pub(crate) fn listen() -> (TcpListener, Address) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().try_into().unwrap();
    (listener, address)
}

/// Returns the reactor of a tower without TLS.
pub(crate) fn reactor(config: Config) -> (Handle<Tower>, Reactor<Tower>) {
    static SEEDS: AtomicU64 = AtomicU64::new(1);
    let (listener, address) = listen();
    let seed = Seed::from_u64(SEEDS.fetch_add(1, Ordering::Relaxed));
    Reactor::new(Tower::new(config, address, &seed).unwrap(), listener).unwrap()
}

/// A tower on a thread of its own. Dropping it shuts the tower down.
pub(crate) struct RunningTower {
    pub(crate) handle: Handle<Tower>,
}

impl RunningTower {
    pub(crate) fn start(config: Config) -> Self {
        let (handle, reactor) = reactor(config);
        thread::spawn(|| reactor.run());
        Self { handle }
    }
}

impl Drop for RunningTower {
    fn drop(&mut self) {
        drop(self.handle.shutdown_within(Duration::ZERO));
    }
}
