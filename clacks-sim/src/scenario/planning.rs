//! The [`Plan`] of a scenario: groups are drawn, and each fault becomes steps in the order of time.

use std::collections::BTreeMap;
use std::hash::Hasher;
use std::iter;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

use clacks_proto::{Config, DefaultVerdict, Instant, Screening};
use clacks_store::enable_store;
use siphasher::sip::SipHasher13;

use super::error::ScenarioError;
use super::group::members;
use super::link::load;
use super::validate::check_step_count;
use super::{
    Churn, Direction, Fault, FaultKind, Files, PartitionEffect, PartitionShape, Path, Repeat,
    RoleKind, Scenario, Towers,
};
use crate::files;
use crate::observation::TowerId;
use crate::plan::{self, Group, Partition, Plan, Step, WithContacts};
use crate::rng::{Purpose, RngStreams};
use crate::roles::Roles;

/// The default number of samples in the time of a scenario.
const SAMPLES: u32 = 200;

impl Scenario {
    /// Returns the plan of the run. Paths of files are relative to the folder `base`.
    ///
    /// # Errors
    ///
    /// Returns the first value that is not allowed, or the first file that can't be read.
    pub(crate) fn plan(&self, base: &FilePath) -> Result<Plan, ScenarioError> {
        self.check()?;
        let loaded = self.with_files(base)?;
        // The files may contain values that are not allowed.
        loaded.check()?;
        loaded.planned(base)
    }

    /// Returns the paths of all files that a run reads, relative to the folder of the scenario.
    #[must_use]
    pub fn inputs(&self) -> Vec<&FilePath> {
        let overrides = self.paths.iter().map(|path| &path.link);
        let faults = self.faults.iter().filter_map(|fault| match &fault.kind {
            FaultKind::Conditions { link } => Some(link),
            _ => None,
        });
        let overrides =
            overrides.chain(faults).flat_map(|link| link.latency.iter().chain(&link.jitter));
        let churn = self.churn.iter().flat_map(|churn| [&churn.session, &churn.absence]);
        let distributions = iter::once(&self.link.latency).chain(&self.link.jitter);
        let samples = distributions
            .chain(overrides)
            .chain(churn)
            .filter_map(|distribution| distribution.file());
        samples.chain(self.contacts.file.as_deref()).collect()
    }

    /// Returns the scenario with the samples of all distributions.
    fn with_files(&self, base: &FilePath) -> Result<Self, ScenarioError> {
        let mut loaded = self.clone();
        loaded.link.load("link", base)?;
        for (number, path) in loaded.paths.iter_mut().enumerate() {
            path.link.load(&format!("path.{number}.link"), base)?;
        }
        for (number, fault) in loaded.faults.iter_mut().enumerate() {
            if let FaultKind::Conditions { link } = &mut fault.kind {
                link.load(&format!("fault.{number}.link"), base)?;
            }
        }
        if let Some(churn) = &mut loaded.churn {
            load("churn.session", Some(&mut churn.session), base)?;
            load("churn.absence", Some(&mut churn.absence), base)?;
        }
        Ok(loaded)
    }

    fn planned(&self, base: &FilePath) -> Result<Plan, ScenarioError> {
        let streams = RngStreams::new(self.seed);
        let mut groups = Groups::new(streams, self.towers);
        let plan_path = |path: &Path| plan::Path {
            from: groups.draw("path from", &path.from),
            to: groups.draw("path to", &path.to),
            conditions: self.link.with(&path.link).into(),
        };
        let (roles, addresses) = self.plan_roles()?;
        let files = self.plan_files(&roles, streams)?;
        Ok(Plan {
            seed: self.seed,
            keys: self.keys,
            addresses,
            towers: self.all_towers(),
            members: self.towers,
            files: files.map(Arc::new),
            config: Arc::new(self.tower_config()),
            hold: self.hold,
            time: self.longest_time(),
            faults_end: Instant::ORIGIN + self.time,
            conditions: self.link.clone(),
            paths: self.paths.iter().map(plan_path).collect(),
            message_size: self.messages.size,
            contacts: self.contacts.plan(self.towers, &streams, base)?,
            steps: steps(self, &roles, &mut groups),
            roles,
            churn: self.churn.as_ref().map(|churn| plan_churn(churn, &mut groups)),
            sample_every: self.sample_every(),
        })
    }

