//! Messages: where they come from, where they are, and where they go.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::frames::Fate;
use super::{Content, Input, Observer, Step, View, find, is, offer, recipient};
use crate::{
    Address, DefaultVerdict, HeldMessage, Instant, LinkId, MessageId, MessageState, Screening,
    SendRate, Status, Verdict,
};

/// A message under screening.
pub(super) struct Offer {
    pub(super) link: LinkId,
    transfer: u64,
    pub(super) from: Option<Address>,
    pub(super) at: Instant,
    pub(super) was_shown: bool,
}

/// A copy that came in while the message was in flight. If it is taken, the message stays when it
/// is confirmed.
pub(super) struct Copied {
    content: Content,
    link: LinkId,
    transfer: u64,
    was_confirmed: bool,
    /// The message may have been back in the queue since, and then stands for both.
    may_be_merged: bool,
}

impl Observer {
    pub(super) fn check_messages(&mut self, step: &mut Step, old: &View, new: &View) {
        self.note_shared_nonces(step, old);
        self.check_ends(step, old, new);
        self.check_holds(step, old, new);
        let appeared = self.check_appeared(step, old, new);
        if let Input::Link(link) = step.input {
            self.judge_arrivals(step, link, &appeared, old, new);
        }
        self.note_returned(step, old, new);
        self.check_delivered(step, old, new);
        self.check_offers(step, old, new);
        self.check_places(old, new);
    }

    /// Nothing is held that did not come in. Equal copies coalesce. Returns the messages that are
    /// new.
    fn check_appeared(&mut self, step: &mut Step, old: &View, new: &View) -> Vec<MessageId> {
        let is_certain = !matches!(step.input, Input::Link(_));
        let mut appeared = Vec::new();
        for (id, held) in &new.held {
            if let Some(before) = old.held.get(id) {
                assert_eq!((before.nonce, &before.message), (held.nonce, &held.message));
                continue;
            }
            let content = (held.nonce, held.message.clone());
            let was_used = self.contents.insert(*id, content.clone()).is_some();
            assert!(!was_used, "{id:?} is used again");
            if let Some(place) = step.entering.iter().position(|entering| *entering == content) {
                step.entering.swap_remove(place);
            } else {
                let replacement = step.replacement.take();
                assert_eq!(replacement.as_ref(), Some(&held.message), "a message from nowhere");
            }
            appeared.push(*id);
        }
        assert!(step.replacement.is_none(), "a replacement is not held");
        assert!(!is_certain || step.entering.is_empty(), "an enqueued message is not held");
        for held in new.held.values().filter(|held| offer(held).is_none()) {
            let count = new.copies(&(held.nonce, held.message.clone())).count();
            assert!(count == 1 || self.shared_nonces.contains(&held.nonce), "two copies: {held:?}");
        }
        appeared
    }

    /// Notes which names different messages have at one time.
    fn note_shared_nonces(&mut self, step: &Step, old: &View) {
        let held = old.held.values().map(|held| (held.nonce, &held.message));
        let entering = step.entering.iter().map(|(nonce, message)| (*nonce, message));
        let mut named = BTreeMap::new();
        for (nonce, message) in held.chain(entering) {
            if named.insert(nonce, message).is_some_and(|other| other != message) {
                self.shared_nonces.insert(nonce);
            }
        }
    }

