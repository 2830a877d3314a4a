//! The comparison of two traces.

use std::io::{self, BufRead};

/// The first line in which two traces differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The number of the line, from 1.
    pub line: u64,
    /// Lines before it, which are the same in both traces.
    pub before: Vec<String>,
    /// The line in the first trace. `None` if the trace is shorter.
    pub first: Option<String>,
    /// The line in the second trace. `None` if the trace is shorter.
    pub second: Option<String>,
}

/// Number of lines before the difference.
const CONTEXT: usize = 3;

/// Returns the first line in which two traces differ, or `None` if the traces are the same.
///
/// # Errors
///
/// Fails if a trace can't be read.
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
    fn the_first_line_that_differs_comes_with_the_lines_before_it() {
        let difference = diff("a\nb\nc\nd\ne\nX\n", "a\nb\nc\nd\ne\nY\nZ\n").unwrap();
        assert_eq!(difference.line, 6);
        assert_eq!(difference.before, ["c", "d", "e"]);
        assert_eq!(difference.first.as_deref(), Some("X"));
        assert_eq!(difference.second.as_deref(), Some("Y"));
    }

    #[test]
    fn a_shorter_trace_differs_after_its_end() {
        let difference = diff("a\n", "a\nb\n").unwrap();
        assert_eq!((difference.line, difference.first), (2, None));
        assert_eq!(difference.second.as_deref(), Some("b"));
    }
}
