//! Drives one tower: passes events in, carries out actions, and observes notices.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use clacks_proto::wire::Attempt;
use clacks_proto::{
    Action, Address, CloseMode, Event, Instant, IoCause, LinkId, Nonce, Notice, StateMachine,
};

use super::addresses::{self, Destination};
use super::connection::{Content, EndId, NO_TOWER};
use super::{Due, Network, NetworkObserver};
use crate::observation::{Observed, Origin, TowerId};

/// The most bytes that a driver reads at once. A tower has room for the datagrams of one read.
const READ: usize = 64 * 1024;

impl<M: StateMachine, W: NetworkObserver<M>> Network<M, W> {
    /// Passes an event to a tower.
    pub(super) fn pass(&mut self, tower: TowerId, event: Event<'_>) {
        let node = &mut self.nodes[tower.0 as usize];
        let now = node.local_time(self.now);
        if let Some(machine) = &mut node.machine {
            machine.handle(event, now);
        }
    }

    /// Carries out all actions of a tower, and schedules its next wake-up.
    pub(super) fn settle(&mut self, tower: TowerId) {
        let mut left = None;
        let messages = self.numbers.len();
        while let Some(machine) = &mut self.nodes[tower.0 as usize].machine
            && let Some(action) = machine.poll_action()
        {
            match action {
                Action::Connect { link, address, .. } => self.dial(tower, link, &address),
                Action::Send { link } => self.transmit(tower, link),
                Action::Close { link, how, .. } => self.close(tower, link, how),
                Action::Notify(Notice::ShutDown { left: undelivered }) => left = Some(undelivered),
                Action::Notify(notice) => self.on_notice(tower, &notice),
                _ => {}
            }
        }
        if let Some(machine) = &self.nodes[tower.0 as usize].machine {
            if let Some(of_machine) = machine.tower() {
                let now = Instant::from_nanos(self.now);
                self.observer.after(now, tower, of_machine, machine.node());
            }
            self.schedule_wakeup(tower);
            let has_made_messages = self.numbers.len() > messages;
            self.update_offers(tower, has_made_messages);
        }
        if let Some(undelivered) = left {
            self.on_left(tower, undelivered);
        }
    }

    fn on_notice(&mut self, tower: TowerId, notice: &Notice) {
        // The status of a peer is that of one address. A hand-over goes to a tower, whichever of
        // its addresses was dialled.
        let plan = Arc::clone(&self.plan);
        let peer_at = |address: &Address| plan.addresses.tower_at(address);
        let responder_at = |address: &Address| plan.addresses.responder_at(address);
        let what = match *notice {
            Notice::TowerDiscovered { ref peer } => Observed::Discovered { peer: peer_at(peer) },
            Notice::StatusChanged { ref peer, from, to, reason, .. } => {
                Observed::StatusChanged { peer: peer_at(peer), from, to, reason }
            }
            Notice::TowerForgotten { .. } => Observed::Forgot,
            Notice::MessageReceived { ref from, nonce, coalesced, .. } => {
                let from = from.as_ref().and_then(responder_at);
                let message = self.message_of(self.sender.unwrap_or(tower), nonce);
                let sender = self.sender_of(tower, message);
                let message = Some(message);
                let received = Observed::Received { from, sender, message };
                if coalesced {
                    received
                } else {
                    self.see(tower, received);
                    Observed::Queued { message, origin: Origin::Peer }
                }
            }
            Notice::MessageQueued { nonce, origin, .. } => {
                let origin = match origin {
                    clacks_proto::Origin::Local => Origin::Local,
                    _ => Origin::Returned,
                };
                Observed::Queued { message: Some(self.message_of(tower, nonce)), origin }
            }
            Notice::MessageDelivered { ref to, nonce, kept, .. } => {
                let message = self.message_of(tower, nonce);
                if kept {
                    self.see(tower, Observed::CopyKept { message });
                }
                Observed::Delivered { to: responder_at(to), message: Some(message) }
            }
            Notice::MessageExpired { nonce, .. } => {
                Observed::Expired { message: self.message_of(tower, nonce) }
            }
            Notice::Announced { ref to } => Observed::Announced { to: responder_at(to) },
            Notice::LinkClosed { ref peer, reason, .. } => {
                Observed::LinkClosed { peer: peer.as_ref().and_then(responder_at), reason }
            }
            Notice::Missed { count } => Observed::Missed { count },
            _ => return,
        };
        self.see(tower, what);
    }

