//! The operating system may report the end of a stream together with an earlier event, and then
//! not again.

use clacks_mio::{Handle, Notice, Reactor, Tower};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::support::{listen, reactor, run, without_timers};

/// The beginning of a hello. The tower sends no answer, which would cause another event.
const HELLO_BEGINNING: [u8; 4] = [0xc1, 0, 0, 0];

#[test]
fn an_end_of_stream_in_the_same_event_as_bytes_closes_the_link() {
    run(|| {
        let (handle, mut reactor) = reactor(without_timers());
        let mut caller = TcpStream::connect(handle.local_addr()).unwrap();
        caller.set_nonblocking(true).unwrap();
        // After the hello, the reactor has seen the event that the connection is writable.
        while caller.read(&mut [0; 1]).is_err() || reactor.next_timeout() == Some(Duration::ZERO) {
            reactor.turn(None).unwrap();
        }
        end_stream(&mut caller);
        turn_until_closed(&handle, &mut reactor);
    });
}

#[test]
fn an_end_of_stream_in_the_same_event_as_the_connection_closes_the_link() {
    run(|| {
        let (handle, mut reactor) = reactor(without_timers());
        let (listener, address) = listen();
        handle.announce(&address).unwrap();
        // The reactor dials. It sees no event of the connection before its next turn.
        reactor.turn(None).unwrap();
        let (mut accepted, _) = listener.accept().unwrap();
        end_stream(&mut accepted);
        turn_until_closed(&handle, &mut reactor);
    });
}

/// Sends an incomplete hello and the end of the stream.
fn end_stream(stream: &mut TcpStream) {
    stream.write_all(&HELLO_BEGINNING).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
}

fn turn_until_closed(handle: &Handle<Tower>, reactor: &mut Reactor<Tower>) {
    let mut notices = handle.notices();
    loop {
        reactor.turn(None).unwrap();
        while let Ok(notice) = notices.try_recv() {
            if matches!(notice, Notice::LinkClosed { .. }) {
                return;
            }
        }
    }
}
