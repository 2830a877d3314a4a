//! Who gets in, and what each side says to who does not.

use std::time::Duration;

use clacks_proto::tls::{Identity, Roots, Trust};
use clacks_proto::{CloseReason, Message, Notice, StateMachine, Status, TlsFailure};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{AlertDescription, Error};

use crate::stranger::{Host, client, talk};
use crate::world::{ALICE, BOB, World, address, giving, keeping, secure};

fn identities() -> [Identity; 2] {
    [(); 2].map(|()| Identity::generate().unwrap())
}

#[test]
fn two_towers_meet_and_each_key_is_known_at_the_other_end() {
    let identities = identities();
    let mut world = World::with(&identities, &[Trust::Open, Trust::Open]);
    world.meet();
    let bob = world.towers[ALICE].tower().find(&address(BOB)).unwrap();
    assert_eq!(bob.status, Status::Alive);
    assert_eq!(bob.fingerprint, Some(identities[BOB].fingerprint()));
    for tower in &world.towers {
        let stats = tower.tower().stats();
        assert_eq!((stats.handshakes_full, stats.handshakes_resumed), (1, 0));
    }
    assert!(!world.sent[ALICE].windows(5).any(|window| window == b"first"), "in clear text");
}

#[test]
fn a_second_dial_resumes_the_session_and_proves_the_same_keys() {
    let identities = identities();
    let mut world = World::with(&identities, &[Trust::Open, Trust::Open]);
    // Bob has dialled Alice, so he knows her key; her own dials will have to prove it.
    world.expand(BOB);
    world.towers[BOB].tower_mut().announce(&address(ALICE), world.now).unwrap();
    world.settle();
    world.pass(Duration::from_secs(200));
    assert_eq!(world.towers[ALICE].tower().links().count(), 0, "the idle link stays");

    for round in 0..3 {
        world.enqueue(ALICE, &Message::text(&format!("round {round}")));
        world.settle();
        assert_eq!(world.held(BOB), round + 1);
        world.pass(Duration::from_secs(200));
        assert_eq!(world.towers[ALICE].tower().links().count(), 0);
    }
    for tower in &world.towers {
        let stats = tower.tower().stats();
        assert_eq!((stats.handshakes_full, stats.handshakes_resumed), (2, 2));
        assert_eq!(stats.claims_disproved, 0, "another key after resumption");
    }
    for side in [ALICE, BOB] {
        let other = world.towers[side].tower().find(&address(1 - side)).unwrap();
        assert_eq!(other.fingerprint, Some(identities[1 - side].fingerprint()));
        assert_eq!(other.status, Status::Alive);
    }
}

#[test]
fn another_key_at_a_known_address_is_noticed() {
    let mut world = World::open();
    world.meet();
    let connection = world.connections.len() - 1;
    world.cut(connection);
    world.settle();

    let other = Identity::generate().unwrap();
    world.towers[BOB] = secure(BOB, keeping(), &other, Trust::Open);
    world.enqueue(ALICE, &Message::text("for Bob alone"));
    world.settle();
    assert!(world.closed(ALICE).contains(&CloseReason::KeyChanged), "{:?}", world.notices);
    let seen = Some(other.fingerprint());
    let peer = address(BOB);
    assert!(world.notices[ALICE].contains(&Notice::KeyChanged { peer, seen }));
    assert_eq!(world.held(BOB), 0);
    assert_eq!(world.held(ALICE), 1);
}

/// A network's root, and a tower of it.
fn member() -> (Identity, Trust) {
    let root_key = KeyPair::generate().unwrap();
    let mut root = CertificateParams::default();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let roots = Roots::from_pem(root.self_signed(&root_key).unwrap().pem().as_bytes()).unwrap();
    let issuer = Issuer::new(root, root_key);
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::default().signed_by(&key, &issuer).unwrap();
    let key = key.serialize_pem();
    let identity = Identity::from_pem(key.as_bytes(), certificate.pem().as_bytes()).unwrap();
    (identity, Trust::Private(roots))
}

