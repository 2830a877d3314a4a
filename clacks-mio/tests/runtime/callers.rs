//! Callers that are no towers: what a bare socket sees.

use clacks_mio::{Handle, Reactor};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use crate::machines::witness;
use crate::support::{FOR_EVER, port, quiet, run, tower};
use crate::witness::{Record, Seen, Witness};

/// Calls a tower that has no reason to wake up by itself, except for its handshake's time-out, and reads to the end.
fn call(handshake: Duration, speak: impl FnOnce(&mut TcpStream)) -> (Vec<u8>, Seen) {
    let mut config = quiet();
    config.timeouts.handshake = handshake;
    config.timeouts.close = FOR_EVER;
    let (running, record) = witness(config, false);
    let mut caller = TcpStream::connect(running.handle.local_addr()).unwrap();
    speak(&mut caller);
    let mut heard = Vec::new();
    // Ends with the sending side of the tower; ours is still open unless it was closed above.
    caller.read_to_end(&mut heard).unwrap();
    drop(caller);
    running.handle.shutdown();
    running.end().unwrap();
    let seen = record.lock().unwrap().values().copied().next();
    (heard, seen.unwrap())
}

#[test]
fn a_rude_caller_hears_why_and_the_end() {
    run(|| {
        let request = b"GET / HTTP/1.1\r\n\r\n";
        let (heard, seen) = call(FOR_EVER, |caller| caller.write_all(request).unwrap());
        assert!(!heard.is_empty());
        assert_eq!((seen.received, seen.sent, seen.terminal), (request.len(), heard.len(), 1));
    });
}

#[test]
fn a_caller_that_has_no_more_to_say_is_let_go() {
    run(|| {
        let (_, seen) = call(FOR_EVER, |caller| caller.shutdown(Shutdown::Write).unwrap());
        assert_eq!((seen.received, seen.finished, seen.terminal), (0, 1, 1));
    });
}

#[test]
fn an_end_that_comes_together_with_words_is_noticed() {
    run(|| {
        let listener = port();
        let mut caller = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (_handle, mut reactor, record) = patient(listener);
        // The hello goes out on the event that the new connection is writable. No other event is due.
        while record.lock().unwrap().values().all(|seen| seen.sent == 0) {
            reactor.turn(None).unwrap();
        }
        // One piece of news for both.
        caller.write_all(&HELLO_BEGINS).unwrap();
        caller.shutdown(Shutdown::Write).unwrap();
        hear_the_end(&mut reactor, &record);
    });
}

/// The one that is called may say something and go before the caller has heard that somebody is there.
#[test]
fn an_end_that_comes_together_with_the_connection_is_noticed() {
    run(|| {
        let (handle, mut reactor, record) = patient(port());
        let called = port();
        handle.announce(&called.local_addr().unwrap().try_into().unwrap()).unwrap();
        // Begins to dial, and learns nothing more of it before its next turn.
        reactor.turn(None).unwrap();
        let (mut answer, _) = called.accept().unwrap();
        answer.write_all(&HELLO_BEGINS).unwrap();
        answer.shutdown(Shutdown::Write).unwrap();
        hear_the_end(&mut reactor, &record);
    });
}

/// The beginning of a hello has no answer that would be news as well.
const HELLO_BEGINS: [u8; 4] = [0xc1, 0, 0, 0];

/// A tower that gives strangers all the time that they want, and has its turns from the test.
fn patient(listener: TcpListener) -> (Handle, Reactor<Witness>, Record) {
    let mut config = quiet();
    config.timeouts.handshake = FOR_EVER;
    config.timeouts.close = FOR_EVER;
    let (machine, record) = Witness::new(tower(config, &listener), false);
    let (handle, reactor) = Reactor::new(machine, listener).unwrap();
    (handle, reactor, record)
}

/// Has turns until an end was noticed. No timer would end them.
fn hear_the_end(reactor: &mut Reactor<Witness>, record: &Record) {
    while record.lock().unwrap().values().all(|seen| seen.finished == 0) {
        reactor.turn(None).unwrap();
    }
}

#[test]
fn a_silent_caller_is_cut_in_time() {
    run(|| {
        let (_, seen) = call(Duration::from_millis(20), |_| ());
        assert_eq!((seen.received, seen.terminal), (0, 1));
    });
}
