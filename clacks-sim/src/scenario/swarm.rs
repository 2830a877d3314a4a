//! Random scenarios.

use std::time::Duration;

use clacks_proto::{Allowance, Datagrams, DefaultVerdict, Newcomers, Odds, Screening, SendRate};
use rand::{Rng, RngExt};

use super::{
    BadFrames, Churn, ContactVerb, CrashKind, Direction, Fault, FaultKind, Link, LinkOverrides,
    Names, PartitionEffect, PartitionShape, Path, Role, RoleKind, Scenario, Shape, Towers,
};
use crate::distribution::Distribution;
use crate::rng::{Purpose, RngStreams};

/// The sizes of [`Scenario::swarm`]. Larger networks take minutes to converge.
const LIMITS: Limits = Limits { towers: 60, time: 900, split: 45 * 60 };

/// The least number of towers of which some have a role (guess: the others still form a network).
const LEAST_WITH_ROLE: u32 = 4;

/// The shortest long partition, in seconds. It makes most peers across it lost.
const LEAST_LONG_SPLIT: u64 = 15 * 60;

/// The largest scenario that is drawn.
pub(crate) struct Limits {
    /// The number of towers, at least 2.
    pub(crate) towers: u32,
    /// The time in seconds, at least 100.
    pub(crate) time: u64,
    /// The longest partition, in seconds. Without long partitions it is 0.
    pub(crate) split: u64,
}

impl Scenario {
    /// Draws a scenario from a seed: size, contacts, messages, configuration, link conditions,
    /// faults, churn and a role. The seed is also the seed of the run.
    ///
    /// Everything is within the limits of what the protocol survives: at most 60 towers, queues
    /// that are at most 95 % full on average, partitions of at most 45 minutes, and an eighth of
    /// the towers with a role that drops no messages. Scenarios in which the protocol does not
    /// promise convergence have `checks.convergence = false`. Whether a random fault happens in a
    /// single run is left open, so `checks.faults_fired` is false.
    ///
    /// ```
    /// use clacks_sim::Scenario;
    ///
    /// let scenario = Scenario::swarm(7);
    /// scenario.check()?;
    /// assert_eq!(scenario, Scenario::swarm(7));
    /// # Ok::<(), clacks_sim::scenario::ScenarioError>(())
    /// ```
    #[must_use]
    pub fn swarm(seed: u64) -> Self {
        draw(&mut RngStreams::new(seed).stream(Purpose::Swarm, 0), &LIMITS).seed(seed)
    }
}

/// Draws a scenario.
pub(crate) fn draw(rng: &mut impl Rng, limits: &Limits) -> Scenario {
    // Small networks are as frequent as large ones, because most bugs need few towers.
    let most = limits.towers >> rng.random_range(0..limits.towers.ilog2());
    let towers = rng.random_range(2..=most.max(2));
    let time = seconds(rng.random_range(limits.time / 5..=limits.time));
    let mut swarm = Swarm { rng, towers, time };
    let mut scenario = Scenario::new("swarm", towers, time).about("A random scenario");
    scenario.checks.faults_fired = false;
    scenario.messages.count = swarm.rng.random_range(0..=3 * towers);
    scenario.messages.size = swarm.one_of(&[8, 64, 400, 2_000]);
    scenario.messages.over = swarm.one_of(&[Duration::ZERO, Duration::ZERO, time / 10, time / 2]);
    swarm.contacts(&mut scenario);
    swarm.config(&mut scenario);
    scenario.link = swarm.link();
    scenario.paths = (0..swarm.rng.random_range(0..3u32)).map(|_| swarm.path()).collect();
    for _ in 0..swarm.rng.random_range(0..6u32) {
        swarm.fault(&mut scenario);
    }
    if limits.split > 0 && swarm.chance(0.1) {
        swarm.long_split(&mut scenario, limits.split);
    }
    scenario.faults.sort_by_key(|fault| fault.at);
    if swarm.chance(0.25) {
        scenario.churn = Some(swarm.churn());
    }
    scenario.checks.convergence &= converges(&scenario);
    if swarm.chance(0.15) {
        swarm.scarce(&mut scenario);
    }
    if towers >= LEAST_WITH_ROLE && swarm.chance(0.3) {
        let role = swarm.role();
        scenario.checks.convergence &= matches!(role.kind, RoleKind::Spy {});
        scenario.roles.push(role);
    }
    // After all other choices, so that the inputs of the fuzz target keep their meaning.
    swarm.rules(&mut scenario);
    scenario
}

