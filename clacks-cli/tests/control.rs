//! The commands that speak to a running tower, and its control socket.
#![cfg(unix)]
#![allow(
    missing_docs,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test has no better answer to a surprise"
)]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use common::{ClosedPort, DEADLINE, Tower, clacks, lines_of, stderr, stdout};
use serde_json::{Value, json};
use tempfile::TempDir;

const RUNTIMES: [[&str; 2]; 2] = [["--runtime", "smol"], ["--runtime", "mio"]];

/// A tower with a control socket of its own.
struct Controlled {
    tower: Tower,
    socket: String,
    _dir: TempDir,
}

impl Controlled {
    fn start(options: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("tower.sock").to_str().unwrap().to_owned();
        let tower = Tower::start(&[&["--control", &socket], options].concat());
        Self { tower, socket, _dir: dir }
    }

    /// Runs a command for this tower.
    fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = clacks(words);
        command.args(["--control", &self.socket]);
        command
    }

    /// Runs a command that succeeds. Returns its last JSON line.
    fn ask(&self, words: &[&str]) -> Value {
        let output = self.run(&[words, &["--json"]].concat());
        assert_eq!(output.status.code(), Some(0), "{words:?}: {}", stderr(&output));
        serde_json::from_str(stdout(&output).lines().last().unwrap()).unwrap()
    }

    /// Runs a command that fails. Returns its sentence.
    fn refusal(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert_eq!(output.status.code(), Some(1), "{words:?}: {}", stdout(&output));
        assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
        stderr(&output).to_owned()
    }

    /// Connects to the socket. Returns the connection after the greeting.
    fn connect(&self) -> BufReader<UnixStream> {
        let stream = UnixStream::connect(&self.socket).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut stream = BufReader::new(stream);
        assert_eq!(line(&mut stream)["clacks_control"], 1);
        stream
    }
}

fn line(stream: &mut BufReader<UnixStream>) -> Value {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
}

fn request(stream: &mut BufReader<UnixStream>, line_out: &str) -> Value {
    stream.get_mut().write_all(format!("{line_out}\n").as_bytes()).unwrap();
    line(stream)
}

