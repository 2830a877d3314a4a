//! Prefetching: the state of large networks does not fit into the cache.
//!
//! An event needs a chain of values: the segment, its connection, the tower, the link, and the
//! memory of the link. While an event is handled, each of the next events has one step of its chain
//! loaded. A step reads only what the step before has loaded. With 10 000 towers, an event takes a
//! third less time (measured).

use clacks_proto::prefetch::prefetch;
use clacks_proto::{LinkId, StateMachine};
use prefetch_index::prefetch_index;

use super::{Due, Network};
use crate::observation::TowerId;

/// How many events are handled between a step of an event and the event. The values are guesses.
const SEGMENT: usize = 8;
const CONNECTION: usize = 6;
const TOWER: usize = 4;
const PARTS: usize = 2;
const LINK: usize = 1;
const BUFFERS: usize = 0;

impl<M: StateMachine, W> Network<M, W> {
    /// Starts to load what the next events need into the cache.
    #[inline]
    pub(super) fn prefetch(&self) {
        if let Some(Due::Arrival(index)) = self.event_queue.upcoming(SEGMENT) {
            self.segments.prefetch(index);
        }
        if let Some(Due::Arrival(index)) = self.event_queue.upcoming(CONNECTION) {
            let segment = self.segments.get(index);
            self.connections.prefetch(segment.end.connection);
            prefetch_index(&segment.bytes, 0);
            prefetch_index(&segment.bytes, 64);
        }
        if let Some((tower, _)) = self.recipient(TOWER) {
            let node = &self.nodes[tower.0 as usize];
            prefetch(node, &node.wakeup);
        }
        if let Some((tower, link)) = self.recipient(PARTS) {
            let node = &self.nodes[tower.0 as usize];
            if let Some(tower) = node.tower() {
                tower.prefetch(link);
            }
            if let Some(link) = link {
                prefetch_index(&node.ends, link.index());
            }
        }
        if let Some((tower, Some(link))) = self.recipient(LINK)
            && let Some(tower) = self.nodes[tower.0 as usize].tower()
        {
            tower.prefetch_link(link);
        }
        if let Some((tower, Some(link))) = self.recipient(BUFFERS)
            && let Some(tower) = self.nodes[tower.0 as usize].tower()
        {
            tower.prefetch_buffers(link);
        }
    }

    /// Returns the tower of an upcoming event, and the link.
    #[inline]
    fn recipient(&self, skipped: usize) -> Option<(TowerId, Option<LinkId>)> {
        match self.event_queue.upcoming(skipped)? {
            Due::Wake(tower) => Some((tower, None)),
            Due::Arrival(index) => {
                let end = self.connections.end(self.segments.get(index).end);
                ((end.tower.0 as usize) < self.nodes.len()).then_some((end.tower, end.link))
            }
            _ => None,
        }
    }
}