/// Returns whether the protocol promises that the network converges after the faults.
fn converges(scenario: &Scenario) -> bool {
    let mut kinds = scenario.faults.iter().map(|fault| (&fault.kind, fault.lasts));
    // A tower that restarts without contacts may stay unknown.
    let is_without_contacts = kinds.clone().any(|(kind, _)| match kind {
        FaultKind::Crash { contacts, .. } | FaultKind::Leave { contacts, .. } => !contacts,
        _ => false,
    }) || scenario.churn.as_ref().is_some_and(|churn| !churn.contacts);
    // Towers may be connected only by a tower that does not return.
    let is_split = scenario.contacts.shape != Shape::Full
        && kinds.clone().any(|(kind, lasts)| {
            matches!(kind, FaultKind::Crash { .. } | FaultKind::Leave { .. }) && lasts.is_none()
        });
    // A suspended application can't end the ignoring of a peer.
    let is_ignored = kinds.clone().any(|(kind, _)| matches!(kind, FaultKind::Ignore { .. }))
        && kinds.any(|(kind, _)| matches!(kind, FaultKind::Pause { .. }));
    !is_without_contacts && !is_split && !is_ignored
}

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

struct Swarm<'a, R> {
    rng: &'a mut R,
    towers: u32,
    time: Duration,
}

