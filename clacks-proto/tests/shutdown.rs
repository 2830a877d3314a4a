//! Shutdown: the queue is handed to peers, nothing more is taken, and it all ends in bounded time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::time::Duration;

use clacks_proto::wire::{Farewell, Frame, Hello, RefusedReason};
use clacks_proto::{
    Action, CloseReason, DefaultVerdict, EnqueueError, Event, ExpandError, Instant, IoCause,
    LinkId, Message, Notice, Odds, Refusal, Screening, Seed, SendRate, ShutdownProgress,
    StateMachine, Status, Tower, Verdict,
};
use common::raw::{Raw, Said, hello};
use common::{LOCAL, address, net, quick, seconds};

fn shut_down(raw: &mut Raw) {
    raw.with(Tower::shutdown);
}

/// What the notices of a completed shutdown say.
fn left(reports: &[Notice]) -> Vec<usize> {
    let left = |report: &Notice| match report {
        Notice::ShutDown { left } => Some(*left),
        _ => None,
    };
    reports.iter().filter_map(left).collect()
}

fn is_done(raw: &Raw) -> bool {
    raw.tower.shutdown_progress() == ShutdownProgress::Done
}

#[test]
fn a_shutdown_hands_the_queue_to_alive_peers() {
    let mut net = net(3, &quick());
    net.announce(0, 1);
    net.announce(0, 2);
    for n in 0..50 {
        net.enqueue(0, &format!("message {n}"));
    }
    let before = net.now;
    net.with(0, Tower::shutdown);
    assert!(net.run_until(seconds(10), |net| {
        net.tower(0).shutdown_progress() == ShutdownProgress::Done
    }));
    assert!(net.now.duration_since(before) < seconds(1), "it does not wait for the ticks");
    let reports: Vec<_> = net.notices[0].iter().map(|(_, report)| report.clone()).collect();
    assert_eq!(left(&reports), [0]);
    assert_eq!(net.tower(0).links().count(), 0);
    net.run(seconds(2));
    assert_eq!(net.tower(1).queue_usage().messages + net.tower(2).queue_usage().messages, 50);
    assert!(net.tower(1).stats().received > 0 && net.tower(2).stats().received > 0);
}

#[test]
fn a_shutdown_waits_for_what_is_in_flight() {
    let mut raw = Raw::new(&quick());
    let link = raw.call_alive(1);
    raw.enqueue("last");
    shut_down(&mut raw);
    assert_eq!(raw.tower.shutdown_progress(), ShutdownProgress::Draining);
    let [(transfer, ..)] = raw.heard_messages(link)[..] else { panic!("it goes at once") };
    raw.run(seconds(5));
    assert_eq!(raw.tower.shutdown_progress(), ShutdownProgress::Draining);
    raw.confirm(link, transfer);
    assert!(is_done(&raw));
    assert_eq!(raw.heard(link), [Said::Goodbye(Farewell::Leaving)]);
    assert_eq!(raw.close_reason(link), Some(CloseReason::Shutdown));
    assert_eq!(left(&raw.notices), [0]);
    assert_eq!(raw.status(1), Some(Status::Alive));
}

#[test]
fn messages_of_peers_are_refused_as_busy() {
    let mut raw = Raw::new(&quick());
    let link = raw.call_alive(1);
    raw.enqueue("keeps the tower up");
    shut_down(&mut raw);
    raw.heard(link);
    raw.hand(link, 5, "new");
    raw.announce(link, 6);
    let busy = |transfer| Said::Refused(transfer, RefusedReason::Busy);
    assert_eq!(raw.heard(link), [busy(5), busy(6)]);
    assert_eq!(raw.texts(), ["keeps the tower up"]);
    assert_eq!(raw.tower.stats().refused, 1);
}

#[test]
fn the_application_is_told_that_the_tower_shuts_down() {
    let mut raw = Raw::new(&quick());
    raw.expand(1);
    raw.enqueue("keeps the tower up");
    shut_down(&mut raw);
    let message = Message::text("too late");
    let refused = raw.with(|tower, now| tower.enqueue(message.clone(), now)).unwrap_err();
    assert_eq!((refused.message, refused.reason), (message, EnqueueError::ShuttingDown));
    let late = Err(ExpandError::ShuttingDown);
    assert_eq!(raw.with(|tower, now| tower.expand(&address(2), now)), late);
    assert_eq!(raw.with(|tower, now| tower.announce(&address(2), now)), late);
    assert_eq!(raw.tower.survey().count(), 1);
    assert_eq!(raw.tower.accept(LOCAL, raw.now), Err(Refusal::ShuttingDown));
    assert_eq!(raw.tower.stats().links_refused, 1);
}

