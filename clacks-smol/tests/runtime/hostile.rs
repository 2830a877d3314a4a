//! Callers at a TLS port that do what no tower does. Each loses its own link, for a reason that is
//! counted.

use clacks_proto::tls::{Identity, SecureTower, Trust};
use clacks_proto::{CloseReason, Config, Message, Notice, Stats, Status, TlsFailure};
use clacks_smol::Notices;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::{Running, address, becomes, delivers, find, port, quick, run, tower};

type Secure = Running<SecureTower>;

fn start(config: Config) -> Secure {
    let listener = port();
    crate::secure::start_secure(config, &Identity::generate().unwrap(), listener)
}

/// A tower that hands messages to an honest peer without a pause.
fn busy_tower(config: Config) -> (Secure, Secure, Notices) {
    let (tower, honest) = (start(config), start(quick()));
    let notices = tower.handle.notices();
    tower.handle.expand(&honest.address()).unwrap();
    for _ in 0..200 {
        tower.handle.enqueue(Message::text("honest work")).unwrap();
    }
    (tower, honest, notices)
}

async fn closes(notices: &mut Notices, wanted: CloseReason) {
    find(notices, |notice| match notice {
        Notice::LinkClosed { reason, .. } => (reason == wanted).then_some(()),
        _ => None,
    })
    .await;
}

/// Sends bytes, and reads until the tower closes the connection.
async fn call(socket: SocketAddr, bytes: &'static [u8]) {
    smol::unblock(move || {
        let mut stream = TcpStream::connect(socket).unwrap();
        stream.write_all(bytes).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    })
    .await;
}

#[test]
fn links_without_tls_are_closed_and_counted() {
    run(async {
        let (tower, _honest, mut notices) = busy_tower(quick());
        let socket = tower.handle.local_addr();
        let callers: [&[u8]; 4] = [
            b"GET / HTTP/1.1\r\nHost: tower\r\n\r\n",
            b"hello? is anybody there?\n",
            &[0xC1, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0],
            &[0xFF; 100],
        ];
        for (bytes, count) in callers.into_iter().zip(1..) {
            call(socket, bytes).await;
            closes(&mut notices, CloseReason::Tls(TlsFailure::NotTls)).await;
            assert_eq!(tower.handle.stats().links_misbehaved, count);
        }
        delivers(&mut notices, 50).await;
    });
}

#[test]
fn an_incomplete_handshake_ends_at_the_timeout() {
    run(async {
        let mut config = quick();
        config.timeouts.handshake = Duration::from_millis(300);
        let (tower, _honest, mut notices) = busy_tower(config);
        let socket = tower.handle.local_addr();
        // The head of a TLS record whose rest never comes, and nothing at all.
        call(socket, &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00]).await;
        closes(&mut notices, CloseReason::HandshakeTimeout).await;
        call(socket, b"").await;
        closes(&mut notices, CloseReason::HandshakeTimeout).await;
        assert_eq!(tower.handle.stats().links_timed_out, 2);
        delivers(&mut notices, 50).await;
    });
}

#[test]
fn a_thousand_silent_connections_leave_room_for_honest_ones() {
    run(async {
        let mut config = quick();
        config.timeouts.handshake = Duration::from_millis(500);
        let (tower, _honest, mut notices) = busy_tower(config);
        let socket = tower.handle.local_addr();
        // Some at a time, because both ends of each connection are in this process.
        for _ in 0..10 {
            let silent: Vec<_> = (0..100).map(|_| TcpStream::connect(socket).unwrap()).collect();
            delivers(&mut notices, 20).await;
            drop(silent);
        }
        let is_settled = |stats: Stats| stats.links_accepted + stats.links_refused >= 1_000;
        while !is_settled(tower.handle.stats()) {
            delivers(&mut notices, 1).await;
        }
        assert!(tower.handle.stats().links_refused > 0);
        // A new peer gets a link as soon as a deadline has made room.
        let newcomer = start(quick());
        let mut seen = newcomer.handle.notices();
        newcomer.handle.announce(&tower.address()).unwrap();
        find(&mut seen, |notice| matches!(notice, Notice::Announced { .. }).then_some(())).await;
    });
}

#[test]
fn a_peer_that_never_answers_does_not_hold_up_others() {
    run(async {
        let mut config = quick();
        config.timeouts.handshake = Duration::from_millis(300);
        let (tower, _honest, mut notices) = busy_tower(config);
        // The system completes connections, and no process reads from them.
        let deaf = port();
        tower.handle.expand(&address(&deaf)).unwrap();
        closes(&mut notices, CloseReason::HandshakeTimeout).await;
        delivers(&mut notices, 100).await;
    });
}

/// Carries bytes in both directions until `stop` is set. Then it holds the connection open and
/// reads nothing.
fn relay(inside: SocketAddr, outside: TcpListener, stop: Arc<AtomicBool>) {
    thread::spawn(move || {
        let caller = outside.accept().unwrap().0;
        let tower = TcpStream::connect(inside).unwrap();
        for (mut from, mut to) in
            [(caller.try_clone().unwrap(), tower.try_clone().unwrap()), (tower, caller)]
        {
            let stop = stop.clone();
            thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(count @ 1..) = from.read(&mut buffer) {
                    if stop.load(Ordering::Relaxed) || to.write_all(&buffer[..count]).is_err() {
                        break;
                    }
                }
                thread::park();
            });
        }
        // Later callers wait in the queue of the system.
        thread::park();
        drop(outside);
    });
}

#[test]
fn a_peer_that_stops_reading_is_given_up_and_its_messages_go_to_others() {
    run(async {
        let mut config = quick();
        config.timeouts.confirm = Duration::from_millis(300);
        config.timeouts.handshake = Duration::from_millis(300);
        let (busy, _honest, mut notices) = busy_tower(config);
        let (inside, outside) = (port(), port());
        let machine =
            SecureTower::new(tower(quick(), &outside), &Identity::generate().unwrap(), Trust::Open);
        let relayed = address(&outside);
        let stop = Arc::new(AtomicBool::new(false));
        relay(inside.local_addr().unwrap(), outside, stop.clone());
        let _behind = crate::support::start_machine(machine.unwrap(), inside);
        busy.handle.expand(&relayed).unwrap();
        find(&mut notices, |notice| match notice {
            Notice::MessageDelivered { to, .. } => (to == relayed).then_some(()),
            _ => None,
        })
        .await;
        stop.store(true, Ordering::Relaxed);
        closes(&mut notices, CloseReason::ConfirmTimeout).await;
        becomes(&mut notices, &relayed, Status::Lost).await;
        delivers(&mut notices, 100).await;
    });
}
