//! Drives one tower: events in, actions out, its notices told.

use std::net::{IpAddr, Ipv4Addr};

use clacks_proto::wire::{Decoder, Frame, MAX_BODY};
use clacks_proto::{
    Action, Address, CloseMode, Event, Instant, IoCause, LinkId, Notice, StateMachine,
};

use super::connection::{EndId, Load};
use super::{Due, Network, Observer};
use crate::observation::{Observed, Origin, TowerId};

/// Where inbound connections seem to come from. It decides nothing.
const SOMEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

impl<M: StateMachine, W: Observer<M>> Network<M, W> {
    /// Tells a tower what happened to one of its links.
    pub(super) fn tell(&mut self, tower: TowerId, event: Event<'_>) {
        let node = &mut self.nodes[tower.0 as usize];
        let now = node.clock(self.now);
        if let Some(machine) = &mut node.machine {
            machine.handle(event, now);
        }
    }

    /// Carries out all that a tower asks for, and sees when it wants to be woken.
    pub(super) fn settle(&mut self, tower: TowerId) {
        let mut undelivered = None;
        let messages = self.names.len();
        while let Some(machine) = &mut self.nodes[tower.0 as usize].machine
            && let Some(action) = machine.poll_action()
        {
            match action {
                Action::Connect { link, address } => self.dial(tower, link, &address),
                Action::Send { link } => self.transmit(tower, link),
                Action::Close { link, how, .. } => self.close(tower, link, how),
                Action::Notify(Notice::ShutDown { left }) => undelivered = Some(left),
                Action::Notify(notice) => self.on_notice(tower, &notice),
                _ => {}
            }
        }
        if let Some(machine) = &self.nodes[tower.0 as usize].machine {
            self.watch.after(Instant::from_nanos(self.now), tower, machine);
            self.want(tower);
            let has_made_messages = self.names.len() > messages;
            self.update_offers(tower, has_made_messages);
        }
        if let Some(undelivered) = undelivered {
            self.on_left(tower, undelivered);
        }
    }

