//! Links: their ids, their limits, and the traffic in both directions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use clacks_proto::wire::{Farewell, Frame};
use clacks_proto::{
    Action, CloseMode, CloseReason, Event, Instant, IoCause, LinkId, Message, Newcomers, Notice,
    Refusal, SendRate, StateMachine, Status,
};
use common::harness::{Harness, SentFrame, encode, hello};
use common::{LOCAL, address, config_with_messages_on_dials, fast_config, network, seconds, tower};

// Link ids and terminal events.

#[test]
fn an_event_for_an_ended_link_changes_nothing_and_is_counted() {
    let hello = encode(&Frame::Hello(hello(Some(address(5)))));
    let endings: [fn(LinkId) -> Event<'static>; 3] = [
        |link| Event::Closed { link },
        |link| Event::Lost { link, cause: IoCause::Reset },
        |link| Event::ConnectFailed { link, cause: IoCause::Refused },
    ];
    for ending in endings {
        let mut harness = Harness::new(&fast_config());
        let link = harness.accept();
        harness.handle(ending(link));
        assert_eq!(harness.tower.links().count(), 0);
        let actions = harness.actions.len();
        let events = [
            Event::Connected { link, at: None },
            Event::ConnectFailed { link, cause: IoCause::Refused },
            Event::BytesArrived { link, bytes: &hello },
            Event::Finished { link },
            Event::Lost { link, cause: IoCause::Reset },
            Event::Closed { link },
        ];
        for (event, count) in events.into_iter().zip(1..) {
            harness.handle(event);
            assert_eq!(harness.tower.stats().stale_events, count, "{event:?}");
        }
        assert_eq!(harness.actions.len(), actions);
        assert_eq!(harness.tower.survey().count(), 0);
        assert_eq!(harness.tower.transmit(link, &mut Vec::new()), 0);
    }
}

#[test]
fn a_closing_link_occupies_its_slot_until_its_terminal_event() {
    let mut harness = Harness::new(&fast_config());
    harness.ignores_close = true;
    let link = harness.accept_from(1);
    harness.send_bytes(link, b"?");
    assert!(harness.close_reason(link).is_some());
    assert_eq!(harness.tower.links().count(), 1);
    // Events of a closing link are ignored, but not counted as stale.
    harness.send_message(link, 1, "too late");
    harness.handle(Event::Finished { link });
    assert_eq!(harness.tower.queue_usage().messages, 0);
    assert_eq!(harness.tower.stats().stale_events, 0);
    harness.handle(Event::Lost { link, cause: IoCause::Reset });
    assert_eq!(harness.tower.links().count(), 0);
    let closed_notices = harness.actions.iter().filter(|action| {
        matches!(action, Action::Notify(Notice::LinkClosed { link: closed, .. }) if *closed == link)
    });
    assert_eq!(closed_notices.count(), 1, "the link is reported closed once");
}

#[test]
fn a_link_id_is_not_reused_although_its_slot_is() {
    let mut config = fast_config();
    config.max_links = 2;
    config.max_unproved = 1;
    let mut harness = Harness::new(&config);
    // The actions of the first link are still pending when the link has ended.
    let first = harness.tower.accept(LOCAL, harness.now).unwrap();
    harness.tower.handle(Event::Closed { link: first }, harness.now);
    let second = harness.tower.accept(LOCAL, harness.now).unwrap();
    assert_eq!(first.index(), second.index());
    assert_ne!(first, second);
    harness.drive();
    let names_first = |action: &Action| matches!(action, Action::Send { link } if *link == first);
    assert!(!harness.actions.iter().any(names_first), "no action names the ended link");
    harness.handle(Event::Closed { link: second });
    for _ in 0..10 {
        let link = harness.accept();
        assert!(link != first && link != second);
        harness.handle(Event::Closed { link });
    }
}

// Limits.

/// Returns a tower with at most three unproved links.
fn three_unproved() -> Harness {
    let mut config = fast_config();
    config.max_unproved = 3;
    Harness::new(&config)
}

