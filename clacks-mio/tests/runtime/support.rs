//! Towers in a hurry, and waiting with a limit.

use clacks_mio::{Handle, Notices, Reactor};
use clacks_proto::{Address, Config, Report, ShutdownProgress, StateMachine, Status, Tower};
use std::io;
use std::net::TcpListener;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, PoisonError};
use std::thread::{self, JoinHandle};

pub(crate) use crate::towers::{
    ClosedPort, FOR_EVER, nobody_listens, port, port_again, quick, quiet, tower,
};
use crate::towers::{DESCRIPTORS, LIMIT};

/// Runs a test, and fails it when it hangs.
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
    match ended.recv_timeout(LIMIT) {
        Err(RecvTimeoutError::Timeout) => panic!("waited too long"),
        _ => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
    }
}

/// A tower that runs on a thread of its own until this is dropped.
pub(crate) struct Running {
    pub(crate) handle: Handle,
    killed: Arc<AtomicBool>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Running {
    pub(crate) fn start<M>((handle, mut reactor): (Handle, Reactor<M>)) -> Self
    where
        M: StateMachine + Send + 'static,
    {
        let killed = Arc::new(AtomicBool::new(false));
        let must_die = killed.clone();
        let thread = thread::spawn(move || {
            while !must_die.load(Ordering::SeqCst) {
                if reactor.turn(None)? == ShutdownProgress::Done {
                    break;
                }
            }
            Ok(())
        });
        Self { handle, killed, thread: Some(thread) }
    }

    pub(crate) fn address(&self) -> Address {
        Address::try_from(self.handle.local_addr()).unwrap()
    }

    /// Sudden death: comes back when the sockets are closed.
    pub(crate) fn kill(mut self) {
        self.stop();
        self.join().unwrap();
    }

    /// The end of a tower that was shut down.
    pub(crate) fn end(mut self) -> io::Result<()> {
        self.join()
    }

    fn stop(&self) {
        self.killed.store(true, Ordering::SeqCst);
        self.handle.wake();
    }

    fn join(&mut self) -> io::Result<()> {
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

pub(crate) fn reactor(config: Config) -> (Handle, Reactor<Tower>) {
    let listener = port();
    Reactor::new(tower(config, &listener), listener).unwrap()
}

pub(crate) fn start(config: Config) -> Running {
    Running::start(reactor(config))
}

pub(crate) fn start_at(config: Config, listener: TcpListener) -> Running {
    start_machine(tower(config, &listener), listener)
}

pub(crate) fn start_machine<M>(machine: M, listener: TcpListener) -> Running
where
    M: StateMachine + Send + 'static,
{
    Running::start(Reactor::new(machine, listener).unwrap())
}

/// Reads reports until one is what is looked for.
pub(crate) fn find<T>(notices: &Notices, mut wanted: impl FnMut(Report) -> Option<T>) -> T {
    loop {
        let report = notices.recv().expect("the tower is gone");
        if let Some(found) = wanted(report) {
            return found;
        }
    }
}

pub(crate) fn turns(notices: &Notices, peer: &Address, status: Status) {
    find(notices, |report| match report {
        Report::StatusChanged { tower, to, .. } if tower == *peer && to == status => Some(()),
        _ => None,
    });
}

/// Texts of messages as they come in.
pub(crate) fn receives(notices: &Notices, wanted: &str) {
    find(notices, |report| match report {
        Report::MessageReceived { message, .. } => (message.as_text()? == wanted).then_some(()),
        _ => None,
    });
}

pub(crate) fn delivers(notices: &Notices, count: usize) {
    let mut left = count;
    find(notices, |report| {
        left -= usize::from(matches!(report, Report::MessageDelivered { .. }));
        (left == 0).then_some(())
    });
}
