//! Admission: whether there is room for a message that comes in.

use super::Tower;
use super::sender::SenderInfo;
use crate::ids::PeerId;

/// Why there is room for a message, or why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// The message is within the bounds.
    Room,
    /// The message exceeds the bounds, and its sender has credit.
    Exchange(PeerId),
    /// The message is refused as busy.
    Full,
}

impl Tower {
    /// Returns whether there is room for a body of `len` bytes.
    #[inline]
    pub(super) fn admission(&self, from: SenderInfo, len: usize) -> Admission {
        let percent = self.local.config.fair_share_from;
        if self.queue.has_room(len, percent, self.actions.notice_bytes()) {
            return Admission::Room;
        }
        self.admission_to_share(from, len)
    }

    /// Above a certain fill, each sender has a share of the queue. A message beyond the share or
    /// beyond the bounds is exchanged.
    #[inline(never)]
    fn admission_to_share(&self, from: SenderInfo, len: usize) -> Admission {
        let alive = self.peers.counts().alive;
        let is_within_share = self.local.config.fair_share_from == 100
            || self.queue.is_within_share(from.account(), len, alive);
        if is_within_share && self.queue.has_room(len, 100, self.actions.notice_bytes()) {
            Admission::Room
        } else {
            self.exchange(from, len)
        }
    }

    /// The exchange of full towers: a tower takes a message that it has no room for from a peer
    /// that has credit.
    ///
    /// Two full towers that are peers go on exchanging messages. The one that took the last message
    /// has lowered its own debt to the other, so the other has room for the next one, whatever its
    /// length.
    fn exchange(&self, from: SenderInfo, len: usize) -> Admission {
        let config = &self.local.config;
        let Some(peer) = from.accountable else { return Admission::Full };
        let Some(record) = self.peers.get(peer) else { return Admission::Full };
        let has_credit =
            config.exchange_credit > 0 && (record.exchanged as usize) < config.max_message;
        let held = self.queue.bytes().saturating_add(self.actions.notice_bytes());
        let has_room = self.queue.len() < config.max_held_messages()
            && held.saturating_add(len) <= config.max_held_bytes();
        if has_credit && has_room { Admission::Exchange(peer) } else { Admission::Full }
    }

    /// Notes that a message of `len` bytes was taken as admitted.
    #[inline]
    pub(super) fn on_admitted(&mut self, admission: Admission, len: usize) {
        if let Admission::Exchange(peer) = admission {
            let cost = self.exchange_cost(len);
            self.peers.update(peer, |peer| peer.exchanged = peer.exchanged.saturating_add(cost));
            // The peer has room for a message now.
            self.end_backoff(peer);
        }
    }

    /// Notes that a peer with debt took a message of `len` bytes.
    #[inline(never)]
    pub(super) fn on_exchanged(&mut self, peer: PeerId, len: usize) {
        let cost = self.exchange_cost(len);
        self.peers.update(peer, |peer| peer.exchanged = peer.exchanged.saturating_sub(cost));
    }

    /// Returns the bytes that a message counts in an exchange.
    fn exchange_cost(&self, len: usize) -> u32 {
        let config = &self.local.config;
        let least = config.max_message.div_ceil(usize::from(config.exchange_credit.max(1)));
        u32::try_from(len.max(least)).unwrap_or(u32::MAX)
    }
}
