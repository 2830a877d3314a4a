//! One run of a scenario, from its plan to its outcome.

use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clacks_proto::{Address, Config, Instant, Seed, StateMachine, Tower};

use crate::message_numbers;
use crate::metrics::{Flights, Gauges, QueueLengths, Series};
use crate::network::{Network, NetworkView, Observer, Snapshot};
use crate::observation::{Fault, Observation, TowerId};
use crate::outcome::{self, Asked, Measured, Outcome, Reading};
use crate::plan::{Partition, Plan};
use crate::scenario::{Oracle, Scenario, ScenarioError};
use crate::trace::{Line, TraceHash};
use crate::truth::{Body, Checker, Checks, Holding, Liveness, Place, Truth};

/// Up to so many towers all memories are compared with the ledger at every sample; in larger networks at the end only.
const OFTEN_AUDITED: u32 = 1_000;
/// Up to so many towers the queues are sorted at every sample.
const SORTED_QUEUES: u32 = 100_000;
/// Up to so many towers it is looked up which of the peers that they take for alive really run.
const COUNTED_PAIRS: u32 = 2_000;

/// What a run keeps besides its numbers.
#[derive(Default)]
pub struct Options {
    /// Where every observation is written, one a line.
    pub trace: Option<Box<dyn Write + Send>>,
    /// Whether the ways of messages are kept, for the map of a small network.
    pub flights: bool,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let traced = self.trace.is_some();
        f.debug_struct("Options").field("trace", &traced).field("flights", &self.flights).finish()
    }
}

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The time in the run.
    pub at: Duration,
    /// Events so far: timers that fired, dials, answers to them, bytes and ends of connections that arrived, and steps of the scenario.
    pub events: u64,
    /// Whether the run is over.
    pub is_over: bool,
}

/// A run of a scenario: towers in virtual time, and all that watches them.
///
/// A run is a function of its scenario alone: the same scenario gives the same [`TraceHash`], on every machine.
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
    world: Network<M, Observers>,
    scenario: Scenario,
    plan: Arc<Plan>,
    is_over: bool,
}

impl<M: StateMachine> std::fmt::Debug for Simulation<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Simulation").field("scenario", &self.scenario.name).finish_non_exhaustive()
    }
}

impl Simulation {
    /// Prepares a run of real towers. Files that the scenario names are looked for in the folder `base`.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong with the scenario. Nothing has begun to run.
    pub fn new(scenario: &Scenario, base: &Path, options: Options) -> Result<Self, ScenarioError> {
        let make = |config, address, seed: &_| Tower::new(config, address, seed).ok();
        Self::with_machines(scenario, base, options, make)
    }
}

impl<M: StateMachine> Simulation<M> {
    /// Prepares a run of other machines than plain towers: of towers with a planted bug, for instance, to see it found. `make` gives the
    /// machine of a tower; `None` keeps the tower down.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong with the scenario. Nothing has begun to run.
    pub fn with_machines(
        scenario: &Scenario,
        base: &Path,
        options: Options,
        make: impl FnMut(Arc<Config>, Address, &Seed) -> Option<M> + Send + 'static,
    ) -> Result<Self, ScenarioError> {
        let plan = Arc::new(scenario.plan(base)?);
        let watchers = Observers::new(scenario, &plan, options);
        let world = Network::new(Arc::clone(&plan), Box::new(make), watchers);
        Ok(Self { world, scenario: scenario.clone(), plan, is_over: false })
    }

    /// Lets about so many events happen.
    pub fn advance(&mut self, events: u64) -> Progress {
        for _ in 0..events {
            if self.is_over || self.world.watch.has_settled || !self.world.step() {
                self.is_over = true;
                break;
            }
        }
        let snapshot = self.world.snapshot();
        Progress {
            at: snapshot.at.duration_since(Instant::ORIGIN),
            events: snapshot.events,
            is_over: self.is_over,
        }
    }

