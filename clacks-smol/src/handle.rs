//! The application's way to a tower.

use clacks_proto::{
    Address, EnqueueError, ExpandError, Fingerprint, Held, Message, Nonce, PeerId, PeerView,
    RefusedMessage, StateMachine, Stats, Status, Tower,
};
use smol::channel::Receiver;
use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::notices::Notices;
use crate::shared::Shared;

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
    tower: Arc<dyn Verbs>,
    over: Receiver<Infallible>,
}

/// What a tower knows of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Peer {
    /// Where it is reached.
    pub address: Address,
    /// What the tower thinks of it.
    pub status: Status,
    /// For how long.
    pub since: Duration,
    /// The key pinned for its address.
    pub fingerprint: Option<Fingerprint>,
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
        self.tower.enqueue(message)
    }

    /// All messages that the tower holds, as they are now. A long list for a full queue: one entry each, whose body is shared.
    pub async fn peek(&self) -> Vec<Held> {
        self.tower.peek()
    }

    /// All peers that the tower knows, as they are now.
    pub async fn survey(&self) -> Vec<Peer> {
        self.tower.survey()
    }

    /// Adds a peer to the tower's table.
    ///
    /// # Errors
    ///
    /// Says why it was not added; nothing was changed.
    pub async fn expand(&self, address: &Address) -> Result<(), ExpandError> {
        self.tower.expand(address)
    }

    /// Adds a peer to the tower's table, and tells it of this tower. [`Report::Announced`](clacks_proto::Report::Announced) says when it knows.
    ///
    /// # Errors
    ///
    /// Says why it was not added; nothing was changed and nobody is told.
    pub async fn announce(&self, address: &Address) -> Result<(), ExpandError> {
        self.tower.announce(address)
    }

    /// Has nothing to do with a peer any more.
    ///
    /// # Errors
    ///
    /// Says why not; nothing was changed.
    pub async fn ignore(&self, address: &Address) -> Result<(), ExpandError> {
        self.tower.ignore(address)
    }

    /// Undoes [`ignore`](Self::ignore). `false` when the peer was not ignored, or the driver is gone.
    pub async fn heed(&self, address: &Address) -> bool {
        self.tower.heed(address)
    }

    /// What the tower has counted since it was made.
    pub async fn stats(&self) -> Stats {
        self.tower.stats()
    }

    /// How many messages the tower holds, and the bytes of their bodies.
    pub async fn held(&self) -> (usize, usize) {
        self.tower.held()
    }

    /// Hands the queue to peers, closes all links and stops the tower. Resolves when the driver is gone, with the number of messages
    /// that no peer took and that are lost with the tower.
    ///
    /// Needs a driver that runs, or that is dropped some day. Dropping this future does not take the order back.
    pub async fn shutdown(&self) -> usize {
        self.tower.shutdown();
        // Nothing is ever sent: this waits for the other half to be dropped.
        let _ = self.over.recv().await;
        self.tower.left()
    }

    /// What happens from now on, as a stream of its own for each caller.
    #[must_use]
    pub fn notices(&self) -> Notices {
        self.tower.notices()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("local_addr", &self.local_addr()).finish_non_exhaustive()
    }
}

/// A tower whose machine's type is forgotten.
trait Verbs: Send + Sync {
    fn local_addr(&self) -> SocketAddr;
    fn enqueue(&self, message: Message) -> Result<Nonce, RefusedMessage>;
    fn peek(&self) -> Vec<Held>;
    fn survey(&self) -> Vec<Peer>;
    fn expand(&self, address: &Address) -> Result<(), ExpandError>;
    fn announce(&self, address: &Address) -> Result<(), ExpandError>;
    fn ignore(&self, address: &Address) -> Result<(), ExpandError>;
    fn heed(&self, address: &Address) -> bool;
    fn stats(&self) -> Stats;
    fn held(&self) -> (usize, usize);
    fn shutdown(&self);
    fn left(&self) -> usize;
    fn notices(&self) -> Notices;
}

impl<M: StateMachine + Send> Verbs for Shared<M> {
    fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    fn enqueue(&self, message: Message) -> Result<Nonce, RefusedMessage> {
        self.command(message, Tower::enqueue).unwrap_or_else(|message| {
            Err(RefusedMessage { message, why: EnqueueError::ShuttingDown })
        })
    }

    fn peek(&self) -> Vec<Held> {
        self.view(|tower| tower.peek().collect(), |_| Vec::new())
    }

    fn survey(&self) -> Vec<Peer> {
        let now = self.now();
        let peer = |peer: PeerView<'_>| Peer {
            address: peer.address.clone(),
            status: peer.status,
            since: now.duration_since(peer.since),
            fingerprint: peer.fingerprint,
        };
        self.view(|tower| tower.survey().map(peer).collect(), |_| Vec::new())
    }

    fn expand(&self, address: &Address) -> Result<(), ExpandError> {
        known(self.command(address, Tower::expand))
    }

    fn announce(&self, address: &Address) -> Result<(), ExpandError> {
        known(self.command(address, Tower::announce))
    }

    fn ignore(&self, address: &Address) -> Result<(), ExpandError> {
        known(self.command(address, Tower::ignore))
    }

    fn heed(&self, address: &Address) -> bool {
        self.command(address, Tower::heed).unwrap_or(false)
    }

    fn stats(&self) -> Stats {
        self.view(|tower| *tower.stats(), |remains| remains.stats)
    }

    fn held(&self) -> (usize, usize) {
        self.view(Tower::held, |remains| remains.held)
    }

    fn shutdown(&self) {
        // A tower that is gone has shut down.
        let _ = self.command((), |tower, (), now| tower.shutdown(now));
    }

    fn left(&self) -> usize {
        self.view(|tower| tower.held().0, |remains| remains.left)
    }

    fn notices(&self) -> Notices {
        self.board.subscribe()
    }
}

/// The answer of a verb about a peer; the application has no use for the peer's id.
fn known(answer: Result<Result<PeerId, ExpandError>, &Address>) -> Result<(), ExpandError> {
    answer.unwrap_or(Err(ExpandError::ShuttingDown)).map(|_| ())
}
