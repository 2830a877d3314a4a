//! Stores in a network in memory, asked by a guest.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use clacks_proto::{
    Action, Address, Config, Datagrams, Event, Instant, LinkId, Message, Notice, Seed, SendRate,
    StateMachine, To, Tower,
};
use clacks_store::protocol::{Body, Datagram, Outcome, Tags};
use clacks_store::{
    CHUNK, Chunk, ChunkKeys, Path, SHARD, Secret, Store, StoreConfig, StoreError, Tag,
    enable_store, seal,
};

/// The Unix time at the origin of all clocks: half past an hour.
const UNIX: u64 = 498_000 * 3_600 + 1_800;
const HOUR: u32 = 498_000;

/// The last machine is a guest without a store.
struct Network {
    stores: Vec<Store<Tower>>,
    guest: Tower,
    now: Instant,
    /// The other end of each link, by machine and link.
    ends: BTreeMap<(usize, LinkId), (usize, LinkId)>,
    notices: Vec<(usize, Notice)>,
    /// What the guest received.
    answers: Vec<Vec<u8>>,
}

fn address(number: usize) -> Address {
    Address::new("127.0.0.1", 8001 + u16::try_from(number).unwrap()).unwrap()
}

fn config() -> Config {
    let mut config = Config::default();
    config.send_rate = SendRate::per_second(10);
    enable_store(&mut config);
    config
}

/// The default settings, but chunks are listed at once.
fn settings() -> StoreConfig {
    let mut settings = StoreConfig::default();
    settings.list_every = Duration::ZERO;
    settings
}

fn store(number: usize, config: Config, settings: StoreConfig) -> Store<Tower> {
    let tower = Tower::new(config, address(number), &Seed::from_u64(number as u64)).unwrap();
    Store::new(tower, settings, &Seed::from_u64(number as u64), UNIX).unwrap()
}

impl Network {
    fn new(stores: Vec<Store<Tower>>) -> Self {
        let mut config = config();
        config.is_guest = true;
        config.screening = clacks_proto::Screening::Off;
        let guest = Tower::new(config, address(99), &Seed::from_u64(99)).unwrap();
        let (ends, notices, answers) = (BTreeMap::new(), Vec::new(), Vec::new());
        let mut network = Self { stores, guest, now: Instant::ORIGIN, ends, notices, answers };
        for one in 0..network.stores.len() {
            for other in 0..network.stores.len() {
                if one != other {
                    network.tower(one).expand(&address(other), Instant::ORIGIN).unwrap();
                }
            }
            network.guest.expand(&address(one), Instant::ORIGIN).unwrap();
        }
        network
    }

    fn of_store(settings: StoreConfig) -> Self {
        Self::new(vec![store(0, config(), settings)])
    }

    fn tower(&mut self, number: usize) -> &mut Tower {
        self.stores[number].tower_mut()
    }

    fn poll(&mut self, machine: usize) -> Option<Action> {
        match self.stores.get_mut(machine) {
            Some(store) => store.poll_action(),
            None => self.guest.poll_action(),
        }
    }

    fn handle(&mut self, machine: usize, event: Event<'_>) {
        let now = self.now;
        match self.stores.get_mut(machine) {
            Some(store) => store.handle(event, now),
            None => self.guest.handle(event, now),
        }
    }

