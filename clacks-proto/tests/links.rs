//! Links: how they come and go, how many there may be, and what they carry in both directions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::time::Duration;

use clacks_proto::wire::{Farewell, Frame};
use clacks_proto::{
    Action, CloseMode, CloseReason, Event, Instant, IoCause, LinkId, Message, Notice, Refusal,
    SendRate, StateMachine, Status,
};
use common::raw::{Raw, Said, encode, hello};
use common::{LOCAL, address, net, quick, seconds, tower};

// Ids and terminal events.

#[test]
fn an_event_for_a_link_that_has_ended_changes_nothing_and_is_counted() {
    let hello = encode(&Frame::Hello(hello(Some(address(5)))));
    let endings: [fn(LinkId) -> Event<'static>; 3] = [
        |link| Event::Closed { link },
        |link| Event::Lost { link, cause: IoCause::Reset },
        |link| Event::ConnectFailed { link, cause: IoCause::Refused },
    ];
    for ending in endings {
        let mut raw = Raw::new(&quick());
        let link = raw.call();
        raw.tell(ending(link));
        assert_eq!(raw.tower.links().count(), 0);
        let actions = raw.actions.len();
        let events = [
            Event::Connected { link },
            Event::ConnectFailed { link, cause: IoCause::Refused },
            Event::BytesArrived { link, bytes: &hello },
            Event::Finished { link },
            Event::Lost { link, cause: IoCause::Reset },
            Event::Closed { link },
        ];
        for (event, count) in events.into_iter().zip(1..) {
            raw.tell(event);
            assert_eq!(raw.tower.stats().stale_events, count, "{event:?}");
        }
        assert_eq!(raw.actions.len(), actions);
        assert_eq!(raw.tower.survey().count(), 0);
        assert_eq!(raw.tower.transmit(link, &mut Vec::new()), 0);
    }
}

#[test]
fn a_link_that_is_being_closed_still_needs_its_terminal_event() {
    let mut raw = Raw::new(&quick());
    raw.never_closes = true;
    let link = raw.call_as(1);
    raw.bytes(link, b"?");
    assert!(raw.close_reason(link).is_some());
    assert_eq!(raw.tower.links().count(), 1);
    // What comes in meanwhile is for nobody, and no mistake of the driver's.
    raw.hand(link, 1, "too late");
    raw.tell(Event::Finished { link });
    assert_eq!(raw.tower.queue_usage().messages, 0);
    assert_eq!(raw.tower.stats().stale_events, 0);
    raw.tell(Event::Lost { link, cause: IoCause::Reset });
    assert_eq!(raw.tower.links().count(), 0);
    let told = raw.actions.iter().filter(|action| {
        matches!(action, Action::Notify(Notice::LinkClosed { link: closed, .. }) if *closed == link)
    });
    assert_eq!(told.count(), 1, "one end, one notice");
}

#[test]
fn an_id_is_not_used_again_though_its_slot_is() {
    let mut config = quick();
    config.max_links = 2;
    config.max_half_open = 1;
    let mut raw = Raw::new(&config);
    // Actions that name the first link wait to be polled when it is gone already.
    let first = raw.tower.accept(LOCAL, raw.now).unwrap();
    raw.tower.handle(Event::Closed { link: first }, raw.now);
    let second = raw.tower.accept(LOCAL, raw.now).unwrap();
    assert_eq!(first.index(), second.index());
    assert_ne!(first, second);
    raw.settle();
    let names_first = |action: &Action| matches!(action, Action::Send { link } if *link == first);
    assert!(!raw.actions.iter().any(names_first), "nobody hears of a link that is gone");
    raw.tell(Event::Closed { link: second });
    for _ in 0..10 {
        let link = raw.call();
        assert!(link != first && link != second);
        raw.tell(Event::Closed { link });
    }
}

// Limits.

#[test]
fn callers_that_have_not_said_hello_are_limited() {
    let mut config = quick();
    config.max_half_open = 3;
    let mut raw = Raw::new(&config);
    let links = [raw.call(), raw.call(), raw.call()];
    assert_eq!(raw.tower.accept(LOCAL, raw.now), Err(Refusal::TooManyHalfOpen));
    assert_eq!((raw.tower.stats().links_accepted, raw.tower.stats().links_refused), (3, 1));
    raw.greet(links[0], Some(address(1)));
    let fourth = raw.call();
    assert_eq!(raw.tower.accept(LOCAL, raw.now), Err(Refusal::TooManyHalfOpen));
    raw.lose(fourth);
    raw.call();
    raw.bytes(links[1], b"?");
    raw.call();
    assert_eq!(raw.tower.accept(LOCAL, raw.now), Err(Refusal::TooManyHalfOpen));
}

