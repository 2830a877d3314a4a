//! What a running tower takes over from a configuration that has changed.

use std::sync::{Arc, Mutex, PoisonError};

use clacks_proto::Address;
use serde::{Deserialize, Serialize};
use tracing_subscriber::filter::Targets;

use super::{Settings, parse};
use crate::args::{TowerArgs, Verb};
use crate::error::Failure;

/// The options that apply without a restart.
const RELOADABLE: [&str; 3] = ["announce", "ignore", "log"];

/// More addresses than these are counted in a sentence, not listed.
const LISTED: usize = 5;

/// The configuration of a running tower.
#[derive(Debug)]
pub(crate) struct Configuration {
    /// The values at the start.
    settings: Settings,
    announce: Vec<Address>,
    ignore: Ignored,
    log: Option<Targets>,
}

/// The towers that the configuration ignores, shared with the thread that saves peers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ignored(Arc<Mutex<Vec<Address>>>);

impl Ignored {
    fn new(addresses: &[Address]) -> Self {
        Self(Arc::new(Mutex::new(addresses.to_vec())))
    }

    /// Returns the addresses.
    pub(crate) fn addresses(&self) -> Vec<Address> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn replace(&self, addresses: Vec<Address>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = addresses;
    }
}

/// The differences between two configurations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Changes {
    pub(crate) announce: Vec<Address>,
    pub(crate) ignore: Vec<Address>,
    pub(crate) unignore: Vec<Address>,
    /// The new filter of the log, or `default`, if it has changed.
    pub(crate) log: Option<String>,
    /// The certificate, the roots or the list of revoked members of a private network has changed.
    #[serde(default)]
    pub(crate) renewed: bool,
    /// Options that have changed since the start and apply at the next start.
    pub(crate) at_restart: Vec<String>,
}

impl Configuration {
    /// Keeps the configuration with which a tower starts.
    pub(crate) fn new(args: &TowerArgs, settings: Settings) -> Self {
        Self {
            settings,
            announce: args.announce.clone(),
            ignore: Ignored::new(&args.ignore),
            log: args.log.clone(),
        }
    }

    /// Returns the towers that the configuration ignores.
    pub(crate) fn ignored(&self) -> Ignored {
        self.ignore.clone()
    }

    /// Returns the filter of the log. `None` means that of the environment.
    pub(crate) fn log(&self) -> Option<Targets> {
        self.log.clone()
    }

    /// Reads the configuration again. If it has a mistake, nothing has changed.
    pub(crate) fn reload(&mut self) -> Result<Changes, Failure> {
        let invocation = parse()?;
        match (invocation.cli.verb, invocation.settings) {
            (Verb::Tower(args), Some(settings)) => Ok(self.replace(*args, &settings)),
            // The command line is the one that has started this tower.
            _ => Ok(Changes::default()),
        }
    }

    fn replace(&mut self, args: TowerArgs, settings: &Settings) -> Changes {
        let ignored = self.ignore.addresses();
        let changed = self.settings.changed(settings);
        let changes = Changes {
            announce: without(&args.announce, &self.announce),
            ignore: without(&args.ignore, &ignored),
            unignore: without(&ignored, &args.ignore),
            log: (args.log != self.log)
                .then(|| args.log.as_ref().map_or("default".to_owned(), ToString::to_string)),
            renewed: false,
            at_restart: changed
                .filter(|name| !RELOADABLE.contains(name))
                .map(str::to_owned)
                .collect(),
        };
        self.announce = args.announce;
        self.ignore.replace(args.ignore);
        self.log = args.log;
        changes
    }
}

fn without(addresses: &[Address], others: &[Address]) -> Vec<Address> {
    addresses.iter().filter(|address| !others.contains(address)).cloned().collect()
}

impl Changes {
    /// Returns a sentence for people.
    pub(crate) fn sentence(&self) -> String {
        let mut parts = Vec::new();
        let mut add = |verb: &str, addresses: &[Address]| match addresses.len() {
            0 => {}
            1..=LISTED => {
                let list: Vec<_> = addresses.iter().map(ToString::to_string).collect();
                parts.push(format!("{verb} {}", list.join(", ")));
            }
            count => parts.push(format!("{verb} {count} towers")),
        };
        add("announces itself to", &self.announce);
        add("ignores", &self.ignore);
        add("no longer ignores", &self.unignore);
        if let Some(log) = &self.log {
            parts.push(format!("logs {log}"));
        }
        if self.renewed {
            parts.push("uses its new certificate and list of revoked members".to_owned());
        }
        let mut text = match parts.as_slice() {
            [] => "The configuration was read again.".to_owned(),
            parts => {
                format!("The configuration was read again: the tower {}.", parts.join("; it "))
            }
        };
        match self.at_restart.as_slice() {
            [] if parts.is_empty() => text += " Nothing has changed.",
            [] => {}
            [one] => text += &format!(" The new {one} applies at the next start."),
            several => {
                text += &format!(" New values of {} apply at the next start.", several.join(", "));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Invocation, parse_from};

    fn parsed(flags: &[&str]) -> (TowerArgs, Settings) {
        let line = ["clacks", "tower", "--config", "/dev/null"].iter().chain(flags);
        let Invocation { cli, settings } = parse_from(line.map(Into::into).collect()).unwrap();
        match cli.verb {
            Verb::Tower(args) => (*args, settings.unwrap()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn differences_are_found_and_told() {
        let (args, settings) =
            parsed(&["--announce=a:1", "--ignore=b:2,c:3", "--log=warn", "--max-queue=5"]);
        let mut running = Configuration::new(&args, settings);
        let (args, settings) = parsed(&["--announce=a:1,d:4", "--ignore=c:3,e:5", "--max-queue=6"]);
        let changes = running.replace(args, &settings);
        assert_eq!(
            changes.sentence(),
            "The configuration was read again: the tower announces itself to d:4; it ignores e:5; \
             it no longer ignores b:2; it logs default. The new max-queue applies at the \
             next start."
        );
        let (args, settings) = parsed(&["--announce=a:1,d:4", "--ignore=c:3,e:5"]);
        let changes = running.replace(args, &settings);
        // The tower still runs with the value of its start.
        assert_eq!(changes.at_restart, ["max-queue"]);
        let (args, settings) = parsed(&["--announce=a:1,d:4", "--ignore=c:3,e:5", "--max-queue=5"]);
        let changes = running.replace(args, &settings);
        assert_eq!(changes, Changes::default());
        assert!(changes.sentence().contains("Nothing has changed"));
        assert_eq!(running.ignored().addresses(), ["c:3".parse().unwrap(), "e:5".parse().unwrap()]);
    }
}
