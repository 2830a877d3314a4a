//! The description of a run: a [`Scenario`], from a TOML file or from Rust.
//!
//! # Format
//!
//! A scenario is a TOML file. `name`, `towers` and `time` are required, all other keys have
//! defaults:
//!
//! ```toml
//! name = "two rings"
//! towers = 200                  # 1 to 4 000 000
//! time = "2h"                   # virtual time with messages and faults, 1ms to 366days
//! seed = 1                      # all random choices follow from the seed
//!
//! [contacts]                    # the addresses that a tower knows when it starts
//! shape = "ring"
//!
//! [link]                        # conditions of links
//! latency = { exponential = { mean = "40ms" } }
//!
//! [messages]                    # what applications enqueue
//! count = 400
//!
//! [tower]                       # the `Config` of all towers
//! send_rate = 20                # messages a second
//! timeouts = { idle = "10s" }
//!
//! [[fault]]                     # faults of towers and of the network
//! kind = "partition"
//! shape = "halves"
//! at = "10m"
//! lasts = "5m"
//!
//! [checks]                      # checkers
//! settle_within = "6h"
//! ```
//!
//! | section | fields | what it describes |
//! |---|---|---|
//! | | [`Scenario`] | name, size, time, seed, keys, addresses, holds |
//! | `[contacts]` | [`Contacts`] | the addresses that a tower knows when it starts |
//! | `[messages]` | [`Messages`] | the messages that applications enqueue |
//! | `[link]`, `[[path]]` | [`Link`], [`Path`] | latency, bandwidth and random faults of links |
//! | `[tower]` | [`clacks_proto::Config`] | the configuration of all towers |
//! | `[[role]]` | [`Role`] | towers that depart from the protocol |
//! | `[[fault]]` | [`Fault`] | crashes, partitions and other events at given times |
//! | `[churn]` | [`Churn`] | towers that leave and return at random |
//! | `[files]` | [`Files`] | files that clients put into the network, keep and get |
//! | `[checks]` | [`Checks`] | the checkers, and the time to settle |
//! | `[[target]]` | [`Target`] | numbers that the run should reach |
//!
//! A duration is text with units: `"90s"`, `"1h 30m"`, `"250us"`. A random duration is a
//! [`Distribution`](crate::Distribution), and a group of towers is a [`Towers`].
//!
//! # The end of a run
//!
//! All faults happen within `time`. Then random faults stop, and the run goes on until the network
//! has converged: every running tower knows every other running tower as alive. The run fails if
//! this takes longer than [`settle_within`](Checks::settle_within). A scenario that can't converge
//! (a million towers with room for eight peers) switches this check off, and ends at `time`:
//!
//! ```toml
//! name = "many"
//! towers = 5_000
//! time = "10m"
//! contacts = { shape = "regular", verb = "expand" }
//! tower = { max_peers = 8 }
//! checks = { convergence = false }
//! ```
//!
//! # Targets
//!
//! A checker says whether the towers keep their rules. A target says how well the network does
//! under faults and roles: a [`Measure`] and a bound. A missed target is no violation. In this
//! scenario a tenth of the towers drops all messages that it gets:
//!
//! ```toml
//! name = "droppers"
//! towers = 50
//! time = "30m"
//! messages = { count = 800 }
//! checks = { convergence = false }
//!
//! [[role]]
//! kind = "hole"
//! towers = { share = 0.1 }
//! from = "10m"
//!
//! [[target]]
//! name = "groups with 16 of 32 messages after 10 min"
//! kind = "alive"
//! n = 32
//! k = 16
//! at = "20m"
//! at_least = 0.999
//!
//! [[target]]
//! name = "hops, compared with a calm network"
//! kind = "rate"
//! metric = "honest_hops"
//! from = "20m"
//! until = "30m"
//! of_calm = true
//! at_least = 0.95
//! ```
//!
//! `clacks sim droppers.toml` ends with a table of the targets, and has the exit code 1 with
//! `--check` if a target is missed. With `--seeds` the table has the mean and its 95 % confidence
//! interval, and the worse end of the interval must meet the bound.
//!
//! # Random scenarios
//!
//! [`Scenario::swarm`] draws towers, links, faults, churn and a role from a seed. The
//! [bundled scenarios](Scenario::bundled) show the format at work.

mod bundled;
mod checks;
mod error;
mod faults;
mod files;
mod format;
mod group;
mod link;
mod planning;
mod roles;
mod swarm;
mod tagged;
mod targets;
mod topology;
mod validate;

use std::time::Duration;

use clacks_proto::Config;
use serde::{Deserialize, Serialize};

pub use bundled::Bundled;
pub use checks::Checks;
pub use error::ScenarioError;
pub use faults::{
    Churn, CrashKind, Direction, Fault, FaultKind, PartitionEffect, PartitionShape, Repeat,
};
pub use files::{Files, Guess, JobFailure, JobKind};
pub use group::Towers;
pub use link::{Link, LinkOverrides, Path};
pub use roles::{BadFrames, Lists, Names, Role, RoleKind};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use swarm::{Limits, draw};
pub use targets::{Compared, Measure, Target};
pub use topology::{ContactVerb, Contacts, Shape};

