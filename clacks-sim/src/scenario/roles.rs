//! The `[[role]]` sections: towers that depart from the protocol.

use std::sync::Arc;
use std::time::Duration;

use clacks_proto::{Config, Instant};
use clacks_store::enable_store;
use rand::seq::SliceRandom;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::error::ScenarioError;
use super::planning::enable_screening;
use super::validate::{Checked, times, within};
use super::{Scenario, Towers, tagged};
use crate::network::{AddressBook, AddressLayout, MADE_UP_NETWORKS, MAX_SPREAD};
use crate::observation::TowerId;
use crate::plan::Group;
use crate::rng::RngStreams;
use crate::roles::{RolePlan, Roles, Window, draws_of_towers};

/// The most roles of a scenario.
const MAX_ROLES: usize = 100;
/// The connections of all slowloris towers together.
const MAX_CONNECTIONS: u64 = 10_000_000;

/// Towers that depart from the protocol.
///
/// ```toml
/// [[role]]
/// kind = "hole"
/// towers = { share = 0.1 }
/// share = 0.5                   # of the messages
/// from = "10m"
/// tower = { send_rate = 5.0 }   # where their configuration differs
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Role {
    /// What the towers do.
    pub kind: RoleKind,
    /// Which towers. A drawn group contains only towers that have no role yet.
    pub towers: Towers,
    /// When they begin. Default: at the start.
    pub from: Duration,
    /// When they stop. Default: never.
    pub until: Option<Duration>,
    /// The keys of `[tower]` that differ for these towers.
    pub tower: toml::Table,
}

/// What the towers of a role do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum RoleKind {
    /// Confirm messages and drop a share of them.
    Hole {
        /// The share of the messages, from 0 to 1. Default: 1.
        #[serde(default = "all")]
        share: f64,
    },
    /// Pass messages on to each other only, and drop a share of those that they get from each
    /// other. Other towers must know them from the start.
    Colluder {
        /// The share of the messages, from 0 to 1. Default: 1.
        #[serde(default = "all")]
        share: f64,
    },
    /// Store messages, and refuse a share of them as if the queue were full.
    Liar {
        /// The share of the messages, from 0 to 1. Default: 1.
        #[serde(default = "all")]
        share: f64,
    },
    /// Enqueue messages of their own. The send rate must let them out.
    Flood {
        /// Messages a second from each tower of the role, up to 1 000 000.
        rate: f64,
        /// The length of each message in bytes. Default: 64.
        #[serde(default = "message_size")]
        size: usize,
    },
    /// Publish valid pieces of no file at all towers in turn. They have stores, and follow the
    /// protocol. Needs `[files]`.
    PublishFlood {
        /// Pieces a second from each tower of the role, up to 10 000.
        rate: f64,
        /// The hours ahead at which the pieces end, from 0 to 24. Default: 2, which stores take
        /// also when they are nearly full.
        #[serde(default = "short_hours")]
        hours: u32,
    },
    /// Answer that they queued a piece, and drop it, whether they should queue it or pass it on.
    /// They have stores, and follow the protocol otherwise. Needs `[files]`.
    Hop {
        /// What inventories show that they send or pass on. Default: nothing.
        #[serde(default)]
        lists: Lists,
        /// Whether the towers share what they dropped. Default: false.
        #[serde(default)]
        colludes: bool,
    },
    /// Name addresses to the towers without a role. They are no towers themselves. Each call
    /// claims one address. If it is a made-up one, the call names a second one as a friend. What
    /// the callers get in a call they confirm and drop.
    Forge {
        /// Which addresses.
        names: Names,
        /// The number of /16 networks of the addresses, 1 to 2048. Default: 2048.
        #[serde(default = "all_networks")]
        networks: u32,
        /// Calls a second to each tower, from each tower of the role.
        rate: f64,
    },
    /// Name addresses as a forge does, and answer at them: confirm messages, and drop them.
    Sybil {
        /// The number of /16 networks of the addresses of each tower of the role, 1 to 2048 in
        /// all. Default: 16.
        #[serde(default = "few_networks")]
        networks: u32,
        /// Calls a second to each tower, from each tower of the role.
        rate: f64,
    },
    /// Follow the protocol, and guess the origin of messages.
    Spy {},
    /// Call towers, and send bytes that the protocol does not allow. They are no towers
    /// themselves.
    Framer {
        /// Which bytes. Default: any.
        #[serde(default)]
        frames: BadFrames,
        /// Calls a second to each tower, from each tower of the role.
        rate: f64,
    },
    /// Read nothing on open connections that others made. Answers never come.
    Deaf {},
    /// Handle everything that arrives late, so that answers come late.
    Slow {
        /// By how much.
        #[serde(with = "crate::duration")]
        delay: Duration,
    },
    /// Open connections, send nothing or only the hello of a guest, and renew connections that end.
    /// They are no towers themselves.
    Slowloris {
        /// The number of connections to each tower, from each tower of the role, at most
        /// 10 000 000 in all. Default: 64.
        #[serde(default = "half_open")]
        connections: u32,
        /// Whether each connection sends the hello of a guest. Default: false.
        #[serde(default)]
        hello: bool,
    },
}

