//! Moves the bytes of one connection between its socket and the state machine.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::Mutex;

use super::{Shared, lock};
use crate::error::IoCause;
use crate::event::Event;
use crate::ids::LinkId;
use crate::state_machine::StateMachine;

/// The maximum number of bytes that are read or written at once: four full TLS records, or about a
/// thousand small messages. It is also the maximum that is buffered for a peer that does not read.
pub const CHUNK: usize = 64 * 1024;

/// The maximum number of chunks that a link reads, and that it writes, before other links are
/// served. The value is a guess.
const CHUNKS_PER_TURN: usize = 4;

/// The established connection of a link. Moves bytes between a non-blocking socket and a [`Shared`]
/// state machine.
///
/// A driver calls [`on_readable`](Self::on_readable) and [`on_writable`](Self::on_writable) when
/// the operating system reports readiness. It calls [`send`](Self::send) and [`flush`](Self::flush)
/// when the state machine requests it. It calls [`turn`](Self::turn) while the connection [has
/// work](Self::has_work). It waits until the socket is readable if
/// [`wants_readable`](Self::wants_readable) returns true, and until it is writable if
/// [`wants_writable`](Self::wants_writable) returns true. It passes the event of [`Turn::Ended`] to
/// the state machine after it has closed the socket.
///
/// A connection without work holds no buffer. A connection whose peer does not read holds one
/// buffer of [`CHUNK`] bytes, because more bytes are taken from the state machine only when the
/// socket has accepted all earlier ones.
pub struct Connection {
    link: LinkId,
    readiness: Readiness,
    readable: bool,
    writable: bool,
    /// The state machine may have something to send.
    send: bool,
    /// The sending side is shut down when everything is sent.
    flush: bool,
    pub(super) unsent: Option<Unsent>,
    /// The peer sends no more.
    finished: bool,
    /// Everything is sent and the sending side is closed. Bytes that still arrive are dropped.
    flushed: bool,
}

/// When the operating system reports that a socket is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// As long as the socket is ready. After a read that does not fill the buffer, or a write that
    /// leaves bytes, the next report is awaited.
    Level,
    /// Once, when the socket becomes ready. After a read or write that would block, the next report
    /// is awaited.
    Edge,
}

/// The result of a turn of a connection.
#[derive(Clone, Copy, Debug)]
pub enum Turn {
    /// There is no work until the socket is ready or the state machine requests something.
    Idle,
    /// There is more work, but other links must be served first.
    Busy,
    /// Everything is sent. Shut down the writing side of the socket. Call [`Connection::has_work`]
    /// to find out whether there is more work.
    ShutDownWrite,
    /// The connection has ended. Close the socket, then pass this event to the state machine.
    Ended(Event<'static>),
}

/// Bytes that the socket has not accepted yet.
pub(super) struct Unsent {
    buffer: Box<[u8]>,
    from: usize,
    to: usize,
}

impl Connection {
    /// Returns a connection whose socket is assumed to be readable and writable. One read and one
    /// write that would block cost less than waiting for readiness.
    #[must_use]
    pub fn new(link: LinkId, readiness: Readiness) -> Self {
        Self {
            link,
            readiness,
            readable: true,
            writable: true,
            send: true,
            flush: false,
            unsent: None,
            finished: false,
            flushed: false,
        }
    }

    /// Notes that the socket may be readable or has an error.
    pub fn on_readable(&mut self) {
        self.readable = true;
    }

    /// Notes that the socket may be writable or has an error.
    pub fn on_writable(&mut self) {
        self.writable = true;
    }

    /// Notes that the state machine has bytes to send.
    pub fn send(&mut self) {
        self.send = true;
    }

    /// Requests the close of the connection after everything is sent and the peer has closed its
    /// side.
    pub fn flush(&mut self) {
        self.flush = true;
    }

    /// Returns whether a turn would read or write.
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.can_read() || self.can_write()
    }

    /// Returns whether the driver must wait until the socket is readable.
    #[must_use]
    pub fn wants_readable(&self) -> bool {
        !self.readable && !self.finished
    }

    /// Returns whether the driver must wait until the socket is writable.
    #[must_use]
    pub fn wants_writable(&self) -> bool {
        !self.writable && self.wants_write()
    }

    /// Reads and writes at most four chunks of [`CHUNK`] bytes each. The driver must then execute
    /// the actions of the state machine.
    pub fn turn<M, S>(&mut self, shared: &Shared<M>, socket: &S) -> Turn
    where
        M: StateMachine,
        for<'a> &'a S: Read + Write,
    {
        let was_flushed = self.flushed;
        if let Err(error) = self.move_bytes(shared, socket) {
            return Turn::Ended(Event::Lost { link: self.link, cause: IoCause::from(&error) });
        }
        if self.flushed && self.finished {
            Turn::Ended(Event::Closed { link: self.link })
        } else if self.flushed && !was_flushed {
            Turn::ShutDownWrite
        } else if self.has_work() {
            Turn::Busy
        } else {
            Turn::Idle
        }
    }

