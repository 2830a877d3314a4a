//! `clacks sim`: networks in virtual time.

mod diff;
mod page;
mod run;
mod scenario;
mod seeds;
mod summary;
mod sweep;

use std::io::Write;

use clacks_sim::Scenario;

use crate::args::{SimArgs, SimVerb};
use crate::error::Failure;
use crate::output::text::STRONG;
use scenario::Chosen;

/// Does what was asked for.
pub(crate) fn run(args: &SimArgs) -> Result<(), Failure> {
    if let Some(SimVerb::Diff { first, second }) = &args.verb {
        return diff::run(first, second);
    }
    let Some(name) = args.scenario.as_deref().filter(|_| !args.list) else { return list() };
    let Chosen { scenario, base, text } = Chosen::new(name, args)?;
    if args.show {
        let text = text.map_or_else(|| scenario.to_toml(), str::to_owned);
        anstream::stdout().write_all(text.as_bytes())?;
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

/// The command that runs the same again.
fn command(args: &SimArgs, seed: u64) -> String {
    let mut words = vec!["clacks sim".to_owned(), quoted(args.scenario.as_deref().unwrap_or(""))];
    words.extend(args.towers.map(|towers| format!("--towers {towers}")));
    let time = args.time.map(|time| humantime::format_duration(time).to_string());
    words.extend(time.map(|time| format!("--time {}", quoted(&time))));
    words.extend(
        args.set.iter().map(|(key, value)| format!("--set {}", quoted(&format!("{key}={value}")))),
    );
    if args.keep_going {
        words.push("--keep-going".to_owned());
    }
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
