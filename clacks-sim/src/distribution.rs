//! Random durations.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, fs, io};

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_distr::{Exp1, StandardNormal};
use serde::{Deserialize, Serialize};

use crate::rng::RngStream;

/// The distribution of a duration.
///
/// In a scenario a constant is text, and each other distribution is a table with one key:
///
/// ```toml
/// name = "a distribution of each kind"
/// towers = 3
/// time = "1h"
/// link.latency = "50ms"
/// link.jitter = { uniform = { from = "0ms", to = "5ms" } }
///
/// [churn]
/// session = { exponential = { mean = "20m" } }
/// absence = { log-normal = { median = "5m", sigma = 0.5 } }
/// until = "40m"
///
/// [[path]]
/// from = 0
/// to = "all"
/// link.latency = { samples = "measured.csv" }
/// ```
///
/// A draw takes its numbers from a stream, and computes with software floating-point functions. The
/// same stream gives the same durations, in nanoseconds, on every platform.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    rename_all = "kebab-case",
    deny_unknown_fields,
    expecting = "a duration like \"50ms\", { uniform = { from, to } }, { exponential = { mean } }, \
                 { log-normal = { median, sigma } } or { samples = \"file.csv\" }"
)]
#[non_exhaustive]
pub enum Distribution {
    /// Each duration in a range is equally likely.
    Uniform {
        /// The shortest duration.
        #[serde(with = "crate::duration")]
        from: Duration,
        /// The longest duration. It is in the range.
        #[serde(with = "crate::duration")]
        to: Duration,
    },
    /// The time until an event that is equally likely at each moment: lifetimes and pauses.
    Exponential {
        /// The mean.
        #[serde(with = "crate::duration")]
        mean: Duration,
    },
    /// The product of many independent factors: roughly the delays of the Internet.
    LogNormal {
        /// Half of the durations are shorter.
        #[serde(with = "crate::duration")]
        median: Duration,
        /// The standard deviation of the logarithm, 0 to [`WIDEST_SIGMA`]. Two thirds of the
        /// durations are from `median / exp(sigma)` to `median * exp(sigma)`.
        sigma: f64,
    },
    /// Measured durations, each equally likely.
    Samples(Samples),
    /// Always the same duration.
    #[serde(untagged)]
    Constant(#[serde(with = "crate::duration")] Duration),
}

/// The longest duration, as a parameter and as a draw. Longer draws are cut off, so that the clock
/// of a simulation can't overflow.
pub const LONGEST: Duration = Duration::from_secs(24 * 3_600);

/// The widest log-normal distribution. With 3, one draw in 20 differs from the median by a factor
/// of more than 350.
pub const WIDEST_SIGMA: f64 = 3.0;

impl Distribution {
    /// Draws a duration of at most [`LONGEST`]. Returns zero if the samples are not loaded.
    pub fn sample(&self, rng: &mut RngStream) -> Duration {
        let nanos = match self {
            Self::Constant(duration) => integer(*duration),
            Self::Uniform { from, to } => {
                let (from, to) = (integer(*from), integer(*to));
                from + rng.below(to.saturating_sub(from) + 1)
            }
            Self::Exponential { mean } => round(real(*mean) * rng.sample::<f64, _>(Exp1)),
            Self::LogNormal { median, sigma } => {
                let normal: f64 = rng.sample(StandardNormal);
                round(real(*median) * libm::exp(sigma * normal))
            }
            Self::Samples(samples) => samples.nanos.choose(rng).copied().unwrap_or(0),
        };
        Duration::from_nanos(nanos).min(LONGEST)
    }

    /// Returns the mean. Durations above [`LONGEST`] are not cut off in it.
    #[must_use]
    pub fn mean(&self) -> Duration {
        match self {
            Self::Constant(duration) | Self::Exponential { mean: duration } => *duration,
            Self::Uniform { from, to } => from.saturating_add(*to) / 2,
            Self::LogNormal { median, sigma } => {
                Duration::from_nanos(round(real(*median) * libm::exp(sigma * sigma / 2.0)))
            }
            Self::Samples(samples) => samples.mean(),
        }
    }

