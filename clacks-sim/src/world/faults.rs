//! Partitions, cuts, and what becomes of the connections of a tower that is gone.

use clacks_proto::StateMachine;

use super::connection::{EndId, FlowState, Load};
use super::{Watch, World};
use crate::occurrence::{Fault, TowerId};
use crate::plan::{Death, Direction, Severance};

impl<M: StateMachine, W: Watch<M>> World<M, W> {
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

    /// All connections of a tower break.
    pub(super) fn cut(&mut self, tower: TowerId) {
        let ends: Vec<_> = self.nodes[tower.0 as usize].ends.iter().flatten().copied().collect();
        for end in ends {
            self.see_fault(Some(tower), Fault::Cut);
            self.break_connection(end, self.now);
        }
    }

    /// A tower is gone, and its end of a connection with it.
    pub(super) fn abandon(&mut self, end: EndId, how: Death) {
        match how {
            Death::Process => self.send_control(end, Load::Reset),
            Death::Machine => {
                let other = self.connections.get(end.connection).end(end.side.other());
                other.flow.state = FlowState::Vanishes;
            }
        }
        let own = self.connections.get(end.connection).end(end.side);
        own.flow.state = FlowState::Vanishes;
        own.link = None;
        self.connections.vacate(end.connection);
    }
}