/// Addresses that a forge names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Names {
    /// New addresses at which dials are never answered.
    Silent,
    /// New addresses at which dials are refused.
    Refusing,
    /// The address of this tower, with the caller's own key. In a file: `{ tower = 0 }`.
    Tower(u32),
}

/// What the inventories of hostile hops show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Lists {
    /// Their own inventories are empty. They pass those of others on as they are.
    #[default]
    Nothing,
    /// Their own inventories show what they dropped, too. They pass those of others on as they are.
    Dropped,
    /// Inventories that they send or pass on show what they dropped, too: each of these pieces at
    /// one tower.
    Forged,
    /// Inventories that they send or pass on are empty.
    Hidden,
}

/// Bytes that the protocol does not allow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum BadFrames {
    /// Bytes that are no frames.
    Malformed,
    /// Frames that are not allowed at this point.
    Unexpected,
    /// Both.
    #[default]
    Any,
}

fn all() -> f64 {
    1.0
}

fn message_size() -> usize {
    64
}

fn short_hours() -> u32 {
    2
}

fn all_networks() -> u32 {
    MADE_UP_NETWORKS
}

fn few_networks() -> u32 {
    16
}

fn half_open() -> u32 {
    64
}

impl RoleKind {
    /// Returns the kind as one word, as in a file.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Hole { .. } => "hole",
            Self::Colluder { .. } => "colluder",
            Self::Liar { .. } => "liar",
            Self::Flood { .. } => "flood",
            Self::PublishFlood { .. } => "publish-flood",
            Self::Hop { .. } => "hop",
            Self::Forge { .. } => "forge",
            Self::Sybil { .. } => "sybil",
            Self::Spy {} => "spy",
            Self::Framer { .. } => "framer",
            Self::Deaf {} => "deaf",
            Self::Slow { .. } => "slow",
            Self::Slowloris { .. } => "slowloris",
        }
    }

    /// Returns whether the role is an endpoint that is no tower.
    #[must_use]
    pub fn is_raw(&self) -> bool {
        matches!(
            self,
            Self::Forge { .. } | Self::Sybil { .. } | Self::Framer { .. } | Self::Slowloris { .. }
        )
    }

    /// Returns whether the towers have stores, in a scenario with `[files]`.
    pub(crate) fn has_store(&self) -> bool {
        matches!(self, Self::Hop { .. } | Self::PublishFlood { .. } | Self::Spy {})
    }

    /// Returns whether the towers give the pieces that they hold to readers.
    pub(crate) fn gives_pieces(&self) -> bool {
        !matches!(self, Self::Hop { .. })
    }

    /// Returns whether the towers must screen messages.
    fn screens(&self) -> bool {
        matches!(self, Self::Hole { .. } | Self::Colluder { .. })
    }

    /// Returns the number of /16 networks of sybil addresses of each tower.
    pub(crate) fn sybil_networks(&self) -> u32 {
        match self {
            Self::Sybil { networks, .. } => *networks,
            _ => 0,
        }
    }
}

impl Role {
    /// Returns a role that some towers have during the whole run.
    #[must_use]
    pub fn new(kind: RoleKind, towers: Towers) -> Self {
        Self { kind, towers, from: Duration::ZERO, until: None, tower: toml::Table::new() }
    }

    /// Sets when the towers begin.
    #[must_use]
    pub fn from(mut self, from: Duration) -> Self {
        self.from = from;
        self
    }

