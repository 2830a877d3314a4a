//! The status of peers: successes, failures, ignoring and merging.

use super::Tower;
use super::peers::{Peer, TableFull};
use crate::address::Address;
use crate::error::{CloseReason, StatusReason};
use crate::event::{CloseMode, Notice, Status};
use crate::ids::{LinkId, PeerId};
use crate::link::{Doubt, Router, Session};
use crate::wire::Farewell;

/// Where an address comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The friend of a message or an announce.
    Friend,
    /// The claim of a caller.
    Stranger,
}

impl Tower {
    /// Adds a peer. If the table is full, another one is forgotten.
    pub(super) fn add_peer(
        &mut self,
        address: &Address,
        status: Status,
    ) -> Result<PeerId, TableFull> {
        let (id, forgotten) = self.peers.insert(address.clone(), status, self.now)?;
        if let Some((id, peer)) = forgotten {
            self.backoffs.clear(id.index);
            self.notify(Notice::TowerForgotten { peer: peer.address });
        }
        self.stats.towers_discovered += 1;
        self.notify(Notice::TowerDiscovered { peer: address.clone() });
        Ok(id)
    }

    /// A transaction with a proved peer succeeded, in either direction.
    #[inline]
    pub(super) fn on_success(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get(id) else { return };
        // An alive peer in back-off was busy. A message from it does not show that it has room now.
        if !peer.is_alive() && !peer.is_ignored() {
            self.on_return(id);
        }
    }

    /// Makes a peer alive that was not.
    #[cold]
    fn on_return(&mut self, id: PeerId) {
        let was_lost = |peer: &Peer| matches!(peer.status, Status::Lost | Status::Dead);
        self.returned += u32::from(self.peers.get(id).is_some_and(was_lost));
        self.end_backoff(id);
        self.peers.note_taken(id, self.now);
        self.set_status(id, Status::Alive, StatusReason::Success);
    }

    /// An attempt to reach a peer failed.
    pub(super) fn on_failure(&mut self, id: PeerId, reason: StatusReason) {
        let Some(peer) = self.peers.get(id) else { return };
        let lost_for = self.now.duration_since(peer.since);
        self.lost_to_replace += u32::from(peer.is_alive());
        let status = match peer.status {
            Status::New | Status::Alive => Status::Lost,
            Status::Lost if lost_for > self.local.config.kill_timeout => Status::Dead,
            status @ (Status::Lost | Status::Dead) => status,
            Status::Ignored => return,
        };
        self.peers.note_failure(id, Some(reason));
        let before = self.change_status(id, status);
        // Before the notice, which tells when the peer is tried again.
        self.back_off_after_failure(id);
        self.schedule_announce(id);
        self.notify_status(id, before, reason);
    }

    /// An attempt to reach a peer failed because this machine lacks something. The peer keeps its
    /// status, and is tried again unless it is ignored.
    pub(super) fn on_failure_here(&mut self, id: PeerId, reason: StatusReason) {
        if self.peers.is_ignored(id) {
            return;
        }
        self.peers.note_failure(id, Some(reason));
        self.back_off(id, self.local.config.probe_backoff);
        self.schedule_announce(id);
    }

    pub(super) fn set_status(&mut self, id: PeerId, to: Status, reason: StatusReason) {
        self.peers.note_failure(id, None);
        let before = self.change_status(id, to);
        self.notify_status(id, before, reason);
    }

    /// Changes the status of a peer, and returns the one before.
    fn change_status(&mut self, id: PeerId, to: Status) -> Option<Status> {
        let now = self.now;
        self.peers.update(id, |peer| {
            if peer.status != to {
                (peer.status, peer.since) = (to, now);
                peer.was_alive |= to == Status::Alive;
            }
        })
    }

    fn notify_status(&mut self, id: PeerId, before: Option<Status>, reason: StatusReason) {
        let Some(peer) = self.peers.get(id) else { return };
        let (peer, to) = (peer.address.clone(), peer.status);
        if let Some(from) = before.filter(|from| *from != to) {
            let retry_in = self.retry_in(id);
            self.notify(Notice::StatusChanged { peer, from, to, reason, retry_in });
        }
    }

