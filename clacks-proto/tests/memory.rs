//! Laws 8 and 9: memory is bounded by `Config::max_memory`, and a warm tower allocates only the
//! bodies that it stores.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use bytes::BufMut;
use clacks_proto::wire::{
    AnnounceFrame, Decoder, Farewell, Frame, Hello, MessageFrame, TransferId, VERSION,
};
use clacks_proto::{
    Action, Address, Config, DatagramError, Datagrams, DefaultVerdict, EnqueueOptions, Event,
    Instant, IoCause, Kind, Lifetime, LinkId, Message, MessageState, Nonce, Screening, Seed,
    SendRate, StateMachine, Status, To, Tower,
};
use common::harness::Harness;
use common::{LOCAL, address, fast_config, seconds, tower};

fn encode(frame: &Frame<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    bytes
}

fn hello(from: Option<Address>) -> Vec<u8> {
    hello_of_link(8, from)
}

fn hello_of_link(link: u64, from: Option<Address>) -> Vec<u8> {
    encode(&Frame::Hello(Hello {
        version: VERSION,
        incarnation: 7,
        link,
        max_message: 1 << 20,
        window: clacks_proto::Window { messages: 64, bytes: 1 << 20 },
        datagram: 65_536,
        network: "clacks",
        address: from,
        rest: &[],
    }))
}

/// `nonce` makes two messages with the same body different.
fn message(transfer: u64, nonce: u128, friend: Option<Address>, body: &[u8]) -> Vec<u8> {
    encode(&Frame::Message(message_frame(transfer, nonce, friend, body)))
}

fn message_frame(
    transfer: u64,
    nonce: u128,
    friend: Option<Address>,
    body: &[u8],
) -> MessageFrame<'_> {
    MessageFrame {
        transfer,
        retry_of: None,
        lifetime: Lifetime::UNLIMITED,
        nonce: Nonce(nonce),
        kind: Kind::Bytes,
        friend,
        body,
    }
}

/// Returns an address with a name of nearly the maximum length, different for each `n`.
fn long_address(n: usize) -> Address {
    let label = "x".repeat(60);
    Address::new(&format!("a{n:06}.{label}.{label}.{label}.{label}"), 1).unwrap()
}

/// What `Config::max_memory` counts for the ended links of each peer, in bytes.
const ENDED_LINKS: usize = 896;

/// The most runs of transfers that a tower remembers of a link that has ended.
const RUNS: u64 = 8;

/// Ends as many links as the retry memory holds. On each, every other transfer is refused, and
/// other transfers of the link are taken as retries.
fn fill_retry_memory(tower: &mut Tower, config: &Config, now: Instant) {
    for number in 0..2 * config.max_peers as u64 {
        let link = tower.accept(LOCAL, now).unwrap();
        // The announces of a guest are refused.
        let mut bytes = hello_of_link(1_000 + number, None);
        let mut transfer = 0;
        for run in 0..=RUNS {
            transfer += 1;
            let announce = AnnounceFrame { transfer, friends: Vec::new() };
            bytes.extend(encode(&Frame::Announce(announce)));
            transfer += 1;
            let first = NonZeroU64::new(1_000 + 2 * run).unwrap();
            let first = TransferId { link: 1_000 + number, number: first };
            let message = message_frame(transfer, 0, None, b"held");
            let message = MessageFrame { retry_of: Some(first), ..message };
            bytes.extend(encode(&Frame::Message(message)));
        }
        tower.handle(Event::BytesArrived { link, bytes: &bytes }, now);
        let mut out = Vec::new();
        tower.transmit(link, &mut (&mut out).limit(100_000));
        tower.handle(Event::Lost { link, cause: IoCause::Reset }, now);
        while tower.poll_action().is_some() {}
    }
    assert_eq!(common::queue_usage(tower), (1, 4));
}

