//! Looking at what the next event will need, while there is still time.

use crate::link::Link;
use crate::time::Instant;
use core::hint::black_box;

use super::Tower;
use crate::ids::LinkId;

impl Tower {
    /// How far [`look_ahead`](Self::look_ahead) can look: from 0 to one less.
    pub const DEPTHS: u32 = 4;

    /// Reads some of the memory that the next event will need, and changes nothing.
    ///
    /// Only whoever drives tens of thousands of towers gains by it. Each event finds its tower's memory in no cache, and what it needs there hangs
    /// together by pointers: the processor would wait for one piece after the other. Looked at before for a dozen towers in turn,
    /// first at depth 0 for all of them, then at depth 1 and so on, these pieces come all at once.
    ///
    /// `link` is the one that the event is about, if it is known. Every depth follows the pointers that the one before has read.
    pub fn look_ahead(&self, depth: u32, link: Option<LinkId>) {
        black_box(match depth {
            0 => self.look_inside(),
            1 => self.look_at_lists(link),
            2 => self.look_at_link(link) ^ self.queue.look_at_head(),
            _ => self.look_at_peer(link),
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
            ^ self.pacer.next().map_or(0, Instant::as_nanos)
            ^ self.open_offers as u64
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

    fn look_at_link(&self, link: Option<LinkId>) -> u64 {
        link.and_then(|link| self.links.get(link)).map_or(0, Link::look_ahead)
    }

    fn look_at_peer(&self, link: Option<LinkId>) -> u64 {
        let Some(link) = link.and_then(|link| self.links.get(link)) else { return 0 };
        let peer = link.peer.and_then(|peer| self.peers.get(peer));
        let awaited = link.transfers.oldest().map_or(0, |transfer| transfer.number);
        peer.map_or(0, |peer| peer.since.as_nanos() ^ u64::from(peer.load)) ^ awaited
    }
}
