//! What passes on the links: frames in both directions, windows, and answers.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use bytes::BufMut;
use core::num::NonZeroU64;

use super::{Confirmation, Content, Observer, Step, View, find, is, recipient};
use crate::link::{MAX_RETRIES, MAX_RUNS};
use crate::wire::{
    Decoder, Farewell, Frame, Hello, MAX_BODY, RefusedReason, TransferId, VERSION, Window,
    WireError,
};
use crate::{
    Address, CloseReason, Config, Instant, LinkId, LinkInfo, Message, MessageId, PeerId,
    ProtocolError, Screening, StateMachine, Status,
};

/// Whether a transfer that came in was taken, as far as that shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The transfer came with the current input.
    New,
    Taken,
    NotTaken,
    /// Under screening.
    Offered(MessageId),
    /// Refused by the application.
    Rejected,
    /// Taken for a copy or a retry, or refused. The answer shows which.
    Unknown,
}

/// The name of a transfer to the tower: the incarnation of its sender, and its first sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    incarnation: u64,
    link: u64,
    number: u64,
}

/// A transfer that came in and is not answered.
pub(super) struct Arrival {
    pub(super) transfer: u64,
    /// `None` for an announce.
    pub(super) content: Option<Content>,
    pub(super) name: Name,
    pub(super) is_retry: bool,
    pub(super) fate: Fate,
    pub(super) is_from_ignored: bool,
    at: Instant,
}

/// A transfer of the tower that the peer has not answered.
pub(super) struct Unconfirmed {
    pub(super) number: u64,
    pub(super) content: Option<Content>,
    at: Instant,
}

/// A transfer that the tower has sent at some time.
pub(super) struct Sent {
    content: Option<Content>,
    to: Option<Address>,
    /// How often the transfer was retried.
    retries: u8,
    /// The first sending, for a retry.
    retry_of: Option<(u64, u64)>,
    /// The peer has answered, or has said goodbye without taking the transfer.
    is_settled: bool,
}

/// Notes that a transfer, and the first sending of a retry, must not be sent again.
fn settle(sent: &mut BTreeMap<(u64, u64), Sent>, name: (u64, u64)) {
    let transfer = sent.get_mut(&name).unwrap();
    transfer.is_settled = true;
    if let Some(first) = transfer.retry_of {
        sent.get_mut(&first).unwrap().is_settled = true;
    }
}

/// A message that was confirmed to a peer, which may ask again.
pub(super) struct Taken {
    peer: Option<PeerId>,
    name: Name,
    at: Instant,
    link: LinkId,
    /// How many later transfers were refused on the link.
    refused: usize,
    /// How many links have been closed since the link was closed.
    closed_since: Option<usize>,
    /// The tower may have forgotten the transfer.
    may_be_forgotten: bool,
}

/// A link that has not ended.
pub(in super::super) struct Link {
    pub(in super::super) id: LinkId,
    is_inbound: bool,
    /// The driver knows the link.
    pub(in super::super) is_known: bool,
    /// The driver was asked to send.
    pub(in super::super) wants_send: bool,
    pub(in super::super) is_aborted: bool,
    pub(super) began: Instant,
    pub(super) connected_at: Option<Instant>,
    /// What the other side's hello says.
    pub(super) hello: Option<Greeting>,
    /// The address that the other side claims, which may be learned later.
    pub(super) claimed: Option<Address>,
    /// The number of the link in the tower's hello.
    number: Option<u64>,
    /// The peer has sent another hello on another link since.
    pub(super) is_overruled: bool,
    /// When bytes passed last.
    pub(super) used: Instant,
    pub(super) closed_at: Option<Instant>,
    pub(super) closes: u8,
    /// For what reason the link must close.
    pub(super) reason: Option<CloseReason>,
    incoming: Decoder,
    outgoing: Decoder,
    has_failed: bool,
    has_said_hello: bool,
    has_said_goodbye: bool,
    pub(super) unanswered: VecDeque<Arrival>,
    /// The number of the last transfer that came.
    arrived: u64,
    pub(super) unconfirmed: Vec<Unconfirmed>,
    /// The number of the last transfer of the tower.
    sent: u64,
    /// Datagrams that the tower has to send.
    pub(super) datagrams: VecDeque<Vec<u8>>,
}

