//! TLS handshakes: which peers are accepted, and how the others are refused.

use std::time::Duration;

use bytes::Bytes;
use clacks_proto::tls::{Authority, Identity, Revocations, Roots, TlsError, Trust};
use clacks_proto::wire::{Farewell, RefusedReason};
use clacks_proto::{CloseReason, Datagrams, Message, Notice, StateMachine, Status, TlsFailure, To};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{AlertDescription, Error};

use crate::pair::{ALICE, BOB, Pair, address, paused_config, secure_tower, unlimited_config};
use crate::rustls_client::{Harness, client, drive};

fn identities() -> [Identity; 2] {
    [(); 2].map(|()| Identity::generate().unwrap())
}

#[test]
fn a_handshake_pins_the_keys_of_both_towers() {
    let identities = identities();
    let mut pair = Pair::with(&identities, &[Trust::Open, Trust::Open]);
    pair.establish_link();
    let bob = pair.towers[ALICE].tower().find(&address(BOB)).unwrap();
    assert_eq!(bob.status, Status::Alive);
    assert_eq!(bob.fingerprint, Some(identities[BOB].fingerprint()));
    for tower in &pair.towers {
        let stats = tower.tower().stats();
        assert_eq!((stats.handshakes_full, stats.handshakes_resumed), (1, 0));
    }
    assert!(
        !pair.sent[ALICE].windows(5).any(|window| window == b"first"),
        "the message is encrypted"
    );
}

#[test]
fn a_list_of_revoked_members_closes_their_links_and_forgets_their_sessions() {
    let network = Authority::generate().unwrap();
    let identities = [(); 2].map(|()| network.issue(Duration::MAX).unwrap());
    let roots = Roots::from_pem(network.cert_pem().as_bytes()).unwrap();
    let trust = [(); 2].map(|()| Trust::Private(roots.clone()));
    let mut pair = Pair::with(&identities, &trust);
    pair.establish_link();
    let renew = |pair: &mut Pair, roots: &Roots| {
        let now = pair.now;
        let closed = pair.towers[BOB].renew(&identities[BOB], roots, now);
        pair.drive();
        closed
    };
    // Nothing is closed without a reason.
    assert_eq!(renew(&mut pair, &roots), Ok(0));
    let links = |pair: &Pair| pair.towers[BOB].tower().links().count();
    assert_eq!(links(&pair), 1);
    assert_eq!(
        renew(&mut pair, &Roots::from_pem(identities[ALICE].cert_pem().as_bytes()).unwrap()),
        Err(TlsError::OwnNotFromRoots)
    );
    let other = Identity::generate().unwrap();
    let now = pair.now;
    assert_eq!(pair.towers[BOB].renew(&other, &roots, now), Err(TlsError::KeyMismatch));

    let list = network.revoke([(identities[ALICE].fingerprint(), Duration::ZERO)]).unwrap();
    let list = Revocations::from_pem(list.as_bytes()).unwrap();
    let revoking = roots.revoking(&list).unwrap();
    assert_eq!(renew(&mut pair, &revoking), Ok(1));
    let revoked = CloseReason::Tls(TlsFailure::CertificateRevoked);
    assert_eq!(pair.close_reasons(BOB).last(), Some(&revoked));
    assert_eq!(links(&pair), 0);
    // Alice has a ticket of Bob, who does not accept it any more.
    let received = pair.queued(BOB);
    pair.enqueue(ALICE, &Message::text("again"));
    pair.advance(Duration::from_secs(600));
    assert_eq!(pair.queued(BOB), received);
    assert!(pair.close_reasons(ALICE).contains(&revoked), "{:?}", pair.close_reasons(ALICE));
    assert!(pair.towers[BOB].tower().links().all(|link| !link.is_open));
}

#[test]
fn a_renewed_certificate_is_shown_in_new_handshakes() {
    let network = Authority::generate().unwrap();
    // In the year 2128.
    let expires = Duration::from_secs(5_000_000_000);
    let identities = [(); 2].map(|()| network.issue(expires).unwrap());
    let roots = Roots::from_pem(network.cert_pem().as_bytes()).unwrap();
    let trust = [(); 2].map(|()| Trust::Private(roots.clone()));
    let mut pair = Pair::with(&identities, &trust);
    let renewed = network.renew(identities[BOB].cert_pem(), Duration::MAX).unwrap();
    let renewed = Identity::from_pem(identities[BOB].key_pem().as_bytes(), renewed.as_bytes());
    assert_eq!(pair.towers[BOB].renew(&renewed.unwrap(), &roots, pair.now), Ok(0));
    pair.establish_link();
    let bob = pair.towers[ALICE].tower().find(&address(BOB)).unwrap();
    assert_eq!(bob.fingerprint, Some(identities[BOB].fingerprint()));
}

