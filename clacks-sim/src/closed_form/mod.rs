//! Closed forms: what theory predicts for a network, to compare with a run.
//!
//! - [`CalmNetwork`]: how much a network without faults sends and carries.
//! - [`Listening`]: how long a listener waits for a message, and for `k` of `n` messages.
//! - [`message_survival`] and [`group_survival`]: how long messages and groups of messages live while
//!   towers come and go.
//! - [`success_share`]: how many hand-overs succeed in a network that is nearly full.

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
