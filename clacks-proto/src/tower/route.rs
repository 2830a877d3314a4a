//! Handles events of links: updates peers, the queue and other links.

use alloc::boxed::Box;

use super::Tower;
use super::admission::Admission;
use super::queue::{Place, TakenIn};
use super::screening::Offer;
use super::sender::SenderInfo;
use super::status::Source;
use crate::address::Address;
use crate::config::Screening;
use crate::error::{CloseReason, StatusReason};
use crate::event::{Action, CloseMode, DatagramLoss, Dialect, Notice, Origin};
use crate::ids::{LinkId, MessageId, OfferId, PeerId};
use crate::link::{
    LinkEvent, LinkName, Local, Outcome, Payload, RetryMemory, Router, Sender, Session, Transfer,
};
use crate::message::{Message, Nonce};
use crate::time::Instant;
use crate::wire::{AnnounceFrame, Farewell, Hello, MessageFrame, RefusedReason, TransferId};
use core::time::Duration;

/// The most notices that follow from one message: received, the sender alive, the friend
/// discovered, and a dead peer forgotten for the friend.
const NOTICES_PER_MESSAGE: usize = 4;

impl Router for Tower {
    fn local(&self) -> &Local {
        &self.local
    }

    fn now(&self) -> Instant {
        self.now
    }

    /// Routes what happened on a link. The link is taken out of the table meanwhile.
    #[inline(always)]
    fn on_link_event(&mut self, id: LinkId, link: &mut Session, event: LinkEvent<'_>) {
        match event {
            LinkEvent::Message(frame, sender) => self.on_message(id, link, frame, sender),
            LinkEvent::Settled(transfer, outcome) => {
                if let Some(peer) = link.peer {
                    self.on_settled(peer, &transfer, outcome);
                }
            }
            LinkEvent::Handled => {}
            LinkEvent::Opened(hello) => self.on_opened(id, link, hello),
            LinkEvent::Announce(frame, sender) => self.on_announce(id, link, frame, sender),
            LinkEvent::Datagram(body) => self.on_datagram(id, link, body),
            LinkEvent::Leaving(withdrawn) => {
                self.on_withdrawn(id, link.peer, withdrawn);
                if let Some(peer) = link.peer {
                    self.release_link(id, peer);
                }
            }
            LinkEvent::Closed(closed) => self.on_closed(id, link, *closed),
            LinkEvent::CloseTimedOut => self.actions.push(Action::Close {
                link: id,
                how: CloseMode::Abort,
                reason: CloseReason::Truncated,
            }),
        }
    }
}

impl Tower {
    // A message.

    #[inline]
    fn on_message(
        &mut self,
        id: LinkId,
        link: &mut Session,
        frame: &MessageFrame<'_>,
        sender: Sender<'_>,
    ) {
        if link.unlearned.is_some() {
            self.learn_again(id, link);
        }
        let from = self.sender_of(link, sender);
        let outcome = self.take_in(id, link, from, frame);
        if !matches!(outcome, Some(Outcome::Refused(_))) {
            frame.friend.iter().for_each(|it| self.learn_friend(it, link.prefix));
        }
        if let (Some(Outcome::Taken), Some(first)) = (outcome, frame.retry_of) {
            self.remember_retried(link, first);
        }
        if let Some(outcome) = outcome {
            link.answer(frame.body.len(), outcome);
            self.close_on_ignored(id, link, outcome);
        }
    }

