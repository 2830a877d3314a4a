//! Messages change hands: sent, taken, confirmed, returned.

use clacks_proto::wire::Attempt;

use super::copies::{Flags, Kind};
use super::pending::{Return, Sent, Taking};
use super::{Ledger, seconds};
use crate::observation::{MessageId, TowerId};
use crate::truth::totals::{DuplicationCause, LossCause};
use crate::truth::violation::{Scene, Violations};

/// The rank of what was taken before, as an explanation of a take: the worst.
const ASKED_AGAIN: u8 = 3;

impl Ledger {
    /// A tower sends a message. False when it holds none that it could send now.
    pub(super) fn on_handed_over(&mut self, sent: Sent) -> bool {
        let Sent { by, to, message, attempt, .. } = sent;
        let asked = match attempt {
            Attempt::Retry => {
                let meets = |place: &u32| self.copies.get(*place).to == to;
                // The hello of the first one may have been altered: then the sender took it for this one.
                let is_meant = |place: &u32| {
                    let is_asked = self.copies.get(*place).flags.has(Flags::ASKED);
                    !is_asked && (self.is_tainted || meets(place))
                };
                self.in_flight(message, by).filter(is_meant).max_by_key(meets)
            }
            Attempt::First => None,
        };
        if let Some(place) = asked {
            let copy = self.copies.get_mut(place);
            copy.flags.set(Flags::ASKED);
            let first = std::mem::replace(&mut copy.to, to);
            if copy.flags.has(Flags::TAKEN) {
                copy.flags.set(Flags::ASKED_LATE);
            } else {
                self.add_stray(message, by, first);
            }
            return true;
        }
        self.keep_if_unclear(by, message);
        let Some(place) = self.places_at(message, by, Kind::Waiting).next() else { return false };
        let copy = self.copies.get_mut(place);
        copy.kind = Kind::InFlight;
        copy.to = to;
        self.totals.in_flight += 1;
        true
    }

    /// A tower has taken a message. Where it came from is settled now, and what became of it with the next observation.
    ///
    /// That is what the network says, and not what the tower says: one that knows too few peers, or has forgotten its sender, can't tell from which of two it came.
    pub(super) fn on_received(&mut self, scene: Scene, taking: Taking, found: &mut Violations) {
        let Taking { by, message, from, sender, .. } = taking;
        let Some(known) = self.messages.get(message.0 as usize) else {
            self.report(found, scene.with(message), || {
                format!("tower {} has taken message {}, which nobody enqueued", by.0, message.0)
            });
            return;
        };
        let source = self
            .copies
            .of_message(known.head)
            .filter(|place| sender.or(from).is_none_or(|it| it == self.copies.get(*place).tower))
            .filter_map(|place| Some((self.rank(place, by)?, place)))
            .min()
            // A stray that had to be forgotten explains more than that its taker has forgotten what it took.
            .filter(|(rank, _)| *rank < ASKED_AGAIN || known.forgotten_strays == 0);
        self.totals.hops += 1;
        self.record(message).hops += 1;
        self.taking = Some(taking);
        let Some((_, place)) = source else {
            let forgotten = &mut self.record(message).forgotten_strays;
            let cause = if *forgotten > 0 {
                *forgotten -= 1;
                DuplicationCause::TakenLate
            } else if let Some(altered) = sender.or(from).map(|it| &mut self.tower(it).altered)
                && *altered > 0
            {
                *altered -= 1;
                DuplicationCause::Altered
            } else {
                self.report(found, scene.with(message), || {
                    format!("tower {} has taken message {} from nobody", by.0, message.0)
                });
                DuplicationCause::Unexplained
            };
            return self.duplicate(message, cause);
        };
        if let (Some(claimed), Some(sender)) = (from, sender)
            && claimed != sender
            && !self.is_tainted
        {
            self.report(found, scene.with(message), || {
                let (by, message, claimed, sender) = (by.0, message.0, claimed.0, sender.0);
                format!("tower {by} says that message {message} came from tower {claimed}, and it came from tower {sender}")
            });
        }
        self.take_from(scene, place, taking, found);
    }

