//! One connection: its bytes in, its bytes out, and its end.

use async_io::Async;
use clacks_proto::{Address, Event, IoCause, LinkId, StateMachine};
use smol::future;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::buffers::CHUNK;
use crate::shared::Shared;
use crate::watched::{Watched, lock};

/// How many buffers one link may read or write before the others have their turn.
const CHUNKS_PER_TURN: usize = 4;

/// A link's task. It sends exactly one terminal event, and does so last, when the socket is closed.
///
/// Its reading, its writing and its wait for the order to give up are three futures of one task, none
/// of which waits for another.
pub(crate) struct Link<M> {
    shared: Arc<Shared<M>>,
    id: LinkId,
    orders: Post,
    /// All is sent and the sending side is closed: what still comes in is of no interest.
    flushed: AtomicBool,
}

impl<M: StateMachine> Link<M> {
    pub(crate) fn new(shared: Arc<Shared<M>>, id: LinkId, orders: Post) -> Self {
        Self { shared, id, orders, flushed: AtomicBool::new(false) }
    }

    /// Dials, and then carries the link's bytes. Any order to close cancels a dial.
    pub(crate) async fn dial(self, address: Option<Address>) {
        let dialling = async {
            match &address {
                Some(address) => self.shared.dialler.connect(address).await,
                None => Err(IoCause::Other),
            }
        };
        let cancelled = async {
            self.orders.until(|orders| (orders.flush || orders.cut).then_some(())).await;
            Err(IoCause::Other)
        };
        match future::or(dialling, cancelled).await {
            Ok(stream) => {
                tracing::debug!(address = address.map(tracing::field::display), "link dialled");
                self.shared.handle(Event::Connected { link: self.id });
                self.carry(stream).await;
            }
            Err(cause) => self.end(Event::ConnectFailed { link: self.id, cause }),
        }
    }

    /// Carries the bytes of a connection that stands, until its end.
    pub(crate) async fn carry(self, stream: Async<TcpStream>) {
        // The machine gathers frames by itself. Where the option can't be set, they only take longer.
        let _ = stream.get_ref().set_nodelay(true);
        let link = self.id;
        let cut = async {
            self.orders.until(|orders| orders.cut.then_some(())).await;
            Event::Closed { link }
        };
        let carried = async {
            match future::try_zip(self.read(&stream), self.write(&stream)).await {
                Ok(_) => Event::Closed { link },
                Err(error) => Event::Lost { link, cause: IoCause::from(&error) },
            }
        };
        let event = future::or(cut, carried).await;
        drop(stream);
        self.end(event);
    }

    /// The terminal event. The place in the register is given back first: the machine may use it again at once.
    fn end(&self, event: Event<'_>) {
        self.shared.links.close(self.id);
        self.shared.handle(event);
    }

    /// Reads until the other side has no more to say.
    async fn read(&self, stream: &Async<TcpStream>) -> io::Result<()> {
        loop {
            stream.readable().await?;
            loop {
                match self.read_arrived(stream.get_ref())? {
                    Turn::Over => future::yield_now().await,
                    Turn::Drained => break,
                    Turn::Finished => return Ok(()),
                }
            }
        }
    }

    /// Reads what has arrived, up to a turn's worth, through a buffer that is held no longer than this.
    fn read_arrived(&self, stream: &TcpStream) -> io::Result<Turn> {
        let mut buffer = self.shared.buffers.take();
        let turn = self.read_through(&mut buffer, stream);
        self.shared.buffers.give_back(buffer);
        turn
    }

    fn read_through(&self, buffer: &mut [u8], mut stream: &TcpStream) -> io::Result<Turn> {
        let link = self.id;
        for _ in 0..CHUNKS_PER_TURN {
            let count = match stream.read(buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Turn::Drained),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let bytes = &buffer[..count];
            match (bytes.is_empty(), self.flushed.load(Ordering::Relaxed)) {
                (true, false) => self.shared.handle(Event::Finished { link }),
                (false, false) => self.shared.handle(Event::BytesArrived { link, bytes }),
                (_, true) => {}
            }
            if bytes.is_empty() {
                return Ok(Turn::Finished);
            }
            // A short read has most likely emptied the socket. If not, it is readable again at once.
            if count < buffer.len() {
                return Ok(Turn::Drained);
            }
        }
        Ok(Turn::Over)
    }

