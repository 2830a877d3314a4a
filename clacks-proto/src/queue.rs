//! The messages that a tower holds: waiting, in flight, or under screening.

use alloc::vec::Vec;
use bytes::Bytes;
use hashbrown::HashTable;

use crate::digest::{NumberDigest, spread};
use crate::ids::{Epoch, LinkId, MessageKey, PeerId};
use crate::message::{Kind, Message, Nonce};
use crate::room;

const NOWHERE: u32 = u32::MAX;

/// Where a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Nowhere: the slot is free.
    Vacant,
    /// In the queue.
    Waiting,
    /// Handed to a peer that has not confirmed it.
    InFlight(PeerId),
    /// Shown to the application, which has not decided.
    Offered { link: LinkId },
    /// Gone, but notices that wait to be polled may speak of it.
    Departed,
    /// Gone, and nobody speaks of it; but a link has sent only a part of it.
    Lingering,
}

#[derive(Debug)]
struct Slot {
    epoch: Epoch,
    /// The message behind this one in the queue, or among the departed; of a vacant slot, the one that fell vacant before it.
    next: u32,
    /// Links that have sent only a part of it.
    pins: u32,
    /// A copy came in while this one was in flight: when it is confirmed, one must stay.
    came_again: bool,
    /// The index finds this message by its nonce.
    is_indexed: bool,
    kind: Kind,
    place: Place,
    /// The nonce's digest. Of a departed message, which is not in the index, the number of the last notice that may speak of it.
    digest_or_notice: u32,
    nonce: Nonce,
    body: Bytes,
}

/// A message's name with its digest, for the index.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Name {
    nonce: Nonce,
    digest: u32,
}

impl Name {
    fn is_of(self, slot: &Slot) -> bool {
        slot.nonce == self.nonce
    }
}

/// A bounded first-in-first-out queue of messages that stay until their transfer is confirmed.
///
/// Messages in flight and under screening count towards the bounds like the waiting ones. Each message is in exactly one place. One that has left stays
/// readable until the notices that speak of it have been polled; those are numbered in order, so that one number says it for all of them.
/// The index by nonce is a hash table with a secret key, since peers choose nonces, and is never iterated.
#[derive(Debug)]
pub(crate) struct Queue {
    slots: Vec<Slot>,
    /// The slot that fell vacant last.
    vacant: u32,
    /// Slots that are not vacant.
    taken: u32,
    head: u32,
    tail: u32,
    waiting: u32,
    /// The message that departed first of those that notices may speak of, and the one that did so last.
    departed_first: u32,
    departed_last: u32,
    messages: u32,
    bytes: usize,
    /// Bytes of bodies that have departed and are still readable.
    departed_bytes: usize,
    by_nonce: HashTable<u32>,
    digest: NumberDigest,
    max_messages: usize,
    max_bytes: usize,
}

impl Queue {
    pub(crate) fn new(max_messages: usize, max_bytes: usize, digest: NumberDigest) -> Self {
        Self {
            slots: Vec::new(),
            vacant: NOWHERE,
            taken: 0,
            head: NOWHERE,
            tail: NOWHERE,
            waiting: 0,
            departed_first: NOWHERE,
            departed_last: NOWHERE,
            messages: 0,
            bytes: 0,
            departed_bytes: 0,
            by_nonce: HashTable::new(),
            digest,
            max_messages,
            max_bytes,
        }
    }

    /// Reads a word of the index, and where the head is.
    pub(crate) fn look_at_index(&self) -> u64 {
        // The hash doesn't matter: small tables are one cache line.
        let found = self.by_nonce.find(0, |_| false);
        u64::from(found.is_some())
            ^ self.slots.get(self.head as usize).map_or(0, |slot| slot.next.into())
    }

    /// Reads the head's body.
    pub(crate) fn look_at_head(&self) -> u64 {
        let head = self.slots.get(self.head as usize);
        head.and_then(|slot| slot.body.first()).map_or(0, |byte| u64::from(*byte))
    }

