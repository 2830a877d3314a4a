//! What goes out: ticks, draws, and frames.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use super::links::admits;
use super::{Cargo, Key, Model, Number, Phase, Place, Transfer};
use crate::ids::{LinkId, MessageKey, PeerId};
use crate::link::{self, Outcome, State};
use crate::reason::CloseReason;
use crate::wire::{Farewell, RefusedReason};
use crate::{Address, CloseMode, Held, Status};

/// Something that the tower drew and gave to a link.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drawn {
    link: LinkId,
    number: u64,
    message: Option<MessageKey>,
    friend: Option<PeerId>,
}

/// The next frame on a link. Who is named as a friend is settled when it is taken.
#[derive(Clone, Debug)]
pub(in super::super) enum Outgoing {
    Hello,
    Confirmed { through: u64 },
    Refused { transfer: u64, reason: RefusedReason },
    Message { transfer: u64, is_retry: bool, number: Number, friend: Option<Address> },
    Announce { transfer: u64, friend: Option<Address> },
    Goodbye(Farewell),
}

impl Model {
    pub(in super::super) fn timer_fired(&mut self) {
        self.end_late_links();
        for peer in &mut self.peers {
            peer.rests_until = peer.rests_until.filter(|until| *until > self.now);
        }
        self.end_late_offers();
        self.tick();
        self.heartbeat();
        self.tidy();
        if let Phase::Draining { until } = self.phase
            && until <= self.now
        {
            self.part_from_all();
        }
        self.retry_at = self.retry_at.filter(|at| *at > self.now);
        self.advance();
    }

    /// What follows from everything.
    pub(super) fn advance(&mut self) {
        self.forget_polled();
        self.pump();
        self.advance_shutdown();
        let is_wanted = !self.queue.is_empty() && !self.eligible().is_empty();
        if is_wanted && !self.wants_ticks && self.period > 0 {
            // The ticks that passed in vain are gone.
            let late = self.now.duration_since(self.tick).as_nanos();
            let missed = late.div_ceil(self.period.into());
            let late = missed * u128::from(self.period);
            self.tick = self.tick + Duration::from_nanos(u64::try_from(late).unwrap());
        }
        self.wants_ticks = is_wanted;
    }

    /// On each tick one message leaves; of those that came too late only a burst is made up for.
    fn tick(&mut self) {
        let is_due = self.wants_ticks && self.period > 0 && self.tick <= self.now;
        if self.phase != Phase::Running || !is_due {
            return;
        }
        let late = crate::time::nanos(self.now.duration_since(self.tick));
        let due = late / self.period + 1;
        self.tick = self.tick + Duration::from_nanos(due * self.period);
        let due = usize::try_from(due).unwrap().min(self.config.burst as usize);
        let (attempts, was_stuck) = self.hand_over(due);
        assert!(attempts <= due, "{attempts} messages on {due} ticks");
        let is_over = self.queue.is_empty() || self.drawable().is_empty();
        assert!(attempts == due || is_over || was_stuck, "{attempts} messages on {due} ticks");
    }

    fn is_heartbeat_due(&self) -> bool {
        let is_due = self.config.heartbeat.is_some() && self.heartbeat_at <= self.now;
        is_due && self.phase == Phase::Running
    }

    /// Whether the next timer brings a heartbeat, if nothing is sent before.
    fn is_quiet(&self) -> bool {
        let heartbeat = self.config.heartbeat.unwrap_or_default();
        let is_quiet = self.last_sent.is_none_or(|last| last + heartbeat <= self.now);
        is_quiet && self.is_heartbeat_due()
    }

    fn heartbeat(&mut self) {
        let Some(heartbeat) = self.config.heartbeat.filter(|_| self.is_heartbeat_due()) else {
            return;
        };
        let quiet_until = self.last_sent.map(|last| last + heartbeat);
        if let Some(later) = quiet_until.filter(|later| *later > self.now) {
            self.heartbeat_at = later;
            return;
        }
        self.heartbeat_at = self.now + heartbeat;
        let recipients = self.drawable();
        match self.drawn().front().copied() {
            Some(drawn) if drawn.message.is_none() && !recipients.is_empty() => {
                let recipient = self.recipient(&drawn);
                assert!(recipients.contains(&recipient), "it may not be drawn");
                self.assign(recipient, Cargo::Announce, Some(&drawn));
            }
            _ => {
                let is_stuck = self.free_links() == 0
                    && recipients.iter().any(|key| self.standing_link(*key).is_none());
                assert!(recipients.is_empty() || is_stuck, "there was no heartbeat");
                if is_stuck {
                    self.make_room(1);
                }
            }
        }
    }

