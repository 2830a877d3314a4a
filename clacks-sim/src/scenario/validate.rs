//! The limits of a scenario's values.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use clacks_proto::SendRate;

use super::error::ScenarioError;
use super::faults::Lasting;
use super::{
    Churn, Contacts, Fault, FaultKind, Link, Messages, PartitionShape, Repeat, Scenario, Shape,
    Towers,
};
use crate::checkers::Survival;
use crate::distribution::Distribution;

pub(super) type Checked = Result<(), ScenarioError>;

const TOWERS: RangeInclusive<u32> = 1..=4_000_000;
const SEED: RangeInclusive<u64> = 0..=i64::MAX as u64;
const TIME: RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(366 * 24 * 3_600);
/// Messages with all repetitions.
const MAX_MESSAGES: u64 = 100_000_000;
/// Repetitions of a fault.
const TIMES: RangeInclusive<u32> = 1..=1_000_000;
/// Messages that each tower enqueues in a fault.
const COUNT: RangeInclusive<u32> = 1..=1_000_000;
/// The drift of a clock in parts per million: from half to twice the speed.
const DRIFT: RangeInclusive<i32> = -500_000..=1_000_000;
/// The shortest mean of a session and an absence together. Without a limit, a tower could leave and
/// return for ever at one moment.
const MIN_TURN: Duration = Duration::from_millis(1);
/// The number of towers that a partition can isolate.
const MAX_ISOLATED: u32 = 1_000;
/// The number of messages in a group of `checks.survival`.
const MAX_GROUP: u32 = 1_000_000;
/// The number of steps of all faults together.
const MAX_STEPS: u64 = 20_000_000;
/// The number of contacts of all towers together.
const MAX_CONTACTS: u64 = 100_000_000;

impl Scenario {
    /// Checks all values. Files are not read.
    ///
    /// # Errors
    ///
    /// Returns the first value that is not allowed.
    pub fn check(&self) -> Result<(), ScenarioError> {
        if self.name.trim().is_empty() {
            return Err(ScenarioError::range("name", "\"\"", "at least one letter"));
        }
        within("towers", self.towers, &TOWERS)?;
        within("seed", self.seed, &SEED)?;
        times("time", self.time, TIME)?;
        if let Some(sample) = self.sample {
            times("sample", sample, *TIME.start()..=self.time)?;
        }
        if let Some(hold) = self.hold {
            times("hold", hold, TIME)?;
        }
        times("checks.settle_within", self.checks.settle_within, Duration::ZERO..=*TIME.end())?;
        if let Some(Survival { n, k, share }) = self.checks.survival {
            within("checks.survival.n", n, &(1..=MAX_GROUP))?;
            within("checks.survival.k", k, &(1..=n))?;
            within("checks.survival.share", share, &(0.0..=1.0))?;
        }
        self.check_tower()?;
        self.check_roles()?;
        self.check_files()?;
        self.check_contacts(&self.contacts)?;
        self.check_messages(&self.messages)?;
        check_link("link", &self.link)?;
        for (number, path) in self.paths.iter().enumerate() {
            self.check_group(&format!("path.{number}.from"), &path.from)?;
            self.check_group(&format!("path.{number}.to"), &path.to)?;
            check_link(&format!("path.{number}.link"), &self.link.with(&path.link))?;
        }
        for (number, fault) in self.faults.iter().enumerate() {
            self.check_fault(&format!("fault.{number}"), fault)?;
        }
        check_step_count(self.step_count())?;
        self.churn.as_ref().map_or(Ok(()), |churn| self.check_churn(churn))?;
        self.check_pace()?;
        self.check_targets()
    }

    fn check_tower(&self) -> Checked {
        self.tower.validate().map_err(|error| {
            // Each error has the name of its field, as a Rust type.
            let mut field = String::from("tower.");
            for letter in format!("{error:?}").chars() {
                if letter.is_uppercase() && !field.ends_with('.') {
                    field.push('_');
                }
                field.extend(letter.to_lowercase());
            }
            let value = self.value_text(&field).map(|value| format!("is {value}; "));
            ScenarioError::field(field, format!("{}{error}", value.unwrap_or_default()))
        })
    }

