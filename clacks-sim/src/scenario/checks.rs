//! `[checks]`: what must hold in a run.

use std::fmt;
use std::time::Duration;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::checkers::{Checker, Survival};

/// The default of [`Checks::settle_within`] (guess: the bundled scenarios settle within minutes).
const SETTLE_WITHIN: Duration = Duration::from_secs(24 * 3_600);

/// The checkers of a run. All are on by default. `checks = "off"` switches all of them off: then an
/// event costs nothing for checks, and losses have no causes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Checks {
    /// The longest time that the network may take to converge after the last fault. The run ends
    /// when the network has converged, so a long time costs nothing unless it is needed.
    /// Default: 24h.
    #[serde(with = "humantime_serde")]
    pub settle_within: Duration,
    /// The check `convergence`. The network converges after the last fault: every running tower
    /// knows every other running tower as alive. Without this check the run ends at the scenario's
    /// time, and random faults go on until then.
    pub liveness: bool,
    /// The checks `conservation` and `duplicates`. No message disappears and no second copy arises
    /// without a cause, such as a crash, a role, or a lost confirmation.
    pub conservation: bool,
    /// The check `bounds`. No tower holds more than its configuration allows.
    pub bounds: bool,
    /// The check `status`. The status of a peer changes only in allowed ways.
    pub statuses: bool,
    /// The check `ignored`. Ignored peers get no messages, and their messages are refused.
    pub ignored: bool,
    /// The check `busy loop`. No tower works for ever at one moment of virtual time.
    pub spinning: bool,
    /// The check `faults fired`. Every kind of fault of the scenario happens at least once.
    pub faults: bool,
    /// How many messages, or groups of messages, must be alive at the end. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub survival: Option<Survival>,
}

/// Deserializes the section, or `"off"`.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Checks, D::Error> {
    struct SectionOrOff;

    impl<'de> Visitor<'de> for SectionOrOff {
        type Value = Checks;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a table or \"off\"")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Checks, E> {
            match text {
                "off" => Ok(Checks::off()),
                _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
            }
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Checks, A::Error> {
            Checks::deserialize(MapAccessDeserializer::new(map))
        }
    }

    from.deserialize_any(SectionOrOff)
}

impl Default for Checks {
    fn default() -> Self {
        Self {
            settle_within: SETTLE_WITHIN,
            liveness: true,
            conservation: true,
            bounds: true,
            statuses: true,
            ignored: true,
            spinning: true,
            faults: true,
            survival: None,
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

    /// Returns whether a checker is on.
    pub(crate) fn watches(&self, checker: Checker) -> bool {
        match checker {
            Checker::Conservation | Checker::Duplicates => self.conservation,
            Checker::Status => self.statuses,
            Checker::Ignored => self.ignored,
            Checker::Bounds => self.bounds,
            Checker::BusyLoop => self.spinning,
            Checker::Convergence => self.liveness,
            Checker::Survival => self.survival.is_some(),
            Checker::FaultsFired => self.faults,
            // Switched on by the first observer.
            Checker::Observer => false,
        }
    }
}
