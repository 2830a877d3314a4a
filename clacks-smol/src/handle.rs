//! The application's way to a tower.

use clacks_proto::driver::Verbs;
use clacks_proto::{
    Address, ExpandError, Held, Instant, Message, Nonce, Peer, RefusedMessage, StateMachine, Stats,
};
use smol::channel::Receiver;
use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::notices::Notices;
use crate::shared::{Desk, Shared};

/// The application's way to a tower that a [`Driver`](crate::Driver) runs. Clones are the same tower.
///
/// Getters: [`local_addr`](Self::local_addr), [`peek`](Self::peek), [`survey`](Self::survey), [`stats`](Self::stats), [`held`](Self::held), [`notices`](Self::notices).
/// Verbs: [`enqueue`](Self::enqueue), [`expand`](Self::expand), [`announce`](Self::announce), [`ignore`](Self::ignore), [`heed`](Self::heed), [`shutdown`](Self::shutdown).
///
/// Only `shutdown` waits for anything; the others take the tower's lock for a moment and answer. Dropping the last handle does not stop the tower. When
/// the driver is gone, verbs refuse as in a shutdown, and getters answer for a tower with neither messages nor peers, except
/// for [`stats`](Self::stats) and [`held`](Self::held), which stay as they were at the end.
#[derive(Clone)]
pub struct Handle {
    tower: Arc<dyn Driven>,
    over: Receiver<Infallible>,
}

impl Handle {
    pub(crate) fn new<M>(shared: Arc<Shared<M>>, over: Receiver<Infallible>) -> Self
    where
        M: StateMachine + Send + 'static,
    {
        Self { tower: shared, over }
    }

    /// Where the tower listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.tower.local_addr()
    }

    /// Puts a message into the queue, for the network.
    ///
    /// # Errors
    ///
    /// Gives the message back and says why; nothing was changed.
    pub async fn enqueue(&self, message: Message) -> Result<Nonce, RefusedMessage> {
        self.change(|tower, now| tower.enqueue(message, now))
    }

    /// All messages that the tower holds, as they are now. A long list for a full queue: one entry each, whose body is shared.
    pub async fn peek(&self) -> Vec<Held> {
        self.tower.verbs().peek()
    }

    /// All peers that the tower knows, as they are now.
    pub async fn survey(&self) -> Vec<Peer> {
        self.tower.verbs().survey(self.tower.now())
    }

    /// Adds a peer to the tower's table.
    ///
    /// # Errors
    ///
    /// Says why it was not added; nothing was changed.
    pub async fn expand(&self, address: &Address) -> Result<(), ExpandError> {
        self.change(|tower, now| tower.expand(address, now))
    }

    /// Adds a peer to the tower's table, and tells it of this tower. [`Report::Announced`](clacks_proto::Report::Announced) says when it knows.
    ///
    /// # Errors
    ///
    /// Says why it was not added; nothing was changed and nobody is told.
    pub async fn announce(&self, address: &Address) -> Result<(), ExpandError> {
        self.change(|tower, now| tower.announce(address, now))
    }

    /// Has nothing to do with a peer any more.
    ///
    /// # Errors
    ///
    /// Says why not; nothing was changed.
    pub async fn ignore(&self, address: &Address) -> Result<(), ExpandError> {
        self.change(|tower, now| tower.ignore(address, now))
    }

    /// Undoes [`ignore`](Self::ignore). `false` when the peer was not ignored, or the driver is gone.
    pub async fn heed(&self, address: &Address) -> bool {
        self.change(|tower, now| tower.heed(address, now))
    }

    /// What the tower has counted since it was made.
    pub async fn stats(&self) -> Stats {
        self.tower.verbs().stats()
    }

    /// How many messages the tower holds, and the bytes of their bodies.
    pub async fn held(&self) -> (usize, usize) {
        self.tower.verbs().held()
    }

    /// Hands the queue to peers, closes all links and stops the tower. Resolves when the driver is gone, with the number of messages
    /// that no peer took and that are lost with the tower.
    ///
    /// Needs a driver that runs, or that is dropped some day. Dropping this future does not take the order back.
    pub async fn shutdown(&self) -> usize {
        self.change(|tower, now| tower.shutdown(now));
        // Nothing is ever sent: this waits for the other half to be dropped.
        let _ = self.over.recv().await;
        self.tower.verbs().left()
    }

    /// What happens from now on, as a stream of its own for each caller.
    #[must_use]
    pub fn notices(&self) -> Notices {
        self.tower.notices()
    }

    /// Calls a verb, and leaves what it asks for to the driver.
    fn change<R>(&self, verb: impl FnOnce(&dyn Verbs, Instant) -> R) -> R {
        let answer = verb(self.tower.verbs(), self.tower.now());
        self.tower.ring();
        answer
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("local_addr", &self.local_addr()).finish_non_exhaustive()
    }
}

/// A tower whose machine's type is forgotten.
trait Driven: Send + Sync {
    fn verbs(&self) -> &dyn Verbs;
    fn now(&self) -> Instant;
    fn ring(&self);
    fn local_addr(&self) -> SocketAddr;
    fn notices(&self) -> Notices;
}

impl<M: StateMachine + Send> Driven for Shared<M> {
    fn verbs(&self) -> &dyn Verbs {
        &self.machine
    }

    fn now(&self) -> Instant {
        self.now()
    }

    fn ring(&self) {
        self.desk.change(Desk::ring);
    }

    fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    fn notices(&self) -> Notices {
        self.board.subscribe()
    }
}
