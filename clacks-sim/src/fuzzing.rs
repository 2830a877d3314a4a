//! The body of the fuzz target `sim_scenario`. Internal: nothing in here is promised to anybody.
//!
//! It lives in the crate, so that a change that breaks it is noticed when the crate is built. The target in `fuzz/` is a line, and the inputs that
//! are worth keeping are run by the test below, on any toolchain.
#![allow(clippy::panic, reason = "a panic is how a fuzzer is told")]

use std::path::Path;
use std::time::Duration;

use crate::scenario::{
    Churn, CrashKind, Deed, Fault as FaultAt, Heartbeat, Limit, Link, LinkChange, Look, OneWay,
    Parts, Path as LinkPath, Rate, ScreeningKnob, Shape, Towers, Verb, Verdict,
};
use crate::{Distribution, Options, Outcome, Scenario, Simulation};

/// So many events are enough: whatever goes wrong in a network of five towers goes wrong early.
const MOST_EVENTS: u64 = 15_000;
/// Inputs of every length that can be divided by this are run twice, and must go the same way.
const AGAIN: usize = 8;

/// Any bytes are a scenario of a few towers and a few faults, in which every rule holds.
pub fn sim_scenario(input: &[u8]) {
    examine(input);
}

/// What came of an input, if that is a scenario that can be run.
fn examine(input: &[u8]) -> Option<Outcome> {
    let scenario = Choices(input).scenario();
    let outcome = run(&scenario)?;
    if !outcome.holds() {
        let found: Vec<_> = outcome.violations.iter().map(ToString::to_string).collect();
        panic!("{}\nin the scenario\n{}", found.join("\n"), scenario.to_toml());
    }
    if input.len().is_multiple_of(AGAIN) {
        let again = run(&scenario).map(|outcome| outcome.hash);
        assert_eq!(again, Some(outcome.hash), "it went otherwise in {}", scenario.to_toml());
    }
    Some(outcome)
}

