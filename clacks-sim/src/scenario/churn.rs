//! The `[churn]` section: towers that come and go by themselves.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::towers::Towers;
use crate::distribution::Distribution;
use crate::text;

/// Towers that stay for a session, are away for an absence, come back with the same address and nothing in their memory, and so on.
/// Whoever is away at the end comes back then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Churn {
    /// Which. Default: all.
    #[serde(default = "all")]
    pub towers: Towers,
    /// How long a tower stays.
    pub session: Distribution,
    /// How long it is away.
    pub absence: Distribution,
    /// The share of sessions that end gracefully, from 0 to 1; the others crash. Default: 0.5.
    #[serde(default = "half")]
    pub graceful: f64,
    /// Whether those who come back are told their contacts. Default: true.
    #[serde(default = "told")]
    pub contacts: bool,
    /// From when. Default: 0s.
    #[serde(default, with = "text")]
    pub from: Duration,
    /// Until when.
    #[serde(with = "text")]
    pub until: Duration,
}

impl Churn {
    /// All towers come and go, half of them gracefully, from the start.
    #[must_use]
    pub fn new(session: Distribution, absence: Distribution, until: Duration) -> Self {
        Self {
            towers: all(),
            session,
            absence,
            graceful: half(),
            contacts: told(),
            from: Duration::ZERO,
            until,
        }
    }
}

fn all() -> Towers {
    Towers::All
}

fn half() -> f64 {
    0.5
}

fn told() -> bool {
    true
}