    fn on_notice(&mut self, tower: TowerId, notice: &Notice) {
        let addresses = self.addresses;
        let number_of = |address: &Address| addresses.number_of(address);
        let what = match *notice {
            Notice::TowerDiscovered { ref peer } => Observed::Discovered { peer: number_of(peer) },
            Notice::StatusChanged { ref peer, from, to, reason } => {
                Observed::StatusChanged { peer: number_of(peer), from, to, reason }
            }
            Notice::TowerForgotten { .. } => Observed::Forgot,
            Notice::MessageReceived { ref from, nonce, coalesced, .. } => {
                let from = from.as_ref().and_then(number_of);
                let message = self.message_of(self.speaker.unwrap_or(tower), nonce);
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
            Notice::MessageDelivered { id, ref to, nonce, .. } => {
                let message = self.message_of(tower, nonce);
                let what = Observed::Delivered { to: number_of(to), message: Some(message) };
                let machine = self.nodes[tower.0 as usize].machine.as_ref();
                if machine.is_some_and(|machine| machine.tower().message(id).is_some()) {
                    self.see(tower, Observed::CopyKept { message });
                }
                what
            }
            Notice::Announced { ref to } => Observed::Announced { to: number_of(to) },
            Notice::LinkClosed { ref peer, reason, .. } => {
                Observed::LinkClosed { peer: peer.as_ref().and_then(number_of), reason }
            }
            Notice::Missed { count } => Observed::Missed { count },
            // Nothing proves keys here, and the end of a shutdown is told apart.
            _ => return,
        };
        self.see(tower, what);
    }

    fn dial(&mut self, tower: TowerId, link: LinkId, address: &Address) {
        let to = self.addresses.number_of(address);
        self.see(tower, Observed::Dialled { to });
        self.nodes[tower.0 as usize].dials += 1;
        match to {
            Some(to) => self.send_dial(tower, link, to),
            None => {
                // An address that some altered byte made up: nobody is there.
                self.see(tower, Observed::ConnectFailed { to: None, cause: IoCause::Unreachable });
                self.tell(tower, Event::ConnectFailed { link, cause: IoCause::Unreachable });
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
    }

    /// Sends all that a tower has for a link.
    fn transmit(&mut self, tower: TowerId, link: LinkId) {
        let Some(end) = self.end_of(tower, link) else { return };
        let mut bytes = std::mem::take(&mut self.scratch);
        bytes.clear();
        if let Some(machine) = &mut self.nodes[tower.0 as usize].machine {
            while machine.transmit(link, &mut bytes) > 0 {}
        }
        if !bytes.is_empty() {
            let to = self.connections.get(end.connection).at(end.side.other()).tower;
            let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            self.see(tower, Observed::Sent { to, bytes: length });
            self.send_bytes(end, &bytes);
        }
        self.scratch = bytes;
    }

    fn close(&mut self, tower: TowerId, link: LinkId, how: CloseMode) {
        let Some(end) = self.end_of(tower, link) else {
            return self.tell(tower, Event::Closed { link });
        };
        if how == CloseMode::Flush {
            self.transmit(tower, link);
            let connection = self.connections.get(end.connection);
            let flow = &mut connection.end(end.side).flow;
            if flow.backlog.as_ref().is_some_and(|backlog| !backlog.is_empty()) {
                flow.closes = true;
                return;
            }
        }
        self.finish(end, how);
    }

    /// Closes an end: at once, or with all that was sent on its way.
    pub(super) fn finish(&mut self, end: EndId, how: CloseMode) {
        let connection = self.connections.get(end.connection);
        let (own, other) = (connection.at(end.side), connection.at(end.side.other()));
        let (tower, with) = (own.tower, other.tower);
        let Some(link) = own.link else { return };
        let load = match how {
            CloseMode::Flush => Load::Fin,
            CloseMode::Abort => Load::Reset,
        };
        self.send_control(end, load);
        self.release(end);
        self.see(tower, Observed::Closed { with: Some(with) });
        self.tell(tower, Event::Closed { link });
    }

    /// An end is closed: its tower knows nothing of it any more.
    pub(super) fn release(&mut self, end: EndId) {
        let own = self.connections.get(end.connection).end(end.side);
        let tower = own.tower;
        if let Some(link) = own.link.take() {
            self.set_end(tower, link, None);
            self.connections.vacate(end.connection);
        }
    }

    /// Something has arrived at an end of a connection.
    pub(super) fn on_arrival(&mut self, place: u32) {
        let segment = self.segments.get(place);
        let (to, what) = (segment.to, segment.what);
        let connection_place = segment.connection;
        let Some(connection) = self.connections.of(segment) else {
            return self.drop_segment(place);
        };
        let end = EndId { connection: connection_place, side: to };
        let (own, other) = (connection.at(to), connection.at(to.other()));
        let (tower, link, with) = (own.tower, own.link, other.tower);
        let node = &mut self.nodes[tower.0 as usize];
        // A stopped process does not stop its machine from answering dials, and from sending what was written before.
        let is_paused = node.is_paused;
        if is_paused && what != Load::Syn && what != Load::Room {
            return node.park(Due::Arrival(place));
        }
        self.snapshot.events += 1;
        match (what, link) {
            (Load::Bytes, Some(link)) => {
                self.on_bytes(place, end, tower, link, with);
                self.speaker = Some(with);
                self.settle(tower);
                self.speaker = None;
                return;
            }
            (Load::Bytes | Load::SynAck, None) => {
                // A machine that is there knows nothing of this connection, and says so.
                if !self.nodes[tower.0 as usize].is_unanswering {
                    self.send_control(end, Load::Reset);
                }
                return self.drop_segment(place);
            }
            (Load::Syn, _) => self.on_dial(end, tower, with),
            (Load::Accept, _) => self.accept(end, tower, with),
            (Load::SynAck, Some(link)) => {
                self.see(tower, Observed::Connected { to: with });
                self.tell(tower, Event::Connected { link });
            }
            (Load::Refusal(cause), Some(link)) => {
                self.release(end);
                self.see(tower, Observed::ConnectFailed { to: Some(with), cause });
                self.tell(tower, Event::ConnectFailed { link, cause });
            }
            (Load::Fin, Some(link)) => {
                self.see(tower, Observed::Finished { from: with });
                self.tell(tower, Event::Finished { link });
            }
            (Load::Reset, Some(link)) => {
                self.release(end);
                self.see(tower, Observed::Broke { with });
                self.tell(tower, Event::Lost { link, cause: IoCause::Reset });
            }
            (Load::Room, _) => self.on_room(end),
            (Load::Refusal(_) | Load::Fin | Load::Reset, None) => {}
        }
        self.drop_segment(place);
        if !is_paused {
            self.settle(tower);
        }
    }

    fn on_bytes(&mut self, place: u32, end: EndId, tower: TowerId, link: LinkId, with: TowerId) {
        let bytes = self.segments.take_bytes(place);
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.see(tower, Observed::Arrived { from: with, bytes: length });
        self.tell(tower, Event::BytesArrived { link, bytes: &bytes });
        self.arrived(end, place, length);
        self.segments.remove(place, bytes);
    }

    /// A dial has reached the machine of a tower.
    fn on_dial(&mut self, end: EndId, tower: TowerId, from: TowerId) {
        let node = &self.nodes[tower.0 as usize];
        if node.machine.is_none() {
            if !node.is_unanswering {
                self.send_control(end, Load::Refusal(IoCause::Refused));
            }
            return;
        }
        let is_paused = node.is_paused;
        self.send_control(end, Load::SynAck);
        if is_paused {
            let epoch = self.connections.get(end.connection).epoch;
            let (place, _) = self.segments.add(end.connection, epoch, end.side, Load::Accept);
            self.nodes[tower.0 as usize].park(Due::Arrival(place));
        } else {
            self.accept(end, tower, from);
        }
    }

    fn accept(&mut self, end: EndId, tower: TowerId, from: TowerId) {
        let now = self.local_now(tower);
        let Some(machine) = &mut self.nodes[tower.0 as usize].machine else { return };
        match machine.accept(SOMEWHERE, now) {
            Ok(link) => {
                self.connections.get(end.connection).end(end.side).link = Some(link);
                self.set_end(tower, link, Some(end));
                self.see(tower, Observed::Accepted { from });
            }
            Err(reason) => {
                self.see(tower, Observed::NotAccepted { from, reason });
                self.send_control(end, Load::Reset);
            }
        }
    }

    /// Tells of every message that is among the bytes that leave. Returns how many there are.
    pub(super) fn tap(&mut self, end: EndId, bytes: &[u8], arrives: u64) -> u32 {
        let connection = self.connections.get(end.connection);
        let (tower, to) = (connection.at(end.side).tower, connection.at(end.side.other()).tower);
        let arrives = Instant::from_nanos(arrives);
        let mut decoder = Decoder::new(MAX_BODY);
        let mut rest = bytes;
        let mut messages = 0;
        // Every segment is a number of whole frames: a tower writes into a buffer without bounds.
        while let Ok(Some(frame)) = decoder.decode(&mut rest) {
            if let Frame::Message(message) = frame {
                messages += 1;
                let attempt = message.attempt;
                let message = Some(self.message_of(tower, message.nonce));
                self.snapshot.handed_over +=
                    u64::from(attempt == clacks_proto::wire::Attempt::First);
                self.see(tower, Observed::HandedOver { to, message, attempt, arrives });
            }
        }
        messages
    }
}
