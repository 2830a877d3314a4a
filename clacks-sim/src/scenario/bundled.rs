//! The scenarios that come with the crate.

use super::error::closest;
use super::{Scenario, ScenarioError};

/// A scenario that comes with the crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bundled {
    /// The name.
    pub name: &'static str,
    /// What the scenario shows, in one sentence.
    pub about: &'static str,
    /// The TOML, with comments that explain the format.
    pub toml: &'static str,
}

macro_rules! bundle {
    ($($name:literal: $about:literal,)*) => {
        &[$(Bundled {
            name: $name,
            about: $about,
            toml: include_str!(concat!("../../scenarios/", $name, ".toml")),
        }),*]
    };
}

pub(super) const BUNDLED: &[Bundled] = bundle! {
    "original-1": "Three towers, of which two know each other, all get to know each other",
    "original-2": "A fourth tower joins and crashes, and the others notice",
    "original-3": "A fourth tower crashes and returns without contacts, and the others find it",
    "capacity": "The messages in flight, compared with the send rate times the latency",
    "discovery": "Three hundred towers that know only one of them all get to know each other",
    "churn": "Half of the towers leave and return again and again, half of the times by a crash",
    "netsplit": "The network is split into halves and heals",
    "lossy": "One segment in a hundred breaks its connection",
    "million": "A million towers for an hour",
    "rough": "Every kind of fault on a hundred towers",
};

impl Scenario {
    /// Returns the scenarios that come with the crate.
    #[must_use]
    pub fn bundled() -> &'static [Bundled] {
        BUNDLED
    }

    /// Returns the bundled scenario with a name.
    ///
    /// # Errors
    ///
    /// When there is none. The error contains the closest name, and all names.
    pub fn named(name: &str) -> Result<Self, ScenarioError> {
        match BUNDLED.iter().find(|bundled| bundled.name == name) {
            Some(bundled) => Self::from_toml(bundled.toml),
            None => Err(ScenarioError::UnknownName {
                name: name.to_owned(),
                closest: closest(name, BUNDLED.iter().map(|bundled| bundled.name)),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use std::time::Duration;

    #[test]
    fn every_bundled_scenario_has_its_name_and_can_be_planned() {
        for bundled in Scenario::bundled() {
            let scenario = Scenario::from_toml(bundled.toml)
                .unwrap_or_else(|error| panic!("{}: {error}", bundled.name));
            assert_eq!(
                (scenario.name.as_str(), scenario.about.as_str()),
                (bundled.name, bundled.about)
            );
            let plan = scenario.plan(Path::new("."));
            let plan = plan.unwrap_or_else(|error| panic!("{}: {error}", bundled.name));
            assert_eq!(plan.towers, scenario.towers);
        }
    }

    #[test]
    fn every_bundled_scenario_can_be_shortened() {
        for bundled in Scenario::bundled() {
            let original = Scenario::from_toml(bundled.toml).unwrap();
            for time in [1, 30, 600, 2_000, 100_000] {
                let mut scenario = original.clone();
                // The capacity oracle needs 41 samples.
                scenario.checks.oracle = None;
                scenario.set_time(Duration::from_secs(time));
                scenario
                    .check()
                    .unwrap_or_else(|error| panic!("{}, {time} s: {error}", bundled.name));
            }
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_closest() {
        let said = Scenario::named("orignal-2").unwrap_err().to_string();
        assert!(said.contains("did you mean \"original-2\"?"), "{said}");
        assert!(said.contains("netsplit"), "{said}");
        let said = Scenario::named("xyzzyxyzzy").unwrap_err().to_string();
        assert!(!said.contains("did you mean"), "{said}");
    }
}