/// The parts of a hello that bind the tower.
#[derive(Clone, Copy)]
pub(super) struct Greeting {
    incarnation: u64,
    link: u64,
    pub(super) window: Window,
    max_message: u32,
    /// The other side called, and claims no address.
    pub(super) is_guest: bool,
}

impl Link {
    pub(super) fn new(id: LinkId, info: &LinkInfo, config: &Config, now: Instant) -> Self {
        Self {
            id,
            is_inbound: info.is_inbound,
            is_known: info.is_inbound,
            wants_send: false,
            is_aborted: false,
            began: now,
            connected_at: info.is_inbound.then_some(now),
            hello: None,
            claimed: None,
            number: None,
            is_overruled: false,
            used: now,
            closed_at: None,
            closes: 0,
            reason: None,
            incoming: Decoder::new(config.max_message)
                .accept_datagrams(config.datagrams.max_len())
                .expect_hello(),
            outgoing: Decoder::new(MAX_BODY).accept_datagrams(u32::MAX).expect_hello(),
            datagrams: VecDeque::new(),
            has_failed: false,
            has_said_hello: false,
            has_said_goodbye: false,
            unanswered: VecDeque::new(),
            arrived: 0,
            unconfirmed: Vec::new(),
            sent: 0,
        }
    }

    /// Returns the numbers of the tower's transfers that are not answered.
    pub(in super::super) fn unconfirmed(&self) -> Vec<u64> {
        self.unconfirmed.iter().map(|transfer| transfer.number).collect()
    }

    /// Returns the number of the next transfer to the tower.
    pub(in super::super) fn next_incoming(&self) -> u64 {
        self.arrived + 1
    }

    /// Returns the name of a transfer of the tower.
    fn name_of(&self, number: u64) -> (u64, u64) {
        (self.number.unwrap_or(0), number)
    }

    /// Returns whether the tower dialled and the connection is not established.
    pub(in super::super) fn is_dialled(&self) -> bool {
        self.connected_at.is_none()
    }

    /// Returns whether a part of a frame of the tower has come.
    pub(in super::super) fn is_mid_frame(&self) -> bool {
        self.outgoing.is_mid_frame()
    }

    pub(super) fn oldest_unconfirmed(&self) -> Option<Instant> {
        self.unconfirmed.first().map(|transfer| transfer.at)
    }

    pub(super) fn is_settled(&self) -> bool {
        self.unconfirmed.is_empty() && self.unanswered.is_empty() && !self.is_mid_frame()
    }

    pub(super) fn awaits_answer(&self) -> bool {
        !self.unconfirmed.is_empty()
    }

    pub(super) fn may_be_in_doubt(&self) -> bool {
        self.awaits_answer() || self.is_mid_frame()
    }

    /// Returns whether a window may have no room for one more message.
    pub(super) fn is_near_full(&self, window: Window) -> bool {
        let (messages, bytes) = self.load();
        !window.admits(messages, bytes, super::super::tower_events::MAX_MESSAGE)
    }

    /// Returns the number and the bytes of the tower's transfers that are not answered.
    fn load(&self) -> (usize, usize) {
        let bytes = self.unconfirmed.iter().map(|transfer| len(&transfer.content)).sum();
        (self.unconfirmed.len(), bytes)
    }
}

fn len(content: &Option<Content>) -> usize {
    content.as_ref().map_or(0, |(_, message)| message.len())
}

impl Observer {
    // Bytes of the other side.

    /// Reads what the other side sends. Finds out what must or may follow.
    pub(super) fn read(&mut self, id: LinkId, bytes: &[u8], now: Instant, step: &mut Step) {
        let is_closing = self.view.is_closing(id);
        let Some(link) = self.links.iter_mut().find(|link| link.id == id) else { return };
        // In a shutdown a link may wait for answers after its goodbye.
        let is_over = is_closing && (self.is_running || link.closes > 0);
        if link.connected_at.is_none() || is_over || link.has_failed {
            return;
        }
        link.used = now;
        let mut decoder = core::mem::take(&mut link.incoming);
        let mut input = bytes;
        let failure = loop {
            let failure = match decoder.decode(&mut input) {
                Ok(Some(frame)) => self.on_frame(id, &frame, now, is_closing, step),
                Ok(None) => break None,
                Err(WireError::Version(version)) if find(&mut self.links, id).hello.is_none() => {
                    Some(CloseReason::WrongVersion(version))
                }
                Err(error) => Some(CloseReason::Wire(error)),
            };
            if failure.is_some() {
                break failure;
            }
        };
        let link = find(&mut self.links, id);
        link.incoming = decoder;
        link.has_failed = failure.is_some();
        if !is_closing {
            link.reason = failure;
        }
    }

