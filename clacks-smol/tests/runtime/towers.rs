//! Towers for tests. Shared by the tests of all runtimes.

use clacks_proto::{Address, Config, Seed, SendRate, Tower};
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::RwLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// How long a test may take. Tests need far less: one that takes this long has failed.
pub(crate) const TEST_TIMEOUT: Duration = Duration::from_secs(300);

/// Longer than any test.
pub(crate) const FOREVER: Duration = Duration::from_secs(3_600);

/// So long that the first tick, which is drawn from the whole interval, does not come during a
/// test.
const NEVER: Duration = Duration::from_secs(3_000_000_000);

/// Locked for reading by tests that open few descriptors, and for writing by one that opens most of
/// those that a process may have.
pub(crate) static DESCRIPTORS: RwLock<()> = RwLock::new(());

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
    config.send_rate = SendRate::Every(NEVER);
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

/// Listens at a port of a tower that is gone. Another process may have the port for a moment.
pub(crate) fn port_again(socket: SocketAddr) -> TcpListener {
    loop {
        match TcpListener::bind(socket) {
            Ok(listener) => return listener,
            Err(error) if error.kind() == ErrorKind::AddrInUse => thread::yield_now(),
            Err(error) => panic!("{socket} can't be had again: {error}"),
        }
    }
}

/// Waits until connections to a port are refused. Another process may have the port for a moment.
pub(crate) fn nobody_listens(socket: SocketAddr) {
    while TcpStream::connect(socket).is_ok() {
        thread::yield_now();
    }
}

/// A port that refuses connections. The ends of an old connection keep other processes from getting
/// it.
pub(crate) struct ClosedPort {
    pub(crate) address: Address,
    _ends: [TcpStream; 2],
}

impl ClosedPort {
    pub(crate) fn new() -> Self {
        let listener = port();
        let caller = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (called, _) = listener.accept().unwrap();
        Self { address: address(&listener), _ends: [caller, called] }
    }
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
