//! The world: towers, the connections between them, and one clock. It carries out a plan, event by event.
//!
//! Everything that happens goes through the event queue, even what takes no time: so towers never call each other, and the order of events
//! is that of (time, sequence) alone.

mod addresses;
mod clock;
mod connection;
mod driver;
mod faults;
mod node;
mod senders;
mod steps;
mod transport;

use std::sync::Arc;
use std::time::Duration;

use clacks_proto::{Address, Config, Instant, Seed, StateMachine, Status, Tower};

use crate::event_queue::EventQueue;
use crate::message_numbers::MessageNumbers;
use crate::observation::{Fault, Observation, Observed, TowerId};
use crate::plan::{LinkConditions, Partition, Plan};
use crate::rng::RngStreams;
use addresses::Addresses;
use connection::{Connections, Segments};
use node::Node;

/// Whoever looks on.
pub(crate) trait Observer<M> {
    /// Something happened.
    fn see(&mut self, observation: &Observation);

    /// A tower has done all that followed from an event.
    fn after(&mut self, at: Instant, tower: TowerId, machine: &M);

    /// The network was parted.
    fn parted(&mut self, at: Instant, id: u32, partition: &Partition) {
        let _ = (at, id, partition);
    }

    /// A partition has healed.
    fn healed(&mut self, at: Instant, id: u32) {
        let _ = (at, id);
    }

    /// The moment to write down how things stand.
    fn sample(&mut self, snapshot: &Snapshot, world: &NetworkView<'_, M>);
}

/// The towers of a world, for those who look at all of them.
pub(crate) struct NetworkView<'a, M> {
    nodes: &'a [Node<M>],
    addresses: Addresses,
    names: &'a MessageNumbers,
}

/// How things stand at some moment.
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
    /// Messages among the bytes that are on their way.
    pub(crate) on_the_wire: u64,
    /// The integral of that over time, in message-nanoseconds.
    pub(crate) wire_time: u128,
    /// Messages handed over for the first time to some peer.
    pub(crate) handed_over: u64,
    /// Messages that applications have enqueued.
    pub(crate) messages: usize,
}

/// Makes the towers.
pub(crate) type Maker<M> = Box<dyn FnMut(Arc<Config>, Address, &Seed) -> Option<M> + Send>;

/// What is due at some moment.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Due {
    /// A tower asked to be woken.
    Wake(TowerId),
    /// A segment has arrived.
    Arrival(u32),
    /// The next step of the plan.
    Step,
    /// The next session of a tower ends, or its absence.
    Churn(TowerId),
    /// The state of the network is to be written down.
    Sample,
}

/// Towers in virtual time.
pub(crate) struct Network<M, W> {
    plan: Arc<Plan>,
    random: RngStreams,
    make: Maker<M>,
    addresses: Addresses,
    now: u64,
    event_queue: EventQueue<Due>,
    nodes: Vec<Node<M>>,
    connections: Connections,
    segments: Segments,
    /// The network's weather where no path says something else.
    conditions: Arc<LinkConditions>,
    /// How often that has changed. (On a path only mishaps do, which are looked up whenever something is sent.)
    weather_changes: u32,
    partitions: Vec<(u32, Partition)>,
    /// Whose bytes a tower deals with just now.
    speaker: Option<TowerId>,
    names: MessageNumbers,
    /// The next of the plan's steps.
    next_step: usize,
    snapshot: Snapshot,
    /// When the integral in it was last brought up to date.
    wire_at: u64,
    /// What a tower transmits, until it is cut into segments.
    scratch: Vec<u8>,
    pub(crate) watch: W,
}

impl<M: StateMachine, W: Observer<M>> Network<M, W> {
    /// A world in which nothing has happened.
    pub(crate) fn new(plan: Arc<Plan>, make: Maker<M>, watch: W) -> Self {
        let mut event_queue = EventQueue::new();
        if let Some((at, _)) = plan.steps.first() {
            event_queue.push(at.as_nanos(), Due::Step);
        }
        event_queue.push(0, Due::Sample);
        let mut world = Self {
            random: RngStreams::new(plan.seed),
            make,
            addresses: Addresses { towers: plan.towers },
            now: 0,
            event_queue,
            nodes: (0..plan.towers).map(|_| Node::absent()).collect(),
            connections: Connections::default(),
            segments: Segments::default(),
            conditions: Arc::new(plan.conditions.clone()),
            weather_changes: 0,
            partitions: Vec::new(),
            speaker: None,
            names: MessageNumbers::default(),
            next_step: 0,
            snapshot: Snapshot::default(),
            wire_at: 0,
            scratch: Vec::new(),
            watch,
            plan,
        };
        world.begin_churn();
        world
    }

