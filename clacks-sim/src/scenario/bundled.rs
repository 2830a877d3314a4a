//! The scenarios that come with the crate.

use std::time::Duration;

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
    /// The CPU time that a run takes with the release build on one core of an AMD EPYC,
    /// rounded. `None` if it was not measured.
    pub takes: Option<Duration>,
    /// The TOML, with comments that explain the format.
    pub toml: &'static str,
}

macro_rules! bundle {
    ($($name:literal, $seconds:literal s: $about:literal,)*) => {
        &[$(Bundled {
            name: $name,
            about: $about,
            takes: match $seconds {
                0 => None,
                seconds => Some(Duration::from_secs(seconds)),
            },
            toml: include_str!(concat!("../../scenarios/", $name, ".toml")),
        }),*]
    };
}

pub(super) const BUNDLED: &[Bundled] = bundle! {
    "original-1", 1 s: "Three towers, of which two know each other, all get to know each other",
    "original-2", 1 s: "A fourth tower joins and crashes, and the others notice",
    "original-3", 1 s:
        "A fourth tower crashes and returns without contacts, and the others find it",
    "capacity", 7 s: "The messages in flight, compared with the send rate times the latency",
    "discovery", 0 s: "Three hundred towers that know only one of them all get to know each other",
    "listener", 1 s:
        "The time until a tower hears a message, and 16 of 32, compared with the radio law",
    "fill", 2 s:
        "The share of hand-overs that succeed when queues are nearly full, compared with theory",
    "sessions", 0 s: "Messages that live while all towers leave and return, compared with theory",
    "churn", 4 s:
        "Half of the towers leave and return again and again, half of the times by a crash",
    "netsplit", 25 s: "The network is split into halves and heals",
    "lossy", 7 s: "One segment in a hundred breaks its connection",
    "million", 0 s: "A million towers for an hour",
    "rough", 3 s: "Every kind of fault on a hundred towers",
    "forged-addresses", 4 s: "One caller names addresses at which dials are never answered",
    "refusing-addresses", 5 s: "One caller names addresses at which dials are refused",
    "flood", 6 s: "Three of sixty towers flood the network for ten minutes",
    "sybils", 1 s: "One attacker answers at many addresses and drops all messages",
    "full-table", 1 s: "A newcomer announces itself to towers whose tables are full of sybils",
    "holes", 1 s: "A tenth of the towers drops all messages that it gets",
    "grey-holes", 1 s: "A tenth of the towers drops one of ten messages that it gets",
    "liars", 1 s: "A tenth of the towers keeps messages and says that it refused them",
    "claims", 1 s: "One caller claims the address of a tower in a network without keys",
    "slowloris", 1 s: "Silent connections take all places for new ones",
    "magnets", 1 s: "Five of a hundred towers keep links to all others",
    "crowd", 1 s: "A hundred and fifty newcomers announce themselves to one tower",
    "full", 1 s: "All queues are full",
    "full-leave", 1 s: "One of three towers with full queues leaves",
    "mixed-sizes", 1 s: "Two of four towers take short messages only",
    "broken-links", 9 s: "One segment in a hundred breaks its connection, and no message is lost",
    "blackout", 4 s: "Nine of ten towers stop at once",
    "split", 4 s: "The network is split into halves for ten minutes",
    "long-split", 3 s: "The network is split into halves for two hours",
    "turnover", 7 s: "Towers stay for an hour, and one of ten leaves by a crash",
    "acquaintance", 4 s: "A hundred towers with the default configuration get to know each other",
    "store-ten", 1 s:
        "A file of 10 MiB is put at one of ten towers, which is killed, and got at another one",
    "store-keep", 4 s:
        "Files with keepers, while towers leave and a tenth of them drops what it gets",
    "store-visits", 0 s:
        "Readers find the pieces of their files after visits to half of a thousand towers",
    "store-spies", 9 s:
        "A twentieth of the towers are spies with all links, and guess who puts and gets files",
    "store-lossy", 1 s:
        "Files are put and got while one segment in a hundred breaks its connection",
    "store-over", 1 s: "Pieces end with their hour, although clocks differ by a minute",
    "store-decay", 4 s:
        "Pieces without keepers die with the towers that crash, compared with theory",
    "store-holes", 5 s: "Files with keepers, while a tenth of the towers drops what it gets",
    "store-flood", 12 s: "Files stay readable while three of sixty towers fill all queues",
    "store-hops", 3 s:
        "Files are put although a tenth of the towers says that it queued pieces and drops them",
    "store-split", 6 s:
        "Files with four times the pieces needed are readable in both halves of a network",
    "store-radio", 5 s:
        "The time until a tower has heard enough pieces of a file, compared with the radio law",
    "store-publish", 0 s:
        "Files stay readable while three of sixty towers publish pieces until all stores are full",
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
            assert_eq!(plan.members, scenario.towers);
        }
    }

    /// `takes` depends on a machine, so it is compared with the text only.
    #[test]
    fn the_table_in_the_readme_has_the_size_and_the_times_of_each_scenario() {
        let readme = include_str!("../../README.md");
        let rows = readme.lines().filter(|line| line.starts_with("| `"));
        let expected = Scenario::bundled().iter().map(|bundled| {
            let scenario = Scenario::from_toml(bundled.toml).unwrap();
            let time = humantime::format_duration(scenario.time);
            let takes = bundled.takes.map_or_else(
                || "not measured".to_owned(),
                |takes| humantime::format_duration(takes).to_string(),
            );
            let Bundled { name, about, .. } = bundled;
            format!("| `{name}` | {} | {time} | {takes} | {about} |", scenario.towers)
        });
        assert_eq!(rows.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    }

    #[test]
    fn every_bundled_scenario_can_be_shortened() {
        for bundled in Scenario::bundled() {
            let original = Scenario::from_toml(bundled.toml).unwrap();
            for time in [1, 30, 600, 2_000, 100_000] {
                let mut scenario = original.clone();
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
        let all = Scenario::bundled().iter().map(|one| Scenario::from_toml(one.toml).unwrap());
        // A prediction is for the whole run, a network that converges has its own end, and clients
        // of files need their time.
        let attacks = all.filter(|scenario| {
            let is_predicted = scenario.targets.iter().any(|target| target.prediction.is_some());
            let has_files = scenario.files.is_some();
            !scenario.targets.is_empty()
                && !is_predicted
                && !scenario.checks.convergence
                && !has_files
        });
        let mut kinds = std::collections::BTreeSet::new();
        for mut scenario in attacks {
            let name = scenario.name.clone();
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
            assert!(outcome.passed(), "{name}: {:?}", outcome.violations);
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
