//! Two secure towers, connected in memory in virtual time.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use bytes::BufMut;
use clacks_proto::tls::{Identity, SecureTower, Trust};
use clacks_proto::{
    Action, Address, CloseMode, CloseReason, Config, Event, Instant, IoCause, LinkId, Message,
    Notice, PeerId, Seed, SendRate, StateMachine, Tower, Window,
};

/// The tower that dials in most tests.
pub const ALICE: usize = 0;
/// The tower that accepts in most tests.
pub const BOB: usize = 1;

/// Alters bytes in transit. The first argument is the side that sent them.
type Tamper = Box<dyn FnMut(usize, &mut Vec<u8>)>;

pub struct Pair {
    pub towers: [SecureTower; 2],
    pub now: Instant,
    /// Maximum number of bytes in one `Event::BytesArrived`.
    pub chunk_size: usize,
    /// Maximum number of bytes in one call of `transmit`.
    pub transmit_limit: usize,
    pub tamper: Option<Tamper>,
    /// All ciphertext that each side has sent, before `tamper`.
    pub sent: [Vec<u8>; 2],
    pub notices: [Vec<Notice>; 2],
    pub connections: Vec<Connection>,
}

/// One connection. Endpoint `i` belongs to tower `i`.
pub struct Connection {
    pub endpoints: [Endpoint; 2],
}

pub struct Endpoint {
    pub link: LinkId,
    pub is_open: bool,
    /// Bytes that this end has sent and the other end has not received.
    pub in_transit: VecDeque<u8>,
    /// This end sends no more bytes after `in_transit`.
    pub write_closed: bool,
    /// The tower at the other end has received `Event::Finished`.
    pub finished_reported: bool,
}

impl Endpoint {
    fn new(link: LinkId) -> Self {
        Self {
            link,
            is_open: true,
            in_transit: VecDeque::new(),
            write_closed: false,
            finished_reported: false,
        }
    }
}

/// Returns a configuration that sends no message: the first tick is later than any test.
pub fn paused_config() -> Config {
    let mut config = Config::default();
    config.send_rate = SendRate::Every(Duration::from_secs(100 * 365 * 24 * 60 * 60));
    config.heartbeat = None;
    config.window = Window { messages: 4096, bytes: 16 * 1024 * 1024 };
    config.max_message = 1024 * 1024;
    config
}

/// Returns a configuration that sends messages as fast as the windows allow.
pub fn unlimited_config() -> Config {
    let mut config = paused_config();
    config.send_rate = SendRate::Unlimited;
    config
}

pub fn address(side: usize) -> Address {
    let name = ["alice.example", "bob.example"].get(side).unwrap();
    Address::new(name, 8001).unwrap()
}

pub fn secure_tower(side: usize, config: Config, identity: &Identity, trust: Trust) -> SecureTower {
    let seed = Seed::from_u64(side as u64);
    let tower = Tower::new(config, address(side), &seed).unwrap();
    SecureTower::new(tower, identity, trust).unwrap()
}

impl Pair {
    /// Creates an open network: both towers accept any key. Alice sends messages at an unlimited
    /// rate, and Bob sends none.
    pub fn open() -> Self {
        let identities = [(); 2].map(|()| Identity::generate().unwrap());
        Self::with(&identities, &[Trust::Open, Trust::Open])
    }

    /// Creates a pair with these identities and trust settings. Alice sends messages at an
    /// unlimited rate, and Bob sends none.
    pub fn with(identities: &[Identity; 2], trust: &[Trust; 2]) -> Self {
        Self {
            towers: [
                secure_tower(ALICE, unlimited_config(), &identities[ALICE], trust[ALICE].clone()),
                secure_tower(BOB, paused_config(), &identities[BOB], trust[BOB].clone()),
            ],
            now: Instant::ORIGIN,
            chunk_size: usize::MAX,
            transmit_limit: 64 * 1024,
            tamper: None,
            sent: [Vec::new(), Vec::new()],
            notices: [Vec::new(), Vec::new()],
            connections: Vec::new(),
        }
    }

    /// Dials Bob from Alice and delivers one message.
    pub fn establish_link(&mut self) {
        self.expand(ALICE);
        self.enqueue(ALICE, &Message::text("first"));
        self.drive();
        assert_eq!(self.queued(BOB), 1, "Bob has not received the message: {:?}", self.notices);
    }

    pub fn expand(&mut self, side: usize) -> PeerId {
        self.towers[side].tower_mut().expand(&address(1 - side), self.now).unwrap()
    }

    pub fn enqueue(&mut self, side: usize, message: &Message) {
        self.towers[side].tower_mut().enqueue(message.clone(), self.now).unwrap();
    }

    /// Returns the number of messages in the queue of a tower.
    pub fn queued(&self, side: usize) -> usize {
        self.towers[side].tower().queue_usage().messages
    }

    /// Returns why links of a tower were closed, in order.
    pub fn close_reasons(&self, side: usize) -> Vec<CloseReason> {
        let reason = |notice: &Notice| match notice {
            Notice::LinkClosed { reason, .. } => Some(*reason),
            _ => None,
        };
        self.notices[side].iter().filter_map(reason).collect()
    }

