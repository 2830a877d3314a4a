//! Holds: a message rests for as long as its application asks, and is not sent meanwhile.

use core::time::Duration;

use super::{Input, Observer, Step, View, end};
use crate::{HeldMessage, Instant, MessageState, Verdict};

/// Above this share of the queue, in per cent, each input may end one hold early.
const ENDS_ABOVE: u8 = 90;

/// How full a queue may be: a number of messages, and a number of bytes.
#[derive(Clone, Copy)]
struct Fill {
    messages: usize,
    bytes: usize,
}

impl Observer {
    /// A message rests if its application asked for it and the queue has room. The hold ends in
    /// time, or when the tower leaves. If the queue is nearly full, the first hold ends early.
    pub(super) fn check_holds(&mut self, step: &Step, old: &View, new: &View) {
        let mut ended_early = None;
        for (id, until) in core::mem::take(&mut self.holds) {
            if new.held.get(&id).is_some_and(rests) {
                self.holds.insert(id, until);
            } else if self.is_running && self.now < until {
                assert!(ended_early.is_none(), "two holds end early: {id:?}");
                ended_early = Some(until);
            }
        }
        if let Some(ended) = ended_early {
            assert!(self.is_fuller_than(ENDS_ABOVE, self.most_fill(old, new)), "a hold ends early");
            let first = self.holds.values().min();
            assert!(first.is_none_or(|until| ended <= *until), "a hold ends before an earlier one");
        }
        for held in new.held.values() {
            if self.holds.contains_key(&held.id) {
                continue;
            }
            let asked = match &step.input {
                Input::Decide(id, Verdict::Accept { hold }) if *id == held.id => *hold,
                _ if !old.held.contains_key(&held.id) => step.hold,
                _ => Duration::ZERO,
            };
            let limit = self.config.hold_below;
            let may_rest = !asked.is_zero() && limit > 0 && step.was_running;
            let [least, most] = [fill(old, step.len, 0), self.fill_before(old, step.len)];
            if rests(held) {
                assert!(may_rest, "{held:?} rests unasked");
                assert!(!self.is_fuller_than(limit, least), "{held:?} rests in a full queue");
                self.holds.insert(held.id, (self.now + asked).min(end(held)));
            } else if may_rest {
                assert!(self.is_fuller_than(limit, most), "{held:?} does not rest");
            }
        }
        assert!(self.is_running || self.holds.is_empty(), "a message rests at a tower that leaves");
        assert_eq!(self.tower.queue_usage().at_rest, self.holds.len());
    }

    /// Checks that no hold is over after all timers up to now have fired.
    pub(super) fn check_holds_overdue(&self, now: Instant) {
        assert!(self.holds.values().all(|until| *until > now), "a hold is over");
    }

    fn is_fuller_than(&self, percent: u8, fill: Fill) -> bool {
        let share = |whole: usize| whole * usize::from(percent) / 100;
        fill.messages > share(self.config.max_queue_messages)
            || fill.bytes > share(self.config.max_queue_bytes)
    }

    /// Returns how full the queue may have been with a message of `len` bytes that has just come.
    fn fill_before(&self, old: &View, len: Option<usize>) -> Fill {
        fill(old, len, self.told.most_unpolled_bytes())
    }

    /// Returns how full the queue may have been during an input.
    fn most_fill(&self, old: &View, new: &View) -> Fill {
        let Fill { messages, bytes } = self.fill_before(old, None);
        let came = || new.held.iter().filter(|(id, _)| !old.held.contains_key(id));
        let came_bytes: usize = came().map(|(_, held)| held.message.len()).sum();
        Fill { messages: messages + came().count(), bytes: bytes + came_bytes }
    }
}

fn rests(held: &HeldMessage) -> bool {
    held.state == MessageState::Held
}

fn fill(view: &View, len: Option<usize>, others: usize) -> Fill {
    Fill {
        messages: view.held.len() + usize::from(len.is_some()),
        bytes: super::messages::held_bytes(view) + len.unwrap_or(0) + others,
    }
}
