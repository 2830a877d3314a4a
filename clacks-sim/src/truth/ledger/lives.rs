//! What the lives of towers mean for what they hold and what they remember.

use super::Ledger;
use super::copies::{Flags, Kind, NOWHERE};
use crate::observation::TowerId;
use crate::truth::totals::LossCause;
use crate::truth::violation::{Checker, Scene, Violations};

impl Ledger {
    /// A tower is gone, and all that it held with it. Returns how many messages that were.
    pub(super) fn end_life(
        &mut self,
        tower: TowerId,
        cause: LossCause,
        scene: Scene,
        found: &mut Violations,
    ) -> u64 {
        self.unclear.retain(|(other, _)| *other != tower);
        let mut held = 0;
        while self.tower(tower).head != NOWHERE {
            let place = self.tower(tower).head;
            let copy = *self.copies.get(place);
            let message = copy.message;
            held += 1;
            let mut gone = u32::from(copy.flags.has(Flags::AGAIN));
            match copy.kind {
                Kind::InFlight if copy.flags.has(Flags::TAKEN) => {
                    self.record(message).shadows -= 1;
                    if copy.flags.has(Flags::ASKED_LATE) {
                        self.add_stray(message, tower, copy.to);
                    }
                }
                Kind::InFlight => self.make_orphan(message, tower, copy.to, cause),
                _ => gone += 1,
            }
            self.totals.in_flight -= u64::from(copy.kind == Kind::InFlight);
            for _ in 0..gone {
                self.totals.copies -= 1;
                self.record(message).copies -= 1;
                self.lose(message, cause);
            }
            self.release(place);
            self.weigh(message);
        }
        if held > 0 && cause == LossCause::Unexplained {
            found.add(Checker::Conservation, scene, || {
                format!("tower {} came up, and had {held} messages from before", tower.0)
            });
        }
        self.forget(tower);
        let state = self.tower(tower);
        (state.is_paused, state.is_off) = (false, false);
        held
    }

    /// What a tower took from whom is forgotten, or may be.
    pub(super) fn forget(&mut self, tower: TowerId) {
        let state = self.tower(tower);
        state.epoch = state.epoch.wrapping_add(1);
    }

    /// A clock that is slow or was put back keeps links open for longer; one that is fast or was put forward lets its tower forget earlier.
    pub(super) fn on_clock(&mut self, tower: TowerId, step: i64, drift_ppm: i32) {
        if step > 0 {
            self.forget(tower);
        }
        let back = step.min(0).unsigned_abs().div_ceil(1_000_000_000);
        self.put_back = self.put_back.saturating_add(back);
        self.slowest_ppm = self.slowest_ppm.min(drift_ppm.max(-900_000));
        self.fastest_ppm = self.fastest_ppm.max(drift_ppm);
        let slow = by_pace(self.idle, self.slowest_ppm);
        self.linger = u32::try_from(slow.saturating_add(self.put_back)).unwrap_or(u32::MAX);
        self.memory = u32::try_from(by_pace(self.usual_memory, self.fastest_ppm)).unwrap_or(0);
    }
}

/// How many seconds pass until a clock that is fast by so many parts per million says that these have.
fn by_pace(seconds: u32, fast_ppm: i32) -> u64 {
    let pace = 1_000_000 + i64::from(fast_ppm);
    u64::from(seconds) * 1_000_000 / pace.unsigned_abs().max(1)
}
