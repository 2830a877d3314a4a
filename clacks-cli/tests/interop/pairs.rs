//! One of ours and one of theirs.

use clacks_proto::tls::{Identity, Roots, Trust};
use clacks_proto::{Dialect, Message, Notice, Status};
use serde_json::json;

use crate::javascript::{Keys, Tower, package};
use crate::network::{Network, Runtimes, TowerOptions, quick};
use crate::one_network::both;

const RATE: f64 = 50.0;

pub(crate) fn each_side_can_ignore_the_other(runtimes: Runtimes) {
    let Some(package) = package() else { return };
    let mut network = Network::new(runtimes);

    // They ignore us: they refuse, we keep the message and call them lost.
    let mut theirs = Tower::start(package, &Keys::new(), RATE);
    let mut ours = network.start(both(quick()));
    theirs.ignore(&ours.address);
    ours.expand(&theirs.address).unwrap();
    ours.enqueue_text("unwanted");
    ours.wait_for_status(Status::Lost, &theirs.address);
    assert_eq!((theirs.state().received, ours.queue_len()), (0, 1));
    assert!(ours.stats().refused_by_peers > 0);

    // We ignore them.
    let mut theirs = Tower::start(package, &Keys::new(), RATE);
    let ours = network.start(both(quick()));
    ours.ignore(&theirs.address).unwrap();
    theirs.announce(&ours.address);
    theirs.enqueue(&json!("unwanted"));
    // An announcement that is refused teaches them nothing: they have to be told.
    let mut third = network.start(both(quick()));
    third.expand(&theirs.address).unwrap();
    third.expand(&ours.address).unwrap();
    third.enqueue_text("carries a friend");
    theirs.thinks("lost", &ours.address);
    third.wait_until("messages travel", |third| third.stats().received > 0);
    assert_eq!(ours.status_of(&theirs.address), Some(Status::Ignored));
    assert!(ours.stats().refused > 0);
}

pub(crate) fn what_is_too_long_for_them_goes_to_our_own(runtimes: Runtimes) {
    let Some(package) = package() else { return };
    let mut network = Network::new(runtimes);
    let mut theirs = Tower::start(package, &Keys::new(), 0.001);
    let mut ours = network.start(both(quick()));
    ours.expand(&theirs.address).unwrap();
    // As long as one record holds, and one byte more.
    let around = format!(
        r#"{{"message":"","type":"message","sender":{{"hostname":"127.0.0.1","port":{}}}}}"#,
        ours.address.port()
    );
    let longest = "x".repeat(16 * 1024 - 120 - around.len());
    ours.enqueue_text(&longest);
    ours.wait_for_deliveries(1);
    assert_eq!(theirs.state().queue, [json!(longest)], "it came unharmed");

    let long = "y".repeat(16 * 1024);
    ours.enqueue_text(&long);
    for n in 0..20 {
        ours.enqueue_text(&format!("{n}"));
    }
    ours.wait_for_deliveries(20);
    assert_eq!(ours.queue_len(), 1, "it waits, and nothing waits for it");
    let mut other = network.start(both(crate::network::quiet()));
    ours.expand(&other.address).unwrap();
    other.wait_for_text(&long);
    assert_eq!(theirs.state().queue.len(), 21);
    assert_eq!(ours.find(&theirs.address).unwrap().dialect, Some(Dialect::Http));
    assert_eq!(ours.find(&other.address).unwrap().dialect, Some(Dialect::Native));
}

/// Like the one that comes with the package.
pub(crate) fn a_certificate_of_version_1_is_no_obstacle(runtimes: Runtimes) {
    let Some(package) = package() else { return };
    let keys = Keys::from_pem(include_str!("version1.key.pem"), include_str!("version1.cert.pem"));
    let mut network = Network::new(runtimes);
    let mut theirs = Tower::start(package, &keys, RATE);
    let mut ours = network.start(both(quick()));
    ours.announce(&theirs.address).unwrap();
    ours.wait_for("it is announced", |notice| {
        matches!(notice, Notice::Announced { .. }).then_some(())
    });
    theirs.enqueue(&json!("from an old certificate"));
    ours.wait_for_text("from an old certificate");
    assert_eq!(ours.find(&theirs.address).unwrap().fingerprint, None, "it has proved no key");
}

pub(crate) fn a_private_network_keeps_them_out(runtimes: Runtimes) {
    let Some(package) = package() else { return };
    let mut network = Network::new(runtimes);
    let identity = Identity::generate().unwrap();
    let roots = Roots::from_pem(identity.cert_pem().as_bytes()).unwrap();
    let mut options = TowerOptions::from(both(quick()));
    options.trust = Trust::Private(roots);
    options.identity = identity;
    let mut ours = network.start(options);
    let mut theirs = Tower::start(package, &Keys::new(), RATE);
    ours.enqueue_text("secret");
    ours.expand(&theirs.address).unwrap();
    ours.wait_for_status(Status::Lost, &theirs.address);
    theirs.announce(&ours.address);
    theirs.enqueue(&json!("intruding"));
    ours.wait_for("a caller without a certificate", |notice| match notice {
        Notice::LinkClosed { peer: None, reason, .. } => Some(*reason),
        _ => None,
    });
    assert_eq!((theirs.state().received, ours.stats().received), (0, 0));
}

pub(crate) fn without_http_the_original_can_not_be_reached(runtimes: Runtimes) {
    let Some(package) = package() else { return };
    let mut network = Network::new(runtimes);
    let mut ours = network.start(quick());
    let mut theirs = Tower::start(package, &Keys::new(), RATE);
    ours.enqueue(Message::text("native only")).unwrap();
    ours.expand(&theirs.address).unwrap();
    ours.wait_for_status(Status::Lost, &theirs.address);
    assert_eq!((theirs.state().received, ours.queue_len()), (0, 1));
}
