//! Towers for tests. Shared by the tests of all runtimes.

use clacks_proto::{Address, Config, Seed, SendRate, Tower};
use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long a test may take. Tests need far less: one that takes this long has failed.
pub(crate) const TEST_TIMEOUT: Duration = Duration::from_secs(90);

/// Longer than any test.
pub(crate) const FOREVER: Duration = Duration::from_secs(3_600);

/// A configuration with short intervals.
pub(crate) fn quick() -> Config {
    let mut config = Config::default();
    config.send_rate = SendRate::Every(Duration::from_millis(2));
    config.probe_backoff = Duration::from_millis(10);
    config.heartbeat = Some(Duration::from_millis(20));
    config
}

/// Like [`quick`], for a tower that hands on no message and announces nothing by itself.
pub(crate) fn quiet() -> Config {
    let mut config = quick();
    config.send_rate = SendRate::Every(FOREVER);
    config.heartbeat = None;
    config
}

/// Like [`quiet`], for a tower without any deadline during a test.
pub(crate) fn without_timeouts() -> Config {
    let mut config = quiet();
    config.timeouts.connect = FOREVER;
    config.timeouts.handshake = FOREVER;
    config.timeouts.confirm = FOREVER;
    config.timeouts.idle = FOREVER;
    config.timeouts.close = FOREVER;
    config.timeouts.shutdown = FOREVER;
    config
}

/// A listener at a free port.
pub(crate) fn port() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// The address of a port that was free a moment ago.
pub(crate) fn closed_port() -> Address {
    address(&port())
}

/// The address of a listener.
pub(crate) fn address(listener: &TcpListener) -> Address {
    listener.local_addr().unwrap().try_into().unwrap()
}

/// A tower without a driver.
pub(crate) fn tower(config: Config, listener: &TcpListener) -> Tower {
    static SEEDS: AtomicU64 = AtomicU64::new(1);
    let seed = Seed::from_u64(SEEDS.fetch_add(1, Ordering::Relaxed));
    Tower::new(config, address(listener), &seed).unwrap()
}
