//! One run of a scenario.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clacks_proto::{Address, Instant, Message, StateMachine, Tower};

use crate::checkers::Checkers;
use crate::files::Pieces;
use crate::metrics::{Gauges, MessageTrace, QueueLengths, Series};
use crate::network::{Network, NetworkObserver, NetworkView, Snapshot};
use crate::node::NewNode;
use crate::observation::{Fault, MessageId, Observation, TowerId};
use crate::observer::Observer;
use crate::outcome::{Check, FaultCount, Outcome};
use crate::plan::{Partition, Plan, Step};
use crate::scenario::{self, Scenario, ScenarioError};
use crate::targets::Measurements;
use crate::trace::{Line, TraceHash};

/// The number of towers up to which queue lengths are sorted at each sample.
const SORTED_QUEUES: u32 = 100_000;
/// The number of towers up to which each sample looks up whether alive peers run.
const COUNTED_PAIRS: u32 = 2_000;

/// What a run records in addition to its metrics.
#[derive(Default)]
pub struct Options {
    /// A writer that gets each observation as a line.
    pub trace: Option<Box<dyn Write + Send>>,
    /// Whether the paths of messages are recorded, for the map of a small network.
    pub message_trace: bool,
    /// Whether the run continues after a violation. If not, the run ends at the first one.
    pub keep_going: bool,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let traced = self.trace.is_some();
        f.debug_struct("Options")
            .field("trace", &traced)
            .field("message_trace", &self.message_trace)
            .field("keep_going", &self.keep_going)
            .finish()
    }
}

/// The progress of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The virtual time.
    pub at: Duration,
    /// The number of events so far: timers that fired, dials, answers to dials, arrivals of bytes
    /// and ends of connections, and steps of the scenario.
    pub events: u64,
    /// Whether the run is over: the time is up, or a checker has found a violation.
    pub is_over: bool,
}

/// A run of a scenario: towers in virtual time, and the checkers that look at them.
///
/// A run depends on its scenario alone. The same scenario gives the same [`TraceHash`] on every
/// machine.
/// The run ends at the scenario's time, or when the network has converged after it
/// ([`Checks::settle_within`](crate::scenario::Checks::settle_within)).
///
/// ```
/// use clacks_sim::{Options, Scenario, Simulation};
/// use std::time::Duration;
///
/// let scenario = Scenario::new("a few", 5, Duration::from_secs(2 * 60 * 60));
/// let mut simulation = Simulation::new(&scenario, ".".as_ref(), Options::default())?;
/// while !simulation.advance(10_000).is_over {}
/// let outcome = simulation.finish();
/// assert!(outcome.violations.is_empty());
/// # Ok::<(), clacks_sim::scenario::ScenarioError>(())
/// ```
pub struct Simulation<M: StateMachine = Tower> {
    network: Network<M, RunObserver<M>>,
    scenario: Scenario,
    plan: Arc<Plan>,
    keep_going: bool,
    end: Option<End>,
    /// The folder of the files of applied faults.
    base: PathBuf,
    /// The next id of an applied fault.
    next_id: u32,
    /// The number of steps of all faults so far.
    steps: u64,
}

/// The first id of an applied fault. A scenario has fewer faults.
const FIRST_ID: u32 = 1 << 31;

/// Why [`Simulation::enqueue`] did not queue a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EnqueueError {
    /// The tower does not run or is paused, or the role at its place is no tower.
    NotRunning,
    /// The tower refused the message.
    Refused(clacks_proto::EnqueueError),
}

impl std::fmt::Display for EnqueueError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotRunning => f.write_str("the tower does not run or is paused"),
            Self::Refused(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for EnqueueError {}

/// Why a run is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The network has converged, or the time is up.
    TimeUp,
    /// A checker has found a violation.
    Violation,
}

impl<M: StateMachine> std::fmt::Debug for Simulation<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Simulation").field("scenario", &self.scenario.name).finish_non_exhaustive()
    }
}