    /// Sets when the towers stop.
    #[must_use]
    pub fn until(mut self, until: Duration) -> Self {
        self.until = Some(until);
        self
    }

    /// Sets a key of `[tower]` for these towers.
    #[must_use]
    pub fn tower(mut self, key: &str, value: impl Into<toml::Value>) -> Self {
        self.tower.insert(key.to_owned(), value.into());
        self
    }
}

/// The keys of all kinds.
#[derive(Serialize, Deserialize)]
struct Common {
    towers: Towers,
    #[serde(default, with = "crate::duration")]
    from: Duration,
    #[serde(default, with = "crate::duration", skip_serializing_if = "Option::is_none")]
    until: Option<Duration>,
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    tower: toml::Table,
}

impl<'de> Deserialize<'de> for Role {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let (Common { towers, from, until, tower }, kind) =
            tagged::deserialize(input, &["towers", "from", "until", "tower"])?;
        Ok(Self { kind, towers, from, until, tower })
    }
}

impl Serialize for Role {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        let Self { kind, towers, from, until, tower } = self.clone();
        tagged::serialize(&Common { towers, from, until, tower }, &kind, output)
    }
}

impl Scenario {
    /// Checks the roles and the addresses.
    pub(super) fn check_roles(&self) -> Checked {
        if self.addresses == AddressLayout::Spread && self.all_towers() > MAX_SPREAD {
            let problem = format!("is \"spread\", which needs at most {MAX_SPREAD} towers");
            return Err(ScenarioError::field("addresses", problem));
        }
        if self.roles.len() > MAX_ROLES {
            return Err(ScenarioError::field("role", format!("has more than {MAX_ROLES} entries")));
        }
        for (number, role) in self.roles.iter().enumerate() {
            self.check_role(number, role)?;
        }
        self.plan_roles().map(|_| ())
    }

    fn check_role(&self, number: usize, role: &Role) -> Checked {
        let field = |name: &str| format!("role.{number}.{name}");
        self.check_group(&field("towers"), &role.towers)?;
        if let Some(until) = role.until.filter(|until| *until <= role.from) {
            let until = humantime::format_duration(until);
            return Err(ScenarioError::range(field("until"), until, "later than from"));
        }
        let rate = |rate: f64, most: f64| within(&field("rate"), rate, &(0.0..=most));
        let networks = |count| within(&field("networks"), count, &(1..=MADE_UP_NETWORKS));
        match &role.kind {
            RoleKind::Hop { .. } | RoleKind::PublishFlood { .. } if self.files.is_none() => {
                Err(ScenarioError::field(field("kind"), "needs a section [files]"))
            }
            RoleKind::Hole { share } | RoleKind::Colluder { share } | RoleKind::Liar { share } => {
                within(&field("share"), *share, &(0.0..=1.0))
            }
            RoleKind::PublishFlood { rate: pieces, hours } => {
                rate(*pieces, 1e4)?;
                within(&field("hours"), *hours, &(0..=24))
            }
            RoleKind::Flood { rate: messages, size } => {
                rate(*messages, 1e6)?;
                within(&field("size"), *size, &(0..=self.tower.max_message))
            }
            RoleKind::Forge { names, networks: count, rate: calls } => {
                rate(*calls, 1e3)?;
                networks(*count)?;
                match names {
                    Names::Tower(tower) => {
                        self.check_group(&field("names.tower"), &Towers::One(*tower))
                    }
                    Names::Silent | Names::Refusing => Ok(()),
                }
            }
            RoleKind::Sybil { networks: count, rate: calls } => {
                rate(*calls, 1e3)?;
                networks(*count)
            }
            RoleKind::Framer { rate: calls, .. } => rate(*calls, 1e3),
            RoleKind::Slow { delay } => {
                let hour = Duration::from_secs(3_600);
                times(&field("delay"), *delay, Duration::ZERO..=hour)
            }
            RoleKind::Slowloris { connections, .. } => {
                within(&field("connections"), *connections, &(1..=100_000))
            }
            RoleKind::Spy {} | RoleKind::Deaf {} | RoleKind::Hop { .. } => Ok(()),
        }
    }

