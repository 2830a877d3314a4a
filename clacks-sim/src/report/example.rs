//! Made-up runs that look like real ones, to test reports with and to look at.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the numbers are made up, and small"
)]

use std::time::Duration;

use clacks_proto::wire::Attempt;
use clacks_proto::{CloseReason, Instant, Status, StatusReason};

use super::{FaultCount, Measure, Prediction, ReportInput, Total, Verdict, Violation};
use crate::metrics::{Column, Flights, Gauges, QueueLengths, Series};
use crate::observation::{Fault, MessageId, Observation, Observed, Origin, TowerId};

/// A run that never was.
pub(crate) struct Example {
    pub(crate) title: &'static str,
    pub(crate) towers: u32,
    pub(crate) time: Duration,
    pub(crate) series: Series,
    pub(crate) flights: Option<Flights>,
    pub(crate) faults: Vec<FaultCount>,
    pub(crate) measures: Vec<Measure<'static>>,
    pub(crate) violations: Vec<Violation<'static>>,
    pub(crate) predictions: Vec<Prediction<'static>>,
    totals: Vec<Total<'static>>,
}

impl Example {
    /// Sixty towers in two continents, with a map, a partition, crashes and two violations.
    pub(crate) fn small() -> Self {
        let mut example = Self::run(60, 600, 120, Series::DEFAULT_CAPACITY);
        let at = Some(Instant::ORIGIN + Duration::from_secs_f64(312.4));
        let (check, what) = ("nothing is lost", "message 17 was in no place");
        example.violations.push(Violation { check, at, tower: Some(TowerId(17)), what });
        let (check, what) = ("healing", "3 of 60 towers were still lost");
        example.violations.push(Violation { check, at: None, tower: None, what });
        example
    }

    /// As many towers as a map shows.
    pub(crate) fn crowded() -> Self {
        Self::run(400, 1_800, 1_600, Series::DEFAULT_CAPACITY)
    }

    /// Too many towers for a map, over two days, with rows merged.
    pub(crate) fn large() -> Self {
        Self::run(10_000, 172_800, 300, 256)
    }

    /// Few towers over so long a time that rows are merged.
    pub(crate) fn long() -> Self {
        Self::run(20, 3_600, 40, 64)
    }

    /// A run that ended at its first sample.
    pub(crate) fn brief() -> Self {
        Self::run(3, 1, 2, 16)
    }

    /// A run that ended at once, with a single sample.
    pub(crate) fn single() -> Self {
        Self::run(3, 0, 2, 16)
    }

    /// What the report takes.
    pub(crate) fn input(&self) -> ReportInput<'_> {
        ReportInput {
            title: self.title,
            about: "Towers meet, carry messages, are parted and die, and find each other again.",
            seed: 42,
            hash: "9f2c47d01be3a86655e0c1d2733f9ab4",
            towers: self.towers,
            simulated: self.time,
            wall: Duration::from_millis(4_210),
            events: self.series.total(Column::Events),
            replay: "clacks sim run two-continents.toml --seed 42",
            series: &self.series,
            flights: self.flights.as_ref(),
            predictions: &self.predictions,
            totals: &self.totals,
            faults: &self.faults,
            measures: &self.measures,
            violations: &self.violations,
            violated: self.violations.len() as u64,
            is_over: true,
        }
    }

    fn run(towers: u32, seconds: u32, messages: u32, capacity: usize) -> Self {
        let mut maker = Maker::new(towers, seconds, messages, capacity);
        for second in 0..=seconds {
            maker.second(second);
        }
        maker.finish()
    }
}

/// Makes up one second after another.
struct Maker {
    towers: u32,
    seconds: u32,
    dice: u64,
    series: Series,
    flights: Option<Flights>,
    /// Where each message is; `None` is lost.
    places: Vec<Option<u32>>,
    down: Vec<bool>,
    events: u64,
    sample_every: u32,
}

impl Maker {
    fn new(towers: u32, seconds: u32, messages: u32, capacity: usize) -> Self {
        let calm = Instant::ORIGIN + Duration::from_secs(u64::from(seconds) * 3 / 4);
        Self {
            towers,
            seconds,
            dice: 42,
            series: Series::new(capacity, Some(calm)),
            flights: Flights::new(towers, 20_000),
            places: (0..messages).map(|message| Some(message % towers)).collect(),
            down: vec![false; towers as usize],
            events: 0,
            sample_every: (seconds / 600).max(1),
        }
    }

