//! The application's way to a tower that a driver runs.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;
use std::net::SocketAddr;

use super::notices::Notices;
use super::wait::Wait;
use super::{Final, Life, Shared, lock};
use crate::address::Address;
use crate::config::Config;
use crate::ids::{Fingerprint, PeerId};
use crate::message::{Message, Nonce};
use crate::state_machine::StateMachine;
use crate::stats::Stats;
use crate::time::Instant;
use crate::tower::{
    EnqueueError, ExpandError, HeldMessage, Peer, PeerRecord, QueueUsage, RefusedMessage,
    StatusCounts, Tower,
};

/// The application's way to a tower that a driver runs, from any thread. Clones are the same tower.
///
/// No method waits: each takes the tower's lock for a moment. What is waited for is returned as a
/// [`Wait`]. Dropping the last handle does not stop the tower.
///
/// - Verbs: [`enqueue`](Self::enqueue), [`deliver`](Self::deliver), [`expand`](Self::expand),
///   [`announce`](Self::announce), [`ignore`](Self::ignore), [`unignore`](Self::unignore),
///   [`forget`](Self::forget), [`pin`](Self::pin), [`restore`](Self::restore),
///   [`shutdown`](Self::shutdown), [`shutdown_within`](Self::shutdown_within).
/// - Getters: [`peek`](Self::peek), [`survey`](Self::survey), [`find`](Self::find),
///   [`stats`](Self::stats), [`queue_usage`](Self::queue_usage),
///   [`status_counts`](Self::status_counts), [`snapshot`](Self::snapshot),
///   [`address`](Self::address), [`local_addr`](Self::local_addr), [`identity`](Self::identity),
///   [`config`](Self::config), [`now`](Self::now).
/// - [`notices`](Self::notices) for what the tower reports, [`wait`](Self::wait) for any condition,
///   [`with`](Self::with) for the state machine itself, [`wake`](Self::wake) for its driver.
///
/// After the end of the driver, verbs refuse as in a shutdown. Getters answer for a tower with
/// neither messages nor peers, except for [`stats`](Self::stats),
/// [`queue_usage`](Self::queue_usage) and [`snapshot`](Self::snapshot), which stay as they were.
pub struct Handle<M> {
    shared: Arc<Shared<M>>,
}

/// A message was delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivery {
    /// The peer that has confirmed the message. `None` if the notice that named it was dropped.
    pub to: Option<Address>,
}

impl<M> Clone for Handle<M> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<M> fmt::Debug for Handle<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let local_addr = self.shared.fixed.local_addr;
        f.debug_struct("Handle").field("local_addr", &local_addr).finish_non_exhaustive()
    }
}

