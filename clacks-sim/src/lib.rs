#![doc = include_str!("../README.md")]

mod agenda;
mod distribution;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod names;
mod occurrence;
mod outcome;
mod plan;
mod random;
pub mod record;
pub mod report;
pub mod scenario;
mod simulation;
mod text;
mod trace;
mod truth;
mod world;

pub use distribution::{
    Distribution, DistributionError, LONGEST, Samples, SamplesError, WIDEST_SIGMA,
};
pub use occurrence::{Fault, MessageId, Occurrence, Origin, TowerId, What};
pub use outcome::{Asked, Measured, Outcome};
pub use random::{Draws, Purpose, Randomness};
pub use scenario::Scenario;
pub use simulation::{Options, Progress, Simulation};
pub use trace::{Difference, Line, TraceHash, first_difference};
pub use truth::{
    Average, Capacity, Checker, DuplicationCause, LossCause, Network, Ticks, Totals, Violation,
};
