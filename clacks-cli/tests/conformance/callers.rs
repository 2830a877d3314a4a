//! Callers that are no towers.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::network::{FOREVER, Network, Runtimes, connect, without_timeouts};
use crate::recorder::{LinkRecord, Recorder, Records};

/// Calls a tower whose only timeout is that of the handshake. Returns the bytes that the tower has
/// sent before it closed its side, and the record of the link.
fn call(
    runtimes: Runtimes,
    handshake: Duration,
    act: impl FnOnce(&mut TcpStream),
) -> (Vec<u8>, LinkRecord) {
    let mut config = without_timeouts();
    config.timeouts.handshake = handshake;
    let records = Records::default();
    let mut network = Network::new(runtimes);
    let mut tower = network.start_machine(config, |tower| Recorder::new(tower, &records));
    let mut caller = connect(tower.socket);
    act(&mut caller);
    let mut received = Vec::new();
    caller.read_to_end(&mut received).unwrap();
    drop(caller);
    tower.shut_down();
    let [link] = records.links()[..] else { panic!("one link") };
    (received, link)
}

pub(crate) fn a_caller_with_another_protocol_receives_a_goodbye_and_the_end(runtimes: Runtimes) {
    let request = b"GET / HTTP/1.1\r\n\r\n";
    let (received, link) = call(runtimes, FOREVER, |caller| caller.write_all(request).unwrap());
    assert!(!received.is_empty());
    assert_eq!((link.received, link.sent, link.terminal), (request.len(), received.len(), 1));
}

pub(crate) fn a_link_ends_when_the_caller_has_closed_its_side(runtimes: Runtimes) {
    let (_, link) = call(runtimes, FOREVER, |caller| caller.shutdown(Shutdown::Write).unwrap());
    assert_eq!((link.received, link.finished, link.terminal), (0, 1, 1));
}

pub(crate) fn a_silent_caller_is_closed_at_the_handshake_timeout(runtimes: Runtimes) {
    let (_, link) = call(runtimes, Duration::from_millis(20), |_| ());
    assert_eq!((link.received, link.terminal), (0, 1));
}
