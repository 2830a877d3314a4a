//! Lifetimes: a message ends in time, and its remaining lifetime only becomes shorter on its way.

use core::time::Duration;

use super::{Content, Input, Observer, Step, View, end, find, is, offer, recipient};
use crate::{HeldMessage, Instant, Lifetime, LinkId};

/// The least by which a tower shortens the lifetime of a message.
const LEAST_PER_HOP: Duration = Duration::from_millis(1);

impl Observer {
    /// Returns when a message ends that comes now with a lifetime.
    pub(super) fn end_of(&self, lifetime: Lifetime, now: Instant) -> Instant {
        let times = [lifetime.duration(), self.config.max_lifetime];
        let shortest = times.into_iter().flatten().min();
        shortest.map_or(Instant::FAR_FUTURE, |time| now + time)
    }

    /// Returns the earliest and the latest end of a message of the application that names no
    /// lifetime.
    pub(super) fn drawn_ends(&self, now: Instant) -> [Instant; 2] {
        match self.config.lifetime {
            None => [Instant::FAR_FUTURE; 2],
            Some(lifetime) => [now + lifetime / 2, now + lifetime],
        }
    }

    /// Returns whether a message may be dropped now: it is over, or would be over at a peer.
    pub(super) fn may_end(&self, held: &HeldMessage) -> bool {
        end(held) <= self.now + LEAST_PER_HOP
    }

    /// The end of a message follows from its lifetime. A copy can only postpone it.
    pub(super) fn check_ends(&mut self, step: &Step, old: &View, new: &View) {
        let decided = match step.input {
            Input::Decide(id, _) => old.held.get(&id),
            _ => None,
        };
        for held in new.held.values() {
            let content = (held.nonce, held.message.clone());
            let mut copies = step.ends.iter().filter(|(copy, _)| *copy == content);
            let is_end_of_copy = copies.any(|(_, at)| *at == end(held));
            match old.held.get(&held.id) {
                Some(before) => {
                    let is_end_of_offer = decided
                        .is_some_and(|offered| is(offered, &content) && end(offered) == end(held));
                    let is_later = end(held) > end(before);
                    let may_change = is_later && (is_end_of_copy || is_end_of_offer);
                    assert!(end(held) == end(before) || may_change, "{before:?} becomes {held:?}");
                }
                None if is_end_of_copy => {}
                None => {
                    let [first, last] = step.drawn_ends.expect("a message of the application");
                    assert!((first..=last).contains(&end(held)), "{held:?} ends at another time");
                }
            }
        }
        // The copy that was taken for a held message counts.
        let coalesced = self.tower.stats().coalesced;
        let copy = match (&step.ends[..], decided) {
            ([(content, at)], _) => Some((content.clone(), *at)),
            (_, Some(offered)) => Some(((offered.nonce, offered.message.clone()), end(offered))),
            _ => None,
        };
        if let Some((content, at)) = copy.filter(|_| coalesced == self.coalesced + 1) {
            let mut held = new.copies(&content).map(end).peekable();
            let is_gone = held.peek().is_none();
            assert!(is_gone || held.any(|end| end >= at), "a copy of {content:?} lives longer");
        }
        self.coalesced = coalesced;
        // No message is handed over that would be over at the peer.
        for held in new.held.values().filter(|held| recipient(held).is_some()) {
            let before = old.held.get(&held.id);
            let has_departed = before.is_none_or(|before| recipient(before) != recipient(held));
            assert!(!has_departed || !self.may_end(held), "{held:?} departs, and its time is over");
        }
    }

    /// Checks the remaining lifetime of a message that the tower sends now.
    pub(super) fn check_lifetime(&mut self, id: LinkId, content: &Content, sent: Lifetime) {
        let now = self.now;
        let to = self.view.peer_of(id);
        // The tower estimates the time on the link by a part of the time that it has observed.
        let longest = now.duration_since(find(&mut self.links, id).began) / 2;
        let is_right = |end: Instant| {
            if end == Instant::FAR_FUTURE {
                return sent == Lifetime::UNLIMITED;
            }
            let rest = |less: Duration| {
                let left = end.duration_since(now).saturating_sub(less);
                Lifetime::new(left)
            };
            (rest(longest.max(LEAST_PER_HOP))..=rest(LEAST_PER_HOP)).contains(&sent)
        };
        let mut held = self.view.held.values().filter(|held| offer(held).is_none());
        let is_held =
            held.any(|held| is(held, content) && recipient(held) == to && is_right(end(held)));
        assert!(is_held, "{content:?} is sent with the lifetime {sent:?} at {now}");
    }
}
