//! Who is who, and who may come in.

use clacks_proto::tls::{Identity, Roots, Trust};
use clacks_proto::{Address, CloseReason, Report, Status, TlsFailure};

use crate::network::{Network, Plan, Runtimes, Station, port_again, quick, quiet};

pub(crate) fn another_key_at_a_known_address_gets_nothing(runtimes: Runtimes) {
    let mut network = Network::of(runtimes);
    let mut plan = Plan::new(quiet());
    let identity = plan.identity.clone().unwrap();
    let mut tower = network.raise_with(quick());
    let original = network.raise(plan);
    let (address, socket) = (original.address.clone(), original.socket);
    tower.expand(&address).unwrap();
    tower.enqueue_text("first");
    tower.delivers(1);
    original.kill();
    tower.thinks(Status::Lost, &address);
    tower.enqueue_text("second");

    plan = Plan { listener: Some(port_again(socket)), ..Plan::new(quiet()) };
    let stranger = plan.identity.clone().unwrap().fingerprint();
    let impostor = network.raise(plan);
    for _ in 0..3 {
        sees_another_key(&mut tower, &address, &stranger);
    }
    let peer = tower.peer(&address).unwrap();
    assert_eq!((peer.status, peer.fingerprint), (Status::Lost, Some(identity.fingerprint())));
    assert_eq!((tower.held().0, impostor.stats().received), (1, 0));
    impostor.kill();

    plan = Plan::new(quiet());
    plan.identity = Some(identity);
    plan.listener = Some(port_again(socket));
    let mut original = network.raise(plan);
    original.receives("second");
    tower.thinks(Status::Alive, &address);
}

fn sees_another_key(tower: &mut Station, at: &Address, wanted: &clacks_proto::Fingerprint) {
    tower.hears("another key", |report| match report {
        Report::KeyChanged { tower, seen } if tower == at => {
            assert_eq!(seen.as_ref(), Some(wanted));
            Some(())
        }
        _ => None,
    });
}

pub(crate) fn a_private_network_refuses_a_stranger(runtimes: Runtimes) {
    let mut network = Network::of(runtimes);
    let members = [Identity::generate().unwrap(), Identity::generate().unwrap()];
    let roots = members.iter().map(Identity::cert_pem).collect::<Vec<_>>().join("\n");
    let roots = Roots::from_pem(roots.as_bytes()).unwrap();
    let mut member = |identity: &Identity| {
        let mut plan = Plan::new(quick());
        plan.identity = Some(identity.clone());
        plan.trust = Trust::Private(roots.clone());
        network.raise(plan)
    };
    let (mut one, mut two) = (member(&members[0]), member(&members[1]));
    let mut stranger = network.raise_with(quick());

    // It calls, and is not let in.
    stranger.enqueue_text("May I?");
    stranger.announce(&one.address).unwrap();
    stranger.thinks(Status::Lost, &one.address);
    is_refused(&mut one);
    assert_eq!(one.survey(), []);
    // It is called, and is not given anything.
    two.enqueue_text("members only");
    two.expand(&stranger.address).unwrap();
    two.thinks(Status::Lost, &stranger.address);
    is_refused(&mut two);

    // Among themselves all is well, and stays so.
    two.expand(&one.address).unwrap();
    one.receives("members only");
    one.thinks(Status::Alive, &two.address);
    let theirs = stranger.stats();
    assert_eq!((theirs.received, theirs.delivered), (0, 0));
    assert_eq!(stranger.held().0, 1);
    assert_eq!(two.status_of(&stranger.address), Some(Status::Lost));
}

fn is_refused(at: &mut Station) {
    at.hears("a refusal", |report| {
        let wanted = CloseReason::Tls(TlsFailure::Certificate);
        matches!(report, Report::LinkClosed { why, .. } if *why == wanted).then_some(())
    });
}
