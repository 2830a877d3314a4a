//! A reactor runs any state machine: here one that records what the reactor does.

use clacks_mio::Reactor;
use clacks_proto::{CloseReason, Config, Message, Notice, Status, Tower};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use crate::support::{
    ClosedPort, FOREVER, Running, becomes, delivers, find, port, quick, quiet, run, start, tower,
};
use crate::witness::{Record, Seen, Witness, pattern};

pub(crate) fn start_witness(
    config: Config,
    build: impl FnOnce(Tower) -> (Witness, Record),
) -> (Running<Witness>, Record) {
    let listener = port();
    let (machine, record) = build(tower(config, &listener));
    (Running::new(Reactor::new(machine, listener).unwrap()), record)
}

/// Gives callers all the time they want.
fn patient() -> Config {
    let mut config = quick();
    config.timeouts.handshake = FOREVER;
    config.timeouts.close = FOREVER;
    config
}

fn flooding() -> (Running<Witness>, Record) {
    start_witness(patient(), Witness::flooding)
}

/// Hands over messages one by one: many of them, and until a condition holds.
fn pass_messages_until(running: &Running<Witness>, is_done: impl Fn() -> bool) {
    let friend = start(quiet());
    let mut notices = running.handle.notices();
    running.handle.expand(&friend.address()).unwrap();
    let mut rounds = 0;
    while rounds < 100 || !is_done() {
        running.handle.enqueue(Message::text("go on")).unwrap();
        delivers(&mut notices, 1);
        rounds += 1;
    }
}

#[test]
fn each_link_has_exactly_one_terminal_event() {
    run(|| {
        let mut config = quick();
        config.timeouts.handshake = Duration::from_millis(50);
        let (running, record) = start_witness(config, Witness::new);
        let handle = running.handle.clone();
        let mut notices = handle.notices();
        // A link whose peer is killed, dials that fail, and callers that are silent, speak another
        // protocol, or leave.
        let friend = start(quick());
        let friend_address = friend.address();
        let unknown = "no-such-tower.invalid:1".parse().unwrap();
        let closed = ClosedPort::new();
        for address in [&friend_address, &closed.address, &unknown] {
            handle.announce(address).unwrap();
        }
        let silent = TcpStream::connect(handle.local_addr()).unwrap();
        let mut other = TcpStream::connect(handle.local_addr()).unwrap();
        other.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        drop(TcpStream::connect(handle.local_addr()).unwrap());
        becomes(&mut notices, &friend_address, Status::Alive);
        friend.kill();
        becomes(&mut notices, &friend_address, Status::Lost);
        // A link that is open when the shutdown begins.
        let last = start(quick());
        handle.announce(&last.address()).unwrap();
        becomes(&mut notices, &last.address(), Status::Alive);
        handle.shutdown().wait();
        running.join().unwrap();
        drop((silent, other));

        let links = record.links();
        assert!(links.len() >= 7, "{links:#?}");
        let is_right =
            |seen: &Seen| seen.terminal == 1 && seen.connected <= 1 && seen.finished <= 1;
        assert!(links.iter().all(is_right), "{links:#?}");
    });
}

#[test]
fn names_that_take_too_long_are_given_up() {
    run(|| {
        let mut config = quiet();
        config.timeouts.connect = Duration::from_millis(1);
        config.probe_backoff = FOREVER;
        let (running, record) = start_witness(config, Witness::new);
        let mut notices = running.handle.notices();
        // The last ones wait until the first ones are looked up.
        for number in 0..40 {
            let address = format!("no-{number}.invalid:1").parse().unwrap();
            running.handle.announce(&address).unwrap();
        }
        let mut lost = 0;
        find(&mut notices, |notice| {
            lost += usize::from(matches!(notice, Notice::StatusChanged { to: Status::Lost, .. }));
            (lost == 40).then_some(())
        });
        running.handle.shutdown().wait();
        running.join().unwrap();
        assert_eq!(record.links(), [Seen { terminal: 1, ..Seen::default() }; 40]);
    });
}

