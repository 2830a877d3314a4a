//! A tower without a driver, on one connection.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use clacks_proto::{Action, Address, Event, Instant, LinkId, StateMachine, Tower};

use crate::network::{address_of, connect, listen, quiet, tower_at};

/// A tower that sends and receives bytes only when the test calls a method. Its clock stands
/// still.
pub(crate) struct ManualTower {
    tower: Tower,
    link: LinkId,
    stream: TcpStream,
}

impl ManualTower {
    /// Connects to a tower.
    pub(crate) fn dial(peer: &Address) -> Self {
        let mut tower = tower_at(address_of(&listen()), quiet());
        tower.announce(peer, Instant::ORIGIN).unwrap();
        let link = loop {
            if let Action::Connect { link, .. } = tower.poll_action().unwrap() {
                break link;
            }
        };
        tower.handle(Event::Connected { link, at: None }, Instant::ORIGIN);
        Self { tower, link, stream: connect(peer.to_string().parse().unwrap()) }
    }

    /// Accepts the next connection of a listener.
    pub(crate) fn accept(listener: &TcpListener) -> Self {
        let mut tower = tower_at(address_of(listener), quiet());
        let link = tower.accept(Ipv4Addr::LOCALHOST.into(), Instant::ORIGIN).unwrap();
        Self { tower, link, stream: listener.accept().unwrap().0 }
    }

    /// Sends everything that the tower has to send.
    pub(crate) fn send(&mut self) {
        let mut bytes = Vec::new();
        while self.tower.transmit(self.link, &mut bytes) > 0 {}
        self.stream.write_all(&bytes).unwrap();
    }

    /// Receives the bytes that have arrived. Does not wait.
    pub(crate) fn receive(&mut self) {
        self.stream.set_nonblocking(true).unwrap();
        let mut buffer = [0; 4_096];
        while let Ok(count @ 1..) = self.stream.read(&mut buffer) {
            let event = Event::BytesArrived { link: self.link, bytes: &buffer[..count] };
            self.tower.handle(event, Instant::ORIGIN);
        }
        self.stream.set_nonblocking(false).unwrap();
    }

    /// Returns the number of messages in the queue.
    pub(crate) fn queue_len(&self) -> usize {
        self.tower.queue_usage().messages
    }
}
