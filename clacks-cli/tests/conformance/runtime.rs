//! The runtimes, behind one interface.

use std::fmt;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clacks_mio::Reactor;
use clacks_proto::driver::{Handle, Screen};
use clacks_proto::{ShutdownProgress, StateMachine};
use smol::future::{self, Boxed};
use smol::{Timer, block_on, channel};

/// A runtime for towers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Runtime {
    Smol,
    Mio,
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Smol => "smol",
            Self::Mio => "mio",
        })
    }
}

impl Runtime {
    /// Returns a driver that does not run yet, and the handle of its tower.
    pub(crate) fn driver<M: StateMachine + Send + 'static>(
        self,
        machine: M,
        listener: TcpListener,
        screen: Option<Screen>,
    ) -> (Handle<M>, Driver<M>) {
        match self {
            Self::Smol => {
                let (handle, mut driver) = clacks_smol::Driver::new(machine, listener).unwrap();
                if let Some(screen) = screen {
                    driver = driver.screen_with(screen);
                }
                (handle, Driver::Smol(Box::pin(driver.run())))
            }
            Self::Mio => {
                let (handle, mut reactor) = Reactor::new(machine, listener).unwrap();
                if let Some(screen) = screen {
                    reactor = reactor.screen_with(screen);
                }
                (handle, Driver::Mio(Box::new(reactor)))
            }
        }
    }
}

/// A driver that runs only when the test calls a method. Dropping it ends the tower.
pub(crate) enum Driver<M: StateMachine + Send + 'static> {
    Smol(Boxed<io::Result<()>>),
    Mio(Box<Reactor<M>>),
}

impl<M: StateMachine + Send + 'static> Driver<M> {
    /// Runs the driver in the background. All drivers of smol share one thread. A driver of mio
    /// has its own thread.
    pub(crate) fn start(self, handle: &Handle<M>) -> RunningDriver {
        match self {
            Self::Smol(run) => {
                let (stop, run) = until_stopped(run);
                let task = smol::spawn(run);
                RunningDriver { stop, end: Box::new(|| block_on(task)) }
            }
            Self::Mio(reactor) => start_reactor(reactor, handle),
        }
    }

    /// Like [`start`](Self::start), for a state machine that blocks. The driver has its own thread.
    pub(crate) fn start_on_own_thread(self, handle: &Handle<M>) -> RunningDriver {
        match self {
            Self::Smol(run) => {
                let (stop, run) = until_stopped(run);
                let thread = thread::spawn(|| block_on(run));
                RunningDriver { stop, end: Box::new(|| thread.join().unwrap()) }
            }
            Self::Mio(reactor) => start_reactor(reactor, handle),
        }
    }

    /// Runs the driver until it would wait, or yields to other tasks.
    pub(crate) fn step(&mut self) {
        match self {
            Self::Smol(run) => {
                if let Some(result) = block_on(future::poll_once(run)) {
                    result.unwrap();
                }
            }
            Self::Mio(reactor) => _ = reactor.turn(Some(Duration::ZERO)).unwrap(),
        }
    }

    /// Runs the driver for a time. Returns how often it was polled.
    pub(crate) fn polls_within(&mut self, time: Duration) -> u32 {
        let mut polls = 0;
        match self {
            Self::Smol(run) => {
                let counting = future::poll_fn(|context| {
                    polls += 1;
                    run.as_mut().poll(context)
                });
                let timeout = async {
                    Timer::after(time).await;
                    Ok(())
                };
                block_on(future::or(counting, timeout)).unwrap();
            }
            Self::Mio(reactor) => {
                let start = Instant::now();
                while let Some(left) = time.checked_sub(start.elapsed()) {
                    reactor.turn(Some(left)).unwrap();
                    polls += 1;
                }
            }
        }
        polls
    }
}

/// Returns a function that stops the driver, and the driver's future with this end.
fn until_stopped(run: Boxed<io::Result<()>>) -> (Box<dyn FnOnce()>, Boxed<io::Result<()>>) {
    let (sender, stopped) = channel::bounded::<()>(1);
    let run = future::or(run, async move {
        // Fails when the sender is dropped.
        let _ = stopped.recv().await;
        Ok(())
    });
    (Box::new(|| drop(sender)), Box::pin(run))
}

fn start_reactor<M: StateMachine + Send + 'static>(
    mut reactor: Box<Reactor<M>>,
    handle: &Handle<M>,
) -> RunningDriver {
    let must_stop = Arc::new(AtomicBool::new(false));
    let stopped = must_stop.clone();
    let thread = thread::spawn(move || {
        while !stopped.load(Ordering::SeqCst) && reactor.turn(None)? != ShutdownProgress::Done {}
        Ok(())
    });
    let handle = handle.clone();
    let stop = Box::new(move || {
        must_stop.store(true, Ordering::SeqCst);
        handle.wake();
    });
    RunningDriver { stop, end: Box::new(|| thread.join().unwrap()) }
}

/// A driver that runs in the background.
pub(crate) struct RunningDriver {
    stop: Box<dyn FnOnce()>,
    end: Box<dyn FnOnce() -> io::Result<()>>,
}

impl RunningDriver {
    /// Waits until the driver has ended after a shutdown of its tower.
    pub(crate) fn join(self) {
        (self.end)().unwrap();
    }

    /// Stops the driver without a goodbye to peers. All its sockets are closed when this returns.
    pub(crate) fn kill(self) {
        (self.stop)();
        (self.end)().unwrap();
    }
}
