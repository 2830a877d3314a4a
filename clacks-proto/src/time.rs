//! Time in nanoseconds since an origin that the driver chose.

use core::fmt;
use core::ops::Add;
use core::time::Duration;

/// A point in time, in nanoseconds since the driver's origin.
///
/// The core has no clock. A driver reads its own monotonic clock, subtracts the time at which it
/// created the tower, and passes the difference. 64 bits of nanoseconds last 584 years. All
/// arithmetic saturates. The time of a tower never decreases: an earlier `now` is replaced by the
/// latest one that was passed.
///
/// ```
/// use clacks_proto::Instant;
/// use core::time::Duration;
///
/// let start = Instant::ORIGIN;
/// let later = start + Duration::from_millis(250);
/// assert_eq!(later.duration_since(start), Duration::from_millis(250));
/// assert_eq!(start.duration_since(later), Duration::ZERO);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Instant(u64);

impl Instant {
    /// The driver's origin, at which its clock reads zero.
    pub const ORIGIN: Self = Self(0);
    /// The last representable point in time.
    pub const FAR_FUTURE: Self = Self(u64::MAX);

    /// Returns the point in time `nanoseconds` after the origin.
    #[must_use]
    pub const fn from_nanos(nanoseconds: u64) -> Self {
        Self(nanoseconds)
    }

    /// Returns the nanoseconds since the origin.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Adds nanoseconds.
    pub(crate) fn plus_nanos(self, after: u64) -> Self {
        Self(self.0.saturating_add(after))
    }

    /// Returns the time that has passed since `earlier`, or zero if `earlier` is later.
    #[must_use]
    pub fn duration_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, after: Duration) -> Self {
        self.plus_nanos(nanos(after))
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", Duration::from_nanos(self.0))
    }
}

/// Returns a duration in nanoseconds, or `u64::MAX` if it is longer.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Instant::FAR_FUTURE + Duration::from_secs(1), Instant::FAR_FUTURE);
        assert_eq!(Instant::ORIGIN + Duration::MAX, Instant::FAR_FUTURE);
        assert_eq!(Instant::ORIGIN.duration_since(Instant::FAR_FUTURE), Duration::ZERO);
    }
}
