//! Convergence: every running tower knows every other running tower as alive.

use clacks_proto::{StateMachine, Status};

use super::violation::{Checker, Violations};
use crate::network::NetworkView;
use crate::observation::TowerId;

/// The number of towers in networks up to which the peers of all towers are looked at. In larger
/// networks these are evenly spread towers.
const LOOKED_AT: usize = 1_000;

/// The number of missing peers that a violation names.
const NAMED: usize = 3;

/// Returns the first tower that does not know every other running tower as alive, and some of the
/// towers that it does not know. Roles are not looked at and need not be known.
///
/// Every tower is asked how many alive peers it has: O(towers). Then 1 000 towers at most are asked
/// for their peers: O(towers) each. The second look tells alive peers that run from others.
pub(super) fn first_missing<M: StateMachine>(
    view: &NetworkView<'_, M>,
    found: &Violations,
) -> Option<(TowerId, Vec<TowerId>)> {
    let running: Vec<_> = view.running().filter(|(tower, _)| !found.is_role(*tower)).collect();
    let numbers: Vec<_> = running.iter().map(|(tower, _)| *tower).collect();
    let others = running.len().saturating_sub(1);
    let knows_few = running.iter().find(|(_, it)| (it.status_counts().alive as usize) < others);
    let step = running.len().div_ceil(LOOKED_AT).max(1);
    knows_few.into_iter().chain(running.iter().step_by(step)).find_map(|(tower, machine)| {
        let missing = missing(*tower, &numbers, view.peers(machine));
        (!missing.is_empty()).then_some((*tower, missing))
    })
}

/// Returns some of the running towers that are not among the alive peers of a tower.
fn missing(
    tower: TowerId,
    running: &[TowerId],
    peers: impl Iterator<Item = (Option<TowerId>, Status)>,
) -> Vec<TowerId> {
    let alive = peers.filter(|(_, status)| *status == Status::Alive).filter_map(|(peer, _)| peer);
    let mut alive: Vec<_> = alive.collect();
    alive.sort_unstable();
    let is_missing = |other: &&TowerId| **other != tower && alive.binary_search(other).is_err();
    running.iter().filter(is_missing).take(NAMED).copied().collect()
}

/// Reports a network that has not converged.
pub(super) fn finish<M: StateMachine>(view: &NetworkView<'_, M>, found: &mut Violations) {
    if let Some((tower, missing)) = first_missing(view, found) {
        let names: Vec<_> = missing.iter().map(|other| other.0.to_string()).collect();
        let others = if names.len() == NAMED { " and perhaps others" } else { "" };
        found.report(Checker::Convergence, tower, None, || {
            let (tower, names) = (tower.0, names.join(", "));
            format!("tower {tower} does not know these towers as alive: {names}{others}")
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNNING: [TowerId; 5] = [TowerId(0), TowerId(1), TowerId(2), TowerId(3), TowerId(7)];

    /// Returns the numbers of the towers that tower 1 does not know.
    fn missing_peers(peers: &[(Option<u32>, Status)]) -> Vec<u32> {
        let peers = peers.iter().map(|(peer, status)| (peer.map(TowerId), *status));
        missing(TowerId(1), &RUNNING, peers).into_iter().map(|tower| tower.0).collect()
    }

    fn alive(peers: &[u32]) -> Vec<(Option<u32>, Status)> {
        peers.iter().map(|peer| (Some(*peer), Status::Alive)).collect()
    }

    #[test]
    fn a_tower_that_knows_all_running_towers_misses_none() {
        assert_eq!(missing_peers(&alive(&[7, 3, 0, 2])), [0; 0]);
        assert_eq!(missing_peers(&alive(&[7, 3, 0, 2, 5, 1])), [0; 0]);
    }

    #[test]
    fn an_unknown_tower_and_a_peer_that_is_not_alive_are_missing() {
        assert_eq!(missing_peers(&alive(&[7, 0, 2, 1, 2])), [3]);
        for status in [Status::New, Status::Lost, Status::Dead, Status::Ignored] {
            let mut peers = alive(&[7, 0, 2]);
            peers.push((Some(3), status));
            peers.push((None, Status::Alive));
            assert_eq!(missing_peers(&peers), [3]);
        }
        assert_eq!(missing_peers(&[]), [0, 2, 3], "the first three are named");
    }
}
