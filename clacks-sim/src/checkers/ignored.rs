//! Ignored: a tower has no dealings with a peer that its application ignores.

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use super::violation::{Checker, Violations};
use crate::observation::{Observation, Observed, TowerId};

/// Checks what passes between a tower and the peers that it ignores.
///
/// The tower neither dials such a peer nor hands a message over to it, takes no message that the
/// peer claims to hand over, and gets no confirmation, because the links to the peer are closed.
#[derive(Debug)]
pub(super) struct Ignored {
    /// The life of the tower in which it ignores the peer, by (tower, peer). Nothing iterates over
    /// the map.
    ignored: HashMap<u64, u32, FxBuildHasher>,
    lives: Vec<u32>,
}

impl Ignored {
    pub(super) fn new(towers: u32) -> Self {
        Self { ignored: HashMap::default(), lives: vec![0; towers as usize] }
    }

    /// Returns whether any tower ignores a peer.
    #[inline]
    pub(super) fn is_needed(&self) -> bool {
        !self.ignored.is_empty()
    }

    pub(super) fn observe(&mut self, observation: &Observation, found: &mut Violations) {
        let Some(tower) = observation.tower else { return };
        let (peer, action) = match observation.what {
            Observed::Started { .. } => {
                if let Some(life) = self.lives.get_mut(tower.0 as usize) {
                    *life += 1;
                }
                return;
            }
            Observed::Ignored { peer } => {
                let life = self.life(tower);
                self.ignored.insert(key(tower, peer), life);
                return;
            }
            Observed::Unignored { peer } => {
                self.ignored.remove(&key(tower, peer));
                return;
            }
            Observed::Dialled { to: Some(to) } => (to, "dialled"),
            // A role may use the name of another tower on its links.
            Observed::HandedOver { to, .. } if !found.is_role(to) => (to, "handed a message to"),
            Observed::Received { from: Some(from), .. } => (from, "took a message from"),
            Observed::Delivered { to: Some(to), .. } => (to, "delivered a message to"),
            Observed::Announced { to: Some(to) } => (to, "announced itself to"),
            _ => return,
        };
        if self.ignored.get(&key(tower, peer)) == Some(&self.life(tower)) {
            found.report(Checker::Ignored, tower, None, || {
                format!("tower {} {action} tower {}, which it ignores", tower.0, peer.0)
            });
        }
    }

    fn life(&self, tower: TowerId) -> u32 {
        self.lives.get(tower.0 as usize).copied().unwrap_or(0)
    }
}

fn key(tower: TowerId, peer: TowerId) -> u64 {
    u64::from(tower.0) << 32 | u64::from(peer.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clacks_proto::Instant;
    use clacks_proto::wire::Attempt;

    const PEER: TowerId = TowerId(2);
    const IGNORE: Observed = Observed::Ignored { peer: PEER };

    fn violations(roles: &[TowerId], seen: &[Observed]) -> Vec<String> {
        let mut found = Violations::new(roles, |_| true);
        let mut ignored = Ignored::new(4);
        for what in seen {
            let tower = Some(TowerId(1));
            ignored.observe(&Observation { at: Instant::ORIGIN, tower, what: *what }, &mut found);
        }
        found.texts().into_iter().map(String::from).collect()
    }

    fn deeds(peer: TowerId) -> [Observed; 5] {
        let (attempt, arrives) = (Attempt::First, Instant::ORIGIN);
        [
            Observed::Dialled { to: Some(peer) },
            Observed::HandedOver { to: peer, message: None, attempt, arrives },
            Observed::Received { from: Some(peer), sender: Some(peer), message: None },
            Observed::Delivered { to: Some(peer), message: None },
            Observed::Announced { to: Some(peer) },
        ]
    }

    #[test]
    fn every_deed_with_an_ignored_peer_bites() {
        let seen = [&[IGNORE][..], &deeds(PEER)].concat();
        let expected = [
            "tower 1 dialled tower 2, which it ignores",
            "tower 1 handed a message to tower 2, which it ignores",
            "tower 1 took a message from tower 2, which it ignores",
            "tower 1 delivered a message to tower 2, which it ignores",
            "tower 1 announced itself to tower 2, which it ignores",
        ];
        assert_eq!(violations(&[], &seen), expected);
        assert_eq!(violations(&[TowerId(1)], &seen), [""; 0]);
        assert_eq!(violations(&[PEER], &seen).len(), 4);
    }

    #[test]
    fn deeds_with_other_peers_and_at_other_times_are_allowed() {
        let restart = Observed::Started { life: 1 };
        for seen in [
            [&deeds(PEER)[..], &[IGNORE]].concat(),
            [&[IGNORE][..], &deeds(TowerId(3))].concat(),
            [&[IGNORE, Observed::Unignored { peer: PEER }][..], &deeds(PEER)].concat(),
            [&[IGNORE, Observed::Crashed, restart][..], &deeds(PEER)].concat(),
        ] {
            assert_eq!(violations(&[], &seen), [""; 0]);
        }
    }
}
