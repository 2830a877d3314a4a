//! The table of peers: their status, and which of them may be drawn.

use alloc::boxed::Box;
use alloc::vec::Vec;
use hashbrown::HashTable;

use super::eligible::{EligibleList, Reach};
use super::selector::Eligible;
use crate::address::Address;
use crate::config::Newcomers;
use crate::error::StatusReason;
use crate::event::{Dialect, Status};
use crate::hash::Hasher;
use crate::ids::{Fingerprint, LinkId, PeerId};
use crate::index_list::IndexLists;
use crate::link::Direction;
use crate::table::Table;
use crate::time::Instant;

/// Not in a list.
const ABSENT: u32 = u32::MAX;

/// One peer. Fields that decide whether it may be drawn change only through [`Peers::update`].
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) address: Address,
    pub(crate) status: Status,
    /// When the status last changed.
    pub(crate) since: Instant,
    /// The link on which messages are handed to the peer, in every state.
    pub(crate) link: Option<LinkId>,
    /// All links to and from the peer that are not closing.
    pub(crate) links: Vec<LinkId>,
    /// Which side made the connection of `link`, if that link is open.
    pub(crate) open: Option<Direction>,
    /// How many of the links carry transfers that are not settled.
    pub(crate) busy_links: u16,
    /// The window of the link has no room.
    pub(crate) is_full: bool,
    /// The peer failed or was busy, and is left alone until its back-off ends.
    pub(crate) is_resting: bool,
    /// When the peer last took a message from this tower, or became alive.
    pub(crate) last_taken: Instant,
    /// When this tower last announced itself to the peer without being asked to.
    pub(crate) contacted: Instant,
    /// The next link to the peer begins with an announce.
    pub(crate) announce_due: bool,
    /// The application asked to announce this tower to the peer, and the peer has not confirmed
    /// that.
    pub(crate) announce_wanted: bool,
    /// The application named the peer. It is never forgotten to make room.
    pub(crate) is_named: bool,
    /// The peer was alive once.
    pub(crate) was_alive: bool,
    /// The peer is ignored because it is another address of this tower or of an ignored peer, and
    /// not because the application said so.
    pub(crate) is_alias: bool,
    /// What the peer spoke last.
    pub(crate) dialect: Option<Dialect>,
    /// Why the last attempt to reach the peer failed, or why it refused the last transfer.
    pub(crate) failure: Option<StatusReason>,
    /// The bytes that this tower took from the peer beyond its bounds, less those that the peer
    /// took.
    pub(crate) exchanged: u32,
    /// The longest body that the peer takes, in bytes; the maximum before its first hello.
    pub(crate) max_message: u32,
    /// The longest datagram that the peer takes, in bytes; 0 before its first hello.
    pub(crate) datagram_max: u32,
    /// The position among the eligible peers of its status, or [`ABSENT`].
    eligible_at: u32,
    /// The position among the alive peers, or [`ABSENT`].
    alive_at: u32,
}

impl Peer {
    fn new(address: Address, now: Instant) -> Self {
        Self {
            address,
            status: Status::Ignored,
            since: now,
            link: None,
            links: Vec::new(),
            open: None,
            busy_links: 0,
            is_full: false,
            is_resting: false,
            last_taken: now,
            contacted: Instant::ORIGIN,
            announce_due: false,
            announce_wanted: false,
            is_named: false,
            was_alive: false,
            is_alias: false,
            dialect: None,
            failure: None,
            exchanged: 0,
            max_message: u32::MAX,
            datagram_max: 0,
            eligible_at: ABSENT,
            alive_at: ABSENT,
        }
    }

    /// Returns whether the peer may be drawn. A peer that is not alive carries one message at a
    /// time, so that a silent address can't swallow more.
    fn is_eligible(&self) -> bool {
        !self.is_resting
            && match self.status {
                Status::Alive => !self.is_full,
                Status::New | Status::Lost | Status::Dead => self.busy_links == 0,
                Status::Ignored => false,
            }
    }

