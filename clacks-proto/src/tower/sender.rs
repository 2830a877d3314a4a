//! The sender of a transfer: the claimed peer and the proved peer.

use super::Tower;
use super::peers::Peer;
use super::queue::Account;
use super::status::Source;
use crate::address::Address;
use crate::config::Claims;
use crate::ids::PeerId;
use crate::link::{Direction, Sender, Session};

/// The sender of a transfer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SenderInfo {
    /// The peer that the sender is or claims to be, unless a pinned key disproves the claim.
    pub(super) claimed: Option<PeerId>,
    /// The peer, if the sender has proved to be it. In clear text and over HTTP that takes a dial,
    /// unless claims are believed.
    pub(super) proved: Option<PeerId>,
    /// The peer that the sender's messages count for: the proved one, or in clear text and over
    /// HTTP the claimed one if it is alive.
    pub(super) accountable: Option<PeerId>,
    pub(super) is_ignored: bool,
    /// The sender claims an address that was not learned yet.
    pub(super) is_unlearned: bool,
}

impl SenderInfo {
    /// Returns the account to which the sender's messages count.
    #[inline]
    pub(super) fn account(self) -> Account {
        self.accountable.map_or(Account::Unproved, Account::Peer)
    }
}

impl Tower {
    #[inline(always)]
    pub(super) fn sender_of(&mut self, link: &mut Session, sender: Sender<'_>) -> SenderInfo {
        match sender {
            Sender::Link => {
                let mut from = self.peer_of(link);
                from.is_ignored = self.is_from_ignored(link);
                from.is_unlearned = link.unlearned.is_some();
                from
            }
            Sender::Claimed(address) => self.claimed_sender(link, address),
        }
    }

    /// Returns the peer at the other end of a link.
    ///
    /// A dialled peer is proved. A caller is proved if its key is the one pinned for the claimed
    /// address. As long as no key is pinned, the claim is neither proved nor disproved.
    #[inline]
    pub(super) fn peer_of(&self, link: &Session) -> SenderInfo {
        let Some(id) = link.peer else { return SenderInfo::default() };
        let Some(peer) = self.peers.get(id) else { return SenderInfo::default() };
        let may_prove = link.identity().is_some() || self.believes_claims();
        let is_proved = link.direction() == Direction::Outbound
            || may_prove && self.peers.pin(id) == link.identity();
        let is_open_question = is_proved || self.peers.pin(id).is_none();
        let is_accountable =
            is_proved || link.identity().is_none() && is_open_question && peer.is_alive();
        SenderInfo {
            claimed: is_open_question.then_some(id),
            proved: is_proved.then_some(id),
            accountable: is_accountable.then_some(id),
            ..SenderInfo::default()
        }
    }

    /// Returns whether a claim without a key counts as proved.
    fn believes_claims(&self) -> bool {
        self.local.config.claims == Claims::Believe
    }

    /// Returns whether the other side of a link is ignored: as the peer that it is or claims to be,
    /// or as the peer whose key it has.
    #[inline]
    pub(super) fn is_from_ignored(&self, link: &Session) -> bool {
        // This runs for each message, and most towers ignore no peer.
        if self.peers.counts().ignored == 0 {
            return false;
        }
        let keyed = link.identity().and_then(|identity| self.peers.find_pin(identity));
        [link.peer, keyed].into_iter().flatten().any(|peer| self.peers.is_ignored(peer))
    }

    /// Returns the sender of an HTTP request. Nothing proves the claim, so a claim to an address
    /// with a pinned key is dropped.
    fn claimed_sender(&mut self, link: &mut Session, address: Option<&Address>) -> SenderInfo {
        let known = address.and_then(|address| self.peers.find(address));
        let record = known.and_then(|id| self.peers.get(id));
        let mut from = SenderInfo {
            is_ignored: record.is_some_and(Peer::is_ignored),
            ..SenderInfo::default()
        };
        let is_pinned = known.is_some_and(|id| self.peers.pin(id).is_some());
        match (known, address) {
            (Some(_), _) if from.is_ignored => {}
            (Some(_), _) if is_pinned => self.stats.claims_disproved += 1,
            (Some(peer), _) => {
                from.claimed = Some(peer);
                from.proved = Some(peer).filter(|_| self.believes_claims());
                let is_alive = self.peers.is_alive(peer);
                from.accountable = from.proved.or(Some(peer).filter(|_| is_alive));
            }
            (None, Some(address)) => {
                from.claimed = self.learn(address, Source::Stranger, link.prefix);
                from.is_unlearned =
                    from.claimed.is_none() && self.is_learned_later(address, link.prefix);
            }
            (None, None) => {}
        }
        if let Some(peer) = from.claimed {
            self.peers.update(peer, |peer| peer.dialect = peer.dialect.or(Some(link.dialect())));
        }
        link.peer = from.claimed;
        from.is_ignored |= self.is_from_ignored(link);
        from
    }
}