    /// Ignores a peer and closes its links. Messages on them go back to the queue. A link that is
    /// taken out of the table is left to the caller.
    pub(super) fn ignore_peer(&mut self, id: PeerId, reason: StatusReason) {
        self.set_status(id, Status::Ignored, reason);
        self.peers.update(id, |peer| peer.is_alias = false);
        let pin = self.peers.pin(id).copied();
        let belongs = |link: &Session| {
            link.peer == Some(id) || pin.is_some() && link.identity() == pin.as_ref()
        };
        for id in self.links.matching(|link| link.is_live() && belongs(link)) {
            self.with_link(id, |link, local, now| {
                let session = link.session_mut();
                session.say_goodbye(Farewell::Ignored);
                let flush = Some(CloseMode::Flush);
                session.close(CloseReason::Ignored, Doubt::InDoubt, flush, local, now)
            });
        }
        // An announce that went back to the peer's record must not be sent either.
        self.end_backoff(id);
        self.peers.update(id, |peer| (peer.announce_due, peer.announce_wanted) = (false, false));
    }

    /// Closes a link to an ignored peer that is taken out of the table.
    pub(super) fn close_ignored(&mut self, id: LinkId, link: &mut Session) {
        link.say_goodbye(Farewell::Ignored);
        let flush = Some(CloseMode::Flush);
        let reason = CloseReason::Ignored;
        let event = link.close(reason, Doubt::InDoubt, flush, &self.local, self.now);
        self.on_link_event(id, link, event);
    }

    /// An address turned out to be this tower's own or an ignored peer's. It is remembered as long
    /// as there is room.
    pub(super) fn ignore_alias(&mut self, id: PeerId) {
        self.ignore_peer(id, StatusReason::Alias);
        self.peers.update(id, |peer| peer.is_alias = true);
    }

    /// Two addresses turned out to be one tower: `kept` takes over the links of `alias`, which is
    /// forgotten. A link that is taken out of the table is left to the caller.
    pub(super) fn merge(&mut self, alias: PeerId, kept: PeerId) {
        // A dial of the other address that is under way says nothing about the one that is kept.
        let is_dialled = |link: &Session| link.peer == Some(alias) && link.is_dialling();
        for id in self.links.matching(is_dialled) {
            self.close(id, CloseReason::Evicted, Doubt::NotTaken, CloseMode::Abort);
        }
        self.backoffs.clear(alias.index);
        let Some(record) = self.peers.remove(alias) else { return };
        for id in &record.links {
            if let Some(link) = self.links.get_link_mut(*id) {
                link.session_mut().peer = Some(kept);
            }
            self.peers.add_link(kept, *id);
        }
        self.peers.update(kept, |peer| {
            peer.busy_links += record.busy_links;
            peer.link = peer.link.or(record.link);
            peer.announce_due |= record.announce_due;
            peer.announce_wanted |= record.announce_wanted;
            peer.is_named |= record.is_named;
            peer.was_alive |= record.was_alive;
        });
        self.refresh_window(kept, None);
        self.notify(Notice::TowerForgotten { peer: record.address });
    }

    /// Forgets a peer and closes its links. Messages on them go back to the queue.
    pub(super) fn forget_peer(&mut self, id: PeerId) {
        // It is not asked about transfers in doubt.
        self.peers.update(id, |peer| peer.status = Status::Ignored);
        for link in self.links.matching(|link| link.is_live() && link.peer == Some(id)) {
            self.with_link(link, |link, local, now| {
                let session = link.session_mut();
                session.say_goodbye(Farewell::Leaving);
                let flush = Some(CloseMode::Flush);
                session.close(CloseReason::Evicted, Doubt::InDoubt, flush, local, now)
            });
        }
        self.backoffs.clear(id.index);
        if let Some(peer) = self.peers.remove(id) {
            self.notify(Notice::TowerForgotten { peer: peer.address });
        }
    }
}

#[cfg(all(test, feature = "tls"))]
mod tests;
