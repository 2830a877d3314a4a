//! Towers that run, and waiting with a time limit.

use clacks_proto::{Address, Config, Notice, StateMachine, Status, Tower};
use clacks_smol::{Driver, Handle, Notices};
use smol::{Task, Timer, future};
use std::io;
use std::net::TcpListener;
use std::sync::PoisonError;

pub(crate) use crate::towers::{
    ClosedPort, FOREVER, address, nobody_listens, port, port_again, quick, quiet, tower,
    without_timeouts,
};
use crate::towers::{DESCRIPTORS, TEST_TIMEOUT};

/// Runs a test. Fails if it takes too long.
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
        Timer::after(TEST_TIMEOUT).await;
        panic!("the test takes too long");
    })
    .await
}

/// A tower that runs on smol's own threads until this is dropped.
pub(crate) struct Running<M = Tower> {
    pub(crate) handle: Handle<M>,
    task: Task<io::Result<()>>,
}

impl<M: StateMachine + Send + 'static> Running<M> {
    pub(crate) fn new((handle, driver): (Handle<M>, Driver<M>)) -> Self {
        Self { handle, task: smol::spawn(driver.run()) }
    }

    pub(crate) fn address(&self) -> Address {
        self.handle.address().clone()
    }

    /// Drops the driver, and waits until its sockets are closed.
    pub(crate) async fn kill(self) {
        self.task.cancel().await;
    }

    /// Waits for the end of a tower that was shut down.
    pub(crate) async fn join(self) -> io::Result<()> {
        self.task.await
    }
}

pub(crate) fn driver(config: Config) -> (Handle<Tower>, Driver<Tower>) {
    let listener = port();
    Driver::new(tower(config, &listener), listener).unwrap()
}

pub(crate) fn start(config: Config) -> Running {
    Running::new(driver(config))
}

pub(crate) fn start_at(config: Config, listener: TcpListener) -> Running {
    start_machine(tower(config, &listener), listener)
}

pub(crate) fn start_machine<M>(machine: M, listener: TcpListener) -> Running<M>
where
    M: StateMachine + Send + 'static,
{
    Running::new(Driver::new(machine, listener).unwrap())
}

/// Reads notices until one is what is looked for.
pub(crate) async fn find<T>(
    notices: &mut Notices,
    mut wanted: impl FnMut(Notice) -> Option<T>,
) -> T {
    loop {
        let notice = notices.recv().await.expect("the driver has ended");
        if let Some(found) = wanted(notice) {
            return found;
        }
    }
}

/// Waits until a peer gets a status.
pub(crate) async fn becomes(notices: &mut Notices, wanted: &Address, status: Status) {
    find(notices, |notice| match notice {
        Notice::StatusChanged { peer, to, .. } => (peer == *wanted && to == status).then_some(()),
        _ => None,
    })
    .await;
}

/// Waits until a text comes in.
pub(crate) async fn receives(notices: &mut Notices, wanted: &str) {
    find(notices, |notice| match notice {
        Notice::MessageReceived { message, .. } => (message.as_text()? == wanted).then_some(()),
        _ => None,
    })
    .await;
}

/// Waits until peers have confirmed a number of messages.
pub(crate) async fn delivers(notices: &mut Notices, count: usize) {
    let mut left = count;
    find(notices, |notice| {
        left -= usize::from(matches!(notice, Notice::MessageDelivered { .. }));
        (left == 0).then_some(())
    })
    .await;
}
