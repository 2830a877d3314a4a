//! How a fault is written: one flat table, of which each deed has its own keys.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{CrashKind, Deed, Fault, Look, OneWay, Parts};
use crate::scenario::link::LinkChange;
use crate::scenario::messages::Repeat;
use crate::scenario::towers::Towers;
use crate::scenario::words::signed;
use crate::text;

/// The keys of all deeds. An error's text begins with the key that it is about.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    what: Observed,
    #[serde(with = "text")]
    at: Duration,
    #[serde(default, with = "text::option", skip_serializing_if = "Option::is_none")]
    lasts: Option<Duration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    towers: Option<Towers>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    peers: Option<Towers>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    count: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    how: Option<How>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    contacts: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kind: Option<Parts>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    direction: Option<OneWay>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    step: Option<Step>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    drift: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    link: Option<LinkChange>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    repeat: Option<Repeat>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Observed {
    #[default]
    Partition,
    Crash,
    Leave,
    Pause,
    Clock,
    LinkConditions,
    Cut,
    Enqueue,
    Expand,
    Announce,
    Ignore,
    #[serde(rename = "heed")]
    Unignore,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum How {
    Silent,
    Reset,
    Process,
    Machine,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(transparent)]
struct Step(#[serde(with = "signed")] i64);

impl Written {
    /// The optional keys that are there. Which fault may last is no question of the format.
    fn keys(&self) -> impl Iterator<Item = &'static str> {
        let keys = [
            ("towers", self.towers.is_some()),
            ("peers", self.peers.is_some()),
            ("count", self.count.is_some()),
            ("how", self.how.is_some()),
            ("contacts", self.contacts.is_some()),
            ("kind", self.kind.is_some()),
            ("direction", self.direction.is_some()),
            ("step", self.step.is_some()),
            ("drift", self.drift.is_some()),
            ("link", self.link.is_some()),
        ];
        keys.into_iter().filter(|(_, is_there)| *is_there).map(|(key, _)| key)
    }
}

impl Observed {
    /// The keys that belong to it, besides what, at and repeat.
    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Partition => &["kind", "direction", "how", "lasts"],
            Self::Crash => &["towers", "how", "contacts", "lasts"],
            Self::Leave => &["towers", "contacts", "lasts"],
            Self::Pause => &["towers", "lasts"],
            Self::Clock => &["towers", "step", "drift", "lasts"],
            Self::LinkConditions => &["link", "lasts"],
            Self::Cut => &["towers"],
            Self::Enqueue => &["towers", "count"],
            Self::Expand | Self::Announce | Self::Ignore | Self::Unignore => &["towers", "peers"],
        }
    }
}

impl TryFrom<Written> for Fault {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let (what, keys) = (written.what, written.what.keys());
        if let Some(stray) = written.keys().find(|key| !keys.contains(key)) {
            let keys = keys.join(", ");
            return Err(format!(
                ".{stray} does not belong to this fault; its keys are what, at, repeat, {keys}"
            ));
        }
        let towers = need("towers", written.towers);
        let peers = need("peers", written.peers);
        let contacts = written.contacts.unwrap_or(true);
        let deed = match what {
            Observed::Partition => Deed::Partition {
                kind: need("kind", written.kind)?,
                direction: written.direction.unwrap_or_default(),
                how: match written.how {
                    None | Some(How::Silent) => Look::Silent,
                    Some(How::Reset) => Look::Reset,
                    Some(_) => {
                        return Err(".how must be \"silent\" or \"reset\" in a partition".into());
                    }
                },
            },
            Observed::Crash => Deed::Crash {
                towers: towers?,
                how: match written.how {
                    None | Some(How::Process) => CrashKind::Process,
                    Some(How::Machine) => CrashKind::Machine,
                    Some(_) => {
                        return Err(".how must be \"process\" or \"machine\" in a crash".into());
                    }
                },
                contacts,
            },
            Observed::Leave => Deed::Leave { towers: towers?, contacts },
            Observed::Pause => Deed::Pause { towers: towers? },
            Observed::Clock => Deed::Clock {
                towers: towers?,
                step: written.step.map_or(0, |step| step.0),
                drift: written.drift.unwrap_or(0),
            },
            Observed::LinkConditions => Deed::LinkConditions { link: need("link", written.link)? },
            Observed::Cut => Deed::Cut { towers: towers? },
            Observed::Enqueue => {
                Deed::Enqueue { towers: towers?, count: written.count.unwrap_or(1) }
            }
            Observed::Expand => Deed::Expand { towers: towers?, peers: peers? },
            Observed::Announce => Deed::Announce { towers: towers?, peers: peers? },
            Observed::Ignore => Deed::Ignore { towers: towers?, peers: peers? },
            Observed::Unignore => Deed::Unignore { towers: towers?, peers: peers? },
        };
        Ok(Self { at: written.at, lasts: written.lasts, repeat: written.repeat, what: deed })
    }
}

fn need<T>(key: &str, value: Option<T>) -> Result<T, String> {
    value.ok_or_else(|| format!(".{key} is missing"))
}

impl From<Fault> for Written {
    fn from(fault: Fault) -> Self {
        let mut written =
            Self { at: fault.at, lasts: fault.lasts, repeat: fault.repeat, ..Self::default() };
        let mut command = |what, towers, peers| {
            written.what = what;
            written.towers = Some(towers);
            written.peers = peers;
        };
        match fault.what {
            Deed::Partition { kind, direction, how } => {
                written.what = Observed::Partition;
                written.kind = Some(kind);
                written.direction = Some(direction);
                written.how = Some(match how {
                    Look::Silent => How::Silent,
                    Look::Reset => How::Reset,
                });
            }
            Deed::Crash { towers, how, contacts } => {
                command(Observed::Crash, towers, None);
                written.contacts = Some(contacts);
                written.how = Some(match how {
                    CrashKind::Process => How::Process,
                    CrashKind::Machine => How::Machine,
                });
            }
            Deed::Leave { towers, contacts } => {
                command(Observed::Leave, towers, None);
                written.contacts = Some(contacts);
            }
            Deed::Pause { towers } => command(Observed::Pause, towers, None),
            Deed::Clock { towers, step, drift } => {
                command(Observed::Clock, towers, None);
                written.step = Some(Step(step));
                written.drift = Some(drift);
            }
            Deed::LinkConditions { link } => {
                written.what = Observed::LinkConditions;
                written.link = Some(link);
            }
            Deed::Cut { towers } => command(Observed::Cut, towers, None),
            Deed::Enqueue { towers, count } => {
                command(Observed::Enqueue, towers, None);
                written.count = Some(count);
            }
            Deed::Expand { towers, peers } => command(Observed::Expand, towers, Some(peers)),
            Deed::Announce { towers, peers } => command(Observed::Announce, towers, Some(peers)),
            Deed::Ignore { towers, peers } => command(Observed::Ignore, towers, Some(peers)),
            Deed::Unignore { towers, peers } => command(Observed::Unignore, towers, Some(peers)),
        }
        written
    }
}