    /// Decides about a message that came in. Returns `None` while the application decides.
    #[inline(always)]
    fn take_in(
        &mut self,
        id: LinkId,
        link: &mut Session,
        from: SenderInfo,
        frame: &MessageFrame<'_>,
    ) -> Option<Outcome> {
        if let Some(reason) = self.refusal(from) {
            self.stats.refused += 1;
            return Some(Outcome::Refused(reason));
        }
        let MessageFrame { retry_of, lifetime, kind, body, .. } = *frame;
        if let Some(first) = retry_of
            && self.was_taken(link, first)
        {
            self.stats.recognised_retries += 1;
            self.on_taken(id, link, from.proved);
            return Some(Outcome::Taken);
        }
        if !self.actions.has_room(NOTICES_PER_MESSAGE) {
            self.stats.refused += 1;
            return Some(Outcome::Refused(RefusedReason::Busy));
        }
        let has_nonce = link.dialect().has_nonces();
        let nonce = if has_nonce { frame.nonce } else { self.draw_nonce() };
        if let Screening::On { max_offers, timeout, .. } = self.local.config.screening
            && self.local.config.screens(kind, body.len())
        {
            let bounds = (max_offers, timeout);
            return self.offer_to_application(id, link, from, frame, nonce, bounds);
        }
        let hash = self.queue.hash(nonce);
        let admission = self.admission(from, body.len());
        let has_room = admission != Admission::Full;
        match self.queue.take_in(nonce, hash, kind, body, from.account(), has_room) {
            TakenIn::Full => {
                self.stats.refused += 1;
                return Some(Outcome::Refused(RefusedReason::Busy));
            }
            TakenIn::Coalesced(message) => {
                self.stats.coalesced += 1;
                self.queue.prolong(message, self.deadline(lifetime));
                self.notify_received(message, hash, from.claimed, true);
            }
            TakenIn::Queued(message) => {
                self.queue.set_deadline(message, self.deadline(lifetime));
                self.on_admitted(admission, body.len());
                self.notify_received(message, hash, from.claimed, false);
            }
        }
        self.on_taken(id, link, from.proved);
        Some(Outcome::Taken)
    }

    /// Shows a message to the application before it is queued. Returns `None` while the application
    /// decides.
    fn offer_to_application(
        &mut self,
        id: LinkId,
        link: &mut Session,
        from: SenderInfo,
        frame: &MessageFrame<'_>,
        nonce: Nonce,
        (max_offers, timeout): (usize, Duration),
    ) -> Option<Outcome> {
        let message = Message::copied(frame.kind, frame.body);
        let message_deadline = self.deadline(frame.lifetime);
        if let Some(copy) = self.queue.find(nonce, &message) {
            self.queue.coalesce(copy);
            self.queue.prolong(copy, message_deadline);
            self.stats.coalesced += 1;
            self.notify_received(copy, self.queue.hash(nonce), from.claimed, true);
            self.on_taken(id, link, from.proved);
            return Some(Outcome::Taken);
        }
        let len = message.len();
        // A driver that does not poll gets no more offers, though the time-out may decide them.
        let pending = self.screenings.open().max(self.actions.screens());
        let admission = self.admission(from, len);
        if pending >= max_offers || admission == Admission::Full {
            self.stats.refused += 1;
            return Some(Outcome::Refused(RefusedReason::Busy));
        }
        let offered = self.queue.store(nonce, message.clone(), Place::Offered(id), from.account());
        self.queue.set_deadline(offered, message_deadline);
        let deadline = self.now + timeout;
        let retry_of = frame.retry_of;
        let offer = Offer { message: offered, sender: from, admission, retry_of, deadline };
        self.screenings.add(offer);
        let from = from.claimed.and_then(|peer| self.peers.get(peer));
        let from = from.map(|peer| peer.address.clone());
        self.actions.push(Action::Screen { offer: OfferId(offered), message, from });
        link.defer(len, offered);
        None
    }

    /// Notifies that a message came in which is held now.
    #[inline(always)]
    pub(super) fn notify_received(
        &mut self,
        id: MessageId,
        hash: u64,
        from: Option<PeerId>,
        coalesced: bool,
    ) {
        self.stats.received += 1;
        let again = self.recent.insert(hash);
        let from = from.and_then(|peer| self.peers.get(peer)).map(|peer| peer.address.clone());
        if let Some(entry) = self.queue.get(id) {
            let (nonce, message) = (entry.nonce, entry.message.clone());
            let notice = Notice::MessageReceived { id, nonce, message, from, again, coalesced };
            self.notify(notice);
        }
    }

    fn on_announce(
        &mut self,
        id: LinkId,
        link: &mut Session,
        frame: &AnnounceFrame,
        sender: Sender<'_>,
    ) {
        if link.unlearned.is_some() {
            self.learn_again(id, link);
        }
        let from = self.sender_of(link, sender);
        let mut outcome = self.refusal(from).map_or(Outcome::Taken, Outcome::Refused);
        // Another tower has this address, as far as this one knows.
        let is_disproved = link.is_disproved || link.peer.is_some() && from.claimed.is_none();
        if outcome == Outcome::Taken && is_disproved && link.dialect().has_hello() {
            outcome = Outcome::Refused(RefusedReason::OtherKey);
        }
        // A guest is not learned.
        if outcome == Outcome::Taken && (from.is_unlearned || link.is_guest) {
            outcome = Outcome::Refused(RefusedReason::Busy);
        }
        if outcome == Outcome::Taken {
            frame.friends.iter().for_each(|it| self.learn_friend(it, link.prefix));
            if let Some(peer) = from.proved {
                self.on_success(peer);
            }
        }
        link.answer(0, outcome);
        self.close_on_ignored(id, link, outcome);
    }

