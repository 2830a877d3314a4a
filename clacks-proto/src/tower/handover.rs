//! Handing messages over: the ticks, the draw, and the content of frames.

use alloc::vec::Vec;
use core::time::Duration;

use super::lifetime::remaining;
use super::peers::Peers;
use super::queue::Queue;
use super::{Phase, Tower};
use crate::address::Address;
use crate::ids::{LinkId, MessageId, PeerId};
use crate::link::{Content, HeldContent, Payload, Session, Transfer};
use crate::message::Nonce;
use crate::rng::{Seed, SparseStream};
use crate::time::Instant;

/// How an attempt to hand over the message at the head went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SendAttempt {
    /// The message is on its way.
    Sent,
    /// There is no message, or no peer to take it.
    Nothing,
    /// No peer has an open link. The drawn peer is being dialled.
    Unlinked,
    /// No peer can get a message now: no link is free, or the messages do not suit the peers.
    Stuck,
}

/// How many peers are drawn for a message until one suits. The value is a guess.
const MAX_DRAWS: u32 = 8;

/// The same without the search of [`Config::tried_messages`](crate::Config::tried_messages).
const DRAWS_WITHOUT_SEARCH: u32 = 5;

/// How often an unlimited sender draws again if no drawn peer has an open link. The value is a
/// guess.
const REDRAWS: u32 = 4;

/// The shortest time until an unlimited sender tries again, so that a back-off of zero does not
/// keep the timer busy.
const MIN_PAUSE: Duration = Duration::from_millis(1);

/// How often a refused message is replaced in one tick. Among full towers, where up to half of the
/// peers may have no credit, 15 of 16 ticks then move a message.
const REOFFERS_PER_TICK: u32 = 3;

/// Hand-overs that take the place of those that were refused as busy in the current tick.
#[derive(Debug, Default)]
pub(super) struct Reoffers {
    /// How many may still follow in this tick.
    left: u32,
    /// How many follow at the end of the current call.
    due: u32,
}

/// The parts of a tower that a link needs to encode transfers.
pub(super) struct FrameContent<'a> {
    pub(super) queue: &'a Queue,
    pub(super) peers: &'a Peers,
    pub(super) friend_stream: &'a mut SparseStream,
    pub(super) seed: &'a Seed,
    pub(super) recipient: Option<PeerId>,
    /// The most friends that an announce names.
    pub(super) max_friends: usize,
    pub(super) now: Instant,
    /// The last round trip on the link, in nanoseconds.
    pub(super) round_trip: u64,
}

impl Content for FrameContent<'_> {
    #[inline]
    fn message(&self, id: MessageId) -> Option<HeldContent<'_>> {
        let entry = self.queue.get(id)?;
        let lifetime = remaining(entry.deadline, self.now, self.round_trip);
        Some(HeldContent { nonce: entry.nonce, lifetime, message: &entry.message })
    }

    /// Draws an alive peer that is not the recipient.
    #[inline]
    fn friend(&mut self) -> Option<Address> {
        let Self { peers, friend_stream, seed, .. } = self;
        let friend = peers.draw_alive(self.recipient, |count| friend_stream.below(seed, count));
        friend.map(|peer| peer.address.clone())
    }

    /// Draws alive peers that are not the recipient, each once.
    fn friends(&mut self) -> Vec<Address> {
        let Self { peers, friend_stream, seed, max_friends, .. } = self;
        let below = |count| friend_stream.below(seed, count);
        let friends = peers.draw_several_alive(self.recipient, *max_friends, below);
        friends.into_iter().map(|peer| peer.address.clone()).collect()
    }

    fn recipient(&self) -> Option<&Address> {
        self.peers.get(self.recipient?).map(|peer| &peer.address)
    }
}

