//! In the end every running tower knows every other one as alive.

use clacks_proto::{Instant, Status};

use super::violation::{Checker, Scene, Violations};
use crate::observation::TowerId;

/// How many of those that a tower does not know are named.
const NAMED: usize = 3;

/// Looks at whom each running tower knows: it has to know every other running one as alive. Costs one look at every peer of every tower, so it is done at the end
/// of a calm phase, and only where a scenario promises it. Returns how many pairs it has judged.
///
/// An alive peer whose address is nobody's stands for a tower of which bytes were altered on their way: one of what that tower said of itself may have been
/// among them, and as long as the link with it stands, nothing shows that it has another name.
pub(super) fn judge<P>(
    at: Instant,
    running: &[TowerId],
    was_altered: impl Fn(TowerId) -> bool,
    mut peers_of: impl FnMut(TowerId) -> P,
    found: &mut Violations,
) -> u64
where
    P: IntoIterator<Item = (Option<TowerId>, Status)>,
{
    let places = running.iter().map(|tower| tower.0 as usize + 1).max().unwrap_or(0);
    // Who looked at it last: so nothing has to be wiped between two towers.
    let mut runs = vec![None; places];
    for tower in running {
        runs[tower.0 as usize] = Some(*tower);
    }
    let others = running.len().saturating_sub(1);
    for tower in running {
        let (mut known, mut misnamed) = (0, 0);
        let alive = peers_of(*tower).into_iter().filter(|(_, status)| *status == Status::Alive);
        for (peer, _) in alive {
            let Some(peer) = peer else {
                misnamed += 1;
                continue;
            };
            if peer == *tower {
                continue;
            }
            // Each running tower begins with its own mark, which no other one can leave there.
            let mark = runs.get_mut(peer.0 as usize);
            if let Some(mark) = mark.filter(|mark| mark.is_some_and(|by| by != *tower)) {
                *mark = Some(*tower);
                known += 1;
            }
        }
        let missing = others - known;
        let is_missing =
            |other: &&TowerId| *other != tower && runs[other.0 as usize] != Some(*tower);
        let all_may_be_misnamed =
            || misnamed >= missing && running.iter().filter(is_missing).all(|it| was_altered(*it));
        if missing > 0 && !all_may_be_misnamed() {
            let named: Vec<_> = running
                .iter()
                .filter(is_missing)
                .take(NAMED)
                .map(|one| one.0.to_string())
                .collect();
            found.add(Checker::Liveness, Scene::of(at, *tower), || {
                let (tower, named) = (tower.0, named.join(", "));
                let more = if missing > NAMED { " and others" } else { "" };
                format!("tower {tower} does not know {missing} of {others} running towers as alive: {named}{more}")
            });
        }
    }
    others as u64 * running.len() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOWERS: u32 = 6;

    fn violations(peers_of: impl Fn(u32) -> Vec<(Option<TowerId>, Status)>) -> Vec<String> {
        violations_with(&[], peers_of)
    }

    fn violations_with(
        altered: &[u32],
        peers_of: impl Fn(u32) -> Vec<(Option<TowerId>, Status)>,
    ) -> Vec<String> {
        let running: Vec<_> = (0..TOWERS).map(TowerId).collect();
        let mut found = Violations::default();
        let was_altered = |tower: TowerId| altered.contains(&tower.0);
        let peers_of = |tower: TowerId| peers_of(tower.0);
        let judged = judge(Instant::ORIGIN, &running, was_altered, peers_of, &mut found);
        assert_eq!(judged, 30);
        assert!(found.kept().iter().all(|one| one.checker == Checker::Liveness));
        found.kept().iter().map(|one| one.text.clone()).collect()
    }

    fn all(tower: u32) -> Vec<(Option<TowerId>, Status)> {
        let others = (0..TOWERS).filter(|other| *other != tower);
        others.map(|other| (Some(TowerId(other)), Status::Alive)).collect()
    }

    #[test]
    fn a_network_in_which_all_know_all_is_alive_whoever_else_they_know() {
        let peers_of = |tower| {
            let mut peers = all(tower);
            peers.extend([(None, Status::Alive), (Some(TowerId(99)), Status::Lost)]);
            peers
        };
        assert_eq!(violations(peers_of), [""; 0]);
    }

    #[test]
    fn whoever_is_not_known_is_found() {
        let mut peers = all(3);
        peers.remove(0);
        let peers_of = |tower| if tower == 3 { peers.clone() } else { all(tower) };
        let expected = "tower 3 does not know 1 of 5 running towers as alive: 0";
        assert_eq!(violations(peers_of), [expected]);
    }

    #[test]
    fn one_that_is_known_by_a_name_that_nobody_has_stands_for_one_whose_bytes_were_altered() {
        let one = Some("tower 3 does not know 1 of 5 running towers as alive: 0");
        let two = Some("tower 3 does not know 2 of 5 running towers as alive: 0, 1");
        // Whose bytes were altered, how many are missing, how many have a name that nobody has, and as what they are known.
        for (altered, missing, misnamed, status, expected) in [
            (&[0, 5][..], 1, 1, Status::Alive, None),
            (&[0], 1, 2, Status::Alive, None),
            (&[], 1, 1, Status::Alive, one),
            (&[1, 2, 3, 4, 5], 1, 1, Status::Alive, one),
            (&[0], 1, 1, Status::Lost, one),
            (&[0, 1], 2, 1, Status::Alive, two),
            (&[0], 2, 2, Status::Alive, two),
            (&[0, 1], 2, 2, Status::Alive, None),
        ] {
            let peers_of = |tower| {
                let mut peers = all(tower);
                if tower == 3 {
                    peers.drain(..missing);
                    peers.extend(std::iter::repeat_n((None, status), misnamed));
                }
                peers
            };
            assert_eq!(violations_with(altered, peers_of), Vec::from_iter(expected));
        }
    }

    #[test]
    fn whoever_is_known_and_not_as_alive_is_found() {
        for status in [Status::New, Status::Lost, Status::Dead, Status::Ignored] {
            let peers_of = |tower| {
                let mut peers = all(tower);
                if tower == 0 {
                    peers[4].1 = status;
                }
                peers
            };
            let expected = "tower 0 does not know 1 of 5 running towers as alive: 5";
            assert_eq!(violations(peers_of), [expected]);
        }
    }

    #[test]
    fn knowing_one_twice_or_itself_is_not_knowing_another() {
        let peers_of = |tower: u32| {
            let mut peers = all(tower);
            peers[0] = peers[1];
            peers[2] = (Some(TowerId(tower)), Status::Alive);
            peers
        };
        assert_eq!(violations(peers_of).len(), TOWERS as usize);
    }

    #[test]
    fn a_network_of_strangers_is_found_and_only_some_are_named() {
        let texts = violations(|_| Vec::new());
        assert_eq!(texts.len(), TOWERS as usize);
        assert_eq!(
            texts[1],
            "tower 1 does not know 5 of 5 running towers as alive: 0, 2, 3 and others"
        );
    }
}
