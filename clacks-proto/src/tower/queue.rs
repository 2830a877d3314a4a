//! The messages that a tower holds: waiting, in flight, or under screening.

mod shares;

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as IndexEntry;

use crate::deadline_heap::DeadlineHeap;
use crate::hash::Hasher;
use crate::ids::{LinkId, MessageId, PeerId};
use crate::message::{Kind, Message, Nonce};
use crate::table::{Key, Table};
use crate::time::Instant;
use shares::Shares;

/// A peer may hold at least one part in so many of the queue. The value is a guess.
const LEAST_SHARE: usize = 8;

/// Where a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the queue.
    Waiting,
    /// At rest, until it joins the tail of the queue.
    Held,
    /// Handed to a peer that has not confirmed it.
    InFlight(PeerId),
    /// Shown to the application, which has not decided. The link is the one that brought the
    /// message.
    Offered(LinkId),
}

/// A message that is held.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) nonce: Nonce,
    pub(crate) message: Message,
    pub(crate) place: Place,
    /// When the lifetime of the message is over; [`Instant::FAR_FUTURE`] if it is unlimited.
    pub(crate) deadline: Instant,
    /// A copy came in while this one was in flight. When this one is confirmed, it stays as the
    /// copy.
    came_again: bool,
    /// The index finds this message by its nonce.
    is_indexed: bool,
    account: Account,
}

/// The sender to whose share of the queue a message counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Account {
    /// The application. Its share is limited when it enqueues.
    Local,
    /// All callers that are no proved peers.
    Unproved,
    Peer(PeerId),
}

/// The result of [`Queue::take_in`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TakenIn {
    /// The message is new and waits at the tail.
    Queued(MessageId),
    /// The message is held already.
    Coalesced(MessageId),
    /// There is no room for the message.
    Full,
}

/// A bounded queue of messages that stay until their transfer is confirmed.
///
/// Messages in flight and under screening count towards the bounds. Each message is in exactly one
/// [`Place`].
#[derive(Debug)]
pub(crate) struct Queue {
    entries: Table<MessageId, Entry>,
    /// The messages that wait, head first.
    waiting: VecDeque<u32>,
    /// Messages that wait or are in flight, by their nonce. Keyed, because peers choose nonces.
    by_nonce: HashTable<u32>,
    /// No message that waits has an earlier deadline. The message that had this one may be gone.
    earliest_deadline: Instant,
    /// When the holds of messages at rest end.
    holds: DeadlineHeap,
    hasher: Hasher,
    bytes: usize,
    shares: Shares,
    max_messages: usize,
    max_bytes: usize,
}

impl Queue {
    pub(crate) fn new(max_messages: usize, max_bytes: usize, hasher: Hasher) -> Self {
        Self {
            entries: Table::default(),
            waiting: VecDeque::new(),
            by_nonce: HashTable::new(),
            earliest_deadline: Instant::FAR_FUTURE,
            holds: DeadlineHeap::default(),
            hasher,
            bytes: 0,
            shares: Shares::new(max_messages, max_bytes),
            max_messages,
            max_bytes,
        }
    }

    /// Starts to load the head into the cache.
    #[cfg(feature = "simulation")]
    pub(crate) fn prefetch(&self) {
        self.entries.prefetch(0);
        prefetch_index::prefetch_index(self.waiting.as_slices().0, 0);
    }

    /// Frees the memory of an empty queue.
    pub(crate) fn free_memory(&mut self) {
        if self.len() == 0 {
            self.entries.free_memory();
            self.waiting = VecDeque::new();
            self.by_nonce = HashTable::new();
            self.holds.free_memory();
            self.shares.free_memory();
        }
    }

    /// Returns the number of messages held.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns the bytes of the bodies held.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the number of messages that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Returns whether a body of `len` bytes fits into `percent` of the bounds, beside `other`
    /// bytes that are not held here but count.
    #[inline]
    pub(crate) fn has_room(&self, len: usize, percent: u8, other: usize) -> bool {
        let share = |whole| share(whole, percent);
        self.len() < share(self.max_messages)
            && self.bytes.saturating_add(other).saturating_add(len) <= share(self.max_bytes)
    }