    /// Returns how the peer is reached without a dial. An alive peer that speaks HTTP gets one
    /// message on each connection, so its connections are made for messages.
    fn reach(&self) -> Reach {
        if self.is_alive() && self.dialect == Some(Dialect::Http) {
            return Reach::Dialled;
        }
        Reach::over(self.open)
    }

    /// Returns the position of the list in which the peer waits to be forgotten: the first of the
    /// first list makes room for a newcomer.
    fn eviction(&self, newcomers: Newcomers) -> Option<usize> {
        if self.busy_links > 0 || !self.links.is_empty() {
            return None;
        }
        let makes_room = newcomers == Newcomers::MakeRoom;
        match self.status {
            // Addresses cost nothing: a peer that names many must not fill the table for good.
            Status::Ignored => self.is_alias.then_some(0),
            Status::Dead if !makes_room => Some(1),
            _ if !makes_room || self.is_named => None,
            _ if !self.was_alive => Some(0),
            Status::Dead => Some(1),
            Status::Lost => Some(2),
            Status::New | Status::Alive => Some(3),
        }
    }

    /// Returns the maximum number of links on which the peer gets transfers.
    #[inline]
    pub(crate) fn max_links(&self) -> usize {
        self.dialect.unwrap_or(Dialect::Native).max_links()
    }

    /// Returns whether the peer is being tried without being alive.
    fn is_probe(&self) -> bool {
        self.busy_links > 0 && !matches!(self.status, Status::Alive | Status::Ignored)
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.status == Status::Alive
    }

    pub(crate) fn is_ignored(&self) -> bool {
        self.status == Status::Ignored
    }
}

/// In which lists a peer is.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Listing {
    status: Status,
    /// How the peer is reached, if it may be drawn.
    reach: Option<Reach>,
    is_probe: bool,
}

/// The number of peers with each status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct StatusCounts {
    /// Peers not tried yet.
    pub new: u32,
    /// Peers with which the last transaction succeeded.
    pub alive: u32,
    /// Peers that the last attempt did not reach.
    pub lost: u32,
    /// Peers that could not be reached for long.
    pub dead: u32,
    /// Peers that are ignored.
    pub ignored: u32,
}

impl StatusCounts {
    fn of(&mut self, status: Status) -> &mut u32 {
        match status {
            Status::New => &mut self.new,
            Status::Alive => &mut self.alive,
            Status::Lost => &mut self.lost,
            Status::Dead => &mut self.dead,
            Status::Ignored => &mut self.ignored,
        }
    }
}

/// The table of peers.
///
/// Every change of status is O(1): the list of eligible peers of each status and the list of alive
/// peers are `Vec`s whose peers know their own position. The two hash tables are keyed, because
/// peers choose addresses and keys, and are never iterated.
#[derive(Debug)]
pub(crate) struct Peers {
    table: Table<PeerId, Peer>,
    counts: StatusCounts,
    by_address: HashTable<u32>,
    /// `None` before the first pin.
    pins: Option<Box<Pins>>,
    hasher: Hasher,
    /// Peers that may be drawn, by [`class`].
    eligible: [EligibleList; 4],
    alive: Vec<u32>,
    /// Peers that may be forgotten, by [`Peer::eviction`].
    evictable: IndexLists<4>,
    newcomers: Newcomers,
    /// Peers that are tried without being alive.
    probes: u32,
    capacity: usize,
}

/// The pinned keys: of each peer the key that was at its address when this tower first dialled it.
#[derive(Debug, Default)]
struct Pins {
    /// The key of the peer in each slot.
    keys: Vec<Option<Fingerprint>>,
    by_key: HashTable<u32>,
}

impl Pins {
    #[inline]
    fn get(&self, index: u32) -> Option<&Fingerprint> {
        self.keys.get(index as usize)?.as_ref()
    }

    fn find(&self, key: &Fingerprint, hasher: &Hasher) -> Option<u32> {
        let is_pinned = |index: &u32| self.get(*index) == Some(key);
        self.by_key.find(hasher.hash(key), is_pinned).copied()
    }

