//! The `clacks` command. See `clacks --help`, or the README.

mod args;
mod commands;
mod config;
mod control;
mod error;
mod identity;
mod output;
mod runtime;
mod service;
mod setup;
mod signals;
mod state;
mod value_parser;

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::OnceLock;

use anstream::{AutoStream, ColorChoice};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, fmt, reload};

use crate::args::Verb;
use crate::commands::{bench, completions, demo, keygen, man, sim, tower};
use crate::config::Refusal;
use crate::error::Failure;
use crate::output::text::{BAD, STRONG};
use crate::output::{Format, Output};

/// What is logged if `RUST_LOG` is not set. The command writes notices to standard output.
const DEFAULT_LOG: &str = "warn,clacks=info,clacks_proto::notices=off";

fn main() -> ExitCode {
    let (cli, settings) = match config::parse() {
        Ok(invocation) => (invocation.cli, invocation.settings),
        Err(Refusal::Clap(error)) => error.exit(),
        Err(Refusal::File(failure)) => return report(&failure),
    };
    let verb = cli.verb;
    log(match &verb {
        Verb::Tower(args) => args.log.clone(),
        _ => None,
    });
    let done = match &verb {
        Verb::Demo(args) => demo::run(args).inspect_err(|failure| write_event(failure, args.json)),
        Verb::Tower(args) => {
            let settings = settings.unwrap_or_default();
            tower::run(args, settings).inspect_err(|failure| write_event(failure, args.json))
        }
        Verb::Config(args) => commands::config::run(args, &settings.unwrap_or_default()),
        Verb::Sim(args) => sim::run(args).inspect_err(|failure| write_event(failure, args.json)),
        Verb::Bench(args) => {
            bench::run(args).inspect_err(|failure| write_event(failure, args.json))
        }
        Verb::Keygen(args) => keygen::run(args),
        Verb::Completions(args) => completions::run(args),
        Verb::Man(args) => man::run(args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(&failure),
    }
}

/// Writes the sentence of a failure. Returns the exit code.
fn report(failure: &Failure) -> ExitCode {
    if let Some(sentence) = failure.sentence() {
        // `eprintln!` would panic if standard error can't be written.
        let mut out = anstream::stderr();
        let _ = writeln!(out, "{BAD}{STRONG}error:{STRONG:#}{BAD:#} {sentence}");
    }
    failure.exit_code()
}

/// Writes a failure as an event too, for programs that read the events.
fn write_event(failure: &Failure, json: bool) {
    if let (true, Some(message)) = (json, failure.sentence()) {
        let _ = Format::Json.write(&Output::Error { message });
    }
}

/// The filter of the log, which a tower can change.
static FILTER: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// Starts the log with a filter, or with that of the environment.
fn log(wanted: Option<Targets>) {
    let (filter, handle) = reload::Layer::new(wanted.unwrap_or_else(default_log));
    let _ = FILTER.set(handle);
    let colours = AutoStream::choice(&io::stderr()) != ColorChoice::Never;
    let log = fmt::layer().with_ansi(colours).with_writer(io::stderr);
    // A line that can't be written is lost. Reporting that on the same standard error would panic.
    let log = log.log_internal_errors(false);
    tracing_subscriber::registry().with(filter).with(log).init();
}

/// Changes the filter of the log, to that of the environment if there is no other one.
fn set_log(wanted: Option<Targets>) {
    // Fails only before the log has started.
    let _ = FILTER.get().map(|filter| filter.reload(wanted.unwrap_or_else(default_log)));
}

fn default_log() -> Targets {
    let wanted = std::env::var("RUST_LOG").ok().and_then(|wanted| wanted.parse().ok());
    wanted.or_else(|| DEFAULT_LOG.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_log_has_warnings_but_no_notices() {
        let filter: Targets = DEFAULT_LOG.parse().unwrap();
        let is_logged = |target| filter.would_enable(target, &tracing::Level::WARN);
        assert!(is_logged("clacks_proto::driver::accept") && is_logged("polling"));
        assert!(!is_logged("clacks_proto::notices"));
    }
}
