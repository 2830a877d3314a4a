//! Shutdown: the tower sends its queue to peers, accepts nothing new, and ends within its timeouts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::time::Duration;

use clacks_proto::wire::{Farewell, Frame, Hello, RefusedReason};
use clacks_proto::{
    Action, CloseMode, CloseReason, DefaultVerdict, EnqueueError, Event, ExpandError, HandOverEnd,
    Instant, IoCause, LinkId, Message, Notice, Odds, Refusal, Screening, Seed, SendRate,
    ShutdownProgress, StateMachine, Status, Tower, Verdict,
};
use common::harness::{Harness, SentFrame, hello};
use common::{LOCAL, address, fast_config, network, seconds};

fn shut_down(harness: &mut Harness) {
    harness.with(Tower::shutdown);
}

/// Returns the number of messages left, from each notice of a completed shutdown.
fn left_counts(notices: &[Notice]) -> Vec<usize> {
    let left = |notice: &Notice| match notice {
        Notice::ShutDown { left } => Some(*left),
        _ => None,
    };
    notices.iter().filter_map(left).collect()
}

fn is_done(harness: &Harness) -> bool {
    harness.tower.shutdown_progress() == ShutdownProgress::Done
}

#[test]
fn a_shutdown_sends_the_queue_to_alive_peers() {
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
    assert!(network.now.duration_since(before) < seconds(1), "a shutdown does not wait for ticks");
    let notices: Vec<_> = network.notices[0].iter().map(|(_, notice)| notice.clone()).collect();
    assert_eq!(left_counts(&notices), [0]);
    assert_eq!(network.tower(0).links().count(), 0);
    network.advance(seconds(2));
    assert_eq!(
        network.tower(1).queue_usage().messages + network.tower(2).queue_usage().messages,
        50
    );
    assert!(network.tower(1).stats().received > 0 && network.tower(2).stats().received > 0);
}

#[test]
fn a_shutdown_waits_for_messages_in_flight() {
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept_alive(1);
    harness.enqueue("last");
    shut_down(&mut harness);
    assert_eq!(harness.tower.shutdown_progress(), ShutdownProgress::Draining);
    let [(transfer, ..)] = harness.take_messages(link)[..] else { panic!("expected one message") };
    harness.advance(seconds(5));
    assert_eq!(harness.tower.shutdown_progress(), ShutdownProgress::Draining);
    harness.confirm(link, transfer);
    assert!(is_done(&harness));
    assert_eq!(harness.take_frames(link), [SentFrame::Goodbye(Farewell::Leaving)]);
    assert_eq!(harness.close_reason(link), Some(CloseReason::Shutdown));
    assert_eq!(left_counts(&harness.notices), [0]);
    assert_eq!(harness.status(1), Some(Status::Alive));
}

#[test]
fn messages_and_announces_of_peers_are_refused_as_busy() {
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept_alive(1);
    harness.enqueue("delays the shutdown");
    shut_down(&mut harness);
    harness.take_frames(link);
    harness.send_message(link, 5, "new");
    harness.send_announce(link, 6);
    let busy = |transfer| SentFrame::Refused(transfer, RefusedReason::Busy);
    assert_eq!(harness.take_frames(link), [busy(5), busy(6)]);
    assert_eq!(harness.texts(), ["delays the shutdown"]);
    assert_eq!(harness.tower.stats().refused, 1);
}

