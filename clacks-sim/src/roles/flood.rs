//! Floods: towers that enqueue messages of their own without end.

use clacks_proto::{Instant, Message, Tower};

use super::{Behaviour, Schedule, Setup};

/// Enqueues messages at a rate. The tower needs a send rate that lets them out.
#[derive(Debug)]
pub(super) struct Flood {
    schedule: Schedule,
    message: Message,
}

impl Flood {
    pub(super) fn new(setup: &Setup, rate: f64, size: usize) -> Self {
        let message = Message::bytes(&vec![0xF1; size]);
        Self { schedule: Schedule::new(setup.window, rate), message }
    }
}

impl Behaviour for Flood {
    fn next_wakeup(&self) -> Option<Instant> {
        self.schedule.next()
    }

    fn on_timer(&mut self, tower: &mut Tower, now: Instant) {
        while self.schedule.is_due(now) {
            // A full queue takes no more.
            let _refused = tower.enqueue(self.message.clone(), now);
        }
    }
}
