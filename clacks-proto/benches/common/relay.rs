//! A tower in memory that forwards the messages of its peers.
#![allow(dead_code, unreachable_pub, reason = "each benchmark uses only parts of this module")]

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use clacks_proto::wire::{Frame, Hello, MessageFrame, VERSION};
use clacks_proto::{
    Action, Address, Allowance, Claims, Config, Event, Instant, Kind, Lifetime, LinkId, Message,
    Nonce, Notice, Seed, SendRate, StateMachine, Tower,
};

pub const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Returns how many messages a peer hands over at once: a full default window.
pub fn batch_len(body: usize) -> usize {
    (256 * 1024 / body).min(32)
}

/// A tower, and peers that hand over messages in turns and confirm messages at once.
pub struct Relay {
    pub tower: Tower,
    links: Vec<LinkId>,
    /// The number of the next message on each link.
    next: Vec<u64>,
    now: Instant,
    /// The time that passes in a turn.
    time_per_turn: Duration,
    /// The bytes that a peer sends in its turn.
    batch: Vec<u8>,
    /// The length of each frame in the batch.
    frame_len: usize,
    turns: u64,
    buffer: Vec<u8>,
    links_to_send: Vec<LinkId>,
    pub delivered: u64,
}

impl Relay {
    /// Returns a tower with `peers` peers on open links and an unlimited send rate. Bodies have
    /// `body` bytes.
    pub fn new(peers: usize, body: usize) -> Self {
        let mut config = unlimited_config();
        config.send_rate = SendRate::Unlimited;
        Self::with(config, Duration::ZERO, peers, body)
    }

    /// Like [`new`](Self::new), but with `queue` messages in the queue.
    pub fn with_queue(queue: usize, peers: usize, body: usize) -> Self {
        let mut config = unlimited_config();
        // As many messages leave in a turn as arrive.
        config.send_rate = SendRate::Every(Duration::from_micros(1));
        let batch = u32::try_from(batch_len(body)).unwrap();
        config.burst = batch;
        let mut relay = Self::with(config, batch * Duration::from_micros(1), peers, body);
        let message = Message::bytes(&vec![b'x'; body]);
        for _ in 0..queue {
            relay.tower.enqueue(message.clone(), relay.now).unwrap();
            while relay.tower.poll_action().is_some() {}
        }
        relay
    }

    fn with(config: Config, time_per_turn: Duration, peers: usize, body: usize) -> Self {
        let mut relay = Self::connect(config, time_per_turn, peers, body);
        // Make all peers alive, and warm up the tower.
        for _ in 0..4 * peers + 100 {
            relay.turn();
        }
        assert_eq!(relay.tower.status_counts().alive as usize, peers);
        relay
    }

    /// Returns a tower with peers that have sent only their hello.
    pub fn with_hello_only(peers: usize, body: usize) -> Self {
        Self::connect(unlimited_config(), Duration::ZERO, peers, body)
    }

    fn connect(mut config: Config, time_per_turn: Duration, peers: usize, body: usize) -> Self {
        config.max_links = peers + 1 + peers / 8;
        config.max_unproved = peers;
        // The peers call, and are not dialled.
        (config.claims, config.contact_rate) = (Claims::Believe, 0);
        config.max_peers = peers.max(2);
        let tower = Tower::new(config, peer(0), &Seed::from_u64(1)).unwrap();
        let (batch, frame_len) = batch(body);
        let mut relay = Self {
            tower,
            links: Vec::new(),
            next: vec![1; peers],
            now: Instant::ORIGIN,
            time_per_turn,
            batch,
            frame_len,
            turns: 0,
            // Holds a whole window, so that no frame is split.
            buffer: vec![0; 512 * 1024],
            links_to_send: Vec::new(),
            delivered: 0,
        };
        for n in 0..peers {
            let link = relay.tower.accept(LOCAL, relay.now).unwrap();
            let bytes = hello(n + 1);
            relay.tower.handle(Event::BytesArrived { link, bytes: &bytes }, relay.now);
            relay.links.push(link);
            relay.run_actions();
        }
        relay
    }

