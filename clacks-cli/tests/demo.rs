//! Tests of `clacks demo`.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test has no better answer to a surprise")]

mod common;

use common::{run, stderr, stdout};
use serde_json::{Value, json};

#[test]
fn all_three_steps_are_seen_on_smol() {
    all_three_steps_are_seen(&["--runtime", "smol"]);
}

#[test]
fn all_three_steps_are_seen_on_mio() {
    all_three_steps_are_seen(&["--runtime", "mio"]);
}

#[test]
fn all_three_steps_are_seen_with_the_rules_of_the_original() {
    all_three_steps_are_seen(&["--original"]);
}

fn all_three_steps_are_seen(options: &[&str]) {
    let output = run(&[&["demo", "--json", "--base-port", "0"], options].concat());
    assert_eq!(stderr(&output), "");
    let events: Vec<Value> =
        stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let result = events.last().unwrap();
    assert_eq!(result["event"], "result");
    assert_eq!(result["ok"], true, "{result}");
    let steps: Vec<_> = result["steps"].as_array().unwrap().iter().map(|s| &s["step"]).collect();
    assert_eq!(steps, [1, 2, 3]);
    assert_eq!(output.status.code(), Some(0));

    // The result is not to be believed without evidence: the events must tell the same story.
    let address = |number: u64| {
        let listens = |e: &&Value| e["event"] == "listening" && e["tower_number"] == number;
        events.iter().find(listens).unwrap()["address"].clone()
    };
    let step = |number: u64| {
        events.iter().position(|e| e["event"] == "step" && e["step"] == number).unwrap()
    };
    let happened = |range: std::ops::Range<usize>, expected: Value| {
        let expected = expected.as_object().unwrap();
        let is_it = |event: &Value| expected.iter().all(|(key, value)| event[key] == *value);
        assert!(events[range].iter().any(is_it), "{expected:?} in {events:#?}");
    };
    let (first, second, third) = (step(1)..step(2), step(2)..step(3), step(3)..events.len());
    for (by, of) in [(2, 3), (3, 2)] {
        let found = json!({"event": "tower_discovered", "tower_number": by, "peer": address(of)});
        happened(first.clone(), found);
    }
    for by in 1..=3 {
        let message = json!({"kind": "text", "body": "Hello Discworld!"});
        let received = json!({"event": "message_received", "tower_number": by, "message": message});
        happened(first.clone(), received);
        let changed = |from: &str, to: &str| {
            json!({
                "event": "tower_updated", "tower_number": by,
                "peer": address(4), "from": from, "to": to,
            })
        };
        happened(second.clone(), changed("alive", "lost"));
        happened(third.clone(), changed("lost", "alive"));
    }
    happened(third.clone(), json!({"event": "message_received", "tower_number": 4}));
    let prints: Vec<_> = events
        .iter()
        .filter(|e| e["event"] == "listening" && e["tower_number"] == 4)
        .map(|e| (&e["fingerprint"], &e["address"]))
        .collect();
    assert_eq!(prints.len(), 2, "tower 4 lives twice");
    assert_eq!(prints[0], prints[1], "under the same identity");
}
