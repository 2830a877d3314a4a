//! The dashboard, read by a plain HTTP client.

use std::io::Read;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt};
use serde_json::Value;

use crate::common::{self, DEADLINE, Tower, clacks};
use crate::shown::{Answer, Shown};

#[test]
fn the_token_is_in_a_file_for_the_owner_and_new_at_each_start() {
    let mut shown = Shown::start(&[]);
    let file = shown.token_file();
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_to_string(&file).unwrap().trim_end(), shown.token);
    assert_eq!(shown.token.len(), 64);
    // Standard output is no terminal: it may be a log that others read.
    let told = Value::from(shown.tower.told().to_vec()).to_string();
    assert!(told.contains("token_file") && !told.contains(&shown.token), "{told}");
    assert_ne!(Shown::start(&[]).token, shown.token);
    shown.tower.say("quit");
    assert!(shown.tower.ended().success());
    assert!(!file.exists());
}

#[test]
fn foreign_sites_and_wrong_tokens_are_refused_on_every_path() {
    let shown = Shown::start(&[]);
    let (port, right) = (shown.port, shown.authorization());
    let own = format!("Host: localhost:{port}");
    for path in ["/", "/healthz", "/metrics", "/events", "/other"] {
        for foreign in [
            vec!["Host: evil.example".to_owned()],
            vec![format!("Host: evil.example:{port}")],
            vec!["Host: 127.0.0.1".to_owned()],
            vec![],
            vec![own.clone(), "Origin: http://evil.example".to_owned()],
            vec![own.clone(), "Origin: null".to_owned()],
            vec![own.clone(), "Sec-Fetch-Site: cross-site".to_owned()],
            vec![own.clone(), "Sec-Fetch-Site: same-site".to_owned()],
        ] {
            let mut headers: Vec<_> = foreign.iter().map(String::as_str).collect();
            headers.push(&right);
            assert_eq!(shown.ask("GET", path, &headers).status, 403, "{path} {foreign:?}");
            assert_eq!(shown.ask("POST", path, &headers).status, 403, "{path} {foreign:?}");
        }
    }
    let mut other: Vec<_> = shown.token.chars().collect();
    other[63] = if other[63] == '0' { '1' } else { '0' };
    let wrong = format!("Authorization: Bearer {}", String::from_iter(other));
    let in_query = format!("/events?token={}", shown.token);
    for (path, headers) in [
        ("/events", vec![]),
        ("/events", vec![&*wrong]),
        ("/events", vec!["Authorization: Bearer "]),
        ("/events", vec![&*wrong, &*right]),
        (&in_query, vec![]),
    ] {
        assert_eq!(shown.get(path, &headers).status, 403, "{path} {headers:?}");
    }
    let mut events = shown.events();
    assert!(events.status().contains(" 200 "));
}

#[test]
fn the_page_has_no_data_and_answers_have_strict_headers() {
    let shown = Shown::start(&["--expand", "127.0.0.1:9"]);
    let page = shown.get("/", &[]);
    assert_eq!(page.status, 200);
    assert!(page.body.starts_with("<!doctype html>") && page.body.contains("uPlot"));
    for secret in [&shown.token, &shown.tower.address, "127.0.0.1:9"] {
        assert!(!page.body.contains(secret), "{secret}");
    }
    assert!(page.head.contains("default-src 'none'; script-src 'nonce-"), "{}", page.head);
    assert!(!page.head.contains("unsafe"), "{}", page.head);
    let nonce = |page: &Answer| page.head.split("nonce-").nth(1).unwrap()[..32].to_owned();
    assert_ne!(nonce(&page), nonce(&shown.get("/", &[])));
    for path in ["/", "/healthz", "/metrics", "/other"] {
        let head = shown.get(path, &[]).head;
        for line in [
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "cache-control: no-store",
            "cross-origin-resource-policy: same-origin",
        ] {
            assert!(head.contains(line), "{path}: {head}");
        }
        assert!(head.contains("frame-ancestors 'none'") && !head.contains("set-cookie"), "{head}");
    }
    assert_eq!(shown.get("/other", &[]).status, 404);
    assert_eq!(shown.get("/healthz", &[]).body, "ok\n");
}

