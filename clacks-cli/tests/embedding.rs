//! Tests that a tower of `clacks tower` exchanges messages with the example `sockets` of
//! `clacks-proto`, which runs a tower in its own event loop.
#![allow(clippy::unwrap_used)] // a test has no better answer to a surprise

mod common;

use std::process::{Command, Stdio};

use common::{DEADLINE, Tower};
use serde_json::Value;

/// Builds an example of the core, and says where it is. With the same features as the rest of the
/// workspace, so that little is left to do when all the tests are run.
fn example(name: &str) -> String {
    let mut cargo = Command::new(env!("CARGO"));
    // What cargo tells this test of its package would make build scripts run anew, here and after.
    for (variable, _) in std::env::vars_os() {
        let told = variable.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|of_package| told.starts_with(of_package)) {
            cargo.env_remove(variable);
        }
    }
    let built = cargo
        .args(["build", "--workspace", "--example", name, "--message-format", "json"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(built.status.success());
    let messages = common::stdout(&built).lines();
    let messages = messages.map(|line| serde_json::from_str::<Value>(line).unwrap());
    let executable = |message: Value| {
        let is_it = message["target"]["name"] == name;
        message["executable"].as_str().filter(|_| is_it).map(str::to_owned)
    };
    messages.filter_map(executable).next().unwrap()
}

#[test]
fn a_loop_of_ones_own_gets_on_with_a_tower_of_the_command() {
    let mut tower = Tower::start(&["--send-rate", "20", "--heartbeat", "1s"]);
    for text in ["one", "two", "three"] {
        tower.say(&format!("enqueue {text}"));
    }
    // It leaves when it has heard what is left of four messages, its own among them, going to and
    // fro. The seconds are for failures only.
    let seconds = DEADLINE.as_secs().to_string();
    let child = Command::new(example("sockets"))
        .args(["127.0.0.1:0", &tower.address, "12", &seconds])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    tower.wait_for("message_received", |event| {
        event["message"]["body"] == "Hello from a loop of its own!"
    });
    let heard = child.wait_with_output().unwrap();
    assert!(heard.status.success());
    let heard = common::stdout(&heard);
    assert!(heard.lines().count() >= 12, "{heard}");
    for text in ["one", "two", "three"] {
        assert!(heard.contains(&format!("received Text({text:?})")), "{heard}");
    }
    // It left in good order: it said so, and all that it held is here.
    tower.wait_for("link_closed", |event| event["reason"]["goodbye"] == "leaving");
    let peek = tower.ask("peek");
    assert_eq!(peek["messages"].as_array().unwrap().len(), 4, "{peek}");
}