#[test]
fn the_only_tower_is_found_without_options() {
    let dir = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| {
        let mut command = clacks(words);
        command.env("XDG_RUNTIME_DIR", dir.path()).env("HOME", dir.path());
        command.env_remove("XDG_STATE_HOME").output().unwrap()
    };
    let start = || {
        let mut child = clacks(&["tower", "--json", "--listen", "127.0.0.1:0"])
            .env("XDG_RUNTIME_DIR", dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = lines_of(BufReader::new(child.stdout.take().unwrap()));
        let listening: Value =
            serde_json::from_str(&lines.recv_timeout(DEADLINE).unwrap()).unwrap();
        (child, lines, listening)
    };
    let output = run(&["status"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("No tower runs here"), "{}", stderr(&output));

    let (mut first, _lines, listening) = start();
    let output = run(&["status", "--json"]);
    let status: Value = serde_json::from_str(stdout(&output)).unwrap();
    assert_eq!(status["address"], listening["address"]);

    let (mut second, _more, other) = start();
    let output = run(&["status"]);
    assert_eq!(output.status.code(), Some(3));
    for control in [&listening["control"], &other["control"]] {
        assert!(stderr(&output).contains(control.as_str().unwrap()), "{}", stderr(&output));
    }
    let output = run(&["status", "--json", "--control", other["control"].as_str().unwrap()]);
    let status: Value = serde_json::from_str(stdout(&output)).unwrap();
    assert_eq!(status["address"], other["address"]);

    // A killed tower leaves its socket behind, which is no tower. The next one removes it.
    first.kill().unwrap();
    first.wait().unwrap();
    assert_eq!(run(&["status"]).status.code(), Some(0));
    assert_eq!(run(&["stop"]).status.code(), Some(0));
    assert!(second.wait().unwrap().success());
    let (mut third, _lines, _) = start();
    let folder = dir.path().join("clacks");
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 2, "one socket and its lock");
    third.kill().unwrap();
    third.wait().unwrap();
}

#[test]
fn a_message_is_sent_and_received() {
    for [option, runtime] in RUNTIMES {
        let quick = [option, runtime, "--send-rate", "50"];
        let (first, second) = (Controlled::start(&quick), Controlled::start(&quick));
        let answer = first.ask(&["announce", &second.tower.address]);
        assert_eq!(answer["event"], "announced");
        let listen = |options: &[&str]| {
            let mut listener = second.command(&[&["listen", "--once"], options].concat());
            listener.stdout(Stdio::piped()).spawn().unwrap()
        };
        let text = listen(&["--match", "Hello *"]);
        let bytes = listen(&["--kind", "bytes"]);
        let json = listen(&["--kind", "json", "--json"]);
        assert_eq!(first.ask(&["send", "Hello \u{1b}[2JDiscworld!"])["event"], "enqueued");
        let mut from_input = first.command(&["enqueue", "-"]);
        let mut from_input = from_input.stdin(Stdio::piped()).spawn().unwrap();
        from_input.stdin.take().unwrap().write_all(b"\xff\x00").unwrap();
        assert!(from_input.wait().unwrap().success());
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("tide.json");
        std::fs::write(&file, "{\"tide\": 3.1}").unwrap();
        first.ask(&["send", "--type", "json", "-f", file.to_str().unwrap()]);
        // No terminal: bodies are written as they are.
        assert_eq!(text.wait_with_output().unwrap().stdout, b"Hello \x1b[2JDiscworld!\n");
        assert_eq!(bytes.wait_with_output().unwrap().stdout, b"\xff\x00");
        let json: Value = serde_json::from_slice(&json.wait_with_output().unwrap().stdout).unwrap();
        assert_eq!(json["message"], json!({"kind": "json", "body": "{\"tide\": 3.1}"}));
        assert_eq!(json["event"], "message_received");
    }
}

#[test]
fn send_waits_for_a_peer_if_it_is_asked_to() {
    let first = Controlled::start(&["--send-rate", "50"]);
    // No peer takes it.
    let sentence = first.refusal(&["send", "--wait", "--lifetime", "50ms", "short"]);
    assert!(sentence.contains("No peer took the message"), "{sentence}");
    let second = Tower::start(&["--send-rate", "50"]);
    first.ask(&["announce", &second.address]);
    let delivered = first.ask(&["send", "--wait", "long"]);
    assert_eq!(delivered["event"], "delivered");
    assert_eq!(delivered["to"], second.address.as_str());
}

#[test]
fn every_request_has_an_answer_for_people_and_for_programs() {
    let mut tower = Controlled::start(&["--network", "ankh", "--open"]);
    tower.ask(&["send", "one"]);
    let held = tower.ask(&["peek"]);
    assert_eq!(held["messages"][0]["message"], json!({"kind": "text", "body": "one"}));
    for (verb, status) in [("expand", "new"), ("ignore", "ignored"), ("unignore", "new")] {
        let done = tower.ask(&[verb, "127.0.0.1:9"]);
        assert_eq!((&done["event"], &done["verb"]), (&json!("done"), &json!(verb)));
        let survey = tower.ask(&["survey"]);
        assert_eq!(survey["towers"][0]["address"], "127.0.0.1:9");
        // It may have been tried meanwhile.
        let found = survey["towers"][0]["status"].as_str().unwrap();
        assert!(found == status || found == "lost" && status == "new", "{verb}: {found}");
    }
    tower.ask(&["forget", "127.0.0.1:9"]);
    assert_eq!(tower.ask(&["survey"])["towers"], json!([]));
    assert_eq!(tower.ask(&["stats"])["enqueued"], 1);
    let status = tower.ask(&["status"]);
    assert_eq!(status["address"], tower.tower.address.as_str());
    assert_eq!(status["fingerprint"], tower.tower.fingerprint);
    assert_eq!(status["network"], "ankh");
    assert_eq!((&status["queue"]["messages"], &status["queue"]["bytes"]), (&json!(1), &json!(3)));
    assert_eq!(status["stats"]["enqueued"], 1);
    assert_eq!(status["troubles"][0]["what"], "no other tower is known");
    for (words, expected) in [
        (&["peek"][..], "\"one\""),
        (&["survey"], "knows       0 towers"),
        (&["stats"], "enqueued"),
        (&["status"], "network     ankh"),
        (&["status"], "of at most 65536"),
        (&["send", "two"], "queued      your message"),
        (&["ignore", "127.0.0.1:9"], "done        ignore 127.0.0.1:9"),
    ] {
        let output = tower.run(words);
        assert!(stdout(&output).contains(expected), "{words:?}: {}", stdout(&output));
        assert_eq!(output.status.code(), Some(0));
    }
    let gone = tower.ask(&["stop"]);
    assert_eq!((&gone["event"], &gone["left"]), (&json!("shut_down"), &json!(2)));
    assert!(tower.tower.ended().success());
    let output = tower.run(&["status"]);
    assert_eq!(output.status.code(), Some(3), "{}", stdout(&output));
    assert!(stderr(&output).contains("No tower has the control socket"), "{}", stderr(&output));
}

#[test]
fn failures_have_one_sentence_with_the_reason() {
    let tower = Controlled::start(&["--max-message", "8"]);
    let closed = ClosedPort::new();
    let own = tower.tower.address.clone();
    for (words, expected) in [
        (&["send", "123456789"][..], "9 bytes where 8 are allowed"),
        (&["unignore", "127.0.0.1:9"], "was not ignored"),
        (&["forget", "127.0.0.1:9"], "is not known"),
        (&["expand", &own], "this tower itself"),
        (&["announce", &closed.address], "was not reached: connection refused. No program listens"),
        (&["send", "-f", "/no/such/file"], "cannot be read"),
    ] {
        let sentence = tower.refusal(words);
        assert!(sentence.contains(expected), "{words:?}: {sentence}");
    }
    // A program that reads JSON finds the error there.
    let output = tower.run(&["send", "123456789", "--json"]);
    let event: Value = serde_json::from_str(stdout(&output)).unwrap();
    assert_eq!(event["event"], "error");
    let troubles = tower.ask(&["status"])["troubles"].clone();
    assert_eq!(troubles[0]["peer"], closed.address.as_str());
    assert_eq!(troubles[0]["what"], "connection refused");
    assert!(troubles[0]["remedy"].as_str().unwrap().contains("start the peer"));
}

#[test]
fn the_status_reports_a_full_queue() {
    let tower = Controlled::start(&["--max-queue", "10"]);
    for _ in 0..8 {
        tower.ask(&["send", "x"]);
    }
    assert!(tower.refusal(&["send", "x"]).contains("The queue is full"));
    let troubles = tower.ask(&["status"])["troubles"].clone();
    assert!(troubles[0]["what"].as_str().unwrap().contains("the queue is full"), "{troubles}");
}

#[test]
fn the_status_of_a_tower_that_all_peers_refuse_says_why() {
    const QUICK: [&str; 4] = ["--send-rate", "50", "--heartbeat", "500ms"];
    for [option, runtime] in RUNTIMES {
        let options = [&QUICK[..], &[option, runtime]].concat();
        let mut peers = [(); 2].map(|()| Tower::start(&options));
        let [first, second] = [0, 1].map(|index: usize| peers[index].address.clone());
        let announce = ["--announce", &first, "--announce", &second];
        let mut tower = Tower::start(&[&options[..], &announce].concat());
        for peer in &mut peers {
            peer.wait_for_status(&tower.address, "alive");
        }
        tower.kill();
        // Without its state it has another key.
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("tower.sock").to_str().unwrap().to_owned();
        let again = [&options[..], &announce, &["--control", &socket]].concat();
        let tower = Tower::start_again(&tower.address, &again);
        let controlled = Controlled { tower, socket, _dir: dir };
        let deadline = Instant::now() + DEADLINE;
        loop {
            let status = controlled.ask(&["status"]);
            let troubles = status["troubles"].as_array().unwrap();
            let is_named = |peer: &String| {
                troubles.iter().any(|it| {
                    it["peer"] == peer.as_str()
                        && it["what"].as_str().unwrap().contains("another key")
                        && it["remedy"].as_str().unwrap().contains("clacks forget")
                })
            };
            if is_named(&first) && is_named(&second) {
                break;
            }
            assert!(Instant::now() < deadline, "{status:#}");
        }
        let text = controlled.run(&["status"]);
        assert!(
            stdout(&text).contains("ask the owner of the peer for `clacks forget`"),
            "{text:?}"
        );
    }
}

#[test]
fn failures_are_json_for_all_commands_with_that_option() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("missing.sock").to_str().unwrap().to_owned();
    for words in [
        &["send", "x"][..],
        &["listen"],
        &["watch"],
        &["peek"],
        &["survey"],
        &["status"],
        &["stats"],
        &["announce", "a:1"],
        &["expand", "a:1"],
        &["ignore", "a:1"],
        &["unignore", "a:1"],
        &["forget", "a:1"],
        &["stop"],
    ] {
        let output = clacks(words).args(["--json", "--control", &socket]).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{words:?}");
        let error: Value = serde_json::from_str(stdout(&output)).unwrap();
        assert_eq!(error["event"], "error", "{words:?}");
        assert!(error["message"].as_str().unwrap().contains("No tower has"), "{words:?}: {error}");
    }
}