    fn second(&mut self, second: u32) {
        let at = Instant::ORIGIN + Duration::from_secs(second.into());
        if second == 0 {
            for tower in 0..self.towers {
                self.tell(at, Some(tower), Observed::Started { life: 0 });
            }
            for message in 0..self.places.len() as u32 {
                self.tell(at, Some(0), Observed::Enqueued { message: MessageId(message) });
            }
        }
        if !second.is_multiple_of(self.sample_every) {
            return;
        }
        self.faults(second, at);
        self.traffic(second, at);
        let gauges = self.gauges(second);
        self.series.sample(at, &gauges);
    }

    fn faults(&mut self, second: u32, at: Instant) {
        let (start, end) = (self.seconds * 3 / 10, self.seconds / 2);
        let is = |when: u32| self.sample_every * (when / self.sample_every) == second;
        if is(start) && start > 0 {
            self.tell(at, None, Observed::Fault(Fault::Partition));
            let inside = (0..self.towers * 2 / 5).map(TowerId).collect();
            if let Some(flights) = &mut self.flights {
                flights.part(at, 0, inside);
            }
        } else if is(end) && end > 0 {
            self.tell(at, None, Observed::Fault(Fault::Heal));
            if let Some(flights) = &mut self.flights {
                flights.heal(at, 0);
            }
        }
        if second > self.seconds / 10 && second < self.seconds * 7 / 10 && self.roll(12) == 0 {
            let tower = self.roll(self.towers);
            let is_down = self.down[tower as usize];
            self.down[tower as usize] = !is_down;
            if is_down {
                self.tell(at, Some(tower), Observed::Started { life: 1 });
                self.tell(at, Some(tower), Observed::Fault(Fault::Restart));
            } else if self.roll(3) == 0 {
                self.tell(at, Some(tower), Observed::Paused);
                self.tell(at, Some(tower), Observed::Fault(Fault::Pause));
            } else {
                self.tell(at, Some(tower), Observed::Crashed);
                self.tell(at, Some(tower), Observed::Fault(Fault::Crash));
                for place in &mut self.places {
                    *place = place.filter(|place| *place != tower);
                }
            }
        }
        for _ in 0..self.roll(3) {
            self.tell(at, Some(1), Observed::Fault(Fault::Refused));
        }
    }

    fn traffic(&mut self, second: u32, at: Instant) {
        let mut sent = vec![false; self.towers as usize];
        for message in 0..self.places.len() {
            let Some(from) = self.places[message].filter(|from| !sent[*from as usize]) else {
                continue;
            };
            sent[from as usize] = true;
            let to = self.roll(self.towers);
            let departs = at + Duration::from_millis(self.roll(950).into());
            let arrives = departs + Duration::from_millis(u64::from(20 + self.roll(160)));
            let message_id = Some(MessageId(message as u32));
            let attempt = if self.roll(50) == 0 { Attempt::Retry } else { Attempt::First };
            let what =
                Observed::HandedOver { to: TowerId(to), message: message_id, attempt, arrives };
            self.tell(departs, Some(from), what);
            self.tell(departs, Some(from), Observed::Sent { to: TowerId(to), bytes: 230 });
            let is_parted = self.is_parted(second)
                && (from < self.towers * 2 / 5) != (to < self.towers * 2 / 5);
            if is_parted || self.down[to as usize] {
                let broke = departs + arrives.duration_since(departs) * self.roll(10) / 10;
                self.tell(broke, Some(from), Observed::Broke { with: TowerId(to) });
                let what = Observed::StatusChanged {
                    peer: Some(TowerId(to)),
                    from: Status::Alive,
                    to: Status::Lost,
                    reason: StatusReason::LinkClosed(CloseReason::ConfirmTimeout),
                };
                self.tell(arrives, Some(from), what);
                continue;
            }
            self.places[message] = Some(to);
            let arrived = Observed::Arrived { from: TowerId(from), bytes: 230 };
            self.tell(arrives, Some(to), arrived);
            let peer = Some(TowerId(from));
            let what = Observed::Received { from: peer, sender: peer, message: message_id };
            self.tell(arrives, Some(to), what);
            if self.roll(40) > 0 {
                let what = Observed::Queued { message: message_id, origin: Origin::Peer };
                self.tell(arrives, Some(to), what);
            }
            let to = Some(TowerId(to));
            self.tell(arrives, Some(from), Observed::Delivered { to, message: message_id });
            if self.roll(8) == 0 {
                self.tell(arrives, Some(from), Observed::Dialled { to });
            }
        }
    }