    /// Reads the file of samples, if there is one. Its path is relative to the folder `base`.
    ///
    /// # Errors
    ///
    /// When the file can't be read, or contains no durations. The distribution does not change.
    pub fn load(&mut self, base: &Path) -> Result<(), DistributionError> {
        match self {
            Self::Samples(samples) => samples.load(base),
            _ => Ok(()),
        }
    }

    /// Returns the path of the file of samples, if there is one.
    pub(crate) fn file(&self) -> Option<&Path> {
        match self {
            Self::Samples(samples) => Some(&samples.path),
            _ => None,
        }
    }

    /// Returns whether a file of samples must still be read.
    pub(crate) fn is_loaded(&self) -> bool {
        !matches!(self, Self::Samples(samples) if samples.nanos.is_empty())
    }

    /// Checks the limits of all parameters.
    ///
    /// # Errors
    ///
    /// Returns the first parameter that is out of its limits.
    pub fn check(&self) -> Result<(), DistributionError> {
        let longest = match self {
            Self::Uniform { from, to } if from > to => {
                return Err(DistributionError::Reversed { from: *from, to: *to });
            }
            Self::LogNormal { sigma, .. } if !(0.0..=WIDEST_SIGMA).contains(sigma) => {
                return Err(DistributionError::Sigma(*sigma));
            }
            Self::Constant(longest)
            | Self::Uniform { to: longest, .. }
            | Self::Exponential { mean: longest }
            | Self::LogNormal { median: longest, .. } => *longest,
            // Each line is checked when the file is read.
            Self::Samples(_) => Duration::ZERO,
        };
        if longest > LONGEST { Err(DistributionError::TooLong(longest)) } else { Ok(()) }
    }
}

/// Durations from a file. Clones share the memory.
///
/// The file has one value on each line. Either each value has a unit (`1.5ms`), or the first line
/// is a header whose last word is the unit of all values: `ns`, `us`, `ms`, `s`, `min` or `h`, as
/// in `latency_ms`. A first line that begins with a letter is a header. Empty lines and lines that
/// begin with `#` are skipped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Samples {
    path: PathBuf,
    #[serde(skip)]
    nanos: Arc<[u64]>,
}

impl Samples {
    /// Returns the samples of a file. [`Distribution::load`] reads the file.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), nanos: Arc::default() }
    }

    fn load(&mut self, base: &Path) -> Result<(), DistributionError> {
        let path = base.join(&self.path);
        match fs::read_to_string(&path) {
            Ok(text) => self.nanos = parse(&text)?,
            Err(cause) => return Err(DistributionError::File { path, cause }),
        }
        Ok(())
    }

    fn mean(&self) -> Duration {
        let sum: u128 = self.nanos.iter().map(|nanos| u128::from(*nanos)).sum();
        let mean = sum.checked_div(self.nanos.len() as u128).unwrap_or(0);
        Duration::from_nanos(u64::try_from(mean).unwrap_or(u64::MAX))
    }
}

fn parse(text: &str) -> Result<Arc<[u64]>, DistributionError> {
    let mut unit = None;
    let mut nanos = Vec::new();
    let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim).zip(1..);
    let lines = lines.filter(|(line, _)| !line.is_empty() && !line.starts_with('#'));
    for (index, (line, number)) in lines.enumerate() {
        if index == 0 && line.starts_with(char::is_alphabetic) {
            unit = unit_of(line);
            continue;
        }
        match value(line, unit).filter(|value| *value <= LONGEST) {
            Some(value) => nanos.push(integer(value)),
            None => return Err(DistributionError::Line { number, line: line.to_owned() }),
        }
    }
    if nanos.is_empty() { Err(DistributionError::NoSamples) } else { Ok(nanos.into()) }
}