    /// At an unlimited rate, and in a shutdown, messages leave as long as somebody has room for them.
    fn pump(&mut self) {
        let is_draining = matches!(self.phase, Phase::Draining { .. });
        let is_unlimited = self.phase == Phase::Running && self.period == 0;
        if !is_draining && !is_unlimited || self.retry_at.is_some() {
            return;
        }
        let (_, was_stuck) = self.hand_over(usize::MAX);
        let is_over = self.queue.is_empty() || self.drawable().is_empty();
        let pause = self.config.busy_backoff.max(Duration::from_millis(1));
        match self.after.retry_at {
            Some(at) => {
                assert!(was_stuck, "it rests, and everybody could take the message");
                assert_eq!(at, self.now + pause);
            }
            None => assert!(is_over, "a message waits, and {:?} could take it", self.drawable()),
        }
        self.retry_at = self.after.retry_at;
    }

    /// What the tower drew in this step and is not gone through yet.
    fn drawn(&self) -> VecDeque<Drawn> {
        let mut all = Vec::new();
        for link in &self.after.links {
            let is_new = |it: &&link::Transfer| it.number >= self.next_transfer;
            all.extend(link.transfers.iter().filter(is_new).map(|transfer| Drawn {
                link: link.id,
                number: transfer.number,
                message: transfer.message(),
                friend: transfer.friend,
            }));
        }
        all.sort_by_key(|drawn| drawn.number);
        all.into()
    }

    /// Hands over what the tower has handed over. How many attempts can be seen, and whether others may have failed.
    fn hand_over(&mut self, most: usize) -> (usize, bool) {
        let (mut attempts, mut was_stuck) = (0, self.may_be_stuck());
        for drawn in self.drawn() {
            if attempts == most {
                break;
            }
            let recipient = self.recipient(&drawn);
            match drawn.message {
                Some(key) => {
                    while !self.is_head(key) {
                        self.rotate();
                        attempts += 1;
                    }
                    let number = self.queue[0];
                    let max = self.peer(recipient).unwrap().max_message;
                    assert!(self.len(number) <= max as usize, "it is too long for its recipient");
                    self.check_drawable(recipient);
                    self.known[number].key = Some(key);
                    self.assign(recipient, Cargo::Message(number), Some(&drawn));
                    self.queue.remove(0);
                    let mut messages = self.messages.iter_mut();
                    let message = messages.find(|message| message.number == number).unwrap();
                    message.place = Place::InFlight(recipient);
                }
                // One that is not proved and can't take the message is tried without it. Else it is a heartbeat.
                None => {
                    let max = self.peer(recipient).unwrap().max_message as usize;
                    let fits = self.queue.first().is_none_or(|head| self.len(*head) <= max);
                    let is_tick = most < usize::MAX;
                    let has_beaten = is_tick && self.is_quiet() && self.waits_alike();
                    if self.is_alive(recipient) || fits || has_beaten {
                        break;
                    }
                    self.check_drawable(recipient);
                    self.rotate();
                    self.assign(recipient, Cargo::Announce, Some(&drawn));
                }
            }
            attempts += 1;
            was_stuck |= self.may_be_stuck();
        }
        for _ in 0..self.queue.len() {
            if self.waits_alike() {
                break;
            }
            self.rotate();
            attempts += 1;
        }
        // Whoever found no link free has asked an idle one to go.
        let evicted = self.after.links.iter().find(|after| {
            let is_open = self.link(after.id).is_some_and(|link| link.state == State::Open);
            is_open && after.state == State::Closing && after.sent == 0
        });
        if evicted.is_some() && was_stuck && self.phase != Phase::Parting {
            self.make_room(1);
        }
        (attempts, was_stuck)
    }

