//! Who sent the messages that towers take, whatever these know about it.
//!
//! A tower that has no room for its sender among its peers takes a message from nobody it knows. The network knows on which connection it came.

use clacks_proto::{OfferId, StateMachine};

use super::{Watch, World};
use crate::occurrence::{MessageId, TowerId};

/// A message under screening.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offered {
    offer: OfferId,
    message: Option<MessageId>,
    sender: TowerId,
}

impl<M: StateMachine, W: Watch<M>> World<M, W> {
    /// A message among the bytes that a tower deals with is not taken yet.
    pub(super) fn on_offer(&mut self, tower: TowerId, offer: OfferId) {
        let node = &mut self.nodes[tower.0 as usize];
        let offered = node.machine.as_ref().and_then(|machine| machine.tower().offer(offer));
        if let (Some(sender), Some((nonce, _))) = (self.speaker, offered) {
            let message = self.names.number_of(nonce);
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
