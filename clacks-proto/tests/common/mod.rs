//! A network in memory: towers, virtual time, links that take no time, and faults on demand.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

pub mod raw;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use bytes::BufMut;
use clacks_proto::{
    Action, Address, CloseMode, Config, Event, Fingerprint, HeldMessage, Instant, IoCause, LinkId,
    Message, MessageState, Notice, Seed, StateMachine, Status, Tower,
};

pub const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The address of the tower number `n`.
pub fn address(n: usize) -> Address {
    Address::new("127.0.0.1", 8000 + u16::try_from(n).unwrap()).unwrap()
}

/// One end of a connection.
#[derive(Clone, Debug)]
struct End {
    /// Who is at the other end; `None` while nobody accepted.
    other: Option<(usize, LinkId)>,
    /// Bytes on their way to this end, and when they arrive.
    inbox: VecDeque<(Instant, Vec<u8>)>,
    /// The other end will send no more.
    finished: bool,
    told_finished: bool,
    wants_send: bool,
    closing: bool,
}

/// What a tower told its application.
pub type Notices = Vec<(Instant, Notice)>;

/// Some towers on one clock. A tower that is `None` is not there: connections to it are refused.
pub struct Net<M = Tower> {
    pub towers: Vec<Option<M>>,
    pub notices: Vec<Notices>,
    pub now: Instant,
    /// How long bytes are on their way. At an unlimited rate it must not be zero, or messages
    /// circulate without end in no time.
    pub latency: Duration,
    /// How many bytes are delivered at a time.
    pub chunk: usize,
    /// How many bytes a tower may write at a time.
    pub room: usize,
    /// Towers whose incoming bytes wait, as if their process were stopped.
    pub frozen: BTreeSet<usize>,
    /// Towers that can't be reached: connections hang instead of being refused.
    pub silent: BTreeSet<usize>,
    pub actions: Vec<(usize, Action)>,
    /// Further addresses at which a tower can be reached.
    pub aliases: BTreeMap<Address, usize>,
    ends: BTreeMap<(usize, LinkId), End>,
}

impl<M: StateMachine> Net<M> {
    pub fn new(towers: impl IntoIterator<Item = M>) -> Self {
        let towers: Vec<_> = towers.into_iter().map(Some).collect();
        Self {
            notices: towers.iter().map(|_| Vec::new()).collect(),
            towers,
            now: Instant::ORIGIN,
            latency: Duration::ZERO,
            chunk: usize::MAX,
            room: 100_000,
            frozen: BTreeSet::new(),
            silent: BTreeSet::new(),
            actions: Vec::new(),
            aliases: BTreeMap::new(),
            ends: BTreeMap::new(),
        }
    }

    pub fn tower(&self, n: usize) -> &Tower {
        self.towers[n].as_ref().expect("a living tower").tower()
    }

    /// Lets the application of tower `n` do something, and lets all that follows at this moment
    /// happen.
    pub fn with<R>(&mut self, n: usize, verb: impl FnOnce(&mut Tower, Instant) -> R) -> R {
        let now = self.now;
        let result = verb(self.towers[n].as_mut().expect("a living tower").tower_mut(), now);
        self.settle();
        result
    }

    pub fn enqueue(&mut self, n: usize, text: &str) {
        self.with(n, |tower, now| tower.enqueue(Message::text(text), now)).expect("room");
    }

    pub fn expand(&mut self, n: usize, other: usize) {
        self.with(n, |tower, now| tower.expand(&address(other), now)).expect("a peer");
    }

    pub fn announce(&mut self, n: usize, other: usize) {
        self.with(n, |tower, now| tower.announce(&address(other), now)).expect("a peer");
    }

    pub fn status(&self, n: usize, other: usize) -> Option<Status> {
        self.tower(n).find(&address(other)).map(|peer| peer.status)
    }

    pub fn pin(&self, n: usize, other: usize) -> Option<Fingerprint> {
        self.tower(n).find(&address(other)).and_then(|peer| peer.fingerprint)
    }

    /// The texts that a tower holds, sorted.
    pub fn texts(&self, n: usize) -> Vec<String> {
        let mut texts: Vec<_> = self
            .tower(n)
            .peek()
            .map(|held| String::from_utf8_lossy(held.message.body()).into_owned())
            .collect();
        texts.sort();
        texts
    }

