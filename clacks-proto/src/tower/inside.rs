//! What a fuzz target's model compares itself with, and what it reads off because it was drawn at random.

use alloc::vec::Vec;

use super::Tower;
use super::report::Held;
use crate::actions::message_of;
use crate::address::Address;
use crate::ids::{LinkId, MessageKey, PeerId};
use crate::link::{Direction, Link, State, Transfer};
#[cfg(feature = "tls")]
use crate::message::Nonce;
use crate::time::Instant;
#[cfg(feature = "tls")]
use crate::wire::Attempt;

/// The inside of a tower at a moment.
#[derive(Clone, Debug)]
pub(crate) struct Inside {
    pub(crate) incarnation: u64,
    pub(crate) next_transfer: u64,
    /// The next tick, wanted or not.
    pub(crate) tick: Instant,
    pub(crate) heartbeat_at: Instant,
    pub(crate) retry_at: Option<Instant>,
    pub(crate) links: Vec<LinkInside>,
    /// Places for links that are taken, by those that have ended too.
    pub(crate) places: usize,
    pub(crate) peers: Vec<(PeerId, Address)>,
    /// Head first.
    pub(crate) waiting: Vec<MessageKey>,
    /// All messages, wherever they are.
    pub(crate) messages: Vec<Held>,
    /// How many places of messages are taken, and the bytes of bodies in them that have departed.
    pub(crate) slots: (usize, usize),
    /// The message that each of the notices speaks of that wait to be polled.
    pub(crate) told: Vec<Option<MessageKey>>,
    /// Notices and offers that wait to be polled.
    pub(crate) pending: (usize, usize),
    /// How long the list of the deadlines of offers is.
    pub(crate) offer_deadlines: usize,
}

/// One link.
#[derive(Clone, Debug)]
pub(crate) struct LinkInside {
    pub(crate) id: LinkId,
    pub(crate) state: State,
    pub(crate) direction: Direction,
    pub(crate) peer: Option<PeerId>,
    pub(crate) transfers: Vec<Transfer>,
    pub(crate) sent: usize,
    /// Offers that came in on it and wait for a verdict, in order.
    pub(crate) offers: Vec<MessageKey>,
    /// When it is looked at next.
    pub(crate) deadline: Option<Instant>,
    /// Actions that name it and wait to be polled.
    pub(crate) actions: u8,
    /// Answers that were not sent, and the bytes of its decoder.
    pub(crate) held: (usize, usize),
}

impl Tower {
    /// The inside at this moment.
    pub(crate) fn inside(&self) -> Inside {
        let messages: Vec<_> = self.peek().collect();
        let waiting = messages.iter().filter(|it| it.in_flight.is_none() && it.offer.is_none());
        Inside {
            incarnation: self.incarnation,
            next_transfer: self.next_transfer,
            tick: self.pacer.tick(),
            heartbeat_at: self.heartbeat_at,
            retry_at: self.retry_at,
            links: self.links.iter().map(|(id, link)| self.link_inside(id, link)).collect(),
            places: self.links.len(),
            peers: self.survey().map(|peer| (peer.id, peer.address.clone())).collect(),
            waiting: waiting.map(|held| held.key).collect(),
            messages,
            slots: self.queue.slots(),
            told: self.actions.waiting_notices().map(message_of).collect(),
            pending: (self.actions.notices(), self.actions.screens()),
            offer_deadlines: self.offers.len(),
        }
    }

    /// The messages that a link carries, unanswered: the number and the attempt of each transfer, and the name of its message.
    #[cfg(feature = "tls")]
    pub(crate) fn transfers_on(&self, link: LinkId) -> Vec<(u64, Attempt, Nonce)> {
        let link = self.links.get(link);
        let transfers = link.map(|link| link.transfers.iter().take(link.transfers.sent()));
        let named = transfers.into_iter().flatten().filter_map(|transfer| {
            let (nonce, _, _) = self.queue.get(transfer.message()?)?;
            Some((transfer.number, transfer.attempt, nonce))
        });
        named.collect()
    }

    /// Whether a transfer that a peer asks about would be recognised.
    pub(crate) fn remembers(&self, peer: PeerId, transfer: u64) -> bool {
        let taken = self.peers.get(peer).and_then(|peer| peer.taken.as_ref());
        taken.is_some_and(|taken| taken.recalls(transfer))
    }

    fn link_inside(&self, id: LinkId, link: &Link) -> LinkInside {
        let undecided = link.undecided.iter();
        LinkInside {
            id,
            state: link.state,
            direction: link.direction,
            peer: link.peer,
            transfers: link.transfers.iter().copied().collect(),
            sent: link.transfers.sent(),
            offers: undecided
                .filter(|incoming| incoming.outcome.is_none())
                .filter_map(|incoming| incoming.offer)
                .collect(),
            deadline: self.link_deadlines.get(id.index),
            actions: self.links.actions(id),
            held: (link.unsent_answers() + link.undecided.len(), link.decoder.capacity()),
        }
    }
}
