//! Carries out the steps of the plan.

use std::sync::Arc;

use clacks_proto::{Address, Instant, Nonce, StateMachine, Tower};

use super::{Due, Network, NetworkObserver};
use crate::message_numbers;
use crate::observation::{Fault, MessageId, Observed, TowerId};
use crate::plan::Step;

impl<M: StateMachine, W: NetworkObserver<M>> Network<M, W> {
    /// Carries out the steps of this moment.
    pub(super) fn on_step(&mut self) {
        let plan = Arc::clone(&self.plan);
        while let Some((at, step)) = plan.steps.get(self.next_step) {
            if at.as_nanos() > self.now {
                return self.event_queue.push(at.as_nanos(), Due::Step);
            }
            let index = u32::try_from(self.next_step).unwrap_or(u32::MAX);
            self.next_step += 1;
            self.snapshot.events += 1;
            self.carry_out(step, index);
        }
    }

    /// Carries out steps later, in addition to the plan. Steps of the past happen at once.
    pub(crate) fn add_steps(&mut self, steps: Vec<(Instant, Step)>) {
        for (at, step) in steps {
            self.event_queue.push(at.as_nanos().max(self.now), Due::OneStep(self.next_added));
            self.added_steps.insert(self.next_added, step);
            self.next_added = self.next_added.saturating_add(1);
        }
    }

    /// Carries out a step that was added, or that came while its tower was paused.
    pub(super) fn on_one_step(&mut self, index: u32) {
        let plan = Arc::clone(&self.plan);
        if let Some((_, step)) = plan.steps.get(index as usize) {
            self.carry_out(step, index);
        } else if let Some(step) = self.added_steps.remove(&index) {
            self.snapshot.events += 1;
            self.carry_out(&step, index);
        }
    }

    /// Lets an application act on the node of a tower. Returns `None` if the tower does not run or
    /// is paused.
    pub(crate) fn with_node<R>(
        &mut self,
        tower: TowerId,
        act: impl FnOnce(&mut M, Instant) -> R,
    ) -> Option<R> {
        if tower.0 >= self.plan.towers {
            return None;
        }
        let now = self.local_now(tower);
        let machine = self.node(tower).running()?.node_mut()?;
        let result = act(machine, now);
        self.settle(tower);
        Some(result)
    }

    /// Returns the number of the message with a nonce.
    pub(crate) fn number_of(&self, nonce: Nonce) -> Option<MessageId> {
        self.numbers.number_of(nonce)
    }

    fn carry_out(&mut self, step: &Step, index: u32) {
        if let Step::Expand { tower, .. }
        | Step::Announce { tower, .. }
        | Step::Ignore { tower, .. }
        | Step::Unignore { tower, .. } = step
            && self.node(*tower).is_paused()
        {
            if index as usize >= self.plan.steps.len() {
                self.added_steps.insert(index, step.clone());
            }
            return self.node(*tower).park(Due::OneStep(index));
        }
        match step {
            Step::Start { tower, contacts } => self.start(*tower, *contacts),
            Step::Crash { tower, how } => self.crash(*tower, *how),
            Step::Leave { tower } => self.leave(*tower),
            Step::Pause { tower } => self.pause(*tower),
            Step::Resume { tower } => self.resume(*tower),
            Step::Clock { tower, step, drift_ppm } => self.change_clock(*tower, *step, *drift_ppm),
            Step::Partition { id, partition } => {
                self.observer.on_partition(Instant::from_nanos(self.now), *id, partition);
                self.partitions.push((*id, partition.clone()));
                self.see_fault(None, Fault::Partition);
            }
            Step::Heal { id } => {
                self.observer.on_heal(Instant::from_nanos(self.now), *id);
                self.partitions.retain(|(other, _)| other != id);
                self.see_fault(None, Fault::Heal);
            }
            Step::ChangeConditions { id, link } => self.change_conditions(*id, link),
            Step::RestoreConditions { id } => self.restore_conditions(*id),
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

    /// Calls a method of a tower that concerns a peer, as the tower's application.
    fn command(
        &mut self,
        tower: TowerId,
        peer: TowerId,
        what: Option<Observed>,
        method: impl FnOnce(&mut Tower, &Address, Instant) -> bool,
    ) {
        let now = self.local_now(tower);
        let Some(address) = self.plan.addresses.address_of(peer) else { return };
        let Some(machine) = self.application(tower) else { return };
        if method(machine, &address, now)
            && let Some(what) = what
        {
            self.see(tower, what);
        }
        self.settle(tower);
    }

    /// Enqueues the next message at a tower.
    fn enqueue(&mut self, tower: TowerId) {
        let message = message_numbers::message(self.numbers.next(), self.plan.message_size);
        let now = self.local_now(tower);
        let Some(machine) = self.application(tower) else {
            return self.see(tower, Observed::EnqueueRefused);
        };
        let what = match machine.enqueue(message, now) {
            Ok(nonce) => Observed::Enqueued { message: self.numbers.add(nonce) },
            Err(_) => Observed::EnqueueRefused,
        };
        self.see(tower, what);
        self.settle(tower);
    }

    /// Returns a tower whose application can act: one that runs and is not paused.
    fn application(&mut self, tower: TowerId) -> Option<&mut Tower> {
        self.node(tower).running()?.tower_mut()
    }
}
