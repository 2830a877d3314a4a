//! The keys of towers with TLS: pinned keys, private networks, and peers without TLS.

use clacks_proto::tls::{Identity, Roots, Trust};
use clacks_proto::{Address, CloseReason, Fingerprint, Notice, Status, TlsFailure};

use crate::network::{Network, RunningTower, Runtimes, TowerOptions, listen_again, quick, quiet};

pub(crate) fn a_tower_with_another_key_at_a_known_address_receives_nothing(runtimes: Runtimes) {
    let mut network = Network::new(runtimes);
    let options = TowerOptions::from(quiet());
    let identity = options.identity.clone();
    let mut tower = network.start(quick());
    let original = network.start(options);
    let (address, socket) = (original.address.clone(), original.socket);
    assert_eq!(original.identity(), Some(identity.fingerprint()));
    tower.expand(&address).unwrap();
    tower.enqueue_text("first");
    tower.wait_for_deliveries(1);
    assert_eq!(tower.find(&address).unwrap().fingerprint, Some(identity.fingerprint()));
    original.kill();
    tower.wait_for_status(Status::Lost, &address);
    tower.enqueue_text("second");

    let listener = Some(listen_again(socket));
    let options = TowerOptions { listener, ..quiet().into() };
    let other_key = options.identity.fingerprint();
    let impostor = network.start(options);
    for _ in 0..3 {
        wait_for_changed_key(&mut tower, &address, &other_key);
    }
    let peer = tower.find(&address).unwrap();
    assert_eq!((peer.status, peer.fingerprint), (Status::Lost, Some(identity.fingerprint())));
    assert_eq!((tower.queue_len(), impostor.stats().received), (1, 0));
    impostor.kill();

    let listener = Some(listen_again(socket));
    let mut original = network.start(TowerOptions { identity, listener, ..quiet().into() });
    original.wait_for_text("second");
    tower.wait_for_status(Status::Alive, &address);
}

fn wait_for_changed_key(tower: &mut RunningTower, address: &Address, key: &Fingerprint) {
    tower.wait_for("another key", |notice| match notice {
        Notice::KeyChanged { peer, seen } if peer == address => {
            assert_eq!(seen.as_ref(), Some(key));
            Some(())
        }
        _ => None,
    });
}

pub(crate) fn a_private_network_refuses_towers_with_other_keys(runtimes: Runtimes) {
    let mut network = Network::new(runtimes);
    let members = [Identity::generate().unwrap(), Identity::generate().unwrap()];
    let roots = members.iter().map(Identity::cert_pem).collect::<Vec<_>>().join("\n");
    let trust = Trust::Private(Roots::from_pem(roots.as_bytes()).unwrap());
    let [mut one, mut two] = members.map(|identity| {
        let trust = trust.clone();
        network.start(TowerOptions { identity, trust, ..quick().into() })
    });
    let mut outsider = network.start(quick());

    // Its links are refused.
    outsider.enqueue_text("May I?");
    outsider.announce(&one.address).unwrap();
    outsider.wait_for_status(Status::Lost, &one.address);
    wait_for_refusal(&mut one);
    assert_eq!(one.survey(), []);
    // Links to it are refused, too.
    two.enqueue_text("members only");
    two.expand(&outsider.address).unwrap();
    two.wait_for_status(Status::Lost, &outsider.address);
    wait_for_refusal(&mut two);

    two.expand(&one.address).unwrap();
    one.wait_for_text("members only");
    one.wait_for_status(Status::Alive, &two.address);
    let stats = outsider.stats();
    assert_eq!((stats.received, stats.delivered), (0, 0));
    assert_eq!(outsider.queue_len(), 1);
    assert_eq!(two.status_of(&outsider.address), Some(Status::Lost));
}

fn wait_for_refusal(tower: &mut RunningTower) {
    tower.wait_for("a refused certificate", |notice| {
        let refused = CloseReason::Tls(TlsFailure::UnknownIssuer);
        matches!(notice, Notice::LinkClosed { reason, .. } if *reason == refused).then_some(())
    });
}

pub(crate) fn a_tower_without_tls_is_not_learned_by_a_tower_with_tls(runtimes: Runtimes) {
    let mut network = Network::new(runtimes);
    let secure = network.start(quiet());
    let mut clear = network.start_clear(quick());
    clear.announce(&secure.address).unwrap();
    clear.wait_for_status(Status::Lost, &secure.address);
    assert_eq!(secure.survey(), []);
}