#[test]
fn calls_that_add_work_fail_during_a_shutdown() {
    let mut harness = Harness::new(&fast_config());
    harness.expand(1);
    harness.enqueue("delays the shutdown");
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
fn a_shutdown_ends_after_its_timeouts_and_reports_the_messages_left() {
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept_alive(1);
    harness.expand(2);
    harness.enqueue_many(40, "message");
    let before = harness.now;
    shut_down(&mut harness);
    // The alive peer confirms ten messages and then hangs.
    let transfers = harness.take_messages(link);
    harness.confirm(link, transfers[9].0);
    harness.advance(seconds(9));
    assert!(!is_done(&harness));
    harness.advance(seconds(1));
    assert!(is_done(&harness), "the shutdown ends after the timeout `shutdown`");
    assert_eq!(harness.now.duration_since(before), seconds(10));
    assert_eq!(left_counts(&harness.notices), [30]);
    assert_eq!(harness.tower.links().count(), 0);
}

#[test]
fn a_confirmation_after_the_goodbye_of_the_tower_counts() {
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept_alive(1);
    harness.enqueue_many(3, "message");
    shut_down(&mut harness);
    let transfers = harness.take_messages(link);
    assert_eq!(transfers.len(), 3);
    harness.advance(seconds(7));
    assert_eq!(harness.take_frames(link), [SentFrame::Goodbye(Farewell::Leaving)]);
    assert_eq!(harness.close_reason(link), None, "the link stays open for answers");
    harness.confirm(link, transfers[1].0);
    // The goodbye of the peer shows that it has not accepted the third message.
    harness.send_goodbye(link);
    assert!(is_done(&harness));
    assert_eq!(left_counts(&harness.notices), [1]);
    assert_eq!((harness.tower.stats().delivered, harness.tower.stats().doubt_unresolved), (2, 0));
}

#[test]
fn two_towers_can_shut_down_at_the_same_time() {
    let mut network = network(2, &fast_config());
    network.latency = Duration::from_millis(10);
    network.announce(0, 1);
    for n in 0..10 {
        network.enqueue(n % 2, &format!("message {n}"));
    }
    network.advance(seconds(1));
    // Both towers start before either has heard of the other's shutdown.
    let now = network.now;
    for tower in network.towers.iter_mut().flatten() {
        tower.shutdown(now);
    }
    network.advance(seconds(30));
    let mut total = 0;
    for n in 0..2 {
        assert_eq!(network.tower(n).shutdown_progress(), ShutdownProgress::Done);
        assert_eq!(network.tower(n).links().count(), 0);
        let notices: Vec<_> = network.notices[n].iter().map(|(_, notice)| notice.clone()).collect();
        let [left] = left_counts(&notices)[..] else { panic!("expected one notice") };
        assert_eq!(left, network.tower(n).queue_usage().messages);
        total += left;
    }
    assert_eq!(total, 10, "each message is reported as left by one tower");
}

#[test]
fn a_tower_without_usable_peers_shuts_down_at_once() {
    for has_ignored_peer in [true, false] {
        let mut harness = Harness::new(&fast_config());
        if has_ignored_peer {
            harness.with(|tower, now| tower.ignore(&address(1), now)).unwrap();
        }
        harness.enqueue_many(3, "message");
        shut_down(&mut harness);
        assert!(is_done(&harness));
        assert_eq!(left_counts(&harness.notices), [3]);
        assert_eq!(harness.now.as_nanos(), 0);
    }
}

#[test]
fn a_tower_with_an_empty_queue_shuts_down_at_once() {
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept_alive(1);
    let half_open = harness.accept();
    harness.with(|tower, now| tower.announce(&address(2), now)).unwrap();
    let (dialled, _) = harness.dialled[0];
    shut_down(&mut harness);
    assert!(is_done(&harness));
    assert_eq!(harness.take_frames(link), [SentFrame::Goodbye(Farewell::Leaving)]);
    for link in [link, half_open, dialled] {
        assert_eq!(harness.close_reason(link), Some(CloseReason::Shutdown));
    }
    assert_eq!(left_counts(&harness.notices), [0]);
}

#[test]
fn a_shutdown_tries_peers_that_are_not_alive_only_if_none_is_alive() {
    let mut harness = Harness::new(&fast_config());
    harness.expand(2);
    let link = harness.accept_alive(1);
    harness.enqueue_many(20, "message");
    shut_down(&mut harness);
    assert!(harness.dialled.is_empty());
    assert_eq!(harness.take_messages(link).len(), 20);
    // No peer is alive, so the new one is tried.
    let mut harness = Harness::new(&fast_config());
    harness.expand(2);
    harness.enqueue_many(2, "message");
    shut_down(&mut harness);
    let link = harness.connect_dial_with_hello();
    let [(first, ..)] = harness.take_messages(link)[..] else { panic!("expected one message") };
    harness.confirm(link, first);
    let [(second, ..)] = harness.take_messages(link)[..] else { panic!("expected one message") };
    harness.confirm(link, second);
    assert!(is_done(&harness));
    assert_eq!(left_counts(&harness.notices), [0]);
}

#[test]
fn the_shutdown_notice_is_reported_even_if_notices_were_dropped() {
    let mut config = fast_config();
    config.max_pending_notices = 16;
    let mut harness = Harness::new(&config);
    for _ in 0..20 {
        harness.tower.enqueue(Message::text("x"), harness.now).unwrap();
    }
    harness.tower.shutdown(harness.now);
    harness.drive();
    assert_eq!(left_counts(&harness.notices), [20]);
    assert!(harness.notices.contains(&Notice::Missed { count: 5 }));
}

#[test]
fn a_repeated_shutdown_call_changes_nothing() {
    let mut harness = Harness::new(&fast_config());
    harness.accept_alive(1);
    harness.enqueue("hangs");
    shut_down(&mut harness);
    harness.advance(seconds(9));
    shut_down(&mut harness);
    harness.advance(seconds(10));
    assert!(is_done(&harness), "the second call does not restart the timeouts");
    shut_down(&mut harness);
    harness.advance(seconds(100));
    assert_eq!(left_counts(&harness.notices), [1]);
    assert_eq!(harness.tower.next_wakeup(), None, "a tower has no deadline after its shutdown");
}

#[test]
fn a_shutdown_is_done_when_all_actions_are_polled() {
    let mut tower = Tower::new(fast_config(), address(0), &Seed::from_u64(1)).unwrap();
    let now = Instant::ORIGIN;
    tower.enqueue(Message::text("no peer"), now).unwrap();
    tower.shutdown(now);
    let mut notices = 0;
    loop {
        assert_eq!(tower.shutdown_progress(), ShutdownProgress::Draining);
        let Some(Action::Notify(notice)) = tower.poll_action() else { panic!("expected a notice") };
        notices += 1;
        if notice == (Notice::ShutDown { left: 1 }) {
            break;
        }
    }
    assert_eq!((notices, tower.shutdown_progress()), (3, ShutdownProgress::Done));
}

#[test]
fn a_message_that_suits_no_peer_does_not_spin_the_timer() {
    for rate in [SendRate::Unlimited, SendRate::per_second(20)] {
        let mut config = fast_config();
        config.send_rate = rate;
        let mut harness = Harness::new(&config);
        let link = harness.accept();
        let short_messages_only = Hello { max_message: 3, ..hello(Some(address(1))) };
        harness.send_frame(link, &Frame::Hello(short_messages_only));
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
        assert_eq!(left_counts(&harness.notices), [1]);
        assert_eq!(harness.tower.next_wakeup(), None);
    }
}

#[test]
fn messages_under_screening_are_refused_as_busy() {
    let mut config = fast_config();
    let default = DefaultVerdict::Accept;
    config.screening = Screening::On { max_offers: 3, timeout: seconds(60), default };
    let mut harness = Harness::new(&config);
    let link = harness.accept_from(1);
    harness.send_message(link, 1, "undecided");
    harness.send_message(link, 2, "accepted");
    let (offer, _) = harness.offers[1];
    harness.with(|tower, now| tower.decide(offer, Verdict::ACCEPT, now)).unwrap();
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
    assert_eq!(left_counts(&harness.notices), [1], "the accepted message is left");
}

/// Shuts the tower down while the peer refuses every message as busy. Returns how long the shutdown
/// takes.
fn shutdown_duration(harness: &mut Harness, link: LinkId) -> Duration {
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
fn a_lost_peer_does_not_delay_a_shutdown_if_all_alive_peers_are_full() {
    let mut config = fast_config();
    config.probe_backoff = Duration::from_millis(1);
    let mut harness = Harness::new(&config);
    let link = harness.accept_alive(1);
    harness.expand(2);
    harness.enqueue("x");
    assert!(harness.run_until_dial(seconds(2)));
    harness.refuse_dial();
    assert_eq!(harness.status(2), Some(Status::Lost));
    assert!(shutdown_duration(&mut harness, link) < seconds(1));
}

#[test]
fn a_shutdown_does_not_wait_for_a_peer_that_no_message_suits() {
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept();
    harness.send_frame(link, &Frame::Hello(Hello { max_message: 1, ..hello(Some(address(1))) }));
    harness.send_announce(link, 1_000);
    harness.enqueue("too long");
    assert!(shutdown_duration(&mut harness, link) < seconds(1));
    assert_eq!(left_counts(&harness.notices), [1]);
}

#[test]
fn the_longest_busy_back_off_does_not_overflow_in_a_shutdown() {
    let mut config = fast_config();
    config.busy_backoff = Duration::MAX;
    let mut harness = Harness::new(&config);
    harness.enqueue("m");
    shut_down(&mut harness);
    assert!(is_done(&harness), "there is no peer");
}

#[test]
fn a_shutdown_waits_for_a_peer_that_has_not_confirmed_an_announce() {
    let mut harness = Harness::new(&fast_config());
    harness.with(|tower, now| tower.announce(&address(1), now)).unwrap();
    let link = harness.connect_dial_with_hello();
    let [SentFrame::Hello { .. }, SentFrame::Announce { transfer, .. }] =
        harness.take_frames(link)[..]
    else {
        panic!("an announce");
    };
    harness.enqueue("for the first peer that is alive");
    shut_down(&mut harness);
    assert_eq!(harness.tower.shutdown_progress(), ShutdownProgress::Draining);
    harness.confirm(link, transfer);
    let [(transfer, ..)] = harness.take_messages(link)[..] else { panic!("one message") };
    harness.confirm(link, transfer);
    assert!(is_done(&harness));
    assert_eq!(left_counts(&harness.notices), [0]);
}

#[test]
fn a_shutdown_tries_again_when_this_machine_lacked_a_resource() {
    let mut harness = Harness::new(&fast_config());
    harness.expand(1);
    harness.enqueue("message");
    assert!(harness.run_until_dial(seconds(5)));
    let (link, _) = harness.dialled.pop_front().unwrap();
    shut_down(&mut harness);
    harness.handle(Event::ConnectFailed { link, cause: IoCause::Exhausted });
    assert_eq!(harness.tower.shutdown_progress(), ShutdownProgress::Draining);
    assert!(harness.run_until_dial(fast_config().probe_backoff));
}

#[test]
fn a_shutdown_does_not_wait_for_peers_that_the_odds_never_draw() {
    let mut config = fast_config();
    config.odds = Odds { alive: 1, lost: 0, dead: 0 };
    let mut harness = Harness::new(&config);
    harness.expand(1);
    harness.enqueue("message");
    assert!(harness.run_until_dial(seconds(5)));
    harness.refuse_dial();
    harness.advance(seconds(3));
    assert_eq!(harness.status(1), Some(Status::Lost));
    shut_down(&mut harness);
    assert!(is_done(&harness));
}

#[test]
fn a_shutdown_within_a_limit_is_done_at_the_limit() {
    for limit in [Duration::ZERO, Duration::from_millis(1), seconds(1), seconds(7), seconds(60)] {
        let mut harness = Harness::new(&fast_config());
        let silent = harness.accept_alive(1);
        harness.accept_alive(2);
        harness.enqueue_many(3, "message");
        harness.advance(seconds(4));
        harness.take_frames(silent);
        let before = harness.now;
        harness.with(|tower, now| tower.shutdown_within(limit, now));
        while !is_done(&harness) {
            harness.advance(Duration::from_millis(1).max(limit / 100));
            assert!(harness.now.duration_since(before) <= limit + limit / 50, "limit {limit:?}");
        }
        assert_eq!(harness.tower.links().count(), 0);
    }
}

#[test]
fn a_shorter_limit_brings_the_end_of_a_shutdown_forward() {
    let mut harness = Harness::new(&fast_config());
    harness.accept_alive(1);
    harness.enqueue("message");
    shut_down(&mut harness);
    harness.advance(seconds(6));
    assert!(!is_done(&harness), "links are being closed");
    harness.with(|tower, now| tower.shutdown_within(seconds(60), now));
    harness.advance(seconds(1));
    assert!(!is_done(&harness), "a longer limit changes nothing");
    harness.with(|tower, now| tower.shutdown_within(Duration::ZERO, now));
    assert!(is_done(&harness));
}

#[test]
fn an_idle_link_whose_other_side_does_not_close_it_does_not_hold_up_a_shutdown() {
    let mut harness = Harness::new(&fast_config());
    let (idle, closing) = (harness.accept_alive(1), harness.accept_alive(2));
    harness.ignores_close = true;
    // This link waits for its driver since before the shutdown.
    harness.send_goodbye(closing);
    let begun = harness.now;
    shut_down(&mut harness);
    let is_abort = |action: &&Action| matches!(action, Action::Close { how: CloseMode::Abort, .. });
    let aborts = |harness: &Harness| harness.actions.iter().filter(is_abort).count();
    while aborts(&harness) < 2 {
        assert!(harness.now.duration_since(begun) < seconds(1), "{:?}", harness.actions);
        harness.advance(Duration::from_millis(50));
    }
    harness.handle(Event::Closed { link: idle });
    harness.handle(Event::Closed { link: closing });
    assert!(is_done(&harness));
}

/// Returns why handing over ended, and how many messages were left then, from each such notice.
fn ends(harness: &Harness) -> Vec<(usize, HandOverEnd)> {
    let end = |notice: &Notice| match notice {
        Notice::HandOverEnded { left, reason } => Some((*left, *reason)),
        _ => None,
    };
    harness.notices.iter().filter_map(end).collect()
}

#[test]
fn a_shutdown_says_why_it_hands_over_no_more() {
    // There is no peer.
    let mut harness = Harness::new(&fast_config());
    harness.enqueue_many(3, "message");
    shut_down(&mut harness);
    assert!(is_done(&harness), "it ends at once");
    assert_eq!(ends(&harness), [(3, HandOverEnd::NoRecipient)]);
    // The only peer is lost.
    let mut harness = Harness::new(&fast_config());
    harness.with(|tower, now| tower.announce(&address(1), now)).unwrap();
    harness.refuse_dial();
    harness.enqueue("message");
    shut_down(&mut harness);
    assert!(is_done(&harness), "it ends at once");
    assert_eq!(ends(&harness), [(1, HandOverEnd::NoRecipient)]);
    // The only peer does not answer.
    let mut harness = Harness::new(&fast_config());
    harness.accept_alive(1);
    harness.enqueue("message");
    shut_down(&mut harness);
    harness.advance(seconds(11));
    assert!(is_done(&harness));
    assert_eq!(ends(&harness), [(1, HandOverEnd::TimeOut)]);
    // Nothing is left.
    let mut harness = Harness::new(&fast_config());
    harness.accept_alive(1);
    shut_down(&mut harness);
    assert_eq!(ends(&harness), []);
}
