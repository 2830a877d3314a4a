//! State machines that record what their driver does. Shared by the tests of all runtimes.

use bytes::BufMut;
use clacks_proto::{Action, Event, Instant, LinkId, Refusal, StateMachine, Tower, Wakeup};
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a [`Witness`] has seen of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) connected: u32,
    pub(crate) received: usize,
    pub(crate) sent: usize,
    pub(crate) finished: u32,
    pub(crate) terminal: u32,
}

/// What a [`Witness`] has seen of each link.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record(Arc<Mutex<HashMap<LinkId, Seen>>>);

impl Record {
    /// Returns what was seen of all links.
    pub(crate) fn links(&self) -> Vec<Seen> {
        self.0.lock().unwrap().values().copied().collect()
    }

    /// Returns whether a condition holds for any link.
    pub(crate) fn any(&self, condition: impl Fn(&Seen) -> bool) -> bool {
        self.links().iter().any(condition)
    }

    fn note(&self, link: LinkId, note: impl FnOnce(&mut Seen)) {
        note(self.0.lock().unwrap().entry(link).or_default());
    }

    fn sent(&self, link: LinkId) -> usize {
        self.0.lock().unwrap().get(&link).map_or(0, |seen| seen.sent)
    }
}

/// The length of the pattern that a flooding tower sends.
const PATTERN: usize = 251;

/// The byte that a flooding tower sends at a position of a link's stream, after its hello.
pub(crate) fn pattern(position: usize) -> u8 {
    u8::try_from(position % PATTERN).unwrap()
}

/// A tower that records what its driver tells it.
///
/// If it floods, it sends an endless pattern on each inbound link. It then takes its time for each
/// chunk of these links, so that they always have more work for the driver than it can do.
pub(crate) struct Witness {
    tower: Tower,
    record: Record,
    floods: bool,
    flooded: HashSet<LinkId>,
    patterns: Vec<u8>,
}

impl Witness {
    pub(crate) fn new(tower: Tower) -> (Self, Record) {
        Self::build(tower, false)
    }

    pub(crate) fn flooding(tower: Tower) -> (Self, Record) {
        Self::build(tower, true)
    }

    fn build(tower: Tower, floods: bool) -> (Self, Record) {
        let record = Record::default();
        let (flooded, patterns) = (HashSet::new(), (0..1 << 16).map(pattern).collect());
        (Self { tower, record: record.clone(), floods, flooded, patterns }, record)
    }

    fn take_time(&self, link: LinkId) {
        if self.flooded.contains(&link) {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

impl StateMachine for Witness {
    fn accept(&mut self, from: IpAddr, now: Instant) -> Result<LinkId, Refusal> {
        let link = self.tower.accept(from, now)?;
        self.record.note(link, |seen| seen.connected += 1);
        if self.floods {
            self.flooded.insert(link);
        }
        Ok(link)
    }

    fn handle(&mut self, event: Event<'_>, now: Instant) {
        match event {
            Event::Connected { link } => self.record.note(link, |seen| seen.connected += 1),
            Event::BytesArrived { link, bytes } => {
                self.record.note(link, |seen| seen.received += bytes.len());
                self.take_time(link);
            }
            Event::Finished { link } => self.record.note(link, |seen| seen.finished += 1),
            Event::ConnectFailed { link, .. }
            | Event::Lost { link, .. }
            | Event::Closed { link } => self.record.note(link, |seen| seen.terminal += 1),
            _ => {}
        }
        self.tower.handle(event, now);
    }

    fn transmit(&mut self, link: LinkId, out: &mut impl BufMut) -> usize {
        let mut count = self.tower.transmit(link, out);
        if self.flooded.contains(&link) {
            let begin = (self.record.sent(link) + count) % PATTERN;
            let end = self.patterns.len().min(begin + out.remaining_mut());
            out.put_slice(&self.patterns[begin..end]);
            count += end - begin;
            self.take_time(link);
        }
        self.record.note(link, |seen| seen.sent += count);
        count
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.tower.poll_action()
    }

    fn next_wakeup(&self) -> Option<Wakeup> {
        self.tower.next_wakeup()
    }

    fn tower(&self) -> &Tower {
        &self.tower
    }

    fn tower_mut(&mut self) -> &mut Tower {
        &mut self.tower
    }
}
