//! The state of the tower as server-sent events, made once for all open pages.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use clacks_proto::{Address, Message, Notice, Origin, Status};
use event_listener::Event;
use hyper::body::Bytes;
use serde::Serialize;
use smol::Timer;
use smol::channel::{self, Receiver, Sender};

use crate::control::{ControlledTower, Request, Subscription, is_actionable};
use crate::output::{Entry, Output, SurveyedPeer, rfc3339};

/// The maximum number of open pages.
pub(super) const MAX_READERS: usize = 16;

/// The time between two states.
const INTERVAL: Duration = Duration::from_millis(500);

/// The maximum number of states that wait for a reader. A reader with more is dropped. The value is
/// a guess: some seconds.
const MAX_WAITING: usize = 16;

/// The maximum number of towers in a state. A page with more cannot be read.
const MAX_TOWERS: usize = 200;

/// The maximum number of events in a state. Older ones are counted.
const MAX_EVENTS: usize = 50;

/// The maximum number of events that are taken in for a state. The value is a guess.
const MAX_COLLECTED: usize = 8_192;

/// The state of a tower, and what has happened since the state before.
#[derive(Debug, Serialize)]
struct State<'a> {
    /// The answer to `status`.
    status: &'a Entry,
    /// The towers of the answer to `survey`.
    towers: &'a [SurveyedPeer],
    /// The number of further towers.
    towers_left_out: usize,
    /// The messages exchanged with each tower.
    traffic: &'a BTreeMap<Address, Traffic>,
    events: &'a VecDeque<Line>,
    /// The number of earlier events.
    events_left_out: u64,
}

/// Messages exchanged with a tower.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct Traffic {
    received: u64,
    delivered: u64,
}

/// An event for people, without bodies of messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Line {
    seq: u64,
    #[serde(with = "rfc3339")]
    time: SystemTime,
    event: &'static str,
    tower: Option<Address>,
    detail: String,
}

/// What has happened since the last state.
#[derive(Debug, Default)]
struct News {
    traffic: BTreeMap<Address, Traffic>,
    events: VecDeque<Line>,
    left_out: u64,
}

/// Sends the state to all readers.
pub(super) struct Feed {
    control: Arc<ControlledTower>,
    readers: RefCell<Vec<Sender<Bytes>>>,
    /// Notified when a reader arrives.
    arrived: Event,
    /// The number of the last event that all readers have received.
    since: Cell<u64>,
    is_closed: Cell<bool>,
    was_opened: Arc<AtomicBool>,
}

impl Feed {
    /// Returns a feed without readers. It sets `was_opened` when the first one arrives.
    pub(super) fn new(control: Arc<ControlledTower>, was_opened: Arc<AtomicBool>) -> Self {
        let (readers, arrived) = (RefCell::default(), Event::new());
        Self {
            control,
            readers,
            arrived,
            since: Cell::default(),
            is_closed: Cell::new(false),
            was_opened,
        }
    }

    /// Returns the number of readers.
    pub(super) fn readers(&self) -> usize {
        let mut readers = self.readers.borrow_mut();
        readers.retain(|reader| !reader.is_closed());
        readers.len()
    }

    /// Adds a reader. The history, the state and the last events come first. Returns `None` if
    /// there are too many readers.
    pub(super) fn subscribe(&self) -> Option<Receiver<Bytes>> {
        let readers = self.readers();
        if readers >= MAX_READERS || self.is_closed.get() {
            return None;
        }
        let (sender, receiver) = channel::bounded(MAX_WAITING);
        let history = self.control.carry_out(Request::History);
        let mut news = News::default();
        let before = history.seq.saturating_sub(MAX_EVENTS as u64);
        let mut recent = self.control.subscribe(Some(before));
        // The next state of all readers has the later events.
        news.collect(&mut recent, if readers == 0 { u64::MAX } else { self.since.get() });
        if readers == 0 {
            self.since.set(recent.position());
        }
        // They were counted by earlier states.
        news.traffic.clear();
        for first in [frame("history", history.seq, &history), self.state(&news)] {
            // There is room for both.
            let _ = sender.try_send(first);
        }
        self.readers.borrow_mut().push(sender);
        self.arrived.notify(1);
        self.was_opened.store(true, Ordering::Relaxed);
        Some(receiver)
    }

