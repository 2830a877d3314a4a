//! The tower beside its model.

use alloc::vec::Vec;

use super::{Cargo, Departed, Key, Model, Number, Phase, Place, Told};
use crate::actions::{Actions, message_of};
use crate::link::{Direction, State};
use crate::reason::CloseReason;
use crate::time::Instant;
use crate::wire::{Attempt, MAX_HEAD};
use crate::{
    Action, CloseMode, MessageKey, Notice, Report, ShutdownProgress, StateMachine, Tower,
    WakeupReason,
};

impl Model {
    /// Everything that can be looked at is the same, and in its bounds.
    pub(super) fn compare(&mut self, tower: &Tower) {
        self.compare_waiting(tower);
        self.compare_peers(tower);
        self.compare_links();
        self.compare_places(tower);
        self.check_readable();
        self.check_bounds(tower);
        self.check_wakeup(tower);
        assert_eq!(*tower.stats(), self.stats);
        assert_eq!(self.after.next_transfer, self.next_transfer);
        assert_eq!(self.after.pending, (self.told.len(), self.screens.len()));
        let progress = match self.phase {
            Phase::Running => ShutdownProgress::Running,
            Phase::Done if !self.has_actions() => ShutdownProgress::Done,
            _ => ShutdownProgress::Draining,
        };
        assert_eq!(tower.shutdown_progress(), progress);
    }

    /// Whatever a notice that waits speaks of is still here, or has left and can be read.
    fn check_readable(&self) {
        for told in &self.told {
            let (Told::Received(_, number) | Told::Queued(number, _) | Told::Delivered(_, number)) =
                *told
            else {
                continue;
            };
            let can_be_read = |it: &Departed| it.number == number && it.may_be_spoken_of;
            let is_there = self.message(number).is_some();
            assert!(is_there || self.departed.iter().any(can_be_read), "{told:?}");
        }
    }

    /// Law 7, the queue: the same messages wait in the same order.
    fn compare_waiting(&mut self, tower: &Tower) {
        assert_eq!(self.after.waiting.len(), self.queue.len(), "messages that wait");
        for (number, key) in self.queue.clone().into_iter().zip(self.after.waiting.clone()) {
            self.compare_message(tower, number, key);
        }
    }

    fn compare_message(&mut self, tower: &Tower, number: Number, key: MessageKey) {
        let (nonce, message) = tower.message(key).expect("it is here");
        assert!(self.known[number].nonce.is_some() || self.is_unused(nonce), "{nonce:?} twice");
        let known = &mut self.known[number];
        assert_eq!(*known.nonce.get_or_insert(nonce), nonce);
        assert_eq!((known.kind, &known.body), (message.kind(), message.body()));
        assert_eq!(*known.key.get_or_insert(key), key);
    }

    /// The status of each peer, and since when, as the table of the design has it.
    fn compare_peers(&self, tower: &Tower) {
        let seen: Vec<_> = tower
            .survey()
            .map(|peer| (peer.id, peer.address.clone(), peer.status, peer.since))
            .collect();
        let mut expected: Vec<_> = self
            .peers
            .iter()
            .map(|peer| (peer.id, peer.address.clone(), peer.status, peer.since))
            .collect();
        expected.sort_by_key(|peer| peer.0);
        assert_eq!(seen, expected);
        let standing = tower.standing();
        let count = |status| {
            u32::try_from(self.peers.iter().filter(|peer| peer.status == status).count()).unwrap()
        };
        use crate::Status::{Alive, Dead, Ignored, Lost, New};
        assert_eq!(
            [standing.new, standing.alive, standing.lost, standing.dead, standing.ignored],
            [New, Alive, Lost, Dead, Ignored].map(count)
        );
    }

    fn compare_links(&mut self) {
        let ids: Vec<_> = self.after.links.iter().map(|link| link.id).collect();
        let expected: Vec<_> = self.links.iter().map(|link| link.id).collect();
        assert_eq!(ids, expected, "links");
        assert_eq!(self.after.places, self.links.len() + self.haunted);
        for (after, link) in self.after.links.iter().zip(&self.links) {
            let direction = if link.is_inbound { Direction::Inbound } else { Direction::Outbound };
            assert_eq!((after.state, after.direction), (link.state, direction), "{:?}", link.id);
            assert_eq!(after.peer, link.peer.map(|key| self.id_of(key)), "{:?}", link.id);
            let sent = link.transfers.iter().filter(|it| it.is_sent).count();
            assert_eq!((after.transfers.len(), after.sent), (link.transfers.len(), sent));
            for (after, transfer) in after.transfers.iter().zip(&link.transfers) {
                let is_retry = after.attempt == Attempt::Retry;
                let (number, at) = (transfer.number, transfer.at);
                assert_eq!((after.number, is_retry), (number, transfer.is_retry));
                assert_eq!(after.sent, at);
                let key = match transfer.cargo {
                    Cargo::Message(number) => self.known[number].key,
                    Cargo::Announce => None,
                };
                assert_eq!(after.message(), key);
            }
        }
    }

