//! The ledger's small steps: finding records, making and ending them, and keeping the balance.

use clacks_proto::Instant;

use super::copies::{Copy, Flags, Kind};
use super::{Ledger, Message, State, Tower, seconds};
use crate::observation::{MessageId, TowerId};
use crate::truth::totals::{DuplicationCause, LossCause};
use crate::truth::violation::{Checker, Scene, Violations};

/// How many strays of one message are remembered.
const MAX_STRAYS: usize = 8;

impl Ledger {
    pub(super) fn tower(&mut self, tower: TowerId) -> &mut Tower {
        &mut self.towers[tower.0 as usize]
    }

    pub(super) fn record(&mut self, message: MessageId) -> &mut Message {
        &mut self.messages[message.0 as usize]
    }

    /// The records of a message that are of a kind.
    pub(super) fn places(&self, message: MessageId, kind: Kind) -> impl Iterator<Item = u32> + '_ {
        let known = self.messages.get(message.0 as usize);
        let places = known.into_iter().flat_map(|known| self.copies.of_message(known.head));
        places.filter(move |place| self.copies.get(*place).kind == kind)
    }

    /// Those of them that are a tower's.
    pub(super) fn places_at(
        &self,
        message: MessageId,
        tower: TowerId,
        kind: Kind,
    ) -> impl Iterator<Item = u32> + '_ {
        self.places(message, kind).filter(move |place| self.copies.get(*place).tower == tower)
    }

    /// A message that a tower has sent and keeps.
    pub(super) fn in_flight(
        &self,
        message: MessageId,
        tower: TowerId,
    ) -> impl Iterator<Item = u32> + '_ {
        self.places_at(message, tower, Kind::InFlight)
    }

    /// A message that a tower holds, in flight or not.
    pub(super) fn held_by(
        &self,
        message: MessageId,
        tower: TowerId,
    ) -> impl Iterator<Item = u32> + '_ {
        let known = self.messages.get(message.0 as usize);
        let places = known.into_iter().flat_map(|known| self.copies.of_message(known.head));
        places.filter(move |place| {
            let copy = self.copies.get(*place);
            copy.tower == tower && matches!(copy.kind, Kind::Waiting | Kind::InFlight)
        })
    }

    /// A tower has one more copy in its queue.
    pub(super) fn hold(&mut self, message: MessageId, tower: TowerId) -> u32 {
        let record = &mut self.messages[message.0 as usize];
        record.copies += 1;
        let place = self.copies.add(Kind::Waiting, message, tower, &mut record.head);
        let state = &mut self.towers[tower.0 as usize];
        state.held += 1;
        self.copies.attach(place, &mut state.head);
        self.totals.copies += 1;
        place
    }

    /// A tower holds a copy no more. What that means for the balance is the caller's business.
    pub(super) fn release(&mut self, place: u32) {
        let tower = self.copies.get(place).tower;
        let state = &mut self.towers[tower.0 as usize];
        state.held -= 1;
        self.copies.detach(place, &mut state.head);
        self.remove(place);
    }

    /// A record that is on no tower's list ends.
    pub(super) fn remove(&mut self, place: u32) {
        let message = self.copies.get(place).message;
        self.copies.remove(place, &mut self.messages[message.0 as usize].head);
    }

    /// A copy was sent by a tower that does not hold it any more, and nobody knows whether it is taken.
    pub(super) fn make_orphan(
        &mut self,
        message: MessageId,
        from: TowerId,
        to: TowerId,
        cause: LossCause,
    ) {
        let record = &mut self.messages[message.0 as usize];
        record.copies -= 1;
        record.shadows += 1;
        let place = self.copies.add(Kind::Orphan, message, from, &mut record.head);
        let orphan = self.copies.get_mut(place);
        orphan.to = to;
        orphan.cause = cause as u8;
        self.totals.copies -= 1;
        self.totals.unknown += 1;
    }

    /// Bytes may still be taken though their sender does not wait for that any more.
    pub(super) fn add_stray(&mut self, message: MessageId, from: TowerId, to: TowerId) {
        let now = seconds(self.now);
        let until = now.saturating_add(self.linger);
        let mut times = 1u8;
        let strays: Vec<u32> = self.places(message, Kind::Stray).collect();
        let mut left = strays.len();
        for place in strays {
            let stray = *self.copies.get(place);
            let is_the_same = stray.tower == from && stray.to == to;
            let is_over = self.is_over(&stray, self.now);
            if is_the_same || is_over {
                if !is_over {
                    times = times.saturating_add(stray.epoch);
                }
                self.remove(place);
                left -= 1;
            } else if left >= MAX_STRAYS {
                self.remove(place);
                left -= 1;
                let forgotten = &mut self.record(message).forgotten_strays;
                *forgotten = forgotten.saturating_add(stray.epoch.into());
            }
        }
        let Some(record) = self.messages.get_mut(message.0 as usize) else { return };
        let place = self.copies.add(Kind::Stray, message, from, &mut record.head);
        let stray = self.copies.get_mut(place);
        (stray.to, stray.time, stray.epoch) = (to, until, times);
    }

    /// If what was taken by a moment may be bytes that one tower has sent to another and given up, those are taken now. Returns whether it may.
    pub(super) fn take_stray(
        &mut self,
        message: MessageId,
        from: TowerId,
        to: TowerId,
        at: Instant,
    ) -> bool {
        let meets = |place: &u32| {
            let stray = self.copies.get(*place);
            (stray.tower, stray.to) == (from, to) && !self.is_over(stray, at)
        };
        let Some(place) = self.places(message, Kind::Stray).find(meets) else { return false };
        self.spend_stray(place);
        true
    }

    /// Stray bytes are taken.
    pub(super) fn spend_stray(&mut self, place: u32) {
        let stray = self.copies.get_mut(place);
        stray.epoch -= 1;
        if stray.epoch == 0 {
            self.remove(place);
        }
    }

    /// Whether stray bytes can't be taken any more at a moment. A receiver that was stopped takes its bytes when it goes on.
    fn is_over(&self, stray: &Copy, at: Instant) -> bool {
        let receiver = self.towers[stray.to.0 as usize];
        let last = stray.time.max(receiver.resumed.saturating_add(self.linger));
        last < seconds(at) && !receiver.is_paused
    }

    /// A copy is no more.
    pub(super) fn lose(&mut self, message: MessageId, cause: LossCause) {
        self.totals.copies_lost += 1;
        let record = self.record(message);
        record.last_loss = match cause {
            LossCause::Unexplained if record.is_murky => LossCause::Altered,
            _ => cause,
        };
    }

    /// There is one more copy.
    pub(super) fn duplicate(&mut self, message: MessageId, cause: DuplicationCause) {
        let cause = match cause {
            DuplicationCause::Unexplained if self.record(message).is_murky => {
                DuplicationCause::Altered
            }
            _ => cause,
        };
        self.totals.duplicated[cause.place()] += 1;
    }

    /// An altered body under the same name made two messages of one.
    pub(super) fn make_murky(&mut self, message: MessageId) {
        let record = self.record(message);
        if !record.is_murky {
            record.is_murky = true;
            self.murky += 1;
        }
    }

    /// Says that something about a message is wrong, unless nobody can tell that.
    pub(super) fn report(
        &self,
        found: &mut Violations,
        scene: Scene,
        text: impl FnOnce() -> String,
    ) {
        let message = scene.message.and_then(|message| self.messages.get(message.0 as usize));
        if !message.is_some_and(|message| message.is_murky) {
            found.add(Checker::Conservation, scene, text);
        }
    }

    /// Counts a message where it now belongs.
    pub(super) fn weigh(&mut self, message: MessageId) {
        let record = &mut self.messages[message.0 as usize];
        let state = match (record.copies, record.shadows) {
            (0, 0) => State::Lost,
            (0, _) => State::InDoubt,
            _ => State::Alive,
        };
        let (before, cause) = (record.state, record.last_loss);
        if before == state && state != State::Lost {
            return;
        }
        record.state = state;
        let (counted, lost) = (record.counted_loss, state == State::Lost);
        record.counted_loss = lost.then_some(cause);
        let totals = &mut self.totals;
        match before {
            State::Alive => totals.alive -= 1,
            State::InDoubt => totals.in_doubt -= 1,
            State::Unknown | State::Lost => {}
        }
        if let Some(cause) = counted {
            totals.lost[cause.place()] -= 1;
        }
        match state {
            State::Alive => totals.alive += 1,
            State::InDoubt => totals.in_doubt += 1,
            State::Lost => totals.lost[cause.place()] += 1,
            State::Unknown => {}
        }
    }

    /// Whether a copy in flight is but a shadow: its receiver has it.
    pub(super) fn is_shadow(&self, place: u32) -> bool {
        self.copies.get(place).flags.has(Flags::TAKEN)
    }
}
