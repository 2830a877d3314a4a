//! Handles the end of a link: returns or retries its transfers, and judges its peer.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::num::NonZeroU64;

use super::Tower;
use crate::error::{CloseReason, StatusReason};
use crate::event::{Action, DatagramLoss, Notice};
use crate::ids::{LinkId, PeerId};
use crate::link::{
    Closed, Doubt, LinkName, MAX_RETRIED_LINKS, MAX_RETRIES, Retry, RetryMemory, Session, Transfer,
    Withdrawn, leaves_no_doubt, lifetime,
};
use crate::wire::{Farewell, TransferId};

impl Tower {
    pub(super) fn on_closed(&mut self, id: LinkId, link: &mut Session, closed: Closed) {
        let Closed {
            reason,
            how,
            is_unreached,
            mut withdrawn,
            early,
            mut unanswered,
            first_unanswered,
            doubt,
            speaks,
        } = closed;
        self.count_close(reason);
        let peer = link.peer;
        if let (Some(peer), Some((transfer, outcome))) = (peer, early) {
            self.on_settled(peer, &transfer, outcome);
        }
        if let (Some(peer), Some(dialect)) = (peer, speaks) {
            self.peers.update(peer, |peer| peer.dialect = Some(dialect));
        }
        // The peer speaks another dialect: it is dialled again, and this is no failure of it.
        let route = self.take_route(link, reason, is_unreached);
        let is_redialled = speaks.is_some() && is_unreached || route.is_some();
        let carried = !(withdrawn.unsent.is_empty() && unanswered.is_empty());
        let awaited = !unanswered.is_empty();
        let from = self.peer_of(link);
        let mut retries = VecDeque::new();
        if is_redialled {
            // The transfers go to the next link as they are.
            unanswered = withdrawn.unsent;
        } else {
            if doubt == Doubt::InDoubt && !is_unreached {
                (retries, withdrawn.unsent) =
                    withdrawn.unsent.into_iter().partition(Transfer::is_retry);
            }
            self.on_withdrawn(id, peer, withdrawn);
        }
        self.detach(id, link);
        if let Some(how) = how {
            self.actions.push(Action::Close { link: id, how, reason });
        }
        let mut retry_in = None;
        if let Some(peer) = peer.filter(|_| !is_redialled) {
            // Of several addresses of a name, the first one that failed tells why.
            let first = link.route.take().and_then(|route| route.reason);
            let reason = first.filter(|_| is_unreached).unwrap_or(reason);
            let broken =
                awaited && doubt == Doubt::InDoubt || reason == CloseReason::ConfirmTimeout;
            let is_ignored_by_peer =
                reason == CloseReason::Goodbye(Farewell::Ignored) && from.proved.is_some();
            // A new peer that accepts connections and takes no message must not be drawn first each
            // time.
            let took_nothing = carried && !self.peers.is_alive(peer);
            let is_failure = is_unreached || broken || is_ignored_by_peer || took_nothing;
            if self.judge_close(peer, reason, is_failure, carried) {
                retry_in = self.retry_in(peer);
            }
        }
        if let Some(peer) = peer.filter(|_| is_redialled) {
            if let Some(route) = route {
                self.redial(peer, route);
            }
            // Even if nothing waits: an announce may be due.
            self.link_for_doubts(peer);
        }
        // The retries that were not sent have no number on this link, and need none.
        self.resolve(link, peer, retries.into_iter().map(|it| (0, it)), doubt, false);
        let numbered = (first_unanswered..).zip(unanswered);
        self.resolve(link, peer, numbered, doubt, is_redialled);
        if reason == CloseReason::OwnAddress
            && let Some(peer) = link.dialled()
        {
            self.ignore_alias(peer);
        }
        self.remember_taken(link, reason);
        let address = from.claimed.and_then(|peer| self.peers.get(peer));
        let peer = address.map(|peer| peer.address.clone());
        self.notify(Notice::LinkClosed { link: id, peer, reason, retry_in });
    }

    /// Updates the peer's status after its link ended. Returns whether an attempt to reach the peer
    /// has failed.
    fn judge_close(
        &mut self,
        peer: PeerId,
        reason: CloseReason,
        is_failure: bool,
        carried: bool,
    ) -> bool {
        let config = &self.local.config;
        match reason {
            // This tower ended the link.
            CloseReason::Shutdown
            | CloseReason::Evicted
            | CloseReason::Ignored
            | CloseReason::OwnAddress => return false,
            // A missing local resource is no failure of the peer.
            CloseReason::Io(cause) if cause.is_local() => {
                self.on_failure_here(peer, StatusReason::LinkClosed(reason));
            }
            _ if is_failure => self.on_failure(peer, StatusReason::LinkClosed(reason)),
            _ if carried => {
                self.back_off(peer, config.busy_backoff);
                return false;
            }
            _ => return false,
        }
        true
    }

    /// Takes back what an ending link was given and did not send. The senders keep the messages
    /// under screening.
    pub(super) fn on_withdrawn(
        &mut self,
        link: LinkId,
        peer: Option<PeerId>,
        withdrawn: Withdrawn,
    ) {
        self.on_datagrams_dropped(link, peer, withdrawn.datagrams, DatagramLoss::LinkEnded);
        for transfer in withdrawn.unsent {
            self.return_transfer(peer, &transfer, transfer.is_retry());
        }
        for offer in withdrawn.offers {
            self.queue.discard(offer);
            self.screenings.take(offer);
        }
    }

