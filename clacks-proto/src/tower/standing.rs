//! How peers stand: learned, proved alive, failed, resting, ignored, merged, forgotten.

use alloc::vec::Vec;
use core::time::Duration;

use super::Tower;
use super::links::Unanswered;
use crate::address::Address;
use crate::event::{CloseMode, Notice, Status};
use crate::ids::{LinkId, PeerId};
use crate::link::{Link, State};
use crate::peers::TableFull;
use crate::reason::CloseReason;
use crate::wire::Farewell;

/// Who told us an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// It came as the friend in a message or announce.
    Friend,
    /// A caller claimed it.
    Stranger,
}

impl Tower {
    /// The peer with an address that somebody told us; a new one if we may learn one now.
    pub(super) fn learn(&mut self, address: &Address, source: Source) -> Option<PeerId> {
        if *address == self.address {
            return None;
        }
        if let Some(known) = self.peers.find(address) {
            return Some(known);
        }
        let (bucket, allowance) = match source {
            Source::Friend => (&mut self.friends, self.config.friends),
            Source::Stranger => (&mut self.strangers, self.config.strangers),
        };
        let learned = bucket.take(allowance, self.now).then(|| self.add_peer(address, Status::New));
        if let Some(Ok(peer)) = learned {
            return Some(peer);
        }
        self.stats.towers_not_learned += 1;
        None
    }

    /// Adds a peer to the table, where the longest dead one makes room if need be.
    pub(super) fn add_peer(
        &mut self,
        address: &Address,
        status: Status,
    ) -> Result<PeerId, TableFull> {
        let (peer, forgotten) = self.peers.insert(address.clone(), status, self.now)?;
        if let Some(forgotten) = forgotten {
            self.backoffs.clear(forgotten.index);
            self.notify(Notice::TowerForgotten { peer: forgotten });
        }
        self.stats.towers_discovered += 1;
        self.notify(Notice::TowerDiscovered { peer });
        Ok(peer)
    }

    /// A transaction with a proved peer succeeded, in either direction.
    #[inline]
    pub(super) fn on_success(&mut self, peer: PeerId) {
        let Some(standing) = self.peers.get(peer) else { return };
        // An alive one that rests was busy: that it hands us something does not make room there.
        if standing.status != Status::Alive && !standing.is_ignored() {
            self.on_return(peer);
        }
    }

    /// A peer that was not alive is.
    #[cold]
    fn on_return(&mut self, peer: PeerId) {
        self.backoffs.clear(peer.index);
        self.peers.change(peer, |peer| peer.is_resting = false);
        self.set_status(peer, Status::Alive);
    }

    /// An attempt to reach a peer failed.
    pub(super) fn on_failure(&mut self, peer: PeerId) {
        let Some(standing) = self.peers.get(peer) else { return };
        let lost_for = self.now.duration_since(standing.since);
        match standing.status {
            Status::New | Status::Alive => self.set_status(peer, Status::Lost),
            Status::Lost if lost_for > self.config.kill_timeout => {
                self.set_status(peer, Status::Dead);
            }
            Status::Lost | Status::Dead => {}
            Status::Ignored => return,
        }
        self.rest(peer, self.config.probe_backoff);
    }

    /// Keeps a peer out of the draw for a while.
    pub(super) fn rest(&mut self, peer: PeerId, time: Duration) {
        if time.is_zero() || self.peers.get(peer).is_none() {
            return;
        }
        self.peers.change(peer, |peer| peer.is_resting = true);
        self.backoffs.set(peer.index, self.now + time);
    }

    pub(super) fn set_status(&mut self, peer: PeerId, to: Status) {
        let now = self.now;
        let before = self.peers.change(peer, |peer| {
            if peer.status != to {
                peer.status = to;
                peer.since = now;
            }
        });
        if let Some(from) = before.filter(|from| *from != to) {
            self.notify(Notice::StatusChanged { peer, from, to });
        }
    }

    /// Wants nothing to do with a peer any more: its links are closed, and what was on them comes back.
    pub(super) fn ignore_peer(&mut self, peer: PeerId) {
        self.set_status(peer, Status::Ignored);
        self.peers.change(peer, |peer| peer.is_alias = false);
        // Rare: only the application, or a tower that turns out to be ours or known, brings us here.
        let pin = self.peers.pin(peer);
        let is_its =
            |link: &Link| link.peer == Some(peer) || pin.is_some() && link.identity() == pin;
        for link in self.links_that(is_its) {
            if let Some(open) = self.links.live_mut(link).filter(|link| link.state == State::Open) {
                open.farewell_due = Some(Farewell::Ignored);
            }
            self.end(link, CloseReason::Ignored, Unanswered::InDoubt, Some(CloseMode::Flush));
        }
        // Nothing is due to it any more, what came back from its links included.
        self.backoffs.clear(peer.index);
        self.peers.change(peer, |peer| {
            peer.is_resting = false;
            peer.announce_due = false;
        });
    }

    /// An address turned out to be this tower's own or an ignored one's. It is remembered as long as there is room.
    pub(super) fn ignore_alias(&mut self, peer: PeerId) {
        self.ignore_peer(peer);
        self.peers.change(peer, |peer| peer.is_alias = true);
    }

    /// Two addresses turned out to be one tower: `kept` takes over from `alias`.
    pub(super) fn merge(&mut self, alias: PeerId, kept: PeerId) {
        // A call to the other address that is still on its way says nothing about the one that is kept.
        let is_on_its_way = |link: &Link| link.peer == Some(alias) && link.is_dialling();
        for id in self.links_that(is_on_its_way) {
            self.end(id, CloseReason::Evicted, Unanswered::NotTaken, Some(CloseMode::Abort));
        }
        let Some(standing) = self.peers.get(alias) else { return };
        let (load, link, due) = (standing.load, standing.link, standing.announce_due);
        for id in self.links_that(|link| link.peer == Some(alias)) {
            if let Some(link) = self.links.get_mut(id) {
                link.peer = Some(kept);
            }
        }
        self.backoffs.clear(alias.index);
        self.peers.remove(alias);
        self.peers.change(kept, |peer| {
            peer.load += load;
            peer.link = peer.link.or(link);
            peer.announce_due |= due;
        });
        self.refresh_window(kept);
        self.notify(Notice::TowerForgotten { peer: alias });
    }

    fn links_that(&self, test: impl Fn(&Link) -> bool) -> Vec<LinkId> {
        self.links.iter().filter(|(_, link)| test(link)).map(|(id, _)| id).collect()
    }

    /// Notes whether a peer's window has room.
    pub(super) fn refresh_window(&mut self, peer: PeerId) {
        let link = self.peers.get(peer).and_then(|peer| peer.link);
        let is_full = link.and_then(|link| self.links.get(link)).is_some_and(Link::is_full);
        #[cfg(feature = "http")]
        let is_full = is_full && !self.has_other_links(peer);
        self.peers.change(peer, |peer| peer.is_full = is_full);
    }
}

#[cfg(test)]
mod tests;