    /// Works out which tower has which role, and all addresses.
    pub(super) fn plan_roles(&self) -> Result<(Roles, AddressBook), ScenarioError> {
        let mut has_role =
            vec![false; if self.roles.is_empty() { 0 } else { self.towers as usize }];
        let mut plans = Vec::new();
        for (number, role) in self.roles.iter().enumerate() {
            let towers = self.draw_towers(role, number, &has_role)?;
            for tower in &towers {
                has_role[tower.0 as usize] = true;
            }
            let until = role.until.map_or(Instant::FAR_FUTURE, |until| Instant::ORIGIN + until);
            plans.push(RolePlan {
                kind: role.kind.clone(),
                window: Window { from: Instant::ORIGIN + role.from, until },
                config: Arc::new(self.config_of_towers(role, number, towers.len())?),
                towers: towers.into(),
                dropped: Arc::default(),
            });
        }
        let honest = has_role.iter().filter(|has_role| !**has_role).count() as u64;
        for (number, role) in plans.iter().enumerate() {
            let RoleKind::Slowloris { connections, .. } = role.kind else { continue };
            let towers = role.towers.len() as u64;
            if u64::from(connections).saturating_mul(towers * honest) > MAX_CONNECTIONS {
                let problem = format!(
                    "is {connections}, from each of {towers} towers to each of {honest} others; \
                     there must be at most {MAX_CONNECTIONS} connections in all"
                );
                return Err(ScenarioError::field(format!("role.{number}.connections"), problem));
            }
        }
        let networks =
            |role: &RolePlan| u64::from(role.kind.sybil_networks()) * role.towers.len() as u64;
        let count: u64 = plans.iter().map(networks).sum();
        if count > u64::from(MADE_UP_NETWORKS) {
            let problem = format!(
                "has {count} /16 networks of sybil addresses; there are {MADE_UP_NETWORKS}"
            );
            return Err(ScenarioError::field("role", problem));
        }
        let roles = Roles::new(plans, self.towers);
        let addresses = AddressBook::new(self.all_towers(), self.addresses, roles.sybil_owners());
        Ok((roles, addresses))
    }

    /// Returns the towers of a role, in ascending order.
    fn draw_towers(
        &self,
        role: &Role,
        number: usize,
        has_role: &[bool],
    ) -> Result<Vec<TowerId>, ScenarioError> {
        let mut draws = draws_of_towers(&RngStreams::new(self.seed), number);
        if let Towers::Share(_) | Towers::Count(_) = role.towers {
            let size = role.towers.size(self.towers) as usize;
            let mut free: Vec<u32> =
                (0..self.towers).filter(|tower| !has_role[*tower as usize]).collect();
            free.shuffle(&mut draws);
            free.truncate(size);
            free.sort_unstable();
            return Ok(free.into_iter().map(TowerId).collect());
        }
        let group: Group = role.towers.group(self.towers, &mut draws);
        let towers: Vec<_> =
            (0..self.towers).map(TowerId).filter(|tower| group.has(*tower)).collect();
        match towers.iter().find(|tower| has_role[tower.0 as usize]) {
            Some(tower) => {
                let problem = format!("contains tower {}, which has another role", tower.0);
                Err(ScenarioError::field(format!("role.{number}.towers"), problem))
            }
            None => Ok(towers),
        }
    }

    /// Returns the configuration of the towers of a role.
    fn config_of_towers(
        &self,
        role: &Role,
        number: usize,
        towers: usize,
    ) -> Result<Config, ScenarioError> {
        let mut config = self.role_config(role, number)?;
        if role.kind.screens() {
            enable_screening(&mut config);
        }
        if role.kind.has_store() && self.files.is_some() {
            enable_store(&mut config);
        }
        if let RoleKind::Colluder { .. } = role.kind {
            if towers < 2 {
                let problem = "must be at least two towers, which collude";
                return Err(ScenarioError::field(format!("role.{number}.towers"), problem));
            }
            config.max_peers = towers - 1;
        }
        config.validate().map_err(|error| wrong_config(number, &error.to_string()))?;
        Ok(config)
    }

    /// Returns the configuration of a role, without what its kind needs.
    pub(super) fn role_config(&self, role: &Role, number: usize) -> Result<Config, ScenarioError> {
        overridden(&self.tower, &role.tower).map_err(|problem| wrong_config(number, &problem))
    }
}

