//! Links come and go: dialling, greeting, deadlines, parting, and what becomes of transfers whose link ends.

use super::{Shutdown, Tower};
use crate::event::{Action, CloseMode, Notice};
use crate::ids::{Fingerprint, LinkId, PeerId};
use crate::link::{Direction, Link, Outcome, State, Transfer};
use crate::reason::{CloseReason, IoCause};
use crate::taken;
use crate::time::Instant;
use crate::wire::{Attempt, Decoder, Farewell, RefusedReason};

/// What is known of transfers that were sent on a link and not answered when it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// The other side may or may not have taken them.
    InDoubt,
    /// It said goodbye without answering them: it has not taken them.
    NotTaken,
}

impl Tower {
    /// The link on which a peer gets what we have for it; a new one if need be and if there is room.
    pub(super) fn link_to(&mut self, peer: PeerId) -> Option<LinkId> {
        let standing = self.peers.get(peer)?.link;
        #[cfg(feature = "http")]
        if self.speaks_http(peer) {
            return self.http_link_to(peer);
        }
        let live = standing.filter(|link| self.links.live(*link).is_some());
        live.or_else(|| self.dial(peer))
    }

    /// Opens a link to a peer. `None` when all links are taken; an idle one is then asked to make room.
    pub(super) fn dial(&mut self, peer: PeerId) -> Option<LinkId> {
        let Some(id) = self.links.open(Direction::Outbound, self.now) else {
            self.make_room_for_links(1);
            return None;
        };
        self.make_room_for_links(self.links.reserve());
        if let Some(link) = self.links.get_mut(id) {
            link.peer = Some(peer);
        }
        #[cfg(feature = "http")]
        self.narrow_window(id, peer);
        self.peers.change(peer, |peer| peer.link = Some(id));
        self.link_deadlines.set(id.index, self.now + self.config.timeouts.connect);
        self.stats.links_dialled += 1;
        self.push_link_action(id, Action::Connect { link: id, peer });
        Some(id)
    }

    pub(super) fn on_connected(&mut self, id: LinkId) {
        match self.state_of(id) {
            Some(State::Connecting) => {
                self.links.set_state(id, State::Greeting, self.now);
                self.greet(id);
            }
            // It came to stand just when it was given up.
            Some(State::Closing) => {}
            _ => self.stats.stale_events += 1,
        }
    }

    /// A connected link begins with our hello.
    pub(super) fn greet(&mut self, id: LinkId) {
        let max_message = self.config.max_message;
        if let Some(link) = self.links.get_mut(id) {
            link.hello_due = true;
            link.decoder = Decoder::new(max_message).expect_hello();
        }
        #[cfg(feature = "http")]
        if self.greets_otherwise(id) {
            return;
        }
        self.link_deadlines.set(id.index, self.now + self.config.timeouts.handshake);
        self.request_send(id);
    }

    /// Takes in who TLS proved to be at the other end, before the first plaintext.
    ///
    /// A dialled address that has another key than the one pinned for it is a failed attempt.
    #[cfg_attr(not(feature = "tls"), allow(dead_code, reason = "only TLS proves keys"))]
    pub(crate) fn identify(&mut self, id: LinkId, identity: Fingerprint) {
        let Some(link) = self.links.live_mut(id) else { return };
        link.set_identity(identity);
        #[cfg(feature = "http")]
        if link.talk.take().is_some() {
            link.hello_due = true;
        }
        let dialled = link.peer.filter(|_| link.direction == Direction::Outbound);
        if self.identity() == Some(identity) {
            self.on_own_address(id);
        } else if let Some(peer) = dialled
            && self.peers.pin(peer).is_some_and(|pin| pin != identity)
        {
            self.peers.set_other_key(peer, identity);
            self.notify(Notice::KeyChanged { peer });
            self.end(id, CloseReason::KeyChanged, Unanswered::NotTaken, Some(CloseMode::Flush));
        }
        self.advance();
    }