#[test]
fn a_second_dial_resumes_the_session_with_the_same_keys() {
    let identities = identities();
    let mut pair = Pair::with(&identities, &[Trust::Open, Trust::Open]);
    // Bob dials Alice first and learns her key. Alice's own dials have to prove the same key.
    pair.expand(BOB);
    pair.towers[BOB].tower_mut().announce(&address(ALICE), pair.now).unwrap();
    pair.drive();
    pair.advance(Duration::from_secs(200));
    assert_eq!(pair.towers[ALICE].tower().links().count(), 0, "the idle link is closed");

    for round in 0..3 {
        pair.enqueue(ALICE, &Message::text(&format!("round {round}")));
        pair.drive();
        assert_eq!(pair.queued(BOB), round + 1);
        pair.advance(Duration::from_secs(200));
        assert_eq!(pair.towers[ALICE].tower().links().count(), 0);
    }
    for tower in &pair.towers {
        let stats = tower.tower().stats();
        assert_eq!(stats.handshakes_full, 2);
        assert!(stats.handshakes_resumed >= 2, "{}", stats.handshakes_resumed);
        assert_eq!(stats.claims_disproved, 0, "resumption proves the same key");
    }
    for side in [ALICE, BOB] {
        let other = pair.towers[side].tower().find(&address(1 - side)).unwrap();
        assert_eq!(other.fingerprint, Some(identities[1 - side].fingerprint()));
        assert_eq!(other.status, Status::Alive);
    }
}

#[test]
fn a_changed_key_closes_the_link_and_is_reported() {
    let mut pair = Pair::open();
    pair.establish_link();
    let connection = pair.connections.len() - 1;
    pair.close_connection(connection);
    pair.drive();

    let other = Identity::generate().unwrap();
    pair.towers[BOB] = secure_tower(BOB, paused_config(), &other, Trust::Open);
    pair.enqueue(ALICE, &Message::text("for Bob alone"));
    pair.drive();
    assert!(pair.close_reasons(ALICE).contains(&CloseReason::KeyChanged), "{:?}", pair.notices);
    let seen = Some(other.fingerprint());
    let peer = address(BOB);
    assert!(pair.notices[ALICE].contains(&Notice::KeyChanged { peer, seen }));
    assert_eq!(pair.queued(BOB), 0);
    assert_eq!(pair.queued(ALICE), 1);
    // Bob learns why.
    let goodbye = CloseReason::Goodbye(Farewell::OtherKey);
    assert_eq!(pair.close_reasons(BOB).last(), Some(&goodbye), "{:?}", pair.notices);
}

#[test]
fn a_tower_that_has_lost_its_key_is_told_so_when_it_announces_itself() {
    let mut pair = Pair::open();
    pair.establish_link();
    let connection = pair.connections.len() - 1;
    pair.close_connection(connection);
    pair.drive();

    let other = Identity::generate().unwrap();
    pair.towers[BOB] = secure_tower(BOB, paused_config(), &other, Trust::Open);
    let now = pair.now;
    pair.towers[BOB].tower_mut().announce(&address(ALICE), now).unwrap();
    pair.drive();
    let is_told = |notice: &Notice| {
        matches!(notice, Notice::Refused { by, reason: RefusedReason::OtherKey, .. }
            if *by == address(ALICE))
    };
    assert!(pair.notices[BOB].iter().any(is_told), "{:?}", pair.notices[BOB]);
    let announced = |notice: &Notice| matches!(notice, Notice::Announced { .. });
    assert!(!pair.notices[BOB].iter().any(announced), "Alice does not dial Bob");
    let alice = pair.towers[BOB].tower().find(&address(ALICE)).unwrap();
    assert_eq!(alice.status, Status::Alive);
}

/// Creates the root certificate of a private network and the identity of one member.
fn private_member() -> (Identity, Trust) {
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
fn a_private_network_refuses_an_outsider_and_both_sides_report_the_certificate() {
    for insider in [ALICE, BOB] {
        let (identity, private) = private_member();
        let mut identities = identities();
        identities[insider] = identity;
        let mut trust = [Trust::Open, Trust::Open];
        trust[insider] = private;
        let mut pair = Pair::with(&identities, &trust);
        pair.expand(ALICE);
        pair.enqueue(ALICE, &Message::text("not delivered"));
        pair.drive();

        let refused = CloseReason::Tls(TlsFailure::UnknownIssuer);
        assert_eq!(pair.close_reasons(ALICE).first(), Some(&refused), "{:?}", pair.notices);
        assert_eq!(pair.close_reasons(BOB).first(), Some(&refused), "{:?}", pair.notices);
        assert_eq!((pair.queued(ALICE), pair.queued(BOB)), (1, 0));
        assert!(pair.towers.iter().all(|tower| tower.tower().stats().links_misbehaved > 0));
        assert!(pair.connections.iter().all(|c| c.endpoints.iter().all(|end| !end.is_open)));
    }
}

#[test]
fn an_open_network_accepts_an_expired_certificate() {
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
        Pair::with(&identities, &[Trust::Open, Trust::Open]).establish_link();
    }
}