/// Returns the unit that a header names, in nanoseconds.
fn unit_of(header: &str) -> Option<f64> {
    let mut words = header.split(|c: char| !c.is_alphanumeric());
    match words.rfind(|word| !word.is_empty())? {
        "ns" => Some(1.0),
        "us" | "µs" => Some(1e3),
        "ms" => Some(1e6),
        "s" => Some(1e9),
        "min" => Some(60e9),
        "h" => Some(3_600e9),
        _ => None,
    }
}

fn value(line: &str, unit: Option<f64>) -> Option<Duration> {
    match (line.parse::<f64>(), unit) {
        (Ok(number), Some(unit)) if number >= 0.0 => {
            Some(Duration::from_nanos(round(number * unit)))
        }
        (Ok(number), _) => (number == 0.0).then_some(Duration::ZERO),
        (Err(_), _) => humantime::parse_duration(line).ok(),
    }
}

/// An invalid [`Distribution`].
#[derive(Debug)]
#[non_exhaustive]
pub enum DistributionError {
    /// A duration is longer than [`LONGEST`].
    TooLong(Duration),
    /// The range of a uniform distribution ends before it begins.
    Reversed {
        /// The first duration.
        from: Duration,
        /// The last duration.
        to: Duration,
    },
    /// A sigma is not from 0 to [`WIDEST_SIGMA`].
    Sigma(f64),
    /// A file can't be read.
    File {
        /// The path of the file.
        path: PathBuf,
        /// The error of the operating system.
        cause: io::Error,
    },
    /// A line of a file is no duration.
    Line {
        /// The number of the line, from 1.
        number: u64,
        /// The line.
        line: String,
    },
    /// A file contains no duration.
    NoSamples,
}

impl fmt::Display for DistributionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = humantime::format_duration;
        match self {
            Self::TooLong(duration) => {
                write!(f, "is {}; a duration must be from 0s to 24h", text(*duration))
            }
            Self::Reversed { from, to } => write!(
                f,
                "is from {} to {}; the first duration must not be longer than the second",
                text(*from),
                text(*to)
            ),
            Self::Sigma(sigma) => {
                write!(f, "has the sigma {sigma}; it must be from 0 to {WIDEST_SIGMA}")
            }
            Self::File { path, cause } => {
                write!(f, "names {}, which can't be read: {cause}", path.display())
            }
            Self::Line { number, line } => write!(
                f,
                "names a file whose line {number} is \"{line}\"; it must be a duration from 0s to \
                 24h, with a unit or below a header like \"latency_ms\""
            ),
            Self::NoSamples => f.write_str("names a file without durations"),
        }
    }
}

impl std::error::Error for DistributionError {}

/// Returns a duration in nanoseconds, at most [`LONGEST`].
fn integer(duration: Duration) -> u64 {
    u64::try_from(duration.min(LONGEST).as_nanos()).unwrap_or(0)
}

#[allow(clippy::cast_precision_loss, reason = "a day has less than 2^53 nanoseconds")]
fn real(duration: Duration) -> f64 {
    integer(duration) as f64
}

/// Rounds to the nearest integer. Returns 0 for negative numbers and for NaN.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
fn round(nanos: f64) -> u64 {
    libm::round(nanos) as u64
}

#[cfg(test)]
#[allow(clippy::cast_precision_loss, clippy::float_cmp, reason = "small and exact numbers")]
mod tests {
    use super::*;
    use crate::rng::{Purpose, RngStreams};

    const DRAWS: usize = 100_000;

    fn stream() -> RngStream {
        RngStreams::new(1).stream(Purpose::Latency, 1)
    }

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    fn samples(text: &str) -> Distribution {
        Distribution::Samples(Samples { path: "x.csv".into(), nanos: parse(text).unwrap() })
    }

    fn drawn(distribution: &Distribution) -> Vec<f64> {
        let mut rng = stream();
        let mut all: Vec<_> =
            (0..DRAWS).map(|_| distribution.sample(&mut rng).as_secs_f64()).collect();
        all.sort_by(f64::total_cmp);
        all
    }

