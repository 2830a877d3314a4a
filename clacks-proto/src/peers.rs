//! The peers of a tower: who they are, how they stand, and who may be drawn.

use alloc::boxed::Box;
use alloc::vec::Vec;
use hashbrown::HashTable;

use crate::address::Address;
use crate::digest::PeerDigest;
use crate::event::{Dialect, Status};
use crate::ids::{Epoch, Fingerprint, LinkId, PeerId};
use crate::room;
use crate::selector::Eligible;
use crate::taken::Taken;
use crate::time::Instant;

const NOWHERE: u32 = u32::MAX;

/// One peer. Fields that decide whether it may be drawn change only through [`Peers::change`].
#[derive(Debug)]
pub(crate) struct Peer {
    /// That of its slot, here because there is room for it.
    epoch: Epoch,
    pub(crate) address: Address,
    pub(crate) status: Status,
    /// When the status last changed.
    pub(crate) since: Instant,
    /// The link on which we hand messages to it, in whatever state.
    pub(crate) link: Option<LinkId>,
    /// Transfers given to its link and not yet answered.
    pub(crate) load: u32,
    /// Its link's window has no room.
    pub(crate) is_full: bool,
    /// It failed or was busy, and rests.
    pub(crate) is_resting: bool,
    /// The application asked to announce this tower to it, and it has not confirmed that.
    pub(crate) announce_due: bool,
    /// It is ignored as another name of this tower or of an ignored one, and not at the application's word.
    pub(crate) is_alias: bool,
    /// What it spoke the last time.
    pub(crate) dialect: Option<Dialect>,
    /// The longest body that it takes, as far as it has said.
    pub(crate) max_message: u32,
    /// Which of its transfers were taken lately.
    pub(crate) taken: Option<Box<Taken>>,
    /// Its place among the eligible of its status.
    eligible_at: u32,
    /// Its place among the alive; of a dead one, who died before it.
    alive_at_or_older: u32,
    /// Of a dead one, who died after it.
    younger: u32,
}

impl Peer {
    /// Whether it may be drawn. One that is not proved alive carries one message at a time, so that a silent address can't swallow more.
    fn is_eligible(&self) -> bool {
        !self.is_resting
            && match self.status {
                Status::Alive => !self.is_full,
                Status::New | Status::Lost | Status::Dead => self.load == 0,
                Status::Ignored => false,
            }
    }

    pub(crate) fn is_ignored(&self) -> bool {
        self.status == Status::Ignored
    }

    /// Its place among the alive, if it is one of them.
    fn alive_at(&self) -> u32 {
        if self.status == Status::Alive { self.alive_at_or_older } else { NOWHERE }
    }

    /// Whether it is being tried without being proved alive.
    fn is_probe(&self) -> bool {
        self.load > 0 && matches!(self.status, Status::New | Status::Lost | Status::Dead)
    }
}

/// A place in the table.
#[derive(Debug)]
enum Slot {
    Taken(Peer),
    Vacant {
        epoch: Epoch,
        /// The slot that fell vacant before it.
        before: u32,
    },
}

impl Slot {
    fn peer(&self) -> Option<&Peer> {
        match self {
            Self::Taken(peer) => Some(peer),
            Self::Vacant { .. } => None,
        }
    }

    fn peer_mut(&mut self) -> Option<&mut Peer> {
        match self {
            Self::Taken(peer) => Some(peer),
            Self::Vacant { .. } => None,
        }
    }
}

/// The keys pinned for peers' addresses. Without TLS there are none.
#[derive(Debug, Default)]
struct Pins {
    /// By the place of the peer.
    of: Vec<Keys>,
    by_pin: HashTable<u32>,
}

/// The keys of one peer's address.
#[derive(Clone, Copy, Debug, Default)]
struct Keys {
    pinned: Option<Fingerprint>,
    /// Another one that was seen there last.
    other: Option<Fingerprint>,
}

impl Pins {
    fn get(&self, index: u32) -> Option<Fingerprint> {
        self.of.get(index as usize)?.pinned
    }
}