    fn transmit(&mut self, machine: usize, link: LinkId) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.stores.get_mut(machine) {
            Some(store) => while store.transmit(link, &mut bytes) > 0 {},
            None => while self.guest.transmit(link, &mut bytes) > 0 {},
        }
        bytes
    }

    /// Executes actions and passes bytes until nothing is left to do.
    fn settle(&mut self) {
        let guest = self.stores.len();
        let mut is_busy = true;
        while is_busy {
            is_busy = false;
            for machine in 0..=guest {
                while let Some(action) = self.poll(machine) {
                    is_busy = true;
                    self.execute(machine, action);
                }
            }
            let ends: Vec<_> = self.ends.iter().map(|(from, to)| (*from, *to)).collect();
            for ((from, link), (to, other)) in ends {
                // A driver passes what one read returns.
                for bytes in self.transmit(from, link).chunks(64 * 1024) {
                    is_busy = true;
                    self.handle(to, Event::BytesArrived { link: other, bytes });
                    let answers = std::iter::from_fn(|| self.guest.take_datagram());
                    self.answers.extend(answers.map(|answer| answer.body.to_vec()));
                }
            }
        }
    }

    fn execute(&mut self, machine: usize, action: Action) {
        match action {
            Action::Connect { link, address: to, .. } => {
                let other = (0..self.stores.len()).find(|other| address(*other) == to);
                let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
                let now = self.now;
                let accepted =
                    other.and_then(|to| Some((to, self.stores[to].accept(local, now).ok()?)));
                let Some((to, accepted)) = accepted else {
                    let cause = clacks_proto::IoCause::Refused;
                    return self.handle(machine, Event::ConnectFailed { link, cause });
                };
                self.ends.insert((machine, link), (to, accepted));
                self.ends.insert((to, accepted), (machine, link));
                self.handle(machine, Event::Connected { link, at: None });
            }
            Action::Close { link, .. } => {
                if let Some((to, other)) = self.ends.remove(&(machine, link)) {
                    self.ends.remove(&(to, other));
                    self.handle(
                        to,
                        Event::Lost { link: other, cause: clacks_proto::IoCause::Reset },
                    );
                }
                self.handle(machine, Event::Closed { link });
            }
            Action::Notify(notice) => self.notices.push((machine, notice)),
            _ => {}
        }
    }

    fn advance(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.settle();
            let wakeups = self.stores.iter().filter_map(StateMachine::next_wakeup);
            let next = wakeups.chain(self.guest.next_wakeup()).map(|wakeup| wakeup.at).min();
            match next.filter(|at| *at <= end) {
                Some(at) => self.now = self.now.max(at),
                None => break,
            }
            (0..=self.stores.len()).for_each(|machine| self.handle(machine, Event::TimerFired));
        }
        self.now = end;
    }

    /// Sends a request of the guest to a store, and returns all answers.
    fn ask(&mut self, store: usize, body: &Body<'_>) -> Vec<Vec<u8>> {
        let to = self.guest.find(&address(store)).unwrap().id;
        let request = Datagram { number: 7, body: body.clone() }.encode();
        self.guest.datagram(To::Peer(to), request, self.now).unwrap();
        self.settle();
        std::mem::take(&mut self.answers)
    }

    fn publish(&mut self, store: usize, chunk: &[u8; CHUNK]) -> Outcome {
        let answers = self.ask(store, &Body::Publish(chunk));
        match Datagram::decode(&answers[0]).unwrap() {
            Datagram { number: 7, body: Body::Published(outcome) } => outcome,
            other => panic!("{other:?}"),
        }
    }

    /// Returns all tags of a store's inventory, page by page.
    fn list(&mut self, store: usize) -> Vec<Tag> {
        let mut tags: Vec<Tag> = Vec::new();
        loop {
            let after = tags.last().copied().unwrap_or(Tag::new([0; 20]));
            let answers = self.ask(store, &Body::List { after });
            let Ok(Datagram { body: Body::Inventory { has_more, entries, .. }, .. }) =
                Datagram::decode(&answers[0])
            else {
                panic!("no inventory")
            };
            tags.extend(entries.iter().map(|(tag, _)| tag));
            if !has_more {
                return tags;
            }
        }
    }

    /// Fetches chunks. Returns those that came, and the tags that are gone.
    fn fetch(&mut self, store: usize, tags: &[Tag]) -> (Vec<Vec<u8>>, Vec<Tag>) {
        let flat: Vec<_> = tags.iter().map(|tag| *tag.bytes()).collect();
        let (mut chunks, mut gone) = (Vec::new(), Vec::new());
        for answer in self.ask(store, &Body::Fetch(Tags::new(&flat).unwrap())) {
            match Datagram::decode(&answer).unwrap().body {
                Body::Chunk(chunk) => chunks.push(chunk.to_vec()),
                Body::Gone(tags) => gone.extend(tags.iter()),
                other => panic!("{other:?}"),
            }
        }
        (chunks, gone)
    }
}

fn keys() -> ChunkKeys {
    Secret::new([7; 16]).keep().chunk_keys()
}

fn chunk(index: u32, until: u32) -> Box<[u8; CHUNK]> {
    let mut nonce = [0; 12];
    nonce[..4].copy_from_slice(&index.to_be_bytes());
    seal(&keys(), index, &[1; SHARD], &Path::default(), until, nonce)
}

