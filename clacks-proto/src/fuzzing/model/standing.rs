//! How peers stand.

use alloc::vec::Vec;
use core::time::Duration;

use super::links::{Doubt, admits};
use super::{Key, Model, Peer, Phase, Taken, Told};
use crate::ids::LinkId;
use crate::link::State;
use crate::time::Instant;
use crate::wire::Farewell;
use crate::{Address, CloseMode, CloseReason, Status};

/// Who told an address.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Teller {
    Friend,
    Stranger,
}

impl Model {
    pub(super) fn is_ignored(&self, key: Key) -> bool {
        self.status(key) == Some(Status::Ignored)
    }

    pub(super) fn learn(&mut self, address: &Address, teller: Teller) -> Option<Key> {
        if *address == self.own {
            return None;
        }
        if let Some(known) = self.find(address) {
            return Some(known);
        }
        let now = self.now;
        let may = match teller {
            Teller::Friend => self.friends.take(self.config.friends, now),
            Teller::Stranger => self.strangers.take(self.config.strangers, now),
        };
        let learned = if may { self.add_peer(address) } else { None };
        self.stats.towers_not_learned += u64::from(learned.is_none());
        learned
    }

    /// A new peer, if there is room or somebody to forget: who has been dead for longest, or another name of this tower.
    pub(super) fn add_peer(&mut self, address: &Address) -> Option<Key> {
        let mut forgotten = None;
        if self.peers.len() >= self.config.max_peers {
            let is_dead = |peer: &&Peer| {
                peer.status == Status::Dead && self.load(peer.key) == 0 && peer.link.is_none()
            };
            let oldest = self.peers.iter().filter(is_dead).min_by_key(|peer| peer.died);
            // Which of several names goes is nobody's business.
            let is_gone = |peer: &&Peer| {
                peer.is_alias
                    && peer.status == Status::Ignored
                    && !self.after.peers.iter().any(|(id, _)| *id == peer.id)
            };
            let alias = || self.peers.iter().find(is_gone);
            let peer = oldest.or_else(alias)?;
            forgotten = Some((peer.key, peer.id));
        }
        if let Some((key, id)) = forgotten {
            self.peers.retain(|peer| peer.key != key);
            self.tell(Told::Forgotten(id));
        }
        let key = self.ids.len();
        let learned = self.after.peers.iter().find(|(_, other)| other == address);
        let (id, _) = *learned.unwrap_or_else(|| panic!("{address} was not learned"));
        self.ids.push((id, key));
        self.peers.push(Peer {
            key,
            id,
            address: address.clone(),
            status: Status::New,
            since: self.now,
            died: 0,
            link: None,
            rests_until: None,
            announce_due: false,
            is_alias: false,
            max_message: u32::MAX,
            taken: None,
        });
        self.stats.towers_discovered += 1;
        self.tell(Told::Discovered(key));
        Some(key)
    }

    /// A transaction with it succeeded: new, lost and dead become alive.
    pub(super) fn succeeded(&mut self, key: Key) {
        if let Some(Status::New | Status::Lost | Status::Dead) = self.status(key) {
            self.peer_mut(key).unwrap().rests_until = None;
            self.set_status(key, Status::Alive);
        }
    }

    /// An attempt to reach it failed: new and alive become lost; lost for longer than the kill timer becomes dead.
    pub(super) fn failed(&mut self, key: Key) {
        let Some(peer) = self.peer(key) else { return };
        let lost_for = self.now.duration_since(peer.since);
        match peer.status {
            Status::New | Status::Alive => self.set_status(key, Status::Lost),
            Status::Lost if lost_for > self.config.kill_timeout => {
                self.set_status(key, Status::Dead);
            }
            Status::Lost | Status::Dead => {}
            Status::Ignored => return,
        }
        self.rest(key, self.config.probe_backoff);
    }

    pub(super) fn rest(&mut self, key: Key, time: Duration) {
        let until = self.now + time;
        if let Some(peer) = self.peer_mut(key).filter(|_| !time.is_zero()) {
            peer.rests_until = Some(until);
        }
    }

    pub(super) fn set_status(&mut self, key: Key, to: Status) {
        let now = self.now;
        self.deaths += 1;
        let died = self.deaths;
        let Some(peer) = self.peer_mut(key) else { return };
        let from = peer.status;
        if from != to {
            (peer.status, peer.since, peer.died) = (to, now, died);
            self.tell(Told::Status(key, from, to));
        }
    }

    pub(super) fn ignore_peer(&mut self, key: Key) {
        self.set_status(key, Status::Ignored);
        if let Some(peer) = self.peer_mut(key) {
            peer.is_alias = false;
        }
        for id in self.links_of(key) {
            if let Some(link) = self.live(id).filter(|link| link.state == State::Open) {
                link.farewell_due = Some(Farewell::Ignored);
            }
            self.end(id, CloseReason::Ignored, Doubt::Doubtful, Some(CloseMode::Flush));
        }
        if let Some(peer) = self.peer_mut(key) {
            (peer.rests_until, peer.announce_due) = (None, false);
        }
    }

