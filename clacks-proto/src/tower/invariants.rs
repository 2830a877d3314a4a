//! What must hold between the parts of a tower after each call, for tests and fuzz targets.
#![expect(clippy::expect_used, reason = "a panic is how a test is told")]

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::Tower;
use super::peers::Peer;
use super::queue::Place;
use crate::event::Dialect;
#[cfg(all(test, feature = "tls"))]
use crate::ids::LinkId;
use crate::ids::PeerId;
use crate::link::{Direction, Session};
use crate::time::Instant;

impl Tower {
    /// Checks that links, peers, queue and counters agree. Costs as much as looking at all of them.
    ///
    /// # Panics
    ///
    /// If they do not agree.
    #[doc(hidden)]
    pub fn assert_consistent(&self) {
        self.assert_queue_agrees_with_links();
        self.assert_links_are_scheduled();
        self.assert_datagrams_are_bounded();
        for (id, peer) in self.peers.iter() {
            self.assert_peer_agrees_with_links(id, peer);
            let rests = self.backoffs.iter().any(|(_, index)| index == id.index);
            assert!(rests || !peer.is_resting, "{id:?} rests for ever");
        }
    }

    /// Returns the number that the next transfer on a link must have.
    #[cfg(all(test, feature = "tls"))]
    pub(crate) fn next_incoming(&self, link: LinkId) -> u64 {
        self.links.get(link).map_or(1, Session::next_incoming)
    }

    fn assert_queue_agrees_with_links(&self) {
        let mut transfers = BTreeMap::new();
        let mut offers = Vec::new();
        for (id, session) in self.links.iter() {
            session.assert_consistent();
            for transfer in session.transfers() {
                assert!(session.is_live(), "a closed link {id:?} has transfers");
                if let Some(message) = transfer.message() {
                    let earlier = transfers.insert(message, id);
                    assert_eq!(earlier, None, "{message:?} is also on {id:?}");
                }
            }
            offers.extend(session.offers().map(|offer| (offer, id)));
        }
        assert_eq!(self.links.iter().count(), self.links.len(), "a link is taken out");
        let closing = self.links.iter().filter(|(_, session)| session.is_closing());
        assert_eq!(closing.count(), self.links.closing(), "closing links");
        let unproved = self.links.iter().filter(|(_, session)| session.unproved.is_some());
        assert_eq!(unproved.count(), self.unproved.len(), "unproved links");
        assert!(self.unproved.len() <= self.local.config.max_unproved);
        assert_eq!(offers.len(), self.screenings.open(), "offers");
        for (offer, link) in offers {
            assert_eq!(self.queue.offered_on(offer), Some(link), "{offer:?}");
        }
        let (mut waiting, mut offered, mut bytes) = (0, 0, 0);
        for (id, entry) in self.queue.iter() {
            bytes += entry.message.len();
            let is_in_flight = matches!(entry.place, Place::InFlight(_));
            assert_eq!(transfers.remove(&id).is_some(), is_in_flight, "{id:?} {:?}", entry.place);
            waiting += usize::from(entry.place == Place::Waiting);
            offered += usize::from(matches!(entry.place, Place::Offered(_)));
        }
        assert!(transfers.is_empty(), "not held: {transfers:?}");
        let queue = (self.queue.waiting(), self.screenings.open(), self.queue.bytes());
        assert_eq!((waiting, offered, bytes), queue);
    }

    fn assert_links_are_scheduled(&self) {
        for (id, session) in self.links.iter() {
            let scheduled = session.scheduled;
            assert!(scheduled <= session.earliest_deadline(), "{id:?} is scheduled too late");
            let wakeup = self.link_deadlines.iter().find(|(_, index)| *index == id.index);
            let is_scheduled = wakeup.is_some_and(|(at, _)| at <= scheduled);
            assert!(is_scheduled || scheduled == Instant::FAR_FUTURE, "{id:?} is not scheduled");
        }
    }

    fn assert_peer_agrees_with_links(&self, id: PeerId, peer: &Peer) {
        let of_peer = |link: &(_, &Session)| link.1.peer == Some(id) && link.1.is_live();
        let busy = self.links.iter().filter(of_peer).filter(|(_, session)| session.is_busy());
        assert_eq!(busy.count(), peer.busy_links as usize, "busy links of {id:?}");
        let listed: BTreeSet<_> = peer.links.iter().copied().collect();
        assert_eq!(listed.len(), peer.links.len(), "{id:?} lists a link twice");
        for link in &listed {
            let is_its = self.links.get(*link).is_some_and(|session| of_peer(&(*link, session)));
            assert!(is_its, "{id:?} lists {link:?}");
        }
        let is_http = peer.dialect == Some(Dialect::Http);
        if is_http {
            let has_room = |session: &Session| {
                session.direction() == Direction::Outbound
                    && session.is_usable()
                    && !session.is_full()
            };
            let vacant = listed.iter().filter_map(|link| self.links.get(*link)).any(has_room);
            assert!(!(peer.is_full && vacant), "{id:?} is full and has a vacant link");
            assert!(!peer.is_full || peer.busy_links > 0, "{id:?} is full for ever");
        }
        let session = peer.link.and_then(|link| self.links.get(link));
        let open = session.filter(|session| session.is_open()).map(Session::direction);
        assert_eq!(peer.open, open, "whether {id:?} has an open link");
        let Some(link) = peer.link else {
            return assert!(is_http || !peer.is_full, "{id:?} is full without a link");
        };
        let session = self.links.get(link).expect("the link of a peer has not ended");
        assert!(session.is_usable() && listed.contains(&link), "{link:?} of {id:?} is not usable");
        assert_eq!(self.peer_of(session).proved, Some(id), "{link:?} gets messages unproved");
        let agrees = is_http || peer.is_full == session.is_full();
        assert!(agrees, "whether {link:?} of {id:?} is full");
    }
}
