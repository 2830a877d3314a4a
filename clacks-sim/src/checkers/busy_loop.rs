//! Busy loop: virtual time advances.

use clacks_proto::Instant;

use super::violation::{Checker, Violations};
use crate::observation::TowerId;

/// The number of events in one instant that are always allowed (guess: all that arrived during a
/// long pause of a tower is handled in the instant in which the tower goes on).
const EVENTS: u64 = 100_000;

/// The number of events in one instant that are allowed for each tower (guess: all towers of a
/// network may start in one instant, each with its contacts).
const EVENTS_PER_TOWER: u64 = 100;

/// Counts the events of one instant. A tower, or several together, that cause events without end
/// would keep virtual time from advancing.
#[derive(Debug)]
pub(super) struct BusyLoop {
    limit: u64,
    at: Instant,
    events: u64,
}

impl BusyLoop {
    pub(super) fn new(towers: u32) -> Self {
        let limit = EVENTS + EVENTS_PER_TOWER * u64::from(towers);
        Self { limit, at: Instant::ORIGIN, events: 0 }
    }

    #[inline]
    pub(super) fn after(&mut self, at: Instant, tower: TowerId, found: &mut Violations) {
        if self.at != at {
            (self.at, self.events) = (at, 0);
        }
        self.events += 1;
        if self.events == self.limit + 1 {
            let limit = self.limit;
            // The last tower may be a role. The loop is reported all the same.
            found.report(Checker::BusyLoop, None, None, || {
                format!("more than {limit} events in one instant, the last at tower {}", tower.0)
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the violations of two towers with this number of events in each of 3 instants.
    fn violations(events: u64) -> u64 {
        let (mut busy_loop, mut found) = (BusyLoop::new(2), Violations::default());
        for instant in 0..3 {
            for event in 0..events {
                let tower = TowerId(u32::from(event % 2 == 0));
                busy_loop.after(Instant::from_nanos(instant), tower, &mut found);
            }
        }
        found.count()
    }

    #[test]
    fn events_without_end_in_one_instant_bite_once_in_each_instant() {
        let limit = BusyLoop::new(2).limit;
        assert_eq!(violations(limit), 0);
        assert_eq!(violations(2 * limit + 2), 3);
    }
}
