//! Tests that the pages of `docs` agree with the code.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::protocol::{Greeting, Request};
use crate::output::{Entry, json};

/// Returns a page. Returns `None` outside of the repository, because the package has no pages.
fn page(name: &str) -> Option<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    std::fs::read_to_string(folder.join(name)).ok()
}

fn parse(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

/// Returns the lines of the page with a prefix, without it.
fn lines<'a>(page: &'a str, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    page.lines().filter_map(move |line| line.strip_prefix(prefix))
}

/// Returns the names that a type accepts, from the error for a name that it does not accept.
fn accepted<T: serde::de::DeserializeOwned>(tag: &str) -> BTreeSet<String> {
    let error = serde_json::from_value::<T>(serde_json::json!({tag: "no such name"}));
    let error = error.err().unwrap().to_string();
    let (_, names) = error.split_once("expected ").unwrap();
    names.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The rows of the tables of `events.md`: the name of the event, and the fields.
fn rows(page: &str) -> Vec<(String, Vec<String>)> {
    let names = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    let rows = lines(page, "| `").map(|row| row.split('|').collect::<Vec<_>>());
    rows.map(|cells| (cells[0].trim().trim_end_matches('`').to_owned(), names(cells[2]))).collect()
}

fn keys(value: &Value) -> Vec<String> {
    let keys = value.as_object().unwrap().keys().cloned();
    keys.filter(|key| !["event", "seq", "time"].contains(&key.as_str())).collect()
}

#[test]
fn examples_of_the_protocol_are_what_the_code_reads_and_writes() {
    let Some(page) = page("control-protocol.md") else { return };
    let mut verbs = BTreeSet::new();
    for line in lines(&page, "    > ") {
        let request: Request = serde_json::from_str(line).unwrap();
        assert_eq!(serde_json::to_value(&request).unwrap(), parse(line));
        verbs.insert(parse(line)["verb"].as_str().unwrap().to_owned());
    }
    assert_eq!(verbs, accepted::<Request>("verb"), "a verb has no example");
    let mut answers = lines(&page, "    < ");
    let greeting = answers.next().unwrap();
    let read: Greeting = serde_json::from_str(greeting).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), greeting);
    let rows = page_of_events();
    for line in answers {
        let entry: Entry = serde_json::from_str(line).unwrap();
        assert_eq!(String::from_utf8(json::line(&entry).unwrap()).unwrap().trim_end(), line);
        let row = rows.iter().find(|(name, _)| parse(line)["event"] == *name);
        assert_eq!(row.map(|(_, fields)| fields), Some(&keys(&parse(line))), "{line}");
    }
}

fn page_of_events() -> Vec<(String, Vec<String>)> {
    rows(&page("events.md").unwrap())
}

#[test]
fn every_notice_has_a_row_and_an_example_with_the_same_fields() {
    let Some(page) = page("events.md") else { return };
    let rows = rows(&page);
    for name in accepted::<clacks_proto::Notice>("event") {
        assert!(rows.iter().any(|(row, _)| *row == name), "{name} has no row");
    }
    let (events, _) = page.split_once("## Answers").unwrap();
    let events: Vec<_> = self::rows(events).into_iter().map(|(name, _)| name).collect();
    let mut seen = Vec::new();
    for line in lines(&page, "    {").map(|rest| format!("{{{rest}")) {
        let entry: Entry = serde_json::from_str(&line).unwrap();
        assert_eq!(String::from_utf8(json::line(&entry).unwrap()).unwrap().trim_end(), line);
        let value = parse(&line);
        let name = value["event"].as_str().unwrap().to_owned();
        let fields = rows.iter().find(|(row, _)| *row == name).map(|(_, fields)| fields);
        assert_eq!(fields, Some(&keys(&value)), "{name}");
        seen.push(name);
    }
    assert_eq!(seen, events, "an event has no example");
}
