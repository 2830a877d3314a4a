//! The same driver with TLS inside the machine.

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

#[test]
fn secure_towers_pass_messages_of_any_size_and_pin_keys() {
    run(async {
        let mut config = quick();
        config.max_message = 1 << 20;
        let identity = Identity::generate().unwrap();
        let one = start_secure(config.clone(), &Identity::generate().unwrap(), port());
        config.send_rate = quiet().send_rate;
        let two = start_secure(config, &identity, port());
        let mut notices = two.handle.notices();
        one.handle.expand(&two.address()).await.unwrap();
        for len in [0, 1, 16_384, 65_536, 1 << 20] {
            let text = "o".repeat(len);
            one.handle.enqueue(Message::text(&text)).await.unwrap();
            receives(&mut notices, &text).await;
        }
        let peers = one.handle.survey().await;
        assert_eq!(peers[0].fingerprint, Some(identity.fingerprint()));
        one.handle.shutdown().await;
        two.handle.shutdown().await;
    });
}

#[test]
fn another_key_at_the_same_address_is_noticed() {
    run(async {
        let one = start_secure(quick(), &Identity::generate().unwrap(), port());
        let two = start_secure(quick(), &Identity::generate().unwrap(), port());
        let (address, socket) = (two.address(), two.handle.local_addr());
        let mut notices = one.handle.notices();
        one.handle.expand(&address).await.unwrap();
        turns(&mut notices, &address, Status::Alive).await;
        two.kill().await;
        turns(&mut notices, &address, Status::Lost).await;

        let stranger = Identity::generate().unwrap();
        let _two = start_secure(quick(), &stranger, port_again(socket));
        let seen = find(&mut notices, |report| match report {
            Report::KeyChanged { tower, seen } if tower == address => Some(seen),
            _ => None,
        })
        .await;
        assert_eq!(seen, Some(stranger.fingerprint()));
    });
}

#[test]
fn a_tower_in_clear_text_gets_nowhere() {
    run(async {
        let secure = start_secure(quiet(), &Identity::generate().unwrap(), port());
        let clear = start(quick());
        let mut notices = clear.handle.notices();
        clear.handle.announce(&secure.address()).await.unwrap();
        turns(&mut notices, &secure.address(), Status::Lost).await;
        assert_eq!(secure.handle.survey().await, []);
    });
}
