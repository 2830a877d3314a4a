//! A tower in memory that passes on what its peers hand to it.
#![allow(dead_code, unreachable_pub, reason = "each benchmark uses its own part")]

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use clacks_proto::wire::{Attempt, Frame, Hello, MessageFrame, VERSION};
use clacks_proto::{
    Action, Address, Allowance, Config, Event, Instant, Kind, LinkId, Message, Nonce, Notice, Seed,
    SendRate, StateMachine, Tower,
};

pub const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// How many messages a peer hands over at once: what the default window admits.
pub fn batch_of(body: usize) -> usize {
    (256 * 1024 / body).min(32)
}

/// A tower, and peers that hand it messages in turn and confirm at once what they get.
pub struct Relay {
    pub tower: Tower,
    links: Vec<LinkId>,
    now: Instant,
    /// How much time passes in a turn.
    pace: Duration,
    /// What a peer sends in its turn.
    batch: Vec<u8>,
    /// How far it is from one message in it to the next.
    stride: usize,
    turns: u64,
    buffer: Vec<u8>,
    senders: Vec<LinkId>,
    pub delivered: u64,
}

impl Relay {
    /// With so many peers, each on an open link, and bodies of so many bytes, as fast as it goes.
    pub fn new(peers: usize, body: usize) -> Self {
        let mut config = roomy();
        config.send_rate = SendRate::Unlimited;
        Self::with(config, Duration::ZERO, peers, body)
    }

    /// The same, with so many messages that wait before those that come in.
    pub fn with_queue(queue: usize, peers: usize, body: usize) -> Self {
        let mut config = roomy();
        // In a turn, as many leave as come in.
        config.send_rate = SendRate::Every(Duration::from_micros(1));
        let batch = u32::try_from(batch_of(body)).unwrap();
        config.burst = batch;
        let mut relay = Self::with(config, batch * Duration::from_micros(1), peers, body);
        let message = Message::bytes(&vec![b'x'; body]);
        for _ in 0..queue {
            relay.tower.enqueue(message.clone(), relay.now).unwrap();
            while relay.tower.poll_action().is_some() {}
        }
        relay
    }

    fn with(config: Config, pace: Duration, peers: usize, body: usize) -> Self {
        let mut relay = Self::meet(config, pace, peers, body);
        // Everybody proves itself alive, and the tower is warm.
        for _ in 0..4 * peers + 100 {
            relay.turn();
        }
        assert_eq!(relay.tower.status_counts().alive as usize, peers);
        relay
    }

    /// With so many peers who have only said hello.
    pub fn greeted(peers: usize, body: usize) -> Self {
        Self::meet(roomy(), Duration::ZERO, peers, body)
    }

    fn meet(mut config: Config, pace: Duration, peers: usize, body: usize) -> Self {
        config.max_links = peers + 1 + peers / 8;
        config.max_half_open = peers;
        config.max_peers = peers.max(2);
        let tower = Tower::new(config, peer(0), &Seed::from_u64(1)).unwrap();
        let (batch, stride) = batch(body);
        let mut relay = Self {
            tower,
            links: Vec::new(),
            now: Instant::ORIGIN,
            pace,
            batch,
            stride,
            turns: 0,
            // Takes all that a window admits, so that no frame is cut.
            buffer: vec![0; 512 * 1024],
            senders: Vec::new(),
            delivered: 0,
        };
        for n in 0..peers {
            let link = relay.tower.accept(LOCAL, relay.now).unwrap();
            let bytes = hello(n + 1);
            relay.tower.handle(Event::BytesArrived { link, bytes: &bytes }, relay.now);
            relay.links.push(link);
            relay.settle();
        }
        relay
    }

    /// A batch comes in from one peer, and as many messages go out.
    pub fn turn(&mut self) {
        self.turns += 1;
        let frames = self.batch.chunks_exact_mut(self.stride);
        let first = self.turns * frames.len() as u64;
        for (frame, transfer) in frames.zip(first..) {
            // Behind the head the transfer's number, and behind that and the attempt the first half
            // of the nonce.
            frame[5..13].copy_from_slice(&transfer.to_be_bytes());
            frame[14..22].copy_from_slice(&self.turns.to_be_bytes());
        }
        let link = self.links[self.turns as usize % self.links.len()];
        self.tower.handle(Event::BytesArrived { link, bytes: &self.batch }, self.now);
        if !self.pace.is_zero() {
            self.now = self.now + self.pace;
            self.tower.handle(Event::TimerFired, self.now);
        }
        self.settle();
    }

    /// Carries out what the tower asks, and confirms what it sends.
    fn settle(&mut self) {
        loop {
            while let Some(action) = self.tower.poll_action() {
                match action {
                    Action::Send { link } => self.senders.push(link),
                    Action::Notify(Notice::MessageDelivered { .. }) => self.delivered += 1,
                    Action::Notify(_) => {}
                    other => panic!("{other:?}"),
                }
            }
            if self.senders.is_empty() {
                return;
            }
            while let Some(link) = self.senders.pop() {
                let mut last = None;
                loop {
                    let mut room = &mut self.buffer[..];
                    let count = self.tower.transmit(link, &mut room);
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

/// The address of a peer.
pub fn peer(n: usize) -> Address {
    let ip = Ipv4Addr::from(0x0a00_0000 + u32::try_from(n).unwrap());
    Address::new(&ip.to_string(), 8001).unwrap()
}

/// Room for everything that is measured here.
pub fn roomy() -> Config {
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
        max_message: 1 << 20,
        window: config.window,
        network: &config.network,
        address: Some(peer(n)),
    })
    .encode(&mut bytes);
    bytes
}

/// Messages as a peer sends them, and how long each is on the wire.
fn batch(body: usize) -> (Vec<u8>, usize) {
    let count = batch_of(body);
    let body = vec![b'x'; body];
    let mut bytes = Vec::new();
    for n in 0..count {
        Frame::Message(MessageFrame {
            transfer: n as u64,
            attempt: Attempt::First,
            nonce: Nonce(n as u128),
            kind: Kind::Bytes,
            friend: Some(peer(1)),
            body: &body,
        })
        .encode(&mut bytes);
    }
    let stride = bytes.len() / count;
    (bytes, stride)
}

/// The number of the last message in whole frames.
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
