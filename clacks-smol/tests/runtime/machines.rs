//! A driver runs any state machine: here one that records what the driver does.

use clacks_proto::{CloseReason, Config, Message, Notice, Status, Tower};
use clacks_smol::{Driver, Handle};
use smol::channel::{self, Sender};
use smol::{Task, future};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::{
    ClosedPort, FOREVER, becomes, delivers, find, port, quick, quiet, run, start, tower,
};
use crate::witness::{Record, Seen, Witness};

/// A witness on a thread of its own, because it may take its time. Runs until this is dropped.
pub(crate) struct Alone {
    pub(crate) handle: Handle<Witness>,
    stop: Sender<()>,
    task: Task<io::Result<()>>,
}

impl Alone {
    pub(crate) fn start(
        config: Config,
        build: impl FnOnce(Tower) -> (Witness, Record),
    ) -> (Self, Record) {
        let listener = port();
        let (machine, record) = build(tower(config, &listener));
        let (handle, driver) = Driver::new(machine, listener).unwrap();
        let (stop, stopped) = channel::bounded(1);
        let run = future::or(driver.run(), async move {
            let _ = stopped.recv().await;
            Ok(())
        });
        (Self { handle, stop, task: smol::unblock(|| smol::block_on(run)) }, record)
    }

    /// Waits for the end of a tower that was shut down.
    pub(crate) async fn join(self) -> io::Result<()> {
        let Self { stop, task, .. } = self;
        let ended = task.await;
        drop(stop);
        ended
    }
}

/// A flooding witness that gives callers all the time they want.
fn flooding() -> (Alone, Record) {
    let mut config = quick();
    config.timeouts.handshake = FOREVER;
    config.timeouts.close = FOREVER;
    Alone::start(config, Witness::flooding)
}

/// Hands over messages one by one: many of them, and until a condition holds.
async fn pass_messages_until(alone: &Alone, is_done: impl Fn() -> bool) {
    let friend = start(quiet());
    let mut notices = alone.handle.notices();
    alone.handle.expand(&friend.address()).unwrap();
    let mut rounds = 0;
    while rounds < 100 || !is_done() {
        alone.handle.enqueue(Message::text("go on")).unwrap();
        delivers(&mut notices, 1).await;
        rounds += 1;
    }
}

