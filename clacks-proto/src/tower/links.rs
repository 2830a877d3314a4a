//! The table of links: accepting, dialling, and making room.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use super::Tower;
use crate::error::{CloseReason, Refusal};
use crate::event::{Action, CloseMode};
use crate::ids::{LinkId, PeerId};
use crate::index_list::IndexLists;
use crate::link::{Direction, Doubt, Link, Session, Transfer};
use crate::prefix::Prefix;
use crate::rng::{Purpose, Stream};
use crate::table::Table;
use crate::time::Instant;
use crate::wire::Farewell;

/// The links of a tower, in every state.
///
/// A link that acts is taken out of the table and put back afterwards, so that the rest of the
/// tower can be changed meanwhile.
#[derive(Debug)]
pub(super) struct Links {
    /// `None` while the link is taken out.
    table: Table<LinkId, Option<Box<Link>>>,
    capacity: usize,
    /// Links that are being closed and not taken out.
    closing: usize,
    /// Links that are taken out.
    taken_out: usize,
    /// All links, the one that was unused longest first, to a second.
    by_use: IndexLists<1>,
}

/// A link is moved in the list of links at most once in this time.
const LISTED_FOR: Duration = Duration::from_secs(1);

/// How many links that are in use are looked at for one that is idle.
const MAX_LOOKS: usize = 8;

impl Links {
    pub(super) fn new(capacity: usize) -> Self {
        let by_use = IndexLists::default();
        Self { table: Table::default(), capacity, closing: 0, taken_out: 0, by_use }
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn closing(&self) -> usize {
        self.closing
    }

    /// Frees the memory if there are no links.
    pub(super) fn free_memory(&mut self) {
        self.table.free_memory();
        self.by_use.free_memory();
    }

    /// Returns how many more links there may be.
    fn free(&self) -> usize {
        self.capacity - self.len()
    }

    /// Returns how many links are to be kept free. A caller that a full tower refuses takes the
    /// tower for lost; with more peers than links that would happen all the time.
    fn reserve(&self) -> usize {
        self.capacity / 16
    }

    fn insert(&mut self, link: Link) -> Option<LinkId> {
        if self.free() == 0 {
            return None;
        }
        let id = self.table.insert(Some(Box::new(link)));
        self.by_use.push_back(0, id.index);
        Some(id)
    }

    /// Removes a link that is taken out.
    pub(super) fn remove(&mut self, id: LinkId) {
        if self.table.remove(id).is_some() {
            self.taken_out -= 1;
            self.by_use.remove(0, id.index);
        }
    }

    #[inline]
    pub(super) fn take(&mut self, id: LinkId) -> Option<Box<Link>> {
        let slot = self.table.get_mut(id)?;
        debug_assert!(slot.is_some(), "a link acts once at a time");
        let link = slot.take()?;
        self.taken_out += 1;
        self.closing -= usize::from(link.session().is_closing());
        Some(link)
    }

    #[inline]
    pub(super) fn put_back(&mut self, id: LinkId, link: Box<Link>) {
        if let Some(slot) = self.table.get_mut(id) {
            self.taken_out -= 1;
            self.closing += usize::from(link.session().is_closing());
            *slot = Some(link);
        }
    }

    /// Notes that a link that is taken out is used.
    #[inline]
    pub(super) fn note_use(&mut self, id: LinkId, session: &mut Session, now: Instant) {
        if now >= session.listed + LISTED_FOR {
            session.listed = now;
            self.move_to_end(id.index);
        }
    }

    fn move_to_end(&mut self, index: u32) {
        self.by_use.remove(0, index);
        self.by_use.push_back(0, index);
    }

    /// Returns the idle link that was unused longest. Links that are in use move to the end of the
    /// list; after some of them the search ends.
    fn longest_idle(&mut self) -> Option<LinkId> {
        for _ in 0..MAX_LOOKS {
            let (id, link) = self.table.at(self.by_use.front(0)?)?;
            if link.as_ref().is_some_and(|link| link.session().is_evictable()) {
                return Some(id);
            }
            self.move_to_end(id.index);
        }
        None
    }

    #[inline]
    pub(super) fn get(&self, id: LinkId) -> Option<&Session> {
        self.table.get(id)?.as_ref().map(|link| link.session())
    }

    #[inline]
    pub(super) fn get_link_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        self.table.get_mut(id)?.as_deref_mut()
    }

