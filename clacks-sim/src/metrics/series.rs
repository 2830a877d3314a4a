//! A run over time: counters between two samples, gauges at each, in a bounded number of rows.

use std::time::Duration;

use clacks_proto::wire::Attempt;
use clacks_proto::{Instant, Status};

use super::column::{Column, Kept};
use crate::observation::{Fault, Observation, Observed, Origin, TowerId};

const COLUMNS: usize = Column::ALL.len();
const FAULTS: usize = Fault::ALL.len();

/// How a run went, sample by sample.
///
/// [`see`](Self::see) takes in each observation, [`sample`](Self::sample) ends an interval. The rest reads.
///
/// Memory is bounded: when all rows are taken, neighbouring rows become one, and from then on each row covers twice the time.
/// Counts stay exact; of a gauge stays what [`Column::kept`] says.
#[derive(Clone, Debug)]
pub struct Series {
    samples: Vec<Sample>,
    capacity: usize,
    /// How many calls of `sample` make a row.
    stride: u32,
    /// How many are in the last row.
    in_last: u32,
    /// Since the last call of `sample`. Gauges' places stay empty.
    counts: [u64; COLUMNS],
    faults: [u64; FAULTS],
    /// Up to the last call of `sample`.
    total_counts: [u64; COLUMNS],
    total_faults: [u64; FAULTS],
    events_told: u64,
    marks: Vec<Mark>,
    marks_left_out: u64,
    partitions: Vec<Span>,
    partitions_open: u32,
    partitions_left_out: u64,
    calm_from: Option<Instant>,
}

/// What the engine knows at the moment of a sample.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Gauges {
    /// Towers that are up, paused ones included.
    pub running: u32,
    /// Entries of all running towers' peer tables that are `new`.
    pub peers_new: u64,
    /// Those that are `alive`.
    pub peers_alive: u64,
    /// Those that are `lost`.
    pub peers_lost: u64,
    /// Those that are `dead`.
    pub peers_dead: u64,
    /// Those that are `ignored`.
    pub peers_ignored: u64,
    /// Ordered pairs of running towers of which the first knows the second as alive.
    pub pairs_alive: u64,
    /// Links that are open.
    pub links: u64,
    /// Different messages of which there is a copy.
    pub messages: u64,
    /// Different messages of which nobody can say whether there is a copy: the only one may or may not have arrived.
    pub in_doubt: u64,
    /// All copies, wherever they are.
    pub copies: u64,
    /// Copies that wait in a queue.
    pub waiting: u64,
    /// Copies on their way between two towers.
    pub on_the_wire: u64,
    /// How long the queues of running towers are, when that was worth finding out.
    pub queues: Option<QueueLengths>,
    /// Events since the start of the run.
    pub events: u64,
}

/// How long the queues of running towers are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueLengths {
    /// The shortest.
    pub min: u32,
    /// The one in the middle.
    pub median: u32,
    /// The one that 99 of 100 don't exceed.
    pub p99: u32,
    /// The longest.
    pub max: u32,
}

/// A row: how things stood at a moment, and what happened in the interval before it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The end of the interval.
    pub at: Instant,
    /// How long the interval was.
    pub interval: Duration,
    /// NaN is unknown.
    values: [f64; COLUMNS],
    faults: [u64; FAULTS],
}

/// Something that was done to the network at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// When.
    pub at: Instant,
    /// What.
    pub fault: Fault,
    /// To whom; `None` for the whole network.
    pub tower: Option<TowerId>,
}

/// A time during which something held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// From when.
    pub from: Instant,
    /// Until when; `None` is the end of the run.
    pub until: Option<Instant>,
}

impl Series {
    /// How many rows are kept unless told otherwise: more than a screen has pixels to show.
    pub const DEFAULT_CAPACITY: usize = 2_048;

    /// How many marks are kept: the first ones. The rows count all of them.
    pub const MAX_MARKS: usize = 4_096;

    /// How many partitions are kept as spans of their own. Later ones are counted.
    pub const MAX_PARTITIONS: usize = 1_024;

    /// An empty series of at most `capacity` rows (an even number of at least 2; others are rounded up).
    #[must_use]
    pub fn new(capacity: usize, calm_from: Option<Instant>) -> Self {
        Self {
            samples: Vec::new(),
            // Pairs come out even only then.
            capacity: capacity.max(2).saturating_add(capacity % 2),
            stride: 1,
            in_last: 0,
            counts: [0; COLUMNS],
            faults: [0; FAULTS],
            total_counts: [0; COLUMNS],
            total_faults: [0; FAULTS],
            events_told: 0,
            marks: Vec::new(),
            marks_left_out: 0,
            partitions: Vec::new(),
            partitions_open: 0,
            partitions_left_out: 0,
            calm_from,
        }
    }

