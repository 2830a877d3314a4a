//! Callers that are not towers.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::machines::Alone;
use crate::support::{FOREVER, run, without_timeouts};
use crate::witness::{Seen, Witness};

/// Calls a tower without timers, except for its handshake timeout. Reads what it sends until it
/// closes its side.
async fn call(handshake: Duration, speak: impl FnOnce(&mut TcpStream)) -> (Vec<u8>, Seen) {
    let mut config = without_timeouts();
    config.timeouts.handshake = handshake;
    let (alone, record) = Alone::start(config, Witness::new);
    let mut caller = TcpStream::connect(alone.handle.local_addr()).unwrap();
    speak(&mut caller);
    let heard = smol::unblock(move || {
        let mut heard = Vec::new();
        caller.read_to_end(&mut heard).unwrap();
        heard
    })
    .await;
    alone.handle.shutdown().await;
    alone.join().await.unwrap();
    (heard, record.links()[0])
}

#[test]
fn a_caller_with_another_protocol_gets_a_farewell_and_the_end() {
    run(async {
        let request = b"GET / HTTP/1.1\r\n\r\n";
        let (heard, seen) = call(FOREVER, |caller| caller.write_all(request).unwrap()).await;
        assert!(!heard.is_empty());
        assert_eq!((seen.received, seen.sent, seen.terminal), (request.len(), heard.len(), 1));
    });
}

#[test]
fn a_link_ends_when_the_caller_has_closed_its_side() {
    run(async {
        let (_, seen) = call(FOREVER, |caller| caller.shutdown(Shutdown::Write).unwrap()).await;
        assert_eq!((seen.received, seen.finished, seen.terminal), (0, 1, 1));
    });
}

#[test]
fn a_silent_caller_is_closed_at_the_handshake_timeout() {
    run(async {
        let (_, seen) = call(Duration::from_millis(20), |_| ()).await;
        assert_eq!((seen.received, seen.terminal), (0, 1));
    });
}