    /// Lets the next event happen. False when the time is over.
    pub(crate) fn step(&mut self) -> bool {
        let end = u64::try_from(self.plan.time.as_nanos()).unwrap_or(u64::MAX);
        let Some((at, due)) = self.event_queue.pop().filter(|(at, _)| *at <= end) else {
            self.now = end;
            self.account_wire();
            return false;
        };
        self.now = at;
        match due {
            Due::Wake(tower) => self.on_wake(tower),
            Due::Arrival(segment) => self.on_arrival(segment),
            Due::Step => self.on_step(),
            Due::Churn(tower) => self.on_churn(tower),
            Due::Sample => {
                self.sample();
                let every = u64::try_from(self.plan.sample_every.as_nanos()).unwrap_or(u64::MAX);
                self.event_queue.push(self.now.saturating_add(every.max(1)), Due::Sample);
            }
        }
        true
    }

    /// Writes down how things stand.
    pub(crate) fn sample(&mut self) {
        let snapshot = self.snapshot();
        let census =
            NetworkView { nodes: &self.nodes, addresses: self.addresses, names: &self.names };
        self.watch.sample(&snapshot, &census);
    }

    /// How things stand now.
    pub(crate) fn snapshot(&mut self) -> Snapshot {
        self.account_wire();
        self.snapshot.at = Instant::from_nanos(self.now);
        self.snapshot.connections = self.connections.len();
        self.snapshot.messages = self.names.len();
        self.snapshot
    }

    /// All towers and whoever watches them, for a last look.
    pub(crate) fn last_look(&mut self) -> (NetworkView<'_, M>, &mut W) {
        let census =
            NetworkView { nodes: &self.nodes, addresses: self.addresses, names: &self.names };
        (census, &mut self.watch)
    }

    fn see(&mut self, tower: TowerId, what: Observed) {
        let at = Instant::from_nanos(self.now);
        self.watch.see(&Observation { at, tower: Some(tower), what });
    }

    fn see_fault(&mut self, tower: Option<TowerId>, fault: Fault) {
        let at = Instant::from_nanos(self.now);
        self.watch.see(&Observation { at, tower, what: Observed::Fault(fault) });
    }

    /// What time a tower thinks it is.
    fn local_now(&self, tower: TowerId) -> Instant {
        self.nodes[tower.0 as usize].clock(self.now)
    }

    fn node(&mut self, tower: TowerId) -> &mut Node<M> {
        &mut self.nodes[tower.0 as usize]
    }

    /// Brings the integral of messages on the wire up to this moment.
    fn account_wire(&mut self) {
        let passed = u128::from(self.now - self.wire_at);
        self.snapshot.wire_time += passed * u128::from(self.snapshot.on_the_wire);
        self.wire_at = self.now;
    }
}

impl<'a, M: StateMachine> NetworkView<'a, M> {
    /// The towers that run, with their numbers.
    pub(crate) fn running(&self) -> impl Iterator<Item = (TowerId, &'a Tower)> + '_ {
        let nodes: &'a [Node<M>] = self.nodes;
        nodes.iter().zip(0..).filter_map(|(node, number)| {
            let machine = node.machine.as_ref()?;
            Some((TowerId(number), machine.tower()))
        })
    }

    /// Whether a tower runs.
    pub(crate) fn runs(&self, tower: TowerId) -> bool {
        self.nodes.get(tower.0 as usize).is_some_and(|node| node.machine.is_some())
    }

    /// Which tower has an address.
    pub(crate) fn tower_at(&self, address: &Address) -> Option<TowerId> {
        self.addresses.number_of(address)
    }

    /// The names of this run's messages.
    pub(crate) fn names(&self) -> &'a MessageNumbers {
        self.names
    }

    /// How a tower stands with each of its peers: its number if it is one of this run's, and its status.
    pub(crate) fn peers(
        &self,
        tower: &'a Tower,
    ) -> impl Iterator<Item = (Option<TowerId>, Status)> + use<'a, M> {
        let addresses = self.addresses;
        tower.survey().map(move |peer| (addresses.number_of(&peer.address), peer.status))
    }
}

/// Nanoseconds, as far as they fit.
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