    /// Returns why nothing is taken from a sender now.
    #[inline]
    fn refusal(&self, from: SenderInfo) -> Option<RefusedReason> {
        if from.is_ignored {
            Some(RefusedReason::Ignored)
        } else if !self.phase.is_running() || self.local.config.is_guest {
            Some(RefusedReason::Busy)
        } else {
            None
        }
    }

    /// Says goodbye to a peer that is ignored, after its transfer was refused.
    #[inline]
    fn close_on_ignored(&mut self, id: LinkId, link: &mut Session, outcome: Outcome) {
        if outcome == Outcome::Refused(RefusedReason::Ignored) {
            let (reason, farewell) = (CloseReason::Ignored, Farewell::Ignored);
            let event = link.close_gracefully(reason, farewell, &self.local, self.now);
            self.on_link_event(id, link, event);
        }
    }

    /// Notes that a transfer was taken: a success for its sender if it is proved.
    #[inline(always)]
    pub(super) fn on_taken(&mut self, id: LinkId, link: &mut Session, sender: Option<PeerId>) {
        let Some(sender) = sender else { return };
        let Some(peer) = self.peers.get(sender) else { return };
        let (has_link, is_alive) = (peer.link.is_some(), peer.is_alive());
        // The first success makes an inbound link of use for our messages too.
        if !has_link && link.dialect().can_retry() && link.is_open() {
            self.peers.update(sender, |peer| peer.link = Some(id));
            self.refresh_window(sender, Some((id, link)));
        }
        if !is_alive {
            self.on_success(sender);
        }
    }

    /// Returns whether a transfer that is retried on `link` was taken the first time. The link on
    /// which that happened has ended, or this tower has not noticed its end. Then it still is a
    /// link of the same peer.
    #[cold]
    fn was_taken(&self, link: &Session, first: TransferId) -> bool {
        let name = LinkName { number: first.link, ..link.name };
        let number = first.number.get();
        let has_ended = |memory: &RetryMemory| memory.contains(name, number);
        let peer = link.peer.and_then(|peer| self.peers.get(peer));
        let others = peer.into_iter().flat_map(|peer| &peer.links);
        let mut others = others.filter_map(|other| self.links.get(*other));
        self.retry_memory.as_deref().is_some_and(has_ended)
            || others.any(|other| other.name == name && other.has_taken(number))
    }

    // A link opens.

    fn on_opened(&mut self, id: LinkId, link: &mut Session, hello: Option<&Hello<'_>>) {
        let Some(hello) = hello else { return self.on_opened_in_http(id, link) };
        let dropped = link.drop_long_datagrams();
        self.on_datagrams_dropped(id, link.peer, dropped, DatagramLoss::NotTaken);
        let peer = match link.dialled() {
            Some(peer) => self.on_dialled_hello(id, link, peer, hello),
            None => self.on_claim(id, link, hello),
        };
        if let Some(peer) = peer.filter(|peer| self.peer_of(link).proved == Some(*peer)) {
            self.peers.update(peer, |peer| {
                peer.max_message = hello.max_message;
                peer.datagram_max = hello.datagram;
                peer.dialect = Some(link.dialect());
                peer.link = peer.link.or(Some(id));
            });
            self.on_usable(id, link, peer);
        }
    }

    fn on_opened_in_http(&mut self, id: LinkId, link: &mut Session) {
        if let Some(peer) = link.dialled() {
            self.peers.update(peer, |peer| {
                peer.dialect = Some(link.dialect());
                peer.link = peer.link.or(Some(id));
            });
            self.on_usable(id, link, peer);
        }
    }

    /// A link to a peer is open: what does not suit the peer is taken back, and a due announce is
    /// sent.
    fn on_usable(&mut self, id: LinkId, link: &mut Session, peer: PeerId) {
        let unsuitable = link.take_unsent(|transfer| {
            transfer.message().is_some_and(|message| !self.suits(peer, message))
        });
        for transfer in unsuitable {
            self.return_transfer(Some(peer), &transfer, transfer.is_retry());
        }
        self.announce_if_due(id, link, peer);
        // The link, the dialect or the window of the peer may have changed.
        link.counts_as_full = link.is_full();
        self.refresh_window(peer, Some((id, link)));
    }

