//! Towers as processes of their own: events, the console, and every way to end.
#![cfg(unix)]
#![allow(missing_docs, clippy::unwrap_used, reason = "a test has no better answer to a surprise")]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};

use common::{DEADLINE, Tower, clacks, interrupt_until_it_ends, lines_of};
use serde_json::{Value, json};

/// Quick enough for tests.
const QUICK: [&str; 4] = ["--send-rate", "50", "--heartbeat", "500ms"];

/// Whatever drives a tower, it does the same. `smol` is the default, so that the tests that do not
/// say use that.
const RUNTIMES: [[&str; 2]; 2] = [["--runtime", "smol"], ["--runtime", "mio"]];

fn quick<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&QUICK[..], more].concat()
}

#[test]
fn a_tower_says_where_it_listens_and_who_it_is() {
    let tower = Tower::start(&[]);
    let address: SocketAddr = tower.address.parse().unwrap();
    assert_ne!(address.port(), 0);
    TcpStream::connect(address).unwrap();
    assert_eq!(tower.fingerprint.as_str().unwrap().len(), 64);
    assert_eq!(Tower::start(&["--clear"]).fingerprint, Value::Null);
}

#[test]
fn a_tower_is_known_by_the_address_that_it_advertises() {
    let tower = Tower::start_at("0.0.0.0:0", &["--advertise", "Tower.Example:8001"]);
    assert_eq!(tower.address, "tower.example:8001");
    let named = Tower::start_at("localhost:0", &[]);
    assert!(named.address.starts_with("localhost:") && !named.address.ends_with(":0"));
}

#[test]
fn the_console_answers() {
    for runtime in RUNTIMES {
        the_console_answers_on(&runtime);
    }
}

fn the_console_answers_on(runtime: &[&str]) {
    let mut tower = Tower::start(runtime);
    tower.say("enqueue Hello Discworld!");
    let queued = tower.wait_for("message_queued", |_| true);
    assert_eq!(queued["origin"], "local");
    tower.say_bytes(b"enqueue \xff\x00");
    tower.wait_for("message_queued", |_| true);
    let held = tower.ask("peek")["messages"].clone();
    assert_eq!(held[0]["message"], json!({"kind": "text", "body": "Hello Discworld!"}));
    assert_eq!(held[0]["id"], queued["id"]);
    assert_eq!(held[0]["state"], "waiting");
    assert_eq!(held[0]["nonce"], queued["nonce"]);
    assert_eq!(held[1]["message"], json!({"kind": "bytes", "body": "/wA="}));

    tower.say("ignore 127.0.0.1:9");
    tower.wait_for("done", |event| event["verb"] == "ignore" && event["tower"] == "127.0.0.1:9");
    let survey = tower.ask("survey")["towers"].clone();
    assert_eq!(survey[0]["address"], "127.0.0.1:9");
    assert_eq!(survey[0]["status"], "ignored");
    assert_eq!(survey[0]["fingerprint"], Value::Null);
    assert_eq!(survey[0]["dialect"], Value::Null);
    assert!(survey[0]["since_ms"].is_u64());
    tower.say("unignore 127.0.0.1:9");
    tower.wait_for("tower_updated", |event| event["from"] == "ignored" && event["to"] == "new");

    let stats = tower.ask("stats");
    assert_eq!((&stats["enqueued"], &stats["held_messages"]), (&json!(2), &json!(2)));
    assert_eq!(stats["held_bytes"], json!(18));
    assert!(tower.ask("help")["commands"]["peek"].is_string());
}