fn wrong_config(number: usize, problem: &str) -> ScenarioError {
    ScenarioError::field(format!("role.{number}.tower"), format!("is wrong: {problem}"))
}

/// Returns the keys of `value` that differ from those of `base`.
pub(super) fn changes<T: Serialize>(base: &T, value: &T) -> Result<toml::Table, String> {
    let table = |value: &T| toml::Table::try_from(value).map_err(|error| error.to_string());
    let (base, mut changes) = (table(base)?, table(value)?);
    changes.retain(|key, value| base.get(key) != Some(value));
    Ok(changes)
}

/// Returns a value with some of its keys replaced.
pub(super) fn overridden<T>(base: &T, changes: &toml::Table) -> Result<T, String>
where
    T: Clone + Serialize + DeserializeOwned,
{
    if changes.is_empty() {
        return Ok(base.clone());
    }
    let mut table = toml::Table::try_from(base).map_err(|error| error.to_string())?;
    merge(&mut table, changes);
    table.try_into().map_err(|error: toml::de::Error| error.message().to_owned())
}

fn merge(base: &mut toml::Table, changes: &toml::Table) {
    for (key, change) in changes {
        match (base.get_mut(key), change) {
            (Some(toml::Value::Table(base)), toml::Value::Table(change)) => merge(base, change),
            _ => _ = base.insert(key.clone(), change.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use clacks_proto::Screening;

    use super::*;

    fn scenario(sections: &str) -> Result<Scenario, String> {
        let text = format!("name = \"roles\"\ntowers = 20\ntime = \"1h\"\n{sections}");
        let scenario = Scenario::from_toml(&text).map_err(|error| error.to_string())?;
        scenario.check_roles().map_err(|error| error.to_string())?;
        Ok(scenario)
    }

    fn role(keys: &str) -> Result<Scenario, String> {
        scenario(&format!("[[role]]\ntowers = 3\n{keys}"))
    }

    #[test]
    fn every_kind_is_written_as_it_is_read() {
        for keys in [
            "kind = \"hole\"\nshare = 0.1",
            "kind = \"colluder\"\ntowers = { share = 0.2 }",
            "kind = \"liar\"\nfrom = \"1m\"\nuntil = \"2m\"",
            "kind = \"flood\"\nrate = 100\nsize = 1000\ntower = { send_rate = 100 }",
            "kind = \"forge\"\nnames = \"silent\"\nrate = 0.25",
            "kind = \"forge\"\nnames = { tower = 7 }\nnetworks = 3\nrate = 0.25",
            "kind = \"sybil\"\nrate = 0",
            "kind = \"spy\"",
            "kind = \"framer\"\nframes = \"malformed\"\nrate = 1",
            "kind = \"deaf\"",
            "kind = \"slow\"\ndelay = \"5s\"",
            "kind = \"slowloris\"\nconnections = 9",
            "kind = \"slowloris\"\nconnections = 9\nhello = true",
            "kind = \"publish-flood\"\nrate = 5\nhours = 3\n[files]\n[checks]\nconvergence = false",
            "kind = \"hop\"\nlists = \"forged\"\ncolludes = true\n[files]\n[checks]\n\
             convergence = false",
        ] {
            let towers = if keys.contains("towers") { "" } else { "towers = 3\n" };
            let read = scenario(&format!("[[role]]\n{towers}{keys}")).unwrap();
            let kind = read.roles[0].kind.as_str();
            assert!(keys.starts_with(&format!("kind = \"{kind}\"")));
            assert_eq!(Scenario::from_toml(&read.to_toml()).unwrap(), read, "{}", read.to_toml());
        }
    }

    #[test]
    fn a_wrong_role_is_an_error_that_names_the_key() {
        for (keys, problem) in [
            ("kind = \"whole\"", "whole"),
            ("kind = \"spy\"\nshare = 1.0", "share"),
            ("kind = \"hole\"\nrate = 1.0", "rate"),
            ("kind = \"flood\"", "rate"),
            ("kind = \"hole\"\nshare = 1.5", "role.0.share is 1.5"),
            ("kind = \"flood\"\nrate = -1.0", "role.0.rate is -1"),
            ("kind = \"flood\"\nrate = 1.0\nsize = 100000", "role.0.size is 100000"),
            ("kind = \"forge\"\nrate = 1.0\nnames = { tower = 20 }", "role.0.names.tower is 20"),
            ("kind = \"sybil\"\nrate = 1.0\nnetworks = 0", "role.0.networks is 0"),
            ("kind = \"spy\"\nfrom = \"1m\"\nuntil = \"1m\"", "role.0.until is 1m"),
            ("kind = \"spy\"\ntower = { max_peers = 0 }", "role.0.tower"),
            ("kind = \"spy\"\ntower = { max_pears = 1 }", "max_pears"),
            ("kind = \"colluder\"", "role.0.towers must be at least two"),
            ("kind = \"publish-flood\"\nrate = 1.0", "role.0.kind needs a section [files]"),
            ("kind = \"hop\"", "role.0.kind needs a section [files]"),
            ("kind = \"hop\"\nlists = \"all\"", "lists"),
            ("kind = \"spy\"\n[[role]]\nkind = \"deaf\"\ntowers = [1, 3]", "role.1.towers"),
        ] {
            let error = role(keys).unwrap_err();
            assert!(error.contains(problem), "{keys}: {error}");
        }
        let spread = "addresses = \"spread\"\n[[role]]\nkind = \"spy\"\ntowers = 30000";
        let text = format!("name = \"roles\"\ntowers = 30001\ntime = \"1h\"\n{spread}");
        let error = Scenario::from_toml(&text).unwrap().check_roles().unwrap_err().to_string();
        assert!(error.starts_with("addresses is \"spread\""), "{error}");
    }

    #[test]
    fn the_connections_of_slowloris_towers_are_bounded() {
        let check = |towers: u32| {
            let kind = RoleKind::Slowloris { connections: 100_000, hello: false };
            let scenario = Scenario::new("slowloris", towers, Duration::from_secs(60));
            scenario.role(Role::new(kind, Towers::One(0))).check()
        };
        assert!(check(101).is_ok());
        assert_eq!(
            check(102).unwrap_err().to_string(),
            "role.0.connections is 100000, from each of 1 towers to each of 101 others; there must \
             be at most 10000000 connections in all"
        );
    }

    #[test]
    fn drawn_groups_do_not_overlap() {
        let roles = "[[role]]\nkind = \"hole\"\ntowers = { share = 0.3 }
            [[role]]\nkind = \"liar\"\ntowers = { count = 8 }
            [[role]]\nkind = \"spy\"\ntowers = { share = 1.0 }";
        let (roles, _) = scenario(roles).unwrap().plan_roles().unwrap();
        let sizes: Vec<_> = roles.all.iter().map(|role| role.towers.len()).collect();
        assert_eq!(sizes, [6, 8, 6]);
        let of = |tower| roles.of(TowerId(tower)).unwrap().kind.as_str();
        assert_eq!((0..20).filter(|tower| of(*tower) == "liar").count(), 8);
        assert!(roles.of(TowerId(20)).is_none());
    }

    #[test]
    fn the_towers_of_a_role_have_their_own_configuration() {
        let base = "[tower]\nmax_message = 1000\ntimeouts = { idle = \"7s\", close = \"1s\" }\n";
        let keys = "tower = { max_peers = 5, timeouts = { idle = \"9s\" } }";
        let text = format!("{base}[[role]]\nkind = \"hole\"\ntowers = 3\n{keys}");
        let (roles, _) = scenario(&text).unwrap().plan_roles().unwrap();
        let config = &roles.all[0].config;
        assert_eq!((config.max_peers, config.max_message), (5, 1_000));
        let seconds = Duration::from_secs;
        assert_eq!(config.timeouts.idle, seconds(9));
        assert_eq!(config.timeouts.close, seconds(1));
        assert!(config.screening != Screening::Off, "a hole decides about each message");
    }

    #[test]
    fn each_sybil_tower_owns_its_networks() {
        let text = "[[role]]\nkind = \"sybil\"\nrate = 1.0\nnetworks = 3\ntowers = [4, 6]";
        let (roles, _) = scenario(text).unwrap().plan_roles().unwrap();
        let owners: Vec<_> = roles.sybil_owners().iter().map(|tower| tower.0).collect();
        assert_eq!(owners, [4, 4, 4, 6, 6, 6]);
    }
}