/// Enqueues messages that rest, as many as may.
fn fill_holds(tower: &mut Tower, config: &Config, now: Instant) {
    let body = vec![6; config.max_queue_bytes / config.max_queue_messages];
    let hold = seconds(1_000_000);
    let most = config.max_queue_messages * usize::from(config.hold_below) / 100;
    for _ in 0..most {
        let options = EnqueueOptions { hold, ..EnqueueOptions::default() };
        // The queue is not quite empty, so the last one may find no room.
        let _full = tower.enqueue_with(Message::bytes(&body), options, now);
        while tower.poll_action().is_some() {}
    }
    let at_rest = tower.peek().filter(|held| held.state == MessageState::Held).count();
    assert!(at_rest + 1 >= most, "{at_rest} messages rest");
}

/// Fills the inbox and the outboxes of all links, half of them with the shortest datagrams and half
/// of them with the longest ones.
fn fill_datagrams(tower: &mut Tower, config: &Config, links: &[LinkId], now: Instant) {
    let Datagrams::On { max_len, .. } = config.datagrams else { panic!("datagrams are off") };
    let body = vec![5; max_len as usize];
    let body_of = |n: usize| if n.is_multiple_of(2) { &body[..1] } else { &body[..] };
    let dropped = tower.stats().datagrams_dropped;
    let mut full = 0;
    for (n, link) in links.iter().enumerate() {
        let send = |tower: &mut Tower| tower.datagram(To::Link(*link), body_of(n).to_vec(), now);
        while send(tower).is_ok() {}
        full += usize::from(send(tower) == Err(DatagramError::Full));
        let frame = encode(&Frame::Datagram(body_of(n)));
        for _ in 0..1_000 {
            tower.handle(Event::BytesArrived { link: *link, bytes: &frame }, now);
        }
    }
    // Some idle links were evicted.
    assert!(full > links.len() * 9 / 10, "{full} outboxes are full");
    assert!(tower.stats().datagrams_dropped > dropped + 1_000, "the inbox is full");
}

/// Fills everything that the configuration limits: the retry memory, the queue, the peers (with
/// long addresses), the links (each with an incomplete frame), the credit of the peers, the windows
/// in both directions, the datagrams, and the notices.
fn fill(config: &Config) -> Tower {
    let mut tower = tower(0, config);
    let mut now = Instant::ORIGIN;
    fill_retry_memory(&mut tower, config, now);
    fill_holds(&mut tower, config, now);
    let links: Vec<LinkId> = (0..config.max_links)
        .map(|n| {
            let link = tower.accept(LOCAL, now).unwrap();
            let bytes = hello(Some(address(1 + n)));
            tower.handle(Event::BytesArrived { link, bytes: &bytes }, now);
            link
        })
        .collect();
    // The transfers of each link are numbered from 1.
    let mut transfers = vec![0; links.len()];
    let mut nonce = 0;
    let mut next_message = |link: usize, friend: Option<Address>, body: &[u8]| {
        nonce += 1;
        transfers[link] += 1;
        message(transfers[link], nonce, friend, body)
    };
    let body = vec![7; config.max_queue_bytes / config.max_queue_messages];
    let mut friends = 0;
    // Send messages until the queue is full. Each names an unknown friend.
    'fill: loop {
        for (n, link) in links.iter().enumerate() {
            let friend = (friends < 10 * config.max_peers).then(|| long_address(friends));
            friends += 1;
            let bytes = next_message(n, friend, &body);
            tower.handle(Event::BytesArrived { link: *link, bytes: &bytes }, now);
            if tower.queue_usage().messages == config.max_queue_messages {
                break 'fill;
            }
        }
        now = now + seconds(1);
        // Let the driver transmit the answers, so that messages move into the windows of the links.
        for link in &links {
            let mut out = Vec::new();
            tower.transmit(*link, &mut (&mut out).limit(4_000));
        }
        tower.handle(Event::TimerFired, now);
        while tower.poll_action().is_some() {}
    }
    // Use up the credit of every peer.
    let credit = usize::from(config.exchange_credit);
    let body = vec![8; config.max_message / credit];
    for (n, link) in links.iter().enumerate() {
        let mut out = Vec::new();
        tower.transmit(*link, &mut (&mut out).limit(100_000));
        for _ in 0..credit {
            let bytes = next_message(n, None, &body);
            tower.handle(Event::BytesArrived { link: *link, bytes: &bytes }, now);
        }
        while tower.poll_action().is_some() {}
    }
    fill_datagrams(&mut tower, config, &links, now);
    // Leave notices unpolled, and send a frame without its last byte on each link.
    for (n, link) in links.iter().enumerate() {
        let bytes = next_message(n, Some(long_address(0)), &vec![9; config.max_message]);
        let bytes = &bytes[..bytes.len() - 1];
        tower.handle(Event::BytesArrived { link: *link, bytes }, now);
    }
    for n in 0..config.max_pending_notices {
        let _ = tower.expand(&long_address(n + 1_000_000), now);
        let _ = tower.ignore(&long_address(n), now);
        tower.unignore(&long_address(n), now);
    }
    assert_eq!(tower.links().count(), config.max_links);
    assert_eq!(tower.survey().count(), config.max_peers);
    // An idle link was evicted.
    let exchanged = tower.links().filter(|link| link.is_open).count() * credit;
    assert!(exchanged > config.max_links * credit * 9 / 10);
    assert_eq!(tower.queue_usage().messages, config.max_queue_messages + exchanged);
    tower
}

