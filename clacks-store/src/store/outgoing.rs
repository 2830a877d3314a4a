//! Datagrams that wait for room on their links, and for their turn.

use alloc::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use clacks_proto::{Instant, LinkId};

use super::config::MAX_WAITING_ITEMS;
use crate::address_group::AddressGroup;
use crate::chunk::Tag;
use crate::protocol::MAX_LEN;
use crate::rate::{Bucket, Rate};

/// A datagram that waits. Long answers of this store are made when they are sent.
#[derive(Clone, Debug)]
pub(super) enum Waiting {
    /// A relayed datagram, or a short answer.
    Bytes(Bytes),
    /// A chunk that was asked for with a number.
    Chunk { number: u32, tag: Tag },
    /// The page of the inventory after a tag.
    Page { number: u32, after: Tag },
}

/// What a store keeps about a link.
#[derive(Debug)]
pub(super) struct LinkState {
    /// Where the link leads.
    pub(super) group: AddressGroup,
    pub(super) publishes: Bucket,
    pub(super) requests: Bucket,
    /// The requests that came on this link, were passed on, and wait for their answers.
    pub(super) relayed: usize,
    waiting: VecDeque<Waiting>,
    /// The length of the datagrams among `waiting`.
    bytes: usize,
    /// The link had no room. A notice follows when it has.
    is_full: bool,
    /// The bytes sent since the link last had nothing to send.
    sent: u64,
}

/// The links of a store and their outgoing datagrams.
///
/// A link with something to send and with room is ready. Ready links take turns: guests get a
/// quarter while peers wait, then the group that has been sent least, then its link that has been
/// sent least.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    links: BTreeMap<LinkId, LinkState>,
    /// The links that are ready, and whether each leads to a guest.
    ready: BTreeMap<LinkId, bool>,
    /// The bytes sent to each group since none was ready.
    turns: BTreeMap<AddressGroup, u64>,
    /// The bytes sent to peers and to guests since none of them waited for the other.
    sent: [u64; 2],
    /// The length of all datagrams that wait.
    bytes: usize,
    egress: Bucket,
}