    fn check_drawable(&self, recipient: Key) {
        let drawable = self.drawable();
        assert!(drawable.contains(&recipient), "{recipient} was drawn, not one of {drawable:?}");
    }

    fn recipient(&self, drawn: &Drawn) -> Key {
        let link = self.after.links.iter().find(|link| link.id == drawn.link).unwrap();
        let peer = link.peer.unwrap();
        self.ids.iter().find(|(id, _)| *id == peer).unwrap().1
    }

    /// Whether an attempt may fail now and leave no trace but the order of the queue.
    fn may_be_stuck(&self) -> bool {
        let Some(head) = self.queue.first() else { return false };
        let is_full = self.free_links() == 0;
        self.drawable().into_iter().any(|key| {
            self.len(*head) > self.peer(key).unwrap().max_message as usize
                || is_full && self.standing_link(key).is_none()
        })
    }

    fn standing_link(&self, key: Key) -> Option<LinkId> {
        let link = self.link(self.peer(key)?.link?)?;
        Some(link.id).filter(|_| link.state != State::Closing)
    }

    fn is_head(&self, key: MessageKey) -> bool {
        let head = *self.queue.first().expect("it handed over what did not wait");
        self.is_named(head, key)
    }

    /// Whether a key is that of a message. One that nobody has heard of belongs to a message that came in this step, and there may be several.
    fn is_named(&self, number: Number, key: MessageKey) -> bool {
        let known = &self.known[number];
        let is_alike = |held: &Held| {
            held.key == key
                && held.message.kind() == known.kind
                && *held.message.body() == known.body
                && known.nonce.is_none_or(|nonce| nonce == held.nonce)
        };
        match known.key {
            Some(known) => known == key,
            None => {
                self.after.messages.iter().any(is_alike)
                    && !self.known.iter().any(|other| other.key == Some(key))
            }
        }
    }

    /// The head was too long for who was drawn.
    fn rotate(&mut self) {
        let head = self.queue.remove(0);
        let len = self.len(head);
        let is_too_short = |peer: &super::Peer| len > peer.max_message as usize;
        assert!(self.peers.iter().any(is_too_short), "the queue was turned without a reason");
        self.queue.push(head);
    }

    /// Whether the messages wait in the same order as those of the tower.
    fn waits_alike(&self) -> bool {
        let waiting = &self.after.waiting;
        waiting.len() == self.queue.len()
            && self.queue.iter().zip(waiting).all(|(number, key)| self.is_named(*number, *key))
    }

    /// Gives something to the link of a peer.
    pub(super) fn assign(&mut self, key: Key, cargo: Cargo, drawn: Option<&Drawn>) -> bool {
        let Some(id) = self.link_to(key) else { return false };
        self.last_sent = Some(self.now);
        let number = self.next_transfer;
        self.next_transfer += 1;
        let friend = match drawn {
            Some(drawn) => {
                assert_eq!((drawn.link, drawn.number), (id, number));
                self.check_friend(drawn.friend, key);
                drawn.friend
            }
            None => {
                let mut all = self.after.links.iter().flat_map(|link| &link.transfers);
                let friend = all.find(|transfer| transfer.number == number).map(|it| it.friend);
                // What is given to a link and taken back in one step leaves no trace.
                if let Some(friend) = friend {
                    self.check_friend(friend, key);
                }
                friend.flatten()
            }
        };
        let at = self.now;
        let transfer = Transfer { number, is_retry: false, cargo, friend, at, is_sent: false };
        self.link_mut(id).unwrap().transfers.push(transfer);
        true
    }

    /// The address of a friend, if there is nothing against naming it now.
    fn alive_at(&self, friend: PeerId) -> Option<Address> {
        let friend = self.peers.iter().find(|peer| peer.id == friend)?;
        (friend.status == Status::Alive).then(|| friend.address.clone())
    }

    /// A friend is alive and not the recipient, and there is one whenever there can be.
    fn check_friend(&self, friend: Option<PeerId>, recipient: Key) {
        let friends = self.peers.iter().filter(|peer| self.is_alive(peer.key));
        let mut friends = friends.filter(|peer| peer.key != recipient).map(|peer| peer.id);
        match friend {
            Some(friend) => assert!(friends.any(|id| id == friend), "{friend:?} is no friend"),
            None => assert_eq!(friends.next(), None, "a friend could have been named"),
        }
    }

