//! Towers for scenarios, and waiting for their notices.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread;
use std::time::{Duration, Instant};

use clacks_proto::driver::{Handle, Notices, Screen};
use clacks_proto::tls::{Identity, SecureTower, Trust};
use clacks_proto::{Address, Config, Message, Notice, Seed, SendRate, StateMachine, Status, Tower};

use crate::runtime::{Running, Runtime};

/// How long anything may take on the slowest machine. Reaching it is a failure.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// Longer than any test; so much that no moment drawn from it comes during one.
pub(crate) const FOR_EVER: Duration = Duration::from_secs(3_000_000_000);

/// How many notices are kept for the message of a failure.
const REMEMBERED: usize = 24;

/// What a network runs on: its towers take them in turn.
pub(crate) type Runtimes = &'static [Runtime];

/// Where towers are raised. Declare it before them, so that it is dropped after them.
pub(crate) struct Network {
    runtimes: Runtimes,
    raised: usize,
    _room: Room,
}

/// Who else may have descriptors open in this process.
enum Room {
    Shared { _guard: RwLockReadGuard<'static, ()> },
    Alone { _guard: RwLockWriteGuard<'static, ()> },
}

static ROOM: RwLock<()> = RwLock::new(());

impl Network {
    pub(crate) fn of(runtimes: Runtimes) -> Self {
        let guard = ROOM.read().unwrap_or_else(PoisonError::into_inner);
        Self { runtimes, raised: 0, _room: Room::Shared { _guard: guard } }
    }

    /// A network that needs most of the descriptors that a process usually has: other scenarios
    /// wait.
    pub(crate) fn alone(runtimes: Runtimes) -> Self {
        let guard = ROOM.write().unwrap_or_else(PoisonError::into_inner);
        Self { runtimes, raised: 0, _room: Room::Alone { _guard: guard } }
    }

    /// Starts a tower on the next runtime.
    pub(crate) fn raise(&mut self, mut plan: Plan) -> RunningTower<SecureTower> {
        let listener = plan.listener.take().unwrap_or_else(port);
        let tower = plan.tower(&listener);
        let machine = SecureTower::new(tower, &plan.identity, plan.trust).unwrap();
        self.start(machine, listener, plan.screen)
    }

    /// Starts a tower in clear text on the next runtime.
    pub(crate) fn raise_clear(&mut self, mut plan: Plan) -> RunningTower<Tower> {
        let listener = plan.listener.take().unwrap_or_else(port);
        self.start(plan.tower(&listener), listener, plan.screen)
    }

    /// Starts a tower about which nothing is special but its configuration.
    pub(crate) fn raise_with(&mut self, config: Config) -> RunningTower<SecureTower> {
        self.raise(Plan::new(config))
    }

    fn start<M: StateMachine + Send + 'static>(
        &mut self,
        machine: M,
        listener: TcpListener,
        screen: Option<Screen>,
    ) -> RunningTower<M> {
        let runtime = self.runtimes[self.raised % self.runtimes.len()];
        self.raised += 1;
        let (handle, notices, running) = runtime.start(machine, listener, screen);
        let (address, socket) = (handle.address().clone(), handle.local_addr());
        let (running, seen) = (Some(running), VecDeque::new());
        RunningTower { handle, notices, running, seen, address, socket }
    }
}

/// What a tower shall be like.
pub(crate) struct Plan {
    pub(crate) config: Config,
    /// Where it listens. Default: a free port.
    pub(crate) listener: Option<TcpListener>,
    /// Where others reach it. Default: where it listens.
    pub(crate) known_as: Option<Address>,
    /// Its key. Default: a new key.
    pub(crate) identity: Identity,
    pub(crate) trust: Trust,
    pub(crate) screen: Option<Screen>,
}

impl Plan {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            config,
            listener: None,
            known_as: None,
            identity: Identity::generate().unwrap(),
            trust: Trust::Open,
            screen: None,
        }
    }

    fn tower(&mut self, listener: &TcpListener) -> Tower {
        static SEEDS: AtomicU64 = AtomicU64::new(1);
        let own = || listener.local_addr().unwrap().try_into().unwrap();
        let address = self.known_as.take().unwrap_or_else(own);
        let seed = Seed::from_u64(SEEDS.fetch_add(1, Ordering::Relaxed));
        Tower::new(self.config.clone(), address, &seed).unwrap()
    }
}

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

