//! Who sent the messages that towers take, whatever these know about it.
//!
//! A tower that has no room for its sender among its peers takes a message from nobody it knows. The network knows on which connection it came.

use clacks_proto::{MessageState, OfferId, StateMachine};

use super::{Network, Observer};
use crate::observation::{MessageId, Observed, TowerId};

/// A message under screening.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offered {
    offer: OfferId,
    message: MessageId,
    sender: TowerId,
}

impl<M: StateMachine, W: Observer<M>> Network<M, W> {
    /// Returns the tower that handed over a message which was taken: in this event, or before the
    /// message was put under screening.
    pub(super) fn sender_of(&mut self, tower: TowerId, message: MessageId) -> Option<TowerId> {
        let speaker = self.speaker;
        let node = &mut self.nodes[tower.0 as usize];
        let Some(machine) = node.machine.as_ref().filter(|_| !node.offers.is_empty()) else {
            return speaker;
        };
        let is_decided =
            |it: &Offered| it.message == message && machine.tower().offer(it.offer).is_none();
        let from_speaker = |it: &Offered| is_decided(it) && Some(it.sender) == speaker;
        let place = node.offers.iter().position(from_speaker);
        match place.or_else(|| node.offers.iter().position(is_decided)) {
            Some(place) => Some(node.offers.remove(place).sender),
            None => speaker,
        }
    }

    /// Forgets the offers that ended in this event, and remembers new ones. If the application has
    /// swallowed a message or put its own one in the place, the offers that ended were swallowed.
    ///
    /// The tower is asked for its offers, because an application need not pass on the action that
    /// shows an offer. A new offer costs O(messages held).
    pub(super) fn update_offers(&mut self, tower: TowerId, has_made_messages: bool) {
        let node = &mut self.nodes[tower.0 as usize];
        let Some(machine) = node.machine.as_ref().map(StateMachine::tower) else { return };
        let pending = machine.pending_screenings();
        if node.offers.is_empty() && pending == 0 {
            return;
        }
        let swallowed = u32::try_from(machine.stats().swallowed).unwrap_or(u32::MAX);
        let are_swallowed = has_made_messages || swallowed != node.swallowed;
        node.swallowed = swallowed;
        let ended = node.offers.extract_if(.., |it| machine.offer(it.offer).is_none());
        let ended: Vec<_> = ended.filter(|_| are_swallowed).collect();
        let mut new = Vec::new();
        if pending > node.offers.len() {
            new.extend(machine.peek().filter_map(|held| match held.state {
                MessageState::Offered { offer } => Some((offer, held.nonce)),
                _ => None,
            }));
        }
        new.retain(|(offer, _)| node.offers.iter().all(|it| it.offer != *offer));
        for Offered { message, sender, .. } in ended {
            self.see(tower, Observed::Swallowed { sender: Some(sender), message });
        }
        let Some(sender) = self.speaker else { return };
        for (offer, nonce) in new {
            let message = self.message_of(sender, nonce);
            self.nodes[tower.0 as usize].offers.push(Offered { offer, message, sender });
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