#[test]
fn a_client_with_this_protocol_and_a_certificate_is_accepted() {
    let identity = Identity::generate().unwrap();
    let (mut client, mut harness) = (client(&[b"clacks/2"], Some(&identity)), Harness::new());
    assert_eq!(drive(&mut client, &mut harness), Ok(()));
    assert_eq!(harness.closed, None);
    assert_eq!(harness.tower.tower().stats().handshakes_full, 1);
}

#[test]
fn a_client_with_another_protocol_or_none_is_refused() {
    let identity = Identity::generate().unwrap();
    let refused = Some(CloseReason::Tls(TlsFailure::NoCommonProtocol));

    let (mut other, mut harness) = (client(&[b"http/1.1"], Some(&identity)), Harness::new());
    let alert = Error::AlertReceived(AlertDescription::NoApplicationProtocol);
    assert_eq!(drive(&mut other, &mut harness), Err(alert));
    assert_eq!(harness.closed, refused);

    let (mut silent, mut harness) = (client(&[], Some(&identity)), Harness::new());
    drive(&mut silent, &mut harness).unwrap();
    assert_eq!(harness.closed, refused);
    assert_eq!(harness.tower.tower().stats().handshakes_full, 0);
    let state = silent.process_new_packets().unwrap();
    assert!(state.peer_has_closed() && state.plaintext_bytes_to_read() == 0, "{state:?}");
}

#[test]
fn a_client_without_a_certificate_is_refused() {
    let (mut client, mut harness) = (client(&[b"clacks/2"], None), Harness::new());
    let alert = Error::AlertReceived(AlertDescription::CertificateRequired);
    assert_eq!(drive(&mut client, &mut harness), Err(alert));
    assert_eq!(harness.closed, Some(CloseReason::Tls(TlsFailure::Certificate)));
}

#[test]
fn a_tower_closes_a_link_to_a_peer_with_its_own_key() {
    let one = Identity::generate().unwrap();
    let mut pair = Pair::with(&[one.clone(), one], &[Trust::Open, Trust::Open]);
    pair.expand(ALICE);
    pair.enqueue(ALICE, &Message::text("not delivered"));
    pair.drive();
    assert_eq!(pair.close_reasons(ALICE), [CloseReason::OwnAddress]);
    assert_eq!((pair.queued(ALICE), pair.queued(BOB)), (1, 0));
}

#[test]
fn a_guest_with_the_key_of_the_tower_is_answered() {
    let one = Identity::generate().unwrap();
    let mut pair = Pair::with(&[one.clone(), one.clone()], &[Trust::Open, Trust::Open]);
    for (side, is_guest) in [(ALICE, true), (BOB, false)] {
        let mut config = paused_config();
        config.datagrams = Datagrams::ON;
        config.is_guest = is_guest;
        pair.towers[side] = secure_tower(side, config, &one, Trust::Open);
    }
    let bob = pair.expand(ALICE);
    let now = pair.now;
    pair.towers[ALICE].tower_mut().datagram(To::Peer(bob), Bytes::from("question"), now).unwrap();
    pair.drive();
    let question = pair.towers[BOB].tower_mut().take_datagram().unwrap();
    let answer = To::Link(question.link);
    pair.towers[BOB].tower_mut().datagram(answer, Bytes::from("answer"), now).unwrap();
    pair.drive();
    let answer = pair.towers[ALICE].tower_mut().take_datagram();
    assert_eq!(answer.map(|answer| answer.body), Some(Bytes::from("answer")), "{:?}", pair.notices);
}

#[test]
fn two_towers_that_dial_each_other_at_once_become_alive() {
    let mut pair = Pair::open();
    pair.towers[BOB] =
        secure_tower(BOB, unlimited_config(), &Identity::generate().unwrap(), Trust::Open);
    pair.expand(ALICE);
    pair.expand(BOB);
    for side in [ALICE, BOB] {
        pair.towers[side].tower_mut().announce(&address(1 - side), pair.now).unwrap();
    }
    pair.drive();
    for side in [ALICE, BOB] {
        let other = pair.towers[side].tower().find(&address(1 - side)).unwrap();
        assert_eq!(other.status, Status::Alive);
    }
}