#[test]
fn mistakes_on_the_console_are_explained_and_change_nothing() {
    let mut tower =
        Tower::start(&["--max-message", "8", "--max-queue", "2", "--max-queue-bytes", "1KiB"]);
    let own = tower.address.clone();
    let endless = format!("enqueue {}", "x".repeat(1_000_000));
    for (line, words) in [
        ("fly", "no command"),
        ("enqueue", "no message"),
        ("expand tower", "port is missing"),
        (&format!("expand {own}"), "this tower itself"),
        (&format!("announce {own}"), "this tower itself"),
        ("unignore 127.0.0.1:9", "was not ignored"),
        ("enqueue 123456789", "9 bytes where 8 are allowed"),
        (&endless, "too long"),
    ] {
        tower.say(line);
        let error = tower.wait_for("error", |_| true);
        assert!(error["message"].as_str().unwrap().contains(words), "{line}: {error}");
    }
    tower.say("enqueue 12345678");
    tower.wait_for("message_queued", |_| true);
    tower.say("enqueue full");
    let error = tower.wait_for("error", |_| true);
    assert!(error["message"].as_str().unwrap().contains("The queue is full"), "{error}");
    let held = tower.ask("peek")["messages"].clone();
    assert_eq!(held.as_array().unwrap().len(), 1);
    assert_eq!(held[0]["message"]["body"], "12345678");
    assert_eq!(tower.ask("survey")["towers"], json!([]));
}

#[test]
fn two_towers_meet_and_pass_a_message() {
    let [smol, mio] = RUNTIMES;
    for (trust, first_on, second_on) in [
        (&[][..], smol, smol),
        (&["--clear"], smol, smol),
        (&[], mio, mio),
        (&["--clear"], mio, mio),
        (&[], smol, mio),
    ] {
        let mut first = Tower::start(&quick(&[trust, &first_on].concat()));
        let announce = ["--announce", &first.address.clone()];
        let mut second = Tower::start(&quick(&[trust, &second_on, &announce].concat()));
        second.wait_for("announced", |event| event["to"] == first.address.as_str());
        first.wait_for("tower_discovered", |event| event["peer"] == second.address.as_str());

        first.say("enqueue Hello Discworld!");
        let received = second.wait_for("message_received", |_| true);
        assert_eq!(received["message"], json!({"kind": "text", "body": "Hello Discworld!"}));
        assert_eq!(received["from"], first.address.as_str());
        first.wait_for("message_delivered", |event| event["to"] == second.address.as_str());
        first.wait_for("message_received", |event| event["from"] == second.address.as_str());

        let seen = first.wait_for_status(&second.address, "alive");
        assert_eq!(seen["fingerprint"], second.fingerprint);
    }
}

#[test]
fn towers_with_and_without_tls_do_not_meet() {
    let mut clear = Tower::start(&quick(&["--clear"]));
    let mut secure = Tower::start(&quick(&["--announce", &clear.address.clone()]));
    secure.wait_for("tower_updated", |event| event["to"] == "lost");
    let announced = |event: &Value| event["event"] == "announced";
    assert!(!secure.told().iter().any(announced));
    assert_eq!(clear.ask("stats")["received"], 0);
}

#[test]
fn a_private_network_keeps_to_itself() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let mut roots = String::new();
    for name in ["first", "second", "stranger"] {
        assert!(common::run(&["keygen", &file(name)]).status.success());
        if name != "stranger" {
            roots += &std::fs::read_to_string(file(&format!("{name}/cert.pem"))).unwrap();
        }
    }
    std::fs::write(file("roots.pem"), roots).unwrap();
    let (roots, first, second) = (file("roots.pem"), file("first"), file("second"));
    let mut first = Tower::start(&quick(&["--roots", &roots, "--identity", &first]));
    let announce = ["--announce", &first.address.clone()];
    let mut second = Tower::start(&quick(
        &[&["--roots", &roots, "--identity", &second], &announce[..]].concat(),
    ));
    second.wait_for("announced", |_| true);

    let mut stranger =
        Tower::start(&quick(&[&["--identity", &file("stranger")], &announce[..]].concat()));
    stranger.wait_for("tower_updated", |event| event["to"] == "lost");
    let towers = first.ask("survey")["towers"].clone();
    assert_eq!(towers.as_array().unwrap().len(), 1, "{towers}");
    assert_eq!(towers[0]["address"], second.address.as_str());
    assert_eq!(towers[0]["dialect"], "native");
}

