//! The same driver with TLS inside the state machine.

use clacks_proto::tls::{Identity, SecureTower, Trust};
use clacks_proto::{Config, Message, Notice, Status};
use std::net::TcpListener;

use crate::support::{
    Running, becomes, find, port, port_again, quick, quiet, receives, run, start, start_machine,
    tower,
};

pub(crate) fn start_secure(
    config: Config,
    identity: &Identity,
    listener: TcpListener,
) -> Running<SecureTower> {
    let tower = tower(config, &listener);
    start_machine(SecureTower::new(tower, identity, Trust::Open).unwrap(), listener)
}

fn start_with_new_key(config: Config) -> Running<SecureTower> {
    start_secure(config, &Identity::generate().unwrap(), port())
}

#[test]
fn towers_with_tls_pass_messages_of_any_size_and_pin_keys() {
    run(async {
        let mut config = quick();
        config.max_message = 1 << 20;
        let identity = Identity::generate().unwrap();
        let one = start_with_new_key(config.clone());
        config.send_rate = quiet().send_rate;
        let two = start_secure(config, &identity, port());
        let mut notices = two.handle.notices();
        one.handle.expand(&two.address()).unwrap();
        for len in [0, 1, 16_384, 65_536, 1 << 20] {
            let text = "o".repeat(len);
            one.handle.enqueue(Message::text(&text)).unwrap();
            receives(&mut notices, &text).await;
        }
        assert_eq!(two.handle.identity(), Some(identity.fingerprint()));
        assert_eq!(one.handle.survey()[0].fingerprint, Some(identity.fingerprint()));
        one.handle.shutdown().await;
        two.handle.shutdown().await;
    });
}

#[test]
fn another_key_at_the_same_address_is_reported() {
    run(async {
        let (one, two) = (start_with_new_key(quick()), start_with_new_key(quick()));
        let (address, socket) = (two.address(), two.handle.local_addr());
        let mut notices = one.handle.notices();
        one.handle.expand(&address).unwrap();
        becomes(&mut notices, &address, Status::Alive).await;
        two.kill().await;
        becomes(&mut notices, &address, Status::Lost).await;

        let other = Identity::generate().unwrap();
        let _two = start_secure(quick(), &other, port_again(socket));
        let seen = find(&mut notices, |notice| match notice {
            Notice::KeyChanged { peer, seen } if peer == address => Some(seen),
            _ => None,
        })
        .await;
        assert_eq!(seen, Some(other.fingerprint()));
    });
}

#[test]
fn a_tower_in_clear_text_is_not_learned() {
    run(async {
        let (secure, clear) = (start_with_new_key(quiet()), start(quick()));
        let mut notices = clear.handle.notices();
        clear.handle.announce(&secure.address()).unwrap();
        becomes(&mut notices, &secure.address(), Status::Lost).await;
        assert_eq!(secure.handle.survey(), []);
    });
}