/// Returns a configuration with small limits.
fn small_config() -> Config {
    let mut small = fast_config();
    small.max_queue_messages = 500;
    small.max_queue_bytes = 64 * 1024;
    small.max_message = 8 * 1024;
    small.max_peers = 200;
    small.max_links = 20;
    small.window = clacks_proto::Window { messages: 32, bytes: 256 * 1024 };
    small.max_unproved = 19;
    small.max_pending_notices = 512;
    small.friends = clacks_proto::Allowance { burst: 10_000, every: Duration::ZERO };
    small.strangers = small.friends;
    small.send_rate = SendRate::per_second(1_000);
    small.timeouts.idle = seconds(100_000);
    small.timeouts.confirm = seconds(100_000);
    small.datagrams = Datagrams::On { max_len: 1_000, outbox: 8_000, inbox: 64_000 };
    small
}

#[test]
fn law_8_retries_holds_and_datagrams_are_within_their_lines_of_max_memory() {
    let config = small_config();
    let now = Instant::ORIGIN;
    let part = |tower: &mut Tower, fill: &dyn Fn(&mut Tower), line: usize, name: &str| {
        let used = allocation_counter::measure(|| fill(tower));
        let held = usize::try_from(used.bytes_current).unwrap();
        println!("{name}: {held} of {line} bytes, {:.2}", held as f64 / line as f64);
        assert!(held <= line, "{name}: {held} bytes exceed {line}");
        assert!(held * 4 >= line, "{name}: the line is too loose: {held} of {line} bytes");
    };
    let mut tower = tower(0, &config);
    // The first links allocate their table and the random generators.
    let accept = |tower: &mut Tower, n: usize| {
        let link = tower.accept(LOCAL, now).unwrap();
        let bytes = hello_of_link(n as u64, Some(address(1 + n)));
        tower.handle(Event::BytesArrived { link, bytes: &bytes }, now);
        let mut out = Vec::new();
        tower.transmit(link, &mut (&mut out).limit(10_000));
        while tower.poll_action().is_some() {}
        link
    };
    let links: Vec<LinkId> = (0..config.max_links - 2).map(|n| accept(&mut tower, n)).collect();
    let fill = |tower: &mut Tower| fill_retry_memory(tower, &config, now);
    part(&mut tower, &fill, config.max_peers * ENDED_LINKS, "links that have ended");
    let fill = |tower: &mut Tower| fill_holds(tower, &config, now);
    let at_rest = config.max_queue_messages * usize::from(config.hold_below) / 100;
    let body = config.max_queue_bytes / config.max_queue_messages;
    part(&mut tower, &fill, at_rest * (320 + body), "messages at rest");
    let Datagrams::On { max_len, outbox, inbox } = config.datagrams else { panic!() };
    let fill = |tower: &mut Tower| fill_datagrams(tower, &config, &links, now);
    let line = inbox + links.len() * (outbox + 2 * max_len as usize);
    part(&mut tower, &fill, line, "datagrams");
}

