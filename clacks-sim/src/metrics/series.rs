//! Metrics of a run over time, in a bounded number of rows.

use std::time::Duration;

use clacks_proto::wire::Attempt;
use clacks_proto::{Instant, Status};

use super::metric::{Aggregate, Metric};
use crate::observation::{Fault, MessageId, Observation, Observed, Origin, TowerId};

const METRICS: usize = Metric::ALL.len();
const FAULTS: usize = Fault::ALL.len();

/// The metrics of a run, sample by sample.
///
/// [`observe`](Self::observe) counts an observation, [`sample`](Self::sample) ends an interval.
///
/// Memory is bounded: when all rows are taken, neighbouring rows are merged in pairs, and from then
/// on each row covers twice the time. Sums stay exact. [`Metric::aggregate`] says how other values
/// are merged.
#[derive(Clone, Debug)]
pub struct Series {
    samples: Vec<Sample>,
    capacity: usize,
    /// Calls of `sample` per row.
    stride: u32,
    /// Calls of `sample` that are in the last row.
    in_last: u32,
    /// Counts since the last call of `sample`. Gauges stay 0.
    counts: [u64; METRICS],
    faults: [u64; FAULTS],
    /// Counts up to the last call of `sample`.
    total_counts: [u64; METRICS],
    total_faults: [u64; FAULTS],
    events: u64,
    roles: Roles,
    /// Whether each tower is inside the latest partition. Empty before the first partition.
    inside: Vec<bool>,
    marks: Vec<Mark>,
    marks_left_out: u64,
    partitions: Vec<Span>,
    partitions_open: u32,
    faults_end: Option<Instant>,
}

/// The roles of a run and their counts. The first role is "none". Everything is empty in a run
/// without roles.
#[derive(Clone, Debug, Default)]
struct Roles {
    names: Vec<String>,
    /// The index of the role of each tower in `names`. Towers at the end may be missing.
    of_towers: Vec<u8>,
    counts: Vec<RoleCounts>,
    /// Whether a tower with a role enqueued each message. Messages at the end may be missing.
    messages: Vec<bool>,
}

/// What the towers of one role did in an interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoleCounts {
    /// Messages that towers of the role accepted from peers.
    pub hops: u64,
    /// Hand-overs by towers of the role that failed or were refused.
    pub returned: u64,
}

/// Values at the moment of a sample.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Gauges {
    /// Towers that are up.
    pub running: u32,
    /// Towers without a role that are up.
    pub honest_running: u32,
    /// Peers of all running towers that are new, alive, lost, dead and ignored, in this order.
    pub peers: [u64; 5],
    /// Ordered pairs of running towers of which the first knows the second as alive.
    pub pairs_alive: u64,
    /// Connections that are open.
    pub connections: u64,
    /// Different messages of which at least one copy exists.
    pub messages: u64,
    /// Copies that running towers hold.
    pub copies: u64,
    /// Copies that wait in a queue.
    pub waiting: u64,
    /// Copies that are handed over and not confirmed.
    pub in_flight: u64,
    /// Copies between two towers.
    pub on_the_wire: u64,
    /// Queue lengths of running towers. `None` in networks that are too large to sort them.
    pub queues: Option<QueueLengths>,
    /// What the network holds of the files that were put. `None` if there are none.
    pub files: Option<FileGauges>,
    /// Events since the start of the run.
    pub events: u64,
}

/// What the network holds of the files that were put.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FileGauges {
    /// The share of the files that can be read.
    pub readable: f64,
    /// The same in each side of the last partition, on average. `None` before the first one.
    pub readable_apart: Option<f64>,
    /// The share of the pieces that are held.
    pub pieces: f64,
    /// The pieces held, divided by the different ones.
    pub copies: f64,
    /// The share of the pieces that would be held without keepers, according to theory.
    pub law: f64,
}

/// Queue lengths of running towers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueLengths {
    /// The median.
    pub median: u32,
    /// The 99th percentile.
    pub p99: u32,
    /// The maximum.
    pub max: u32,
}