    /// Sends states as long as there are readers. Never returns.
    pub(super) async fn run(&self) {
        loop {
            let arrived = self.arrived.listen();
            if self.readers() == 0 {
                arrived.await;
            }
            let mut events = self.control.subscribe(Some(self.since.get()));
            while self.readers() > 0 {
                Timer::after(INTERVAL).await;
                let mut news = News::default();
                news.collect(&mut events, u64::MAX);
                self.since.set(events.position());
                let state = self.state(&news);
                // A reader that is full is too slow. One that is closed is gone.
                let mut readers = self.readers.borrow_mut();
                readers.retain(|reader| reader.try_send(state.clone()).is_ok());
            }
        }
    }

    /// Drops all readers, and takes no more.
    pub(super) fn close(&self) {
        self.is_closed.set(true);
        self.readers.borrow_mut().clear();
    }

    fn state(&self, news: &News) -> Bytes {
        let (status, survey) = self.control.overview();
        let (towers, towers_left_out) = most_important(survey);
        let state = State {
            status: &status,
            towers: &towers,
            towers_left_out,
            traffic: &news.traffic,
            events: &news.events,
            events_left_out: news.left_out,
        };
        frame("state", status.seq, &state)
    }
}

/// Returns a server-sent event.
fn frame(event: &str, id: u64, data: &impl Serialize) -> Bytes {
    match serde_json::to_string(data) {
        Ok(data) => format!("id: {id}\nevent: {event}\ndata: {data}\n\n").into(),
        Err(error) => {
            tracing::error!("the state of the tower cannot be serialized: {error}");
            Bytes::from_static(b": nothing\n\n")
        }
    }
}

/// Returns the towers that a person wants to see first, by address, and the number of others.
fn most_important(mut towers: Vec<SurveyedPeer>) -> (Vec<SurveyedPeer>, usize) {
    let left_out = towers.len().saturating_sub(MAX_TOWERS);
    if left_out > 0 {
        towers.sort_by_key(|tower| match tower.peer.status {
            Status::Alive => 0,
            Status::Lost => 1,
            Status::New => 2,
            Status::Dead => 3,
            _ => 4,
        });
        towers.truncate(MAX_TOWERS);
    }
    towers.sort_by(|one, other| one.peer.address.cmp(&other.peer.address));
    (towers, left_out)
}

impl News {
    /// Takes in the events up to the one with the number `last`, or up to now. If the tower is very
    /// busy, takes in as many as are kept.
    fn collect(&mut self, events: &mut Subscription, last: u64) {
        for _ in 0..MAX_COLLECTED {
            if events.position() >= last {
                return;
            }
            let Ok(Some(entry)) = events.try_next() else { return };
            self.take_in(&entry);
        }
    }

    fn take_in(&mut self, entry: &Entry) {
        let Some((event, tower, detail)) = describe(&entry.output) else { return };
        if let Some(tower) = tower {
            let is_known = self.traffic.contains_key(tower);
            if matches!(event, "received" | "delivered")
                && (is_known || self.traffic.len() < MAX_TOWERS)
            {
                let traffic = self.traffic.entry(tower.clone()).or_default();
                match event {
                    "received" => traffic.received += 1,
                    _ => traffic.delivered += 1,
                }
            }
        }
        if self.events.len() == MAX_EVENTS {
            self.events.pop_front();
            self.left_out += 1;
        }
        let (seq, time, tower) = (entry.seq, entry.time, tower.cloned());
        self.events.push_back(Line { seq, time, event, tower, detail });
    }
}