#[test]
fn law_8_a_full_tower_holds_at_most_max_memory() {
    let small = small_config();
    let mut large_bodies = small.clone();
    large_bodies.max_queue_bytes = 16 * 1024 * 1024;
    large_bodies.max_message = 256 * 1024;
    large_bodies.window.bytes = 1 << 20;
    let mut many_links = small.clone();
    many_links.max_links = 200;
    many_links.max_unproved = 199;
    many_links.max_peers = 300;
    for config in [small, large_bodies, many_links] {
        let mut filled = None;
        let used = allocation_counter::measure(|| filled = Some(fill(&config)));
        let bound = u64::try_from(config.max_memory()).unwrap();
        // The tower holds what stays allocated, because the buffers of the test have been freed.
        let held = u64::try_from(used.bytes_current).unwrap();
        println!("held {held} of {bound} bytes, {:.2}", held as f64 / bound as f64);
        assert!(held <= bound, "{held} bytes exceed {bound}");
        assert!(held * 8 >= bound, "the bound is too loose: {held} of {bound} bytes");
        drop(filled);
    }
}

#[test]
fn law_8_a_link_with_an_incomplete_hello_holds_less_than_3000_bytes() {
    let config = Config::default();
    let mut filled = None;
    let used = allocation_counter::measure(|| {
        let mut tower = tower(0, &config);
        let incomplete = hello(Some(long_address(1)));
        for _ in 0..config.max_unproved {
            let link = tower.accept(LOCAL, Instant::ORIGIN).unwrap();
            let bytes = &incomplete[..incomplete.len() - 1];
            tower.handle(Event::BytesArrived { link, bytes }, Instant::ORIGIN);
        }
        filled = Some(tower);
    });
    let each = used.bytes_current / i64::try_from(config.max_unproved).unwrap();
    assert!(each < 3_000, "{each} bytes per link");
}

/// Two towers that exchange messages. The transmit buffer is reused.
struct Pair {
    towers: [Tower; 2],
    /// The open link of each tower.
    links: [Option<LinkId>; 2],
    buffer: Vec<u8>,
    now: Instant,
    delivered: u64,
}

impl Pair {
    fn new() -> Self {
        let mut config = fast_config();
        config.send_rate = SendRate::per_second(1_000);
        let towers = [tower(0, &config), tower(1, &config)];
        let mut pair = Self {
            towers,
            links: [None; 2],
            buffer: Vec::with_capacity(1 << 20),
            now: Instant::ORIGIN,
            delivered: 0,
        };
        pair.towers[0].announce(&address(1), pair.now).unwrap();
        pair
    }

    fn step(&mut self) {
        self.now = self.now + Duration::from_millis(5);
        for n in 0..2 {
            self.towers[n].handle(Event::TimerFired, self.now);
            while let Some(action) = self.towers[n].poll_action() {
                match action {
                    Action::Connect { link, .. } => {
                        let other = self.towers[1 - n].accept(LOCAL, self.now).unwrap();
                        self.links[n] = Some(link);
                        self.links[1 - n] = Some(other);
                        self.towers[n].handle(Event::Connected { link, at: None }, self.now);
                    }
                    Action::Notify(clacks_proto::Notice::MessageDelivered { .. }) => {
                        self.delivered += 1;
                    }
                    Action::Close { .. } => panic!("unexpected action: {action:?}"),
                    _ => {}
                }
            }
            let (Some(from), Some(to)) = (self.links[n], self.links[1 - n]) else { continue };
            self.buffer.clear();
            while self.towers[n].transmit(from, &mut (&mut self.buffer).limit(65_536)) > 0 {}
            let (buffer, now) = (&self.buffer, self.now);
            self.towers[1 - n].handle(Event::BytesArrived { link: to, bytes: buffer }, now);
        }
    }
}

