//! Networks of towers on one or several runtimes, and waiting for the notices of towers.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread;
use std::time::{Duration, Instant};

use clacks_proto::driver::{Handle, Notices, RecvTimeoutError, Screen};
use clacks_proto::tls::{Identity, SecureTower, Trust};
use clacks_proto::{Address, Config, Message, Notice, Seed, SendRate, StateMachine, Status, Tower};

use crate::runtime::{Driver, RunningDriver, Runtime};

/// The longest time that a step of a test may take on the slowest machine. Only failures reach it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);
const RECHECK: Duration = Duration::from_millis(20);

/// Longer than any test, even if the first tick is drawn from the whole interval.
pub(crate) const FOREVER: Duration = Duration::from_secs(3_000_000_000);

/// The number of notices that are kept for the message of a failure.
const KEPT_NOTICES: usize = 24;

/// The runtimes of a network. The first tower runs on the first runtime, and so on, in rotation.
pub(crate) type Runtimes = &'static [Runtime];

/// Starts towers. Declare it before its towers, so that it is dropped after them.
pub(crate) struct Network {
    runtimes: Runtimes,
    towers: usize,
    _descriptors: Descriptors,
}

/// The share of a network in the file descriptors of this process.
enum Descriptors {
    Few { _guard: RwLockReadGuard<'static, ()> },
    Most { _guard: RwLockWriteGuard<'static, ()> },
}

static DESCRIPTORS: RwLock<()> = RwLock::new(());

impl Network {
    pub(crate) fn new(runtimes: Runtimes) -> Self {
        let guard = DESCRIPTORS.read().unwrap_or_else(PoisonError::into_inner);
        Self { runtimes, towers: 0, _descriptors: Descriptors::Few { _guard: guard } }
    }

    /// Returns a network that may use most of the usual 1 024 file descriptors of a process. No
    /// other network exists at the same time.
    pub(crate) fn exclusive(runtimes: Runtimes) -> Self {
        let guard = DESCRIPTORS.write().unwrap_or_else(PoisonError::into_inner);
        Self { runtimes, towers: 0, _descriptors: Descriptors::Most { _guard: guard } }
    }

    /// Starts a tower with TLS.
    pub(crate) fn start(&mut self, options: impl Into<TowerOptions>) -> RunningTower {
        self.start_secure_machine(options, |tower| tower)
    }

    /// Starts a tower without TLS.
    pub(crate) fn start_clear(&mut self, options: impl Into<TowerOptions>) -> RunningTower<Tower> {
        self.start_machine(options, |tower| tower)
    }

    /// Starts the state machine that `build` makes of a tower.
    pub(crate) fn start_machine<M: StateMachine + Send + 'static>(
        &mut self,
        options: impl Into<TowerOptions>,
        build: impl FnOnce(Tower) -> M,
    ) -> RunningTower<M> {
        let (handle, driver) = self.driver(options, build);
        RunningTower::new(handle, |handle| driver.start(handle))
    }

    /// Starts the state machine that `build` makes of a tower with TLS.
    pub(crate) fn start_secure_machine<M: StateMachine + Send + 'static>(
        &mut self,
        options: impl Into<TowerOptions>,
        build: impl FnOnce(SecureTower) -> M,
    ) -> RunningTower<M> {
        let options = options.into();
        let (identity, trust) = (options.identity.clone(), options.trust.clone());
        self.start_machine(options, |tower| {
            build(SecureTower::new(tower, &identity, trust).unwrap())
        })
    }

    /// Like [`start_machine`](Self::start_machine), for a state machine that blocks.
    pub(crate) fn start_machine_on_own_thread<M: StateMachine + Send + 'static>(
        &mut self,
        options: impl Into<TowerOptions>,
        build: impl FnOnce(Tower) -> M,
    ) -> RunningTower<M> {
        let (handle, driver) = self.driver(options, build);
        RunningTower::new(handle, |handle| driver.start_on_own_thread(handle))
    }

    /// Returns a driver that does not run yet, and the handle of its tower.
    pub(crate) fn driver<M: StateMachine + Send + 'static>(
        &mut self,
        options: impl Into<TowerOptions>,
        build: impl FnOnce(Tower) -> M,
    ) -> (Handle<M>, Driver<M>) {
        let TowerOptions { config, listener, address, screen, .. } = options.into();
        let listener = listener.unwrap_or_else(listen);
        let address = address.unwrap_or_else(|| address_of(&listener));
        let runtime = self.runtimes[self.towers % self.runtimes.len()];
        self.towers += 1;
        runtime.driver(build(tower_at(address, config)), listener, screen)
    }
}

