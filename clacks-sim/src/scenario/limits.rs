//! What a scenario's numbers may be.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::error::ScenarioError;
use super::fault::{Deed, Ending, Fault, Parts};
use super::knobs::knob_of;
use super::link::{check_times, is_known};
use super::messages::Repeat;
use super::words::{Calm, Heartbeat, Rate};
use super::{Churn, Oracle, Scenario, Towers};

/// How many towers there may be.
const TOWERS: RangeInclusive<u32> = 1..=4_000_000;
/// How long a run may last.
const TIME: RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(366 * 24 * 3_600);
/// How many messages a second a tower may hand on.
const RATE: RangeInclusive<f64> = 0.000_1..=1_000_000.0;
/// How many messages there may be in all.
const MAX_MESSAGES: u64 = 100_000_000;
/// How often something may be repeated.
const TIMES: RangeInclusive<u32> = 1..=1_000_000;
/// How many messages each tower may enqueue in a fault.
const COUNT: RangeInclusive<u32> = 1..=1_000_000;
/// By how many parts per million a clock may be fast: from half to twice the speed.
const DRIFT: RangeInclusive<i32> = -500_000..=1_000_000;
/// How far a clock may jump: as far as the longest run lasts.
const LONGEST_STEP: Duration = *TIME.end();
/// How long a session and the absence after it take together, at least, on average: with nothing at all, a tower would come and go for ever in one instant.
const SHORTEST_TURN: Duration = Duration::from_millis(1);
/// How many samples the capacity law needs after the warm-up.
const ORACLE_SAMPLES: u32 = 41;
/// How many towers a partition may isolate.
const MAX_ISOLATED: u32 = 1_000;
/// How many single steps all faults together may take.
const MAX_STEPS: u64 = 20_000_000;

