//! A network in memory: stores that know each other, and guests that ask them.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use clacks_proto::{
    Action, Address, Config, Event, Host, Instant, LinkId, Notice, Seed, SendRate, StateMachine,
    To, Tower,
};
use clacks_store::protocol::{Body, Datagram, Outcome, Tags};
use clacks_store::{
    CHUNK, ChunkKeys, Path, SHARD, Secret, Store, StoreConfig, Tag, enable_store, seal,
};

/// The Unix time at the origin of all clocks: half past an hour.
pub const UNIX: u64 = 498_000 * 3_600 + 1_800;
pub const HOUR: u32 = 498_000;

/// Machines are stores, and after them guests without a store.
pub struct Network {
    /// Where all guests call from. Otherwise each has an address of its own.
    pub guest_ip: Option<IpAddr>,
    pub stores: Vec<Store<Tower>>,
    pub guests: Vec<Tower>,
    pub now: Instant,
    /// The stores that were killed.
    killed: BTreeSet<usize>,
    silent: BTreeSet<usize>,
    /// The machines to which no bytes get.
    deaf: BTreeSet<usize>,
    /// The last request that each silent store got: its link and its number.
    asked: BTreeMap<usize, (LinkId, u32)>,
    /// The other end of each link, by machine and link.
    ends: BTreeMap<(usize, LinkId), (usize, LinkId)>,
    pub notices: Vec<(usize, Notice)>,
    /// What guests received.
    pub answers: Vec<(usize, Vec<u8>)>,
}

/// The number in the address of the first guest.
const FIRST_GUEST: usize = 200;

/// Returns the address of a machine. Each has an address group of its own.
pub fn address(number: usize) -> Address {
    Address::new(&format!("127.{number}.0.1"), 8001).unwrap()
}

pub fn config() -> Config {
    let mut config = Config::default();
    config.send_rate = SendRate::per_second(10);
    enable_store(&mut config);
    config
}

/// The default settings, but chunks are listed at once.
pub fn settings() -> StoreConfig {
    let mut settings = StoreConfig::default();
    settings.list_every = Duration::ZERO;
    settings
}

pub fn store(number: usize, config: Config, settings: StoreConfig) -> Store<Tower> {
    let tower = Tower::new(config, address(number), &Seed::from_u64(number as u64)).unwrap();
    Store::new(tower, settings, &Seed::from_u64(number as u64), UNIX).unwrap()
}

impl Network {
    pub fn new(stores: Vec<Store<Tower>>) -> Self {
        Self::with_guests(stores, 1)
    }

    pub fn with_guests(stores: Vec<Store<Tower>>, guests: usize) -> Self {
        let mut config = config();
        config.is_guest = true;
        config.screening = clacks_proto::Screening::Off;
        let guest = |number: usize| {
            let seed = Seed::from_u64(number as u64);
            Tower::new(config.clone(), address(number), &seed).unwrap()
        };
        let guests = (0..guests).map(|number| guest(FIRST_GUEST + number)).collect();
        let (ends, notices, answers) = (BTreeMap::new(), Vec::new(), Vec::new());
        let (now, killed) = (Instant::ORIGIN, BTreeSet::new());
        let (silent, deaf, asked) = (BTreeSet::new(), BTreeSet::new(), BTreeMap::new());
        let guest_ip = None;
        let mut network = Self {
            guest_ip,
            stores,
            guests,
            now,
            killed,
            silent,
            deaf,
            asked,
            ends,
            notices,
            answers,
        };
        for one in 0..network.stores.len() {
            for other in 0..network.stores.len() {
                if one != other {
                    network.tower(one).expand(&address(other), now).unwrap();
                }
            }
            for guest in &mut network.guests {
                guest.expand(&address(one), now).unwrap();
            }
        }
        network
    }

    pub fn of_store(settings: StoreConfig) -> Self {
        Self::new(vec![store(0, config(), settings)])
    }

    pub fn tower(&mut self, number: usize) -> &mut Tower {
        self.stores[number].tower_mut()
    }

    pub fn poll(&mut self, machine: usize) -> Option<Action> {
        match self.stores.get_mut(machine) {
            Some(store) => store.poll_action(),
            None => self.guests[machine - self.stores.len()].poll_action(),
        }
    }

    pub fn handle(&mut self, machine: usize, event: Event<'_>) {
        let now = self.now;
        let is_silent = self.silent.contains(&machine);
        match self.stores.get_mut(machine) {
            Some(store) if is_silent => store.tower_mut().handle(event, now),
            Some(store) => store.handle(event, now),
            None => self.guests[machine - self.stores.len()].handle(event, now),
        }
    }

    pub fn transmit(&mut self, machine: usize, link: LinkId) -> Vec<u8> {
        let mut bytes = Vec::new();
        let guest = machine.wrapping_sub(self.stores.len());
        match self.stores.get_mut(machine) {
            Some(store) => while store.transmit(link, &mut bytes) > 0 {},
            None => while self.guests[guest].transmit(link, &mut bytes) > 0 {},
        }
        bytes
    }

