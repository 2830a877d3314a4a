//! Tickets for resuming sessions with towers that were dialled before.

use core::fmt;

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;

/// The newest ticket of each of the last peers dialled. A ticket is used once, so that nobody on
/// the way can tell by it that two links are of one tower.
///
/// One ticket a peer is enough: a tower has at most one outbound link to it. A queue that is
/// searched from its front beats a map here: it is walked once a handshake, and a handshake costs a
/// hundred times the walk.
pub(super) struct Tickets {
    newest_last: Mutex<VecDeque<(ServerName<'static>, Tls13ClientSessionValue)>>,
    capacity: usize,
}

impl Tickets {
    pub(super) fn new(capacity: usize) -> Self {
        Self { newest_last: Mutex::new(VecDeque::new()), capacity }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(ServerName<'static>, Tls13ClientSessionValue)>> {
        self.newest_last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").field("held", &self.lock().len()).finish_non_exhaustive()
    }
}

impl ClientSessionStore for Tickets {
    fn insert_tls13_ticket(&self, peer: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        let mut tickets = self.lock();
        tickets.retain(|(other, _)| *other != peer);
        if tickets.len() >= self.capacity {
            tickets.pop_front();
        }
        tickets.push_back((peer, ticket));
    }

    fn take_tls13_ticket(&self, peer: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        let mut tickets = self.lock();
        let index = tickets.iter().position(|(other, _)| other == peer)?;
        tickets.remove(index).map(|(_, ticket)| ticket)
    }

    // All towers prefer the same group for the exchange of keys: there is nothing to learn.
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    // TLS 1.2 is not spoken.
    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}
}