    /// Law 7: each message is in exactly one place, and what is in flight is on exactly one link to whom it is in flight.
    fn compare_places(&mut self, tower: &Tower) {
        let offers: Vec<_> = self
            .links
            .iter()
            .zip(&self.after.links)
            .flat_map(|(link, after)| {
                let undecided = link.undecided.iter().filter(|it| it.outcome.is_none());
                let offered: Vec<_> = undecided.filter_map(|it| it.offer).collect();
                assert_eq!(offered.len(), after.offers.len());
                assert_eq!(offered.len(), self.offered_on(link.id));
                offered.into_iter().zip(after.offers.clone())
            })
            .collect();
        for (number, key) in offers {
            self.compare_message(tower, number, key);
        }
        let here = self.messages.iter().map(|message| message.number);
        let keys: Vec<_> = here.filter_map(|it| Some((it, self.known[it].key?))).collect();
        for (number, key) in keys {
            self.compare_message(tower, number, key);
        }
        for held in tower.peek() {
            let is_it = |number: Number| self.known[number].key == Some(held.key);
            let mut messages = self.messages.iter().filter(|message| is_it(message.number));
            let message = messages.next().expect("nobody knows of this message");
            let place = (held.in_flight, held.offer.is_some());
            match message.place {
                Place::Waiting => {
                    assert_eq!(place, (None, false));
                    let times = self.queue.iter().filter(|number| **number == message.number);
                    assert_eq!(times.count(), 1);
                }
                Place::InFlight(key) => {
                    assert_eq!(place, (Some(self.id_of(key)), false));
                    let is_on = |link: &&super::Link| {
                        let cargo = Cargo::Message(message.number);
                        link.transfers.iter().any(|transfer| transfer.cargo == cargo)
                    };
                    let links: Vec<_> = self.links.iter().filter(is_on).collect();
                    assert_eq!(links.len(), 1, "in flight on one link");
                    assert_eq!(links[0].peer, Some(key));
                }
                Place::Offered { .. } => assert_eq!(place, (None, true)),
            }
        }
        let bytes = self.messages.iter().map(|message| self.len(message.number)).sum();
        assert_eq!(tower.held(), (self.messages.len(), bytes));
        assert_eq!(tower.waiting(), self.queue.len());
        assert_eq!(tower.offers(), self.open_offers());
        let (slots, all_bytes) = self.taken_room();
        assert_eq!(self.after.slots, (slots, all_bytes - bytes));
    }

    /// Law 8.
    fn check_bounds(&self, tower: &Tower) {
        let config = &self.config;
        let (messages, bytes) = self.after.slots;
        assert!(messages <= config.max_queue_messages);
        assert!(tower.held().1 + bytes <= config.max_queue_bytes);
        assert!(self.after.places <= config.max_links && self.peers.len() <= config.max_peers);
        let is_half_open = |link: &&super::Link| link.is_inbound && link.state == State::Greeting;
        assert!(self.links.iter().filter(is_half_open).count() <= config.max_half_open);
        // One more: the end of a shutdown is told in any case.
        assert!(self.after.pending.0 <= config.max_pending_notices + 1);
        assert!(self.after.pending.1 <= self.max_offers() && tower.offers() <= self.max_offers());
        let window = usize::from(config.window.messages);
        for link in &self.after.links {
            assert!(usize::from(link.actions) <= Actions::PER_LINK, "{link:?}");
            // What the formula for the memory of a tower counts on.
            assert!(link.transfers.len() <= 2 * window + 4, "{link:?}");
            let (answers, decoder) = link.held;
            assert!(answers <= window + 4, "{link:?}");
            assert!(decoder <= MAX_HEAD + config.max_message, "{link:?}");
        }
        self.check_recalled(tower);
        assert!(self.after.offer_deadlines <= 2 * self.max_offers(), "deadlines of offers");
    }