#[test]
fn mistakes_in_the_command_line_have_exit_code_2() {
    let tower = Controlled::start(&[]);
    for words in [
        &["send"][..],
        &["send", "x", "-f", "y"],
        &["send", "--type", "json", "{"],
        &["send", "--lifetime", "soon", "x"],
        &["listen", "--kind", "smell"],
        &["announce"],
        &["announce", "tower"],
        &["ping", "tower"],
    ] {
        // An option of the command, not of the test.
        let output = clacks(words).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{words:?}: {}", stdout(&output));
    }
    drop(tower);
}

#[test]
fn watched_events_are_numbered_and_the_same_as_those_on_standard_output() {
    let mut tower = Controlled::start(&[]);
    let mut watcher = tower.command(&["watch", "--after", "0", "--json"]);
    let mut watcher = watcher.stdout(Stdio::piped()).spawn().unwrap();
    let lines = lines_of(BufReader::new(watcher.stdout.take().unwrap()));
    let other = Tower::start(&[]);
    tower.tower.say(&format!("announce {}", other.address));
    tower.tower.wait_for("announced", |_| true);
    tower.tower.say("quit");
    assert!(tower.tower.ended().success());
    let watched: Vec<Value> =
        lines.iter().map(|line| serde_json::from_str(&line).unwrap()).collect();
    assert!(watcher.wait().unwrap().success());
    for (number, event) in (1..).zip(&watched) {
        assert_eq!(event["seq"], number);
        let time = event["time"].as_str().unwrap();
        assert!(time.len() == 24 && time.ends_with('Z'), "{time}");
    }
    let answers = ["announcing", "done", "error", "help"];
    let mut told = tower.tower.told().to_vec();
    told.retain(|event| !answers.contains(&event["event"].as_str().unwrap()));
    assert_eq!(watched, told);
    assert_eq!(watched.last().unwrap()["event"], "shut_down");
}