    fn dial(&mut self, tower: TowerId, link: LinkId, address: &Address) {
        let destination = self.plan.addresses.destination(address);
        let to = match destination {
            Destination::Tower(to) => Some(to),
            _ => None,
        };
        self.see(tower, Observed::Dialled { to });
        let own_ip = self.plan.addresses.ip_of(tower);
        let node = self.node(tower);
        node.dials += 1;
        let ip = node.machine.as_ref().map_or(own_ip, |machine| machine.ip(link, own_ip));
        match destination {
            Destination::Tower(to) => {
                self.send_dial((tower, ip, link), (to, addresses::ip(address)));
            }
            Destination::Refusing => self.send_dial((tower, ip, link), (NO_TOWER, 0)),
            // The tower gives up after a time-out of its own.
            Destination::Silent => {}
            Destination::Unreachable => {
                let cause = IoCause::Unreachable;
                self.see(tower, Observed::ConnectFailed { to, cause });
                self.pass(tower, Event::ConnectFailed { link, cause });
            }
        }
    }

    pub(super) fn end_of(&self, tower: TowerId, link: LinkId) -> Option<EndId> {
        *self.nodes[tower.0 as usize].ends.get(link.index())?
    }

    pub(super) fn set_end(&mut self, tower: TowerId, link: LinkId, end: Option<EndId>) {
        let ends = &mut self.nodes[tower.0 as usize].ends;
        if ends.len() <= link.index() {
            ends.resize(link.index() + 1, None);
        }
        ends[link.index()] = end;
        while ends.last() == Some(&None) {
            ends.pop();
        }
        if ends.is_empty() {
            // Most towers of a large network have no connection at most times.
            *ends = Vec::new();
        }
    }

    /// Sends all that a tower has for a link.
    fn transmit(&mut self, tower: TowerId, link: LinkId) {
        let Some(end) = self.end_of(tower, link) else { return };
        let mut bytes = std::mem::take(&mut self.buffer);
        bytes.clear();
        if let Some(machine) = &mut self.nodes[tower.0 as usize].machine {
            while machine.transmit(link, &mut bytes) > 0 {}
        }
        if !bytes.is_empty() {
            let (_, to) = self.connections.towers(end);
            let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            self.see(tower, Observed::Sent { to, bytes: length });
            self.send_bytes(end, &bytes);
        }
        self.buffer = bytes;
    }

    fn close(&mut self, tower: TowerId, link: LinkId, how: CloseMode) {
        let Some(end) = self.end_of(tower, link) else {
            return self.pass(tower, Event::Closed { link });
        };
        if how == CloseMode::Flush {
            self.transmit(tower, link);
            let flow = self.connections.flow(end);
            if flow.has_backlog()
                && let Some(shaping) = &mut flow.shaping
            {
                shaping.closes = true;
                return;
            }
        }
        self.close_end(end, how);
    }

    /// Closes an end: at once, or with all that was sent on its way.
    pub(super) fn close_end(&mut self, end: EndId, how: CloseMode) {
        let (tower, with) = self.connections.towers(end);
        let Some(link) = self.connections.end(end).link else { return };
        let content = match how {
            CloseMode::Flush => Content::Fin,
            CloseMode::Abort => Content::Reset,
        };
        self.send_control(end, content);
        self.release(end);
        self.see(tower, Observed::Closed { with: Some(with).filter(|with| *with != NO_TOWER) });
        self.pass(tower, Event::Closed { link });
    }

    /// Removes an end from its tower.
    fn release(&mut self, end: EndId) {
        let own = self.connections.end_mut(end);
        let tower = own.tower;
        if let Some(link) = own.link.take() {
            self.set_end(tower, link, None);
            self.connections.free_if_closed(end.connection);
        }
    }

