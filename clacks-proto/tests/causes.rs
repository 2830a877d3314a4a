//! Causes of failures: names with several addresses, what this machine lacks, and what a tower
//! tells its application about failures and refusals.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use clacks_proto::wire::{Farewell, Frame, Hello, RefusedReason};
use clacks_proto::{
    Action, Address, Claims, CloseReason, Config, Event, Fingerprint, IoCause, LinkId, Notice,
    Standing, Status, StatusReason, Tower,
};
use common::harness::{Harness, SentFrame, hello};
use common::{address, fast_config, seconds};

/// A peer known by name.
fn named() -> Address {
    Address::new("tower.example", 8001).unwrap()
}

fn ip(n: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, n).into()
}

/// Returns the last dial: the link, the excepted addresses, and the standing.
fn last_dial(harness: &Harness) -> (LinkId, Vec<IpAddr>, Standing) {
    let dial = |action: &Action| match action {
        Action::Connect { link, except, standing, .. } => Some((*link, except.clone(), *standing)),
        _ => None,
    };
    harness.actions.iter().rev().find_map(dial).expect("the tower has dialled")
}

/// Connects the oldest dial to an IP address.
fn connect_at(harness: &mut Harness, at: IpAddr) -> LinkId {
    let (link, _) = harness.dialled.pop_front().expect("the tower has dialled");
    harness.handle(Event::Connected { link, at: Some(at) });
    link
}

fn status(harness: &Harness, peer: &Address) -> Option<Status> {
    harness.tower.find(peer).map(|peer| peer.status)
}

fn announce(harness: &mut Harness, peer: &Address) {
    harness.with(|tower, now| tower.announce(peer, now)).unwrap();
}

/// A hello of a stranger, which is refused.
fn stranger() -> Frame<'static> {
    Frame::Hello(Hello { network: "other", ..hello(None) })
}

// A name with several addresses.

#[test]
fn another_address_of_a_name_is_tried_before_the_peer_is_judged() {
    let mut harness = Harness::new(&fast_config());
    announce(&mut harness, &named());
    assert!(last_dial(&harness).1.is_empty());
    let link = connect_at(&mut harness, ip(1));
    harness.send_frame(link, &stranger());
    assert_eq!(harness.close_reason(link), Some(CloseReason::WrongNetwork));
    // The peer is not lost, and the next dial leaves the address out.
    assert_eq!(status(&harness, &named()), Some(Status::New));
    assert_eq!(last_dial(&harness).1, [ip(1)]);
    let link = connect_at(&mut harness, ip(2));
    harness.send_hello(link, None);
    let transfer = harness.take_announce(link);
    harness.confirm(link, transfer);
    assert_eq!(status(&harness, &named()), Some(Status::Alive));
}

#[test]
fn a_name_is_judged_by_the_first_failure_when_no_address_is_left() {
    let mut harness = Harness::new(&fast_config());
    announce(&mut harness, &named());
    let link = connect_at(&mut harness, ip(1));
    harness.send_frame(link, &stranger());
    let (link, _) = harness.dialled.pop_front().unwrap();
    harness.handle(Event::ConnectFailed { link, cause: IoCause::Resolve });
    assert_eq!(status(&harness, &named()), Some(Status::Lost));
    let reason = StatusReason::LinkClosed(CloseReason::WrongNetwork);
    assert_eq!(harness.tower.find(&named()).unwrap().failure, Some(reason));
    assert!(harness.dialled.is_empty(), "the tower waits before it dials again");
    // The next attempt begins with all addresses.
    assert!(harness.run_until_dial(seconds(10)));
    assert!(last_dial(&harness).1.is_empty());
}

