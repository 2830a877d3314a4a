//! The ledger: where every copy of every message is, as far as anybody can know.
//!
//! It follows what towers tell and what goes over the network, and never looks into a tower; an [audit](audit) compares the two.
//! Whatever towers tell must be seen in the order in which they tell it. Bytes that a tower sends meanwhile may be seen before that: what they mean is settled
//! when the tower has told all.

mod audit;
mod copies;
mod handover;
mod lives;
mod pending;
mod records;
#[cfg(test)]
mod tests;

use clacks_proto::Instant;

use super::totals::{DuplicationCause, LossCause, Totals};
use super::violation::{Checker, Scene, Violations};
use crate::observation::{Fault, MessageId, Observation, Observed, Origin, TowerId};
use copies::{Copies, Kind, NOWHERE};
use pending::{Return, Sent, Taking};

pub(crate) use audit::{Body, Holding, Place};

/// What is known of a message besides its copies.
#[derive(Clone, Copy, Debug)]
struct Message {
    /// The first of its records.
    head: u32,
    /// Copies that towers hold.
    copies: u32,
    /// Copies that may turn out to exist: orphans, and what a sender keeps though the receiver has taken it.
    shadows: u32,
    /// How often it was taken by a tower.
    hops: u32,
    state: State,
    /// What took the copy that was lost last.
    last_loss: LossCause,
    /// How many takes strays would have explained that had to be forgotten, as there were too many of them.
    forgotten_strays: u16,
    /// Some tower held it twice, with different bodies: which of the two it then speaks of, nobody can tell, and nothing that seems wrong proves anything.
    is_murky: bool,
    /// As what it is counted among the lost.
    counted_loss: Option<LossCause>,
}

/// How a message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nobody has enqueued it.
    Unknown,
    Alive,
    InDoubt,
    Lost,
}

/// What is known of a tower besides the copies that it holds.
#[derive(Clone, Copy, Debug)]
struct Tower {
    /// The first of the copies that it holds.
    head: u32,
    /// How many these are.
    held: u32,
    /// For how many confirmations altered bytes on its links may yet be blamed.
    blame: u32,
    /// How often it sent a message that nobody enqueued: each may on its way have become again what it was before a byte of it was altered.
    altered: u32,
    /// When it last went on after a pause, in seconds.
    resumed: u32,
    /// Changes whenever it may have forgotten what it took from whom.
    epoch: u8,
    is_paused: bool,
    /// It was told once that its tower holds another number of messages.
    is_off: bool,
}

/// Follows every copy of every message.
#[derive(Debug)]
pub(crate) struct Ledger {
    messages: Vec<Message>,
    towers: Vec<Tower>,
    copies: Copies,
    totals: Totals,
    now: Instant,
    taking: Option<Taking>,
    sent: Vec<Sent>,
    /// What came back though the receiver had taken it, and that nothing has excused yet.
    unexcused: Vec<Return>,
    /// Messages that were confirmed, and of which their towers may have kept a copy: how much they hold will tell.
    unclear: Vec<(TowerId, MessageId)>,
    /// How many confirmations one altered byte can forge: a window of them.
    window: u32,
    /// For how many seconds bytes may linger on a link that their sender has given up.
    linger: u32,
    /// The same when all clocks are right.
    idle: u32,
    /// For how many seconds a receiver surely recognises what it took.
    memory: u32,
    /// The same when all clocks are right.
    usual_memory: u32,
    /// By how many seconds clocks were put back, all in all.
    put_back: u64,
    slowest_ppm: i32,
    fastest_ppm: i32,
    /// How many messages are murky.
    murky: u32,
    /// Whether a byte was altered anywhere.
    is_tainted: bool,
}