    /// Handles a segment that arrives.
    pub(super) fn on_arrival(&mut self, index: u32) {
        let segment = self.segments.get(index);
        let (end, content) = (segment.end, segment.content);
        if self.connections.of(segment).is_none() {
            return self.drop_segment(index);
        }
        let (tower, with) = self.connections.towers(end);
        let link = self.connections.end(end).link;
        let node = self.node(tower);
        // The machine of a stopped process still answers dials, and sends what was written before.
        let is_paused = node.is_paused();
        if is_paused && content != Content::Syn && content != Content::Room {
            return node.park(Due::Arrival(index));
        }
        self.snapshot.events += 1;
        match (content, link) {
            (Content::Bytes, Some(link)) => {
                self.on_bytes(index, end, link);
                self.sender = Some(with);
                self.settle(tower);
                self.sender = None;
                return;
            }
            (Content::Corrupted, Some(link)) => {
                // TLS notices an altered byte: the receiver closes the connection.
                self.send_control(end, Content::Reset);
                self.on_reset(end, link);
            }
            (Content::Bytes | Content::Corrupted | Content::SynAck, None) => {
                // A machine that is there resets a connection that it does not know.
                if !self.node(tower).is_unanswering {
                    self.send_control(end, Content::Reset);
                }
                return self.drop_segment(index);
            }
            (Content::Syn, _) => self.on_dial(end),
            (Content::Accept, _) => self.accept(end),
            (Content::SynAck, Some(link)) => {
                self.see(tower, Observed::Connected { to: with });
                self.pass(tower, Event::Connected { link, at: None });
                self.identify(end, link);
            }
            (Content::Refusal(cause), Some(link)) => {
                self.release(end);
                let to = Some(with).filter(|with| *with != NO_TOWER);
                self.see(tower, Observed::ConnectFailed { to, cause });
                self.pass(tower, Event::ConnectFailed { link, cause });
            }
            (Content::Fin, Some(link)) => {
                self.see(tower, Observed::Finished { from: with });
                self.pass(tower, Event::Finished { link });
            }
            (Content::Reset, Some(link)) => self.on_reset(end, link),
            (Content::Room, _) => self.on_room(end),
            (Content::Refusal(_) | Content::Fin | Content::Reset, None) => {}
        }
        self.drop_segment(index);
        if !is_paused {
            self.settle(tower);
        }
    }

    fn on_bytes(&mut self, index: u32, end: EndId, link: LinkId) {
        let (tower, from) = self.connections.towers(end);
        let bytes = self.segments.take_bytes(index);
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.see(tower, Observed::Arrived { from, bytes: length });
        if let Some(files) = self.plan.files.as_ref().filter(|files| files.is_spy(tower)) {
            let now = Instant::from_nanos(self.now);
            datagrams_in(&bytes).for_each(|datagram| files.spy(tower, from, datagram, now));
        }
        for bytes in bytes.chunks(READ) {
            self.pass(tower, Event::BytesArrived { link, bytes });
        }
        self.on_bytes_left_path(end, index, length);
        self.segments.remove(index, bytes);
    }

    fn on_reset(&mut self, end: EndId, link: LinkId) {
        let (tower, with) = self.connections.towers(end);
        self.release(end);
        self.see(tower, Observed::Broke { with });
        self.pass(tower, Event::Lost { link, cause: IoCause::Reset });
    }

    /// Handles a dial that has reached the machine of a tower.
    fn on_dial(&mut self, end: EndId) {
        let own = self.connections.end(end);
        let (tower, ip) = (own.tower, own.ip);
        let node = self.node(tower);
        let is_paused = node.is_paused();
        let Some(machine) = &node.machine else {
            if !node.is_unanswering {
                self.send_control(end, Content::Refusal(IoCause::Refused));
            }
            return;
        };
        if !machine.listens_at(ip) {
            return self.send_control(end, Content::Refusal(IoCause::Refused));
        }
        self.send_control(end, Content::SynAck);
        if is_paused {
            let epoch = self.connections.get(end.connection).epoch;
            let (index, _) = self.segments.add(end, epoch, Content::Accept);
            self.node(tower).park(Due::Arrival(index));
        } else {
            self.accept(end);
        }
    }

    fn accept(&mut self, end: EndId) {
        let (tower, from) = self.connections.towers(end);
        let (ip, from_ip) = (self.connections.end(end).ip, self.connections.end(end.other()).ip);
        let now = self.local_now(tower);
        let own = self.plan.files.as_ref().and_then(|files| files.own_tower(from));
        let is_own_machine = own == Some(tower);
        let from_ip = if is_own_machine { Ipv4Addr::LOCALHOST } else { from_ip.into() };
        let Some(machine) = &mut self.node(tower).machine else { return };
        match machine.accept(IpAddr::V4(from_ip), ip, now) {
            Ok(link) => {
                self.connections.end_mut(end).link = Some(link);
                self.set_end(tower, link, Some(end));
                self.see(tower, Observed::Accepted { from });
                self.identify(end, link);
            }
            Err(reason) => {
                self.see(tower, Observed::NotAccepted { from, reason });
                self.send_control(end, Content::Reset);
            }
        }
    }

