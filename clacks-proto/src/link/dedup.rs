//! The memory of taken transfers, in which retried ones are recognised.
//!
//! Transfers are numbered on each link without gaps. What was taken on a link is therefore one
//! number, and the few transfers up to it that were refused.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use hashbrown::HashTable;

use crate::config::Timeouts;
use crate::hash::Hasher;
use crate::time::Instant;
use crate::wire::Farewell;

/// The most runs of refused transfers that are remembered of a link, and the most runs of retried
/// ones. The value is a guess: a tower that refuses mostly refuses many transfers in a row, and all
/// transfers in doubt of a link are retried in a row.
pub(crate) const MAX_RUNS: usize = 8;

/// Numbers of transfers, mostly in a row.
#[derive(Debug, Default)]
struct Runs(Vec<(u64, u64)>);

impl Runs {
    /// Adds a number if it continues the last run.
    fn extend(&mut self, number: u64) -> bool {
        match self.0.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
            _ => return false,
        }
        true
    }

    fn contains(&self, number: u64) -> bool {
        self.0.iter().any(|(first, last)| (*first..=*last).contains(&number))
    }
}

/// The transfers of one link that were refused. Takes no memory while there are none.
#[derive(Debug, Default)]
pub(crate) struct RefusedTransfers(Option<Box<Refused>>);

#[derive(Debug, Default)]
struct Refused {
    /// All transfers up to this number count as refused, because a run was forgotten. Each of them
    /// that was taken and is retried is taken again: a copy, and no loss.
    floor: u64,
    /// In the order in which they were refused.
    runs: Runs,
}

impl RefusedTransfers {
    #[cold]
    pub(crate) fn insert(&mut self, number: u64) {
        let Refused { floor, runs } = &mut **self.0.get_or_insert_default();
        if runs.extend(number) {
            return;
        }
        if runs.0.len() == MAX_RUNS {
            let (_, last) = runs.0.remove(0);
            *floor = last.max(*floor);
        }
        runs.0.push((number, number));
    }

    pub(crate) fn contains(&self, number: u64) -> bool {
        self.0.as_ref().is_some_and(|it| number <= it.floor || it.runs.contains(number))
    }
}

/// The name of a link among all links of the network: two numbers from the hello of its other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LinkName {
    /// The incarnation of the other side.
    pub(crate) incarnation: u64,
    /// The number that the other side drew for the link.
    pub(crate) number: u64,
}

/// The most links whose transfers one link may retry and that are not remembered yet. An honest
/// sender retries the transfers of the link before, and seldom those of two or three.
pub(crate) const MAX_RETRIED_LINKS: u8 = 8;

/// What was taken on links that have ended, for as long as their other sides may retry.
///
/// Links are added to one table. When it is full or old, it takes the place of the table before it.
/// A link is therefore remembered for its time, unless more than the capacity end within that time:
/// then the oldest are forgotten, and a message that is retried is taken again.
///
/// Both numbers of a name are chosen by the other side, so the tables are keyed. The number of a
/// link is random: only who reads the bytes of a link knows its name. In clear text a stranger that
/// does can make a retry of that link be dropped, as it can with any other byte of the link.
#[derive(Debug)]
pub(crate) struct RetryMemory {
    current: HashTable<Ended>,
    previous: HashTable<Ended>,
    /// When the first link was added to the current table.
    began: Instant,
    capacity: usize,
    hasher: Hasher,
}

#[derive(Debug)]
struct Ended {
    name: LinkName,
    /// The number of the last transfer that came in.
    last: u64,
    refused: RefusedTransfers,
    /// Transfers that did not come in, or were refused, and were taken when they were retried on
    /// another link. When there are [`MAX_RUNS`] runs, further ones are not remembered.
    retried: Option<Box<Runs>>,
}

impl RetryMemory {
    /// Returns an empty memory of at least `capacity` links, and at most twice as many.
    pub(crate) fn new(capacity: usize, hasher: Hasher) -> Self {
        let (current, previous) = (HashTable::new(), HashTable::new());
        Self { current, previous, began: Instant::ORIGIN, capacity, hasher }
    }