#[test]
fn http_is_answered_unless_it_is_switched_off() {
    let payload = r#"{"message":"m","type":"message","sender":{"hostname":"127.0.0.1","port":1}}"#;
    let request = format!(
        "POST / HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{payload}",
        payload.len()
    );
    for (options, is_answered) in [
        (&["--clear"][..], true),
        (&["--clear", "--no-http"], false),
        (&["--clear", "--network", "of our own"], false),
    ] {
        let mut tower = Tower::start(options);
        let mut stream = TcpStream::connect(&tower.address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        // It may be cut off, too.
        let _ = stream.read_to_end(&mut answer);
        assert_eq!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"), is_answered, "{options:?}");
        let survey = tower.ask("survey")["towers"].clone();
        let dialects: Vec<_> = survey.as_array().unwrap().iter().map(|t| &t["dialect"]).collect();
        assert_eq!(dialects, if is_answered { vec!["http"] } else { vec![] }, "{options:?}");
    }
}

#[test]
fn towers_of_other_networks_do_not_meet() {
    let mut first = Tower::start(&quick(&["--network", "ankh", "--open"]));
    let mut second = Tower::start(&quick(&[
        "--network",
        "morpork",
        "--open",
        "--expand",
        &first.address.clone(),
    ]));
    second.wait_for("tower_updated", |event| event["to"] == "lost");
    assert_eq!(first.ask("survey")["towers"], json!([]));
}

#[test]
fn the_end_of_the_input_leaves_the_tower_running() {
    let mut first = Tower::start(&QUICK);
    first.close_console();
    let mut second = Tower::start(&quick(&["--announce", &first.address.clone()]));
    second.wait_for("announced", |_| true);
    first.signal("-TERM");
    assert!(first.ended().success());
}

#[test]
fn a_tower_that_is_stopped_hands_its_queue_on() {
    let [smol, mio] = RUNTIMES;
    for (stop, runtime) in
        [("-TERM", smol), ("-INT", smol), ("quit", smol), ("-TERM", mio), ("quit", mio)]
    {
        // So slow that only the shutdown can be what hands the messages over.
        let slow = [&["--send-rate", "0.0001", "--heartbeat", "500ms"], &runtime[..]].concat();
        let mut first = Tower::start(&slow);
        let announce = ["--announce", &first.address.clone()];
        let mut second = Tower::start(&[&slow[..], &announce].concat());
        second.wait_for("announced", |_| true);
        first.wait_for_status(&second.address, "alive");
        for number in 0..3 {
            first.say(&format!("enqueue message {number}"));
            first.wait_for("message_queued", |_| true);
        }
        match stop {
            "quit" => first.say("quit"),
            signal => first.signal(signal),
        }
        let going = first.wait_for("shutting_down", |_| true);
        let gone = first.wait_for("shut_down", |_| true);
        assert_eq!(gone["left"], 0, "{stop}: {going}");
        assert!(first.ended().success(), "{stop}");
        let mut held: Vec<_> = second.ask("peek")["messages"].as_array().unwrap().clone();
        held.retain(|held| held["message"]["body"].as_str().unwrap().starts_with("message "));
        assert_eq!(held.len(), 3, "{stop}");
    }
}

#[test]
fn a_tower_without_peers_shuts_down_and_reports_its_lost_messages() {
    let mut tower = Tower::start(&[]);
    tower.say("enqueue alone");
    tower.wait_for("message_queued", |_| true);
    tower.signal("-TERM");
    let gone = tower.wait_for("shut_down", |_| true);
    assert_eq!(gone["left"], 1);
    assert!(tower.ended().success());
}

#[test]
fn a_signal_that_comes_twice_at_once_is_one() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut tower = Tower::start(&["--expand", &silent.local_addr().unwrap().to_string()]);
    tower.say("enqueue worth a try");
    tower.wait_for("message_queued", |_| true);
    // Two different ones, because two of a kind can arrive as one anyway. A stopped process takes
    // both at once when it goes on.
    for signal in ["-STOP", "-TERM", "-INT", "-CONT"] {
        tower.signal(signal);
    }
    assert_eq!(tower.wait_for("shut_down", |_| true)["left"], 1);
    assert!(tower.ended().success());
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for runtime in RUNTIMES {
        a_second_signal_ends_it_at_once_on(&runtime);
    }
}

