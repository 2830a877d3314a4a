//! Callers that are not towers.

use clacks_mio::{Handle, Reactor};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use crate::machines::start_witness;
use crate::support::{FOREVER, address, port, run, tower, without_timeouts};
use crate::witness::{Record, Seen, Witness};

/// Calls a tower without timers, except for its handshake timeout. Reads what it sends until it
/// closes its side.
fn call(handshake: Duration, speak: impl FnOnce(&mut TcpStream)) -> (Vec<u8>, Seen) {
    let mut config = without_timeouts();
    config.timeouts.handshake = handshake;
    let (running, record) = start_witness(config, Witness::new);
    let mut caller = TcpStream::connect(running.handle.local_addr()).unwrap();
    speak(&mut caller);
    let mut heard = Vec::new();
    caller.read_to_end(&mut heard).unwrap();
    drop(caller);
    running.handle.shutdown().wait();
    running.join().unwrap();
    (heard, record.links()[0])
}

#[test]
fn a_caller_with_another_protocol_gets_a_farewell_and_the_end() {
    run(|| {
        let request = b"GET / HTTP/1.1\r\n\r\n";
        let (heard, seen) = call(FOREVER, |caller| caller.write_all(request).unwrap());
        assert!(!heard.is_empty());
        assert_eq!((seen.received, seen.sent, seen.terminal), (request.len(), heard.len(), 1));
    });
}

#[test]
fn a_link_ends_when_the_caller_has_closed_its_side() {
    run(|| {
        let (_, seen) = call(FOREVER, |caller| caller.shutdown(Shutdown::Write).unwrap());
        assert_eq!((seen.received, seen.finished, seen.terminal), (0, 1, 1));
    });
}

#[test]
fn a_silent_caller_is_closed_at_the_handshake_timeout() {
    run(|| {
        let (_, seen) = call(Duration::from_millis(20), |_| ());
        assert_eq!((seen.received, seen.terminal), (0, 1));
    });
}

/// The beginning of a hello. The tower answers nothing to it that would cause another event.
const HELLO_BEGINS: [u8; 4] = [0xc1, 0, 0, 0];

#[test]
fn an_end_of_stream_in_the_same_event_as_bytes_is_noticed() {
    run(|| {
        let (handle, mut reactor, record) = by_turns(port());
        let mut caller = TcpStream::connect(handle.local_addr()).unwrap();
        // Until the tower has sent its hello, and so has noticed that the connection is writable.
        while !record.any(|seen| seen.sent > 0) || reactor.next_timeout() == Some(Duration::ZERO) {
            reactor.turn(None).unwrap();
        }
        caller.write_all(&HELLO_BEGINS).unwrap();
        caller.shutdown(Shutdown::Write).unwrap();
        turn_until_finished(&mut reactor, &record);
    });
}

#[test]
fn an_end_of_stream_in_the_same_event_as_the_connection_is_noticed() {
    run(|| {
        let (handle, mut reactor, record) = by_turns(port());
        let called = port();
        handle.announce(&address(&called)).unwrap();
        // Begins to dial, and learns nothing more before its next turn.
        reactor.turn(None).unwrap();
        let (mut answer, _) = called.accept().unwrap();
        answer.write_all(&HELLO_BEGINS).unwrap();
        answer.shutdown(Shutdown::Write).unwrap();
        turn_until_finished(&mut reactor, &record);
    });
}

/// A tower without timers that has its turns from the test.
fn by_turns(listener: TcpListener) -> (Handle<Witness>, Reactor<Witness>, Record) {
    let (machine, record) = Witness::new(tower(without_timeouts(), &listener));
    let (handle, reactor) = Reactor::new(machine, listener).unwrap();
    (handle, reactor, record)
}

fn turn_until_finished(reactor: &mut Reactor<Witness>, record: &Record) {
    while !record.any(|seen| seen.finished == 1) {
        reactor.turn(None).unwrap();
    }
}