#[test]
fn a_shutdown_takes_bounded_time_and_tells_what_is_left() {
    let mut raw = Raw::new(&quick());
    let link = raw.call_alive(1);
    raw.expand(2);
    raw.enqueue_many(40, "message");
    let before = raw.now;
    shut_down(&mut raw);
    // One confirms a little, the other hangs.
    let transfers = raw.heard_messages(link);
    raw.confirm(link, transfers[9].0);
    raw.run(seconds(9));
    assert!(!is_done(&raw));
    raw.run(seconds(1));
    assert!(is_done(&raw), "ten seconds in all");
    assert_eq!(raw.now.duration_since(before), seconds(10));
    assert_eq!(left(&raw.notices), [30]);
    assert_eq!(raw.tower.links().count(), 0);
}

#[test]
fn a_late_answer_still_counts_while_links_part() {
    let mut raw = Raw::new(&quick());
    let link = raw.call_alive(1);
    raw.enqueue_many(3, "message");
    shut_down(&mut raw);
    let transfers = raw.heard_messages(link);
    assert_eq!(transfers.len(), 3);
    raw.run(seconds(7));
    assert_eq!(raw.heard(link), [Said::Goodbye(Farewell::Leaving)]);
    assert_eq!(raw.close_reason(link), None, "it waits for answers");
    raw.confirm(link, transfers[1].0);
    // The other side's own goodbye: the third was not taken.
    raw.leave(link);
    assert!(is_done(&raw));
    assert_eq!(left(&raw.notices), [1]);
    assert_eq!((raw.tower.stats().delivered, raw.tower.stats().doubt_unresolved), (2, 0));
}

#[test]
fn two_towers_that_shut_down_at_once_both_come_to_an_end() {
    let mut net = net(2, &quick());
    net.latency = Duration::from_millis(10);
    net.announce(0, 1);
    for n in 0..10 {
        net.enqueue(n % 2, &format!("message {n}"));
    }
    net.run(seconds(1));
    // Before either has heard of the other's.
    let now = net.now;
    for tower in net.towers.iter_mut().flatten() {
        tower.shutdown(now);
    }
    net.run(seconds(30));
    let mut lost = 0;
    for n in 0..2 {
        assert_eq!(net.tower(n).shutdown_progress(), ShutdownProgress::Done);
        assert_eq!(net.tower(n).links().count(), 0);
        let reports: Vec<_> = net.notices[n].iter().map(|(_, report)| report.clone()).collect();
        let [left] = left(&reports)[..] else { panic!("one end") };
        assert_eq!(left, net.tower(n).queue_usage().messages);
        lost += left;
    }
    assert_eq!(lost, 10, "nobody takes anything any more, and nothing is said to be gone");
}

#[test]
fn a_tower_without_peers_shuts_down_at_once() {
    for knows_an_ignored_one in [true, false] {
        let mut raw = Raw::new(&quick());
        if knows_an_ignored_one {
            raw.with(|tower, now| tower.ignore(&address(1), now)).unwrap();
        }
        raw.enqueue_many(3, "message");
        shut_down(&mut raw);
        assert!(is_done(&raw));
        assert_eq!(left(&raw.notices), [3]);
        assert_eq!(raw.now.as_nanos(), 0);
    }
}

#[test]
fn a_tower_with_nothing_to_hand_over_says_goodbye_at_once() {
    let mut raw = Raw::new(&quick());
    let link = raw.call_alive(1);
    let greeting = raw.call();
    raw.with(|tower, now| tower.announce(&address(2), now)).unwrap();
    let (dialled, _) = raw.dialled[0];
    shut_down(&mut raw);
    assert!(is_done(&raw));
    assert_eq!(raw.heard(link), [Said::Goodbye(Farewell::Leaving)]);
    for link in [link, greeting, dialled] {
        assert_eq!(raw.close_reason(link), Some(CloseReason::Shutdown));
    }
    assert_eq!(left(&raw.notices), [0]);
}

#[test]
fn nobody_is_tried_who_may_not_be_there_as_long_as_somebody_is() {
    let mut raw = Raw::new(&quick());
    raw.expand(2);
    let link = raw.call_alive(1);
    raw.enqueue_many(20, "message");
    shut_down(&mut raw);
    assert!(raw.dialled.is_empty());
    assert_eq!(raw.heard_messages(link).len(), 20);
    // Without any alive one, the others are better than nothing.
    let mut raw = Raw::new(&quick());
    raw.expand(2);
    raw.enqueue_many(2, "message");
    shut_down(&mut raw);
    let link = raw.answer();
    let [(first, ..)] = raw.heard_messages(link)[..] else { panic!("one at a time") };
    raw.confirm(link, first);
    let [(second, ..)] = raw.heard_messages(link)[..] else { panic!("the other") };
    raw.confirm(link, second);
    assert!(is_done(&raw));
    assert_eq!(left(&raw.notices), [0]);
}