    /// The dialled address answered: its key is pinned. Returns the peer to which the link belongs
    /// now, if it stays.
    fn on_dialled_hello(
        &mut self,
        id: LinkId,
        link: &mut Session,
        peer: PeerId,
        hello: &Hello<'_>,
    ) -> Option<PeerId> {
        let Some(identity) = link.identity().copied() else { return Some(peer) };
        let Some(other) = self.peers.find_pin(&identity).filter(|other| *other != peer) else {
            if self.peers.pin(peer).is_none() {
                self.peers.set_pin(peer, Some(identity));
            }
            return Some(peer);
        };
        // One key is one tower: two addresses of it are one peer, under the address that the tower
        // claims, or else under the one that was known first.
        let dialled = self.peers.get(peer).map(|peer| &peer.address);
        let claims_dialled = hello.address.is_some() && dialled == hello.address.as_ref();
        if self.peers.is_ignored(other) {
            self.ignore_alias(peer);
            self.close_ignored(id, link);
            return None;
        }
        let (alias, kept) = if claims_dialled { (other, peer) } else { (peer, other) };
        self.merge(alias, kept);
        link.peer = Some(kept);
        if claims_dialled {
            self.peers.set_pin(kept, Some(identity));
        }
        Some(kept)
    }

    /// A caller claims an address. The claim is proved if the caller's key is the one pinned for
    /// that address.
    fn on_claim(&mut self, id: LinkId, link: &mut Session, hello: &Hello<'_>) -> Option<PeerId> {
        // Do not learn addresses from an ignored tower.
        let claimed = hello.address.as_ref().filter(|_| !self.is_from_ignored(link));
        self.learn_claim(id, link, claimed?)
    }

    /// Tries again to learn the address that a caller claimed.
    #[cold]
    fn learn_again(&mut self, id: LinkId, link: &mut Session) {
        let Some(address) = link.unlearned.take() else { return };
        if self.is_from_ignored(link) {
            return;
        }
        match self.learn(&address, Source::Stranger, link.prefix) {
            Some(peer) => _ = self.on_learned(id, link, peer),
            None => link.unlearned = Some(address),
        }
    }

    /// Learns the address that a caller claims.
    fn learn_claim(&mut self, id: LinkId, link: &mut Session, address: &Address) -> Option<PeerId> {
        if let Some(peer) = self.learn(address, Source::Stranger, link.prefix) {
            return self.on_learned(id, link, peer);
        }
        if self.is_learned_later(address, link.prefix) {
            link.unlearned = Some(Box::new(address.clone()));
        }
        None
    }

    /// The address that a caller claims is known. Returns its peer, unless another key is pinned.
    fn on_learned(&mut self, id: LinkId, link: &mut Session, peer: PeerId) -> Option<PeerId> {
        link.peer = Some(peer);
        if self.peer_of(link).claimed.is_none() {
            self.stats.claims_disproved += 1;
            (link.peer, link.is_disproved) = (None, true);
            return None;
        }
        self.peers.add_link(peer, id);
        // Until the address is dialled, the dialect is a claim too.
        self.peers.update(peer, |peer| peer.dialect = peer.dialect.or(Some(link.dialect())));
        Some(peer).filter(|_| !self.is_from_ignored(link))
    }

    // A transfer is settled.

    #[inline(always)]
    pub(super) fn on_settled(&mut self, peer: PeerId, transfer: &Transfer, outcome: Outcome) {
        match outcome {
            Outcome::Taken => self.on_confirmed(peer, transfer),
            Outcome::Refused(reason) => self.on_refused(peer, transfer, reason),
            Outcome::Invalid(status) => {
                self.stats.refused_by_peers += 1;
                if let Some(message) = transfer.message() {
                    self.rejections.add(peer, message, self.now);
                }
                let reason = StatusReason::LinkClosed(CloseReason::HttpStatus(status));
                self.on_failure(peer, reason);
                self.return_transfer(Some(peer), transfer, false);
            }
        }
    }

