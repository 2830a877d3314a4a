//! Shutdown: the queue is handed to peers, nothing more is taken, and it all ends in bounded time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::time::Duration;

use clacks_proto::wire::{Farewell, Frame, Hello, RefusedReason};
use clacks_proto::{
    Action, CloseReason, DefaultVerdict, EnqueueError, Event, ExpandError, Instant, LinkId,
    Message, Notice, Refusal, Screening, Seed, SendRate, ShutdownProgress, StateMachine, Status,
    Tower, Verdict,
};
use common::harness::{Harness, SentFrame, hello};
use common::{LOCAL, address, fast_config, network, seconds};

fn shut_down(harness: &mut Harness) {
    harness.with(Tower::shutdown);
}

/// What the notices of a completed shutdown say.
fn left(reports: &[Notice]) -> Vec<usize> {
    let left = |report: &Notice| match report {
        Notice::ShutDown { left } => Some(*left),
        _ => None,
    };
    reports.iter().filter_map(left).collect()
}

fn is_done(harness: &Harness) -> bool {
    harness.tower.shutdown_progress() == ShutdownProgress::Done
}

#[test]
fn a_shutdown_hands_the_queue_to_alive_peers() {
    let mut network = network(3, &fast_config());
    network.announce(0, 1);
    network.announce(0, 2);
    for n in 0..50 {
        network.enqueue(0, &format!("message {n}"));
    }
    let before = network.now;
    network.with(0, Tower::shutdown);
    assert!(network.run_until(seconds(10), |network| {
        network.tower(0).shutdown_progress() == ShutdownProgress::Done
    }));
    assert!(network.now.duration_since(before) < seconds(1), "it does not wait for the ticks");
    let reports: Vec<_> = network.notices[0].iter().map(|(_, report)| report.clone()).collect();
    assert_eq!(left(&reports), [0]);
    assert_eq!(network.tower(0).links().count(), 0);
    network.advance(seconds(2));
    assert_eq!(
        network.tower(1).queue_usage().messages + network.tower(2).queue_usage().messages,
        50
    );
    assert!(network.tower(1).stats().received > 0 && network.tower(2).stats().received > 0);
}

#[test]
fn a_shutdown_waits_for_what_is_in_flight() {
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept_alive(1);
    harness.enqueue("last");
    shut_down(&mut harness);
    assert_eq!(harness.tower.shutdown_progress(), ShutdownProgress::Draining);
    let [(transfer, ..)] = harness.take_messages(link)[..] else { panic!("it goes at once") };
    harness.advance(seconds(5));
    assert_eq!(harness.tower.shutdown_progress(), ShutdownProgress::Draining);
    harness.confirm(link, transfer);
    assert!(is_done(&harness));
    assert_eq!(harness.take_frames(link), [SentFrame::Goodbye(Farewell::Leaving)]);
    assert_eq!(harness.close_reason(link), Some(CloseReason::Shutdown));
    assert_eq!(left(&harness.notices), [0]);
    assert_eq!(harness.status(1), Some(Status::Alive));
}

#[test]
fn messages_of_peers_are_refused_as_busy() {
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept_alive(1);
    harness.enqueue("keeps the tower up");
    shut_down(&mut harness);
    harness.take_frames(link);
    harness.send_message(link, 5, "new");
    harness.send_announce(link, 6);
    let busy = |transfer| SentFrame::Refused(transfer, RefusedReason::Busy);
    assert_eq!(harness.take_frames(link), [busy(5), busy(6)]);
    assert_eq!(harness.texts(), ["keeps the tower up"]);
    assert_eq!(harness.tower.stats().refused, 1);
}