    fn check_contacts(&self, contacts: &Contacts) -> Checked {
        self.before_end("contacts.spread", contacts.spread)?;
        let towers = self.towers;
        match contacts.shape {
            Shape::WellKnown => {
                within("contacts.known", contacts.known, &(1..=towers))?;
                check_contact_count("contacts.known", towers, contacts.known)
            }
            Shape::Regular if towers < 3 => {
                let problem = "is \"regular\"; there must be at least 3 towers";
                Err(ScenarioError::field("contacts.shape", problem))
            }
            Shape::Regular if contacts.degree % 2 == 1 && towers % 2 == 1 => {
                let range = format!("even, because the number of towers, {towers}, is odd");
                Err(ScenarioError::range("contacts.degree", contacts.degree, range))
            }
            Shape::Regular => {
                within("contacts.degree", contacts.degree, &(2..=(towers - 1).min(256)))?;
                check_contact_count("contacts.degree", towers, contacts.degree)
            }
            Shape::Full => check_contact_count("contacts.shape", towers, towers.saturating_sub(1)),
            Shape::File if contacts.file.is_none() => Err(ScenarioError::field(
                "contacts.file",
                "is missing; with contacts.shape = \"file\" it must be the path of a CSV file",
            )),
            _ => Ok(()),
        }
    }

    fn check_messages(&self, messages: &Messages) -> Checked {
        within("messages.size", messages.size, &(8..=self.tower.max_message.max(8)))?;
        self.check_group("messages.towers", &messages.towers)?;
        let spread = self.contacts.spread;
        let at = messages.at.unwrap_or(spread);
        self.before_end("messages.at", at)?;
        if at < spread && messages.count > 0 {
            let range =
                format!("at least contacts.spread, {}: towers start until then", text(spread));
            return Err(ScenarioError::range("messages.at", text(at), range));
        }
        check_repeat("messages", messages.repeat, messages.over)?;
        let last = at.saturating_add(Repeat::last(messages.repeat));
        self.ends_in_time("messages", last.saturating_add(messages.over))?;
        if messages.total() > MAX_MESSAGES {
            let range = format!("at most {MAX_MESSAGES} with all repetitions");
            return Err(ScenarioError::range("messages.count", messages.total(), range));
        }
        if messages.count == 0 {
            Ok(())
        } else {
            self.not_empty("messages.towers", &messages.towers)
        }
    }

    fn check_fault(&self, field: &str, fault: &Fault) -> Checked {
        let key = |key: &str| format!("{field}.{key}");
        self.before_end(&key("at"), fault.at)?;
        match (fault.kind.lasting(), fault.lasts) {
            (Lasting::Required, None) => {
                let name = fault.kind.name();
                let problem = format!("is missing; a {name} fault must have a duration");
                return Err(ScenarioError::field(key("lasts"), problem));
            }
            (Lasting::Never, Some(_)) => {
                let problem =
                    format!("is not allowed in a fault of the kind {}", fault.kind.name());
                return Err(ScenarioError::field(key("lasts"), problem));
            }
            (_, Some(Duration::ZERO)) => {
                return Err(ScenarioError::range(key("lasts"), "0s", "more than 0s"));
            }
            _ => {}
        }
        check_repeat(field, fault.repeat, fault.lasts.unwrap_or_default())?;
        self.ends_in_time(field, fault.end())?;
        for (name, towers) in fault.kind.groups() {
            self.check_group(&key(name), towers)?;
            self.not_empty(&key(name), towers)?;
        }
        match &fault.kind {
            FaultKind::Partition { shape, .. } => self.check_partition(&key("shape"), shape),
            FaultKind::Clock { forward, drift_ppm, .. } => {
                times(&key("forward"), *forward, Duration::ZERO..=*TIME.end())?;
                within(&key("drift_ppm"), *drift_ppm, &DRIFT)
            }
            FaultKind::Conditions { link } => check_link(&key("link"), &self.link.with(link)),
            FaultKind::Enqueue { count, .. } => within(&key("count"), *count, &COUNT),
            _ => Ok(()),
        }
    }

    fn check_partition(&self, field: &str, shape: &PartitionShape) -> Checked {
        match shape {
            PartitionShape::Random(share) => {
                within(&format!("{field}.random"), *share, &(0.0..=1.0))?;
            }
            PartitionShape::Isolate(towers) => {
                within(&format!("{field}.isolate"), towers.size(self.towers), &(0..=MAX_ISOLATED))?;
            }
            _ => {}
        }
        if (1..self.towers).contains(&self.inside(shape)) {
            return Ok(());
        }
        Err(ScenarioError::field(field, "has a group without towers; both groups must have some"))
    }

