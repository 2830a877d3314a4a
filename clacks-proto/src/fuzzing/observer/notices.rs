//! Notices: each is expected, and none is missing.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::{Confirmation, Observer};
use crate::{
    Address, CloseReason, LinkId, Message, MessageId, Nonce, Notice, Origin, Status, StatusReason,
};

/// What the notices have told, and what they must still tell.
#[derive(Default)]
pub(super) struct Told {
    statuses: BTreeMap<Address, Status>,
    /// Messages that are held, except those under screening.
    held: BTreeSet<MessageId>,
    nonces: BTreeSet<Nonce>,
    deliveries: Vec<Delivery>,
    /// Messages that have ended, and the bytes of their bodies.
    ends: Vec<(MessageId, usize)>,
    /// The bytes of bodies that may have been offered since all actions were polled.
    offered_bytes: usize,
    closed: Vec<Closed>,
    missed: u64,
    /// Notices were missed, and not all that wait have been polled since.
    is_stale: bool,
    /// How many notices were polled since the last input.
    polled: usize,
    has_shut_down: bool,
    /// The application ignored or forgot a peer in the shutdown or after it.
    pub(super) is_changed_late: bool,
}

struct Delivery {
    confirmation: Confirmation,
    /// The message stayed when it was confirmed, because a copy of it was taken.
    is_kept: bool,
}

impl Delivery {
    fn len(&self) -> usize {
        self.confirmation.content.as_ref().map_or(0, |(_, message)| message.len())
    }
}

/// A link that closes.
pub(super) struct Closed {
    pub(super) link: LinkId,
    /// Its peer before and after.
    pub(super) peers: [Option<Address>; 2],
    /// The reason that is known.
    pub(super) reason: Option<CloseReason>,
    /// The link may wait for answers first.
    pub(super) may_be_late: bool,
    pub(super) is_ignored: bool,
    pub(super) connect: bool,
    pub(super) handshake: bool,
    pub(super) confirm: bool,
    pub(super) idle: bool,
}

impl Closed {
    /// Returns whether the link may be closed for this reason.
    fn allows(&self, reason: CloseReason) -> bool {
        match (self.reason, reason) {
            (Some(expected), reason) => expected == reason,
            _ if self.may_be_late => true,
            (None, CloseReason::ConnectTimeout) => self.connect,
            (None, CloseReason::HandshakeTimeout) => self.handshake,
            (None, CloseReason::ConfirmTimeout) => self.confirm,
            (None, CloseReason::Idle) => self.idle,
            (None, CloseReason::Ignored) => self.is_ignored,
            (None, CloseReason::Evicted) => true,
            (None, _) => false,
        }
    }
}

impl Told {
    pub(super) fn begin_poll(&mut self) {
        self.polled = 0;
    }

    pub(super) fn expect_close(&mut self, closed: Closed) {
        self.closed.push(closed);
    }

    pub(super) fn expect_delivery(&mut self, confirmation: Confirmation, is_kept: bool) {
        self.deliveries.push(Delivery { confirmation, is_kept });
    }

    /// Returns the bytes of bodies that only unpolled notices hold, at least.
    pub(super) fn least_unpolled_bytes(&self) -> usize {
        let gone = self.deliveries.iter().filter(|it| !it.is_kept && it.confirmation.is_certain);
        gone.map(Delivery::len).sum()
    }

    /// Returns the bytes of bodies that unpolled actions hold, at most. A notice that was missed
    /// counts until all actions are polled.
    pub(super) fn most_unpolled_bytes(&self) -> usize {
        let delivered: usize = self.deliveries.iter().map(Delivery::len).sum();
        let ended: usize = self.ends.iter().map(|(_, len)| len).sum();
        self.offered_bytes + delivered + ended
    }

    /// Takes note of a message whose time was over.
    pub(super) fn expect_end(&mut self, id: MessageId, len: usize) {
        self.ends.push((id, len));
    }

    /// Takes note of a message that may be offered. The action holds the body, even if the link
    /// ends at once.
    pub(super) fn expect_offer(&mut self, message: &Message) {
        self.offered_bytes += message.len();
    }

    /// Takes note of a status. Returns the one before.
    fn set(&mut self, peer: &Address, status: Option<Status>) -> Option<Status> {
        match status {
            Some(status) => self.statuses.insert(peer.clone(), status),
            None => self.statuses.remove(peer),
        }
    }

    fn take_delivery(&mut self, test: impl Fn(&Delivery) -> bool) -> Option<Delivery> {
        let place = self.deliveries.iter().position(test)?;
        Some(self.deliveries.remove(place))
    }
}

