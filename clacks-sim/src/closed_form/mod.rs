//! Closed forms: predictions of theory, to compare with a run.
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
mod statistics;

pub use capacity::{CalmNetwork, Ticks};
pub use churn::{group_survival, message_survival};
pub use fill::success_share;
pub use listening::Listening;
pub use statistics::{Average, Comparison};
