//! Which towers something concerns: how a group is written, and who is in it.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::error::ScenarioError;
use crate::plan::Group;
use crate::rng::Draws;

/// A group of towers, by number or drawn.
///
/// In a file: `"all"`, `7`, `"3-17"` (both are in it), `[1, 4, 9]`, `{ share = 0.1 }` or `{ count = 5 }`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Towers {
    /// Every tower.
    All,
    /// One.
    One(u32),
    /// From the first to the last, both included.
    Range(u32, u32),
    /// These.
    List(Vec<u32>),
    /// A share of all, from 0 to 1, drawn. More than none of them is at least one.
    Share(f64),
    /// So many, drawn.
    Count(u32),
}

impl Towers {
    /// Checks it against the number of towers.
    pub(super) fn check(&self, field: &str, towers: u32) -> Result<(), ScenarioError> {
        let exists = |tower: u32| {
            let last = towers.saturating_sub(1);
            let range =
                format_args!("from 0 to {last}: the towers are numbered from 0").to_string();
            (tower < towers).then_some(()).ok_or(ScenarioError::range(field, tower, range))
        };
        match self {
            Self::All => Ok(()),
            Self::One(tower) => exists(*tower),
            Self::Range(first, last) if first > last => Err(ScenarioError::field(
                field,
                format!("is \"{first}-{last}\"; the first must not be greater than the last"),
            )),
            Self::Range(_, last) => exists(*last),
            Self::List(list) => list.iter().try_for_each(|tower| exists(*tower)),
            Self::Share(share) if !(0.0..=1.0).contains(share) => {
                Err(ScenarioError::range(format!("{field}.share"), share, "from 0 to 1"))
            }
            Self::Share(_) => Ok(()),
            Self::Count(count) if *count > towers => Err(ScenarioError::range(
                format!("{field}.count"),
                count,
                format_args!("from 0 to {towers}, which is how many towers there are"),
            )),
            Self::Count(_) => Ok(()),
        }
    }

    /// How many there are.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a number of towers is no more than that"
    )]
    pub(super) fn size(&self, towers: u32) -> u32 {
        match self {
            Self::All => towers,
            Self::One(_) => 1,
            Self::Range(first, last) => last.saturating_sub(*first).saturating_add(1),
            Self::List(list) => list.iter().collect::<BTreeSet<_>>().len() as u32,
            Self::Share(share) if *share > 0.0 => {
                ((f64::from(towers) * share).round() as u32).max(1).min(towers)
            }
            Self::Share(_) => 0,
            Self::Count(count) => *count,
        }
    }

    /// Who they are.
    pub(super) fn group(&self, towers: u32, draws: &mut Draws) -> Group {
        match self {
            Self::All => Group::All,
            Self::One(tower) => Group::Range(*tower, tower.saturating_add(1)),
            Self::Range(first, last) => Group::Range(*first, last.saturating_add(1)),
            Self::List(list) => {
                let sorted: BTreeSet<u32> = list.iter().copied().collect();
                Group::These(sorted.into_iter().collect())
            }
            Self::Share(_) | Self::Count(_) => {
                let mut drawn = draws.choose_distinct(towers, self.size(towers));
                drawn.sort_unstable();
                Group::These(drawn.into())
            }
        }
    }
}

/// The numbers of a group's towers, in ascending order.
pub(super) fn members(group: &Group, towers: u32) -> Box<dyn Iterator<Item = u32> + '_> {
    match group {
        Group::All => Box::new(0..towers),
        Group::Range(from, to) => Box::new(*from..*to),
        Group::These(these) => Box::new(these.iter().copied()),
    }
}

const EXPECTED: &str =
    "towers: \"all\", a number, \"3-17\", a list, { share = 0.1 } or { count = 5 }";

impl<'de> Deserialize<'de> for Towers {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Reader)
    }
}

impl Serialize for Towers {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::All => to.serialize_str("all"),
            Self::One(tower) => to.serialize_u32(*tower),
            Self::Range(first, last) => to.serialize_str(&format!("{first}-{last}")),
            Self::List(list) => list.serialize(to),
            Self::Share(share) => {
                let mut map = to.serialize_map(Some(1))?;
                map.serialize_entry("share", share)?;
                map.end()
            }
            Self::Count(count) => {
                let mut map = to.serialize_map(Some(1))?;
                map.serialize_entry("count", count)?;
                map.end()
            }
        }
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Towers;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Towers, E> {
        if text == "all" {
            return Ok(Towers::All);
        }
        if let Ok(tower) = text.trim().parse() {
            return Ok(Towers::One(tower));
        }
        let range = text.split_once('-').and_then(|(first, last)| {
            Some(Towers::Range(first.trim().parse().ok()?, last.trim().parse().ok()?))
        });
        range.ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Towers, E> {
        let tower = u32::try_from(number).map(Towers::One);
        tower.map_err(|_| E::invalid_value(serde::de::Unexpected::Signed(number), &self))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Towers, E> {
        let tower = u32::try_from(number).map(Towers::One);
        tower.map_err(|_| E::invalid_value(serde::de::Unexpected::Unsigned(number), &self))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Towers, A::Error> {
        let mut towers = Vec::new();
        while let Some(tower) = list.next_element()? {
            towers.push(tower);
        }
        Ok(Towers::List(towers))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Towers, A::Error> {
        let key: Option<String> = map.next_key()?;
        let towers = match key.as_deref() {
            Some("share") => Towers::Share(map.next_value()?),
            Some("count") => Towers::Count(map.next_value()?),
            Some(other) => return Err(A::Error::unknown_field(other, &["share", "count"])),
            None => return Err(A::Error::custom(format_args!("must be {EXPECTED}"))),
        };
        match map.next_key::<String>()? {
            Some(_) => Err(A::Error::custom("must have one key, share or count")),
            None => Ok(towers),
        }
    }
}