pub use crate::network::AddressLayout;

/// A description of a run. All random choices follow from its seed.
///
/// [`load`](Self::load) and [`from_toml`](Self::from_toml) read a scenario, [`named`](Self::named)
/// returns a bundled one, and [`swarm`](Self::swarm) draws one. In Rust:
///
/// ```
/// use clacks_sim::scenario::{Fault, PartitionShape, Scenario, Shape};
/// use std::time::Duration;
///
/// let minutes = |count: u64| Duration::from_secs(60 * count);
/// let scenario = Scenario::new("two rings", 200, minutes(120))
///     .seed(1)
///     .contacts(|contacts| contacts.shape = Shape::Ring)
///     .messages(|messages| messages.count = 400)
///     .tower(|config| config.max_links = 64)
///     .fault(Fault::partition(minutes(10), minutes(5), PartitionShape::Halves));
///
/// let text = scenario.to_toml();
/// assert_eq!(Scenario::from_toml(&text)?, scenario);
/// # Ok::<(), clacks_sim::scenario::ScenarioError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Scenario {
    /// The name.
    pub name: String,
    /// What the scenario shows, in one sentence.
    #[serde(default)]
    pub about: String,
    /// The seed of all random choices, 0 to 9 223 372 036 854 775 807. Default: 0.
    #[serde(default)]
    pub seed: u64,
    /// The number of towers, 1 to 4 000 000.
    pub towers: u32,
    /// The virtual time in which messages are enqueued and faults happen, 1ms to 366days.
    #[serde(with = "crate::duration")]
    pub time: Duration,
    /// The interval of samples for tables and plots, at least 1ms. Default: a 200th of the time.
    #[serde(default, with = "crate::duration", skip_serializing_if = "Option::is_none")]
    pub sample: Option<Duration>,
    /// Whether towers prove keys to each other, as with TLS. Default: true. Without keys, every
    /// claim of an address is believed.
    #[serde(default = "keys")]
    pub keys: bool,
    /// Which addresses towers have. Default: consecutive ones.
    #[serde(default)]
    pub addresses: AddressLayout,
    /// The configuration of all towers.
    #[serde(default)]
    pub tower: Config,
    /// How long each message rests at each tower that takes it, at least 1ms: an application at
    /// each tower without a role accepts all messages with this hold. Screening is enabled for it.
    /// Default: messages do not rest.
    #[serde(default, with = "crate::duration", skip_serializing_if = "Option::is_none")]
    pub hold: Option<Duration>,
    /// Towers that depart from the protocol.
    #[serde(default, rename = "role", skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<Role>,
    /// The addresses that a tower knows when it starts.
    #[serde(default)]
    pub contacts: Contacts,
    /// The messages that applications enqueue.
    #[serde(default)]
    pub messages: Messages,
    /// What the network does to bytes.
    #[serde(default)]
    pub link: Link,
    /// Other conditions on some paths.
    #[serde(default, rename = "path", skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<Path>,
    /// What is done to towers and to the network.
    #[serde(default, rename = "fault", skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
    /// Towers that leave and return at random.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub churn: Option<Churn>,
    /// Files that clients put into the network, keep and get.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Files>,
    /// What must hold, or `"off"`.
    #[serde(default, deserialize_with = "checks::deserialize")]
    pub checks: Checks,
    /// Numbers that the run should reach.
    #[serde(default, rename = "target", skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<Target>,
}

/// Messages that applications enqueue. A fault with `kind = "enqueue"` adds further messages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Messages {
    /// The number of messages, at most 100 000 000 with all repetitions. Default: 0.
    pub count: u32,
    /// The size of a body in bytes, from 8 (a body begins with the number of the message) to
    /// `tower.max_message`. Default: 64.
    pub size: usize,
    /// When the first message is enqueued. Default: when the last tower has started.
    #[serde(with = "crate::duration", skip_serializing_if = "Option::is_none")]
    pub at: Option<Duration>,
    /// The time over which the messages are spread evenly. Default: 0s.
    #[serde(with = "crate::duration")]
    pub over: Duration,
    /// The towers whose applications enqueue, each about the same number. Towers with a role are
    /// left out. Default: all.
    pub towers: Towers,
    /// Repetitions of the whole section.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeat: Option<Repeat>,
}

impl Default for Messages {
    fn default() -> Self {
        Self {
            count: 0,
            size: 64,
            at: None,
            over: Duration::ZERO,
            towers: Towers::All,
            repeat: None,
        }
    }
}

impl Messages {
    /// Returns the number of messages with all repetitions.
    pub(super) fn total(&self) -> u64 {
        u64::from(self.count).saturating_mul(Repeat::times(self.repeat).into())
    }
}

impl Scenario {
    /// Returns a scenario without faults, in which all towers know the first one.
    #[must_use]
    pub fn new(name: impl Into<String>, towers: u32, time: Duration) -> Self {
        Self {
            name: name.into(),
            about: String::new(),
            seed: 0,
            towers,
            time,
            sample: None,
            keys: true,
            addresses: AddressLayout::default(),
            tower: Config::default(),
            hold: None,
            roles: Vec::new(),
            contacts: Contacts::default(),
            messages: Messages::default(),
            link: Link::default(),
            paths: Vec::new(),
            faults: Vec::new(),
            churn: None,
            files: None,
            checks: Checks::default(),
            targets: Vec::new(),
        }
    }

