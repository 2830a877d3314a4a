//! The configuration file: TOML whose keys are the long flags of a tower.

use std::any::TypeId;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, Command};
use toml::{Table, Value};

use super::{is_flag, option};
use crate::error::Failure;

/// The longest file that is read. 10 000 addresses fit.
const MAX_BYTES: u64 = 1024 * 1024;

/// The option that names the file, which the file itself can't have.
const NOT_IN_FILE: &str = "config";

/// How similar a key must be to be suggested (the bound that clap has).
const SIMILAR: f64 = 0.7;

/// A file after parsing.
#[derive(Debug)]
pub(super) struct ConfigFile {
    pub(super) path: PathBuf,
    /// Each key with the same setting as words of a command line.
    pub(super) flags: Vec<(String, Vec<OsString>)>,
}

impl ConfigFile {
    /// Reads a file with the options of a command.
    pub(super) fn read(path: &Path, options: &Command) -> Result<Self, Failure> {
        let refused = |why: String| Failure::usage(format_args!("{}: {why}", path.display()));
        let text = read(path).map_err(|error| {
            refused(format!(
                "the configuration file cannot be read ({error}): check the path and its \
                 permissions."
            ))
        })?;
        // The message of the parser has several lines: position, excerpt, reason.
        let table: Table = text.parse().map_err(|error: toml::de::Error| {
            refused(format!("this is no TOML:\n{}", error.to_string().trim_end()))
        })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let flags = table.into_iter().map(|(key, value)| {
            let words = words(&key, &value, folder, options).map_err(&refused)?;
            Ok((key, words))
        });
        Ok(Self { path: path.to_owned(), flags: flags.collect::<Result<_, Failure>>()? })
    }
}

fn read(path: &Path) -> io::Result<String> {
    // Reading a pipe could wait for ever, also when a running tower reads the file again.
    let kind = std::fs::metadata(path)?.file_type();
    if kind.is_fifo() || kind.is_socket() {
        return Err(io::Error::other("it is a pipe and not a file"));
    }
    let mut text = String::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(io::Error::other(format!("it is longer than {MAX_BYTES} bytes")));
    }
    Ok(text)
}

/// Returns a setting as words of a command line.
fn words(
    key: &str,
    value: &Value,
    folder: &Path,
    options: &Command,
) -> Result<Vec<OsString>, String> {
    let Some(arg) = option(options, key).filter(|_| key != NOT_IN_FILE) else {
        return Err(unknown(key, options));
    };
    let flag = OsString::from(format!("--{key}"));
    match value {
        Value::Boolean(is_set) if is_flag(arg) => Ok(is_set.then_some(flag).into_iter().collect()),
        _ if is_flag(arg) => Err(format!("{key} must be true or false.")),
        Value::Array(values) if matches!(arg.get_action(), ArgAction::Append) => {
            values.iter().map(|value| word(&flag, key, value, arg, folder)).collect()
        }
        Value::Array(_) => Err(format!("{key} has one value: write it without brackets.")),
        value => Ok(vec![word(&flag, key, value, arg, folder)?]),
    }
}

/// Returns `--key=value`.
fn word(
    flag: &OsString,
    key: &str,
    value: &Value,
    arg: &Arg,
    folder: &Path,
) -> Result<OsString, String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        _ => return Err(format!("{key} must be a text in quotation marks or a number.")),
    };
    let is_path = arg.get_value_parser().type_id() == TypeId::of::<PathBuf>();
    let mut word = flag.clone();
    word.push("=");
    // A path is meant from the folder of the file, wherever the tower is started.
    word.push(if is_path { folder.join(text).into_os_string() } else { text.into() });
    Ok(word)
}

/// Returns the sentence for a key that is no option.
fn unknown(key: &str, options: &Command) -> String {
    let names = options.get_arguments().filter_map(Arg::get_long).filter(|it| *it != NOT_IN_FILE);
    let similarity = |name: &str| strsim::jaro_winkler(key, name);
    let best = names.map(|name| (similarity(name), name)).max_by(|a, b| a.0.total_cmp(&b.0));
    match best.filter(|(similarity, _)| *similarity >= SIMILAR) {
        Some((_, name)) => format!("{key:?} is no option of a tower: did you mean {name}?"),
        None => format!("{key:?} is no option of a tower: `clacks config` lists them."),
    }
}
