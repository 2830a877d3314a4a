//! The `[checks]` section: what must hold in the run, and when it is looked at.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::words::Calm;
use crate::checkers::{Checker, Survival};
use crate::text;

/// Which checkers watch the run. All do, unless they are switched off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Checks {
    /// How long the calm phase at the end is. Default: `"auto"`.
    pub calm: Calm,
    /// At the end of the calm phase every running tower knows every other running one as alive. It is not looked at without a calm phase.
    pub liveness: bool,
    /// No message is lost, unless the tower that had it died.
    pub conservation: bool,
    /// No tower holds more than its configuration allows.
    pub bounds: bool,
    /// Statuses change only as they may.
    pub statuses: bool,
    /// Nothing goes to an ignored peer, and nothing is taken from it.
    pub ignored: bool,
    /// No tower is busy for ever in one instant.
    pub spinning: bool,
    /// Every fault that the scenario asks for really happens.
    pub faults: bool,
    /// How many messages, or groups of messages, must be alive at the end. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub survival: Option<Survival>,
    /// A law of the whole network that the run is compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oracle: Option<Oracle>,
    /// What is measured before does not count for the oracle. Default: 0s.
    #[serde(with = "text")]
    pub warm_up: Duration,
}

/// A law that a whole network follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Oracle {
    /// What is in flight is the rate of hand-overs times the latency.
    Capacity,
    /// Everybody is known to everybody in about as many announces as a random gossip takes.
    Discovery,
}

impl Default for Checks {
    fn default() -> Self {
        Self {
            calm: Calm::Auto,
            liveness: true,
            conservation: true,
            bounds: true,
            statuses: true,
            ignored: true,
            spinning: true,
            faults: true,
            survival: None,
            oracle: None,
            warm_up: Duration::ZERO,
        }
    }
}

impl Checks {
    /// Returns the section with all checkers switched off: a run without any cost for checks.
    #[must_use]
    pub fn off() -> Self {
        Self {
            liveness: false,
            conservation: false,
            bounds: false,
            statuses: false,
            ignored: false,
            spinning: false,
            faults: false,
            ..Self::default()
        }
    }

    /// Whether a rule is one of those that the run is held to.
    pub(crate) fn watches(&self, checker: Checker) -> bool {
        match checker {
            Checker::Conservation | Checker::Duplicates => self.conservation,
            Checker::Status => self.statuses,
            Checker::Ignored => self.ignored,
            Checker::Bounds => self.bounds,
            Checker::BusyLoop => self.spinning,
            // Without a quiet phase, nothing is promised.
            Checker::Convergence => self.liveness && self.calm != Calm::Off,
            Checker::Survival => self.survival.is_some(),
            Checker::FaultsFired => self.faults,
        }
    }
}
