//! Status: the status of a peer changes only as the protocol allows.

use std::time::Duration;

use clacks_proto::{Instant, Status};
use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use super::violation::{Checker, Violations};
use crate::network::Clock;
use crate::observation::{Observation, Observed, TowerId};

/// The number of towers of which the status of each peer is followed. With the default table of
/// peers, they take some 100 MB at most.
const FOLLOWED: u32 = 1_024;

/// Checks each change of status.
///
/// Of all towers, a change must be one that the protocol allows. Of the first [`FOLLOWED`] towers,
/// the status before must be the one reported last, and a peer must have been lost for longer than
/// the kill time-out, by the clock of the tower, before it is dead.
#[derive(Debug)]
pub(super) struct StatusChanges {
    kill_timeout: Duration,
    /// By (tower, peer). Nothing iterates over the map.
    reports: HashMap<u64, Report, FxBuildHasher>,
    followed: Vec<Followed>,
}

/// The last report about a peer.
#[derive(Clone, Copy, Debug)]
struct Report {
    status: Status,
    /// The time by the clock of the tower.
    at: Instant,
    life: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Followed {
    life: u32,
    clock: Clock,
    /// Whether the tower has forgotten a peer. The notice does not say which.
    has_forgotten: bool,
}

impl StatusChanges {
    pub(super) fn new(kill_timeout: Duration, towers: u32) -> Self {
        let followed = vec![Followed::default(); towers.min(FOLLOWED) as usize];
        Self { kill_timeout, reports: HashMap::default(), followed }
    }

    pub(super) fn observe(&mut self, observation: &Observation, found: &mut Violations) {
        let Observation { at, tower: Some(tower), what } = *observation else { return };
        if let Observed::StatusChanged { from, to, .. } = what
            && !is_allowed(from, to)
        {
            found.report(Checker::Status, tower, None, || {
                format!("tower {} changed a peer from {from} to {to}", tower.0)
            });
        }
        let Some(followed) = self.followed.get_mut(tower.0 as usize) else { return };
        match what {
            Observed::StatusChanged { peer: Some(peer), from, to, .. } => {
                self.on_report(at, tower, peer, Some(from), to, found);
            }
            Observed::Discovered { peer: Some(peer) } => {
                self.on_report(at, tower, peer, None, Status::New, found);
            }
            Observed::Forgot => followed.has_forgotten = true,
            Observed::Started { .. } => {
                (followed.life, followed.has_forgotten) = (followed.life + 1, false);
            }
            Observed::ClockChanged { step, drift_ppm } => {
                followed.clock.change(at.as_nanos(), step, drift_ppm);
            }
            _ => {}
        }
    }

    /// `from` is `None` if the peer was discovered.
    fn on_report(
        &mut self,
        at: Instant,
        tower: TowerId,
        peer: TowerId,
        from: Option<Status>,
        to: Status,
        found: &mut Violations,
    ) {
        let Followed { life, clock, has_forgotten } = self.followed[tower.0 as usize];
        let report = Report { status: to, at: clock.time(at.as_nanos()), life };
        let key = u64::from(tower.0) << 32 | u64::from(peer.0);
        let before = self.reports.insert(key, report).filter(|before| before.life == life);
        let Some(before) = before else { return };
        if from.map_or(!has_forgotten, |from| from != before.status) {
            found.report(Checker::Status, tower, None, || {
                let from = from.map_or("unknown", Status::as_str);
                let (tower, peer, was) = (tower.0, peer.0, before.status);
                format!("tower {tower} reported that tower {peer} was {from}, but it was {was}")
            });
        }
        let lost_for = report.at.duration_since(before.at);
        let is_early = lost_for <= self.kill_timeout;
        if is_early && (before.status, to) == (Status::Lost, Status::Dead) {
            found.report(Checker::Status, tower, None, || {
                format!("tower {} took tower {} for dead after {lost_for:?}", tower.0, peer.0)
            });
        }
    }
}

/// Returns whether the protocol allows a change of status.
fn is_allowed(from: Status, to: Status) -> bool {
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
    const DISCOVERED: Observed = Observed::Discovered { peer: Some(TowerId(7)) };

    /// Returns the violations of tower 0, which makes these reports at these seconds.
    fn violations(reports: &[(u64, Observed)]) -> Vec<String> {
        let mut status = StatusChanges::new(Duration::from_secs(HOUR), 10);
        let mut found = Violations::default();
        for (second, what) in reports {
            let at = Instant::from_nanos(second * 1_000_000_000);
            status.observe(&Observation { at, tower: Some(TowerId(0)), what: *what }, &mut found);
        }
        found.texts().into_iter().map(String::from).collect()
    }

    fn change(from: Status, to: Status) -> Observed {
        let reason = StatusReason::Success;
        Observed::StatusChanged { peer: Some(TowerId(7)), from, to, reason }
    }

    #[test]
    fn all_allowed_changes_in_a_row_are_no_violation() {
        let reports = [
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
            (12 + HOUR, Observed::Started { life: 1 }),
            (13 + HOUR, DISCOVERED),
        ];
        assert_eq!(violations(&reports), [""; 0]);
    }

    #[test]
    fn a_change_that_the_protocol_does_not_allow_bites() {
        let all = [New, Alive, Lost, Dead, Ignored];
        let pairs = all.into_iter().flat_map(|from| all.map(|to| (from, to)));
        let wrong = pairs.filter(|(from, to)| !violations(&[(0, change(*from, *to))]).is_empty());
        assert_eq!(wrong.count(), 25 - 11);
        let text = "tower 0 changed a peer from new to dead";
        assert_eq!(violations(&[(0, change(New, Dead))]), [text]);
    }

    #[test]
    fn a_status_before_that_was_not_reported_bites() {
        let reports = [(0, DISCOVERED), (1, change(Alive, Lost))];
        let text = "tower 0 reported that tower 7 was alive, but it was new";
        assert_eq!(violations(&reports), [text]);
        let text = "tower 0 reported that tower 7 was unknown, but it was new";
        assert_eq!(violations(&[(0, DISCOVERED), (1, DISCOVERED)]), [text]);
    }

    #[test]
    fn a_peer_that_is_dead_too_early_by_the_clock_of_the_tower_bites() {
        let early = [(0, change(Alive, Lost)), (HOUR, change(Lost, Dead))];
        assert_eq!(violations(&early), ["tower 0 took tower 7 for dead after 3600s"]);
        let fast = Observed::ClockChanged { step: 0, drift_ppm: 1_000_000 };
        let fast = [(0, fast), (0, change(Alive, Lost)), (HOUR / 2 + 1, change(Lost, Dead))];
        assert_eq!(violations(&fast), [""; 0]);
        let back = Observed::ClockChanged { step: -2_000_000_000, drift_ppm: 0 };
        let back = [(0, change(Alive, Lost)), (9, back), (HOUR + 1, change(Lost, Dead))];
        assert_eq!(violations(&back).len(), 1);
    }
}
