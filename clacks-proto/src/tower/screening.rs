//! Screening: an application looks at messages before they are queued.

use core::fmt;

use super::Tower;
use crate::config::{DefaultVerdict, Screening};
use crate::event::{Notice, Origin};
use crate::ids::{MessageKey, OfferId, PeerId};
use crate::link::Outcome;
use crate::message::Message;
use crate::queue::Place;
use crate::time::Instant;
use crate::wire::RefusedReason;

impl Tower {
    /// Says what becomes of a message under screening.
    ///
    /// # Errors
    ///
    /// [`DecideError::Gone`] when it is decided already or its link has ended: the sender still has it. The other
    /// errors leave it under screening, to be decided otherwise.
    pub fn decide(
        &mut self,
        offer: OfferId,
        verdict: Verdict,
        now: Instant,
    ) -> Result<(), DecideError> {
        self.set_now(now);
        self.judge(offer.0, verdict)?;
        self.advance();
        Ok(())
    }

    pub(super) fn on_offer_deadlines(&mut self) {
        while let Some((at, key)) = self.offers.front().copied() {
            let is_open = matches!(self.queue.place(key), Place::Offered { .. });
            if is_open && at > self.now {
                return;
            }
            self.offers.pop_front();
            if let Screening::On { default, .. } = self.config.screening
                && is_open
            {
                let verdict = match default {
                    DefaultVerdict::Accept => Verdict::Accept,
                    DefaultVerdict::Reject => Verdict::Reject,
                };
                // Neither of the two can fail on an open offer.
                let _ = self.judge(key, verdict);
            }
        }
    }

    fn judge(&mut self, key: MessageKey, verdict: Verdict) -> Result<(), DecideError> {
        let Place::Offered { link } = self.queue.place(key) else {
            return Err(DecideError::Gone);
        };
        let from = self.claimed(link);
        let outcome = match verdict {
            Verdict::Accept => {
                self.stats.received += 1;
                self.accept_offer(key, from);
                Outcome::Taken
            }
            Verdict::Replace(message) => {
                let old = self.queue.get(key).map_or(0, |(_, _, body)| body.len());
                let len = message.body().len();
                if len > self.config.max_message {
                    return Err(DecideError::TooLarge { max: self.config.max_message });
                }
                // The old one leaves first, but both stand for a moment: slots and bytes must have room for the difference.
                if !self.queue.has_room(len.saturating_sub(old), 100) {
                    return Err(DecideError::Full);
                }
                self.queue.discard(key);
                self.stats.received += 1;
                self.store_local(&message);
                Outcome::Taken
            }
            Verdict::Swallow => {
                self.queue.discard(key);
                self.stats.swallowed += 1;
                Outcome::Taken
            }
            Verdict::Reject => {
                self.queue.discard(key);
                self.stats.refused += 1;
                Outcome::Refused(RefusedReason::Screened)
            }
        };
        self.open_offers -= 1;
        let offering = self.links.live_mut(link);
        let incoming = offering.and_then(|link| {
            link.undecided.iter_mut().find(|incoming| incoming.offer == Some(key))
        });
        if let Some(incoming) = incoming {
            incoming.outcome = Some(outcome);
            let transfer = incoming.transfer;
            if outcome == Outcome::Taken {
                self.taken_from(link, self.proved(link), transfer);
            }
        }
        self.settle_decided(link);
        self.forget_decided_offers();
        Ok(())
    }

    /// Queues a message that was under screening, unless a copy of it came in meanwhile by another way.
    fn accept_offer(&mut self, key: MessageKey, from: Option<PeerId>) {
        let Some((nonce, kind, body)) = self.queue.get(key) else { return };
        match self.queue.find(self.queue.name(nonce), kind, body) {
            Some(copy) => {
                self.queue.coalesce(copy);
                self.stats.coalesced += 1;
                self.notify(Notice::MessageReceived { from, message: copy });
                self.queue.discard(key);
            }
            None => {
                self.queue.give_back(key);
                self.notify(Notice::MessageReceived { from, message: key });
                self.notify(Notice::MessageQueued { message: key, origin: Origin::Peer });
            }
        }
    }

    /// Keeps the list of deadlines as short as the offers that are open, give or take their bound: offers end by a verdict or with their link.
    pub(super) fn forget_decided_offers(&mut self) {
        let queue = &self.queue;
        let is_open = |key: MessageKey| matches!(queue.place(key), Place::Offered { .. });
        while self.offers.front().is_some_and(|(_, key)| !is_open(*key)) {
            self.offers.pop_front();
        }
        if self.offers.len() >= 2 * self.max_offers() {
            let queue = &self.queue;
            self.offers.retain(|(_, key)| matches!(queue.place(*key), Place::Offered { .. }));
        }
    }
}

/// An application's word on a message under screening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is queued.
    Accept,
    /// Another one is queued in its place, under a name of its own; the sender's is confirmed.
    Replace(Message),
    /// It is confirmed to its sender and not queued.
    Swallow,
    /// It is refused; its sender keeps it.
    Reject,
}

/// Why a verdict has no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecideError {
    /// The message is decided already, or its sender is gone (and still has it).
    Gone,
    /// The replacement is longer than this tower takes. The message is still under screening.
    TooLarge {
        /// The longest body, in bytes.
        max: usize,
    },
    /// The queue has no room for the replacement. The message is still under screening.
    Full,
}

impl fmt::Display for DecideError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("the message is decided already, or its sender is gone"),
            Self::TooLarge { max } => write!(f, "the message may have up to {max} bytes"),
            Self::Full => f.write_str("the queue has no room for the message"),
        }
    }
}

impl core::error::Error for DecideError {}
