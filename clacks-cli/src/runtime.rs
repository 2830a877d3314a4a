//! Starts and kills towers on either runtime.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clacks_mio::Reactor;
use clacks_proto::driver::{Handle, Notices};
use clacks_proto::{ShutdownProgress, StateMachine};
use clacks_smol::Driver;
use smol::Task;

use crate::args::Runtime;

/// A tower that runs on smol's executor or, with mio, on a thread of its own. Dropping this closes all
/// sockets without a goodbye to peers, as if the process was killed.
pub(crate) struct RunningTower<M: StateMachine + Send + 'static> {
    pub(crate) handle: Handle<M>,
    /// Dropping the task drops a driver on smol.
    task: Task<io::Result<()>>,
    stop: StopReactor<M>,
}

impl<M: StateMachine + Send + 'static> RunningTower<M> {
    /// Starts a tower. The reader gets all notices from the start.
    pub(crate) fn start(
        runtime: Runtime,
        machine: M,
        listener: TcpListener,
    ) -> io::Result<(Self, Notices)> {
        let must_stop = Arc::new(AtomicBool::new(false));
        let (handle, notices, task) = match runtime {
            Runtime::Smol => {
                let (handle, driver) = Driver::new(machine, listener)?;
                let notices = handle.notices();
                (handle, notices, smol::spawn(driver.run()))
            }
            Runtime::Mio => {
                let (handle, reactor) = Reactor::new(machine, listener)?;
                let (notices, must_stop) = (handle.notices(), must_stop.clone());
                (handle, notices, smol::unblock(move || run(reactor, &must_stop)))
            }
        };
        let stop = StopReactor { must_stop, handle: handle.clone() };
        Ok((Self { handle, task, stop }, notices))
    }

    /// Waits until the driver has ended.
    pub(crate) async fn ended(&mut self) -> io::Result<()> {
        (&mut self.task).await
    }

    /// Kills the tower. All its sockets are closed when this returns.
    pub(crate) async fn kill(self) {
        drop(self.stop);
        let _ = self.task.cancel().await;
    }
}

fn run<M: StateMachine + Send + 'static>(
    mut reactor: Reactor<M>,
    must_stop: &AtomicBool,
) -> io::Result<()> {
    while !must_stop.load(Ordering::SeqCst) && reactor.turn(None)? != ShutdownProgress::Done {}
    Ok(())
}

/// Stops the thread of a reactor when it is dropped.
struct StopReactor<M: StateMachine + Send + 'static> {
    must_stop: Arc<AtomicBool>,
    handle: Handle<M>,
}

impl<M: StateMachine + Send + 'static> Drop for StopReactor<M> {
    fn drop(&mut self) {
        self.must_stop.store(true, Ordering::SeqCst);
        self.handle.wake();
    }
}
