//! Time goes on: no tower is busy for ever in one instant.

use clacks_proto::Instant;

use super::violation::{Checker, Scene, Violations};
use crate::observation::TowerId;

/// Watches how many events a tower has in one instant: more than a number of them means that it keeps itself busy, and is said once for each instant.
#[derive(Debug)]
pub(super) struct Spinning {
    limit: u32,
    towers: Vec<Turn>,
}

#[derive(Clone, Copy, Debug)]
struct Turn {
    at: Instant,
    events: u32,
}

impl Spinning {
    pub(super) fn new(towers: u32, limit: u32) -> Self {
        Self { limit, towers: vec![Turn { at: Instant::ORIGIN, events: 0 }; towers as usize] }
    }

    /// A tower has dealt with one more event.
    pub(super) fn look(&mut self, at: Instant, tower: TowerId, found: &mut Violations) {
        let Some(turn) = self.towers.get_mut(tower.0 as usize) else { return };
        if turn.at != at {
            *turn = Turn { at, events: 0 };
        }
        turn.events = turn.events.saturating_add(1);
        if turn.events == self.limit.saturating_add(1) {
            let limit = self.limit;
            found.add(Checker::Spinning, Scene::of(at, tower), || {
                format!("tower {} has more than {limit} events in one instant", tower.0)
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tower_that_spins_is_found_once_for_each_instant() {
        let mut spinning = Spinning::new(2, 3);
        let mut found = Violations::default();
        for instant in [5, 6] {
            for _ in 0..10 {
                spinning.look(Instant::from_nanos(instant), TowerId(1), &mut found);
            }
        }
        assert_eq!(found.count_of(Checker::Spinning), 2);
    }

    #[test]
    fn many_events_of_many_towers_and_instants_are_no_spinning() {
        let mut spinning = Spinning::new(2, 3);
        let mut found = Violations::default();
        for instant in 0..1_000 {
            for tower in [0, 1, 0, 1, 0, 1] {
                spinning.look(Instant::from_nanos(instant), TowerId(tower), &mut found);
            }
        }
        assert_eq!(found.count(), 0);
    }
}
