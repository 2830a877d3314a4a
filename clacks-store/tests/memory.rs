//! The memory of a store.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use clacks_proto::wire::{Frame, Hello, VERSION, Window};
use clacks_proto::{
    Action, Address, Config, Event, Instant, LinkId, Message, Seed, StateMachine, Tower,
};
use clacks_store::protocol::{Body, Datagram, MAX_HOPS, Tags};
use clacks_store::{
    CHUNK, Chunk, Path, Rate, SHARD, Secret, Store, StoreConfig, Tag, enable_store, seal,
};

const HOUR: u32 = 498_000;
const UNIX: u64 = HOUR as u64 * 3_600 + 1_800;

fn address(number: u8) -> Address {
    Address::new(&format!("10.{number}.0.1"), 8001).unwrap()
}

fn encode(frame: &Frame<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    bytes
}

fn hello(link: u64, address: Option<Address>) -> Vec<u8> {
    encode(&Frame::Hello(Hello {
        version: VERSION,
        incarnation: 7,
        link,
        max_message: 1 << 20,
        window: Window { messages: 64, bytes: 1 << 20 },
        datagram: 12_288,
        network: "clacks",
        address,
        rest: &[],
    }))
}

fn chunk(index: u32) -> Box<[u8; CHUNK]> {
    let keys = Secret::new([7; 16]).keep().chunk_keys();
    let mut nonce = [0; 12];
    nonce[..4].copy_from_slice(&index.to_be_bytes());
    seal(&keys, index, &[1; SHARD], &Path::default(), HOUR + 2, nonce)
}

fn tower(config: &Config) -> Tower {
    Tower::new(config.clone(), address(0), &Seed::from_u64(1)).unwrap()
}

fn config() -> Config {
    let mut config = Config::default();
    config.max_links = 16;
    config.max_unproved = 16;
    config.max_peers = 16;
    config.max_queue_messages = 400;
    config.max_queue_bytes = 400 * CHUNK;
    config.max_message = 16 * 1024;
    config.recent = 64;
    config.max_pending_notices = 64;
    enable_store(&mut config);
    config
}

fn settings() -> StoreConfig {
    let mut settings = StoreConfig::default();
    settings.request_rate = Rate { burst: u32::MAX, per_second: u32::MAX };
    settings.publish_rate = Rate { burst: u32::MAX, per_second: u32::MAX };
    settings.max_waiting = 512 * 1024;
    settings.max_relayed = 512;
    settings
}

/// Drives a machine whose links pass no bytes to the other sides.
struct Driver<M> {
    machine: M,
    now: Instant,
}

impl<M: StateMachine> Driver<M> {
    fn poll(&mut self) -> Vec<Action> {
        std::iter::from_fn(|| self.machine.poll_action()).collect()
    }

    fn take(&mut self, link: LinkId, bytes: &[u8]) {
        self.machine.handle(Event::BytesArrived { link, bytes }, self.now);
        self.poll();
    }

    fn call_in(&mut self, number: u8) -> LinkId {
        let from = IpAddr::V4(Ipv4Addr::new(10, number, 0, 1));
        let link = self.machine.accept(from, self.now).unwrap();
        self.take(link, &hello(number.into(), None));
        link
    }

    /// Dials a peer, which answers.
    fn dial(&mut self, number: u8) -> LinkId {
        self.machine.tower_mut().announce(&address(number), self.now).unwrap();
        let link = self.poll().iter().find_map(|action| match action {
            Action::Connect { link, .. } => Some(*link),
            _ => None,
        });
        let link = link.unwrap();
        self.machine.handle(Event::Connected { link, at: None }, self.now);
        self.take(link, &hello(number.into(), Some(address(number))));
        // It confirms the announcement.
        let mut sent = Vec::new();
        while self.machine.transmit(link, &mut sent) > 0 {}
        self.take(link, &encode(&Frame::Confirmed { through: 1 }));
        link
    }

    fn datagram(&mut self, link: LinkId, number: u32, body: &Body<'_>) {
        let bytes = Datagram { number, body: body.clone() }.encode();
        self.take(link, &encode(&Frame::Datagram(&bytes)));
    }
}