/// Returns a word, the tower and a detail of an event that a person wants to see.
fn describe(output: &Output) -> Option<(&'static str, Option<&Address>, String)> {
    let size = |message: &Message| format!("{}, {} bytes", message.kind(), message.len());
    let Output::Notice(notice) = output else {
        return match output {
            Output::Listening { address, .. } => Some(("listening", Some(address), String::new())),
            Output::ShuttingDown { messages, .. } => {
                Some(("leaving", None, format!("hands over {messages} messages")))
            }
            _ => None,
        };
    };
    Some(match notice {
        Notice::MessageReceived { message, from, again, .. } => {
            let again = if *again { ", again" } else { "" };
            ("received", from.as_ref(), format!("{}{again}", size(message)))
        }
        Notice::MessageDelivered { message, to, .. } => ("delivered", Some(to), size(message)),
        Notice::MessageExpired { message, .. } => ("expired", None, size(message)),
        Notice::MessageQueued { origin: Origin::Local, .. } => ("enqueued", None, String::new()),
        Notice::MessageQueued { origin: Origin::Returned, .. } => {
            ("returned", None, "a peer did not take the message".into())
        }
        Notice::TowerDiscovered { peer } => ("discovered", Some(peer), String::new()),
        Notice::TowerForgotten { peer } => ("forgotten", Some(peer), String::new()),
        Notice::StatusChanged { peer, from, to, reason, .. } => {
            (to.as_str(), Some(peer), format!("was {from}: {reason}"))
        }
        Notice::Announced { to } => ("announced", Some(to), String::new()),
        Notice::KeyChanged { peer, .. } => {
            ("stranger", Some(peer), "another key than before".into())
        }
        Notice::LinkClosed { peer, reason, .. } if is_actionable(*reason) => {
            ("closed", peer.as_ref(), reason.to_string())
        }
        Notice::Missed { count } => ("missed", None, format!("{count} events")),
        Notice::ShutDown { left } => ("gone", None, format!("{left} messages left")),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn entry(seq: u64, notice: serde_json::Value) -> Entry {
        Entry::now(Output::Notice(serde_json::from_value(notice).unwrap()), seq)
    }

    fn received(seq: u64, from: &str) -> Entry {
        let message = json!({"kind": "text", "body": "secret"});
        entry(
            seq,
            json!({
                "event": "message_received", "id": [0, 1], "nonce": "0".repeat(32),
                "message": message, "from": from, "again": false, "coalesced": false,
            }),
        )
    }

    #[test]
    fn bodies_are_not_in_the_news_and_traffic_is_counted() {
        let mut news = News::default();
        for seq in 0..3 {
            news.take_in(&received(seq, "a:1"));
        }
        let lines = serde_json::to_string(&news.events).unwrap();
        assert!(lines.contains("text, 6 bytes") && !lines.contains("secret"), "{lines}");
        let traffic = Traffic { received: 3, delivered: 0 };
        assert_eq!(news.traffic, BTreeMap::from([("a:1".parse().unwrap(), traffic)]));
    }

    #[test]
    fn the_news_are_bounded() {
        let mut news = News::default();
        for seq in 0..1_000 {
            news.take_in(&received(seq, &format!("a:{}", seq + 1)));
        }
        assert_eq!((news.events.len(), news.traffic.len()), (MAX_EVENTS, MAX_TOWERS));
        assert_eq!(news.left_out, 1_000 - MAX_EVENTS as u64);
        assert_eq!(news.events.back().unwrap().seq, 999);
    }

    #[test]
    fn alive_towers_come_before_others() {
        let tower = |n: usize, status| {
            serde_json::from_value::<SurveyedPeer>(json!({
                "id": [0, 1], "address": format!("a:{n}"), "status": status, "since": 0,
                "fingerprint": null, "dialect": null, "since_ms": 0,
            }))
        };
        let mut towers: Vec<_> = (1..=MAX_TOWERS + 5).map(|n| tower(n, "dead").unwrap()).collect();
        towers.push(tower(9_999, "alive").unwrap());
        let (towers, left_out) = most_important(towers);
        assert_eq!((towers.len(), left_out), (MAX_TOWERS, 6));
        assert!(towers.iter().any(|tower| tower.peer.status == Status::Alive));
    }
}
