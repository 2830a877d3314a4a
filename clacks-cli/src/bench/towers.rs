//! Towers that are measured: each on a thread of its own, whatever drives it.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use clacks_mio::Reactor;
use clacks_proto::tls::{Identity, SecureTower, Trust};
use clacks_proto::{Address, Config, Report, Seed, SendRate, ShutdownProgress, Stats, Tower};
use clacks_smol::Driver;
use smol::channel::{self, Sender};
use smol::future;

use super::Trouble;
use crate::args::Runtime;
use crate::runtime::Handle;

/// How long a tower may take for anything.
const DEADLINE: Duration = Duration::from_secs(20);

/// A tower behind TLS that runs until it is dropped.
pub(super) struct Host {
    pub(super) address: Address,
    handle: Handle,
    stop: Stop,
    thread: Option<JoinHandle<()>>,
}

/// How its thread is told to end.
enum Stop {
    Smol(Sender<()>),
    Mio(Arc<AtomicBool>),
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

impl Host {
    /// Starts one on a free port.
    pub(super) fn start(runtime: Runtime, config: Config) -> Result<Self, Trouble> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = Address::try_from(listener.local_addr()?)?;
        let seed = Seed::from_u64(address.port().get().into());
        let tower = Tower::new(config, address.clone(), &seed)?;
        let machine = SecureTower::new(tower, &Identity::generate()?, Trust::Open)?;
        let named = thread::Builder::new().name("tower".into());
        let (handle, stop, thread) = match runtime {
            Runtime::Smol => {
                let (handle, driver) = Driver::new(machine, listener)?;
                let (stop, stopped) = channel::bounded(1);
                let until_stopped = async move {
                    let _ = stopped.recv().await;
                    Ok(())
                };
                let life = move || drop(smol::block_on(future::or(driver.run(), until_stopped)));
                (Handle::Smol(handle), Stop::Smol(stop), named.spawn(life)?)
            }
            Runtime::Mio => {
                let (handle, mut reactor) = Reactor::new(machine, listener)?;
                let stop = Arc::new(AtomicBool::new(false));
                let must_stop = stop.clone();
                let life = move || {
                    while let Ok(ShutdownProgress::Running | ShutdownProgress::Draining) =
                        reactor.turn(None)
                    {
                        if must_stop.load(Ordering::Relaxed) {
                            return;
                        }
                    }
                };
                (Handle::Mio(handle), Stop::Mio(stop), named.spawn(life)?)
            }
        };
        Ok(Self { address, handle, stop, thread: Some(thread) })
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    pub(super) fn stats(&self) -> Stats {
        smol::block_on(self.handle.stats())
    }

    pub(super) fn expand(&self, other: &Self) -> Result<(), Trouble> {
        Ok(smol::block_on(self.handle.expand(&other.address))?)
    }

    pub(super) fn ears(&self) -> Ears {
        match &self.handle {
            Handle::Smol(handle) => Ears::Smol(handle.notices()),
            Handle::Mio(handle) => Ears::Mio(handle.notices()),
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        match (&self.stop, &self.handle) {
            (Stop::Mio(stop), Handle::Mio(handle)) => {
                stop.store(true, Ordering::Relaxed);
                handle.wake();
            }
            (Stop::Smol(stop), _) => drop(stop.try_send(())),
            _ => {}
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Hears what a tower reports.
pub(super) enum Ears {
    Smol(clacks_smol::Notices),
    Mio(clacks_mio::Notices),
}

impl Ears {
    /// Waits for a report. Those before it are passed over.
    pub(super) fn wait_for(&mut self, is_it: impl Fn(&Report) -> bool) -> Result<(), Trouble> {
        let late = || Trouble::from("a tower does not answer");
        loop {
            let report = match self {
                Self::Mio(notices) => notices.recv_timeout(DEADLINE).map_err(|_| late())?,
                Self::Smol(notices) => smol::block_on(future::or(notices.next(), async {
                    smol::Timer::after(DEADLINE).await;
                    None
                }))
                .ok_or_else(late)?,
            };
            if is_it(&report) {
                return Ok(());
            }
        }
    }
}
