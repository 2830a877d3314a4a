//! The network: towers, the connections between them, and one clock. It carries out a plan, event
//! by event.
//!
//! Every effect goes through the event queue, even one that takes no time. So towers never call
//! each other, and the order of events is that of (time, sequence) alone.

mod addresses;
mod clock;
mod commands;
mod conditions;
mod connection;
mod driver;
mod lifecycle;
mod offers;
mod partition;
mod prefetch;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use clacks_proto::{Instant, MessageState, Nonce, StateMachine, Status, Tower};

use crate::event_queue::EventQueue;
use crate::message_numbers::MessageNumbers;
use crate::node::Maker;
use crate::observation::{Fault, MessageId, Observation, Observed, TowerId};
use crate::plan::{LinkOverrides, Partition, PathConditions, Plan, Step};
use crate::rng::RngStreams;
pub use addresses::AddressLayout;
pub(crate) use addresses::{AddressBook, MADE_UP_NETWORKS, MAX_SPREAD, NameKind, address, made_up};
pub(crate) use clock::Clock;
use connection::{Connections, Segments};
use lifecycle::Node;

/// Sees all that happens in a network.
pub(crate) trait NetworkObserver<M> {
    /// Something happened.
    fn observe(&mut self, observation: &Observation);

    /// A tower has done all that followed from an event. Roles without a tower are not shown. The
    /// node is the one that the program made, if it made one.
    fn after(&mut self, at: Instant, tower: TowerId, machine: &Tower, node: Option<&M>);

    /// A partition began.
    fn on_partition(&mut self, at: Instant, id: u32, partition: &Partition) {
        let _ = (at, id, partition);
    }

    /// A partition has healed.
    fn on_heal(&mut self, at: Instant, id: u32) {
        let _ = (at, id);
    }

    /// A sample is due.
    fn sample(&mut self, snapshot: &Snapshot, view: &NetworkView<'_, M>);
}

/// A read-only view of all towers, for checkers and samplers.
pub(crate) struct NetworkView<'a, M> {
    nodes: &'a [Node<M>],
    plan: &'a Plan,
    numbers: &'a MessageNumbers,
}

/// The counters of a network at some moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// The moment.
    pub(crate) at: Instant,
    /// Events so far.
    pub(crate) events: u64,
    /// Towers that run, paused ones included.
    pub(crate) running: u32,
    /// Connections with at least one open end.
    pub(crate) connections: usize,
    /// Messages among the bytes on their way.
    pub(crate) on_the_wire: u64,
    /// The integral of `on_the_wire` over time, in message-nanoseconds.
    pub(crate) wire_time: u128,
    /// Messages handed over for the first time to some peer.
    pub(crate) handed_over: u64,
    /// Messages that applications have enqueued.
    pub(crate) messages: usize,
}

/// What is due at some moment.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Due {
    /// A tower asked to be woken.
    Wake(TowerId),
    /// A segment arrives.
    Arrival(u32),
    /// The next step of the plan.
    Step,
    /// The step with an index, which was added, or came while its tower was paused.
    OneStep(u32),
    /// A session of a tower ends, or its absence.
    Churn(TowerId),
    /// The next sample.
    Sample,
}

/// Towers in virtual time.
pub(crate) struct Network<M, W> {
    plan: Arc<Plan>,
    random: RngStreams,
    make: Maker<M>,
    now: u64,
    event_queue: EventQueue<Due>,
    nodes: Vec<Node<M>>,
    connections: Connections,
    segments: Segments,
    /// The end of the faults, in nanoseconds. Random faults stop then.
    faults_end: u64,
    /// The end of the run, in nanoseconds.
    end: u64,
    /// The conditions on all paths that have none of their own.
    conditions: PathConditions,
    /// The changes of these conditions that are in force, in the order of their ids.
    overrides: Vec<(u32, LinkOverrides)>,
    /// How often these conditions have changed. The end of the faults changes no latency.
    condition_changes: u32,
    partitions: Vec<(u32, Partition)>,
    /// The tower whose bytes are being handled.
    sender: Option<TowerId>,
    numbers: MessageNumbers,
    /// The index of the plan's next step.
    next_step: usize,
    /// The steps that were added during the run and are not carried out yet, by index. The indices
    /// follow those of the plan.
    added_steps: BTreeMap<u32, Step>,
    /// The index of the next added step.
    next_added: u32,
    snapshot: Snapshot,
    /// When the integral in the snapshot was last updated.
    wire_at: u64,
    /// What a tower transmits, until it is cut into segments.
    buffer: Vec<u8>,
    pub(crate) observer: W,
}

