//! The Unix time of a machine that has only a monotonic clock.

use clacks_proto::Instant;

/// The Unix time, counted on from the last time at which it was set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    unix: u64,
    set_at: Instant,
}

impl Clock {
    /// Returns a clock that shows `unix` at an instant, in seconds.
    pub(crate) fn new(unix: u64, at: Instant) -> Self {
        Self { unix, set_at: at }
    }

    /// Returns the Unix time in seconds.
    pub(crate) fn unix(self, now: Instant) -> u64 {
        self.unix.saturating_add(now.duration_since(self.set_at).as_secs())
    }
}