    /// Notes a frame of the other side. Returns the reason for which the tower must close the link.
    fn on_frame(
        &mut self,
        id: LinkId,
        frame: &Frame<'_>,
        now: Instant,
        is_closing: bool,
        step: &mut Step,
    ) -> Option<CloseReason> {
        let end = match frame {
            Frame::Message(frame) => Some(self.end_of(frame.lifetime, now)),
            _ => None,
        };
        let link = find(&mut self.links, id);
        step.frames += 1;
        let (transfer, content, friends, retry_of) = match frame {
            Frame::Hello(hello) => {
                if link.hello.is_some() {
                    return Some(CloseReason::Protocol(ProtocolError::HelloTwice));
                } else if hello.network != self.config.network {
                    return Some(CloseReason::WrongNetwork);
                }
                let Hello { incarnation, link: number, window, max_message, .. } = *hello;
                let is_guest = link.is_inbound && hello.address.is_none();
                link.hello =
                    Some(Greeting { incarnation, link: number, window, max_message, is_guest });
                link.claimed = hello.address.clone();
                if self.incarnation == Some(hello.incarnation) {
                    return Some(CloseReason::OwnAddress);
                }
                step.named.extend(hello.address.clone());
                return None;
            }
            Frame::Confirmed { through } => {
                return self.settle(id, *through, None, is_closing, step);
            }
            Frame::Refused { transfer, reason } => {
                return self.settle(id, *transfer, Some(*reason), is_closing, step);
            }
            Frame::Goodbye { farewell } => {
                for transfer in &link.unconfirmed {
                    settle(&mut self.sent, link.name_of(transfer.number));
                }
                return Some(CloseReason::Goodbye(*farewell));
            }
            Frame::Message(_) | Frame::Announce(_) if is_closing => return None,
            Frame::Datagram(body) => {
                if !is_closing {
                    self.datagrams.push_back((id, body.to_vec()));
                }
                return None;
            }
            Frame::Message(frame) => {
                let content = (frame.nonce, Message::copied(frame.kind, frame.body));
                (frame.transfer, Some(content), frame.friend.as_slice(), frame.retry_of)
            }
            Frame::Announce(frame) => (frame.transfer, None, frame.friends.as_slice(), None),
        };
        if transfer != link.next_incoming() {
            return Some(CloseReason::Protocol(ProtocolError::WrongNumber));
        }
        link.arrived += 1;
        let bytes = link.unanswered.iter().map(|arrival| len(&arrival.content)).sum();
        if !self.config.window.admits(link.unanswered.len(), bytes, len(&content)) {
            return Some(CloseReason::Protocol(ProtocolError::WindowExceeded));
        }
        if let Some((_, message)) = &content
            && self.config.screening != Screening::Off
        {
            self.told.expect_offer(message);
        }
        if !self.config.is_guest {
            step.entering.extend(content.clone());
            step.ends.extend(content.clone().zip(end));
            step.named.extend(friends.iter().cloned());
        }
        // An address that was not learned at the hello is tried again.
        let peer = self.view.peer_of(id).or(link.claimed.as_ref());
        let is_from_ignored = self.view.is_ignored(peer);
        step.heard = peer.cloned();
        let greeting = link.hello.unwrap();
        let first = retry_of.map(|first| (first.link, first.number.get()));
        let (number_of_link, number) = first.unwrap_or((greeting.link, transfer));
        let name = Name { incarnation: greeting.incarnation, link: number_of_link, number };
        link.unanswered.push_back(Arrival {
            transfer,
            content,
            name,
            is_retry: retry_of.is_some(),
            fate: Fate::New,
            is_from_ignored,
            at: now,
        });
        is_from_ignored.then_some(CloseReason::Ignored)
    }

