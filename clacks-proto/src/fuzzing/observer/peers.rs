//! Peers: their status, how they become known, and when they are left alone.

use super::{Input, Observer, Step, View};
use crate::{Address, ExpandError, LinkId, Newcomers, PeerId, Screening, Status};

impl Observer {
    /// Checks the result of a verb that adds a peer.
    pub(super) fn check_peer_verb(&self, address: &Address, result: Result<PeerId, ExpandError>) {
        match result {
            Ok(id) => assert_eq!(self.view.peers[address].id, id),
            Err(ExpandError::OwnAddress) => assert_eq!(address, self.tower.address()),
            Err(ExpandError::Ignored) => assert!(self.view.is_ignored(Some(address))),
            Err(ExpandError::ShuttingDown) => assert!(!self.is_running),
            Err(ExpandError::TableFull) => {
                assert_eq!(self.view.peers.len(), self.config.max_peers);
            }
            Err(error) => panic!("{error:?}"),
        }
    }

    /// Peers come and go, and change their status, only for a reason.
    pub(super) fn check_peers(&mut self, step: &Step, old: &View, new: &View) {
        let mut counts = [0; 5];
        for (address, peer) in &new.peers {
            counts[peer.status as usize] += 1;
            let before = old.peers.get(address).filter(|before| before.id == peer.id);
            let Some(before) = before else {
                let is_claimed =
                    self.links.iter().any(|link| link.claimed.as_ref() == Some(address));
                let is_named = is_claimed || step.named.contains(address);
                assert!(is_named, "{address} is known, and was never named");
                assert_ne!(address, self.tower.address());
                self.check_status(step, address, Status::New, peer.status);
                continue;
            };
            if before.status == peer.status {
                let may_return = self.may_succeed(step, address);
                assert!(before.since == peer.since || may_return, "{address} changes unseen");
            } else {
                assert_eq!(peer.since, self.now, "{address} changes back in time");
                self.check_status(step, address, before.status, peer.status);
                let has_died = peer.status == Status::Dead;
                let lost_for = self.now.duration_since(before.since);
                assert!(!has_died || lost_for > self.config.kill_timeout, "{address} dies early");
            }
            let has_failed = step.failed.as_ref() == Some(address);
            let is_in_use = matches!(peer.status, Status::New | Status::Alive);
            assert!(!has_failed || !is_in_use, "{address} has failed and is {}", peer.status);
            self.note_failure(step, address, before.status, peer.status);
        }
        let gone = old
            .peers
            .values()
            .filter(|peer| new.peers.get(&peer.address).is_none_or(|after| after.id != peer.id));
        for peer in gone {
            let is_forgotten = step.input == Input::Forget(peer.address.clone());
            let is_full = new.peers.len() == self.config.max_peers;
            let is_useless = matches!(peer.status, Status::Dead | Status::Ignored);
            let makes_room =
                is_full && (is_useless || self.config.newcomers == Newcomers::MakeRoom);
            assert!(is_forgotten || makes_room, "{} is forgotten", peer.address);
            self.resting.remove(&peer.address);
        }
        let told = self.tower.status_counts();
        assert_eq!([told.new, told.alive, told.lost, told.dead, told.ignored], counts);
    }

    /// Checks that a change of status is allowed, and follows from the input.
    fn check_status(&self, step: &Step, address: &Address, from: Status, to: Status) {
        let has_failed =
            step.closed.contains(address) || step.refused_by == Some((address.clone(), true));
        let is_explained = match (from, to) {
            (Status::Ignored, Status::New) => step.input == Input::Unignore(address.clone()),
            (Status::New, Status::New) => true,
            (Status::Ignored, _) | (_, Status::New) => false,
            (_, Status::Alive) => self.may_succeed(step, address),
            (Status::New | Status::Alive | Status::Dead, Status::Lost) => {
                has_failed && (from != Status::Dead || self.may_succeed(step, address))
            }
            (Status::Lost, Status::Dead) => has_failed,
            (_, Status::Ignored) => {
                let is_own = step.closed.contains(address);
                step.input == Input::Ignore(address.clone()) || is_own
            }
            _ => false,
        };
        assert!(is_explained, "{address}: {from} -> {to}");
    }

    /// Returns the peer of a link that breaks now, if the peer was not reached or owes an answer.
    pub(super) fn peer_of_failed(&self, id: LinkId) -> Option<Address> {
        let info = self.view.links.get(&id).filter(|info| !info.is_closing)?;
        let is_unreached = !info.is_inbound && !info.is_open;
        let is_awaited = self.links.iter().any(|link| link.id == id && link.awaits_answer());
        info.peer.clone().filter(|_| is_unreached || is_awaited)
    }

    /// Returns whether a transaction with a peer may have succeeded.
    fn may_succeed(&self, step: &Step, address: &Address) -> bool {
        step.heard.as_ref() == Some(address)
            || matches!(step.input, Input::Decide(..))
            || step.input == Input::Timer && self.config.screening != Screening::Off
    }

    /// Notes until when a peer must be left alone.
    fn note_failure(&mut self, step: &Step, address: &Address, from: Status, to: Status) {
        let (probe, busy) = (self.config.probe_backoff, self.config.busy_backoff);
        if to == Status::Ignored || to == Status::New || from != to && to == Status::Alive {
            self.resting.remove(address);
        }
        if step.refused_by == Some((address.clone(), false)) && to != Status::Ignored {
            self.resting.insert(address.clone(), self.now + busy);
        }
        if step.closed.contains(address)
            && let Some(until) = self.resting.get_mut(address)
        {
            *until = (*until).min(self.now + probe.min(busy));
        }
        if from != to && matches!(to, Status::Lost | Status::Dead) {
            self.resting.insert(address.clone(), self.now + probe);
        }
        // A full tower that takes a message on credit ends the back-off. Which messages it takes on
        // credit is not modelled.
        if step.heard.as_ref() == Some(address) && !step.entering.is_empty() {
            self.resting.remove(address);
        }
    }

    /// Returns whether a peer may be drawn, as far as its back-off is known.
    pub(super) fn may_draw(&self, address: &Address) -> bool {
        self.resting.get(address).is_none_or(|until| *until <= self.now)
    }
}