    /// The test of Kolmogorov and Smirnov with p = 0.001, and the mean within 3.3 standard errors.
    fn assert_follows(distribution: &Distribution, deviation: f64, law: impl Fn(f64) -> f64) {
        let all = drawn(distribution);
        let distances = all.iter().enumerate().map(|(rank, seconds)| {
            let expected = law(*seconds);
            let below = expected - rank as f64 / DRAWS as f64;
            let above = (rank + 1) as f64 / DRAWS as f64 - expected;
            below.max(above)
        });
        let (distance, bound) = (distances.fold(0.0, f64::max), 1.95 / (DRAWS as f64).sqrt());
        assert!(distance < bound, "{distribution:?}: {distance}, bound {bound}");
        let mean = all.iter().sum::<f64>() / DRAWS as f64;
        let error = (mean - distribution.mean().as_secs_f64()).abs();
        assert!(error < 3.3 * deviation / (DRAWS as f64).sqrt(), "{distribution:?}: {error}");
    }

    #[test]
    fn draws_follow_their_distribution() {
        let uniform = Distribution::Uniform { from: ms(10), to: ms(90) };
        assert_follows(&uniform, 0.080 / 12f64.sqrt(), |seconds| (seconds - 0.010) / 0.080);
        let exponential = Distribution::Exponential { mean: ms(50) };
        assert_follows(&exponential, 0.050, |seconds| 1.0 - (-seconds / 0.050).exp());
        let log_normal = Distribution::LogNormal { median: ms(40), sigma: 0.5 };
        let normal = |x: f64| 0.5 * libm::erfc(-x / 2f64.sqrt());
        let deviation = 0.040 * (0.25f64.exp() * (0.25f64.exp() - 1.0)).sqrt();
        assert_follows(&log_normal, deviation, |seconds| normal((seconds / 0.040).ln() / 0.5));
    }

    #[test]
    fn both_ends_of_a_uniform_distribution_are_drawn() {
        let (from, to) = (Duration::from_nanos(3), Duration::from_nanos(4));
        let seen = drawn(&Distribution::Uniform { from, to });
        assert_eq!((seen[0], seen[DRAWS - 1]), (3e-9, 4e-9));
    }

    #[test]
    fn samples_are_equally_likely() {
        let samples = samples("ms\n3\n1\n2\n1");
        let seen = drawn(&samples);
        let share = |value: f64| seen.iter().filter(|n| **n == value).count() as f64 / DRAWS as f64;
        for (value, expected) in [(0.001, 0.5), (0.002, 0.25), (0.003, 0.25)] {
            let error = (share(value) - expected).abs();
            assert!(error < 3.3 * 0.5 / (DRAWS as f64).sqrt(), "{value}: {error}");
        }
        assert_eq!(samples.mean(), Duration::from_micros(1_750));
    }

    #[test]
    fn a_constant_draws_no_number() {
        let mut rng = stream();
        assert_eq!(Distribution::Constant(ms(50)).sample(&mut rng), ms(50));
        assert_eq!(rng.position(), 0);
    }

    #[test]
    fn no_draw_is_longer_than_a_day() {
        let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, -1e300];
        let distributions = odd
            .map(|sigma| Distribution::LogNormal { median: LONGEST, sigma })
            .into_iter()
            .chain([
                Distribution::Constant(Duration::MAX),
                Distribution::Exponential { mean: Duration::MAX },
                Distribution::Uniform { from: Duration::MAX, to: Duration::ZERO },
                Distribution::Uniform { from: Duration::ZERO, to: Duration::MAX },
                Distribution::Samples(Samples::at("not loaded")),
            ]);
        for distribution in distributions {
            let mut rng = stream();
            let longest = (0..1_000).map(|_| distribution.sample(&mut rng)).max().unwrap();
            assert!(longest <= LONGEST, "{distribution:?}");
            let _ = distribution.mean();
        }
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Page {
        latency: Distribution,
    }

