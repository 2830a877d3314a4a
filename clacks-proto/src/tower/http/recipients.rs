//! Who may get which message, and on which link.

use super::{LINKS_TO_ONE, ONE};
use crate::http;
use crate::ids::{LinkId, MessageKey, PeerId};
use crate::link::{Cargo, Direction, Link, State};
use crate::tower::Tower;
use crate::tower::send::REDRAWS;
use crate::wire::Attempt;

impl Tower {
    /// Whether a peer may get a message: not when it speaks HTTP and would garble it, or has lately refused to understand it.
    fn is_suitable(&self, peer: PeerId, key: MessageKey) -> bool {
        let (Some(state), true) = (&self.http, self.speaks_http(peer)) else { return true };
        let fits = self
            .queue
            .get(key)
            .is_some_and(|(_, kind, body)| http::suits(kind, body, &self.address));
        fits && !state.has_rejected(peer, key, self.now)
    }

    /// A peer that may get a message: the one drawn first, or another one. One that is not proved yet is tried without a message, else a
    /// new one would come first for ever.
    pub(in crate::tower) fn draw_suitable(
        &mut self,
        first: PeerId,
        key: MessageKey,
    ) -> Option<PeerId> {
        if self.http.is_none() {
            return Some(first);
        }
        let mut peer = first;
        for _ in 0..REDRAWS {
            if self.is_suitable(peer, key) {
                return Some(peer);
            }
            if !self.peers.is_alive(peer) {
                self.assign(peer, Cargo::Announce);
            }
            peer = self.draw()?;
        }
        self.is_suitable(peer, key).then_some(peer)
    }

    /// Takes back what was meant for a link before it was known to speak HTTP, and would be garbled there.
    pub(super) fn return_unsuitable(&mut self, id: LinkId, peer: PeerId) {
        let Some(link) = self.links.get_mut(id) else { return };
        for transfer in link.transfers.take_unsent() {
            let fits = transfer.message().is_none_or(|key| self.is_suitable(peer, key));
            match self.links.get_mut(id).filter(|_| fits) {
                Some(link) => link.transfers.push(transfer),
                None => self.take_back(Some(peer), transfer, transfer.attempt == Attempt::Retry),
            }
        }
    }

    /// Before it is known otherwise, a link to a peer that spoke HTTP gets one message.
    pub(in crate::tower) fn narrow_window(&mut self, id: LinkId, peer: PeerId) {
        if self.speaks_http(peer)
            && let Some(link) = self.links.get_mut(id)
        {
            link.granted = ONE;
        }
    }

    /// A link to a peer that speaks HTTP which has nothing unconfirmed; a new one as long as there are not too many.
    pub(in crate::tower) fn http_link_to(&mut self, peer: PeerId) -> Option<LinkId> {
        let standing = self.peers.get(peer)?.link;
        let standing = standing.filter(|link| self.links.live(*link).is_some());
        if let Some(id) = standing
            && self.links.get(id).is_some_and(|link| !link.is_full())
        {
            return Some(id);
        }
        let (count, vacant) = self.links_of(peer);
        if let Some(id) = vacant {
            self.peers.change(peer, |peer| peer.link = Some(id));
            return Some(id);
        }
        let more = if count < LINKS_TO_ONE { self.dial(peer) } else { None };
        more.or(standing)
    }

    /// Whether a peer whose present link is full has another one, or may get one.
    pub(in crate::tower) fn has_other_links(&self, peer: PeerId) -> bool {
        self.speaks_http(peer) && {
            let (count, vacant) = self.links_of(peer);
            vacant.is_some() || count < LINKS_TO_ONE && self.links.free() > 0
        }
    }

    /// Whether a link to a peer that speaks HTTP has all that it may have. Messages that wait on it could be handed to somebody else meanwhile.
    pub(in crate::tower) fn is_taken_up(&self, id: LinkId, peer: PeerId) -> bool {
        self.speaks_http(peer) && self.links.get(id).is_some_and(Link::is_full)
    }

    /// How many dialled links a peer has, and one of them that is not full. A walk over all links, for each message to a peer that speaks HTTP: by default
    /// there are at most 256, and the request that follows takes much longer.
    fn links_of(&self, peer: PeerId) -> (usize, Option<LinkId>) {
        let is_its = |link: &Link| {
            let is_in_use = !matches!(link.state, State::Closing | State::Parting(_));
            link.peer == Some(peer) && link.direction == Direction::Outbound && is_in_use
        };
        let mut all = self.links.iter().filter(|(_, link)| is_its(link));
        let mut count = 0;
        let vacant = all.by_ref().inspect(|_| count += 1).find(|(_, link)| !link.is_full());
        let vacant = vacant.map(|(id, _)| id);
        (count + all.count(), vacant)
    }
}