/// A row: gauges at a moment, and counts of the interval before it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The end of the interval.
    pub at: Instant,
    /// The length of the interval.
    pub interval: Duration,
    /// Counts of each role, in the order of [`Series::roles`].
    pub roles: Vec<RoleCounts>,
    /// NaN is unknown.
    values: [f64; METRICS],
    faults: [u64; FAULTS],
}

/// A fault that the scenario applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The moment.
    pub at: Instant,
    /// The fault.
    pub fault: Fault,
    /// The tower; `None` for the whole network.
    pub tower: Option<TowerId>,
}

/// A stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The start.
    pub from: Instant,
    /// The end; `None` is the end of the run.
    pub until: Option<Instant>,
}

impl Series {
    /// Default number of rows. No screen shows more.
    pub const DEFAULT_CAPACITY: usize = 2_048;

    /// Maximum number of marks. Later ones are only counted.
    pub const MAX_MARKS: usize = 4_096;

    /// Maximum number of partitions that are kept as spans.
    pub const MAX_PARTITIONS: usize = 1_024;

    /// Creates an empty series of at most `capacity` rows, rounded up to an even number.
    #[must_use]
    pub fn new(capacity: usize, faults_end: Option<Instant>) -> Self {
        Self {
            samples: Vec::new(),
            // Rows are merged in pairs.
            capacity: capacity.max(2).saturating_add(capacity % 2),
            stride: 1,
            in_last: 0,
            counts: [0; METRICS],
            faults: [0; FAULTS],
            total_counts: [0; METRICS],
            total_faults: [0; FAULTS],
            events: 0,
            roles: Roles::default(),
            inside: Vec::new(),
            marks: Vec::new(),
            marks_left_out: 0,
            partitions: Vec::new(),
            partitions_open: 0,
            faults_end,
        }
    }

    /// Counts hops and returned messages of `role` separately. Call it before the first sample.
    pub fn set_role(&mut self, tower: TowerId, role: &str) {
        let roles = &mut self.roles;
        for name in ["none", role] {
            if !roles.names.iter().any(|known| known == name) {
                roles.names.push(name.to_owned());
                roles.counts.push(RoleCounts::default());
            }
        }
        let number = roles.names.iter().position(|name| name == role);
        let index = tower.0 as usize;
        if roles.of_towers.len() <= index {
            roles.of_towers.resize(index + 1, 0);
        }
        roles.of_towers[index] = number.and_then(|number| u8::try_from(number).ok()).unwrap_or(0);
    }

    /// From now on, counts hops between the towers inside and outside as hops across a partition.
    /// The slice says for each tower whether it is inside.
    pub fn set_partition(&mut self, inside: &[bool]) {
        inside.clone_into(&mut self.inside);
    }

    /// Counts an observation.
    #[inline]
    pub fn observe(&mut self, observation: &Observation) {
        match observation.what {
            Observed::HandedOver { attempt, .. } => {
                self.count(Metric::HandOvers);
                if attempt == Attempt::Retry {
                    self.count(Metric::Retries);
                }
            }
            Observed::Sent { bytes, .. } => {
                self.counts[Metric::BytesSent as usize] += u64::from(bytes);
            }
            Observed::Received { sender, message, .. } => {
                self.on_hop(sender, observation.tower, message);
            }
            Observed::Queued { origin: Origin::Peer, .. } | Observed::CopyKept { .. } => {
                self.count(Metric::Stored);
            }
            Observed::Swallowed { .. } => self.count(Metric::Swallowed),
            Observed::Queued { origin: Origin::Returned, .. } => {
                self.count(Metric::Returned);
                if self.is_honest(observation.tower) {
                    self.count(Metric::HonestHandOvers);
                }
                if let Some(counts) = self.role_counts(observation.tower) {
                    counts.returned += 1;
                }
            }
            Observed::Delivered { to, .. } => {
                self.count(Metric::Deliveries);
                if self.is_honest(observation.tower) {
                    self.count(Metric::HonestHandOvers);
                    self.count(Metric::HonestDeliveries);
                    if !self.is_honest(to) {
                        self.count(Metric::DeliveriesToRoles);
                    }
                }
            }
            Observed::Enqueued { message } => self.on_enqueued(message, observation.tower),
            Observed::EnqueueRefused => {
                self.count(Metric::EnqueueRefused);
                if self.is_honest(observation.tower) {
                    self.count(Metric::HonestEnqueues);
                }
            }
            Observed::Dialled { .. } => self.count(Metric::Dials),
            Observed::ConnectFailed { .. } => self.count(Metric::FailedDials),
            Observed::NotAccepted { .. } => self.count(Metric::NotAccepted),
            Observed::Broke { .. } => self.count(Metric::Broken),
            Observed::Discovered { .. } => self.count(Metric::Discovered),
            Observed::StatusChanged { to, .. } => {
                self.count(Metric::StatusChanges);
                match to {
                    Status::Alive => self.count(Metric::BecameAlive),
                    Status::Lost => self.count(Metric::BecameLost),
                    Status::Dead => self.count(Metric::BecameDead),
                    _ => {}
                }
            }
            Observed::Missed { count } => self.counts[Metric::Missed as usize] += count,
            Observed::Fault(fault) => self.on_fault(fault, observation),
            _ => {}
        }
    }

