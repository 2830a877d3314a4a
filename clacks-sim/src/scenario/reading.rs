//! Scenarios as text: read, written, and changed one key at a time.

use std::path::Path;

use serde_path_to_error::Segment;
use toml::{Table, Value};

use super::Scenario;
use super::error::ScenarioError;

impl Scenario {
    /// Reads a scenario.
    ///
    /// # Errors
    ///
    /// When the text is not TOML, or not a scenario. Whether its numbers are within their limits is what
    /// [`check`](Self::check) says.
    pub fn from_toml(text: &str) -> Result<Self, ScenarioError> {
        let table: Table = text.parse().map_err(|error| syntax(text, &error))?;
        read(table)
    }

    /// Reads a scenario from a file.
    ///
    /// # Errors
    ///
    /// As [`from_toml`](Self::from_toml), and when the file can't be read.
    pub fn load(path: &Path) -> Result<Self, ScenarioError> {
        let text = std::fs::read_to_string(path)
            .map_err(|cause| ScenarioError::File { path: path.to_owned(), cause })?;
        Self::from_toml(&text)
    }

    /// The scenario as TOML, with every default spelled out, so that it says the same when a default has changed.
    #[must_use]
    pub fn to_toml(&self) -> String {
        // Every part of a scenario has a form in TOML: tests write them all.
        toml::to_string(self).unwrap_or_default()
    }

    /// Changes one key, given as a dotted path: `link.latency`, `fault.0.at`. The value is read as TOML, or else is the text as it stands.
    ///
    /// ```
    /// use clacks_sim::scenario::Scenario;
    ///
    /// let mut scenario = Scenario::named("netsplit")?;
    /// scenario.set("fault.0.lasts", "90s")?;
    /// scenario.set("link.broken", "0.01")?;
    /// # Ok::<(), clacks_sim::scenario::ScenarioError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When there is no such key, or it can't have such a value. Nothing has changed.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), ScenarioError> {
        let parsed = format!("value = {value}").parse().ok();
        let parsed = parsed.and_then(|mut table: Table| table.remove("value"));
        let as_text = || self.with(key, Value::String(value.to_owned()));
        *self = match parsed {
            // A name may look like a number.
            Some(parsed) => self.with(key, parsed).or_else(|error| as_text().map_err(|_| error)),
            None => as_text(),
        }?;
        Ok(())
    }

    fn with(&self, key: &str, value: Value) -> Result<Self, ScenarioError> {
        let written = Table::try_from(self);
        let mut root = Value::Table(
            written.map_err(|error| ScenarioError::field(key, format!("can't be set: {error}")))?,
        );
        *place(&mut root, key)? = value;
        match root {
            Value::Table(table) => read(table),
            _ => Err(ScenarioError::field(key, "can't be set")),
        }
    }

    /// The text of a field's value, if it has one.
    pub(super) fn value_text(&self, key: &str) -> Option<String> {
        let mut root = Value::Table(Table::try_from(self).ok()?);
        place(&mut root, key).ok().map(|value| value.to_string())
    }
}

/// The place of a dotted path; tables on the way are made if need be.
fn place<'a>(root: &'a mut Value, key: &str) -> Result<&'a mut Value, ScenarioError> {
    let mut at = root;
    let mut passed = String::new();
    for part in key.split('.') {
        at = match at {
            Value::Array(list) => {
                let count = list.len();
                let element = part.parse().ok().and_then(|index: usize| list.get_mut(index));
                element.ok_or_else(|| {
                    let range = match count {
                        0 => format!("there is no {passed} to change"),
                        _ => format!("{passed} has the numbers from 0 to {}", count - 1),
                    };
                    ScenarioError::field(key, format!("can't be set: {range}"))
                })?
            }
            Value::Table(table) => table.entry(part).or_insert_with(|| Value::Table(Table::new())),
            _ => {
                let problem = format!("can't be set: {passed} is a single value");
                return Err(ScenarioError::field(key, problem));
            }
        };
        let dot = if passed.is_empty() { "" } else { "." };
        passed.push_str(dot);
        passed.push_str(part);
    }
    Ok(at)
}

