//! Towers for scenarios, and waiting for what they report.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread;
use std::time::{Duration, Instant};

use clacks_proto::tls::{Identity, SecureTower, Trust};
use clacks_proto::{Address, Config, Message, Peer, Report, Seed, SendRate, Status, Tower};

use crate::runtime::{Machine, Running, Runtime, Screen};

/// How long anything may take on the slowest machine. Reaching it is a failure.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// Longer than any test; so much that no moment drawn from it comes during one.
pub(crate) const FOR_EVER: Duration = Duration::from_secs(3_000_000_000);

/// How many reports are kept for the message of a failure.
const REMEMBERED: usize = 24;

/// What a network runs on: its towers take them in turn.
pub(crate) type Runtimes = &'static [&'static dyn Runtime];

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

    /// A network that needs most of the descriptors that a process usually has: other scenarios wait.
    pub(crate) fn alone(runtimes: Runtimes) -> Self {
        let guard = ROOM.write().unwrap_or_else(PoisonError::into_inner);
        Self { runtimes, raised: 0, _room: Room::Alone { _guard: guard } }
    }

    /// Starts a tower on the next runtime.
    pub(crate) fn raise(&mut self, plan: Plan) -> Station {
        static SEEDS: AtomicU64 = AtomicU64::new(1);
        let runtime = self.runtimes[self.raised % self.runtimes.len()];
        self.raised += 1;
        let listener = plan.listener.unwrap_or_else(port);
        let socket = listener.local_addr().unwrap();
        let address = plan.known_as.unwrap_or_else(|| Address::try_from(socket).unwrap());
        let seed = Seed::from_u64(SEEDS.fetch_add(1, Ordering::Relaxed));
        let tower = Tower::new(plan.config, address.clone(), &seed).unwrap();
        let machine = match &plan.identity {
            Some(identity) => {
                let secure = SecureTower::new(tower, identity, plan.trust).unwrap();
                Machine::Secure(Box::new(secure))
            }
            None => Machine::Clear(Box::new(tower)),
        };
        let running = runtime.start(machine, listener, plan.screen);
        Station { running: Some(running), seen: VecDeque::new(), address, socket }
    }

    /// Starts a tower about which nothing is special but its configuration.
    pub(crate) fn raise_with(&mut self, config: Config) -> Station {
        self.raise(Plan::new(config))
    }
}

/// What a tower shall be like.
pub(crate) struct Plan {
    pub(crate) config: Config,
    /// Where it listens. Default: a free port.
    pub(crate) listener: Option<TcpListener>,
    /// Where others reach it. Default: where it listens.
    pub(crate) known_as: Option<Address>,
    /// Its key; without one it speaks clear text. Default: a new key.
    pub(crate) identity: Option<Identity>,
    pub(crate) trust: Trust,
    pub(crate) screen: Option<Screen>,
}

impl Plan {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            config,
            listener: None,
            known_as: None,
            identity: Some(Identity::generate().unwrap()),
            trust: Trust::Open,
            screen: None,
        }
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

/// Listens where a tower listened that is gone. Another process may have the port for a moment, as the near end of a connection.
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

/// Waits until connections to a port are refused. Another process may have the port for a moment.
pub(crate) fn nobody_listens(socket: SocketAddr) {
    let deadline = Instant::now() + DEADLINE;
    while TcpStream::connect(socket).is_ok() {
        assert!(Instant::now() < deadline, "somebody listens at {socket}");
        thread::yield_now();
    }
}

/// A tower, and what it reported. Killed when dropped.
pub(crate) struct Station {
    running: Option<Box<dyn Running>>,
    seen: VecDeque<Report>,
    pub(crate) address: Address,
    pub(crate) socket: SocketAddr,
}

/// The tower's verbs.
impl Deref for Station {
    type Target = dyn Running;

    fn deref(&self) -> &Self::Target {
        &**self.running.as_ref().unwrap()
    }
}

impl Station {
    pub(crate) fn peer(&self, address: &Address) -> Option<Peer> {
        self.survey().into_iter().find(|peer| peer.address == *address)
    }

    pub(crate) fn status_of(&self, address: &Address) -> Option<Status> {
        self.peer(address).map(|peer| peer.status)
    }

    pub(crate) fn enqueue_text(&self, text: &str) {
        self.enqueue(Message::text(text)).unwrap();
    }

    /// Reads reports until one is what is looked for.
    pub(crate) fn hears<T>(
        &mut self,
        what: &str,
        mut wanted: impl FnMut(&Report) -> Option<T>,
    ) -> T {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(found) = wanted(&self.next(deadline, what)) {
                return found;
            }
        }
    }

    /// Waits until something holds that can only come about together with a report.
    pub(crate) fn until(&mut self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !holds(self) {
            self.next(deadline, what);
        }
    }

    /// Waits until it thinks that of another tower.
    pub(crate) fn thinks(&mut self, status: Status, of: &Address) {
        self.until(&format!("{of} {status}"), |station| station.status_of(of) == Some(status));
    }

    /// Waits for a message.
    pub(crate) fn receives(&mut self, text: &str) {
        self.hears(text, |report| match report {
            Report::MessageReceived { message, .. } => {
                (message.as_text() == Some(text)).then_some(())
            }
            _ => None,
        });
    }

    /// Waits until it was confirmed so many messages, and says by whom.
    pub(crate) fn delivers(&mut self, count: usize) -> Vec<Address> {
        let mut takers = Vec::new();
        self.hears(&format!("{count} deliveries"), |report| {
            if let Report::MessageDelivered { to, .. } = report {
                takers.push(to.clone());
            }
            (takers.len() == count).then_some(())
        });
        takers
    }

    fn next(&mut self, deadline: Instant, what: &str) -> Report {
        let within = deadline.saturating_duration_since(Instant::now());
        let report = self.running.as_mut().unwrap().next_report(within);
        let Some(report) = report.filter(|_| !within.is_zero()) else { self.give_up(what) };
        if self.seen.len() == REMEMBERED {
            self.seen.pop_front();
        }
        self.seen.push_back(report.clone());
        report
    }

    fn give_up(&self, what: &str) -> ! {
        let seen: Vec<_> = self.seen.iter().map(|report| clip(&format!("{report:?}"))).collect();
        let (peers, stats, held) = (self.survey(), self.stats(), self.held());
        panic!(
            "{} waited for {what:?} in vain\nlast reports: {seen:#?}\npeers: {peers:#?}\nheld: {held:?}\n{stats:#?}",
            self.address
        );
    }

    /// Shuts the tower down. How many messages no peer took.
    pub(crate) fn leave(&mut self) -> usize {
        let mut running = self.running.take().unwrap();
        let (sender, left) = mpsc::channel();
        thread::spawn(move || {
            let left = running.shut_down();
            let _ = sender.send((left, running));
        });
        let Ok((left, running)) = left.recv_timeout(DEADLINE) else {
            panic!("{} never left", self.address)
        };
        self.running = Some(running);
        left
    }

    /// Sudden death. Its sockets are closed when this returns.
    pub(crate) fn kill(mut self) {
        self.running.take().unwrap().kill();
    }
}

impl Drop for Station {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.kill();
        }
    }
}

/// The beginning of a text that may spell out a large message.
fn clip(text: &str) -> String {
    text.chars().take(200).collect()
}
