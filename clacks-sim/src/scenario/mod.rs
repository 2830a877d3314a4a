//! What a person says of a run: a [`Scenario`], from a file or from Rust.
//!
//! # The format
//!
//! A scenario is a TOML file. Only `name`, `towers` and `time` must be there:
//!
//! ```toml
//! name = "two rings"
//! towers = 200            # 1 to 4 000 000
//! time = "2h"             # how long the run lasts: 1 ms to 366 days of virtual time
//! seed = 1                # every random choice follows from it
//!
//! [contacts]              # whom towers know when they come up
//! shape = "ring"
//!
//! [link]                  # what the network does to bytes
//! latency = { exponential = "40ms" }
//!
//! [messages]              # what goes round
//! count = 400
//!
//! [tower]                 # every knob of a tower, by its name
//! send_rate = 20
//!
//! [[fault]]               # what is done, when, for how long
//! what = "partition"
//! kind = "halves"
//! at = "10m"
//! lasts = "5m"
//! ```
//!
//! Durations are written like `"90s"`, `"1h 30m"`, `"250us"`. A group of towers is written like [`Towers`] says. The sections are
//! [`Contacts`], [`Link`], [`Path`], [`Messages`], [`Knobs`], [`Fault`], [`Churn`] and [`Checks`]; each says what its keys mean, from where to where
//! their values may go, and what holds without them. The [bundled scenarios](Scenario::bundled) show each of them.

mod bundled;
mod calm;
mod checks;
mod churn;
mod contacts;
mod error;
mod fault;
mod knobs;
mod limits;
mod link;
mod memory;
mod messages;
mod planning;
mod reading;
mod roles;
mod steps;
mod topology;
mod towers;
mod words;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use bundled::Bundled;
pub use checks::{Checks, Oracle};
pub use churn::Churn;
pub use contacts::{Contacts, Shape, Verb};
pub use error::ScenarioError;
pub use fault::{CrashKind, Deed, Fault, Look, OneWay, Parts};
pub use knobs::{AllowanceKnob, Knobs, OddsKnob, ScreeningKnob, TimeoutsKnob, Verdict, WindowKnob};
pub use link::{Link, LinkChange, Path};
pub use messages::{Messages, Repeat};
pub use roles::{BadFrames, Names, Role, RoleKind};
pub use towers::Towers;
pub use words::{Calm, Heartbeat, Limit, Rate};

pub use crate::network::AddressLayout;

use crate::text;

/// What is run: how many towers, for how long, in what weather, with which faults, and what must hold.
///
/// From a file with [`load`](Self::load) or [`from_toml`](Self::from_toml), from the bundle with [`named`](Self::named), or from Rust:
///
/// ```
/// use clacks_sim::scenario::{Fault, Parts, Rate, Scenario, Shape};
/// use std::time::Duration;
///
/// let minutes = |count: u64| Duration::from_secs(60 * count);
/// let scenario = Scenario::new("two rings", 200, minutes(60 * 24))
///     .seed(1)
///     .contacts(|contacts| contacts.shape = Shape::Ring)
///     .messages(|messages| messages.count = 400)
///     .tower(|tower| tower.send_rate = Rate::PerSecond(20.0))
///     .fault(Fault::partition(minutes(10), minutes(5), Parts::Halves));
///
/// let text = scenario.to_toml();
/// assert_eq!(Scenario::from_toml(&text)?, scenario);
/// # Ok::<(), clacks_sim::scenario::ScenarioError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// What it shows, in a sentence.
    #[serde(default)]
    pub about: String,
    /// The seed of every random choice. Default: 0.
    #[serde(default, with = "words::seed")]
    pub seed: u64,
    /// How many towers there are, 1 to 4 000 000.
    pub towers: u32,
    /// How long the run lasts, 1 ms to 366 days.
    #[serde(with = "text")]
    pub time: Duration,
    /// How often the state of the network is written down, at least 1 ms. Default: 200 times in the run.
    #[serde(default, with = "text::option", skip_serializing_if = "Option::is_none")]
    pub sample: Option<Duration>,
    /// The most memory that the run may take, in bytes. Default: 16 GiB, or what the machine has available, whichever is less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<u64>,
    /// Whether towers prove keys to each other, as with TLS. Default: true. Without keys, every
    /// claim of an address is believed.
    #[serde(default = "keys")]
    pub keys: bool,
    /// Which addresses towers have. Default: consecutive ones.
    #[serde(default)]
    pub addresses: AddressLayout,
    /// How every tower behaves.
    #[serde(default)]
    pub tower: Knobs,
    /// Towers that depart from the protocol.
    #[serde(default, rename = "role", skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<Role>,
    /// Whom each tower knows when it comes up.
    #[serde(default)]
    pub contacts: Contacts,
    /// What goes round.
    #[serde(default)]
    pub messages: Messages,
    /// What the network does to bytes.
    #[serde(default)]
    pub link: Link,
    /// Where it does something else.
    #[serde(default, rename = "path", skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<Path>,
    /// What is done to the network and to towers.
    #[serde(default, rename = "fault", skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
    /// Towers that come and go by themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub churn: Option<Churn>,
    /// What must hold.
    #[serde(default)]
    pub checks: Checks,
}

impl Scenario {
    /// A scenario in which towers know the first one, and nothing is done to them.
    #[must_use]
    pub fn new(name: impl Into<String>, towers: u32, time: Duration) -> Self {
        Self {
            name: name.into(),
            about: String::new(),
            seed: 0,
            towers,
            time,
            sample: None,
            memory_limit: None,
            keys: true,
            addresses: AddressLayout::default(),
            roles: Vec::new(),
            tower: Knobs::default(),
            contacts: Contacts::default(),
            messages: Messages::default(),
            link: Link::default(),
            paths: Vec::new(),
            faults: Vec::new(),
            churn: None,
            checks: Checks::default(),
        }
    }

    /// Says what it shows.
    #[must_use]
    pub fn about(mut self, about: impl Into<String>) -> Self {
        self.about = about.into();
        self
    }

    /// Takes another seed.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Changes how every tower behaves.
    #[must_use]
    pub fn tower(mut self, change: impl FnOnce(&mut Knobs)) -> Self {
        change(&mut self.tower);
        self
    }

    /// Changes whom towers know when they come up.
    #[must_use]
    pub fn contacts(mut self, change: impl FnOnce(&mut Contacts)) -> Self {
        change(&mut self.contacts);
        self
    }

    /// Changes what goes round.
    #[must_use]
    pub fn messages(mut self, change: impl FnOnce(&mut Messages)) -> Self {
        change(&mut self.messages);
        self
    }

    /// Changes what the network does to bytes.
    #[must_use]
    pub fn link(mut self, change: impl FnOnce(&mut Link)) -> Self {
        change(&mut self.link);
        self
    }

    /// Adds an exception to that. The first that fits counts.
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

    /// Lets towers come and go by themselves.
    #[must_use]
    pub fn churn(mut self, churn: Churn) -> Self {
        self.churn = Some(churn);
        self
    }

    /// Changes what must hold.
    #[must_use]
    pub fn checks(mut self, change: impl FnOnce(&mut Checks)) -> Self {
        change(&mut self.checks);
        self
    }
}

fn keys() -> bool {
    true
}

#[cfg(test)]
mod tests;
