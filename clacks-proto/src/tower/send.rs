//! What goes out: the ticks, the draw, assigning messages to links, and frames into the driver's buffer.

use bytes::BufMut;
use core::time::Duration;

use super::{Shutdown, Tower};
use crate::event::Status;
use crate::ids::{LinkId, MessageKey, PeerId};
use crate::link::{Answer, Cargo, Outcome, Partial, State, Transfer};
use crate::selector::Eligible;
use crate::wire::{
    AnnounceFrame, Attempt, Farewell, Frame, Hello, MAX_HEAD, MessageFrame, VERSION,
};

/// How one attempt to hand the head of the queue to somebody went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Handed {
    /// It is on its way.
    Out,
    /// There is no message, or nobody to take it.
    Nobody,
    /// The drawn peer can't have it now: no link is free, or it is too long for that peer.
    Stuck,
}

/// How often an unlimited sender draws again when the drawn peer can't have the message.
pub(super) const REDRAWS: u32 = 4;

/// The shortest time after which it does so again, lest a back-off of zero keep the timer busy.
const LEAST_PAUSE: Duration = Duration::from_millis(1);

/// The next frame of a link, as small values.
enum Outgoing {
    Hello,
    Answer(Answer),
    Transfer(Transfer),
    Goodbye(Farewell),
}

impl Tower {
    /// At an unlimited rate, and in a shutdown, messages leave as soon as a window has room.
    pub(super) fn pump(&mut self) {
        let draining = matches!(self.shutdown, Shutdown::Draining { .. });
        let unlimited = self.shutdown == Shutdown::Running && self.pacer.is_unlimited();
        if !draining && !unlimited || self.retry_at.is_some() {
            return;
        }
        let mut stuck = 0;
        loop {
            match self.hand_over() {
                Handed::Out => stuck = 0,
                Handed::Nobody => return,
                Handed::Stuck if stuck < REDRAWS => stuck += 1,
                Handed::Stuck => {
                    self.retry_at = Some(self.now + self.config.busy_backoff.max(LEAST_PAUSE));
                    return;
                }
            }
        }
    }

    pub(super) fn on_ticks(&mut self) {
        if self.shutdown == Shutdown::Running {
            for _ in 0..self.pacer.take_due(self.now) {
                self.hand_over();
            }
        }
    }

    /// A tower that has sent nothing for a heartbeat announces itself to one drawn peer.
    pub(super) fn on_heartbeat(&mut self) {
        let Some(heartbeat) = self.config.heartbeat else { return };
        if self.heartbeat_at > self.now || self.shutdown != Shutdown::Running {
            return;
        }
        let quiet_until = self.last_sent.map(|last| last + heartbeat);
        if let Some(later) = quiet_until.filter(|later| *later > self.now) {
            self.heartbeat_at = later;
            return;
        }
        self.heartbeat_at = self.now + heartbeat;
        if let Some(peer) = self.draw() {
            self.assign(peer, Cargo::Announce);
        }
    }

    /// A recipient, by the odds. In a shutdown nobody is tried who may not be there, as long as somebody is.
    pub(super) fn draw(&mut self) -> Option<PeerId> {
        let mut eligible = self.peers.eligible(self.config.max_probes);
        if self.shutdown != Shutdown::Running && self.peers.alive_count() > 0 {
            eligible = Eligible { alive: eligible.alive, ..Eligible::default() };
        }
        let (status, place) = self.selector.draw(eligible)?;
        self.peers.id(self.peers.eligible_at(status, place)?)
    }

    /// Hands the head of the queue to a drawn peer.
    fn hand_over(&mut self) -> Handed {
        let Some((key, len)) = self.queue.head() else { return Handed::Nobody };
        let Some(peer) = self.draw() else { return Handed::Nobody };
        #[cfg(feature = "http")]
        let Some(peer) = self.draw_suitable(peer, key) else {
            self.queue.rotate();
            return Handed::Stuck;
        };
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        if self.peers.get(peer).is_some_and(|peer| len > peer.max_message) {
            // Others behind it may be short enough, and other peers may take it.
            self.queue.rotate();
            // One that is not proved yet is tried without a message: else a new one would come first for ever.
            if !self.peers.is_alive(peer) {
                self.assign(peer, Cargo::Announce);
            }
            return Handed::Stuck;
        }
        if !self.assign(peer, Cargo::Message { key, len }) {
            return Handed::Stuck;
        }
        self.queue.depart(peer);
        Handed::Out
    }

