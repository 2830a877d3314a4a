//! Times as text: RFC 3339, in UTC, with milliseconds.

use std::time::SystemTime;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serializer};

/// Returns a time as text, without milliseconds.
pub(crate) fn text(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

/// Serializes a time.
pub(crate) fn serialize<S: Serializer>(
    time: &SystemTime,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_rfc3339_millis(*time))
}

/// Deserializes a time.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<SystemTime, D::Error> {
    humantime::parse_rfc3339(&String::deserialize(input)?).map_err(D::Error::custom)
}
