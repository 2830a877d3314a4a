//! The reactor binds any state machine: here a tower with something around it.

use clacks_mio::Reactor;
use clacks_proto::{Address, Config, Message, Report, Status};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use crate::support::{
    ClosedPort, FOR_EVER, Running, delivers, find, port, quick, quiet, run, start, tower, turns,
};
use crate::witness::{Record, Seen, Witness, rubbish};

/// More than a tower says before it has been answered.
const HELLO: usize = 1_024;

pub(crate) fn witness(config: Config, is_pest: bool) -> (Running, Record) {
    let listener = port();
    let (machine, record) = Witness::new(tower(config, &listener), is_pest);
    (Running::start(Reactor::new(machine, listener).unwrap()), record)
}

/// Gives strangers all the time that they want.
fn patient() -> Config {
    let mut config = quick();
    config.timeouts.handshake = FOR_EVER;
    config.timeouts.close = FOR_EVER;
    config
}

fn patient_pest() -> (Running, Record) {
    witness(patient(), true)
}

#[test]
fn each_link_has_exactly_one_terminal_event() {
    run(|| {
        let mut config = quick();
        config.timeouts.handshake = Duration::from_millis(50);
        let (running, record) = witness(config, false);
        let handle = &running.handle;
        let notices = handle.notices();
        // A link that ends with its peer, dials that fail, links whose other side is silent, rude or gone at once.
        let friend = start(quick());
        let friend_address = friend.address();
        let closed = ClosedPort::new();
        for address in
            [&friend_address, &closed.address(), &"no-such-tower.invalid:1".parse().unwrap()]
        {
            handle.announce(address).unwrap();
        }
        let _silent = TcpStream::connect(handle.local_addr()).unwrap();
        let mut rude = TcpStream::connect(handle.local_addr()).unwrap();
        rude.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        drop(TcpStream::connect(handle.local_addr()).unwrap());
        turns(&notices, &friend_address, Status::Alive);
        friend.kill();
        turns(&notices, &friend_address, Status::Lost);
        // A link that stands when the shutdown begins.
        let last = start(quick());
        handle.announce(&last.address()).unwrap();
        turns(&notices, &last.address(), Status::Alive);
        handle.shutdown();
        running.end().unwrap();

        let record = record.lock().unwrap();
        assert!(record.len() >= 7, "{record:#?}");
        for (link, seen) in record.iter() {
            assert_eq!(seen.terminal, 1, "{link:?} {seen:?}");
            assert!(seen.connected <= 1 && seen.finished <= 1, "{link:?} {seen:?}");
        }
    });
}

#[test]
fn names_that_take_too_long_are_given_up() {
    run(|| {
        let mut config = quiet();
        config.timeouts.connect = Duration::from_millis(1);
        config.probe_backoff = FOR_EVER;
        let (running, record) = witness(config, false);
        let notices = running.handle.notices();
        // The last ones wait for the first ones to be looked up.
        let names = (0..40).map(|n| Address::new(&format!("no-{n}.invalid"), 1).unwrap());
        for name in names {
            running.handle.announce(&name).unwrap();
        }
        let mut lost = 0;
        find(&notices, |report| {
            let is_lost = matches!(report, Report::StatusChanged { to: Status::Lost, .. });
            lost += usize::from(is_lost);
            (lost == 40).then_some(())
        });
        running.handle.shutdown();
        running.end().unwrap();
        let record = record.lock().unwrap();
        let seen = Seen { terminal: 1, ..Seen::default() };
        assert!(record.len() == 40 && record.values().all(|link| *link == seen), "{record:?}");
    });
}

#[test]
fn a_peer_that_never_reads_delays_nobody_and_is_still_read() {
    run(|| {
        const LEN: usize = 1 << 20;
        let (running, record) = patient_pest();
        let mut deaf = TcpStream::connect(running.handle.local_addr()).unwrap();
        // More than the tower reads in a turn. It takes them for a mistake, and still has to take them.
        let writing = thread::spawn(move || {
            deaf.write_all(&[0; LEN]).unwrap();
            deaf
        });
        let has_read_all = || record.lock().unwrap().values().any(|seen| seen.received == LEN);
        pass_messages_until(&running, has_read_all);
        drop(writing.join().unwrap());
    });
}

