//! What came out of a run.

use std::io;
use std::time::Duration;

use crate::occurrence::Fault;
use crate::plan::Plan;
use crate::record::{Flights, Series};
use crate::scenario::Scenario;
use crate::trace::TraceHash;
use crate::truth::{Totals, Violation};
use crate::world::Standing;

/// What came out of a run.
#[derive(Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// What was run.
    pub scenario: Scenario,
    /// The hash of all that happened.
    pub hash: TraceHash,
    /// How far the run came, in its own time.
    pub simulated: Duration,
    /// Whether that is all of it.
    pub is_over: bool,
    /// Events: timers that fired, dials, answers to them, bytes and ends of connections that arrived, and steps of the scenario.
    pub events: u64,
    /// Lines of the trace.
    pub occurrences: u64,
    /// Towers that ran in the end.
    pub running: u32,
    /// The balance of the messages.
    pub totals: Totals,
    /// The faults that were asked for, and those that happened.
    pub faults: Vec<Asked>,
    /// What did not hold, the first ones of each rule.
    pub violations: Vec<Violation>,
    /// How many violations there were in all.
    pub violated: u64,
    /// What an oracle predicts, and what was measured.
    pub measures: Vec<Measured>,
    /// The run over time.
    pub series: Series,
    /// The ways of messages, when they were kept.
    pub flights: Option<Flights>,
    /// Why the trace could not be written.
    pub trace_failure: Option<io::Error>,
}

/// A fault, how often it was asked for, and how often it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The fault.
    pub fault: Fault,
    /// `None` when nobody asked, `Some(None)` when it was asked for with a probability, or for as often as it comes.
    pub asked: Option<Option<u64>>,
    /// How often it happened.
    pub happened: u64,
}

/// A prediction held against a measurement.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// What.
    pub name: &'static str,
    /// The unit.
    pub unit: &'static str,
    /// What the law predicts.
    pub predicted: f64,
    /// What was measured.
    pub measured: f64,
    /// The standard error of that.
    pub sigma: Option<f64>,
    /// Whether they agree.
    pub holds: bool,
}

impl Outcome {
    /// Whether every rule and every prediction held.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.violated == 0 && self.measures.iter().all(|measured| measured.holds)
    }
}

pub(crate) fn capacity(_: &[(Standing, u64)], _: &Plan, _: &Scenario) -> Vec<Measured> {
    Vec::new()
}

pub(crate) fn discovery(_: &Series, _: &Plan, _: &Scenario) -> Vec<Measured> {
    Vec::new()
}
