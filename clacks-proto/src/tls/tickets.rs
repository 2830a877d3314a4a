//! Tickets for resuming sessions with towers that were dialled before.

use core::fmt;

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;

/// The newest ticket of each of the peers that were dialled last. A ticket is used once, so that an
/// eavesdropper cannot recognise two links of one tower by a shared ticket (RFC 8446 §C.4).
///
/// One ticket per peer suffices, because a tower has at most one outbound link to a peer that
/// speaks the native dialect. The queue is searched linearly and is no map: it is searched once in
/// a handshake, which costs about a hundred times as much as the search.
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
        f.debug_struct("Tickets").field("len", &self.lock().len()).finish_non_exhaustive()
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

    // All towers prefer the same key exchange group, so a hint is of no use.
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    // TLS 1.2 is not supported.
    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}
}