#[test]
fn law_9_a_warm_tower_allocates_only_once_per_stored_body() {
    let mut pair = Pair::new();
    for n in 0..64 {
        let body = [n; 300];
        let now = pair.now;
        pair.towers[usize::from(n % 2)].enqueue(Message::bytes(&body), now).unwrap();
    }
    for _ in 0..2_000 {
        pair.step();
    }
    assert_eq!(pair.towers[0].find(&address(1)).unwrap().status, Status::Alive);
    let before = pair.delivered;
    let used = allocation_counter::measure(|| {
        for _ in 0..1_000 {
            pair.step();
        }
    });
    let stored = pair.delivered - before;
    assert!(stored > 1_000, "{stored} messages were delivered");
    assert_eq!(used.count_total, stored, "one allocation per body");
    assert_eq!(used.bytes_total, 320 * stored, "the body and two reference counts");

    // Announces and getters allocate nothing.
    let used = allocation_counter::measure(|| {
        for _ in 0..1_000 {
            let now = pair.now;
            pair.towers[0].announce(&address(1), now).unwrap();
            let messages = pair.towers[0].queue_usage().messages;
            std::hint::black_box(messages);
        }
    });
    assert_eq!(used.count_total, 0);
}

#[test]
fn law_8_a_stored_body_does_not_hold_its_receive_buffer() {
    let mut tower = tower(0, &fast_config());
    let link = tower.accept(LOCAL, Instant::ORIGIN).unwrap();
    let used = allocation_counter::measure(|| {
        let mut bytes = hello(None);
        bytes.extend(message(1, 1, None, b"tiny"));
        bytes.reserve(1 << 20);
        tower.handle(Event::BytesArrived { link, bytes: &bytes }, Instant::ORIGIN);
    });
    assert_eq!(common::queue_usage(&tower), (1, 4));
    assert!(used.bytes_current < 10_000, "{}", used.bytes_current);
    // The tower answers the message and the goodbye.
    let goodbye = encode(&Frame::Goodbye { farewell: Farewell::Idle });
    tower.handle(Event::BytesArrived { link, bytes: &goodbye }, Instant::ORIGIN);
    let mut out = Vec::new();
    while tower.transmit(link, &mut out) > 0 {}
    let mut decoder = Decoder::new(100);
    let (mut input, mut last) = (&out[..], 0);
    while let Some(frame) = decoder.decode(&mut input).unwrap() {
        last = match frame {
            Frame::Hello(_) => 1,
            Frame::Confirmed { through: 1 } => 2,
            Frame::Goodbye { .. } => 3,
            other => panic!("unexpected frame: {other:?}"),
        };
    }
    assert_eq!(last, 3, "the goodbye is the last frame");
}

/// Returns the number of bytes that are freed if the tower is dropped.
fn heap_size(tower: Tower) -> usize {
    let freed = allocation_counter::measure(|| drop(tower)).bytes_current;
    usize::try_from(-freed).unwrap()
}

/// Creates tower 0 with a shared configuration.
fn tower_with_shared_config(config: &Arc<Config>) -> Tower {
    Tower::new(Arc::clone(config), address(0), &Seed::from_u64(1)).unwrap()
}

/// Returns a tower with 16 alive peers and 5 waiting messages. The first peers have exchanged
/// messages with the tower. `links` of their links stay open.
fn tower_with_alive_peers(config: &Arc<Config>, links: usize) -> Tower {
    let mut harness = Harness::new(config);
    harness.tower = tower_with_shared_config(config);
    let mut open = Vec::new();
    for peer in 1..=16 {
        let link = harness.accept_alive(peer);
        if open.len() < links.max(1) {
            for transfer in 0..3 {
                harness.enqueue("out");
                harness.send_message(link, 2_000 + transfer, &format!("in {peer} {transfer}"));
            }
            for _ in 0..100 {
                harness.advance(Duration::from_millis(60));
                for link in open.iter().chain([&link]) {
                    for (transfer, ..) in harness.take_messages(*link) {
                        harness.confirm(*link, transfer);
                    }
                }
            }
            assert_eq!(harness.tower.queue_usage().messages, 0, "all messages are delivered");
            open.push(link);
        } else {
            harness.send_goodbye(link);
        }
    }
    open.into_iter().skip(links).for_each(|link| harness.send_goodbye(link));
    for _ in 0..5 {
        harness.tower.enqueue(Message::bytes(&[7; 64]), harness.now).unwrap();
    }
    (0..10).for_each(|_| harness.drive());
    assert_eq!(
        (harness.tower.links().count(), common::queue_usage(&harness.tower)),
        (links, (5, 320))
    );
    harness.tower
}

