//! Random calls of drivers, applications and peers in any order cause no panic, and lose or invent
//! no message.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use bytes::BufMut;
use clacks_proto::{
    Action, Address, Event, Instant, IoCause, LinkId, Message, SendRate, StateMachine, Tower,
};
use proptest::prelude::*;

use crate::harness::{Harness, address, paused_config, payload, post, post_with_length, response};

/// One call of a driver, an application or a peer. A number selects one of all links that have ever
/// existed.
#[derive(Clone, Debug)]
enum Step {
    Accept,
    Connected(usize),
    ConnectFailed(usize),
    Bytes(usize, Vec<u8>),
    Finished(usize),
    Lost(usize),
    Closed(usize),
    Advance(u64),
    Transmit(usize, usize),
    Enqueue(usize),
    Expand(u16),
    Announce(u16),
    Ignore(u16),
    Unignore(u16),
    Shutdown,
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        (8001..8005u16).prop_map(|port| post(&payload("\"m\"", port))),
        (8001..8005u16).prop_map(|port| post(
            &payload("\"m\"", port).replace("\"message\",", "\"announce\",")
        )),
        Just(post_with_length(60, &payload("\"é\"", 8002))),
        Just(post("hello")),
        Just(response(200)),
        Just(response(403)),
        Just(response(500)),
        Just(response(503)),
        Just(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n".to_vec()),
        Just(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
               Content-Length: 9\r\n"
                .to_vec()
        ),
        Just(vec![0xC1, 0, 0, 0]),
        proptest::collection::vec(any::<u8>(), 1..8),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let link = 0..12usize;
    let port = 8001..8005u16;
    prop_oneof![
        2 => Just(Step::Accept),
        4 => link.clone().prop_map(Step::Connected),
        1 => link.clone().prop_map(Step::ConnectFailed),
        10 => (link.clone(), bytes()).prop_map(|(link, bytes)| Step::Bytes(link, bytes)),
        1 => link.clone().prop_map(Step::Finished),
        1 => link.clone().prop_map(Step::Lost),
        1 => link.clone().prop_map(Step::Closed),
        3 => (0..20_000u64).prop_map(Step::Advance),
        6 => (link, 0..3000usize).prop_map(|(link, room)| Step::Transmit(link, room)),
        2 => (0..20_000usize).prop_map(Step::Enqueue),
        1 => port.clone().prop_map(Step::Expand),
        1 => port.clone().prop_map(Step::Announce),
        1 => port.clone().prop_map(Step::Ignore),
        1 => port.prop_map(Step::Unignore),
        1 => Just(Step::Shutdown),
    ]
}

fn peer(port: u16) -> Address {
    address(&format!("localhost:{port}"))
}

/// Returns whether every message that was enqueued or received is delivered or held.
fn is_conserved(tower: &Tower) -> bool {
    let stats = tower.stats();
    let stored = stats.enqueued + stats.received - stats.coalesced;
    stored == stats.delivered + tower.queue_usage().messages as u64
}

proptest! {
    #[test]
    fn random_calls_lose_and_invent_no_message(
        steps in proptest::collection::vec(step(), 0..120),
        rate in prop_oneof![Just(SendRate::per_second(5)), Just(SendRate::Unlimited)],
    ) {
        let mut config = paused_config();
        config.send_rate = rate;
        config.heartbeat = Some(Duration::from_secs(3));
        config.max_links = 8;
        config.max_unproved = 4;
        let Harness { mut tower, .. } = Harness::new(config);
        let mut now = Instant::ORIGIN;
        let mut links: Vec<LinkId> = Vec::new();
        let mut closing = Vec::new();
        for step in steps {
            let link = |n: usize| links.get(n % links.len().max(1)).copied();
            let event = match &step {
                Step::Connected(n) => link(*n).map(|link| Event::Connected { link, at: None }),
                Step::ConnectFailed(n) => link(*n)
                    .map(|link| Event::ConnectFailed { link, cause: IoCause::Refused }),
                Step::Bytes(n, bytes) => link(*n).map(|link| Event::BytesArrived { link, bytes }),
                Step::Finished(n) => link(*n).map(|link| Event::Finished { link }),
                Step::Lost(n) => link(*n).map(|link| Event::Lost { link, cause: IoCause::Reset }),
                Step::Closed(n) => link(*n).map(|link| Event::Closed { link }),
                Step::Advance(milliseconds) => {
                    now = now + Duration::from_millis(*milliseconds);
                    Some(Event::TimerFired)
                }
                _ => None,
            };
            if let Some(event) = event {
                tower.handle(event, now);
            }
            match step {
                Step::Accept => links.extend(tower.accept(IpAddr::V4(Ipv4Addr::LOCALHOST), now)),
                Step::Transmit(n, room) => {
                    let mut out = Vec::new();
                    if let Some(link) = link(n) {
                        tower.transmit(link, &mut (&mut out).limit(room));
                    }
                }
                Step::Enqueue(len) => drop(tower.enqueue(Message::text(&"x".repeat(len)), now)),
                Step::Expand(port) => drop(tower.expand(&peer(port), now)),
                Step::Announce(port) => drop(tower.announce(&peer(port), now)),
                Step::Ignore(port) => drop(tower.ignore(&peer(port), now)),
                Step::Unignore(port) => drop(tower.unignore(&peer(port), now)),
                Step::Shutdown => tower.shutdown(now),
                _ => {}
            }
            while let Some(action) = tower.poll_action() {
                match action {
                    Action::Connect { link, .. } => links.push(link),
                    Action::Close { link, .. } => closing.push(link),
                    _ => {}
                }
            }
            prop_assert!(
                is_conserved(&tower),
                "{:?} holds {:?}",
                tower.stats(),
                crate::common::queue_usage(&tower)
            );
            prop_assert!(tower.links().count() <= 8);
        }
        // The tower shuts down.
        closing.into_iter().for_each(|link| tower.handle(Event::Closed { link }, now));
        tower.shutdown(now);
        for _ in 0..200 {
            now = now + Duration::from_secs(1);
            tower.handle(Event::TimerFired, now);
            while let Some(action) = tower.poll_action() {
                match action {
                    Action::Connect { link, .. } => {
                        tower.handle(Event::ConnectFailed { link, cause: IoCause::Refused }, now);
                    }
                    Action::Close { link, .. } => tower.handle(Event::Closed { link }, now),
                    _ => {}
                }
            }
        }
        prop_assert_eq!(tower.links().count(), 0);
        prop_assert!(is_conserved(&tower));
    }
}
