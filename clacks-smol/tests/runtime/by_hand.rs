//! A tower that a test drives by hand, over one connection. Shared by the tests of all runtimes.

use clacks_proto::{Action, Address, Event, Instant, LinkId, StateMachine, Tower};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use crate::towers::{port, quiet, tower};

/// A tower whose bytes move when the test says so. Its clock stands still.
pub(crate) struct ByHand {
    tower: Tower,
    link: LinkId,
    stream: TcpStream,
}

impl ByHand {
    /// Connects to a tower.
    pub(crate) fn dial(peer: &Address) -> Self {
        let mut tower = tower(quiet(), &port());
        tower.announce(peer, Instant::ORIGIN).unwrap();
        let link = loop {
            if let Action::Connect { link, .. } = tower.poll_action().unwrap() {
                break link;
            }
        };
        tower.handle(Event::Connected { link }, Instant::ORIGIN);
        Self { tower, link, stream: TcpStream::connect(peer.to_string()).unwrap() }
    }

    /// Takes a connection that waits at a listener.
    pub(crate) fn accept(listener: &TcpListener) -> Self {
        let mut tower = tower(quiet(), listener);
        let link = tower.accept(Ipv4Addr::LOCALHOST.into(), Instant::ORIGIN).unwrap();
        Self { tower, link, stream: listener.accept().unwrap().0 }
    }

    /// Sends everything that the tower has to send.
    pub(crate) fn send(&mut self) {
        let mut bytes = Vec::new();
        while self.tower.transmit(self.link, &mut bytes) > 0 {}
        self.stream.write_all(&bytes).unwrap();
    }

    /// Takes in what has arrived. Does not wait.
    pub(crate) fn receive(&mut self) {
        self.stream.set_nonblocking(true).unwrap();
        let mut buffer = [0; 4_096];
        while let Ok(count @ 1..) = self.stream.read(&mut buffer) {
            let event = Event::BytesArrived { link: self.link, bytes: &buffer[..count] };
            self.tower.handle(event, Instant::ORIGIN);
        }
        self.stream.set_nonblocking(false).unwrap();
    }

    /// Returns the number of messages that the tower holds.
    pub(crate) fn messages(&self) -> usize {
        self.tower.queue_usage().messages
    }
}
