//! The runtimes that are tested.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use clacks_mio::Reactor;
use clacks_proto::driver::{Handle, Notices, Screen};
use clacks_proto::{ShutdownProgress, StateMachine};
use clacks_smol::Driver;
use smol::{Task, block_on};

/// A runtime that towers run on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Runtime {
    Smol,
    Mio,
}

/// A driver that runs a tower.
pub(crate) enum Running {
    Smol(Task<io::Result<()>>),
    Mio { must_stop: Arc<AtomicBool>, thread: JoinHandle<io::Result<()>> },
}

impl Runtime {
    /// Runs a state machine on a listening socket. The reader gets all notices from the start.
    pub(crate) fn start<M: StateMachine + Send + 'static>(
        self,
        machine: M,
        listener: TcpListener,
        screen: Option<Screen>,
    ) -> (Handle<M>, Notices, Running) {
        match self {
            Self::Smol => {
                let (handle, mut driver) = Driver::new(machine, listener).unwrap();
                if let Some(screen) = screen {
                    driver = driver.screen_with(screen);
                }
                let notices = handle.notices();
                (handle, notices, Running::Smol(smol::spawn(driver.run())))
            }
            Self::Mio => {
                let (handle, mut reactor) = Reactor::new(machine, listener).unwrap();
                if let Some(screen) = screen {
                    reactor = reactor.screen_with(screen);
                }
                let notices = handle.notices();
                let must_stop = Arc::new(AtomicBool::new(false));
                let stop = must_stop.clone();
                let thread = thread::spawn(move || {
                    while !stop.load(Ordering::SeqCst)
                        && reactor.turn(None)? != ShutdownProgress::Done
                    {}
                    Ok(())
                });
                (handle, notices, Running::Mio { must_stop, thread })
            }
        }
    }
}

impl Running {
    /// Waits for the end of a tower that was shut down.
    pub(crate) fn join(self) {
        match self {
            Self::Smol(task) => block_on(task).unwrap(),
            Self::Mio { thread, .. } => thread.join().unwrap().unwrap(),
        }
    }

    /// Kills a tower: peers get no goodbye. Its sockets are closed when this returns.
    pub(crate) fn kill(self, wake: impl FnOnce()) {
        match self {
            Self::Smol(task) => drop(block_on(task.cancel())),
            Self::Mio { must_stop, thread } => {
                must_stop.store(true, Ordering::SeqCst);
                wake();
                thread.join().unwrap().unwrap();
            }
        }
    }
}