/// The properties of a tower that a test starts.
pub(crate) struct TowerOptions {
    pub(crate) config: Config,
    /// `None` listens at a free port.
    pub(crate) listener: Option<TcpListener>,
    /// The address at which peers dial the tower. `None` is the address of the listener.
    pub(crate) address: Option<Address>,
    /// The key of a tower with TLS. A new key by default.
    pub(crate) identity: Identity,
    /// Which keys a tower with TLS accepts. All by default.
    pub(crate) trust: Trust,
    pub(crate) screen: Option<Screen>,
}

impl From<Config> for TowerOptions {
    fn from(config: Config) -> Self {
        Self {
            config,
            listener: None,
            address: None,
            identity: Identity::generate().unwrap(),
            trust: Trust::Open,
            screen: None,
        }
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

/// Like [`quick`], but the tower hands on no messages and announces nothing on its own.
pub(crate) fn quiet() -> Config {
    let mut config = quick();
    config.send_rate = SendRate::Every(FOREVER);
    config.heartbeat = None;
    config
}

/// Like [`quiet`], but no timeout of the tower expires during a test.
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

/// Listens at a free port.
pub(crate) fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// Listens at the port of a tower that has ended. An outgoing connection of another process may
/// use the port for a moment.
pub(crate) fn listen_again(socket: SocketAddr) -> TcpListener {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match TcpListener::bind(socket) {
            Ok(listener) => return listener,
            Err(error) if error.kind() == ErrorKind::AddrInUse && Instant::now() < deadline => {
                thread::yield_now();
            }
            Err(error) => panic!("cannot listen at {socket} again: {error}"),
        }
    }
}

/// Connects to a tower. A read or write that takes too long fails.
pub(crate) fn connect(socket: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// Returns the address of a listener.
pub(crate) fn address_of(listener: &TcpListener) -> Address {
    listener.local_addr().unwrap().try_into().unwrap()
}

/// Returns a tower without a driver.
pub(crate) fn tower_at(address: Address, config: Config) -> Tower {
    static SEEDS: AtomicU64 = AtomicU64::new(1);
    let seed = Seed::from_u64(SEEDS.fetch_add(1, Ordering::Relaxed));
    Tower::new(config, address, &seed).unwrap()
}

/// Waits until a port refuses connections. Another process may use the port for a moment.
pub(crate) fn wait_until_refused(socket: SocketAddr) {
    poll_until("the port refuses connections", || TcpStream::connect(socket).is_err());
}

/// Checks a condition again and again until it holds, without waiting for notices.
pub(crate) fn poll_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "timed out: {what}");
        thread::yield_now();
    }
}

/// A tower that runs in the background, and a reader of its notices. Dropping it kills the tower.
/// The methods of its handle can be called on it.
pub(crate) struct RunningTower<M: StateMachine + Send + 'static = SecureTower> {
    handle: Handle<M>,
    notices: Notices,
    driver: Option<RunningDriver>,
    last_notices: VecDeque<Notice>,
    pub(crate) address: Address,
    pub(crate) socket: SocketAddr,
}

impl<M: StateMachine + Send + 'static> Deref for RunningTower<M> {
    type Target = Handle<M>;

    fn deref(&self) -> &Handle<M> {
        &self.handle
    }
}

