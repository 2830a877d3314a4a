//! A driver for two towers: connections are queues of bytes, time is a number.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use bytes::BufMut;
use clacks_proto::tls::{Identity, SecureTower, Trust};
use clacks_proto::{
    Action, Address, CloseMode, CloseReason, Config, Event, Instant, IoCause, LinkId, Message,
    Notice, PeerId, Seed, SendRate, StateMachine, Tower, Window,
};

/// The dialling tower in most tests, and the other one.
pub const ALICE: usize = 0;
pub const BOB: usize = 1;

/// What is done to bytes on their way, given who sent them.
type Tamper = Box<dyn FnMut(usize, &mut Vec<u8>)>;

pub struct World {
    pub towers: [SecureTower; 2],
    pub now: Instant,
    /// Bytes are delivered in pieces of at most this size.
    pub chunk: usize,
    /// The driver's send buffer has this size.
    pub buffer: usize,
    pub tamper: Option<Tamper>,
    /// All ciphertext, by sender.
    pub sent: [Vec<u8>; 2],
    pub notices: [Vec<Notice>; 2],
    pub connections: Vec<Connection>,
}

/// One connection; end `i` belongs to tower `i`.
pub struct Connection {
    pub ends: [End; 2],
}

pub struct End {
    pub link: LinkId,
    pub is_open: bool,
    /// Bytes that this end sent and the other has not got.
    pub flow: VecDeque<u8>,
    /// No more bytes follow `flow`.
    pub has_shut: bool,
    /// The other end has been told so.
    pub shut_seen: bool,
}

impl End {
    fn new(link: LinkId) -> Self {
        Self { link, is_open: true, flow: VecDeque::new(), has_shut: false, shut_seen: false }
    }
}

/// Keeps what it is given: no tick comes in the time that tests let pass.
pub fn keeping() -> Config {
    let mut config = Config::default();
    config.send_rate = SendRate::Every(Duration::from_secs(100 * 365 * 24 * 60 * 60));
    config.heartbeat = None;
    config.window = Window { messages: 4096, bytes: 16 * 1024 * 1024 };
    config.max_message = 1024 * 1024;
    config
}

/// Hands on what it has as fast as the windows allow.
pub fn giving() -> Config {
    let mut config = keeping();
    config.send_rate = SendRate::Unlimited;
    config
}

pub fn address(side: usize) -> Address {
    let name = ["alice.example", "bob.example"].get(side).unwrap();
    Address::new(name, 8001).unwrap()
}

pub fn secure(side: usize, config: Config, identity: &Identity, trust: Trust) -> SecureTower {
    let seed = Seed::from_u64(side as u64);
    let tower = Tower::new(config, address(side), &seed).unwrap();
    SecureTower::new(tower, identity, trust).unwrap()
}

impl World {
    /// Alice gives, Bob keeps; each has a new key, and everybody is welcome.
    pub fn open() -> Self {
        let identities = [(); 2].map(|()| Identity::generate().unwrap());
        Self::with(&identities, &[Trust::Open, Trust::Open])
    }

    pub fn with(identities: &[Identity; 2], trust: &[Trust; 2]) -> Self {
        Self {
            towers: [
                secure(ALICE, giving(), &identities[ALICE], trust[ALICE].clone()),
                secure(BOB, keeping(), &identities[BOB], trust[BOB].clone()),
            ],
            now: Instant::ORIGIN,
            chunk: usize::MAX,
            buffer: 64 * 1024,
            tamper: None,
            sent: [Vec::new(), Vec::new()],
            notices: [Vec::new(), Vec::new()],
            connections: Vec::new(),
        }
    }

    /// Alice learns of Bob, and a first message proves him alive. With `open`, all that needs no
    /// time.
    pub fn meet(&mut self) {
        self.expand(ALICE);
        self.enqueue(ALICE, &Message::text("first"));
        self.settle();
        assert_eq!(self.held(BOB), 1, "they have not met: {:?}", self.notices);
    }

    pub fn expand(&mut self, side: usize) -> PeerId {
        self.towers[side].tower_mut().expand(&address(1 - side), self.now).unwrap()
    }

    pub fn enqueue(&mut self, side: usize, message: &Message) {
        self.towers[side].tower_mut().enqueue(message.clone(), self.now).unwrap();
    }

    pub fn held(&self, side: usize) -> usize {
        self.towers[side].tower().queue_usage().messages
    }

