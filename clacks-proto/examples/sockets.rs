//! A tower in an event loop of your own: std's sockets, TLS inside, and the `polling` crate to wait for what happens first.
//!
//! ```sh
//! cargo run --package clacks-proto --features tls --example sockets -- 127.0.0.1:8002 127.0.0.1:8001 5 60
//! ```
//!
//! Listens at the first address, makes itself known to the tower at the second one (`clacks tower --listen 127.0.0.1:8001`), and leaves when
//! it has heard 5 messages, or when 60 seconds are over. The documentation of `clacks_proto::embedding` explains each part.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)] // the core has no clock and no threads; its driver may

use bytes::{Buf, BufMut, BytesMut};
use clacks_proto::tls::{Identity, SecureTower, Trust};
use clacks_proto::{
    Action, CloseMode, Config, Event, Instant, IoCause, LinkId, Message, PeerId, Report, Seed,
    SendRate, ShutdownProgress, StateMachine, Tower,
};
use polling::{Event as Ready, Poller};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::{collections::BTreeMap, error::Error, sync::Arc, thread, time::Duration};

/// How much is read at a time, and how much waits for a peer that does not read.
const CHUNK: usize = 64 * 1024;

/// The listener's key in the poller. Links have their index.
const LISTENER: usize = usize::MAX - 1;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [listen, peer, messages, seconds] = &args[..] else {
        return Err("tell me: where to listen, whom to call, how many messages, seconds".into());
    };
    let listener = TcpListener::bind(listen)?;
    let mut config = Config::default();
    config.send_rate = SendRate::per_second(10);
    // The hash of a key that nobody ever sees serves as 32 random bytes.
    let seed = Seed(Identity::generate()?.fingerprint().0);
    let tower = Tower::new(config, listener.local_addr()?.try_into()?, &seed)?;
    let tower = SecureTower::new(tower, &Identity::generate()?, Trust::Open)?;
    let mut driver = Driver::new(tower, listener)?;

    let now = driver.now();
    driver.machine.tower_mut().enqueue(Message::text("Hello from a loop of its own!"), now)?;
    driver.machine.tower_mut().announce(&peer.parse()?, now)?;
    let (messages, end) = (messages.parse()?, now + Duration::from_secs(seconds.parse()?));
    while driver.heard < messages && driver.now() < end {
        driver.turn(end)?;
    }
    // Hands what it holds to others, and says goodbye.
    let now = driver.now();
    driver.machine.tower_mut().shutdown(now);
    while driver.machine.tower().shutdown_progress() != ShutdownProgress::Done {
        driver.turn(Instant::FAR_FUTURE)?;
    }
    if driver.heard < messages { Err("heard too little".into()) } else { Ok(()) }
}

/// A state machine, and what it does not have itself: sockets, a clock, and something to wait with.
struct Driver<M> {
    machine: M,
    origin: std::time::Instant,
    poller: Arc<Poller>,
    listener: TcpListener,
    /// By their index, of which each live link has its own.
    links: BTreeMap<usize, Link>,
    dials: (Sender<Dialled>, Receiver<Dialled>),
    heard: usize,
}

struct Link {
    id: LinkId,
    /// `None` while it is dialled.
    stream: Option<TcpStream>,
    /// What the machine has given and the socket has not taken.
    unsent: BytesMut,
    /// To be closed when all is sent.
    flush: bool,
    heard_all: bool,
}

type Dialled = (LinkId, io::Result<TcpStream>);

impl<M: StateMachine> Driver<M> {
    fn new(machine: M, listener: TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let (origin, poller) = (std::time::Instant::now(), Arc::new(Poller::new()?));
        poller.add(&listener, Ready::readable(LISTENER))?;
        let (links, dials) = (BTreeMap::new(), mpsc::channel());
        Ok(Self { machine, origin, poller, listener, links, dials, heard: 0 })
    }

    fn now(&self) -> Instant {
        Instant::ORIGIN + self.origin.elapsed()
    }

    fn tell(&mut self, event: Event<'_>) {
        let now = self.now();
        self.machine.handle(event, now);
    }