impl Scenario {
    /// Checks every number against its limits, and what belongs together against each other. Files and memory are for
    /// [`check_memory`](Self::check_memory) and the planning.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), ScenarioError> {
        if self.name.trim().is_empty() {
            return Err(ScenarioError::range("name", "\"\"", "at least one letter"));
        }
        within("towers", self.towers, &TOWERS)?;
        if !TIME.contains(&self.time) {
            return Err(ScenarioError::range("time", text(self.time), "from 1ms to 366days"));
        }
        if let Some(sample) = self.sample.filter(|it| *it < *TIME.start() || *it > self.time) {
            let range = format!("from 1ms to the time, {}", text(self.time));
            return Err(ScenarioError::range("sample", text(sample), range));
        }
        self.check_tower()?;
        self.check_roles()?;
        self.contacts.check(self.towers, self.time)?;
        self.check_messages()?;
        self.link.check("link")?;
        for (number, path) in self.paths.iter().enumerate() {
            path.from.check(&format!("path.{number}.from"), self.towers)?;
            path.to.check(&format!("path.{number}.to"), self.towers)?;
            self.link.changed(&path.link).check(&format!("path.{number}.link"))?;
        }
        for (number, fault) in self.faults.iter().enumerate() {
            self.check_fault(&format!("fault.{number}"), fault)?;
        }
        if self.fault_steps() > MAX_STEPS {
            let problem = format!(
                "takes {} steps in all (towers, times repetitions); it must be at most {MAX_STEPS}",
                self.fault_steps()
            );
            return Err(ScenarioError::field("fault", problem));
        }
        self.churn.as_ref().map_or(Ok(()), |churn| self.check_churn(churn))?;
        self.check_pace()?;
        self.before_end("checks.warm_up", self.checks.warm_up)?;
        self.check_oracle()
    }

    /// Where messages are handed on as fast as the links allow, a network in which nothing takes any time would be busy for ever in one instant.
    fn check_pace(&self) -> Result<(), ScenarioError> {
        if self.tower.send_rate != Rate::Unlimited {
            return Ok(());
        }
        let paths = self.paths.iter().enumerate();
        let paths = paths.map(|(number, path)| (format!("path.{number}.link"), &path.link));
        let faults = self.faults.iter().enumerate().filter_map(|(number, fault)| {
            let Deed::LinkConditions { link } = &fault.what else { return None };
            Some((format!("fault.{number}.link"), link))
        });
        let changed = paths.chain(faults).map(|(field, change)| (field, self.link.changed(change)));
        let mut all = std::iter::once((String::from("link"), self.link.clone())).chain(changed);
        let Some((field, _)) = all.find(|(_, link)| link.takes_no_time()) else { return Ok(()) };
        let range =
            "more than 0s when tower.send_rate is \"unlimited\", for time stands still otherwise";
        Err(ScenarioError::range(format!("{field}.latency"), "0s", range))
    }

    /// Whether the law that was asked for can be held against the run: one that is not looked at must not seem to hold.
    fn check_oracle(&self) -> Result<(), ScenarioError> {
        if self.checks.oracle != Some(Oracle::Capacity) {
            return Ok(());
        }
        if self.tower.send_rate == Rate::Unlimited {
            let range = "a number with checks.oracle = \"capacity\"";
            return Err(ScenarioError::range("tower.send_rate", "\"unlimited\"", range));
        }
        let every = self.sample_every().as_nanos();
        let warm = self.checks.warm_up.as_nanos().div_ceil(every);
        let samples = (self.time.as_nanos() / every).saturating_sub(warm).saturating_add(1);
        if samples >= ORACLE_SAMPLES.into() {
            return Ok(());
        }
        let most =
            self.time.saturating_sub(self.checks.warm_up).as_millis() / u128::from(ORACLE_SAMPLES);
        let advice = match u64::try_from(most) {
            Ok(0) | Err(_) => String::from("time must be longer"),
            Ok(most) => format!("sample must be at most {}", text(Duration::from_millis(most))),
        };
        let problem = format!(
            "needs {ORACLE_SAMPLES} samples after checks.warm_up, and there are {samples}; {advice}"
        );
        Err(ScenarioError::field("checks.oracle", problem))
    }

    fn check_tower(&self) -> Result<(), ScenarioError> {
        if let Rate::PerSecond(rate) = self.tower.send_rate {
            within("tower.send_rate", rate, &RATE)?;
        }
        // So that nothing that is worked out from it is without end.
        if self.tower.heartbeat == Heartbeat::Every(Duration::ZERO) {
            return Err(ScenarioError::range("tower.heartbeat", "0s", "at least 10ms, or \"off\""));
        }
        self.tower.config().validate().map_err(|error| {
            let knob = knob_of(error);
            let value = self.value_text(knob).map(|value| format!("is {value}; "));
            ScenarioError::field(knob, format!("{}{error}", value.unwrap_or_default()))
        })
    }

    fn check_messages(&self) -> Result<(), ScenarioError> {
        let messages = &self.messages;
        within("messages.size", messages.size, &(8..=self.tower.max_message.max(8)))?;
        messages.towers.check("messages.towers", self.towers)?;
        let at = messages.at.unwrap_or(self.contacts.spread);
        self.before_end("messages.at", at)?;
        if at < self.contacts.spread && messages.count > 0 {
            let spread = text(self.contacts.spread);
            let range = format!("not before all towers are up, after contacts.spread, {spread}");
            return Err(ScenarioError::range("messages.at", text(at), range));
        }
        check_repeat("messages", messages.repeat, Some(messages.over))?;
        let last = at.saturating_add(Repeat::last(messages.repeat));
        let end = last.saturating_add(messages.over);
        if end > self.time {
            let problem = format!("goes on until {}; {}", text(end), self.end_text());
            return Err(ScenarioError::field("messages", problem));
        }
        if messages.total() > MAX_MESSAGES {
            let range = format!("at most {MAX_MESSAGES} with all repetitions");
            return Err(ScenarioError::range("messages.count", messages.total(), range));
        }
        if messages.count > 0 { self.somebody("messages.towers", &messages.towers) } else { Ok(()) }
    }

    /// What is done to nobody does not happen.
    fn somebody(&self, field: &str, towers: &Towers) -> Result<(), ScenarioError> {
        if towers.size(self.towers) > 0 {
            return Ok(());
        }
        Err(ScenarioError::field(field, "is nobody; it must be somebody"))
    }

    fn both_sides(&self, field: &str, kind: &Parts) -> Result<(), ScenarioError> {
        let (inside, outside) = kind.sides(self.towers);
        if inside > 0 && outside > 0 {
            return Ok(());
        }
        let problem = "leaves nobody on one side; it must leave somebody on both";
        Err(ScenarioError::field(field, problem))
    }

    fn check_fault(&self, field: &str, fault: &Fault) -> Result<(), ScenarioError> {
        let at = |key: &str| format!("{field}.{key}");
        self.before_end(&at("at"), fault.at)?;
        match (fault.what.ending(), fault.lasts) {
            (Ending::Always, None) => {
                let name = fault.what.name();
                let problem = format!("is missing; a {name} fault must say how long it lasts");
                return Err(ScenarioError::field(at("lasts"), problem));
            }
            (Ending::Never, Some(_)) => {
                let problem = format!("does not belong to a fault that does {}", fault.what.name());
                return Err(ScenarioError::field(at("lasts"), problem));
            }
            (_, Some(Duration::ZERO)) => {
                return Err(ScenarioError::range(at("lasts"), "0s", "more than 0s"));
            }
            _ => {}
        }
        check_repeat(field, fault.repeat, fault.lasts)?;
        if fault.end() > self.time {
            let problem = format!("goes on until {}; {}", text(fault.end()), self.end_text());
            return Err(ScenarioError::field(field, problem));
        }
        for (key, towers) in fault.what.groups() {
            towers.check(&at(key), self.towers)?;
            self.somebody(&at(key), towers)?;
        }
        match &fault.what {
            Deed::Partition { kind: kind @ Parts::Random(share), .. } => {
                within(&at("kind.random"), *share, &(0.0..=1.0))?;
                self.both_sides(&at("kind"), kind)
            }
            Deed::Partition { kind: Parts::Isolate(towers), .. } => {
                let count = towers.size(self.towers);
                if count <= MAX_ISOLATED {
                    return Ok(());
                }
                let problem = format!("is {count} towers; it must be at most {MAX_ISOLATED}");
                Err(ScenarioError::field(at("kind.isolate"), problem))
            }
            Deed::Partition { kind, .. } => self.both_sides(&at("kind"), kind),
            Deed::Clock { step, drift, .. } => {
                if Duration::from_nanos(step.unsigned_abs()) > LONGEST_STEP {
                    let sign = if *step < 0 { "-" } else { "" };
                    let step = text(Duration::from_nanos(step.unsigned_abs()));
                    let range = "from -366days to 366days";
                    return Err(ScenarioError::range(at("step"), format!("{sign}{step}"), range));
                }
                within(&at("drift"), *drift, &DRIFT)
            }
            Deed::LinkConditions { link } => self.link.changed(link).check(&at("link")),
            Deed::Enqueue { count, .. } => within(&at("count"), *count, &COUNT),
            _ => Ok(()),
        }
    }

    fn check_churn(&self, churn: &Churn) -> Result<(), ScenarioError> {
        churn.towers.check("churn.towers", self.towers)?;
        self.somebody("churn.towers", &churn.towers)?;
        within("churn.graceful", churn.graceful, &(0.0..=1.0))?;
        check_times("churn.session", &churn.session)?;
        check_times("churn.absence", &churn.absence)?;
        let turn = churn.session.mean().saturating_add(churn.absence.mean());
        if turn < SHORTEST_TURN && is_known(&churn.session) && is_known(&churn.absence) {
            let turn = text(turn);
            let problem = format!(
                "and churn.absence are {turn} together on average; they must be at least {}",
                text(SHORTEST_TURN)
            );
            return Err(ScenarioError::field("churn.session", problem));
        }
        self.before_end("churn.from", churn.from)?;
        if churn.until <= churn.from || churn.until > self.time {
            let range = format!(
                "after churn.from, {}, and not after the time, {}",
                text(churn.from),
                text(self.time)
            );
            return Err(ScenarioError::range("churn.until", text(churn.until), range));
        }
        Ok(())
    }

    /// How many single steps the faults take.
    pub(super) fn fault_steps(&self) -> u64 {
        let size = |towers: &Towers| u64::from(towers.size(self.towers));
        let of = |fault: &Fault| {
            let sizes = fault.what.groups().into_iter().map(|(_, towers)| size(towers));
            let drawn = match &fault.what {
                Deed::Partition { kind: kind @ Parts::Random(_), .. } => kind.sides(self.towers).0,
                _ => 1,
            };
            let once = sizes.fold(drawn.into(), u64::saturating_mul).max(1);
            once.saturating_mul(2).saturating_mul(Repeat::times(fault.repeat).into())
        };
        self.faults.iter().map(of).fold(0, u64::saturating_add)
    }

    /// When the last thing that disturbs the network is over.
    pub(super) fn last_disturbance(&self) -> Duration {
        let faults = self.faults.iter().filter(|fault| !fault.what.is_harmless()).map(Fault::end);
        // Whoever still leaves when the churn ends comes back when it has left, or died of taking too long.
        let times = &self.tower.timeouts;
        let leaving = times.close.saturating_mul(2).saturating_add(times.shutdown);
        let churn = self.churn.iter().map(|churn| churn.until.saturating_add(leaving));
        let snapshot = self.clocks_stand_until();
        faults.chain(churn).fold(self.contacts.spread.max(snapshot), Duration::max)
    }

    /// Until when a clock may stand still because it was put back, again and again perhaps, if all hit the same tower.
    fn clocks_stand_until(&self) -> Duration {
        let mut steps = Vec::new();
        for fault in &self.faults {
            if let Deed::Clock { step: step @ ..0, .. } = fault.what {
                let back = Duration::from_nanos(step.unsigned_abs());
                let starts = Repeat::starts(fault.repeat);
                steps.extend(starts.map(|(_, start)| (fault.at.saturating_add(start), back)));
            }
        }
        steps.sort_unstable();
        steps
            .into_iter()
            .fold(Duration::ZERO, |until, (at, back)| until.max(at).saturating_add(back))
    }

    /// The shortest time that this scenario may have: until the last disturbance is over, and then the calm phase. `None` when no calm phase
    /// would be long enough.
    #[must_use]
    pub fn shortest_time(&self) -> Option<Duration> {
        let calm = match self.checks.calm {
            Calm::For(time) => time,
            Calm::Auto if self.checks.liveness => self.calm_bound()?,
            Calm::Off | Calm::Auto => Duration::ZERO,
        };
        Some(self.last_disturbance().saturating_add(calm))
    }

    /// From when on nothing is done to the network any more: the calm phase lasts from then to the end.
    pub(super) fn calm_from(&self) -> Result<Duration, ScenarioError> {
        let last = self.last_disturbance();
        let needed = match self.checks.calm {
            Calm::Off => return Ok(self.time),
            Calm::For(time) => time,
            Calm::Auto if !self.checks.liveness => Duration::ZERO,
            Calm::Auto => self.calm_bound().ok_or_else(|| {
                ScenarioError::field("checks.calm", format!(
                    "can't be worked out, because {}; it must be a duration or \"off\", or checks.liveness must be false",
                    self.why_unbounded()
                ))
            })?,
        };
        let end = last.saturating_add(needed);
        if end > self.time {
            let range = format!(
                "at least {}: the last fault is over after {}, and the calm phase after that takes {}",
                text(end),
                text(last),
                text(needed)
            );
            return Err(ScenarioError::range("time", text(self.time), range));
        }
        Ok(if self.has_mishaps() { self.time.saturating_sub(needed) } else { last })
    }

    /// Whether anything may go wrong by chance, before the calm phase begins.
    pub(super) fn has_mishaps(&self) -> bool {
        let on_path = |path: &super::Path| self.link.changed(&path.link).has_mishaps();
        self.link.has_mishaps() || self.paths.iter().any(on_path)
    }

    fn why_unbounded(&self) -> &'static str {
        if self.ignores_for_good() {
            "some are ignored to the end (what = \"ignore\" without a later \"heed\" of the same towers and peers)"
        } else if usize::try_from(self.towers)
            .is_ok_and(|towers| towers > self.tower.max_peers.saturating_add(1))
        {
            "a tower has no room for all others (tower.max_peers)"
        } else if self.tower.heartbeat == Heartbeat::Off {
            "without tower.heartbeat, and without messages that no crash can lose, nobody may notice anything"
        } else {
            "some would never be drawn or learned (tower.odds, tower.friends)"
        }
    }

    fn before_end(&self, field: &str, at: Duration) -> Result<(), ScenarioError> {
        if at < self.time {
            return Ok(());
        }
        let range = format!("less than the time, {}", text(self.time));
        Err(ScenarioError::range(field, text(at), range))
    }

    fn end_text(&self) -> String {
        format!("it must be over when the time is, after {}", text(self.time))
    }
}

fn check_repeat(
    field: &str,
    repeat: Option<Repeat>,
    lasts: Option<Duration>,
) -> Result<(), ScenarioError> {
    let Some(repeat) = repeat else { return Ok(()) };
    within(&format!("{field}.repeat.times"), repeat.times, &TIMES)?;
    let lasts = lasts.unwrap_or_default();
    if repeat.every.is_zero() || repeat.every < lasts {
        let range = match lasts {
            Duration::ZERO => String::from("more than 0s"),
            _ => format!("at least as long as one lasts, {}", text(lasts)),
        };
        let field = format!("{field}.repeat.every");
        return Err(ScenarioError::range(field, text(repeat.every), range));
    }
    Ok(())
}

fn within<T: PartialOrd + fmt::Display>(
    field: &str,
    value: T,
    range: &RangeInclusive<T>,
) -> Result<(), ScenarioError> {
    if range.contains(&value) {
        return Ok(());
    }
    let range = format!("from {} to {}", range.start(), range.end());
    Err(ScenarioError::range(field, value, range))
}

fn text(time: Duration) -> String {
    humantime::format_duration(time).to_string()
}