    /// Settles at its source that a message was taken.
    fn take_from(&mut self, scene: Scene, place: u32, taking: Taking, found: &mut Violations) {
        let Taking { by, from, .. } = taking;
        let (epoch, now) = (self.tower(by).epoch, seconds(scene.at));
        let copy = self.copies.get_mut(place);
        let (message, kind, flags) = (copy.message, copy.kind, copy.flags);
        let (known_epoch, taken_at) = (copy.epoch, copy.time);
        match kind {
            Kind::Orphan => {
                self.totals.unknown -= 1;
                self.record(message).shadows -= 1;
                self.remove(place);
            }
            Kind::Stray => {
                self.spend_stray(place);
                self.duplicate(message, DuplicationCause::TakenLate);
            }
            Kind::InFlight if flags.has(Flags::TAKEN) => {
                let copy = self.copies.get_mut(place);
                copy.flags.clear(Flags::ASKED_LATE);
                let is_old = now.saturating_sub(taken_at) >= self.memory;
                let is_stranger = !flags.has(Flags::KNOWN) || from.is_none();
                let is_excused = is_old || is_stranger || known_epoch != epoch || self.is_tainted;
                let cause = match is_excused {
                    true => DuplicationCause::TakenTwice,
                    false => DuplicationCause::Unexplained,
                };
                self.duplicate(message, cause);
                if !is_excused {
                    self.report(found, scene.with(message), || {
                        let (by, message) = (by.0, message.0);
                        format!("tower {by} did not recognise message {message}, which it was asked about, and took it twice")
                    });
                }
            }
            Kind::InFlight | Kind::Waiting => {
                copy.flags.set(Flags::TAKEN);
                (copy.epoch, copy.time) = (epoch, now);
                if from.is_some() {
                    copy.flags.set(Flags::KNOWN);
                }
                self.totals.copies -= 1;
                let record = self.record(message);
                record.copies -= 1;
                record.shadows += 1;
            }
        }
    }

    /// Whether a record explains that a tower has taken a message from its sender, and how well: lower is better.
    ///
    /// Whoever waits for an answer comes first: bytes that nobody waits for need not be taken by anybody.
    fn rank(&self, place: u32, by: TowerId) -> Option<u8> {
        let copy = self.copies.get(place);
        match copy.kind {
            _ if copy.to != by => None,
            Kind::InFlight if !copy.flags.has(Flags::TAKEN) => Some(0),
            Kind::Orphan => Some(1),
            Kind::Stray => Some(2),
            Kind::InFlight if copy.flags.has(Flags::ASKED_LATE) => Some(ASKED_AGAIN),
            Kind::InFlight | Kind::Waiting => None,
        }
    }

    /// What a tower says right after it took a message: it has put it into its queue, or it had it already.
    pub(super) fn conclude(&mut self, taking: Taking, is_queued: bool, found: &mut Violations) {
        let Taking { at, by, message, .. } = taking;
        let scene = Scene::of(at, by).with(message);
        if is_queued {
            // It had none, or an altered one that it may have kept.
            if self.is_tainted && self.unclear.contains(&(by, message)) {
                self.make_murky(message);
            }
            self.unclear.retain(|unclear| *unclear != (by, message));
        } else {
            self.keep_if_unclear(by, message);
        }
        let held = self.held_by(message, by).next();
        match (held, is_queued) {
            (None, true) => _ = self.hold(message, by),
            (Some(place), false) => self.coalesce(place),
            (Some(_), true) => {
                // Bodies that differ under one name are two messages to a tower.
                if self.is_tainted {
                    self.make_murky(message);
                } else {
                    self.report(found, scene, || {
                        format!("tower {} has queued message {} twice", by.0, message.0)
                    });
                }
                self.hold(message, by);
            }
            (None, false) => {
                self.report(found, scene, || {
                    format!("tower {} has taken message {} and holds none", by.0, message.0)
                });
                self.lose(message, LossCause::Unexplained);
            }
        }
        self.weigh(message);
    }

    /// A copy meets one that is held already.
    fn coalesce(&mut self, place: u32) {
        let copy = self.copies.get_mut(place);
        if copy.kind == Kind::InFlight && !copy.flags.has(Flags::AGAIN) {
            copy.flags.set(Flags::AGAIN);
            let message = copy.message;
            self.totals.copies += 1;
            self.record(message).copies += 1;
        } else {
            copy.flags.set(Flags::MAYBE_AGAIN);
            self.totals.coalesced += 1;
        }
    }