    /// Ends an interval. The counts since the last call become a row or a part of one.
    pub fn sample(&mut self, at: Instant, gauges: &Gauges) {
        self.counts[Metric::Events as usize] = gauges.events.saturating_sub(self.events);
        self.events = self.events.max(gauges.events);
        for (total, count) in self.total_counts.iter_mut().zip(&self.counts) {
            *total += count;
        }
        for (total, count) in self.total_faults.iter_mut().zip(&self.faults) {
            *total += count;
        }
        // From totals, because a message can arrive before a sample and be queued after it.
        let coalesced = self
            .total(Metric::Hops)
            .saturating_sub(self.total(Metric::Stored))
            .saturating_sub(self.total(Metric::Coalesced));
        self.counts[Metric::Coalesced as usize] = coalesced;
        self.total_counts[Metric::Coalesced as usize] += coalesced;

        let before = self.samples.last().map_or(Instant::ORIGIN, |sample| sample.at);
        let sample = Sample {
            at,
            interval: at.duration_since(before),
            roles: self.roles.counts.clone(),
            values: self.values(gauges),
            faults: self.faults,
        };
        self.counts = [0; METRICS];
        self.faults = [0; FAULTS];
        self.roles.counts.fill(RoleCounts::default());
        self.keep(sample);
    }

    /// Returns the rows in the order of time.
    #[must_use]
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// Returns the number of events that a metric counted up to the last sample, and 0 for a gauge.
    #[must_use]
    pub fn total(&self, metric: Metric) -> u64 {
        self.total_counts[metric as usize]
    }

    /// Returns the value for the whole run: the total of a count, otherwise the last value.
    #[must_use]
    pub fn value(&self, metric: Metric) -> Option<f64> {
        match metric.aggregate() {
            Aggregate::Sum if metric == Metric::HopsCrossing && self.inside.is_empty() => None,
            Aggregate::Sum => Some(number(self.total(metric))),
            Aggregate::Ratio(top, bottom) => ratio(self.value(top)?, self.value(bottom)?),
            Aggregate::Last => self.samples.last()?.value(metric),
            Aggregate::Max => {
                self.samples.iter().filter_map(|sample| sample.value(metric)).reduce(f64::max)
            }
        }
    }

    /// Returns the number of times a fault happened up to the last sample.
    #[must_use]
    pub fn total_faults(&self, fault: Fault) -> u64 {
        self.total_faults[fault as usize]
    }

    /// Returns the names of the roles. The first one is "none", for towers without a role.
    #[must_use]
    pub fn roles(&self) -> &[String] {
        &self.roles.names
    }

    /// Returns the faults that the scenario applied, in the order of time.
    #[must_use]
    pub fn marks(&self) -> &[Mark] {
        &self.marks
    }

    /// Returns the number of marks beyond [`MAX_MARKS`](Self::MAX_MARKS).
    #[must_use]
    pub fn marks_left_out(&self) -> u64 {
        self.marks_left_out
    }

    /// Returns the times during which at least one partition was in force.
    #[must_use]
    pub fn partitions(&self) -> &[Span] {
        &self.partitions
    }