#[test]
fn nothing_can_be_changed() {
    let mut shown = Shown::start(&[]);
    let (host, right) = (format!("Host: 127.0.0.1:{}", shown.port), shown.authorization());
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        for path in ["/", "/events", "/metrics"] {
            let answer = shown.ask(method, path, &[&host, &right, "Content-Length: 0"]);
            assert_eq!(answer.status, 405, "{method} {path}");
        }
    }
    assert_eq!(shown.tower.ask("peek")["messages"], Value::Array(vec![]));
}

#[test]
fn every_counter_is_a_metric_with_a_help_line() {
    let mut shown = Shown::start(&["--expand", "127.0.0.1:9"]);
    shown.tower.say("enqueue secret");
    shown.tower.wait_for("message_queued", |_| true);
    let metrics = shown.get("/metrics", &[]);
    assert!(metrics.head.contains("content-type: text/plain; version=0.0.4"), "{}", metrics.head);
    let text = metrics.body;
    for line in text.lines() {
        let is_value = line.rsplit_once(' ').is_some_and(|(_, value)| value.parse::<f64>().is_ok());
        let remark = ["# HELP ", "# TYPE "].iter().find_map(|it| line.strip_prefix(it));
        let name = remark.unwrap_or(line);
        assert!(remark.is_some() || is_value, "{line}");
        assert!(["clacks_", "process_"].iter().any(|it| name.starts_with(it)), "{line}");
    }
    #[cfg(target_os = "linux")]
    {
        let memory = text.lines().find_map(|it| it.strip_prefix("process_resident_memory_bytes "));
        assert!(memory.unwrap().parse::<u64>().unwrap() > 1_000_000, "{text}");
    }
    let status = shown.status();
    for (name, _) in status["stats"].as_object().unwrap() {
        assert!(text.contains(&format!("# TYPE clacks_{name}_total counter\n")), "{name}");
        let help = format!("# HELP clacks_{name}_total ");
        let help = text.lines().find_map(|line| line.strip_prefix(&help)).unwrap();
        assert!(help.ends_with('.') && help.len() > 10, "{name}: {help}");
    }
    let max = &status["queue"]["max_bytes"];
    for line in [
        "clacks_enqueued_total 1",
        "clacks_queue_messages 1",
        "clacks_queue_bytes 6",
        &format!("clacks_queue_bytes_max {max}"),
        "clacks_links 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
    assert!(text.contains("clacks_peers{status=\"lost\"} "), "{text}");
    assert!(!text.contains("127.0.0.1") && !text.contains("secret"), "{text}");
}

#[test]
fn the_state_equals_the_status_with_the_same_number() {
    let mut shown = Shown::start(&["--send-rate", "0.0001", "--heartbeat", "500ms"]);
    let address = shown.tower.address.clone();
    let other = ["--clear", "--heartbeat", "500ms", "--announce", &address];
    let mut other = Tower::start(&other);
    other.wait_for("announced", |_| true);
    shown.tower.wait_for_status(&other.address, "alive");
    let mut events = shown.events();
    assert_eq!(events.next("history").unwrap()["event"], "history");
    shown.tower.say("enqueue Hello Discworld!");
    let deadline = Instant::now() + DEADLINE;
    loop {
        let state = events.next("state").unwrap();
        let status = shown.status();
        assert!(state["status"]["seq"].as_u64() <= status["seq"].as_u64(), "{state} {status}");
        let has_message = status["queue"]["messages"] == 1;
        if state["status"]["seq"] == status["seq"] && has_message {
            for field in ["event", "address", "queue", "peers", "links", "troubles", "stats"] {
                assert_eq!(state["status"][field], status[field], "{field}");
            }
            assert_eq!(state["towers"][0]["address"], other.address.as_str());
            assert_eq!(state["towers"][0]["status"], "alive");
            assert!(!state.to_string().contains("Discworld"), "{state}");
            return;
        }
        assert!(Instant::now() < deadline, "{state} {status}");
    }
}

#[test]
fn the_seventeenth_reader_is_refused_until_another_leaves() {
    let shown = Shown::start(&[]);
    let mut readers: Vec<_> = (0..16).map(|_| shown.events()).collect();
    for reader in &mut readers {
        assert!(reader.next("state").is_some());
    }
    let refused = shown.get("/events", &[&shown.authorization()]);
    assert_eq!(refused.status, 503);
    assert!(refused.body.contains("16 pages are open"), "{}", refused.body);
    shown.wait_for_metric("clacks_dashboard_readers", "16");
    readers.pop();
    shown.wait_for_metric("clacks_dashboard_readers", "15");
    assert!(shown.events().next("state").is_some());
}

#[test]
fn a_second_reader_receives_each_event_once() {
    let mut shown = Shown::start(&[]);
    let mut first = shown.events();
    assert!(first.next("state").is_some());
    for number in 1..=10 {
        for port in 1..=5 {
            shown.tower.say(&format!("expand 127.0.0.{number}:{port}"));
        }
        shown.tower.wait_for("done", |done| done["tower"] == format!("127.0.0.{number}:5"));
        let mut second = shown.events();
        let states = [(); 2].map(|()| second.next("state").unwrap());
        let lines = states.iter().flat_map(|state| state["events"].as_array().unwrap());
        let numbers: Vec<_> = lines.map(|line| line["seq"].as_u64().unwrap()).collect();
        assert!(numbers.is_sorted_by(|one, other| one < other), "{numbers:?}");
    }
}

#[test]
fn a_reader_that_reads_nothing_is_dropped_and_others_are_not() {
    let mut shown = Shown::start(&[]);
    // Long states fill the buffers soon.
    for number in 1..=200 {
        let name = format!("{}.{}.{}.invalid", "a".repeat(63), "b".repeat(63), "c".repeat(63));
        shown.tower.say(&format!("ignore {name}:{number}"));
    }
    shown.tower.wait_for("done", |done| done["tower"].as_str().unwrap().ends_with(":200"));
    let mut slow = shown.connect();
    setsockopt(&slow, sockopt::RcvBuf, &4_096).unwrap();
    shown.ask_for_events(&mut slow);
    let mut good = shown.events();
    // Read it all the time. The slow one is dropped meanwhile.
    let deadline = Instant::now() + DEADLINE;
    let mut was_two = false;
    loop {
        assert!(good.next("state").is_some() && Instant::now() < deadline);
        let metrics = shown.get("/metrics", &[]).body;
        was_two |= metrics.contains("clacks_dashboard_readers 2\n");
        if was_two && metrics.contains("clacks_dashboard_readers 1\n") {
            break;
        }
    }
    assert!(good.next("state").is_some());
    // The connection is cut, too.
    let _ = slow.read_to_end(&mut Vec::new());
}

#[test]
fn clients_that_say_nothing_or_too_much_are_closed() {
    let shown = Shown::start(&[]);
    let mut silent = shown.connect();
    let mut endless = shown.connect();
    let _ = write!(endless, "GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    // A reset is fine, too.
    let mut answer = Vec::new();
    let _ = endless.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
    let _ = silent.read_to_end(&mut Vec::new());
}

/// The most connections of the dashboard.
const MAX_CONNECTIONS: usize = 64;

#[test]
fn clients_that_say_nothing_keep_no_other_out() {
    let shown = Shown::start(&[]);
    let deadline = Instant::now() + DEADLINE;
    loop {
        let start = Instant::now();
        let silent: Vec<_> = (0..MAX_CONNECTIONS).map(|_| shown.connect()).collect();
        assert_eq!(shown.get("/healthz", &[]).body, "ok\n");
        // A silent client has ten seconds. A slow machine needs several attempts.
        if start.elapsed() < Duration::from_secs(5) {
            break;
        }
        assert!(start < deadline, "the answer came when silent clients were closed");
        drop(silent);
    }
    // A connection with a request is not closed for others.
    let mut events = shown.events();
    assert!(events.next("state").is_some());
    let _silent: Vec<_> = (0..2 * MAX_CONNECTIONS).map(|_| shown.connect()).collect();
    assert_eq!(shown.get("/healthz", &[]).body, "ok\n");
    assert!(events.next("state").is_some());
}

#[test]
fn the_end_of_the_tower_ends_the_events() {
    let mut shown = Shown::start(&[]);
    let mut events = shown.events();
    assert!(events.next("state").is_some());
    shown.tower.say("quit");
    assert!(shown.tower.ended().success());
    while events.next("state").is_some() {}
}

#[test]
fn a_dashboard_for_other_machines_needs_a_name() {
    let args = ["tower", "--listen", "127.0.0.1:0", "--http", "0.0.0.0:0"];
    let output = clacks(&args).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(common::stderr(&output).contains("--http-host"), "{}", common::stderr(&output));
}