#[test]
fn a_limited_number_of_addresses_of_a_name_is_tried() {
    let mut harness = Harness::new(&fast_config());
    announce(&mut harness, &named());
    let mut dials = 0;
    while !harness.dialled.is_empty() {
        dials += 1;
        let link = connect_at(&mut harness, ip(dials));
        harness.send_frame(link, &stranger());
    }
    assert_eq!(dials, 4);
    assert_eq!(status(&harness, &named()), Some(Status::Lost));
}

#[test]
fn a_message_goes_over_to_the_link_to_the_next_address() {
    let mut config = fast_config();
    config.contact_rate = 0;
    let mut harness = Harness::new(&config);
    harness.enqueue("message");
    harness.with(|tower, now| tower.expand(&named(), now)).unwrap();
    assert!(harness.run_until_dial(seconds(2)));
    let link = connect_at(&mut harness, ip(1));
    harness.send_frame(link, &stranger());
    assert_eq!(harness.tower.stats().returned, 0);
    let link = connect_at(&mut harness, ip(2));
    harness.send_hello(link, None);
    assert_eq!(harness.take_messages(link).len(), 1);
}

#[test]
fn a_peer_known_by_its_ip_address_is_dialled_once() {
    let mut harness = Harness::new(&fast_config());
    announce(&mut harness, &address(1));
    let link = connect_at(&mut harness, ip(1));
    harness.send_frame(link, &stranger());
    assert!(harness.dialled.is_empty());
    assert_eq!(harness.status(1), Some(Status::Lost));
}

#[test]
fn a_shutdown_tries_no_further_address() {
    let mut harness = Harness::new(&fast_config());
    announce(&mut harness, &named());
    let link = connect_at(&mut harness, ip(1));
    harness.with(Tower::shutdown);
    assert!(harness.close_reason(link).is_some());
    assert!(harness.dialled.is_empty());
}

#[test]
fn a_peer_is_known_if_the_application_named_it_or_it_was_alive() {
    let mut harness = Harness::new(&fast_config());
    announce(&mut harness, &named());
    assert_eq!(last_dial(&harness).2, Standing::Known);
    // A caller names itself, and is dialled back.
    let caller = Address::new("stranger.example", 1).unwrap();
    let mut config = fast_config();
    config.claims = Claims::DialBack;
    let mut harness = Harness::new(&config);
    let link = harness.accept();
    harness.send_hello(link, Some(caller.clone()));
    assert!(harness.run_until_dial(seconds(2)));
    let (link, dialled) = harness.dialled[0].clone();
    assert_eq!((dialled, last_dial(&harness)), (caller, (link, Vec::new(), Standing::Stranger)));
    harness.connect_dial_alive();
    harness.reset(link);
    harness.enqueue("message");
    assert!(harness.run_until_dial(seconds(100)));
    assert_eq!(last_dial(&harness).2, Standing::Known);
}

// What this machine lacks.

/// Lets all dials fail for `time`.
fn fail_dials(harness: &mut Harness, cause: IoCause, time: Duration) -> usize {
    let end = harness.now + time;
    let mut count = 0;
    while harness.now < end && harness.run_until_dial(end.duration_since(harness.now)) {
        let (link, _) = harness.dialled.pop_front().unwrap();
        harness.handle(Event::ConnectFailed { link, cause });
        count += 1;
    }
    count
}

#[test]
fn what_this_machine_lacks_changes_no_status_and_is_tried_again() {
    for cause in [IoCause::Exhausted, IoCause::NetworkDown] {
        let mut harness = Harness::new(&fast_config());
        announce(&mut harness, &address(1));
        let tries = fail_dials(&mut harness, cause, seconds(100));
        assert!((50..=200).contains(&tries), "{tries} dials in 100 s");
        assert_eq!(harness.status(1), Some(Status::New));
        assert_eq!(harness.tower.stats().local_failures, tries as u64);
        let trouble = Notice::LocalTrouble { cause };
        let reports = harness.notices.iter().filter(|notice| **notice == trouble).count();
        assert_eq!(reports, 2, "one in a minute");
        let peer = harness.tower.find(&address(1)).unwrap();
        assert_eq!(peer.failure, Some(StatusReason::LinkClosed(CloseReason::Io(cause))));
        assert!(peer.retry_at.is_some_and(|at| at > harness.now));
        // The announce is sent when the machine has what it lacked.
        assert!(harness.run_until_dial(seconds(2)));
        harness.connect_dial_alive();
        assert_eq!(harness.tower.find(&address(1)).unwrap().failure, None);
    }
}

