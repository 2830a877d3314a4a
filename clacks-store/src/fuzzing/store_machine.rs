//! A store whose peers, guests, driver and application do anything.
//!
//! The model of the inventory is the queue: after each step, the store lists exactly the chunks
//! that its tower holds. The answers on each link were asked for there.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;
use std::sync::OnceLock;

use clacks_proto::wire::{Decoder, Frame, Hello, MAX_BODY, MessageFrame, VERSION, Window};
use clacks_proto::{
    Action, Address, Config, Event, Instant, IoCause, Kind, Lifetime, LinkId, Message, Nonce,
    Notice, Seed, StateMachine, Tower,
};

use super::Choices;
use crate::chunk::{CHUNK, Chunk, Tag, seal};
use crate::geometry::SHARD;
use crate::keys::Secret;
use crate::merkle::Path;
use crate::protocol::{Body, Datagram, Tags};
use crate::rate::Rate;
use crate::store::{Store, StoreConfig, enable_store};

const HOUR: u32 = 498_000;
const UNIX: u64 = HOUR as u64 * 3_600 + 1_800;
/// The number of steps of a run.
const MAX_STEPS: usize = 300;
const CHUNKS: u8 = 24;

/// Runs a store on steps that the input chooses.
pub fn store_machine(input: &[u8]) {
    let mut choices = Choices(input);
    let mut world = World::new(&mut choices);
    for _ in 0..MAX_STEPS {
        if choices.is_over() {
            break;
        }
        world.step(&mut choices);
        world.settle();
        world.check();
    }
    world.end();
}

struct World {
    store: Store<Tower>,
    now: Instant,
    links: BTreeMap<LinkId, Link>,
    /// The number of the next transfer and the next name.
    sent: u64,
    /// Notices were missed, and the store does not know of it yet.
    has_missed: bool,
}

/// The other side of a link.
struct Link {
    decoder: Decoder,
    /// The transfers that were sent on the link.
    transfers: u64,
    /// The requests that this side has sent, with the most answers that may follow.
    asked: BTreeMap<u32, usize>,
    /// The numbers of the requests that the store has sent.
    requests: BTreeSet<u32>,
}

fn chunks() -> &'static [Box<[u8; CHUNK]>] {
    static CHUNKS_ONCE: OnceLock<Vec<Box<[u8; CHUNK]>>> = OnceLock::new();
    CHUNKS_ONCE.get_or_init(|| {
        let keys = Secret::new([7; 16]).keep().chunk_keys();
        let chunk = |index: u8| {
            // Some are over, and some are too far ahead.
            let until = HOUR - 2 + u32::from(index) * 5 / 4;
            let mut nonce = [0; 12];
            nonce[0] = index;
            let mut chunk = seal(&keys, index.into(), &[1; SHARD], &Path::default(), until, nonce);
            if index % 8 == 7 {
                chunk[500] ^= 1;
            }
            chunk
        };
        (0..CHUNKS).map(chunk).collect()
    })
}

fn address(number: u8) -> Address {
    Address::new(&alloc::format!("10.{number}.0.1"), 8001).expect("a valid address")
}

fn encode(frame: &Frame<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    bytes
}

impl World {
    fn new(choices: &mut Choices<'_>) -> Self {
        let mut config = Config::default();
        enable_store(&mut config);
        config.max_links = 8;
        config.max_unproved = 6;
        config.max_peers = 6;
        config.max_queue_messages = 20 + usize::from(choices.byte());
        config.max_pending_notices = 64;
        if choices.byte().is_multiple_of(2) {
            config.screened_len = None;
        }
        let settings = StoreConfig {
            max_relayed: 1 + usize::from(choices.below(16)),
            max_waiting: 40_000 << choices.below(4),
            egress: Rate { burst: 100_000, per_second: 50_000 << choices.below(5) },
            dials: Rate { burst: 2, per_second: 1 },
            relays: !choices.byte().is_multiple_of(8),
            list_every: Duration::from_secs(choices.below(3).into()),
            ..StoreConfig::default()
        };
        let seed = Seed::from_u64(choices.byte().into());
        let tower = Tower::new(config, address(0), &seed).expect("a valid configuration");
        let store = Store::new(tower, settings, &seed, UNIX).expect("a store");
        let (links, now) = (BTreeMap::new(), Instant::ORIGIN);
        Self { store, now, links, sent: 0, has_missed: false }
    }

