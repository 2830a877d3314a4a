//! `clacks completions`: the completion script for a shell.

use std::io::{self, Write};

use crate::args::CompletionsArgs;
use crate::config;
use crate::error::Failure;

/// Writes the script to standard output.
pub(crate) fn run(args: &CompletionsArgs) -> Result<(), Failure> {
    // Into memory first: the generator panics if a pipe is closed.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut config::command(), "clacks", &mut script);
    let mut out = io::stdout().lock();
    out.write_all(&script)?;
    out.flush()?;
    Ok(())
}
