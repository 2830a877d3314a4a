//! Two towers with TLS between them, and changed bytes on the way. Sometimes a third tower with
//! another key listens at the address of the first one.
//!
//! The keys of the towers are fixed, and so is the length of everything that they send. The keys of
//! each link come from the operating system, because rustls' provider can't be given others. So an
//! input changes the same places of the same records in every run, but not the same bytes: a
//! finding may need a few runs to show again.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use bytes::BufMut;
use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;
use std::sync::OnceLock;

use crate::tls::{Identity, SecureTower, Trust};
use crate::wire::arbitrary::Supply;
use crate::{
    Action, Address, CloseMode, CloseReason, Config, Event, Fingerprint, Instant, IoCause, LinkId,
    Message, MessageState, Nonce, Notice, Origin, Seed, SendRate, StateMachine, Tower,
};

/// The most steps of a run.
const MAX_STEPS: usize = 200;
/// How many of the last pieces are kept to be replayed.
const MAX_RECORDED: usize = 16;
/// The most wake-ups at one instant: one for each kind of timer that may be due.
const MAX_WAKEUPS_AT_ONCE: usize = 4;

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

/// Cuts, reorders, drops, duplicates, alters and replays bytes between towers.
///
/// Checks that no tower panics, that no message is lost, that each message that is held was sent,
/// that no message is taken more often than it was handed over, and that a pinned key stays if
/// another tower answers at its address. When the bytes arrive unchanged again, a new message is
/// delivered.
///
/// The input is a byte with the send rate (the lowest bit) and whether there is a third tower (the
/// next bit), and then steps.
pub fn tls_bytes(input: &[u8]) {
    run(input);
}

fn run(input: &[u8]) -> Network {
    let mut supply = Supply(input);
    let mut network = Network::new(supply.byte());
    for _ in 0..MAX_STEPS {
        if supply.0.is_empty() {
            break;
        }
        network.step(&mut supply);
        network.check();
    }
    network.recover();
    network
}

/// A connection between two towers: the end of the tower that dialled, and the end of the other
/// one.
struct Connection([End; 2]);

struct End {
    tower: usize,
    link: LinkId,
    is_open: bool,
    /// The pieces that were sent and have not arrived.
    flow: VecDeque<Vec<u8>>,
    has_finished: bool,
    was_told: bool,
}

impl End {
    fn new(tower: usize, link: LinkId) -> Self {
        let flow = VecDeque::new();
        Self { tower, link, is_open: true, flow, has_finished: false, was_told: false }
    }
}

/// What a tower told about one message.
#[derive(Default)]
struct Handover {
    /// How often the message went back to the queue because a peer did not take it.
    returned: u64,
    /// How often the message was taken from a peer.
    taken: u64,
    delivered: u64,
}

struct Network {
    towers: Vec<SecureTower>,
    /// The tower that answers at the first tower's address: the first or the third one.
    listening: usize,
    connections: Vec<Connection>,
    now: Instant,
    sent: BTreeMap<Nonce, Message>,
    /// The pieces that were sent last, on any link.
    recorded: VecDeque<Vec<u8>>,
    handovers: BTreeMap<(usize, Nonce), Handover>,
    /// The keys that each tower has pinned.
    pins: BTreeMap<(usize, Address), Fingerprint>,
    /// How often each tower told that a key had changed, and how many links it closed for that
    /// reason.
    keys_changed: [u64; 3],
    keys_refused: [u64; 3],
}

/// Returns the address of a tower. The third tower claims the address of the first one.
fn address(tower: usize) -> Address {
    Address::new(["one.example", "two.example", "one.example"][tower], 8001).unwrap()
}

/// Returns the address that a tower dials.
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

/// Returns a message that shares no sequence of bytes with another message.
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

