//! `clacks sim`, as a person and as a script use it.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test has no better answer to a surprise")]

mod common;

use std::fs;

use common::{run, stderr, stdout};
use serde_json::Value;
use tempfile::tempdir;

/// What a command says on standard output.
fn said(args: &[&str]) -> String {
    stdout(&run(args)).to_owned()
}

/// The JSON objects that a command wrote, one a line.
fn events(args: &[&str]) -> Vec<Value> {
    let output = run(args);
    assert!(output.status.success(), "{args:?}: {}", stderr(&output));
    stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_list_names_every_scenario_and_each_can_be_shown() {
    let list = said(&["sim", "--list"]);
    for name in ["original-1", "capacity", "discovery", "churn", "netsplit", "lossy", "million"] {
        assert!(list.contains(name), "{list}");
        let shown = run(&["sim", name, "--show"]);
        assert!(stdout(&shown).contains(&format!("name = \"{name}\"")), "{name}");
    }
}

#[test]
fn the_same_seed_gives_the_same_hash_and_another_one_another() {
    let hash = |seed| {
        events(&["sim", "original-1", "--json", "--seed", seed]).pop().unwrap()["hash"].clone()
    };
    assert_eq!(hash("7"), hash("7"));
    assert_ne!(hash("7"), hash("8"));
}

#[test]
fn a_sweep_says_the_same_on_one_thread_and_on_two() {
    let sweep = |jobs| {
        let mut events =
            events(&["sim", "original-1", "--json", "--seeds", "3..9", "--jobs", jobs]);
        let result = events.pop().unwrap();
        (events, result["hash"].clone(), result["held"].clone())
    };
    let (runs, hash, held) = sweep("1");
    assert_eq!((runs.len(), held.as_u64()), (7, Some(6)), "what is started, and six runs");
    assert_eq!(sweep("2"), (runs, hash, held));
}

#[test]
fn a_scenario_that_is_shown_can_be_run_from_a_file() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("mine.toml");
    fs::write(&file, said(&["sim", "original-1", "--show", "--seed", "4"])).unwrap();
    let result = events(&["sim", file.to_str().unwrap(), "--json"]).pop().unwrap();
    assert_eq!(result["seed"], 4);
    assert_eq!(result["held"], true);
}

#[test]
fn traces_tables_and_the_report_are_written() {
    let folder = tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (first, second, report) = (path("first"), path("second"), path("report.html"));
    events(&[
        "sim",
        "original-1",
        "--json",
        "--trace",
        &first,
        "--report",
        &report,
        "--csv",
        &path("tables"),
    ]);
    events(&["sim", "original-1", "--json", "--trace", &second, "--seed", "5"]);
    let same = run(&["sim", "diff", &first, &first]);
    assert!(same.status.success() && stdout(&same).contains("the same"));
    let different = run(&["sim", "diff", &first, &second]);
    assert_eq!(different.status.code(), Some(1));
    assert!(stdout(&different).contains("differs"), "{}", stdout(&different));
    let page = fs::read_to_string(&report).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") || page.starts_with("<!doctype html>"));
    assert!(
        fs::read_to_string(folder.path().join("tables/series.csv")).unwrap().lines().count() > 10
    );
}

#[test]
fn a_run_that_is_stopped_says_how_far_it_came() {
    let output = run(&["sim", "netsplit", "--wall", "1ms"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let said = stdout(&output);
    assert!(said.contains(" of ") && said.contains('%'), "{said}");
}

#[test]
fn what_makes_no_sense_has_a_sentence_and_exit_code_2() {
    for (args, words) in [
        (&["sim"][..], "SCENARIO"),
        (&["sim", "nope"], "there is no bundled scenario \"nope\""),
        (&["sim", "orignal-1"], "did you mean \"original-1\"?"),
        (&["sim", "/no/such/file.toml"], "can't read"),
        (&["sim", "lossy", "--set", "link.broken=1.5"], "it must be from 0 to 1"),
        (&["sim", "lossy", "--set", "link.brokn=1"], "link.brokn is no key"),
        (&["sim", "lossy", "--set", "nonsense"], "KEY=VALUE"),
        (&["sim", "lossy", "--towers", "0"], "towers is 0"),
        (&["sim", "original-1", "--towers", "3000000"], "GiB"),
        (&["sim", "original-1", "--seeds", "4..4"], "the end must be more"),
        (&["sim", "diff", "/no/such", "/file"], "can't be read"),
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(stderr(&output).contains(words), "{args:?}: {}", stderr(&output));
    }
}
