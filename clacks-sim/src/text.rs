//! Durations as people write them: `50ms`, `1h 30m`.
//!
//! For fields: `#[serde(with = "crate::text")]`, and `#[serde(default, with = "crate::text::option")]` for those that may be left out.

use std::fmt;
use std::time::Duration;

use serde::de::{self, Deserializer, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

/// Writes a duration as text, exactly.
///
/// # Errors
/// The serializer's own.
pub(crate) fn serialize<S: Serializer>(
    duration: &Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_duration(*duration))
}

/// Reads a duration from text.
///
/// # Errors
/// For anything but a string, and for text that is no duration.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Duration, D::Error> {
    deserializer.deserialize_str(DurationVisitor)
}

/// The same for `Option<Duration>`.
pub(crate) mod option {
    use super::{Deserialize, Deserializer, Duration, Serialize, Serializer, Text};

    /// Writes a duration as text, or nothing.
    ///
    /// # Errors
    /// The serializer's own.
    pub(crate) fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        duration.map(Text).serialize(serializer)
    }

    /// Reads a duration from text, if there is one.
    ///
    /// # Errors
    /// For anything but a string, and for text that is no duration.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        Ok(Option::deserialize(deserializer)?.map(|Text(duration)| duration))
    }
}

/// A duration inside of other types, as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Text(#[serde(with = "self")] pub(crate) Duration);

/// The duration of a text.
///
/// # Errors
/// A sentence that shows the text and an example.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text.trim())
        .map_err(|error| format!("`{text}` is no duration such as `50ms` or `1h 30m`: {error}"))
}

struct DurationVisitor;

impl Visitor<'_> for DurationVisitor {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration in quotes, such as \"50ms\" or \"1h 30m\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
        parse(text).map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Page {
        #[serde(with = "crate::text")]
        every: Duration,
        #[serde(default, with = "crate::text::option")]
        until: Option<Duration>,
    }

    #[test]
    fn durations_survive_text() {
        let until = [None, Some(Duration::ZERO), Some(Duration::from_secs(5_400))];
        let every = [Duration::new(90_061, 1_000_001), Duration::from_nanos(1), Duration::MAX];
        for (every, until) in every.into_iter().zip(until) {
            let page = Page { every, until };
            let text = toml::to_string(&page).unwrap();
            assert_eq!(toml::from_str::<Page>(&text).unwrap(), page, "{text}");
        }
        assert_eq!(
            toml::to_string(&Page { every: Duration::from_millis(1_500), until: None }).unwrap(),
            "every = \"1s 500ms\"\n"
        );
    }

    #[test]
    fn what_is_no_duration_is_said_in_a_sentence() {
        let error = |text| toml::from_str::<Page>(text).unwrap_err().message().to_owned();
        assert_eq!(
            error("every = 50"),
            "invalid type: integer `50`, expected a duration in quotes, such as \"50ms\" or \"1h 30m\""
        );
        for text in ["every = \"50\"", "every = \"soon\"", "every = \"-1s\"", "every = \"\""] {
            let error = error(text);
            assert!(error.contains("is no duration such as `50ms`"), "{error}");
        }
        assert!(error("every = \"1s\"\nuntil = \"x\"").contains("`x` is no duration"));
    }
}
