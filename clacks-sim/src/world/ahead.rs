//! Looks at what the next events will need, so that their cache misses overlap.
//!
//! With ten thousand towers nothing is in the cache, and an event waits for some twenty pieces of memory, one after the other because they hang
//! together by pointers. Before every batch of events the first pieces of all of them are read, then the second ones, and so
//! on: the processor waits for as many at once as it can. Nothing is changed, and nothing is decided by it.

use std::hint::black_box;

use clacks_proto::{LinkId, StateMachine, Tower};

use super::{Due, Watch, World};
use crate::occurrence::TowerId;

/// How many events ahead. Measured with 10 000 towers: 8 gain less, and 32 no more.
const BATCH: usize = 16;

/// In smaller networks most is in the cache anyway (measured).
const LARGE: u32 = 500;

/// What the next events will need.
pub(super) struct Ahead {
    /// Events until the next look.
    left: usize,
    towers: u32,
    near: Vec<(TowerId, Option<LinkId>)>,
}

impl Ahead {
    pub(super) fn new(towers: u32) -> Self {
        Self { left: 0, towers, near: Vec::with_capacity(BATCH + 1) }
    }
}

impl<M: StateMachine, W: Watch<M>> World<M, W> {
    /// Looks at what this event and those after it will need, if that is not known from before.
    pub(super) fn look_ahead(&mut self, due: Due) {
        if self.ahead.left > 0 {
            self.ahead.left -= 1;
            return;
        }
        if self.ahead.towers < LARGE {
            self.ahead.left = usize::MAX;
            return;
        }
        let mut near = std::mem::take(&mut self.ahead.near);
        near.clear();
        let batch = || std::iter::once(due).chain(self.agenda.upcoming().take(BATCH));
        let mut read = 0;
        for due in batch() {
            if let Due::Arrival(place) = due {
                read ^= self.segments.get(place).connection;
            }
        }
        for due in batch() {
            if let Due::Arrival(place) = due {
                let segment = self.segments.get(place);
                let connection = self.connections.look_at(segment.connection);
                read ^= connection.map_or(0, |connection| {
                    connection.ends[0].tower.0 ^ connection.ends[1].tower.0
                });
                read ^= segment.bytes.first().map_or(0, |byte| u32::from(*byte));
            }
        }
        for due in batch() {
            match due {
                Due::Wake(tower) => near.push((tower, None)),
                Due::Arrival(place) => {
                    let segment = self.segments.get(place);
                    if let Some(connection) = self.connections.look_at(segment.connection) {
                        let end = connection.at(segment.to);
                        near.push((end.tower, end.link));
                    }
                }
                _ => {}
            }
        }
        black_box(read);
        for depth in 0..Tower::DEPTHS {
            for (tower, link) in &near {
                let node = &self.nodes[tower.0 as usize];
                if depth == 0 {
                    black_box(node.armed ^ node.ends.len() as u64 ^ u64::from(node.dials));
                    self.watch.look_ahead(*tower);
                }
                if depth == 1
                    && let Some(link) = link
                {
                    black_box(node.ends.get(link.index()).is_some_and(Option::is_some));
                }
                if let Some(machine) = &node.machine {
                    machine.tower().look_ahead(depth, *link);
                }
            }
        }
        self.ahead.left = self.agenda.upcoming().take(BATCH).count();
        self.ahead.near = near;
    }
}