    /// Finds out which of the transfers that have just come in were taken.
    fn judge_arrivals(
        &mut self,
        step: &Step,
        id: LinkId,
        appeared: &[MessageId],
        old: &View,
        new: &View,
    ) {
        let Some(link) = self.links.iter().position(|link| link.id == id) else { return };
        let peer = new.peer_of(id).or(old.peer_of(id));
        let arrivals = self.links[link].unanswered.iter().enumerate();
        let arrivals = arrivals.filter(|(_, arrival)| arrival.fate == Fate::New);
        let places: Vec<_> = arrivals.map(|(place, _)| place).collect();
        for place in &places {
            let arrival = &self.links[link].unanswered[*place];
            let (transfer, is_retry) = (arrival.transfer, arrival.is_retry);
            let name = arrival.name;
            let fate = match arrival.content.clone() {
                _ if arrival.is_from_ignored || !step.was_running || self.config.is_guest => {
                    Fate::NotTaken
                }
                // A guest is not learned.
                None if self.links[link].hello.is_some_and(|hello| hello.is_guest) => {
                    Fate::NotTaken
                }
                None => Fate::Taken,
                Some(content) => {
                    let is_equal = |id: &&MessageId| is(&new.held[*id], &content);
                    let entered: Vec<_> = appeared.iter().filter(is_equal).collect();
                    let unanswered = &self.links[link].unanswered;
                    let is_copy = |it: &&usize| unanswered[**it].content.as_ref() == Some(&content);
                    let came = places.iter().filter(is_copy).count();
                    let must_recognise = is_retry && self.must_recognise(name, id);
                    if must_recognise && came == 1 {
                        assert!(entered.is_empty(), "a retry is taken twice");
                        Fate::Taken
                    } else if came == entered.len() && came == 1 {
                        match offer(&new.held[entered[0]]) {
                            Some(_) => self.on_offered(*entered[0], id, transfer, peer),
                            None => Fate::Taken,
                        }
                    } else if entered.len() == came {
                        Fate::Taken
                    } else if new.copies(&content).next().is_some() {
                        let is_away = old.copies(&content).next().is_some()
                            && old.copies(&content).all(|held| recipient(held).is_some());
                        if is_away {
                            self.copied.push(Copied {
                                content,
                                link: id,
                                transfer,
                                was_confirmed: false,
                                may_be_merged: false,
                            });
                        }
                        Fate::Unknown
                    } else if is_retry && self.maybe_taken.contains(&name) {
                        Fate::Unknown
                    } else {
                        // From this fill on, a peer's share may be used up.
                        let percent = usize::from(self.config.fair_share_from);
                        let share = |whole: usize| whole * percent / 100;
                        let bytes = held_bytes(old) + content.1.len();
                        let is_full = old.held.len() >= share(self.config.max_queue_messages)
                            || bytes > share(self.config.max_queue_bytes);
                        let is_excused = is_full
                            || !self.is_drained
                            || step.frames > 1
                            || self.config.screening != Screening::Off;
                        assert!(is_excused, "{content:?} is refused, and there is room");
                        Fate::NotTaken
                    }
                }
            };
            if matches!(fate, Fate::Taken | Fate::Unknown | Fate::Offered(_)) {
                self.maybe_taken.insert(name);
            }
            self.links[link].unanswered[*place].fate = fate;
        }
    }

    fn on_offered(
        &mut self,
        id: MessageId,
        link: LinkId,
        transfer: u64,
        from: Option<&Address>,
    ) -> Fate {
        let (from, at) = (from.cloned(), self.now);
        self.offers.insert(id, Offer { link, transfer, from, at, was_shown: false });
        Fate::Offered(id)
    }

    /// Notes which messages in flight may have been back in the queue meanwhile.
    fn note_returned(&mut self, step: &Step, old: &View, new: &View) {
        for copied in &mut self.copied {
            let mut to = old.copies(&copied.content).filter_map(recipient);
            let is_disturbed = to.any(|to| step.closed.contains(to));
            let mut copies = new.copies(&copied.content);
            let has_moved = copies.any(|held| {
                old.held.get(&held.id).is_some_and(|before| before.state != held.state)
            });
            copied.may_be_merged |=
                is_disturbed || has_moved || step.refused.contains(&copied.content);
        }
    }

    /// A message leaves only when a peer has confirmed it, or when its time is over.
    fn check_delivered(&mut self, step: &mut Step, old: &View, new: &View) {
        let gone = old.held.values().filter(|held| !new.held.contains_key(&held.id));
        let mut confirmed = Vec::new();
        for held in gone.filter(|held| offer(held).is_none()) {
            let content = (held.nonce, held.message.clone());
            let place = step.confirmed.iter().position(|it| {
                it.content.as_ref() == Some(&content) && Some(&it.to) == recipient(held)
            });
            if let Some(place) = place {
                confirmed.push((held, content, step.confirmed.swap_remove(place)));
            } else {
                self.check_expired(held, &content);
            }
        }
        for (held, content, confirmation) in confirmed {
            // A copy that came in meanwhile was kept, and has expired at once.
            let has_expired = self.tower.stats().expired > self.expired;
            let is_copied = self.copied.iter().any(|copied| copied.content == content);
            if has_expired && is_copied {
                self.check_expired(held, &content);
                self.kept = self.kept.map(|kept| kept + 1);
                self.told.expect_delivery(confirmation, true);
                continue;
            }
            if new.copies(&content).next().is_none() {
                self.forget_copies(&content);
            }
            self.delivered += 1;
            self.told.expect_delivery(confirmation, false);
        }
        self.check_kept(step);
        // A message in the queue stands for all its copies.
        self.copied.retain(|copied| {
            let mut copies = new.copies(&copied.content);
            !copies.any(|held| held.state == MessageState::Waiting)
        });
    }

