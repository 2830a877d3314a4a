//! An in-memory network of towers with virtual time and injected faults.
#![allow(dead_code, unreachable_pub, reason = "each test crate uses a part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

pub mod harness;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use bytes::BufMut;
use clacks_proto::{
    Action, Address, CloseMode, Config, Event, HeldMessage, Instant, IoCause, LinkId, Message,
    MessageState, Notice, Seed, StateMachine, Status, Tower,
};

pub const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Returns the address of tower `n`.
pub fn address(n: usize) -> Address {
    Address::new("127.0.0.1", 8000 + u16::try_from(n).unwrap()).unwrap()
}

/// One end of a connection.
#[derive(Clone, Debug)]
struct Endpoint {
    /// The tower and the link at the other end.
    remote: (usize, LinkId),
    /// Bytes in transit to this end, each chunk with its arrival time.
    inbound: VecDeque<(Instant, Vec<u8>)>,
    /// The other end sends no more bytes after `inbound`.
    remote_finished: bool,
    /// This end's tower has received `Event::Finished`.
    finished_reported: bool,
    /// The tower has requested `Action::Send`, or the connection is new.
    wants_send: bool,
    /// The tower has requested `CloseMode::Flush`.
    closing: bool,
}

/// The notices of one tower, each with the time of its poll.
pub type Notices = Vec<(Instant, Notice)>;

/// Towers that share one virtual clock. Connections to a tower that is `None` are refused.
pub struct Network<M = Tower> {
    pub towers: Vec<Option<M>>,
    pub notices: Vec<Notices>,
    pub now: Instant,
    /// Delay of every delivery. Must not be zero at an unlimited send rate, because messages would
    /// circulate forever without time passing.
    pub latency: Duration,
    /// Maximum number of bytes in one `Event::BytesArrived`.
    pub chunk_size: usize,
    /// Maximum number of bytes in one call of `transmit`.
    pub transmit_limit: usize,
    /// Towers that receive no bytes, as if their process were suspended. Other towers cannot send
    /// to them either.
    pub suspended: BTreeSet<usize>,
    /// Every action polled, with the number of its tower.
    pub actions: Vec<(usize, Action)>,
    /// Additional addresses of towers.
    pub aliases: BTreeMap<Address, usize>,
    endpoints: BTreeMap<(usize, LinkId), Endpoint>,
}

impl<M: StateMachine> Network<M> {
    pub fn new(towers: impl IntoIterator<Item = M>) -> Self {
        let towers: Vec<_> = towers.into_iter().map(Some).collect();
        Self {
            notices: towers.iter().map(|_| Vec::new()).collect(),
            towers,
            now: Instant::ORIGIN,
            latency: Duration::ZERO,
            chunk_size: usize::MAX,
            transmit_limit: 100_000,
            suspended: BTreeSet::new(),
            actions: Vec::new(),
            aliases: BTreeMap::new(),
            endpoints: BTreeMap::new(),
        }
    }

    pub fn tower(&self, n: usize) -> &Tower {
        self.towers[n].as_ref().expect("the tower is running").tower()
    }

    /// Calls `f` with tower `n` and the current time, then calls [`drive`](Self::drive).
    pub fn with<R>(&mut self, n: usize, f: impl FnOnce(&mut Tower, Instant) -> R) -> R {
        let now = self.now;
        let result = f(self.towers[n].as_mut().expect("the tower is running").tower_mut(), now);
        self.drive();
        result
    }

    pub fn enqueue(&mut self, n: usize, text: &str) {
        self.with(n, |tower, now| tower.enqueue(Message::text(text), now))
            .expect("the queue has room");
    }

    pub fn expand(&mut self, n: usize, other: usize) {
        self.with(n, |tower, now| tower.expand(&address(other), now))
            .expect("the peer is accepted");
    }

    pub fn announce(&mut self, n: usize, other: usize) {
        self.with(n, |tower, now| tower.announce(&address(other), now))
            .expect("the peer is accepted");
    }

    pub fn status(&self, n: usize, other: usize) -> Option<Status> {
        self.tower(n).find(&address(other)).map(|peer| peer.status)
    }

    /// Returns the bodies of all messages in the queue of tower `n` as text, sorted.
    pub fn texts(&self, n: usize) -> Vec<String> {
        let mut texts: Vec<_> = self
            .tower(n)
            .peek()
            .map(|held| String::from_utf8_lossy(held.message.body()).into_owned())
            .collect();
        texts.sort();
        texts
    }

