//! What the towers' clocks say, worked out from what was done to them.

use clacks_proto::Instant;

use crate::observation::TowerId;

/// The clocks of all towers. Most are right and take no memory.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    /// By tower, as long as anybody's clock was changed.
    wrong: Vec<Option<Clock>>,
}

/// A clock that was changed.
#[derive(Clone, Copy, Debug)]
struct Clock {
    since: Instant,
    said: i128,
    drift_ppm: i32,
    /// It stands still rather than going back.
    floor: u64,
}

impl Clocks {
    /// What a tower's clock says at a moment of the run.
    pub(super) fn says(&self, tower: TowerId, at: Instant) -> Instant {
        let Some(Some(clock)) = self.wrong.get(tower.0 as usize) else { return at };
        let passed = i128::from(at.as_nanos().saturating_sub(clock.since.as_nanos()));
        let says = clock.said + passed + passed * i128::from(clock.drift_ppm) / 1_000_000;
        Instant::from_nanos(u64::try_from(says).unwrap_or(0).max(clock.floor))
    }

    /// A tower's clock jumps, and is fast from now on.
    pub(super) fn change(&mut self, tower: TowerId, at: Instant, step: i64, drift_ppm: i32) {
        let says = self.says(tower, at).as_nanos();
        let place = tower.0 as usize;
        if self.wrong.len() <= place {
            self.wrong.resize(place + 1, None);
        }
        let said = i128::from(says) + i128::from(step);
        self.wrong[place] = Some(Clock { since: at, said, drift_ppm, floor: says });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_jump_drift_and_never_go_back() {
        let mut clocks = Clocks::default();
        let at = Instant::from_nanos;
        let says = |clocks: &Clocks, tower, now| clocks.says(TowerId(tower), at(now)).as_nanos();
        assert_eq!(says(&clocks, 3, 500), 500);
        clocks.change(TowerId(3), at(1_000), 300, 0);
        assert_eq!(says(&clocks, 3, 2_000), 2_300);
        assert_eq!(says(&clocks, 2, 2_000), 2_000, "another one is right");
        clocks.change(TowerId(3), at(2_000), -500, 0);
        assert_eq!(says(&clocks, 3, 2_400), 2_300, "it stands still");
        assert_eq!(says(&clocks, 3, 2_700), 2_500);
        clocks.change(TowerId(3), at(3_000), 0, 100_000);
        assert_eq!(says(&clocks, 3, 13_000), 2_800 + 11_000);
    }
}