    pub(super) fn announce_if_due(&mut self, id: LinkId, key: Key) {
        let Some(peer) = self.peer(key) else { return };
        let is_its = peer.announce_due && peer.link == Some(id);
        let waits = self.link(id).is_some_and(|link| {
            link.transfers.iter().any(|it| !it.is_sent && it.cargo == Cargo::Announce)
        });
        if is_its && !waits {
            self.assign(key, Cargo::Announce, None);
        }
    }

    fn advance_shutdown(&mut self) {
        if matches!(self.phase, Phase::Draining { .. }) {
            let is_drained = self.messages.len() == self.open_offers();
            let has_nobody = self.links.is_empty()
                && self.haunted == 0
                && self.peers.iter().all(|peer| self.is_ignored(peer.key));
            if is_drained || has_nobody {
                self.part_from_all();
            }
        }
        if self.phase == Phase::Parting && self.links.is_empty() {
            self.phase = Phase::Done;
            // There is always room for that.
            self.told.push_back(super::Told::ShutDown(self.messages.len()));
        }
    }

    fn part_from_all(&mut self) {
        (self.phase, self.retry_at) = (Phase::Parting, None);
        let all: Vec<_> = self.links.iter().map(|link| (link.id, link.state)).collect();
        for (id, state) in all {
            match state {
                State::Connecting | State::Greeting => {
                    let abort = Some(CloseMode::Abort);
                    self.end(id, CloseReason::Shutdown, super::links::Doubt::NotTaken, abort);
                }
                _ => self.part(id, CloseReason::Shutdown, Farewell::Leaving),
            }
        }
    }

    /// Takes the next frame of a link off its lists: hello, answers, transfers as far as the window allows, goodbye.
    pub(in super::super) fn next_outgoing(&mut self, id: LinkId) -> Option<Outgoing> {
        let now = self.now;
        let link = self.link_mut(id).filter(|link| link.state != State::Connecting)?;
        if core::mem::take(&mut link.hello_due) {
            return Some(Outgoing::Hello);
        }
        if let Some(answer) = link.answers.pop_front() {
            let transfer = answer.transfer;
            return Some(match answer.outcome {
                Outcome::Taken => Outgoing::Confirmed { through: transfer },
                Outcome::Refused(reason) => Outgoing::Refused { transfer, reason },
                #[cfg(feature = "http")]
                Outcome::Malformed => panic!("the model speaks the native dialect"),
            });
        }
        let (is_open, granted) = (link.state == State::Open, link.granted);
        let transfers = link.transfers.clone();
        let (sent, unsent): (Vec<Transfer>, Vec<Transfer>) =
            transfers.into_iter().partition(|it| it.is_sent);
        let sent_bytes = sent.iter().map(|it| self.cargo_len(it.cargo)).sum();
        if let Some(next) = unsent.first().filter(|_| is_open)
            && admits(granted, sent.len(), sent_bytes, self.cargo_len(next.cargo))
        {
            let link = self.link_mut(id).unwrap();
            let transfer = link.transfers.iter_mut().find(|it| !it.is_sent).unwrap();
            (transfer.is_sent, transfer.at) = (true, now);
            let Transfer { number: transfer, is_retry, cargo, friend, .. } = *transfer;
            let friend = friend.and_then(|friend| self.alive_at(friend));
            return Some(match cargo {
                Cargo::Message(number) => Outgoing::Message { transfer, is_retry, number, friend },
                Cargo::Announce => Outgoing::Announce { transfer, friend },
            });
        }
        self.link_mut(id).unwrap().farewell_due.take().map(Outgoing::Goodbye)
    }

    /// Bytes went out on a link, and the last frame among them is cut or not.
    pub(in super::super) fn transmitted(&mut self, id: LinkId, partial: Option<&Outgoing>) {
        let now = self.now;
        if let Some(link) = self.link_mut(id) {
            link.used = now;
            link.partial = partial.map(|outgoing| match outgoing {
                Outgoing::Message { number, .. } => Some(*number),
                _ => None,
            });
        }
    }
}
