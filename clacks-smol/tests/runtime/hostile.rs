//! Callers at a TLS port that do what no tower does. Each loses its own link, for a reason that is
//! counted.

use clacks_proto::tls::{Identity, SecureTower, Trust};
use clacks_proto::{CloseReason, Config, Message, Notice, SendRate, Stats, Status, TlsFailure};
use clacks_smol::Notices;
use smol::future;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::{
    Running, address, becomes, delivers, find, port, quick, receives, run, tower,
};

type Secure = Running<SecureTower>;

fn start(config: Config) -> Secure {
    let listener = port();
    crate::secure::start_secure(config, &Identity::generate().unwrap(), listener)
}

/// A configuration with few enough notices that a reader that is slow for a moment misses none.
fn paced() -> Config {
    let mut config = quick();
    config.send_rate = SendRate::Every(Duration::from_millis(10));
    config
}

/// A tower that exchanges messages with an honest peer without a pause. Links in both directions
/// are open when this returns.
async fn busy_tower(config: Config) -> (Secure, Secure, Notices) {
    let (tower, honest) = (start(config), start(paced()));
    let mut notices = tower.handle.notices();
    tower.handle.expand(&honest.address()).unwrap();
    for _ in 0..200 {
        tower.handle.enqueue(Message::text("honest work")).unwrap();
    }
    delivers(&mut notices, 1).await;
    receives(&mut notices, "honest work").await;
    (tower, honest, notices)
}

async fn closes(notices: &mut Notices, wanted: CloseReason) {
    find(notices, |notice| match notice {
        Notice::LinkClosed { reason, .. } => (reason == wanted).then_some(()),
        _ => None,
    })
    .await;
}

/// Sends bytes to a tower, and waits until it has notified that the link is closed for a reason.
async fn is_cut(tower: &Secure, notices: &mut Notices, bytes: &'static [u8], reason: CloseReason) {
    future::zip(call(tower.handle.local_addr(), bytes), closes(notices, reason)).await;
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
        let (tower, _honest, mut notices) = busy_tower(paced()).await;
        let callers: [&[u8]; 4] = [
            b"GET / HTTP/1.1\r\nHost: tower\r\n\r\n",
            b"hello? is anybody there?\n",
            &[0xC1, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0],
            &[0xFF; 100],
        ];
        for (bytes, count) in callers.into_iter().zip(1..) {
            is_cut(&tower, &mut notices, bytes, CloseReason::Tls(TlsFailure::NotTls)).await;
            assert_eq!(tower.handle.stats().links_misbehaved, count);
        }
        delivers(&mut notices, 50).await;
    });
}

#[test]
fn an_incomplete_handshake_ends_at_the_timeout() {
    run(async {
        let mut config = paced();
        config.timeouts.handshake = Duration::from_millis(300);
        let (tower, _honest, mut notices) = busy_tower(config).await;
        // On a slow machine the honest peer's handshakes may have timed out as well.
        let before = tower.handle.stats().links_timed_out;
        // The head of a TLS record whose rest never comes, and nothing at all.
        let head = &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00];
        is_cut(&tower, &mut notices, head, CloseReason::HandshakeTimeout).await;
        is_cut(&tower, &mut notices, b"", CloseReason::HandshakeTimeout).await;
        assert_eq!(tower.handle.stats().links_timed_out, before + 2);
        delivers(&mut notices, 50).await;
    });
}

#[test]
fn a_thousand_silent_connections_leave_room_for_honest_ones() {
    run(async {
        let mut config = paced();
        config.timeouts.handshake = Duration::from_secs(2);
        let (tower, _honest, mut notices) = busy_tower(config).await;
        let socket = tower.handle.local_addr();
        let answered = |stats: Stats| stats.links_accepted + stats.links_refused;
        // Some at a time, because both ends of each connection are in this process. The tower
        // answers all of them before the next ones.
        for _ in 0..10 {
            let before = answered(tower.handle.stats());
            let silent: Vec<_> = (0..100).map(|_| TcpStream::connect(socket).unwrap()).collect();
            delivers(&mut notices, 20).await;
            while answered(tower.handle.stats()) < before + 100 {
                delivers(&mut notices, 1).await;
            }
            drop(silent);
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
        let mut config = paced();
        config.timeouts.handshake = Duration::from_millis(300);
        let (tower, _honest, mut notices) = busy_tower(config).await;
        // The system completes connections, and no process reads from them.
        let listener = port();
        let deaf = address(&listener);
        tower.handle.expand(&deaf).unwrap();
        find(&mut notices, |notice| match notice {
            Notice::LinkClosed { peer, reason: CloseReason::HandshakeTimeout, .. } => {
                (peer.as_ref() == Some(&deaf)).then_some(())
            }
            _ => None,
        })
        .await;
        delivers(&mut notices, 100).await;
    });
}

/// Carries the bytes of each connection in both directions until `stop` is set. Then it holds the
/// connections open and reads nothing.
fn relay(inside: SocketAddr, outside: TcpListener, stop: Arc<AtomicBool>) {
    thread::spawn(move || {
        // On a slow machine it may take more than one call to complete a handshake.
        for caller in outside.incoming().map_while(Result::ok) {
            let Ok(tower) = TcpStream::connect(inside) else { return };
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
                    // After the stop the connection stays open.
                    while stop.load(Ordering::Relaxed) {
                        thread::park();
                    }
                    for end in [from, to] {
                        let _ = end.shutdown(Shutdown::Both);
                    }
                });
            }
        }
    });
}

#[test]
fn a_peer_that_stops_reading_is_given_up_and_its_messages_go_to_others() {
    run(async {
        let mut config = paced();
        config.timeouts.confirm = Duration::from_millis(300);
        config.timeouts.handshake = Duration::from_millis(300);
        let (busy, _honest, mut notices) = busy_tower(config).await;
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
