//! Slow towers: they send everything late.

use std::collections::VecDeque;
use std::time::Duration;

use clacks_proto::{Action, Instant};

use super::{Behaviour, Setup, Window};

/// Sends frames, answers included, after a delay.
#[derive(Debug)]
pub(super) struct Slow {
    window: Window,
    delay: Duration,
    withheld: VecDeque<(Instant, Action)>,
}

impl Slow {
    pub(super) fn new(setup: &Setup, delay: Duration) -> Self {
        Self { window: setup.window, delay, withheld: VecDeque::new() }
    }
}

impl Behaviour for Slow {
    fn on_action(&mut self, action: Action, now: Instant) -> Option<Action> {
        let Action::Send { .. } = action else { return Some(action) };
        if !self.window.contains(now) {
            return Some(action);
        }
        self.withheld.push_back((now + self.delay, action));
        None
    }

    fn poll_action(&mut self, now: Instant) -> Option<Action> {
        if self.next_wakeup()? > now {
            return None;
        }
        self.withheld.pop_front().map(|(_, action)| action)
    }

    fn next_wakeup(&self) -> Option<Instant> {
        self.withheld.front().map(|(due, _)| *due)
    }
}