    /// A message that is gone without a confirmation has expired.
    fn check_expired(&mut self, held: &HeldMessage, content: &Content) {
        assert!(self.may_end(held), "{held:?} is lost");
        self.copied.retain(|copied| copied.content != *content);
        self.expired += 1;
        self.told.expect_end(held.id, held.message.len());
    }

    /// A message stays when it is confirmed only if a copy of it was taken meanwhile.
    fn check_kept(&mut self, step: &mut Step) {
        for confirmation in core::mem::take(&mut step.confirmed) {
            if let Some(content) = &confirmation.content {
                let is_copied = self.copied.iter().any(|copied| copied.content == *content);
                let may_stay = is_copied || self.shared_nonces.contains(&content.0);
                assert!(may_stay || !confirmation.is_certain, "{content:?} is still held");
                self.kept[0] += u64::from(confirmation.is_certain);
                self.kept[1] += 1;
                self.copied.retain(|copied| copied.content != *content);
            }
            self.told.expect_delivery(confirmation, true);
        }
    }

    /// A message has left, and no copy is held: the copies that came in were refused.
    fn forget_copies(&mut self, content: &Content) {
        let Self { copied, links, shared_nonces, .. } = self;
        copied.retain(|copied| {
            let is_it = copied.content == *content;
            if is_it && !copied.may_be_merged && !shared_nonces.contains(&content.0) {
                assert!(!copied.was_confirmed, "a copy of {content:?} is lost");
                let link = links.iter_mut().find(|link| link.id == copied.link);
                let mut arrivals = link.into_iter().flat_map(|link| &mut link.unanswered);
                if let Some(arrival) = arrivals.find(|it| it.transfer == copied.transfer) {
                    arrival.fate = Fate::NotTaken;
                }
            }
            !is_it
        });
    }

    /// Notes that the tower has answered a message that came in.
    pub(super) fn on_answered(&mut self, link: LinkId, transfer: u64, is_confirmed: bool) {
        let mut copied = self.copied.iter_mut();
        if let Some(copied) = copied.find(|it| (it.link, it.transfer) == (link, transfer)) {
            copied.was_confirmed = is_confirmed;
        }
        if !is_confirmed {
            self.copied.retain(|it| (it.link, it.transfer) != (link, transfer));
        }
    }

    /// A message under screening leaves it by a verdict, in time, or with its link.
    fn check_offers(&mut self, step: &Step, old: &View, new: &View) {
        let Screening::On { timeout, default, .. } = self.config.screening else { return };
        let default = match default {
            DefaultVerdict::Accept => Verdict::ACCEPT,
            DefaultVerdict::Reject => Verdict::Reject,
        };
        for held in old.held.values().filter(|held| offer(held).is_some()) {
            let id = held.id;
            let Offer { link, transfer, at, .. } = &self.offers[&id];
            let (link, transfer, is_due) = (*link, *transfer, *at + timeout <= self.now);
            let is_closing = new.is_closing(link);
            let verdict = match &step.input {
                Input::Decide(decided, verdict) if *decided == id => Some(verdict),
                Input::Timer if is_due => Some(&default),
                _ => None,
            };
            let content = (held.nonce, held.message.clone());
            let after = new.held.get(&id);
            let fate = match (after.map(|after| offer(after).is_some()), verdict) {
                (Some(true), None) => {
                    assert!(!is_closing, "an offer of a link that is closed");
                    continue;
                }
                (Some(false), Some(Verdict::Accept { .. })) => Fate::Taken,
                (None, Some(_)) if is_closing && step.input == Input::Timer => {
                    // The default verdict may have come before the end of the link, and the end of
                    // the message after it.
                    if self.may_end(held) && self.tower.stats().expired > self.expired {
                        self.expired += 1;
                        self.told.expect_end(id, held.message.len());
                    }
                    Fate::Unknown
                }
                (None, Some(Verdict::Accept { .. })) => {
                    if new.copies(&content).next().is_none() {
                        assert!(self.may_end(held), "an accepted message is lost");
                        self.expired += 1;
                        self.told.expect_end(id, held.message.len());
                    }
                    Fate::Taken
                }
                (None, Some(Verdict::Swallow | Verdict::Replace(_))) => Fate::Taken,
                (None, Some(Verdict::Reject)) => Fate::Rejected,
                (None, None) => {
                    assert!(is_closing, "an offer is gone without a verdict");
                    Fate::NotTaken
                }
                (after, verdict) => panic!("{verdict:?} on {held:?}: {after:?}"),
            };
            self.offers.remove(&id);
            let record = self.links.iter_mut().find(|record| record.id == link);
            let mut arrivals = record.into_iter().flat_map(|record| &mut record.unanswered);
            if let Some(arrival) = arrivals.find(|arrival| arrival.transfer == transfer) {
                arrival.fate = fate;
            }
        }
    }

