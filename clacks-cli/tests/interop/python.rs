//! A tower in Python, written from the page of the wire format alone, in a network of commands.
//! Without `python3` or `openssl` the test is skipped; `CLACKS_PYTHON=required` makes that a
//! failure. `CLACKS_PYTHON_SECONDS` is the time for which messages circulate, and
//! `CLACKS_PYTHON_SEED` the seed of the tower's choices.

use std::collections::BTreeMap;
use std::io::{BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::{DEADLINE, Tower, lines_of};

const MESSAGES: usize = 20;

#[test]
fn no_message_is_lost_with_a_peer_in_python() {
    let wanted = [("met", 3), ("called", 3), ("received", MESSAGES), ("delivered", MESSAGES)];
    no_message_is_lost("0", &wanted);
}

/// Links end without a goodbye, so that both sides retry transfers.
#[test]
fn no_message_is_lost_with_a_peer_in_python_that_cuts_links() {
    no_message_is_lost("0.1", &[("broken", 5), ("retried", 5), ("recognised", 5)]);
}

/// Runs messages through three towers and the peer until the peer had so many of these events.
fn no_message_is_lost(cuts: &str, wanted: &[(&str, usize)]) {
    if !can_run() {
        return;
    }
    let arguments = ["--send-rate", "20"];
    let mut towers = vec![Tower::start(&arguments)];
    let first = towers[0].address.clone();
    for runtime in ["smol", "mio"] {
        let more = ["--runtime", runtime, "--announce", &first];
        towers.push(Tower::start(&[&arguments[..], &more].concat()));
    }
    let addresses: Vec<String> = towers.iter().map(|tower| tower.address.clone()).collect();
    for (place, tower) in towers.iter_mut().enumerate() {
        for (_, other) in addresses.iter().enumerate().filter(|(other, _)| *other != place) {
            tower.say(&format!("expand {other}"));
            tower.wait_for_status(other, "alive");
        }
    }
    let mut peer = Peer::start(cuts, &addresses);
    // If the first link to the peer was cut, the peer is lost. A tower without messages tries it
    // again a minute later, at its heartbeat.
    for number in 0..MESSAGES {
        towers[number % 3].say(&format!("enqueue {}", text(number)));
        towers[number % 3].wait_for("message_queued", |_| true);
    }
    for tower in &mut towers {
        let seen = tower.wait_for_status(&peer.address, "alive");
        assert_eq!(seen["fingerprint"], peer.fingerprint);
    }
    peer.run_for(seconds(), wanted);
    let left = peer.leave();
    assert_eq!(left["held"], 0, "{left}");

    // Towers that ignore each other move no more messages.
    for (place, tower) in towers.iter_mut().enumerate() {
        for (_, other) in addresses.iter().enumerate().filter(|(other, _)| *other != place) {
            tower.say(&format!("ignore {other}"));
            tower.wait_for_status(other, "ignored");
        }
    }
    let deadline = Instant::now() + DEADLINE;
    loop {
        let held = held(&mut towers);
        if (0..MESSAGES).all(|number| held.contains_key(&text(number))) {
            break;
        }
        assert!(Instant::now() < deadline, "{} messages are left: {held:?}", held.len());
    }
}

/// Returns whether the programs are there, after a word about it if not.
fn can_run() -> bool {
    let missing: Vec<String> = [("python3", "--version"), ("openssl", "version")]
        .into_iter()
        .filter_map(|(program, argument)| {
            let error = Command::new(program).arg(argument).output().err()?;
            Some(format!("{program} can't be run ({error})"))
        })
        .collect();
    if missing.is_empty() {
        return true;
    }
    let reason = missing.join(", ");
    let is_required = std::env::var("CLACKS_PYTHON").is_ok_and(|wish| wish == "required");
    assert!(!is_required, "{reason}");
    // Macros would write to the captured output of the test.
    let line = format!("SKIPPED: no peer in Python: {reason}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    false
}

fn seconds() -> Duration {
    let text = std::env::var("CLACKS_PYTHON_SECONDS").ok();
    Duration::from_secs(text.and_then(|text| text.parse().ok()).unwrap_or(5))
}

/// Returns the seed of the choices of the tower in Python.
fn seed() -> u64 {
    let text = std::env::var("CLACKS_PYTHON_SEED").ok();
    text.map_or(2, |text| text.parse().expect("CLACKS_PYTHON_SEED is a number"))
}

fn text(number: usize) -> String {
    format!("Grüße {number} 😀")
}

/// Returns how many copies of each text the towers hold.
fn held(towers: &mut [Tower]) -> BTreeMap<String, usize> {
    let mut held = BTreeMap::new();
    for tower in towers {
        for message in tower.ask("peek")["messages"].as_array().unwrap() {
            let body = message["message"]["body"].as_str().unwrap().to_owned();
            *held.entry(body).or_default() += 1;
        }
    }
    held
}

/// The process of the tower in Python. Killed when dropped.
struct Peer {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    events: Vec<Value>,
    address: String,
    fingerprint: Value,
    _folder: tempfile::TempDir,
}

impl Peer {
    fn start(cuts: &str, addresses: &[String]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let seed = seed();
        // Shown if the test fails.
        println!("the choices of the peer are those of CLACKS_PYTHON_SEED={seed}");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/native_peer.py");
        let mut child = Command::new("python3")
            .arg(script)
            .arg(folder.path())
            .args(["20", cuts, &seed.to_string()])
            .args(addresses)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = lines_of(BufReader::new(child.stdout.take().unwrap()));
        let input = child.stdin.take();
        let mut peer = Self {
            child,
            input,
            lines,
            events: Vec::new(),
            address: String::new(),
            fingerprint: Value::Null,
            _folder: folder,
        };
        let listening = peer.next_event(Instant::now() + DEADLINE).expect("an address");
        listening["address"].as_str().unwrap().clone_into(&mut peer.address);
        peer.fingerprint = listening["fingerprint"].clone();
        peer
    }

    /// Returns the next event, or `None` at the deadline. Fails if a link broke that the peer did
    /// not cut, or if a side violated the specification.
    fn next_event(&mut self, deadline: Instant) -> Option<Value> {
        match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                let event: Value = serde_json::from_str(&line).unwrap();
                let is_broken = event["event"] == "broken" && event["reason"] != "cut";
                let is_fault = is_broken || event["event"] == "violation";
                let is_blamed = event["event"] == "goodbye" && event["farewell"] == 5;
                self.events.push(event.clone());
                assert!(!is_fault && !is_blamed, "{:#?}", self.events);
                Some(event)
            }
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => panic!("the peer ended: {:#?}", self.events),
        }
    }

    /// Waits until the time is over and the peer had so many of these events.
    fn run_for(&mut self, time: Duration, wanted: &[(&str, usize)]) {
        let end = Instant::now() + time;
        let deadline = end + DEADLINE;
        while self.next_event(end).is_some() {}
        while wanted.iter().any(|(name, count)| self.count(name) < *count) {
            assert!(self.next_event(deadline).is_some(), "{:#?}", self.events);
        }
    }

    fn count(&self, name: &str) -> usize {
        self.events.iter().filter(|event| event["event"] == name).count()
    }

    /// Makes the peer hand over its messages and end. Returns its last event.
    fn leave(&mut self) -> Value {
        self.input = None;
        let deadline = Instant::now() + DEADLINE;
        loop {
            let event = self.next_event(deadline);
            let event = event.unwrap_or_else(|| panic!("it never ended: {:#?}", self.events));
            if event["event"] == "left" {
                assert!(self.child.wait().unwrap().success());
                return event;
            }
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