#[test]
fn the_socket_answers_mistakes_and_goes_on() {
    let tower = Controlled::start(&["--max-message", "64"]);
    let mut client = tower.connect();
    for (line_out, words) in [
        ("hello", "is no request"),
        ("{}", "missing field `verb`"),
        ("{\"verb\":\"fly\"}", "unknown variant `fly`"),
        ("{\"verb\":\"expand\"}", "missing field `tower`"),
        ("{\"verb\":\"expand\",\"tower\":\"x\"}", "the port is missing"),
        ("{\"verb\":\"enqueue\",\"message\":{\"kind\":\"bytes\",\"body\":\"?\"}}", "is no request"),
        (
            "{\"verb\":\"enqueue\",\"message\":{\"kind\":\"text\",\"body\":\"x\"},\"to\":1}",
            "unknown",
        ),
        ("\u{1b}", "is no request"),
    ] {
        let answer = request(&mut client, line_out);
        let message = answer["message"].as_str().unwrap_or_else(|| panic!("{answer}"));
        assert!(message.contains(words), "{line_out}: {message}");
    }
    // Empty lines are nothing, and the last request needs no end of the line.
    client.get_mut().write_all(b"\n\r\n{\"verb\":\"peek\"}").unwrap();
    client.get_mut().shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(line(&mut client)["event"], "peek");
    let mut rest = String::new();
    client.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");

    let mut client = tower.connect();
    client.get_mut().write_all(&vec![b'x'; 64 * 6 + 4_096 + 1]).unwrap();
    assert!(line(&mut client)["message"].as_str().unwrap().contains("too long"));
    assert_eq!(client.read(&mut [0]).unwrap(), 0, "it is closed");
}

#[test]
fn connections_are_bounded_and_closed_ones_make_room() {
    let tower = Controlled::start(&[]);
    let mut clients: Vec<_> = (0..16).map(|_| tower.connect()).collect();
    let sentence = tower.refusal(&["status"]);
    assert!(sentence.contains("16 programs"), "{sentence}");
    // Clients that wait for something are noticed when they go away, too.
    for client in &mut clients[..8] {
        client.get_mut().write_all(b"{\"verb\":\"watch\"}\n").unwrap();
    }
    let wait =
        "{\"verb\":\"enqueue\",\"message\":{\"kind\":\"text\",\"body\":\"x\"},\"wait\":true}\n";
    clients[8].get_mut().write_all(wait.as_bytes()).unwrap();
    drop(clients);
    let deadline = Instant::now() + DEADLINE;
    let mut open = Vec::new();
    while open.len() < 16 {
        assert!(Instant::now() < deadline, "closed connections keep their places");
        let mut stream = BufReader::new(UnixStream::connect(&tower.socket).unwrap());
        let first = line(&mut stream);
        if first["clacks_control"] == 1 {
            open.push(stream);
        }
    }
}

