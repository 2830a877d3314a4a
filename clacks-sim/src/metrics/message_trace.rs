//! The paths of messages, the states of towers and the partitions of a small network, for its map.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use clacks_proto::Instant;

use crate::observation::{MessageId, Observation, Observed, Origin, TowerId};

/// Records which tower handed which message to which tower, and which towers held it.
///
/// Memory is bounded. The record holds all hand-overs in a few close-ups: at the start, around the
/// first scheduled faults, and at the end. At other times it holds the hand-overs of those messages
/// whose number is a multiple of [`sampled_every`](Self::sampled_every). That number doubles
/// whenever the record is full. A message that fills the record alone has a gap before the end.
#[derive(Clone, Debug)]
pub struct MessageTrace {
    towers: u32,
    capacity: usize,
    /// Hand-overs of sampled messages and of close-ups.
    kept: Vec<HandOver>,
    /// How many hand-overs in `kept` belong to sampled messages outside of close-ups.
    sampled: usize,
    recent: VecDeque<HandOver>,
    sampled_every: u32,
    /// Numbers of the hand-overs in close-ups.
    close_ups: Vec<Range<u64>>,
    /// Hand-overs seen.
    count: u64,
    /// The number of the latest hand-over of a message by a tower, unless confirmed. A message can
    /// be accepted after its sender gave it up.
    open: BTreeMap<(TowerId, MessageId), u64>,
    held_changes: Vec<HeldChange>,
    state_changes: Vec<StateChange>,
    partitions: Vec<Partition>,
    left_out: u64,
    tower_samples: Vec<TowerSample>,
    /// Calls of `sample`.
    samples: u64,
    /// One in so many samples is kept.
    sample_stride: u64,
    roles: Vec<Option<String>>,
}

/// A tower begins or ceases to hold a message, other than by a hand-over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldChange {
    /// The moment.
    pub at: Instant,
    /// The tower.
    pub tower: TowerId,
    /// The message.
    pub message: MessageId,
    /// The kind of change.
    pub kind: HeldChangeKind,
}

/// How a tower begins or ceases to hold a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldChangeKind {
    /// The application enqueued the message.
    Enqueued,
    /// The tower keeps the message after a confirmation, because another copy came in before.
    Kept,
    /// The application confirmed the message and did not pass it on.
    Swallowed,
    /// The tower crashed or left with the message, its role dropped the message, or the lifetime of
    /// the message was over.
    Dropped,
}

impl HeldChangeKind {
    /// Returns the kind in one lower-case word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enqueued => "enqueued",
            Self::Kept => "kept",
            Self::Swallowed => "swallowed",
            Self::Dropped => "dropped",
        }
    }
}

/// One attempt to hand a message to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandOver {
    /// The number of the hand-over in the run.
    pub number: u64,
    /// The message.
    pub message: MessageId,
    /// The sender.
    pub from: TowerId,
    /// The receiver.
    pub to: TowerId,
    /// When the message was sent.
    pub departs: Instant,
    /// When the message arrives, unless its connection ends before.
    pub arrives: Instant,
    /// When the receiver accepted the message.
    pub accepted: Option<Instant>,
    /// When and how the hand-over ended for the sender.
    pub end: Option<(Instant, HandOverEnd)>,
}

/// How a hand-over ended for its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandOverEnd {
    /// The receiver confirmed. The sender forgot the message.
    Confirmed,
    /// The hand-over failed or was refused. The message is in the queue of the sender again.
    Returned,
    /// The sender repeated the hand-over.
    Retried,
    /// The sender went down.
    SenderDown,
}

impl HandOverEnd {
    /// Returns the end in one or two lower-case words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Returned => "returned",
            Self::Retried => "retried",
            Self::SenderDown => "sender down",
        }
    }
}

/// A change of the state of a tower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateChange {
    /// The moment.
    pub at: Instant,
    /// The tower.
    pub tower: TowerId,
    /// The new state.
    pub state: State,
}

/// The state of a tower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The tower runs.
    Running,
    /// The process of the tower is stopped.
    Paused,
    /// The tower hands its queue to peers before it leaves.
    Leaving,
    /// The tower has not started, has crashed or has left.
    Down,
}