#[test]
fn when_all_links_are_taken_the_idle_one_unused_longest_makes_room() {
    let mut config = quick();
    config.max_links = 4;
    config.max_half_open = 3;
    let mut raw = Raw::new(&config);
    let mut callers = Vec::new();
    for n in 1..5 {
        callers.push(raw.call_alive(n));
        raw.run(seconds(1));
    }
    // The first is the oldest and was used since; the second is the one.
    raw.announce(callers[0], 1);
    raw.run(seconds(1));
    assert_eq!(raw.tower.accept(LOCAL, raw.now), Err(Refusal::TooManyLinks));
    raw.settle();
    assert_eq!(raw.close_reason(callers[1]), Some(CloseReason::Evicted));
    assert_eq!(raw.heard(callers[1]), [Said::Goodbye(Farewell::Idle)]);
    assert_eq!(raw.closed.len(), 1);
    assert_eq!(raw.status(2), Some(Status::Alive), "that is no failure");
    raw.call_alive(5);
    assert_eq!(raw.tower.stats().links_refused, 1);
    // A dial that finds no place asks for one as well, and its message stays meanwhile.
    raw.expand(9);
    raw.enqueue("for the ninth");
    raw.run(Duration::from_millis(100));
    assert_eq!(raw.close_reason(callers[2]), Some(CloseReason::Evicted));
    assert!(raw.run_to_dial(seconds(1)));
    assert_eq!(raw.texts(), ["for the ninth"]);
}

#[test]
fn a_sixteenth_of_the_links_is_kept_free_for_those_who_come_next() {
    let mut config = quick();
    config.max_links = 32;
    config.max_half_open = 8;
    let mut raw = Raw::new(&config);
    let mut callers = Vec::new();
    for n in 1..=60 {
        callers.push(raw.call_alive(n));
        raw.run(seconds(1));
        assert!(
            raw.tower.links().count() <= 30,
            "{} links with {n} callers",
            raw.tower.links().count()
        );
    }
    assert_eq!(raw.tower.stats().links_refused, 0, "nobody was turned away");
    assert!(callers[..30].iter().all(|id| raw.close_reason(*id) == Some(CloseReason::Evicted)));
    assert!(callers[30..].iter().all(|id| raw.close_reason(*id).is_none()));
}

#[test]
fn a_link_with_something_unanswered_is_not_evicted() {
    let mut config = quick();
    config.max_links = 2;
    config.max_half_open = 1;
    let mut raw = Raw::new(&config);
    let links = [1, 2].map(|n| raw.call_alive(n));
    raw.enqueue_many(20, "message");
    raw.run(seconds(2));
    assert!(links.iter().all(|link| !raw.heard_messages(*link).is_empty()));
    assert_eq!(raw.tower.accept(LOCAL, raw.now), Err(Refusal::TooManyLinks));
    raw.settle();
    assert!(raw.closed.is_empty());
    assert!(links.iter().all(|link| raw.heard(*link).is_empty()), "nobody is asked to leave");
}

#[test]
fn a_thousand_silent_connections_cost_little_and_block_nobody() {
    let mut raw = Raw::new(&quick());
    let accepted = (0..1_000).filter(|_| raw.tower.accept(LOCAL, raw.now).is_ok()).count();
    raw.settle();
    assert_eq!(accepted, 64);
    assert_eq!(raw.tower.links().count(), 64);
    // We can still dial, and be of use.
    raw.expand(1);
    raw.enqueue("goes out");
    assert!(raw.run_to_dial(seconds(1)));
    let link = raw.answer();
    assert_eq!(raw.heard_messages(link).len(), 1);
    raw.run(seconds(10));
    assert_eq!(raw.tower.links().count(), 1);
    assert_eq!(raw.tower.stats().links_timed_out, 64);
    let late = raw
        .closed
        .values()
        .filter(|(how, why)| (*how, *why) == (CloseMode::Abort, CloseReason::HandshakeTimeout));
    assert_eq!(late.count(), 64);
    raw.call();
}

// Both directions.