    /// A handshake of TLS is complete.
    #[cfg_attr(not(feature = "tls"), allow(dead_code, reason = "TLS's own count"))]
    pub(crate) fn count_handshake(&mut self, resumed: bool) {
        let stats = &mut self.stats;
        let counter =
            if resumed { &mut stats.handshakes_resumed } else { &mut stats.handshakes_full };
        *counter += 1;
    }

    /// TLS refused the other side. The alert that says so is flushed.
    #[cfg_attr(not(feature = "tls"), allow(dead_code, reason = "TLS's own failures"))]
    pub(crate) fn fail(&mut self, id: LinkId, why: CloseReason) {
        self.end(id, why, Unanswered::InDoubt, Some(CloseMode::Flush));
        self.advance();
    }

    /// The link leads back to this very tower.
    pub(super) fn on_own_address(&mut self, id: LinkId) {
        let Some(link) = self.links.live_mut(id) else { return };
        let dialled = link.peer.filter(|_| link.direction == Direction::Outbound);
        link.farewell_due = (link.state == State::Open).then_some(Farewell::OwnAddress);
        self.end(id, CloseReason::OwnAddress, Unanswered::NotTaken, Some(CloseMode::Flush));
        if let Some(peer) = dialled {
            self.ignore_alias(peer);
        }
    }

    /// The other side broke the protocol.
    pub(super) fn misbehaved(&mut self, id: LinkId, why: CloseReason) {
        // A goodbye is the last frame of its side: after the one of a parting link there is no other.
        let speaks = |link: &&mut Link| !matches!(link.state, State::Parting(_));
        if let Some(link) = self.links.live_mut(id).filter(speaks) {
            link.farewell_due = Some(Farewell::Misbehaved);
        }
        self.end(id, why, Unanswered::InDoubt, Some(CloseMode::Flush));
    }

    pub(super) fn on_finished(&mut self, id: LinkId) {
        #[cfg(feature = "http")]
        if self.is_http(id) {
            return self.on_http_finished(id);
        }
        match self.links.get(id).map(Link::is_live) {
            // The other side can't hear answers to what it no longer waits for, yet it may still read: flush.
            Some(true) => {
                self.end(id, CloseReason::Truncated, Unanswered::InDoubt, Some(CloseMode::Flush));
            }
            Some(false) => {}
            None => self.stats.stale_events += 1,
        }
    }

    pub(super) fn on_io_failure(&mut self, id: LinkId, cause: IoCause) {
        if self.links.get(id).is_none() {
            self.stats.stale_events += 1;
            return;
        }
        self.end(id, CloseReason::Io(cause), Unanswered::InDoubt, None);
        self.forget_link(id);
    }

    pub(super) fn on_closed(&mut self, id: LinkId) {
        if self.links.get(id).is_none() {
            self.stats.stale_events += 1;
            return;
        }
        // A driver that closes what it was not asked to close has lost the connection.
        self.end(id, CloseReason::Io(IoCause::Other), Unanswered::InDoubt, None);
        self.forget_link(id);
    }

    fn forget_link(&mut self, id: LinkId) {
        if let Some(link) = self.links.get_mut(id)
            && let Some(body) = link.partial().and_then(|partial| partial.body.take())
        {
            self.queue.unpin(body);
        }
        self.link_deadlines.clear(id.index);
        self.links.close(id);
        if self.links.len() == 0 {
            self.rest_streams();
        }
    }

    /// A tower without links has handed nothing to anybody for a while, and does not hold the generators for the next time.
    fn rest_streams(&mut self) {
        self.selector.rest();
        self.friend_stream.rest();
        self.nonce_stream.rest();
    }

    /// Says goodbye to an open link, and closes it when nothing is unanswered.
    pub(super) fn part(&mut self, id: LinkId, why: CloseReason, farewell: Farewell) {
        let Some(link) = self.links.live_mut(id).filter(|link| link.state == State::Open) else {
            return;
        };
        link.farewell_due = Some(farewell);
        let (is_answered, peer) = (link.transfers.sent() == 0, link.peer);
        if is_answered {
            self.end(id, why, Unanswered::NotTaken, Some(CloseMode::Flush));
            return;
        }
        self.return_outbox(id);
        self.withdraw_offers(id);
        self.detach(id, peer);
        self.links.set_state(id, State::Parting(why), self.now);
        self.link_deadlines.set(id.index, self.now + self.config.timeouts.close);
        self.request_send(id);
    }

