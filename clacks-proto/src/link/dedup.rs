//! Transfers that were taken lately, so that a retried one is recognised.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use crate::config::Timeouts;
use crate::ids::PeerId;
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

/// The number of ended links of one peer that are remembered (guess). A peer rarely has more links than one in each
/// direction, and is in doubt about no earlier ones.
const LINKS_PER_PEER: usize = 2;

/// The retry windows of links that have ended, for as long as their peers may ask again.
#[derive(Debug, Default)]
pub(crate) struct RetryMemory {
    /// In the order in which the links ended. All are kept for the same time.
    ended: VecDeque<Ended>,
}

#[derive(Debug)]
struct Ended {
    peer: PeerId,
    /// The incarnation of the peer: another one numbers its transfers anew.
    incarnation: u64,
    taken: Vec<u64>,
    until: Instant,
}

impl RetryMemory {
    /// Keeps the retry window of a link that ends now, for the `lifetime` of its transfers. Only [`LINKS_PER_PEER`] windows of
    /// a peer are kept; the oldest gives way. So a peer that ends many links does not displace the windows of other peers.
    ///
    /// All windows together are at most [`LINKS_PER_PEER`] for each of `max_peers`, even if peers are forgotten and others
    /// take their places.
    pub(crate) fn keep(
        &mut self,
        (peer, incarnation): (PeerId, u64),
        window: RetryWindow,
        now: Instant,
        lifetime: Duration,
        max_peers: usize,
    ) {
        self.expire(now);
        if window.taken.is_empty() || window.last + lifetime < now {
            return;
        }
        let until = now + lifetime;
        let mut of_peer = (0..).zip(&self.ended).filter(|(_, ended)| ended.peer == peer);
        let oldest = of_peer.next().map(|(position, _)| position);
        if let Some(oldest) = oldest.filter(|_| of_peer.count() + 1 >= LINKS_PER_PEER) {
            self.ended.remove(oldest);
        } else if self.ended.len() >= max_peers.saturating_mul(LINKS_PER_PEER) {
            self.ended.pop_front();
        }
        let taken = window.taken.into_iter().collect();
        self.ended.push_back(Ended { peer, incarnation, taken, until });
    }

    /// Returns whether a transfer of a peer was taken on a link that has ended.
    pub(crate) fn contains(&self, peer: PeerId, incarnation: u64, transfer: u64) -> bool {
        self.ended.iter().any(|ended| {
            (ended.peer, ended.incarnation) == (peer, incarnation)
                && ended.taken.contains(&transfer)
        })
    }

    /// Drops the windows about which no peer asks any more.
    pub(crate) fn expire(&mut self, now: Instant) {
        while self.ended.front().is_some_and(|ended| ended.until < now) {
            self.ended.pop_front();
        }
        if self.ended.is_empty() {
            self.ended = VecDeque::new();
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.ended.len()
    }
}

/// Returns how long after it was taken a transfer may be asked about.
///
/// The sender waits for the confirmation for its time to confirm; then it ends the link, if the link has not broken
/// before. It asks again at once, on a link that is open or on one that it dials. A dialled link may take the times to
/// connect and to shake hands. On either the retry leaves before the time to confirm has passed once more, or the message
/// goes back to the sender's queue. There is no second retry.
///
/// These times are the sender's; this tower's own times stand in for them. A transfer that is dropped too early is taken
/// for a new one: the message then exists twice, and is not lost.
pub(crate) fn lifetime(times: &Timeouts) -> Duration {
    let dialled = times.connect.saturating_add(times.handshake);
    times.confirm.saturating_add(times.confirm.max(dialled))
}

/// Returns whether a peer that ends a link with this goodbye asks about none of its transfers again.
///
/// A peer says goodbye as idle or leaving only when nothing of its own is unanswered, and asks nothing of a peer that it
/// ignores. The refusals of a hello come before any transfer. A peer that ends the link because this tower violated the
/// protocol may still be in doubt.
pub(crate) fn leaves_no_doubt(farewell: Farewell) -> bool {
    farewell != Farewell::Misbehaved
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Epoch;

    const PEER: PeerId = PeerId { index: 0, epoch: Epoch::FIRST };
    const OTHER: PeerId = PeerId { index: 1, epoch: Epoch::FIRST };

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
    fn an_ended_link_is_remembered_for_one_peer_and_incarnation_until_its_time() {
        let mut memory = RetryMemory::default();
        memory.keep((PEER, 7), window(1..3), at(1), SECOND, 9);
        memory.keep((PEER, 8), RetryWindow::default(), at(1), SECOND, 9);
        memory.keep((PEER, 8), window(1..3), at(2), SECOND, 9);
        assert_eq!(memory.len(), 1, "neither an empty window nor an old one is kept");
        memory.keep((OTHER, 7), window(3..4), at(1), 2 * SECOND, 9);
        assert!(memory.contains(PEER, 7, 2) && memory.contains(OTHER, 7, 3));
        assert!(!memory.contains(PEER, 7, 3) && !memory.contains(PEER, 8, 2));
        memory.expire(at(2));
        assert!(memory.contains(PEER, 7, 2), "at the very end the retry may still come");
        memory.expire(at(3));
        assert!(!memory.contains(PEER, 7, 2) && memory.contains(OTHER, 7, 3));
        memory.expire(at(4));
        assert_eq!(memory.len(), 0);
    }

    #[test]
    fn the_memory_of_ended_links_is_bounded_for_each_peer_and_in_all() {
        let mut memory = RetryMemory::default();
        let peer = |index| PeerId { index, epoch: Epoch::FIRST };
        for transfer in 0..9 {
            memory.keep((PEER, 7), window([transfer]), at(0), SECOND, 2);
            memory.keep((OTHER, 7), window([0]), at(0), SECOND, 2);
        }
        assert!(memory.contains(PEER, 7, 7) && memory.contains(PEER, 7, 8));
        assert!(memory.contains(OTHER, 7, 0));
        assert_eq!(memory.len(), 4);
        for index in 2..9 {
            memory.keep((peer(index), 7), window([0]), at(0), SECOND, 2);
        }
        assert_eq!(memory.len(), 4);
        assert!((5..9).all(|index| memory.contains(peer(index), 7, 0)));
    }

    #[test]
    fn a_retry_may_come_after_the_time_to_confirm_and_that_to_dial() {
        let times = Timeouts { confirm: SECOND, connect: 2 * SECOND, ..Timeouts::default() };
        let times = Timeouts { handshake: 4 * SECOND, ..times };
        assert_eq!(lifetime(&times), 7 * SECOND);
    }
}
