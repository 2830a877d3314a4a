//! What is done in a run, step by step in the order of time.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher;
use std::time::Duration;

use clacks_proto::Instant;
use siphasher::sip::SipHasher13;

use super::fault::{self, Deed, Fault, Look, OneWay, Parts};
use super::messages::Repeat;
use super::towers::{Towers, members};
use super::{LinkChange, Scenario};
use crate::observation::TowerId;
use crate::plan::{CrashKind, Direction, Group, Partition, Severance, Step, WithContacts};
use crate::rng::{Purpose, Randomness};

/// All steps of a scenario.
pub(super) fn plan(
    scenario: &Scenario,
    drawer: &mut Drawer,
    calm_from: Duration,
) -> Vec<(Instant, Step)> {
    let mut steps = Steps { towers: scenario.towers, all: Vec::new(), partitions: 0 };
    steps.start(scenario);
    steps.enqueue(scenario, drawer);
    for fault in &scenario.faults {
        let mut draws = drawer.of_fault(fault);
        for (repetition, start) in Repeat::starts(fault.repeat) {
            steps.fault(fault, fault.at.saturating_add(start), |towers| draws(repetition, towers));
        }
    }
    steps.conditions(scenario, calm_from);
    // Stable: at the same moment towers come up first, then things are done in the order of the scenario.
    steps.all.sort_by_key(|(at, _)| *at);
    join_pauses(&mut steps.all);
    steps.all
}

/// Makes one pause of those of a tower that overlap: a short one must not wake it in the middle of a long one.
fn join_pauses(steps: &mut Vec<(Instant, Step)>) {
    let mut depths: BTreeMap<TowerId, u32> = BTreeMap::new();
    steps.retain(|(_, step)| match step {
        Step::Pause { tower } => {
            let depth = depths.entry(*tower).or_default();
            *depth += 1;
            *depth == 1
        }
        Step::Resume { tower } => {
            let depth = depths.entry(*tower).or_default();
            *depth = depth.saturating_sub(1);
            *depth == 0
        }
        _ => true,
    });
}

/// Draws groups of towers, each from a stream that depends on nothing but what it is for.
pub(super) struct Drawer {
    randomness: Randomness,
    towers: u32,
    /// How often the same was asked for: two faults that are alike in everything hit different towers.
    seen: BTreeMap<u64, u64>,
}

impl Drawer {
    pub(super) fn new(randomness: Randomness, towers: u32) -> Self {
        Self { randomness, towers, seen: BTreeMap::new() }
    }

    /// The group of something that has a name.
    pub(super) fn group(&mut self, name: &str, towers: &Towers) -> Group {
        let subject = self.subject(&[name.as_bytes(), written(towers).as_bytes()]);
        towers.group(self.towers, &mut self.randomness.draws(Purpose::Partition, subject))
    }

    /// Draws the groups of a fault, by the number of its repetition.
    fn of_fault(&mut self, fault: &Fault) -> impl FnMut(u32, &Towers) -> Group + use<> {
        let (randomness, count) = (self.randomness, self.towers);
        let kind = match &fault.what {
            Deed::Partition { kind, .. } => format!("{kind:?}"),
            _ => String::new(),
        };
        let at = fault.at.as_nanos().to_le_bytes();
        let mut parts = vec![fault.what.name().as_bytes(), &at, kind.as_bytes()];
        let groups: Vec<_> =
            fault.what.groups().into_iter().map(|(_, towers)| written(towers)).collect();
        parts.extend(groups.iter().map(String::as_bytes));
        let subject = self.subject(&parts);
        let mut which = (0, 0);
        move |repetition, towers| {
            // The second group of one repetition has a stream of its own.
            which = if which.0 == repetition { (repetition, which.1 + 1) } else { (repetition, 1) };
            let place = u64::from(repetition) << 32 | which.1;
            let subject = hash(&[&subject.to_le_bytes(), &u64::to_le_bytes(place)]);
            towers.group(count, &mut randomness.draws(Purpose::Partition, subject))
        }
    }

