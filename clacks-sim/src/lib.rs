#![doc = include_str!("../README.md")]

mod checkers;
pub mod closed_form;
mod distribution;
mod duration;
mod event_queue;
mod files;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod message_numbers;
pub mod metrics;
mod network;
mod node;
mod observation;
mod observer;
mod outcome;
mod plan;
pub mod report;
mod rng;
mod roles;
pub mod scenario;
mod simulation;
mod targets;
mod trace;

pub use checkers::{Checker, DuplicationCause, Groups, LossCause, Survival, Totals, Violation};
pub use distribution::{Distribution, DistributionError, LONGEST, Samples, WIDEST_SIGMA};
pub use duration::parse_duration;
pub use node::NewNode;
pub use observation::{Fault, MessageId, Observation, Observed, Origin, TowerId};
pub use observer::Observer;
pub use outcome::{Check, FaultCount, JobCount, Outcome};
pub use rng::{Purpose, RngStream, RngStreams};
pub use roles::FirstHops;
pub use scenario::Scenario;
pub use simulation::{EnqueueError, Options, Progress, Simulation};
pub use targets::{Interval, TargetResult};
pub use trace::{Difference, Line, TraceHash, first_difference};