    /// What one message takes at most, in bytes, besides its body.
    pub(crate) const MEMORY: usize = 2 * size_of::<Slot>() // vectors grow by doubling
        + 2 * 2 * (size_of::<u32>() + 1); // a hash table at its sparsest, while it grows

    /// Messages held.
    pub(crate) fn len(&self) -> usize {
        self.messages as usize
    }

    /// Bytes of the bodies held.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Places that are taken, and bytes of bodies that have departed and still take them.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn slots(&self) -> (usize, usize) {
        (self.taken as usize, self.departed_bytes)
    }

    /// Messages waiting.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting as usize
    }

    /// Whether a body of `len` bytes fits into `percent` of the bounds.
    pub(crate) fn has_room(&self, len: usize, percent: u8) -> bool {
        let share = |whole: usize| {
            // In two steps, so that no bound is too large to be multiplied.
            whole / 100 * usize::from(percent) + whole % 100 * usize::from(percent) / 100
        };
        // A departed message that a notice speaks of still takes a slot: slots are the memory.
        (self.taken as usize) < share(self.max_messages)
            && self.bytes.saturating_add(self.departed_bytes).saturating_add(len)
                <= share(self.max_bytes)
    }

    /// Stores a message, waiting at the tail or offered. The caller has seen to the room.
    #[allow(clippy::cast_possible_truncation, reason = "Config::check keeps slots within u32")]
    pub(crate) fn store(
        &mut self,
        name: Name,
        kind: Kind,
        body: Bytes,
        place: Place,
    ) -> MessageKey {
        let Name { nonce, digest } = name;
        self.messages += 1;
        self.bytes += body.len();
        self.taken += 1;
        let index = self.vacant;
        let index = if let Some(slot) = self.slots.get_mut(index as usize) {
            self.vacant = core::mem::replace(&mut slot.next, NOWHERE);
            index
        } else {
            room::for_one_more(&mut self.slots);
            self.slots.push(Slot {
                epoch: Epoch::FIRST,
                next: NOWHERE,
                pins: 0,
                came_again: false,
                is_indexed: false,
                kind,
                place: Place::Vacant,
                digest_or_notice: digest,
                nonce,
                body: Bytes::new(),
            });
            (self.slots.len() - 1) as u32
        };
        let slot = &mut self.slots[index as usize];
        slot.came_again = false;
        slot.is_indexed = false;
        (slot.kind, slot.place, slot.body) = (kind, place, body);
        (slot.nonce, slot.digest_or_notice) = (nonce, digest);
        let key = MessageKey { index, epoch: slot.epoch };
        if place == Place::Waiting {
            self.append(index);
            self.index(index);
        }
        key
    }

    /// The name of a message, for [`find`](Self::find) and [`store`](Self::store).
    pub(crate) fn name(&self, nonce: Nonce) -> Name {
        Name { nonce, digest: self.digest.of(nonce.0) }
    }

    /// A message of this name and with this very body that waits or is in flight.
    pub(crate) fn find(&self, name: Name, kind: Kind, body: &[u8]) -> Option<MessageKey> {
        let index = *self.by_nonce.find(spread(name.digest), |index| {
            self.slots.get(*index as usize).is_some_and(|slot| name.is_of(slot))
        })?;
        let slot = self.slots.get(index as usize)?;
        (slot.kind == kind && slot.body == body).then_some(MessageKey { index, epoch: slot.epoch })
    }

    /// Notes that a copy of a held message came in and was confirmed to its sender.
    ///
    /// A copy that waits stays anyway. One in flight would be forgotten when its receiver confirms it, and if that
    /// receiver is at the same time the sender of the copy, both would forget theirs: so it must stay then.
    pub(crate) fn coalesce(&mut self, key: MessageKey) {
        if let Some(slot) = self.slot_mut(key)
            && matches!(slot.place, Place::InFlight(_))
        {
            slot.came_again = true;
        }
    }

    /// The message at the head and the length of its body.
    pub(crate) fn head(&self) -> Option<(MessageKey, usize)> {
        let slot = self.slots.get(self.head as usize)?;
        Some((MessageKey { index: self.head, epoch: slot.epoch }, slot.body.len()))
    }

    /// Takes the message at the head out of the queue: it is in flight to `peer`.
    pub(crate) fn depart(&mut self, peer: PeerId) {
        if let Some(index) = self.take_head() {
            self.slots[index as usize].place = Place::InFlight(peer);
        }
    }

    /// Moves the message at the head to the tail.
    pub(crate) fn rotate(&mut self) {
        if let Some(index) = self.take_head() {
            self.append(index);
        }
    }

    /// Puts a message in flight or offered back to the tail. Returns whether it was one.
    pub(crate) fn give_back(&mut self, key: MessageKey) -> bool {
        let Some(slot) = self.slot_mut(key) else { return false };
        if !matches!(slot.place, Place::InFlight(_) | Place::Offered { .. }) {
            return false;
        }
        slot.place = Place::Waiting;
        slot.came_again = false;
        let is_indexed = slot.is_indexed;
        self.append(key.index);
        if !is_indexed {
            self.index(key.index);
        }
        true
    }

    /// Lets go of a message in flight, unless a copy of it came in meanwhile: that goes back to the queue. What has left stays readable until the
    /// notice of this number [is over](Self::notices_are_over). Returns whether it stayed.
    pub(crate) fn let_go(&mut self, key: MessageKey, notice: u32) -> bool {
        let Some(slot) = self.slot_mut(key) else { return false };
        if slot.came_again {
            return self.give_back(key);
        }
        if !matches!(slot.place, Place::InFlight(_)) {
            return false;
        }
        let (is_indexed, digest) = (slot.is_indexed, slot.digest_or_notice);
        slot.place = Place::Departed;
        slot.digest_or_notice = notice;
        let len = slot.body.len();
        self.messages -= 1;
        self.bytes -= len;
        self.departed_bytes += len;
        if is_indexed {
            let found = self.by_nonce.find_entry(spread(digest), |index| *index == key.index);
            if let Ok(entry) = found {
                entry.remove();
            }
        }
        match core::mem::replace(&mut self.departed_last, key.index) {
            NOWHERE => self.departed_first = key.index,
            before => self.slots[before as usize].next = key.index,
        }
        false
    }

    /// Lets go of a message under screening, of which no notice speaks.
    pub(crate) fn discard(&mut self, key: MessageKey) {
        let Some(slot) = self.slot_mut(key) else { return };
        if matches!(slot.place, Place::Offered { .. }) {
            debug_assert_eq!(slot.pins, 0, "nobody sends what is under screening");
            let len = slot.body.len();
            self.messages -= 1;
            self.bytes -= len;
            self.departed_bytes += len;
            self.vacate(key.index);
        }
    }

    /// All notices up to the one of this number were polled, and the application has had its look at what they speak of.
    #[inline]
    pub(crate) fn notices_are_over(&mut self, notice: u32) {
        while let Some(slot) = self.slots.get_mut(self.departed_first as usize)
            // Numbers wrap around, and no two of those that wait are far apart.
            && notice.wrapping_sub(slot.digest_or_notice) <= u32::MAX / 2
        {
            let index = self.departed_first;
            self.departed_first = core::mem::replace(&mut slot.next, NOWHERE);
            if self.departed_first == NOWHERE {
                self.departed_last = NOWHERE;
            }
            match slot.pins {
                0 => self.vacate(index),
                _ => slot.place = Place::Lingering,
            }
        }
    }

    /// Keeps a message readable, even when it departs, until [`Self::unpin`] is called as often.
    pub(crate) fn pin(&mut self, key: MessageKey) {
        if let Some(slot) = self.slot_mut(key) {
            slot.pins += 1;
        }
    }

    pub(crate) fn unpin(&mut self, key: MessageKey) {
        let Some(slot) = self.slot_mut(key) else { return };
        slot.pins = slot.pins.saturating_sub(1);
        if slot.pins == 0 && slot.place == Place::Lingering {
            self.vacate(key.index);
        }
    }

    /// Where a message is.
    pub(crate) fn place(&self, key: MessageKey) -> Place {
        self.slot(key).map_or(Place::Vacant, |slot| slot.place)
    }

    /// A message's name, kind and body.
    pub(crate) fn get(&self, key: MessageKey) -> Option<(Nonce, Kind, &Bytes)> {
        let slot = self.slot(key)?;
        (slot.place != Place::Vacant).then_some((slot.nonce, slot.kind, &slot.body))
    }

    /// A copy of a message, which shares its body.
    pub(crate) fn message(&self, key: MessageKey) -> Option<(Nonce, Message)> {
        self.get(key).map(|(nonce, kind, body)| (nonce, Message::from_parts(kind, body.clone())))
    }

    /// Keys of what waits, head first, then of what is in flight or offered.
    pub(crate) fn iter(&self) -> impl Iterator<Item = MessageKey> {
        let key = |index: u32| MessageKey { index, epoch: self.slots[index as usize].epoch };
        let first = Some(self.head).filter(|index| *index != NOWHERE);
        let waiting = core::iter::successors(first, |index| {
            Some(self.slots[*index as usize].next).filter(|index| *index != NOWHERE)
        });
        let away =
            self.slots.iter().zip(0..).filter(|(slot, _)| {
                matches!(slot.place, Place::InFlight(_) | Place::Offered { .. })
            });
        waiting.map(key).chain(away.map(move |(_, index)| key(index)))
    }

    fn slot(&self, key: MessageKey) -> Option<&Slot> {
        let slot = self.slots.get(key.index as usize)?;
        (slot.epoch == key.epoch).then_some(slot)
    }

    fn slot_mut(&mut self, key: MessageKey) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(key.index as usize)?;
        (slot.epoch == key.epoch).then_some(slot)
    }

    fn append(&mut self, index: u32) {
        self.waiting += 1;
        self.slots[index as usize].next = NOWHERE;
        match core::mem::replace(&mut self.tail, index) {
            NOWHERE => self.head = index,
            before => self.slots[before as usize].next = index,
        }
    }

    fn take_head(&mut self) -> Option<u32> {
        let index = self.head;
        let slot = self.slots.get_mut(index as usize)?;
        self.waiting -= 1;
        self.head = core::mem::replace(&mut slot.next, NOWHERE);
        if self.head == NOWHERE {
            self.tail = NOWHERE;
        }
        Some(index)
    }

    /// Makes a message findable by its nonce. When another body with the same nonce is findable already,
    /// this one is not: so that nobody can make one place of the index crowded.
    fn index(&mut self, index: u32) {
        let slots = &self.slots;
        let Slot { nonce, digest_or_notice: digest, .. } = slots[index as usize];
        let entry = self.by_nonce.entry(
            spread(digest),
            |other| slots[*other as usize].nonce == nonce,
            |other| spread(slots[*other as usize].digest_or_notice),
        );
        if let hashbrown::hash_table::Entry::Vacant(entry) = entry {
            entry.insert(index);
            self.slots[index as usize].is_indexed = true;
        }
    }

    fn vacate(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        slot.epoch = slot.epoch.next();
        slot.place = Place::Vacant;
        self.departed_bytes -= core::mem::take(&mut slot.body).len();
        slot.next = core::mem::replace(&mut self.vacant, index);
        self.taken -= 1;
    }
}

#[cfg(test)]
mod tests;
