//! Two towers with TLS between them, and whatever happens to the bytes on their way.
//!
//! The keys of the towers are fixed, and the lengths of all that they say are always the same; but the keys of each link come from the operating
//! system, and rustls' provider has no way to be given others (its key exchange draws them itself). So an input does the same harm to the same places of
//! the same records in every run, and not to the same bytes: a finding may need a few runs to be seen again.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec;
use alloc::vec::Vec;
use bytes::BufMut;
use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;
use std::sync::OnceLock;

use crate::tls::{Identity, SecureTower, Trust};
use crate::wire::arbitrary::Supply;
use crate::{
    Action, Address, CloseMode, Config, Event, Instant, IoCause, LinkId, Message, Seed, SendRate,
    StateMachine, Tower,
};

/// So many steps show what there is to see, and keep a run short.
const MOST_STEPS: usize = 200;

const KEYS: [(&str, &str); 2] = [
    (
        include_str!("../tls/samples/ed25519-pkcs8.key.pem"),
        include_str!("../tls/samples/ed25519-pkcs8.crt.pem"),
    ),
    (
        include_str!("../tls/samples/rsa-pkcs1.key.pem"),
        include_str!("../tls/samples/rsa-pkcs1.crt.pem"),
    ),
];

/// Bytes that are cut, put in another order, lost, doubled and altered between two towers make neither panic, and bring no tower a message that the
/// other did not send.
pub fn tls_bytes(input: &[u8]) {
    run(input);
}

fn run(input: &[u8]) -> World {
    let mut supply = Supply(input);
    let mut world = World::new(&mut supply);
    for _ in 0..MOST_STEPS {
        if supply.0.is_empty() {
            break;
        }
        world.step(&mut supply);
        world.check();
    }
    // What is left gets through, or its link ends: nothing waits for ever.
    for _ in 0..20 {
        world.deliver_all();
        world.pass(Duration::from_secs(2));
        world.check();
    }
    world
}

/// One end of a connection, at one of the towers.
struct End {
    link: LinkId,
    is_open: bool,
    /// What it sent and the other end has not got, in the pieces in which it was sent.
    flow: VecDeque<Vec<u8>>,
    has_shut: bool,
    shut_seen: bool,
}

impl End {
    fn new(link: LinkId) -> Self {
        Self { link, is_open: true, flow: VecDeque::new(), has_shut: false, shut_seen: false }
    }
}

struct World {
    towers: [SecureTower; 2],
    connections: Vec<[End; 2]>,
    now: Instant,
    sent: BTreeSet<Vec<u8>>,
    number: u8,
}

fn address(side: usize) -> Address {
    Address::new(["one.example", "two.example"][side], 8001).unwrap()
}

impl World {
    #[allow(clippy::field_reassign_with_default, reason = "its fields can't be listed elsewhere")]
    fn new(supply: &mut Supply<'_>) -> Self {
        let mut config = Config {
            max_message: 40_000,
            max_queue_bytes: 400_000,
            max_links: 4,
            max_half_open: 2,
            heartbeat: Some(Duration::from_secs(3)),
            send_rate: match supply.below(2) {
                0 => SendRate::Unlimited,
                _ => SendRate::per_second(5),
            },
            ..Config::default()
        };
        config.timeouts.connect = Duration::from_secs(2);
        config.timeouts.handshake = Duration::from_secs(2);
        config.timeouts.confirm = Duration::from_secs(4);
        config.timeouts.idle = Duration::from_secs(10);
        config.timeouts.close = Duration::from_secs(1);
        // Reading a key takes longer than a handshake.
        static IDENTITIES: OnceLock<[Identity; 2]> = OnceLock::new();
        let identities = IDENTITIES.get_or_init(|| {
            KEYS.map(|(key, certificate)| {
                Identity::from_pem(key.as_bytes(), certificate.as_bytes()).unwrap()
            })
        });
        let towers = [0, 1].map(|side| {
            let seed = Seed::from_u64(side as u64);
            let tower = Tower::new(config.clone(), address(side), &seed).unwrap();
            SecureTower::new(tower, &identities[side], Trust::Open).unwrap()
        });
        let now = Instant::ORIGIN;
        let mut world =
            Self { towers, connections: Vec::new(), now, sent: BTreeSet::new(), number: 0 };
        world.towers[0].tower_mut().announce(&address(1), now).unwrap();
        world
    }

