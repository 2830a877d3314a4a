//! The first difference of two traces.

use std::io::{self, BufRead};

/// Where two traces part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The number of the first line that differs, from 1.
    pub line: u64,
    /// Lines right before it, which both have.
    pub before: Vec<String>,
    /// What the first trace has there; `None` when it has ended.
    pub first: Option<String>,
    /// What the second trace has there; `None` when it has ended.
    pub second: Option<String>,
}

/// How many lines of the common past are shown.
const CONTEXT: usize = 3;

/// Finds the first line in which two traces differ; `None` when they are the same.
///
/// # Errors
///
/// When one of them can't be read.
pub fn first_difference(
    first: impl BufRead,
    second: impl BufRead,
) -> io::Result<Option<Difference>> {
    let mut before: Vec<String> = Vec::new();
    let (mut first, mut second) = (first.lines(), second.lines());
    for line in 1.. {
        let (one, two) = (first.next().transpose()?, second.next().transpose()?);
        match (one, two) {
            (None, None) => break,
            (Some(one), Some(two)) if one == two => {
                if before.len() == CONTEXT {
                    before.remove(0);
                }
                before.push(one);
            }
            (one, two) => return Ok(Some(Difference { line, before, first: one, second: two })),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diff(first: &str, second: &str) -> Option<Difference> {
        first_difference(first.as_bytes(), second.as_bytes()).unwrap()
    }

    #[test]
    fn equal_traces_have_no_difference() {
        assert_eq!(diff("", ""), None);
        assert_eq!(diff("a\nb\n", "a\nb\n"), None);
    }

    #[test]
    fn the_first_line_that_differs_is_found_with_its_past() {
        let difference = diff("a\nb\nc\nd\ne\nX\n", "a\nb\nc\nd\ne\nY\nZ\n").unwrap();
        assert_eq!(difference.line, 6);
        assert_eq!(difference.before, ["c", "d", "e"]);
        assert_eq!(difference.first.as_deref(), Some("X"));
        assert_eq!(difference.second.as_deref(), Some("Y"));
    }

    #[test]
    fn an_end_is_a_difference() {
        let difference = diff("a\n", "a\nb\n").unwrap();
        assert_eq!((difference.line, difference.first), (2, None));
        assert_eq!(difference.second.as_deref(), Some("b"));
    }
}
