//! Serialized forms of knobs that serde can't derive: durations are text such as `"1h 30m"`.

use alloc::string::String;
use core::fmt::{self, Write};
use core::time::Duration;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::SendRate;

/// Units in nanoseconds. The names are those of the crate `humantime`, which serializes the first
/// name of a unit as well.
const UNITS: [(&[&str], u128); 7] = [
    (&["day", "days", "d"], 86_400_000_000_000),
    (&["h", "hr", "hour", "hours"], 3_600_000_000_000),
    (&["m", "min", "mins", "minute", "minutes"], 60_000_000_000),
    (&["s", "sec", "secs", "second", "seconds"], 1_000_000_000),
    (&["ms", "msec", "millis"], 1_000_000),
    (&["us", "usec", "micros"], 1_000),
    (&["ns", "nsec", "nanos"], 1),
];

const EXPECTED: &str = "a duration";

/// Returns the duration of a text such as `1h 30m`.
fn parse(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut nanos: u128 = 0;
    while !rest.is_empty() {
        let (number, tail) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let tail = tail.trim_start();
        let length = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(length);
        let (_, size) = UNITS.iter().find(|(names, _)| names.contains(&unit))?;
        nanos = nanos.checked_add(number.parse::<u128>().ok()?.checked_mul(*size)?)?;
        rest = tail.trim_start();
    }
    let seconds = u64::try_from(nanos / 1_000_000_000).ok()?;
    let nanos = u32::try_from(nanos % 1_000_000_000).ok()?;
    (!text.trim().is_empty()).then(|| Duration::new(seconds, nanos))
}

/// Returns the text of a duration. [`parse`] reads the same duration from it.
fn text(duration: Duration) -> String {
    let (mut text, mut rest) = (String::new(), duration.as_nanos());
    for (names, size) in UNITS {
        let count = rest / size;
        rest %= size;
        if count > 0 {
            let space = if text.is_empty() { "" } else { " " };
            // Writing to a string can't fail.
            let _ = write!(text, "{space}{count}{}", names[0]);
        }
    }
    if text.is_empty() { "0s".into() } else { text }
}

/// For fields of type [`Duration`].
pub(super) mod duration {
    use super::*;

    pub(in super::super) fn serialize<S: Serializer>(
        duration: &Duration,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_str(&text(*duration))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Duration, D::Error> {
        let text = String::deserialize(from)?;
        parse(&text).ok_or_else(|| D::Error::invalid_value(Unexpected::Str(&text), &EXPECTED))
    }
}

/// For a rule that can be switched off: a duration, or `"off"`.
pub(super) mod optional {
    use super::*;

    pub(in super::super) fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match duration {
            None => to.serialize_str("off"),
            Some(duration) => to.serialize_str(&text(*duration)),
        }
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Duration>, D::Error> {
        let text = String::deserialize(from)?;
        match parse(&text) {
            _ if text == "off" => Ok(None),
            Some(duration) => Ok(Some(duration)),
            None => Err(D::Error::invalid_value(Unexpected::Str(&text), &"a duration, or \"off\"")),
        }
    }
}

/// A number of messages a second (`20`, `0.5`), or `"unlimited"`.
impl Serialize for SendRate {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Unlimited => to.serialize_str("unlimited"),
            Self::Every(interval) => {
                let rate = 1.0 / interval.as_secs_f64();
                // Whole rates are the usual ones.
                match integer(rate) {
                    Some(whole) if Self::per_second(whole) == *self => to.serialize_u32(whole),
                    _ => to.serialize_f64(rate),
                }
            }
        }
    }
}

/// Returns the integer that is nearest to a rate.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked before")]
fn integer(rate: f64) -> Option<u32> {
    (1.0..1e9).contains(&rate).then_some((rate + 0.5) as u32)
}

impl<'de> Deserialize<'de> for SendRate {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(RateVisitor)
    }
}

struct RateVisitor;

