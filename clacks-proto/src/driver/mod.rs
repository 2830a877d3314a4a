//! For drivers: what a driver with sockets needs besides a [`StateMachine`], on any runtime.
//!
//! [`Shared`] is a state machine behind a lock, with a clock, and with answers after its end. A
//! driver calls [`Shared::handle`], carries out what [`Shared::poll_action`] returns until it
//! returns `None`, sleeps until [`Shared::next_wakeup`], and calls [`Shared::end`] when it stops.
//! [`Connection`] moves the bytes of a link. [`Dial`] tries the addresses of a host.
//! [`AcceptBackoff`] says how long to rest after an error of the listener.
//!
//! [`Handle`] is the application's way to the same state machine, with the same verbs on every
//! runtime. [`Notices`] reads what the tower reports. [`Wait`] waits for a condition, with or
//! without an async runtime.
//!
//! No socket is opened in here, and no thread is started except to look up a name. The constants
//! are limits that all runtimes share.
#![allow(clippy::disallowed_types, reason = "drivers have a clock")]

mod accept;
mod connection;
mod dial;
mod handle;
mod notices;
mod wait;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
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
pub use dial::{Dial, DialProgress, MAX_LOOKUPS, is_connected, is_in_progress, look_up};
pub use handle::{Delivery, Handle};
pub use notices::{NOTICES_BYTES, NOTICES_CAPACITY, Notices, RecvTimeoutError, TryRecvError};
pub use wait::Wait;

use connection::Buffers;
use notices::Broadcast;

/// How many turns links take before timers, verbs and new connections are served (guess).
pub const LINKS_PER_TURN: usize = 8;

/// A timer that fires later than this is overdue: the process may have been suspended (guess). The
/// driver then reads what has arrived at its sockets before it passes [`Event::TimerFired`],
/// because peers may have answered in time.
pub const OVERDUE: Duration = Duration::from_millis(10);

/// How many turns each link may take before an overdue timer fires (guess). They are enough to read
/// 1 MiB, which is more than a default window. Without a limit, a peer that never stops sending
/// could hold up the timer.
pub const CATCH_UP_TURNS: usize = 4;

/// An application's function that looks at a message before it is queued. It gets the message and
/// the peer that handed it over, if it is known.
pub type Screen = Box<dyn FnMut(&Message, Option<&Address>) -> Verdict + Send>;

/// How many notices are taken from the state machine at a time.
const NOTICES_PER_BATCH: usize = 64;

/// A state machine behind a lock, for as long as its driver lives; then what is left of it.
///
/// The lock is held for one call of the state machine at a time, and never while other code runs,
/// except for what [`Handle::with`] and [`Handle::wait`] are given.
pub struct Shared<M> {
    state: Mutex<Life<M>>,
    fixed: Fixed,
    origin: std::time::Instant,
    wake: Box<dyn Fn() + Send + Sync>,
    buffers: Buffers,
    /// The memory of [`poll_action`](Self::poll_action): empty between calls.
    batch: Mutex<Vec<Notice>>,
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
    Over(Box<Final>),
}

/// What is known of a tower after its end.
struct Final {
    stats: Stats,
    usage: QueueUsage,
    peers: Vec<PeerRecord>,
    /// The messages that no peer took.
    left: usize,
}

impl<M: StateMachine> Shared<M> {
    /// Puts a state machine behind a lock. Its clock starts now. `wake` makes the driver call
    /// [`poll_action`](Self::poll_action) and [`next_wakeup`](Self::next_wakeup) soon; it is called
    /// from any thread.
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
            buffers: Buffers::default(),
            batch: Mutex::default(),
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

    /// Returns a time of the state machine's clock on the operating system's, unless that is out of
    /// its range.
    pub fn to_std(&self, at: Instant) -> Option<std::time::Instant> {
        self.origin.checked_add(at.duration_since(Instant::ORIGIN))
    }

    /// Calls the state machine with the current time. Returns `None` after the end. The driver then
    /// carries out the [actions](Self::poll_action) that follow.
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

    /// Returns a link for an inbound connection. `None` if the state machine refuses the
    /// connection: drop it.
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
            tracing::debug!(%error, "a verdict had no effect");
        }
    }

    /// Returns the next action that the driver must carry out. Notices are passed to their readers.
    pub fn poll_action(&self) -> Option<Action> {
        let mut notices = core::mem::take(&mut *lock(&self.batch));
        let action = loop {
            let action = self.poll_machine(&mut notices);
            let may_be_more = action.is_none() && notices.len() == NOTICES_PER_BATCH;
            notices.iter().for_each(log);
            self.note_deliveries(&notices);
            self.notices.send(&mut notices);
            if !may_be_more {
                break action;
            }
        };
        *lock(&self.batch) = notices;
        if action.is_none() {
            self.changed.notify(usize::MAX);
        }
        action
    }

    /// Returns the next action that is no notice, and the notices before it.
    fn poll_machine(&self, notices: &mut Vec<Notice>) -> Option<Action> {
        let Life::Running { machine, left } = &mut *self.lock() else { return None };
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

    /// Ends the state machine: the driver stops. Everything that waits for it returns. Calling it
    /// again changes nothing.
    pub fn end(&self) {
        let ended = {
            let mut life = self.lock();
            let Life::Running { machine, left } = &*life else { return };
            let tower = machine.tower();
            let usage = tower.queue_usage();
            let left = left.unwrap_or(usage.messages);
            let peers = tower.snapshot().collect();
            let last = Final { stats: *tower.stats(), usage, peers, left };
            core::mem::replace(&mut *life, Life::Over(Box::new(last)))
        };
        // Not under the lock: a state machine may hold much.
        drop(ended);
        self.notices.close();
        self.changed.notify(usize::MAX);
    }

    /// Resolves what waits for the delivery of messages.
    fn note_deliveries(&self, notices: &[Notice]) {
        if lock(&self.deliveries).is_empty() {
            return;
        }
        for notice in notices {
            match notice {
                Notice::MessageDelivered { nonce, to, .. } => {
                    if let Some(delivery) = lock(&self.deliveries).get_mut(nonce) {
                        delivery.get_or_insert_with(|| Delivery { to: Some(to.clone()) });
                    }
                }
                Notice::Missed { .. } => self.find_missed_deliveries(),
                _ => {}
            }
        }
    }

    /// Resolves what waits for messages that the tower no longer holds: the notices of their
    /// deliveries were dropped.
    fn find_missed_deliveries(&self) {
        let Life::Running { machine, .. } = &*self.lock() else { return };
        let held: BTreeSet<Nonce> = machine.tower().peek().map(|held| held.nonce).collect();
        for (nonce, delivery) in &mut *lock(&self.deliveries) {
            if !held.contains(nonce) {
                delivery.get_or_insert(Delivery { to: None });
            }
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

fn log(notice: &Notice) {
    match notice {
        Notice::KeyChanged { peer, seen } => {
            tracing::warn!(%peer, ?seen, "another key than the one pinned for this address");
        }
        Notice::LinkClosed { link, peer, reason } => {
            let peer = peer.as_ref().map(tracing::field::display);
            tracing::debug!(?link, peer, %reason, "link closed");
        }
        _ => {}
    }
}

/// Locks a mutex, poisoned or not: a panic of another thread is reported there, and must not
/// spread.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
