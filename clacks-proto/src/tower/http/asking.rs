//! Requests that go out, and what becomes of their messages.

use core::time::Duration;

use crate::event::{CloseMode, Dialect, Status};
use crate::http::{self, Response};
use crate::ids::{LinkId, PeerId};
use crate::link::{Cargo, Link, State, Transfer};
use crate::reason::CloseReason;
use crate::tower::Tower;
use crate::tower::links::Unanswered;
use crate::wire::{Farewell, RefusedReason};

impl Tower {
    pub(super) fn on_responses(&mut self, id: LinkId, mut input: &[u8]) {
        while !input.is_empty() {
            let Some(asking) = self.links.live_mut(id).and_then(Link::asking) else { return };
            let begins_native = !asking.reader.is_mid_response()
                && input.first().is_some_and(|byte| !byte.is_ascii());
            match asking.reader.read(&mut input) {
                Ok(Some(response)) => self.on_response(id, response),
                Ok(None) => {}
                Err(_) => {
                    self.learn_native(id, begins_native);
                    return self.misbehaved(id, CloseReason::BadHttp);
                }
            }
        }
    }

    /// In clear text, a peer that answers a request with what may be a hello is greeted with one the next time. With TLS the handshake tells.
    fn learn_native(&mut self, id: LinkId, begins_native: bool) {
        let peer = self.links.get(id).and_then(|link| link.peer);
        if let Some(peer) = peer.filter(|_| begins_native && self.identity.is_none()) {
            self.peers.change(peer, |peer| peer.dialect = Some(Dialect::Native));
        }
    }

    fn on_response(&mut self, id: LinkId, response: Response) {
        let Some(link) = self.links.live_mut(id) else { return };
        let (Some(peer), Some(transfer)) = (link.peer, link.transfers.pop_sent()) else {
            return self.misbehaved(id, CloseReason::BadHttp);
        };
        if let Some(asking) = link.asking() {
            // Not to the very end: a request must not cross with the close.
            let seconds = response.keep_alive.map(|seconds| seconds.saturating_sub(1));
            asking.keep_alive = seconds.map(Duration::from_secs);
        }
        self.on_status(peer, transfer, response.status);
        let now = self.now;
        let Some(link) = self.links.live_mut(id) else { return };
        link.transfers.answered(now);
        match link.state {
            State::Parting(why) => {
                self.end(id, why, Unanswered::NotTaken, Some(CloseMode::Flush));
            }
            _ if response.closes => {
                let why = CloseReason::Goodbye(Farewell::Idle);
                self.end(id, why, Unanswered::NotTaken, Some(CloseMode::Flush));
            }
            _ => {
                self.peers.change(peer, |peer| peer.link = Some(id));
                self.reset_link_deadline(id);
                self.request_send_if_wanted(id);
            }
        }
        self.refresh_window(peer);
    }

    fn on_status(&mut self, peer: PeerId, transfer: Transfer, status: u16) {
        // What a peer finds too long or does not understand it will not take a moment later either.
        if !matches!(status, 200 | 403 | 503)
            && let (Some(http), Some(key)) = (&mut self.http, transfer.message())
        {
            http.reject(peer, key, self.now);
        }
        match status {
            200 => self.on_confirmed(peer, transfer),
            403 => self.on_refused(peer, transfer, RefusedReason::Ignored),
            413 | 503 => self.on_refused(peer, transfer, RefusedReason::Busy),
            _ => {
                self.stats.refused_by_peers += 1;
                self.on_failure(peer);
                self.take_back(Some(peer), transfer, false);
            }
        }
    }

    /// A link ends. If the head of a response was there, what it says of the message stands, whatever became of the rest.
    pub(in crate::tower) fn conclude(&mut self, id: LinkId) {
        let Some(link) = self.links.live_mut(id) else { return };
        let Some(status) = link.asking().and_then(|asking| asking.reader.status()) else { return };
        if let (Some(peer), Some(transfer)) = (link.peer, link.transfers.pop_sent()) {
            self.on_status(peer, transfer, status);
        }
    }

    /// Writes the next request into the link's outbox, if there is one.
    pub(super) fn write_request(&mut self, id: LinkId) -> bool {
        let Some(link) = self.links.get_mut(id).filter(|link| link.may_send()) else {
            return false;
        };
        let Some(transfer) = link.transfers.send_next(self.now) else { return false };
        let Some(to) = link.peer.and_then(|peer| self.peers.get(peer)) else { return false };
        let friend = transfer.friend.and_then(|friend| self.peers.get(friend));
        let friend = friend.filter(|friend| friend.status == Status::Alive);
        let friend = friend.map(|friend| &friend.address).filter(|friend| **friend != to.address);
        let message = match transfer.cargo {
            Cargo::Announce => None,
            Cargo::Message { key, .. } => {
                let Some((_, kind, body)) = self.queue.get(key) else { return false };
                Some((kind, &body[..]))
            }
        };
        let body = http::write_payload(message, &self.address, friend);
        let Some(asking) = link.asking() else { return false };
        let outbox = asking.out();
        http::write_request_head(&to.address, body.len(), outbox.bytes());
        let head = outbox.bytes().len();
        outbox.bytes().extend_from_slice(&body);
        outbox.set_head(head);
        true
    }
}