/// Connects a caller from an IPv4 address that ends with `host`.
fn accept_from_host(harness: &mut Harness, host: u8) -> LinkId {
    let from = IpAddr::V4(Ipv4Addr::new(198, 51, 100, host));
    let link = harness.tower.accept(from, harness.now).expect("the tower accepts the link");
    harness.drive();
    link
}

fn evicted(harness: &Harness, links: &[LinkId]) -> Vec<bool> {
    let is_evicted = |link| harness.close_reason(link) == Some(CloseReason::Evicted);
    links.iter().map(|link| is_evicted(*link)).collect()
}

#[test]
fn rule_10_the_oldest_unproved_link_of_the_greediest_network_makes_room() {
    let mut harness = three_unproved();
    let greedy: Vec<_> = (0..2).map(|_| accept_from_host(&mut harness, 1)).collect();
    let modest = accept_from_host(&mut harness, 2);
    let others: Vec<_> = (3..5).map(|host| accept_from_host(&mut harness, host)).collect();
    assert_eq!(evicted(&harness, &greedy), [true, true]);
    // All networks have one link. The oldest one makes room.
    assert_eq!(evicted(&harness, &[modest]), [false]);
    accept_from_host(&mut harness, 1);
    assert_eq!(evicted(&harness, &[modest]), [true]);
    accept_from_host(&mut harness, 1);
    assert_eq!(evicted(&harness, &others), [true, false]);
    accept_from_host(&mut harness, 6);
    assert_eq!(evicted(&harness, &others), [true, false]);
    assert_eq!(harness.tower.links().count(), 3);
    assert_eq!(harness.tower.stats().links_refused, 0);
}

#[test]
fn rule_10_a_half_open_link_is_aborted_and_an_open_one_gets_a_goodbye() {
    let mut harness = three_unproved();
    let half_open = harness.accept();
    let guest = harness.accept();
    harness.send_hello(guest, None);
    harness.take_frames(guest);
    (0..3).for_each(|_| _ = harness.accept());
    assert_eq!(harness.closed[&half_open], (CloseMode::Abort, CloseReason::Evicted));
    assert_eq!(harness.closed[&guest], (CloseMode::Flush, CloseReason::Evicted));
    assert_eq!(harness.take_frames(guest), [SentFrame::Goodbye(Farewell::Idle)]);
}

#[test]
fn rule_10_a_proved_link_is_not_displaced() {
    let mut harness = three_unproved();
    let proved = harness.accept_alive(1);
    (0..20).for_each(|_| _ = harness.accept());
    assert_eq!(harness.close_reason(proved), None);
    assert_eq!(harness.tower.links().count(), 4);
    assert_eq!(harness.status(1), Some(Status::Alive));
}

#[test]
fn without_rule_10_silent_links_keep_callers_out() {
    let mut config = fast_config();
    (config.max_links, config.max_unproved) = (4, 4);
    let mut harness = Harness::new(&config);
    let silent: Vec<_> = (0..4).map(|_| harness.accept()).collect();
    assert_eq!(harness.tower.accept(LOCAL, harness.now), Err(Refusal::TooManyLinks));
    harness.drive();
    assert_eq!(evicted(&harness, &silent), [false; 4]);
}

#[test]
fn at_max_links_the_least_recently_used_idle_link_is_evicted() {
    let mut config = config_with_messages_on_dials();
    config.max_links = 4;
    config.max_unproved = 3;
    let mut harness = Harness::new(&config);
    let mut callers = Vec::new();
    for n in 1..5 {
        callers.push(harness.accept_alive(n));
        harness.advance(seconds(1));
    }
    // The first link is the oldest, but has been used since. The second link is the least recently
    // used one.
    harness.send_announce(callers[0], 1);
    harness.advance(seconds(1));
    assert_eq!(harness.tower.accept(LOCAL, harness.now), Err(Refusal::TooManyLinks));
    harness.drive();
    assert_eq!(harness.close_reason(callers[1]), Some(CloseReason::Evicted));
    assert_eq!(harness.take_frames(callers[1]), [SentFrame::Goodbye(Farewell::Idle)]);
    assert_eq!(harness.closed.len(), 1);
    assert_eq!(harness.status(2), Some(Status::Alive), "an eviction is no failure of the peer");
    harness.accept_alive(5);
    assert_eq!(harness.tower.stats().links_refused, 1);
    // A dial evicts an idle link too. Its message stays in the queue meanwhile.
    harness.expand(9);
    harness.enqueue("for the ninth");
    harness.advance(Duration::from_millis(100));
    assert_eq!(harness.close_reason(callers[2]), Some(CloseReason::Evicted));
    assert!(harness.run_until_dial(seconds(1)));
    assert_eq!(harness.texts(), ["for the ninth"]);
}

