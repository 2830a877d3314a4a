//! Two towers with TLS between them, and whatever happens to the bytes on their way. Sometimes there is a third one, which listens at the first
//! one's address every now and then and has a key of its own.
//!
//! The keys of the towers are fixed, and the lengths of all that they say are always the same; but the keys of each link come from the operating
//! system, and rustls' provider has no way to be given others (its key exchange draws them itself). So an input does the same harm to the same places of
//! the same records in every run, and not to the same bytes: a finding may need a few runs to be seen again.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use bytes::BufMut;
use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;
use std::sync::OnceLock;

use crate::link::State;
use crate::tls::{Identity, SecureTower, Trust};
use crate::wire::Attempt;
use crate::wire::arbitrary::Supply;
use crate::{
    Action, Address, CloseMode, CloseReason, Config, Event, Fingerprint, Instant, IoCause, Kind,
    LinkId, Message, Nonce, Notice, Report, Seed, SendRate, StateMachine, Tower,
};

/// So many steps show what there is to see, and keep a run short.
const MOST_STEPS: usize = 200;
/// So many of the last pieces that were sent may be played again.
const MOST_RECORDED: usize = 16;
/// The most wake-ups at one instant, for all that may be due at it.
const MOST_AT_ONCE: usize = 4;

const KEYS: [(&str, &str); 3] = [
    (
        include_str!("../tls/samples/ed25519-pkcs8.key.pem"),
        include_str!("../tls/samples/ed25519-pkcs8.crt.pem"),
    ),
    (
        include_str!("../tls/samples/rsa-pkcs1.key.pem"),
        include_str!("../tls/samples/rsa-pkcs1.crt.pem"),
    ),
    (
        include_str!("../tls/samples/p256-sec1.key.pem"),
        include_str!("../tls/samples/p256-sec1.crt.pem"),
    ),
];

/// Bytes that are cut, put in another order, lost, doubled, altered and played again between towers make none of them panic, lose none of their
/// messages, and bring none a message that another did not send. However it was, what is enqueued once the harm has stopped arrives. And a key that was
/// pinned stays, whoever answers at its address.
///
/// The input is a byte with the send rate (the lowest bit) and whether there is a third tower (the next), and then steps.
pub fn tls_bytes(input: &[u8]) {
    run(input);
}

fn run(input: &[u8]) -> World {
    let mut supply = Supply(input);
    let mut world = World::new(supply.byte());
    for _ in 0..MOST_STEPS {
        if supply.0.is_empty() {
            break;
        }
        world.step(&mut supply);
        world.check();
    }
    world.recover();
    world
}

/// A connection between two towers: the end of the one that dialled, and that of the other.
struct Connection([End; 2]);

struct End {
    tower: usize,
    link: LinkId,
    is_open: bool,
    /// What it sent and the other end has not got, in the pieces in which it was sent.
    flow: VecDeque<Vec<u8>>,
    has_shut: bool,
    shut_seen: bool,
}

impl End {
    fn new(tower: usize, link: LinkId) -> Self {
        let flow = VecDeque::new();
        Self { tower, link, is_open: true, flow, has_shut: false, shut_seen: false }
    }
}

struct World {
    towers: Vec<SecureTower>,
    /// Who answers at the address of the first tower: itself or the third one.
    listening: usize,
    connections: Vec<Connection>,
    now: Instant,
    sent: BTreeMap<Nonce, (Kind, Vec<u8>)>,
    number: u64,
    /// What was sent last, on whatever link.
    recorded: VecDeque<Vec<u8>>,
    /// What each tower was told to have delivered.
    delivered: BTreeSet<(usize, Nonce)>,
    /// How often each message was handed over: by which tower, in which of its transfers, for the first time or again.
    handed_over: BTreeMap<Nonce, BTreeSet<(usize, u64, bool)>>,
    /// How often each message was taken, by whomever.
    taken: BTreeMap<Nonce, usize>,
    /// The keys that each tower has pinned.
    pins: BTreeMap<(usize, Address), Fingerprint>,
    /// How often each tower told that a key had changed, and how many links it closed for that.
    keys_told: [u64; 3],
    keys_refused: [u64; 3],
}

/// Where a tower says that it can be dialled. The third one says what the first one says.
fn address(tower: usize) -> Address {
    Address::new(["one.example", "two.example", "one.example"][tower], 8001).unwrap()
}

/// The address that a tower knows from the beginning.
fn other_address(tower: usize) -> Address {
    address(usize::from(tower != 1))
}