    /// Returns the size of the first group of a partition.
    fn inside(&self, shape: &PartitionShape) -> u32 {
        match shape {
            PartitionShape::Halves => self.towers / 2,
            PartitionShape::Random(share) => Towers::Share(*share).size(self.towers),
            PartitionShape::Group(towers) => towers.size(self.towers),
            // Each tower is a group.
            PartitionShape::Isolate(_) => 1,
        }
    }

    fn check_churn(&self, churn: &Churn) -> Checked {
        self.check_group("churn.towers", &churn.towers)?;
        self.not_empty("churn.towers", &churn.towers)?;
        within("churn.graceful", churn.graceful, &(0.0..=1.0))?;
        check_distribution("churn.session", &churn.session)?;
        check_distribution("churn.absence", &churn.absence)?;
        let turn = churn.session.mean().saturating_add(churn.absence.mean());
        if turn < MIN_TURN && churn.session.is_loaded() && churn.absence.is_loaded() {
            let problem = format!(
                "and churn.absence are {} together on average; they must be at least 1ms",
                text(turn)
            );
            return Err(ScenarioError::field("churn.session", problem));
        }
        self.before_end("churn.from", churn.from)?;
        if churn.until <= churn.from || churn.until > self.time {
            let (from, time) = (text(churn.from), text(self.time));
            let range = format!("after churn.from, {from}, and not after the time, {time}");
            return Err(ScenarioError::range("churn.until", text(churn.until), range));
        }
        Ok(())
    }

    /// Refuses a network that is busy for ever at one moment.
    fn check_pace(&self) -> Checked {
        let roles = self.roles.iter().enumerate().map(|(number, role)| {
            let config = self.role_config(role, number)?;
            Ok((format!("role.{number}.tower.send_rate"), config.send_rate))
        });
        let rates = std::iter::once(Ok((String::from("tower.send_rate"), self.tower.send_rate)));
        let rates: Vec<_> = rates.chain(roles).collect::<Result<_, ScenarioError>>()?;
        let mut rates = rates.into_iter();
        let Some((rate, _)) = rates.find(|(_, rate)| *rate == SendRate::Unlimited) else {
            return Ok(());
        };
        let paths = self.paths.iter().enumerate();
        let paths = paths.map(|(number, path)| (format!("path.{number}.link"), &path.link));
        let faults = self.faults.iter().enumerate().filter_map(|(number, fault)| {
            let FaultKind::Conditions { link } = &fault.kind else { return None };
            Some((format!("fault.{number}.link"), link))
        });
        let changed = paths.chain(faults).map(|(field, link)| (field, self.link.with(link)));
        let mut all = std::iter::once((String::from("link"), self.link.clone())).chain(changed);
        let Some((field, _)) = all.find(|(_, link)| link.takes_no_time()) else { return Ok(()) };
        let range = format!("more than 0s with {rate} = \"unlimited\"");
        Err(ScenarioError::range(format!("{field}.latency"), "0s", range))
    }

    pub(super) fn check_group(&self, field: &str, towers: &Towers) -> Checked {
        let last = self.towers.saturating_sub(1);
        let exists = |tower: &u32| within(field, *tower, &(0..=last));
        match towers {
            Towers::One(tower) => exists(tower),
            Towers::Range(first, last) if first > last => Err(ScenarioError::field(
                format!("{field}.range"),
                format!("is [{first}, {last}]; the first must not be greater than the last"),
            )),
            Towers::Range(_, last) => exists(last),
            Towers::List(list) => list.iter().try_for_each(exists),
            Towers::Share(share) => within(&format!("{field}.share"), *share, &(0.0..=1.0)),
            Towers::Count(count) => within(&format!("{field}.count"), *count, &(0..=self.towers)),
            Towers::All => Ok(()),
        }
    }

    fn not_empty(&self, field: &str, towers: &Towers) -> Checked {
        if towers.size(self.towers) > 0 {
            return Ok(());
        }
        Err(ScenarioError::field(field, "is empty; it must have at least one tower"))
    }

    /// Returns the number of steps that all faults are planned as.
    pub(crate) fn step_count(&self) -> u64 {
        self.faults.iter().map(|fault| self.steps(fault)).fold(0, u64::saturating_add)
    }