#[test]
fn each_link_has_exactly_one_terminal_event() {
    run(async {
        let mut config = quick();
        config.timeouts.handshake = Duration::from_millis(50);
        let (alone, record) = Alone::start(config, Witness::new);
        let handle = alone.handle.clone();
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
        becomes(&mut notices, &friend_address, Status::Alive).await;
        friend.kill().await;
        becomes(&mut notices, &friend_address, Status::Lost).await;
        // A link that is open when the shutdown begins.
        let last = start(quick());
        handle.announce(&last.address()).unwrap();
        becomes(&mut notices, &last.address(), Status::Alive).await;
        handle.shutdown().await;
        alone.join().await.unwrap();
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
    run(async {
        let mut config = quiet();
        config.timeouts.connect = Duration::from_millis(1);
        config.probe_backoff = FOREVER;
        let (alone, record) = Alone::start(config, Witness::new);
        let mut notices = alone.handle.notices();
        // The last ones wait until the first ones are looked up.
        for number in 0..40 {
            let address = format!("no-{number}.invalid:1").parse().unwrap();
            alone.handle.announce(&address).unwrap();
        }
        let mut lost = 0;
        find(&mut notices, |notice| {
            lost += usize::from(matches!(notice, Notice::StatusChanged { to: Status::Lost, .. }));
            (lost == 40).then_some(())
        })
        .await;
        alone.handle.shutdown().await;
        alone.join().await.unwrap();
        assert_eq!(record.links(), [Seen { terminal: 1, ..Seen::default() }; 40]);
    });
}

#[test]
fn a_peer_that_does_not_read_holds_up_nobody_and_is_read() {
    run(async {
        const LEN: usize = 1 << 20;
        let (alone, record) = flooding();
        let mut deaf = TcpStream::connect(alone.handle.local_addr()).unwrap();
        // More than the driver reads in a turn. The tower closes the link, and still has to take
        // all of it.
        let writing = smol::unblock(move || {
            deaf.write_all(&[0; LEN]).unwrap();
            deaf
        });
        pass_messages_until(&alone, || record.any(|seen| seen.received == LEN)).await;
        drop(writing.await);
    });
}

#[test]
fn bytes_that_waited_for_a_slow_reader_are_unchanged() {
    /// More than a tower sends before the caller's hello.
    const HELLO: usize = 1_024;

    run(async {
        let (alone, record) = flooding();
        let mut slow = TcpStream::connect(alone.handle.local_addr()).unwrap();
        // Until neither system takes more: the rest waits in the driver.
        let sent = || record.links().iter().map(|seen| seen.sent).sum::<usize>();
        let mut before = 0;
        while before == 0 || before < sent() {
            before = sent();
            smol::Timer::after(Duration::from_millis(50)).await;
        }
        let mut stream = vec![0; 2 * before];
        let stream = smol::unblock(move || {
            slow.read_exact(&mut stream).unwrap();
            stream
        })
        .await;
        let mut after_hello = stream.iter().enumerate().skip(HELLO);
        let damage = after_hello.find(|(at, byte)| **byte != crate::witness::pattern(*at));
        assert_eq!(damage, None);
    });
}

#[test]
fn a_caller_that_reads_without_end_holds_up_nobody() {
    run(while_busy(|mut caller| {
        let mut buffer = vec![0; 1 << 20];
        while caller.read(&mut buffer).is_ok_and(|count| count > 0) {}
    }));
}

#[test]
fn a_caller_that_writes_without_end_holds_up_nobody() {
    run(while_busy(|mut caller| while caller.write_all(&[0; 1 << 18]).is_ok() {}));
}

/// Hands over messages while a caller keeps the tower busy.
async fn while_busy(call: impl FnOnce(TcpStream) + Send + 'static) {
    let (alone, record) = flooding();
    let caller = TcpStream::connect(alone.handle.local_addr()).unwrap();
    let calling = smol::unblock(move || call(caller));
    let is_busy = || record.any(|seen| seen.sent + seen.received > 32 << 20);
    pass_messages_until(&alone, is_busy).await;
    drop(alone);
    calling.await;
}

#[test]
fn a_link_that_can_not_be_flushed_is_aborted() {
    run(async {
        let mut config = quick();
        config.timeouts.close = Duration::from_millis(50);
        let (alone, record) = Alone::start(config, Witness::flooding);
        let mut deaf = TcpStream::connect(alone.handle.local_addr()).unwrap();
        // The tower closes the link, because the bytes are no hello. Writing fails once the socket
        // is closed.
        smol::unblock(move || while deaf.write_all(&[0; 4_096]).is_ok() {}).await;
        // The terminal event follows.
        while !record.any(|seen| seen.terminal == 1) {
            future::yield_now().await;
        }
    });
}

/// A dial hangs if the queue of the listener is full. Other systems behave differently then.
#[cfg(target_os = "linux")]
#[test]
fn a_dial_that_takes_too_long_is_given_up() {
    run(async {
        let listener = port();
        let socket = listener.local_addr().unwrap();
        let mut queue = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&socket, Duration::from_millis(500)) {
            queue.push(stream);
        }
        let mut config = quiet();
        config.timeouts.connect = Duration::from_millis(20);
        config.probe_backoff = FOREVER;
        let (alone, record) = Alone::start(config, Witness::new);
        let mut notices = alone.handle.notices();
        let address = socket.try_into().unwrap();
        alone.handle.announce(&address).unwrap();
        let why = find(&mut notices, |notice| match notice {
            Notice::LinkClosed { peer: Some(peer), reason, .. } if peer == address => Some(reason),
            _ => None,
        })
        .await;
        assert_eq!(why, CloseReason::ConnectTimeout);
        alone.handle.shutdown().await;
        alone.join().await.unwrap();
        assert_eq!(record.links(), [Seen { terminal: 1, ..Seen::default() }]);
    });
}
