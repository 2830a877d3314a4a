//! Partitions, cuts, and the connections of a tower that is gone.

use clacks_proto::StateMachine;

use super::connection::{Content, EndId, Side};
use super::{Due, Network, NetworkObserver};
use crate::observation::{Fault, TowerId};
use crate::plan::{CrashKind, Direction, PartitionEffect};

impl<M: StateMachine, W: NetworkObserver<M>> Network<M, W> {
    /// Returns how a partition stops bytes from one tower to another, if one does.
    pub(super) fn partition_effect(&self, from: TowerId, to: TowerId) -> Option<PartitionEffect> {
        let mut fitting = self.partitions.iter().filter(|(_, partition)| {
            let (inside, outside) = match partition.direction {
                Direction::Both => {
                    return partition.inside.has(from) != partition.inside.has(to);
                }
                Direction::Out => (from, to),
                Direction::In => (to, from),
            };
            partition.inside.has(inside) && !partition.inside.has(outside)
        });
        fitting.next().map(|(_, partition)| partition.how)
    }

    /// Drops what arrived at a paused tower that died. A dialler that the machine of the tower has
    /// answered is notified if only the process died.
    pub(super) fn abandon_parked(&mut self, parked: Vec<Due>, how: CrashKind) {
        for due in parked {
            let Due::Arrival(index) = due else {
                if let Due::OneStep(index) = due {
                    self.added_steps.remove(&index);
                }
                continue;
            };
            let segment = self.segments.get(index);
            let is_dial = segment.content == Content::Accept;
            if is_dial && how == CrashKind::Process && self.connections.of(segment).is_some() {
                self.send_control(segment.end, Content::Reset);
            }
            self.drop_segment(index);
        }
    }

    /// Breaks all connections of a tower.
    pub(super) fn cut(&mut self, tower: TowerId) {
        let ends: Vec<_> = self.node(tower).ends.iter().flatten().copied().collect();
        for end in ends {
            self.see_fault(Some(tower), Fault::Cut);
            self.break_connection(end, self.now);
        }
    }

    /// Makes all further bytes of a connection vanish. Both ends learn of it at `at`.
    pub(super) fn break_connection(&mut self, end: EndId, at: u64) {
        let epoch = self.connections.get(end.connection).epoch;
        for side in [Side::Dialler, Side::Dialled] {
            let end = EndId { side, ..end };
            self.connections.flow(end).vanishes = true;
            let (index, _) = self.segments.add(end, epoch, Content::Reset);
            self.event_queue.push(at, Due::Arrival(index));
        }
    }

    /// Removes the end of a tower that is gone. A process that died is noticed at once. A machine
    /// that died is noticed when it is back and the other side sends something: TCP would send it
    /// again until then, but here the other side must send something new.
    pub(super) fn abandon(&mut self, end: EndId, how: CrashKind) {
        if how == CrashKind::Process {
            self.send_control(end, Content::Reset);
        }
        let own = self.connections.end_mut(end);
        own.flow.shaping = None;
        own.link = None;
        self.connections.free_if_closed(end.connection);
    }
}