#[test]
fn what_this_machine_lacks_for_a_link_of_an_ignored_peer_is_no_failure_of_the_peer() {
    let mut harness = Harness::new(&fast_config());
    harness.with(|tower, now| tower.ignore(&address(1), now)).unwrap();
    let link = harness.accept_from(1);
    harness.handle(Event::Lost { link, cause: IoCause::Exhausted });
    assert_eq!(harness.tower.find(&address(1)).unwrap().failure, None);
    assert!(harness.with(|tower, now| tower.unignore(&address(1), now)));
    assert_eq!(retry_times(&harness).0, [None, None], "no attempt has failed");
}

#[test]
fn an_unreachable_address_is_a_failure_of_the_peer() {
    let mut harness = Harness::new(&fast_config());
    announce(&mut harness, &address(1));
    fail_dials(&mut harness, IoCause::Unreachable, Duration::from_millis(1));
    assert_eq!(harness.status(1), Some(Status::Lost));
    assert_eq!(harness.tower.stats().local_failures, 0);
}

#[test]
fn a_listener_that_fails_is_counted_and_reported() {
    let mut harness = Harness::new(&fast_config());
    for _ in 0..3 {
        harness.handle(Event::AcceptFailed { cause: IoCause::Exhausted });
    }
    assert_eq!(harness.tower.stats().local_failures, 3);
    assert_eq!(harness.notices, [Notice::LocalTrouble { cause: IoCause::Exhausted }]);
}

// When a peer is tried again.

/// Returns what the notices say of the time until the next attempt: those of a changed status, and
/// those of closed links.
fn retry_times(harness: &Harness) -> (Vec<Option<Duration>>, Vec<Option<Duration>>) {
    let changed = |notice: &Notice| match notice {
        Notice::StatusChanged { retry_in, .. } => Some(*retry_in),
        _ => None,
    };
    let closed = |notice: &Notice| match notice {
        Notice::LinkClosed { retry_in, .. } => Some(*retry_in),
        _ => None,
    };
    let notices = || harness.notices.iter();
    (notices().filter_map(changed).collect(), notices().filter_map(closed).collect())
}

#[test]
fn each_failure_tells_when_the_peer_is_tried_again() {
    let mut harness = Harness::new(&fast_config());
    announce(&mut harness, &address(1));
    harness.refuse_dial();
    let (mut changed, mut closed) = retry_times(&harness);
    assert_eq!((&changed, changed.len()), (&closed, 1));
    for _ in 0..5 {
        let time = closed.pop().unwrap().expect("the attempt has failed");
        let at = harness.now + time;
        assert_eq!(harness.tower.find(&address(1)).unwrap().retry_at, Some(at));
        assert!(harness.run_until_dial(seconds(100)));
        assert_eq!(harness.now, at, "the peer is dialled at the time of the notice");
        harness.refuse_dial();
        (changed, closed) = retry_times(&harness);
        assert_eq!(changed.len(), 1, "the peer stays lost");
    }
    assert!(harness.run_until_dial(seconds(100)));
    harness.connect_dial_alive();
    assert_eq!(retry_times(&harness).0.last(), Some(&None), "an alive peer is not tried again");
    let peer = harness.tower.find(&address(1)).unwrap();
    assert_eq!((peer.failure, peer.retry_at), (None, None));
}

#[test]
fn a_link_that_ends_without_a_failure_tells_no_time() {
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept_alive(1);
    harness.send_goodbye(link);
    assert_eq!(retry_times(&harness).1, [None]);
}