    /// Does what the machine asks for, waits for what happens next, and tells the machine.
    fn turn(&mut self, end: Instant) -> io::Result<()> {
        while let Some(action) = self.machine.poll_action() {
            self.act(action);
        }
        let wakeup = self.machine.next_wakeup().map_or(end, |wakeup| wakeup.at.min(end));
        let mut ready = Vec::new();
        self.poller.wait(&mut ready, Some(wakeup.duration_since(self.now())))?;
        for Ready { key, .. } in ready {
            match self.links.get(&key) {
                Some(link) => self.carry(link.id),
                None => self.accept()?,
            }
        }
        while let Ok((id, dialled)) = self.dials.1.try_recv() {
            self.on_dialled(id, dialled)?;
        }
        self.tell(Event::TimerFired);
        Ok(())
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Connect { link, peer } => self.dial(link, peer),
            Action::Send { link } => self.carry(link),
            Action::Close { link, how, .. } => self.close(link, how),
            Action::Notify(notice) => {
                let report = self.machine.tower().report(notice);
                if let Some(Report::MessageReceived { message, .. }) = report {
                    println!("heard {message:?}");
                    self.heard += 1;
                }
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
            Err(error) if is_passing(&error) => {}
            Err(error) => return Err(error),
        }
        self.poller.modify(&self.listener, Ready::readable(LISTENER))
    }

    fn dial(&mut self, id: LinkId, peer: PeerId) {
        self.links.insert(id.index(), Link::new(id));
        let address = self.machine.tower().peer(peer).map(|peer| peer.address.to_string());
        let (sender, poller) = (self.dials.0.clone(), self.poller.clone());
        thread::spawn(move || {
            let _ = sender.send((id, TcpStream::connect(address.unwrap_or_default())));
            let _ = poller.notify();
        });
    }

    fn on_dialled(&mut self, id: LinkId, dialled: io::Result<TcpStream>) -> io::Result<()> {
        let Some(link) = self.take(id) else { return Ok(()) };
        match dialled {
            Ok(stream) => {
                self.attach(link, stream)?;
                self.tell(Event::Connected { link: id });
            }
            Err(error) => self.tell(Event::ConnectFailed { link: id, cause: (&error).into() }),
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

    /// Moves what bytes can be moved now.
    fn carry(&mut self, id: LinkId) {
        let Some(mut link) = self.take(id) else { return };
        let carried = self.read(&mut link).and_then(|()| self.write(&mut link));
        let is_over = link.flush && link.unsent.is_empty() && link.heard_all;
        match carried {
            Ok(()) if is_over => self.end(link, Event::Closed { link: id }),
            Ok(()) => drop(self.links.insert(id.index(), link)),
            Err(error) => self.end(link, Event::Lost { link: id, cause: (&error).into() }),
        }
    }

    fn read(&mut self, link: &mut Link) -> io::Result<()> {
        let mut buffer = [0; CHUNK];
        let Some(stream) = link.stream.as_mut().filter(|_| !link.heard_all) else { return Ok(()) };
        match stream.read(&mut buffer) {
            Ok(0) => {
                link.heard_all = true;
                self.tell(Event::Finished { link: link.id });
            }
            Ok(count) => self.tell(Event::BytesArrived { link: link.id, bytes: &buffer[..count] }),
            Err(error) if is_passing(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn write(&mut self, link: &mut Link) -> io::Result<()> {
        let Link { id, stream: Some(stream), unsent, .. } = link else { return Ok(()) };
        while !unsent.is_empty() || self.machine.transmit(*id, &mut unsent.limit(CHUNK)) > 0 {
            match stream.write(unsent) {
                Ok(count) => unsent.advance(count),
                Err(error) if is_passing(&error) => break,
                Err(error) => return Err(error),
            }
        }
        if link.flush && unsent.is_empty() {
            // Only fails when the connection is gone, which reading will tell.
            let _ = stream.shutdown(Shutdown::Write);
        }
        let (readable, writable) = (!link.heard_all, !unsent.is_empty());
        self.poller.modify(&*stream, Ready { key: id.index(), readable, writable })
    }

    fn close(&mut self, id: LinkId, how: CloseMode) {
        let Some(mut link) = self.take(id) else { return };
        match (&link.stream, how) {
            (None, _) => self.tell(Event::ConnectFailed { link: id, cause: IoCause::Other }),
            (Some(_), CloseMode::Abort) => self.end(link, Event::Closed { link: id }),
            (Some(_), CloseMode::Flush) => {
                link.flush = true;
                self.links.insert(id.index(), link);
                self.carry(id);
            }
        }
    }

    fn end(&mut self, link: Link, event: Event<'_>) {
        if let Some(stream) = link.stream {
            let _ = self.poller.delete(&stream);
        }
        self.tell(event);
    }

    /// The link, unless it has ended and its index is another one's.
    fn take(&mut self, id: LinkId) -> Option<Link> {
        self.links.get(&id.index()).filter(|link| link.id == id)?;
        self.links.remove(&id.index())
    }
}

impl Link {
    fn new(id: LinkId) -> Self {
        Self { id, stream: None, unsent: BytesMut::new(), flush: false, heard_all: false }
    }
}

/// Nothing is wrong: there is just nothing to do now.
fn is_passing(error: &io::Error) -> bool {
    let kind = error.kind();
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::ConnectionAborted)
}
