//! The interface between a tower and its driver.

use bytes::BufMut;
use core::net::IpAddr;

use crate::error::Refusal;
use crate::event::{Action, Event, Wakeup};
use crate::ids::LinkId;
use crate::time::Instant;
use crate::tower::Tower;

/// A tower as a pure state machine: events in, actions out. [`Tower`] uses clear text,
/// `tls::SecureTower` uses TLS. Drivers are generic over the two.
///
/// A driver calls [`accept`](Self::accept) and [`handle`](Self::handle) when something happened.
/// Then it calls [`poll_action`](Self::poll_action) until it returns `None`, and
/// [`transmit`](Self::transmit) for each link that can take bytes. Then it sleeps until
/// [`next_wakeup`](Self::next_wakeup). A driver may call `handle` several times before it polls. A
/// driver that stops polling early loses no actions.
pub trait StateMachine {
    /// Returns a link for an inbound connection from `from`. The new link is already connected.
    ///
    /// # Errors
    ///
    /// Returns the reason if no link was created. The driver must drop the connection.
    fn accept(&mut self, from: IpAddr, now: Instant) -> Result<LinkId, Refusal>;

    /// Handles an event. If a peer violates the protocol, its link is closed.
    fn handle(&mut self, event: Event<'_>, now: Instant);

    /// Writes bytes of `link` to `out`, as many as fit, and returns their number. [`BufMut::limit`]
    /// bounds a growing buffer. If it returns 0 although `out` has room, call it again after the
    /// next [`Action::Send`].
    fn transmit(&mut self, link: LinkId, out: &mut impl BufMut) -> usize;

    /// Returns the oldest queued action.
    fn poll_action(&mut self) -> Option<Action>;

    /// Returns when to call `handle` with [`Event::TimerFired`]. Every other call may change the
    /// result. It is now while actions are queued.
    fn next_wakeup(&self) -> Option<Wakeup>;

    /// Returns the inner tower, for its getters.
    fn tower(&self) -> &Tower;

    /// Returns the inner tower, for the methods of applications.
    fn tower_mut(&mut self) -> &mut Tower;
}