    fn steps(&self, fault: &Fault) -> u64 {
        let drawn = match &fault.kind {
            FaultKind::Partition {
                shape: shape @ (PartitionShape::Halves | PartitionShape::Random(_)),
                ..
            } => self.inside(shape),
            _ => 1,
        };
        let groups = fault.kind.groups().into_iter().map(|(_, it)| u64::from(it.size(self.towers)));
        let once = groups.fold(drawn.into(), u64::saturating_mul);
        once.saturating_mul(2).saturating_mul(Repeat::times(fault.repeat).into())
    }

    fn before_end(&self, field: &str, at: Duration) -> Checked {
        if at < self.time {
            return Ok(());
        }
        let range = format!("less than the time, {}", text(self.time));
        Err(ScenarioError::range(field, text(at), range))
    }

    fn ends_in_time(&self, field: &str, end: Duration) -> Checked {
        if end <= self.time {
            return Ok(());
        }
        let (end, time) = (text(end), text(self.time));
        Err(ScenarioError::field(
            field,
            format!("ends after {end}; it must end within the time, {time}"),
        ))
    }
}

/// Checks the number of steps of all faults of a run.
pub(super) fn check_step_count(steps: u64) -> Checked {
    if steps <= MAX_STEPS {
        return Ok(());
    }
    let problem =
        format!("has {steps} steps (towers, times repetitions); it must be at most {MAX_STEPS}");
    Err(ScenarioError::field("fault", problem))
}

fn check_contact_count(field: &str, towers: u32, contacts: u32) -> Checked {
    let count = u64::from(towers) * u64::from(contacts);
    if count <= MAX_CONTACTS {
        return Ok(());
    }
    let problem = format!(
        "gives {towers} towers {contacts} contacts each; there must be at most {MAX_CONTACTS} in all"
    );
    Err(ScenarioError::field(field, problem))
}

fn check_link(field: &str, link: &Link) -> Checked {
    check_distribution(&format!("{field}.latency"), &link.latency)?;
    if let Some(jitter) = &link.jitter {
        check_distribution(&format!("{field}.jitter"), jitter)?;
    }
    if link.bandwidth == Some(0) {
        return Err(ScenarioError::range(format!("{field}.bandwidth"), 0, "at least 1"));
    }
    if link.capacity == Some(0) {
        return Err(ScenarioError::range(format!("{field}.capacity"), 0, "at least 1"));
    }
    let faults = link.random_faults();
    for (name, share) in faults {
        within(&format!("{field}.{name}"), share, &(0.0..=1.0))?;
    }
    for (one, other) in [(0, 1), (2, 4)] {
        let ((one, first), (other, second)) = (faults[one], faults[other]);
        let sum = first + second;
        if sum > 1.0 {
            let problem = format!("and {field}.{other} are {sum} together; they must be at most 1");
            return Err(ScenarioError::field(format!("{field}.{one}"), problem));
        }
    }
    Ok(())
}

fn check_distribution(field: &str, times: &Distribution) -> Checked {
    times.check().map_err(|error| ScenarioError::field(field, error.to_string()))
}

fn check_repeat(field: &str, repeat: Option<Repeat>, lasts: Duration) -> Checked {
    let Some(repeat) = repeat else { return Ok(()) };
    within(&format!("{field}.repeat.times"), repeat.times, &TIMES)?;
    if !repeat.every.is_zero() && repeat.every >= lasts {
        return Ok(());
    }
    let range = match lasts {
        Duration::ZERO => String::from("more than 0s"),
        _ => format!("at least the duration of one repetition, {}", text(lasts)),
    };
    Err(ScenarioError::range(format!("{field}.repeat.every"), text(repeat.every), range))
}

pub(super) fn times(field: &str, value: Duration, range: RangeInclusive<Duration>) -> Checked {
    if range.contains(&value) {
        return Ok(());
    }
    let days = |time: Duration| match time {
        it if it == *TIME.end() => String::from("366days"),
        _ => text(time),
    };
    let range = format!("from {} to {}", days(*range.start()), days(*range.end()));
    Err(ScenarioError::range(field, text(value), range))
}

pub(super) fn within<T: PartialOrd + fmt::Display>(
    field: &str,
    value: T,
    range: &RangeInclusive<T>,
) -> Checked {
    if range.contains(&value) {
        return Ok(());
    }
    let range = format!("from {} to {}", range.start(), range.end());
    Err(ScenarioError::range(field, value, range))
}

fn text(time: Duration) -> String {
    humantime::format_duration(time).to_string()
}