#[test]
fn the_application_is_told_that_the_tower_shuts_down() {
    let mut harness = Harness::new(&fast_config());
    harness.expand(1);
    harness.enqueue("keeps the tower up");
    shut_down(&mut harness);
    let message = Message::text("too late");
    let refused = harness.with(|tower, now| tower.enqueue(message.clone(), now)).unwrap_err();
    assert_eq!((refused.message, refused.reason), (message, EnqueueError::ShuttingDown));
    let late = Err(ExpandError::ShuttingDown);
    assert_eq!(harness.with(|tower, now| tower.expand(&address(2), now)), late);
    assert_eq!(harness.with(|tower, now| tower.announce(&address(2), now)), late);
    assert_eq!(harness.tower.survey().count(), 1);
    assert_eq!(harness.tower.accept(LOCAL, harness.now), Err(Refusal::ShuttingDown));
    assert_eq!(harness.tower.stats().links_refused, 1);
}

#[test]
fn a_shutdown_takes_bounded_time_and_tells_what_is_left() {
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept_alive(1);
    harness.expand(2);
    harness.enqueue_many(40, "message");
    let before = harness.now;
    shut_down(&mut harness);
    // One confirms a little, the other hangs.
    let transfers = harness.take_messages(link);
    harness.confirm(link, transfers[9].0);
    harness.advance(seconds(9));
    assert!(!is_done(&harness));
    harness.advance(seconds(16));
    assert!(is_done(&harness), "ten seconds, and five for links to close");
    assert!(harness.now.duration_since(before) <= seconds(25));
    assert_eq!(left(&harness.notices), [30]);
    assert_eq!(harness.tower.links().count(), 0);
}

#[test]
fn a_late_answer_still_counts_while_links_part() {
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept_alive(1);
    harness.enqueue_many(3, "message");
    shut_down(&mut harness);
    let transfers = harness.take_messages(link);
    assert_eq!(transfers.len(), 3);
    harness.advance(seconds(12));
    assert_eq!(harness.take_frames(link), [SentFrame::Goodbye(Farewell::Leaving)]);
    assert_eq!(harness.close_reason(link), None, "it waits for answers");
    harness.confirm(link, transfers[1].0);
    // The other side's own goodbye: the third was not taken.
    harness.send_goodbye(link);
    assert!(is_done(&harness));
    assert_eq!(left(&harness.notices), [1]);
    assert_eq!((harness.tower.stats().delivered, harness.tower.stats().doubt_unresolved), (2, 0));
}

#[test]
fn two_towers_that_shut_down_at_once_both_come_to_an_end() {
    let mut network = network(2, &fast_config());
    network.latency = Duration::from_millis(10);
    network.announce(0, 1);
    for n in 0..10 {
        network.enqueue(n % 2, &format!("message {n}"));
    }
    network.advance(seconds(1));
    // Before either has heard of the other's.
    let now = network.now;
    for tower in network.towers.iter_mut().flatten() {
        tower.shutdown(now);
    }
    network.advance(seconds(30));
    let mut lost = 0;
    for n in 0..2 {
        assert_eq!(network.tower(n).shutdown_progress(), ShutdownProgress::Done);
        assert_eq!(network.tower(n).links().count(), 0);
        let reports: Vec<_> = network.notices[n].iter().map(|(_, report)| report.clone()).collect();
        let [left] = left(&reports)[..] else { panic!("one end") };
        assert_eq!(left, network.tower(n).queue_usage().messages);
        lost += left;
    }
    assert_eq!(lost, 10, "nobody takes anything any more, and nothing is frame to be gone");
}

#[test]
fn a_tower_without_peers_shuts_down_at_once() {
    for knows_an_ignored_one in [true, false] {
        let mut harness = Harness::new(&fast_config());
        if knows_an_ignored_one {
            harness.with(|tower, now| tower.ignore(&address(1), now)).unwrap();
        }
        harness.enqueue_many(3, "message");
        shut_down(&mut harness);
        assert!(is_done(&harness));
        assert_eq!(left(&harness.notices), [3]);
        assert_eq!(harness.now.as_nanos(), 0);
    }
}

