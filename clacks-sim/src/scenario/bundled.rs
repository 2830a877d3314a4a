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
    "forged-addresses": "One caller names addresses at which dials are never answered",
    "refusing-addresses": "One caller names addresses at which dials are refused",
    "flood": "Three of sixty towers flood the network for ten minutes",
    "sybils": "One attacker answers at many addresses and drops all messages",
    "full-table": "A newcomer announces itself to towers whose tables are full of sybils",
    "holes": "A tenth of the towers drops all messages that it gets",
    "grey-holes": "A tenth of the towers drops one of ten messages that it gets",
    "liars": "A tenth of the towers keeps messages and says that it refused them",
    "claims": "One caller claims the address of a tower in a network without keys",
    "slowloris": "Silent connections take all places for new ones",
    "magnets": "Five of a hundred towers keep links to all others",
    "crowd": "A hundred and fifty newcomers announce themselves to one tower",
    "full": "All queues are full",
    "mixed-sizes": "Two of four towers take short messages only",
    "broken-links": "One segment in a hundred breaks its connection, and no message is lost",
    "blackout": "Nine of ten towers stop at once",
    "split": "The network is split into halves for ten minutes",
    "long-split": "The network is split into halves for two hours",
    "turnover": "Towers stay for an hour, and one of ten leaves by a crash",
    "acquaintance": "A hundred towers with the default configuration get to know each other",
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
    use crate::scenario::{Measure, Repeat};
    use crate::{Options, Simulation};
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
    fn every_target_can_be_measured_in_a_shortened_run() {
        const FASTER: u32 = 40;
        let attacks = Scenario::bundled().iter().map(|one| Scenario::from_toml(one.toml).unwrap());
        let mut kinds = std::collections::BTreeSet::new();
        for mut scenario in attacks.filter(|scenario| !scenario.targets.is_empty()) {
            let name = scenario.name.clone();
            assert!(!scenario.checks.liveness, "{name}: an attack can prevent convergence");
            kinds.extend(scenario.roles.iter().map(|role| role.kind.as_str()));
            for target in &mut scenario.targets {
                target.measure.shorten(FASTER);
            }
            for role in &mut scenario.roles {
                role.from /= FASTER;
                role.until = role.until.map(|until| until / FASTER);
            }
            for fault in &mut scenario.faults {
                fault.at /= FASTER;
                fault.lasts = fault.lasts.map(|lasts| lasts / FASTER);
                fault.repeat =
                    fault.repeat.map(|repeat| Repeat { every: repeat.every / FASTER, ..repeat });
            }
            scenario.churn = None;
            // Messages must not wait for a confirmation for longer than a fault lasts.
            scenario.tower.timeouts.confirm /= FASTER;
            scenario.towers = scenario.towers.min(151);
            let targets = std::mem::take(&mut scenario.targets);
            let faults = std::mem::take(&mut scenario.faults);
            scenario.set_time(scenario.time / FASTER);
            scenario.faults = faults;
            scenario.targets = targets;
            let mut simulation =
                Simulation::new(&scenario, Path::new("."), Options::default()).unwrap();
            while !simulation.advance(100_000).is_over {}
            let outcome = simulation.finish();
            assert!(outcome.holds(), "{name}: {:?}", outcome.violations);
            for result in &outcome.targets {
                let reached = !matches!(result.target.measure, Measure::KnownAfter { .. });
                let is_known = result.measured.is_some();
                assert!(is_known || !reached, "{name}: {}", result.target.name);
            }
        }
        for kind in ["flood", "forge", "hole", "liar", "slowloris", "sybil"] {
            assert!(kinds.contains(kind), "{kind}");
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