    fn set(&mut self, index: u32, key: Option<Fingerprint>, hasher: &Hasher) {
        let Self { keys, by_key } = self;
        let wanted = index as usize + 1;
        if keys.len() < wanted && key.is_some() {
            keys.resize(wanted, None);
        }
        let Some(pin) = keys.get_mut(index as usize) else { return };
        if let Some(old) = core::mem::replace(pin, key)
            && let Ok(slot) = by_key.find_entry(hasher.hash(&old), |other| *other == index)
        {
            slot.remove();
        }
        if let Some(key) = key {
            by_key.insert_unique(hasher.hash(&key), index, |other| {
                keys.get(*other as usize).and_then(Option::as_ref).map_or(0, |key| hasher.hash(key))
            });
        }
    }
}

/// The table is full, and no peer may be forgotten.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TableFull;

impl Peers {
    pub(crate) fn new(capacity: usize, newcomers: Newcomers, hasher: Hasher) -> Self {
        Self {
            table: Table::default(),
            counts: StatusCounts::default(),
            by_address: HashTable::new(),
            pins: None,
            hasher,
            eligible: Default::default(),
            alive: Vec::new(),
            evictable: IndexLists::default(),
            newcomers,
            probes: 0,
            capacity,
        }
    }

    /// Starts to load the lists of peers into the cache.
    #[cfg(feature = "simulation")]
    pub(crate) fn prefetch(&self) {
        self.eligible[1].prefetch();
        prefetch_index::prefetch_index(&self.alive, 0);
    }