impl State {
    /// Returns the state in one lower-case word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Leaving => "leaving",
            Self::Down => "down",
        }
    }
}

/// A partition of the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// The number of the partition.
    pub id: u32,
    /// The start.
    pub from: Instant,
    /// The end; `None` is the end of the run.
    pub until: Option<Instant>,
    /// The towers on one side, in ascending order.
    pub inside: Vec<TowerId>,
}

/// The queue and the peers of every tower at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TowerSample {
    /// The moment.
    pub at: Instant,
    /// For each tower: messages waiting, messages held, and peers that are new, alive, lost, dead
    /// and ignored. All are 0 for a tower that is down.
    pub towers: Vec<[u32; 7]>,
}

impl MessageTrace {
    /// Maximum number of towers of which a map can be read.
    pub const MAX_TOWERS: u32 = 400;

    /// Default number of hand-overs outside of close-ups. With them, a page has about 3 MB.
    pub const DEFAULT_CAPACITY: usize = 40_000;

    /// The recent half must reach back to the start of a close-up.
    const MIN_CAPACITY: usize = 600;
    /// Maximum number of close-ups before the one at the end.
    const MAX_CLOSE_UPS: usize = 9;
    /// Hand-overs in a close-up, before and after the fault. They take some seconds of the viewer.
    const CLOSE_UP: Range<u64> = 300..2_200;

    /// Maximum number of changes of holders, and of states.
    pub const MAX_CHANGES: usize = 20_000;

    /// Maximum number of partitions.
    pub const MAX_PARTITIONS: usize = 256;

    /// Maximum number of samples of all towers.
    pub const MAX_SAMPLES: usize = 128;

    /// Creates a record of at most `capacity` hand-overs besides close-ups. Returns `None`
    /// for a network of more than [`MAX_TOWERS`](Self::MAX_TOWERS).
    #[must_use]
    pub fn new(towers: u32, capacity: usize) -> Option<Self> {
        (towers <= Self::MAX_TOWERS).then(|| Self {
            towers,
            capacity: capacity.max(Self::MIN_CAPACITY),
            kept: Vec::new(),
            sampled: 0,
            recent: VecDeque::new(),
            sampled_every: 1,
            close_ups: std::iter::once(0..Self::CLOSE_UP.end).collect(),
            count: 0,
            open: BTreeMap::new(),
            held_changes: Vec::new(),
            state_changes: Vec::new(),
            partitions: Vec::new(),
            left_out: 0,
            tower_samples: Vec::new(),
            samples: 0,
            sample_stride: 1,
            roles: vec![None; towers as usize],
        })
    }

    /// Sets the role of a tower.
    pub fn set_role(&mut self, tower: TowerId, role: &str) {
        if let Some(slot) = self.roles.get_mut(tower.0 as usize) {
            *slot = Some(role.to_owned());
        }
    }

    /// Records an observation.
    pub fn observe(&mut self, observation: &Observation) {
        if let Observed::Fault(fault) = observation.what
            && fault.is_scheduled()
        {
            self.close_up();
        }
        let Observation { at, tower: Some(tower), what } = *observation else { return };
        match what {
            Observed::Enqueued { message } => {
                self.change_held(at, tower, message, HeldChangeKind::Enqueued);
            }
            Observed::CopyKept { message } => {
                self.change_held(at, tower, message, HeldChangeKind::Kept);
            }
            Observed::Dropped { message } | Observed::Expired { message } => {
                self.change_held(at, tower, message, HeldChangeKind::Dropped);
            }
            Observed::Swallowed { sender, message } => {
                if let Some(sender) = sender {
                    self.accept(at, sender, message, tower);
                }
                self.change_held(at, tower, message, HeldChangeKind::Swallowed);
            }
            Observed::HandedOver { to, message: Some(message), arrives, .. } => {
                self.end(at, tower, message, HandOverEnd::Retried);
                self.open.insert((tower, message), self.count);
                self.forget_old_hand_overs();
                self.recent.push_back(HandOver {
                    number: self.count,
                    message,
                    from: tower,
                    to,
                    departs: at,
                    arrives,
                    accepted: None,
                    end: None,
                });
                self.count += 1;
                self.make_room();
            }
            Observed::Received { sender: Some(sender), message: Some(message), .. } => {
                self.accept(at, sender, message, tower);
            }
            Observed::Delivered { message: Some(message), .. } => {
                self.end(at, tower, message, HandOverEnd::Confirmed);
            }
            Observed::Queued { message: Some(message), origin: Origin::Returned } => {
                self.end(at, tower, message, HandOverEnd::Returned);
            }
            Observed::Started { .. } | Observed::Resumed => {
                self.change_state(at, tower, State::Running);
            }
            Observed::Paused => self.change_state(at, tower, State::Paused),
            Observed::Leaving => self.change_state(at, tower, State::Leaving),
            Observed::Crashed | Observed::Left { .. } => {
                self.change_state(at, tower, State::Down);
                let copies = (tower, MessageId(0))..=(tower, MessageId(u32::MAX));
                let open: Vec<_> =
                    self.open.range(copies).map(|((_, message), _)| *message).collect();
                for message in open {
                    self.end(at, tower, message, HandOverEnd::SenderDown);
                }
            }
            _ => {}
        }
    }

