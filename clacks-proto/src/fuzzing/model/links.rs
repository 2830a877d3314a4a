//! Links begin and end.

use alloc::vec::Vec;

use super::{Answer, Cargo, Key, Link, Model, Phase, Place, Told, Transfer, Undecided};
use crate::ids::LinkId;
use crate::link::{Direction, Outcome, State};
use crate::reason::{CloseReason, IoCause, Refusal};
use crate::time::Instant;
use crate::wire::{Decoder, Farewell, RefusedReason};
use crate::{CloseMode, Origin, Status, Window};

/// What is known of transfers without an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Doubt {
    /// They may have been taken.
    Doubtful,
    /// They were not.
    NotTaken,
}

/// Whether a window has room for one more body. One may always be on its way, however long it is.
pub(super) fn admits(window: Window, messages: usize, bytes: usize, len: usize) -> bool {
    let is_in_window = messages < usize::from(window.messages);
    messages == 0 || is_in_window && bytes + len <= window.bytes as usize
}

impl Model {
    fn begin_link(&mut self, id: LinkId, is_inbound: bool) {
        let state = if is_inbound { State::Greeting } else { State::Connecting };
        let link = Link {
            id,
            is_inbound,
            state,
            since: self.now,
            used: self.now,
            peer: None,
            incarnation: 0,
            granted: self.config.window,
            decoder: Decoder::default(),
            hello_due: false,
            farewell_due: None,
            answers: Default::default(),
            undecided: Default::default(),
            transfers: Vec::new(),
            partial: None,
            close: None,
            is_urged: false,
            closes: 0,
        };
        self.links.push(link);
        // Where several links are concerned at once, they are in the order of their places.
        self.links.sort_by_key(|link| link.id);
    }

    fn greet(&mut self, id: LinkId) {
        let max = self.config.max_message;
        let link = self.link_mut(id).unwrap();
        link.hello_due = true;
        link.decoder = Decoder::new(max).expect_hello();
    }

    pub(super) fn free_links(&self) -> usize {
        self.config.max_links - self.links.len() - self.haunted
    }

    pub(in super::super) fn accept(&mut self, accepted: Result<LinkId, Refusal>) {
        let is_half_open = |link: &&Link| link.is_inbound && link.state == State::Greeting;
        let expected = if self.phase != Phase::Running {
            Err(Refusal::ShuttingDown)
        } else if self.links.iter().filter(is_half_open).count() >= self.config.max_half_open {
            Err(Refusal::TooManyHalfOpen)
        } else if self.free_links() == 0 {
            self.make_room(1);
            Err(Refusal::TooManyLinks)
        } else {
            Ok(())
        };
        assert_eq!(accepted.map(drop), expected);
        match accepted {
            Ok(id) => {
                assert!(self.link(id).is_none(), "{id:?} is used twice");
                self.begin_link(id, true);
                self.make_room(self.config.max_links / 16);
                self.stats.links_accepted += 1;
                self.greet(id);
            }
            Err(_) => self.stats.links_refused += 1,
        }
        self.advance();
    }

    /// The link on which a peer gets what there is for it.
    pub(super) fn link_to(&mut self, key: Key) -> Option<LinkId> {
        let link = self.peer(key)?.link;
        let live = link.filter(|id| self.live(*id).is_some());
        live.or_else(|| self.dial(key))
    }

    pub(super) fn dial(&mut self, key: Key) -> Option<LinkId> {
        if self.free_links() == 0 {
            self.make_room(1);
            return None;
        }
        let peer = self.id_of(key);
        let is_new = |id: LinkId| self.link(id).is_none();
        let is_it = |link: &&crate::tower::inside::LinkInside| {
            link.peer == Some(peer) && link.direction == Direction::Outbound && is_new(link.id)
        };
        let dialled = self.after.links.iter().find(is_it);
        let id = dialled.unwrap_or_else(|| panic!("{peer:?} was not dialled")).id;
        self.begin_link(id, false);
        self.make_room(self.config.max_links / 16);
        self.link_mut(id).unwrap().peer = Some(key);
        self.peer_mut(key).unwrap().link = Some(id);
        self.stats.links_dialled += 1;
        Some(id)
    }

