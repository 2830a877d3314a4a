//! Towers that stop and return, and addresses where no tower is.

use clacks_proto::{Address, Message, Notice, Status};
use std::io::{ErrorKind, Read};
use std::net::TcpStream;

use crate::support::{ClosedPort, FOREVER, becomes, find, port_again, quick, run, start, start_at};

#[test]
fn a_tower_that_stops_becomes_lost_and_alive_when_it_returns() {
    run(|| {
        let (one, two) = (start(quick()), start(quick()));
        let mut notices = one.handle.notices();
        let (address, socket) = (two.address(), two.handle.local_addr());
        one.handle.expand(&address).unwrap();
        becomes(&mut notices, &address, Status::Alive);

        two.kill();
        becomes(&mut notices, &address, Status::Lost);

        let _two = start_at(quick(), port_again(socket));
        becomes(&mut notices, &address, Status::Alive);
    });
}

#[test]
fn all_sockets_are_closed_when_the_reactor_is_dropped() {
    run(|| {
        let mut config = quick();
        config.timeouts.handshake = FOREVER;
        let tower = start(config);
        let mut silent = TcpStream::connect(tower.handle.local_addr()).unwrap();
        silent.read_exact(&mut [0; 1]).unwrap();
        tower.kill();
        // The rest of the hello, then the end. Blocks if the socket is still open.
        let rest = silent.read_to_end(&mut Vec::new()).map_err(|error| error.kind());
        assert!(matches!(rest, Ok(_) | Err(ErrorKind::ConnectionReset)));
    });
}

#[test]
fn a_closed_port_becomes_lost_and_the_message_is_requeued() {
    run(|| {
        let port = ClosedPort::new();
        let closed = &port.address;
        let tower = start(quick());
        let mut notices = tower.handle.notices();
        tower.handle.enqueue(Message::text("nobody takes this")).unwrap();
        tower.handle.expand(closed).unwrap();
        becomes(&mut notices, closed, Status::Lost);
        find(&mut notices, |notice| matches!(notice, Notice::MessageQueued { .. }).then_some(()));
        assert_eq!(tower.handle.queue_usage().messages, 1);
        assert!(tower.handle.stats().links_dialled >= 1);
    });
}

#[test]
fn a_name_without_addresses_becomes_lost() {
    run(|| {
        let unknown = Address::new("no-such-tower.invalid", 8001).unwrap();
        let tower = start(quick());
        let mut notices = tower.handle.notices();
        tower.handle.announce(&unknown).unwrap();
        becomes(&mut notices, &unknown, Status::Lost);
    });
}

#[test]
fn names_without_addresses_do_not_hold_up_other_dials() {
    run(|| {
        // More names than are looked up at a time.
        let (one, two) = (start(quick()), start(quick()));
        let mut notices = one.handle.notices();
        for number in 0..20 {
            let unknown = Address::new(&format!("no-{number}.invalid"), 8001).unwrap();
            one.handle.announce(&unknown).unwrap();
        }
        one.handle.announce(&two.address()).unwrap();
        let (mut lost, mut is_alive) = (0, false);
        find(&mut notices, |notice| {
            if let Notice::StatusChanged { to, .. } = notice {
                lost += usize::from(to == Status::Lost);
                is_alive |= to == Status::Alive;
            }
            (is_alive && lost >= 20).then_some(())
        });
    });
}