#[test]
fn a_private_network_refuses_a_stranger_and_both_sides_say_why() {
    for insider in [ALICE, BOB] {
        let (identity, private) = member();
        let mut identities = identities();
        identities[insider] = identity;
        let mut trust = [Trust::Open, Trust::Open];
        trust[insider] = private;
        let mut world = World::with(&identities, &trust);
        world.expand(ALICE);
        world.enqueue(ALICE, &Message::text("is anybody there?"));
        world.settle();

        let refused = CloseReason::Tls(TlsFailure::Certificate);
        assert_eq!(world.closed(ALICE).first(), Some(&refused), "{:?}", world.notices);
        assert_eq!(world.closed(BOB).first(), Some(&refused), "{:?}", world.notices);
        assert_eq!((world.held(ALICE), world.held(BOB)), (1, 0));
        assert!(world.towers.iter().all(|tower| tower.tower().stats().links_misbehaved > 0));
        assert!(world.connections.iter().all(|c| c.ends.iter().all(|end| !end.is_open)));
    }
}

#[test]
fn an_open_network_lets_an_expired_certificate_in() {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.not_before = rcgen::date_time_ymd(2000, 1, 1);
    params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    let certificate = params.self_signed(&key).unwrap().pem();
    let expired =
        Identity::from_pem(key.serialize_pem().as_bytes(), certificate.as_bytes()).unwrap();
    for side in [ALICE, BOB] {
        let mut identities = identities();
        identities[side] = expired.clone();
        World::with(&identities, &[Trust::Open, Trust::Open]).meet();
    }
}

#[test]
fn a_client_of_this_protocol_with_a_certificate_gets_in() {
    let identity = Identity::generate().unwrap();
    let (mut client, mut host) = (client(&[b"clacks/1"], Some(&identity)), Host::new());
    assert_eq!(talk(&mut client, &mut host), Ok(()));
    assert_eq!(host.closed, None);
    assert_eq!(host.tower.tower().stats().handshakes_full, 1);
}

#[test]
fn a_client_of_another_protocol_or_of_none_is_refused() {
    let identity = Identity::generate().unwrap();
    let refused = Some(CloseReason::Tls(TlsFailure::NoCommonProtocol));

    let (mut other, mut host) = (client(&[b"http/1.1"], Some(&identity)), Host::new());
    let alert = Error::AlertReceived(AlertDescription::NoApplicationProtocol);
    assert_eq!(talk(&mut other, &mut host), Err(alert));
    assert_eq!(host.closed, refused);

    let (mut silent, mut host) = (client(&[], Some(&identity)), Host::new());
    talk(&mut silent, &mut host).unwrap();
    assert_eq!(host.closed, refused);
    assert_eq!(host.tower.tower().stats().handshakes_full, 0);
    let state = silent.process_new_packets().unwrap();
    assert!(state.peer_has_closed() && state.plaintext_bytes_to_read() == 0, "{state:?}");
}

#[test]
fn a_client_without_a_certificate_is_refused() {
    let (mut client, mut host) = (client(&[b"clacks/1"], None), Host::new());
    let alert = Error::AlertReceived(AlertDescription::CertificateRequired);
    assert_eq!(talk(&mut client, &mut host), Err(alert));
    assert_eq!(host.closed, Some(CloseReason::Tls(TlsFailure::Certificate)));
}

#[test]
fn a_tower_knows_its_own_key_at_the_other_end() {
    let one = Identity::generate().unwrap();
    let mut world = World::with(&[one.clone(), one], &[Trust::Open, Trust::Open]);
    world.expand(ALICE);
    world.enqueue(ALICE, &Message::text("is that me?"));
    world.settle();
    assert_eq!(world.closed(ALICE), [CloseReason::OwnAddress]);
    assert_eq!((world.held(ALICE), world.held(BOB)), (1, 0));
}

#[test]
fn two_towers_that_dial_each_other_at_once_both_get_through() {
    let mut world = World::open();
    world.towers[BOB] = secure(BOB, giving(), &Identity::generate().unwrap(), Trust::Open);
    world.expand(ALICE);
    world.expand(BOB);
    for side in [ALICE, BOB] {
        world.towers[side].tower_mut().announce(&address(1 - side), world.now).unwrap();
    }
    world.settle();
    for side in [ALICE, BOB] {
        let other = world.towers[side].tower().find(&address(1 - side)).unwrap();
        assert_eq!(other.status, Status::Alive);
    }
}
