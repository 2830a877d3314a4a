//! The answer to `/healthz`.

use std::sync::Arc;
use std::time::Duration;

use smol::Timer;
use smol::future::FutureExt;
use smol::lock::Mutex;

use crate::control::ControlledTower;

/// How long the driver of the tower may take for a turn. The value is a guess: a turn takes some
/// milliseconds.
pub(super) const LIMIT: Duration = Duration::from_secs(5);

/// Checks whether the driver of the tower makes progress, like the watchdog of systemd.
pub(super) struct Health {
    control: Arc<ControlledTower>,
    /// Held during a check. A driver that hangs blocks one thread, whatever the number of requests.
    checking: Arc<Mutex<()>>,
}

impl Health {
    pub(super) fn new(control: Arc<ControlledTower>) -> Self {
        Self { control, checking: Arc::default() }
    }

    /// Returns whether the driver has a turn within a limit.
    pub(super) async fn is_good(&self, limit: Duration) -> bool {
        let turned = async {
            let guard = self.checking.lock_arc().await;
            let control = self.control.clone();
            // A driver that hangs may hold the lock of the tower.
            smol::unblock(move || {
                let _guard = guard;
                control.next_turn().wait()
            })
            .await
        };
        let late = async {
            Timer::after(limit).await;
            false
        };
        turned.or(late).await
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::mpsc;
    use std::thread;

    use clacks_proto::driver::{Handle, Shared};
    use clacks_proto::{Config, Seed, Tower};
    use smol::channel;

    use super::*;
    use crate::args::Runtime;
    use crate::runtime::RunningTower;

    /// For checks that must not succeed.
    const SHORT: Duration = Duration::from_millis(50);
    /// For checks that must succeed.
    const LONG: Duration = Duration::from_secs(120);

    fn machine() -> Tower {
        let address = "127.0.0.1:1".parse().unwrap();
        Tower::new(Config::default(), address, &Seed::from_u64(1)).unwrap()
    }

    fn health(handle: Handle<Tower>) -> Health {
        let notices = handle.notices();
        let (stop, _) = channel::bounded(1);
        Health::new(Arc::new(ControlledTower::new(handle, notices, stop, None)))
    }

    #[test]
    fn a_tower_whose_driver_runs_is_healthy() {
        for runtime in [Runtime::Smol, Runtime::Mio] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let (tower, _notices) = RunningTower::start(runtime, machine(), listener).unwrap();
            let health = health(tower.handle.clone());
            for _ in 0..3 {
                assert!(smol::block_on(health.is_good(LONG)));
            }
        }
    }

    #[test]
    fn a_tower_whose_driver_hangs_is_not_healthy() {
        let address = "127.0.0.1:1".parse().unwrap();
        let handle = Handle::new(Shared::new(machine(), address, || ()));
        let health = health(handle.clone());
        for _ in 0..3 {
            assert!(!smol::block_on(health.is_good(SHORT)));
        }
    }

    #[test]
    fn a_tower_whose_lock_is_held_is_not_healthy() {
        let address = "127.0.0.1:1".parse().unwrap();
        let handle = Handle::new(Shared::new(machine(), address, || ()));
        let health = health(handle.clone());
        let (locked, is_locked) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let holder = thread::spawn(move || {
            handle.with(|_, _| {
                locked.send(()).unwrap();
                let _ = released.recv();
            });
        });
        is_locked.recv().unwrap();
        for _ in 0..3 {
            assert!(!smol::block_on(health.is_good(SHORT)));
        }
        drop(release);
        holder.join().unwrap();
    }
}
