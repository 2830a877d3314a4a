//! Looking at what the next event will need, while there is still time.

use core::hint::black_box;

use super::Tower;
use crate::ids::LinkId;

/// What is known of a tower's next event: what [`Tower::look_ahead`] has found out about it so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Foresight {
    link: Option<LinkId>,
    /// The place of a peer in the table.
    peer: Option<u32>,
}

impl Foresight {
    /// Foresees an event of a link, or with `None` a timer.
    #[must_use]
    pub fn new(link: Option<LinkId>) -> Self {
        Self { link, peer: None }
    }
}

impl Tower {
    /// How far [`look_ahead`](Self::look_ahead) can look: from depth 0 to one less than this.
    pub const DEPTHS: u32 = 6;

    /// Reads some of the memory that the next event will need, and changes nothing.
    ///
    /// Only whoever drives thousands of towers gains by it. Each event finds its tower's memory in no cache, and what it needs there hangs
    /// together by pointers: the processor would wait for one piece after the other. Looked at before for a dozen towers in turn,
    /// first at depth 0 for all of them, then at depth 1 and so on, these pieces come many at once.
    ///
    /// Every depth follows the pointers that the one before has read. What it foresees may turn out wrong, and does no harm then.
    pub fn look_ahead(&self, depth: u32, foresight: &mut Foresight) {
        black_box(match depth {
            0 => self.look_inside(),
            1 => self.look_at_lists(foresight.link),
            2 => {
                if foresight.link.is_none() {
                    foresight.peer = self.foresee_draw();
                }
                self.look_at_link(foresight)
            }
            3 => self.look_at_peer(foresight),
            4 => self.look_at_link(foresight),
            _ => self.look_at_transfer(foresight),
        });
    }

    /// A word of each of its own cache lines.
    fn look_inside(&self) -> u64 {
        self.now.as_nanos()
            ^ self.next_transfer
            ^ self.heartbeat_at.as_nanos()
            ^ self.stats.received
            ^ self.stats.delivered
            ^ u64::from(self.tidied)
            ^ u64::from(self.actions.is_empty())
            ^ u64::from(self.peers.standing().alive)
            ^ self.peers.len() as u64
            ^ u64::from(self.peers.alive_count())
            ^ self.links.len() as u64
            ^ self.queue.len() as u64
            ^ self.queue.waiting() as u64
            ^ self.pacer.next().map_or(0, crate::time::Instant::as_nanos)
            ^ u64::from(self.open_offers)
            ^ u64::from(self.selector.is_resting())
            ^ u64::from(self.friend_stream.is_resting())
            ^ self.backoffs.first().map_or(0, |(at, _)| at.as_nanos())
    }

    fn look_at_lists(&self, link: Option<LinkId>) -> u64 {
        let deadline = match link {
            Some(link) => self.link_deadlines.look_at(link.index),
            None => self.link_deadlines.first().map_or(0, |(_, index)| u64::from(index)),
        };
        let link = link.is_some_and(|link| self.links.id(link.index).is_some());
        deadline
            ^ u64::from(link)
            ^ self.queue.look_at_index()
            ^ self.peers.look_at_lists()
            ^ self.selector.look_ahead()
            ^ self.friend_stream.look_ahead()
    }

    /// Whom the next tick will draw: most timers are ticks.
    fn foresee_draw(&self) -> Option<u32> {
        let (status, place) = self.selector.foresee(self.peers.eligible(self.config.max_probes))?;
        self.peers.eligible_at(status, place)
    }

    fn look_at_link(&self, foresight: &mut Foresight) -> u64 {
        let head = self.queue.look_at_head();
        let Some(link) = foresight.link.and_then(|link| self.links.get(link)) else { return head };
        foresight.peer = link.peer.map(|peer| peer.index);
        head ^ link.look_ahead()
    }

    fn look_at_peer(&self, foresight: &mut Foresight) -> u64 {
        let Some(peer) = foresight.peer.and_then(|place| self.peers.at(place)) else { return 0 };
        foresight.link = foresight.link.or(peer.link);
        let taken = peer.taken.as_ref().map_or(0, |taken| u64::from(taken.is_empty()));
        taken ^ peer.since.as_nanos() ^ u64::from(peer.load) ^ u64::from(peer.is_ignored())
    }

    fn look_at_transfer(&self, foresight: &Foresight) -> u64 {
        let peer = foresight.peer.and_then(|place| self.peers.at(place));
        let taken = peer.and_then(|peer| peer.taken.as_ref());
        let taken = taken.map_or(0, |taken| taken.look_ahead());
        let link = foresight.link.and_then(|link| self.links.get(link));
        let Some(transfer) = link.and_then(|link| link.transfers.oldest()) else { return taken };
        let message = transfer.message().and_then(|key| self.queue.get(key));
        taken ^ transfer.number ^ message.map_or(0, |(_, _, body)| body.len() as u64)
    }
}
