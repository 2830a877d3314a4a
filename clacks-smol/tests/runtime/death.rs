//! Towers die and come back, and their peers notice.

use clacks_proto::{Address, Message, Report, Status};

use crate::support::{ClosedPort, FOR_EVER, find, port_again, quick, run, start, start_at, turns};

#[test]
fn a_tower_that_dies_is_lost_and_one_that_comes_back_is_alive() {
    run(async {
        let (one, two) = (start(quick()), start(quick()));
        let mut notices = one.handle.notices();
        let (address, socket) = (two.address(), two.handle.local_addr());
        one.handle.expand(&address).await.unwrap();
        turns(&mut notices, &address, Status::Alive).await;

        two.kill().await;
        turns(&mut notices, &address, Status::Lost).await;

        let two = start_at(quick(), port_again(socket));
        turns(&mut notices, &address, Status::Alive).await;
        drop(two);
    });
}

#[test]
fn death_closes_every_socket_at_once() {
    run(async {
        let mut config = quick();
        config.timeouts.handshake = FOR_EVER;
        let tower = start(config);
        let mut silent = std::net::TcpStream::connect(tower.handle.local_addr()).unwrap();
        let mut hello = [0; 1];
        std::io::Read::read_exact(&mut silent, &mut hello).unwrap();
        tower.kill().await;
        // The rest of the hello, then the end: blocks for ever if the socket outlives the tower.
        let rest = smol::unblock(move || {
            std::io::Read::read_to_end(&mut silent, &mut Vec::new()).map_err(|error| error.kind())
        });
        assert!(matches!(rest.await, Ok(_) | Err(std::io::ErrorKind::ConnectionReset)));
    });
}

#[test]
fn a_closed_port_is_lost_and_the_message_stays() {
    run(async {
        let port = ClosedPort::new();
        let closed = port.address();
        let tower = start(quick());
        let mut notices = tower.handle.notices();
        tower.handle.enqueue(Message::text("for nobody")).await.unwrap();
        tower.handle.expand(&closed).await.unwrap();
        turns(&mut notices, &closed, Status::Lost).await;
        find(&mut notices, |report| match report {
            Report::MessageQueued { .. } => Some(()),
            _ => None,
        })
        .await;
        assert_eq!(tower.handle.held().await.0, 1);
        assert!(tower.handle.stats().await.links_dialled >= 1);
    });
}

#[test]
fn a_name_without_an_address_is_lost() {
    run(async {
        let nowhere = Address::new("no-such-tower.invalid", 8001).unwrap();
        let tower = start(quick());
        let mut notices = tower.handle.notices();
        tower.handle.announce(&nowhere).await.unwrap();
        turns(&mut notices, &nowhere, Status::Lost).await;
    });
}
