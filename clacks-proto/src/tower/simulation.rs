//! Internal: simulated keys, for `clacks-sim`. It may change at any time.

use core::num::NonZeroU32;

use super::{TlsHandshake, Tower};
use crate::event::Dialect;
use crate::ids::{Fingerprint, LinkId};
use crate::time::Instant;

impl Tower {
    /// Sets the key that this tower proves, as TLS does. Only before there are links.
    #[doc(hidden)]
    pub fn set_identity(&mut self, identity: Fingerprint) {
        self.set_tls(identity, self.local.speaks_http);
    }

    /// Starts to load what the next event needs into the cache: of the tower, and the slot of the
    /// link.
    #[doc(hidden)]
    pub fn prefetch(&self, link: Option<LinkId>) {
        self.queue.prefetch();
        self.actions.prefetch();
        match link {
            Some(link) => self.links.prefetch_slot(link),
            None => {
                self.selector.prefetch();
                self.peers.prefetch();
            }
        }
        self.friend_stream.prefetch();
    }

    /// Starts to load a link into the cache.
    #[doc(hidden)]
    pub fn prefetch_link(&self, link: LinkId) {
        self.links.prefetch_link(link);
    }

    /// Starts to load what a link points to into the cache.
    #[doc(hidden)]
    pub fn prefetch_buffers(&self, link: LinkId) {
        let Some(session) = self.links.get(link) else { return };
        session.prefetch();
        if let Some(peer) = session.peer {
            self.peers.prefetch_peer(peer);
        }
    }

    /// Has the effect of a completed TLS handshake: the native dialect is agreed on, and the other
    /// side of the link has proved `identity`. Only before the first bytes of the link.
    #[doc(hidden)]
    pub fn identify(&mut self, link: LinkId, identity: Fingerprint, now: Instant) {
        self.set_now(now);
        let (dialect, identity) = (Dialect::Native, Some(identity));
        self.handle_tls_handshake(link, TlsHandshake { dialect, identity, resumed: false });
    }
}

impl LinkId {
    /// Returns the id of a link that belongs to no tower.
    #[doc(hidden)]
    #[must_use]
    pub fn simulated(index: u32, number: NonZeroU32) -> Self {
        Self { index, epoch: number.into() }
    }
}
