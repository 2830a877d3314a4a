//! Scenarios as TOML: read, written, and changed by one key at a time.

use std::path::Path;

use serde_path_to_error::Segment;
use toml::{Table, Value};

use super::Scenario;
use super::error::{ScenarioError, closest};

impl Scenario {
    /// Reads a scenario from TOML. [`check`](Self::check) checks the limits of its values.
    ///
    /// # Errors
    ///
    /// When the text is not TOML, has unknown keys or values of another type.
    pub fn from_toml(text: &str) -> Result<Self, ScenarioError> {
        let table: Table = text.parse().map_err(|error| syntax(text, &error))?;
        read(table)
    }

    /// Reads a scenario from a file.
    ///
    /// # Errors
    ///
    /// Those of [`from_toml`](Self::from_toml), and when the file can't be read.
    pub fn load(path: &Path) -> Result<Self, ScenarioError> {
        let text = std::fs::read_to_string(path)
            .map_err(|cause| ScenarioError::File { path: path.to_owned(), cause })?;
        Self::from_toml(&text)
    }

    /// Returns the scenario as TOML, with all defaults.
    #[must_use]
    pub fn to_toml(&self) -> String {
        // Every scenario has a form in TOML: tests write all parts.
        toml::to_string(self).unwrap_or_default()
    }

    /// Changes one key, which is a dotted path such as `link.latency` or `fault.0.at`. The value is
    /// TOML, or else a text without quotes.
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
    /// When the key does not exist, or can't have the value. The scenario does not change.
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
        let cant_set = |problem| ScenarioError::field(key, format!("can't be set: {problem}"));
        let table = Table::try_from(self).map_err(|error| cant_set(error.to_string()))?;
        let mut root = Value::Table(table);
        *entry(&mut root, key).map_err(cant_set)? = value;
        match root {
            Value::Table(table) => read(table),
            _ => Err(cant_set("it has no name".to_owned())),
        }
    }

    /// Returns the TOML of a field's value.
    pub(super) fn value_text(&self, key: &str) -> Option<String> {
        let mut root = Value::Table(Table::try_from(self).ok()?);
        entry(&mut root, key).ok().map(|value| value.to_string())
    }
}

/// Returns the entry of a dotted path. Creates missing tables.
fn entry<'a>(root: &'a mut Value, key: &str) -> Result<&'a mut Value, String> {
    let mut at = root;
    let mut passed = String::new();
    for part in key.split('.') {
        at = match at {
            Value::Array(list) => {
                let count = list.len();
                let element = part.parse().ok().and_then(|index: usize| list.get_mut(index));
                element.ok_or_else(|| match count {
                    0 => format!("there is no {passed}"),
                    _ => format!("{passed} has the numbers from 0 to {}", count - 1),
                })?
            }
            Value::Table(table) => table.entry(part).or_insert_with(|| Value::Table(Table::new())),
            _ => return Err(format!("{passed} is a single value")),
        };
        if !passed.is_empty() {
            passed.push('.');
        }
        passed.push_str(part);
    }
    Ok(at)
}

fn read(table: Table) -> Result<Scenario, ScenarioError> {
    serde_path_to_error::deserialize(Value::Table(table)).map_err(|error| {
        let path = dotted(&error.path().iter().collect::<Vec<_>>());
        match error.inner().message().split_once('\t') {
            Some((key, message)) if !key.is_empty() => sentence(&format!("{path}.{key}"), message),
            Some((_, message)) => sentence(&path, message),
            None => sentence(&path, error.inner().message()),
        }
    })
}

/// Returns a path with dots.
pub(super) fn dotted(path: &[&Segment]) -> String {
    let parts = path.iter().filter_map(|part| match part {
        Segment::Seq { index } => Some(index.to_string()),
        Segment::Map { key } | Segment::Enum { variant: key } => Some(key.clone()),
        Segment::Unknown => None,
    });
    parts.collect::<Vec<_>>().join(".")
}

/// Makes one sentence of a path and a message of serde.
fn sentence(path: &str, message: &str) -> ScenarioError {
    let names: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let (first, allowed) =
        names.split_first().map_or(("", &[][..]), |(first, rest)| (*first, rest));
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    if message.starts_with("unknown field ") {
        // The path may end with the unknown key.
        let is_last = path.strip_suffix(first).is_some_and(|it| it.is_empty() || it.ends_with('.'));
        let field = if is_last { path.to_owned() } else { below(first) };
        let guess = closest(first, allowed.iter().copied());
        let guess = guess.map(|key| format!("did you mean {key}? ")).unwrap_or_default();
        let keys = allowed.join(", ");
        return ScenarioError::field(field, format!("is no key; {guess}the keys here are {keys}"));
    }
    if message.starts_with("unknown variant ") {
        let range = format!("one of {}", allowed.join(", "));
        return ScenarioError::range(path, format_args!("\"{first}\""), range);
    }
    if message.starts_with("missing field ") {
        return ScenarioError::field(below(first), "is missing");
    }
    let invalid =
        message.strip_prefix("invalid type: ").or(message.strip_prefix("invalid value: "));
    if let Some((found, expected)) = invalid.and_then(|rest| rest.split_once(", expected ")) {
        return ScenarioError::range(path, plain(found), plain(expected));
    }
    // The messages of enums that try several forms are just what is expected.
    ScenarioError::field(path, format!("must be {message}"))
}

/// Translates serde's names of types.
fn plain(words: &str) -> String {
    match words {
        "u8" => format!("a whole number from 0 to {}", u8::MAX),
        "u16" => format!("a whole number from 0 to {}", u16::MAX),
        "u32" => format!("a whole number from 0 to {}", u32::MAX),
        "u64" | "usize" => "a whole number from 0".to_owned(),
        "i32" | "i64" => "a whole number".to_owned(),
        "f64" => "a number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a string" => "a text".to_owned(),
        "a duration" => "a duration like \"90s\" or \"1h 30m\"".to_owned(),
        "map" => "a table".to_owned(),
        "sequence" | "a sequence" => "a list".to_owned(),
        _ if words.starts_with("struct ") => "a table".to_owned(),
        _ => {
            let types = ["string ", "integer ", "floating point ", "boolean "];
            let value = types.iter().find_map(|name| words.strip_prefix(name)).unwrap_or(words);
            value.replace('`', "")
        }
    }
}

fn syntax(text: &str, error: &toml::de::Error) -> ScenarioError {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let message = error.message();
    let number = message.strip_prefix("invalid type: integer `").and_then(|it| it.split_once('`'));
    let problem = match number {
        Some((number, _)) => {
            format!("{number} is too large; a number is from {} to {}", i64::MIN, i64::MAX)
        }
        None => message.replace('\n', ", "),
    };
    ScenarioError::Syntax { line, problem }
}
