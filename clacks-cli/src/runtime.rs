//! The one place that knows which runtimes there are.

use std::io;
use std::net::TcpListener;

use clacks_proto::Tower;
use clacks_proto::tls::SecureTower;
use clacks_smol::{Driver, Notices};

use crate::args::Runtime;

/// What an application says to a tower that runs.
pub(crate) type Handle = clacks_smol::Handle;

/// What there is to drive.
pub(crate) enum Machine {
    /// A tower in clear text.
    Clear(Box<Tower>),
    /// A tower behind TLS.
    Secure(Box<SecureTower>),
}

/// A tower that runs, until it is done or this is dropped: then it dies abruptly, like a process that is killed.
pub(crate) struct Running {
    pub(crate) handle: Handle,
    task: smol::Task<io::Result<()>>,
}

impl Running {
    /// Starts a tower. The notices begin before it does, so that nothing goes by unheard.
    pub(crate) fn start(
        runtime: Runtime,
        machine: Machine,
        listener: TcpListener,
    ) -> io::Result<(Self, Notices)> {
        let Runtime::Smol = runtime;
        let (notices, handle, task) = match machine {
            Machine::Clear(tower) => {
                let (handle, driver) = Driver::new(*tower, listener)?;
                (handle.notices(), handle, smol::spawn(driver.run()))
            }
            Machine::Secure(tower) => {
                let (handle, driver) = Driver::new(*tower, listener)?;
                (handle.notices(), handle, smol::spawn(driver.run()))
            }
        };
        Ok((Self { handle, task }, notices))
    }

    /// Resolves when the tower has ended of itself.
    pub(crate) async fn ended(&mut self) -> io::Result<()> {
        (&mut self.task).await
    }

    /// Kills the tower. When this resolves, its sockets are closed.
    pub(crate) async fn kill(self) {
        self.task.cancel().await;
    }
}