#[test]
fn a_client_that_closes_its_output_receives_answers_and_events() {
    for [option, runtime] in RUNTIMES {
        let mut controlled = Controlled::start(&[option, runtime, "--send-rate", "50"]);
        let (mut asking, mut watching) = (controlled.connect(), controlled.connect());
        let message = json!({"kind": "text", "body": "Hello!"});
        let enqueue = json!({"verb": "enqueue", "message": message, "wait": true});
        for (client, line) in
            [(&mut asking, enqueue), (&mut watching, json!({"verb": "watch", "after": 0}))]
        {
            client.get_mut().write_all(format!("{line}\n").as_bytes()).unwrap();
            client.get_mut().shutdown(std::net::Shutdown::Write).unwrap();
        }
        assert_eq!(line(&mut watching)["event"], "listening");
        // The queue has the message, so the request was received.
        controlled.tower.wait_for("message_queued", |_| true);
        controlled.ask(&["status"]);
        let peer = Tower::start(&["--announce", &controlled.tower.address]);
        assert_eq!(line(&mut asking)["to"], peer.address.as_str());
        while line(&mut watching)["event"] != "message_delivered" {}
    }
}

#[test]
fn programs_that_watch_leave_places_for_requests() {
    let mut controlled = Controlled::start(&[]);
    let watch = r#"{"verb":"watch","after":0}"#;
    let mut watching: Vec<_> = (0..14).map(|_| controlled.connect()).collect();
    for client in &mut watching {
        assert_eq!(request(client, watch)["event"], "listening");
    }
    let mut other = controlled.connect();
    let refused = request(&mut other, watch);
    assert!(refused["message"].as_str().unwrap().contains("14 programs watch"), "{refused}");
    assert_eq!(request(&mut other, r#"{"verb":"status"}"#)["event"], "status");
    watching.pop();
    let deadline = Instant::now() + DEADLINE;
    while request(&mut other, watch)["event"] != "listening" {
        assert!(Instant::now() < deadline, "a place does not become free");
    }
    assert_eq!(controlled.ask(&["stop"])["event"], "shut_down");
    assert!(controlled.tower.ended().success());
}

#[test]
fn a_client_that_does_not_read_delays_nothing_and_misses_events() {
    for [option, runtime] in RUNTIMES {
        let mut tower = Controlled::start(&[option, runtime]);
        let mut client = tower.connect();
        client.get_mut().write_all(b"{\"verb\":\"watch\",\"after\":0}\n").unwrap();
        // More events than the ring and the socket together hold.
        let peer = "127.0.0.1:9";
        for _ in 0..10_000 {
            tower.tower.say(&format!("ignore {peer}\nunignore {peer}"));
            tower.tower.wait_for("tower_updated", |event| event["from"] == "ignored");
        }
        assert_eq!(tower.ask(&["survey"])["towers"][0]["address"], peer);
        let mut numbers = 0;
        let missed = loop {
            let event = line(&mut client);
            // A driver that gets no processor time loses notices itself. That is an event with the
            // next number.
            if event["event"] == "missed" && event["seq"] != numbers + 1 {
                break event;
            }
            numbers += 1;
            assert_eq!(event["seq"], numbers);
        };
        assert_eq!(missed["seq"], numbers + missed["count"].as_u64().unwrap());
        let next = line(&mut client);
        assert_eq!(next["seq"], missed["seq"].as_u64().unwrap() + 1);
    }
}

#[test]
fn the_number_of_a_snapshot_covers_the_events_before_it() {
    let mut tower = Controlled::start(&[]);
    for number in 1..=20 {
        tower.tower.say("enqueue x");
        let queued = tower.tower.wait_for("message_queued", |_| true);
        let status = tower.ask(&["status"]);
        assert_eq!(status["seq"], queued["seq"]);
        assert_eq!(status["queue"]["messages"], number);
    }
}

#[test]
fn a_socket_of_another_tower_is_refused() {
    let tower = Controlled::start(&[]);
    let output =
        clacks(&["tower", "--listen", "127.0.0.1:0", "--control", &tower.socket]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("Another tower uses"), "{}", stderr(&output));
    assert_eq!(tower.ask(&["survey"])["towers"], json!([]));
    let open = tempfile::tempdir().unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(open.path(), mode).unwrap();
    let path = open.path().join("tower.sock");
    let output = clacks(&["tower", "--listen", "127.0.0.1:0", "--control"]).arg(path).output();
    assert!(stderr(output.as_ref().unwrap()).contains("others can write"));
}

#[test]
fn ping_reports_the_identity_and_the_dialect() {
    for [option, runtime] in RUNTIMES {
        let tower = Controlled::start(&[option, runtime]);
        let pong = clacks(&["ping", &tower.tower.address, "--json"]).output().unwrap();
        assert_eq!(pong.status.code(), Some(0), "{}", stderr(&pong));
        let pong: Value = serde_json::from_str(stdout(&pong)).unwrap();
        assert_eq!(pong["fingerprint"], tower.tower.fingerprint);
        assert_eq!(pong["dialect"], "native");
        assert!(pong["round_trip_ms"].is_f64() && pong["handshake_ms"].is_f64(), "{pong}");
        let text = clacks(&["ping", &tower.tower.address]).output().unwrap();
        assert!(stdout(&text).contains("the native dialect"), "{}", stdout(&text));
        assert_eq!(tower.ask(&["survey"])["towers"], json!([]), "no tower was learned");
    }
}

#[test]
fn ping_reports_the_reason_if_no_tower_answers() {
    let closed = ClosedPort::new();
    let clear = Tower::start(&["--clear"]);
    let other = Tower::start(&["--network", "morpork", "--open"]);
    for (address, options, words) in [
        (&closed.address, &[][..], "connection refused"),
        (&clear.address, &[], "--clear on both"),
        (&other.address, &["--network", "ankh"], "the same --network"),
    ] {
        let output = clacks(&[&["ping", address.as_str()], options].concat()).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains(words), "{}", stderr(&output));
    }
    let pong = clacks(&["ping", &clear.address, "--clear", "--json"]).output().unwrap();
    let pong: Value = serde_json::from_str(stdout(&pong)).unwrap();
    assert_eq!(pong["fingerprint"], Value::Null);
}

#[test]
fn ping_recognises_http_and_sends_nothing_over_it() {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};

    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    assert!(common::run(&["keygen", dir.path().join("web").to_str().unwrap()]).status.success());
    let cert = CertificateDer::from_pem_file(file("web/cert.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(file("web/key.pem")).unwrap();
    let config = rustls::ServerConfig::builder().with_no_client_auth();
    let config = std::sync::Arc::new(config.with_single_cert(vec![cert], key).unwrap());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let session = rustls::ServerConnection::new(config).unwrap();
        let mut received = Vec::new();
        // The end may be abrupt.
        let _ = rustls::StreamOwned::new(session, stream).read_to_end(&mut received);
        received
    });
    let pong = clacks(&["ping", &address, "--json"]).output().unwrap();
    assert_eq!(pong.status.code(), Some(0), "{}", stderr(&pong));
    let pong: Value = serde_json::from_str(stdout(&pong)).unwrap();
    assert_eq!(pong["dialect"], "http");
    assert_eq!(String::from_utf8_lossy(&server.join().unwrap()), "");
}

