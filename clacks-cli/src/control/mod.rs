//! A running tower with its verbs, and the ways to speak to it.
//!
//! [`ControlledTower`] is the one implementation. The console on standard input and the control
//! socket are clients of it: they pass [`Request`]s and write the answers. Events come from
//! [`ControlledTower::subscribe`].

pub(crate) mod console;
#[cfg(test)]
mod documentation;
mod events;
mod history;
pub(crate) mod prompt;
mod protocol;
pub(crate) mod screen;
pub(crate) mod socket;
mod status;
mod tower;
mod troubles;

pub(crate) use events::Subscription;
pub(crate) use history::HistoryPoint;
pub(crate) use protocol::Request;
pub(crate) use status::TowerStatus;
pub(crate) use tower::{Check, ControlledTower, MayHaveStore};
pub(crate) use troubles::{is_actionable, remedy};
