//! The scenario that was asked for.

use std::path::{Path, PathBuf};

use clacks_sim::Scenario;
use clacks_sim::scenario::{Bundled, ScenarioError};

use crate::args::SimArgs;
use crate::error::Failure;

/// What is run, and where it comes from.
pub(super) struct Chosen {
    /// With all the changes that were asked for, every number within its limits.
    pub(super) scenario: Scenario,
    /// The folder of the files that it names.
    pub(super) base: PathBuf,
    /// Its text, with comments, when it comes with the command and nothing was changed.
    pub(super) text: Option<&'static str>,
}

impl Chosen {
    /// Finds a scenario by what the command line calls it, and changes it as the command line says.
    pub(super) fn new(name: &str, args: &SimArgs) -> Result<Self, Failure> {
        let source = Source::of(name)?;
        let original = source.read()?;
        let mut scenario = original.clone();
        for (key, value) in &args.set {
            scenario.set(key, value).map_err(Failure::usage)?;
        }
        scenario.towers = args.towers.unwrap_or(scenario.towers);
        scenario.time = args.time.unwrap_or(scenario.time);
        scenario.seed = args.seed.unwrap_or(scenario.seed);
        scenario.check().map_err(Failure::usage)?;
        let (text, folder) = match source {
            Source::Bundled(bundled) => ((scenario == original).then_some(bundled.toml), None),
            Source::File(path) => (None, path.parent()),
        };
        Ok(Self { scenario, base: folder.unwrap_or(Path::new("")).to_owned(), text })
    }
}

/// Where a scenario comes from.
enum Source<'a> {
    Bundled(&'static Bundled),
    File(&'a Path),
}

impl<'a> Source<'a> {
    fn of(name: &'a str) -> Result<Self, Failure> {
        let path = Path::new(name);
        if name.contains('/') || name.ends_with(".toml") {
            return Ok(Self::File(path));
        }
        if let Some(bundled) = Scenario::bundled().iter().find(|bundled| bundled.name == name) {
            return Ok(Self::Bundled(bundled));
        }
        if path.is_file() { Ok(Self::File(path)) } else { Err(unknown(name)) }
    }

    fn read(&self) -> Result<Scenario, Failure> {
        match self {
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
        Err(ScenarioError::UnknownName { likely: Some(likely), .. }) => {
            format!("did you mean {likely}? ")
        }
        _ => String::new(),
    };
    Failure::usage(format_args!(
        "there is no scenario {name:?}, and no file of that name: {likely}`clacks sim --list` \
         lists the scenarios, and a file is given by its path"
    ))
}
