//! One connection that stands: its bytes in, its bytes out, and its end.

use clacks_proto::{Event, Instant, IoCause, LinkId, StateMachine};
use mio::event;
use mio::net::TcpStream;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;

use crate::buffers::{Buffers, CHUNK};
use crate::reactor::Core;

/// How many buffers one link may read or write before the others have their turn.
const CHUNKS_PER_TURN: usize = 4;

/// A socket, and what is known of it. Readiness is told once; so it is remembered until the socket says `WouldBlock`.
pub(crate) struct Connection {
    stream: TcpStream,
    readable: bool,
    writable: bool,
    unsent: Option<Unsent>,
    /// The other side has said all that it will say.
    finished: bool,
    /// All is sent and the sending side is closed: what still comes in is of no interest.
    flushed: bool,
}

/// What a socket has not taken yet.
struct Unsent {
    buffer: Box<[u8]>,
    from: usize,
    to: usize,
}

/// What the machine asked of a link and the link has not done yet.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Orders {
    pub(crate) send: bool,
    pub(crate) flush: bool,
    pub(crate) cut: bool,
}

/// How a link's turn ended.
pub(crate) enum Turn {
    /// Nothing can be done until there is news.
    Idle,
    /// Nothing can be done until there is news, or until this moment.
    Due(Instant),
    /// There is more to do, but others wait.
    Busy,
    /// The link has ended, with this event.
    Ended(Event<'static>),
}

impl Connection {
    /// A connection that may be ready for anything: asking once costs less than waiting to be told.
    pub(crate) fn new(stream: TcpStream) -> Self {
        // The machine gathers frames by itself. Where the option can't be set, they only take longer.
        let _ = stream.set_nodelay(true);
        let (readable, writable) = (true, true);
        Self { stream, readable, writable, unsent: None, finished: false, flushed: false }
    }

    /// Takes in what the operating system tells. Errors and ends are found by reading and writing.
    pub(crate) fn on_event(&mut self, event: &event::Event) {
        self.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
        self.writable |= event.is_writable() || event.is_write_closed() || event.is_error();
    }

    /// Whether a turn would get something done.
    pub(crate) fn has_work(&self, orders: Orders) -> bool {
        orders.cut || self.can_read() || self.can_write(orders)
    }

    /// Moves bytes both ways, up to a turn's worth.
    pub(crate) fn take_turn<M: StateMachine>(
        &mut self,
        link: LinkId,
        orders: &mut Orders,
        core: &Core<M>,
        buffers: &mut Buffers,
    ) -> Turn {
        if orders.cut {
            return Turn::Ended(Event::Closed { link });
        }
        if let Err(error) = self.move_bytes(link, orders, core, buffers) {
            return Turn::Ended(Event::Lost { link, cause: IoCause::from(&error) });
        }
        match self.has_work(*orders) {
            _ if self.finished && self.flushed => Turn::Ended(Event::Closed { link }),
            true => Turn::Busy,
            false => Turn::Idle,
        }
    }

    fn move_bytes<M: StateMachine>(
        &mut self,
        link: LinkId,
        orders: &mut Orders,
        core: &Core<M>,
        buffers: &mut Buffers,
    ) -> io::Result<()> {
        if self.can_read() {
            self.read(link, core, &mut buffers.inbox)?;
        }
        if !self.can_write(*orders) {
            return Ok(());
        }
        self.write(link, orders, core, buffers).inspect_err(|_| {
            // What the other side said before it went away, perhaps why, has arrived before the error.
            if !self.finished {
                let _ = self.read(link, core, &mut buffers.inbox);
            }
        })
    }

    fn can_read(&self) -> bool {
        self.readable && !self.finished
    }

    fn can_write(&self, orders: Orders) -> bool {
        let wants_write = self.unsent.is_some() || orders.send || orders.flush;
        self.writable && !self.flushed && wants_write
    }

    fn read<M: StateMachine>(
        &mut self,
        link: LinkId,
        core: &Core<M>,
        inbox: &mut [u8],
    ) -> io::Result<()> {
        for _ in 0..CHUNKS_PER_TURN {
            match self.stream.read(inbox) {
                Ok(0) => {
                    self.finished = true;
                    if !self.flushed {
                        core.handle(Event::Finished { link });
                    }
                    return Ok(());
                }
                // A short read proves nothing: the end may wait behind it, and would not be told again.
                Ok(count) => {
                    if !self.flushed {
                        core.handle(Event::BytesArrived { link, bytes: &inbox[..count] });
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.readable = false;
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes what the machine has. Asks it for more only when the socket has taken the last chunk, so that no more than one
    /// chunk ever waits for a peer that does not read.
    fn write<M: StateMachine>(
        &mut self,
        link: LinkId,
        orders: &mut Orders,
        core: &Core<M>,
        buffers: &mut Buffers,
    ) -> io::Result<()> {
        for _ in 0..CHUNKS_PER_TURN {
            let Some(mut unsent) = self.unsent.take().or_else(|| fetch(link, core, buffers)) else {
                orders.send = false;
                if orders.flush {
                    self.flushed = true;
                    // Only fails when the connection is gone, which reading will tell.
                    let _ = self.stream.shutdown(Shutdown::Write);
                }
                return Ok(());
            };
            match self.stream.write(&unsent.buffer[unsent.from..unsent.to]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => unsent.from += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if unsent.from == unsent.to {
                buffers.give_back(unsent.buffer);
            } else {
                self.unsent = Some(unsent);
            }
            if !self.writable {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// The next bytes that the machine has for a link, in a buffer that is borrowed for as long as there are some.
fn fetch<M: StateMachine>(link: LinkId, core: &Core<M>, buffers: &mut Buffers) -> Option<Unsent> {
    let mut buffer = buffers.lend();
    let mut room = &mut *buffer;
    let count = core.call(|machine, _| machine.transmit(link, &mut room));
    match count.unwrap_or(0).min(CHUNK) {
        0 => {
            buffers.give_back(buffer);
            None
        }
        to => Some(Unsent { buffer, from: 0, to }),
    }
}
