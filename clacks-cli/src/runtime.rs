//! The one place that knows which runtimes there are.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use clacks_mio::Reactor;
use clacks_proto::tls::SecureTower;
use clacks_proto::{
    Address, ExpandError, Held, Message, Nonce, Peer, RefusedMessage, Report, ShutdownProgress,
    StateMachine, Stats, Tower,
};
use clacks_smol::Driver;
use smol::channel::{self, Receiver};

use crate::args::Runtime;

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
    life: Life,
}

enum Life {
    Task(smol::Task<io::Result<()>>),
    Thread(Thread),
}

impl Running {
    /// Starts a tower. The notices begin before it does, so that nothing goes by unheard.
    pub(crate) fn start(
        runtime: Runtime,
        machine: Machine,
        listener: TcpListener,
    ) -> io::Result<(Self, Notices)> {
        match machine {
            Machine::Clear(tower) => Self::start_machine(runtime, *tower, listener),
            Machine::Secure(tower) => Self::start_machine(runtime, *tower, listener),
        }
    }

    fn start_machine<M: StateMachine + Send + 'static>(
        runtime: Runtime,
        machine: M,
        listener: TcpListener,
    ) -> io::Result<(Self, Notices)> {
        Ok(match runtime {
            Runtime::Smol => {
                let (handle, driver) = Driver::new(machine, listener)?;
                let notices = Notices::Stream(handle.notices());
                let life = Life::Task(smol::spawn(driver.run()));
                (Self { handle: Handle::Smol(handle), life }, notices)
            }
            Runtime::Mio => {
                let (handle, reactor) = Reactor::new(machine, listener)?;
                let notices = forward(handle.notices())?;
                let life = Life::Thread(Thread::start(handle.clone(), reactor)?);
                (Self { handle: Handle::Mio(handle), life }, notices)
            }
        })
    }

    /// Resolves when the tower has ended of itself.
    pub(crate) async fn ended(&mut self) -> io::Result<()> {
        match &mut self.life {
            Life::Task(task) => task.await,
            Life::Thread(thread) => thread.ended().await,
        }
    }

    /// Kills the tower. When this resolves, its sockets are closed.
    pub(crate) async fn kill(self) {
        match self.life {
            Life::Task(task) => drop(task.cancel().await),
            Life::Thread(thread) => {
                thread.stop();
                // However it ended: it is over.
                let _ = thread.ended().await;
            }
        }
    }
}

/// A reactor on a thread of its own.
struct Thread {
    handle: clacks_mio::Handle,
    killed: Arc<AtomicBool>,
    over: Receiver<io::Result<()>>,
}

impl Thread {
    fn start<M: StateMachine + Send + 'static>(
        handle: clacks_mio::Handle,
        mut reactor: Reactor<M>,
    ) -> io::Result<Self> {
        let killed = Arc::new(AtomicBool::new(false));
        let (ending, over) = channel::bounded(1);
        let must_die = killed.clone();
        thread::Builder::new().name("tower".into()).spawn(move || {
            let ended = loop {
                match reactor.turn(None) {
                    Ok(ShutdownProgress::Done) => break Ok(()),
                    Ok(_) if must_die.load(Ordering::SeqCst) => break Ok(()),
                    Ok(_) => {}
                    Err(error) => break Err(error),
                }
            };
            drop(reactor);
            // Fails when nobody wants to know.
            let _ = ending.try_send(ended);
        })?;
        Ok(Self { handle, killed, over })
    }

    async fn ended(&self) -> io::Result<()> {
        self.over.recv().await.unwrap_or_else(|_| Err(io::Error::other("its thread is gone")))
    }

    fn stop(&self) {
        self.killed.store(true, Ordering::SeqCst);
        self.handle.wake();
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What an application says to a tower that runs.
#[derive(Clone)]
pub(crate) enum Handle {
    Smol(clacks_smol::Handle),
    Mio(clacks_mio::Handle),
}

/// Says the same to a tower on whatever runtime. On mio the verbs do not wait, and so need no future.
macro_rules! on_either {
    ($self:ident, $handle:ident => $said:expr) => {
        match $self {
            Self::Smol($handle) => $said.await,
            Self::Mio($handle) => $said,
        }
    };
}

impl Handle {
    pub(crate) async fn enqueue(&self, message: Message) -> Result<Nonce, RefusedMessage> {
        on_either!(self, handle => handle.enqueue(message))
    }

    pub(crate) async fn peek(&self) -> Vec<Held> {
        on_either!(self, handle => handle.peek())
    }

    pub(crate) async fn survey(&self) -> Vec<Peer> {
        on_either!(self, handle => handle.survey())
    }

    pub(crate) async fn expand(&self, address: &Address) -> Result<(), ExpandError> {
        on_either!(self, handle => handle.expand(address))
    }

    pub(crate) async fn announce(&self, address: &Address) -> Result<(), ExpandError> {
        on_either!(self, handle => handle.announce(address))
    }

    pub(crate) async fn ignore(&self, address: &Address) -> Result<(), ExpandError> {
        on_either!(self, handle => handle.ignore(address))
    }

    pub(crate) async fn heed(&self, address: &Address) -> bool {
        on_either!(self, handle => handle.heed(address))
    }

    pub(crate) async fn stats(&self) -> Stats {
        on_either!(self, handle => handle.stats())
    }

    pub(crate) async fn held(&self) -> (usize, usize) {
        on_either!(self, handle => handle.held())
    }

    /// Hands the queue to peers and stops the tower; resolves with the number of messages that no peer took.
    pub(crate) async fn shutdown(&self) -> usize {
        match self {
            Self::Smol(handle) => handle.shutdown().await,
            Self::Mio(handle) => {
                let handle = handle.clone();
                smol::unblock(move || handle.shutdown()).await
            }
        }
    }
}

/// What a tower tells.
pub(crate) enum Notices {
    Stream(clacks_smol::Notices),
    Channel(Receiver<Report>),
}

impl Notices {
    /// The next report; `None` when the tower is gone. Safe to cancel: a report is taken only when it is returned.
    pub(crate) async fn next(&mut self) -> Option<Report> {
        match self {
            Self::Stream(notices) => notices.next().await,
            Self::Channel(reports) => reports.recv().await.ok(),
        }
    }
}

/// Waits for reports on a thread, for those who can't. One waits at the counter, the others where they are bounded and counted.
fn forward(notices: clacks_mio::Notices) -> io::Result<Notices> {
    let (counter, reports) = channel::bounded(1);
    thread::Builder::new().name("notices".into()).spawn(move || {
        for report in notices {
            if counter.send_blocking(report).is_err() {
                return;
            }
        }
    })?;
    Ok(Notices::Channel(reports))
}
