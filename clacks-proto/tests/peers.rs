//! The table of peers: snapshots, restoring, forgetting, and aliases.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use clacks_proto::{
    Action, CloseReason, Event, ExpandError, Fingerprint, Instant, Notice, PeerRecord,
    StateMachine, Status, Tower,
};
use common::harness::Harness;
use common::{LOCAL, address, fast_config, seconds, tower};

const NOW: Instant = Instant::ORIGIN;

fn key(number: u8) -> Fingerprint {
    Fingerprint([number; 32])
}

fn records(tower: &Tower) -> Vec<PeerRecord> {
    let mut records: Vec<_> = tower.snapshot().collect();
    records.sort_by(|a, b| a.address.cmp(&b.address));
    records
}

#[test]
fn a_restored_peer_keeps_its_status_and_pin_and_an_alive_one_becomes_new() {
    let mut harness = Harness::new(&fast_config());
    harness.accept_alive(1);
    harness.with(|tower, now| tower.ignore(&address(2), now)).unwrap();
    harness.with(|tower, now| tower.pin(&address(3), key(3), now)).unwrap();
    harness.expand(4);
    harness.enqueue("message");
    assert!(harness.run_until_dial(seconds(10)));
    harness.refuse_dial();
    let kept = records(&harness.tower);
    assert_eq!(kept.len(), 4);

    let mut restored = tower(0, &fast_config());
    for record in &kept {
        restored.restore(record, NOW).unwrap();
    }
    for (before, after) in kept.iter().zip(records(&restored)) {
        let status = match before.status {
            Status::Alive => Status::New,
            status => status,
        };
        let expected = (&before.address, status, before.fingerprint, before.dialect);
        assert_eq!((&after.address, after.status, after.fingerprint, after.dialect), expected);
    }
    assert_eq!(restored.find(&address(3)).unwrap().fingerprint, Some(key(3)));
    assert_eq!(restored.status_counts().ignored, 1);
}

#[test]
fn a_known_peer_keeps_its_status_and_pin_when_it_is_restored() {
    let mut tower = tower(0, &fast_config());
    tower.pin(&address(1), key(1), NOW).unwrap();
    let mut record = PeerRecord::new(address(1), Status::Dead);
    record.fingerprint = Some(key(9));
    tower.restore(&record, NOW).unwrap();
    let peer = tower.find(&address(1)).unwrap();
    assert_eq!((peer.status, peer.fingerprint), (Status::New, Some(key(1))));
}

#[test]
fn a_key_that_is_pinned_to_another_address_is_not_restored() {
    let mut tower = tower(0, &fast_config());
    tower.pin(&address(1), key(1), NOW).unwrap();
    let mut record = PeerRecord::new(address(2), Status::New);
    record.fingerprint = Some(key(1));
    assert_eq!(tower.restore(&record, NOW), Err(ExpandError::KeyInUse));
    assert!(tower.find(&address(2)).is_none());
    let own = PeerRecord::new(address(0), Status::New);
    assert_eq!(tower.restore(&own, NOW), Err(ExpandError::OwnAddress));
}

#[test]
fn messages_of_a_forgotten_peer_return_to_the_queue_and_its_links_are_closed() {
    let (mut harness, link, _) = Harness::with_unconfirmed_message(&fast_config(), "message");
    harness.with(|tower, now| tower.pin(&address(1), key(1), now)).unwrap();
    assert!(harness.with(|tower, now| tower.forget(&address(1), now)));
    assert_eq!(harness.close_reason(link), Some(CloseReason::Evicted));
    assert!(harness.tower.find(&address(1)).is_none());
    assert_eq!(harness.tower.queue_usage().waiting, 1);
    let forgotten = Notice::TowerForgotten { peer: address(1) };
    assert!(harness.notices.contains(&forgotten));
    assert!(!harness.with(|tower, now| tower.forget(&address(1), now)), "it is not known any more");
    // The key is free for another address.
    harness.with(|tower, now| tower.pin(&address(2), key(1), now)).unwrap();
}

/// Makes a tower dial another address of its own, which turns out to be an alias.
fn with_alias() -> Tower {
    let mut tower = tower(0, &fast_config());
    tower.announce(&address(1), NOW).unwrap();
    let dialled = core::iter::from_fn(|| tower.poll_action()).find_map(|action| match action {
        Action::Connect { link, .. } => Some(link),
        _ => None,
    });
    let dialled = dialled.unwrap();
    let accepted = tower.accept(LOCAL, NOW).unwrap();
    tower.handle(Event::Connected { link: dialled, at: None }, NOW);
    for (from, to) in [(dialled, accepted), (accepted, dialled)] {
        let mut bytes = Vec::new();
        while tower.transmit(from, &mut bytes) > 0 {}
        tower.handle(Event::BytesArrived { link: to, bytes: &bytes }, NOW);
    }
    assert_eq!(tower.find(&address(1)).unwrap().status, Status::Ignored);
    tower
}

#[test]
fn an_alias_is_in_the_snapshot_only_after_the_application_has_unignored_it() {
    let mut tower = with_alias();
    assert_eq!(records(&tower), []);
    assert!(tower.unignore(&address(1), NOW));
    assert_eq!(records(&tower), [PeerRecord::new(address(1), Status::New)]);
}
