//! `clacks sim`: networks in virtual time.

mod diff;
mod page;
mod run;
mod summary;
mod sweep;

use std::io::Write;
use std::path::{Path, PathBuf};

use clacks_sim::Scenario;
use clacks_sim::scenario::ScenarioError;

use crate::args::{SimArgs, SimVerb};
use crate::error::Failure;
use crate::plain::STRONG;

/// Does what was asked for.
pub(crate) fn run(args: &SimArgs) -> Result<(), Failure> {
    if let Some(SimVerb::Diff { first, second }) = &args.verb {
        return diff::run(first, second);
    }
    let Some(name) = args.scenario.as_deref().filter(|_| !args.list) else { return list() };
    let (scenario, base) = scenario(name, args).map_err(Failure::usage)?;
    if args.show {
        anstream::stdout().write_all(scenario.to_toml().as_bytes())?;
        return Ok(());
    }
    match &args.seeds {
        Some(seeds) => sweep::run(args, &scenario, &base, seeds.clone()),
        None => run::run(args, &scenario, &base),
    }
}

fn list() -> Result<(), Failure> {
    let mut out = anstream::stdout();
    let bundled = Scenario::bundled();
    let width = bundled.iter().map(|one| one.name.len()).max().unwrap_or(0);
    for one in bundled {
        writeln!(out, "{STRONG}{:<width$}{STRONG:#}  {}", one.name, one.about)?;
    }
    Ok(())
}

/// The scenario that was asked for, changed as was asked for, and the folder of the files that it names.
fn scenario(name: &str, args: &SimArgs) -> Result<(Scenario, PathBuf), ScenarioError> {
    let path = Path::new(name);
    let is_file = path.extension().is_some_and(|extension| extension == "toml");
    let mut scenario = if is_file { Scenario::load(path)? } else { Scenario::named(name)? };
    let base = if is_file { path.parent() } else { None };
    for (key, value) in &args.set {
        scenario.set(key, value)?;
    }
    scenario.towers = args.towers.unwrap_or(scenario.towers);
    scenario.time = args.time.unwrap_or(scenario.time);
    scenario.seed = args.seed.unwrap_or(scenario.seed);
    Ok((scenario, base.unwrap_or(Path::new("")).to_owned()))
}

/// The command that runs the same again.
fn command(args: &SimArgs, seed: u64) -> String {
    let mut words = vec!["clacks sim".to_owned(), quoted(args.scenario.as_deref().unwrap_or(""))];
    words.extend(args.towers.map(|towers| format!("--towers {towers}")));
    let time = args.time.map(|time| humantime::format_duration(time).to_string());
    words.extend(time.map(|time| format!("--time {}", quoted(&time))));
    words.extend(
        args.set.iter().map(|(key, value)| format!("--set {}", quoted(&format!("{key}={value}")))),
    );
    words.push(format!("--seed {seed}"));
    words.join(" ")
}

/// A word as a shell takes it.
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
    fn words_are_quoted_where_a_shell_would_cut_or_change_them() {
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
