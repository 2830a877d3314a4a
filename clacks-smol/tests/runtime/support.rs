//! Towers in a hurry, and waiting with a limit.

use clacks_proto::{Address, Config, Report, StateMachine, Status, Tower};
use clacks_smol::{Driver, Handle, Notices};
use smol::{Task, Timer, future};
use std::io;
use std::net::TcpListener;
use std::sync::PoisonError;

pub(crate) use crate::towers::{
    ClosedPort, FOR_EVER, nobody_listens, port, port_again, quick, quiet, tower,
};
use crate::towers::{DESCRIPTORS, LIMIT};

/// Runs a test, and fails it when it hangs.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    let _few = DESCRIPTORS.read().unwrap_or_else(PoisonError::into_inner);
    smol::block_on(within(test))
}

/// Runs a test that opens many descriptors while no other one runs.
pub(crate) fn run_alone<T>(test: impl Future<Output = T>) -> T {
    let _many = DESCRIPTORS.write().unwrap_or_else(PoisonError::into_inner);
    smol::block_on(within(test))
}

pub(crate) async fn within<T>(test: impl Future<Output = T>) -> T {
    future::or(test, async {
        Timer::after(LIMIT).await;
        panic!("waited too long");
    })
    .await
}

/// A tower that runs on smol's own threads until this is dropped.
pub(crate) struct Running {
    pub(crate) handle: Handle,
    task: Task<io::Result<()>>,
}

impl Running {
    pub(crate) fn address(&self) -> Address {
        Address::try_from(self.handle.local_addr()).unwrap()
    }

    /// Sudden death: resolves when the sockets are closed.
    pub(crate) async fn kill(self) {
        self.task.cancel().await;
    }

    /// The end of a tower that was shut down.
    pub(crate) async fn end(self) -> io::Result<()> {
        self.task.await
    }
}

pub(crate) fn driver(config: Config) -> (Handle, Driver<Tower>) {
    let listener = port();
    Driver::new(tower(config, &listener), listener).unwrap()
}

pub(crate) fn start(config: Config) -> Running {
    start_at(config, port())
}

pub(crate) fn start_at(config: Config, listener: TcpListener) -> Running {
    start_machine(tower(config, &listener), listener)
}

pub(crate) fn start_machine<M>(machine: M, listener: TcpListener) -> Running
where
    M: StateMachine + Send + 'static,
{
    let (handle, driver) = Driver::new(machine, listener).unwrap();
    Running { handle, task: smol::spawn(driver.run()) }
}

/// Reads reports until one is what is looked for.
pub(crate) async fn find<T>(
    notices: &mut Notices,
    mut wanted: impl FnMut(Report) -> Option<T>,
) -> T {
    loop {
        let report = notices.next().await.expect("the tower is gone");
        if let Some(found) = wanted(report) {
            return found;
        }
    }
}

pub(crate) async fn turns(notices: &mut Notices, peer: &Address, status: Status) {
    find(notices, |report| match report {
        Report::StatusChanged { tower, to, .. } if tower == *peer && to == status => Some(()),
        _ => None,
    })
    .await;
}

/// Texts of messages as they come in.
pub(crate) async fn receives(notices: &mut Notices, wanted: &str) {
    find(notices, |report| match report {
        Report::MessageReceived { message, .. } => (message.as_text()? == wanted).then_some(()),
        _ => None,
    })
    .await;
}

pub(crate) async fn delivers(notices: &mut Notices, count: usize) {
    let mut left = count;
    find(notices, |report| {
        left -= usize::from(matches!(report, Report::MessageDelivered { .. }));
        (left == 0).then_some(())
    })
    .await;
}
