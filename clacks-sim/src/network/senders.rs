//! Who sent the messages that towers take, whatever these know about it.
//!
//! A tower that has no room for its sender among its peers takes a message from nobody it knows. The network knows on which connection it came.

use clacks_proto::{OfferId, StateMachine};

use super::{Network, Observer};
use crate::observation::{MessageId, TowerId};

/// A message under screening.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offered {
    offer: OfferId,
    message: Option<MessageId>,
    sender: TowerId,
}

impl<M: StateMachine, W: Observer<M>> Network<M, W> {
    /// A message among the bytes that a tower deals with is not taken yet.
    pub(super) fn on_offer(&mut self, tower: TowerId, offer: OfferId) {
        let node = &mut self.nodes[tower.0 as usize];
        let offered = node.machine.as_ref().and_then(|machine| machine.tower().offer(offer));
        if let (Some(sender), Some(offered)) = (self.speaker, offered) {
            let message = self.names.number_of(offered.nonce);
            node.offers.push(Offered { offer, message, sender });
        }
    }

    /// Who sent a message that a tower says that it has taken: whoever it listens to, or sent it when it was put under screening.
    pub(super) fn sender_of(
        &mut self,
        tower: TowerId,
        message: Option<MessageId>,
    ) -> Option<TowerId> {
        if self.speaker.is_some() {
            return self.speaker;
        }
        let node = &mut self.nodes[tower.0 as usize];
        let machine = node.machine.as_ref()?.tower();
        let is_it = |it: &Offered| it.message == message && machine.offer(it.offer).is_none();
        let place = node.offers.iter().position(is_it)?;
        Some(node.offers.remove(place).sender)
    }

    /// All that followed from an event is told: offers that are not open any more have been decided, or have ended with their link.
    pub(super) fn forget_offers(&mut self, tower: TowerId) {
        let node = &mut self.nodes[tower.0 as usize];
        if let Some(machine) = node.machine.as_ref().filter(|_| !node.offers.is_empty()) {
            node.offers.retain(|it| machine.tower().offer(it.offer).is_some());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use clacks_proto::{DefaultVerdict, Screening};

    use super::super::tests::{calm, plan, run};
    use crate::observation::{Observation, Observed, TowerId};

    /// Who sent each message that was taken, and whether its taker knew that. Every one of them had been handed over by its sender to its taker.
    fn takes(screening: Screening) -> Vec<(TowerId, bool)> {
        // A tower that knows one peer takes from others what it can't say from whom.
        let mut plan = plan(4, calm(), Vec::new());
        let config = Arc::make_mut(&mut plan.config);
        config.max_peers = 1;
        config.screening = screening;
        let seen = run(plan).watch.seen;
        let mut takes = Vec::new();
        for (place, observation) in seen.iter().enumerate() {
            let Observation {
                tower: Some(taker),
                what: Observed::Received { from, sender, message },
                ..
            } = *observation
            else {
                continue;
            };
            let sender = sender.unwrap();
            assert!(from.is_none_or(|from| from == sender));
            let is_its = |before: &Observation| {
                let handed_over = matches!(before.what, Observed::HandedOver { to, message: it, .. } if to == taker && it == message);
                before.tower == Some(sender) && handed_over
            };
            assert!(seen[..place].iter().any(is_its), "{observation:?}");
            takes.push((sender, from.is_some()));
        }
        takes
    }

    #[test]
    fn who_sent_a_message_is_known_though_its_taker_may_not_know() {
        let timeout = Duration::from_millis(70);
        let waits = Screening::On { max_offers: 4, timeout, default: DefaultVerdict::Accept };
        for screening in [Screening::Off, waits] {
            let takes = takes(screening);
            for is_known in [true, false] {
                let count = takes.iter().filter(|(_, known)| *known == is_known).count();
                assert!(count > 0, "{is_known} {screening:?}");
            }
        }
    }
}
