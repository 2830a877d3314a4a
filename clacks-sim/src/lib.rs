//! Runs thousands to a million real towers in virtual time.

mod agenda;
mod distribution;
mod names;
mod occurrence;
mod plan;
mod random;
mod trace;
pub mod perf;
mod world;

pub use occurrence::{Fault, MessageId, Occurrence, TowerId, What};
pub use trace::{Difference, Line, TraceHash, first_difference};
