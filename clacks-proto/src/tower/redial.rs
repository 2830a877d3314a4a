//! Names with several addresses: if another tower answers at one of them, the next one is tried
//! before the peer is judged. Failures of this machine.

use alloc::boxed::Box;
use core::net::IpAddr;
use core::time::Duration;

use super::Tower;
use crate::address::Host;
use crate::error::{CloseReason, IoCause};
use crate::event::{Notice, Standing};
use crate::ids::{LinkId, PeerId};
use crate::link::{Route, Session};

/// The most addresses of a name that are tried after each other. Each one may take the time of a
/// handshake. The value is a guess.
const MAX_TRIED: usize = 4;

/// How often a failure of this machine is reported. The value is a guess.
const TROUBLE_INTERVAL: Duration = Duration::from_secs(60);

impl Tower {
    /// Notes to which address of a name a dial has led.
    pub(super) fn note_route(&mut self, id: LinkId, at: Option<IpAddr>) {
        let Some(link) = self.links.get_link_mut(id).filter(|_| at.is_some()) else { return };
        let session = link.session_mut();
        let peer = session.dialled().and_then(|peer| self.peers.get(peer));
        if peer.is_some_and(|peer| matches!(peer.address.host(), Host::Name(_))) {
            session.route.get_or_insert_default().at = at;
        }
    }

    /// Takes the route of a dial whose handshake failed, if another address of the name is to be
    /// tried.
    pub(super) fn take_route(
        &mut self,
        link: &mut Session,
        reason: CloseReason,
        is_unreached: bool,
    ) -> Option<Box<Route>> {
        let may_go_on = is_unreached && self.phase.hands_over() && is_of_other_side(reason);
        let mut route = link.route.take_if(|route| {
            may_go_on && route.at.is_some() && route.failed.len() + 1 < MAX_TRIED
        })?;
        route.failed.extend(route.at.take());
        route.reason = route.reason.or(Some(reason));
        Some(route)
    }

    /// Dials the other addresses of a name, unless another link leads to the peer.
    pub(super) fn redial(&mut self, peer: PeerId, route: Box<Route>) {
        let has_link = self.peers.get(peer).is_none_or(|peer| peer.link.is_some());
        if !has_link
            && !self.peers.is_ignored(peer)
            && let Some(id) = self.dial_except(peer, route.failed.clone())
            && let Some(link) = self.links.get_link_mut(id)
        {
            link.session_mut().route = Some(route);
        }
    }

    /// Returns how well this tower knows a peer.
    pub(super) fn standing(&self, peer: PeerId) -> Standing {
        match self.peers.get(peer) {
            Some(peer) if peer.is_named || peer.was_alive => Standing::Known,
            _ => Standing::Stranger,
        }
    }

    /// Counts a failure of this machine, and reports it unless it was reported lately.
    #[cold]
    pub(super) fn on_local_failure(&mut self, cause: IoCause) {
        self.stats.local_failures += 1;
        if self.now >= self.next_local_trouble {
            self.next_local_trouble = self.now + TROUBLE_INTERVAL;
            self.notify(Notice::LocalTrouble { cause });
        }
    }
}

/// Returns whether the other side of a dialled link is the reason for its end.
fn is_of_other_side(reason: CloseReason) -> bool {
    match reason {
        CloseReason::Idle
        | CloseReason::Shutdown
        | CloseReason::Evicted
        | CloseReason::Ignored
        | CloseReason::OwnAddress
        | CloseReason::ConnectTimeout => false,
        CloseReason::Io(cause) => !cause.is_local(),
        _ => true,
    }
}