    /// A message came back to the queue of a tower.
    pub(super) fn on_returned(
        &mut self,
        scene: Scene,
        tower: TowerId,
        message: MessageId,
        found: &mut Violations,
    ) {
        self.keep_if_unclear(tower, message);
        let Some(place) = self.in_flight(message, tower).next() else {
            // What was given to a link and never sent comes back as well.
            if self.held_by(message, tower).next().is_none() {
                self.report(found, scene.with(message), || {
                    let (tower, message) = (tower.0, message.0);
                    format!("tower {tower} has got message {message} back, which it does not hold")
                });
            }
            return;
        };
        let copy = self.copies.get_mut(place);
        let (to, flags) = (copy.to, copy.flags);
        copy.kind = Kind::Waiting;
        copy.flags = Flags::default();
        self.totals.in_flight -= 1;
        let is_again = flags.has(Flags::AGAIN);
        if flags.has(Flags::TAKEN) {
            self.record(message).shadows -= 1;
            if !is_again {
                self.totals.copies += 1;
                self.record(message).copies += 1;
                self.duplicate(message, DuplicationCause::ConfirmationLost);
                if !flags.has(Flags::ASKED) && !self.is_tainted {
                    self.unexcused.push(Return { at: scene.at, tower, message, to });
                }
            }
        } else if is_again {
            self.totals.copies -= 1;
            self.record(message).copies -= 1;
            self.totals.coalesced += 1;
        }
        if !flags.has(Flags::TAKEN) || flags.has(Flags::ASKED_LATE) {
            self.add_stray(message, tower, to);
        }
        self.weigh(message);
    }

    /// A tower was told that a message was taken, and has forgotten it.
    pub(super) fn on_delivered(
        &mut self,
        scene: Scene,
        tower: TowerId,
        to: Option<TowerId>,
        message: MessageId,
        found: &mut Violations,
    ) {
        let is_meant = |place: &u32| {
            let copy = self.copies.get(*place);
            (to.is_some_and(|to| to != copy.to), !copy.flags.has(Flags::TAKEN))
        };
        let Some(place) = self.in_flight(message, tower).min_by_key(is_meant) else {
            self.report(found, scene.with(message), || {
                let (tower, message) = (tower.0, message.0);
                format!(
                    "tower {tower} was told that message {message} was taken, and has not sent it"
                )
            });
            return;
        };
        let copy = *self.copies.get(place);
        let receiver = copy.to;
        // The receiver's hello may have been altered: then it has another name.
        if to.is_some_and(|to| to != receiver) && !self.is_tainted {
            self.report(found, scene.with(message), || {
                format!(
                    "tower {tower} was told that message {message} was taken by another one than tower {receiver}, to which it sent it",
                    tower = tower.0,
                    message = message.0,
                    receiver = receiver.0,
                )
            });
        }
        self.totals.in_flight -= 1;
        if copy.flags.has(Flags::TAKEN) {
            self.record(message).shadows -= 1;
        } else {
            let cause = match self.blame(tower, receiver) {
                true => LossCause::Altered,
                false => LossCause::Unexplained,
            };
            if cause == LossCause::Unexplained {
                self.report(found, scene.with(message), || {
                    let (tower, message, receiver) = (tower.0, message.0, receiver.0);
                    format!("tower {tower} was told that tower {receiver} has taken message {message}, and that has not")
                });
            }
            // The bytes may still arrive.
            self.make_orphan(message, tower, receiver, cause);
        }
        if copy.flags.has(Flags::AGAIN) {
            let copy = self.copies.get_mut(place);
            copy.kind = Kind::Waiting;
            copy.flags = Flags::default();
        } else {
            self.release(place);
            if copy.flags.has(Flags::MAYBE_AGAIN) {
                self.unclear.push((tower, message));
            }
        }
        self.weigh(message);
    }

    /// A tower speaks of a message that it may have kept: so it has.
    fn keep_if_unclear(&mut self, tower: TowerId, message: MessageId) {
        if self.unclear.contains(&(tower, message)) {
            self.keep(tower, message);
        }
    }

    /// A tower kept a message that was confirmed: another copy had come in when it was on a link and not yet sent.
    pub(super) fn keep(&mut self, tower: TowerId, message: MessageId) {
        self.unclear.retain(|unclear| *unclear != (tower, message));
        self.totals.coalesced -= 1;
        self.hold(message, tower);
        self.weigh(message);
    }

    /// Whether an altered byte may have forged a confirmation between two towers.
    fn blame(&mut self, one: TowerId, other: TowerId) -> bool {
        for tower in [one, other] {
            let blame = &mut self.tower(tower).blame;
            if *blame > 0 {
                *blame -= 1;
                return true;
            }
        }
        false
    }
}