impl Ledger {
    /// The ledger of a network in which nobody has said anything. `window` is how many messages may be unconfirmed on a link, `idle` for how many
    /// seconds bytes that their sender has given up may wait until they are taken, and `memory` for how many it recognises what it is asked about again.
    pub(crate) fn new(towers: u32, window: u16, idle: u32, memory: u32) -> Self {
        let tower = Tower {
            head: NOWHERE,
            held: 0,
            blame: 0,
            altered: 0,
            resumed: 0,
            epoch: 0,
            is_paused: false,
            is_off: false,
        };
        Self {
            messages: Vec::new(),
            towers: vec![tower; towers as usize],
            copies: Copies::default(),
            totals: Totals::default(),
            now: Instant::ORIGIN,
            taking: None,
            sent: Vec::new(),
            unexcused: Vec::new(),
            unclear: Vec::new(),
            window: u32::from(window),
            linger: idle,
            idle,
            memory,
            usual_memory: memory,
            put_back: 0,
            slowest_ppm: 0,
            fastest_ppm: 0,
            murky: 0,
            is_tainted: false,
        }
    }

    /// The balance up to now.
    pub(crate) fn totals(&self) -> &Totals {
        &self.totals
    }

    /// How many copies of a message towers hold, and how often it was taken by one.
    #[cfg(test)]
    pub(crate) fn message(&self, message: MessageId) -> (u32, u32) {
        self.messages.get(message.0 as usize).map_or((0, 0), |found| (found.copies, found.hops))
    }

    /// Takes in what happened.
    pub(crate) fn see(&mut self, observation: &Observation, found: &mut Violations) {
        let Observation { at, tower, what } = *observation;
        self.now = at;
        let mut is_explained = false;
        if let Some(taking) = self.taking.take() {
            is_explained = tower == Some(taking.by)
                && what == Observed::Queued { message: Some(taking.message), origin: Origin::Peer };
            self.conclude(taking, is_explained, found);
        }
        let is_others = |sent: &Sent| sent.at != at || Some(sent.by) != tower;
        let is_aside = matches!(what, Observed::Fault(_));
        let is_end = matches!(what, Observed::Crashed | Observed::Left { .. });
        if is_end || self.sent.first().is_some_and(is_others) && !is_aside {
            self.settle_sent(found);
        }
        if is_explained {
            // All that it says is said.
        } else if let Some(tower) = tower.filter(|tower| (tower.0 as usize) < self.towers.len()) {
            self.on(at, tower, what, found);
        }
        if !self.unexcused.is_empty() {
            self.excuse(Some(observation), found);
        }
    }

    /// The run is over: what nobody has taken by now is lost.
    pub(crate) fn finish(&mut self, found: &mut Violations) {
        self.close_instant(found);
        for message in (0..self.messages.len()).map(id) {
            let orphans: Vec<_> = self.places(message, Kind::Orphan).collect();
            for place in orphans {
                let cause = self.copies.get(place).cause;
                let cause = LossCause::ALL.get(usize::from(cause)).copied();
                self.totals.unknown -= 1;
                self.record(message).shadows -= 1;
                self.lose(message, cause.unwrap_or(LossCause::Unexplained));
                self.remove(place);
                self.weigh(message);
            }
        }
    }