    /// Returns the configuration of the towers without a role.
    fn tower_config(&self) -> Config {
        let mut config = self.tower.clone();
        if self.hold.is_some() {
            enable_screening(&mut config);
        }
        if self.files.is_some() {
            enable_store(&mut config);
        }
        config
    }

    /// Returns the number of towers with the clients, which come last.
    pub(super) fn all_towers(&self) -> u32 {
        self.towers.saturating_add(self.files.as_ref().map_or(0, Files::clients))
    }

    fn plan_files(
        &self,
        roles: &Roles,
        streams: RngStreams,
    ) -> Result<Option<files::Files>, ScenarioError> {
        let Some(section) = &self.files else { return Ok(None) };
        let role = |tower: &TowerId| roles.of(*tower).map(|role| &role.kind);
        let is_spy = |tower: &TowerId| matches!(role(tower), Some(RoleKind::Spy {}));
        let is_store = |tower: &TowerId| role(tower).is_none_or(RoleKind::has_store);
        let stores: Vec<_> = (0..self.towers).map(TowerId).filter(is_store).collect();
        let spies = stores.iter().copied().filter(is_spy).collect();
        if stores.is_empty() {
            return Err(ScenarioError::field("files", "needs a tower without a role"));
        }
        let planned = files::Files::new(section, streams, stores, spies, self.towers);
        let problem = "is too large for this redundancy";
        planned.map(Some).ok_or_else(|| ScenarioError::field("files.size", problem))
    }

    /// Returns the steps of a fault that is applied during a run, and the end of the fault. The
    /// time of the fault counts from `now`. `ids` is the first unused id of a partition or of a
    /// change of conditions, and `steps` is the number of steps of all earlier faults. Both are
    /// advanced.
    ///
    /// # Errors
    ///
    /// Returns the first value of the fault that is not allowed, or the first file that can't be
    /// read.
    pub(crate) fn plan_applied(
        &self,
        fault: &Fault,
        now: Duration,
        base: &FilePath,
        (ids, steps): (&mut u32, &mut u64),
    ) -> Result<(Vec<(Instant, Step)>, Instant), ScenarioError> {
        let fault = Fault { at: now.saturating_add(fault.at), ..fault.clone() };
        let end = fault.end();
        let time = self.time.max(end.saturating_add(Duration::from_millis(1)));
        let (faults, targets) = (vec![fault], Vec::new());
        let alone = Self { time, faults, targets, ..self.clone() };
        alone.check()?;
        let loaded = alone.with_files(base)?;
        // The files may contain values that are not allowed.
        loaded.check()?;
        let count = steps.saturating_add(loaded.step_count());
        check_step_count(count)?;
        let mut groups = Groups::new(RngStreams::new(self.seed), self.towers);
        let mut planned = Steps { towers: self.towers, all: Vec::new(), ids: *ids };
        loaded.faults.iter().for_each(|fault| planned.fault(fault, &mut groups));
        (*ids, *steps) = (planned.ids, count);
        Ok((planned.all, Instant::ORIGIN + end))
    }

    /// Returns the longest virtual time of the run: the scenario's time and the time to settle.
    #[must_use]
    pub fn longest_time(&self) -> Duration {
        let settling =
            if self.checks.convergence { self.checks.settle_within } else { Duration::ZERO };
        self.time.saturating_add(settling)
    }

