//! What every runtime drives.

use bytes::BufMut;
use core::net::IpAddr;

use crate::event::{Action, Event, Wakeup};
use crate::ids::LinkId;
use crate::reason::Refusal;
use crate::time::Instant;
use crate::tower::Tower;

/// A protocol as a pure state machine: events in, actions out. [`Tower`] is one in clear text, `tls::SecureTower` is the same
/// with ciphertext on the outside; drivers are generic over which.
///
/// A driver calls [`accept`](Self::accept) and [`handle`](Self::handle) when something happened, then
/// [`poll_action`](Self::poll_action) until there are no more, [`transmit`](Self::transmit) for each link that can take bytes, and sleeps until
/// [`next_wakeup`](Self::next_wakeup). There is no rule about draining: several `handle` calls may come before a poll, and a driver that stops polling early loses nothing.
pub trait StateMachine {
    /// Asks for a link for an inbound connection, before anything is spent on it. The new link is already connected.
    /// Where it comes `from` decides nothing yet: links are bounded in all, not for each address.
    ///
    /// # Errors
    ///
    /// Drop the connection; no link was made.
    fn accept(&mut self, from: IpAddr, now: Instant) -> Result<LinkId, Refusal>;

    /// Takes in what happened. Never fails: what a peer does wrong closes its link.
    fn handle(&mut self, event: Event<'_>, now: Instant);

    /// Writes bytes for `link` straight into the driver's buffer, as many as there are and as fit
    /// ([`BufMut::limit`] bounds a growing buffer), and returns how many. After 0, wait for the next [`Action::Send`] — unless the buffer had no room.
    fn transmit(&mut self, link: LinkId, out: &mut impl BufMut) -> usize;

    /// The next thing to do, oldest first.
    fn poll_action(&mut self) -> Option<Action>;

    /// When to call `handle` with [`Event::TimerFired`]. Ask again after every call. While actions wait, it is now.
    fn next_wakeup(&self) -> Option<Wakeup>;

    /// The tower inside: getters.
    fn tower(&self) -> &Tower;

    /// The tower inside: the application's verbs.
    fn tower_mut(&mut self) -> &mut Tower;
}
