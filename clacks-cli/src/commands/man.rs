//! `clacks man`: the manual pages, made from the help.

use std::fs;
use std::path::Path;

use crate::args::ManArgs;
use crate::config;
use crate::error::Failure;

/// Writes a page for the command and one for each of its commands.
pub(crate) fn run(args: &ManArgs) -> Result<(), Failure> {
    write(&args.dir).map_err(|error| {
        Failure::failed(format_args!(
            "The manual pages cannot be written to {} ({error}): choose a folder that you may \
             write to.",
            args.dir.display()
        ))
    })
}

fn write(dir: &Path) -> std::io::Result<()> {
    fs::create_dir_all(dir)?;
    // The generator would wrap the help for the terminal in which it runs.
    clap_mangen::generate_to(config::command().disable_help_subcommand(true), dir)
}
