//! `clacks sim diff`: compares two traces.

use std::fs::File;
use std::io::{BufReader, Write};
use std::path::Path;

use clacks_sim::first_difference;

use crate::error::Failure;
use crate::output::text::{BAD, GOOD, QUIET};

pub(super) fn run(first: &Path, second: &Path) -> Result<(), Failure> {
    let open = |path: &Path| {
        File::open(path).map(BufReader::new).map_err(|error| {
            Failure::usage(format_args!("{} can't be read ({error}).", path.display()))
        })
    };
    let difference = first_difference(open(first)?, open(second)?);
    let difference = difference
        .map_err(|error| Failure::usage(format_args!("a trace can't be read ({error}).")))?;
    let mut out = anstream::stdout();
    let Some(difference) = difference else {
        writeln!(out, "{GOOD}the same{GOOD:#}")?;
        return Ok(());
    };
    let (line, first, second) = (difference.line, first.display(), second.display());
    writeln!(out, "line {line} differs ({BAD}- {first}{BAD:#}, {GOOD}+ {second}{GOOD:#}):")?;
    for line in &difference.before {
        writeln!(out, "  {QUIET}{line}{QUIET:#}")?;
    }
    let ended = "(the trace has ended)".to_owned();
    writeln!(out, "{BAD}- {}{BAD:#}", difference.first.as_ref().unwrap_or(&ended))?;
    writeln!(out, "{GOOD}+ {}{GOOD:#}", difference.second.as_ref().unwrap_or(&ended))?;
    Err(Failure::Reported)
}