impl Tower {
    /// Hands over messages as soon as a window has room, at an unlimited rate and in a shutdown.
    #[inline]
    pub(super) fn pump(&mut self) {
        while self.reoffers.due > 0 {
            self.reoffers.due -= 1;
            self.tick();
        }
        let is_due = match self.phase {
            Phase::Running => self.pacer.is_unlimited(),
            phase => phase.hands_over(),
        };
        if !is_due || self.retry_at.is_some() {
            return;
        }
        let mut redraws = 0;
        loop {
            match self.tick() {
                SendAttempt::Sent => redraws = 0,
                SendAttempt::Nothing => return,
                SendAttempt::Unlinked if redraws < REDRAWS => redraws += 1,
                SendAttempt::Unlinked | SendAttempt::Stuck => {
                    let pause = self.local.config.busy_backoff.max(MIN_PAUSE);
                    self.retry_at = Some(self.now + pause);
                    return;
                }
            }
        }
    }

    pub(super) fn on_ticks(&mut self) {
        if self.phase.is_running() {
            let ticks = self.pacer.take_due(self.now);
            if ticks > 0 && self.local.config.exchange_credit > 0 {
                self.reoffers.left = ticks.saturating_mul(REOFFERS_PER_TICK);
            }
            for _ in 0..ticks {
                self.tick();
            }
        }
    }

    /// Hands over another message at the end of this call, because one was refused as busy.
    pub(super) fn reoffer(&mut self, refused: &Transfer) {
        if self.reoffers.left > 0 && self.phase.is_running() && refused.message().is_some() {
            self.reoffers.left -= 1;
            self.reoffers.due += 1;
        }
    }

    /// Contacts a drawn peer, and hands over the message at the head.
    #[inline(always)]
    fn tick(&mut self) -> SendAttempt {
        self.drop_expired_head();
        if self.queue.waiting() == 0 {
            self.contact_new();
            return SendAttempt::Nothing;
        }
        match self.draw_recipient() {
            Some(peer) => self.hand_over(peer),
            None if !self.contacts_peers() => SendAttempt::Nothing,
            None => {
                self.is_tick_owed = true;
                let can_draw = self.selector.can_draw(self.drawable());
                if can_draw { SendAttempt::Unlinked } else { SendAttempt::Nothing }
            }
        }
    }

    /// Hands the message at the head to a peer with an open link.
    pub(super) fn hand_over_linked(&mut self) {
        if let Some(peer) = self.draw_linked() {
            self.hand_over(peer);
        }
    }

    /// Hands the message at the head to the drawn peer, or to another one if the message does not
    /// suit it. If no peer suits, the next messages are tried, up to
    /// [`Config::tried_messages`](crate::Config::tried_messages).
    #[inline(always)]
    fn hand_over(&mut self, drawn: PeerId) -> SendAttempt {
        let mut drawn = Some(drawn);
        let tried = self.local.config.tried_messages.max(1) as usize;
        for _ in 0..tried.min(self.queue.waiting()) {
            self.drop_expired_head();
            let Some((id, entry)) = self.queue.head() else { break };
            let len = u32::try_from(entry.message.len()).unwrap_or(u32::MAX);
            if let Some(peer) = self.find_recipient(drawn.take(), id) {
                if !self.hand_to(peer, Payload::Message { id, len }) {
                    return SendAttempt::Stuck;
                }
                self.queue.depart(peer);
                return SendAttempt::Sent;
            }
            self.queue.rotate();
        }
        SendAttempt::Stuck
    }

    /// Returns a peer that a message suits: the drawn one, or another one.
    #[inline]
    fn find_recipient(&mut self, drawn: Option<PeerId>, message: MessageId) -> Option<PeerId> {
        match drawn {
            Some(peer) if self.suits(peer, message) => Some(peer),
            drawn => self.redraw_recipient(drawn, message),
        }
    }

