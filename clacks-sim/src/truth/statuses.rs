//! A peer's status changes only in the ways that the protocol knows.

use std::time::Duration;

use clacks_proto::{Instant, Status};

use super::clocks::Clocks;
use super::pairs::Pairs;
use super::violation::{Checker, Scene, Violations};
use crate::observation::{Observation, Observed, TowerId};

/// Watches every change of status.
///
/// A new peer becomes alive, lost or ignored; an alive one lost or ignored; a lost one alive, dead or ignored; a dead one alive or ignored; an ignored
/// one new. What a tower says that the status was is what it last said that it is, and it calls a peer dead only after it was lost, by the tower's own clock,
/// for longer than the kill timer. The last two are checked for the first towers only, as many as it is told to, to take little memory.
#[derive(Debug)]
pub(super) struct Statuses {
    kill_timeout: Duration,
    standings: Pairs<Snapshot>,
    towers: Vec<Observer>,
    clocks: Clocks,
}

/// What a tower last said of a peer.
#[derive(Clone, Copy, Debug)]
struct Snapshot {
    status: Status,
    /// When, by the tower's clock.
    since: Instant,
    /// In which of its lives.
    memory: u32,
}

/// A tracked tower.
#[derive(Clone, Copy, Debug, Default)]
struct Observer {
    /// Changes whenever it knows nobody any more, or when we don't know what it knows.
    memory: u32,
    /// How many peers it forgot and did not learn of again.
    forgotten: u32,
}

impl Statuses {
    pub(super) fn new(kill_timeout: Duration, towers: u32, tracked: u32) -> Self {
        let tracked = tracked.min(towers);
        Self {
            kill_timeout,
            standings: Pairs::default(),
            towers: vec![Observer::default(); tracked as usize],
            clocks: Clocks::default(),
        }
    }

    pub(super) fn see(&mut self, observation: &Observation, found: &mut Violations) {
        let Observation { at, tower: Some(tower), what } = *observation else { return };
        let scene = Scene::of(at, tower);
        match what {
            Observed::StatusChanged { peer, from, to, .. } => {
                if !is_legal(from, to) {
                    found.add(Checker::Statuses, scene, || {
                        format!("tower {} made a peer {to} that was {from}", tower.0)
                    });
                }
                if let Some(peer) = peer {
                    self.on_change(scene, tower, peer, (from, to), found);
                }
            }
            Observed::Discovered { peer: Some(peer) } => {
                self.on_discovery(scene, tower, peer, found)
            }
            Observed::Forgot => {
                if let Some(observer) = self.towers.get_mut(tower.0 as usize) {
                    observer.forgotten += 1;
                }
            }
            Observed::Started { .. }
            | Observed::Crashed
            | Observed::Left { .. }
            | Observed::Missed { .. } => {
                if let Some(observer) = self.towers.get_mut(tower.0 as usize) {
                    *observer = Observer { memory: observer.memory.wrapping_add(1), forgotten: 0 };
                }
            }
            Observed::ClockChanged { step, drift_ppm } => {
                self.clocks.change(tower, at, step, drift_ppm);
            }
            _ => {}
        }
    }

    fn on_change(
        &mut self,
        scene: Scene,
        tower: TowerId,
        peer: TowerId,
        (from, to): (Status, Status),
        found: &mut Violations,
    ) {
        let Some(observer) = self.towers.get(tower.0 as usize) else { return };
        let since = self.clocks.says(tower, scene.at);
        let snapshot = Snapshot { status: to, since, memory: observer.memory };
        let before = self.standings.insert(tower, peer, snapshot);
        let Some(before) = before.filter(|before| before.memory == observer.memory) else { return };
        if before.status != from {
            found.add(Checker::Statuses, scene, || {
                let (tower, peer, was) = (tower.0, peer.0, before.status);
                format!(
                    "tower {tower} says that tower {peer} was {from}, and had said that it is {was}"
                )
            });
        }
        let lost_for = since.duration_since(before.since);
        if (from, to) == (Status::Lost, Status::Dead) && lost_for <= self.kill_timeout {
            found.add(Checker::Statuses, scene, || {
                format!("tower {} gave tower {} up after {lost_for:?}", tower.0, peer.0)
            });
        }
    }

    fn on_discovery(
        &mut self,
        scene: Scene,
        tower: TowerId,
        peer: TowerId,
        found: &mut Violations,
    ) {
        let Some(observer) = self.towers.get_mut(tower.0 as usize) else { return };
        let memory = observer.memory;
        let since = self.clocks.says(tower, scene.at);
        let snapshot = Snapshot { status: Status::New, since, memory };
        let before = self.standings.insert(tower, peer, snapshot);
        if before.is_none_or(|before| before.memory != memory) {
            return;
        }
        // Which one it forgot it does not say.
        match observer.forgotten.checked_sub(1) {
            Some(left) => observer.forgotten = left,
            None => found.add(Checker::Statuses, scene, || {
                format!("tower {} discovered tower {}, which it knew", tower.0, peer.0)
            }),
        }
    }

    /// How many are tracked.
    #[cfg(test)]
    pub(super) fn tracked(&self) -> usize {
        self.towers.len()
    }
}