    /// Gives something to a peer's link, which is opened if need be. False when there is no room for a link.
    pub(super) fn assign(&mut self, peer: PeerId, cargo: Cargo) -> bool {
        let Some(id) = self.link_to(peer) else { return false };
        #[cfg(feature = "http")]
        if matches!(cargo, Cargo::Message { .. }) && self.is_taken_up(id, peer) {
            return false;
        }
        self.last_sent = Some(self.now);
        let friend = self.draw_friend(peer);
        let number = self.next_transfer;
        self.next_transfer += 1;
        let transfer = Transfer { number, attempt: Attempt::First, cargo, friend, sent: self.now };
        let confirm = self.now + self.config.timeouts.confirm;
        if let Some(link) = self.links.get_mut(id) {
            link.transfers.push(transfer);
            let (is_full, is_open) = (link.is_full(), link.state == State::Open);
            #[cfg(feature = "http")]
            let is_full = is_full && !self.has_other_links(peer);
            if is_open {
                self.link_deadlines.set_if_earlier(id.index, confirm);
                self.request_send(id);
            }
            self.peers.change(peer, |peer| {
                peer.load += 1;
                peer.is_full = is_full;
            });
        }
        true
    }

    /// If the application asked for it, the link begins with an announce.
    pub(super) fn announce_if_due(&mut self, id: LinkId, peer: PeerId) {
        let is_due = self.peers.get(peer).is_some_and(|peer| peer.announce_due);
        let waits = self.links.get(id).is_some_and(|link| {
            link.transfers.unsent().any(|transfer| transfer.message().is_none())
        });
        if is_due && !waits && self.peers.get(peer).is_some_and(|peer| peer.link == Some(id)) {
            self.assign(peer, Cargo::Announce);
        }
    }

    /// A random alive peer that is not the recipient.
    fn draw_friend(&mut self, recipient: PeerId) -> Option<PeerId> {
        let count = self.peers.alive_count() - u32::from(self.peers.is_alive(recipient));
        if count == 0 {
            return None;
        }
        let place = self.friend_stream.below(self.selector.seed(), count);
        self.peers.alive_peer(place, Some(recipient))
    }

    pub(super) fn reset_link_deadline(&mut self, id: LinkId) {
        if let Some(link) = self.links.get(id) {
            self.link_deadlines.set(id.index, self.deadline_of(link));
        }
    }

    pub(super) fn request_send_if_wanted(&mut self, id: LinkId) {
        if self.links.get(id).is_some_and(crate::link::Link::wants_transmit) {
            self.request_send(id);
        }
    }

    pub(super) fn transmit_frames(&mut self, id: LinkId, out: &mut impl BufMut) -> usize {
        let room = out.remaining_mut();
        #[cfg(feature = "http")]
        if self.links.get(id).is_some_and(|link| link.talk.is_some()) {
            return self.transmit_http(id, out);
        }
        let mut is_whole = self.transmit_partial(id, out);
        // A frame isn't begun for a full buffer, since no byte of it would go.
        while is_whole && out.has_remaining_mut() {
            let Some(outgoing) = self.next_outgoing(id) else { break };
            if out.remaining_mut() < MAX_HEAD + body_len(&outgoing) {
                self.begin_partial(id, &outgoing);
                is_whole = self.transmit_partial(id, out);
            } else {
                self.with_frame(&outgoing, |frame| frame.encode(out));
            }
        }
        let written = room - out.remaining_mut();
        if written > 0
            && let Some(link) = self.links.get_mut(id)
        {
            link.used = self.now;
        }
        written
    }

    /// Takes the link's next frame off its queues, in their order: hello, answers, transfers, goodbye.
    fn next_outgoing(&mut self, id: LinkId) -> Option<Outgoing> {
        let now = self.now;
        let link = self.links.get_mut(id)?;
        if link.state == State::Connecting {
            return None;
        }
        if core::mem::take(&mut link.hello_due) {
            return Some(Outgoing::Hello);
        }
        if let Some(answer) = link.pop_answer() {
            return Some(Outgoing::Answer(answer));
        }
        if link.may_send()
            && let Some(transfer) = link.transfers.send_next(now)
        {
            return Some(Outgoing::Transfer(transfer));
        }
        link.farewell_due.take().map(Outgoing::Goodbye)
    }

