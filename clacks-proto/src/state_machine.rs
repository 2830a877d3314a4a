//! The interface between a protocol and its driver.

use bytes::BufMut;
use core::net::IpAddr;

use crate::error::Refusal;
use crate::event::{Action, Event, Wakeup};
use crate::ids::LinkId;
use crate::time::Instant;
use crate::tower::Tower;

/// A protocol as a pure state machine: events in, actions out. [`Tower`] speaks in clear text,
/// `tls::SecureTower` speaks TLS. Drivers are generic over the two.
///
/// A driver calls [`accept`](Self::accept) and [`handle`](Self::handle) when something happened,
/// then [`poll_action`](Self::poll_action) until it returns `None`, then
/// [`transmit`](Self::transmit) for each link that can take bytes, and sleeps until
/// [`next_wakeup`](Self::next_wakeup). Several `handle` calls may come before a poll, and a driver
/// that stops polling early loses nothing.
pub trait StateMachine {
    /// Returns a link for an inbound connection. The new link is already connected. `from` is the
    /// address of the caller.
    ///
    /// # Errors
    ///
    /// No link was made. Drop the connection.
    fn accept(&mut self, from: IpAddr, now: Instant) -> Result<LinkId, Refusal>;

    /// Handles an event. Never fails: a peer that violates the protocol has its link closed.
    fn handle(&mut self, event: Event<'_>, now: Instant);

    /// Writes bytes for `link` into `out`, as many as fit ([`BufMut::limit`] bounds a growing
    /// buffer), and returns their number. After 0, wait for the next [`Action::Send`], unless the
    /// buffer had no room.
    fn transmit(&mut self, link: LinkId, out: &mut impl BufMut) -> usize;

    /// Returns the next action, the oldest first.
    fn poll_action(&mut self) -> Option<Action>;

    /// Returns when to call `handle` with [`Event::TimerFired`]. Ask again after every call. It is
    /// now while actions wait.
    fn next_wakeup(&self) -> Option<Wakeup>;

    /// Returns the tower inside, for its getters.
    fn tower(&self) -> &Tower;

    /// Returns the tower inside, for the application's verbs.
    fn tower_mut(&mut self) -> &mut Tower;
}
