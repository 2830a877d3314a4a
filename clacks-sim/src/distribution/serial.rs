//! A distribution in a scenario: text, or a table with a single key.

use std::fmt;
use std::path::PathBuf;

use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};

use super::{Distribution, Samples};
use crate::text::{self, Text};

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Law {
    Uniform,
    Exponential,
    LogNormal,
    Samples,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LogNormal {
    median: Text,
    sigma: f64,
}

impl Serialize for Distribution {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Self::Constant(duration) = self {
            return text::serialize(duration, serializer);
        }
        let mut table = serializer.serialize_map(Some(1))?;
        match self {
            Self::Constant(_) => {}
            Self::Uniform { from, to } => {
                table.serialize_entry(&Law::Uniform, &[Text(*from), Text(*to)])?;
            }
            Self::Exponential { mean } => table.serialize_entry(&Law::Exponential, &Text(*mean))?,
            Self::LogNormal { median, sigma } => {
                let parameters = LogNormal { median: Text(*median), sigma: *sigma };
                table.serialize_entry(&Law::LogNormal, &parameters)?;
            }
            Self::Samples(samples) => table.serialize_entry(&Law::Samples, samples.path())?,
        }
        table.end()
    }
}

impl<'de> Deserialize<'de> for Distribution {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let distribution = deserializer.deserialize_any(DistributionVisitor)?;
        distribution.check_ranges().map_err(de::Error::custom)?;
        Ok(distribution)
    }
}

struct DistributionVisitor;

impl<'de> Visitor<'de> for DistributionVisitor {
    type Value = Distribution;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a duration in quotes such as \"50ms\", or a table with one of the keys \
             `uniform`, `exponential`, `log-normal` and `samples`",
        )
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Distribution, E> {
        text::parse(text).map(Distribution::Constant).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut table: A) -> Result<Distribution, A::Error> {
        let Some(law) = table.next_key()? else {
            return Err(de::Error::invalid_length(0, &self));
        };
        let distribution = match law {
            Law::Uniform => {
                // Not read as an array: that would overlook what comes behind the second.
                let ends = table.next_value::<Vec<Text>>()?;
                let [Text(from), Text(to)] = ends[..] else {
                    let sentence = "`uniform` has two durations, the shortest and the longest";
                    return Err(de::Error::custom(sentence));
                };
                Distribution::Uniform { from, to }
            }
            Law::Exponential => {
                let Text(mean) = table.next_value()?;
                Distribution::Exponential { mean }
            }
            Law::LogNormal => {
                let LogNormal { median: Text(median), sigma } = table.next_value()?;
                Distribution::LogNormal { median, sigma }
            }
            Law::Samples => Distribution::Samples(Samples::at(table.next_value::<PathBuf>()?)),
        };
        if table.next_key::<Law>()?.is_some() {
            return Err(de::Error::invalid_length(2, &self));
        }
        Ok(distribution)
    }
}