    /// Starts to load the slot of a link into the cache.
    #[cfg(feature = "simulation")]
    pub(super) fn prefetch_slot(&self, id: LinkId) {
        self.table.prefetch(id.index);
        self.by_use.prefetch(id.index);
    }

    /// Starts to load a link into the cache.
    #[cfg(feature = "simulation")]
    pub(super) fn prefetch_link(&self, id: LinkId) {
        if let Some(Some(link)) = self.table.get(id) {
            crate::prefetch::prefetch(&**link, &link.session().number);
        }
    }

    pub(super) fn id(&self, index: u32) -> Option<LinkId> {
        self.table.at(index).map(|(id, _)| id)
    }

    /// Returns all links that are not taken out.
    pub(super) fn iter(&self) -> impl Iterator<Item = (LinkId, &Session)> {
        self.table.iter().filter_map(|(id, link)| Some((id, link.as_ref()?.session())))
    }

    /// Returns all links for which `test` holds and that are not taken out.
    pub(super) fn matching(&self, test: impl Fn(&Session) -> bool) -> Vec<LinkId> {
        self.iter().filter(|(_, session)| test(session)).map(|(id, _)| id).collect()
    }
}

impl Tower {
    pub(super) fn accept_link(&mut self, from: IpAddr) -> Result<LinkId, Refusal> {
        if !self.phase.is_running() {
            return Err(Refusal::ShuttingDown);
        }
        let config = &self.local.config;
        let is_limited = config.max_unproved < config.max_links;
        if is_limited && self.unproved.len() >= config.max_unproved {
            self.displace_unproved();
        }
        let mut link = Link::inbound(self.draw_link_number(), &self.local, self.now);
        link.session_mut().prefix = Prefix::of(from);
        let Some(id) = self.insert_link(link) else {
            if is_limited {
                self.displace_unproved();
            }
            return Err(Refusal::TooManyLinks);
        };
        if let Some(link) = self.links.get_link_mut(id) {
            let session = link.session_mut();
            session.unproved = Some(self.unproved.insert(session.prefix, id.index));
        }
        Ok(id)
    }

    /// Unproved links are shared among the networks from which they come: a link of the greediest
    /// network makes room for a caller. It is one that is closing and whose other side keeps it
    /// open, or else the oldest. It is aborted: a goodbye would keep its slot.
    fn displace_unproved(&mut self) {
        let Some(id) = self.unproved.displaceable().and_then(|index| self.links.id(index)) else {
            return;
        };
        if self.links.get(id).is_some_and(Session::is_closing) {
            self.with_link(id, Link::abort_close);
        } else {
            self.close(id, CloseReason::Evicted, Doubt::NotTaken, CloseMode::Abort);
        }
    }

    /// Notes whether an unproved link has proved itself, is closing, or is aborted.
    ///
    /// A closing link counts until it has ended: its other side may keep its slot occupied.
    #[cold]
    pub(super) fn note_proof(&mut self, session: &mut Session) {
        let Some(number) = session.unproved else { return };
        if session.is_aborted() || self.has_place_as_peer(session) {
            self.unproved.remove(session.prefix, number);
            session.unproved = None;
        } else if session.is_closing() {
            self.unproved.note_closing(session.prefix, number);
        }
    }

    /// Returns whether a link does not count as unproved: the other side is a proved peer, or
    /// claims without a key to be an alive one that has no more links than it needs. A peer and
    /// this tower may dial each other at the same time.
    fn has_place_as_peer(&self, session: &Session) -> bool {
        let from = self.peer_of(session);
        let is_modest = |peer: &super::peers::Peer| peer.links.len() <= peer.max_links() + 1;
        from.proved.is_some()
            || from.accountable.and_then(|peer| self.peers.get(peer)).is_some_and(is_modest)
    }

