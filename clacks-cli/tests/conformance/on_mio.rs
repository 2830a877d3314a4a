//! Towers on mio, each with a thread of its own.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use clacks_mio::{Handle, Notices, Reactor};
use clacks_proto::{
    Address, ExpandError, Held, Message, Nonce, Peer, RefusedMessage, Report, ShutdownProgress,
    StateMachine, Stats,
};

use crate::runtime::{Machine, Running, Runtime, Screen};

pub(crate) struct Mio;

struct OnMio {
    handle: Handle,
    notices: Notices,
    killed: Arc<AtomicBool>,
    /// Until it has ended.
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Runtime for Mio {
    fn start(
        &self,
        machine: Machine,
        listener: TcpListener,
        screen: Option<Screen>,
    ) -> Box<dyn Running> {
        match machine {
            Machine::Clear(tower) => start(*tower, listener, screen),
            Machine::Secure(tower) => start(*tower, listener, screen),
        }
    }
}

fn start<M: StateMachine + Send + 'static>(
    machine: M,
    listener: TcpListener,
    screen: Option<Screen>,
) -> Box<dyn Running> {
    let (handle, mut reactor) = Reactor::new(machine, listener).unwrap();
    if let Some(screen) = screen {
        reactor = reactor.screen_with(screen);
    }
    let notices = handle.notices();
    let killed = Arc::new(AtomicBool::new(false));
    let is_killed = killed.clone();
    let thread = thread::spawn(move || {
        while !is_killed.load(Ordering::Acquire) {
            if reactor.turn(None)? == ShutdownProgress::Done {
                break;
            }
        }
        Ok(())
    });
    Box::new(OnMio { handle, notices, killed, thread: Some(thread) })
}

impl OnMio {
    fn end(&mut self) {
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap().unwrap();
        }
    }
}

impl Running for OnMio {
    fn enqueue(&self, message: Message) -> Result<Nonce, RefusedMessage> {
        self.handle.enqueue(message)
    }

    fn peek(&self) -> Vec<Held> {
        self.handle.peek()
    }

    fn survey(&self) -> Vec<Peer> {
        self.handle.survey()
    }

    fn expand(&self, address: &Address) -> Result<(), ExpandError> {
        self.handle.expand(address)
    }

    fn announce(&self, address: &Address) -> Result<(), ExpandError> {
        self.handle.announce(address)
    }

    fn ignore(&self, address: &Address) -> Result<(), ExpandError> {
        self.handle.ignore(address)
    }

    fn heed(&self, address: &Address) -> bool {
        self.handle.heed(address)
    }

    fn stats(&self) -> Stats {
        self.handle.stats()
    }

    fn held(&self) -> (usize, usize) {
        self.handle.held()
    }

    fn next_report(&mut self, within: Duration) -> Option<Report> {
        self.notices.recv_timeout(within).ok()
    }

    fn shut_down(&mut self) -> usize {
        let left = self.handle.shutdown();
        self.end();
        left
    }

    fn kill(mut self: Box<Self>) {
        self.killed.store(true, Ordering::Release);
        self.handle.wake();
        self.end();
    }
}
