//! How peers stand: learned, proved alive, failed, resting, ignored, merged, forgotten.

use alloc::vec::Vec;
use core::time::Duration;

use super::Tower;
use super::links::Unanswered;
use crate::address::Address;
use crate::event::{CloseMode, Notice, Status};
use crate::ids::{LinkId, PeerId};
use crate::link::{Link, State};
use crate::peers::TableFull;
use crate::reason::CloseReason;
use crate::wire::Farewell;

/// Who told us an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// It came as the friend in a message or announce.
    Friend,
    /// A caller claimed it.
    Stranger,
}

impl Tower {
    /// The peer with an address that somebody told us; a new one if we may learn one now.
    pub(super) fn learn(&mut self, address: &Address, source: Source) -> Option<PeerId> {
        if *address == self.address {
            return None;
        }
        if let Some(known) = self.peers.find(address) {
            return Some(known);
        }
        let bucket = match source {
            Source::Friend => &mut self.friends,
            Source::Stranger => &mut self.strangers,
        };
        let learned = bucket.take(self.now).then(|| self.add_peer(address, Status::New));
        if let Some(Ok(peer)) = learned {
            return Some(peer);
        }
        self.stats.towers_not_learned += 1;
        None
    }

    /// Adds a peer to the table, where the longest dead one makes room if need be.
    pub(super) fn add_peer(
        &mut self,
        address: &Address,
        status: Status,
    ) -> Result<PeerId, TableFull> {
        let (peer, forgotten) = self.peers.insert(address.clone(), status, self.now)?;
        if let Some(forgotten) = forgotten {
            self.backoffs.clear(forgotten.index);
            self.notify(Notice::TowerForgotten { peer: forgotten });
        }
        self.stats.towers_discovered += 1;
        self.notify(Notice::TowerDiscovered { peer });
        Ok(peer)
    }

    /// A transaction with a proved peer succeeded, in either direction.
    pub(super) fn on_success(&mut self, peer: PeerId) {
        let Some(standing) = self.peers.get(peer) else { return };
        // An alive one that rests was busy: that it hands us something does not make room there.
        if standing.status == Status::Alive || standing.is_ignored() {
            return;
        }
        self.backoffs.clear(peer.index);
        self.peers.change(peer, |peer| peer.is_resting = false);
        self.set_status(peer, Status::Alive);
    }

    /// An attempt to reach a peer failed.
    pub(super) fn on_failure(&mut self, peer: PeerId) {
        let Some(standing) = self.peers.get(peer) else { return };
        let lost_for = self.now.duration_since(standing.since);
        match standing.status {
            Status::New | Status::Alive => self.set_status(peer, Status::Lost),
            Status::Lost if lost_for > self.config.kill_timeout => {
                self.set_status(peer, Status::Dead);
            }
            Status::Lost | Status::Dead => {}
            Status::Ignored => return,
        }
        self.rest(peer, self.config.probe_backoff);
    }

    /// Keeps a peer out of the draw for a while.
    pub(super) fn rest(&mut self, peer: PeerId, time: Duration) {
        if time.is_zero() || self.peers.get(peer).is_none() {
            return;
        }
        self.peers.change(peer, |peer| peer.is_resting = true);
        self.backoffs.set(peer.index, self.now + time);
    }

    pub(super) fn set_status(&mut self, peer: PeerId, to: Status) {
        let now = self.now;
        let before = self.peers.change(peer, |peer| {
            if peer.status != to {
                peer.status = to;
                peer.since = now;
            }
        });
        if let Some(from) = before.filter(|from| *from != to) {
            self.notify(Notice::StatusChanged { peer, from, to });
        }
    }

    /// Wants nothing to do with a peer any more: its links are closed, and what was on them comes back.
    pub(super) fn ignore_peer(&mut self, peer: PeerId) {
        self.set_status(peer, Status::Ignored);
        self.backoffs.clear(peer.index);
        self.peers.change(peer, |peer| {
            peer.is_resting = false;
            peer.announce_due = false;
            peer.is_alias = false;
        });
        // Rare: only the application, or a tower that turns out to be ours or known, brings us here.
        let pin = self.peers.get(peer).and_then(|peer| peer.pin);
        let is_its = |link: &Link| link.peer == Some(peer) || pin.is_some() && link.identity == pin;
        for link in self.links_that(is_its) {
            if let Some(open) = self.links.live_mut(link).filter(|link| link.state == State::Open) {
                open.farewell_due = Some(Farewell::Ignored);
            }
            self.end(link, CloseReason::Ignored, Unanswered::InDoubt, Some(CloseMode::Flush));
        }
    }

