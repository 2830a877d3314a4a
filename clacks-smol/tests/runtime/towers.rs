//! What towers under test are made of. The same for every runtime's tests.

use clacks_proto::{Address, Config, Seed, SendRate, Tower};
use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long a whole test may take. Far more than any needs: reaching it is a failure.
pub(crate) const LIMIT: Duration = Duration::from_secs(90);

/// Longer than any test.
pub(crate) const FOR_EVER: Duration = Duration::from_secs(3_600);

/// A configuration for impatient tests.
pub(crate) fn quick() -> Config {
    let mut config = Config::default();
    config.send_rate = SendRate::Every(Duration::from_millis(2));
    config.probe_backoff = Duration::from_millis(10);
    config.heartbeat = Some(Duration::from_millis(20));
    config
}

/// Like [`quick`], but it sends nothing unless it is told to.
pub(crate) fn quiet() -> Config {
    let mut config = quick();
    config.send_rate = SendRate::Every(FOR_EVER);
    config.heartbeat = None;
    config
}

pub(crate) fn port() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// A tower that is not yet driven.
pub(crate) fn tower(config: Config, listener: &TcpListener) -> Tower {
    static SEEDS: AtomicU64 = AtomicU64::new(1);
    let seed = Seed::from_u64(SEEDS.fetch_add(1, Ordering::Relaxed));
    let address = Address::try_from(listener.local_addr().unwrap()).unwrap();
    Tower::new(config, address, &seed).unwrap()
}
