//! Components for drivers that use sockets, on any runtime.
//!
//! [`Shared`] is a [`StateMachine`] behind a lock, with a clock. A driver calls [`Shared::handle`],
//! executes the actions of [`Shared::poll_action`] until it returns `None`, sleeps until
//! [`Shared::next_wakeup`], and calls [`Shared::end`] when it stops. [`Connection`] moves the bytes
//! of a link. [`Resolver`] looks up the addresses of a host, and [`Dial`] tries them.
//! [`AcceptBackoff`] returns how long to pause after an error of the listener.
//!
//! [`Handle`] is the application's interface to the same state machine, with the same methods on
//! every runtime. [`Notices`] reads the notices of the tower. [`Wait`] waits for a condition, with
//! or without an async runtime.
//!
//! This module opens no connections, and starts no threads except for name look-ups. Its constants
//! are limits for all runtimes.
//!
//! Changed keys, failures of this machine and closed links are logged with `tracing`, the first two
//! at the level `WARN` and closed links at `DEBUG`, with the target `clacks_proto::notices`.
#![allow(clippy::disallowed_types, reason = "drivers have a clock")]

mod accept;
mod connection;
mod dial;
mod handle;
mod notices;
mod resolver;
mod wait;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use event_listener::Event as Changed;

use crate::address::Address;
use crate::config::Config;
use crate::event::{Action, Event, Notice};
use crate::ids::{Fingerprint, LinkId, OfferId};
use crate::message::{Message, Nonce};
use crate::state_machine::StateMachine;
use crate::stats::Stats;
use crate::time::Instant;
use crate::tower::{PeerRecord, QueueUsage, ShutdownProgress, Verdict};

pub use accept::{ACCEPTS_PER_TURN, AcceptBackoff};
pub use connection::{CHUNK, Connection, Readiness, Turn};
pub use dial::{Dial, DialProgress, is_connected, is_in_progress};
pub use handle::{Delivery, Handle};
pub use notices::{NOTICES_BYTES, NOTICES_CAPACITY, Notices, RecvTimeoutError, TryRecvError};
pub use resolver::{Lookup, MAX_LOOKUPS, MAX_STRANGE_LOOKUPS, Resolver};
pub use wait::Wait;

use connection::Buffers;
use notices::Broadcast;

/// The number of turns of links before timers, commands and new connections are served. The value
/// is a guess.
pub const LINKS_PER_TURN: usize = 8;

/// A timer that fires later than this is overdue, for example because the process was suspended.
/// The value is a guess. The driver then reads the bytes that have arrived before it passes
/// [`Event::TimerFired`], because peers may have answered in time.
pub const OVERDUE: Duration = Duration::from_millis(10);

/// The maximum number of turns of each link before an overdue timer fires. The value is a guess.
/// These turns suffice to read 1 MiB, which is more than a default window. The limit prevents a
/// peer that sends continuously from delaying the timer.
pub const CATCH_UP_TURNS: usize = 4;

/// A function of the application that screens messages before they are queued. Its arguments are
/// the message and the peer that handed it over, if that peer is known.
pub type Screen = Box<dyn FnMut(&Message, Option<&Address>) -> Verdict + Send>;

/// The maximum number of notices that are taken from the state machine at a time.
const NOTICES_PER_BATCH: usize = 64;

/// A state machine behind a lock. After the end of its driver, only its last values remain.
///
/// The lock is held during single calls of the state machine. Other code runs under the lock only
/// in [`call`](Self::call), [`Handle::with`] and [`Handle::wait`].
pub struct Shared<M> {
    state: Mutex<State<M>>,
    fixed: Fixed,
    origin: std::time::Instant,
    wake: Box<dyn Fn() + Send + Sync>,
    buffers: Buffers,
    /// A buffer of [`poll_action`](Self::poll_action), which is empty between calls.
    batch: Mutex<Vec<Notice>>,
    notices: Broadcast,
    deliveries: Mutex<Deliveries>,
    /// Notified after all queued actions were polled, and at the end.
    changed: Arc<Changed>,
    /// How often all queued actions were polled. It wraps around.
    turns: AtomicUsize,
    /// Notified at the end.
    ended: Arc<Changed>,
}

/// The deliveries that the application waits for.
#[derive(Default)]
struct Deliveries {
    pending: BTreeMap<Nonce, DeliveryState>,
    /// Notices were dropped, and some of them may have been those of deliveries.
    has_missed: bool,
}

#[derive(Default)]
struct DeliveryState {
    delivery: Option<Delivery>,
    /// The lifetime of the message was over.
    has_expired: bool,
    /// Notified when `delivery` is set, and at the end.
    done: Arc<Changed>,
}