    fn step(&mut self, supply: &mut Supply<'_>) {
        let what = supply.below(16);
        let side = usize::from(supply.below(2));
        match what {
            0 | 1 => self.enqueue(side, usize::from(supply.byte())),
            2 => self.enqueue(side, 160 * usize::from(supply.byte())),
            3..=5 => self.deliver_all(),
            6 | 7 => self.pass(Duration::from_millis(20 * u64::from(supply.byte()))),
            8 => {
                self.act(side, 1 + 64 * usize::from(supply.byte()));
            }
            9 => {
                let _ = self.towers[side].tower_mut().announce(&address(1 - side), self.now);
            }
            _ => self.harm(what, side, supply),
        }
        for side in [0, 1] {
            self.act(side, 20_000);
        }
    }

    fn enqueue(&mut self, side: usize, len: usize) {
        self.number = self.number.wrapping_add(1);
        let mut body = vec![self.number; len + 1];
        body[0] = u8::try_from(side).unwrap();
        if self.towers[side].tower_mut().enqueue(Message::bytes(&body), self.now).is_ok() {
            self.sent.insert(body);
        }
    }

    /// Something happens to bytes that are on their way, on the newest connection that has any.
    fn harm(&mut self, what: u8, side: usize, supply: &mut Supply<'_>) {
        let on_the_way = |ends: &&mut [End; 2]| !ends[side].flow.is_empty();
        let Some(ends) = self.connections.iter_mut().rev().find(on_the_way) else { return };
        let flow = &mut ends[side].flow;
        let place = usize::from(supply.byte()) % flow.len();
        let piece = &mut flow[place];
        let at = usize::from(u16::from_be_bytes([supply.byte(), supply.byte()])) % piece.len();
        match what {
            10 => piece[at] ^= supply.byte().max(1),
            11 => {
                let rest = piece.split_off(at);
                flow.insert(place + 1, rest);
                flow.retain(|piece| !piece.is_empty());
            }
            12 => drop(flow.remove(place)),
            13 => {
                let copy = piece[at..].to_vec();
                flow.insert(supply.byte() as usize % (flow.len() + 1), copy);
            }
            14 => {
                let other = usize::from(supply.byte()) % flow.len();
                flow.swap(place, other);
            }
            _ => {
                let foreign: Vec<u8> = (0..supply.byte()).map(|_| supply.byte()).collect();
                piece.splice(at..at, foreign);
            }
        }
    }

    /// Does what a tower asks, into buffers of a size.
    fn act(&mut self, side: usize, buffer: usize) {
        while let Some(action) = self.towers[side].poll_action() {
            match action {
                Action::Connect { link, .. } => {
                    let from = IpAddr::V4(Ipv4Addr::LOCALHOST);
                    let event = match self.towers[1 - side].accept(from, self.now) {
                        Ok(accepted) => {
                            let mut ends = [End::new(link), End::new(accepted)];
                            if side == 1 {
                                ends.reverse();
                            }
                            self.connections.push(ends);
                            Event::Connected { link }
                        }
                        Err(_) => Event::ConnectFailed { link, cause: IoCause::Refused },
                    };
                    self.towers[side].handle(event, self.now);
                }
                Action::Send { link } => self.send(side, link, buffer),
                Action::Close { link, how, .. } => self.close(side, link, how, buffer),
                Action::Notify(notice) => drop(self.towers[side].tower().report(notice)),
                Action::Screen { .. } => panic!("nobody asked for screening"),
            }
        }
    }