    /// Takes in something that happened.
    #[inline]
    pub fn see(&mut self, observation: &Observation) {
        match observation.what {
            Observed::HandedOver { attempt, .. } => {
                self.count(Column::HandOvers);
                if attempt == Attempt::Retry {
                    self.count(Column::Retries);
                }
            }
            Observed::Sent { bytes, .. } => {
                self.counts[Column::BytesSent as usize] += u64::from(bytes);
            }
            Observed::Received { .. } => self.count(Column::Received),
            Observed::Queued { origin, .. } => match origin {
                Origin::Peer => self.count(Column::QueuedFromPeer),
                Origin::Returned => self.count(Column::Returned),
                Origin::Local => {}
            },
            Observed::Delivered { .. } => self.count(Column::Deliveries),
            Observed::Enqueued { .. } => self.count(Column::Enqueued),
            Observed::EnqueueRefused => self.count(Column::EnqueueRefused),
            Observed::Dialled { .. } => self.count(Column::Dials),
            Observed::ConnectFailed { .. } => self.count(Column::FailedDials),
            Observed::NotAccepted { .. } => self.count(Column::NotAccepted),
            Observed::Broke { .. } => self.count(Column::Broken),
            Observed::Discovered { .. } => self.count(Column::Discovered),
            Observed::StatusChanged { to, .. } => {
                self.count(Column::StatusChanges);
                match to {
                    Status::Alive => self.count(Column::BecameAlive),
                    Status::Lost => self.count(Column::BecameLost),
                    Status::Dead => self.count(Column::BecameDead),
                    _ => {}
                }
            }
            Observed::Missed { count } => self.counts[Column::Missed as usize] += count,
            Observed::Fault(fault) => self.on_fault(fault, observation),
            _ => {}
        }
    }

    /// Ends an interval: what was counted since the last call becomes a row, or a part of one.
    pub fn sample(&mut self, at: Instant, gauges: &Gauges) {
        self.counts[Column::Events as usize] = gauges.events.saturating_sub(self.events_told);
        self.events_told = self.events_told.max(gauges.events);
        for (total, count) in self.total_counts.iter_mut().zip(&self.counts) {
            *total += count;
        }
        for (total, count) in self.total_faults.iter_mut().zip(&self.faults) {
            *total += count;
        }
        // Of the totals: a message may be received before a sample and queued right after it.
        let received = self.total(Column::Received);
        let coalesced = received
            .saturating_sub(self.total(Column::QueuedFromPeer))
            .saturating_sub(self.total(Column::Coalesced));
        self.counts[Column::Coalesced as usize] = coalesced;
        self.total_counts[Column::Coalesced as usize] += coalesced;

        let before = self.samples.last().map_or(Instant::ORIGIN, |sample| sample.at);
        let sample = Sample {
            at,
            interval: at.duration_since(before),
            values: self.values(gauges),
            faults: self.faults,
        };
        self.counts = [0; COLUMNS];
        self.faults = [0; FAULTS];
        self.keep(sample);
    }

    /// The rows, in the order of time.
    #[must_use]
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// How often a counted thing happened up to the last sample; 0 for a gauge.
    #[must_use]
    pub fn total(&self, column: Column) -> u64 {
        self.total_counts[column as usize]
    }

    /// How often a fault happened up to the last sample.
    #[must_use]
    pub fn total_faults(&self, fault: Fault) -> u64 {
        self.total_faults[fault as usize]
    }

    /// What was done to towers and to the network, in the order of time.
    #[must_use]
    pub fn marks(&self) -> &[Mark] {
        &self.marks
    }

    /// How many marks had no room.
    #[must_use]
    pub fn marks_left_out(&self) -> u64 {
        self.marks_left_out
    }

    /// When the network was parted, by one partition or by several at once.
    #[must_use]
    pub fn partitions(&self) -> &[Span] {
        &self.partitions
    }

    /// How many partitions had no room.
    #[must_use]
    pub fn partitions_left_out(&self) -> u64 {
        self.partitions_left_out
    }

    /// From when on nothing is done to the network any more.
    #[must_use]
    pub fn calm_from(&self) -> Option<Instant> {
        self.calm_from
    }

    #[inline]
    fn count(&mut self, column: Column) {
        self.counts[column as usize] += 1;
    }

    /// Rare enough to be slow, and often enough to be bounded: a bad network refuses dials all the time.
    fn on_fault(&mut self, fault: Fault, observation: &Observation) {
        self.faults[fault as usize] += 1;
        match fault {
            Fault::Parted
            | Fault::Refused
            | Fault::Unanswered
            | Fault::Broken
            | Fault::Corrupted
            | Fault::Silenced => return,
            Fault::Partition => {
                if self.partitions_open == 0 {
                    if self.partitions.len() < Self::MAX_PARTITIONS {
                        self.partitions.push(Span { from: observation.at, until: None });
                    } else {
                        self.partitions_left_out += 1;
                    }
                }
                self.partitions_open += 1;
            }
            Fault::Heal => {
                self.partitions_open = self.partitions_open.saturating_sub(1);
                if let Some(last) = self.partitions.last_mut()
                    && self.partitions_open == 0
                    && last.until.is_none()
                {
                    last.until = Some(observation.at);
                }
            }
            _ => {}
        }
        if self.marks.len() < Self::MAX_MARKS {
            self.marks.push(Mark { at: observation.at, fault, tower: observation.tower });
        } else {
            self.marks_left_out += 1;
        }
    }

