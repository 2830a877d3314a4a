//! Timeouts of links: when they start, and what happens when they expire.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::time::Duration;

use clacks_proto::wire::{Farewell, Frame, Hello};
use clacks_proto::{Action, CloseMode, CloseReason, Event, LinkId, StateMachine, Status, Window};
use common::harness::{Harness, SentFrame, encode, hello, message};
use common::{address, config_with_messages_on_dials, fast_config, network, seconds};

/// Checks that a link is open until `time` has passed, and that it is closed then. Returns the mode
/// and the reason.
fn closed_after(harness: &mut Harness, link: LinkId, time: Duration) -> (CloseMode, CloseReason) {
    harness.advance(time - Duration::from_nanos(1));
    assert_eq!(harness.close_reason(link), None, "the link is open until the timeout");
    harness.advance(Duration::from_nanos(1));
    harness.closed[&link]
}

#[test]
fn a_hanging_dial_is_aborted_after_the_connect_timeout() {
    let mut harness = Harness::new(&fast_config());
    harness.with(|tower, now| tower.announce(&address(1), now)).unwrap();
    let (link, _) = harness.dialled[0];
    let end = closed_after(&mut harness, link, seconds(10));
    assert_eq!(end, (CloseMode::Abort, CloseReason::ConnectTimeout));
    assert_eq!(harness.tower.stats().links_timed_out, 1);
    assert_eq!(harness.tower.stats().stale_events, 0);
}

#[test]
fn a_connected_event_for_a_closing_link_is_not_stale() {
    let mut harness = Harness::new(&fast_config());
    harness.ignores_close = true;
    harness.with(|tower, now| tower.announce(&address(1), now)).unwrap();
    let (link, _) = harness.dialled[0];
    assert!(harness.run_until_close(link, seconds(11)).is_some());
    harness.handle(Event::Connected { link, at: None });
    assert_eq!(harness.tower.stats().stale_events, 0);
    assert!(harness.take_frames(link).is_empty());
    harness.handle(Event::Closed { link });
    assert_eq!(harness.tower.links().count(), 0);
}

#[test]
fn the_handshake_timeout_starts_when_the_connection_is_established() {
    let mut harness = Harness::new(&fast_config());
    harness.with(|tower, now| tower.announce(&address(1), now)).unwrap();
    harness.advance(seconds(9));
    let link = harness.connect_dial();
    let end = closed_after(&mut harness, link, seconds(10));
    assert_eq!(end, (CloseMode::Abort, CloseReason::HandshakeTimeout));
    let link = harness.accept();
    harness.send_bytes(link, &encode(&Frame::Hello(hello(None)))[..7]);
    let end = closed_after(&mut harness, link, seconds(10));
    assert_eq!(end, (CloseMode::Abort, CloseReason::HandshakeTimeout));
    assert_eq!(harness.tower.stats().links_timed_out, 2);
}

#[test]
fn the_confirm_timeout_applies_to_the_oldest_unconfirmed_message() {
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept_alive(1);
    harness.enqueue("first");
    harness.advance(Duration::from_millis(50));
    let [(transfer, ..)] = harness.take_messages(link)[..] else { panic!("expected one message") };
    harness.advance(seconds(20));
    harness.enqueue("second");
    harness.advance(seconds(9));
    assert_eq!(harness.take_messages(link).len(), 1);
    // The first message is confirmed just in time. Now the second message is the oldest one.
    harness.confirm(link, transfer);
    assert_eq!(harness.run_until_close(link, seconds(19)), None);
    assert_eq!(harness.run_until_close(link, seconds(3)), Some(CloseReason::ConfirmTimeout));
    assert_eq!(harness.closed[&link].0, CloseMode::Abort);
    assert_eq!(harness.tower.stats().links_timed_out, 1);
    assert_eq!(harness.status(1), Some(Status::Lost));
}

#[test]
fn later_messages_do_not_delay_the_confirm_timeout() {
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept_alive(1);
    harness.enqueue("first");
    harness.advance(seconds(20));
    harness.enqueue("second");
    harness.advance(seconds(9));
    assert_eq!(harness.take_messages(link).len(), 2);
    assert_eq!(harness.run_until_close(link, seconds(2)), Some(CloseReason::ConfirmTimeout));
}

#[test]
fn the_confirm_timeout_starts_when_the_window_admits_the_transfer() {
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept();
    let window = Window { messages: 1, bytes: 1_000 };
    harness.send_frame(link, &Frame::Hello(Hello { window, ..hello(Some(address(1))) }));
    harness.send_announce(link, 1_000);
    harness.enqueue("first");
    harness.advance(Duration::from_millis(50));
    let [(transfer, ..)] = harness.take_messages(link)[..] else { panic!("expected one message") };
    harness.advance(seconds(5));
    harness.with(|tower, now| tower.announce(&address(1), now)).unwrap();
    harness.advance(seconds(24));
    // The link transmits nothing, so the announce is not sent although the window admits it.
    harness.blocked.insert(link);
    harness.confirm(link, transfer);
    assert_eq!(closed_after(&mut harness, link, seconds(30)).1, CloseReason::ConfirmTimeout);
}

