//! Callers at a port with TLS that do not follow the protocol. Each caller loses its own link, and
//! the tower still exchanges messages with an honest peer.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use clacks_proto::{CloseReason, Config, Notice, SendRate, Stats, TlsFailure};

use crate::network::{
    FOREVER, Network, RunningTower, Runtimes, address_of, connect, listen, quick,
};

/// Returns a configuration with so few notices that a reader that is slow for a second misses none.
fn paced() -> Config {
    let mut config = quick();
    config.send_rate = SendRate::Every(Duration::from_millis(10));
    config
}

/// Returns a tower that exchanges messages with an honest peer all the time, and the peer. Links in
/// both directions are open.
fn busy_tower(network: &mut Network, config: Config) -> (RunningTower, RunningTower) {
    let (mut tower, peer) = (network.start(config), network.start(paced()));
    tower.expand(&peer.address).unwrap();
    for _ in 0..200 {
        tower.enqueue_text("honest work");
    }
    tower.wait_for_deliveries(1);
    tower.wait_for_text("honest work");
    (tower, peer)
}

fn wait_for_closed_link(tower: &mut RunningTower, wanted: CloseReason) {
    tower.wait_for(&format!("{wanted:?}"), |notice| {
        matches!(notice, Notice::LinkClosed { reason, .. } if *reason == wanted).then_some(())
    });
}

/// Connects to the tower and sends bytes.
fn call(tower: &RunningTower, bytes: &[u8]) -> TcpStream {
    let mut caller = connect(tower.socket);
    caller.write_all(bytes).unwrap();
    caller
}

/// Reads until the tower closes the connection.
fn read_to_end(mut caller: TcpStream) {
    if let Err(error) = caller.read_to_end(&mut Vec::new()) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
}

pub(crate) fn links_without_tls_are_closed_and_counted(runtimes: Runtimes) {
    let mut network = Network::new(runtimes);
    let (mut tower, _peer) = busy_tower(&mut network, paced());
    let requests: [&[u8]; 4] = [
        b"GET / HTTP/1.1\r\nHost: tower\r\n\r\n",
        b"hello? is this a tower?\n",
        &[0xC1, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0],
        &[0xFF; 100],
    ];
    for (bytes, count) in requests.into_iter().zip(1..) {
        let caller = call(&tower, bytes);
        wait_for_closed_link(&mut tower, CloseReason::Tls(TlsFailure::NotTls));
        assert_eq!(tower.stats().links_misbehaved, count);
        read_to_end(caller);
    }
    tower.wait_for_deliveries(50);
}

pub(crate) fn an_incomplete_handshake_ends_at_the_timeout(runtimes: Runtimes) {
    let mut config = paced();
    config.timeouts.handshake = Duration::from_millis(300);
    let mut network = Network::new(runtimes);
    let (mut tower, _peer) = busy_tower(&mut network, config);
    // On a slow machine the first handshakes of the peer may have timed out, too.
    let before = tower.stats().links_timed_out;
    // The head of a TLS record without the rest, and nothing at all.
    let head = [0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00];
    for bytes in [&head[..], &[]] {
        let caller = call(&tower, bytes);
        wait_for_closed_link(&mut tower, CloseReason::HandshakeTimeout);
        read_to_end(caller);
    }
    assert_eq!(tower.stats().links_timed_out, before + 2);
    tower.wait_for_deliveries(50);
}

pub(crate) fn a_thousand_silent_callers_leave_room_for_a_new_peer(runtimes: Runtimes) {
    /// Fits into the queue of a listener. Both ends of each connection are in this process.
    const BATCH: usize = 100;

    let answered = |stats: Stats| stats.links_accepted + stats.links_refused;
    let mut config = paced();
    config.timeouts.handshake = FOREVER;
    let mut network = Network::new(runtimes);
    let (mut tower, _peer) = busy_tower(&mut network, config);
    let mut silent = Vec::new();
    for _ in 0..10 {
        let before = answered(tower.stats());
        // Closes the connections of the previous batch.
        silent = (0..BATCH).map(|_| connect(tower.socket)).collect::<Vec<_>>();
        tower.wait_for_deliveries(10);
        tower.wait_until("an answer to each caller", |tower| {
            answered(tower.stats()) >= before + u64::try_from(BATCH).unwrap()
        });
    }
    // The last batch is silent, and makes room.
    let mut newcomer = network.start(quick());
    newcomer.announce(&tower.address).unwrap();
    newcomer.wait_for("the confirmation", |notice| {
        matches!(notice, Notice::Announced { .. }).then_some(())
    });
    drop(silent);
}

pub(crate) fn a_peer_that_never_answers_delays_no_other_peer(runtimes: Runtimes) {
    let mut config = paced();
    config.timeouts.handshake = Duration::from_millis(300);
    let mut network = Network::new(runtimes);
    let (mut tower, _peer) = busy_tower(&mut network, config);
    // The operating system completes the connections. No process reads from them.
    let listener = listen();
    let silent = address_of(&listener);
    tower.expand(&silent).unwrap();
    tower.wait_for("the handshake timeout", |notice| match notice {
        Notice::LinkClosed { peer: Some(peer), reason: CloseReason::HandshakeTimeout, .. } => {
            (*peer == silent).then_some(())
        }
        _ => None,
    });
    tower.wait_for_deliveries(50);
}