    fn step(&mut self, choices: &mut Choices<'_>) {
        match choices.below(16) {
            0 => self.call_in(choices),
            1 => {
                let peer = address(choices.below(8));
                let _ = self.store.tower_mut().announce(&peer, self.now);
            }
            2..=8 => self.send_datagram(choices),
            9..=10 => self.send_message(choices),
            11..=12 => {
                let millis = [1, 100, 2_000, 25_000, 700_000, 3_600_000];
                let at = usize::from(choices.below(6));
                self.now = self.now + Duration::from_millis(millis[at]);
                self.store.handle(Event::TimerFired, self.now);
            }
            13 => {
                if let Some(link) = self.pick(choices) {
                    self.links.remove(&link);
                    let cause = IoCause::Reset;
                    self.store.handle(Event::Lost { link, cause }, self.now);
                }
            }
            14 => {
                let chunk = &chunks()[usize::from(choices.below(CHUNKS))];
                let message = Message::bytes(&chunk[..]);
                // The store knows one copy of a chunk. Only an application makes a second one.
                let mut held = self.store.tower().peek();
                if !held.any(|held| held.message == message) {
                    drop(held);
                    let _ = self.store.tower_mut().enqueue(message, self.now);
                }
            }
            _ => self.drain(),
        }
    }

    fn pick(&self, choices: &mut Choices<'_>) -> Option<LinkId> {
        let place = usize::from(choices.byte()).checked_rem(self.links.len())?;
        self.links.keys().nth(place).copied()
    }

    fn call_in(&mut self, choices: &mut Choices<'_>) {
        let from = IpAddr::V4(Ipv4Addr::new(10, choices.below(4), 0, 1));
        if let Ok(link) = self.store.accept(from, self.now) {
            let claimed = (choices.byte().is_multiple_of(2)).then(|| address(1 + choices.below(5)));
            self.open(link, claimed);
        }
    }

    fn open(&mut self, link: LinkId, address: Option<Address>) {
        let decoder = Decoder::new(MAX_BODY).accept_datagrams(u32::MAX).expect_hello();
        let (asked, requests) = (BTreeMap::new(), BTreeSet::new());
        self.links.insert(link, Link { decoder, transfers: 0, asked, requests });
        self.sent += 1;
        self.pass(
            link,
            &encode(&Frame::Hello(Hello {
                version: VERSION,
                incarnation: 7,
                link: self.sent,
                max_message: 1 << 20,
                window: Window { messages: 64, bytes: 1 << 20 },
                datagram: 12_288,
                network: "clacks",
                address,
                rest: &[],
            })),
        );
    }

    fn pass(&mut self, link: LinkId, bytes: &[u8]) {
        self.store.handle(Event::BytesArrived { link, bytes }, self.now);
    }

    fn send_datagram(&mut self, choices: &mut Choices<'_>) {
        let Some(link) = self.pick(choices) else { return };
        let chunk = &chunks()[usize::from(choices.below(CHUNKS))];
        let tags: Vec<_> = (0..=choices.below(4))
            .map(|_| {
                let chunk = &chunks()[usize::from(choices.below(CHUNKS))];
                let mut tag = [0; Tag::LEN];
                tag.copy_from_slice(&chunk[..Tag::LEN]);
                tag
            })
            .collect();
        let count = tags.len();
        let tags = Tags::new(&tags).expect("1 to 4 tags");
        let after = Tag::new([choices.byte(); Tag::LEN]);
        let (request, answers) = match choices.below(8) {
            0 => (Body::List { after }, 1),
            1..=3 => (Body::Fetch(tags), count),
            4..=6 => (Body::Publish(chunk), 1),
            _ => (Body::Peers { cursor: choices.below(3).into() }, 1),
        };
        let inner = request.encode_inner();
        let target = match choices.below(8) {
            0..=2 => None,
            number => Some(address(number - 3)),
        };
        let answer = match choices.below(5) {
            0 => Body::Chunk(chunk),
            1 => Body::Gone(tags),
            2 => Body::Published(crate::protocol::Outcome::Full),
            3 => Body::Lost,
            _ => Body::Towers { next: 0, known: 1, addresses: alloc::vec![address(3)] },
        };
        let state = self.links.get_mut(&link).expect("a link");
        let mut number = u32::from(choices.byte());
        let body = match choices.below(8) {
            0..=2 => {
                *state.asked.entry(number).or_default() += answers;
                request
            }
            3..=5 => {
                *state.asked.entry(number).or_default() += answers;
                Body::Relay { hops: 1 + choices.below(10), target, inner: &inner }
            }
            6 => {
                // A number of a request that the store has sent on this link, if there is one.
                let place = usize::from(choices.byte()).checked_rem(state.requests.len());
                let asked = place.and_then(|place| state.requests.iter().nth(place).copied());
                number = asked.unwrap_or(number);
                answer
            }
            _ => {
                let bytes: Vec<_> = (0..choices.below(16)).map(|_| choices.byte()).collect();
                if !bytes.is_empty() && Datagram::decode(&bytes).is_err() {
                    self.pass(link, &encode(&Frame::Datagram(&bytes)));
                }
                return;
            }
        };
        let bytes = Datagram { number, body }.encode();
        self.pass(link, &encode(&Frame::Datagram(&bytes)));
    }