fn a_second_signal_ends_it_at_once_on(runtime: &[&str]) {
    // Its only peer takes connections and never says a word, so that the first signal alone takes
    // its time.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = silent.local_addr().unwrap().to_string();
    let mut tower = Tower::start(&[runtime, &["--expand", &peer]].concat());
    tower.say("enqueue stuck");
    tower.wait_for("message_queued", |_| true);
    let _held = silent.accept().unwrap();
    tower.signal("-INT");
    tower.wait_for("shutting_down", |event| event["messages"] == 1);
    assert_eq!(tower.interrupt_until_it_ends().code(), Some(130));
    assert!(!tower.told().iter().any(|event| event["event"] == "shut_down"));
}

#[test]
fn a_tower_that_is_killed_is_lost_and_found_again_under_its_identity() {
    for runtime in RUNTIMES {
        killed_and_found_again_on(&runtime);
    }
}

fn killed_and_found_again_on(runtime: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("tower");
    let identity = [&["--identity", home.to_str().unwrap()], runtime].concat();
    let mut first = Tower::start(&quick(runtime));
    let mut second =
        Tower::start(&quick(&[&identity[..], &["--announce", &first.address.clone()]].concat()));
    let (address, fingerprint) = (second.address.clone(), second.fingerprint.clone());
    first.wait_for_status(&address, "alive");
    second.kill();
    let lost =
        first.wait_for("tower_updated", |event| event["peer"] == *address && event["to"] == "lost");
    assert!(!lost["reason"]["link_closed"].is_null(), "{lost}");

    // It comes back and says nothing, and the other remembers it.
    let mut second = Tower::start_again(&address, &quick(&identity));
    assert_eq!(second.fingerprint, fingerprint);
    first.wait_for("tower_updated", |event| event["peer"] == *address && event["to"] == "alive");
    second.wait_for("tower_discovered", |event| event["peer"] == *first.address);
}

#[test]
fn three_towers_pass_a_message_on_survive_a_kill_and_take_the_killed_one_back() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("tower");
    let identity = ["--identity", home.to_str().unwrap()];
    let mut first = Tower::start(&QUICK);
    let announce = ["--announce", &first.address.clone()];
    let mut second = Tower::start(&quick(&announce));
    let mut third = Tower::start(&quick(&[&identity[..], &announce].concat()));
    let address = third.address.clone();
    first.say("enqueue round and round");
    for tower in [&mut second, &mut third] {
        tower.wait_for("message_received", |event| event["message"]["body"] == "round and round");
    }
    first.wait_for_status(&address, "alive");
    second.wait_for_status(&address, "alive");
    third.kill();
    for tower in [&mut first, &mut second] {
        tower.wait_for("tower_updated", |event| event["peer"] == *address && event["to"] == "lost");
    }
    // Whether or not the killed one held the message, the two others go on.
    second.say("enqueue and on");
    first.wait_for("message_received", |event| event["message"]["body"] == "and on");
    let mut third = Tower::start_again(&address, &quick(&identity));
    for tower in [&mut first, &mut second] {
        tower
            .wait_for("tower_updated", |event| event["peer"] == *address && event["to"] == "alive");
    }
    third.wait_for("message_received", |event| event["message"]["body"] == "and on");
}