    /// Starts to load a peer into the cache.
    #[cfg(feature = "simulation")]
    pub(crate) fn prefetch_peer(&self, id: PeerId) {
        self.table.prefetch(id.index);
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn counts(&self) -> StatusCounts {
        self.counts
    }

    /// Returns how many peers that are not alive are being reached.
    pub(crate) fn probes(&self) -> u32 {
        self.probes
    }

    #[inline]
    pub(crate) fn get(&self, id: PeerId) -> Option<&Peer> {
        self.table.get(id)
    }

    pub(crate) fn find(&self, address: &Address) -> Option<PeerId> {
        let index = self.by_address.find(self.hasher.hash(address), |index| {
            self.table.at(*index).is_some_and(|(_, peer)| peer.address == *address)
        })?;
        self.id(*index)
    }

    /// Returns the peer with a pinned key. One key belongs to one peer.
    pub(crate) fn find_pin(&self, pin: &Fingerprint) -> Option<PeerId> {
        self.id(self.pins.as_ref()?.find(pin, &self.hasher)?)
    }

    /// Returns the key that was at a peer's address when this tower first dialled it.
    #[inline]
    pub(crate) fn pin(&self, id: PeerId) -> Option<&Fingerprint> {
        self.pins.as_ref()?.get(id.index).filter(|_| self.get(id).is_some())
    }

    /// Pins a key to a peer, or removes the pin.
    pub(crate) fn set_pin(&mut self, id: PeerId, pin: Option<Fingerprint>) {
        let is_needed = pin.is_some() || self.pins.is_some();
        if is_needed && self.get(id).is_some() {
            self.pins.get_or_insert_default().set(id.index, pin, &self.hasher);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (PeerId, &Peer)> {
        self.table.iter()
    }

    /// Adds a peer. If the table is full, another peer is forgotten. Returns the id of the new
    /// peer, and the forgotten one.
    pub(crate) fn insert(
        &mut self,
        address: Address,
        status: Status,
        now: Instant,
    ) -> Result<(PeerId, Option<(PeerId, Peer)>), TableFull> {
        debug_assert!(self.find(&address).is_none(), "one address, one peer");
        let forgotten = if self.len() < self.capacity {
            None
        } else {
            let id = self.forgettable().ok_or(TableFull)?;
            self.remove(id).map(|peer| (id, peer))
        };
        let hash = self.hasher.hash(&address);
        // A new entry begins as ignored, which is in no list.
        let id = self.table.insert(Peer::new(address, now));
        self.counts.ignored += 1;
        let Self { table, by_address, hasher, .. } = self;
        by_address.insert_unique(hash, id.index, |index| {
            table.at(*index).map_or(0, |(_, peer)| hasher.hash(&peer.address))
        });
        self.update(id, |peer| peer.status = status);
        Ok((id, forgotten))
    }

    /// Returns the peer that makes room in a full table.
    fn forgettable(&self) -> Option<PeerId> {
        let index = (0..4).find_map(|list| self.evictable.front(list))?;
        self.id(index)
    }

    /// Forgets a peer, and returns it.
    pub(crate) fn remove(&mut self, id: PeerId) -> Option<Peer> {
        self.set_pin(id, None);
        // An ignored peer that is no alias is in no list.
        self.update(id, |peer| (peer.status, peer.is_alias) = (Status::Ignored, false));
        let peer = self.table.remove(id)?;
        self.counts.ignored -= 1;
        let hash = self.hasher.hash(&peer.address);
        if let Ok(slot) = self.by_address.find_entry(hash, |index| *index == id.index) {
            slot.remove();
        }
        Some(peer)
    }

    /// Changes a peer, and puts it into the lists to which it now belongs. Returns its status
    /// before, or `None` for an unknown peer.
    pub(crate) fn update(&mut self, id: PeerId, change: impl FnOnce(&mut Peer)) -> Option<Status> {
        let newcomers = self.newcomers;
        let peer = self.table.get_mut(id)?;
        let listing = |peer: &Peer, is_eligible: bool| Listing {
            status: peer.status,
            reach: is_eligible.then(|| peer.reach()),
            is_probe: peer.is_probe(),
        };
        let before = listing(peer, peer.eligible_at != ABSENT);
        let eviction = peer.eviction(newcomers);
        change(peer);
        let after = listing(peer, peer.is_eligible());
        let later_eviction = peer.eviction(newcomers);
        if eviction != later_eviction {
            self.relist_evictable(id.index, eviction, later_eviction);
        }
        if before != after {
            self.relist(id.index, before, after);
        }
        Some(before.status)
    }

    #[inline(never)]
    fn relist(&mut self, index: u32, before: Listing, after: Listing) {
        let has_moved = before.status != after.status;
        let is_drawn_otherwise = has_moved || before.reach != after.reach;
        if is_drawn_otherwise && before.reach.is_some() {
            self.unlist_eligible(index, before.status);
        }
        if has_moved {
            *self.counts.of(before.status) -= 1;
            *self.counts.of(after.status) += 1;
            if before.status == Status::Alive {
                self.unlist_alive(index);
            }
            if after.status == Status::Alive {
                self.list_alive(index);
            }
        }
        if is_drawn_otherwise && let Some(reach) = after.reach {
            self.list_eligible(index, after.status, reach);
        }
        self.probes = self.probes - u32::from(before.is_probe) + u32::from(after.is_probe);
        debug_assert!(self.len() > 64 || self.lists_are_right(), "peer lists");
    }

    /// Notes that a peer took a message from this tower, or became alive.
    #[inline]
    pub(crate) fn note_taken(&mut self, id: PeerId, now: Instant) {
        if let Some(peer) = self.table.get_mut(id) {
            peer.last_taken = now;
        }
    }

    /// Notes why an attempt to reach a peer failed, or that it succeeded. Returns whether the
    /// reason is another one than before.
    pub(crate) fn note_failure(&mut self, id: PeerId, reason: Option<StatusReason>) -> bool {
        let Some(peer) = self.table.get_mut(id) else { return false };
        let is_other = peer.failure != reason;
        if is_other {
            peer.failure = reason;
        }
        is_other
    }

    /// Notes that this tower announces itself to a peer.
    pub(crate) fn note_contacted(&mut self, id: PeerId, now: Instant) {
        if let Some(peer) = self.table.get_mut(id) {
            peer.contacted = now;
        }
    }

    #[inline(never)]
    fn relist_evictable(&mut self, index: u32, before: Option<usize>, after: Option<usize>) {
        if let Some(list) = before {
            self.evictable.remove(list, index);
        }
        if let Some(list) = after {
            self.evictable.push_back(list, index);
        }
    }

    /// Adds a link to a peer's list of links.
    pub(crate) fn add_link(&mut self, id: PeerId, link: LinkId) {
        self.update(id, |peer| {
            if !peer.links.contains(&link) {
                peer.links.push(link);
            }
        });
    }

    /// Removes a link from a peer's list of links.
    pub(crate) fn remove_link(&mut self, id: PeerId, link: LinkId) {
        self.update(id, |peer| {
            peer.links.retain(|other| *other != link);
            if peer.links.is_empty() {
                peer.links = Vec::new();
            }
        });
    }

    /// Notes that the back-off of the peer in a slot has ended.
    pub(crate) fn on_backoff_over(&mut self, index: u32) {
        if let Some(id) = self.id(index) {
            self.update(id, |peer| peer.is_resting = false);
        }
    }

    /// Returns how many peers may be drawn. While `max_probes` are running, only alive ones.
    #[inline]
    pub(crate) fn eligible(&self, max_probes: usize) -> Eligible {
        let [new, alive, lost, dead] = [0, 1, 2, 3].map(|class: usize| self.eligible[class].len());
        if (self.probes as usize) < max_probes {
            Eligible { new, alive, lost, dead }
        } else {
            Eligible { alive, ..Eligible::default() }
        }
    }

    /// Returns the index of a drawn peer. That does not read the peer, which in a large table would
    /// be a cache miss.
    #[inline]
    pub(crate) fn eligible_at(&self, status: Status, position: u32) -> Option<u32> {
        self.eligible[class(status)?].get(position)
    }

    /// Returns the eligible peers of a status: those with open links come first.
    #[inline]
    pub(crate) fn eligible_list(&self, status: Status) -> Option<&EligibleList> {
        Some(&self.eligible[class(status)?])
    }

    /// Returns an alive peer other than `except`, or `None` if there is none. `draw` is called with
    /// the number of such peers, and returns a number below it.
    #[inline]
    pub(crate) fn draw_alive(
        &self,
        except: Option<PeerId>,
        draw: impl FnOnce(u32) -> u32,
    ) -> Option<&Peer> {
        let excepted = except.and_then(|id| self.get(id)).map_or(ABSENT, |peer| peer.alive_at);
        let count = self.counts.alive - u32::from(excepted != ABSENT);
        if count == 0 {
            return None;
        }
        let drawn = draw(count);
        let position = drawn + u32::from(drawn >= excepted);
        let (_, peer) = self.table.at(*self.alive.get(position as usize)?)?;
        Some(peer)
    }

    /// Returns up to `most` different alive peers other than `except`. `below` returns a drawn
    /// number below its argument.
    pub(crate) fn draw_several_alive(
        &self,
        except: Option<PeerId>,
        most: usize,
        mut below: impl FnMut(u32) -> u32,
    ) -> Vec<&Peer> {
        let excepted = except.and_then(|id| self.get(id)).map_or(ABSENT, |peer| peer.alive_at);
        let count = self.counts.alive - u32::from(excepted != ABSENT);
        let wanted = u32::try_from(most).unwrap_or(u32::MAX).min(count);
        // Floyd's sample without repetition (Bentley, CACM 30:9, 1987).
        let mut drawn = Vec::new();
        for last in count - wanted..count {
            let position = below(last + 1);
            drawn.push(if drawn.contains(&position) { last } else { position });
        }
        let positions = drawn.into_iter().map(|drawn| drawn + u32::from(drawn >= excepted));
        let index = |position: u32| self.alive.get(position as usize);
        positions.filter_map(|position| Some(self.table.at(*index(position)?)?.1)).collect()
    }

    pub(crate) fn is_ignored(&self, id: PeerId) -> bool {
        self.get(id).is_some_and(Peer::is_ignored)
    }

    pub(crate) fn is_alive(&self, id: PeerId) -> bool {
        self.get(id).is_some_and(Peer::is_alive)
    }

    /// Returns the id of the peer in a slot.
    #[inline]
    pub(crate) fn id(&self, index: u32) -> Option<PeerId> {
        self.table.at(index).map(|(id, _)| id)
    }

    fn list_eligible(&mut self, index: u32, status: Status, reach: Reach) {
        let Some(class) = class(status) else { return };
        let Self { table, eligible, .. } = self;
        eligible[class].insert(index, reach, |index, position| {
            if let Some(peer) = table.at_mut(index) {
                peer.eligible_at = position;
            }
        });
    }

    fn unlist_eligible(&mut self, index: u32, status: Status) {
        let Some(class) = class(status) else { return };
        let Self { table, eligible, .. } = self;
        let Some(peer) = table.at_mut(index) else { return };
        let position = core::mem::replace(&mut peer.eligible_at, ABSENT);
        eligible[class].remove(position, |index, position| {
            if let Some(peer) = table.at_mut(index) {
                peer.eligible_at = position;
            }
        });
    }

    fn list_alive(&mut self, index: u32) {
        let position = push(&mut self.alive, index);
        if let Some(peer) = self.table.at_mut(index) {
            peer.alive_at = position;
        }
    }

    fn unlist_alive(&mut self, index: u32) {
        let Some(peer) = self.table.at_mut(index) else { return };
        let position = core::mem::replace(&mut peer.alive_at, ABSENT);
        let moved = swap_remove(&mut self.alive, position);
        if let Some(peer) = moved.and_then(|index| self.table.at_mut(index)) {
            peer.alive_at = position;
        }
    }

    /// Checks every list against the peers, for debug builds.
    fn lists_are_right(&self) -> bool {
        let holds =
            |list: &[u32], position: u32, index: u32| list.get(position as usize) == Some(&index);
        let count = |test: fn(&Peer) -> bool| self.iter().filter(|(_, peer)| test(peer)).count();
        let of = |status| self.iter().filter(|(_, peer)| peer.status == status).count();
        let mut counts = self.counts;
        self.iter().all(|(id, peer)| {
            let list = self.eligible_list(peer.status);
            let listed = list.filter(|list| list.get(peer.eligible_at) == Some(id.index));
            let reach = listed.map(|list| match peer.eligible_at {
                position if position < list.dialled() => Reach::Dialled,
                position if position < list.linked() => Reach::Called,
                _ => Reach::Unlinked,
            });
            reach == peer.is_eligible().then(|| peer.reach())
                && holds(&self.alive, peer.alive_at, id.index) == peer.is_alive()
                && (0..4).find(|list| self.evictable.iter(*list).any(|index| index == id.index))
                    == peer.eviction(self.newcomers)
        }) && self.probes as usize == count(Peer::is_probe)
            && self.eligible.iter().map(|list| list.len() as usize).sum::<usize>()
                == count(Peer::is_eligible)
            && self.alive.len() == count(Peer::is_alive)
            && [Status::New, Status::Alive, Status::Lost, Status::Dead, Status::Ignored]
                .iter()
                .all(|status| *counts.of(*status) as usize == of(*status))
    }
}

/// Returns the position of a status among the lists of eligible peers. Ignored peers have none.
fn class(status: Status) -> Option<usize> {
    let class = status as usize;
    (class < Status::Ignored as usize).then_some(class)
}

#[allow(clippy::cast_possible_truncation, reason = "there are fewer peers than u32 indexes")]
fn push(list: &mut Vec<u32>, index: u32) -> u32 {
    list.push(index);
    (list.len() - 1) as u32
}

/// Removes the entry at `position`, and returns the entry that took its place.
fn swap_remove(list: &mut Vec<u32>, position: u32) -> Option<u32> {
    if (position as usize) < list.len() {
        list.swap_remove(position as usize);
    }
    list.get(position as usize).copied()
}

#[cfg(test)]
mod tests;
