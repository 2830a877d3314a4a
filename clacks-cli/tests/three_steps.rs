//! The three test steps of the original, with `clacks tower` in processes of their own, as in the
//! README.

mod common;

use std::time::Instant;

use common::Tower;

const MESSAGE: &str = "Hello Discworld!";
const QUICK: [&str; 4] = ["--send-rate", "20", "--heartbeat", "1s"];

fn start(args: &[&str]) -> Tower {
    Tower::start(&[&QUICK[..], args].concat())
}

#[test]
fn towers_meet_notice_a_kill_and_find_the_tower_that_returns() {
    let began = Instant::now();
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("4");
    // Step 1: towers 1 and 2 know each other, and tower 3 announces itself to tower 1.
    let mut one = start(&[]);
    let mut two = start(&["--announce", &one.address.clone()]);
    let mut three = start(&["--announce", &one.address.clone()]);
    one.say(&format!("enqueue {MESSAGE}"));
    two.wait_for_status(&three.address.clone(), "alive");
    three.wait_for_status(&two.address.clone(), "alive");
    for tower in [&mut two, &mut three] {
        tower.wait_for("message_received", |event| event["message"]["body"] == MESSAGE);
    }
    println!("step 1 after {:?}", began.elapsed());

    // Step 2: tower 4 joins and is killed. It takes only short messages, so one of the others holds
    // the message then.
    let options = ["--state", state.to_str().unwrap(), "--max-message", "4"];
    let mut four = start(&[&options[..], &["--announce", &one.address.clone()]].concat());
    let address = four.address.clone();
    for tower in [&mut one, &mut two, &mut three] {
        tower.wait_for_status(&address, "alive");
    }
    four.kill();
    let killed = Instant::now();
    for tower in [&mut one, &mut two, &mut three] {
        tower.wait_for("tower_updated", |event| event["peer"] == *address && event["to"] == "lost");
    }
    println!("step 2: all three say lost {:?} after the kill", killed.elapsed());

    // Step 3: tower 4 returns with its key, knows no tower, and announces itself to none.
    // It may have been killed before it saved the towers that it knew.
    let _ = std::fs::remove_file(state.join("peers.json"));
    let silent = ["--send-rate", "20", "--heartbeat", "off"];
    let mut four = Tower::start_again(&address, &[&silent[..], &options].concat());
    let returned = Instant::now();
    for tower in [&mut one, &mut two, &mut three] {
        tower
            .wait_for("tower_updated", |event| event["peer"] == *address && event["to"] == "alive");
    }
    four.wait_for("tower_discovered", |event| event["peer"] == *one.address);
    println!("step 3: all three say alive {:?} after the return", returned.elapsed());
    // The message still travels.
    three.wait_for("message_received", |event| event["message"]["body"] == MESSAGE);
}