#[test]
fn peek_leaves_out_what_an_answer_has_no_room_for() {
    let tower = Controlled::start(&["--max-message", "2MiB"]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("message");
    std::fs::write(&file, "x".repeat(1_900_000)).unwrap();
    for _ in 0..3 {
        tower.ask(&["send", "-f", file.to_str().unwrap()]);
    }
    let held = tower.ask(&["peek"]);
    assert_eq!((held["messages"].as_array().unwrap().len(), &held["left_out"]), (2, &json!(1)));
}

#[test]
fn status_has_the_counters_of_the_store_unless_there_is_none() {
    for runtime in RUNTIMES {
        let tower = Controlled::start(&[&runtime[..], &["--no-relay"]].concat());
        let status = tower.ask(&["status"]);
        assert_eq!(status["store"]["held"], 0, "{status}");
        assert!(stdout(&tower.run(&["status"])).contains("store       0 pieces held"));
        let tower = Controlled::start(&[&runtime[..], &["--no-store"]].concat());
        assert_eq!(tower.ask(&["status"])["store"], Value::Null);
        assert!(!stdout(&tower.run(&["status"])).contains("pieces"));
    }
    // The store needs room for a piece.
    let tower = Controlled::start(&["--max-message", "11999"]);
    assert_eq!(tower.ask(&["status"])["store"], Value::Null);
}
