//! Which of the messages that were handed over arrive, and how far the others came.

use clacks_proto::Instant;

use crate::observation::{MessageId, Observation, Observed, TowerId};

/// The messages that are on their way, or that nobody has heard of since.
///
/// Towers do not say on which of their connections a message is. When one of two ends, the messages on both count as broken, until some of them arrive all the same.
#[derive(Clone, Debug)]
pub(super) struct Underway {
    towers: Vec<Receiver>,
    /// What arrived at this moment and was not taken yet: a connection may break in the middle of a message.
    arrived: Vec<(TowerId, Journey)>,
    arrived_at: Instant,
}

/// What is on its way to a tower.
#[derive(Clone, Debug, Default)]
struct Receiver {
    journeys: Vec<Journey>,
    is_paused: bool,
    /// When it last went on.
    resumed: Option<Instant>,
}

/// The way of one message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Journey {
    /// Which of all hand-overs.
    pub(super) number: u64,
    pub(super) from: TowerId,
    pub(super) message: Option<MessageId>,
    pub(super) departs: Instant,
    pub(super) arrives: Instant,
    /// Its connection has ended, or one between the same towers.
    pub(super) is_broken: bool,
}

impl Underway {
    pub(super) fn new(towers: u32) -> Self {
        Self {
            towers: vec![Receiver::default(); towers as usize],
            arrived: Vec::new(),
            arrived_at: Instant::ORIGIN,
        }
    }

    /// A message is on its way.
    pub(super) fn depart(&mut self, to: TowerId, journey: Journey) {
        if let Some(receiver) = self.towers.get_mut(to.0 as usize) {
            receiver.journeys.push(journey);
        }
    }

    /// Forgets the hand-overs that are not kept.
    pub(super) fn keep(&mut self, mut is_kept: impl FnMut(u64) -> bool) {
        for receiver in &mut self.towers {
            receiver.journeys.retain(|journey| is_kept(journey.number));
        }
    }

    /// Takes in something that happened. `settle` is told the number of each hand-over of which more is known, and the moment at which it broke, unless it arrived.
    pub(super) fn see(
        &mut self,
        observation: &Observation,
        mut settle: impl FnMut(u64, Option<Instant>),
    ) {
        let Observation { at, tower: Some(tower), what } = *observation else { return };
        match what {
            Observed::Arrived { from, .. } => self.on_arrival(at, tower, from, settle),
            Observed::Received { sender, message, .. } => {
                let arrived = self.arrived.iter().filter(|_| self.arrived_at == at);
                let is_it = |(to, journey): &&(TowerId, Journey)| {
                    let is_from = sender.is_none_or(|sender| sender == journey.from);
                    *to == tower && is_from && journey.message == message
                };
                let taken: Vec<_> = arrived.filter(is_it).map(|(_, it)| it.number).collect();
                self.arrived.retain(|(_, journey)| !taken.contains(&journey.number));
                taken.into_iter().for_each(|number| settle(number, None));
            }
            Observed::Broke { with } => {
                let arrived = self.arrived.iter().filter(|_| self.arrived_at == at);
                for (to, journey) in arrived {
                    if (*to, journey.from) == (tower, with) || (*to, journey.from) == (with, tower)
                    {
                        settle(journey.number, Some(at));
                    }
                }
                self.end(at, tower, |journey| journey.from == with, &mut settle);
                self.end(at, with, |journey| journey.from == tower, &mut settle);
            }
            Observed::Closed { with: Some(with) } => {
                self.end(at, tower, |journey| journey.from == with, &mut settle);
                // What it sent before goes on, and what should have arrived by now never will.
                let is_late = |journey: &Journey| journey.from == tower && journey.arrives <= at;
                self.end(at, with, is_late, &mut settle);
            }
            Observed::Crashed | Observed::Left { .. } => {
                self.set_paused(tower, false);
                self.end(at, tower, |_| true, &mut settle);
            }
            Observed::Paused => self.set_paused(tower, true),
            Observed::Resumed => {
                self.set_paused(tower, false);
                if let Some(receiver) = self.towers.get_mut(tower.0 as usize) {
                    receiver.resumed = Some(at);
                }
            }
            _ => {}
        }
    }

    /// How many messages it follows.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.towers.iter().map(|receiver| receiver.journeys.len()).sum()
    }

    fn on_arrival(
        &mut self,
        at: Instant,
        to: TowerId,
        from: TowerId,
        mut settle: impl FnMut(u64, Option<Instant>),
    ) {
        if self.arrived_at != at {
            self.arrived.clear();
            self.arrived_at = at;
        }
        let Some(receiver) = self.towers.get_mut(to.0 as usize) else { return };
        let takes_late = receiver.resumed == Some(at);
        let arrived = &mut self.arrived;
        receiver.journeys.retain(|journey| {
            if journey.from != from || journey.arrives > at {
                return true;
            }
            // Bytes that waited for room on the path come later than they could have.
            if journey.arrives == at || takes_late || !journey.is_broken {
                settle(journey.number, None);
                arrived.push((to, *journey));
            }
            false
        });
    }

    /// Some messages go no further: those on their way stop where they are, and of those that should have arrived by now nobody knows how far they came.
    fn end(
        &mut self,
        at: Instant,
        to: TowerId,
        is_ended: impl Fn(&Journey) -> bool,
        settle: &mut impl FnMut(u64, Option<Instant>),
    ) {
        let Some(receiver) = self.towers.get_mut(to.0 as usize) else { return };
        let is_paused = receiver.is_paused;
        receiver.journeys.retain_mut(|journey| {
            let is_late = journey.arrives <= at;
            // They wait at a tower that is stopped until it goes on.
            if is_late && is_paused || !is_ended(journey) {
                return true;
            }
            if !std::mem::replace(&mut journey.is_broken, true) {
                let half = journey.arrives.duration_since(journey.departs) / 2;
                settle(journey.number, Some(if is_late { journey.departs + half } else { at }));
            }
            // What arrives at this very moment may do so right after this.
            journey.arrives >= at
        });
    }

    fn set_paused(&mut self, tower: TowerId, is_paused: bool) {
        if let Some(receiver) = self.towers.get_mut(tower.0 as usize) {
            receiver.is_paused = is_paused;
        }
    }
}
