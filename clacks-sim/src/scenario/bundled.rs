//! The scenarios that come with the crate.

use super::{Scenario, ScenarioError};

/// A scenario that comes with the crate. Its text teaches the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bundled {
    /// Its name.
    pub name: &'static str,
    /// What it shows.
    pub about: &'static str,
    /// The whole text.
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
    "original-1": "Three towers of which two know each other: soon everybody knows everybody",
    "original-2": "A fourth tower joins and dies: the others notice",
    "original-3": "The fourth tower comes back without telling anybody: it is found again",
    "capacity": "Observed is in flight in a network, compared with its rate times its latency",
    "discovery": "Three hundred towers that know only one of them: until everybody knows everybody",
    "churn": "Towers come and go all the time, half of them without a word",
    "netsplit": "The network falls into halves and grows together again",
    "lossy": "One segment in a hundred breaks its connection",
    "million": "A million towers for an hour",
    "rough": "Every fault there is, on a hundred towers",
};

impl Scenario {
    /// The scenarios that come with the crate.
    #[must_use]
    pub fn bundled() -> &'static [Bundled] {
        BUNDLED
    }

    /// The scenario with this name among them.
    ///
    /// # Errors
    ///
    /// When there is none: the error names those that there are, and the likeliest.
    pub fn named(name: &str) -> Result<Self, ScenarioError> {
        match BUNDLED.iter().find(|bundled| bundled.name == name) {
            Some(bundled) => Self::from_toml(bundled.toml),
            None => Err(ScenarioError::UnknownName { name: name.to_owned(), likely: likely(name) }),
        }
    }
}

/// The name that is most like another, if it takes no more than half of its letters to change.
fn likely(name: &str) -> Option<&'static str> {
    let name = name.to_lowercase();
    let distances = BUNDLED.iter().map(|bundled| (distance(&name, bundled.name), bundled.name));
    let (distance, likely) = distances.min()?;
    (distance * 2 <= likely.len()).then_some(likely)
}

/// How many letters have to be added, removed or changed (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, letter) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (place, against) in other.iter().enumerate() {
            let change = diagonal + usize::from(letter != *against);
            diagonal = row[place + 1];
            row[place + 1] = change.min(diagonal + 1).min(row[place] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn every_bundled_scenario_is_what_it_is_called_and_plans() {
        for bundled in Scenario::bundled() {
            let scenario = Scenario::from_toml(bundled.toml)
                .unwrap_or_else(|error| panic!("{}: {error}", bundled.name));
            assert_eq!(scenario.name, bundled.name);
            assert_eq!(scenario.about, bundled.about);
            let limit = scenario.memory_limit.unwrap_or(1 << 30);
            let plan = scenario.plan_within(Path::new("."), limit);
            let plan = plan.unwrap_or_else(|error| panic!("{}: {error}", bundled.name));
            assert_eq!(plan.towers, scenario.towers);
        }
    }

    #[test]
    fn a_name_that_is_wrong_is_answered_with_the_likeliest() {
        let said = Scenario::named("orignal-2").unwrap_err().to_string();
        assert!(said.contains("did you mean \"original-2\"?"), "{said}");
        assert!(said.contains("netsplit"), "{said}");
        let said = Scenario::named("xyzzyxyzzy").unwrap_err().to_string();
        assert!(!said.contains("did you mean"), "{said}");
    }
}
