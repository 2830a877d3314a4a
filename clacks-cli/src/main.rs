//! The `clacks` command. See `clacks --help`, or the README.

mod args;
mod bench;
mod console;
mod demo;
mod error;
mod identity;
mod json;
mod output;
mod plain;
mod runtime;
mod setup;
mod signals;
mod sim;
mod tower;
mod values;

use std::io::{self, Write};
use std::process::ExitCode;

use anstream::{AutoStream, ColorChoice};
use clap::{CommandFactory, Parser};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::args::{Cli, CompletionsArgs, KeygenArgs, Verb};
use crate::error::Failure;
use crate::output::{Said, Voice};
use crate::plain::{BAD, STRONG};

/// What is logged unless `RUST_LOG` says otherwise.
const LOGGED: &str = "warn,clacks=info";

fn main() -> ExitCode {
    let verb = Cli::parse().verb;
    log();
    let done = match &verb {
        Verb::Demo(args) => demo::run(args).inspect_err(|failure| tell(failure, args.json)),
        Verb::Tower(args) => tower::run(args).inspect_err(|failure| tell(failure, args.json)),
        Verb::Sim(args) => sim::run(args).inspect_err(|failure| tell(failure, args.json)),
        Verb::Bench(args) => bench::run(args).inspect_err(|failure| tell(failure, args.json)),
        Verb::Keygen(args) => keygen(args),
        Verb::Completions(args) => completions(args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(sentence) = failure.sentence() {
                // Not `eprintln!`, which panics when standard error can't be written. There is nobody else to tell.
                let mut out = anstream::stderr();
                let _ = writeln!(out, "{BAD}{STRONG}error:{STRONG:#}{BAD:#} {sentence}");
            }
            failure.exit_code()
        }
    }
}

/// A program that reads events learns of a failure there; a person reads it on standard error.
fn tell(failure: &Failure, json: bool) {
    if let (true, Some(sentence)) = (json, failure.sentence()) {
        let _ = Voice::Json.say(&Said::Error(sentence));
    }
}

fn log() {
    let wanted = std::env::var("RUST_LOG").ok().and_then(|wanted| wanted.parse::<Targets>().ok());
    let filter = wanted.or_else(|| LOGGED.parse().ok()).unwrap_or_default();
    let colours = AutoStream::choice(&io::stderr()) != ColorChoice::Never;
    let log = fmt::layer().with_ansi(colours).with_writer(io::stderr);
    // A line of the log that can't be written is lost. To complain of it on the same standard error would panic, and end the tower.
    let log = log.log_internal_errors(false);
    tracing_subscriber::registry().with(filter).with(log).init();
}

fn keygen(args: &KeygenArgs) -> Result<(), Failure> {
    let (identity, files) = identity::create(&args.dir)?;
    let mut out = anstream::stdout();
    writeln!(out, "fingerprint  {STRONG}{}{STRONG:#}", identity.fingerprint())?;
    writeln!(out, "private key  {} (never give it away)", files.key.display())?;
    writeln!(out, "certificate  {}", files.cert.display())?;
    Ok(())
}

fn completions(args: &CompletionsArgs) -> Result<(), Failure> {
    // Into memory first: the generator cannot bear a pipe that closes.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "clacks", &mut script);
    let mut out = io::stdout().lock();
    out.write_all(&script)?;
    out.flush()?;
    Ok(())
}
