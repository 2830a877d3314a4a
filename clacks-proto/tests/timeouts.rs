//! Time-outs: how long a link waits for what, and what follows.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::time::Duration;

use clacks_proto::wire::{Farewell, Frame, Hello};
use clacks_proto::{Action, CloseMode, CloseReason, Event, LinkId, StateMachine, Status, Window};
use common::raw::{Raw, Said, encode, hello, message};
use common::{address, net, quick, seconds};

/// Runs up to a moment before a link has waited `time`, then to that moment. Returns how and why it
/// was closed then.
fn closed_after(raw: &mut Raw, link: LinkId, time: Duration) -> (CloseMode, CloseReason) {
    raw.run(time - Duration::from_nanos(1));
    assert_eq!(raw.close_reason(link), None, "too early");
    raw.run(Duration::from_nanos(1));
    raw.closed[&link]
}

#[test]
fn a_dial_that_hangs_is_given_up() {
    let mut raw = Raw::new(&quick());
    raw.with(|tower, now| tower.announce(&address(1), now)).unwrap();
    let (link, _) = raw.dialled[0];
    let end = closed_after(&mut raw, link, seconds(10));
    assert_eq!(end, (CloseMode::Abort, CloseReason::ConnectTimeout));
    assert_eq!(raw.tower.stats().links_timed_out, 1);
    // It came to stand just then: too late, and nobody's mistake.
    assert_eq!(raw.tower.stats().stale_events, 0);
}

#[test]
fn a_connection_that_comes_to_stand_while_it_is_given_up_is_no_mistake() {
    let mut raw = Raw::new(&quick());
    raw.never_closes = true;
    raw.with(|tower, now| tower.announce(&address(1), now)).unwrap();
    let (link, _) = raw.dialled[0];
    assert!(raw.run_to_close(link, seconds(11)).is_some());
    raw.tell(Event::Connected { link });
    assert_eq!(raw.tower.stats().stale_events, 0);
    assert!(raw.heard(link).is_empty());
    raw.tell(Event::Closed { link });
    assert_eq!(raw.tower.links().count(), 0);
}

#[test]
fn a_hello_that_does_not_come_is_waited_for_from_the_moment_the_connection_stands() {
    let mut raw = Raw::new(&quick());
    raw.with(|tower, now| tower.announce(&address(1), now)).unwrap();
    raw.run(seconds(9));
    let link = raw.pick_up();
    let end = closed_after(&mut raw, link, seconds(10));
    assert_eq!(end, (CloseMode::Abort, CloseReason::HandshakeTimeout));
    let link = raw.call();
    raw.bytes(link, &encode(&Frame::Hello(hello(None)))[..7]);
    let end = closed_after(&mut raw, link, seconds(10));
    assert_eq!(end, (CloseMode::Abort, CloseReason::HandshakeTimeout));
    assert_eq!(raw.tower.stats().links_timed_out, 2);
}

#[test]
fn the_oldest_unconfirmed_message_is_waited_for() {
    let mut raw = Raw::new(&quick());
    let link = raw.call_alive(1);
    raw.enqueue("first");
    raw.run(Duration::from_millis(50));
    let [(transfer, ..)] = raw.heard_messages(link)[..] else { panic!("one") };
    raw.run(seconds(20));
    raw.enqueue("second");
    raw.run(seconds(9));
    assert_eq!(raw.heard_messages(link).len(), 1);
    // The first is confirmed at the last moment: now it is the second's turn to be the oldest.
    raw.confirm(link, transfer);
    assert_eq!(raw.run_to_close(link, seconds(19)), None);
    assert_eq!(raw.run_to_close(link, seconds(3)), Some(CloseReason::ConfirmTimeout));
    assert_eq!(raw.closed[&link].0, CloseMode::Abort);
    assert_eq!(raw.tower.stats().links_timed_out, 1);
    assert_eq!(raw.status(1), Some(Status::Lost));
}

#[test]
fn later_messages_do_not_put_the_oldest_off() {
    let mut raw = Raw::new(&quick());
    let link = raw.call_alive(1);
    raw.enqueue("first");
    raw.run(seconds(20));
    raw.enqueue("second");
    raw.run(seconds(9));
    assert_eq!(raw.heard_messages(link).len(), 2);
    assert_eq!(raw.run_to_close(link, seconds(2)), Some(CloseReason::ConfirmTimeout));
}

#[test]
fn what_has_waited_for_the_window_is_waited_for_from_its_turn_on() {
    let mut raw = Raw::new(&quick());
    let link = raw.call();
    let window = Window { messages: 1, bytes: 1_000 };
    raw.say(link, &Frame::Hello(Hello { window, ..hello(Some(address(1))) }));
    raw.announce(link, 1_000);
    raw.enqueue("first");
    raw.run(Duration::from_millis(50));
    let [(transfer, ..)] = raw.heard_messages(link)[..] else { panic!("one") };
    raw.run(seconds(5));
    raw.with(|tower, now| tower.announce(&address(1), now)).unwrap();
    raw.run(seconds(24));
    // Its connection takes no more bytes, so that the announce can't go out though it is its turn.
    raw.deaf.insert(link);
    raw.confirm(link, transfer);
    assert_eq!(closed_after(&mut raw, link, seconds(30)).1, CloseReason::ConfirmTimeout);
}

