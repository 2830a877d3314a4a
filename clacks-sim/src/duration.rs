//! Durations as text, such as `1h 30m`.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserializer, Serializer};

/// Returns the duration of a text such as `1h 30m`, or `None` if the text is not a duration or the
/// duration is too long for a [`Duration`].
///
/// Each pair of a number and a unit is parsed alone. `humantime` panics on some sums that do not
/// fit.
///
/// ```
/// use clacks_sim::parse_duration;
/// use std::time::Duration;
///
/// assert_eq!(parse_duration("1h 30m"), Some(Duration::from_secs(5_400)));
/// assert_eq!(parse_duration("soon"), None);
/// ```
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut sum = None;
    while !rest.is_empty() {
        let unit = rest.find(char::is_alphabetic)?;
        let tail = rest.get(unit..)?;
        let end = tail.find(|c: char| !c.is_alphabetic()).map_or(rest.len(), |len| unit + len);
        let (pair, tail) = rest.split_at(end);
        let pair = humantime::parse_duration(pair).ok()?;
        sum = Some(sum.unwrap_or(Duration::ZERO).checked_add(pair)?);
        rest = tail.trim_start();
    }
    sum
}

/// A field that holds a duration, or none.
pub(crate) trait Field: Sized {
    fn duration(&self) -> Option<Duration>;
    fn from_duration(duration: Duration) -> Self;
}

impl Field for Duration {
    fn duration(&self) -> Option<Duration> {
        Some(*self)
    }

    fn from_duration(duration: Duration) -> Self {
        duration
    }
}

impl Field for Option<Duration> {
    fn duration(&self) -> Option<Duration> {
        *self
    }

    fn from_duration(duration: Duration) -> Self {
        Some(duration)
    }
}

/// Serializes a field. For `#[serde(with)]`.
pub(crate) fn serialize<S: Serializer>(field: &impl Field, to: S) -> Result<S::Ok, S::Error> {
    match field.duration() {
        Some(duration) => to.collect_str(&humantime::format_duration(duration)),
        None => to.serialize_none(),
    }
}

/// Deserializes a field. For `#[serde(with)]`.
pub(crate) fn deserialize<'de, T: Field, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    from.deserialize_str(FieldVisitor(PhantomData))
}

struct FieldVisitor<T>(PhantomData<T>);

impl<T: Field> Visitor<'_> for FieldVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        let duration = parse_duration(text);
        duration.map(T::from_duration).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_sum_of_numbers_with_units() {
        let seconds = |count| Some(Duration::from_secs(count));
        for (text, duration) in [
            ("90s", seconds(90)),
            (" 1 h 30 min ", seconds(5_400)),
            ("1h30m", seconds(5_400)),
            ("1.5h", seconds(5_400)),
            ("1week 1day", seconds(8 * 86_400)),
            ("7µs", Some(Duration::from_micros(7))),
            ("0s", seconds(0)),
            ("1000000000ns", seconds(1)),
            ("18446744073709551615s", seconds(u64::MAX)),
        ] {
            assert_eq!(parse_duration(text), duration, "{text}");
        }
        for text in ["", " ", "5", "s", "5x", "-5s", "soon", "5s5", "1.s", "5 s 7", "1h,30m", "é"]
        {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn a_duration_that_does_not_fit_is_refused() {
        for text in [
            "18446744073709551615s 1000000000ns",
            "18446744073709551615s 1s",
            "18446744073709551616s",
            "18446744073709551615years",
            "18446744073709551615s 999999999ns 1ns",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