    /// Ends a link's part in the protocol: nothing that comes in on it matters any more.
    ///
    /// With `how` the driver is asked to close it; without, it is gone already. Transfers that were not sent go back to the queue, and so do
    /// those that were surely not taken. For those in doubt the same peer is asked again, once, on another link: it recognises them.
    pub(super) fn end(
        &mut self,
        id: LinkId,
        why: CloseReason,
        unanswered: Unanswered,
        how: Option<CloseMode>,
    ) {
        #[cfg(feature = "http")]
        self.conclude(id);
        let Some(link) = self.links.live_mut(id) else { return };
        let (state, peer, unreached) = (link.state, link.peer, link.is_dialling());
        let awaited = link.transfers.sent() > 0;
        let carried = !link.transfers.is_empty();
        if !matches!(state, State::Open | State::Parting(_)) && link.farewell_due.is_none() {
            link.hello_due = false;
        }
        self.count_end(why);
        self.return_outbox(id);
        self.withdraw_offers(id);
        self.detach(id, peer);
        match how {
            Some(how) => {
                self.links.set_state(id, State::Closing, self.now);
                self.link_deadlines.set(id.index, self.now + self.config.timeouts.close);
                self.push_link_action(id, Action::Close { link: id, how, why });
            }
            None => self.links.set_state(id, State::Closing, self.now),
        }
        let our_choice = matches!(
            why,
            CloseReason::Shutdown
                | CloseReason::Evicted
                | CloseReason::Ignored
                | CloseReason::OwnAddress
        );
        let broken =
            awaited && unanswered == Unanswered::InDoubt || why == CloseReason::ConfirmTimeout;
        // Anybody may claim to be a peer and say that.
        let shunned =
            matches!(why, CloseReason::Goodbye(Farewell::Ignored)) && self.proved(id).is_some();
        if let Some(peer) = peer.filter(|_| why == CloseReason::Io(IoCause::Exhausted)) {
            // What this machine lacks says nothing about the peer.
            self.rest(peer, self.config.probe_backoff);
        } else if let Some(peer) = peer.filter(|_| !our_choice) {
            // One that takes calls and nothing else must not be drawn first for ever, or called again at once.
            let fruitless = carried && !self.peers.is_alive(peer);
            if unreached || broken || shunned || fruitless {
                self.on_failure(peer);
            } else if carried {
                self.rest(peer, self.config.busy_backoff);
            }
        }
        self.resolve_window(id, peer, unanswered);
        if let Some(peer) = peer {
            self.forget_taken(id, peer, why);
        }
        self.notify(Notice::LinkClosed { link: id, peer: self.claimed(id), why });
    }

    /// Forgets what a peer will not ask about when this link has ended.
    fn forget_taken(&mut self, id: LinkId, peer: PeerId, why: CloseReason) {
        let (now, times) = (self.now, &self.config.timeouts);
        let said_so =
            matches!(why, CloseReason::Goodbye(farewell) if taken::leaves_no_doubt(farewell));
        self.peers.trim_taken(peer.index, |taken| {
            taken.forget_older(times, now);
            if said_so {
                taken.forget_link(id);
            }
        });
    }

    /// Looks whether one peer, each time another one, can't ask any more about what was taken from it. So that what nobody will ask about
    /// goes even when its sender is never heard of again.
    pub(super) fn tidy(&mut self) {
        let (now, times) = (self.now, &self.config.timeouts);
        self.peers.trim_taken(self.tidied, |taken| taken.forget_older(times, now));
        self.tidied = self.peers.next_place(self.tidied);
    }