impl DeliveryState {
    /// Sets the delivery, unless it is set. Returns the event to notify after the locks are
    /// released, because it runs wakers.
    fn resolve(&mut self, to: Option<Address>) -> Arc<Changed> {
        self.delivery.get_or_insert(Delivery { to });
        self.done.clone()
    }
}

/// Properties of a tower that never change.
struct Fixed {
    local_addr: SocketAddr,
    address: Address,
    identity: Option<Fingerprint>,
    config: Config,
}

enum State<M> {
    Running { machine: M, left: Option<usize> },
    Ended(Box<FinalState>),
}

/// The last values of a tower, after the end of its driver.
struct FinalState {
    stats: Stats,
    usage: QueueUsage,
    peers: Vec<PeerRecord>,
    /// The number of messages that no peer took.
    left: usize,
}

impl<M: StateMachine> Shared<M> {
    /// Puts a state machine behind a lock. Its clock starts at zero. `wake` must make the driver
    /// call [`poll_action`](Self::poll_action) and [`next_wakeup`](Self::next_wakeup) soon. It is
    /// called from any thread.
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
            state: Mutex::new(State::Running { machine, left: None }),
            fixed,
            origin: std::time::Instant::now(),
            wake: Box::new(wake),
            buffers: Buffers::default(),
            batch: Mutex::default(),
            notices: Broadcast::default(),
            deliveries: Mutex::default(),
            changed: Arc::default(),
            turns: AtomicUsize::new(0),
            ended: Arc::default(),
        })
    }

    /// Returns the local address of the listener.
    pub fn local_addr(&self) -> SocketAddr {
        self.fixed.local_addr
    }

    /// Returns the time of the state machine's clock.
    pub fn now(&self) -> Instant {
        let nanos = self.origin.elapsed().as_nanos();
        Instant::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Converts a time of the state machine's clock to the clock of the operating system. Returns
    /// `None` if the time is out of range there.
    pub fn to_std(&self, at: Instant) -> Option<std::time::Instant> {
        self.origin.checked_add(at.duration_since(Instant::ORIGIN))
    }

    /// Calls the state machine with the current time. Returns `None` after the end of the driver.
    /// The driver must then execute the [actions](Self::poll_action) that follow.
    pub fn call<R>(&self, call: impl FnOnce(&mut M, Instant) -> R) -> Option<R> {
        match &mut *self.lock() {
            State::Running { machine, .. } => Some(call(machine, self.now())),
            State::Ended(_) => None,
        }
    }

    /// Passes an event to the state machine with the current time.
    pub fn handle(&self, event: Event<'_>) {
        self.call(|machine, now| machine.handle(event, now));
    }

    /// Returns a link for an inbound connection. If it returns `None`, the state machine has
    /// refused the connection, and the driver must drop it.
    pub fn accept(&self, from: IpAddr) -> Option<LinkId> {
        match self.call(|machine, now| machine.accept(from, now))? {
            Ok(link) => {
                tracing::debug!(?link, %from, "connection accepted");
                Some(link)
            }
            Err(refusal) => {
                tracing::debug!(%from, %refusal, "connection refused");
                None
            }
        }
    }

    /// Passes the verdict on a message under screening to the tower.
    pub fn decide(&self, offer: OfferId, verdict: Verdict) {
        let decided = self.call(|machine, now| machine.tower_mut().decide(offer, verdict, now));
        if let Some(Err(error)) = decided {
            tracing::debug!(%error, "verdict without effect");
        }
    }

    /// Returns the next action that the driver must execute. Notices are passed to their readers.
    pub fn poll_action(&self) -> Option<Action> {
        let mut notices = core::mem::take(&mut *lock(&self.batch));
        let action = loop {
            let action = self.poll_machine(&mut notices);
            let may_be_more = action.is_none() && notices.len() == NOTICES_PER_BATCH;
            notices.iter().for_each(log);
            self.resolve_deliveries(&notices);
            self.notices.send(&mut notices);
            if !may_be_more {
                break action;
            }
        };
        *lock(&self.batch) = notices;
        if action.is_none() {
            self.resolve_missed_deliveries();
            self.turns.fetch_add(1, Ordering::Relaxed);
            self.changed.notify(usize::MAX);
        }
        action
    }

    /// Returns the next action that is not a notice, and appends the notices before it to
    /// `notices`.
    fn poll_machine(&self, notices: &mut Vec<Notice>) -> Option<Action> {
        let State::Running { machine, left } = &mut *self.lock() else { return None };
        while notices.len() < NOTICES_PER_BATCH {
            match machine.poll_action()? {
                Action::Notify(notice) => {
                    if let Notice::ShutDown { left: count } = notice {
                        *left = Some(count);
                    }
                    notices.push(notice);
                }
                action => return Some(action),
            }
        }
        None
    }

    /// Returns when to pass [`Event::TimerFired`], or [`Instant::FAR_FUTURE`] for never.
    pub fn next_wakeup(&self) -> Instant {
        match &*self.lock() {
            State::Running { machine, .. } => {
                machine.next_wakeup().map_or(Instant::FAR_FUTURE, |wakeup| wakeup.at)
            }
            State::Ended(_) => Instant::FAR_FUTURE,
        }
    }

    /// Returns the progress of a shutdown, which is [`ShutdownProgress::Done`] after the end of the
    /// driver.
    pub fn shutdown_progress(&self) -> ShutdownProgress {
        match &*self.lock() {
            State::Running { machine, .. } => machine.tower().shutdown_progress(),
            State::Ended(_) => ShutdownProgress::Done,
        }
    }

    /// Ends the state machine when the driver stops. All waits and readers end. Further calls have
    /// no effect.
    pub fn end(&self) {
        let ended = {
            let mut state = self.lock();
            let State::Running { machine, left } = &*state else { return };
            let tower = machine.tower();
            let usage = tower.queue_usage();
            let left = left.unwrap_or(usage.messages);
            let peers = tower.snapshot().collect();
            let last = FinalState { stats: *tower.stats(), usage, peers, left };
            core::mem::replace(&mut *state, State::Ended(Box::new(last)))
        };
        // Dropped without the lock, because freeing a state machine may take long.
        drop(ended);
        self.notices.close();
        self.changed.notify(usize::MAX);
        self.ended.notify(usize::MAX);
        let events: Vec<_> =
            lock(&self.deliveries).pending.values().map(|it| it.done.clone()).collect();
        notify_all(&events);
    }

    /// Resolves the waits for messages that were delivered.
    fn resolve_deliveries(&self, notices: &[Notice]) {
        let mut resolved = Vec::new();
        {
            let mut deliveries = lock(&self.deliveries);
            if deliveries.pending.is_empty() {
                return;
            }
            for notice in notices {
                match notice {
                    Notice::MessageDelivered { nonce, to, .. } => {
                        let pending = deliveries.pending.get_mut(nonce);
                        resolved.extend(pending.map(|it| it.resolve(Some(to.clone()))));
                    }
                    Notice::MessageExpired { nonce, .. } => {
                        let pending = deliveries.pending.get_mut(nonce);
                        resolved.extend(pending.map(|it| {
                            it.has_expired = true;
                            it.done.clone()
                        }));
                    }
                    Notice::Missed { .. } => deliveries.has_missed = true,
                    _ => {}
                }
            }
        }
        notify_all(&resolved);
    }

    /// Resolves the waits for messages that the tower no longer holds, if notices were dropped. All
    /// queued notices must be polled: one of them may be that of a delivery.
    fn resolve_missed_deliveries(&self) {
        if !core::mem::take(&mut lock(&self.deliveries).has_missed) {
            return;
        }
        let mut resolved = Vec::new();
        if let State::Running { machine, .. } = &*self.lock() {
            let held: BTreeSet<Nonce> = machine.tower().peek().map(|held| held.nonce).collect();
            let mut deliveries = lock(&self.deliveries);
            let left = deliveries.pending.iter_mut().filter(|(nonce, _)| !held.contains(nonce));
            resolved.extend(left.map(|(_, pending)| pending.resolve(None)));
        }
        notify_all(&resolved);
    }

    fn lock(&self) -> MutexGuard<'_, State<M>> {
        lock(&self.state)
    }
}

impl<M> fmt::Debug for Shared<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("local_addr", &self.fixed.local_addr).finish_non_exhaustive()
    }
}

fn notify_all(events: &[Arc<Changed>]) {
    events.iter().for_each(|event| _ = event.notify(usize::MAX));
}

/// The target of logged notices, so that an application that shows notices can filter the log.
const NOTICES_TARGET: &str = "clacks_proto::notices";

fn log(notice: &Notice) {
    match notice {
        Notice::KeyChanged { peer, seen } => {
            let seen = seen.as_ref().map(tracing::field::display);
            tracing::warn!(
                target: NOTICES_TARGET, %peer, seen,
                "the key differs from the one pinned for this address"
            );
        }
        Notice::LinkClosed { link, peer, reason, .. } => {
            let peer = peer.as_ref().map(tracing::field::display);
            tracing::debug!(target: NOTICES_TARGET, ?link, peer, %reason, "link closed");
        }
        Notice::LocalTrouble { cause } => {
            tracing::warn!(target: NOTICES_TARGET, %cause, "connections fail");
        }
        _ => {}
    }
}

/// Locks a mutex and ignores poisoning. A panic is reported in its own thread and must not spread
/// to others.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
