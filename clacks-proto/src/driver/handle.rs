//! The application's interface to a tower that a driver runs.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::Ordering;
use core::time::Duration;
use std::net::SocketAddr;

use bytes::Bytes;

use super::notices::Notices;
use super::wait::Wait;
use super::{FinalState, Shared, State, lock};
use crate::address::Address;
use crate::config::Config;
use crate::ids::{Fingerprint, LinkId, PeerId};
use crate::message::{Message, Nonce};
use crate::state_machine::StateMachine;
use crate::stats::Stats;
use crate::time::Instant;
use crate::tower::{
    Datagram, DatagramError, EnqueueError, EnqueueOptions, ExpandError, HeldMessage, LinkInfo,
    Peer, PeerRecord, QueueUsage, RefusedMessage, StatusCounts, To, Tower,
};

/// The application's interface to a tower that a driver runs. It can be used from any thread. All
/// clones refer to the same tower.
///
/// No method blocks for longer than the lock of the tower is held. Methods with a later result
/// return a [`Wait`]. Dropping the last handle does not stop the tower.
///
/// - Methods that change the tower: [`enqueue`](Self::enqueue),
///   [`enqueue_with`](Self::enqueue_with), [`deliver`](Self::deliver),
///   [`deliver_with`](Self::deliver_with), [`expand`](Self::expand), [`announce`](Self::announce),
///   [`ignore`](Self::ignore), [`unignore`](Self::unignore), [`forget`](Self::forget),
///   [`pin`](Self::pin), [`restore`](Self::restore), [`datagram`](Self::datagram),
///   [`shutdown`](Self::shutdown), [`shutdown_within`](Self::shutdown_within).
/// - Getters: [`peek`](Self::peek), [`survey`](Self::survey), [`find`](Self::find),
///   [`links`](Self::links), [`stats`](Self::stats), [`queue_usage`](Self::queue_usage),
///   [`status_counts`](Self::status_counts), [`snapshot`](Self::snapshot),
///   [`address`](Self::address), [`local_addr`](Self::local_addr), [`identity`](Self::identity),
///   [`config`](Self::config), [`now`](Self::now).
/// - [`datagrams`](Self::datagrams) and [`next_datagram`](Self::next_datagram) take the datagrams
///   that come in.
/// - [`notices`](Self::notices) returns a reader of notices. [`wait`](Self::wait) waits for any
///   condition. [`with`](Self::with) calls the state machine. [`wake`](Self::wake) wakes the
///   driver, and [`next_turn`](Self::next_turn) waits until it has made progress.
///
/// After the end of the driver, methods that change the tower fail as during a shutdown. Getters
/// return the values of a tower without messages and peers. [`stats`](Self::stats),
/// [`queue_usage`](Self::queue_usage) and [`snapshot`](Self::snapshot) return the last values.
pub struct Handle<M> {
    shared: Arc<Shared<M>>,
}