    /// Records the start of a partition. `inside` lists the towers on one side.
    pub fn partition(&mut self, at: Instant, id: u32, inside: Vec<TowerId>) {
        if self.partitions.len() < Self::MAX_PARTITIONS {
            self.partitions.push(Partition { id, from: at, until: None, inside });
        } else {
            self.left_out += 1;
        }
    }

    /// Records the end of a partition.
    pub fn heal(&mut self, at: Instant, id: u32) {
        let mut latest = self.partitions.iter_mut().rev();
        if let Some(healed) = latest.find(|one| one.id == id && one.until.is_none()) {
            healed.until = Some(at);
        }
    }

    /// Records the figures of all running towers. See [`TowerSample::towers`].
    pub fn sample(&mut self, at: Instant, running: impl Iterator<Item = (TowerId, [u32; 7])>) {
        let number = self.samples;
        self.samples += 1;
        if !number.is_multiple_of(self.sample_stride) {
            return;
        }
        if self.tower_samples.len() >= Self::MAX_SAMPLES {
            let mut index = 0_usize;
            self.tower_samples.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.sample_stride *= 2;
            if !number.is_multiple_of(self.sample_stride) {
                return;
            }
        }
        let mut towers = vec![[0; 7]; self.towers as usize];
        for (tower, figures) in running {
            if let Some(slot) = towers.get_mut(tower.0 as usize) {
                *slot = figures;
            }
        }
        self.tower_samples.push(TowerSample { at, towers });
    }

    /// Returns the number of towers.
    #[must_use]
    pub fn towers(&self) -> u32 {
        self.towers
    }

    /// Returns the role of each tower.
    #[must_use]
    pub fn roles(&self) -> &[Option<String>] {
        &self.roles
    }

    /// Returns the recorded hand-overs in the order of their departures.
    pub fn hand_overs(&self) -> impl Iterator<Item = &HandOver> {
        self.kept.iter().chain(&self.recent)
    }

    /// Returns the number of hand-overs in the run.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns the divisor of the numbers of those messages whose whole path is recorded.
    #[must_use]
    pub fn sampled_every(&self) -> u32 {
        self.sampled_every
    }

    /// Returns the times during which the hand-overs of all messages are recorded. `None` is the
    /// end of the run.
    #[must_use]
    pub fn close_ups(&self) -> Vec<(Instant, Option<Instant>)> {
        let end = self.recent.front().filter(|_| self.sampled_every > 1);
        let Some(end) = end else { return vec![(Instant::ORIGIN, None)] };
        let moment = |number| {
            let index = self.kept.partition_point(|one| one.number < number);
            self.kept.get(index).map(|one| one.departs)
        };
        let early = self.close_ups.iter().filter(|range| range.end <= end.number);
        let mut times: Vec<_> = early
            .filter_map(|range| Some((moment(range.start)?, Some(moment(range.end - 1)?))))
            .collect();
        let joined = self.close_ups.last().filter(|range| range.contains(&end.number));
        let start = joined.and_then(|range| moment(range.start)).unwrap_or(end.departs);
        times.push((start, None));
        times
    }

