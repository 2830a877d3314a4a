//! What can be wrong with a scenario, each in one sentence.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a scenario can't be read, changed or worked out. The scenario is as it was, and nothing has begun to run.
#[derive(Debug)]
#[non_exhaustive]
pub enum ScenarioError {
    /// A file can't be read.
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The text is not TOML.
    Syntax {
        /// In which line, from 1.
        line: usize,
        /// What is wrong there.
        problem: String,
    },
    /// A field has no such value, or there is no such field.
    Field {
        /// The field, as a dotted path: `link.broken`, `fault.0.at`.
        field: String,
        /// The rest of the sentence.
        problem: String,
    },
    /// The run would take more memory than there is.
    Memory {
        /// The estimate, in bytes.
        needed: u64,
        /// The limit, in bytes.
        limit: u64,
    },
    /// No bundled scenario has this name.
    UnknownName {
        /// The name.
        name: String,
        /// The one that is most like it.
        likely: Option<&'static str>,
    },
}

impl ScenarioError {
    pub(super) fn field(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Field { field: field.into(), problem: problem.into() }
    }

    /// "`field` is `value`; it must be `range`."
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
            Self::Memory { needed, limit } => write!(
                f,
                "this scenario may take {} of memory, and the limit is {}: take fewer towers, peers or messages, or raise memory_limit",
                measure(*needed, u64::div_ceil),
                measure(*limit, core::ops::Div::div)
            ),
            Self::UnknownName { name, likely } => {
                write!(f, "there is no bundled scenario \"{name}\"")?;
                if let Some(likely) = likely {
                    write!(f, "; did you mean \"{likely}\"?")?;
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

/// Bytes in a unit of which there are some, with one decimal place. What is needed is rounded up and what there is down: else they could look the same.
fn measure(bytes: u64, divide: impl Fn(u64, u64) -> u64) -> String {
    let (unit, size) = match bytes {
        0..0x400 => return format!("{bytes} bytes"),
        0x400..0x10_0000 => ("KiB", 1 << 10),
        0x10_0000..0x4000_0000 => ("MiB", 1 << 20),
        _ => ("GiB", 1 << 30),
    };
    let tenths = divide(bytes % size * 10, size) + bytes / size * 10;
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_never_looks_like_less_than_the_limit() {
        let sentence = |needed, limit| ScenarioError::Memory { needed, limit }.to_string();
        let said = sentence((5 << 30) / 2 + 1, (5 << 30) / 2);
        assert!(said.contains("take 2.6 GiB") && said.contains("limit is 2.5 GiB"), "{said}");
        let said = sentence(60 << 20, 1000);
        assert!(said.contains("take 60.0 MiB") && said.contains("limit is 1000 bytes"), "{said}");
        assert!(sentence(u64::MAX, 1536).contains("limit is 1.5 KiB"));
    }
}
