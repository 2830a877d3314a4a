//! Towers that are measured.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use clacks_mio::Reactor;
use clacks_proto::tls::{Identity, SecureTower, Trust};
use clacks_proto::{Address, Config, Report, Seed, SendRate, ShutdownProgress, Stats, Tower};
use clacks_smol::Driver;
use smol::channel::{self, Sender};
use smol::{Task, Timer, future};

use super::Trouble;
use crate::args::Runtime;
use crate::runtime::Handle;

/// How long a tower may take for anything.
const DEADLINE: Duration = Duration::from_secs(60);

/// A tower behind TLS that runs until it is dropped.
pub(super) struct Host {
    pub(super) address: Address,
    handle: Handle,
    // Only there to be dropped.
    _life: Life,
}

/// What runs it, until it is dropped.
enum Life {
    OwnThread { stop: Stop, thread: Option<JoinHandle<()>> },
    Task { _task: Task<io::Result<()>> },
}

/// How its thread is told to end.
enum Stop {
    Smol(Sender<()>),
    Mio(Arc<AtomicBool>, clacks_mio::Handle),
}

/// Who else is on its thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Company {
    /// Nobody.
    None,
    /// Where the runtime can do that, all others like it. Threads that wait with smol share one reactor, so that each is woken for the others.
    Others,
}

/// Hands on what it has as fast as it can.
pub(super) fn giving() -> Config {
    let mut config = keeping();
    config.send_rate = SendRate::Unlimited;
    config
}

/// Takes messages and keeps them.
pub(super) fn keeping() -> Config {
    let mut config = Config::default();
    config.send_rate = SendRate::Every(Duration::from_secs(365 * 24 * 60 * 60));
    config.heartbeat = None;
    config
}

/// A tower behind TLS, with a free port and its address there.
fn secure(config: Config) -> Result<(SecureTower, TcpListener, Address), Trouble> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = Address::try_from(listener.local_addr()?)?;
    let seed = Seed::from_u64(address.port().get().into());
    let tower = Tower::new(config, address.clone(), &seed)?;
    Ok((SecureTower::new(tower, &Identity::generate()?, Trust::Open)?, listener, address))
}

impl Host {
    /// Starts one on a free port.
    pub(super) fn start(
        runtime: Runtime,
        company: Company,
        config: Config,
    ) -> Result<Self, Trouble> {
        let (machine, listener, address) = secure(config)?;
        let named = thread::Builder::new().name("tower".into());
        let (handle, life) = match runtime {
            Runtime::Smol => {
                let (handle, driver) = Driver::new(machine, listener)?;
                let life = match company {
                    Company::Others => Life::Task { _task: smol::spawn(driver.run()) },
                    Company::None => {
                        let (stop, stopped) = channel::bounded(1);
                        let until_stopped = async move {
                            let _ = stopped.recv().await;
                            Ok(())
                        };
                        let life = future::or(driver.run(), until_stopped);
                        let thread = named.spawn(move || drop(smol::block_on(life)))?;
                        Life::OwnThread { stop: Stop::Smol(stop), thread: Some(thread) }
                    }
                };
                (Handle::Smol(handle), life)
            }
            Runtime::Mio => {
                let (handle, mut reactor) = Reactor::new(machine, listener)?;
                let must_stop = Arc::new(AtomicBool::new(false));
                let stop = Stop::Mio(must_stop.clone(), handle.clone());
                let thread = named.spawn(move || {
                    while let Ok(ShutdownProgress::Running | ShutdownProgress::Draining) =
                        reactor.turn(None)
                    {
                        if must_stop.load(Ordering::Relaxed) {
                            return;
                        }
                    }
                })?;
                (Handle::Mio(handle), Life::OwnThread { stop, thread: Some(thread) })
            }
        };
        Ok(Self { address, handle, _life: life })
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    pub(super) fn stats(&self) -> Stats {
        wait(self.handle.stats())
    }

    pub(super) fn expand(&self, other: &Self) -> Result<(), Trouble> {
        Ok(wait(self.handle.expand(&other.address))?)
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        let Self::OwnThread { stop, thread } = self else { return };
        match stop {
            Stop::Mio(must_stop, handle) => {
                must_stop.store(true, Ordering::Relaxed);
                handle.wake();
            }
            Stop::Smol(stop) => drop(stop.try_send(())),
        }
        if let Some(thread) = thread.take() {
            let _ = thread.join();
        }
    }
}

/// A tower behind TLS that shares a thread with the program that uses it: with smol two futures of one task, with mio a program that turns the
/// reactor while it waits.
pub(super) enum Guest {
    Smol(clacks_smol::Handle, Driver<SecureTower>),
    Mio(clacks_mio::Handle, Box<Reactor<SecureTower>>),
}

impl Guest {
    /// One on a free port, which lives while a program [runs](Self::run).
    pub(super) fn new(runtime: Runtime, config: Config) -> Result<Self, Trouble> {
        let (machine, listener, _) = secure(config)?;
        Ok(match runtime {
            Runtime::Smol => {
                let (handle, driver) = Driver::new(machine, listener)?;
                Self::Smol(handle, driver)
            }
            Runtime::Mio => {
                let (handle, reactor) = Reactor::new(machine, listener)?;
                Self::Mio(handle, Box::new(reactor))
            }
        })
    }

    /// Runs the tower, and a program with it, to the end of the program.
    pub(super) fn run<T>(
        self,
        program: impl AsyncFnOnce(Handle, Ears) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        match self {
            Self::Smol(handle, driver) => {
                let ears = Ears::Smol(handle.notices(), Timer::after(DEADLINE));
                let tower = async {
                    driver.run().await?;
                    Err("a tower has ended".into())
                };
                smol::block_on(future::or(program(Handle::Smol(handle), ears), tower))
            }
            Self::Mio(handle, reactor) => {
                let ears = Ears::Mio(handle.notices(), reactor);
                wait(program(Handle::Mio(handle), ears))
            }
        }
    }
}

/// Hears what a tower on the same thread reports. With smol for as long as [`DEADLINE`] altogether: one timer for all, which costs nothing while
/// the towers run.
pub(super) enum Ears {
    Smol(clacks_smol::Notices, Timer),
    Mio(clacks_mio::Notices, Box<Reactor<SecureTower>>),
}

impl Ears {
    /// Waits for a report. Those before it are passed over.
    pub(super) async fn wait_for(
        &mut self,
        is_it: impl Fn(&Report) -> bool,
    ) -> Result<(), Trouble> {
        let late = || Trouble::from("a tower does not answer");
        match self {
            Self::Smol(notices, timer) => loop {
                let next = future::or(notices.next(), async {
                    (&mut *timer).await;
                    None
                });
                if is_it(&next.await.ok_or_else(late)?) {
                    return Ok(());
                }
            },
            Self::Mio(notices, reactor) => {
                let began = Instant::now();
                while began.elapsed() < DEADLINE {
                    while let Ok(report) = notices.try_recv() {
                        if is_it(&report) {
                            return Ok(());
                        }
                    }
                    reactor.turn(Some(DEADLINE))?;
                }
                Err(late())
            }
        }
    }
}

/// Waits as a thread does that has nothing to do with smol's reactor, and takes nothing from the towers' threads.
pub(super) fn wait<T>(future: impl Future<Output = T>) -> T {
    future::block_on(future)
}