    /// Opens a link to a peer. Returns `None` if all links are in use; an idle one is then asked to
    /// make room.
    pub(super) fn dial(&mut self, peer: PeerId) -> Option<LinkId> {
        self.dial_except(peer, Vec::new())
    }

    /// Opens a link to a peer, as [`dial`](Self::dial), but not to some IP addresses of its name.
    pub(super) fn dial_except(&mut self, peer: PeerId, except: Vec<IpAddr>) -> Option<LinkId> {
        let standing = self.standing(peer);
        let record = self.peers.get(peer)?;
        let (address, dialect) = (record.address.clone(), record.dialect);
        let number = self.draw_link_number();
        let mut link = Link::outbound(number, peer, dialect, &self.local, self.now);
        link.session_mut().prefix = Prefix::of_address(&address);
        let id = self.insert_link(link)?;
        self.peers.add_link(peer, id);
        self.peers.update(peer, |peer| {
            (peer.link, peer.open, peer.is_full) = (Some(id), None, false);
        });
        self.stats.links_dialled += 1;
        self.actions.push(Action::Connect { link: id, address, except, standing });
        Some(id)
    }

    /// Draws the number of a link. That is rare, so the stream of these numbers is not kept.
    fn draw_link_number(&mut self) -> u64 {
        let drawn = self.numbered_links;
        self.numbered_links += 1;
        Stream::resume(self.selector.seed(), Purpose::Link, drawn).word()
    }

    fn insert_link(&mut self, link: Link) -> Option<LinkId> {
        let id = Some(link).filter(|_| self.actions.has_room_for_link());
        let Some(id) = id.and_then(|link| self.links.insert(link)) else {
            self.make_room_for_links(1);
            return None;
        };
        self.make_room_for_links(self.links.reserve());
        // Asks the driver to send the hello, and sets the first deadline.
        if let Some(link) = self.links.take(id) {
            self.put_back(id, link);
        }
        Some(id)
    }

    /// Asks the idle link that was unused longest to close, unless `wanted` links are free or soon
    /// will be.
    fn make_room_for_links(&mut self, wanted: usize) {
        // A link that acts asks for room only while it ends.
        let free = self.links.free() + self.links.closing + self.links.taken_out;
        if free < wanted
            && let Some(id) = self.links.longest_idle()
        {
            self.close_gracefully(id, CloseReason::Evicted, Farewell::Idle);
        }
    }

    /// Says goodbye on an open link, and closes it when nothing is unanswered.
    pub(super) fn close_gracefully(&mut self, id: LinkId, reason: CloseReason, farewell: Farewell) {
        self.with_link(id, |link, local, now| {
            link.session_mut().close_gracefully(reason, farewell, local, now)
        });
    }

    /// Closes a link, unless it is closed.
    pub(super) fn close(&mut self, id: LinkId, reason: CloseReason, doubt: Doubt, how: CloseMode) {
        if self.links.get(id).is_some_and(Session::is_live) {
            self.with_link(id, |link, local, now| {
                link.session_mut().close(reason, doubt, Some(how), local, now)
            });
        }
    }

    /// Returns the link on which a peer gets what this tower has for it: a new one if need be and
    /// if there is room.
    pub(super) fn link_for(&mut self, id: PeerId) -> Option<LinkId> {
        let peer = self.peers.get(id)?;
        let is_usable = |link: &LinkId| self.links.get(*link).is_some_and(Session::is_usable);
        if peer.max_links() == 1 {
            return peer.link.filter(is_usable).or_else(|| self.dial(id));
        }
        self.refresh_window(id, None);
        let link = self.peers.get(id)?.link;
        let is_vacant = |link: &LinkId| self.links.get(*link).is_some_and(has_room);
        match link.filter(is_vacant) {
            Some(link) => Some(link),
            None if self.may_dial_more(id, None) => self.dial(id),
            None => None,
        }
    }