    /// Returns the interval of samples.
    pub(super) fn sample_every(&self) -> Duration {
        self.sample.unwrap_or(self.time / SAMPLES).max(Duration::from_millis(1))
    }
}

/// Enables screening for an application that decides at once.
pub(super) fn enable_screening(config: &mut Config) {
    if config.screening == Screening::Off {
        let (timeout, default) = (Duration::from_secs(60), DefaultVerdict::Reject);
        config.screening = Screening::On { max_offers: 1_024, timeout, default };
    }
}

fn plan_churn(churn: &Churn, groups: &mut Groups) -> plan::Churn {
    plan::Churn {
        towers: groups.draw("churn", &churn.towers),
        from: Instant::ORIGIN + churn.from,
        until: Instant::ORIGIN + churn.until,
        session: churn.session.clone(),
        absence: churn.absence.clone(),
        graceful: churn.graceful,
        contacts: if churn.contacts { WithContacts::Added } else { WithContacts::NotAdded },
    }
}

/// Returns all steps of a scenario.
fn steps(scenario: &Scenario, roles: &Roles, groups: &mut Groups) -> Vec<(Instant, Step)> {
    let mut steps = Steps { towers: scenario.towers, all: Vec::new(), ids: 0 };
    steps.start(scenario);
    steps.enqueue(scenario, roles, groups);
    scenario.faults.iter().for_each(|fault| steps.fault(fault, groups));
    // The sort is stable. At the same moment, towers start before faults, and faults happen in the
    // order of the scenario.
    steps.all.sort_by_key(|(at, _)| *at);
    steps.all
}

/// Draws groups of towers. Each group has its own stream, which depends only on what it is for.
struct Groups {
    streams: RngStreams,
    towers: u32,
    /// How often each subject was drawn. Two equal faults hit different towers.
    drawn: BTreeMap<u64, u64>,
}

impl Groups {
    fn new(streams: RngStreams, towers: u32) -> Self {
        Self { streams, towers, drawn: BTreeMap::new() }
    }

    fn draw(&mut self, purpose: &str, towers: &Towers) -> Group {
        let subject = self.subject(&format!("{purpose} {towers:?}"));
        towers.group(self.towers, &mut self.streams.stream(Purpose::Partition, subject))
    }

    /// Returns a function that draws the groups of each repetition of a fault.
    fn of_fault(&mut self, fault: &Fault) -> impl FnMut(u32, &Towers) -> Group + use<> {
        let (streams, count) = (self.streams, self.towers);
        let shape = match &fault.kind {
            FaultKind::Partition { shape, .. } => format!("{shape:?}"),
            _ => String::new(),
        };
        let (name, groups) = (fault.kind.name(), fault.kind.groups());
        let subject = self.subject(&format!("{name} {:?} {shape} {groups:?}", fault.at));
        let mut last = (0, 0);
        move |repetition, towers| {
            // The second group of a repetition has another stream.
            last = if last.0 == repetition { (repetition, last.1 + 1) } else { (repetition, 1) };
            let subject = hash(&format!("{subject} {last:?}"));
            towers.group(count, &mut streams.stream(Purpose::Partition, subject))
        }
    }

    fn subject(&mut self, text: &str) -> u64 {
        let count = self.drawn.entry(hash(text)).or_insert(0);
        *count += 1;
        hash(&format!("{text} {count}"))
    }
}

fn hash(text: &str) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(text.as_bytes());
    hasher.finish()
}

struct Steps {
    towers: u32,
    all: Vec<(Instant, Step)>,
    /// The next id of a partition or of a change of conditions.
    ids: u32,
}

impl Steps {
    fn push(&mut self, at: Duration, step: Step) {
        self.all.push((Instant::ORIGIN + at, step));
    }

    fn each(&mut self, at: Duration, group: &Group, step: impl Fn(TowerId) -> Step) {
        for tower in members(group, self.towers) {
            self.push(at, step(TowerId(tower)));
        }
    }