    #[inline(always)]
    fn on_confirmed(&mut self, peer: PeerId, transfer: &Transfer) {
        let Some(record) = self.peers.get(peer) else {
            debug_assert!(false, "a link that carries transfers belongs to a peer");
            return;
        };
        let (to, has_debt) = (record.address.clone(), record.exchanged > 0);
        let has_failed = record.failure.is_some();
        if !record.is_alive() {
            self.on_success(peer);
        }
        if has_failed {
            self.peers.note_failure(peer, None);
        }
        match transfer.payload {
            Payload::Message { id, .. } => {
                self.stats.delivered += 1;
                self.peers.note_taken(peer, self.now);
                self.on_drained();
                if has_debt {
                    self.on_exchanged(peer, transfer.len());
                }
                if let Some((nonce, message, kept)) = self.queue.complete(id) {
                    self.notify(Notice::MessageDelivered { id, nonce, message, to, kept });
                }
            }
            Payload::Announce => {
                self.peers.update(peer, |peer| {
                    (peer.announce_due, peer.announce_wanted) = (false, false);
                });
                self.notify(Notice::Announced { to });
            }
        }
    }

    /// A refusal is an answer all the same, and proves the peer alive; unless the peer ignores this
    /// tower.
    fn on_refused(&mut self, peer: PeerId, transfer: &Transfer, reason: RefusedReason) {
        self.stats.refused_by_peers += 1;
        let is_other = self.peers.note_failure(peer, Some(StatusReason::Refused(reason)));
        match reason {
            RefusedReason::Ignored => self.on_failure(peer, StatusReason::IgnoredByPeer),
            RefusedReason::Busy | RefusedReason::Screened if transfer.message().is_some() => {
                self.on_success(peer);
                self.back_off_after_refusal(peer);
                self.reoffer(transfer);
            }
            // An announcement that is not taken in says nothing about room for messages.
            _ if transfer.message().is_none() => self.on_success(peer),
            _ => {
                self.on_success(peer);
                self.back_off(peer, self.local.config.busy_backoff);
            }
        }
        if reason == RefusedReason::TooLarge {
            self.on_too_large(peer, transfer);
        }
        self.return_transfer(Some(peer), transfer, transfer.is_retry());
        if reason == RefusedReason::OtherKey && transfer.message().is_none() {
            // The peer would refuse it again.
            self.peers.update(peer, |peer| {
                (peer.announce_due, peer.announce_wanted) = (false, false);
            });
        }
        // Becoming alive has cleared it.
        self.peers.note_failure(peer, Some(StatusReason::Refused(reason)));
        if let Some(record) = self.peers.get(peer).filter(|_| is_other) {
            let (by, retry_in) = (record.address.clone(), self.retry_in(peer));
            self.notify(Notice::Refused { by, reason, retry_in });
        }
    }

    /// A peer names its limit in its hello. If it refuses a shorter message, that is its limit now.
    /// Without a hello, a refusal is not taken for a limit.
    fn on_too_large(&mut self, peer: PeerId, transfer: &Transfer) {
        let Some(dialect) = self.peers.get(peer).map(|peer| peer.dialect) else { return };
        if dialect.is_none_or(Dialect::has_hello) {
            let len = u32::try_from(transfer.len()).unwrap_or(u32::MAX);
            self.peers.update(peer, |peer| {
                peer.max_message = peer.max_message.min(len.saturating_sub(1));
            });
        } else if let Some(message) = transfer.message() {
            self.rejections.add(peer, message, self.now);
        }
    }

    /// A transfer failed for good: its message goes back to the queue. `in_doubt` is whether the
    /// peer may have taken it.
    pub(super) fn return_transfer(
        &mut self,
        peer: Option<PeerId>,
        transfer: &Transfer,
        in_doubt: bool,
    ) {
        match transfer.payload {
            Payload::Announce => {
                if let Some(peer) = peer {
                    // No peer learns a guest.
                    let is_guest = self.local.config.is_guest;
                    self.peers.update(peer, |peer| {
                        peer.announce_due = !peer.is_ignored() && !is_guest;
                    });
                    self.schedule_announce(peer);
                }
            }
            Payload::Message { id, .. } => {
                let was_in_flight = self.queue.requeue(id);
                debug_assert!(was_in_flight, "a transfer's message is in flight");
                self.stats.returned += 1;
                self.stats.doubt_unresolved += u64::from(in_doubt);
                if let Some(nonce) = self.queue.get(id).map(|entry| entry.nonce) {
                    let origin = Origin::Returned;
                    self.notify(Notice::MessageQueued { id, nonce, origin });
                }
            }
        }
    }
}
