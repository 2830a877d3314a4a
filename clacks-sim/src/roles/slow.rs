//! Slow towers: they answer late.

use std::collections::VecDeque;
use std::time::Duration;

use clacks_proto::{Instant, LinkId, Tower};

use super::wrapper::Input;
use super::{Behaviour, Setup, Window};

/// Handles everything that arrives after a delay, but not later than the end of the role.
#[derive(Debug)]
pub(super) struct Slow {
    window: Window,
    delay: Duration,
    held: VecDeque<(Instant, LinkId, Input)>,
}

impl Slow {
    pub(super) fn new(setup: &Setup, delay: Duration) -> Self {
        Self { window: setup.window, delay, held: VecDeque::new() }
    }

    /// Holds an input back, or returns true.
    fn passes(&mut self, link: LinkId, input: impl FnOnce() -> Input, now: Instant) -> bool {
        // What was held back must not be overtaken.
        let passes = !self.window.contains(now) && self.held.is_empty();
        if !passes {
            let due = (now + self.delay).min(self.window.until.max(now));
            self.held.push_back((due, link, input()));
        }
        passes
    }
}

impl Behaviour for Slow {
    fn on_bytes(&mut self, _: &Tower, link: LinkId, bytes: &[u8], now: Instant) -> bool {
        self.passes(link, || Input::Bytes(bytes.to_vec()), now)
    }

    fn on_finished(&mut self, link: LinkId, now: Instant) -> bool {
        self.passes(link, || Input::Finished, now)
    }

    fn on_end(&mut self, link: LinkId) {
        self.held.retain(|(_, other, _)| *other != link);
    }

    fn next_wakeup(&self) -> Option<Instant> {
        self.held.front().map(|(due, ..)| *due)
    }

    fn poll_input(&mut self, now: Instant) -> Option<(LinkId, Input)> {
        if self.next_wakeup()? > now {
            return None;
        }
        self.held.pop_front().map(|(_, link, input)| (link, input))
    }
}