    /// Towers start one after the other.
    fn start(&mut self, scenario: &Scenario) {
        for tower in 0..self.towers {
            let at = part_of(scenario.contacts.spread, tower, self.towers);
            let contacts = WithContacts::Added;
            self.push(at, Step::Start { tower: TowerId(tower), contacts });
        }
        for tower in self.towers..scenario.all_towers() {
            let contacts = WithContacts::NotAdded;
            self.push(Duration::ZERO, Step::Start { tower: TowerId(tower), contacts });
        }
    }

    /// Messages are spread evenly over the towers and over the time.
    fn enqueue(&mut self, scenario: &Scenario, roles: &Roles, groups: &mut Groups) {
        let messages = &scenario.messages;
        let group = groups.draw("messages", &messages.towers);
        let is_honest = |tower: &u32| roles.of(TowerId(*tower)).is_none();
        let towers: Vec<u32> = members(&group, self.towers).filter(is_honest).collect();
        let count = messages.count;
        let Ok(holders) = u32::try_from(towers.len()) else { return };
        if holders == 0 || count == 0 {
            return;
        }
        for (_, start) in Repeat::starts(messages.repeat) {
            let at = messages.at.unwrap_or(scenario.contacts.spread);
            let begin = at.saturating_add(start);
            if messages.over.is_zero() {
                for (place, tower) in (0..holders).zip(&towers) {
                    let share = dealt(count, place, holders);
                    if share > 0 {
                        let step = Step::Enqueue { tower: TowerId(*tower), count: share };
                        self.push(begin, step);
                    }
                }
                continue;
            }
            for message in 0..count {
                let place = if count < holders {
                    u64::from(message) * u64::from(holders) / u64::from(count)
                } else {
                    u64::from(message % holders)
                };
                let tower = usize::try_from(place).ok().and_then(|place| towers.get(place));
                let at = begin.saturating_add(part_of(messages.over, message, count));
                if let Some(tower) = tower {
                    self.push(at, Step::Enqueue { tower: TowerId(*tower), count: 1 });
                }
            }
        }
    }

    /// All repetitions of a fault.
    fn fault(&mut self, fault: &Fault, groups: &mut Groups) {
        let mut draw = groups.of_fault(fault);
        for (repetition, start) in Repeat::starts(fault.repeat) {
            let at = fault.at.saturating_add(start);
            self.repetition(fault, at, |towers| draw(repetition, towers));
        }
    }