    /// Notes that the other side answers a transfer, and with it those before.
    fn settle(
        &mut self,
        id: LinkId,
        number: u64,
        refusal: Option<RefusedReason>,
        is_closing: bool,
        step: &mut Step,
    ) -> Option<CloseReason> {
        let link = find(&mut self.links, id);
        let Some(position) = link.unconfirmed.iter().position(|it| it.number == number) else {
            return Some(CloseReason::Protocol(ProtocolError::UnknownTransfer));
        };
        let to = self.view.peer_of(id)?.clone();
        let number_of_link = link.number.unwrap_or(0);
        let mut is_message = false;
        for Unconfirmed { number: this, content, .. } in link.unconfirmed.drain(..=position) {
            settle(&mut self.sent, (number_of_link, this));
            if refusal.is_some() && this == number {
                is_message = content.is_some();
                step.refused.extend(content);
            } else {
                let (to, is_certain) = (to.clone(), !is_closing);
                step.confirmed.push(Confirmation { content, to, is_certain });
            }
        }
        // A peer that refuses an announcement is not left alone, unless it ignores this tower.
        if let Some(reason) = refusal.filter(|it| is_message || *it == RefusedReason::Ignored) {
            step.refused_by = Some((to.clone(), reason == RefusedReason::Ignored));
        }
        step.heard = Some(to);
        None
    }

    // Bytes of the tower.

    /// Takes bytes from the tower, as many as fit, and reads them at the other side. Returns the
    /// number of bytes.
    pub(in super::super) fn transmit(&mut self, id: LinkId, room: usize) -> usize {
        let mut out = Vec::new().limit(room);
        let len = self.tower.transmit(id, &mut out);
        self.tower.assert_consistent();
        let bytes = out.into_inner();
        assert!(len == bytes.len() && len <= room);
        self.hash(&bytes);
        let Some(link) = self.links.iter_mut().find(|link| link.id == id) else {
            assert_eq!(len, 0, "{id:?} has ended");
            return 0;
        };
        if len == 0 {
            link.wants_send &= room == 0;
            return 0;
        }
        assert!(link.connected_at.is_some(), "bytes before the connection");
        link.used = self.now;
        let mut decoder = core::mem::take(&mut link.outgoing);
        let mut has_begun = decoder.is_mid_frame();
        let mut input = bytes.as_slice();
        while let Some(frame) = decoder.decode(&mut input).expect("a tower sends frames") {
            self.check_frame(id, &frame, has_begun);
            has_begun = false;
        }
        find(&mut self.links, id).outgoing = decoder;
        len
    }

    /// Checks a frame of the tower. A frame of which a part was sent before may have been overtaken
    /// by events.
    fn check_frame(&mut self, id: LinkId, frame: &Frame<'_>, has_begun: bool) {
        let link = find(&mut self.links, id);
        assert!(!link.has_said_goodbye, "{frame:?} after the goodbye");
        match frame {
            Frame::Hello(hello) => {
                assert!(!core::mem::replace(&mut link.has_said_hello, true), "a second hello");
                link.number = Some(hello.link);
                let Hello { version, window, network, max_message, .. } = hello;
                let config = &self.config;
                assert_eq!(
                    (*version, *window, *network),
                    (VERSION, config.window, &*config.network)
                );
                assert_eq!(*max_message as usize, config.max_message);
                let address = Some(self.tower.address()).filter(|_| !config.is_guest);
                assert_eq!(hello.address.as_ref(), address);
                let incarnation = self.incarnation.get_or_insert(hello.incarnation);
                assert_eq!(*incarnation, hello.incarnation);
            }
            Frame::Confirmed { through } => self.check_answer(id, *through, None),
            Frame::Refused { transfer, reason } => {
                self.check_answer(id, *transfer, Some(*reason));
            }
            Frame::Message(frame) => {
                let content = (frame.nonce, Message::copied(frame.kind, frame.body));
                self.check_friend(id, frame.friend.as_ref(), has_begun);
                if !has_begun {
                    self.check_lifetime(id, &content, frame.lifetime);
                }
                let (number, first) = (frame.transfer, frame.retry_of);
                self.check_transfer(id, number, Some(content), first, has_begun);
            }
            Frame::Announce(frame) => {
                frame.friends.iter().for_each(|it| self.check_friend(id, Some(it), has_begun));
                self.check_transfer(id, frame.transfer, None, None, has_begun);
            }
            Frame::Datagram(body) => {
                // Some may have been dropped, because the other side does not take them.
                let place = link.datagrams.iter().position(|sent| sent == body);
                let place = place.unwrap_or_else(|| panic!("{body:?} was not sent, or earlier"));
                link.datagrams.drain(..=place);
            }
            Frame::Goodbye { .. } => {
                link.has_said_goodbye = true;
                let mut left = link.unanswered.iter();
                let is_answered = left.all(|arrival| arrival.fate != Fate::Taken);
                assert!(is_answered, "a goodbye before the last answer");
            }
        }
    }

