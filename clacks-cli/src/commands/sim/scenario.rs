//! The scenario of the command line.

use std::path::{Path, PathBuf};

use clacks_sim::Scenario;
use clacks_sim::scenario::{Bundled, ScenarioError, Target};

use crate::args::SimArgs;
use crate::error::Failure;

/// The name of the scenarios that are drawn from their seed.
pub(super) const SWARM: &str = "swarm";

/// The scenario of a command line, for each seed.
pub(super) struct Chosen<'a> {
    args: &'a SimArgs,
    source: Source<'a>,
    original: Scenario,
}

impl<'a> Chosen<'a> {
    /// Finds a scenario by its name or path.
    pub(super) fn new(name: &'a str, args: &'a SimArgs) -> Result<Self, Failure> {
        let source = Source::of(name)?;
        let original = source.read()?;
        Ok(Self { args, source, original })
    }

    /// Returns the scenario with the changes of the command line, checked, and the targets that
    /// `--time` removes. Without a seed, the scenario keeps its own.
    pub(super) fn scenario(&self, seed: Option<u64>) -> Result<(Scenario, Vec<Target>), Failure> {
        let mut scenario = match (&self.source, seed) {
            (Source::Swarm, Some(seed)) => Scenario::swarm(seed),
            _ => self.original.clone(),
        };
        scenario.seed = seed.unwrap_or(scenario.seed);
        if self.args.original {
            scenario.use_original_config().map_err(Failure::usage)?;
        }
        for (key, value) in &self.args.set {
            scenario.set(key, value).map_err(Failure::usage)?;
        }
        scenario.towers = self.args.towers.unwrap_or(scenario.towers);
        let removed = self.args.time.map(|time| scenario.set_time(time)).unwrap_or_default();
        scenario.check().map_err(Failure::usage)?;
        if self.args.check && scenario.targets.is_empty() {
            let why = if removed.is_empty() { "has no targets" } else { "has none within --time" };
            let name = &scenario.name;
            return Err(Failure::usage(format_args!("--check needs targets, and {name:?} {why}")));
        }
        Ok((scenario, removed))
    }

    /// Returns whether a second process can read the scenario: it is not read from a pipe.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    pub(super) fn is_readable_again(&self) -> bool {
        match self.source {
            Source::File(path) => path.is_file(),
            Source::Bundled(_) | Source::Swarm => true,
        }
    }

    /// Returns the folder to which the paths of files are relative.
    pub(super) fn base(&self) -> &Path {
        match self.source {
            Source::File(path) => path.parent().unwrap_or(Path::new("")),
            Source::Bundled(_) | Source::Swarm => Path::new(""),
        }
    }

    /// Returns the paths of all files that a run reads.
    pub(super) fn inputs(&self, scenario: &Scenario) -> Vec<PathBuf> {
        let files = scenario.inputs().into_iter().map(|file| self.base().join(file));
        match self.source {
            Source::File(path) => files.chain([path.to_owned()]).collect(),
            Source::Bundled(_) | Source::Swarm => files.collect(),
        }
    }

    /// Returns the TOML with its comments, if the scenario is bundled and unchanged.
    pub(super) fn text(&self, scenario: &Scenario) -> Option<&'static str> {
        match self.source {
            Source::Bundled(bundled) => (*scenario == self.original).then_some(bundled.toml),
            Source::File(_) | Source::Swarm => None,
        }
    }
}

/// Where a scenario comes from.
enum Source<'a> {
    Bundled(&'static Bundled),
    File(&'a Path),
    /// The seed.
    Swarm,
}

impl<'a> Source<'a> {
    fn of(name: &'a str) -> Result<Self, Failure> {
        let path = Path::new(name);
        if name.contains('/') || name.ends_with(".toml") {
            return Ok(Self::File(path));
        }
        if name == SWARM {
            return Ok(Self::Swarm);
        }
        if let Some(bundled) = Scenario::bundled().iter().find(|bundled| bundled.name == name) {
            return Ok(Self::Bundled(bundled));
        }
        if path.is_file() { Ok(Self::File(path)) } else { Err(unknown(name)) }
    }

    fn read(&self) -> Result<Scenario, Failure> {
        match self {
            Self::Swarm => Ok(Scenario::swarm(0)),
            Self::Bundled(bundled) => Scenario::from_toml(bundled.toml).map_err(Failure::usage),
            Self::File(path) => Scenario::load(path).map_err(|error| match error {
                ScenarioError::File { .. } => Failure::usage(error),
                _ => Failure::usage(format_args!("{}: {error}", path.display())),
            }),
        }
    }
}

fn unknown(name: &str) -> Failure {
    let likely = match Scenario::named(name) {
        Err(ScenarioError::UnknownName { closest: Some(likely), .. }) => {
            format!("did you mean {likely}? ")
        }
        _ => String::new(),
    };
    Failure::usage(format_args!(
        "there is no scenario {name:?}, and no file of that name: {likely}`clacks sim --list` \
         lists the scenarios, and a file is given by its path"
    ))
}
