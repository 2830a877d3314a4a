//! Dials: names, addresses without a tower, and timeouts.

use std::net::TcpStream;
use std::time::Duration;

use clacks_proto::{Address, CloseReason, Notice, Status};

use crate::network::{FOREVER, Network, Runtimes, address_of, connect, listen, quick, quiet};
use crate::recorder::{LinkRecord, Recorder, Records};

/// An address that refuses connections. The ends of an old connection reserve its port.
pub(crate) struct ClosedPort {
    pub(crate) address: Address,
    _ends: [TcpStream; 2],
}

impl ClosedPort {
    pub(crate) fn new() -> Self {
        let listener = listen();
        let caller = connect(listener.local_addr().unwrap());
        let (accepted, _) = listener.accept().unwrap();
        Self { address: address_of(&listener), _ends: [caller, accepted] }
    }
}

/// Returns the address of a host that does not exist.
fn unknown_host(number: usize) -> Address {
    Address::new(&format!("no-{number}.invalid"), 8001).unwrap()
}

pub(crate) fn a_peer_that_refuses_connections_becomes_lost_and_its_message_stays(
    runtimes: Runtimes,
) {
    let port = ClosedPort::new();
    let mut network = Network::new(runtimes);
    let mut tower = network.start_clear(quick());
    tower.enqueue_text("not delivered");
    tower.expand(&port.address).unwrap();
    tower.wait_for_status(Status::Lost, &port.address);
    assert_eq!(tower.queue_len(), 1);
    assert!(tower.stats().links_dialled >= 1);
}
pub(crate) fn a_host_name_is_resolved_and_its_addresses_are_dialled(runtimes: Runtimes) {
    let mut network = Network::new(runtimes);
    let sender = network.start_clear(quick());
    let mut receiver = network.start_clear(quiet());
    // `localhost` may also be ::1, where no tower listens.
    let name = Address::new("localhost", receiver.socket.port()).unwrap();
    sender.expand(&name).unwrap();
    sender.enqueue_text("by name");
    receiver.wait_for_text("by name");
}

pub(crate) fn unknown_hosts_become_lost_and_do_not_delay_other_dials(runtimes: Runtimes) {
    /// More than are looked up at a time.
    const HOSTS: usize = 20;

    let mut network = Network::new(runtimes);
    let mut tower = network.start_clear(quick());
    let peer = network.start_clear(quick());
    (0..HOSTS).for_each(|number| tower.announce(&unknown_host(number)).unwrap());
    tower.announce(&peer.address).unwrap();
    tower.wait_for_status(Status::Alive, &peer.address);
    for number in 0..HOSTS {
        tower.wait_for_status(Status::Lost, &unknown_host(number));
    }
}

pub(crate) fn a_slow_look_up_ends_at_the_connect_timeout(runtimes: Runtimes) {
    /// The last ones wait until the first ones have been looked up.
    const HOSTS: usize = 40;

    let mut config = quiet();
    config.timeouts.connect = Duration::from_millis(1);
    config.probe_backoff = FOREVER;
    let records = Records::default();
    let mut network = Network::new(runtimes);
    let mut tower = network.start_machine(config, |tower| Recorder::new(tower, &records));
    (0..HOSTS).for_each(|number| tower.announce(&unknown_host(number)).unwrap());
    for number in 0..HOSTS {
        tower.wait_for_status(Status::Lost, &unknown_host(number));
    }
    tower.shut_down();
    assert_eq!(records.links(), [LinkRecord { terminal: 1, ..LinkRecord::default() }; HOSTS]);
}

/// Connections hang if the queue of the listener is full. Other systems behave differently then.
#[cfg(target_os = "linux")]
pub(crate) fn a_slow_dial_ends_at_the_connect_timeout(runtimes: Runtimes) {
    let listener = listen();
    let socket = listener.local_addr().unwrap();
    let mut queue = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&socket, Duration::from_millis(500)) {
        queue.push(stream);
    }
    let mut config = quiet();
    config.timeouts.connect = Duration::from_millis(20);
    config.probe_backoff = FOREVER;
    let records = Records::default();
    let mut network = Network::new(runtimes);
    let mut tower = network.start_machine(config, |tower| Recorder::new(tower, &records));
    let address = address_of(&listener);
    tower.announce(&address).unwrap();
    let reason = tower.wait_for("the end of the dial", |notice| match notice {
        Notice::LinkClosed { peer: Some(peer), reason, .. } if *peer == address => Some(*reason),
        _ => None,
    });
    assert_eq!(reason, CloseReason::ConnectTimeout);
    tower.shut_down();
    assert_eq!(records.links(), [LinkRecord { terminal: 1, ..LinkRecord::default() }]);
}
