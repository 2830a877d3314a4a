//! The `[contacts]` section: whom each tower knows when it comes up.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::ScenarioError;
use crate::text;

/// The most towers of which each knows all others: so many squared is the number of contacts.
const MAX_FULL: u32 = 10_000;

/// Whom each tower is told when it comes up for the first time, and again wherever a fault says `contacts = true`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Contacts {
    /// Who knows whom. Default: everybody knows the first tower.
    pub shape: Shape,
    /// With `shape = "regular"`: how many contacts each tower has, 2 to 256, fewer than towers. Default: 8.
    pub degree: u32,
    /// With `shape = "well-known"`: how many towers everybody knows, the first ones, at least 1. Default: 1.
    pub known: u32,
    /// With `shape = "file"`: a CSV file with two columns, from and to, relative to the scenario's own folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// What a tower does with them. Default: it announces itself.
    pub verb: Verb,
    /// Over which time the towers come up, one after the other in the order of their numbers. Default: 0s, all at once.
    #[serde(with = "text")]
    pub spread: Duration,
}

/// Who knows whom at the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Shape {
    /// Everybody knows the first tower or towers, and those know each other.
    #[default]
    WellKnown,
    /// Each knows the next, and the last the first.
    Ring,
    /// Everybody has the same number of contacts, drawn, who know it in turn; everybody can be reached from everybody.
    Regular,
    /// Everybody knows everybody; at most 10 000 towers.
    Full,
    /// As a file says.
    File,
    /// Nobody knows anybody.
    None,
}

/// What a tower does with a contact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// It calls it at once, to make itself known.
    #[default]
    Announce,
    /// It adds it to its peers.
    Expand,
}

impl Default for Contacts {
    fn default() -> Self {
        Self {
            shape: Shape::default(),
            degree: 8,
            known: 1,
            file: None,
            verb: Verb::default(),
            spread: Duration::ZERO,
        }
    }
}

impl Contacts {
    pub(super) fn check(&self, towers: u32, time: Duration) -> Result<(), ScenarioError> {
        if self.spread >= time {
            let spread = humantime::format_duration(self.spread);
            let time = humantime::format_duration(time);
            let range = format!("less than the time, {time}");
            return Err(ScenarioError::range("contacts.spread", spread, range));
        }
        match self.shape {
            Shape::WellKnown if !(1..=towers).contains(&self.known) => {
                let range = format!("from 1 to {towers}");
                Err(ScenarioError::range("contacts.known", self.known, range))
            }
            Shape::Regular => self.check_degree(towers),
            Shape::Full if towers > MAX_FULL => Err(ScenarioError::field(
                "contacts.shape",
                format!("is \"full\"; that must be with at most {MAX_FULL} towers"),
            )),
            Shape::File if self.file.is_none() => Err(ScenarioError::field(
                "contacts.file",
                "is missing; with contacts.shape = \"file\" it must name a CSV file",
            )),
            _ => Ok(()),
        }
    }

    fn check_degree(&self, towers: u32) -> Result<(), ScenarioError> {
        let most = towers.saturating_sub(1).min(256);
        if !(2..=most).contains(&self.degree) {
            let range = if most < 2 {
                String::from("from 2 on and less than towers, so there must be at least 3 towers")
            } else {
                format!("from 2 to {most}")
            };
            return Err(ScenarioError::range("contacts.degree", self.degree, range));
        }
        if self.degree % 2 == 1 && towers % 2 == 1 {
            let range = format!("even, because the number of towers, {towers}, is odd");
            return Err(ScenarioError::range("contacts.degree", self.degree, range));
        }
        Ok(())
    }

    /// How many contacts there are in all, as far as that is known without reading a file.
    pub(super) fn total(&self, towers: u32) -> u64 {
        let towers = u64::from(towers);
        match self.shape {
            Shape::WellKnown => towers.saturating_mul(self.known.into()),
            Shape::Ring => towers,
            Shape::Regular => towers.saturating_mul(self.degree.into()),
            Shape::Full => towers.saturating_mul(towers.saturating_sub(1)),
            Shape::File | Shape::None => 0,
        }
    }
}