    /// Asks again about transfers in doubt, and takes back the others.
    fn resolve_window(&mut self, id: LinkId, peer: Option<PeerId>, unanswered: Unanswered) {
        let mut again = None;
        while let Some(transfer) = self.links.get_mut(id).and_then(|link| link.transfers.pop_sent())
        {
            let first_doubt =
                unanswered == Unanswered::InDoubt && transfer.attempt == Attempt::First;
            // Nobody who speaks HTTP would recognise it.
            #[cfg(feature = "http")]
            let first_doubt = first_doubt && !self.is_http(id);
            if first_doubt && transfer.message().is_some() {
                let link = again.or_else(|| self.link_for_doubts(peer?));
                again = link;
                if let Some(link) = link.and_then(|link| self.links.get_mut(link)) {
                    self.stats.in_doubt += 1;
                    let retry = Transfer { attempt: Attempt::Retry, sent: self.now, ..transfer };
                    link.transfers.push(retry);
                    continue;
                }
            }
            let may_be_there =
                unanswered == Unanswered::InDoubt || transfer.attempt == Attempt::Retry;
            self.take_back(peer, transfer, may_be_there);
        }
        if let Some(link) = again {
            self.link_deadlines.set_if_earlier(link.index, self.now + self.config.timeouts.confirm);
            self.request_send_if_wanted(link);
        }
        if let Some(peer) = peer {
            self.refresh_window(peer);
        }
    }

    /// The link on which to ask a peer again what it may have taken.
    pub(super) fn link_for_doubts(&mut self, peer: PeerId) -> Option<LinkId> {
        let is_wanted = matches!(self.shutdown, Shutdown::Running | Shutdown::Draining { .. });
        let may = self.peers.get(peer).is_some_and(|peer| !peer.is_ignored());
        if is_wanted && may { self.link_to(peer) } else { None }
    }

    /// Takes back what was not handed to the driver.
    fn return_outbox(&mut self, id: LinkId) {
        self.return_unsent(id, |_| true);
    }

    /// Takes back what was meant for a link whose other side turns out to take only `max` bytes.
    pub(super) fn return_over_long(&mut self, id: LinkId, max: u32) {
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        self.return_unsent(id, |transfer| transfer.len() > max);
    }

    fn return_unsent(&mut self, id: LinkId, test: impl Fn(&Transfer) -> bool) {
        let Some(link) = self.links.get_mut(id) else { return };
        let peer = link.peer;
        for transfer in link.transfers.take_unsent() {
            if test(&transfer) {
                self.take_back(peer, transfer, transfer.attempt == Attempt::Retry);
            } else if let Some(link) = self.links.get_mut(id) {
                link.transfers.push(transfer);
            }
        }
    }

    /// A transfer failed for good: its message goes back to the queue.
    pub(super) fn take_back(&mut self, peer: Option<PeerId>, transfer: Transfer, in_doubt: bool) {
        if let Some(peer) = peer {
            let is_announce = transfer.message().is_none();
            self.peers.change(peer, |peer| {
                peer.load = peer.load.saturating_sub(1);
                peer.announce_due |= is_announce;
            });
        }
        if let Some(key) = transfer.message()
            && self.queue.give_back(key)
        {
            self.stats.returned += 1;
            self.stats.doubt_unresolved += u64::from(in_doubt);
            let origin = crate::event::Origin::Returned;
            self.notify(Notice::MessageQueued { message: key, origin });
        }
    }

    /// The sender keeps what was not decided, and will hand it over again. It is told so, if it can be told, and so it is of what was
    /// decided after that: what a goodbye finds unanswered counts as not taken.
    fn withdraw_offers(&mut self, id: LinkId) {
        while let Some(incoming) =
            self.links.get_mut(id).and_then(|link| link.undecided.pop_front())
        {
            if let Some(key) = incoming.offer.filter(|_| incoming.outcome.is_none()) {
                self.queue.discard(key);
                self.open_offers -= 1;
            }
            let outcome = incoming.outcome.unwrap_or(Outcome::Refused(RefusedReason::Busy));
            if let Some(link) = self.links.get_mut(id) {
                link.answer(incoming.transfer, outcome, incoming.len);
            }
        }
        self.forget_decided_offers();
    }

