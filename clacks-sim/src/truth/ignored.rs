//! Nothing goes to an ignored peer, and nothing is taken from it.

use super::pairs::Pairs;
use super::violation::{Checker, Scene, Violations};
use crate::observation::{Fault, Observation, Observed, TowerId};

/// Watches what passes between a tower and the peers that its application ignores.
///
/// While its application ignores a peer, a tower does not dial the peer, hands nothing over to it,
/// takes nothing that is known to come from it, and gets no answers from it, because their links
/// are closed. Altered bytes can make a tower confuse two peers: of towers that sent or received
/// altered bytes only the dials are checked.
#[derive(Debug)]
pub(super) struct Ignored {
    /// In which of its lives a tower ignores a peer.
    ignored: Pairs<u32>,
    towers: Vec<Observer>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Observer {
    life: u32,
    is_tainted: bool,
}

impl Ignored {
    pub(super) fn new(towers: u32) -> Self {
        Self { ignored: Pairs::default(), towers: vec![Observer::default(); towers as usize] }
    }

    pub(super) fn see(&mut self, observation: &Observation, found: &mut Violations) {
        let Observation { at, tower: Some(tower), what } = *observation else { return };
        // Most runs ignore nobody, and then most observations need no look at any tower.
        let is_deed = matches!(
            what,
            Observed::Dialled { .. }
                | Observed::HandedOver { .. }
                | Observed::Received { .. }
                | Observed::Delivered { .. }
                | Observed::Announced { .. }
        );
        if is_deed && self.ignored.is_empty() {
            return;
        }
        let Some(observer) = self.towers.get_mut(tower.0 as usize) else { return };
        let (peer, deed) = match what {
            Observed::Crashed | Observed::Left { .. } => {
                observer.life = observer.life.wrapping_add(1);
                return;
            }
            Observed::Fault(Fault::Corrupted) => {
                observer.is_tainted = true;
                return;
            }
            Observed::Ignored { peer } => {
                self.ignored.insert(tower, peer, observer.life);
                return;
            }
            Observed::Unignored { peer } => {
                self.ignored.remove(tower, peer);
                return;
            }
            Observed::Dialled { to: Some(to) } => (to, "dialled"),
            Observed::HandedOver { to, .. } => (to, "handed a message over to"),
            Observed::Received { from: Some(from), .. } => (from, "took a message from"),
            Observed::Delivered { to: Some(to), .. } => (to, "delivered a message to"),
            Observed::Announced { to: Some(to) } => (to, "announced itself to"),
            _ => return,
        };
        let life = observer.life;
        if self.ignored.get(tower, peer) != Some(&life) {
            return;
        }
        let is_tainted = |tower: TowerId| {
            self.towers.get(tower.0 as usize).is_some_and(|observer| observer.is_tainted)
        };
        let may_err = !matches!(what, Observed::Dialled { .. });
        if may_err && (is_tainted(tower) || is_tainted(peer)) {
            return;
        }
        found.add(Checker::Ignored, Scene::of(at, tower), || {
            format!("tower {} {deed} tower {}, which it ignores", tower.0, peer.0)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clacks_proto::Instant;
    use clacks_proto::wire::Attempt;

    const PEER: TowerId = TowerId(2);

    fn violations(said: &[Observed]) -> Vec<String> {
        let mut ignored = Ignored::new(4);
        let mut found = Violations::default();
        for what in said {
            let tower = Some(TowerId(1));
            ignored.see(&Observation { at: Instant::ORIGIN, tower, what: *what }, &mut found);
        }
        assert!(found.kept().iter().all(|one| one.checker == Checker::Ignored));
        found.kept().iter().map(|one| one.text.clone()).collect()
    }

    fn deeds(peer: TowerId) -> [Observed; 5] {
        let arrives = Instant::ORIGIN;
        let attempt = Attempt::First;
        [
            Observed::Dialled { to: Some(peer) },
            Observed::HandedOver { to: peer, message: None, attempt, arrives },
            Observed::Received { from: Some(peer), sender: Some(peer), message: None },
            Observed::Delivered { to: Some(peer), message: None },
            Observed::Announced { to: Some(peer) },
        ]
    }

    /// What was wrong when the second list was said after the first.
    fn after(before: &[Observed], said: &[Observed]) -> Vec<String> {
        violations(&[before, said].concat())
    }

    const IGNORE: Observed = Observed::Ignored { peer: PEER };

    #[test]
    fn every_deed_with_an_ignored_peer_is_found() {
        assert_eq!(
            after(&[IGNORE], &deeds(PEER)),
            [
                "tower 1 dialled tower 2, which it ignores",
                "tower 1 handed a message over to tower 2, which it ignores",
                "tower 1 took a message from tower 2, which it ignores",
                "tower 1 delivered a message to tower 2, which it ignores",
                "tower 1 announced itself to tower 2, which it ignores",
            ]
        );
    }

    #[test]
    fn deeds_before_and_after_and_with_others_are_free() {
        assert_eq!(after(&deeds(PEER), &[IGNORE]), [""; 0]);
        assert_eq!(after(&[IGNORE], &deeds(TowerId(3))), [""; 0]);
        assert_eq!(after(&[IGNORE, Observed::Unignored { peer: PEER }], &deeds(PEER)), [""; 0]);
        assert_eq!(after(&[IGNORE, Observed::Crashed], &deeds(PEER)), [""; 0]);
        assert_eq!(after(&[IGNORE, Observed::Left { undelivered: 0 }], &deeds(PEER)), [""; 0]);
    }

    #[test]
    fn altered_bytes_excuse_all_but_the_dial() {
        let altered = [IGNORE, Observed::Fault(Fault::Corrupted)];
        assert_eq!(after(&altered, &deeds(PEER)), ["tower 1 dialled tower 2, which it ignores"]);
    }
}
