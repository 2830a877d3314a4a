//! A tower with TLS in an event loop of your own, with std's sockets and the `polling` crate.
//!
//! ```sh
//! cargo run --package clacks-proto --features tls --example sockets -- 127.0.0.1:8002 127.0.0.1:8001 5 60
//! ```
//!
//! Listens at the first address and announces itself to the tower at the second one (`clacks tower
//! --listen 127.0.0.1:8001`). Shuts down when it has received 5 messages, or after 60 seconds. The
//! documentation of `clacks_proto::embedding` explains each part.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a driver has a clock and threads"
)]

use bytes::{Buf, BufMut, BytesMut};
use clacks_proto::tls::{Identity, SecureTower, Trust};
use clacks_proto::{
    Action, Address, CloseMode, Config, Event, Instant, IoCause, LinkId, Message, Notice, Seed,
    SendRate, ShutdownProgress, StateMachine, Tower,
};
use polling::{Event as Ready, Poller};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::{collections::BTreeMap, error::Error, sync::Arc, thread, time::Duration};

/// The maximum number of bytes that are read at a time, and that are buffered for a peer that does
/// not read.
const CHUNK: usize = 64 * 1024;

/// The key of the listener in the poller. The keys of links are their indexes.
const LISTENER: usize = usize::MAX - 1;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [listen, peer, messages, seconds] = &args[..] else {
        return Err("usage: sockets LISTEN PEER MESSAGES SECONDS".into());
    };
    let listener = TcpListener::bind(listen)?;
    let mut config = Config::default();
    config.send_rate = SendRate::per_second(10);
    let tower = Tower::new(config, listener.local_addr()?.try_into()?, &Seed::generate())?;
    let tower = SecureTower::new(tower, &Identity::generate()?, Trust::Open)?;
    let mut driver = Driver::new(tower, listener)?;

    let now = driver.now();
    driver.machine.tower_mut().enqueue(Message::text("Hello from a loop of its own!"), now)?;
    driver.machine.tower_mut().announce(&peer.parse()?, now)?;
    let (messages, end) = (messages.parse()?, now + Duration::from_secs(seconds.parse()?));
    while driver.received < messages && driver.now() < end {
        driver.run_once(end)?;
    }
    // Hand the queue to peers and close all links.
    let now = driver.now();
    driver.machine.tower_mut().shutdown(now);
    while driver.machine.tower().shutdown_progress() != ShutdownProgress::Done {
        driver.run_once(Instant::FAR_FUTURE)?;
    }
    if driver.received < messages { Err("received too few messages".into()) } else { Ok(()) }
}

/// A state machine and its I/O: sockets, a clock and a poller.
struct Driver<M> {
    machine: M,
    origin: std::time::Instant,
    poller: Arc<Poller>,
    listener: TcpListener,
    /// By [`LinkId::index`].
    links: BTreeMap<usize, Link>,
    dials: (Sender<Dialled>, Receiver<Dialled>),
    received: usize,
}

struct Link {
    id: LinkId,
    /// `None` while the link is being dialled.
    stream: Option<TcpStream>,
    /// Bytes of the machine that the socket has not accepted.
    unsent: BytesMut,
    /// The link must be closed when all bytes are sent.
    flush: bool,
    /// The other side has ended its stream.
    has_ended: bool,
}

type Dialled = (LinkId, io::Result<TcpStream>);

impl<M: StateMachine> Driver<M> {
    fn new(machine: M, listener: TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let (origin, poller) = (std::time::Instant::now(), Arc::new(Poller::new()?));
        poller.add(&listener, Ready::readable(LISTENER))?;
        let (links, dials) = (BTreeMap::new(), mpsc::channel());
        Ok(Self { machine, origin, poller, listener, links, dials, received: 0 })
    }

    fn now(&self) -> Instant {
        Instant::ORIGIN + self.origin.elapsed()
    }

    fn handle(&mut self, event: Event<'_>) {
        let now = self.now();
        self.machine.handle(event, now);
    }

    /// Executes the actions of the machine, waits for the next event, and passes it to the machine.
    fn run_once(&mut self, end: Instant) -> io::Result<()> {
        while let Some(action) = self.machine.poll_action() {
            self.act(action);
        }
        let wakeup = self.machine.next_wakeup().map_or(end, |wakeup| wakeup.at.min(end));
        let mut ready = Vec::new();
        self.poller.wait(&mut ready, Some(wakeup.duration_since(self.now())))?;
        for Ready { key, .. } in ready {
            match self.links.get(&key) {
                Some(link) => self.transfer(link.id),
                None => self.accept()?,
            }
        }
        while let Ok((id, dialled)) = self.dials.1.try_recv() {
            self.on_dialled(id, dialled)?;
        }
        self.handle(Event::TimerFired);
        Ok(())
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Connect { link, address, .. } => self.dial(link, &address),
            Action::Send { link } => self.transfer(link),
            Action::Close { link, how, .. } => self.close(link, how),
            Action::Notify(Notice::MessageReceived { message, .. }) => {
                println!("received {message:?}");
                self.received += 1;
            }
            _ => {}
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        match self.listener.accept() {
            Ok((stream, from)) => {
                if let Ok(id) = self.machine.accept(from.ip(), self.now()) {
                    self.attach(Link::new(id), stream)?;
                }
            }
            Err(error) if is_transient(&error) => {}
            Err(error) => return Err(error),
        }
        self.poller.modify(&self.listener, Ready::readable(LISTENER))
    }

