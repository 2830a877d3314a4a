//! Towers that run, and waiting with a time limit.

use clacks_mio::{Handle, Notices, Reactor};
use clacks_proto::{Address, Config, Notice, ShutdownProgress, StateMachine, Status, Tower};
use std::io;
use std::net::TcpListener;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, PoisonError};
use std::thread::{self, JoinHandle};

pub(crate) use crate::towers::{
    ClosedPort, FOREVER, address, nobody_listens, port, port_again, quick, quiet, tower,
    without_timeouts,
};
use crate::towers::{DESCRIPTORS, TEST_TIMEOUT};

/// Runs a test. Fails if it takes too long.
pub(crate) fn run(test: impl FnOnce() + Send + 'static) {
    let _few = DESCRIPTORS.read().unwrap_or_else(PoisonError::into_inner);
    within(test);
}

/// Runs a test that opens many descriptors while no other one runs.
pub(crate) fn run_alone(test: impl FnOnce() + Send + 'static) {
    let _many = DESCRIPTORS.write().unwrap_or_else(PoisonError::into_inner);
    within(test);
}

fn within(test: impl FnOnce() + Send + 'static) {
    let (done, ended) = mpsc::channel::<()>();
    let thread = thread::spawn(move || {
        let _done = done;
        test();
    });
    match ended.recv_timeout(TEST_TIMEOUT) {
        Err(RecvTimeoutError::Timeout) => panic!("the test takes too long"),
        _ => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
    }
}

/// A tower that runs on a thread of its own until this is dropped.
pub(crate) struct Running<M: StateMachine + Send + 'static = Tower> {
    pub(crate) handle: Handle<M>,
    must_stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl<M: StateMachine + Send + 'static> Running<M> {
    pub(crate) fn new((handle, mut reactor): (Handle<M>, Reactor<M>)) -> Self {
        let must_stop = Arc::new(AtomicBool::new(false));
        let stop = must_stop.clone();
        let thread = thread::spawn(move || {
            while !stop.load(Ordering::SeqCst) && reactor.turn(None)? != ShutdownProgress::Done {}
            Ok(())
        });
        Self { handle, must_stop, thread: Some(thread) }
    }

    pub(crate) fn address(&self) -> Address {
        self.handle.address().clone()
    }

    /// Drops the reactor, and waits until its sockets are closed.
    pub(crate) fn kill(mut self) {
        self.stop();
        self.thread.take().unwrap().join().unwrap().unwrap();
    }

    /// Waits for the end of a tower that was shut down.
    pub(crate) fn join(mut self) -> io::Result<()> {
        self.thread.take().unwrap().join().unwrap()
    }

    fn stop(&self) {
        self.must_stop.store(true, Ordering::SeqCst);
        self.handle.wake();
    }
}

impl<M: StateMachine + Send + 'static> Drop for Running<M> {
    fn drop(&mut self) {
        self.stop();
    }
}

pub(crate) fn reactor(config: Config) -> (Handle<Tower>, Reactor<Tower>) {
    let listener = port();
    Reactor::new(tower(config, &listener), listener).unwrap()
}

pub(crate) fn start(config: Config) -> Running {
    Running::new(reactor(config))
}

pub(crate) fn start_at(config: Config, listener: TcpListener) -> Running {
    start_machine(tower(config, &listener), listener)
}

pub(crate) fn start_machine<M>(machine: M, listener: TcpListener) -> Running<M>
where
    M: StateMachine + Send + 'static,
{
    Running::new(Reactor::new(machine, listener).unwrap())
}

/// Reads notices until one is what is looked for.
pub(crate) fn find<T>(notices: &mut Notices, mut wanted: impl FnMut(Notice) -> Option<T>) -> T {
    loop {
        let notice = notices.recv_blocking().expect("the reactor has ended");
        if let Some(found) = wanted(notice) {
            return found;
        }
    }
}

/// Waits until a peer gets a status.
pub(crate) fn becomes(notices: &mut Notices, wanted: &Address, status: Status) {
    find(notices, |notice| match notice {
        Notice::StatusChanged { peer, to, .. } => (peer == *wanted && to == status).then_some(()),
        _ => None,
    });
}

/// Waits until a text comes in.
pub(crate) fn receives(notices: &mut Notices, wanted: &str) {
    find(notices, |notice| match notice {
        Notice::MessageReceived { message, .. } => (message.as_text()? == wanted).then_some(()),
        _ => None,
    });
}

/// Waits until peers have confirmed a number of messages.
pub(crate) fn delivers(notices: &mut Notices, count: usize) {
    let mut left = count;
    find(notices, |notice| {
        left -= usize::from(matches!(notice, Notice::MessageDelivered { .. }));
        (left == 0).then_some(())
    });
}