fn identities() -> &'static [Identity; 3] {
    // Reading a key takes longer than a handshake.
    static IDENTITIES: OnceLock<[Identity; 3]> = OnceLock::new();
    IDENTITIES.get_or_init(|| {
        KEYS.map(|(key, certificate)| {
            Identity::from_pem(key.as_bytes(), certificate.as_bytes()).unwrap()
        })
    })
}

/// A message no part of which is like another part of it, or like the same part of another one.
fn message(number: u64, len: usize) -> Message {
    let byte = |at: usize| {
        let place = (number << 32 | at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        place.to_be_bytes()[0]
    };
    let letter = |at: usize| char::from(byte(at) & 0x7F);
    match number % 3 {
        0 => Message::text(&(0..len).map(letter).collect::<alloc::string::String>()),
        1 => Message::json(&(0..len).map(letter).collect::<alloc::string::String>()),
        _ => Message::bytes(&(0..len).map(byte).collect::<Vec<u8>>()),
    }
}

impl World {
    #[allow(clippy::field_reassign_with_default, reason = "its fields can't be listed elsewhere")]
    fn new(settings: u8) -> Self {
        let mut config = Config {
            max_message: 40_000,
            max_queue_bytes: 400_000,
            max_links: 4,
            max_half_open: 2,
            heartbeat: Some(Duration::from_secs(3)),
            send_rate: match settings & 1 {
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
        let count = if settings & 2 == 0 { 2 } else { 3 };
        let towers = (0..count).map(|tower| {
            let seed = Seed::from_u64(tower as u64);
            let inside = Tower::new(config.clone(), address(tower), &seed).unwrap();
            SecureTower::new(inside, &identities()[tower], Trust::Open).unwrap()
        });
        let mut world = Self {
            towers: towers.collect(),
            listening: 0,
            connections: Vec::new(),
            now: Instant::ORIGIN,
            sent: BTreeMap::new(),
            number: 0,
            recorded: VecDeque::new(),
            delivered: BTreeSet::new(),
            handed_over: BTreeMap::new(),
            taken: BTreeMap::new(),
            pins: BTreeMap::new(),
            keys_told: [0; 3],
            keys_refused: [0; 3],
        };
        world.towers[0].tower_mut().announce(&address(1), world.now).unwrap();
        world
    }

    fn step(&mut self, supply: &mut Supply<'_>) {
        let what = supply.below(19);
        let tower = usize::from(supply.byte()) % self.towers.len();
        match what {
            0 | 1 => drop(self.enqueue(tower, usize::from(supply.byte()))),
            2 => drop(self.enqueue(tower, 160 * usize::from(supply.byte()))),
            3..=5 => self.deliver_all(),
            6 | 7 => self.pass(Duration::from_millis(20 * u64::from(supply.byte()))),
            8 => self.act(tower, 1 + 64 * usize::from(supply.byte())),
            9 => {
                let known = other_address(tower);
                let _ = self.towers[tower].tower_mut().announce(&known, self.now);
            }
            10..=15 => self.harm(what, tower, supply),
            16 => self.play_again(supply),
            17 => self.lose(tower, supply),
            _ if self.towers.len() == 3 => self.listening = 2 - self.listening,
            _ => self.deliver_all(),
        }
        self.act_all();
    }

    fn enqueue(&mut self, tower: usize, len: usize) -> Option<Nonce> {
        self.number += 1;
        let message = message(self.number, len);
        let (kind, body) = (message.kind(), message.body().to_vec());
        let nonce = self.towers[tower].tower_mut().enqueue(message, self.now).ok()?;
        assert_eq!(self.sent.insert(nonce, (kind, body)), None, "two messages with one name");
        Some(nonce)
    }

    /// Something happens to bytes that are on their way from a tower, on the newest connection that has any.
    fn harm(&mut self, what: u8, tower: usize, supply: &mut Supply<'_>) {
        let mut ends = self.connections.iter_mut().rev().flat_map(|connection| &mut connection.0);
        let Some(end) = ends.find(|end| end.tower == tower && !end.flow.is_empty()) else { return };
        let flow = &mut end.flow;
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

    /// What was sent some time ago, on this or another link and by whomever, comes once more: to either end of a connection, so to its sender as well.
    fn play_again(&mut self, supply: &mut Supply<'_>) {
        if self.recorded.is_empty() || self.connections.is_empty() {
            return;
        }
        let piece = self.recorded[usize::from(supply.byte()) % self.recorded.len()].clone();
        let connection = usize::from(supply.byte()) % self.connections.len();
        let place = usize::from(supply.byte());
        let flow = &mut self.connections[connection].0[place % 2].flow;
        flow.insert(place / 2 % (flow.len() + 1), piece);
    }

    /// A tower loses a connection. The other end loses it too, or sees it end, or is not told, by a byte.
    fn lose(&mut self, tower: usize, supply: &mut Supply<'_>) {
        let choice = supply.byte();
        let open = |end: &End| end.tower == tower && end.is_open;
        let of_tower = self.connections.iter_mut().filter(|it| it.0.iter().any(open));
        let mut of_tower: Vec<_> = of_tower.collect();
        if of_tower.is_empty() {
            return;
        }
        let index = usize::from(choice / 3) % of_tower.len();
        let ends = &mut of_tower[index].0;
        let lost = |end: &&mut End| end.is_open && (end.tower == tower || choice.is_multiple_of(3));
        for end in ends.iter_mut().filter(lost) {
            end.is_open = false;
            end.has_shut = choice % 3 != 1;
            let event = Event::Lost { link: end.link, cause: IoCause::Reset };
            self.towers[end.tower].handle(event, self.now);
        }
    }

    fn act_all(&mut self) {
        for tower in 0..self.towers.len() {
            self.act(tower, 20_000);
        }
    }

    /// Does what a tower asks, into buffers of a size.
    fn act(&mut self, tower: usize, buffer: usize) {
        while let Some(action) = self.towers[tower].poll_action() {
            match action {
                Action::Connect { link, peer } => {
                    let dialled = self.towers[tower].tower().peer(peer).unwrap().address.clone();
                    let answering = if dialled == address(1) { 1 } else { self.listening };
                    let from = IpAddr::V4(Ipv4Addr::LOCALHOST);
                    let event = match self.towers[answering].accept(from, self.now) {
                        Ok(accepted) => {
                            let ends = [End::new(tower, link), End::new(answering, accepted)];
                            self.connections.push(Connection(ends));
                            Event::Connected { link }
                        }
                        Err(_) => Event::ConnectFailed { link, cause: IoCause::Refused },
                    };
                    self.towers[tower].handle(event, self.now);
                }
                Action::Send { link } => self.send(tower, link, buffer),
                Action::Close { link, how, .. } => self.close(tower, link, how, buffer),
                Action::Notify(notice) => self.hear(tower, notice),
                Action::Screen { .. } => panic!("nobody asked for screening"),
            }
        }
    }

    fn hear(&mut self, tower: usize, notice: Notice) {
        if let Notice::LinkClosed { why: CloseReason::KeyChanged, .. } = notice {
            self.keys_refused[tower] += 1;
        }
        match self.towers[tower].tower().report(notice) {
            Some(Report::MessageDelivered { nonce, .. }) => {
                self.delivered.insert((tower, nonce));
            }
            Some(Report::MessageReceived { nonce, .. }) => {
                *self.taken.entry(nonce).or_default() += 1;
            }
            Some(Report::KeyChanged { tower: changed, seen }) => {
                self.keys_told[tower] += 1;
                let pin = self.pins.get(&(tower, changed)).copied();
                assert!(pin.is_some() && pin != seen, "{seen:?} is told to be other than {pin:?}");
            }
            _ => {}
        }
    }

    fn end(&mut self, tower: usize, link: LinkId) -> Option<&mut End> {
        let mut ends = self.connections.iter_mut().flat_map(|connection| &mut connection.0);
        ends.find(|end| end.tower == tower && end.link == link && end.is_open)
    }

    fn send(&mut self, tower: usize, link: LinkId, buffer: usize) {
        loop {
            let mut out = Vec::new().limit(buffer);
            let len = self.towers[tower].transmit(link, &mut out);
            let bytes = out.into_inner();
            assert_eq!(len, bytes.len());
            for (number, attempt, nonce) in self.towers[tower].tower().transfers_on(link) {
                let transfer = (tower, number, attempt == Attempt::Retry);
                self.handed_over.entry(nonce).or_default().insert(transfer);
            }
            if len == 0 {
                return;
            }
            if self.recorded.len() == MOST_RECORDED {
                self.recorded.pop_front();
            }
            self.recorded.push_back(bytes.clone());
            if let Some(end) = self.end(tower, link) {
                end.flow.push_back(bytes);
            }
        }
    }

    fn close(&mut self, tower: usize, link: LinkId, how: CloseMode, buffer: usize) {
        if how == CloseMode::Flush {
            self.send(tower, link, buffer);
        }
        let Some(end) = self.end(tower, link) else { return };
        (end.is_open, end.has_shut) = (false, true);
        if how == CloseMode::Abort {
            end.flow.clear();
        }
        self.towers[tower].handle(Event::Closed { link }, self.now);
    }

    /// Brings everybody what is on its way to them, once.
    fn deliver_all(&mut self) {
        let Self { towers, connections, now, .. } = self;
        for Connection(ends) in connections.iter_mut() {
            for side in [0, 1] {
                let End { tower, link, is_open, .. } = ends[1 - side];
                for piece in core::mem::take(&mut ends[side].flow) {
                    if is_open {
                        let event = Event::BytesArrived { link, bytes: &piece };
                        towers[tower].handle(event, *now);
                    }
                }
                if ends[side].has_shut && !ends[side].shut_seen {
                    ends[side].shut_seen = true;
                    if is_open {
                        towers[tower].handle(Event::Finished { link }, *now);
                    }
                }
            }
        }
        connections.retain(|connection| connection.0.iter().any(|end| end.is_open));
        self.act_all();
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        let mut at_once = 0;
        loop {
            let wakeups = self.towers.iter().filter_map(StateMachine::next_wakeup);
            let Some(at) = wakeups.map(|wakeup| wakeup.at).min().filter(|at| *at < until) else {
                break;
            };
            at_once = if at > self.now { 1 } else { at_once + 1 };
            assert!(at_once <= MOST_AT_ONCE, "a tower is woken over and over");
            self.now = self.now.max(at);
            for tower in &mut self.towers {
                tower.handle(Event::TimerFired, self.now);
            }
            self.act_all();
        }
        self.now = self.now.max(until);
    }

    /// Now all bytes arrive as they were sent. What is left of the harm gets through or its link ends, and nothing waits for ever: a new message arrives.
    /// Only a queue that is too full takes none; and when all that is there is more than one tower has room for, the others may refuse it at every turn.
    fn recover(&mut self) {
        self.recover_from(0);
        // To whomever the second one has found at the first one's address, and has pinned the key of.
        let pin = self.pins.get(&(1, address(0)));
        let has_pinned = |tower: &usize| Some(&identities()[*tower].fingerprint()) == pin;
        self.listening = (0..self.towers.len()).find(has_pinned).unwrap_or(self.listening);
        self.recover_from(1);
    }

    fn recover_from(&mut self, tower: usize) {
        let Some(nonce) = self.enqueue(tower, 100) else { return };
        // A message a round is what the slower rate amounts to, and no timeout is anywhere near a minute.
        let rounds = 300 + self.towers[tower].tower().held().0;
        let mut refused = 0;
        for round in 0..rounds {
            if round == rounds / 2 {
                refused = self.refused_by_others(tower);
            }
            if self.delivered.contains(&(tower, nonce)) {
                return;
            }
            for _ in 0..3 {
                self.deliver_all();
            }
            self.pass(Duration::from_millis(200));
            self.check();
        }
        let most = self.towers[tower].tower().config().max_queue_bytes;
        let all: usize = self.sent.values().map(|(_, body)| body.len()).sum();
        let was_tried = self.handed_over.contains_key(&nonce);
        if all > most && was_tried && self.refused_by_others(tower) > refused {
            return;
        }
        panic!("a message waits for ever: {:?}", self.towers[tower].tower().stats());
    }

    fn refused_by_others(&self, tower: usize) -> u64 {
        let others = self.towers.iter().enumerate().filter(|(other, _)| *other != tower);
        others.map(|(_, other)| other.tower().stats().refused).sum()
    }

    /// All that a tower holds was sent by one of them, name, kind and byte for byte; what was sent is held by one; nothing was taken more often than it
    /// was handed over; and everything stays in its bounds.
    fn check(&mut self) {
        let mut held = BTreeSet::new();
        for tower in &self.towers {
            let tower = tower.tower();
            let mut names = BTreeSet::new();
            for here in tower.peek() {
                let message = (here.message.kind(), here.message.body().to_vec());
                assert_eq!(Some(&message), self.sent.get(&here.nonce), "nobody sent that");
                assert!(names.insert(here.nonce), "one tower holds a message twice");
            }
            held.append(&mut names);
            let (messages, bytes) = tower.held();
            let config = tower.config();
            assert!(messages <= config.max_queue_messages && bytes <= config.max_queue_bytes);
            assert!(tower.links() <= config.max_links && tower.peers() <= config.max_peers);
        }
        assert!(held.len() == self.sent.len(), "a message is lost");
        for (nonce, times) in &self.taken {
            let handed_over = self.handed_over.get(nonce).map_or(0, BTreeSet::len);
            assert!(*times <= handed_over, "a message was taken more often than it was sent");
        }
        self.check_keys();
    }

    /// The key that is pinned for an address stays, and nobody with another one is spoken with there.
    fn check_keys(&mut self) {
        for (number, tower) in self.towers.iter().enumerate() {
            for peer in tower.tower().survey() {
                let place = (number, peer.address.clone());
                let Some(pin) = peer.fingerprint else {
                    assert!(!self.pins.contains_key(&place), "a pin is gone");
                    continue;
                };
                assert_eq!(*self.pins.entry(place).or_insert(pin), pin, "another key is pinned");
            }
        }
        for Connection([dialler, answerer]) in &self.connections {
            let dialled = (dialler.tower, other_address(dialler.tower));
            let pin = self.pins.get(&dialled).copied();
            let key = identities()[answerer.tower].fingerprint();
            if pin.is_some_and(|pin| pin != key) {
                let inside = self.towers[dialler.tower].tower().inside();
                let link = inside.links.iter().find(|link| link.id == dialler.link);
                assert!(link.is_none_or(|link| link.state != State::Open), "a wrong key was taken");
            }
        }
        assert_eq!(self.keys_told, self.keys_refused, "a link with a changed key is told of");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Frame, MessageFrame};

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

    #[test]
    #[should_panic(expected = "taken more often than it was sent")]
    fn a_message_that_is_taken_again_without_being_sent_again_is_noticed() {
        let mut world = run(&PEACE);
        let (nonce, handed_over) = world.handed_over.iter().next().unwrap();
        let (kind, body) = world.sent[nonce].clone();
        let (from, ..) = *handed_over.first().unwrap();
        let frame = Frame::Message(MessageFrame {
            transfer: 1_000_000,
            attempt: Attempt::First,
            nonce: *nonce,
            kind,
            friend: None,
            body: &body,
        });
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        // As if TLS had let it through again and again.
        let taker = 1 - from;
        let ends = world.connections.iter().flat_map(|connection| &connection.0);
        let link = ends.filter(|end| end.tower == taker).map(|end| end.link).next().unwrap();
        for _ in 0..10 {
            let event = Event::BytesArrived { link, bytes: &bytes };
            world.towers[taker].tower_mut().handle(event, world.now);
            world.act_all();
            world.check();
        }
    }

    #[test]
    #[should_panic(expected = "a message is lost")]
    fn a_message_that_is_gone_is_noticed() {
        let mut world = run(&PEACE);
        world.sent.insert(Nonce(1), (Kind::Bytes, Vec::new()));
        world.check();
    }

    #[test]
    #[should_panic(expected = "a message waits for ever")]
    fn a_message_that_nobody_takes_is_noticed() {
        let mut world = run(&PEACE);
        world.towers[1].tower_mut().ignore(&address(0), world.now).unwrap();
        world.act_all();
        world.recover_from(0);
    }

    #[test]
    #[should_panic(expected = "a message waits for ever")]
    fn a_message_that_nobody_takes_is_noticed_where_there_is_no_room_for_all_either() {
        let mut world = full();
        world.towers[1].tower_mut().shutdown(world.now);
        world.act_all();
        world.recover_from(0);
    }

    #[test]
    fn where_there_is_no_room_for_all_a_message_is_refused_at_every_turn_or_arrives() {
        let mut world = full();
        world.recover();
        assert!(world.towers[0].tower().stats().refused_by_peers > 0);
    }

    /// Two towers that know each other, and have more to keep than one of them can.
    fn full() -> World {
        let mut world = run(&PEACE);
        for tower in [0, 1] {
            for _ in 0..8 {
                world.enqueue(tower, 30_000).unwrap();
            }
        }
        world
    }

    #[test]
    fn another_key_at_a_pinned_address_is_told_and_gets_nothing() {
        let mut world = World::new(2);
        let run_on = |world: &mut World| {
            for _ in 0..40 {
                world.deliver_all();
                world.pass(Duration::from_millis(100));
                world.check();
            }
        };
        world.towers[1].tower_mut().announce(&address(0), world.now).unwrap();
        run_on(&mut world);
        let first = Some(identities()[0].fingerprint());
        assert_eq!(world.pins.get(&(1, address(0))).copied(), first);
        assert_eq!(world.keys_told, [0; 3]);
        world.listening = 2;
        while world.connections.iter().any(|connection| connection.0.iter().any(|end| end.is_open))
        {
            world.lose(1, &mut Supply(&[0]));
        }
        world.enqueue(1, 10).unwrap();
        run_on(&mut world);
        assert!(world.keys_told[1] > 0);
        assert_eq!(world.pins.get(&(1, address(0))).copied(), first);
        assert_eq!(world.towers[2].tower().held().0, 0);
    }
}