#[test]
fn an_announce_that_is_not_confirmed_in_time_makes_its_peer_lost() {
    let mut raw = Raw::new(&quick());
    let link = raw.call_alive(1);
    raw.with(|tower, now| tower.announce(&address(1), now)).unwrap();
    let end = closed_after(&mut raw, link, seconds(30));
    assert_eq!(end, (CloseMode::Abort, CloseReason::ConfirmTimeout));
    assert_eq!(raw.status(1), Some(Status::Lost));
    assert!(raw.dialled.is_empty(), "no message is in doubt");
}

#[test]
fn a_connection_that_takes_no_bytes_is_given_up() {
    let mut raw = Raw::new(&quick());
    let link = raw.call_alive(1);
    raw.deaf.insert(link);
    raw.enqueue("stuck");
    assert_eq!(raw.run_to_close(link, seconds(29)), None);
    assert_eq!(raw.run_to_close(link, seconds(2)), Some(CloseReason::ConfirmTimeout));
    assert_eq!(raw.status(1), Some(Status::Lost));
    assert_eq!(raw.tower.stats().in_doubt, 0, "nothing was sent");
}

#[test]
fn an_unused_link_is_closed_with_a_goodbye_and_makes_nobody_lost() {
    let mut raw = Raw::new(&quick());
    let link = raw.call_as(1);
    raw.run(seconds(59));
    // Use puts it off, from either side.
    raw.announce(link, 1);
    raw.run(seconds(59));
    raw.enqueue("x");
    raw.run(seconds(1));
    let [.., Said::Message { transfer, .. }] = raw.heard(link)[..] else { panic!("a message") };
    raw.confirm(link, transfer);
    let end = closed_after(&mut raw, link, seconds(60));
    assert_eq!(end, (CloseMode::Flush, CloseReason::Idle));
    assert_eq!(raw.heard(link), [Said::Goodbye(Farewell::Idle)]);
    assert_eq!(raw.status(1), Some(Status::Alive));
    let stats = raw.tower.stats();
    assert_eq!((stats.links_timed_out, stats.links_broken, stats.links_misbehaved), (0, 0, 0));
}

#[test]
fn two_towers_let_an_unused_link_go_in_peace() {
    let mut net = net(2, &quick());
    net.announce(0, 1);
    assert_eq!((net.tower(0).links().count(), net.tower(1).links().count()), (1, 1));
    net.run(seconds(70));
    for (n, other) in [(0, 1), (1, 0)] {
        assert_eq!(net.tower(n).links().count(), 0);
        assert_eq!(net.status(n, other), Some(Status::Alive));
        let stats = net.tower(n).stats();
        assert_eq!((stats.links_timed_out, stats.links_broken, stats.links_misbehaved), (0, 0, 0));
        assert_eq!(stats.stale_events, 0);
    }
}

#[test]
fn a_driver_that_does_not_close_is_told_once_more_and_urgently() {
    let mut raw = Raw::new(&quick());
    raw.never_closes = true;
    let link = raw.call_as(1);
    raw.leave(link);
    raw.run(seconds(60));
    let closes = raw.actions.iter().filter_map(|action| match action {
        Action::Close { how, .. } => Some(*how),
        _ => None,
    });
    assert_eq!(closes.collect::<Vec<_>>(), [CloseMode::Flush, CloseMode::Abort]);
    assert_eq!(raw.tower.links().count(), 1);
    assert_eq!(raw.tower.next_wakeup(), None);
    raw.tell(Event::Closed { link });
    assert_eq!(raw.tower.links().count(), 0);
}

#[test]
fn a_link_on_which_a_long_message_trickles_in_is_not_idle() {
    let mut raw = Raw::new(&quick());
    let link = raw.call_alive(1);
    let text = "x".repeat(60_000);
    let bytes = encode(&Frame::Message(message(5, &text)));
    for piece in bytes.chunks(1_000) {
        raw.run(seconds(2));
        raw.bytes(link, piece);
        assert_eq!(raw.close_reason(link), None);
    }
    assert_eq!(raw.texts().len(), 1);
}

#[test]
fn a_link_is_idle_in_time_though_its_hello_or_its_confirmation_might_have_taken_longer() {
    let mut config = quick();
    config.heartbeat = None;
    config.timeouts.idle = seconds(5);
    // One that does not say who it is, one that takes a message and then is silent.
    let mut raw = Raw::new(&config);
    let link = raw.call();
    raw.greet(link, None);
    assert_eq!(closed_after(&mut raw, link, seconds(5)), (CloseMode::Flush, CloseReason::Idle));
    let (mut raw, link, transfer) = Raw::handed(&config, "taken late");
    raw.run(seconds(20));
    raw.confirm(link, transfer);
    assert_eq!(closed_after(&mut raw, link, seconds(5)), (CloseMode::Flush, CloseReason::Idle));
}
