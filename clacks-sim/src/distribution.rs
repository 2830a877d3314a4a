//! How long things take, when that differs from time to time.

mod samples;
mod serial;

use std::path::Path;
use std::time::Duration;

pub use samples::{Samples, SamplesError};

use crate::rng::Draws;

/// A law of durations.
///
/// In a scenario it is written as text for a constant, and as a table with a single key for all others:
///
/// ```toml
/// latency = "50ms"
/// latency = { uniform = ["10ms", "90ms"] }
/// latency = { exponential = "50ms" }
/// latency = { log-normal = { median = "40ms", sigma = 0.5 } }
/// latency = { samples = "measured.csv" }
/// ```
///
/// Everything is computed with the same software on every platform: a seed gives the same durations, to the nanosecond, everywhere.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Distribution {
    /// Always the same.
    Constant(Duration),
    /// Any duration of a range, equally likely.
    Uniform {
        /// The shortest.
        from: Duration,
        /// The longest, which is possible too.
        to: Duration,
    },
    /// The time until something that may happen at every moment: the law of lives and of pauses.
    Exponential {
        /// What the durations come to on average.
        mean: Duration,
    },
    /// Many independent factors multiplied: never near zero, with a long tail. The law of delays on the Internet, roughly.
    LogNormal {
        /// Half of the durations are shorter.
        median: Duration,
        /// The standard deviation of the logarithm: two thirds of the durations lie between the median divided by and multiplied with `exp(sigma)`.
        sigma: f64,
    },
    /// One of measured values, each equally likely.
    Samples(Samples),
}

/// No duration is longer, neither as a parameter nor as a draw: longer draws of an exponential or log-normal law are cut off here. It keeps
/// a simulation's clock far from its end.
pub const LONGEST: Duration = Duration::from_secs(24 * 3_600);

/// The widest log-normal law. At 3, one duration in 20 is beyond 350 times the median or its 350th part; wider laws are mistakes.
pub const WIDEST_SIGMA: f64 = 3.0;

impl Distribution {
    /// Draws a duration: at most [`LONGEST`]. Samples that are not loaded give zero.
    ///
    /// For each law the number of words taken from the stream is the same each time (0, 1, 1, 2 and 1, in the order of the variants), except that
    /// an unlucky word of `Uniform` or `Samples` is drawn again.
    pub fn sample(&self, draws: &mut Draws) -> Duration {
        let nanos = match self {
            Self::Constant(duration) => whole(*duration),
            Self::Uniform { from, to } => {
                let (from, to) = (whole(*from), whole(*to));
                from + draws.below(to.saturating_sub(from) + 1)
            }
            Self::Exponential { mean } => {
                // 1 - unit is never 0, whose logarithm is infinite.
                to_nanos(real(*mean) * -libm::log(1.0 - draws.unit()))
            }
            Self::LogNormal { median, sigma } => {
                to_nanos(real(*median) * libm::exp(sigma * standard_normal(draws)))
            }
            Self::Samples(samples) => {
                let index = draws.below(samples.nanos().len() as u64);
                usize::try_from(index).ok().and_then(|at| samples.nanos().get(at)).map_or(0, |n| *n)
            }
        };
        Duration::from_nanos(nanos).min(LONGEST)
    }

    /// What durations come to on average, before any is cut off at [`LONGEST`].
    #[must_use]
    pub fn mean(&self) -> Duration {
        match self {
            Self::Constant(duration) | Self::Exponential { mean: duration } => *duration,
            Self::Uniform { from, to } => from.saturating_add(*to) / 2,
            Self::LogNormal { median, sigma } => {
                let nanos = real(*median) * libm::exp(sigma * sigma / 2.0);
                Duration::from_nanos(to_nanos(nanos))
            }
            Self::Samples(samples) => samples.mean(),
        }
    }

    /// Reads the file of samples, if there is one, relative to the folder `base`.
    ///
    /// # Errors
    /// When the file can't be read or is no list of durations. The distribution is as it was.
    pub fn load(&mut self, base: &Path) -> Result<(), SamplesError> {
        match self {
            Self::Samples(samples) => samples.load(base),
            _ => Ok(()),
        }
    }

    /// Whether all numbers are in their ranges and samples loaded. Reading a scenario checks the ranges already.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), DistributionError> {
        self.check_ranges()?;
        match self {
            Self::Samples(samples) if samples.nanos().is_empty() => {
                Err(DistributionError::NotLoaded)
            }
            _ => Ok(()),
        }
    }

    fn check_ranges(&self) -> Result<(), DistributionError> {
        let longest = match self {
            Self::Constant(duration) => *duration,
            Self::Uniform { from, to } if from > to => {
                return Err(DistributionError::Backwards { from: *from, to: *to });
            }
            Self::Uniform { to, .. } => *to,
            Self::Exponential { mean } => *mean,
            Self::LogNormal { sigma, .. } if !(0.0..=WIDEST_SIGMA).contains(sigma) => {
                return Err(DistributionError::Sigma(*sigma));
            }
            Self::LogNormal { median, .. } => *median,
            // Each was checked when it was read.
            Self::Samples(_) => Duration::ZERO,
        };
        if longest > LONGEST { Err(DistributionError::TooLong(longest)) } else { Ok(()) }
    }
}

/// Why a distribution is none. It was only looked at.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum DistributionError {
    /// A duration of more than [`LONGEST`].
    TooLong(Duration),
    /// The longest duration is shorter than the shortest.
    Backwards {
        /// The one that should be the shortest.
        from: Duration,
        /// The one that should be the longest.
        to: Duration,
    },
    /// Not a number of 0 to [`WIDEST_SIGMA`].
    Sigma(f64),
    /// [`Distribution::load`] comes first.
    NotLoaded,
}

impl std::fmt::Display for DistributionError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |duration: &Duration| humantime::format_duration(*duration);
        match self {
            Self::TooLong(duration) => {
                write!(
                    f,
                    "a duration lies between 0s and {}, not {}",
                    text(&LONGEST),
                    text(duration)
                )
            }
            Self::Backwards { from, to } => write!(
                f,
                "a uniform range goes from the shorter to the longer duration, not from {} to {}",
                text(from),
                text(to)
            ),
            Self::Sigma(sigma) => {
                write!(
                    f,
                    "the sigma of a log-normal law lies between 0 and {WIDEST_SIGMA}, not {sigma}"
                )
            }
            Self::NotLoaded => f.write_str("the file of samples has to be loaded first"),
        }
    }
}

impl std::error::Error for DistributionError {}

/// A draw of mean 0 and standard deviation 1 (Box and Muller's way, whose second number is left unused so that no state is kept).
fn standard_normal(draws: &mut Draws) -> f64 {
    let radius = libm::sqrt(-2.0 * libm::log(1.0 - draws.unit()));
    radius * libm::cos(std::f64::consts::TAU * draws.unit())
}

/// A duration in nanoseconds, at most [`LONGEST`].
fn whole(duration: Duration) -> u64 {
    u64::try_from(duration.min(LONGEST).as_nanos()).unwrap_or(0)
}

#[allow(clippy::cast_precision_loss, reason = "a day has less than 2^53 nanoseconds")]
fn real(duration: Duration) -> f64 {
    whole(duration) as f64
}

/// To the next whole number; nothing below 0, nor what is not a number.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
fn to_nanos(nanos: f64) -> u64 {
    libm::round(nanos) as u64
}

#[cfg(test)]
#[allow(clippy::cast_precision_loss, clippy::float_cmp, reason = "small and exact numbers")]
mod tests;
