//! `[checks]`: the checkers of a run.

use std::fmt;
use std::time::Duration;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::checkers::{Checker, Survival};

/// The default of [`Checks::settle_within`] (guess: the bundled scenarios settle within minutes).
const SETTLE_WITHIN: Duration = Duration::from_secs(24 * 3_600);

/// The checkers of a run, each under the name of its [`Checker`]. All are on by default. `checks =
/// "off"` switches all of them off: then an event costs nothing for checks, and losses have no
/// causes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Checks {
    /// The longest time that the network may take to converge after the last fault. The run ends
    /// when the network has converged, so a long time costs nothing unless it is needed.
    /// Default: 24h.
    #[serde(with = "crate::duration")]
    pub settle_within: Duration,
    /// The network converges after the last fault: every running tower knows every other running
    /// tower as alive. Without this check the run ends at the scenario's time, and random faults go
    /// on until then.
    pub convergence: bool,
    /// No message disappears without a cause, such as a crash or a role.
    pub conservation: bool,
    /// No second copy of a message arises without a cause, such as a lost confirmation or a role.
    pub duplicates: bool,
    /// No tower holds more than its configuration allows.
    pub bounds: bool,
    /// The status of a peer changes only in allowed ways.
    pub status: bool,
    /// Ignored peers get no messages, and their messages are refused.
    pub ignored: bool,
    /// No tower works for ever at one moment of virtual time.
    pub busy_loop: bool,
    /// Every kind of fault of the scenario happens at least once.
    pub faults_fired: bool,
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
            convergence: true,
            conservation: true,
            duplicates: true,
            bounds: true,
            status: true,
            ignored: true,
            busy_loop: true,
            faults_fired: true,
            survival: None,
        }
    }
}

impl Checks {
    /// Returns the section with all checkers switched off: a run without any cost for checks.
    #[must_use]
    pub fn off() -> Self {
        Self {
            convergence: false,
            conservation: false,
            duplicates: false,
            bounds: false,
            status: false,
            ignored: false,
            busy_loop: false,
            faults_fired: false,
            ..Self::default()
        }
    }

    /// Returns whether a checker is on.
    pub(crate) fn watches(&self, checker: Checker) -> bool {
        match checker {
            Checker::Conservation => self.conservation,
            Checker::Duplicates => self.duplicates,
            Checker::Status => self.status,
            Checker::Ignored => self.ignored,
            Checker::Bounds => self.bounds,
            Checker::BusyLoop => self.busy_loop,
            Checker::Convergence => self.convergence,
            Checker::Survival => self.survival.is_some(),
            Checker::FaultsFired => self.faults_fired,
            // Switched on by the first observer.
            Checker::Observer => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_checker_is_switched_off_by_its_name() {
        for checker in Checker::ALL {
            if let Checker::Survival | Checker::Observer = checker {
                continue;
            }
            let checks: Checks = toml::from_str(&format!("{checker} = false")).unwrap();
            let on = Checker::ALL.into_iter().filter(|other| checks.watches(*other));
            let all = Checker::ALL.into_iter().filter(|other| Checks::default().watches(*other));
            assert!(on.eq(all.filter(|other| *other != checker)), "{checker}");
        }
    }
}