    /// Returns whether an account stays within its share of the queue with one more body of `len`
    /// bytes, at a tower with so many alive peers.
    pub(crate) fn is_within_share(&self, account: Account, len: usize, peers: u32) -> bool {
        let held = self.shares.held(account);
        let whole = self.max_bytes;
        let twice_equal = (whole / (peers as usize + 1)).saturating_mul(2);
        let limit = match account {
            Account::Local => return true,
            Account::Peer(_) if peers <= 1 => return true,
            Account::Peer(_) => (whole / LEAST_SHARE).max(twice_equal),
            Account::Unproved => whole / LEAST_SHARE,
        };
        held == 0 || held.saturating_add(self.shares.cost(len)) <= limit
    }

    pub(crate) fn hasher(&self) -> &Hasher {
        &self.hasher
    }

    /// Returns whether more than `percent` of the bounds are used, with `other` bytes that are not
    /// held here but count.
    pub(crate) fn is_fuller_than(&self, percent: u8, other: usize) -> bool {
        self.len() > share(self.max_messages, percent)
            || self.bytes.saturating_add(other) > share(self.max_bytes, percent)
    }

    /// Returns the keyed hash of a nonce.
    #[inline]
    pub(crate) fn hash(&self, nonce: Nonce) -> u64 {
        self.hasher.hash(&nonce)
    }

    /// Queues a message that came in, unless it is held already or `has_room` is false. `hash` is
    /// that of the nonce.
    #[inline]
    pub(crate) fn take_in(
        &mut self,
        nonce: Nonce,
        hash: u64,
        kind: Kind,
        body: &[u8],
        account: Account,
        has_room: bool,
    ) -> TakenIn {
        let Self { entries, by_nonce, hasher, .. } = self;
        let nonce_of = |index: &u32| entries.at(*index).map_or(Nonce(0), |(_, entry)| entry.nonce);
        let slot = by_nonce.entry(
            hash,
            |index| nonce_of(index) == nonce,
            |index| hasher.hash(&nonce_of(index)),
        );
        let is_indexed = match &slot {
            IndexEntry::Occupied(slot) => {
                if let Some((id, entry)) = entries.at(*slot.get())
                    && entry.message.kind() == kind
                    && entry.message.body() == body
                {
                    self.coalesce(id);
                    return TakenIn::Coalesced(id);
                }
                false
            }
            IndexEntry::Vacant(_) => true,
        };
        if !has_room {
            return TakenIn::Full;
        }
        let message = Message::copied(kind, body);
        let place = Place::Waiting;
        let (deadline, came_again) = (Instant::FAR_FUTURE, false);
        let entry = Entry { nonce, message, place, deadline, came_again, is_indexed, account };
        let id = entries.insert(entry);
        self.shares.add(account, body.len());
        if let IndexEntry::Vacant(slot) = slot {
            slot.insert(id.index);
        }
        self.bytes += body.len();
        self.waiting.push_back(id.index);
        TakenIn::Queued(id)
    }

    /// Returns a message with this nonce and body that waits or is in flight.
    pub(crate) fn find(&self, nonce: Nonce, message: &Message) -> Option<MessageId> {
        let index = self.by_nonce.find(self.hash(nonce), |index| {
            self.entries.at(*index).is_some_and(|(_, entry)| entry.nonce == nonce)
        })?;
        let (id, entry) = self.entries.at(*index)?;
        (entry.message == *message).then_some(id)
    }

    /// Stores a message. The caller has checked the room.
    pub(crate) fn store(
        &mut self,
        nonce: Nonce,
        message: Message,
        place: Place,
        account: Account,
    ) -> MessageId {
        self.bytes += message.len();
        self.shares.add(account, message.len());
        let (deadline, came_again, is_indexed) = (Instant::FAR_FUTURE, false, false);
        let entry = Entry { nonce, message, place, deadline, came_again, is_indexed, account };
        let id = self.entries.insert(entry);
        if place == Place::Waiting {
            self.waiting.push_back(id.index);
            self.index(id);
        }
        id
    }