    /// An address turned out to be this tower's own or an ignored one's. It is remembered as long as there is room.
    pub(super) fn ignore_alias(&mut self, peer: PeerId) {
        self.ignore_peer(peer);
        self.peers.change(peer, |peer| peer.is_alias = true);
    }

    /// Two addresses turned out to be one tower: `kept` takes over from `alias`.
    pub(super) fn merge(&mut self, alias: PeerId, kept: PeerId) {
        // A call to the other address that is still on its way says nothing about the one that is kept.
        let is_on_its_way = |link: &Link| link.peer == Some(alias) && link.is_dialling();
        for id in self.links_that(is_on_its_way) {
            self.end(id, CloseReason::Evicted, Unanswered::NotTaken, Some(CloseMode::Abort));
        }
        let Some(standing) = self.peers.get(alias) else { return };
        let (load, link, due) = (standing.load, standing.link, standing.announce_due);
        for id in self.links_that(|link| link.peer == Some(alias)) {
            if let Some(link) = self.links.get_mut(id) {
                link.peer = Some(kept);
            }
        }
        self.backoffs.clear(alias.index);
        self.peers.remove(alias);
        self.peers.change(kept, |peer| {
            peer.load += load;
            peer.link = peer.link.or(link);
            peer.announce_due |= due;
        });
        self.refresh_window(kept);
        self.notify(Notice::TowerForgotten { peer: alias });
    }

    fn links_that(&self, test: impl Fn(&Link) -> bool) -> Vec<LinkId> {
        self.links.iter().filter(|(_, link)| test(link)).map(|(id, _)| id).collect()
    }

    /// Notes whether a peer's window has room.
    pub(super) fn refresh_window(&mut self, peer: PeerId) {
        let link = self.peers.get(peer).and_then(|peer| peer.link);
        let is_full = link.and_then(|link| self.links.get(link)).is_some_and(Link::is_full);
        self.peers.change(peer, |peer| peer.is_full = is_full);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Window};
    use crate::event::{Action, Event};
    use crate::ids::Fingerprint;
    use crate::machine::StateMachine;
    use crate::message::{Kind, Nonce};
    use crate::reason::IoCause;
    use crate::seed::Seed;
    use crate::time::Instant;
    use crate::wire::{Attempt, Frame, Hello, MessageFrame, VERSION};
    use core::net::{IpAddr, Ipv4Addr};

    const NOW: Instant = Instant::ORIGIN;
    const KEYS: [Fingerprint; 2] = [Fingerprint([1; 32]), Fingerprint([2; 32])];

    fn address(number: u16) -> Address {
        Address::new("127.0.0.1", 8_000 + number).unwrap()
    }

    fn tower() -> Tower {
        let mut tower = Tower::new(Config::default(), address(0), &Seed::from_u64(1)).unwrap();
        tower.set_identity(Fingerprint([0; 32]));
        tower
    }

    fn say(tower: &mut Tower, link: LinkId, frame: &Frame<'_>) {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        tower.handle(Event::BytesArrived { link, bytes: &bytes }, NOW);
    }

    /// What TLS and the hello say of the other side of a link.
    fn greet(tower: &mut Tower, link: LinkId, key: Option<Fingerprint>, claims: u16) {
        key.into_iter().for_each(|key| tower.identify(link, key));
        let hello = Hello {
            version: VERSION,
            incarnation: 7,
            max_message: 1_000,
            window: Window { messages: 1, bytes: 1 },
            network: "clacks",
            address: Some(address(claims)),
        };
        say(tower, link, &Frame::Hello(hello));
    }

    /// Somebody with a key calls, and claims to be the tower with a number.
    fn call(tower: &mut Tower, key: Option<Fingerprint>, claims: u16) -> LinkId {
        let link = tower.accept(IpAddr::V4(Ipv4Addr::LOCALHOST), NOW).unwrap();
        greet(tower, link, key, claims);
        link
    }

    /// The tower with a number is dialled, and shows its key.
    fn dial(tower: &mut Tower, number: u16, key: Fingerprint) -> LinkId {
        tower.announce(&address(number), NOW).unwrap();
        let connects = |action| match action {
            Action::Connect { link, .. } => Some(link),
            _ => None,
        };
        let link = core::iter::from_fn(|| tower.poll_action()).find_map(connects).unwrap();
        tower.handle(Event::Connected { link }, NOW);
        greet(tower, link, Some(key), number);
        link
    }

    fn status(tower: &Tower, number: u16) -> Option<Status> {
        tower.find(&address(number)).map(|peer| peer.status)
    }

