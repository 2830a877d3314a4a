//! The peers of one status that may be drawn, sorted by their links.

use alloc::vec::Vec;

use crate::link::Direction;

/// How a peer can be reached without a dial. The order is that of an [`EligibleList`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reach {
    /// Over an open link that this tower dialled.
    Dialled,
    /// Over an open link that the peer dialled.
    Called,
    /// Not at all.
    Unlinked,
}

impl Reach {
    /// Returns how a peer is reached whose link is open. `None` is no open link.
    pub(crate) fn over(open: Option<Direction>) -> Self {
        match open {
            Some(Direction::Outbound) => Self::Dialled,
            Some(Direction::Inbound) => Self::Called,
            None => Self::Unlinked,
        }
    }
}

/// Indexes of peers in the order of their [`Reach`].
///
/// A position shows how its peer is reached, so a draw does not read the peer, which in a large
/// table would be a cache miss. Inserting and removing a peer is O(1). The peers know their
/// position: `place` is called with each index that moves, and its new position.
#[derive(Debug, Default)]
pub(crate) struct EligibleList {
    peers: Vec<u32>,
    /// The end of the peers with links that this tower dialled.
    dialled: u32,
    /// The end of the peers with open links.
    linked: u32,
}

#[allow(clippy::cast_possible_truncation, reason = "there are fewer peers than u32 indexes")]
impl EligibleList {
    /// Starts to load the list into the cache.
    #[cfg(feature = "simulation")]
    pub(crate) fn prefetch(&self) {
        prefetch_index::prefetch_index(&self.peers, 0);
    }

    #[inline]
    pub(crate) fn len(&self) -> u32 {
        self.peers.len() as u32
    }

    /// Returns how many peers have an open link. They come first.
    #[inline]
    pub(crate) fn linked(&self) -> u32 {
        self.linked
    }

    /// Returns how many peers have an open link that this tower dialled. They come first.
    #[inline]
    pub(crate) fn dialled(&self) -> u32 {
        self.dialled
    }

    #[inline]
    pub(crate) fn get(&self, position: u32) -> Option<u32> {
        self.peers.get(position as usize).copied()
    }

    /// Adds a peer.
    pub(crate) fn insert(&mut self, index: u32, reach: Reach, mut place: impl FnMut(u32, u32)) {
        let mut hole = self.len();
        self.peers.push(index);
        if reach < Reach::Unlinked {
            hole = self.fill(hole, self.linked, &mut place);
            self.linked += 1;
        }
        if reach == Reach::Dialled {
            hole = self.fill(hole, self.dialled, &mut place);
            self.dialled += 1;
        }
        self.peers[hole as usize] = index;
        place(index, hole);
    }

    /// Removes the peer at a position.
    pub(crate) fn remove(&mut self, position: u32, mut place: impl FnMut(u32, u32)) {
        let mut hole = position;
        if hole >= self.len() {
            return;
        }
        if hole < self.dialled {
            self.dialled -= 1;
            hole = self.fill(hole, self.dialled, &mut place);
        }
        if hole < self.linked {
            self.linked -= 1;
            hole = self.fill(hole, self.linked, &mut place);
        }
        self.fill(hole, self.len() - 1, &mut place);
        self.peers.pop();
        if self.peers.is_empty() {
            // Most towers have no new, lost or dead peers.
            self.peers = Vec::new();
        }
    }

    /// Moves the peer at `from` into the hole. Returns where the hole is now.
    fn fill(&mut self, hole: u32, from: u32, place: &mut impl FnMut(u32, u32)) -> u32 {
        if hole != from {
            let moved = self.peers[from as usize];
            self.peers[hole as usize] = moved;
            place(moved, hole);
        }
        from
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        #[cfg_attr(miri, ignore = "draws many cases")]
        fn a_list_is_sorted_by_reach_and_its_peers_know_their_positions(
            steps in proptest::collection::vec((0u32..12, 0usize..4), 0..200),
        ) {
            let mut list = EligibleList::default();
            let mut model: Vec<(u32, Reach)> = Vec::new();
            let mut positions = [u32::MAX; 12];
            for (index, step) in steps {
                let listed = model.iter().any(|(other, _)| *other == index);
                let reach = [Reach::Dialled, Reach::Called, Reach::Unlinked].get(step).copied();
                let place = |moved: u32, position| positions[moved as usize] = position;
                match reach {
                    Some(reach) if !listed => {
                        list.insert(index, reach, place);
                        model.push((index, reach));
                    }
                    None if listed => {
                        list.remove(positions[index as usize], |moved, position| {
                            positions[moved as usize] = position;
                        });
                        model.retain(|(other, _)| *other != index);
                    }
                    _ => {}
                }
                let count = |reach| {
                    let reached = model.iter().filter(|(_, other)| *other <= reach);
                    u32::try_from(reached.count()).unwrap()
                };
                prop_assert_eq!(list.dialled(), count(Reach::Dialled));
                prop_assert_eq!(list.linked(), count(Reach::Called));
                prop_assert_eq!(list.len(), count(Reach::Unlinked));
                for (index, reach) in &model {
                    let position = positions[*index as usize];
                    prop_assert_eq!(list.get(position), Some(*index));
                    let expected = match position {
                        n if n < list.dialled() => Reach::Dialled,
                        n if n < list.linked() => Reach::Called,
                        _ => Reach::Unlinked,
                    };
                    prop_assert_eq!(expected, *reach);
                }
            }
            list.remove(list.len(), |_, _| ());
            prop_assert_eq!(list.len(), u32::try_from(model.len()).unwrap());
        }
    }
}
