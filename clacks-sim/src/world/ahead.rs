//! Looks at what the next events will need, so that their cache misses overlap.
//!
//! With thousands of towers nothing is in the cache, and an event waits for some twenty pieces of memory, one after the other because they hang
//! together by pointers. Before every batch of events the first pieces of all of them are read, then the second ones, and so
//! on: the processor waits for as many at once as it can. Nothing is changed, and nothing is decided by it.

use std::hint::black_box;

use clacks_proto::{Foresight, LinkId, StateMachine, Tower};

use super::{Due, Watch, World};
use crate::occurrence::TowerId;

/// How many events ahead, besides the one that is due. Guess: half as many as the agenda has in order when it has any.
const BATCH: usize = 16;

/// In smaller networks most is in the cache anyway: with 100 towers nothing was gained (measured), with 1 000 a little.
const LARGE: u32 = 500;

/// What the next events will need.
pub(super) struct Ahead {
    /// Events until the next look.
    left: usize,
    near: Vec<Near>,
}

/// An event that is near.
struct Near {
    tower: TowerId,
    link: Option<LinkId>,
    foresight: Foresight,
}

impl Ahead {
    pub(super) fn new(towers: u32) -> Self {
        let left = if towers < LARGE { usize::MAX } else { 0 };
        Self { left, near: Vec::with_capacity(BATCH + 1) }
    }
}

impl<M: StateMachine, W: Watch<M>> World<M, W> {
    /// Looks at what this event and those after it will need, if they have not been looked at before.
    pub(super) fn look_ahead(&mut self, due: Due) {
        if self.ahead.left > 0 {
            self.ahead.left -= 1;
            return;
        }
        let mut near = std::mem::take(&mut self.ahead.near);
        near.clear();
        self.look_at_segments(due);
        near.extend(self.batch(due).filter_map(|due| self.foresee(due)));
        for depth in 0..Tower::DEPTHS {
            for event in &mut near {
                self.look_at_node(depth, event);
            }
        }
        self.ahead.left = self.batch(due).count() - 1;
        self.ahead.near = near;
    }

    fn batch(&self, due: Due) -> impl Iterator<Item = Due> + '_ {
        std::iter::once(due).chain(self.agenda.upcoming().take(BATCH))
    }

    /// What arrives, and where.
    fn look_at_segments(&self, due: Due) {
        let segments = || {
            self.batch(due).filter_map(|due| match due {
                Due::Arrival(place) => Some(self.segments.get(place)),
                _ => None,
            })
        };
        black_box(segments().fold(0, |read, segment| read ^ segment.connection));
        black_box(segments().fold(0, |read, segment| {
            let connection = self.connections.look_at(segment.connection);
            let byte = segment.bytes.first().map_or(0, |byte| u32::from(*byte));
            connection.map_or(0, |it| it.ends[0].tower.0 ^ it.ends[1].tower.0) ^ byte ^ read
        }));
    }

    fn foresee(&self, due: Due) -> Option<Near> {
        let (tower, link) = match due {
            Due::Wake(tower) => (tower, None),
            Due::Arrival(place) => {
                let segment = self.segments.get(place);
                let end = self.connections.look_at(segment.connection)?.at(segment.to);
                (end.tower, end.link)
            }
            _ => return None,
        };
        Some(Near { tower, link, foresight: Foresight::new(link) })
    }

    fn look_at_node(&self, depth: u32, event: &mut Near) {
        let node = &self.nodes[event.tower.0 as usize];
        match depth {
            0 => {
                black_box(node.armed ^ node.ends.len() as u64 ^ u64::from(node.dials));
                self.watch.look_ahead(event.tower);
            }
            1 => {
                let end = event.link.and_then(|link| node.ends.get(link.index()));
                black_box(end.is_some_and(Option::is_some));
            }
            _ => {}
        }
        if let Some(machine) = &node.machine {
            machine.tower().look_ahead(depth, &mut event.foresight);
        }
    }
}