impl Simulation {
    /// Prepares a run of towers. Paths of files in the scenario are relative to the folder `base`.
    ///
    /// # Errors
    ///
    /// Returns the first error in the scenario. Nothing runs.
    pub fn new(scenario: &Scenario, base: &Path, options: Options) -> Result<Self, ScenarioError> {
        let make = |new: NewNode| Tower::new(new.config, new.address, &new.seed).ok();
        Self::with_machines(scenario, base, options, make)
    }
}

impl<M: StateMachine> Simulation<M> {
    /// Prepares a run of other state machines than towers: of applications around a tower, or of
    /// towers with a planted bug. `make` returns the state machine of a tower. If it returns
    /// `None`, the tower does not start.
    ///
    /// # Errors
    ///
    /// Returns the first error in the scenario. Nothing runs.
    pub fn with_machines(
        scenario: &Scenario,
        base: &Path,
        options: Options,
        make: impl FnMut(NewNode) -> Option<M> + Send + 'static,
    ) -> Result<Self, ScenarioError> {
        let plan = Arc::new(scenario.plan(base)?);
        let keep_going = options.keep_going;
        let observer = RunObserver::new(scenario, &plan, options);
        let network = Network::new(Arc::clone(&plan), Box::new(make), observer);
        Ok(Self {
            network,
            scenario: scenario.clone(),
            plan,
            keep_going,
            end: None,
            base: base.to_owned(),
            next_id: FIRST_ID,
            steps: scenario.step_count(),
        })
    }

    /// Handles a number of events, or fewer if the run ends.
    pub fn advance(&mut self, events: u64) -> Progress {
        for _ in 0..events {
            if !self.step() {
                break;
            }
        }
        self.progress()
    }

    /// Handles all events up to a time of the run. The clock then shows that time, or the end of
    /// the run.
    ///
    /// ```
    /// use clacks_proto::Message;
    /// use clacks_sim::scenario::Fault;
    /// use clacks_sim::{Options, Scenario, Simulation, TowerId};
    /// use std::time::Duration;
    ///
    /// let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
    /// let scenario = Scenario::new("stepped", 5, 10 * minute);
    /// let mut simulation = Simulation::new(&scenario, ".".as_ref(), Options::default())?;
    /// simulation.advance_until(minute);
    /// let message = simulation.enqueue(TowerId(3), Message::text("Hello Discworld!")).unwrap();
    /// simulation.apply(&Fault::crash(second, clacks_sim::scenario::Towers::One(4)))?;
    /// simulation.advance_until(2 * minute);
    /// assert!(simulation.tower(TowerId(4)).is_none(), "it has crashed");
    /// let peers = simulation.tower(TowerId(3)).unwrap().survey().count();
    /// assert_eq!(peers, 4);
    /// # Ok::<(), clacks_sim::scenario::ScenarioError>(())
    /// ```
    pub fn advance_until(&mut self, time: Duration) -> Progress {
        let until = Instant::ORIGIN + time;
        while self.network.next_at() <= until && self.step() {}
        if self.end.is_none() {
            self.network.advance_clock(until);
            // The next event is after the end of the run, or the network has settled.
            if self.network.observer.has_settled || until >= self.network.end() {
                self.step();
            }
        }
        self.progress()
    }

    /// Handles one event. Returns false if the run is over.
    fn step(&mut self) -> bool {
        if self.end.is_some() {
            return false;
        }
        if self.network.observer.has_settled || !self.network.step() {
            self.end = Some(End::TimeUp);
        } else if self.network.observer.checkers.has_found() && !self.keep_going {
            self.end = Some(End::Violation);
        }
        self.end.is_none()
    }

    fn progress(&mut self) -> Progress {
        let snapshot = self.network.snapshot();
        Progress {
            at: snapshot.at.duration_since(Instant::ORIGIN),
            events: snapshot.events,
            is_over: self.end.is_some(),
        }
    }

    /// Returns the node of a tower, if the tower runs. A role that is no tower has none.
    #[must_use]
    pub fn tower(&self, tower: TowerId) -> Option<&M> {
        self.network.node_of(tower)
    }