    /// The tower answers each transfer once, in order, and confirms what it took.
    fn check_answer(&mut self, id: LinkId, transfer: u64, refusal: Option<RefusedReason>) {
        let peer = self.view.peer_of(id).and_then(|peer| self.view.peers.get(peer));
        let peer = peer.map(|peer| peer.id);
        let link = find(&mut self.links, id);
        let position = link.unanswered.iter().position(|arrival| arrival.transfer == transfer);
        let position = position.unwrap_or_else(|| panic!("an answer to {transfer}, on {id:?}"));
        for arrival in link.unanswered.drain(..=position).collect::<Vec<_>>() {
            let refusal = refusal.filter(|_| arrival.transfer == transfer);
            let is_possible = match (arrival.fate, refusal) {
                (Fate::Taken, None) => true,
                // The announce of a caller that was not learned.
                (Fate::Taken, Some(RefusedReason::Busy)) => arrival.content.is_none(),
                (Fate::Rejected, Some(reason)) => reason == RefusedReason::Screened,
                (Fate::NotTaken, Some(reason)) => {
                    arrival.is_from_ignored == (reason == RefusedReason::Ignored)
                        && matches!(reason, RefusedReason::Ignored | RefusedReason::Busy)
                }
                (Fate::Unknown, reason) => {
                    !matches!(reason, Some(RefusedReason::Ignored | RefusedReason::TooLarge))
                }
                _ => false,
            };
            assert!(is_possible, "{} is {:?}: {refusal:?}", arrival.transfer, arrival.fate);
            self.on_answered(id, arrival.transfer, refusal.is_none());
            if refusal.is_some() {
                for taken in self.taken.iter_mut().filter(|taken| taken.link == id) {
                    taken.refused += 1;
                }
            } else if arrival.content.is_some() && !arrival.is_retry {
                self.taken.push(Taken {
                    peer,
                    name: arrival.name,
                    at: arrival.at,
                    link: id,
                    refused: 0,
                    closed_since: self.view.is_closing(id).then_some(0),
                    may_be_forgotten: self.view.is_closing(id),
                });
            }
        }
    }

    fn check_friend(&self, id: LinkId, friend: Option<&Address>, has_begun: bool) {
        if let Some(friend) = friend.filter(|_| !has_begun) {
            let is_alive = self.view.status(friend) == Some(Status::Alive);
            assert!(is_alive && self.view.peer_of(id) != Some(friend), "{friend} is named");
        }
    }

    /// The tower sends what it holds for a peer, within the peer's window.
    fn check_transfer(
        &mut self,
        id: LinkId,
        number: u64,
        content: Option<Content>,
        retry_of: Option<TransferId>,
        has_begun: bool,
    ) {
        let (is_closing, to) = (self.view.is_closing(id), self.view.peer_of(id).cloned());
        let link = find(&mut self.links, id);
        if !has_begun {
            assert!(!is_closing && link.hello.is_some(), "a transfer on {id:?}");
            assert!(to.is_some() && !self.view.is_ignored(to.as_ref()), "a transfer to {to:?}");
            let is_held = |content: &Content| {
                let mut held = self.view.held.values();
                held.any(|held| is(held, content) && recipient(held) == to.as_ref())
            };
            assert!(content.as_ref().is_none_or(is_held), "{content:?} is not in flight");
        }
        let Greeting { window: granted, max_message, .. } = link.hello.unwrap();
        let (messages, bytes) = link.load();
        let window = granted.min(self.config.window);
        assert!(window.admits(messages, bytes, len(&content)), "the window is full");
        let is_long = len(&content) > max_message as usize;
        assert!(!is_long || link.is_overruled, "the message is too long for the peer");
        link.sent += 1;
        assert_eq!(number, link.sent, "a number is left out or used twice");
        if let Some(first) = retry_of {
            // Only a part of the first sending may have left before the link broke.
            let first = self.sent.entry((first.link, first.number.get())).or_insert_with(|| {
                let (content, to) = (content.clone(), to.clone());
                Sent { content, to, retries: 0, retry_of: None, is_settled: false }
            });
            let may_be_sent = first.retry_of.is_none() && first.retries < MAX_RETRIES;
            assert!(may_be_sent && !first.is_settled, "{retry_of:?} is sent again");
            assert!(first.content == content && first.to == to, "another transfer is sent again");
            first.retries += 1;
        }
        let retry_of = retry_of.map(|first| (first.link, first.number.get()));
        let content_sent = content.clone();
        let sent = Sent { content: content_sent, to, retries: 0, retry_of, is_settled: false };
        let earlier = self.sent.insert(link.name_of(number), sent);
        assert!(earlier.is_none(), "two links have one number");
        // What was under way when the link closed was taken back.
        if !is_closing {
            link.unconfirmed.push(Unconfirmed { number, content, at: self.now });
        }
    }

