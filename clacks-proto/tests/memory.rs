//! Laws 8 and 9: memory is bounded by the documented formula, and a warm tower allocates only for
//! what it stores.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use bytes::BufMut;
use clacks_proto::wire::{Attempt, Decoder, Farewell, Frame, Hello, MessageFrame, VERSION};
use clacks_proto::{
    Action, Address, Config, DefaultVerdict, Event, Instant, Kind, LinkId, Message, Nonce,
    Screening, Seed, SendRate, StateMachine, Status, Tower,
};
use common::raw::Raw;
use common::{LOCAL, address, quick, seconds, tower};

fn encoded(frame: &Frame<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    bytes
}

fn hello(from: Option<Address>) -> Vec<u8> {
    encoded(&Frame::Hello(Hello {
        version: VERSION,
        incarnation: 7,
        max_message: 1 << 20,
        window: clacks_proto::Window { messages: 64, bytes: 1 << 20 },
        network: "clacks",
        address: from,
    }))
}

fn message(transfer: u64, friend: Option<Address>, body: &[u8]) -> Vec<u8> {
    encoded(&Frame::Message(MessageFrame {
        transfer,
        attempt: Attempt::First,
        nonce: Nonce(u128::from(transfer) + 1),
        kind: Kind::Bytes,
        friend,
        body,
    }))
}

/// A name as long as names may be, different for each number.
fn long_name(n: usize) -> Address {
    let label = "x".repeat(60);
    Address::new(&format!("a{n:06}.{label}.{label}.{label}.{label}"), 1).unwrap()
}

/// Fills everything that a configuration bounds: bodies, messages, peers with the longest names,
/// links with a body half received, windows full in both directions, notices.
fn fill(config: &Config) -> Tower {
    let mut tower = tower(0, config);
    let mut now = Instant::ORIGIN;
    let links: Vec<LinkId> = (0..config.max_links)
        .map(|n| {
            let link = tower.accept(LOCAL, now).unwrap();
            let bytes = hello(Some(address(1 + n)));
            tower.handle(Event::BytesArrived { link, bytes: &bytes }, now);
            link
        })
        .collect();
    let mut transfer = 0;
    let body = vec![7; config.max_queue_bytes / config.max_queue_messages];
    let mut named = 0;
    // Messages until the queue is full, each with a friend that nobody knows yet.
    'fill: loop {
        for link in &links {
            let friend = (named < 10 * config.max_peers).then(|| long_name(named));
            named += 1;
            let bytes = message(transfer, friend, &body);
            transfer += 1;
            tower.handle(Event::BytesArrived { link: *link, bytes: &bytes }, now);
            if tower.queue_usage().messages == config.max_queue_messages {
                break 'fill;
            }
        }
        now = now + seconds(1);
        // The driver takes the answers and the actions, and messages move to the links' windows.
        for link in &links {
            let mut out = Vec::new();
            tower.transmit(*link, &mut (&mut out).limit(4_000));
        }
        tower.handle(Event::TimerFired, now);
        while tower.poll_action().is_some() {}
    }
    // Notices that nobody polls, and on each link a frame of which all but the last byte has come.
    let half = message(transfer, Some(long_name(0)), &vec![9; config.max_message]);
    for link in &links {
        let bytes = &half[..half.len() - 1];
        tower.handle(Event::BytesArrived { link: *link, bytes }, now);
    }
    for n in 0..config.max_pending_notices {
        let _ = tower.expand(&long_name(n + 1_000_000), now);
        let _ = tower.ignore(&long_name(n), now);
        tower.unignore(&long_name(n), now);
    }
    assert_eq!(tower.links().count(), config.max_links);
    assert_eq!(tower.queue_usage().messages, config.max_queue_messages);
    tower
}

#[test]
fn law_8_a_full_tower_takes_no_more_memory_than_the_formula_says() {
    let mut small = quick();
    small.max_queue_messages = 500;
    small.max_queue_bytes = 64 * 1024;
    small.max_message = 8 * 1024;
    small.max_peers = 200;
    small.max_links = 20;
    small.max_half_open = 19;
    small.max_pending_notices = 512;
    small.friends = clacks_proto::Allowance { burst: 10_000, every: Duration::ZERO };
    small.send_rate = SendRate::per_second(1_000);
    small.timeouts.idle = seconds(100_000);
    small.timeouts.confirm = seconds(100_000);
    let mut large_bodies = small.clone();
    large_bodies.max_queue_bytes = 16 * 1024 * 1024;
    large_bodies.max_message = 256 * 1024;
    large_bodies.window.bytes = 1 << 20;
    let mut many_links = small.clone();
    many_links.max_links = 200;
    many_links.max_half_open = 199;
    for config in [small, large_bodies, many_links] {
        let mut filled = None;
        let used = allocation_counter::measure(|| filled = Some(fill(&config)));
        let bound = u64::try_from(config.max_memory()).unwrap();
        // What stays allocated is what the tower holds: the test's own buffers are gone.
        let held = u64::try_from(used.bytes_current).unwrap();
        println!("held {held}, formula {bound}, {:.2}", held as f64 / bound as f64);
        assert!(held <= bound, "{held} > {bound}");
        assert!(held * 8 >= bound, "the bound is not idle: {held} of {bound}");
        drop(filled);
    }
}