    /// Looks at everything for the last time. A run that is not over is judged by what has happened so far.
    pub fn finish(mut self) -> Outcome {
        self.world.sample();
        let snapshot = self.world.snapshot();
        let (census, watch) = self.world.last_look();
        watch.audit(snapshot.at, &census);
        if self.is_over {
            watch.judge_liveness(snapshot.at, &census);
        } else {
            watch.truth.excuse();
        }
        let verdict = watch.truth.finish(snapshot.at);
        let wanted = |checker: Checker| self.scenario.checks.watches(checker);
        let counts = verdict.counts.iter().filter(|(checker, _)| wanted(*checker));
        let violated = counts.map(|(_, count)| count).sum();
        let violations = verdict.violations.into_iter().filter(|found| wanted(found.checker));
        let violations = violations.collect();
        let measures = self.scenario.checks.oracle.filter(|_| self.is_over);
        let measures = measures.map(|oracle| watch.measure(oracle, &self.plan, &self.scenario));
        let asked = self.plan.asked();
        let faults = Fault::ALL.into_iter().filter_map(|fault| {
            let happened = watch.truth.faults(fault);
            let asked = asked.iter().find(|(other, _)| *other == fault).map(|(_, count)| *count);
            (happened > 0 || asked.is_some()).then_some(Asked { fault, asked, happened })
        });
        Outcome {
            faults: faults.collect(),
            hash: watch.hash,
            simulated: snapshot.at.duration_since(Instant::ORIGIN),
            is_over: self.is_over,
            events: snapshot.events,
            observations: watch.observations,
            running: snapshot.running,
            totals: verdict.totals,
            violations,
            violated,
            measures: measures.unwrap_or_default(),
            series: watch.series.clone(),
            flights: watch.flights.take(),
            trace_failure: watch.end_trace().err(),
            scenario: self.scenario,
        }
    }
}

/// All that watch a run.
struct Observers {
    towers: u32,
    hash: TraceHash,
    observations: u64,
    trace: Option<BufWriter<Box<dyn Write + Send>>>,
    trace_failure: Option<io::Error>,
    truth: Truth,
    series: Series,
    flights: Option<Flights>,
    liveness: Liveness,
    faults_end: Instant,
    /// The network has converged after the last fault, so the run is over.
    has_settled: bool,
    message_size: usize,
    /// How things stood at each sample since the warm-up, for the oracles.
    readings: Vec<Reading>,
    warm_up: Instant,
    keeps_readings: bool,
}

impl Observers {
    fn new(scenario: &Scenario, plan: &Plan, options: Options) -> Self {
        let liveness =
            if scenario.checks.liveness { Liveness::Promised } else { Liveness::NotPromised };
        let named = plan.asked().into_iter().map(|(fault, _)| fault);
        let faults = if scenario.checks.faults { named.collect() } else { Vec::new() };
        let checks = Checks { liveness, faults, ..Checks::default() };
        Self {
            towers: plan.towers,
            hash: TraceHash::default(),
            observations: 0,
            trace: options.trace.map(BufWriter::new),
            trace_failure: None,
            truth: Truth::new(plan, checks),
            series: Series::new(
                Series::DEFAULT_CAPACITY,
                scenario.checks.liveness.then_some(plan.faults_end),
            ),
            flights: options
                .flights
                .then(|| Flights::new(plan.towers, Flights::DEFAULT_CAPACITY))
                .flatten(),
            liveness,
            faults_end: plan.faults_end,
            has_settled: false,
            message_size: plan.message_size,
            readings: Vec::new(),
            warm_up: Instant::ORIGIN + scenario.checks.warm_up,
            keeps_readings: scenario.checks.oracle.is_some(),
        }
    }

    fn audit<M: StateMachine>(&mut self, at: Instant, census: &NetworkView<'_, M>) {
        for (tower, machine) in census.running() {
            let memory = machine.peek().filter_map(|held| {
                let message = census.names().number_of(held.nonce);
                let is_intact = message.is_some_and(|number| {
                    message_numbers::message(number, self.message_size) == held.message
                });
                let place = Place::of(&held.state, |address| census.tower_at(address))?;
                let body = if is_intact { Body::Intact } else { Body::Altered };
                Some(Holding { message, place, body })
            });
            self.truth.audit(at, tower, memory);
        }
    }

    fn judge_liveness<M: StateMachine>(&mut self, at: Instant, census: &NetworkView<'_, M>) {
        if self.liveness == Liveness::NotPromised {
            return;
        }
        let running: Vec<_> = census.running().map(|(tower, _)| tower).collect();
        let mut machines = census.running().map(|(_, machine)| machine);
        self.truth.judge_liveness(at, &running, |_| {
            machines.next().into_iter().flat_map(|machine| census.peers(machine))
        });
    }

