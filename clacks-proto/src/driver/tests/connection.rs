//! Tests of `Connection`.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::net::Ipv4Addr;
use std::io::{self, ErrorKind, Read, Write};

use super::super::{CHUNK, Connection, Readiness, Shared, Turn};
use super::{LinkEvent, Scripted, share};
use crate::error::IoCause;
use crate::event::Event;

/// A socket whose behaviour is set by a test.
#[derive(Default)]
struct Socket {
    /// The results of the next reads. Further reads would block.
    input: RefCell<VecDeque<Result<usize, ErrorKind>>>,
    reads: Cell<usize>,
    written: Cell<usize>,
    /// The number of bytes that are accepted before writes would block.
    capacity: Cell<usize>,
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
        match bytes.len().min(self.capacity.get()) {
            0 => Err(ErrorKind::WouldBlock.into()),
            count => {
                self.capacity.set(self.capacity.get() - count);
                self.written.set(self.written.get() + count);
                Ok(count)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A connection between a scripted state machine and a scripted socket.
struct Fixture {
    shared: Arc<Shared<Scripted>>,
    connection: Connection,
    socket: Socket,
}

impl Fixture {
    fn new(readiness: Readiness) -> Self {
        let (shared, _) = share(Scripted::new());
        let link = shared.accept(Ipv4Addr::LOCALHOST.into()).unwrap();
        let socket = Socket { capacity: Cell::new(usize::MAX), ..Socket::default() };
        Self { shared, connection: Connection::new(link, readiness), socket }
    }

    /// Sets the results of the next reads, and makes the socket readable.
    fn input(&mut self, input: impl IntoIterator<Item = Result<usize, ErrorKind>>) {
        self.socket.input.borrow_mut().extend(input);
        self.connection.on_readable();
    }

    /// Gives the state machine `len` bytes to send.
    fn output(&mut self, len: usize) {
        self.shared.call(|machine, _| machine.output.extend(vec![7; len]));
        self.connection.send();
    }

    fn turn(&mut self) -> Turn {
        self.connection.turn(&self.shared, &self.socket)
    }

    /// Returns the events of the state machine since the last call.
    fn events(&self) -> Vec<LinkEvent> {
        self.shared.call(|machine, _| core::mem::take(&mut machine.events)).unwrap()
    }

    fn transmits(&self) -> usize {
        self.shared.call(|machine, _| core::mem::take(&mut machine.transmits)).unwrap()
    }
}

#[test]
fn with_edge_readiness_reading_stops_when_it_would_block() {
    let mut fixture = Fixture::new(Readiness::Edge);
    fixture.input([Ok(10), Err(ErrorKind::Interrupted), Ok(20)]);
    assert!(matches!(fixture.turn(), Turn::Idle));
    assert_eq!(
        (fixture.events(), fixture.socket.reads.get()),
        (vec![LinkEvent::Bytes(10), LinkEvent::Bytes(20)], 4)
    );
    assert!(fixture.connection.wants_readable() && !fixture.connection.has_work());
}

#[test]
fn with_level_readiness_reading_stops_after_a_short_read() {
    let mut fixture = Fixture::new(Readiness::Level);
    fixture.input([Ok(CHUNK), Ok(10), Ok(20)]);
    assert!(matches!(fixture.turn(), Turn::Idle));
    assert_eq!(fixture.events(), [LinkEvent::Bytes(CHUNK), LinkEvent::Bytes(10)]);
    assert!(fixture.connection.wants_readable());
    fixture.connection.on_readable();
    fixture.turn();
    assert_eq!(fixture.events(), [LinkEvent::Bytes(20)]);
}

#[test]
fn a_turn_reads_and_writes_at_most_four_chunks() {
    let mut fixture = Fixture::new(Readiness::Edge);
    fixture.input([Ok(CHUNK); 5]);
    fixture.output(5 * CHUNK);
    assert!(matches!(fixture.turn(), Turn::Busy));
    assert_eq!((fixture.events().len(), fixture.socket.written.get()), (4, 4 * CHUNK));
    assert!(matches!(fixture.turn(), Turn::Idle));
    assert_eq!((fixture.events().len(), fixture.socket.written.get()), (1, 5 * CHUNK));
}

#[test]
fn a_new_connection_sends_without_a_request() {
    let mut fixture = Fixture::new(Readiness::Edge);
    fixture.shared.call(|machine, _| machine.output.extend([7; 3]));
    assert!(fixture.connection.has_work());
    fixture.turn();
    assert_eq!(fixture.socket.written.get(), 3);
}

#[test]
fn at_most_one_chunk_is_buffered_for_a_peer_that_does_not_read() {
    for readiness in [Readiness::Edge, Readiness::Level] {
        let mut fixture = Fixture::new(readiness);
        fixture.socket.capacity.set(100);
        fixture.output(3 * CHUNK);
        assert!(matches!(fixture.turn(), Turn::Idle));
        assert_eq!((fixture.transmits(), fixture.socket.written.get()), (1, 100));
        assert!(fixture.connection.wants_writable());
        // More bytes to send have no effect, and bytes are still read.
        fixture.output(CHUNK);
        fixture.input([Ok(5)]);
        assert!(matches!(fixture.turn(), Turn::Idle));
        assert_eq!((fixture.transmits(), fixture.events()), (0, vec![LinkEvent::Bytes(5)]));
        fixture.socket.capacity.set(usize::MAX);
        fixture.connection.on_writable();
        while matches!(fixture.turn(), Turn::Busy) {}
        assert_eq!(fixture.socket.written.get(), 4 * CHUNK);
    }
}

#[test]
fn a_connection_without_work_holds_no_buffer() {
    let mut fixture = Fixture::new(Readiness::Edge);
    fixture.output(10 * CHUNK);
    fixture.input([Ok(CHUNK); 10]);
    while matches!(fixture.turn(), Turn::Busy) {}
    assert!(fixture.connection.unsent.is_none());
    let spare = || super::lock(&fixture.shared.buffers.0).len();
    assert!((1..=2).contains(&spare()), "{}", spare());
}

#[test]
fn at_most_two_unused_buffers_are_kept() {
    let fixture = Fixture::new(Readiness::Edge);
    let buffers = &fixture.shared.buffers;
    let taken: Vec<_> = (0..5).map(|_| buffers.take()).collect();
    assert!(taken.iter().all(|buffer| buffer.len() == CHUNK));
    taken.into_iter().for_each(|buffer| buffers.put_back(buffer));
    assert_eq!(super::lock(&buffers.0).len(), 2);
}

#[test]
fn the_end_of_the_stream_is_reported_once_and_the_other_direction_stays_open() {
    let mut fixture = Fixture::new(Readiness::Edge);
    fixture.input([Ok(1), Ok(0)]);
    fixture.output(2);
    assert!(matches!(fixture.turn(), Turn::Idle));
    assert_eq!(fixture.events(), [LinkEvent::Bytes(1), LinkEvent::Finished]);
    assert!(!fixture.connection.wants_readable());
    fixture.input([Ok(0)]);
    fixture.output(3);
    assert!(matches!(fixture.turn(), Turn::Idle));
    assert_eq!((fixture.events(), fixture.socket.written.get()), (vec![], 5));
}

#[test]
fn a_flush_sends_everything_and_waits_for_the_end_of_the_stream() {
    let mut fixture = Fixture::new(Readiness::Edge);
    fixture.socket.capacity.set(1);
    fixture.output(3);
    fixture.connection.flush();
    assert!(matches!(fixture.turn(), Turn::Idle));
    fixture.socket.capacity.set(usize::MAX);
    fixture.connection.on_writable();
    assert!(matches!(fixture.turn(), Turn::ShutDownWrite));
    assert_eq!(fixture.socket.written.get(), 3);
    // The state machine has closed the link, so bytes that still arrive are not passed on.
    fixture.input([Ok(9)]);
    assert!(matches!(fixture.turn(), Turn::Idle));
    assert!(!fixture.connection.wants_writable());
    fixture.input([Ok(0)]);
    assert!(matches!(fixture.turn(), Turn::Ended(Event::Closed { .. })));
    assert_eq!(fixture.events(), []);
}

#[test]
fn a_flush_after_the_end_of_the_stream_closes_at_once() {
    let mut fixture = Fixture::new(Readiness::Edge);
    fixture.input([Ok(0)]);
    assert!(matches!(fixture.turn(), Turn::Idle));
    fixture.connection.flush();
    assert!(matches!(fixture.turn(), Turn::Ended(Event::Closed { .. })));
}

#[test]
fn bytes_that_arrived_before_a_failed_write_are_read() {
    let mut fixture = Fixture::new(Readiness::Edge);
    assert!(matches!(fixture.turn(), Turn::Idle));
    // The reactor has not reported these bytes yet.
    fixture.socket.input.borrow_mut().extend([Ok(5), Ok(0)]);
    fixture.socket.write_error.set(Some(ErrorKind::BrokenPipe));
    fixture.output(1);
    let Turn::Ended(Event::Lost { cause, .. }) = fixture.turn() else { panic!("not lost") };
    assert_eq!(cause, IoCause::Reset);
    assert_eq!(fixture.events(), [LinkEvent::Bytes(5), LinkEvent::Finished]);
}

#[test]
fn a_failed_read_ends_the_connection() {
    let mut fixture = Fixture::new(Readiness::Edge);
    fixture.input([Ok(5), Err(ErrorKind::ConnectionReset)]);
    let Turn::Ended(Event::Lost { cause, .. }) = fixture.turn() else { panic!("not lost") };
    assert_eq!((cause, fixture.events()), (IoCause::Reset, vec![LinkEvent::Bytes(5)]));
}

#[test]
fn an_interrupted_write_is_retried() {
    let mut fixture = Fixture::new(Readiness::Edge);
    fixture.socket.write_error.set(Some(ErrorKind::Interrupted));
    fixture.output(3);
    assert!(matches!(fixture.turn(), Turn::Idle));
    assert_eq!(fixture.socket.written.get(), 3);
}
