//! For drivers: what a driver with threads needs besides a [`StateMachine`].
//!
//! [`Shared`] is a state machine behind a lock, with a clock, and with answers after its end. A driver calls
//! [`Shared::call`] for every call of the state machine, [`Shared::poll_action`] until it returns `None`, sleeps until
//! [`Shared::next_wakeup`], and calls [`Shared::end`] when it stops. [`Handle`] is the application's way to the same state
//! machine, with the same verbs on every runtime. [`Notices`] is what it hears, [`Wait`] what it waits for.
//!
//! There is no socket and no thread in here. The constants say how a host with many addresses is dialled, which must not
//! depend on the runtime.

mod handle;
mod notices;
mod wait;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::fmt;
use core::time::Duration;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use event_listener::Event as Changed;

use crate::address::Address;
use crate::config::Config;
use crate::event::{Action, Event, Notice};
use crate::ids::Fingerprint;
use crate::message::Nonce;
use crate::state_machine::StateMachine;
use crate::stats::Stats;
use crate::time::Instant;
use crate::tower::{QueueUsage, ShutdownProgress};

pub use handle::{Delivery, Handle};
pub use notices::{NOTICES_BYTES, NOTICES_CAPACITY, Notices, RecvTimeoutError, TryRecvError};
pub use wait::Wait;

use notices::Broadcast;

/// How long an address of a host may be silent before the next one is tried as well. The deadline of the state machine is for
/// all addresses together, and a silent one must not use it up. Default from RFC 8305 §5.
pub const HEAD_START: Duration = Duration::from_millis(250);

/// The most addresses of one host that are tried (guess). The owner of a name decides how many it has.
pub const MAX_ADDRESSES: usize = 16;

/// The most names that a tower looks up at a time (guess). A look-up may take a thread for a minute.
pub const MAX_LOOKUPS: usize = 16;

/// A state machine behind a lock, for as long as its driver lives; then what is left of it.
///
/// The lock is held for one call at a time, and never while the driver's code runs.
pub struct Shared<M> {
    state: Mutex<Life<M>>,
    fixed: Fixed,
    origin: std::time::Instant,
    wake: Box<dyn Fn() + Send + Sync>,
    notices: Broadcast,
    deliveries: Mutex<BTreeMap<Nonce, Option<Delivery>>>,
    /// Notified after the state machine has acted, and at the end.
    changed: Arc<Changed>,
}

/// What never changes about a tower.
struct Fixed {
    local_addr: SocketAddr,
    address: Address,
    identity: Option<Fingerprint>,
    config: Config,
}

enum Life<M> {
    Running { machine: M, left: Option<usize> },
    Over(Final),
}

/// What is known of a tower after its end.
#[derive(Clone, Copy)]
struct Final {
    stats: Stats,
    usage: QueueUsage,
    /// The messages that no peer took.
    left: usize,
}

impl<M: StateMachine> Shared<M> {
    /// Puts a state machine behind a lock. Its clock starts now. `wake` makes the driver call
    /// [`poll_action`](Self::poll_action) and [`next_wakeup`](Self::next_wakeup) soon; it is called from any thread.
    pub fn new(
        machine: M,
        local_addr: SocketAddr,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> Arc<Self> {
        let tower = machine.tower();
        let fixed = Fixed {
            local_addr,
            address: tower.address().clone(),
            identity: tower.identity(),
            config: tower.config().clone(),
        };
        Arc::new(Self {
            state: Mutex::new(Life::Running { machine, left: None }),
            fixed,
            origin: std::time::Instant::now(),
            wake: Box::new(wake),
            notices: Broadcast::default(),
            deliveries: Mutex::default(),
            changed: Arc::new(Changed::new()),
        })
    }

    /// Returns where the tower listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.fixed.local_addr
    }