#[test]
fn a_store_needs_screening_datagrams_and_long_messages() {
    let make = |change: fn(&mut Config)| {
        let mut config = config();
        change(&mut config);
        let tower = Tower::new(config, address(0), &Seed::from_u64(1)).unwrap();
        Store::new(tower, StoreConfig::default(), &Seed::from_u64(1), UNIX).map(|_| ())
    };
    assert_eq!(make(|_| {}), Ok(()));
    assert_eq!(make(|it| it.screening = clacks_proto::Screening::Off), Err(StoreError::Screening));
    assert_eq!(make(|it| it.datagrams = Datagrams::Off), Err(StoreError::Datagrams));
    assert_eq!(make(|it| it.max_message = CHUNK - 1), Err(StoreError::MaxMessage));
}

#[test]
fn a_guest_publishes_lists_and_fetches_a_chunk() {
    let mut network = Network::of_store(settings());
    let chunk = chunk(3, HOUR + 5);
    let tag = Chunk::parse(&chunk[..]).unwrap().tag();
    assert_eq!(network.publish(0, &chunk), Outcome::Queued);
    assert_eq!(network.list(0), [tag]);
    assert_eq!(
        network.fetch(0, &[tag, Tag::new([9; 20])]),
        (vec![chunk.to_vec()], vec![Tag::new([9; 20])])
    );
    // The same chunk again is held already.
    assert_eq!(network.publish(0, &chunk), Outcome::Queued);
    assert_eq!(network.tower(0).queue_usage().messages, 1);
    assert_eq!(tag.recognise(&keys()), Some(3));
    assert!(network.tower(0).survey().next().is_none(), "a guest is not learned");
}

#[test]
fn a_chunk_ends_with_its_hour() {
    let mut network = Network::of_store(settings());
    assert_eq!(network.publish(0, &chunk(1, HOUR - 1)), Outcome::BadHour);
    assert_eq!(network.publish(0, &chunk(1, HOUR + 25)), Outcome::BadHour);
    assert_eq!(network.publish(0, &chunk(1, HOUR + 24)), Outcome::Queued);
    assert_eq!(network.publish(0, &chunk(2, HOUR)), Outcome::Queued);
    assert_eq!(network.list(0).len(), 2);
    network.advance(Duration::from_secs(1_790));
    assert_eq!(network.list(0).len(), 2);
    network.advance(Duration::from_secs(20));
    assert_eq!(network.list(0).len(), 1, "the lifetime of its message is over");
    let expired = |(_, notice): &(usize, Notice)| matches!(notice, Notice::MessageExpired { .. });
    assert_eq!(network.notices.iter().filter(|it| expired(it)).count(), 1);
}

#[test]
fn a_chunk_with_a_changed_byte_is_not_published() {
    let mut network = Network::of_store(settings());
    let mut chunk = chunk(1, HOUR);
    chunk[500] ^= 1;
    assert_eq!(network.publish(0, &chunk), Outcome::BadHour);
    assert_eq!(network.list(0), []);
}

#[test]
fn chunks_move_to_other_towers_after_their_hold_and_are_found_there() {
    let hold = Duration::from_secs(60);
    let mut settings = settings();
    settings.hold = hold;
    let stores = (0..3).map(|number| store(number, config(), settings.clone())).collect();
    let mut network = Network::new(stores);
    network.advance(Duration::from_secs(30));
    let tags: Vec<_> = (0..20)
        .map(|index| {
            let chunk = chunk(index, HOUR + 5);
            assert_eq!(network.publish(0, &chunk), Outcome::Queued);
            Chunk::parse(&chunk[..]).unwrap().tag()
        })
        .collect();
    network.advance(Duration::from_secs(50));
    assert_eq!(network.list(0).len(), 20, "they rest");
    network.advance(Duration::from_secs(60));
    assert_eq!(network.list(0).len(), 0);
    // They rest at the other towers, and come back after that.
    let mut found = [network.list(1), network.list(2)].concat();
    found.sort_unstable();
    let mut expected = tags.clone();
    expected.sort_unstable();
    assert_eq!(found, expected);
    let at_one = network.list(1);
    let (chunks, gone) = network.fetch(1, &at_one);
    assert_eq!((chunks.len(), gone.len()), (at_one.len(), 0));
    for number in 0..3 {
        let listed: Vec<_> = network.stores[number].inventory().map(|(tag, _)| tag).collect();
        let held = network.tower(number).peek().count();
        assert_eq!(listed.len(), held, "the inventory of tower {number} is what it holds");
    }
}

