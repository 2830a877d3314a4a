//! Measured durations, from a file.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::LONGEST;
use crate::text;

/// Durations from a file, in its order. Clones share them.
///
/// The file has one column, a value on each line. Either each value is a duration (`1.5ms`), or the first line names the column and its last word is
/// the unit of bare numbers: `ns`, `us`, `ms`, `s`, `min` or `h`, as in `latency_ms` or `round trip (us)`. A first line that begins with a letter is a header.
/// Blank lines, and those that begin with `#`, say nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Samples {
    path: PathBuf,
    nanos: Arc<[u64]>,
}

impl Samples {
    /// The samples of a file that is read later, by [`Distribution::load`](super::Distribution::load).
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), nanos: Arc::default() }
    }

    /// Samples from the text of a file; they have no path.
    ///
    /// # Errors
    /// At the first line that is no duration between zero and [`LONGEST`], or when there is none at all. There are no samples then.
    pub fn from_csv(text: &str) -> Result<Self, SamplesError> {
        Ok(Self { path: PathBuf::new(), nanos: parse(text)? })
    }

    /// Where they come from, as the scenario says it.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The values in nanoseconds; none if they are not loaded.
    #[must_use]
    pub fn nanos(&self) -> &[u64] {
        &self.nanos
    }

    pub(super) fn load(&mut self, base: &Path) -> Result<(), SamplesError> {
        let path = base.join(&self.path);
        let in_file = |problem| SamplesError { path: Some(path.clone()), problem };
        let text =
            fs::read_to_string(&path).map_err(|error| in_file(Problem::Unreadable(error)))?;
        self.nanos = parse(&text).map_err(|error| in_file(error.problem))?;
        Ok(())
    }

    pub(super) fn mean(&self) -> Duration {
        let sum: u128 = self.nanos.iter().map(|nanos| u128::from(*nanos)).sum();
        let mean = sum.checked_div(self.nanos.len() as u128).unwrap_or(0);
        Duration::from_nanos(u64::try_from(mean).unwrap_or(u64::MAX))
    }
}

fn parse(text: &str) -> Result<Arc<[u64]>, SamplesError> {
    let mut unit = None;
    let mut nanos = Vec::new();
    let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim).zip(1..);
    let lines = lines.filter(|(line, _)| !line.is_empty() && !line.starts_with('#'));
    for (place, (line, number)) in lines.enumerate() {
        let result = if place == 0 && line.starts_with(char::is_alphabetic) {
            unit = unit_of(line);
            Ok(())
        } else {
            value(line, unit).map(|value| nanos.push(value))
        };
        result.map_err(|reason| Problem::Line { number, reason })?;
    }
    if nanos.is_empty() { Err(Problem::Empty.into()) } else { Ok(nanos.into()) }
}

/// The nanoseconds in the unit that a header's last word names.
fn unit_of(header: &str) -> Option<f64> {
    let mut words = header.split(|c: char| !c.is_alphanumeric() && c != 'µ');
    match words.rfind(|word| !word.is_empty())? {
        "ns" => Some(1.0),
        "us" | "µs" => Some(1e3),
        "ms" => Some(1e6),
        "s" => Some(1e9),
        "min" => Some(60e9),
        "h" => Some(3_600e9),
        _ => None,
    }
}

fn value(line: &str, unit: Option<f64>) -> Result<u64, String> {
    let bare = line.parse::<f64>();
    let duration = match (bare, unit) {
        (Ok(number), Some(unit)) if number >= 0.0 => {
            Duration::from_nanos(super::to_nanos(number * unit))
        }
        (Ok(number), Some(_)) => return Err(format!("`{number}` is no duration")),
        (Ok(number), None) if number != 0.0 => {
            let advice = "a header such as `latency_ms`, or a unit behind each number";
            return Err(format!("`{line}` needs {advice}"));
        }
        _ => text::parse(line)?,
    };
    if duration > LONGEST {
        let longest = humantime::format_duration(LONGEST);
        return Err(format!("a duration lies between 0s and {longest}, not at `{line}`"));
    }
    Ok(super::whole(duration))
}

/// Why samples could not be read. Nothing has changed.
#[derive(Debug)]
pub struct SamplesError {
    path: Option<PathBuf>,
    problem: Problem,
}

#[derive(Debug)]
enum Problem {
    Unreadable(io::Error),
    Line { number: u64, reason: String },
    Empty,
}

impl From<Problem> for SamplesError {
    fn from(problem: Problem) -> Self {
        Self { path: None, problem }
    }
}

impl fmt::Display for SamplesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.path {
            write!(f, "{}: ", path.display())?;
        }
        match &self.problem {
            Problem::Unreadable(error) => write!(f, "the samples can't be read: {error}"),
            Problem::Line { number, reason } => write!(f, "line {number}: {reason}"),
            Problem::Empty => f.write_str("no line has a duration"),
        }
    }
}

impl std::error::Error for SamplesError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.problem {
            Problem::Unreadable(error) => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nanos(text: &str) -> Vec<u64> {
        Samples::from_csv(text).unwrap().nanos().to_vec()
    }

    fn error(text: &str) -> String {
        Samples::from_csv(text).unwrap_err().to_string()
    }

    #[test]
    fn values_have_a_unit_each_or_one_in_the_header() {
        assert_eq!(nanos("1.5ms\n 2s 1ns\n\n# later\n0\n"), [1_500_000, 2_000_000_001, 0]);
        assert_eq!(nanos("latency_ms\r\n1.5\r\n2\r\n7us\r\n"), [1_500_000, 2_000_000, 7_000]);
        for (unit, value) in [
            ("ns", 2),
            ("us", 2_000),
            ("µs", 2_000),
            ("s", 2_000_000_000),
            ("min", 120_000_000_000),
        ] {
            assert_eq!(nanos(&format!("\u{feff}round trip ({unit})\n2")), [value], "{unit}");
        }
        assert_eq!(nanos("# a day\nlife_h\n24"), [86_400_000_000_000]);
    }

    #[test]
    fn a_bad_line_is_named_with_its_reason() {
        assert_eq!(
            error("latency\n\n12"),
            "line 3: `12` needs a header such as `latency_ms`, or a unit behind each number"
        );
        assert_eq!(error("ms\n1\n-1"), "line 3: `-1` is no duration");
        assert_eq!(error("ms\nnan"), "line 2: `NaN` is no duration");
        assert_eq!(error("h\n24.5"), "line 2: a duration lies between 0s and 1day, not at `24.5`");
        assert!(error("ms\ninf").starts_with("line 2: a duration lies between"));
        assert!(error("1ms\nsoon").starts_with("line 2: `soon` is no duration such as `50ms`"));
        assert!(error("ms\n1,2").starts_with("line 2: `1,2` is no duration such as `50ms`"));
        assert_eq!(error("latency_ms\n# nothing\n"), "no line has a duration");
        assert_eq!(error(""), "no line has a duration");
    }
}
