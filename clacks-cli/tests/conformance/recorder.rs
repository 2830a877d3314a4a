//! A state machine that records the calls of its driver.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use bytes::BufMut;
use clacks_proto::{
    Action, Event, HeldMessage, Instant, LinkId, Refusal, StateMachine, Tower, Wakeup,
};

/// The events of a link, and the numbers of its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LinkRecord {
    pub(crate) connected: u32,
    pub(crate) received: usize,
    pub(crate) sent: usize,
    pub(crate) finished: u32,
    pub(crate) terminal: u32,
}

/// The records of a [`Recorder`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Records(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    links: HashMap<LinkId, LinkRecord>,
    last_queue: Option<Vec<HeldMessage>>,
}

impl Records {
    /// Returns the records of all links.
    pub(crate) fn links(&self) -> Vec<LinkRecord> {
        self.lock().links.values().copied().collect()
    }

    /// Returns whether a condition holds for any link.
    pub(crate) fn any(&self, condition: impl Fn(&LinkRecord) -> bool) -> bool {
        self.links().iter().any(condition)
    }

    /// Returns the number of bytes that the driver has taken from the state machine.
    pub(crate) fn sent(&self) -> usize {
        self.links().iter().map(|link| link.sent).sum()
    }

    /// Returns the messages that the tower held at the end of its driver.
    pub(crate) fn last_queue(&self) -> Vec<HeldMessage> {
        self.lock().last_queue.clone().expect("the driver has not ended")
    }

    fn update(&self, link: LinkId, update: impl FnOnce(&mut LinkRecord)) {
        update(self.lock().links.entry(link).or_default());
    }

    fn sent_by(&self, link: LinkId) -> usize {
        self.lock().links.get(&link).map_or(0, |record| record.sent)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The length of the pattern that a flooding recorder sends.
const PATTERN: usize = 251;

/// Returns the byte that a flooding recorder sends at a position of a link's stream, after the
/// hello.
pub(crate) fn pattern(position: usize) -> u8 {
    u8::try_from(position % PATTERN).unwrap()
}

/// A tower that records the calls of its driver.
pub(crate) struct Recorder<M: StateMachine = Tower> {
    machine: M,
    records: Records,
    flood: Option<Flood>,
}

/// An endless pattern that is sent on each inbound link. Each read and write of these links takes
/// some time, so that they always have more work than the driver can do.
struct Flood {
    links: HashSet<LinkId>,
    pattern: Vec<u8>,
}

impl<M: StateMachine> Recorder<M> {
    pub(crate) fn new(machine: M, records: &Records) -> Self {
        Self { machine, records: records.clone(), flood: None }
    }

    /// Returns a recorder that sends an endless [`pattern`] on inbound links. It blocks its thread.
    pub(crate) fn flooding(machine: M, records: &Records) -> Self {
        let flood = Flood { links: HashSet::new(), pattern: (0..1 << 16).map(pattern).collect() };
        Self { machine, records: records.clone(), flood: Some(flood) }
    }

    fn flood(&self, link: LinkId) -> Option<&Flood> {
        self.flood.as_ref().filter(|flood| flood.links.contains(&link))
    }
}

impl Flood {
    fn take_time() {
        thread::sleep(Duration::from_micros(200));
    }
}

impl<M: StateMachine> StateMachine for Recorder<M> {
    fn accept(&mut self, from: IpAddr, now: Instant) -> Result<LinkId, Refusal> {
        let link = self.machine.accept(from, now)?;
        self.records.update(link, |record| record.connected += 1);
        if let Some(flood) = &mut self.flood {
            flood.links.insert(link);
        }
        Ok(link)
    }

    fn handle(&mut self, event: Event<'_>, now: Instant) {
        match event {
            Event::Connected { link, .. } => {
                self.records.update(link, |record| record.connected += 1);
            }
            Event::BytesArrived { link, bytes } => {
                self.records.update(link, |record| record.received += bytes.len());
                if self.flood(link).is_some() {
                    Flood::take_time();
                }
            }
            Event::Finished { link } => self.records.update(link, |record| record.finished += 1),
            Event::ConnectFailed { link, .. }
            | Event::Lost { link, .. }
            | Event::Closed { link } => self.records.update(link, |record| record.terminal += 1),
            _ => {}
        }
        self.machine.handle(event, now);
    }

    fn transmit(&mut self, link: LinkId, out: &mut impl BufMut) -> usize {
        let mut count = self.machine.transmit(link, out);
        if let Some(flood) = self.flood(link) {
            let start = (self.records.sent_by(link) + count) % PATTERN;
            let end = flood.pattern.len().min(start + out.remaining_mut());
            out.put_slice(&flood.pattern[start..end]);
            count += end - start;
            Flood::take_time();
        }
        self.records.update(link, |record| record.sent += count);
        count
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.machine.poll_action()
    }

    fn next_wakeup(&self) -> Option<Wakeup> {
        self.machine.next_wakeup()
    }

    fn tower(&self) -> &Tower {
        self.machine.tower()
    }

    fn tower_mut(&mut self) -> &mut Tower {
        self.machine.tower_mut()
    }
}

/// A driver drops the state machine at its end.
impl<M: StateMachine> Drop for Recorder<M> {
    fn drop(&mut self) {
        self.records.lock().last_queue = Some(self.machine.tower().peek().collect());
    }
}