#[test]
fn an_announce_that_times_out_makes_its_peer_lost() {
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept_alive(1);
    harness.with(|tower, now| tower.announce(&address(1), now)).unwrap();
    let end = closed_after(&mut harness, link, seconds(30));
    assert_eq!(end, (CloseMode::Abort, CloseReason::ConfirmTimeout));
    assert_eq!(harness.status(1), Some(Status::Lost));
    assert!(harness.dialled.is_empty(), "no message is in doubt");
}

#[test]
fn a_connection_that_takes_no_bytes_is_closed_after_the_confirm_timeout() {
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept_alive(1);
    harness.blocked.insert(link);
    harness.enqueue("stuck");
    assert_eq!(harness.run_until_close(link, seconds(29)), None);
    assert_eq!(harness.run_until_close(link, seconds(2)), Some(CloseReason::ConfirmTimeout));
    assert_eq!(harness.status(1), Some(Status::Lost));
    assert_eq!(harness.tower.stats().in_doubt, 0, "nothing was sent");
}

#[test]
fn an_idle_link_is_closed_with_a_goodbye_and_the_peer_stays_alive() {
    let mut harness = Harness::new(&config_with_messages_on_dials());
    let link = harness.accept_from(1);
    harness.advance(seconds(59));
    // Transfers in either direction restart the idle timeout.
    harness.send_announce(link, 1);
    harness.advance(seconds(59));
    harness.enqueue("x");
    harness.advance(seconds(1));
    let [.., SentFrame::Message { transfer, .. }] = harness.take_frames(link)[..] else {
        panic!("expected a message")
    };
    harness.confirm(link, transfer);
    let end = closed_after(&mut harness, link, seconds(60));
    assert_eq!(end, (CloseMode::Flush, CloseReason::Idle));
    assert_eq!(harness.take_frames(link), [SentFrame::Goodbye(Farewell::Idle)]);
    assert_eq!(harness.status(1), Some(Status::Alive));
    let stats = harness.tower.stats();
    assert_eq!((stats.links_timed_out, stats.links_broken, stats.links_misbehaved), (0, 0, 0));
}

#[test]
fn closing_an_idle_link_is_no_failure_at_either_end() {
    let mut network = network(2, &fast_config());
    network.announce(0, 1);
    assert_eq!((network.tower(0).links().count(), network.tower(1).links().count()), (1, 1));
    network.advance(seconds(70));
    for (n, other) in [(0, 1), (1, 0)] {
        assert_eq!(network.tower(n).links().count(), 0);
        assert_eq!(network.status(n, other), Some(Status::Alive));
        let stats = network.tower(n).stats();
        assert_eq!((stats.links_timed_out, stats.links_broken, stats.links_misbehaved), (0, 0, 0));
        assert_eq!(stats.stale_events, 0);
    }
}

#[test]
fn an_unanswered_close_is_repeated_once_as_an_abort() {
    let mut harness = Harness::new(&config_with_messages_on_dials());
    harness.ignores_close = true;
    let link = harness.accept_from(1);
    harness.send_goodbye(link);
    harness.advance(seconds(60));
    let closes = harness.actions.iter().filter_map(|action| match action {
        Action::Close { how, .. } => Some(*how),
        _ => None,
    });
    assert_eq!(closes.collect::<Vec<_>>(), [CloseMode::Flush, CloseMode::Abort]);
    assert_eq!(harness.tower.links().count(), 1);
    assert_eq!(harness.tower.next_wakeup(), None);
    harness.handle(Event::Closed { link });
    assert_eq!(harness.tower.links().count(), 0);
}

#[test]
fn a_link_that_receives_a_message_in_small_pieces_is_not_idle() {
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept_alive(1);
    let text = "x".repeat(60_000);
    let bytes = encode(&Frame::Message(message(2, &text)));
    for piece in bytes.chunks(1_000) {
        harness.advance(seconds(2));
        harness.send_bytes(link, piece);
        assert_eq!(harness.close_reason(link), None);
    }
    assert_eq!(harness.texts().len(), 1);
}

#[test]
fn the_idle_timeout_applies_even_if_it_is_shorter_than_the_other_timeouts() {
    let mut config = fast_config();
    config.heartbeat = None;
    config.timeouts.idle = seconds(5);
    // The first link never carries a transfer. On the second link a message is confirmed after 20
    // seconds.
    let mut harness = Harness::new(&config);
    let link = harness.accept();
    harness.send_hello(link, None);
    assert_eq!(closed_after(&mut harness, link, seconds(5)), (CloseMode::Flush, CloseReason::Idle));
    let (mut harness, link, transfer) =
        Harness::with_unconfirmed_message(&config, "confirmed late");
    harness.advance(seconds(20));
    harness.confirm(link, transfer);
    assert_eq!(closed_after(&mut harness, link, seconds(5)), (CloseMode::Flush, CloseReason::Idle));
}
