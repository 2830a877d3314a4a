//! Partitions, cuts, and what becomes of the connections of a tower that is gone.

use clacks_proto::StateMachine;

use super::connection::{EndId, Load};
use super::{Due, Network, Observer};
use crate::observation::{Fault, TowerId};
use crate::plan::{CrashKind, Direction, Severance};

impl<M: StateMachine, W: Observer<M>> Network<M, W> {
    /// Whether a partition stops what goes from one tower to another, and how.
    pub(super) fn severance(&self, from: TowerId, to: TowerId) -> Option<Severance> {
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

    /// What a tower did not live to see. Whoever dialled it, and was answered by its machine, is told.
    pub(super) fn abandon_parked(&mut self, parked: Vec<Due>, how: CrashKind) {
        for due in parked {
            let Due::Arrival(place) = due else { continue };
            let segment = self.segments.get(place);
            let end = EndId { connection: segment.connection, side: segment.to };
            let is_dial = segment.what == Load::Accept;
            if is_dial && how == CrashKind::Process && self.connections.of(segment).is_some() {
                self.send_control(end, Load::Reset);
            }
            self.drop_segment(place);
        }
    }

    /// All connections of a tower break.
    pub(super) fn cut(&mut self, tower: TowerId) {
        let ends: Vec<_> = self.nodes[tower.0 as usize].ends.iter().flatten().copied().collect();
        for end in ends {
            self.see_fault(Some(tower), Fault::Cut);
            self.break_connection(end, self.now);
        }
    }

    /// A tower is gone, and its end of a connection with it. Its machine answers what still comes as soon as it can: it knows nothing of
    /// that connection. (It would be sent again until then; here the other side has to say something new.)
    pub(super) fn abandon(&mut self, end: EndId, how: CrashKind) {
        if how == CrashKind::Process {
            self.send_control(end, Load::Reset);
        }
        let own = self.connections.get(end.connection).end(end.side);
        own.flow.backlog = None;
        own.flow.closes = false;
        own.link = None;
        self.connections.vacate(end.connection);
    }
}