#[test]
fn a_tower_with_nothing_to_hand_over_says_goodbye_at_once() {
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept_alive(1);
    let greeting = harness.accept();
    harness.with(|tower, now| tower.announce(&address(2), now)).unwrap();
    let (dialled, _) = harness.dialled[0];
    shut_down(&mut harness);
    assert!(is_done(&harness));
    assert_eq!(harness.take_frames(link), [SentFrame::Goodbye(Farewell::Leaving)]);
    for link in [link, greeting, dialled] {
        assert_eq!(harness.close_reason(link), Some(CloseReason::Shutdown));
    }
    assert_eq!(left(&harness.notices), [0]);
}

#[test]
fn nobody_is_tried_who_may_not_be_there_as_long_as_somebody_is() {
    let mut harness = Harness::new(&fast_config());
    harness.expand(2);
    let link = harness.accept_alive(1);
    harness.enqueue_many(20, "message");
    shut_down(&mut harness);
    assert!(harness.dialled.is_empty());
    assert_eq!(harness.take_messages(link).len(), 20);
    // Without any alive one, the others are better than nothing.
    let mut harness = Harness::new(&fast_config());
    harness.expand(2);
    harness.enqueue_many(2, "message");
    shut_down(&mut harness);
    let link = harness.connect_dial_with_hello();
    let [(first, ..)] = harness.take_messages(link)[..] else { panic!("one at a time") };
    harness.confirm(link, first);
    let [(second, ..)] = harness.take_messages(link)[..] else { panic!("the other") };
    harness.confirm(link, second);
    assert!(is_done(&harness));
    assert_eq!(left(&harness.notices), [0]);
}

#[test]
fn the_end_is_told_even_to_a_driver_that_let_notices_pile_up() {
    let mut config = fast_config();
    config.max_pending_notices = 16;
    let mut harness = Harness::new(&config);
    for _ in 0..20 {
        harness.tower.enqueue(Message::text("x"), harness.now).unwrap();
    }
    harness.tower.shutdown(harness.now);
    harness.drive();
    assert_eq!(left(&harness.notices), [20]);
    assert!(harness.notices.contains(&Notice::Missed { count: 4 }));
}

#[test]
fn a_shutdown_is_said_once() {
    let mut harness = Harness::new(&fast_config());
    harness.accept_alive(1);
    harness.enqueue("hangs");
    shut_down(&mut harness);
    harness.advance(seconds(9));
    shut_down(&mut harness);
    harness.advance(seconds(10));
    assert!(is_done(&harness), "saying it again puts nothing off");
    shut_down(&mut harness);
    harness.advance(seconds(100));
    assert_eq!(left(&harness.notices), [1]);
    assert_eq!(harness.tower.next_wakeup(), None, "a tower that is down never wakes up");
}

#[test]
fn a_shutdown_is_done_when_all_actions_are_polled() {
    let mut tower = Tower::new(fast_config(), address(0), &Seed::from_u64(1)).unwrap();
    let now = Instant::ORIGIN;
    tower.enqueue(Message::text("nobody is there"), now).unwrap();
    tower.shutdown(now);
    let mut notices = 0;
    loop {
        assert_eq!(tower.shutdown_progress(), ShutdownProgress::Draining);
        let Some(Action::Notify(notice)) = tower.poll_action() else { panic!("two notices") };
        notices += 1;
        if notice == (Notice::ShutDown { left: 1 }) {
            break;
        }
    }
    assert_eq!((notices, tower.shutdown_progress()), (2, ShutdownProgress::Done));
}