fn read(table: Table) -> Result<Scenario, ScenarioError> {
    serde_path_to_error::deserialize(Value::Table(table)).map_err(|error| {
        let parts = error.path().iter().filter_map(|part| match part {
            Segment::Seq { index } => Some(index.to_string()),
            Segment::Map { key } | Segment::Enum { variant: key } => Some(key.clone()),
            Segment::Unknown => None,
        });
        let path = parts.collect::<Vec<_>>().join(".");
        sentence(path, error.inner().message())
    })
}

/// Makes one sentence of what serde says.
fn sentence(path: String, said: &str) -> ScenarioError {
    let quoted = |text: &str| text.split('`').nth(1).unwrap_or_default().to_owned();
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    if let Some(rest) = said.strip_prefix('.') {
        let (key, problem) = rest.split_once(' ').unwrap_or((rest, "is wrong"));
        return ScenarioError::field(below(key), problem);
    }
    if let Some(rest) = said.strip_prefix("unknown field ") {
        let unknown = quoted(rest);
        // The path may or may not end with the key itself.
        let is_last =
            path.strip_suffix(&*unknown).is_some_and(|it| it.is_empty() || it.ends_with('.'));
        let field = if is_last { path } else { below(&unknown) };
        return ScenarioError::field(field, format!("is no key; the keys here are {}", list(rest)));
    }
    if let Some(rest) = said.strip_prefix("unknown variant ") {
        let unknown = quoted(rest);
        return ScenarioError::range(
            path,
            format_args!("\"{unknown}\""),
            format_args!("one of {}", list(rest)),
        );
    }
    if let Some(rest) = said.strip_prefix("missing field ") {
        return ScenarioError::field(below(&quoted(rest)), "is missing");
    }
    let invalid = said.strip_prefix("invalid type: ").or(said.strip_prefix("invalid value: "));
    if let Some((got, expected)) = invalid.and_then(|rest| rest.rsplit_once(", expected ")) {
        return ScenarioError::range(path, plain(got), plain(expected));
    }
    let length =
        said.strip_prefix("invalid length ").and_then(|rest| rest.split_once(", expected "));
    if let Some((_, expected)) = length {
        return ScenarioError::field(path, format!("must be {}", plain(expected)));
    }
    ScenarioError::field(path, format!("can't be read: {said}"))
}

/// The names after the word "expected".
fn list(said: &str) -> String {
    let expected = said.split_once("expected").map_or("", |(_, expected)| expected);
    let names: Vec<_> = expected.split('`').skip(1).step_by(2).collect();
    names.join(", ")
}

/// What serde calls a thing, in plain words.
fn plain(words: &str) -> String {
    match words {
        "u8" => format!("a whole number from 0 to {}", u8::MAX),
        "u16" => format!("a whole number from 0 to {}", u16::MAX),
        "u32" => format!("a whole number from 0 to {}", u32::MAX),
        "u64" | "usize" => "a whole number from 0 on".to_owned(),
        "i32" | "i64" => "a whole number".to_owned(),
        "f64" => "a number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a string" => "a text".to_owned(),
        "map" => "a table".to_owned(),
        "sequence" | "a sequence" => "a list".to_owned(),
        _ if words.starts_with("struct ") => "a table".to_owned(),
        _ => {
            let kinds = ["string ", "integer ", "floating point ", "boolean "];
            let bare = kinds.iter().find_map(|kind| words.strip_prefix(kind)).unwrap_or(words);
            bare.replace('`', "")
        }
    }
}

fn syntax(text: &str, error: &toml::de::Error) -> ScenarioError {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let message = error.message();
    let problem =
        match message.strip_prefix("invalid type: integer `").and_then(|it| it.split_once('`')) {
            Some((number, _)) => {
                format!(
                    "{number} is too large for a number, which goes from {} to {}",
                    i64::MIN,
                    i64::MAX
                )
            }
            None => message.replace('\n', ", "),
        };
    ScenarioError::Syntax { line, problem }
}
