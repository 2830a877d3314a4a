//! What follows from an event on a link, for peers, the queue and other links.

use super::Tower;
use super::peers::Peer;
use super::queue::TakenIn;
use super::status::Source;
use crate::address::Address;
use crate::config::Screening;
#[cfg(feature = "tls")]
use crate::error::TlsFailure;
use crate::error::{CloseReason, IoCause, StatusReason};
use crate::event::{Action, CloseMode, Dialect, Notice, Origin};
#[cfg(feature = "tls")]
use crate::ids::Fingerprint;
use crate::ids::{LinkId, MessageId, OfferId, PeerId};
use crate::link::{
    Closed, Direction, Doubt, LinkEvent, Local, Outcome, Payload, RetryWindow, Router, Sender,
    Session, Transfer, Withdrawn, can_retry, has_nonces, leaves_no_doubt, lifetime,
};
use crate::message::{Message, Nonce};
use crate::time::Instant;
use crate::wire::{AnnounceFrame, Attempt, Farewell, Hello, MessageFrame, RefusedReason};

/// The most notices that follow from one message: received, queued, the sender alive, the friend discovered, and a dead
/// peer forgotten for the friend.
const NOTICES_PER_MESSAGE: usize = 5;

/// Who handed over a transfer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SenderInfo {
    /// The peer that the sender is or claims to be, unless a pinned key disproves the claim.
    pub(super) claimed: Option<PeerId>,
    /// The peer, if the sender has proved to be it. In clear text and over HTTP claims are believed.
    pub(super) proved: Option<PeerId>,
    is_ignored: bool,
}