// Refusals.

#[test]
fn a_refusal_for_another_reason_is_reported_once() {
    let mut harness = Harness::new(&quiet_config());
    announce(&mut harness, &address(1));
    let link = harness.connect_dial_with_hello();
    for reason in [RefusedReason::Busy, RefusedReason::Busy, RefusedReason::OtherKey] {
        harness.advance(seconds(120));
        for frame in harness.take_frames(link) {
            if let SentFrame::Announce { transfer, .. } = frame {
                harness.refuse(link, transfer, reason);
            }
        }
        harness.send_bytes(link, &[]);
    }
    harness.advance(seconds(1_000));
    assert_eq!(harness.take_frames(link), [], "the announce is not repeated");
    let refusals: Vec<_> = harness
        .notices
        .iter()
        .filter_map(|notice| match notice {
            Notice::Refused { by, reason, .. } => Some((by.clone(), *reason)),
            _ => None,
        })
        .collect();
    let expected = [RefusedReason::Busy, RefusedReason::OtherKey];
    assert_eq!(refusals, expected.map(|reason| (address(1), reason)));
    let peer = harness.tower.find(&address(1)).unwrap();
    assert_eq!(peer.status, Status::Alive, "a refusal is an answer");
    assert_eq!(peer.failure, Some(StatusReason::Refused(RefusedReason::OtherKey)));
}

/// Returns a configuration with which links stay open for a while.
fn quiet_config() -> Config {
    let mut config = fast_config();
    config.timeouts.idle = seconds(10_000);
    config.timeouts.confirm = seconds(10_000);
    config
}

#[test]
fn an_announce_from_an_address_with_another_key_is_refused_for_this_reason() {
    let mut harness = Harness::new(&fast_config());
    let key = Fingerprint([1; 32]);
    harness.with(|tower, now| tower.pin(&address(1), key, now)).unwrap();
    // In clear text, the caller proves no key.
    let link = harness.accept_from(1);
    harness.send_announce(link, 1);
    let refused = SentFrame::Refused(1, RefusedReason::OtherKey);
    assert!(harness.take_frames(link).contains(&refused));
    // Its messages are taken all the same.
    harness.send_message(link, 2, "message");
    assert_eq!(harness.tower.queue_usage().messages, 1);
    assert_eq!(harness.close_reason(link), None);
}

#[test]
fn a_pin_that_disproves_a_caller_says_so_in_the_goodbye() {
    let mut harness = Harness::new(&fast_config());
    let link = harness.accept_from(1);
    harness.with(|tower, now| tower.pin(&address(1), Fingerprint([1; 32]), now)).unwrap();
    assert_eq!(harness.close_reason(link), Some(CloseReason::KeyChanged));
    let frames = harness.take_frames(link);
    assert_eq!(frames.last(), Some(&SentFrame::Goodbye(Farewell::OtherKey)));
}

#[test]
fn a_peer_that_hangs_up_before_its_hello_is_told_from_one_that_breaks_a_link() {
    let lost = |end: fn(&mut Harness, LinkId)| {
        let mut harness = Harness::new(&fast_config());
        announce(&mut harness, &address(1));
        let link = harness.connect_dial();
        end(&mut harness, link);
        assert_eq!(harness.status(1), Some(Status::Lost));
        harness.tower.find(&address(1)).unwrap().failure
    };
    let hung_up = Some(StatusReason::LinkClosed(CloseReason::HungUp));
    assert_eq!(lost(|harness, link| harness.handle(Event::Finished { link })), hung_up);
    assert_eq!(lost(Harness::reset), hung_up);
    let broken = lost(|harness, link| {
        harness.send_hello(link, None);
        harness.reset(link);
    });
    assert_eq!(broken, Some(StatusReason::LinkClosed(CloseReason::Io(IoCause::Reset))));
}