    /// Remembers what was taken on a link that ends now, for the `lifetime` of its transfers.
    pub(crate) fn keep(
        &mut self,
        name: LinkName,
        last: u64,
        refused: RefusedTransfers,
        now: Instant,
        lifetime: Duration,
    ) {
        // If the other side has used one name twice, the last link counts.
        let ended = self.entry(name, now, lifetime);
        (ended.last, ended.refused) = (last, refused);
    }

    /// Returns whether a link is remembered.
    pub(crate) fn knows(&self, name: LinkName) -> bool {
        let hash = self.hasher.hash(&name);
        let is_known = |table: &HashTable<Ended>| table.find(hash, |it| it.name == name).is_some();
        is_known(&self.current) || is_known(&self.previous)
    }

    /// Remembers that a transfer of a link was taken when it was retried on another link. The
    /// sender retries it again, under the same name, if that link ends too.
    pub(crate) fn keep_retried(
        &mut self,
        name: LinkName,
        number: u64,
        now: Instant,
        lifetime: Duration,
    ) {
        let retried = self.entry(name, now, lifetime).retried.get_or_insert_default();
        if !retried.extend(number) && retried.0.len() < MAX_RUNS {
            retried.0.push((number, number));
        }
    }

    /// Returns what is remembered of a link, in the current table.
    fn entry(&mut self, name: LinkName, now: Instant, lifetime: Duration) -> &mut Ended {
        let hash = self.hasher.hash(&name);
        let is_named = |ended: &Ended| ended.name == name;
        if self.current.len() >= self.capacity && self.current.find(hash, is_named).is_none() {
            self.rotate();
        }
        self.forget_old(now, lifetime);
        if self.current.is_empty() {
            self.began = now;
        }
        let Self { current, previous, hasher, .. } = self;
        let rehash = |ended: &Ended| hasher.hash(&ended.name);
        let before = previous.find_entry(hash, is_named).ok().map(|entry| entry.remove().0);
        let new = || Ended { name, last: 0, refused: RefusedTransfers::default(), retried: None };
        let entry = current.entry(hash, is_named, rehash);
        entry.or_insert_with(|| before.unwrap_or_else(new)).into_mut()
    }

    /// Returns whether a transfer was taken: on its link, which has ended, or when it was retried.
    pub(crate) fn contains(&self, name: LinkName, number: u64) -> bool {
        let hash = self.hasher.hash(&name);
        let find = |table: &HashTable<Ended>| {
            let ended = table.find(hash, |ended| ended.name == name)?;
            let was_taken = number <= ended.last && !ended.refused.contains(number);
            Some(was_taken || ended.retried.as_ref().is_some_and(|runs| runs.contains(number)))
        };
        find(&self.current).or_else(|| find(&self.previous)).unwrap_or(false)
    }

    /// Forgets links whose time is over.
    pub(crate) fn forget_old(&mut self, now: Instant, lifetime: Duration) {
        let is_old = self.began + lifetime < now;
        if is_old && !self.is_empty() {
            if self.began + lifetime.saturating_mul(2) < now {
                self.current = HashTable::new();
            }
            self.rotate();
            self.began = now;
        }
    }

    fn rotate(&mut self) {
        self.previous = core::mem::take(&mut self.current);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.current.is_empty() && self.previous.is_empty()
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.current.len() + self.previous.len()
    }
}

/// Returns for how long the sender may retry a transfer after it was taken.
///
/// The sender waits `confirm` for the confirmation and then closes the link, unless the link breaks
/// earlier. It retries at once, on an open link or on a link that it dials, which takes at most
/// `connect` and `handshake`. If the retry is not sent within another `confirm`, the message goes
/// back to the sender's queue. If the link of the retry breaks, the transfer is retried again, but
/// only within `confirm` of the first sending.
///
/// The sender has its own time-outs, which this tower does not know; its own ones are used. A
/// transfer that is forgotten too early is taken as a new one: the message is then duplicated, not
/// lost.
pub(crate) fn lifetime(times: &Timeouts) -> Duration {
    let dialled = times.connect.saturating_add(times.handshake);
    times.confirm.saturating_add(times.confirm.max(dialled))
}