    fn on(&mut self, at: Instant, tower: TowerId, what: Observed, found: &mut Violations) {
        let scene = Scene::of(at, tower);
        match what {
            Observed::Started { .. } => {
                self.end_life(tower, LossCause::Unexplained, scene, found);
            }
            Observed::Crashed => _ = self.end_life(tower, LossCause::Crash, scene, found),
            Observed::Left { undelivered } => {
                let held = self.end_life(tower, LossCause::Left, scene, found);
                let is_more = held > undelivered as u64 && self.murky == 0;
                if is_more || held < undelivered as u64 && !self.is_tainted {
                    found.add(Checker::Conservation, scene, || {
                        format!(
                            "tower {tower} left with {undelivered} messages, and held {held}",
                            tower = tower.0
                        )
                    });
                }
            }
            Observed::Paused => self.tower(tower).is_paused = true,
            Observed::Resumed => {
                self.tower(tower).is_paused = false;
                self.tower(tower).resumed = seconds(at);
            }
            Observed::ClockChanged { step, drift_ppm } => self.on_clock(tower, step, drift_ppm),
            Observed::Forgot => self.forget(tower),
            Observed::Missed { count } => found.add(Checker::Conservation, scene, || {
                format!(
                    "tower {tower} dropped {count} notices, so that nobody knows what it holds",
                    tower = tower.0
                )
            }),
            Observed::Enqueued { message } => self.on_enqueued(scene, tower, message, found),
            Observed::EnqueueRefused => self.totals.refused += 1,
            Observed::HandedOver { to, message: Some(message), attempt, .. }
                if (to.0 as usize) < self.towers.len() =>
            {
                self.sent.push(Sent { at, by: tower, to, message, attempt });
            }
            Observed::Received { from, sender, message: Some(message) } => {
                let taking = Taking { at, by: tower, message, from, sender };
                self.on_received(scene, taking, found);
            }
            Observed::Queued { message: Some(message), origin } => match origin {
                Origin::Local => self.on_queued_here(scene, tower, message, found),
                Origin::Returned => self.on_returned(scene, tower, message, found),
                // One that follows on its take is dealt with before this.
                _ => self.on_queued_unasked(scene, tower, message, found),
            },
            Observed::Delivered { to, message: Some(message) } => {
                self.on_delivered(scene, tower, to, message, found);
            }
            Observed::HandedOver { message: None, .. }
            | Observed::Received { message: None, .. }
            | Observed::Queued { message: None, .. }
            | Observed::Delivered { message: None, .. }
                if !self.is_tainted =>
            {
                found.add(Checker::Conservation, scene, || {
                    format!(
                        "tower {tower} has a message that nobody enqueued, and no byte was altered",
                        tower = tower.0
                    )
                });
            }
            Observed::HandedOver { message: None, .. } => self.tower(tower).altered += 1,
            Observed::Fault(Fault::Corrupted) => {
                self.is_tainted = true;
                let window = self.window;
                let blame = &mut self.tower(tower).blame;
                *blame = blame.saturating_add(window);
            }
            _ => {}
        }
    }

    fn on_queued_here(
        &mut self,
        scene: Scene,
        tower: TowerId,
        message: MessageId,
        found: &mut Violations,
    ) {
        if self.held_by(message, tower).next().is_none() {
            self.report(found, scene.with(message), || {
                format!(
                    "tower {} has queued message {}, which it does not hold",
                    tower.0, message.0
                )
            });
        }
    }

    fn on_queued_unasked(
        &mut self,
        scene: Scene,
        tower: TowerId,
        message: MessageId,
        found: &mut Violations,
    ) {
        self.report(found, scene.with(message), || {
            format!("tower {} has queued message {}, which it has not taken", tower.0, message.0)
        });
        if (message.0 as usize) < self.messages.len() {
            self.duplicate(message, DuplicationCause::Unexplained);
            self.hold(message, tower);
            self.weigh(message);
        }
    }

    fn on_enqueued(
        &mut self,
        scene: Scene,
        tower: TowerId,
        message: MessageId,
        found: &mut Violations,
    ) {
        let known = self.messages.get(message.0 as usize);
        if known.is_some_and(|known| known.state != State::Unknown) {
            self.report(found, scene.with(message), || {
                format!("message {} was enqueued twice", message.0)
            });
            return;
        }
        if self.messages.len() <= message.0 as usize {
            self.messages.resize(message.0 as usize + 1, Message::UNKNOWN);
        }
        self.totals.enqueued += 1;
        self.hold(message, tower);
        self.weigh(message);
    }
}

#[allow(clippy::cast_possible_truncation, reason = "messages are numbered with 32 bits")]
fn id(place: usize) -> MessageId {
    MessageId(place as u32)
}

/// A moment in whole seconds.
fn seconds(at: Instant) -> u32 {
    u32::try_from(at.as_nanos() / 1_000_000_000).unwrap_or(u32::MAX)
}

impl Message {
    const UNKNOWN: Self = Self {
        head: NOWHERE,
        copies: 0,
        shadows: 0,
        hops: 0,
        state: State::Unknown,
        last_loss: LossCause::Unexplained,
        forgotten_strays: 0,
        is_murky: false,
        counted_loss: None,
    };
}
