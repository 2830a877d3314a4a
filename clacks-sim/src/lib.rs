#![doc = include_str!("../README.md")]

mod distribution;
mod event_queue;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod message_numbers;
pub mod metrics;
mod network;
mod observation;
mod outcome;
mod plan;
pub mod report;
mod rng;
pub mod scenario;
mod simulation;
mod trace;
mod truth;

pub use distribution::{Distribution, DistributionError, LONGEST, Samples, WIDEST_SIGMA};
pub use observation::{Fault, MessageId, Observation, Observed, Origin, TowerId};
pub use outcome::{Asked, Measured, Outcome};
pub use rng::{Purpose, RngStream, RngStreams};
pub use scenario::Scenario;
pub use simulation::{Options, Progress, Simulation};
pub use trace::{Difference, Line, TraceHash, first_difference};
pub use truth::{
    Average, CalmNetwork, Capacity, Checker, DuplicationCause, LossCause, Ticks, Totals, Violation,
};