    fn gauges(&mut self, second: u32) -> Gauges {
        let running = self.down.iter().filter(|down| !**down).count() as u32;
        let pairs = u64::from(running) * u64::from(running.saturating_sub(1));
        let progress = f64::from(second) / f64::from(self.seconds);
        let known = 1.0 / (1.0 + (-(progress * 60.0 - 6.0)).exp());
        let parted = if self.is_parted(second) {
            0.48 * (1.0 - (-(progress - 0.3) * 40.0).exp())
        } else if progress > 0.5 {
            0.48 * (-(progress - 0.5) * 50.0).exp()
        } else {
            0.0
        };
        let share = |share: f64| (pairs as f64 * share) as u64;
        let mut queues = vec![0_u32; self.towers as usize];
        self.places.iter().flatten().for_each(|place| queues[*place as usize] += 1);
        queues.sort_unstable();
        let quantile = |tenths: usize| queues[(queues.len() - 1) * tenths / 1_000];
        let lengths = QueueLengths {
            min: queues[0],
            median: quantile(500),
            p99: quantile(990),
            max: quantile(1_000),
        };
        let messages = self.places.iter().flatten().count() as u64;
        let on_the_wire = u64::from(self.roll(self.towers / 10 + 2)) + u64::from(self.towers / 10);
        Gauges {
            running,
            peers_new: share(0.04 * (1.0 - known) + 0.002),
            peers_alive: share(known * (1.0 - parted)),
            peers_lost: share(known * parted * 0.9),
            peers_dead: share(known * parted * 0.1),
            peers_ignored: 0,
            pairs_alive: share(known * (1.0 - parted)),
            links: u64::from(running) * 6 + u64::from(self.roll(20)),
            messages,
            in_doubt: 0,
            copies: messages + u64::from(self.roll(4)),
            waiting: messages.saturating_sub(on_the_wire),
            on_the_wire,
            queues: (self.towers <= 5_000).then_some(lengths),
            events: self.events,
        }
    }

    fn finish(self) -> Example {
        let series = self.series;
        let count = |fault| {
            let happened = series.total_faults(fault);
            let asked = (fault != Fault::Refused).then_some(happened);
            FaultCount { fault, asked, happened }
        };
        let mut faults: Vec<_> =
            Fault::ALL.into_iter().map(count).filter(|count| count.happened > 0).collect();
        faults.push(FaultCount { fault: Fault::ClockStep, asked: Some(2), happened: 0 });
        let total = |column: Column| series.total(column) as f64;
        let totals = vec![
            Total {
                name: "messages enqueued",
                value: total(Column::Enqueued),
                unit: "",
                explanation: "Observed applications put into the network.",
            },
            Total {
                name: "hand-overs",
                value: total(Column::HandOvers),
                unit: "",
                explanation: "Messages sent to a peer, retries included.",
            },
            Total {
                name: "bytes sent",
                value: total(Column::BytesSent),
                unit: "bytes",
                explanation: "All frames, without what TCP and IP would add.",
            },
            Total {
                name: "deliveries confirmed",
                value: total(Column::Deliveries) / total(Column::HandOvers).max(1.0),
                unit: "share",
                explanation: "Of all hand-overs.",
            },
            Total {
                name: "healed after",
                value: 84.0,
                unit: "s",
                explanation: "From the end of the partition until 99 % know each other again.",
            },
        ];
        let on_the_wire = f64::from(self.towers) * 0.145;
        let measures = vec![
            Measure {
                name: "messages on the wire",
                predicted: Some(on_the_wire),
                measured: on_the_wire * 1.012,
                unit: "messages",
                sigma: Some(0.8),
                verdict: Verdict::Held,
            },
            Measure {
                name: "time until everyone knows everyone",
                predicted: Some(92.0),
                measured: 131.0,
                unit: "s",
                sigma: Some(5.3),
                verdict: Verdict::Violated,
            },
            Measure {
                name: "share of coalesced messages",
                predicted: None,
                measured: 0.0241,
                unit: "share",
                sigma: None,
                verdict: Verdict::Noted,
            },
        ];
        let label = "Little's law: rate times mean latency";
        Example {
            title: "two-continents",
            towers: self.towers,
            time: Duration::from_secs(self.seconds.into()),
            series,
            flights: self.flights,
            faults,
            measures,
            violations: Vec::new(),
            predictions: vec![Prediction { column: Column::OnTheWire, value: on_the_wire, label }],
            totals,
        }
    }

    fn is_parted(&self, second: u32) -> bool {
        (self.seconds * 3 / 10..self.seconds / 2).contains(&second)
    }

    fn tell(&mut self, at: Instant, tower: Option<u32>, what: Observed) {
        self.events += 1;
        let observation = Observation { at, tower: tower.map(TowerId), what };
        self.series.see(&observation);
        if let Some(flights) = &mut self.flights {
            flights.see(&observation);
        }
    }

    /// A number below `sides`, from a generator that is good enough for a picture.
    fn roll(&mut self, sides: u32) -> u32 {
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        ((self.dice >> 33) as u32) % sides.max(1)
    }
}