/// Whether the protocol knows this change.
fn is_legal(from: Status, to: Status) -> bool {
    use Status::{Alive, Dead, Ignored, Lost, New};
    match from {
        New => matches!(to, Alive | Lost | Ignored),
        Alive => matches!(to, Lost | Ignored),
        Lost => matches!(to, Alive | Dead | Ignored),
        Dead => matches!(to, Alive | Ignored),
        Ignored => matches!(to, New),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Status::{Alive, Dead, Ignored, Lost, New};
    use clacks_proto::StatusReason;

    const HOUR: u64 = 3_600;

    /// What tower 0 says, with the second in which it says it.
    fn violations(said: &[(u64, Observed)]) -> Vec<String> {
        let mut statuses = Statuses::new(Duration::from_secs(HOUR), 10, 5);
        let mut found = Violations::default();
        for (second, what) in said {
            let at = Instant::from_nanos(second * 1_000_000_000);
            statuses.see(&Observation { at, tower: Some(TowerId(0)), what: *what }, &mut found);
        }
        assert!(found.kept().iter().all(|one| one.checker == Checker::Statuses));
        found.kept().iter().map(|one| one.text.clone()).collect()
    }

    fn change(from: Status, to: Status) -> Observed {
        let reason = StatusReason::Success;
        Observed::StatusChanged { peer: Some(TowerId(7)), from, to, reason }
    }

    const DISCOVERED: Observed = Observed::Discovered { peer: Some(TowerId(7)) };

    #[test]
    fn a_life_as_it_should_be_is_no_violation() {
        let said = [
            (0, DISCOVERED),
            (1, change(New, Alive)),
            (2, change(Alive, Lost)),
            (3, change(Lost, Alive)),
            (4, change(Alive, Lost)),
            (5 + HOUR, change(Lost, Dead)),
            (6 + HOUR, change(Dead, Alive)),
            (7 + HOUR, change(Alive, Ignored)),
            (8 + HOUR, change(Ignored, New)),
            (9 + HOUR, change(New, Lost)),
            (10 + HOUR, Observed::Forgot),
            (11 + HOUR, DISCOVERED),
            (12 + HOUR, Observed::Crashed),
            (13 + HOUR, Observed::Started { life: 1 }),
            (14 + HOUR, DISCOVERED),
        ];
        assert_eq!(violations(&said), [""; 0]);
    }

    #[test]
    fn changes_that_the_protocol_does_not_know_are_found_even_for_nobody() {
        let mut wrong = 0;
        for from in [New, Alive, Lost, Dead, Ignored] {
            for to in [New, Alive, Lost, Dead, Ignored] {
                let said = [(
                    0,
                    Observed::StatusChanged { peer: None, from, to, reason: StatusReason::Success },
                )];
                wrong += violations(&said).len();
            }
        }
        assert_eq!(wrong, 25 - 11);
        assert_eq!(
            violations(&[(0, change(New, Dead))]),
            ["tower 0 made a peer dead that was new"]
        );
    }

    #[test]
    fn a_status_that_was_not_the_last_one_is_found() {
        let said = [(0, DISCOVERED), (1, change(Alive, Lost))];
        let expected = "tower 0 says that tower 7 was alive, and had said that it is new";
        assert_eq!(violations(&said), [expected]);
    }

    #[test]
    fn a_peer_given_up_too_early_is_found_by_the_towers_own_clock() {
        let early = [(0, change(Alive, Lost)), (HOUR, change(Lost, Dead))];
        assert_eq!(violations(&early), ["tower 0 gave tower 7 up after 3600s"]);
        let fast = Observed::ClockChanged { step: 0, drift_ppm: 1_000_000 };
        let fast = [(0, fast), (0, change(Alive, Lost)), (HOUR / 2 + 1, change(Lost, Dead))];
        assert_eq!(violations(&fast), [""; 0], "its own hour is over");
        let back = Observed::ClockChanged { step: -2_000_000_000, drift_ppm: 0 };
        let back = [(0, change(Alive, Lost)), (9, back), (HOUR + 1, change(Lost, Dead))];
        assert_eq!(violations(&back).len(), 1, "its own hour is not over");
    }

    #[test]
    fn a_known_peer_that_is_discovered_is_found() {
        assert_eq!(
            violations(&[(0, DISCOVERED), (1, DISCOVERED)]),
            ["tower 0 discovered tower 7, which it knew"]
        );
    }

    #[test]
    fn towers_beyond_the_number_are_held_to_the_table_alone() {
        let mut statuses = Statuses::new(Duration::from_secs(HOUR), 10, 5);
        assert_eq!(statuses.tracked(), 5);
        let mut found = Violations::default();
        let mut see = |tower, what| {
            let at = Instant::ORIGIN;
            statuses.see(&Observation { at, tower: Some(TowerId(tower)), what }, &mut found);
        };
        see(5, DISCOVERED);
        see(5, change(Alive, Lost));
        see(5, change(Lost, New));
        assert_eq!(found.count(), 1);
        assert!(statuses.standings.is_empty());
    }
}