/// The table of peers.
///
/// Every change of standing is O(1): each list of eligible peers, and the list of the alive, is a `Vec` whose entries' peers know their own place.
/// The two indices are hash tables with secret keys (peers choose the addresses), and are never iterated, so that their order can't matter.
#[derive(Debug)]
pub(crate) struct Peers {
    slots: Vec<Slot>,
    /// The slot that fell vacant last.
    vacant: u32,
    standing: Standing,
    by_address: HashTable<u32>,
    pins: Option<Box<Pins>>,
    digest: PeerDigest,
    eligible: [Vec<u32>; 4],
    alive: Vec<u32>,
    oldest_dead: u32,
    youngest_dead: u32,
    probes: u32,
    capacity: u32,
}

/// How many of the peers that a tower knows have each status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Standing {
    /// Those not tried yet.
    pub new: u32,
    /// Those with which the last transaction succeeded.
    pub alive: u32,
    /// Those that could not be reached lately.
    pub lost: u32,
    /// Those that could not be reached for long.
    pub dead: u32,
    /// Those that are ignored.
    pub ignored: u32,
}

impl Standing {
    fn of(&mut self, status: Status) -> &mut u32 {
        match status {
            Status::New => &mut self.new,
            Status::Alive => &mut self.alive,
            Status::Lost => &mut self.lost,
            Status::Dead => &mut self.dead,
            Status::Ignored => &mut self.ignored,
        }
    }

    fn sum(self) -> usize {
        let counts = [self.new, self.alive, self.lost, self.dead, self.ignored];
        counts.into_iter().map(|count| count as usize).sum()
    }
}

/// The table is full, and nobody in it is dead or but another name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TableFull;

impl Peers {
    pub(crate) fn new(capacity: usize, digest: PeerDigest) -> Self {
        Self {
            slots: Vec::new(),
            vacant: NOWHERE,
            standing: Standing::default(),
            by_address: HashTable::new(),
            pins: None,
            digest,
            eligible: [const { Vec::new() }; 4],
            alive: Vec::new(),
            oldest_dead: NOWHERE,
            youngest_dead: NOWHERE,
            probes: 0,
            capacity: u32::try_from(capacity).unwrap_or(u32::MAX),
        }
    }

    /// What one peer takes at most, in bytes, besides what it has taken lately.
    pub(crate) const MEMORY: usize = 2 * size_of::<Slot>() // vectors grow by doubling
        + 2 * 3 * size_of::<u32>() // alive, and two lists it was eligible in
        + 2 * size_of::<Keys>()
        + 2 * 2 * (size_of::<u32>() + 1) // two hash tables
        + crate::address::MAX_NAME + 2 * size_of::<usize>(); // a name and its counts

    pub(crate) fn len(&self) -> usize {
        self.standing.sum()
    }

    /// Reads a word of each list that a draw needs, and of the index.
    pub(crate) fn look_at_lists(&self) -> u64 {
        // The hash doesn't matter: small tables are one cache line.
        let found = self.by_address.find(0, |_| false);
        let first = |list: &Vec<u32>| list.first().map_or(0, |index| u64::from(*index));
        u64::from(found.is_some())
            ^ first(&self.alive)
            ^ first(&self.eligible[0])
            ^ first(&self.eligible[1])
    }

    pub(crate) fn standing(&self) -> Standing {
        self.standing
    }

    pub(crate) fn get(&self, id: PeerId) -> Option<&Peer> {
        let peer = self.at(id.index)?;
        (peer.epoch == id.epoch).then_some(peer)
    }

    pub(crate) fn find(&self, address: &Address) -> Option<PeerId> {
        let found = self.by_address.find(self.digest.of_address(address), |index| {
            self.at(*index).is_some_and(|peer| peer.address == *address)
        });
        found.and_then(|index| self.id(*index))
    }