    // Ends of links.

    /// Notes that a link closes or has ended.
    pub(super) fn on_closing(&mut self, id: LinkId, before: &LinkInfo, new: &View) {
        let now = self.now;
        let (is_running, has_ended) = (self.is_running, !new.links.contains_key(&id));
        let link = find(&mut self.links, id);
        link.closed_at = Some(now);
        if is_running || has_ended || link.reason.is_some() {
            link.unconfirmed.clear();
        }
        for taken in &mut self.taken {
            if taken.link == id {
                taken.closed_since = Some(0);
                // A peer that says goodbye asks nothing again, except about this tower's
                // misbehaviour.
                taken.may_be_forgotten |= matches!(
                    link.reason,
                    Some(CloseReason::Goodbye(farewell)) if farewell != Farewell::Misbehaved
                );
            } else if let Some(closed) = &mut taken.closed_since {
                *closed += 1;
            }
        }
        let is_possible = |at: Instant, limit| now >= at + limit;
        let times = &self.config.timeouts;
        let closed = super::notices::Closed {
            link: id,
            peers: [before.peer.clone(), new.peer_of(id).cloned()],
            reason: link.reason,
            may_be_late: !is_running,
            is_ignored: new.is_ignored(before.peer.as_ref()),
            // Timeouts that may have passed.
            connect: link.connected_at.is_none() && is_possible(link.began, times.connect),
            handshake: link.hello.is_none()
                && link.connected_at.is_some_and(|at| is_possible(at, times.handshake)),
            confirm: is_possible(link.began, times.confirm),
            idle: is_possible(link.used, times.idle),
        };
        self.told.expect_close(closed);
    }

    /// Returns the transfers that were taken from the peer at the other end of a link, the last one
    /// first.
    pub(in super::super) fn taken_from(&self, link: LinkId) -> Vec<TransferId> {
        let peer = self.peer_id(link);
        let taken = self.taken.iter().rev().filter(|taken| taken.peer == peer);
        let name = |taken: &Taken| {
            let number = NonZeroU64::new(taken.name.number)?;
            Some(TransferId { link: taken.name.link, number })
        };
        taken.filter_map(name).collect()
    }

    fn peer_id(&self, link: LinkId) -> Option<PeerId> {
        let peer = self.view.peer_of(link)?;
        Some(self.view.peers.get(peer)?.id)
    }

    /// Returns whether a retry on a link must be recognised.
    pub(super) fn must_recognise(&self, name: Name, link: LinkId) -> bool {
        let lifetime = crate::link::lifetime(&self.config.timeouts);
        let window = usize::from(self.config.window.messages);
        self.taken.iter().any(|taken| {
            // The end of a link refuses what is under screening, and its answers may not be sent.
            let is_in_memory = taken.refused + window <= MAX_RUNS;
            taken.name == name
                // No peer retries a transfer on its own link.
                && taken.link != link
                && !taken.may_be_forgotten
                && is_in_memory
                && taken.closed_since.is_none_or(|closed| closed < self.config.max_peers)
                && self.now < taken.at + lifetime
        })
    }
}
