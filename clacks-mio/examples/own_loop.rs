//! A tower in the loop of a program that also receives datagrams. Each datagram becomes a message.
//! The towers use TLS on the loopback interface.
//!
//! ```sh
//! cargo run --package clacks-mio --example own_loop
//! ```

use std::error::Error;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;

use clacks_mio::{Handle, Reactor};
use clacks_proto::tls::{Identity, SecureTower, Trust};
use clacks_proto::{Address, Config, Message, Notice, Seed, SendRate, ShutdownProgress, Tower};
use mio::net::UdpSocket;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

const TOWER: Token = Token(0);
const DATAGRAMS: Token = Token(1);

fn main() -> Result<(), Box<dyn Error>> {
    // This tower has its own thread. It receives the messages.
    let (princess, reactor) = tower()?;
    let thread = thread::spawn(|| reactor.run());

    // This tower runs in the loop.
    let (lipwig, mut reactor) = tower()?;
    lipwig.announce(princess.address())?;
    let mut notices = lipwig.notices();

    let mut datagrams = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let sender = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    for text in ["one", "two", "three"] {
        sender.send_to(text.as_bytes(), datagrams.local_addr()?)?;
    }

    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(8);
    let descriptor = reactor.as_raw_fd();
    poll.registry().register(&mut SourceFd(&descriptor), TOWER, Interest::READABLE)?;
    poll.registry().register(&mut datagrams, DATAGRAMS, Interest::READABLE)?;
    let mut delivered = 0;
    while delivered < 3 {
        poll.poll(&mut events, reactor.next_timeout())?;
        // The reactor has a turn after each wait, because its timeout may have ended the wait.
        reactor.turn(Some(Duration::ZERO))?;
        if events.iter().any(|event| event.token() == DATAGRAMS) {
            let mut buffer = [0; 512];
            while let Ok((count, _)) = datagrams.recv_from(&mut buffer) {
                lipwig.enqueue(Message::bytes(&buffer[..count]))?;
            }
        }
        while let Ok(notice) = notices.try_recv() {
            if let Notice::MessageDelivered { message, to, .. } = notice {
                println!("delivered to {to}: {}", String::from_utf8_lossy(message.body()));
                delivered += 1;
            }
        }
    }

    // The shutdown needs turns, because this thread runs the tower.
    drop(lipwig.shutdown());
    while reactor.turn(None)? != ShutdownProgress::Done {}
    println!("messages that no tower took: {}", princess.shutdown().wait());
    thread.join().map_err(|_| "the thread of the reactor panicked")??;
    Ok(())
}

fn tower() -> Result<(Handle<SecureTower>, Reactor<SecureTower>), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut config = Config::default();
    config.send_rate = SendRate::per_second(10);
    let address = Address::try_from(listener.local_addr()?)?;
    let tower = Tower::new(config, address, &Seed::generate())?;
    let tower = SecureTower::new(tower, &Identity::generate()?, Trust::Open)?;
    Ok(Reactor::new(tower, listener)?)
}