#[test]
fn what_a_late_reader_gets_is_whole() {
    run(|| {
        // Without heartbeats no timer ends a turn.
        let mut config = patient();
        config.heartbeat = None;
        let listener = port();
        let (machine, record) = Witness::new(tower(config, &listener), true);
        let (handle, mut reactor) = Reactor::new(machine, listener).unwrap();
        let mut late = TcpStream::connect(handle.local_addr()).unwrap();
        // Until the sockets take no more bytes, and no event comes. The rest waits in the tower.
        let sent = || record.lock().unwrap().values().map(|seen| seen.sent).sum::<usize>();
        let mut before = None;
        while before != Some(sent()) || sent() == 0 {
            before = Some(sent());
            reactor.turn(Some(Duration::from_millis(200))).unwrap();
        }
        let running = Running::start((handle, reactor));
        let mut stream = vec![0; 2 * before.unwrap()];
        late.read_exact(&mut stream).unwrap();
        let mut after_hello = stream.iter().enumerate().skip(HELLO);
        let damage = after_hello.find(|(at, byte)| **byte != rubbish(*at));
        assert_eq!(damage, None);
        running.kill();
    });
}

#[test]
fn a_caller_that_reads_without_end_starves_nobody() {
    run(|| {
        while_busy(|mut greedy| {
            let mut buffer = vec![0; 1 << 20];
            while greedy.read(&mut buffer).is_ok_and(|count| count > 0) {}
        });
    });
}

#[test]
fn a_caller_that_writes_without_end_starves_nobody() {
    run(|| while_busy(|mut chatty| while chatty.write_all(&[0; 1 << 18]).is_ok() {}));
}

/// Passes messages to a friend while a caller keeps the tower busy.
fn while_busy(call: impl FnOnce(TcpStream) + Send + 'static) {
    let (running, record) = patient_pest();
    let caller = TcpStream::connect(running.handle.local_addr()).unwrap();
    let calling = thread::spawn(move || call(caller));
    let is_busy = |seen: &Seen| seen.sent + seen.received > 32 << 20;
    pass_messages_until(&running, || record.lock().unwrap().values().any(is_busy));
    running.kill();
    calling.join().unwrap();
}

/// Passes messages to a friend, one after the other, many of them and until something is done.
fn pass_messages_until(running: &Running, is_done: impl Fn() -> bool) {
    let friend = start(quiet());
    let notices = running.handle.notices();
    running.handle.expand(&friend.address()).unwrap();
    let mut rounds = 0;
    while rounds < 100 || !is_done() {
        running.handle.enqueue(Message::text("go on")).unwrap();
        delivers(&notices, 1);
        rounds += 1;
    }
}

#[test]
fn a_link_that_can_not_be_flushed_is_cut() {
    run(|| {
        let mut config = quick();
        config.timeouts.close = Duration::from_millis(50);
        let (running, record) = witness(config, true);
        let mut deaf = TcpStream::connect(running.handle.local_addr()).unwrap();
        // Rubbish, so that the tower closes the link. The writing fails when the socket is gone, and not before.
        while deaf.write_all(&[0; 4_096]).is_ok() {}
        // The terminal event follows the end of the socket.
        while record.lock().unwrap().values().all(|seen| seen.terminal == 0) {
            thread::yield_now();
        }
    });
}

/// Dials that hang need a listener whose queue is full, and what happens then differs between systems.
#[cfg(target_os = "linux")]
#[test]
fn a_dial_that_takes_too_long_is_given_up() {
    use clacks_proto::CloseReason;

    run(|| {
        let listener = port();
        let socket = listener.local_addr().unwrap();
        let patience = Duration::from_millis(500);
        let mut queue = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&socket, patience) {
            queue.push(stream);
        }
        let mut config = quiet();
        config.timeouts.connect = Duration::from_millis(20);
        config.probe_backoff = FOR_EVER;
        let (running, record) = witness(config, false);
        let notices = running.handle.notices();
        let address = Address::try_from(socket).unwrap();
        running.handle.announce(&address).unwrap();
        find(&notices, |report| match report {
            Report::LinkClosed { tower, why } if tower.as_ref() == Some(&address) => {
                assert_eq!(why, CloseReason::ConnectTimeout);
                Some(())
            }
            _ => None,
        });
        running.handle.shutdown();
        running.end().unwrap();
        let record = record.lock().unwrap();
        let seen = Seen { terminal: 1, ..Seen::default() };
        assert!(record.len() == 1 && record.values().all(|link| *link == seen), "{record:?}");
        drop((queue, listener));
    });
}
