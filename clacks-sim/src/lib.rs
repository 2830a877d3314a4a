//! Runs thousands to a million real towers in virtual time.

mod occurrence;

pub use occurrence::{Fault, MessageId, Occurrence, TowerId, What};
