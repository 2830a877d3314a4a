//! The `clacks` command. See `clacks --help`, or the README.

mod args;
mod commands;
mod control;
mod dashboard;
mod error;
mod identity;
mod output;
mod runtime;
mod setup;
mod signals;
mod value_parser;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use anstream::adapter::strip_str;
use anstream::{AutoStream, ColorChoice};
use clacks_proto::Address;
use clap::Parser;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::args::{Cli, PeerArgs, Verb};
use crate::commands::{
    ask, bench, completions, demo, keygen, listen, ping, send, sim, tower, watch,
};
use crate::control::Request;
use crate::error::Failure;
use crate::output::json;
use crate::output::text::{BAD, STRONG};
use crate::output::writer::{LOG, Target, Writer};

/// What is logged if `RUST_LOG` is not set. The command writes notices to standard output.
const DEFAULT_LOG: &str = "warn,clacks=info,clacks_proto::notices=off";

/// How long the end of the command waits for a standard error that is not read.
const LOG_LIMIT: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let verb = Cli::parse().verb;
    start_log();
    let done = run(&verb);
    let code = match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(sentence) = failure.sentence() {
                write_sentence(&format!("{BAD}{STRONG}error:{STRONG:#}{BAD:#} {sentence}\n"));
            }
            failure.exit_code()
        }
    };
    if let Some(log) = LOG.get() {
        // There is no other place to report it.
        let _ = log.finish(LOG_LIMIT);
    }
    code
}

fn run(verb: &Verb) -> Result<(), Failure> {
    let reports = |json| move |failure: &Failure| write_event(failure, json);
    let peer = |args: &PeerArgs, request: fn(Address) -> Request| {
        ask::run(&args.reach, &request(args.tower.clone()))
    };
    match verb {
        Verb::Demo(args) => demo::run(args).inspect_err(reports(args.json)),
        Verb::Tower(args) => tower::run(args).inspect_err(reports(args.json)),
        Verb::Send(args) => send::run(args).inspect_err(reports(args.reach.json)),
        Verb::Listen(args) => listen::run(args).inspect_err(reports(args.reach.json)),
        Verb::Watch(args) => watch::run(args).inspect_err(reports(args.reach.json)),
        Verb::Peek(args) => ask::run(&args.reach, &Request::Peek),
        Verb::Survey(args) => ask::run(&args.reach, &Request::Survey),
        Verb::Status(args) => ask::run(&args.reach, &Request::Status),
        Verb::Stats(args) => ask::run(&args.reach, &Request::Stats),
        Verb::Announce(args) => peer(args, |tower| Request::Announce { tower, wait: true }),
        Verb::Expand(args) => peer(args, |tower| Request::Expand { tower }),
        Verb::Ignore(args) => peer(args, |tower| Request::Ignore { tower }),
        Verb::Unignore(args) => peer(args, |tower| Request::Unignore { tower }),
        Verb::Forget(args) => peer(args, |tower| Request::Forget { tower }),
        Verb::Stop(args) => ask::stop(&args.reach),
        Verb::Ping(args) => ping::run(args).inspect_err(reports(args.json)),
        Verb::Sim(args) => sim::run(args).inspect_err(reports(args.json)),
        Verb::Bench(args) => bench::run(args).inspect_err(reports(args.json)),
        Verb::Keygen(args) => keygen::run(args),
        Verb::Completions(args) => completions::run(args),
    }
}

/// Writes a line to standard error, after the lines of the log.
fn write_sentence(line: &str) {
    let is_plain = AutoStream::choice(&io::stderr()) == ColorChoice::Never;
    let line = if is_plain { strip_str(line).to_string() } else { line.to_owned() };
    match LOG.get() {
        Some(log) => log.push(line.into_bytes()),
        // `eprint!` would panic if standard error can't be written.
        None => _ = io::stderr().write_all(line.as_bytes()),
    }
}

/// Writes a failure as an event too, for programs that read the events.
fn write_event(failure: &Failure, json: bool) {
    if let (true, Some(message)) = (json, failure.sentence()) {
        let _ = json::write(&serde_json::json!({"event": "error", "message": message}));
    }
}

/// Starts the log. It is written directly if no thread can be started.
fn start_log() {
    let wanted = std::env::var("RUST_LOG").ok().and_then(|wanted| wanted.parse::<Targets>().ok());
    let filter = wanted.or_else(|| DEFAULT_LOG.parse().ok()).unwrap_or_default();
    let colours = AutoStream::choice(&io::stderr()) != ColorChoice::Never;
    let missed = |count| format!("{count} lines of the log were dropped\n").into_bytes();
    let writer = Writer::start(Target::Stderr, missed).ok();
    let to = match writer {
        Some(writer) => BoxMakeWriter::new(LOG.get_or_init(|| writer).clone()),
        None => BoxMakeWriter::new(io::stderr),
    };
    let log = fmt::layer().with_ansi(colours).with_writer(to);
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