    /// Writes whenever there is something to write, until all is flushed and the sending side is closed.
    async fn write(&self, stream: &Async<TcpStream>) -> io::Result<()> {
        loop {
            let flush = self.orders.until(Orders::take_send).await;
            if let Err(error) = self.write_out(stream).await {
                // What the other side said before it went away, perhaps why, has arrived before the error.
                let _ = self.read_arrived(stream.get_ref());
                return Err(error);
            }
            if flush {
                self.flushed.store(true, Ordering::Relaxed);
                // Only fails when the connection is gone, which reading will tell.
                let _ = stream.get_ref().shutdown(Shutdown::Write);
                return Ok(());
            }
        }
    }

    /// Writes all that the machine has. Asks it for more only when the socket has taken the last chunk, so
    /// that no more than one chunk ever waits for a peer that does not read.
    async fn write_out(&self, stream: &Async<TcpStream>) -> io::Result<()> {
        let mut buffer = self.shared.buffers.take();
        loop {
            for _ in 0..CHUNKS_PER_TURN {
                let mut room = &mut *buffer;
                let count = self.shared.drive(|machine, _| machine.transmit(self.id, &mut room));
                let mut rest = &buffer[..count.unwrap_or(0).min(CHUNK)];
                if rest.is_empty() {
                    self.shared.buffers.give_back(buffer);
                    return Ok(());
                }
                while !rest.is_empty() {
                    match stream.write_with(|mut stream| stream.write(rest)).await {
                        Ok(0) => return Err(ErrorKind::WriteZero.into()),
                        Ok(count) => rest = &rest[count..],
                        Err(error) if error.kind() == ErrorKind::Interrupted => {}
                        Err(error) => return Err(error),
                    }
                }
            }
            future::yield_now().await;
        }
    }
}

/// How a turn of reading ended.
enum Turn {
    /// There may be more, but others wait.
    Over,
    /// There is no more for now.
    Drained,
    /// There will be no more.
    Finished,
}

/// What the machine asked of a link and the link has not done yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Orders {
    send: bool,
    flush: bool,
    cut: bool,
}

impl Orders {
    pub(crate) const SEND: Self = Self { send: true, flush: false, cut: false };
    pub(crate) const FLUSH: Self = Self { send: false, flush: true, cut: false };
    pub(crate) const CUT: Self = Self { send: false, flush: false, cut: true };

    fn add(&mut self, more: Self) {
        self.send |= more.send;
        self.flush |= more.flush;
        self.cut |= more.cut;
    }

    /// Takes the order to write, if there is one; `true` when it is the last one.
    fn take_send(&mut self) -> Option<bool> {
        let order = (self.send || self.flush).then_some(self.flush);
        self.send = false;
        order
    }
}

/// Where orders for a link are left.
pub(crate) type Post = Arc<Watched<Orders>>;

/// Which links there are, and where to leave orders for them. Grows to the most links that were ever open at
/// once, which the machine bounds.
#[derive(Default)]
pub(crate) struct Register(Mutex<Vec<Option<(LinkId, Post)>>>);

impl Register {
    /// A place for a new link.
    pub(crate) fn open(&self, link: LinkId) -> Post {
        let orders = Arc::new(Watched::new(Orders::default()));
        let mut links = lock(&self.0);
        if links.len() <= link.index() {
            links.resize(link.index() + 1, None);
        }
        links[link.index()] = Some((link, orders.clone()));
        orders
    }

    /// Leaves an order for a link. One that has ended needs none.
    pub(crate) fn order(&self, link: LinkId, order: Orders) {
        let orders = match lock(&self.0).get(link.index()) {
            Some(Some((id, orders))) if *id == link => orders.clone(),
            _ => return,
        };
        orders.change(|orders| {
            orders.add(order);
            true
        });
    }

    /// Forgets all links, and with them what their tasks left here.
    pub(crate) fn clear(&self) {
        lock(&self.0).clear();
    }

    fn close(&self, link: LinkId) {
        if let Some(place) = lock(&self.0).get_mut(link.index()) {
            place.take_if(|(id, _)| *id == link);
        }
    }
}