    /// A link no longer belongs to its peer.
    fn detach(&mut self, id: LinkId, link: &mut Session) {
        self.note_load(id, link);
        if let Some(peer) = link.peer {
            self.peers.remove_link(peer, id);
            self.release_link(id, peer);
        }
    }

    /// Asks the same peer again about transfers in doubt, on another link, and takes back the
    /// others.
    fn resolve(
        &mut self,
        ended: &Session,
        peer: Option<PeerId>,
        unanswered: impl IntoIterator<Item = (u64, Transfer)>,
        doubt: Doubt,
        is_redialled: bool,
    ) {
        for (number, mut transfer) in unanswered {
            let is_in_doubt = doubt == Doubt::InDoubt && ended.dialect().can_retry();
            // An expired message is not retried. It ends when it returns to the queue.
            let lives = transfer.message().is_some_and(|message| !self.is_expired(message));
            let retry = if !is_redialled && is_in_doubt && lives {
                self.next_retry(ended, number, &transfer)
            } else {
                None
            };
            let is_sent_again = is_redialled || retry.is_some();
            if is_sent_again && let Some(link) = peer.and_then(|peer| self.link_for_doubts(peer)) {
                if let Some(retry) = retry {
                    self.stats.in_doubt += u64::from(retry.count == 1);
                    transfer.retry = Some(Box::new(retry));
                }
                self.give(link, Transfer { sent: self.now, ..transfer });
            } else {
                let in_doubt = doubt == Doubt::InDoubt || transfer.is_retry();
                self.return_transfer(peer, &transfer, in_doubt);
            }
        }
    }

    /// Returns the retry of a transfer that was not answered on the link that ended. All retries
    /// name the first sending. The last one begins within a confirm time-out of it, because the
    /// peer remembers the transfer for the time of one retry after that (see [`lifetime`]).
    fn next_retry(&self, ended: &Session, number: u64, transfer: &Transfer) -> Option<Retry> {
        let Some(retry) = transfer.retry.as_deref() else {
            let first = TransferId { link: ended.number, number: NonZeroU64::new(number)? };
            return Some(Retry { first, since: transfer.sent, count: 1 });
        };
        let passed = self.now.duration_since(retry.since);
        let is_in_time = passed <= self.local.config.timeouts.confirm;
        let is_next = retry.count < MAX_RETRIES && is_in_time;
        is_next.then_some(Retry { count: retry.count + 1, ..*retry })
    }

    /// Returns the link on which a peer is asked again what it may have taken.
    fn link_for_doubts(&mut self, peer: PeerId) -> Option<LinkId> {
        let may_ask = self.phase.hands_over() && !self.peers.is_ignored(peer);
        if may_ask { self.link_for(peer) } else { None }
    }

    /// Remembers what was taken on a link for as long as its other side may ask. Announces are not
    /// remembered: one that is taken twice does no harm.
    fn remember_taken(&mut self, link: &mut Session, reason: CloseReason) {
        let (last, refused) = link.take_taken();
        let has_no_doubt =
            matches!(reason, CloseReason::Goodbye(farewell) if leaves_no_doubt(farewell));
        if has_no_doubt || !link.has_brought_messages() || !link.dialect().can_retry() {
            return;
        }
        let (now, lifetime) = (self.now, lifetime(&self.local.config.timeouts));
        self.retry_memory().keep(link.name, last, refused, now, lifetime);
    }

    /// Remembers that a retried transfer was taken. The sender may retry it once more. A link can
    /// name only a few others, so that its made-up names do not displace the links of other towers.
    #[cold]
    pub(super) fn remember_retried(&mut self, link: &mut Session, first: TransferId) {
        let name = LinkName { number: first.link, ..link.name };
        let (now, lifetime) = (self.now, lifetime(&self.local.config.timeouts));
        let memory = self.retry_memory();
        if !memory.knows(name) {
            if link.retried_links == MAX_RETRIED_LINKS {
                return;
            }
            link.retried_links += 1;
        }
        memory.keep_retried(name, first.number.get(), now, lifetime);
    }

    fn retry_memory(&mut self) -> &mut RetryMemory {
        self.retry_memory.get_or_insert_with(|| {
            let capacity = self.local.config.max_peers;
            Box::new(RetryMemory::new(capacity, self.queue.hasher().clone()))
        })
    }

    /// Forgets what was taken on links that ended long ago.
    pub(super) fn forget_old_links(&mut self) {
        if let Some(memory) = &mut self.retry_memory {
            memory.forget_old(self.now, lifetime(&self.local.config.timeouts));
            if memory.is_empty() {
                self.retry_memory = None;
            }
        }
    }

    fn count_close(&mut self, reason: CloseReason) {
        if let CloseReason::Io(cause) = reason
            && cause.is_local()
        {
            self.on_local_failure(cause);
        }
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
            CloseReason::Truncated
            | CloseReason::HungUp
            | CloseReason::Io(_)
            | CloseReason::KeyChanged => {
                stats.links_broken += 1;
            }
            _ => {}
        }
    }
}
