//! Towers that are measured.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use clacks_mio::Reactor;
use clacks_proto::driver::{Handle, Notices};
use clacks_proto::tls::{Identity, SecureTower, Trust};
use clacks_proto::{Address, Config, Notice, Seed, SendRate, Tower};
use clacks_smol::Driver;
use smol::channel::{self, Sender};
use smol::{Timer, future};

use super::BenchError;
use crate::args::Runtime;
use crate::runtime::RunningTower;

/// How long a tower may take for anything.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Returns the configuration of a tower that sends what it holds as fast as it can.
pub(super) fn sending() -> Config {
    let mut config = keeping();
    config.send_rate = SendRate::Unlimited;
    config
}

/// Returns the configuration of a tower that takes messages and keeps them.
pub(super) fn keeping() -> Config {
    let mut config = Config::default();
    config.send_rate = SendRate::Every(Duration::from_secs(365 * 24 * 60 * 60));
    config.heartbeat = None;
    config
}

/// Returns a tower behind TLS, with a free port.
fn secure(config: Config) -> Result<(SecureTower, TcpListener), BenchError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = Address::try_from(listener.local_addr()?)?;
    let seed = Seed::from_u64(address.port().get().into());
    let tower = Tower::new(config, address, &seed)?;
    Ok((SecureTower::new(tower, &Identity::generate()?, Trust::Open)?, listener))
}

/// Which thread runs a tower on smol. A reactor of mio always has a thread of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placement {
    /// A thread of its own.
    OwnThread,
    /// The thread of smol's executor, with all others like it. Threads that wait with smol share
    /// one reactor, so that each is woken for the others.
    Executor,
}

/// A tower that runs in the background until this is dropped.
pub(super) struct BackgroundTower {
    pub(super) handle: Handle<SecureTower>,
    running: Option<Running>,
}

enum Running {
    Tower(RunningTower<SecureTower>),
    OwnThread { stop: Sender<()>, thread: JoinHandle<io::Result<()>> },
}

impl BackgroundTower {
    /// Starts a tower on a free port.
    pub(super) fn start(
        runtime: Runtime,
        placement: Placement,
        config: Config,
    ) -> Result<Self, BenchError> {
        let (machine, listener) = secure(config)?;
        let (handle, running) = if (runtime, placement) == (Runtime::Smol, Placement::OwnThread) {
            let (handle, driver) = Driver::new(machine, listener)?;
            let (stop, stopped) = channel::bounded(1);
            let until_stopped = async move {
                let _ = stopped.recv().await;
                Ok(())
            };
            let run = future::or(driver.run(), until_stopped);
            let thread = thread::Builder::new().name("tower".into());
            let thread = thread.spawn(move || smol::block_on(run))?;
            (handle, Running::OwnThread { stop, thread })
        } else {
            let (tower, _) = RunningTower::start(runtime, machine, listener)?;
            (tower.handle.clone(), Running::Tower(tower))
        };
        Ok(Self { handle, running: Some(running) })
    }
}

impl Drop for BackgroundTower {
    /// Waits for the end, so that the next turn has the processor for itself.
    fn drop(&mut self) {
        match self.running.take() {
            Some(Running::Tower(tower)) => future::block_on(tower.kill()),
            Some(Running::OwnThread { stop, thread }) => {
                let _ = stop.try_send(());
                let _ = thread.join();
            }
            None => {}
        }
    }
}

/// A tower on the thread of the program that uses it. With smol the two are futures of one task.
/// With mio the program turns the reactor while it waits.
pub(super) struct ForegroundTower {
    handle: Handle<SecureTower>,
    driver: ForegroundDriver,
}

enum ForegroundDriver {
    Smol(Driver<SecureTower>),
    Mio(Box<Reactor<SecureTower>>),
}

impl ForegroundTower {
    /// Returns a tower on a free port.
    pub(super) fn new(runtime: Runtime, config: Config) -> Result<Self, BenchError> {
        let (machine, listener) = secure(config)?;
        Ok(match runtime {
            Runtime::Smol => {
                let (handle, driver) = Driver::new(machine, listener)?;
                Self { handle, driver: ForegroundDriver::Smol(driver) }
            }
            Runtime::Mio => {
                let (handle, reactor) = Reactor::new(machine, listener)?;
                Self { handle, driver: ForegroundDriver::Mio(Box::new(reactor)) }
            }
        })
    }

    /// Runs the tower until the program has ended.
    pub(super) fn run<T>(
        self,
        program: impl AsyncFnOnce(Handle<SecureTower>, NoticeReader) -> Result<T, BenchError>,
    ) -> Result<T, BenchError> {
        let Self { handle, driver } = self;
        let notices = handle.notices();
        match driver {
            ForegroundDriver::Smol(driver) => {
                let reader = NoticeReader::Smol(notices, Timer::after(TIMEOUT));
                let tower = async {
                    driver.run().await?;
                    Err("a tower has ended".into())
                };
                smol::block_on(future::or(program(handle, reader), tower))
            }
            ForegroundDriver::Mio(reactor) => {
                // Does not wait with smol's reactor, which would take time from other towers.
                future::block_on(program(handle, NoticeReader::Mio(notices, reactor)))
            }
        }
    }
}

/// Reads the notices of a tower on the same thread. With smol there is one timer for all of them,
/// which costs nothing while the towers run.
pub(super) enum NoticeReader {
    Smol(Notices, Timer),
    Mio(Notices, Box<Reactor<SecureTower>>),
}

impl NoticeReader {
    /// Waits for a notice. Other notices are dropped.
    pub(super) async fn wait_for(
        &mut self,
        is_it: impl Fn(&Notice) -> bool,
    ) -> Result<(), BenchError> {
        let late = || BenchError::from("a tower does not answer");
        match self {
            Self::Smol(notices, timer) => loop {
                let next = future::or(notices.recv(), async {
                    (&mut *timer).await;
                    None
                });
                if is_it(&next.await.ok_or_else(late)?) {
                    return Ok(());
                }
            },
            Self::Mio(notices, reactor) => {
                let began = Instant::now();
                while began.elapsed() < TIMEOUT {
                    while let Ok(notice) = notices.try_recv() {
                        if is_it(&notice) {
                            return Ok(());
                        }
                    }
                    reactor.turn(Some(TIMEOUT))?;
                }
                Err(late())
            }
        }
    }
}