    fn send_message(&mut self, choices: &mut Choices<'_>) {
        let Some(link) = self.pick(choices) else { return };
        let state = self.links.get_mut(&link).expect("a link");
        state.transfers += 1;
        self.sent += 1;
        let chunk = &chunks()[usize::from(choices.below(CHUNKS))];
        let body: &[u8] =
            if choices.byte().is_multiple_of(8) { b"another message" } else { &chunk[..] };
        let frame = Frame::Message(MessageFrame {
            transfer: state.transfers,
            retry_of: None,
            lifetime: Lifetime::UNLIMITED,
            nonce: Nonce((choices.below(30)).into()),
            kind: if choices.byte().is_multiple_of(8) { Kind::Text } else { Kind::Bytes },
            friend: None,
            body,
        });
        self.pass(link, &encode(&frame));
    }

    /// Carries out the actions of the store.
    fn settle(&mut self) {
        while let Some(action) = self.store.poll_action() {
            match action {
                Action::Connect { link, address, .. } => {
                    self.store.handle(Event::Connected { link, at: None }, self.now);
                    self.open(link, Some(address));
                }
                Action::Close { link, .. } => {
                    self.links.remove(&link);
                    self.store.handle(Event::Closed { link }, self.now);
                }
                Action::Screen { .. } => panic!("the store decides"),
                Action::Notify(Notice::Missed { .. }) => self.has_missed = false,
                _ => {}
            }
        }
    }

    /// Lets the other sides read what the store has sent, and confirms its transfers.
    fn drain(&mut self) {
        let links: Vec<_> = self.links.keys().copied().collect();
        for link in links {
            let mut bytes = Vec::new();
            while self.store.transmit(link, &mut bytes) > 0 {}
            let Some(state) = self.links.get_mut(&link) else { continue };
            let Link { decoder, asked, requests, .. } = state;
            let (mut input, mut transfers) = (&bytes[..], 0);
            while let Some(frame) = decoder.decode(&mut input).expect("valid frames") {
                match frame {
                    Frame::Message(frame) => transfers = frame.transfer,
                    Frame::Announce(frame) => transfers = frame.transfer,
                    Frame::Datagram(body) => {
                        let datagram = Datagram::decode(body).expect("a datagram of a store");
                        note_datagram(asked, requests, &datagram);
                    }
                    _ => {}
                }
            }
            if transfers > 0 {
                self.pass(link, &encode(&Frame::Confirmed { through: transfers }));
            }
        }
    }

    fn check(&mut self) {
        self.store.assert_consistent();
        // In tests of this crate, the core is built as it is for applications.
        #[cfg(feature = "fuzzing")]
        self.store.tower().assert_consistent();
        if self.has_missed {
            return;
        }
        let chunk = |message: &Message| {
            let is_bytes = message.kind() == Kind::Bytes;
            Chunk::parse(message.body()).filter(|_| is_bytes).map(|chunk| chunk.tag())
        };
        let held: BTreeSet<_> =
            self.store.tower().peek().filter_map(|held| chunk(&held.message)).collect();
        let listed: BTreeSet<_> = self.store.inventory().map(|(tag, _)| tag).collect();
        assert_eq!(listed, held, "the inventory is what the tower holds");
    }

    /// Ends all links. Nothing stays but the inventory.
    fn end(&mut self) {
        for link in core::mem::take(&mut self.links).into_keys() {
            self.store.handle(Event::Lost { link, cause: IoCause::Reset }, self.now);
        }
        self.store.tower_mut().shutdown(self.now);
        for _ in 0..4 {
            self.settle();
            for link in core::mem::take(&mut self.links).into_keys() {
                self.store.handle(Event::Lost { link, cause: IoCause::Reset }, self.now);
            }
            self.now = self.now + Duration::from_secs(30);
            self.store.handle(Event::TimerFired, self.now);
        }
        self.settle();
        self.store.assert_idle();
    }
}

/// Checks that an answer was asked for, or notes the request.
fn note_datagram(
    asked: &mut BTreeMap<u32, usize>,
    requests: &mut BTreeSet<u32>,
    datagram: &Datagram<'_>,
) {
    let answers = match &datagram.body {
        Body::Gone(tags) => tags.iter().count(),
        Body::Inventory { .. }
        | Body::Chunk(_)
        | Body::Published(_)
        | Body::Towers { .. }
        | Body::Lost => 1,
        _ => {
            requests.insert(datagram.number);
            return;
        }
    };
    let left = asked.get_mut(&datagram.number).expect("an answer that was not asked for");
    *left = left.checked_sub(answers).expect("more answers than were asked for");
}
