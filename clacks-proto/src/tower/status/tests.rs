#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::config::Config;
use crate::error::IoCause;
use crate::event::Dialect;
use crate::event::{Action, Event};
use crate::ids::Fingerprint;
use crate::link::State;
use crate::message::{Kind, Lifetime, Nonce};
use crate::rng::Seed;
use crate::state_machine::StateMachine;
use crate::time::Instant;
use crate::tower::TlsHandshake;
use crate::wire::{Frame, Hello, MessageFrame, VERSION, Window};
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};

const NOW: Instant = Instant::ORIGIN;
const KEYS: [Fingerprint; 2] = [Fingerprint([1; 32]), Fingerprint([2; 32])];

fn address(number: u16) -> Address {
    Address::new("127.0.0.1", 8_000 + number).unwrap()
}

fn tower() -> Tower {
    let mut tower = Tower::new(Config::default(), address(0), &Seed::from_u64(1)).unwrap();
    tower.set_tls(Fingerprint([0; 32]), false);
    tower
}

fn say(tower: &mut Tower, link: LinkId, frame: &Frame<'_>) {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    tower.handle(Event::BytesArrived { link, bytes: &bytes }, NOW);
}

/// What TLS and the hello say of the other side of a link.
fn greet(tower: &mut Tower, link: LinkId, key: Option<Fingerprint>, claims: u16) {
    if key.is_some() {
        let handshake = TlsHandshake { dialect: Dialect::Native, identity: key, resumed: false };
        tower.handle_tls_handshake(link, handshake);
    }
    let hello = Hello {
        version: VERSION,
        incarnation: 7,
        link: 8,
        max_message: 1_000,
        window: Window { messages: 1, bytes: 1 },
        datagram: 0,
        network: "clacks",
        address: Some(address(claims)),
        rest: &[],
    };
    say(tower, link, &Frame::Hello(hello));
}

/// A caller with a key claims to be the tower with a number.
fn call(tower: &mut Tower, key: Option<Fingerprint>, claims: u16) -> LinkId {
    let link = tower.accept(IpAddr::V4(Ipv4Addr::LOCALHOST), NOW).unwrap();
    greet(tower, link, key, claims);
    link
}

/// The tower with a number is dialled, and shows its key.
fn dial(tower: &mut Tower, number: u16, key: Fingerprint) -> LinkId {
    tower.announce(&address(number), NOW).unwrap();
    let connects = |action| match action {
        Action::Connect { link, .. } => Some(link),
        _ => None,
    };
    let link = core::iter::from_fn(|| tower.poll_action()).find_map(connects).unwrap();
    tower.handle(Event::Connected { link, at: None }, NOW);
    greet(tower, link, Some(key), number);
    link
}

fn status(tower: &Tower, number: u16) -> Option<Status> {
    tower.find(&address(number)).map(|peer| peer.status)
}

fn state_of(tower: &Tower, link: LinkId) -> Option<State> {
    tower.links.get(link).map(Session::state)
}

fn hand(tower: &mut Tower, link: LinkId, nonce: u128) {
    let frame = MessageFrame {
        transfer: tower.next_incoming(link),
        retry_of: None,
        lifetime: Lifetime::UNLIMITED,
        nonce: Nonce(nonce),
        kind: Kind::Bytes,
        friend: None,
        body: b"x",
    };
    say(tower, link, &Frame::Message(frame));
}

#[test]
fn a_claim_that_is_not_proved_makes_no_peer_lost() {
    for key in [None, Some(KEYS[0])] {
        let mut tower = tower();
        tower.expand(&address(1), NOW).unwrap();
        let link = call(&mut tower, key, 1);
        say(&mut tower, link, &Frame::Goodbye { farewell: Farewell::Ignored });
        assert_eq!(status(&tower, 1), Some(Status::New));
    }
}

#[test]
fn an_ignored_tower_is_known_by_its_key_whatever_it_claims() {
    let mut tower = tower();
    dial(&mut tower, 1, KEYS[0]);
    let before = call(&mut tower, Some(KEYS[0]), 2);
    hand(&mut tower, before, 1);
    assert_eq!(tower.queue_usage().messages, 1);
    tower.ignore(&address(1), NOW).unwrap();
    assert_eq!(state_of(&tower, before), Some(State::Closed));
    let after = call(&mut tower, Some(KEYS[0]), 3);
    hand(&mut tower, after, 2);
    assert_eq!((tower.queue_usage().messages, state_of(&tower, after)), (1, Some(State::Closed)));
    assert_eq!(status(&tower, 3), None);
    // It is heard again on a link that it opened while it was ignored.
    let patient = call(&mut tower, Some(KEYS[0]), 1);
    assert!(tower.unignore(&address(1), NOW));
    hand(&mut tower, patient, 3);
    assert_eq!((tower.queue_usage().messages, state_of(&tower, patient)), (2, Some(State::Open)));
}

