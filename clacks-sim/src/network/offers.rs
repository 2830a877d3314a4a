//! Messages under screening: the senders, and whether the messages were swallowed.
//!
//! A tower without room for the sender among its peers does not name the sender, but the network
//! knows the connection.

use clacks_proto::{MessageState, OfferId, StateMachine, Tower};

use super::{Network, NetworkObserver};
use crate::observation::{MessageId, Observed, TowerId};

/// The offers of one tower.
#[derive(Debug, Default)]
pub(super) struct Offers {
    pending: Vec<Offered>,
    /// The number of messages that the application has swallowed in this life.
    swallowed: u64,
}

/// A message under screening.
#[derive(Clone, Copy, Debug)]
struct Offered {
    offer: OfferId,
    message: MessageId,
    sender: TowerId,
}

impl<M: StateMachine, W: NetworkObserver<M>> Network<M, W> {
    /// Returns the tower that handed over a message which was taken: in this event, or before the
    /// message was put under screening.
    pub(super) fn sender_of(&mut self, tower: TowerId, message: MessageId) -> Option<TowerId> {
        let sender = self.sender;
        let node = self.node(tower);
        let (Some(machine), Some(offers)) = node.tower_and_offers() else { return sender };
        let is_decided = |it: &Offered| it.message == message && machine.offer(it.offer).is_none();
        let from_sender = |it: &Offered| is_decided(it) && Some(it.sender) == sender;
        let position = offers.pending.iter().position(from_sender);
        match position.or_else(|| offers.pending.iter().position(is_decided)) {
            Some(position) => Some(offers.pending.remove(position).sender),
            None => sender,
        }
    }

    /// Forgets the offers that ended in this event, and remembers new ones. If the application has
    /// swallowed a message or put its own one in the place, the offers that ended were swallowed.
    ///
    /// The tower is asked for its offers, because an application need not pass on the action that
    /// shows an offer. A new offer costs O(messages held).
    pub(super) fn update_offers(&mut self, tower: TowerId, has_made_messages: bool) {
        let sender = self.sender;
        let node = self.node(tower);
        let pending = node.tower().map_or(0, Tower::pending_screenings);
        if pending > 0 {
            node.create_offers();
        }
        let (Some(machine), Some(offers)) = node.tower_and_offers() else { return };
        let swallowed = machine.stats().swallowed;
        let are_swallowed = has_made_messages || swallowed != offers.swallowed;
        offers.swallowed = swallowed;
        let ended = offers.pending.extract_if(.., |it| machine.offer(it.offer).is_none());
        let ended: Vec<_> = ended.filter(|_| are_swallowed).collect();
        let mut new = Vec::new();
        if pending > offers.pending.len() {
            new.extend(machine.peek().filter_map(|held| match held.state {
                MessageState::Offered { offer } => Some((offer, held.nonce)),
                _ => None,
            }));
        }
        new.retain(|(offer, _)| offers.pending.iter().all(|it| it.offer != *offer));
        for Offered { message, sender, .. } in ended {
            self.see(tower, Observed::Swallowed { sender: Some(sender), message });
        }
        let Some(sender) = sender else { return };
        for (offer, nonce) in new {
            let message = self.message_of(sender, nonce);
            if let (_, Some(offers)) = self.node(tower).tower_and_offers() {
                offers.pending.push(Offered { offer, message, sender });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use clacks_proto::{DefaultVerdict, Screening};

    use super::super::tests::{plan, reliable, run};
    use super::*;
    use crate::observation::Observation;

    /// Returns the sender of each message that was taken, and whether its receiver knew the sender.
    fn receptions(screening: Screening) -> Vec<(TowerId, bool)> {
        let mut plan = plan(4, reliable(), Vec::new());
        let config = Arc::make_mut(&mut plan.config);
        // A tower with a full table names no sender.
        config.max_peers = 1;
        config.screening = screening;
        let seen = run(plan).observer.seen;
        let mut receptions = Vec::new();
        for (place, observation) in seen.iter().enumerate() {
            let Observation {
                tower: Some(receiver),
                what: Observed::Received { from, sender, message },
                ..
            } = *observation
            else {
                continue;
            };
            let sender = sender.unwrap();
            assert!(from.is_none_or(|from| from == sender));
            let is_hand_over = |before: &Observation| {
                let Observed::HandedOver { to, message: other, .. } = before.what else {
                    return false;
                };
                before.tower == Some(sender) && to == receiver && other == message
            };
            assert!(seen[..place].iter().any(is_hand_over), "{observation:?}");
            receptions.push((sender, from.is_some()));
        }
        receptions
    }

    #[test]
    fn the_sender_of_a_message_is_observed_even_if_its_receiver_does_not_know_it() {
        let timeout = Duration::from_millis(70);
        let waits = Screening::On { max_offers: 4, timeout, default: DefaultVerdict::Accept };
        for screening in [Screening::Off, waits] {
            let receptions = receptions(screening);
            for is_known in [true, false] {
                let count = receptions.iter().filter(|(_, known)| *known == is_known).count();
                assert!(count > 0, "{is_known} {screening:?}");
            }
        }
    }
}