/// What a TLS handshake has agreed on and proved.
#[cfg(feature = "tls")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct TlsHandshake {
    pub(crate) dialect: Dialect,
    /// The key that the other side has proved. The native dialect always has one.
    pub(crate) identity: Option<Fingerprint>,
    pub(crate) resumed: bool,
}

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
                    self.on_settled(peer, transfer, outcome);
                }
            }
            LinkEvent::Handled => {}
            LinkEvent::Opened(hello) => self.on_opened(id, link, hello),
            LinkEvent::Announce(frame, sender) => self.on_announce(id, link, frame, sender),
            LinkEvent::Leaving(withdrawn) => {
                self.on_withdrawn(link.peer, withdrawn);
                if let Some(peer) = link.peer {
                    self.peers.release_link(peer, id);
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
        let from = self.sender_of(link, sender);
        let outcome = self.take_in(id, link, from, frame);
        if !matches!(outcome, Some(Outcome::Refused(_))) {
            self.learn_friend(frame.friend.as_ref());
        }
        if let Some(outcome) = outcome {
            link.answer(frame.transfer, frame.body.len(), outcome);
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
        let MessageFrame { transfer, attempt, kind, body, .. } = *frame;
        if attempt == Attempt::Retry && self.was_taken(link, from.proved, transfer) {
            self.stats.recognised_retries += 1;
            self.on_taken(id, link, from.proved, transfer);
            return Some(Outcome::Taken);
        }
        if !self.actions.has_room(NOTICES_PER_MESSAGE) {
            self.stats.refused += 1;
            return Some(Outcome::Refused(RefusedReason::Busy));
        }
        let has_nonce = has_nonces(link.dialect());
        let nonce = if has_nonce { frame.nonce } else { self.draw_nonce() };
        if self.local.config.screening != Screening::Off {
            let message = Message::copied(kind, body);
            return self.offer_to_application(id, link, from, transfer, nonce, message);
        }
        let hash = self.queue.hash(nonce);
        match self.queue.take_in(nonce, hash, kind, body, self.actions.notice_bytes()) {
            TakenIn::Full => {
                self.stats.refused += 1;
                return Some(Outcome::Refused(RefusedReason::Busy));
            }
            TakenIn::Coalesced(message) => {
                self.stats.coalesced += 1;
                self.notify_received(message, hash, from.claimed);
            }
            TakenIn::Queued(message) => {
                self.notify_received(message, hash, from.claimed);
                let origin = Origin::Peer;
                self.notify(Notice::MessageQueued { id: message, nonce, origin });
            }
        }
        self.on_taken(id, link, from.proved, transfer);
        Some(Outcome::Taken)
    }

    /// Shows a message to the application before it is queued. Returns `None` while the application decides.
    fn offer_to_application(
        &mut self,
        id: LinkId,
        link: &mut Session,
        from: SenderInfo,
        transfer: u64,
        nonce: Nonce,
        message: Message,
    ) -> Option<Outcome> {
        if let Some(copy) = self.queue.find(nonce, &message) {
            self.queue.coalesce(copy);
            self.stats.coalesced += 1;
            self.notify_received(copy, self.queue.hash(nonce), from.claimed);
            self.on_taken(id, link, from.proved, transfer);
            return Some(Outcome::Taken);
        }
        let len = message.len();
        // A driver that does not poll gets no more offers, though the time-out may decide them.
        let pending = self.screenings.open().max(self.actions.screens());
        let has_room = self.queue.has_room(len, 100, self.actions.notice_bytes());
        let Screening::On { max_offers, timeout, .. } = self.local.config.screening else {
            return None;
        };
        if pending >= max_offers || !has_room {
            self.stats.refused += 1;
            return Some(Outcome::Refused(RefusedReason::Busy));
        }
        let offered = self.queue.store(nonce, message.clone(), super::queue::Place::Offered(id));
        self.screenings.add(offered, self.now + timeout);
        let from = from.claimed.and_then(|peer| self.peers.get(peer));
        let from = from.map(|peer| peer.address.clone());
        self.actions.push(Action::Screen { offer: OfferId(offered), message, from });
        link.defer(transfer, len, offered);
        None
    }

    /// Notifies that a message came in which is held now.
    #[inline(always)]
    pub(super) fn notify_received(&mut self, id: MessageId, hash: u64, from: Option<PeerId>) {
        self.stats.received += 1;
        let again = self.recent.insert(hash);
        let from = from.and_then(|peer| self.peers.get(peer)).map(|peer| peer.address.clone());
        if let Some(entry) = self.queue.get(id) {
            let (nonce, message) = (entry.nonce, entry.message.clone());
            self.notify(Notice::MessageReceived { id, nonce, message, from, again });
        }
    }

    fn on_announce(
        &mut self,
        id: LinkId,
        link: &mut Session,
        frame: &AnnounceFrame,
        sender: Sender<'_>,
    ) {
        let from = self.sender_of(link, sender);
        let outcome = self.refusal(from).map_or(Outcome::Taken, Outcome::Refused);
        if outcome == Outcome::Taken {
            self.learn_friend(frame.friend.as_ref());
            if let Some(peer) = from.proved {
                self.on_success(peer);
            }
        }
        link.answer(frame.transfer, 0, outcome);
        self.close_on_ignored(id, link, outcome);
    }

    /// Returns why nothing is taken from a sender now.
    #[inline]
    fn refusal(&self, from: SenderInfo) -> Option<RefusedReason> {
        if from.is_ignored {
            Some(RefusedReason::Ignored)
        } else if !self.phase.is_running() {
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

    /// Notes that a transfer was taken: a success for its sender if it is proved, to be remembered in case the
    /// confirmation is lost.
    #[inline(always)]
    pub(super) fn on_taken(
        &mut self,
        id: LinkId,
        link: &mut Session,
        sender: Option<PeerId>,
        transfer: u64,
    ) {
        let Some(sender) = sender else { return };
        let Some(peer) = self.peers.get(sender) else { return };
        let (has_link, has_succeeded) = (peer.link.is_some(), peer.is_alive());
        if can_retry(link.dialect()) {
            link.retries.insert(transfer, self.local.config.window.messages, self.now);
            // The first success makes an inbound link of use for our messages too.
            if !has_link && link.is_open() {
                let is_full = link.is_full();
                self.peers.update(sender, |peer| (peer.link, peer.is_full) = (Some(id), is_full));
            }
        }
        if !has_succeeded {
            self.on_success(sender);
        }
    }

    /// Returns whether a transfer that is retried was taken the first time.
    fn was_taken(&self, link: &Session, sender: Option<PeerId>, transfer: u64) -> bool {
        let Some(peer) = sender else { return false };
        let incarnation = link.incarnation;
        let links = self.peers.get(peer).map_or(&[][..], |peer| &peer.links);
        let mut others = links.iter().filter_map(|id| self.links.get(*id));
        link.retries.contains(transfer)
            || self.retry_memory.contains(peer, incarnation, transfer)
            || others
                .any(|other| other.incarnation == incarnation && other.retries.contains(transfer))
    }

    // Who the sender is.

    #[inline(always)]
    fn sender_of(&mut self, link: &mut Session, sender: Sender<'_>) -> SenderInfo {
        match sender {
            Sender::Link => {
                let mut from = self.peer_of(link);
                from.is_ignored = self.is_unwelcome(link);
                from
            }
            Sender::Claimed(address) => self.claimed_sender(link, address),
        }
    }

    /// Returns the peer at the other end of a link.
    ///
    /// A dialled peer is who it is. A caller is who it claims to be if its key is the pinned one; without keys (clear text)
    /// the claim is believed. As long as no key is pinned, it remains a claim.
    #[inline]
    pub(super) fn peer_of(&self, link: &Session) -> SenderInfo {
        let Some(id) = link.peer else { return SenderInfo::default() };
        let Some(peer) = self.peers.get(id) else { return SenderInfo::default() };
        let is_proved =
            link.direction() == Direction::Outbound || peer.is_proved_by(link.identity());
        let is_open_question = is_proved || peer.pin().is_none();
        SenderInfo {
            claimed: is_open_question.then_some(id),
            proved: is_proved.then_some(id),
            is_ignored: false,
        }
    }

    /// Returns whether the other side of a link is ignored: as the peer that it is or claims to be, or as the peer whose
    /// key it has.
    #[inline]
    fn is_unwelcome(&self, link: &Session) -> bool {
        // Asked for each message, and most towers ignore no peer.
        if self.peers.counts().ignored == 0 {
            return false;
        }
        let keyed = link.identity().and_then(|identity| self.peers.find_pin(identity));
        [link.peer, keyed].into_iter().flatten().any(|peer| self.peers.is_ignored(peer))
    }

    /// Returns who an HTTP request comes from. Nothing proves the claim, so it changes nothing about an address whose key
    /// is known.
    fn claimed_sender(&mut self, link: &mut Session, address: Option<&Address>) -> SenderInfo {
        let known = address.and_then(|address| self.peers.find(address));
        let record = known.and_then(|id| self.peers.get(id));
        let mut from = SenderInfo {
            is_ignored: record.is_some_and(Peer::is_ignored),
            ..SenderInfo::default()
        };
        let is_pinned = record.is_some_and(|peer| peer.pin().is_some());
        match (known, address) {
            (Some(_), _) if from.is_ignored => {}
            (Some(_), _) if is_pinned => self.stats.claims_disproved += 1,
            (Some(peer), _) => (from.claimed, from.proved) = (Some(peer), Some(peer)),
            (None, Some(address)) => from.claimed = self.learn(address, Source::Stranger),
            (None, None) => {}
        }
        if let Some(peer) = from.claimed {
            self.peers.update(peer, |peer| peer.dialect = peer.dialect.or(Some(Dialect::Http)));
        }
        link.peer = from.claimed;
        from.is_ignored |= self.is_unwelcome(link);
        from
    }

    // A link opens.

    fn on_opened(&mut self, id: LinkId, link: &mut Session, hello: Option<&Hello<'_>>) {
        let Some(hello) = hello else { return self.on_opened_in_http(id, link) };
        let peer = match link.dialled() {
            Some(peer) => self.on_dialled_hello(id, link, peer, hello),
            None => self.on_claim(id, link, hello),
        };
        if let Some(peer) = peer.filter(|peer| self.peer_of(link).proved == Some(*peer)) {
            let is_full = link.is_full();
            self.peers.update(peer, |peer| {
                peer.max_message = hello.max_message;
                peer.dialect = Some(Dialect::Native);
                if peer.link.is_none() {
                    (peer.link, peer.is_full) = (Some(id), is_full);
                }
            });
            self.on_usable(id, link, peer);
        }
    }

    fn on_opened_in_http(&mut self, id: LinkId, link: &mut Session) {
        if let Some(peer) = link.dialled() {
            self.peers.update(peer, |peer| {
                peer.dialect = Some(Dialect::Http);
                peer.link = peer.link.or(Some(id));
            });
            self.on_usable(id, link, peer);
        }
    }

    /// A link to a peer is open: what does not suit the peer is taken back, and a due announce is sent.
    fn on_usable(&mut self, id: LinkId, link: &mut Session, peer: PeerId) {
        let unsuitable = link.take_unsent(|transfer| {
            transfer.message().is_some_and(|message| !self.suits(peer, message))
        });
        for transfer in unsuitable {
            self.return_transfer(Some(peer), transfer, transfer.attempt == Attempt::Retry);
        }
        self.announce_if_due(id, link, peer);
    }

    /// The dialled address answered: its key is pinned. Returns the peer to which the link belongs now, if it stays.
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
        // One key is one tower: two addresses of it are one peer, under the address that the tower claims, or else under
        // the one that was known first.
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

    /// A caller says who it is. That is a claim, unless its key is the one pinned for that address.
    fn on_claim(&mut self, id: LinkId, link: &mut Session, hello: &Hello<'_>) -> Option<PeerId> {
        // Do not learn addresses from an ignored tower.
        let claimed = hello.address.as_ref().filter(|_| !self.is_unwelcome(link));
        let peer = claimed.and_then(|address| self.learn(address, Source::Stranger))?;
        link.peer = Some(peer);
        if self.peer_of(link).claimed.is_none() {
            self.stats.claims_disproved += 1;
            link.peer = None;
            return None;
        }
        self.peers.add_link(peer, id);
        // Until the address is dialled, the dialect is a claim too.
        self.peers.update(peer, |peer| peer.dialect = peer.dialect.or(Some(Dialect::Native)));
        Some(peer).filter(|_| !self.is_unwelcome(link))
    }

    /// Handles what a TLS handshake has agreed on and proved, before the first plaintext.
    #[cfg(feature = "tls")]
    pub(crate) fn handle_tls_handshake(&mut self, id: LinkId, handshake: TlsHandshake) {
        let TlsHandshake { dialect, identity, resumed } = handshake;
        let stats = &mut self.stats;
        *if resumed { &mut stats.handshakes_resumed } else { &mut stats.handshakes_full } += 1;
        let Some(link) = self.links.get(id).filter(|link| link.is_live()) else { return };
        let dialled = link.dialled().and_then(|peer| Some((peer, self.peers.get(peer)?)));
        let own = identity.is_some() && identity.as_ref() == self.local.identity.as_deref();
        let changed =
            dialled.filter(|(_, peer)| !own && peer.pin().is_some_and(|pin| Some(pin) != identity));
        if let Some((_, record)) = changed {
            let address = record.address.clone();
            self.notify(Notice::KeyChanged { peer: address, seen: identity });
            self.close(id, CloseReason::KeyChanged, Doubt::NotTaken, CloseMode::Flush);
        } else {
            self.with_link(id, |link, local, now| {
                link.handle_tls_handshake(dialect, identity, local, now)
            });
        }
        self.advance();
    }

    /// Closes a link because TLS failed. The alert is flushed.
    #[cfg(feature = "tls")]
    pub(crate) fn handle_tls_failure(&mut self, id: LinkId, failure: TlsFailure) {
        self.close(id, CloseReason::Tls(failure), Doubt::InDoubt, CloseMode::Flush);
        self.advance();
    }

    // A transfer is settled.

    #[inline(always)]
    pub(super) fn on_settled(&mut self, peer: PeerId, transfer: Transfer, outcome: Outcome) {
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
    fn on_confirmed(&mut self, peer: PeerId, transfer: Transfer) {
        let Some(record) = self.peers.get(peer) else { return };
        let to = record.address.clone();
        if !record.is_alive() {
            self.on_success(peer);
        }
        match transfer.payload {
            Payload::Message { id, .. } => {
                self.stats.delivered += 1;
                self.on_drained();
                if let Some((nonce, message)) = self.queue.complete(id) {
                    self.notify(Notice::MessageDelivered { id, nonce, message, to });
                }
            }
            Payload::Announce => {
                self.peers.update(peer, |peer| peer.announce_due = false);
                self.notify(Notice::Announced { to });
            }
        }
    }

    /// A refusal is an answer all the same, and proves the peer alive; unless the peer ignores this tower.
    fn on_refused(&mut self, peer: PeerId, transfer: Transfer, reason: RefusedReason) {
        self.stats.refused_by_peers += 1;
        match reason {
            RefusedReason::Ignored => self.on_failure(peer, StatusReason::IgnoredByPeer),
            _ => {
                self.on_success(peer);
                self.back_off(peer, self.local.config.busy_backoff);
            }
        }
        if reason == RefusedReason::TooLarge {
            self.on_too_large(peer, transfer);
        }
        self.return_transfer(Some(peer), transfer, transfer.attempt == Attempt::Retry);
    }

    /// A peer told in its hello what it takes. If it takes less, that is its limit now. A peer that speaks HTTP has no
    /// hello, and its refusal is not taken for a limit.
    fn on_too_large(&mut self, peer: PeerId, transfer: Transfer) {
        let is_limit = self.peers.get(peer).is_some_and(|peer| peer.dialect != Some(Dialect::Http));
        if is_limit {
            let len = u32::try_from(transfer.len()).unwrap_or(u32::MAX);
            self.peers.update(peer, |peer| {
                peer.max_message = peer.max_message.min(len.saturating_sub(1));
            });
        } else if let Some(message) = transfer.message() {
            self.rejections.add(peer, message, self.now);
        }
    }

    /// A transfer failed for good: its message goes back to the queue. `in_doubt` tells whether the peer may have taken it.
    pub(super) fn return_transfer(
        &mut self,
        peer: Option<PeerId>,
        transfer: Transfer,
        in_doubt: bool,
    ) {
        match transfer.payload {
            Payload::Announce => {
                if let Some(peer) = peer {
                    self.peers.update(peer, |peer| peer.announce_due = !peer.is_ignored());
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

    // A link ends.

    fn on_closed(&mut self, id: LinkId, link: &mut Session, closed: Closed) {
        let Closed { reason, how, is_unreached, withdrawn, early, mut unanswered, doubt, speaks } =
            closed;
        self.count_close(reason);
        let peer = link.peer;
        if let (Some(peer), Some((transfer, outcome))) = (peer, early) {
            self.on_settled(peer, transfer, outcome);
        }
        if let (Some(peer), Some(dialect)) = (peer, speaks) {
            self.peers.update(peer, |peer| peer.dialect = Some(dialect));
        }
        // The peer speaks HTTP: it is dialled again, and nothing is its fault.
        let is_redialled = speaks == Some(Dialect::Http) && is_unreached;
        let carried = !(withdrawn.unsent.is_empty() && unanswered.is_empty());
        let awaited = !unanswered.is_empty();
        let from = self.peer_of(link);
        if is_redialled {
            // The transfers go to the next link as they are.
            unanswered = withdrawn.unsent;
        } else {
            self.on_withdrawn(peer, withdrawn);
        }
        self.detach(id, link);
        if let Some(how) = how {
            self.actions.push(Action::Close { link: id, how, reason });
        }
        if let Some(peer) = peer.filter(|_| !is_redialled) {
            let broken =
                awaited && doubt == Doubt::InDoubt || reason == CloseReason::ConfirmTimeout;
            let shunned =
                reason == CloseReason::Goodbye(Farewell::Ignored) && from.proved.is_some();
            // A peer that takes calls and nothing else must not be drawn first for ever.
            let fruitless = carried && !self.peers.is_alive(peer);
            let is_failure = is_unreached || broken || shunned || fruitless;
            self.judge_close(peer, reason, is_failure, carried);
        }
        self.resolve(link.dialect(), peer, unanswered, doubt, is_redialled);
        if reason == CloseReason::OwnAddress
            && let Some(peer) = link.dialled()
        {
            self.ignore_alias(peer);
        }
        self.keep_retry_window(link, peer, reason);
        let address = from.claimed.and_then(|peer| self.peers.get(peer));
        let peer = address.map(|peer| peer.address.clone());
        self.notify(Notice::LinkClosed { link: id, peer, reason });
    }

    /// Decides what the end of a link says about its peer.
    fn judge_close(&mut self, peer: PeerId, reason: CloseReason, is_failure: bool, carried: bool) {
        let config = &self.local.config;
        match reason {
            // This tower ended the link.
            CloseReason::Shutdown
            | CloseReason::Evicted
            | CloseReason::Ignored
            | CloseReason::OwnAddress => {}
            // What this machine lacks says nothing about the peer.
            CloseReason::Io(IoCause::Exhausted) => self.back_off(peer, config.probe_backoff),
            _ if is_failure => self.on_failure(peer, StatusReason::LinkClosed(reason)),
            _ if carried => self.back_off(peer, config.busy_backoff),
            _ => {}
        }
    }

    /// Takes back what an ending link was given and did not send. The senders keep the messages under screening.
    fn on_withdrawn(&mut self, peer: Option<PeerId>, withdrawn: Withdrawn) {
        for transfer in withdrawn.unsent {
            self.return_transfer(peer, transfer, transfer.attempt == Attempt::Retry);
        }
        for offer in withdrawn.offers {
            self.queue.discard(offer);
            self.screenings.close(offer);
        }
    }

    /// A link no longer belongs to its peer.
    fn detach(&mut self, id: LinkId, link: &mut Session) {
        self.note_load(id, link);
        if let Some(peer) = link.peer {
            self.peers.remove_link(peer, id);
        }
    }

    /// Asks the same peer again about transfers in doubt, on another link, once; and takes back the others.
    fn resolve(
        &mut self,
        dialect: Dialect,
        peer: Option<PeerId>,
        unanswered: impl IntoIterator<Item = Transfer>,
        doubt: Doubt,
        is_redialled: bool,
    ) {
        for transfer in unanswered {
            let is_first = transfer.attempt == Attempt::First;
            let is_in_doubt = doubt == Doubt::InDoubt && is_first && can_retry(dialect);
            let may_retry = is_redialled || is_in_doubt && transfer.message().is_some();
            if may_retry && let Some(link) = peer.and_then(|peer| self.link_for_doubts(peer)) {
                self.stats.in_doubt += u64::from(!is_redialled);
                let attempt = if is_redialled { transfer.attempt } else { Attempt::Retry };
                self.give(link, Transfer { attempt, sent: self.now, ..transfer });
            } else {
                let in_doubt = doubt == Doubt::InDoubt || !is_first;
                self.return_transfer(peer, transfer, in_doubt);
            }
        }
    }

    /// Returns the link on which a peer is asked again what it may have taken.
    fn link_for_doubts(&mut self, peer: PeerId) -> Option<LinkId> {
        let may_ask = self.phase.hands_over() && !self.peers.is_ignored(peer);
        if may_ask { self.link_for(peer) } else { None }
    }

    /// Keeps the memory of what was taken on a link for as long as its peer may ask.
    fn keep_retry_window(&mut self, link: &mut Session, peer: Option<PeerId>, reason: CloseReason) {
        let window: RetryWindow = core::mem::take(&mut link.retries);
        let has_said_so =
            matches!(reason, CloseReason::Goodbye(farewell) if leaves_no_doubt(farewell));
        if let Some(peer) = peer.filter(|_| !has_said_so) {
            let config = &self.local.config;
            let lifetime = lifetime(&config.timeouts);
            let whose = (peer, link.incarnation);
            self.retry_memory.keep(whose, window, self.now, lifetime, config.max_peers);
        }
    }

    fn count_close(&mut self, reason: CloseReason) {
        let stats = &mut self.stats;
        match reason {
            CloseReason::Wire(_)
            | CloseReason::Protocol(_)
            | CloseReason::Tls(_)
            | CloseReason::BadHttp => stats.links_misbehaved += 1,
            CloseReason::ConnectTimeout
            | CloseReason::HandshakeTimeout
            | CloseReason::RequestTimeout
            | CloseReason::ConfirmTimeout => stats.links_timed_out += 1,
            CloseReason::Truncated | CloseReason::Io(_) | CloseReason::KeyChanged => {
                stats.links_broken += 1;
            }
            _ => {}
        }
    }
}