#[test]
fn two_towers_that_dial_each_other_at_once_get_along() {
    let mut config = quick();
    config.send_rate = SendRate::Unlimited;
    let mut net = net(2, &config);
    for (n, other) in [(0, 1), (1, 0)] {
        // Nothing is driven between the two dials.
        let tower = net.towers[n].as_mut().unwrap();
        tower.expand(&address(other), Instant::ORIGIN).unwrap();
        tower.ignore(&address(7), Instant::ORIGIN).unwrap();
        tower.announce(&address(other), Instant::ORIGIN).unwrap();
    }
    net.settle();
    for (n, other) in [(0, 1), (1, 0)] {
        assert_eq!(net.tower(n).stats().links_dialled, 1);
        assert_eq!(net.tower(n).stats().links_accepted, 1);
        assert_eq!(net.status(n, other), Some(Status::Alive));
    }
    net.run(seconds(70));
    for (n, other) in [(0, 1), (1, 0)] {
        assert_eq!(net.tower(n).links().count(), 0, "both are let go when unused");
        assert_eq!(net.status(n, other), Some(Status::Alive));
        assert_eq!(net.tower(n).stats().links_broken, 0);
    }
}

#[test]
fn a_link_carries_messages_in_both_directions() {
    let mut net = net(2, &quick());
    net.announce(0, 1);
    net.enqueue(1, "back");
    assert!(net.run_until(seconds(5), |net| net.tower(0).stats().received > 5));
    assert_eq!(net.tower(1).stats().links_dialled, 0, "it was called, and answers on that link");
    assert_eq!(net.tower(0).stats().links_dialled, 1);
}

#[test]
fn callers_do_not_take_the_room_for_our_own_dials() {
    let mut config = quick();
    config.max_links = 8;
    config.max_half_open = 4;
    let mut raw = Raw::new(&config);
    for n in 0.. {
        let Ok(link) = raw.tower.accept(LOCAL, raw.now) else { break };
        raw.settle();
        raw.greet(link, None);
        raw.deaf.insert(link);
        raw.announce(link, 1 + n);
    }
    raw.expand(1);
    raw.enqueue("m");
    assert!(raw.run_to_dial(seconds(30)));
}

#[test]
fn a_dial_to_a_peer_forgotten_before_the_poll_has_the_address_and_is_closed() {
    let mut config = quick();
    config.max_peers = 1;
    config.kill_timeout = seconds(1);
    let mut tower = tower(0, &config);
    let mut now = Instant::ORIGIN;
    tower.expand(&address(1), now).unwrap();
    tower.enqueue(Message::text("for nobody"), now).unwrap();
    // Nobody polls while it is dialled, given up, dialled again, given up for good, and forgotten
    // for another one.
    while tower.status_counts().dead == 0 {
        now = now + seconds(1);
        tower.handle(Event::TimerFired, now);
        assert!(now < Instant::ORIGIN + seconds(600), "{:?}", tower.status_counts());
    }
    tower.expand(&address(2), now).unwrap();
    assert!(tower.find(&address(1)).is_none(), "the dead one made room");

    let (mut dialled, mut closed) = (Vec::new(), Vec::new());
    while let Some(action) = tower.poll_action() {
        match action {
            Action::Connect { link, address: dialled_address } => {
                assert_eq!(dialled_address, address(1));
                assert!(tower.find(&address(1)).is_none(), "it was forgotten meanwhile");
                dialled.push(link);
            }
            Action::Close { link, .. } => {
                closed.push(link);
                tower.handle(Event::ConnectFailed { link, cause: IoCause::Other }, now);
            }
            _ => {}
        }
    }
    assert!(!dialled.is_empty(), "it was dialled");
    assert_eq!(dialled, closed);
    assert_eq!(
        (tower.links().count(), tower.queue_usage().messages),
        (0, 1),
        "the message waits for the other one"
    );
}

#[test]
fn a_link_that_has_just_broken_is_room_for_another_one() {
    let mut config = quick();
    (config.max_links, config.max_half_open) = (32, 31);
    let (mut raw, link, _) = Raw::handed(&config, "in doubt");
    (2..31).for_each(|n| _ = raw.call_as(n));
    assert_eq!(raw.tower.links().count(), 30);
    let closed = raw.closed.len();
    // The peer is asked again on a new link.
    raw.lose(link);
    assert_eq!(raw.closed.len(), closed, "no idle link is evicted");
}
