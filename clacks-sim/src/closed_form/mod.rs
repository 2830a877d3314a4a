//! Closed forms: predictions of theory, to compare with a run.
//!
//! A [`Target`](crate::scenario::Target) with a prediction compares a number of a run with its
//! closed form.
//!
//! - [`CalmNetwork`]: the traffic of a network without faults.
//! - [`Listening`]: the time until a listener receives a message, or `k` of `n` messages.
//! - [`message_survival`] and [`group_survival`]: the survival of messages and of groups of
//!   messages under churn.
//! - [`success_share`]: the share of hand-overs that succeed in a nearly full network.

mod capacity;
mod churn;
mod fill;
mod listening;
mod prediction;
#[cfg(test)]
mod random;

pub use capacity::{CalmNetwork, Ticks};
pub use churn::{group_survival, message_survival};
pub use fill::success_share;
pub use listening::Listening;
pub(crate) use prediction::{check, mean, predict};