impl<M: StateMachine, W: NetworkObserver<M>> Network<M, W> {
    /// Returns a network in which nothing has happened.
    pub(crate) fn new(plan: Arc<Plan>, make: Maker<M>, observer: W) -> Self {
        let mut event_queue = EventQueue::new();
        if let Some((at, _)) = plan.steps.first() {
            event_queue.push(at.as_nanos(), Due::Step);
        }
        event_queue.push(0, Due::Sample);
        let mut network = Self {
            random: RngStreams::new(plan.seed),
            make,
            now: 0,
            event_queue,
            nodes: (0..plan.towers).map(|_| Node::absent()).collect(),
            connections: Connections::default(),
            segments: Segments::default(),
            faults_end: plan.faults_end.as_nanos(),
            end: nanos(plan.time),
            conditions: plan.conditions.clone().into(),
            overrides: Vec::new(),
            condition_changes: 0,
            partitions: Vec::new(),
            sender: None,
            numbers: MessageNumbers::default(),
            next_step: 0,
            added_steps: BTreeMap::new(),
            next_added: u32::try_from(plan.steps.len()).unwrap_or(u32::MAX),
            snapshot: Snapshot::default(),
            wire_at: 0,
            buffer: Vec::new(),
            observer,
            plan,
        };
        network.begin_churn();
        network
    }

    /// Handles the next event. Returns false when the time of the run is over.
    pub(crate) fn step(&mut self) -> bool {
        let end = self.end;
        let Some((at, due)) = self.event_queue.pop().filter(|(at, _)| *at <= end) else {
            self.now = end;
            self.account_wire();
            return false;
        };
        self.now = at;
        self.prefetch();
        match due {
            Due::Wake(tower) => self.on_wake(tower),
            Due::Arrival(segment) => self.on_arrival(segment),
            Due::Step => self.on_step(),
            Due::OneStep(index) => self.on_one_step(index),
            Due::Churn(tower) => self.on_churn(tower),
            Due::Sample => {
                self.sample();
                let every = nanos(self.plan.sample_every).max(1);
                self.event_queue.push(self.now.saturating_add(every), Due::Sample);
            }
        }
        true
    }

    /// Returns the time of the next event.
    pub(crate) fn next_at(&self) -> Instant {
        Instant::from_nanos(self.event_queue.next_at().unwrap_or(u64::MAX))
    }

    /// Advances the clock to a time before the next event.
    pub(crate) fn advance_clock(&mut self, to: Instant) {
        self.now = self.now.max(to.as_nanos().min(self.end));
    }

    /// Returns the end of the run.
    pub(crate) fn end(&self) -> Instant {
        Instant::from_nanos(self.end)
    }

    /// Moves the end of the faults, and the end of the run with it. An earlier end has no effect.
    pub(crate) fn extend_faults(&mut self, faults_end: Instant) {
        let added = faults_end.as_nanos().saturating_sub(self.faults_end);
        self.faults_end += added;
        self.end = self.end.saturating_add(added);
    }

    /// Returns the node of a tower that runs; `None` for a role that is no tower.
    pub(crate) fn node_of(&self, tower: TowerId) -> Option<&M> {
        self.nodes.get(tower.0 as usize)?.machine.as_ref()?.node()
    }

    /// Shows the observer the network as it is now.
    pub(crate) fn sample(&mut self) {
        let snapshot = self.snapshot();
        let (view, observer) = self.view();
        observer.sample(&snapshot, &view);
    }

    /// Returns the counters as they are now.
    pub(crate) fn snapshot(&mut self) -> Snapshot {
        self.account_wire();
        self.snapshot.at = Instant::from_nanos(self.now);
        self.snapshot.connections = self.connections.len();
        self.snapshot.messages = self.numbers.len();
        self.snapshot
    }

