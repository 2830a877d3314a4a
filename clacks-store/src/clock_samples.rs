//! How far the clock of this machine is from the clocks of towers.
//!
//! Each inventory has the minute of its tower. One tower may lie, so the median of several counts.

use alloc::vec::Vec;

/// The fewest towers whose clocks count.
const MIN_TOWERS: usize = 3;
/// The most towers whose clocks are kept. More would not change the median.
const MAX_TOWERS: usize = 256;
/// A difference of so many minutes is none: stores and clocks differ by as much.
const SKEW: i32 = 5;

/// The differences between the clocks of towers and that of this machine.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClockSamples(Vec<i32>);

impl ClockSamples {
    /// Adds the clocks of a tower and of this machine, as Unix minutes.
    pub(crate) fn push(&mut self, theirs: u32, own: u32) {
        if self.0.len() < MAX_TOWERS {
            let minutes = i64::from(theirs) - i64::from(own);
            let limit = i64::from(i32::MAX);
            self.0.push(i32::try_from(minutes.clamp(-limit, limit)).unwrap_or(0));
        }
    }

    /// Returns by how many minutes the clocks of towers are ahead of that of this machine, or
    /// behind it if negative. `None` if most of them differ by at most 5 minutes, or if fewer than
    /// three towers are known.
    pub(crate) fn difference(&self) -> Option<i32> {
        if self.0.len() < MIN_TOWERS {
            return None;
        }
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        // Of two in the middle, the one that differs less.
        let middle = [(sorted.len() - 1) / 2, sorted.len() / 2];
        let middle = middle.into_iter().filter_map(|place| sorted.get(place).copied());
        middle.min_by_key(|minutes| minutes.abs()).filter(|minutes| minutes.abs() > SKEW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(minutes: &[i64]) -> Option<i32> {
        let own = 30_000_000;
        let mut samples = ClockSamples::default();
        for minutes in minutes {
            samples.push(u32::try_from(i64::from(own) + minutes).unwrap(), own);
        }
        samples.difference()
    }

    #[test]
    fn most_clocks_must_differ() {
        assert_eq!(difference(&[90, 90]), None, "two towers are too few");
        assert_eq!(difference(&[90, 91, 92]), Some(91));
        assert_eq!(difference(&[-7, -6, -8, -6]), Some(-6));
        assert_eq!(difference(&[5, 5, 5]), None);
        assert_eq!(difference(&[0, 0, 90_000]), None, "one liar");
        assert_eq!(difference(&[0, 0, 90, 90]), None, "half of them lie");
        assert_eq!(difference(&[0, -90, 90]), None);
    }

    #[test]
    fn any_clocks_can_be_compared() {
        let mut samples = ClockSamples::default();
        (0..MAX_TOWERS + 9).for_each(|_| samples.push(u32::MAX, 0));
        assert_eq!((samples.difference(), samples.0.len()), (Some(i32::MAX), MAX_TOWERS));
    }
}
