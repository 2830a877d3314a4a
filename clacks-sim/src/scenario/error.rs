//! Errors in scenarios. Each is one sentence.

use std::path::PathBuf;
use std::{fmt, io};

/// An error in a scenario. The scenario did not change, and nothing ran.
#[derive(Debug)]
#[non_exhaustive]
pub enum ScenarioError {
    /// A file can't be read.
    File {
        /// The path of the file.
        path: PathBuf,
        /// The error of the operating system.
        cause: io::Error,
    },
    /// The text is not TOML.
    Syntax {
        /// The number of the line, from 1.
        line: usize,
        /// The error in the line.
        problem: String,
    },
    /// A field does not exist, or can't have its value.
    Field {
        /// The field as a dotted path: `link.broken`, `fault.0.at`.
        field: String,
        /// The rest of the sentence.
        problem: String,
    },
    /// No bundled scenario has this name.
    UnknownName {
        /// The name.
        name: String,
        /// The bundled scenario with the closest name.
        closest: Option<&'static str>,
    },
}

impl ScenarioError {
    pub(super) fn field(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Field { field: field.into(), problem: problem.into() }
    }

    /// "`field` is `value`; it must be `range`"
    pub(super) fn range(
        field: impl Into<String>,
        value: impl fmt::Display,
        range: impl fmt::Display,
    ) -> Self {
        Self::field(field, format!("is {value}; it must be {range}"))
    }
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, cause } => write!(f, "can't read {}: {cause}", path.display()),
            Self::Syntax { line, problem } => write!(f, "line {line} is not TOML: {problem}"),
            Self::Field { field, problem } => write!(f, "{field} {problem}"),
            Self::UnknownName { name, closest } => {
                write!(f, "there is no bundled scenario \"{name}\"")?;
                if let Some(closest) = closest {
                    write!(f, "; did you mean \"{closest}\"?")?;
                }
                let names = super::bundled::BUNDLED.iter().map(|bundled| bundled.name);
                write!(f, " (there are: {})", names.collect::<Vec<_>>().join(", "))
            }
        }
    }
}

impl std::error::Error for ScenarioError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File { cause, .. } => Some(cause),
            _ => None,
        }
    }
}

/// Returns the name that is most like a word, if at most a third of its letters differ.
pub(super) fn closest<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let distances = names.map(|name| (strsim::levenshtein(&word, name), name));
    distances.min().filter(|(distance, name)| distance * 3 <= name.len()).map(|(_, name)| name)
}
