//! Lines that fit the terminal.

use std::fmt::Display;
use std::io::{self, IsTerminal, Stderr, Stdout, Write};

use anstream::AutoStream;
use terminal_size::{Height, Width};
use textwrap::{Options, WordSplitter};

use super::text::WARN;

/// How far the rest of a line that does not fit is indented.
const INDENT: &str = "  ";

/// Writes lines to a terminal. A line that is longer than the terminal is wide is broken between
/// words. If the stream is no terminal, lines are written as they are.
pub(crate) struct Wrapped<W: Write> {
    out: W,
    /// Returns the width of the terminal in columns, which may change. `None` if the stream is no
    /// terminal.
    width: Option<fn() -> usize>,
    /// The start of a line whose end was not written yet.
    line: Vec<u8>,
}

/// Returns standard output, for text.
pub(crate) fn stdout() -> Wrapped<AutoStream<Stdout>> {
    let width: fn() -> usize = || columns(terminal_size::terminal_size_of(io::stdout()));
    let width = io::stdout().is_terminal().then_some(width);
    Wrapped { out: anstream::stdout(), width, line: Vec::new() }
}

/// Returns standard error, for text.
pub(crate) fn stderr() -> Wrapped<AutoStream<Stderr>> {
    let width: fn() -> usize = || columns(terminal_size::terminal_size_of(io::stderr()));
    let width = io::stderr().is_terminal().then_some(width);
    Wrapped { out: anstream::stderr(), width, line: Vec::new() }
}

/// Returns lines that are to be written to standard output, broken as its terminal needs it.
pub(crate) fn for_stdout(lines: &str) -> String {
    fitted(lines, stdout().width)
}

/// Returns lines that are to be written to standard error, broken as its terminal needs it.
pub(crate) fn for_stderr(lines: &str) -> String {
    fitted(lines, stderr().width)
}

fn fitted(lines: &str, width: Option<fn() -> usize>) -> String {
    match width {
        Some(width) => lines.split_inclusive('\n').map(|line| wrap(line, width())).collect(),
        None => lines.to_owned(),
    }
}

/// Writes a remark to standard error. It is lost if it can't be written.
pub(crate) fn note(remark: impl Display) {
    let mut out = stderr();
    let _ = writeln!(out, "{WARN}note{WARN:#}: {remark}");
}

/// Returns the width of a terminal. Unknown widths break no line.
fn columns(size: Option<(Width, Height)>) -> usize {
    size.map_or(0, |(width, _)| width.0).into()
}

impl<W: Write> Wrapped<W> {
    /// Writes a line that is not broken, such as a command to copy.
    pub(crate) fn write_unbroken(&mut self, line: impl Display) -> io::Result<()> {
        self.flush()?;
        writeln!(self.out, "{line}")
    }

    fn write_line(&mut self) -> io::Result<()> {
        let line = std::mem::take(&mut self.line);
        match (std::str::from_utf8(&line), self.width) {
            (Ok(line), Some(width)) => self.out.write_all(wrap(line, width()).as_bytes()),
            _ => self.out.write_all(&line),
        }
    }
}

impl<W: Write> Write for Wrapped<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.width.is_none() {
            return self.out.write(bytes);
        }
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                self.write_line()?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.line.is_empty() {
            self.write_line()?;
        }
        self.out.flush()
    }
}

impl<W: Write> Drop for Wrapped<W> {
    fn drop(&mut self) {
        // A caller that needs the error flushes before.
        let _ = self.flush();
    }
}

/// Breaks a line between words. A word that is longer than `width` stays whole: it may be a path or
/// a key to copy.
fn wrap(line: &str, width: usize) -> String {
    let (text, end) = match line.strip_suffix('\n') {
        Some(text) => (text, "\n"),
        None => (line, ""),
    };
    if width == 0 || textwrap::core::display_width(text) <= width {
        return line.to_owned();
    }
    let body = text.trim_start_matches(' ');
    let margin = text.get(..text.len() - body.len()).unwrap_or_default();
    // A wide margin would leave no room.
    let margin = if margin.len() * 2 > width { "" } else { margin };
    let rest = format!("{margin}{INDENT}");
    let options = Options::new(width)
        .break_words(false)
        .word_splitter(WordSplitter::NoHyphenation)
        .initial_indent(margin)
        .subsequent_indent(&rest);
    let mut wrapped = textwrap::fill(body, options);
    wrapped.push_str(end);
    wrapped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_broken_between_words() {
        for (line, width, wrapped) in [
            ("one two three\n", 40, "one two three\n"),
            ("one two three\n", 13, "one two three\n"),
            ("one two three\n", 12, "one two\n  three\n"),
            ("one two three", 7, "one two\n  three"),
            ("  one  two three\n", 9, "  one\n    two\n    three\n"),
            ("/a/long/path is a path\n", 8, "/a/long/path\n  is a\n  path\n"),
            ("          far\n", 10, "far\n"),
            ("\n", 1, "\n"),
        ] {
            assert_eq!(wrap(line, width), wrapped, "{line:?} {width}");
        }
    }

    #[test]
    fn lines_of_a_terminal_are_broken_and_others_are_not() {
        for (width, expected) in [
            (Some((|| 9) as fn() -> usize), "one two\n  three\nfour"),
            (None, "one two three\nfour"),
        ] {
            let mut text = Vec::new();
            let mut out = Wrapped { out: &mut text, width, line: Vec::new() };
            write!(out, "one ").unwrap();
            write!(out, "two three\nfour").unwrap();
            out.write_unbroken(" five six seven").unwrap();
            drop(out);
            let expected = format!("{expected} five six seven\n");
            assert_eq!(String::from_utf8(text).unwrap(), expected);
        }
    }

    #[test]
    fn colours_have_no_width() {
        let line = "\u{1b}[1mone two\u{1b}[0m three\n";
        assert_eq!(wrap(line, 13), line);
        assert_eq!(wrap(line, 12), "\u{1b}[1mone two\u{1b}[0m\n  three\n");
    }
}