    /// Sets the sentence that describes the scenario.
    #[must_use]
    pub fn about(mut self, about: impl Into<String>) -> Self {
        self.about = about.into();
        self
    }

    /// Sets the seed.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Changes the configuration of all towers.
    #[must_use]
    pub fn tower(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.tower);
        self
    }

    /// Changes the contacts of towers.
    #[must_use]
    pub fn contacts(mut self, change: impl FnOnce(&mut Contacts)) -> Self {
        change(&mut self.contacts);
        self
    }

    /// Changes the messages.
    #[must_use]
    pub fn messages(mut self, change: impl FnOnce(&mut Messages)) -> Self {
        change(&mut self.messages);
        self
    }

    /// Changes the conditions of links.
    #[must_use]
    pub fn link(mut self, change: impl FnOnce(&mut Link)) -> Self {
        change(&mut self.link);
        self
    }

    /// Adds a path with other conditions. The first path that fits counts.
    #[must_use]
    pub fn path(mut self, path: Path) -> Self {
        self.paths.push(path);
        self
    }

    /// Adds a role.
    #[must_use]
    pub fn role(mut self, role: Role) -> Self {
        self.roles.push(role);
        self
    }

    /// Adds a fault.
    #[must_use]
    pub fn fault(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }

    /// Adds files, or changes them.
    #[must_use]
    pub fn files(mut self, change: impl FnOnce(&mut Files)) -> Self {
        change(self.files.get_or_insert_default());
        self
    }

    /// Sets the churn.
    #[must_use]
    pub fn churn(mut self, churn: Churn) -> Self {
        self.churn = Some(churn);
        self
    }

    /// Changes the checks.
    #[must_use]
    pub fn checks(mut self, change: impl FnOnce(&mut Checks)) -> Self {
        change(&mut self.checks);
        self
    }

    /// Replaces the defaults of the configuration of all towers by those of [`Config::original`].
    /// Values that differ from the defaults stay.
    ///
    /// # Errors
    ///
    /// When one of these values has no form in TOML. The scenario does not change.
    pub fn use_original_config(&mut self) -> Result<(), ScenarioError> {
        let changes = roles::changes(&Config::default(), &self.tower);
        let config = changes.and_then(|changes| roles::overridden(&Config::original(), &changes));
        self.tower = config.map_err(|problem| ScenarioError::field("tower", problem))?;
        Ok(())
    }

    /// Changes the time, and keeps the scenario valid if the new time is shorter: samples are taken
    /// in proportion, and messages and faults after the new end are removed or end with it. Targets
    /// after the new end are removed and returned.
    pub fn set_time(&mut self, time: Duration) -> Vec<Target> {
        let old = std::mem::replace(&mut self.time, time);
        if time >= old {
            return Vec::new();
        }
        let share = time.as_secs_f64() / old.as_secs_f64();
        self.sample =
            self.sample.map(|it| it.mul_f64(share).max(Duration::from_millis(1)).min(time));
        self.contacts.spread = self.contacts.spread.min(time / 2);
        let messages = &mut self.messages;
        messages.at = messages.at.filter(|at| *at < time);
        let start = messages.at.unwrap_or(self.contacts.spread).max(self.contacts.spread);
        messages.at = messages.at.map(|_| start);
        messages.over = messages.over.min(time.saturating_sub(start));
        messages.repeat = shortened(messages.repeat, start, messages.over, time);
        self.faults.retain_mut(|fault| {
            if fault.at >= time {
                return false;
            }
            fault.lasts = fault.lasts.map(|lasts| lasts.min(time - fault.at));
            let lasts = fault.lasts.unwrap_or_default();
            fault.repeat = shortened(fault.repeat, fault.at, lasts, time);
            fault.end() <= time
        });
        if let Some(files) = &mut self.files {
            files.at = files.at.min(time / 2);
            files.over = files.over.min(time - files.at);
            files.read_at = files.read_at.min(time);
            files.late_at = files.late_at.min(time);
        }
        let is_late = |target: &mut Target| target.measure.end() > time;
        let removed = self.targets.extract_if(.., is_late).collect();
        self.churn = self.churn.take().filter(|churn| churn.from < time);
        if let Some(churn) = &mut self.churn {
            churn.until = churn.until.min(time);
        }
        removed
    }
}

/// Removes the repetitions that end after a time.
fn shortened(
    repeat: Option<Repeat>,
    at: Duration,
    lasts: Duration,
    time: Duration,
) -> Option<Repeat> {
    repeat.map(|mut repeat| {
        let fit = time.saturating_sub(at + lasts).as_nanos() / repeat.every.as_nanos().max(1);
        repeat.times = repeat.times.min(u32::try_from(fit).unwrap_or(u32::MAX).saturating_add(1));
        repeat
    })
}

fn keys() -> bool {
    true
}

#[cfg(test)]
mod tests;
