//! The memory of taken transfers, in which retried ones are recognised.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use crate::config::Timeouts;
use crate::time::Instant;
use crate::wire::Farewell;

/// The transfers taken on one link, as many as its window: the peer is never in doubt about more.
#[derive(Debug, Default)]
pub(crate) struct RetryWindow {
    /// Numbers of transfers, in the order in which they were taken.
    taken: VecDeque<u64>,
    /// When the last one was taken.
    last: Instant,
}

impl RetryWindow {
    #[cfg(feature = "simulation")]
    pub(crate) fn prefetch(&self) {
        prefetch_index::prefetch_index(self.taken.as_slices().0, 0);
    }

    #[inline]
    pub(crate) fn insert(&mut self, transfer: u64, window: u16, now: Instant) {
        if self.taken.len() >= usize::from(window) {
            self.taken.pop_front();
        }
        self.taken.push_back(transfer);
        self.last = now;
    }

    pub(crate) fn contains(&self, transfer: u64) -> bool {
        self.taken.contains(&transfer)
    }
}

/// The number of ended links of one peer that are remembered. The value is a guess. A peer rarely
/// has more links than one in each direction, and is in doubt about no earlier ones.
const LINKS_PER_PEER: usize = 2;

/// The retry windows of the last links of a peer that have ended.
#[derive(Debug, Default)]
pub(crate) struct RetryMemory {
    /// In the order in which the links ended.
    ended: Vec<Ended>,
}

#[derive(Debug)]
struct Ended {
    /// The incarnation of the peer: another one numbers its transfers anew.
    incarnation: u64,
    taken: Vec<u64>,
    /// Until then the peer may ask again.
    until: Instant,
}

impl RetryMemory {
    /// Keeps the retry window of a link that ends now, for the `lifetime` of its transfers. The
    /// oldest window gives way.
    pub(crate) fn keep(
        &mut self,
        incarnation: u64,
        window: RetryWindow,
        now: Instant,
        lifetime: Duration,
    ) {
        self.ended.retain(|ended| ended.until >= now);
        if window.taken.is_empty() || window.last + lifetime < now {
            return;
        }
        if self.ended.len() == LINKS_PER_PEER {
            self.ended.remove(0);
        }
        let taken = window.taken.into_iter().collect();
        self.ended.push(Ended { incarnation, taken, until: now + lifetime });
    }

    /// Takes over what is remembered of another address of the same peer.
    pub(crate) fn append(&mut self, other: Self) {
        self.ended.extend(other.ended);
        let excess = self.ended.len().saturating_sub(LINKS_PER_PEER);
        self.ended.drain(..excess);
    }

    /// Returns whether a transfer was taken on a link that has ended.
    pub(crate) fn contains(&self, incarnation: u64, transfer: u64, now: Instant) -> bool {
        self.ended.iter().any(|ended| {
            ended.incarnation == incarnation
                && ended.until >= now
                && ended.taken.contains(&transfer)
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ended.is_empty()
    }
}

/// Returns for how long the sender may retry a transfer after it was taken.
///
/// The sender waits `confirm` for the confirmation and then closes the link, unless the link breaks
/// earlier. It retries at once, on an open link or on a link that it dials, which takes at most
/// `connect` and `handshake`. If the retry is not sent within another `confirm`, the message goes
/// back to the sender's queue. There is no second retry.
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
    fn at(seconds: u64) -> Instant {
        Instant::ORIGIN + Duration::from_secs(seconds)
    }

    fn window(transfers: impl IntoIterator<Item = u64>) -> RetryWindow {
        let mut window = RetryWindow::default();
        transfers.into_iter().for_each(|transfer| window.insert(transfer, 4, at(0)));
        window
    }

    #[test]
    fn a_link_remembers_as_many_transfers_as_its_window() {
        let window = window(0..6);
        let known: Vec<_> = (0..9).filter(|transfer| window.contains(*transfer)).collect();
        assert_eq!(known, [2, 3, 4, 5]);
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_ended_link_is_remembered_for_one_incarnation_until_its_time() {
        let mut memory = RetryMemory::default();
        memory.keep(7, window(1..3), at(1), SECOND);
        memory.keep(8, RetryWindow::default(), at(1), SECOND);
        memory.keep(8, window(1..3), at(2), SECOND);
        assert_eq!(memory.ended.len(), 1, "neither an empty window nor an old one is kept");
        assert!(memory.contains(7, 2, at(2)), "at the very end the retry may still come");
        assert!(!memory.contains(7, 3, at(2)) && !memory.contains(8, 2, at(2)));
        assert!(!memory.contains(7, 2, at(3)));
        memory.keep(8, RetryWindow::default(), at(3), SECOND);
        assert!(memory.is_empty());
    }

    #[test]
    fn the_last_links_of_a_peer_are_remembered() {
        let mut memory = RetryMemory::default();
        (0..9).for_each(|transfer| memory.keep(7, window([transfer]), at(0), SECOND));
        let known = |memory: &RetryMemory| {
            (0..20).filter(|transfer| memory.contains(7, *transfer, at(0))).collect::<Vec<_>>()
        };
        assert_eq!(known(&memory), [7, 8]);
        let mut other = RetryMemory::default();
        other.keep(7, window([10]), at(0), SECOND);
        memory.append(other);
        assert_eq!(known(&memory), [8, 10]);
    }

    #[test]
    fn a_retry_may_come_after_the_time_to_confirm_and_that_to_dial() {
        let times = Timeouts { confirm: SECOND, connect: 2 * SECOND, ..Timeouts::default() };
        let times = Timeouts { handshake: 4 * SECOND, ..times };
        assert_eq!(lifetime(&times), 7 * SECOND);
    }
}
