//! The table of the rules in the documentation of the crate names what exists.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::path::Path;

use clacks_proto::Config;

/// A row: the number of a rule, its knobs, its files and its test files.
struct Row {
    number: usize,
    knobs: Vec<String>,
    files: Vec<String>,
}

/// Returns the texts in backquotes.
fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn rows() -> Vec<Row> {
    let text = include_str!("../src/lib.rs");
    let rows = text.lines().filter_map(|line| {
        let cells: Vec<_> = line.strip_prefix("//! | ")?.split(" | ").collect();
        let [number, _, knobs, files] = cells[..] else { return None };
        let number = number.parse().ok()?;
        Some(Row { number, knobs: quoted(knobs), files: quoted(files) })
    });
    rows.collect()
}

#[test]
fn each_rule_has_a_knob_and_a_test_that_needs_it() {
    let rows = rows();
    let numbers: Vec<_> = rows.iter().map(|row| row.number).collect();
    assert_eq!(numbers, (1..=14).collect::<Vec<_>>());
    let config = format!("{:?}", Config::default());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    for Row { number, knobs, files } in rows {
        assert!(config.contains(&format!(" {}: ", knobs[0])), "rule {number}: {knobs:?}");
        let (tests, sources) = files.split_last().unwrap();
        for file in sources {
            assert!(folder.join("src").join(file).exists(), "rule {number}: {file}");
        }
        let tests = std::fs::read_to_string(folder.join(format!("tests/{tests}.rs"))).unwrap();
        for name in [format!("fn rule_{number}_"), format!("fn without_rule_{number}_")] {
            assert!(tests.contains(&name), "{name}");
        }
    }
}