    /// Sets when the lifetime of a message that has come in is over.
    #[inline]
    pub(crate) fn set_deadline(&mut self, id: MessageId, deadline: Instant) {
        if let Some(entry) = self.entries.get_mut(id) {
            entry.deadline = deadline;
            if entry.place == Place::Waiting {
                self.earliest_deadline = self.earliest_deadline.min(deadline);
            }
        }
    }

    /// Gives a held message the deadline of its copy, if that is later.
    pub(crate) fn prolong(&mut self, id: MessageId, deadline: Instant) {
        if self.get(id).is_some_and(|entry| entry.deadline < deadline) {
            self.set_deadline(id, deadline);
        }
    }

    /// Makes the message that was queued last, or one under screening, rest until a time.
    pub(crate) fn hold(&mut self, id: MessageId, until: Instant) {
        let Some(entry) = self.entries.get(id) else { return };
        match entry.place {
            Place::Waiting if self.waiting.back() == Some(&id.index) => {
                self.waiting.pop_back();
            }
            Place::Offered(_) => self.index(id),
            _ => {
                debug_assert!(false, "a message rests before it waits");
                return;
            }
        }
        if let Some(entry) = self.entries.get_mut(id) {
            entry.place = Place::Held;
        }
        self.holds.set(id.index, until);
    }

    /// Returns when the first hold ends.
    #[inline]
    pub(crate) fn first_hold(&self) -> Option<Instant> {
        self.holds.next()
    }

    /// Puts the message whose hold ends first at the tail.
    pub(crate) fn end_first_hold(&mut self) {
        if let Some(index) = self.holds.pop()
            && let Some((id, _)) = self.entries.at(index)
        {
            self.requeue(id);
        }
    }

    /// Returns the number of messages that rest.
    pub(crate) fn at_rest(&self) -> usize {
        self.holds.len()
    }

    /// Returns a time before which no message that waits must be dropped.
    #[inline]
    pub(crate) fn earliest_deadline(&self) -> Option<Instant> {
        Some(self.earliest_deadline).filter(|at| *at < Instant::FAR_FUTURE)
    }

    /// Removes at most `max` messages that wait and whose deadlines have passed, and returns them.
    /// Costs one look at all messages that wait.
    pub(crate) fn take_expired(
        &mut self,
        now: Instant,
        max: usize,
    ) -> Vec<(MessageId, Nonce, Message)> {
        let Self { waiting, entries, earliest_deadline, .. } = self;
        let mut expired = Vec::new();
        *earliest_deadline = Instant::FAR_FUTURE;
        waiting.retain(|index| {
            let Some((id, entry)) = entries.at(*index) else { return false };
            let stays = entry.deadline > now || expired.len() == max;
            if stays {
                *earliest_deadline = entry.deadline.min(*earliest_deadline);
            } else {
                expired.push(id);
            }
            stays
        });
        let remove = |id: MessageId| self.remove(id).map(|(nonce, message)| (id, nonce, message));
        expired.into_iter().filter_map(remove).collect()
    }

    /// Removes the message at the head, and returns it.
    pub(crate) fn take_head(&mut self) -> Option<(MessageId, Nonce, Message)> {
        let (id, _) = self.entries.at(self.waiting.pop_front()?)?;
        self.remove(id).map(|(nonce, message)| (id, nonce, message))
    }

    /// Notes that a copy of a held message came in and was confirmed to its sender.
    ///
    /// A message in flight would be dropped when its receiver confirms it. If that receiver is at
    /// the same time the sender of the copy, it drops its own one too. So the message must stay
    /// then.
    pub(crate) fn coalesce(&mut self, id: MessageId) {
        if let Some(entry) = self.entries.get_mut(id)
            && matches!(entry.place, Place::InFlight(_))
        {
            entry.came_again = true;
        }
    }

    /// Returns the message at the head.
    #[inline]
    pub(crate) fn head(&self) -> Option<(MessageId, &Entry)> {
        self.entries.at(*self.waiting.front()?)
    }

    /// Takes the message at the head out of the queue: it is in flight to `peer`.
    #[inline]
    pub(crate) fn depart(&mut self, peer: PeerId) {
        if let Some(index) = self.waiting.pop_front()
            && let Some(entry) = self.entries.at_mut(index)
        {
            entry.place = Place::InFlight(peer);
        }
    }