#[test]
fn peers_and_links_keep_their_memory_budget() {
    let mut config = fast_config();
    // The tower dials no peer.
    config.contact_rate = 0;
    let unused_config = Arc::new(config);
    let config = Arc::new(fast_config());
    let mut unused = tower_with_shared_config(&unused_config);
    for n in 1..=8 {
        unused.expand(&address(n), Instant::ORIGIN).unwrap();
    }
    // Poll all actions, and let some time pass.
    for n in 0..10 {
        while unused.poll_action().is_some() {}
        unused.handle(Event::TimerFired, Instant::ORIGIN + seconds(n));
    }
    let inline = size_of::<Tower>();
    let idle = inline + heap_size(unused);
    let [closed, two, three] =
        [0, 2, 3].map(|links| inline + heap_size(tower_with_alive_peers(&config, links)));
    println!(
        "a tower {inline}; with 8 new peers {idle}; with 16 alive ones and 5 messages {closed}, \
         two links open {two}, one more {three}"
    );
    assert!(idle <= 2_750, "{idle} with 8 new peers");
    assert!(closed <= 5_760, "{closed} with 16 alive peers and 5 messages");
    // The first links also allocate the random generators.
    assert!(two - closed <= 2_760, "{} for the first two links", two - closed);
    assert!(three - two <= 720, "{} for one more link", three - two);
}

#[test]
fn a_tower_without_links_and_messages_holds_its_peers_alone() {
    let config = Arc::new(fast_config());
    let mut harness = Harness::new(&config);
    harness.tower = tower_with_shared_config(&config);
    let links: Vec<_> = (1..=4).map(|peer| harness.accept_alive(peer)).collect();
    for link in &links {
        harness.enqueue("out");
        harness.send_message(*link, 2_000, "in");
    }
    for _ in 0..100 {
        harness.advance(Duration::from_millis(60));
        for link in &links {
            for (transfer, ..) in harness.take_messages(*link) {
                harness.confirm(*link, transfer);
            }
        }
    }
    assert_eq!(harness.tower.queue_usage().messages, 0, "all messages are delivered");
    links.into_iter().for_each(|link| harness.send_goodbye(link));
    (0..10).for_each(|_| harness.drive());
    harness.advance(seconds(600));
    harness.drive();
    assert_eq!(harness.tower.links().count(), 0);
    let held = heap_size(harness.tower);
    println!("4 peers take {held}");
    assert!(held <= 900, "{held} for 4 peers");
}

#[test]
fn law_8_bodies_of_unpolled_offers_are_bounded() {
    let mut config = fast_config();
    let (timeout, default) = (seconds(1), DefaultVerdict::Reject);
    config.screening = Screening::On { max_offers: 1_000, timeout, default };
    config.max_queue_messages = 500;
    config.max_queue_bytes = 64 * 1024;
    config.max_message = 64 * 1024;
    (config.max_links, config.max_unproved, config.max_peers) = (4, 2, 10);
    config.heartbeat = None;
    config.timeouts.idle = seconds(100_000);
    let body = "x".repeat(60_000);
    let mut harness = Harness::new(&config);
    harness.tower = tower(0, &config);
    let link = harness.tower.accept(LOCAL, harness.now).unwrap();
    let hello = hello(None);
    harness.tower.handle(Event::BytesArrived { link, bytes: &hello }, harness.now);
    let used = allocation_counter::measure(|| {
        for n in 0..100 {
            let bytes = message(n + 1, u128::from(n), None, body.as_bytes());
            harness.tower.handle(Event::BytesArrived { link, bytes: &bytes }, harness.now);
            // The screening timeout decides each offer before it is polled.
            harness.now = harness.now + seconds(1);
            harness.tower.handle(Event::TimerFired, harness.now);
            harness.tower.transmit(link, &mut (&mut Vec::new()).limit(1_000));
        }
    });
    let held = usize::try_from(used.bytes_current).unwrap();
    assert!(held <= 2 * config.max_queue_bytes, "{held} bytes");
}
