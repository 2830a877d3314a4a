//! The driver binds any state machine: here a tower with something around it.

use clacks_proto::{Address, Config, Message, Report, Status};
use clacks_smol::{Driver, Handle};
use smol::channel::{self, Sender};
use smol::{Task, future};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use crate::support::{
    ClosedPort, FOR_EVER, delivers, find, port, quick, quiet, run, start, tower, turns,
};
use crate::witness::{Record, Seen, Witness};

/// A driver on a thread of its own, until this is dropped.
pub(crate) struct Alone {
    stop: Sender<()>,
    task: Task<io::Result<()>>,
}

impl Alone {
    /// The end of a tower that was shut down.
    pub(crate) async fn end(self) -> io::Result<()> {
        let Self { stop, task } = self;
        let ended = task.await;
        drop(stop);
        ended
    }
}

/// A witness on a thread of its own, since its work may be hard.
pub(crate) fn witness(config: Config, is_pest: bool) -> (Handle, Record, Alone) {
    let listener = port();
    let (machine, record) = Witness::new(tower(config, &listener), is_pest);
    let (handle, driver) = Driver::new(machine, listener).unwrap();
    let (stop, stopped) = channel::bounded(1);
    let run = future::or(driver.run(), async move {
        let _ = stopped.recv().await;
        Ok(())
    });
    (handle, record, Alone { stop, task: smol::unblock(|| smol::block_on(run)) })
}

#[test]
fn each_link_has_exactly_one_terminal_event() {
    run(async {
        let mut config = quick();
        config.timeouts.handshake = Duration::from_millis(50);
        let (handle, record, alone) = witness(config, false);
        let mut notices = handle.notices();
        // A link that ends with its peer, dials that fail, links whose other side is silent, rude or gone at once.
        let friend = start(quick());
        let friend_address = friend.address();
        let closed = ClosedPort::new();
        for address in
            [&friend_address, &closed.address(), &"no-such-tower.invalid:1".parse().unwrap()]
        {
            handle.announce(address).await.unwrap();
        }
        let silent = TcpStream::connect(handle.local_addr()).unwrap();
        let mut rude = TcpStream::connect(handle.local_addr()).unwrap();
        rude.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        drop(TcpStream::connect(handle.local_addr()).unwrap());
        turns(&mut notices, &friend_address, Status::Alive).await;
        friend.kill().await;
        turns(&mut notices, &friend_address, Status::Lost).await;
        // A link that stands when the shutdown begins.
        let last = start(quick());
        handle.announce(&last.address()).await.unwrap();
        turns(&mut notices, &last.address(), Status::Alive).await;
        handle.shutdown().await;
        alone.end().await.unwrap();
        drop((silent, rude));

        let record = record.lock().unwrap();
        assert!(record.len() >= 7, "{record:#?}");
        for (link, seen) in record.iter() {
            assert_eq!(seen.terminal, 1, "{link:?} {seen:?}");
            assert!(seen.connected <= 1 && seen.finished <= 1, "{link:?} {seen:?}");
        }
    });
}

#[test]
fn a_peer_that_never_reads_delays_nobody_and_is_still_read() {
    run(async {
        const LEN: usize = 1 << 20;
        let mut config = quick();
        config.timeouts.handshake = FOR_EVER;
        config.timeouts.close = FOR_EVER;
        let (handle, record, _alone) = witness(config, true);
        let friend = start(quiet());
        let mut notices = handle.notices();
        handle.expand(&friend.address()).await.unwrap();

        let mut deaf = TcpStream::connect(handle.local_addr()).unwrap();
        // More than the tower reads in a turn. It takes them for a mistake, and still has to take them.
        let writing = smol::unblock(move || {
            deaf.write_all(&[0; LEN]).unwrap();
            deaf
        });
        let from_deaf = || record.lock().unwrap().values().any(|seen| seen.received == LEN);
        let mut rounds = 0;
        while rounds < 100 || !from_deaf() {
            handle.enqueue(Message::text("go on")).await.unwrap();
            delivers(&mut notices, 1).await;
            rounds += 1;
        }
        drop(writing.await);
    });
}

#[test]
fn a_caller_that_reads_without_end_starves_nobody() {
    run(while_busy(|mut greedy| {
        let mut buffer = vec![0; 1 << 20];
        while greedy.read(&mut buffer).is_ok_and(|count| count > 0) {}
    }));
}

#[test]
fn a_caller_that_writes_without_end_starves_nobody() {
    run(while_busy(|mut chatty| while chatty.write_all(&[0; 1 << 18]).is_ok() {}));
}

/// Passes messages to a friend while a caller keeps the tower busy.
async fn while_busy(call: impl FnOnce(TcpStream) + Send + 'static) {
    let mut config = quick();
    config.timeouts.handshake = FOR_EVER;
    config.timeouts.close = FOR_EVER;
    let (handle, record, alone) = witness(config, true);
    let friend = start(quiet());
    let mut notices = handle.notices();
    handle.expand(&friend.address()).await.unwrap();
    let caller = TcpStream::connect(handle.local_addr()).unwrap();
    let calling = smol::unblock(move || call(caller));
    let is_busy = |seen: &Seen| seen.sent + seen.received > 32 << 20;
    let mut rounds = 0;
    while rounds < 100 || !record.lock().unwrap().values().any(is_busy) {
        handle.enqueue(Message::text("go on")).await.unwrap();
        delivers(&mut notices, 1).await;
        rounds += 1;
    }
    drop(alone);
    calling.await;
}

#[test]
fn a_link_that_can_not_be_flushed_is_cut() {
    run(async {
        let mut config = quick();
        config.timeouts.close = Duration::from_millis(50);
        let (handle, record, _alone) = witness(config, true);
        let mut deaf = TcpStream::connect(handle.local_addr()).unwrap();
        // Rubbish, so that the tower closes the link. The writing fails when the socket is gone, and not before.
        smol::unblock(move || while deaf.write_all(&[0; 4_096]).is_ok() {}).await;
        // The terminal event follows the end of the socket.
        while record.lock().unwrap().values().all(|seen| seen.terminal == 0) {
            future::yield_now().await;
        }
    });
}

/// Dials that hang need a listener whose queue is full, and what happens then differs between systems.
#[cfg(target_os = "linux")]
#[test]
fn a_dial_that_takes_too_long_is_given_up() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = listener.local_addr().unwrap();
        let patience = Duration::from_millis(500);
        let mut queue = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&socket, patience) {
            queue.push(stream);
        }
        let mut config = quiet();
        config.timeouts.connect = Duration::from_millis(20);
        config.probe_backoff = FOR_EVER;
        let (handle, record, alone) = witness(config, false);
        let mut notices = handle.notices();
        let address = Address::try_from(socket).unwrap();
        handle.announce(&address).await.unwrap();
        find(&mut notices, |report| match report {
            Report::LinkClosed { tower, why } if tower.as_ref() == Some(&address) => {
                assert_eq!(why, clacks_proto::CloseReason::ConnectTimeout);
                Some(())
            }
            _ => None,
        })
        .await;
        handle.shutdown().await;
        alone.end().await.unwrap();
        let record = record.lock().unwrap();
        let seen = Seen { terminal: 1, ..Seen::default() };
        assert!(record.len() == 1 && record.values().all(|link| *link == seen), "{record:?}");
        drop((queue, listener));
    });
}
