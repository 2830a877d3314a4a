//! Messages to the service manager that has started the tower (systemd, by `$NOTIFY_SOCKET`).
//! Without a service manager the functions do nothing.

use std::time::Duration;

use clacks_proto::StateMachine;
use clacks_proto::driver::Handle;
use sd_notify::NotifyState;
use smol::{Task, Timer, future};

/// Watchdog messages per time limit of the watchdog. systemd recommends two.
const PER_LIMIT: u32 = 3;

/// The shortest time between two watchdog messages, for time limits near zero (guess).
const SHORTEST: Duration = Duration::from_millis(10);

/// Reports that the tower listens, or that it has finished reloading.
pub(crate) fn ready(status: &str) {
    notify(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Reports that the tower reads its configuration again. [`ready`] must follow.
pub(crate) fn reloading() {
    let mut states = vec![NotifyState::Reloading];
    // systemd requires the time for units of the type `notify-reload`.
    states.extend(NotifyState::monotonic_usec_now().ok());
    notify(&states);
}

/// Reports that the tower hands its queue over.
pub(crate) fn stopping(status: &str) {
    notify(&[NotifyState::Stopping, NotifyState::Status(status)]);
}

/// Sends watchdog messages, as long as the driver of the tower makes progress and the watchdog is
/// enabled. Dropping the task ends that.
pub(crate) fn watchdog<M: StateMachine + Send + 'static>(handle: &Handle<M>) -> Option<Task<()>> {
    let limit = sd_notify::watchdog_enabled()?;
    let pause = (limit / PER_LIMIT).max(SHORTEST);
    let handle = handle.clone();
    Some(smol::spawn(async move {
        while turned(&handle).await {
            smol::unblock(|| notify(&[NotifyState::Watchdog])).await;
            Timer::after(pause).await;
        }
    }))
}

/// Waits until the driver has polled the state machine once. Returns `false` after the end of the
/// driver.
async fn turned<M: StateMachine + Send + 'static>(handle: &Handle<M>) -> bool {
    let mut is_later = false;
    // The first call comes with the first poll, and each further one after the driver has polled
    // all actions. A wake-up before the first poll could be missed.
    let mut turned = handle.wait(move |_| std::mem::replace(&mut is_later, true).then_some(()));
    if let Some(result) = future::poll_once(&mut turned).await {
        return result.is_some();
    }
    handle.wake();
    turned.await.is_some()
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("the service manager cannot be reached ({error})");
    }
}
