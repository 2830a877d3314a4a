//! A reactor in the loop of another program.

use clacks_mio::{Message, Notice, Reactor, Tower};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use std::os::fd::{AsFd, AsRawFd};
use std::thread;
use std::time::Duration;

use crate::support::{RunningTower, quick, reactor, run, without_timers};

/// The loop of a program.
struct Loop {
    poll: Poll,
    events: Events,
    reactor: Reactor<Tower>,
}

impl Loop {
    fn new(reactor: Reactor<Tower>) -> Self {
        let poll = Poll::new().unwrap();
        let descriptor = reactor.as_raw_fd();
        assert_eq!(reactor.as_fd().as_raw_fd(), descriptor);
        poll.registry().register(&mut SourceFd(&descriptor), Token(0), Interest::READABLE).unwrap();
        Self { poll, events: Events::with_capacity(8), reactor }
    }

    /// Sleeps as long as the reactor allows. Then gives the reactor a turn that does not sleep.
    fn turn(&mut self) {
        self.poll.poll(&mut self.events, self.reactor.next_timeout()).unwrap();
        self.reactor.turn(Some(Duration::ZERO)).unwrap();
    }
}

#[test]
fn the_descriptor_and_the_timeout_suffice_for_another_loop() {
    run(|| {
        let peer = RunningTower::start(quick());
        let mut peer_notices = peer.handle.notices();
        let (handle, reactor) = reactor(quick());
        let mut notices = handle.notices();
        handle.expand(peer.handle.address()).unwrap();
        handle.enqueue(Message::text("to the peer")).unwrap();
        let answering = thread::spawn(move || {
            assert!(peer_notices.iter().any(|notice| is_text(&notice, "to the peer")));
            // Fails if the peer knows the tower already.
            let _ = peer.handle.expand(handle.address());
            peer.handle.enqueue(Message::text("and back")).unwrap();
            peer
        });
        let mut program = Loop::new(reactor);
        let mut is_back = false;
        while !is_back {
            program.turn();
            while let Ok(notice) = notices.try_recv() {
                is_back |= is_text(&notice, "and back");
            }
        }
        drop(answering.join().unwrap());
    });
}

fn is_text(notice: &Notice, text: &str) -> bool {
    let Notice::MessageReceived { message, .. } = notice else { return false };
    message.as_text() == Some(text)
}

#[test]
fn a_call_on_another_thread_wakes_the_loop() {
    run(|| {
        let (handle, reactor) = reactor(without_timers());
        let mut notices = handle.notices();
        let mut program = Loop::new(reactor);
        program.turn();
        assert_eq!(program.reactor.next_timeout(), None);
        let calling = thread::spawn(move || handle.enqueue(Message::text("hello")).unwrap());
        let notice = loop {
            program.turn();
            if let Ok(notice) = notices.try_recv() {
                break notice;
            }
        };
        let queued = calling.join().unwrap();
        assert!(matches!(notice, Notice::MessageQueued { nonce, .. } if nonce == queued));
    });
}