    /// Advances the clock by `time`. Fires the timers of the towers when they are due.
    pub fn advance(&mut self, time: Duration) {
        let end = self.now + time;
        self.drive();
        let mut spins = 0;
        loop {
            let wakeups = self.towers.iter().flatten().filter_map(StateMachine::next_wakeup);
            let arrivals = self.endpoints.iter().filter(|((n, _), _)| !self.suspended.contains(n));
            let arrivals = arrivals.filter_map(|(_, end)| end.inbound.front().map(|(at, _)| *at));
            let times = wakeups.map(|wakeup| wakeup.at).chain(arrivals);
            let next = times.min().unwrap_or(end).min(end);
            spins = if next > self.now { 0 } else { spins + 1 };
            assert!(spins < 10_000, "a timer fires again and again at the same time");
            self.now = self.now.max(next);
            for n in 0..self.towers.len() {
                if let Some(tower) = &mut self.towers[n]
                    && tower.next_wakeup().is_some_and(|wakeup| wakeup.at <= self.now)
                {
                    tower.handle(Event::TimerFired, self.now);
                }
            }
            self.drive();
            if self.now >= end {
                return;
            }
        }
    }

    /// Advances the clock until `done` returns true, but at most by `limit`. Returns whether `done`
    /// returned true.
    pub fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + limit;
        while !done(self) {
            if self.now >= end {
                return false;
            }
            self.advance(Duration::from_millis(10));
        }
        true
    }

    /// Handles actions, sends and deliveries until none is left at the current time.
    pub fn drive(&mut self) {
        while self.handle_actions() | self.transmit() | self.deliver() {}
    }

    /// Handles the pending actions of all towers. Returns false if there were none.
    fn handle_actions(&mut self) -> bool {
        let mut busy = false;
        for n in 0..self.towers.len() {
            while let Some(action) = self.towers[n].as_mut().and_then(StateMachine::poll_action) {
                busy = true;
                self.handle_action(n, action);
            }
        }
        busy
    }

    fn handle_action(&mut self, n: usize, action: Action) {
        self.actions.push((n, action.clone()));
        match action {
            Action::Connect { link, address, .. } => self.connect(n, link, &address),
            Action::Send { link } => {
                if let Some(end) = self.endpoints.get_mut(&(n, link)) {
                    end.wants_send = true;
                }
            }
            Action::Close { link, how, .. } => match self.endpoints.get_mut(&(n, link)) {
                Some(end) if how == CloseMode::Flush => {
                    end.closing = true;
                    end.wants_send = true;
                }
                Some(_) => self.close(n, link),
                None => self.handle(n, Event::Closed { link }),
            },
            Action::Notify(notice) => self.notices[n].push((self.now, notice)),
            _ => {}
        }
    }

    fn connect(&mut self, n: usize, link: LinkId, target: &Address) {
        let target_tower = (0..self.towers.len()).find(|n| address(*n) == *target);
        let target_tower = target_tower.or_else(|| self.aliases.get(target).copied());
        let endpoint = |remote| Endpoint {
            remote,
            inbound: VecDeque::new(),
            remote_finished: false,
            finished_reported: false,
            wants_send: true,
            closing: false,
        };
        let now = self.now;
        let accepted = target_tower.and_then(|there| {
            let tower = self.towers[there].as_mut()?;
            tower.accept(LOCAL, now).ok().map(|link| (there, link))
        });
        match accepted {
            Some((there, remote_link)) => {
                self.endpoints.insert((n, link), endpoint((there, remote_link)));
                self.endpoints.insert((there, remote_link), endpoint((n, link)));
                self.handle(n, Event::Connected { link, at: None });
            }
            None => self.handle(n, Event::ConnectFailed { link, cause: IoCause::Refused }),
        }
    }

    /// Moves the bytes that towers want to send into transit. Returns false if there were none.
    pub fn transmit(&mut self) -> bool {
        let mut busy = false;
        let keys: Vec<_> = self.endpoints.keys().copied().collect();
        for (n, link) in keys {
            let Some(end) = self.endpoints.get(&(n, link)) else { continue };
            if !end.wants_send {
                continue;
            }
            let (remote, closing) = (end.remote, end.closing);
            if self.suspended.contains(&remote.0) && !closing {
                // The receive window of the operating system counts as full.
                continue;
            }
            busy = true;
            let mut out = Vec::new();
            let tower = self.towers[n].as_mut().expect("the tower is running");
            while tower.transmit(link, &mut (&mut out).limit(self.transmit_limit)) > 0 {}
            self.endpoints.get_mut(&(n, link)).unwrap().wants_send = false;
            if let Some(there) = self.endpoints.get_mut(&remote)
                && !out.is_empty()
            {
                there.inbound.push_back((self.now + self.latency, out));
            }
            if closing {
                self.close(n, link);
            }
        }
        busy
    }

    /// Delivers the bytes that are due. Returns false if there were none.
    fn deliver(&mut self) -> bool {
        let mut busy = false;
        let keys: Vec<_> = self.endpoints.keys().copied().collect();
        for (n, link) in keys {
            if self.suspended.contains(&n) {
                continue;
            }
            while let Some(end) = self.endpoints.get_mut(&(n, link))
                && end.inbound.front().is_some_and(|(at, _)| *at <= self.now)
                && let Some((_, arrived)) = end.inbound.pop_front()
            {
                busy = true;
                for bytes in arrived.chunks(self.chunk_size) {
                    self.handle(n, Event::BytesArrived { link, bytes });
                }
            }
            let end = self.endpoints.get_mut(&(n, link)).filter(|end| end.inbound.is_empty());
            if let Some(end) = end.filter(|end| end.remote_finished && !end.finished_reported) {
                busy = true;
                end.finished_reported = true;
                self.handle(n, Event::Finished { link });
            }
        }
        busy
    }

    /// Closes one end as a driver does. The stream of the other end finishes.
    fn close(&mut self, n: usize, link: LinkId) {
        if let Some(end) = self.endpoints.remove(&(n, link)) {
            if let Some(remote) = self.endpoints.get_mut(&end.remote) {
                remote.remote_finished = true;
            }
            self.handle(n, Event::Closed { link });
        }
    }

    fn handle(&mut self, n: usize, event: Event<'_>) {
        if let Some(tower) = &mut self.towers[n] {
            tower.handle(event, self.now);
        }
    }

    /// Resets every connection between two towers and drops their bytes in transit. Returns the
    /// number of connections.
    pub fn reset_connections(&mut self, a: usize, b: usize) -> usize {
        let reset: Vec<_> = self
            .endpoints
            .iter()
            .filter(|((n, _), end)| {
                let (remote, _) = end.remote;
                (*n == a && remote == b) || (*n == b && remote == a)
            })
            .map(|(key, _)| *key)
            .collect();
        for (n, link) in &reset {
            self.endpoints.remove(&(*n, *link));
            self.handle(*n, Event::Lost { link: *link, cause: IoCause::Reset });
        }
        reset.len() / 2
    }

    /// Drops the bytes in transit to tower `n`.
    pub fn drop_bytes_to(&mut self, n: usize) {
        for ((to, _), end) in &mut self.endpoints {
            if *to == n {
                end.inbound.clear();
            }
        }
    }

    /// Removes tower `n` and resets its connections.
    pub fn crash(&mut self, n: usize) {
        self.towers[n].take().expect("the tower is running");
        let remotes: Vec<_> = self
            .endpoints
            .iter()
            .filter(|((from, _), _)| *from == n)
            .map(|(_, end)| end.remote)
            .collect();
        self.endpoints.retain(|(from, _), _| *from != n);
        for (remote, link) in remotes {
            if self.endpoints.remove(&(remote, link)).is_some() {
                self.handle(remote, Event::Lost { link, cause: IoCause::Reset });
            }
        }
        self.drive();
    }

    /// Returns whether tower `n` has reported a notice that `test` accepts.
    pub fn has_notice(&self, n: usize, test: impl Fn(&Notice) -> bool) -> bool {
        self.notices[n].iter().any(|(_, notice)| test(notice))
    }
}

