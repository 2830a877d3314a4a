//! Moving bytes between a socket and a state machine.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::net::Ipv4Addr;
use std::io::{self, ErrorKind, Read, Write};

use super::super::{CHUNK, Connection, Readiness, Shared, Turn};
use super::{Scripted, Seen, share};
use crate::error::IoCause;
use crate::event::Event;

/// A socket that does what a test says.
#[derive(Default)]
struct Socket {
    /// What the next reads return. Then they would block.
    input: RefCell<VecDeque<Result<usize, ErrorKind>>>,
    reads: Cell<usize>,
    written: Cell<usize>,
    /// How many bytes are taken before writes would block.
    room: Cell<usize>,
    write_error: Cell<Option<ErrorKind>>,
}

impl Read for &Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reads.set(self.reads.get() + 1);
        let next = self.input.borrow_mut().pop_front();
        let count = next.unwrap_or(Err(ErrorKind::WouldBlock))?;
        assert!(count <= buffer.len());
        Ok(count)
    }
}

impl Write for &Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(error) = self.write_error.take() {
            return Err(error.into());
        }
        match bytes.len().min(self.room.get()) {
            0 => Err(ErrorKind::WouldBlock.into()),
            count => {
                self.room.set(self.room.get() - count);
                self.written.set(self.written.get() + count);
                Ok(count)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A connection whose socket has some bytes to read, and then would block.
struct World {
    shared: Arc<Shared<Scripted>>,
    connection: Connection,
    socket: Socket,
}

impl World {
    fn new(readiness: Readiness) -> Self {
        let (shared, _) = share(Scripted::new());
        let link = shared.accept(Ipv4Addr::LOCALHOST.into()).unwrap();
        let socket = Socket { room: Cell::new(usize::MAX), ..Socket::default() };
        Self { shared, connection: Connection::new(link, readiness), socket }
    }

    /// Lets the socket return these results to reads.
    fn input(&mut self, input: impl IntoIterator<Item = Result<usize, ErrorKind>>) {
        self.socket.input.borrow_mut().extend(input);
        self.connection.on_readable();
    }

    /// Lets the state machine have this many bytes to send.
    fn output(&mut self, len: usize) {
        self.shared.call(|machine, _| machine.output.extend(vec![7; len]));
        self.connection.send();
    }

    fn turn(&mut self) -> Turn {
        self.connection.turn(&self.shared, &self.socket)
    }

    /// Returns what the state machine has seen since the last call.
    fn seen(&self) -> Vec<Seen> {
        self.shared.call(|machine, _| core::mem::take(&mut machine.seen)).unwrap()
    }

    fn transmits(&self) -> usize {
        self.shared.call(|machine, _| core::mem::take(&mut machine.transmits)).unwrap()
    }
}

#[test]
fn with_edges_reading_ends_when_it_would_block() {
    let mut world = World::new(Readiness::Edge);
    world.input([Ok(10), Err(ErrorKind::Interrupted), Ok(20)]);
    assert!(matches!(world.turn(), Turn::Idle));
    assert_eq!(
        (world.seen(), world.socket.reads.get()),
        (vec![Seen::Bytes(10), Seen::Bytes(20)], 4)
    );
    assert!(world.connection.wants_readable() && !world.connection.has_work());
}

#[test]
fn with_levels_reading_ends_with_a_short_read() {
    let mut world = World::new(Readiness::Level);
    world.input([Ok(CHUNK), Ok(10), Ok(20)]);
    assert!(matches!(world.turn(), Turn::Idle));
    assert_eq!(world.seen(), [Seen::Bytes(CHUNK), Seen::Bytes(10)]);
    assert!(world.connection.wants_readable());
    world.connection.on_readable();
    world.turn();
    assert_eq!(world.seen(), [Seen::Bytes(20)]);
}

#[test]
fn a_turn_reads_and_writes_four_chunks_at_most() {
    let mut world = World::new(Readiness::Edge);
    world.input([Ok(CHUNK); 5]);
    world.output(5 * CHUNK);
    assert!(matches!(world.turn(), Turn::Busy));
    assert_eq!((world.seen().len(), world.socket.written.get()), (4, 4 * CHUNK));
    assert!(matches!(world.turn(), Turn::Idle));
    assert_eq!((world.seen().len(), world.socket.written.get()), (1, 5 * CHUNK));
}

#[test]
fn a_new_connection_is_asked_for_bytes() {
    let mut world = World::new(Readiness::Edge);
    world.shared.call(|machine, _| machine.output.extend([7; 3]));
    assert!(world.connection.has_work());
    world.turn();
    assert_eq!(world.socket.written.get(), 3);
}

#[test]
fn a_peer_that_does_not_read_costs_one_chunk() {
    for readiness in [Readiness::Edge, Readiness::Level] {
        let mut world = World::new(readiness);
        world.socket.room.set(100);
        world.output(3 * CHUNK);
        assert!(matches!(world.turn(), Turn::Idle));
        assert_eq!((world.transmits(), world.socket.written.get()), (1, 100));
        assert!(world.connection.wants_writable());
        // More to send changes nothing, and bytes are still read.
        world.output(CHUNK);
        world.input([Ok(5)]);
        assert!(matches!(world.turn(), Turn::Idle));
        assert_eq!((world.transmits(), world.seen()), (0, vec![Seen::Bytes(5)]));
        world.socket.room.set(usize::MAX);
        world.connection.on_writable();
        while matches!(world.turn(), Turn::Busy) {}
        assert_eq!(world.socket.written.get(), 4 * CHUNK);
    }
}

#[test]
fn a_connection_without_work_holds_no_buffer() {
    let mut world = World::new(Readiness::Edge);
    world.output(10 * CHUNK);
    world.input([Ok(CHUNK); 10]);
    while matches!(world.turn(), Turn::Busy) {}
    assert!(world.connection.unsent.is_none());
    let spare = || super::lock(&world.shared.buffers.0).len();
    assert!((1..=2).contains(&spare()), "{}", spare());
}

#[test]
fn no_more_than_two_unused_buffers_are_kept() {
    let world = World::new(Readiness::Edge);
    let buffers = &world.shared.buffers;
    let taken: Vec<_> = (0..5).map(|_| buffers.take()).collect();
    assert!(taken.iter().all(|buffer| buffer.len() == CHUNK));
    taken.into_iter().for_each(|buffer| buffers.give_back(buffer));
    assert_eq!(super::lock(&buffers.0).len(), 2);
}

#[test]
fn the_end_of_the_stream_is_reported_once_and_the_other_direction_stays_open() {
    let mut world = World::new(Readiness::Edge);
    world.input([Ok(1), Ok(0)]);
    world.output(2);
    assert!(matches!(world.turn(), Turn::Idle));
    assert_eq!(world.seen(), [Seen::Bytes(1), Seen::Finished]);
    assert!(!world.connection.wants_readable());
    world.input([Ok(0)]);
    world.output(3);
    assert!(matches!(world.turn(), Turn::Idle));
    assert_eq!((world.seen(), world.socket.written.get()), (vec![], 5));
}

#[test]
fn a_flush_sends_everything_then_waits_for_the_end_of_the_peer() {
    let mut world = World::new(Readiness::Edge);
    world.socket.room.set(1);
    world.output(3);
    world.connection.flush();
    assert!(matches!(world.turn(), Turn::Idle));
    world.socket.room.set(usize::MAX);
    world.connection.on_writable();
    assert!(matches!(world.turn(), Turn::ShutDownWrite));
    assert_eq!(world.socket.written.get(), 3);
    // The state machine has closed the link: it is not told of bytes that still arrive.
    world.input([Ok(9)]);
    assert!(matches!(world.turn(), Turn::Idle));
    assert!(!world.connection.wants_writable());
    world.input([Ok(0)]);
    assert!(matches!(world.turn(), Turn::Ended(Event::Closed { .. })));
    assert_eq!(world.seen(), []);
}

#[test]
fn a_flush_after_the_end_of_the_peer_ends_at_once() {
    let mut world = World::new(Readiness::Edge);
    world.input([Ok(0)]);
    assert!(matches!(world.turn(), Turn::Idle));
    world.connection.flush();
    assert!(matches!(world.turn(), Turn::Ended(Event::Closed { .. })));
}

#[test]
fn what_arrived_before_a_broken_write_is_read() {
    let mut world = World::new(Readiness::Edge);
    assert!(matches!(world.turn(), Turn::Idle));
    // The reactor has not reported these bytes yet.
    world.socket.input.borrow_mut().extend([Ok(5), Ok(0)]);
    world.socket.write_error.set(Some(ErrorKind::BrokenPipe));
    world.output(1);
    let Turn::Ended(Event::Lost { cause, .. }) = world.turn() else { panic!("not lost") };
    assert_eq!(cause, IoCause::Reset);
    assert_eq!(world.seen(), [Seen::Bytes(5), Seen::Finished]);
}

#[test]
fn a_broken_read_ends_the_connection() {
    let mut world = World::new(Readiness::Edge);
    world.input([Ok(5), Err(ErrorKind::ConnectionReset)]);
    let Turn::Ended(Event::Lost { cause, .. }) = world.turn() else { panic!("not lost") };
    assert_eq!((cause, world.seen()), (IoCause::Reset, vec![Seen::Bytes(5)]));
}

#[test]
fn an_interrupted_write_is_repeated() {
    let mut world = World::new(Readiness::Edge);
    world.socket.write_error.set(Some(ErrorKind::Interrupted));
    world.output(3);
    assert!(matches!(world.turn(), Turn::Idle));
    assert_eq!(world.socket.written.get(), 3);
}
