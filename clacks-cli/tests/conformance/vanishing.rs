//! A peer that is there no more and does not say so: no end of stream, no reset, only silence.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use clacks_proto::{Address, Message, Nonce, Status};

use crate::network::{Network, Plan, Runtimes, port, quick, quiet};

/// Far more than the operating system takes for a socket that nobody reads.
const MESSAGES: usize = 24;
const LEN: usize = 1 << 20;

pub(crate) fn a_peer_that_stops_reading_is_lost_and_its_messages_find_another_way(
    runtimes: Runtimes,
) {
    let mut network = Network::of(runtimes);
    let mut plan = Plan::new(quiet());
    plan.config.max_message = LEN;
    plan.config.window.bytes = u32::MAX;
    let far_end = port();
    let cable = Cable::to(far_end.local_addr().unwrap());
    plan.listener = Some(far_end);
    plan.known_as = Some(Address::try_from(cable.socket).unwrap());
    let mut vanishing = network.raise(plan);

    let mut config = quick();
    config.max_message = LEN;
    config.window.bytes = u32::MAX;
    config.timeouts.handshake = Duration::from_secs(1);
    config.timeouts.confirm = Duration::from_secs(1);
    config.timeouts.close = Duration::from_secs(1);
    let mut tower = network.raise_with(config.clone());
    let mut config = quiet();
    config.max_message = LEN;
    let mut other = network.raise_with(config);
    tower.expand(&vanishing.address).unwrap();
    tower.enqueue_text("still there?");
    vanishing.receives("still there?");
    tower.delivers(1);
    tower.thinks(Status::Alive, &vanishing.address);

    cable.turn(Position::Silent);
    let message = Message::bytes(&[0x55; LEN]);
    let nonces: BTreeSet<Nonce> =
        (0..MESSAGES).map(|_| tower.enqueue(message.clone()).unwrap()).collect();
    tower.thinks(Status::Lost, &vanishing.address);
    // A slow machine may have handed over the first message twice.
    assert_eq!((tower.held().0, vanishing.held().0), (MESSAGES, 1));

    tower.expand(&other.address).unwrap();
    other.until("all the messages", |other| other.held().0 == MESSAGES);
    let held: BTreeSet<Nonce> = other.peek().iter().map(|held| held.nonce).collect();
    assert_eq!(held, nonces);
    tower.until("nothing is left", |tower| tower.held().0 == 0);

    cable.turn(Position::On);
    tower.thinks(Status::Alive, &vanishing.address);

    // Nor does its silence keep others from leaving.
    cable.turn(Position::Silent);
    assert_eq!(tower.leave(), 0);
}

/// Connections to a tower that can fall silent in both directions without being closed.
struct Cable {
    socket: SocketAddr,
    switch: Arc<Switch>,
}

#[derive(Default)]
struct Switch {
    position: Mutex<Position>,
    turned: Condvar,
    /// Both ends of every connection, to be closed at the end.
    streams: Mutex<Vec<TcpStream>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Position {
    /// Bytes are carried.
    #[default]
    On,
    /// Nothing gets through, and nothing is read.
    Silent,
    /// All is over.
    Cut,
}

impl Cable {
    /// A cable to a tower that listens there.
    fn to(target: SocketAddr) -> Self {
        let near_end = port();
        let socket = near_end.local_addr().unwrap();
        let switch = Arc::new(Switch::default());
        let carrying = switch.clone();
        thread::spawn(move || {
            for near in near_end.incoming() {
                if *lock(&carrying.position) == Position::Cut {
                    return;
                }
                let (Ok(near), Ok(far)) = (near, TcpStream::connect(target)) else { continue };
                let again = |stream: &TcpStream| stream.try_clone().unwrap();
                lock(&carrying.streams).extend([again(&near), again(&far)]);
                let (near_again, far_again) = (again(&near), again(&far));
                let (there, back) = (carrying.clone(), carrying.clone());
                thread::spawn(move || there.carry(near, far));
                thread::spawn(move || back.carry(far_again, near_again));
            }
        });
        Self { socket, switch }
    }

    fn turn(&self, to: Position) {
        *lock(&self.switch.position) = to;
        self.switch.turned.notify_all();
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.turn(Position::Cut);
        for stream in lock(&self.switch.streams).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        // Whoever accepts connections wakes up, and sees that it is over.
        let _ = TcpStream::connect(self.socket);
    }
}

impl Switch {
    fn carry(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = [0; 16_384];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let position = lock(&self.position);
            let turned = self.turned.wait_while(position, |to| *to == Position::Silent);
            drop(turned);
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