    /// The peer's next message takes another link.
    fn detach(&mut self, id: LinkId, peer: Option<PeerId>) {
        if let Some(peer) = peer {
            self.peers.change(peer, |peer| {
                peer.link = peer.link.filter(|link| *link != id);
                peer.is_full = peer.is_full && peer.link.is_some();
            });
        }
    }

    /// Asks the link that was unused longest to make room, unless there is room for `wanted` more or soon will be.
    pub(super) fn make_room_for_links(&mut self, wanted: usize) {
        let mut room = self.links.free();
        if room >= wanted {
            return;
        }
        let mut longest: Option<(Instant, LinkId)> = None;
        for (id, link) in self.links.iter() {
            match link.state {
                State::Closing | State::Parting(_) => room += 1,
                State::Open if link.is_evictable() => {
                    let candidate = (link.used, id);
                    longest = Some(longest.map_or(candidate, |standing| standing.min(candidate)));
                }
                _ => {}
            }
        }
        if let Some((_, id)) = longest.filter(|_| room < wanted) {
            self.part(id, CloseReason::Evicted, Farewell::Idle);
        }
    }

    pub(super) fn on_link_deadline(&mut self, id: LinkId) {
        let Some(link) = self.links.get(id) else { return };
        let due = self.deadline_of(link);
        if due > self.now {
            // It was put off since the deadline was set.
            self.link_deadlines.set(id.index, due);
            return;
        }
        #[cfg(feature = "http")]
        if link.is_mid_request() {
            return self.on_late_request(id);
        }
        let waits = !link.transfers.is_empty();
        let abort = Some(CloseMode::Abort);
        match link.state {
            State::Connecting => {
                self.end(id, CloseReason::ConnectTimeout, Unanswered::NotTaken, abort);
            }
            State::Greeting => {
                self.end(id, CloseReason::HandshakeTimeout, Unanswered::NotTaken, abort);
            }
            State::Open if waits => {
                self.end(id, CloseReason::ConfirmTimeout, Unanswered::InDoubt, abort);
            }
            State::Open => self.part(id, CloseReason::Idle, Farewell::Idle),
            State::Parting(why) => self.end(id, why, Unanswered::InDoubt, abort),
            State::Closing => {
                let why = CloseReason::Truncated;
                let how = CloseMode::Abort;
                self.push_link_action(id, Action::Close { link: id, how, why });
            }
        }
    }

    /// When a link has waited long enough.
    pub(super) fn deadline_of(&self, link: &Link) -> Instant {
        let times = &self.config.timeouts;
        #[cfg(feature = "http")]
        if let Some(deadline) = link.http_deadline(times) {
            return deadline;
        }
        match link.state {
            State::Connecting => link.since + times.connect,
            State::Greeting => link.since + times.handshake,
            State::Open => match link.transfers.oldest() {
                Some(oldest) => oldest.sent + times.confirm,
                // Screening has a deadline of its own.
                None if !link.undecided.is_empty() => self.now + times.idle,
                None => link.used + times.idle,
            },
            State::Parting(_) | State::Closing => link.since + times.close,
        }
    }

    pub(super) fn push_link_action(&mut self, id: LinkId, action: Action) {
        self.links.action_queued(id);
        self.actions.push(action);
    }

    /// Makes sure that the driver knows that there is something to send.
    #[inline]
    pub(crate) fn request_send(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(id) else { return };
        if !link.send_asked {
            link.send_asked = true;
            self.push_link_action(id, Action::Send { link: id });
        }
    }

    fn count_end(&mut self, why: CloseReason) {
        let stats = &mut self.stats;
        match why {
            CloseReason::Wire(_)
            | CloseReason::Protocol(_)
            | CloseReason::Tls(_)
            | CloseReason::BadHttp => {
                stats.links_misbehaved += 1;
            }
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