#[test]
fn a_sixteenth_of_max_links_is_kept_free_by_evictions() {
    let mut config = fast_config();
    config.max_links = 32;
    config.max_unproved = 8;
    let mut harness = Harness::new(&config);
    let mut callers = Vec::new();
    for n in 1..=60 {
        callers.push(harness.accept_alive(n));
        harness.advance(seconds(1));
        assert!(
            harness.tower.links().count() <= 30,
            "{} links after {n} calls",
            harness.tower.links().count()
        );
    }
    assert_eq!(harness.tower.stats().links_refused, 0, "no link was refused");
    assert!(callers[..30].iter().all(|id| harness.close_reason(*id) == Some(CloseReason::Evicted)));
    assert!(callers[30..].iter().all(|id| harness.close_reason(*id).is_none()));
}

#[test]
fn a_link_with_unanswered_transfers_is_not_evicted() {
    let mut config = fast_config();
    config.max_links = 2;
    config.max_unproved = 1;
    let mut harness = Harness::new(&config);
    let links = [1, 2].map(|n| harness.accept_alive(n));
    harness.enqueue_many(20, "message");
    harness.advance(seconds(2));
    assert!(links.iter().all(|link| !harness.take_messages(*link).is_empty()));
    assert_eq!(harness.tower.accept(LOCAL, harness.now), Err(Refusal::TooManyLinks));
    harness.drive();
    assert!(harness.closed.is_empty());
    assert!(
        links.iter().all(|link| harness.take_frames(*link).is_empty()),
        "the tower has said no goodbye"
    );
}

#[test]
fn silent_inbound_links_time_out_and_block_no_dial() {
    let mut harness = Harness::new(&fast_config());
    (0..1_000).for_each(|_| _ = harness.accept());
    assert_eq!(harness.tower.links().count(), 64);
    // The tower can still dial and send a message.
    harness.expand(1);
    harness.enqueue("goes out");
    assert!(harness.run_until_dial(seconds(1)));
    let link = harness.connect_dial_alive();
    assert_eq!(harness.take_messages(link).len(), 1);
    harness.advance(seconds(10));
    assert_eq!(harness.tower.links().count(), 1);
    assert_eq!(harness.tower.stats().links_timed_out, 64, "the others were evicted");
    let timed_out = harness.closed.values().filter(|(how, reason)| {
        (*how, *reason) == (CloseMode::Abort, CloseReason::HandshakeTimeout)
    });
    assert_eq!(timed_out.count(), 64);
    harness.accept();
}

// Both directions.

#[test]
fn two_towers_that_dial_each_other_at_once_keep_both_links_until_idle() {
    let mut config = fast_config();
    config.send_rate = SendRate::Unlimited;
    let mut network = network(2, &config);
    for (n, other) in [(0, 1), (1, 0)] {
        // The driver handles no action between the two dials.
        let tower = network.towers[n].as_mut().unwrap();
        tower.expand(&address(other), Instant::ORIGIN).unwrap();
        tower.ignore(&address(7), Instant::ORIGIN).unwrap();
        tower.announce(&address(other), Instant::ORIGIN).unwrap();
    }
    network.drive();
    for (n, other) in [(0, 1), (1, 0)] {
        assert_eq!(network.tower(n).stats().links_dialled, 1);
        assert_eq!(network.tower(n).stats().links_accepted, 1);
        assert_eq!(network.status(n, other), Some(Status::Alive));
    }
    network.advance(seconds(70));
    for (n, other) in [(0, 1), (1, 0)] {
        assert_eq!(network.tower(n).links().count(), 0, "both idle links are closed");
        assert_eq!(network.status(n, other), Some(Status::Alive));
        assert_eq!(network.tower(n).stats().links_broken, 0);
    }
}