    fn measure(&self, oracle: Oracle, plan: &Plan, scenario: &Scenario) -> Vec<Measured> {
        match oracle {
            Oracle::Capacity => outcome::capacity(&self.readings, plan, scenario),
            Oracle::Discovery => outcome::discovery(&self.series),
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

impl<M: StateMachine> Observer<M> for Observers {
    fn see(&mut self, observation: &Observation) {
        self.observations += 1;
        self.hash.see(observation);
        self.truth.see(observation);
        self.series.see(observation);
        if let Some(flights) = &mut self.flights {
            flights.see(observation);
        }
        if let Some(trace) = &mut self.trace
            && self.trace_failure.is_none()
        {
            self.trace_failure = writeln!(trace, "{}", Line(observation)).err();
        }
    }

    fn after(&mut self, at: Instant, tower: TowerId, machine: &M) {
        self.truth.after(at, tower, machine.tower());
    }

    fn parted(&mut self, at: Instant, id: u32, partition: &Partition) {
        if let Some(flights) = &mut self.flights {
            let inside = (0..self.towers).map(TowerId).filter(|tower| partition.inside.has(*tower));
            flights.part(at, id, inside.collect());
        }
    }

    fn healed(&mut self, at: Instant, id: u32) {
        if let Some(flights) = &mut self.flights {
            flights.heal(at, id);
        }
    }

    fn sample(&mut self, snapshot: &Snapshot, census: &NetworkView<'_, M>) {
        if self.towers <= OFTEN_AUDITED {
            self.audit(snapshot.at, census);
        }
        if self.liveness == Liveness::Promised && snapshot.at >= self.faults_end {
            self.has_settled = has_converged(snapshot.running, census);
        }
        let gauges = self.gauges(snapshot, census);
        self.series.sample(snapshot.at, &gauges);
        if self.keeps_readings && snapshot.at >= self.warm_up {
            let hops = self.truth.totals().hops;
            self.readings.push(Reading { snapshot: *snapshot, hops });
        }
    }
}

/// Returns whether every running tower knows every other running tower as alive. An alive peer with
/// an unknown address stands for a tower whose hello was altered.
fn has_converged<M: StateMachine>(running: u32, census: &NetworkView<'_, M>) -> bool {
    let others = running.saturating_sub(1) as usize;
    census.running().all(|(tower, machine)| {
        let is_known =
            |peer: Option<TowerId>| peer.is_none_or(|peer| peer != tower && census.runs(peer));
        let known = census
            .peers(machine)
            .filter(|(peer, status)| *status == clacks_proto::Status::Alive && is_known(*peer));
        known.count() >= others
    })
}

impl Observers {
    fn gauges<M: StateMachine>(&self, snapshot: &Snapshot, census: &NetworkView<'_, M>) -> Gauges {
        let totals = self.truth.totals();
        let mut gauges = Gauges {
            running: snapshot.running,
            links: snapshot.connections as u64,
            messages: totals.alive,
            in_doubt: totals.in_doubt,
            copies: totals.copies,
            on_the_wire: snapshot.on_the_wire,
            events: snapshot.events,
            ..Gauges::default()
        };
        let mut lengths = Vec::new();
        for (_, machine) in census.running() {
            let peers = machine.status_counts();
            gauges.peers_new += u64::from(peers.new);
            gauges.peers_alive += u64::from(peers.alive);
            gauges.peers_lost += u64::from(peers.lost);
            gauges.peers_dead += u64::from(peers.dead);
            gauges.peers_ignored += u64::from(peers.ignored);
            let waiting = machine.queue_usage().waiting;
            gauges.waiting += waiting as u64;
            if self.towers <= SORTED_QUEUES {
                lengths.push(u32::try_from(waiting).unwrap_or(u32::MAX));
            }
            if self.towers <= COUNTED_PAIRS && snapshot.running < self.towers {
                let really = census.peers(machine).filter(|(peer, status)| {
                    *status == clacks_proto::Status::Alive
                        && peer.is_some_and(|peer| census.runs(peer))
                });
                gauges.pairs_alive += really.count() as u64;
            }
        }
        if self.towers > COUNTED_PAIRS || snapshot.running == self.towers {
            gauges.pairs_alive = gauges.peers_alive;
        }
        lengths.sort_unstable();
        let place = |share: usize| lengths.get(lengths.len().saturating_sub(1) * share / 100);
        gauges.queues = place(0).zip(place(50)).zip(place(99).zip(place(100))).map(
            |((min, median), (p99, max))| QueueLengths {
                min: *min,
                median: *median,
                p99: *p99,
                max: *max,
            },
        );
        gauges
    }
}
