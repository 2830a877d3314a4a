//! The `clacks` command. See `clacks --help`, or the README.

mod args;
mod commands;
mod config;
mod control;
mod dashboard;
mod error;
mod identity;
mod limits;
mod network;
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
use std::time::Duration;

use anstream::adapter::strip_str;
use anstream::{AutoStream, ColorChoice};
use clacks_proto::Address;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, fmt, reload};

use crate::args::{PeerArgs, ReachArgs, Verb};
use crate::commands::{
    ask, bench, completions, demo, files, keygen, listen, man, ping, send, sim, tower, watch,
};
use crate::config::{Refusal, Settings};
use crate::control::Request;
use crate::error::Failure;
use crate::output::text::{BAD, STRONG};
use crate::output::writer::{LOG, Target, Writer};
use crate::output::{json, wrap};

/// What is logged if `RUST_LOG` is not set. The command writes notices to standard output.
const DEFAULT_LOG: &str = "warn,clacks=info,clacks_proto::notices=off";

/// How long the end of the command waits for a standard error that is not read.
const LOG_LIMIT: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    signals::report_full_files();
    let (cli, settings) = match config::parse() {
        Ok(invocation) => (invocation.cli, invocation.settings),
        Err(Refusal::Clap(error)) => error.exit(),
        Err(Refusal::File(failure)) => {
            write_failure(&failure);
            return failure.exit_code();
        }
    };
    let verb = cli.verb;
    start_log(match &verb {
        Verb::Tower(args) => args.log.clone(),
        _ => None,
    });
    let done = run(&verb, settings.unwrap_or_default());
    let code = match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            write_failure(&failure);
            failure.exit_code()
        }
    };
    if let Some(log) = LOG.get() {
        // There is no other place to report it.
        let _ = log.finish(LOG_LIMIT);
    }
    code
}

/// Writes the sentence of a failure to standard error.
fn write_failure(failure: &Failure) {
    if let Some(sentence) = failure.sentence() {
        write_sentence(&format!("{BAD}{STRONG}error:{STRONG:#}{BAD:#} {sentence}\n"));
    }
}

fn run(verb: &Verb, settings: Settings) -> Result<(), Failure> {
    let reports = |json| move |failure: &Failure| write_event(failure, json);
    let ask = |reach: &ReachArgs, request: &Request| {
        ask::run(reach, request).inspect_err(reports(reach.json))
    };
    let peer = |args: &PeerArgs, request: fn(Address) -> Request| {
        ask(&args.reach, &request(args.tower.clone()))
    };
    match verb {
        Verb::Demo(args) => demo::run(args).inspect_err(reports(args.json)),
        Verb::Tower(args) => tower::run(args, settings).inspect_err(reports(args.json)),
        Verb::Config(args) => {
            commands::config::run(args, &settings).inspect_err(reports(args.json))
        }
        Verb::Send(args) => send::run(args).inspect_err(reports(args.reach.json)),
        Verb::Listen(args) => listen::run(args).inspect_err(reports(args.reach.json)),
        Verb::Watch(args) => watch::run(args).inspect_err(reports(args.reach.json)),
        Verb::Peek(args) => ask(&args.reach, &Request::Peek),
        Verb::Survey(args) => ask(&args.reach, &Request::Survey),
        Verb::Status(args) => ask(&args.reach, &Request::Status),
        Verb::Stats(args) => ask(&args.reach, &Request::Stats),
        Verb::Announce(args) => peer(args, |tower| Request::Announce { tower, wait: true }),
        Verb::Expand(args) => peer(args, |tower| Request::Expand { tower }),
        Verb::Ignore(args) => peer(args, |tower| Request::Ignore { tower }),
        Verb::Unignore(args) => peer(args, |tower| Request::Unignore { tower }),
        Verb::Forget(args) => peer(args, |tower| Request::Forget { tower }),
        Verb::Stop(args) => ask::stop(&args.reach).inspect_err(reports(args.reach.json)),
        Verb::Put(args) => files::put(args).inspect_err(reports(args.access.json)),
        Verb::Get(args) => files::get(args).inspect_err(reports(args.access.json)),
        Verb::Health(args) => files::health(args).inspect_err(reports(args.access.json)),
        Verb::Keep(args) => files::keep(args).inspect_err(reports(args.access.json)),
        Verb::Link(args) => files::link(args).inspect_err(reports(args.json)),
        Verb::Ping(args) => ping::run(args).inspect_err(reports(args.json)),
        Verb::Sim(args) => sim::run(args).inspect_err(reports(args.json)),
        Verb::Bench(args) => bench::run(args).inspect_err(reports(args.json)),
        Verb::Network(args) => network::network(args).inspect_err(reports(args.json())),
        Verb::Invite(args) => network::invite(args).inspect_err(reports(args.output.json)),
        Verb::Join(args) => network::join(args).inspect_err(reports(args.output.json)),
        Verb::Members(args) => network::members(args).inspect_err(reports(args.output.json)),
        Verb::Revoke(args) => network::revoke(args).inspect_err(reports(args.output.json)),
        Verb::Keygen(args) => keygen::run(args),
        Verb::Completions(args) => completions::run(args),
        Verb::Man(args) => man::run(args),
    }
}

/// Writes a line to standard error, after the lines of the log.
fn write_sentence(line: &str) {
    let is_plain = AutoStream::choice(&io::stderr()) == ColorChoice::Never;
    let line = wrap::for_stderr(line);
    let line = if is_plain { strip_str(&line).to_string() } else { line };
    match LOG.get() {
        Some(log) => log.push(line.into_bytes()),
        // `eprint!` would panic if standard error can't be written.
        None => _ = io::stderr().write_all(line.as_bytes()),
    }
}

/// Writes a failure as an event too, for programs that read the events.
fn write_event(failure: &Failure, json: bool) {
    if let (true, Some(message)) = (json, failure.sentence()) {
        let _ = json::write(&serde_json::json!({
            "event": "error", "kind": failure.kind(), "message": message
        }));
    }
}

/// The filter of the log, which a tower can change.
static FILTER: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// Starts the log with a filter, or with that of the environment. It is written directly if no
/// thread can be started.
fn start_log(wanted: Option<Targets>) {
    let (filter, handle) = reload::Layer::new(wanted.unwrap_or_else(default_log));
    let _ = FILTER.set(handle);
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
