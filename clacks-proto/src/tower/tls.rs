//! The interface between a tower and the TLS layer around it.

use super::Tower;
use crate::error::CloseReason;
#[cfg(feature = "tls")]
use crate::error::TlsFailure;
#[cfg(feature = "tls")]
use crate::event::Action;
use crate::event::{CloseMode, Dialect, Notice};
#[cfg(feature = "tls")]
use crate::ids::PeerId;
use crate::ids::{Fingerprint, LinkId};
use crate::link::Doubt;

/// What a TLS handshake has agreed on and proved.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TlsHandshake {
    pub(crate) dialect: Dialect,
    /// The key that the other side has proved. The native dialect always has one.
    pub(crate) identity: Option<Fingerprint>,
    pub(crate) resumed: bool,
}

impl Tower {
    /// Sets the key that this tower proves, and whether HTTP is spoken beside the native dialect.
    /// Only before there are links.
    pub(crate) fn set_tls(&mut self, identity: Fingerprint, speaks_http: bool) {
        self.local.identity = Some(alloc::boxed::Box::new(identity));
        self.local.speaks_http = speaks_http;
    }

    /// Handles what a TLS handshake has agreed on and proved, before the first plaintext.
    pub(crate) fn handle_tls_handshake(&mut self, id: LinkId, handshake: TlsHandshake) {
        let TlsHandshake { dialect, identity, resumed } = handshake;
        let stats = &mut self.stats;
        *if resumed { &mut stats.handshakes_resumed } else { &mut stats.handshakes_full } += 1;
        let Some(link) = self.links.get(id).filter(|link| link.is_live()) else { return };
        let dialled = link.dialled().and_then(|peer| Some((peer, self.peers.get(peer)?)));
        let own = identity.is_some() && identity.as_ref() == self.local.identity.as_deref();
        let changed = dialled.filter(|(peer, _)| {
            !own && self.peers.pin(*peer).is_some_and(|pin| Some(*pin) != identity)
        });
        if let Some((_, record)) = changed {
            let address = record.address.clone();
            self.notify(Notice::KeyChanged { peer: address, seen: identity });
            if dialect == Dialect::Native
                && let Some(link) = self.links.get_link_mut(id)
            {
                link.session_mut().refuse_key();
            }
            self.close(id, CloseReason::KeyChanged, Doubt::NotTaken, CloseMode::Flush);
        } else {
            self.with_link(id, |link, local, now| {
                link.handle_tls_handshake(dialect, identity, local, now)
            });
        }
        self.advance();
    }
}

#[cfg(feature = "tls")]
impl Tower {
    /// Returns the peer that a link dials.
    pub(crate) fn dialled_peer(&self, link: LinkId) -> Option<PeerId> {
        self.links.get(link)?.dialled()
    }

    /// Asks the driver to send on a link, whether the link itself has something to send or not.
    pub(crate) fn request_send(&mut self, id: LinkId) {
        if let Some(link) = self.links.get_link_mut(id)
            && !core::mem::replace(&mut link.session_mut().send_queued, true)
        {
            self.actions.push(Action::Send { link: id });
        }
    }

    /// Closes a link because TLS failed. The alert is flushed.
    pub(crate) fn handle_tls_failure(&mut self, id: LinkId, failure: TlsFailure) {
        self.close(id, CloseReason::Tls(failure), Doubt::InDoubt, CloseMode::Flush);
        self.advance();
    }
}