#[test]
fn the_end_is_told_even_to_a_driver_that_let_notices_pile_up() {
    let mut config = quick();
    config.max_pending_notices = 16;
    let mut raw = Raw::new(&config);
    for _ in 0..20 {
        raw.tower.enqueue(Message::text("x"), raw.now).unwrap();
    }
    raw.tower.shutdown(raw.now);
    raw.settle();
    assert_eq!(left(&raw.notices), [20]);
    assert!(raw.notices.contains(&Notice::Missed { count: 4 }));
}

#[test]
fn a_shutdown_is_said_once() {
    let mut raw = Raw::new(&quick());
    raw.call_alive(1);
    raw.enqueue("hangs");
    shut_down(&mut raw);
    raw.run(seconds(9));
    shut_down(&mut raw);
    raw.run(seconds(10));
    assert!(is_done(&raw), "saying it again puts nothing off");
    shut_down(&mut raw);
    raw.run(seconds(100));
    assert_eq!(left(&raw.notices), [1]);
    assert_eq!(raw.tower.next_wakeup(), None, "a tower that is down never wakes up");
}

#[test]
fn a_shutdown_is_done_when_all_actions_are_polled() {
    let mut tower = Tower::new(quick(), address(0), &Seed::from_u64(1)).unwrap();
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
        let mut config = quick();
        config.send_rate = rate;
        let mut raw = Raw::new(&config);
        let link = raw.call();
        let narrow = Hello { max_message: 3, ..hello(Some(address(1))) };
        raw.say(link, &Frame::Hello(narrow));
        raw.announce(link, 1);
        raw.enqueue("too long");
        raw.run(seconds(1));
        raw.never_closes = true;
        shut_down(&mut raw);
        raw.run(seconds(30));
        assert_eq!(raw.tower.shutdown_progress(), ShutdownProgress::Draining);
        let closing: Vec<_> = raw.closed.keys().copied().collect();
        closing.into_iter().for_each(|link| raw.tell(Event::Closed { link }));
        assert!(is_done(&raw));
        assert_eq!(left(&raw.notices), [1]);
        assert_eq!(raw.tower.next_wakeup(), None);
    }
}

#[test]
fn what_is_under_screening_stays_with_its_sender() {
    let mut config = quick();
    let default = DefaultVerdict::Accept;
    config.screening = Screening::On { max_offers: 3, timeout: seconds(60), default };
    let mut raw = Raw::new(&config);
    let link = raw.call_as(1);
    raw.hand(link, 1, "undecided");
    raw.hand(link, 2, "taken, and handed on");
    let (offer, _) = raw.offers[1];
    raw.with(|tower, now| tower.decide(offer, Verdict::Accept, now)).unwrap();
    raw.heard(link);
    shut_down(&mut raw);
    raw.run(seconds(11));
    let heard = raw.heard(link);
    let answers: Vec<_> = heard
        .iter()
        .filter(|said| !matches!(said, Said::Message { .. } | Said::Goodbye(_)))
        .collect();
    assert_eq!(answers, [&Said::Refused(1, RefusedReason::Busy), &Said::Confirmed(2)]);
    assert_eq!(heard.last(), Some(&Said::Goodbye(Farewell::Leaving)));
    raw.leave(link);
    assert!(is_done(&raw));
    assert_eq!(left(&raw.notices), [1], "the one that it took");
}

/// Runs a shutdown in which `link` refuses everything as busy, and returns how long it takes.
fn time_of_shutdown(raw: &mut Raw, link: LinkId) -> Duration {
    let began = raw.now;
    shut_down(raw);
    while !is_done(raw) {
        for (transfer, ..) in raw.heard_messages(link) {
            raw.turn_down(link, transfer, RefusedReason::Busy);
        }
        let Some(wakeup) = raw.tower.next_wakeup() else { panic!("the shutdown does not end") };
        raw.now = raw.now.max(wakeup.at);
        raw.tell(Event::TimerFired);
    }
    raw.now.duration_since(began)
}

