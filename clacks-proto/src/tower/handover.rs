//! Handing messages over: the ticks, the draw, and the content of frames.

use alloc::vec::Vec;
use core::time::Duration;

use super::lifetime::remaining;
use super::peers::Peers;
use super::queue::Queue;
use super::selector::Eligible;
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
    /// No drawn peer can get the message now: no link is free, or the message does not suit the
    /// peers.
    Stuck,
}

/// How often another peer is drawn when the message does not suit the drawn one, and how often an
/// unlimited sender tries again after a failed attempt. The value is a guess.
const REDRAWS: u32 = 4;

/// The shortest time until an unlimited sender tries again, so that a back-off of zero does not
/// keep the timer busy.
const MIN_PAUSE: Duration = Duration::from_millis(1);

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
    /// The last round trip on the link.
    pub(super) round_trip: Duration,
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
        let is_due = match self.phase {
            Phase::Running => self.pacer.is_unlimited(),
            phase => phase.hands_over(),
        };
        if !is_due || self.retry_at.is_some() {
            return;
        }
        let mut stuck = 0;
        loop {
            match self.hand_over() {
                SendAttempt::Sent => stuck = 0,
                SendAttempt::Nothing => return,
                SendAttempt::Stuck if stuck < REDRAWS => stuck += 1,
                SendAttempt::Stuck => {
                    let pause = self.local.config.busy_backoff.max(MIN_PAUSE);
                    self.retry_at = Some(self.now + pause);
                    return;
                }
            }
        }
    }

    pub(super) fn on_ticks(&mut self) {
        if self.phase.is_running() {
            for _ in 0..self.pacer.take_due(self.now) {
                self.hand_over();
            }
        }
    }

    /// Draws a recipient by the odds. In a shutdown only alive peers are drawn, as long as there
    /// are any.
    #[inline]
    pub(super) fn draw(&mut self) -> Option<PeerId> {
        let (status, position) = self.selector.draw(self.drawable())?;
        self.peers.id(self.peers.eligible_at(status, position)?)
    }

    /// Returns how many peers may be drawn now.
    #[inline]
    pub(super) fn drawable(&self) -> Eligible {
        let eligible = self.peers.eligible(self.local.config.max_probes);
        if self.phase.is_running() || self.peers.counts().alive == 0 {
            return eligible;
        }
        Eligible { alive: eligible.alive, ..Eligible::default() }
    }

    /// Hands the message at the head to a drawn peer.
    #[inline(always)]
    fn hand_over(&mut self) -> SendAttempt {
        self.drop_expired_head();
        let Some((id, entry)) = self.queue.head() else { return SendAttempt::Nothing };
        let len = u32::try_from(entry.message.len()).unwrap_or(u32::MAX);
        let Some(first) = self.draw() else { return SendAttempt::Nothing };
        let Some(peer) = self.suitable_or_redrawn(first, id) else {
            // Messages behind this one may suit these peers.
            self.queue.rotate();
            return SendAttempt::Stuck;
        };
        if !self.hand_to(peer, Payload::Message { id, len }) {
            return SendAttempt::Stuck;
        }
        self.queue.depart(peer);
        SendAttempt::Sent
    }

    /// Returns a peer that a message suits: the one drawn first, or another one. An unsuitable peer
    /// that is not alive gets an announce: a new peer would be drawn first each time otherwise.
    #[inline]
    fn suitable_or_redrawn(&mut self, first: PeerId, message: MessageId) -> Option<PeerId> {
        let mut peer = first;
        for _ in 0..REDRAWS {
            if self.suits(peer, message) {
                return Some(peer);
            }
            if !self.peers.is_alive(peer) {
                self.hand_to(peer, Payload::Announce);
            }
            peer = self.draw()?;
        }
        self.suits(peer, message).then_some(peer)
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
        Transfer { payload, retry_of: None, sent: self.now }
    }

    /// Gives an announce to a link of a peer that is due one, or to a link that has just opened: its
    /// two sides tell each other whom they know.
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
