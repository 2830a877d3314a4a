//! The clock of one tower: it may be ahead or behind, and may be fast or slow.

use clacks_proto::Instant;

const MILLION: i128 = 1_000_000;

/// The clock of one tower. The default clock shows the time of the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Clock {
    /// The time of the network at the last change.
    changed_at: u64,
    /// What the clock would have shown then, if it could go back.
    shown: i128,
    /// By how many parts per million the clock is fast since then.
    drift_ppm: i32,
    /// The clock never shows less than this. A clock that is set back stands still.
    floor: u64,
}

impl Clock {
    /// Returns what the clock shows at a time of the network.
    pub(crate) fn time(&self, at: u64) -> Instant {
        if *self == Self::default() {
            return Instant::from_nanos(at);
        }
        let shown = u64::try_from(self.unbounded(at).max(0)).unwrap_or(u64::MAX);
        Instant::from_nanos(shown.max(self.floor))
    }

    /// Returns the first time of the network at which the clock shows `local`.
    pub(crate) fn reaches(&self, local: Instant) -> u64 {
        if *self == Self::default() {
            return local.as_nanos();
        }
        if local.as_nanos() <= self.floor {
            return self.changed_at;
        }
        let missing = (i128::from(local.as_nanos()) - self.shown).max(0);
        // Rounded up, because a timer that fires early would have to be set again.
        let takes = (missing * MILLION + self.pace() - 1) / self.pace();
        u64::try_from(i128::from(self.changed_at) + takes).unwrap_or(u64::MAX)
    }

    /// Sets the clock forward or back by `step` nanoseconds, and changes its pace.
    pub(crate) fn change(&mut self, at: u64, step: i64, drift_ppm: i32) {
        *self = Self {
            changed_at: at,
            // The rest of an earlier step back still counts.
            shown: self.unbounded(at) + i128::from(step),
            // The pace stays positive, so that the clock reaches every time.
            drift_ppm: drift_ppm.clamp(-900_000, 9_000_000),
            floor: self.time(at).as_nanos(),
        };
    }

    fn unbounded(&self, at: u64) -> i128 {
        let passed = i128::from(at) - i128::from(self.changed_at);
        self.shown + passed * self.pace() / MILLION
    }

    fn pace(&self) -> i128 {
        MILLION + i128::from(self.drift_ppm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(step: i64, drift_ppm: i32) -> Clock {
        let mut clock = Clock::default();
        clock.change(1_000, step, drift_ppm);
        clock
    }

    #[test]
    fn a_clock_set_forward_shows_more() {
        let clock = changed(500, 0);
        assert_eq!(clock.time(1_000).as_nanos(), 1_500);
        assert_eq!(clock.time(2_000).as_nanos(), 2_500);
        assert_eq!(clock.reaches(Instant::from_nanos(2_500)), 2_000);
    }

    #[test]
    fn a_clock_set_back_stands_still() {
        let clock = changed(-500, 0);
        assert_eq!(clock.time(1_000).as_nanos(), 1_000);
        assert_eq!(clock.time(1_400).as_nanos(), 1_000);
        assert_eq!(clock.time(1_600).as_nanos(), 1_100);
        assert_eq!(clock.reaches(Instant::from_nanos(1_100)), 1_600);
    }

    #[test]
    fn a_clock_that_stands_still_has_reached_what_it_shows() {
        let clock = changed(-500, 0);
        for local in [0, 700, 1_000] {
            assert!(clock.reaches(Instant::from_nanos(local)) <= 1_000, "{local}");
        }
        assert_eq!(clock.reaches(Instant::from_nanos(1_001)), 1_501);
    }

    #[test]
    fn a_change_does_not_start_a_clock_that_stands_still() {
        let mut clock = changed(-500, 0);
        clock.change(1_200, 0, 0);
        assert_eq!(clock.time(1_500).as_nanos(), 1_000);
        assert_eq!(clock.time(1_600).as_nanos(), 1_100);
        clock.change(1_600, -200, 0);
        clock.change(1_700, -100, 0);
        assert_eq!(clock.time(1_900).as_nanos(), 1_100);
        assert_eq!(clock.time(2_000).as_nanos(), 1_200);
    }

    #[test]
    fn a_fast_clock_gains_and_a_slow_one_loses() {
        assert_eq!(changed(0, 100_000).time(11_000).as_nanos(), 12_000);
        assert_eq!(changed(0, -100_000).time(11_000).as_nanos(), 10_000);
    }

    #[test]
    fn a_clock_shows_a_time_when_it_has_reached_it_and_not_before() {
        for drift in [-899_999, -77, 3, 333_333] {
            let clock = changed(12_345, drift);
            for local in [20_000, 30_001, 77_777] {
                let at = clock.reaches(Instant::from_nanos(local));
                assert!(clock.time(at).as_nanos() >= local);
                assert!(clock.time(at - 1).as_nanos() < local);
            }
        }
    }
}