#[test]
fn what_a_caller_claimed_counts_no_more_when_a_dial_has_shown_another_key() {
    let mut tower = tower();
    let senders = |tower: &mut Tower| {
        let from = |action| match action {
            Action::Notify(Notice::MessageReceived { from, .. }) => Some(from),
            _ => None,
        };
        core::iter::from_fn(|| tower.poll_action()).filter_map(from).collect::<Vec<_>>()
    };
    let pretender = call(&mut tower, Some(KEYS[0]), 1);
    hand(&mut tower, pretender, 1);
    let claimed = Some(address(1));
    assert_eq!(senders(&mut tower), [claimed], "no key is pinned");
    dial(&mut tower, 1, KEYS[1]);
    hand(&mut tower, pretender, 2);
    assert_eq!(senders(&mut tower), [None]);
    assert_eq!(status(&tower, 1), Some(Status::New));
}

#[test]
fn a_call_to_an_address_that_was_given_up_says_nothing_about_the_new_one() {
    let mut tower = tower();
    let link = dial(&mut tower, 1, KEYS[0]);
    tower.handle(Event::Lost { link, cause: IoCause::Reset }, NOW);
    tower.announce(&address(1), NOW).unwrap();
    let is_connect = |action: &Action| matches!(action, Action::Connect { .. });
    let on_its_way = core::iter::from_fn(|| tower.poll_action()).find(is_connect).unwrap();
    let Action::Connect { link, .. } = on_its_way else { unreachable!() };
    dial(&mut tower, 2, KEYS[0]);
    assert_eq!(status(&tower, 1), None, "it has moved");
    let moved = tower.find(&address(2)).unwrap().id;
    tower.on_success(moved);
    tower.handle(Event::ConnectFailed { link, cause: IoCause::Refused }, NOW);
    assert_eq!(status(&tower, 2), Some(Status::Alive));
    while tower.poll_action().is_some() {}
    assert_eq!(tower.links().count(), 1);
}

#[test]
fn other_names_of_this_tower_do_not_fill_the_table_for_good() {
    let config = Config { max_peers: 3, ..Config::default() };
    let mut tower = Tower::new(config, address(0), &Seed::from_u64(1)).unwrap();
    tower.set_tls(KEYS[0], false);
    tower.ignore(&address(9), NOW).unwrap();
    for alias in 1..5 {
        let link = dial(&mut tower, alias, KEYS[0]);
        tower.handle(Event::Closed { link }, NOW);
        assert_eq!(status(&tower, alias), Some(Status::Ignored));
    }
    assert_eq!(status(&tower, 9), Some(Status::Ignored), "the application said so");
    assert_eq!(tower.survey().count(), 3);
}

fn connect_of(tower: &mut Tower) -> LinkId {
    let connects = |action| match action {
        Action::Connect { link, .. } => Some(link),
        _ => None,
    };
    core::iter::from_fn(|| tower.poll_action()).find_map(connects).unwrap()
}

#[test]
fn the_window_of_a_merged_link_is_respected() {
    let config =
        Config { send_rate: crate::SendRate::Unlimited, contact_rate: 0, ..Config::default() };
    let mut tower = Tower::new(config, address(0), &Seed::from_u64(1)).unwrap();
    tower.set_tls(Fingerprint([0; 32]), false);
    // The peer 1 is alive, without a link, and rests.
    let link = dial(&mut tower, 1, KEYS[0]);
    let one = tower.find(&address(1)).unwrap().id;
    tower.on_success(one);
    say(&mut tower, link, &Frame::Goodbye { farewell: Farewell::Idle });
    tower.handle(Event::Closed { link }, NOW);
    tower.peers.update(one, |peer| peer.is_resting = true);
    // Another address of it is tried with one of many messages.
    tower.expand(&address(2), NOW).unwrap();
    (0..50).for_each(|n| _ = tower.enqueue(crate::Message::bytes(&[n]), NOW).unwrap());
    let link = connect_of(&mut tower);
    tower.handle(Event::Connected { link, at: None }, NOW);
    greet(&mut tower, link, Some(KEYS[0]), 1);
    assert_eq!(status(&tower, 2), None, "merged");
    tower.peers.update(one, |peer| peer.is_resting = false);
    tower.handle(Event::TimerFired, NOW);
    assert_eq!(tower.queue.len() - tower.queue.waiting(), 1, "the window has one message");
    tower.assert_consistent();
}

#[test]
fn a_new_pin_closes_the_links_of_the_old_key() {
    let mut tower = tower();
    let link = dial(&mut tower, 1, KEYS[0]);
    say(&mut tower, link, &Frame::Goodbye { farewell: Farewell::Idle });
    tower.handle(Event::Closed { link }, NOW);
    let inbound = call(&mut tower, Some(KEYS[0]), 1);
    hand(&mut tower, inbound, 1);
    let one = tower.find(&address(1)).unwrap().id;
    assert_eq!(tower.peers.get(one).unwrap().link, Some(inbound));
    tower.pin(&address(1), KEYS[1], NOW).unwrap();
    assert_eq!(state_of(&tower, inbound), Some(State::Closed));
    tower.assert_consistent();
}
