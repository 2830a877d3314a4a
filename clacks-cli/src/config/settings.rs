//! The values of all options of a tower, with their sources.

use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};
use serde::Serialize;

use super::{is_flag, variable_of};

/// Where the value of an option comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Source {
    /// No source has a value, so the default applies.
    Default,
    /// The configuration file.
    File,
    /// A variable of the environment.
    Environment,
    /// A flag.
    CommandLine,
}

/// The value of an option.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Setting {
    /// The name: the long flag, and the key of the file.
    pub(crate) name: String,
    /// The values as they were written. Empty if the option has no value.
    pub(crate) values: Vec<String>,
    pub(crate) source: Source,
    /// The variable that sets the option.
    pub(crate) variable: String,
}

/// The values of all options of a tower.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    /// In the order of the help.
    pub(crate) options: Vec<Setting>,
    /// The configuration file, if there is one.
    pub(crate) file: Option<PathBuf>,
}

impl Settings {
    /// Collects the values of a command line. `from_file` are the options that the file has set.
    pub(super) fn new(
        options: &Command,
        matches: &ArgMatches,
        from_file: &[String],
        file: Option<PathBuf>,
    ) -> Self {
        let setting = |arg: &Arg| {
            let name = arg.get_long()?;
            let id = arg.get_id().as_str();
            let source = match matches.value_source(id) {
                Some(_) if from_file.iter().any(|key| key == name) => Source::File,
                Some(ValueSource::CommandLine) => Source::CommandLine,
                Some(ValueSource::EnvVariable) => Source::Environment,
                _ => Source::Default,
            };
            Some(Setting {
                name: name.to_owned(),
                values: values(arg, matches),
                source,
                variable: variable_of(name),
            })
        };
        Self { options: options.get_arguments().filter_map(setting).collect(), file }
    }

    /// Returns the path of the configuration file.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Returns the names of the options whose values differ.
    pub(crate) fn changed<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a str> {
        let options = self.options.iter().zip(&other.options);
        let changed = options.filter(|(one, other)| one.values != other.values);
        changed.map(|(one, _)| one.name.as_str())
    }
}

fn values(arg: &Arg, matches: &ArgMatches) -> Vec<String> {
    let id = arg.get_id().as_str();
    if is_flag(arg) {
        return vec![matches.get_flag(id).to_string()];
    }
    let raw = matches.get_raw(id).into_iter().flatten();
    raw.map(|value| value.to_string_lossy().into_owned()).collect()
}
