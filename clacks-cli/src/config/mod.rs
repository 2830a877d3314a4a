//! The options of a tower from flags, the environment and a file.
//!
//! [`args`](crate::args) defines each option once. The name of an option is its long flag
//! (`send-rate`). In the environment it is `CLACKS_SEND_RATE`, and in the file it is a key of the
//! same name. A flag replaces the environment, and the environment replaces the file.
//!
//! clap reads flags and the environment. The file becomes flags in front of the other ones, so the
//! same parsers and rules apply.

mod file;
mod reload;
mod settings;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::builder::BoolishValueParser;
use clap::error::ContextKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory, FromArgMatches};

use crate::args::Cli;
use crate::error::Failure;
use crate::state;

use file::ConfigFile;
pub(crate) use reload::{Changes, Configuration};
pub(crate) use settings::{Setting, Settings, Source};

/// The commands that have the options of a tower.
const COMMANDS: [&str; 2] = ["tower", "config"];

/// A command line after parsing.
#[derive(Debug)]
pub(crate) struct Invocation {
    pub(crate) cli: Cli,
    /// The options of a tower with their sources. `None` for commands that have other options.
    pub(crate) settings: Option<Settings>,
}

/// Why a command line can't be used.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// A mistake on the command line or in the environment, or a request for help.
    Clap(Box<clap::Error>),
    /// A mistake in the configuration file.
    File(Failure),
}

/// Returns a sentence for the log of a running tower.
impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Clap(error) => Self::usage(first_paragraph(&error)),
            Refusal::File(failure) => failure,
        }
    }
}

/// Parses the command line of the process, with the environment and the configuration file.
pub(crate) fn parse() -> Result<Invocation, Refusal> {
    parse_from(std::env::args_os().collect())
}

/// Parses a command line.
fn parse_from(line: Vec<OsString>) -> Result<Invocation, Refusal> {
    let command = command();
    // Mistakes are ignored here: what is missing may be in the file.
    let given = command.clone().ignore_errors(true).try_get_matches_from(&line);
    let given = given.as_ref().ok().and_then(ArgMatches::subcommand);
    let Some((name, given)) = given.filter(|(name, _)| COMMANDS.contains(name)) else {
        return Ok(Invocation { cli: cli(&matches(command, line)?)?, settings: None });
    };
    let options = command.find_subcommand(name).cloned().unwrap_or_default();
    let file = match given.try_get_one::<PathBuf>("config").ok().flatten() {
        Some(path) => Some(ConfigFile::read(path, &options)),
        None => {
            default_file().filter(|path| path.exists()).map(|it| ConfigFile::read(&it, &options))
        }
    };
    let file = file.transpose().map_err(Refusal::File)?;
    let flags = file.as_ref().map(|file| flags_of(file, &options, given)).unwrap_or_default();
    let from_file: Vec<_> = flags.iter().map(|(key, _)| key.clone()).collect();
    let at =
        line.iter().position(|word| word.to_str() == Some(name)).map_or(line.len(), |at| at + 1);
    let mut whole = line.clone();
    whole.splice(at..at, flags.into_iter().flat_map(|(_, words)| words));
    let path = file.map(|file| file.path);
    let matches = match (matches(command.clone(), whole), &path) {
        (Err(Refusal::Clap(error)), Some(path)) => {
            // A mistake on the line itself is shown without the flags of the file.
            matches(command, line)?;
            return Err(place(error, path, &from_file));
        }
        (matches, _) => matches?,
    };
    let chosen = matches.subcommand_matches(name).unwrap_or(&matches);
    let settings = Settings::new(&options, chosen, &from_file, path);
    Ok(Invocation { cli: cli(&matches)?, settings: Some(settings) })
}