#[test]
fn another_tower_at_a_known_address_is_a_stranger() {
    let mut first = Tower::start(&QUICK);
    let mut second = Tower::start(&quick(&["--announce", &first.address.clone()]));
    let address = second.address.clone();
    let known = first.wait_for_status(&address, "alive")["fingerprint"].clone();
    second.kill();
    first.wait_for("tower_updated", |event| event["peer"] == *address && event["to"] == "lost");
    let stranger = Tower::start_again(&address, &QUICK);
    let changed = first.wait_for("key_changed", |event| event["peer"] == *address);
    assert_eq!(changed["seen"], stranger.fingerprint);
    let survey = first.ask("survey")["towers"].clone();
    assert_eq!(survey[0]["status"], "lost");
    assert_eq!(survey[0]["fingerprint"], known);
}

#[test]
fn the_same_identity_serves_as_folder_and_as_two_files() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join("tower").join(name).to_str().unwrap().to_owned();
    let made = Tower::start(&["--identity", &file("")]).fingerprint.clone();
    assert_eq!(Tower::start(&["--identity", &file("")]).fingerprint, made);
    let files = ["--key", &file("key.pem"), "--cert", &file("cert.pem")];
    assert_eq!(Tower::start(&files).fingerprint, made);
}

#[test]
fn a_closed_output_ends_a_tower_quietly() {
    let mut child = clacks(&["tower", "--json", "--listen", "127.0.0.1:0"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .env("RUST_LOG", "error")
        .spawn()
        .unwrap();
    let mut first_line = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut first_line).unwrap();
    assert!(first_line.contains("listening"));
    drop(out);
    let mut console = child.stdin.take().unwrap();
    console.write_all(b"peek\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

/// The log of a full disk. Its first line is that of a tower that keeps no state.
#[cfg(target_os = "linux")]
#[test]
fn a_log_that_cannot_be_written_ends_no_tower() {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut child = clacks(&["tower", "--json", "--listen", "127.0.0.1:0"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::from(full))
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"enqueue x\nquit\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8(output.stdout).unwrap().contains("shut_down"));
}

#[test]
fn a_tower_whose_output_cannot_be_written_runs_on_and_hands_its_queue_on() {
    for runtime in RUNTIMES {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("events");
        let mut other = Tower::start(&["--send-rate", "0.0001"]);
        // A file that may hold one block, by a limit that the shell sets and a signal that it has
        // ignored.
        let script = "trap '' XFSZ; ulimit -f 1; exec \"$0\" \"$@\"";
        let mut child = Command::new("sh")
            .args(["-c", script, env!("CARGO_BIN_EXE_clacks"), "tower", "--json"])
            .args(["--listen", "127.0.0.1:0", "--send-rate", "0.0001", "--expand", &other.address])
            .args(runtime)
            .stdin(Stdio::piped())
            .stdout(std::fs::File::create(&file).unwrap())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = lines_of(BufReader::new(child.stderr.take().unwrap()));
        let mut console = child.stdin.take().unwrap();
        console.write_all(b"help\nhelp\nhelp\n").unwrap();
        // The log reports the error while the tower runs.
        let warned = std::iter::from_fn(|| log.recv_timeout(DEADLINE).ok())
            .find(|line| line.contains("Standard output cannot be written"));
        assert!(warned.is_some());
        console.write_all(b"enqueue worth keeping\nquit\n").unwrap();
        let said = log.iter().collect::<Vec<_>>().join("\n");
        assert!(said.contains("of it are lost"), "{said}");
        assert_eq!(child.wait().unwrap().code(), Some(1));
        other.wait_for("message_received", |event| event["message"]["body"] == "worth keeping");
    }
}

#[test]
fn logs_go_to_standard_error_and_events_to_standard_output() {
    let mut child = clacks(&["tower", "--json", "--listen", "127.0.0.1:0"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .env("RUST_LOG", "info")
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"quit\n").unwrap();
    let output = child.wait_with_output().unwrap();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        serde_json::from_str::<Value>(line).unwrap();
    }
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(log.contains("keeps no state"), "{log}");
}

#[test]
fn people_read_sentences_without_colours_unless_on_a_terminal() {
    let mut child = clacks(&["tower", "--listen", "127.0.0.1:0", "--clear"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut console = child.stdin.take().unwrap();
    let lines = lines_of(BufReader::new(child.stdout.take().unwrap()));
    console
        .write_all("enqueue \u{1b}[2Jboo\npeek\nsurvey\nstats\nhelp\nquit\n".as_bytes())
        .unwrap();
    let text = lines.iter().collect::<Vec<_>>().join("\n");
    child.wait().unwrap();
    for words in [
        "listening   on 127.0.0.1:",
        "holds       1 message",
        r#""\u{1b}[2Jboo""#,
        "knows       0 towers",
        "enqueued",
        "hand the queue to peers",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(!text.contains('\u{1b}'), "{text}");
}

#[test]
fn people_read_why_a_tower_is_lost() {
    // The ends of an old connection keep other processes from getting the port.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = listener.local_addr().unwrap();
    let _ends = (TcpStream::connect(closed).unwrap(), listener.accept().unwrap());
    drop(listener);
    let mut child = clacks(&["tower", "--listen", "127.0.0.1:0", "--clear"])
        .args(["--send-rate", "50", "--expand", &closed.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut console = child.stdin.take().unwrap();
    let lines = lines_of(BufReader::new(child.stdout.take().unwrap()));
    console.write_all(b"enqueue x\n").unwrap();
    let expected = format!("lost        {closed} (was new): connection refused; tried again in ");
    let line = std::iter::from_fn(|| lines.recv_timeout(DEADLINE).ok());
    assert!(line.into_iter().any(|line| line.contains(&expected)), "no {expected:?}");
    console.write_all(b"quit\n").unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_quiet_tower_writes_answers_and_the_start_and_the_end() {
    let mut other = Tower::start(&QUICK);
    let mut tower = Tower::start(&quick(&["--quiet", "--announce", &other.address.clone()]));
    tower.say("enqueue x");
    other.wait_for("message_received", |_| true);
    tower.ask("peek");
    tower.say("quit");
    assert!(tower.ended().success());
    let told: Vec<_> = tower.told().iter().map(|event| event["event"].clone()).collect();
    let expected = ["listening", "announcing", "enqueued", "peek", "shutting_down", "shut_down"];
    assert_eq!(told, expected);
}

#[test]
fn a_replayed_seed_gives_the_same_names() {
    let seed = "07".repeat(32);
    let nonce = || {
        let mut tower = Tower::start(&["--seed", &seed]);
        tower.say("enqueue x");
        tower.wait_for("message_queued", |_| true)["nonce"].clone()
    };
    assert_eq!(nonce(), nonce());
    let mut other = Tower::start(&[]);
    other.say("enqueue x");
    assert_ne!(other.wait_for("message_queued", |_| true)["nonce"], nonce());
}

#[test]
fn the_second_signal_ends_a_tower_whose_output_is_not_read() {
    let mut child =
        clacks(&["tower", "--json", "--listen", "127.0.0.1:0", "--max-message", "1MiB"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
    let mut console = child.stdin.take().unwrap();
    writeln!(console, "enqueue {}\npeek", "x".repeat(1_000_000)).unwrap();
    // Once the answer to `peek` has begun, the tower is stuck in it: no pipe has room for all of
    // it.
    let mut out = BufReader::with_capacity(1, child.stdout.take().unwrap());
    let mut begun = String::new();
    while !begun.ends_with("\"peek\"") {
        begun.push(char::from(out.fill_buf().unwrap()[0]));
        out.consume(1);
    }
    let status = interrupt_until_it_ends(&mut child);
    assert_eq!(status.code(), Some(130));
}