/// Returns whether a message is in flight.
pub fn is_in_flight(held: &HeldMessage) -> bool {
    matches!(held.state, MessageState::InFlight { .. })
}

/// Returns the number of messages in the queue of a tower and the number of bytes of their bodies.
pub fn queue_usage(tower: &Tower) -> (usize, usize) {
    let usage = tower.queue_usage();
    (usage.messages, usage.bytes)
}

/// Returns a configuration that sends 20 messages per second and has no heartbeat. Claims in clear
/// text are believed, so that callers are peers without a dial.
pub fn fast_config() -> Config {
    let mut config = Config::default();
    config.claims = clacks_proto::Claims::Believe;
    config.send_rate = clacks_proto::SendRate::per_second(20);
    config.heartbeat = None;
    config.announced_friends = 1;
    config
}

/// Returns a configuration in which messages ride on dials, as in the original, and back-offs do
/// not grow.
pub fn config_with_messages_on_dials() -> Config {
    let mut config = fast_config();
    config.contact_rate = 0;
    config.max_probe_backoff = Duration::ZERO;
    config
}

pub fn tower(n: usize, config: &Config) -> Tower {
    Tower::new(config.clone(), address(n), &Seed::from_u64(n as u64 + 1))
        .expect("the configuration is valid")
}

pub fn network(count: usize, config: &Config) -> Network {
    Network::new((0..count).map(|n| tower(n, config)))
}

pub fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}