impl Outgoing {
    pub(super) fn len(&self) -> usize {
        self.links.len()
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn assert_consistent(&self, max_bytes: usize) {
        for (link, state) in &self.links {
            assert_eq!(state.waiting.iter().map(len).sum::<usize>(), state.bytes);
            assert!(state.waiting.len() <= MAX_WAITING_ITEMS);
            let is_ready = !state.waiting.is_empty() && !state.is_full;
            assert_eq!(self.ready.contains_key(link), is_ready, "{state:?}");
        }
        assert!(self.ready.keys().all(|link| self.links.contains_key(link)));
        assert_eq!(self.links.values().map(|state| state.bytes).sum::<usize>(), self.bytes);
        assert!(self.bytes <= max_bytes, "{} bytes wait", self.bytes);
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn iter(&self) -> impl Iterator<Item = (LinkId, &LinkState)> {
        self.links.iter().map(|(link, state)| (*link, state))
    }

    pub(super) fn get(&self, link: LinkId) -> Option<&LinkState> {
        self.links.get(&link)
    }

    pub(super) fn get_mut(&mut self, link: LinkId) -> Option<&mut LinkState> {
        self.links.get_mut(&link)
    }

    /// Notes where a new link leads.
    pub(super) fn open(&mut self, link: LinkId, group: AddressGroup) {
        self.links.entry(link).or_insert_with(|| LinkState {
            group,
            publishes: Bucket::default(),
            requests: Bucket::default(),
            relayed: 0,
            waiting: VecDeque::new(),
            bytes: 0,
            is_full: false,
            sent: 0,
        });
    }

    /// Drops the datagrams of a link that has ended.
    pub(super) fn close(&mut self, link: LinkId) {
        if let Some(state) = self.links.remove(&link) {
            self.bytes -= state.bytes;
        }
        self.ready.remove(&link);
    }

    /// Drops the links for which `test` does not hold.
    pub(super) fn retain(&mut self, test: impl Fn(LinkId) -> bool) {
        let ended: alloc::vec::Vec<_> =
            self.links.keys().copied().filter(|link| !test(*link)).collect();
        ended.into_iter().for_each(|link| self.close(link));
    }

    /// Adds a datagram. Returns false if too much waits, for this link or for all.
    pub(super) fn push(
        &mut self,
        link: LinkId,
        waiting: Waiting,
        is_guest: bool,
        max_bytes: usize,
    ) -> bool {
        let len = len(&waiting);
        let Some(state) = self.links.get_mut(&link) else { return false };
        // A link has at most as much as stays free, so links that do not read leave room for
        // others.
        let fits = state.waiting.len() < MAX_WAITING_ITEMS
            && (state.bytes + len) + (self.bytes + len) <= max_bytes;
        if !fits {
            return false;
        }
        state.waiting.push_back(waiting);
        state.bytes += len;
        self.bytes += len;
        if !state.is_full && state.waiting.len() == 1 {
            self.make_ready(link, is_guest);
        }
        true
    }

    /// Returns how many more datagrams may wait for a link.
    pub(super) fn room(&self, link: LinkId) -> usize {
        self.links.get(&link).map_or(0, |state| MAX_WAITING_ITEMS - state.waiting.len())
    }

    fn make_ready(&mut self, link: LinkId, is_guest: bool) {
        let Some(state) = self.links.get_mut(&link) else { return };
        if self.ready.is_empty() {
            self.turns.clear();
        }
        state.sent = 0;
        // A group that begins now has no claim to the time before.
        if !self.turns.contains_key(&state.group) {
            let least = self.turns.values().min().copied().unwrap_or(0);
            self.turns.insert(state.group, least);
        }
        self.ready.insert(link, is_guest);
        if self.turns.len() > 2 * self.links.len() {
            let Self { turns, ready, links, .. } = self;
            let of = |link| links.get(link).map(|state| state.group);
            turns.retain(|group, _| ready.keys().any(|link| of(link) == Some(*group)));
        }
    }

    /// Returns the link whose turn it is, and what it sends next.
    pub(super) fn next(&self) -> Option<(LinkId, &Waiting)> {
        let [to_peers, to_guests] = self.sent;
        let is_turn_of_guests = to_guests < to_peers / 3;
        let rank = |link: &LinkId, is_guest: bool| {
            let state = self.links.get(link)?;
            let turn = self.turns.get(&state.group).copied();
            Some((is_guest != is_turn_of_guests, turn, state.sent))
        };
        let (link, _) = self.ready.iter().min_by_key(|(link, is_guest)| rank(link, **is_guest))?;
        Some((*link, self.links.get(link)?.waiting.front()?))
    }

    /// Returns when the next datagram may be sent. `None` if no link is ready.
    pub(super) fn next_at(&self, rate: Rate) -> Option<Instant> {
        let tokens = u32::try_from(MAX_LEN).unwrap_or(u32::MAX);
        (!self.ready.is_empty()).then(|| self.egress.ready_at(tokens, rate))
    }

    /// Removes what a link sends next. `sent` is how many bytes were sent.
    pub(super) fn pop(&mut self, link: LinkId, sent: usize, rate: Rate, now: Instant) {
        self.spend(sent, rate, now);
        let Some(state) = self.links.get_mut(&link) else { return };
        let is_guest = self.ready.get(&link).copied().unwrap_or(false);
        if self.ready.values().all(|other| *other == is_guest) {
            self.sent = [0; 2];
        }
        self.sent[usize::from(is_guest)] += sent as u64;
        let len = state.waiting.pop_front().as_ref().map_or(0, len);
        state.bytes -= len;
        self.bytes -= len;
        state.sent += sent as u64;
        *self.turns.entry(state.group).or_default() += sent as u64;
        if state.waiting.is_empty() {
            state.waiting = VecDeque::new();
            self.ready.remove(&link);
        }
    }

    /// Notes that bytes were sent.
    pub(super) fn spend(&mut self, bytes: usize, rate: Rate, now: Instant) {
        self.egress.spend(u32::try_from(bytes).unwrap_or(u32::MAX), rate, now);
    }

    /// Notes that a link has no room.
    pub(super) fn on_full(&mut self, link: LinkId) {
        if let Some(state) = self.links.get_mut(&link) {
            state.is_full = true;
            self.ready.remove(&link);
        }
    }

    /// Notes that a link has room again.
    pub(super) fn on_room(&mut self, link: LinkId, is_guest: bool) {
        let Some(state) = self.links.get_mut(&link) else { return };
        state.is_full = false;
        if !state.waiting.is_empty() {
            self.make_ready(link, is_guest);
        }
    }

    /// Notes that notices were missed: each link may have room.
    pub(super) fn on_missed(&mut self, is_guest: impl Fn(LinkId) -> bool) {
        let links: alloc::vec::Vec<_> = self.links.keys().copied().collect();
        links.into_iter().for_each(|link| self.on_room(link, is_guest(link)));
    }
}

fn len(waiting: &Waiting) -> usize {
    match waiting {
        Waiting::Bytes(bytes) => bytes.len(),
        Waiting::Chunk { .. } | Waiting::Page { .. } => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;

    use clacks_proto::{Config, Seed, StateMachine, Tower};

    #[test]
    fn links_that_do_not_read_leave_room_for_others() {
        let mut outgoing = Outgoing::default();
        let address = "127.0.0.1:8001".parse().unwrap();
        let mut tower = Tower::new(Config::default(), address, &Seed::from_u64(1)).unwrap();
        let kept = [1, 2, 3].map(|number| {
            let ip = Ipv4Addr::new(127, 0, 0, number).into();
            let link = tower.accept(ip, Instant::ORIGIN).unwrap();
            outgoing.open(link, AddressGroup::UNKNOWN);
            let datagram = || Waiting::Bytes(Bytes::from_static(&[0; 100]));
            (0..250).filter(|_| outgoing.push(link, datagram(), true, 10_000)).count()
        });
        assert_eq!(kept, [50, 25, 12]);
    }

    #[test]
    fn guests_get_a_quarter_while_peers_wait() {
        let rate = Rate { burst: u32::MAX, per_second: u32::MAX };
        let mut outgoing = Outgoing::default();
        let address = "127.0.0.1:8001".parse().unwrap();
        let mut tower = Tower::new(Config::default(), address, &Seed::from_u64(1)).unwrap();
        let links = [1, 2].map(|number| {
            tower.accept(Ipv4Addr::new(127, 0, 0, number).into(), Instant::ORIGIN).unwrap()
        });
        let wait = |outgoing: &mut Outgoing, at: usize| {
            let datagram = Waiting::Bytes(Bytes::from_static(&[0; 100]));
            assert!(outgoing.push(links[at], datagram, at == 1, 1_000_000));
        };
        for (at, link) in links.into_iter().enumerate() {
            outgoing.open(link, AddressGroup::UNKNOWN);
            (0..100).for_each(|_| wait(&mut outgoing, at));
        }
        let mut sent = [0; 2];
        for _ in 0..80 {
            let (link, _) = outgoing.next().unwrap();
            outgoing.pop(link, 100, rate, Instant::ORIGIN);
            sent[usize::from(link == links[1])] += 1;
        }
        assert_eq!(sent, [60, 20]);
        // Peers alone have it all, and guests have no claim to the time before.
        while outgoing.get(links[1]).is_some_and(|state| !state.waiting.is_empty()) {
            outgoing.pop(links[1], 100, rate, Instant::ORIGIN);
        }
        for _ in 0..10 {
            let (link, _) = outgoing.next().unwrap();
            assert_eq!(link, links[0]);
            outgoing.pop(link, 100, rate, Instant::ORIGIN);
        }
        (0..10).for_each(|_| wait(&mut outgoing, 1));
        let to_guest = (0..4)
            .filter(|_| {
                let (link, _) = outgoing.next().unwrap();
                outgoing.pop(link, 100, rate, Instant::ORIGIN);
                link == links[1]
            })
            .count();
        assert_eq!(to_guest, 1);
    }
}