impl Observer {
    pub(super) fn on_notice(&mut self, notice: &Notice) {
        let told = &mut self.told;
        assert!(!told.has_shut_down || told.is_changed_late, "{notice:?} after the last notice");
        told.polled += 1;
        // A count of missed notices comes after all others, and one before the last notice.
        let more = if self.is_running { 1 } else { 3 };
        assert!(told.polled <= self.config.max_pending_notices + more, "too many notices wait");
        let is_exact = !told.is_stale;
        let content = |id| self.contents.get(id).map(|(nonce, message)| (*nonce, message));
        match notice {
            Notice::TowerDiscovered { peer } => {
                let before = told.set(peer, Some(Status::New));
                assert!(!is_exact || before.is_none(), "{peer} is discovered twice");
            }
            Notice::TowerForgotten { peer } => {
                let before = told.set(peer, None);
                assert!(!is_exact || before.is_some(), "{peer} is forgotten twice");
            }
            Notice::StatusChanged { peer, from, to, reason, retry_in } => {
                let before = told.set(peer, Some(*to));
                assert!(!is_exact || before == Some(*from), "{notice:?} after {before:?}");
                let is_right = match (from, to) {
                    (_, Status::Alive) => *reason == StatusReason::Success,
                    (_, Status::Lost | Status::Dead) => {
                        matches!(reason, StatusReason::LinkClosed(_) | StatusReason::IgnoredByPeer)
                    }
                    (_, Status::Ignored) => {
                        matches!(reason, StatusReason::Application | StatusReason::Alias)
                    }
                    (from, Status::New) => {
                        *from == Status::Ignored && *reason == StatusReason::Application
                    }
                };
                assert!(is_right && from != to, "{notice:?}");
                let has_failed = matches!(to, Status::Lost | Status::Dead);
                assert_eq!(retry_in.is_some(), has_failed, "{notice:?}");
            }
            Notice::MessageReceived { id, nonce, message, again, coalesced, .. } => {
                assert_eq!(content(id), Some((*nonce, message)));
                let is_new = told.nonces.insert(*nonce);
                assert!(is_new != *again || is_new && told.missed > 0, "{notice:?}");
                let is_queued = told.held.insert(*id);
                assert!(!is_exact || is_queued != *coalesced, "{notice:?}");
            }
            Notice::MessageQueued { id, nonce, origin } => {
                assert_eq!(content(id).map(|(nonce, _)| nonce), Some(*nonce));
                if *origin == Origin::Local {
                    told.nonces.insert(*nonce);
                }
                let is_new = told.held.insert(*id);
                assert!(!is_exact || is_new != (*origin == Origin::Returned), "{notice:?}");
            }
            Notice::MessageDelivered { id, nonce, message, to, kept } => {
                assert_eq!(content(id), Some((*nonce, message)));
                let delivery = told.take_delivery(|delivery| {
                    let Confirmation { content, to: confirmed_by, .. } = &delivery.confirmation;
                    let is_it = |it: &(Nonce, Message)| (it.0, &it.1) == (*nonce, message);
                    delivery.is_kept == *kept
                        && confirmed_by == to
                        && content.as_ref().is_some_and(is_it)
                });
                assert!(delivery.is_some(), "{notice:?}");
                if !kept {
                    let was_told = told.held.remove(id);
                    assert!(!is_exact || was_told, "{notice:?}");
                }
            }
            Notice::MessageExpired { id, nonce, message } => {
                assert_eq!(content(id), Some((*nonce, message)));
                let place = told.ends.iter().position(|(ended, _)| ended == id);
                told.ends.remove(place.unwrap_or_else(|| panic!("{notice:?}")));
                let was_told = told.held.remove(id);
                assert!(!is_exact || was_told, "{notice:?}");
            }
            Notice::Announced { to } => {
                let is_it =
                    |it: &Delivery| it.confirmation.to == *to && it.confirmation.content.is_none();
                assert!(told.take_delivery(is_it).is_some(), "{notice:?}");
            }
            Notice::LinkClosed { link, peer, reason, .. } => {
                let place = told.closed.iter().position(|closed| closed.link == *link);
                let closed = told.closed.remove(place.unwrap_or_else(|| panic!("{notice:?}")));
                assert!(closed.peers.contains(peer), "{notice:?}: {:?}", closed.peers);
                assert!(closed.allows(*reason), "{notice:?}: {:?}", closed.reason);
            }
            Notice::Missed { count } => {
                assert!(*count > 0);
                told.missed += count;
                told.is_stale = true;
            }
            Notice::ShutDown { left } => {
                assert!(!self.is_running && self.links.is_empty());
                assert_eq!(*left, self.view.held.len());
                told.has_shut_down = true;
            }
            Notice::DatagramRoom { .. } | Notice::DatagramsDropped { .. } => {
                assert_ne!(self.config.datagrams, crate::Datagrams::Off, "{notice:?}");
            }
            Notice::Refused { .. } => {
                assert!(self.tower.stats().refused_by_peers > 0, "{notice:?}");
            }
            Notice::HandOverEnded { left, .. } => {
                assert!(*left > 0 && !self.is_running, "{notice:?}");
            }
            Notice::LocalTrouble { cause } => {
                assert!(cause.is_local() && self.tower.stats().local_failures > 0, "{notice:?}");
            }
            Notice::KeyChanged { .. } => panic!("{notice:?} in clear text"),
        }
    }

    /// Checks that all was told, after everything was polled.
    pub(super) fn check_drained(&mut self) {
        let told = &mut self.told;
        assert_eq!(told.missed, self.tower.stats().notices_missed);
        let statuses = self.view.peers.values().map(|peer| (peer.address.clone(), peer.status));
        let statuses: BTreeMap<_, _> = statuses.collect();
        let held = self.view.held.values().filter(|held| super::offer(held).is_none());
        let held: BTreeSet<_> = held.map(|held| held.id).collect();
        if !told.is_stale {
            assert_eq!(told.statuses, statuses);
            assert_eq!(told.held, held);
            let mut deliveries = told.deliveries.iter();
            assert!(deliveries.all(|it| !it.confirmation.is_certain), "a delivery is not told");
            assert!(told.ends.is_empty(), "the end of a message is not told");
            assert!(told.closed.iter().all(|it| it.may_be_late), "the end of a link is not told");
        }
        for link in &self.links {
            let is_closed = link.closed_at.is_some() && self.is_running;
            assert!(!is_closed || link.closes > 0, "{:?} is not closed", link.id);
        }
        told.closed.retain(|closed| closed.may_be_late);
        told.deliveries.clear();
        told.ends.clear();
        told.offered_bytes = 0;
        (told.statuses, told.held, told.is_stale) = (statuses, held, false);
    }
}
