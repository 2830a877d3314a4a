//! Values that are a word or a number: how they are written and read.

use std::fmt;
use std::time::Duration;

use clacks_proto::SendRate;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How often a tower hands a message on: a number a second, or `"unlimited"`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// So many messages a second, from 0.0001 to 1 000 000.
    PerSecond(f64),
    /// As fast as the windows of the links allow.
    Unlimited,
}

impl Rate {
    /// What a tower is told. A rate out of its limits, which [`Scenario::plan`](super::Scenario::plan) refuses, is none at all.
    pub(super) fn send_rate(self) -> SendRate {
        match self {
            Self::PerSecond(rate) => {
                let every = Duration::try_from_secs_f64(1.0 / rate).unwrap_or_default();
                SendRate::Every(every)
            }
            Self::Unlimited => SendRate::Unlimited,
        }
    }
}

/// How often a quiet tower announces itself: a duration, or `"off"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heartbeat {
    /// Never.
    Off,
    /// So often.
    Every(Duration),
}

/// How long the calm phase at the end is: `"auto"`, `"off"` or a duration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Calm {
    /// As long as it may take until every running tower knows every other as alive: [`Scenario::calm_bound`](super::Scenario::calm_bound).
    #[default]
    Auto,
    /// There is none: mishaps go on to the end, and nothing is said about liveness.
    Off,
    /// So long.
    For(Duration),
}

/// A limit in bytes (or bytes a second): a number, or `"unlimited"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Limit {
    /// None.
    #[default]
    Unlimited,
    /// So many.
    Bytes(u64),
}

impl Limit {
    pub(super) fn bytes(self) -> Option<u64> {
        match self {
            Self::Unlimited => None,
            Self::Bytes(bytes) => Some(bytes),
        }
    }
}

/// A number or a text, whichever is there.
pub(super) enum Scalar {
    Text(String),
    Whole(i64),
    Real(f64),
}

impl Scalar {
    pub(super) fn read<'de, D: Deserializer<'de>>(
        from: D,
        expected: &'static str,
    ) -> Result<Self, D::Error> {
        struct Reader(&'static str);

        impl Visitor<'_> for Reader {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.0)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Scalar, E> {
                Ok(Scalar::Text(text.to_owned()))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Scalar, E> {
                Ok(Scalar::Whole(number))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Scalar, E> {
                Ok(i64::try_from(number)
                    .map_or_else(|_| Scalar::Text(number.to_string()), Scalar::Whole))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Scalar, E> {
                Ok(Scalar::Real(number))
            }
        }

        from.deserialize_any(Reader(expected))
    }

    /// The error that says what should be there instead.
    pub(super) fn unexpected<E: Error>(&self, expected: &'static str) -> E {
        use serde::de::Unexpected;
        let unexpected = match self {
            Self::Text(text) => Unexpected::Str(text),
            Self::Whole(number) => Unexpected::Signed(*number),
            Self::Real(number) => Unexpected::Float(*number),
        };
        E::invalid_value(unexpected, &expected)
    }
}

fn duration(text: &str) -> Option<Duration> {
    humantime::parse_duration(text).ok()
}

fn duration_text(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

impl<'de> Deserialize<'de> for Rate {
    #[allow(clippy::cast_precision_loss, reason = "rates are far below 2^53")]
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        const EXPECTED: &str = "a number of messages a second or \"unlimited\"";
        match Scalar::read(from, EXPECTED)? {
            Scalar::Text(text) if text == "unlimited" => Ok(Self::Unlimited),
            Scalar::Whole(number) => Ok(Self::PerSecond(number as f64)),
            Scalar::Real(number) => Ok(Self::PerSecond(number)),
            other => Err(other.unexpected(EXPECTED)),
        }
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::PerSecond(rate) => to.serialize_f64(*rate),
            Self::Unlimited => to.serialize_str("unlimited"),
        }
    }
}

impl<'de> Deserialize<'de> for Heartbeat {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        const EXPECTED: &str = "a duration like \"60s\" or \"off\"";
        let scalar = Scalar::read(from, EXPECTED)?;
        match &scalar {
            Scalar::Text(text) if text == "off" => Ok(Self::Off),
            Scalar::Text(text) => {
                duration(text).map(Self::Every).ok_or_else(|| scalar.unexpected(EXPECTED))
            }
            _ => Err(scalar.unexpected(EXPECTED)),
        }
    }
}