    /// Returns the end of the last fault, if the run goes on after it.
    #[must_use]
    pub fn faults_end(&self) -> Option<Instant> {
        self.faults_end
    }

    /// Sets the end of the last fault.
    pub(crate) fn set_faults_end(&mut self, end: Instant) {
        self.faults_end = Some(end);
    }

    #[inline]
    fn count(&mut self, metric: Metric) {
        self.counts[metric as usize] += 1;
    }

    /// Returns whether a tower has no role.
    #[inline]
    pub(crate) fn is_honest(&self, tower: Option<TowerId>) -> bool {
        let role = tower.and_then(|tower| self.roles.of_towers.get(tower.0 as usize));
        role.is_none_or(|role| *role == 0)
    }

    /// Returns whether a tower without a role enqueued a message.
    pub(crate) fn is_honest_message(&self, message: MessageId) -> bool {
        !self.roles.messages.get(message.0 as usize).is_some_and(|is_of_role| *is_of_role)
    }

    fn on_enqueued(&mut self, message: MessageId, tower: Option<TowerId>) {
        self.count(Metric::Enqueued);
        if self.is_honest(tower) {
            self.count(Metric::HonestEnqueues);
            return;
        }
        let index = message.0 as usize;
        let messages = &mut self.roles.messages;
        if messages.len() <= index {
            messages.resize(index + 1, false);
        }
        messages[index] = true;
    }

    fn on_hop(
        &mut self,
        sender: Option<TowerId>,
        tower: Option<TowerId>,
        message: Option<MessageId>,
    ) {
        self.count(Metric::Hops);
        let is_honest_message = message.is_none_or(|message| self.is_honest_message(message));
        if is_honest_message && self.is_honest(tower) {
            self.count(Metric::HonestHops);
        }
        let is_inside = |tower: Option<TowerId>| self.inside.get(tower?.0 as usize).copied();
        if is_inside(sender).zip(is_inside(tower)).is_some_and(|(one, other)| one != other) {
            self.count(Metric::HopsCrossing);
        }
        if let Some(counts) = self.role_counts(tower) {
            counts.hops += 1;
        }
    }

    fn role_counts(&mut self, tower: Option<TowerId>) -> Option<&mut RoleCounts> {
        let number = self.roles.of_towers.get(tower?.0 as usize).copied().unwrap_or(0);
        self.roles.counts.get_mut(usize::from(number))
    }

    fn on_fault(&mut self, fault: Fault, observation: &Observation) {
        self.faults[fault as usize] += 1;
        if !fault.is_scheduled() {
            return;
        }
        if fault == Fault::Partition {
            if self.partitions_open == 0 && self.partitions.len() < Self::MAX_PARTITIONS {
                self.partitions.push(Span { from: observation.at, until: None });
            }
            self.partitions_open += 1;
        } else if fault == Fault::Heal {
            self.partitions_open = self.partitions_open.saturating_sub(1);
            if let Some(last) = self.partitions.last_mut()
                && self.partitions_open == 0
            {
                last.until = last.until.or(Some(observation.at));
            }
        }
        if self.marks.len() < Self::MAX_MARKS {
            self.marks.push(Mark { at: observation.at, fault, tower: observation.tower });
        } else {
            self.marks_left_out += 1;
        }
    }

