//! Two towers with TLS in memory, with one link.
#![allow(dead_code, unreachable_pub, reason = "each benchmark uses only parts of this module")]

use std::net::{IpAddr, Ipv4Addr};

use clacks_proto::tls::{Identity, SecureTower, Trust};
use clacks_proto::{
    Action, Address, CloseMode, Config, Event, Instant, LinkId, Message, Notice, Seed,
    StateMachine, Tower,
};

/// Two towers that hand messages to each other.
pub struct Pair {
    pub towers: [SecureTower; 2],
    links: Vec<[LinkId; 2]>,
    links_to_send: [Vec<LinkId>; 2],
    buffer: Vec<u8>,
    pub delivered: u64,
}

pub fn address(side: usize) -> Address {
    Address::new(["192.0.2.1", "192.0.2.2"][side], 8001).unwrap()
}

impl Pair {
    pub fn new(configs: [Config; 2]) -> Self {
        let mut side = 0;
        let towers = configs.map(|config| {
            let tower = Tower::new(config, address(side), &Seed::from_u64(side as u64)).unwrap();
            side += 1;
            SecureTower::new(tower, &Identity::generate().unwrap(), Trust::Open).unwrap()
        });
        let (links, links_to_send) = (Vec::new(), [Vec::new(), Vec::new()]);
        Self { towers, links, links_to_send, buffer: vec![0; 64 * 1024], delivered: 0 }
    }

    /// Makes the first tower dial the second. Returns when each is alive for the other.
    pub fn connect(&mut self) {
        let now = Instant::ORIGIN;
        self.towers[0].tower_mut().announce(&address(1), now).unwrap();
        while self.towers[0].tower().status_counts().alive == 0 {
            self.turn();
        }
        // The second tower must learn that the caller is the first tower.
        self.towers[1].tower_mut().announce(&address(0), now).unwrap();
        while self.towers[1].tower().status_counts().alive == 0 {
            self.turn();
        }
    }

    pub fn enqueue(&mut self, side: usize, message: &Message) {
        self.towers[side].tower_mut().enqueue(message.clone(), Instant::ORIGIN).unwrap();
    }

    /// Executes the actions of both sides and delivers their bytes.
    pub fn turn(&mut self) {
        for side in [0, 1] {
            self.run_actions(side);
        }
    }

    fn run_actions(&mut self, side: usize) {
        let now = Instant::ORIGIN;
        while let Some(action) = self.towers[side].poll_action() {
            match action {
                Action::Connect { link, .. } => {
                    let from = IpAddr::V4(Ipv4Addr::LOCALHOST);
                    let other = self.towers[1 - side].accept(from, now).unwrap();
                    let ends = if side == 0 { [link, other] } else { [other, link] };
                    self.links.push(ends);
                    self.towers[side].handle(Event::Connected { link, at: None }, now);
                }
                Action::Send { link } => self.links_to_send[side].push(link),
                Action::Notify(Notice::MessageDelivered { .. }) => self.delivered += 1,
                Action::Close { link, how, .. } => {
                    if how == CloseMode::Flush {
                        self.send(side, link);
                    }
                    self.towers[side].handle(Event::Closed { link }, now);
                }
                _ => {}
            }
        }
        while let Some(link) = self.links_to_send[side].pop() {
            self.send(side, link);
        }
    }

    fn send(&mut self, side: usize, link: LinkId) {
        let Some(ends) = self.links.iter().find(|ends| ends[side] == link) else { return };
        let to = ends[1 - side];
        loop {
            let mut out = &mut self.buffer[..];
            let count = self.towers[side].transmit(link, &mut out);
            if count == 0 {
                return;
            }
            let event = Event::BytesArrived { link: to, bytes: &self.buffer[..count] };
            self.towers[1 - side].handle(event, Instant::ORIGIN);
        }
    }
}
