//! Towers die and come back, and their peers notice.

use clacks_proto::{Address, Message, Report, Status};
use std::io::{ErrorKind, Read};
use std::net::TcpStream;

use crate::support::{ClosedPort, FOR_EVER, find, port_again, quick, run, start, start_at, turns};

#[test]
fn a_tower_that_dies_is_lost_and_one_that_comes_back_is_alive() {
    run(|| {
        let (one, two) = (start(quick()), start(quick()));
        let notices = one.handle.notices();
        let (address, socket) = (two.address(), two.handle.local_addr());
        one.handle.expand(&address).unwrap();
        turns(&notices, &address, Status::Alive);

        two.kill();
        turns(&notices, &address, Status::Lost);

        let _two = start_at(quick(), port_again(socket));
        turns(&notices, &address, Status::Alive);
    });
}

#[test]
fn death_closes_every_socket_at_once() {
    run(|| {
        let mut config = quick();
        config.timeouts.handshake = FOR_EVER;
        let tower = start(config);
        let mut silent = TcpStream::connect(tower.handle.local_addr()).unwrap();
        silent.read_exact(&mut [0; 1]).unwrap();
        tower.kill();
        // The rest of the hello, then the end: blocks for ever if the socket outlives the tower.
        let rest = silent.read_to_end(&mut Vec::new()).map_err(|error| error.kind());
        assert!(matches!(rest, Ok(_) | Err(ErrorKind::ConnectionReset)));
    });
}

#[test]
fn a_closed_port_is_lost_and_the_message_stays() {
    run(|| {
        let port = ClosedPort::new();
        let closed = port.address();
        let tower = start(quick());
        let notices = tower.handle.notices();
        tower.handle.enqueue(Message::text("for nobody")).unwrap();
        tower.handle.expand(&closed).unwrap();
        turns(&notices, &closed, Status::Lost);
        find(&notices, |report| matches!(report, Report::MessageQueued { .. }).then_some(()));
        assert_eq!(tower.handle.held().0, 1);
        assert!(tower.handle.stats().links_dialled >= 1);
    });
}

#[test]
fn a_name_without_an_address_is_lost() {
    run(|| {
        let nowhere = Address::new("no-such-tower.invalid", 8001).unwrap();
        let tower = start(quick());
        let notices = tower.handle.notices();
        tower.handle.announce(&nowhere).unwrap();
        turns(&notices, &nowhere, Status::Lost);
    });
}

#[test]
fn names_without_addresses_do_not_hold_up_the_others() {
    run(|| {
        // More than are looked up at a time.
        let (one, two) = (start(quick()), start(quick()));
        let notices = one.handle.notices();
        for number in 0..20 {
            let nowhere = Address::new(&format!("no-{number}.invalid"), 8001).unwrap();
            one.handle.announce(&nowhere).unwrap();
        }
        one.handle.announce(&two.address()).unwrap();
        let (mut lost, mut alive) = (0, false);
        find(&notices, |report| {
            if let Report::StatusChanged { to, .. } = report {
                lost += usize::from(to == Status::Lost);
                alive |= to == Status::Alive;
            }
            (alive && lost >= 20).then_some(())
        });
    });
}