    fn end(&mut self, side: usize, link: LinkId) -> Option<&mut [End; 2]> {
        self.connections.iter_mut().find(|ends| ends[side].link == link && ends[side].is_open)
    }

    fn send(&mut self, side: usize, link: LinkId, buffer: usize) {
        loop {
            let mut out = Vec::new().limit(buffer);
            let len = self.towers[side].transmit(link, &mut out);
            let bytes = out.into_inner();
            assert_eq!(len, bytes.len());
            if len == 0 {
                return;
            }
            if let Some(ends) = self.end(side, link) {
                ends[side].flow.push_back(bytes);
            }
        }
    }

    fn close(&mut self, side: usize, link: LinkId, how: CloseMode, buffer: usize) {
        if how == CloseMode::Flush {
            self.send(side, link, buffer);
        }
        let Some(ends) = self.end(side, link) else { return };
        (ends[side].is_open, ends[side].has_shut) = (false, true);
        if how == CloseMode::Abort {
            ends[side].flow.clear();
        }
        self.towers[side].handle(Event::Closed { link }, self.now);
    }

    /// Brings everybody what is on its way to them, once.
    fn deliver_all(&mut self) {
        let Self { towers, connections, now, .. } = self;
        for ends in connections.iter_mut() {
            for side in [0, 1] {
                let (link, is_open) = (ends[1 - side].link, ends[1 - side].is_open);
                for piece in core::mem::take(&mut ends[side].flow) {
                    if is_open {
                        let event = Event::BytesArrived { link, bytes: &piece };
                        towers[1 - side].handle(event, *now);
                    }
                }
                if ends[side].has_shut && !ends[side].shut_seen {
                    ends[side].shut_seen = true;
                    if is_open {
                        towers[1 - side].handle(Event::Finished { link }, *now);
                    }
                }
            }
        }
        connections.retain(|ends| ends.iter().any(|end| end.is_open || !end.shut_seen));
        for side in [0, 1] {
            self.act(side, 20_000);
        }
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        for _ in 0..100 {
            let wakeups = self.towers.iter().filter_map(StateMachine::next_wakeup);
            let Some(at) = wakeups.map(|wakeup| wakeup.at).min().filter(|at| *at < until) else {
                break;
            };
            self.now = self.now.max(at);
            for side in [0, 1] {
                self.towers[side].handle(Event::TimerFired, self.now);
                self.act(side, 20_000);
            }
        }
        self.now = self.now.max(until);
    }

    /// All that a tower holds was sent by one of them, byte for byte, and everything stays in its bounds.
    fn check(&self) {
        for tower in &self.towers {
            let tower = tower.tower();
            for held in tower.peek() {
                let body = held.message.body();
                assert!(self.sent.contains(&body[..]), "nobody sent {body:?}");
            }
            let (messages, bytes) = tower.held();
            let config = tower.config();
            assert!(messages <= config.max_queue_messages && bytes <= config.max_queue_bytes);
            assert!(tower.links() <= config.max_links && tower.peers() <= config.max_peers);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who enqueues at one tower, then at the other, and lets all arrive.
    const PEACE: [u8; 26] =
        [0, 3, 0, 3, 0, 0, 0, 20, 0, 1, 200, 3, 0, 2, 0, 255, 3, 0, 6, 0, 200, 3, 0, 3, 1, 3];

    #[test]
    fn without_harm_messages_are_handed_over_in_both_directions() {
        let world = run(&PEACE);
        for tower in &world.towers {
            assert!(tower.tower().stats().delivered > 0, "{:?}", tower.tower().stats());
            assert_eq!(tower.tower().stats().links_misbehaved, 0);
        }
    }

    #[test]
    #[should_panic(expected = "nobody sent")]
    fn a_message_that_nobody_sent_is_noticed() {
        let mut world = run(&PEACE);
        let forged = Message::bytes(b"forged");
        world.towers[0].tower_mut().enqueue(forged, world.now).unwrap();
        world.check();
    }
}