    /// Spells a frame out and lends it to `use_frame`.
    fn with_frame(&self, outgoing: &Outgoing, use_frame: impl FnOnce(&Frame<'_>)) {
        let friend = |transfer: &Transfer| {
            let friend = transfer.friend.and_then(|friend| self.peers.get(friend));
            friend
                .filter(|friend| friend.status == Status::Alive)
                .map(|friend| friend.address.clone())
        };
        let frame = match outgoing {
            Outgoing::Hello => Frame::Hello(Hello {
                version: VERSION,
                incarnation: self.incarnation,
                max_message: u32::try_from(self.config.max_message).unwrap_or(u32::MAX),
                window: self.config.window,
                network: &self.config.network,
                address: Some(self.address.clone()),
            }),
            Outgoing::Answer(Answer { transfer, outcome: Outcome::Taken, .. }) => {
                Frame::Confirmed { through: *transfer }
            }
            // Requests are answered elsewhere.
            #[cfg(feature = "http")]
            Outgoing::Answer(Answer { outcome: Outcome::Malformed, .. }) => return,
            Outgoing::Answer(Answer { transfer, outcome: Outcome::Refused(reason), .. }) => {
                Frame::Refused { transfer: *transfer, reason: *reason }
            }
            Outgoing::Transfer(transfer) => match transfer.cargo {
                Cargo::Announce => Frame::Announce(AnnounceFrame {
                    transfer: transfer.number,
                    friend: friend(transfer),
                }),
                Cargo::Message { key, .. } => {
                    let Some((nonce, kind, body)) = self.queue.get(key) else { return };
                    Frame::Message(MessageFrame {
                        transfer: transfer.number,
                        attempt: transfer.attempt,
                        nonce,
                        kind,
                        friend: friend(transfer),
                        body,
                    })
                }
            },
            Outgoing::Goodbye(farewell) => Frame::Goodbye { farewell: *farewell },
        };
        use_frame(&frame);
    }

    /// Prepares a frame that the driver's buffer can't take whole.
    fn begin_partial(&mut self, id: LinkId, outgoing: &Outgoing) {
        let Some(link) = self.links.get_mut(id) else { return };
        let mut head = core::mem::take(&mut link.new_partial().head);
        self.with_frame(outgoing, |frame| frame.encode_head(&mut head));
        let body = message_in(outgoing);
        if let Some(key) = body {
            self.queue.pin(key);
        }
        if let Some(link) = self.links.get_mut(id) {
            *link.new_partial() = Partial { head, sent: 0, body };
        }
    }

    /// Goes on with a frame that was cut. True when none is cut any more.
    fn transmit_partial(&mut self, id: LinkId, out: &mut impl BufMut) -> bool {
        let Some(link) = self.links.get_mut(id) else { return false };
        let Some(partial) = link.partial() else { return true };
        let body = partial.body.and_then(|key| self.queue.get(key)).map(|(_, _, body)| body);
        let body: &[u8] = body.map_or(&[], |body| body);
        let skipped = partial.sent.min(partial.head.len());
        for part in [&partial.head[skipped..], &body[partial.sent - skipped..]] {
            let part = &part[..part.len().min(out.remaining_mut())];
            out.put_slice(part);
            partial.sent += part.len();
        }
        let is_whole = partial.sent == partial.head.len() + body.len();
        if is_whole {
            let body = partial.body;
            partial.clear();
            if let Some(key) = body {
                self.queue.unpin(key);
            }
        }
        is_whole
    }
}

fn body_len(outgoing: &Outgoing) -> usize {
    match outgoing {
        Outgoing::Transfer(transfer) => transfer.len(),
        _ => 0,
    }
}

fn message_in(outgoing: &Outgoing) -> Option<MessageKey> {
    match outgoing {
        Outgoing::Transfer(transfer) => transfer.message(),
        _ => None,
    }
}
