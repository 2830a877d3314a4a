//! Compares what a tower's memory really holds with what the ledger says.

use clacks_proto::{Address, Instant, MessageState};

use super::copies::{Flags, Kind, NOWHERE};
use super::{Ledger, State};
use crate::observation::{MessageId, TowerId};
use crate::truth::totals::{DuplicationCause, LossCause};
use crate::truth::violation::{Checker, Scene, Violations};

/// A message in a tower's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holding {
    /// Which; `None` when nobody in this run has enqueued it.
    pub(crate) message: Option<MessageId>,
    /// Where the tower has it.
    pub(crate) place: Place,
    /// Whether the body is the one that was enqueued.
    pub(crate) body: Body,
}

/// Where a tower has a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In its queue.
    Waiting,
    /// In flight to a peer; `None` when that is none of this run's.
    InFlight(Option<TowerId>),
}

impl Place {
    /// Returns where a tower has a message, or `None` if the message is under screening. Its sender
    /// still holds it then.
    pub(crate) fn of(
        state: &MessageState,
        number_of: impl FnOnce(&Address) -> Option<TowerId>,
    ) -> Option<Self> {
        match state {
            MessageState::Waiting => Some(Self::Waiting),
            MessageState::InFlight { to } => Some(Self::InFlight(to.as_ref().and_then(number_of))),
            _ => None,
        }
    }
}

/// Whether a body is the one that was enqueued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// It is.
    Intact,
    /// Some byte of it is another.
    Altered,
}

impl Ledger {
    /// Compares all that a tower holds with what the ledger says, and believes the tower
    /// afterwards, so that a difference is found once.
    pub(crate) fn audit(
        &mut self,
        at: Instant,
        tower: TowerId,
        memory: impl IntoIterator<Item = Holding>,
        found: &mut Violations,
    ) {
        self.now = at;
        self.close_instant(found);
        self.totals.audits += 1;
        let scene = Scene::of(at, tower);
        for holding in memory {
            let is_altered = holding.body == Body::Altered;
            if (holding.message.is_none() || is_altered) && !self.is_tainted {
                found.add(Checker::Conservation, scene, || {
                    format!(
                        "tower {} holds a message with bytes that nobody enqueued, and none was altered on its way",
                        tower.0
                    )
                });
            }
            if let Some(message) = holding.message {
                self.compare(scene.with(message), tower, message, holding.place, found);
            }
        }
        let mut place = self.tower(tower).head;
        while place != NOWHERE {
            let here = place;
            place = self.copies.after(here);
            let copy = self.copies.get_mut(here);
            if copy.flags.has(Flags::FOUND) {
                copy.flags.clear(Flags::FOUND);
            } else {
                self.strike(scene, here, found);
            }
        }
    }

    /// Compares how many messages a tower holds with what the ledger says. An altered message may
    /// be in no ledger. `look` tells which ones it holds, and is asked only when their number does
    /// not say enough.
    pub(crate) fn count(
        &mut self,
        at: Instant,
        tower: TowerId,
        held: usize,
        look: impl FnOnce() -> Vec<MessageId>,
        found: &mut Violations,
    ) {
        self.conclude_taking(found);
        self.settle_sent(found);
        if !self.unclear.is_empty() {
            self.clear_up(tower, held, look);
        }
        let (is_tainted, is_murky) = (self.is_tainted, self.murky > 0);
        let state = self.tower(tower);
        let recorded = state.held as usize;
        let is_right = held == recorded || is_tainted && held > recorded || is_murky;
        if is_right || state.is_off {
            return;
        }
        state.is_off = true;
        found.add(Checker::Conservation, Scene::of(at, tower), || {
            format!("tower {} holds {held} messages where it should hold {recorded}", tower.0)
        });
    }

    /// Settles which of the messages that a tower may have kept it has kept.
    fn clear_up(&mut self, tower: TowerId, held: usize, look: impl FnOnce() -> Vec<MessageId>) {
        let open = self.unclear.iter().filter(|(by, _)| *by == tower).map(|(_, message)| *message);
        let open: Vec<_> = open.collect();
        if open.is_empty() {
            return;
        }
        if self.is_tainted {
            // A body may have another name by now, and a message another body: an audit will tell.
            open.into_iter().for_each(|message| self.make_murky(message));
        } else if held > self.tower(tower).held as usize {
            let holds = look();
            for message in open.into_iter().filter(|message| holds.contains(message)) {
                self.keep(tower, message);
            }
        }
        self.unclear.retain(|(by, _)| *by != tower);
    }

    /// Compares one message that a tower holds with the ledger.
    fn compare(
        &mut self,
        scene: Scene,
        tower: TowerId,
        message: MessageId,
        place: Place,
        found: &mut Violations,
    ) {
        let is_new = |place: &u32| !self.copies.get(*place).flags.has(Flags::FOUND);
        let fits = |record: &u32| {
            let copy = self.copies.get(*record);
            match (copy.kind, place) {
                // It may be given to a link and not sent yet: that is nobody's business but the
                // tower's.
                (Kind::Waiting, _) => true,
                // An altered hello gives a peer another name.
                (_, Place::InFlight(Some(to))) => copy.to == to || self.is_tainted,
                (_, Place::InFlight(None)) => self.is_tainted,
                (_, Place::Waiting) => false,
            }
        };
        let record = self.held_by(message, tower).filter(is_new).max_by_key(|record| fits(record));
        let is_as_recorded = record.is_some_and(|record| fits(&record));
        if let Some(record) = record {
            self.copies.get_mut(record).flags.set(Flags::FOUND);
        }
        if is_as_recorded {
            return;
        }
        self.report(found, scene, || {
            let (tower, message) = (tower.0, message.0);
            match record {
                Some(_) => format!(
                    "tower {tower} has message {message} {place}, which is not where it should be"
                ),
                None => format!("tower {tower} holds message {message}, which it should not have"),
            }
        });
        let is_known = self.messages.get(message.0 as usize);
        if record.is_none() && is_known.is_some_and(|known| known.state != State::Unknown) {
            self.duplicate(message, DuplicationCause::Unexplained);
            let record = self.hold(message, tower);
            self.copies.get_mut(record).flags.set(Flags::FOUND);
            self.weigh(message);
        }
    }

    /// A tower does not hold what the ledger says.
    fn strike(&mut self, scene: Scene, place: u32, found: &mut Violations) {
        let copy = *self.copies.get(place);
        let message = copy.message;
        self.report(found, scene.with(message), || {
            format!("tower {} should hold message {}, and does not", copy.tower.0, message.0)
        });
        let is_shadow = self.is_shadow(place);
        let copies = u32::from(!is_shadow) + u32::from(copy.flags.has(Flags::AGAIN));
        for _ in 0..copies {
            self.totals.copies -= 1;
            self.record(message).copies -= 1;
            self.lose(message, LossCause::Unexplained);
        }
        self.record(message).shadows -= u32::from(is_shadow);
        self.totals.in_flight -= u64::from(copy.kind == Kind::InFlight);
        self.release(place);
        self.weigh(message);
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Waiting => f.write_str("in its queue"),
            Self::InFlight(Some(to)) => write!(f, "in flight to tower {}", to.0),
            Self::InFlight(None) => f.write_str("in flight to nobody"),
        }
    }
}