    /// When fewer than that many are free or will soon be, the one that was unused longest is asked to go.
    pub(super) fn make_room(&mut self, wanted: usize) {
        if self.free_links() >= wanted {
            return;
        }
        let going = |link: &&Link| matches!(link.state, State::Closing | State::Parting(_));
        let room = self.free_links() + self.links.iter().filter(going).count();
        let is_idle = |link: &&Link| {
            link.state == State::Open
                && link.transfers.is_empty()
                && link.undecided.is_empty()
                && link.partial.is_none()
        };
        let idle = self.links.iter().filter(is_idle).min_by_key(|link| (link.used, link.id));
        if let Some(id) = idle.map(|link| link.id).filter(|_| room < wanted) {
            self.part(id, CloseReason::Evicted, Farewell::Idle);
        }
    }

    pub(in super::super) fn connected(&mut self, id: LinkId) {
        match self.link(id).map(|link| link.state) {
            Some(State::Connecting) => {
                self.set_state(id, State::Greeting);
                self.greet(id);
            }
            Some(State::Closing) => {}
            _ => self.stats.stale_events += 1,
        }
        self.advance();
    }

    pub(in super::super) fn finished(&mut self, id: LinkId) {
        if self.link(id).is_none() {
            self.stats.stale_events += 1;
        }
        self.end(id, CloseReason::Truncated, Doubt::Doubtful, Some(CloseMode::Flush));
        self.advance();
    }

    /// The driver says that a link is no more.
    pub(in super::super) fn gone(&mut self, id: LinkId, cause: IoCause) {
        if self.link(id).is_none() {
            self.stats.stale_events += 1;
        } else {
            self.end(id, CloseReason::Io(cause), Doubt::Doubtful, None);
            self.links.retain(|link| link.id != id);
            let is_named =
                |link: &crate::tower::inside::LinkInside| link.id == id && link.actions > 0;
            self.haunted += usize::from(self.before.links.iter().any(is_named));
        }
        self.advance();
    }

    /// The links that the driver must know of when it has polled all actions.
    pub(in super::super) fn links(&self) -> Vec<LinkId> {
        self.links.iter().map(|link| link.id).collect()
    }

    pub(super) fn set_state(&mut self, id: LinkId, state: State) {
        let now = self.now;
        let link = self.link_mut(id).unwrap();
        (link.state, link.since) = (state, now);
    }

    /// Says goodbye; the link ends when nothing is unanswered.
    pub(super) fn part(&mut self, id: LinkId, why: CloseReason, farewell: Farewell) {
        let Some(link) = self.live(id).filter(|link| link.state == State::Open) else { return };
        link.farewell_due = Some(farewell);
        let peer = link.peer;
        if link.transfers.iter().any(|transfer| transfer.is_sent) {
            self.take_back_unsent(id, u32::MAX, 0);
            self.withdraw_offers(id);
            self.detach(id, peer);
            self.set_state(id, State::Parting(why));
        } else {
            self.end(id, why, Doubt::NotTaken, Some(CloseMode::Flush));
        }
    }

    /// A link has no part in the protocol any more. Everything on it goes to where it belongs. Without `how` it is gone already.
    pub(super) fn end(
        &mut self,
        id: LinkId,
        why: CloseReason,
        doubt: Doubt,
        how: Option<CloseMode>,
    ) {
        let Some(link) = self.live(id) else { return };
        let (state, peer) = (link.state, link.peer);
        let is_unheard = !link.is_inbound && matches!(state, State::Connecting | State::Greeting);
        let awaited = link.transfers.iter().any(|transfer| transfer.is_sent);
        let carried = !link.transfers.is_empty();
        if matches!(state, State::Connecting | State::Greeting) && link.farewell_due.is_none() {
            link.hello_due = false;
        }
        self.count_end(why);
        self.take_back_unsent(id, u32::MAX, 0);
        self.withdraw_offers(id);
        self.detach(id, peer);
        self.set_state(id, State::Closing);
        self.link_mut(id).unwrap().close = how.map(|how| (how, why));
        self.judge(peer, why, doubt, is_unheard, awaited, carried);
        self.resolve(id, peer, doubt);
        if let Some(key) = peer {
            let is_clear =
                matches!(why, CloseReason::Goodbye(farewell) if farewell != Farewell::Misbehaved);
            self.trim(key, is_clear.then_some(id));
        }
        self.tell(Told::Closed(id, peer, why));
    }