    /// Makes the next message for a peer take another link.
    pub(super) fn release_link(&mut self, id: LinkId, peer: PeerId) {
        self.peers.update(peer, |peer| peer.link = peer.link.filter(|link| *link != id));
        self.refresh_window(peer, None);
    }

    /// Notes whether the link on which messages are handed to a peer is open and has room. Chooses
    /// another link for a peer that speaks HTTP. `acting` is a link that is taken out of the table.
    pub(super) fn refresh_window(&mut self, id: PeerId, acting: Option<(LinkId, &Session)>) {
        let Some(peer) = self.peers.get(id) else { return };
        let session = |link: LinkId| match acting {
            Some((other, session)) if other == link => Some(session),
            _ => self.links.get(link),
        };
        let is_full = |link: LinkId| session(link).is_some_and(Session::is_full);
        let (link, is_full) = if peer.max_links() > 1 {
            // The link that has just become vacant is the least likely to be closed by the peer.
            let first = acting.map(|(link, _)| link).into_iter().chain(peer.link);
            let mut links = first.chain(peer.links.iter().copied());
            let vacant = links.find(|link| session(*link).is_some_and(has_room));
            let is_full =
                peer.busy_links > 0 && vacant.is_none() && !self.may_dial_more(id, acting);
            (vacant.or(peer.link), is_full)
        } else {
            (peer.link, peer.link.is_some_and(is_full))
        };
        let open = link.and_then(session).filter(|session| session.is_open());
        let open = open.map(Session::direction);
        if (link, open, is_full) != (peer.link, peer.open, peer.is_full) {
            self.peers.update(id, |peer| {
                (peer.link, peer.open, peer.is_full) = (link, open, is_full);
            });
        }
    }

    /// Returns whether one more link to a peer is of use.
    fn may_dial_more(&self, id: PeerId, acting: Option<(LinkId, &Session)>) -> bool {
        let Some(peer) = self.peers.get(id) else { return false };
        let links = peer.links.iter().filter_map(|link| self.links.get(*link));
        let links = links.chain(acting.map(|(_, session)| session));
        let count = links.filter(|session| is_for_transfers(session)).count();
        count < peer.max_links() && self.links.free() > 0
    }

    /// Gives a transfer to a link. The link must be usable.
    #[inline]
    pub(super) fn give(&mut self, id: LinkId, transfer: Transfer) {
        let Some(link) = self.links.get_link_mut(id) else { return };
        let session = link.session_mut();
        session.give(transfer, &self.local);
        // Of many transfers in a row, only the first changes anything else.
        if session.needs_attention()
            && let Some(mut link) = self.links.take(id)
        {
            self.attend(id, link.session_mut());
            self.links.put_back(id, link);
        }
    }

    /// Notes in the record of a link's peer whether the link is busy and whether its window is
    /// full.
    #[inline]
    pub(super) fn note_load(&mut self, id: LinkId, session: &mut Session) {
        let Some(peer) = session.peer else { return };
        let is_busy = session.is_busy() && session.is_live();
        if is_busy != session.counts_as_busy {
            session.counts_as_busy = is_busy;
            self.peers.update(peer, |peer| {
                peer.busy_links = peer.busy_links + u16::from(is_busy) - u16::from(!is_busy);
            });
        }
        let is_full = session.is_full();
        if is_full != session.counts_as_full {
            session.counts_as_full = is_full;
            self.refresh_window(peer, Some((id, session)));
        }
    }
}

/// Returns whether a link is one of the several links that carry transfers to a peer.
fn is_for_transfers(session: &Session) -> bool {
    session.direction() == Direction::Outbound && session.is_usable()
}

/// Returns whether a link is one of these and has room for one more transfer.
fn has_room(session: &Session) -> bool {
    is_for_transfers(session) && !session.is_full()
}