    /// Moves the message at the head to the tail.
    pub(crate) fn rotate(&mut self) {
        if let Some(index) = self.waiting.pop_front() {
            self.waiting.push_back(index);
        }
    }

    /// Puts a message that rests, is in flight or is under screening at the tail. Returns whether
    /// the message was one of these.
    pub(crate) fn requeue(&mut self, id: MessageId) -> bool {
        let Some(entry) = self.entries.get_mut(id) else { return false };
        if entry.place == Place::Waiting {
            return false;
        }
        entry.place = Place::Waiting;
        entry.came_again = false;
        let is_indexed = entry.is_indexed;
        self.earliest_deadline = self.earliest_deadline.min(entry.deadline);
        self.waiting.push_back(id.index);
        if !is_indexed {
            self.index(id);
        }
        true
    }

    /// Removes a message in flight that was confirmed, and returns it. If a copy came in meanwhile,
    /// the message goes back to the queue as that copy, and the result is `true`.
    #[inline]
    pub(crate) fn complete(&mut self, id: MessageId) -> Option<(Nonce, Message, bool)> {
        let entry = self.entries.get(id)?;
        debug_assert!(matches!(entry.place, Place::InFlight(_)), "only transfers complete");
        if entry.came_again {
            let copy = (entry.nonce, entry.message.clone(), true);
            self.requeue(id);
            return Some(copy);
        }
        self.remove(id).map(|(nonce, message)| (nonce, message, false))
    }

    /// Removes a message that is under screening.
    pub(crate) fn discard(&mut self, id: MessageId) {
        let is_offered = |entry: &Entry| matches!(entry.place, Place::Offered(_));
        if self.entries.get(id).is_some_and(is_offered) {
            self.remove(id);
        }
    }

    /// Returns a message.
    #[inline]
    pub(crate) fn get(&self, id: MessageId) -> Option<&Entry> {
        self.entries.get(id)
    }

    /// Returns the link that brought a message under screening.
    pub(crate) fn offered_on(&self, id: MessageId) -> Option<LinkId> {
        match self.get(id)?.place {
            Place::Offered(link) => Some(link),
            _ => None,
        }
    }

    /// Returns what waits, head first, then what rests, is in flight or is under screening.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (MessageId, &Entry)> {
        let waiting = self.waiting.iter().filter_map(|index| self.entries.at(*index));
        let away = self.entries.iter().filter(|(_, entry)| entry.place != Place::Waiting);
        waiting.chain(away)
    }

    fn remove(&mut self, id: MessageId) -> Option<(Nonce, Message)> {
        let entry = self.entries.remove(id)?;
        self.holds.clear(id.index);
        self.bytes -= entry.message.len();
        self.shares.subtract(entry.account, entry.message.len());
        if entry.is_indexed {
            let hash = self.hash(entry.nonce);
            if let Ok(slot) = self.by_nonce.find_entry(hash, |index| *index == id.index) {
                slot.remove();
            }
        }
        Some((entry.nonce, entry.message))
    }

    /// Makes a message findable by its nonce. If another body with the same nonce is findable
    /// already, this one is not: messages with one nonce must not crowd one place of the index.
    fn index(&mut self, id: MessageId) {
        let Self { entries, by_nonce, hasher, .. } = self;
        let Some(nonce) = entries.get(id).map(|entry| entry.nonce) else { return };
        let nonce_of = |index: &u32| entries.at(*index).map_or(Nonce(0), |(_, entry)| entry.nonce);
        let slot = by_nonce.entry(
            hasher.hash(&nonce),
            |index| nonce_of(index) == nonce,
            |index| hasher.hash(&nonce_of(index)),
        );
        if let IndexEntry::Vacant(slot) = slot {
            slot.insert(id.parts().0);
            if let Some(entry) = entries.get_mut(id) {
                entry.is_indexed = true;
            }
        }
    }
}

/// Returns a share of a bound, in per cent.
#[inline]
fn share(whole: usize, percent: u8) -> usize {
    match percent {
        100 => whole,
        // In two steps, so that no bound overflows.
        _ => whole / 100 * usize::from(percent) + whole % 100 * usize::from(percent) / 100,
    }
}

#[cfg(test)]
mod tests;