    /// Returns a view of all towers, and the observer.
    pub(crate) fn view(&mut self) -> (NetworkView<'_, M>, &mut W) {
        let view = NetworkView { nodes: &self.nodes, plan: &self.plan, numbers: &self.numbers };
        (view, &mut self.observer)
    }

    fn see(&mut self, tower: TowerId, what: Observed) {
        let at = Instant::from_nanos(self.now);
        self.observer.observe(&Observation { at, tower: Some(tower), what });
    }

    fn see_fault(&mut self, tower: Option<TowerId>, fault: Fault) {
        let at = Instant::from_nanos(self.now);
        self.observer.observe(&Observation { at, tower, what: Observed::Fault(fault) });
    }

    /// Returns the number of a message. A message that is seen for the first time was enqueued by
    /// the application of the tower, or made by a role, and gets the next number.
    pub(super) fn message_of(&mut self, tower: TowerId, nonce: Nonce) -> MessageId {
        if let Some(message) = self.numbers.number_of(nonce) {
            return message;
        }
        let message = self.numbers.add(nonce);
        self.see(tower, Observed::Enqueued { message });
        message
    }

    /// Returns the time on a tower's clock.
    fn local_now(&self, tower: TowerId) -> Instant {
        self.nodes[tower.0 as usize].local_time(self.now)
    }

    fn node(&mut self, tower: TowerId) -> &mut Node<M> {
        &mut self.nodes[tower.0 as usize]
    }

    /// Updates the integral of messages on the wire.
    fn account_wire(&mut self) {
        let passed = u128::from(self.now - self.wire_at);
        self.snapshot.wire_time += passed * u128::from(self.snapshot.on_the_wire);
        self.wire_at = self.now;
    }
}

impl<'a, M: StateMachine> NetworkView<'a, M> {
    /// Returns the towers that run. Roles without a tower are left out.
    pub(crate) fn running(&self) -> impl Iterator<Item = (TowerId, &'a Tower)> + use<'a, M> {
        let nodes: &'a [Node<M>] = self.nodes;
        nodes.iter().zip(0..).filter_map(|(node, number)| {
            let tower = node.machine.as_ref()?.tower()?;
            Some((TowerId(number), tower))
        })
    }

    /// Returns whether a tower runs.
    pub(crate) fn runs(&self, tower: TowerId) -> bool {
        self.nodes.get(tower.0 as usize).is_some_and(|node| node.machine.is_some())
    }

    /// Returns the plan of the run.
    pub(crate) fn plan(&self) -> &'a Plan {
        self.plan
    }

    /// Returns the numbers of this run's messages.
    pub(crate) fn message_numbers(&self) -> &'a MessageNumbers {
        self.numbers
    }

    /// Returns how many different messages the towers hold, and how many they hold together.
    /// Messages under screening are not counted. O(messages).
    pub(crate) fn count_messages(&self) -> (u64, u64) {
        let mut is_held = vec![false; self.numbers.len()];
        let (mut different, mut all) = (0, 0);
        for held in self.running().flat_map(|(_, tower)| tower.peek()) {
            let is_offered = matches!(held.state, MessageState::Offered { .. });
            let number = self.numbers.number_of(held.nonce).filter(|_| !is_offered);
            if let Some(seen) = number.and_then(|number| is_held.get_mut(number.0 as usize)) {
                different += u64::from(!std::mem::replace(seen, true));
                all += 1;
            }
        }
        (different, all)
    }

    /// Returns the status of each peer of a tower, with the peer's number if it is a tower of this
    /// run.
    pub(crate) fn peers(
        &self,
        tower: &'a Tower,
    ) -> impl Iterator<Item = (Option<TowerId>, Status)> + use<'a, M> {
        let addresses = &self.plan.addresses;
        tower.survey().map(move |peer| (addresses.tower_at(&peer.address), peer.status))
    }
}

/// Returns a duration in nanoseconds, or `u64::MAX` if it is longer.
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub(crate) mod tests;
