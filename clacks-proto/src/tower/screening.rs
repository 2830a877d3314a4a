//! Screening: an application looks at messages before they are queued.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::fmt;
use core::time::Duration;

use super::Tower;
use super::admission::Admission;
use super::queue::{Account, Place};
use super::sender::SenderInfo;
use crate::config::{DefaultVerdict, Screening};
use crate::event::{Notice, Origin};
use crate::ids::{LinkId, MessageId, OfferId, PeerId};
use crate::link::{Outcome, Session};
use crate::message::{Message, Nonce};
use crate::time::Instant;
use crate::wire::RefusedReason;
use crate::wire::TransferId;

/// A message that waits for the application's verdict.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offer {
    pub(super) message: MessageId,
    pub(super) sender: SenderInfo,
    pub(super) admission: Admission,
    pub(super) retry_of: Option<TransferId>,
    pub(super) deadline: Instant,
}

/// Messages that wait for the application's verdict.
#[derive(Debug, Default)]
pub(super) struct Screenings {
    /// In the order of their deadlines, since all have the same time. Allocated for the first one.
    #[expect(clippy::box_collection, reason = "most towers have none, which then takes 8 bytes")]
    offers: Option<Box<VecDeque<Offer>>>,
}

impl Screenings {
    pub(super) fn open(&self) -> usize {
        self.offers.as_ref().map_or(0, |offers| offers.len())
    }

    pub(super) fn add(&mut self, offer: Offer) {
        self.offers.get_or_insert_default().push_back(offer);
    }

    /// Removes a message that is decided or withdrawn. Most are the oldest.
    pub(super) fn take(&mut self, message: MessageId) -> Option<Offer> {
        let offers = self.offers.as_mut()?;
        let position = offers.iter().position(|offer| offer.message == message)?;
        offers.remove(position)
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.first().map(|offer| offer.deadline)
    }

    fn first(&self) -> Option<&Offer> {
        self.offers.as_ref()?.front()
    }

    fn expired(&self, now: Instant) -> Option<MessageId> {
        self.first().filter(|offer| offer.deadline <= now).map(|offer| offer.message)
    }
}

impl Tower {
    /// Decides about a message under screening.
    ///
    /// # Errors
    ///
    /// With [`DecideError::Gone`] the message is decided already or its link has ended; then the
    /// sender still has it. The other errors leave the message under screening.
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

    /// Returns the link that brought a message under screening.
    #[must_use]
    pub fn link_of_offer(&self, offer: OfferId) -> Option<LinkId> {
        self.queue.offered_on(offer.0)
    }

    pub(super) fn on_screening_deadlines(&mut self) {
        let Screening::On { default, .. } = self.local.config.screening else { return };
        while let Some(offer) = self.screenings.expired(self.now) {
            let verdict = match default {
                DefaultVerdict::Accept => Verdict::ACCEPT,
                DefaultVerdict::Reject => Verdict::Reject,
            };
            if self.judge(offer, verdict).is_err() {
                debug_assert!(false, "an open offer is held, and neither verdict needs room");
                self.screenings.take(offer);
            }
        }
    }