    /// Handles actions, sends and deliveries until none is left at the current time.
    pub fn drive(&mut self) {
        for round in 0.. {
            assert!(round < 1_000_000, "the towers never become idle");
            let mut is_quiet = true;
            for side in [ALICE, BOB] {
                is_quiet &= !self.handle_actions(side);
            }
            for index in 0..self.connections.len() {
                for side in [ALICE, BOB] {
                    is_quiet &= !self.deliver(index, side);
                }
            }
            if is_quiet {
                return;
            }
        }
    }

    /// Advances the clock by `duration`. Fires the timers of the towers when they are due.
    pub fn advance(&mut self, duration: Duration) {
        let until = self.now + duration;
        self.drive();
        loop {
            let wakeups = self.towers.iter().filter_map(StateMachine::next_wakeup);
            let Some(at) = wakeups.map(|wakeup| wakeup.at).min().filter(|at| *at <= until) else {
                break;
            };
            self.now = self.now.max(at);
            for tower in &mut self.towers {
                tower.handle(Event::TimerFired, self.now);
            }
            self.drive();
        }
        self.now = until;
    }

    /// Handles the pending actions of a tower. Returns false if there were none.
    fn handle_actions(&mut self, side: usize) -> bool {
        let mut has_acted = false;
        while let Some(action) = self.towers[side].poll_action() {
            has_acted = true;
            match action {
                Action::Connect { link, .. } => self.connect(side, link),
                Action::Send { link } => self.send(side, link),
                Action::Close { link, how, .. } => self.close(side, link, how),
                Action::Notify(notice) => self.notices[side].push(notice),
                other => panic!("unexpected action: {other:?}"),
            }
        }
        has_acted
    }

    fn connect(&mut self, side: usize, link: LinkId) {
        let from = IpAddr::V4(Ipv4Addr::LOCALHOST);
        match self.towers[1 - side].accept(from, self.now) {
            Ok(accepted) => {
                let mut endpoints = [Endpoint::new(link), Endpoint::new(accepted)];
                if side == BOB {
                    endpoints.reverse();
                }
                self.connections.push(Connection { endpoints });
                self.towers[side].handle(Event::Connected { link, at: None }, self.now);
            }
            Err(_) => {
                let cause = IoCause::Refused;
                self.towers[side].handle(Event::ConnectFailed { link, cause }, self.now);
            }
        }
    }

    fn open_connection(&mut self, side: usize, link: LinkId) -> Option<&mut Connection> {
        self.connections.iter_mut().find(|connection| {
            connection.endpoints[side].link == link && connection.endpoints[side].is_open
        })
    }

    fn send(&mut self, side: usize, link: LinkId) {
        loop {
            let mut buffer = Vec::new().limit(self.transmit_limit);
            let len = self.towers[side].transmit(link, &mut buffer);
            let mut bytes = buffer.into_inner();
            assert_eq!(len, bytes.len());
            if len == 0 {
                return;
            }
            self.sent[side].extend(&bytes);
            if let Some(tamper) = &mut self.tamper {
                tamper(side, &mut bytes);
            }
            if let Some(connection) = self.open_connection(side, link) {
                connection.endpoints[side].in_transit.extend(bytes);
            }
        }
    }

    fn close(&mut self, side: usize, link: LinkId, how: CloseMode) {
        if how == CloseMode::Flush {
            self.send(side, link);
        }
        let Some(connection) = self.open_connection(side, link) else { return };
        connection.endpoints[side].is_open = false;
        connection.endpoints[side].write_closed = true;
        if how == CloseMode::Abort {
            connection.endpoints[side].in_transit.clear();
        }
        self.towers[side].handle(Event::Closed { link }, self.now);
    }

    /// Finishes both streams of a connection after the bytes in transit. No side sends a goodbye or
    /// an alert.
    pub fn close_connection(&mut self, index: usize) {
        for end in &mut self.connections[index].endpoints {
            end.write_closed = true;
        }
    }

    /// Delivers the next chunk that `side` has sent. Returns false if there was nothing to deliver.
    fn deliver(&mut self, index: usize, side: usize) -> bool {
        let connection = &mut self.connections[index];
        let (link, is_open) =
            (connection.endpoints[1 - side].link, connection.endpoints[1 - side].is_open);
        let end = &mut connection.endpoints[side];
        let len = end.in_transit.len().min(self.chunk_size);
        if len > 0 {
            let piece: Vec<u8> = end.in_transit.drain(..len).collect();
            if is_open {
                let event = Event::BytesArrived { link, bytes: &piece };
                self.towers[1 - side].handle(event, self.now);
            }
            return true;
        }
        let has_ended = end.write_closed && !end.finished_reported;
        if has_ended {
            end.finished_reported = true;
            if is_open {
                self.towers[1 - side].handle(Event::Finished { link }, self.now);
            }
        }
        has_ended
    }
}