    fn subject(&mut self, parts: &[&[u8]]) -> u64 {
        let subject = hash(parts);
        let seen = self.seen.entry(subject).or_insert(0);
        *seen += 1;
        hash(&[&subject.to_le_bytes(), &seen.to_le_bytes()])
    }
}

fn hash(parts: &[&[u8]]) -> u64 {
    let mut hasher = SipHasher13::new();
    for part in parts {
        hasher.write(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
        hasher.write(part);
    }
    hasher.finish()
}

fn written(towers: &Towers) -> String {
    format!("{towers:?}")
}

struct Steps {
    towers: u32,
    all: Vec<(Instant, Step)>,
    partitions: u32,
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

    /// Towers come up one after the other.
    fn start(&mut self, scenario: &Scenario) {
        for tower in 0..self.towers {
            let at = part_of(scenario.contacts.spread, tower, self.towers);
            let contacts = WithContacts::Told;
            self.push(at, Step::Start { tower: TowerId(tower), contacts });
        }
    }

    /// Messages are dealt out evenly, over the towers and over the time.
    fn enqueue(&mut self, scenario: &Scenario, drawer: &mut Drawer) {
        let messages = &scenario.messages;
        let group = drawer.group("messages", &messages.towers);
        let towers: Vec<u32> = members(&group, self.towers).collect();
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

    /// One repetition of a fault; the weather is for [`weather`](Self::weather).
    fn fault(&mut self, fault: &Fault, at: Duration, mut draw: impl FnMut(&Towers) -> Group) {
        let end = fault.lasts.map(|lasts| at.saturating_add(lasts));
        match &fault.what {
            Deed::Partition { kind, direction, how } => {
                let end = end.unwrap_or(at);
                for inside in self.insides(kind, draw) {
                    self.part(at, end, inside, *direction, *how);
                }
            }
            Deed::Crash { towers, how, contacts } => {
                let group = draw(towers);
                let how = match how {
                    fault::CrashKind::Process => CrashKind::Process,
                    fault::CrashKind::Machine => CrashKind::Machine,
                };
                self.each(at, &group, |tower| Step::Crash { tower, how });
                self.restart(end, &group, *contacts);
            }
            Deed::Leave { towers, contacts } => {
                let group = draw(towers);
                self.each(at, &group, |tower| Step::Leave { tower });
                self.restart(end, &group, *contacts);
            }
            Deed::Pause { towers } => {
                let group = draw(towers);
                self.each(at, &group, |tower| Step::Pause { tower });
                self.each(end.unwrap_or(at), &group, |tower| Step::Resume { tower });
            }
            Deed::Clock { towers, step, drift } => {
                let (group, step, drift_ppm) = (draw(towers), *step, *drift);
                self.each(at, &group, |tower| Step::Clock { tower, step, drift_ppm });
                if let Some(end) = end.filter(|_| drift_ppm != 0) {
                    self.each(end, &group, |tower| Step::Clock { tower, step: 0, drift_ppm: 0 });
                }
            }
            Deed::Cut { towers } => {
                let group = draw(towers);
                self.each(at, &group, |tower| Step::Cut { tower });
            }
            Deed::Enqueue { towers, count } => {
                let (group, count) = (draw(towers), *count);
                self.each(at, &group, |tower| Step::Enqueue { tower, count });
            }
            Deed::Expand { towers, peers } => {
                let groups = (draw(towers), draw(peers));
                self.pairs(at, groups, |tower, peer| Step::Expand { tower, peer });
            }
            Deed::Announce { towers, peers } => {
                let groups = (draw(towers), draw(peers));
                self.pairs(at, groups, |tower, peer| Step::Announce { tower, peer });
            }
            Deed::Ignore { towers, peers } => {
                let groups = (draw(towers), draw(peers));
                self.pairs(at, groups, |tower, peer| Step::Ignore { tower, peer });
            }
            Deed::Unignore { towers, peers } => {
                let groups = (draw(towers), draw(peers));
                self.pairs(at, groups, |tower, peer| Step::Unignore { tower, peer });
            }
            Deed::LinkConditions { .. } => {}
        }
    }

    fn restart(&mut self, end: Option<Duration>, group: &Group, told: bool) {
        let contacts = if told { WithContacts::Told } else { WithContacts::Untold };
        if let Some(end) = end {
            self.each(end, group, |tower| Step::Start { tower, contacts });
        }
    }

    #[allow(clippy::needless_pass_by_value, reason = "they are drawn for this")]
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

    fn insides(&self, kind: &Parts, mut draw: impl FnMut(&Towers) -> Group) -> Vec<Group> {
        match kind {
            Parts::Halves => vec![Group::Range(0, self.towers / 2)],
            Parts::Random(share) => vec![draw(&Towers::Share(*share))],
            Parts::Group(towers) => vec![draw(towers)],
            Parts::Isolate(towers) => {
                let group = draw(towers);
                members(&group, self.towers).map(|one| Group::Range(one, one + 1)).collect()
            }
        }
    }

    fn part(&mut self, at: Duration, end: Duration, inside: Group, way: OneWay, how: Look) {
        let direction = match way {
            OneWay::Both => Direction::Both,
            OneWay::Out => Direction::Out,
            OneWay::In => Direction::In,
        };
        let how = match how {
            Look::Silent => Severance::Silent,
            Look::Reset => Severance::Reset,
        };
        let id = self.partitions;
        self.partitions += 1;
        self.push(at, Step::Part { id, partition: Partition { inside, direction, how } });
        self.push(end, Step::Heal { id });
    }

    /// Weather that overlaps adds up, later faults over earlier ones. In the calm phase there are no mishaps.
    fn conditions(&mut self, scenario: &Scenario, calm_from: Duration) {
        let link = &scenario.link;
        let mut spells = Vec::new();
        for fault in &scenario.faults {
            let (Deed::LinkConditions { link: change }, Some(lasts)) = (&fault.what, fault.lasts)
            else {
                continue;
            };
            for (_, start) in Repeat::starts(fault.repeat) {
                let at = fault.at.saturating_add(start);
                spells.push(Spell { at, end: at.saturating_add(lasts), change });
            }
        }
        let mut times: Vec<_> = spells.iter().flat_map(|spell| [spell.at, spell.end]).collect();
        times.sort_unstable();
        times.dedup();
        // On paths they stop by themselves.
        let is_calm_made = calm_from < scenario.time && link.has_mishaps();
        times.retain(|time| !is_calm_made || *time < calm_from);
        // Few hold at a time, however many there are in all.
        let mut coming: Vec<usize> = (0..spells.len()).collect();
        coming.sort_by_key(|place| spells[*place].at);
        let mut coming = coming.into_iter().peekable();
        let mut holding = BTreeSet::new();
        for time in times {
            while let Some(place) = coming.next_if(|place| spells[*place].at <= time) {
                holding.insert(place);
            }
            holding.retain(|place| time < spells[*place].end);
            let mut now = link.clone();
            for place in &holding {
                now = now.changed(spells[*place].change);
            }
            let conditions = (now != *link).then(|| Box::new(now.conditions()));
            self.push(time, Step::LinkConditions { conditions });
        }
        if is_calm_made {
            let conditions = Some(Box::new(link.without_mishaps().conditions()));
            self.push(calm_from, Step::LinkConditions { conditions });
        }
    }
}

/// For how long a change of the weather holds.
struct Spell<'a> {
    at: Duration,
    end: Duration,
    change: &'a LinkChange,
}

/// The beginning of one of `count` equal parts of a time.
fn part_of(time: Duration, place: u32, count: u32) -> Duration {
    let nanos = time.as_nanos().saturating_mul(place.into()) / u128::from(count.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// How many of `count` things the holder with this place gets when they are dealt out evenly.
fn dealt(count: u32, place: u32, holders: u32) -> u32 {
    let before = |place: u32| u64::from(count) * u64::from(place) / u64::from(holders.max(1));
    u32::try_from(before(place + 1) - before(place)).unwrap_or(0)
}
