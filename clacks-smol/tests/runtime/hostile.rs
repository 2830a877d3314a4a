//! Strangers on a TLS port that do what no tower does. Each loses its own link, for a reason that is told and counted; the others go on.

use clacks_proto::tls::{Identity, SecureTower, Trust};
use clacks_proto::{
    Address, CloseReason, Config, Message, Report, SendRate, Stats, Status, TlsFailure,
};
use clacks_smol::{Driver, Handle, Notices};
use smol::{Task, future};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::{delivers, find, port, quick, receives, run, tower};

struct Secure {
    handle: Handle,
    _task: Task<io::Result<()>>,
}

fn start(config: Config) -> Secure {
    let listener = port();
    let inner = tower(config, &listener);
    let machine = SecureTower::new(inner, &Identity::generate().unwrap(), Trust::Open).unwrap();
    let (handle, driver) = Driver::new(machine, listener).unwrap();
    Secure { handle, _task: smol::spawn(driver.run()) }
}

/// A configuration with few enough reports that a reader that is slow for a moment misses none.
fn paced() -> Config {
    let mut config = quick();
    config.send_rate = SendRate::Every(Duration::from_millis(10));
    config
}

/// A tower that exchanges messages with an honest peer without a pause. Links in both directions are
/// open when this returns.
async fn busy_tower(config: Config) -> (Secure, Secure, Notices) {
    let (tower, honest) = (start(config), start(paced()));
    let mut notices = tower.handle.notices();
    let address = Address::try_from(honest.handle.local_addr()).unwrap();
    tower.handle.expand(&address).await.unwrap();
    for _ in 0..200 {
        tower.handle.enqueue(Message::text("honest work")).await.unwrap();
    }
    delivers(&mut notices, 1).await;
    receives(&mut notices, "honest work").await;
    (tower, honest, notices)
}

async fn closes(notices: &mut Notices, wanted: CloseReason) {
    find(notices, |report| match report {
        Report::LinkClosed { why, .. } if why == wanted => Some(()),
        _ => None,
    })
    .await;
}

/// Says something to a tower, and waits until it has reported that link closed for a reason.
async fn is_cut(tower: &Secure, notices: &mut Notices, bytes: &'static [u8], reason: CloseReason) {
    future::zip(say(tower.handle.local_addr(), bytes), closes(notices, reason)).await;
}

/// Says something and reads until the tower closes the connection.
async fn say(socket: SocketAddr, bytes: &'static [u8]) {
    smol::unblock(move || {
        let mut stream = TcpStream::connect(socket).unwrap();
        stream.write_all(bytes).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    })
    .await;
}

#[test]
fn what_is_not_tls_is_closed_with_a_reason_and_counted() {
    run(async {
        let (tower, _honest, mut notices) = busy_tower(paced()).await;
        let strangers: [&[u8]; 4] = [
            b"GET / HTTP/1.1\r\nHost: tower\r\n\r\n",
            b"hello? is anybody there?\n",
            &[0xC1, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0],
            &[0xFF; 100],
        ];
        for (bytes, count) in strangers.into_iter().zip(1..) {
            is_cut(&tower, &mut notices, bytes, CloseReason::Tls(TlsFailure::NotTls)).await;
            assert_eq!(tower.handle.stats().await.links_misbehaved, count);
        }
        delivers(&mut notices, 50).await;
    });
}

#[test]
fn half_a_handshake_and_silence_end_at_the_deadline() {
    run(async {
        let mut config = paced();
        config.timeouts.handshake = Duration::from_millis(300);
        let (tower, _honest, mut notices) = busy_tower(config).await;
        // On a slow machine the honest peer's handshakes may have timed out as well.
        let before = tower.handle.stats().await.links_timed_out;
        // The head of a TLS record that never comes whole, and nothing at all.
        let head = &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00];
        is_cut(&tower, &mut notices, head, CloseReason::HandshakeTimeout).await;
        is_cut(&tower, &mut notices, b"", CloseReason::HandshakeTimeout).await;
        assert_eq!(tower.handle.stats().await.links_timed_out, before + 2);
        delivers(&mut notices, 50).await;
    });
}

#[test]
fn a_thousand_connections_that_say_nothing_leave_room_for_honest_ones() {
    run(async {
        let mut config = paced();
        config.timeouts.handshake = Duration::from_secs(2);
        let (tower, honest, mut notices) = busy_tower(config).await;
        let socket = tower.handle.local_addr();
        let answered = |stats: Stats| stats.links_accepted + stats.links_refused;
        // In parts, because both ends of each connection are in this process. The tower accepts or
        // refuses all of a part before the next one.
        for _ in 0..10 {
            let before = answered(tower.handle.stats().await);
            let silent: Vec<_> = (0..100).map(|_| TcpStream::connect(socket).unwrap()).collect();
            delivers(&mut notices, 20).await;
            while answered(tower.handle.stats().await) < before + 100 {
                delivers(&mut notices, 1).await;
            }
            drop(silent);
        }
        let stats = tower.handle.stats().await;
        assert!(stats.links_refused > 0, "{stats:?}");
        // A newcomer gets in while they are at it, as soon as a deadline has made room.
        let newcomer = start(quick());
        let mut seen = newcomer.handle.notices();
        let address = Address::try_from(socket).unwrap();
        newcomer.handle.announce(&address).await.unwrap();
        find(&mut seen, |report| matches!(report, Report::Announced { .. }).then_some(())).await;
        drop(honest);
    });
}

#[test]
fn a_peer_that_never_answers_is_given_up_and_the_others_go_on() {
    run(async {
        let mut config = paced();
        config.timeouts.handshake = Duration::from_millis(300);
        let (tower, _honest, mut notices) = busy_tower(config).await;
        // The system completes connections to it, and nobody ever reads a byte of them.
        let deaf = port();
        let address = Address::try_from(deaf.local_addr().unwrap()).unwrap();
        tower.handle.expand(&address).await.unwrap();
        find(&mut notices, |report| match report {
            Report::LinkClosed { tower, why: CloseReason::HandshakeTimeout } => {
                (tower.as_ref() == Some(&address)).then_some(())
            }
            _ => None,
        })
        .await;
        delivers(&mut notices, 100).await;
        drop(deaf);
    });
}

/// Carries the bytes of each connection in both directions. After the stop it reads nothing, and keeps
/// the connections open.
fn relay(inside: SocketAddr, outside: TcpListener, stop: Arc<AtomicBool>) {
    thread::spawn(move || {
        // A slow machine may need more than one call to shake hands.
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
        let address = Address::try_from(outside.local_addr().unwrap()).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        relay(inside.local_addr().unwrap(), outside, stop.clone());
        let (_handle, driver) = Driver::new(machine.unwrap(), inside).unwrap();
        let _task = smol::spawn(driver.run());
        busy.handle.expand(&address).await.unwrap();
        find(&mut notices, |report| match report {
            Report::MessageDelivered { to, .. } if to == address => Some(()),
            _ => None,
        })
        .await;
        stop.store(true, Ordering::Relaxed);
        closes(&mut notices, CloseReason::ConfirmTimeout).await;
        find(&mut notices, |report| match report {
            Report::StatusChanged { tower, to: Status::Lost, .. } if tower == address => Some(()),
            _ => None,
        })
        .await;
        delivers(&mut notices, 100).await;
    });
}