    /// Does for a connected link what a TLS handshake does: the other side proves its key.
    fn identify(&mut self, end: EndId, link: LinkId) {
        if !self.plan.keys {
            return;
        }
        let key = addresses::key(&self.random, self.connections.end(end.other()).ip);
        let tower = self.connections.end(end).tower;
        let now = self.local_now(tower);
        let machine = self.node(tower).machine.as_mut();
        if let Some(tower) = machine.and_then(|machine| machine.tower_mut()) {
            tower.identify(link, key, now);
        }
    }

    /// Observes each message among bytes that leave, and returns their number.
    pub(super) fn see_messages(&mut self, end: EndId, bytes: &[u8], arrives: u64) -> u32 {
        let (tower, to) = self.connections.towers(end);
        let arrives = Instant::from_nanos(arrives);
        let mut count = 0;
        for (attempt, nonce) in messages_in(bytes) {
            count += 1;
            self.snapshot.handed_over += u64::from(attempt == Attempt::First);
            // What a role without a tower makes up is a message only if a tower takes it.
            let message = match self.nodes[tower.0 as usize].tower() {
                Some(_) => Some(self.message_of(tower, nonce)),
                None => self.numbers.number_of(nonce),
            };
            self.see(tower, Observed::HandedOver { to, message, attempt, arrives });
        }
        count
    }
}

/// Returns the attempt and the nonce of each message frame.
fn messages_in(bytes: &[u8]) -> impl Iterator<Item = (Attempt, Nonce)> {
    /// The kind of a message frame.
    const MESSAGE: u8 = 0xC2;
    frames_in(bytes).filter_map(|(kind, payload)| {
        let (transfer_to_lifetime, nonce) = payload.split_first_chunk::<13>()?;
        let nonce = nonce.first_chunk().filter(|_| kind == MESSAGE)?;
        let is_first = transfer_to_lifetime[8] == 0;
        let attempt = if is_first { Attempt::First } else { Attempt::Retry };
        Some((attempt, Nonce(u128::from_be_bytes(*nonce))))
    })
}

/// Returns the datagrams in a segment.
fn datagrams_in(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    /// The kind of a datagram frame.
    const DATAGRAM: u8 = 0xC7;
    frames_in(bytes).filter(|(kind, _)| *kind == DATAGRAM).map(|(_, payload)| payload)
}

/// Returns the kind and the payload of each frame. A segment consists of whole frames, because a
/// tower writes into a buffer without bounds.
fn frames_in(mut bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (head, rest) = bytes.split_first_chunk::<5>()?;
        let [kind, length @ ..] = *head;
        let (payload, rest) = rest.split_at_checked(u32::from_be_bytes(length) as usize)?;
        bytes = rest;
        Some((kind, payload))
    })
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use clacks_proto::wire::{Frame, MessageFrame, TransferId};
    use clacks_proto::{Kind, Lifetime};

    use super::*;

    #[test]
    fn messages_are_found_among_the_frames_of_a_segment() {
        let mut bytes = Vec::new();
        let mut expected = Vec::new();
        for number in 1..=3 {
            Frame::Confirmed { through: number }.encode(&mut bytes);
            let retry_of = NonZeroU64::new(9).filter(|_| number == 2);
            let retry_of = retry_of.map(|number| TransferId { link: 1, number });
            let attempt = if number == 2 { Attempt::Retry } else { Attempt::First };
            let nonce = Nonce(u128::from(number) << 100 | 7);
            expected.push((attempt, nonce));
            let (kind, friend) = (Kind::Bytes, "10.0.0.1:8001".parse().ok());
            let body = &[1; 100];
            let (transfer, lifetime) = (number, Lifetime::UNLIMITED);
            let message = MessageFrame { transfer, retry_of, lifetime, nonce, kind, friend, body };
            Frame::Message(message).encode(&mut bytes);
        }
        assert_eq!(messages_in(&bytes).collect::<Vec<_>>(), expected);
        for end in 0..bytes.len() {
            assert!(messages_in(&bytes[..end]).count() < 3);
        }
    }
}
