//! Runs thousands to a million real towers in virtual time.

mod agenda;
mod distribution;
mod names;
mod occurrence;
mod plan;
mod random;
mod text;
mod trace;
mod world;

pub use distribution::{Distribution, DistributionError, LONGEST, Samples, SamplesError, WIDEST_SIGMA};
pub use occurrence::{Fault, MessageId, Occurrence, TowerId, What};
pub use random::{Draws, Purpose, Randomness};
pub use trace::{Difference, Line, TraceHash, first_difference};
