//! A reactor in the loop of another program.

use clacks_mio::Reactor;
use clacks_proto::{Message, Notice, Tower};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use std::os::fd::{AsFd, AsRawFd};
use std::thread;
use std::time::Duration;

use crate::support::{quick, quiet, reactor, receives, run, start};

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

    /// Sleeps as long as the reactor allows, and gives it a turn that does not sleep.
    fn turn(&mut self) {
        self.poll.poll(&mut self.events, self.reactor.next_timeout()).unwrap();
        self.reactor.turn(Some(Duration::ZERO)).unwrap();
    }
}

#[test]
fn another_loop_needs_the_descriptor_and_the_timeout_only() {
    run(|| {
        let friend = start(quick());
        let mut theirs = friend.handle.notices();
        let (handle, reactor) = reactor(quick());
        let mut notices = handle.notices();
        handle.expand(&friend.address()).unwrap();
        handle.enqueue(Message::text("to there")).unwrap();
        let answering = thread::spawn(move || {
            receives(&mut theirs, "to there");
            let _ = friend.handle.expand(handle.address());
            friend.handle.enqueue(Message::text("and back")).unwrap();
            friend
        });
        let mut program = Loop::new(reactor);
        let mut is_back = false;
        while !is_back {
            program.turn();
            while let Ok(notice) = notices.try_recv() {
                is_back |= matches!(&notice, Notice::MessageReceived { message, .. }
                    if message.as_text() == Some("and back"));
            }
        }
        drop(answering.join().unwrap());
    });
}

#[test]
fn a_verb_on_another_thread_wakes_the_loop() {
    run(|| {
        let (handle, reactor) = reactor(quiet());
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