    /// Returns the address of a tower.
    #[must_use]
    pub fn address(&self, tower: TowerId) -> Option<Address> {
        self.plan.addresses.address_of(tower)
    }

    /// Calls a function on the node of a tower, as the application of the tower, with the time on
    /// the tower's clock. What follows from the call happens at once. Returns `None` if the tower
    /// does not run or is paused.
    pub fn with<R>(&mut self, tower: TowerId, act: impl FnOnce(&mut M, Instant) -> R) -> Option<R> {
        self.network.with_node(tower, act)
    }

    /// Enqueues a message at a tower, and returns the number of the message in this run.
    ///
    /// # Errors
    ///
    /// Returns why the message was not queued. Nothing has changed.
    pub fn enqueue(&mut self, tower: TowerId, message: Message) -> Result<MessageId, EnqueueError> {
        let enqueue = |machine: &mut M, now| machine.tower_mut().enqueue(message, now);
        let nonce = self.network.with_node(tower, enqueue).ok_or(EnqueueError::NotRunning)?;
        let nonce = nonce.map_err(|refused| EnqueueError::Refused(refused.reason))?;
        self.network.number_of(nonce).ok_or(EnqueueError::NotRunning)
    }

    /// Applies a fault in addition to those of the scenario. Its time counts from now. If the fault
    /// ends after all other faults, the run is prolonged, and the network settles after that.
    ///
    /// # Errors
    ///
    /// Returns the first value of the fault that is not allowed. Nothing has changed.
    pub fn apply(&mut self, fault: &scenario::Fault) -> Result<(), ScenarioError> {
        let now = self.progress().at;
        let counters = (&mut self.next_id, &mut self.steps);
        let (steps, end) = self.scenario.plan_applied(fault, now, &self.base, counters)?;
        self.network.add_steps(steps);
        self.network.extend_faults(end);
        self.network.observer.extend_faults(end);
        Ok(())
    }

    /// Adds an observer, which sees everything from now on.
    pub fn observer(&mut self, observer: Box<dyn Observer<M>>) {
        self.network.observer.checkers.add_observer();
        self.network.observer.observers.push(observer);
    }

    /// Ends the run, and returns its result. A run that is not over is checked for what has
    /// happened so far.
    pub fn finish(mut self) -> Outcome {
        self.network.sample();
        let snapshot = self.network.snapshot();
        let (view, observer) = self.network.view();
        let is_complete = self.end == Some(End::TimeUp);
        let verdict = observer.checkers.finish(snapshot.at, &view, is_complete);
        let checks = verdict.counts.iter().map(|(checker, violations)| Check {
            name: checker.as_str(),
            rule: checker.rule(),
            violations: *violations,
        });
        let checks: Vec<_> = checks.collect();
        let planned = self.plan.planned_faults();
        let faults = Fault::ALL.into_iter().filter_map(|fault| {
            let happened = observer.checkers.faults(fault);
            let planned =
                planned.iter().find(|(other, _)| *other == fault).map(|(_, count)| *count);
            (happened > 0 || planned.is_some()).then_some(FaultCount { fault, planned, happened })
        });
        Outcome {
            faults: faults.collect(),
            hash: observer.hash,
            simulated: snapshot.at.duration_since(Instant::ORIGIN),
            is_over: is_complete,
            events: snapshot.events,
            observations: observer.observations,
            running: snapshot.running,
            totals: observer.checkers.totals(),
            jobs: self.plan.files.as_ref().map(|files| files.job_counts()).unwrap_or_default(),
            groups: verdict.groups,
            violated: checks.iter().map(|check| check.violations).sum(),
            checks,
            violations: verdict.violations,
            series: observer.series.clone(),
            targets: observer.measurements.finish(&self.scenario, &self.plan, &observer.series),
            message_trace: observer.message_trace.take(),
            trace_failure: observer.end_trace().err(),
            scenario: self.scenario,
        }
    }
}