impl Serialize for Heartbeat {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => to.serialize_str("off"),
            Self::Every(time) => to.serialize_str(&duration_text(*time)),
        }
    }
}

impl<'de> Deserialize<'de> for Calm {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        const EXPECTED: &str = "\"auto\", \"off\" or a duration like \"10m\"";
        let scalar = Scalar::read(from, EXPECTED)?;
        match &scalar {
            Scalar::Text(text) if text == "auto" => Ok(Self::Auto),
            Scalar::Text(text) if text == "off" => Ok(Self::Off),
            Scalar::Text(text) => {
                duration(text).map(Self::For).ok_or_else(|| scalar.unexpected(EXPECTED))
            }
            _ => Err(scalar.unexpected(EXPECTED)),
        }
    }
}

impl Serialize for Calm {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => to.serialize_str("auto"),
            Self::Off => to.serialize_str("off"),
            Self::For(time) => to.serialize_str(&duration_text(*time)),
        }
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        const EXPECTED: &str = "a number of bytes or \"unlimited\"";
        let scalar = Scalar::read(from, EXPECTED)?;
        match &scalar {
            Scalar::Text(text) if text == "unlimited" => Ok(Self::Unlimited),
            Scalar::Whole(bytes) => {
                u64::try_from(*bytes).map(Self::Bytes).map_err(|_| scalar.unexpected(EXPECTED))
            }
            _ => Err(scalar.unexpected(EXPECTED)),
        }
    }
}

impl Serialize for Limit {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Unlimited => to.serialize_str("unlimited"),
            Self::Bytes(bytes) => to.serialize_u64(*bytes),
        }
    }
}

/// A seed: a whole number, or `"0x…"` where it is greater than TOML's numbers.
pub(super) mod seed {
    use super::{Deserializer, Error, Scalar, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(seed: &u64, to: S) -> Result<S::Ok, S::Error> {
        match i64::try_from(*seed) {
            Ok(number) => to.serialize_i64(number),
            Err(_) => to.serialize_str(&format!("{seed:#x}")),
        }
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<u64, D::Error> {
        const EXPECTED: &str = "a whole number from 0 on, or a text like \"0xfeed\"";
        let scalar = Scalar::read(from, EXPECTED)?;
        let seed = match &scalar {
            Scalar::Whole(number) => u64::try_from(*number).ok(),
            Scalar::Text(text) => match text.strip_prefix("0x") {
                Some(digits) => u64::from_str_radix(digits, 16).ok(),
                None => text.parse().ok(),
            },
            Scalar::Real(_) => None,
        };
        seed.ok_or_else(|| {
            D::Error::custom(format_args!("{}", scalar.unexpected::<D::Error>(EXPECTED)))
        })
    }
}

/// A step of a clock in nanoseconds: a duration that may begin with a minus sign.
pub(super) mod signed {
    use super::{Deserializer, Scalar, Serializer, duration, duration_text};
    use std::time::Duration;

    pub(in super::super) fn serialize<S: Serializer>(step: &i64, to: S) -> Result<S::Ok, S::Error> {
        let sign = if *step < 0 { "-" } else { "" };
        let text = duration_text(Duration::from_nanos(step.unsigned_abs()));
        to.serialize_str(&format!("{sign}{text}"))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<i64, D::Error> {
        const EXPECTED: &str = "a duration like \"5s\" or \"-5s\"";
        let scalar = Scalar::read(from, EXPECTED)?;
        let Scalar::Text(text) = &scalar else { return Err(scalar.unexpected(EXPECTED)) };
        let (sign, size) = text.strip_prefix('-').map_or((1, text.as_str()), |size| (-1, size));
        let nanos = duration(size).and_then(|size| i64::try_from(size.as_nanos()).ok());
        nanos.map(|nanos| sign * nanos).ok_or_else(|| scalar.unexpected(EXPECTED))
    }
}
