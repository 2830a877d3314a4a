//! Callers that are no towers: what a bare socket sees.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::machines::witness;
use crate::support::{FOR_EVER, quiet, run};
use crate::witness::Seen;

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
fn a_caller_whose_end_comes_with_its_words_is_heard_and_let_go() {
    run(|| {
        // Both are news of the same moment, and are told only once.
        let (_, seen) = call(FOR_EVER, |caller| {
            caller.write_all(b"?").unwrap();
            caller.shutdown(Shutdown::Write).unwrap();
        });
        assert_eq!((seen.received, seen.terminal), (1, 1));
    });
}

#[test]
fn a_silent_caller_is_cut_in_time() {
    run(|| {
        let (_, seen) = call(Duration::from_millis(20), |_| ());
        assert_eq!((seen.received, seen.terminal), (0, 1));
    });
}