impl<R: Rng> Swarm<'_, R> {
    fn chance(&mut self, probability: f64) -> bool {
        self.rng.random::<f64>() < probability
    }

    fn one_of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.rng.random_range(0..choices.len())].clone()
    }

    fn millis(&mut self, least: u64, most: u64) -> Duration {
        millis(self.rng.random_range(least..=most))
    }

    fn contacts(&mut self, scenario: &mut Scenario) {
        let contacts = &mut scenario.contacts;
        contacts.shape = self.one_of(&[Shape::WellKnown, Shape::Ring, Shape::Full, Shape::Regular]);
        contacts.verb = self.one_of(&[ContactVerb::Announce, ContactVerb::Expand]);
        contacts.known = self.rng.random_range(1..=self.towers.min(3));
        contacts.spread = self.millis(0, 5_000);
        // An even degree fits every number of towers.
        let half = self.rng.random_range(1..=4).min((self.towers - 1) / 2);
        match contacts.shape {
            Shape::Regular if half == 0 => contacts.shape = Shape::Ring,
            Shape::Regular => contacts.degree = 2 * half,
            _ => {}
        }
    }

    /// Draws a configuration with which the network converges.
    fn config(&mut self, scenario: &mut Scenario) {
        let config = &mut scenario.tower;
        config.heartbeat = Some(self.millis(1_000, 10_000));
        config.send_rate = SendRate::per_second(self.one_of(&[1, 2, 2, 5]));
        config.burst = self.one_of(&[1, 4, 32]);
        config.kill_timeout = seconds(self.one_of(&[1_800, 3_600, 7_200]));
        config.odds = self.one_of(&[Odds::default(), Odds { alive: 90, lost: 9, dead: 1 }]);
        config.friends = Allowance { burst: 64, every: self.millis(100, 2_000) };
        config.strangers = Allowance { burst: 64, every: self.millis(100, 4_000) };
        config.window.messages = self.one_of(&[1, 2, 8, 32]);
        config.window.bytes = self.one_of(&[4_096, 65_536, 262_144]);
        config.probe_backoff = self.millis(500, 2_000);
        config.busy_backoff = self.millis(50, 500);
        config.local_share = self.one_of(&[60, 80, 100]);
        config.recent = self.one_of(&[0, 16, 4_096]);
        config.timeouts.confirm = self.millis(10_000, 30_000);
        config.timeouts.idle = self.millis(5_000, 60_000);
        if self.chance(0.1) {
            config.screening = self.screening();
        }
    }

    /// Draws the knobs of the rules, with which the network converges as well.
    fn rules(&mut self, scenario: &mut Scenario) {
        let is_scarce = scenario.tower.max_unproved == 1;
        if !is_scarce && self.chance(0.2) {
            self.nearly_full(scenario);
        }
        let config = &mut scenario.tower;
        config.contact_rate = self.one_of(&[0, 1, 10, 10, 50]);
        config.tried_messages = self.one_of(&[0, 1, 4, 4]);
        config.exchange_credit = self.one_of(&[0, 1, 16, 16]);
        config.fair_share_from = self.one_of(&[50, 80, 80, 100]);
        config.newcomers = self.one_of(&[Newcomers::MakeRoom, Newcomers::ReplaceDead]);
        config.lifetime = self.one_of(&[None, config.lifetime]);
        config.max_lifetime = config.lifetime.and(config.max_lifetime);
        config.datagrams = self.one_of(&[Datagrams::Off, Datagrams::ON]);
        if is_scarce {
            // Then messages alone carry friends.
            config.announced_friends = self.one_of(&[0, 1, 8]);
        } else {
            // With 0, messages alone carry friends, and messages may end before all towers know
            // each other. So a network that must converge has at least 1.
            config.announced_friends = self.one_of(&[1, 2, 8, 8]);
            config.max_unproved = self.one_of(&[16, 64, 256]);
            if self.chance(0.3) {
                (config.window.messages, config.window.bytes) = (1_024, 1 << 20);
            }
        }
        if self.chance(0.2) {
            // Some are shorter than a confirmation takes.
            config.lifetime = Some(self.millis(500, 60_000));
            config.max_lifetime = config.lifetime.map(|lifetime| lifetime * 2);
        }
    }

    fn screening(&mut self) -> Screening {
        Screening::On {
            max_offers: self.rng.random_range(1..=8),
            timeout: self.millis(0, 2_000),
            default: self.one_of(&[DefaultVerdict::Accept, DefaultVerdict::Reject]),
        }
    }

    /// Makes the queues so small that the messages fill half of them, or up to 95 per cent.
    fn nearly_full(&mut self, scenario: &mut Scenario) {
        let messages = self.enqueued(scenario) as usize * 100;
        let fill = self.rng.random_range(50..=95);
        let config = &mut scenario.tower;
        config.max_queue_messages = messages.div_ceil(fill * self.towers as usize).max(2);
        config.local_share = 100;
    }

    /// Returns the number of messages that all towers enqueue.
    fn enqueued(&self, scenario: &Scenario) -> u32 {
        let by_faults: u32 = scenario.faults.iter().map(enqueued).sum();
        scenario.messages.count + by_faults * self.towers
    }

    /// Adds a partition that lasts longer than all other faults.
    fn long_split(&mut self, scenario: &mut Scenario, most: u64) {
        let at = self.millis(0, 60_000);
        let lasts = self.millis(LEAST_LONG_SPLIT * 1_000, most * 1_000);
        scenario.faults.push(Fault::partition(at, lasts, self.shape()));
        scenario.time = (at + lasts).max(scenario.time);
    }

    /// Draws a configuration that is short of everything but room for messages. The protocol does
    /// not promise that such a network converges.
    fn scarce(&mut self, scenario: &mut Scenario) {
        scenario.checks.convergence = false;
        let enqueued = self.enqueued(scenario);
        let config = &mut scenario.tower;
        config.max_message = 2_000;
        config.max_queue_messages = 2 * enqueued as usize + 8;
        config.max_queue_bytes = config.max_queue_messages * 2_000;
        config.max_peers = self.rng.random_range(1..=6);
        config.max_links = self.rng.random_range(2..=6);
        config.max_unproved = 1;
        config.max_probes = self.rng.random_range(1..=3);
        config.heartbeat = self.one_of(&[None, Some(millis(500)), Some(seconds(5))]);
        config.kill_timeout = seconds(self.rng.random_range(0..256));
        config.max_pending_notices = 128;
        config.window.bytes = self.rng.random_range(0..4_096);
        let times = &mut config.timeouts;
        for time in [
            &mut times.connect,
            &mut times.handshake,
            &mut times.confirm,
            &mut times.idle,
            &mut times.close,
            &mut times.shutdown,
        ] {
            *time = self.millis(200, 12_000);
        }
        // Without a rate, messages move as fast as links allow: a few towers do for that.
        if self.towers <= 5 && self.chance(0.3) {
            config.send_rate = SendRate::Unlimited;
            scenario.link.latency = Distribution::Constant(self.millis(20, 200));
            scenario.link.jitter = None;
            scenario.paths.clear();
            scenario.faults.retain(|fault| !matches!(fault.kind, FaultKind::Conditions { .. }));
        }
    }

    fn duration(&mut self, most: u64) -> Distribution {
        let mean = self.millis(1, most);
        match self.rng.random_range(0..4u32) {
            0 => Distribution::Constant(mean),
            1 => Distribution::Uniform { from: Duration::ZERO, to: mean },
            2 => Distribution::LogNormal { median: mean, sigma: 0.5 },
            _ => Distribution::Exponential { mean },
        }
    }

    /// Draws the probability of a random fault, which is mostly 0.
    fn share(&mut self) -> f64 {
        self.one_of(&[0.0, 0.0, 0.0, 0.0, 0.001, 0.01, 0.05, 0.1])
    }

    fn link(&mut self) -> Link {
        let latency = self.duration(200);
        let jitter = self.chance(0.3).then(|| self.duration(100));
        // Permanent limits leave enough for all that towers send.
        let bandwidth = self.chance(0.2).then(|| self.rng.random_range(50_000..5_000_000));
        let capacity = self.chance(0.2).then(|| self.rng.random_range(20_000..2_000_000));
        let [refused, unanswered, broken, corrupted, silenced] = [(); 5].map(|()| self.share());
        Link {
            latency,
            jitter,
            bandwidth,
            capacity,
            refused,
            unanswered,
            broken,
            corrupted,
            silenced,
        }
    }

    fn path(&mut self) -> Path {
        let (from, to) = (self.group(), self.group());
        let latency = self.duration(400);
        let broken = self.share();
        Path::new(from, to, |link| (link.latency, link.broken) = (Some(latency), Some(broken)))
    }

    /// Draws a group of at least one tower and about half of the towers at most.
    fn group(&mut self) -> Towers {
        let last = self.rng.random_range(0..self.towers);
        match self.rng.random_range(0..3u32) {
            0 => Towers::One(last),
            1 => Towers::Count(last / 2 + 1),
            _ => Towers::Range(last / 2, last),
        }
    }

    fn gets_contacts(&mut self) -> bool {
        !self.chance(0.1)
    }

    fn churn(&mut self) -> Churn {
        let mean = self.millis(20_000, 200_000);
        let session = Distribution::Exponential { mean };
        let absence = Distribution::Exponential { mean: mean / 4 };
        let until = seconds(self.rng.random_range(self.time.as_secs() / 2..=self.time.as_secs()));
        let mut churn = Churn::new(session, absence, until);
        churn.towers = Towers::Count(self.rng.random_range(1..=self.towers));
        churn.graceful = self.one_of(&[0.0, 0.5, 1.0]);
        churn.contacts = self.gets_contacts();
        churn
    }

    /// Adds a fault, or two that belong together.
    fn fault(&mut self, scenario: &mut Scenario) {
        let time = u64::try_from(self.time.as_millis()).unwrap_or(0);
        let at = self.millis(0, time / 2);
        let lasts = self.millis(1_000, time / 2);
        let towers = self.group();
        let kind = match self.rng.random_range(0..11u32) {
            0 => FaultKind::Partition {
                shape: self.shape(),
                direction: self.one_of(&[Direction::Both, Direction::Out, Direction::In]),
                effect: self.one_of(&[PartitionEffect::Silent, PartitionEffect::Reset]),
            },
            1 => FaultKind::Crash {
                towers,
                mode: self.one_of(&[CrashKind::Process, CrashKind::Machine]),
                contacts: self.gets_contacts(),
            },
            2 => FaultKind::Leave { towers, contacts: self.gets_contacts() },
            3 => FaultKind::Pause { towers },
            4 => FaultKind::Clock {
                towers,
                forward: self.one_of(&[seconds(0), seconds(3), seconds(30)]),
                back: self.one_of(&[seconds(0), seconds(1), seconds(5)]),
                drift_ppm: self.rng.random_range(-100_000..200_000),
            },
            5 => FaultKind::Conditions { link: self.conditions() },
            6 => FaultKind::Cut { towers },
            7 => FaultKind::Enqueue { towers, count: self.rng.random_range(1..=5) },
            8 => FaultKind::Expand { towers, peers: self.group() },
            9 => FaultKind::Announce { towers, peers: self.group() },
            _ => {
                let towers = Towers::Range(0, self.rng.random_range(0..self.towers));
                let peers = Towers::One(self.rng.random_range(0..self.towers));
                // A tower that is ignored for ever can't become known.
                if self.chance(0.8) {
                    let (towers, peers) = (towers.clone(), peers.clone());
                    let unignore = FaultKind::Unignore { towers, peers };
                    scenario.faults.push(Fault::new(at + lasts, unignore));
                } else {
                    scenario.checks.convergence = false;
                }
                FaultKind::Ignore { towers, peers }
            }
        };
        let mut fault = Fault::new(at, kind);
        // Half of the crashes are for ever.
        if fault.kind.can_last() && (fault.kind.must_last() || self.chance(0.5)) {
            fault = fault.lasts(lasts);
        }
        scenario.faults.push(fault);
    }

    /// Draws a role that leaves the messages of other towers alive, for at most an eighth of the
    /// towers.
    fn role(&mut self) -> Role {
        let kind = match self.rng.random_range(0..6u32) {
            0 => RoleKind::Spy {},
            1 => RoleKind::Deaf {},
            2 => RoleKind::Slow { delay: self.millis(10, 5_000) },
            3 => {
                let choices = [BadFrames::Malformed, BadFrames::Unexpected, BadFrames::Any];
                RoleKind::Framer { frames: self.one_of(&choices), rate: self.rate() }
            }
            4 => RoleKind::Liar { share: self.one_of(&[0.01, 0.05, 0.2]) },
            _ => {
                let names = self.one_of(&[Names::Silent, Names::Refusing]);
                let networks = self.one_of(&[1, 16, 2_048]);
                RoleKind::Forge { names, networks, rate: self.rate() }
            }
        };
        let count = self.rng.random_range(1..=(self.towers / 8).max(1));
        let role = Role::new(kind, Towers::Count(count));
        let time = u64::try_from(self.time.as_millis()).unwrap_or(0);
        let role = role.from(self.millis(0, time / 2));
        let until = self.millis(time / 2 + 1, time);
        if self.chance(0.5) { role.until(until) } else { role }
    }

    /// Draws a low rate of calls to each tower in a second.
    fn rate(&mut self) -> f64 {
        self.one_of(&[0.01, 0.05, 0.2])
    }

    fn shape(&mut self) -> PartitionShape {
        match self.rng.random_range(0..4u32) {
            0 => PartitionShape::Random(0.5),
            1 => PartitionShape::Group(Towers::Count(self.rng.random_range(1..=self.towers / 2))),
            2 => PartitionShape::Isolate(self.group()),
            _ => PartitionShape::Halves,
        }
    }

    fn conditions(&mut self) -> LinkOverrides {
        let latency = self.chance(0.5).then(|| self.duration(400));
        let bandwidth = self.chance(0.2).then(|| self.rng.random_range(1_000..100_000));
        let capacity = self.chance(0.2).then(|| self.rng.random_range(100..100_000));
        let [refused, broken, silenced] = [(); 3].map(|()| Some(self.share()));
        LinkOverrides {
            latency,
            bandwidth,
            capacity,
            refused,
            broken,
            silenced,
            ..LinkOverrides::default()
        }
    }
}

