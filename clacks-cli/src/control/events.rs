//! The recent events of a tower, numbered, for any number of subscribers.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use clacks_proto::{Message, Notice};
use event_listener::{Event, Listener};

use crate::output::{Entry, Output};

/// The maximum number of recent events (guess: some seconds of a busy tower).
const CAPACITY: usize = 4_096;

/// The maximum number of bytes of message bodies in the recent events. The value is a guess. A
/// single event may exceed it.
const CAPACITY_BYTES: usize = 8 * 1024 * 1024;

/// A ring of the recent events. A subscriber is a position in it, so a slow one costs nothing: it
/// loses the events that have left the ring, and receives a [`Notice::Missed`] with their number.
#[derive(Debug, Default)]
pub(crate) struct Events {
    ring: Mutex<Ring>,
    changed: Event,
}

#[derive(Debug, Default)]
struct Ring {
    entries: VecDeque<Arc<Entry>>,
    /// The bytes of the bodies in the entries.
    bytes: usize,
    /// The number of the last event. The first event has the number 1.
    last: u64,
    is_closed: bool,
}

impl Events {
    /// Adds an event. Returns its entry.
    pub(crate) fn push(&self, output: Output) -> Arc<Entry> {
        let mut ring = self.lock();
        ring.last += 1;
        let entry = Arc::new(Entry::now(output, ring.last));
        ring.bytes += body_len(&entry);
        ring.entries.push_back(entry.clone());
        while ring.entries.len() > CAPACITY || ring.bytes > CAPACITY_BYTES && ring.entries.len() > 1
        {
            let Some(oldest) = ring.entries.pop_front() else { break };
            ring.bytes -= body_len(&oldest);
        }
        drop(ring);
        self.changed.notify(usize::MAX);
        entry
    }

    /// Ends all subscriptions, once they have returned the events up to now.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify(usize::MAX);
    }

    /// Returns the number of the last event.
    pub(crate) fn last(&self) -> u64 {
        self.lock().last
    }

    /// Returns a subscription to the events after the one with a number. `None` means from now on.
    pub(crate) fn subscribe(self: &Arc<Self>, after: Option<u64>) -> Subscription {
        let last = self.last();
        // A number from another run of the tower may lie ahead.
        let position = after.map_or(last, |after| after.min(last));
        Subscription { events: self.clone(), position }
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    /// Returns the event after a position. Returns a [`Notice::Missed`] if that event has left the
    /// ring.
    fn after(&self, position: u64) -> Option<Arc<Entry>> {
        let first = self.last + 1 - self.entries.len() as u64;
        if position + 1 < first {
            let missed = Notice::Missed { count: first - 1 - position };
            return Some(Arc::new(Entry::now(Output::Notice(missed), first - 1)));
        }
        let index = usize::try_from(position + 1 - first).ok()?;
        self.entries.get(index).cloned()
    }
}

fn body_len(entry: &Entry) -> usize {
    match &entry.output {
        Output::Notice(notice) => notice.message().map_or(0, Message::len),
        _ => 0,
    }
}

/// A reader of events.
#[derive(Debug)]
pub(crate) struct Subscription {
    events: Arc<Events>,
    /// The number of the last event that was returned or missed.
    position: u64,
}

impl Subscription {
    /// Returns the number of the last event that was returned or missed.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Returns the next event without waiting. `Err` means that no more will come.
    pub(crate) fn try_next(&mut self) -> Result<Option<Arc<Entry>>, Ended> {
        let ring = self.events.lock();
        match ring.after(self.position) {
            Some(entry) => {
                self.position = entry.seq;
                Ok(Some(entry))
            }
            None if ring.is_closed => Err(Ended),
            None => Ok(None),
        }
    }

    /// Waits for the next event. Returns `None` after the end of the tower. No event is lost if the
    /// future is dropped.
    pub(crate) async fn next(&mut self) -> Option<Arc<Entry>> {
        loop {
            let changed = self.events.clone();
            // Listen before the check, so that no notification is missed.
            let listener = changed.changed.listen();
            match self.try_next() {
                Ok(Some(entry)) => return Some(entry),
                Ok(None) => listener.await,
                Err(Ended) => return None,
            }
        }
    }

    /// Blocks until the next event, but no longer than to `deadline`. Returns `Ok(None)` then.
    #[allow(dead_code, reason = "for fronts on threads")]
    pub(crate) fn next_deadline(&mut self, deadline: Instant) -> Result<Option<Arc<Entry>>, Ended> {
        loop {
            let changed = self.events.clone();
            let listener = changed.changed.listen();
            match self.try_next()? {
                Some(entry) => return Ok(Some(entry)),
                None if listener.wait_deadline(deadline).is_none() => return self.try_next(),
                None => {}
            }
        }
    }
}

/// The tower has ended, and all events are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended;

#[cfg(test)]
mod tests {
    use super::*;

    fn number(entry: &Entry) -> (u64, Option<u64>) {
        match entry.output {
            Output::Notice(Notice::Missed { count }) => (entry.seq, Some(count)),
            _ => (entry.seq, None),
        }
    }

    #[test]
    fn a_slow_subscriber_loses_the_oldest_events_and_receives_their_number() {
        let events = Arc::new(Events::default());
        let mut subscription = events.subscribe(None);
        let extra = 5;
        for n in 0..CAPACITY + extra {
            events.push(Output::error(n.to_string()));
        }
        assert_eq!(events.lock().entries.len(), CAPACITY);
        let first = subscription.try_next().unwrap().unwrap();
        assert_eq!(number(&first), (extra as u64, Some(extra as u64)));
        for n in 1..=CAPACITY {
            let entry = subscription.try_next().unwrap().unwrap();
            assert_eq!(number(&entry), ((extra + n) as u64, None));
        }
        assert!(subscription.try_next().unwrap().is_none());
        events.close();
        assert_eq!(subscription.try_next().unwrap_err(), Ended);
    }

    #[test]
    fn bodies_are_bounded_and_the_last_event_stays() {
        let events = Arc::new(Events::default());
        let mut subscription = events.subscribe(None);
        let body = "x".repeat(CAPACITY_BYTES / 2 + 1);
        for _ in 0..3 {
            let notice = serde_json::json!({
                "event": "message_expired", "id": [0, 1], "nonce": "0".repeat(32),
                "message": {"kind": "text", "body": body},
            });
            events.push(Output::Notice(serde_json::from_value(notice).unwrap()));
        }
        assert_eq!(events.lock().entries.len(), 1);
        assert_eq!(number(&subscription.try_next().unwrap().unwrap()), (2, Some(2)));
        assert_eq!(number(&subscription.try_next().unwrap().unwrap()), (3, None));
    }

    #[test]
    fn a_subscription_begins_after_any_recent_event() {
        let events = Arc::new(Events::default());
        for _ in 0..3 {
            events.push(Output::error(""));
        }
        let first = |after| {
            let entry = events.subscribe(after).try_next().unwrap();
            entry.map(|entry| number(&entry))
        };
        assert_eq!(first(Some(0)), Some((1, None)));
        assert_eq!(first(Some(2)), Some((3, None)));
        assert_eq!(first(None), None);
        assert_eq!(first(Some(99)), None);
        assert_eq!(events.last(), 3);
    }
}