    /// Returns the changes of holders other than by hand-overs, in the order of time.
    #[must_use]
    pub fn held_changes(&self) -> &[HeldChange] {
        &self.held_changes
    }

    /// Returns the state changes in the order of time. Before its first one a tower is down.
    #[must_use]
    pub fn state_changes(&self) -> &[StateChange] {
        &self.state_changes
    }

    /// Returns the partitions in the order of time.
    #[must_use]
    pub fn partitions(&self) -> &[Partition] {
        &self.partitions
    }

    /// Returns the samples of all towers in the order of time.
    #[must_use]
    pub fn tower_samples(&self) -> &[TowerSample] {
        &self.tower_samples
    }

    /// Returns the number of changes and partitions that had no room.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Starts a close-up, unless one goes on.
    fn close_up(&mut self) {
        let last = self.close_ups.last().map_or(0, |range| range.end);
        if self.count >= last && self.close_ups.len() < Self::MAX_CLOSE_UPS {
            let start = self.count.saturating_sub(Self::CLOSE_UP.start).max(last);
            self.close_ups.push(start..self.count + Self::CLOSE_UP.end);
        }
    }

    fn is_in_close_up(&self, number: u64) -> bool {
        let index = self.close_ups.partition_point(|range| range.end <= number);
        self.close_ups.get(index).is_some_and(|range| range.start <= number)
    }

    /// Keeps the oldest of the recent hand-overs or drops it.
    fn make_room(&mut self) {
        if self.recent.len() <= self.capacity / 2 {
            return;
        }
        let Some(oldest) = self.recent.pop_front() else { return };
        if self.is_in_close_up(oldest.number) {
            self.kept.push(oldest);
        } else if oldest.message.0.is_multiple_of(self.sampled_every)
            && self.sampled < self.capacity / 2
        {
            self.kept.push(oldest);
            self.sampled += 1;
        }
        while self.sampled >= self.capacity / 2 && self.sampled_every < 1 << 31 {
            self.sampled_every *= 2;
            let mut kept = std::mem::take(&mut self.kept);
            let is_sampled = |one: &HandOver| one.message.0.is_multiple_of(self.sampled_every);
            kept.retain(|one| is_sampled(one) || self.is_in_close_up(one.number));
            self.sampled = kept.iter().filter(|one| !self.is_in_close_up(one.number)).count();
            self.kept = kept;
        }
    }

    fn end(&mut self, at: Instant, from: TowerId, message: MessageId, end: HandOverEnd) {
        let copy = (from, message);
        let number = match end {
            HandOverEnd::Confirmed => self.open.remove(&copy),
            _ => self.open.get(&copy).copied(),
        };
        if let Some(hand_over) = number.and_then(|number| self.hand_over_mut(number)) {
            hand_over.end = hand_over.end.or(Some((at, end)));
        }
    }

    fn forget_old_hand_overs(&mut self) {
        if self.open.len() <= 2 * self.capacity {
            return;
        }
        let first = self.recent.front().map_or(0, |first| first.number);
        let kept = &self.kept;
        self.open.retain(|_, number| {
            *number >= first || kept.binary_search_by_key(number, |one| one.number).is_ok()
        });
    }

    fn hand_over_mut(&mut self, number: u64) -> Option<&mut HandOver> {
        let first = self.recent.front()?.number;
        if let Some(index) = number.checked_sub(first) {
            return self.recent.get_mut(usize::try_from(index).ok()?);
        }
        let index = self.kept.binary_search_by_key(&number, |one| one.number).ok()?;
        self.kept.get_mut(index)
    }

    fn accept(&mut self, at: Instant, from: TowerId, message: MessageId, by: TowerId) {
        let number = self.open.get(&(from, message)).copied();
        if let Some(hand_over) = number.and_then(|number| self.hand_over_mut(number))
            && hand_over.to == by
        {
            hand_over.accepted = hand_over.accepted.or(Some(at));
        }
    }

