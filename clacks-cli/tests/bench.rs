//! `clacks bench`: that it measures everything and says so in its shape. How fast anything is, no
//! test asks.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test has no better answer to a surprise")]

mod common;

use std::collections::BTreeSet;

use common::{run, stderr, stdout};
use serde_json::Value;

#[test]
fn every_row_has_a_rate_and_a_ratio() {
    let output = run(&["bench", "--quick", "--json"]);
    assert_eq!((stderr(&output), output.status.code()), ("", Some(0)));
    let events: Vec<Value> =
        stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [started, rows @ .., result] = events.as_slice() else { unreachable!("{events:?}") };
    assert_eq!(started["event"], "started");
    assert!(started["cores"].as_u64().unwrap() >= 1);
    assert_eq!((&result["event"], result["rows"].as_u64()), (&"result".into(), Some(23)));
    assert_eq!(rows.len(), 23);
    let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    for row in rows {
        assert_eq!(row["event"], "row");
        for key in ["per_second", "ratio", "lowest_ratio", "highest_ratio"] {
            assert!(row[key].as_f64().unwrap() > 0.0, "{row}");
        }
    }
    let contests: BTreeSet<_> =
        rows.iter().map(|row| (text(row, "bench"), row["size"].as_u64().unwrap())).collect();
    let expected = [
        ("dial, full handshakes", 64),
        ("dial, resumed sessions", 64),
        ("end to end", 64),
        ("end to end", 1024),
        ("end to end", 16_384),
    ];
    assert!(contests.iter().map(|(bench, size)| (bench.as_str(), *size)).eq(expected));
    for (bench, size) in contests {
        let same = |row: &&Value| row["bench"] == *bench && row["size"] == size;
        let of_contest: Vec<_> = rows.iter().filter(same).collect();
        assert_eq!(of_contest[0]["ratio"], 1.0, "the first is what the others are measured by");
        let whats: BTreeSet<_> = of_contest.iter().map(|row| text(row, "what")).collect();
        assert_eq!(whats.len(), of_contest.len(), "each row is another one");
        assert!(whats.contains("towers on mio") && whats.contains("towers on smol"), "{whats:?}");
    }
}

#[test]
fn people_read_tables() {
    let output = run(&["bench", "--quick"]);
    assert_eq!((stderr(&output), output.status.code()), ("", Some(0)));
    let said = stdout(&output);
    assert_eq!(said.matches("  towers on mio  ").count(), 5, "{said}");
    assert!(said.contains("bare rustls"), "{said}");
    assert_eq!(said.matches("On this machine, two towers hand each other about ").count(), 3);
}

#[test]
fn one_table_of_many_can_be_asked_for() {
    let output = run(&["bench", "--quick", "resumed"]);
    assert_eq!((stderr(&output), output.status.code()), ("", Some(0)));
    let said = stdout(&output);
    assert!(said.starts_with("dial, resumed sessions, messages of 64 bytes"), "{said}");
    assert_eq!(said.matches(", messages of ").count(), 1, "{said}");
}

#[test]
fn a_title_that_no_table_has_is_answered_with_those_that_there_are() {
    let output = run(&["bench", "dails"]);
    assert_eq!((stdout(&output), output.status.code()), ("", Some(2)));
    let said = stderr(&output);
    assert!(said.contains("No table has that in its title. There are \"end to end,"), "{said}");
    assert!(said.contains("\"dial, full handshakes, messages of 64 bytes\""), "{said}");
}