    fn can_read(&self) -> bool {
        self.readable && !self.finished
    }

    fn can_write(&self) -> bool {
        self.writable && self.wants_write()
    }

    fn wants_write(&self) -> bool {
        !self.flushed && (self.unsent.is_some() || self.send || self.flush)
    }

    fn move_bytes<M, S>(&mut self, shared: &Shared<M>, socket: &S) -> io::Result<()>
    where
        M: StateMachine,
        for<'a> &'a S: Read + Write,
    {
        if self.can_read() {
            self.read(shared, socket)?;
        }
        if !self.can_write() {
            return Ok(());
        }
        self.write(shared, socket).inspect_err(|_| {
            // Bytes that the peer sent before it closed the connection arrived before the error.
            // They may contain the reason.
            if !self.finished {
                let _ = self.read(shared, socket);
            }
        })
    }

    fn read<M: StateMachine>(
        &mut self,
        shared: &Shared<M>,
        mut socket: impl Read,
    ) -> io::Result<()> {
        let mut buffer = shared.buffers.take();
        let result = self.read_through(&mut buffer, shared, &mut socket);
        shared.buffers.put_back(buffer);
        result
    }

    fn read_through<M: StateMachine>(
        &mut self,
        buffer: &mut [u8],
        shared: &Shared<M>,
        socket: &mut impl Read,
    ) -> io::Result<()> {
        let link = self.link;
        for _ in 0..CHUNKS_PER_TURN {
            let count = match socket.read(buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.readable = false;
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.finished = count == 0;
            match (self.flushed, self.finished) {
                (true, _) => {}
                (false, true) => shared.handle(Event::Finished { link }),
                (false, false) => {
                    shared.handle(Event::BytesArrived { link, bytes: &buffer[..count] });
                }
            }
            if self.finished {
                return Ok(());
            }
            if self.readiness == Readiness::Level && count < buffer.len() {
                self.readable = false;
                return Ok(());
            }
        }
        Ok(())
    }

    fn write<M: StateMachine>(
        &mut self,
        shared: &Shared<M>,
        mut socket: impl Write,
    ) -> io::Result<()> {
        for _ in 0..CHUNKS_PER_TURN {
            let Some(mut unsent) = self.unsent.take().or_else(|| self.next_chunk(shared)) else {
                self.send = false;
                self.flushed = self.flush;
                return Ok(());
            };
            match socket.write(&unsent.buffer[unsent.from..unsent.to]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => unsent.from += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if unsent.from == unsent.to {
                shared.buffers.put_back(unsent.buffer);
                continue;
            }
            self.unsent = Some(unsent);
            self.writable &= self.readiness == Readiness::Edge;
            if !self.writable {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Returns the next bytes of the state machine for the link.
    fn next_chunk<M: StateMachine>(&self, shared: &Shared<M>) -> Option<Unsent> {
        let mut buffer = shared.buffers.take();
        let mut out = &mut *buffer;
        let count = shared.call(|machine, _| machine.transmit(self.link, &mut out));
        match count.unwrap_or(0).min(CHUNK) {
            0 => {
                shared.buffers.put_back(buffer);
                None
            }
            to => Some(Unsent { buffer, from: 0, to }),
        }
    }
}

/// Buffers of [`CHUNK`] bytes for the connections of a tower. A connection takes a buffer while it
/// moves bytes.
#[derive(Default)]
pub(super) struct Buffers(pub(super) Mutex<Vec<Box<[u8]>>>);

/// The maximum number of unused buffers that are kept: one to read and one to write. A tower moves
/// the bytes of one link at a time.
const SPARE_BUFFERS: usize = 2;

impl Buffers {
    pub(super) fn take(&self) -> Box<[u8]> {
        let spare = lock(&self.0).pop();
        spare.unwrap_or_else(|| vec![0; CHUNK].into_boxed_slice())
    }

    pub(super) fn put_back(&self, buffer: Box<[u8]>) {
        let mut spare = lock(&self.0);
        if spare.len() < SPARE_BUFFERS {
            spare.push(buffer);
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unsent = self.unsent.as_ref().map_or(0, |unsent| unsent.to - unsent.from);
        f.debug_struct("Connection")
            .field("link", &self.link)
            .field("unsent", &unsent)
            .field("finished", &self.finished)
            .field("flushed", &self.flushed)
            .finish_non_exhaustive()
    }
}