    fn change_held(
        &mut self,
        at: Instant,
        tower: TowerId,
        message: MessageId,
        kind: HeldChangeKind,
    ) {
        if self.held_changes.len() < Self::MAX_CHANGES {
            self.held_changes.push(HeldChange { at, tower, message, kind });
        } else {
            self.left_out += 1;
        }
    }

    fn change_state(&mut self, at: Instant, tower: TowerId, state: State) {
        if self.state_changes.len() < Self::MAX_CHANGES {
            self.state_changes.push(StateChange { at, tower, state });
        } else {
            self.left_out += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clacks_proto::wire::Attempt;

    use super::*;
    use crate::observation::Fault;

    fn at(millis: u64) -> Instant {
        Instant::ORIGIN + Duration::from_millis(millis)
    }

    fn trace(capacity: usize, observations: &[(u64, u32, Observed)]) -> MessageTrace {
        let mut trace = MessageTrace::new(4, capacity).unwrap();
        for (millis, tower, what) in observations {
            let tower = Some(TowerId(*tower));
            trace.observe(&Observation { at: at(*millis), tower, what: *what });
        }
        trace
    }

    /// Tower 0 hands message `number` to tower 1. The message needs 40 ms.
    fn hand_over(millis: u64, number: u32) -> (u64, u32, Observed) {
        let (message, attempt) = (Some(MessageId(number)), Attempt::First);
        let what =
            Observed::HandedOver { to: TowerId(1), message, attempt, arrives: at(millis + 40) };
        (millis, 0, what)
    }

    const ACCEPTED: Observed =
        Observed::Received { from: None, sender: Some(TowerId(0)), message: Some(MessageId(0)) };
    const CONFIRMED: Observed = Observed::Delivered { to: None, message: Some(MessageId(0)) };
    const RETURNED: Observed =
        Observed::Queued { message: Some(MessageId(0)), origin: Origin::Returned };

    #[test]
    fn a_hand_over_is_accepted_by_its_receiver_and_ended_by_its_sender() {
        let outcome = |then: &[(u64, u32, Observed)]| {
            let trace = trace(10, &[&[hand_over(0, 0)], then].concat());
            let first = trace.hand_overs().next().unwrap();
            (first.accepted, first.end)
        };
        let end = |millis, end| Some((at(millis), end));
        assert_eq!(outcome(&[]), (None, None));
        assert_eq!(outcome(&[(40, 1, ACCEPTED)]), (Some(at(40)), None));
        assert_eq!(outcome(&[(40, 2, ACCEPTED)]), (None, None), "another receiver");
        let confirmed = outcome(&[(40, 1, ACCEPTED), (80, 0, CONFIRMED)]);
        assert_eq!(confirmed, (Some(at(40)), end(80, HandOverEnd::Confirmed)));
        assert_eq!(outcome(&[(80, 0, RETURNED)]), (None, end(80, HandOverEnd::Returned)));
        assert_eq!(outcome(&[(80, 3, RETURNED)]), (None, None), "another sender");
        assert_eq!(outcome(&[hand_over(90, 0)]), (None, end(90, HandOverEnd::Retried)));
        for (what, how) in
            [(Observed::Crashed, HandOverEnd::SenderDown), (RETURNED, HandOverEnd::Returned)]
        {
            let late = outcome(&[(20, 0, what), (40, 1, ACCEPTED)]);
            assert_eq!(late, (Some(at(40)), end(20, how)));
        }
    }

    #[test]
    fn a_full_record_keeps_close_ups_and_whole_paths_of_some_messages() {
        for capacity in [4, 2_000, 10_000] {
            // Thirty messages that take turns, and a fault after 6 000 hand-overs.
            let mut steps: Vec<_> =
                (0..20_000).map(|step| hand_over(step.into(), step % 30)).collect();
            steps.insert(6_000, (6_000, 0, Observed::Fault(Fault::Crash)));
            let trace = trace(capacity, &steps);
            let every = u64::from(trace.sampled_every());
            let close_ups = trace.close_ups();
            let starts = close_ups[..2].iter().map(|one| one.0).collect::<Vec<_>>();
            assert_eq!(starts, [at(0), at(5_700)]);
            assert_eq!((close_ups.len(), close_ups[2].1), (3, None));
            let is_close = |step: u64| {
                let is_in = |(from, until): &(Instant, Option<Instant>)| {
                    at(step) >= *from && until.is_none_or(|until| at(step) <= until)
                };
                close_ups.iter().any(is_in)
            };
            let kept: Vec<_> = trace.hand_overs().map(|one| one.number).collect();
            let expected = (0..20_000).filter(|step| is_close(*step) || (step % 30) % every == 0);
            let missing = expected.filter(|step| !kept.contains(step)).count();
            let others = kept.iter().filter(|step| !is_close(**step)).count();
            assert!(
                others <= capacity.max(MessageTrace::MIN_CAPACITY) / 2 && trace.count() == 20_000
            );
            assert!(missing == 0 || every == 1 << 31, "{missing} of {capacity}");
        }
    }

    #[test]
    fn kept_hand_overs_still_end() {
        let mut steps = vec![hand_over(0, 0)];
        steps.extend((1..900).map(|step| hand_over(step.into(), step)));
        steps.push((1_000, 0, CONFIRMED));
        let trace = trace(10, &steps);
        assert!(trace.recent.front().unwrap().number > 0);
        let first = trace.hand_overs().next().unwrap();
        assert_eq!(first.end, Some((at(1_000), HandOverEnd::Confirmed)));
    }

    #[test]
    fn states_partitions_and_enqueued_messages_are_recorded_up_to_a_number() {
        use State::{Down, Leaving, Paused, Running};
        let lives = [
            Observed::Started { life: 0 },
            Observed::Paused,
            Observed::Resumed,
            Observed::Leaving,
            Observed::Left { undelivered: 0 },
        ];
        let mut recorded = trace(10, &lives.map(|what| (1, 3, what)));
        let states: Vec<_> = recorded.state_changes().iter().map(|change| change.state).collect();
        assert_eq!(states, [Running, Paused, Running, Leaving, Down]);
        recorded.partition(at(1), 7, vec![TowerId(0)]);
        recorded.partition(at(2), 8, vec![TowerId(1)]);
        recorded.heal(at(3), 7);
        recorded.heal(at(4), 99);
        let ends: Vec<_> = recorded.partitions().iter().map(|one| one.until).collect();
        assert_eq!(ends, [Some(at(3)), None]);

        let steps = vec![(0, 0, Observed::Crashed); MessageTrace::MAX_CHANGES + 1];
        assert_eq!(trace(10, &steps).left_out(), 1);
        let enqueued = Observed::Enqueued { message: MessageId(5) };
        let recorded = trace(10, &vec![(6, 2, enqueued); MessageTrace::MAX_CHANGES + 2]);
        let changes = recorded.held_changes().len();
        assert_eq!((recorded.left_out(), changes), (2, MessageTrace::MAX_CHANGES));
    }

    #[test]
    fn a_swallowed_message_is_accepted_and_not_held() {
        let sender = Some(TowerId(0));
        let swallowed = Observed::Swallowed { sender, message: MessageId(0) };
        let trace = trace(10, &[hand_over(0, 0), (40, 1, swallowed)]);
        assert_eq!(trace.hand_overs().next().unwrap().accepted, Some(at(40)));
        assert_eq!(trace.held_changes()[0].kind, HeldChangeKind::Swallowed);
    }

    #[test]
    fn samples_of_towers_are_spread_over_the_run() {
        let mut trace = MessageTrace::new(2, 10).unwrap();
        for second in 0..1_000_u32 {
            trace.sample(at(second.into()), [(TowerId(1), [second; 7])].into_iter());
        }
        let samples = trace.tower_samples();
        assert!(samples.len() > MessageTrace::MAX_SAMPLES / 2);
        assert!(samples.len() <= MessageTrace::MAX_SAMPLES);
        let step = samples[1].at.duration_since(samples[0].at);
        for (pair, sample) in samples.windows(2).zip(&samples[1..]) {
            assert_eq!(pair[1].at.duration_since(pair[0].at), step);
            assert_eq!(at(sample.towers[1][0].into()), sample.at);
            assert_eq!(sample.towers[0], [0; 7]);
        }
    }

    #[test]
    fn a_large_network_has_no_record() {
        assert!(MessageTrace::new(401, 10).is_none());
    }
}
