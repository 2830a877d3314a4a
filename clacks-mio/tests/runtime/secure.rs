//! The same reactor with TLS inside the machine.

use clacks_proto::tls::{Identity, SecureTower, Trust};
use clacks_proto::{Config, Message, Report, Status};
use std::net::TcpListener;

use crate::support::{
    Running, find, port, port_again, quick, quiet, receives, run, start, start_machine, tower,
    turns,
};

fn start_secure(config: Config, identity: &Identity, listener: TcpListener) -> Running {
    let tower = tower(config, &listener);
    start_machine(SecureTower::new(tower, identity, Trust::Open).unwrap(), listener)
}

fn start_stranger(config: Config) -> Running {
    start_secure(config, &Identity::generate().unwrap(), port())
}

#[test]
fn secure_towers_pass_messages_of_any_size_and_pin_keys() {
    run(|| {
        let mut config = quick();
        config.max_message = 1 << 20;
        let identity = Identity::generate().unwrap();
        let one = start_stranger(config.clone());
        config.send_rate = quiet().send_rate;
        let two = start_secure(config, &identity, port());
        let notices = two.handle.notices();
        one.handle.expand(&two.address()).unwrap();
        for len in [0, 1, 16_384, 65_536, 1 << 20] {
            let text = "o".repeat(len);
            one.handle.enqueue(Message::text(&text)).unwrap();
            receives(&notices, &text);
        }
        assert_eq!(one.handle.survey()[0].fingerprint, Some(identity.fingerprint()));
        one.handle.shutdown();
        two.handle.shutdown();
    });
}

#[test]
fn another_key_at_the_same_address_is_noticed() {
    run(|| {
        let (one, two) = (start_stranger(quick()), start_stranger(quick()));
        let (address, socket) = (two.address(), two.handle.local_addr());
        let notices = one.handle.notices();
        one.handle.expand(&address).unwrap();
        turns(&notices, &address, Status::Alive);
        two.kill();
        turns(&notices, &address, Status::Lost);

        let stranger = Identity::generate().unwrap();
        let _two = start_secure(quick(), &stranger, port_again(socket));
        let seen = find(&notices, |report| match report {
            Report::KeyChanged { tower, seen } if tower == address => Some(seen),
            _ => None,
        });
        assert_eq!(seen, Some(stranger.fingerprint()));
    });
}

#[test]
fn a_tower_in_clear_text_gets_nowhere() {
    run(|| {
        let (secure, clear) = (start_stranger(quiet()), start(quick()));
        let notices = clear.handle.notices();
        clear.handle.announce(&secure.address()).unwrap();
        turns(&notices, &secure.address(), Status::Lost);
        assert_eq!(secure.handle.survey(), []);
    });
}