    /// Whether the driver has something to poll.
    fn has_actions(&self) -> bool {
        !self.told.is_empty()
            || self.missed > 0
            || !self.screens.is_empty()
            || self.after.links.iter().any(|link| link.actions > 0)
            || self.haunted > 0
    }

    /// What was taken from a peer is remembered, and of what came before that no more than two windows.
    fn check_recalled(&self, tower: &Tower) {
        for peer in &self.peers {
            let entries = peer.taken.iter().flat_map(|(_, entries)| entries);
            let numbers: Vec<_> = entries.map(|entry| entry.0).collect();
            assert!(numbers.len() <= 2 * usize::from(self.config.window.messages));
            let newest = self.newest_taken;
            for number in newest.saturating_sub(32)..=newest {
                let is_known = tower.remembers(peer.id, number);
                assert_eq!(is_known, numbers.contains(&number), "{number} of {:?}", peer.id);
            }
        }
    }

    /// Laws 4 and 6: while actions wait the wake-up is now, and else no later than what is due first.
    fn check_wakeup(&self, tower: &Tower) {
        let wakeup = tower.next_wakeup();
        let says_so = wakeup.is_some_and(|wakeup| wakeup.why == WakeupReason::Actions);
        assert_eq!(says_so, self.has_actions(), "actions wait: {wakeup:?}");
        if says_so {
            assert_eq!(wakeup.map(|wakeup| wakeup.at), Some(self.now));
            return;
        }
        if let Some(first) = self.first_deadline() {
            let at = wakeup.map(|wakeup| wakeup.at);
            let links = self.links.iter().filter(|link| self.deadline(link) == first);
            let links: Vec<_> = links.collect();
            assert!(at.is_some_and(|at| at <= first), "{wakeup:?}, and {first} is due: {links:?}");
        }
    }

    /// When something happens of which the driver must tell.
    fn first_deadline(&self) -> Option<Instant> {
        let is_running = self.phase == Phase::Running;
        let links = self.links.iter().filter(|link| link.state != State::Closing || !link.is_urged);
        let links = links.map(|link| self.deadline(link));
        let rests = self.peers.iter().filter_map(|peer| peer.rests_until);
        let offers = self.messages.iter().filter_map(|message| match message.place {
            Place::Offered { until, .. } => Some(until),
            _ => None,
        });
        let tick = Some(self.tick).filter(|_| is_running && self.wants_ticks && self.period > 0);
        let heartbeat = self.config.heartbeat.filter(|_| is_running).map(|_| self.heartbeat_at);
        let shutdown = match self.phase {
            Phase::Draining { until } => Some(until),
            _ => None,
        };
        let others = [tick, heartbeat, shutdown, self.retry_at].into_iter().flatten();
        links.chain(rests).chain(offers).chain(others).min()
    }

    /// An action was polled. It must be one that is to be asked for; a notice must be the next one of those that are to be told.
    pub(in super::super) fn polled(&mut self, tower: &Tower, action: Option<Action>) {
        self.forget_polled();
        self.check_screens(tower, action);
        match action {
            Some(Action::Notify(notice)) => self.check_notice(tower, notice),
            Some(Action::Connect { link, peer }) => {
                let link = self.link(link).expect("nobody dials a link that has ended");
                assert!(!link.is_inbound);
                assert_eq!(Some(peer), link.peer.map(|key| self.id_of(key)), "{link:?}");
            }
            Some(Action::Close { link, how, why }) => {
                let link = self.link_mut(link).expect("nobody closes a link that has ended");
                let first = link.close.filter(|_| link.closes == 0);
                let again = (CloseMode::Abort, CloseReason::Truncated);
                let is_urged = link.is_urged && link.closes == 1;
                let expected = first.or_else(|| is_urged.then_some(again));
                assert_eq!(Some((how, why)), expected, "{link:?}");
                link.closes += 1;
            }
            Some(Action::Send { .. } | Action::Screen { .. }) => {}
            None => {
                assert!(self.told.is_empty() && self.missed == 0, "there is something to tell");
                for link in &self.links {
                    let expected = u8::from(link.close.is_some()) + u8::from(link.is_urged);
                    assert_eq!(link.closes, expected, "it was asked to close: {link:?}");
                }
            }
        }
    }