    fn dial(&mut self, id: LinkId, address: &Address) {
        self.links.insert(id.index(), Link::new(id));
        let address = address.to_string();
        let (sender, poller) = (self.dials.0.clone(), self.poller.clone());
        thread::spawn(move || {
            let _ = sender.send((id, TcpStream::connect(address)));
            let _ = poller.notify();
        });
    }

    fn on_dialled(&mut self, id: LinkId, dialled: io::Result<TcpStream>) -> io::Result<()> {
        let Some(link) = self.take(id) else { return Ok(()) };
        match dialled {
            Ok(stream) => {
                self.attach(link, stream)?;
                self.handle(Event::Connected { link: id, at: None });
            }
            Err(error) => self.handle(Event::ConnectFailed { link: id, cause: (&error).into() }),
        }
        Ok(())
    }

    fn attach(&mut self, mut link: Link, stream: TcpStream) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        self.poller.add(&stream, Ready::readable(link.id.index()))?;
        link.stream = Some(stream);
        self.links.insert(link.id.index(), link);
        Ok(())
    }

    /// Reads and writes as much as the socket allows.
    fn transfer(&mut self, id: LinkId) {
        let Some(mut link) = self.take(id) else { return };
        let result = self.read(&mut link).and_then(|()| self.write(&mut link));
        let is_over = link.flush && link.unsent.is_empty() && link.has_ended;
        match result {
            Ok(()) if is_over => self.end(link, Event::Closed { link: id }),
            Ok(()) => drop(self.links.insert(id.index(), link)),
            Err(error) => self.end(link, Event::Lost { link: id, cause: (&error).into() }),
        }
    }

    fn read(&mut self, link: &mut Link) -> io::Result<()> {
        let mut buffer = [0; CHUNK];
        let Some(stream) = link.stream.as_mut().filter(|_| !link.has_ended) else { return Ok(()) };
        match stream.read(&mut buffer) {
            Ok(0) => {
                link.has_ended = true;
                self.handle(Event::Finished { link: link.id });
            }
            Ok(count) => {
                self.handle(Event::BytesArrived { link: link.id, bytes: &buffer[..count] });
            }
            Err(error) if is_transient(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn write(&mut self, link: &mut Link) -> io::Result<()> {
        let Link { id, stream: Some(stream), unsent, .. } = link else { return Ok(()) };
        while !unsent.is_empty() || self.machine.transmit(*id, &mut unsent.limit(CHUNK)) > 0 {
            match stream.write(unsent) {
                Ok(count) => unsent.advance(count),
                Err(error) if is_transient(&error) => break,
                Err(error) => return Err(error),
            }
        }
        if link.flush && unsent.is_empty() {
            // This fails only if the connection is broken. The next read then fails, too.
            let _ = stream.shutdown(Shutdown::Write);
        }
        let (readable, writable) = (!link.has_ended, !unsent.is_empty());
        self.poller.modify(&*stream, Ready { key: id.index(), readable, writable })
    }

    fn close(&mut self, id: LinkId, how: CloseMode) {
        let Some(mut link) = self.take(id) else { return };
        match (&link.stream, how) {
            (None, _) => self.handle(Event::ConnectFailed { link: id, cause: IoCause::Other }),
            (Some(_), CloseMode::Abort) => self.end(link, Event::Closed { link: id }),
            (Some(_), CloseMode::Flush) => {
                link.flush = true;
                self.links.insert(id.index(), link);
                self.transfer(id);
            }
        }
    }

    fn end(&mut self, link: Link, event: Event<'_>) {
        if let Some(stream) = link.stream {
            let _ = self.poller.delete(&stream);
        }
        self.handle(event);
    }

    /// Removes the link from the table, unless it has ended and its index belongs to another link.
    fn take(&mut self, id: LinkId) -> Option<Link> {
        self.links.get(&id.index()).filter(|link| link.id == id)?;
        self.links.remove(&id.index())
    }
}

impl Link {
    fn new(id: LinkId) -> Self {
        Self { id, stream: None, unsent: BytesMut::new(), flush: false, has_ended: false }
    }
}

/// Returns whether the operation can be retried.
fn is_transient(error: &io::Error) -> bool {
    let kind = error.kind();
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::ConnectionAborted)
}