    /// Draws until a message suits the peer, and then looks at all peers with open links.
    #[inline(never)]
    fn redraw_recipient(&mut self, drawn: Option<PeerId>, message: MessageId) -> Option<PeerId> {
        let searches = self.local.config.tried_messages > 0;
        let draws = if searches { MAX_DRAWS } else { DRAWS_WITHOUT_SEARCH };
        let mut unsuitable = drawn;
        for _ in u32::from(drawn.is_some())..draws {
            if let Some(peer) = unsuitable.take() {
                self.on_unsuitable(peer);
            }
            let contacts_peers = self.contacts_peers();
            let peer = if contacts_peers { self.draw_linked() } else { self.draw() }?;
            if self.suits(peer, message) {
                return Some(peer);
            }
            unsuitable = Some(peer);
        }
        if searches { self.search_recipient(message) } else { None }
    }

    /// Returns the first peer with an open link that a message suits, from a drawn position on.
    fn search_recipient(&mut self, message: MessageId) -> Option<PeerId> {
        let count = self.linked();
        let start = self.selector.below(count);
        let list = self.peers.eligible_list(self.recipients())?;
        let positions = (start..count).chain(0..start);
        let mut peers = positions.filter_map(|position| self.peers.id(list.get(position)?));
        peers.find(|peer| self.suits(*peer, message))
    }

    /// A message does not suit a drawn peer. A peer that is not alive gets an announce: a new peer
    /// would be drawn first each time otherwise. An alive peer without a link to which nothing was
    /// sent for a heartbeat is contacted, so that its end is noticed.
    fn on_unsuitable(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get(id) else { return };
        if !peer.is_alive() {
            self.hand_to(id, Payload::Announce);
        } else if let Some(heartbeat) = self.local.config.heartbeat
            && peer.link.is_none()
            && peer.last_taken.max(peer.contacted) + heartbeat <= self.now
        {
            self.contact(id);
        }
    }

    /// Returns whether a message suits a peer: it is not too long, the peer's dialect can carry it,
    /// and the peer has not rejected it recently.
    #[inline]
    pub(super) fn suits(&self, peer: PeerId, message: MessageId) -> bool {
        let Some(record) = self.peers.get(peer) else { return false };
        let Some(entry) = self.queue.get(message) else { return false };
        let fits = usize::try_from(record.max_message).is_ok_and(|max| entry.message.len() <= max);
        fits && match record.dialect {
            Some(dialect) if !dialect.carries_all() => {
                dialect.carries(&entry.message, &self.local.address)
                    && !self.rejections.contains(peer, message, self.now)
            }
            _ => true,
        }
    }

    /// Gives a transfer to the peer's link, and dials if there is no link. Returns `false` if no
    /// link is free.
    #[inline(always)]
    pub(super) fn hand_to(&mut self, peer: PeerId, payload: Payload) -> bool {
        let Some(link) = self.link_for(peer) else { return false };
        let transfer = self.new_transfer(payload);
        self.give(link, transfer);
        true
    }

    fn new_transfer(&mut self, payload: Payload) -> Transfer {
        self.last_sent = Some(self.now);
        Transfer { payload, retry: None, sent: self.now }
    }

    /// Gives an announce to a link of a peer that is due one, or to a link that has just opened.
    /// Both sides of a new link announce themselves, so each learns addresses from the other.
    pub(super) fn announce_if_due(&mut self, id: LinkId, link: &mut Session, peer: PeerId) {
        let several = self.local.config.announced_friends > 1 && link.dialect().has_hello();
        let is_due = |peer: &super::peers::Peer| {
            (peer.announce_due || several && !peer.is_ignored()) && peer.link == Some(id)
        };
        if link.is_open() && !link.has_unsent_announce() && self.peers.get(peer).is_some_and(is_due)
        {
            let transfer = self.new_transfer(Payload::Announce);
            link.give(transfer, &self.local);
        }
    }

    pub(super) fn draw_nonce(&mut self) -> Nonce {
        Nonce(self.nonce_stream.nonce(self.selector.seed()))
    }
}
