//! Requests that were passed on for others, until their answers come.

use alloc::collections::btree_map::Entry;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use clacks_proto::{Instant, LinkId};

use crate::address_group::AddressGroup;
use crate::protocol::Body;

/// How long after its arrival a request is answered or lost. Clients give it up at that time.
pub(super) const TIMEOUT: Duration = Duration::from_secs(15);

/// A request that was passed on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Relayed {
    /// The link on which the request was sent.
    pub(super) to: LinkId,
    /// The link on which the request came.
    pub(super) asker: LinkId,
    /// The number of the request on that link.
    pub(super) number: u32,
    pub(super) awaited: Awaited,
    /// The address group of the asker, if that was a guest.
    guests: Option<AddressGroup>,
    ends_at: Instant,
}

/// The answer that a request awaits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    Inventory,
    /// Chunks, or word that they are gone, for so many tags.
    Chunks(usize),
    Published,
    Towers,
}

impl Awaited {
    /// Returns what a request awaits. `None` if it is none that can be relayed.
    pub(super) fn by(request: &Body<'_>) -> Option<Self> {
        Some(match request {
            Body::List { .. } => Self::Inventory,
            Body::Fetch(tags) => Self::Chunks(tags.iter().count()),
            Body::Publish(_) => Self::Published,
            Body::Peers { .. } => Self::Towers,
            _ => return None,
        })
    }

    /// Returns what is awaited after an answer, or `None` within if that was the last. Fails if the
    /// request has no such answer.
    fn after(self, answer: &Body<'_>) -> Result<Option<Self>, NotAwaited> {
        let chunks = |left: usize, answered: usize| match left.checked_sub(answered) {
            None => Err(NotAwaited),
            Some(0) => Ok(None),
            Some(left) => Ok(Some(Self::Chunks(left))),
        };
        match (self, answer) {
            (Self::Chunks(left), Body::Chunk(_)) => chunks(left, 1),
            (Self::Chunks(left), Body::Gone(tags)) => chunks(left, tags.iter().count()),
            (Self::Inventory, Body::Inventory { .. })
            | (Self::Published, Body::Published(_))
            | (Self::Towers, Body::Towers { .. })
            | (_, Body::Lost) => Ok(None),
            _ => Err(NotAwaited),
        }
    }
}

/// A datagram answers no request of this store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotAwaited;

/// The requests that were passed on, by the random number that this store gave them.
#[derive(Debug, Default)]
pub(super) struct Relays {
    entries: BTreeMap<u32, Relayed>,
    /// When requests end, the oldest first. The first one is open. Others may be answered.
    ends: BTreeSet<(Instant, u32)>,
    /// The requests that were sent on each link.
    sent: BTreeMap<LinkId, usize>,
    /// The requests of guests of each address group.
    of_guests: BTreeMap<AddressGroup, usize>,
}

impl Relays {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns a number that no request has.
    pub(super) fn free_number(&self, mut draw: impl FnMut() -> u32) -> u32 {
        loop {
            let number = draw();
            if !self.entries.contains_key(&number) {
                return number;
            }
        }
    }

    pub(super) fn insert(
        &mut self,
        number: u32,
        to: LinkId,
        (asker, asked): (LinkId, u32),
        guests: Option<AddressGroup>,
        awaited: Awaited,
        ends_at: Instant,
    ) {
        let relayed = Relayed { to, asker, number: asked, awaited, guests, ends_at };
        self.entries.insert(number, relayed);
        self.ends.insert((ends_at, number));
        *self.sent.entry(to).or_default() += 1;
        if let Some(group) = guests {
            *self.of_guests.entry(group).or_default() += 1;
        }
    }

    /// Returns the request that an answer on a link belongs to. Removes it with its last answer.
    pub(super) fn on_answer(
        &mut self,
        link: LinkId,
        number: u32,
        answer: &Body<'_>,
    ) -> Result<(Relayed, Progress), NotAwaited> {
        let entry = self.entries.get_mut(&number).filter(|entry| entry.to == link);
        let entry = entry.ok_or(NotAwaited)?;
        match entry.awaited.after(answer)? {
            Some(awaited) => {
                entry.awaited = awaited;
                Ok((*entry, Progress::Awaited))
            }
            None => Ok((self.remove(number).ok_or(NotAwaited)?, Progress::Complete)),
        }
    }

    pub(super) fn remove(&mut self, number: u32) -> Option<Relayed> {
        let removed = self.entries.remove(&number)?;
        self.ends.remove(&(removed.ends_at, number));
        decrease(&mut self.sent, removed.to);
        if let Some(group) = removed.guests {
            decrease(&mut self.of_guests, group);
        }
        Some(removed)
    }

    /// Returns when the next request ends.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.ends.first().map(|(at, _)| *at)
    }

    /// Removes a request whose time is over.
    pub(super) fn pop_expired(&mut self, now: Instant) -> Option<Relayed> {
        let (_, number) = self.ends.first().copied().filter(|(at, _)| *at <= now)?;
        self.remove(number)
    }

    /// Removes and returns the requests that were sent on a link which has ended, and those that
    /// came on it.
    pub(super) fn take_of_link(&mut self, link: LinkId) -> Vec<Relayed> {
        let is_of = |entry: &Relayed| entry.to == link || entry.asker == link;
        let of_link: Vec<_> =
            self.entries.iter().filter(|(_, it)| is_of(it)).map(|(number, _)| *number).collect();
        of_link.into_iter().filter_map(|number| self.remove(number)).collect()
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn assert_consistent(&self, most: usize) {
        assert!(self.entries.len() <= most, "{} requests", self.entries.len());
        assert_eq!(self.ends.len(), self.entries.len());
        let (mut sent, mut of_guests) = (BTreeMap::new(), BTreeMap::new());
        for (number, entry) in &self.entries {
            assert!(self.ends.contains(&(entry.ends_at, *number)), "{entry:?} does not end");
            *sent.entry(entry.to).or_default() += 1;
            if let Some(group) = entry.guests {
                *of_guests.entry(group).or_default() += 1;
            }
        }
        assert_eq!((&self.sent, &self.of_guests), (&sent, &of_guests));
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn of_asker(&self, link: LinkId) -> usize {
        self.entries.values().filter(|entry| entry.asker == link).count()
    }

    /// Returns whether a request was sent on a link and not answered.
    pub(super) fn uses(&self, link: LinkId) -> bool {
        self.sent.contains_key(&link)
    }

    /// Returns how many requests of guests of an address group were not answered.
    pub(super) fn of_guests(&self, group: AddressGroup) -> usize {
        self.of_guests.get(&group).copied().unwrap_or(0)
    }
}

/// Counts one less. A count of zero is removed.
fn decrease<K: Ord>(counts: &mut BTreeMap<K, usize>, key: K) {
    if let Entry::Occupied(mut count) = counts.entry(key) {
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
        }
    }
}

/// Whether a request awaits more answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Awaited,
    Complete,
}
