//! How peers stand: learned, proved alive, failed, resting, ignored, merged, forgotten.

use alloc::vec::Vec;
use core::time::Duration;

use super::Tower;
use super::links::Unanswered;
use crate::address::Address;
use crate::event::{CloseMode, CloseReason, LinkId, Notice, PeerId, Status};
use crate::link::State;
use crate::peers::TableFull;
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
        let bucket = match source {
            Source::Friend => &mut self.friends,
            Source::Stranger => &mut self.strangers,
        };
        let learned = bucket.take(self.now).then(|| self.add_peer(address, Status::New));
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
    pub(super) fn on_success(&mut self, peer: PeerId) {
        let Some(standing) = self.peers.get(peer) else { return };
        if standing.status == Status::Alive && !standing.is_resting || standing.is_ignored() {
            return;
        }
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
        self.backoffs.clear(peer.index);
        self.peers.change(peer, |peer| {
            peer.is_resting = false;
            peer.announce_due = false;
        });
        // Rare: only the application, or a tower that turns out to be ours or known, brings us here.
        for link in self.links_of(peer) {
            if let Some(open) = self.links.live_mut(link).filter(|link| link.state == State::Open) {
                open.farewell_due = Some(Farewell::Ignored);
            }
            self.end(link, CloseReason::Ignored, Unanswered::InDoubt, Some(CloseMode::Flush));
        }
    }

    /// Listens to an ignored peer again, also on links that it has opened meanwhile.
    pub(super) fn heed_peer(&mut self, peer: PeerId) {
        self.set_status(peer, Status::New);
        for link in self.links_of(peer) {
            if let Some(link) = self.links.live_mut(link) {
                link.is_ignored = false;
            }
        }
    }

    /// Two addresses turned out to be one tower: `kept` takes over from `alias`.
    pub(super) fn merge(&mut self, alias: PeerId, kept: PeerId) {
        let Some(standing) = self.peers.get(alias) else { return };
        let (load, link, due) = (standing.load, standing.link, standing.announce_due);
        for id in self.links_of(alias) {
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

    fn links_of(&self, peer: PeerId) -> Vec<LinkId> {
        let links = self.links.iter().filter(|(_, link)| link.peer == Some(peer));
        links.map(|(id, _)| id).collect()
    }

    /// Notes whether a peer's window has room.
    pub(super) fn refresh_window(&mut self, peer: PeerId) {
        let link = self.peers.get(peer).and_then(|peer| peer.link);
        let is_full =
            link.and_then(|link| self.links.get(link)).is_some_and(crate::link::Link::is_full);
        self.peers.change(peer, |peer| peer.is_full = is_full);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Window};
    use crate::event::{Event, Fingerprint};
    use crate::machine::StateMachine;
    use crate::seed::Seed;
    use crate::time::Instant;
    use crate::wire::{Frame, Hello, VERSION};
    use core::net::{IpAddr, Ipv4Addr};

    #[test]
    fn a_claim_that_is_not_proved_makes_nobody_lost() {
        let address = |port| Address::new("127.0.0.1", port).unwrap();
        let now = Instant::ORIGIN;
        for (key, status) in [(None, Status::Lost), (Some(Fingerprint([9; 32])), Status::New)] {
            let mut tower =
                Tower::new(Config::default(), address(8_000), &Seed::from_u64(1)).unwrap();
            let peer = tower.expand(&address(8_001), now).unwrap();
            let link = tower.accept(IpAddr::V4(Ipv4Addr::LOCALHOST), now).unwrap();
            key.into_iter().for_each(|key| tower.identify(link, key));
            let hello = Hello {
                version: VERSION,
                incarnation: 7,
                max_message: 1_000,
                window: Window { messages: 1, bytes: 1 },
                network: "clacks",
                address: Some(address(8_001)),
            };
            let mut bytes = Vec::new();
            Frame::Hello(hello).encode(&mut bytes);
            Frame::Goodbye { farewell: Farewell::Ignored }.encode(&mut bytes);
            tower.handle(Event::BytesArrived { link, bytes: &bytes }, now);
            // Without keys a claim is believed.
            assert_eq!(tower.peer(peer).unwrap().status, status);
        }
    }
}