impl<M: StateMachine + Send + 'static> Handle<M> {
    /// Returns the handle to a state machine. For drivers.
    #[must_use]
    pub fn new(shared: Arc<Shared<M>>) -> Self {
        Self { shared }
    }

    /// Puts a message into the queue, and returns its name.
    ///
    /// # Errors
    ///
    /// Returns the message, with the reason. Nothing has changed.
    pub fn enqueue(&self, message: Message) -> Result<Nonce, RefusedMessage> {
        self.change(message, Tower::enqueue).unwrap_or_else(|message| Err(refused(message)))
    }

    /// Puts a message into the queue. The result waits until a peer has confirmed it, and is `None`
    /// if the driver ends before.
    ///
    /// # Errors
    ///
    /// Returns the message, with the reason. Nothing has changed.
    pub fn deliver(&self, message: Message) -> Result<Wait<Option<Delivery>>, RefusedMessage> {
        let shared = &self.shared;
        let nonce = self.change(message, |tower, message, now| {
            let nonce = tower.enqueue(message, now)?;
            // Under the lock of the tower: the message can't be delivered before.
            lock(&shared.deliveries).insert(nonce, None);
            Ok(nonce)
        });
        let nonce = nonce.unwrap_or_else(|message| Err(refused(message)))?;
        let registered = Registered { shared: self.shared.clone(), nonce };
        Ok(Wait::new(self.shared.changed.clone(), move || registered.check()))
    }

    /// Adds a peer by its address, as new. A known peer stays as it is.
    ///
    /// # Errors
    ///
    /// If the address can't be a peer. Nothing has changed.
    pub fn expand(&self, address: &Address) -> Result<(), ExpandError> {
        self.change_peer(|tower, now| tower.expand(address, now))
    }

    /// Adds a peer by its address, and makes this tower known to it.
    /// [`Notice::Announced`](crate::Notice::Announced) tells that the peer has confirmed.
    ///
    /// # Errors
    ///
    /// If the address can't be a peer. Nothing has changed.
    pub fn announce(&self, address: &Address) -> Result<(), ExpandError> {
        self.change_peer(|tower, now| tower.announce(address, now))
    }

    /// Ignores the tower at an address. See [`Tower::ignore`].
    ///
    /// # Errors
    ///
    /// If the address can't be a peer. Nothing has changed.
    pub fn ignore(&self, address: &Address) -> Result<(), ExpandError> {
        self.change_peer(|tower, now| tower.ignore(address, now))
    }

    /// Undoes [`ignore`](Self::ignore). Returns whether the peer was ignored.
    pub fn unignore(&self, address: &Address) -> bool {
        self.change(address, Tower::unignore).unwrap_or(false)
    }

    /// Forgets the peer at an address. Returns whether it was known. See [`Tower::forget`].
    pub fn forget(&self, address: &Address) -> bool {
        self.change(address, Tower::forget).unwrap_or(false)
    }

    /// Pins a key to an address. See [`Tower::pin`].
    ///
    /// # Errors
    ///
    /// If the address can't be a peer, or the key is pinned to another address. Nothing has
    /// changed.
    pub fn pin(&self, address: &Address, key: Fingerprint) -> Result<(), ExpandError> {
        self.change_peer(|tower, now| tower.pin(address, key, now))
    }

    /// Restores a peer of an earlier start. See [`Tower::restore`].
    ///
    /// # Errors
    ///
    /// If the address can't be a peer, or the key is pinned to another address. Nothing has
    /// changed.
    pub fn restore(&self, record: &PeerRecord) -> Result<(), ExpandError> {
        self.change_peer(|tower, now| tower.restore(record, now))
    }

    /// Hands the queue to peers, closes all links and stops the tower. The result waits for the end
    /// of the driver, and is the number of messages that no peer took: they are lost with the
    /// tower.
    ///
    /// Handing over takes at most [`Timeouts::shutdown`](crate::Timeouts::shutdown), and ends at
    /// once when no peer can take anything.
    pub fn shutdown(&self) -> Wait<usize> {
        self.shutdown_within(self.config().timeouts.shutdown)
    }

    /// Like [`shutdown`](Self::shutdown), with another limit for handing over the queue.
    pub fn shutdown_within(&self, limit: Duration) -> Wait<usize> {
        // After the end there is nothing to shut down.
        let _ = self.change((), |tower, (), now| tower.shutdown_within(limit, now));
        let shared = self.shared.clone();
        Wait::new(self.shared.changed.clone(), move || match &*shared.lock() {
            Life::Running { .. } => None,
            Life::Over(last) => Some(last.left),
        })
    }

    /// Returns a reader of what happens from now on.
    #[must_use]
    pub fn notices(&self) -> Notices {
        self.shared.notices.subscribe()
    }

    /// Calls the state machine with the current time, and wakes the driver. Returns `None` after
    /// the end of the driver.
    ///
    /// The tower does nothing else meanwhile. `call` must not use a handle of this tower: it would
    /// wait for itself.
    pub fn with<R>(&self, call: impl FnOnce(&mut M, Instant) -> R) -> Option<R> {
        let result = self.shared.call(call);
        self.wake();
        result
    }

    /// Makes the driver look at the state machine soon. A mio reactor returns from its current or
    /// its next turn.
    pub fn wake(&self) {
        (self.shared.wake)();
    }

    /// Waits until `condition` returns a value. It is called after each time that the tower has
    /// acted, and must not use a handle of this tower. The result is `None` after the end of the
    /// driver.
    pub fn wait<R: 'static>(
        &self,
        mut condition: impl FnMut(&M) -> Option<R> + Send + 'static,
    ) -> Wait<Option<R>> {
        let shared = self.shared.clone();
        Wait::new(self.shared.changed.clone(), move || match &*shared.lock() {
            Life::Running { machine, .. } => condition(machine).map(Some),
            Life::Over(_) => Some(None),
        })
    }

    /// Returns all messages that the tower holds: one entry each, whose body is shared.
    #[must_use]
    pub fn peek(&self) -> Vec<HeldMessage> {
        self.look(|tower| tower.peek().collect(), |_| Vec::new())
    }

    /// Returns all peers that the tower knows.
    #[must_use]
    pub fn survey(&self) -> Vec<Peer> {
        self.look(|tower| tower.survey().collect(), |_| Vec::new())
    }

    /// Returns the peer with an address.
    #[must_use]
    pub fn find(&self, address: &Address) -> Option<Peer> {
        self.look(|tower| tower.find(address), |_| None)
    }

    /// Returns the counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.look(|tower| *tower.stats(), |last| last.stats)
    }

    /// Returns how much of the queue is used.
    #[must_use]
    pub fn queue_usage(&self) -> QueueUsage {
        self.look(Tower::queue_usage, |last| last.usage)
    }

    /// Returns how many peers have each status.
    #[must_use]
    pub fn status_counts(&self) -> StatusCounts {
        self.look(Tower::status_counts, |_| StatusCounts::default())
    }

    /// Returns the peers to be kept for the next start. See [`Tower::snapshot`].
    #[must_use]
    pub fn snapshot(&self) -> Vec<PeerRecord> {
        self.look(|tower| tower.snapshot().collect(), |last| last.peers.clone())
    }

    /// Returns the address at which peers reach the tower.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.shared.fixed.address
    }

    /// Returns where the tower listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.shared.fixed.local_addr
    }

    /// Returns the key that the tower proves to peers, if it does.
    #[must_use]
    pub fn identity(&self) -> Option<Fingerprint> {
        self.shared.fixed.identity
    }

    /// Returns the configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.shared.fixed.config
    }

    /// Returns the time on the tower's clock, on which [`Peer::since`] is told.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.shared.now()
    }

    /// Calls a verb, and wakes the driver. Returns the argument after the end of the driver.
    fn change<A, R>(
        &self,
        argument: A,
        verb: impl FnOnce(&mut Tower, A, Instant) -> R,
    ) -> Result<R, A> {
        let result = match &mut *self.shared.lock() {
            Life::Running { machine, .. } => {
                Ok(verb(machine.tower_mut(), argument, self.shared.now()))
            }
            Life::Over(_) => Err(argument),
        };
        self.wake();
        result
    }

    fn change_peer(
        &self,
        verb: impl FnOnce(&mut Tower, Instant) -> Result<PeerId, ExpandError>,
    ) -> Result<(), ExpandError> {
        let result = self.change((), |tower, (), now| verb(tower, now));
        result.unwrap_or(Err(ExpandError::ShuttingDown)).map(|_| ())
    }

    fn look<R>(&self, look: impl FnOnce(&Tower) -> R, after: impl FnOnce(&Final) -> R) -> R {
        match &*self.shared.lock() {
            Life::Running { machine, .. } => look(machine.tower()),
            Life::Over(last) => after(last),
        }
    }
}

fn refused(message: Message) -> RefusedMessage {
    RefusedMessage { message, reason: EnqueueError::ShuttingDown }
}

/// A message whose delivery is waited for.
struct Registered<M> {
    shared: Arc<Shared<M>>,
    nonce: Nonce,
}

impl<M: StateMachine> Registered<M> {
    /// Returns the delivery if the message was delivered, and `None` inside if it will not be.
    fn check(&self) -> Option<Option<Delivery>> {
        // Before the look: a delivery may come between the two, but none comes after the end.
        let is_over = matches!(&*self.shared.lock(), Life::Over(_));
        let delivery = lock(&self.shared.deliveries).get(&self.nonce).cloned().flatten();
        (delivery.is_some() || is_over).then_some(delivery)
    }
}

impl<M> Drop for Registered<M> {
    fn drop(&mut self) {
        lock(&self.shared.deliveries).remove(&self.nonce);
    }
}
