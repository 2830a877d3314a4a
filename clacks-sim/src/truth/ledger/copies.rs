//! The table of copies: every copy of every message, in one list by message and in one by tower.

use crate::observation::{MessageId, TowerId};

pub(super) const NOWHERE: u32 = u32::MAX;

/// What a record in the table stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// A tower has it in its queue, or gave it to a link that has not sent it.
    Waiting,
    /// A tower has sent it to another one, and keeps it until that confirms it.
    InFlight,
    /// Bytes that were sent by a tower that is gone, or that believes they were taken. Whether they are taken, nobody knows yet.
    Orphan,
    /// Bytes that were sent by a tower that has the message back or has sent it again. If they are taken after all, there is one more.
    Stray,
}

/// One record. Which fields mean something depends on its kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Copy {
    pub(super) message: MessageId,
    /// The tower that holds it or sent it.
    pub(super) tower: TowerId,
    /// To whom it was sent.
    pub(super) to: TowerId,
    /// The next record of the same message.
    pub(super) next: u32,
    /// Its neighbours in its tower's list.
    after: u32,
    before: u32,
    /// In seconds: when the receiver took it, or until when stray bytes may be taken.
    pub(super) time: u32,
    pub(super) kind: Kind,
    pub(super) flags: Flags,
    /// Of the receiver's memory, when it took this; or how often stray bytes were sent.
    pub(super) epoch: u8,
    /// What an orphan dies of if nobody takes it.
    pub(super) cause: u8,
}

/// What is known of a copy in flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags(u8);

impl Flags {
    /// The receiver has taken it: what the sender keeps is a shadow.
    pub(super) const TAKEN: Self = Self(1);
    /// Another copy came in meanwhile: one stays here when this is confirmed.
    pub(super) const AGAIN: Self = Self(2);
    /// Another copy came in while this one waited, or was given to a link already. In the second case one stays when it is confirmed.
    pub(super) const MAYBE_AGAIN: Self = Self(64);
    /// The receiver was asked a second time.
    pub(super) const ASKED: Self = Self(4);
    /// It was asked the second time after it had taken it: it should recognise it.
    pub(super) const ASKED_LATE: Self = Self(8);
    /// When it took it, it knew from whom.
    pub(super) const KNOWN: Self = Self(16);
    /// The audit that goes on has found it.
    pub(super) const FOUND: Self = Self(32);

    pub(super) fn has(self, flag: Self) -> bool {
        self.0 & flag.0 != 0
    }

    pub(super) fn set(&mut self, flag: Self) {
        self.0 |= flag.0;
    }

    pub(super) fn clear(&mut self, flag: Self) {
        self.0 &= !flag.0;
    }
}

/// All records. Places are used again, the last one first: it is still in the cache.
///
/// A message has few copies, so one is found by walking along the list of its message: no hash, and no order that could matter.
#[derive(Debug, Default)]
pub(super) struct Copies {
    places: Vec<Copy>,
    vacant: Vec<u32>,
}

impl Copies {
    /// Puts a record at the head of its message's list.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "four billion copies do not fit into memory"
    )]
    pub(super) fn add(
        &mut self,
        kind: Kind,
        message: MessageId,
        tower: TowerId,
        head: &mut u32,
    ) -> u32 {
        let copy = Copy {
            message,
            tower,
            to: TowerId(NOWHERE),
            next: *head,
            after: NOWHERE,
            before: NOWHERE,
            time: 0,
            kind,
            flags: Flags::default(),
            epoch: 0,
            cause: 0,
        };
        let place = match self.vacant.pop() {
            Some(place) => {
                self.places[place as usize] = copy;
                place
            }
            None => {
                self.places.push(copy);
                (self.places.len() - 1) as u32
            }
        };
        *head = place;
        place
    }

    /// Takes a record out of its message's list and frees its place. It must be on no tower's list.
    pub(super) fn remove(&mut self, place: u32, head: &mut u32) {
        let next = self.places[place as usize].next;
        if *head == place {
            *head = next;
        } else {
            let mut at = *head;
            while at != NOWHERE {
                let copy = &mut self.places[at as usize];
                if copy.next == place {
                    copy.next = next;
                    break;
                }
                at = copy.next;
            }
        }
        self.vacant.push(place);
    }

    /// Puts a record at the head of its tower's list.
    pub(super) fn attach(&mut self, place: u32, head: &mut u32) {
        let old = std::mem::replace(head, place);
        let copy = &mut self.places[place as usize];
        (copy.after, copy.before) = (old, NOWHERE);
        if old != NOWHERE {
            self.places[old as usize].before = place;
        }
    }

    /// Takes a record out of its tower's list.
    pub(super) fn detach(&mut self, place: u32, head: &mut u32) {
        let Copy { after, before, .. } = self.places[place as usize];
        if before == NOWHERE {
            *head = after;
        } else {
            self.places[before as usize].after = after;
        }
        if after != NOWHERE {
            self.places[after as usize].before = before;
        }
    }

    pub(super) fn get(&self, place: u32) -> &Copy {
        &self.places[place as usize]
    }

    pub(super) fn get_mut(&mut self, place: u32) -> &mut Copy {
        &mut self.places[place as usize]
    }

    /// The next in the list of the same tower.
    pub(super) fn after(&self, place: u32) -> u32 {
        self.places[place as usize].after
    }

    /// The places in the list of a message.
    pub(super) fn of_message(&self, head: u32) -> impl Iterator<Item = u32> + '_ {
        let there = |place: u32| (place != NOWHERE).then_some(place);
        std::iter::successors(there(head), move |place| there(self.places[*place as usize].next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_small() {
        assert_eq!(size_of::<Copy>(), 32);
    }

    #[test]
    fn lists_stay_whole_whichever_record_leaves() {
        for leaving in 0..3 {
            let mut copies = Copies::default();
            let (mut of_message, mut of_tower) = (NOWHERE, NOWHERE);
            let places: Vec<_> = (0..3)
                .map(|_| {
                    let place =
                        copies.add(Kind::Waiting, MessageId(1), TowerId(2), &mut of_message);
                    copies.attach(place, &mut of_tower);
                    place
                })
                .collect();
            copies.detach(places[leaving], &mut of_tower);
            copies.remove(places[leaving], &mut of_message);
            let stay: Vec<_> =
                places.iter().rev().copied().filter(|place| *place != places[leaving]).collect();
            assert_eq!(copies.of_message(of_message).collect::<Vec<_>>(), stay);
            let mut on_tower = Vec::new();
            let mut place = of_tower;
            while place != NOWHERE {
                on_tower.push(place);
                place = copies.after(place);
            }
            assert_eq!(on_tower, stay);
            assert_eq!(
                copies.add(Kind::Waiting, MessageId(1), TowerId(2), &mut of_message),
                places[leaving],
                "the place is used again"
            );
        }
    }
}
