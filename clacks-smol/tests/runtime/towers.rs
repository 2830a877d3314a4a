//! What towers under test are made of. The same for every runtime's tests.

use clacks_proto::{Address, Config, Seed, SendRate, Tower};
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::RwLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// How long a whole test may take. Far more than any needs: reaching it is a failure.
pub(crate) const LIMIT: Duration = Duration::from_secs(300);

/// Longer than any test.
pub(crate) const FOR_EVER: Duration = Duration::from_secs(3_600);

/// So long that no first tick, which is drawn from the whole interval, comes during a test.
const NEVER: Duration = Duration::from_secs(3_000_000_000);

/// Locked for reading by tests that open few descriptors, and for writing by a test that opens most
/// of those that a process may have.
pub(crate) static DESCRIPTORS: RwLock<()> = RwLock::new(());

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
    config.send_rate = SendRate::Every(NEVER);
    config.heartbeat = None;
    config
}

pub(crate) fn port() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// Listens where a dead tower listened. Retries while another process has the port.
pub(crate) fn port_again(socket: SocketAddr) -> TcpListener {
    loop {
        match TcpListener::bind(socket) {
            Ok(listener) => return listener,
            Err(error) if error.kind() == ErrorKind::AddrInUse => thread::yield_now(),
            Err(error) => panic!("{socket} can't be had again: {error}"),
        }
    }
}

/// Waits until a port refuses connections. Another process may have the port for a moment.
pub(crate) fn nobody_listens(socket: SocketAddr) {
    while TcpStream::connect(socket).is_ok() {
        thread::yield_now();
    }
}

/// A port that refuses connections. The two ends of a connection reserve it.
pub(crate) struct ClosedPort {
    socket: SocketAddr,
    _ends: [TcpStream; 2],
}

impl ClosedPort {
    pub(crate) fn new() -> Self {
        let listener = port();
        let socket = listener.local_addr().unwrap();
        let caller = TcpStream::connect(socket).unwrap();
        let (called, _) = listener.accept().unwrap();
        Self { socket, _ends: [caller, called] }
    }

    pub(crate) fn address(&self) -> Address {
        Address::try_from(self.socket).unwrap()
    }
}

/// A tower that is not yet driven.
pub(crate) fn tower(config: Config, listener: &TcpListener) -> Tower {
    static SEEDS: AtomicU64 = AtomicU64::new(1);
    let seed = Seed::from_u64(SEEDS.fetch_add(1, Ordering::Relaxed));
    let address = Address::try_from(listener.local_addr().unwrap()).unwrap();
    Tower::new(config, address, &seed).unwrap()
}
