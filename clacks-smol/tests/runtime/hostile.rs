//! Strangers on a TLS port that do what no tower does. Each loses its own link, for a reason that is told and counted; the others go on.

use clacks_proto::tls::{Identity, SecureTower, Trust};
use clacks_proto::{Address, CloseReason, Config, Message, Report, Stats, Status, TlsFailure};
use clacks_smol::{Driver, Handle, Notices};
use smol::Task;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::{delivers, find, port, quick, run, tower};

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

/// A tower that hands messages to an honest peer without a pause.
async fn busy_tower(config: Config) -> (Secure, Secure, Notices) {
    let (tower, honest) = (start(config), start(quick()));
    let notices = tower.handle.notices();
    let address = Address::try_from(honest.handle.local_addr()).unwrap();
    tower.handle.expand(&address).await.unwrap();
    for _ in 0..200 {
        tower.handle.enqueue(Message::text("honest work")).await.unwrap();
    }
    (tower, honest, notices)
}

async fn closes(notices: &mut Notices, wanted: CloseReason) {
    find(notices, |report| match report {
        Report::LinkClosed { why, .. } if why == wanted => Some(()),
        _ => None,
    })
    .await;
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
        let (tower, _honest, mut notices) = busy_tower(quick()).await;
        let socket = tower.handle.local_addr();
        let strangers: [&[u8]; 4] = [
            b"GET / HTTP/1.1\r\nHost: tower\r\n\r\n",
            b"hello? is anybody there?\n",
            &[0xC1, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0],
            &[0xFF; 100],
        ];
        for (bytes, count) in strangers.into_iter().zip(1..) {
            say(socket, bytes).await;
            closes(&mut notices, CloseReason::Tls(TlsFailure::NotTls)).await;
            assert_eq!(tower.handle.stats().await.links_misbehaved, count);
        }
        delivers(&mut notices, 50).await;
    });
}

#[test]
fn half_a_handshake_and_silence_end_at_the_deadline() {
    run(async {
        let mut config = quick();
        config.timeouts.handshake = Duration::from_millis(300);
        let (tower, _honest, mut notices) = busy_tower(config).await;
        let socket = tower.handle.local_addr();
        // The head of a TLS record that never comes whole, and nothing at all.
        say(socket, &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00]).await;
        closes(&mut notices, CloseReason::HandshakeTimeout).await;
        say(socket, b"").await;
        closes(&mut notices, CloseReason::HandshakeTimeout).await;
        assert_eq!(tower.handle.stats().await.links_timed_out, 2);
        delivers(&mut notices, 50).await;
    });
}

#[test]
fn a_thousand_connections_that_say_nothing_leave_room_for_honest_ones() {
    run(async {
        let mut config = quick();
        config.timeouts.handshake = Duration::from_millis(500);
        let (tower, honest, mut notices) = busy_tower(config).await;
        let socket = tower.handle.local_addr();
        // In parts, because both ends of each connection are this process's: most are dropped as soon as they are made.
        for _ in 0..10 {
            let silent: Vec<_> = (0..100).map(|_| TcpStream::connect(socket).unwrap()).collect();
            delivers(&mut notices, 20).await;
            drop(silent);
        }
        let settled = |stats: Stats| stats.links_accepted + stats.links_refused >= 1_000;
        while !settled(tower.handle.stats().await) {
            delivers(&mut notices, 1).await;
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
        let mut config = quick();
        config.timeouts.handshake = Duration::from_millis(300);
        let (tower, _honest, mut notices) = busy_tower(config).await;
        // The system completes connections to it, and nobody ever reads a byte of them.
        let deaf = port();
        let address = Address::try_from(deaf.local_addr().unwrap()).unwrap();
        tower.handle.expand(&address).await.unwrap();
        closes(&mut notices, CloseReason::HandshakeTimeout).await;
        delivers(&mut notices, 100).await;
        drop(deaf);
    });
}

/// Carries bytes in both directions until it is told to stop reading; then it only holds the connection open.
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
                // The connection stays open.
                thread::park();
            });
        }
        // Later calls wait in the system's queue for ever.
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