    /// Returns the time on the state machine's clock.
    pub fn now(&self) -> Instant {
        let nanos = self.origin.elapsed().as_nanos();
        Instant::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Returns a time of the state machine's clock on the operating system's, unless that is out of its range.
    pub fn to_std(&self, at: Instant) -> Option<std::time::Instant> {
        self.origin.checked_add(at.duration_since(Instant::ORIGIN))
    }

    /// Calls the state machine with the current time. Returns `None` after the end. The driver then carries out the
    /// [actions](Self::poll_action) that follow.
    pub fn call<R>(&self, call: impl FnOnce(&mut M, Instant) -> R) -> Option<R> {
        match &mut *self.lock() {
            Life::Running { machine, .. } => Some(call(machine, self.now())),
            Life::Over(_) => None,
        }
    }

    /// Passes an event to the state machine, with the current time.
    pub fn handle(&self, event: Event<'_>) {
        self.call(|machine, now| machine.handle(event, now));
    }

    /// Returns the next action that the driver must carry out. Notices are passed to their readers, and to `observe` first.
    pub fn poll_action(&self, mut observe: impl FnMut(&Notice)) -> Option<Action> {
        loop {
            let action = match &mut *self.lock() {
                Life::Running { machine, left } => {
                    let action = machine.poll_action();
                    if let Some(Action::Notify(Notice::ShutDown { left: count })) = action {
                        *left = Some(count);
                    }
                    action
                }
                Life::Over(_) => None,
            };
            match action {
                Some(Action::Notify(notice)) => {
                    observe(&notice);
                    self.note_delivery(&notice);
                    self.notices.send(notice);
                }
                Some(action) => return Some(action),
                None => {
                    self.changed.notify(usize::MAX);
                    return None;
                }
            }
        }
    }

    /// Returns when the state machine wants its timer; [`Instant::FAR_FUTURE`] if it wants none.
    pub fn next_wakeup(&self) -> Instant {
        match &*self.lock() {
            Life::Running { machine, .. } => {
                machine.next_wakeup().map_or(Instant::FAR_FUTURE, |wakeup| wakeup.at)
            }
            Life::Over(_) => Instant::FAR_FUTURE,
        }
    }

    /// Returns how far a shutdown has come; [`ShutdownProgress::Done`] as well after the end.
    pub fn shutdown_progress(&self) -> ShutdownProgress {
        match &*self.lock() {
            Life::Running { machine, .. } => machine.tower().shutdown_progress(),
            Life::Over(_) => ShutdownProgress::Done,
        }
    }

    /// Ends the state machine: the driver stops. Everything that waits for it returns. Calling it again changes nothing.
    pub fn end(&self) {
        let ended = {
            let mut life = self.lock();
            let Life::Running { machine, left } = &*life else { return };
            let tower = machine.tower();
            let usage = tower.queue_usage();
            let left = left.unwrap_or(usage.messages);
            let last = Final { stats: *tower.stats(), usage, left };
            core::mem::replace(&mut *life, Life::Over(last))
        };
        // Not under the lock: a state machine may hold much.
        drop(ended);
        self.notices.close();
        self.changed.notify(usize::MAX);
    }

    /// Resolves what waits for the delivery of a message.
    fn note_delivery(&self, notice: &Notice) {
        match notice {
            Notice::MessageDelivered { nonce, to, .. } => {
                if let Some(delivery) = lock(&self.deliveries).get_mut(nonce) {
                    delivery.get_or_insert_with(|| Delivery { to: Some(to.clone()) });
                }
            }
            // The notice of a delivery may be among the missed ones: look which messages are still held.
            Notice::Missed { .. } => {
                let Life::Running { machine, .. } = &*self.lock() else { return };
                for (nonce, delivery) in &mut *lock(&self.deliveries) {
                    if machine.tower().peek().all(|held| held.nonce != *nonce) {
                        delivery.get_or_insert(Delivery { to: None });
                    }
                }
            }
            _ => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, Life<M>> {
        lock(&self.state)
    }
}

impl<M> fmt::Debug for Shared<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("local_addr", &self.fixed.local_addr).finish_non_exhaustive()
    }
}

/// Locks a mutex, poisoned or not: a panic of another thread is reported there, and must not spread.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
