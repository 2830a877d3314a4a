//! A machine that watches its driver: a tower with something around it. The same for every runtime's tests.

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

pub(crate) type Record = Arc<Mutex<HashMap<LinkId, Seen>>>;

/// The length of the pattern in a pest's rubbish.
const PATTERN: usize = 251;

/// What a pest sends in the place `at` of a link's stream, once it has said hello.
pub(crate) fn rubbish(at: usize) -> u8 {
    u8::try_from(at % PATTERN).unwrap()
}

/// A tower that keeps a record of its links, and, if it is a pest, sends those that call it rubbish without end. That rubbish, and
/// what they say, is hard work: whoever they are, they are always quicker than the tower.
pub(crate) struct Witness {
    tower: Tower,
    record: Record,
    is_pest: bool,
    victims: HashSet<LinkId>,
    rubbish: Vec<u8>,
}

impl Witness {
    pub(crate) fn new(tower: Tower, is_pest: bool) -> (Self, Record) {
        let record = Record::default();
        let watching = record.clone();
        let victims = HashSet::new();
        let rubbish = (0..1 << 16).map(rubbish).collect();
        (Self { tower, record: watching, is_pest, victims, rubbish }, record)
    }

    fn toil(&self, link: LinkId) {
        if self.victims.contains(&link) {
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    fn sent(&self, link: LinkId) -> usize {
        self.record.lock().unwrap().get(&link).map_or(0, |seen| seen.sent)
    }

    fn note(&self, link: LinkId, note: impl FnOnce(&mut Seen)) {
        note(self.record.lock().unwrap().entry(link).or_default());
    }
}

impl StateMachine for Witness {
    fn accept(&mut self, from: IpAddr, now: Instant) -> Result<LinkId, Refusal> {
        let link = self.tower.accept(from, now)?;
        self.note(link, |seen| seen.connected += 1);
        if self.is_pest {
            self.victims.insert(link);
        }
        Ok(link)
    }

    fn handle(&mut self, event: Event<'_>, now: Instant) {
        match event {
            Event::Connected { link } => self.note(link, |seen| seen.connected += 1),
            Event::BytesArrived { link, bytes } => {
                self.note(link, |seen| seen.received += bytes.len());
                self.toil(link);
            }
            Event::Finished { link } => self.note(link, |seen| seen.finished += 1),
            Event::ConnectFailed { link, .. }
            | Event::Lost { link, .. }
            | Event::Closed { link } => {
                self.note(link, |seen| seen.terminal += 1);
            }
            _ => {}
        }
        self.tower.handle(event, now);
    }

    fn transmit(&mut self, link: LinkId, out: &mut impl BufMut) -> usize {
        let mut count = self.tower.transmit(link, out);
        if self.victims.contains(&link) {
            let begin = (self.sent(link) + count) % PATTERN;
            let end = self.rubbish.len().min(begin + out.remaining_mut());
            out.put_slice(&self.rubbish[begin..end]);
            count += end - begin;
            self.toil(link);
        }
        self.note(link, |seen| seen.sent += count);
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