    /// What the end of a link says about the peer at its other end.
    fn judge(
        &mut self,
        peer: Option<Key>,
        why: CloseReason,
        doubt: Doubt,
        is_unheard: bool,
        awaited: bool,
        carried: bool,
    ) {
        let Some(key) = peer else { return };
        match why {
            CloseReason::Io(IoCause::Exhausted) => self.rest(key, self.config.probe_backoff),
            CloseReason::Shutdown
            | CloseReason::Evicted
            | CloseReason::Ignored
            | CloseReason::OwnAddress => {}
            _ => {
                let is_broken = awaited && doubt == Doubt::Doubtful;
                let is_shunned = why == CloseReason::Goodbye(Farewell::Ignored);
                let is_in_vain = carried && self.status(key) != Some(Status::Alive);
                let is_late = why == CloseReason::ConfirmTimeout;
                if is_unheard || is_broken || is_late || is_shunned || is_in_vain {
                    self.failed(key);
                } else if carried {
                    self.rest(key, self.config.busy_backoff);
                }
            }
        }
    }

    /// What is in doubt is asked about once more, on another link to the same peer; the rest comes back.
    fn resolve(&mut self, id: LinkId, peer: Option<Key>, doubt: Doubt) {
        let mut again = None;
        for transfer in core::mem::take(&mut self.link_mut(id).unwrap().transfers) {
            let is_doubtful = doubt == Doubt::Doubtful;
            if is_doubtful && !transfer.is_retry && transfer.cargo != Cargo::Announce {
                again = again.or_else(|| self.link_to_ask(peer?));
                let now = self.now;
                if let Some(link) = again.and_then(|id| self.link_mut(id)) {
                    link.transfers.push(Transfer {
                        is_retry: true,
                        is_sent: false,
                        at: now,
                        ..transfer
                    });
                    self.stats.in_doubt += 1;
                    continue;
                }
            }
            self.take_back(peer, transfer, is_doubtful || transfer.is_retry);
        }
    }

    fn link_to_ask(&mut self, key: Key) -> Option<LinkId> {
        let is_wanted = matches!(self.phase, Phase::Running | Phase::Draining { .. });
        if is_wanted && !self.is_ignored(key) { self.link_to(key) } else { None }
    }

    /// What was not sent and is longer than `max` (or anything, for a length of 0 and more) comes back.
    pub(super) fn take_back_unsent(&mut self, id: LinkId, max: u32, least: u32) {
        let link = self.link_mut(id).unwrap();
        let peer = link.peer;
        let (sent, unsent): (Vec<_>, Vec<_>) =
            core::mem::take(&mut link.transfers).into_iter().partition(|it| it.is_sent);
        self.link_mut(id).unwrap().transfers = sent;
        for transfer in unsent {
            let len = self.cargo_len(transfer.cargo);
            if max == u32::MAX && least == 0 || len > max as usize {
                self.take_back(peer, transfer, transfer.is_retry);
            } else {
                self.link_mut(id).unwrap().transfers.push(transfer);
            }
        }
    }

    pub(super) fn take_back(&mut self, peer: Option<Key>, transfer: Transfer, in_doubt: bool) {
        match transfer.cargo {
            Cargo::Announce => {
                if let Some(peer) = peer.and_then(|key| self.peer_mut(key)) {
                    peer.announce_due = true;
                }
            }
            Cargo::Message(number) => {
                assert!(self.give_back(number), "it was on a link and not in flight");
                self.stats.returned += 1;
                self.stats.doubt_unresolved += u64::from(in_doubt);
                self.tell(Told::Queued(number, Origin::Returned));
            }
        }
    }

