//! Carries out the steps of the plan.

use std::sync::Arc;

use clacks_proto::{Address, Instant, StateMachine, Tower};

use super::addresses::address_of;
use super::{Due, Network, Observer};
use crate::message_numbers;
use crate::observation::{Fault, Observed, TowerId};
use crate::plan::Step;

impl<M: StateMachine, W: Observer<M>> Network<M, W> {
    /// The steps of this moment.
    pub(super) fn on_step(&mut self) {
        let plan = Arc::clone(&self.plan);
        while let Some((at, step)) = plan.steps.get(self.next_step) {
            if at.as_nanos() > self.now {
                return self.event_queue.push(at.as_nanos(), Due::Step);
            }
            self.next_step += 1;
            self.snapshot.events += 1;
            self.carry_out(step);
        }
    }

    fn carry_out(&mut self, step: &Step) {
        match step {
            Step::Start { tower, contacts } => self.start(*tower, *contacts),
            Step::Crash { tower, how } => self.crash(*tower, *how),
            Step::Leave { tower } => self.leave(*tower),
            Step::Pause { tower } => self.pause(*tower),
            Step::Resume { tower } => self.resume(*tower),
            Step::Clock { tower, step, drift_ppm } => self.change_clock(*tower, *step, *drift_ppm),
            Step::Part { id, partition } => {
                self.watch.parted(Instant::from_nanos(self.now), *id, partition);
                self.partitions.push((*id, partition.clone()));
                self.see_fault(None, Fault::Partition);
            }
            Step::Heal { id } => {
                self.watch.healed(Instant::from_nanos(self.now), *id);
                self.partitions.retain(|(other, _)| other != id);
                self.see_fault(None, Fault::Heal);
            }
            Step::LinkConditions { conditions } => {
                let conditions = conditions.as_deref().unwrap_or(&self.plan.conditions).clone();
                self.conditions = Arc::new(conditions);
                self.weather_changes += 1;
                self.see_fault(None, Fault::LinkConditions);
            }
            Step::Cut { tower } => self.cut(*tower),
            Step::Enqueue { tower, count } => {
                for _ in 0..*count {
                    self.enqueue(*tower);
                }
            }
            Step::Expand { tower, peer } => {
                self.command(*tower, *peer, None, |tower, peer, now| {
                    tower.expand(peer, now).is_ok()
                });
            }
            Step::Announce { tower, peer } => {
                self.command(*tower, *peer, None, |tower, peer, now| {
                    tower.announce(peer, now).is_ok()
                });
            }
            Step::Ignore { tower, peer } => {
                let what = Observed::Ignored { peer: *peer };
                self.command(*tower, *peer, Some(what), |tower, peer, now| {
                    tower.ignore(peer, now).is_ok()
                });
            }
            Step::Unignore { tower, peer } => {
                let what = Observed::Unignored { peer: *peer };
                self.command(*tower, *peer, Some(what), Tower::unignore);
            }
        }
    }

    /// The application of a tower says something about a peer. A tower that does not run has no application.
    fn command(
        &mut self,
        tower: TowerId,
        peer: TowerId,
        what: Option<Observed>,
        verb: impl FnOnce(&mut Tower, &Address, Instant) -> bool,
    ) {
        let node = &mut self.nodes[tower.0 as usize];
        let now = node.clock(self.now);
        let (Some(machine), Some(address), false) =
            (&mut node.machine, address_of(peer), node.is_paused)
        else {
            return;
        };
        if verb(machine.tower_mut(), &address, now)
            && let Some(what) = what
        {
            self.see(tower, what);
        }
        self.settle(tower);
    }

    /// The application of a tower enqueues the next message.
    fn enqueue(&mut self, tower: TowerId) {
        let message = message_numbers::message(self.names.next(), self.plan.message_size);
        let node = &mut self.nodes[tower.0 as usize];
        let now = node.clock(self.now);
        let (Some(machine), false) = (&mut node.machine, node.is_paused) else {
            // A tower that does not run has no application either.
            return self.see(tower, Observed::EnqueueRefused);
        };
        let what = match machine.tower_mut().enqueue(message, now) {
            Ok(nonce) => Observed::Enqueued { message: self.names.add(nonce) },
            Err(_) => Observed::EnqueueRefused,
        };
        self.see(tower, what);
        self.settle(tower);
    }
}
