//! The result of a run.

use std::io;
use std::time::Duration;

use crate::checkers::{Groups, Totals, Violation};
use crate::metrics::{MessageTrace, Series};
use crate::observation::Fault;
use crate::scenario::{JobKind, Scenario};
use crate::targets::TargetResult;
use crate::trace::TraceHash;

/// The result of a run.
#[derive(Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// The scenario.
    pub scenario: Scenario,
    /// The hash of all observations.
    pub hash: TraceHash,
    /// The virtual time at the end of the run.
    pub simulated: Duration,
    /// Whether the run came to the end of the scenario.
    pub is_over: bool,
    /// The number of events: timers that fired, dials, answers to dials, arrivals of bytes and ends
    /// of connections, and steps of the scenario.
    pub events: u64,
    /// The number of observations, each of which is a line of the trace.
    pub observations: u64,
    /// The number of towers that run at the end.
    pub running: u32,
    /// The balance of the messages.
    pub totals: Totals,
    /// The faults of the scenario, and those that happened.
    pub faults: Vec<FaultCount>,
    /// The checks that ran.
    pub checks: Vec<Check>,
    /// The groups of messages that survived, if the scenario has a goal for them.
    pub groups: Option<Groups>,
    /// The first violations of each checker.
    pub violations: Vec<Violation>,
    /// The number of all violations.
    pub violated: u64,
    /// The targets of the scenario, and the numbers that were reached.
    pub targets: Vec<TargetResult>,
    /// What has become of the jobs of clients of files.
    pub jobs: Vec<JobCount>,
    /// The metrics over time.
    pub series: Series,
    /// The paths of messages, if they were recorded.
    pub message_trace: Option<MessageTrace>,
    /// The error that ended the writing of the trace.
    pub trace_failure: Option<io::Error>,
}

/// A check that ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check {
    /// The name, as in [`Violation`].
    pub name: &'static str,
    /// The rule that was checked, as a sentence.
    pub rule: &'static str,
    /// Number of violations.
    pub violations: u64,
}

/// How many jobs of a kind had the same result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobCount {
    /// What the clients did.
    pub kind: JobKind,
    /// Whether the jobs were done.
    pub is_done: bool,
    /// The result. If the jobs were not done, the reason for that.
    pub result: String,
    /// The number of these jobs.
    pub count: u64,
}

/// How often a fault is planned, and how often it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultCount {
    /// The fault.
    pub fault: Fault,
    /// How often the scenario schedules the fault. `None` if the scenario does not contain the
    /// fault; `Some(None)` if the fault has a probability.
    pub planned: Option<Option<u64>>,
    /// How often the fault happened.
    pub happened: u64,
}

impl Outcome {
    /// Returns whether there were no violations.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.violated == 0
    }
}