/// Everything that observes a run.
struct RunObserver<M> {
    towers: u32,
    hash: TraceHash,
    observations: u64,
    trace: Option<BufWriter<Box<dyn Write + Send>>>,
    trace_failure: Option<io::Error>,
    checkers: Checkers,
    /// The observers of the program.
    observers: Vec<Box<dyn Observer<M>>>,
    series: Series,
    message_trace: Option<MessageTrace>,
    /// When the last fault is over, if the run goes on until the network has converged.
    faults_end: Option<Instant>,
    /// The network has converged after the last fault, so the run is over.
    has_settled: bool,
    measurements: Measurements,
    pieces: Option<Pieces>,
}

impl<M: StateMachine> RunObserver<M> {
    fn new(scenario: &Scenario, plan: &Plan, options: Options) -> Self {
        let faults_end = scenario.checks.convergence.then_some(plan.faults_end);
        let mut series = Series::new(Series::DEFAULT_CAPACITY, faults_end);
        // The first partition divides the hops before it, too.
        let first = plan.steps.iter().find_map(|(_, step)| match step {
            Step::Partition { partition, .. } => Some(partition),
            _ => None,
        });
        series.set_partition(&first.map(|first| inside(plan.towers, first)).unwrap_or_default());
        let mut message_trace = options
            .message_trace
            .then(|| MessageTrace::new(plan.towers, MessageTrace::DEFAULT_CAPACITY))
            .flatten();
        for (tower, role) in plan.roles.iter() {
            series.set_role(tower, role.kind.as_str());
            if let Some(trace) = &mut message_trace {
                trace.set_role(tower, role.kind.as_str());
            }
        }
        Self {
            towers: plan.towers,
            hash: TraceHash::default(),
            observations: 0,
            trace: options.trace.map(BufWriter::new),
            trace_failure: None,
            checkers: Checkers::new(plan, &scenario.checks, &plan.roles.towers()),
            observers: Vec::new(),
            series,
            message_trace,
            faults_end,
            has_settled: false,
            measurements: Measurements::new(scenario),
            pieces: plan.files.as_deref().map(Pieces::new),
        }
    }

    fn extend_faults(&mut self, end: Instant) {
        if self.faults_end.is_some_and(|faults_end| faults_end < end) {
            self.faults_end = Some(end);
            self.has_settled = false;
            self.series.set_faults_end(end);
        }
    }

    fn end_trace(&mut self) -> io::Result<()> {
        match (self.trace_failure.take(), self.trace.as_mut()) {
            (Some(failure), _) => Err(failure),
            (None, Some(trace)) => trace.flush(),
            (None, None) => Ok(()),
        }
    }
}

/// Returns for each tower whether it is inside a partition.
fn inside(towers: u32, partition: &Partition) -> Vec<bool> {
    (0..towers).map(|tower| partition.inside.has(TowerId(tower))).collect()
}

impl<M: StateMachine> NetworkObserver<M> for RunObserver<M> {
    fn observe(&mut self, observation: &Observation) {
        self.observations += 1;
        self.hash.observe(observation);
        self.checkers.observe(observation);
        self.series.observe(observation);
        self.measurements.observe(observation);
        for observer in &mut self.observers {
            if let Err(error) = observer.observe(observation) {
                self.checkers.report_error(observation.at, observation.tower, error);
            }
        }
        if let Some(trace) = &mut self.message_trace {
            trace.observe(observation);
        }
        if let Some(trace) = &mut self.trace
            && self.trace_failure.is_none()
        {
            self.trace_failure = writeln!(trace, "{}", Line(observation)).err();
        }
    }

    fn after(&mut self, at: Instant, tower: TowerId, machine: &Tower, node: Option<&M>) {
        self.checkers.after(at, tower, machine);
        let Some(node) = node else { return };
        for observer in &mut self.observers {
            if let Err(error) = observer.after(at, tower, node) {
                self.checkers.report_error(at, Some(tower), error);
            }
        }
    }

