//! `clacks config`: the options of a tower and their sources.

use std::borrow::Cow;
use std::io::Write;

use serde::Serialize;

use crate::args::TowerArgs;
use crate::config::{Setting, Settings, Source};
use crate::error::Failure;
use crate::output::json;
use crate::output::text::QUIET;

/// The settings as one JSON object.
#[derive(Serialize)]
struct Report<'a> {
    event: &'static str,
    /// The configuration file, or null.
    file: Option<Cow<'a, str>>,
    options: &'a [Setting],
}

/// Writes the value of each option with its source.
pub(crate) fn run(args: &TowerArgs, settings: &Settings) -> Result<(), Failure> {
    let mut options = settings.options.clone();
    // On this command line, the flag is for the output of this command.
    options.retain(|it| it.name != "json" || it.source != Source::CommandLine);
    if args.json {
        let file = settings.file().map(|path| path.to_string_lossy());
        json::write(&Report { event: "config", file, options: &options })?;
        return Ok(());
    }
    let text = table(&options, settings);
    let mut out = anstream::stdout();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

fn table(options: &[Setting], settings: &Settings) -> String {
    let file = settings.file().map(|path| path.display().to_string()).unwrap_or_default();
    let values = |it: &Setting| match it.values.as_slice() {
        [] => "-".to_owned(),
        values => values.join(", "),
    };
    let width = |text: fn(&Setting) -> usize| options.iter().map(text).max().unwrap_or_default();
    let names = width(|it| it.name.len());
    let longest = options.iter().map(|it| values(it).chars().count()).filter(|it| *it <= 40).max();
    let longest = longest.unwrap_or_default();
    let mut text = String::new();
    for it in options {
        let source = match it.source {
            Source::Default => format!("{QUIET}default{QUIET:#}"),
            Source::File => file.clone(),
            Source::Environment => it.variable.clone(),
            Source::CommandLine => "command line".to_owned(),
        };
        text += &format!("{:names$}  {:longest$}  {source}\n", it.name, values(it));
    }
    text
}