/// Returns whether a peer that closes a link with this goodbye retries none of its transfers.
///
/// A peer says goodbye as idle or leaving only when all its transfers are answered, and sends
/// nothing to a peer that it ignores. A hello is refused before any transfer. A peer that closes
/// the link because this tower violated the protocol may still be in doubt.
pub(crate) fn leaves_no_doubt(farewell: Farewell) -> bool {
    farewell != Farewell::Misbehaved
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Instant {
        Instant::ORIGIN + Duration::from_secs(seconds)
    }

    fn name(number: u64) -> LinkName {
        LinkName { incarnation: 7, number }
    }

    fn refused(numbers: impl IntoIterator<Item = u64>) -> RefusedTransfers {
        let mut refused = RefusedTransfers::default();
        numbers.into_iter().for_each(|number| refused.insert(number));
        refused
    }

    fn memory(capacity: usize) -> RetryMemory {
        RetryMemory::new(capacity, Hasher::new([1, 2, 3, 4]))
    }

    #[test]
    fn refused_transfers_are_remembered_in_runs() {
        let refused = refused([2, 3, 4, 9, 7, 8]);
        let known: Vec<_> = (1..12).filter(|number| refused.contains(*number)).collect();
        assert_eq!(known, [2, 3, 4, 7, 8, 9]);
    }

    #[test]
    fn a_forgotten_run_makes_all_transfers_up_to_it_count_as_refused() {
        let odd = (0..=MAX_RUNS as u64).map(|run| 2 * run + 1);
        let refused = refused(odd);
        assert!(refused.contains(0) && refused.contains(1) && !refused.contains(2));
        assert!(refused.contains(3) && !refused.contains(4));
        assert_eq!(refused.0.unwrap().runs.0.len(), MAX_RUNS);
    }

    #[test]
    fn an_ended_link_is_remembered_by_its_name_for_its_time() {
        let mut memory = memory(9);
        memory.keep(name(1), 3, refused([2]), at(1), SECOND);
        memory.keep(name(2), 9, RefusedTransfers::default(), at(2), SECOND);
        let taken = |memory: &RetryMemory, number: u64| {
            (1..20).filter(|it| memory.contains(name(number), *it)).count()
        };
        assert_eq!((taken(&memory, 1), taken(&memory, 2), taken(&memory, 3)), (2, 9, 0));
        assert!(!memory.contains(LinkName { incarnation: 8, number: 1 }, 1), "a restarted peer");
        assert!(memory.contains(name(1), 1) && !memory.contains(name(1), 2));
        memory.forget_old(at(3), SECOND);
        assert_eq!(taken(&memory, 2), 9, "at the very end the retry may still come");
        memory.forget_old(at(9), SECOND);
        assert_eq!(memory.len(), 0);
    }

    #[test]
    fn a_transfer_that_was_taken_as_a_retry_is_remembered_under_its_first_name() {
        let mut memory = memory(9);
        for number in [3, 4, 5, 9] {
            memory.keep_retried(name(1), number, at(1), SECOND);
        }
        let taken = |memory: &RetryMemory| -> Vec<u64> {
            (1..20).filter(|it| memory.contains(name(1), *it)).collect()
        };
        assert_eq!(taken(&memory), [3, 4, 5, 9]);
        // This tower notices the end of the first link.
        memory.keep(name(1), 3, refused([2, 3]), at(1), SECOND);
        assert_eq!(taken(&memory), [1, 3, 4, 5, 9]);
        for number in 0..2 * MAX_RUNS as u64 {
            memory.keep_retried(name(2), 2 * number, at(1), SECOND);
        }
        let held = (0..99).filter(|it| memory.contains(name(2), *it)).count();
        assert_eq!(held, MAX_RUNS, "the memory of a link is bounded");
        assert_eq!(memory.len(), 2);
    }

    #[test]
    fn more_links_than_the_capacity_push_out_the_oldest() {
        let mut memory = memory(4);
        for number in 0..100 {
            memory.keep(name(number), 1, RefusedTransfers::default(), at(1), SECOND);
            assert!(memory.len() <= 8);
        }
        assert!((96..100).all(|number| memory.contains(name(number), 1)));
    }

    #[test]
    fn a_retry_may_come_after_the_time_to_confirm_and_that_to_dial() {
        let times = Timeouts { confirm: SECOND, connect: 2 * SECOND, ..Timeouts::default() };
        let times = Timeouts { handshake: 4 * SECOND, ..times };
        assert_eq!(lifetime(&times), 7 * SECOND);
    }
}