#[test]
fn a_peer_that_does_not_read_holds_up_nobody_and_is_read() {
    run(|| {
        const LEN: usize = 1 << 20;
        let (running, record) = flooding();
        let mut deaf = TcpStream::connect(running.handle.local_addr()).unwrap();
        // More than the reactor reads in a turn. The tower closes the link, and still has to take
        // all of it.
        let writing = thread::spawn(move || {
            deaf.write_all(&[0; LEN]).unwrap();
            deaf
        });
        pass_messages_until(&running, || record.any(|seen| seen.received == LEN));
        drop(writing.join().unwrap());
    });
}

#[test]
fn bytes_that_waited_for_a_slow_reader_are_unchanged() {
    /// More than a tower sends before the caller's hello.
    const HELLO: usize = 1_024;

    run(|| {
        // Without heartbeats no timer ends a turn.
        let mut config = patient();
        config.heartbeat = None;
        let listener = port();
        let (machine, record) = Witness::flooding(tower(config, &listener));
        let (handle, mut reactor) = Reactor::new(machine, listener).unwrap();
        let mut slow = TcpStream::connect(handle.local_addr()).unwrap();
        // Until neither system takes more and no event comes: the rest waits in the reactor.
        let sent = || record.links().iter().map(|seen| seen.sent).sum::<usize>();
        let mut before = None;
        while before != Some(sent()) || sent() == 0 {
            before = Some(sent());
            reactor.turn(Some(Duration::from_millis(200))).unwrap();
        }
        let _running = Running::new((handle, reactor));
        let mut stream = vec![0; 2 * before.unwrap()];
        slow.read_exact(&mut stream).unwrap();
        let mut after_hello = stream.iter().enumerate().skip(HELLO);
        let damage = after_hello.find(|(at, byte)| **byte != pattern(*at));
        assert_eq!(damage, None);
    });
}

#[test]
fn a_caller_that_reads_without_end_holds_up_nobody() {
    run(|| {
        while_busy(|mut caller| {
            let mut buffer = vec![0; 1 << 20];
            while caller.read(&mut buffer).is_ok_and(|count| count > 0) {}
        });
    });
}

#[test]
fn a_caller_that_writes_without_end_holds_up_nobody() {
    run(|| while_busy(|mut caller| while caller.write_all(&[0; 1 << 18]).is_ok() {}));
}

/// Hands over messages while a caller keeps the tower busy.
fn while_busy(call: impl FnOnce(TcpStream) + Send + 'static) {
    let (running, record) = flooding();
    let caller = TcpStream::connect(running.handle.local_addr()).unwrap();
    let calling = thread::spawn(move || call(caller));
    let is_busy = || record.any(|seen| seen.sent + seen.received > 32 << 20);
    pass_messages_until(&running, is_busy);
    running.kill();
    calling.join().unwrap();
}

#[test]
fn a_link_that_can_not_be_flushed_is_aborted() {
    run(|| {
        let mut config = quick();
        config.timeouts.close = Duration::from_millis(50);
        let (running, record) = start_witness(config, Witness::flooding);
        let mut deaf = TcpStream::connect(running.handle.local_addr()).unwrap();
        // The tower closes the link, because the bytes are no hello. Writing fails once the socket
        // is closed.
        while deaf.write_all(&[0; 4_096]).is_ok() {}
        // The terminal event follows.
        while !record.any(|seen| seen.terminal == 1) {
            thread::yield_now();
        }
    });
}

/// A dial hangs if the queue of the listener is full. Other systems behave differently then.
#[cfg(target_os = "linux")]
#[test]
fn a_dial_that_takes_too_long_is_given_up() {
    run(|| {
        let listener = port();
        let socket = listener.local_addr().unwrap();
        let mut queue = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&socket, Duration::from_millis(500)) {
            queue.push(stream);
        }
        let mut config = quiet();
        config.timeouts.connect = Duration::from_millis(20);
        config.probe_backoff = FOREVER;
        let (running, record) = start_witness(config, Witness::new);
        let mut notices = running.handle.notices();
        let address = socket.try_into().unwrap();
        running.handle.announce(&address).unwrap();
        let why = find(&mut notices, |notice| match notice {
            Notice::LinkClosed { peer: Some(peer), reason, .. } if peer == address => Some(reason),
            _ => None,
        });
        assert_eq!(why, CloseReason::ConnectTimeout);
        running.handle.shutdown().wait();
        running.join().unwrap();
        assert_eq!(record.links(), [Seen { terminal: 1, ..Seen::default() }]);
    });
}