    /// Offers are shown in their order, except for those that are decided already.
    fn check_screens(&mut self, tower: &Tower, action: Option<Action>) {
        let left = tower.inside().pending.1;
        let mut gone = self.screens.len() - left;
        if let Some(Action::Screen { offer, from }) = action {
            gone -= 1;
            let (number, sender) = self.screens[gone];
            assert_eq!(self.known[number].key, Some(offer.0));
            assert_eq!(from, sender.map(|key| self.id_of(key)));
            assert!(self.is_offered(number), "there is nothing to decide");
        }
        assert!(action.is_some() || left == 0, "an offer was not shown");
        let skipped: Vec<_> = self.screens.drain(..gone).collect();
        for (number, _) in skipped {
            assert!(!self.is_offered(number), "an offer was passed over");
        }
        if let Some(Action::Screen { .. }) = action {
            self.screens.pop_front();
        }
    }

    fn is_offered(&self, number: Number) -> bool {
        let message = self.message(number);
        message.is_some_and(|message| matches!(message.place, Place::Offered { .. }))
    }

    fn check_notice(&mut self, tower: &Tower, notice: Notice) {
        if let Notice::Missed { count } = notice
            && self.told.is_empty()
        {
            assert_eq!(count, core::mem::take(&mut self.missed));
            assert_eq!(tower.report(notice), Some(Report::Missed { count }));
            return;
        }
        let told = self.told.pop_front().expect("there is nothing to tell");
        for departed in &mut self.departed {
            departed.notices = departed.notices.saturating_sub(1);
        }
        self.check_told(tower, told, notice);
        assert_eq!(tower.report(notice), self.report(tower, told, notice));
        if let Told::Received(_, number) | Told::Queued(number, _) | Told::Delivered(_, number) =
            told
        {
            let key = message_of(&notice).expect("a notice of a message");
            self.compare_message(tower, number, key);
        }
    }

    /// What is told, spelled out.
    fn report(&self, tower: &Tower, told: Told, notice: Notice) -> Option<Report> {
        let at = |key: Key| self.peer(key).map(|peer| peer.address.clone());
        let nonce = |number: Number| self.known[number].nonce.unwrap();
        Some(match told {
            Told::Discovered(key) => Report::TowerDiscovered { tower: at(key)? },
            Told::Status(key, from, to) => Report::StatusChanged { tower: at(key)?, from, to },
            Told::Forgotten(_) => return None,
            Told::Received(from, number) => Report::MessageReceived {
                from: from.and_then(at),
                nonce: nonce(number),
                message: tower.message(message_of(&notice)?)?.1,
            },
            Told::Queued(number, origin) => Report::MessageQueued { nonce: nonce(number), origin },
            Told::Delivered(key, number) => {
                Report::MessageDelivered { to: at(key)?, nonce: nonce(number) }
            }
            Told::Announced(key) => Report::Announced { to: at(key)? },
            Told::Closed(_, peer, why) => Report::LinkClosed { tower: peer.and_then(at), why },
            Told::Missed(count) => Report::Missed { count },
            Told::ShutDown(left) => Report::ShutDown { left },
        })
    }

    fn check_told(&self, tower: &Tower, told: Told, notice: Notice) {
        let message = message_of(&notice);
        let named = |number: Number| {
            let (nonce, _) = tower.message(message?)?;
            (self.known[number].nonce == Some(nonce)).then_some(message?)
        };
        let nothing = "the message that a notice speaks of can't be read";
        let expected = match told {
            Told::Discovered(key) => Notice::TowerDiscovered { peer: self.id_of(key) },
            Told::Status(key, from, to) => {
                Notice::StatusChanged { peer: self.id_of(key), from, to }
            }
            Told::Forgotten(peer) => Notice::TowerForgotten { peer },
            Told::Received(from, number) => Notice::MessageReceived {
                from: from.map(|key| self.id_of(key)),
                message: named(number).expect(nothing),
            },
            Told::Queued(number, origin) => {
                Notice::MessageQueued { message: named(number).expect(nothing), origin }
            }
            Told::Delivered(key, number) => Notice::MessageDelivered {
                to: self.id_of(key),
                message: named(number).expect(nothing),
            },
            Told::Announced(key) => Notice::Announced { to: self.id_of(key) },
            Told::Closed(link, peer, why) => {
                Notice::LinkClosed { link, peer: peer.map(|key| self.id_of(key)), why }
            }
            Told::Missed(count) => Notice::Missed { count },
            Told::ShutDown(left) => Notice::ShutDown { left },
        };
        assert_eq!(notice, expected);
    }
}