/// The delivery of a message to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivery {
    /// The peer that has confirmed the message. `None` if the notice of the delivery was dropped.
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
    /// Returns a handle to a state machine. Called by drivers.
    #[must_use]
    pub fn new(shared: Arc<Shared<M>>) -> Self {
        Self { shared }
    }

    /// Puts a message into the queue. Returns its nonce.
    ///
    /// # Errors
    ///
    /// Returns the message and the reason. The tower has not changed.
    pub fn enqueue(&self, message: Message) -> Result<Nonce, RefusedMessage> {
        self.change(message, Tower::enqueue).unwrap_or_else(|message| Err(refused(message)))
    }

    /// Puts a message with options into the queue. Returns its nonce.
    ///
    /// # Errors
    ///
    /// Returns the message and the reason. The tower has not changed.
    pub fn enqueue_with(
        &self,
        message: Message,
        options: EnqueueOptions,
    ) -> Result<Nonce, RefusedMessage> {
        let enqueued =
            self.change(message, |tower, message, now| tower.enqueue_with(message, options, now));
        enqueued.unwrap_or_else(|message| Err(refused(message)))
    }

    /// Puts a message into the queue. The result waits until a peer has confirmed the message. It
    /// is `None` if the driver or the lifetime of the message ends first.
    ///
    /// # Errors
    ///
    /// Returns the message and the reason. The tower has not changed.
    pub fn deliver(&self, message: Message) -> Result<Wait<Option<Delivery>>, RefusedMessage> {
        self.deliver_with(message, EnqueueOptions::default())
    }

    /// Like [`deliver`](Self::deliver), but with options.
    ///
    /// # Errors
    ///
    /// Returns the message and the reason. The tower has not changed.
    pub fn deliver_with(
        &self,
        message: Message,
        options: EnqueueOptions,
    ) -> Result<Wait<Option<Delivery>>, RefusedMessage> {
        let shared = &self.shared;
        let registered = self.change(message, |tower, message, now| {
            let nonce = tower.enqueue_with(message, options, now)?;
            // The lock of the tower is held, so the message can't be delivered before it is
            // registered.
            let mut deliveries = lock(&shared.deliveries);
            Ok((nonce, deliveries.pending.entry(nonce).or_default().done.clone()))
        });
        let (nonce, done) = registered.unwrap_or_else(|message| Err(refused(message)))?;
        let pending = PendingDelivery { shared: self.shared.clone(), nonce };
        Ok(Wait::new(done, move || pending.check()))
    }

    /// Adds a peer with the status new. A known peer does not change.
    ///
    /// # Errors
    ///
    /// Returns the reason if the address can't be a peer. The tower has not changed.
    pub fn expand(&self, address: &Address) -> Result<(), ExpandError> {
        self.change_peer(|tower, now| tower.expand(address, now))
    }

    /// Adds a peer, and announces this tower to it. [`Notice::Announced`](crate::Notice::Announced)
    /// reports that the peer has confirmed.
    ///
    /// # Errors
    ///
    /// Returns the reason if the address can't be a peer. The tower has not changed.
    pub fn announce(&self, address: &Address) -> Result<(), ExpandError> {
        self.change_peer(|tower, now| tower.announce(address, now))
    }

    /// Ignores the tower at an address. See [`Tower::ignore`].
    ///
    /// # Errors
    ///
    /// Returns the reason if the address can't be a peer. The tower has not changed.
    pub fn ignore(&self, address: &Address) -> Result<(), ExpandError> {
        self.change_peer(|tower, now| tower.ignore(address, now))
    }

    /// Undoes [`ignore`](Self::ignore). Returns whether the peer was ignored.
    pub fn unignore(&self, address: &Address) -> bool {
        self.change(address, Tower::unignore).unwrap_or(false)
    }

    /// Forgets the peer at an address. Returns whether the peer was known. See [`Tower::forget`].
    pub fn forget(&self, address: &Address) -> bool {
        self.change(address, Tower::forget).unwrap_or(false)
    }

    /// Pins a key to an address. See [`Tower::pin`].
    ///
    /// # Errors
    ///
    /// Returns the reason if the address can't be a peer, or if the key is pinned to another
    /// address. The tower has not changed.
    pub fn pin(&self, address: &Address, key: Fingerprint) -> Result<(), ExpandError> {
        self.change_peer(|tower, now| tower.pin(address, key, now))
    }

    /// Restores a peer from an earlier snapshot. See [`Tower::restore`].
    ///
    /// # Errors
    ///
    /// Returns the reason if the address can't be a peer, or if the key is pinned to another
    /// address. The tower has not changed.
    pub fn restore(&self, record: &PeerRecord) -> Result<(), ExpandError> {
        self.change_peer(|tower, now| tower.restore(record, now))
    }

    /// Hands the queue to peers, closes all links and stops the tower. The result waits for the end
    /// of the driver. It is the number of messages that no peer took. These messages are lost with
    /// the tower.
    ///
    /// The hand-over takes at most [`Timeouts::shutdown`](crate::Timeouts::shutdown), and ends at
    /// once when no peer can take a message.
    pub fn shutdown(&self) -> Wait<usize> {
        self.shutdown_within(self.config().timeouts.shutdown)
    }

    /// Like [`shutdown`](Self::shutdown), but with another time limit.
    pub fn shutdown_within(&self, limit: Duration) -> Wait<usize> {
        // There is nothing to do if the driver has ended.
        let _ = self.change((), |tower, (), now| tower.shutdown_within(limit, now));
        let shared = self.shared.clone();
        Wait::new(self.shared.ended.clone(), move || match &*shared.lock() {
            State::Running { .. } => None,
            State::Ended(last) => Some(last.left),
        })
    }

    /// Sends a datagram. Returns the link that it takes. See [`Tower::datagram`].
    ///
    /// # Errors
    ///
    /// Returns the reason. Nothing is sent.
    pub fn datagram(&self, to: To, body: impl Into<Bytes>) -> Result<LinkId, DatagramError> {
        let sent = self.change(body.into(), |tower, body, now| tower.datagram(to, body, now));
        sent.unwrap_or(Err(DatagramError::ShuttingDown))
    }

    /// Waits for the next datagram that comes in. The result is `None` after the end of the driver.
    ///
    /// There is one inbox. If several threads wait, each datagram goes to one of them.
    pub fn next_datagram(&self) -> Wait<Option<Datagram>> {
        let shared = self.shared.clone();
        Wait::new(self.shared.changed.clone(), move || match &mut *shared.lock() {
            State::Running { machine, .. } => machine.tower_mut().take_datagram().map(Some),
            State::Ended(_) => Some(None),
        })
    }

    /// Returns the datagrams that have come in, in order.
    pub fn datagrams(&self) -> impl Iterator<Item = Datagram> + '_ {
        core::iter::from_fn(|| match &mut *self.shared.lock() {
            State::Running { machine, .. } => machine.tower_mut().take_datagram(),
            State::Ended(_) => None,
        })
    }

    /// Returns a reader of all notices from now on.
    #[must_use]
    pub fn notices(&self) -> Notices {
        self.shared.notices.subscribe()
    }

    /// Calls the state machine with the current time, and wakes the driver. Returns `None` after
    /// the end of the driver.
    ///
    /// The lock of the tower is held during the call. `call` must not use a handle of this tower,
    /// because this would deadlock.
    pub fn with<R>(&self, call: impl FnOnce(&mut M, Instant) -> R) -> Option<R> {
        let result = self.shared.call(call);
        self.wake();
        result
    }

    /// Wakes the driver, which then polls the state machine. A mio reactor returns from its current
    /// or its next turn.
    pub fn wake(&self) {
        (self.shared.wake)();
    }

    /// Wakes the driver, and waits until it has polled all queued actions. Returns `false` after
    /// the end of the driver.
    ///
    /// A driver that hangs never completes the wait, so a watchdog can detect it.
    pub fn next_turn(&self) -> Wait<bool> {
        let shared = self.shared.clone();
        let before = shared.turns.load(Ordering::Relaxed);
        let changed = shared.changed.clone();
        self.wake();
        Wait::new(changed, move || match &*shared.lock() {
            State::Running { .. } => {
                (shared.turns.load(Ordering::Relaxed) != before).then_some(true)
            }
            State::Ended(_) => Some(false),
        })
    }

    /// Waits until `condition` returns a value. The result is `None` after the end of the driver.
    ///
    /// `condition` is called at once, and each time after the driver has polled all actions. It
    /// must not use a handle of this tower, because this would deadlock.
    pub fn wait<R: 'static>(
        &self,
        mut condition: impl FnMut(&M) -> Option<R> + Send + 'static,
    ) -> Wait<Option<R>> {
        let shared = self.shared.clone();
        Wait::new(self.shared.changed.clone(), move || match &*shared.lock() {
            State::Running { machine, .. } => condition(machine).map(Some),
            State::Ended(_) => Some(None),
        })
    }

    /// Returns all messages that the tower holds. The bodies are shared, not copied.
    #[must_use]
    pub fn peek(&self) -> Vec<HeldMessage> {
        self.read(|tower| tower.peek().collect(), |_| Vec::new())
    }

    /// Returns all peers that the tower knows.
    #[must_use]
    pub fn survey(&self) -> Vec<Peer> {
        self.read(|tower| tower.survey().collect(), |_| Vec::new())
    }

    /// Returns the peer with an address, if it is known.
    #[must_use]
    pub fn find(&self, address: &Address) -> Option<Peer> {
        self.read(|tower| tower.find(address), |_| None)
    }

    /// Returns all links that have not ended.
    #[must_use]
    pub fn links(&self) -> Vec<LinkInfo> {
        self.read(|tower| tower.links().collect(), |_| Vec::new())
    }

    /// Returns the counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.read(|tower| *tower.stats(), |last| last.stats)
    }

    /// Returns how many messages and bytes the queue holds.
    #[must_use]
    pub fn queue_usage(&self) -> QueueUsage {
        self.read(Tower::queue_usage, |last| last.usage)
    }

    /// Returns the number of peers with each status.
    #[must_use]
    pub fn status_counts(&self) -> StatusCounts {
        self.read(Tower::status_counts, |_| StatusCounts::default())
    }

    /// Returns the records of the peers for [`restore`](Self::restore) at the next start. See
    /// [`Tower::snapshot`].
    #[must_use]
    pub fn snapshot(&self) -> Vec<PeerRecord> {
        self.read(|tower| tower.snapshot().collect(), |last| last.peers.clone())
    }

    /// Returns the address at which peers dial the tower.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.shared.fixed.address
    }

    /// Returns the local address of the listener.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.shared.fixed.local_addr
    }

    /// Returns the fingerprint of the tower's key, or `None` without TLS.
    #[must_use]
    pub fn identity(&self) -> Option<Fingerprint> {
        self.shared.fixed.identity
    }

    /// Returns the configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.shared.fixed.config
    }

    /// Returns the time of the tower's clock, which [`Peer::since`] refers to.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.shared.now()
    }

    /// Calls a method that changes the tower, and wakes the driver. Returns the argument after the
    /// end of the driver.
    fn change<A, R>(
        &self,
        argument: A,
        method: impl FnOnce(&mut Tower, A, Instant) -> R,
    ) -> Result<R, A> {
        let result = match &mut *self.shared.lock() {
            State::Running { machine, .. } => {
                Ok(method(machine.tower_mut(), argument, self.shared.now()))
            }
            State::Ended(_) => Err(argument),
        };
        self.wake();
        result
    }

    fn change_peer(
        &self,
        method: impl FnOnce(&mut Tower, Instant) -> Result<PeerId, ExpandError>,
    ) -> Result<(), ExpandError> {
        let result = self.change((), |tower, (), now| method(tower, now));
        result.unwrap_or(Err(ExpandError::ShuttingDown)).map(|_| ())
    }

    fn read<R>(
        &self,
        getter: impl FnOnce(&Tower) -> R,
        after_end: impl FnOnce(&FinalState) -> R,
    ) -> R {
        match &*self.shared.lock() {
            State::Running { machine, .. } => getter(machine.tower()),
            State::Ended(last) => after_end(last),
        }
    }
}

fn refused(message: Message) -> RefusedMessage {
    RefusedMessage { message, reason: EnqueueError::ShuttingDown }
}

/// A message whose delivery is awaited.
struct PendingDelivery<M> {
    shared: Arc<Shared<M>>,
    nonce: Nonce,
}

impl<M: StateMachine> PendingDelivery<M> {
    /// Returns the delivery if the message was delivered, or `Some(None)` if it won't be.
    fn check(&self) -> Option<Option<Delivery>> {
        // Check the end first. A delivery may arrive between the two checks, but not after the end.
        let is_over = matches!(&*self.shared.lock(), State::Ended(_));
        let deliveries = lock(&self.shared.deliveries);
        let pending = deliveries.pending.get(&self.nonce);
        let delivery = pending.and_then(|it| it.delivery.clone());
        let is_over = is_over || pending.is_some_and(|it| it.has_expired);
        (delivery.is_some() || is_over).then_some(delivery)
    }
}

impl<M> Drop for PendingDelivery<M> {
    fn drop(&mut self) {
        lock(&self.shared.deliveries).pending.remove(&self.nonce);
    }
}