#[test]
fn messages_of_other_applications_pass_and_are_not_listed() {
    let stores = (0..2).map(|number| store(number, config(), settings())).collect();
    let mut network = Network::new(stores);
    let now = network.now;
    network.tower(0).enqueue(Message::text("hello"), now).unwrap();
    // As long as a chunk, and none.
    network.tower(0).enqueue(Message::bytes(&[5; CHUNK]), now).unwrap();
    network.advance(Duration::from_secs(20));
    let arrived = |(machine, notice): &(usize, Notice)| {
        *machine == 1 && matches!(notice, Notice::MessageReceived { .. })
    };
    assert!(network.notices.iter().filter(|it| arrived(it)).count() >= 2);
    assert_eq!((network.list(0), network.list(1)), (vec![], vec![]));
}

#[test]
fn an_inventory_is_read_page_by_page() {
    let mut network = Network::of_store(settings());
    let mut tags: Vec<_> = (0..1_200)
        .map(|index| {
            let chunk = chunk(index, HOUR + 5);
            assert_eq!(network.publish(0, &chunk), Outcome::Queued);
            Chunk::parse(&chunk[..]).unwrap().tag()
        })
        .collect();
    tags.sort_unstable();
    assert_eq!(network.list(0), tags);
    // Far more than the outbox of the link has room for at once.
    let (chunks, gone) = network.fetch(0, &tags[..32]);
    assert_eq!((chunks.len(), gone.len()), (32, 0));
}

#[test]
fn clients_fill_a_queue_to_sixty_per_cent_only() {
    let mut small = config();
    small.max_queue_messages = 100;
    let mut network = Network::new(vec![store(0, small, settings())]);
    let outcomes: Vec<_> =
        (0..70).map(|index| network.publish(0, &chunk(index, HOUR + 2))).collect();
    assert!(outcomes[..60].iter().all(|outcome| *outcome == Outcome::Queued));
    assert!(outcomes[60..].iter().all(|outcome| *outcome == Outcome::Full));
}

#[test]
fn a_link_has_a_rate_for_chunks_and_for_other_requests() {
    let mut settings = settings();
    settings.publish_rate = clacks_store::Rate { burst: 3, per_second: 1 };
    settings.request_rate = clacks_store::Rate { burst: 2, per_second: 1 };
    let mut network = Network::of_store(settings);
    let outcomes: Vec<_> =
        (0..4).map(|index| network.publish(0, &chunk(index, HOUR + 5))).collect();
    assert_eq!(outcomes[2..], [Outcome::Queued, Outcome::TooFast]);
    let after = Tag::new([0; 20]);
    let lists: Vec<_> = (0..3).map(|_| network.ask(0, &Body::List { after }).len()).collect();
    assert_eq!(lists, [1, 1, 0], "a list beyond the rate is not answered");
    network.advance(Duration::from_secs(1));
    assert_eq!(network.publish(0, &chunk(9, HOUR + 5)), Outcome::Queued);
    assert_eq!(network.list(0).len(), 4);
}

#[test]
fn towers_with_open_links_are_named_page_by_page() {
    let stores = (0..3).map(|number| store(number, config(), settings())).collect();
    let mut network = Network::new(stores);
    network.advance(Duration::from_secs(60));
    let answers = network.ask(0, &Body::Peers { cursor: 1 });
    let Ok(Datagram { body: Body::Towers { next, known, addresses }, .. }) =
        Datagram::decode(&answers[0])
    else {
        panic!("no towers")
    };
    assert_eq!((next, known, addresses.len()), (0, 2, 1));
}

#[test]
fn invalid_datagrams_are_counted_and_not_answered() {
    let mut network = Network::of_store(settings());
    let to = network.guest.find(&address(0)).unwrap().id;
    for bytes in [&b"hello"[..], &[1, 0, 0], &[0x84, 0, 0, 0, 1, 0]] {
        network.guest.datagram(To::Peer(to), bytes.to_vec(), network.now).unwrap();
        network.settle();
    }
    assert!(network.answers.is_empty());
    assert_eq!(network.stores[0].stats().ignored, 3);
}