/// Returns the command line, with the environment for the options of a tower, and for `--control`
/// and `--tower` of all commands.
pub(crate) fn command() -> Command {
    // An empty variable counts as not set, as in the configuration of many containers.
    let is_empty = |name: &String| std::env::var_os(name).is_some_and(|value| value.is_empty());
    let with_variable = |arg: Arg| match arg.get_long().map(variable_of) {
        Some(variable) if !is_empty(&variable) => arg.env(variable).hide_env(true),
        _ => arg,
    };
    Cli::command().mut_subcommands(|command| {
        let is_tower = COMMANDS.contains(&command.get_name());
        command.mut_args(|arg| match arg.get_long() {
            Some(_) if is_tower && is_flag(&arg) => {
                with_variable(arg).value_parser(BoolishValueParser::new())
            }
            Some(long) if is_tower || matches!(long, "control" | "tower") => with_variable(arg),
            _ => arg,
        })
    })
}

fn matches(command: Command, line: Vec<OsString>) -> Result<ArgMatches, Refusal> {
    command.try_get_matches_from(line).map_err(|error| Refusal::Clap(Box::new(error)))
}

fn cli(matches: &ArgMatches) -> Result<Cli, Refusal> {
    Cli::from_arg_matches(matches).map_err(|error| Refusal::Clap(Box::new(error)))
}

/// Returns the variable of an option.
fn variable_of(long: &str) -> String {
    format!("CLACKS_{}", long.to_ascii_uppercase().replace('-', "_"))
}

/// Returns whether an option has no value.
fn is_flag(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::SetTrue)
}

/// Returns the file that is read if no other one is given.
fn default_file() -> Option<PathBuf> {
    default_file_in(state::variable)
}

fn default_file_in(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let absolute = |name| variable(name).filter(|path| path.is_absolute());
    // systemd separates several folders by colons.
    let from_systemd = variable("CONFIGURATION_DIRECTORY")
        .and_then(|dirs| dirs.to_str().and_then(|dirs| dirs.split(':').next()).map(PathBuf::from));
    let xdg = || absolute("XDG_CONFIG_HOME").map(|dir| dir.join("clacks"));
    let home = || absolute("HOME").map(|dir| dir.join(".config/clacks"));
    Some(from_systemd.or_else(xdg).or_else(home)?.join("tower.toml"))
}

/// Returns the flags of the file, except for options that were given otherwise, and for options
/// that exclude those.
fn flags_of(
    file: &ConfigFile,
    options: &Command,
    given: &ArgMatches,
) -> Vec<(String, Vec<OsString>)> {
    let is_given = |arg: &Arg| {
        let source = given.value_source(arg.get_id().as_str());
        matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable))
    };
    let excludes = |one: &Arg, other: &Arg| {
        options.get_arg_conflicts_with(one).iter().any(|arg| arg.get_id() == other.get_id())
    };
    let is_replaced = |arg: &Arg| {
        options.get_arguments().filter(|other| is_given(other)).any(|other| {
            other.get_id() == arg.get_id() || excludes(arg, other) || excludes(other, arg)
        })
    };
    let flags = file.flags.iter();
    flags
        .filter(|(key, _)| option(options, key).is_some_and(|arg| !is_replaced(arg)))
        .cloned()
        .collect()
}

/// Returns the option with a long name.
fn option<'a>(options: &'a Command, long: &str) -> Option<&'a Arg> {
    options.get_arguments().find(|arg| arg.get_long() == Some(long))
}

/// Returns the refusal of a value. Names the file if the value is in there.
fn place(error: Box<clap::Error>, path: &Path, from_file: &[String]) -> Refusal {
    let option = error.get(ContextKind::InvalidArg).map(ToString::to_string).unwrap_or_default();
    let long = option.trim_start_matches('-').split([' ', '=']).next().unwrap_or_default();
    if from_file.iter().any(|key| key == long) {
        let sentence = format!("{}: {}", path.display(), first_paragraph(&error));
        Refusal::File(Failure::usage(sentence))
    } else {
        Refusal::Clap(error)
    }
}

/// Returns the first paragraph of a mistake as one line, without the hint to the help.
fn first_paragraph(error: &clap::Error) -> String {
    let text = error.to_string();
    let lines: Vec<_> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    lines.join(" ").trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests;
