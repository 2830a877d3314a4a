//! Times as text: RFC 3339, in UTC, with milliseconds.

use std::time::{Duration, SystemTime};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serializer};

/// The last second of the year 9999. The format has no later one.
const LAST: Duration = Duration::from_secs(253_402_300_799);

/// Returns a time as text, without milliseconds. Peers and links can name any time.
pub(crate) fn text(time: SystemTime) -> String {
    let time = time.clamp(SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH + LAST);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_the_format_does_not_have_are_its_first_and_its_last() {
        let hours = |hours: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(hours * 3_600);
        assert_eq!(text(hours(1)), "1970-01-01T01:00:00Z");
        assert_eq!(text(hours(u32::MAX.into())), "9999-12-31T23:59:59Z");
        assert_eq!(text(hours(0) - Duration::from_secs(1)), "1970-01-01T00:00:00Z");
    }
}