    /// Receives a batch from one peer, and sends as many messages.
    pub fn turn(&mut self) {
        self.turns += 1;
        let peer = self.turns as usize % self.links.len();
        for frame in self.batch.chunks_exact_mut(self.frame_len) {
            // The head of the frame is followed by the transfer's number, the attempt, the
            // lifetime, and the nonce, of which the first half is set.
            frame[5..13].copy_from_slice(&self.next[peer].to_be_bytes());
            frame[18..26].copy_from_slice(&self.turns.to_be_bytes());
            self.next[peer] += 1;
        }
        let link = self.links[peer];
        self.tower.handle(Event::BytesArrived { link, bytes: &self.batch }, self.now);
        if !self.time_per_turn.is_zero() {
            self.now = self.now + self.time_per_turn;
            self.tower.handle(Event::TimerFired, self.now);
        }
        self.run_actions();
    }

    /// Executes the actions of the tower, and confirms the messages that it sends.
    fn run_actions(&mut self) {
        loop {
            while let Some(action) = self.tower.poll_action() {
                match action {
                    Action::Send { link } => self.links_to_send.push(link),
                    Action::Notify(Notice::MessageDelivered { .. }) => self.delivered += 1,
                    Action::Notify(_) => {}
                    other => panic!("{other:?}"),
                }
            }
            if self.links_to_send.is_empty() {
                return;
            }
            while let Some(link) = self.links_to_send.pop() {
                let mut last = None;
                loop {
                    let mut out = &mut self.buffer[..];
                    let count = self.tower.transmit(link, &mut out);
                    if count == 0 {
                        break;
                    }
                    last = last_transfer(&self.buffer[..count]).or(last);
                }
                if let Some(through) = last {
                    let mut confirmed = [0xc4, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0];
                    confirmed[5..].copy_from_slice(&through);
                    let event = Event::BytesArrived { link, bytes: &confirmed };
                    self.tower.handle(event, self.now);
                }
            }
        }
    }
}

/// Returns the address of a peer.
pub fn peer(n: usize) -> Address {
    let ip = Ipv4Addr::from(0x0a00_0000 + u32::try_from(n).unwrap());
    Address::new(&ip.to_string(), 8001).unwrap()
}

/// Returns a configuration whose limits are not reached in these benchmarks.
pub fn unlimited_config() -> Config {
    let mut config = Config::default();
    config.heartbeat = None;
    config.strangers = Allowance { burst: u32::MAX, every: Duration::ZERO };
    config.max_queue_messages = 4_000_000;
    config.max_queue_bytes = 4 << 30;
    config.local_share = 100;
    config.timeouts.idle = Duration::from_secs(1_000_000);
    config
}

fn hello(n: usize) -> Vec<u8> {
    let config = Config::default();
    let mut bytes = Vec::new();
    Frame::Hello(Hello {
        version: VERSION,
        incarnation: n as u64,
        link: 1,
        max_message: 1 << 20,
        window: config.window,
        datagram: 0,
        network: &config.network,
        address: Some(peer(n)),
        rest: &[],
    })
    .encode(&mut bytes);
    bytes
}

/// Returns the frames of a batch, and the length of each frame.
fn batch(body: usize) -> (Vec<u8>, usize) {
    let count = batch_len(body);
    let body = vec![b'x'; body];
    let mut bytes = Vec::new();
    for n in 0..count {
        Frame::Message(MessageFrame {
            transfer: n as u64,
            retry_of: None,
            lifetime: Lifetime::UNLIMITED,
            nonce: Nonce(n as u128),
            kind: Kind::Bytes,
            friend: Some(peer(1)),
            body: &body,
        })
        .encode(&mut bytes);
    }
    let frame_len = bytes.len() / count;
    (bytes, frame_len)
}

/// Returns the number of the last message in complete frames.
fn last_transfer(mut frames: &[u8]) -> Option<[u8; 8]> {
    let mut last = None;
    while let [kind, a, b, c, d, rest @ ..] = frames {
        let len = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        if *kind == 0xc2 {
            last = rest.first_chunk().copied();
        }
        frames = &rest[len..];
    }
    last
}