impl Visitor<'_> for RateVisitor {
    type Value = SendRate;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of messages a second that is more than 0, or \"unlimited\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<SendRate, E> {
        match text {
            "unlimited" => Ok(SendRate::Unlimited),
            _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
        }
    }

    fn visit_u64<E: Error>(self, rate: u64) -> Result<SendRate, E> {
        match u32::try_from(rate) {
            Ok(rate) if rate > 0 => Ok(SendRate::per_second(rate)),
            _ => Err(E::invalid_value(Unexpected::Unsigned(rate), &self)),
        }
    }

    fn visit_i64<E: Error>(self, rate: i64) -> Result<SendRate, E> {
        match u64::try_from(rate) {
            Ok(rate) => self.visit_u64(rate),
            Err(_) => Err(E::invalid_value(Unexpected::Signed(rate), &self)),
        }
    }

    fn visit_f64<E: Error>(self, rate: f64) -> Result<SendRate, E> {
        match Duration::try_from_secs_f64(1.0 / rate) {
            Ok(interval) if rate > 0.0 && !interval.is_zero() => Ok(SendRate::Every(interval)),
            _ => Err(E::invalid_value(Unexpected::Float(rate), &self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, DefaultVerdict, Screening};
    use alloc::format;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn durations_are_text_with_units() {
        for (duration, shown) in [
            (seconds(0), "0s"),
            (seconds(5_400), "1h 30m"),
            (seconds(2 * 86_400 + 1), "2day 1s"),
            (Duration::new(1, 1_002_003), "1s 1ms 2us 3ns"),
            (Duration::MAX, "213503982334601day 7h 15s 999ms 999us 999ns"),
        ] {
            assert_eq!(text(duration), shown);
            assert_eq!(parse(shown), Some(duration));
        }
        assert_eq!(parse(" 90 s "), Some(seconds(90)));
        assert_eq!(parse("1hour30min2days"), Some(seconds(2 * 86_400 + 5_400)));
        for wrong in ["", " ", "5", "s", "5x", "-5s", "1.5s", "5s5", "999999999999999999999days"] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_configuration_survives_serialization() {
        let mut config = Config::default();
        for rate in [
            SendRate::per_second(3),
            SendRate::per_second(1_000_000),
            SendRate::Every(seconds(4)),
            SendRate::Unlimited,
        ] {
            config.send_rate = rate;
            for heartbeat in [None, Some(seconds(1))] {
                config.heartbeat = heartbeat;
                let json = serde_json::to_string(&config).unwrap();
                assert_eq!(serde_json::from_str::<Config>(&json).unwrap(), config, "{json}");
                let (default, timeout) = (DefaultVerdict::Reject, seconds(7));
                config.screening = Screening::On { max_offers: 3, timeout, default };
            }
        }
    }

    #[test]
    fn fields_that_are_left_out_have_their_defaults() {
        let config: Config =
            serde_json::from_str(r#"{"send_rate": 0.5, "timeouts": {"idle": "7s"}}"#).unwrap();
        let send_rate = SendRate::Every(seconds(2));
        let mut expected = Config { send_rate, ..Config::default() };
        expected.timeouts.idle = seconds(7);
        assert_eq!(config, expected);
    }

    #[test]
    fn wrong_fields_and_values_are_refused() {
        for (json, error) in [
            (r#"{"send_rat": 1}"#, "unknown field `send_rat`"),
            (r#"{"send_rate": 0}"#, "invalid value: integer `0`, expected a number of messages"),
            (r#"{"send_rate": -1.5}"#, "invalid value: floating point `-1.5`"),
            (r#"{"heartbeat": "never"}"#, "expected a duration, or \"off\""),
            (r#"{"kill_timeout": "soon"}"#, "invalid value: string \"soon\", expected a duration"),
            (r#"{"timeouts": {"lazy": "1s"}}"#, "unknown field `lazy`"),
        ] {
            let found = serde_json::from_str::<Config>(json).unwrap_err();
            assert!(
                format!("{found}").starts_with(error) || format!("{found}").contains(error),
                "{found}"
            );
        }
    }
}