    fn values(&self, gauges: &Gauges) -> [f64; METRICS] {
        let running = f64::from(gauges.running);
        let enqueued = self.total(Metric::Enqueued);
        let queues = gauges.queues;
        let queue = |length: fn(QueueLengths) -> u32| queues.map_or(f64::NAN, |q| length(q).into());
        let files = |share: fn(FileGauges) -> f64| gauges.files.map_or(f64::NAN, share);
        let mut values = self.counts.map(number);
        for (metric, value) in [
            (Metric::Running, running),
            (Metric::HonestRunning, gauges.honest_running.into()),
            (Metric::Messages, number(gauges.messages)),
            (Metric::Copies, number(gauges.copies)),
            (Metric::Waiting, number(gauges.waiting)),
            (Metric::InFlight, number(gauges.in_flight)),
            (Metric::OnTheWire, number(gauges.on_the_wire)),
            (Metric::Surplus, number(gauges.copies.saturating_sub(gauges.messages))),
            (Metric::Lost, number(enqueued.saturating_sub(gauges.messages))),
            (
                Metric::Discovery,
                ratio(number(gauges.pairs_alive), running * (running - 1.0)).unwrap_or(f64::NAN),
            ),
            (Metric::PeersNew, number(gauges.peers[0])),
            (Metric::PeersAlive, number(gauges.peers[1])),
            (Metric::PeersLost, number(gauges.peers[2])),
            (Metric::PeersDead, number(gauges.peers[3])),
            (Metric::PeersIgnored, number(gauges.peers[4])),
            (Metric::QueueMedian, queue(|queues| queues.median)),
            (Metric::QueueP99, queue(|queues| queues.p99)),
            (Metric::QueueMax, queue(|queues| queues.max)),
            (Metric::FilesReadable, files(|files| files.readable)),
            (Metric::FilesReadableApart, files(|files| files.readable_apart.unwrap_or(f64::NAN))),
            (Metric::PiecesAlive, files(|files| files.pieces)),
            (Metric::PiecesLaw, files(|files| files.law)),
            (Metric::PieceCopies, files(|files| files.copies)),
            (Metric::Connections, number(gauges.connections)),
        ] {
            values[metric as usize] = value;
        }
        if self.inside.is_empty() {
            values[Metric::HopsCrossing as usize] = f64::NAN;
        }
        values
    }

    fn keep(&mut self, sample: Sample) {
        let is_full_row = self.in_last >= self.stride;
        match self.samples.last_mut() {
            // The last sample of a run can fall on the moment of the one before. A row without a
            // duration has no rate.
            Some(last) if sample.interval.is_zero() => last.merge(&sample),
            Some(last) if !is_full_row => {
                last.merge(&sample);
                self.in_last += 1;
            }
            _ => {
                if self.samples.len() >= self.capacity {
                    self.halve();
                }
                self.samples.push(sample);
                self.in_last = 1;
            }
        }
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
    /// Returns the value of a metric: a gauge, or the count of the interval. `None` is unknown.
    #[must_use]
    pub fn value(&self, metric: Metric) -> Option<f64> {
        if let Aggregate::Ratio(top, bottom) = metric.aggregate() {
            return ratio(self.value(top)?, self.value(bottom)?);
        }
        Some(self.values[metric as usize]).filter(|value| !value.is_nan())
    }

    /// Returns the value of a metric, with counts per second. `None` is unknown.
    #[must_use]
    pub fn rate(&self, metric: Metric) -> Option<f64> {
        let value = self.value(metric)?;
        match metric.aggregate() {
            Aggregate::Sum => ratio(value, self.interval.as_secs_f64()),
            _ => Some(value),
        }
    }

    /// Returns how often a fault happened in the interval.
    #[must_use]
    pub fn faults(&self, fault: Fault) -> u64 {
        self.faults[fault as usize]
    }

    fn merge(&mut self, next: &Self) {
        for metric in Metric::ALL {
            let (mine, theirs) =
                (&mut self.values[*metric as usize], next.values[*metric as usize]);
            match metric.aggregate() {
                Aggregate::Last => *mine = theirs,
                // `max` prefers a number to NaN.
                Aggregate::Max => *mine = mine.max(theirs),
                Aggregate::Sum => *mine += theirs,
                Aggregate::Ratio(..) => {}
            }
        }
        for (mine, theirs) in self.faults.iter_mut().zip(&next.faults) {
            *mine += theirs;
        }
        for (mine, theirs) in self.roles.iter_mut().zip(&next.roles) {
            mine.hops += theirs.hops;
            mine.returned += theirs.returned;
        }
        self.at = next.at;
        self.interval = self.interval.saturating_add(next.interval);
    }
}

fn ratio(top: f64, bottom: f64) -> Option<f64> {
    (bottom > 0.0).then(|| top / bottom)
}

/// Exact up to 2^53.
#[allow(clippy::cast_precision_loss, reason = "metrics are shares and means of smaller counts")]
fn number(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests;
