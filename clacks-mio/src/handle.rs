//! The application's way to a tower.

use clacks_proto::driver::Verbs;
use clacks_proto::{
    Address, ExpandError, Held, Instant, Message, Nonce, Peer, RefusedMessage, Stats,
};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::desk::Desk;
use crate::notices::Notices;

/// The application's way to a tower that a [`Reactor`](crate::Reactor) runs, from any thread. Clones are the same tower.
///
/// Getters: [`local_addr`](Self::local_addr), [`peek`](Self::peek), [`survey`](Self::survey), [`stats`](Self::stats), [`held`](Self::held), [`notices`](Self::notices).
/// Verbs: [`enqueue`](Self::enqueue), [`expand`](Self::expand), [`announce`](Self::announce), [`ignore`](Self::ignore), [`heed`](Self::heed),
/// [`shutdown`](Self::shutdown), and [`wake`](Self::wake), which is for the reactor and not for the tower.
///
/// Only `shutdown` waits, and has a form that does not: [`try_shutdown`](Self::try_shutdown). The others take the tower's lock for a moment and
/// answer, on the reactor's own thread as on any other. Dropping the last handle does not stop the tower. When the reactor is gone, verbs refuse
/// as in a shutdown, and getters answer for a tower with neither messages nor peers, except for [`stats`](Self::stats) and [`held`](Self::held),
/// which stay as they were at the end.
#[derive(Clone)]
pub struct Handle {
    tower: Arc<dyn Verbs>,
    desk: Arc<Desk>,
}

impl Handle {
    pub(crate) fn new(tower: Arc<dyn Verbs>, desk: Arc<Desk>) -> Self {
        Self { tower, desk }
    }

    /// Where the tower listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.desk.local_addr
    }

    /// What happens from now on, for each caller anew.
    #[must_use]
    pub fn notices(&self) -> Notices {
        self.desk.board.subscribe()
    }

    /// All messages that the tower holds, as they are now. A long list for a full queue: one entry each, whose body is shared.
    #[must_use]
    pub fn peek(&self) -> Vec<Held> {
        self.tower.peek()
    }

    /// All peers that the tower knows, as they are now.
    #[must_use]
    pub fn survey(&self) -> Vec<Peer> {
        self.tower.survey(self.desk.now())
    }

    /// What the tower has counted since it was made.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.tower.stats()
    }

    /// How many messages the tower holds, and the bytes of their bodies.
    #[must_use]
    pub fn held(&self) -> (usize, usize) {
        self.tower.held()
    }

    /// Puts a message into the queue, for the network.
    ///
    /// # Errors
    ///
    /// Gives the message back and says why; nothing was changed.
    pub fn enqueue(&self, message: Message) -> Result<Nonce, RefusedMessage> {
        self.change(|tower, now| tower.enqueue(message, now))
    }

    /// Adds a peer to the tower's table.
    ///
    /// # Errors
    ///
    /// Says why it was not added; nothing was changed.
    pub fn expand(&self, address: &Address) -> Result<(), ExpandError> {
        self.change(|tower, now| tower.expand(address, now))
    }

    /// Adds a peer to the tower's table, and tells it of this tower. [`Report::Announced`](clacks_proto::Report::Announced) says when it knows.
    ///
    /// # Errors
    ///
    /// Says why it was not added; nothing was changed and nobody is told.
    pub fn announce(&self, address: &Address) -> Result<(), ExpandError> {
        self.change(|tower, now| tower.announce(address, now))
    }

    /// Has nothing to do with a peer any more.
    ///
    /// # Errors
    ///
    /// Says why not; nothing was changed.
    pub fn ignore(&self, address: &Address) -> Result<(), ExpandError> {
        self.change(|tower, now| tower.ignore(address, now))
    }

    /// Undoes [`ignore`](Self::ignore). `false` when the peer was not ignored, or the reactor is gone.
    pub fn heed(&self, address: &Address) -> bool {
        self.change(|tower, now| tower.heed(address, now))
    }

    /// Hands the queue to peers, closes all links and stops the tower. Comes back when the reactor is done or gone, with the number of
    /// messages that no peer took and that are lost with the tower.
    ///
    /// Waits for the reactor: for ever when nobody turns it, and so never to be called on the thread that does.
    pub fn shutdown(&self) -> usize {
        self.ask_to_leave();
        self.desk.wait_for_the_end();
        self.tower.left()
    }

    /// Asks for the same and does not wait: `None` until the reactor is done or gone, then the number of messages that are lost. Ask as often as you like.
    pub fn try_shutdown(&self) -> Option<usize> {
        self.ask_to_leave();
        self.desk.is_over().then(|| self.tower.left())
    }

    fn ask_to_leave(&self) {
        if self.desk.begins_to_leave() {
            self.change(|tower, now| tower.shutdown(now));
        }
    }

    /// Has the reactor's current [`turn`](crate::Reactor::turn) come back soon, or else its next one. For a loop on another thread that is to look at something of its own.
    pub fn wake(&self) {
        self.desk.ring();
    }

    /// Calls a verb, and leaves what it asks for to the reactor.
    fn change<R>(&self, verb: impl FnOnce(&dyn Verbs, Instant) -> R) -> R {
        let answer = verb(&*self.tower, self.desk.now());
        self.desk.ring();
        answer
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("local_addr", &self.local_addr()).finish_non_exhaustive()
    }
}