#[test]
fn law_8_strangers_that_say_half_a_hello_hold_less_than_a_hello() {
    let config = Config::default();
    let mut filled = None;
    let used = allocation_counter::measure(|| {
        let mut tower = tower(0, &config);
        let half = hello(Some(long_name(1)));
        for _ in 0..config.max_half_open {
            let link = tower.accept(LOCAL, Instant::ORIGIN).unwrap();
            let bytes = &half[..half.len() - 1];
            tower.handle(Event::BytesArrived { link, bytes }, Instant::ORIGIN);
        }
        assert!(tower.accept(LOCAL, Instant::ORIGIN).is_err());
        filled = Some(tower);
    });
    let each = used.bytes_current / i64::try_from(config.max_half_open).unwrap();
    assert!(each < 3_000, "{each} bytes a stranger");
}

/// Two towers that hand messages to each other, with buffers that are used again.
struct Pair {
    towers: [Tower; 2],
    /// For each tower its open link.
    links: [Option<LinkId>; 2],
    buffer: Vec<u8>,
    now: Instant,
    delivered: u64,
}

impl Pair {
    fn new() -> Self {
        let mut config = quick();
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

    fn turn(&mut self) {
        self.now = self.now + Duration::from_millis(5);
        for n in 0..2 {
            self.towers[n].handle(Event::TimerFired, self.now);
            while let Some(action) = self.towers[n].poll_action() {
                match action {
                    Action::Connect { link, .. } => {
                        let other = self.towers[1 - n].accept(LOCAL, self.now).unwrap();
                        self.links[n] = Some(link);
                        self.links[1 - n] = Some(other);
                        self.towers[n].handle(Event::Connected { link }, self.now);
                    }
                    Action::Notify(clacks_proto::Notice::MessageDelivered { .. }) => {
                        self.delivered += 1;
                    }
                    Action::Close { .. } => panic!("{action:?}"),
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
fn law_9_a_warm_tower_allocates_once_for_each_stored_body_and_never_else() {
    let mut pair = Pair::new();
    for n in 0..64 {
        let body = [n; 300];
        let now = pair.now;
        pair.towers[usize::from(n % 2)].enqueue(Message::bytes(&body), now).unwrap();
    }
    for _ in 0..2_000 {
        pair.turn();
    }
    assert_eq!(pair.towers[0].find(&address(1)).unwrap().status, Status::Alive);
    let before = pair.delivered;
    let used = allocation_counter::measure(|| {
        for _ in 0..1_000 {
            pair.turn();
        }
    });
    let stored = pair.delivered - before;
    assert!(stored > 1_000, "{stored} messages changed hands");
    assert_eq!(used.count_total, stored, "one allocation for each body, none for anything else");
    assert_eq!(used.bytes_total, 320 * stored, "its bytes and two reference counts");

    // Without messages: timers, polls and announces allocate nothing at all.
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
fn law_8_a_stored_body_does_not_pin_the_buffer_that_it_came_in() {
    let mut tower = tower(0, &quick());
    let link = tower.accept(LOCAL, Instant::ORIGIN).unwrap();
    let used = allocation_counter::measure(|| {
        let mut bytes = hello(None);
        bytes.extend(message(0, None, b"tiny"));
        bytes.reserve(1 << 20);
        tower.handle(Event::BytesArrived { link, bytes: &bytes }, Instant::ORIGIN);
    });
    assert_eq!(common::held(&tower), (1, 4));
    assert!(used.bytes_current < 10_000, "{}", used.bytes_current);
    // The goodbye of a link gives back what the link held.
    let goodbye = encoded(&Frame::Goodbye { farewell: Farewell::Idle });
    tower.handle(Event::BytesArrived { link, bytes: &goodbye }, Instant::ORIGIN);
    let mut out = Vec::new();
    while tower.transmit(link, &mut out) > 0 {}
    let mut decoder = Decoder::new(100);
    let (mut input, mut last) = (&out[..], 0);
    while let Some(frame) = decoder.decode(&mut input).unwrap() {
        last = match frame {
            Frame::Hello(_) => 1,
            Frame::Confirmed { through: 0 } => 2,
            Frame::Goodbye { .. } => 3,
            other => panic!("{other:?}"),
        };
    }
    assert_eq!(last, 3, "hello, answer, goodbye");
}

/// What a tower takes from the allocator, learned by giving it back.
fn heap(tower: Tower) -> usize {
    let freed = allocation_counter::measure(|| drop(tower)).bytes_current;
    usize::try_from(-freed).unwrap()
}

/// A tower that shares its configuration with others.
fn alone(config: &Arc<Config>) -> Tower {
    Tower::new(Arc::clone(config), address(0), &Seed::from_u64(1)).unwrap()
}

/// A tower with 16 alive peers and 5 messages that wait. Messages went both ways on the links
/// to the first ones, of which `links` stay open.
fn with_company(config: &Arc<Config>, links: usize) -> Tower {
    let mut raw = Raw::new(config);
    raw.tower = alone(config);
    let mut open = Vec::new();
    for peer in 1..=16 {
        let link = raw.call_alive(peer);
        if open.len() < links.max(1) {
            for transfer in 0..3 {
                raw.enqueue("out");
                raw.hand(link, 2_000 + transfer, &format!("in {peer} {transfer}"));
            }
            for _ in 0..100 {
                raw.run(Duration::from_millis(60));
                for link in open.iter().chain([&link]) {
                    for (transfer, ..) in raw.heard_messages(*link) {
                        raw.confirm(*link, transfer);
                    }
                }
            }
            assert_eq!(raw.tower.queue_usage().messages, 0, "all is handed on");
            open.push(link);
        } else {
            raw.leave(link);
        }
    }
    open.into_iter().skip(links).for_each(|link| raw.leave(link));
    for _ in 0..5 {
        raw.tower.enqueue(Message::bytes(&[7; 64]), raw.now).unwrap();
    }
    (0..10).for_each(|_| raw.settle());
    assert_eq!((raw.tower.links().count(), common::held(&raw.tower)), (links, (5, 320)));
    raw.tower
}

#[test]
fn what_a_tower_does_not_use_it_does_not_hold() {
    let config = Arc::new(quick());
    let mut fresh = alone(&config);
    for n in 1..=8 {
        fresh.expand(&address(n), Instant::ORIGIN).unwrap();
    }
    // The driver hears of all that, and some moments pass.
    for n in 0..10 {
        while fresh.poll_action().is_some() {}
        fresh.handle(Event::TimerFired, Instant::ORIGIN + seconds(n));
    }
    let inline = size_of::<Tower>();
    let idle = inline + heap(fresh);
    let [closed, two, three] = [0, 2, 3].map(|links| inline + heap(with_company(&config, links)));
    println!(
        "a tower {inline}; with 8 new peers {idle}; with 16 alive ones and 5 messages {closed}, \
         two links open {two}, one more {three}"
    );
    assert!(idle <= 2_400, "{idle} with 8 new peers");
    assert!(closed <= 5_200, "{closed} with 16 alive peers and 5 messages");
    // With two links a tower is at work, and has its generators.
    assert!(two - closed <= 2_600, "{} for the first two links", two - closed);
    assert!(three - two <= 864, "{} for one more link", three - two);
}

#[test]
fn law_8_the_bodies_of_offers_that_nobody_polls_are_bounded() {
    let mut config = quick();
    let (timeout, default) = (seconds(1), DefaultVerdict::Reject);
    config.screening = Screening::On { max_offers: 1_000, timeout, default };
    config.max_queue_messages = 500;
    config.max_queue_bytes = 64 * 1024;
    config.max_message = 64 * 1024;
    (config.max_links, config.max_half_open, config.max_peers) = (4, 2, 10);
    config.heartbeat = None;
    config.timeouts.idle = seconds(100_000);
    let body = "x".repeat(60_000);
    let mut raw = Raw::new(&config);
    raw.tower = tower(0, &config);
    let link = raw.tower.accept(LOCAL, raw.now).unwrap();
    let hello = hello(None);
    raw.tower.handle(Event::BytesArrived { link, bytes: &hello }, raw.now);
    let used = allocation_counter::measure(|| {
        for n in 0..100 {
            let bytes = message(n, None, body.as_bytes());
            raw.tower.handle(Event::BytesArrived { link, bytes: &bytes }, raw.now);
            // The offers are decided by the time-out, and never polled.
            raw.now = raw.now + seconds(1);
            raw.tower.handle(Event::TimerFired, raw.now);
            raw.tower.transmit(link, &mut (&mut Vec::new()).limit(1_000));
        }
    });
    let held = usize::try_from(used.bytes_current).unwrap();
    assert!(held <= 2 * config.max_queue_bytes, "{held}");
}