    fn hand(tower: &mut Tower, link: LinkId, transfer: u64) {
        let frame = MessageFrame {
            transfer,
            attempt: Attempt::First,
            nonce: Nonce(transfer.into()),
            kind: Kind::Bytes,
            friend: None,
            body: b"x",
        };
        say(tower, link, &Frame::Message(frame));
    }

    #[test]
    fn a_claim_that_is_not_proved_makes_nobody_lost() {
        for (key, expected) in [(None, Status::Lost), (Some(KEYS[0]), Status::New)] {
            let mut tower = tower();
            tower.expand(&address(1), NOW).unwrap();
            let link = call(&mut tower, key, 1);
            say(&mut tower, link, &Frame::Goodbye { farewell: Farewell::Ignored });
            // Without keys a claim is believed.
            assert_eq!(status(&tower, 1), Some(expected));
        }
    }

    #[test]
    fn an_ignored_tower_is_known_by_its_key_whatever_it_claims() {
        let mut tower = tower();
        dial(&mut tower, 1, KEYS[0]);
        let before = call(&mut tower, Some(KEYS[0]), 2);
        hand(&mut tower, before, 1);
        assert_eq!(tower.held().0, 1);
        tower.ignore(&address(1), NOW).unwrap();
        assert_eq!(tower.state_of(before), State::Closing);
        let after = call(&mut tower, Some(KEYS[0]), 3);
        hand(&mut tower, after, 2);
        assert_eq!((tower.held().0, tower.state_of(after)), (1, State::Closing));
        assert_eq!(status(&tower, 3), None);
        // It is heard again on a link that it opened while it was ignored.
        let patient = call(&mut tower, Some(KEYS[0]), 1);
        assert!(tower.heed(&address(1), NOW));
        hand(&mut tower, patient, 3);
        assert_eq!((tower.held().0, tower.state_of(patient)), (2, State::Open));
    }

    #[test]
    fn what_a_caller_claimed_counts_no_more_when_a_dial_has_shown_another_key() {
        let mut tower = tower();
        let senders = |tower: &mut Tower| {
            let from = |action| match action {
                Action::Notify(Notice::MessageReceived { from, .. }) => Some(from),
                _ => None,
            };
            core::iter::from_fn(|| tower.poll_action()).filter_map(from).collect::<Vec<_>>()
        };
        let pretender = call(&mut tower, Some(KEYS[0]), 1);
        hand(&mut tower, pretender, 1);
        let claimed = tower.find(&address(1)).map(|peer| peer.id);
        assert_eq!(senders(&mut tower), [claimed], "nobody knows better yet");
        dial(&mut tower, 1, KEYS[1]);
        hand(&mut tower, pretender, 2);
        assert_eq!(senders(&mut tower), [None]);
        assert_eq!(status(&tower, 1), Some(Status::New));
    }

    #[test]
    fn a_call_to_an_address_that_was_given_up_says_nothing_about_the_new_one() {
        let mut tower = tower();
        let link = dial(&mut tower, 1, KEYS[0]);
        tower.handle(Event::Lost { link, cause: IoCause::Reset }, NOW);
        tower.announce(&address(1), NOW).unwrap();
        let is_connect = |action: &Action| matches!(action, Action::Connect { .. });
        let on_its_way = core::iter::from_fn(|| tower.poll_action()).find(is_connect).unwrap();
        let Action::Connect { link, .. } = on_its_way else { unreachable!() };
        dial(&mut tower, 2, KEYS[0]);
        assert_eq!(status(&tower, 1), None, "it has moved");
        let moved = tower.find(&address(2)).unwrap().id;
        tower.on_success(moved);
        tower.handle(Event::ConnectFailed { link, cause: IoCause::Refused }, NOW);
        assert_eq!(status(&tower, 2), Some(Status::Alive));
        while tower.poll_action().is_some() {}
        assert_eq!(tower.links(), 1);
    }

    #[test]
    fn other_names_of_this_tower_do_not_fill_the_table_for_good() {
        let config = Config { max_peers: 3, ..Config::default() };
        let mut tower = Tower::new(config, address(0), &Seed::from_u64(1)).unwrap();
        tower.set_identity(KEYS[0]);
        tower.ignore(&address(9), NOW).unwrap();
        for alias in 1..5 {
            let link = dial(&mut tower, alias, KEYS[0]);
            tower.handle(Event::Closed { link }, NOW);
            assert_eq!(status(&tower, alias), Some(Status::Ignored));
        }
        assert_eq!(status(&tower, 9), Some(Status::Ignored), "the application said so");
        assert_eq!(tower.survey().count(), 3);
    }
}