    fn on_partition(&mut self, at: Instant, id: u32, partition: &Partition) {
        let inside = inside(self.towers, partition);
        self.series.set_partition(&inside);
        if let Some(pieces) = &mut self.pieces {
            pieces.set_partition(inside.clone());
        }
        if let Some(trace) = &mut self.message_trace {
            let towers = (0..).map(TowerId).zip(inside).filter(|(_, is_inside)| *is_inside);
            trace.partition(at, id, towers.map(|(tower, _)| tower).collect());
        }
    }

    fn on_heal(&mut self, at: Instant, id: u32) {
        if let Some(trace) = &mut self.message_trace {
            trace.heal(at, id);
        }
    }

    fn sample(&mut self, snapshot: &Snapshot, view: &NetworkView<'_, M>) {
        self.checkers.sample(snapshot.at, view);
        if self.faults_end.is_some_and(|faults_end| snapshot.at >= faults_end) {
            self.has_settled = self.checkers.has_converged(view);
        }
        let mut gauges = self.gauges(snapshot, view);
        if let Some(pieces) = &mut self.pieces {
            gauges.files = pieces.count(view, snapshot.at);
        }
        self.series.sample(snapshot.at, &gauges);
        self.measurements.sample(snapshot.at, view, &self.checkers, &self.series);
        if let Some(trace) = &mut self.message_trace {
            let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
            let figures = |tower: &Tower| {
                let (queue, peers) = (tower.queue_usage(), tower.status_counts());
                let [waiting, held] = [queue.waiting, queue.messages].map(count);
                [waiting, held, peers.new, peers.alive, peers.lost, peers.dead, peers.ignored]
            };
            let running = view.running().map(|(tower, machine)| (tower, figures(machine)));
            trace.sample(snapshot.at, running);
        }
    }
}

impl<M: StateMachine> RunObserver<M> {
    fn gauges(&self, snapshot: &Snapshot, view: &NetworkView<'_, M>) -> Gauges {
        let totals = self.checkers.totals();
        let mut gauges = Gauges {
            running: snapshot.running,
            connections: snapshot.connections as u64,
            messages: totals.alive,
            on_the_wire: snapshot.on_the_wire,
            events: snapshot.events,
            ..Gauges::default()
        };
        let mut lengths = Vec::new();
        // All alive peers are towers that run. Roles may answer at addresses of no tower.
        let is_exact = snapshot.running == self.towers && self.series.roles().is_empty();
        for (tower, machine) in view.running() {
            gauges.honest_running += u32::from(self.series.is_honest(Some(tower)));
            let peers = machine.status_counts();
            let by_status = [peers.new, peers.alive, peers.lost, peers.dead, peers.ignored];
            for (sum, count) in gauges.peers.iter_mut().zip(by_status) {
                *sum += u64::from(count);
            }
            let queue = machine.queue_usage();
            let waiting = queue.waiting;
            gauges.copies += queue.messages as u64;
            gauges.waiting += waiting as u64;
            gauges.in_flight +=
                queue.messages.saturating_sub(waiting + machine.pending_screenings()) as u64;
            if self.towers <= SORTED_QUEUES {
                lengths.push(u32::try_from(waiting).unwrap_or(u32::MAX));
            }
            if self.towers <= COUNTED_PAIRS && !is_exact {
                let really = view.peers(machine).filter(|(peer, status)| {
                    *status == clacks_proto::Status::Alive
                        && peer.is_some_and(|peer| view.runs(peer))
                });
                gauges.pairs_alive += really.count() as u64;
            }
        }
        if self.towers > COUNTED_PAIRS || is_exact {
            gauges.pairs_alive = gauges.peers[1];
        }
        lengths.sort_unstable();
        let place = |share: usize| lengths.get(lengths.len().saturating_sub(1) * share / 100);
        gauges.queues = place(50)
            .zip(place(99))
            .zip(place(100))
            .map(|((median, p99), max)| QueueLengths { median: *median, p99: *p99, max: *max });
        gauges
    }
}
