//! Towers in a hurry, and waiting with a limit.

use clacks_proto::{Address, Config, Report, Seed, SendRate, StateMachine, Status, Tower};
use clacks_smol::{Driver, Handle, Notices};
use smol::{Task, Timer, future};
use std::io;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long a whole test may take. Far more than any needs: reaching it is a failure.
const LIMIT: Duration = Duration::from_secs(90);

/// Longer than any test.
pub(crate) const FOR_EVER: Duration = Duration::from_secs(3_600);

/// Runs a test, and fails it when it hangs.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
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

/// A configuration for impatient tests.
pub(crate) fn quick() -> Config {
    let mut config = Config::default();
    config.send_rate = SendRate::Every(Duration::from_millis(2));
    config.probe_backoff = Duration::from_millis(10);
    config.heartbeat = Some(Duration::from_millis(20));
    config
}

/// Like [`quick`], but it sends nothing unless it is told to.
pub(crate) fn quiet() -> Config {
    let mut config = quick();
    config.send_rate = SendRate::Every(FOR_EVER);
    config.heartbeat = None;
    config
}

pub(crate) fn port() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// A tower that is not yet driven.
pub(crate) fn tower(config: Config, listener: &TcpListener) -> Tower {
    static SEEDS: AtomicU64 = AtomicU64::new(1);
    let seed = Seed::from_u64(SEEDS.fetch_add(1, Ordering::Relaxed));
    let address = Address::try_from(listener.local_addr().unwrap()).unwrap();
    Tower::new(config, address, &seed).unwrap()
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