    pub(super) fn cargo_len(&self, cargo: Cargo) -> usize {
        match cargo {
            Cargo::Message(number) => self.len(number),
            Cargo::Announce => 0,
        }
    }

    /// Senders keep what nobody decided on.
    fn withdraw_offers(&mut self, id: LinkId) {
        for incoming in core::mem::take(&mut self.link_mut(id).unwrap().undecided) {
            let Undecided { transfer, offer, outcome, len } = incoming;
            if let Some(number) = offer.filter(|_| outcome.is_none()) {
                self.discard(number);
            }
            let outcome = outcome.unwrap_or(Outcome::Refused(RefusedReason::Busy));
            self.link_mut(id).unwrap().answer(transfer, outcome, len);
        }
    }

    fn detach(&mut self, id: LinkId, peer: Option<Key>) {
        if let Some(peer) = peer.and_then(|key| self.peer_mut(key)) {
            peer.link = peer.link.filter(|link| *link != id);
        }
    }

    /// When a link has waited long enough.
    pub(super) fn deadline(&self, link: &Link) -> Instant {
        let times = &self.config.timeouts;
        match link.state {
            State::Connecting => link.since + times.connect,
            State::Greeting => link.since + times.handshake,
            State::Open => match link.transfers.first() {
                Some(oldest) => oldest.at + times.confirm,
                None if !link.undecided.is_empty() => self.now + times.idle,
                None => link.used + times.idle,
            },
            State::Parting(_) | State::Closing => link.since + times.close,
        }
    }

    /// Looks at the links whose time may have come.
    pub(super) fn end_late_links(&mut self) {
        let looked_at = self.before.links.iter().filter_map(|link| Some((link.deadline?, link.id)));
        let mut due: Vec<_> = looked_at.filter(|(at, _)| *at <= self.now).collect();
        due.sort();
        for (_, id) in due {
            self.end_if_late(id);
        }
        for link in &self.links {
            let is_over = link.state == State::Closing && link.is_urged;
            assert!(is_over || self.deadline(link) > self.now, "a deadline was missed: {link:?}");
        }
    }

    fn end_if_late(&mut self, id: LinkId) {
        let Some(link) = self.link(id) else { return };
        if self.deadline(link) > self.now {
            return;
        }
        let abort = Some(CloseMode::Abort);
        match link.state {
            State::Connecting => self.end(id, CloseReason::ConnectTimeout, Doubt::NotTaken, abort),
            State::Greeting => self.end(id, CloseReason::HandshakeTimeout, Doubt::NotTaken, abort),
            State::Open if !link.transfers.is_empty() => {
                self.end(id, CloseReason::ConfirmTimeout, Doubt::Doubtful, abort);
            }
            State::Open => self.part(id, CloseReason::Idle, Farewell::Idle),
            State::Parting(why) => self.end(id, why, Doubt::Doubtful, abort),
            State::Closing => self.link_mut(id).unwrap().is_urged = true,
        }
    }

    fn count_end(&mut self, why: CloseReason) {
        match why {
            CloseReason::Wire(_) | CloseReason::Protocol(_) => self.stats.links_misbehaved += 1,
            CloseReason::ConnectTimeout
            | CloseReason::HandshakeTimeout
            | CloseReason::ConfirmTimeout => self.stats.links_timed_out += 1,
            CloseReason::Truncated | CloseReason::Io(_) => self.stats.links_broken += 1,
            _ => {}
        }
    }

    pub(super) fn offered_on(&self, id: LinkId) -> usize {
        let is_here = |place: Place| matches!(place, Place::Offered { link, .. } if link == id);
        self.messages.iter().filter(|message| is_here(message.place)).count()
    }
}

impl Link {
    /// One frame confirms all that were taken one after the other.
    pub(super) fn answer(&mut self, transfer: u64, outcome: Outcome, len: usize) {
        match self.answers.back_mut() {
            Some(last) if last.outcome == Outcome::Taken && outcome == Outcome::Taken => {
                last.transfer = transfer;
                last.count += 1;
                last.bytes += len;
            }
            _ => self.answers.push_back(Answer { transfer, outcome, count: 1, bytes: len }),
        }
    }
}
