//! `clacks sim`: networks in virtual time.

mod diff;
mod huge_pages;
mod outputs;
mod run;
mod scenario;
mod seeds;
mod summary;
mod sweep;
mod trace;

use std::io::Write;

use clacks_sim::Scenario;
use clacks_sim::scenario::Target;

use crate::args::{SimArgs, SimVerb};
use crate::error::Failure;
use crate::output::text::{STRONG, grouped};
use crate::output::wrap;
use scenario::{Chosen, SWARM};

/// Runs the command.
pub(crate) fn run(args: &SimArgs) -> Result<(), Failure> {
    if let Some(SimVerb::Diff { first, second }) = &args.verb {
        return diff::run(first, second);
    }
    let Some(name) = args.scenario.as_deref().filter(|_| !args.list) else { return list() };
    let chosen = Chosen::new(name, args)?;
    if let Some(seeds) = &args.seeds {
        return sweep::run(args, &chosen, seeds.clone());
    }
    let (scenario, removed) = chosen.scenario(args.seed)?;
    if args.show {
        let text = chosen.text(&scenario).map_or_else(|| scenario.to_toml(), str::to_owned);
        anstream::stdout().write_all(text.as_bytes())?;
        return Ok(());
    }
    huge_pages::enable(scenario.towers, &chosen);
    note_removed(&removed);
    run::run(args, &scenario, chosen.base(), &chosen.inputs(&scenario))
}

/// Writes a note about each target that is after the time of the command line.
fn note_removed(targets: &[Target]) {
    for target in targets {
        let name = &target.name;
        wrap::note(format_args!("--time ends before the target {name:?}."));
    }
}

/// Lists the scenarios with their size, their virtual time and the real time that a run takes.
fn list() -> Result<(), Failure> {
    let mut out = wrap::stdout();
    let bundled = Scenario::bundled();
    let width = bundled.iter().map(|one| one.name.len()).max().unwrap_or(0);
    let mut row = |name: &str, towers: &str, time: &str, takes: &str, about: &str| {
        writeln!(
            out,
            "{STRONG}{name:<width$}{STRONG:#}  {towers:>9} towers  {time:>7}  takes {takes:>6}  \
             {about}"
        )
    };
    for one in bundled {
        let scenario = Scenario::from_toml(one.toml).map_err(Failure::usage)?;
        let time = humantime::format_duration(scenario.time).to_string();
        let takes = one.takes.map(|takes| humantime::format_duration(takes).to_string());
        let takes = takes.unwrap_or_else(|| "?".to_owned());
        row(one.name, &grouped(scenario.towers.into()), &time, &takes, one.about)?;
    }
    row(SWARM, "2 to 60", "3 - 15m", "1s", "A random scenario, drawn from the seed")?;
    Ok(())
}

/// Returns the command that repeats a run.
fn command(args: &SimArgs, seed: u64) -> String {
    let mut words = vec!["clacks sim".to_owned(), quoted(args.scenario.as_deref().unwrap_or(""))];
    words.extend(args.towers.map(|towers| format!("--towers {towers}")));
    let time = args.time.map(|time| humantime::format_duration(time).to_string());
    words.extend(time.map(|time| format!("--time {}", quoted(&time))));
    words.extend(
        args.set.iter().map(|(key, value)| format!("--set {}", quoted(&format!("{key}={value}")))),
    );
    if args.original {
        words.push("--original".to_owned());
    }
    if args.keep_going {
        words.push("--keep-going".to_owned());
    }
    words.push(format!("--seed {seed}"));
    words.join(" ")
}

/// Returns a word with the quotes that a shell needs.
fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./=:,%+".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_if_a_shell_would_split_or_change_them() {
        for (word, expected) in [
            ("capacity", "capacity"),
            ("link.latency=80ms", "link.latency=80ms"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
            ("$HOME", "'$HOME'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(word), expected);
        }
    }
}