impl Network {
    fn new(settings: u8) -> Self {
        let mut config = Config {
            max_message: 40_000,
            max_queue_bytes: 400_000,
            max_links: 4,
            max_unproved: 2,
            heartbeat: Some(Duration::from_secs(3)),
            // Shorter than the recovery.
            max_probe_backoff: Duration::from_secs(10),
            max_busy_backoff: Duration::from_secs(10),
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
        let mut network = Self {
            towers: towers.collect(),
            listening: 0,
            connections: Vec::new(),
            now: Instant::ORIGIN,
            sent: BTreeMap::new(),
            recorded: VecDeque::new(),
            handovers: BTreeMap::new(),
            pins: BTreeMap::new(),
            keys_changed: [0; 3],
            keys_refused: [0; 3],
        };
        network.towers[0].tower_mut().announce(&address(1), network.now).unwrap();
        network
    }

    fn step(&mut self, supply: &mut Supply<'_>) {
        let kind = supply.below(19);
        let tower = usize::from(supply.byte()) % self.towers.len();
        match kind {
            0 | 1 => drop(self.enqueue(tower, usize::from(supply.byte()))),
            2 => drop(self.enqueue(tower, 160 * usize::from(supply.byte()))),
            3..=5 => self.deliver_all(),
            6 | 7 => self.pass(Duration::from_millis(20 * u64::from(supply.byte()))),
            8 => self.act(tower, 1 + 64 * usize::from(supply.byte())),
            9 => {
                let other = other_address(tower);
                let _ = self.towers[tower].tower_mut().announce(&other, self.now);
            }
            10..=15 => self.change(kind, tower, supply),
            16 => self.replay(supply),
            17 => self.lose(tower, supply),
            _ if self.towers.len() == 3 => self.listening = 2 - self.listening,
            _ => self.deliver_all(),
        }
        self.act_all();
    }

    fn enqueue(&mut self, tower: usize, len: usize) -> Option<Nonce> {
        let message = message(1 + self.sent.len() as u64, len);
        let copy = message.clone();
        let nonce = self.towers[tower].tower_mut().enqueue(message, self.now).ok()?;
        assert_eq!(self.sent.insert(nonce, copy), None, "two messages have one name");
        Some(nonce)
    }

    /// Changes bytes that a tower has sent on the newest connection and that have not arrived.
    fn change(&mut self, kind: u8, tower: usize, supply: &mut Supply<'_>) {
        let mut ends = self.connections.iter_mut().rev().flat_map(|connection| &mut connection.0);
        let Some(end) = ends.find(|end| end.tower == tower && !end.flow.is_empty()) else { return };
        let flow = &mut end.flow;
        let place = usize::from(supply.byte()) % flow.len();
        let piece = &mut flow[place];
        let at = usize::from(u16::from_be_bytes([supply.byte(), supply.byte()])) % piece.len();
        match kind {
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

    /// Sends a recorded piece again, to either end of any connection.
    fn replay(&mut self, supply: &mut Supply<'_>) {
        if self.recorded.is_empty() || self.connections.is_empty() {
            return;
        }
        let piece = self.recorded[usize::from(supply.byte()) % self.recorded.len()].clone();
        let connection = usize::from(supply.byte()) % self.connections.len();
        let place = usize::from(supply.byte());
        let flow = &mut self.connections[connection].0[place % 2].flow;
        flow.insert(place / 2 % (flow.len() + 1), piece);
    }

    /// Breaks a connection of a tower. The other end breaks too, or sees the end of the stream, or
    /// nothing.
    fn lose(&mut self, tower: usize, supply: &mut Supply<'_>) {
        let choice = supply.byte();
        let is_open = |end: &End| end.tower == tower && end.is_open;
        let mut connections: Vec<_> =
            self.connections.iter_mut().filter(|it| it.0.iter().any(is_open)).collect();
        if connections.is_empty() {
            return;
        }
        let index = usize::from(choice / 3) % connections.len();
        let ends = &mut connections[index].0;
        let breaks =
            |end: &&mut End| end.is_open && (end.tower == tower || choice.is_multiple_of(3));
        for end in ends.iter_mut().filter(breaks) {
            end.is_open = false;
            end.has_finished = choice % 3 != 1;
            let event = Event::Lost { link: end.link, cause: IoCause::Reset };
            self.towers[end.tower].handle(event, self.now);
        }
    }

    fn act_all(&mut self) {
        for tower in 0..self.towers.len() {
            self.act(tower, 20_000);
        }
    }

    /// Does what a tower asks for, with buffers of a size.
    fn act(&mut self, tower: usize, buffer: usize) {
        while let Some(action) = self.towers[tower].poll_action() {
            match action {
                Action::Connect { link, address: dialled, except, .. } => {
                    let answering = if dialled == address(1) { 1 } else { self.listening };
                    let from = IpAddr::V4(Ipv4Addr::LOCALHOST);
                    // Each tower has one address.
                    let at = IpAddr::V4(Ipv4Addr::new(127, 0, 0, [1, 2, 3][answering]));
                    let event = if except.contains(&at) {
                        Event::ConnectFailed { link, cause: IoCause::Resolve }
                    } else if let Ok(accepted) = self.towers[answering].accept(from, self.now) {
                        let ends = [End::new(tower, link), End::new(answering, accepted)];
                        self.connections.push(Connection(ends));
                        Event::Connected { link, at: Some(at) }
                    } else {
                        Event::ConnectFailed { link, cause: IoCause::Refused }
                    };
                    self.towers[tower].handle(event, self.now);
                }
                Action::Send { link } => self.send(tower, link, buffer),
                Action::Close { link, how, .. } => self.close(tower, link, how, buffer),
                Action::Notify(notice) => self.on_notice(tower, notice),
                Action::Screen { .. } => panic!("screening is off"),
            }
        }
    }

    fn on_notice(&mut self, tower: usize, notice: Notice) {
        match notice {
            Notice::MessageQueued { nonce, origin: Origin::Returned, .. } => {
                self.handover(tower, nonce).returned += 1;
            }
            Notice::MessageReceived { nonce, .. } => self.handover(tower, nonce).taken += 1,
            Notice::MessageDelivered { nonce, .. } => self.handover(tower, nonce).delivered += 1,
            Notice::LinkClosed { reason: CloseReason::KeyChanged, .. } => {
                self.keys_refused[tower] += 1;
            }
            Notice::KeyChanged { peer, seen } => {
                self.keys_changed[tower] += 1;
                let pin = self.pins.get(&(tower, peer)).copied();
                assert!(pin.is_some() && pin != seen, "{seen:?} is not another key than {pin:?}");
            }
            Notice::Missed { .. } => panic!("the driver polls all notices"),
            _ => {}
        }
    }

    fn handover(&mut self, tower: usize, nonce: Nonce) -> &mut Handover {
        self.handovers.entry((tower, nonce)).or_default()
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
            if len == 0 {
                return;
            }
            if self.recorded.len() == MAX_RECORDED {
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
        (end.is_open, end.has_finished) = (false, true);
        if how == CloseMode::Abort {
            end.flow.clear();
        }
        self.towers[tower].handle(Event::Closed { link }, self.now);
    }

    /// Delivers all bytes that are on their way now.
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
                if ends[side].has_finished && !ends[side].was_told {
                    ends[side].was_told = true;
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
            assert!(at_once <= MAX_WAKEUPS_AT_ONCE, "a timer spins");
            self.now = self.now.max(at);
            for tower in &mut self.towers {
                tower.handle(Event::TimerFired, self.now);
            }
            self.act_all();
        }
        self.now = self.now.max(until);
    }

    /// Delivers all bytes unchanged from now on, until each of the first two towers has delivered a
    /// new message.
    fn recover(&mut self) {
        self.recover_from(0);
        // The second tower reaches only the tower whose key it has pinned.
        let pin = self.pins.get(&(1, address(0)));
        let has_pinned = |tower: &usize| Some(&identities()[*tower].fingerprint()) == pin;
        self.listening = (0..self.towers.len()).find(has_pinned).unwrap_or(self.listening);
        self.recover_from(1);
    }

    /// Waits until a tower has delivered a new message. A queue that is full takes none. If all
    /// messages together have no room in one tower, the others may refuse it for ever.
    fn recover_from(&mut self, tower: usize) {
        let Some(nonce) = self.enqueue(tower, 100) else { return };
        // At the slower rate, one message leaves in each round. No time-out or back-off is as long
        // as 300 rounds.
        let rounds = 300 + self.towers[tower].tower().queue_usage().messages;
        let mut refused = 0;
        for round in 0..rounds {
            if round == rounds / 2 {
                refused = self.refused_by_others(tower);
            }
            if self.handovers.get(&(tower, nonce)).is_some_and(|it| it.delivered > 0) {
                return;
            }
            for _ in 0..3 {
                self.deliver_all();
            }
            self.pass(Duration::from_millis(200));
            self.check();
        }
        let max = self.towers[tower].tower().config().max_queue_bytes;
        let all: usize = self.sent.values().map(Message::len).sum();
        let is_refused = self.refused_by_others(tower) > refused;
        let stats = self.towers[tower].tower().stats();
        assert!(all > max && is_refused, "a message waits for ever: {stats:?}");
    }

    fn refused_by_others(&self, tower: usize) -> u64 {
        let others = self.towers.iter().enumerate().filter(|(other, _)| *other != tower);
        others.map(|(_, other)| other.tower().stats().refused).sum()
    }

    fn check(&mut self) {
        let (mut all_held, mut in_flight) = (BTreeSet::new(), BTreeSet::new());
        for (number, tower) in self.towers.iter().map(StateMachine::tower).enumerate() {
            tower.assert_consistent();
            let mut held = BTreeSet::new();
            for message in tower.peek() {
                let nonce = message.nonce;
                let sent = self.sent.get(&nonce);
                assert_eq!(Some(&message.message), sent, "a message that was not sent");
                assert!(held.insert(nonce), "a tower holds a message twice");
                if matches!(message.state, MessageState::InFlight { .. }) {
                    in_flight.insert((number, nonce));
                }
            }
            all_held.append(&mut held);
            let (usage, config) = (tower.queue_usage(), tower.config());
            assert!(usage.messages <= config.max_held_messages());
            assert!(usage.bytes <= config.max_held_bytes());
            assert!(tower.links().count() <= config.max_links);
            assert!(tower.survey().count() <= config.max_peers);
        }
        assert_eq!(all_held.len(), self.sent.len(), "a message is lost");
        // A tower sends a message once each time the message is in flight, and once more if the
        // link breaks.
        let max_sent = |sender: usize, nonce: Nonce| {
            let ended = self.handovers.get(&(sender, nonce));
            let ended = ended.map_or(0, |handover| handover.returned + handover.delivered);
            let departed = ended + u64::from(in_flight.contains(&(sender, nonce)));
            departed + departed.min(self.towers[sender].tower().stats().in_doubt)
        };
        for ((taker, nonce), handover) in &self.handovers {
            let senders = (0..self.towers.len()).filter(|sender| sender != taker);
            let max = senders.map(|sender| max_sent(sender, *nonce)).sum();
            assert!(handover.taken <= max, "a message is taken more often than it was sent");
        }
        self.check_keys();
    }

    /// A pinned key stays, and no link to its address opens with another key.
    fn check_keys(&mut self) {
        for (number, tower) in self.towers.iter().enumerate() {
            for peer in tower.tower().survey() {
                let place = (number, peer.address);
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
                let link = self.towers[dialler.tower].tower().link(dialler.link);
                assert!(link.is_none_or(|link| !link.is_open), "a link is open to a wrong key");
            }
        }
        assert_eq!(self.keys_changed, self.keys_refused, "links with changed keys, and notices");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Lifetime;
    use crate::wire::{Frame, MessageFrame};

    /// Messages are enqueued at one tower, then at the other one, and all bytes arrive.
    const UNCHANGED: [u8; 26] =
        [0, 3, 0, 3, 0, 0, 0, 20, 0, 1, 200, 3, 0, 2, 0, 255, 3, 0, 6, 0, 200, 3, 0, 3, 1, 3];

    #[test]
    fn unchanged_bytes_carry_messages_in_both_directions() {
        let network = run(&UNCHANGED);
        for tower in &network.towers {
            assert!(tower.tower().stats().delivered > 0, "{:?}", tower.tower().stats());
            assert_eq!(tower.tower().stats().links_misbehaved, 0);
        }
    }

    #[test]
    #[should_panic(expected = "a message that was not sent")]
    fn a_message_that_was_not_sent_is_detected() {
        let mut network = run(&UNCHANGED);
        let forged = Message::bytes(b"forged");
        network.towers[0].tower_mut().enqueue(forged, network.now).unwrap();
        network.check();
    }

    #[test]
    #[should_panic(expected = "taken more often than it was sent")]
    fn a_message_that_is_taken_more_often_than_it_was_sent_is_detected() {
        let mut network = run(&UNCHANGED);
        let (taker, nonce) = *network.handovers.iter().find(|(_, it)| it.taken > 0).unwrap().0;
        let message = network.sent[&nonce].clone();
        let frame = |transfer: u64| {
            let mut bytes = Vec::new();
            let frame = Frame::Message(MessageFrame {
                transfer,
                retry_of: None,
                lifetime: Lifetime::UNLIMITED,
                nonce,
                kind: message.kind(),
                friend: None,
                body: message.body(),
            });
            frame.encode(&mut bytes);
            bytes
        };
        // As if TLS had let a replayed record through, again and again.
        let ends = network.connections.iter().flat_map(|connection| &connection.0);
        let link = ends.filter(|end| end.tower == taker).map(|end| end.link).next().unwrap();
        for _ in 0..10 {
            let tower = network.towers[taker].tower_mut();
            let bytes = frame(tower.next_incoming(link));
            tower.handle(Event::BytesArrived { link, bytes: &bytes }, network.now);
            network.act_all();
            network.check();
        }
    }

    #[test]
    #[should_panic(expected = "a message is lost")]
    fn a_lost_message_is_detected() {
        let mut network = run(&UNCHANGED);
        network.sent.insert(Nonce(1), Message::bytes(b""));
        network.check();
    }

    #[test]
    #[should_panic(expected = "a message waits for ever")]
    fn a_message_that_is_never_taken_is_detected() {
        let mut network = run(&UNCHANGED);
        network.towers[1].tower_mut().ignore(&address(0), network.now).unwrap();
        network.act_all();
        network.recover_from(0);
    }

    #[test]
    #[should_panic(expected = "a message waits for ever")]
    fn a_message_that_is_never_taken_is_detected_in_a_full_network() {
        let mut network = full();
        network.towers[1].tower_mut().shutdown(network.now);
        network.act_all();
        network.recover_from(0);
    }

    #[test]
    fn in_a_full_network_a_message_is_refused_or_delivered() {
        let mut network = full();
        network.recover();
        assert!(network.towers[0].tower().stats().refused_by_peers > 0);
    }

    /// Returns two towers that know each other and hold more messages than fit into one of them.
    fn full() -> Network {
        let mut network = run(&UNCHANGED);
        for tower in [0, 1] {
            for _ in 0..8 {
                network.enqueue(tower, 30_000).unwrap();
            }
        }
        network
    }

    #[test]
    fn another_key_at_a_pinned_address_is_reported_and_gets_nothing() {
        let mut network = Network::new(2);
        let run_on = |network: &mut Network| {
            for _ in 0..40 {
                network.deliver_all();
                network.pass(Duration::from_millis(100));
                network.check();
            }
        };
        network.towers[1].tower_mut().announce(&address(0), network.now).unwrap();
        run_on(&mut network);
        let first = Some(identities()[0].fingerprint());
        assert_eq!(network.pins.get(&(1, address(0))).copied(), first);
        assert_eq!(network.keys_changed, [0; 3]);
        network.listening = 2;
        while network.connections.iter().any(|it| it.0.iter().any(|end| end.is_open)) {
            network.lose(1, &mut Supply(&[0]));
        }
        network.enqueue(1, 10).unwrap();
        run_on(&mut network);
        assert!(network.keys_changed[1] > 0);
        assert_eq!(network.pins.get(&(1, address(0))).copied(), first);
        assert_eq!(network.towers[2].tower().queue_usage().messages, 0);
    }
}