    fn judge(&mut self, id: MessageId, verdict: Verdict) -> Result<(), DecideError> {
        let link = self.queue.offered_on(id).ok_or(DecideError::Gone)?;
        if let Verdict::Replace(message) = &verdict {
            self.check_replacement(id, message)?;
        }
        let Some(Offer { sender, admission, retry_of, .. }) = self.screenings.take(id) else {
            debug_assert!(false, "an offered message waits for a verdict");
            return Err(DecideError::Gone);
        };
        let outcome = match verdict {
            Verdict::Accept { hold } => {
                self.accept_offer(id, hold, sender.claimed, admission);
                Outcome::Taken
            }
            Verdict::Replace(message) => {
                self.queue.discard(id);
                self.stats.received += 1;
                let deadline = self.draw_deadline();
                self.store_local(message, deadline, Duration::ZERO);
                Outcome::Taken
            }
            Verdict::Swallow => {
                self.queue.discard(id);
                self.stats.swallowed += 1;
                Outcome::Taken
            }
            Verdict::Reject => {
                self.queue.discard(id);
                self.stats.refused += 1;
                Outcome::Refused(RefusedReason::Screened)
            }
        };
        if self.links.get(link).is_some_and(Session::is_live)
            && let Some(mut taken_out) = self.links.take(link)
        {
            let session = taken_out.session_mut();
            let was_open = session.decide(id, outcome, self.now);
            if was_open && outcome == Outcome::Taken {
                self.on_taken(link, session, sender.proved);
                if let Some(first) = retry_of {
                    self.remember_retried(session, first);
                }
            }
            session.settle(link, self);
            self.put_back(link, taken_out);
        }
        Ok(())
    }

    /// Queues a message that was under screening, unless a copy of it came in meanwhile.
    fn accept_offer(
        &mut self,
        id: MessageId,
        hold: Duration,
        from: Option<PeerId>,
        admission: Admission,
    ) {
        let Some(entry) = self.queue.get(id) else { return };
        let (nonce, hash) = (entry.nonce, self.queue.hash(entry.nonce));
        let (len, deadline) = (entry.message.len(), entry.deadline);
        if let Some(copy) = self.queue.find(nonce, &entry.message) {
            self.queue.coalesce(copy);
            self.queue.prolong(copy, deadline);
            self.stats.coalesced += 1;
            self.notify_received(copy, hash, from, true);
            self.queue.discard(id);
        } else {
            self.queue.requeue(id);
            self.on_admitted(admission, len);
            self.hold(id, hold);
            self.notify_received(id, hash, from, false);
        }
    }

    /// Returns why a message can't take the place of one under screening.
    fn check_replacement(&self, id: MessageId, message: &Message) -> Result<(), DecideError> {
        let old = self.queue.get(id).map_or(0, |entry| entry.message.len());
        let max = self.local.config.max_message;
        if message.len() > max {
            return Err(DecideError::TooLarge { max });
        }
        // The old message leaves first, but its place counts until then: there must be room for the
        // difference.
        let more = message.len().saturating_sub(old);
        if self.queue.has_room(more, 100, self.actions.notice_bytes()) {
            Ok(())
        } else {
            Err(DecideError::Full)
        }
    }

    pub(super) fn store_local(
        &mut self,
        message: Message,
        deadline: Instant,
        hold: Duration,
    ) -> Nonce {
        let nonce = self.draw_nonce();
        self.recent.insert(self.queue.hash(nonce));
        let id = self.queue.store(nonce, message, Place::Waiting, Account::Local);
        self.queue.set_deadline(id, deadline);
        self.hold(id, hold);
        self.notify(Notice::MessageQueued { id, nonce, origin: Origin::Local });
        nonce
    }
}

/// An application's decision about a message under screening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The message is queued.
    Accept {
        /// How long the message rests before it joins the tail of the queue, at most for its
        /// lifetime. See [`EnqueueOptions::hold`](crate::EnqueueOptions::hold).
        hold: Duration,
    },
    /// Another message is queued instead, under a name of its own. The sender's message is
    /// confirmed.
    Replace(Message),
    /// The message is confirmed and not queued.
    Swallow,
    /// The message is refused. Its sender keeps it.
    Reject,
}

impl Verdict {
    /// The message is queued, and does not rest.
    pub const ACCEPT: Self = Self::Accept { hold: Duration::ZERO };
}

/// Why a verdict has no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecideError {
    /// The message is decided already, or its link has ended and the sender still has it.
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
            Self::TooLarge { max } => write!(f, "the message may have at most {max} bytes"),
            Self::Full => f.write_str("the queue has no room for the message"),
        }
    }
}

impl core::error::Error for DecideError {}
