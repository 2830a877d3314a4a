//! What was lately taken from a peer, for as long as the peer may ask about it again.

use alloc::collections::VecDeque;
use core::time::Duration;

use crate::config::Timeouts;
use crate::ids::LinkId;
use crate::room;
use crate::time::Instant;
use crate::wire::Farewell;

/// The transfers that were lately taken from a peer, so that one asked about again is recognised.
///
/// What the peer can't be in doubt about any more is forgotten: what came on a link on which it then [said so](leaves_no_doubt), what is
/// older than its [`lifetime`], and what lies more than two windows back. (A sender can be in doubt about no more than its window on a link, and has
/// rarely more than two links with us.)
#[derive(Debug)]
pub(crate) struct Taken {
    incarnation: u64,
    /// In the order in which they were taken.
    entries: VecDeque<Entry>,
}

#[derive(Debug)]
struct Entry {
    transfer: u64,
    link: LinkId,
    at: Instant,
}

/// For how long after it was taken a transfer may be asked about.
///
/// We take a transfer no earlier than its sender hands it to the link. The sender waits for our answer for its time to confirm; then it ends the link,
/// if that has not broken before. It asks again at once, on a link that stands or on one that it dials. The dialled one has the times to
/// connect and to shake hands until it stands, and on either the question leaves before the time to confirm has passed once
/// more, or the message goes back to its queue. It asks no third time.
///
/// These times are the sender's, and ours stand in for them. A transfer that is forgotten too early is taken for a new one: its message then exists
/// twice, as after any doubt that nobody resolves, and is not lost.
pub(crate) fn lifetime(times: &Timeouts) -> Duration {
    let dialled = times.connect.saturating_add(times.handshake);
    times.confirm.saturating_add(times.confirm.max(dialled))
}

/// Whether the sender of a goodbye will not ask again about anything that it handed over on that link.
///
/// A tower says that it is idle only when nothing of its own is unanswered, that it leaves only when it begins nothing any more, and asks
/// nothing of one that it ignores. The hello's refusals come before any transfer. But one that was offended may be in doubt.
pub(crate) fn leaves_no_doubt(farewell: Farewell) -> bool {
    farewell != Farewell::Misbehaved
}

impl Taken {
    pub(crate) fn new(incarnation: u64) -> Self {
        Self { incarnation, entries: VecDeque::new() }
    }

    /// What remembering `capacity` transfers takes at most, in bytes.
    pub(crate) const fn memory(capacity: usize) -> usize {
        size_of::<Self>() + room::MOST_SPARE * capacity * size_of::<Entry>()
    }

    /// Another incarnation numbers its transfers anew.
    pub(crate) fn belongs_to(&self, incarnation: u64) -> bool {
        self.incarnation == incarnation
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Reads the entry that is forgotten next.
    pub(crate) fn look_ahead(&self) -> u64 {
        let ends = self.entries.front().zip(self.entries.back());
        ends.map_or(0, |(oldest, newest)| oldest.transfer ^ newest.transfer)
    }

    pub(crate) fn recalls(&self, transfer: u64) -> bool {
        self.entries.iter().any(|entry| entry.transfer == transfer)
    }

    /// Remembers a transfer that came on a link, and at most `capacity` altogether.
    pub(crate) fn remember(&mut self, transfer: u64, link: LinkId, now: Instant, capacity: usize) {
        if self.entries.len() >= capacity {
            self.entries.pop_front();
        }
        room::for_one_more(&mut self.entries);
        self.entries.push_back(Entry { transfer, link, at: now });
    }

    pub(crate) fn forget_link(&mut self, link: LinkId) {
        self.entries.retain(|entry| entry.link != link);
    }

    /// Forgets what is older than its lifetime.
    #[inline]
    pub(crate) fn forget_older(&mut self, times: &Timeouts, now: Instant) {
        // Asked for each message, and most are younger than the first part of it.
        if self.entries.front().is_some_and(|entry| entry.at + times.confirm < now) {
            self.forget_beyond(lifetime(times), now);
        }
    }

    #[inline(never)]
    fn forget_beyond(&mut self, age: Duration, now: Instant) {
        while self.entries.front().is_some_and(|entry| entry.at + age < now) {
            self.entries.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Epoch;
    use alloc::vec::Vec;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Instant {
        Instant::ORIGIN + Duration::from_secs(seconds)
    }

    const FIRST: LinkId = LinkId { index: 0, epoch: Epoch::FIRST };
    const NEXT: LinkId = LinkId { index: 0, epoch: Epoch::FIRST.next() };
    const OTHER: LinkId = LinkId { index: 1, epoch: Epoch::FIRST };

    fn recalled(taken: &Taken) -> Vec<u64> {
        (0..10).filter(|transfer| taken.recalls(*transfer)).collect()
    }

    #[test]
    fn the_last_few_transfers_are_recalled() {
        let mut taken = Taken::new(7);
        (0..5).for_each(|transfer| taken.remember(transfer, FIRST, at(0), 4));
        assert_eq!(recalled(&taken), [1, 2, 3, 4]);
        assert!(taken.belongs_to(7) && !taken.belongs_to(8));
    }

    #[test]
    fn what_came_on_one_link_is_forgotten_without_the_rest() {
        let mut taken = Taken::new(7);
        for (transfer, link) in [(1, FIRST), (2, NEXT), (3, OTHER), (4, NEXT)] {
            taken.remember(transfer, link, at(0), 10);
        }
        taken.forget_link(NEXT);
        assert_eq!(recalled(&taken), [1, 3]);
    }

    #[test]
    fn what_is_older_than_its_lifetime_is_forgotten() {
        let mut taken = Taken::new(7);
        let times = Timeouts { confirm: SECOND, ..Timeouts::default() };
        let times = Timeouts { connect: SECOND, handshake: Duration::ZERO, ..times };
        assert_eq!(lifetime(&times), 2 * SECOND);
        (0..5).for_each(|second| taken.remember(second, FIRST, at(second), 10));
        taken.forget_older(&times, at(4));
        assert_eq!(recalled(&taken), [2, 3, 4], "at the very end it may still come");
        taken.forget_older(&times, at(100));
        assert!(taken.is_empty());
    }
}