/// Returns the number of messages that each tower enqueues in a fault.
fn enqueued(fault: &Fault) -> u32 {
    match fault.kind {
        FaultKind::Enqueue { count, .. } => count,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_is_a_valid_scenario_that_survives_toml() {
        for seed in 0..3_000 {
            let scenario = Scenario::swarm(seed);
            scenario.check().unwrap_or_else(|error| panic!("{seed}: {error}"));
            let read = Scenario::from_toml(&scenario.to_toml());
            assert_eq!(read.unwrap_or_else(|error| panic!("{seed}: {error}")), scenario);
        }
    }

    #[test]
    fn seeds_cover_all_parts_of_a_scenario() {
        let all: Vec<_> = (0..1_000).map(Scenario::swarm).collect();
        let share = |test: &dyn Fn(&Scenario) -> bool| all.iter().filter(|it| test(it)).count();
        for (name, count) in [
            ("two towers", share(&|it| it.towers == 2)),
            ("many towers", share(&|it| it.towers > 40)),
            ("no message", share(&|it| it.messages.count == 0)),
            ("no fault", share(&|it| it.faults.is_empty())),
            ("churn", share(&|it| it.churn.is_some())),
            ("no convergence", share(&|it| !it.checks.convergence)),
            ("a long partition", share(&|it| it.faults.iter().any(is_long_split))),
            ("nearly full", share(&|it| it.tower.max_queue_messages < 200)),
            ("messages on dials", share(&|it| it.tower.contact_rate == 0)),
            ("one friend", share(&|it| it.tower.announced_friends == 1)),
            ("no lifetimes", share(&|it| it.tower.lifetime.is_none())),
            ("short lifetimes", share(&|it| it.tower.lifetime.is_some_and(|it| it <= seconds(60)))),
            ("no exchange", share(&|it| it.tower.exchange_credit == 0)),
            ("no shares", share(&|it| it.tower.fair_share_from == 100)),
            ("one tried message", share(&|it| it.tower.tried_messages == 1)),
            ("dead peers replaced", share(&|it| it.tower.newcomers == Newcomers::ReplaceDead)),
            ("datagrams", share(&|it| it.tower.datagrams != Datagrams::Off)),
            ("a wide window", share(&|it| it.tower.window.messages == 1_024)),
            ("unlimited rate", share(&|it| it.tower.send_rate == SendRate::Unlimited)),
            ("screening", share(&|it| it.tower.screening != Screening::Off)),
            ("random faults", share(&|it| it.link.has_random_faults())),
            ("a role", share(&|it| !it.roles.is_empty())),
        ] {
            assert!((5..990).contains(&count), "{name}: {count} of 1000");
        }
        let kinds: std::collections::BTreeSet<_> =
            all.iter().flat_map(|it| it.faults.iter().map(|fault| fault.kind.name())).collect();
        assert_eq!(kinds.len(), 12, "{kinds:?}");
        let roles: std::collections::BTreeSet<_> =
            all.iter().flat_map(|it| it.roles.iter().map(|role| role.kind.as_str())).collect();
        assert_eq!(roles.len(), 6, "{roles:?}");
    }

    fn is_long_split(fault: &Fault) -> bool {
        let is_partition = matches!(fault.kind, FaultKind::Partition { .. });
        is_partition && fault.lasts.is_some_and(|lasts| lasts >= seconds(LEAST_LONG_SPLIT))
    }

    #[test]
    fn a_seed_never_changes_its_scenario() {
        let text = Scenario::swarm(1).to_toml();
        let hash = siphasher::sip::SipHasher13::new().hash(text.as_bytes());
        assert_eq!(
            hash, 933_063_907_576_593_873,
            "the scenarios of all recorded seeds change:\n{text}"
        );
    }
}