/// What comes of a scenario, if it is one that can be run.
fn run(scenario: &Scenario) -> Option<Outcome> {
    let mut simulation = Simulation::new(scenario, Path::new("."), Options::default()).ok()?;
    simulation.advance(MOST_EVENTS);
    Some(simulation.finish())
}

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Bytes to make choices with. When they run out every choice is the first one.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn below(&mut self, bound: u8) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first % bound
    }

    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn one_of<T: Clone>(&mut self, choices: &[T]) -> T {
        let count = u8::try_from(choices.len()).unwrap_or(u8::MAX);
        choices[usize::from(self.below(count))].clone()
    }

    /// Mostly none.
    fn share(&mut self) -> f64 {
        self.one_of(&[0.0, 0.0, 0.0, 0.0, 0.001, 0.01, 0.05, 0.2])
    }

    fn scenario(&mut self) -> Scenario {
        let towers = 2 + u32::from(self.below(4));
        let mut scenario = Scenario::new("fuzzed", towers, seconds(60)).seed(self.byte().into());
        scenario.messages.count = self.below(12).into();
        scenario.messages.size = 8 + 7 * usize::from(self.byte());
        scenario.contacts.shape = self.one_of(&[Shape::WellKnown, Shape::Ring, Shape::Full]);
        scenario.contacts.verb = self.one_of(&[Verb::Announce, Verb::Expand]);
        scenario.contacts.spread = seconds(self.below(6).into());
        // Whether a fault with a small chance happens in a short run is left open.
        scenario.checks.faults = false;
        scenario.tower.heartbeat = Heartbeat::Every(seconds(5));
        scenario.tower.send_rate = Rate::PerSecond(2.0);
        scenario.tower.friends.every = seconds(1);
        if self.below(2) == 1 {
            self.odd_towers(&mut scenario);
        }
        scenario.link = self.link(&scenario);
        scenario.faults = (0..self.below(5)).map(|_| self.fault(towers)).collect();
        scenario.faults.sort_by_key(|fault| fault.at);
        if self.below(4) == 1 {
            scenario.churn = Some(self.churn());
        }
        self.narrow(&mut scenario);
        let time = scenario.shortest_time().unwrap_or(seconds(300));
        scenario.time = time.max(seconds(60));
        scenario
    }

    /// Towers that are short of everything. Nobody promises that these find each other.
    fn odd_towers(&mut self, scenario: &mut Scenario) {
        scenario.checks.liveness = false;
        let tower = &mut scenario.tower;
        tower.send_rate =
            self.one_of(&[Rate::PerSecond(2.0), Rate::PerSecond(50.0), Rate::Unlimited]);
        tower.burst = 1 + u32::from(self.below(8));
        tower.kill_timeout = seconds(u64::from(self.byte()));
        tower.max_message = 2_000;
        tower.max_queue_messages = 2 + usize::from(self.below(20));
        tower.max_queue_bytes = 2_000 + 100 * usize::from(self.byte());
        tower.local_share = 20 + self.below(81);
        tower.max_peers = 1 + usize::from(self.below(6));
        tower.max_links = 2 + usize::from(self.below(5));
        tower.max_half_open = 1;
        tower.max_probes = 1 + usize::from(self.below(3));
        tower.heartbeat = self.one_of(&[
            Heartbeat::Every(seconds(5)),
            Heartbeat::Off,
            Heartbeat::Every(millis(500)),
        ]);
        // One event may end every link and bring back all that was on them. Who drops a notice about that leaves nobody to judge it.
        tower.max_pending_notices = 128;
        tower.window.messages = 1 + u16::from(self.below(4));
        tower.window.bytes = 16 * u32::from(self.byte());
        let times = &mut tower.timeouts;
        for time in [
            &mut times.connect,
            &mut times.handshake,
            &mut times.confirm,
            &mut times.idle,
            &mut times.close,
            &mut times.shutdown,
        ] {
            *time = millis(200 * (1 + u64::from(self.below(60))));
        }
        if self.below(3) == 1 {
            let default = self.one_of(&[Verdict::Accept, Verdict::Reject]);
            let max_offers = 1 + usize::from(self.below(4));
            let timeout = millis(100 * u64::from(self.byte()));
            tower.screening = Some(ScreeningKnob { max_offers, timeout, default });
        }
    }

    fn link(&mut self, scenario: &Scenario) -> Link {
        let time = |choices: &mut Self| millis(u64::from(choices.byte()));
        let mut link = Link::default();
        // Time would stand still in a network that is in a hurry and loses none on the way.
        let least =
            if scenario.tower.send_rate == Rate::Unlimited { millis(20) } else { millis(0) };
        link.latency = match self.below(3) {
            0 => Distribution::Constant(time(self).max(least)),
            1 => Distribution::Exponential { mean: time(self).max(millis(20)) },
            _ => Distribution::Uniform { from: least, to: time(self).max(millis(20)) },
        };
        if self.below(3) == 1 {
            link.jitter = Some(Distribution::Exponential { mean: time(self).max(millis(1)) });
        }
        (link.refused, link.unanswered) = (self.share(), self.share());
        (link.broken, link.silenced, link.corrupted) = (self.share(), self.share(), self.share());
        link
    }

    /// What fewer networks have: little bandwidth, paths of their own, bad weather, and applications that add peers.
    fn narrow(&mut self, scenario: &mut Scenario) {
        let towers = scenario.towers;
        // Who promises that all find each other must leave them room for it.
        let least = if scenario.checks.liveness { 20_000 } else { 100 };
        if self.below(3) == 1 {
            scenario.link.bandwidth = Limit::Bytes(least + 100 * u64::from(self.byte()));
        }
        if self.below(3) == 1 {
            scenario.link.capacity = Limit::Bytes(least + 100 * u64::from(self.byte()));
        }
        for _ in 0..self.below(3) {
            let (from, to) = (self.group(towers), self.group(towers));
            let latency = Distribution::Constant(millis(20 + u64::from(self.byte())));
            let path = LinkPath::new(from, to, |link| link.latency = Some(latency));
            scenario.paths.push(path);
        }
        for _ in 0..self.below(3) {
            let at = millis(500 * u64::from(self.byte()));
            let fault = match self.below(2) {
                0 => {
                    let (refused, broken) = (self.share(), self.share());
                    let link = LinkChange::with(|link| {
                        (link.refused, link.broken) = (Some(refused), Some(broken));
                    });
                    let lasts = seconds(1 + u64::from(self.below(100)));
                    FaultAt::new(at, Deed::LinkConditions { link }).lasts(lasts)
                }
                _ => {
                    let (towers, peers) = (self.group(towers), self.group(towers));
                    FaultAt::new(at, Deed::Expand { towers, peers })
                }
            };
            scenario.faults.push(fault);
        }
        scenario.faults.sort_by_key(|fault| fault.at);
    }

    fn churn(&mut self) -> Churn {
        let mut law = |least: u64| Distribution::Exponential {
            mean: seconds(least + u64::from(self.byte())),
        };
        let (session, absence) = (law(20), law(5));
        let mut churn = Churn::new(session, absence, seconds(60 + u64::from(self.byte())));
        churn.graceful = self.one_of(&[0.0, 0.5, 1.0]);
        churn
    }

    fn group(&mut self, towers: u32) -> Towers {
        let number = u32::from(self.byte()) % towers;
        match self.below(2) {
            0 => Towers::One(number),
            _ => Towers::Count(number / 2 + 1),
        }
    }

    fn fault(&mut self, towers: u32) -> FaultAt {
        let group = self.group(towers);
        let at = millis(500 * u64::from(self.byte()));
        let lasts = seconds(1 + u64::from(self.below(100)));
        let what = match self.below(10) {
            0 => Deed::Crash {
                towers: group,
                how: self.one_of(&[CrashKind::Process, CrashKind::Machine]),
                contacts: true,
            },
            1 => Deed::Partition {
                kind: self.one_of(&[Parts::Halves, Parts::Isolate(group)]),
                direction: self.one_of(&[OneWay::Both, OneWay::Out, OneWay::In]),
                how: self.one_of(&[Look::Silent, Look::Reset]),
            },
            2 => Deed::Leave { towers: group, contacts: true },
            3 => Deed::Pause { towers: group },
            4 => Deed::Clock {
                towers: group,
                step: (i64::from(self.below(15)) - 5) * 1_000_000_000,
                drift: (i32::from(self.below(4)) - 1) * 100_000,
            },
            5 => Deed::Cut { towers: group },
            6 => Deed::Enqueue { towers: group, count: 1 + u32::from(self.below(20)) },
            7 => Deed::Announce { towers: group, peers: self.group(towers) },
            8 => Deed::Ignore { towers: group, peers: self.group(towers) },
            _ => Deed::Unignore { towers: group, peers: self.group(towers) },
        };
        let fault = FaultAt::new(at, what);
        match fault.what {
            Deed::Crash { .. }
            | Deed::Partition { .. }
            | Deed::Leave { .. }
            | Deed::Pause { .. }
            | Deed::Clock { .. } => fault.lasts(lasts),
            _ => fault,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::{DuplicationCause, LossCause, Totals};
    use crate::observation::Fault;

    /// Runs every input that is kept: the corpus, and what was once found.
    #[test]
    fn what_is_kept_for_the_fuzz_target_holds() {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
        if !fuzz.exists() {
            // A published crate comes without it.
            return println!("nothing is replayed, because {} is not there", fuzz.display());
        }
        let mut files = Vec::new();
        for folder in ["corpus/sim_scenario", "regressions/sim_scenario"] {
            let entries = std::fs::read_dir(fuzz.join(folder)).into_iter().flatten();
            files.extend(entries.map(|entry| entry.unwrap().path()));
        }
        assert!(!files.is_empty(), "there is no corpus");
        files.sort();
        let (mut happened, mut totals) = ([0; Fault::ALL.len()], Vec::new());
        for file in files {
            // A failure shows the name of the file that was last printed.
            println!("{}", file.display());
            let Some(outcome) = examine(&std::fs::read(&file).unwrap()) else { continue };
            for (fault, count) in Fault::ALL.iter().zip(&mut happened) {
                let asked = outcome.faults.iter().find(|asked| asked.fault == *fault);
                *count += asked.map_or(0, |asked| asked.happened);
            }
            totals.push(outcome.totals);
        }
        // When inputs mean something else, a corpus may be worth nothing, and nothing fails.
        let missing: Vec<_> =
            Fault::ALL.iter().zip(happened).filter(|(_, count)| *count == 0).collect();
        assert!(missing.is_empty(), "the corpus is worn out: there is no {missing:?}");
        let sum = |count: &dyn Fn(&Totals) -> u64| totals.iter().map(count).sum::<u64>();
        let causes = [
            sum(&|totals| totals.duplicated(DuplicationCause::ConfirmationLost)),
            sum(&|totals| totals.duplicated(DuplicationCause::TakenLate)),
            sum(&|totals| totals.duplicated(DuplicationCause::RetryTaken)),
            sum(&|totals| totals.coalesced),
            sum(&|totals| totals.lost(LossCause::Crash)),
        ];
        assert!(causes.iter().all(|count| *count > 0), "the corpus is worn out: {causes:?}");
    }

    #[test]
    fn most_inputs_are_scenarios_that_can_be_run() {
        let runnable = (0..=255u8).filter(|byte| {
            let input: Vec<u8> = (0..80u8).map(|n| n.wrapping_mul(*byte | 1) ^ *byte).collect();
            let scenario = Choices(&input).scenario();
            Simulation::new(&scenario, Path::new("."), Options::default()).is_ok()
        });
        let count = runnable.count();
        assert!(count > 200, "only {count} of 256");
    }
}
