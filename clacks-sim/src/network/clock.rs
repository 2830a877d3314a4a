//! What time a tower thinks it is: its clock may be ahead, and may be fast or slow.

use clacks_proto::Instant;

const MILLION: i128 = 1_000_000;

/// The clock of one tower. The default is right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Clock {
    /// From this moment of the world on...
    since: u64,
    /// ...when the clock said this...
    said: i128,
    /// ...it is fast by so many parts per million...
    drift_ppm: i32,
    /// ...but never says less than this: a clock that was put back stands still until then.
    floor: u64,
}

impl Clock {
    /// What it says at a moment of the world.
    pub(crate) fn says(&self, at: u64) -> Instant {
        if *self == Self::default() {
            return Instant::from_nanos(at);
        }
        Instant::from_nanos(u64::try_from(self.would_say(at)).unwrap_or(0).max(self.floor))
    }

    /// The first moment of the world at which it says so much.
    pub(crate) fn reaches(&self, says: Instant) -> u64 {
        if *self == Self::default() {
            return says.as_nanos();
        }
        if says.as_nanos() <= self.floor {
            return self.since;
        }
        let missing = (i128::from(says.as_nanos()) - self.said).max(0);
        // Rounded up: a timer that fires early would have to be set again.
        let takes = (missing * MILLION + self.pace() - 1) / self.pace();
        u64::try_from(i128::from(self.since) + takes).unwrap_or(u64::MAX)
    }

    /// Puts it forward or back, and makes it go faster or slower.
    pub(crate) fn change(&mut self, at: u64, step: i64, drift_ppm: i32) {
        *self = Self {
            since: at,
            // What is left of an earlier step back still counts.
            said: self.would_say(at) + i128::from(step),
            // A clock that went backwards would never reach anything.
            drift_ppm: drift_ppm.clamp(-900_000, 9_000_000),
            floor: self.says(at).as_nanos(),
        };
    }

    /// What it would say if it could stand at less than it has said already.
    fn would_say(&self, at: u64) -> i128 {
        let passed = i128::from(at) - i128::from(self.since);
        self.said + passed * self.pace() / MILLION
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
    fn a_clock_that_was_put_forward_says_more() {
        let clock = changed(500, 0);
        assert_eq!(clock.says(1_000).as_nanos(), 1_500);
        assert_eq!(clock.says(2_000).as_nanos(), 2_500);
        assert_eq!(clock.reaches(Instant::from_nanos(2_500)), 2_000);
    }

    #[test]
    fn a_clock_that_was_put_back_stands_still() {
        let clock = changed(-500, 0);
        assert_eq!(clock.says(1_000).as_nanos(), 1_000);
        assert_eq!(clock.says(1_400).as_nanos(), 1_000);
        assert_eq!(clock.says(1_600).as_nanos(), 1_100);
        assert_eq!(clock.reaches(Instant::from_nanos(1_100)), 1_600);
    }

    #[test]
    fn what_a_clock_that_stands_still_says_is_reached() {
        let clock = changed(-500, 0);
        for says in [0, 700, 1_000] {
            assert!(clock.reaches(Instant::from_nanos(says)) <= 1_000, "{says}");
        }
        assert_eq!(clock.reaches(Instant::from_nanos(1_001)), 1_501);
    }

    #[test]
    fn a_clock_that_is_changed_while_it_stands_still_goes_on_doing_so() {
        let mut clock = changed(-500, 0);
        clock.change(1_200, 0, 0);
        assert_eq!(clock.says(1_500).as_nanos(), 1_000);
        assert_eq!(clock.says(1_600).as_nanos(), 1_100);
        clock.change(1_600, -200, 0);
        clock.change(1_700, -100, 0);
        assert_eq!(clock.says(1_900).as_nanos(), 1_100);
        assert_eq!(clock.says(2_000).as_nanos(), 1_200);
    }

    #[test]
    fn a_fast_clock_gains_and_a_slow_one_loses() {
        assert_eq!(changed(0, 100_000).says(11_000).as_nanos(), 12_000);
        assert_eq!(changed(0, -100_000).says(11_000).as_nanos(), 10_000);
    }

    #[test]
    fn what_it_says_when_it_is_reached_is_enough() {
        for drift in [-899_999, -77, 3, 333_333] {
            let clock = changed(12_345, drift);
            for says in [20_000, 30_001, 77_777] {
                let at = clock.reaches(Instant::from_nanos(says));
                assert!(clock.says(at).as_nanos() >= says);
                assert!(clock.says(at - 1).as_nanos() < says);
            }
        }
    }
}