#[test]
fn a_link_carries_messages_in_both_directions() {
    let mut network = network(2, &fast_config());
    network.announce(0, 1);
    network.enqueue(1, "back");
    assert!(network.run_until(seconds(5), |network| network.tower(0).stats().received > 5));
    assert_eq!(network.tower(1).stats().links_dialled, 0, "the tower sends on the inbound link");
    assert_eq!(network.tower(0).stats().links_dialled, 1);
}

#[test]
fn inbound_links_leave_room_for_dials() {
    let mut config = fast_config();
    config.max_links = 8;
    config.max_unproved = 4;
    let mut harness = Harness::new(&config);
    for n in 0..20 {
        let link = harness.accept();
        harness.send_hello(link, None);
        harness.blocked.insert(link);
        harness.send_announce(link, 1 + n);
    }
    harness.expand(1);
    harness.enqueue("m");
    assert!(harness.run_until_dial(seconds(30)));
}

#[test]
fn a_pending_dial_to_a_forgotten_peer_keeps_its_address_and_is_closed() {
    let mut config = fast_config();
    (config.max_peers, config.newcomers) = (1, Newcomers::ReplaceDead);
    config.kill_timeout = seconds(1);
    let mut tower = tower(0, &config);
    let mut now = Instant::ORIGIN;
    tower.expand(&address(1), now).unwrap();
    tower.enqueue(Message::text("for the second peer"), now).unwrap();
    // No action is polled while the first peer is dialled, times out, is dialled again, dies, and
    // is forgotten for the second one.
    while tower.status_counts().dead == 0 {
        now = now + seconds(1);
        tower.handle(Event::TimerFired, now);
        assert!(now < Instant::ORIGIN + seconds(600), "{:?}", tower.status_counts());
    }
    tower.expand(&address(2), now).unwrap();
    assert!(tower.find(&address(1)).is_none(), "the dead peer is forgotten");

    let (mut dialled, mut closed) = (Vec::new(), Vec::new());
    while let Some(action) = tower.poll_action() {
        match action {
            Action::Connect { link, address: dialled_address, .. } => {
                assert_eq!(dialled_address, address(1));
                assert!(tower.find(&address(1)).is_none(), "the peer is forgotten before the poll");
                dialled.push(link);
            }
            Action::Close { link, .. } => {
                closed.push(link);
                tower.handle(Event::ConnectFailed { link, cause: IoCause::Other }, now);
            }
            _ => {}
        }
    }
    assert!(!dialled.is_empty(), "the first peer was dialled");
    assert_eq!(dialled, closed);
    assert_eq!(
        (tower.links().count(), tower.queue_usage().messages),
        (0, 1),
        "the message waits for the second peer"
    );
}

#[test]
fn a_redial_after_a_reset_evicts_no_idle_link() {
    let mut config = fast_config();
    (config.max_links, config.max_unproved) = (32, 31);
    let (mut harness, link, _) = Harness::with_unconfirmed_message(&config, "in doubt");
    (2..31).for_each(|n| _ = harness.accept_from(n));
    assert_eq!(harness.tower.links().count(), 30);
    let closed = harness.closed.len();
    // The tower dials the peer again to retry the message.
    harness.reset(link);
    assert_eq!(harness.closed.len(), closed, "no idle link is evicted");
}

#[test]
fn a_message_in_doubt_is_retried_though_all_links_were_in_use() {
    let mut config = fast_config();
    (config.max_links, config.max_unproved) = (2, 1);
    let (mut harness, link, _) = Harness::with_unconfirmed_message(&config, "in doubt");
    harness.accept_from(2);
    assert_eq!(harness.tower.links().count(), 2);
    harness.reset(link);
    assert_eq!((harness.tower.stats().in_doubt, harness.tower.stats().doubt_unresolved), (1, 0));
    assert_eq!(harness.dialled.len(), 1);
}
