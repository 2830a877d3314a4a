//! Requests that were passed on for others, until their answers come.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use clacks_proto::{Instant, LinkId};

use crate::protocol::Body;

/// How long an answer is awaited (guess: clients wait for 15 s).
const TIMEOUT: Duration = Duration::from_secs(20);

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
    ends: VecDeque<(Instant, u32)>,
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
        awaited: Awaited,
        now: Instant,
    ) {
        let ends_at = now + TIMEOUT;
        self.entries.insert(number, Relayed { to, asker, number: asked, awaited, ends_at });
        if self.ends.len() > 2 * self.entries.len() + 64 {
            let ends = core::mem::take(&mut self.ends);
            self.ends = ends.into_iter().filter(|end| self.is_open(*end)).collect();
        }
        self.ends.push_back((ends_at, number));
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
        let removed = self.entries.remove(&number);
        // Most are answered in order. Without this, each would cause a wake-up.
        while self.ends.front().is_some_and(|end| !self.is_open(*end)) {
            self.ends.pop_front();
        }
        removed
    }

    fn is_open(&self, (at, number): (Instant, u32)) -> bool {
        self.entries.get(&number).is_some_and(|entry| entry.ends_at == at)
    }

    /// Returns when the next request ends.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.ends.front().map(|(at, _)| *at)
    }

    /// Removes a request whose time is over.
    pub(super) fn pop_expired(&mut self, now: Instant) -> Option<Relayed> {
        let (_, number) = self.ends.front().copied().filter(|(at, _)| *at <= now)?;
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
        assert!(self.ends.len() <= 2 * most + 65, "{} ends", self.ends.len());
        for (number, entry) in &self.entries {
            assert!(self.ends.contains(&(entry.ends_at, *number)), "{entry:?} does not end");
        }
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn of_asker(&self, link: LinkId) -> usize {
        self.entries.values().filter(|entry| entry.asker == link).count()
    }

    /// Returns whether a request was sent on a link and not answered.
    pub(super) fn uses(&self, link: LinkId) -> bool {
        self.entries.values().any(|entry| entry.to == link)
    }
}

/// Whether a request awaits more answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Awaited,
    Complete,
}