#[test]
fn a_message_that_nobody_can_take_does_not_keep_the_timer_busy() {
    for rate in [SendRate::Unlimited, SendRate::per_second(20)] {
        let mut config = fast_config();
        config.send_rate = rate;
        let mut harness = Harness::new(&config);
        let link = harness.accept();
        let narrow = Hello { max_message: 3, ..hello(Some(address(1))) };
        harness.send_frame(link, &Frame::Hello(narrow));
        harness.send_announce(link, 1);
        harness.enqueue("too long");
        harness.advance(seconds(1));
        harness.ignores_close = true;
        shut_down(&mut harness);
        harness.advance(seconds(30));
        assert_eq!(harness.tower.shutdown_progress(), ShutdownProgress::Draining);
        let closing: Vec<_> = harness.closed.keys().copied().collect();
        closing.into_iter().for_each(|link| harness.handle(Event::Closed { link }));
        assert!(is_done(&harness));
        assert_eq!(left(&harness.notices), [1]);
        assert_eq!(harness.tower.next_wakeup(), None);
    }
}

#[test]
fn what_is_under_screening_stays_with_its_sender() {
    let mut config = fast_config();
    let default = DefaultVerdict::Accept;
    config.screening = Screening::On { max_offers: 3, timeout: seconds(60), default };
    let mut harness = Harness::new(&config);
    let link = harness.accept_from(1);
    harness.send_message(link, 1, "undecided");
    harness.send_message(link, 2, "taken, and handed on");
    let (offer, _) = harness.offers[1];
    harness.with(|tower, now| tower.decide(offer, Verdict::Accept, now)).unwrap();
    harness.take_frames(link);
    shut_down(&mut harness);
    harness.advance(seconds(11));
    let sent = harness.take_frames(link);
    let answers: Vec<_> = sent
        .iter()
        .filter(|frame| !matches!(frame, SentFrame::Message { .. } | SentFrame::Goodbye(_)))
        .collect();
    assert_eq!(answers, [&SentFrame::Refused(1, RefusedReason::Busy), &SentFrame::Confirmed(2)]);
    assert_eq!(sent.last(), Some(&SentFrame::Goodbye(Farewell::Leaving)));
    harness.send_goodbye(link);
    assert!(is_done(&harness));
    assert_eq!(left(&harness.notices), [1], "the one that it took");
}

/// Runs a shutdown in which `link` refuses everything as busy, and returns how long it takes.
fn time_of_shutdown(harness: &mut Harness, link: LinkId) -> Duration {
    let began = harness.now;
    shut_down(harness);
    while !is_done(harness) {
        for (transfer, ..) in harness.take_messages(link) {
            harness.refuse(link, transfer, RefusedReason::Busy);
        }
        let Some(wakeup) = harness.tower.next_wakeup() else { panic!("the shutdown does not end") };
        harness.now = harness.now.max(wakeup.at);
        harness.handle(Event::TimerFired);
    }
    harness.now.duration_since(began)
}

#[test]
fn a_lost_peer_does_not_prolong_a_shutdown_in_which_alive_peers_are_full() {
    let mut config = fast_config();
    config.probe_backoff = Duration::from_millis(1);
    let mut harness = Harness::new(&config);
    let link = harness.accept_alive(1);
    harness.expand(2);
    harness.enqueue("x");
    assert!(harness.run_until_dial(seconds(2)));
    harness.refuse_dial();
    assert_eq!(harness.status(2), Some(Status::Lost));
    assert!(time_of_shutdown(&mut harness, link) < seconds(1));
}

#[test]
fn a_shutdown_does_not_wait_for_peers_that_its_messages_do_not_suit() {
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept();
    harness.send_frame(link, &Frame::Hello(Hello { max_message: 1, ..hello(Some(address(1))) }));
    harness.send_announce(link, 1_000);
    harness.enqueue("too long");
    assert!(time_of_shutdown(&mut harness, link) < seconds(1));
    assert_eq!(left(&harness.notices), [1]);
}

#[test]
fn any_back_off_is_taken_by_a_shutdown() {
    let mut config = fast_config();
    config.busy_backoff = Duration::MAX;
    let mut harness = Harness::new(&config);
    harness.enqueue("m");
    shut_down(&mut harness);
    assert!(is_done(&harness), "there is no peer");
}
