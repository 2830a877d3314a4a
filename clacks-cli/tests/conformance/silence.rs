//! A peer falls silent: its connections stay open, but nothing arrives.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use clacks_proto::{Address, CloseReason, Message, Nonce, Notice, Status};

use crate::network::{Network, Runtimes, TowerOptions, listen, quick, quiet};

/// More than the operating system buffers for a socket that is not read.
const MESSAGES: usize = 24;
const LEN: usize = 1 << 20;

pub(crate) fn messages_for_a_silent_peer_go_to_another_one(runtimes: Runtimes) {
    let mut network = Network::new(runtimes);
    let listener = listen();
    let relay = Relay::new(listener.local_addr().unwrap());
    let mut options = TowerOptions::from(quiet());
    options.config.max_message = LEN;
    options.config.window.bytes = u32::MAX;
    options.listener = Some(listener);
    options.address = Some(Address::try_from(relay.socket).unwrap());
    let mut silent = network.start(options);

    let mut config = quick();
    config.max_message = LEN;
    config.window.bytes = u32::MAX;
    config.timeouts.handshake = Duration::from_millis(500);
    config.timeouts.confirm = Duration::from_secs(1);
    config.timeouts.close = Duration::from_millis(500);
    let mut tower = network.start(config);
    let mut config = quiet();
    config.max_message = LEN;
    let mut other = network.start(config);
    tower.expand(&silent.address).unwrap();
    tower.enqueue_text("still there?");
    silent.wait_for_text("still there?");
    tower.wait_for_deliveries(1);
    tower.wait_for_status(Status::Alive, &silent.address);

    relay.set(Traffic::Stopped);
    let message = Message::bytes(&[0x55; LEN]);
    let nonces: BTreeSet<Nonce> =
        (0..MESSAGES).map(|_| tower.enqueue(message.clone()).unwrap()).collect();
    tower.wait_for("the confirm timeout", |notice| match notice {
        Notice::LinkClosed { peer: Some(peer), reason: CloseReason::ConfirmTimeout, .. } => {
            (*peer == silent.address).then_some(())
        }
        _ => None,
    });
    tower.wait_for_status(Status::Lost, &silent.address);
    // On a slow machine the peer may have received the first message twice.
    assert_eq!((tower.queue_len(), silent.queue_len()), (MESSAGES, 1));

    tower.expand(&other.address).unwrap();
    other.wait_until("all messages", |other| other.queue_len() == MESSAGES);
    let held: BTreeSet<Nonce> = other.peek().iter().map(|held| held.nonce).collect();
    assert_eq!(held, nonces);
    tower.wait_until("an empty queue", |tower| tower.queue_len() == 0);

    relay.set(Traffic::Flowing);
    tower.wait_for_status(Status::Alive, &silent.address);

    // A silent peer does not block a shutdown.
    relay.set(Traffic::Stopped);
    assert_eq!(tower.shut_down(), 0);
}

/// Forwards connections to a tower. A test can stop the traffic in both directions without closing
/// the connections.
struct Relay {
    socket: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    traffic: Mutex<Traffic>,
    changed: Condvar,
    /// Both ends of each connection. They are closed at the end of the test.
    streams: Mutex<Vec<TcpStream>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Traffic {
    #[default]
    Flowing,
    /// No byte is read or forwarded.
    Stopped,
    /// The test is over.
    Ended,
}

impl Relay {
    fn new(target: SocketAddr) -> Self {
        let listener = listen();
        let socket = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let accepting = shared.clone();
        thread::spawn(move || {
            for caller in listener.incoming() {
                if *lock(&accepting.traffic) == Traffic::Ended {
                    return;
                }
                let (Ok(caller), Ok(tower)) = (caller, TcpStream::connect(target)) else {
                    continue;
                };
                let clone = |stream: &TcpStream| stream.try_clone().unwrap();
                lock(&accepting.streams).extend([clone(&caller), clone(&tower)]);
                let reverse = (clone(&tower), clone(&caller));
                for (from, to) in [(caller, tower), reverse] {
                    let shared = accepting.clone();
                    thread::spawn(move || shared.forward(from, to));
                }
            }
        });
        Self { socket, shared }
    }

    fn set(&self, traffic: Traffic) {
        *lock(&self.shared.traffic) = traffic;
        self.shared.changed.notify_all();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.set(Traffic::Ended);
        for stream in lock(&self.shared.streams).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        // Wakes the thread that accepts connections.
        let _ = TcpStream::connect(self.socket);
    }
}

impl Shared {
    fn forward(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = [0; 16_384];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let traffic = lock(&self.traffic);
            drop(self.changed.wait_while(traffic, |traffic| *traffic == Traffic::Stopped));
            if to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        for end in [from, to] {
            let _ = end.shutdown(Shutdown::Both);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