    /// Lets `time` pass, waking towers when they ask to be.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        self.settle();
        let mut spins = 0;
        loop {
            let wakeups = self.towers.iter().flatten().filter_map(StateMachine::next_wakeup);
            let arrivals = self.ends.iter().filter(|((n, _), _)| !self.frozen.contains(n));
            let arrivals = arrivals.filter_map(|(_, end)| end.inbox.front().map(|(at, _)| *at));
            let times = wakeups.map(|wakeup| wakeup.at).chain(arrivals);
            let next = times.min().unwrap_or(end).min(end);
            spins = if next > self.now { 0 } else { spins + 1 };
            assert!(spins < 10_000, "a timer spins");
            self.now = self.now.max(next);
            for n in 0..self.towers.len() {
                if let Some(tower) = &mut self.towers[n]
                    && tower.next_wakeup().is_some_and(|wakeup| wakeup.at <= self.now)
                {
                    tower.handle(Event::TimerFired, self.now);
                }
            }
            self.settle();
            if self.now >= end {
                return;
            }
        }
    }

    /// Runs until `done`, at most `limit`. Returns whether it came to be.
    pub fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + limit;
        while !done(self) {
            if self.now >= end {
                return false;
            }
            self.run(Duration::from_millis(10));
        }
        true
    }

    /// Lets everything happen that needs no time.
    pub fn settle(&mut self) {
        while self.drain() | self.transmit() | self.deliver() {}
    }

    /// Handles the actions of all towers.
    pub fn drain(&mut self) -> bool {
        let mut busy = false;
        for n in 0..self.towers.len() {
            while let Some(action) = self.towers[n].as_mut().and_then(StateMachine::poll_action) {
                busy = true;
                self.act(n, action);
            }
        }
        busy
    }

    fn act(&mut self, n: usize, action: Action) {
        self.actions.push((n, action.clone()));
        match action {
            Action::Connect { link, address } => self.connect(n, link, &address),
            Action::Send { link } => {
                if let Some(end) = self.ends.get_mut(&(n, link)) {
                    end.wants_send = true;
                }
            }
            Action::Close { link, how, .. } => match self.ends.get_mut(&(n, link)) {
                Some(end) if how == CloseMode::Flush => {
                    end.closing = true;
                    end.wants_send = true;
                }
                Some(_) => self.close(n, link),
                None => self.tell(n, Event::Closed { link }),
            },
            Action::Notify(notice) => self.notices[n].push((self.now, notice)),
            _ => {}
        }
    }

    fn connect(&mut self, n: usize, link: LinkId, target: &Address) {
        let there = (0..self.towers.len()).find(|n| address(*n) == *target);
        let there = there.or_else(|| self.aliases.get(target).copied());
        let end = |other| End {
            other,
            inbox: VecDeque::new(),
            finished: false,
            told_finished: false,
            wants_send: true,
            closing: false,
        };
        if there.is_some_and(|there| self.silent.contains(&there)) {
            self.ends.insert((n, link), end(None));
            return;
        }
        let now = self.now;
        let accepted = there.and_then(|there| {
            let tower = self.towers[there].as_mut()?;
            tower.accept(LOCAL, now).ok().map(|link| (there, link))
        });
        match accepted {
            Some((there, their_link)) => {
                self.ends.insert((n, link), end(Some((there, their_link))));
                self.ends.insert((there, their_link), end(Some((n, link))));
                self.tell(n, Event::Connected { link });
            }
            None => self.tell(n, Event::ConnectFailed { link, cause: IoCause::Refused }),
        }
    }

    /// Hands the bytes that towers want to send to the other ends.
    pub fn transmit(&mut self) -> bool {
        let mut busy = false;
        let keys: Vec<_> = self.ends.keys().copied().collect();
        for (n, link) in keys {
            let Some(end) = self.ends.get(&(n, link)) else { continue };
            if !end.wants_send {
                continue;
            }
            let (other, closing) = (end.other, end.closing);
            if other.is_some_and(|(there, _)| self.frozen.contains(&there)) && !closing {
                // A full window of the operating system: nothing more is taken.
                continue;
            }
            busy = true;
            let mut out = Vec::new();
            let tower = self.towers[n].as_mut().expect("a living tower");
            while tower.transmit(link, &mut (&mut out).limit(self.room)) > 0 {}
            self.ends.get_mut(&(n, link)).unwrap().wants_send = false;
            if let Some(there) = other.and_then(|other| self.ends.get_mut(&other))
                && !out.is_empty()
            {
                there.inbox.push_back((self.now + self.latency, out));
            }
            if closing {
                self.close(n, link);
            }
        }
        busy
    }

    /// Delivers bytes that are on their way.
    pub fn deliver(&mut self) -> bool {
        let mut busy = false;
        let keys: Vec<_> = self.ends.keys().copied().collect();
        for (n, link) in keys {
            if self.frozen.contains(&n) {
                continue;
            }
            while let Some(end) = self.ends.get_mut(&(n, link))
                && end.inbox.front().is_some_and(|(at, _)| *at <= self.now)
                && let Some((_, arrived)) = end.inbox.pop_front()
            {
                busy = true;
                for bytes in arrived.chunks(self.chunk) {
                    self.tell(n, Event::BytesArrived { link, bytes });
                }
            }
            let end = self.ends.get_mut(&(n, link)).filter(|end| end.inbox.is_empty());
            if let Some(end) = end.filter(|end| end.finished && !end.told_finished) {
                busy = true;
                end.told_finished = true;
                self.tell(n, Event::Finished { link });
            }
        }
        busy
    }

    /// Closes one end, as a driver does; the other end's stream ends.
    fn close(&mut self, n: usize, link: LinkId) {
        if let Some(end) = self.ends.remove(&(n, link)) {
            if let Some(other) = end.other.and_then(|other| self.ends.get_mut(&other)) {
                other.finished = true;
            }
            self.tell(n, Event::Closed { link });
        }
    }

    pub fn tell(&mut self, n: usize, event: Event<'_>) {
        if let Some(tower) = &mut self.towers[n] {
            tower.handle(event, self.now);
        }
    }

    /// Breaks every connection between two towers; bytes on their way are gone.
    pub fn cut(&mut self, a: usize, b: usize) -> usize {
        let cut: Vec<_> = self
            .ends
            .iter()
            .filter(|((n, _), end)| {
                let other = end.other.map(|(other, _)| other);
                (*n == a && other == Some(b)) || (*n == b && other == Some(a))
            })
            .map(|(key, _)| *key)
            .collect();
        for (n, link) in &cut {
            self.ends.remove(&(*n, *link));
            self.tell(*n, Event::Lost { link: *link, cause: IoCause::Reset });
        }
        cut.len() / 2
    }

    /// Drops the bytes that are on their way to a tower.
    pub fn drop_bytes_to(&mut self, n: usize) {
        for ((to, _), end) in &mut self.ends {
            if *to == n {
                end.inbox.clear();
            }
        }
    }

    /// A tower dies: its memory is gone, its connections break.
    pub fn kill(&mut self, n: usize) -> M {
        let dead = self.towers[n].take().expect("a living tower");
        let others: Vec<_> = self
            .ends
            .iter()
            .filter(|((from, _), _)| *from == n)
            .filter_map(|(_, end)| end.other)
            .collect();
        self.ends.retain(|(from, _), _| *from != n);
        for (other, link) in others {
            if self.ends.remove(&(other, link)).is_some() {
                self.tell(other, Event::Lost { link, cause: IoCause::Reset });
            }
        }
        self.settle();
        dead
    }

    pub fn links(&self, n: usize) -> Vec<LinkId> {
        self.ends.keys().filter(|(tower, _)| *tower == n).map(|(_, link)| *link).collect()
    }

    pub fn has_notice(&self, n: usize, test: impl Fn(&Notice) -> bool) -> bool {
        self.notices[n].iter().any(|(_, notice)| test(notice))
    }
}

/// Returns whether a message is in flight.
pub fn is_in_flight(held: &HeldMessage) -> bool {
    matches!(held.state, MessageState::InFlight { .. })
}

/// Returns how many messages a tower holds, and the bytes of their bodies.
pub fn held(tower: &Tower) -> (usize, usize) {
    let usage = tower.queue_usage();
    (usage.messages, usage.bytes)
}

/// A quick configuration: 20 messages a second, no heartbeat.
pub fn quick() -> Config {
    let mut config = Config::default();
    config.send_rate = clacks_proto::SendRate::per_second(20);
    config.heartbeat = None;
    config
}

pub fn tower(n: usize, config: &Config) -> Tower {
    Tower::new(config.clone(), address(n), &Seed::from_u64(n as u64 + 1)).expect("a config")
}

pub fn net(count: usize, config: &Config) -> Net {
    Net::new((0..count).map(|n| tower(n, config)))
}

pub fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}
