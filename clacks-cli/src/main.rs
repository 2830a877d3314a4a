//! The `clacks` command. See `clacks --help`, or the README.

mod args;
mod commands;
mod control;
mod error;
mod identity;
mod limits;
mod network;
mod output;
mod runtime;
mod setup;
mod signals;
mod value_parser;

use std::io::{self, Write};
use std::process::ExitCode;

use anstream::{AutoStream, ColorChoice};
use clap::Parser;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::args::{Cli, Verb};
use crate::commands::{bench, completions, demo, keygen, sim, tower};
use crate::error::Failure;
use crate::output::text::{BAD, STRONG};
use crate::output::{Format, Output, wrap};

/// What is logged if `RUST_LOG` is not set. The command writes notices to standard output.
const DEFAULT_LOG: &str = "warn,clacks=info,clacks_proto::notices=off";

fn main() -> ExitCode {
    let verb = Cli::parse().verb;
    signals::report_full_files();
    log();
    let done = match &verb {
        Verb::Demo(args) => demo::run(args).inspect_err(|failure| write_event(failure, args.json)),
        Verb::Tower(args) => {
            tower::run(args).inspect_err(|failure| write_event(failure, args.json))
        }
        Verb::Sim(args) => sim::run(args).inspect_err(|failure| write_event(failure, args.json)),
        Verb::Bench(args) => {
            bench::run(args).inspect_err(|failure| write_event(failure, args.json))
        }
        Verb::Network(args) => or_event(network::network(args), args.json()),
        Verb::Invite(args) => or_event(network::invite(args), args.output.json),
        Verb::Join(args) => or_event(network::join(args), args.output.json),
        Verb::Members(args) => or_event(network::members(args), args.output.json),
        Verb::Revoke(args) => or_event(network::revoke(args), args.output.json),
        Verb::Keygen(args) => keygen::run(args),
        Verb::Completions(args) => completions::run(args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(sentence) = failure.sentence() {
                // `eprintln!` would panic if standard error can't be written.
                let mut out = wrap::stderr();
                let _ = writeln!(out, "{BAD}{STRONG}error:{STRONG:#}{BAD:#} {sentence}");
            }
            failure.exit_code()
        }
    }
}

/// Writes a failure as an event too, if there is one.
fn or_event(done: Result<(), Failure>, json: bool) -> Result<(), Failure> {
    done.inspect_err(|failure| write_event(failure, json))
}

/// Writes a failure as an event too, for programs that read the events.
fn write_event(failure: &Failure, json: bool) {
    if let (true, Some(message)) = (json, failure.sentence()) {
        let _ = Format::Json.write(&Output::Error { message });
    }
}

fn log() {
    let wanted = std::env::var("RUST_LOG").ok().and_then(|wanted| wanted.parse::<Targets>().ok());
    let filter = wanted.or_else(|| DEFAULT_LOG.parse().ok()).unwrap_or_default();
    let colours = AutoStream::choice(&io::stderr()) != ColorChoice::Never;
    let log = fmt::layer().with_ansi(colours).with_writer(io::stderr);
    // A line that can't be written is lost. Reporting that on the same standard error would panic.
    let log = log.log_internal_errors(false);
    tracing_subscriber::registry().with(filter).with(log).init();
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
