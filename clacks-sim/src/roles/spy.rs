//! Spies: towers that follow the protocol, and guess the origin of messages.

use std::collections::BTreeMap;

use crate::observation::{MessageId, Observation, Observed, TowerId};

/// What spies learn: for each message, the tower that handed it to a spy first. They guess that
/// this tower has enqueued it.
#[derive(Clone, Debug, Default)]
pub struct FirstHops {
    origins: BTreeMap<MessageId, TowerId>,
    guesses: BTreeMap<MessageId, TowerId>,
}

impl FirstHops {
    /// Sees an observation. `is_spy` tells which towers are spies.
    pub fn see(&mut self, observation: &Observation, is_spy: impl Fn(TowerId) -> bool) {
        let Some(tower) = observation.tower else { return };
        match observation.what {
            Observed::Enqueued { message } => {
                self.origins.entry(message).or_insert(tower);
            }
            Observed::Received { sender: Some(sender), message: Some(message), .. }
                if is_spy(tower) && !is_spy(sender) =>
            {
                self.guesses.entry(message).or_insert(sender);
            }
            _ => {}
        }
    }

    /// Returns the share of the guesses that are right, if there are guesses.
    #[must_use]
    pub fn precision(&self) -> Option<f64> {
        let right =
            |(message, guess): &(&MessageId, &TowerId)| self.origins.get(*message) == Some(*guess);
        let count = self.guesses.len();
        (count > 0).then(|| self.guesses.iter().filter(right).count() as f64 / count as f64)
    }
}