    /// Executes actions and passes bytes until nothing is left to do.
    pub fn settle(&mut self) {
        let machines = self.stores.len() + self.guests.len();
        let mut is_busy = true;
        while is_busy {
            is_busy = false;
            for machine in (0..machines).filter(|it| !self.killed.contains(it)).collect::<Vec<_>>()
            {
                while let Some(action) = self.poll(machine) {
                    is_busy = true;
                    self.execute(machine, action);
                }
            }
            let ends = self.ends.iter().filter(|(_, (to, _))| !self.deaf.contains(to));
            let ends: Vec<_> = ends.map(|(from, to)| (*from, *to)).collect();
            for ((from, link), (to, other)) in ends {
                // A driver passes what one read returns.
                for bytes in self.transmit(from, link).chunks(64 * 1024) {
                    is_busy = true;
                    self.handle(to, Event::BytesArrived { link: other, bytes });
                    if self.silent.contains(&to) {
                        while let Some(request) = self.tower(to).take_datagram() {
                            let number = Datagram::decode(&request.body).unwrap().number;
                            self.asked.insert(to, (request.link, number));
                        }
                    }
                    for (number, guest) in self.guests.iter_mut().enumerate() {
                        let answers = std::iter::from_fn(|| guest.take_datagram());
                        self.answers.extend(answers.map(|it| (number, it.body.to_vec())));
                    }
                }
            }
        }
    }

    pub fn execute(&mut self, machine: usize, action: Action) {
        match action {
            Action::Connect { link, address: to, .. } => {
                let other = (0..self.stores.len()).find(|other| address(*other) == to);
                let other = other.filter(|other| !self.killed.contains(other));
                let (local, now) = (self.ip(machine), self.now);
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

    pub fn advance(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.settle();
            let stores = self.stores.iter().enumerate();
            let stores = stores.filter(|(number, _)| !self.killed.contains(number));
            let wakeups = stores.filter_map(|(_, store)| store.next_wakeup());
            let guests = self.guests.iter().filter_map(StateMachine::next_wakeup);
            let next = wakeups.chain(guests).map(|wakeup| wakeup.at).min();
            match next.filter(|at| *at <= end) {
                Some(at) => self.now = self.now.max(at),
                None => break,
            }
            let machines = self.stores.len() + self.guests.len();
            for machine in (0..machines).filter(|it| !self.killed.contains(it)).collect::<Vec<_>>()
            {
                self.handle(machine, Event::TimerFired);
            }
        }
        self.now = end;
    }

    /// Ends a store and its links without a goodbye.
    pub fn kill(&mut self, store: usize) {
        self.killed.insert(store);
        let ended: Vec<_> = self.ends.iter().filter(|((from, _), _)| *from == store).collect();
        let ended: Vec<_> = ended.into_iter().map(|(from, to)| (*from, *to)).collect();
        for (from, (to, link)) in ended {
            self.ends.remove(&from);
            self.ends.remove(&(to, link));
            self.handle(to, Event::Lost { link, cause: clacks_proto::IoCause::Reset });
        }
        self.settle();
    }

    /// Makes a store take its requests without an answer.
    pub fn silence(&mut self, store: usize) {
        self.silent.insert(store);
    }

    /// Lets a guest take no more bytes from its links.
    pub fn stop_reading(&mut self, guest: usize) {
        self.deaf.insert(self.stores.len() + guest);
    }

    /// Returns the link and the number of the last request that a silent store got.
    pub fn asked_of(&self, store: usize) -> (LinkId, u32) {
        self.asked[&store]
    }

    /// Sends a datagram from a store.
    pub fn forge(&mut self, from: usize, to: To, number: u32, body: &Body<'_>) {
        let now = self.now;
        let bytes = Datagram { number, body: body.clone() }.encode();
        self.tower(from).datagram(to, bytes, now).unwrap();
        self.settle();
    }

    fn ip(&self, machine: usize) -> IpAddr {
        let number = match (machine.checked_sub(self.stores.len()), self.guest_ip) {
            (Some(_), Some(ip)) => return ip,
            (Some(guest), None) => FIRST_GUEST + guest,
            (None, _) => machine,
        };
        match address(number).host() {
            Host::Ip(ip) => ip,
            Host::Name(_) => unreachable!(),
        }
    }

    /// Sends a request of a guest to a store.
    pub fn send(&mut self, guest: usize, store: usize, number: u32, body: &Body<'_>) {
        let now = self.now;
        let to = self.guests[guest].find(&address(store)).unwrap().id;
        let request = Datagram { number, body: body.clone() }.encode();
        self.guests[guest].datagram(To::Peer(to), request, now).unwrap();
    }

    /// Sends a request of the first guest to a store, and returns all answers.
    pub fn ask(&mut self, store: usize, body: &Body<'_>) -> Vec<Vec<u8>> {
        self.send(0, store, 7, body);
        self.settle();
        std::mem::take(&mut self.answers).into_iter().map(|(_, answer)| answer).collect()
    }

    pub fn publish(&mut self, store: usize, chunk: &[u8; CHUNK]) -> Outcome {
        let answers = self.ask(store, &Body::Publish(chunk));
        match Datagram::decode(&answers[0]).unwrap() {
            Datagram { number: 7, body: Body::Published(outcome) } => outcome,
            other => panic!("{other:?}"),
        }
    }

    /// Returns all tags of a store's inventory, page by page.
    pub fn list(&mut self, store: usize) -> Vec<Tag> {
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
    pub fn fetch(&mut self, store: usize, tags: &[Tag]) -> (Vec<Vec<u8>>, Vec<Tag>) {
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

pub fn keys() -> ChunkKeys {
    Secret::new([7; 16]).keep().chunk_keys()
}

pub fn chunk(index: u32, until: u32) -> Box<[u8; CHUNK]> {
    let mut nonce = [0; 12];
    nonce[..4].copy_from_slice(&index.to_be_bytes());
    seal(&keys(), index, &[1; SHARD], &Path::default(), until, nonce)
}