    /// Each message is in one place, and only peers that may have it get it.
    fn check_places(&mut self, old: &View, new: &View) {
        let mut departed = 0;
        for held in new.held.values() {
            let MessageState::InFlight { to } = &held.state else { continue };
            let to = to.as_ref().expect("a peer that is known");
            let status = new.status(to).expect("a peer that is known");
            assert_ne!(status, Status::Ignored, "{held:?}");
            let mut links = new.links.values().filter(|link| link.peer.as_ref() == Some(to));
            let has_link = links.clone().any(|link| !link.is_closing || !self.is_running);
            assert!(has_link, "{held:?} is on no link");
            let was_there = old.held.get(&held.id).is_some_and(|it| recipient(it) == Some(to));
            if was_there {
                continue;
            }
            departed += 1;
            assert!(self.may_draw(to), "{to} is left alone, and gets {held:?}");
            let count = new.in_flight_to(to);
            let is_leaving = links.any(|link| link.is_closing);
            if status == Status::Alive {
                let window = usize::from(self.config.window.messages);
                assert!(is_leaving || count <= window, "more than a window is in flight to {to}");
            } else {
                assert!(is_leaving || count == 1, "{status} {to} gets {count} messages");
                let mut probed: Vec<_> = new.held.values().filter_map(recipient).collect();
                probed.sort();
                probed.dedup();
                probed.retain(|peer| new.status(peer) != Some(Status::Alive));
                assert!(probed.len() <= self.config.max_probes, "{probed:?} are tried at a time");
            }
        }
        if let SendRate::Every(period) = self.config.send_rate
            && self.is_running
        {
            self.departed += u128::from(departed);
            let ticks = u128::from(self.now.as_nanos()) / period.as_nanos() + 1;
            let is_paced = departed <= self.config.burst && self.departed <= ticks;
            assert!(is_paced, "{} messages on {ticks} ticks, {departed} now", self.departed);
        }
        // What is sent and not answered is in flight, once for each transfer.
        for link in self.links.iter().filter(|link| !new.is_closing(link.id)) {
            let Some(to) = new.peer_of(link.id) else { continue };
            for content in link.unconfirmed.iter().filter_map(|sent| sent.content.as_ref()) {
                let same = |it: &&super::frames::Unconfirmed| it.content.as_ref() == Some(content);
                let sent = link.unconfirmed.iter().filter(same).count();
                let held = new.copies(content).filter(|held| recipient(held) == Some(to)).count();
                assert!(held >= sent, "{content:?} is sent to {to}, and not in flight");
            }
        }
    }

    /// Checks that all that may be sent was sent, after the driver has done all that it was asked
    /// for.
    pub(in super::super) fn check_all_sent(&mut self) {
        for link in 0..self.links.len() {
            let link = &self.links[link];
            let (id, is_aborted) = (link.id, link.is_aborted);
            if link.is_known && !is_aborted {
                assert_eq!(
                    self.transmit(id, 1000),
                    0,
                    "the driver was not asked to send on {id:?}"
                );
            }
            let Some(to) = self.view.peer_of(id).filter(|_| !self.view.is_closing(id)) else {
                continue;
            };
            let link = find(&mut self.links, id);
            let Some(granted) = link.hello.map(|hello| hello.window) else { continue };
            let on_link = |held: &&HeldMessage| recipient(held) == Some(to);
            let waiting = self.view.held.values().filter(on_link).count();
            let same_peer = |other: &&super::Link| self.view.peer_of(other.id) == Some(to);
            let mut others = self.links.iter().filter(same_peer).filter(|other| other.id != id);
            if others.next().is_some() {
                continue;
            }
            let link = self.links.iter().find(|link| link.id == id).unwrap();
            let sent = link.unconfirmed.iter().filter(|it| it.content.is_some()).count();
            let is_full = link.is_near_full(granted.min(self.config.window));
            assert!(waiting == sent || is_full, "{waiting} messages to {to}, {sent} are sent");
        }
    }
}

pub(super) fn held_bytes(view: &View) -> usize {
    view.held.values().map(|held| held.message.len()).sum()
}