impl<M: StateMachine + Send + 'static> RunningTower<M> {
    fn new(handle: Handle<M>, start: impl FnOnce(&Handle<M>) -> RunningDriver) -> Self {
        // The reader receives the first notice, too.
        let notices = handle.notices();
        let driver = Some(start(&handle));
        let (address, socket) = (handle.address().clone(), handle.local_addr());
        Self { handle, notices, driver, last_notices: VecDeque::new(), address, socket }
    }

    /// Returns the status that the tower has for a peer.
    pub(crate) fn status_of(&self, peer: &Address) -> Option<Status> {
        self.find(peer).map(|peer| peer.status)
    }

    /// Returns the number of messages in the queue.
    pub(crate) fn queue_len(&self) -> usize {
        self.queue_usage().messages
    }

    pub(crate) fn enqueue_text(&self, text: &str) {
        self.enqueue(Message::text(text)).unwrap();
    }

    /// Reads notices until `wanted` returns a value.
    pub(crate) fn wait_for<T>(
        &mut self,
        what: &str,
        mut wanted: impl FnMut(&Notice) -> Option<T>,
    ) -> T {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(found) = wanted(&self.next_notice(deadline, what)) {
                return found;
            }
        }
    }

    /// Waits until a condition holds. It is checked at once, after each notice, and after each
    /// `RECHECK` without one: a link, for example, is still listed after its notice, until its
    /// socket is closed.
    pub(crate) fn wait_until(&mut self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !holds(self) {
            match self.try_next_notice(deadline.min(Instant::now() + RECHECK)) {
                Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => {}
                Err(_) => self.fail(what),
                Ok(_) => {}
            }
        }
    }

    /// Waits until a peer has a status.
    pub(crate) fn wait_for_status(&mut self, status: Status, peer: &Address) {
        let what = format!("{peer} {status}");
        self.wait_until(&what, |tower| tower.status_of(peer) == Some(status));
    }

    /// Waits until a peer hands over a text.
    pub(crate) fn wait_for_text(&mut self, text: &str) {
        self.wait_for(text, |notice| match notice {
            Notice::MessageReceived { message, .. } => {
                (message.as_text() == Some(text)).then_some(())
            }
            _ => None,
        });
    }

    /// Waits until peers have confirmed a number of messages. Returns these peers.
    pub(crate) fn wait_for_deliveries(&mut self, count: usize) -> Vec<Address> {
        let mut peers = Vec::new();
        self.wait_for(&format!("{count} deliveries"), |notice| {
            if let Notice::MessageDelivered { to, .. } = notice {
                peers.push(to.clone());
            }
            (peers.len() == count).then_some(())
        });
        peers
    }

    /// Reads the notices up to the end of the driver. Returns the last one.
    pub(crate) fn wait_for_last_notice(&mut self) -> Option<Notice> {
        let deadline = Instant::now() + DEADLINE;
        let mut last = None;
        loop {
            match self.notices.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(notice) => last = Some(notice),
                Err(RecvTimeoutError::Closed) => return last,
                Err(RecvTimeoutError::Timeout) => self.fail("the end of the driver"),
            }
        }
    }

    fn next_notice(&mut self, deadline: Instant, what: &str) -> Notice {
        self.try_next_notice(deadline).unwrap_or_else(|_| self.fail(what))
    }

    fn try_next_notice(&mut self, deadline: Instant) -> Result<Notice, RecvTimeoutError> {
        let left = deadline.saturating_duration_since(Instant::now());
        let notice = self.notices.recv_timeout(left)?;
        if left.is_zero() {
            return Err(RecvTimeoutError::Timeout);
        }
        if self.last_notices.len() == KEPT_NOTICES {
            self.last_notices.pop_front();
        }
        self.last_notices.push_back(notice.clone());
        Ok(notice)
    }

    fn fail(&self, what: &str) -> ! {
        let notices: Vec<_> =
            self.last_notices.iter().map(|notice| truncate(&format!("{notice:?}"))).collect();
        let (peers, stats, usage) = (self.survey(), self.stats(), self.queue_usage());
        panic!(
            "{} timed out or ended while waiting for {what:?}\nlast notices: {notices:#?}\n\
             peers: {peers:#?}\n{usage:?}\n{stats:#?}",
            self.address
        );
    }

    /// Shuts the tower down, and waits until its driver has ended. Returns the number of messages
    /// that no peer took.
    pub(crate) fn shut_down(&mut self) -> usize {
        let Ok(left) = self.shutdown().wait_timeout(DEADLINE) else { self.fail("the shutdown") };
        if let Some(driver) = self.driver.take() {
            driver.join();
        }
        left
    }

    /// Stops the tower without a goodbye to peers. All its sockets are closed when this returns.
    pub(crate) fn kill(mut self) {
        self.stop();
    }

    /// Like [`kill`](Self::kill), for tests that use the handle afterwards.
    pub(crate) fn stop(&mut self) {
        if let Some(driver) = self.driver.take() {
            driver.kill();
        }
    }
}

impl<M: StateMachine + Send + 'static> Drop for RunningTower<M> {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Returns the beginning of a text that may contain a large message.
fn truncate(text: &str) -> String {
    text.chars().take(200).collect()
}
