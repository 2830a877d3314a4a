//! What a run is shown as: tables for other programs, and a page for people.
//!
//! [`write_csv`] writes the tables into a directory, [`html`] makes the page of a [`ReportInput`].

mod csv;
mod data;
mod html;
mod number;

use std::time::Duration;

use clacks_proto::Instant;

pub use csv::{FAULTS_FILE, FLIGHTS_FILE, SERIES_FILE, write_csv};
pub use html::html;

use crate::metrics::{Column, Flights, Series};
use crate::observation::{Fault, TowerId};

/// All that a report shows. Texts may hold anything: they are escaped.
#[derive(Clone, Copy, Debug)]
pub struct ReportInput<'a> {
    /// The name of the scenario.
    pub title: &'a str,
    /// What it is about, in a sentence or two. May be empty.
    pub about: &'a str,
    /// The seed of every random number.
    pub seed: u64,
    /// The hash of the trace.
    pub hash: &'a str,
    /// How many towers there are, running or not.
    pub towers: u32,
    /// How long the run lasted in its own time.
    pub simulated: Duration,
    /// How long it took.
    pub wall: Duration,
    /// How much happened.
    pub events: u64,
    /// The command that replays the run.
    pub replay: &'a str,
    /// The run over time.
    pub series: &'a Series,
    /// The ways of its messages, in a small network.
    pub flights: Option<&'a Flights>,
    /// What an oracle expects of a column.
    pub predictions: &'a [Prediction<'a>],
    /// Numbers that sum the run up, the most important first.
    pub totals: &'a [Total<'a>],
    /// What was done to the network.
    pub faults: &'a [FaultCount],
    /// What oracles predicted, and what was measured.
    pub measures: &'a [Measure<'a>],
    /// The first things that should not have happened.
    pub violations: &'a [Violation<'a>],
    /// How many there were in all.
    pub violated: u64,
    /// Whether the run came to its end. If not, what must hold then has not been judged.
    pub is_over: bool,
}

/// A value that a column is expected to have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prediction<'a> {
    /// The column. Of one that counts, the value is per second.
    pub column: Column,
    /// The value.
    pub value: f64,
    /// Where it comes from.
    pub label: &'a str,
}

/// A number that sums a run up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Total<'a> {
    /// What it is called.
    pub name: &'a str,
    /// The number.
    pub value: f64,
    /// Its unit; may be empty. `s` is shown as a duration, `share` as per cent, `bytes` in kB and more.
    pub unit: &'a str,
    /// What it means.
    pub explanation: &'a str,
}

/// How often a fault was asked for, and how often it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultCount {
    /// The fault.
    pub fault: Fault,
    /// How often the scenario asks for it; `None` when it asks with a probability.
    pub asked: Option<u64>,
    /// How often it happened.
    pub happened: u64,
}

/// A prediction held against a measurement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measure<'a> {
    /// What was measured.
    pub name: &'a str,
    /// What was predicted, if anything was.
    pub predicted: Option<f64>,
    /// What was measured.
    pub measured: f64,
    /// The unit of both, as in [`Total::unit`].
    pub unit: &'a str,
    /// By how many standard errors they differ, when that is known.
    pub sigma: Option<f64>,
    /// What follows.
    pub verdict: Verdict,
}

/// What follows from a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It agrees with the prediction.
    Held,
    /// It doesn't.
    Violated,
    /// Nothing was at stake.
    Noted,
}

/// Something that should not have happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation<'a> {
    /// The check that found it.
    pub check: &'a str,
    /// When; `None` is at the end, or all the time.
    pub at: Option<Instant>,
    /// Where; `None` is the whole network.
    pub tower: Option<TowerId>,
    /// What happened.
    pub what: &'a str,
}

#[cfg(test)]
mod example;