    /// Why links of a tower were closed, in order.
    pub fn closed(&self, side: usize) -> Vec<CloseReason> {
        let reason = |notice: &Notice| match notice {
            Notice::LinkClosed { reason, .. } => Some(*reason),
            _ => None,
        };
        self.notices[side].iter().filter_map(reason).collect()
    }

    /// Everything that needs no time to pass.
    pub fn settle(&mut self) {
        for round in 0.. {
            assert!(round < 1_000_000, "there is no end to it");
            let mut is_quiet = true;
            for side in [ALICE, BOB] {
                is_quiet &= !self.act(side);
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

    /// Lets time pass, and fires the timers on the way.
    pub fn pass(&mut self, duration: Duration) {
        let until = self.now + duration;
        self.settle();
        loop {
            let wakeups = self.towers.iter().filter_map(StateMachine::next_wakeup);
            let Some(at) = wakeups.map(|wakeup| wakeup.at).min().filter(|at| *at <= until) else {
                break;
            };
            self.now = self.now.max(at);
            for tower in &mut self.towers {
                tower.handle(Event::TimerFired, self.now);
            }
            self.settle();
        }
        self.now = until;
    }

    /// Does what a tower asks. Whether it asked anything.
    fn act(&mut self, side: usize) -> bool {
        let mut has_acted = false;
        while let Some(action) = self.towers[side].poll_action() {
            has_acted = true;
            match action {
                Action::Connect { link, .. } => self.connect(side, link),
                Action::Send { link } => self.send(side, link),
                Action::Close { link, how, .. } => self.close(side, link, how),
                Action::Notify(notice) => self.note(side, notice),
                other => panic!("not expected: {other:?}"),
            }
        }
        has_acted
    }

    fn note(&mut self, side: usize, notice: Notice) {
        self.notices[side].push(notice);
    }

    fn connect(&mut self, side: usize, link: LinkId) {
        let from = IpAddr::V4(Ipv4Addr::LOCALHOST);
        match self.towers[1 - side].accept(from, self.now) {
            Ok(accepted) => {
                let mut ends = [End::new(link), End::new(accepted)];
                if side == BOB {
                    ends.reverse();
                }
                self.connections.push(Connection { ends });
                self.towers[side].handle(Event::Connected { link }, self.now);
            }
            Err(_) => {
                let cause = IoCause::Refused;
                self.towers[side].handle(Event::ConnectFailed { link, cause }, self.now);
            }
        }
    }

    fn end(&mut self, side: usize, link: LinkId) -> Option<&mut Connection> {
        self.connections
            .iter_mut()
            .find(|connection| connection.ends[side].link == link && connection.ends[side].is_open)
    }

    fn send(&mut self, side: usize, link: LinkId) {
        loop {
            let mut buffer = Vec::new().limit(self.buffer);
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
            if let Some(connection) = self.end(side, link) {
                connection.ends[side].flow.extend(bytes);
            }
        }
    }

    fn close(&mut self, side: usize, link: LinkId, how: CloseMode) {
        if how == CloseMode::Flush {
            self.send(side, link);
        }
        let Some(connection) = self.end(side, link) else { return };
        connection.ends[side].is_open = false;
        connection.ends[side].has_shut = true;
        if how == CloseMode::Abort {
            connection.ends[side].flow.clear();
        }
        self.towers[side].handle(Event::Closed { link }, self.now);
    }

    /// Ends a connection without a word, after the bytes that are on the way.
    pub fn cut(&mut self, index: usize) {
        for end in &mut self.connections[index].ends {
            end.has_shut = true;
        }
    }

    /// Brings the next piece of what `side` sent to the other end. Whether anything happened.
    fn deliver(&mut self, index: usize, side: usize) -> bool {
        let connection = &mut self.connections[index];
        let (link, is_open) = (connection.ends[1 - side].link, connection.ends[1 - side].is_open);
        let end = &mut connection.ends[side];
        let len = end.flow.len().min(self.chunk);
        if len > 0 {
            let piece: Vec<u8> = end.flow.drain(..len).collect();
            if is_open {
                let event = Event::BytesArrived { link, bytes: &piece };
                self.towers[1 - side].handle(event, self.now);
            }
            return true;
        }
        let has_ended = end.has_shut && !end.shut_seen;
        if has_ended {
            end.shut_seen = true;
            if is_open {
                self.towers[1 - side].handle(Event::Finished { link }, self.now);
            }
        }
        has_ended
    }
}
