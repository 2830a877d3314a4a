//! A reactor in another program's loop.

use clacks_mio::Reactor;
use clacks_proto::{Address, Message, Report, Tower};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use std::os::fd::{AsFd, AsRawFd};
use std::thread;
use std::time::Duration;

use crate::support::{quick, quiet, reactor, receives, run, start};

/// The loop of a program that has a reactor in it.
struct Loop {
    poll: Poll,
    events: Events,
    reactor: Reactor<Tower>,
}

impl Loop {
    fn new(reactor: Reactor<Tower>) -> Self {
        let poll = Poll::new().unwrap();
        assert_eq!(reactor.as_fd().as_raw_fd(), reactor.as_raw_fd());
        let descriptor = reactor.as_raw_fd();
        poll.registry().register(&mut SourceFd(&descriptor), Token(0), Interest::READABLE).unwrap();
        Self { poll, events: Events::with_capacity(8), reactor }
    }

    /// Sleeps for as long as the reactor allows. Its turn takes no time of its own.
    fn turn(&mut self) {
        self.poll.poll(&mut self.events, self.reactor.next_timeout()).unwrap();
        self.reactor.turn(Some(Duration::ZERO)).unwrap();
    }
}

#[test]
fn the_descriptor_and_the_timeout_are_all_that_another_loop_needs() {
    run(|| {
        let friend = start(quick());
        let theirs = friend.handle.notices();
        let (handle, reactor) = reactor(quick());
        let notices = handle.notices();
        let ours = Address::try_from(handle.local_addr()).unwrap();
        handle.expand(&friend.address()).unwrap();
        handle.enqueue(Message::text("to there")).unwrap();
        let answering = thread::spawn(move || {
            receives(&theirs, "to there");
            let _ = friend.handle.expand(&ours);
            friend.handle.enqueue(Message::text("and back")).unwrap();
            friend
        });
        let mut program = Loop::new(reactor);
        let mut is_back = false;
        while !is_back {
            program.turn();
            while let Ok(report) = notices.try_recv() {
                is_back |= matches!(&report, Report::MessageReceived { message, .. }
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
        let notices = handle.notices();
        let mut program = Loop::new(reactor);
        program.turn();
        assert_eq!(program.reactor.next_timeout(), None);
        let talking = thread::spawn(move || handle.enqueue(Message::text("hello")).unwrap());
        let report = loop {
            program.turn();
            if let Ok(report) = notices.try_recv() {
                break report;
            }
        };
        let nonce = talking.join().unwrap();
        assert!(matches!(report, Report::MessageQueued { nonce: name, .. } if name == nonce));
    });
}