#[test]
fn an_empty_store_costs_at_most_64_kib() {
    let links = |machine: &mut dyn FnMut(IpAddr)| {
        (1..=64).for_each(|number| machine(IpAddr::V4(Ipv4Addr::new(10, number, 0, 1))));
    };
    let mut config = Config::default();
    let plain = allocation_counter::measure(|| {
        let mut tower = Box::new(tower(&config));
        links(&mut |ip| _ = tower.accept(ip, Instant::ORIGIN).unwrap());
        std::mem::forget(tower);
    });
    enable_store(&mut config);
    let with_store = allocation_counter::measure(|| {
        let settings = StoreConfig::default();
        let seed = Seed::from_u64(1);
        let mut store = Box::new(Store::new(tower(&config), settings, &seed, UNIX).unwrap());
        links(&mut |ip| _ = store.accept(ip, Instant::ORIGIN).unwrap());
        std::mem::forget(store);
    });
    let more = with_store.bytes_current - plain.bytes_current;
    println!("an empty store takes {more} bytes with 64 links");
    assert!(more <= 64 * 1024, "{more}");
}

/// Fills everything that strangers and peers can fill, and returns the links.
fn fill(driver: &mut Driver<Store<Tower>>) {
    let chunks: Vec<_> = (0..600).map(chunk).collect();
    let guests: Vec<_> = (1..=7).map(|number| driver.call_in(number)).collect();
    let peers: Vec<_> = (101..=107).map(|number| driver.dial(number)).collect();
    let (published, enqueued) = chunks.split_at(300);
    for (number, chunk) in (0..).zip(published) {
        driver.datagram(guests[number as usize % 7], number, &Body::Publish(chunk));
    }
    for chunk in enqueued {
        let _ = driver.machine.tower_mut().enqueue(Message::bytes(&chunk[..]), driver.now);
        driver.poll();
    }
    let tags: Vec<_> =
        chunks.iter().map(|chunk| *Chunk::parse(&chunk[..]).unwrap().tag().bytes()).collect();
    let list = Body::List { after: Tag::new([0; Tag::LEN]) };
    for round in 0..100 {
        for (guest, tags) in guests.iter().zip(tags.chunks(32)) {
            let fetch = Body::Fetch(Tags::new(tags).unwrap());
            driver.datagram(*guest, round, &fetch);
            driver.datagram(*guest, round, &list);
            driver.datagram(*guest, round, &Body::Peers { cursor: 0 });
            let publish = Body::Publish(&chunks[round as usize]).encode_inner();
            for (request, hops) in [(&publish, 1), (&fetch.encode_inner(), 2), (&publish, MAX_HOPS)]
            {
                for target in [None, Some(address(101 + u8::try_from(round % 7).unwrap()))] {
                    driver.datagram(*guest, round, &Body::Relay { hops, target, inner: request });
                }
            }
        }
        for peer in &peers {
            driver.datagram(*peer, round, &Body::Chunk(&chunks[0]));
            driver.datagram(*peer, round, &Body::Lost);
        }
        driver.now = driver.now + Duration::from_millis(100);
        driver.machine.handle(Event::TimerFired, driver.now);
        driver.poll();
    }
}

#[test]
fn a_filled_store_stays_below_its_bound() {
    let (config, settings) = (config(), settings());
    let mut driver = None;
    let used = allocation_counter::measure(|| {
        let seed = Seed::from_u64(1);
        let store = Store::new(tower(&config), settings.clone(), &seed, UNIX).unwrap();
        let mut filled = Driver { machine: store, now: Instant::ORIGIN };
        fill(&mut filled);
        driver = Some(filled);
    });
    let driver = driver.unwrap();
    let stats = driver.machine.stats();
    // The test really fills it.
    assert!(stats.held >= 300, "{stats:?}");
    assert!(stats.relayed >= 200 && stats.lost >= 1_000, "{stats:?}");
    let bound = config.max_memory() + settings.max_memory(&config);
    let used = usize::try_from(used.bytes_current).unwrap();
    let of_tower = config.max_queue_bytes;
    println!("{used} of at most {bound} bytes, of which {of_tower} are bodies");
    assert!(used <= bound, "{used} of {bound}");
    // A bound that is far too high says nothing.
    assert!(used >= bound / 5, "{used} of {bound}");
}