    fn links_of(&self, key: Key) -> Vec<LinkId> {
        self.links.iter().filter(|link| link.peer == Some(key)).map(|link| link.id).collect()
    }

    /// How many transfers are on the links to it.
    pub(super) fn load(&self, key: Key) -> usize {
        let its = self.links.iter().filter(|link| link.peer == Some(key));
        its.map(|link| link.transfers.len()).sum()
    }

    /// Who may be drawn as far as it goes by themselves, and by how many are tried already.
    pub(super) fn eligible(&self) -> Vec<&Peer> {
        let is_unproved =
            |peer: &Peer| matches!(peer.status, Status::New | Status::Lost | Status::Dead);
        let is_tried = |peer: &&Peer| is_unproved(peer) && self.load(peer.key) > 0;
        let may_try = self.peers.iter().filter(is_tried).count() < self.config.max_probes;
        let is_eligible = |peer: &&Peer| match peer.status {
            _ if peer.rests_until.is_some() => false,
            Status::Ignored => false,
            Status::Alive => !self.is_full(peer),
            Status::New | Status::Lost | Status::Dead => may_try && self.load(peer.key) == 0,
        };
        self.peers.iter().filter(is_eligible).collect()
    }

    fn is_full(&self, peer: &Peer) -> bool {
        peer.link.and_then(|id| self.link(id)).is_some_and(|link| {
            let bytes = link.transfers.iter().map(|transfer| self.cargo_len(transfer.cargo)).sum();
            !admits(link.granted, link.transfers.len(), bytes, 1)
        })
    }

    /// Who may be drawn: the new if there are any; in a shutdown the alive if there are any.
    pub(super) fn drawable(&self) -> Vec<Key> {
        let mut all = self.eligible();
        let is_alive = |peer: &&Peer| peer.status == Status::Alive;
        let is_new = |peer: &&Peer| peer.status == Status::New;
        if self.phase != Phase::Running && self.peers.iter().any(|peer| is_alive(&peer)) {
            all.retain(is_alive);
        }
        if all.iter().any(is_new) {
            all.retain(is_new);
        }
        let odds = self.config.odds;
        let has_a_chance = |peer: &&Peer| match peer.status {
            Status::Lost => odds.lost > 0,
            Status::Dead => odds.dead > 0,
            _ => true,
        };
        all.into_iter().filter(has_a_chance).map(|peer| peer.key).collect()
    }

    /// Remembers a transfer that was taken from whoever a link is.
    pub(super) fn taken_from(&mut self, id: LinkId, transfer: u64) {
        let now = self.now;
        let lifetime = self.lifetime();
        let capacity = 2 * usize::from(self.config.window.messages);
        let Some((key, incarnation)) =
            self.link(id).and_then(|link| Some((link.peer?, link.incarnation)))
        else {
            return;
        };
        self.newest_taken = self.newest_taken.max(transfer);
        if let Some(peer) = self.peer_mut(key) {
            let of_old = peer.taken.take().filter(|(of, _)| *of == incarnation);
            let (_, mut entries) = of_old.unwrap_or_default();
            forget_older(&mut entries, lifetime, now);
            if entries.len() >= capacity {
                entries.remove(0);
            }
            entries.push((transfer, id, now));
            peer.taken = Some((incarnation, entries));
            peer.link = peer.link.or(Some(id));
        }
        self.succeeded(key);
    }

    /// For how long a transfer that was taken may be asked about: its answer may be waited for in vain, then there may be a call and a hello,
    /// or a link that stands and on which the question waits as long once more.
    fn lifetime(&self) -> Duration {
        let times = &self.config.timeouts;
        let by_a_call = times.confirm + times.connect + times.handshake;
        let on_a_link = times.confirm + times.confirm;
        if by_a_call > on_a_link { by_a_call } else { on_a_link }
    }

    /// Forgets what a peer can't ask about any more: what is too old, and what came on a link of which it said so.
    pub(super) fn trim(&mut self, key: Key, link: Option<LinkId>) {
        let now = self.now;
        let lifetime = self.lifetime();
        if let Some(peer) = self.peer_mut(key)
            && let Some((_, entries)) = &mut peer.taken
        {
            forget_older(entries, lifetime, now);
            entries.retain(|(_, id, _)| Some(*id) != link);
            if entries.is_empty() {
                peer.taken = None;
            }
        }
    }

    /// With every timer one place of the table is looked at.
    pub(super) fn tidy(&mut self) {
        let at_place = self.peers.iter().find(|peer| peer.id.index == self.tidied);
        if let Some(key) = at_place.map(|peer| peer.key) {
            self.trim(key, None);
        }
        let places = self.ids.iter().map(|(id, _)| id.index + 1).max().unwrap_or(0);
        self.tidied = if self.tidied < places { self.tidied + 1 } else { 0 };
    }
}

fn forget_older(entries: &mut Vec<Taken>, lifetime: Duration, now: Instant) {
    entries.retain(|(_, _, at)| *at + lifetime >= now);
}