    fn values(&self, gauges: &Gauges) -> [f64; COLUMNS] {
        let mut values = self.counts.map(number);
        let mut set = |column: Column, value: f64| values[column as usize] = value;
        set(Column::Running, gauges.running.into());
        set(Column::PeersNew, number(gauges.peers_new));
        set(Column::PeersAlive, number(gauges.peers_alive));
        set(Column::PeersLost, number(gauges.peers_lost));
        set(Column::PeersDead, number(gauges.peers_dead));
        set(Column::PeersIgnored, number(gauges.peers_ignored));
        let running = f64::from(gauges.running);
        let pairs = running * (running - 1.0);
        let pairs_alive = number(gauges.pairs_alive);
        set(Column::Discovery, if pairs > 0.0 { pairs_alive / pairs } else { f64::NAN });
        set(Column::Links, number(gauges.links));
        set(Column::Messages, number(gauges.messages));
        set(Column::Copies, number(gauges.copies));
        set(Column::Surplus, number(gauges.copies.saturating_sub(gauges.messages)));
        let enqueued = self.total(Column::Enqueued);
        set(Column::Lost, number(enqueued.saturating_sub(gauges.messages + gauges.in_doubt)));
        set(Column::Waiting, number(gauges.waiting));
        set(Column::OnTheWire, number(gauges.on_the_wire));
        let mean = if running > 0.0 { number(gauges.waiting) / running } else { f64::NAN };
        set(Column::QueueMean, mean);
        let queues = |length: fn(&QueueLengths) -> u32| {
            gauges.queues.as_ref().map_or(f64::NAN, |queues| length(queues).into())
        };
        set(Column::QueueMin, queues(|queues| queues.min));
        set(Column::QueueMedian, queues(|queues| queues.median));
        set(Column::QueueP99, queues(|queues| queues.p99));
        set(Column::QueueMax, queues(|queues| queues.max));
        values
    }

    fn keep(&mut self, sample: Sample) {
        // The last look at a run often falls on a sample: of a row without a duration nobody could tell a rate.
        if sample.interval.is_zero()
            && let Some(last) = self.samples.last_mut()
        {
            return last.merge(&sample);
        }
        if let Some(last) = self.samples.last_mut()
            && self.in_last < self.stride
        {
            last.merge(&sample);
            self.in_last += 1;
            return;
        }
        if self.samples.len() >= self.capacity {
            self.halve();
        }
        self.samples.push(sample);
        self.in_last = 1;
    }

    fn halve(&mut self) {
        let pairs = self.samples.chunks(2).map(|pair| {
            let mut first = pair[0].clone();
            pair[1..].iter().for_each(|second| first.merge(second));
            first
        });
        self.samples = pairs.collect();
        self.stride = self.stride.saturating_mul(2);
    }
}

impl Sample {
    /// The value of a column: how things stood, or how often something happened in the interval. `None` is unknown.
    #[must_use]
    pub fn value(&self, column: Column) -> Option<f64> {
        Some(self.values[column as usize]).filter(|value| !value.is_nan())
    }

    /// The value of a column, where counts are per second. `None` is unknown, as all rates of an empty interval are.
    #[must_use]
    pub fn rate(&self, column: Column) -> Option<f64> {
        let value = self.value(column)?;
        if column.kept() != Kept::Sum {
            return Some(value);
        }
        let seconds = self.interval.as_secs_f64();
        (seconds > 0.0).then(|| value / seconds)
    }

    /// How often a fault happened in the interval.
    #[must_use]
    pub fn faults(&self, fault: Fault) -> u64 {
        self.faults[fault as usize]
    }

    fn merge(&mut self, next: &Self) {
        for column in Column::ALL {
            let (mine, theirs) = (&mut self.values[column as usize], next.values[column as usize]);
            // `min` and `max` prefer a number to NaN.
            *mine = match column.kept() {
                Kept::Last => theirs,
                Kept::Least => mine.min(theirs),
                Kept::Most => mine.max(theirs),
                Kept::Sum => *mine + theirs,
            };
        }
        for (mine, theirs) in self.faults.iter_mut().zip(&next.faults) {
            *mine += theirs;
        }
        self.at = next.at;
        self.interval = self.interval.saturating_add(next.interval);
    }
}

/// Exact up to 2^53, which no count of a run comes near.
#[allow(clippy::cast_precision_loss)]
fn number(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests;