    fn read(text: &str) -> Result<Distribution, String> {
        let page: Result<Page, _> = toml::from_str(&format!("latency = {text}"));
        page.map(|page| page.latency).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn distributions_are_read_and_written() {
        for (text, distribution) in [
            ("\"50ms\"", Distribution::Constant(ms(50))),
            (
                "{ uniform = { from = \"10ms\", to = \"90ms\" } }",
                Distribution::Uniform { from: ms(10), to: ms(90) },
            ),
            ("{ exponential = { mean = \"50ms\" } }", Distribution::Exponential { mean: ms(50) }),
            (
                "{ log-normal = { median = \"40ms\", sigma = 0.5 } }",
                Distribution::LogNormal { median: ms(40), sigma: 0.5 },
            ),
            ("{ samples = \"measured.csv\" }", Distribution::Samples(Samples::at("measured.csv"))),
        ] {
            assert_eq!(read(text).as_ref(), Ok(&distribution), "{text}");
            let page = Page { latency: distribution };
            let written = toml::to_string(&page).unwrap();
            assert_eq!(toml::from_str::<Page>(&written).unwrap(), page, "{written}");
        }
        for text in ["50", "{}", "\"soon\"", "{ normal = \"1s\" }", "{ exponential = \"1s\" }"] {
            let error = read(text).unwrap_err();
            assert!(error.starts_with("a duration like \"50ms\", { uniform = "), "{error}");
        }
    }

    #[test]
    fn parameters_beyond_their_limits_are_refused() {
        for (text, sentence) in [
            (
                "{ uniform = { from = \"90ms\", to = \"10ms\" } }",
                "is from 90ms to 10ms; the first duration must not be longer than the second",
            ),
            ("\"25h\"", "is 1day 1h; a duration must be from 0s to 24h"),
            (
                "{ log-normal = { median = \"1s\", sigma = -0.5 } }",
                "has the sigma -0.5; it must be from 0 to 3",
            ),
            (
                "{ log-normal = { median = \"1s\", sigma = nan } }",
                "has the sigma NaN; it must be from 0 to 3",
            ),
        ] {
            assert_eq!(read(text).unwrap().check().unwrap_err().to_string(), sentence);
        }
        assert!(Distribution::Exponential { mean: LONGEST }.check().is_ok());
    }

    #[test]
    fn values_of_a_file_have_units_or_a_header() {
        let nanos = |text: &str| parse(text).unwrap().to_vec();
        assert_eq!(nanos("1.5ms\n 2s 1ns\n\n# later\n0\n"), [1_500_000, 2_000_000_001, 0]);
        assert_eq!(nanos("latency_ms\r\n1.5\r\n2\r\n7us\r\n"), [1_500_000, 2_000_000, 7_000]);
        for (unit, value) in [("ns", 2), ("us", 2_000), ("µs", 2_000), ("min", 120_000_000_000)] {
            assert_eq!(nanos(&format!("\u{feff}round trip ({unit})\n2")), [value], "{unit}");
        }
        for (text, line) in [
            ("latency\n\n12", 3),
            ("ms\n1\n-1", 3),
            ("ms\nnan", 2),
            ("h\n24.5", 2),
            ("1ms\nsoon", 2),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(&format!("line {line} is ")), "{error}");
        }
        let error = parse("latency_ms\n# nothing\n").unwrap_err().to_string();
        assert_eq!(error, "names a file without durations");
    }

    #[test]
    fn samples_are_loaded_from_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("good.csv"), "ms\n1\n2\n").unwrap();
        let mut good = Distribution::Samples(Samples::at("good.csv"));
        assert!(!good.is_loaded());
        good.load(folder.path()).unwrap();
        assert_eq!((good.is_loaded(), good.mean()), (true, Duration::from_micros(1_500)));
        let mut missing = Distribution::Samples(Samples::at("no.csv"));
        let error = missing.load(folder.path()).unwrap_err().to_string();
        assert!(error.contains("no.csv, which can't be read: "), "{error}");
        assert!(!missing.is_loaded());
    }
}