#[test]
fn a_lost_peer_does_not_prolong_a_shutdown_in_which_alive_peers_are_full() {
    let mut config = quick();
    config.probe_backoff = Duration::from_millis(1);
    let mut raw = Raw::new(&config);
    let link = raw.call_alive(1);
    raw.expand(2);
    raw.enqueue("x");
    assert!(raw.run_to_dial(seconds(2)));
    raw.refuse();
    assert_eq!(raw.status(2), Some(Status::Lost));
    assert!(time_of_shutdown(&mut raw, link) < seconds(1));
}

#[test]
fn a_shutdown_does_not_wait_for_peers_that_its_messages_do_not_suit() {
    let mut raw = Raw::new(&quick());
    let link = raw.call();
    raw.say(link, &Frame::Hello(Hello { max_message: 1, ..hello(Some(address(1))) }));
    raw.announce(link, 1_000);
    raw.enqueue("too long");
    assert!(time_of_shutdown(&mut raw, link) < seconds(1));
    assert_eq!(left(&raw.notices), [1]);
}

#[test]
fn any_back_off_is_taken_by_a_shutdown() {
    let mut config = quick();
    config.busy_backoff = Duration::MAX;
    let mut raw = Raw::new(&config);
    raw.enqueue("m");
    shut_down(&mut raw);
    assert!(is_done(&raw), "there is no peer");
}

#[test]
fn a_shutdown_waits_for_a_peer_that_has_not_confirmed_an_announce() {
    let mut raw = Raw::new(&quick());
    raw.with(|tower, now| tower.announce(&address(1), now)).unwrap();
    let link = raw.answer();
    let [Said::Hello { .. }, Said::Announce { transfer, .. }] = raw.heard(link)[..] else {
        panic!("an announce");
    };
    raw.enqueue("for the first peer that is alive");
    shut_down(&mut raw);
    assert_eq!(raw.tower.shutdown_progress(), ShutdownProgress::Draining);
    raw.confirm(link, transfer);
    let [(transfer, ..)] = raw.heard_messages(link)[..] else { panic!("one message") };
    raw.confirm(link, transfer);
    assert!(is_done(&raw));
    assert_eq!(left(&raw.notices), [0]);
}

#[test]
fn a_shutdown_tries_again_when_this_machine_lacked_a_resource() {
    let mut raw = Raw::new(&quick());
    raw.expand(1);
    raw.enqueue("message");
    assert!(raw.run_to_dial(seconds(5)));
    let (link, _) = raw.dialled.pop_front().unwrap();
    shut_down(&mut raw);
    raw.tell(Event::ConnectFailed { link, cause: IoCause::Exhausted });
    assert_eq!(raw.tower.shutdown_progress(), ShutdownProgress::Draining);
    assert!(raw.run_to_dial(quick().probe_backoff));
}

#[test]
fn a_shutdown_does_not_wait_for_peers_that_the_odds_never_draw() {
    let mut config = quick();
    config.odds = Odds { alive: 1, lost: 0, dead: 0 };
    let mut raw = Raw::new(&config);
    raw.expand(1);
    raw.enqueue("message");
    assert!(raw.run_to_dial(seconds(5)));
    raw.refuse();
    raw.run(seconds(3));
    assert_eq!(raw.status(1), Some(Status::Lost));
    shut_down(&mut raw);
    assert!(is_done(&raw));
}

#[test]
fn a_shutdown_within_a_limit_is_done_at_the_limit() {
    for limit in [Duration::ZERO, Duration::from_millis(1), seconds(1), seconds(7), seconds(60)] {
        let mut raw = Raw::new(&quick());
        let silent = raw.call_alive(1);
        raw.call_alive(2);
        raw.enqueue_many(3, "message");
        raw.run(seconds(4));
        raw.heard(silent);
        let before = raw.now;
        raw.with(|tower, now| tower.shutdown_within(limit, now));
        while !is_done(&raw) {
            raw.run(Duration::from_millis(1).max(limit / 100));
            assert!(raw.now.duration_since(before) <= limit + limit / 50, "limit {limit:?}");
        }
        assert_eq!(raw.tower.links().count(), 0);
    }
}

#[test]
fn a_shorter_limit_brings_the_end_of_a_shutdown_forward() {
    let mut raw = Raw::new(&quick());
    raw.call_alive(1);
    raw.enqueue("message");
    shut_down(&mut raw);
    raw.run(seconds(6));
    assert!(!is_done(&raw), "links are being closed");
    raw.with(|tower, now| tower.shutdown_within(seconds(60), now));
    raw.run(seconds(1));
    assert!(!is_done(&raw), "a longer limit changes nothing");
    raw.with(|tower, now| tower.shutdown_within(Duration::ZERO, now));
    assert!(is_done(&raw));
}