    /// The peer whose pinned key this is. One key has one peer.
    pub(crate) fn find_pin(&self, pin: &Fingerprint) -> Option<PeerId> {
        let pins = self.pins.as_ref()?;
        let found =
            pins.by_pin.find(self.digest.of_key(pin), |index| pins.get(*index) == Some(*pin));
        found.and_then(|index| self.id(*index))
    }

    /// The key that was at a peer's address when we first dialled it.
    pub(crate) fn pin(&self, id: PeerId) -> Option<Fingerprint> {
        self.get(id).and(self.pins.as_ref()?.get(id.index))
    }

    /// The key that was last seen at a peer's address instead of the pinned one.
    pub(crate) fn other_key(&self, id: PeerId) -> Option<Fingerprint> {
        self.get(id)?;
        self.pins.as_ref()?.of.get(id.index as usize)?.other
    }

    /// Remembers which other key was seen at an address that has a pinned one.
    pub(crate) fn set_other_key(&mut self, id: PeerId, seen: Fingerprint) {
        if self.get(id).is_some()
            && let Some(pins) = &mut self.pins
            && let Some(keys) = pins.of.get_mut(id.index as usize)
        {
            keys.other = Some(seen);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (PeerId, &Peer)> {
        self.slots.iter().zip(0..).filter_map(|(slot, index)| {
            slot.peer().map(|peer| (PeerId { index, epoch: peer.epoch }, peer))
        })
    }

    /// Adds a peer with no standing but its status. In a full table the one longest dead makes room, or else another name of this
    /// tower or of an ignored one, and is returned.
    pub(crate) fn insert(
        &mut self,
        address: Address,
        status: Status,
        now: Instant,
    ) -> Result<(PeerId, Option<PeerId>), TableFull> {
        debug_assert!(self.find(&address).is_none(), "one address, one peer");
        let forgotten = if self.len() < self.capacity as usize {
            None
        } else {
            let is_unused = |peer: &Peer| peer.load == 0 && peer.link.is_none();
            let dead = self.dead().find(|index| self.at(*index).is_some_and(is_unused));
            let oldest = dead.and_then(|index| self.id(index));
            // Names are cheap: whoever gives us many must not fill the table for good. Rare, so a search will do.
            let is_forgettable = |peer: &Peer| peer.is_alias && peer.is_ignored();
            let alias = || self.iter().find(|(_, peer)| is_forgettable(peer)).map(|(id, _)| id);
            let oldest = oldest.or_else(alias).ok_or(TableFull)?;
            self.remove(oldest);
            Some(oldest)
        };
        let epoch = match self.slots.get(self.vacant as usize) {
            Some(Slot::Vacant { epoch, .. }) => *epoch,
            _ => Epoch::FIRST,
        };
        let peer = Peer {
            epoch,
            address,
            status: Status::Ignored,
            since: now,
            link: None,
            load: 0,
            is_full: false,
            is_resting: false,
            announce_due: false,
            is_alias: false,
            dialect: None,
            max_message: u32::MAX,
            taken: None,
            eligible_at: NOWHERE,
            alive_at_or_older: NOWHERE,
            younger: NOWHERE,
        };
        let hash = self.digest.of_address(&peer.address);
        let peer = Slot::Taken(peer);
        let index = match self.slots.get_mut(self.vacant as usize) {
            Some(slot) => {
                let index = self.vacant;
                if let Slot::Vacant { before, .. } = core::mem::replace(slot, peer) {
                    self.vacant = before;
                }
                index
            }
            None => {
                let index = u32::try_from(self.slots.len()).map_err(|_| TableFull)?;
                room::for_one_more(&mut self.slots);
                self.slots.push(peer);
                index
            }
        };
        // As which it begins.
        self.standing.ignored += 1;
        let (slots, digest) = (&self.slots, &self.digest);
        self.by_address.insert_unique(hash, index, |index| {
            slots[*index as usize].peer().map_or(0, |peer| digest.of_address(&peer.address))
        });
        let id = PeerId { index, epoch };
        self.change(id, |peer| peer.status = status);
        Ok((id, forgotten))
    }

    /// Forgets a peer. Its id means nothing any more.
    pub(crate) fn remove(&mut self, id: PeerId) {
        if self.get(id).is_none() {
            return;
        }
        self.set_pin(id, None);
        // Nobody draws, names or counts an ignored peer: it leaves every list.
        self.change(id, |peer| peer.status = Status::Ignored);
        let vacant = Slot::Vacant { epoch: id.epoch.next(), before: self.vacant };
        let slot = core::mem::replace(&mut self.slots[id.index as usize], vacant);
        self.vacant = id.index;
        self.standing.ignored -= 1;
        if let Slot::Taken(peer) = slot {
            let hash = self.digest.of_address(&peer.address);
            if let Ok(entry) = self.by_address.find_entry(hash, |index| *index == id.index) {
                entry.remove();
            }
        }
    }

    /// Changes a peer and puts it on the lists where it now belongs. Returns its status before, or `None` for an unknown peer.
    pub(crate) fn change(&mut self, id: PeerId, change: impl FnOnce(&mut Peer)) -> Option<Status> {
        let peer = self.get_mut(id)?;
        let before = (peer.status, peer.eligible_at != NOWHERE, peer.is_probe());
        change(peer);
        let after = (peer.status, peer.is_eligible(), peer.is_probe());
        if before == after {
            return Some(before.0);
        }
        if before.1 && (before.0 != after.0 || !after.1) {
            self.unlist_eligible(id.index, before.0);
        }
        if before.0 != after.0 {
            *self.standing.of(before.0) -= 1;
            *self.standing.of(after.0) += 1;
            match before.0 {
                Status::Alive => self.unlist_alive(id.index),
                Status::Dead => self.unlist_dead(id.index),
                _ => {}
            }
            match after.0 {
                Status::Alive => self.list_alive(id.index),
                Status::Dead => self.list_dead(id.index),
                _ => {}
            }
        }
        if after.1 && (before.0 != after.0 || !before.1) {
            self.list_eligible(id.index, after.0);
        }
        self.probes = self.probes - u32::from(before.2) + u32::from(after.2);
        debug_assert!(self.slots.len() > 64 || self.lists_are_right(), "peer lists");
        Some(before.0)
    }

    /// Lends what was lately taken from a peer of an incarnation, made when it is missing or belongs to an earlier one.
    pub(crate) fn with_taken(
        &mut self,
        id: PeerId,
        incarnation: u64,
        change: impl FnOnce(&mut Taken),
    ) {
        let Some(peer) = self.get_mut(id) else { return };
        peer.taken = peer.taken.take().filter(|taken| taken.belongs_to(incarnation));
        let taken = peer.taken.get_or_insert_with(|| Box::new(Taken::new(incarnation)));
        change(taken);
        if taken.is_empty() {
            peer.taken = None;
        }
    }

    /// Lends what was lately taken from the peer at a place, if there is anything, and drops it when that leaves nothing.
    pub(crate) fn trim_taken(&mut self, index: u32, trim: impl FnOnce(&mut Taken)) {
        let Some(peer) = self.at_mut(index) else { return };
        let Some(mut taken) = peer.taken.take() else { return };
        trim(&mut taken);
        peer.taken = Some(taken).filter(|taken| !taken.is_empty());
    }

    /// The places of the table, one after the other, for whoever looks after all of them bit by bit.
    pub(crate) fn next_place(&self, place: u32) -> u32 {
        if (place as usize) < self.slots.len() { place + 1 } else { 0 }
    }

    /// The peer at a place has rested.
    pub(crate) fn rested(&mut self, index: u32) {
        if let Some(id) = self.id(index) {
            self.change(id, |peer| peer.is_resting = false);
        }
    }

    /// Pins a key to a peer, or takes the pin away.
    pub(crate) fn set_pin(&mut self, id: PeerId, pin: Option<Fingerprint>) {
        if self.get(id).is_none() || pin.is_none() && self.pins.is_none() {
            return;
        }
        let Self { pins, digest, .. } = self;
        let Pins { of, by_pin } = &mut **pins.get_or_insert_default();
        if of.len() <= id.index as usize {
            of.resize(id.index as usize + 1, Keys::default());
        }
        let pinned = Keys { pinned: pin, other: None };
        if let Some(old) = core::mem::replace(&mut of[id.index as usize], pinned).pinned
            && let Ok(entry) = by_pin.find_entry(digest.of_key(&old), |index| *index == id.index)
        {
            entry.remove();
        }
        if let Some(pin) = pin {
            by_pin.insert_unique(digest.of_key(&pin), id.index, |index| {
                of[*index as usize].pinned.map_or(0, |pin| digest.of_key(&pin))
            });
        }
    }

    /// How many may be drawn. With `max_probes` running, only the alive.
    #[allow(clippy::cast_possible_truncation, reason = "there are fewer peers than u32 indices")]
    #[inline]
    pub(crate) fn eligible(&self, max_probes: usize) -> Eligible {
        let [new, alive, lost, dead] =
            [0, 1, 2, 3].map(|class: usize| self.eligible[class].len() as u32);
        if (self.probes as usize) < max_probes {
            Eligible { new, alive, lost, dead }
        } else {
            Eligible { alive, ..Eligible::default() }
        }
    }

    /// Where in the table the peer at a place among the eligible of a status is. That needs no look at the peer, which in a large table would be a wait
    /// for memory.
    #[inline]
    pub(crate) fn eligible_at(&self, status: Status, place: u32) -> Option<u32> {
        self.eligible[class(status)?].get(place as usize).copied()
    }

    /// How many are alive.
    #[allow(clippy::cast_possible_truncation, reason = "there are fewer peers than u32 indices")]
    pub(crate) fn alive_count(&self) -> u32 {
        self.alive.len() as u32
    }

    /// The alive peer at a place from 0 to `alive_count`, passing over `except` if that is alive too.
    pub(crate) fn alive_peer(&self, place: u32, except: Option<PeerId>) -> Option<PeerId> {
        let hole = except.and_then(|id| self.get(id)).map_or(NOWHERE, Peer::alive_at);
        let place = if place >= hole { place + 1 } else { place };
        self.id(*self.alive.get(place as usize)?)
    }

    pub(crate) fn is_ignored(&self, id: PeerId) -> bool {
        self.get(id).is_some_and(Peer::is_ignored)
    }

    pub(crate) fn is_alive(&self, id: PeerId) -> bool {
        self.get(id).is_some_and(|peer| peer.status == Status::Alive)
    }

    /// The peer at a place of the table.
    pub(crate) fn id(&self, index: u32) -> Option<PeerId> {
        self.at(index).map(|peer| PeerId { index, epoch: peer.epoch })
    }

    pub(crate) fn at(&self, index: u32) -> Option<&Peer> {
        self.slots.get(index as usize)?.peer()
    }

    fn get_mut(&mut self, id: PeerId) -> Option<&mut Peer> {
        let peer = self.at_mut(id.index)?;
        (peer.epoch == id.epoch).then_some(peer)
    }

    fn at_mut(&mut self, index: u32) -> Option<&mut Peer> {
        self.slots.get_mut(index as usize)?.peer_mut()
    }

    /// The dead, the longest dead first.
    fn dead(&self) -> impl Iterator<Item = u32> {
        let first = Some(self.oldest_dead).filter(|index| *index != NOWHERE);
        core::iter::successors(first, |index| {
            self.at(*index).map(|peer| peer.younger).filter(|index| *index != NOWHERE)
        })
    }

    fn list_eligible(&mut self, index: u32, status: Status) {
        let Some(class) = class(status) else { return };
        let place = push(&mut self.eligible[class], index);
        if let Some(peer) = self.at_mut(index) {
            peer.eligible_at = place;
        }
    }

    fn unlist_eligible(&mut self, index: u32, status: Status) {
        let Some(class) = class(status) else { return };
        let Some(peer) = self.at_mut(index) else { return };
        let place = core::mem::replace(&mut peer.eligible_at, NOWHERE);
        let moved = swap_remove(&mut self.eligible[class], place);
        if let Some(peer) = moved.and_then(|index| self.at_mut(index)) {
            peer.eligible_at = place;
        }
    }

    fn list_alive(&mut self, index: u32) {
        let place = push(&mut self.alive, index);
        if let Some(peer) = self.at_mut(index) {
            peer.alive_at_or_older = place;
        }
    }

    fn unlist_alive(&mut self, index: u32) {
        let Some(peer) = self.at_mut(index) else { return };
        let place = core::mem::replace(&mut peer.alive_at_or_older, NOWHERE);
        let moved = swap_remove(&mut self.alive, place);
        if let Some(peer) = moved.and_then(|index| self.at_mut(index)) {
            peer.alive_at_or_older = place;
        }
    }

    fn list_dead(&mut self, index: u32) {
        let older = core::mem::replace(&mut self.youngest_dead, index);
        match self.at_mut(older) {
            Some(peer) => peer.younger = index,
            None => self.oldest_dead = index,
        }
        if let Some(peer) = self.at_mut(index) {
            (peer.alive_at_or_older, peer.younger) = (older, NOWHERE);
        }
    }

    fn unlist_dead(&mut self, index: u32) {
        let Some(peer) = self.at_mut(index) else { return };
        let older = core::mem::replace(&mut peer.alive_at_or_older, NOWHERE);
        let younger = core::mem::replace(&mut peer.younger, NOWHERE);
        match self.at_mut(older) {
            Some(peer) => peer.younger = younger,
            None => self.oldest_dead = younger,
        }
        match self.at_mut(younger) {
            Some(peer) => peer.alive_at_or_older = older,
            None => self.youngest_dead = older,
        }
    }

    /// The slow truth about every list, for debug builds.
    fn lists_are_right(&self) -> bool {
        let on_list =
            |list: &[u32], place: u32, index: u32| list.get(place as usize) == Some(&index);
        let each = self.slots.iter().zip(0..).all(|(slot, index)| {
            let Some(peer) = slot.peer() else { return true };
            let listed = class(peer.status)
                .is_some_and(|class| on_list(&self.eligible[class], peer.eligible_at, index));
            listed == peer.is_eligible()
                && on_list(&self.alive, peer.alive_at(), index) == (peer.status == Status::Alive)
                && self.dead().any(|dead| dead == index) == (peer.status == Status::Dead)
        });
        let count = |test: fn(&Peer) -> bool| self.iter().filter(|(_, peer)| test(peer)).count();
        each && self.probes as usize == count(Peer::is_probe)
            && self.eligible.iter().map(Vec::len).sum::<usize>() == count(Peer::is_eligible)
            && self.alive.len() == count(|peer| peer.status == Status::Alive)
            && [Status::New, Status::Alive, Status::Lost, Status::Dead, Status::Ignored].iter().all(
                |status| {
                    let all = self.iter().filter(|(_, peer)| peer.status == *status).count();
                    *{ self.standing }.of(*status) as usize == all
                },
            )
    }
}

/// The place of a status among the lists of the eligible, where the statuses have their own order, and the ignored have none.
fn class(status: Status) -> Option<usize> {
    let class = status as usize;
    (class < Status::Ignored as usize).then_some(class)
}

#[allow(clippy::cast_possible_truncation, reason = "there are fewer peers than u32 indices")]
fn push<T>(list: &mut Vec<T>, entry: T) -> u32 {
    room::for_one_more(list);
    list.push(entry);
    (list.len() - 1) as u32
}

/// Removes the entry at `place` and returns the one that moved there, if one did.
fn swap_remove<T: Copy>(list: &mut Vec<T>, place: u32) -> Option<T> {
    if (place as usize) < list.len() {
        list.swap_remove(place as usize);
    }
    list.get(place as usize).copied()
}

#[cfg(test)]
mod tests;