/// Listens where a tower listened that is gone. Another process may have the port for a moment, as
/// the near end of a connection.
pub(crate) fn port_again(socket: SocketAddr) -> TcpListener {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match TcpListener::bind(socket) {
            Ok(listener) => return listener,
            Err(error) if error.kind() == ErrorKind::AddrInUse && Instant::now() < deadline => {
                thread::yield_now();
            }
            Err(error) => panic!("{socket} can't be had again: {error}"),
        }
    }
}

/// Waits until a port refuses connections. Another process may have the port for a moment.
pub(crate) fn nobody_listens(socket: SocketAddr) {
    let deadline = Instant::now() + DEADLINE;
    while TcpStream::connect(socket).is_ok() {
        assert!(Instant::now() < deadline, "somebody listens at {socket}");
        thread::yield_now();
    }
}

/// A tower with its notices. Killed when dropped.
pub(crate) struct RunningTower<M: StateMachine + Send + 'static = SecureTower> {
    handle: Handle<M>,
    notices: Notices,
    running: Option<Running>,
    seen: VecDeque<Notice>,
    pub(crate) address: Address,
    pub(crate) socket: SocketAddr,
}

/// The tower's verbs.
impl<M: StateMachine + Send + 'static> Deref for RunningTower<M> {
    type Target = Handle<M>;

    fn deref(&self) -> &Handle<M> {
        &self.handle
    }
}

impl<M: StateMachine + Send + 'static> RunningTower<M> {
    pub(crate) fn status_of(&self, address: &Address) -> Option<Status> {
        self.find(address).map(|peer| peer.status)
    }

    /// How many messages it holds.
    pub(crate) fn held(&self) -> usize {
        self.queue_usage().messages
    }

    pub(crate) fn enqueue_text(&self, text: &str) {
        self.enqueue(Message::text(text)).unwrap();
    }

    /// Reads notices until one is what is looked for.
    pub(crate) fn hears<T>(
        &mut self,
        what: &str,
        mut wanted: impl FnMut(&Notice) -> Option<T>,
    ) -> T {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(found) = wanted(&self.next(deadline, what)) {
                return found;
            }
        }
    }

    /// Waits until something holds that can only come about together with a notice.
    pub(crate) fn until(&mut self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !holds(self) {
            self.next(deadline, what);
        }
    }

    /// Waits until it thinks that of another tower.
    pub(crate) fn thinks(&mut self, status: Status, of: &Address) {
        self.until(&format!("{of} {status}"), |tower| tower.status_of(of) == Some(status));
    }

    /// Waits for a message.
    pub(crate) fn receives(&mut self, text: &str) {
        self.hears(text, |notice| match notice {
            Notice::MessageReceived { message, .. } => {
                (message.as_text() == Some(text)).then_some(())
            }
            _ => None,
        });
    }

    /// Waits until it was confirmed so many messages, and says by whom.
    pub(crate) fn delivers(&mut self, count: usize) -> Vec<Address> {
        let mut takers = Vec::new();
        self.hears(&format!("{count} deliveries"), |notice| {
            if let Notice::MessageDelivered { to, .. } = notice {
                takers.push(to.clone());
            }
            (takers.len() == count).then_some(())
        });
        takers
    }

    fn next(&mut self, deadline: Instant, what: &str) -> Notice {
        let within = deadline.saturating_duration_since(Instant::now());
        let notice = self.notices.recv_timeout(within).ok();
        let Some(notice) = notice.filter(|_| !within.is_zero()) else { self.give_up(what) };
        if self.seen.len() == REMEMBERED {
            self.seen.pop_front();
        }
        self.seen.push_back(notice.clone());
        notice
    }

    fn give_up(&self, what: &str) -> ! {
        let seen: Vec<_> = self.seen.iter().map(|notice| clip(&format!("{notice:?}"))).collect();
        let (peers, stats, usage) = (self.survey(), self.stats(), self.queue_usage());
        panic!(
            "{} waited for {what:?} in vain\nlast notices: {seen:#?}\n\
             peers: {peers:#?}\n{usage:?}\n{stats:#?}",
            self.address
        );
    }

    /// Shuts the tower down, and returns how many messages no peer took.
    pub(crate) fn leave(&mut self) -> usize {
        let Ok(left) = self.shutdown().wait_timeout(DEADLINE) else { self.give_up("its end") };
        if let Some(running) = self.running.take() {
            running.join();
        }
        left
    }

    /// Sudden death. Its sockets are closed when this returns.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(running) = self.running.take() {
            running.kill(|| self.handle.wake());
        }
    }
}

impl<M: StateMachine + Send + 'static> Drop for RunningTower<M> {
    fn drop(&mut self) {
        self.end();
    }
}

/// The beginning of a text that may spell out a large message.
fn clip(text: &str) -> String {
    text.chars().take(200).collect()
}