    fn repetition(&mut self, fault: &Fault, at: Duration, mut draw: impl FnMut(&Towers) -> Group) {
        let end = fault.lasts.map(|lasts| at.saturating_add(lasts));
        match &fault.kind {
            FaultKind::Partition { shape, direction, effect } => {
                let end = end.unwrap_or(at);
                for inside in self.insides(shape, draw) {
                    self.part(at, end, inside, *direction, *effect);
                }
            }
            FaultKind::Crash { towers, mode, contacts } => {
                let (group, how) = (draw(towers), *mode);
                self.each(at, &group, |tower| Step::Crash { tower, how });
                self.restart(end, &group, *contacts);
            }
            FaultKind::Leave { towers, contacts } => {
                let group = draw(towers);
                self.each(at, &group, |tower| Step::Leave { tower });
                self.restart(end, &group, *contacts);
            }
            FaultKind::Pause { towers } => {
                let group = draw(towers);
                self.each(at, &group, |tower| Step::Pause { tower });
                self.each(end.unwrap_or(at), &group, |tower| Step::Resume { tower });
            }
            FaultKind::Clock { towers, forward, back, drift_ppm } => {
                let (group, drift_ppm) = (draw(towers), *drift_ppm);
                let step = nanos(*forward).saturating_sub(nanos(*back));
                self.each(at, &group, |tower| Step::Clock { tower, step, drift_ppm });
                if let Some(end) = end.filter(|_| drift_ppm != 0) {
                    self.each(end, &group, |tower| Step::Clock { tower, step: 0, drift_ppm: 0 });
                }
            }
            FaultKind::Conditions { link } => {
                let (id, link) = (self.next_id(), Box::new(link.clone()));
                self.push(at, Step::ChangeConditions { id, link });
                self.push(end.unwrap_or(at), Step::RestoreConditions { id });
            }
            FaultKind::Cut { towers } => {
                let group = draw(towers);
                self.each(at, &group, |tower| Step::Cut { tower });
            }
            FaultKind::Enqueue { towers, count } => {
                let (group, count) = (draw(towers), *count);
                self.each(at, &group, |tower| Step::Enqueue { tower, count });
            }
            FaultKind::Expand { towers, peers } => {
                let groups = (draw(towers), draw(peers));
                self.pairs(at, groups, |tower, peer| Step::Expand { tower, peer });
            }
            FaultKind::Announce { towers, peers } => {
                let groups = (draw(towers), draw(peers));
                self.pairs(at, groups, |tower, peer| Step::Announce { tower, peer });
            }
            FaultKind::Ignore { towers, peers } => {
                let groups = (draw(towers), draw(peers));
                self.pairs(at, groups, |tower, peer| Step::Ignore { tower, peer });
            }
            FaultKind::Unignore { towers, peers } => {
                let groups = (draw(towers), draw(peers));
                self.pairs(at, groups, |tower, peer| Step::Unignore { tower, peer });
            }
        }
    }

    fn restart(&mut self, end: Option<Duration>, group: &Group, gets_contacts: bool) {
        let contacts = if gets_contacts { WithContacts::Added } else { WithContacts::NotAdded };
        if let Some(end) = end {
            self.each(end, group, |tower| Step::Start { tower, contacts });
        }
    }

    #[allow(clippy::needless_pass_by_value, reason = "the groups are drawn for this call")]
    fn pairs(
        &mut self,
        at: Duration,
        groups: (Group, Group),
        step: impl Fn(TowerId, TowerId) -> Step,
    ) {
        for tower in members(&groups.0, self.towers) {
            for peer in members(&groups.1, self.towers).filter(|peer| *peer != tower) {
                self.push(at, step(TowerId(tower), TowerId(peer)));
            }
        }
    }

    fn insides(
        &self,
        shape: &PartitionShape,
        mut draw: impl FnMut(&Towers) -> Group,
    ) -> Vec<Group> {
        match shape {
            PartitionShape::Halves => vec![Group::Range(0, self.towers / 2)],
            PartitionShape::Random(share) => vec![draw(&Towers::Share(*share))],
            PartitionShape::Group(towers) => vec![draw(towers)],
            PartitionShape::Isolate(towers) => {
                let group = draw(towers);
                members(&group, self.towers).map(|one| Group::Range(one, one + 1)).collect()
            }
        }
    }

    fn part(
        &mut self,
        at: Duration,
        end: Duration,
        inside: Group,
        direction: Direction,
        how: PartitionEffect,
    ) {
        let id = self.next_id();
        self.push(at, Step::Partition { id, partition: Partition { inside, direction, how } });
        self.push(end, Step::Heal { id });
    }

    fn next_id(&mut self) -> u32 {
        self.ids += 1;
        self.ids - 1
    }
}

fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

/// Returns the beginning of one of `count` equal parts of a time.
fn part_of(time: Duration, place: u32, count: u32) -> Duration {
    let nanos = time.as_nanos().saturating_mul(place.into()) / u128::from(count.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Returns the share of one holder if `count` things are dealt out evenly.
fn dealt(count: u32, place: u32, holders: u32) -> u32 {
    let before = |place: u32| u64::from(count) * u64::from(place) / u64::from(holders.max(1));
    u32::try_from(before(place + 1) - before(place)).unwrap_or(0)
}
